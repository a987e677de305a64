/**
 * Whether money is there for what an order may cost (api.md §4.10). Owns what resting orders set aside, the checks before an order is taken and before each of its
 * fills, and the collateral that exclusive events give back; hides nothing. Invariant: what `covers` agrees to leaves cash at zero or above.
 */
import { tradeFee } from '../../engine/fees.ts'
import { BID, type SideCode } from '../../engine/units.ts'
import type { Account } from './account.ts'
import type { Exchange } from './exchange.ts'
import { cashOfFill, collateralReturned, reserveOf } from './ledger.ts'
import type { EventRecord, ListedMarket } from './market.ts'
import type { OrderRecord } from './order.ts'
import { refuse } from './refusal.ts'

export class Margin {
  readonly #x: Exchange
  constructor(exchange: Exchange) {
    this.#x = exchange
  }

  /** A new order, or one as it is amended (`replaced`), at its limit and beside everything that rests. */
  afford(
    account: Account,
    market: ListedMarket,
    subaccount: number,
    side: SideCode,
    price: number,
    quantity: number,
    replaced: OrderRecord | null,
  ): void {
    const free = this.free(account, subaccount, market.exchangeIndex, replaced)
    const orders = this.#restingIn(account, market, subaccount, replaced)
    const position = account.quantity(market.ticker, subaccount)
    const returned = this.#returns(account, subaccount, market)
    const others = this.#x.options.restingReserve === 'sum' ? orders : []
    const before = reserveOf(position, others, returned)
    const after = reserveOf(position, [...others, { side, price, quantity }], returned)
    const fee = tradeFee(market.fee, false, price, quantity)
    if (after - before > 0 && after - before + fee > free) throw refuse(400, 'insufficient_balance')
  }
  /** What closes brings cash, unless fees or collateral that was given back already take more than that. */
  affordClosing(account: Account, market: ListedMarket, subaccount: number, side: SideCode, price: number, quantity: number): void {
    const fee = tradeFee(market.fee, false, price, quantity)
    if (!this.covers(account, market, subaccount, side, price, quantity, fee)) throw refuse(400, 'insufficient_balance')
  }
  /** The exact check of one fill at its moment. */
  covers(
    account: Account,
    market: ListedMarket,
    subaccount: number,
    side: SideCode,
    price: number,
    quantity: number,
    fee: number,
  ): boolean {
    const change = this.#changeOf(account, market, subaccount, side, price, quantity, fee)
    return change >= 0 || account.cash(subaccount, market.exchangeIndex) + change >= 0
  }
  /** What a fill does to cash: its price, its fee, and the collateral that it frees or binds. */
  #changeOf(
    account: Account,
    market: ListedMarket,
    subaccount: number,
    side: SideCode,
    price: number,
    quantity: number,
    fee: number,
  ): number {
    const position = account.quantity(market.ticker, subaccount)
    const change = cashOfFill(position, side, price, quantity) - fee
    if (!this.#returns(account, subaccount, market)) return change
    const after = this.#collateral(account, subaccount, market.event, market, side === BID ? quantity : -quantity)
    return change + after - (account.returned.get(`${subaccount}/${market.event.ticker}`) ?? 0)
  }
  #returns(account: Account, subaccount: number, market: ListedMarket): boolean {
    return market.event.exclusive && account.netting.has(subaccount)
  }
  #restingIn(
    account: Account,
    market: ListedMarket,
    subaccount: number,
    except: OrderRecord | null,
  ): { side: SideCode; price: number; quantity: number }[] {
    const out = []
    for (const o of account.resting)
      if (o.market === market && o.subaccount === subaccount && o !== except)
        out.push({ side: o.side, price: o.venue.price, quantity: o.venue.remaining })
    return out
  }
  /** Cash that resting orders do not need; all of it where they set nothing aside (the other reading of the docs, api.md §4.10). */
  free(account: Account, subaccount: number, shard: number, except: OrderRecord | null = null): number {
    const cash = account.cash(subaccount, shard)
    return this.#x.options.restingReserve === 'sum' ? cash - this.reserved(account, subaccount, shard, except) : cash
  }
  reserved(account: Account, subaccount: number, shard: number, except: OrderRecord | null = null): number {
    const markets = new Set<ListedMarket>()
    for (const o of account.resting)
      if (o.subaccount === subaccount && o.market.exchangeIndex === shard && o !== except) markets.add(o.market)
    let sum = 0
    for (const m of markets) {
      const orders = this.#restingIn(account, m, subaccount, except)
      sum += reserveOf(account.quantity(m.ticker, subaccount), orders, this.#returns(account, subaccount, m))
      for (const o of orders) sum += tradeFee(m.fee, true, o.price, o.quantity)
    }
    return sum
  }

  /** MECNET: what the event gives back follows the NO contracts held in it. */
  returnCollateral(account: Account, subaccount: number, eventTicker: string, shard: number): void {
    const event = this.#x.events.get(eventTicker)
    if (event === undefined || !event.exclusive) return
    const key = `${subaccount}/${eventTicker}`
    const before = account.returned.get(key) ?? 0
    if (before === 0 && !account.netting.has(subaccount)) return
    const after = account.netting.has(subaccount) ? this.#collateral(account, subaccount, event) : 0
    if (after === before) return
    account.returned.set(key, after)
    account.move(subaccount, shard, after - before, this.#x.now)
  }
  /** What is returned while so much more is held in `market`. */
  #collateral(account: Account, subaccount: number, event: EventRecord, market: ListedMarket | null = null, more = 0): number {
    const held = event.markets.map((m) => Math.max(0, -(account.quantity(m.ticker, subaccount) + (m === market ? more : 0))))
    const resolved = event.markets.some((m) => m.status === 'finalized' && m.result === 'yes')
    return collateralReturned(held, resolved)
  }
}
