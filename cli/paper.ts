/**
 * `tapeline paper`: live markets, a simulated venue, no money. Owns the command line and what it means: environment, key, measured delays, the session folder, signals; hides the course of the
 * session (`paper-session.ts`).
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Argv, CommandModule } from 'yargs'
import type { Kalshi } from '../adapters/kalshi/index.ts'
import type { World } from '../adapters/kalshi/ports.ts'
import { DataError } from '../data/errors.ts'
import { proveFolder } from '../data/folder.ts'
import { FILL_MODELS_OF, type Delays, type FillModelName, type SessionHeader } from '../engine/session.ts'
import { dollars } from '../engine/units.ts'
import { once } from './backtest.ts'
import type { Settings } from './config.ts'
import { EXIT, failureOf, said as numberSaid, UsageError } from './exit.ts'
import { present, type Outcome } from './output.ts'
import {
  connect,
  endingCode,
  accessOf,
  choiceOf,
  followed,
  keyOf,
  type Access,
  externalPath,
  isLocal,
  liveOptions,
  signals,
  worldOf,
  type Ending,
  type LiveArguments,
  type Signals,
} from './live-connection.ts'
import { notRunning } from './sessions.ts'
import type { PaperPlan } from './paper-session.ts'
import type { RunData } from './run-report.ts'
import type { Chosen } from './strategy/choose.ts'
import { sameStrategies } from './strategy/same.ts'

export type PaperArguments = LiveArguments & {
  strategy: string[] | undefined
  param: string[] | undefined
  warmup: string | undefined
  fills: FillModelName | undefined
  delay: string | undefined
  labelWait: string
  seed: number
  cash: string
  limits: string | undefined
  out: string | undefined
  resume: string | undefined
  json: boolean
}

/** The longest that news of the feed is waited for before a command acts on the book at hand; µs. On a tape it is measured. */
const LAG_MAX = 500_000
const ROUND_TRIPS = 7
const ROUND_TRIP_PAUSE_MS = 150

export const paperCommand: CommandModule<object, PaperArguments> = {
  command: 'paper',
  describe: 'Run strategies on live markets with a simulated venue: nothing is ever sent to the exchange but reads',
  builder: (y) =>
    liveOptions(y)
      .option('strategy', {
        type: 'string',
        array: true,
        requiresArg: true,
        describe: 'Name of a strategy, or the path of its file (repeat for more in one session)',
      })
      .option('param', { type: 'string', array: true, requiresArg: true, describe: 'Parameter, k=v; with several strategies <name>.k=v' })
      .option('warmup', { type: 'string', requiresArg: true, describe: 'See and do not trade for this long (30s, 5m)' })
      .option('fills', { choices: FILL_MODELS_OF.book, describe: 'Fill model (default: queue)' })
      .option('delay', { type: 'string', requiresArg: true, describe: 'place=100ms,… instead of what is measured' })
      .option('label-wait', { type: 'string', default: '100ms', requiresArg: true, describe: 'How long a row may wait for its label' })
      .option('seed', { type: 'number', default: 1, requiresArg: true, describe: 'Seed of what is random in a model' })
      .option('cash', { type: 'string', default: '10000', requiresArg: true, describe: 'Starting cash in dollars' })
      .option('limits', { type: 'string', requiresArg: true, describe: 'JSON file of risk limits' })
      .option('out', {
        type: 'string',
        requiresArg: true,
        describe: 'Folder of the session (default: sessions/<strategy>-<series>-<time>)',
      })
      .option('resume', { type: 'string', requiresArg: true, describe: 'Go on with this session where it stopped or was cut off' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout at the end, and nothing else' })
      .check((argv) => once(argv))
      .example('$0 paper --strategy lean --series KXBTC15M --duration 1h', '')
      .example('$0 paper --strategy ./mine.ts --market KX… --external prices.ndjson', '')
      .example('$0 paper --resume sessions/lean-KXBTC15M-20260513T134500Z', '') as unknown as Argv<PaperArguments>,
  handler: (argv) => present('paper', argv.json, () => runPaperCommand(argv)),
}

async function runPaperCommand(argv: PaperArguments): Promise<Outcome<RunData>> {
  const ends = signals()
  try {
    return await paper(argv, ends)
  } finally {
    ends.close()
  }
}

async function paper(said: PaperArguments, ends: Signals): Promise<Outcome<RunData>> {
  const { parseDuration } = await import('./options.ts')
  const { readHeader, runPaper } = await import('./paper-session.ts')
  if (!(Number(said.cash) > 0)) throw new UsageError(`--cash ${said.cash}: starting cash is a number of dollars above zero`)
  if (!Number.isSafeInteger(said.seed)) throw new UsageError(`${numberSaid('seed', said.seed)}: the seed is a whole number`)
  if (said.resume !== undefined) notRunning(said.resume)
  const access = said.resume === undefined ? await accessOf(said) : null
  const argv = access === null ? said : followed(said, access.settings.paper)
  const duration = argv.duration === undefined ? null : parseDuration(argv.duration, '--duration') / 1000
  const resumed = argv.resume === undefined ? null : resumedPlan(argv.resume, argv)
  const given = resumed?.strategies ?? (argv.strategy ?? []).map((s) => (/[/\\]|\.[cm]?[jt]s$/.test(s) ? resolve(s) : s))
  const { chooseStrategies } = await import('./strategy/choose.ts')
  const strategies = await chooseStrategies(given, resumed?.parameters ?? argv.param ?? [])
  if (resumed === null && (argv.series ?? argv.market) === undefined)
    throw new UsageError('a paper session needs markets: give --series or --market')
  const environment = resumed?.environment ?? (access as Access).environment
  const { FileQuarantine } = await import('../adapters/kalshi/index.ts')
  const dir = argv.resume ?? argv.out ?? (await defaultFolder(strategies, argv, access?.settings.sessions ?? 'sessions'))
  if (argv.resume === undefined && existsSync(join(dir, 'tape')))
    throw new UsageError(`--out ${dir} is a session already: choose a new folder, or go on with it by --resume ${dir}`)
  if (argv.resume === undefined && existsSync(dir) && (!statSync(dir).isDirectory() || readdirSync(dir).length > 0))
    throw new UsageError(`--out ${dir} is there already and is not empty: choose a new folder`)
  proveFolder(dir)
  const world = await worldOf(argv, environment, new FileQuarantine(join(dir, 'quarantine.ndjson')))
  const { settings, ...key } = access ?? (await keyOf(argv))
  const kalshi = await connect({ ...key, environment }, world)
  try {
    const measured = resumed?.measured ?? (await roundTrips(kalshi, world))
    const plan: PaperPlan = resumed ?? {
      schema: 'tapeline.paper/1',
      strategies: given,
      parameters: argv.param ?? [],
      environment,
      series: argv.series ?? null,
      markets: argv.market ?? null,
      external: externalPath(argv.external),
      labelWait: parseDuration(argv.labelWait, '--label-wait'),
      measured,
      rule: choiceOf((access as Access).settings.paper),
    }
    const header =
      resumed === null ? await headerOf(argv, strategies, plan, world.clock.now(), (access as Access).settings) : await readHeader(dir)
    if (resumed !== null) await sameStrategies(dir, header, strategies)
    const say = (text: string): void => void process.stderr.write(`${text}\n`)
    say(
      `paper: ${header.strategies.map((s) => s.name).join(', ')} on ${[...(plan.series ?? []), ...(plan.markets ?? [])].join(', ')} of ${kalshi.environment.name}; orders take ${(header.delays.place / 1000).toFixed(1)} ms to the venue and ${(header.delays.answer / 1000).toFixed(1)} ms back (simulated). Session ${dir}`,
    )
    const { record, ending, failure, seconds } = await runPaper({
      dir,
      header,
      plan,
      strategies,
      kalshi,
      world,
      resume: resumed !== null,
      duration,
      spaceMin: settings.paper.spaceMin,
      onReady: (end) => ends.to(end),
      say,
      tell: argv.json ? undefined : say,
    })
    const { reported } = await import('./run-report.ts')
    const { data, text, warnings } = await reported(record, dir, seconds, argv.json)
    const nothing = failure === null && ending.exit === EXIT.ok && ending.error === undefined && record.end.marketsSeen === 0
    const error =
      failure !== null
        ? failureOf(failure)
        : nothing
          ? { code: 'NOTHING_CAME', message: `no market came: ${emptyText(plan)}` }
          : ending.exit === EXIT.ok
            ? null
            : endingError(ending, dir)
    return {
      data,
      warnings,
      text: `${text}Session  ${join(dir, 'tape')} is its tape; npx tapeline replay ${dir} proves it\n`,
      exit:
        failure !== null ? EXIT.strategy : nothing ? EXIT.data : ending.error === undefined ? ending.exit : failureOf(ending.error).exit,
      ...(error === null ? {} : { error: { code: error.code, message: error.message } }),
    }
  } finally {
    kalshi.close()
    await world.close()
  }
}

function emptyText({ series, markets }: PaperPlan): string {
  return `none of ${[...(series ?? []), ...(markets ?? [])].join(', ')} was open or about to open, or the exchange was not reached; look at the spelling and at \`tapeline status\``
}

function endingError(ending: Ending, dir: string): { code: string; message: string } {
  if (ending.error !== undefined) return failureOf(ending.error)
  return {
    code: endingCode(ending),
    message: `${ending.reason}: what ran is in ${dir}; \`tapeline paper --resume ${dir}\` goes on with it`,
  }
}

/** Round trips of a small read, µs, sorted. The first one opens the connection and does not count; between two the budget recovers, or its wait would be measured. */
export async function roundTrips(kalshi: Kalshi, { clock }: World, times = ROUND_TRIPS): Promise<number[]> {
  const trips: number[] = []
  for (let i = 0; i <= times; i++) {
    await new Promise((resolve) => setTimeout(resolve, ROUND_TRIP_PAUSE_MS))
    const sent = clock.now()
    await kalshi.rest.get('exchangeStatus')
    if (i > 0) trips.push(clock.now() - sent)
  }
  return trips.sort((a, b) => a - b)
}
/** Half of the median there, half of it back. */
function measuredDelays(measured: readonly number[]): Delays {
  const half = Math.max(1, Math.round((measured[Math.floor(measured.length / 2)] ?? 0) / 2))
  return { place: half, cancel: half, amend: half, answer: half }
}

async function headerOf(
  argv: PaperArguments,
  strategies: readonly Chosen[],
  plan: PaperPlan,
  now: number,
  settings: Settings,
): Promise<SessionHeader> {
  const { parseDelays, parseDuration } = await import('./options.ts')
  const { strategiesOf } = await import('./session.ts')
  const { VERSION } = await import('./version.ts')
  const cash = Number(argv.cash)
  const local = isLocal(plan.environment)
  const trips = plan.measured.map((t) => (t / 1000).toFixed(1))
  return {
    schema: 'tapeline.session/1',
    mode: 'paper',
    version: VERSION,
    node: process.version,
    tape: {
      name: [...(plan.series ?? []), ...(plan.markets ?? [])].join('+').slice(0, 60),
      manifest: '',
      source: `paper (${local ? 'local exchange' : plan.environment})`,
      practice: local,
      depth: 'book',
      rows: 0,
      markets: 0,
      from: now,
      to: now,
      lagMax: LAG_MAX,
      gaps: 0,
      inFlux: 0,
      coverage: null,
      labels: 'none',
      remarks: [
        `${argv.delay === undefined ? 'Delays are half of' : 'Delays are given; measured was'} the median of ${trips.length} round trips of a read: ${trips.join(', ')} ms`,
      ],
    },
    strategies: strategiesOf(strategies),
    cash: dollars(cash),
    limits: settings.limits,
    fills: argv.fills ?? 'queue',
    delays: argv.delay === undefined ? measuredDelays(plan.measured) : parseDelays(argv.delay),
    rate: { perSecond: 100, capacity: 100 },
    seed: argv.seed,
    selection: {
      markets: argv.market ?? null,
      series: argv.series ?? null,
      from: null,
      to: null,
      warmup: argv.warmup === undefined ? 0 : parseDuration(argv.warmup, '--warmup'),
    },
  }
}

async function defaultFolder(strategies: readonly Chosen[], argv: PaperArguments, sessions: string): Promise<string> {
  const { folderName } = await import('./session.ts')
  const names = folderName(strategies.map((s) => s.strategy.name))
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  return join(sessions, `${names}-${(argv.series ?? argv.market ?? ['']).join('+').slice(0, 60)}-${time}`)
}

/** How the session was started; nothing of it can be changed on the way. */
function resumedPlan(dir: string, argv: PaperArguments): PaperPlan {
  for (const name of ['strategy', 'param', 'series', 'market', 'external', 'out', 'delay', 'limits', 'warmup', 'fills'] as const)
    if (argv[name] !== undefined)
      throw new UsageError(`--${name} is the session's own and cannot be changed when it goes on: leave it away, or start a new session`)
  return readPlan(dir)
}
export function readPlan(dir: string): PaperPlan {
  const path = join(dir, 'paper.json')
  if (!existsSync(path) || !existsSync(join(dir, 'session.json')))
    throw new DataError(
      'NOT_A_SESSION',
      `${dir} is no paper session (no paper.json in it): give the folder that \`tapeline paper\` printed`,
    )
  try {
    const plan = JSON.parse(readFileSync(path, 'utf8')) as PaperPlan
    if (plan.schema === 'tapeline.paper/1') return plan
  } catch {}
  throw new DataError('NOT_A_SESSION', `${path} cannot be read: the session cannot go on; its tape can be run by \`tapeline backtest\``)
}
