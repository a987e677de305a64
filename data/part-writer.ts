/**
 * Writes the message files of a tape. Owns the order of rows, the cut into files by UTC day and size, and the checkpoints; hides the staging table and the books it keeps for
 * checkpoints. Invariants: `time` never decreases; every file starts with what a run needs to start there; a file has its name only once it is whole and on disk. A checkpoint
 * (and with it the cut at midnight) waits for the end of the exchange message and, for `FLUX_MAX` at most, for books that are crossed just then: a run that starts there must
 * find every book.
 */
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { assert } from '../engine/assert.ts'
import {
  createBatch,
  Flag,
  Kind,
  KIND_NAMES,
  pushRow,
  type Batch,
  type CatalogDetail,
  type Depth,
  type FeeDetail,
  type GridDetail,
  type KindName,
  type StatusDetail,
  type SyncDetail,
} from '../engine/message.ts'
import { DAY, HOUR, MILLISECOND } from '../engine/units.ts'
import { syncFile } from './log.ts'
import { Database, type ColumnAppender } from './parquet.ts'

/** Rows a file holds at most: what the staging table keeps in memory. */
export const FILE_ROWS = 1_000_000
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

/** Latest known state of a market, kept so that a file can start with it. */
export type Kept = {
  catalog: CatalogDetail
  bids: Map<number, number>
  asks: Map<number, number>
  synced: boolean
  open: boolean
  done: boolean
  venueTime: number
  hour: number
}

/** What follows the rows beside the writer. */
export type PartHooks = {
  /** A row is about to be written, after the file before it was closed where it had to be. */
  row?(batch: Batch, i: number): void
  /** A file is whole and on disk. */
  part?(path: string, rows: number): Promise<void>
}

/** What all rows so far have in common, checkpoints counted in `rows` and `byKind`. */
export type Totals = {
  rows: number
  /** Without checkpoints. */
  rowsOwn: number
  byKind: Float64Array
  from: number
  to: number
  lagMax: number
}

export class PartWriter {
  readonly totals: Totals = { rows: 0, rowsOwn: 0, byKind: new Float64Array(KIND_NAMES.length), from: -1, to: -1, lagMax: 0 }
  readonly files: { path: string; rows: number }[] = []
  readonly #folder: string
  readonly #depth: Depth
  readonly #fileRows: number
  readonly #hooks: PartHooks
  readonly #database: Database
  readonly #appender: ColumnAppender
  readonly #tickers: string[] = []
  readonly #numbers = new Map<string, number>()
  readonly #kept: (Kept | undefined)[] = []
  /** Numbers of markets that have paid: free for others once the file that names them is written. */
  readonly #leaving: number[] = []
  readonly #free: number[] = []
  #stage = createBatch(STAGE_ROWS)
  /** Texts of rare rows since the last file. */
  #details: string[] = []
  #rowsInFile = 0
  /** Without checkpoints: else many markets would fill a file with their books alone. */
  #rowsOwnInFile = 0
  /** Tickers that the database can name by their number. */
  #tickersNamed = false
  #day = -1
  #part = 0
  #hourEnd = -Infinity
  /** Somebody wants the file closed at the next border. */
  #cutWanted = false
  /** Markets with rows: each must stand in markets.parquet, or no reader can name it. */
  readonly #used: boolean[] = []
  /** When the checkpoint that is due first had to wait for a crossed book; −1: none waits. */
  #waitingSince = -1
  #atBorder = true

  private constructor(folder: string, depth: Depth, fileRows: number, hooks: PartHooks, database: Database, appender: ColumnAppender) {
    this.#folder = folder
    this.#depth = depth
    this.#fileRows = fileRows
    this.#hooks = hooks
    this.#database = database
    this.#appender = appender
  }

  static async open(
    folder: string,
    depth: Depth,
    { fileRows = FILE_ROWS, hooks = {} }: { readonly fileRows?: number; readonly hooks?: PartHooks } = {},
  ): Promise<PartWriter> {
    const database = await Database.open({ threads: 1, memory: 512 })
    return new PartWriter(folder, depth, fileRows, hooks, database, await database.table('staging', STAGING))
  }

  get database(): Database {
    return this.#database
  }
  /** Rows that stand in no file yet. */
  get rowsOpen(): number {
    return this.#rowsInFile
  }
  /** Tickers of all markets with rows in files or about to be. */
  get tickersUsed(): string[] {
    return this.#tickers.filter((_, m) => this.#used[m] === true)
  }
  /** Markets that have not paid, with what is known of them. */
  *alive(): IterableIterator<{ readonly ticker: string; readonly kept: Kept }> {
    for (const [m, kept] of this.#kept.entries()) if (kept !== undefined && !kept.done) yield { ticker: this.#tickers[m] as string, kept }
  }
  get byKind(): Partial<Record<KindName, number>> {
    const byKind: Partial<Record<KindName, number>> = {}
    KIND_NAMES.forEach((name, kind) => {
      const count = this.totals.byKind[kind] as number
      if (count > 0) byKind[name] = count
    })
    return byKind
  }

  /** The number of a market in the batches that are appended. */
  market(ticker: string): number {
    const known = this.#numbers.get(ticker)
    if (known !== undefined) return known
    const id = this.#free.pop() ?? this.#tickers.length
    this.#tickers[id] = ticker
    this.#numbers.set(ticker, id)
    this.#tickersNamed = false
    return id
  }
  /** A market that has paid needs its number no more: memory stays flat over any number of births and deaths. */
  leave(ticker: string): void {
    const m = this.#numbers.get(ticker)
    if (m !== undefined && !this.#leaving.includes(m)) this.#leaving.push(m)
  }
  ticker(market: number): string {
    return market < 0 ? '' : (this.#tickers[market] as string)
  }
  kept(market: number): Kept | undefined {
    return this.#kept[market]
  }

  async append(batch: Batch): Promise<void> {
    const { totals } = this
    for (let i = 0; i < batch.length; i++) {
      const time = batch.time[i] as number
      const flags = batch.flags[i] as number
      if ((flags & Flag.CHECKPOINT) !== 0) continue // ours are placed anew
      assert(time >= totals.to && Number.isSafeInteger(time), 'the rows of a tape come in the order of their time, in whole microseconds')
      const due = time >= this.#hourEnd || this.#rowsOwnInFile >= this.#fileRows || this.#cutWanted
      if (this.#atBorder && due && !this.#waits(time)) await this.#border(time)
      if (totals.from < 0) totals.from = time
      totals.to = time
      const kind = batch.kind[i] as number
      const venue = batch.timeVenue[i] as number
      const market = batch.market[i] as number
      const quantity = batch.quantity[i] as number
      assert(market >= -1 && market < this.#tickers.length, 'a market of a row has its number from the writer')
      assert(Number.isSafeInteger(venue) && Number.isSafeInteger(quantity), 'venue times and quantities are whole')
      const detail = batch.detail[i] as number
      const text = detail < 0 ? null : (batch.details[detail] as string)
      // What was asked for afterwards is no news that anybody waits for.
      const streamed = (kind === Kind.DELTA || kind === Kind.TRADE) && (flags & Flag.POLLED) === 0
      if (streamed && time - venue > totals.lagMax) totals.lagMax = time - venue
      this.#hooks.row?.(batch, i)
      this.#keep(market, kind, flags, batch.side[i] as number, batch.price[i] as number, quantity, venue, text)
      if (this.#stage.length === STAGE_ROWS) await this.#flushStage()
      this.#put(time, venue, market, kind, flags, batch.side[i] as number, batch.price[i] as number, quantity, text)
      totals.rowsOwn++
      this.#rowsOwnInFile++
      this.#atBorder = (flags & Flag.LAST) !== 0
    }
  }

  /** Goes on after files that are there: their totals, and the names of the next. */
  continue(totals: Totals, files: readonly { readonly path: string; readonly rows: number }[]): void {
    Object.assign(this.totals, totals)
    this.files.push(...files)
    const last = files.at(-1)?.path.match(/date=(\d{4}-\d\d-\d\d)\/part-(\d+)\.parquet$/)
    if (last === null || last === undefined) return
    this.#day = Date.parse(last[1] as string) / 86_400_000
    this.#part = Number(last[2]) + 1
    // The next row starts a file, and with it the books.
    this.#hourEnd = -Infinity
  }
  /** Learns what a row of an older file says, and writes nothing. */
  learn(batch: Batch, i: number): void {
    const detail = batch.detail[i] as number
    this.#keep(
      batch.market[i] as number,
      batch.kind[i] as number,
      batch.flags[i] as number,
      batch.side[i] as number,
      batch.price[i] as number,
      batch.quantity[i] as number,
      batch.timeVenue[i] as number,
      detail < 0 ? null : (batch.details[detail] as string),
    )
  }

  /** The file is closed before the next row that can start another. */
  cut(): void {
    if (this.#rowsInFile > 0) this.#cutWanted = true
  }
  /** Closes the file now: there may be no next row. */
  async flush(): Promise<void> {
    await this.#flushFile()
  }
  close(): void {
    this.#database.close()
  }

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
    this.#rowsInFile++
    this.totals.rows++
    this.totals.byKind[kind] = (this.totals.byKind[kind] as number) + 1
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
    this.#cutWanted = false
    // The next row starts with checkpoints.
    this.#hourEnd = -Infinity
    if (this.#rowsInFile === 0) return
    const date = new Date(this.#day * 86_400_000).toISOString().slice(0, 10)
    const path = `messages/date=${date}/part-${String(this.#part).padStart(3, '0')}.parquet`
    const target = join(this.#folder, path)
    await mkdir(dirname(target), { recursive: true })
    const db = this.#database
    if (!this.#tickersNamed) {
      const names = await db.table('names', { number: 'integer', ticker: 'varchar' })
      await names.append([Int32Array.from(this.#tickers, (_, i) => i), this.#tickers], 0, this.#tickers.length)
      // A list indexed by number keeps the order of rows, which a join does not promise.
      await db.run('SET VARIABLE names = (SELECT list(ticker ORDER BY number) FROM names)')
      await db.run('DROP TABLE names')
      this.#tickersNamed = true
    }
    const texts = await db.table('texts', { number: 'integer', detail_text: 'varchar' })
    await texts.append([Int32Array.from(this.#details, (_, i) => i), this.#details], 0, this.#details.length)
    await db.run('SET VARIABLE texts = (SELECT list(detail_text ORDER BY number) FROM texts)')
    try {
      await db.copy(
        `SELECT time::BIGINT AS time, time_venue::BIGINT AS time_venue, coalesce(getvariable('names')[market + 1], '') AS market, kind, flags, side, price,
       quantity::BIGINT AS quantity, getvariable('texts')[detail + 1] AS detail FROM staging`,
        `${target}.tmp`,
      )
      await syncFile(`${target}.tmp`)
    } catch (error) {
      await rm(`${target}.tmp`, { force: true })
      throw error
    }
    await rename(`${target}.tmp`, target)
    await db.run('TRUNCATE staging')
    await db.run('DROP TABLE texts')
    const file = { path, rows: this.#rowsInFile }
    this.files.push(file)
    this.#details = []
    this.#rowsInFile = 0
    this.#rowsOwnInFile = 0
    this.#part++
    await this.#hooks.part?.(file.path, file.rows)
    for (const m of this.#leaving.splice(0)) {
      this.#numbers.delete(this.#tickers[m] as string)
      this.#tickers[m] = ''
      this.#kept[m] = undefined
      this.#used[m] = false
      this.#free.push(m)
    }
  }

  /** Whether the checkpoint that is due now waits for a book in flux. */
  #waits(time: number): boolean {
    if (this.#depth !== 'book') return false
    if (!this.#kept.some((kept) => kept !== undefined && holdsBook(kept) && crossed(kept))) return false
    if (this.#waitingSince < 0) this.#waitingSince = time
    return time - this.#waitingSince <= FLUX_MAX
  }

  /** A new hour, or a full file: checkpoints, and a new file when the day changed or this one is full. */
  async #border(time: number): Promise<void> {
    const day = Math.floor(time / DAY)
    this.#waitingSince = -1
    const sparse = this.#depth !== 'book' && this.#rowsOwnInFile > 0 && this.#rowsOwnInFile < SPARSE_ROWS && !this.#cutWanted
    if (day !== this.#day && !sparse) {
      await this.#flushFile()
      this.#day = day
      this.#part = 0
    } else if (this.#rowsOwnInFile >= this.#fileRows || this.#cutWanted) await this.#flushFile()
    this.#hourEnd = (Math.floor(time / HOUR) + 1) * HOUR
    // Without books there is nothing to repeat: a run over such a tape starts at its first row.
    if (this.#depth !== 'book') return
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
