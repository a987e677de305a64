/** Tapes and recordings of random rows, and what is read back, for tests. */
import { openTape, type ReadOptions, type Tape } from '../../data/tape-reader.ts'
import { Flag, type Batch, type Feed } from '../../engine/message.ts'
import { batchesOf, type Row } from './rows.ts'

/** A row by its ticker. */
export type Named = Omit<Row, 'market'> & { readonly market: string }

export function named(rows: readonly Row[], tickers: readonly string[]): Named[] {
  return rows.map((r) => ({ ...r, market: r.market < 0 ? '' : (tickers[r.market] as string) }))
}
export function feedOf(rows: readonly Row[], size: number): Feed {
  return {
    async *batches() {
      yield* batchesOf(rows, size)
    },
  }
}
export function rowsOf(batch: Batch, tickers: readonly string[]): Named[] {
  return Array.from({ length: batch.length }, (_, i) => ({
    time: batch.time[i] as number,
    timeVenue: batch.timeVenue[i] as number,
    market: (batch.market[i] as number) < 0 ? '' : (tickers[batch.market[i] as number] as string),
    kind: batch.kind[i] as number,
    flags: batch.flags[i] as number,
    side: batch.side[i] as number,
    price: batch.price[i] as number,
    quantity: batch.quantity[i] as number,
    detail: (batch.detail[i] as number) < 0 ? null : (batch.details[batch.detail[i] as number] as string),
  }))
}
/** All rows of a tape but checkpoints. */
export async function readNamed(tape: Tape | string, options: ReadOptions = {}): Promise<Named[]> {
  const stream = await (typeof tape === 'string' ? await openTape(tape) : tape).read({ decode: 'thread', ...options })
  const out: Named[] = []
  for await (const batch of stream) out.push(...rowsOf(batch, stream.tickers))
  return out.filter((r) => (r.flags & Flag.CHECKPOINT) === 0)
}
