/** One writer to a folder. Owns the lock; hides that it is a file. Invariant: of two processes (or two calls in one) that want a folder one gets it, and a process that dies lets go. */
import { realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DataError } from './errors.ts'
import { makeFolder } from './folder.ts'
import { holdFile } from './parquet.ts'

export const LOCK = 'writer.lock'
const held = new Set<string>()

/** Throws TAPE_BUSY while somebody else writes there. Returns how to let go. */
export async function holdFolder(dir: string): Promise<() => Promise<void>> {
  makeFolder(dir)
  const path = join(await realpath(dir), LOCK)
  // The kernel's lock is a process's: inside one, this is it.
  const release = held.has(path) ? null : await holdFile(path)
  if (release === null)
    throw new DataError('TAPE_BUSY', `${dir} is being written by another process: stop it first, or choose another folder`)
  held.add(path)
  return async () => {
    release()
    held.delete(path)
    for (const name of [path, `${path}.wal`]) await rm(name, { force: true })
  }
}
