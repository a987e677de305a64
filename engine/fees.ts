/**
 * Fees by Kalshi's formula, in integers (api.md §7; help page "fee rounding").
 *
 * A trade pays `0.07 × multiplier × C × P × (1 − P)`, rounded **up** to $0.0001 (makers pay 0.0175 in series with maker fees, 0.035 in
 * combos, else nothing). Then the change of the balance, cost and fee together, is rounded down to the account's grid; what that costs
 * is part of the fee, and is given back a cent at a time when more than a cent has gathered on one order.
 *
 * Owns the formula and the rounding; invariant: the fee of a fill is never negative.
 */
import { assert } from './assert.ts'
import type { FeeDetail } from './message.ts'
import { BID, PRICE_ONE, type Money, type SideCode } from './units.ts'

/** Coefficients in 1/10,000. */
const TAKER = 700n
const MAKER = 175n
const MAKER_COMBO = 350n

/** Account grid of a direct member, Money units: a whole cent before 2026-05-28T17:01Z, $0.0001 since (fee validation of real fills). */
const CENT = 10_000
const CENTICENT = 100
/** 2026-05-28T17:01:00Z in µs. */
const FINE_SINCE = 1_779_987_660_000_000
export function balanceGrid(time: number): number {
  return time < FINE_SINCE ? CENT : CENTICENT
}

/** Fee of one trade before balance rounding, Money, rounded up to $0.0001. */
export function tradeFee(fee: FeeDetail, maker: boolean, price: number, quantity: number): Money {
  let coefficient: bigint
  if (!maker) coefficient = TAKER
  else if (fee.type === 'quadratic_with_maker_fees') coefficient = MAKER
  else if (fee.type === 'quadratic_with_combo_maker_fees') coefficient = MAKER_COMBO
  else return 0 as Money
  // coefficient 1e-4 × multiplier 1e-4 × quantity 1e-2 × price 1e-4 × (1 − price) 1e-4 = 1e-18 dollars; one centicent is 1e14 of them.
  const exact = coefficient * BigInt(fee.multiplier) * BigInt(quantity) * BigInt(price) * BigInt(PRICE_ONE - price)
  const centicents = (exact + 99_999_999_999_999n) / 100_000_000_000_000n
  return (Number(centicents) * CENTICENT) as Money
}

/** Rounding fees gathered on one order; one object an order, maker and taker fills together. */
export type FeeAccount = { gathered: number }

/**
 * Whole fee of one fill, Money. `side` is ours: a buy pays price × quantity, a sell receives it; the dollar that backs a short is a whole
 * number of cents for any quantity, so it does not touch the rounding.
 */
export function fillFee(
  fee: FeeDetail,
  maker: boolean,
  side: SideCode,
  price: number,
  quantity: number,
  time: number,
  account: FeeAccount,
): Money {
  const trade = tradeFee(fee, maker, price, quantity)
  const grid = balanceGrid(time)
  const revenue = side === BID ? -price * quantity : price * quantity
  const change = revenue - trade
  const rounded = Math.floor(change / grid) * grid
  const rounding = change - rounded
  account.gathered += rounding
  let total = trade + rounding
  // The net fee of a fill is never negative, so a rebate larger than this fill's fee waits for a later one.
  if (account.gathered > CENT && total >= CENT) {
    account.gathered -= CENT
    total -= CENT
  }
  assert(Number.isSafeInteger(change) && total >= 0, 'a fill is small enough for exact fees and its fee is not negative')
  return total as Money
}

/** An upper bound of the fee of `quantity` at `price` in any split into fills of at least one contract, Money: what risk sets aside. `time` as in `fillFee`. */
export function feeBound(fee: FeeDetail, price: number, quantity: number, time: number): Money {
  const p = price > PRICE_ONE / 2 ? PRICE_ONE - price : price
  // The taker coefficient covers every maker coefficient; each begun contract may be a fill of its own with two roundings.
  const exact = Math.ceil((700 * fee.multiplier * p * (PRICE_ONE - p) * quantity) / 1e12)
  return (exact + (balanceGrid(time) + CENTICENT) * Math.ceil(quantity / 100)) as Money
}
