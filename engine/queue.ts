/**
 * What is due: commands on their way, answers and timers, in one order: time, then phase, then the order in which they were
 * added. Owns a binary heap of flat arrays; hides its slots. Invariant: `pop` never goes back in (time, phase, sequence).
 */

/** At one instant: rows with their matching come first (they are not queued), then these. */
export const Phase = { COMMAND: 0, ANSWER: 1, TIMER: 3 } as const
export type Phase = (typeof Phase)[keyof typeof Phase]
/** Strategy handlers run between answers and timers. */
export const PHASE_HANDLERS = 2

export class EventQueue<T> {
  #time = new Float64Array(64)
  #key = new Float64Array(64)
  #item: (T | undefined)[] = []
  #size = 0
  #sequence = 0

  get size(): number {
    return this.#size
  }
  /** Time of the first, Infinity when empty. A field, not a getter: the loop asks for every row. */
  time = Infinity
  get phase(): number {
    return this.#size === 0 ? Infinity : Math.floor((this.#key[0] as number) / 2 ** 50)
  }

  push(time: number, phase: Phase, item: T): void {
    if (this.#size === this.#time.length) this.#grow()
    // Phase in the high bits, sequence in the low: one comparison for both. 2^50 events are more than a run has.
    const key = phase * 2 ** 50 + this.#sequence++
    let i = this.#size++
    const times = this.#time
    const keys = this.#key
    const items = this.#item
    while (i > 0) {
      const parent = (i - 1) >> 1
      const t = times[parent] as number
      if (t < time || (t === time && (keys[parent] as number) < key)) break
      times[i] = t
      keys[i] = keys[parent] as number
      items[i] = items[parent]
      i = parent
    }
    times[i] = time
    keys[i] = key
    items[i] = item
    this.time = times[0] as number
  }

  pop(): T {
    const times = this.#time
    const keys = this.#key
    const items = this.#item
    const first = items[0] as T
    const last = --this.#size
    const time = times[last] as number
    const key = keys[last] as number
    const item = items[last]
    items[last] = undefined
    if (last > 0) {
      let i = 0
      for (;;) {
        let child = 2 * i + 1
        if (child >= last) break
        const right = child + 1
        if (
          right < last &&
          ((times[right] as number) < (times[child] as number) ||
            (times[right] === times[child] && (keys[right] as number) < (keys[child] as number)))
        ) {
          child = right
        }
        const t = times[child] as number
        if (time < t || (time === t && key < (keys[child] as number))) break
        times[i] = t
        keys[i] = keys[child] as number
        items[i] = items[child]
        i = child
      }
      times[i] = time
      keys[i] = key
      items[i] = item
    }
    this.time = last === 0 ? Infinity : (times[0] as number)
    return first
  }

  #grow(): void {
    const time = new Float64Array(this.#time.length * 2)
    time.set(this.#time)
    const key = new Float64Array(time.length)
    key.set(this.#key)
    this.#time = time
    this.#key = key
  }
}
