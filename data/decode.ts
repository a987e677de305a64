/**
 * Decoding: Parquet → columns of a batch, no object per row. Owns the SQL of a replay and the cut into batches; runs in the caller's thread
 * or in a worker. Invariant: file order, and `time` that never decreases.
 */
import { join } from 'node:path'
import { assert } from '../engine/assert.ts'
import { Flag, Kind } from '../engine/message.ts'
import { DataError } from './errors.ts'
import { Database, quote, type Piece } from './parquet.ts'
import { logRows, type Tail } from './tail.ts'
import { readManifest } from './tape-files.ts'

export type DecodeRequest = {
  readonly files: readonly string[]
  /** All tickers of the tape: their positions are the feed numbers. */
  readonly tickers: readonly string[]
  /** Those wanted, null for all. */
  readonly chosen: readonly string[] | null
  readonly from: number | null
  readonly to: number | null
  readonly batchRows: number
  /** Rows behind the files: of a tape that grows. */
  readonly tail: Tail | null
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
  /** Copies as many rows of the piece as fit from `start` on, and returns where it stopped. */
  const copy = (piece: Rows, start: number): number => {
    const time = piece.column(0)
    const kind = piece.column(3)
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
        throw new DataError('TAPE_DAMAGED', 'the rows of the tape are not in the order of their time: the tape is damaged, import it again')
      last = t
      if ((kind[start + k] as number) >= Kind.CANDLE) {
        const text = piece.text(DETAIL_COLUMN, start + k)
        views.detail[length + k] = details.length
        details.push(text ?? '{}')
      } else views.detail[length + k] = -1
    }
    length += n
    return end
  }
  const next = async (): Promise<void> => {
    views = viewsOf((await reuse()) ?? allocate(rows))
    length = 0
    details = []
  }
  try {
    await db.run(`CREATE TYPE ticker AS ENUM (${['', ...request.tickers].map(quote).join(', ')})`)
    for (const sql of await plan(db, request)) {
      for await (const piece of db.pieces(sql)) {
        for (let start = 0; start < piece.rows; ) {
          start = copy(piece, start)
          if (length < rows) continue
          yield full()
          await next()
        }
      }
    }
    if (request.tail !== null) {
      for await (const piece of tailPieces(db, request, request.tail)) {
        for (let start = 0; start < piece.rows; ) {
          start = copy(piece, start)
          if (length < rows) continue
          yield full()
          await next()
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

type Rows = Pick<Piece, 'rows' | 'column' | 'text'>

/** The tail in the form of pieces: out of the log, and out of parts that were made of it meanwhile. */
async function* tailPieces(db: Database, request: DecodeRequest, tail: Tail): AsyncIterableIterator<Rows> {
  const numbers = new Map(request.tickers.map((ticker, i) => [ticker, i + 1]))
  const wanted = request.chosen === null ? null : new Set(['', ...request.chosen])
  const until = request.to ?? Infinity
  const known = new Set(tail.files)
  let next = tail.from
  let partsEnd = tail.from
  for (let fruitless = 0; next < tail.to; ) {
    for (const { batch, names } of logRows(tail.log, next, tail.to)) {
      next += batch.length
      const { market } = batch
      let n = 0
      // In place: the batch is nobody else's.
      for (let i = 0; i < batch.length; i++) {
        if ((batch.time[i] as number) > until) continue
        const ticker = names.at(market[i] as number)
        if (wanted !== null && !wanted.has(ticker)) continue
        for (const column of [batch.time, batch.timeVenue, batch.kind, batch.flags, batch.side, batch.price, batch.quantity, batch.detail])
          column[n] = column[i] as number
        market[n++] = ticker === '' ? 0 : (numbers.get(ticker) as number)
      }
      const columns = [batch.time, batch.timeVenue, market, batch.kind, batch.flags, batch.side, batch.price, batch.quantity]
      yield {
        rows: n,
        column: (index) => columns[index] as (typeof columns)[number],
        text: (_, row) => ((batch.detail[row] as number) < 0 ? null : (batch.details[batch.detail[row] as number] as string)),
      }
    }
    if (next >= tail.to) return
    const files = (await readManifest(tail.dir)).files.filter((f) => f.path.startsWith('messages/') && !known.has(f.path))
    for (const { path } of files) {
      known.add(path)
      const source = `SELECT *, row_number() OVER (ORDER BY file_row_number) AS own_row FROM read_parquet(${quote(join(tail.dir, path))}, file_row_number = true) WHERE (flags & ${Flag.CHECKPOINT}) = 0`
      const [count] = await db.rows(`SELECT count(*) AS n FROM (${source})`)
      // Its first rows may have been read from the log, its last ones may lie behind the end.
      const range = `own_row > ${next - partsEnd} AND own_row <= ${tail.to - partsEnd}`
      yield* db.pieces(`${SELECT} FROM (${source}) WHERE ${range}${selection(request)} ORDER BY own_row`)
      partsEnd += Number(count?.['n'])
      next = Math.max(next, Math.min(partsEnd, tail.to))
    }
    fruitless = files.length > 0 ? 0 : fruitless + 1
    if (fruitless > 20)
      throw new DataError(
        'TAPE_DAMAGED',
        `${tail.log} lacks rows of the tape ${tail.dir} that it held before: \`tapeline data verify\` says more`,
      )
    if (fruitless > 0) await new Promise((resolve) => setTimeout(resolve, 50))
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

const SELECT = `SELECT time::DOUBLE, time_venue::DOUBLE, market::ticker, kind, flags, side, price, quantity::DOUBLE, detail`
function selection({ chosen, to }: DecodeRequest): string {
  const wanted = chosen === null ? '' : ` AND market IN (${['', ...chosen].map(quote).join(', ')})`
  return `${wanted}${to === null ? '' : ` AND time <= ${to}`}`
}

/** One query a file, in order. Before the starting point only rare rows; from there on everything. */
async function plan(db: Database, request: DecodeRequest): Promise<string[]> {
  const chosen = selection(request)
  const start = request.from === null ? null : await startingPoint(db, request)
  const queries: string[] = []
  request.files.forEach((file, i) => {
    const source = `FROM read_parquet(${quote(file)}, file_row_number = ${start === null ? 'false' : 'true'})`
    if (start === null || i > start.file) queries.push(`${SELECT} ${source} WHERE true${chosen}`)
    else if (i < start.file) queries.push(`${SELECT} ${source} WHERE kind >= ${Kind.CATALOG}${chosen}`)
    else queries.push(`${SELECT} ${source} WHERE (kind >= ${Kind.CATALOG} OR file_row_number >= ${start.row})${chosen}`)
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
