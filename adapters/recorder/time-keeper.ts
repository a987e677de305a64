/**
 * The order of time. Owns what happens when a feed's clock steps; hides the correction. Invariant: times that leave it never decrease. A clock that went back is run on by the one
 * that never steps, until it has caught up; a clock that jumped ahead is believed and told.
 */
import type { Batch } from '../../engine/message.ts'
import { SECOND } from '../../engine/units.ts'
import { DataError } from '../../data/errors.ts'

/** Less is the jitter of a clock that is being disciplined. */
const TOLD = 1 * SECOND
/** Two clocks that pass this much apart between two rows: one of them stepped. */
const JUMP = 60 * SECOND

export class TimeKeeper {
  readonly #clock: { now(): number }
  /** Latest time that left, raw and corrected, and the steady clock at that moment; −1: none yet. */
  #last: number
  #steady = -1
  #correction = 0
  steps = 0

  constructor(clock: { now(): number }, last: number) {
    this.#clock = clock
    this.#last = last
  }

  /** Sets right what would go back, in place. A sentence when there is something to tell. */
  order(batch: Batch): string | null {
    const { time, length } = batch
    let told: string | null = null
    let steady = -1
    for (let i = 0; i < length; i++) {
      const raw = time[i] as number
      if (!Number.isSafeInteger(raw) || !Number.isSafeInteger(batch.timeVenue[i]) || !Number.isSafeInteger(batch.quantity[i]))
        throw new DataError('FEED_INVALID', `the feed has a row whose times or quantity are not whole (time ${raw}): it cannot be recorded`)
      if (raw >= this.#last) {
        this.#correction = 0
        if (i === 0 && this.#steady >= 0) {
          steady = this.#clock.now()
          const ahead = raw - this.#last - (steady - this.#steady)
          // A feed out of a file is as fast as it likes; only a live one can be compared, and it is never ahead by more than its rows say.
          if (ahead > JUMP && steady - this.#steady > SECOND) {
            this.steps++
            told = `The clock jumped ahead by ${Math.round(ahead / SECOND)} s at ${iso(raw)}`
          }
        }
        this.#last = raw
        continue
      }
      let corrected = raw + this.#correction
      if (corrected < this.#last) {
        if (steady < 0) steady = this.#clock.now()
        // As much later as really passed.
        corrected = this.#last + (this.#steady < 0 ? 0 : Math.max(0, Math.round(steady - this.#steady)))
        const back = this.#last - raw
        this.#correction = corrected - raw
        this.steps++
        if (back >= TOLD)
          told = `The clock went back by ${Math.round(back / SECOND)} s at ${iso(this.#last)}: times run on from there until it has caught up`
      }
      time[i] = corrected
      this.#last = corrected
    }
    if (length > 0) this.#steady = steady >= 0 ? steady : this.#clock.now()
    return told
  }
}

function iso(microseconds: number): string {
  return new Date(Math.floor(microseconds / 1000)).toISOString()
}
