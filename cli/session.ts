/**
 * Running a session. Owns the mode table: backtest, paper and live differ in (feed, venue, clock) and nowhere else.
 *
 * | mode     | feed                                                | venue                         | clock                                  |
 * |----------|-----------------------------------------------------|-------------------------------|----------------------------------------|
 * | backtest | adapters/history (a tape)                           | adapters/simulated (matching) | the rows' own                          |
 * | paper    | adapters/kalshi through adapters/recorder (a tape)  | adapters/simulated (matching) | the rows' own, and the wall's as ticks |
 *
 * The course of a paper session is in `paper-session.ts`. Live adds its line when its adapter exists.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { getHeapStatistics } from 'node:v8'
import { HistoryFeed } from '../adapters/history/feed.ts'
import { SimulatedVenue } from '../adapters/simulated/venue.ts'
import { DataError } from '../data/errors.ts'
import { makeFolder } from '../data/folder.ts'
import { lossesOf, ownRows } from '../data/losses.ts'
import { RunLog } from '../data/run-log.ts'
import { writePlace } from '../data/run.ts'
import { describeFile } from '../data/tape-writer.ts'
import type { CoverageRow } from '../data/schema.ts'
import { openTape, type Tape } from '../data/tape-reader.ts'
import { Engine } from '../engine/engine.ts'
import type { Depth } from '../engine/message.ts'
import {
  FILL_MODELS_OF,
  type Delays,
  type FillModelName,
  type Limits,
  type SessionEnd,
  type SessionHeader,
  type SessionRecord,
  type TapeFacts,
} from '../engine/session.ts'
import { StrategyError } from '../engine/strategy-error.ts'
import { Cuts } from './cuts.ts'
import { UsageError } from './exit.ts'
import { addProof } from './promote/proofs.ts'
import { failureIn } from './strategy/failure.ts'
import type { Chosen } from './strategy/choose.ts'
import { VERSION } from './version.ts'
import { Watch } from './watch.ts'

export type BacktestOptions = {
  readonly tape: string
  readonly strategies: readonly Chosen[]
  readonly markets: readonly string[] | null
  readonly series: readonly string[] | null
  readonly from: number | null
  readonly to: number | null
  readonly warmup: number
  /** Null: the first that the depth of the tape can carry. */
  readonly fills: FillModelName | null
  readonly delays: Delays
  readonly seed: number
  /** Money. */
  readonly cash: number
  readonly limits: Limits
  readonly out: string | null
  /** Folder of runs, where `out` names none. */
  readonly runs?: string
  readonly batchRows?: number
  readonly decode?: 'worker' | 'thread'
  readonly progress?: (done: number, total: number, rows: number) => void
  readonly interrupted?: () => boolean
}
export type BacktestResult = {
  readonly record: SessionRecord
  readonly folder: string
  readonly seconds: number
  readonly failure: StrategyError | null
}

export async function backtest(options: BacktestOptions): Promise<BacktestResult> {
  const started = performance.now()
  if (options.out !== null) await claim(options.out)
  const tape = await openTape(options.tape)
  const facts = await factsOf(tape, options)
  const fills = fillModel(options.fills, facts)
  const header: SessionHeader = {
    schema: 'tapeline.session/1',
    mode: 'backtest',
    version: VERSION,
    node: process.version,
    tape: facts,
    strategies: strategiesOf(options.strategies),
    cash: options.cash,
    limits: options.limits,
    fills,
    delays: options.delays,
    rate: { perSecond: 100, capacity: 100 },
    seed: options.seed,
    selection: { markets: options.markets, series: options.series, from: options.from, to: options.to, warmup: options.warmup },
  }
  const feed = new HistoryFeed(tape, {
    from: options.from,
    to: options.to,
    tickers: options.markets,
    series: options.series,
    decode: options.decode ?? 'worker',
    ...(options.batchRows === undefined ? {} : { batchRows: options.batchRows }),
  })
  const name = `${folderName(header.strategies.map((s) => s.name))}-${facts.name}`
  // The log is where the run will be; a run that names itself by its outcome is beside it until then.
  const place = options.out ?? join(options.runs ?? 'runs', `${name}-unfinished-${process.pid}`)
  const run = await RunLog.open(place, header)
  await writePlace(place, options.tape)
  const discard = async (): Promise<void> => {
    await run.abandon()
    if (options.out === null) await rm(place, { recursive: true, force: true })
  }
  const engine = new Engine({
    header,
    strategies: options.strategies.map((s) => s.strategy),
    venue: new SimulatedVenue(fills, options.delays, facts.lagMax),
    sink: run,
  })
  let rows = 0
  let failure: StrategyError | null = null
  let end: SessionEnd | null = null
  let reason = 'end of tape'
  const watch = new Watch()
  const limit = Error.stackTraceLimit
  // Deep enough that a line of the author's is among the frames of a long call into a package.
  Error.stackTraceLimit = 50
  try {
    const cuts = new Cuts()
    for await (const batch of feed.batches()) {
      for (const piece of cuts.of(batch)) {
        watch.turn(() => engine.run(piece))
        rows += piece.length
        options.progress?.(rows, facts.rows, rows)
        // A turn of the event loop for each piece: signals and the progress bar live there.
        await new Promise(setImmediate)
        checkMemory()
        if (options.interrupted?.() === true) {
          reason = 'interrupted'
          break
        }
      }
      if (reason === 'interrupted') break
    }
    end = watch.turn(() => engine.finish(reason, reason === 'end of tape'))
  } catch (error) {
    try {
      ;({ failure, reason } = failureIn(error, { time: engine.now, call: engine.calling }, watch))
    } catch (fatal) {
      await discard()
      throw fatal
    }
    engine.stop()
  } finally {
    Error.stackTraceLimit = limit
    await watch.end()
  }
  try {
    end ??= engine.finish(reason, false)
    run.end(end)
  } catch (error) {
    await discard()
    // A handler was broken off in the middle of a call into the engine: its books do not add up, and what caused that is the better news.
    throw failure === null ? error : new StrategyError(failure.code, `${failure.message}; no partial result could be kept`, failure)
  }
  // Named by settings and outcome: two runs that differ in anything do not share a folder.
  const id = createHash('sha256').update(JSON.stringify(header)).update(run.digest()).digest('hex').slice(0, 8)
  const folder = options.out ?? join(options.runs ?? 'runs', `${name}-${id}`)
  const before = folder === place ? null : digestAt(folder, header)
  const record = await run.finish(folder)
  await writePlace(folder, options.tape)
  // The same tape and header were run before, and came to the same: that is worth keeping.
  if (before !== null) addProof(folder, { what: 'again', digest: record.digest, equal: before === record.digest })
  if (folder !== place) await rm(place, { recursive: true, force: true })
  return { record, folder, seconds: (performance.now() - started) / 1000, failure }
}

/** What a run of the same header came to in this folder; null: none is there. */
function digestAt(folder: string, header: SessionHeader): string | null {
  try {
    const was = JSON.parse(readFileSync(join(folder, 'session.json'), 'utf8')) as SessionHeader
    if (JSON.stringify(was) !== JSON.stringify(header)) return null
    return (JSON.parse(readFileSync(join(folder, 'end.json'), 'utf8')) as { digest: string }).digest
  } catch {
    return null
  }
}

/** As the header names them. */
export function strategiesOf(chosen: readonly Chosen[]): SessionHeader['strategies'] {
  return chosen.map(({ strategy: { name, parameters }, source }) => ({ name, parameters, ...(source === null ? {} : { source }) }))
}

const DEPTHS: Readonly<Record<Depth, string>> = {
  book: 'holds whole books',
  quotes: 'holds best prices without depth',
  prints: 'holds trades alone',
}
/** A fill model that needs what the tape has not would invent fills. */
function fillModel(wanted: FillModelName | null, { depth, name }: TapeFacts): FillModelName {
  const possible = FILL_MODELS_OF[depth]
  if (wanted === null) return possible[0] as FillModelName
  if (!possible.includes(wanted))
    throw new UsageError(
      `--fills ${wanted}: the tape ${name} ${DEPTHS[depth]}, so its fill model is ${possible.join(' or ')}: leave --fills away`,
    )
  return wanted
}

/** Between two turns a session that outgrows its memory can still be kept; later Node ends the process. */
function checkMemory(): void {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics()
  if (used < 0.8 * limit) return
  const megabytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MB`
  throw new StrategyError(
    'STRATEGY_MEMORY',
    `Memory is nearly full (${megabytes(used)} of ${megabytes(limit)}): a strategy keeps too much, or the run is too long; NODE_OPTIONS=--max-old-space-size=8192 gives more`,
  )
}

/** Names of strategies as a folder's: letters and digits, and not without end. */
export function folderName(names: readonly string[]): string {
  return names
    .map((name) => name.replace(/[^\p{L}\p{N}_.-]+/gu, '-'))
    .join('+')
    .slice(0, 80)
}

/** The folder of a run may be new, empty, or an older run; nothing else is written over. */
async function claim(folder: string): Promise<void> {
  if (existsSync(folder)) {
    const free =
      statSync(folder).isDirectory() &&
      (readdirSync(folder).length === 0 || existsSync(join(folder, 'session.json')) || existsSync(join(folder, 'log')))
    if (!free) throw new UsageError(`--out ${folder} is there already and is no run: choose a new folder`)
  }
  makeFolder(folder)
}

async function factsOf(tape: Tape, options: BacktestOptions): Promise<TapeFacts> {
  const { manifest } = tape
  const markets = await tape.markets()
  const chosen = markets.filter(
    (m) =>
      (options.markets === null || options.markets.includes(m.ticker)) && (options.series === null || options.series.includes(m.series)),
  )
  const partial = chosen.filter((m) => m.partialBook)
  if (partial.length > 0) {
    throw new DataError(
      'PARTIAL_BOOK',
      `${partial[0]?.ticker} on ${tape.dir}${partial.length > 1 ? ` (and ${partial.length - 1} more)` : ''} has no full book (only changes or best prices were recorded), so no fill can be judged: choose other markets with --market`,
    )
  }
  if (options.from !== null && options.from > manifest.to)
    throw new DataError(
      'INPUT_INVALID',
      `--from lies after the end of the tape ${manifest.name} (${new Date(manifest.to / 1000).toISOString()}): choose an earlier time`,
    )
  if (options.to !== null && options.to < manifest.from)
    throw new DataError(
      'INPUT_INVALID',
      `--to lies before the start of the tape ${manifest.name} (${new Date(manifest.from / 1000).toISOString()}): choose a later time`,
    )
  const tickers = new Set(chosen.map((m) => m.ticker))
  const coverage = (await tape.coverage()).filter((c) => tickers.has(c.market))
  const recorded = coverage.reduce((a, c) => a + c.recorded, 0)
  const whole = chosen.length === manifest.markets
  return {
    name: manifest.name,
    manifest: (await describeFile(tape.dir, 'manifest.json', 0)).sha256,
    source: manifest.source,
    practice: manifest.practice,
    depth: manifest.depth,
    rows: ownRows(manifest),
    markets: chosen.length,
    from: manifest.from,
    to: manifest.to,
    lagMax: manifest.lagMax,
    gaps: whole ? manifest.gaps : mostGaps(coverage),
    ...(whole ? lossesOf(manifest, coverage) : {}),
    inFlux: coverage.reduce((a, c) => a + c.inFlux, 0),
    coverage: recorded === 0 ? null : coverage.reduce((a, c) => a + c.synced, 0) / recorded,
    labels: manifest.labelBasis,
    remarks: manifest.remarks,
  }
}

/** Of some of the markets it is not known which breaks of a stream struck them together: as many as struck one. */
function mostGaps(coverage: readonly CoverageRow[]): number {
  const gaps = new Map<string, number>()
  for (const c of coverage) gaps.set(c.market, (gaps.get(c.market) ?? 0) + c.gaps)
  return Math.max(0, ...gaps.values())
}
