import { describe, expect, it } from 'vitest'
import type { FillFact, OrderFact } from '../../../../adapters/kalshi/venue/evidence.ts'
import type { ReconcileRecord } from '../../../../adapters/kalshi/venue/judge.ts'
import { Poller } from '../../../../adapters/kalshi/venue/poll.ts'
import type { OurPayment, OurView } from '../../../../adapters/kalshi/venue/reconcile.ts'
import { Reconciler, type ReconcilerOptions } from '../../../../adapters/kalshi/venue/reconciler.ts'
import type { News } from '../../../../engine/news.ts'
import { MINUTE, PRICE_ONE, SECOND } from '../../../../engine/units.ts'
import { market, order, T0, trader } from '../../exchange/support.ts'
import { inOne } from './support.ts'

const locked = (q: number): number => (q < 0 ? -q * PRICE_ONE : 0)

/** Books of the session, kept from sweeps alone: the slow, obvious twin of the engine's. */
class Books {
  readonly fills = new Map<string, FillFact>()
  readonly orders = new Map<string, OrderFact>()
  readonly paid = new Map<string, OurPayment>()
  readonly #now: () => number
  eventAt = 0
  constructor(now: () => number) {
    this.#now = now
  }
  see(orders: readonly OrderFact[], fills: readonly FillFact[]): void {
    for (const o of orders)
      if (o.client?.startsWith('we-') === true && JSON.stringify(this.orders.get(o.id)) !== JSON.stringify(o)) {
        this.orders.set(o.id, o)
        this.eventAt = this.#now()
      }
    for (const f of fills)
      if (!this.fills.has(f.trade)) {
        this.fills.set(f.trade, f)
        this.eventAt = this.#now()
      }
  }
  position(ticker: string): number {
    let q = 0
    for (const f of this.fills.values()) if (f.ticker === ticker) q += f.side === 'bid' ? f.quantity : -f.quantity
    return q
  }
  pay(ticker: string, value: number): void {
    const net = this.position(ticker)
    this.paid.set(ticker, { net, value, paid: net * value + locked(net), at: this.#now() })
  }
  view(): OurView {
    const cash = new Map<number, number>()
    const positions = new Map<string, number>()
    const shards = new Map<string, number>()
    const add = (shard: number, money: number): void => void cash.set(shard, (cash.get(shard) ?? 0) + money)
    for (const f of this.fills.values()) {
      const change = f.side === 'bid' ? f.quantity : -f.quantity
      const before = positions.get(f.ticker) ?? 0
      positions.set(f.ticker, before + change)
      shards.set(f.ticker, f.shard)
      add(f.shard, -change * f.price - f.fee - (locked(before + change) - locked(before)))
    }
    for (const [ticker, { paid }] of this.paid) {
      add(shards.get(ticker) ?? 0, paid)
      positions.delete(ticker)
    }
    return {
      orders: [...this.orders.values()].filter((o) => o.status === 'resting'),
      moving: new Set(),
      isOurs: (o) => o.client?.startsWith('we-') === true,
      positions,
      paid: this.paid,
      shardOf: (ticker) => (ticker === 'KXTEST-B' ? 2 : 0),
      cash,
      reserved: new Map(),
      eventVenue: Math.max(0, ...[...this.fills.values()].map((f) => f.timeVenue)),
      eventAt: this.eventAt,
    }
  }
}

function session(options: Partial<ReconcilerOptions> = {}, exchange: Parameters<typeof inOne>[0] = { readLag: 350_000 }) {
  const s = inOne(exchange, [market('KXTEST-A'), market('KXTEST-B', { exchangeIndex: 2, event: 'KXTEST-F', series: 'KXOTHER' })])
  const we = trader(s.x, 'we', 1000, 'prestige', 'ed25519', [0, 2])
  const other = trader(s.x, 'other', 1000, 'prestige', 'ed25519', [0, 2])
  const rest = s.rest(we)
  const records: ReconcileRecord[] = []
  const news: News[] = []
  const failures: unknown[] = []
  const make = (books: Books) => {
    const poller = new Poller(
      rest,
      s.world,
      { start: T0 },
      {
        needs: () => ({ live: 1, resting: [], since: null }),
        onEvent: (e) => {
          if (e.type === 'sweep') books.see(e.sweep.orders ?? [], e.sweep.fills ?? [])
        },
        onFail: (error) => void failures.push(error),
      },
    )
    const reconciler = new Reconciler(
      rest,
      s.world,
      { start: T0, ...options },
      {
        view: () => books.view(),
        onVerdict: (record, said) => {
          records.push(record)
          news.push(...said)
        },
        onFail: (error) => void failures.push(error),
      },
    )
    return { poller, reconciler }
  }
  const books = new Books(() => s.x.now)
  let n = 0
  const send = (side: 'bid' | 'ask', price: number, count: number, ticker = 'KXTEST-A', client = `we-${n++}`) =>
    s.call(we, 'POST', '/portfolio/events/orders', order(side, price, count, { ticker, client_order_id: client }))
  const take = (side: 'bid' | 'ask', price: number, count: number, ticker = 'KXTEST-A') =>
    s.call(other, 'POST', '/portfolio/events/orders', order(side, price, count, { ticker }))
  const words = (): string[] => news.map((m) => (m.type === 'market-halted' ? `halted ${m.ticker}` : m.type))
  return { ...s, we, other, books, make, records, news, words, failures, send, take, last: () => records.at(-1) as ReconcileRecord }
}

describe('a session reconciled with the local exchange', () => {
  it('agrees through fills on both sides and shards, cancels, settlements of both results and a restart', async () => {
    let fills = 0
    for (let seed = 1; seed <= 8; seed++) {
      const s = session()
      let state = seed
      const roll = (most: number): number => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
        return (state >>> 8) % most
      }
      const { poller, reconciler } = s.make(s.books)
      poller.start()
      reconciler.start()
      await s.run(3 * SECOND)
      expect([s.last().outcome, s.last().baseline?.cash]).toEqual([
        'agreed',
        [
          [0, 1e9],
          [2, 1e9],
        ],
      ])
      for (let i = 0; i < 30; i++) {
        const ticker = roll(3) === 0 ? 'KXTEST-B' : 'KXTEST-A'
        const act = roll(5) < 3 ? s.send : s.take
        act(roll(2) === 0 ? 'bid' : 'ask', 4_000 + 100 * roll(20), 1 + roll(900), ticker)
        if (roll(6) === 0) {
          const resting = [...s.we.account.resting][0]
          if (resting !== undefined) s.call(s.we, 'DELETE', `/portfolio/events/orders/${resting.id}?market_ticker=${resting.market.ticker}`)
        }
        await s.run(roll(20) * SECOND)
      }
      await s.run(2 * MINUTE)
      expect(s.last()).toMatchObject({ outcome: 'agreed', differences: [] })
      fills += s.books.fills.size
      // Settled and paid: the exchange a moment before us.
      const yes = roll(2) === 0
      s.x.lifecycle.determine(s.the('KXTEST-A'), yes ? 'yes' : 'no', yes ? PRICE_ONE : 0)
      const a = s.the('KXTEST-A')
      await s.run(2 * MINUTE)
      s.books.pay('KXTEST-A', a.value)
      await s.run(2 * MINUTE)
      expect(s.last().outcome).toBe('agreed')
      // A restart goes on from the same baseline.
      poller.stop()
      reconciler.stop()
      const again = s.make(s.books)
      again.reconciler.restore(JSON.parse(JSON.stringify(reconciler.state)) as typeof reconciler.state)
      again.reconciler.start()
      await s.run(5 * SECOND)
      expect([s.last().outcome, s.last().cause, s.last().baseline]).toEqual(['agreed', 'start', null])
      again.reconciler.stop()
      expect(s.words().every((w) => w === 'agreed')).toBe(true)
      expect(s.failures).toEqual([])
    }
    expect(fills).toBeGreaterThan(40)
  })

  it('halts what was there before, a stranger at once, a withdrawal after two passes; said once, and accepted by a person alone', async () => {
    const s = session()
    s.send('bid', 3_000, 500, 'KXTEST-B', 'by-hand')
    await s.run(SECOND)
    const { poller, reconciler } = s.make(s.books)
    poller.start()
    reconciler.start()
    await s.run(3 * SECOND)
    expect(s.words()).toEqual(['halted KXTEST-B', 'agreed'])
    expect(s.last().differences[0]).toMatchObject({
      kind: 'foreign-order',
      theirs: 'bid 5.00 @ 0.3000',
      explanation: 'from before the session: it is not adopted',
    })
    await s.run(MINUTE)
    expect(s.last().outcome).toBe('agreed')
    s.send('bid', 3_100, 100, 'KXTEST-A', 'website')
    await s.run(MINUTE)
    expect(s.words().slice(2)).toEqual(['halted KXTEST-A'])
    s.we.account.move(0, 2, -25_000_000, s.x.now)
    await s.run(MINUTE + 9 * SECOND)
    expect(s.words().slice(3)).toEqual(['disagreed'])
    expect(s.last().differences.find((d) => d.kind === 'cash')).toMatchObject({
      counted: true,
      key: 'cash/2',
      ours: '1000.000000',
      theirs: '975.000000',
      explanation: '-25.000000: a withdrawal, a transfer, a fee, or a fill that we do not know',
    })
    const seen = s.records.slice(-2).map((r) => [r.outcome, Math.round(r.time / SECOND)] as const)
    expect(seen.map(([o]) => o)).toEqual(['suspected', 'disagreed'])
    expect((seen[1]?.[1] ?? 0) - (seen[0]?.[1] ?? 0)).toBeLessThanOrEqual(7)
    reconciler.acceptCash(new Map([[2, -25_000_000]]))
    await s.run(2 * SECOND)
    expect(s.words().slice(4)).toEqual(['agreed'])
    expect(JSON.stringify(s.last()).length).toBeLessThan(10_000)
    reconciler.stop()
    poller.stop()
  })

  it('judges nothing while reads stand still, are lost or cut, says agreed again after a new connection, and takes no baseline before', async () => {
    const s = session()
    const { poller, reconciler } = s.make(s.books)
    s.world.instead = (path) => (path.startsWith('/portfolio/positions') ? { status: 503 } : null)
    reconciler.start()
    await s.run(20 * SECOND)
    expect(new Set(s.records.map((r) => r.outcome))).toEqual(new Set(['not judged']))
    expect([s.last().why, reconciler.state.baseline]).toEqual([expect.stringMatching(/^not readable: positions \(positions: GET/), null])
    s.world.instead = () => null
    await s.run(MINUTE)
    expect(s.words()).toEqual(['agreed'])
    poller.start()
    await s.run(2 * SECOND)
    s.send('bid', 5_000, 100)
    s.take('ask', 5_000, 100)
    await s.run(6 * SECOND)
    s.x.freezeReads(true)
    s.books.see([], [{ ...([...s.books.fills.values()][0] as FillFact), trade: 'newer', timeVenue: s.x.now }])
    await s.run(3 * SECOND)
    reconciler.ask('reconnected')
    await s.run(5 * SECOND)
    expect([s.last().outcome, s.last().cause, s.last().why]).toEqual([
      'not judged',
      'reconnected',
      expect.stringMatching(/^lagging: the exchange's data is \d+\.\d s behind our last news$/),
    ])
    s.books.fills.delete('newer')
    s.x.freezeReads(false)
    await s.run(30 * SECOND)
    expect([s.last().outcome, s.words()]).toEqual(['agreed', ['agreed', 'agreed']])
    reconciler.stop()
    poller.stop()
    const after = s.records.length
    await s.run(5 * MINUTE)
    expect(s.records.length).toBe(after)
  })
  it('asks again at once while all agrees but a market in which something happened: orders wait for the word', async () => {
    const s = session()
    const { reconciler } = s.make(s.books)
    let at = s.x.now
    const view = s.books.view.bind(s.books)
    s.books.view = () => ({ ...view(), eventAt: at, newsOf: new Map([['KXTEST-A', { at, venue: 0 }]]) })
    await s.run(5 * SECOND)
    at = s.x.now
    reconciler.restore({
      baseline: {
        time: T0,
        orders: [],
        positions: [],
        cash: [
          [0, 1e9],
          [2, 1e9],
        ],
        reserved: [],
      },
      reading: null,
      halted: [],
    })
    reconciler.start()
    await s.run(SECOND)
    expect([s.last().outcome, s.words()]).toEqual(['agreed', []])
    await s.run(4 * SECOND)
    expect(s.words()).toEqual(['agreed'])
  })
})
