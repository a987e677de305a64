/**
 * Labels of decreases: which left the book because somebody traded, and which because their owner took them away. Owns the pairing with prints, the
 * inference from volume where there are none, amends and close wipes; hides the look-ahead window. Invariants: every negative delta leaves with one
 * label; each print is used once; inferred trades never exceed the exchange's own volume.
 */
import { Flag, Kind, Label, withLabel } from '../../engine/message.ts'
import { BID, ASK } from '../../engine/units.ts'

/** A row on its way to the tape. */
export type Row = {
  time: number
  timeVenue: number
  market: number
  kind: Kind
  flags: number
  side: number
  price: number
  quantity: number
  detail: string | null
  /** Set on a negative delta until its label is known. */
  open: boolean
  /** It stood at the best price of its side when it happened. */
  atBest: boolean
}

/** What the exchange says of a market at a moment: cumulative volume, last price and size. */
export type Volume = { readonly timeVenue: number; readonly volume: number; readonly last: number; readonly lastSize: number }

/** A print belongs to a delta within this (µs of venue time): prints carry milliseconds, older feeds seconds. */
const PRINT_WINDOW = 1_000_000
/** How long a decrease waits for its explanation (µs of tape time). */
const WAIT = 5_000_000
/** Deltas of a ticker's span may arrive this much after it (µs of tape time). */
const TICKER_WAIT = 400_000
const SEARCH_MAX = 20_000

type Market = {
  readonly hasPrints: boolean
  closeTime: number | null
  readonly open: Row[]
  readonly prints: Row[]
  /** Increases of the current venue instant not yet matched with a decrease. */
  instant: Row[]
  instantTime: number
  volume: Volume | null
  volumeKnown: boolean
  /** Trades by the exchange's own volume and as labelled (Quantity), over the spans that could be compared. */
  venueQuantity: number
  inferredQuantity: number
}

export class Labeler {
  readonly #queue: Row[] = []
  #head = 0
  #pushes = 0
  readonly #markets = new Map<number, Market>()
  readonly #emit: (row: Row) => void

  constructor(emit: (row: Row) => void) {
    this.#emit = emit
  }

  /** Declares a market. `hasPrints`: the recording has its trade channel. */
  market(market: number, hasPrints: boolean, closeTime: number | null): void {
    const known = this.#markets.get(market)
    if (known === undefined) {
      this.#markets.set(market, {
        hasPrints,
        closeTime,
        open: [],
        prints: [],
        instant: [],
        instantTime: -1,
        volume: null,
        volumeKnown: false,
        venueQuantity: 0,
        inferredQuantity: 0,
      })
    } else known.closeTime = closeTime
  }
  quantities(market: number): { readonly venue: number | null; readonly inferred: number } {
    const m = this.#markets.get(market)
    return m === undefined || !m.volumeKnown ? { venue: null, inferred: 0 } : { venue: m.venueQuantity, inferred: m.inferredQuantity }
  }

  /** The next row, in tape order. */
  push(row: Row): void {
    this.#judge(row.time)
    this.#queue.push(row)
    const m = this.#markets.get(row.market)
    if (m !== undefined) {
      if (row.kind === Kind.DELTA) this.#delta(m, row)
      else if (row.kind === Kind.TRADE) this.#print(m, row)
    }
    this.#drain(row.time)
  }

  /** A ticker: what traded since the last one, where there are no prints. It is judged a little later: its deltas may come after it. */
  ticker(market: number, now: Volume, time: number): void {
    this.#judge(time)
    this.#tickers.push({ market, now, time })
  }

  readonly #tickers: { readonly market: number; readonly now: Volume; readonly time: number }[] = []
  #judge(time: number): void {
    while (this.#tickers.length > 0 && time - (this.#tickers[0] as { time: number }).time > TICKER_WAIT) {
      const { market, now } = this.#tickers.shift() as { market: number; now: Volume }
      this.#explain(market, now)
    }
  }

  #explain(market: number, now: Volume): void {
    const m = this.#markets.get(market)
    if (m === undefined) return
    const before = m.volume
    if (before !== null && now.timeVenue <= before.timeVenue) return
    m.volume = now
    if (before === null) return
    m.volumeKnown = true
    const traded = now.volume - before.volume
    if (traded > 0) m.venueQuantity += traded
    if (m.hasPrints) return
    const candidates = m.open.filter((r) => r.open && r.timeVenue > before.timeVenue && r.timeVenue <= now.timeVenue)
    if (traded > 0) {
      // Only what stood at the best price: a looser rule explains a little more volume and calls some cancels trades.
      const possible = candidates.filter((r) => r.atBest)
      m.inferredQuantity += infer(possible, traded, now)
    }
    for (const row of candidates) if (row.open) settle(row, Label.CANCEL, Flag.INFERRED)
    compact(m)
  }

  /** A reconnection: volume of the time nobody saw is nobody's. */
  interrupted(market: number): void {
    this.#judge(Infinity)
    const m = this.#markets.get(market)
    if (m === undefined) return
    const explained = m.hasPrints || m.volume !== null
    m.volume = null
    for (const row of m.open) if (row.open) settle(row, explained ? Label.CANCEL : Label.NONE, m.hasPrints ? 0 : Flag.INFERRED)
    compact(m)
  }

  finish(): void {
    this.#drain(Infinity)
  }

  #delta(m: Market, row: Row): void {
    if (row.timeVenue !== m.instantTime) {
      m.instantTime = row.timeVenue
      m.instant = []
    }
    if (m.closeTime !== null && row.timeVenue >= m.closeTime) {
      if (row.quantity < 0) settle(row, Label.CLOSE_WIPE, 0)
      return
    }
    // An amend: the same size leaves one price and comes back at another within one venue instant.
    const other = m.instant.findIndex((r) => r.quantity === -row.quantity && (r.quantity > 0 || r.open))
    if (other >= 0) {
      const [match] = m.instant.splice(other, 1) as [Row]
      const decrease = row.quantity < 0 ? row : match
      settle(decrease, Label.AMEND, 0)
      return
    }
    m.instant.push(row)
    if (row.quantity >= 0) return
    row.open = true
    m.open.push(row)
    if (m.hasPrints) {
      const print = m.prints.find((p) => fits(row, p))
      if (print !== undefined) pair(m, row, print, true)
    }
  }

  #print(m: Market, row: Row): void {
    row.flags |= Flag.EXECUTION
    m.prints.push(row)
    // The nearest decrease of that size at that price; the delta mostly comes first.
    let best: Row | undefined
    for (const delta of m.open)
      if (
        delta.open &&
        fits(delta, row) &&
        (best === undefined || Math.abs(delta.timeVenue - row.timeVenue) < Math.abs(best.timeVenue - row.timeVenue))
      )
        best = delta
    if (best !== undefined) pair(m, best, row, false)
    else this.#printsOfOne(m, row)
  }

  /** Several prints of one instant that together are one decrease. */
  #printsOfOne(m: Market, row: Row): void {
    const same = m.prints.filter((p) => p.timeVenue === row.timeVenue && p.price === row.price && p.side === row.side)
    if (same.length < 2) return
    const sum = same.reduce((a, p) => a + p.quantity, 0)
    const delta = m.open.find(
      (d) =>
        d.open &&
        d.price === row.price &&
        d.side !== row.side &&
        -d.quantity === sum &&
        Math.abs(d.timeVenue - row.timeVenue) <= PRINT_WINDOW,
    )
    if (delta === undefined) return
    settle(delta, Label.TRADE, Flag.EXECUTION)
    for (const print of same) {
      print.flags &= ~Flag.EXECUTION
      m.prints.splice(m.prints.indexOf(print), 1)
    }
  }

  #drain(now: number): void {
    while (this.#head < this.#queue.length) {
      const row = this.#queue[this.#head] as Row
      if (row.open) {
        if (now - row.time <= WAIT) break
        // Waited long enough: nobody printed it, so nobody traded it.
        const m = this.#markets.get(row.market)
        settle(row, m?.hasPrints === true || m?.volume !== null ? Label.CANCEL : Label.NONE, m?.hasPrints === true ? 0 : Flag.INFERRED)
      } else if (row.kind === Kind.TRADE && now - row.time <= PRINT_WINDOW && this.#markets.get(row.market)?.prints.includes(row) === true)
        break
      this.#emit(row)
      this.#head++
      if (this.#head === 4096) {
        this.#queue.splice(0, this.#head)
        this.#head = 0
      }
    }
    // Looked at now and then: with a thousand markets a look for each row would be the work.
    if (++this.#pushes % 1024 !== 0 && now !== Infinity) return
    for (const m of this.#markets.values()) {
      if (m.open.length > 256) compact(m)
      while (m.prints.length > 0 && now - (m.prints[0] as Row).time > PRINT_WINDOW) m.prints.shift()
    }
  }
}

function settle(row: Row, label: Label, flags: number): void {
  row.flags = withLabel(row.flags | flags, label)
  row.open = false
}
function compact(m: Market): void {
  let n = 0
  for (const row of m.open) if (row.open) m.open[n++] = row
  m.open.length = n
}

/** The decrease of a resting order that this print took: same size and price, the side opposite to the taker's, close in time. */
function fits(delta: Row, print: Row): boolean {
  return (
    delta.price === print.price &&
    -delta.quantity === print.quantity &&
    delta.side === (print.side === BID ? ASK : BID) &&
    Math.abs(delta.timeVenue - print.timeVenue) <= PRINT_WINDOW
  )
}
/** The first of the two to arrive executes; the other is inert. A print with only milliseconds takes the delta's finer time. */
function pair(m: Market, delta: Row, print: Row, printFirst: boolean): void {
  settle(delta, Label.TRADE, printFirst ? 0 : Flag.EXECUTION)
  if (!printFirst) print.flags &= ~Flag.EXECUTION
  if (Math.abs(print.timeVenue - delta.timeVenue) < 1_000 && delta.timeVenue <= print.time) print.timeVenue = delta.timeVenue
  m.prints.splice(m.prints.indexOf(print), 1)
}

/**
 * Which decreases at the best price add up to the traded volume. The last trade is known by price and size, so it is looked for first; for the rest an
 * exact sum is searched among decreases, those that came back elsewhere at once considered last. What cannot be explained stays unexplained.
 */
function infer(candidates: readonly Row[], volume: number, ticker: Volume): number {
  let left = volume
  const trade = (row: Row): void => {
    left += row.quantity
    settle(row, Label.TRADE, Flag.EXECUTION | Flag.INFERRED)
  }
  for (let i = candidates.length - 1; i >= 0; i--) {
    const row = candidates[i] as Row
    if (row.price === ticker.last && -row.quantity === ticker.lastSize && -row.quantity <= left) {
      trade(row)
      break
    }
  }
  const rest = candidates
    .filter((r) => r.open && -r.quantity <= left)
    .sort((a, b) => Math.abs(a.price - ticker.last) - Math.abs(b.price - ticker.last) || b.timeVenue - a.timeVenue)
  const exact = sumTo(rest, left)
  if (exact !== null) for (const row of exact) trade(row)
  else for (const row of rest) if (-row.quantity <= left) trade(row)
  return volume - left
}

/** A subset whose sizes add up to `total`, found within a bounded search in the order given; null for none. */
function sumTo(rows: readonly Row[], total: number): Row[] | null {
  if (total === 0) return []
  const chosen: Row[] = []
  const suffix = new Float64Array(rows.length + 1)
  for (let i = rows.length - 1; i >= 0; i--) suffix[i] = (suffix[i + 1] as number) - (rows[i] as Row).quantity
  let steps = 0
  const search = (i: number, left: number): boolean => {
    if (left === 0) return true
    if (i >= rows.length || (suffix[i] as number) < left || ++steps > SEARCH_MAX) return false
    const row = rows[i] as Row
    if (-row.quantity <= left) {
      chosen.push(row)
      if (search(i + 1, left + row.quantity)) return true
      chosen.pop()
    }
    return search(i + 1, left)
  }
  return search(0, total) ? chosen : null
}
