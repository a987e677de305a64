/**
 * `tapeline live <strategy>`: real orders. Owns the command line, what a session is refused for before it begins, and what it prints at its end; hides the course. Invariants: the lock is taken before any
 * network call; without an arm that fits, no session; nothing of it comes from the environment.
 */
import { randomInt } from 'node:crypto'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Argv, CommandModule } from 'yargs'
import type { KalshiLive } from '../../adapters/kalshi/live.ts'
import type { World } from '../../adapters/kalshi/ports.ts'
import type { SessionHeader } from '../../engine/session.ts'
import { PRICE_ONE } from '../../engine/units.ts'
import { EXIT, failureOf, UsageError } from '../exit.ts'
import type { Halt } from '../halt.ts'
import { endingCode, externalPath, isLocal, signals, type LiveArguments, type Signals } from '../live-connection.ts'
import { present, type Outcome } from '../output.ts'
import type { RunData } from '../run-report.ts'
import { notRunning } from '../sessions.ts'
import type { Chosen } from '../strategy/choose.ts'
import { armingOptions, withMarkets } from './arm.ts'
import type { LivePlan } from './course.ts'
import type { LiveSettings } from './settings.ts'

type RunArguments = LiveArguments & {
  strategy: string[] | undefined
  param?: string[]
  limits?: string
  warmup?: string
  out?: string
  resume?: string
  unwatched?: string
  json: boolean
}

/** µs that the clocks may differ, beyond what cannot be measured. */
const SKEW_MAX = 5_000_000
const ROUND_TRIPS = 7
const LAG_MAX = 500_000

export const runCommand: CommandModule<object, RunArguments> = {
  command: ['run [strategy..]', '$0'],
  describe: 'Trade for real, once it was armed: the session runs until Ctrl-C, which takes every order back',
  builder: (y) =>
    armingOptions(y)
      .demandOption([])
      .option('warmup', { type: 'string', requiresArg: true, describe: 'See and do not trade for this long (30s, 5m)' })
      .option('external', { type: 'string', requiresArg: true, describe: 'Outside series as NDJSON: a file that grows, or - for stdin' })
      .option('duration', { type: 'string', requiresArg: true, describe: 'Stop by itself after this long (default: at Ctrl-C)' })
      .option('out', { type: 'string', requiresArg: true, describe: 'Folder of the session (default: sessions/live-<strategy>-<time>)' })
      .option('resume', { type: 'string', requiresArg: true, describe: 'Go on with this session where it stopped or was cut off' })
      .option('unwatched', {
        type: 'string',
        requiresArg: true,
        describe: 'Trade without `tapeline watch` beside it, for this reason, which is kept',
      })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout at the end, and nothing else' })
      .example('$0 live lean --series KXBTC15M', '')
      .example('$0 live --resume sessions/live-lean-20260513T134500Z', '') as unknown as Argv<RunArguments>,
  handler: (argv) =>
    present('live', argv.json, async () => {
      const ends = signals()
      try {
        return await live(argv, ends)
      } finally {
        ends.close()
      }
    }),
}

async function live(said: RunArguments, ends: Signals): Promise<Outcome<RunData>> {
  if (said.unwatched?.trim() === '')
    throw new UsageError('--unwatched needs a reason, as in --unwatched "rehearsal at the local exchange": it is kept')
  const { liveSettings } = await import('./settings.ts')
  const { parseDuration } = await import('../options.ts')
  const { readLivePlan, runLive } = await import('./course.ts')
  const resumed = said.resume === undefined ? null : await readLivePlan(said.resume)
  if (resumed !== null) ownWords(said)
  if (said.resume !== undefined) notRunning(said.resume)
  const argv = resumed === null ? said : { ...said, ...wordsOf(resumed.plan) }
  const strategy = argv.strategy ?? []
  if (strategy.length === 0) throw new UsageError('a live session needs a strategy: give its name or its file, or --resume <session>')
  // Before anything else: an environment that speaks ends it here.
  const settings = withMarkets(
    liveSettings({ config: argv.config, profile: argv.profile, environment: argv.environment, limits: argv.limits }),
    argv,
  )
  const duration = argv.duration === undefined ? null : parseDuration(argv.duration, '--duration') / 1000
  const { accessOf, worldOf } = await import('../live-connection.ts')
  const access = await accessOf(argv)
  const { keyId, keyFile } = access
  if (keyId === null || keyFile === null)
    throw new UsageError(
      'trading needs a key: give --key-id and --key-file, or name them in tapeline.yaml',
      EXIT.credentials,
      'CREDENTIALS',
    )
  if (resumed !== null && (resumed.plan.environment !== access.environment || resumed.plan.keyId !== keyId))
    throw new UsageError(
      `${said.resume} trades at ${resumed.plan.environment} with another key or at another place than what is said now (${access.environment}): go on where it was begun`,
    )
  const { sessions } = settings.settings
  const { readHalt } = await import('../halt.ts')
  // The folder of the settings, and the one that the session stands in: whoever halts a session knows the second.
  const folders = [
    sessions,
    ...(said.resume === undefined && argv.out === undefined ? [] : [dirname(resolve(said.resume ?? argv.out ?? ''))]),
  ]
  const standing = (): Halt | null => folders.reduce<Halt | null>((found, folder) => found ?? readHalt(folder), null)
  const halted = (): string | null => standing()?.reason ?? null
  const halt = standing()
  if (halt !== null)
    throw new UsageError(
      `${halt.path} stands (${halt.reason}), so nothing trades: find out why, and take it away with \`tapeline resume\` when it is settled`,
      EXIT.risk,
      'HALTED',
    )
  const { chooseStrategies } = await import('../strategy/choose.ts')
  const strategies = await chooseStrategies(strategy, argv.param ?? [])
  const { bindingOf } = await import('./binding.ts')
  const { keyDigest, takeArm } = await import('./arms.ts')
  const environment = access.environment
  const { identity, binding } = await bindingOf({ strategy, param: argv.param ?? [], live: settings, environment, key: keyDigest(keyId) })
  if (resumed !== null) {
    const { sameStrategies } = await import('../strategy/same.ts')
    await sameStrategies(said.resume as string, resumed.header, strategies)
    const { sameTerms } = await import('./resumed.ts')
    sameTerms(said.resume as string, resumed, binding)
  }
  const dir = said.resume ?? argv.out ?? (await defaultFolder(strategies, sessions))
  if (resumed === null) freeFolder(dir)
  const { takeLock } = await import('./lock.ts')
  const lock = await takeLock({ environment, keyId, subaccount: resumed?.plan.subaccount ?? settings.subaccount }, dir)
  const { FileQuarantine } = await import('../../adapters/kalshi/index.ts')
  const world = await worldOf(argv, environment, new FileQuarantine(join(dir, 'quarantine.ndjson')))
  try {
    const { KalshiLive } = await import('../../adapters/kalshi/live.ts')
    const kalshi = new KalshiLive({ environment, keyId, keyFile }, world, process.env)
    try {
      const { armed, measured, write, netting, offset } = await gates(kalshi, world, settings, keyId, (worstDollars) =>
        takeArm(sessions, { ...binding, name: identity.name, worstDollars }, dir),
      )
      const plan: LivePlan = resumed?.plan ?? {
        schema: 'tapeline.live/1',
        strategies: strategy.map((s) => (/[/\\]|\.[cm]?[jt]s$/.test(s) ? resolve(s) : s)),
        parameters: argv.param ?? [],
        environment,
        keyId,
        keyFile: resolve(keyFile),
        clock: argv.clock ?? null,
        subaccount: settings.subaccount,
        series: settings.following.series.length > 0 ? settings.following.series : null,
        markets: settings.following.markets.length > 0 ? settings.following.markets : null,
        external: externalPath(argv.external),
        measured,
        start: world.clock.now() + offset,
        rule: binding.markets,
        brakes: {
          orderGroupContracts: binding.orderGroupContracts,
          absenceMargin: binding.absenceMargin,
          closeMargin: binding.closeMargin,
        },
      }
      const header = resumed?.header ?? (await headerOf({ argv, settings, strategies, plan, measured, write, now: world.clock.now() }))
      const say = (text: string): void => void process.stderr.write(`${text}\n`)
      say(
        `LIVE: ${identity.name} on ${[...(plan.series ?? []), ...(plan.markets ?? [])].join(', ')} of ${kalshi.environment.name}, subaccount ${plan.subaccount}; at most $${armed.acceptedDollars} can be lost. Session ${dir}; Ctrl-C takes every order back`,
      )
      const { record, ending, failure, left, seconds } = await runLive({
        dir,
        header,
        plan,
        strategies,
        kalshi,
        world,
        resume: resumed !== null,
        armed: said.unwatched === undefined ? armed : { ...armed, unwatched: said.unwatched },
        watched: said.unwatched === undefined,
        trade: (desk, feed, held, pulled) =>
          kalshi.trader(
            { desk, killed: held, halted: pulled, holdsLock: () => lock.held(), shardOf: (ticker) => feed.shardOf(ticker) },
            {
              nonce: header.live?.nonce ?? '',
              subaccount: plan.subaccount,
              start: plan.start,
              groupLimit: settings.orderGroupContracts * 100,
              absenceMargin: settings.absenceMargin,
              closeMargin: settings.closeMargin,
              signAhead: 4,
              netting,
              caps: {
                orderMax: header.limits.orderMax,
                notionalMax: header.limits.orderMax * PRICE_ONE,
                // Where the market stands moves between a decision and its byte.
                collar: header.limits.collar * 2,
                ordersPerSecond: header.limits.ordersPerSecondMax * 2,
                ordersOpen: header.limits.ordersOpenMax,
              },
            },
          ),
        halted,
        duration,
        onReady: (end) => ends.to(end),
        say,
        tell: argv.json ? undefined : say,
      })
      const { reported } = await import('../run-report.ts')
      const { heldText } = await import('./flatten-text.ts')
      const { data, text, warnings } = await reported(record, dir, seconds, argv.json)
      const held = heldText(record.end, dir)
      const error =
        failure !== null
          ? failureOf(failure)
          : left.length > 0
            ? { code: 'LEFT_OPEN', message: `not everything could be taken back: ${left.join('; ')}` }
            : ending.exit === EXIT.ok
              ? null
              : ending.error !== undefined
                ? failureOf(ending.error)
                : {
                    code: endingCode(ending),
                    message: `${ending.reason}: what ran is in ${dir}; \`tapeline live --resume ${dir}\` goes on with it`,
                  }
      return {
        data,
        warnings: argv.json && held !== '' ? [...warnings, held] : warnings,
        text: `${text}Session  ${left.length === 0 ? 'no order of it is open at the exchange' : `LEFT OPEN: ${left.join('; ')}`}; npx tapeline replay ${dir} proves it\n${held === '' ? '' : `Held     ${held}\n`}`,
        exit:
          failure !== null
            ? EXIT.strategy
            : left.length > 0
              ? EXIT.risk
              : ending.error === undefined
                ? ending.exit
                : failureOf(ending.error).exit,
        ...(error === null ? {} : { error: { code: error.code, message: error.message } }),
      }
    } finally {
      kalshi.close()
    }
  } finally {
    await world.close()
    await lock.release()
  }
}

/** What must hold before a session may begin; the arm is spent last. */
async function gates(
  kalshi: KalshiLive,
  world: World,
  settings: LiveSettings,
  keyId: string,
  take: (worstDollars: number) => { readonly arm: { readonly acceptedDollars: number } },
): Promise<{
  readonly armed: { readonly acceptedDollars: number }
  readonly measured: readonly number[]
  readonly write: { readonly perSecond: number; readonly capacity: number }
  readonly netting: boolean
  readonly offset: number
}> {
  const { readAccount } = await import('./account.ts')
  const { worstCaseOf } = await import('./worst-case.ts')
  const { roundTrips } = await import('../paper.ts')
  const { tier } = await kalshi.learn()
  const measured = await roundTrips(kalshi, world, ROUND_TRIPS)
  const clock = kalshi.rest.clockOffset
  if (clock === null)
    throw new UsageError('the exchange does not tell its time: nothing is traded by a clock that nobody compared', EXIT.exchange, 'CLOCK')
  if (Math.abs(clock.offset) - clock.uncertainty > SKEW_MAX)
    throw new UsageError(
      `the clock of this machine is ${(clock.offset / -1e6).toFixed(1)} s off the exchange's: set it (timedatectl, ntpd) before anything is traded`,
      EXIT.gate,
      'CLOCK',
    )
  const account = await readAccount(kalshi, keyId, settings.subaccount, tier)
  const [problem] = account.facts.problems
  if (problem !== undefined) throw new UsageError(problem, EXIT.credentials, 'CREDENTIALS')
  if (settings.cash > account.balance)
    throw new UsageError(
      `live.cashDollars is ${settings.cash / 1e6}, and subaccount ${settings.subaccount} has $${(account.balance / 1e6).toFixed(2)}: lower it, or bring money there`,
      EXIT.config,
      'CONFIG',
    )
  const worst = worstCaseOf({
    limits: settings.settings.limits,
    cash: settings.cash,
    balance: account.balance,
    subaccount: settings.subaccount,
  })
  const { write } = await kalshi.rest.get('accountLimits')
  const { arm } = take(worst.dollars)
  return {
    armed: arm,
    measured,
    // The gate keeps to four fifths of the account's budget and sets cancels of all open orders aside: whoever asks for less is never refused there.
    write: { perSecond: Math.max(1, Math.floor(write.refill_rate * 0.7)), capacity: Math.max(10, Math.floor(write.bucket_capacity * 0.5)) },
    netting: account.facts.netting === true,
    offset: Math.abs(clock.offset) <= 2 * clock.uncertainty ? 0 : clock.offset,
  }
}

async function headerOf(of: {
  readonly argv: RunArguments
  readonly settings: LiveSettings
  readonly strategies: readonly Chosen[]
  readonly plan: LivePlan
  readonly measured: readonly number[]
  readonly write: { readonly perSecond: number; readonly capacity: number }
  readonly now: number
}): Promise<SessionHeader> {
  const { parseDuration } = await import('../options.ts')
  const { strategiesOf } = await import('../session.ts')
  const { VERSION } = await import('../version.ts')
  const { argv, settings, plan, measured, now } = of
  const local = isLocal(plan.environment)
  const half = Math.max(1, Math.round((measured[Math.floor(measured.length / 2)] ?? 0) / 2))
  return {
    schema: 'tapeline.session/1',
    mode: 'live',
    version: VERSION,
    node: process.version,
    tape: {
      name: [...(plan.series ?? []), ...(plan.markets ?? [])].join('+').slice(0, 60),
      manifest: '',
      source: `live (${local ? 'local exchange' : plan.environment})`,
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
      remarks: [`Round trips of a read before it began: ${measured.map((t) => (t / 1000).toFixed(1)).join(', ')} ms`],
    },
    strategies: strategiesOf(of.strategies),
    cash: settings.cash,
    limits: settings.settings.limits,
    fills: 'queue',
    delays: { place: half, cancel: half, amend: half, answer: half },
    rate: of.write,
    seed: 1,
    live: { nonce: nonce(), environment: plan.environment, subaccount: plan.subaccount },
    selection: {
      markets: plan.markets,
      series: plan.series,
      from: null,
      to: null,
      warmup: argv.warmup === undefined ? 0 : parseDuration(argv.warmup, '--warmup'),
    },
  }
}
/** Ten letters and digits: of two sessions none has the other's, ever. */
function nonce(): string {
  return Array.from({ length: 10 }, () => randomInt(36).toString(36)).join('')
}

async function defaultFolder(strategies: readonly Chosen[], sessions: string): Promise<string> {
  const { folderName } = await import('../session.ts')
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  return join(sessions, `live-${folderName(strategies.map((s) => s.strategy.name))}-${time}`)
}
function freeFolder(dir: string): void {
  if (existsSync(join(dir, 'tape')) || existsSync(join(dir, 'log')))
    throw new UsageError(`--out ${dir} is a session already: choose a new folder, or go on with it by --resume ${dir}`)
  if (existsSync(dir) && (!statSync(dir).isDirectory() || readdirSync(dir).length > 0))
    throw new UsageError(`--out ${dir} is there already and is not empty: choose a new folder`)
}

/** How the session was begun; nothing of it can be changed on the way. */
function ownWords(argv: RunArguments): void {
  for (const name of ['param', 'series', 'market', 'external', 'out', 'warmup'] as const)
    if (argv[name] !== undefined)
      throw new UsageError(`--${name} is the session's own and cannot be changed when it goes on: leave it away, or start a new session`)
  if ((argv.strategy ?? []).length > 0) throw new UsageError('--resume goes on with the strategies of its session: leave the strategy away')
}
function wordsOf(plan: LivePlan): Pick<RunArguments, 'strategy' | 'param' | 'series' | 'market'> {
  return {
    strategy: [...plan.strategies],
    param: [...plan.parameters],
    series: plan.series === null ? undefined : [...plan.series],
    market: plan.markets === null ? undefined : [...plan.markets],
  }
}
