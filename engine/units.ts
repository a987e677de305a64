/**
 * Units: what every number in Tapeline means. Owns the branded integers and the only roads between them and
 * text; hides that a brand is a plain number at run time. Invariant: a branded value is a safe integer.
 *
 * | type        | one unit                                             |
 * |-------------|------------------------------------------------------|
 * | `Price`     | 1/10,000 dollar per contract, YES side, 0 … 10,000   |
 * | `Quantity`  | 1/100 contract, ≥ 0                                  |
 * | `Money`     | 1/1,000,000 dollar = exactly one Price × Quantity    |
 * | `Timestamp` | 1 microsecond, UTC                                   |
 * | `Duration`  | 1 microsecond                                        |
 * | `Position`  | 1/100 contract, + long YES, − long NO                |
 */
import { assert } from './assert.ts'

declare const unit: unique symbol
type Brand<Name extends string> = number & { readonly [unit]: Name }

export type Price = Brand<'Price'>
export type Quantity = Brand<'Quantity'>
export type Money = Brand<'Money'>
export type Timestamp = Brand<'Timestamp'>
export type Duration = Brand<'Duration'>
export type Position = Brand<'Position'>

/** Always of the YES book: a NO bid at x is a YES ask at 1 − x. */
export type Side = 'bid' | 'ask'

/** `Side` as it stands in a column of a Batch. */
export const BID = 0
export const ASK = 1
export type SideCode = typeof BID | typeof ASK

export function sideCode(side: Side): SideCode {
  return side === 'bid' ? BID : ASK
}

/** A YES contract pays this much when the market resolves YES. */
export const PRICE_ONE = 10_000 as Price

export const MILLISECOND = 1_000 as Duration
export const SECOND = 1_000_000 as Duration
export const MINUTE = 60_000_000 as Duration
export const HOUR = 3_600_000_000 as Duration
export const DAY = 86_400_000_000 as Duration

/**
 * Decimal text → integer with `digits` decimals, by moving digits: no float is multiplied.
 * Accepts an optional sign, digits, and at most `digits` decimals beyond which only zeros may stand.
 * Returns NaN for anything else (the caller names the field and the line).
 */
export function parseDecimal(text: string, digits: number): number {
  let i = 0
  let negative = false
  const length = text.length
  const first = text.charCodeAt(0)
  if (first === 45 || first === 43) {
    negative = first === 45
    i = 1
  }
  let value = 0
  let seen = 0
  for (; i < length; i++) {
    const c = text.charCodeAt(i)
    if (c === 46) break
    if (c < 48 || c > 57) return Number.NaN
    value = value * 10 + (c - 48)
    seen++
  }
  let decimals = 0
  if (i < length) {
    for (i++; i < length; i++) {
      const c = text.charCodeAt(i)
      if (c < 48 || c > 57) return Number.NaN
      seen++
      if (decimals < digits) {
        value = value * 10 + (c - 48)
        decimals++
      } else if (c !== 48) return Number.NaN
    }
  }
  if (seen === 0) return Number.NaN
  for (; decimals < digits; decimals++) value *= 10
  if (value > Number.MAX_SAFE_INTEGER) return Number.NaN
  return negative && value !== 0 ? -value : value
}

/** Integer with `digits` decimals → decimal text, exact. `formatDecimal(-12345, 4)` is "-1.2345". */
export function formatDecimal(value: number, digits: number): string {
  const negative = value < 0
  const text = String(Math.abs(value)).padStart(digits + 1, '0')
  const cut = text.length - digits
  const body = digits === 0 ? text : `${text.slice(0, cut)}.${text.slice(cut)}`
  return negative ? `-${body}` : body
}

/** "0.5600" → 5600. NaN when it is not a price. */
export function parsePrice(text: string): number {
  const units = parseDecimal(text, 4)
  return units >= 0 && units <= PRICE_ONE ? units : Number.NaN
}
/** "12.50" → 1250; a sign is allowed (deltas). NaN when it is not a quantity. */
export function parseQuantity(text: string): number {
  return parseDecimal(text, 2)
}

export function formatPrice(p: number): string {
  return formatDecimal(p, 4)
}
export function formatQuantity(q: number): string {
  return formatDecimal(q, 2)
}
export function formatMoney(m: number): string {
  return formatDecimal(m, 6)
}

/** Dollars as a person writes them (0.02, 500) → Money. */
export function dollars(human: number): Money {
  const units = Math.round(human * 1e6)
  assert(Number.isSafeInteger(units) && Math.abs(human * 1e6 - units) < 1e-3, 'dollars come in steps of a millionth')
  return units as Money
}
/** Dollars per contract as a person writes them (0.02) → distance in price units. */
export function priceDistance(human: number): number {
  const units = Math.round(human * 10_000)
  assert(Math.abs(human * 10_000 - units) < 1e-6, 'a price distance comes in steps of 0.0001 dollars')
  return units
}
