/**
 * Outside series (a spot price, a forecast, a score) into a tape that is there. Owns the reading of published, known, value and revision; the rewrite is data/rewrite.ts. Invariants: a
 * row enters when it was known and never before it was published; a series stands on a tape once.
 */
import { rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Kind, type ExternalDetail } from '../../engine/message.ts'
import { DataError } from '../errors.ts'
import { makeFolder } from '../folder.ts'
import { Database, quote } from '../parquet.ts'
import { rewriteTape, type Insertion } from '../rewrite.ts'
import { openTape, type Tape } from '../tape-reader.ts'
import { shortName } from './frames.ts'
import { filesUnder } from './inputs.ts'
import { origin } from './prints.ts'
import { chooseColumns, instantOf, readRecords, RECORD_ENDINGS, type ColumnMap, type Reading } from './records.ts'

export const EXTERNAL_FIELDS = ['series', 'published', 'known', 'value', 'revision'] as const
const USUAL = {
  series: ['series', 'name'],
  published: ['published', 'published_time', 'issued', 'time', 'timestamp', 'ts'],
  known: ['known', 'known_time', 'received', 'received_time', 'available'],
  value: ['value', 'price', 'close'],
  revision: ['revision', 'version'],
} as const

export type ExternalOptions = {
  /** Name of the series where no column gives it. */
  readonly series?: string
  readonly map?: ColumnMap
  /** µs between publication and knowledge where no column says when a row was known. */
  readonly lag?: number
  readonly replaceSeries?: boolean
}
export type ExternalSummary = {
  readonly rows: number
  readonly repeated: number
  readonly replaced: number
  readonly series: readonly {
    readonly series: string
    readonly rows: number
    readonly revised: number
    /** µs: known. */
    readonly from: number
    readonly to: number
    /** Rows known before the first row of the tape, and after its last. */
    readonly early: number
    readonly late: number
  }[]
  readonly remarks: readonly string[]
}

const CHUNK = 8_192

export async function importExternal(paths: readonly string[], dir: string, options: ExternalOptions = {}): Promise<ExternalSummary> {
  const files = filesUnder(paths, RECORD_ENDINGS)
  const tape = await openTape(dir)
  const spill = join(dirname(dir), `.${basename(dir)}.partial-${process.pid}-sort`)
  let database: Database | null = null
  try {
    makeFolder(spill)
    database = await Database.open({ threads: 1, memory: 256, spill })
    return await into(tape, database, files, options)
  } finally {
    database?.close()
    await rm(spill, { recursive: true, force: true })
  }
}

async function into(tape: Tape, db: Database, files: readonly string[], options: ExternalOptions): Promise<ExternalSummary> {
  const lagged = await stage(db, files, options)
  await db.run('CREATE VIEW news AS SELECT DISTINCT series, published, known, value, revision FROM staged')
  const [all] = await db.rows('SELECT (SELECT count(*) FROM staged) AS staged, (SELECT count(*) FROM news) AS news')
  const { from, to } = tape.manifest
  const series = (
    await db.rows(
      `SELECT series, count(*) AS rows, count(*) - count(DISTINCT published) AS revised, min(known)::BIGINT AS "from", max(known)::BIGINT AS "to",
       count(*) FILTER (known < ${from}) AS early, count(*) FILTER (known > ${to}) AS late FROM news GROUP BY series ORDER BY series`,
    )
  ).map((r) => r as ExternalSummary['series'][number])
  if (series.length === 0) throw new DataError('INPUT_INVALID', `${files.map(shortName).join(', ')}: no record in it`)
  const standing = await seriesOn(tape, db)
  const again = series.filter((s) => standing.has(s.series))
  if (again.length > 0 && options.replaceSeries !== true)
    throw new DataError(
      'INPUT_INVALID',
      `${tape.dir} has the series ${again.map((s) => s.series).join(', ')} already: give --replace-series to put these rows in the place of its own, or another --series`,
    )
  const names = new Set(series.map((s) => s.series))
  let replaced = 0
  const remarks = series
    .filter((s) => lagged.has(s.series))
    .map((s) =>
      (options.lag ?? 0) === 0
        ? `${remarkOf(s.series)} taken as known when published (the files do not say when, and no lag was declared)`
        : `${remarkOf(s.series)} known ${(options.lag ?? 0) / 1000} ms after publication, as declared with --lag (the files do not say when)`,
    )
  const { origin: before } = tape.manifest
  const earlier = (before['external'] ?? {}) as Record<string, unknown>
  const sources = await origin(files)
  await rewriteTape(tape, {
    insertions: insertions(db),
    drops: (kind, detail) => {
      if (kind !== Kind.EXTERNAL || !names.has((JSON.parse(detail) as ExternalDetail).series)) return false
      replaced++
      return true
    },
    remarks,
    keepRemark: (remark) => ![...names].some((name) => remark.startsWith(remarkOf(name))),
    origin: { ...before, external: { ...earlier, ...Object.fromEntries([...names].map((name) => [name, sources])) } },
  })
  return { rows: Number(all?.['news']), repeated: Number(all?.['staged']) - Number(all?.['news']), replaced, series, remarks }
}

function remarkOf(series: string): string {
  return `Outside series ${series}:`
}

async function seriesOn({ dir, manifest }: Tape, db: Database): Promise<Set<string>> {
  const files = manifest.files.filter((f) => f.path.startsWith('messages/')).map((f) => quote(join(dir, f.path)))
  const rows = await db.rows(
    `SELECT DISTINCT json_extract_string(detail, '$.series') AS series FROM read_parquet([${files.join(', ')}]) WHERE kind = ${Kind.EXTERNAL}`,
  )
  return new Set(rows.map((r) => String(r['series'])))
}

async function* insertions(db: Database): AsyncIterableIterator<Insertion> {
  const sql = `SELECT known, published, value, revision, series FROM news ORDER BY known, published, series, revision, value`
  for await (const piece of db.pieces(sql)) {
    const [known, published, value, revision] = [0, 1, 2, 3].map((c) => piece.column(c)) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ]
    for (let i = 0; i < piece.rows; i++)
      yield {
        time: known[i] as number,
        timeVenue: published[i] as number,
        market: null,
        kind: Kind.EXTERNAL,
        detail: JSON.stringify({
          series: piece.text(4, i) ?? '',
          value: value[i] as number,
          revision: revision[i] as number,
        } satisfies ExternalDetail),
      }
  }
}

/** All records into the table `staged`. Returns the series of which some row did not say when it was known. */
async function stage(db: Database, files: readonly string[], options: ExternalOptions): Promise<Set<string>> {
  const table = await db.table('staged', { series: 'varchar', published: 'double', known: 'double', value: 'double', revision: 'double' })
  const lagged = new Set<string>()
  let names: string[] = []
  let numbers: number[][] = []
  const flush = async (): Promise<void> => {
    const column = (c: number): Float64Array => Float64Array.from(numbers, (n) => n[c] as number)
    await table.append([names, column(0), column(1), column(2), column(3)], 0, names.length)
    names = []
    numbers = []
  }
  for (const path of files) {
    const file = shortName(path)
    await readRecords(db, path, {
      columns: (columns) => {
        const chosen = chooseColumns(columns, file, options.map ?? {}, USUAL, ['value'])
        if (chosen['published'] === undefined && chosen['known'] === undefined)
          throw new DataError(
            'INPUT_INVALID',
            `${file}:1: which column says when a row was published or known? Say it with --map published=<column>,known=<column>; it has ${columns.slice(0, 20).join(', ')}`,
          )
        if (chosen['series'] === undefined && options.series === undefined)
          throw new DataError(
            'INPUT_INVALID',
            `${file}:1: no column names the series: give --series NAME, or --map series=<column>; it has ${columns.slice(0, 20).join(', ')}`,
          )
        return chosen
      },
      take: (reading) => {
        const row = rowOf(reading, `${file}:${reading.line}`, options)
        if (row.lagged) lagged.add(row.series)
        names.push(row.series)
        numbers.push([row.published, row.known, row.value, row.revision])
        return names.length >= CHUNK ? flush() : undefined
      },
    })
  }
  await flush()
  return lagged
}

type ExternalRow = { series: string; published: number; known: number; value: number; revision: number; lagged: boolean }

function rowOf({ get }: Reading, where: string, { series: name, map, lag = 0 }: ExternalOptions): ExternalRow {
  const series = (map?.['series'] !== undefined || name === undefined ? get('series') : null) ?? name
  if (series === undefined) throw new DataError('INPUT_INVALID', `${where}: the name of the series is missing`)
  const text = get('value')
  if (text === null) throw new DataError('INPUT_INVALID', `${where}: the value is missing: remove the row, or give what is known`)
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
  if (!Number.isFinite(value))
    throw new DataError('INPUT_INVALID', `${where}: value ${text} is no finite number: correct or remove the row`)
  const time = (field: 'published' | 'known'): number | null => {
    const given = get(field)
    if (given === null) return null
    const t = instantOf(given)
    if (!Number.isFinite(t))
      throw new DataError(
        'INPUT_INVALID',
        `${where}: ${field} ${given} is no time: write 2026-05-13T13:45:00Z, or a number of s, ms, µs or ns since 1970`,
      )
    return t
  }
  const [published, known] = [time('published'), time('known')]
  if (published === null && known === null) throw new DataError('INPUT_INVALID', `${where}: neither published nor known is given`)
  if (published !== null && known !== null && known < published)
    throw new DataError('INPUT_INVALID', `${where}: known ${get('known')} lies before published ${get('published')}: correct one of them`)
  const number = get('revision')
  const revision = number === null ? 0 : Number(number)
  if (!Number.isSafeInteger(revision)) throw new DataError('INPUT_INVALID', `${where}: revision ${number} is no whole number`)
  const from = published ?? (known as number)
  return { series, published: from, known: known ?? from + lag, value, revision, lagged: known === null }
}
