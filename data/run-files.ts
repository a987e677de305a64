/**
 * A run folder of a session that has ended. Owns its files; hides the staging. Invariant: each file takes its name when it is whole, and `end.json`, which says that the run is
 * there, comes last.
 *
 * `<run>/session.json` header · `end.json` end mark, digest, strings · `journal.parquet` `touches.parquet` `equity.parquet` `markouts.parquet` · reports beside them.
 */
import { existsSync } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { JOURNAL_KIND_NAMES } from '../engine/journal.ts'
import type { SessionEnd, SessionHeader, SessionRecord } from '../engine/session.ts'
import { DataError } from './errors.ts'
import { makeFolder } from './folder.ts'
import { TABLES, type Table, type TableName } from './run-blocks.ts'
import { Database, quote, type ColumnType, type NumberColumn } from './parquet.ts'

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

const LAYOUTS: Readonly<Record<TableName, Layout>> = { journal: JOURNAL, touches: TOUCHES, equity: EQUITY, markouts: MARKOUTS }

/** What a run folder is written from; `blocks` may be asked for one table after another. */
export type RunSource = Pick<SessionRecord, 'header' | 'end' | 'digest' | 'strings'> & { blocks(name: TableName): Iterable<Table> }

export async function writeRunFiles(dir: string, source: RunSource): Promise<void> {
  makeFolder(dir)
  const spill = join(dir, '.spill')
  const db = await Database.open({ threads: 1, memory: 256, spill })
  try {
    const words = await db.table('words', { number: 'integer', word: 'varchar' })
    await words.append([Int32Array.from(source.strings, (_, i) => i), source.strings], 0, source.strings.length)
    await db.run('SET VARIABLE words = (SELECT list(word ORDER BY number) FROM words)')
    await db.run(`SET VARIABLE kinds = [${JOURNAL_KIND_NAMES.map(quote).join(', ')}]`)
    for (const name of Object.keys(LAYOUTS) as TableName[]) await table(db, dir, name, source.blocks(name))
  } finally {
    db.close()
    await rm(spill, { recursive: true, force: true })
  }
  await writeWhole(join(dir, 'session.json'), `${JSON.stringify(source.header, null, 1)}\n`)
  await writeWhole(
    join(dir, 'end.json'),
    `${JSON.stringify({ digest: source.digest, end: source.end, strings: source.strings }, null, 1)}\n`,
  )
}

async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(`${path}.tmp`, text)
  await rename(`${path}.tmp`, path)
}

async function table(db: Database, dir: string, name: TableName, blocks: Iterable<Table>): Promise<void> {
  const layout = LAYOUTS[name]
  const columns = Object.keys(layout)
  const staging = await db.table(name, Object.fromEntries(columns.map((c) => [`"${c}"`, (layout[c] as Layout[string]).type])))
  for (const block of blocks) {
    await staging.append(
      columns.map((c) => block[c] as NumberColumn),
      0,
      block.length,
    )
  }
  const select = columns.map((c) => {
    const { text, sql } = layout[c] as Layout[string]
    if (name === 'journal' && c === 'kind') return `getvariable('kinds')[kind + 1] AS kind`
    return text === true ? `coalesce(getvariable('words')["${c}" + 1], '') AS "${c}"` : `"${c}"::${sql} AS "${c}"`
  })
  const path = join(dir, `${name}.parquet`)
  await db.copy(`SELECT ${select.join(', ')} FROM ${name}`, `${path}.tmp`)
  await rename(`${path}.tmp`, path)
  await db.run(`DROP TABLE ${name}`)
}

/** Reads the folder of a finished run. */
export async function readRunFiles(dir: string): Promise<SessionRecord> {
  for (const file of ['session.json', 'end.json', 'journal.parquet', 'touches.parquet', 'equity.parquet', 'markouts.parquet']) {
    if (!existsSync(join(dir, file)))
      throw new DataError(
        'NOT_A_RUN',
        `${dir} is not a finished run (no ${file} in it): give the folder of a backtest, or of a paper or live session (\`tapeline status\` lists those)`,
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
      journal: await read('journal', JOURNAL, TABLES.journal.create),
      touches: await read('touches', TOUCHES, TABLES.touches.create),
      equity: await read('equity', EQUITY, TABLES.equity.create),
      markouts: await read('markouts', MARKOUTS, TABLES.markouts.create),
    }
  } finally {
    db.close()
  }
}
