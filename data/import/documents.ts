/**
 * JSON files, whole or by the line, plain or gzip. Owns the choice between the two and the place of an error; hides streams. Invariant: every value of the file is handed over
 * with the line it began on, or the file is refused with the line that is wrong.
 */
import { createReadStream, statSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import { DataError } from '../errors.ts'
import { shortName } from './frames.ts'

/** A document larger than this cannot be one JSON text in memory. */
const DOCUMENT_MAX = 500_000_000

export type Place = {
  /** Line of the value; 1 for a whole document. */
  readonly line: number
  /** The text of a whole document, to find a line in; null for a line. */
  readonly document: string | null
}

/** Hands over every JSON value of a file: each line of JSON lines, or the one document. */
export async function readDocuments(
  path: string,
  take: (value: unknown, place: Place) => void | Promise<void>,
  bad?: (line: number, text: string) => void,
): Promise<void> {
  const name = shortName(path)
  if (statSync(path).size === 0) throw new DataError('INPUT_INVALID', `${name} is empty (0 bytes): download it again`)
  const source = createReadStream(path)
  const input = path.endsWith('.gz') ? source.pipe(createGunzip()) : source
  source.on('error', (error) => input.destroy(error))
  let line = 0
  let bytes = 0
  // Of JSON lines each is a value; a document is one even when it stands on a single line.
  let mode: 'unknown' | 'lines' | 'document' = 'unknown'
  let first: { readonly value: unknown; readonly line: number; readonly text: string } | null = null
  const parts: string[] = []
  try {
    for await (const text of createInterface({ input, crlfDelay: Infinity })) {
      line++
      if (mode === 'document') {
        parts.push(text)
        bytes += text.length + 1
        if (bytes > DOCUMENT_MAX)
          throw new DataError(
            'INPUT_INVALID',
            `${name} is one JSON document of more than ${DOCUMENT_MAX / 1e6} MB: write one value a line (NDJSON) instead`,
          )
        continue
      }
      if (text.trim() === '') {
        if (mode === 'unknown' && first === null) parts.push(text)
        continue
      }
      const value = parsed(text)
      if (mode === 'unknown' && first === null) {
        if (value === undefined) {
          if (!/^\uFEFF?\s*[[{]/.test(text))
            throw new DataError(
              'INPUT_INVALID',
              `${name}:${line} is not JSON${text.startsWith('PAR1') ? ' but Parquet: `data import trades-parquet` takes trades in Parquet' : ': the file is of another kind, or damaged'}`,
            )
          mode = 'document'
          parts.push(text)
        } else first = { value, line, text }
        continue
      }
      if (first !== null) {
        await take(first.value, { line: first.line, document: null })
        first = null
        mode = 'lines'
      }
      if (value !== undefined) await take(value, { line, document: null })
      else if (bad === undefined) throw new DataError('INPUT_INVALID', `${name}:${line} is not JSON: correct or remove the line`)
      else bad(line, text)
    }
  } catch (error) {
    if (error instanceof DataError) throw error
    throw new DataError(
      'FILE_UNREADABLE',
      `${name}:${line + 1} cannot be read (${error instanceof Error ? error.message : String(error)}): the file is damaged or not complete`,
      error,
    )
  }
  if (first !== null) {
    await take(first.value, { line: first.line, document: first.text })
    return
  }
  if (mode === 'lines') return
  const document = parts.join('\n')
  if (document.trim() === '') throw new DataError('INPUT_INVALID', `${name} holds nothing but blank lines: download it again`)
  let value: unknown
  try {
    value = JSON.parse(document)
  } catch (error) {
    throw new DataError(
      'INPUT_INVALID',
      `${name}:${lineOfError(document, error)} is not JSON: the file is damaged, cut off or of another kind`,
      error,
    )
  }
  await take(value, { line: 1, document })
}

/** The line of a piece of text in a document, 1 when it is not found. */
export function lineOf(document: string, piece: string): number {
  const at = document.indexOf(piece)
  return at < 0 ? 1 : lineAt(document, at)
}

function lineAt(document: string, at: number): number {
  let line = 1
  for (let i = document.indexOf('\n'); i >= 0 && i < at; i = document.indexOf('\n', i + 1)) line++
  return line
}

function lineOfError(document: string, error: unknown): number {
  const at = /position (\d+)/.exec(error instanceof Error ? error.message : '')?.[1]
  return lineAt(document, at === undefined ? document.length : Number(at))
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
