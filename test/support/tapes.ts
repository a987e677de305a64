/** Folders of a test, rows of a tape as objects, and Parquet files of a test's own. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Database } from '../../data/parquet.ts'
import { openTape } from '../../data/tape-reader.ts'
import { Flag, KIND_NAMES } from '../../engine/message.ts'

const folders: string[] = []
export function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'tapeline-'))
  folders.push(dir)
  return dir
}
export function removeFolders(): void {
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true })
}

export type TapeRow = {
  time: number
  timeVenue: number
  ticker: string
  kind: string
  last: boolean
  executes: boolean
  side: 'bid' | 'ask'
  price: number
  quantity: number
  detail: Record<string, unknown> | null
}
export async function rowsOf(dir: string): Promise<TapeRow[]> {
  const rows: TapeRow[] = []
  const stream = await (await openTape(dir)).read({ decode: 'thread' })
  for await (const b of stream)
    for (let i = 0; i < b.length; i++) {
      const flags = b.flags[i] as number
      if ((flags & Flag.CHECKPOINT) !== 0) continue
      const detail = b.detail[i] as number
      rows.push({
        time: b.time[i] as number,
        timeVenue: b.timeVenue[i] as number,
        ticker: stream.tickers[b.market[i] as number] ?? '',
        kind: KIND_NAMES[b.kind[i] as number] as string,
        last: (flags & Flag.LAST) !== 0,
        executes: (flags & Flag.EXECUTION) !== 0,
        side: b.side[i] === 0 ? 'bid' : 'ask',
        price: b.price[i] as number,
        quantity: b.quantity[i] as number,
        detail: detail < 0 ? null : (JSON.parse(b.details[detail] as string) as Record<string, unknown>),
      })
    }
  return rows
}

export async function writeParquet(
  path: string,
  types: Readonly<Record<string, string>>,
  rows: readonly Record<string, unknown>[],
): Promise<string> {
  const db = await Database.open()
  await db.writeRows(path, types, rows)
  db.close()
  return path
}

export const iso = (us: number): string =>
  new Date(Math.floor(us / 1000)).toISOString().replace('Z', `${String(us % 1000).padStart(3, '0')}Z`)
