import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { liftHalt, readHalt, writeHalt } from '../../cli/halt.ts'
import { Alerts, type Alert } from '../../cli/live/alerts.ts'
import { Watchdog, type Condition } from '../../cli/live/watchdog.ts'
import type { SessionSnapshot } from '../../cli/session-status.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** The parts of kill and watch that need no process: the latch, the judgement of silence, and when an alert is told. */
afterEach(removeFolders)

const speaking = (written: number, more: Record<string, unknown> = {}): SessionSnapshot =>
  ({
    written,
    ended: null,
    state: { name: 'trading', since: 0, cause: null },
    feed: { connections: [{ name: 'a', state: 'open', connects: 1, stale: false }] },
    orders: { list: [] },
    tape: { state: 'recording', failure: null },
    wrong: [],
    ...more,
  }) as unknown as SessionSnapshot

describe('the latch', () => {
  it('stands whole, keeps the first reason, and stands even where the disk has no room for a reason', () => {
    const dir = folder()
    expect(readHalt(dir)).toBeNull()
    expect(liftHalt(dir)).toBe(false)
    expect(writeHalt(dir, 'first\nof \u001b[31mtwo', 'a test')).toMatchObject({ written: true, stands: true, failure: null })
    expect(writeHalt(dir, 'second', 'a test')).toMatchObject({ written: false, stands: true, failure: null })
    expect(readHalt(dir)?.reason).toBe('first of  [31mtwo')
    expect([readdirSync(dir), lstatSync(join(dir, 'HALTED')).mode & 0o777]).toEqual([['HALTED'], 0o600])
    expect([liftHalt(dir), readHalt(dir)]).toEqual([true, null])
    // The file that is to become it cannot be written: a name alone is made.
    mkdirSync(join(dir, `HALTED.${process.pid}.tmp`))
    expect(writeHalt(dir, 'third', 'a test')).toMatchObject({ written: true, stands: true, failure: 'EISDIR' })
    expect(readHalt(dir)?.reason).toBe('no reason was written')
    expect(writeHalt(join(dir, 'nowhere'), 'x', 'a test')).toMatchObject({ written: false, stands: false, failure: 'ENOENT' })
  })
})

describe('the watchdog', () => {
  it('calls an engine silent after its tolerance on a clock that never steps, and not for a time in which it slept itself', () => {
    const dog = new Watchdog({ tolerance: 15_000 })
    const look = (now: number, snapshot: SessionSnapshot | null) => dog.look({ snapshot, latch: null, free: null }, now)
    expect(look(0, null).engine).toBe('none')
    // Written at any wall time: a clock that is set means nothing.
    expect(look(1_000, speaking(9e12)).engine).toBe('alive')
    expect(look(2_000, speaking(5)).engine).toBe('alive')
    for (let t = 3_000; t <= 17_000; t += 1_000) expect(look(t, speaking(5)).engine).toBe('alive')
    const verdict = look(17_001, speaking(5))
    expect([verdict.engine, verdict.conditions.map((c) => c.class)]).toEqual(['silent', ['engine-silent']])
    expect(look(18_000, speaking(6))).toMatchObject({ engine: 'alive', back: true, conditions: [] })
    // The watch stood still for an hour: the engine has five seconds to speak.
    expect(look(3_618_000, speaking(6)).engine).toBe('alive')
    expect(look(3_622_000, speaking(6)).engine).toBe('alive')
    expect(look(3_623_100, speaking(6)).engine).toBe('silent')
    expect(look(3_624_000, speaking(7, { ended: 'its time is over' })).engine).toBe('ended')
    expect(look(3_900_000, speaking(7, { ended: 'its time is over' })).engine).toBe('ended')
    dog.forgive(3_900_000)
    expect(look(3_901_000, speaking(7)).engine).toBe('alive')
  })

  it('that is told of a dead engine calls it silent from the first look on, until it writes', () => {
    const dog = new Watchdog({ tolerance: 15_000 })
    dog.silentSince(5, 3_600_000, 1_000)
    const look = (now: number, written: number) => dog.look({ snapshot: speaking(written), latch: null, free: null }, now)
    expect(look(1_000, 5)).toMatchObject({ engine: 'silent', silentFor: 3_600_000, back: false })
    expect(look(2_000, 5).engine).toBe('silent')
    expect(look(3_000, 6)).toMatchObject({ engine: 'alive', back: true })
  })

  it('takes over within a second of the tolerance, and never before it, whatever the engine does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 50, max: 14_000 }), { maxLength: 30 }), fc.integer({ min: 100, max: 900 }), (beats, every) => {
        const dog = new Watchdog({ tolerance: 15_000 })
        let written = 0
        let last = 0
        let now = 0
        const at = beats.reduce<number[]>((a, b) => [...a, (a.at(-1) ?? 0) + b], [])
        for (; now < (at.at(-1) ?? 0) + 20_000; now += every) {
          const heard = at.filter((t) => t <= now).length
          if (heard !== written) {
            written = heard
            last = now
          }
          const { engine } = dog.look({ snapshot: speaking(written), latch: null, free: null }, now)
          if (engine === 'silent') {
            expect(now - last).toBeGreaterThan(15_000)
            expect(now - (at.at(-1) ?? 0)).toBeLessThan(15_000 + 2 * every + 1)
            return
          }
        }
        throw new Error('never silent')
      }),
      { numRuns: 200 },
    )
  })

  it('sees the rest of what goes wrong in what the engine says', () => {
    const dog = new Watchdog({ tolerance: 15_000 })
    let now = 0
    let written = 0
    const seen = (more: Record<string, unknown>, wait = 1_000, latch: string | null = null, free: number | null = null): string[] => {
      for (let left = wait; left > 0; left -= 1_000) dog.look({ snapshot: speaking(++written, more), latch, free }, (now += 1_000))
      return dog.look({ snapshot: speaking(++written, more), latch, free }, (now += 1)).conditions.map((c) => c.class)
    }
    expect(seen({})).toEqual([])
    expect(seen({ state: { name: 'halted', cause: 'halt' } })).toEqual(['halted'])
    expect(seen({ state: { name: 'halted', cause: 'halt' } }, 1_000, 'a reason')).toEqual(['halted'])
    expect(seen({ state: { name: 'reducing', cause: 'reduce' } })).toEqual(['reducing'])
    expect(seen({ state: { name: 'syncing', cause: 'disagreed' } })).toEqual(['disagreement'])
    const unknown = { orders: { list: [{ state: 'unknown' }] } }
    expect(seen(unknown, 59_000)).toEqual([])
    expect(seen(unknown, 3_000)).toEqual(['orders-unknown'])
    expect(seen({})).toEqual([])
    // What is wrong is told with its words: with the halt that it makes, or alone where the session trades on.
    const wrong = { wrong: ['fill-foreign: trade x', 'A is halted'] }
    expect([seen(wrong, 9_000), seen(wrong, 3_000)]).toEqual([[], ['troubles']])
    expect(dog.look({ snapshot: speaking(++written, wrong), latch: null, free: null }, ++now).conditions[0]?.text).toBe(
      '2 things are wrong: fill-foreign: trade x; A is halted',
    )
    const stopped = { state: { name: 'halted', cause: 'halt' }, ...wrong }
    // What was told before stays told; a halt that comes first says it itself.
    expect(seen(stopped)).toEqual(['halted', 'troubles'])
    expect(dog.look({ snapshot: speaking(++written, stopped), latch: null, free: null }, ++now).conditions[0]?.text).toBe(
      'the session is halted (halt): fill-foreign: trade x; A is halted',
    )
    expect(seen({})).toEqual([])
    expect(seen(stopped, 20_000)).toEqual(['halted'])
    expect(seen({})).toEqual([])
    const lost = {
      feed: {
        connections: [
          { state: 'open', stale: true },
          { state: 'waiting', stale: false },
        ],
      },
    }
    expect([seen(lost, 9_000), seen(lost, 3_000)]).toEqual([[], ['feed-lost']])
    expect([seen({}, 1_000, null, 2 ** 30), seen({}, 1_000, null, 2 ** 20)]).toEqual([['disk-low'], ['disk-full']])
    expect(seen({ tape: { state: 'full', failure: 'no space' } })).toEqual(['disk-full'])
  })
})

describe('alerts', () => {
  it('tells at once, again ever later while it lasts, tries again what was not delivered, and tells that it is over', () => {
    const alerts = new Alerts({ session: 's', environment: 'local' })
    const wrong: Condition[] = [{ class: 'engine-silent', text: 'x' }]
    const told: [number, string][] = []
    const run = (from: number, to: number, conditions: readonly Condition[], delivered: (now: number) => boolean = () => true): void => {
      for (let now = from; now < to; now += 1_000) {
        alerts.set(conditions, now, now)
        for (const alert of alerts.due(now, now)) {
          told.push([now / 1000, alert.status])
          alerts.sent(alert, delivered(now), now)
        }
      }
    }
    run(0, 1_000_000, wrong, (now) => now >= 15_000)
    // 5 s, 10 s, 20 s after failures; then 1, 2, 4, 8 minutes.
    expect(told).toEqual([
      [0, 'begun'],
      [5, 'begun'],
      [15, 'begun'],
      [75, 'lasting'],
      [195, 'lasting'],
      [435, 'lasting'],
      [915, 'lasting'],
    ])
    told.length = 0
    // Away for less than it takes to believe it.
    run(1_000_000, 1_005_000, [])
    run(1_005_000, 1_010_000, wrong)
    expect(told).toEqual([])
    run(1_010_000, 1_040_000, [])
    expect(told).toEqual([[1020, 'over']])
    expect(alerts.open).toEqual([])
    // Weeks: it is told once an hour at most, and keeps nothing.
    told.length = 0
    for (let now = 2_000_000; now < 2_000_000 + 14 * 86_400_000; now += 60_000) {
      alerts.set(wrong, now, now)
      for (const alert of alerts.due(now, now)) {
        told.push([now, alert.status])
        alerts.sent(alert, true, now)
      }
    }
    expect(told.length).toBeLessThan(14 * 24 + 10)
    expect(alerts.open.length).toBe(1)
  })
  it('what comes while an alert is on its way is told a minute later, and not with the next repetition', () => {
    const alerts = new Alerts({ session: 's', environment: 'demo' })
    const set = (lines: readonly string[], t: number): void => alerts.set([{ class: 'troubles', text: lines.join('; '), lines }], t, t)
    const HOURS = 8 * 3_600_000
    for (let t = 0; t <= HOURS; t += 10_000) {
      set(['a'], t)
      for (const alert of alerts.due(t, t)) alerts.sent(alert, true, t)
    }
    const sent: [number, string][] = []
    for (let t = HOURS + 1_000; t < HOURS + 3_600_000; t += 250) {
      set(t < HOURS + 1_250 ? ['a', 'b'] : ['a', 'b', 'c'], t)
      for (const alert of alerts.due(t, t)) {
        sent.push([t - HOURS, alert.text])
        // Delivered 600 ms later.
        set(['a', 'b', 'c'], t + 250)
        alerts.sent(alert, true, t + 600)
      }
      if (sent.length === 2) break
    }
    expect(sent.map(([, text]) => text)).toEqual(['a; b', 'a; b; c'])
    expect((sent[1]?.[0] as number) - (sent[0]?.[0] as number)).toBeLessThanOrEqual(61_000)
  })
  it('tells one thing more of many within a minute, and a storm of them once a minute', () => {
    const alerts = new Alerts({ session: 's', environment: 'demo' })
    const trouble = (lines: readonly string[]): Condition[] => [{ class: 'troubles', text: lines.join('; '), lines }]
    const sent: [number, string][] = []
    const run = (lines: readonly string[], from: number, to: number): void => {
      for (let t = from; t < to; t += 1_000) {
        alerts.set(trouble(lines), t, t)
        for (const alert of alerts.due(t, t)) {
          sent.push([t / 1_000, alert.text])
          alerts.sent(alert, true, t)
        }
      }
    }
    run(['fees'], 0, 4 * 3_600_000)
    const before = sent.length
    run(['fees', 'an order of others'], 4 * 3_600_000, 4 * 3_600_000 + 5_000)
    expect(sent.slice(before)).toEqual([[14_400, 'fees; an order of others']])
    for (let k = 0; k < 120; k++) run([`trouble ${k}`], 4 * 3_600_000 + 5_000 + k * 1_000, 4 * 3_600_000 + 6_000 + k * 1_000)
    expect(sent.slice(before + 1).map(([t]) => t)).toEqual([14_460, 14_520])
  })
  it('sends one at a time of each, however long it takes', () => {
    const alerts = new Alerts({ session: 's', environment: 'local' })
    const out: Alert[] = []
    for (let now = 0; now < 600_000; now += 1_000) {
      alerts.set([{ class: 'disk-low', text: 'x' }], now, now)
      out.push(...alerts.due(now, now))
    }
    expect(out.length).toBe(1)
  })
})

describe('the roads out of a command', () => {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'cli'], { cwd: root, encoding: 'utf8' })
    .trim()
    .split('\n')
    .filter((f) => f.endsWith('.ts') && existsSync(join(root, f)))
  it('no command has one to the exchange but the adapter: sockets are opened for alerts and the lock alone', () => {
    const opening = files.filter((f) =>
      /from '(node:)?(https?|http2|net|tls|dgram|undici|ws)'|\bfetch\(|\bWebSocket\(/.test(readFileSync(join(root, f), 'utf8')),
    )
    expect(opening.sort()).toEqual(['cli/live/lock.ts', 'cli/live/messenger.ts'])
    // What a command builds to be sent it gives to a gate: the adapter's door shows neither the transport nor a request.
    const door = readFileSync(join(root, 'adapters/kalshi/index.ts'), 'utf8')
    expect(door).not.toMatch(/transport|requestOf/)
  })
})
