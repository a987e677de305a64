import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { afterLong, externalOf } from '../../cli/live-connection.ts'
import { countExternals, LiveSession, OWN_MAX } from '../../cli/live-session.ts'
import { Journal, JournalKind, Strings, type JournalTable } from '../../engine/journal.ts'
import { Engine } from '../../engine/engine.ts'
import { createBatch, Kind, pushRow, type Batch, type ExternalDetail } from '../../engine/message.ts'
import type { News } from '../../engine/news.ts'
import type { Command } from '../../engine/order.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { Run } from '../../data/run.ts'
import { batchesOf, randomTape, type Row } from '../support/rows.ts'
import { header as headerOf } from '../support/session.ts'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Rows of our own among those of the feed, on a clock that the test moves. */
function sessionAt(start: number) {
  const clock = { at: start, now: () => clock.at }
  const rows: { time: number; kind: number; detail: Record<string, unknown> }[] = []
  const taken = new Map<string, number>()
  const write = (b: Batch): boolean => {
    for (let i = 0; i < b.length; i++)
      rows.push({
        time: b.time[i] as number,
        kind: b.kind[i] as number,
        detail: JSON.parse(b.details[b.detail[i] as number] as string) as Record<string, unknown>,
      })
    countExternals(b, taken)
    return true
  }
  const live = new LiveSession({ engine: null, recorder: { write }, clock, lag: 100, turn: (body) => body(), numbersFrom: 0, from: 0 })
  return { clock, rows, live, taken }
}
const value = (series: string, n: number): ExternalDetail => ({ series, value: n, revision: 0 })

describe('rows of our own', () => {
  it('come at their own time: a value that is known later holds back nobody but the later ones of its series', () => {
    const { clock, rows, live } = sessionAt(1_000_000)
    live.external(value('far', 1), null, 9_000_000)
    live.external(value('near', 1), null, null)
    live.external(value('far', 2), null, 2_000_000)
    live.operator({ command: 'pause', reason: 'x' })
    live.external(value('near', 2), null, 1_500_000)
    clock.at = 1_000_200
    live.tick()
    expect(rows.map((r) => [r.time, r.detail['series'] ?? r.detail['command']])).toEqual([
      [1_000_000, 'near'],
      [1_000_000, 'pause'],
    ])
    clock.at = 10_000_000
    live.tick()
    expect(rows.slice(2).map((r) => [r.time, r.detail['series'], r.detail['value']])).toEqual([
      [1_500_000, 'near', 2],
      [9_000_000, 'far', 1],
      [9_000_000, 'far', 2],
    ])
  })

  it('that the tape did not take are no time that passed: who lives the session again comes as far as it came', () => {
    const clock = { at: 1_000_000, now: () => clock.at }
    let full = false
    const write = (): boolean => {
      if (full) throw new Error('the disk is full')
      return true
    }
    const live = new LiveSession({ engine: null, recorder: { write }, clock, lag: 100, turn: (body) => body(), numbersFrom: 0, from: 0 })
    const [batch, later] = [1_000_000, 1_000_900].map(
      (time) => [...batchesOf([{ ...(randomTape({ seed: 1, rows: 1, markets: 1 }).rows[0] as Row), time }], 1)][0] as Batch,
    )
    live.take(batch as Batch)
    expect(live.ran).toBe(1_000_000)
    clock.at = 1_000_500
    live.tick()
    expect(live.ran).toBe(1_000_401)
    full = true
    clock.at = 1_001_000
    expect(() => live.take(later as Batch)).toThrow('full')
    expect(() => live.close('the disk is full')).toThrow('full')
    expect(() => live.mark('the disk is full')).toThrow('full')
    expect(live.ran).toBe(1_000_401)
  })

  it('are in order of time, of each series as given, and whoever goes on after any of them takes each once (property)', () => {
    const given = fc.array(
      fc.record({
        series: fc.constantFrom('a', 'b', 'c'),
        wait: fc.integer({ min: 0, max: 50 }),
        ahead: fc.option(fc.integer({ min: -500, max: 2_000 })),
      }),
      { maxLength: 60 },
    )
    fc.assert(
      fc.property(given, fc.integer({ min: 0, max: 3_000 }), (lines, cut) => {
        const first = sessionAt(1_000)
        lines.forEach(({ series, wait, ahead }, n) => {
          first.clock.at += wait
          first.live.external(value(series, n), null, ahead === null ? null : first.clock.at + ahead)
          first.live.tick()
        })
        first.clock.at = Math.max(first.clock.at, 1_000 + cut)
        first.live.tick()
        const times = first.rows.map((r) => r.time)
        expect(times).toEqual([...times].sort((a, b) => a - b))
        // The process ends here. The next one skips, of each series, as many as the tape has.
        const skip = new Map(first.taken)
        const second = sessionAt(first.clock.at + 1)
        lines.forEach(({ series }, n) => {
          const left = skip.get(series) ?? 0
          if (left > 0) skip.set(series, left - 1)
          else second.live.external(value(series, n), null, null)
        })
        second.clock.at += 1_000
        second.live.tick()
        for (const name of ['a', 'b', 'c']) {
          const got = [...first.rows, ...second.rows].filter((r) => r.detail['series'] === name).map((r) => r.detail['value'])
          expect(got).toEqual(lines.flatMap(({ series }, n) => (series === name ? [n] : [])))
        }
      }),
    )
  })

  it('that are too many are said so, once, and read again when there is room', () => {
    const dir = mkdtempSync(join(tmpdir(), 'tapeline-'))
    try {
      const { clock, rows, live } = sessionAt(1e15)
      const path = join(dir, 'far.ndjson')
      writeFileSync(
        path,
        Array.from({ length: OWN_MAX + 5_000 }, (_, n) => `{"series":"far","value":${n},"known":${1e15 + 5_000_000}}\n`).join(''),
      )
      const told: string[] = []
      const file = externalOf(path, new Map(), live, (text) => void told.push(text))
      for (let i = 0; i < 5; i++) file?.advance()
      expect(live.waiting).toBeGreaterThanOrEqual(OWN_MAX)
      expect(told).toEqual([
        expect.stringMatching(/^\d+ outside values wait for the time at which they are known.*is "known" of .*far\.ndjson far ahead\?$/),
      ])
      // A command is not held back by them.
      live.operator({ command: 'halt', reason: 'x' })
      clock.at += 1_000
      live.tick()
      expect(rows.map((r) => r.kind)).toEqual([Kind.OPERATOR])
      clock.at += 6_000_000
      live.tick()
      for (let i = 0; i < 50; i++) {
        file?.advance()
        clock.at += 1_000
        live.tick()
      }
      file?.close()
      expect(rows.filter((r) => r.kind === Kind.EXTERNAL).map((r) => r.detail['value'])).toEqual(
        Array.from({ length: OWN_MAX + 5_000 }, (_, n) => n),
      )
      expect(told).toHaveLength(1)
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})

describe('a live session', () => {
  it('acts on a message at once, and sends inside the turn; its tape and its news, read again, lead to the same journal', () => {
    const strategy = (): Strategy => ({
      name: 'last',
      parameters: {},
      onBook: (book, desk) => {
        if (book.twoSided) desk.quote(book.market, { side: 'bid', price: book.bid, size: 1, why: 'last' })
      },
    })
    // Nothing waits for rate or tokens.
    const limits = { ...LIMITS_DEFAULT, ordersPerSecondMax: 10_000 }
    const rate = { perSecond: 1e6, capacity: 1e6 }
    const header = { ...headerOf({ limits, rate }), mode: 'live' as const, live: { nonce: 'test', environment: 'local', subaccount: 0 } }
    const engineOf = () => {
      const run = new Run()
      const sent: Command[] = []
      const venue = { onTape: null, connect() {}, send: (c: Command) => (sent.push(c), 0) }
      return { run, sent, engine: new Engine({ header, strategies: [strategy()], venue, sink: run }) }
    }
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 0, max: 3 }), (seed, still) => {
        const { rows } = randomTape({ seed, rows: 300, markets: 2, gaps: true })
        const first = engineOf()
        const clock = { at: 0, now: () => clock.at }
        const kept: (Batch | { time: number; news: News })[] = []
        let [inside, flushed, messages, late] = [false, 0, 0, 0]
        const live = new LiveSession({
          engine: first.engine,
          news: {
            keep: (time, news) => void kept.push({ time, news }),
            enter: (time, news) => first.engine.enter(time, news),
          },
          flush: () => {
            expect(inside).toBe(true)
            flushed++
          },
          recorder: { write: (b) => (kept.push(copyOf(b)), true) },
          clock,
          lag: 60_000,
          turn: (body) => {
            inside = true
            const result = body()
            inside = false
            return result
          },
          numbersFrom: 0,
          from: 0,
        })
        live.news({ type: 'agreed', reason: 'x' })
        for (let i = 0; i < rows.length; ) {
          let end = i + 1
          while (end < rows.length && ((rows[end] as Row).time === (rows[i] as Row).time || (rows[end - 1] as Row).flags % 2 === 0)) end++
          // Some messages come so fast that the clock stands still between them.
          clock.at = Math.max(clock.at + still, (rows[i] as Row).time)
          const message = rows.slice(i, end).map((r) => ({ ...r, time: clock.at }))
          for (const batch of batchesOf(message, 100)) live.take(batch)
          if (++messages % 5 === 0) {
            const asked = first.sent.length
            clock.at += 100_000
            live.tick()
            late += first.sent.length - asked
          }
          for (const { type, order } of first.sent.splice(0)) {
            if (order.over) continue
            const told = { order: order.id, timeVenue: clock.at, remaining: order.remaining }
            if (type === 'submit') live.news({ type: 'accepted', ...told, id: `v${order.id}` })
            else if (type === 'amend') live.news({ type: 'amended', ...told })
            else live.news({ type: 'canceled', order: order.id, timeVenue: clock.at, reason: 'user' })
          }
          i = end
        }
        // Nothing that a message led to had to wait for the next.
        expect(late).toBe(0)
        expect(flushed).toBeGreaterThan(100)
        const again = engineOf()
        for (const piece of kept)
          if ('news' in piece) again.engine.enter(piece.time, piece.news)
          else again.engine.run(piece)
        const [a, b] = [first, again].map(({ engine, run }) => run.record(header, engine.finish('over', true)))
        expect(b?.digest).toBe(a?.digest)
        expect(a?.end.orders).toBeGreaterThan(0)
      }),
      { numRuns: 20 },
    )
  })
})
function copyOf(b: Batch): Batch {
  const out = createBatch(b.length)
  for (let i = 0; i < b.length; i++)
    pushRow(
      out,
      b.time[i] as number,
      b.timeVenue[i] as number,
      b.market[i] as number,
      b.kind[i] as Kind,
      b.flags[i] as number,
      b.side[i] as number,
      b.price[i] as number,
      b.quantity[i] as number,
      b.details[b.detail[i] as number] ?? null,
    )
  return out
}

describe('a long time', () => {
  afterEach(() => vi.useRealTimers())
  it('of more than a timer can wait is waited for whole', () => {
    vi.useFakeTimers()
    const DAY = 86_400_000
    let called = 0
    afterLong(90 * DAY, () => called++)
    const canceled = afterLong(60 * DAY, () => (called += 100))
    afterLong(null, () => (called += 100))
    vi.advanceTimersByTime(50 * DAY)
    canceled.cancel()
    vi.advanceTimersByTime(40 * DAY - 1)
    expect(called).toBe(0)
    vi.advanceTimersByTime(1)
    expect(called).toBe(1)
    vi.advanceTimersByTime(200 * DAY)
    expect(called).toBe(1)
  })
})

describe('a journal whose sink is full', () => {
  it('keeps its block and offers it again: no row is lost, none twice, none beyond the end', () => {
    const out: number[] = []
    let full = false
    const journal = new Journal(new Strings(), {
      journal: (b: JournalTable) => {
        if (full) throw new Error('full')
        for (let i = 0; i < b.length; i++) out.push(b.time[i] as number)
      },
    })
    let n = 0
    const push = (): void => journal.push(n, JournalKind.STATE, -1, -1, -1, 0, -1, 0, 0, -1, 0, 0, 0)
    for (; n < 4_000; n++) push()
    full = true
    // The row that fills the block is in it; those after it are refused before they touch it.
    for (; n < 4_095; n++) push()
    expect(push).toThrow('full')
    n++
    for (let k = 0; k < 10; k++) expect(push).toThrow('full')
    expect(() => journal.flush()).toThrow('full')
    full = false
    for (; n < 10_000; n++) push()
    journal.flush()
    expect(out).toEqual(Array.from({ length: 10_000 }, (_, i) => i))
    expect(journal.rows).toBe(10_000)
  })
})
