/** A halt that lasts: trading stopped, and stays stopped over restarts until somebody resumes it. Owns where that is written; hides nothing. Invariant: whatever stands at the path is a halt, readable or not. */
import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** `<sessions>/HALTED`: a text file, the reason on its first line. */
export function haltFile(sessions: string): string {
  return join(sessions, 'HALTED')
}

/** Null: not halted. */
export function readHalt(sessions: string): { readonly path: string; readonly reason: string; readonly since: Date | null } | null {
  const path = haltFile(sessions)
  let since: Date | null = null
  try {
    since = lstatSync(path).mtime
  } catch (error) {
    // Nothing there is the one answer that means: not halted.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return null
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
