/**
 * The clock that exchange and client share: virtual time = start + (real − real start) × scale. Owns the mapping; hides the machine's clock.
 * Invariant: it never runs backwards. What a fault shifts is its face, which is all that the world sees of it: what is due stays due when it was.
 */
import { performance } from 'node:perf_hooks'

/** What a client needs to make the same clock: µs of virtual and of real time at one moment, and how fast the virtual runs. */
export type ClockPlan = { readonly virtualStart: number; readonly realStart: number; readonly scale: number }

/** Wall time in µs that never steps. */
export function realNow(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000)
}

export class VirtualClock {
  readonly plan: ClockPlan
  readonly #real: () => number
  /** A fault: how far the face is off, µs. */
  offset = 0

  constructor(plan: ClockPlan, real: () => number = realNow) {
    this.plan = plan
    this.#real = real
  }
  now(): number {
    const { virtualStart, realStart, scale } = this.plan
    return Math.round(virtualStart + (this.#real() - realStart) * scale)
  }
  /** What the exchange calls now towards the outside. */
  face(): number {
    return this.now() + this.offset
  }
  /** Real milliseconds until a virtual time. */
  wait(until: number): number {
    return Math.max(0, (until - this.now()) / this.plan.scale / 1000)
  }
}
