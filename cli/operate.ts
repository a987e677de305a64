/**
 * `tapeline status`, `halt`, `pause`, `reduce`, `resume`: a look at a running session, and a word to it. Owns what they print and how long a word is waited for; hides the files between. Invariant:
 * a word that was not taken in time is withdrawn, so that it cannot come true later behind its author's back.
 */
import type { Argv, CommandModule } from 'yargs'
import { DataError } from '../data/errors.ts'
import { EXIT, UsageError } from './exit.ts'
import { keyOptions } from './live/options.ts'
import { count, present, tableText, type Outcome } from './output.ts'
import {
  lifeOf,
  readSnapshot,
  sendCommand,
  sessionDir,
  withdrawCommand,
  type Acknowledged,
  type Life,
  type OperatorCommand,
  type SessionSnapshot,
} from './session-status.ts'

type StatusArguments = { session: string | undefined; json: boolean }
type WordArguments = StatusArguments & {
  reason: string
  dryRun: boolean
  confirm: string | undefined
  timeout: string
  keyId: string | undefined
  keyFile: string | undefined
  clock: string | undefined
  config?: string
  profile?: string
}

const WAIT_MS = 5_000
const RECORD = 'record'

export const statusCommand: CommandModule<object, StatusArguments> = {
  command: 'status [session]',
  describe: 'What a running session does (default: the latest below sessions/)',
  builder: (y) => sessionOptions(y) as unknown as Argv<StatusArguments>,
  handler: ({ session, json }) =>
    present('status', json, async (): Promise<Outcome<SessionSnapshot & { readonly life: Life }>> => {
      const snapshot = readSnapshot(sessionDir(session))
      const life = lifeOf(snapshot, Date.now())
      const exit = life === 'running' && snapshot.state.name === 'halted' ? EXIT.risk : EXIT.ok
      const warnings = life === 'gone' ? [goneText(snapshot)] : []
      return { data: { ...snapshot, life }, text: statusText(snapshot, life), exit, warnings }
    }),
}

function sessionOptions(y: Argv): Argv {
  return y
    .positional('session', { type: 'string', describe: 'Folder of the session' })
    .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
}

const WORDS: Readonly<Record<OperatorCommand, string>> = {
  halt: 'Stop a session from trading at once and take its orders back, until `resume`; of a live one also without its engine',
  pause: 'Send no new orders in a running session; those that rest stay',
  reduce: 'Allow only what lowers a position in a running session',
  resume: 'Let a running session trade again',
}
export const wordCommands: readonly CommandModule<object, WordArguments>[] = (Object.keys(WORDS) as OperatorCommand[]).map((command) => ({
  command: `${command} [session]`,
  describe: WORDS[command],
  builder: (y: Argv) => wordOptions(y, command) as unknown as Argv<WordArguments>,
  handler: (argv: WordArguments) => present(command, argv.json, () => obey(command, argv)),
}))

function wordOptions(y: Argv, command: OperatorCommand): Argv {
  const common = sessionOptions(y)
    .option('reason', { type: 'string', default: '', requiresArg: true, describe: 'Why, for the journal' })
    .option('dry-run', { type: 'boolean', default: false, describe: 'Show what would be written and sent, and do neither' })
  if (command !== 'halt' && command !== 'resume') return common
  const withKey = keyOptions(common)
  return command === 'halt'
    ? withKey.option('timeout', {
        type: 'string',
        default: '60s',
        requiresArg: true,
        describe: 'Live: how long it tries to prove that nothing is open',
      })
    : withKey.option('confirm', { type: 'string', requiresArg: true, describe: 'Live: "RESUME <session>", where nobody can type it' })
}

/** Of live sessions: paper ones need no key. */
async function obey(command: OperatorCommand, argv: WordArguments): Promise<Outcome<unknown>> {
  const { session, reason, dryRun, timeout, confirm } = argv
  if (command === 'pause' || command === 'reduce') return say(sessionDir(session), command, reason, dryRun)
  const { liveBelow, placeOf } = await import('./live/place.ts')
  if (command === 'halt') {
    // Whoever names none wants everything to stop.
    const dirs = session === undefined ? liveBelow('sessions') : [session]
    const places = dirs.map(placeOf)
    const live = places.filter((p) => p !== null)
    if (live.length === 0) return say(sessionDir(session), command, reason, dryRun)
    const { haltAll } = await import('./live/halt-live.ts')
    const { parseDuration } = await import('./options.ts')
    return haltAll(live, { ...argv, reason, dryRun, patience: parseDuration(timeout, '--timeout') })
  }
  const dir = sessionDir(session)
  const place = placeOf(dir)
  if (place === null) return say(dir, command, reason, dryRun)
  const { resumeLive } = await import('./live/resume-live.ts')
  return resumeLive(place, { ...argv, reason, dryRun, confirm })
}

async function say(
  dir: string,
  command: OperatorCommand,
  reason: string,
  dryRun: boolean,
): Promise<Outcome<Acknowledged | { readonly dryRun: true }>> {
  const before = readSnapshot(dir)
  if (before.mode === RECORD)
    throw new UsageError(`${dir} is a recording: nothing trades in it; end it with Ctrl-C or SIGTERM (process ${before.pid})`)
  const life = lifeOf(before, Date.now())
  if (life !== 'running')
    throw new UsageError(
      life === 'ended' ? `${dir} has ended (${before.ended}): there is nothing to ${command}` : goneText(before),
      EXIT.data,
      'SESSION_GONE',
    )
  if (dryRun)
    return {
      data: { dryRun },
      text: `DRY RUN: nothing was written\nwould tell   ${dir} (process ${before.pid}, now ${before.state.name}): ${command}${reason === '' ? '' : ` (${reason})`}`,
    }
  const id = sendCommand(dir, command, reason)
  const until = Date.now() + WAIT_MS
  while (Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    const snapshot = readSnapshot(dir)
    const done = snapshot.commands.find((c) => c.id === id)
    if (done !== undefined) return { data: done, text: `${dir}: ${command} at ${iso(done.time)}; the session is ${done.state}` }
  }
  const withdrawn = withdrawCommand(dir, id)
  throw new DataError(
    'SESSION_SILENT',
    withdrawn
      ? `${dir} did not take the command in ${WAIT_MS / 1000} s and it was withdrawn: the session may hang; end its process (${before.pid}) if it must stop`
      : `${dir} took the command and did not acknowledge it in ${WAIT_MS / 1000} s: look at \`tapeline status ${dir}\``,
  )
}

function goneText({ session, pid, written, state, mode }: SessionSnapshot): string {
  const again = mode === RECORD ? 'the same `tapeline record` as before' : `\`tapeline paper --resume ${session}\``
  return `${session} was last heard of ${iso(written * 1000)} in state ${state.name}, and its process (${pid}) is gone or silent: this is what it said then; ${again} goes on with it`
}
function iso(microseconds: number): string {
  return new Date(microseconds / 1000).toISOString()
}

function statusText(s: SessionSnapshot, life: Life): string {
  const ms = (us: number): string => `${(us / 1000).toFixed(1)} ms`
  const share = (x: number): string => `${(x * 100).toFixed(0)}%`
  const money = (x: number): string => `${x < 0 ? '−' : ''}$${Math.abs(x).toFixed(2)}`
  const quantiles = (q: SessionSnapshot['decision']): string => (q === null ? 'n/a' : `p50 ${ms(q.p50)}, p99 ${ms(q.p99)}`)
  const { feed, orders } = s
  const lines: [string, string][] = [
    [
      'Session',
      `${s.session} (${[s.mode, ...s.strategies].join(', ')})${life === 'running' ? '' : life === 'ended' ? ` ENDED: ${s.ended}` : ' GONE'}`,
    ],
    ['State', `${s.state.name} since ${iso(s.state.since)}${s.state.cause === null ? '' : ` (${s.state.cause})`}`],
    [
      'Feed',
      `${feed.environment}, ${feed.connections.map((c) => `${c.state}${c.stale ? ' STALE' : ''}`).join(', ')}; lag ${quantiles(feed.lag)}; up ${feed.uptime === null ? 'n/a' : share(feed.uptime)}; ${count(feed.gaps)} gaps, ${feed.auditsEqual} of ${feed.audits} audits equal`,
    ],
    [
      'Markets',
      `${feed.marketsSynced} synced, ${feed.marketsUnsynced} not${feed.unsynced.length === 0 ? '' : `: ${feed.unsynced.slice(0, 5).join(', ')}`}`,
    ],
  ]
  const trading: [string, string][] = [
    [
      'Money',
      `P&L ${money(s.money.pnl)}, equity ${money(s.money.equity)}, fees ${money(s.money.fees)}, drawdown ${money(s.money.drawdown)}`,
    ],
    ['Orders', `${orders.working} working, ${count(orders.sent)} sent, ${count(orders.fills)} fills`],
    [
      'Limits',
      Object.entries(s.limits)
        .map(([name, x]) => `${name} ${share(x)}`)
        .join(', '),
    ],
    ['Delays', `place ${ms(s.delays.place)}, answer ${ms(s.delays.answer)}; decision ${quantiles(s.decision)}`],
  ]
  if (s.mode !== RECORD) lines.push(...trading)
  lines.push(
    [
      'Rows',
      `${count(s.rows.total)}, ${count(s.rows.perSecond)}/s; tape ${s.tape.state}${s.tape.failure === null ? '' : `: ${s.tape.failure}`}`,
    ],
    ['Process', `loop late p99 ${ms(s.loop.p99)}, max ${ms(s.loop.max)}; ${Math.round(s.memory.resident / 2 ** 20)} MB`],
  )
  const parts = [lines.map(([name, text]) => `${name.padEnd(8)} ${text}`).join('\n')]
  if (s.positions.length > 0)
    parts.push(
      tableText(
        ['market', 'position', 'P&L'],
        s.positions.map((p) => [p.market, String(p.position), money(p.pnl)]),
      ),
    )
  if (orders.list.length > 0)
    parts.push(
      tableText(
        ['market', 'strategy', 'side', 'price', 'remaining', 'state'],
        orders.list.map((o) => [o.market, o.owner, o.side, o.price.toFixed(4), String(o.remaining), o.state]),
      ),
    )
  for (const [ticker, why] of Object.entries(feed.troubles)) parts.push(`trouble  ${ticker}: ${why}`)
  for (const error of s.errors) parts.push(`error    ${iso(error.time)} ${error.text}`)
  return `${parts.join('\n')}\n`
}
