/**
 * The desk: the author's hands, checked. Owns the translation from human sizes to engine units and the errors for wishes that
 * make no sense; hides the engine from the strategy. Invariant: nothing reaches the order manager that is not on the market's
 * units (safe integers, on the grid or refused).
 */
import type { Externals } from './externals.ts'
import { fillFee } from './fees.ts'
import { JournalKind, type Journal } from './journal.ts'
import type { Market, Markets } from './market.ts'
import type { OrderManager } from './order-manager.ts'
import type { Words } from './words.ts'
import type { Portfolio } from './portfolio.ts'
import type { BookView, Desk, ExternalView, MarketView, Quote, Take } from './strategy.ts'
import { ASK, BID, PRICE_ONE, sideCode, type Price, type Quantity, type Side, type SideCode, type Timestamp } from './units.ts'

/** A call into a strategy. */
export type Call = { readonly strategy: string; readonly handler: string; readonly market: string | null }

/** A strategy asked for something that cannot be meant: NaN, a negative size, a price outside 0 … 10,000. */
export class StrategyError extends Error {
  override readonly name = 'StrategyError'
  readonly code: string
  /** The handler in which it happened, once that is known. */
  call: Call | null = null
  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/** One market's book as strategies see it; one object per market, made once. */
export class MarketBook implements BookView {
  readonly market: Market

  constructor(market: Market) {
    this.market = market
  }
  get twoSided(): boolean {
    return this.market.book.twoSided
  }
  get hasBid(): boolean {
    return this.market.book.hasBid
  }
  get hasAsk(): boolean {
    return this.market.book.hasAsk
  }
  get bid(): Price {
    return this.market.book.bid
  }
  get ask(): Price {
    return this.market.book.ask
  }
  get mid(): number {
    const book = this.market.book
    return (book.bid + book.ask) / 2
  }
  get bidSize(): number {
    return this.market.book.bidQuantity / 100
  }
  get askSize(): number {
    return this.market.book.askQuantity / 100
  }
  sizeAt(side: Side, price: number): number {
    return this.market.book.at(sideCode(side), price) / 100
  }
  step(price: number, ticks: number): Price {
    const { grid } = this.market
    const index = grid.indexOf[price] ?? -1
    if (index < 0)
      throw new StrategyError(
        'STRATEGY_PRICE',
        `step(${price}, …) for ${this.market.ticker}: ${price} is not a price of its grid; use desk.snap first`,
      )
    return grid.priceAt(Math.min(grid.size - 1, Math.max(0, index + ticks)))
  }
}

/** More wishes than this, or wakes at once, in one instant: the strategy asks in a loop that does not end. */
const WISHES_MAX = 100_000
const WAKES_AT_ONCE_MAX = 5_000

/** What the desk needs of the engine. */
export interface DeskHost {
  readonly now: number
  readonly markets: Markets
  readonly portfolio: Portfolio
  readonly manager: OrderManager
  readonly journal: Journal
  readonly words: Words
  readonly externals: Externals
  bookOf(market: Market): MarketBook
  wakeAt(time: number, owner: number): void
}

export class StrategyDesk implements Desk {
  readonly #host: DeskHost
  readonly #owner: number
  readonly #name: string
  /** Asked for in this instant. */
  #instant = -1
  #wishes = 0
  #wakesAtOnce = 0

  constructor(host: DeskHost, owner: number, name: string) {
    this.#host = host
    this.#owner = owner
    this.#name = name
  }

  get now(): Timestamp {
    return this.#host.now as Timestamp
  }
  get cash(): number {
    return this.#host.portfolio.available / 1e6
  }
  get equity(): number {
    return this.#host.portfolio.equity / 1e6
  }
  market(ticker: string): MarketView | null {
    return this.#host.markets.get(ticker) ?? null
  }
  book(market: MarketView): BookView | null {
    const m = market as Market
    return m.synced ? this.#host.bookOf(m) : null
  }
  siblings(market: MarketView): readonly MarketView[] {
    return (market as Market).event.markets.filter((m) => m !== market)
  }
  position(market: MarketView): number {
    const { holding } = market as Market
    return holding === null ? 0 : (holding.positions[this.#owner] ?? 0) / 100
  }
  working(market: MarketView, side: Side): number {
    let sum = 0
    const code = sideCode(side)
    for (const wish of (market as Market).wishes) {
      if (wish !== null && wish.owner === this.#owner && wish.side === code && wish.order !== null) sum += wish.order.remaining
    }
    return sum / 100
  }
  fee(market: MarketView, price: number, size: number, maker = false): number {
    const { fee, venueTime } = market as Market
    return fillFee(fee, maker, BID, this.#price(market, price), this.#size(market, size), venueTime, { gathered: 0 }) / 1e6
  }
  external(series: string): ExternalView | null {
    return this.#host.externals.last(series)
  }
  snap(market: MarketView, side: Side, value: number): Price {
    if (!Number.isFinite(value)) throw this.#error('STRATEGY_PRICE', `snap() for ${market.ticker} was given ${value}`)
    const { grid } = market as Market
    let index = grid.floorIndex(value)
    if (side === 'ask' && (index < 0 || (grid.prices[index] as number) < value)) index++
    return grid.priceAt(Math.min(grid.size - 1, Math.max(0, index)))
  }
  quote(market: MarketView, quote: Quote): void {
    this.#count()
    const side = this.#side(market, quote.side)
    this.#host.manager.quote(
      market as Market,
      this.#owner,
      side,
      this.#price(market, quote.price),
      this.#size(market, quote.size),
      this.#max(market, quote.positionMax),
      quote.why,
      quote.value ?? 0,
    )
  }
  take(market: MarketView, take: Take): void {
    this.#count()
    const side = this.#side(market, take.side)
    this.#host.manager.take(
      market as Market,
      this.#owner,
      side,
      this.#price(market, take.limit),
      this.#size(market, take.size),
      this.#max(market, take.positionMax),
      take.why,
      take.value ?? 0,
    )
  }
  pull(market: MarketView, side?: Side): void {
    this.#count()
    if (side !== 'ask') this.#host.manager.pull(market as Market, this.#owner, BID)
    if (side !== 'bid') this.#host.manager.pull(market as Market, this.#owner, ASK)
  }
  forecast(market: MarketView, probability: number): void {
    this.#count()
    if (!(probability >= 0 && probability <= 1))
      throw this.#error('STRATEGY_FORECAST', `forecast() for ${market.ticker} was given ${probability}: a probability lies between 0 and 1`)
    const { journal, words, now } = this.#host
    journal.push(
      now,
      JournalKind.FORECAST,
      words.market(market as Market),
      words.owner(this.#owner),
      -1,
      0,
      -1,
      0,
      words.of('forecast'),
      -1,
      probability,
      0,
      0,
    )
  }
  wake(at: number): void {
    if (!Number.isFinite(at))
      throw this.#error('STRATEGY_WAKE', `wake() was given ${at}: it takes a time in µs, such as desk.now + 1_000_000`)
    this.#count()
    if (at <= this.#host.now && ++this.#wakesAtOnce > WAKES_AT_ONCE_MAX)
      throw this.#error(
        'STRATEGY_LOOP',
        'it wakes itself at desk.now again and again, so that no time passes: wake it later, such as at desk.now + SECOND',
      )
    this.#host.wakeAt(Math.ceil(at), this.#owner)
  }

  /** Nothing is asked for without end in one instant. */
  #count(): void {
    const { now } = this.#host
    if (now !== this.#instant) {
      this.#instant = now
      this.#wishes = 0
      this.#wakesAtOnce = 0
    }
    if (++this.#wishes > WISHES_MAX)
      throw this.#error('STRATEGY_LOOP', `it asked for more than ${WISHES_MAX} things in one instant: a loop in it does not end`)
  }

  #side(market: MarketView, side: Side): SideCode {
    if (side !== 'bid' && side !== 'ask')
      throw this.#error('STRATEGY_SIDE', `a wish for ${market.ticker} has side ${String(side)}: it is 'bid' (buy YES) or 'ask' (sell YES)`)
    return sideCode(side)
  }
  #price(market: MarketView, price: number): Price {
    if (!Number.isInteger(price) || price <= 0 || price >= PRICE_ONE) {
      throw this.#error(
        'STRATEGY_PRICE',
        `a wish for ${market.ticker} has price ${price}: it is a whole number of 1/10,000 dollars between 1 and 9,999; desk.snap makes one from a float`,
      )
    }
    return price as Price
  }
  #size(market: MarketView, size: number): Quantity {
    const units = Math.round(size * 100)
    if (!Number.isSafeInteger(units) || units < 0 || Math.abs(size * 100 - units) > 1e-6) {
      throw this.#error(
        'STRATEGY_SIZE',
        `a wish for ${market.ticker} has size ${size}: it is a number of contracts, zero or more, in steps of 0.01`,
      )
    }
    return units as Quantity
  }
  #max(market: MarketView, positionMax: number | undefined): number {
    if (positionMax === undefined) return Infinity
    if (!(positionMax >= 0))
      throw this.#error(
        'STRATEGY_SIZE',
        `a wish for ${market.ticker} has positionMax ${positionMax}: it is a number of contracts, zero or more`,
      )
    return Math.round(positionMax * 100)
  }
  #error(code: string, message: string): StrategyError {
    return new StrategyError(code, `Strategy ${this.#name}: ${message}`)
  }
}
