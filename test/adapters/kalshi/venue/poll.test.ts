import { describe, expect, it } from 'vitest'
import { MINUTE, SECOND } from '../../../../engine/units.ts'
import { Cadence } from '../../../../adapters/kalshi/venue/cadence.ts'
import type { FillFact, OrderFact, Sweep } from '../../../../adapters/kalshi/venue/evidence.ts'
import { Poller, type PollEvent, type PollNeeds } from '../../../../adapters/kalshi/venue/poll.ts'
import { Sweeper } from '../../../../adapters/kalshi/venue/sweep.ts'
import { market, order, T0, type Json } from '../../exchange/support.ts'
import { inOne } from './support.ts'

const ids = (facts: readonly (OrderFact | FillFact)[] | null): string[] | null =>
  facts?.map((f) => ('trade' in f ? f.trade : f.id)).sort() ?? null

function traded(options: Parameters<typeof inOne>[0] = {}, definitions?: Parameters<typeof inOne>[1]) {
  const local = inOne(options, definitions)
  const { x, call, trader } = local
  const [we, other] = [trader('we'), trader('other')]
  /** Rests `rest` bids and lets the other one fill `fill` more; a second apart. */
  const act = (rest: number, fill: number): void => {
    for (let i = 0; i < rest + fill; i++) {
      x.advance(x.now + SECOND)
      call(we, 'POST', '/portfolio/events/orders', order('bid', i < fill ? 6000 : 3000, 100))
      if (i < fill) call(other, 'POST', '/portfolio/events/orders', order('ask', 6000, 100))
    }
    x.advance(x.now + SECOND)
  }
  const truth = () => ({
    orders: [...we.account.orders.values()].map((o) => o.id).sort(),
    resting: [...we.account.resting].map((o) => o.id).sort(),
    fills: we.account.view.fills.map((f) => f.tradeId).sort(),
  })
  return { ...local, we, other, act, truth }
}

describe('a sweep', () => {
  it('holds every order and fill of its window, what rests from before it, and both tiers where the archive begins inside', async () => {
    const s = traded()
    s.act(4, 5)
    s.call(s.we, 'DELETE', `/portfolio/events/orders/${s.truth().resting[0] as string}?market_ticker=KXTEST-A`)
    s.x.advance(s.x.now + SECOND)
    const sweeper = new Sweeper(s.rest(s.we), () => s.x.now)
    const all = await sweeper.sweep(T0)
    expect(all.troubles).toEqual([])
    expect(ids(all.sweep.orders)).toEqual(s.truth().orders)
    expect(ids(all.sweep.fills)).toEqual(s.truth().fills)
    expect(all.sweep.asOf).toBe(s.x.now)
    // Two minutes later the window has moved on, and the resting ones are there all the same.
    s.x.advance(s.x.now + 5 * MINUTE)
    const later = await sweeper.sweep(s.x.now - MINUTE)
    expect([ids(later.sweep.orders), ids(later.sweep.fills)]).toEqual([s.truth().resting, []])
    // One that rested is canceled: it is in no list any more, and is read by itself.
    const [gone] = s.truth().resting as [string]
    s.call(s.we, 'DELETE', `/portfolio/events/orders/${gone}?market_ticker=KXTEST-A`)
    s.x.advance(s.x.now + SECOND)
    const ended = await sweeper.sweep(s.x.now)
    expect(ended.sweep.orders?.find((o) => o.id === gone)).toMatchObject({ status: 'canceled', remaining: 0 })
    s.x.advance(s.x.now + SECOND)
    expect(ids((await sweeper.sweep(s.x.now)).sweep.orders)).toEqual(s.truth().resting)
    // The archive takes what is old: the joined list is the whole one.
    s.x.cutoff.orders = s.x.now - MINUTE
    s.x.cutoff.trades = s.x.now - MINUTE
    const joined = await new Sweeper(s.rest(s.we), () => s.x.now).sweep(T0)
    expect([ids(joined.sweep.orders), ids(joined.sweep.fills)]).toEqual([s.truth().orders, s.truth().fills])
    expect(s.requests.some((r) => r.path.startsWith('/historical/fills'))).toBe(true)
  })

  it('ORD-30: a cursor that comes back, too many pages, an unreadable row, a lost page: null, and what was read is handed on', async () => {
    const loop = traded()
    loop.act(0, 6)
    const sweep = async (pagesMax = 100): Promise<{ sweep: Sweep; fills: number; troubles: readonly string[] }> => {
      const { sweep, fills, troubles } = await new Sweeper(loop.rest(loop.we), () => loop.x.now, { pagesMax }).sweep(T0)
      return { sweep, fills: fills.length, troubles }
    }
    const page = (n: number, cursor: string) => (path: string, body: Json) =>
      path.startsWith('/portfolio/fills') ? { body: { fills: (body['fills'] as Json[]).slice(0, n), cursor } } : null
    loop.world.instead = page(3, 'again')
    expect(await sweep()).toMatchObject({ sweep: { fills: null }, fills: 3, troubles: ['fills: the list has no end (a cursor came back)'] })
    let n = 0
    loop.world.instead = (path, body) => page(1, `c${n++}`)(path, body)
    expect(await sweep(5)).toMatchObject({ sweep: { fills: null }, fills: 1, troubles: ['fills: the list has no end (more than 5 pages)'] })
    loop.world.instead = (path, body) =>
      path.startsWith('/portfolio/fills')
        ? { body: { ...body, fills: (body['fills'] as Json[]).map((f, i) => (i === 2 ? { ...f, count_fp: 'some' } : f)) } }
        : null
    const unreadable = await sweep()
    expect(unreadable).toMatchObject({ sweep: { fills: null }, fills: 5 })
    expect(unreadable.troubles[0]).toMatch(/^fills: fill .*: its count is none$/)
    for (const instead of [{ lost: true }, { status: 503 }, { body: '<html>' }, { body: {} }]) {
      loop.world.instead = (path) => (path.startsWith('/portfolio/fills') ? instead : null)
      const sweeping = sweep()
      await loop.run(60 * SECOND)
      const swept = await sweeping
      expect(swept.sweep.fills).toBeNull()
      expect(swept.sweep.orders).not.toBeNull()
    }
    loop.world.instead = (path) => (path.startsWith('/historical/cutoff') ? { status: 500 } : null)
    const sweeping = sweep()
    await loop.run(60 * SECOND)
    expect((await sweeping).troubles).toContain('orders: where the archive begins is not known')
    loop.world.instead = () => null
    expect((await sweep()).sweep.fills).toHaveLength(6)
  })

  it('a session that was away for long walks further until one sweep was whole, and no further than that', async () => {
    const loop = traded()
    loop.act(0, 6)
    // Six fills on six pages: more than it walks in its everyday life.
    let n = 0
    let pages = 6
    loop.world.instead = (path, body) => {
      if (!path.startsWith('/portfolio/fills')) return null
      const at = n++ % pages
      return { body: { fills: (body['fills'] as Json[]).slice(at, at + 1), cursor: at === pages - 1 ? '' : `c${n}` } }
    }
    const sweeper = new Sweeper(loop.rest(loop.we), () => loop.x.now, { pagesMax: 3 }, 10)
    expect((await sweeper.sweep(T0)).sweep.fills).toHaveLength(6)
    n = 0
    expect(await sweeper.sweep(T0)).toMatchObject({
      sweep: { fills: null },
      troubles: ['fills: the list has no end (more than 3 pages)'],
    })
    n = 0
    pages = 3
    expect((await sweeper.sweep(T0)).sweep.fills).toHaveLength(3)
  })
})

describe('polling', () => {
  function polled(s: ReturnType<typeof traded>, needs: () => PollNeeds) {
    const events: { readonly at: number; readonly event: PollEvent }[] = []
    const failures: unknown[] = []
    const poller = new Poller(
      s.rest(s.we),
      s.world,
      { start: s.x.now },
      {
        needs,
        onEvent: (event, now) => void events.push({ at: now - T0, event }),
        onFail: (error) => void failures.push(error),
      },
    )
    type Of<T> = Extract<PollEvent, { type: T }>
    const of = <T extends PollEvent['type']>(type: T): Of<T>[] => events.map((e) => e.event).filter((e): e is Of<T> => e.type === type)
    const times = (type: PollEvent['type']): number[] =>
      events.filter((e) => e.event.type === type).map((e) => Math.round(e.at / 100_000) / 10)
    return { poller, events, of, times, failures }
  }
  const idle: PollNeeds = { live: 0, resting: [], since: null }

  it('sweeps every 5 s while orders live, ever less when none do, at once when asked, and never runs two at a time', async () => {
    const s = traded()
    let needs = { ...idle, live: 1 }
    const p = polled(s, () => needs)
    p.poller.start()
    await s.run(16 * SECOND)
    expect(p.times('sweep')).toEqual([0, 5, 10, 15])
    needs = idle
    await s.run(120 * SECOND)
    expect(p.times('sweep').slice(4)).toEqual([20, 30, 50, 80, 110])
    p.poller.sweepNow()
    p.poller.sweepNow()
    await s.run(SECOND)
    expect(p.times('sweep').slice(9)).toEqual([136, 136.5])
    needs = { ...idle, live: 1 }
    p.poller.busy()
    await s.run(6 * SECOND)
    expect(p.times('sweep').slice(11)).toEqual([142])
    p.poller.stop()
    await s.run(60 * SECOND)
    expect([p.times('sweep').length, p.failures]).toEqual([12, []])
    // Every one of them asked first how fresh the data is.
    const order = s.requests.filter((r) => /user_data|orders|fills/.test(r.path)).map((r) => r.path.replace(/\?.*/, ''))
    expect(order.slice(0, 4)).toEqual(['/exchange/user_data_timestamp', '/portfolio/orders', '/portfolio/orders', '/portfolio/fills'])
  })

  it('I-F1: every fill is in some sweep, whatever lags, fails or is lost in between', async () => {
    const s = traded({ readLag: 2_500_000 })
    let n = 7
    const roll = (most: number): number => {
      n = (Math.imul(n, 1_103_515_245) + 12_345) >>> 0
      return (n >>> 8) % most
    }
    const p = polled(s, () => ({ ...idle, live: 1 }))
    p.poller.start()
    s.world.instead = () => [null, null, null, null, { status: 503 }, { lost: true }, { body: '<html>' }][roll(7)] ?? null
    for (let i = 0; i < 60; i++) {
      s.act(0, 1)
      await s.run(roll(40) * SECOND)
    }
    // One list alone is away for longer than windows overlap.
    s.world.instead = (path) => (path.startsWith('/portfolio/fills') ? { status: 503 } : null)
    for (let i = 0; i < 10; i++) {
      s.act(0, 1)
      await s.run(30 * SECOND)
    }
    s.world.instead = () => null
    await s.run(90 * SECOND)
    const seen = new Set(p.of('sweep').flatMap((e) => ids(e.sweep.fills) ?? []))
    expect([...seen].sort()).toEqual(s.truth().fills)
    expect(seen.size).toBe(70)
    expect(p.of('sweep').filter((e) => e.sweep.fills === null).length).toBeGreaterThan(5)
    // The window stays small: what is old and whole is not read again.
    expect(p.of('sweep').at(-1)?.sweep.fills?.length).toBeLessThan(10)
    p.poller.stop()
  })

  it('reads single orders, and says of a 404 that it proves nothing', async () => {
    const s = traded()
    s.act(1, 1)
    const p = polled(s, () => idle)
    p.poller.start()
    p.poller.read([...s.truth().orders, 'nobody'])
    await s.run(SECOND)
    expect(
      p
        .of('order')
        .map((e) => e.fact.id)
        .sort(),
    ).toEqual(s.truth().orders)
    expect(p.of('unread')).toMatchObject([{ id: 'nobody', missing: true }])
    s.world.instead = (path, body) =>
      path.startsWith('/portfolio/orders/') ? { body: { order: { ...body['order'], order_id: 'other' } } } : null
    p.poller.read([s.truth().orders[0] as string])
    await s.run(SECOND)
    expect(p.of('unread').at(-1)).toMatchObject({ missing: false, reason: 'the answer is about another order (other)' })
    p.poller.stop()
  })

  it('ends with what broke in whoever listens, and quietly when the session does', async () => {
    const s = traded()
    const broken = polled(s, () => {
      throw new Error('no books')
    })
    broken.poller.start()
    await s.run(20 * SECOND)
    expect([broken.failures.map(String), broken.events.filter((e) => e.event.type === 'sweep')]).toEqual([['Error: no books'], []])
    const rest = s.rest(s.we)
    const failures: unknown[] = []
    const parts = { needs: () => idle, onEvent: () => {}, onFail: (error: unknown) => void failures.push(error) }
    const poller = new Poller(rest, s.world, { start: s.x.now }, parts)
    poller.start()
    rest.stop()
    await s.run(20 * SECOND)
    expect(failures).toEqual([])
  })

  it('tells where our orders stand in the queue, and which shard is paused', async () => {
    const s = traded({}, [market('KXTEST-A'), market('KXTEST-B', { exchangeIndex: 2, event: 'KXTEST-F' })])
    s.call(s.other, 'POST', '/portfolio/events/orders', order('bid', 3000, 700))
    s.act(1, 0)
    const p = polled(s, () => ({ live: 1, resting: ['KXTEST-A'], since: null }))
    p.poller.start()
    await s.run(11 * SECOND)
    const ahead = { id: s.truth().resting[0], ticker: 'KXTEST-A', ahead: 700 }
    expect(p.of('queue')).toEqual([
      { type: 'queue', time: T0 + 2 * SECOND, positions: [ahead] },
      { type: 'queue', time: T0 + 12 * SECOND, positions: [ahead] },
    ])
    s.x.pause('trading', true, 2)
    await s.run(20 * SECOND)
    s.x.pause('trading', false, 2)
    s.x.pause('exchange', true)
    p.poller.doubted()
    await s.run(SECOND)
    const told = p.events
      .map((e) => e.event)
      .flatMap((e) => (e.type === 'paused' || e.type === 'resumed' ? [`${e.type} ${e.what} ${e.shard}`] : []))
    expect(told.sort()).toEqual([
      'paused exchange 0',
      'paused exchange 1',
      'paused exchange 2',
      'paused exchange 3',
      'paused trading 2',
      'resumed trading 2',
    ])
    expect(p.poller.paused).toEqual(['exchange/0', 'exchange/1', 'exchange/2', 'exchange/3'])
    // An answer that is none changes nothing.
    s.world.instead = (path) => (path.startsWith('/exchange/status') ? { status: 503 } : null)
    await s.run(20 * SECOND)
    expect(p.poller.paused).toHaveLength(4)
    expect(p.of('trouble').at(-1)?.reason).toMatch(/^exchange status: /)
    p.poller.stop()
  })
})

describe('cadence', () => {
  it('repeats what failed sooner, and later each time; an ask during a run is a run after it', () => {
    const c = new Cadence({ busy: 5 * SECOND, idle: 30 * SECOND, least: SECOND / 2 }, 0)
    const waits: number[] = []
    for (let now = 0, i = 0; i < 7; i++) {
      now = c.due
      c.begin()
      expect(c.due).toBe(Infinity)
      c.end(now, true, i >= 6)
      waits.push((c.due - now) / SECOND)
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 30, 5])
    const at = c.due
    c.begin()
    c.ask(at)
    c.end(at, true)
    expect(c.due).toBe(at + SECOND / 2)
  })
})
