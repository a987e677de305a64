/**
 * Virtual time: a clock, timers and seeded chance. Owns the one order of what happens; nothing in it waits. Invariant: the same seed and the same calls give the same order.
 */
import { random } from '../support/random.ts'

type Due = { readonly time: number; readonly order: number; readonly wakes: boolean; call: (() => void) | null }

export class Timeline {
  now: number
  readonly #heap: Due[] = []
  readonly #next: () => number
  #order = 0

  constructor(seed: number, start: number) {
    this.now = start
    this.#next = random(seed)
  }

  /** `wakes`: it may end somebody's wait; then everything that waits for nothing else goes on before the next event. */
  after(delay: number, call: () => void, wakes = true): { cancel(): void } {
    const due: Due = { time: this.now + Math.max(0, Math.ceil(delay)), order: this.#order++, wakes, call }
    this.#push(due)
    return {
      cancel: () => {
        due.call = null
      },
    }
  }
  hit(probability: number): boolean {
    return probability > 0 && this.#next() < probability
  }
  between(from: number, to: number): number {
    return from + Math.floor(this.#next() * (to - from + 1))
  }

  /** Runs until `until`; `before` what is due at a time, `each` after every event and everything that it woke. */
  async run(until: number, each: () => void = () => {}, before: (now: number) => void = () => {}): Promise<void> {
    for (;;) {
      const due = this.#heap[0]
      if (due === undefined || due.time > until) break
      this.#pop()
      if (due.call === null) continue
      this.now = Math.max(this.now, due.time)
      before(this.now)
      due.call()
      each()
      if (due.wakes) await new Promise((resolve) => setImmediate(resolve))
    }
    this.now = Math.max(this.now, until)
  }

  #push(due: Due): void {
    const heap = this.#heap
    heap.push(due)
    let i = heap.length - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!isBefore(heap[i] as Due, heap[parent] as Due)) break
      ;[heap[i], heap[parent]] = [heap[parent] as Due, heap[i] as Due]
      i = parent
    }
  }
  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Due
    if (heap.length === 0) return
    heap[0] = last
    let i = 0
    for (;;) {
      let least = i
      for (const child of [2 * i + 1, 2 * i + 2]) if (child < heap.length && isBefore(heap[child] as Due, heap[least] as Due)) least = child
      if (least === i) return
      ;[heap[i], heap[least]] = [heap[least] as Due, heap[i] as Due]
      i = least
    }
  }
}
function isBefore(a: Due, b: Due): boolean {
  return a.time !== b.time ? a.time < b.time : a.order < b.order
}
