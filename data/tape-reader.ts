/**
 * Reads a tape. Owns opening, its checks and the stream of batches; hides files, SQL and the worker that decodes beside the engine.
 * Invariants: rows come in file order whatever the batch size, and `time` never decreases.
 */
import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Batch } from '../engine/message.ts'
import { decode, type Columns, type DecodeRequest } from './decode.ts'
import { DataError } from './errors.ts'
import { describeFile } from './tape-writer.ts'
import { Database, quote } from './parquet.ts'
import { TAPE_SCHEMA, type CoverageRow, type Manifest, type MarketRow } from './schema.ts'

export type ReadOptions = {
  /** µs: rows from the last full checkpoint at or before it on, and every rare row before that. */
  readonly from?: number | null
  /** µs: rows up to and including it. */
  readonly to?: number | null
  readonly tickers?: readonly string[] | null
  readonly series?: readonly string[] | null
  readonly batchRows?: number
  /** `worker`: beside the caller, in the shipped program; `thread`: in this thread. */
  readonly decode?: 'worker' | 'thread'
}

export type TapeStream = AsyncIterable<Batch> & {
  /** Tickers by the feed numbers in the batches. */
  readonly tickers: readonly string[]
}

export type Tape = {
  readonly dir: string
  readonly manifest: Manifest
  markets(): Promise<MarketRow[]>
  coverage(): Promise<CoverageRow[]>
  read(options?: ReadOptions): Promise<TapeStream>
}

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

/** Opens a tape folder. Throws DataError when it is none, of another schema, or a file is missing. */
export async function openTape(dir: string): Promise<Tape> {
  const manifest = await readManifest(dir)
  for (const file of manifest.files) {
    if (!existsSync(join(dir, file.path)))
      throw new DataError(
        'FILE_MISSING',
        `${join(dir, file.path)} is named in the manifest and is not there: the tape is damaged, import it again`,
      )
  }
  for (const file of manifest.files) {
    const { size } = await stat(join(dir, file.path))
    if (size !== file.bytes) throw damaged(dir, file.path)
  }
  const table = async (file: string): Promise<Record<string, unknown>[]> => {
    const known = manifest.files.find((f) => f.path === file)
    if (known === undefined || (await describeFile(dir, file, 0)).sha256 !== known.sha256) throw damaged(dir, file)
    const db = await Database.open()
    try {
      return await db.rows(`SELECT * FROM read_parquet(${quote(join(dir, file))})`)
    } catch (error) {
      throw new DataError(
        'TAPE_DAMAGED',
        `${join(dir, file)} cannot be read: \`tapeline data verify ${dir}\` says which file is damaged`,
        error,
      )
    } finally {
      db.close()
    }
  }
  return {
    dir,
    manifest,
    markets: async () => (await table('markets.parquet')) as unknown as MarketRow[],
    coverage: async () => (await table('coverage.parquet')) as unknown as CoverageRow[],
    read: (options = {}) => read(dir, manifest, options, async () => (await table('markets.parquet')) as unknown as MarketRow[]),
  }
}

/** Small tables are checked whole each time they are read; the messages, which are large, by size here and whole by `data verify`. */
function damaged(dir: string, file: string): DataError {
  return new DataError(
    'TAPE_DAMAGED',
    `${join(dir, file)} is not the file that the manifest describes: \`tapeline data verify ${dir}\` says more; import the tape again`,
  )
}

async function read(dir: string, manifest: Manifest, options: ReadOptions, markets: () => Promise<MarketRow[]>): Promise<TapeStream> {
  const rows = await markets()
  const all = rows.map((r) => r.ticker)
  const { tickers = null, series = null } = options
  if (tickers !== null) {
    for (const ticker of tickers)
      if (!all.includes(ticker)) throw new DataError('MARKET_UNKNOWN', `market ${ticker} is not on the tape ${dir}${nearest(ticker, all)}`)
  }
  if (series !== null) {
    const known = [...new Set(rows.map((r) => r.series))]
    for (const s of series)
      if (!known.includes(s)) throw new DataError('MARKET_UNKNOWN', `series ${s} is not on the tape ${dir}${nearest(s, known)}`)
  }
  const chosen = rows
    .filter((r) => (tickers === null || tickers.includes(r.ticker)) && (series === null || series.includes(r.series)))
    .map((r) => r.ticker)
  const request: DecodeRequest = {
    files: manifest.files.filter((f) => f.path.startsWith('messages/')).map((f) => join(dir, f.path)),
    tickers: all,
    chosen: chosen.length === all.length ? null : chosen,
    // Without books there are no checkpoints to start from.
    from: manifest.depth === 'book' ? (options.from ?? null) : null,
    to: options.to ?? null,
    batchRows: options.batchRows ?? 65_536,
  }
  const source = options.decode === 'worker' ? () => fromWorker(request) : () => fromThread(request)
  return { tickers: all, [Symbol.asyncIterator]: source }
}

function nearest(name: string, known: readonly string[]): string {
  const start = known.filter((k) => k.startsWith(name.slice(0, 6)) || k.includes(name)).slice(0, 3)
  return start.length > 0
    ? ` (it has ${start.join(', ')}${known.length > start.length ? ', …' : ''})`
    : ` (it has ${known.slice(0, 3).join(', ')}${known.length > 3 ? ', …' : ''})`
}

async function* fromThread(request: DecodeRequest): AsyncIterator<Batch> & AsyncIterable<Batch> {
  for await (const columns of decode(request, () => null)) yield batchOf(columns)
}

function batchOf(c: Columns): Batch {
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

/** How many batches may be on their way at once. */
const RING = 4

/** Decoding in a worker: it fills buffers, this side hands them back once the batch was used. */
async function* fromWorker(request: DecodeRequest): AsyncIterator<Batch> & AsyncIterable<Batch> {
  const worker = new Worker(new URL('./decode-worker.js', import.meta.url), { workerData: { request, ring: RING } })
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  const ready: (Columns | null)[] = []
  let failed: unknown = null
  let wake: (() => void) | null = null
  const notify = (): void => {
    wake?.()
    wake = null
  }
  worker.on('message', (message: { columns: Columns | null; error?: { message: string; code?: string } }) => {
    if (message.error !== undefined) failed = new DataError('TAPE_DAMAGED', message.error.message)
    else ready.push(message.columns)
    notify()
  })
  worker.on('error', (error) => {
    failed = error
    notify()
  })
  worker.on('exit', () => {
    failed ??= new DataError('FILE_UNREADABLE', 'the decoding worker ended early: run it again, with more memory when it happens again')
    notify()
  })
  try {
    for (;;) {
      while (ready.length === 0 && failed === null) await new Promise<void>((resolve) => (wake = resolve))
      if (ready.length === 0) throw failed
      const columns = ready.shift() as Columns | null
      if (columns === null) return
      yield batchOf(columns)
      const { length: _length, details: _details, ...buffers } = columns
      worker.postMessage(buffers, Object.values(buffers))
    }
  } finally {
    // Asked to stop, never killed: a thread that is ended inside a native call takes the process with it.
    worker.postMessage(null)
    await ended
  }
}
