/** What a watch says of itself, and how an engine reads it. Owns `<session>/watch.json`; hides the file. Invariant: a watch counts as alive only while it writes, its process is there, and its key is not refused. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type WatchState = 'watching' | 'taking-over' | 'taken-over' | 'idle'
export type WatchReport = {
  readonly schema: 'tapeline.watch/1'
  readonly session: string
  readonly pid: number
  /** ms of this machine's clock. */
  readonly started: number
  readonly written: number
  /** Why it has ended; null: it runs. */
  readonly ended: string | null
  readonly state: WatchState
  /** Its key was taken by the exchange when it was last tried. */
  readonly able: boolean
  /** Last answer of the exchange, ms; null: none yet. */
  readonly reached: number | null
  /** Whether its key is another one than the engine's. */
  readonly keyOwn: boolean
  /** ms of silence after which it takes over. */
  readonly tolerance: number
  readonly engine: { readonly pid: number | null; readonly state: string; readonly silentFor: number | null }
  readonly takeover: Takeover | null
  readonly takeovers: number
  readonly alerts: readonly { readonly class: string; readonly since: number; readonly text: string }[]
  /** What alerts could not be delivered, last failure by channel. */
  readonly undelivered: Readonly<Record<string, string>>
}
/** The last one. ms of this machine's clock; null: not (yet). */
export type Takeover = {
  readonly reason: string
  /** When the engine was last heard of. */
  readonly heard: number | null
  readonly flagged: number
  readonly cancelsSent: number | null
  readonly proved: number | null
  readonly left: number | null
  readonly doubt: string | null
}

const FILE = 'watch.json'
/** Of this machine's clock. */
export const WATCH_SILENT_MS = 10_000

export function writeWatch(dir: string, report: WatchReport): void {
  const path = join(dir, FILE)
  writeFileSync(`${path}.tmp`, JSON.stringify(report), { mode: 0o600 })
  renameSync(`${path}.tmp`, path)
}
/** Null: there is none that could be read. */
export function readWatch(dir: string): WatchReport | null {
  try {
    const report = JSON.parse(readFileSync(join(dir, FILE), 'utf8')) as Partial<WatchReport>
    return report.schema === 'tapeline.watch/1' && typeof report.written === 'number' && typeof report.pid === 'number'
      ? (report as WatchReport)
      : null
  } catch {
    return null
  }
}
/** Whether somebody would stop this session if its engine could not. `now`: ms of this machine's clock. */
export function watchAlive(dir: string, now: number): boolean {
  const report = readWatch(dir)
  if (report === null || report.ended !== null || !report.able || Math.abs(now - report.written) > WATCH_SILENT_MS) return false
  try {
    process.kill(report.pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
