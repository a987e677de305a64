/**
 * Folders that are about to be written. Owns how they are made; hides nothing. Invariant: it comes to an end wherever it is asked to write.
 *
 * One folder at a time: `mkdir` with `recursive` goes round for ever under /proc, where a folder that exists says of each new one that its parent does not.
 */
import { mkdirSync, rmdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DataError } from './errors.ts'

/** Makes a folder and those above it. Returns those that were not there, the outermost first. Throws DataError DISK where none can be made. */
export function makeFolder(dir: string, mode = 0o777): string[] {
  const missing: string[] = []
  for (let at = resolve(dir); !isFolder(at); at = dirname(at)) missing.unshift(at)
  const made: string[] = []
  for (const path of missing) {
    try {
      mkdirSync(path, { mode })
      made.push(path)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // Another process was faster.
      if (code === 'EEXIST' && isFolder(path)) continue
      unmake(made)
      throw new DataError(
        'DISK',
        `${dir} cannot be made (${code === 'EEXIST' ? `${path} is there and is no folder` : `${dirname(path)} takes no new folder, ${code ?? String(error)}`}): choose a folder that can be written`,
        error,
      )
    }
  }
  return made
}

/** Whether the folder could be made, and nothing else: for what is slow before it is. */
export function proveFolder(dir: string): void {
  unmake(makeFolder(dir))
}

function unmake(made: readonly string[]): void {
  for (const path of made.toReversed())
    try {
      rmdirSync(path)
    } catch {
      // Somebody put something there meanwhile.
      return
    }
}
function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}
