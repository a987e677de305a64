/**
 * The kit of notebooks: `import { backtest, sql, plot, show } from 'tapeline/notebook'`. Owns the few words a research notebook needs and their
 * human units; hides how a session is put together (cli/session.ts) and where tables lie. Invariant: a backtest here is the backtest of the
 * command line, same digest and all. The one place outside cli/ that imports it: a notebook is a command line in prose.
 */
import { existsSync } from 'node:fs'
import { makePracticeTape, type PracticeOptions } from '../adapters/practice/practice-tape.ts'
import { parseDelays, parseDuration, parseInstant, readLimits } from '../cli/options.ts'
import { backtest as runBacktest } from '../cli/session.ts'
import { chooseStrategies } from '../cli/strategy/choose.ts'
import { arrowTable, type ArrowTable } from '../data/arrow.ts'
import { bookAt as bookOfTape, type BookAt } from '../data/book-at.ts'
import { selectOf } from '../data/export.ts'
import { runTables, tapeTables } from '../data/export-tables.ts'
import { Database } from '../data/parquet.ts'
import { readRun as readRecord } from '../data/run.ts'
import { openTape as openTapeFolder, type Tape } from '../data/tape-reader.ts'
import { FILL_MODELS_OF, type FillModelName, type SessionRecord } from '../engine/session.ts'
import type { Parameter, Strategy } from '../engine/strategy.ts'
import { dollars } from '../engine/units.ts'
import type { Metric } from '../reports/figures.ts'
import { framesOf } from '../reports/frames.ts'
import { funnelOf, type Funnel } from '../reports/funnel.ts'
import { buildReport, metric, type Summary } from '../reports/index.ts'
import type { Markup } from '../reports/markup.ts'
import { notebookSession } from '../reports/notebook-session.ts'
import { svg, timeAxis, type Plot as PlotTypes } from '../reports/plot.ts'
import { Figure } from '../reports/shown.ts'

export { explainOrder } from '../reports/explain.ts'
export { html, raw } from '../reports/markup.ts'
export { Plot } from '../reports/plot.ts'
export { wilson } from '../reports/statistics.ts'
export { cents, contracts, count, decimal, duration, money, moneySigned, percent, utc, utcMillis } from '../reports/words.ts'
export { rollingByMarket } from '../engine/strategy.ts'
export type { Strategy } from '../engine/strategy.ts'
export type { BookAt, Figure, SessionRecord, Tape }

// ---------------------------------------------------------------------------------------------------- showing

/** Shows a value below the cell: a table (rows or Arrow), a chart, text, a number, markup. The last expression of a cell is shown by itself. */
export function show(value: unknown): void {
  const session = notebookSession()
  if (session !== undefined) session.show(value)
  else process.stdout.write(`${typeof value === 'string' ? value : JSON.stringify(value, null, 1)}\n`)
}

/** A chart by Observable Plot in the report's theme: colors are `var(--c1)`, `var(--c2)`, `var(--good)`, `var(--bad)`, `var(--ink)`, `var(--soft)`. */
export function plot(options: PlotTypes.PlotOptions, caption: Markup | string = ''): Figure {
  const { x, y, width } = options
  return new Figure(
    svg({ marginTop: 26, ...options, x: { labelArrow: 'none', ...x }, y: { labelArrow: 'none', ...y } }),
    caption,
    width === undefined ? null : width,
  )
}

/** The x axis of a chart over time; `from`, `to` in µs. */
export function utcAxis(from: number, to: number): PlotTypes.ScaleOptions {
  return { ...timeAxis(from, to), ticks: 8 }
}

/** What the notebook can be told with `--param name=value`. Its type is that of the default. */
export function parameter(name: string, standard: string): string
export function parameter(name: string, standard: number): number
export function parameter(name: string, standard: boolean): boolean
export function parameter(name: string, standard: Parameter): Parameter {
  const text = notebookSession()?.parameters[name]
  if (text === undefined || typeof standard === 'string') return text ?? standard
  if (typeof standard === 'boolean') {
    if (text !== 'true' && text !== 'false') throw new Error(`--param ${name}=${text}: ${name} is true or false`)
    return text === 'true'
  }
  const n = Number(text)
  if (text.trim() === '' || !Number.isFinite(n)) throw new Error(`--param ${name}=${text}: ${name} is a number, as in ${name}=${standard}`)
  return n
}

// ---------------------------------------------------------------------------------------------------- tapes and runs

/** A tape folder, opened. */
export async function openTape(folder: string): Promise<Tape> {
  const tape = await openTapeFolder(folder)
  if (tape.manifest.practice) notebookSession()?.practice()
  return tape
}

/** The folder of a practice tape, made if it is not there yet: the same options, the same bytes. */
export async function practiceTape(options: Pick<PracticeOptions, 'seed' | 'markets' | 'days' | 'rate'>): Promise<string> {
  const { seed, markets, days, rate = 40 } = options
  const folder = `tapes/practice-${seed}-${markets}x${days}d-${rate}`
  if (!existsSync(folder)) await makePracticeTape(folder, { seed, markets, days, rate })
  notebookSession()?.practice()
  return folder
}

/** The book of a market as it stood at a time (µs, or text such as 2026-06-01T00:05:00Z). */
export function bookAt(tape: Tape, market: string, time: number | string, depth = 5): Promise<BookAt> {
  return bookOfTape(tape, market, typeof time === 'number' ? time : parseInstant(time, 'bookAt'), depth)
}

export type BacktestOptions = {
  readonly tape: string
  /** A name the command line knows, the path of a file, or a strategy of your own. */
  readonly strategy: string | Strategy
  readonly parameters?: Readonly<Record<string, Parameter>>
  readonly markets?: readonly string[]
  readonly series?: readonly string[]
  readonly from?: string
  readonly to?: string
  readonly warmup?: string
  /** Default: the first that the depth of the tape can carry. */
  readonly fills?: FillModelName
  /** As on the command line: `place=50ms,answer=30ms`. */
  readonly delay?: string
  readonly seed?: number
  /** Dollars. */
  readonly cash?: number
  /** A JSON file of limits. */
  readonly limits?: string
  readonly out?: string
}
type Rows = readonly Readonly<Record<string, string | number | boolean | null>>[]
export type RunOfNotebook = {
  readonly folder: string
  readonly record: SessionRecord
  readonly summary: Summary
  readonly funnel: Funnel
  /** A figure of the report by its id: `metric('net').text`. */
  metric(id: string): Metric
  /** The figures of the report as rows, those named or all. */
  figures(ids?: readonly string[]): Rows
  /** `orders`, `trades`, `markets`, `metrics`: plain rows in the engine's units. */
  table(name: 'orders' | 'trades' | 'markets' | 'metrics'): Rows
}

/** A backtest through the mode table of the command line; the run is kept in `runs/`. Throws what the strategy threw. */
export async function backtest(options: BacktestOptions): Promise<RunOfNotebook> {
  const { manifest } = await openTape(options.tape)
  const { strategy, parameters = {} } = options
  const strategies =
    typeof strategy === 'string'
      ? await chooseStrategies(
          [strategy],
          Object.entries(parameters).map(([k, v]) => `${k}=${v}`),
        )
      : [{ strategy, source: null }]
  const { record, folder, failure } = await runBacktest({
    tape: options.tape,
    strategies,
    markets: options.markets ?? null,
    series: options.series ?? null,
    from: parseInstant(options.from, 'from'),
    to: parseInstant(options.to, 'to'),
    warmup: options.warmup === undefined ? 0 : parseDuration(options.warmup, 'warmup'),
    fills: options.fills ?? (FILL_MODELS_OF[manifest.depth][0] as FillModelName),
    delays: parseDelays(options.delay),
    seed: options.seed ?? 1,
    cash: dollars(options.cash ?? 10_000),
    limits: readLimits(options.limits),
    out: options.out ?? null,
  })
  if (failure !== null) throw failure
  return runOf(folder, record)
}

/** A run folder, read back. */
export async function readRun(folder: string): Promise<RunOfNotebook> {
  return runOf(folder, await readRecord(folder))
}

function runOf(folder: string, record: SessionRecord): RunOfNotebook {
  if (record.header.tape.practice) notebookSession()?.practice()
  const { summary } = buildReport(record)
  return {
    folder,
    record,
    summary,
    funnel: funnelOf(record),
    metric: (id) => metric(summary.metrics, id),
    figures: (ids) =>
      summary.metrics
        .filter((m) => ids === undefined || ids.includes(m.id))
        .map((m) => ({ figure: m.label, value: m.text, n: m.n, 'how it is reckoned, or why not': m.reason ?? m.formula })),
    table: (name) => framesOf(record).find((f) => f.name === name)?.rows ?? [],
  }
}

// ---------------------------------------------------------------------------------------------------- SQL

export type SqlOptions = {
  /** Its tables `messages`, `markets`, `coverage` become views. */
  readonly tape?: string
  /** Its tables `fills`, `signals`, `refusals`, `equity`, `touches`, `markouts`, `orders`, `trades`, `markets`, `metrics` become views (`run_markets` beside a tape). */
  readonly run?: string
  /** Fills `$name` in the query. */
  readonly params?: Readonly<Record<string, string | number | boolean | null>>
}
export type SqlRow = Record<string, string | number | boolean | Date | null>

/** Rows of a DuckDB query over a tape, a run, or files (`read_parquet('…')`). Times are UTC Dates; the columns are those of `report export`. */
export async function sql(query: string, options: SqlOptions = {}): Promise<SqlRow[]> {
  const db = await Database.open({ threads: 2, memory: 2048 })
  try {
    await db.run("SET TimeZone = 'UTC'")
    const ofTape = options.tape === undefined ? [] : await tapeTables(await openTape(options.tape))
    const ofRun = options.run === undefined ? [] : await runTables(db, options.run, framesOf(await readRecord(options.run)))
    const taken = new Set(ofTape.map((t) => t.name))
    for (const table of [...ofTape, ...ofRun]) {
      const name = taken.has(table.name) && ofRun.includes(table) ? `run_${table.name}` : table.name
      await db.run(`CREATE VIEW "${name}" AS ${selectOf(table)}`)
    }
    return (await db.rows(query, options.params)).map((row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, plain(v)])))
  } finally {
    db.close()
  }
}

/** The same as an Arrow table. */
export async function sqlArrow(query: string, options: SqlOptions = {}): Promise<ArrowTable> {
  const rows = await sql(query, options)
  return arrowTable(rows, Object.keys(rows[0] ?? {}))
}

function plain(value: unknown): SqlRow[string] {
  if (value === null || value === undefined) return null
  if (typeof value !== 'object') return value as SqlRow[string]
  if ('micros' in value) return new Date(Number(value.micros as bigint) / 1000)
  if ('toDouble' in value && typeof value.toDouble === 'function') return value.toDouble() as number
  return JSON.stringify(value, (_, x: unknown) => (typeof x === 'bigint' ? Number(x) : x))
}
