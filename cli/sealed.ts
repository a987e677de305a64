/**
 * Records that must not be changed by hand: what was promoted, what was armed. Owns the seal and how such a file is written; hides nothing. Invariants: every byte of the file is under its seal, so an edit
 * is found; it takes its name when it is whole and on the disk. It guards against mistakes, not against somebody who makes a seal of his own.
 */
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { EXIT, UsageError } from './exit.ts'

export type Sealed<T> = T & { readonly seal: string }

const BYTES_MAX = 4 * 1024 * 1024

function textOf(record: object): string {
  return `${JSON.stringify(record, null, 1)}\n`
}
function sealed<T extends object>(record: T): Sealed<T> {
  const open = { ...record, seal: '' }
  return { ...open, seal: createHash('sha256').update(textOf(open)).digest('hex') }
}

/** Written, synced, named, and its name synced: after a power cut it is there. */
export function writeSealed(path: string, record: object): void {
  mkdirSync(dirname(path), { recursive: true })
  const file = openSync(`${path}.tmp`, 'w', 0o600)
  try {
    const bytes = Buffer.from(textOf(sealed(record)))
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(`${path}.tmp`, path)
  syncFolder(dirname(path))
}
/** A name that was given or taken in a folder stays so over a power cut. Where folders cannot be synced it is the disk's to say when. */
export function syncFolder(folder: string): void {
  try {
    const file = openSync(folder, 'r')
    try {
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
  } catch {}
}

/** Throws TAMPERED when it is not the text that its seal was made of, or not of this schema. `advice`: what makes a new one. */
export function readSealed<T extends object>(path: string, schema: string, advice: string): Sealed<T> {
  const refuse = (what: string): UsageError =>
    new UsageError(`${path} ${what}, so nothing is taken from it: ${advice}`, EXIT.gate, 'TAMPERED')
  let text: string
  try {
    if (statSync(path).size > BYTES_MAX) throw refuse('is larger than such a record can be')
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw refuse(`cannot be read (${String((error as NodeJS.ErrnoException).code)})`)
  }
  let record: Sealed<T> & { readonly schema?: unknown }
  try {
    record = JSON.parse(text) as typeof record
  } catch {
    throw refuse('is no whole record')
  }
  if (typeof record !== 'object' || record === null || typeof record.seal !== 'string') throw refuse('has no seal')
  const { seal: _, ...open } = record
  if (textOf(sealed(open)) !== text) throw refuse('was changed after it was written: its seal does not match')
  if (record.schema !== schema) throw refuse(`is of another version of Tapeline (${schema} is read here)`)
  return record
}
