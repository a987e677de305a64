/**
 * What a session leaves behind, as whoever asks for it sees it. Owns reading a run folder in whatever state it is; hides whether it is a log or files. Invariant: a session that
 * was cut off is read as far as it is whole, and its end says that it is partial.
 *
 * `<run>/run.json`: where the tape was, as it was given: a hint for later commands, part of no digest.
 */
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JournalSink, JournalTable, Strings } from '../engine/journal.ts'
import type { EquityTable, MarkoutTable, SampleSink, TouchTable } from '../engine/samples.ts'
import type { SessionEnd, SessionHeader, SessionRecord } from '../engine/session.ts'
import { DataError } from './errors.ts'
import { segmentsOf } from './log-reader.ts'
import { RunDigest, TABLES, type Table, type TableName, type Tables } from './run-blocks.ts'
import { readRunFiles, writeRunFiles } from './run-files.ts'
import { PAUSED, readRunLog } from './run-log.ts'
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

/** Whether a session has come to an end that is written down, be it that it can go on. */
export function isWhole(dir: string): boolean {
  return existsSync(join(dir, 'end.json')) && (!existsSync(join(dir, 'log')) || existsSync(join(dir, 'log', PAUSED)))
}

/** Reads a run folder, also one whose session is still running or was cut off. Throws DataError when it is none. */
export async function readRun(dir: string): Promise<SessionRecord> {
  const log = join(dir, 'log')
  // While there is a log it is the truth: files beside it are older, or not yet all there.
  if (!existsSync(log) || existsSync(join(log, PAUSED))) return readRunFiles(dir)
  try {
    return readRunLog(log)
  } catch (error) {
    if (error instanceof DataError || segmentsOf(log).length > 0) throw error
    throw new DataError(
      'NOT_A_RUN',
      `${dir} is not a run (its log is empty): give the folder of a backtest, or of a paper or live session`,
      error,
    )
  }
}

/** Where a run came from on this machine. Not part of the record: another machine has its tapes elsewhere. */
export type RunPlace = { readonly schema: 'tapeline.run/1'; readonly tape: string }

export async function writePlace(dir: string, tape: string): Promise<void> {
  const place: RunPlace = { schema: 'tapeline.run/1', tape }
  await writeFile(join(dir, 'run.json'), `${JSON.stringify(place, null, 1)}\n`)
}

/** Null: the run does not say (one of an older version, or handed over without it). */
export async function readPlace(dir: string): Promise<RunPlace | null> {
  const path = join(dir, 'run.json')
  if (!existsSync(path)) return null
  try {
    const place = JSON.parse(await readFile(path, 'utf8')) as Partial<RunPlace>
    return typeof place.tape === 'string' ? { schema: 'tapeline.run/1', tape: place.tape } : null
  } catch {
    return null
  }
}
