/**
 * Imports recorded WebSocket frames of Kalshi into a tape. Owns the translation of frames into rows, sequence numbers per subscription, sync state and the
 * merge of files by corrected time; hides both passes. Invariants: a NO bid at x is written as a YES ask at 1 − x; a gap, a negative level or a lasting cross
 * unsyncs its markets until their next snapshot; what cannot be used stands in the quarantine with file and line.
 *
 * Frames: Kalshi's AsyncAPI of 2026-10 (channels orderbook_delta, ticker, trade, market_lifecycle_v2, cfbenchmarks_value, pyth_value).
 */
import { statSync } from 'node:fs'
import { assert } from '../../engine/assert.ts'
import { createBatch, Flag, Kind, Label, LABEL_NAMES, labelOf, pushRow, type CatalogDetail, type LabelName } from '../../engine/message.ts'
import { ASK, BID, parsePrice, parseQuantity, PRICE_ONE } from '../../engine/units.ts'
import { DataError } from '../errors.ts'
import type { ClockOffset, LabelShare, Manifest } from '../schema.ts'
import { TapeWriter } from '../tape-writer.ts'
import { findFiles, framesOf, hashFile, parseTime, shortName, venueTime, type Frame, type Reject } from './frames.ts'
import { Labeler, type Row } from './label.ts'
import { bandsOf } from './listing.ts'
import { MarketState, type Counter } from './state.ts'
import { inferGrid, receiveOf, seriesOf, survey, type Survey } from './survey.ts'

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

/** What the labels find out about a row. */
const FRESH = { open: false, reached: false, met: false, whole: false } as const

/** The last deltas of a market may arrive this long after its close time. */
const CLOSE_GRACE = 2_000_000
/** Still crossed after this: broken, not in flux. */
const FLUX_MAX = 250_000

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
class Importer {
  readonly #writer: TapeWriter
  readonly #known: Survey
  readonly #yesPrices: boolean
  readonly #markets = new Map<string, MarketState>()
  readonly #labeler: Labeler
  readonly #traded: ReadonlySet<string>
  readonly #out: Row[] = []
  /** Last seq by connection and subscription; the markets of each. */
  readonly #sequences = new Map<string, { last: number; readonly markets: Set<MarketState> }>()
  /** The open orderbook subscription of a connection whose frames name no sid. */
  readonly #shares = new Map<string, { count: number; quantity: number }>()
  readonly #reasons: Record<string, number> = {}
  readonly #remarks = new Set<string>()
  #batch = createBatch(4096)
  #time = 0
  #quarantined = 0
  #gaps = 0
  #inFlux = 0
  #negative = 0
  #crosses = 0
  rows = 0

  constructor(writer: TapeWriter, known: Survey, yesPrices: boolean) {
    this.#writer = writer
    this.#known = known
    this.#yesPrices = yesPrices
    this.#traded = new Set([...known.traded].map((key) => key.slice(key.indexOf('\n') + 1)))
    this.#labeler = new Labeler((row) => this.#out.push(row))
    this.#ends = [...known.connections]
      .map(([connection, { last }]) => ({ connection, time: last - (known.offsets.get(connection) ?? 0) }))
      .sort((a, b) => a.time - b.time)
    // Frames before the first one with a time (a bare snapshot) happened no later than that.
    this.#time = Math.min(...[...known.connections].map(([connection, seen]) => seen.first - (known.offsets.get(connection) ?? 0)))
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
    const receive = receiveOf(frame)
    const offset = this.#known.offsets.get(frame.connection) ?? 0
    if (Number.isFinite(receive) && receive - offset > this.#time) {
      this.#silent(receive - offset)
      this.#time = receive - offset
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
        return this.#snapshot(frame)
      case 'orderbook_delta':
        return this.#delta(frame)
      case 'ticker':
        return this.#ticker(frame)
      case 'trade':
        return this.#trade(frame)
      case 'market_lifecycle_v2':
      case 'multivariate_market_lifecycle':
        return this.#lifecycle(frame)
      case 'cfbenchmarks_value':
      case 'cfbenchmarks_value_5hz':
      case 'pyth_value':
        return this.#index(frame)
      default:
        this.#sequence(frame, null)
        this.#refuse(frame, `frame type ${frame.type === '' ? '(none)' : frame.type} is not imported`)
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
    for (const m of this.#markets.values()) this.#labeler.interrupted(m.number)
    this.#labeler.finish()
    await this.write()
    await this.#flush()
    const markets = [...this.#markets.values()].sort((a, b) => (a.ticker < b.ticker ? -1 : 1))
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
      inFlux: this.#inFlux,
      negativeLevels: this.#negative,
      lastingCrosses: this.#crosses,
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
      inFlux: this.#inFlux,
      negativeLevels: this.#negative,
      lastingCrosses: this.#crosses,
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
    if (ticker === null) return this.#refuse(frame, 'watch_market without market_ticker')
    const close = typeof frame.msg['close_time'] === 'string' ? parseTime(frame.msg['close_time']) : Number.NaN
    const market = this.#market(ticker, frame.connection, (m) => {
      m.closeTime = Number.isFinite(close) ? close : null
      m.strike = digits(frame.msg['strike']) || null
    })
    if (Number.isFinite(close) && market.closeTime !== close) {
      market.closeTime = close
      this.#nextClose = Math.min(this.#nextClose, market.closeTime ?? Infinity)
      this.#labeler.market(market.number, this.#hasPrints(market), close)
      this.#rare(market, Kind.STATUS, this.#time, { status: market.status, closeTime: close })
    }
  }

  #snapshot(frame: Frame): void {
    const ticker = text(frame.msg['market_ticker'])
    if (ticker === null) return this.#refuse(frame, 'snapshot without market_ticker')
    const sides = [frame.msg['yes_dollars_fp'] ?? [], frame.msg['no_dollars_fp'] ?? []]
    const levels: { side: number; price: number; quantity: number }[] = []
    for (const [s, list] of sides.entries()) {
      if (!Array.isArray(list)) return this.#refuse(frame, 'snapshot levels are not a list')
      for (const level of list as unknown[]) {
        const price = Array.isArray(level) ? parsePrice(String(level[0])) : Number.NaN
        const quantity = Array.isArray(level) ? parseQuantity(String(level[1])) : Number.NaN
        if (!(price > 0 && price < PRICE_ONE) || !(quantity >= 0))
          return this.#refuse(frame, 'snapshot level without a price and a quantity')
        if (quantity > 0)
          levels.push({ side: s === 0 ? BID : ASK, price: s === 1 && !this.#yesPrices ? PRICE_ONE - price : price, quantity })
      }
    }
    const market = this.#market(ticker, frame.connection)
    const taken = market.connection !== frame.connection
    if (taken) this.#reconnected(market, frame.connection)
    this.#sequence(frame, market)
    this.#pass(market)
    const bid = Math.max(0, ...levels.filter((l) => l.side === BID).map((l) => l.price))
    const ask = Math.min(PRICE_ONE, ...levels.filter((l) => l.side === ASK).map((l) => l.price))
    if (bid >= ask) {
      this.#unsync(market, 'crossed snapshot', 'lastingCrosses')
      return this.#refuse(frame, 'snapshot is crossed: were prices of the NO side recorded as YES prices (--yes-prices)?')
    }
    // A snapshot has no venue time: it is what the deltas before it led to, or, without any, what is true on receipt.
    const venue = taken || market.venueTime === 0 ? this.#time : market.venueTime
    if (market.everSnapped && !market.synced) market.count('resyncs', this.#time)
    market.book.clear()
    market.fluxSince = -1
    market.synced = true
    market.everSnapped = true
    this.#row(market, Kind.CLEAR, levels.length === 0 ? Flag.LAST : 0, 0, 0, 0, venue)
    levels.forEach((l, i) => {
      market.book.set(l.side, l.price, l.quantity)
      this.#row(market, Kind.LEVEL, i === levels.length - 1 ? Flag.LAST : 0, l.side, l.price, l.quantity, venue)
    })
  }

  #delta(frame: Frame): void {
    const { msg } = frame
    const ticker = text(msg['market_ticker'])
    const price = parsePrice(digits(msg['price_dollars']))
    const quantity = parseQuantity(digits(msg['delta_fp']))
    const venue = venueTime(msg)
    if (ticker === null || !(price > 0 && price < PRICE_ONE) || !Number.isFinite(quantity) || quantity === 0)
      return this.#refuse(frame, 'delta without market, price or change')
    if (msg['side'] !== 'yes' && msg['side'] !== 'no') return this.#refuse(frame, 'delta without a side')
    if (!Number.isFinite(venue)) return this.#refuse(frame, 'delta without a venue time')
    const market = this.#market(ticker, frame.connection)
    if (market.connection !== frame.connection) return this.#refuse(frame, 'delta of a connection that another one has replaced')
    this.#sequence(frame, market)
    this.#pass(market)
    this.#close(market, venue)
    this.#instant(market, venue)
    const side = msg['side'] === 'yes' ? BID : ASK
    const yes = side === ASK && !this.#yesPrices ? PRICE_ONE - price : price
    const { book } = market
    market.deltas++
    if (market.synced && !book.change(side, yes, quantity)) {
      this.#negative++
      this.#unsync(market, 'negative level', 'negativeLevels')
    }
    this.#row(market, Kind.DELTA, Flag.LAST, side, yes, quantity, venue)
    if (!market.synced) return this.#labeler.best(market.number, 0, PRICE_ONE)
    this.#labeler.best(market.number, book.hasBid ? book.bid : 0, book.hasAsk ? book.ask : PRICE_ONE)
    if (book.crossed) {
      if (market.fluxTime !== venue) {
        market.fluxTime = venue
        market.fluxSince = this.#time
        this.#inFlux++
        market.count('inFlux', this.#time)
      }
    } else market.fluxSince = -1
  }

  #ticker(frame: Frame): void {
    const { msg } = frame
    const ticker = text(msg['market_ticker'])
    const venue = venueTime(msg)
    const volume = parseQuantity(digits(msg['volume_fp']))
    if (ticker === null || !Number.isFinite(venue)) return this.#refuse(frame, 'ticker without market or time')
    const market = this.#markets.get(ticker)
    if (market === undefined || market.connection !== frame.connection) return
    this.#pass(market)
    if (Number.isFinite(volume)) {
      this.#labeler.ticker(
        market.number,
        {
          timeVenue: venue,
          volume,
          last: parsePrice(digits(msg['price_dollars'])),
          lastSize: parseQuantity(digits(msg['last_trade_size_fp'])),
        },
        this.#time,
      )
    }
    if (!market.synced || market.status !== 'active') return
    const bid = parsePrice(digits(msg['yes_bid_dollars']))
    const ask = parsePrice(digits(msg['yes_ask_dollars']))
    market.count('audits', this.#time)
    if (
      (market.book.hasBid ? market.book.bid : 0) === bid &&
      (market.book.hasAsk ? market.book.ask : PRICE_ONE) === (ask === 0 ? PRICE_ONE : ask)
    )
      market.count('auditsEqual', this.#time)
  }

  #trade(frame: Frame): void {
    const { msg } = frame
    const ticker = text(msg['market_ticker'])
    const price = parsePrice(digits(msg['yes_price_dollars']))
    const quantity = parseQuantity(digits(msg['count_fp']))
    const venue = venueTime(msg)
    const book =
      msg['taker_book_side'] ??
      (msg['taker_outcome_side'] === 'yes' || msg['taker_side'] === 'yes'
        ? 'bid'
        : msg['taker_outcome_side'] === 'no' || msg['taker_side'] === 'no'
          ? 'ask'
          : null)
    if (ticker === null || !Number.isFinite(price) || !(quantity > 0) || !Number.isFinite(venue) || (book !== 'bid' && book !== 'ask')) {
      return this.#refuse(frame, 'trade without market, price, count, time or taker side')
    }
    const market = this.#market(ticker, frame.connection)
    this.#sequence(frame, null)
    this.#pass(market)
    this.#close(market, venue)
    market.trades++
    market.tradedQuantity += quantity
    // A block trade was agreed beside the book: it took nobody's place in it.
    this.#row(market, Kind.TRADE, Flag.LAST, book === 'bid' ? BID : ASK, price, quantity, venue, null, msg['is_block_trade'] !== true)
  }

  #lifecycle(frame: Frame): void {
    const { msg } = frame
    this.#sequence(frame, null)
    const ticker = text(msg['market_ticker'])
    if (ticker === null) return this.#refuse(frame, 'lifecycle without market_ticker')
    const seconds = (key: string): number | null => (typeof msg[key] === 'number' ? msg[key] * 1_000_000 : null)
    const type = msg['event_type']
    if (type === 'created') {
      const more =
        typeof msg['additional_metadata'] === 'object' && msg['additional_metadata'] !== null
          ? (msg['additional_metadata'] as Record<string, unknown>)
          : {}
      this.#market(ticker, frame.connection, (m) => {
        m.openTime = seconds('open_ts')
        m.closeTime = seconds('close_ts')
        m.title = text(more['title']) ?? m.title
        m.event = text(more['event_ticker']) ?? m.event
        m.strike = digits(more['floor_strike']) || m.strike
        const bands = bandsOf(msg['price_ranges'])
        if (bands !== null) {
          m.grid = bands
          m.gridBasis = 'stated'
        }
        if (m.openTime !== null && m.openTime > this.#time) m.status = 'initialized'
      })
      return
    }
    // Lifecycle speaks of every market of the exchange; those that are not recorded are no news.
    const market = this.#markets.get(ticker)
    if (market === undefined) return
    this.#pass(market)
    if (type === 'activated' || type === 'deactivated') {
      market.status = type === 'activated' ? 'active' : 'inactive'
      this.#rare(market, Kind.STATUS, this.#time, { status: market.status })
    } else if (type === 'close_date_updated') {
      market.closeTime = seconds('close_ts') ?? market.closeTime
      this.#nextClose = Math.min(this.#nextClose, market.closeTime ?? Infinity)
      this.#labeler.market(market.number, this.#hasPrints(market), market.closeTime)
      this.#rare(market, Kind.STATUS, this.#time, { status: market.status, closeTime: market.closeTime })
    } else if (type === 'price_level_structure_updated') {
      const bands = bandsOf(msg['price_ranges'])
      if (bands === null) return this.#refuse(frame, 'price_level_structure_updated without price_ranges')
      market.grid = bands
      market.gridBasis = 'stated'
      this.#rare(market, Kind.GRID, this.#time, { grid: bands })
    } else if (type === 'determined') {
      const value = parsePrice(digits(msg['settlement_value'] ?? (msg['result'] === 'yes' ? '1' : msg['result'] === 'no' ? '0' : '')))
      const result = msg['result']
      if (!Number.isFinite(value) || (result !== 'yes' && result !== 'no' && result !== 'scalar'))
        return this.#refuse(frame, 'determined without result or value')
      const venue = seconds('determination_ts') ?? this.#time
      market.result = result
      market.settlementValue = value
      market.determinedTime = this.#time
      market.status = 'determined'
      this.#rare(market, Kind.DETERMINED, Math.min(venue, this.#time), { result, value })
    } else if (type === 'settled') {
      if (market.result === null) return this.#refuse(frame, 'settled without a result before it')
      market.settledTime = this.#time
      market.status = 'finalized'
      this.#rare(market, Kind.SETTLED, Math.min(seconds('settled_ts') ?? this.#time, this.#time), {})
    } else this.#refuse(frame, `lifecycle ${String(type)} is not imported`)
  }

  #index(frame: Frame): void {
    const { msg } = frame
    this.#sequence(frame, null)
    const id = text(msg['index_id']) ?? text(msg['underlying_ticker'])
    let value = Number(msg['value_usd'] ?? Number.NaN)
    if (!Number.isFinite(value) && typeof msg['data'] === 'string') {
      try {
        const data: unknown = JSON.parse(msg['data'])
        value = typeof data === 'object' && data !== null && 'value' in data ? Number(data.value) : Number(data)
      } catch {
        value = Number.NaN
      }
    }
    const source = typeof msg['source_ts_ms'] === 'number' ? msg['source_ts_ms'] * 1000 : this.#time
    if (id === null || !Number.isFinite(value)) return this.#refuse(frame, 'index value without id or value')
    this.#push({
      time: this.#time,
      timeVenue: Math.min(source, this.#time),
      market: -1,
      kind: Kind.EXTERNAL,
      flags: Flag.LAST,
      side: 0,
      price: 0,
      quantity: 0,
      detail: JSON.stringify({ series: `${frame.type}:${id}`, value, revision: 0 }),
      ...FRESH,
    })
  }

  // ---------------------------------------------------------------------------------------------- state

  readonly #byNumber = new Map<number, MarketState>()

  /** The market, with a catalog row when it is new. `describe` runs before that row is written. */
  #market(ticker: string, connection: string, describe?: (market: MarketState) => void): MarketState {
    const known = this.#markets.get(ticker)
    if (known !== undefined) return known
    const seen = this.#known.prices.get(seriesOf(ticker)) ?? new Set<number>()
    const grid = inferGrid(seen)
    const number = this.#writer.market(ticker)
    const market = new MarketState(ticker, number, connection, grid.bands, 'inferred')
    describe?.(market)
    if (market.gridBasis === 'inferred') this.#remarks.add(`Price grid of ${market.series} inferred from the prices seen: ${grid.name}`)
    this.#remarks.add(`Fees of ${market.series} assumed: quadratic, multiplier 1 (the frames state none)`)
    this.#remarks.add(`Event of ${market.series} read from the ticker by convention`)
    this.#markets.set(ticker, market)
    this.#byNumber.set(number, market)
    this.#labeler.market(number, this.#hasPrints(market), market.closeTime, this.#known.volumeScale.get(connection) ?? 1)
    this.#nextClose = Math.min(this.#nextClose, market.closeTime ?? Infinity)
    const detail: CatalogDetail = {
      ticker,
      event: market.event,
      series: market.series,
      title: market.title,
      exclusive: market.exclusive,
      strike: market.strike,
      openTime: market.openTime,
      closeTime: market.closeTime,
      status: market.status,
      grid: market.grid,
      fee: market.fee,
    }
    this.#rare(market, Kind.CATALOG, this.#time, detail)
    return market
  }
  /** Prints may come by another connection than the book. */
  #hasPrints(market: MarketState): boolean {
    return this.#traded.has(market.ticker)
  }

  /** Another connection took the market over: between the two nobody watched. */
  #reconnected(market: MarketState, connection: string): void {
    this.#labeler.interrupted(market.number)
    if (market.synced) this.#unsync(market, 'recording interrupted', null)
    market.resume(this.#time)
    market.connection = connection
    this.#labeler.market(market.number, this.#hasPrints(market), market.closeTime)
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
      for (const m of s.markets) this.#unsync(m, `gap in seq after ${s.last}`, 'gaps')
    }
    s.last = frame.seq
    if (market !== null) s.markets.add(market)
  }

  #unsync(market: MarketState, reason: string, counter: Counter | null): void {
    if (counter !== null) market.count(counter, this.#time)
    market.fluxSince = -1
    if (!market.synced) return
    market.account(this.#time)
    market.synced = false
    this.#rare(market, Kind.SYNC, this.#time, { state: 'unsynced', reason })
  }

  /** A later venue instant: a book that is still crossed is broken. */
  #instant(market: MarketState, venue: number): void {
    if (
      market.synced &&
      market.fluxSince >= 0 &&
      (venue > market.venueTime || this.#time - market.fluxSince > FLUX_MAX) &&
      market.book.crossed
    ) {
      this.#crosses++
      this.#unsync(market, 'crossed', 'lastingCrosses')
    }
    if (venue > market.venueTime) market.venueTime = venue
  }

  /** Kalshi says nothing when a market closes: the row is written with the first news after its close time. */
  #close(market: MarketState, venue: number): void {
    if (market.closeTime === null || market.status !== 'active' || venue < market.closeTime) return
    market.status = 'closed'
    this.#rare(market, Kind.STATUS, market.closeTime, { status: 'closed' })
  }

  #pass(market: MarketState): void {
    market.account(this.#time)
    market.rows++
    market.hour(this.#time).rows++
  }

  /**
   * What nobody tells: markets close, and connections end. Both are written at their own time, before the first frame that is later. After the end of its connection a market
   * is not known any more, however long the rest of the tape is.
   */
  #silent(until: number): void {
    for (;;) {
      const end = this.#ends[0]
      const closing = this.#nextClose + CLOSE_GRACE
      const due = Math.min(end?.time ?? Infinity, closing)
      if (due >= until) return
      this.#time = Math.max(this.#time, due)
      if (end !== undefined && end.time === due) {
        this.#ends.shift()
        for (const market of this.#markets.values()) {
          if (market.connection !== end.connection) continue
          this.#labeler.interrupted(market.number)
          market.account(this.#time)
          this.#unsync(market, 'recording ended', null)
        }
      } else {
        this.#nextClose = Infinity
        for (const market of this.#markets.values()) {
          if (market.closeTime === null || market.status !== 'active') continue
          if (market.closeTime + CLOSE_GRACE <= due) this.#close(market, this.#time)
          else this.#nextClose = Math.min(this.#nextClose, market.closeTime)
        }
      }
    }
  }
  #nextClose = Infinity
  readonly #ends: { readonly time: number; readonly connection: string }[]

  #row(
    market: MarketState,
    kind: Kind,
    flags: number,
    side: number,
    price: number,
    quantity: number,
    venue: number,
    detail: string | null = null,
    executes = true,
  ): void {
    const time = Math.max(this.#time, venue)
    this.#push({ time, timeVenue: venue, market: market.number, kind, flags, side, price, quantity, detail, ...FRESH }, executes)
  }
  #rare(market: MarketState, kind: Kind, venue: number, detail: unknown): void {
    this.#row(market, kind, Flag.LAST, 0, 0, 0, Math.min(venue, this.#time), JSON.stringify(detail))
  }
  #push(row: Row, executes = true): void {
    if (row.time > this.#time) this.#time = row.time
    assert(Number.isSafeInteger(row.time) && Number.isSafeInteger(row.timeVenue), 'a row has whole times')
    this.#labeler.push(row, executes)
  }

  #refuse(frame: Frame, reason: string): void {
    this.reject({
      file: frame.file,
      line: frame.line,
      reason,
      raw: JSON.stringify({ type: frame.type, sid: frame.sid, seq: frame.seq, msg: frame.msg }).slice(0, 2_000),
    })
  }
}

/** A number as the wire writes it: text, or (older frames) a JSON number. '' for anything else. */
function digits(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
