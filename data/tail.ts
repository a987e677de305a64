/**
 * The rows of a growing tape that stand in no part yet. Owns reading them out of the log while another process writes it; hides segments that come and go. Invariant: rows
 * `from` … `to` − 1 of the tape, each once and in order, or (where the recorder has moved some into parts meanwhile) as far as the log still reaches without a hole.
 */
import { join } from 'node:path'
import { Flag, KIND_NAMES, Kind, Label, labelOf, type Batch, type CatalogDetail, type KindName } from '../engine/message.ts'
import { FrameKind, SegmentReader, segmentsOf } from './log-reader.ts'
import { decodeRows, rangeOf, SegmentNames, slice } from './log-rows.ts'
import { Losses } from './losses.ts'
import type { Growing, Manifest } from './schema.ts'

export type Tail = {
  readonly dir: string
  readonly log: string
  /** Rows of the tape, checkpoints not counted. */
  readonly from: number
  readonly to: number
  /** Message files that hold the rows before, by their paths in the tape. */
  readonly files: readonly string[]
}

/** Rows from `from` on, up to `to`. `before`: rows of the tape before the batch; `names` the markets of its numbers. */
export function* logRows(
  log: string,
  from: number,
  to: number,
): IterableIterator<{ readonly batch: Batch; readonly before: number; readonly names: SegmentNames }> {
  let next = from
  for (const { path } of readable(log)) {
    let reader: SegmentReader
    try {
      reader = new SegmentReader(path)
    } catch (error) {
      // Its rows went into a part just now.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue
      throw error
    }
    const names = new SegmentNames()
    try {
      // A frame that is not whole is being written: what is before it is what there is.
      for (let frame = reader.nextWhole(); frame !== null; frame = reader.nextWhole()) {
        if (frame.kind === FrameKind.NAME) names.add(frame)
        if (frame.kind !== FrameKind.ROWS) continue
        const { before, rows } = rangeOf(frame)
        if (before + rows <= next) continue
        if (before > next || before >= to) return
        const batch = decodeRows(frame)
        const end = Math.min(rows, to - before)
        yield { batch: before === next && end === rows ? batch : slice(batch, next - before, end), before: next, names }
        next = before + end
        if (next >= to) return
      }
      if (reader.problem !== null) return
    } finally {
      reader.close()
    }
  }
}

function readable(log: string): { readonly path: string }[] {
  try {
    return [...segmentsOf(log)]
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

export type TailFacts = Pick<Manifest, 'rows' | 'byKind' | 'lagMax' | 'to'> & {
  readonly from: number
  /** Row of the tape at which the tail ends. */
  readonly end: number
  /** Markets that it names, in the order of their first row. */
  readonly tickers: readonly string[]
  /** Whether decreases are labelled as trades by a print, or inferred to be. */
  readonly paired: boolean
  readonly inferred: boolean
  readonly losses: Losses
}

/** What the log holds behind the parts just now. */
export function tailFacts(dir: string, growing: Growing): TailFacts {
  const byKind = new Float64Array(KIND_NAMES.length)
  const tickers = new Set<string>()
  let [rows, lagMax, first, last] = [0, 0, -1, -1]
  let [paired, inferred] = [false, false]
  const losses = new Losses()
  for (const { batch } of logRows(join(dir, growing.log), growing.rows, Infinity)) {
    rows += batch.length
    if (first < 0) first = batch.time[0] as number
    last = batch.time[batch.length - 1] as number
    for (let i = 0; i < batch.length; i++) {
      const kind = batch.kind[i] as number
      byKind[kind] = (byKind[kind] as number) + 1
      const detail = batch.detail[i] as number
      losses.row(kind, batch.time[i] as number, detail < 0 ? '' : (batch.details[detail] as string))
      const flags = batch.flags[i] as number
      if (kind === Kind.DELTA && labelOf(flags) === Label.TRADE) {
        if ((flags & Flag.INFERRED) !== 0) inferred = true
        else paired = true
      }
      if (kind === Kind.DELTA || kind === Kind.TRADE) {
        if ((flags & Flag.POLLED) === 0) lagMax = Math.max(lagMax, (batch.time[i] as number) - (batch.timeVenue[i] as number))
      } else if (kind === Kind.CATALOG)
        tickers.add((JSON.parse(batch.details[batch.detail[i] as number] as string) as CatalogDetail).ticker)
    }
  }
  const counted: Partial<Record<KindName, number>> = {}
  KIND_NAMES.forEach((name, kind) => {
    if ((byKind[kind] as number) > 0) counted[name] = byKind[kind] as number
  })
  return { rows, byKind: counted, lagMax, from: first, to: last, end: growing.rows + rows, tickers: [...tickers], paired, inferred, losses }
}
