/** The machine under the program: Node, memory, DuckDB. Owns what is enough; hides how it is found out. Invariant: what is tried leaves nothing behind. */
import { mkdtemp, rm } from 'node:fs/promises'
import { freemem, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { getHeapStatistics } from 'node:v8'
import { EXIT, failureOf } from '../exit.ts'
import { ENGINES } from '../version.ts'
import { fine, problem, warning, type Finding } from './finding.ts'

/** Whether a version lies in a range of `>=a.b`, `<c` and `||`. */
export function inRange(version: string, range: string): boolean {
  const numbers = (text: string): number[] => text.split('.').map(Number)
  const compare = (a: number[], b: number[]): number => [0, 1, 2].map((i) => (a[i] ?? 0) - (b[i] ?? 0)).find((d) => d !== 0) ?? 0
  const here = numbers(version.replace(/^v/, '').replace(/-.*$/, ''))
  return range.split('||').some((part) =>
    part
      .trim()
      .split(/\s+/)
      .every((bound) =>
        bound.startsWith('>=') ? compare(here, numbers(bound.slice(2))) >= 0 : compare(here, numbers(bound.slice(1))) < 0,
      ),
  )
}

export function nodeFinding(version = process.version): Finding {
  return inRange(version, ENGINES)
    ? fine('node', `${version} (needs ${ENGINES})`)
    : problem(
        'node',
        `${version} is not among the versions that Tapeline is tested on (${ENGINES})`,
        'install Node 22 or 20 (latest), such as with nvm install 22',
        EXIT.config,
      )
}

const FREE_MIN = 512 * 2 ** 20
export const sizeText = (bytes: number): string =>
  bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GB` : `${Math.round(bytes / 2 ** 20)} MB`

export function memoryFinding(): Finding {
  // In a container the limit is what counts; "no limit" comes as a number larger than the machine.
  const limit = process.constrainedMemory()
  const total = limit > 0 && limit < totalmem() ? limit : totalmem()
  const free = Math.min(total, typeof process.availableMemory === 'function' ? process.availableMemory() : freemem())
  const heap = getHeapStatistics().heap_size_limit
  const text = `${sizeText(free)} of ${sizeText(total)} free, heap up to ${sizeText(heap)}`
  if (free < FREE_MIN) return warning('memory', `${text}: a long session may need more`, 'end other programs, or follow fewer markets')
  if (heap > total)
    return warning(
      'memory',
      `${text}: the heap may outgrow the machine`,
      `NODE_OPTIONS=--max-old-space-size=${Math.floor((total / 2 ** 20) * 0.7)}`,
    )
  return fine('memory', text)
}

/** Opens DuckDB, writes a Parquet file and reads it back. */
export async function databaseFinding(): Promise<Finding> {
  let folder: string | null = null
  try {
    const { Database, quote } = await import('../../data/parquet.ts')
    folder = await mkdtemp(join(tmpdir(), 'tapeline-doctor-'))
    const path = join(folder, 'probe.parquet')
    const database = await Database.open()
    try {
      const [{ version } = {}] = await database.rows('SELECT version() AS version')
      await database.writeRows(path, { number: 'BIGINT', text: 'VARCHAR' }, [
        { number: 1, text: 'one' },
        { number: 2, text: null },
      ])
      const rows = await database.rows(`SELECT number, text FROM read_parquet(${quote(path)}) ORDER BY number`)
      return JSON.stringify(rows) === '[{"number":1,"text":"one"},{"number":2,"text":null}]'
        ? fine('duckdb', `${String(version)} writes and reads Parquet`)
        : problem('duckdb', `${String(version)} reads other rows than it wrote`, 'npm ci', EXIT.data)
    } finally {
      database.close()
    }
  } catch (error) {
    const { code, message } = failureOf(error)
    const [line = ''] = message.split('\n')
    return code === 'DISK' || /write|No space|Read-only/i.test(line)
      ? problem(
          'duckdb',
          `it cannot write in ${tmpdir()} (${line})`,
          'free some space there, or set TMPDIR to a folder that can be written',
          EXIT.data,
        )
      : problem(
          'duckdb',
          `it cannot be opened (${line})`,
          'npm ci (its program for this machine comes with the package @duckdb/node-api)',
          EXIT.data,
        )
  } finally {
    if (folder !== null) await rm(folder, { recursive: true, force: true })
  }
}
