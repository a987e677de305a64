import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Book } from '../../engine/book.ts'
import { gridOf } from '../../engine/grid.ts'
import type { GridBand } from '../../engine/message.ts'

const CENT: readonly GridBand[] = [{ start: 0, end: 10_000, step: 100 }]
const TAPERED: readonly GridBand[] = [
  { start: 0, end: 1_000, step: 10 },
  { start: 1_000, end: 9_000, step: 100 },
  { start: 9_000, end: 10_000, step: 10 },
]
const DECI: readonly GridBand[] = [{ start: 0, end: 10_000, step: 10 }]

/** The slow, obvious twin: prices in a map, best by search. */
class NaiveBook {
  readonly sides = [new Map<number, number>(), new Map<number, number>()] as const
  set(side: number, price: number, quantity: number): void {
    if (quantity === 0) this.sides[side as 0].delete(price)
    else this.sides[side as 0].set(price, quantity)
  }
  best(side: number): number | null {
    const prices = [...this.sides[side as 0].keys()]
    return prices.length === 0 ? null : side === 0 ? Math.max(...prices) : Math.min(...prices)
  }
}

const step = fc.record({
  op: fc.constantFrom('set', 'change', 'clear', 'regrid'),
  side: fc.constantFrom(0, 1),
  price: fc.integer({ min: 1, max: 9_999 }),
  quantity: fc.integer({ min: -300, max: 500 }),
})

describe('the book', () => {
  it('equals a naive one after any changes, and refuses what would make no book', () => {
    fc.assert(
      fc.property(fc.constantFrom(CENT, TAPERED, DECI), fc.array(step, { maxLength: 300 }), (bands, steps) => {
        const book = new Book(gridOf(bands))
        const naive = new NaiveBook()
        for (const { op, side, price, quantity } of steps) {
          const onGrid = (book.grid.indexOf[price] as number) >= 0
          if (op === 'clear' && quantity > 450) {
            book.clear()
            for (const s of naive.sides) s.clear()
          } else if (op === 'regrid' && quantity > 450) {
            // To a grid that has every price of the three.
            expect(book.regrid(gridOf(DECI))).toBe(true)
          } else if (op === 'set') {
            expect(book.set(side, price, quantity)).toBe(onGrid && quantity >= 0)
            if (onGrid && quantity >= 0) naive.set(side, price, quantity)
          } else if (op === 'change') {
            const next = (naive.sides[side as 0].get(price) ?? 0) + quantity
            expect(book.change(side, price, quantity)).toBe(onGrid && next >= 0)
            if (onGrid && next >= 0) naive.set(side, price, next)
          }
          expect(book.hasBid ? book.bid : null).toBe(naive.best(0))
          expect(book.hasAsk ? book.ask : null).toBe(naive.best(1))
          expect(book.at(side as 0, price)).toBe(naive.sides[side as 0].get(price) ?? 0)
        }
        expect(book.levels).toBe(naive.sides[0].size + naive.sides[1].size)
      }),
      { numRuns: 200 },
    )
  })

  it('snaps down to the grid like a search over its prices', () => {
    fc.assert(
      fc.property(fc.constantFrom(CENT, TAPERED, DECI), fc.double({ min: -50, max: 10_050, noNaN: true }), (bands, value) => {
        const grid = gridOf(bands)
        const below = [...grid.prices].filter((p) => p <= value)
        expect(grid.floorIndex(value)).toBe(below.length - 1)
      }),
    )
  })
})
