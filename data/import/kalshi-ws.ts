/**
 * Imports recorded WebSocket frames of Kalshi into a tape. Owns sequence numbers per subscription and the merge of files by corrected time; hides both passes.
 * Frames become rows in `translate.ts`. Invariants: a gap unsyncs its markets until their next snapshot; what cannot be used stands in the quarantine with file
 * and line.
 *
 * Frames: Kalshi's AsyncAPI of 2026-10 (channels orderbook_delta, ticker, trade, market_lifecycle_v2, cfbenchmarks_value, pyth_value).
 */
import { statSync } from 'node:fs'
import { createBatch, Flag, Kind, Label, LABEL_NAMES, labelOf, pushRow, type LabelName } from '../../engine/message.ts'
import { DataError } from '../errors.ts'
import type { ClockOffset, LabelShare, Manifest } from '../schema.ts'
import { TapeWriter } from '../tape-writer.ts'
import { findFiles, framesOf, hashFile, parseTime, shortName, type Frame, type Reject } from './frames.ts'
import { Labeler, type Row } from './label.ts'
import { MarketState } from './state.ts'
import { inferGrid, receiveOf, seriesOf, survey, type Survey } from './survey.ts'
import { digits, text, Translator, type TranslatorHost } from './translate.ts'

export type ImportOptions = {
  readonly name?: string
  readonly replace?: boolean
  /** The recording was made with `use_yes_price: true`: prices of the NO side are YES prices. */
  readonly yesPrices?: boolean
  readonly progress?: (bytesDone: number, bytesTotal: number, rows: number) => void
  /** Asked between frames: an import that is stopped leaves no tape. */
  readonly stopped?: () => boolean
}
export type ImportSummary = {
  readonly rows: number
  readonly byKind: Manifest['byKind']
  readonly byLabel: Readonly<Partial<Record<LabelName, number>>>
  readonly markets: number
  readonly gaps: number
  readonly inFlux: number
  readonly negativeLevels: number
  readonly lastingCrosses: number
  readonly quarantined: number
  readonly quarantineReasons: Readonly<Record<string, number>>
  readonly audits: number
  readonly auditsEqual: number
  readonly clock: readonly ClockOffset[]
  readonly remarks: readonly string[]
}

export async function importKalshiWs(paths: readonly string[], dir: string, options: ImportOptions = {}): Promise<ImportSummary> {
  const files = await findFiles(paths)
  const bytes = files.reduce((sum, f) => sum + statSync(f).size, 0) * 2
  let done = 0
  let importer: Importer | null = null
  const progress = (n: number): void => {
    done += n
    options.progress?.(done, bytes, importer?.rows ?? 0)
  }
  const known = await survey(files, progress)
  if (known.frames === 0)
    throw new DataError(
      'INPUT_INVALID',
      `${paths.join(', ')}: no recorded frame found in ${files.length} file(s); expected lines with payload_json, frame or raw`,
    )
  if (known.connections.size === 0)
    throw new DataError(
      'INPUT_INVALID',
      `${paths.join(', ')}: no frame has a time, neither of receipt nor of the exchange: record the frames with their receive times`,
    )
  const writer = await TapeWriter.create(dir, {
    source: 'kalshi-ws',
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.replace === undefined ? {} : { replace: options.replace }),
  })
  try {
    importer = new Importer(writer, known, options.yesPrices ?? false)
    for await (const frame of merged(files, known, (r) => (importer as Importer).reject(r), progress)) {
      if (options.stopped?.() === true) throw new DataError('INPUT_INVALID', 'the import was interrupted: no tape was written')
      importer.frame(frame)
      if (importer.pending > 20_000) await importer.write()
    }
    const origin = { files: await Promise.all(files.map(async (f) => ({ file: shortName(f), sha256: await hashFile(f) }))) }
    return await importer.finish(origin)
  } catch (error) {
    await writer.abort()
    throw error
  }
}

/** All files as one stream in the order of corrected receive time; inside a connection its own order, by sequence where times tie. */
async function* merged(
  files: readonly string[],
  known: Survey,
  reject: (r: Reject) => void,
  progress: (bytes: number) => void,
): AsyncIterableIterator<Frame> {
  type Head = { frame: Frame; time: number; stream: AsyncIterator<Frame>; index: number }
  const heads: Head[] = []
  const timeOf = (frame: Frame, before: number): number => {
    const t = receiveOf(frame)
    return Number.isFinite(t) ? Math.max(before, t - (known.offsets.get(frame.connection) ?? 0)) : before
  }
  let index = 0
  for (const file of files) {
    const stream = framesOf(file, reject, progress)[Symbol.asyncIterator]()
    const first = await stream.next()
    if (first.done !== true) heads.push({ frame: first.value, time: timeOf(first.value, -Infinity), stream, index })
    index++
  }
  const first = (a: Head, b: Head): boolean => {
    if (a.time !== b.time) return a.time < b.time
    const [sa, sb] = [a.frame.seq ?? -1, b.frame.seq ?? -1]
    return sa !== sb ? sa < sb : a.index < b.index
  }
  while (heads.length > 0) {
    let best = 0
    for (let i = 1; i < heads.length; i++) if (first(heads[i] as Head, heads[best] as Head)) best = i
    const head = heads[best] as Head
    yield head.frame
    const next = await head.stream.next()
    if (next.done === true) heads.splice(best, 1)
    else {
      head.frame = next.value
      head.time = timeOf(next.value, head.time)
    }
  }
}

/** The state of one import. */
class Importer implements TranslatorHost {
  readonly #writer: TapeWriter
  readonly #known: Survey
  readonly #translator: Translator
  readonly #byNumber = new Map<number, MarketState>()
  readonly #labeler: Labeler
  readonly #traded: ReadonlySet<string>
  readonly #out: Row[] = []
  /** Last seq by connection and subscription; the markets of each. */
  readonly #sequences = new Map<string, { last: number; readonly markets: Set<MarketState> }>()
  readonly #shares = new Map<string, { count: number; quantity: number }>()
  readonly #reasons: Record<string, number> = {}
  readonly #remarks = new Set<string>()
  readonly #ends: { readonly time: number; readonly connection: string }[]
  #batch = createBatch(4096)
  /** The frame at hand. */
  #frame: Frame | null = null
  #gridName = ''
  #quarantined = 0
  #gaps = 0
  rows = 0

  constructor(writer: TapeWriter, known: Survey, yesPrices: boolean) {
    this.#writer = writer
    this.#known = known
    this.#traded = new Set([...known.traded].map((key) => key.slice(key.indexOf('\n') + 1)))
    this.#labeler = new Labeler((row) => this.#out.push(row))
    this.#translator = new Translator(this, this.#labeler, yesPrices)
    this.#ends = [...known.connections]
      .map(([connection, { last }]) => ({ connection, time: last - (known.offsets.get(connection) ?? 0) }))
      .sort((a, b) => a.time - b.time)
    // Frames before the first one with a time (a bare snapshot) happened no later than that.
    this.#translator.time = Math.min(
      ...[...known.connections].map(([connection, seen]) => seen.first - (known.offsets.get(connection) ?? 0)),
    )
    for (const [connection, scale] of known.volumeScale)
      if (scale !== 1)
        this.#remarks.add(`Volume of connection ${connection} counts both sides of a trade: halved (seen in its own last trades)`)
  }

  get pending(): number {
    return this.#out.length
  }

  reject(r: Reject): void {
    this.#quarantined++
    this.#reasons[r.reason] = (this.#reasons[r.reason] ?? 0) + 1
    this.#writer.quarantine(`${JSON.stringify(r)}\n`)
  }

  frame(frame: Frame): void {
    const translator = this.#translator
    this.#frame = frame
    const receive = receiveOf(frame)
    const offset = this.#known.offsets.get(frame.connection) ?? 0
    if (Number.isFinite(receive) && receive - offset > translator.time) {
      this.#silent(receive - offset)
      translator.time = receive - offset
    }
    switch (frame.type) {
      case 'subscribed':
        return this.#subscribed(frame)
      case 'ok':
      case 'unsubscribed':
        this.#sequence(frame, null)
        return
      case 'watch_market':
        return this.#watch(frame)
      case 'market_rotated':
        return
      case 'orderbook_snapshot':
        return translator.snapshot(frame.msg, frame.connection)
      case 'orderbook_delta':
        return translator.delta(frame.msg, frame.connection)
      case 'ticker':
        return translator.ticker(frame.msg, frame.connection)
      case 'trade':
        return translator.trade(frame.msg, frame.connection)
      case 'market_lifecycle_v2':
      case 'multivariate_market_lifecycle':
        this.#sequence(frame, null)
        return translator.lifecycle(frame.msg, frame.connection)
      case 'cfbenchmarks_value':
      case 'cfbenchmarks_value_5hz':
      case 'pyth_value':
        this.#sequence(frame, null)
        return translator.index(frame.type, frame.msg)
      default:
        this.#sequence(frame, null)
        this.refuse(`frame type ${frame.type === '' ? '(none)' : frame.type} is not imported`)
    }
  }

  /** Hands finished rows to the tape. */
  async write(): Promise<void> {
    for (const row of this.#out) {
      if (this.#batch.length === this.#batch.time.length) await this.#flush()
      pushRow(this.#batch, row.time, row.timeVenue, row.market, row.kind, row.flags, row.side, row.price, row.quantity, row.detail)
      this.rows++
      if (row.kind === Kind.DELTA && row.quantity < 0) {
        const key = `${labelOf(row.flags)} ${row.flags & Flag.INFERRED} ${this.#byNumber.get(row.market)?.series ?? ''}`
        const share = this.#shares.get(key) ?? { count: 0, quantity: 0 }
        share.count++
        share.quantity -= row.quantity
        this.#shares.set(key, share)
        if (labelOf(row.flags) === Label.TRADE && (row.flags & Flag.INFERRED) !== 0) {
          const market = this.#byNumber.get(row.market)
          if (market !== undefined) {
            market.trades++
            market.tradedQuantity -= row.quantity
          }
        }
      }
    }
    this.#out.length = 0
  }

  async finish(origin: Readonly<Record<string, unknown>>): Promise<ImportSummary> {
    for (const m of this.#translator.markets.values()) this.#labeler.interrupted(m.number)
    this.#labeler.finish()
    await this.write()
    await this.#flush()
    const markets = [...this.#translator.markets.values()].sort((a, b) => (a.ticker < b.ticker ? -1 : 1))
    const labels: LabelShare[] = [...this.#shares]
      .map(([key, share]) => {
        const [label, inferred, series] = key.split(' ') as [string, string, string]
        return { series, label: LABEL_NAMES[Number(label)] as LabelName, inferred: inferred !== '0', ...share }
      })
      .sort((a, b) => (a.series + a.label + String(a.inferred) < b.series + b.label + String(b.inferred) ? -1 : 1))
    const byLabel: Partial<Record<LabelName, number>> = {}
    for (const l of labels) byLabel[l.label] = (byLabel[l.label] ?? 0) + l.count
    const paired = labels.some((l) => l.label === 'trade' && !l.inferred)
    const guessed = labels.some((l) => l.label === 'trade' && l.inferred)
    const coverage = markets.flatMap((m) => m.coverage())
    const remarks = [...this.#remarks].sort()
    const manifest = await this.#writer.finish({
      clock: this.#known.clock,
      labels,
      labelBasis: paired && guessed ? 'mixed' : paired ? 'paired with prints' : guessed ? 'inferred' : 'none',
      gaps: this.#gaps,
      inFlux: this.#translator.inFlux,
      negativeLevels: this.#translator.negative,
      lastingCrosses: this.#translator.crosses,
      quarantined: this.#quarantined,
      origin,
      remarks,
      coverage,
      markets: markets.map((m) => m.row(this.#labeler.quantities(m.number).venue)),
    })
    const sum = (what: 'audits' | 'auditsEqual'): number => coverage.reduce((a, c) => a + c[what], 0)
    return {
      rows: manifest.rows,
      byKind: manifest.byKind,
      byLabel,
      markets: markets.length,
      gaps: this.#gaps,
      inFlux: this.#translator.inFlux,
      negativeLevels: this.#translator.negative,
      lastingCrosses: this.#translator.crosses,
      quarantined: this.#quarantined,
      quarantineReasons: this.#reasons,
      audits: sum('audits'),
      auditsEqual: sum('auditsEqual'),
      clock: this.#known.clock,
      remarks,
    }
  }

  async #flush(): Promise<void> {
    await this.#writer.append(this.#batch)
    this.#batch.length = 0
    this.#batch.details = []
  }

  // ---------------------------------------------------------------------------------------------- frames

  #subscribed(frame: Frame): void {
    const sid = frame.msg['sid']
    const channel = frame.msg['channel']
    // A new subscription counts from one again.
    this.#sequences.delete(`${frame.connection}\n${typeof sid === 'number' ? sid : ''}`)
    if (channel === 'orderbook_delta') this.#sequences.delete(`${frame.connection}\n`)
  }

  #watch(frame: Frame): void {
    const ticker = text(frame.msg['market_ticker'])
    if (ticker === null) return this.refuse('watch_market without market_ticker')
    const close = typeof frame.msg['close_time'] === 'string' ? parseTime(frame.msg['close_time']) : Number.NaN
    const market = this.#translator.market(ticker, frame.connection, (m) => {
      m.closeTime = Number.isFinite(close) ? close : null
      m.strike = digits(frame.msg['strike']) || null
    })
    if (market !== null && Number.isFinite(close) && market.closeTime !== close) this.#translator.closes(market, close)
  }

  // ---------------------------------------------------------------------------------------------- what a recording knows

  open(ticker: string, connection: string): MarketState {
    const grid = inferGrid(this.#known.prices.get(seriesOf(ticker)) ?? new Set<number>())
    this.#gridName = grid.name
    return new MarketState(ticker, this.#writer.market(ticker), connection, grid.bands, 'inferred')
  }
  described(market: MarketState): void {
    if (market.gridBasis === 'inferred')
      this.#remarks.add(`Price grid of ${market.series} inferred from the prices seen: ${this.#gridName}`)
    this.#remarks.add(`Fees of ${market.series} assumed: quadratic, multiplier 1 (the frames state none)`)
    this.#remarks.add(`Event of ${market.series} read from the ticker by convention`)
    this.#byNumber.set(market.number, market)
  }
  /** Prints may come by another connection than the book. */
  hasPrints(ticker: string): boolean {
    return this.#traded.has(ticker)
  }
  volumeScale(connection: string): number {
    return this.#known.volumeScale.get(connection) ?? 1
  }
  arrived(market: MarketState | null): void {
    if (this.#frame !== null) this.#sequence(this.#frame, market)
  }
  unsynced(): void {}
  refuse(reason: string): void {
    const frame = this.#frame
    if (frame === null) return
    this.reject({
      file: frame.file,
      line: frame.line,
      reason,
      raw: JSON.stringify({ type: frame.type, sid: frame.sid, seq: frame.seq, msg: frame.msg }).slice(0, 2_000),
    })
  }

  /** Checks `seq` (api.md §5.4). A frame without one counts for nothing. */
  #sequence(frame: Frame, market: MarketState | null): void {
    if (frame.seq === null) return
    const key = `${frame.connection}\n${frame.sid ?? ''}`
    let s = this.#sequences.get(key)
    if (s === undefined || (frame.seq === 1 && s.last !== 0)) {
      // The first frame seen of a subscription: a recording may begin in its middle.
      s = { last: frame.seq - 1, markets: new Set() }
      this.#sequences.set(key, s)
    }
    if (frame.seq !== s.last + 1) {
      this.#gaps++
      for (const m of s.markets) this.#translator.unsync(m, `gap in seq after ${s.last}`, 'gaps')
    }
    s.last = frame.seq
    if (market !== null) s.markets.add(market)
  }

  /**
   * What nobody tells: markets open and close, and connections end. Each is written at its own time, before the first frame that is later. After the end of its connection a
   * market is not known any more, however long the rest of the tape is.
   */
  #silent(until: number): void {
    const translator = this.#translator
    for (;;) {
      const end = this.#ends[0]
      const due = Math.min(end?.time ?? Infinity, translator.due)
      if (due >= until) return
      translator.time = Math.max(translator.time, due)
      if (end === undefined || end.time !== due) {
        translator.silent(due)
        continue
      }
      this.#ends.shift()
      for (const market of translator.markets.values())
        if (market.connection === end.connection) translator.interrupted(market, 'recording ended')
    }
  }
}
