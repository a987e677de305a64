/**
 * The order book of one market: quantity by price, two flat arrays on the market's own grid.
 *
 * ```
 *   index   0    1    2    3    4    5   …      bids[i], asks[i]: quantity at grid.prices[i]
 *   bids   120   40   15    0    0    0         bestBid = 2  (−1: no bid)
 *   asks     0    0    0    0   30   80         bestAsk = 4  (size: no ask)
 * ```
 *
 * Owns quantities and best prices; hides the arrays' allocation (at the first level). Invariant: no quantity is negative,
 * and best indices point at the outermost non-zero level.
 */
import { assert } from './assert.ts'
import type { PriceGrid } from './grid.ts'
import { BID, type Price, type Quantity, type SideCode } from './units.ts'

const NONE = new Float64Array(0)

export class Book {
  grid: PriceGrid
  bids: Float64Array = NONE
  asks: Float64Array = NONE
  /** Index of the best bid, −1 for none. */
  bestBid = -1
  /** Index of the best ask, `grid.size` for none. */
  bestAsk: number

  constructor(grid: PriceGrid) {
    this.grid = grid
    this.bestAsk = grid.size
  }

  /** A level becomes `quantity`. False when the price is off the grid or the quantity negative: the caller unsyncs the market. */
  set(side: number, price: number, quantity: number): boolean {
    const i = this.grid.indexOf[price]
    if (i === undefined || i < 0 || quantity < 0) return false
    if (this.bids === NONE) this.#allocate()
    this.#put(side, i, quantity)
    return true
  }

  /** A level changes by `delta`. False as in `set`. */
  change(side: number, price: number, delta: number): boolean {
    const i = this.grid.indexOf[price]
    if (i === undefined || i < 0) return false
    if (this.bids === NONE) this.#allocate()
    const quantity = ((side === BID ? this.bids[i] : this.asks[i]) as number) + delta
    if (quantity < 0) return false
    this.#put(side, i, quantity)
    return true
  }

  /** The best price of a side is `price`, and no depth is known behind it: the side becomes that one level, or empty (quantity 0). False as in `set`. */
  quote(side: number, price: number, quantity: number): boolean {
    const best = side === BID ? this.bestBid : this.bestAsk
    if (side === BID ? best >= 0 : best < this.grid.size) this.#put(side, best, 0)
    return quantity === 0 || this.set(side, price, quantity)
  }

  clear(): void {
    if (this.bids !== NONE) {
      this.bids.fill(0)
      this.asks.fill(0)
    }
    this.bestBid = -1
    this.bestAsk = this.grid.size
  }

  /** Moves every level to another grid. A level that the new grid does not know makes it fail. */
  regrid(grid: PriceGrid): boolean {
    if (grid === this.grid) return true
    const { grid: old, bids, asks } = this
    this.grid = grid
    this.bids = NONE
    this.asks = NONE
    this.bestBid = -1
    this.bestAsk = grid.size
    let kept = true
    for (let i = 0; i < bids.length; i++) {
      const price = old.prices[i] as number
      if ((bids[i] as number) > 0) kept = this.set(0, price, bids[i] as number) && kept
      if ((asks[i] as number) > 0) kept = this.set(1, price, asks[i] as number) && kept
    }
    return kept
  }

  /** Quantity at a price, 0 where there is none. */
  at(side: SideCode, price: number): Quantity {
    const i = this.grid.indexOf[price]
    if (i === undefined || i < 0 || this.bids === NONE) return 0 as Quantity
    return (side === BID ? this.bids[i] : this.asks[i]) as Quantity
  }

  /** Levels with a quantity, both sides. Walks the arrays: for audits. */
  get levels(): number {
    let count = 0
    for (const q of this.bids) if (q > 0) count++
    for (const q of this.asks) if (q > 0) count++
    return count
  }
  get hasBid(): boolean {
    return this.bestBid >= 0
  }
  get hasAsk(): boolean {
    return this.bestAsk < this.grid.size
  }
  get twoSided(): boolean {
    return this.bestBid >= 0 && this.bestAsk < this.grid.size
  }
  /** Bid at or above ask: in flux inside a venue instant, broken after it. */
  get crossed(): boolean {
    return this.bestBid >= this.bestAsk
  }
  /** Best bid. Asserts that there is one. */
  get bid(): Price {
    assert(this.bestBid >= 0, 'a best bid is read only where there is one')
    return this.grid.prices[this.bestBid] as Price
  }
  get ask(): Price {
    assert(this.bestAsk < this.grid.size, 'a best ask is read only where there is one')
    return this.grid.prices[this.bestAsk] as Price
  }
  get bidQuantity(): Quantity {
    return (this.bestBid < 0 ? 0 : this.bids[this.bestBid]) as Quantity
  }
  get askQuantity(): Quantity {
    return (this.bestAsk >= this.grid.size ? 0 : this.asks[this.bestAsk]) as Quantity
  }

  #put(side: number, i: number, quantity: number): void {
    if (side === BID) {
      const bids = this.bids
      bids[i] = quantity
      if (quantity > 0) {
        if (i > this.bestBid) this.bestBid = i
      } else if (i === this.bestBid) {
        let k = i - 1
        while (k >= 0 && bids[k] === 0) k--
        this.bestBid = k
      }
    } else {
      const asks = this.asks
      asks[i] = quantity
      if (quantity > 0) {
        if (i < this.bestAsk) this.bestAsk = i
      } else if (i === this.bestAsk) {
        let k = i + 1
        const size = asks.length
        while (k < size && asks[k] === 0) k++
        this.bestAsk = k
      }
    }
  }

  #allocate(): void {
    this.bids = new Float64Array(this.grid.size)
    this.asks = new Float64Array(this.grid.size)
  }
}
