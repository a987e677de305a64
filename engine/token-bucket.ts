/** The rate limit of the exchange, paid in backtests too. Owns the level; invariant: it never spends what is not there. */

/** Write tokens of the account's tier (api.md §2): a bucket that refills continuously. Millionths of a token, so that a µs adds a whole number. */
export class TokenBucket {
  readonly #perMicrosecond: number
  readonly #capacity: number
  #level: number
  #time = 0

  constructor(perSecond: number, capacity: number) {
    this.#perMicrosecond = perSecond
    this.#capacity = capacity * 1e6
    this.#level = this.#capacity
  }
  /** Tokens that it can hold. */
  get size(): number {
    return this.#capacity / 1e6
  }
  /** Takes `cost` tokens when they are there. */
  spend(now: number, cost: number): boolean {
    this.#refill(now)
    if (this.#level < cost * 1e6) return false
    this.#level -= cost * 1e6
    return true
  }
  /** When `cost` tokens will be there. */
  freeAt(now: number, cost: number): number {
    this.#refill(now)
    const missing = cost * 1e6 - this.#level
    return missing <= 0 ? now : now + Math.ceil(missing / this.#perMicrosecond)
  }
  #refill(now: number): void {
    this.#level = Math.min(this.#capacity, this.#level + (now - this.#time) * this.#perMicrosecond)
    this.#time = now
  }
}
