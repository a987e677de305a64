/**
 * The exchange of one seed, and what happens on it: markets that open, halt, close and pay, strangers, pauses, a human on the same account. Owns the course of the exchange's side; hides the dice. Invariant:
 * nothing here knows of the session that is drilled.
 */
import { Exchange, Hub, type Account, type ApiKey, type ListedMarket } from '../../../adapters/exchange/index.ts'
import { generateKeyPairSync } from 'node:crypto'
import { BID, ASK } from '../../../engine/units.ts'
import { Timeline } from '../timeline.ts'
import type { Moment } from './disk.ts'
import { Network, type Watcher } from './network.ts'
import { Strangers } from './strangers.ts'
import { CALM, Dice, newFired, type Swarm } from './swarm.ts'

export const START = 1_795_000_000_000_000
const SECOND = 1_000_000
export const SERIES = 'KXDRILL'
const CASH = 400 * 1_000_000
const CASH_POOR = 10 * 1_000_000
const SHARDS = [0, 2]
export const cashOf = (swarm: Swarm): number => (swarm.poor > 0 ? CASH_POOR : CASH) * SHARDS.length
const MARKETS = 3
const { publicKey } = generateKeyPairSync('ed25519')
export const KEY_ID = 'drill-key'

export class DrillStage {
  readonly timeline: Timeline
  readonly exchange: Exchange
  readonly hub: Hub
  readonly account: Account
  readonly network: Network
  readonly fired = newFired()
  readonly #strangers = new Map<string, Strangers>()
  readonly #dice: Dice
  readonly #seed: number
  /** Told of every moment at which a process may be killed. */
  moment: (at: Moment) => void = () => {}
  #made = 0
  #rate: number
  /** Markets on two shards, or all on one. */
  readonly #mixed: boolean
  readonly #ours: (clientId: string) => boolean

  constructor(seed: number, swarm: Swarm, watcher: Watcher, ours: (clientId: string) => boolean, hub: (exchange: Exchange) => Hub) {
    this.#seed = seed
    this.#ours = ours
    this.#dice = new Dice(seed, 'stage')
    this.timeline = new Timeline(seed, START)
    this.exchange = new Exchange({ start: START, seed, readLag: 350_000 })
    this.hub = hub(this.exchange)
    this.account = this.exchange.openAccount(
      'drill',
      SHARDS.map((shard) => ({ shard, amount: cashOf(swarm) / SHARDS.length })),
      swarm.basicTier > 0 ? 'basic' : 'premier',
    )
    const key: ApiKey = { id: KEY_ID, name: 'drill', publicKey, scopes: ['read', 'write'], subaccount: null }
    this.exchange.addKey(this.account, key)
    this.network = new Network(swarm, {
      timeline: this.timeline,
      exchange: this.exchange,
      hub: this.hub,
      account: this.account,
      key,
      seed,
      fired: this.fired,
      watcher,
      moment: (at) => this.moment(at),
    })
    this.#rate = this.#dice.between(1, 3)
    this.#mixed = this.#dice.hit(0.5)
    for (let m = 0; m < MARKETS; m++) this.#open()
    this.#acts()
    this.timeline.after(SECOND, () => this.#second(), false)
  }
  get swarm(): Swarm {
    return this.network.swarm
  }

  /** Everything works again; what was on its way still arrives. */
  heal(): void {
    this.network.swarm = CALM
    const { exchange } = this
    exchange.readLag = 350_000
    exchange.freezeReads(false)
    exchange.pause('exchange', false)
    exchange.pause('trading', false)
    for (const market of exchange.markets.values()) if (market.status === 'inactive') exchange.lifecycle.activate(market)
  }
  /** Nobody trades any more. */
  quiet(): void {
    this.#rate = 0
  }
  get active(): ListedMarket[] {
    return [...this.exchange.markets.values()].filter((m) => m.status === 'active')
  }

  async run(until: number, each: () => void): Promise<void> {
    await this.timeline.run(until, each, (now) => this.exchange.advance(now))
  }

  // ---------------------------------------------------------------------------------------------- markets

  #open(): void {
    const n = this.#made++
    const { exchange, timeline } = this
    const ticker = `${SERIES}-E${Math.floor(n / 2)}-M${n}`
    exchange.list({
      ticker,
      event: `${SERIES}-E${Math.floor(n / 2)}`,
      series: SERIES,
      title: `Drill ${n}`,
      openTime: timeline.now,
      closeTime: timeline.now + 3_600 * SECOND,
      grid: [{ start: 0, end: 10_000, step: 100 }],
      fee: { type: n % 2 === 0 ? 'quadratic' : 'quadratic_with_maker_fees', multiplier: 10_000 },
      exclusive: false,
      exchangeIndex: this.#mixed ? (SHARDS[n % 2] as number) : (SHARDS[0] as number),
      settlementTimer: this.#dice.between(3, 20) * SECOND,
    })
    this.#strangers.set(ticker, new Strangers(exchange, ticker, new Dice(this.#seed, ticker)))
  }
  #acts(): void {
    const { exchange, timeline } = this
    const rate = this.#rate
    if (rate > 0) {
      const market = this.#dice.pick(this.active)
      if (market !== undefined && exchange.shard(market.exchangeIndex).tradingActive && exchange.shard(market.exchangeIndex).exchangeActive)
        this.#strangers.get(market.ticker)?.act()
    }
    timeline.after(this.#dice.between(1, Math.round((2 * SECOND) / (MARKETS * Math.max(1, rate)))), () => this.#acts(), false)
  }

  // ---------------------------------------------------------------------------------------------- by the second

  #second(): void {
    const { timeline, exchange, swarm, fired } = this
    const dice = this.#dice
    this.network.second()
    const later = (from: number, to: number, call: () => void): void => void timeline.after(dice.between(from * SECOND, to * SECOND), call)
    // After the healing nothing starts; what has started ends.
    if (swarm.readLag > 0 && dice.hit(0.2)) exchange.readLag = dice.hit(0.3) ? 350_000 : Math.floor(dice.next() * swarm.readLag * SECOND)
    if (exchange.frozenSince < 0 && dice.hit(swarm.readFrozen)) {
      fired['reads frozen']++
      exchange.freezeReads(true)
      later(2, 12, () => exchange.freezeReads(false))
    }
    if (dice.hit(swarm.pauseTrading)) {
      fired['trading paused']++
      exchange.pause('trading', true)
      later(1, 10, () => exchange.pause('trading', false))
    }
    if (dice.hit(swarm.pauseExchange)) {
      fired['exchange paused']++
      exchange.pause('exchange', true)
      later(1, 10, () => exchange.pause('exchange', false))
    }
    if (dice.hit(swarm.pauseShard)) {
      fired['shard paused']++
      const shard = dice.pick(SHARDS)
      exchange.pause('trading', true, shard)
      later(1, 10, () => exchange.pause('trading', false, shard))
    }
    if (dice.hit(swarm.marketHalted)) {
      const market = dice.pick(this.active)
      if (market !== undefined) {
        fired['market halted']++
        exchange.lifecycle.halt(market)
        later(1, 10, () => exchange.lifecycle.activate(market))
      }
    }
    if (dice.hit(swarm.marketClosed)) {
      // Where we have something at stake, most often.
      const market = dice.pick(dice.hit(0.9) ? this.#ownActive() : this.active)
      if (market !== undefined) this.#close(market)
    }
    if (dice.hit(swarm.foreign)) this.#byHand()
    if (dice.hit(swarm.outsideCancel)) {
      const order = dice.pick([...this.account.resting].filter((o) => this.#ours(o.clientId)))
      if (order !== undefined) {
        fired['canceled by somebody else']++
        exchange.trading.remove(order, 'Decrease')
      }
    }
    if (dice.hit(swarm.meddle)) {
      const order = dice.pick([...this.account.resting].filter((o) => this.#ours(o.clientId) && o.remaining >= 200))
      if (order !== undefined && order.market.status === 'active' && exchange.shard(order.market.exchangeIndex).exchangeActive) {
        fired['order reduced by somebody else']++
        exchange.trading.decrease(this.account, order, Math.floor(order.remaining / 2))
      }
    }
    if (dice.hit(swarm.groupTrigger)) {
      for (const group of this.account.groups.values())
        if (!group.triggered) {
          fired['group triggered']++
          exchange.groups.trigger(this.account, group)
        }
    }
    timeline.after(SECOND, () => this.#second(), false)
  }

  #ownActive(): ListedMarket[] {
    const resting = new Set([...this.account.resting].map((o) => o.market))
    const own = this.active.filter((m) => resting.has(m))
    return own.length > 0 ? own : this.active
  }
  #close(market: ListedMarket): void {
    const { exchange, timeline, fired, account } = this
    const dice = this.#dice
    if ([...account.resting].some((o) => o.market === market)) fired['closed with orders open']++
    exchange.lifecycle.moveClose(market, timeline.now)
    this.#open()
    timeline.after(dice.between(1, 20) * SECOND, () => {
      const yes = dice.hit(0.5)
      exchange.lifecycle.determine(market, yes ? 'yes' : 'no', yes ? 10_000 : 0)
      if (account.quantity(market.ticker, 0) !== 0) fired['settled with a position']++
    })
  }

  /** A human trades on the same account: at once, or an order that rests for a while. */
  #byHand(): void {
    const { exchange, timeline, account, fired } = this
    const dice = this.#dice
    const market = dice.pick(this.active)
    if (market === undefined) return
    const side = dice.hit(0.5) ? BID : ASK
    const now = dice.hit(0.6)
    const price = now ? (side === BID ? market.ask : market.bid) : side === BID ? market.bid : market.ask
    if (price <= 0 || price >= 10_000) return
    try {
      const { order } = exchange.trading.create(account, {
        ticker: market.ticker,
        clientId: dice.hit(0.5) ? null : `web-${timeline.now}`,
        side,
        quantity: dice.between(1, 5) * 100,
        price,
        tif: now ? 'ioc' : 'gtc',
        prevention: 'taker',
        postOnly: false,
        reduceOnly: false,
        cancelOnPause: false,
        expires: null,
        subaccount: 0,
        group: null,
        exchangeIndex: null,
      })
      fired['manual order']++
      if (!now) timeline.after(dice.between(1, 20) * SECOND, () => exchange.trading.remove(order, 'Decrease'))
    } catch {
      // Paused or not affordable: the human shrugs.
    }
  }
}
