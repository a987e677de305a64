/** `tapeline record`: live markets onto a tape that grows, nothing else. Owns the command line, the progress line and the summary; hides the course (`record-session.ts`). */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Argv, CommandModule } from 'yargs'
import type { SelectionRule } from '../adapters/kalshi/index.ts'
import type { Duration } from '../engine/units.ts'
import { proveFolder } from '../data/folder.ts'
import { ownRows } from '../data/losses.ts'
import { once } from './backtest.ts'
import { lossText } from './data-stats.ts'
import { EXIT, failureOf, said, UsageError } from './exit.ts'
import {
  connect,
  endingCode,
  accessOf,
  followed,
  externalPath,
  liveOptions,
  ruleOf,
  signals,
  worldOf,
  type LiveArguments,
  type Signals,
} from './live-connection.ts'
import { count, present, type Outcome } from './output.ts'
import type { RecordFacts, RecordRequest } from './record-session.ts'
import type { SessionSnapshot } from './session-status.ts'

type RecordArguments = LiveArguments & {
  tape: string
  rotate: string
  labelWait: string
  spaceMin: number | undefined
  closeWithin: string | undefined
  spreadMax: number | undefined
  volumeMin: number | undefined
  marketsMax: number | undefined
  json: boolean
}
type RecordData = {
  readonly tape: string
  readonly finished: boolean
  readonly rows: number
  readonly rowsHere: number
  readonly markets: number
  readonly from: string | null
  readonly to: string | null
  readonly coverage: number | null
  readonly gaps: number
  readonly resyncs: number
  readonly disconnects: number
  readonly breaks: { readonly count: number; readonly seconds: number }
  readonly audits: number
  readonly auditsEqual: number
  readonly files: number
  readonly bytes: number
  readonly seconds: number
  readonly ended: string
}

export const recordCommand: CommandModule<object, RecordArguments> = {
  command: 'record',
  describe: 'Record live markets onto a tape that grows; the same command goes on with it',
  builder: (y) =>
    liveOptions(y)
      .option('tape', { type: 'string', demandOption: true, requiresArg: true, describe: 'Folder of the tape' })
      .option('close-within', { type: 'string', requiresArg: true, describe: 'Of the series: markets that close within this (1h)' })
      .option('spread-max', { type: 'number', requiresArg: true, describe: 'Of the series: at most so many cents between bid and ask' })
      .option('volume-min', { type: 'number', requiresArg: true, describe: 'Of the series: at least so many contracts in 24 hours' })
      .option('markets-max', {
        type: 'number',
        requiresArg: true,
        describe: 'At most so many markets, those that close first (default: 500)',
      })
      .option('rotate', { type: 'string', default: '1h', requiresArg: true, describe: 'A part of the tape is closed this often' })
      .option('label-wait', {
        type: 'string',
        default: '500ms',
        requiresArg: true,
        describe: 'How long a row may wait for its label; a crash loses that much more',
      })
      .option('space-min', {
        type: 'number',
        requiresArg: true,
        describe: 'MB that stay free on the disk (default: as in tapeline.yaml, else 256)',
      })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout at the end, and nothing else' })
      .check((argv) => once(argv))
      .example('$0 record --series KXBTC15M --tape tapes/btc', '')
      .example('$0 record --series KXHIGHNY --close-within 6h --spread-max 5 --tape tapes/ny --duration 8h', '')
      .example('$0 status tapes/btc', '') as unknown as Argv<RecordArguments>,
  handler: (argv) =>
    present('record', argv.json, async () => {
      const ends = signals()
      try {
        return await record(argv, ends)
      } finally {
        ends.close()
      }
    }),
}

async function record(given: RecordArguments, ends: Signals): Promise<Outcome<RecordData>> {
  const { parseDuration } = await import('./options.ts')
  const access = await accessOf(given)
  const argv = followed(given, access.settings.record)
  if ((argv.series ?? argv.market) === undefined) throw new UsageError('a recording needs markets: give --series or --market')
  const duration = argv.duration === undefined ? null : parseDuration(argv.duration, '--duration') / 1000
  const rotate = parseDuration(argv.rotate, '--rotate')
  if (rotate < 1_000_000) throw new UsageError(`--rotate ${argv.rotate}: a part is at least a second (1h is usual)`)
  const labelWait = parseDuration(argv.labelWait, '--label-wait')
  const spaceMin = argv.spaceMin === undefined ? access.settings.record.spaceMin : megabytes(argv.spaceMin)
  if (statSync(argv.tape, { throwIfNoEntry: false })?.isDirectory() === false)
    throw new UsageError(`--tape ${argv.tape} is a file: a tape is a folder, give one that is a tape or does not exist yet`)
  proveFolder(argv.tape)
  const request: RecordRequest = {
    environment: access.environment,
    rule: selection(argv, parseDuration),
    external: externalPath(argv.external),
  }
  const { FileQuarantine } = await import('../adapters/kalshi/index.ts')
  const { runRecord } = await import('./record-session.ts')
  const quarantine = new FileQuarantine(join(argv.tape, 'quarantine.ndjson'))
  const world = { ...(await worldOf(argv, request.environment, quarantine)), quarantine }
  const kalshi = await connect(access, world)
  const line = new ProgressLine(argv.json)
  try {
    line.say(
      `record: ${[...(argv.series ?? []), ...(argv.market ?? [])].join(', ')} of ${kalshi.environment.name} onto ${argv.tape}; backtest --tape ${argv.tape} can read it at any time`,
    )
    const facts = await runRecord({
      dir: argv.tape,
      request,
      kalshi,
      world,
      labelWait,
      rotate,
      spaceMin,
      duration,
      onReady: (end) => ends.to(end),
      onSecond: (snapshot) => line.show(snapshot),
      say: (text) => line.say(text),
      tell: argv.json ? undefined : (text) => line.say(text),
    })
    line.end()
    return outcome(argv.tape, facts)
  } finally {
    line.end()
    kalshi.close()
    await world.close()
  }
}

function selection(argv: RecordArguments, parseDuration: (text: string, option: string) => number): SelectionRule {
  const { closeWithin, spreadMax, volumeMin, marketsMax } = argv
  if (argv.series === undefined && [closeWithin, spreadMax, volumeMin].some((x) => x !== undefined))
    throw new UsageError('--close-within, --spread-max and --volume-min choose among the markets of a series: give --series')
  if (spreadMax !== undefined && !(spreadMax > 0 && spreadMax <= 100))
    throw new UsageError(`${said('spread-max', spreadMax)}: cents above 0, at most 100`)
  if (volumeMin !== undefined && !(volumeMin >= 0))
    throw new UsageError(`${said('volume-min', volumeMin)}: a number of contracts, 0 or more`)
  if (marketsMax !== undefined && !(Number.isSafeInteger(marketsMax) && marketsMax >= 1))
    throw new UsageError(`${said('markets-max', marketsMax)}: a whole number of 1 or more`)
  return {
    ...ruleOf({ series: argv.series ?? null, markets: argv.market ?? null }),
    ...(closeWithin === undefined ? {} : { closeWithin: parseDuration(closeWithin, '--close-within') as Duration }),
    ...(spreadMax === undefined ? {} : { spreadMax: Math.round(spreadMax * 100) }),
    ...(volumeMin === undefined ? {} : { volumeMin: Math.round(volumeMin * 100) }),
    ...(marketsMax === undefined ? {} : { marketsMax }),
  }
}
function megabytes(given: number): number {
  if (!(given >= 0)) throw new UsageError(`${said('space-min', given)}: a number of MB, 0 or more`)
  return given * 2 ** 20
}

function outcome(tape: string, facts: RecordFacts): Outcome<RecordData> {
  const { manifest: m, coverage, ending, finished } = facts
  const sum = (of: 'recorded' | 'synced' | 'audits' | 'auditsEqual' | 'resyncs'): number => coverage.reduce((a, c) => a + c[of], 0)
  const recorded = sum('recorded')
  const iso = (us: number): string | null => (us > 0 ? new Date(us / 1000).toISOString() : null)
  const data: RecordData = {
    tape,
    finished,
    rows: ownRows(m),
    rowsHere: facts.rows,
    markets: m.markets,
    from: iso(m.from),
    to: iso(m.to),
    coverage: recorded === 0 ? null : sum('synced') / recorded,
    gaps: m.gaps,
    resyncs: sum('resyncs'),
    disconnects: m.disconnects ?? 0,
    breaks: { count: m.breaks?.count ?? 0, seconds: (m.breaks?.time ?? 0) / 1e6 },
    audits: sum('audits'),
    auditsEqual: sum('auditsEqual'),
    files: m.files.length,
    bytes: m.files.reduce((a, f) => a + f.bytes, 0),
    seconds: Number(facts.seconds.toFixed(3)),
    ended: ending.reason,
  }
  const share = data.coverage === null ? 'n/a' : `${(data.coverage * 100).toFixed(2)}%`
  const text = `${count(data.rows)} rows of ${count(data.markets)} markets → ${tape} (${count(data.rowsHere)} in this run, ${data.seconds.toFixed(0)} s)
Synced   ${share} of the recorded time; ${lossText(data)}; ${count(data.auditsEqual)} of ${count(data.audits)} audits equal
${data.rows === 0 ? '' : `Next     npx tapeline backtest --tape ${tape} --strategy lean\n`}`
  if (!facts.reached && ending.error === undefined)
    return {
      data,
      text,
      exit: EXIT.exchange,
      error: {
        code: 'UNREACHABLE',
        message: `no connection to the exchange was ever open${facts.trouble === null ? '' : ` (${facts.trouble})`}: nothing was recorded; look at the address and the network, the same command tries again`,
      },
    }
  if (ending.exit === EXIT.ok && finished && data.rows === 0)
    return {
      data,
      text,
      exit: EXIT.data,
      error: {
        code: 'NOTHING_RECORDED',
        message: `nothing was recorded: ${facts.trouble ?? 'no market of this choice was open'}; ${tape} holds no row`,
      },
    }
  if (ending.exit === EXIT.ok && finished) return { data, text, warnings: warningsOf(data) }
  const cause = ending.error === undefined ? null : failureOf(ending.error)
  return {
    data,
    text,
    warnings: warningsOf(data),
    exit: cause?.exit ?? ending.exit,
    error: {
      code: cause?.code ?? endingCode(ending),
      message: `${ending.reason}${/[.!]$/.test(ending.reason) ? '' : ':'} ${count(data.rows)} rows are whole in ${tape}; the same command goes on with it`,
    },
  }
}
function warningsOf({ audits, auditsEqual, rows }: RecordData): string[] {
  return [
    ...(rows === 0 ? ['nothing came: no market of this choice was open'] : []),
    ...(audits > auditsEqual ? [`${audits - auditsEqual} of ${audits} audits found a book that differed from the exchange's own`] : []),
  ]
}

/** A line on a terminal that is written over; elsewhere only what is said stands there. */
class ProgressLine {
  readonly #terminal: boolean
  #shown = false

  constructor(quiet: boolean) {
    this.#terminal = !quiet && process.stderr.isTTY
  }
  show({ rows, feed, tape }: SessionSnapshot): void {
    if (!this.#terminal) return
    const lag = feed.lag === null ? 'n/a' : `${(feed.lag.p50 / 1000).toFixed(1)} ms`
    const lost = feed.connections.filter((c) => c.state !== 'open').length
    process.stderr.write(
      `\r\x1b[2K${count(rows.total)} rows, ${count(rows.perSecond)}/s · ${feed.marketsSynced} of ${feed.marketsSynced + feed.marketsUnsynced} markets synced · ${count(feed.gaps)} gaps · lag ${lag}${lost > 0 ? ` · ${lost} connections down` : ''}${tape.state === 'recording' ? '' : ` · ${tape.state.toUpperCase()}`}`,
    )
    this.#shown = true
  }
  say(text: string): void {
    this.end()
    process.stderr.write(`${text}\n`)
  }
  end(): void {
    if (this.#shown) process.stderr.write('\n')
    this.#shown = false
  }
}
