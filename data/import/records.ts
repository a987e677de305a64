/**
 * Files of records with columns of any name: CSV, JSON lines (or one JSON list), Parquet; plain or gzip. Owns the mapping of columns and the reading of times in every unit; hides the
 * three kinds. Invariants: a value keeps its digits as text until its reader parses them; every record has its line (or row).
 */
import { closeSync, createReadStream, openSync, readSync, statSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import { DataError } from '../errors.ts'
import { quote, type Database } from '../parquet.ts'
import { lineOf, readDocuments } from './documents.ts'
import { parseTime, shortName } from './frames.ts'
import { fitting, parquetFile, unreadable } from './inputs.ts'

export const RECORD_ENDINGS = ['.parquet', '.csv', '.csv.gz', '.tsv', '.json', '.json.gz', '.jsonl', '.jsonl.gz', '.ndjson', '.ndjson.gz']

/** Names of columns by the field they give. */
export type ColumnMap = Readonly<Record<string, string>>

/** A record: the value of a field as text, null where there is none. */
export type Reading = { readonly line: number; readonly get: (field: string) => string | null; readonly raw: () => string }

export type RecordReader = {
  /** Chooses the columns of a file, once, by the names that it has. */
  readonly columns: (names: readonly string[], file: string) => ColumnMap
  readonly take: (reading: Reading) => void | Promise<void>
  /** A line that is no record. Without it such a line ends the import. */
  readonly bad?: (line: number, reason: string, text: string) => void
}

export async function readRecords(database: Database, path: string, reader: RecordReader): Promise<void> {
  const name = shortName(path)
  if (statSync(path).size === 0) throw new DataError('INPUT_INVALID', `${name} is empty (0 bytes): download it again`)
  const kind = kindOf(path)
  if (kind === 'parquet') await fromParquet(database, path, reader)
  else if (kind === 'json') await fromJson(path, reader)
  else await fromCsv(path, reader)
}

/**
 * The columns for these fields: as mapped, else the first name of `usual` that the file has. Throws for a mapped column that is not there, and for a required field without one.
 */
export function chooseColumns(
  names: readonly string[],
  file: string,
  mapped: ColumnMap,
  usual: Readonly<Record<string, readonly string[]>>,
  required: readonly string[],
  /** Another way to give what is missing. */
  otherwise = '',
): ColumnMap {
  const has = new Set(names)
  const chosen: Record<string, string> = {}
  const list = names.slice(0, 20).join(', ')
  for (const [field, column] of Object.entries(mapped)) {
    if (!has.has(column))
      throw new DataError('INPUT_INVALID', `${file}:1 has no column ${column} (--map ${field}=${column}); it has ${list}`)
    chosen[field] = column
  }
  for (const [field, usuals] of Object.entries(usual)) {
    const found = usuals.find((u) => has.has(u))
    if (chosen[field] === undefined && found !== undefined) chosen[field] = found
  }
  const missing = required.filter((field) => chosen[field] === undefined)
  if (missing.length > 0)
    throw new DataError(
      'INPUT_INVALID',
      `${file}:1: which column is ${missing.join(', ')}? Say it with --map ${missing.map((f) => `${f}=<column>`).join(',')}${otherwise}; it has ${list}${fitting(names)}`,
    )
  return chosen
}

/** A time in RFC 3339, or a number of s, ms, µs or ns since 1970 by its size, → µs. NaN when it is none. Text without a zone is UTC. */
export function instantOf(text: string): number {
  const number = /^(\d+)(?:\.(\d*))?$/.exec(text)
  if (number === null) {
    const whole = text.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00')
    return parseTime(/(Z|[+-]\d\d:?\d\d)$/.test(whole) ? whole : `${/^\d{4}-\d\d-\d\d$/.test(whole) ? `${whole}T00:00:00` : whole}Z`)
  }
  const [digits, fraction] = [number[1] as string, number[2] ?? '']
  const decimals = digits.length <= 11 ? 6 : digits.length <= 14 ? 3 : digits.length <= 17 ? 0 : -3
  const us = Number(decimals < 0 ? digits.slice(0, decimals) : digits + fraction.slice(0, decimals).padEnd(decimals, '0'))
  return Number.isSafeInteger(us) && us > 0 ? us : Number.NaN
}

function kindOf(path: string): 'parquet' | 'json' | 'csv' {
  const head = Buffer.alloc(64)
  const handle = openSync(path, 'r')
  readSync(handle, head, 0, 64, 0)
  closeSync(handle)
  if (head.toString('latin1', 0, 4) === 'PAR1' || path.endsWith('.parquet')) return 'parquet'
  if (path.endsWith('.gz')) return /\.(csv|tsv)\.gz$/.test(path) ? 'csv' : 'json'
  return /^\uFEFF?\s*[[{]/.test(head.toString('utf8')) ? 'json' : /\.(json|jsonl|ndjson)$/.test(path) ? 'json' : 'csv'
}

async function fromParquet(database: Database, path: string, reader: RecordReader): Promise<void> {
  const { name, columns } = await parquetFile(database, path)
  const map = Object.entries(reader.columns([...columns.keys()], name))
  const select = map.map(([, column]) => {
    const c = `"${column.replaceAll('"', '""')}"`
    return (columns.get(column) ?? '').startsWith('TIMESTAMP')
      ? `strftime(CAST(${c} AS TIMESTAMPTZ) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')`
      : `CAST(${c} AS VARCHAR)`
  })
  let line = 0
  try {
    for await (const piece of database.pieces(`SELECT ${select.join(', ')} FROM read_parquet(${quote(path)})`))
      for (let i = 0; i < piece.rows; i++) {
        line++
        const values = new Map(map.map(([field], c) => [field, piece.text(c, i)]))
        const taken = reader.take({
          line,
          get: (field) => values.get(field) || null,
          raw: () => JSON.stringify(Object.fromEntries(values)),
        })
        if (taken !== undefined) await taken
      }
  } catch (error) {
    throw unreadable(name, error)
  }
}

async function fromJson(path: string, reader: RecordReader): Promise<void> {
  const name = shortName(path)
  let map: ColumnMap | null = null
  const one = async (value: unknown, line: number): Promise<void> => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      if (reader.bad === undefined)
        throw new DataError(
          'INPUT_INVALID',
          `${name}:${line} is no record but ${JSON.stringify(value).slice(0, 40)}: correct or remove the line`,
        )
      return reader.bad(line, 'no record', JSON.stringify(value))
    }
    map ??= reader.columns(namesIn(value as Record<string, unknown>), name)
    const chosen = map
    await reader.take({
      line,
      get: (field) => (chosen[field] === undefined ? null : valueAt(value as Record<string, unknown>, chosen[field])),
      raw: () => JSON.stringify(value),
    })
  }
  await readDocuments(
    path,
    async (value, place) => {
      if (!Array.isArray(value)) return one(value, place.line)
      for (const item of value as unknown[])
        await one(item, place.document === null ? place.line : lineOf(place.document, JSON.stringify(item).slice(0, 60)))
    },
    reader.bad === undefined ? undefined : (line, text) => reader.bad?.(line, 'not JSON', text),
  )
}

/** Names of the values of a record; those inside an inner object with a point: `market.yes_bid`. */
function namesIn(record: Readonly<Record<string, unknown>>, before = ''): string[] {
  return Object.entries(record).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? namesIn(value as Record<string, unknown>, `${before}${key}.`)
      : [`${before}${key}`],
  )
}
function valueAt(record: Readonly<Record<string, unknown>>, name: string): string | null {
  let value: unknown = record[name]
  if (value === undefined && name.includes('.')) {
    value = record
    for (const key of name.split('.'))
      value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
  }
  if (typeof value === 'string') return value === '' ? null : value
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null
}

async function fromCsv(path: string, reader: RecordReader): Promise<void> {
  const name = shortName(path)
  const source = createReadStream(path)
  const input = path.endsWith('.gz') ? source.pipe(createGunzip()) : source
  source.on('error', (error) => input.destroy(error))
  let line = 0
  let header: string[] | null = null
  let separator = ','
  let indexes = new Map<string, number>()
  const bad = (reason: string, text: string): void => {
    if (reader.bad === undefined) throw new DataError('INPUT_INVALID', `${name}:${line} ${reason}: correct or remove the line`)
    reader.bad(line, reason, text)
  }
  try {
    for await (const text of createInterface({ input, crlfDelay: Infinity })) {
      line++
      if (text.trim() === '') continue
      if (header === null) {
        const first = text.replace(/^\uFEFF/, '')
        separator = first.includes(',') ? ',' : first.includes('\t') ? '\t' : first.includes(';') ? ';' : ','
        const names = (cellsOf(first, separator) ?? [first]).map((c) => c.trim())
        header = names
        indexes = new Map(Object.entries(reader.columns(names, name)).map(([field, column]) => [field, names.indexOf(column)]))
        continue
      }
      const cells = cellsOf(text, separator)
      if (cells === null) bad('has a quotation mark that is not closed', text)
      else if (cells.length !== header.length) bad(`has ${cells.length} cells, the header has ${header.length}`, text)
      else {
        const taken = reader.take({
          line,
          get: (field) => {
            const index = indexes.get(field)
            return index === undefined ? null : (cells[index] ?? '').trim() || null
          },
          raw: () => text,
        })
        if (taken !== undefined) await taken
      }
    }
  } catch (error) {
    if (error instanceof DataError || (error instanceof Error && error.name === 'AssertionError')) throw error
    throw new DataError(
      'FILE_UNREADABLE',
      `${name}:${line + 1} cannot be read (${error instanceof Error ? error.message : String(error)}): the file is damaged or not complete`,
      error,
    )
  }
  if (header === null) throw new DataError('INPUT_INVALID', `${name} holds nothing but blank lines: download it again`)
}

/** The cells of a line of CSV (RFC 4180; a cell does not run over lines). Null: a quotation mark is not closed. */
function cellsOf(line: string, separator: string): string[] | null {
  if (!line.includes('"')) return line.split(separator)
  const cells: string[] = []
  let cell = ''
  let quoted = false
  for (let i = 0; i < line.length; i++) {
    const c = line[i] as string
    if (quoted) {
      if (c !== '"') cell += c
      else if (line[i + 1] === '"') {
        cell += '"'
        i++
      } else quoted = false
    } else if (c === '"') quoted = true
    else if (c === separator) {
      cells.push(cell)
      cell = ''
    } else cell += c
  }
  cells.push(cell)
  return quoted ? null : cells
}
