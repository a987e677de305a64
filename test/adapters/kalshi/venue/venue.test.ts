import { afterEach, describe, expect, it, vi } from 'vitest'
import { environmentOf } from '../../../../adapters/kalshi/environment.ts'
import { FileQuarantine, Signer, systemWorld } from '../../../../adapters/kalshi/index.ts'
import { Budget } from '../../../../adapters/kalshi/rate-limit.ts'
import { Rest } from '../../../../adapters/kalshi/rest.ts'
import type { OrderFact, FillFact } from '../../../../adapters/kalshi/venue/evidence.ts'
import { Gate } from '../../../../adapters/kalshi/venue/gate.ts'
import type { Intent } from '../../../../adapters/kalshi/venue/intent.ts'
import { Sweeper } from '../../../../adapters/kalshi/venue/sweep.ts'
import { KalshiVenue } from '../../../../adapters/kalshi/venue/venue.ts'
import type { Kept } from '../../../../adapters/kalshi/venue/tracked.ts'
import type { FaultRule } from '../../../../adapters/exchange/index.ts'
import type { News } from '../../../../engine/news.ts'
import { Order, type Command } from '../../../../engine/order.ts'
import type { Market } from '../../../../engine/market.ts'
import { parsePrice, parseQuantity, type Price, type Quantity, type Timestamp } from '../../../../engine/units.ts'
import { onSockets, order as wireOrder, trader, type Json, type Sockets, type Trader } from '../../exchange/support.ts'
import { EngineModel, SECOND } from './history.ts'

const TICKER = 'KXTEST-A'
const closing: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})
const until = async (condition: () => boolean, what: string, patience = 15_000): Promise<void> => {
  const end = performance.now() + patience
  while (!condition()) {
    if (performance.now() > end) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
const orderFact = (o: Json): OrderFact => ({
  id: o['order_id'],
  client: o['client_order_id'] === '' ? null : o['client_order_id'],
  ticker: o['ticker'],
  side: o['book_side'],
  price: parsePrice(o['yes_price_dollars']),
  status: o['status'],
  initial: parseQuantity(o['initial_count_fp']),
  filled: parseQuantity(o['fill_count_fp']),
  remaining: parseQuantity(o['remaining_count_fp']),
  reason: o['last_update_reason'] ?? null,
  group: o['order_group_id'] ?? null,
  subaccount: o['subaccount_number'] ?? 0,
  shard: o['exchange_index'] ?? 0,
  updated: o['last_update_time'] == null ? null : Date.parse(o['last_update_time']) * 1000,
})
const fillFact = (f: Json): FillFact => ({
  trade: f['trade_id'],
  id: f['order_id'],
  ticker: f['ticker'],
  side: f['book_side'],
  price: parsePrice(f['yes_price_dollars']),
  quantity: parseQuantity(f['count_fp']),
  fee: Math.round(Number(f['fee_cost']) * 1e6),
  maker: f['is_taker'] !== true,
  timeVenue: Date.parse(f['created_time']) * 1000,
  position: null,
  subaccount: f['subaccount_number'] ?? 0,
  shard: f['exchange_index'] ?? 0,
})

/** A venue on the local exchange with a log in memory, an engine that is its own table, and a poll that answers what is wanted. */
class Rig {
  readonly log: { readonly sequence: number; readonly kept: Kept; readonly kind: string }[]
  readonly engine = new EngineModel()
  readonly venue: KalshiVenue
  readonly gate: Gate
  readonly failures: unknown[] = []
  syncs = 0
  synced = 0
  failSync = false
  /** The disk is forced before the call returns. */
  quick = false
  inTurn = false
  polling = true
  #orders = new Map<number, Order>()

  constructor(sockets: Sockets, who: Trader, log: Rig['log'] = [], generation = 1) {
    this.log = log
    const world = systemWorld(new FileQuarantine('/dev/null'))
    const environment = environmentOf(new URL(sockets.server.url).origin)
    const signer = Signer.fromPem(who.keyId, who.privatePem)
    const budget = new Budget({ read: { perSecond: 1e4, capacity: 1e4 }, write: { perSecond: 1e4, capacity: 1e4 } })
    const rest = new Rest(environment, signer, budget, world)
    const start = Date.now() * 1000 - 60 * SECOND
    this.gate = new Gate(
      {
        environment,
        signer,
        clock: world.clock,
        timers: world.timers,
        http: world.http,
        budget,
        caps: { orderMax: 100_000, notionalMax: 1e9, collar: 10_000, ordersPerSecond: 1e4, ordersOpen: 1e4 },
        killed: () => null,
        holdsLock: () => true,
        synced: () => this.synced,
        permits: () => null,
        reference: () => 5000,
        closes: () => Infinity,
        ordersOpen: () => this.venue.orders.open,
      },
      { timeout: 400_000 },
    )
    const read = async (ids: readonly string[], sweep: boolean): Promise<void> => {
      for (const id of ids) {
        try {
          this.venue.seen(orderFact((await rest.get('order', { order_id: id }, { attempts: 1 })).order as unknown as Json), 'read')
        } catch {
          this.venue.readNotFound(id)
        }
      }
      if (!sweep) return
      const started = world.clock.now()
      try {
        const asOf = Date.parse((await rest.get('userDataTimestamp', {}, { attempts: 1 })).as_of_time) * 1000
        const orders = (await rest.list('orders', { limit: 1000 }, { attempts: 1 })).items.map((o) => orderFact(o as Json))
        const fills = (await rest.list('fills', { limit: 1000 }, { attempts: 1 })).items.map((f) => fillFact(f as Json))
        this.venue.swept({ started, ended: world.clock.now(), asOf, orders, fills, since: start })
      } catch {
        this.venue.swept({ started, ended: world.clock.now(), asOf: null, orders: null, fills: null, since: start })
      }
    }
    this.venue = new KalshiVenue(
      {
        gate: this.gate,
        rest,
        clock: world.clock,
        timers: world.timers,
        record: (kind: string, detail: Intent | { readonly command: number }) => {
          const sequence = this.log.length + 1
          this.log.push({
            sequence,
            kind,
            kept:
              kind === 'intent'
                ? { intent: detail as Intent, time: world.clock.now() }
                : { dropped: (detail as { command: number }).command },
          })
          return sequence
        },
        sync: async () => {
          const to = this.log.length
          await new Promise((resolve) => setImmediate(resolve))
          if (this.failSync) throw new Error('disk full')
          this.syncs++
          this.synced = Math.max(this.synced, to)
        },
        syncNow: () => {
          if (!this.quick) return false
          if (this.failSync) throw new Error('disk full')
          this.syncs++
          this.synced = this.log.length
          return true
        },
        enter: (news: News) => {
          if (this.inTurn) throw new Error('news entered inside a turn')
          this.inTurn = true
          this.log.push({ sequence: this.log.length + 1, kind: 'news', kept: { news } })
          this.engine.hear([news])
          this.inTurn = false
        },
        wanted: ({ reads, sweep }) => void (this.polling && read(reads, sweep)),
        failed: (error) => void this.failures.push(error),
        orderGroup: () => null,
        shardOf: () => 0,
      },
      { nonce: 'rig', generation, subaccount: 0, start, absenceMargin: 1 * SECOND, absenceGap: 50_000, freshness: 100_000 },
    )
    closing.push(async () => {
      this.venue.close()
      rest.stop()
      await world.close()
    })
    this.sweep = () => read([], true)
  }
  readonly sweep: () => Promise<void>

  order(id: number, side: 0 | 1, price: number, quantity: number, tif: 'gtc' | 'ioc' = 'gtc'): Order {
    const expires = tif === 'gtc' ? (((Math.floor(Date.now() / 1000) + 600) * SECOND) as Timestamp) : null
    const o = new Order(
      id,
      { ticker: TICKER } as Market,
      0,
      side,
      price as Price,
      quantity as Quantity,
      tif,
      tif === 'gtc',
      expires,
      {} as Order['wish'],
    )
    this.#orders.set(id, o)
    return o
  }
  /** One turn of the engine. */
  send(...commands: (readonly [Command['type'], Order, number?, number?])[]): Promise<void> {
    this.inTurn = true
    for (const [type, order, price = order.price, quantity = order.quantity] of commands) {
      if (type === 'submit') this.engine.sent(order.id, quantity)
      else this.engine.wrote(order.id, type === 'cancel' ? 'cancel-sent' : 'amend-sent', type === 'amend' ? quantity : null)
      expect(this.venue.send({ type, order, price: price as Price, quantity: quantity as Quantity })).toBe(0)
    }
    const flushed = this.venue.flush()
    this.inTurn = false
    return flushed
  }
  state(order: number): string | undefined {
    return this.engine.states.get(order)?.state
  }
  types(): string[] {
    return this.engine.heard.map((n) => n.type)
  }
}
async function rig(rules: readonly FaultRule[] = [], options: Parameters<typeof onSockets>[0] = {}) {
  const sockets = await onSockets({ rules, ...options })
  closing.push(() => sockets.stop())
  const us = trader(sockets.x, 'us')
  const other = trader(sockets.x, 'other')
  const one = new Rig(sockets, us)
  return {
    sockets,
    us,
    other,
    one,
    ours: () => [...us.account.orders.values()],
    create: (body: Json) => sockets.call(other, 'POST', '/portfolio/events/orders', body),
  }
}

describe('the venue on the local exchange', () => {
  it('an order lives: sent after its intent is on disk, accepted, amended, decreased, filled in part, canceled', async () => {
    const { one, ours, create } = await rig()
    const o = one.order(0, 0, 4000, 1000)
    await one.send(['submit', o])
    expect([one.log[0]?.kind, one.syncs]).toEqual(['intent', 1])
    await until(() => one.state(0) === 'working', 'accepted')
    expect(ours()[0]).toMatchObject({ clientId: 'rig-1-0', cancelOnPause: true, expires: o.expires })
    await one.send(['amend', o, 4100, 900])
    await until(() => one.state(0) === 'working', 'amended')
    await one.send(['decrease', o, 4100, 500])
    await until(() => one.state(0) === 'working', 'decreased')
    expect(one.engine.states.get(0)?.total).toBe(500)
    await create(wireOrder('ask', 4100, 200))
    await one.sweep()
    await until(() => one.engine.states.get(0)?.filled === 200, 'filled')
    await one.send(['cancel', o])
    await until(() => one.state(0) === 'canceled', 'canceled')
    expect(one.types()).toEqual(['accepted', 'amended', 'decreased', 'fill', 'canceled'])
    expect(one.venue.status).toMatchObject({ orders: { open: 0, unknown: 0, held: 0 }, flying: 0, collected: 0 })
  })
  it('several commands of a turn are one sync; an immediate order ends with all its fills', async () => {
    const { one, create } = await rig()
    await create(wireOrder('ask', 5000, 300))
    const before = one.syncs
    await one.send(
      ['submit', one.order(0, 0, 5000, 500, 'ioc')],
      ['submit', one.order(1, 0, 3000, 500)],
      ['submit', one.order(2, 1, 9000, 500)],
    )
    expect(one.syncs).toBe(before + 1)
    await until(() => one.state(0) === 'canceled' && one.state(1) === 'working' && one.state(2) === 'working', 'all answered')
    expect(one.engine.states.get(0)?.filled).toBe(300)
  })
  it('with a quick disk it leaves inside the turn itself, after its intent, and its news come after the turn', async () => {
    const { one, ours } = await rig()
    one.quick = true
    const first = one.order(0, 0, 4000, 100)
    void one.send(['submit', first], ['submit', one.order(1, 0, 3900, 100)])
    expect([one.syncs, one.gate.status.passed, one.log.map((l) => l.kind)]).toEqual([1, 2, ['intent', 'intent']])
    await until(() => one.state(0) === 'working' && one.state(1) === 'working', 'accepted')
    one.failSync = true
    void one.send(['submit', one.order(2, 0, 3000, 100)], ['cancel', first])
    await until(() => one.state(0) === 'canceled' && one.state(2) === 'rejected', 'ended')
    expect([ours().length, one.gate.status.refused, one.failures.length]).toEqual([2, { unsynced: 1 }, 1])
  })
  it('ORD-01, ORD-02, ORD-06: an answer that is lost is unknown, and what is there decides; what is not there is absent', async () => {
    for (const [rule, end] of [
      [{ on: 'request', do: 'lose-response', operation: 'CreateOrderV2', times: 1 }, 'working'],
      [{ on: 'request', do: 'status', status: 503, effect: true, operation: 'CreateOrderV2', times: 1 }, 'working'],
      [{ on: 'request', do: 'status', status: 500, operation: 'CreateOrderV2', times: 1 }, 'absent'],
      [{ on: 'request', do: 'html', effect: true, operation: 'CreateOrderV2', times: 1 }, 'working'],
      [{ on: 'request', do: 'reset', operation: 'CreateOrderV2', times: 1 }, 'absent'],
      [{ on: 'request', do: 'too-many', operation: 'CreateOrderV2', times: 1 }, 'rejected'],
    ] as const) {
      const { one, ours } = await rig([rule])
      await one.send(['submit', one.order(0, 0, 4000, 100)])
      await until(() => one.state(0) === end, `${JSON.stringify(rule)} ends ${end}, not ${one.state(0)}`)
      expect(one.types()[0]).toBe(end === 'rejected' ? 'rejected' : 'no-answer')
      expect(ours()).toHaveLength(end === 'working' ? 1 : 0)
    }
  })
  it('ORD-11: a cancel whose answers are lost is repeated and ends by evidence', async () => {
    const { one, ours } = await rig([{ on: 'request', do: 'status', status: 502, operation: 'CancelOrderV2', times: 2 }])
    const o = one.order(0, 0, 4000, 100)
    await one.send(['submit', o])
    await until(() => one.state(0) === 'working', 'accepted')
    await one.send(['cancel', o])
    await until(() => one.state(0) === 'canceled', 'canceled')
    const cancels = one.log.flatMap(({ kept }) => ('intent' in kept && kept.intent.kind === 'cancel' ? [kept.intent.attempt] : []))
    expect([cancels, ours()[0]?.state]).toEqual([[1, 2, 3], 'canceled'])
  })
  it('PROC-04: a disk that keeps nothing lets no order out, and every cancel', async () => {
    const { one, ours } = await rig()
    const o = one.order(0, 0, 4000, 100)
    await one.send(['submit', o])
    await until(() => one.state(0) === 'working', 'accepted')
    one.failSync = true
    await one.send(['submit', one.order(1, 0, 3000, 100)], ['cancel', o])
    await until(() => one.state(0) === 'canceled' && one.state(1) === 'rejected', 'ended')
    expect([one.engine.heard.find((n) => n.type === 'rejected'), ours().length, one.failures.length]).toMatchObject([
      { reason: 'gate:unsynced' },
      1,
      1,
    ])
  })
  it('PROC-01: a crash at every point: the next process knows what was sent and sends nothing twice', async () => {
    for (const point of ['before the intent', 'after the sync', 'after the effect', 'after the answer'] as const) {
      const { one, sockets, us, ours } = await rig()
      const o = one.order(0, 0, 4000, 100)
      if (point === 'before the intent') {
        one.engine.sent(0, 100)
      } else if (point === 'after the sync') {
        // Kept, and the process ends before the gate is asked.
        one.gate.freeze('crash')
        one.log.push({ sequence: 1, kind: 'intent', kept: { intent: intentOf(o), time: Date.now() * 1000 } })
      } else {
        await one.send(['submit', o])
        await until(() => (point === 'after the effect' ? ours().length === 1 : one.state(0) === 'working'), point)
      }
      one.venue.close()
      const log = one.log.filter((l) => point !== 'after the effect' || l.kind === 'intent')
      const two = new Rig(sockets, us, log, 2)
      two.synced = log.length
      // The replay: the same commands again, to a silent venue, and the news that were kept.
      two.engine.sent(0, 100)
      two.venue.send({ type: 'submit', order: o, price: o.price, quantity: o.quantity })
      two.engine.hear(log.flatMap(({ kept }) => ('news' in kept ? [kept.news] : [])))
      two.venue.restore(log.map((l) => l.kept))
      const end = {
        'before the intent': 'rejected',
        'after the sync': 'absent',
        'after the effect': 'working',
        'after the answer': 'working',
      }[point]
      await until(() => two.state(0) === end && !two.venue.orders.restless, `${point}: ${end}, not ${two.state(0)}`)
      expect([point, ours().length]).toEqual([point, end === 'working' ? 1 : 0])
      // A second crash right after tells nothing twice.
      const three = new Rig(sockets, us, two.log, 3)
      // As the engine's own order stands by then.
      Object.assign(o, { state: end })
      three.venue.send({ type: 'submit', order: o, price: o.price, quantity: o.quantity })
      three.engine.sent(0, 100)
      three.engine.hear(two.log.flatMap(({ kept }) => ('news' in kept ? [kept.news] : [])))
      // But that the exchange is asked first, each process says for itself.
      const told = (): number => two.log.filter((l) => !('news' in l.kept && l.kept.news.type === 'disagreed')).length
      const before = told()
      three.venue.restore(two.log.map((l) => l.kept))
      expect(told()).toBe(before)
      // And the session goes on with the next number.
      three.synced = two.log.length
      await three.send(['submit', three.order(1, 0, 4000, 100)])
      await until(() => three.state(1) === 'working', 'the next order')
    }
  })
  it('I-K2: settles down with nothing left, whatever is lost on the way', async () => {
    const { one, ours } = await rig([
      { on: 'request', do: 'status', status: 503, operation: 'CancelOrderV2', every: 2 },
      { on: 'request', do: 'lose-response', operation: 'CancelAllOrders', times: 1 },
    ])
    await one.send(...Array.from({ length: 10 }, (_, k) => ['submit', one.order(k, 0, 1000 + k * 100, 100)] as const))
    await until(() => one.types().length === 10, 'accepted')
    const left = await one.venue.settleDown()
    expect(left).toEqual({ open: [], unknown: expect.any(Number), why: '' })
    expect(ours().filter((o) => o.state === 'resting')).toEqual([])
  })
  it('a create without its outcome is not called nothing: what is left is unknown until its answer is there', async () => {
    const { one } = await rig([{ on: 'request', do: 'lose-response', operation: 'CreateOrderV2', times: 1 }])
    one.polling = false
    await one.send(['submit', one.order(0, 0, 4000, 100)])
    const left = await one.venue.settleDown(100_000)
    expect(left.open === null || left.unknown > 0).toBe(true)
  })
  it('an empty list that is older than the last write proves nothing', async () => {
    const { one } = await rig()
    const o = one.order(0, 0, 4000, 100)
    await one.send(['submit', o])
    await until(() => one.state(0) === 'working', 'accepted')
    const asOf = vi.spyOn(Sweeper.prototype, 'asOf').mockImplementation(() => Promise.resolve(Date.now() * 1000 - 60 * SECOND))
    try {
      expect(await one.venue.settleDown(1 * SECOND)).toMatchObject({ open: null, why: 'the list is older than what was sent' })
    } finally {
      asOf.mockRestore()
    }
    expect(await one.venue.settleDown()).toMatchObject({ open: [], unknown: 0 })
  })
  it('a cancel that a crash left without an answer is asked for again at once', async () => {
    const { one, sockets, us, ours } = await rig()
    const o = one.order(0, 0, 4000, 100)
    await one.send(['submit', o])
    await until(() => one.state(0) === 'working', 'accepted')
    one.venue.close()
    const cancel = {
      kind: 'cancel',
      command: 1,
      attempt: 1,
      order: 0,
      id: ours()[0]?.id as string,
      ticker: TICKER,
      shard: 0,
      subaccount: 0,
    } as const
    one.log.push({ sequence: one.log.length + 1, kind: 'intent', kept: { intent: cancel, time: Date.now() * 1000 } })
    const two = new Rig(sockets, us, one.log, 2)
    two.polling = false
    two.synced = two.log.length
    two.engine.sent(0, 100)
    two.engine.hear(two.log.flatMap(({ kept }) => ('news' in kept ? [kept.news] : [])))
    two.venue.restore(two.log.map((l) => l.kept))
    await until(() => ours()[0]?.state === 'canceled', 'canceled', 900)
  })
})
const intentOf = (o: Order): Intent => ({
  kind: 'create',
  command: 0,
  attempt: 1,
  order: o.id,
  client: `rig-1-${o.id}`,
  ticker: TICKER,
  shard: 0,
  subaccount: 0,
  side: 'bid',
  price: o.price,
  quantity: o.quantity,
  tif: 'gtc',
  expires: o.expires,
  prevention: 'taker',
  postOnly: true,
  reduceOnly: false,
  group: null,
})
