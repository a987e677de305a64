/**
 * When something is read again: every so often while it matters, less and less often while nothing does, at once when somebody asks. Owns the backoff; hides nothing. A reducer. Invariant: one run at a time;
 * what is asked for during a run is run again after it, because that run may have read before.
 */
export type Pace = {
  /** µs between runs while busy, and the most that idleness lengthens it to. */
  readonly busy: number
  readonly idle: number
  /** µs between the end of a run and the next, however much is asked for. */
  readonly least: number
}

export class Cadence {
  readonly #pace: Pace
  #wait: number
  #at: number
  #endedAt = -Infinity
  #asked = false
  running = false
  /** Runs that failed, in a row. */
  failures = 0

  constructor(pace: Pace, now: number) {
    this.#pace = pace
    this.#wait = pace.busy
    this.#at = now
  }
  /** When the next run is due; Infinity during one. */
  get due(): number {
    return this.running ? Infinity : this.#at
  }
  ask(now: number): void {
    if (this.running) this.#asked = true
    else this.#at = Math.min(this.#at, Math.max(now, this.#endedAt + this.#pace.least))
  }
  /** There is something to lose again: idleness ends. */
  wake(now: number): void {
    if (this.#wait === this.#pace.busy) return
    this.#wait = this.#pace.busy
    if (!this.running) this.#at = Math.min(this.#at, now + this.#wait)
  }
  begin(): void {
    this.running = true
    this.#asked = false
  }
  end(now: number, busy: boolean, ok = true): void {
    const { busy: every, idle, least } = this.#pace
    this.running = false
    this.#endedAt = now
    this.failures = ok ? 0 : this.failures + 1
    this.#wait = busy ? every : Math.min(idle, this.#wait * 2)
    // A run that failed is repeated sooner, and later each time.
    const wait = ok ? this.#wait : Math.min(idle, Math.max(least, 1_000_000) * 2 ** Math.min(10, this.failures - 1))
    this.#at = this.#asked ? now + (ok ? least : Math.min(wait, this.#wait)) : now + wait
    this.#asked = false
  }
}
