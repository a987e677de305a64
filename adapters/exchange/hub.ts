/**
 * Who hears what: the exchange's outlet, spread over the subscriptions of all sessions. Owns the index channel → subscriptions; hides encoding. Invariant:
 * private messages reach their own account alone, and a locked key only its own subaccount.
 */
import { BID, type SideCode } from '../../engine/units.ts'
import type { Account, ApiKey, OrderGroup } from './account.ts'
import { CHANNELS, type Channel } from './channels.ts'
import {
  deltaBody,
  eventMessage,
  feeMessage,
  fillMessage,
  groupMessage,
  lifecycleMessage,
  orderMessage,
  positionMessage,
  snapshotBody,
  tickerBody,
  tickerKey,
  tradeMessage,
} from './encode-ws.ts'
import type { Exchange } from './exchange.ts'
import { Indices } from './indices.ts'
import type { Position } from './ledger.ts'
import type { EventRecord, ListedMarket } from './market.ts'
import type { FillRow, OrderRecord, OrderRow, TradeRow, UpdateReason } from './order.ts'
import type { GroupEvent, IndexTick, LifecycleType, Outlet } from './outlet.ts'
import { Session, type Frame, type Subscription } from './session.ts'

const MARKET_DATA: readonly Channel[] = ['orderbook_delta', 'ticker', 'trade']

export class Hub implements Outlet {
  readonly #x: Exchange
  readonly indices = new Indices()
  readonly #subscriptions: Record<Channel, Set<Subscription>>
  readonly sessions = new Set<Session>()
  /** Called once, when somebody first wants to hear of markets. */
  onWatched: (() => void) | null = null
  readonly #tickers = new Map<ListedMarket, string>()
  readonly #byId = new Map<string, string>()

  constructor(exchange: Exchange) {
    this.#x = exchange
    this.#subscriptions = Object.fromEntries(CHANNELS.map((c) => [c, new Set<Subscription>()])) as Record<Channel, Set<Subscription>>
    for (const m of exchange.markets.values()) this.#byId.set(m.id, m.ticker)
    exchange.outlet = this
  }

  get now(): number {
    return this.#x.told
  }
  /** A client that has shown who it is. */
  connect(account: Account, key: ApiKey, send: (frame: Frame) => void): Session {
    const session = new Session(this, account, key, send)
    this.sessions.add(session)
    return session
  }
  left(session: Session): void {
    this.sessions.delete(session)
  }
  connections(account: Account): number {
    let n = 0
    for (const s of this.sessions) if (s.account === account) n++
    return n
  }
  add(sub: Subscription): void {
    this.#subscriptions[sub.channel].add(sub)
    const watched = this.onWatched
    if (watched === null || !MARKET_DATA.includes(sub.channel)) return
    this.onWatched = null
    // After the answers to the command.
    queueMicrotask(watched)
  }
  remove(sub: Subscription): void {
    this.#subscriptions[sub.channel].delete(sub)
  }
  knows(ticker: string): boolean {
    return this.#x.markets.has(ticker)
  }
  tickerOf(id: string): string | null {
    return this.#byId.get(id) ?? null
  }

  snapshot(sub: Subscription, ticker: string, id: number | null): void {
    const market = this.#x.markets.get(ticker)
    if (market !== undefined) sub.session.message(sub, 'orderbook_snapshot', snapshotBody(market, sub.yesPrices), id)
  }
  tickerNow(sub: Subscription, ticker: string): void {
    const market = this.#x.markets.get(ticker)
    if (market !== undefined) sub.session.message(sub, 'ticker', tickerBody(market, this.now))
  }

  delta(market: ListedMarket, side: SideCode, price: number, delta: number, cause: OrderRecord | null): void {
    const bodies: (string | null)[] = [null, null]
    for (const sub of this.#subscriptions.orderbook_delta) {
      if (!sub.chosen.has(market.ticker)) continue
      if (cause !== null && cause.user === sub.session.account.user) {
        sub.session.message(sub, 'orderbook_delta', deltaBody(market, side, price, delta, this.now, sub.yesPrices, cause))
        continue
      }
      const yes = sub.yesPrices || side === BID
      const body = bodies[yes ? 1 : 0] ?? deltaBody(market, side, price, delta, this.now, yes, null)
      bodies[yes ? 1 : 0] = body
      sub.session.message(sub, 'orderbook_delta', body)
    }
  }
  trade(market: ListedMarket, trade: TradeRow): void {
    this.#public('trade', market.ticker, 'trade', () => tradeMessage(this.#told(trade)))
  }
  ticker(market: ListedMarket): void {
    if (this.#subscriptions.ticker.size === 0) return
    const key = tickerKey(market)
    if (this.#tickers.get(market) === key) return
    this.#tickers.set(market, key)
    this.#public('ticker', market.ticker, 'ticker', () => tickerBody(market, this.now))
  }
  fill(account: Account, fill: FillRow): void {
    this.#private('fill', account, fill.ticker, fill.subaccount, 'fill', () => fillMessage(this.#told(fill)))
  }
  order(account: Account, row: OrderRow, reason: UpdateReason | null): void {
    this.#private('user_orders', account, row.ticker, row.subaccount, 'user_order', () => orderMessage(row, reason))
  }
  position(account: Account, position: Position): void {
    this.#private('market_positions', account, position.ticker, position.subaccount, 'market_position', () =>
      positionMessage(position, account.user),
    )
  }
  group(account: Account, group: OrderGroup, event: GroupEvent): void {
    this.#private('order_group_updates', account, null, group.subaccount, 'order_group_updates', () => groupMessage(group, event, this.now))
  }
  lifecycle(market: ListedMarket, type: LifecycleType): void {
    if (type === 'created') this.#byId.set(market.id, market.ticker)
    if (type === 'settled') this.#tickers.delete(market)
    const combo = market.ticker.startsWith('KXMVE')
    const channel = combo ? 'multivariate_market_lifecycle' : 'market_lifecycle_v2'
    this.#public(channel, null, channel, () => lifecycleMessage(market, type))
  }
  event(event: EventRecord): void {
    const channel = event.ticker.startsWith('KXMVE') ? 'multivariate_market_lifecycle' : 'market_lifecycle_v2'
    this.#public(channel, null, 'event_lifecycle', () => eventMessage(event))
  }
  fee(event: EventRecord): void {
    this.#public('market_lifecycle_v2', null, 'event_fee_update', () => feeMessage(event))
  }
  index(tick: IndexTick): void {
    for (const { channel, body } of this.indices.bodies(tick, this.now)) this.#public(channel, tick.id, channel, () => body)
  }

  /** As of the clock's face. */
  #told<T extends { readonly time: number }>(row: T): T {
    const { offset } = this.#x.face
    return offset === 0 ? row : { ...row, time: row.time + offset }
  }
  #public(channel: Channel, name: string | null, type: string, make: () => string): void {
    let body: string | null = null
    for (const sub of this.#subscriptions[channel]) {
      if (name !== null && !sub.wants(name)) continue
      body ??= make()
      sub.session.message(sub, type, body)
    }
  }
  #private(channel: Channel, account: Account, ticker: string | null, subaccount: number, type: string, make: () => string): void {
    let body: string | null = null
    for (const sub of this.#subscriptions[channel]) {
      const { session } = sub
      if (session.account !== account || (session.key.subaccount !== null && session.key.subaccount !== subaccount)) continue
      if (ticker !== null && !sub.wants(ticker)) continue
      body ??= make()
      session.message(sub, type, body)
    }
  }
}
