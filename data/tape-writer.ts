/**
 * Writes a tape. Owns the order of rows, the cut into files by UTC day and size, the checkpoints and the manifest; hides the staging
 * table and the books it keeps for checkpoints. Invariants: `time` never decreases; every file starts with what a run needs to start there; at
 * the target path there is a whole tape or nothing. A checkpoint (and with it the cut at midnight) waits for the end of the exchange
 * message and, for `FLUX_MAX` at most, for books that are crossed just then: a run that starts there must find every book.
 */
import { createHash } from 'node:crypto'
import { appendFileSync, createReadStream, existsSync, readdirSync } from 'node:fs'
import { mkdir, open, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { assert } from '../engine/assert.ts'
import {
  createBatch,
  Flag,
  Kind,
  KIND_NAMES,
  pushRow,
  type Batch,
  type CatalogDetail,
  type KindName,
  type StatusDetail,
  type SyncDetail,
  type FeeDetail,
  type GridDetail,
} from '../engine/message.ts'
import { DAY, HOUR, MILLISECOND } from '../engine/units.ts'
import { DataError } from './errors.ts'
import { manifestText, sealed } from './manifest.ts'
import { Database, type ColumnAppender } from './parquet.ts'
import { COVERAGE_TYPES, MARKET_TYPES, TAPE_SCHEMA, type CoverageRow, type Manifest, type ManifestFile, type MarketRow } from './schema.ts'

/** Rows a file holds at most: what the staging table keeps in memory. */
const FILE_ROWS = 1_000_000
const STAGE_ROWS = 65_536
/** Without books a file need not start with its day: then it takes days until it has so many rows (a quiet year is not 365 files). */
const SPARSE_ROWS = 100_000
/** A book crossed for longer than this is broken, not in flux (the engine's own bound). */
const FLUX_MAX = 250 * MILLISECOND

const STAGING = {
  time: 'double',
  time_venue: 'double',
  market: 'integer',
  kind: 'utinyint',
  flags: 'utinyint',
  side: 'utinyint',
  price: 'integer',
  quantity: 'double',
  detail: 'integer',
} as const

/** What only the maker of a tape knows; the writer adds the rest of the manifest. */
export type TapeExtra = Pick<
  Manifest,
  'clock' | 'labels' | 'labelBasis' | 'gaps' | 'inFlux' | 'negativeLevels' | 'lastingCrosses' | 'quarantined' | 'origin' | 'remarks'
> & { readonly markets: readonly MarketRow[]; readonly coverage: readonly CoverageRow[] }

/** Latest known state of a market, kept so that a file can start with it. */
type Kept = {
  catalog: CatalogDetail
  bids: Map<number, number>
  asks: Map<number, number>
  synced: boolean
  open: boolean
  done: boolean
  venueTime: number
  hour: number
}

export class TapeWriter {
  readonly #target: string
  readonly #partial: string
  readonly #identity: Pick<Manifest, 'name' | 'source' | 'practice' | 'depth'>
  readonly #replace: boolean
  readonly #database: Database
  readonly #appender: ColumnAppender
  readonly #tickers: string[] = []
  readonly #numbers = new Map<string, number>()
  readonly #kept: (Kept | undefined)[] = []
  #stage = createBatch(STAGE_ROWS)
  /** Texts of rare rows since the last file. */
  #details: string[] = []
  #fileRows = 0
  #day = -1
  #part = 0
  #hourEnd = -Infinity
  readonly #files: { path: string; rows: number }[] = []
  /** Tickers that the database can name by their number. */
  #tickersNamed = 0
  readonly #byKind = new Float64Array(KIND_NAMES.length)
  /** Markets with rows: each must stand in markets.parquet, or no reader can name it. */
  readonly #used: boolean[] = []
  /** When the checkpoint that is due first had to wait for a crossed book; −1: none waits. */
  #waitingSince = -1
  #rows = 0
  #from = -1
  #to = -1
  #lagMax = 0
  #atBorder = true

  private constructor(
    target: string,
    partial: string,
    identity: Pick<Manifest, 'name' | 'source' | 'practice' | 'depth'>,
    replace: boolean,
    database: Database,
    appender: ColumnAppender,
  ) {
    this.#target = target
    this.#partial = partial
    this.#identity = identity
    this.#replace = replace
    this.#database = database
    this.#appender = appender
  }

  /** Starts a tape that will stand at `dir`. Refuses a folder that is there already, unless told to replace it. */
  static async create(
    dir: string,
    {
      name = basename(dir),
      source,
      practice = false,
      depth = 'book',
      replace = false,
    }: {
      readonly name?: string
      readonly source: string
      readonly practice?: boolean
      readonly depth?: Manifest['depth']
      readonly replace?: boolean
    },
  ): Promise<TapeWriter> {
    if (existsSync(dir) && readdirSync(dir).length > 0) {
      if (!replace) throw new DataError('TAPE_EXISTS', `${dir} exists and is not empty: choose another folder, or remove it first`)
      if (!existsSync(join(dir, 'manifest.json')))
        throw new DataError(
          'TAPE_EXISTS',
          `${dir} is not empty and not a tape, so it is not replaced: choose another folder, or remove it first`,
        )
    }
    await mkdir(dirname(dir), { recursive: true })
    const partial = join(dirname(dir), `.${basename(dir)}.partial-${process.pid}`)
    await rm(partial, { recursive: true, force: true })
    await mkdir(join(partial, 'messages'), { recursive: true })
    const database = await Database.open({ threads: 1, memory: 512 })
    return new TapeWriter(dir, partial, { name, source, practice, depth }, replace, database, await database.table('staging', STAGING))
  }

  /** The number of a market in the batches that are appended. */
  market(ticker: string): number {
    const known = this.#numbers.get(ticker)
    if (known !== undefined) return known
    const id = this.#tickers.length
    this.#tickers.push(ticker)
    this.#numbers.set(ticker, id)
    return id
  }

  async append(batch: Batch): Promise<void> {
    for (let i = 0; i < batch.length; i++) {
      const time = batch.time[i] as number
      const flags = batch.flags[i] as number
      if ((flags & Flag.CHECKPOINT) !== 0) continue // ours are placed anew
      assert(time >= this.#to && Number.isSafeInteger(time), 'the rows of a tape come in the order of their time, in whole microseconds')
      if (this.#from < 0) this.#from = time
      this.#to = time
      if (this.#atBorder && (time >= this.#hourEnd || this.#fileRows >= FILE_ROWS) && !this.#waits(time)) await this.#border(time)
      const kind = batch.kind[i] as number
      const venue = batch.timeVenue[i] as number
      const market = batch.market[i] as number
      const quantity = batch.quantity[i] as number
      assert(market >= -1 && market < this.#tickers.length, 'a market of a row has its number from the writer')
      assert(Number.isSafeInteger(venue) && Number.isSafeInteger(quantity), 'venue times and quantities are whole')
      const detail = batch.detail[i] as number
      const text = detail < 0 ? null : (batch.details[detail] as string)
      if ((kind === Kind.DELTA || kind === Kind.TRADE) && time - venue > this.#lagMax) this.#lagMax = time - venue
      this.#keep(market, kind, flags, batch.side[i] as number, batch.price[i] as number, quantity, venue, text)
      if (this.#stage.length === STAGE_ROWS) await this.#flushStage()
      this.#put(time, venue, market, kind, flags, batch.side[i] as number, batch.price[i] as number, quantity, text)
      this.#atBorder = (flags & Flag.LAST) !== 0
    }
  }

  /** Keeps a rejected piece of input: one line of JSON with its file, line and reason. */
  quarantine(line: string): void {
    appendFileSync(join(this.#partial, 'quarantine.ndjson'), line)
  }

  /** Completes the tape and puts it in its place. */
  async finish(extra: TapeExtra): Promise<Manifest> {
    if (this.#rows === 0) {
      await this.abort()
      throw new DataError('TAPE_EMPTY', `${this.#target}: nothing to write, the input holds no usable row`)
    }
    const named = new Set(extra.markets.map((m) => m.ticker))
    assert(named.size === extra.markets.length, 'a market stands once in markets.parquet')
    assert(
      this.#tickers.every((ticker, m) => this.#used[m] !== true || named.has(ticker)),
      'every market with rows stands in markets.parquet',
    )
    await this.#flushFile()
    const markets = join(this.#partial, 'markets.parquet')
    await this.#database.writeRows(markets, MARKET_TYPES, extra.markets)
    await this.#database.writeRows(join(this.#partial, 'coverage.parquet'), COVERAGE_TYPES, extra.coverage)
    this.#database.close()
    const files: ManifestFile[] = []
    for (const file of [
      ...this.#files,
      { path: 'markets.parquet', rows: extra.markets.length },
      { path: 'coverage.parquet', rows: extra.coverage.length },
    ]) {
      files.push(await describeFile(this.#partial, file.path, file.rows))
    }
    if (existsSync(join(this.#partial, 'quarantine.ndjson'))) {
      files.push(await describeFile(this.#partial, 'quarantine.ndjson', extra.quarantined))
    }
    const byKind: Partial<Record<KindName, number>> = {}
    KIND_NAMES.forEach((name, kind) => {
      const count = this.#byKind[kind] as number
      if (count > 0) byKind[name] = count
    })
    const { markets: marketRows, coverage: _coverage, ...facts } = extra
    const manifest = sealed({
      schema: TAPE_SCHEMA,
      ...this.#identity,
      files,
      rows: this.#rows,
      byKind,
      markets: marketRows.length,
      from: this.#from,
      to: this.#to,
      lagMax: this.#lagMax,
      ...facts,
    })
    await writeFile(join(this.#partial, 'manifest.json'), manifestText(manifest))
    await syncFolder(this.#partial, manifest)
    const old = `${this.#partial}.old`
    if (this.#replace) {
      if (existsSync(this.#target)) await rename(this.#target, old)
    } else {
      await rmdir(this.#target).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT')
          throw new DataError('TAPE_EXISTS', `${this.#target} was filled by somebody else meanwhile: choose another folder`, error)
      })
    }
    try {
      await rename(this.#partial, this.#target)
    } catch (error) {
      if (existsSync(old)) await rename(old, this.#target)
      throw error
    }
    await rm(old, { recursive: true, force: true })
    return manifest
  }

  /** Leaves nothing behind. */
  async abort(): Promise<void> {
    this.#database.close()
    await rm(this.#partial, { recursive: true, force: true })
  }

  // ---------------------------------------------------------------------------------------------- inside

  /** One row into the stage; the caller has seen to the room. */
  #put(
    time: number,
    venue: number,
    market: number,
    kind: number,
    flags: number,
    side: number,
    price: number,
    quantity: number,
    text: string | null,
  ): void {
    const s = this.#stage
    pushRow(s, time, venue, market, kind as Kind, flags, side, price, quantity)
    if (text !== null) s.detail[s.length - 1] = this.#details.push(text) - 1
    this.#fileRows++
    this.#rows++
    this.#byKind[kind] = (this.#byKind[kind] as number) + 1
    if (market >= 0) this.#used[market] = true
  }

  async #flushStage(): Promise<void> {
    const s = this.#stage
    if (s.length === 0) return
    await this.#appender.append([s.time, s.timeVenue, s.market, s.kind, s.flags, s.side, s.price, s.quantity, s.detail], 0, s.length)
    s.length = 0
  }

  async #flushFile(): Promise<void> {
    await this.#flushStage()
    if (this.#fileRows === 0) return
    const date = new Date(this.#day * 86_400_000).toISOString().slice(0, 10)
    const folder = `messages/date=${date}`
    await mkdir(join(this.#partial, folder), { recursive: true })
    const path = `${folder}/part-${String(this.#part).padStart(3, '0')}.parquet`
    const db = this.#database
    if (this.#tickersNamed !== this.#tickers.length) {
      this.#tickersNamed = this.#tickers.length
      const names = await db.table('names', { number: 'integer', ticker: 'varchar' })
      await names.append([Int32Array.from(this.#tickers, (_, i) => i), this.#tickers], 0, this.#tickers.length)
      // A list indexed by number keeps the order of rows, which a join does not promise.
      await db.run('SET VARIABLE names = (SELECT list(ticker ORDER BY number) FROM names)')
      await db.run('DROP TABLE names')
    }
    const texts = await db.table('texts', { number: 'integer', detail_text: 'varchar' })
    await texts.append([Int32Array.from(this.#details, (_, i) => i), this.#details], 0, this.#details.length)
    await db.run('SET VARIABLE texts = (SELECT list(detail_text ORDER BY number) FROM texts)')
    await db.copy(
      `SELECT time::BIGINT AS time, time_venue::BIGINT AS time_venue, coalesce(getvariable('names')[market + 1], '') AS market, kind, flags, side, price,
       quantity::BIGINT AS quantity, getvariable('texts')[detail + 1] AS detail FROM staging`,
      join(this.#partial, path),
    )
    await db.run('TRUNCATE staging')
    await db.run('DROP TABLE texts')
    this.#files.push({ path, rows: this.#fileRows })
    this.#details = []
    this.#fileRows = 0
    this.#part++
  }

  /** Whether the checkpoint that is due now waits for a book in flux. */
  #waits(time: number): boolean {
    if (this.#identity.depth !== 'book') return false
    if (!this.#kept.some((kept) => kept !== undefined && holdsBook(kept) && crossed(kept))) return false
    if (this.#waitingSince < 0) this.#waitingSince = time
    return time - this.#waitingSince <= FLUX_MAX
  }

  /** A new hour, or a full file: checkpoints, and a new file when the day changed or this one is full. */
  async #border(time: number): Promise<void> {
    const day = Math.floor(time / DAY)
    this.#hourEnd = (Math.floor(time / HOUR) + 1) * HOUR
    this.#waitingSince = -1
    const sparse = this.#identity.depth !== 'book' && this.#fileRows > 0 && this.#fileRows < SPARSE_ROWS
    if (day !== this.#day && !sparse) {
      await this.#flushFile()
      this.#day = day
      this.#part = 0
    } else if (this.#fileRows >= FILE_ROWS) await this.#flushFile()
    // Without books there is nothing to repeat: a run over such a tape starts at its first row.
    if (this.#identity.depth !== 'book') return
    for (let m = 0; m < this.#kept.length; m++) {
      const kept = this.#kept[m]
      if (kept === undefined || kept.done || kept.open) continue
      if (this.#stage.length === STAGE_ROWS) await this.#flushStage()
      this.#put(time, kept.venueTime, m, Kind.CATALOG, Flag.LAST | Flag.CHECKPOINT, 0, 0, 0, JSON.stringify(kept.catalog))
      if (!holdsBook(kept) || crossed(kept)) continue
      let left = kept.bids.size + kept.asks.size
      if (this.#stage.length === STAGE_ROWS) await this.#flushStage()
      this.#put(time, kept.venueTime, m, Kind.CLEAR, Flag.CHECKPOINT | (left === 0 ? Flag.LAST : 0), 0, 0, 0, null)
      for (const [side, levels] of [
        [0, kept.bids],
        [1, kept.asks],
      ] as const) {
        for (const price of [...levels.keys()].sort((a, b) => a - b)) {
          left--
          const flags = Flag.CHECKPOINT | (left === 0 ? Flag.LAST : 0)
          if (this.#stage.length === STAGE_ROWS) await this.#flushStage()
          this.#put(time, kept.venueTime, m, Kind.LEVEL, flags, side, price, levels.get(price) as number, null)
        }
      }
    }
  }

  /** Follows the row, so that a later file can start with the state it leads to. */
  #keep(
    market: number,
    kind: number,
    flags: number,
    side: number,
    price: number,
    quantity: number,
    venue: number,
    text: string | null,
  ): void {
    if (market < 0) return
    if (kind === Kind.CATALOG) {
      const catalog = JSON.parse(text ?? '') as CatalogDetail
      this.#kept[market] ??= {
        catalog,
        bids: new Map(),
        asks: new Map(),
        synced: false,
        open: false,
        done: false,
        venueTime: venue,
        hour: -1,
      }
      return
    }
    const kept = this.#kept[market]
    if (kept === undefined) return
    if (venue > kept.venueTime) kept.venueTime = venue
    switch (kind) {
      case Kind.CLEAR:
        kept.bids.clear()
        kept.asks.clear()
        kept.open = (flags & Flag.LAST) === 0
        kept.synced = true
        return
      case Kind.LEVEL:
        ;(side === 0 ? kept.bids : kept.asks).set(price, quantity)
        if ((flags & Flag.LAST) !== 0) kept.open = false
        return
      case Kind.DELTA: {
        const levels = side === 0 ? kept.bids : kept.asks
        const left = (levels.get(price) ?? 0) + quantity
        if (left <= 0) levels.delete(price)
        else levels.set(price, left)
        if (left < 0) kept.synced = false
        return
      }
      case Kind.STATUS: {
        const detail = JSON.parse(text ?? '') as StatusDetail
        kept.catalog = {
          ...kept.catalog,
          status: detail.status,
          ...(detail.closeTime === undefined ? {} : { closeTime: detail.closeTime }),
        }
        return
      }
      case Kind.GRID:
        kept.catalog = { ...kept.catalog, grid: (JSON.parse(text ?? '') as GridDetail).grid }
        return
      case Kind.FEE:
        kept.catalog = { ...kept.catalog, fee: JSON.parse(text ?? '') as FeeDetail }
        return
      case Kind.SYNC:
        kept.synced = (JSON.parse(text ?? '') as SyncDetail).state === 'synced' && kept.synced
        return
      case Kind.DETERMINED:
        kept.catalog = { ...kept.catalog, status: 'determined' }
        return
      case Kind.SETTLED:
        kept.done = true
        kept.bids.clear()
        kept.asks.clear()
        return
      default:
    }
  }
}

/** Whether a later row may build on the book: a market that pauses, or has yet to open, keeps its orders. */
function holdsBook({ done, open, synced, catalog: { status } }: Kept): boolean {
  return !done && !open && synced && (status === 'active' || status === 'inactive' || status === 'initialized')
}

function crossed(kept: Kept): boolean {
  let bid = -1
  let ask = Infinity
  for (const p of kept.bids.keys()) if (p > bid) bid = p
  for (const p of kept.asks.keys()) if (p < ask) ask = p
  return bid >= ask
}

/** SHA-256, size and rows of a file of a tape. */
export async function describeFile(folder: string, path: string, rows: number): Promise<ManifestFile> {
  const hash = createHash('sha256')
  for await (const block of createReadStream(join(folder, path))) hash.update(block as Buffer)
  const { size } = await stat(join(folder, path))
  return { path, sha256: hash.digest('hex'), bytes: size, rows }
}

async function syncFolder(folder: string, manifest: Manifest): Promise<void> {
  for (const path of ['manifest.json', ...manifest.files.map((f) => f.path)]) {
    const handle = await open(join(folder, path), 'r')
    await handle.sync()
    await handle.close()
  }
}
