/**
 * Tables for other programs: Arrow IPC or Parquet files with units a reader need not guess. Owns the writing of one folder of tables from
 * queries; hides chunks and temporary names. Invariants: rows stream, so memory does not grow with a table; the folder appears whole or
 * not at all, and nothing is written over.
 */
import { existsSync } from 'node:fs'
import { rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ArrowFile, createArrowColumn, type ArrowColumn, type ArrowField, type ArrowType } from './arrow.ts'
import { DataError } from './errors.ts'
import { makeFolder } from './folder.ts'
import { Database, quote, type Piece } from './parquet.ts'

export type ExportFormat = 'arrow' | 'parquet'
export type ExportColumn = {
  readonly name: string
  readonly type: ArrowType
  /** SQL of the value in its storage type: BIGINT for timestamp and int64, INTEGER, DOUBLE, BOOLEAN, VARCHAR. */
  readonly sql: string
  readonly unit?: string
  readonly note?: string
  /** Every text of a `word` column, where known beforehand; else they are asked for. */
  readonly words?: readonly string[]
}
export type ExportTable = {
  readonly name: string
  /** What follows FROM, with the order of the rows. */
  readonly from: string
  readonly columns: readonly ExportColumn[]
}
export type ExportedTable = { readonly name: string; readonly file: string; readonly rows: number; readonly bytes: number }

export type ExportOptions = {
  readonly format: ExportFormat
  readonly out: string
  /** Facts about the whole: kept in every file. */
  readonly metadata: Readonly<Record<string, string>>
  readonly progress?: (table: string, rows: number) => void
  readonly stopped?: () => boolean
}

/** Rows of a batch: a few megabytes of columns. */
const BATCH = 65_536
const CHUNK = 2048

/** Writes the tables into a new folder. Throws DataError when it is there already. */
export async function exportTables(db: Database, tables: readonly ExportTable[], options: ExportOptions): Promise<ExportedTable[]> {
  const { out, format, metadata } = options
  if (existsSync(out)) throw new DataError('EXPORT_EXISTS', `${out} is there already: choose a new folder with --out, or remove it`)
  const partial = join(dirname(out), `.${basename(out)}.partial-${process.pid}`)
  await rm(partial, { recursive: true, force: true })
  makeFolder(partial)
  try {
    await db.run("SET TimeZone = 'UTC'")
    const done: ExportedTable[] = []
    for (const table of tables) {
      if (options.stopped?.() === true) throw new DataError('DISK', 'interrupted: no file was written')
      const file = `${table.name}.${format}`
      const path = join(partial, file)
      const rows = format === 'arrow' ? await writeArrow(db, table, path, options) : await writeParquet(db, table, path, metadata)
      done.push({ name: table.name, file, rows, bytes: (await stat(path)).size })
    }
    await writeFile(join(partial, 'tables.json'), `${JSON.stringify(describe(tables, done, options), null, 1)}\n`)
    await rename(partial, out)
    return done
  } catch (error) {
    await rm(partial, { recursive: true, force: true })
    throw error
  }
}

function describe(tables: readonly ExportTable[], done: readonly ExportedTable[], { format, metadata }: ExportOptions): unknown {
  return {
    schema: 'tapeline.export/1',
    format,
    ...metadata,
    tables: done.map((d, i) => ({
      ...d,
      columns: (tables[i] as ExportTable).columns.map(({ name, type, unit = '', note = '' }) => ({
        name,
        type: type === 'word' ? 'text' : type,
        unit,
        note,
      })),
    })),
  }
}

// ---------------------------------------------------------------------------------------------------- Parquet

/** The table as a query, with real timestamps. */
export function selectOf(table: ExportTable): string {
  const select = table.columns.map((c) => {
    const value = c.type === 'timestamp' ? `make_timestamptz(${c.sql})` : c.type === 'word' ? `(${c.sql})::VARCHAR` : c.sql
    return `${value} AS "${c.name}"`
  })
  return `SELECT ${select.join(', ')} FROM ${table.from}`
}

async function writeParquet(db: Database, table: ExportTable, path: string, metadata: Readonly<Record<string, string>>): Promise<number> {
  const units = Object.fromEntries(table.columns.flatMap((c) => (c.unit === undefined ? [] : [[c.name, c.unit]])))
  await db.copy(selectOf(table), path, { ...metadata, units: JSON.stringify(units) })
  const [count] = await db.rows(`SELECT count(*) AS n FROM read_parquet(${quote(path)})`)
  return count?.['n'] as number
}

// ---------------------------------------------------------------------------------------------------- Arrow

async function writeArrow(db: Database, table: ExportTable, path: string, options: ExportOptions): Promise<number> {
  const fields: ArrowField[] = []
  const select: string[] = []
  for (const [i, c] of table.columns.entries()) {
    const metadata = { ...(c.unit === undefined ? {} : { unit: c.unit }), ...(c.note === undefined ? {} : { note: c.note }) }
    if (c.type === 'word') {
      const words = c.words ?? (await wordsOf(db, table, c))
      fields.push({ name: c.name, type: c.type, words, metadata })
      // An enumeration of the database numbers the words just as the dictionary does; an empty one is not allowed.
      const name = `word_${i}`
      await db.run(`DROP TYPE IF EXISTS ${name}`)
      await db.run(`CREATE TYPE ${name} AS ENUM (${(words.length === 0 ? [''] : words).map(quote).join(', ')})`)
      select.push(`(${c.sql})::${name}`)
    } else {
      fields.push({ name: c.name, type: c.type, metadata })
      select.push(c.type === 'bool' ? `(${c.sql})::UTINYINT` : c.sql)
    }
  }
  const columns = fields.map((f) => createArrowColumn(f.type, BATCH))
  const file = await ArrowFile.create(path, fields, options.metadata)
  try {
    let held = 0
    let written = 0
    for await (const piece of db.pieces(`SELECT ${select.join(', ')} FROM ${table.from}`)) {
      fields.forEach((f, i) => fill(columns[i] as ArrowColumn, f.type, piece, i, held))
      held += piece.rows
      if (held > BATCH - CHUNK) {
        await file.write(columns, held)
        written += held
        held = 0
        options.progress?.(table.name, written)
        // A turn of the event loop: signals live there.
        await new Promise(setImmediate)
        if (options.stopped?.() === true) throw new DataError('DISK', 'interrupted: no file was written')
      }
    }
    await file.write(columns, held)
    return (await file.close()).rows
  } catch (error) {
    await file.abort().catch(() => {})
    throw error
  }
}

async function wordsOf(db: Database, table: ExportTable, column: ExportColumn): Promise<string[]> {
  const rows = await db.rows(`SELECT DISTINCT (${column.sql})::VARCHAR AS word FROM ${table.from.replace(/ ORDER BY .*$/s, '')}`)
  return rows
    .map((r) => r['word'])
    .filter((w): w is string => typeof w === 'string')
    .sort()
}

/** Copies a piece into a column from row `at` on. */
function fill({ values, valid }: ArrowColumn, type: ArrowType, piece: Piece, index: number, at: number): void {
  const { rows } = piece
  const isThere = piece.valid(index)
  if (isThere === null) valid.fill(1, at, at + rows)
  else for (let k = 0; k < rows; k++) valid[at + k] = isThere(k) ? 1 : 0
  switch (type) {
    case 'timestamp':
    case 'int64':
      ;(values as BigInt64Array).set(piece.bigints(index).subarray(0, rows), at)
      break
    case 'int32':
    case 'word':
    case 'float64':
    case 'bool':
      ;(values as Int32Array).set(piece.column(index).subarray(0, rows), at)
      break
    case 'text':
      for (let k = 0; k < rows; k++) (values as string[])[at + k] = valid[at + k] === 1 ? (piece.text(index, k) as string) : ''
      break
  }
  // What stands under a null is nobody's: zero, so that the same rows give the same bytes and no index points outside its dictionary.
  if (isThere !== null && type !== 'text')
    for (let k = 0; k < rows; k++) if (valid[at + k] === 0) values[at + k] = type === 'timestamp' || type === 'int64' ? 0n : 0
}
