/**
 * What a running session says of itself, and what it is told: a snapshot that it writes every second, and command files that it picks up. Owns both shapes and their bounds; hides the files.
 * Invariants: a reader of the snapshot sees a whole one; it is bounded however long the session runs; a command is acted on once and acknowledged in the snapshot.
 *
 * `<session>/status.json` · `<session>/commands/<id>.json`
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DataError } from '../data/errors.ts'
import type { OperatorDetail } from '../engine/message.ts'
import type { Hold, SessionStateName } from '../engine/session-state.ts'
import type { Quantiles } from './spread.ts'

export type OperatorCommand = Exclude<OperatorDetail['command'], 'stop'>
export type Acknowledged = {
  readonly id: string
  readonly command: OperatorCommand
  readonly reason: string
  /** µs of the session's clock. */
  readonly time: number
  readonly state: SessionStateName
}

/** `silent`: µs since anything was heard on it; null: it is not open. */
type Connection = {
  readonly name: string
  readonly state: string
  readonly connects: number
  readonly stale: boolean
  readonly silent: number | null
}

/** Times in µs of the session's clock, delays and lags in µs, money in dollars, sizes in contracts, prices in dollars. */
export type SessionSnapshot = {
  readonly schema: 'tapeline.status/1'
  readonly session: string
  readonly mode: string
  readonly pid: number
  /** ms of this machine's clock. */
  readonly written: number
  readonly started: number
  /** Set once it has ended, with why. */
  readonly ended: string | null
  /** Of a recording: whether it records. */
  readonly state: {
    readonly name: SessionStateName | 'recording' | 'full'
    readonly since: number
    readonly cause: string | null
    /** Why no order is permitted. */
    readonly hold: Hold | null
  }
  readonly time: number
  /** No later row is earlier than this, and everything due before it has happened. */
  readonly ran: number
  readonly strategies: readonly string[]
  readonly feed: {
    readonly environment: string
    readonly connections: readonly Connection[]
    /** Share of the last minutes' seconds in which at least one market was synced. */
    readonly uptime: number | null
    readonly lag: Quantiles | null
    readonly marketsSynced: number
    readonly marketsUnsynced: number
    readonly unsynced: readonly string[]
    readonly troubles: Readonly<Record<string, string>>
    readonly rowsWaiting: number
    readonly rowsDropped: number
    /** Breaks in the sequence of a stream, and books compared with the exchange's own, since the start. */
    readonly gaps: number
    readonly audits: number
    readonly auditsEqual: number
  }
  readonly orders: {
    readonly working: number
    readonly sent: number
    readonly fills: number
    /** By reason, the most frequent first: what risk refused, and what the venue rejected. */
    readonly refusals: Readonly<Record<string, number>>
    readonly rejections: Readonly<Record<string, number>>
    readonly list: readonly {
      readonly market: string
      readonly owner: string
      readonly side: string
      readonly price: number
      readonly remaining: number
      readonly state: string
    }[]
  }
  readonly positions: readonly { readonly market: string; readonly position: number; readonly pnl: number }[]
  readonly money: { readonly equity: number; readonly pnl: number; readonly cash: number; readonly fees: number; readonly drawdown: number }
  /** Shares of each limit, 0 … 1. */
  readonly limits: Readonly<Record<'orders' | 'position' | 'marketLoss' | 'sessionLoss', number>>
  readonly delays: { readonly place: number; readonly answer: number; readonly measured: readonly number[] }
  /** µs that a row may wait for its label before the engine has it. */
  readonly labelWait: number
  readonly decision: Quantiles | null
  readonly rows: { readonly total: number; readonly perSecond: number; readonly externals: number; readonly moved: number }
  readonly tape: { readonly state: string; readonly rows: number; readonly failure: string | null }
  /** µs by which the event loop was late. */
  readonly loop: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly memory: { readonly resident: number; readonly heap: number }
  /** What is wrong now and acts on orders, a line each: why, and the way back. */
  readonly wrong: readonly string[]
  /** What a person should know and acts on nothing. */
  readonly remarks: readonly string[]
  readonly commands: readonly Acknowledged[]
  readonly errors: readonly { readonly time: number; readonly text: string }[]
}

export const LIST_MAX = 50
export const ERRORS_MAX = 20
export const TEXT_MAX = 600
/** Older than this it is no news of a session that runs. */
const STALE_MS = 5_000
export const SNAPSHOT_FILE = 'status.json'
const COMMANDS = 'commands'
const COMMAND_BYTES = 4_096

export function writeSnapshot(dir: string, snapshot: SessionSnapshot): void {
  const path = join(dir, SNAPSHOT_FILE)
  writeFileSync(`${path}.tmp`, JSON.stringify(snapshot))
  renameSync(`${path}.tmp`, path)
}

export function readSnapshot(dir: string): SessionSnapshot {
  const path = join(dir, SNAPSHOT_FILE)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    throw new DataError(
      'NOT_A_SESSION',
      `${dir} is no session (no ${SNAPSHOT_FILE} in it): give the folder that \`tapeline paper\` printed, or the tape of \`tapeline record\``,
    )
  }
  try {
    const snapshot = JSON.parse(text) as Partial<SessionSnapshot>
    if (snapshot.schema === 'tapeline.status/1') return filled(snapshot as SessionSnapshot)
  } catch {}
  throw new DataError('NOT_A_SESSION', `${path} is not a snapshot of this version: the session was run by another version of Tapeline`)
}

/** An earlier version wrote less. */
function filled(s: SessionSnapshot): SessionSnapshot {
  return {
    ...s,
    labelWait: s.labelWait ?? 0,
    wrong: s.wrong ?? [],
    remarks: s.remarks ?? [],
    state: { ...s.state, hold: s.state.hold ?? null },
    orders: { ...s.orders, refusals: s.orders.refusals ?? {}, rejections: s.orders.rejections ?? {} },
    feed: { ...s.feed, connections: s.feed.connections.map((c) => ({ ...c, silent: c.silent ?? null })) },
  }
}

/** `gone`: it has not ended, and its process is not there or does not write any more. */
export type Life = 'running' | 'ended' | 'gone'
export function lifeOf(snapshot: SessionSnapshot, now: number): Life {
  if (snapshot.ended !== null) return 'ended'
  try {
    process.kill(snapshot.pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'gone'
  }
  return now - snapshot.written > STALE_MS ? 'gone' : 'running'
}

// ---------------------------------------------------------------------------------------------------- commands

export type Command = { readonly id: string; readonly command: OperatorCommand; readonly reason: string }
const WORDS: readonly string[] = ['pause', 'reduce', 'halt', 'resume'] satisfies OperatorCommand[]
let numbers = 0

export function sendCommand(dir: string, command: OperatorCommand, reason: string): string {
  const id = `${Date.now()}-${process.pid}-${numbers++}`
  const folder = join(dir, COMMANDS)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${id}.tmp`), JSON.stringify({ command, reason: reason.slice(0, TEXT_MAX) }), { mode: 0o600 })
  renameSync(join(folder, `${id}.tmp`), join(folder, `${id}.json`))
  return id
}
/** A command that nobody picked up. True: it was still there. */
export function withdrawCommand(dir: string, id: string): boolean {
  const path = join(dir, COMMANDS, `${id}.json`)
  if (!existsSync(path)) return false
  rmSync(path, { force: true })
  return true
}

/** Commands that wait, in the order in which they were given; each is taken once. */
export function takeCommands(dir: string, trouble: (text: string) => void): Command[] {
  let names: string[]
  try {
    names = readdirSync(join(dir, COMMANDS))
  } catch {
    return []
  }
  const commands: Command[] = []
  for (const name of names.filter((n) => n.endsWith('.json')).sort()) {
    const path = join(dir, COMMANDS, name)
    try {
      const tooLong = statSync(path).size > COMMAND_BYTES
      const { command, reason } = tooLong ? {} : (JSON.parse(readFileSync(path, 'utf8')) as { command?: unknown; reason?: unknown })
      if (typeof command !== 'string' || !WORDS.includes(command)) trouble(`${name} in ${COMMANDS}/ is no command: it was thrown away`)
      else
        commands.push({
          id: name.slice(0, -'.json'.length),
          command: command as OperatorCommand,
          reason: typeof reason === 'string' ? reason.slice(0, TEXT_MAX) : '',
        })
    } catch {
      trouble(`${name} in ${COMMANDS}/ cannot be read: it was thrown away`)
    }
    rmSync(path, { force: true })
  }
  return commands
}
export function clearCommands(dir: string): void {
  rmSync(join(dir, COMMANDS), { recursive: true, force: true })
  mkdirSync(join(dir, COMMANDS), { recursive: true })
}
