/**
 * What a strategy author writes and sees. Owns the Strategy and Desk types and the rolling window; hides the engine.
 * Invariant: an author never sees an order id, a cancel or an acknowledgement; prices are engine units, sizes are contracts
 * (10, 0.25), and nothing here can reach another market's future.
 */
import type { MarketStatus } from './message.ts'
import type { Price, Side, Timestamp } from './units.ts'

/** A market as a strategy sees it. Use the object itself or `slot` as a key. */
export interface MarketView {
  readonly ticker: string
  readonly event: { readonly ticker: string; readonly exclusive: boolean }
  readonly series: string
  readonly title: string
  readonly strike: string | null
  /** µs; null when unknown. */
  readonly closeTime: Timestamp | null
  readonly status: MarketStatus
  readonly slot: number
}

/** The book of one market. Prices in 1/10,000 dollar of the YES side; a NO bid at x is a YES ask at 10,000 − x. */
export interface BookView {
  readonly market: MarketView
  readonly twoSided: boolean
  readonly hasBid: boolean
  readonly hasAsk: boolean
  /** Best prices: throws where there is none (ask `twoSided`, `hasBid`, `hasAsk` first). */
  readonly bid: Price
  readonly ask: Price
  /** (bid + ask) / 2, a float in price units. */
  readonly mid: number
  /** Contracts at the best prices. */
  readonly bidSize: number
  readonly askSize: number
  /** Contracts at a price. */
  sizeAt(side: Side, price: number): number
  /** The price `ticks` grid steps above (below: negative) a grid price, kept on the grid. */
  step(price: number, ticks: number): Price
}

export type TradeView = {
  readonly market: MarketView
  readonly side: Side
  readonly price: Price
  readonly size: number
  readonly timeVenue: Timestamp
}
export type FillView = {
  readonly market: MarketView
  readonly side: Side
  readonly price: Price
  readonly size: number
  readonly maker: boolean
  /** Dollars. */
  readonly fee: number
}
export type SettlementView = { readonly market: MarketView; readonly result: string; readonly value: Price; readonly position: number }
/** A row of an outside series. `timeVenue`: when it was published; a strategy hears of it when it was known (`desk.now`). */
export type ExternalView = { readonly series: string; readonly value: number; readonly revision: number; readonly timeVenue: Timestamp }

/** Two-sided or one-sided resting interest. `size` and `positionMax` in contracts. `why` is a constant label, `value` its number. */
export type Quote = {
  readonly side: Side
  readonly price: number
  readonly size: number
  readonly why: string
  readonly value?: number
  readonly positionMax?: number
}
export type Take = {
  readonly side: Side
  readonly limit: number
  readonly size: number
  readonly why: string
  readonly value?: number
  readonly positionMax?: number
}

/** One leg of a basket: the worst price that is accepted for it. */
export type Leg = { readonly market: MarketView; readonly side: Side; readonly limit: number }
/**
 * The same number of contracts in every leg, immediate-or-cancel, approved as one at the worst partial outcome and sent together. What follows when some legs filled
 * less than others: `hold` what there is; `unwind` what has no counterpart; `complete` the missing legs at limits up to `costMax` (dollars a contract) worse, and unwind what is
 * then still without counterpart.
 */
export type Basket = {
  readonly legs: readonly Leg[]
  readonly size: number
  readonly missing: 'hold' | 'unwind' | 'complete'
  readonly costMax?: number
  readonly why: string
  readonly value?: number
}

/** The author's hands. Every call is a wish; the order manager finds the commands. */
export interface Desk {
  /** µs. */
  readonly now: Timestamp
  market(ticker: string): MarketView | null
  /** Null before the market is known and synced. */
  book(market: MarketView): BookView | null
  /** Other markets of the same event. */
  siblings(market: MarketView): readonly MarketView[]
  /** Contracts, signed: + long YES, − long NO. This strategy's own. */
  position(market: MarketView): number
  /** Contracts of this strategy working on a side. */
  working(market: MarketView, side: Side): number
  /** Dollars free of every working order's need. */
  readonly cash: number
  /** Dollars, positions at liquidation. */
  readonly equity: number
  /** Dollars: the fee of one fill of `size` contracts at a price, as a taker unless said otherwise. */
  fee(market: MarketView, price: number, size: number, maker?: boolean): number
  /** The latest value of an outside series: of what is known by now the last published, in its last revision. Null before the first. */
  external(series: string): ExternalView | null
  /** From an opinion to a price one may owe: the nearest grid price that is not worse for us (a bid rounds down, an ask up). */
  snap(market: MarketView, side: Side, value: number): Price
  /** Wants to rest at a price. One wish per market and side; saying it twice changes nothing; a fill consumes it. */
  quote(market: MarketView, quote: Quote): void
  /** Wants to trade now, up to a limit (immediate-or-cancel). Repeats while one is in flight are ignored. */
  take(market: MarketView, take: Take): void
  /** Wants several markets at once, or none. Ignored while a leg has a take in flight. */
  basket(basket: Basket): void
  /** Ends the quote of a side, or of both. */
  pull(market: MarketView, side?: Side): void
  /** Records an opinion of the probability of YES, for the report's forecast scores. */
  forecast(market: MarketView, probability: number): void
  /** Calls `onWake` at a time (µs), once. */
  wake(at: number): void
}

export type Parameter = number | string | boolean
export interface Strategy {
  readonly name: string
  readonly parameters: Readonly<Record<string, Parameter>>
  onStart?(desk: Desk): void
  /** Once per exchange message, never inside a snapshot or while the book is in flux. */
  onBook?(book: BookView, desk: Desk): void
  onTrade?(trade: TradeView, desk: Desk): void
  onFill?(fill: FillView, desk: Desk): void
  onStatus?(market: MarketView, desk: Desk): void
  onSettlement?(settlement: SettlementView, desk: Desk): void
  onExternal?(external: ExternalView, desk: Desk): void
  onWake?(desk: Desk): void
}

/** Mean and deviation of the last `window` values of each market. */
export type Rolling = {
  /** Adds `value` when it differs from the market's last one; says whether it did. */
  pushChange(market: MarketView, value: number): boolean
  /** Adds `value`. */
  push(market: MarketView, value: number): void
  /** Population mean and deviation, the current value included. The object is reused. */
  at(market: MarketView): { readonly mean: number; readonly deviation: number; readonly count: number }
}

type Window = { owner: MarketView; values: Float64Array; next: number; count: number; sum: number; squares: number; last: number }

/**
 * A rolling window per market. Sums are exact for prices and mids (multiples of ½ below 10,000), so that a constant window has a
 * deviation of exactly zero.
 */
export function rollingByMarket(window: number): Rolling {
  const windows: (Window | undefined)[] = []
  const result = { mean: 0, deviation: 0, count: 0 }
  const of = (market: MarketView): Window => {
    let w = windows[market.slot]
    if (w === undefined || w.owner !== market) {
      w = { owner: market, values: new Float64Array(window), next: 0, count: 0, sum: 0, squares: 0, last: Number.NaN }
      windows[market.slot] = w
    }
    return w
  }
  const add = (w: Window, value: number): void => {
    if (w.count === window) {
      const old = w.values[w.next] as number
      w.sum -= old
      w.squares -= old * old
    } else w.count++
    w.values[w.next] = value
    w.next = w.next + 1 === window ? 0 : w.next + 1
    w.sum += value
    w.squares += value * value
    w.last = value
  }
  return {
    push: (market, value) => add(of(market), value),
    pushChange(market, value) {
      const w = of(market)
      if (w.last === value) return false
      add(w, value)
      return true
    },
    at(market) {
      const w = of(market)
      result.count = w.count
      result.mean = w.count === 0 ? 0 : w.sum / w.count
      const spread = w.count * w.squares - w.sum * w.sum
      result.deviation = spread > 0 ? Math.sqrt(spread) / w.count : 0
      return result
    },
  }
}
