import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Outcome } from '../../../../adapters/kalshi/venue/outcome.ts'
import type { Orders } from '../../../../adapters/kalshi/venue/orders.ts'
import type { CreateIntent, OrderIntent } from '../../../../adapters/kalshi/venue/intent.ts'
import { reasonOf } from '../../../../adapters/kalshi/venue/tracked.ts'
import { amend, cancel, create, decrease, EngineModel, History, orders, permutations, SECOND, sweep, T0, TICKER } from './history.ts'

type Step = (o: Orders, engine: EngineModel) => void
const unknown: Outcome = { kind: 'unknown', reason: 'timeout' }
const tell = (o: Orders, engine: EngineModel): void => engine.hear(o.takeNews())
const command = (o: Orders, engine: EngineModel, intent: OrderIntent, now = T0): void => {
  if (intent.kind === 'create') engine.sent(intent.order, intent.quantity)
  else if (intent.kind === 'cancel') engine.wrote(intent.order, 'cancel-sent')
  else engine.wrote(intent.order, 'amend-sent', intent.kind === 'amend' ? intent.quantity : null)
  o.command(intent, now)
}
const created = (id: string, filled: number, remaining: number): Outcome => ({
  kind: 'acknowledged',
  answer: { kind: 'create', id, filled, remaining, time: T0 },
})
/** What all orders of the same evidence must agree on. */
const end = (o: Orders, engine: EngineModel, order = 0) => {
  const t = o.get(order)
  const e = engine.states.get(order)
  return {
    told: t?.told,
    booked: t?.booked,
    total: t?.total,
    price: t?.price,
    id: t?.id,
    open: o.open,
    state: e?.state,
    filled: e?.filled,
    of: e?.total,
  }
}
const evidence = (h: History, skip = 0): Step[] => [
  ...h.facts.slice(skip).map(
    (fact): Step =>
      (o) =>
        o.seen(fact, 'stream', T0),
  ),
  ...h.fills.map(
    (fact): Step =>
      (o) =>
        o.filled(fact, 'stream', T0),
  ),
]
/** Every order of the steps, then the exchange's whole list: each must be a life that the engine's table allows, and all must end alike. */
function confluent(before: Step, steps: readonly Step[], h: History): { readonly ends: Set<string>; readonly count: number } {
  const ends = new Set<string>()
  let count = 0
  for (const order of permutations(steps)) {
    const o = orders()
    const engine = new EngineModel()
    before(o, engine)
    tell(o, engine)
    for (const step of order) {
      step(o, engine)
      tell(o, engine)
    }
    o.swept(sweep(T0 + 2 * SECOND, [h]), T0 + 2 * SECOND)
    tell(o, engine)
    ends.add(JSON.stringify(end(o, engine)))
    count++
  }
  return { ends, count }
}

describe('ORD-09: the same evidence in any order comes to the same end', () => {
  const c = create(0)
  const answer =
    (h: History, filled = 0): Step =>
    (o) =>
      o.outcome(c, created(h.id, filled, c.quantity - filled), T0)
  it('answer, pictures and up to three fills, filled whole', () => {
    const h = new History(c).fill(100).fill(200).fill(300)
    const steps = [
      answer(h),
      ...h.fills.map(
        (f): Step =>
          (o) =>
            o.filled(f, 'stream', T0),
      ),
      ...[0, 2, 3].map(
        (k): Step =>
          (o) =>
            o.seen(h.facts[k]!, 'stream', T0),
      ),
    ]
    const { ends, count } = confluent((o, e) => command(o, e, c), steps, h)
    expect(count).toBe(5040)
    expect([...ends].map((x) => JSON.parse(x))).toEqual([
      { told: 'over', booked: 600, total: 600, price: 5000, id: h.id, open: 0, state: 'filled', filled: 600, of: 600 },
    ])
  })
  it('an immediate order that was filled in part, with doubled fills and an answer that came to nothing', () => {
    const ioc = create(0, { tif: 'ioc', expires: null, postOnly: false })
    const h = new History(ioc).fill(100).fill(200).end('Trade')
    for (const outcome of [created(h.id, 300, 0), unknown]) {
      const steps: Step[] = [(o) => o.outcome(ioc, outcome, T0), ...evidence(h, 2), (o) => o.filled(h.fills[0]!, 'list', T0)]
      const { ends } = confluent((o, e) => command(o, e, ioc), steps, h)
      expect([...ends].map((x) => JSON.parse(x))).toEqual([
        { told: 'over', booked: 300, total: 600, price: 5000, id: h.id, open: 0, state: 'canceled', filled: 300, of: 600 },
      ])
    }
  })
  it('ORD-10: a cancel against fills, acknowledged, refused with 404, or without an answer', () => {
    const h = new History(c).fill(100).fill(200).end('Decrease')
    const x = cancel(0, h.id)
    const outcomes: Outcome[] = [
      { kind: 'acknowledged', answer: { kind: 'cancel', id: h.id, reduced: 300, time: h.now } },
      { kind: 'rejected', code: 'not_found', status: 404 },
      unknown,
    ]
    for (const outcome of outcomes) {
      const steps: Step[] = [(o) => o.outcome(x, outcome, T0), ...evidence(h, 2)]
      const { ends } = confluent(
        (o, e) => {
          command(o, e, c)
          o.outcome(c, created(h.id, 0, 600), T0)
          tell(o, e)
          command(o, e, x)
        },
        steps,
        h,
      )
      expect([...ends].map((k) => JSON.parse(k))).toEqual([
        { told: 'over', booked: 300, total: 600, price: 5000, id: h.id, open: 0, state: 'canceled', filled: 300, of: 600 },
      ])
    }
  })
  it('ORD-12: an amend against fills, up and down, acknowledged or unknown; the fill that makes the smaller size whole', () => {
    for (const [price, total, later] of [
      [5100, 800, [500]],
      [5000, 300, [200]],
      [4900, 600, [100, 200]],
    ] as const) {
      const h = new History(c).fill(100).amend(price, total)
      for (const q of later) h.fill(q)
      const a = amend(0, h.id, price, total)
      for (const outcome of [
        { kind: 'acknowledged', answer: { kind: 'amend', id: h.id, filled: null, remaining: null, time: T0 + 2000 } } as const,
        unknown,
      ]) {
        const steps: Step[] = [
          (o) => o.outcome(a, outcome, T0),
          ...h.facts.slice(1).map(
            (f): Step =>
              (o) =>
                o.seen(f, 'stream', T0),
          ),
          ...h.fills.map(
            (f): Step =>
              (o) =>
                o.filled(f, 'stream', T0),
          ),
        ]
        const { ends } = confluent(
          (o, e) => {
            command(o, e, c)
            o.outcome(c, created(h.id, 0, 600), T0)
            tell(o, e)
            command(o, e, a)
          },
          steps,
          h,
        )
        const filled = 100 + later.reduce((x: number, y) => x + y, 0)
        // A smaller size that is reached before the engine knows of it ends as canceled there: with the same fills.
        for (const e of [...ends].map((x) => JSON.parse(x)))
          expect(e).toMatchObject({ booked: filled, open: filled === total ? 0 : 1, told: filled === total ? 'over' : 'open', filled })
      }
    }
  })
  it('ORD-13: a decrease against fills: what it left in all shows the next picture, and nothing is booked beyond it', () => {
    const h = new History(c).fill(100).reduceTo(300).fill(300)
    const d = decrease(0, h.id, 300)
    const steps: Step[] = [
      (o) => o.outcome(d, { kind: 'acknowledged', answer: { kind: 'decrease', id: h.id, remaining: 300, time: T0 + 2000 } }, T0),
      ...h.facts.slice(1).map(
        (f): Step =>
          (o) =>
            o.seen(f, 'stream', T0),
      ),
      ...h.fills.map(
        (f): Step =>
          (o) =>
            o.filled(f, 'stream', T0),
      ),
    ]
    const { ends } = confluent(
      (o, e) => {
        command(o, e, c)
        o.outcome(c, created(h.id, 0, 600), T0)
        tell(o, e)
        command(o, e, d)
      },
      steps,
      h,
    )
    for (const e of [...ends].map((x) => JSON.parse(x))) expect(e).toMatchObject({ booked: 400, told: 'over', open: 0, filled: 400 })
  })
})

/** A session's worth of orders with everything that can happen to them and to what is told of them. */
type Life = {
  readonly tif: 'gtc' | 'ioc'
  readonly landed: boolean
  readonly answer: 'ack' | 'unknown' | 'refused' | 'not-sent' | 'never'
  readonly fills: readonly number[]
  readonly end: 'rests' | 'cancel' | 'ExpiryCancel' | 'SelfTradeCancel'
  readonly cancelAnswer: 'ack' | '404' | 'unknown'
  readonly change: 'none' | 'amend' | 'decrease'
  readonly changeAnswer: 'ack' | 'unknown' | 'refused'
}
const life: fc.Arbitrary<Life> = fc.record({
  tif: fc.constantFrom('gtc', 'gtc', 'ioc'),
  landed: fc.boolean(),
  answer: fc.constantFrom('ack', 'unknown', 'refused', 'not-sent', 'never'),
  fills: fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 3 }),
  end: fc.constantFrom('rests', 'cancel', 'ExpiryCancel', 'SelfTradeCancel'),
  cancelAnswer: fc.constantFrom('ack', '404', 'unknown'),
  change: fc.constantFrom('none', 'none', 'amend', 'decrease'),
  changeAnswer: fc.constantFrom('ack', 'unknown', 'refused'),
})
type Event = { readonly at: number; readonly crash?: true; readonly step: (o: Orders, log: Log) => void }
class Log {
  readonly kept: import('../../../../adapters/kalshi/venue/tracked.ts').Kept[] = []
  readonly engine = new EngineModel()
  /** Counts crashes: a crash loses the answers of the writes that were on their way. */
  epoch = 0
  hear(o: Orders): void {
    const news = o.takeNews()
    for (const n of news) this.kept.push({ news: n })
    this.engine.hear(news)
  }
  command(o: Orders, intent: OrderIntent, now: number): boolean {
    // The engine asks nothing of an order that it does not take for working.
    const state = this.engine.states.get(intent.order)?.state
    if (intent.kind !== 'create' && state !== 'working') return false
    this.kept.push({ intent, time: now })
    command(o, this.engine, intent, now)
    return true
  }
}
function lived(order: number, l: Life): { readonly history: History | null; readonly events: Event[]; readonly intent: CreateIntent } {
  const intent = create(order, l.tif === 'ioc' ? { tif: 'ioc', expires: null, postOnly: false } : {})
  const landed = l.answer === 'ack' || (l.landed && (l.answer === 'unknown' || l.answer === 'never'))
  const h = landed ? new History(intent) : null
  const base = T0 + order * 1000
  let epoch = -1
  const events: Event[] = [
    {
      at: base,
      step: (o, log) => {
        log.command(o, intent, base)
        epoch = log.epoch
      },
    },
  ]
  if (h !== null) for (const q of l.fills) h.fill(q)
  const now = base + 100
  const outcome = (): Outcome =>
    l.answer === 'ack' && h !== null
      ? created(h.id, l.tif === 'ioc' ? h.filled : 0, l.tif === 'ioc' ? 0 : intent.quantity)
      : l.answer === 'refused'
        ? { kind: 'rejected', code: 'insufficient_balance', status: 400 }
        : l.answer === 'not-sent'
          ? { kind: 'not-sent', reason: 'UND_ERR_CONNECT_TIMEOUT' }
          : unknown
  events.push(
    l.answer === 'never'
      ? { at: now, crash: true, step: () => {} }
      : { at: now, step: (o, log) => void (log.epoch === epoch && o.outcome(intent, outcome(), now)) },
  )
  if (h !== null && l.tif === 'gtc' && h.remaining > 0) {
    if (l.change !== 'none') {
      const total = h.filled + 50
      const i = l.change === 'amend' ? amend(order, h.id, 5100, total) : decrease(order, h.id, 50)
      const refused = l.changeAnswer === 'refused'
      let given = false
      let epochChange = -1
      events.push({
        at: base + 200,
        step: (o, log) => {
          given = log.command(o, i, base + 200)
          epochChange = log.epoch
        },
      })
      const a: Outcome = refused
        ? { kind: 'rejected', code: 'trading_is_paused', status: 409 }
        : l.changeAnswer === 'unknown'
          ? unknown
          : l.change === 'amend'
            ? { kind: 'acknowledged', answer: { kind: 'amend', id: h.id, filled: null, remaining: null, time: h.now + 1000 } }
            : { kind: 'acknowledged', answer: { kind: 'decrease', id: h.id, remaining: 50, time: h.now + 1000 } }
      events.push({
        at: base + 300,
        step: (o, log) => {
          if (!given) return
          // It took effect only where it was asked for.
          if (!refused && l.landed) {
            if (l.change === 'amend') h.amend(5100, total)
            else h.reduceTo(50)
          }
          if (log.epoch === epochChange) o.outcome(i, !refused && !l.landed && a.kind === 'acknowledged' ? unknown : a, base + 300)
        },
      })
    }
    if (l.end === 'cancel') {
      const x = cancel(order, h.id)
      let given = false
      let epochCancel = -1
      events.push({
        at: base + 400,
        step: (o, log) => {
          given = log.command(o, x, base + 400)
          epochCancel = log.epoch
        },
      })
      events.push({
        at: base + 500,
        step: (o, log) => {
          if (!given) return
          const reduced = h.remaining
          if (l.landed && h.last.status === 'resting') h.end('Decrease')
          const effect = l.landed && reduced > 0
          if (log.epoch !== epochCancel) return
          o.outcome(
            x,
            l.cancelAnswer === 'ack' && effect
              ? { kind: 'acknowledged', answer: { kind: 'cancel', id: h.id, reduced, time: h.now } }
              : l.cancelAnswer === '404' && (effect || reduced === 0)
                ? { kind: 'rejected', code: 'not_found', status: 404 }
                : unknown,
            base + 500,
          )
        },
      })
    } else if (l.end !== 'rests') events.push({ at: base + 600, step: () => void (h.last.status === 'resting' && h.end(l.end)) })
  } else if (h !== null && l.tif === 'ioc' && h.remaining > 0) h.end('Trade')
  return { history: h, events, intent }
}

describe('a session of orders', () => {
  it('R5, PROC-01: whatever is lost, doubled, delayed or crashed, the end is what the exchange says, by steps that the engine allows', () => {
    let resolved = 0
    let absences = 0
    fc.assert(
      fc.property(
        fc.array(life, { minLength: 1, maxLength: 3 }),
        fc.array(fc.nat(1000), { minLength: 60, maxLength: 60 }),
        fc.array(fc.integer({ min: 0, max: 11 }), { maxLength: 2 }),
        (lives, dice, crashes) => {
          let die = 0
          const roll = (n: number): number => (dice[die++ % dice.length] as number) % n
          const all = lives.map((l, k) => lived(k, l))
          const events = all.flatMap((x) => x.events).sort((a, b) => a.at - b.at)
          const log = new Log()
          let o = orders()
          const late: ((o: Orders) => void)[] = []
          const told = new Map<History, { facts: number; fills: number }>()
          const news = (now: number): void => {
            // What the stream tells of new pictures and fills: at once, late, twice or never.
            for (const { history: h, intent } of all) {
              if (h === null || !log.engine.states.has(intent.order)) continue
              const t = told.get(h) ?? { facts: 0, fills: 0 }
              const more = [
                ...h.facts.slice(t.facts).map((f) => (x: Orders) => x.seen(f, 'stream', now)),
                ...h.fills.slice(t.fills).map((f) => (x: Orders) => x.filled(f, 'stream', now)),
              ]
              told.set(h, { facts: h.facts.length, fills: h.fills.length })
              for (const m of more) {
                const r = roll(5)
                if (r <= 1) m(o)
                if (r === 1 || r === 2) late.push(m)
                log.hear(o)
              }
            }
          }
          events.forEach((event, k) => {
            event.step(o, log)
            log.hear(o)
            if (k >= 1) news(event.at)
            if (late.length > 0 && roll(2) === 0) late.splice(roll(late.length), 1)[0]?.(o)
            log.hear(o)
            if (event.crash === true || crashes.includes(k)) {
              log.epoch++
              o = orders()
              o.restore(log.kept, event.at)
              // Each doubt is told once, over any number of crashes.
              const last = new Map(log.engine.heard.map((n) => ['order' in n ? n.order : -1, n.type]))
              const again = o.takeNews()
              for (const n of again) expect([n.type, 'order' in n && last.get(n.order)]).not.toEqual(['no-answer', 'no-answer'])
              for (const n of again) log.kept.push({ news: n })
              log.engine.hear(again)
              log.hear(o)
            }
            o.tick(event.at)
          })
          for (const m of late) {
            m(o)
            log.hear(o)
          }
          // Only those whose create left exist; then the exchange heals.
          const histories = all.flatMap((x) => (x.history === null ? [] : [x.history]))
          for (let k = 0; k < 20; k++) {
            const at = T0 + 10 * SECOND + k * 8 * SECOND
            const errored = k % 6 === 5
            o.swept(sweep(at, histories, errored ? { orders: null, fills: null } : {}), at)
            log.hear(o)
            for (const h of histories) if (o.takeWanted().reads.includes(h.id)) o.seen(h.last, 'read', at)
            o.tick(at)
            for (const w of o.takeWrites()) {
              const h = histories.find((x) => w.kind === 'repeat' && 'id' in w.intent && x.id === w.intent.id)
              if (w.kind !== 'repeat' || h === undefined || w.intent.kind === 'create' || w.intent.kind === 'amend') continue
              expect(w.intent.attempt).toBeLessThanOrEqual(3)
              log.kept.push({ intent: w.intent, time: at })
              o.command(w.intent, at)
              const resting = h.last.status === 'resting'
              const reduced = h.remaining
              if (resting && w.intent.kind === 'cancel') h.end('Decrease')
              else if (resting) h.reduceTo(50)
              const answer =
                w.intent.kind === 'cancel'
                  ? ({ kind: 'cancel', id: h.id, reduced, time: h.now } as const)
                  : ({ kind: 'decrease', id: h.id, remaining: h.remaining, time: h.now } as const)
              o.outcome(w.intent, resting ? { kind: 'acknowledged', answer } : { kind: 'rejected', code: 'not_found', status: 404 }, at)
            }
            log.hear(o)
          }
          for (const { history: h, intent } of all) {
            const t = o.get(intent.order)
            const e = log.engine.states.get(intent.order)
            if (h === null) {
              expect(['absent', 'rejected']).toContain(t?.told)
              expect(t?.told).toBe(e?.state)
              if (t?.told === 'absent') absences++
              continue
            }
            expect(t?.booked).toBe(h.filled)
            expect(e?.filled).toBe(h.filled)
            const over = h.last.status !== 'resting'
            expect([t?.told, h.last.status]).toEqual([over ? 'over' : 'open', h.last.status])
            if (!over) expect([t?.price, t?.total, e?.total]).toEqual([h.price, h.filled + h.remaining, h.filled + h.remaining])
            expect(e?.state).toMatch(over ? /^(filled|canceled)$/ : /^(working|canceling)$/)
            resolved++
          }
          expect(o.status).toMatchObject({ unknown: 0, held: 0 })
          // Restoring from the log at the end comes to the same.
          const again = orders()
          again.restore(log.kept, T0 + 200 * SECOND)
          for (const { intent } of all) {
            const [a, b] = [o.get(intent.order), again.get(intent.order)]
            expect([b?.told === 'unknown' ? a?.told : b?.told, b?.booked, b?.id]).toEqual([a?.told, a?.booked, a?.id])
          }
        },
      ),
      { numRuns: 3000 },
    )
    expect(resolved).toBeGreaterThan(500)
    expect(absences).toBeGreaterThan(200)
  })
})

describe('what is unknown', () => {
  const c = create(0)
  const start = (): { o: Orders; engine: EngineModel } => {
    const o = orders()
    const engine = new EngineModel()
    command(o, engine, c)
    o.outcome(c, unknown, T0 + SECOND)
    tell(o, engine)
    expect(engine.heard).toEqual([{ type: 'no-answer', order: 0, timeVenue: 0, reason: 'timeout' }])
    return { o, engine }
  }
  const at = (k: number): number => T0 + 61 * SECOND + k * 2 * SECOND
  it('ORD-02: is absent only after five whole, fresh sweeps in a row, two seconds apart, a minute after the last byte', () => {
    const passes = (change: (k: number) => Parameters<typeof sweep>[2] | number): string => {
      const { o, engine } = start()
      for (let k = 0; k < 5; k++) {
        const more = change(k)
        const time = typeof more === 'number' ? more : at(k)
        o.swept(sweep(time, [], typeof more === 'number' ? {} : more), time)
      }
      tell(o, engine)
      return engine.states.get(0)?.state as string
    }
    expect(passes(() => ({}))).toBe('absent')
    const not: Readonly<Record<string, (k: number) => Parameters<typeof sweep>[2] | number>> = {
      'the third could not read the orders': (k) => (k === 2 ? { orders: null } : {}),
      'the third could not read the fills': (k) => (k === 2 ? { fills: null } : {}),
      'the last did not know how old the data is': (k) => (k === 4 ? { asOf: null } : {}),
      'the data is as old as the send': () => ({ asOf: T0 + 5 * SECOND }),
      'the lists begin after the send': () => ({ since: T0 + SECOND }),
      'they began within the minute': (k) => T0 + 50 * SECOND + k * 2 * SECOND,
      'they were one second apart': (k) => T0 + 61 * SECOND + k * SECOND,
    }
    for (const [what, change] of Object.entries(not)) expect([what, passes(change)]).toEqual([what, 'unknown'])
  })
  it('PROC-05: after a crash agreement is taken back before any other word, and the minute since the last byte runs on over crashes', () => {
    const kept: import('../../../../adapters/kalshi/venue/tracked.ts').Kept[] = [{ intent: c, time: T0 }]
    const first = orders()
    first.restore(kept, T0 + SECOND)
    const told = first.takeNews()
    expect(told.map((n) => n.type)).toEqual(['disagreed', 'no-answer'])
    for (const news of told) kept.push({ news, time: T0 + SECOND })
    // It crashes again and again, the last time 50 s later: no byte left since the first.
    for (const after of [20, 40, 50]) {
      const again = orders()
      again.restore(kept, T0 + after * SECOND)
      expect(again.takeNews().map((n) => n.type)).toEqual(['disagreed'])
    }
    const last = orders()
    last.restore(kept, T0 + 50 * SECOND)
    last.takeNews()
    for (let k = 0; k < 5; k++) last.swept(sweep(T0 + (62 + 2 * k) * SECOND, []), T0 + (62 + 2 * k) * SECOND)
    expect(last.takeNews().map((n) => n.type)).toEqual(['absent'])
  })
  it('its clock can be read: windows of sweeps begin where it says', () => {
    const o = orders()
    o.clockOffset = 3 * SECOND
    expect(o.clockOffset).toBe(3 * SECOND)
  })
  it('a fill whose order nobody knows stands against absence', () => {
    const { o, engine } = start()
    o.filled(new History(create(7), 'other').fill(100).fills[0]!, 'stream', T0)
    for (let k = 0; k < 9; k++) o.swept(sweep(at(k), []), at(k))
    tell(o, engine)
    expect(engine.states.get(0)?.state).toBe('unknown')
    // It is asked for until it is known whose it is.
    o.tick(at(9))
    expect(o.takeWanted().reads).toEqual(['other'])
    o.seen({ ...new History(create(7), 'other').last, client: 'somebody-else' }, 'read', at(9))
    for (let k = 10; k < 15; k++) o.swept(sweep(at(k), []), at(k))
    tell(o, engine)
    expect(engine.states.get(0)?.state).toBe('absent')
    expect(engine.heard.map((n) => n.type)).toEqual(['no-answer', 'market-halted', 'foreign-fill', 'absent'])
  })
  it('ORD-03: one that turns up late, after it was absent or refused, is told, and its fills are booked', () => {
    for (const how of ['absent', 'rejected'] as const) {
      const o = orders()
      const engine = new EngineModel()
      command(o, engine, c)
      if (how === 'rejected') o.outcome(c, { kind: 'rejected', code: 'insufficient_balance', status: 400 }, T0)
      else {
        o.outcome(c, unknown, T0)
        for (let k = 0; k < 5; k++) o.swept(sweep(at(k), []), at(k))
      }
      tell(o, engine)
      expect([engine.states.get(0)?.state, o.open]).toEqual([how, 0])
      const h = new History(c).fill(100)
      o.filled(h.fills[0]!, 'stream', at(20))
      o.seen(h.last, 'read', at(20))
      tell(o, engine)
      expect(engine.heard.slice(-2).map((n) => n.type)).toEqual(['accepted', 'fill'])
      expect([o.open, o.get(0)?.told]).toEqual([1, 'open'])
    }
  })
  it('ORD-04: an id that exists already means that an earlier send arrived', () => {
    const { o, engine } = start()
    o.seen(new History(c).last, 'list', T0)
    tell(o, engine)
    expect([engine.states.get(0)?.state, o.status.unknown]).toEqual(['working', 0])
    // The same client order id on something else, or twice, is no order of ours.
    o.seen({ ...new History(c).last, ticker: 'KXOTHER' }, 'list', T0)
    o.seen(new History(c, 'second').last, 'list', T0)
    expect(o.takeNews().map((n) => [n.type, 'ticker' in n && n.ticker])).toEqual([
      ['market-halted', 'KXOTHER'],
      ['market-halted', TICKER],
    ])
  })
  it('ORD-11: a cancel without an answer is repeated twice, visibly; then the group is to be triggered', () => {
    const grouped = create(0, { group: 'og-1' })
    const o = orders()
    const engine = new EngineModel()
    command(o, engine, grouped)
    const h = new History(grouped)
    o.outcome(grouped, created(h.id, 0, 600), T0)
    tell(o, engine)
    let intent: OrderIntent = cancel(0, h.id)
    command(o, engine, intent)
    for (let attempt = 1; attempt <= 3; attempt++) {
      expect(intent.attempt).toBe(attempt)
      o.outcome(intent, unknown, T0 + attempt * SECOND)
      o.tick(T0 + attempt * SECOND)
      if (attempt < 3) expect(o.takeWrites()).toEqual([])
      o.tick(T0 + attempt * SECOND + 600_000)
      const [wanted] = o.takeWrites()
      if (attempt === 3) expect(wanted).toEqual({ kind: 'trigger', group: 'og-1', shard: 0 })
      else {
        expect(wanted?.kind).toBe('repeat')
        if (wanted?.kind === 'repeat') intent = wanted.intent
        o.command(intent, T0)
      }
    }
    tell(o, engine)
    expect(engine.states.get(0)?.state).toBe('unknown')
    o.triggered('og-1')
    o.seen(h.end('Decrease').last, 'stream', T0)
    tell(o, engine)
    expect(engine.states.get(0)?.state).toBe('canceled')
  })
  it('FEED-20: a cancel that a closed market refuses is told, and its end comes from the exchange', () => {
    const o = orders()
    const engine = new EngineModel()
    command(o, engine, c)
    const h = new History(c)
    o.outcome(c, created(h.id, 0, 600), T0)
    tell(o, engine)
    const x = cancel(0, h.id)
    command(o, engine, x)
    o.outcome(x, { kind: 'rejected', code: 'market_closed', status: 409 }, T0)
    o.seen(h.end('CloseCancel').last, 'stream', T0)
    tell(o, engine)
    expect(engine.heard.slice(1)).toMatchObject([
      { type: 'cancel-rejected', reason: 'market_closed' },
      { type: 'canceled', reason: 'closed' },
    ])
  })
})

describe('fills and orders of others', () => {
  it('ORD-15: are told, halt their market, and are booked to nobody of ours', () => {
    const o = orders()
    const h = new History(create(3, { client: 'manual' })).fill(100)
    const none = new History(create(4, { client: 'x' }), 'web').fill(50)
    o.seen(h.last, 'list', T0)
    o.filled(h.fills[0]!, 'list', T0)
    o.filled(none.fills[0]!, 'stream', T0)
    expect(o.takeWanted().reads).toEqual([none.id])
    o.readNotFound(none.id)
    expect(o.takeNews().map((n) => n.type)).toEqual(['market-halted', 'foreign-fill'])
    o.seen({ ...none.last, client: null }, 'read', T0)
    expect(o.takeNews().map((n) => n.type)).toEqual(['market-halted', 'foreign-fill'])
    // An id of this session that its log does not know is no order of ours either.
    o.seen(new History(create(99), 'lost').last, 'list', T0)
    expect(o.takeNews()).toMatchObject([{ type: 'market-halted', reason: expect.stringContaining('its log does not know it') }])
    // Before the session, and in another subaccount: not its books.
    o.filled({ ...h.fills[0]!, id: 'old', trade: 'old', timeVenue: T0 - 3600 * SECOND }, 'list', T0)
    o.filled({ ...h.fills[0]!, id: 'sub', trade: 'sub', subaccount: 3 }, 'list', T0)
    expect([o.takeNews(), o.status.held]).toEqual([[], 0])
  })
  it('that closed a position of the session (flatten) are told as that, halt nothing, and come after everything that they closed', () => {
    const o = orders()
    const closing = new History(create(5, { client: 'abcF0-0-1' }), 'by-0').fill(100)
    const after = { ...closing.fills[0]!, timeVenue: T0 + 5 * SECOND }
    // Fill first, as the private stream tells it: whose it is says the order, and what was before it a whole sweep.
    o.filled(after, 'stream', T0 + 5 * SECOND)
    expect(o.takeWanted().reads).toEqual(['by-0'])
    o.seen(closing.last, 'read', T0 + 5 * SECOND)
    expect([o.takeNews(), o.status.held, o.takeWanted().sweep]).toEqual([[], 1, true])
    // One that does not reach so far, or is not whole, is asked for again.
    o.swept({ ...sweep(T0 + 6 * SECOND, []), asOf: T0 + 4 * SECOND }, T0 + 6 * SECOND)
    expect([o.takeNews(), o.takeWanted().sweep]).toEqual([[], true])
    o.swept({ ...sweep(T0 + 7 * SECOND, []), fills: null }, T0 + 7 * SECOND)
    expect(o.takeNews()).toEqual([])
    // Ours, unknown until now, is older and comes last in the list: it is told first.
    const c = create(0)
    o.command(c, T0)
    const h = new History(c).fill(100)
    o.swept({ ...sweep(T0 + 8 * SECOND, []), orders: [closing.last, h.last], fills: [after, h.fills[0]!] }, T0 + 8 * SECOND)
    expect(o.takeNews().map((n) => [n.type, 'by' in n ? n.by : null])).toEqual([
      ['accepted', null],
      ['fill', null],
      ['foreign-fill', 'flatten'],
    ])
    expect(o.status.held).toBe(0)
    // What looks like it and is not.
    const other = new History(create(6, { client: 'abcF0x-0-1' }), 'by-1').fill(100)
    o.filled(other.fills[0]!, 'stream', T0)
    o.seen(other.last, 'read', T0)
    expect(o.takeNews().map((n) => [n.type, 'by' in n ? n.by : null])).toEqual([
      ['market-halted', 'orders'],
      ['foreign-fill', null],
    ])
  })
  it('an earlier generation of the session is the session', () => {
    const o = orders()
    const old = create(0, { client: 'abc-1-0' })
    const young = create(1, { client: 'abc-2-1' })
    for (const i of [old, young]) o.command(i, T0)
    for (const i of [old, young]) o.seen(new History(i).last, 'list', T0)
    expect(o.takeNews().map((n) => n.type)).toEqual(['accepted', 'accepted'])
  })
  it('ORD-16, ORD-17: a trade counts once; told with other content, the first counts and the market is halted', () => {
    const o = orders()
    const c = create(0)
    const h = new History(c).fill(100)
    o.command(c, T0)
    o.outcome(c, created(h.id, 0, 600), T0)
    const fill = h.fills[0]!
    for (const again of [fill, fill, { ...fill, fee: fill.fee + 50 }]) o.filled(again, 'list', T0)
    expect(o.takeNews().map((n) => n.type)).toEqual(['accepted', 'fill'])
    for (let k = 0; k < 3; k++) o.filled({ ...fill, quantity: 200 }, 'list', T0)
    expect(o.takeNews()).toMatchObject([{ type: 'market-halted', reason: expect.stringContaining('different content') }])
    expect(o.get(0)?.booked).toBe(100)
    // More than the order ever had: the position changes, the order does not.
    o.filled({ ...fill, trade: 'too much', quantity: 900 }, 'list', T0)
    expect(o.takeNews().map((n) => n.type)).toEqual(['market-halted', 'foreign-fill'])
  })
  it('ORD-20: every reason of the exchange has a word; a new one leads to a read', () => {
    const words = [
      'MarginCancel',
      'SelfTradeCancel',
      'ExpiryCancel',
      'CloseCancel',
      'HaltCancel',
      'PostOnlyCrossCancel',
      'ReduceOnlyCancel',
      'SettlementBoundsCancel',
    ]
    expect(words.map((w) => reasonOf(w).reason)).toEqual([
      'margin',
      'self-trade',
      'expired',
      'closed',
      'halted',
      'post-only',
      'reduce-only',
      'bounds',
    ])
    for (const [word, reason] of [
      ['Decrease', 'outside'],
      ['Amend', 'outside'],
      ['ExpiryCancel', 'expired'],
      ['SolarFlareCancel', 'outside'],
    ] as const) {
      const o = orders()
      const c = create(0)
      o.command(c, T0)
      o.seen(new History(c).end(word).last, 'stream', T0)
      expect(o.takeNews().at(-1)).toMatchObject({ type: 'canceled', reason })
      expect(o.takeWanted().reads).toEqual(word === 'SolarFlareCancel' ? ['venue-0'] : [])
    }
  })
  it('ten thousand markets leave nothing behind once they have settled', () => {
    const o = orders()
    for (let k = 0; k < 10_000; k++) {
      const c = create(k, { ticker: `KX-${k}` })
      const h = new History(c).fill(600)
      o.command(c, T0)
      o.outcome(c, created(h.id, 600, 0), T0)
      // It settles before its fill is known: it is forgotten with it.
      if (k % 2 === 0) o.forget(c.ticker)
      o.filled(h.fills[0]!, 'stream', T0)
      if (k % 2 === 1) o.forget(c.ticker)
      o.filled(h.fills[0]!, 'list', T0)
    }
    expect(o.takeNews().filter((n) => n.type === 'fill')).toHaveLength(10_000)
    expect(o.status).toEqual({ open: 0, unknown: 0, watched: 0, held: 0, trades: 0, foreign: 0, repeatedTrades: 10_000 })
    expect([...o.live()]).toEqual([])
    expect(o.restless).toBe(false)
  })
})
