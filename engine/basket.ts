/**
 * Baskets: several takes that belong together. Owns what follows when some legs filled less than others; hides nothing else: approval is risk's, sending the order manager's.
 * Invariant: a basket has one stage at a time, and each stage sends at most one order a leg: sent → completing → unwinding → over.
 *
 * Filled contracts of the legs after a stage:   3 5 5   the most filled leg is 5, the least 3
 *   hold       over
 *   complete   the legs below 5 are wanted up to 5, at limits up to `costMax` worse; what is then still uneven is unwound
 *   unwind     the legs above 3 are traded back to 3, at limits as far as the collar allows
 */
import type { Market } from './market.ts'
import type { Order } from './order.ts'
import { ASK, BID, PRICE_ONE, type Price, type Quantity, type SideCode } from './units.ts'

export type BasketLeg = {
  readonly market: Market
  readonly side: SideCode
  readonly limit: Price
  /** Contracts asked for, the same in every leg. */
  readonly wanted: Quantity
  /** Contracts of it that we hold through this basket (Quantity). */
  filled: number
}
export type BasketStage = 'sent' | 'completing' | 'unwinding' | 'over'

/** One order that a stage wants. */
export type BasketOrder = {
  readonly leg: BasketLeg
  readonly side: SideCode
  readonly price: Price
  readonly quantity: Quantity
}

export class BasketRun {
  /** Counts from 1 in the session. */
  readonly id: number
  readonly owner: number
  readonly legs: readonly BasketLeg[]
  readonly missing: 'hold' | 'unwind' | 'complete'
  /** Price units a completing limit may be worse. */
  readonly costMax: number
  readonly why: string
  readonly value: number
  stage: BasketStage = 'sent'
  /** Orders of the stage that are not over. */
  open = 0
  /** Orders of the stage that wait for the order rate or for tokens. */
  pending: BasketOrder[] = []

  constructor(
    id: number,
    owner: number,
    legs: readonly BasketLeg[],
    missing: BasketRun['missing'],
    costMax: number,
    why: string,
    value: number,
  ) {
    this.id = id
    this.owner = owner
    this.legs = legs
    this.missing = missing
    this.costMax = costMax
    this.why = why
    this.value = value
  }

  /** An order of this basket filled: unwinding gives back what the leg had. */
  filled(order: Order, quantity: number): void {
    const leg = this.legs.find((l) => l.market === order.market)
    if (leg !== undefined) leg.filled += order.side === leg.side ? quantity : -quantity
  }

  /** Contracts held in every leg. */
  get least(): number {
    return Math.min(...this.legs.map((l) => l.filled))
  }
  get outcome(): 'complete' | 'even' | 'none' | 'uneven' {
    if (!this.even) return 'uneven'
    if (this.least === 0) return 'none'
    return this.least === this.legs[0]?.wanted ? 'complete' : 'even'
  }
  get even(): boolean {
    return this.legs.every((l) => l.filled === this.legs[0]?.filled)
  }

  /** The stage is over: moves to the next one and says what it wants; nothing: the basket is over. `collar`: how far through the market an unwinding limit may stand. */
  next(collar: number): BasketOrder[] {
    const before = this.stage
    this.stage = 'over'
    if (this.even || this.missing === 'hold' || before === 'unwinding') return []
    if (before === 'sent' && this.missing === 'complete') {
      const most = Math.max(...this.legs.map((l) => l.filled))
      this.stage = 'completing'
      return this.legs
        .filter((l) => l.filled < most)
        .map((leg) => ({
          leg,
          side: leg.side,
          price: worse(leg.market, leg.side, leg.limit, this.costMax),
          quantity: (most - leg.filled) as Quantity,
        }))
    }
    const { least } = this
    this.stage = 'unwinding'
    return this.legs
      .filter((l) => l.filled > least)
      .map((leg) => {
        const side: SideCode = leg.side === BID ? ASK : BID
        return { leg, side, price: worse(leg.market, side, leg.market.reference, collar), quantity: (leg.filled - least) as Quantity }
      })
  }
}

/** The grid price at most `distance` worse than a price for whoever is on `side`. */
function worse(market: Market, side: SideCode, price: number, distance: number): Price {
  const { grid } = market
  if (side === BID) return grid.priceAt(Math.max(0, grid.floorIndex(Math.min(PRICE_ONE, price + distance))))
  const wanted = Math.max(0, price - distance)
  let index = grid.floorIndex(wanted)
  if (index < 0 || (grid.prices[index] as number) < wanted) index++
  return grid.priceAt(Math.min(grid.size - 1, index))
}
