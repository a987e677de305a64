/**
 * Batches in pieces of a fitting size. Owns how many rows are one turn: few at first, then as many as a quick strategy does in a moment, so that a slow one is still heard of often
 * and never taken for one that hangs. Invariant: the rows and their order are those of the batch; how rows are cut changes no result.
 */
import type { Batch } from '../engine/message.ts'

const ROWS_FIRST = 64
/** Milliseconds that a piece should take: below the first it grows, above the second it shrinks. */
const QUICK = 50
const SLOW = 500

export class Cuts {
  #rows: number

  constructor(rows = ROWS_FIRST) {
    this.#rows = rows
  }

  /** Measures how long the caller takes for each piece. */
  *of(batch: Batch): IterableIterator<Batch> {
    let at = 0
    while (at < batch.length) {
      const from = at
      at = Math.min(batch.length, from + this.#rows)
      const started = performance.now()
      yield from === 0 && at === batch.length ? batch : piece(batch, from, at)
      const took = performance.now() - started
      if (took < QUICK && at - from === this.#rows) this.#rows *= 2
      else if (took > SLOW && this.#rows > 1) this.#rows = Math.ceil(this.#rows / 2)
    }
  }
}

function piece(batch: Batch, from: number, to: number): Batch {
  return {
    length: to - from,
    time: batch.time.subarray(from, to),
    timeVenue: batch.timeVenue.subarray(from, to),
    market: batch.market.subarray(from, to),
    kind: batch.kind.subarray(from, to),
    flags: batch.flags.subarray(from, to),
    side: batch.side.subarray(from, to),
    price: batch.price.subarray(from, to),
    quantity: batch.quantity.subarray(from, to),
    detail: batch.detail.subarray(from, to),
    details: batch.details,
  }
}
