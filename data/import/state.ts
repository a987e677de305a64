/**
 * What an import knows of each market and each hour while it runs. Owns the audit of books (negative levels, crosses, the exchange's own best prices) and
 * coverage; hides the counters. Invariant: a moment is counted once, and recorded time is never less than synced time.
 */
import { Book } from '../../engine/book.ts'
import { gridOf } from '../../engine/grid.ts'
import type { FeeDetail, GridBand, MarketStatus } from '../../engine/message.ts'
import { HOUR } from '../../engine/units.ts'
import type { CoverageRow, MarketRow } from '../schema.ts'
import { eventOf, seriesOf } from './survey.ts'

type Hour = {
  rows: number
  recorded: number
  synced: number
  gaps: number
  resyncs: number
  inFlux: number
  negativeLevels: number
  lastingCrosses: number
  audits: number
  auditsEqual: number
}
export type Counter = Exclude<keyof Hour, 'rows' | 'recorded' | 'synced'>

export class MarketState {
  readonly ticker: string
  readonly number: number
  readonly book: Book
  connection: string
  event: string
  series: string
  title: string
  exclusive: boolean | null = null
  strike: string | null = null
  openTime: number | null = null
  closeTime: number | null = null
  grid: readonly GridBand[]
  gridBasis: 'stated' | 'inferred'
  fee: FeeDetail = { type: 'quadratic', multiplier: 10_000 }
  feeBasis: 'stated' | 'assumed' = 'assumed'
  status: MarketStatus = 'active'
  result: string | null = null
  settlementValue: number | null = null
  determinedTime: number | null = null
  settledTime: number | null = null
  synced = false
  everSnapped = false
  /** Venue instant the book stands in, and whether it was counted as in flux. */
  venueTime = 0
  fluxTime = -1
  fluxSince = -1
  rows = 0
  deltas = 0
  trades = 0
  tradedQuantity = 0
  firstTime = -1
  lastTime = -1
  readonly #hours = new Map<number, Hour>()
  #accounted = -1

  constructor(ticker: string, number: number, connection: string, grid: readonly GridBand[], gridBasis: 'stated' | 'inferred') {
    this.ticker = ticker
    this.number = number
    this.connection = connection
    this.event = eventOf(ticker)
    this.series = seriesOf(ticker)
    this.title = ticker
    this.grid = grid
    this.gridBasis = gridBasis
    this.book = new Book(gridOf(grid))
  }

  /** Its prices lie on another grid from now on. False: a level of the book does not. */
  regrid(bands: readonly GridBand[]): boolean {
    this.grid = bands
    return this.book.regrid(gridOf(bands))
  }

  hour(time: number): Hour {
    const hour = Math.floor(time / HOUR) * HOUR
    let h = this.#hours.get(hour)
    if (h === undefined) {
      h = {
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
      }
      this.#hours.set(hour, h)
    }
    return h
  }
  count(what: Counter, time: number): void {
    this.hour(time)[what]++
  }

  /** Time passes for a market that is being recorded. */
  account(time: number): void {
    if (this.#accounted < 0) {
      this.#accounted = time
      this.firstTime = time
    }
    while (this.#accounted < time) {
      const end = Math.min(time, (Math.floor(this.#accounted / HOUR) + 1) * HOUR)
      const h = this.hour(this.#accounted)
      h.recorded += end - this.#accounted
      if (this.synced) h.synced += end - this.#accounted
      this.#accounted = end
    }
    this.lastTime = Math.max(this.lastTime, time)
  }
  /** Nobody recorded it between its last row and now. */
  resume(time: number): void {
    this.#accounted = Math.max(this.#accounted, time)
  }

  coverage(): CoverageRow[] {
    return [...this.#hours]
      .sort((a, b) => a[0] - b[0])
      .map(([hour, h]) => ({ market: this.ticker, hour, ...h, partialBook: !this.everSnapped }))
  }

  row(venueQuantity: number | null): MarketRow {
    return {
      ticker: this.ticker,
      event: this.event,
      series: this.series,
      title: this.title,
      exclusive: this.exclusive,
      strike: this.strike,
      openTime: this.openTime,
      closeTime: this.closeTime,
      grid: JSON.stringify(this.grid),
      gridBasis: this.gridBasis,
      fee: JSON.stringify(this.fee),
      feeBasis: this.feeBasis,
      result: this.result,
      settlementValue: this.settlementValue,
      determinedTime: this.determinedTime,
      settledTime: this.settledTime,
      rows: this.rows,
      deltas: this.deltas,
      trades: this.trades,
      tradedQuantity: this.tradedQuantity,
      venueQuantity,
      partialBook: !this.everSnapped,
      firstTime: Math.max(0, this.firstTime),
      lastTime: Math.max(0, this.lastTime),
    }
  }
}
