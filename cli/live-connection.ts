/**
 * What every command on live markets needs, `paper` and `record`: which markets, which exchange, whose key, whose clock, and how it ends. Owns those options and what they mean; hides the adapter
 * until it is needed. Invariant: a key reaches the signer alone.
 */
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Argv } from 'yargs'
import { ExternalFile, ExternalStream } from '../adapters/external/ndjson.ts'
import type { Kalshi, SelectionRule } from '../adapters/kalshi/index.ts'
import { KalshiError } from '../adapters/kalshi/errors.ts'
import type { World } from '../adapters/kalshi/ports.ts'
import { DataError } from '../data/errors.ts'
import { configOptions } from './config-command.ts'
import type { Following, Settings } from './config.ts'
import { EXIT, UsageError } from './exit.ts'
import { count } from './output.ts'
import { OWN_MAX, type LiveSession } from './live-session.ts'

export type LiveArguments = {
  series: string[] | undefined
  market: string[] | undefined
  config?: string | undefined
  profile?: string | undefined
  environment: 'demo' | 'production' | 'local' | undefined
  url: string | undefined
  clock: string | undefined
  keyId: string | undefined
  keyFile: string | undefined
  external: string | undefined
  duration: string | undefined
}

export function liveOptions(y: Argv): Argv {
  return configOptions(y)
    .option('series', { type: 'string', array: true, requiresArg: true, describe: 'Markets of these series, new ones included' })
    .option('market', { type: 'string', array: true, requiresArg: true, describe: 'These markets, by ticker' })
    .option('environment', {
      choices: ['demo', 'production', 'local'] as const,
      describe:
        'Where the markets are (default: as in tapeline.yaml, else demo); local: an exchange on this machine; production also needs a profile that names it',
    })
    .option('url', { type: 'string', requiresArg: true, describe: 'Address of the local exchange, as in http://127.0.0.1:4010' })
    .option('clock', { type: 'string', requiresArg: true, describe: 'Clock of a local exchange with --scale: the JSON that it prints' })
    .option('key-id', { type: 'string', requiresArg: true, describe: 'Id of the API key (default: as in tapeline.yaml)' })
    .option('key-file', { type: 'string', requiresArg: true, describe: 'Its PEM file, mode 0600' })
    .option('external', { type: 'string', requiresArg: true, describe: 'Outside series as NDJSON: a file that grows, or - for stdin' })
    .option('duration', { type: 'string', requiresArg: true, describe: 'Stop by itself after this long (default: at Ctrl-C)' })
}

/** `complete`: it ran as long as it was meant to. */
export type Ending = { readonly reason: string; readonly exit: number; readonly complete: boolean; readonly error?: unknown }
export type Signals = { to(end: (ending: Ending) => void): void; close(): void }

/** Ctrl-C and SIGTERM end a session, a second one at once. */
export function signals(): Signals {
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
  // The terminal was closed.
  process.on('SIGHUP', terminated)
  return {
    to(call) {
      end = call
      if (asked !== null) call(asked)
    },
    close() {
      process.off('SIGINT', interrupted)
      process.off('SIGTERM', terminated)
      process.off('SIGHUP', terminated)
      for (const other of others) process.on('SIGTERM', other)
    },
  }
}
export function endingCode({ exit }: Ending): string {
  return exit === EXIT.terminated ? 'TERMINATED' : exit === EXIT.interrupted ? 'INTERRUPTED' : 'FEED_ENDED'
}

type ConfigChoice = { config?: string | undefined; profile?: string | undefined; limits?: string | undefined }
/** What the command line and tapeline.yaml say of the exchange: where it is, and whose key. */
export type Access = {
  readonly environment: string
  readonly keyId: string | null
  readonly keyFile: string | null
  readonly settings: Settings
}

const LOOPBACK = /^http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?(\/|$)/

export async function accessOf(argv: Omit<LiveArguments, 'config' | 'profile'> & ConfigChoice): Promise<Access> {
  const { exchangeOf, settingsOf } = await import('./config.ts')
  const { config, profile, environment, url, limits } = argv
  if (url !== undefined && environment !== 'local')
    throw new UsageError('--url goes with --environment local: the others have their own addresses')
  if (url !== undefined && !LOOPBACK.test(url))
    throw new UsageError(
      `--url ${url.slice(0, 80)}: an exchange on this machine alone has an address of its own, as \`tapeline exchange\` prints it (http://127.0.0.1:4010); Kalshi's are --environment demo and production`,
    )
  const settings = settingsOf({ config, profile, environment, limits })
  // A key of the file belongs to the environment beside it: settings leave it out elsewhere.
  const { keyId, keyFile } = settings.kalshi
  const key = { keyId: argv.keyId ?? keyId, keyFile: argv.keyFile ?? keyFile, settings }
  // As it is printed, with the path of the interface.
  if (url !== undefined) return { environment: url.replace(/(\/trade-api\/v2)?\/?$/, ''), ...key }
  if (environment === 'local' && settings.kalshi.localUrl === null)
    throw new UsageError('--environment local needs --url, as `tapeline exchange` printed it (http://127.0.0.1:4010)')
  return { environment: exchangeOf(settings), ...key }
}
/** The key for an exchange that is known already. */
export async function keyOf(argv: LiveArguments): Promise<Omit<Access, 'environment'>> {
  const { settingsOf } = await import('./config.ts')
  const settings = settingsOf({ config: argv.config, profile: argv.profile })
  const { keyId, keyFile } = settings.kalshi
  return { keyId: argv.keyId ?? keyId, keyFile: argv.keyFile ?? keyFile, settings }
}

/** Markets of the command line, else those of the settings' section. */
export function followed<A extends LiveArguments>(
  argv: A,
  { series, markets }: { readonly series: readonly string[]; readonly markets: readonly string[] },
): A {
  if (argv.series !== undefined || argv.market !== undefined) return argv
  return { ...argv, series: series.length > 0 ? [...series] : undefined, market: markets.length > 0 ? [...markets] : undefined }
}

/** An exchange on this machine has practice markets, whatever its address. */
export function isLocal(environment: string): boolean {
  return environment !== 'demo' && environment !== 'production'
}

export async function worldOf(
  argv: Pick<LiveArguments, 'clock'>,
  environment: string,
  quarantine: World['quarantine'],
): Promise<World & { close(): Promise<void> }> {
  const { systemWorld } = await import('../adapters/kalshi/index.ts')
  const world = systemWorld(quarantine)
  if (argv.clock === undefined) return world
  if (!isLocal(environment)) throw new UsageError('--clock goes with --environment local')
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

export async function connect({ environment, keyId, keyFile }: Omit<Access, 'settings'>, world: World): Promise<Kalshi> {
  if (keyId === null || keyFile === null)
    throw new UsageError(
      'the exchange shows its stream to known keys alone: give --key-id and --key-file, or name them in tapeline.yaml (a key that may only read is enough)',
      EXIT.credentials,
      'CREDENTIALS',
    )
  const { Kalshi } = await import('../adapters/kalshi/index.ts')
  const kalshi = new Kalshi({ environment, keyId, keyFile }, world, process.env)
  try {
    await kalshi.learn()
    const apart = isLocal(environment) ? await clockApart(kalshi, world) : null
    if (apart !== null) process.stderr.write(`warning: ${apart}\n`)
    return kalshi
  } catch (error) {
    kalshi.close()
    const { clockOffset } = kalshi.rest
    // A signature of another time is refused like a wrong key: the clock is named, which is what can be mended.
    if (isLocal(environment) && error instanceof KalshiError && error.code === 'AUTH' && clockOffset !== null && isApart(clockOffset))
      throw new UsageError(`the key was refused, and ${apartText(clockOffset.offset)}`, EXIT.credentials, 'AUTH')
    throw error
  }
}

/** µs between the clocks beyond what a machine's own exchange can show. */
const APART_MAX = 2_000_000
/** Real ms between two looks: a clock at 20 seconds a second has run six by then. */
const LOOK_MS = 300
type Offset = { readonly offset: number; readonly uncertainty: number }
function isApart({ offset, uncertainty }: Offset): boolean {
  return Math.abs(offset) > APART_MAX + uncertainty
}
function apartText(offset: number): string {
  return `the local exchange's clock stands ${count(Math.round(Math.abs(offset) / 1e6))} s ${offset > 0 ? 'ahead of' : 'behind'} this session's (it was started with --scale or --start): give the --clock '{…}' that \`tapeline exchange\` printed`
}
/** What is wrong between the clock of a local exchange and ours; null: nothing that can be seen. */
async function clockApart({ rest }: Kalshi, { clock }: World): Promise<string | null> {
  const first = rest.clockOffset
  if (first === null) return null
  if (isApart(first)) return apartText(first.offset)
  const before = clock.now()
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  await rest.get('exchangeStatus')
  const second = rest.clockOffset
  if (second === null || Math.abs(second.offset - first.offset) <= first.uncertainty + second.uncertainty) return null
  const speed = 1 + (second.offset - first.offset) / Math.max(1, clock.now() - before)
  return `the local exchange's clock runs about ${count(Math.max(0, Math.round(speed)))} times as fast as this session's: give the --clock '{…}' that \`tapeline exchange\` printed`
}

/** Where outside values come from, as it is kept: an absolute path, `-` for stdin. */
export function externalPath(given: string | undefined): string | null {
  if (given === undefined || given === '-') return given ?? null
  const path = resolve(given)
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true)
    throw new DataError('FILE_UNREADABLE', `--external ${given} is no file: give a file with a value a line, or - for stdin`)
  return path
}
/** `taken`: how many values of each series the tape has already. */
export function externalOf(
  external: string | null,
  taken: ReadonlyMap<string, number>,
  live: LiveSession,
  trouble: (text: string) => void,
): ExternalFile | ExternalStream | null {
  if (external === null) return null
  let told = false
  const events = {
    value: ({ series, value, published, known, revision }: Parameters<ConstructorParameters<typeof ExternalFile>[1]['value']>[0]) =>
      live.external({ series, value, revision }, published, known),
    trouble,
    room: () => {
      const { room, waiting } = live
      if (!room && !told)
        trouble(
          `${waiting} outside values wait for the time at which they are known, and no more are read until some of them are due: is "known" of ${external === '-' ? 'stdin' : external} far ahead?`,
        )
      // Told once until the queue is well below its bound again.
      if (!room) told = true
      else if (waiting < OWN_MAX / 2) told = false
      return room
    },
  }
  return external === '-' ? new ExternalStream(process.stdin, events) : new ExternalFile(external, events, taken)
}

/** What chooses among the markets of a series; null or absent: it does not choose. */
export type Choice = Pick<Following, 'closeWithin' | 'closeAfter' | 'spreadMax' | 'volumeMin' | 'marketsMax'>
export function choiceOf({ closeWithin, closeAfter, spreadMax, volumeMin, marketsMax }: Choice): Choice {
  return { closeWithin, closeAfter, spreadMax, volumeMin, marketsMax }
}
/** `rule`: of a session that was begun before it was kept there is none. */
export function ruleOf({
  series,
  markets,
  rule,
}: {
  readonly series: readonly string[] | null
  readonly markets: readonly string[] | null
  readonly rule?: Choice | undefined
}): SelectionRule {
  return {
    ...(markets === null ? {} : { tickers: markets }),
    ...(series === null ? {} : { series }),
    ...(rule === undefined ? {} : Object.fromEntries(Object.entries(choiceOf(rule)).filter(([, value]) => value !== null))),
  }
}
/** µs between readings of the catalog: new markets of a series are seen by then. */
export const REFRESH_EVERY = 15_000_000

/** Beyond the wait for a label: the feed looks every 50 ms. */
const SLACK = 60_000
/** µs by which a session's clock runs behind. */
export function lagOf(labelWait: number): number {
  return labelWait === 0 ? SLACK : labelWait + SLACK
}
/** Batches of a burst between two turns of the event loop. */
export const BURST = 16
/** µs of the session's clock. */
export const TICK = 50_000

/** Calls again and again, `every` µs of the world's clock apart. */
export function ticking({ timers }: World, every: number, call: () => void): { cancel(): void } {
  let timer = timers.after(every, again)
  function again(): void {
    timer = timers.after(every, again)
    call()
  }
  return { cancel: () => timer.cancel() }
}

/** The longest that the machine's timer waits; a longer one would fire at once. */
const TIMER_MAX = 2 ** 31 - 1
/** Calls once, after so many milliseconds however many they are. Null: never. */
export function afterLong(milliseconds: number | null, call: () => void): { cancel(): void } {
  let timer: NodeJS.Timeout | undefined
  const wait = (left: number): void => {
    timer = setTimeout(() => (left > TIMER_MAX ? wait(left - TIMER_MAX) : call()), Math.min(left, TIMER_MAX))
  }
  if (milliseconds !== null) wait(milliseconds)
  return { cancel: () => clearTimeout(timer) }
}
