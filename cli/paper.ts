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
import { FILL_MODELS_OF, type Delays, type FillModelName, type SessionHeader } from '../engine/session.ts'
import { dollars } from '../engine/units.ts'
import { once } from './backtest.ts'
import { EXIT, failureOf, UsageError } from './exit.ts'
import { present, type Outcome } from './output.ts'
import type { Ending, PaperPlan } from './paper-session.ts'
import type { RunData } from './run-report.ts'
import type { Chosen } from './strategy/choose.ts'

export type PaperArguments = {
  strategy: string[] | undefined
  param: string[] | undefined
  series: string[] | undefined
  market: string[] | undefined
  environment: 'demo' | 'production' | 'local'
  url: string | undefined
  clock: string | undefined
  keyId: string | undefined
  keyFile: string | undefined
  external: string | undefined
  duration: string | undefined
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
    y
      .option('strategy', {
        type: 'string',
        array: true,
        requiresArg: true,
        describe: 'Name of a strategy, or the path of its file (repeat for more in one session)',
      })
      .option('param', { type: 'string', array: true, requiresArg: true, describe: 'Parameter, k=v; with several strategies <name>.k=v' })
      .option('series', { type: 'string', array: true, requiresArg: true, describe: 'Markets of these series, new ones included' })
      .option('market', { type: 'string', array: true, requiresArg: true, describe: 'These markets, by ticker' })
      .option('environment', {
        choices: ['demo', 'production', 'local'] as const,
        default: 'demo' as const,
        describe: 'Where the markets are; local: an exchange on this machine, with --url',
      })
      .option('url', { type: 'string', requiresArg: true, describe: 'Address of the local exchange, as in http://127.0.0.1:4010' })
      .option('clock', { type: 'string', requiresArg: true, describe: 'Clock of a local exchange with --scale: the JSON that it prints' })
      .option('key-id', { type: 'string', requiresArg: true, describe: 'Id of the API key (default: $TAPELINE_KEY_ID)' })
      .option('key-file', { type: 'string', requiresArg: true, describe: 'Its PEM file, mode 0600 (default: $TAPELINE_KEY_FILE)' })
      .option('external', { type: 'string', requiresArg: true, describe: 'Outside series as NDJSON: a file that grows, or - for stdin' })
      .option('duration', { type: 'string', requiresArg: true, describe: 'Stop by itself after this long (default: at Ctrl-C)' })
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

async function paper(argv: PaperArguments, ends: ReturnType<typeof signals>): Promise<Outcome<RunData>> {
  const { parseDuration } = await import('./options.ts')
  const { readHeader, runPaper } = await import('./paper-session.ts')
  const duration = argv.duration === undefined ? null : parseDuration(argv.duration, '--duration') / 1000
  const resumed = argv.resume === undefined ? null : resumedPlan(argv.resume, argv)
  const given = resumed?.strategies ?? (argv.strategy ?? []).map((s) => (/[/\\]|\.[cm]?[jt]s$/.test(s) ? resolve(s) : s))
  const { chooseStrategies } = await import('./strategy/choose.ts')
  const strategies = await chooseStrategies(given, resumed?.parameters ?? argv.param ?? [])
  if (resumed === null && (argv.series ?? argv.market) === undefined)
    throw new UsageError('a paper session needs markets: give --series or --market')
  const environment = resumed?.environment ?? environmentOf(argv)
  const { FileQuarantine } = await import('../adapters/kalshi/index.ts')
  const dir = argv.resume ?? argv.out ?? (await defaultFolder(strategies, argv))
  if (argv.resume === undefined && existsSync(join(dir, 'tape')))
    throw new UsageError(`--out ${dir} is a session already: choose a new folder, or go on with it by --resume ${dir}`)
  if (argv.resume === undefined && existsSync(dir) && (!statSync(dir).isDirectory() || readdirSync(dir).length > 0))
    throw new UsageError(`--out ${dir} is there already and is not empty: choose a new folder`)
  const world = await worldOf(argv, environment, new FileQuarantine(join(dir, 'quarantine.ndjson')))
  const kalshi = await connect(argv, environment, world)
  try {
    const measured = resumed?.measured ?? (await roundTrips(kalshi, world))
    const plan: PaperPlan = resumed ?? {
      schema: 'tapeline.paper/1',
      strategies: given,
      parameters: argv.param ?? [],
      environment,
      series: argv.series ?? null,
      markets: argv.market ?? null,
      external: argv.external === undefined || argv.external === '-' ? (argv.external ?? null) : resolve(argv.external),
      labelWait: parseDuration(argv.labelWait, '--label-wait'),
      measured,
    }
    const header = resumed === null ? await headerOf(argv, strategies, plan, world.clock.now()) : await readHeader(dir)
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
      onReady: (end) => ends.to(end),
      say,
    })
    const { reported } = await import('./run-report.ts')
    const { data, text, warnings } = await reported(record, dir, seconds, argv.json)
    const error = failure !== null ? failureOf(failure) : ending.exit === EXIT.ok ? null : endingError(ending, dir)
    return {
      data,
      warnings,
      text: `${text}Session  ${join(dir, 'tape')} is its tape; npx tapeline replay ${dir} proves it\n`,
      exit: failure !== null ? EXIT.strategy : ending.error === undefined ? ending.exit : failureOf(ending.error).exit,
      ...(error === null ? {} : { error: { code: error.code, message: error.message } }),
    }
  } finally {
    kalshi.close()
    await world.close()
  }
}

function endingError(ending: Ending, dir: string): { code: string; message: string } {
  if (ending.error !== undefined) return failureOf(ending.error)
  const code = ending.exit === EXIT.terminated ? 'TERMINATED' : ending.exit === EXIT.interrupted ? 'INTERRUPTED' : 'FEED_ENDED'
  return { code, message: `${ending.reason}: what ran is in ${dir}; \`tapeline paper --resume ${dir}\` goes on with it` }
}

/** Ctrl-C and SIGTERM end a session, a second one at once. */
function signals(): { to(end: (ending: Ending) => void): void; close(): void } {
  let asked: Ending | null = null
  let end: ((ending: Ending) => void) | null = null
  const others = process.listeners('SIGTERM')
  process.removeAllListeners('SIGTERM')
  const on = (exit: number, reason: string) => (): void => {
    if (asked !== null) process.exit(exit)
    asked = { reason, exit, complete: false }
    process.stderr.write('\nstopping: what ran so far is kept (again to quit at once)\n')
    end?.(asked)
  }
  const interrupted = on(EXIT.interrupted, 'interrupted')
  const terminated = on(EXIT.terminated, 'terminated')
  process.on('SIGINT', interrupted)
  process.on('SIGTERM', terminated)
  return {
    to(call) {
      end = call
      if (asked !== null) call(asked)
    },
    close() {
      process.off('SIGINT', interrupted)
      process.off('SIGTERM', terminated)
      for (const other of others) process.on('SIGTERM', other)
    },
  }
}

function environmentOf({ environment, url }: PaperArguments): string {
  if (environment !== 'local') {
    if (url !== undefined) throw new UsageError('--url goes with --environment local: the others have their own addresses')
    return environment
  }
  if (url === undefined) throw new UsageError('--environment local needs --url, as `tapeline exchange` printed it (http://127.0.0.1:4010)')
  // As it is printed, with the path of the interface.
  return url.replace(/\/trade-api\/v2\/?$/, '').replace(/\/$/, '')
}

type ClosingWorld = World & { close(): Promise<void> }
async function worldOf(argv: PaperArguments, environment: string, quarantine: World['quarantine']): Promise<ClosingWorld> {
  const { systemWorld } = await import('../adapters/kalshi/index.ts')
  const world = systemWorld(quarantine)
  if (argv.clock === undefined) return world
  if (environment === 'demo' || environment === 'production') throw new UsageError('--clock goes with --environment local')
  const { VirtualClock } = await import('../adapters/exchange/clock.ts')
  let plan: { virtualStart: number; realStart: number; scale: number }
  try {
    plan = JSON.parse(argv.clock) as typeof plan
  } catch {
    throw new UsageError('--clock is the clock that `tapeline exchange --json` printed: {"virtualStart":…,"realStart":…,"scale":…}')
  }
  const { virtualStart, realStart, scale } = plan
  if (![virtualStart, realStart, scale].every(Number.isFinite) || !(scale > 0))
    throw new UsageError('--clock is the clock that `tapeline exchange --json` printed: {"virtualStart":…,"realStart":…,"scale":…}')
  const clock = new VirtualClock({ virtualStart, realStart, scale })
  return {
    ...world,
    clock: { now: () => clock.now(), wall: () => Math.floor(clock.now() / 1000) },
    timers: { after: (delay, call) => world.timers.after(delay / scale, call) },
    close: () => world.close(),
  }
}

async function connect(argv: PaperArguments, environment: string, world: World): Promise<Kalshi> {
  const keyId = argv.keyId ?? process.env['TAPELINE_KEY_ID'] ?? ''
  const keyFile = argv.keyFile ?? process.env['TAPELINE_KEY_FILE'] ?? ''
  if (keyId === '' || keyFile === '')
    throw new UsageError(
      'the exchange shows its stream to known keys alone: give --key-id and --key-file (a key that may only read is enough)',
      EXIT.credentials,
      'CREDENTIALS',
    )
  const { Kalshi } = await import('../adapters/kalshi/index.ts')
  const kalshi = new Kalshi({ environment, keyId, keyFile }, world, process.env)
  await kalshi.learn()
  return kalshi
}

/** Round trips of a small read, µs, sorted. The first one opens the connection and does not count; between two the budget recovers, or its wait would be measured. */
async function roundTrips(kalshi: Kalshi, { clock }: World): Promise<number[]> {
  const trips: number[] = []
  for (let i = 0; i <= ROUND_TRIPS; i++) {
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

async function headerOf(argv: PaperArguments, strategies: readonly Chosen[], plan: PaperPlan, now: number): Promise<SessionHeader> {
  const { parseDelays, parseDuration, readLimits } = await import('./options.ts')
  const { strategiesOf } = await import('./session.ts')
  const { VERSION } = await import('./version.ts')
  const cash = Number(argv.cash)
  if (!(cash > 0)) throw new UsageError(`--cash ${argv.cash}: starting cash is a number of dollars above zero`)
  if (!Number.isSafeInteger(argv.seed)) throw new UsageError('--seed: the seed is a whole number')
  const local = plan.environment !== 'demo' && plan.environment !== 'production'
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
    limits: readLimits(argv.limits),
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

async function defaultFolder(strategies: readonly Chosen[], argv: PaperArguments): Promise<string> {
  const { folderName } = await import('./session.ts')
  const names = folderName(strategies.map((s) => s.strategy.name))
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  return join('sessions', `${names}-${(argv.series ?? argv.market ?? ['']).join('+').slice(0, 60)}-${time}`)
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

/** The strategies of the header: the same code with the same parameters. */
export async function sameStrategies(dir: string, header: SessionHeader, strategies: readonly Chosen[]): Promise<void> {
  const { strategiesOf } = await import('./session.ts')
  const now = strategiesOf(strategies)
  header.strategies.forEach((was, i) => {
    if (JSON.stringify(was) !== JSON.stringify(now[i]))
      throw new UsageError(
        `${was.name} is not what it was when ${dir} was begun (${was.source === undefined ? 'its parameters' : `${was.source.file} or its parameters`} changed): put it back, or start a new session`,
        EXIT.mismatch,
        'DIVERGED',
      )
  })
}
