/**
 * The chain of positions: each fill message says the position after it, so that post(k) = post(k − 1) + fill(k) in every market and subaccount. Owns the loss detector of the private stream, which has no
 * sequence numbers; hides nothing. Invariant: it only ever says "something was missed"; what is true is read elsewhere.
 */
import { SECOND } from '../../../engine/units.ts'
import type { FillFact } from './evidence.ts'

/** A position message may overtake the fill that made it. */
const GRACE = SECOND
const TRADES_MAX = 8_192

export class PositionChain {
  readonly #last = new Map<string, number>()
  readonly #claims = new Map<string, { readonly position: number; readonly at: number }>()
  readonly #trades = new Set<string>()
  readonly counts = { fills: 0, twice: 0, breaks: 0 }

  /** Where a market stands before the first message of it. */
  seed(ticker: string, subaccount: number, position: number): void {
    this.#last.set(`${ticker}/${subaccount}`, position)
  }
  /** `twice`: it was there before. Else why something is missing, or null. */
  fill(fact: FillFact): { readonly twice: boolean; readonly broken: string | null } {
    if (this.#trades.has(fact.trade)) {
      this.counts.twice++
      return { twice: true, broken: null }
    }
    this.#trades.add(fact.trade)
    if (this.#trades.size > TRADES_MAX) this.#trades.delete(this.#trades.values().next().value as string)
    this.counts.fills++
    const key = `${fact.ticker}/${fact.subaccount}`
    const before = this.#last.get(key)
    const { position } = fact
    if (position === null) {
      this.#last.delete(key)
      return { twice: false, broken: null }
    }
    this.#last.set(key, position)
    const expected = before === undefined ? position : before + (fact.side === 'bid' ? fact.quantity : -fact.quantity)
    return { twice: false, broken: expected === position ? null : this.#break(fact.ticker, expected, position) }
  }
  /** A message that says a position without the fill that led to it. */
  claim(ticker: string, subaccount: number, position: number, now: number): void {
    this.#claims.set(`${ticker}/${subaccount}`, { position, at: now })
  }
  /** Positions whose fills did not come. */
  advance(now: number): string | null {
    let broken: string | null = null
    for (const [key, { position, at }] of this.#claims) {
      if (now - at < GRACE) continue
      this.#claims.delete(key)
      const last = this.#last.get(key)
      if (last === position || (last === undefined && position === 0)) continue
      this.#last.set(key, position)
      broken = this.#break(key.slice(0, key.lastIndexOf('/')), last ?? 0, position)
    }
    return broken
  }
  #break(ticker: string, expected: number, position: number): string {
    this.counts.breaks++
    return `position of ${ticker} is ${position / 100}, its fills lead to ${expected / 100}`
  }
}
