/**
 * Money of one fill and one settlement (api.md §4.10, §4.1): a contract bought on either side costs its price, a pair of YES and NO is worth a
 * dollar at once. Owns positions and their cost; invariant: cash changes plus what positions lock equals minus fees, to the millionth.
 */
import { assert } from '../../engine/assert.ts'
import { BID, PRICE_ONE, type SideCode } from '../../engine/units.ts'

/** A position of one subaccount in one market. Quantity units, + YES and − NO; Money. */
export type Position = {
  readonly ticker: string
  readonly event: string
  readonly exchangeIndex: number
  readonly subaccount: number
  quantity: number
  /** What the open contracts cost. */
  cost: number
  /** What was ever spent, and fees of the open part. */
  traded: number
  tradedQuantity: number
  feesOpen: number
  realized: number
  fees: number
  updated: number
  settled: number
}

export function newPosition(ticker: string, event: string, exchangeIndex: number, subaccount: number, now: number): Position {
  return {
    ticker,
    event,
    exchangeIndex,
    subaccount,
    quantity: 0,
    cost: 0,
    traded: 0,
    tradedQuantity: 0,
    feesOpen: 0,
    realized: 0,
    fees: 0,
    updated: now,
    settled: -1,
  }
}

/** Cash that a fill moves, before fees: minus the price of what is bought, plus a dollar for each pair that closes. */
export function cashOfFill(position: number, side: SideCode, price: number, quantity: number): number {
  const unit = side === BID ? price : PRICE_ONE - price
  const opposite = Math.max(0, side === BID ? -position : position)
  return -unit * quantity + PRICE_ONE * Math.min(quantity, opposite)
}

/** Books a fill; returns the change of cash, fee included. */
export function applyFill(p: Position, side: SideCode, price: number, quantity: number, fee: number, now: number): number {
  const unit = side === BID ? price : PRICE_ONE - price
  const closing = Math.min(quantity, Math.max(0, side === BID ? -p.quantity : p.quantity))
  const cash = cashOfFill(p.quantity, side, price, quantity) - fee
  if (closing > 0) {
    const held = Math.abs(p.quantity)
    const share = closing === held ? p.cost : Math.floor((p.cost / held) * closing)
    const feeShare = closing === held ? p.feesOpen : Math.floor((p.feesOpen / held) * closing)
    p.realized += (PRICE_ONE - unit) * closing - share
    p.cost -= share
    p.feesOpen -= feeShare
  }
  const opening = quantity - closing
  p.cost += unit * opening
  p.feesOpen += opening === quantity ? fee : Math.floor((fee * opening) / quantity)
  p.quantity += side === BID ? quantity : -quantity
  p.traded += unit * quantity
  p.tradedQuantity += quantity
  p.fees += fee
  p.updated = now
  assert(Number.isSafeInteger(cash) && p.cost >= 0, 'money of a fill is exact and the open position costs something')
  return cash
}

/** What a settled position pays in whole cents, and the residue below a cent, which is kept as a fee. `value` of a YES contract in Price units. */
export function settlementOf(position: number, value: number): { revenue: number; residue: number } {
  const exact = position >= 0 ? value * position : (PRICE_ONE - value) * -position
  const revenue = Math.floor(exact / 10_000) * 10_000
  return { revenue, residue: exact - revenue }
}

/**
 * Collateral that a mutually exclusive event gives back (MECNET): of NO contracts in several of its markets at most one market can lose, so all but
 * the largest holding are worth a dollar each whatever happens. `resolvedYes`: the one that can lose has lost. Money.
 */
export function collateralReturned(noQuantities: readonly number[], resolvedYes: boolean): number {
  let sum = 0
  let largest = 0
  for (const q of noQuantities) {
    sum += q
    if (q > largest) largest = q
  }
  return PRICE_ONE * (resolvedYes ? sum : sum - largest)
}

/** What resting orders of one market need set aside, in order of time: the part that opens, at its limit. Fees come on top. Money. */
export function reserveOf(
  position: number,
  orders: readonly { readonly side: SideCode; readonly price: number; readonly quantity: number }[],
  returned: boolean,
): number {
  // Under collateral return a NO contract that closes gives back less than a dollar: the safe answer is to count it as opening.
  let bids = returned ? 0 : Math.max(0, -position)
  let asks = Math.max(0, position)
  let sum = 0
  for (const o of orders) {
    const free = o.side === BID ? bids : asks
    const closing = Math.min(free, o.quantity)
    if (o.side === BID) bids -= closing
    else asks -= closing
    sum += (o.side === BID ? o.price : PRICE_ONE - o.price) * (o.quantity - closing)
  }
  return sum
}
