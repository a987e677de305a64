/**
 * The four tables of a session in blocks: journal, touches, equity, markouts. Owns their names, their digest and their form in the append log; hides the bytes. Invariant: the
 * digest is SHA-256 over every column and string, so it does not depend on block borders, and a block that was read back is the block that was written.
 */
import { createHash, type Hash } from 'node:crypto'
import { createJournalTable, type JournalTable } from '../engine/journal.ts'
import {
  createEquityTable,
  createMarkoutTable,
  createTouchTable,
  type EquityTable,
  type MarkoutTable,
  type TouchTable,
} from '../engine/samples.ts'
import type { AppendLog } from './log.ts'
import { FrameKind, type Frame } from './log-reader.ts'
import type { NumberColumn } from './parquet.ts'

export type Table = { length: number } & Readonly<Record<string, number | NumberColumn>>
export type TableName = 'journal' | 'touches' | 'equity' | 'markouts'
export type Tables = {
  readonly journal: JournalTable
  readonly touches: TouchTable
  readonly equity: EquityTable
  readonly markouts: MarkoutTable
}

/** `words`: columns that number the session's strings. */
export const TABLES: {
  readonly [N in TableName]: { readonly kind: FrameKind; readonly create: (rows: number) => Tables[N]; readonly words: readonly string[] }
} = {
  journal: { kind: FrameKind.JOURNAL, create: createJournalTable, words: ['market', 'owner', 'what', 'why'] },
  touches: { kind: FrameKind.TOUCHES, create: createTouchTable, words: ['market'] },
  equity: { kind: FrameKind.EQUITY, create: createEquityTable, words: [] },
  markouts: { kind: FrameKind.MARKOUTS, create: createMarkoutTable, words: [] },
}
export const TABLE_NAMES = Object.keys(TABLES) as readonly TableName[]

export function columnsOf(name: TableName): string[] {
  return Object.keys(TABLES[name].create(0)).filter((k) => k !== 'length')
}

export class RunDigest {
  readonly #hashes = Object.fromEntries(
    TABLE_NAMES.map((name) => [name, columnsOf(name).map((column) => ({ column, hash: createHash('sha256') }))]),
  ) as Record<TableName, { readonly column: string; readonly hash: Hash }[]>

  add(name: TableName, block: Table): void {
    for (const { column, hash } of this.#hashes[name]) {
      const values = (block[column] as NumberColumn).subarray(0, block.length)
      hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    }
  }
  digest(strings: readonly string[]): string {
    const all = createHash('sha256')
    for (const name of TABLE_NAMES) for (const { hash } of this.#hashes[name]) all.update(hash.copy().digest('hex'))
    all.update(JSON.stringify(strings))
    return all.digest('hex')
  }
}

/** A session of several segments has one digest over theirs; one of a single segment, its own. */
export function digestOf(segments: readonly string[]): string {
  if (segments.length === 1) return segments[0] as string
  return createHash('sha256').update(segments.join('')).digest('hex')
}

/** Rows u32, then every column. */
export function appendBlock(log: AppendLog, name: TableName, block: Table): void {
  const columns = columnsOf(name).map((column) => (block[column] as NumberColumn).subarray(0, block.length))
  log.append(TABLES[name].kind, 4 + columns.reduce((sum, c) => sum + c.byteLength, 0), (target, start) => {
    target.writeUInt32LE(block.length, start)
    let at = start + 4
    for (const c of columns) {
      target.set(new Uint8Array(c.buffer, c.byteOffset, c.byteLength), at)
      at += c.byteLength
    }
  })
}
export function decodeBlock(name: TableName, { payload }: Frame): Table {
  const rows = payload.readUInt32LE(0)
  const block = TABLES[name].create(rows) as unknown as Table
  let at = 4
  for (const column of columnsOf(name)) {
    const values = block[column] as NumberColumn
    new Uint8Array(values.buffer).set(payload.subarray(at, at + values.byteLength))
    at += values.byteLength
  }
  block.length = rows
  return block
}
