/** `tapeline backtest`: recorded books in, a report out. */
import type { Argv, CommandModule } from 'yargs'
import type { FillModelName } from '../engine/session.ts'
import { configOptions } from './config-command.ts'
import { EXIT, failureOf, said, UsageError } from './exit.ts'
import { count, present, progress, type Outcome } from './output.ts'
import { reported, type RunData } from './run-report.ts'

export type BacktestArguments = {
  tape: string
  strategy: string[]
  param: string[] | undefined
  market: string[] | undefined
  series: string[] | undefined
  from: string | undefined
  to: string | undefined
  warmup: string | undefined
  fills: FillModelName | undefined
  delay: string | undefined
  seed: number
  cash: string | undefined
  limits: string | undefined
  /** Null: no file of settings. */
  config: string | null | undefined
  profile: string | undefined
  out: string | undefined
  json: boolean
  quiet?: boolean
}

export const backtestCommand: CommandModule<object, BacktestArguments> = {
  command: 'backtest',
  describe: 'Run strategies over a tape and write a report',
  builder: (y) => backtestOptions(y) as unknown as Argv<BacktestArguments>,
  handler: (argv) => present('backtest', argv.json, () => runBacktest(argv)),
}

export function backtestOptions(y: Argv): Argv {
  return configOptions(y)
    .option('tape', { type: 'string', demandOption: true, requiresArg: true, describe: 'Folder of the tape, or its name in tapes/' })
    .option('strategy', {
      type: 'string',
      array: true,
      demandOption: true,
      requiresArg: true,
      describe: 'Name of a strategy, or the path of its file (repeat for more in one session)',
    })
    .option('param', { type: 'string', array: true, requiresArg: true, describe: 'Parameter, k=v; with several strategies <name>.k=v' })
    .option('market', { type: 'string', array: true, requiresArg: true, describe: 'Only these markets, by ticker' })
    .option('series', { type: 'string', array: true, requiresArg: true, describe: 'Only markets of these series' })
    .option('from', { type: 'string', requiresArg: true, describe: 'Start, UTC (2026-05-13 or 2026-05-13T13:45:00Z)' })
    .option('to', { type: 'string', requiresArg: true, describe: 'End, UTC' })
    .option('warmup', { type: 'string', requiresArg: true, describe: 'See and do not trade for this long (30s, 5m)' })
    .option('fills', {
      choices: ['strict', 'queue', 'touch', 'quotes', 'prints'] as const,
      describe: 'Fill model (default: queue where books were recorded, quotes or prints where best prices or trades alone were)',
    })
    .option('delay', { type: 'string', requiresArg: true, describe: 'Default: place=100ms,cancel=100ms,amend=100ms,answer=50ms' })
    .option('seed', { type: 'number', default: 1, requiresArg: true, describe: 'Seed of what is random in a model' })
    .option('cash', { type: 'string', requiresArg: true, describe: 'Starting cash in dollars (default: 10000)' })
    .option('limits', { type: 'string', requiresArg: true, describe: 'File of risk limits, YAML or JSON' })
    .option('out', { type: 'string', requiresArg: true, describe: 'Folder of the run (default: runs/<strategy>-<tape>-<digest>)' })
    .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
    .option('quiet', { type: 'boolean', default: false, describe: 'No progress' })
    .check((argv) => once(argv))
    .example('$0 backtest --tape tapes/btc --strategy lean --param size=5', '')
    .example('$0 backtest --tape tapes/btc --strategy ./mine.ts --strategy lean --param lean.size=5', '')
}

/** An option that takes one value was given once. */
export function once(argv: Readonly<Record<string, unknown>>): true {
  for (const [name, value] of Object.entries(argv)) {
    if (Array.isArray(value) && !['_', 'strategy', 'param', 'market', 'series', 'event', 'path'].includes(name))
      throw new Error(`--${name} was given ${value.length} times: give it once`)
  }
  return true
}

/** `env`: the environment whose `TAPELINE_…` count. */
export async function runBacktest(
  argv: BacktestArguments,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Outcome<RunData>> {
  // Before anything heavy is loaded: a Ctrl-C always leaves a result.
  let interrupted = false
  const stop = (): void => {
    if (interrupted) process.exit(EXIT.interrupted)
    interrupted = true
    process.stderr.write('\nstopping: what ran so far is kept (Ctrl-C again to quit at once)\n')
  }
  process.on('SIGINT', stop)
  const { delayWords, parseDuration, parseInstant } = await import('./options.ts')
  const cash = argv.cash === undefined ? null : Number(argv.cash)
  if (cash !== null && !(cash > 0 && cash <= 1e8))
    throw new UsageError(`--cash ${argv.cash}: starting cash is a number of dollars above zero`)
  if (!Number.isSafeInteger(argv.seed)) throw new UsageError(`${said('seed', argv.seed)}: the seed is a whole number`)
  const from = parseInstant(argv.from, '--from')
  const to = parseInstant(argv.to, '--to')
  if (from !== null && to !== null && to <= from) throw new UsageError(`--to ${argv.to} lies before --from ${argv.from}: give a later end`)
  const { settingsOf, tapeAt } = await import('./config.ts')
  const settings = settingsOf(
    {
      config: argv.config,
      profile: argv.profile,
      limits: argv.limits,
      flags: [
        ...(cash === null ? [] : [{ path: 'cash', value: cash, name: '--cash' }]),
        ...delayWords(argv.delay).map(([name, value]) => ({ path: `delays.${name}`, value, name: '--delay' })),
      ],
    },
    env,
  )
  const { chooseStrategies } = await import('./strategy/choose.ts')
  const strategies = await chooseStrategies(argv.strategy, argv.param ?? [])
  const { backtest } = await import('./session.ts')
  const bar = await progress('backtest', argv.json || (argv.quiet ?? false))
  const started = performance.now()
  let result: Awaited<ReturnType<typeof backtest>>
  try {
    result = await backtest({
      tape: tapeAt(settings, argv.tape),
      strategies,
      markets: argv.market ?? null,
      series: argv.series ?? null,
      from,
      to,
      warmup: argv.warmup === undefined ? 0 : parseDuration(argv.warmup, '--warmup'),
      fills: argv.fills ?? null,
      delays: settings.delays,
      seed: argv.seed,
      cash: settings.cash,
      limits: settings.limits,
      out: argv.out ?? null,
      runs: settings.runs,
      progress: (done, total) => bar.update(done, total, `${count(Math.round(done / ((performance.now() - started) / 1000)))} rows/s`),
      interrupted: () => interrupted,
    })
  } finally {
    bar.end()
    process.off('SIGINT', stop)
  }
  const { record, folder, seconds, failure } = result
  const { data, text, warnings } = await reported(record, folder, seconds, argv.json)
  const { end } = record
  const exit = failure !== null ? EXIT.strategy : end.complete ? EXIT.ok : EXIT.interrupted
  const error =
    failure !== null
      ? failureOf(failure)
      : !end.complete
        ? { code: 'INTERRUPTED', message: `interrupted: the partial result is in ${folder}` }
        : undefined
  return { data, warnings, text, exit, ...(error === undefined ? {} : { error: { code: error.code, message: error.message } }) }
}
