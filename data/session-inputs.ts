/**
 * What entered a session beside its tape: answers, reconciled state, operator commands, feed state. Owns their order among the tape's rows, at rest and in the log; hides where
 * they are. Invariant: rows and inputs come back in the one order in which they were written, whichever of them has left the log.
 *
 * `<session>/inputs.parquet`: `sequence` BIGINT order of the log · `row` BIGINT rows of the tape before it (checkpoints not counted) · `time` BIGINT µs · `kind` VARCHAR · `detail`
 * VARCHAR JSON.
 */
import { existsSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Flag, type Batch } from '../engine/message.ts'
import { FrameKind, SegmentReader, segmentsOf } from './log-reader.ts'
import { slice } from './log-rows.ts'
import { Database, quote } from './parquet.ts'
import { openTape, type ReadOptions } from './tape-reader.ts'

export type SessionInput = {
  /** Rows of the tape before it. */
  readonly row: number
  /** µs. */
  readonly time: number
  /** `answer`, `reconciled`, `operator`, `feed`, `delay`, `resumed`, … */
  readonly kind: string
  readonly detail: unknown
}

const FILE = 'inputs.parquet'
const COLUMNS = { sequence: 'double', row: 'double', time: 'double', kind: 'varchar', detail: 'varchar' } as const

/** Out of the log of a session that runs or was cut off. */
export function* logInputs(log: string): IterableIterator<SessionInput & { readonly sequence: number }> {
  for (const { path } of segmentsOf(log)) {
    const reader = new SegmentReader(path)
    try {
      for (let frame = reader.nextWhole(); frame !== null; frame = reader.nextWhole()) {
        if (frame.kind === FrameKind.INPUT)
          yield { ...(JSON.parse(frame.payload.toString('utf8')) as SessionInput), sequence: frame.sequence }
      }
      if (reader.problem !== null) return
    } finally {
      reader.close()
    }
  }
}

/** Log → `inputs.parquet`. */
export async function writeInputs(dir: string, log: string): Promise<void> {
  const db = await Database.open()
  try {
    const staging = await db.table('inputs', COLUMNS)
    let block: (SessionInput & { readonly sequence: number })[] = []
    const flush = async (): Promise<void> => {
      const numbers = (what: 'sequence' | 'row' | 'time'): Float64Array => Float64Array.from(block, (b) => b[what])
      const columns = [
        numbers('sequence'),
        numbers('row'),
        numbers('time'),
        block.map((b) => b.kind),
        block.map((b) => JSON.stringify(b.detail)),
      ]
      await staging.append(columns, 0, block.length)
      block = []
    }
    for (const input of logInputs(log)) {
      block.push(input)
      if (block.length === 2048) await flush()
    }
    await flush()
    const path = join(dir, FILE)
    await db.copy(
      'SELECT sequence::BIGINT AS sequence, row::BIGINT AS row, time::BIGINT AS time, kind, detail FROM inputs ORDER BY sequence',
      `${path}.tmp`,
    )
    await rename(`${path}.tmp`, path)
  } finally {
    db.close()
  }
}

/** The inputs of a session folder, in order. */
export async function readInputs(dir: string): Promise<SessionInput[]> {
  const plain = ({ row, time, kind, detail }: SessionInput): SessionInput => ({ row, time, kind, detail })
  if (existsSync(join(dir, 'log'))) return [...logInputs(join(dir, 'log'))].map(plain)
  if (!existsSync(join(dir, FILE))) return []
  const db = await Database.open()
  try {
    const rows = await db.rows(`SELECT row, time, kind, detail FROM read_parquet(${quote(join(dir, FILE))}) ORDER BY sequence`)
    return rows.map((r) => plain({ ...r, detail: JSON.parse(r['detail'] as string) as unknown } as SessionInput))
  } finally {
    db.close()
  }
}

export type SessionPiece = { readonly type: 'rows'; readonly batch: Batch } | { readonly type: 'input'; readonly input: SessionInput }

/** A session as it happened: rows of its tape and its inputs, in one order. Batches are cut where an input stands between their rows. `tickers` names the markets of the batches. */
export async function readSession(
  dir: string,
  options: Pick<ReadOptions, 'batchRows' | 'decode'> = {},
): Promise<{ readonly tickers: readonly string[]; readonly pieces: AsyncIterable<SessionPiece> }> {
  const tape = await openTape(join(dir, 'tape'))
  const inputs = await readInputs(dir)
  const stream = await tape.read(options)
  return {
    tickers: stream.tickers,
    pieces: {
      async *[Symbol.asyncIterator]() {
        let next = 0
        let rows = 0
        for await (const batch of stream) {
          let start = 0
          for (let i = 0; i < batch.length; i++) {
            // Before the books that a part repeats at its start, too: they have the time of the row behind them.
            for (; next < inputs.length && (inputs[next] as SessionInput).row <= rows; next++) {
              if (i > start) yield { type: 'rows' as const, batch: slice(batch, start, i) }
              start = i
              yield { type: 'input' as const, input: inputs[next] as SessionInput }
            }
            if (((batch.flags[i] as number) & Flag.CHECKPOINT) === 0) rows++
          }
          if (batch.length > start) yield { type: 'rows' as const, batch: slice(batch, start, batch.length) }
        }
        for (; next < inputs.length; next++) yield { type: 'input' as const, input: inputs[next] as SessionInput }
      },
    },
  }
}
