/**
 * A tape that grows: rows of the append log become its parts. Owns the manifest while it grows and the way back into memory after a crash; hides when a part is cut. Invariants: a
 * row stands in exactly one place, a part that the manifest names or the log behind it; the manifest changes by rename, after everything that it names is on disk; a reader with
 * any manifest finds what it names. Parts come from the log alone, so a recording that goes on and one that is recovered are one path.
 */
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Flag, KIND_NAMES } from '../engine/message.ts'
import { HOUR } from '../engine/units.ts'
import { decode } from './decode.ts'
import { DataError, diskError } from './errors.ts'
import { Ledger, type KnownMarket, type Note } from './ledger.ts'
import { syncFile, syncFolder, type AppendLog } from './log.ts'
import { FrameKind, SegmentReader, segmentName, segmentsOf, type Frame } from './log-reader.ts'
import { decodeRows, rangeOf, SegmentNames, slice } from './log-rows.ts'
import { Database, quote } from './parquet.ts'
import { PartWriter } from './part-writer.ts'
import { COVERAGE_TYPES, MARKET_TYPES, TAPE_SCHEMA, type CoverageRow, type Manifest, type MarketRow } from './schema.ts'
import { manifestText, sealed } from './manifest.ts'
import { batchOf, readManifest } from './tape-files.ts'
import { describeFile } from './tape-writer.ts'

export type TapeIdentity = Pick<Manifest, 'name' | 'source' | 'practice' | 'depth' | 'origin'>

/** Rows of the log that are digested between two turns of the event loop. */
const SLICE = 4096
/** What a full disk does to the tape. */
const SAFE = 'the rows are safe in the log and become a part later'

export class GrowingTape {
  readonly #dir: string
  readonly #log: AppendLog
  readonly #fileRows: number | undefined
  #manifest: Manifest
  #parts!: PartWriter
  #ledger!: Ledger
  #reader: SegmentReader | null = null
  #segment = -1
  #names = new SegmentNames()
  /** Sequence of the frame that is digested just now, and of the last one that is done. */
  #frame = 0
  #done = 0
  #running: Promise<void> | null = null
  #broken = false

  private constructor(dir: string, log: AppendLog, manifest: Manifest, fileRows: number | undefined) {
    this.#dir = dir
    this.#log = log
    this.#manifest = manifest
    this.#fileRows = fileRows
  }

  /** Begins a tape at `dir`, or goes on with one: what the log holds becomes parts first. */
  static async open(
    dir: string,
    log: AppendLog,
    where: 'log' | '../log',
    identity: TapeIdentity,
    options: { readonly fileRows?: number } = {},
  ): Promise<GrowingTape> {
    await mkdir(dir, { recursive: true })
    const tape = new GrowingTape(dir, log, await manifestFor(dir, where, identity, log), options.fileRows)
    await tape.#sweep()
    await tape.#load()
    await tape.pump()
    await tape.#flush()
    return tape
  }

  get manifest(): Manifest {
    return this.#manifest
  }
  /** Rows that stand in parts. */
  get rows(): number {
    return this.#manifest.growing?.rows ?? 0
  }
  /** Rows digested and not yet in a part. */
  get rowsOpen(): number {
    return this.#parts.rowsOpen
  }
  /** Markets that have not paid, as the tape knows them. */
  *alive(): IterableIterator<KnownMarket> {
    for (const { ticker, kept } of this.#parts.alive()) yield { catalog: kept.catalog, ...this.#ledger.result(ticker) }
  }
  get to(): number {
    return this.#parts.totals.to
  }
  /** Rows known so far, those in no part included. */
  get rowsOwn(): number {
    return this.#parts.totals.rowsOwn
  }

  /** Digests what the log holds by now. After a failure (a full disk) it starts again from what is on disk. */
  pump(): Promise<void> {
    this.#running ??= this.#digest().finally(() => (this.#running = null))
    return this.#running
  }
  /** A part is cut before the next row that can start another. */
  rotate(): void {
    this.#parts.cut()
  }
  /** All that the log holds becomes parts, and the tape is as if it had been written at once. `keepLog`: a session still needs its own frames. */
  async finish(keepLog: boolean): Promise<Manifest> {
    await this.pump()
    if (this.#parts.rowsOpen > 0) await this.#flush()
    else await this.#commit(null)
    const { growing: _growing, ...manifest } = this.#manifest
    const files = [...manifest.files]
    for (const [k, file] of files.entries()) {
      const name = /^(markets|coverage)\.\d+\.parquet$/.exec(file.path)?.[1]
      if (name === undefined) continue
      // A second name for the same bytes: readers of the last manifest go on finding theirs until the sweep.
      await copyTo(join(this.#dir, file.path), join(this.#dir, `${name}.parquet`))
      files[k] = { ...file, path: `${name}.parquet` }
    }
    this.#manifest = { ...manifest, files }
    await this.#writeManifest()
    this.close()
    if (!keepLog) await this.#log.remove()
    await this.#sweep()
    return this.#manifest
  }
  close(): void {
    this.#parts.close()
    this.#reader?.close()
    this.#reader = null
  }

  // ---------------------------------------------------------------------------------------------- log → parts

  async #digest(): Promise<void> {
    if (this.#broken) {
      this.close()
      this.#manifest = await readManifest(this.#dir)
      await this.#load()
      this.#broken = false
    }
    try {
      let slice = 0
      for (let frame = this.#next(); frame !== null; frame = this.#next()) {
        this.#frame = frame.sequence
        if (frame.kind === FrameKind.NAME) this.#names.add(frame)
        else if (frame.kind === FrameKind.NOTE) {
          if (frame.sequence > (this.#manifest.growing?.sequence ?? 0))
            this.#ledger.note(JSON.parse(frame.payload.toString('utf8')) as Note)
        } else if (frame.kind === FrameKind.ROWS) slice += await this.#rowsOf(frame)
        this.#done = frame.sequence
        if (slice < SLICE) continue
        slice = 0
        await new Promise(setImmediate)
      }
    } catch (error) {
      this.#broken = true
      throw diskError(error, this.#dir, SAFE)
    }
  }

  async #rowsOf(frame: Frame): Promise<number> {
    const { before, rows } = rangeOf(frame)
    const have = this.#parts.totals.rowsOwn
    if (before + rows <= have) return 0
    if (before > have)
      throw new DataError(
        'LOG_DAMAGED',
        `${this.#log.dir} lacks ${before - have} rows of the tape ${this.#dir}: a segment of it was removed`,
      )
    const batch = decodeRows(frame)
    for (let i = 0; i < rows; i++) {
      const number = batch.market[i] as number
      batch.market[i] = number < 0 ? -1 : this.#parts.market(this.#names.at(number))
    }
    await this.#parts.append(before === have ? batch : slice(batch, have - before, rows))
    return rows
  }

  #next(): Frame | null {
    for (;;) {
      const { segment, offset } = this.#log.position
      if (this.#reader === null) {
        const next = segmentsOf(this.#log.dir).find((s) => s.number > this.#segment)
        if (next === undefined) return null
        this.#reader = new SegmentReader(next.path)
        this.#segment = next.number
        this.#names = new SegmentNames()
      }
      const frame = this.#reader.next(this.#segment === segment ? offset : Infinity)
      if (frame !== null || this.#segment === segment) return frame
      const { problem } = this.#reader
      if (problem !== null)
        throw new DataError(
          'LOG_DAMAGED',
          `${join(this.#log.dir, segmentName(this.#segment))} is damaged at byte ${problem.offset} (${problem.reason})`,
        )
      this.#reader.close()
      this.#reader = null
    }
  }

  async #flush(): Promise<void> {
    if (this.#parts.rowsOpen === 0) return
    this.#frame = this.#done + 1
    try {
      await this.#parts.flush()
    } catch (error) {
      this.#broken = true
      throw diskError(error, this.#dir, SAFE)
    }
  }

  /** A part is whole: the manifest names it, and the log may forget its rows. Null: there is news without a row. */
  async #commit(written: { readonly path: string; readonly rows: number } | null): Promise<void> {
    const { growing } = this.#manifest
    if (growing === undefined) throw new DataError('TAPE_DAMAGED', `${this.#dir} is finished: it takes no more rows`)
    const files = this.#manifest.files.filter((f) => f.path.startsWith('messages/'))
    if (written === null) this.#frame = this.#done + 1
    else {
      files.push(await describeFile(this.#dir, written.path, written.rows))
      await syncFolder(join(this.#dir, dirname(written.path)))
      await syncFolder(join(this.#dir, 'messages'))
    }
    // A session's own frames stand between the rows: a part must not outlive what was written before it.
    await this.#log.sync()
    const { markets, coverage } = this.#ledger.take()
    const generation = growing.generation + 1
    const tables = await this.#tables(generation, markets, coverage)
    const { totals } = this.#parts
    this.#manifest = {
      ...this.#manifest,
      files: [...files, ...tables],
      rows: totals.rows,
      checkpoints: totals.rows - totals.rowsOwn,
      byKind: this.#parts.byKind,
      markets: this.#ledger.markets,
      from: Math.max(0, totals.from),
      to: Math.max(0, totals.to),
      lagMax: totals.lagMax,
      ...this.#ledger.facts(),
      growing: { ...growing, rows: totals.rowsOwn, sequence: this.#frame - 1, generation },
    }
    await this.#writeManifest()
    for (const name of ['markets', 'coverage']) await rm(join(this.#dir, `${name}.${generation - 2}.parquet`), { force: true })
    await this.#log.release(this.#frame - 1)
  }

  async #tables(generation: number, markets: readonly MarketRow[], coverage: readonly CoverageRow[]): Promise<Manifest['files'][number][]> {
    const out = []
    for (const [name, types, rows, key] of [
      ['markets', MARKET_TYPES, markets, ['ticker']],
      ['coverage', COVERAGE_TYPES, coverage, ['market', 'hour']],
    ] as const) {
      const old = this.#manifest.files.find((f) => f.path.startsWith(`${name}.`))
      const path = `${name}.${generation}.parquet`
      const target = join(this.#dir, path)
      try {
        const over = old === undefined ? undefined : { path: join(this.#dir, old.path), key }
        await this.#parts.database.writeRows(`${target}.tmp`, types, rows, over)
        await syncFile(`${target}.tmp`)
      } catch (error) {
        await rm(`${target}.tmp`, { force: true })
        throw error
      }
      await rename(`${target}.tmp`, target)
      const [count] = await this.#parts.database.rows(`SELECT count(*) AS n FROM read_parquet(${quote(target)})`)
      out.push(await describeFile(this.#dir, path, Number(count?.['n'])))
    }
    return out
  }

  async #writeManifest(): Promise<void> {
    const { digest: _digest, ...manifest } = this.#manifest
    this.#manifest = sealed(manifest)
    const path = join(this.#dir, 'manifest.json')
    const handle = await open(`${path}.tmp`, 'w')
    try {
      await handle.writeFile(manifestText(this.#manifest))
      await handle.sync()
    } finally {
      await handle.close()
    }
    // Names of new files first: a manifest never names what a crash could take away.
    await syncFolder(this.#dir)
    await rename(`${path}.tmp`, path)
    await syncFolder(this.#dir)
  }

  // ---------------------------------------------------------------------------------------------- disk → memory

  async #load(): Promise<void> {
    this.#reader?.close()
    this.#reader = null
    this.#segment = -1
    const state = await follow(this.#dir, this.#manifest, this.#fileRows, {
      row: (batch, i) => {
        const ticker = this.#parts.ticker(batch.market[i] as number)
        this.#ledger.row(batch, i, ticker)
        if (ticker !== '' && this.#ledger.paid(ticker)) this.#parts.leave(ticker)
      },
      part: (path, rows) => this.#commit({ path, rows }),
    })
    this.#parts = state.parts
    this.#ledger = state.ledger
    if (this.#manifest.files.length === 0)
      this.#manifest = { ...this.#manifest, files: await this.#tables(this.#manifest.growing?.generation ?? 0, [], []) }
    // Before the first row goes into the log: else no reader would look for it there.
    if (this.#manifest.digest === '') await this.#writeManifest()
  }

  /** What a crash, or the tape's own growth, left behind. */
  async #sweep(): Promise<void> {
    const { growing } = this.#manifest
    for (const entry of await readdir(this.#dir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const generation = /^(?:markets|coverage)\.(\d+)\.parquet$/.exec(entry.name)?.[1]
      const stale = generation !== undefined && (growing === undefined || Math.abs(Number(generation) - growing.generation) > 1)
      if (stale || entry.name.endsWith('.parquet.tmp') || entry.name === 'manifest.json.tmp')
        await rm(join(entry.parentPath, entry.name), { force: true })
    }
  }
}

/** The manifest that is there, made to grow, or a first one. */
async function manifestFor(dir: string, where: 'log' | '../log', identity: TapeIdentity, log: AppendLog): Promise<Manifest> {
  if (!existsSync(join(dir, 'manifest.json'))) {
    return {
      schema: TAPE_SCHEMA,
      ...identity,
      files: [],
      rows: 0,
      byKind: {},
      markets: 0,
      from: 0,
      to: 0,
      lagMax: 0,
      clock: [],
      labels: [],
      labelBasis: 'none',
      gaps: 0,
      inFlux: 0,
      negativeLevels: 0,
      lastingCrosses: 0,
      quarantined: 0,
      remarks: [],
      digest: '',
      growing: { log: where, rows: 0, sequence: 0, generation: 0 },
    }
  }
  const manifest = await readManifest(dir)
  for (const what of ['source', 'practice', 'depth'] as const) {
    if (manifest[what] !== identity[what])
      throw new DataError(
        'TAPE_EXISTS',
        `${dir} is a tape whose ${what} is ${String(manifest[what])}, not ${String(identity[what])}: choose another folder`,
      )
  }
  if (manifest.growing === undefined) {
    const db = await Database.open()
    try {
      let rows = 0
      for (const file of manifest.files.filter((f) => f.path.startsWith('messages/'))) {
        const [n] = await db.rows(
          `SELECT count(*) AS n FROM read_parquet(${quote(join(dir, file.path))}) WHERE (flags & ${Flag.CHECKPOINT}) = 0`,
        )
        rows += Number(n?.['n'])
      }
      // Whatever the log still holds was in the tape when it was finished.
      return { ...manifest, digest: '', growing: { log: where, rows, sequence: log.sequence, generation: 0 } }
    } finally {
      db.close()
    }
  }
  // A log that was taken away begins anew: its frames are not those that the manifest knows.
  if (log.sequence < manifest.growing.sequence) return { ...manifest, digest: '', growing: { ...manifest.growing, sequence: 0 } }
  return manifest
}

/** Books, markets and hours as the parts of a tape leave them. `tables`: its small tables, where the caller has read them already (the recorder may have replaced them since). */
export async function follow(
  dir: string,
  manifest: Manifest,
  fileRows: number | undefined,
  hooks: NonNullable<Parameters<typeof PartWriter.open>[2]>['hooks'],
  tables: { readonly markets: readonly MarketRow[]; readonly coverage: readonly CoverageRow[] } | null = null,
): Promise<{ parts: PartWriter; ledger: Ledger }> {
  const parts = await PartWriter.open(dir, manifest.depth, { ...(fileRows === undefined ? {} : { fileRows }), hooks: hooks ?? {} })
  const ledger = new Ledger(manifest.depth)
  ledger.continue(manifest)
  const files = manifest.files.filter((f) => f.path.startsWith('messages/'))
  if (files.length === 0) return { parts, ledger }
  const db = await Database.open()
  try {
    const read = async (name: string, where: string): Promise<Record<string, unknown>[]> => {
      const file = manifest.files.find((f) => f.path.startsWith(`${name}.`))
      return file === undefined ? [] : db.rows(`SELECT * FROM read_parquet(${quote(join(dir, file.path))}) WHERE ${where}`)
    }
    const byKind = Float64Array.from(KIND_NAMES, (name) => manifest.byKind[name] ?? 0)
    const { rows, from: first, to, lagMax } = manifest
    parts.continue({ rows, rowsOwn: manifest.growing?.rows ?? 0, byKind, from: first, to, lagMax }, files)
    // A part starts with every book; where there are no books, with nothing.
    const wanted = manifest.depth === 'book' ? files.slice(-1) : files
    const paths = wanted.map((f) => join(dir, f.path))
    const tickers = (
      await db.rows(`SELECT DISTINCT market FROM read_parquet([${paths.map(quote).join(', ')}]) WHERE market <> '' ORDER BY market`)
    ).map((r) => r['market'] as string)
    for await (const columns of decode(
      { files: paths, tickers, chosen: null, from: null, to: null, batchRows: 65_536, tail: null },
      () => null,
    )) {
      const batch = batchOf(columns)
      for (let i = 0; i < batch.length; i++) {
        const m = batch.market[i] as number
        if (m < 0) continue
        batch.market[i] = parts.market(tickers[m] as string)
        parts.learn(batch, i)
      }
    }
    const alive = [...parts.alive()]
    if (alive.length > 0) {
      const names = alive.map(({ ticker }) => quote(ticker)).join(', ')
      const markets = tables?.markets ?? ((await read('markets', `ticker IN (${names})`)) as unknown as MarketRow[])
      const hours = tables?.coverage ?? ((await read('coverage', `market IN (${names})`)) as unknown as CoverageRow[])
      const known = new Map(markets.map((r) => [r.ticker, r]))
      for (const { ticker, kept } of alive) {
        const row = known.get(ticker)
        if (row === undefined) continue
        const current = Math.floor(row.lastTime / HOUR) * HOUR
        ledger.restore(
          kept.catalog,
          row,
          hours.filter((h) => h.market === ticker && h.hour >= current),
        )
        ledger.rebook(ticker, kept.bids, kept.asks, kept.synced && !kept.open)
      }
    }
    for (const ticker of tickers) if (ledger.paid(ticker)) parts.leave(ticker)
    return { parts, ledger }
  } catch (error) {
    parts.close()
    throw error
  } finally {
    db.close()
  }
}

async function copyTo(source: string, target: string): Promise<void> {
  await writeFile(`${target}.tmp`, await readFile(source))
  await syncFile(`${target}.tmp`)
  await rename(`${target}.tmp`, target)
}
