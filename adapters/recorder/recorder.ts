/**
 * A feed, written to a tape while it passes. Owns what is recorded, when a part is cut, the order of time and what happens on a full disk; hides the log and the parts. Invariants:
 * a batch is in the log before anybody downstream sees it; what is recorded is what was passed on, row for row (checkpoints of the source are placed anew); `time` never decreases.
 *
 *   recording ──disk full──▶ full ──resume()──▶ recording       any ──finish()──▶ finished
 *
 * While it is full, rows pass unrecorded or the feed ends with the error (`onFull`). What a reader must know afterwards is written at `resume()`: that every live market is out of
 * sync, and the rare rows (births, closes, results) that were missed.
 */
import { statfs } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { createBatch, Flag, Kind, pushRow, type Batch, type CatalogDetail, type Depth, type Feed } from '../../engine/message.ts'
import { HOUR } from '../../engine/units.ts'
import { DataError } from '../../data/errors.ts'
import { GrowingTape } from '../../data/growing-tape.ts'
import { holdFolder } from '../../data/hold.ts'
import type { KnownMarket, Note } from '../../data/ledger.ts'
import { PAUSED, RESTARTED } from '../../data/losses.ts'
import { AppendLog, type LogCut, type LogOptions, type SyncStats } from '../../data/log.ts'
import { FrameKind } from '../../data/log-reader.ts'
import { appendName, appendRows } from '../../data/log-rows.ts'
import type { Manifest } from '../../data/schema.ts'
import { TimeKeeper } from './time-keeper.ts'

export type RecorderOptions = {
  /** Name of the tape (default: its folder). */
  readonly name?: string
  readonly source: string
  readonly practice?: boolean
  readonly depth?: Depth
  readonly origin?: Readonly<Record<string, unknown>>
  /** A session's own log beside the tape (`../log`): inputs and journal share one sequence with the rows. It is closed by the session. */
  readonly log?: AppendLog
  readonly logOptions?: LogOptions
  /** A part is cut at the first of these, and at UTC midnight. `every` in µs of the clock. */
  readonly rotate?: { readonly rows?: number; readonly bytes?: number; readonly every?: number }
  /** µs: until when the recording that goes on is known to have run, where that is later than its last row. What nobody knows begins after it. */
  readonly ranUntil?: number
  /** µs: and no earlier than so long after its last row, where its engine lets time pass by itself behind each row. */
  readonly ranOn?: number
  /** µs on a clock that never steps. */
  readonly clock?: { now(): number }
  /** Bytes that must stay free on the disk: below, recording stops first and leaves them to the journal. */
  readonly spaceMin?: number
  /** On a full disk: the feed ends with the error, or goes on unrecorded. */
  readonly onFull?: 'throw' | 'pass'
  /** Says once what happened (a cut tail, a clock that stepped, a full disk), one sentence each. */
  readonly onRemark?: (text: string) => void
}
export type RecorderStatus = {
  readonly state: 'recording' | 'full' | 'failed' | 'finished'
  /** Why it does not record, or why no part could be written. */
  readonly failure: string | null
  /** Rows on the tape, and how many of them stand in parts; the others are in the log. */
  readonly rows: number
  readonly rowsInParts: number
  readonly rowsMissed: number
  readonly marketsAlive: number
  /** µs, of the last row. */
  readonly to: number
  readonly clockSteps: number
  readonly sync: SyncStats
}

const ROTATE = { rows: 1_000_000, bytes: 64 << 20, every: HOUR }
const SPACE_MIN = 256 << 20
/** Rows that the log may be ahead of the parts before a fast feed has to wait. */
const AHEAD_MAX = 500_000
const PUMP_ROWS = 4096
const SYSTEM = { now: (): number => Math.round((performance.timeOrigin + performance.now()) * 1000) }

export class Recorder {
  readonly cut: LogCut | null
  /** Markets of the tape that had not paid when it was opened: whoever goes on with it must tell what has become of them. */
  readonly known: KnownMarket[] = []
  readonly #dir: string
  readonly #log: AppendLog
  readonly #ownLog: boolean
  readonly #tape: GrowingTape
  readonly #letGo: () => Promise<void>
  readonly #rotate: { readonly rows: number; readonly bytes: number; readonly every: number }
  readonly #clock: { now(): number }
  readonly #spaceMin: number
  readonly #onFull: 'throw' | 'pass'
  readonly #remark: (text: string) => void
  readonly #times: TimeKeeper
  /** Tickers by the feed's numbers, and the log's own numbers of them in its present segment. */
  readonly #tickers: (string | undefined)[] = []
  #numbers: (number | undefined)[] = []
  #byTicker = new Map<string, number>()
  #segment = -1
  /** Markets that have not paid; true: the log knows their catalog row. */
  readonly #alive = new Map<string, boolean>()
  #column = new Int32Array(4096)
  #state: RecorderStatus['state'] = 'recording'
  #failure: DataError | null = null
  #partsFailure: Error | null = null
  #rows: number
  /** Time of the last recorded row. */
  #to: number
  #missed = 0
  #missedRare: { readonly row: Omit<Row, 'ticker'>; readonly ticker: string }[] = []
  #bytes = 0
  #rotatedAt: number
  #pumping: Promise<void> | null = null
  #pumped: number
  readonly #timer: NodeJS.Timeout

  private constructor(dir: string, options: RecorderOptions, log: AppendLog, tape: GrowingTape, letGo: () => Promise<void>) {
    this.#dir = dir
    this.#log = log
    this.#ownLog = options.log === undefined
    this.#tape = tape
    this.#letGo = letGo
    this.cut = log.cut
    this.#rotate = { ...ROTATE, ...options.rotate }
    this.#clock = options.clock ?? SYSTEM
    this.#spaceMin = options.spaceMin ?? SPACE_MIN
    this.#onFull = options.onFull ?? 'throw'
    this.#remark = options.onRemark ?? (() => {})
    this.#rows = tape.rowsOwn
    this.#pumped = tape.rowsOwn
    this.#to = Math.max(0, tape.to + (tape.rowsOwn > 0 ? (options.ranOn ?? 0) : 0), options.ranUntil ?? 0)
    this.#times = new TimeKeeper(this.#clock, this.#to)
    this.#rotatedAt = this.#clock.now()
    this.#timer = setInterval(() => void this.#tick().catch((error: unknown) => this.#failed(error)), 1000)
    this.#timer.unref()
  }

  /** Begins a tape at `dir`, or goes on with the one that is there: what a crash left in its log becomes a part, and its live markets are out of sync until their next snapshot. */
  static async open(dir: string, options: RecorderOptions): Promise<Recorder> {
    const { name = basename(dir), source, practice = false, depth = 'book', origin = {} } = options
    const letGo = await holdFolder(dir)
    let log: AppendLog | null = null
    try {
      log = options.log ?? (await AppendLog.open(join(dir, 'log'), options.logOptions))
      const where = options.log === undefined ? 'log' : '../log'
      const fileRows = options.rotate?.rows ?? ROTATE.rows
      const tape = await GrowingTape.open(dir, log, where, { name, source, practice, depth, origin }, { fileRows })
      const recorder = new Recorder(dir, options, log, tape, letGo)
      recorder.#begin()
      return recorder
    } catch (error) {
      if (options.log === undefined) await log?.close().catch(() => {})
      await letGo()
      throw error
    }
  }

  get status(): RecorderStatus {
    const failure = this.#failure ?? this.#partsFailure
    return {
      state: this.#state,
      failure: failure === null ? null : failure.message,
      rows: this.#rows,
      rowsInParts: this.#tape.rows,
      rowsMissed: this.#missed,
      marketsAlive: this.#alive.size,
      to: this.#to,
      clockSteps: this.#times.steps,
      sync: this.#log.stats,
    }
  }
  /** Rows on the tape: where an input of a session stands among them. */
  get rows(): number {
    return this.#rows
  }

  /** The same feed; each batch is in the log when it comes out. */
  through(feed: Feed): Feed {
    const pass = async function* (recorder: Recorder): AsyncIterableIterator<Batch> {
      for await (const batch of feed.batches()) {
        recorder.write(batch)
        if (recorder.#rows - recorder.#pumped > AHEAD_MAX) await recorder.#pump()
        yield batch
      }
    }
    return { batches: () => pass(this) }
  }

  /** Records a batch. False: it was passed on unrecorded (`onFull: 'pass'`). Times that would go back are set right in the batch itself, so that everybody sees the same. */
  write(batch: Batch): boolean {
    if (this.#state === 'finished' || this.#state === 'failed') throw this.#refusal()
    const step = this.#times.order(batch)
    if (step !== null) this.#say(step)
    this.#learn(batch)
    if (this.#state === 'full') {
      if (this.#onFull === 'throw') throw this.#refusal()
      this.#miss(batch)
      return false
    }
    try {
      this.#append(batch)
    } catch (error) {
      this.#failed(error)
      if (this.#onFull === 'throw' || this.#log.state === 'failed') throw error
      this.#miss(batch)
      return false
    }
    // The batch is in the log: what fails from here on is for the next one to hear.
    try {
      if (this.#rows - this.#pumped >= PUMP_ROWS || this.#bytes >= this.#rotate.bytes) this.#work()
    } catch (error) {
      this.#failed(error)
    }
    return true
  }

  /** What the coverage must know and no row says. */
  note(note: Note): void {
    if (this.#state !== 'recording') return
    try {
      this.#log.appendJson(FrameKind.NOTE, note)
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Returns when everything recorded so far is on disk. */
  async sync(): Promise<void> {
    await this.#log.sync()
  }

  /** Cuts a part as soon as a row allows it. */
  async rotate(): Promise<void> {
    this.#cutPart()
    await this.#pump()
  }

  /** Goes on after a full disk. Throws DataError DISK when it is still full. */
  resume(): void {
    if (this.#state !== 'full') return
    if (this.#log.state === 'failing') this.#log.resume()
    const { batch, tickers } = this.#catchUp(PAUSED)
    try {
      if (batch.length > 0) this.#store(batch, (i) => this.#number(tickers[i] as string))
    } catch (error) {
      this.#failed(error)
      throw error
    }
    this.#missedRare = []
    for (const ticker of this.#alive.keys()) this.#alive.set(ticker, true)
    this.#state = 'recording'
    this.#failure = null
    this.#partsFailure = null
    this.#work()
  }

  /** The end: everything becomes parts, and the tape is one like any other. */
  async finish(): Promise<Manifest> {
    clearInterval(this.#timer)
    if (this.#state === 'failed') throw this.#refusal()
    this.#state = 'finished'
    try {
      await this.#pumping?.catch(() => {})
      if (this.#log.state === 'failing') this.#log.resume()
      await this.#log.sync()
      return await this.#tape.finish(!this.#ownLog)
    } finally {
      await this.#close()
    }
  }

  /** Lets go without finishing: the tape stays one that grows, for whoever opens it next. */
  async leave(): Promise<void> {
    clearInterval(this.#timer)
    this.#state = 'finished'
    await this.#pumping?.catch(() => {})
    this.#tape.close()
    await this.#close()
  }
  async #close(): Promise<void> {
    try {
      if (this.#ownLog) await this.#log.close()
    } finally {
      await this.#letGo()
    }
  }

  // ---------------------------------------------------------------------------------------------- rows

  #begin(): void {
    for (const known of this.#tape.alive()) {
      this.known.push(known)
      this.#alive.set(known.catalog.ticker, true)
    }
    if (this.cut !== null && this.#ownLog) {
      const { bytes, file } = this.cut
      this.#say(`The recording was broken off in the middle of a write: ${bytes} bytes at the end of ${basename(file)} were cut off`)
    }
    if (this.#rows === 0) return
    // What happened after the last row nobody knows.
    const { batch, tickers } = this.#catchUp(RESTARTED)
    if (batch.length > 0) this.#store(batch, (i) => this.#number(tickers[i] as string))
  }

  /** Markets whose books are not known any more, and the rare rows that were missed. */
  #catchUp(reason: string): { batch: Batch; tickers: string[] } {
    const known = [...this.#alive].filter(([, inLog]) => inLog).map(([ticker]) => ticker)
    const batch = createBatch(known.length + this.#missedRare.length)
    const detail = JSON.stringify({ state: 'unsynced', reason })
    for (const _ of known) pushRow(batch, this.#to, this.#to, 0, Kind.SYNC, Flag.LAST, 0, 0, 0, detail)
    for (const { row: r } of this.#missedRare)
      pushRow(batch, r.time, r.timeVenue, 0, r.kind, r.flags, r.side, r.price, r.quantity, r.detail)
    return { batch, tickers: [...known, ...this.#missedRare.map((m) => m.ticker)] }
  }

  /** Which market a number means, from the rows that say so. */
  #learn(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) {
      const kind = batch.kind[i] as number
      const market = batch.market[i] as number
      if (kind === Kind.CATALOG) {
        const { ticker, status } = JSON.parse(batch.details[batch.detail[i] as number] as string) as CatalogDetail
        this.#tickers[market] = ticker
        this.#numbers[market] = undefined
        if (status !== 'finalized' && !this.#alive.has(ticker)) this.#alive.set(ticker, this.#state === 'recording')
      } else if (market >= 0 && this.#tickers[market] === undefined) {
        throw new DataError(
          'FEED_INVALID',
          `the feed has a ${kind === Kind.DELTA ? 'delta' : 'row'} of market number ${market} before its catalog row: it cannot be recorded`,
        )
      } else if (kind === Kind.SETTLED) this.#alive.delete(this.#tickers[market] as string)
    }
  }

  #append(batch: Batch): void {
    let own = batch
    for (let i = 0; i < batch.length; i++) {
      if (((batch.flags[i] as number) & Flag.CHECKPOINT) === 0) continue
      own = withoutCheckpoints(batch)
      break
    }
    if (own.length === 0) return
    this.#store(own, (i) => {
      const market = own.market[i] as number
      if (market < 0) return -1
      return (this.#numbers[market] ??= this.#number(this.#tickers[market] as string))
    })
  }

  /** Into the log: names first, then all rows as one frame, or nothing. */
  #store(batch: Batch, number: (i: number) => number): void {
    this.#log.rollIfFull()
    const { segment } = this.#log.position
    if (segment !== this.#segment) {
      this.#segment = segment
      this.#numbers = []
      this.#byTicker = new Map()
    }
    const n = batch.length
    if (this.#column.length < n) this.#column = new Int32Array(n)
    for (let i = 0; i < n; i++) this.#column[i] = number(i)
    appendRows(this.#log, batch, this.#column, this.#rows)
    this.#rows += n
    this.#bytes += n * 35
    this.#to = batch.time[n - 1] as number
  }
  /** The number of a market in this segment; it is named there first. */
  #number(ticker: string): number {
    let number = this.#byTicker.get(ticker)
    if (number === undefined) {
      number = this.#byTicker.size
      appendName(this.#log, number, ticker)
      this.#byTicker.set(ticker, number)
    }
    return number
  }

  #miss(batch: Batch): void {
    this.#missed += batch.length
    for (let i = 0; i < batch.length; i++) {
      const kind = batch.kind[i] as Kind
      if (kind < Kind.CATALOG || kind === Kind.SYNC || ((batch.flags[i] as number) & Flag.CHECKPOINT) !== 0) continue
      const market = batch.market[i] as number
      this.#missedRare.push({
        ticker: market < 0 ? '' : (this.#tickers[market] as string),
        row: {
          time: batch.time[i] as number,
          timeVenue: batch.timeVenue[i] as number,
          kind,
          flags: batch.flags[i] as number,
          side: batch.side[i] as number,
          price: batch.price[i] as number,
          quantity: batch.quantity[i] as number,
          detail: batch.details[batch.detail[i] as number] as string,
        },
      })
    }
  }

  // ---------------------------------------------------------------------------------------------- parts

  async #tick(): Promise<void> {
    if (this.#state !== 'recording') return
    if (this.#clock.now() - this.#rotatedAt >= this.#rotate.every) this.#cutPart()
    if (this.#rows > this.#pumped) this.#work()
    if (this.#spaceMin <= 0) return
    const space = await statfs(this.#dir).catch(() => null)
    if (space === null || this.#state !== 'recording') return
    const free = space.bavail * space.bsize
    if (free < this.#spaceMin)
      this.#failed(
        new DataError(
          'DISK',
          `${this.#dir}: ${Math.floor(free / 1e6)} MB are left on the disk, recording stops below ${Math.floor(this.#spaceMin / 1e6)} MB: free some space and go on`,
        ),
      )
  }
  #cutPart(): void {
    this.#rotatedAt = this.#clock.now()
    this.#bytes = 0
    if (this.#log.state === 'open') this.#log.roll()
    this.#tape.rotate()
  }
  /** Parts are made beside the feed; a failure is shown and tried again with the next part. */
  #work(): void {
    if (this.#bytes >= this.#rotate.bytes) this.#cutPart()
    if (this.#pumping !== null || (this.#partsFailure !== null && this.#clock.now() - this.#failedAt < 10_000_000)) return
    this.#pump().catch(() => {})
  }
  #failedAt = 0
  #pump(): Promise<void> {
    this.#pumping ??= this.#tape
      .pump()
      .then(() => {
        this.#partsFailure = null
        this.#pumped = this.#tape.rowsOwn
      })
      .catch((error: unknown) => {
        this.#partsFailure = error instanceof Error ? error : new Error(String(error))
        this.#failedAt = this.#clock.now()
        // Or a fast feed would wait for ever for parts that cannot be written.
        this.#pumped = this.#rows
        this.#remark(this.#partsFailure.message)
      })
      .finally(() => (this.#pumping = null))
    return this.#pumping
  }

  #failed(error: unknown): void {
    const failure = error instanceof DataError ? error : new DataError('DISK', String(error), error)
    this.#failure = failure
    this.#state = this.#log.state === 'failed' ? 'failed' : 'full'
    this.#remark(failure.message)
  }
  #refusal(): DataError {
    return this.#failure ?? new DataError('DISK', `${this.#dir}: the recording is finished and takes no more rows`)
  }
  #say(text: string): void {
    this.#remark(text)
    this.note({ type: 'remark', text })
  }
}

type Row = {
  readonly time: number
  readonly timeVenue: number
  readonly kind: Kind
  readonly flags: number
  readonly side: number
  readonly price: number
  readonly quantity: number
  readonly detail: string
  readonly ticker: string
}

function withoutCheckpoints(batch: Batch): Batch {
  const out = createBatch(batch.length)
  for (let i = 0; i < batch.length; i++) {
    if (((batch.flags[i] as number) & Flag.CHECKPOINT) !== 0) continue
    const d = batch.detail[i] as number
    pushRow(
      out,
      batch.time[i] as number,
      batch.timeVenue[i] as number,
      batch.market[i] as number,
      batch.kind[i] as Kind,
      batch.flags[i] as number,
      batch.side[i] as number,
      batch.price[i] as number,
      batch.quantity[i] as number,
      d < 0 ? null : (batch.details[d] as string),
    )
  }
  return out
}
