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
import { StrategyError } from './strategy-error.ts'
import { MarketFace, type MarketBook } from './view.ts'
import type { Words } from './words.ts'
import type { Portfolio } from './portfolio.ts'
import type { Basket, BookView, Desk, ExternalView, Leg, MarketView, Quote, Take } from './strategy.ts'
import { BID, ASK, PRICE_ONE, sideCode, type Price, type Quantity, type Side, type SideCode, type Timestamp } from './units.ts'

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
    Object.freeze(this)
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
    return this.#host.markets.get(ticker)?.face ?? null
  }
  book(market: MarketView): BookView | null {
    const m = this.#behind(market)
    return m.synced && m.depth !== 'prints' ? this.#host.bookOf(m) : null
  }
  siblings(market: MarketView): readonly MarketView[] {
    const own = this.#behind(market)
    return own.event.markets.filter((m) => m !== own).map((m) => m.face)
  }
  position(market: MarketView): number {
    const { holding } = this.#behind(market)
    return holding === null ? 0 : (holding.positions[this.#owner] ?? 0) / 100
  }
  working(market: MarketView, side: Side): number {
    let sum = 0
    const code = sideCode(side)
    for (const wish of this.#behind(market).wishes) {
      if (wish !== null && wish.owner === this.#owner && wish.side === code && wish.order !== null) sum += wish.order.remaining
    }
    return sum / 100
  }
  fee(market: MarketView, price: number, size: number, maker = false): number {
    const { fee, venueTime } = this.#behind(market)
    return fillFee(fee, maker, BID, this.#price(market, price), this.#size(market, size), venueTime, { gathered: 0 }) / 1e6
  }
  external(series: string): ExternalView | null {
    return this.#host.externals.last(series)
  }
  snap(market: MarketView, side: Side, value: number): Price {
    if (!Number.isFinite(value)) throw this.#error('STRATEGY_PRICE', `snap() for ${market.ticker} was given ${value}`)
    const { grid } = this.#behind(market)
    let index = grid.floorIndex(value)
    if (side === 'ask' && (index < 0 || (grid.prices[index] as number) < value)) index++
    return grid.priceAt(Math.min(grid.size - 1, Math.max(0, index)))
  }
  quote(market: MarketView, quote: Quote): void {
    this.#count()
    const side = this.#side(market, quote.side)
    this.#host.manager.quote(
      this.#behind(market),
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
      this.#behind(market),
      this.#owner,
      side,
      this.#price(market, take.limit),
      this.#size(market, take.size),
      this.#max(market, take.positionMax),
      take.why,
      take.value ?? 0,
    )
  }
  basket(basket: Basket): void {
    this.#count()
    const { legs, size, missing, costMax = 0 } = basket
    if (!Array.isArray(legs) || legs.length < 2) throw this.#error('STRATEGY_BASKET', 'a basket has at least two legs')
    if (missing !== 'hold' && missing !== 'unwind' && missing !== 'complete')
      throw this.#error(
        'STRATEGY_BASKET',
        `a basket says what follows a missing leg: 'hold', 'unwind' or 'complete', not ${String(missing)}`,
      )
    if (!(costMax >= 0 && costMax < 1))
      throw this.#error('STRATEGY_BASKET', `costMax ${costMax} of a basket is not a number of dollars a contract`)
    const wanted = this.#size(legs[0]?.market as MarketView, size)
    if (wanted === 0) throw this.#error('STRATEGY_SIZE', 'a basket has size 0: it is a number of contracts above zero')
    const checked = (legs as readonly Leg[]).map(({ market, side, limit }) => ({
      market: this.#behind(market),
      side: this.#side(market, side),
      limit: this.#price(market, limit),
      wanted,
      filled: 0,
    }))
    if (new Set(checked.map((l) => l.market)).size < checked.length)
      throw this.#error('STRATEGY_BASKET', 'two legs of a basket name the same market: put them into one')
    this.#host.manager.basket(this.#owner, checked, wanted, missing, Math.round(costMax * PRICE_ONE), basket.why, basket.value ?? 0)
  }
  pull(market: MarketView, side?: Side): void {
    this.#count()
    if (side !== 'ask') this.#host.manager.pull(this.#behind(market), this.#owner, BID)
    if (side !== 'bid') this.#host.manager.pull(this.#behind(market), this.#owner, ASK)
  }
  forecast(market: MarketView, probability: number): void {
    this.#count()
    if (!(probability >= 0 && probability <= 1))
      throw this.#error('STRATEGY_FORECAST', `forecast() for ${market.ticker} was given ${probability}: a probability lies between 0 and 1`)
    const { journal, words, now } = this.#host
    journal.push(
      now,
      JournalKind.FORECAST,
      words.market(this.#behind(market)),
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

  #behind(view: MarketView): Market {
    const market = MarketFace.behind(view)
    if (market === null)
      throw this.#error(
        'STRATEGY_MARKET',
        `a call was given ${typeof view} for a market: use book.market, trade.market or desk.market(ticker)`,
      )
    return market
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
