import { describe, expect, it } from 'vitest'
import { Cuts } from '../../cli/cuts.ts'
import { bounded, TimeoutError } from '../../cli/turn.ts'
import { batchesOf, randomTape } from '../support/rows.ts'

describe('a turn', () => {
  it('gives back what the call gave, error and stack included, and ends what does not end', () => {
    expect(bounded(() => 42, 1000)).toBe(42)
    const error = new RangeError('own')
    const { stack } = error
    expect(() =>
      bounded(() => {
        throw error
      }, 1000),
    ).toThrow(error)
    expect(error.stack).toBe(stack)
    const started = performance.now()
    let caught = 0
    expect(() =>
      bounded(() => {
        for (;;) {
          try {
            for (;;);
          } catch {
            caught++
          }
        }
      }, 200),
    ).toThrow(TimeoutError)
    expect(caught).toBe(0)
    expect(performance.now() - started).toBeLessThan(20_000)
    expect(bounded(() => 'works after that', 1000)).toBe('works after that')
  })
})

describe('the cuts of a batch', () => {
  it('keep every row, start small, grow while pieces are quick and shrink when one is slow', () => {
    const tape = randomTape({ seed: 4, rows: 3000 })
    const cuts = new Cuts()
    const lengths: number[] = []
    const times: number[] = []
    for (const batch of batchesOf(tape.rows, 2000)) {
      for (const piece of cuts.of(batch)) {
        lengths.push(piece.length)
        times.push(...piece.time.subarray(0, piece.length))
        expect(piece.details).toBe(batch.details)
        const until = performance.now() + (lengths.length === 4 ? 600 : 0)
        while (performance.now() < until);
      }
    }
    expect(times).toEqual(tape.rows.map((r) => r.time))
    expect(lengths.slice(0, 4)).toEqual([64, 128, 256, 512])
    expect(lengths[4]).toBe(256)
  })
})
