/** The manifest of a tape, and buffers as batches. Owns the first check of a tape folder; hides nothing. Invariant: a manifest that is returned is of this program's schema. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Batch } from '../engine/message.ts'
import type { Columns } from './decode.ts'
import { DataError } from './errors.ts'
import { TAPE_SCHEMA, type Manifest } from './schema.ts'

/** The manifest of a tape folder. Throws DataError when it is none, or of another schema. */
export async function readManifest(dir: string): Promise<Manifest> {
  const path = join(dir, 'manifest.json')
  if (!existsSync(path)) {
    throw new DataError(
      'NOT_A_TAPE',
      `${dir} is not a tape (no manifest.json in it): make one with \`tapeline data import\` or \`tapeline data practice\``,
    )
  }
  let manifest: Manifest
  try {
    manifest = JSON.parse(await readFile(path, 'utf8')) as Manifest
  } catch (error) {
    throw new DataError('TAPE_DAMAGED', `${path} is not readable JSON: the tape is damaged, import it again`, error)
  }
  const schema: string = manifest.schema
  if (schema !== TAPE_SCHEMA) {
    throw new DataError(
      'TAPE_SCHEMA',
      `${path} has schema ${schema}, this program reads ${TAPE_SCHEMA}: import the tape again with this version`,
    )
  }
  if (!Array.isArray(manifest.files)) throw new DataError('TAPE_DAMAGED', `${path} names no files: the tape is damaged, import it again`)
  // Tapes made before there were others hold whole books.
  const { depth = 'book', digest = '' } = manifest as Partial<Manifest>
  return { ...manifest, depth, digest }
}

/** The same memory as a batch. */
export function batchOf(c: Columns): Batch {
  return {
    length: c.length,
    time: new Float64Array(c.time),
    timeVenue: new Float64Array(c.timeVenue),
    market: new Int32Array(c.market),
    kind: new Uint8Array(c.kind),
    flags: new Uint8Array(c.flags),
    side: new Uint8Array(c.side),
    price: new Int32Array(c.price),
    quantity: new Float64Array(c.quantity),
    detail: new Int32Array(c.detail),
    details: c.details,
  }
}
