/**
 * Risk: the only maker of an `Approved` wish, and the order manager accepts nothing else. Owns the limits (as data), their checks
 * and the order in which they are reported; hides the brand. Invariant: every limit is on by default, and the first failing rule in
 * `REFUSALS` order is the one reported.
 */
import { BID, PRICE_ONE, type Price, type Quantity, type SideCode } from './units.ts'
import type { Market } from './market.ts'
import type { Order } from './order.ts'
import { cashNeeded, Holding, worseFee, type Portfolio } from './portfolio.ts'
import type { Limits } from './session.ts'
import type { SessionState } from './session-state.ts'
import { MINUTE, SECOND } from './units.ts'

/** cash is the session's; order 100 contracts; position 1,000; worst loss $500 a market, $1,000 an exclusive event, $2,000 a session; … */
export const LIMITS_DEFAULT: Limits = {
  orderMax: 100 * 100,
  positionMax: 1_000 * 100,
  marketLossMax: 500 * 1_000_000,
  eventLossMax: 1_000 * 1_000_000,
  sessionLossMax: 2_000 * 1_000_000,
  ordersOpenMax: 200,
  ordersPerSecondMax: 10,
  collar: 1_000,
  silenceMax: 10 * SECOND,
  orderAgeMax: 15 * MINUTE,
}

/** By precedence. */
export const REFUSALS = [
  'session-ending',
  'syncing',
  'warmup',
  'halted',
  'paused',
  'reduce-only',
  'market-unlisted',
  'market-closed',
  'market-paused',
  'market-halted',
  'order-unknown',
  'unsynced',
  'feed-silent',
  'off-grid',
  'no-reference',
  'price-collar',
  'order-size',
  'strategy-position',
  'position',
  'self-cross',
  'market-loss',
  'event-loss',
  'session-loss',
  'cash',
  'basket-size',
  'open-orders',
  'order-rate',
  'write-tokens',
] as const
export type Refusal = (typeof REFUSALS)[number]

/** A wish with everything that a limit needs. `replaces`: the working order that an amend would change. */
export type Intent = {
  readonly market: Market
  readonly owner: number
  readonly side: SideCode
  readonly price: Price
  /** Remaining quantity wanted at the venue. */
  readonly quantity: Quantity
  readonly replaces: Order | null
}

declare const approved: unique symbol
export type Approved<T> = T & { readonly [approved]: true }

/** What the session knows beside the portfolio. */
export type RiskState = {
  now: number
  /** Time of the last row. */
  lastRow: number
  /** What permits an order at all. */
  readonly session: SessionState
  ordersOpen: number
  /** Orders whose outcome is not known. */
  ordersUnknown: number
}

const FLAT = new Holding()

export class Risk {
  readonly limits: Limits
  /** Live: orders that live again and that no wish takes care of. Empty in simulation. */
  readonly orphans = new Set<Order>()
  readonly #portfolio: Portfolio
  readonly #state: RiskState
  /** Times of the last orders, a ring as long as the limit. */
  readonly #sent: Float64Array
  #next = 0

  constructor(limits: Limits, portfolio: Portfolio, state: RiskState) {
    this.limits = limits
    this.#portfolio = portfolio
    this.#state = state
    this.#sent = new Float64Array(Math.max(1, limits.ordersPerSecondMax)).fill(-Infinity)
  }

  /** Approves, or names the first rule that says no. `ahead`: orders of the same basket that will be sent first, in the same instant. */
  approve(intent: Intent, ahead = 0): Approved<Intent> | Refusal {
    return this.#refusal(intent, ahead) ?? (intent as Approved<Intent>)
  }

  /** The nearest price to `price` at which an order would not meet one of our own on the other side. */
  insideOwn(market: Market, side: SideCode, price: Price): Price {
    let index = market.grid.indexOf[price] ?? -1
    for (const order of ordersOf(market, this.orphans)) {
      if (order.side === side || order.over) continue
      const other = order.priceNext ?? order.price
      const at = market.grid.floorIndex(side === BID ? Math.min(order.price, other) : Math.max(order.price, other))
      index = side === BID ? Math.min(index, at - 1) : Math.max(index, at + 1)
    }
    return index < 0 || index >= market.grid.size ? price : market.grid.priceAt(index)
  }

  /** Counts an order or amend that was sent. */
  sent(): void {
    this.#sent[this.#next] = this.#state.now
    this.#next = (this.#next + 1) % this.#sent.length
  }
  /** When the order rate allows the next one. */
  get rateFreeAt(): number {
    return this.#freeAt(0)
  }
  #freeAt(ahead: number): number {
    return (this.#sent[(this.#next + ahead) % this.#sent.length] as number) + SECOND
  }

  #refusal(intent: Intent, ahead: number): Refusal | null {
    const { market, side, price, quantity, replaces } = intent
    const { limits } = this
    const state = this.#state
    if (state.session.hold !== null) return state.session.hold
    const h = market.holding ?? FLAT
    // What no fill of a working or unknown order on this side could turn into a larger position.
    const closing = side === BID ? -h.position - h.bidQuantity : h.position - h.askQuantity
    if (state.session.reducing && quantity > closing) return 'reduce-only'
    if (market.status === 'unlisted') return 'market-unlisted'
    if (market.status === 'inactive' || market.status === 'initialized') return 'market-paused'
    if (market.status !== 'active') return 'market-closed'
    if (market.halted !== null && quantity > closing) return 'market-halted'
    if (state.ordersUnknown > 0 && quantity > closing && hasUnknown(market, this.orphans)) return 'order-unknown'
    if (!market.synced || market.fluxSince >= 0) return 'unsynced'
    // Trades alone are silent between trades, and quotes while they do not change: there a market goes out of sync by itself.
    if (market.depth === 'book' && state.now - state.lastRow > limits.silenceMax) return 'feed-silent'
    if ((market.grid.indexOf[price] ?? -1) < 0) return 'off-grid'
    const collar = this.#collar(market, side, price)
    if (collar !== null) return collar
    if (quantity > limits.orderMax) return 'order-size'

    const oldQuantity = replaces === null ? 0 : replaces.riskQuantity
    const oldNotional = replaces === null ? 0 : replaces.riskNotional
    const oldFee = replaces === null ? 0 : replaces.riskFee
    // While an amend is on its way both old and new may be true, one after the other: the worst of them counts.
    const worstQuantity = Math.max(quantity, oldQuantity)
    const worstNotional = amendNotional(side === BID ? price : PRICE_ONE - price, quantity, oldNotional, oldQuantity)
    const fee = worseFee(market, price, replaces?.price ?? price, worstQuantity)
    const bidQuantity = h.bidQuantity + (side === BID ? worstQuantity - oldQuantity : 0)
    const askQuantity = h.askQuantity + (side === BID ? 0 : worstQuantity - oldQuantity)
    if (side === BID ? h.position + bidQuantity > limits.positionMax : askQuantity - h.position > limits.positionMax) return 'position'
    if (crossesOwn(market, side, price, this.orphans)) return 'self-cross'

    const addNo = (side === BID ? worstNotional - oldNotional : 0) + fee - oldFee
    const addYes = (side === BID ? 0 : worstNotional - oldNotional) + fee - oldFee
    const no = this.#portfolio.lossIfNo(h) + addNo
    const yes = this.#portfolio.lossIfYes(h) + addYes
    const before = this.#portfolio.marketLoss(market)
    const after = no > yes ? no : yes
    // An order that lowers the worst loss, its own fee apart, is never refused for it: it is the way out.
    const toll = fee - oldFee
    if (after > limits.marketLossMax && after - toll > before) return 'market-loss'
    const eventBefore = market.event.loss
    const eventAfter = this.#portfolio.eventLoss(market.event, market, no, yes)
    if (market.event.exclusive && eventAfter > limits.eventLossMax && eventAfter - toll > eventBefore) return 'event-loss'
    const sessionAfter = this.#portfolio.loss - eventBefore + eventAfter
    if (sessionAfter > limits.sessionLossMax && eventAfter - toll > eventBefore) return 'session-loss'

    const bidNotional = h.bidNotional + (side === BID ? worstNotional - oldNotional : 0)
    const askNotional = h.askNotional + (side === BID ? 0 : worstNotional - oldNotional)
    const needed = cashNeeded(h.position, bidQuantity, bidNotional, askQuantity, askNotional) + h.feeOpen + fee - oldFee - h.reserved
    if (needed > 0 && needed > this.#portfolio.available) return 'cash'
    if (replaces === null && state.ordersOpen >= limits.ordersOpenMax) return 'open-orders'
    if (ahead >= this.#sent.length || state.now < this.#freeAt(ahead)) return 'order-rate'
    return null
  }

  /** No more than the collar beyond the mid on the aggressive side (one-sided book: beyond its best; no book: the last trade). */
  #collar(market: Market, side: SideCode, price: number): Refusal | null {
    const at = market.reference
    if (at < 0) return 'no-reference'
    return (side === BID ? price - at : at - price) > this.limits.collar ? 'price-collar' : null
  }
}

/**
 * The most that an order may still cost while it is amended from what is left of it (`oldNotional` for `oldQuantity`) to `quantity` at `cost` each: all of the new, or all of the old before the amend
 * arrives and then what the new adds.
 */
export function amendNotional(cost: number, quantity: number, oldNotional: number, oldQuantity: number): number {
  return Math.max(cost * quantity, oldNotional + cost * Math.max(0, quantity - oldQuantity))
}

/** Would it meet an order of ours, of any strategy, at its old or its new price? */
function crossesOwn(market: Market, side: SideCode, price: number, orphans: ReadonlySet<Order>): boolean {
  for (const wish of market.wishes) if (wish?.order != null && meets(wish.order, side, price)) return true
  if (orphans.size > 0) for (const order of orphans) if (order.market === market && meets(order, side, price)) return true
  return false
}
function meets(order: Order, side: SideCode, price: number): boolean {
  if (order.side === side || order.over) return false
  const other = order.priceNext ?? order.price
  return side === BID ? price >= Math.min(order.price, other) : price <= Math.max(order.price, other)
}

/** Of any strategy: while nobody knows what became of an order, nothing is added beside it. */
function hasUnknown(market: Market, orphans: ReadonlySet<Order>): boolean {
  for (const order of ordersOf(market, orphans)) if (order.state === 'unknown') return true
  return false
}
function* ordersOf(market: Market, orphans: ReadonlySet<Order>): IterableIterator<Order> {
  for (const wish of market.wishes) if (wish?.order != null) yield wish.order
  for (const order of orphans) if (order.market === market) yield order
}
