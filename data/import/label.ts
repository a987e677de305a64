/**
 * Labels of decreases: which left the book because somebody traded, and which because their owner took them away. Owns the pairing with prints, the
 * inference from volume where there are none, amends and close wipes; hides the look-ahead window. Invariants: every negative delta leaves with one
 * label; each print is used once; inferred trades never exceed the exchange's own volume.
 *
 * What one venue instant of a market says (recorded KXBTC15M, 2026-05): a decrease with an increase on its own side is an amend, also when the size
 * changes; a decrease with an increase of the other side that reaches it is a trade whose taker rests with the remainder; a decrease behind the best
 * price that is left at the end of the instant cannot be a trade, whatever order the rows of a sweep have.
 */
import { Flag, Kind, Label, withLabel } from '../../engine/message.ts'
import { ASK, BID, PRICE_ONE } from '../../engine/units.ts'
import { tradesOf } from './infer.ts'

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
  /** A taker could have met it: nothing better was left when its venue instant ended. Known from then on. */
  reached: boolean
  /** The remainder of its taker came to rest in the same instant. */
  met: boolean
  /** An order of just this size had come to this level before: more likely its owner took it away. */
  whole: boolean
  /** It has left: its label can change no more (only where rows do not wait). */
  sent: boolean
}

/** A row whose label nobody has looked for. */
export const FRESH = { open: false, reached: false, met: false, whole: false, sent: false } as const

/** What the exchange says of a market at a moment: cumulative volume, last price and size. */
export type Volume = { readonly timeVenue: number; readonly volume: number; readonly last: number; readonly lastSize: number }

/** A print belongs to a delta within this (µs of venue time): prints carry milliseconds, older feeds seconds. */
const PRINT_WINDOW = 1_000_000
/** How long a decrease waits for a print (µs of tape time). */
const WAIT_PRINT = 5_000_000
/** … and for a ticker, where there are no prints: in the recordings of 2026-05 tickers came up to 21 s after their venue time, deltas within 0.5 s. */
const WAIT_TICKER = 30_000_000
/** Deltas of a ticker's span may arrive this much after it (µs of tape time). */
const TICKER_WAIT = 1_000_000
/** Decreases of a market that are remembered where rows do not wait. */
const OPEN_MAX = 512
/** So many decreases and nothing else in one instant that leaves no book: a wipe, also where no close time is known. */
const WIPE_ROWS = 100

type Market = {
  readonly hasPrints: boolean
  /** Units of the exchange's volume in which one contract traded counts (2: both sides are counted). */
  readonly volumeScale: number
  closeTime: number | null
  readonly open: Row[]
  readonly prints: Row[]
  /** Deltas of the current venue instant, and the best prices they left (0 and 10,000 for none). */
  instant: Row[]
  instantTime: number
  bid: number
  ask: number
  /** Orders as they came: how many of one size stand at one price. */
  readonly sizes: Map<number, number>
  /** Tickers whose venue time the deltas have not passed yet. */
  readonly tickers: { readonly now: Volume; readonly time: number }[]
  volume: Volume | null
  volumeKnown: boolean
  /** Trades by the exchange's own volume and as labelled (Quantity), over the spans that could be compared. */
  venueQuantity: number
  inferredQuantity: number
}

export class Labeler {
  readonly #queue: Row[] = []
  #head = 0
  readonly #markets = new Map<number, Market>()
  readonly #emit: (row: Row) => void
  readonly #wait: number

  /**
   * `wait`: how long (µs) a row waits at most for its label. A recording can wait as long as it takes. A live session that trades cannot wait at all (0): a row leaves at
   * once, with the label that is known by then, and of a delta that came before its print the print is the execution.
   */
  constructor(emit: (row: Row) => void, wait = Infinity) {
    this.#emit = emit
    this.#wait = wait
  }

  /** Declares a market. `hasPrints`: the recording has its trade channel. */
  market(market: number, hasPrints: boolean, closeTime: number | null, volumeScale = 1): void {
    const known = this.#markets.get(market)
    if (known === undefined) {
      this.#markets.set(market, {
        hasPrints,
        volumeScale,
        closeTime,
        open: [],
        prints: [],
        instant: [],
        instantTime: -1,
        bid: 0,
        ask: PRICE_ONE,
        sizes: new Map(),
        tickers: [],
        volume: null,
        volumeKnown: false,
        venueQuantity: 0,
        inferredQuantity: 0,
      })
    } else known.closeTime = closeTime
  }
  forget(market: number): void {
    this.#markets.delete(market)
  }
  quantities(market: number): { readonly venue: number | null; readonly inferred: number } {
    const m = this.#markets.get(market)
    return m === undefined || !m.volumeKnown ? { venue: null, inferred: 0 } : { venue: m.venueQuantity, inferred: m.inferredQuantity }
  }

  /** The next row, in tape order. `executes`: a print may stand for a decrease (a block trade never met the book). */
  push(row: Row, executes = true): void {
    if (this.#wait > 0) this.#queue.push(row)
    const m = this.#markets.get(row.market)
    if (m !== undefined) {
      if (row.kind === Kind.DELTA) this.#delta(m, row)
      else if (row.kind === Kind.TRADE && executes) this.#print(m, row)
      else if (row.kind === Kind.CLEAR) m.sizes.clear()
    }
    if (this.#wait > 0) return this.#drain(row.time)
    this.#emit(row)
    row.sent = true
  }

  /** When the next row has waited long enough; Infinity where none waits. */
  get due(): number {
    const row = this.#queue[this.#head]
    return row === undefined ? Infinity : row.time + this.#wait + 1
  }
  /** Time passes without rows. */
  advance(now: number): void {
    this.#drain(now)
  }

  /** The best prices that the last delta of a market left: 0 and 10,000 for none or unknown. */
  best(market: number, bid: number, ask: number): void {
    const m = this.#markets.get(market)
    if (m === undefined) return
    m.bid = bid
    m.ask = ask
  }

  /** A ticker: what traded since the last one, where there are no prints. It may come before or after the deltas that it speaks of. */
  ticker(market: number, now: Volume, time: number): void {
    const m = this.#markets.get(market)
    if (m === undefined) return
    m.tickers.push({ now, time })
    if (this.#wait === 0) explain(m, -Infinity, time)
  }

  /** A reconnection: volume of the time nobody saw is nobody's. */
  interrupted(market: number): void {
    const m = this.#markets.get(market)
    if (m === undefined) return
    endInstant(m)
    explain(m, Infinity, Infinity)
    const explained = m.hasPrints || m.volume !== null
    m.volume = null
    m.sizes.clear()
    for (const row of m.open) if (row.open) settle(row, explained ? Label.CANCEL : Label.NONE, m.hasPrints ? 0 : Flag.INFERRED)
    compact(m)
  }

  finish(): void {
    this.#drain(Infinity)
  }

  #delta(m: Market, row: Row): void {
    if (row.timeVenue !== m.instantTime) {
      endInstant(m)
      m.instantTime = row.timeVenue
      explain(m, row.timeVenue, row.time)
    }
    // Only an inference asks for it.
    if (!m.hasPrints) {
      const key = (row.side * (PRICE_ONE + 1) + row.price) * 2 ** 36 + Math.abs(row.quantity)
      const standing = m.sizes.get(key) ?? 0
      if (row.quantity > 0) m.sizes.set(key, standing + 1)
      else if (standing > 0) {
        row.whole = true
        if (standing === 1) m.sizes.delete(key)
        else m.sizes.set(key, standing - 1)
      }
    }
    if (m.closeTime !== null && row.timeVenue >= m.closeTime) {
      if (row.quantity < 0) settle(row, Label.CLOSE_WIPE, 0)
      return
    }
    m.instant.push(row)
    if (row.quantity >= 0) return
    row.open = true
    m.open.push(row)
    if (this.#wait === 0) {
      if (m.open.length >= OPEN_MAX) forgetOldest(m, row.time)
    } else if (m.open.length > 256) compact(m)
    if (m.hasPrints) {
      prunePrints(m, row.time)
      const print = m.prints.find((p) => fits(row, p))
      if (print !== undefined) pair(m, row, print, true)
    }
  }

  #print(m: Market, row: Row): void {
    prunePrints(m, row.time)
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
    else if (!printsOfOne(m, row)) decreasesOfOne(m, row)
  }

  #drain(now: number): void {
    while (this.#head < this.#queue.length) {
      const row = this.#queue[this.#head] as Row
      const m = this.#markets.get(row.market)
      if (row.open && m !== undefined) {
        if (now - row.time <= Math.min(this.#wait, m.hasPrints ? WAIT_PRINT : WAIT_TICKER)) break
        // Waited long enough: what the tickers say by now is all that will be said.
        if (m.instant.includes(row)) endInstant(m)
        explain(m, -Infinity, now)
        if (row.open) settle(row, m.hasPrints || m.volume !== null ? Label.CANCEL : Label.NONE, m.hasPrints ? 0 : Flag.INFERRED)
      } else if (row.kind === Kind.TRADE && now - row.time <= Math.min(this.#wait, PRINT_WINDOW) && m?.prints.includes(row) === true) break
      this.#emit(row)
      row.sent = true
      this.#head++
      if (this.#head === 4096) {
        this.#queue.splice(0, this.#head)
        this.#head = 0
      }
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
/** Where rows do not wait, decreases stay open for a print of theirs, not longer and not without bound. */
function forgetOldest(m: Market, now: number): void {
  const kept = m.open.filter((r) => r.open && now - r.time <= PRINT_WINDOW)
  m.open.length = 0
  for (const row of kept.slice(-OPEN_MAX / 2)) m.open.push(row)
}
function prunePrints(m: Market, now: number): void {
  while (m.prints.length > 0 && now - (m.prints[0] as Row).time > PRINT_WINDOW) m.prints.shift()
}

/** A venue instant is over: its amends are known, and which of its decreases a taker can have met. */
function endInstant(m: Market): void {
  const rows = m.instant
  if (rows.length === 0) return
  m.instant = []
  m.instantTime = -1
  if (rows.length > 1) {
    if (rows.length >= WIPE_ROWS && m.bid === 0 && m.ask === PRICE_ONE && rows.every((r) => r.quantity < 0)) {
      for (const row of rows) if (row.open) settle(row, Label.CLOSE_WIPE, 0)
      return
    }
    // The remainder of a taker rests on the other side: an increase on a decrease's own side is the same order, changed.
    for (const up of rows) {
      if (up.quantity < 0) continue
      const own = rows.filter((r) => r.open && r.side === up.side)
      const same = own.find((r) => r.quantity === -up.quantity) ?? own[own.length - 1]
      if (same !== undefined) settle(same, Label.AMEND, 0)
    }
  }
  for (const row of rows) {
    if (!row.open) continue
    row.reached = row.side === BID ? row.price >= m.bid : row.price <= m.ask
    row.met =
      row.reached &&
      rows.some((r) => r.quantity > 0 && r.side !== row.side && (row.side === BID ? r.price <= row.price : r.price >= row.price))
  }
}

/** The tickers that the deltas have passed, or waited out: which decreases their volume explains. Those that it does not were canceled. */
function explain(m: Market, venue: number, time: number): void {
  for (let next = m.tickers[0]; next !== undefined; next = m.tickers[0]) {
    const { now } = next
    if (now.timeVenue >= venue && time - next.time <= TICKER_WAIT) return
    m.tickers.shift()
    const before = m.volume
    if (before !== null && now.timeVenue <= before.timeVenue) continue
    m.volume = now
    if (before === null) continue
    m.volumeKnown = true
    const traded = Math.max(0, Math.floor((now.volume - before.volume) / m.volumeScale))
    m.venueQuantity += traded
    if (m.hasPrints) continue
    const candidates = m.open.filter((r) => r.open && r.timeVenue <= now.timeVenue)
    if (traded > 0)
      for (const row of tradesOf(candidates, traded, now)) {
        m.inferredQuantity -= row.quantity
        settle(row, Label.TRADE, Flag.EXECUTION | Flag.INFERRED)
      }
    for (const row of candidates) if (row.open) settle(row, Label.CANCEL, Flag.INFERRED)
    compact(m)
  }
}

/** The decrease of a resting order that this print took: same size and price, the side opposite to the taker's, close in time. */
function fits(delta: Row, print: Row): boolean {
  return -delta.quantity === print.quantity && meets(delta, print)
}
function meets(delta: Row, print: Row): boolean {
  return (
    delta.price === print.price &&
    delta.side === (print.side === BID ? ASK : BID) &&
    Math.abs(delta.timeVenue - print.timeVenue) <= PRINT_WINDOW
  )
}

/** The first of the two to arrive executes; the other is inert. A print with only milliseconds takes the delta's finer time. */
function pair(m: Market, delta: Row, print: Row, printFirst: boolean): void {
  settle(delta, Label.TRADE, printFirst ? 0 : Flag.EXECUTION)
  if (!printFirst && !delta.sent) print.flags &= ~Flag.EXECUTION
  if (Math.abs(print.timeVenue - delta.timeVenue) < 1_000 && delta.timeVenue <= print.time) print.timeVenue = delta.timeVenue
  m.prints.splice(m.prints.indexOf(print), 1)
}

/** Several prints of one instant that together are one decrease. */
function printsOfOne(m: Market, row: Row): boolean {
  const same = m.prints.filter((p) => p.timeVenue === row.timeVenue && p.price === row.price && p.side === row.side)
  if (same.length < 2) return false
  const sum = same.reduce((a, p) => a + p.quantity, 0)
  const delta = m.open.find((d) => d.open && -d.quantity === sum && meets(d, row))
  if (delta === undefined) return false
  settle(delta, Label.TRADE, Flag.EXECUTION)
  for (const print of same) {
    if (!delta.sent) print.flags &= ~Flag.EXECUTION
    m.prints.splice(m.prints.indexOf(print), 1)
  }
  return true
}

/** One print over several decreases of one venue instant, where their sizes add up to it. */
function decreasesOfOne(m: Market, row: Row): void {
  const near = m.open.filter((d) => d.open && meets(d, row))
  for (const { timeVenue } of near) {
    const same = near.filter((d) => d.timeVenue === timeVenue)
    if (same.length < 2 || same.reduce((a, d) => a - d.quantity, 0) !== row.quantity) continue
    for (const delta of same) settle(delta, Label.TRADE, Flag.EXECUTION)
    if (same.every((d) => !d.sent)) row.flags &= ~Flag.EXECUTION
    m.prints.splice(m.prints.indexOf(row), 1)
    return
  }
}
