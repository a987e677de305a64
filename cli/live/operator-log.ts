/**
 * What was done to an account beside its engine: halts, resumes, flattening, a line each, in the session's folder. Owns one file; hides the disk. Invariant: `synced` is the number of the last line that is on
 * disk, and a line that could not be written whole is none.
 */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'

export const OPERATOR_LOG = 'operator.ndjson'

export class OperatorLog {
  readonly path: string
  readonly #file: number
  #last = -1
  #broken = false

  /** `fresh`: it must not be there yet. */
  constructor(path: string, fresh = false) {
    this.path = path
    this.#file = openSync(path, fresh ? 'wx' : 'a', 0o600)
  }
  get synced(): number {
    return this.#last
  }
  /** On disk when it returns: its number. Throws when it is not. */
  append(entry: Readonly<Record<string, unknown>>): number {
    if (this.#broken) throw new Error(`${this.path} could not be written before: it takes no more`)
    const bytes = Buffer.from(`${JSON.stringify({ time: new Date().toISOString(), ...entry })}\n`)
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done)
      fsyncSync(this.#file)
    } catch (error) {
      this.#broken = true
      throw error
    }
    return ++this.#last
  }
  close(): void {
    closeSync(this.#file)
  }
}

/** Kept where it can be: whoever halts does not wait for a disk. Null: it is kept; else why not. */
export function note(dir: string, entry: Readonly<Record<string, unknown>>): string | null {
  try {
    const log = new OperatorLog(join(dir, OPERATOR_LOG))
    try {
      log.append(entry)
    } finally {
      log.close()
    }
    return null
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code ?? 'unknown')
  }
}
