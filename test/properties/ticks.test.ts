import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Batch } from '../../engine/message.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { MILLISECOND, SECOND } from '../../engine/units.ts'
import { lean } from '../../strategies/lean.ts'
import { meanReversion } from '../../strategies/mean-reversion.ts'
import { integer, random } from '../support/random.ts'
import { batchesOf, randomTape, withExternals, type Row } from '../support/rows.ts'
import { header, runSession } from '../support/session.ts'

/** Wakes itself at odd moments between the rows and then trades. */
function restless(seed: number): Strategy {
  const next = random(seed)
  return {
    name: 'restless',
    parameters: { seed },
    onStart(desk) {
      desk.wake(desk.now + 1)
    },
    onBook(book, desk) {
      if (next() < 0.1) desk.wake(desk.now + integer(next, 0, 400) * MILLISECOND)
      if (book.twoSided && next() < 0.2) desk.quote(book.market, { side: 'bid', price: book.bid, size: integer(next, 1, 9), why: 'rest' })
    },
    onWake(desk) {
      if (next() < 0.7) desk.wake(desk.now + integer(next, 1, 300) * MILLISECOND)
    },
  }
}

/** Rows with time passing between them: up to a few ticks before each later time, the last µs before it among them. */
function* ticked(rows: readonly Row[], seed: number): IterableIterator<Batch | number> {
  const next = random(seed)
  for (let i = 0; i < rows.length; ) {
    let end = i + 1
    while (end < rows.length && (rows[end] as Row).time === (rows[i] as Row).time) end++
    // The rows of one instant may come in two batches; a tick at its own time changes nothing there.
    const middle = integer(next, i + 1, end)
    yield* batchesOf(rows.slice(i, middle), 1000)
    const time = (rows[i] as Row).time
    if (next() < 0.3) yield time
    if (middle < end) yield* batchesOf(rows.slice(middle, end), 1000)
    const later = end < rows.length ? (rows[end] as Row).time : time
    let tick = time
    while (tick < later - 1 && next() < 0.6) {
      tick = next() < 0.2 ? later - 1 : integer(next, tick + 1, later - 1)
      yield tick
    }
    i = end
  }
}

describe('time that passes without rows', () => {
  for (const mode of ['backtest', 'paper'] as const) {
    it(`changes no byte of a ${mode} session: with any ticks between its rows it has the same journal and samples`, () => {
      let [fills, ticks] = [0, 0]
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 1e6 }), fc.boolean(), (seed, gaps) => {
          const tape = randomTape({ seed, rows: 2500, markets: 3, settle: seed % 2 === 0, gaps })
          const rows = withExternals(tape.rows, seed)
          const strategies = () => [lean({ size: 10, edge: 1 }), meanReversion({ window: 20, minimum: 5, threshold: 1.2 }), restless(seed)]
          const limits = { ...LIMITS_DEFAULT, silenceMax: SECOND / 2, orderAgeMax: 2 * SECOND }
          const more = { mode, limits, tape: { ...header().tape, lagMax: 200_000 } }
          const plain = runSession(batchesOf(rows, 100), strategies(), more)
          const given = [...ticked(rows, seed + 1)]
          const run = runSession(given, strategies(), more)
          expect(run.text).toEqual(plain.text)
          expect(run.samples).toEqual(plain.samples)
          expect(run.end).toEqual(plain.end)
          fills += plain.end.fills
          ticks += given.filter((g) => typeof g === 'number').length
        }),
        { numRuns: 15 },
      )
      expect(fills).toBeGreaterThan(50)
      expect(ticks).toBeGreaterThan(10_000)
    })
  }

  it('is told once: a row that is not later than the time that has passed is refused', () => {
    const tape = randomTape({ seed: 3, rows: 50, markets: 1 })
    const last = tape.rows.at(-1)?.time as number
    expect(() => runSession([last + 1, ...batchesOf(tape.rows, 10)], [lean()])).toThrow(/after the time that has passed/)
  })
})
