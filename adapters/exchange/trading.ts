/**
 * Orders: what is checked, in which order, what they trade, what it costs. Owns orders' lives and the money of their fills; hides the matching.
 * Invariants: a refused order changed nothing; every contract that is bought was paid for, so no trade leaves cash below zero; what an operation did is told once it is
 * whole, in the order in which it happened.
 *
 * Order of checks of a create (api.md §10.1, inferred): shard → account on the shard → pause → market → price → size → duplicate id → group →
 * post-only → balance → fill-or-kill.
 */
import { assert } from '../../engine/assert.ts'
import { fillFee } from '../../engine/fees.ts'
import { VenueOrder, type CancelReason, type MatchSink } from '../../engine/matching.ts'
import { ASK, BID, PRICE_ONE, type Price, type Quantity, type SideCode } from '../../engine/units.ts'
import type { Account, OrderGroup } from './account.ts'
import type { Exchange } from './exchange.ts'
import { groupHit } from './groups.ts'
import { applyFill, type Position } from './ledger.ts'
import type { ListedMarket } from './market.ts'
import { OrderRecord, type TradeRow, type UpdateReason } from './order.ts'
import type { AmendOrder, CreateOrder, Traded } from './order-request.ts'
import { refuse } from './refusal.ts'

const REASONS: Readonly<Record<CancelReason, UpdateReason>> = {
  user: 'Decrease',
  ioc: 'Decrease',
  'self-trade': 'SelfTradeCancel',
  expired: 'ExpiryCancel',
  closed: 'CloseCancel',
  reactivated: 'HaltCancel',
  'reduce-only': 'ReduceOnlyCancel',
  grid: 'HaltCancel',
  session: 'Decrease',
  margin: 'MarginCancel',
}

export class Trading {
  readonly #x: Exchange
  readonly #records = new Map<VenueOrder, OrderRecord>()
  /** The order whose operation runs. */
  #cause: OrderRecord | null = null
  /** Overrides the reason of cancels while set. */
  #why: UpdateReason | null = null
  #depth = 0
  #outbox: (() => void)[] = []
  readonly #touched = new Set<ListedMarket>()
  readonly #positions = new Map<Position, Account>()
  readonly #hit: [Account, OrderGroup][] = []
  /** True while a tape's own trade is matched: its print counts what known orders took of it. */
  #printing = false

  constructor(exchange: Exchange) {
    this.#x = exchange
  }

  /** The matching's ear in one market. */
  sink(market: () => ListedMarket): MatchSink {
    return {
      fill: (maker, taker, price, quantity) => this.#filled(market(), maker, taker, price, quantity),
      canceled: (order, reason) => this.#canceled(market(), order, reason),
      level: (side, price) => market().refresh(side, price),
      pays: (order, taking, price, quantity) => this.#pays(market(), order, taking, price, quantity),
    }
  }
  /** A public level changed. */
  level(market: ListedMarket, side: SideCode, price: number, delta: number): void {
    this.#touched.add(market)
    this.#x.outlet.delta(market, side, price, delta, this.#cause)
  }

  /** Runs one operation and then tells what it did. Operations that it causes (a group that triggers) belong to it. */
  operate<T>(cause: OrderRecord | null, body: () => T, why: UpdateReason | null = null): T {
    const [causeBefore, whyBefore] = [this.#cause, this.#why]
    this.#cause = cause
    this.#why = why
    this.#depth++
    try {
      return body()
    } finally {
      this.#cause = causeBefore
      this.#why = whyBefore
      if (--this.#depth === 0) this.#settleDown()
    }
  }

  /** Tells something in its place among what the running operation tells; at once where none runs. */
  say(tell: () => void): void {
    if (this.#depth > 0) this.#outbox.push(tell)
    else tell()
  }

  // ---------------------------------------------------------------------------------------------- commands

  create(account: Account, r: CreateOrder): Traded {
    const x = this.#x
    const market = x.routed(r.ticker, r.exchangeIndex)
    if (!account.provisioned(market.exchangeIndex)) throw refuse(400, `user_not_found: ${account.user}`)
    this.#open(market)
    if (market.shown.grid.indexOf[r.price] === undefined || (market.shown.grid.indexOf[r.price] as number) < 0)
      throw refuse(400, 'invalid_price')
    if (!(r.quantity > 0)) throw refuse(400, 'invalid_order_size')
    if (r.expires !== null) {
      if (r.expires <= x.now) throw refuse(400, 'invalid_order', 'Expiration timestamp must be in the future')
      if (r.tif !== 'gtc') throw refuse(400, 'invalid_order', 'expiration_time needs good_till_canceled')
    }
    if (r.reduceOnly && r.tif !== 'ioc') throw refuse(400, 'invalid_order', 'reduce_only needs immediate_or_cancel')
    if (r.postOnly && r.tif !== 'gtc') throw refuse(400, 'invalid_order', 'post_only needs good_till_canceled')
    if (r.clientId !== null && account.clientIds.has(r.clientId)) throw refuse(409, 'order_already_exists')
    if (r.group !== null) {
      const group = account.groups.get(r.group)
      if (group === undefined || group.exchangeIndex !== market.exchangeIndex || group.subaccount !== r.subaccount)
        throw refuse(404, 'order_group_not_found')
      if (group.triggered) throw refuse(409, 'exceeded_order_group_risk_limit')
    }
    if (r.postOnly && market.matching.crosses(r.side, r.price)) throw refuse(400, 'invalid_order', 'post only cross')
    const position = account.quantity(market.ticker, r.subaccount)
    const reducible = r.reduceOnly ? Math.max(0, r.side === BID ? -position : position) : -1
    if (reducible === 0) throw refuse(400, 'invalid_order', 'reduce only without a position')
    if (reducible < 0) x.margin.afford(account, market, r.subaccount, r.side, r.price, r.quantity, null)
    else x.margin.affordClosing(account, market, r.subaccount, r.side, r.price, Math.min(r.quantity, reducible))
    const venue = new VenueOrder(x.ordersMade, account.number, r.side, r.price as Price, r.quantity as Quantity, r.postOnly, r.prevention)
    const order = new OrderRecord({
      id: x.ids.next('order'),
      number: x.ordersMade++,
      user: account.user,
      subaccount: r.subaccount,
      market,
      venue,
      tif: r.tif,
      prevention: r.prevention,
      postOnly: r.postOnly,
      cancelOnPause: r.cancelOnPause,
      group: r.group,
      clientId: r.clientId ?? '',
      expires: r.expires,
      now: x.now,
    })
    venue.since = x.now
    return this.operate(order, () => {
      this.#records.set(venue, order)
      account.orders.set(order.id, order)
      account.resting.add(order)
      const at = this.#outbox.length
      const row = order.row()
      const rejection = market.matching.place(venue, r.tif, reducible)
      if (rejection !== null) {
        this.#records.delete(venue)
        account.orders.delete(order.id)
        account.resting.delete(order)
        assert(rejection === 'fok-volume', 'everything else was checked before')
        // It never was an order, but its id is used up (api.md §4.2).
        if (r.clientId !== null) account.clientIds.set(r.clientId, null)
        throw refuse(409, 'fill_or_kill_insufficient_resting_volume')
      }
      if (r.clientId !== null) account.clientIds.set(r.clientId, order)
      // The order comes first, then what it traded.
      this.#outbox.splice(at, 0, () => x.outlet.order(account, row, null))
      account.showOrder(order, x.now)
      if (venue.remaining === 0 && order.state === 'resting') this.#end(account, order, 'canceled', 'ReduceOnlyCancel')
      if (order.state === 'resting') this.#expireLater(order)
      return { order, quantity: order.filled, cost: order.takerCost, fees: order.takerFees }
    })
  }

  cancel(order: OrderRecord): number {
    const { remaining } = order
    // An order that is over is not found, whatever state its market is in.
    if (order.state !== 'resting') throw refuse(404, 'not_found')
    this.#cancelable(order.market)
    this.operate(order, () => order.market.matching.cancel(order.venue, 'user'))
    return remaining
  }
  /** Cancels for a reason of the exchange's own. */
  remove(order: OrderRecord, why: UpdateReason): void {
    if (order.state === 'resting') this.operate(order, () => order.market.matching.cancel(order.venue, 'user'), why)
  }

  /** To `remaining` contracts; 0 cancels. */
  decrease(account: Account, order: OrderRecord, remaining: number): void {
    if (order.state !== 'resting') throw refuse(404, 'not_found')
    this.#cancelable(order.market)
    if (remaining >= order.venue.remaining) throw refuse(400, 'invalid_order', 'the new count is below the remaining count')
    this.operate(order, () => {
      if (remaining === 0) {
        order.market.matching.cancel(order.venue, 'user')
        return
      }
      order.asked -= order.venue.remaining - remaining
      order.market.matching.decrease(order.venue, remaining as Quantity)
      order.updated = this.#x.now
      this.#tell(account, order, 'Decrease')
    })
  }

  amend(account: Account, order: OrderRecord, r: AmendOrder): Traded & { resized: boolean } {
    const { market, venue } = order
    const x = this.#x
    if (order.state !== 'resting') throw refuse(404, 'not_found')
    this.#open(market)
    if (r.ticker !== market.ticker) throw refuse(400, 'order_ticker_mismatch')
    if (r.side !== order.side) throw refuse(400, 'order_side_mismatch')
    if (r.clientId !== null && r.clientId !== order.clientId) throw refuse(400, 'order_id_and_client_order_id_mismatch')
    if ((market.shown.grid.indexOf[r.price] ?? -1) < 0) throw refuse(400, 'invalid_price')
    const remaining = r.total - order.filled
    if (remaining <= 0) throw refuse(400, 'invalid_order_size')
    if (r.expires !== null && r.expires !== 0 && r.expires <= x.now)
      throw refuse(400, 'invalid_order', 'Expiration timestamp must be in the future')
    if (r.clientIdNew !== null && r.clientIdNew !== order.clientId && account.clientIds.has(r.clientIdNew))
      throw refuse(409, 'order_already_exists')
    if (order.postOnly && market.matching.crosses(r.side, r.price)) throw refuse(400, 'invalid_order', 'post only cross')
    // The order would be gone with nothing to show for it: refused whole, as FIX words it ("Replace would self-cross").
    if (order.prevention === 'taker' && market.matching.crossesOwn(account.number, r.side, r.price))
      throw refuse(400, 'invalid_order', 'self cross attempt')
    x.margin.afford(account, market, order.subaccount, r.side, r.price, remaining, order)
    const before = { quantity: order.filled, cost: order.takerCost, fees: order.takerFees, remaining: venue.remaining }
    this.operate(order, () => {
      if (r.clientIdNew !== null && r.clientIdNew !== order.clientId) {
        order.clientId = r.clientIdNew
        account.clientIds.set(r.clientIdNew, order)
      }
      order.initial = r.total
      order.asked = r.total
      if (r.expires !== null) {
        order.expires = r.expires === 0 ? null : r.expires
        this.#expireLater(order)
      }
      if (r.price !== venue.price || remaining >= venue.remaining) venue.since = x.now
      order.updated = x.now
      // First as it was amended, then what it traded.
      const row = { ...order.row(), price: r.price, remaining }
      this.#outbox.push(() => x.outlet.order(account, row, 'Amend'))
      const rejection = market.matching.amend(venue, r.price as Price, remaining as Quantity)
      assert(rejection === null, 'an amend was checked before')
      account.showOrder(order, x.now)
    })
    return {
      order,
      quantity: order.filled - before.quantity,
      cost: order.takerCost - before.cost,
      fees: order.takerFees - before.fees,
      resized: order.remaining !== before.remaining,
    }
  }

  // ---------------------------------------------------------------------------------------------- a tape's rows

  /** A trade on a tape: known orders that stood before or at its price take their part. Returns how much they took. */
  print(market: ListedMarket, side: SideCode, price: number, quantity: number): number {
    const before = market.owed
    this.#printing = true
    market.matching.execution(side, price, quantity, this.#x.now)
    this.#printing = false
    return market.owed - before
  }
  /** The rest of a tape's trade: between two strangers. */
  strangersTraded(market: ListedMarket, side: SideCode, price: number, quantity: number): void {
    if (quantity > 0) this.#trade(market, side, price, quantity)
    this.#touched.add(market)
  }
  touch(market: ListedMarket): void {
    this.#touched.add(market)
  }

  // ---------------------------------------------------------------------------------------------- checks

  #open(market: ListedMarket): void {
    const shard = this.#x.shard(market.exchangeIndex)
    if (!shard.exchangeActive) throw refuse(409, 'exchange_is_paused')
    if (!shard.tradingActive || market.status === 'inactive' || market.blind) throw refuse(409, 'trading_is_paused')
    if (market.status !== 'active') throw refuse(409, 'market_closed')
  }
  #cancelable(market: ListedMarket): void {
    if (!this.#x.shard(market.exchangeIndex).exchangeActive) throw refuse(409, 'exchange_is_paused')
    // After the close every order operation is refused, cancels too (api.md §3.4).
    if (market.status !== 'active' && market.status !== 'inactive' && market.status !== 'initialized') throw refuse(409, 'market_closed')
  }

  // ---------------------------------------------------------------------------------------------- what the matching tells

  /** The last check of money, exact and at the moment of the trade: orders may set nothing aside, and fees of small fills are rounded up one by one. */
  #pays(market: ListedMarket, venue: VenueOrder, taking: boolean, price: Price, quantity: Quantity): boolean {
    const order = this.#records.get(venue)
    if (order === undefined) return true
    const { margin, now } = this.#x
    const fee = fillFee(market.fee, !taking, order.side, price, quantity, now, { ...order.fees })
    return margin.covers(this.#x.account(order.user), market, order.subaccount, order.side, price, quantity, fee)
  }

  #filled(market: ListedMarket, maker: VenueOrder | null, taker: VenueOrder | null, price: Price, quantity: Quantity): void {
    const side: SideCode = taker !== null ? taker.side : maker?.side === BID ? ASK : BID
    if (maker === null) market.refresh(side === BID ? ASK : BID, price)
    if (this.#printing) market.owed += quantity
    const trade = this.#trade(market, side, price, quantity)
    for (const [venue, taking] of [
      [maker, false],
      [taker, true],
    ] as const) {
      const order = venue === null ? undefined : this.#records.get(venue)
      if (order !== undefined) this.#book(market, order, trade, taking)
      else {
        const s = market.stranger(venue)
        const buys = (side === BID) === taking
        s.position += buys ? quantity : -quantity
        s.cash += buys ? -price * quantity : price * quantity
      }
    }
    if ((maker !== null && !this.#records.has(maker)) || (taker !== null && !this.#records.has(taker)))
      market.crowd?.fill(maker, taker, price, quantity)
    for (const venue of [maker, taker]) if (venue !== null && venue.remaining === 0) this.#over(venue)
  }

  #trade(market: ListedMarket, side: SideCode, price: number, quantity: number): TradeRow {
    const x = this.#x
    const trade: TradeRow = { number: x.tradesMade++, id: x.ids.next('trade'), ticker: market.ticker, price, quantity, side, time: x.now }
    market.traded(x.now, price, quantity)
    market.candles.trade(x.now, price, quantity)
    this.#touched.add(market)
    x.keep(trade)
    x.outlet.trade(market, trade)
    return trade
  }

  #book(market: ListedMarket, order: OrderRecord, trade: TradeRow, taker: boolean): void {
    const x = this.#x
    const account = x.account(order.user)
    const { price, quantity } = trade
    const fee = fillFee(market.fee, !taker, order.side, price, quantity, x.now, order.fees)
    const p = account.position(market, order.subaccount, x.now)
    account.move(order.subaccount, market.exchangeIndex, applyFill(p, order.side, price, quantity, fee, x.now), x.now)
    account.feesPaid += fee
    // At once: the next fill of the same operation may need it.
    this.#x.margin.returnCollateral(account, order.subaccount, market.event.ticker, market.exchangeIndex)
    const cost = (order.side === BID ? price : PRICE_ONE - price) * quantity
    if (taker) {
      order.takerCost += cost
      order.takerFees += fee
    } else {
      order.makerCost += cost
      order.makerFees += fee
    }
    order.updated = x.now
    const done = order.venue.remaining === 0 && order.filled >= order.asked
    if (done) {
      order.state = 'executed'
      account.resting.delete(order)
    }
    const fill = {
      number: x.fillsMade++,
      tradeId: trade.id,
      orderId: order.id,
      clientId: order.clientId,
      ticker: market.ticker,
      exchangeIndex: market.exchangeIndex,
      subaccount: order.subaccount,
      side: order.side,
      price,
      quantity,
      taker,
      fee,
      time: x.now,
      position: p.quantity,
    }
    account.showFill(fill, x.now)
    this.#outbox.push(() => x.outlet.fill(account, fill))
    this.#tell(account, order, 'Trade')
    this.#positions.set(p, account)
    if (order.group !== null) {
      const group = account.groups.get(order.group)
      if (group !== undefined && groupHit(group, x.now, quantity)) this.#hit.push([account, group])
    }
  }

  #over(venue: VenueOrder): void {
    const order = this.#records.get(venue)
    if (order !== undefined && order.state !== 'resting') this.#records.delete(venue)
  }

  #canceled(market: ListedMarket, venue: VenueOrder, reason: CancelReason): void {
    this.#touched.add(market)
    const order = this.#records.get(venue)
    if (order === undefined) {
      market.crowd?.canceled(venue, reason)
      return
    }
    this.#end(this.#x.account(order.user), order, 'canceled', this.#why ?? REASONS[reason])
  }

  #end(account: Account, order: OrderRecord, state: 'canceled', reason: UpdateReason): void {
    order.state = state
    order.updated = this.#x.now
    account.resting.delete(order)
    this.#records.delete(order.venue)
    this.#tell(account, order, reason)
  }

  #tell(account: Account, order: OrderRecord, reason: UpdateReason | null): void {
    const row = order.row()
    account.showOrder(order, this.#x.now)
    this.#outbox.push(() => this.#x.outlet.order(account, row, reason))
  }

  #expireLater(order: OrderRecord): void {
    const { expires } = order
    if (expires === null) return
    this.#x.at(expires, () => {
      if (order.state === 'resting' && order.expires === expires)
        this.operate(order, () => order.market.matching.cancel(order.venue, 'expired'))
    })
  }

  // ---------------------------------------------------------------------------------------------- the end of an operation

  #settleDown(): void {
    const x = this.#x
    this.#depth++
    while (this.#hit.length > 0) {
      const [account, group] = this.#hit.pop() as [Account, OrderGroup]
      if (!group.triggered) x.groups.trigger(account, group)
    }
    this.#depth--
    for (const [p, account] of this.#positions) {
      this.#x.margin.returnCollateral(account, p.subaccount, p.event, p.exchangeIndex)
      account.showPosition(p, x.now)
      const row = { ...p }
      this.#outbox.push(() => x.outlet.position(account, row))
    }
    this.#positions.clear()
    const out = this.#outbox
    this.#outbox = []
    for (const tell of out) tell()
    for (const market of this.#touched) {
      market.openInterest = x.openInterest(market)
      market.candles.touch(x.now, market.bid, market.ask, market.openInterest)
      x.outlet.ticker(market)
    }
    this.#touched.clear()
  }

  /** A settled position is told with everything else that the operation did. */
  moved(account: Account, p: Position): void {
    this.#positions.set(p, account)
  }
}
