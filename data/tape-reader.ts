/**
 * Reads a tape. Owns opening, its checks and the stream of batches; hides files, SQL and the worker that decodes beside the engine.
 * Invariants: rows come in file order whatever the batch size, and `time` never decreases.
 */
import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Batch, KindName } from '../engine/message.ts'
import { decode, type Columns, type DecodeRequest } from './decode.ts'
import { DataError } from './errors.ts'
import { follow } from './growing-tape.ts'
import { Database, quote } from './parquet.ts'
import type { CoverageRow, Manifest, MarketRow } from './schema.ts'
import { tailFacts, type Tail, type TailFacts } from './tail.ts'
import { batchOf, readManifest } from './tape-files.ts'
import { describeFile } from './tape-writer.ts'

export { readManifest } from './tape-files.ts'

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

/** Opens a tape folder. Throws DataError when it is none, of another schema, or a file is missing. Of a tape that grows it shows what there is at this moment. */
export async function openTape(dir: string): Promise<Tape> {
  const { stored, tail, before } = await snapshot(dir)
  const growing = stored.growing
  if (growing === undefined || before === null) {
    const markets = async (): Promise<MarketRow[]> => (await table(dir, stored, 'markets')) as unknown as MarketRow[]
    return {
      dir,
      manifest: stored,
      markets,
      coverage: async () => (await table(dir, stored, 'coverage')) as unknown as CoverageRow[],
      read: (options = {}) => read(dir, stored, null, options, markets),
    }
  }
  const known = new Set(before.markets.map((m) => m.ticker))
  const fresh = tail === null ? [] : tail.tickers.filter((ticker) => !known.has(ticker))
  const request: Tail | null =
    tail === null || tail.rows === 0
      ? null
      : {
          dir,
          log: join(dir, growing.log),
          from: growing.rows,
          to: tail.end,
          files: stored.files.filter((f) => f.path.startsWith('messages/')).map((f) => f.path),
        }
  // Asked for by few: what the tail changes is worked out then, and once.
  let loaded: Promise<Tables> | null = null
  const tables = (): Promise<Tables> => (loaded ??= request === null ? Promise.resolve(before) : withNews(stored, request, before, fresh))
  const markets = async (): Promise<MarketRow[]> => (await tables()).markets
  return {
    dir,
    manifest: tail === null || tail.rows === 0 ? stored : withTail(stored, tail, fresh.length),
    markets,
    coverage: async () => (await tables()).coverage,
    read: (options = {}) => read(dir, stored, request, options, markets),
  }
}

type Tables = { readonly markets: MarketRow[]; readonly coverage: CoverageRow[] }

/** The manifest with everything that it names found. Of a tape that grows its small tables and the log's tail at one moment: the recorder may replace them between two looks, then it is looked again. */
async function snapshot(dir: string): Promise<{ stored: Manifest; tail: TailFacts | null; before: Tables | null }> {
  for (let attempt = 0; ; attempt++) {
    const stored = await readManifest(dir)
    const { growing } = stored
    const changed = async (): Promise<boolean> =>
      growing !== undefined && attempt < 20 && (await readManifest(dir)).digest !== stored.digest
    try {
      for (const file of stored.files) {
        const path = join(dir, file.path)
        if (!existsSync(path))
          throw new DataError('FILE_MISSING', `${path} is named in the manifest and is not there: the tape is damaged, import it again`)
      }
      for (const file of stored.files) if ((await stat(join(dir, file.path))).size !== file.bytes) throw damaged(dir, file.path)
      if (growing === undefined) return { stored, tail: null, before: null }
      const before = {
        markets: (await table(dir, stored, 'markets')) as unknown as MarketRow[],
        coverage: (await table(dir, stored, 'coverage')) as unknown as CoverageRow[],
      }
      const tail = tailFacts(dir, growing)
      if (!(await changed())) return { stored, tail, before }
    } catch (error) {
      if (!(await changed())) throw error
    }
  }
}

/** A small table, whole. */
async function table(dir: string, manifest: Manifest, name: 'markets' | 'coverage'): Promise<Record<string, unknown>[]> {
  const known = manifest.files.find((f) => f.path.startsWith(`${name}.`))
  if (known === undefined || (await describeFile(dir, known.path, 0)).sha256 !== known.sha256)
    throw damaged(dir, known?.path ?? `${name}.parquet`)
  const db = await Database.open()
  try {
    return await db.rows(`SELECT * FROM read_parquet(${quote(join(dir, known.path))})`)
  } catch (error) {
    throw new DataError(
      'TAPE_DAMAGED',
      `${join(dir, known.path)} cannot be read: \`tapeline data verify ${dir}\` says which file is damaged`,
      error,
    )
  } finally {
    db.close()
  }
}

/** `fresh`: markets of which no part knows. */
function withTail(manifest: Manifest, tail: TailFacts, fresh: number): Manifest {
  const paired = tail.paired || manifest.labelBasis === 'paired with prints' || manifest.labelBasis === 'mixed'
  const inferred = tail.inferred || manifest.labelBasis === 'inferred' || manifest.labelBasis === 'mixed'
  const byKind: Partial<Record<KindName, number>> = { ...manifest.byKind }
  for (const [kind, n] of Object.entries(tail.byKind)) byKind[kind as KindName] = (byKind[kind as KindName] ?? 0) + n
  return {
    ...manifest,
    rows: manifest.rows + tail.rows,
    markets: manifest.markets + fresh,
    labelBasis: paired && inferred ? 'mixed' : paired ? 'paired with prints' : inferred ? 'inferred' : manifest.labelBasis,
    byKind,
    from: manifest.rows === 0 ? tail.from : manifest.from,
    to: tail.to,
    lagMax: Math.max(manifest.lagMax, tail.lagMax),
    gaps: manifest.gaps + tail.losses.gaps,
    disconnects: (manifest.disconnects ?? 0) + tail.losses.disconnects,
    breaks: { count: (manifest.breaks?.count ?? 0) + tail.losses.breaks, time: (manifest.breaks?.time ?? 0) + tail.losses.down },
  }
}

/** The tables with what the tail adds to them. */
async function withNews(manifest: Manifest, tail: Tail, before: Tables, fresh: readonly string[]): Promise<Tables> {
  const tickers = [...before.markets.map((m) => m.ticker), ...fresh]
  const { parts, ledger } = await follow(tail.dir, manifest, undefined, {}, before)
  parts.close()
  const request: DecodeRequest = { files: [], tickers, chosen: null, from: null, to: null, batchRows: 65_536, tail }
  for await (const columns of decode(request, () => null)) {
    const batch = batchOf(columns)
    for (let i = 0; i < batch.length; i++) {
      const m = batch.market[i] as number
      ledger.row(batch, i, m < 0 ? '' : (tickers[m] as string))
    }
  }
  const news = ledger.take()
  const replaced = new Map(news.markets.map((m) => [m.ticker, m]))
  const hours = new Set(news.coverage.map((c) => `${c.market} ${c.hour}`))
  const known = new Set(before.markets.map((m) => m.ticker))
  return {
    markets: [...before.markets.map((m) => replaced.get(m.ticker) ?? m), ...news.markets.filter((m) => !known.has(m.ticker))],
    coverage: [...before.coverage.filter((c) => !hours.has(`${c.market} ${c.hour}`)), ...news.coverage],
  }
}

/** Small tables are checked whole each time they are read; the messages, which are large, by size here and whole by `data verify`. */
function damaged(dir: string, file: string): DataError {
  return new DataError(
    'TAPE_DAMAGED',
    `${join(dir, file)} is not the file that the manifest describes: \`tapeline data verify ${dir}\` says more; import the tape again`,
  )
}

async function read(
  dir: string,
  manifest: Manifest,
  tail: Tail | null,
  options: ReadOptions,
  markets: () => Promise<MarketRow[]>,
): Promise<TapeStream> {
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
    tail,
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
