/** The folders of tapes, runs and sessions: space, permission to write, halts, what an ended program left behind. Owns what is enough; hides the disk. Invariant: nothing is kept and nothing repaired here. */
import { closeSync, existsSync, fsyncSync, openSync, readdirSync, readFileSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { EXIT } from '../exit.ts'
import { readHalt } from '../halt.ts'
import { readSnapshot } from '../session-status.ts'
import { fine, problem, warning, type Finding } from './finding.ts'
import { sizeText } from './machine.ts'

const SPACE_MIN = 256 * 2 ** 20
const SPACE_LOW = 2 * 2 ** 30
const PROBE_BYTES = 256 * 1024
const ENTRIES_MAX = 20_000

/** `variable`: the setting that names it. */
export function folderFinding(setting: string, folder: string): Finding {
  const name = `folder ${setting}`
  let there = resolve(folder)
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there)
  const isNew = there !== resolve(folder)
  const other = `or name another folder: ${setting} in tapeline.yaml`
  if (!statSync(there).isDirectory())
    return problem(name, `${isNew ? there : folder} is a file where a folder belongs`, `move it away, ${other}`, EXIT.data)
  const { bavail, bsize } = statfsSync(there)
  const free = bavail * bsize
  const failure = writeFailure(there)
  if (failure === 'ENOSPC' || failure === 'EDQUOT')
    return problem(name, `${folder}: the disk is full (${failure}, ${sizeText(free)} free)`, `free some space, ${other}`, EXIT.data)
  if (failure !== null)
    return problem(
      name,
      `${folder} cannot be written (${failure})`,
      failure === 'EACCES' || failure === 'EPERM'
        ? `chmod u+rwx ${there} (as its owner), ${other}`
        : `make it writable (${failure === 'EROFS' ? 'the disk is mounted read-only' : 'see the code'}), ${other}`,
      EXIT.data,
    )
  const text = `${folder}${isNew ? ' (not there yet: it will be made)' : ''}: it can be written, ${sizeText(free)} free`
  if (free < SPACE_MIN)
    return problem(name, `${text}; a recording stops below ${sizeText(SPACE_MIN)}`, `free some space, ${other}`, EXIT.data)
  return free < SPACE_LOW ? warning(name, `${text}: that does not last long`, `free some space, ${other}`) : fine(name, text)
}

/** Null: bytes went to the disk. */
function writeFailure(folder: string): string | null {
  const path = join(folder, `.doctor-${process.pid}`)
  let file: number | null = null
  try {
    file = openSync(path, 'wx', 0o600)
    const bytes = Buffer.alloc(PROBE_BYTES, 1)
    // A full disk may take a part.
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done)
    fsyncSync(file)
    return null
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code ?? 'unknown')
  } finally {
    if (file !== null) {
      closeSync(file)
      rmSync(path, { force: true })
    }
  }
}

export function haltFinding(sessions: string): Finding {
  const halt = readHalt(sessions)
  return halt === null
    ? fine('halt', 'none')
    : warning(
        'halt',
        `${halt.path} stands${halt.since === null ? '' : ` since ${halt.since.toISOString().slice(0, 19)}Z`}: ${halt.reason}`,
        `nothing is traded until it is resumed: find out why, then tapeline resume <session> --reason …; where no session is left, rm ${halt.path}`,
      )
}

/** What stands unfinished: parts of an import, recordings that grow, logs that no end came to. */
export function leftoverFindings(folders: readonly string[]): Finding[] {
  const found: Finding[] = []
  const seen = new Set<string>()
  for (const folder of folders) {
    if (seen.has(resolve(folder)) || !existsSync(folder)) continue
    seen.add(resolve(folder))
    let names: string[]
    try {
      names = readdirSync(folder)
    } catch {
      // That it cannot be read is said by its own line.
      continue
    }
    for (const name of names.slice(0, ENTRIES_MAX)) {
      const path = join(folder, name)
      const partial = /^\..+\.partial-(\d+)$/.exec(name)
      if (partial !== null) {
        if (isAlive(Number(partial[1]))) found.push(fine('unfinished', `${path} is being written by process ${partial[1] ?? ''}`))
        else found.push(warning('unfinished', `${path} was left by a program that was ended; nothing reads it`, `rm -r ${path}`))
      } else if (isGrowing(path))
        found.push(
          warning(
            'unfinished',
            `${path} is still being written, or its program was ended: what it holds can be read`,
            'if nothing writes it, start the same command again: it goes on from there',
          ),
        )
    }
  }
  return found.length === 0 ? [fine('unfinished', 'nothing')] : found
}

function isAlive(process_: number): boolean {
  try {
    process.kill(process_, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
/** A manifest that says so, or a log with segments in it. */
function hasEnded(path: string): boolean {
  try {
    return readSnapshot(path).ended !== null
  } catch {
    return false
  }
}
function isGrowing(path: string): boolean {
  try {
    if (!statSync(path).isDirectory()) return false
    // A live session keeps its log when it ends: it may go on.
    if (hasEnded(path)) return false
    if (existsSync(join(path, 'log')) && readdirSync(join(path, 'log')).some((name) => /^\d+\.log$/.test(name))) return true
    const manifest = join(path, 'manifest.json')
    return existsSync(manifest) && 'growing' in (JSON.parse(readFileSync(manifest, 'utf8')) as object)
  } catch {
    // A damaged tape is `data verify`'s to tell.
    return false
  }
}
