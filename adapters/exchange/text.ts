/** Texts of the wire (api.md §3.7): fixed-point strings, RFC 3339 times, ids. Owns how a number leaves; invariant: no float is ever written. */
import { createHash } from 'node:crypto'
import { formatDecimal } from '../../engine/units.ts'

/** Price units → "0.5600". */
export function price(p: number): string {
  return formatDecimal(p, 4)
}
/** Quantity units → "10.00". */
export function count(q: number): string {
  return formatDecimal(q, 2)
}
/** Money → "0.017500": portfolio fields carry six decimals. */
export function money(m: number): string {
  return formatDecimal(m, 6)
}
/** Money → "98.0186": balances carry four; what lies below is cut. */
export function balance(m: number): string {
  return formatDecimal(Math.floor(m / 100), 4)
}
/** Money → whole cents, cut. */
export function cents(m: number): number {
  return Math.floor(m / 10_000)
}
/** µs → RFC 3339 with as many digits as there are, as Go writes it. */
export function time(us: number): string {
  const seconds = Math.floor(us / 1_000_000)
  const rest = us - seconds * 1_000_000
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19)
  return rest === 0 ? `${whole}Z` : `${whole}.${String(rest).padStart(6, '0').replace(/0+$/, '')}Z`
}
export function milliseconds(us: number): number {
  return Math.floor(us / 1000)
}
export function unixSeconds(us: number): number {
  return Math.floor(us / 1_000_000)
}
/** Division of Money by Quantity → "0.5200", halves up: averages per contract. */
export function average(sum: number, quantity: number): string {
  return formatDecimal(Math.floor((2 * sum + quantity) / (2 * quantity)), 4)
}

/** Ids that look like UUIDs and repeat with the seed. */
export class Ids {
  readonly #seed: string
  #next = 0
  constructor(seed: number) {
    this.#seed = String(seed)
  }
  next(kind: string): string {
    return this.of(`${kind}:${this.#next++}`)
  }
  /** Always the same for the same name. */
  of(name: string): string {
    const hex = createHash('sha256').update(`${this.#seed}:${name}`).digest('hex')
    const variant = '89ab'[Number.parseInt(hex[16] ?? '0', 16) & 3] ?? '8'
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
  }
}
