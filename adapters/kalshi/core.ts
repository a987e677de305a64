/**
 * The feed's decisions: which markets, over which connection, trusted or not. Owns the reducers (connections, streams, catalog, audits) and the translation into rows; hides them. What
 * arrives is a call with the time; what is to be done in the world is an action. No await, no clock, no chance but the given one. Invariant: a market is synced in the rows only while
 * its connection lives, its sequence is whole, its news is fresh and nobody has found its book wrong.
 */
import { Kind } from '../../engine/message.ts'
import { ASK, BID, HOUR, MINUTE, parsePrice, SECOND } from '../../engine/units.ts'
import { venueTime } from '../../data/import/frames.ts'
import { Labeler } from '../../data/import/label.ts'
import type { MarketState } from '../../data/import/state.ts'
import { digits, levelsOf, Translator, type BookLevel, type Message, type TranslatorHost } from '../../data/import/translate.ts'
import { Catalog } from './catalog.ts'
import type { KalshiError } from './errors.ts'
import { Followed, type Tracked } from './followed.ts'
import { Links, type Link } from './links.ts'
import { Outbox } from './outbox.ts'
import type { Chance, Quarantine, SocketEnd } from './ports.ts'
import { Repair } from './repair.ts'
import type { Listing } from './rest.ts'
import { newCounts, unsync, type Action, type FeedOptions, type FeedStatus, type ReadRequest, type Shared } from './shared.ts'
import type { Answer, WireEvent, WireMarket, WireSeries, WireTrade } from './wire/answers.ts'
import { readFrame, type Channel, type StreamMessage } from './wire/stream.ts'

const STATUS_EVERY = 15 * SECOND
const AHEAD_MAX = 5 * SECOND
const FLUX_MAX = 250_000
const TRADE_IDS = 512
const UNKNOWN_TYPES_MAX = 100

export class FeedCore implements TranslatorHost {
  readonly outbox: Outbox
  readonly #options: FeedOptions
  readonly #quarantine: Quarantine
  readonly #translator: Translator
  readonly #labeler: Labeler
  readonly #catalog: Catalog
  readonly #shared: Shared
  readonly #links: Links
  readonly #followed: Followed
  readonly #repair: Repair
  readonly #fluxing = new Set<MarketState>()
  /** Of the last ticks, a bit less than a minute. */
  readonly #lateness = new Float64Array(1024)
  #ticks = 0
  #raw = ''
  #choked = false
  #statusAt = 0
  #releaseAt = 0
  /** µs by which the exchange's clock is ahead of ours, as far as REST answers tell. */
  clockOffset = 0
  readonly counts = newCounts()
  /** Types of messages that nobody knows, with how often they came. */
  readonly #unknownTypes = new Map<string, number>()

  constructor(options: FeedOptions, chance: Chance, quarantine: Quarantine, act: (action: Action) => void, now: number) {
    this.#options = options
    this.#quarantine = quarantine
    this.outbox = new Outbox(options.rowsMax ?? 131_072)
    this.#labeler = new Labeler((row) => {
      if (!this.#choked || row.kind >= Kind.CATALOG) this.outbox.push(row)
    }, options.labelWait ?? 0)
    this.#translator = new Translator(this, this.#labeler, true, { ahead: AHEAD_MAX, behind: HOUR })
    this.#translator.time = now
    this.#catalog = new Catalog(options.rule, options.refreshEvery ?? MINUTE)
    this.#shared = {
      options,
      act,
      counts: this.counts,
      translator: this.#translator,
      catalog: this.#catalog,
      troubles: new Map(),
      now,
      ours: false,
    }
    const channels: Channel[] = ['orderbook_delta']
    if (options.trades !== false) channels.push('trade')
    if (options.tickers !== false) channels.push('ticker')
    this.#links = new Links(this.#shared, chance, channels, {
      missed: (tickers) => {
        for (const ticker of tickers) this.#repair.missed(ticker)
      },
      unlinked: (tickers) => this.#followed.unlink(tickers),
    })
    this.#followed = new Followed(this.#shared, this.#links, (state) => {
      this.#fluxing.delete(state)
      this.#repair.forgotten(state)
    })
    this.#repair = new Repair(this.#shared, this.#links, this.#followed, now)
    this.#links.create(now)
  }

  // ------------------------------------------------------------------------------------------------ the world

  opened(link: number, now: number): void {
    const l = this.#at(link, now)
    if (l === null || l.connection.state !== 'connecting') return
    l.connection.opened(now)
    l.freshness.reset(now)
    if (l.connection.connects > 1) for (const ticker of l.stream.tickers) this.#repair.missed(ticker)
    l.stream.opened(now)
    this.#repair.mend(now)
  }
  closed(link: number, end: SocketEnd, now: number): void {
    const l = this.#at(link, now)
    if (l === null) return
    l.connection.closed(end, now)
    this.#links.down(l, `disconnected${end.code === null ? '' : ` (${end.code})`}`, now)
    this.outbox.release()
  }
  heard(link: number, now: number): void {
    this.#at(link, now)?.connection.heard(now)
  }
  /** Something came that is no text frame. */
  strange(link: number, what: string, now: number): void {
    const l = this.#at(link, now)
    if (l === null) return
    this.#malformed(l, what, '', now)
    this.#repair.mend(now)
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
        const seen = this.#unknownTypes.get(frame.type) ?? 0
        if (seen === 0) this.#quarantine.keep({ time: now, where: l.name, reason: `unknown type ${frame.type.slice(0, 60)}`, raw: text })
        if (seen > 0 || this.#unknownTypes.size < UNKNOWN_TYPES_MAX) this.#unknownTypes.set(frame.type, seen + 1)
        l.stream.unknown(frame.sid, frame.seq, now)
        break
      }
      case 'message':
        if (l.stream.message(frame.message, now)) {
          this.#raw = text
          this.#apply(l, frame.message, now)
        }
    }
    this.#repair.mend(now)
    if (this.outbox.full && !this.#choked) this.#choke()
    if ((this.#options.batchMs ?? 0) === 0) this.outbox.release()
  }

  shardOf(ticker: string): number | null {
    return this.#followed.tracked.get(ticker)?.shard ?? null
  }
  /** By how much (µs) the call of the clock was late. */
  late(by: number): void {
    this.#lateness[this.#ticks++ % this.#lateness.length] = Math.max(0, by)
  }
  /** Time passes; called every 50 ms or so. */
  tick(now: number): void {
    this.#pass(now)
    this.#links.advance(now)
    if (this.#options.labelWait !== undefined && this.#options.labelWait > 0) this.#labeler.advance(now)
    for (const market of this.#fluxing) {
      if (market.fluxSince >= 0 && now - market.fluxSince <= FLUX_MAX) continue
      this.#fluxing.delete(market)
      this.#translator.flux(market)
    }
    this.#repair.advance(now)
    for (const request of this.#catalog.advance(this.#followed.tickers, now)) this.#read(request)
    if (now >= this.#statusAt) {
      this.#statusAt = now + STATUS_EVERY
      this.#read({ kind: 'status' })
    }
    if (now >= this.#followed.evaluateAt) this.#followed.evaluate(now)
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
    if (this.#catalog.listed(listing, request.kind === 'series-markets' ? request.series : null)) this.#followed.reconcile(now)
    this.outbox.release()
  }
  event(wire: WireEvent, now: number): void {
    this.#pass(now)
    this.#catalog.event(wire)
    this.#followed.evaluateAt = now
  }
  series(wire: WireSeries, now: number): void {
    this.#pass(now)
    this.#catalog.series(wire, now)
    this.#followed.refee(now)
    this.#followed.evaluateAt = now
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
    if (request.kind === 'audit') this.#repair.audits.answered(read, now)
    else if (request.kind === 'poll' && !this.#choked) this.#repair.polled(request.link, read)
    this.outbox.release()
  }
  trades(ticker: string, listing: Listing<WireTrade>, now: number): void {
    this.#pass(now)
    this.#repair.backfilled()
    const t = this.#followed.tracked.get(ticker)
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
    this.#followed.exchange(status)
    this.outbox.release()
  }
  /** A read that came to nothing: never "it is not there". */
  failed(request: ReadRequest, error: KalshiError, now: number): void {
    this.#pass(now)
    switch (request.kind) {
      case 'series-markets':
      case 'markets':
        if (this.#catalog.failedList()) this.#followed.reconcile(now)
        break
      case 'event':
      case 'series':
      case 'fees':
        this.#catalog.failed(request, now)
        break
      case 'audit':
        this.#repair.audits.failed()
        break
      case 'trades':
        this.#repair.backfillFailed(request.ticker, request.since, error.code !== 'NOT_FOUND')
        break
      case 'poll':
      case 'status':
        break
    }
    if (error.code === 'AUTH' || error.code === 'CREDENTIALS') this.#shared.act({ kind: 'fail', error })
  }

  // ------------------------------------------------------------------------------------------------ what the translator asks

  open(ticker: string, connection: string): MarketState | null {
    return this.#followed.open(ticker, connection)
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
    this.#quarantine.keep({ time: this.#shared.now, where: 'message', reason, raw: this.#raw })
  }
  unsynced(market: MarketState): void {
    this.#repair.audits.spare(market.ticker)
    if (!this.#shared.ours) this.#repair.broken(market)
  }

  // ------------------------------------------------------------------------------------------------ messages

  #apply(l: Link, m: StreamMessage, now: number): void {
    switch (m.type) {
      case 'orderbook_snapshot': {
        if (this.#choked) return
        const refused = this.counts.refused
        this.#repair.audits.spare(m.msg.market_ticker)
        this.#translator.snapshot(m.msg, l.name)
        if (this.counts.refused > refused) this.#unusable(m.msg.market_ticker)
        // A whole book of old news is still old: all are asked for again when the news is fresh.
        else if (l.freshness.stale) unsync(this.#shared, [m.msg.market_ticker], 'stale')
        return
      }
      case 'orderbook_delta': {
        if (this.#choked) return
        const ticker = m.msg.market_ticker
        const refused = this.counts.refused
        if (this.#repair.audits.watches(ticker))
          this.#repair.audits.moved(ticker, m.msg.side === 'yes' ? BID : ASK, parsePrice(digits(m.msg.price_dollars)))
        this.#translator.delta(m.msg, l.name)
        if (this.counts.refused > refused) return this.#unusable(ticker)
        const state = this.#translator.markets.get(ticker)
        if (state !== undefined && state.fluxSince >= 0) this.#fluxing.add(state)
        this.#age(l, m.msg, now)
        return
      }
      case 'trade': {
        const t = this.#followed.tracked.get(m.msg.market_ticker)
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
        for (const t of this.#followed.tracked.values()) {
          if (t.event !== m.msg.event_ticker) continue
          if (fee !== 'unknown') this.#translator.fee(t.state, fee)
          else this.#followed.freeze(t, `its fee ${String(m.msg.fee_type_override)} is not known`)
        }
        return
      }
      case 'cfbenchmarks_value':
      case 'cfbenchmarks_value_5hz':
      case 'pyth_value':
        return this.#translator.index(m.type, m.msg)
      // One's own fills, orders and positions are for the venue, which is not part of the feed.
      case 'fill':
      case 'user_order':
      case 'market_position':
      case 'order_group_updates':
        return
      // Answers; the stream has taken them.
      case 'subscribed':
      case 'unsubscribed':
      case 'ok':
      case 'error':
      case 'cfbenchmarks_value_indexlist':
      case 'cfbenchmarks_value_5hz_indexlist':
      case 'pyth_value_underlying_list':
        return
    }
  }
  #lifecycle(msg: Message & { readonly event_type: string; readonly market_ticker: string }, l: Link, now: number): void {
    const t = this.#followed.tracked.get(msg.market_ticker)
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
    this.#followed.evaluateAt = now
  }
  /** A message of the book that cannot be used leaves a book that nobody knows. */
  #unusable(ticker: string): void {
    const state = this.#translator.markets.get(ticker)
    if (state?.synced === true) this.#translator.unsync(state, 'message not usable', null)
    else if (state !== undefined) this.#repair.broken(state)
  }
  #malformed(l: Link, reason: string, raw: string, now: number): void {
    this.counts.malformed++
    this.#quarantine.keep({ time: now, where: l.name, reason, raw })
    l.stream.malformed(now)
  }
  #age(l: Link, msg: Message, now: number): void {
    const change = l.freshness.see(typeof msg['ts_ms'] === 'number' ? msg['ts_ms'] * 1000 : venueTime(msg), now, this.clockOffset)
    if (change === null) return
    if (change === 'reconnect') l.connection.drop(l.freshness.senseless ? 'its times make no sense' : 'its news is old', now)
    else if (change === 'stale') unsync(this.#shared, l.stream.tickers, 'stale')
    else l.stream.resync([...l.stream.tickers], now)
  }
  #remember(t: Tracked, id: string): void {
    t.tradeIds.add(id)
    if (t.tradeIds.size > TRADE_IDS) for (const oldest of t.tradeIds) return void t.tradeIds.delete(oldest)
  }

  // ------------------------------------------------------------------------------------------------ small things

  /** Nobody reads: what waits is thrown away, and the books start anew when somebody does. */
  #choke(): void {
    this.counts.chokes++
    // What waits for its label goes the way of all other rows: of a hole nobody may see the far side first.
    this.#labeler.finish()
    this.outbox.shed()
    unsync(this.#shared, this.#followed.tracked.keys(), 'reader too slow')
    // The reader must take this before anything else, and only then is he there again.
    this.#labeler.finish()
    this.#choked = true
  }
  #unchoke(now: number): void {
    this.#choked = false
    for (const l of this.#links.list) {
      l.stream.resync([...l.stream.tickers], now)
      for (const ticker of l.stream.tickers) this.#repair.missed(ticker)
    }
  }
  #at(link: number, now: number): Link | null {
    this.#pass(now)
    return this.#links.list[link] ?? null
  }
  #pass(now: number): void {
    this.#shared.now = now
    this.#translator.advance(now)
  }
  #read(request: ReadRequest): void {
    this.#shared.act({ kind: 'read', request })
  }

  /** What a status page, a log line or a test wants to know. */
  status(): FeedStatus {
    return {
      links: this.#links.list.map((l) => ({
        name: l.name,
        state: l.connection.state,
        markets: l.stream.size,
        connects: l.connection.connects,
        stale: l.freshness.stale,
        silent: l.connection.state === 'open' ? this.#shared.now - l.connection.lastHeard : null,
        age: l.freshness.age,
        agePercentile99: l.freshness.agePercentile99,
        sequence: l.stream.bookSequence,
        ...l.stream.counts,
      })),
      markets: [...this.#followed.tracked.values()].map((t) => ({
        ticker: t.state.ticker,
        number: t.state.number,
        status: t.state.status,
        synced: t.state.synced,
        link: t.link?.number ?? null,
      })),
      counts: { ...this.counts, inFlux: this.#translator.inFlux, negative: this.#translator.negative, crosses: this.#translator.crosses },
      troubles: Object.fromEntries(this.#shared.troubles),
      drops: Object.fromEntries(this.#links.dropReasons),
      unknownTypes: Object.fromEntries(this.#unknownTypes),
      clockOffset: this.clockOffset,
      latenessMax: Math.max(...this.#lateness),
      rowsWaiting: this.outbox.rows,
      rowsDropped: this.outbox.dropped,
    }
  }
}
