/**
 * A halt that lasts: trading stopped, and stays stopped over restarts until somebody resumes it. Owns where that is written and how; hides the disk. Invariants: whatever stands at the path is a halt,
 * readable or not; it is there whole or not at all; a second halt leaves the first one's reason and time.
 */
import { closeSync, fsyncSync, linkSync, lstatSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'

export type Halt = { readonly path: string; readonly reason: string; readonly since: Date | null }
/** `written`: by this call. `failure`: why it could not be written as it should be; `stands`: whether it holds all the same. */
export type Latched = { readonly path: string; readonly written: boolean; readonly stands: boolean; readonly failure: string | null }

/** `<sessions>/HALTED`: a text file, the reason on its first line. */
export function haltFile(sessions: string): string {
  return join(sessions, 'HALTED')
}

/** Null: not halted. */
export function readHalt(sessions: string): Halt | null {
  const path = haltFile(sessions)
  let since: Date | null = null
  try {
    // Nothing there is the one answer that means: not halted. It is asked before every byte, and costs no exception.
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (found === undefined) return null
    since = found.mtime
  } catch {
    return { path, reason: 'it cannot be read', since }
  }
  let reason = 'no reason was written'
  try {
    const [line = ''] = readFileSync(path, 'utf8').slice(0, 1000).split('\n')
    const words = line.replace(/\p{Cc}/gu, ' ').trim()
    if (words !== '') reason = words.length > 200 ? `${words.slice(0, 200)}…` : words
  } catch {
    reason = 'its reason cannot be read'
  }
  return { path, reason, since }
}

/** Halts. Never throws: whoever halts has more to do, and it matters more. */
export function writeHalt(sessions: string, reason: string, by: string): Latched {
  const path = haltFile(sessions)
  const words = reason
    .replace(/\p{Cc}/gu, ' ')
    .trim()
    .slice(0, 200)
  const part = `${path}.${process.pid}.tmp`
  let failure: string | null = null
  let written = false
  try {
    written = writeWhole(part, path, `${words === '' ? 'no reason was given' : words}\n${new Date().toISOString()} ${by}\n`)
  } catch (error) {
    failure = codeOf(error)
    // A disk without room for a line may have room for a name, and the name alone is the halt.
    try {
      closeSync(openSync(path, 'wx', 0o600))
      written = true
    } catch (again) {
      if (codeOf(again) !== 'EEXIST') failure = codeOf(again)
    }
  }
  try {
    rmSync(part, { force: true })
  } catch {}
  return { path, written, stands: readHalt(sessions) !== null, failure }
}
/** Lets trading go on. False: there was no halt. */
export function liftHalt(sessions: string): boolean {
  if (readHalt(sessions) === null) return false
  rmSync(haltFile(sessions), { recursive: true, force: true })
  syncFolder(sessions)
  return true
}

/** False: one stands already. */
function writeWhole(part: string, path: string, text: string): boolean {
  const file = openSync(part, 'w', 0o600)
  try {
    const bytes = Buffer.from(text)
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  try {
    // A link is not made over what is there: of two that halt at once the first is kept.
    linkSync(part, path)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    // Some file systems have no links.
    renameSync(part, path)
  }
  syncFolder(dirname(path))
  return true
}
/** The name, too, outlives a loss of power. */
function syncFolder(dir: string): void {
  let file: number | null = null
  try {
    file = openSync(dir, 'r')
    fsyncSync(file)
  } catch {
    // Not every system lets a folder be opened: the file itself is on disk.
  } finally {
    if (file !== null) closeSync(file)
  }
}
function codeOf(error: unknown): string {
  return String((error as NodeJS.ErrnoException).code ?? 'unknown')
}
