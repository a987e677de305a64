/**
 * Rows between the decoder and whoever reads them: batches in order, in a bounded queue. Owns the bound; hides waiting. Invariant: it never grows beyond its bound: when the reader is
 * too slow, market data that it has not read is thrown away as a whole, rare rows (catalog, status, results) are kept.
 */
import { createBatch, Kind, pushRow, type Batch } from '../../engine/message.ts'
import type { Row } from '../../data/import/label.ts'

const BATCH = 1024
const FREE_MAX = 8

export class Outbox {
  readonly #rowsMax: number
  #queue: Batch[] = []
  #last: Batch = createBatch(BATCH)
  /** The batch that the reader has; it may be used again after his next call. */
  #handed: Batch | null = null
  readonly #free: Batch[] = []
  #rows = 0
  /** The reader may have what is there, and need not wait for more. */
  #released = false
  #wake: (() => void) | null = null
  #done = false
  /** Rows thrown away because nobody read them. */
  dropped = 0

  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax
  }
  get rows(): number {
    return this.#rows
  }
  get full(): boolean {
    return this.#rows >= this.#rowsMax
  }

  push(row: Row): void {
    if (this.#last.length === BATCH) this.#turn()
    pushRow(this.#last, row.time, row.timeVenue, row.market, row.kind, row.flags, row.side, row.price, row.quantity, row.detail)
    this.#rows++
  }
  /** What was pushed may be read. */
  release(): void {
    if (this.#last.length === 0) return
    this.#released = true
    if (this.#wake === null) return
    const wake = this.#wake
    this.#wake = null
    wake()
  }
  /** Throws market data away that nobody has read; what is rare stays, in order. */
  shed(): void {
    const before = this.#rows
    this.#turn()
    const batches = this.#queue
    this.#queue = []
    this.#rows = 0
    for (const b of batches)
      for (let i = 0; i < b.length; i++) {
        const kind = b.kind[i] as Kind
        if (kind < Kind.CATALOG) continue
        if (this.#last.length === BATCH) this.#turn()
        pushRow(
          this.#last,
          b.time[i] as number,
          b.timeVenue[i] as number,
          b.market[i] as number,
          kind,
          b.flags[i] as number,
          b.side[i] as number,
          b.price[i] as number,
          b.quantity[i] as number,
          b.details[b.detail[i] as number] ?? null,
        )
        this.#rows++
      }
    this.dropped += before - this.#rows
  }
  /** No more rows will come. */
  end(): void {
    this.#done = true
    this.#wake?.()
    this.#wake = null
  }

  /** The next batch; undefined when the feed has ended. */
  async take(): Promise<Batch | undefined> {
    for (;;) {
      const batch = this.#released || this.#done || this.#queue.length > 0 ? this.poll() : undefined
      if (batch !== undefined || this.#done) return batch
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
  /** The next batch if there is one, released or not. */
  poll(): Batch | undefined {
    if (this.#queue.length === 0) {
      this.#released = false
      this.#turn()
    }
    const batch = this.#queue.shift()
    if (batch === undefined) return undefined
    if (this.#handed !== null) this.#reuse(this.#handed)
    this.#handed = batch
    this.#rows -= batch.length
    return batch
  }

  #turn(): void {
    if (this.#last.length === 0) return
    this.#queue.push(this.#last)
    this.#last = this.#free.pop() ?? createBatch(BATCH)
  }
  #reuse(batch: Batch): void {
    if (this.#free.length >= FREE_MAX) return
    batch.length = 0
    batch.details = []
    this.#free.push(batch)
  }
}
