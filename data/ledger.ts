/**
 * What a recording knows of each market and each hour while it grows. Owns coverage and the rows of markets.parquet as they follow from the tape's rows and the recorder's notes;
 * hides the counters. Invariants: a moment is counted once, recorded time is never less than synced time, and the same rows give the same figures whenever they were written out.
 */
import { Book } from '../engine/book.ts'
import { gridOf } from '../engine/grid.ts'
import {
  Flag,
  Kind,
  Label,
  LABEL_NAMES,
  labelOf,
  type Batch,
  type CatalogDetail,
  type DeterminedDetail,
  type FeeDetail,
  type GridDetail,
  type StatusDetail,
  type SyncDetail,
} from '../engine/message.ts'
import { HOUR } from '../engine/units.ts'
import { isBreak, isGap, Losses } from './losses.ts'
import type { ClockOffset, CoverageRow, LabelShare, Manifest, MarketRow } from './schema.ts'

/** What the coverage of a tape must know and no row says. */
export type Note =
  /** Our best prices compared with the exchange's own. */
  | { readonly type: 'audit'; readonly ticker: string; readonly time: number; readonly equal: boolean }
  /** The exchange's own cumulative volume over the span that was recorded (Quantity). */
  | { readonly type: 'volume'; readonly ticker: string; readonly quantity: number }
  | { readonly type: 'clock'; readonly offset: ClockOffset }
  | { readonly type: 'remark'; readonly text: string }
  | { readonly type: 'quarantined'; readonly count: number }

/** What a tape knows of a market that has not paid: its catalog row as later rows changed it, and its result, once there was one. */
export type KnownMarket = { readonly catalog: CatalogDetail; readonly result: string | null; readonly settlementValue: number | null }

type Hour = { -readonly [K in keyof Omit<CoverageRow, 'market' | 'hour' | 'partialBook'>]: number }
const emptyHour = (): Hour => ({
  rows: 0,
  recorded: 0,
  synced: 0,
  gaps: 0,
  resyncs: 0,
  inFlux: 0,
  negativeLevels: 0,
  lastingCrosses: 0,
  audits: 0,
  auditsEqual: 0,
})

class Entry {
  catalog: CatalogDetail
  readonly book: Book
  synced = false
  everSnapped = false
  /** The next row starts recorded time anew. */
  paused = false
  accounted = -1
  venueTime = 0
  fluxTime = -1
  rows = 0
  deltas = 0
  prints = 0
  printed = 0
  labelled = 0
  labelledQuantity = 0
  /** Trades before the recorder was started again. */
  tradesBefore = 0
  tradedBefore = 0
  venueQuantity: number | null = null
  result: string | null = null
  settlementValue: number | null = null
  determinedTime: number | null = null
  settledTime: number | null = null
  firstTime = -1
  lastTime = -1
  /** Hours with news since they were last written out. */
  readonly hours = new Map<number, Hour>()

  constructor(catalog: CatalogDetail) {
    this.catalog = catalog
    this.book = new Book(gridOf(catalog.grid))
  }

  hour(time: number): Hour {
    const hour = Math.floor(time / HOUR) * HOUR
    let h = this.hours.get(hour)
    if (h === undefined) {
      h = emptyHour()
      this.hours.set(hour, h)
    }
    return h
  }
  /** Time passes for a market that is being recorded. */
  account(time: number): void {
    // Before it opens and after its close there is no book that could be missed.
    if (this.catalog.status !== 'active' && this.catalog.status !== 'inactive') {
      this.accounted = Math.max(this.accounted, time)
      this.paused = false
      return
    }
    if (this.accounted < 0 || this.paused) {
      this.accounted = Math.max(this.accounted, time)
      this.paused = false
    }
    while (this.accounted < time) {
      const end = Math.min(time, (Math.floor(this.accounted / HOUR) + 1) * HOUR)
      const h = this.hour(this.accounted)
      h.recorded += end - this.accounted
      if (this.synced) h.synced += end - this.accounted
      this.accounted = end
    }
  }
  row(partialBook: boolean): MarketRow {
    const { catalog } = this
    return {
      ticker: catalog.ticker,
      event: catalog.event,
      series: catalog.series,
      title: catalog.title,
      exclusive: catalog.exclusive,
      strike: catalog.strike,
      openTime: catalog.openTime,
      closeTime: catalog.closeTime,
      grid: JSON.stringify(catalog.grid),
      gridBasis: 'stated',
      fee: JSON.stringify(catalog.fee),
      feeBasis: 'stated',
      result: this.result,
      settlementValue: this.settlementValue,
      determinedTime: this.determinedTime,
      settledTime: this.settledTime,
      rows: this.rows,
      deltas: this.deltas,
      trades: this.tradesBefore + (this.prints > 0 ? this.prints : this.labelled),
      tradedQuantity: this.tradedBefore + (this.prints > 0 ? this.printed : this.labelledQuantity),
      venueQuantity: this.venueQuantity,
      partialBook,
      firstTime: Math.max(0, this.firstTime),
      lastTime: Math.max(0, this.lastTime),
    }
  }
}

/** Sums over the whole tape. */
type Sums = { inFlux: number; negativeLevels: number; lastingCrosses: number; quarantined: number }

export class Ledger {
  readonly #losses = new Losses()
  readonly sums: Sums = { inFlux: 0, negativeLevels: 0, lastingCrosses: 0, quarantined: 0 }
  readonly remarks = new Set<string>()
  readonly #clock = new Map<string, ClockOffset>()
  readonly #entries = new Map<string, Entry>()
  readonly #shares = new Map<string, { count: number; quantity: number }>()
  /** Markets whose figures changed since they were last written out. */
  readonly #changed = new Set<Entry>()
  /** Markets with rows, dead ones included. */
  markets = 0
  readonly #depthBook: boolean

  constructor(depth: Manifest['depth']) {
    this.#depthBook = depth === 'book'
  }

  row(batch: Batch, i: number, ticker: string): void {
    const kind = batch.kind[i] as number
    const time = batch.time[i] as number
    const detail = batch.detail[i] as number
    const text = detail < 0 ? '' : (batch.details[detail] as string)
    this.#losses.row(kind, time, text)
    if (ticker === '') return
    let m = this.#entries.get(ticker)
    if (m === undefined) {
      // A late row of a market that has paid says nothing new.
      if (kind !== Kind.CATALOG) return
      const catalog = JSON.parse(text) as CatalogDetail
      if (catalog.status === 'finalized') return
      m = new Entry(catalog)
      this.#entries.set(ticker, m)
      this.markets++
    }
    m.account(time)
    m.rows++
    m.hour(time).rows++
    if (m.firstTime < 0) m.firstTime = time
    m.lastTime = time
    this.#changed.add(m)
    if (kind >= Kind.CATALOG) this.#rare(m, kind, time, text)
    else this.#market(m, batch, i, kind, time)
  }

  #market(m: Entry, batch: Batch, i: number, kind: number, time: number): void {
    const flags = batch.flags[i] as number
    const side = batch.side[i] as number
    const price = batch.price[i] as number
    const quantity = batch.quantity[i] as number
    const venue = batch.timeVenue[i] as number
    if (venue > m.venueTime) m.venueTime = venue
    if (kind === Kind.DELTA) {
      m.deltas++
      if (quantity < 0) this.#labelled(m, flags, -quantity)
      if (m.synced && !m.book.change(side, price, quantity)) m.synced = false
    } else if (kind === Kind.TRADE) {
      m.prints++
      m.printed += quantity
      return
    } else if (kind === Kind.CLEAR) {
      m.book.clear()
      if ((flags & Flag.LAST) !== 0) this.#snapped(m, time)
    } else if (kind === Kind.LEVEL) {
      m.book.set(side, price, quantity)
      if ((flags & Flag.LAST) !== 0) this.#snapped(m, time)
    } else if (kind === Kind.QUOTE) {
      m.book.quote(side, price, quantity)
      if ((flags & Flag.LAST) !== 0) this.#snapped(m, time)
    }
    if ((flags & Flag.LAST) === 0 || !m.synced || !m.book.crossed || m.fluxTime === m.venueTime) return
    // In flux: once for each venue instant.
    m.fluxTime = m.venueTime
    m.hour(time).inFlux++
    this.sums.inFlux++
  }
  #snapped(m: Entry, time: number): void {
    if (m.everSnapped && !m.synced) m.hour(time).resyncs++
    m.everSnapped = true
    m.synced = true
  }
  #labelled(m: Entry, flags: number, quantity: number): void {
    const label = labelOf(flags)
    const key = `${label} ${flags & Flag.INFERRED} ${m.catalog.series}`
    const share = this.#shares.get(key) ?? { count: 0, quantity: 0 }
    share.count++
    share.quantity += quantity
    this.#shares.set(key, share)
    if (label !== Label.TRADE) return
    m.labelled++
    m.labelledQuantity += quantity
  }

  #rare(m: Entry, kind: number, time: number, text: string): void {
    switch (kind) {
      case Kind.STATUS: {
        const { status, closeTime } = JSON.parse(text) as StatusDetail
        m.catalog = { ...m.catalog, status, ...(closeTime === undefined ? {} : { closeTime }) }
        return
      }
      case Kind.GRID: {
        const { grid } = JSON.parse(text) as GridDetail
        m.catalog = { ...m.catalog, grid }
        if (!m.book.regrid(gridOf(grid))) m.synced = false
        return
      }
      case Kind.FEE:
        m.catalog = { ...m.catalog, fee: JSON.parse(text) as FeeDetail }
        return
      case Kind.SYNC: {
        const { state, reason } = JSON.parse(text) as SyncDetail
        if (state !== 'unsynced') return
        m.synced = false
        const h = m.hour(time)
        if (isBreak(reason)) m.paused = true
        if (reason === 'crossed') {
          h.lastingCrosses++
          this.sums.lastingCrosses++
        } else if (reason === 'negative level') {
          h.negativeLevels++
          this.sums.negativeLevels++
        } else if (isGap(reason)) h.gaps++
        return
      }
      case Kind.DETERMINED: {
        const { result, value } = JSON.parse(text) as DeterminedDetail
        m.result = result
        m.settlementValue = value
        m.determinedTime = time
        return
      }
      case Kind.SETTLED:
        m.settledTime = time
        return
      default:
    }
  }

  note(note: Note): void {
    if (note.type === 'remark') this.remarks.add(note.text)
    else if (note.type === 'clock') this.#clock.set(note.offset.connection, note.offset)
    else if (note.type === 'quarantined') this.sums.quarantined += note.count
    else {
      const m = this.#entries.get(note.ticker)
      if (m === undefined) return
      this.#changed.add(m)
      if (note.type === 'volume') m.venueQuantity = note.quantity
      else {
        const h = m.hour(note.time)
        h.audits++
        if (note.equal) h.auditsEqual++
      }
    }
  }

  /** Whether the market has paid: it may be forgotten once it is written out. */
  paid(ticker: string): boolean {
    const m = this.#entries.get(ticker)
    return m === undefined || m.settledTime !== null
  }

  /** The result of a market, as far as it is known. */
  result(ticker: string): Omit<KnownMarket, 'catalog'> {
    const m = this.#entries.get(ticker)
    return { result: m?.result ?? null, settlementValue: m?.settlementValue ?? null }
  }

  /** What changed since it was last taken. Hours that are over are forgotten with it, and so are markets that have paid. */
  take(): { markets: MarketRow[]; coverage: CoverageRow[] } {
    const markets: MarketRow[] = []
    const coverage: CoverageRow[] = []
    for (const m of [...this.#changed].sort((a, b) => (a.catalog.ticker < b.catalog.ticker ? -1 : 1))) {
      const partialBook = this.#depthBook && !m.everSnapped
      markets.push(m.row(partialBook))
      const current = Math.floor(m.accounted / HOUR) * HOUR
      for (const [hour, h] of [...m.hours].sort((a, b) => a[0] - b[0])) {
        coverage.push({ market: m.catalog.ticker, hour, ...h, partialBook })
        if (hour < current) m.hours.delete(hour)
      }
      if (m.settledTime !== null) this.#entries.delete(m.catalog.ticker)
    }
    this.#changed.clear()
    return { markets, coverage }
  }

  /** The manifest's part of what it knows. */
  facts(): Pick<
    Manifest,
    | 'clock'
    | 'labels'
    | 'labelBasis'
    | 'gaps'
    | 'disconnects'
    | 'breaks'
    | 'inFlux'
    | 'negativeLevels'
    | 'lastingCrosses'
    | 'quarantined'
    | 'remarks'
  > {
    const labels: LabelShare[] = [...this.#shares]
      .map(([key, share]) => {
        const [label, inferred, series] = key.split(' ') as [string, string, string]
        return { series, label: LABEL_NAMES[Number(label)] as LabelShare['label'], inferred: inferred !== '0', ...share }
      })
      .sort((a, b) => (a.series + a.label + String(a.inferred) < b.series + b.label + String(b.inferred) ? -1 : 1))
    const paired = labels.some((l) => l.label === 'trade' && !l.inferred)
    const guessed = labels.some((l) => l.label === 'trade' && l.inferred)
    return {
      clock: [...this.#clock.values()],
      labels,
      labelBasis: paired && guessed ? 'mixed' : paired ? 'paired with prints' : guessed ? 'inferred' : 'none',
      ...this.#losses.facts,
      ...this.sums,
      remarks: [...this.remarks].sort(),
    }
  }

  /** Goes on from what was written out. */
  continue(manifest: Manifest): void {
    const { inFlux, negativeLevels, lastingCrosses, quarantined } = manifest
    this.#losses.continue(manifest)
    Object.assign(this.sums, { inFlux, negativeLevels, lastingCrosses, quarantined })
    for (const remark of manifest.remarks) this.remarks.add(remark)
    for (const offset of manifest.clock) this.#clock.set(offset.connection, offset)
    for (const { series, label, inferred, count, quantity } of manifest.labels)
      this.#shares.set(`${LABEL_NAMES.indexOf(label)} ${inferred ? Flag.INFERRED : 0} ${series}`, { count, quantity })
    this.markets = manifest.markets
  }
  /** A market that is alive, as it was written out; `hours`: those that may still get news. */
  restore(catalog: CatalogDetail, row: MarketRow, hours: readonly CoverageRow[]): void {
    const m = new Entry(catalog)
    Object.assign(m, {
      everSnapped: !row.partialBook,
      accounted: row.lastTime,
      rows: row.rows,
      deltas: row.deltas,
      tradesBefore: row.trades,
      tradedBefore: row.tradedQuantity,
      venueQuantity: row.venueQuantity,
      result: row.result,
      settlementValue: row.settlementValue,
      determinedTime: row.determinedTime,
      settledTime: row.settledTime,
      firstTime: row.firstTime,
      lastTime: row.lastTime,
    })
    for (const { market: _market, hour, partialBook: _partial, ...h } of hours) m.hours.set(hour, { ...h })
    this.#entries.set(catalog.ticker, m)
  }
  /** The book of a restored market, as its rows since the last checkpoint left it. */
  rebook(ticker: string, bids: ReadonlyMap<number, number>, asks: ReadonlyMap<number, number>, synced: boolean): void {
    const m = this.#entries.get(ticker)
    if (m === undefined) return
    m.book.clear()
    for (const [price, quantity] of bids) m.book.set(0, price, quantity)
    for (const [price, quantity] of asks) m.book.set(1, price, quantity)
    m.synced = synced
  }
}
