/**
 * What a session leaves behind, as whoever asks for it sees it. Owns reading a run folder in whatever state it is; hides whether it is a log or files. Invariant: a session that
 * was cut off is read as far as it is whole, and its end says that it is partial.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { JournalSink, JournalTable, Strings } from '../engine/journal.ts'
import type { EquityTable, MarkoutTable, SampleSink, TouchTable } from '../engine/samples.ts'
import type { SessionEnd, SessionHeader, SessionRecord } from '../engine/session.ts'
import { DataError } from './errors.ts'
import { segmentsOf } from './log-reader.ts'
import { RunDigest, TABLES, type Table, type TableName, type Tables } from './run-blocks.ts'
import { readRunFiles, writeRunFiles } from './run-files.ts'
import { readRunLog } from './run-log.ts'
import type { NumberColumn } from './parquet.ts'

/** Gathers a session in memory. `keep` false: the digest only. */
export class Run implements JournalSink, SampleSink {
  readonly #digest = new RunDigest()
  readonly #blocks: Record<TableName, Table[]> = { journal: [], touches: [], equity: [], markouts: [] }
  readonly #keep: boolean
  #strings: Strings | null = null
  #rows = 0

  constructor(keep = true) {
    this.#keep = keep
  }
  journal(block: JournalTable, strings: Strings): void {
    this.#strings = strings
    this.#rows += block.length
    this.#add('journal', block)
  }
  touches(block: TouchTable, strings: Strings): void {
    this.#strings = strings
    this.#add('touches', block)
  }
  equity(block: EquityTable): void {
    this.#add('equity', block)
  }
  markouts(block: MarkoutTable): void {
    this.#add('markouts', block)
  }
  get rows(): number {
    return this.#rows
  }
  digest(): string {
    return this.#digest.digest(this.#strings?.all ?? [])
  }
  record(header: SessionHeader, end: SessionEnd): SessionRecord {
    return {
      header,
      end,
      digest: this.digest(),
      strings: this.#strings?.all ?? [],
      journal: this.#table('journal'),
      touches: this.#table('touches'),
      equity: this.#table('equity'),
      markouts: this.#table('markouts'),
    }
  }

  #add(name: TableName, block: Tables[TableName]): void {
    const table = block as unknown as Table
    this.#digest.add(name, table)
    if (!this.#keep) return
    const copy: Record<string, number | NumberColumn> & { length: number } = { length: block.length }
    for (const [column, values] of Object.entries(table))
      if (column !== 'length') copy[column] = (values as NumberColumn).slice(0, block.length)
    this.#blocks[name].push(copy)
  }
  #table<N extends TableName>(name: N): Tables[N] {
    const blocks = this.#blocks[name]
    const table = TABLES[name].create(blocks.reduce((n, b) => n + b.length, 0))
    const target = table as unknown as Table
    for (const block of blocks) {
      for (const [column, values] of Object.entries(block))
        if (column !== 'length') (target[column] as NumberColumn).set(values as NumberColumn, target.length)
      target.length += block.length
    }
    return table
  }
}

/** Writes a run folder from a record in memory. */
export async function writeRun(dir: string, record: SessionRecord): Promise<void> {
  await writeRunFiles(dir, { ...record, blocks: (name) => [record[name] as unknown as Table] })
}

/** Reads a run folder, also one whose session is still running or was cut off. Throws DataError when it is none. */
export async function readRun(dir: string): Promise<SessionRecord> {
  const log = join(dir, 'log')
  // While there is a log it is the truth: files beside it are older, or not yet all there.
  if (!existsSync(log)) return readRunFiles(dir)
  try {
    return readRunLog(log)
  } catch (error) {
    if (error instanceof DataError || segmentsOf(log).length > 0) throw error
    throw new DataError('NOT_A_RUN', `${dir} is not a run (its log is empty): give the folder that \`tapeline backtest\` printed`, error)
  }
}
