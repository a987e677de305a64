/**
 * Market rows in the append log: a batch as one frame of columns. Owns the layout of the payload and the numbers of markets inside a segment; hides the copying. Invariant: what is
 * decoded is what was encoded, row for row, and a segment names every market that its rows use.
 *
 * Payload: rows u32 · texts u32 · rows of the tape before it f64 · columns time, timeVenue, quantity (f64), market, price (i32), kind, flags, side (u8) · for each text:
 * row u32, bytes u32, UTF-8. Columns and not JSON lines: measured (bench/recorder.ts) about as fast in batches of one row, and with a checksum; 2 times in batches of 16, 8 times in batches
 * of 256; 35 to 68 bytes a row against 61.
 */
import { createBatch, type Batch } from '../engine/message.ts'
import type { AppendLog } from './log.ts'
import { FrameKind, type Frame } from './log-reader.ts'

const FIXED = 16
const ROW_BYTES = 8 * 3 + 4 * 2 + 3
const SMALL = 8

/** Appends `rows` rows of a batch. `market` numbers them by the segment's own numbers. */
export function appendRows(log: AppendLog, batch: Batch, market: Int32Array, rowsBefore: number): number {
  const n = batch.length
  let texts = 0
  let textBytes = 0
  for (let i = 0; i < n && batch.details.length > 0; i++) {
    const d = batch.detail[i] as number
    if (d < 0) continue
    texts++
    textBytes += 8 + Buffer.byteLength(batch.details[d] as string)
  }
  return log.append(FrameKind.ROWS, FIXED + n * ROW_BYTES + textBytes, (target, start) => {
    target.writeUInt32LE(n, start)
    target.writeUInt32LE(texts, start + 4)
    target.writeDoubleLE(rowsBefore, start + 8)
    let at = start + FIXED
    const columns = [batch.time, batch.timeVenue, batch.quantity, market, batch.price, batch.kind, batch.flags, batch.side]
    for (let c = 0; c < columns.length; c++) {
      const column = columns[c] as Float64Array | Int32Array | Uint8Array
      const width = column.BYTES_PER_ELEMENT
      // A live feed comes in batches of a row or two: for those a view costs more than the values.
      if (n > SMALL) target.set(new Uint8Array(column.buffer, column.byteOffset, n * width), at)
      else if (width === 8) for (let i = 0; i < n; i++) target.writeDoubleLE(column[i] as number, at + 8 * i)
      else if (width === 4) for (let i = 0; i < n; i++) target.writeInt32LE(column[i] as number, at + 4 * i)
      else for (let i = 0; i < n; i++) target[at + i] = column[i] as number
      at += n * width
    }
    for (let i = 0; i < n && texts > 0; i++) {
      const d = batch.detail[i] as number
      if (d < 0) continue
      const bytes = target.write(batch.details[d] as string, at + 8, 'utf8')
      target.writeUInt32LE(i, at)
      target.writeUInt32LE(bytes, at + 4)
      at += 8 + bytes
    }
  })
}

export function appendName(log: AppendLog, number: number, ticker: string): number {
  const size = 4 + Buffer.byteLength(ticker)
  return log.append(FrameKind.NAME, size, (target, at) => {
    target.writeUInt32LE(number, at)
    target.write(ticker, at + 4, 'utf8')
  })
}

/** Rows of the tape before a frame of rows, and how many it holds: without decoding it. */
export function rangeOf({ payload }: Frame): { readonly before: number; readonly rows: number } {
  return { before: payload.readDoubleLE(8), rows: payload.readUInt32LE(0) }
}

/** The names of one segment. */
export class SegmentNames {
  readonly #tickers: string[] = []
  add({ payload }: Frame): string {
    const ticker = payload.toString('utf8', 4)
    this.#tickers[payload.readUInt32LE(0)] = ticker
    return ticker
  }
  /** '' for −1. */
  at(number: number): string {
    return number < 0 ? '' : (this.#tickers[number] as string)
  }
}

/** A frame of rows as a batch; `market` holds the segment's numbers. */
export function decodeRows({ payload }: Frame): Batch {
  const n = payload.readUInt32LE(0)
  const texts = payload.readUInt32LE(4)
  const batch = createBatch(n)
  batch.length = n
  let at = FIXED
  for (const column of [
    batch.time,
    batch.timeVenue,
    batch.quantity,
    batch.market,
    batch.price,
    batch.kind,
    batch.flags,
    batch.side,
  ] as const) {
    const bytes = n * column.BYTES_PER_ELEMENT
    new Uint8Array(column.buffer).set(payload.subarray(at, at + bytes))
    at += bytes
  }
  batch.detail.fill(-1)
  for (let k = 0; k < texts; k++) {
    const size = payload.readUInt32LE(at + 4)
    batch.detail[payload.readUInt32LE(at)] = k
    batch.details.push(payload.toString('utf8', at + 8, at + 8 + size))
    at += 8 + size
  }
  return batch
}

/** Rows `start` … `end` − 1 of a batch, in the same memory. */
export function slice(batch: Batch, start: number, end: number): Batch {
  return {
    length: end - start,
    time: batch.time.subarray(start, end),
    timeVenue: batch.timeVenue.subarray(start, end),
    market: batch.market.subarray(start, end),
    kind: batch.kind.subarray(start, end),
    flags: batch.flags.subarray(start, end),
    side: batch.side.subarray(start, end),
    price: batch.price.subarray(start, end),
    quantity: batch.quantity.subarray(start, end),
    detail: batch.detail.subarray(start, end),
    details: batch.details,
  }
}
