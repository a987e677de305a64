/**
 * The feed's decisions: which markets, over which connection, trusted or not. Owns the reducers (connections, streams, catalog, audits) and the translation into rows; hides them. What
 * arrives is a call with the time; what is to be done in the world is an action. No await, no clock, no chance but the given one. Invariant: a market is synced in the rows only while
 * its connection lives, its sequence is whole, its news is fresh and nobody has found its book wrong.
 */
import { Kind } from '../../engine/message.ts'
import { ASK, BID, MINUTE, parsePrice, SECOND } from '../../engine/units.ts'
import { venueTime } from '../../data/import/frames.ts'
import { Labeler } from '../../data/import/label.ts'
import { MarketState } from '../../data/import/state.ts'
import { digits, levelsOf, Translator, type BookLevel, type Message, type TranslatorHost } from '../../data/import/translate.ts'
import { Audits, type AuditOptions } from './audit.ts'
import { Catalog, type CatalogRequest, type Described, type Listed } from './catalog.ts'
import { Connection, Permits, type ConnectionCommand } from './connection.ts'
import { KalshiError } from './errors.ts'
import { Freshness } from './freshness.ts'
import { Outbox } from './outbox.ts'
import type { Chance, Quarantine, SocketEnd } from './ports.ts'
import type { Listing } from './rest.ts'
import { choose, MARKETS_MAX, type SelectionRule } from './selection.ts'
import { Stream, type StreamCommand, type StreamPlan } from './stream.ts'
import type { Answer, WireEvent, WireMarket, WireSeries, WireTrade } from './wire/answers.ts'
import { readFrame, type Channel, type StreamMessage } from './wire/stream.ts'

export type FeedOptions = {
  readonly rule: SelectionRule
  /** Follow the trade and ticker channels too (both by default). */
  readonly trades?: boolean
  readonly tickers?: boolean
  /** Outside series: CF Benchmarks indices (1 Hz), the same at 5 Hz, Pyth underlyings. */
  readonly indices?: readonly string[]
  readonly indicesFast?: readonly string[]
  readonly underlyings?: readonly string[]
  readonly marketsPerSocket?: number
  /** Milliseconds that rows are gathered before they are handed on. 0: at once. */
  readonly batchMs?: number
  /** µs that a row waits for its label. 0: not at all (trading); a recorder can wait 5 s, a paper session some 100 ms. */
  readonly labelWait?: number
  /** Rows that nobody has read before market data is thrown away and the books start anew. */
  readonly rowsMax?: number
  readonly audit?: Partial<AuditOptions>
  /** µs between readings of the catalog. */
  readonly refreshEvery?: number
  /** µs a connection may be down before its books are polled, and µs between polls. */
  readonly pollAfter?: number
  readonly pollEvery?: number
}

export type ReadRequest =
  | CatalogRequest
  | { readonly kind: 'audit'; readonly tickers: readonly string[] }
  | { readonly kind: 'poll'; readonly tickers: readonly string[]; readonly link: number }
  | { readonly kind: 'trades'; readonly ticker: string; readonly since: number }
  | { readonly kind: 'status' }
export type Action =
  | { readonly kind: 'open' | 'ping' | 'destroy'; readonly link: number }
  | { readonly kind: 'send'; readonly link: number; readonly text: string }
  | { readonly kind: 'read'; readonly request: ReadRequest }
  /** The feed cannot go on. */
  | { readonly kind: 'fail'; readonly error: KalshiError }

type Link = {
  readonly number: number
  readonly name: string
  readonly connection: Connection
  readonly stream: Stream
  readonly freshness: Freshness
  room: number
  downSince: number
  pollAt: number
  emptySince: number
}
type Tracked = {
  readonly state: MarketState
  readonly event: string
  readonly shard: number
  link: Link | null
  closedAt: number
  /** Halted with its shard, not for itself. */
  paused: boolean
  readonly tradeIds: Set<string>
  lastTrade: number
  /** When the stream last said something of its life: a list may be older. */
  newsAt: number
  polled: string
  /** Times at which its book was found broken. */
  breaks: number[]
}

const STATUS_EVERY = 15 * SECOND
const EVALUATE_EVERY = SECOND
/** A closed market stays subscribed this long: its book is wiped, its last trades come. */
const CLOSED_LINGER = 2 * MINUTE
const AHEAD_MAX = 5 * SECOND
const FLUX_MAX = 250_000
const TRADE_IDS = 512
const BREAKS_MAX = 5
const BACKFILLS_AT_ONCE = 2
const LINK_IDLE = MINUTE
/** A list may be half a minute behind (api.md §3.4). */
const LIST_LAG = 45 * SECOND

export class FeedCore implements TranslatorHost {
  readonly outbox: Outbox
  readonly #options: FeedOptions
  readonly #chance: Chance
  readonly #quarantine: Quarantine
  readonly #act: (action: Action) => void
  readonly #permits = new Permits()
  readonly #links: Link[] = []
  readonly #translator: Translator
  readonly #labeler: Labeler
  readonly #catalog: Catalog
  readonly #audits: Audits
  readonly #tracked = new Map<string, Tracked>()
  readonly #plan: StreamPlan
  readonly #fluxing = new Set<MarketState>()
  readonly #backfill = new Map<string, number>()
  #backfilling = 0
  #number = 0
  #introducing: Described | null = null
  #broken: MarketState[] = []
  /** Who unsyncs: the translator, for what it found in a book, or we. */
  #ours = false
  #raw = ''
  #now = 0
  #choked = false
  #evaluateAt = 0
  #statusAt = 0
  #releaseAt = 0
  /** µs by which the exchange's clock is ahead of ours, as far as REST answers tell. */
  clockOffset = 0
  readonly counts = {
    frames: 0,
    malformed: 0,
    unknown: 0,
    refused: 0,
    audits: 0,
    auditsEqual: 0,
    auditsBroken: 0,
    levelsCompared: 0,
    polledBooks: 0,
    tradesLate: 0,
    tradesTwice: 0,
    chokes: 0,
    births: 0,
    deaths: 0,
    drops: 0,
  }
  /** Types of messages that nobody knows, with how often they came. */
  readonly unknownTypes = new Map<string, number>()
  readonly dropReasons = new Map<string, number>()
  /** Markets whose catalog entry or answer cannot be used, with why. */
  readonly troubles = new Map<string, string>()

  constructor(options: FeedOptions, chance: Chance, quarantine: Quarantine, act: (action: Action) => void, now: number) {
    this.#options = options
    this.#chance = chance
    this.#quarantine = quarantine
    this.#act = act
    this.outbox = new Outbox(options.rowsMax ?? 131_072)
    this.#labeler = new Labeler((row) => {
      if (!this.#choked || row.kind >= Kind.CATALOG) this.outbox.push(row)
    }, options.labelWait ?? 0)
    this.#translator = new Translator(this, this.#labeler, true, AHEAD_MAX)
    this.#translator.time = now
    this.#catalog = new Catalog(options.rule, options.refreshEvery ?? MINUTE)
    this.#audits = new Audits({ every: 30 * SECOND, cacheAge: 15 * SECOND, settle: SECOND, markets: 20, ...options.audit }, now)
    const channels: Channel[] = ['orderbook_delta']
    if (options.trades !== false) channels.push('trade')
    if (options.tickers !== false) channels.push('ticker')
    this.#plan = { markets: channels, globals: [] }
    this.#link(now)
  }

  // ------------------------------------------------------------------------------------------------ the world

  opened(link: number, now: number): void {
    const l = this.#at(link, now)
    if (l === null || l.connection.state !== 'connecting') return
    l.connection.opened(now)
    l.freshness.reset()
    if (l.connection.connects > 1) for (const ticker of l.stream.tickers) this.#missed(ticker)
    l.stream.opened(now)
    this.#mend(now)
  }
  closed(link: number, end: SocketEnd, now: number): void {
    const l = this.#at(link, now)
    if (l === null) return
    l.connection.closed(end, now)
    this.#down(l, `disconnected${end.code === null ? '' : ` (${end.code})`}`, now)
  }
  heard(link: number, now: number): void {
    this.#at(link, now)?.connection.heard(now)
  }
  /** Something came that is no text frame. */
  strange(link: number, what: string, now: number): void {
    const l = this.#at(link, now)
    if (l === null) return
    this.#malformed(l, what, '', now)
    this.#mend(now)
  }
  frame(link: number, text: string, now: number): void {
    const l = this.#at(link, now)
    if (l === null || l.connection.state !== 'open') return
    l.connection.heard(now)
    this.counts.frames++
    const frame = readFrame(text)
    switch (frame.kind) {
      case 'malformed':
        this.#malformed(l, frame.reason, text, now)
        break
      case 'unknown': {
        this.counts.unknown++
        const seen = this.unknownTypes.get(frame.type) ?? 0
        if (seen === 0) this.#quarantine.keep({ time: now, where: l.name, reason: `unknown type ${frame.type.slice(0, 60)}`, raw: text })
        if (seen > 0 || this.unknownTypes.size < 100) this.unknownTypes.set(frame.type, seen + 1)
        l.stream.unknown(frame.sid, frame.seq, now)
        break
      }
      case 'message':
        if (l.stream.message(frame.message, now)) {
          this.#raw = text
          this.#apply(l, frame.message, now)
        }
    }
    this.#mend(now)
    if (this.outbox.full && !this.#choked) this.#choke(now)
    if ((this.#options.batchMs ?? 0) === 0) this.outbox.release()
  }

  /** Time passes; called every 50 ms or so. */
  tick(now: number): void {
    this.#now = now
    this.#translator.advance(now)
    for (const l of this.#links) {
      l.connection.advance(now)
      l.stream.advance(now)
      this.#poll(l, now)
    }
    if (this.#options.labelWait !== undefined && this.#options.labelWait > 0) this.#labeler.advance(now)
    for (const market of this.#fluxing) {
      if (market.fluxSince >= 0 && now - market.fluxSince <= FLUX_MAX) continue
      this.#fluxing.delete(market)
      this.#translator.flux(market)
    }
    this.#mend(now)
    this.#audit(now)
    for (const request of this.#catalog.advance(this.#tracked.keys(), now)) this.#read(request)
    if (now >= this.#statusAt) {
      this.#statusAt = now + STATUS_EVERY
      this.#read({ kind: 'status' })
    }
    if (now >= this.#evaluateAt) this.#evaluate(now)
    this.#backfills()
    if (this.#choked && this.outbox.rows === 0) this.#unchoke(now)
    if (now >= this.#releaseAt) {
      this.#releaseAt = now + (this.#options.batchMs ?? 0) * 1000
      this.outbox.release()
    }
  }

  // ------------------------------------------------------------------------------------------------ answers

  listed(request: ReadRequest, listing: Listing<WireMarket>, now: number): void {
    this.#pass(now)
    if (request.kind !== 'series-markets' && request.kind !== 'markets') return
    if (this.#catalog.listed(listing)) this.#reconcile(now)
  }
  event(wire: WireEvent, now: number): void {
    this.#pass(now)
    this.#catalog.event(wire)
    this.#evaluateAt = now
  }
  series(wire: WireSeries, now: number): void {
    this.#pass(now)
    this.#catalog.series(wire, now)
    this.#refee(now)
    this.#evaluateAt = now
  }
  fees(series: string, answer: Answer<'seriesFeeChanges'>, now: number): void {
    this.#catalog.feeChanges(series, answer.series_fee_change_arr, now)
  }
  books(request: ReadRequest, books: Answer<'orderbooks'>, now: number): void {
    this.#pass(now)
    const read = new Map<string, readonly BookLevel[]>()
    for (const { ticker, orderbook_fp: sides } of books.orderbooks) {
      // REST always writes NO prices (api.md §6).
      const levels = levelsOf(sides.yes_dollars, sides.no_dollars, false)
      if (typeof levels !== 'string') read.set(ticker, levels)
    }
    if (request.kind === 'audit') this.#audits.answered(read, now)
    else if (request.kind === 'poll') this.#polled(request.link, read, now)
    this.outbox.release()
  }
  trades(ticker: string, listing: Listing<WireTrade>, now: number): void {
    this.#pass(now)
    this.#backfilling--
    const t = this.#tracked.get(ticker)
    if (t === undefined) return
    // Newest first, as the exchange lists them.
    for (const trade of [...listing.items].reverse()) {
      if (t.tradeIds.has(trade.trade_id)) continue
      this.#remember(t, trade.trade_id)
      this.counts.tradesLate++
      const { created_time: ts, ticker: market_ticker, ...rest } = trade
      this.#raw = ''
      this.#translator.trade({ ...rest, market_ticker, ts }, t.state.connection, true)
    }
    this.outbox.release()
  }
  exchange(status: Answer<'exchangeStatus'>, now: number): void {
    this.#pass(now)
    const shards = new Map((status.exchange_index_statuses ?? []).map((s) => [s.exchange_index, s.exchange_active && s.trading_active]))
    const standard = status.exchange_active && status.trading_active
    for (const t of this.#tracked.values()) {
      const trading = shards.get(t.shard) ?? standard
      if (!trading && t.state.status === 'active') {
        t.paused = true
        this.#translator.status(t.state, 'inactive')
      } else if (trading && t.paused) {
        t.paused = false
        if (t.state.status === 'inactive') this.#translator.status(t.state, 'active')
      }
    }
    this.outbox.release()
  }
  /** A read that came to nothing: never "it is not there". */
  failed(request: ReadRequest, error: KalshiError, now: number): void {
    this.#pass(now)
    switch (request.kind) {
      case 'series-markets':
      case 'markets':
        if (this.#catalog.failedList()) this.#reconcile(now)
        break
      case 'event':
      case 'series':
      case 'fees':
        this.#catalog.failed(request, now)
        break
      case 'audit':
        this.#audits.failed()
        break
      case 'trades':
        this.#backfilling--
        if (error.code !== 'NOT_FOUND') this.#backfill.set(request.ticker, request.since)
        break
      case 'poll':
      case 'status':
        break
    }
    if (error.code === 'AUTH' || error.code === 'CREDENTIALS') this.#act({ kind: 'fail', error })
  }

  // ------------------------------------------------------------------------------------------------ what the translator asks

  open(ticker: string, connection: string): MarketState | null {
    const d = this.#introducing
    if (d === null || d.listed.ticker !== ticker) return null
    const state = new MarketState(ticker, this.#number++, connection, d.listed.grid, 'stated')
    state.event = d.listed.event
    state.series = d.series
    state.title = d.listed.title
    state.exclusive = d.exclusive
    state.strike = d.listed.strike
    state.openTime = d.listed.openTime
    state.closeTime = d.listed.closeTime
    state.status = d.listed.status
    state.fee = d.fee
    state.feeBasis = 'stated'
    return state
  }
  described(): void {}
  hasPrints(): boolean {
    return this.#options.trades !== false
  }
  volumeScale(): number {
    return 1
  }
  arrived(): void {}
  refuse(reason: string): void {
    this.counts.refused++
    this.#quarantine.keep({ time: this.#now, where: 'message', reason, raw: this.#raw })
  }
  unsynced(market: MarketState): void {
    this.#audits.spare(market.ticker)
    if (!this.#ours) this.#broken.push(market)
  }

  // ------------------------------------------------------------------------------------------------ messages

  #apply(l: Link, m: StreamMessage, now: number): void {
    switch (m.type) {
      case 'orderbook_snapshot': {
        if (this.#choked) return
        const refused = this.counts.refused
        this.#audits.spare(m.msg.market_ticker)
        this.#translator.snapshot(m.msg, l.name)
        if (this.counts.refused > refused) this.#unusable(m.msg.market_ticker)
        return
      }
      case 'orderbook_delta': {
        if (this.#choked) return
        const ticker = m.msg.market_ticker
        const refused = this.counts.refused
        if (this.#audits.watches(ticker))
          this.#audits.moved(ticker, m.msg.side === 'yes' ? BID : ASK, parsePrice(digits(m.msg.price_dollars)))
        this.#translator.delta(m.msg, l.name)
        if (this.counts.refused > refused) return this.#unusable(ticker)
        const state = this.#translator.markets.get(ticker)
        if (state !== undefined && state.fluxSince >= 0) this.#fluxing.add(state)
        this.#age(l, m.msg, now)
        return
      }
      case 'trade': {
        const t = this.#tracked.get(m.msg.market_ticker)
        if (t === undefined || this.#choked) return
        if (t.tradeIds.has(m.msg.trade_id)) {
          this.counts.tradesTwice++
          return
        }
        this.#remember(t, m.msg.trade_id)
        t.lastTrade = now
        return this.#translator.trade(m.msg, l.name)
      }
      case 'ticker':
        if (!this.#choked) this.#translator.ticker(m.msg, l.name)
        return
      case 'market_lifecycle_v2':
      case 'multivariate_market_lifecycle':
        return this.#lifecycle(m.msg, l, now)
      case 'event_lifecycle':
        return this.#catalog.soon(now)
      case 'event_fee_update': {
        const fee = this.#catalog.eventFee(m.msg.event_ticker, m.msg.fee_type_override, m.msg.fee_multiplier_override)
        if (fee === null) return
        for (const t of this.#tracked.values()) {
          if (t.event !== m.msg.event_ticker) continue
          if (fee !== 'unknown') this.#translator.fee(t.state, fee)
          else this.#freeze(t, `its fee ${String(m.msg.fee_type_override)} is not known`)
        }
        return
      }
      case 'cfbenchmarks_value':
      case 'cfbenchmarks_value_5hz':
      case 'pyth_value':
        return this.#translator.index(m.type, m.msg)
      // Fills, orders and positions of one's own are for the venue, which is not part of the feed.
      default:
        return
    }
  }
  #lifecycle(msg: Message & { readonly event_type: string; readonly market_ticker: string }, l: Link, now: number): void {
    const t = this.#tracked.get(msg.market_ticker)
    if (msg.event_type === 'created' || t === undefined) {
      if (msg.event_type === 'created') this.#catalog.soon(now)
      return
    }
    if (msg.event_type === 'metadata_updated') return
    t.newsAt = now
    const refused = this.counts.refused
    this.#translator.lifecycle(msg, l.name)
    // What it says is not understood: REST knows.
    if (this.counts.refused > refused) this.#catalog.soon(now)
    if (msg.event_type === 'activated') t.paused = false
    if (msg.event_type === 'price_level_structure_updated') this.#translator.unsync(t.state, 'grid changed', null)
    this.#evaluateAt = now
  }
  /** A message of the book that cannot be used leaves a book that nobody knows. */
  #unusable(ticker: string): void {
    const state = this.#translator.markets.get(ticker)
    if (state?.synced === true) this.#translator.unsync(state, 'message not usable', null)
    else if (state !== undefined) this.#broken.push(state)
  }
  #malformed(l: Link, reason: string, raw: string, now: number): void {
    this.counts.malformed++
    this.#quarantine.keep({ time: now, where: l.name, reason, raw })
    l.stream.malformed(now)
  }
  #age(l: Link, msg: Message, now: number): void {
    const change = l.freshness.see(venueTime(msg), now, this.clockOffset)
    if (change === null) return
    if (change === 'reconnect') l.connection.drop('its news is old', now)
    else if (change === 'stale') this.#unsync(l.stream.tickers, 'stale')
    else l.stream.resync([...l.stream.tickers], now)
  }
  #remember(t: Tracked, id: string): void {
    t.tradeIds.add(id)
    if (t.tradeIds.size > TRADE_IDS) for (const oldest of t.tradeIds) return void t.tradeIds.delete(oldest)
  }

  // ------------------------------------------------------------------------------------------------ links

  #link(now: number): Link {
    const number = this.#links.length
    const { indices, indicesFast, underlyings } = this.#options
    // The first connection also carries what has no markets.
    const globals: StreamPlan['globals'] =
      number > 0
        ? []
        : [
            { channel: 'market_lifecycle_v2' },
            ...(indices === undefined ? [] : [{ channel: 'cfbenchmarks_value', indices } as const]),
            ...(indicesFast === undefined ? [] : [{ channel: 'cfbenchmarks_value_5hz', indices: indicesFast } as const]),
            ...(underlyings === undefined ? [] : [{ channel: 'pyth_value', underlyings } as const]),
          ]
    const link: Link = {
      number,
      name: `socket-${number}`,
      connection: new Connection(this.#chance, this.#permits, (c) => this.#connectionCommand(number, c)),
      stream: new Stream({ ...this.#plan, globals }, (c) => this.#streamCommand(number, c)),
      freshness: new Freshness(),
      room: this.#options.marketsPerSocket ?? 200,
      downSince: now,
      pollAt: 0,
      emptySince: Infinity,
    }
    this.#links.push(link)
    this.#permits.want(this.#links.length)
    link.connection.start(now)
    return link
  }
  #connectionCommand(link: number, c: ConnectionCommand): void {
    switch (c.kind) {
      case 'connect':
        return this.#act({ kind: 'open', link })
      case 'ping':
        return this.#act({ kind: 'ping', link })
      case 'destroy': {
        this.counts.drops++
        this.dropReasons.set(c.reason, (this.dropReasons.get(c.reason) ?? 0) + 1)
        this.#act({ kind: 'destroy', link })
        return this.#down(this.#links[link] as Link, c.reason, this.#now)
      }
      case 'refused':
        return this.#act({
          kind: 'fail',
          error: new KalshiError(
            'AUTH',
            `the exchange refuses the handshake (${c.status}): check the key, its environment (demo or production) and the clock of this machine`,
            c.status,
          ),
        })
    }
  }
  #streamCommand(link: number, c: StreamCommand): void {
    const l = this.#links[link] as Link
    switch (c.kind) {
      case 'send':
        return this.#act({ kind: 'send', link, text: c.text })
      case 'drop':
        return l.connection.drop(c.reason, this.#now)
      case 'unsync':
        return this.#unsync(c.tickers, c.reason, c.gap)
      case 'missed':
        if (c.channel === 'trade') for (const ticker of c.tickers) this.#missed(ticker)
        else if (c.channel === 'market_lifecycle_v2') this.#catalog.soon(this.#now)
        return
      case 'full':
        l.room = Math.max(1, l.stream.size)
        for (const ticker of c.tickers) this.#unlink(ticker)
        this.#evaluateAt = this.#now
        return
      case 'refused':
        for (const ticker of c.tickers) {
          this.#trouble(ticker, c.reason)
          this.#unlink(ticker)
        }
    }
  }
  #down(l: Link, reason: string, now: number): void {
    l.stream.closed()
    l.downSince = now
    l.pollAt = now + (this.#options.pollAfter ?? 3 * SECOND)
    this.#ours = true
    for (const ticker of l.stream.tickers) {
      const t = this.#tracked.get(ticker)
      if (t !== undefined) this.#translator.interrupted(t.state, reason)
    }
    this.#ours = false
    this.outbox.release()
  }
  #unlink(ticker: string): void {
    const t = this.#tracked.get(ticker)
    if (t === undefined) return
    this.#unsync([ticker], 'not subscribed')
    t.link = null
  }
  #unsync(tickers: Iterable<string>, reason: string, gap = false): void {
    this.#ours = true
    for (const ticker of tickers) {
      const state = this.#translator.markets.get(ticker)
      if (state !== undefined) this.#translator.unsync(state, reason, gap ? 'gaps' : null)
    }
    this.#ours = false
  }

  // ------------------------------------------------------------------------------------------------ markets

  /** A whole reading of the catalog is there. */
  #reconcile(now: number): void {
    for (const t of this.#tracked.values()) {
      const listed = this.#catalog.markets.get(t.state.ticker)
      if (listed !== undefined) this.#compare(t, listed)
    }
    for (const ticker of this.#options.rule.tickers ?? [])
      if (!this.#catalog.markets.has(ticker)) this.#trouble(ticker, 'the exchange does not list it')
    for (const [ticker, why] of this.#catalog.unreadable) this.#trouble(ticker, why)
    this.#evaluate(now)
    this.outbox.release()
  }
  /** News that no message brought. */
  #compare(t: Tracked, listed: Listed): void {
    const { state } = t
    if (state.status === 'finalized' || this.#now - t.newsAt < LIST_LAG) return
    if (listed.closeTime !== state.closeTime) this.#translator.closes(state, listed.closeTime)
    if (JSON.stringify(listed.grid) !== JSON.stringify(state.grid)) {
      this.#translator.grid(state, listed.grid)
      this.#translator.unsync(state, 'grid changed', null)
    }
    if (listed.value !== null && listed.result !== null && (state.result !== listed.result || state.settlementValue !== listed.value))
      this.#translator.determined(state, listed.result, listed.value, this.#translator.time)
    if (listed.status === 'finalized' && state.result !== null)
      return this.#translator.settled(state, listed.settledTime ?? this.#translator.time)
    // A list can lag half a minute behind: it opens and halts markets, and reopens what was extended; it does not take back a later state.
    const order = ['unlisted', 'initialized', 'active', 'inactive', 'closed', 'determined', 'finalized']
    const halted = (s: string): boolean => s === 'active' || s === 'inactive'
    const later = order.indexOf(listed.status) > order.indexOf(state.status) && !(halted(listed.status) && halted(state.status))
    const changed = halted(listed.status) && halted(state.status) && listed.status !== state.status && !t.paused
    if ((later && listed.status !== 'determined' && listed.status !== 'finalized') || changed) this.#translator.status(state, listed.status)
  }

  #evaluate(now: number): void {
    this.#evaluateAt = now + EVALUATE_EVERY
    const rule = this.#options.rule
    const alive = new Set<string>()
    for (const t of this.#tracked.values()) if (t.closedAt === 0) alive.add(t.state.ticker)
    const wanted = choose(this.#catalog.markets.values(), { marketsMax: MARKETS_MAX, ...rule }, alive, now)
    const events = new Set<string>()
    for (const ticker of wanted) {
      const listed = this.#catalog.markets.get(ticker) as Listed
      events.add(listed.event)
      if (this.#tracked.has(ticker)) continue
      const described = this.#catalog.describe(ticker, now)
      if ('listed' in described) this.#track(described, now)
      else for (const request of described) this.#read(request)
    }
    for (const t of [...this.#tracked.values()]) this.#grow(t, now)
    for (const t of this.#tracked.values()) events.add(t.event)
    this.#catalog.prune(events)
    this.#place(now)
    this.#refee(now)
    for (const l of this.#links) {
      if (l.number === 0 || l.stream.size > 0) l.emptySince = Infinity
      else if (l.emptySince === Infinity) l.emptySince = now
      else if (now - l.emptySince > LINK_IDLE) l.connection.stop(now)
    }
  }
  #track(described: Described, now: number): void {
    this.counts.births++
    this.#introducing = described
    const { listed } = described
    const state = this.#translator.market(listed.ticker, 'none')
    this.#introducing = null
    if (state === null) return
    this.troubles.delete(listed.ticker)
    this.#tracked.set(listed.ticker, {
      state,
      event: listed.event,
      shard: listed.shard,
      link: null,
      closedAt: 0,
      paused: false,
      tradeIds: new Set(),
      lastTrade: now,
      newsAt: -Infinity,
      polled: '',
      breaks: [],
    })
  }
  /** What time does to a market: it closes, it leaves its connection, it is forgotten. */
  #grow(t: Tracked, now: number): void {
    const { state } = t
    const over = state.status === 'closed' || state.status === 'determined' || state.status === 'finalized'
    if (!over) t.closedAt = 0
    else if (t.closedAt === 0) t.closedAt = now
    if (over && t.link !== null && now - t.closedAt > CLOSED_LINGER) {
      t.link.stream.remove([state.ticker], now)
      this.#unsync([state.ticker], 'closed')
      t.link = null
    }
    if (state.status !== 'finalized' || (t.link !== null && now - t.closedAt <= CLOSED_LINGER)) return
    this.counts.deaths++
    this.#tracked.delete(state.ticker)
    this.#fluxing.delete(state)
    this.#backfill.delete(state.ticker)
    this.#audits.spare(state.ticker)
    this.#translator.forget(state)
  }
  /** Markets without a connection get one. */
  #place(now: number): void {
    const added = new Map<Link, string[]>()
    for (const t of this.#tracked.values()) {
      if (t.link !== null || t.closedAt > 0 || this.troubles.has(t.state.ticker)) continue
      let link = this.#links.find((l) => l.stream.size + (added.get(l)?.length ?? 0) < l.room)
      link ??= this.#link(now)
      t.link = link
      if (t.state.connection === 'none') t.state.connection = link.name
      const list = added.get(link)
      if (list === undefined) added.set(link, [t.state.ticker])
      else list.push(t.state.ticker)
    }
    for (const [link, tickers] of added) {
      link.connection.start(now)
      link.stream.add(tickers, now)
    }
  }
  #refee(now: number): void {
    for (const request of this.#catalog.fees(now)) this.#read(request)
    for (const t of this.#tracked.values()) {
      const fee = this.#catalog.feeOf(t.event)
      if (fee !== null && (fee.type !== t.state.fee.type || fee.multiplier !== t.state.fee.multiplier)) this.#translator.fee(t.state, fee)
    }
  }
  /** What is not understood is not traded: it leaves its connection until the catalog makes sense again. */
  #freeze(t: Tracked, why: string): void {
    this.#trouble(t.state.ticker, why)
    t.link?.stream.remove([t.state.ticker], this.#now)
    this.#unlink(t.state.ticker)
  }
  #trouble(ticker: string, why: string): void {
    if (this.troubles.size < 1_000) this.troubles.set(ticker, why)
  }

  // ------------------------------------------------------------------------------------------------ repair

  /** Books that were found broken: a snapshot, unless it was no use again and again. */
  #mend(now: number): void {
    if (this.#broken.length === 0) return
    const broken = this.#broken
    this.#broken = []
    const later: MarketState[] = []
    for (const state of broken) {
      const t = this.#tracked.get(state.ticker)
      if (t === undefined || t.link === null) continue
      t.breaks = t.breaks.filter((at) => now - at < MINUTE)
      if (t.breaks.length >= BREAKS_MAX) {
        later.push(state)
        continue
      }
      t.breaks.push(now)
      t.link.stream.resync([state.ticker], now)
    }
    // Its grid may have changed without a word.
    if (later.length > 0) this.#catalog.soon(now)
    this.#broken.push(...later)
  }
  #audit(now: number): void {
    const synced = (): string[] => {
      const tickers: string[] = []
      for (const t of this.#tracked.values()) if (t.state.synced && t.state.status === 'active') tickers.push(t.state.ticker)
      return tickers
    }
    const asked = this.#audits.advance(synced, now)
    if (asked !== null) this.#read({ kind: 'audit', tickers: asked })
    for (const v of this.#audits.verdicts((t) => this.#translator.markets.get(t), now)) {
      const t = this.#tracked.get(v.ticker)
      if (t === undefined) continue
      this.counts.audits++
      this.counts.levelsCompared += v.compared
      t.state.count('audits', this.#translator.time)
      if (v.equal) {
        this.counts.auditsEqual++
        t.state.count('auditsEqual', this.#translator.time)
      }
      if (!v.broken) continue
      this.counts.auditsBroken++
      this.#unsync([v.ticker], 'audit')
      // The stream itself gave this book: another subscription, not another snapshot.
      t.link?.stream.renew('a book differs from the exchange', now)
    }
  }
  #poll(l: Link, now: number): void {
    if (l.connection.state === 'open' || l.connection.state === 'idle' || now < l.pollAt) return
    l.pollAt = now + (this.#options.pollEvery ?? 2 * SECOND)
    const tickers = [...l.stream.tickers].filter((t) => this.#tracked.get(t)?.state.status === 'active')
    for (let i = 0; i < tickers.length; i += 100) this.#read({ kind: 'poll', tickers: tickers.slice(i, i + 100), link: l.number })
  }
  #polled(link: number, books: ReadonlyMap<string, readonly BookLevel[]>, now: number): void {
    // The stream may be back by now: it knows better.
    if (this.#links[link]?.connection.state === 'open' || this.#choked) return
    for (const [ticker, levels] of books) {
      const t = this.#tracked.get(ticker)
      if (t === undefined || t.state.synced || t.link?.number !== link) continue
      const said = JSON.stringify(levels)
      if (said === t.polled) continue
      t.polled = said
      this.counts.polledBooks++
      this.#ours = true
      this.#translator.polled(t.state, levels)
      this.#ours = false
    }
    this.#now = now
  }
  #missed(ticker: string): void {
    const t = this.#tracked.get(ticker)
    if (t !== undefined && this.#options.trades !== false) this.#backfill.set(ticker, t.lastTrade)
  }
  #backfills(): void {
    for (const [ticker, since] of this.#backfill) {
      if (this.#backfilling >= BACKFILLS_AT_ONCE) return
      this.#backfill.delete(ticker)
      this.#backfilling++
      this.#read({ kind: 'trades', ticker, since })
    }
  }

  /** Nobody reads: what waits is thrown away, and the books start anew when somebody does. */
  #choke(now: number): void {
    this.counts.chokes++
    this.outbox.shed()
    this.#unsync(this.#tracked.keys(), 'reader too slow')
    this.#choked = true
    this.#now = now
  }
  #unchoke(now: number): void {
    this.#choked = false
    for (const l of this.#links) {
      l.stream.resync([...l.stream.tickers], now)
      for (const ticker of l.stream.tickers) this.#missed(ticker)
    }
  }

  // ------------------------------------------------------------------------------------------------ small things

  #at(link: number, now: number): Link | null {
    this.#pass(now)
    return this.#links[link] ?? null
  }
  #pass(now: number): void {
    this.#now = now
    this.#translator.advance(now)
  }
  #read(request: ReadRequest): void {
    this.#act({ kind: 'read', request })
  }

  /** What a status page, a log line or a test wants to know. */
  status(): FeedStatus {
    return {
      links: this.#links.map((l) => ({
        name: l.name,
        state: l.connection.state,
        markets: l.stream.size,
        connects: l.connection.connects,
        stale: l.freshness.stale,
        age: l.freshness.age,
        agePercentile99: l.freshness.agePercentile99,
        sequence: l.stream.bookSequence,
        ...l.stream.counts,
      })),
      markets: [...this.#tracked.values()].map((t) => ({
        ticker: t.state.ticker,
        number: t.state.number,
        status: t.state.status,
        synced: t.state.synced,
        link: t.link?.number ?? null,
      })),
      counts: { ...this.counts, inFlux: this.#translator.inFlux, negative: this.#translator.negative, crosses: this.#translator.crosses },
      rowsWaiting: this.outbox.rows,
      rowsDropped: this.outbox.dropped,
    }
  }
}

export type FeedStatus = {
  readonly links: readonly {
    readonly name: string
    readonly state: string
    readonly markets: number
    readonly connects: number
    readonly stale: boolean
    readonly age: number
    readonly agePercentile99: number
    readonly sequence: { readonly sid: number; readonly seq: number } | null
    readonly gaps: number
    readonly duplicates: number
    readonly strays: number
    readonly malformed: number
    readonly errors: number
    readonly resubscribed: number
    readonly snapshotsAsked: number
  }[]
  readonly markets: readonly {
    readonly ticker: string
    readonly number: number
    readonly status: string
    readonly synced: boolean
    readonly link: number | null
  }[]
  readonly counts: Readonly<Record<string, number>>
  readonly rowsWaiting: number
  readonly rowsDropped: number
}
