/**
 * Bundles kept between runs. Owns the folder, the form of an entry and when it counts: the same installation, and every file it was made of unchanged. Hides that any of it
 * may fail. Invariant: an entry that is damaged, half written or of another time is never used; a folder that cannot be written costs time and nothing else.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Bundle } from './bundle.ts'

export function cacheFolder(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  platform: string = process.platform,
): string {
  const { XDG_CACHE_HOME: chosen, LOCALAPPDATA: windows } = environment
  if (chosen !== undefined && chosen !== '') return join(chosen, 'tapeline')
  if (platform === 'darwin') return join(homedir(), 'Library/Caches/tapeline')
  if (platform === 'win32' && windows !== undefined) return join(windows, 'tapeline/cache')
  return join(homedir(), '.cache/tapeline')
}

export function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}

/** Content of a file as a hash, null where there is none. */
export function hashOf(path: string): string | null {
  try {
    return sha256(readFileSync(path))
  } catch {
    return null
  }
}

const nameOf = (entry: string, installation: string): string =>
  join(cacheFolder(), 'strategies', `${sha256(`${entry}\0${installation}`)}.json`)

/** The kept bundle of a file, or null. */
export function recall(entry: string, installation: string): Bundle | null {
  try {
    const content = readFileSync(nameOf(entry, installation), 'utf8')
    const cut = content.indexOf('\n')
    const body = content.slice(cut + 1)
    if (content.slice(0, cut) !== sha256(body)) return null
    const bundle = JSON.parse(body) as Bundle
    return bundle.inputs.every(([path, hash]) => hashOf(path) === hash) ? bundle : null
  } catch {
    return null
  }
}

/** Written beside and renamed: a reader sees the old entry or the new one. */
export function keep(entry: string, installation: string, bundle: Bundle): void {
  const name = nameOf(entry, installation)
  const beside = `${name}.${randomBytes(6).toString('hex')}`
  try {
    const body = JSON.stringify(bundle)
    mkdirSync(join(name, '..'), { recursive: true })
    writeFileSync(beside, `${sha256(body)}\n${body}`)
    renameSync(beside, name)
  } catch {
    discard(beside)
  }
}

function discard(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // Where nothing can be written there is nothing to take away.
  }
}
