/**
 * What a session leaves behind. Owns the run folder and the digest; hides how blocks are gathered. Invariant: the digest is SHA-256 over every column and string of
 * journal and samples, so it does not depend on block borders, the header or the end mark.
 *
 * `<run>/session.json` header · `end.json` end mark, digest · `journal.parquet` `touches.parquet` `equity.parquet` `markouts.parquet` · reports beside them
 * · `run.json` where the tape was, as it was given: a hint for later commands, part of no digest.
 */
import { createHash, type Hash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createJournalTable, JOURNAL_KIND_NAMES, type JournalSink, type JournalTable, type Strings } from '../engine/journal.ts'
import {
  createEquityTable,
  createMarkoutTable,
  createTouchTable,
  type EquityTable,
  type MarkoutTable,
  type SampleSink,
  type TouchTable,
} from '../engine/samples.ts'
import type { SessionEnd, SessionHeader, SessionRecord } from '../engine/session.ts'
import { DataError } from './errors.ts'
import { Database, quote, type ColumnType, type NumberColumn } from './parquet.ts'

type Table = { length: number } & Readonly<Record<string, number | NumberColumn>>

/** Columns that grow by whole blocks. */
class Gathered {
  readonly #names: readonly string[]
  readonly #hashes: Hash[]
  readonly #blocks: NumberColumn[][]
  readonly #keep: boolean
  length = 0

  constructor(sample: Table, keep: boolean) {
    this.#names = Object.keys(sample).filter((k) => k !== 'length')
    this.#hashes = this.#names.map(() => createHash('sha256'))
    this.#blocks = this.#names.map(() => [])
    this.#keep = keep
  }
  add(table: Table): void {
    this.#names.forEach((name, c) => {
      const column = (table[name] as NumberColumn).slice(0, table.length)
      this.#hashes[c]?.update(new Uint8Array(column.buffer, column.byteOffset, column.byteLength))
      if (this.#keep) this.#blocks[c]?.push(column)
    })
    this.length += table.length
  }
  digest(): string[] {
    return this.#hashes.map((h) => h.copy().digest('hex'))
  }
  into<T extends Table>(table: T): T {
    this.#names.forEach((name, c) => {
      let at = 0
      for (const block of this.#blocks[c] ?? []) {
        ;(table[name] as NumberColumn).set(block, at)
        at += block.length
      }
    })
    table.length = this.length
    return table
  }
}

/** Gathers a session as it runs. `keep` false: the digest only. */
export class Run implements JournalSink, SampleSink {
  readonly #journal: Gathered
  readonly #touches: Gathered
  readonly #equity: Gathered
  readonly #markouts: Gathered
  #strings: Strings | null = null

  constructor(keep = true) {
    this.#journal = new Gathered(createJournalTable(0), keep)
    this.#touches = new Gathered(createTouchTable(0), keep)
    this.#equity = new Gathered(createEquityTable(0), keep)
    this.#markouts = new Gathered(createMarkoutTable(0), keep)
  }
  journal(block: JournalTable, strings: Strings): void {
    this.#strings = strings
    this.#journal.add(block)
  }
  touches(block: TouchTable, strings: Strings): void {
    this.#strings = strings
    this.#touches.add(block)
  }
  equity(block: EquityTable): void {
    this.#equity.add(block)
  }
  markouts(block: MarkoutTable): void {
    this.#markouts.add(block)
  }
  get rows(): number {
    return this.#journal.length
  }
  digest(): string {
    const hash = createHash('sha256')
    for (const part of [this.#journal, this.#touches, this.#equity, this.#markouts]) for (const d of part.digest()) hash.update(d)
    hash.update(JSON.stringify(this.#strings?.all ?? []))
    return hash.digest('hex')
  }
  record(header: SessionHeader, end: SessionEnd): SessionRecord {
    return {
      header,
      end,
      digest: this.digest(),
      strings: this.#strings?.all ?? [],
      journal: this.#journal.into(createJournalTable(this.#journal.length)),
      touches: this.#touches.into(createTouchTable(this.#touches.length)),
      equity: this.#equity.into(createEquityTable(this.#equity.length)),
      markouts: this.#markouts.into(createMarkoutTable(this.#markouts.length)),
    }
  }
}

type Layout = Readonly<Record<string, { readonly type: ColumnType; readonly text?: boolean; readonly sql: string }>>
const whole = { type: 'double', sql: 'BIGINT' } as const
const real = { type: 'double', sql: 'DOUBLE' } as const
const small = { type: 'utinyint', sql: 'UTINYINT' } as const
const int = { type: 'integer', sql: 'INTEGER' } as const
const word = { type: 'integer', text: true, sql: 'VARCHAR' } as const
const JOURNAL: Layout = {
  time: whole,
  kind: small,
  market: word,
  owner: word,
  order: whole,
  side: small,
  price: int,
  quantity: whole,
  what: word,
  why: word,
  value: real,
  a: whole,
  b: whole,
}
const TOUCHES: Layout = { time: whole, market: word, bid: int, bidQuantity: whole, ask: int, askQuantity: whole }
const EQUITY: Layout = {
  time: whole,
  cash: whole,
  locked: whole,
  liquidation: whole,
  mid: whole,
  low: whole,
  high: whole,
  fees: whole,
  drawdown: whole,
  exposure: whole,
}
const MARKOUTS: Layout = { fill: whole, horizon: whole, mid2: int, settled: small }

/** Writes a run folder. */
export async function writeRun(dir: string, record: SessionRecord): Promise<void> {
  await mkdir(dir, { recursive: true })
  await writeFile(join(dir, 'session.json'), `${JSON.stringify(record.header, null, 1)}\n`)
  await writeFile(
    join(dir, 'end.json'),
    `${JSON.stringify({ digest: record.digest, end: record.end, strings: record.strings }, null, 1)}\n`,
  )
  const db = await Database.open({ threads: 1, memory: 1024 })
  try {
    const words = await db.table('words', { number: 'integer', word: 'varchar' })
    await words.append([Int32Array.from(record.strings, (_, i) => i), record.strings], 0, record.strings.length)
    await db.run('SET VARIABLE words = (SELECT list(word ORDER BY number) FROM words)')
    await db.run(`SET VARIABLE kinds = [${JOURNAL_KIND_NAMES.map(quote).join(', ')}]`)
    await table(db, dir, 'journal', JOURNAL, record.journal)
    await table(db, dir, 'touches', TOUCHES, record.touches)
    await table(db, dir, 'equity', EQUITY, record.equity)
    await table(db, dir, 'markouts', MARKOUTS, record.markouts)
  } finally {
    db.close()
  }
}

async function table(db: Database, dir: string, name: string, layout: Layout, rows: Table): Promise<void> {
  const columns = Object.keys(layout)
  const staging = await db.table(name, Object.fromEntries(columns.map((c) => [`"${c}"`, (layout[c] as Layout[string]).type])))
  await staging.append(
    columns.map((c) => rows[c] as NumberColumn),
    0,
    rows.length,
  )
  const select = columns.map((c) => {
    const { text, sql } = layout[c] as Layout[string]
    if (name === 'journal' && c === 'kind') return `getvariable('kinds')[kind + 1] AS kind`
    return text === true ? `coalesce(getvariable('words')["${c}" + 1], '') AS "${c}"` : `"${c}"::${sql} AS "${c}"`
  })
  await db.copy(`SELECT ${select.join(', ')} FROM ${name}`, join(dir, `${name}.parquet`))
  await db.run(`DROP TABLE ${name}`)
}

/** Reads a run folder back. Throws DataError when it is none. */
export async function readRun(dir: string): Promise<SessionRecord> {
  for (const file of ['session.json', 'end.json', 'journal.parquet', 'touches.parquet', 'equity.parquet', 'markouts.parquet']) {
    if (!existsSync(join(dir, file)))
      throw new DataError(
        'NOT_A_RUN',
        `${dir} is not a finished run (no ${file} in it): give the folder that \`tapeline backtest\` printed`,
      )
  }
  const header = JSON.parse(await readFile(join(dir, 'session.json'), 'utf8')) as SessionHeader
  const { digest, end, strings } = JSON.parse(await readFile(join(dir, 'end.json'), 'utf8')) as {
    digest: string
    end: SessionEnd
    strings: string[]
  }
  const db = await Database.open({ threads: 1, memory: 1024 })
  try {
    await db.run(`CREATE TYPE word AS ENUM (${['', ...new Set(strings.filter((s) => s !== ''))].map(quote).join(', ')})`)
    await db.run(`CREATE TYPE kind AS ENUM (${JOURNAL_KIND_NAMES.map(quote).join(', ')})`)
    const numbers = new Map(strings.map((s, i) => [s, i]))
    const words = ['', ...new Set(strings.filter((s) => s !== ''))].map((s) => (s === '' ? -1 : (numbers.get(s) as number)))
    const read = async <T extends Table>(name: string, layout: Layout, create: (n: number) => T): Promise<T> => {
      const file = quote(join(dir, `${name}.parquet`))
      const [count] = await db.rows(`SELECT count(*) AS n FROM read_parquet(${file})`)
      const target = create(Number(count?.['n']))
      const columns = Object.keys(layout)
      const select = columns.map((c) => {
        if (name === 'journal' && c === 'kind') return 'kind::kind'
        const { text, type } = layout[c] as Layout[string]
        return text === true ? `"${c}"::word` : `"${c}"::${type.toUpperCase()}`
      })
      let at = 0
      for await (const piece of db.pieces(`SELECT ${select.join(', ')} FROM read_parquet(${file})`)) {
        columns.forEach((c, i) => {
          const column = piece.column(i)
          const out = target[c] as NumberColumn
          if ((layout[c] as Layout[string]).text === true)
            for (let k = 0; k < piece.rows; k++) out[at + k] = words[column[k] as number] as number
          else out.set(column.subarray(0, piece.rows), at)
        })
        at += piece.rows
      }
      target.length = at
      return target
    }
    return {
      header,
      end,
      digest,
      strings,
      journal: await read('journal', JOURNAL, createJournalTable),
      touches: await read('touches', TOUCHES, createTouchTable),
      equity: await read('equity', EQUITY, createEquityTable),
      markouts: await read('markouts', MARKOUTS, createMarkoutTable),
    }
  } finally {
    db.close()
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
