import { describe, expect, it } from 'vitest'
import type { Rest } from '../../../../adapters/kalshi/rest.ts'
import type { Gate } from '../../../../adapters/kalshi/venue/gate.ts'
import type { Intent } from '../../../../adapters/kalshi/venue/intent.ts'
import type { Orders } from '../../../../adapters/kalshi/venue/orders.ts'
import type { Outcome } from '../../../../adapters/kalshi/venue/outcome.ts'
import { KalshiVenue } from '../../../../adapters/kalshi/venue/venue.ts'
import type { Market } from '../../../../engine/market.ts'
import type { News } from '../../../../engine/news.ts'
import { Order } from '../../../../engine/order.ts'
import type { Price, Quantity, Timestamp } from '../../../../engine/units.ts'
import { amend, cancel, create, decrease, EngineModel, History, orders, SECOND, sweep, T0, TICKER } from './history.ts'

/** What the drill of order entry found once, each as a life of one order. */
const unknown: Outcome = { kind: 'unknown', reason: 'timeout' }
const refused: Outcome = { kind: 'rejected', code: 'invalid_order', status: 400 }

/** An order of 600 that rests, and the engine that sent it. */
function resting() {
  const o = orders()
  const engine = new EngineModel()
  const c = create(0)
  const h = new History(c)
  engine.sent(0, 600)
  o.command(c, T0)
  o.outcome(c, { kind: 'acknowledged', answer: { kind: 'create', id: h.id, filled: 0, remaining: 600, time: T0 } }, T0)
  const hear = (): News['type'][] => {
    const news = o.takeNews()
    engine.hear(news)
    return news.map((n) => n.type)
  }
  hear()
  const state = (): string | undefined => engine.states.get(0)?.state
  return { o, engine, h, hear, state }
}
const decreased = (h: History, remaining: number): Outcome => ({
  kind: 'acknowledged',
  answer: { kind: 'decrease', id: h.id, remaining, time: h.now },
})
function shrink(o: Orders, engine: EngineModel, h: History, remaining: number) {
  const d = decrease(0, h.id, remaining)
  engine.wrote(0, 'amend-sent')
  o.command(d, T0)
  h.reduceTo(remaining)
  return d
}

describe('a decrease', () => {
  it('that a picture has proved is not answered again, neither by its acknowledgement nor by a refusal', () => {
    for (const late of [(h: History) => decreased(h, 400), () => refused, () => unknown]) {
      const { o, engine, h, hear, state } = resting()
      const d = shrink(o, engine, h, 400)
      o.seen(h.last, 'stream', T0)
      expect(hear()).toEqual(['decreased'])
      // By now the engine waits for something else.
      engine.wrote(0, 'amend-sent', 500)
      o.command(amend(0, h.id, 5100, 500), T0)
      o.outcome(d, late(h), T0)
      expect(hear()).toEqual([])
      expect(state()).toBe('amending')
    }
  })
  it('whose repetition is refused is not known to have failed: the first one may have done it', () => {
    const { o, engine, h, hear, state } = resting()
    const d = shrink(o, engine, h, 400)
    o.outcome(d, unknown, T0)
    o.tick(T0 + SECOND)
    const [repeat] = o.takeWrites()
    if (repeat?.kind !== 'repeat') throw new Error('it is repeated')
    o.command(repeat.intent, T0 + SECOND)
    o.outcome(repeat.intent, refused, T0 + SECOND)
    expect(hear()).toEqual(['no-answer'])
    o.seen(h.last, 'read', T0 + SECOND)
    expect(hear()).toEqual(['decreased'])
    expect([state(), engine.states.get(0)?.total]).toEqual(['working', 400])
  })
})

describe('a picture', () => {
  it('from before the last change that is proved says nothing of a change on its way', () => {
    const { o, engine, h, hear } = resting()
    const old = h.last
    engine.wrote(0, 'amend-sent', 800)
    const a = amend(0, h.id, 5000, 800)
    o.command(a, T0)
    h.amend(5000, 800)
    o.outcome(a, { kind: 'acknowledged', answer: { kind: 'amend', id: h.id, filled: null, remaining: 800, time: h.now } }, T0)
    expect(hear()).toEqual(['amended'])
    engine.wrote(0, 'amend-sent')
    o.command(decrease(0, h.id, 300), T0)
    // 600 in all, as it was: no decrease of the 800 to 600.
    o.seen(old, 'list', T0)
    expect(hear()).toEqual([])
    expect(o.get(0)?.total).toBe(800)
  })
  it('of the end says how much was filled, whatever our size of the order made of the cancel', () => {
    const { o, engine, h, hear, state } = resting()
    // A decrease of ours that we do not know of: 200 less.
    h.reduceTo(400)
    engine.wrote(0, 'cancel-sent')
    const c = cancel(0, h.id)
    o.command(c, T0)
    h.end('Decrease')
    o.outcome(c, { kind: 'acknowledged', answer: { kind: 'cancel', id: h.id, reduced: 400, time: h.now } }, T0)
    // By our count 200 were filled, and their trades never come.
    expect(hear()).toEqual([])
    o.swept(sweep(T0 + SECOND, [h]), T0 + SECOND)
    expect(hear()).toEqual(['canceled'])
    expect(state()).toBe('canceled')
  })
})

describe('a fill', () => {
  it('of an order whose amend has no outcome leaves it unknown', () => {
    const { o, engine, h, hear, state } = resting()
    engine.wrote(0, 'amend-sent', 700)
    const a = amend(0, h.id, 5100, 700)
    o.command(a, T0)
    o.outcome(a, unknown, T0)
    h.fill(100)
    o.filled(h.fills[0] as never, 'stream', T0)
    expect(hear()).toEqual(['no-answer', 'fill'])
    expect([state(), o.get(0)?.told]).toEqual(['unknown', 'unknown'])
    h.amend(5100, 700)
    o.seen(h.last, 'read', T0)
    expect(hear()).toEqual(['amended'])
    expect(state()).toBe('working')
  })
  it('that makes an order whole ends it: the change that was on its way is not doubted any more', () => {
    const { o, engine, h, hear, state } = resting()
    engine.wrote(0, 'amend-sent', 200)
    const a = amend(0, h.id, 5100, 200)
    o.command(a, T0)
    h.fill(600)
    o.filled(h.fills[0] as never, 'stream', T0)
    expect(hear()).toEqual(['fill'])
    o.outcome(a, unknown, T0)
    expect(hear()).toEqual([])
    o.seen(h.last, 'read', T0)
    expect(hear()).toEqual([])
    expect([state(), o.get(0)?.told]).toEqual(['filled', 'over'])
  })
})

describe('the clock of the exchange', () => {
  it('can be asked for as it was set: windows of sweeps are made of it', () => {
    const o = orders()
    o.clockOffset = 7
    expect(o.clockOffset).toBe(7)
  })
})

// ------------------------------------------------------------------------------------------------ the venue

/** A venue whose gate never answers, and an engine that is only orders. */
function rig() {
  const kept: { kind: string; detail: unknown }[] = []
  const news: News[] = []
  const listeners: ((n: News) => void)[] = []
  const venue = new KalshiVenue(
    {
      gate: { write: () => new Promise(() => {}), remember: () => {} } as unknown as Gate,
      rest: { list: () => Promise.reject(new Error('nobody reads')) } as unknown as Rest,
      clock: { now: () => T0, wall: () => T0 / 1000 },
      timers: { after: () => ({ cancel: () => {} }) },
      record: (kind: string, detail: unknown) => kept.push({ kind, detail }),
      sync: () => Promise.resolve(),
      enter: (n: News) => {
        news.push(n)
        for (const listener of listeners) listener(n)
      },
      wanted: () => {},
      failed: (error: unknown) => {
        throw error
      },
      orderGroup: () => null,
      shardOf: () => 0,
    },
    { nonce: 'abc', generation: 1, subaccount: 0, start: T0 - 60 * SECOND },
  )
  const order = new Order(
    0,
    { ticker: TICKER } as Market,
    0,
    0,
    5000 as Price,
    600 as Quantity,
    'gtc',
    true,
    (T0 + 3600 * SECOND) as Timestamp,
    {} as Order['wish'],
  )
  const send = (type: 'submit' | 'amend' | 'cancel'): void => {
    venue.send({ type, order, price: order.price, quantity: order.quantity })
    void venue.flush()
  }
  return { venue, order, news, kept, listeners, send }
}

describe('a command', () => {
  it('for an order that has ended by then is answered, because the engine waits', () => {
    const { venue, news, listeners, send } = rig()
    send('submit')
    const h = new History(create(0)).fill(600)
    // The engine changes the order as soon as it hears that it exists; its fill is known here already.
    listeners.push((n) => n.type === 'accepted' && send('amend'))
    venue.filled(h.fills[0] as never, 'stream')
    venue.seen(h.last, 'stream')
    expect(news.map((n) => n.type)).toEqual(['accepted', 'fill', 'amend-rejected'])
  })
  it('that a crash kept from the disk is answered after the restart, also where the first answer was lost in another crash', () => {
    const before = { kind: 'dropped', detail: { command: 0 } } as const
    for (const dropped of [[], [{ dropped: before.detail.command }]]) {
      const { venue, order, news } = rig()
      venue.send({ type: 'submit', order, price: order.price, quantity: order.quantity })
      venue.restore(dropped)
      expect(news.filter((n) => n.type !== 'disagreed')).toEqual([{ type: 'rejected', order: 0, timeVenue: 0, reason: 'not-sent' }])
    }
    // One whose intent is on the disk may have left.
    const { venue, order, news } = rig()
    venue.send({ type: 'submit', order, price: order.price, quantity: order.quantity })
    venue.restore([{ intent: create(0) satisfies Intent, time: T0 }])
    expect(news.map((n) => n.type)).toEqual(['disagreed', 'no-answer'])
  })
})

describe('a restart', () => {
  it('knows when an order was changed last: a picture from before shows terms that were, and nobody changed it', () => {
    for (const kind of ['amend', 'decrease'] as const) {
      const c = create(0)
      const h = new History(c)
      const stale = h.last
      const write = kind === 'amend' ? amend(0, h.id, 4100, 300) : decrease(0, h.id, 300)
      const news: News =
        kind === 'amend'
          ? { type: 'amended', order: 0, timeVenue: T0 + 5 * SECOND, remaining: 300 }
          : { type: 'decreased', order: 0, timeVenue: T0 + 5 * SECOND, remaining: 300 }
      const o = orders()
      o.restore(
        [
          { intent: c, time: T0 },
          { news: { type: 'accepted', order: 0, timeVenue: T0, remaining: 600, id: h.id }, time: T0 },
          { intent: write, time: T0 + 4 * SECOND },
          { news, time: T0 + 5 * SECOND },
        ],
        T0 + 10 * SECOND,
      )
      o.takeNews()
      o.seen({ ...stale, updated: T0 + SECOND }, 'list', T0 + 11 * SECOND)
      expect([kind, o.takeNews()]).toEqual([kind, []])
      // A later one counts.
      o.seen({ ...stale, updated: T0 + 6 * SECOND }, 'list', T0 + 12 * SECOND)
      expect([kind, o.takeNews().map((n) => n.type)]).toEqual([kind, ['market-halted']])
    }
  })
})
