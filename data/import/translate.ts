/**
 * Messages of the exchange → rows: the one place where a frame becomes a row, whether it was recorded or has just arrived. Owns books, sync state, silent openings and
 * closings, and the labels' input; hides the order in which the rows of one message are written. Invariants: a NO bid at x is written as a YES ask at 1 − x; a
 * negative level, a level off the grid or a lasting cross unsyncs its market until its next snapshot; the time of rows never decreases.
 *
 * Whoever calls it has checked `seq` and says what time it is (`advance`). Channels: orderbook_delta, ticker, trade, market_lifecycle_v2, cfbenchmarks_value, pyth_value.
 */
import { assert } from '../../engine/assert.ts'
import { gridOf } from '../../engine/grid.ts'
import { Flag, Kind, type CatalogDetail, type FeeDetail, type GridBand, type MarketStatus } from '../../engine/message.ts'
import { ASK, BID, parsePrice, parseQuantity, PRICE_ONE } from '../../engine/units.ts'
import { venueTime } from './frames.ts'
import { FRESH, type Labeler, type Row } from './label.ts'
import type { Counter, MarketState } from './state.ts'

/** The payload of a message: fields by name, as parsed from JSON. */
export type Message = Readonly<Record<string, unknown>>
export type BookLevel = { readonly side: number; readonly price: number; readonly quantity: number }

/** What a recording and a live stream do differently. */
export interface TranslatorHost {
  /** A market that is named for the first time; null: nobody wants it, its message is dropped. */
  open(ticker: string, connection: string): MarketState | null
  /** It is described and about to get its catalog row. */
  described(market: MarketState): void
  hasPrints(ticker: string): boolean
  /** Units of the exchange's volume in which one contract traded counts. */
  volumeScale(connection: string): number
  /** The message at hand is whole and takes effect now: where its sequence number is counted. */
  arrived(market: MarketState | null): void
  /** The message at hand cannot be used. */
  refuse(reason: string): void
  /** The book of a market is not to be trusted until its next snapshot. */
  unsynced(market: MarketState): void
}

/** µs. */
export type Believed = { readonly ahead: number; readonly behind: number }

/** The last deltas of a market may arrive this long after its close time. */
const CLOSE_GRACE = 2_000_000
/** Still crossed after this: broken, not in flux. */
const FLUX_MAX = 250_000

export class Translator {
  readonly markets = new Map<string, MarketState>()
  readonly #host: TranslatorHost
  readonly #labeler: Labeler
  readonly #yesPrices: boolean
  /** A venue time further ahead of ours, or further behind, is not believed. */
  readonly #believed: Believed
  /** When the next market opens or closes without a word. */
  #nextSilent = Infinity
  time = 0
  inFlux = 0
  negative = 0
  crosses = 0
  /** Messages whose venue time was beyond belief. */
  disbelieved = 0

  constructor(host: TranslatorHost, labeler: Labeler, yesPrices: boolean, believed: Believed = { ahead: Infinity, behind: Infinity }) {
    this.#host = host
    this.#labeler = labeler
    this.#yesPrices = yesPrices
    this.#believed = believed
  }

  // ------------------------------------------------------------------------------------------------ time

  /** When the next silent opening or closing is due; Infinity for none. */
  get due(): number {
    return this.#nextSilent
  }
  /** Time passes: what nobody tells happens at its own time, before anything later. */
  advance(until: number): void {
    while (this.#nextSilent < until) this.silent(this.#nextSilent)
    if (until > this.time) this.time = until
  }
  /** Kalshi says nothing when a market opens or closes. */
  silent(due: number): void {
    this.time = Math.max(this.time, due)
    this.#nextSilent = Infinity
    for (const market of this.markets.values()) {
      if (market.status === 'initialized' && market.openTime !== null && market.openTime <= due) {
        market.status = 'active'
        this.#rare(market, Kind.STATUS, market.openTime, { status: 'active' })
      }
      if (market.closeTime !== null && market.closeTime + CLOSE_GRACE <= due) this.#close(market, this.time)
      this.#plan(market)
    }
  }
  #plan(market: MarketState): void {
    if (market.status === 'initialized' && market.openTime !== null) this.#nextSilent = Math.min(this.#nextSilent, market.openTime)
    if (isOpen(market) && market.closeTime !== null) this.#nextSilent = Math.min(this.#nextSilent, market.closeTime + CLOSE_GRACE)
  }

  // ------------------------------------------------------------------------------------------------ markets

  /** The market, with a catalog row when it is new. `describe` runs before that row is written. Null: nobody wants it. */
  market(ticker: string, connection: string, describe?: (market: MarketState) => void): MarketState | null {
    const known = this.markets.get(ticker)
    if (known !== undefined) return known
    const market = this.#host.open(ticker, connection)
    if (market === null) return null
    describe?.(market)
    this.introduce(market)
    return market
  }
  introduce(market: MarketState): void {
    this.#host.described(market)
    this.markets.set(market.ticker, market)
    this.#declare(market, this.#host.volumeScale(market.connection))
    this.#plan(market)
    const detail: CatalogDetail = {
      ticker: market.ticker,
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
    this.#rare(market, Kind.CATALOG, this.time, detail)
  }
  /** Nobody will name it again. */
  forget(market: MarketState): void {
    this.markets.delete(market.ticker)
    this.#labeler.forget(market.number)
  }
  #declare(market: MarketState, volumeScale?: number): void {
    this.#labeler.market(market.number, this.#host.hasPrints(market.ticker), market.closeTime, volumeScale)
  }

  /** Another connection took the market over: between the two nobody watched. */
  reconnected(market: MarketState, connection: string): void {
    this.#labeler.interrupted(market.number)
    if (market.synced) this.unsync(market, 'recording interrupted', null)
    market.resume(this.time)
    market.connection = connection
    this.#declare(market)
  }
  /** The stream of a market ends here, for now. */
  interrupted(market: MarketState, reason: string): void {
    this.#labeler.interrupted(market.number)
    market.account(this.time)
    this.unsync(market, reason, null, reason !== 'recording ended')
  }

  unsync(market: MarketState, reason: string, counter: Counter | null, disconnected = false): void {
    if (counter !== null) market.count(counter, this.time)
    market.fluxSince = -1
    if (!market.synced) return
    market.account(this.time)
    market.synced = false
    this.#rare(market, Kind.SYNC, this.time, { state: 'unsynced', reason, ...(disconnected ? { disconnected } : {}) })
    this.#host.unsynced(market)
  }

  // ------------------------------------------------------------------------------------------------ the book

  snapshot(msg: Message, connection: string): void {
    const ticker = text(msg['market_ticker'])
    if (ticker === null) return this.#host.refuse('snapshot without market_ticker')
    const levels = levelsOf(msg['yes_dollars_fp'], msg['no_dollars_fp'], this.#yesPrices)
    if (typeof levels === 'string') return this.#host.refuse(levels)
    const market = this.market(ticker, connection)
    if (market === null) return
    const taken = market.connection !== connection
    if (taken) this.reconnected(market, connection)
    this.#host.arrived(market)
    this.#pass(market)
    if (crossed(levels)) {
      this.unsync(market, 'crossed snapshot', 'lastingCrosses')
      return this.#host.refuse('snapshot is crossed: were prices of the NO side recorded as YES prices (--yes-prices)?')
    }
    // A snapshot has no venue time: it is what the deltas before it led to, or, without any, what is true on receipt.
    const venue = taken || market.venueTime === 0 ? this.time : market.venueTime
    if (market.everSnapped && !market.synced) market.count('resyncs', this.time)
    market.everSnapped = true
    market.synced = true
    this.#whole(market, levels, venue, 0)
  }
  /** A book that was asked for while the stream is down: rows that are marked, and no sync. */
  polled(market: MarketState, levels: readonly BookLevel[]): void {
    assert(!market.synced, 'a polled book never replaces a synced one')
    this.#whole(market, levels, this.time, Flag.POLLED)
    this.#rare(market, Kind.SYNC, this.time, { state: 'unsynced', reason: 'polled' })
  }
  #whole(market: MarketState, levels: readonly BookLevel[], venue: number, flags: number): void {
    market.book.clear()
    market.fluxSince = -1
    this.#row(market, Kind.CLEAR, flags | (levels.length === 0 ? Flag.LAST : 0), 0, 0, 0, venue)
    let onGrid = true
    levels.forEach((l, i) => {
      onGrid = market.book.set(l.side, l.price, l.quantity) && onGrid
      this.#row(market, Kind.LEVEL, flags | (i === levels.length - 1 ? Flag.LAST : 0), l.side, l.price, l.quantity, venue)
    })
    if (!onGrid) this.unsync(market, 'level off the grid', null)
  }

  delta(msg: Message, connection: string): void {
    const ticker = text(msg['market_ticker'])
    const price = parsePrice(digits(msg['price_dollars']))
    const quantity = parseQuantity(digits(msg['delta_fp']))
    const venue = this.#venueTime(msg)
    if (ticker === null || !(price > 0 && price < PRICE_ONE) || !Number.isFinite(quantity) || quantity === 0)
      return this.#host.refuse('delta without market, price or change')
    if (msg['side'] !== 'yes' && msg['side'] !== 'no') return this.#host.refuse('delta without a side')
    if (!Number.isFinite(venue)) return this.#host.refuse('delta without a venue time')
    const market = this.market(ticker, connection)
    if (market === null) return
    if (market.connection !== connection) return this.#host.refuse('delta of a connection that another one has replaced')
    this.#host.arrived(market)
    this.#pass(market)
    this.#close(market, venue)
    this.#instant(market, venue)
    const side = msg['side'] === 'yes' ? BID : ASK
    const yes = side === ASK && !this.#yesPrices ? PRICE_ONE - price : price
    const { book } = market
    market.deltas++
    if (market.synced && !book.change(side, yes, quantity)) {
      this.negative++
      this.unsync(market, 'negative level', 'negativeLevels')
    }
    this.#row(market, Kind.DELTA, Flag.LAST, side, yes, quantity, venue)
    if (!market.synced) return this.#labeler.best(market.number, 0, PRICE_ONE)
    this.#labeler.best(market.number, book.hasBid ? book.bid : 0, book.hasAsk ? book.ask : PRICE_ONE)
    if (book.crossed) {
      if (market.fluxTime !== venue) {
        market.fluxTime = venue
        market.fluxSince = this.time
        this.inFlux++
        market.count('inFlux', this.time)
      }
    } else market.fluxSince = -1
  }

  /** A later venue instant: a book that is still crossed is broken. */
  #instant(market: MarketState, venue: number): void {
    if (market.fluxSince >= 0 && venue > market.venueTime) this.flux(market)
    else if (this.time - market.fluxSince > FLUX_MAX) this.flux(market)
    if (venue > market.venueTime) market.venueTime = venue
  }
  /** It has been in flux too long, or its instant is over: crossed is broken. */
  flux(market: MarketState): void {
    if (!market.synced || market.fluxSince < 0 || !market.book.crossed) return
    this.crosses++
    this.unsync(market, 'crossed', 'lastingCrosses')
  }

  // ------------------------------------------------------------------------------------------------ prints and tickers

  ticker(msg: Message, connection: string): void {
    const ticker = text(msg['market_ticker'])
    const venue = this.#venueTime(msg)
    const volume = parseQuantity(digits(msg['volume_fp']))
    if (ticker === null || !Number.isFinite(venue)) return this.#host.refuse('ticker without market or time')
    const market = this.markets.get(ticker)
    if (market === undefined || market.connection !== connection) return
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
        this.time,
      )
    }
    if (!market.synced || market.status !== 'active') return
    const bid = parsePrice(digits(msg['yes_bid_dollars']))
    const ask = parsePrice(digits(msg['yes_ask_dollars']))
    market.count('audits', this.time)
    if (
      (market.book.hasBid ? market.book.bid : 0) === bid &&
      (market.book.hasAsk ? market.book.ask : PRICE_ONE) === (ask === 0 ? PRICE_ONE : ask)
    )
      market.count('auditsEqual', this.time)
  }

  /** `late`: it was asked for afterwards; its place in the queue of that moment is gone. */
  trade(msg: Message, connection: string, late = false): void {
    const ticker = text(msg['market_ticker'])
    const price = parsePrice(digits(msg['yes_price_dollars']))
    const quantity = parseQuantity(digits(msg['count_fp']))
    const venue = late ? venueTime(msg) : this.#venueTime(msg)
    const side = takerSide(msg)
    if (ticker === null || !Number.isFinite(price) || !(quantity > 0) || !Number.isFinite(venue) || side === null) {
      return this.#host.refuse('trade without market, price, count, time or taker side')
    }
    const market = this.market(ticker, connection)
    if (market === null) return
    this.#host.arrived(null)
    this.#pass(market)
    this.#close(market, venue)
    market.trades++
    market.tradedQuantity += quantity
    // A block trade was agreed beside the book: it took nobody's place in it.
    const executes = msg['is_block_trade'] !== true && !late
    this.#row(market, Kind.TRADE, Flag.LAST | (late ? Flag.POLLED : 0), side, price, quantity, venue, null, executes)
  }

  // ------------------------------------------------------------------------------------------------ lifecycle

  lifecycle(msg: Message, connection: string): void {
    const ticker = text(msg['market_ticker'])
    if (ticker === null) return this.#host.refuse('lifecycle without market_ticker')
    const seconds = (key: string): number | null => (typeof msg[key] === 'number' ? msg[key] * 1_000_000 : null)
    const type = msg['event_type']
    if (type === 'created') {
      const more =
        typeof msg['additional_metadata'] === 'object' && msg['additional_metadata'] !== null
          ? (msg['additional_metadata'] as Record<string, unknown>)
          : {}
      this.market(ticker, connection, (m) => {
        m.openTime = seconds('open_ts')
        m.closeTime = seconds('close_ts')
        m.title = text(more['title']) ?? m.title
        m.event = text(more['event_ticker']) ?? m.event
        m.strike = digits(more['floor_strike']) || m.strike
        const bands = bandsOf(msg['price_ranges'])
        if (bands !== null) {
          m.regrid(bands)
          m.gridBasis = 'stated'
        }
        if (m.openTime !== null && m.openTime > this.time) m.status = 'initialized'
      })
      return
    }
    // Lifecycle speaks of every market of the exchange; those that are not recorded are no news.
    const market = this.markets.get(ticker)
    if (market === undefined) return
    this.#pass(market)
    if (type === 'activated' || type === 'deactivated') this.status(market, type === 'activated' ? 'active' : 'inactive')
    else if (type === 'close_date_updated') this.closes(market, seconds('close_ts') ?? market.closeTime)
    else if (type === 'price_level_structure_updated') {
      const bands = bandsOf(msg['price_ranges'])
      if (bands === null) return this.#host.refuse('price_level_structure_updated without price_ranges')
      this.grid(market, bands)
    } else if (type === 'determined') {
      const value = parsePrice(digits(msg['settlement_value'] ?? (msg['result'] === 'yes' ? '1' : msg['result'] === 'no' ? '0' : '')))
      const result = msg['result']
      if (!Number.isFinite(value) || (result !== 'yes' && result !== 'no' && result !== 'scalar'))
        return this.#host.refuse('determined without result or value')
      this.determined(market, result, value, seconds('determination_ts') ?? this.time)
    } else if (type === 'settled') {
      if (market.result === null) return this.#host.refuse('settled without a result before it')
      this.settled(market, seconds('settled_ts') ?? this.time)
    } else this.#host.refuse(`lifecycle ${String(type)} is not imported`)
  }
  status(market: MarketState, status: MarketStatus): void {
    market.status = status
    this.#plan(market)
    this.#rare(market, Kind.STATUS, this.time, { status })
  }
  closes(market: MarketState, closeTime: number | null): void {
    market.closeTime = closeTime
    this.#plan(market)
    this.#declare(market)
    this.#rare(market, Kind.STATUS, this.time, { status: market.status, closeTime })
  }
  /** It is over: when nobody told of its close, it closed at its time. */
  closed(market: MarketState): void {
    if (isOpen(market)) this.#closeNow(market)
  }
  grid(market: MarketState, bands: readonly GridBand[]): void {
    market.gridBasis = 'stated'
    const kept = market.regrid(bands)
    this.#rare(market, Kind.GRID, this.time, { grid: bands })
    if (!kept) this.unsync(market, 'level off the grid', null)
  }
  fee(market: MarketState, fee: FeeDetail): void {
    market.fee = fee
    market.feeBasis = 'stated'
    this.#rare(market, Kind.FEE, this.time, fee)
  }
  determined(market: MarketState, result: 'yes' | 'no' | 'scalar', value: number, venue: number): void {
    market.result = result
    market.settlementValue = value
    market.determinedTime = this.time
    market.status = 'determined'
    this.#rare(market, Kind.DETERMINED, Math.min(venue, this.time), { result, value })
  }
  settled(market: MarketState, venue: number): void {
    market.settledTime = this.time
    market.status = 'finalized'
    this.#rare(market, Kind.SETTLED, Math.min(venue, this.time), {})
  }

  /** The row is written with the first news after its close time, or when nobody says anything. */
  #close(market: MarketState, venue: number): void {
    if (market.closeTime !== null && isOpen(market) && venue >= market.closeTime) this.#closeNow(market)
  }
  #closeNow(market: MarketState): void {
    market.status = 'closed'
    this.#rare(market, Kind.STATUS, market.closeTime ?? this.time, { status: 'closed' })
  }

  // ------------------------------------------------------------------------------------------------ outside series

  index(type: string, msg: Message): void {
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
    const source = typeof msg['source_ts_ms'] === 'number' ? msg['source_ts_ms'] * 1000 : this.time
    if (id === null || !Number.isFinite(value)) return this.#host.refuse('index value without id or value')
    this.#push({
      time: this.time,
      timeVenue: Math.min(source, this.time),
      market: -1,
      kind: Kind.EXTERNAL,
      flags: Flag.LAST,
      side: 0,
      price: 0,
      quantity: 0,
      detail: JSON.stringify({ series: `${type}:${id}`, value, revision: 0 }),
      ...FRESH,
    })
  }

  // ------------------------------------------------------------------------------------------------ rows

  #venueTime(msg: Message): number {
    const venue = venueTime(msg)
    const { ahead, behind } = this.#believed
    // NaN is for the caller to refuse.
    if (!(venue > this.time + ahead || venue < this.time - behind)) return venue
    this.disbelieved++
    return this.time
  }

  #pass(market: MarketState): void {
    market.account(this.time)
    market.rows++
    market.hour(this.time).rows++
  }
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
    const time = Math.max(this.time, venue)
    this.#push({ time, timeVenue: venue, market: market.number, kind, flags, side, price, quantity, detail, ...FRESH }, executes)
  }
  #rare(market: MarketState, kind: Kind, venue: number, detail: unknown): void {
    this.#row(market, kind, Flag.LAST, 0, 0, 0, Math.min(venue, this.time), JSON.stringify(detail))
  }
  #push(row: Row, executes = true): void {
    if (row.time > this.time) this.time = row.time
    assert(Number.isSafeInteger(row.time) && Number.isSafeInteger(row.timeVenue), 'a row has whole times')
    this.#labeler.push(row, executes)
  }
}

/** Before its close; halted or not. */
function isOpen(market: MarketState): boolean {
  return market.status === 'active' || market.status === 'inactive'
}

/** A number as the wire writes it: text, or (older frames) a JSON number. '' for anything else. */
export function digits(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

export function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/** Both sides of a book as the exchange lists them → levels of the YES book, or why they are none. */
export function levelsOf(yes: unknown, no: unknown, yesPrices: boolean): BookLevel[] | string {
  const levels: BookLevel[] = []
  for (const [s, list] of [yes ?? [], no ?? []].entries()) {
    if (!Array.isArray(list)) return 'snapshot levels are not a list'
    for (const level of list as unknown[]) {
      const price = Array.isArray(level) ? parsePrice(String(level[0])) : Number.NaN
      const quantity = Array.isArray(level) ? parseQuantity(String(level[1])) : Number.NaN
      if (!(price > 0 && price < PRICE_ONE) || !(quantity >= 0)) return 'snapshot level without a price and a quantity'
      if (quantity > 0) levels.push({ side: s === 0 ? BID : ASK, price: s === 1 && !yesPrices ? PRICE_ONE - price : price, quantity })
    }
  }
  return levels
}
function crossed(levels: readonly BookLevel[]): boolean {
  let bid = 0
  let ask: number = PRICE_ONE
  for (const l of levels) {
    if (l.side === BID) bid = Math.max(bid, l.price)
    else ask = Math.min(ask, l.price)
  }
  return bid >= ask
}

/** The taker's side on the YES book, from the newest field that says it. */
function takerSide(msg: Message): number | null {
  const book = msg['taker_book_side']
  if (book !== undefined && book !== null) return book === 'bid' ? BID : book === 'ask' ? ASK : null
  if (msg['taker_outcome_side'] === 'yes' || msg['taker_side'] === 'yes') return BID
  return msg['taker_outcome_side'] === 'no' || msg['taker_side'] === 'no' ? ASK : null
}

/** `price_ranges` of the exchange → bands; null when they are none. */
export function bandsOf(value: unknown): GridBand[] | null {
  if (!Array.isArray(value)) return null
  const bands: GridBand[] = []
  for (const range of value as unknown[]) {
    if (typeof range !== 'object' || range === null) return null
    const { start, end, step } = range as Record<string, unknown>
    const band = { start: parsePrice(String(start)), end: parsePrice(String(end)), step: parsePrice(String(step)) }
    if (!(band.step > 0) || !(band.start >= 0) || !(band.end > band.start)) return null
    bands.push(band)
  }
  return bands.length > 0 ? bands : null
}

/** The bands hold together as a grid of the engine. */
export function isGrid(bands: readonly GridBand[]): boolean {
  try {
    gridOf(bands)
    return true
  } catch {
    return false
  }
}
