/**
 * Which session is meant where none is named. Owns the choice; hides the settings' folder. Invariants: of several that run none is guessed; a session that is named needs no settings.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DataError } from '../data/errors.ts'
import { EXIT, UsageError } from './exit.ts'
import { lifeOf, readSnapshot, SNAPSHOT_FILE, type Life, type SessionSnapshot } from './session-status.ts'

export type SettingsArguments = { readonly config?: string | undefined; readonly profile?: string | undefined }
export type Found = { readonly dir: string; readonly snapshot: SessionSnapshot; readonly life: Life }

/** As tapeline.yaml says it. */
export async function sessionsFolder({ config, profile }: SettingsArguments): Promise<string> {
  const { settingsOf } = await import('./config.ts')
  return settingsOf({ config, profile }).sessions
}

/** Those that can be read, newest first. */
export function sessionsBelow(folder: string): Found[] {
  if (!existsSync(folder)) return []
  const now = Date.now()
  return readdirSync(folder)
    .map((name) => join(folder, name))
    .filter((dir) => existsSync(join(dir, SNAPSHOT_FILE)))
    .map((dir) => ({ dir, written: statSync(join(dir, SNAPSHOT_FILE), { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.written - a.written)
    .flatMap(({ dir }) => {
      try {
        const snapshot = readSnapshot(dir)
        return [{ dir, snapshot, life: lifeOf(snapshot, now) }]
      } catch {
        // Of another version: whoever names it hears so.
        return []
      }
    })
}

/** The one named, else the one that runs, else the latest. `live`: only such sessions are looked at. */
export async function sessionDir(named: string | undefined, settings: SettingsArguments, live = false): Promise<string> {
  return named ?? meantOf(await sessionsFolder(settings), live)
}
export function meantOf(folder: string, live = false): string {
  const found = sessionsBelow(folder).filter((f) => !live || f.snapshot.mode === 'live')
  const running = found.filter((f) => f.life === 'running')
  if (running.length > 1)
    throw new UsageError(
      `${running.length} sessions run in ${folder}: name the one you mean (${running.map((f) => f.dir).join(', ')})`,
      EXIT.usage,
      'SESSION_AMBIGUOUS',
    )
  const meant = running[0] ?? found[0]
  if (meant === undefined) throw new DataError('NOT_A_SESSION', `there is no ${live ? 'live ' : ''}session in ${folder}/: name its folder`)
  return meant.dir
}

/** Before a key is asked for: a session that runs is not gone on with. */
export function notRunning(dir: string): void {
  let snapshot: SessionSnapshot
  try {
    snapshot = readSnapshot(dir)
  } catch {
    // Whoever goes on with it says what is wrong with the folder.
    return
  }
  if (lifeOf(snapshot, Date.now()) !== 'running') return
  throw new DataError(
    'TAPE_BUSY',
    `${dir} runs (process ${snapshot.pid}): there is nothing to go on with; look at it with \`tapeline status ${dir}\`, and lift a pause or a halt with \`tapeline resume ${dir}\``,
  )
}
