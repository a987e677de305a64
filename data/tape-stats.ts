/** What a tape holds, in numbers. Owns the figures of `data stats`; hides the pass over the rows. Invariant: time-weighted figures count synced, uncrossed, two-sided time only. */
import { Book } from '../engine/book.ts'
import { gridOf } from '../engine/grid.ts'
import {
  Flag,
  Kind,
  KIND_NAMES,
  type CatalogDetail,
  type Depth,
  type GridDetail,
  type KindName,
  type LabelName,
  type SyncDetail,
} from '../engine/message.ts'
import { BID, type SideCode } from '../engine/units.ts'
import { putQuote } from './book-at.ts'
import type { MarketRow } from './schema.ts'
import type { Tape } from './tape-reader.ts'

export type MarketStats = {
  readonly ticker: string
  readonly rows: number
  readonly deltas: number
  readonly trades: number
  readonly contracts: number
  readonly venueContracts: number | null
  /** Cents, time-weighted while two-sided. */
  readonly spread: number | null
  /** Contracts at the two best prices together, time-weighted. */
  readonly touchDepth: number | null
  readonly low: number | null
  readonly high: number | null
  readonly result: string | null
}
/** What trades alone tell. */
export type PrintStats = {
  readonly trades: number
  readonly contracts: number
  readonly marketsTraded: number
  readonly perMarketMedian: number
  readonly perMarketMax: number
  /** Share of contracts whose taker bought YES. */
  readonly takerYes: number
  /** Cents. */
  readonly low: number
  readonly high: number
  /** Markets that no list names: not tradable. */
  readonly unlisted: number
  readonly volumeCompared: number
  readonly volumeEqual: number
}
export type TapeStats = {
  readonly name: string
  readonly depth: Depth
  readonly prints: PrintStats | null
  /** Those that only repeat what is known, for readers who begin in the middle, are no rows: `checkpoints`. */
  readonly rows: number
  readonly checkpoints: number
  readonly markets: number
  readonly from: string
  readonly to: string
  readonly hours: number
  /** Hours of market time that somebody recorded; the span may be much longer. */
  readonly recordedHours: number
  /** Share of recorded market time in which the book was synced. */
  readonly coverage: number | null
  readonly gaps: number
  readonly resyncs: number
  /** Null: not a recording of this program, or of before it counted. */
  readonly disconnects: number | null
  readonly breaks: { readonly count: number; readonly seconds: number } | null
  readonly inFlux: number
  readonly lastingCrosses: number
  readonly negativeLevels: number
  readonly quarantined: number
  readonly audits: number
  readonly auditsEqual: number
  readonly byKind: Readonly<Record<string, number>>
  readonly labels: readonly {
    readonly series: string
    readonly label: LabelName
    readonly inferred: boolean
    readonly count: number
    readonly contracts: number
    readonly share: number
  }[]
  readonly deltasPerTrade: number | null
  readonly spread: number | null
  readonly lagMilliseconds: { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number } | null
  readonly clock: readonly { readonly connection: string; readonly offsetMilliseconds: number; readonly uncertaintyMilliseconds: number }[]
  readonly perMarket: readonly MarketStats[]
  readonly remarks: readonly string[]
}

type Seen = {
  book: Book
  ticker: string
  synced: boolean
  at: number
  time: number
  spread: number
  depth: number
  low: number
  high: number
  unlisted: boolean
  tradeLow: number
  tradeHigh: number
}

export async function tapeStats(tape: Tape): Promise<TapeStats> {
  const { manifest } = tape
  const [rows, coverage] = [await tape.markets(), await tape.coverage()]
  const seen = new Map<number, Seen>()
  // Lags by whole milliseconds: enough for percentiles, and it does not grow.
  const lags = new Map<number, number>()
  let lagRows = 0
  let takerYes = 0
  let checkpoints = 0
  const repeated: number[] = []
  const weigh = (s: Seen, until: number): void => {
    const span = until - s.at
    s.at = until
    const { book } = s
    if (span <= 0 || !s.synced || !book.twoSided || book.crossed) return
    s.time += span
    s.spread += (book.ask - book.bid) * span
    s.depth += (book.bidQuantity + book.askQuantity) * span
    if (book.bid < s.low) s.low = book.bid
    if (book.ask > s.high) s.high = book.ask
  }
  for await (const b of await tape.read({ decode: 'thread' })) {
    for (let i = 0; i < b.length; i++) {
      const kind = b.kind[i] as number
      const time = b.time[i] as number
      const market = b.market[i] as number
      const flags = b.flags[i] as number
      if ((flags & Flag.CHECKPOINT) !== 0) {
        checkpoints++
        repeated[kind] = (repeated[kind] ?? 0) + 1
      }
      if (kind === Kind.CATALOG && !seen.has(market)) {
        const detail = JSON.parse(b.details[b.detail[i] as number] ?? '') as CatalogDetail
        seen.set(market, {
          book: new Book(gridOf(detail.grid)),
          ticker: detail.ticker,
          synced: false,
          at: time,
          time: 0,
          spread: 0,
          depth: 0,
          low: Infinity,
          high: -Infinity,
          unlisted: detail.status === 'unlisted',
          tradeLow: Infinity,
          tradeHigh: -Infinity,
        })
        continue
      }
      const s = seen.get(market)
      if (s === undefined) continue
      if (kind === Kind.GRID) s.book.regrid(gridOf((JSON.parse(b.details[b.detail[i] as number] ?? '') as GridDetail).grid))
      else if (kind === Kind.TRADE) {
        const price = b.price[i] as number
        if (price < s.tradeLow) s.tradeLow = price
        if (price > s.tradeHigh) s.tradeHigh = price
        if (b.side[i] === BID) takerYes += b.quantity[i] as number
      } else if (kind === Kind.QUOTE) {
        weigh(s, time)
        putQuote(s.book, b.side[i] as SideCode, b.price[i] as number, b.quantity[i] as number)
        s.synced = true
      } else if (kind === Kind.SYNC) {
        weigh(s, time)
        s.synced = (JSON.parse(b.details[b.detail[i] as number] ?? '') as SyncDetail).state === 'synced' && s.synced
      } else if (kind === Kind.STATUS) weigh(s, time)
      else if (kind === Kind.CLEAR && (flags & Flag.CHECKPOINT) === 0) {
        weigh(s, time)
        s.book.clear()
        s.synced = true
      } else if (kind === Kind.LEVEL && (flags & Flag.CHECKPOINT) === 0)
        s.book.set(b.side[i] as number, b.price[i] as number, b.quantity[i] as number)
      else if (kind === Kind.DELTA) {
        weigh(s, time)
        if (s.synced) s.book.change(b.side[i] as number, b.price[i] as number, b.quantity[i] as number)
        const lag = Math.floor((time - (b.timeVenue[i] as number)) / 1000)
        lags.set(lag, (lags.get(lag) ?? 0) + 1)
        lagRows++
      }
    }
  }
  const quantile = (q: number): number => {
    let left = Math.ceil(q * lagRows)
    for (const [lag, count] of [...lags].sort((a, b) => a[0] - b[0])) {
      left -= count
      if (left <= 0) return lag
    }
    return 0
  }
  const bySeen = new Map([...seen.values()].map((s) => [s.ticker, s]))
  const recorded = coverage.reduce((a, c) => a + c.recorded, 0)
  const sum = (f: (c: (typeof coverage)[number]) => number): number => coverage.reduce((a, c) => a + f(c), 0)
  const totals = new Map<string, number>()
  for (const l of manifest.labels) totals.set(l.series, (totals.get(l.series) ?? 0) + l.quantity)
  const trades = rows.reduce((a, m) => a + m.trades, 0)
  const labelled = manifest.labels.filter((l) => l.label === 'trade').reduce((a, l) => a + l.count, 0)
  const deltas = manifest.byKind.delta ?? 0
  const spreadTime = [...seen.values()].reduce((a, s) => a + s.time, 0)
  return {
    name: manifest.name,
    depth: manifest.depth,
    prints: manifest.depth === 'prints' ? printStats(rows, [...seen.values()], takerYes) : null,
    rows: manifest.rows - checkpoints,
    checkpoints,
    markets: manifest.markets,
    from: iso(manifest.from),
    to: iso(manifest.to),
    hours: (manifest.to - manifest.from) / 3_600_000_000,
    recordedHours: recorded / 3_600_000_000,
    coverage: recorded === 0 ? null : sum((c) => c.synced) / recorded,
    gaps: manifest.gaps,
    resyncs: sum((c) => c.resyncs),
    disconnects: manifest.disconnects ?? null,
    breaks: manifest.breaks === undefined ? null : { count: manifest.breaks.count, seconds: manifest.breaks.time / 1e6 },
    inFlux: manifest.inFlux,
    lastingCrosses: manifest.lastingCrosses,
    negativeLevels: manifest.negativeLevels,
    quarantined: manifest.quarantined,
    audits: sum((c) => c.audits),
    auditsEqual: sum((c) => c.auditsEqual),
    byKind: Object.fromEntries(
      Object.entries(manifest.byKind)
        .map(([name, n]) => [name, n - (repeated[KIND_NAMES.indexOf(name as KindName)] ?? 0)] as const)
        .filter(([, n]) => n > 0),
    ),
    labels: manifest.labels.map((l) => ({
      series: l.series,
      label: l.label,
      inferred: l.inferred,
      count: l.count,
      contracts: l.quantity / 100,
      share: l.quantity / (totals.get(l.series) ?? 1),
    })),
    deltasPerTrade: Math.max(trades, labelled) === 0 ? null : deltas / Math.max(trades, labelled),
    spread: spreadTime === 0 ? null : [...seen.values()].reduce((a, s) => a + s.spread, 0) / spreadTime / 100,
    lagMilliseconds: lagRows === 0 ? null : { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99), max: manifest.lagMax / 1000 },
    clock: manifest.clock.map((c) => ({
      connection: c.connection,
      offsetMilliseconds: c.offset / 1000,
      uncertaintyMilliseconds: c.uncertainty / 1000,
    })),
    perMarket: rows.map((m) => {
      const s = bySeen.get(m.ticker)
      const has = s !== undefined && s.time > 0
      return {
        ticker: m.ticker,
        rows: m.rows,
        deltas: m.deltas,
        trades: m.trades,
        contracts: m.tradedQuantity / 100,
        venueContracts: m.venueQuantity === null ? null : m.venueQuantity / 100,
        spread: has ? s.spread / s.time / 100 : null,
        touchDepth: has ? s.depth / s.time / 100 : null,
        low: has ? s.low / 100 : traded(s) ? s.tradeLow / 100 : null,
        high: has ? s.high / 100 : traded(s) ? s.tradeHigh / 100 : null,
        result: m.result,
      }
    }),
    remarks: manifest.remarks,
  }
}

/** Prices of its trades, where there is no book to take them from. */
function traded(s: Seen | undefined): s is Seen {
  return s !== undefined && s.tradeHigh >= 0
}

function printStats(rows: readonly MarketRow[], seen: readonly Seen[], takerYes: number): PrintStats {
  const counts = rows
    .map((m) => m.trades)
    .filter((n) => n > 0)
    .sort((a, b) => a - b)
  const quantity = rows.reduce((a, m) => a + m.tradedQuantity, 0)
  const compared = rows.filter((m) => m.venueQuantity !== null && m.trades > 0)
  return {
    trades: counts.reduce((a, n) => a + n, 0),
    contracts: quantity / 100,
    marketsTraded: counts.length,
    perMarketMedian: counts[counts.length >> 1] ?? 0,
    perMarketMax: counts[counts.length - 1] ?? 0,
    takerYes: quantity === 0 ? 0 : takerYes / quantity,
    low: seen.reduce((low, s) => Math.min(low, s.tradeLow), Infinity) / 100,
    high: seen.reduce((high, s) => Math.max(high, s.tradeHigh), -Infinity) / 100,
    unlisted: seen.filter((s) => s.unlisted).length,
    volumeCompared: compared.length,
    volumeEqual: compared.filter((m) => m.venueQuantity === m.tradedQuantity).length,
  }
}

export function iso(microseconds: number): string {
  const milliseconds = Math.floor(microseconds / 1000)
  return `${new Date(milliseconds).toISOString().slice(0, -1)}${String(microseconds - milliseconds * 1000).padStart(3, '0')}Z`
}
