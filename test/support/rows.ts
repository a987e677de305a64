/**
 * Random but honest market data for tests: a naive book per market from which deltas, paired trades, snapshots, amends, gaps, closes
 * and settlements are drawn. Written for clarity; shares no code with the engine's book or the practice population.
 */
import { createBatch, Flag, Kind, Label, pushRow, withLabel, type Batch, type CatalogDetail } from '../../engine/message.ts'
import { ASK, BID } from '../../engine/units.ts'
import { integer, random } from './random.ts'

export type Row = {
  time: number
  timeVenue: number
  market: number
  kind: number
  flags: number
  side: number
  price: number
  quantity: number
  detail: string | null
}

export type RandomTape = { readonly rows: Row[]; readonly tickers: string[]; readonly lagMax: number; readonly end: number }

export type RandomTapeOptions = {
  readonly seed: number
  readonly rows: number
  readonly markets?: number
  readonly exclusive?: boolean
  readonly settle?: boolean
  readonly gaps?: boolean
  readonly start?: number
}

export const START = 1_790_000_000_000_000

export function catalog(ticker: string, more: Partial<CatalogDetail> = {}): CatalogDetail {
  return {
    ticker,
    event: `${ticker.split('-')[0]}-E`,
    series: ticker.split('-')[0] ?? ticker,
    title: `Title of ${ticker}`,
    exclusive: false,
    strike: null,
    openTime: START,
    closeTime: START + 3_600_000_000,
    status: 'active',
    grid: [{ start: 0, end: 10_000, step: 100 }],
    fee: { type: 'quadratic', multiplier: 10_000 },
    ...more,
  }
}

/** Rows of `markets` markets over `rows` rows or so; times strictly increase by message, lag 1 … 30 ms. */
export function randomTape({
  seed,
  rows: wanted,
  markets = 1,
  exclusive = false,
  settle = false,
  gaps = false,
  start = START,
}: RandomTapeOptions): RandomTape {
  const next = random(seed)
  const rows: Row[] = []
  const tickers = Array.from({ length: markets }, (_, i) => `KXTEST${exclusive ? '' : i}-26JAN01-B${i}`)
  const books = tickers.map(() => [new Map<number, number>(), new Map<number, number>()] as const)
  const venueLast = tickers.map(() => 0)
  let time = start
  let lagMax = 0
  const push = (
    market: number,
    kind: number,
    flags: number,
    side: number,
    price: number,
    quantity: number,
    venue: number,
    detail: unknown = null,
  ) => {
    rows.push({
      time,
      timeVenue: venue,
      market,
      kind,
      flags,
      side,
      price,
      quantity,
      detail: detail === null ? null : JSON.stringify(detail),
    })
    if (venue > 0 && time - venue > lagMax) lagMax = time - venue
  }
  const best = (m: number, side: number): number => {
    const prices = [...(books[m]?.[side] ?? new Map<number, number>()).keys()]
    if (prices.length === 0) return -1
    return side === BID ? Math.max(...prices) : Math.min(...prices)
  }
  const snapshot = (m: number, venue: number) => {
    const all = [BID, ASK].flatMap((side) => [...(books[m]?.[side] ?? new Map<number, number>())].map(([p, q]) => [side, p, q] as const))
    push(m, Kind.CLEAR, all.length === 0 ? Flag.LAST : 0, 0, 0, 0, venue)
    all.forEach(([side, p, q], i) => push(m, Kind.LEVEL, i === all.length - 1 ? Flag.LAST : 0, side, p, q, venue))
  }
  const change = (m: number, side: number, p: number, q: number, venue: number, flags = 0) => {
    const book = books[m]?.[side] as Map<number, number>
    const left = (book.get(p) ?? 0) + q
    if (left === 0) book.delete(p)
    else book.set(p, left)
    push(m, Kind.DELTA, flags | Flag.LAST, side, p, q, venue)
  }
  tickers.forEach((ticker, m) => {
    push(m, Kind.CATALOG, Flag.LAST, 0, 0, 0, start, catalog(ticker, exclusive ? { exclusive: true, event: 'KXTEST-E' } : {}))
    const mid = integer(next, 20, 80)
    for (let k = 1; k <= 8; k++) {
      books[m]?.[BID].set((mid - k) * 100, integer(next, 1, 60) * 100)
      books[m]?.[ASK].set((mid + k) * 100, integer(next, 1, 60) * 100)
    }
    snapshot(m, start)
    venueLast[m] = start
  })
  while (rows.length < wanted) {
    time += integer(next, 1, 40_000)
    const m = integer(next, 0, markets - 1)
    const venue = Math.max((venueLast[m] as number) + 1, time - integer(next, 1, 30_000))
    if (venue > time) continue
    venueLast[m] = venue
    const side = next() < 0.5 ? BID : ASK
    const b = best(m, BID)
    const a = best(m, ASK)
    const u = next()
    if (u < 0.45) {
      // An order rests, inside the spread at most.
      const p = side === BID ? (a < 0 ? 5000 : a) - integer(next, 1, 10) * 100 : (b < 0 ? 5000 : b) + integer(next, 1, 10) * 100
      if (p >= 100 && p <= 9900 && (side === BID ? a < 0 || p < a : b < 0 || p > b)) change(m, side, p, integer(next, 1, 40) * 50, venue)
    } else if (u < 0.75) {
      // Somebody cancels.
      const prices = [...(books[m]?.[side] ?? new Map<number, number>())]
      const level = prices[integer(next, 0, Math.max(0, prices.length - 1))]
      if (level !== undefined) {
        const q = next() < 0.3 ? level[1] : integer(next, 1, level[1])
        change(m, side, level[0], -q, venue, withLabel(0, Label.CANCEL))
      }
    } else if (u < 0.95) {
      // A taker walks the book: for each level one delta and one print, in either order.
      const resting = side
      let left = integer(next, 1, 60) * 50
      for (let levels = 0; levels < 3 && left > 0; levels++) {
        const p = best(m, resting)
        if (p < 0) break
        const q = Math.min(left, books[m]?.[resting].get(p) as number)
        left -= q
        const print = (first: boolean) =>
          push(m, Kind.TRADE, Flag.LAST | (first ? Flag.EXECUTION : 0), resting === BID ? ASK : BID, p, q, venue)
        if (next() < 0.7) {
          change(m, resting, p, -q, venue, withLabel(Flag.EXECUTION, Label.TRADE))
          time += integer(next, 0, 500)
          print(false)
        } else {
          print(true)
          time += integer(next, 0, 500)
          change(m, resting, p, -q, venue, withLabel(0, Label.TRADE))
        }
      }
    } else if (gaps && u > 0.97) {
      push(m, Kind.SYNC, Flag.LAST, 0, 0, 0, venue, { state: 'unsynced', reason: 'gap' })
      time += integer(next, 1, 400_000)
      for (const book of books[m] ?? []) for (const [p, q] of book) if (next() < 0.3) book.set(p, Math.max(100, q - 100))
      venueLast[m] = time
      snapshot(m, time)
    } else if (next() < 0.3) snapshot(m, venue)
  }
  if (settle) {
    tickers.forEach((_, m) => {
      time += integer(next, 1_000, 1_000_000)
      push(m, Kind.STATUS, Flag.LAST, 0, 0, 0, time, { status: 'closed' })
      // The wipe: everything leaves at one venue instant, and none of it is a trade.
      time += 600_000
      for (const s of [BID, ASK])
        for (const [p, q] of Array.from(books[m]?.[s] ?? [])) change(m, s, p, -q, time, withLabel(0, Label.CLOSE_WIPE))
      time += 60_000_000
      const yes = exclusive ? m === 0 : next() < 0.5
      push(m, Kind.DETERMINED, Flag.LAST, 0, 0, 0, time, { result: yes ? 'yes' : 'no', value: yes ? 10_000 : 0 })
      time += 60_000_000
      push(m, Kind.SETTLED, Flag.LAST, 0, 0, 0, time, {})
    })
  }
  // Rows of one receive time keep their order; times never decrease by construction.
  return { rows, tickers, lagMax, end: time }
}

/** Cuts rows into batches of `size`. */
export function* batchesOf(rows: readonly Row[], size: number): IterableIterator<Batch> {
  for (let i = 0; i < rows.length; i += size) {
    const batch = createBatch(size)
    for (const r of rows.slice(i, i + size))
      pushRow(batch, r.time, r.timeVenue, r.market, r.kind as 0, r.flags, r.side, r.price, r.quantity, r.detail)
    yield batch
  }
}

/** What a trades-only recording of the same markets holds. */
export function printsOf(rows: readonly Row[]): Row[] {
  return rows
    .filter((r) => r.kind === Kind.TRADE || r.kind === Kind.CATALOG || (r.kind >= Kind.STATUS && r.kind !== Kind.SYNC))
    .map((r) => (r.kind === Kind.TRADE ? { ...r, flags: Flag.LAST | Flag.EXECUTION } : r))
}

/** What a recording of best prices alone holds: a pair of rows whenever one of them changed at the end of a message. */
export function quotesOf(rows: readonly Row[]): Row[] {
  const books = new Map<number, [Map<number, number>, Map<number, number>]>()
  const last = new Map<number, string>()
  const out: Row[] = []
  for (const r of rows) {
    const book = books.get(r.market) ?? [new Map<number, number>(), new Map<number, number>()]
    books.set(r.market, book)
    const levels = book[r.side as 0 | 1]
    if (r.kind >= Kind.CATALOG && r.kind !== Kind.SYNC) out.push(r)
    if (r.kind === Kind.CLEAR) for (const side of book) side.clear()
    if (r.kind === Kind.LEVEL) levels.set(r.price, r.quantity)
    if (r.kind === Kind.DELTA) {
      const q = (levels.get(r.price) ?? 0) + r.quantity
      if (q > 0) levels.set(r.price, q)
      else levels.delete(r.price)
    }
    if ((r.flags & Flag.LAST) === 0 || r.kind > Kind.DELTA) continue
    const bid = Math.max(-1, ...book[BID].keys())
    const ask = Math.min(99_999, ...book[ASK].keys())
    if (bid >= ask) continue
    const pair = [
      { ...r, kind: Kind.QUOTE, flags: 0, side: BID, price: Math.max(0, bid), quantity: book[BID].get(bid) ?? 0 },
      { ...r, kind: Kind.QUOTE, flags: Flag.LAST, side: ASK, price: ask > 10_000 ? 0 : ask, quantity: book[ASK].get(ask) ?? 0 },
    ]
    const text = JSON.stringify(pair.map((p) => [p.price, p.quantity]))
    if (last.get(r.market) === text) continue
    last.set(r.market, text)
    out.push(...pair)
  }
  return out
}

/** Rows of an outside series among the others, some published long before they were known, some revised. */
export function withExternals(rows: readonly Row[], seed: number, series = 'spot'): Row[] {
  const next = random(seed)
  const out: Row[] = []
  let value = 1000
  rows.forEach((row, i) => {
    out.push(row)
    if ((row.flags & Flag.LAST) === 0 || next() > 0.2 || (rows[i + 1]?.time ?? 0) === row.time) return
    value += integer(next, -50, 50) / 10
    const revision = next() < 0.1 ? 1 : 0
    const published = row.time - integer(next, 0, 200_000)
    const detail = JSON.stringify({ series, value, revision })
    out.push({
      time: row.time,
      timeVenue: published,
      market: -1,
      kind: Kind.EXTERNAL,
      flags: Flag.LAST,
      side: 0,
      price: 0,
      quantity: 0,
      detail,
    })
  })
  return out
}
