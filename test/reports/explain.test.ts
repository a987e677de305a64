import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { Run } from '../../data/run.ts'
import { Engine } from '../../engine/engine.ts'
import { JOURNAL_KIND_NAMES, JournalKind } from '../../engine/journal.ts'
import { LIMITS_DEFAULT, REFUSALS } from '../../engine/risk.ts'
import type { SessionRecord } from '../../engine/session.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { explainOrder } from '../../reports/explain.ts'
import { funnelOf, type Funnel } from '../../reports/funnel.ts'
import { buildReport } from '../../reports/index.ts'
import { explainMarket, explainMoment, marketsOf } from '../../reports/moment.ts'
import { ordersOf } from '../../reports/orders.ts'
import { remedyOf } from '../../reports/remedies.ts'
import { wishesOf } from '../../reports/wishes.ts'
import { lean } from '../../strategies/lean.ts'
import { meanReversion } from '../../strategies/mean-reversion.ts'
import { integer, random } from '../support/random.ts'
import { batchesOf, randomTape, type Row } from '../support/rows.ts'
import { header } from '../support/session.ts'

function record(rows: readonly Row[], strategies: readonly Strategy[], more: Parameters<typeof header>[0] = {}): SessionRecord {
  const h = header({ strategies: strategies.map((s) => ({ name: s.name, parameters: s.parameters })), ...more })
  const run = new Run()
  const engine = new Engine({ header: h, strategies, venue: new SimulatedVenue(h.fills, h.delays, h.tape.lagMax), sink: run })
  for (const batch of batchesOf(rows, 997)) engine.run(batch)
  return run.record(h, engine.finish('end of tape', true))
}

/** Asks for anything, anywhere: every gate, race and answer comes up. */
function wild(seed: number): Strategy {
  const next = random(seed)
  return {
    name: 'wild',
    parameters: { seed },
    onBook(book, desk) {
      if (!book.twoSided || next() < 0.4) return
      const side = next() < 0.5 ? 'bid' : 'ask'
      const price = desk.snap(book.market, side, (side === 'bid' ? book.bid : book.ask) + integer(next, -1500, 1500))
      const u = next()
      const size = integer(next, 1, 12_000) / 100
      if (u < 0.6) desk.quote(book.market, { side, price, size, positionMax: 80, why: u < 0.3 ? 'one' : 'two', value: u })
      else if (u < 0.85) desk.take(book.market, { side, limit: price, size, positionMax: 50, why: 'now' })
      else desk.pull(book.market, side)
    },
  }
}
const sessions = fc
  .record({ seed: fc.integer({ min: 1, max: 1e6 }), exclusive: fc.boolean(), gaps: fc.boolean() })
  .map(({ seed, exclusive, gaps }) =>
    record(
      randomTape({ seed, rows: 3000, markets: 3, exclusive, gaps, settle: seed % 3 !== 0 }).rows,
      [lean({ size: 20 }), meanReversion({ window: 20, minimum: 5, threshold: 1.2, size: 30 }), wild(seed)],
      { limits: { ...LIMITS_DEFAULT, marketLossMax: 30_000_000, ordersOpenMax: 5, positionMax: 9000 } },
    ),
  )

describe('the funnel', () => {
  it('counts what an independent count over the journal counts, and loses nothing without saying so', () => {
    fc.assert(
      fc.property(sessions, (r) => {
        const { journal: j, strings, end } = r
        const at = (i: number) => ({
          kind: JOURNAL_KIND_NAMES[j.kind[i] as number],
          what: strings[j.what[i] as number] ?? '',
          order: j.order[i] as number,
          market: strings[j.market[i] as number] ?? '',
        })
        const rows = Array.from({ length: j.length }, (_, i) => at(i))
        const f = funnelOf(r)
        const step = (id: string): Funnel['steps'][number] => f.steps.find((s) => s.id === id) as Funnel['steps'][number]
        const signals = rows.filter((x) => x.kind === 'signal')
        const wishes = signals.filter((x) => x.what !== 'pull')
        expect(signals).toHaveLength(end.signals)
        expect(step('wishes').count).toBe(wishes.length)
        expect(f.pulls).toBe(signals.length - wishes.length)
        expect(step('asked').count).toBe(new Set(wishes.map((x) => x.market)).size)
        expect(step('orders').count).toBe(rows.filter((x) => x.kind === 'command' && x.what.startsWith('submit')).length)
        expect(f.commands.reduce((a, c) => a + c.count, 0)).toBe(rows.filter((x) => x.kind === 'command').length)
        const accepted = new Set(rows.filter((x) => x.kind === 'answer' && x.what === 'accepted').map((x) => x.order))
        expect(step('accepted').count).toBe(accepted.size)
        const filled = new Set(rows.filter((x) => x.kind === 'fill').map((x) => x.order))
        expect(step('filled').count).toBe(filled.size)
        expect(step('fills').count).toBe(rows.filter((x) => x.kind === 'fill').length)
        expect(f.orderEnds.reduce((a, e) => a + e.count, 0)).toBe(accepted.size - filled.size)
        expect(f.rejections.reduce((a, e) => a + e.count, 0)).toBe(rows.filter((x) => x.what.startsWith('rejected:')).length)
        const traded = new Set(rows.filter((x) => x.kind === 'fill').map((x) => x.market))
        expect(step('traded').count).toBe(traded.size)
        expect(step('paid').count).toBe([...traded].filter((m) => rows.some((x) => x.market === m && x.what === 'paid')).length)
        // Refusals: all of them, in the order in which risk asks; a gate never ended more wishes than it refused.
        expect(Object.fromEntries(f.gates.map((g) => [g.reason, g.times]))).toEqual(end.refusals)
        const places = f.gates.map((g) => (REFUSALS as readonly string[]).indexOf(g.reason))
        expect(places).toEqual([...places].sort((a, b) => a - b))
        expect(places).not.toContain(-1)
        for (const g of f.gates) expect(g.wishes).toBeLessThanOrEqual(g.times)
        // Fates: each wish has one, and the signals by strategy and label add up to them.
        const sum = (key: 'wishes' | 'sent' | 'refused' | 'replaced'): number => f.signals.reduce((a, s) => a + s[key], 0)
        expect(sum('wishes')).toBe(wishes.length)
        expect(sum('sent') + sum('refused') + sum('replaced')).toBe(wishes.length)
        expect(sum('sent')).toBe(step('sent').count)
        expect(f.gates.reduce((a, g) => a + g.wishes, 0)).toBe(sum('refused'))
        // Every command but a cancel came of a wish at its price and side.
        const { all, byCommand } = wishesOf(r)
        // Every refusal is told of one wish, and of the right one: quotes and takes have labels of their own here.
        expect(all.flatMap((w) => w.refusals).sort((a, b) => a - b)).toEqual(rows.flatMap((x, i) => (x.kind === 'refusal' ? [i] : [])))
        for (const w of all)
          for (const i of w.refusals) {
            expect([j.market[i], j.owner[i], j.side[i], j.price[i], j.quantity[i]]).toEqual([
              w.market,
              w.owner,
              w.side,
              w.price,
              j.quantity[w.row],
            ])
            expect(['now', 'z below', 'z above'].includes(strings[j.why[i] as number] ?? '')).toBe(w.kind === 'take')
          }
        rows.forEach((x, i) => {
          if (x.kind !== 'command' || x.what === 'cancel') return
          const w = byCommand.get(i)
          expect(w).toBeDefined()
          expect([w?.price, w?.side, strings[w?.market ?? -1]]).toEqual([j.price[i], j.side[i], x.market])
        })
        for (const s of f.steps) {
          expect(s.lost).toBe(s.of === null ? 0 : s.of - s.count)
          expect(s.why !== null && s.why !== '').toBe(s.lost > 0)
        }
      }),
      { numRuns: 25 },
    )
  })

  const tape = randomTape({ seed: 21, rows: 4000, markets: 3, settle: true }).rows
  it('answers "why no trades?" at the step where it ended, with what would change it', () => {
    const idle: Strategy = { name: 'idle', parameters: {} }
    expect(funnelOf(record(tape, [idle])).verdict).toMatch(/No fills: .*markets with a wish.*never asked for anything/)
    expect(funnelOf(record([], [idle])).verdict).toMatch(/nothing was recorded/)
    const selection = { markets: null, series: null, from: null, to: null, warmup: 1e15 }
    expect(funnelOf(record(tape, [lean()], { selection })).verdict).toMatch(/refused for warmup.*a shorter --warmup would change it/)
    const limits = { ...LIMITS_DEFAULT, orderMax: 100 }
    expect(funnelOf(record(tape, [lean()], { limits })).verdict).toMatch(/order-size.*\(1 contract\).*orderContracts/)
    const oneSided = tape.filter((x) => x.side === 0 || x.kind >= 6)
    expect(
      funnelOf(
        record(
          oneSided.map((x) => ({ ...x, flags: x.flags | 1 })).filter((x) => x.kind >= 6 || x.kind === 0),
          [lean()],
        ),
      ).verdict,
    ).toMatch(/a bid and an ask at the same time/)
    for (const reason of REFUSALS) expect(remedyOf(reason, header()).meaning).not.toMatch(/^risk said/)
    const page = buildReport(record(tape, [idle])).html
    expect(page).toMatch(/From rows to fills/)
  })

  it('says what does not apply to a tape without books', () => {
    const base = header().tape
    for (const [depth, word] of [
      ['prints', 'trades-only'],
      ['quotes', 'best-prices'],
    ] as const) {
      const f = funnelOf(record(tape, [lean()], { tape: { ...base, depth } }))
      expect(f.steps.find((s) => s.id === 'synced')?.notApplicable).toBe(`not applicable (${word} tape)`)
    }
  })
})

describe('the life of an order', () => {
  it('tells every row of the journal that names the order exactly once, for every order of a run', () => {
    fc.assert(
      fc.property(sessions, (r) => {
        const { journal: j } = r
        const orders = ordersOf(r)
        expect(orders.map((o) => o.order)).toEqual(Array.from({ length: r.end.orders }, (_, i) => i))
        for (const o of orders) {
          const story = explainOrder(r, o.order)
          const told = story?.events.map((e) => e.row).filter((row) => row !== null) ?? []
          expect(new Set(told).size).toBe(told.length)
          const own = Array.from({ length: j.length }, (_, i) => i).filter((i) => j.order[i] === o.order)
          expect(told.filter((row) => j.order[row] === o.order)).toEqual(own)
          // Other rows are the wishes and refusals of the same market and strategy, none of them another order's.
          for (const row of told) {
            expect(j.market[row]).toBe(j.market[own[0] as number])
            expect(j.owner[row]).toBe(j.owner[own[0] as number])
            if (j.order[row] === -1) expect([JournalKind.SIGNAL, JournalKind.REFUSAL]).toContain(j.kind[row])
          }
          expect(story?.events.some((e) => e.kind === 'wished')).toBe(true)
          const fills = own.filter((i) => j.kind[i] === JournalKind.FILL)
          expect([o.fills, o.filled, o.fees]).toEqual([
            fills.length,
            fills.reduce((a, i) => a + (j.quantity[i] as number), 0),
            fills.reduce((a, i) => a + (j.a[i] as number), 0),
          ])
          expect(o.filled).toBeLessThanOrEqual(o.quantity)
          expect(o.state === 'filled').toBe(o.fills > 0 && o.state !== 'canceled' && o.ended !== null)
        }
        expect(explainOrder(r, r.end.orders)).toBeNull()
      }),
      { numRuns: 4 },
    )
  })

  it('and a moment has the state that the rows up to it made', () => {
    fc.assert(
      fc.property(sessions, fc.double({ min: 0, max: 1, noNaN: true }), (r, share) => {
        const { journal: j, strings } = r
        const row = Math.floor(share * (j.length - 1))
        const time = j.time[row] as number
        for (const market of marketsOf(r)) {
          const m = explainMoment(r, market, time, 2e6)
          const id = strings.indexOf(market)
          let position = 0
          let paid = false
          for (let i = 0; i < j.length && (j.time[i] as number) <= time; i++) {
            if (j.market[i] !== id) continue
            if (j.kind[i] === JournalKind.FILL) position += (j.side[i] === 0 ? 1 : -1) * (j.quantity[i] as number)
            if (strings[j.what[i] as number] === 'paid') paid = true
          }
          expect(m.positions.reduce((a, p) => a + p.position, 0)).toBe(paid ? 0 : position)
          const inside = Array.from({ length: j.length }, (_, i) => i).filter(
            (i) => j.market[i] === id && Math.abs((j.time[i] as number) - time) <= 2e6,
          )
          expect(m.events.filter((e) => e.row !== null && j.market[e.row] === id).map((e) => e.row)).toEqual(inside)
          expect(explainMarket(r, market)?.orders).toEqual(ordersOf(r).filter((o) => o.market === market))
        }
        // At the end nothing of ours stands in a market that has paid.
        for (const m of r.end.markets) if (m.paid) expect(explainMoment(r, m.ticker, Number.MAX_SAFE_INTEGER, 0).working).toEqual([])
      }),
      { numRuns: 15 },
    )
  })
})
