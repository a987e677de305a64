/**
 * What was shown of a run after it was written: that running it again, or replaying it, gave the same digest. Owns `<run>/proofs.json`; hides nothing. Invariant: a proof names the digest that it is of, so
 * one that was left by another run in the same folder counts for nothing.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { VERSION } from '../version.ts'

export type Proof = {
  /** `again`: the same tape and header were run once more. `replay`: a session's own tape was. */
  readonly what: 'again' | 'replay'
  readonly digest: string
  readonly equal: boolean
  readonly version: string
  readonly time: string
}
const FILE = 'proofs.json'
const SCHEMA = 'tapeline.proofs/1'
const KEPT = 50

export function readProofs(dir: string): readonly Proof[] {
  const path = join(dir, FILE)
  if (!existsSync(path)) return []
  try {
    const { schema, proofs } = JSON.parse(readFileSync(path, 'utf8')) as { schema?: unknown; proofs?: unknown }
    return schema === SCHEMA && Array.isArray(proofs) ? (proofs as Proof[]).filter((p) => typeof p?.digest === 'string') : []
  } catch {
    // Less is proved than was: to be shown again.
    return []
  }
}

/** A disk that takes no proof does not undo the run. */
export function addProof(dir: string, proof: Omit<Proof, 'version' | 'time'>): void {
  const proofs = [...readProofs(dir), { ...proof, version: VERSION, time: new Date().toISOString() }].slice(-KEPT)
  try {
    const path = join(dir, FILE)
    writeFileSync(`${path}.tmp`, `${JSON.stringify({ schema: SCHEMA, proofs }, null, 1)}\n`)
    renameSync(`${path}.tmp`, path)
  } catch {}
}
