/** The manifest as text, with its own digest. Owns the proof that nothing in it was changed. Invariant: every byte of the file is covered, white space included. */
import { createHash } from 'node:crypto'
import type { Manifest } from './schema.ts'

const MANIFEST_KEYS: ReadonlySet<string> = new Set<keyof Manifest>([
  'schema',
  'name',
  'source',
  'practice',
  'depth',
  'files',
  'rows',
  'byKind',
  'markets',
  'from',
  'to',
  'lagMax',
  'clock',
  'labels',
  'labelBasis',
  'checkpoints',
  'gaps',
  'disconnects',
  'breaks',
  'inFlux',
  'negativeLevels',
  'lastingCrosses',
  'quarantined',
  'origin',
  'remarks',
  'digest',
])

/** The manifest with its own digest. */
export function sealed(manifest: Omit<Manifest, 'digest'>): Manifest {
  const digest = createHash('sha256')
    .update(manifestText({ ...manifest, digest: '' }))
    .digest('hex')
  return { ...manifest, digest }
}
export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 1)}\n`
}

/** Whether a manifest is the text that its digest was made of. Tapes of before have no digest: of them only the names of the fields can be checked. */
export function isSealed(manifest: Manifest, text: string): boolean {
  const { digest, ...rest } = manifest
  if (digest !== '') return manifestText(sealed(rest)) === text
  return Object.keys(JSON.parse(text) as object).every((key) => MANIFEST_KEYS.has(key))
}
