/**
 * How old the news of a connection is: a stream can be alive and lie. Owns the age of what arrives, by the exchange's times against ours; hides smoothing. Invariant: times of the
 * exchange are compared, never waited for: a false one can make a stream stale, and can move no timer.
 */
import { SECOND } from '../../engine/units.ts'

export type FreshnessChange = 'stale' | 'fresh' | 'reconnect'

const AGE_STALE = 1.5 * SECOND
const AGE_RECONNECT = 5 * SECOND
/** Lagging for this long is no hiccup. */
const PATIENCE = 3 * SECOND
/** Ahead of us by more, or older, is no age but a wrong clock. */
const AHEAD_MAX = 5 * SECOND
const AGE_MAX = 3_600 * SECOND
/** Times that make no sense for this long: another connection may lead to a machine whose clock is right. */
const NONSENSE_RECONNECT = 30 * SECOND
const WEIGHT = 0.2

export class Freshness {
  #age = 0
  #lagSince = -1
  #staleSince = -1
  /** Since when its times make no sense; −1: they do. */
  #nonsenseSince = -1
  /** Ages of the last messages, for a percentile. */
  readonly #ages = new Float64Array(256)
  #count = 0
  insane = 0

  get stale(): boolean {
    return this.#staleSince >= 0
  }
  /** Smoothed age in µs. */
  get age(): number {
    return this.#age
  }
  get agePercentile99(): number {
    const seen = [...this.#ages.subarray(0, Math.min(this.#count, this.#ages.length))].sort((a, b) => a - b)
    return seen[Math.floor(seen.length * 0.99)] ?? 0
  }

  get senseless(): boolean {
    return this.#nonsenseSince >= 0
  }

  /** Another connection. What made no sense before is believed when it does, and not before. */
  reset(now: number): void {
    this.#age = 0
    const doubted = this.stale && this.senseless
    this.#lagSince = doubted ? now : -1
    this.#staleSince = doubted ? now : -1
    this.#nonsenseSince = doubted ? now : -1
  }

  /** A message of venue time `venue`; `offset`: the exchange's clock − ours, as far as it is known. */
  see(venue: number, now: number, offset: number): FreshnessChange | null {
    const age = now + offset - venue
    const sane = age > -AHEAD_MAX && age < AGE_MAX
    if (sane) {
      this.#age += (Math.max(0, age) - this.#age) * WEIGHT
      this.#ages[this.#count++ % this.#ages.length] = age
      this.#nonsenseSince = -1
    } else {
      this.insane++
      if (this.#nonsenseSince < 0) this.#nonsenseSince = now
    }
    if (sane && this.#age <= AGE_STALE) {
      this.#lagSince = -1
      if (this.#staleSince < 0) return null
      this.#staleSince = -1
      return 'fresh'
    }
    if (this.#lagSince < 0) this.#lagSince = now
    if (now - this.#lagSince < PATIENCE) return null
    if (sane ? this.#age > AGE_RECONNECT : this.stale && now - this.#nonsenseSince >= NONSENSE_RECONNECT) return 'reconnect'
    if (this.#staleSince >= 0) return null
    this.#staleSince = now
    return 'stale'
  }
}
