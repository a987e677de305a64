/**
 * The exchange as a synchronous state machine: markets, accounts, orders and money under a clock that is given. Owns the state and its timers; hides
 * sockets from nobody, because it has none (server.ts has). Invariants: nothing happens except in `advance` and in a call; time never runs backwards;
 * the same calls at the same times give the same state and the same ids; money adds up (`audit`).
 */
import { assert } from '../../engine/assert.ts'
import type { FeeDetail } from '../../engine/message.ts'
import { EventQueue, Phase } from '../../engine/queue.ts'
import { DAY, MILLISECOND, PRICE_ONE } from '../../engine/units.ts'
import { Account, type ApiKey } from './account.ts'
import { Groups } from './groups.ts'
import { Lifecycle } from './lifecycle.ts'
import { TIER_NAMES, type Tier } from './limits.ts'
import { Margin } from './margin.ts'
import { ListedMarket, type EventRecord, type MarketDefinition, type SeriesRecord } from './market.ts'
import type { TradeRow } from './order.ts'
import type { IndexTick, Outlet } from './outlet.ts'
import { refuse } from './refusal.ts'
import { Ids } from './text.ts'
import { Trading } from './trading.ts'

export type Shard = {
  readonly index: number
  readonly description: string
  exchangeActive: boolean
  tradingActive: boolean
  transfersActive: boolean
}
export type FeeChange = {
  readonly number: number
  readonly id: string
  readonly ticker: string
  readonly series: string
  readonly fee: FeeDetail | null
  readonly time: number
}

export type ExchangeOptions = {
  /** µs: the time at which it begins. */
  readonly start: number
  readonly seed?: number
  /** What resting orders set aside: the sum of their cost, or nothing (api.md §4.10 leaves it open). */
  readonly restingReserve?: 'sum' | 'none'
  /** How far reads of balance, orders, fills and positions lag, µs. */
  readonly readLag?: number
  /** Largest clock difference of a signature, µs. */
  readonly skewMax?: number
  readonly shards?: readonly { readonly index: number; readonly description: string }[]
}

const SHARDS = [
  { index: 0, description: 'Default' },
  { index: 1, description: 'Combos' },
  { index: 2, description: 'Crypto and commodities' },
  { index: 3, description: 'Tennis, baseball and basketball' },
]
/** Public trades kept for reads. */
const TRADES_MAX = 400_000
const SILENT: Outlet = {
  delta() {},
  trade() {},
  ticker() {},
  fill() {},
  order() {},
  position() {},
  group() {},
  lifecycle() {},
  event() {},
  fee() {},
  index() {},
}

export class Exchange {
  readonly options: Required<Omit<ExchangeOptions, 'shards'>>
  readonly ids: Ids
  readonly markets = new Map<string, ListedMarket>()
  readonly events = new Map<string, EventRecord>()
  readonly series = new Map<string, SeriesRecord>()
  readonly accounts = new Map<string, Account>()
  readonly #keys = new Map<string, Account>()
  readonly shards: readonly Shard[]
  readonly trading: Trading
  readonly margin: Margin
  readonly groups: Groups
  readonly lifecycle: Lifecycle
  readonly seriesFees: FeeChange[] = []
  readonly eventFees: FeeChange[] = []
  readonly indices = new Map<string, IndexTick>()
  outlet: Outlet = SILENT
  /** Newest last. */
  trades: TradeRow[] = []
  ordersMade = 0
  tradesMade = 0
  fillsMade = 0
  settlementsMade = 0
  /** µs: see `readLag`; a fault may change it. */
  readLag: number
  /** Reads stand still since this time, −1: they do not. */
  frozenSince = -1
  /** Time stamp of a request that is executed late, µs: it was signed in time. */
  signedAt: number | null = null
  /** What lies before belongs to the historical endpoints, µs. */
  cutoff: { settled: number; trades: number; orders: number; positions: number }
  /** How far the time that it tells is off (a fault), µs: times of messages and answers and the check of signatures follow it, and nothing that is due. */
  face: { readonly offset: number } = { offset: 0 }
  #now: number
  readonly #timers = new EventQueue<() => void>()

  constructor(options: ExchangeOptions) {
    this.options = { seed: 1, restingReserve: 'sum', readLag: 350 * MILLISECOND, skewMax: 10_000_000, ...options }
    this.ids = new Ids(this.options.seed)
    this.#now = options.start
    this.readLag = this.options.readLag
    this.shards = (options.shards ?? SHARDS).map((s) => ({ ...s, exchangeActive: true, tradingActive: true, transfersActive: true }))
    const quarter = options.start - 90 * DAY
    this.cutoff = { settled: quarter, trades: quarter, orders: options.start - 14 * DAY, positions: quarter }
    this.trading = new Trading(this)
    this.margin = new Margin(this)
    this.groups = new Groups(this)
    this.lifecycle = new Lifecycle(this)
  }

  get now(): number {
    return this.#now
  }
  /** What it calls now towards the outside. */
  get told(): number {
    return this.#now + this.face.offset
  }
  /** Everything that is due until `now` happens at its own time. */
  advance(now: number): void {
    while (this.#timers.time <= now) {
      this.#now = Math.max(this.#now, this.#timers.time)
      this.#timers.pop()()
    }
    this.#now = Math.max(this.#now, now)
    for (const account of this.accounts.values()) account.view.catchUp(this.readUntil)
  }
  /** When the next timer is due, Infinity for none. */
  get due(): number {
    return this.#timers.time
  }
  at(time: number, body: () => void): void {
    this.#timers.push(time, Phase.TIMER, body)
  }
  /** Reads show what happened up to here. */
  get readUntil(): number {
    return this.frozenSince >= 0 ? this.frozenSince : this.#now - this.readLag
  }
  freezeReads(frozen: boolean): void {
    this.frozenSince = frozen ? (this.frozenSince >= 0 ? this.frozenSince : this.#now - this.readLag) : -1
  }

  // ---------------------------------------------------------------------------------------------- what it knows

  /** A market by ticker on a shard; a wrong pin finds nothing (api.md §8.5). */
  routed(ticker: string, exchangeIndex: number | null): ListedMarket {
    const market = this.markets.get(ticker)
    if (market === undefined || (exchangeIndex !== null && exchangeIndex >= 0 && exchangeIndex !== market.exchangeIndex))
      throw refuse(404, 'market_not_found')
    return market
  }
  shard(index: number): Shard {
    const shard = this.shards.find((s) => s.index === index)
    assert(shard !== undefined, 'a market is on a shard that exists')
    return shard
  }
  account(user: string): Account {
    const account = this.accounts.get(user)
    assert(account !== undefined, 'an order belongs to an account')
    return account
  }
  accountOfKey(id: string): { account: Account; key: ApiKey } | null {
    const account = this.#keys.get(id)
    const key = account?.keys.get(id)
    return account === undefined || key === undefined ? null : { account, key }
  }
  openAccount(name: string, cash: readonly { shard: number; amount: number }[], tier: Tier = 'basic'): Account {
    assert(TIER_NAMES.includes(tier), 'a tier has a name')
    const account = new Account(this.ids.of(`user:${name}`), 1_000_000 + this.accounts.size, name, tier)
    this.accounts.set(account.user, account)
    for (const { shard, amount } of cash) {
      account.move(0, shard, amount, this.#now - this.readLag)
      account.deposited += amount
    }
    account.view.catchUp(this.readUntil)
    return account
  }
  addKey(account: Account, key: ApiKey): void {
    account.keys.set(key.id, key)
    this.#keys.set(key.id, account)
  }
  removeKey(account: Account, id: string): boolean {
    this.#keys.delete(id)
    return account.keys.delete(id)
  }

  list(definition: MarketDefinition): ListedMarket {
    const known = this.markets.get(definition.ticker)
    if (known !== undefined) return known
    const shard = definition.exchangeIndex ?? 0
    this.shard(shard)
    let series = this.series.get(definition.series)
    if (series === undefined) {
      series = { ticker: definition.series, title: definition.series, fee: definition.fee, exchangeIndex: shard, updated: this.#now }
      this.series.set(series.ticker, series)
    }
    let event = this.events.get(definition.event)
    const fresh = event === undefined
    if (event === undefined) {
      event = {
        number: this.events.size,
        ticker: definition.event,
        series: series.ticker,
        title: definition.title,
        exclusive: definition.exclusive,
        exchangeIndex: shard,
        override: null,
        markets: [],
        updated: this.#now,
      }
      this.events.set(event.ticker, event)
    }
    const holder: { market: ListedMarket | null } = { market: null }
    const sink = this.trading.sink(() => holder.market as ListedMarket)
    const market = new ListedMarket(
      this.markets.size,
      definition,
      this.ids.of(`market:${definition.ticker}`),
      event,
      series,
      this.#now,
      sink,
      (m, side, price, delta) => this.trading.level(m, side, price, delta),
    )
    holder.market = market
    event.markets.push(market)
    this.markets.set(market.ticker, market)
    if (fresh) this.outlet.event(event)
    this.lifecycle.listed(market)
    return market
  }

  keep(trade: TradeRow): void {
    this.trades.push(trade)
    if (this.trades.length > TRADES_MAX * 1.25) this.trades = this.trades.slice(-TRADES_MAX)
  }
  /** Contracts held by everybody who is known; of a tape's strangers only what they hold against them. */
  openInterest(market: ListedMarket): number {
    let sum = 0
    for (const s of market.strangers.values()) if (s.position > 0) sum += s.position
    for (const account of this.accounts.values())
      for (let sub = 0; sub < account.subaccounts; sub++) sum += Math.max(0, account.quantity(market.ticker, sub))
    return sum
  }
  publish(tick: IndexTick): void {
    const key = `${tick.feed}/${tick.id}`
    // Repeated and late source times are ignored (A10).
    if ((this.indices.get(key)?.sourceTime ?? -1) >= tick.sourceTime) return
    this.indices.set(key, tick)
    this.outlet.index(tick)
  }

  // ---------------------------------------------------------------------------------------------- switches

  /** Pauses or resumes: the whole exchange or trading alone, on one shard or on all. Orders that asked for it are canceled (api.md §4.8). */
  pause(what: 'exchange' | 'trading', paused: boolean, shard: number | null = null): void {
    for (const s of this.shards) {
      if (shard !== null && s.index !== shard) continue
      if (what === 'exchange') s.exchangeActive = !paused
      else s.tradingActive = !paused
      if (!paused) continue
      for (const account of this.accounts.values())
        for (const order of account.resting)
          if (order.cancelOnPause && order.market.exchangeIndex === s.index) this.trading.remove(order, 'HaltCancel')
    }
  }
  seriesFee(ticker: string, fee: FeeDetail): void {
    const series = this.series.get(ticker)
    if (series === undefined) return
    series.fee = fee
    series.updated = this.#now
    this.seriesFees.push({ number: this.seriesFees.length, id: this.ids.next('fee'), ticker, series: ticker, fee, time: this.#now })
  }
  /** `null` clears the override. */
  eventFee(ticker: string, fee: FeeDetail | null): void {
    const event = this.events.get(ticker)
    if (event === undefined) return
    event.override = fee
    event.updated = this.#now
    this.eventFees.push({ number: this.eventFees.length, id: this.ids.next('fee'), ticker, series: event.series, fee, time: this.#now })
    this.outlet.fee(event)
  }

  /** Money that is there minus money that was paid in: 0, always. Also 0: the sum of all positions of each market. */
  audit(): { money: number; positions: number } {
    let money = 0
    const net = new Map<string, number>()
    for (const account of this.accounts.values()) {
      money += account.total + account.feesPaid - account.deposited
      for (const credit of account.returned.values()) money -= credit
      for (const p of account.positions.values()) {
        if (p.quantity < 0) money += -p.quantity * PRICE_ONE
        net.set(p.ticker, (net.get(p.ticker) ?? 0) + p.quantity)
      }
    }
    for (const market of this.markets.values())
      for (const s of market.strangers.values()) {
        money += s.cash
        net.set(market.ticker, (net.get(market.ticker) ?? 0) + s.position)
      }
    let positions = 0
    for (const sum of net.values()) positions += Math.abs(sum)
    return { money, positions }
  }
}
