/**
 * Rows put into a tape that is there already. Owns the merge by time and the exchange of the old tape for the new one; hides files and checkpoints. Invariants: a row is never
 * put inside an exchange message, and at its time it comes after the rows that stood there; a tape that was being rewritten is the old one until the new one is whole.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createBatch, Flag, Kind, pushRow, type Batch } from '../engine/message.ts'
import type { Manifest, MarketRow } from './schema.ts'
import type { Tape } from './tape-reader.ts'
import { TapeWriter } from './tape-writer.ts'

const BATCH_ROWS = 4096
const QUARANTINE = 'quarantine.ndjson'

/** A rare row to put in; `market` null: of no market. */
export type Insertion = {
  readonly time: number
  readonly timeVenue: number
  readonly market: string | null
  readonly kind: Kind
  readonly detail: string
}

export type Rewriting = {
  /** In the order of their time. */
  readonly insertions: AsyncIterable<Insertion> | Iterable<Insertion>
  /** Whether a rare row of the old tape is left out. */
  readonly drops?: (kind: number, detail: string) => boolean
  readonly remarks?: readonly string[]
  /** The old remarks that stay; without it all of them. */
  readonly keepRemark?: (remark: string) => boolean
  readonly origin?: Manifest['origin']
  readonly markets?: readonly MarketRow[]
}

export async function rewriteTape(tape: Tape, rewriting: Rewriting): Promise<Manifest> {
  const { manifest, dir } = tape
  const writer = await TapeWriter.create(dir, {
    name: manifest.name,
    source: manifest.source,
    practice: manifest.practice,
    depth: manifest.depth,
    replace: true,
  })
  try {
    const stream = await tape.read({ decode: 'thread' })
    for (const ticker of stream.tickers) writer.market(ticker)
    const merge = new Merge(writer, rewriting.insertions)
    const { drops } = rewriting
    let border = true
    for await (const batch of stream) {
      for (let i = 0; i < batch.length; i++) {
        if (border && merge.due(batch.time[i] as number)) await merge.insert(batch.time[i] as number)
        border = ((batch.flags[i] as number) & Flag.LAST) !== 0
        if (((batch.flags[i] as number) & Flag.CHECKPOINT) !== 0) continue // the writer places its own
        const kind = batch.kind[i] as number
        if (drops !== undefined && kind >= Kind.CATALOG && drops(kind, batch.details[batch.detail[i] as number] ?? '')) continue
        await merge.copy(batch, i)
      }
    }
    await merge.insert(Infinity)
    await merge.flush()
    if (manifest.files.some((f) => f.path === QUARANTINE)) writer.quarantine(await readFile(join(dir, QUARANTINE), 'utf8'))
    const { clock, labels, labelBasis, gaps, inFlux, negativeLevels, lastingCrosses, quarantined } = manifest
    const { keepRemark = () => true } = rewriting
    return await writer.finish({
      clock,
      labels,
      labelBasis,
      gaps,
      inFlux,
      negativeLevels,
      lastingCrosses,
      quarantined,
      origin: rewriting.origin ?? manifest.origin,
      remarks: [...new Set([...manifest.remarks.filter(keepRemark), ...(rewriting.remarks ?? [])])],
      coverage: await tape.coverage(),
      markets: rewriting.markets ?? (await tape.markets()),
    })
  } catch (error) {
    await writer.abort()
    throw error
  }
}

/** The old rows and the new ones on their way into the writer. */
class Merge {
  readonly #writer: TapeWriter
  readonly #source: AsyncIterator<Insertion> | Iterator<Insertion>
  /** The insertion that is next; undefined: not asked for yet; null: there are no more. */
  #next: Insertion | null | undefined
  #out = createBatch(BATCH_ROWS)
  /** Time of the latest row. */
  #last = -Infinity

  constructor(writer: TapeWriter, insertions: AsyncIterable<Insertion> | Iterable<Insertion>) {
    this.#writer = writer
    this.#source = Symbol.asyncIterator in insertions ? insertions[Symbol.asyncIterator]() : insertions[Symbol.iterator]()
  }
  due(time: number): boolean {
    return this.#next === undefined || (this.#next !== null && this.#next.time < time)
  }
  async insert(until: number): Promise<void> {
    for (;;) {
      if (this.#next === undefined) {
        const step = await this.#source.next()
        this.#next = step.done === true ? null : step.value
      }
      const row = this.#next
      if (row === null || row.time >= until) return
      this.#next = undefined
      if (this.#out.length === BATCH_ROWS) await this.flush()
      const market = row.market === null ? -1 : this.#writer.market(row.market)
      // What became known in the middle of a message comes when the message is over.
      const time = Math.max(row.time, this.#last)
      pushRow(this.#out, time, row.timeVenue, market, row.kind, Flag.LAST, 0, 0, 0, row.detail)
    }
  }
  async copy(b: Batch, i: number): Promise<void> {
    if (this.#out.length === BATCH_ROWS) await this.flush()
    const detail = b.detail[i] as number
    this.#last = b.time[i] as number
    pushRow(
      this.#out,
      this.#last,
      b.timeVenue[i] as number,
      b.market[i] as number,
      b.kind[i] as Kind,
      b.flags[i] as number,
      b.side[i] as number,
      b.price[i] as number,
      b.quantity[i] as number,
      detail < 0 ? null : (b.details[detail] as string),
    )
  }
  async flush(): Promise<void> {
    await this.#writer.append(this.#out)
    this.#out = createBatch(BATCH_ROWS)
  }
}
