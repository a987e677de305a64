/**
 * The benchmark: rows a second from Parquet to the last decision with `lean`, on a practice tape of KXBTC15M shape, against bare decoding of the same tape, and peak memory
 * on a longer one. Owns the workloads; prints a table and one JSON line. Figures are medians of whole runs; ratios come from one invocation.
 *
 * `npm run bench` (10 million rows) · `npm run bench -- --rows 50000000 --repeat 1` (memory) · tapes are kept in tapes/ and made once.
 */
import { existsSync } from 'node:fs'
import { cpus } from 'node:os'
import { resourceUsage } from 'node:process'
import { HistoryFeed } from '../adapters/history/feed.ts'
import { makePracticeTape } from '../adapters/practice/practice-tape.ts'
import { SimulatedVenue } from '../adapters/simulated/venue.ts'
import { Run } from '../data/run.ts'
import { openTape } from '../data/tape-reader.ts'
import { Engine } from '../engine/engine.ts'
import { LIMITS_DEFAULT } from '../engine/risk.ts'
import type { SessionHeader } from '../engine/session.ts'
import type { Strategy } from '../engine/strategy.ts'
import { lean } from '../strategies/lean.ts'

function option(name: string, standard: number): number {
  const at = process.argv.indexOf(`--${name}`)
  const value = at < 0 ? standard : Number(process.argv[at + 1])
  if (!Number.isSafeInteger(value) || value < 1) {
    process.stderr.write(`error: --${name} takes a whole number above zero\n`)
    process.exit(2)
  }
  return value
}

const rows = option('rows', 10_000_000)
const repeat = option('repeat', 3)
const tapePath = `tapes/bench-${rows}`
if (!existsSync(tapePath)) {
  process.stderr.write(`making ${tapePath} …\n`)
  // One market after another, each as busy as a recorded KXBTC15M market: about 130 deltas a second.
  const days = Math.ceil(rows / (15 * 60 * 125 * 96)) + 1
  await makePracticeTape(tapePath, { seed: 1, markets: days * 96, days, rate: 95, rowsMax: rows })
}
const tape = await openTape(tapePath)
const { manifest } = tape

const header: SessionHeader = {
  schema: 'tapeline.session/1',
  mode: 'backtest',
  version: 'bench',
  node: process.version,
  tape: {
    name: manifest.name,
    manifest: '',
    source: manifest.source,
    practice: true,
    depth: 'book',
    rows: manifest.rows,
    markets: manifest.markets,
    from: manifest.from,
    to: manifest.to,
    lagMax: manifest.lagMax,
    gaps: 0,
    inFlux: 0,
    coverage: 1,
    labels: 'true',
    remarks: [],
  },
  strategies: [],
  cash: 10_000_000_000,
  // The loss of a losing strategy must not end its work half-way: the benchmark measures a busy one.
  limits: { ...LIMITS_DEFAULT, sessionLossMax: 1e15 },
  fills: 'queue',
  delays: { place: 100_000, cancel: 100_000, amend: 100_000, answer: 50_000 },
  rate: { perSecond: 100, capacity: 100 },
  seed: 1,
  selection: { markets: null, series: null, from: null, to: null, warmup: 0 },
}

type Figure = { readonly rate: number; readonly note: string }

async function decodeOnly(): Promise<Figure> {
  const started = performance.now()
  let n = 0
  for await (const batch of await tape.read({ decode: 'worker' })) n += batch.length
  return { rate: n / ((performance.now() - started) / 1000), note: '' }
}

async function session(strategies: readonly Strategy[]): Promise<Figure> {
  const started = performance.now()
  const run = new Run(false)
  const engine = new Engine({ header, strategies, venue: new SimulatedVenue('queue', header.delays, header.tape.lagMax), sink: run })
  for await (const batch of new HistoryFeed(tape, { decode: 'worker' }).batches()) engine.run(batch)
  const end = engine.finish('end of tape', true)
  const seconds = (performance.now() - started) / 1000
  return { rate: end.rows / seconds, note: `${end.orders} orders, ${end.fills} fills, digest ${run.digest().slice(0, 12)}` }
}

const workloads: readonly [string, () => Promise<Figure>][] = [
  ['decode only', decodeOnly],
  ['books, no strategy', () => session([])],
  ['lean', () => session([lean()])],
]
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
const results: { workload: string; rowsPerSecond: number; note: string }[] = []
for (const [workload, run] of workloads) {
  const figures: Figure[] = []
  for (let i = 0; i < repeat; i++) figures.push(await run())
  results.push({ workload, rowsPerSecond: Math.round(median(figures.map((f) => f.rate))), note: figures[0]?.note ?? '' })
}
const base = results[0]?.rowsPerSecond ?? 1
const peak = Math.round(resourceUsage().maxRSS / 1024)
process.stdout.write(
  `${manifest.rows.toLocaleString('en-US')} rows, ${manifest.markets} markets, median of ${repeat}; ${cpus().length} × ${cpus()[0]?.model ?? 'cpu'}, Node ${process.version}\n`,
)
for (const r of results) {
  process.stdout.write(
    `${r.workload.padEnd(20)} ${(r.rowsPerSecond / 1e6).toFixed(2)} M rows/s  ${(r.rowsPerSecond / base).toFixed(2)} of decoding  ${r.note}\n`,
  )
}
process.stdout.write(
  `peak memory of the whole process: ${peak} MB\n${JSON.stringify({ rows: manifest.rows, repeat, results, peakMegabytes: peak })}\n`,
)
