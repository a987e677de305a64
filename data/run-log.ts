/**
 * A session's record while it runs: journal and samples go to the append log block by block, so that memory stays flat and a run that was killed can be read. Owns the segments
 * of a session (one engine each), what a session that goes on must repeat, and the way from the log to Parquet; hides the frames. Invariants: what a finished folder holds is what the log held, and the
 * log goes last; of a session that goes on nothing is written twice, and nothing that was written is contradicted.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../engine/assert.ts'
import type { JournalSink, JournalTable, Strings } from '../engine/journal.ts'
import type { EquityTable, MarkoutTable, SampleSink, TouchTable } from '../engine/samples.ts'
import type { SessionEnd, SessionHeader, SessionRecord } from '../engine/session.ts'
import { DataError } from './errors.ts'
import { AppendLog } from './log.ts'
import { FrameKind, SegmentReader, segmentsOf } from './log-reader.ts'
import {
  appendBlock,
  columnsOf,
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

/** In the folder of a log: the files beside it are newer. */
export const PAUSED = 'paused'

export class RunLog implements JournalSink, SampleSink {
  readonly #log: AppendLog
  readonly #own: boolean
  readonly #digest = new RunDigest()
  #strings: Strings | null = null
  #stringsWritten = 0
  #rows = 0
  /** What the log holds already, while it is repeated. */
  #past: SessionRecord | null = null
  readonly #repeated: Record<TableName, number> = { journal: 0, touches: 0, equity: 0, markouts: 0 }
  /** Once it is set, blocks stay in memory. */
  #last: { readonly name: TableName; readonly block: Table }[] | null = null

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

  /** Goes on in the log of a session that was cut off or paused: its engine lives it again from the start, and what comes must be what is there. */
  static goOn(header: SessionHeader, log: AppendLog): RunLog {
    const run = new RunLog(log, false)
    const past = hasSession(log.dir) ? readRunLog(log.dir) : null
    if (past === null) log.appendJson(FrameKind.SESSION, header)
    else {
      run.#past = past
      run.#stringsWritten = past.strings.length
    }
    return run
  }
  /** µs: time of the last journal row that the log holds; 0: none. */
  get lastTime(): number {
    const journal = this.#past?.journal
    return journal === undefined || journal.length === 0 ? 0 : (journal.time[journal.length - 1] as number)
  }
  /** Everything that the log held has come again. Throws DataError DIVERGED when it has not. */
  repeated(): void {
    const past = this.#past
    if (past === null) return
    for (const name of TABLE_NAMES)
      if (this.#repeated[name] < past[name].length) throw diverged(name, this.#repeated[name], 'it ended there')
    this.#past = null
  }

  journal(block: JournalTable, strings: Strings): void {
    this.#add('journal', block, strings)
    this.#rows += block.length
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
  /** From here on nothing goes to the log: how a session ends is not part of it, so that it can go on. */
  detach(): void {
    this.#last = []
  }
  /** After `detach`: writes the files of a run beside the log, which stays. */
  async keep(dir: string, end: SessionEnd): Promise<SessionRecord> {
    const held = readRunLog(this.#log.dir)
    const tables = Object.fromEntries(
      TABLE_NAMES.map((name) => {
        const blocks = [held[name] as unknown as Table, ...(this.#last ?? []).filter((b) => b.name === name).map((b) => b.block)]
        const table = TABLES[name].create(blocks.reduce((n, b) => n + b.length, 0)) as unknown as Table
        for (const block of blocks) {
          for (const column of columnsOf(name))
            (table[column] as NumberColumn).set((block[column] as NumberColumn).subarray(0, block.length), table.length)
          table.length += block.length
        }
        return [name, table]
      }),
    ) as unknown as Tables
    const record = { header: held.header, end, digest: this.digest(), strings: this.#strings?.all ?? held.strings, ...tables }
    await writeRunFiles(dir, { ...record, blocks: (name) => [record[name] as unknown as Table] })
    return record
  }
  /** Nothing is kept. */
  async abandon(): Promise<void> {
    if (this.#own) await this.#log.remove()
  }

  #add(name: TableName, block: Table | Tables[TableName], strings: Strings | null): void {
    if (strings !== null) this.#strings = strings
    const table = block as Table
    const known = this.#past === null ? 0 : this.#repeat(this.#past, name, table)
    const fresh = known === 0 ? table : rowsFrom(name, table, known)
    if (fresh.length > 0 && this.#last !== null) this.#last.push({ name, block: rowsFrom(name, fresh, 0) })
    else if (fresh.length > 0) {
      this.#texts()
      appendBlock(this.#log, name, fresh)
    }
    // Only what is written counts: a block that the disk did not take may be offered again.
    this.#repeated[name] += known
    this.#digest.add(name, table)
  }
  /** How many rows of the block the log holds. Throws at the first that it holds otherwise. */
  #repeat(past: SessionRecord, name: TableName, block: Table): number {
    const held = past[name] as unknown as Table
    const from = this.#repeated[name]
    const rows = Math.min(block.length, held.length - from)
    const words = new Set(TABLES[name].words)
    for (const column of columnsOf(name)) {
      const [was, is] = [held[column] as NumberColumn, block[column] as NumberColumn]
      const text = words.has(column)
      for (let i = 0; i < rows; i++) {
        const [a, b] = [was[from + i] as number, is[i] as number]
        // Numbers of words are given in the order in which they came: the same number must be the same word.
        if (!Object.is(a, b) || (text && b >= 0 && past.strings[b] !== this.#strings?.at(b)))
          throw diverged(name, from + i, `its ${column} is another`)
      }
    }
    return rows
  }
  #texts(): void {
    const all = this.#strings?.all ?? []
    if (all.length === this.#stringsWritten) return
    this.#log.appendJson(FrameKind.STRINGS, all.slice(this.#stringsWritten))
    this.#stringsWritten = all.length
  }
}

function diverged(name: TableName, row: number, how: string): DataError {
  return new DataError(
    'DIVERGED',
    `the session does not lead to its own ${name} any more (row ${row}: ${how}): was a strategy or the program changed? Put it back, or start a new session`,
  )
}
/** A copy of the rows from `from` on. */
function rowsFrom(name: TableName, block: Table, from: number): Table {
  const table = TABLES[name].create(block.length - from) as unknown as Table
  for (const column of columnsOf(name)) (table[column] as NumberColumn).set((block[column] as NumberColumn).subarray(from, block.length))
  table.length = block.length - from
  return table
}
/** Whether a log has a session in it: a crash may have come before. */
function hasSession(dir: string): boolean {
  for (const { path } of segmentsOf(dir)) {
    const reader = new SegmentReader(path)
    try {
      for (let frame = reader.nextWhole(); frame !== null; frame = reader.nextWhole()) if (frame.kind === FrameKind.SESSION) return true
    } finally {
      reader.close()
    }
  }
  return false
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
  *blocks(dir: string, wanted: TableName | null, digest: boolean): IterableIterator<Seen> {
    for (const { path } of segmentsOf(dir)) {
      const reader = new SegmentReader(path)
      try {
        for (let frame = reader.nextWhole(); frame !== null; frame = reader.nextWhole()) {
          switch (frame.kind) {
            case FrameKind.SESSION:
              this.#close()
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
