/**
 * Price grids: bands of start, end and step (api.md §3.6), turned into the dense index on which books are arrays.
 * Owns the map price ↔ index; hides that markets with the same bands share one grid. Invariant: indices ascend with
 * price, and 0 and one dollar are no order prices.
 */
import { assert } from './assert.ts'
import type { GridBand } from './message.ts'
import { PRICE_ONE, type Price } from './units.ts'

export class PriceGrid {
  /** Price of each index, ascending. */
  readonly prices: Int32Array
  /** Index of each price 0 … 10,000; −1 where the grid has none. */
  readonly indexOf: Int16Array
  readonly size: number
  readonly bands: readonly GridBand[]
  /** Index of the highest grid price ≤ each whole price. */
  readonly #floors = new Int16Array(PRICE_ONE + 1)

  constructor(bands: readonly GridBand[]) {
    this.bands = bands
    const on = new Uint8Array(PRICE_ONE + 1)
    for (const band of bands) {
      assert(
        Number.isInteger(band.start) &&
          Number.isInteger(band.end) &&
          Number.isInteger(band.step) &&
          band.step > 0 &&
          band.start >= 0 &&
          band.end <= PRICE_ONE &&
          band.start < band.end,
        'a grid band runs from start to a higher end between 0 and one dollar in positive steps',
      )
      for (let p = band.start; p <= band.end; p += band.step) on[p] = 1
    }
    // No order may stand at 0 or at one dollar: a contract at that price is no bet.
    on[0] = 0
    on[PRICE_ONE] = 0
    let size = 0
    for (const bit of on) size += bit
    this.prices = new Int32Array(size)
    this.indexOf = new Int16Array(PRICE_ONE + 1).fill(-1)
    let i = 0
    for (let p = 0; p <= PRICE_ONE; p++) {
      if (on[p] !== 1) continue
      this.prices[i] = p
      this.indexOf[p] = i++
    }
    this.size = size
    let floor = -1
    for (let p = 0; p <= PRICE_ONE; p++) {
      if (on[p] === 1) floor++
      this.#floors[p] = floor
    }
    assert(size > 0, 'a grid has at least one price')
  }

  priceAt(index: number): Price {
    const p = this.prices[index]
    assert(p !== undefined, 'a grid index lies on the grid')
    return p as Price
  }

  /** Index of the highest grid price ≤ `value` (any float), or −1. */
  floorIndex(value: number): number {
    if (!(value >= 0)) return -1
    return this.#floors[value >= PRICE_ONE ? PRICE_ONE : Math.floor(value)] as number
  }
}

const grids = new Map<string, PriceGrid>()

/** The grid of these bands; equal bands share one object. */
export function gridOf(bands: readonly GridBand[]): PriceGrid {
  let key = ''
  for (const band of bands) key += `${band.start}-${band.end}/${band.step};`
  let grid = grids.get(key)
  if (grid === undefined) {
    grid = new PriceGrid(bands)
    grids.set(key, grid)
  }
  return grid
}
