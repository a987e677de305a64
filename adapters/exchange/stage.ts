/**
 * The exchange with what drives it: tapes and populations act on it in one order of time. Owns who acts next; hides nothing. Invariant: between two calls the
 * exchange stands at the time of the last, and everything that was due before has happened.
 */
import type { Exchange } from './exchange.ts'

/** What makes strangers trade: a tape, a population. Knows the exchange it drives. */
export interface Driver {
  /** Exchange time of its next step; Infinity: none (yet). */
  readonly due: number
  /** Does what is due at `now`, which is its `due`. */
  step(now: number): void
}

export class Stage {
  readonly exchange: Exchange
  readonly #drivers: readonly Driver[]

  constructor(exchange: Exchange, drivers: readonly Driver[] = []) {
    this.exchange = exchange
    this.#drivers = drivers
  }
  get due(): number {
    return Math.min(this.exchange.due, ...this.#drivers.map((d) => d.due))
  }
  advance(now: number): void {
    for (;;) {
      let next: Driver | null = null
      for (const d of this.#drivers) if (d.due <= now && (next === null || d.due < next.due)) next = d
      if (next === null) break
      const at = next.due
      this.exchange.advance(Math.max(at, this.exchange.now))
      next.step(at)
    }
    this.exchange.advance(now)
  }
}
