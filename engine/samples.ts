/**
 * Samples: what a report needs beyond the journal. Touches of every market from its first order to its settlement, the
 * mid at fixed horizons after each fill, and equity when it changed. Owns the three layouts and when a row is taken;
 * hides the blocks. Invariant: what is sampled depends on the tape and the session alone, so samples stand under the
 * digest too.
 */
import type { Strings } from './journal.ts'
import { MILLISECOND, MINUTE, SECOND, HOUR, type Duration } from './units.ts'

/** Best prices and sizes of a market; a side without a price has price −1 and quantity 0. Where only trades are known both prices are the last trade's and both quantities 0. `market` indexes the journal's strings. */
export type TouchTable = {
  length: number
  readonly time: Float64Array
  readonly market: Int32Array
  readonly bid: Int32Array
  readonly bidQuantity: Float64Array
  readonly ask: Int32Array
  readonly askQuantity: Float64Array
}

/**
 * Equity of the whole session (Money). `liquidation` marks open positions at the touch they could be closed at (walking
 * depth), `mid` at the mid; `low`/`high` are the extremes of `liquidation` since the row before, this one included.
 * `fees` and `drawdown` (peak − liquidation, its maximum so far) are running totals; `locked` is collateral of open positions,
 * `exposure` the worst loss of everything held and working.
 */
export type EquityTable = {
  length: number
  readonly time: Float64Array
  readonly cash: Float64Array
  readonly locked: Float64Array
  readonly liquidation: Float64Array
  readonly mid: Float64Array
  readonly low: Float64Array
  readonly high: Float64Array
  readonly fees: Float64Array
  readonly drawdown: Float64Array
  readonly exposure: Float64Array
}

/** `fill` counts FILL rows of the journal from 0; `mid2` is bid + ask at the horizon in Price units (2 × mid), −1 when not two-sided (where only trades are known: twice the last trade's price); `settled` 1: the settlement value stands in for the mid. */
export type MarkoutTable = {
  length: number
  readonly fill: Float64Array
  /** µs after the fill's venue time; 0 is the fill itself. */
  readonly horizon: Float64Array
  readonly mid2: Int32Array
  readonly settled: Uint8Array
}

export const MARKOUT_HORIZONS: readonly Duration[] = [
  0 as Duration,
  (100 * MILLISECOND) as Duration,
  SECOND,
  (5 * SECOND) as Duration,
  (10 * SECOND) as Duration,
  (30 * SECOND) as Duration,
  MINUTE,
  (5 * MINUTE) as Duration,
  (30 * MINUTE) as Duration,
  HOUR,
]

export function createTouchTable(capacity: number): TouchTable {
  return {
    length: 0,
    time: new Float64Array(capacity),
    market: new Int32Array(capacity),
    bid: new Int32Array(capacity),
    bidQuantity: new Float64Array(capacity),
    ask: new Int32Array(capacity),
    askQuantity: new Float64Array(capacity),
  }
}
export function createEquityTable(capacity: number): EquityTable {
  return {
    length: 0,
    time: new Float64Array(capacity),
    cash: new Float64Array(capacity),
    locked: new Float64Array(capacity),
    liquidation: new Float64Array(capacity),
    mid: new Float64Array(capacity),
    low: new Float64Array(capacity),
    high: new Float64Array(capacity),
    fees: new Float64Array(capacity),
    drawdown: new Float64Array(capacity),
    exposure: new Float64Array(capacity),
  }
}
export function createMarkoutTable(capacity: number): MarkoutTable {
  return {
    length: 0,
    fill: new Float64Array(capacity),
    horizon: new Float64Array(capacity),
    mid2: new Int32Array(capacity),
    settled: new Uint8Array(capacity),
  }
}

/** Where full blocks go; a block is reused after the call returns. */
export interface SampleSink {
  touches(block: TouchTable, strings: Strings): void
  equity(block: EquityTable): void
  markouts(block: MarkoutTable): void
}

const BLOCK = 4096

export class Samples {
  readonly #sink: SampleSink
  readonly #strings: Strings
  readonly #touches = createTouchTable(BLOCK)
  readonly #equity = createEquityTable(BLOCK)
  readonly #markouts = createMarkoutTable(BLOCK)

  constructor(strings: Strings, sink: SampleSink) {
    this.#strings = strings
    this.#sink = sink
  }

  touch(time: number, market: number, bid: number, bidQuantity: number, ask: number, askQuantity: number): void {
    const t = this.#touches
    if (t.length === BLOCK) this.#flushTouches()
    const i = t.length
    t.time[i] = time
    t.market[i] = market
    t.bid[i] = bid
    t.bidQuantity[i] = bidQuantity
    t.ask[i] = ask
    t.askQuantity[i] = askQuantity
    t.length = i + 1
    if (t.length === BLOCK) this.#flushTouches()
  }

  equity(
    time: number,
    cash: number,
    locked: number,
    liquidation: number,
    mid: number,
    low: number,
    high: number,
    fees: number,
    drawdown: number,
    exposure: number,
  ): void {
    const t = this.#equity
    if (t.length === BLOCK) this.#flushEquity()
    const i = t.length
    t.time[i] = time
    t.cash[i] = cash
    t.locked[i] = locked
    t.liquidation[i] = liquidation
    t.mid[i] = mid
    t.low[i] = low
    t.high[i] = high
    t.fees[i] = fees
    t.drawdown[i] = drawdown
    t.exposure[i] = exposure
    t.length = i + 1
    if (t.length === BLOCK) this.#flushEquity()
  }

  markout(fill: number, horizon: number, mid2: number, settled: number): void {
    const t = this.#markouts
    if (t.length === BLOCK) this.#flushMarkouts()
    const i = t.length
    t.fill[i] = fill
    t.horizon[i] = horizon
    t.mid2[i] = mid2
    t.settled[i] = settled
    t.length = i + 1
    if (t.length === BLOCK) this.#flushMarkouts()
  }

  flush(): void {
    if (this.#touches.length > 0) this.#flushTouches()
    if (this.#equity.length > 0) this.#flushEquity()
    if (this.#markouts.length > 0) this.#flushMarkouts()
  }

  #flushTouches(): void {
    this.#sink.touches(this.#touches, this.#strings)
    this.#touches.length = 0
  }
  #flushEquity(): void {
    this.#sink.equity(this.#equity)
    this.#equity.length = 0
  }
  #flushMarkouts(): void {
    this.#sink.markouts(this.#markouts)
    this.#markouts.length = 0
  }
}
