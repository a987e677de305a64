/** Wishes: what a strategy wants to have at the venue. Owns their state; the order manager alone changes it. Invariant: a wish has at most one order. */
import type { Market } from './market.ts'
import type { Order } from './order.ts'
import type { Refusal } from './risk.ts'
import type { Price, Quantity, SideCode } from './units.ts'

/** What one strategy wants on one side of one market: resting (`take` false) or now. */
export class Wish {
  readonly market: Market
  readonly owner: number
  readonly side: SideCode
  readonly take: boolean
  active = false
  price = 0 as Price
  /** As stated, and what of it is still wanted. */
  quantity = 0 as Quantity
  left = 0
  order: Order | null = null
  why = -1
  value = 0
  /** Why the last attempt was refused, and how often since it was last written down. */
  refusal: Refusal | null = null
  refusedPrice = 0
  refusedTimes = 0
  retrying = false

  constructor(market: Market, owner: number, side: SideCode, take: boolean) {
    this.market = market
    this.owner = owner
    this.side = side
    this.take = take
  }
}
