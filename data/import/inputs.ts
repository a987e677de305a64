/**
 * Files that an import is given. Owns the first look at them: is it there, is it a file, is it the kind that was asked for; hides magic bytes. Invariant: what is
 * not the expected kind is refused with one sentence that says what it is and which import would take it.
 */
import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { DataError } from '../errors.ts'
import { quote, type Database } from '../parquet.ts'
import { shortName } from './frames.ts'

export type ParquetFile = { readonly path: string; readonly name: string; readonly columns: ReadonlyMap<string, string> }

/** Files under paths: a file itself, or every one below a folder whose name ends with one of `endings`, in order of name. */
export function filesUnder(paths: readonly string[], endings: readonly string[]): string[] {
  const files: string[] = []
  for (const path of paths) {
    if (!existsSync(path)) throw new DataError('FILE_MISSING', `${path} does not exist: give a file or a folder`)
    if (!statSync(path).isDirectory()) {
      files.push(path)
      continue
    }
    const found = readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((e) => e.isFile() && endings.some((x) => e.name.endsWith(x)))
      .map((e) => join(e.parentPath, e.name))
      .sort()
    if (found.length === 0)
      throw new DataError('FILE_MISSING', `${path} is a folder without a ${endings.join(', ')} file: give the files themselves`)
    files.push(...found)
  }
  return [...new Set(files)]
}

/** A Parquet file with its columns and their SQL types; throws when it is none. */
export async function parquetFile(database: Database, path: string): Promise<ParquetFile> {
  const name = shortName(path)
  const { size } = statSync(path)
  if (size === 0) throw new DataError('INPUT_INVALID', `${name} is empty (0 bytes): download it again`)
  const [head, tail] = ends(path, size)
  if (head !== 'PAR1') {
    const what = head.startsWith('\u001f\u008b')
      ? 'compressed with gzip: unpack it, or give JSON to `data import kalshi-rest-trades`'
      : /^\s*[[{]/.test(head)
        ? 'JSON: `data import kalshi-rest-trades` takes trades in JSON'
        : `no Parquet file${extname(path) === '' ? '' : ` (${extname(path)})`}: convert it, or see \`tapeline data import --help\` for what takes it`
    throw new DataError('INPUT_INVALID', `${name}:1 is ${what}`)
  }
  if (tail !== 'PAR1')
    throw new DataError('FILE_UNREADABLE', `${name} begins as Parquet and does not end as it: it was cut off, download it again`)
  try {
    const rows = await database.rows(`DESCRIBE SELECT * FROM read_parquet(${quote(path)})`)
    return { path, name, columns: new Map(rows.map((r) => [String(r['column_name']), String(r['column_type'])])) }
  } catch (error) {
    throw unreadable(name, error)
  }
}

/** What DuckDB says of a broken file, as a sentence; every other error (ours, the disk's, a bug) as it is. */
export function unreadable(name: string, error: unknown): unknown {
  if (!(error instanceof Error) || error.constructor !== Error || 'code' in error) return error
  const text = error.message.split('\n')[0] ?? ''
  return new DataError('FILE_UNREADABLE', `${name} cannot be read (${text}): the file is damaged or not complete`, error)
}

/** What these columns look like, as an ending of a sentence: another import, or nothing. */
export function fitting(columns: Iterable<string>): string {
  const has = new Set(columns)
  const all = (...names: string[]): boolean => names.every((n) => has.has(n))
  if (all('trade_id', 'ticker', 'yes_price', 'taker_side')) return '; it looks like trades: `data import trades-parquet`'
  if (all('ticker', 'event_ticker') || all('ticker', 'close_time')) return '; it looks like a list of markets: give it with `--markets`'
  if (all('kind', 'time', 'time_venue')) return '; it is part of a tape already'
  if (all('yes_bid', 'yes_ask') || all('bid', 'ask') || all('yb', 'ya')) return '; it looks like best prices: `data import quotes --map …`'
  if (has.has('value')) return '; it looks like an outside series: `data import external`'
  return '; no import of Tapeline knows these columns by itself: `data import quotes --map …` and `data import external --map …` take any names'
}

function ends(path: string, size: number): [string, string] {
  const handle = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(4)
    readSync(handle, bytes, 0, 4, 0)
    const head = bytes.toString('latin1')
    bytes.fill(0)
    readSync(handle, bytes, 0, 4, Math.max(0, size - 4))
    return [head, bytes.toString('latin1')]
  } finally {
    closeSync(handle)
  }
}
