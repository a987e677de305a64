/**
 * The order manager: turns wishes into commands. A strategy says what it wants to have at the venue; this file sends the difference,
 * pays for it in write tokens, follows each order through its life and tells the portfolio. Owns wishes and orders; hides ids, cancels and
 * acknowledgements. Invariants: at most one order per wish; nothing is sent that risk did not approve, except what only removes risk (cancel,
 * decrease).
 */
import { assert } from './assert.ts'
import { BasketRun, type BasketLeg } from './basket.ts'
import { Entries } from './entries.ts'
import type { Journal } from './journal.ts'
import type { Market } from './market.ts'
import { nextState, Order, type Answer, type Command, type OrderEvent } from './order.ts'
import type { Portfolio } from './portfolio.ts'
import { amendNotional, type Approved, type Intent, type Refusal, type Risk, type RiskState } from './risk.ts'
import { BID, PRICE_ONE, SECOND, type Price, type Quantity, type SideCode, type Timestamp } from './units.ts'
import type { TokenBucket } from './token-bucket.ts'
import type { Venue } from './venue.ts'
import { Wish } from './wish.ts'
import type { Words } from './words.ts'

/** What became of one strategy's wishes. */
export type Tally = {
  signals: number
  orders: number
  readonly refusals: Record<string, number>
  readonly rejections: Record<string, number>
}

const COST_ORDER = 10
const COST_CANCEL = 2

/** What the manager asks of the engine. */
export interface ManagerHost {
  /** Call `goOn(basket)` at a time. */
  goOnAt(time: number, basket: BasketRun): void
  /** Call `retry(wish)` at a time. */
  retryAt(time: number, wish: Wish): void
  filled(order: Order, answer: Extract<Answer, { type: 'fill' }>): void
  /** The first order in a market: its touches are sampled from now on. */
  traded(market: Market): void
  /** What was held to be gone is not: no new risk in its market. */
  revived(order: Order): void
}

export class OrderManager {
  readonly #venue: Venue
  readonly #risk: Risk
  readonly #portfolio: Portfolio
  readonly #state: RiskState
  readonly #entries: Entries
  readonly #bucket: TokenBucket
  readonly #host: ManagerHost
  readonly #words: Words
  #orders = 0
  #baskets = 0
  fills = 0
  /** [owner] */
  readonly tallies: Tally[]
  /** Live: orders by their number, until their market has paid: news may come late. */
  readonly #known: Map<number, Order> | null

  constructor(
    venue: Venue,
    risk: Risk,
    portfolio: Portfolio,
    state: RiskState,
    journal: Journal,
    bucket: TokenBucket,
    host: ManagerHost,
    words: Words,
    owners: number,
    live = false,
  ) {
    this.#venue = venue
    this.#risk = risk
    this.#portfolio = portfolio
    this.#state = state
    this.#entries = new Entries(journal, words, state)
    this.#bucket = bucket
    this.#host = host
    this.#words = words
    this.#known = live ? new Map() : null
    this.tallies = Array.from({ length: owners }, () => ({ signals: 0, orders: 0, refusals: {}, rejections: {} }))
  }

  /** Orders sent so far. */
  get orders(): number {
    return this.#orders
  }
  /** Live: an order by its number; undefined after its market has paid. */
  orderOf(id: number): Order | undefined {
    return this.#known?.get(id)
  }
  /** Live: orders whose market has not paid. */
  get known(): IterableIterator<Order> {
    return (this.#known ?? new Map<number, Order>()).values()
  }
  /** A market has paid and leaves. */
  forget(market: Market): void {
    if (this.#known === null) return
    for (const [id, order] of this.#known) if (order.market === market) this.#known.delete(id)
  }

  /** Wants `quantity` resting at `price`. The same words again change nothing while the wish lives. */
  quote(
    market: Market,
    owner: number,
    side: SideCode,
    price: Price,
    quantity: Quantity,
    positionMax: number,
    why: string,
    value: number,
  ): void {
    const wish = this.#wish(market, owner, side, false)
    const room = roomFor(market, owner, side, positionMax, false)
    const wanted = quantity < room ? quantity : room
    if (wanted <= 0) {
      if (wish.active) this.#end(wish)
      return
    }
    if (wish.active && wish.price === price && wish.quantity === wanted) {
      // Said before. Only a refused wish is tried again.
      if (wish.refusal !== null && !wish.retrying) this.#reconcile(wish)
      return
    }
    this.#state_(wish, price, wanted as Quantity, why, value)
    // While it waits for rate or tokens the newest words count when the wait is over.
    if (!wish.retrying) this.#reconcile(wish)
  }

  /** Wants to trade now, up to `limit`. */
  take(
    market: Market,
    owner: number,
    side: SideCode,
    limit: Price,
    quantity: Quantity,
    positionMax: number,
    why: string,
    value: number,
  ): void {
    const wish = this.#wish(market, owner, side, true)
    if (wish.order !== null) return
    const room = roomFor(market, owner, side, positionMax, true)
    const wanted = (quantity < room ? quantity : room) as Quantity
    if (wanted <= 0) {
      if (wish.refusal !== 'strategy-position' || wish.price !== limit) this.#state_(wish, limit, quantity, why, value)
      this.#refuse(wish, 'strategy-position')
      wish.active = false
      return
    }
    if (wish.refusal === null || wish.price !== limit || wish.quantity !== wanted) this.#state_(wish, limit, wanted, why, value)
    wish.left = wanted
    wish.why = this.#words.of(why)
    wish.value = value
    const intent: Intent = { market, owner, side, price: limit, quantity: wanted, replaces: null }
    const verdict = this.#risk.approve(intent)
    if (typeof verdict === 'string') this.#refuse(wish, verdict)
    else if (!this.#bucket.spend(this.#state.now, COST_ORDER)) this.#refuse(wish, 'write-tokens')
    else this.#submit(wish, verdict)
    wish.active = false
  }

  /** Wants `quantity` of every leg now, or nothing: approved as one, at the worst that a part of it could come to. */
  basket(
    owner: number,
    legs: readonly BasketLeg[],
    quantity: Quantity,
    missing: BasketRun['missing'],
    costMax: number,
    why: string,
    value: number,
  ): void {
    const wishes = legs.map((leg) => this.#wish(leg.market, owner, leg.side, true))
    if (wishes.some((wish) => wish.order !== null)) return
    const run = new BasketRun(++this.#baskets, owner, legs, missing, costMax, why, value)
    const said = wishes.every((wish, k) => wish.refusal !== null && wish.price === legs[k]?.limit && wish.quantity === quantity)
    wishes.forEach((wish, k) => {
      if (!said) this.#state_(wish, (legs[k] as BasketLeg).limit, quantity, why, value, run)
      wish.left = quantity
      wish.value = value
    })
    // Each leg counts as sent while the next one is judged; a refusal takes all of that back.
    const orders: Order[] = []
    const untouched = legs.map((leg) => leg.market.holding === null)
    // What no waiting makes possible has a word of its own.
    let refusal: Refusal | null = this.#basketFits(legs.length) ? null : 'basket-size'
    for (let k = 0; k < wishes.length && refusal === null; k++) {
      const { market, side, limit } = legs[k] as BasketLeg
      const verdict = this.#risk.approve({ market, owner, side, price: limit, quantity, replaces: null }, k)
      if (typeof verdict === 'string') refusal = verdict
      else {
        const order = this.#create(wishes[k] as Wish, verdict, this.#orders + k)
        order.basket = run
        orders.push(order)
        this.#count_(order)
      }
    }
    const at = wishes[Math.min(orders.length, wishes.length - 1)] as Wish
    if (refusal === null && !this.#bucket.spend(this.#state.now, COST_ORDER * orders.length)) refusal = 'write-tokens'
    if (refusal === null) {
      run.open = orders.length
      for (const order of orders) this.#launch(order)
    } else {
      orders.forEach((order, k) => {
        this.#portfolio.expose(order, order.price, 0)
        this.#state.ordersOpen--
        if (untouched[k] === true) order.market.holding = null
      })
      this.#refuse(at, refusal)
      for (const wish of wishes) wish.refusal = refusal
    }
    for (const wish of wishes) wish.active = false
  }

  /** Ends a quote. */
  pull(market: Market, owner: number, side: SideCode): void {
    const wish = market.wishes[slotOf(owner, side, false)]
    if (wish?.active) this.#end(wish)
  }

  /** Ends every quote, and takes that still wait: halted. */
  pullAll(markets: Iterable<Market>): void {
    for (const market of markets) {
      for (const wish of market.wishes) {
        if (wish === null) continue
        if (wish.active) this.#end(wish)
        else if (wish.take && wish.order?.state === 'working') this.#cancel(wish, wish.order)
      }
      this.#cancelOrphans(market)
    }
  }

  /** Takes back what could do more than close the position of its market, in the order of the slots: reducing. What is wanted and not sent yet counts as if it were. */
  pullOpening(markets: Iterable<Market>): void {
    for (const market of markets) {
      const position = market.holding?.position ?? 0
      const closing = [Math.max(0, -position), Math.max(0, position)]
      for (const wish of market.wishes) {
        if (wish === null) continue
        const size = Math.max(wish.order?.riskQuantity ?? 0, wish.active ? wish.left : 0)
        const room = closing[wish.side] ?? 0
        if (size <= room) closing[wish.side] = room - size
        else if (wish.active) this.#end(wish)
        else if (wish.take && wish.order?.state === 'working') this.#cancel(wish, wish.order)
      }
    }
  }

  /** A wish that had to wait for rate or tokens. */
  retry(wish: Wish): void {
    wish.retrying = false
    this.#reconcile(wish)
  }

  /** The venue answered. */
  answered(answer: Answer): void {
    const { order } = answer
    const wish = order.wish
    const market = order.market
    switch (answer.type) {
      case 'accepted':
        this.#step(order, 'accepted')
        // It was not known whether it had been amended: it was not.
        if (order.priceNext !== null && order.state === 'working') {
          order.priceNext = null
          order.quantityNext = null
          this.#portfolio.expose(order, order.price, order.remaining)
        }
        this.#entries.answer(order, this.#words.accepted, answer.remaining, answer.timeVenue)
        break
      case 'amended':
        this.#step(order, 'accepted')
        assert(order.priceNext !== null && order.quantityNext !== null, 'an amended order had an amend on its way')
        order.price = order.priceNext
        order.quantity = order.quantityNext
        order.priceNext = null
        order.quantityNext = null
        this.#portfolio.expose(order, order.price, order.over ? 0 : order.remaining)
        this.#entries.answer(order, this.#words.amended, answer.remaining, answer.timeVenue)
        break
      case 'decreased':
        this.#step(order, 'accepted')
        order.quantity = (order.filled + answer.remaining) as Quantity
        order.priceNext = null
        order.quantityNext = null
        this.#portfolio.expose(order, order.price, order.over ? 0 : order.remaining)
        this.#entries.answer(order, this.#words.decreased, answer.remaining, answer.timeVenue)
        break
      case 'amend-rejected': {
        this.#count(this.#tally(order.owner).rejections, answer.reason)
        const refused = order.priceNext ?? order.price
        order.priceNext = null
        order.quantityNext = null
        // Filled whole at its old size while a larger one was on its way: then that was its last fill.
        // Of an order of which more is not known than that it was not amended, the rest stays unknown.
        this.#step(
          order,
          order.filled >= order.quantity && !order.over ? 'fill-last' : order.state === 'unknown' ? 'no-answer' : 'rejected',
        )
        if (!order.over) this.#portfolio.expose(order, order.price, order.remaining)
        else if (wish.order === order) this.#over(order)
        this.#entries.answer(order, this.#words.rejected(answer.reason), order.remaining, answer.timeVenue)
        // The quote it should have become is not to be had; but by now the wish may be another, or have another order.
        if ((wish.order === order || wish.order === null) && wish.price === refused) wish.active = false
        break
      }
      case 'rejected':
        this.#count(this.#tally(order.owner).rejections, answer.reason)
        this.#step(order, 'rejected')
        this.#entries.answer(order, this.#words.rejected(answer.reason), order.remaining, answer.timeVenue)
        if (wish.price === order.price) wish.active = false
        this.#over(order)
        break
      case 'cancel-rejected':
        this.#step(order, 'cancel-rejected')
        this.#entries.answer(order, this.#words.cancelRejected, order.remaining, answer.timeVenue)
        break
      case 'canceled': {
        this.#step(order, 'canceled')
        this.#entries.answer(order, this.#words.canceled(answer.reason), order.remaining, answer.timeVenue)
        // Only our own cancel leaves the wish as it is: it may want another order by now.
        if (answer.reason !== 'user' && wish.order === order && wish.price === order.price) wish.active = false
        this.#over(order)
        break
      }
      // Everything that it could still be counts on: size, price, and the place that it takes.
      case 'no-answer':
        this.#step(order, 'no-answer')
        this.#entries.answer(order, this.#words.of(`no-answer:${answer.reason}`), order.remaining, answer.timeVenue)
        break
      case 'absent':
        this.#step(order, 'absent-proved')
        this.#entries.answer(order, this.#words.of('absent'), order.remaining, answer.timeVenue)
        if (wish.price === order.price) wish.active = false
        this.#over(order)
        break
      case 'fill':
        this.#filled(order, answer)
        break
    }
    const revived = this.#revived
    if (revived !== null) {
      this.#revived = null
      if (revived.state === 'working') this.#cancelNow(revived)
    }
    this.#cancelOrphans(market)
    // An answer may free what another wish of the market waits for (our own crossing order, most often).
    for (const other of market.wishes) if (other !== null && !other.take) this.#reconcile(other)
  }

  // ---------------------------------------------------------------------------------------------- inside

  #filled(order: Order, answer: Extract<Answer, { type: 'fill' }>): void {
    const { quantity } = answer
    order.filled += quantity
    const total = order.quantityNext !== null ? Math.max(order.quantity, order.quantityNext) : order.quantity
    assert(order.filled <= total, 'an order is never filled beyond its quantity')
    this.#step(order, order.filled === total ? 'fill-last' : 'fill')
    this.fills++
    order.basket?.filled(order, quantity)
    this.#portfolio.fill(order.market, order.owner, order.side, answer.price, quantity, answer.fee)
    this.#entries.fill(order, answer)
    const wish = order.wish
    wish.left = Math.max(0, wish.left - quantity)
    if (wish.left === 0) wish.active = false
    if (order.over) this.#over(order)
    else {
      this.#expose(order)
    }
    this.#host.filled(order, answer)
    // Less is left to close: of two orders that were on their way to it one may be too many now.
    if (this.#state.session.reducing) this.pullOpening([order.market])
  }

  /** The worst of old and new while an amend is on its way, as risk approved it. */
  #expose(order: Order): void {
    const { price, priceNext, quantity, quantityNext, filled, side } = order
    const old = Math.max(0, quantity - filled)
    const cost = (p: number): number => (side === BID ? p : PRICE_ONE - p)
    const next = quantityNext === null ? old : Math.max(0, quantityNext - filled)
    this.#portfolio.expose(order, price, Math.max(old, next), amendNotional(cost(priceNext ?? price), next, cost(price) * old, old))
  }

  #over(order: Order): void {
    if (order.wish.order === order) order.wish.order = null
    this.#risk.orphans.delete(order)
    this.#portfolio.expose(order, order.price, 0)
    if (order.left) return
    order.left = true
    this.#state.ordersOpen--
    const { basket } = order
    if (basket === null) return
    basket.open--
    while (basket.open === 0 && basket.pending.length === 0 && basket.stage !== 'over') this.#nextStage(basket)
  }

  /** So many orders can leave in one instant. */
  #basketFits(legs: number): boolean {
    return legs <= this.#risk.limits.ordersPerSecondMax && COST_ORDER * legs <= this.#bucket.size
  }

  /** Every order of the basket's stage is over: what its strategy declared for missing legs follows. */
  #nextStage(basket: BasketRun): void {
    const wanted = basket.next(this.#risk.limits.collar)
    this.#entries.basket(basket)
    basket.pending = wanted
    this.#sendPending(basket)
  }

  /** What a basket waits to send is tried again: an order rate or tokens were spent. */
  goOn(basket: BasketRun): void {
    this.#sendPending(basket)
    while (basket.open === 0 && basket.pending.length === 0 && basket.stage !== 'over') this.#nextStage(basket)
  }

  #sendPending(basket: BasketRun): void {
    for (let next = basket.pending.shift(); next !== undefined; next = basket.pending.shift()) {
      const { leg, side, quantity } = next
      const { market } = leg
      const wish = this.#wish(market, basket.owner, side, true)
      // The strategy is trading this side itself just now: its own order stands, ours is left out.
      if (wish.order !== null) continue
      const price = basket.stage === 'unwinding' ? this.#risk.insideOwn(market, side, next.price) : next.price
      if (wish.refusal === null || wish.price !== price || wish.quantity !== quantity)
        this.#state_(wish, price, quantity, basket.why, basket.value, basket)
      wish.left = quantity
      const verdict = this.#risk.approve({ market, owner: basket.owner, side, price, quantity, replaces: null })
      let refusal = typeof verdict === 'string' ? verdict : null
      if (refusal === null && !this.#bucket.spend(this.#state.now, COST_ORDER)) refusal = 'write-tokens'
      if (refusal !== null) {
        this.#refuse(wish, refusal)
        wish.active = false
        if (refusal !== 'order-rate' && refusal !== 'write-tokens') continue
        // It waits with everything behind it; a leg without counterpart is not given up for a second.
        basket.pending.unshift(next)
        const free = refusal === 'order-rate' ? this.#risk.rateFreeAt : this.#bucket.freeAt(this.#state.now, COST_ORDER)
        this.#host.goOnAt(free, basket)
        break
      }
      basket.open++
      this.#submit(wish, verdict as Approved<Intent>, basket)
      wish.active = false
    }
  }

  #step(order: Order, event: OrderEvent): void {
    const step = nextState(order.state, event)
    if (step === '=' || step === 'book') return
    if (step === 'adopt') return this.#adopt(order, event)
    if (order.state === 'unknown') this.#state.ordersUnknown--
    order.state = step
    if (order.state === 'unknown') this.#state.ordersUnknown++
  }
  /** An order that was held to be gone lives: it counts again, nothing is added beside it, and it is taken back. */
  #adopt(order: Order, event: OrderEvent): void {
    assert(this.#known !== null, 'a simulated venue never revives an order')
    order.state = event === 'fill-last' ? 'filled' : 'working'
    order.basket = null
    if (order.left) {
      order.left = false
      this.#state.ordersOpen++
    }
    order.wish.order ??= order
    if (order.wish.take || order.wish.order !== order) this.#risk.orphans.add(order)
    this.#portfolio.expose(order, order.price, order.remaining)
    this.#host.revived(order)
    if (order.state !== 'working') return
    // A cancel of what nobody wants waits for no tokens.
    this.#bucket.spend(this.#state.now, COST_CANCEL)
    this.#revived = order
  }
  /** What no wish points to is wanted by nobody: a cancel that failed is followed by another. */
  #cancelOrphans(market: Market): void {
    if (this.#risk.orphans.size === 0) return
    for (const order of this.#risk.orphans) {
      if (order.market !== market || order.state !== 'working') continue
      this.#bucket.spend(this.#state.now, COST_CANCEL)
      this.#cancelNow(order)
    }
  }
  /** To be canceled once its answer has been taken. */
  #revived: Order | null = null

  #wish(market: Market, owner: number, side: SideCode, take: boolean): Wish {
    const slot = slotOf(owner, side, take)
    let wish = market.wishes[slot]
    if (wish === undefined || wish === null) {
      wish = new Wish(market, owner, side, take)
      while (market.wishes.length <= slot) market.wishes.push(null)
      market.wishes[slot] = wish
    }
    return wish
  }

  #state_(wish: Wish, price: Price, quantity: Quantity, why: string, value: number, basket: BasketRun | null = null): void {
    wish.active = true
    wish.price = price
    wish.quantity = quantity
    wish.left = quantity
    wish.why = this.#words.of(why)
    wish.value = value
    this.#tally(wish.owner).signals++
    this.#entries.signal(wish, basket)
  }

  #end(wish: Wish): void {
    wish.active = false
    wish.left = 0
    this.#tally(wish.owner).signals++
    this.#entries.pull(wish)
    this.#reconcile(wish)
  }

  /** Sends what is missing between the wish and its order. */
  #reconcile(wish: Wish): void {
    const order = wish.order
    if (order === null) {
      if (!wish.active || wish.left <= 0) return
      const intent: Intent = {
        market: wish.market,
        owner: wish.owner,
        side: wish.side,
        price: wish.price,
        quantity: wish.left as Quantity,
        replaces: null,
      }
      const verdict = this.#risk.approve(intent)
      if (typeof verdict === 'string') this.#refuse(wish, verdict)
      else if (!this.#bucket.spend(this.#state.now, COST_ORDER)) this.#refuse(wish, 'write-tokens')
      else this.#submit(wish, verdict)
      return
    }
    if (order.state !== 'working' || order.wish.take) return
    if (!wish.active || wish.left <= 0) {
      this.#cancel(wish, order)
      return
    }
    if (order.price === wish.price && order.remaining === wish.left) return
    if (order.price === wish.price && wish.left < order.remaining) {
      if (!this.#bucket.spend(this.#state.now, COST_ORDER)) this.#refuse(wish, 'write-tokens')
      else this.#decrease(wish, order)
      return
    }
    const intent: Intent = {
      market: wish.market,
      owner: wish.owner,
      side: wish.side,
      price: wish.price,
      quantity: wish.left as Quantity,
      replaces: order,
    }
    const verdict = this.#risk.approve(intent)
    if (typeof verdict === 'string') {
      this.#refuse(wish, verdict)
      // It may wait for the rate or for our own other order; a quote that a limit forbids must not rest at its old price either.
      if (verdict !== 'order-rate' && verdict !== 'self-cross') this.#cancel(wish, order)
    } else if (!this.#bucket.spend(this.#state.now, COST_ORDER)) this.#refuse(wish, 'write-tokens')
    else this.#amend(wish, order, verdict)
  }

  #submit(wish: Wish, approved: Approved<Intent>, basket: BasketRun | null = null): void {
    const order = this.#create(wish, approved, this.#orders)
    order.basket = basket
    this.#count_(order)
    this.#launch(order)
  }

  #create(wish: Wish, approved: Approved<Intent>, id: number): Order {
    const { market, owner, side, price, quantity } = approved
    const expires = wish.take ? null : ((Math.ceil((this.#state.now + this.#risk.limits.orderAgeMax) / SECOND) * SECOND) as Timestamp)
    const order = new Order(id, market, owner, side, price, quantity, wish.take ? 'ioc' : 'gtc', !wish.take, expires, wish)
    order.why = wish.why
    order.value = wish.value
    return order
  }

  /** From here on every limit counts it. */
  #count_(order: Order): void {
    this.#state.ordersOpen++
    this.#portfolio.expose(order, order.price, order.quantity)
  }

  #launch(order: Order): void {
    const { wish, market } = order
    assert(order.id === this.#orders, 'orders are numbered as they are sent')
    this.#orders++
    this.#known?.set(order.id, order)
    this.#tally(order.owner).orders++
    wish.order = order
    wish.refusal = null
    this.#risk.sent()
    this.#portfolio.holdingOf(market).orders++
    this.#host.traded(market)
    this.#command(wish.take ? this.#words.submitIoc : this.#words.submitGtc, {
      type: 'submit',
      order,
      price: order.price,
      quantity: order.quantity,
    })
  }

  #amend(wish: Wish, order: Order, approved: Approved<Intent>): void {
    wish.refusal = null
    order.why = wish.why
    order.value = wish.value
    order.priceNext = approved.price
    order.quantityNext = (order.filled + approved.quantity) as Quantity
    this.#step(order, 'amend-sent')
    this.#risk.sent()
    this.#expose(order)
    this.#command(this.#words.amend, { type: 'amend', order, price: approved.price, quantity: order.quantityNext })
  }

  #decrease(wish: Wish, order: Order): void {
    wish.refusal = null
    this.#step(order, 'amend-sent')
    this.#command(this.#words.decrease, { type: 'decrease', order, price: order.price, quantity: wish.left as Quantity })
  }

  #cancel(wish: Wish, order: Order): void {
    if (!this.#bucket.spend(this.#state.now, COST_CANCEL)) {
      this.#wait(wish, this.#bucket.freeAt(this.#state.now, COST_CANCEL))
      return
    }
    this.#cancelNow(order)
  }
  #cancelNow(order: Order): void {
    this.#step(order, 'cancel-sent')
    this.#command(this.#words.cancel, { type: 'cancel', order, price: order.price, quantity: order.remaining })
  }

  #command(what: number, command: Command): void {
    const arrival = this.#venue.send(command)
    this.#entries.command(what, command, arrival)
  }

  #refuse(wish: Wish, reason: Refusal): void {
    this.#count(this.#tally(wish.owner).refusals, reason)
    wish.refusedTimes++
    if (wish.refusal !== reason || wish.refusedPrice !== wish.price) {
      wish.refusal = reason
      wish.refusedPrice = wish.price
      this.#entries.refusal(wish, reason, wish.refusedTimes)
      wish.refusedTimes = 0
    }
    if (wish.take) return
    if (reason === 'order-rate') this.#wait(wish, this.#risk.rateFreeAt)
    else if (reason === 'write-tokens') this.#wait(wish, this.#bucket.freeAt(this.#state.now, COST_ORDER))
  }

  #wait(wish: Wish, until: number): void {
    if (wish.retrying) return
    wish.retrying = true
    this.#host.retryAt(until, wish)
  }

  #tally(owner: number): Tally {
    const tally = this.tallies[owner]
    assert(tally !== undefined, 'a wish belongs to a strategy of the session')
    return tally
  }
  #count(counts: Record<string, number>, reason: string): void {
    counts[reason] = (counts[reason] ?? 0) + 1
  }
}

function slotOf(owner: number, side: SideCode, take: boolean): number {
  return owner * 4 + side * 2 + (take ? 1 : 0)
}

/** How much more the strategy itself allows on this side: its `positionMax` against its own position and its other order there. */
function roomFor(market: Market, owner: number, side: SideCode, positionMax: number, take: boolean): number {
  if (positionMax === Infinity) return Infinity
  const position = market.holding === null ? 0 : (market.holding.positions[owner] ?? 0)
  const other = market.wishes[slotOf(owner, side, !take)]?.order?.remaining ?? 0
  return (side === BID ? positionMax - position : positionMax + position) - other
}
