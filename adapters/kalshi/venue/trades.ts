/**
 * The trades of the session, each once. Owns which trade ids were seen and what they said, also of fills whose order nobody knows yet; hides how long that is kept. Invariant: a trade id counts once, with
 * what it said first.
 */
import type { FillFact } from './evidence.ts'

/** Fees of the stream have fewer digits than those of lists: within this (Money) they are the same. */
const FEE_SLACK = 100
const FORGOTTEN_MAX = 4_096

type Kept = Pick<FillFact, 'id' | 'side' | 'price' | 'quantity' | 'fee' | 'maker'>

export class Trades {
  readonly #byTicker = new Map<string, Map<string, Kept>>()
  readonly #forgotten = new Set<string>()
  /** By the venue's number of an order that is not identified yet. */
  readonly held = new Map<string, FillFact[]>()

  /** `id` '': the order's number is not known (told before a restart). */
  take(ticker: string, trade: string, kept: Kept): 'new' | 'known' | 'different' {
    if (this.#forgotten.has(ticker)) return 'known'
    let trades = this.#byTicker.get(ticker)
    if (trades === undefined) {
      trades = new Map()
      this.#byTicker.set(ticker, trades)
    }
    const before = trades.get(trade)
    if (before === undefined) {
      trades.set(trade, { id: kept.id, side: kept.side, price: kept.price, quantity: kept.quantity, fee: kept.fee, maker: kept.maker })
      return 'new'
    }
    const same =
      (before.id === kept.id || before.id === '') &&
      before.side === kept.side &&
      before.price === kept.price &&
      before.quantity === kept.quantity &&
      before.maker === kept.maker &&
      Math.abs(before.fee - kept.fee) <= FEE_SLACK
    return same ? 'known' : 'different'
  }
  /** Seen, and no longer waiting to be told whose it is. */
  isBooked(ticker: string, trade: string): boolean {
    if (this.#forgotten.has(ticker)) return true
    if (this.#byTicker.get(ticker)?.has(trade) !== true) return false
    for (const facts of this.held.values()) if (facts.some((f) => f.trade === trade)) return false
    return true
  }
  hold(fact: FillFact): void {
    const held = this.held.get(fact.id)
    if (held === undefined) this.held.set(fact.id, [fact])
    else held.push(fact)
  }
  release(id: string): readonly FillFact[] {
    const held = this.held.get(id)
    if (held === undefined) return []
    this.held.delete(id)
    return held
  }
  /** Whether a fill of a market waits to be told whose it is. */
  holds(ticker: string): boolean {
    for (const facts of this.held.values()) if (facts.some((f) => f.ticker === ticker)) return true
    return false
  }
  forget(ticker: string): void {
    this.#byTicker.delete(ticker)
    this.#forgotten.add(ticker)
    if (this.#forgotten.size > FORGOTTEN_MAX) this.#forgotten.delete(this.#forgotten.values().next().value as string)
    for (const [id, facts] of this.held) if (facts.every((f) => f.ticker === ticker)) this.held.delete(id)
  }
  isForgotten(ticker: string): boolean {
    return this.#forgotten.has(ticker)
  }
  get size(): number {
    let size = 0
    for (const trades of this.#byTicker.values()) size += trades.size
    return size
  }
}
