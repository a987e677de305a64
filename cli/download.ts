/** `tapeline download`: public history by REST into a tape. Owns the options and what is printed; the work is adapters/kalshi/download. */
import { existsSync } from 'node:fs'
import type { Argv, CommandModule } from 'yargs'
import type { DownloadRequest, DownloadSummary } from '../adapters/kalshi/index.ts'
import { proveFolder } from '../data/folder.ts'
import { once } from './backtest.ts'
import { printsText } from './data-import.ts'
import { EXIT, UsageError } from './exit.ts'
import { accessOf, accessOptions, type AccessArguments } from './kalshi-access.ts'
import { count, present, progress, type Outcome } from './output.ts'

type DownloadArguments = AccessArguments & {
  series?: string[]
  event?: string[]
  market?: string[]
  from?: string
  to?: string
  tape: string
  name?: string
  replace: boolean
  candles?: '1m' | '1h' | '1d'
  lag: string
  restart: boolean
  keep: boolean
  strict: boolean
  json: boolean
}

const MINUTES = { '1m': 1, '1h': 60, '1d': 1440 } as const
const many = { type: 'string', array: true, nargs: 1 } as const

export const downloadCommand: CommandModule<object, DownloadArguments> = {
  command: 'download',
  describe: 'Public history of the exchange (markets, trades, results, fees) into a tape',
  builder: (y) =>
    accessOptions(y)
      .option('series', { ...many, describe: 'Markets of a series (may be given again)' })
      .option('event', { ...many, describe: 'Markets of an event (may be given again)' })
      .option('market', { ...many, describe: 'A market by its ticker (may be given again)' })
      .option('from', { type: 'string', requiresArg: true, describe: 'Start, UTC (a series needs one)' })
      .option('to', { type: 'string', requiresArg: true, describe: 'End, UTC (default: now)' })
      .option('tape', { type: 'string', demandOption: true, requiresArg: true, describe: 'Folder of the tape to write' })
      .option('name', { type: 'string', requiresArg: true, describe: 'Name of the tape (default: its folder)' })
      .option('replace', { type: 'boolean', default: false, describe: 'Replace a tape that is there' })
      .option('candles', { choices: ['1m', '1h', '1d'] as const, requiresArg: true, describe: 'Candles of the exchange too' })
      .option('lag', {
        type: 'string',
        default: '100ms',
        requiresArg: true,
        describe: 'From the time of the exchange to when a row is known: your assumption, kept on the tape',
      })
      .option('restart', { type: 'boolean', default: false, describe: 'Throw away what an earlier call has kept' })
      .option('keep', { type: 'boolean', default: false, describe: 'Keep the answers in <tape>.download/ when the tape is done' })
      .option('strict', { type: 'boolean', default: false, describe: "Exit 9 when trades do not make up the exchange's own volume" })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
      .check((argv) => once(argv))
      .example('$0 download --series KXHIGHNY --from 2026-05-01 --to 2026-06-01 --tape tapes/weather --environment production', '')
      .example(
        '$0 download --event KXHIGHNY-26MAY13 --candles 1h --tape tapes/day --environment production',
        '',
      ) as unknown as Argv<DownloadArguments>,
  handler: (argv) => present('download', argv.json, () => run(argv)),
}

async function run(argv: DownloadArguments): Promise<Outcome<unknown>> {
  const { download, FileQuarantine, KalshiError, PublicReader, systemWorld } = await import('../adapters/kalshi/index.ts')
  const { parseDuration } = await import('./options.ts')
  const access = await accessOf(argv)
  const lag = parseDuration(argv.lag, '--lag')
  proveFolder(argv.tape)
  const request = await requestOf(argv, access.name)
  // No answer goes there: what cannot be read is an error here.
  const world = systemWorld(new FileQuarantine('/dev/null'))
  const reader = new PublicReader(access, world, process.env)
  let stopped = false
  const stop = (): void => {
    stopped = true
    reader.rest.stop()
    void world.close()
  }
  process.on('SIGINT', stop)
  const bar = await progress('download', argv.json)
  const started = performance.now()
  try {
    const { tier } = await reader.learn()
    const summary = await download(reader.rest, request, {
      tape: argv.tape,
      ...(argv.name === undefined ? {} : { name: argv.name }),
      replace: argv.replace,
      restart: argv.restart,
      keep: argv.keep,
      lag,
      progress: (done, total, note) => bar.update(done, total, note),
      stopped: () => stopped,
    })
    bar.end()
    return outcome(argv, request, summary, { seconds: (performance.now() - started) / 1000, counts: reader.rest.counts, tier })
  } catch (error) {
    bar.end()
    const folder = `${argv.tape.replace(/\/+$/, '')}.download`
    const resume = existsSync(folder) ? `; what was answered is kept in ${folder}, the same command goes on from there` : ''
    if (stopped)
      return { data: null, exit: EXIT.interrupted, error: { code: 'INTERRUPTED', message: `interrupted: no tape was written${resume}` } }
    if (error instanceof KalshiError && ['RATE_LIMITED', 'SERVER', 'TIMEOUT', 'NETWORK', 'UNREADABLE'].includes(error.code))
      throw new KalshiError(error.code, `${error.message}${resume}`, error.status, error.reason)
    throw error
  } finally {
    process.off('SIGINT', stop)
    if (!stopped) await world.close()
  }
}

async function requestOf(argv: DownloadArguments, environment: DownloadRequest['environment']): Promise<DownloadRequest> {
  const { parseInstant } = await import('./options.ts')
  const { keptRequest } = await import('../adapters/kalshi/index.ts')
  const list = (option: string, tickers: readonly string[] | undefined): string[] =>
    [...new Set(tickers ?? [])].sort().map((ticker) => {
      // It becomes part of a path and of a key of a page.
      if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(ticker))
        throw new UsageError(`--${option} ${ticker.slice(0, 40)}: not a ticker such as KXHIGHNY-26MAY13`)
      return ticker.toUpperCase()
    })
  const [series, events, markets] = [list('series', argv.series), list('event', argv.event), list('market', argv.market)]
  if (series.length + events.length + markets.length === 0)
    throw new UsageError('what is to be downloaded? Give --series KXHIGHNY, --event KXHIGHNY-26MAY13 or --market KXHIGHNY-26MAY13-B72.5')
  if (series.length > 0 && argv.from === undefined)
    throw new UsageError('--series needs --from: a series can reach back for years; write --from 2026-05-01')
  const from = parseInstant(argv.from, '--from') ?? 0
  const before = argv.restart ? null : keptRequest(argv.tape)
  const to = parseInstant(argv.to, '--to')
  const open = to === null
  const end = to ?? (before?.['open'] === true && typeof before['to'] === 'number' ? before['to'] : Date.now() * 1000)
  if (environment !== 'local' && end > Date.now() * 1000)
    throw new UsageError(`--to ${argv.to ?? ''} lies in the future: leave it out to download until now`)
  if (end <= from) throw new UsageError(`--from ${argv.from ?? ''} does not lie before --to ${argv.to ?? 'now'}`)
  return { environment, series, events, markets, from, to: end, open, candles: argv.candles === undefined ? null : MINUTES[argv.candles] }
}

function outcome(
  { tape, strict, keep }: DownloadArguments,
  request: DownloadRequest,
  s: DownloadSummary,
  { seconds, counts, tier }: { readonly seconds: number; readonly counts: Readonly<Record<string, number>>; readonly tier: string | null },
): Outcome<unknown> {
  const requests = Object.values(counts).reduce((a, b) => a + b, 0)
  const { built, ...facts } = s
  const data = { ...facts, ...built, request, requests, answers: counts, tier, tape, seconds: Number(seconds.toFixed(3)) }
  const failed = requests - (counts['ok'] ?? 0)
  const asked = `  asked        ${count(requests)} requests (${count(failed)} failed and were repeated), ${count(s.pages)} pages${s.pagesKept > 0 ? ` (${count(s.pagesKept)} kept from before)` : ''}${keep ? ` → ${s.folder}` : ''}`
  if (built === null) return { data, text: `${tape} was whole already: an earlier call had built it\n${asked}\n` }
  const unequal = built.volumeUnequal
  const named = (list: readonly string[]): string =>
    `${list.slice(0, 5).join(', ')}${list.length > 5 ? `, … ${count(list.length)} in all` : ''}`
  const wrong = [
    ...(unequal.length === 0
      ? []
      : [
          `the trades of ${named(unequal.map((u) => `${u.ticker} (${count(u.contracts)} of ${count(u.exchange)} contracts)`))} do not make up the volume of the exchange`,
        ]),
    ...(s.broken.length === 0 ? [] : [`lists that do not come to their end: ${named(s.broken)}`]),
  ]
  const again = s.askedAgain === 0 ? '' : `; ${count(s.askedAgain)} markets asked again, ${count(s.mended)} then equal`
  return {
    data,
    ...(strict && wrong.length > 0
      ? { exit: EXIT.mismatch, error: { code: 'VOLUME_MISMATCH', message: `${wrong.join('; ')} (the tape was written; --strict)` } }
      : { warnings: wrong }),
    text: printsText(
      built,
      tape,
      seconds,
      `${asked}\n  compared     ${count(built.volumeCompared)} markets with the volume of the exchange; ${count(s.notCompared)} not comparable${again}\n`,
    ),
  }
}
