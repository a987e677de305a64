import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lean } from '../../strategies/lean.ts'
import { meanReversion } from '../../strategies/mean-reversion.ts'
import type { SessionHeader } from '../../engine/session.ts'
import { favorite } from '../../strategies/favorite.ts'
import { parity } from '../../strategies/parity.ts'
import { spotLag } from '../../strategies/spot-lag.ts'
import { batchesOf, printsOf, quotesOf, randomTape, withExternals, type Row } from '../support/rows.ts'
import { header, runSession } from '../support/session.ts'

const strategies = () => [lean({ size: 10, edge: 1 }), meanReversion({ window: 20, minimum: 5, threshold: 1.5 })]

describe('the determinism contract', () => {
  it('gives the same journal and samples for batches of 1, 64, 997 and 4096 rows', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), (seed) => {
        const tape = randomTape({ seed, rows: 6000, markets: 3, settle: true, gaps: true })
        const runs = [1, 64, 997, 4096].map((size) => runSession(batchesOf(tape.rows, size), strategies()))
        for (const run of runs) {
          expect(run.text).toEqual(runs[0]?.text)
          expect(run.samples).toEqual(runs[0]?.samples)
          expect(run.end).toEqual(runs[0]?.end)
        }
        expect(runs[0]?.end.orders).toBeGreaterThan(0)
      }),
      { numRuns: 8 },
    )
  })

  // Every kind of tape that the engine takes, with an outside series among its rows.
  const kinds = {
    books: { of: (rows: Row[]) => rows, depth: 'book', fills: 'queue' },
    quotes: { of: quotesOf, depth: 'quotes', fills: 'quotes' },
    trades: { of: printsOf, depth: 'prints', fills: 'prints' },
  } as const
  const everything = () => [
    ...strategies(),
    favorite({ from: 20, to: 80, size: 5 }),
    parity({ edge: 0, size: 5, exhaustive: 'KXTEST-E:2' }),
    spotLag({ window: 10, threshold: 0.5, size: 5 }),
  ]
  for (const [name, { of, depth, fills }] of Object.entries(kinds)) {
    const sessionOn = (rows: Row[], size: number) => {
      const more: Partial<SessionHeader> = { tape: { ...header().tape, depth } }
      return runSession(batchesOf(rows, size), everything(), more, fills)
    }

    it(`does not look ahead on a tape of ${name} and outside series: a tape cut at any time gives the same journal up to then`, () => {
      let orders = 0
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 1e6 }), fc.double({ min: 0.05, max: 0.95, noNaN: true }), (seed, share) => {
          const tape = randomTape({ seed, rows: 4000, markets: 2, settle: true, gaps: true, exclusive: seed % 2 === 0 })
          const rows = withExternals(of(tape.rows), seed)
          const cutTime = rows[Math.floor(rows.length * share)]?.time ?? 0
          const whole = sessionOn(rows, 500)
          const cut = sessionOn(
            rows.filter((r) => r.time <= cutTime),
            500,
          )
          const until = (lines: typeof whole.lines) => lines.filter((l) => l.time < cutTime)
          expect(until(cut.lines)).toEqual(until(whole.lines))
          orders += whole.end.orders
        }),
        { numRuns: 15 },
      )
      expect(orders).toBeGreaterThan(0)
    })

    it(`gives the same bytes for any batch size on a tape of ${name}`, () => {
      const tape = randomTape({ seed: 11, rows: 6000, markets: 3, settle: true, exclusive: true })
      const rows = withExternals(of(tape.rows), 3)
      const runs = [1, 64, 997, 4096].map((size) => sessionOn(rows, size))
      for (const run of runs) expect([run.text, run.samples, run.end]).toEqual([runs[0]?.text, runs[0]?.samples, runs[0]?.end])
    })
  }

  it('is blind to markets that the strategy does not look at', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), (seed) => {
        const one = randomTape({ seed, rows: 3000, markets: 1, settle: true })
        const other = randomTape({ seed: seed + 1, rows: 3000, markets: 2 })
        // Twenty times further apart in number, and other tickers: nothing but company.
        const company = other.rows.map((r) => ({ ...r, market: r.market + 7, detail: r.detail?.replaceAll('KXTEST', 'KXOTHER') ?? null }))
        const both = [...one.rows, ...company].sort((a, b) => a.time - b.time || a.market - b.market)
        const only = () => {
          const inner = lean()
          return {
            ...inner,
            onBook: (book: Parameters<NonNullable<typeof inner.onBook>>[0], desk: Parameters<NonNullable<typeof inner.onBook>>[1]) =>
              book.market.ticker.startsWith('KXTEST') ? inner.onBook?.(book, desk) : undefined,
          }
        }
        const alone = runSession(batchesOf(one.rows, 777), [only()])
        const mixed = runSession(batchesOf(both, 777), [only()])
        const own = (r: typeof alone) => r.lines.filter((l) => l.market.startsWith('KXTEST'))
        expect(own(mixed)).toEqual(own(alone))
        expect(mixed.end.equity).toBe(alone.end.equity)
      }),
      { numRuns: 10 },
    )
  })

  it('does not depend on the order in which markets are numbered', () => {
    const tape = randomTape({ seed: 5, rows: 5000, markets: 4, settle: true })
    const shuffled = tape.rows.map((r) => ({ ...r, market: r.market < 0 ? r.market : ([2, 3, 1, 0][r.market] as number) }))
    expect(runSession(batchesOf(shuffled, 512), strategies()).text).toEqual(runSession(batchesOf(tape.rows, 512), strategies()).text)
  })
})
