import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Flag, Kind, Label, labelOf } from '../../engine/message.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import type { FillModelName } from '../../engine/session.ts'
import type { MarketView, Strategy } from '../../engine/strategy.ts'
import { BID } from '../../engine/units.ts'
import { lean } from '../../strategies/lean.ts'
import { meanReversion } from '../../strategies/mean-reversion.ts'
import { integer, random } from '../support/random.ts'
import { batchesOf, randomTape, type Row } from '../support/rows.ts'
import { runSession, type Line } from '../support/session.ts'

const busy = (): Strategy[] => [lean({ size: 10, edge: 1 }), meanReversion({ window: 20, minimum: 5, threshold: 1.2, size: 20 })]

/** A strategy that asks for anything, anywhere, at random: hard on every limit and every race. */
function wild(seed: number): Strategy {
  const next = random(seed)
  return {
    name: 'wild',
    parameters: { seed },
    onBook(book, desk) {
      if (!book.twoSided || next() < 0.5) return
      const side = next() < 0.5 ? 'bid' : 'ask'
      const touch = side === 'bid' ? book.bid : book.ask
      const price = desk.snap(book.market, side, touch + integer(next, -600, 600))
      const u = next()
      if (u < 0.6) desk.quote(book.market, { side, price, size: integer(next, 1, 4000) / 100, why: 'wild' })
      else if (u < 0.85) desk.take(book.market, { side, limit: price, size: integer(next, 1, 4000) / 100, why: 'wild' })
      else if (u < 0.93) {
        const other = [...desk.siblings(book.market)].find((m) => desk.book(m)?.twoSided === true)
        const there = other === undefined ? null : desk.book(other)
        if (there !== null)
          desk.basket({
            legs: [
              { market: book.market, side, limit: price },
              { market: there.market, side, limit: side === 'bid' ? there.ask : there.bid },
            ],
            size: integer(next, 1, 4000) / 100,
            missing: (['hold', 'unwind', 'complete'] as const)[integer(next, 0, 2)] as 'hold',
            costMax: 0.02,
            why: 'wild basket',
          })
      } else desk.pull(book.market, side)
    },
  }
}

const tapes = fc.record({ seed: fc.integer({ min: 1, max: 1e6 }), exclusive: fc.boolean(), gaps: fc.boolean() })

describe('a session conserves', () => {
  it('money: cash, collateral and positions are exactly what the fills and settlements made of the start', () => {
    fc.assert(
      fc.property(tapes, fc.constantFrom<FillModelName>('strict', 'queue', 'touch'), ({ seed, exclusive, gaps }, model) => {
        const tape = randomTape({ seed, rows: 4000, markets: 3, exclusive, gaps, settle: seed % 2 === 0 })
        const run = runSession(batchesOf(tape.rows, 997), [...busy(), wild(seed)], {}, model)
        // An independent ledger from the journal alone, and one for each strategy.
        let cash = 10_000_000_000n
        const own = new Map<string, { cash: bigint; positions: Map<string, bigint> }>()
        for (const { name } of run.end.owners) own.set(name, { cash: 0n, positions: new Map() })
        const positions = new Map<string, bigint>()
        for (const l of run.lines) {
          if (l.kind === 'fill') {
            const signed = BigInt(l.side === BID ? l.quantity : -l.quantity)
            cash -= signed * BigInt(l.price) + BigInt(l.a)
            positions.set(l.market, (positions.get(l.market) ?? 0n) + signed)
            const ledger = own.get(l.owner)
            if (ledger === undefined) throw new Error(`a fill of nobody: ${l.owner}`)
            ledger.cash -= signed * BigInt(l.price) + BigInt(l.a)
            ledger.positions.set(l.market, (ledger.positions.get(l.market) ?? 0n) + signed)
          } else if (l.kind === 'settlement' && l.what === 'paid') {
            cash += (positions.get(l.market) ?? 0n) * BigInt(l.price)
            positions.set(l.market, 0n)
            for (const ledger of own.values()) {
              ledger.cash += (ledger.positions.get(l.market) ?? 0n) * BigInt(l.price)
              ledger.positions.set(l.market, 0n)
            }
          }
        }
        for (const { name, pnl, openValue } of run.end.owners) expect(BigInt(pnl - openValue)).toBe(own.get(name)?.cash)
        expect(run.end.owners.reduce((a, o) => a + o.pnl, 0)).toBe(run.end.equity - 10_000_000_000)
        let locked = 0n
        for (const p of positions.values()) if (p < 0n) locked -= p * 10_000n
        expect(BigInt(run.end.cash)).toBe(cash - locked)
        expect(BigInt(run.end.locked)).toBe(locked)
        for (const m of run.end.markets) expect(BigInt(m.position)).toBe(positions.get(m.ticker) ?? 0n)
        expect(run.end.markets.reduce((a, m) => a + m.pnl, 0)).toBe(run.end.equity - 10_000_000_000)
        expect(run.end.fees).toBe(run.fills.reduce((a, f) => a + f.a, 0))
      }),
      { numRuns: 25 },
    )
  })

  it('limits: no position, market, event or session ever loses more than its limit, whatever is asked', () => {
    fc.assert(
      fc.property(tapes, ({ seed, exclusive, gaps }) => {
        const limits = {
          ...LIMITS_DEFAULT,
          positionMax: 60 * 100,
          marketLossMax: 20_000_000,
          eventLossMax: 30_000_000,
          sessionLossMax: 45_000_000,
          ordersOpenMax: 6,
        }
        const tape = randomTape({ seed, rows: 4000, markets: 4, exclusive, gaps, settle: true })
        const run = runSession(batchesOf(tape.rows, 997), [wild(seed), wild(seed + 1)], { limits })
        const flows = new Map<string, { position: number; cash: number }>()
        const worst = (m: { position: number; cash: number }): [number, number] => [-m.cash, -(m.cash + m.position * 10_000)]
        for (const f of run.fills) {
          const m = flows.get(f.market) ?? { position: 0, cash: 0 }
          flows.set(f.market, m)
          const signed = f.side === BID ? f.quantity : -f.quantity
          m.position += signed
          m.cash -= signed * f.price + f.a
          expect(Math.abs(m.position)).toBeLessThanOrEqual(limits.positionMax)
          const [no, yes] = worst(m)
          expect(Math.max(no, yes)).toBeLessThanOrEqual(limits.marketLossMax)
          const all = [...flows.values()].map(worst)
          if (exclusive) {
            const none = all.reduce((a, [n]) => a + n, 0)
            const outcomes = all.map(([n, y]) => none - n + y)
            expect(Math.max(none, ...outcomes)).toBeLessThanOrEqual(limits.eventLossMax)
          } else expect(all.reduce((a, [n, y]) => a + Math.max(n, y), 0)).toBeLessThanOrEqual(limits.sessionLossMax)
        }
      }),
      // The seed: an order filled at its old price while the amend that adds to it at another was on its way.
      { numRuns: 25, examples: [[{ seed: 925_095, exclusive: true, gaps: true }]] },
    )
  })
})

/** Volume that a tape offered: executed at a price or through it, and displayed to a taker. */
function offered(rows: readonly Row[], market: number): { executed: number } {
  let executed = 0
  for (const r of rows) {
    if (r.market !== market || (r.flags & Flag.EXECUTION) === 0) continue
    if (r.kind === Kind.TRADE || (r.kind === Kind.DELTA && labelOf(r.flags) === Label.TRADE)) executed += Math.abs(r.quantity)
  }
  return { executed }
}

describe('fills', () => {
  it('of makers never exceed the traded volume under strict; none comes from a close wipe or outside sync', () => {
    fc.assert(
      fc.property(tapes, ({ seed, gaps }) => {
        const tape = randomTape({ seed, rows: 5000, markets: 2, gaps, settle: true })
        const run = runSession(batchesOf(tape.rows, 997), [lean(), wild(seed)], {}, 'strict')
        tape.tickers.forEach((ticker, m) => {
          const makers = run.fills.filter((f) => f.market === ticker && f.what === 'maker').reduce((a, f) => a + f.quantity, 0)
          expect(makers).toBeLessThanOrEqual(offered(tape.rows, m).executed)
          const closed =
            tape.rows.find((r) => r.market === m && r.kind === Kind.STATUS && r.detail?.includes('closed'))?.timeVenue ?? Infinity
          for (const f of run.fills) if (f.market === ticker) expect(f.b).toBeLessThanOrEqual(closed)
        })
      }),
      { numRuns: 20 },
    )
  })

  it('come no earlier than their cause: the order was decided, sent and arrived before, and its answer took its time', () => {
    fc.assert(
      fc.property(tapes, fc.integer({ min: 1, max: 200_000 }), fc.integer({ min: 1, max: 200_000 }), ({ seed }, place, answer) => {
        const tape = randomTape({ seed, rows: 4000, markets: 2, settle: true })
        const run = runSession(batchesOf(tape.rows, 997), [lean(), meanReversion({ window: 20, minimum: 5, threshold: 1 })], {
          delays: { place, cancel: place, amend: place, answer },
        })
        const sent = new Map<number, Line>()
        for (const l of run.lines) {
          if (l.kind === 'command' && l.what.startsWith('submit')) {
            expect(l.a).toBeGreaterThanOrEqual(l.time + place)
            sent.set(l.order, l)
          } else if (l.kind === 'fill') {
            const command = sent.get(l.order)
            expect(l.b).toBeGreaterThanOrEqual(command?.a ?? Infinity)
            expect(l.time).toBeGreaterThanOrEqual(l.b + answer)
          }
        }
      }),
      { numRuns: 15 },
    )
  })

  it('are never fewer under a more generous model: strict ≤ queue ≤ touch, order by order, for a fixed schedule of plain orders', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), (seed) => {
        const tape = randomTape({ seed, rows: 4000, markets: 2 })
        // Resting orders at fixed times and prices, each left alone: what they fill depends on the model only.
        const schedule = (): Strategy => {
          const next = random(seed)
          const quoted = new Set<MarketView>()
          let calls = 0
          return {
            name: 'schedule',
            parameters: {},
            onBook(book, desk) {
              if (++calls % 40 !== 0 || !book.twoSided || quoted.has(book.market)) return
              quoted.add(book.market)
              desk.quote(book.market, {
                side: 'bid',
                price: book.step(book.bid, -integer(next, 0, 2)),
                size: integer(next, 1, 60),
                why: 'plain',
              })
              desk.quote(book.market, {
                side: 'ask',
                price: book.step(book.ask, integer(next, 0, 2)),
                size: integer(next, 1, 60),
                why: 'plain',
              })
            },
          }
        }
        const filled = (['strict', 'queue', 'touch'] as const).map((model) => {
          const byOrder = new Map<number, number>()
          for (const f of runSession(batchesOf(tape.rows, 997), [schedule()], {}, model).fills)
            byOrder.set(f.order, (byOrder.get(f.order) ?? 0) + f.quantity)
          return byOrder
        })
        for (let order = 0; order < 4; order++) {
          const [strict = 0, queue = 0, touch = 0] = filled.map((m) => m.get(order) ?? 0)
          expect(strict).toBeLessThanOrEqual(queue)
          expect(queue).toBeLessThanOrEqual(touch)
        }
      }),
      { numRuns: 60 },
    )
  })
})
