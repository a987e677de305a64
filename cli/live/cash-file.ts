/**
 * A person's word that a difference in cash is right, on its way to a running session. Owns its file and what it may say; hides the folder. Invariant: it is taken once, and what is no such word is thrown
 * away with a sentence.
 *
 * `<session>/commands/<id>.cash`
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AcceptedCash } from '../../adapters/kalshi/live.ts'
import { TEXT_MAX } from '../session-status.ts'

const COMMANDS = 'commands'
const BYTES_MAX = 4_096
const ENDING = '.cash'

/** The path of the file: it is gone once it was taken. */
export function sendAcceptedCash(dir: string, { shards, reason }: AcceptedCash): string {
  const folder = join(dir, COMMANDS)
  mkdirSync(folder, { recursive: true })
  const path = join(folder, `${Date.now()}-${process.pid}${ENDING}`)
  writeFileSync(`${path}.tmp`, JSON.stringify({ shards, reason: reason.slice(0, TEXT_MAX) }), { mode: 0o600 })
  renameSync(`${path}.tmp`, path)
  return path
}
/** True: nobody has taken it. */
export function withdrawAcceptedCash(path: string): boolean {
  const there = existsSync(path)
  rmSync(path, { force: true })
  return there
}
/** Words that wait, in their order. */
export function takeAcceptedCash(dir: string, trouble: (text: string) => void): AcceptedCash[] {
  let names: string[]
  try {
    names = readdirSync(join(dir, COMMANDS))
  } catch {
    return []
  }
  const accepted: AcceptedCash[] = []
  for (const name of names.filter((n) => n.endsWith(ENDING)).sort()) {
    const path = join(dir, COMMANDS, name)
    try {
      const said = (statSync(path).size > BYTES_MAX ? {} : JSON.parse(readFileSync(path, 'utf8'))) as Partial<AcceptedCash>
      if (isShards(said.shards) && typeof said.reason === 'string' && said.reason !== '')
        accepted.push({ shards: said.shards, reason: said.reason.slice(0, TEXT_MAX) })
      else trouble(`${name} in ${COMMANDS}/ accepts no cash: it was thrown away`)
    } catch {
      trouble(`${name} in ${COMMANDS}/ cannot be read: it was thrown away`)
    }
    rmSync(path, { force: true })
  }
  return accepted
}
function isShards(value: unknown): value is AcceptedCash['shards'] {
  const isPair = (pair: unknown): boolean => Array.isArray(pair) && pair.length === 2 && pair.every((n) => Number.isSafeInteger(n))
  return Array.isArray(value) && value.length > 0 && value.every(isPair)
}
