/**
 * `tapeline status`, `halt`, `pause`, `reduce`, `resume`: a look at a running session, and a word to it. Owns what they print and how long a word is waited for; hides the files between. Invariant:
 * a word that was not taken in time is withdrawn, so that it cannot come true later behind its author's back.
 */
import type { Argv, CommandModule } from 'yargs'
import { DataError } from '../data/errors.ts'
import { configOptions } from './config-command.ts'
import { ConfigError, EXIT, UsageError } from './exit.ts'
import { keyOptions } from './live/options.ts'
import { present, type Outcome } from './output.ts'
import { meantOf, sessionDir, sessionsBelow, sessionsFolder } from './sessions.ts'
import {
  lifeOf,
  readSnapshot,
  sendCommand,
  withdrawCommand,
  type Acknowledged,
  type Life,
  type OperatorCommand,
  type SessionSnapshot,
} from './session-status.ts'
import { goneText, iso, sessionsText, stateText, statusText } from './status-text.ts'

type StatusArguments = { session: string | undefined; json: boolean; config?: string; profile?: string }
type WordArguments = StatusArguments & {
  reason: string
  dryRun: boolean
  confirm: string | undefined
  timeout: string
  keyId: string | undefined
  keyFile: string | undefined
  clock: string | undefined
}

const WAIT_MS = 5_000
const RECORD = 'record'
const SESSIONS = 'sessions'

export const statusCommand: CommandModule<object, StatusArguments> = {
  command: 'status [session]',
  describe: 'What a running session does (default: the one that runs below the folder of sessions; of several a line each)',
  builder: (y) => configOptions(sessionOptions(y)) as unknown as Argv<StatusArguments>,
  handler: (argv) => present('status', argv.json, () => look(argv)),
}

type Listed = Pick<SessionSnapshot, 'session' | 'mode' | 'pid' | 'state' | 'money'> & { readonly life: Life }
async function look(
  argv: StatusArguments,
): Promise<Outcome<(SessionSnapshot & { readonly life: Life }) | { readonly sessions: readonly Listed[] }>> {
  let dir = argv.session
  if (dir === undefined) {
    const folder = await sessionsFolder(argv)
    const running = sessionsBelow(folder).filter((f) => f.life === 'running')
    if (running.length > 1)
      return {
        data: {
          sessions: running.map(({ dir: session, life, snapshot: { mode, pid, state, money } }) => ({
            session,
            mode,
            pid,
            state,
            money,
            life,
          })),
        },
        text: `${sessionsText(running)}\n\n${running.length} sessions run in ${folder}: \`tapeline status ${running[0]?.dir ?? ''}\` tells more of one`,
        exit: running.some((f) => f.snapshot.state.name === 'halted') ? EXIT.risk : EXIT.ok,
      }
    dir = meantOf(folder)
  }
  const snapshot = readSnapshot(dir)
  const now = Date.now()
  const life = lifeOf(snapshot, now)
  return {
    data: { ...snapshot, life },
    text: [statusText(snapshot, life, now), ...(snapshot.mode === 'live' ? await besideOf(dir, snapshot, life) : [])].join(''),
    exit: life === 'gone' ? EXIT.data : life === 'running' && snapshot.state.name === 'halted' ? EXIT.risk : EXIT.ok,
    ...(life === 'gone' ? { error: { code: 'SESSION_GONE', message: goneText(snapshot) } } : {}),
  }
}

async function besideOf(dir: string, snapshot: SessionSnapshot, life: Life): Promise<string[]> {
  const { besideText } = await import('./live/beside.ts')
  return besideText(dir, snapshot, life === 'running').map((line) => `${line}\n`)
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
  if (command !== 'halt' && command !== 'resume') return configOptions(common)
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
  if (command === 'pause' || command === 'reduce') return say(await sessionDir(session, argv), command, reason, dryRun)
  const { liveAccounts, liveBelow, placeOf } = await import('./live/place.ts')
  if (command === 'halt') {
    // Whoever names none wants everything to stop.
    const folder = session === undefined ? await haltFolder(argv) : ''
    let dirs = session === undefined ? liveBelow(folder) : [session]
    // Nothing runs: then what the last ones left is looked for at the exchange, and taken back.
    if (session === undefined && dirs.length === 0 && !sessionsBelow(folder).some((f) => f.life === 'running')) {
      const last = liveAccounts(folder)
      dirs = [...last.dirs]
      for (const dir of last.skipped)
        process.stderr.write(
          `warning: ${dir} does not say where it traded: if anything of it is open, cancel it on the exchange's own page\n`,
        )
    }
    const places = dirs.map(placeOf)
    const live = places.filter((p) => p !== null)
    if (live.length === 0) return say(session ?? meantOf(folder), command, reason, dryRun)
    const { haltAll } = await import('./live/halt-live.ts')
    const { parseDuration } = await import('./options.ts')
    return haltAll(live, { ...argv, reason, dryRun, patience: parseDuration(timeout, '--timeout') })
  }
  const dir = await sessionDir(session, argv)
  const place = placeOf(dir)
  if (place === null) return say(dir, command, reason, dryRun)
  const { resumeLive } = await import('./live/resume-live.ts')
  return resumeLive(place, { ...argv, reason, dryRun, confirm })
}

/** Settings that are wrong must not keep anybody from halting: then it is where sessions are when nothing is said. */
async function haltFolder(argv: WordArguments): Promise<string> {
  try {
    return await sessionsFolder(argv)
  } catch (error) {
    const { liveBelow } = await import('./live/place.ts')
    if (!(error instanceof ConfigError) || liveBelow(SESSIONS).length === 0) throw error
    process.stderr.write(`warning: ${error.message}; so the live sessions in ${SESSIONS}/ are halted\n`)
    return SESSIONS
  }
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
      text: `DRY RUN: nothing was written\nwould tell   ${dir} (process ${before.pid}, now ${stateText(before.state)}): ${command}${reason === '' ? '' : ` (${reason})`}`,
    }
  const id = sendCommand(dir, command, reason)
  const until = Date.now() + WAIT_MS
  while (Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    const snapshot = readSnapshot(dir)
    const done = snapshot.commands.find((c) => c.id === id)
    if (done !== undefined) return { data: done, text: `${dir}: ${command} at ${iso(done.time)}; ${obeyedText(done, before)}` }
  }
  const withdrawn = withdrawCommand(dir, id)
  throw new DataError(
    'SESSION_SILENT',
    withdrawn
      ? `${dir} did not take the command in ${WAIT_MS / 1000} s and it was withdrawn: the session may hang; end its process (${before.pid}) if it must stop`
      : `${dir} took the command and did not acknowledge it in ${WAIT_MS / 1000} s: look at \`tapeline status ${dir}\``,
  )
}

/** What a word has come to. */
function obeyedText({ command, state }: Acknowledged, { state: before }: SessionSnapshot): string {
  if (command === 'resume' && before.name === 'trading' && state === 'trading')
    return 'nothing was halted, paused or reduced: the session trades as before'
  if (command === 'pause' && state === 'halted') return 'the session is halted and stays so: `resume` or `reduce` ends a halt'
  if (command === 'pause' && state === 'ready') return 'the session is paused: no new orders, those that rest stay'
  if (command !== 'halt' && state === 'syncing') return 'the session waits for its feed (syncing); the word holds once it is back'
  return `the session is ${state === 'ready' ? 'ready, warming up' : state}`
}
