/**
 * Decoding: Parquet → columns of a batch, no object per row. Owns the SQL of a replay and the cut into batches; runs in the caller's thread
 * or in a worker. Invariant: file order, and `time` that never decreases.
 */
import { assert } from '../engine/assert.ts'
import { Flag, Kind } from '../engine/message.ts'
import { DataError } from './errors.ts'
import { Database, quote } from './parquet.ts'

export type DecodeRequest = {
  readonly files: readonly string[]
  /** All tickers of the tape: their positions are the feed numbers. */
  readonly tickers: readonly string[]
  /** Those wanted, null for all. */
  readonly chosen: readonly string[] | null
  readonly from: number | null
  readonly to: number | null
  readonly batchRows: number
}

/** A batch as buffers that can change threads. */
export type Columns = Buffers & { length: number; details: string[] }
export type Buffers = {
  time: ArrayBuffer
  timeVenue: ArrayBuffer
  market: ArrayBuffer
  kind: ArrayBuffer
  flags: ArrayBuffer
  side: ArrayBuffer
  price: ArrayBuffer
  quantity: ArrayBuffer
  detail: ArrayBuffer
}

const DETAIL_COLUMN = 8

function allocate(rows: number): Buffers {
  return {
    time: new ArrayBuffer(rows * 8),
    timeVenue: new ArrayBuffer(rows * 8),
    market: new ArrayBuffer(rows * 4),
    kind: new ArrayBuffer(rows),
    flags: new ArrayBuffer(rows),
    side: new ArrayBuffer(rows),
    price: new ArrayBuffer(rows * 4),
    quantity: new ArrayBuffer(rows * 8),
    detail: new ArrayBuffer(rows * 4),
  }
}

/** Columns in order. `reuse` offers buffers that came back, or null. */
export async function* decode(
  request: DecodeRequest,
  reuse: () => Buffers | null | Promise<Buffers | null>,
): AsyncIterableIterator<Columns> {
  const db = await Database.open({ threads: 1, memory: 256 })
  const rows = request.batchRows
  let views = viewsOf((await reuse()) ?? allocate(rows))
  let length = 0
  let details: string[] = []
  let last = -Infinity
  const full = (): Columns => ({ ...views.buffers, length, details })
  try {
    await db.run(`CREATE TYPE ticker AS ENUM (${['', ...request.tickers].map(quote).join(', ')})`)
    for (const sql of await plan(db, request)) {
      for await (const piece of db.pieces(sql)) {
        const time = piece.column(0)
        const kind = piece.column(3)
        for (let start = 0; start < piece.rows; ) {
          const n = Math.min(piece.rows - start, rows - length)
          const end = start + n
          views.time.set(time.subarray(start, end), length)
          views.timeVenue.set(piece.column(1).subarray(start, end), length)
          const market = piece.column(2)
          for (let k = 0; k < n; k++) views.market[length + k] = (market[start + k] as number) - 1
          views.kind.set(kind.subarray(start, end), length)
          views.flags.set(piece.column(4).subarray(start, end), length)
          views.side.set(piece.column(5).subarray(start, end), length)
          views.price.set(piece.column(6).subarray(start, end), length)
          views.quantity.set(piece.column(7).subarray(start, end), length)
          for (let k = 0; k < n; k++) {
            const t = time[start + k] as number
            if (t < last)
              throw new DataError(
                'TAPE_DAMAGED',
                'the rows of the tape are not in the order of their time: the tape is damaged, import it again',
              )
            last = t
            if ((kind[start + k] as number) >= Kind.CANDLE) {
              const text = piece.text(DETAIL_COLUMN, start + k)
              views.detail[length + k] = details.length
              details.push(text ?? '{}')
            } else views.detail[length + k] = -1
          }
          length += n
          start = end
          if (length === rows) {
            yield full()
            views = viewsOf((await reuse()) ?? allocate(rows))
            length = 0
            details = []
          }
        }
      }
    }
    if (length > 0) yield full()
  } catch (error) {
    if (error instanceof DataError) throw error
    throw new DataError(
      'TAPE_DAMAGED',
      `a file of the tape cannot be read (${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}): \`tapeline data verify\` names it`,
      error,
    )
  } finally {
    db.close()
  }
}

type Views = {
  buffers: Buffers
  time: Float64Array
  timeVenue: Float64Array
  market: Int32Array
  kind: Uint8Array
  flags: Uint8Array
  side: Uint8Array
  price: Int32Array
  quantity: Float64Array
  detail: Int32Array
}
function viewsOf(buffers: Buffers): Views {
  return {
    buffers,
    time: new Float64Array(buffers.time),
    timeVenue: new Float64Array(buffers.timeVenue),
    market: new Int32Array(buffers.market),
    kind: new Uint8Array(buffers.kind),
    flags: new Uint8Array(buffers.flags),
    side: new Uint8Array(buffers.side),
    price: new Int32Array(buffers.price),
    quantity: new Float64Array(buffers.quantity),
    detail: new Int32Array(buffers.detail),
  }
}

/** One query a file, in order. Before the starting point only rare rows; from there on everything. */
async function plan(db: Database, request: DecodeRequest): Promise<string[]> {
  const select = `SELECT time::DOUBLE, time_venue::DOUBLE, market::ticker, kind, flags, side, price, quantity::DOUBLE, detail`
  const wanted = request.chosen === null ? '' : ` AND market IN ('', ${request.chosen.map(quote).join(', ')})`
  const until = request.to === null ? '' : ` AND time <= ${request.to}`
  const start = request.from === null ? null : await startingPoint(db, request)
  const queries: string[] = []
  request.files.forEach((file, i) => {
    const source = `FROM read_parquet(${quote(file)}, file_row_number = ${start === null ? 'false' : 'true'})`
    if (start === null || i > start.file) queries.push(`${select} ${source} WHERE true${wanted}${until}`)
    else if (i < start.file) queries.push(`${select} ${source} WHERE kind >= ${Kind.CATALOG}${wanted}${until}`)
    else queries.push(`${select} ${source} WHERE (kind >= ${Kind.CATALOG} OR file_row_number >= ${start.row})${wanted}${until}`)
  })
  return queries
}

/** The latest place at or before `from` where every book is repeated: the first checkpoint row of its hour. */
async function startingPoint(db: Database, request: DecodeRequest): Promise<{ file: number; row: number }> {
  assert(request.from !== null, 'a starting point needs a time')
  for (let file = request.files.length - 1; file >= 0; file--) {
    const rows = await db.rows(
      `SELECT min(file_row_number) AS first FROM read_parquet(${quote(request.files[file] as string)}, file_row_number = true)
       WHERE (flags & ${Flag.CHECKPOINT}) <> 0 AND time <= ${request.from}
       GROUP BY time ORDER BY time DESC LIMIT 1`,
    )
    const first = rows[0]?.['first']
    if (typeof first === 'number') return { file, row: first }
  }
  return { file: 0, row: 0 }
}
