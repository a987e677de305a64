/**
 * A session's record while it runs: journal and samples go to the append log block by block, so that memory stays flat and a run that was killed can be read. Owns the segments
 * of a session (one engine each) and the way from the log to Parquet; hides the frames. Invariant: what a finished folder holds is what the log held, and the log goes last.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../engine/assert.ts'
import type { JournalSink, JournalTable, Strings } from '../engine/journal.ts'
import type { EquityTable, MarkoutTable, SampleSink, TouchTable } from '../engine/samples.ts'
import type { SessionEnd, SessionHeader, SessionRecord } from '../engine/session.ts'
import { AppendLog } from './log.ts'
import { FrameKind, SegmentReader, segmentsOf } from './log-reader.ts'
import {
  appendBlock,
  decodeBlock,
  digestOf,
  RunDigest,
  TABLE_NAMES,
  TABLES,
  type Table,
  type TableName,
  type Tables,
} from './run-blocks.ts'
import { partialEnd } from './run-partial.ts'
import { writeRunFiles, type RunSource } from './run-files.ts'
import type { NumberColumn } from './parquet.ts'

export class RunLog implements JournalSink, SampleSink {
  readonly #log: AppendLog
  readonly #own: boolean
  readonly #digest = new RunDigest()
  #strings: Strings | null = null
  #stringsWritten = 0
  #rows = 0
  /** Rows of each table that the log has already and that come again. */
  readonly #again: Record<TableName, number> = { journal: 0, touches: 0, equity: 0, markouts: 0 }

  private constructor(log: AppendLog, own: boolean) {
    this.#log = log
    this.#own = own
  }

  /** A new segment in the log of a session, or (without one) a run of its own in `dir`, where an older log is replaced. */
  static async open(dir: string, header: SessionHeader, log?: AppendLog): Promise<RunLog> {
    let own: AppendLog | null = null
    if (log === undefined) {
      await mkdir(dir, { recursive: true })
      await rm(join(dir, 'log'), { recursive: true, force: true })
      // A backtest can be run again: it does not wait for the disk.
      own = await AppendLog.open(join(dir, 'log'), { durable: false })
    }
    const run = new RunLog(log ?? (own as AppendLog), own !== null)
    run.#log.appendJson(FrameKind.SESSION, header)
    return run
  }
  /**
   * The last segment of the log goes on: its engine has to live through everything again from its first row, and what the log has of it is not written twice. So a session that was cut off
   * and went on has the journal, and the digest, of one that ran through. Whoever calls has compared what came again (`firstDifference`).
   */
  static goOn(log: AppendLog): RunLog {
    const run = new RunLog(log, false)
    const pass = new Pass()
    for (const { name, block } of pass.blocks(log.dir, null, false, () => {
      for (const table of TABLE_NAMES) run.#again[table] = 0
    }))
      run.#again[name] += block.length
    run.#stringsWritten = pass.stringsOfSegment
    return run
  }

  journal(block: JournalTable, strings: Strings): void {
    this.#rows += block.length
    this.#add('journal', block, strings)
  }
  touches(block: TouchTable, strings: Strings): void {
    this.#add('touches', block, strings)
  }
  equity(block: EquityTable): void {
    this.#add('equity', block, null)
  }
  markouts(block: MarkoutTable): void {
    this.#add('markouts', block, null)
  }
  get rows(): number {
    return this.#rows
  }
  /** Of this segment. */
  digest(): string {
    return this.#digest.digest(this.#strings?.all ?? [])
  }

  /** The engine of this segment has finished. */
  end(end: SessionEnd): void {
    this.#texts()
    this.#log.appendJson(FrameKind.END, end)
  }
  /** After `end`: writes the run folder, and removes the log when it was this run's own. */
  async finish(dir: string): Promise<SessionRecord> {
    await writeRunLog(dir, this.#log.dir)
    // Last, and once: what a report is made of.
    const record = readRunLog(this.#log.dir)
    if (this.#own) await this.#log.remove()
    return record
  }
  /** Nothing is kept. */
  async abandon(): Promise<void> {
    if (this.#own) await this.#log.remove()
  }

  #add(name: TableName, block: Table | Tables[TableName], strings: Strings | null): void {
    if (strings !== null) this.#strings = strings
    this.#texts()
    this.#digest.add(name, block as Table)
    const { length } = block
    const again = Math.min(this.#again[name], length)
    this.#again[name] -= again
    if (again < length) appendBlock(this.#log, name, again === 0 ? (block as Table) : behind(block as Table, again))
  }
  #texts(): void {
    const all = this.#strings?.all ?? []
    if (all.length <= this.#stringsWritten) return
    this.#log.appendJson(FrameKind.STRINGS, all.slice(this.#stringsWritten))
    this.#stringsWritten = all.length
  }
}

/** A block without its first rows. */
function behind(block: Table, rows: number): Table {
  const rest: Record<string, number | NumberColumn> & { length: number } = { length: block.length - rows }
  for (const [column, values] of Object.entries(block))
    if (column !== 'length') rest[column] = (values as NumberColumn).subarray(rows, block.length)
  return rest
}

/** Blocks of one table or of all, in order, with words numbered over all segments. */
type Seen = { readonly name: TableName; readonly block: Table }

/** One pass over a log. */
class Pass {
  readonly headers: SessionHeader[] = []
  readonly ends: (SessionEnd | null)[] = []
  readonly digests: string[] = []
  readonly strings: string[] = []
  readonly #numbers = new Map<string, number>()
  #words: number[] = []
  #own: string[] = []
  #digest: RunDigest | null = null

  get stringsOfSegment(): number {
    return this.#own.length
  }

  #word(text: string): void {
    this.#own.push(text)
    let number = this.#numbers.get(text)
    if (number === undefined) {
      number = this.strings.length
      this.strings.push(text)
      this.#numbers.set(text, number)
    }
    this.#words.push(number)
  }
  /** `begins`: a segment begins. */
  *blocks(dir: string, wanted: TableName | null, digest: boolean, begins: () => void = () => {}): IterableIterator<Seen> {
    for (const { path } of segmentsOf(dir)) {
      const reader = new SegmentReader(path)
      try {
        for (let frame = reader.nextWhole(); frame !== null; frame = reader.nextWhole()) {
          switch (frame.kind) {
            case FrameKind.SESSION:
              this.#close()
              begins()
              this.headers.push(JSON.parse(frame.payload.toString('utf8')) as SessionHeader)
              this.ends.push(null)
              this.#words = []
              this.#own = []
              this.#digest = digest ? new RunDigest() : null
              break
            case FrameKind.STRINGS:
              for (const text of JSON.parse(frame.payload.toString('utf8')) as string[]) this.#word(text)
              break
            case FrameKind.END:
              this.ends[this.ends.length - 1] = JSON.parse(frame.payload.toString('utf8')) as SessionEnd
              break
            case FrameKind.JOURNAL:
            case FrameKind.TOUCHES:
            case FrameKind.EQUITY:
            case FrameKind.MARKOUTS: {
              const name = TABLE_NAMES.find((n) => TABLES[n].kind === frame?.kind) as TableName
              if (!digest && wanted !== null && wanted !== name) break
              const block = decodeBlock(name, frame)
              this.#digest?.add(name, block)
              if (this.headers.length > 1) this.#renumber(name, block)
              yield { name, block }
              break
            }
            case FrameKind.HEAD:
            case FrameKind.NAME:
            case FrameKind.ROWS:
            case FrameKind.NOTE:
            case FrameKind.INPUT:
              break
            default:
              // Of a later version: not this record's.
              break
          }
        }
        // What stands behind a hole is cut off by whoever opens the log.
        if (reader.problem !== null) break
      } finally {
        reader.close()
      }
    }
    this.#close()
  }
  #renumber(name: TableName, block: Table): void {
    for (const column of TABLES[name].words) {
      const values = block[column] as NumberColumn
      for (let i = 0; i < block.length; i++) {
        const word = values[i] as number
        if (word >= 0) values[i] = this.#words[word] as number
      }
    }
  }
  #close(): void {
    if (this.#digest !== null) this.digests.push(this.#digest.digest(this.#own))
    this.#digest = null
  }
}

/** A session as its log tells it; one without an end mark is partial, and says so. */
export function readRunLog(dir: string): SessionRecord {
  const first = new Pass()
  const lengths: Record<TableName, number> = { journal: 0, touches: 0, equity: 0, markouts: 0 }
  for (const { name, block } of first.blocks(dir, null, true)) lengths[name] += block.length
  const tables = {
    journal: TABLES.journal.create(lengths.journal),
    touches: TABLES.touches.create(lengths.touches),
    equity: TABLES.equity.create(lengths.equity),
    markouts: TABLES.markouts.create(lengths.markouts),
  }
  // The log may have grown meanwhile: what the first pass saw is what there is.
  for (const { name, block } of new Pass().blocks(dir, null, false)) {
    const target = tables[name] as unknown as Table
    const rows = Math.min(block.length, lengths[name] - target.length)
    for (const [column, values] of Object.entries(target)) {
      if (column !== 'length') (values as NumberColumn).set((block[column] as NumberColumn).subarray(0, rows), target.length)
    }
    target.length += rows
  }
  return { ...sourceOf(first, tables), ...tables }
}

/** Without tables only a session that has its end. */
function sourceOf(pass: Pass, tables: Tables | null): Omit<RunSource, 'blocks'> {
  const header = pass.headers.at(-1) as SessionHeader
  const marked = pass.ends.at(-1) ?? null
  assert(marked !== null || tables !== null, 'a session is written out once it has ended')
  const end = marked ?? partialEnd(pass.headers[0] as SessionHeader, pass.strings, tables as Tables)
  return { header, end, digest: digestOf(pass.digests), strings: pass.strings }
}

/** Log → run folder, one table after another: no more of it in memory than a block. */
async function writeRunLog(dir: string, log: string): Promise<void> {
  const first = new Pass()
  for (const _ of first.blocks(log, null, true)) continue
  await writeRunFiles(dir, {
    ...sourceOf(first, null),
    *blocks(wanted) {
      for (const { name, block } of new Pass().blocks(log, wanted, false)) if (name === wanted) yield block
    },
  })
}
