import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { maintenanceAt } from '../../cli/live/maintenance.ts'
import { ACTIONS, TROUBLES, type TroubleClass, type TroubleRow } from '../../cli/live/trouble-table.ts'
import { explainTrouble, Troubles, type Happened, type Incident, type Level, type Reaction } from '../../cli/live/troubles.ts'

/** The table of troubles: each begins as it should, holds back what it should, and ends on its own way back and on no other. */
const S = 1_000_000
/** A Monday. */
const START = Date.UTC(2026, 2, 2, 12) * 1000
const names = Object.keys(TROUBLES) as TroubleClass[]
const levelOf = (open: readonly Incident[]): Level => {
  const held = open.map((i) => i.action).filter((a) => a === 'reduce' || a === 'pause' || a === 'halt-session' || a === 'stop')
  return (held.sort((a, b) => ACTIONS.indexOf(b) - ACTIONS.indexOf(a))[0] as Level | undefined) ?? 'open'
}
const ended = (out: readonly Reaction[], name: TroubleClass): boolean => out.some((r) => r.type === 'ended' && r.incident.class === name)

describe('troubles', () => {
  it.each(names.filter((n) => n !== 'maintenance'))('%s: begins, holds, and comes back by its own way alone', (name) => {
    const { action, when, back } = TROUBLES[name] as TroubleRow
    const t = new Troubles()
    let now = START
    const scope = action === 'halt-market' ? 'KXA' : null
    const event: Happened = { type: 'begin', class: name, scope, cause: 'a test' }
    const tick = (seconds: number, e: Happened = { type: 'tick' }): readonly Reaction[] => t.take((now += seconds * S), e)
    let out: readonly Reaction[] = []
    if (when === 'at-once') out = tick(1, event)
    else if ('lasting' in when) {
      expect(tick(1, event)).toEqual([])
      expect(tick(when.lasting / S - 1)).toEqual([])
      out = tick(1)
    } else if (name === 'rejections' || name === 'rejections-account') {
      const code = name === 'rejections' ? 'invalid_order' : 'insufficient_balance'
      const rejected: Happened = { type: 'rejected', ticker: 'KXA', code, status: 400 }
      for (let i = 1; i < when.count; i++) expect(tick(1, rejected)).toEqual([])
      out = tick(1, rejected)
    } else {
      // Too slow does not count.
      for (let i = 0; i < when.count; i++) expect(tick(when.within / S, event)).toEqual([])
      now += when.within
      for (let i = 1; i < when.count; i++) expect(tick(1, event)).toEqual([])
      out = tick(1, event)
    }
    expect(out[0]).toMatchObject({ type: 'begun', incident: { class: name, action, scope, until: null } })
    const level = action === 'retry' || action === 'resync' || action === 'halt-market' ? 'open' : action
    expect([t.level, t.held('KXA')]).toEqual([level, action === 'halt-market'])
    expect(out.some((r) => r.type === 'level')).toBe(level !== 'open')
    expect(explainTrouble(out[0]?.type === 'begun' ? out[0].incident : { class: name, scope, cause: '' })).toMatch(/the way back: by/)
    const over: Happened = { type: 'over', class: name, scope }
    switch (back.by) {
      case 'quiet':
        for (const e of [over, { type: 'agreed' }, { type: 'operator', word: 'resume' }] as const)
          expect(ended(tick(1, e), name)).toBe(false)
        expect(ended(tick(back.for / S - 5), name)).toBe(false)
        out = tick(5)
        break
      case 'over':
        for (const e of [{ type: 'agreed' }, { type: 'operator', word: 'resume' }] as const) expect(ended(tick(1, e), name)).toBe(false)
        expect(ended(tick(3600), name)).toBe(false)
        out = tick(1, over)
        if (back.settle > 0) {
          expect(ended(out, name)).toBe(false)
          out = tick(back.settle / S)
        }
        if (back.agreed) {
          // It agreed before it was over, which proves nothing.
          expect(ended(out, name)).toBe(false)
          expect(ended(tick(1, { type: 'disagreed' }), name)).toBe(false)
          out = tick(1, { type: 'agreed' })
        }
        break
      case 'operator':
        for (const e of [over, { type: 'agreed' }] as const) expect(ended(tick(1, e), name)).toBe(false)
        expect(ended(tick(3600), name)).toBe(false)
        out = tick(1, { type: 'operator', word: 'resume' })
        break
      case 'restart':
        for (const e of [over, { type: 'agreed' }, { type: 'operator', word: 'resume' }] as const)
          expect(ended(tick(1, e), name)).toBe(false)
        expect([ended(tick(3600), name), t.level]).toEqual([false, 'stop'])
        return
    }
    expect(out.find((r) => r.type === 'ended')).toMatchObject({ incident: { class: name, until: now } })
    expect([t.level, t.held('KXA'), t.open]).toEqual(['open', false, []])
  })

  it('tells apart what the exchange answers: each by its own class', () => {
    const after = (...events: Happened[]): string[] => {
      const t = new Troubles()
      events.forEach((e, i) => t.take(START + i * S, e))
      return t.open.map((o) => o.class)
    }
    const no = (order: number): Happened => ({ type: 'no-answer', ticker: 'KXA', order, unreadable: false })
    const rejected = (code: string, ticker = 'KXA', status: number | null = 400): Happened => ({ type: 'rejected', ticker, code, status })
    expect(after({ type: 'answered', status: 401 })).toEqual(['key-refused'])
    expect(after({ type: 'answered', status: 403 })).toEqual(['key-forbidden'])
    expect([after({ type: 'answered', status: 410 }), after({ type: 'answered', status: 302 })]).toEqual([
      ['interface-moved'],
      ['interface-moved'],
    ])
    expect(after(...Array.from({ length: 4 }, (): Happened => ({ type: 'answered', status: 429 })))).toEqual([])
    expect(after(...Array.from({ length: 5 }, (): Happened => ({ type: 'answered', status: 429 })))).toEqual(['rate-limited'])
    // Different reasons, different markets, our own gate, and what comes with the trade.
    expect(after(rejected('a'), rejected('b'), rejected('a'), rejected('a', 'KXB'))).toEqual([])
    expect(after(...Array.from({ length: 9 }, () => rejected('gate:kill', 'KXA', null)))).toEqual([])
    expect(after(...Array.from({ length: 9 }, () => rejected('market_closed', 'KXA', 409)))).toEqual([])
    expect(
      after(rejected('insufficient_balance'), rejected('insufficient_balance', 'KXB'), rejected('insufficient_balance', 'KXC')),
    ).toEqual(['rejections-account'])
    expect(after(no(1), no(2), no(3), no(4))).toEqual([])
    expect(after(no(1), no(2), no(3), no(4), no(5)).sort()).toEqual(['answers-lost', 'orders-unknown'])
    expect(after({ type: 'clock', offset: 5.9 * S, uncertainty: S })).toEqual([])
    expect(after({ type: 'clock', offset: -6.1 * S, uncertainty: S })).toEqual(['clock-skew'])
    expect(after({ type: 'space', free: 2 ** 29 }, { type: 'space', free: 1.5 * 2 ** 30 })).toEqual(['disk-low'])
    expect(after({ type: 'space', free: 2 ** 29 }, { type: 'space', free: 3 * 2 ** 30 })).toEqual([])
    expect(after({ type: 'space', free: 2 ** 20 })).toEqual(['disk-full'])
    expect([after({ type: 'late', by: S / 2 }), after({ type: 'late', by: 2 * S })]).toEqual([[], ['loop-stalled']])
    // Resolved in time: its market was never held.
    const t = new Troubles()
    t.take(START, no(7))
    t.take(START + 50 * S, { type: 'resolved', order: 7 })
    t.take(START + 90 * S, { type: 'tick' })
    expect(t.open).toEqual([])
    t.take(START + 91 * S, no(8))
    t.take(START + 152 * S, { type: 'tick' })
    expect([t.open.map((o) => o.class), t.held('KXA')]).toEqual([['order-unknown'], true])
    t.take(START + 153 * S, { type: 'resolved', order: 8 })
    expect(t.held('KXA')).toBe(false)
  })

  it('knows the maintenance of every week of two years, summer and winter', () => {
    const windows: [number, number][] = []
    const step = 60 * S
    let inside: number | null = null
    for (let time = Date.UTC(2026, 0, 1) * 1000; time < Date.UTC(2028, 0, 1) * 1000; time += step) {
      const on = maintenanceAt(time)
      if (on !== null && inside === null) {
        inside = time
        expect(on.until - time).toBe(7200 * S)
      } else if (on === null && inside !== null) {
        windows.push([inside, time])
        inside = null
      }
    }
    expect(windows.length).toBe(105)
    for (const [from, to] of windows) {
      const day = new Date(from / 1000)
      const month = day.getUTCMonth()
      expect([day.getUTCDay(), (to - from) / S]).toEqual([4, 7200])
      if (month >= 3 && month <= 9) expect(day.getUTCHours()).toBe(7)
      if (month <= 1 || month === 11) expect(day.getUTCHours()).toBe(8)
    }
    const t = new Troubles()
    const from = windows[30]?.[0] ?? 0
    t.take(from - 180 * S, { type: 'tick' })
    expect(t.level).toBe('open')
    t.take(from - 100 * S, { type: 'tick' })
    expect([t.level, t.hold]).toEqual(['pause', 'pause'])
    t.take(from + 7201 * S, { type: 'tick' })
    t.take(from + 7202 * S, { type: 'agreed' })
    expect(t.level).toBe('pause')
    t.take(from + 7240 * S, { type: 'tick' })
    expect(t.level).toBe('open')
  })

  it('whatever happens in whatever order: the strongest open trouble holds, each ends once, and all but a stop can be got out of', () => {
    const scoped = fc.constantFrom('KXA', 'KXB', 'shard 2')
    const event = fc.oneof(
      fc.record({
        type: fc.constantFrom('begin' as const, 'over' as const),
        class: fc.constantFrom(...names),
        scope: fc.option(scoped),
        cause: fc.constant('x'),
      }),
      fc.record({
        type: fc.constant('rejected' as const),
        ticker: scoped,
        code: fc.constantFrom('a', 'insufficient_balance'),
        status: fc.constantFrom(400, null),
      }),
      fc.record({ type: fc.constant('no-answer' as const), ticker: scoped, order: fc.nat(9), unreadable: fc.boolean() }),
      fc.record({ type: fc.constant('resolved' as const), order: fc.nat(9) }),
      fc.record({ type: fc.constant('answered' as const), status: fc.constantFrom(200, 401, 403, 410, 429, 500) }),
      fc.record({ type: fc.constantFrom('agreed' as const, 'disagreed' as const, 'tick' as const, 'gap' as const) }),
      fc.constant({ type: 'operator' as const, word: 'resume' as const }),
    )
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.integer({ min: 0, max: 90 })), { maxLength: 120 }), (events) => {
        const t = new Troubles()
        let now = START
        let level: Level = 'open'
        const running = new Map<string, Incident>()
        const check = (out: readonly Reaction[]): void => {
          for (const r of out) {
            if (r.type === 'level') level = r.level
            else {
              const key = `${r.incident.class} ${r.incident.scope ?? ''}`
              expect(running.has(key)).toBe(r.type === 'ended')
              if (r.type === 'begun') running.set(key, r.incident)
              else running.delete(key)
            }
          }
          expect(t.open.length).toBe(running.size)
          expect([t.level, level]).toEqual([levelOf([...running.values()]), levelOf([...running.values()])])
        }
        for (const [e, seconds] of events) check(t.take((now += seconds * S), e as Happened))
        expect(t.size).toBeLessThan(3_500)
        // Healed: everything is over, somebody resumes, the books agree, and it is quiet.
        for (const name of names)
          for (const scope of [null, 'KXA', 'KXB', 'shard 2']) check(t.take((now += S), { type: 'over', class: name, scope }))
        for (let order = 0; order < 10; order++) check(t.take(now, { type: 'resolved', order }))
        check(t.take((now += S), { type: 'operator', word: 'resume' }))
        check(t.take((now += 60 * S), { type: 'agreed' }))
        check(t.take((now += 600 * S), { type: 'agreed' }))
        expect(t.open.filter((o) => TROUBLES[o.class].back.by !== 'restart' && o.class !== 'maintenance')).toEqual([])
      }),
      { numRuns: 300 },
    )
  })

  it('stays small, and more than can be told apart stops the session', () => {
    const t = new Troubles()
    for (let i = 0; i < 5_000; i++) t.take(START + i * 1000, { type: 'begin', class: 'market-differs', scope: `KX${i}` })
    expect([t.open.length, t.level]).toEqual([1_001, 'halt-session'])
    const u = new Troubles()
    for (let i = 0; i < 20_000; i++) u.take(START + i * 1000, { type: 'rejected', ticker: `KX${i}`, code: `c${i}`, status: 400 })
    expect(u.size).toBeLessThan(2_100)
  })
})
