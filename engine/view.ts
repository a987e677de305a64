/**
 * Views: markets and books as strategies see them. Owns what is shown; hides the engine's own objects behind private fields, so that a strategy can neither change a book nor
 * read what the session will only learn later. Invariant: a view is frozen, and only this file turns it back into its market.
 */
import type { Market } from './market.ts'
import type { BookView, MarketView } from './strategy.ts'
import { StrategyError } from './strategy-error.ts'
import { sideCode, type Price, type Side, type Timestamp } from './units.ts'

// Not a static of the class: a strategy reaches the class through `constructor`.
let behind: (view: unknown) => Market | null
/** The market behind a view, null for anything else. */
export function marketBehind(view: unknown): Market | null {
  return behind(view)
}

/** One market, read-only; one object per market, made with it. */
export class MarketFace implements MarketView {
  readonly #market: Market

  constructor(market: Market) {
    this.#market = market
    Object.freeze(this)
  }
  static {
    behind = (view) => (typeof view === 'object' && view !== null && #market in view ? view.#market : null)
  }
  get ticker(): string {
    return this.#market.ticker
  }
  get event(): MarketView['event'] {
    return this.#market.event.face
  }
  get series(): string {
    return this.#market.series
  }
  get title(): string {
    return this.#market.title
  }
  get strike(): string | null {
    return this.#market.strike
  }
  get closeTime(): Timestamp | null {
    return this.#market.closeTime
  }
  get status(): MarketView['status'] {
    return this.#market.status
  }
  get slot(): number {
    return this.#market.slot
  }
  /** Not in the type: an author who reaches for the outcome is told when it is known, instead of getting undefined. */
  get result(): never {
    return this.#early('result')
  }
  get settlementValue(): never {
    return this.#early('settlementValue')
  }
  #early(what: string): never {
    throw new StrategyError(
      'STRATEGY_RESULT',
      `${what} of ${this.#market.ticker} was read: the outcome of a market is told to onSettlement, when it is known`,
    )
  }
}

/** One market's book; one object per market, made once. */
export class MarketBook implements BookView {
  readonly #market: Market

  constructor(market: Market) {
    this.#market = market
    Object.freeze(this)
  }
  get market(): MarketFace {
    return this.#market.face
  }
  get twoSided(): boolean {
    return this.#market.book.twoSided
  }
  get hasBid(): boolean {
    return this.#market.book.hasBid
  }
  get hasAsk(): boolean {
    return this.#market.book.hasAsk
  }
  get bid(): Price {
    const { book } = this.#market
    return book.hasBid ? book.bid : this.#none('bid')
  }
  get ask(): Price {
    const { book } = this.#market
    return book.hasAsk ? book.ask : this.#none('ask')
  }
  get mid(): number {
    const { book } = this.#market
    return book.twoSided ? (book.bid + book.ask) / 2 : this.#none('mid')
  }
  get bidSize(): number {
    return this.#market.book.bidQuantity / 100
  }
  get askSize(): number {
    return this.#market.book.askQuantity / 100
  }
  #none(what: string): never {
    throw new StrategyError(
      'STRATEGY_BOOK',
      `the ${what} of ${this.#market.ticker} was read where there is none: ask book.twoSided, book.hasBid or book.hasAsk first`,
    )
  }
  sizeAt(side: Side, price: number): number {
    return this.#market.book.at(sideCode(side), price) / 100
  }
  step(price: number, ticks: number): Price {
    const { grid } = this.#market
    const index = grid.indexOf[price] ?? -1
    if (index < 0)
      throw new StrategyError(
        'STRATEGY_PRICE',
        `step(${price}, …) for ${this.#market.ticker}: ${price} is not a price of its grid; use desk.snap first`,
      )
    return grid.priceAt(Math.min(grid.size - 1, Math.max(0, index + ticks)))
  }
}
for (const shown of [MarketFace, MarketBook]) Object.freeze(shown.prototype)
