/**
 * The engine: one synchronous loop over one ordered stream. Rows, commands on their way, answers and timers go in; commands, the
 * journal and samples come out. Owns the order of things inside an instant; hides nothing else: books, matching, risk, orders and
 * money each have their file. Invariant: the same session header and the same rows give the same calls in the same order, however
 * the rows are cut into batches.
 *
 * One instant:  rows (with their matching) → commands due → answers → strategy handlers → timers, repeated until quiet.
 */
import { assert, AssertionError, unreachable } from './assert.ts'
import type { BasketRun } from './basket.ts'
import { StrategyDesk, type DeskHost } from './desk.ts'
import { Dispatch, type Notice } from './dispatch.ts'
import { Externals } from './externals.ts'
import { gridOf } from './grid.ts'
import { Journal, Strings, type JournalSink } from './journal.ts'
import { Live, OUTSIDE, type LiveHost } from './live.ts'
import { Markets, type Market } from './market.ts'
import {
  Flag,
  Kind,
  labelOf,
  Label,
  type Batch,
  type CatalogDetail,
  type DeterminedDetail,
  type ExternalDetail,
  type FeeDetail,
  type GridDetail,
  type OperatorDetail,
  type StatusDetail,
  type SyncDetail,
} from './message.ts'
import type { News } from './news.ts'
import type { Answer, Order } from './order.ts'
import { OrderManager, type ManagerHost } from './order-manager.ts'
import { TokenBucket } from './token-bucket.ts'
import type { Wish } from './wish.ts'
import { distinct, Words } from './words.ts'
import { Portfolio } from './portfolio.ts'
import { EventQueue, Phase, PHASE_HANDLERS } from './queue.ts'
import { Risk, type RiskState } from './risk.ts'
import { Samples, type SampleSink } from './samples.ts'
import { Sampler, type Markout } from './sampler.ts'
import { marketEnd, ownerEnds, settlementRow, summed } from './settlement.ts'
import type { MarketEnd, SessionEnd, SessionHeader } from './session.ts'
import { SessionState, type SessionCause, type SessionStateName } from './session-state.ts'
import type { Strategy } from './strategy.ts'
import { StrategyError, type Call } from './strategy-error.ts'
import { MarketBook } from './view.ts'
import { ASK, BID, MILLISECOND, MINUTE, PRICE_ONE, type Money, type SideCode, type Timestamp } from './units.ts'
import type { Inbox, Venue } from './venue.ts'

/** Still crossed this long after it began, without news: the market is unsynced. */
const FLUX_MAX = 250 * MILLISECOND
/** Live: a market that has paid stays for so long: fills from before, of anybody on the account, may be heard of after it (a restart hears of the result first). */
const LATE = 10 * MINUTE
/** More rounds than this inside one instant: something answers itself for ever. */
const ROUNDS_MAX = 10_000
/** Wakes that strategies may be ahead of the rows, and how many of them each later row forgives: beyond that they wake themselves for ever, a microsecond at a time. */
const WAKES_MAX = 1_000_000
const WAKES_FORGIVEN = 1_000

type Due =
  | { readonly type: 'venue'; readonly market: Market; readonly token: unknown }
  | { readonly type: 'answer'; readonly answer: Answer }
  | { readonly type: 'wake'; readonly owner: number }
  | { readonly type: 'retry'; readonly wish: Wish }
  | { readonly type: 'basket'; readonly basket: BasketRun }
  | { readonly type: 'flux'; readonly market: Market; readonly since: number }
  | { readonly type: 'sample'; readonly markout: Markout }
  | { readonly type: 'lost'; readonly since: number }
  | { readonly type: 'unsynced'; readonly market: Market; readonly since: number }
  | { readonly type: 'leave'; readonly market: Market }

export type EngineOptions = {
  readonly header: SessionHeader
  readonly strategies: readonly Strategy[]
  readonly venue: Venue
  readonly sink: JournalSink & SampleSink
}

export class Engine implements Inbox, DeskHost, ManagerHost, LiveHost {
  readonly markets: Markets
  readonly externals = new Externals()
  readonly portfolio: Portfolio
  readonly journal: Journal
  readonly words: Words
  readonly manager: OrderManager
  readonly #header: SessionHeader
  readonly #dispatch: Dispatch
  readonly #venue: Venue
  readonly #samples: Samples
  readonly #sampler: Sampler
  /** What permits orders. */
  readonly session: SessionState
  readonly #state: RiskState
  readonly #queue = new EventQueue<Due>()
  /** Markets with a complete exchange message in this instant, in order. */
  #dirty: Market[] = []
  #dirtySpare: Market[] = []
  #dirtyCount = 0
  #notices: Notice[] = []
  readonly #ended: MarketEnd[] = []
  /** Raw time of the latest row, and the engine's clock (never behind it). */
  #rowTime = -Infinity
  #now = 0
  /** Time that has passed without a row, as we were told. */
  #ticked = -Infinity
  #rows = 0
  /** Rows of the batch at hand that are done: what counts when a strategy throws in the middle. */
  #rowsInBatch = 0
  /** Rows that repeat what is known, for readers who begin in the middle: they are no rows of the market. */
  #checkpoints = 0
  #firstTime: number | null = null
  /** First row that a strategy could hear of. */
  #heardFrom: number | null = null
  #warmupUntil = -Infinity
  /** Before `--from` the strategy hears nothing; from there on it hears, and trades after the warm-up. */
  readonly #quietUntil: number
  #synced = 0
  #twoSided = 0
  #shown = 0
  #unsynced = 0
  #inFlux = 0
  /** Wakes asked for, less what rows forgave. */
  #wakes = 0
  /** Paper and live: open markets with a whole book, and since when there is none (−1: there is one). Null in a backtest, whose tape is its own feed. */
  readonly #whole: Set<Market> | null
  #noneSince = -1
  /** Orders are real. */
  readonly #live: Live | null

  constructor({ header, strategies, venue, sink }: EngineOptions) {
    this.#header = header
    this.#venue = venue
    this.markets = new Markets(header.tape.depth)
    this.#quietUntil = header.selection.from ?? -Infinity
    const strings = new Strings()
    this.journal = new Journal(strings, sink)
    const live = header.mode === 'live'
    const names = strategies.map((s) => s.name)
    // What the account does beside the strategies has a ledger too.
    const owners = live ? [...names, OUTSIDE] : names
    this.words = new Words(this.journal, distinct(owners))
    this.#samples = new Samples(strings, sink)
    this.portfolio = new Portfolio(header.cash as Money, owners.length)
    this.session = new SessionState((name, cause) => this.#entered(name, cause), live)
    this.#whole = header.mode === 'backtest' ? null : new Set()
    this.#state = { now: 0, lastRow: -Infinity, session: this.session, ordersOpen: 0, ordersUnknown: 0 }
    const risk = new Risk(header.limits, this.portfolio, this.#state)
    const bucket = new TokenBucket(header.rate.perSecond, header.rate.capacity)
    const { portfolio, journal, words } = this
    this.manager = new OrderManager(venue, risk, portfolio, this.#state, journal, bucket, this, words, owners.length, live)
    this.#live = live ? new Live(this, strategies.length) : null
    this.#sampler = new Sampler(this.#samples, this.portfolio, this.words, (time, markout) =>
      this.#queue.push(Math.max(time, this.#now), Phase.TIMER, { type: 'sample', markout }),
    )
    this.#dispatch = new Dispatch(
      strategies,
      strategies.map((s, owner) => new StrategyDesk(this, owner, s.name)),
    )
    venue.connect(this)
  }

  get now(): number {
    return this.#now
  }
  /** Raw time of the latest row. */
  get rowTime(): number {
    return this.#rowTime
  }
  get ordersOpen(): number {
    return this.#state.ordersOpen
  }
  /** The handler that is running, for whoever had to break it off. */
  get calling(): Call | null {
    return this.#dispatch.calling
  }
  /** A strategy failed: none is called any more; what is on its way can still be finished. */
  stop(): void {
    this.#dispatch.stop()
    this.session.move('strategy-error', this.#now)
  }
  /**
   * Time passes without rows (paper and live): everything due before `time` happens at its own time, as it would have when the next row came. Later rows are later than `time`. Ticks
   * change no byte of the record, so that nobody needs to know of them afterwards.
   */
  tick(time: number): void {
    if (time <= this.#rowTime || time <= this.#ticked) return
    this.#ticked = time
    this.#elapse(time)
  }
  /**
   * Something beside rows is learned at `time` (live): no earlier than any row, tick or news before it; what is due by then happens first, and later rows are later than `time`. Throws AssertionError
   * where news contradicts itself: then the session must stop.
   */
  enter(time: number, news: News): void {
    const live = this.#live
    assert(live !== null, 'news enters a live session')
    assert(time >= this.#rowTime && time >= this.#ticked, 'news comes in the order of its time')
    this.#elapse(time)
    this.#ticked = time
    this.#setNow(time)
    live.learn(news)
    this.#drain()
  }
  /** Live: fills of others in a market that the feed has not told of wait to be booked. */
  awaits(ticker: string): boolean {
    return this.#live?.awaits(ticker) ?? false
  }
  /** What was written so far goes to the sink, full block or not. */
  flush(): void {
    this.journal.flush()
    this.#samples.flush()
  }

  /** Takes the next rows, in order. */
  run(batch: Batch): void {
    const {
      length,
      time,
      timeVenue,
      market: marketColumn,
      kind: kinds,
      flags: flagColumn,
      side: sides,
      price: prices,
      quantity: quantities,
    } = batch
    const tape = this.#venue.onTape
    const state = this.#state
    for (let i = 0; i < length; i++) {
      const t = time[i] as number
      if (t !== this.#rowTime) {
        this.#rowsInBatch = i
        this.#advance(t)
      }
      const kind = kinds[i] as number
      if (kind >= Kind.CATALOG) {
        if (((flagColumn[i] as number) & Flag.CHECKPOINT) !== 0) this.#checkpoints++
        this.#rare(kind, marketColumn[i] as number, timeVenue[i] as number, batch.details[batch.detail[i] as number])
        continue
      }
      state.lastRow = t
      const market = this.markets.at(marketColumn[i] as number)
      if (market === null) continue // paid and gone: a late row says nothing to us
      assert(market !== undefined, 'a market is in the catalog before its first row')
      const flags = flagColumn[i] as number
      const tv = timeVenue[i] as number
      if (tv > market.venueTime) this.#instant(market, tv)
      const side = sides[i] as SideCode
      const price = prices[i] as number
      const quantity = quantities[i] as number
      const watched = tape !== null && market.resting > 0
      if (kind === Kind.DELTA) {
        // An unsynced book is not kept: only a snapshot makes it whole again.
        if (!market.synced) continue
        if (watched && (flags & Flag.EXECUTION) !== 0 && labelOf(flags) === Label.TRADE) tape.execution(market, side, price, -quantity, tv)
        if (!market.book.change(side, price, quantity)) {
          this.#unsync(market, 'negative level')
          continue
        }
        if (tape !== null && quantity < 0 && (watched || market.taken)) tape.displayed(market, side, price, market.book.at(side, price))
      } else if (kind === Kind.TRADE) {
        market.lastTrade = price
        if (watched && market.synced && (flags & Flag.EXECUTION) !== 0)
          tape.execution(market, side === BID ? ASK : BID, price, quantity, tv)
        if (market.depth === 'prints' && market.sampled) this.#sampler.touched(market, this.#now)
        if (this.#dispatch.listensToTrades) this.#notices.push({ type: 'trade', market, side, price, quantity, timeVenue: tv })
        continue
      } else if (kind === Kind.CLEAR || kind === Kind.LEVEL) {
        if ((flags & Flag.CHECKPOINT) !== 0) {
          this.#checkpoints++
          if (market.synced && !market.inSnapshot) {
            this.#audit(market, kind, flags, side, price, quantity)
            continue
          }
        }
        if (kind === Kind.CLEAR) {
          market.inSnapshot = true
          market.book.clear()
        } else if (!market.book.set(side, price, quantity)) {
          this.#unsync(market, 'level off the grid')
          continue
        }
        if ((flags & Flag.LAST) === 0) continue
        // A level that was off the grid ended the snapshot: then this book is not whole.
        if (!market.inSnapshot) continue
        market.inSnapshot = false
        this.#sync(market)
        if (tape !== null && (watched || market.taken)) tape.snapshot(market)
      } else if (kind !== Kind.QUOTE || !this.#quoted(market, flags, side, price, quantity)) continue
      if ((flags & Flag.LAST) !== 0 && !market.dirty) {
        market.dirty = true
        this.#dirty[this.#dirtyCount++] = market
      }
    }
    this.#rows += length
    this.#rowsInBatch = 0
  }

  /** The tape is over: what is on its way still happens, strategies only hear of it. */
  finish(reason: string, complete: boolean): SessionEnd {
    this.#drain()
    this.session.move('end', this.#now)
    // Long enough for every command and answer: each is due within a lag and its delays.
    const { delays, tape } = this.#header
    const horizon = this.#now + 2 * (tape.lagMax + delays.answer + Math.max(delays.place, delays.cancel, delays.amend)) + FLUX_MAX
    while (this.#queue.time <= horizon) {
      this.#setNow(this.#queue.time)
      this.#drain()
    }
    for (const market of this.markets.alive) if (market.holding !== null) this.portfolio.mark(market)
    this.#sampler.finish(this.#now, this.markets.alive)
    this.journal.state(this.#now, -1, this.words.of(`session:${complete ? 'complete' : 'partial'}`), this.words.of(reason))
    this.session.move('over', this.#now)
    this.flush()
    const open: Market[] = []
    for (const market of this.markets.alive) {
      if (market.holding === null) continue
      this.#ended.push(marketEnd(market, this.portfolio))
      if (market.holding.position !== 0 || market.holding.positions.some((p) => p !== 0)) open.push(market)
    }
    open.sort((a, b) => (a.ticker < b.ticker ? -1 : 1))
    const { tallies } = this.manager
    const owners = ownerEnds(this.words.ownerNames, this.portfolio, tallies, open).filter(
      (o, owner) => owner < this.#header.strategies.length || o.fills > 0,
    )
    this.#ended.sort((a, b) => (a.ticker < b.ticker ? -1 : 1))
    const p = this.portfolio
    let sum = 0
    for (const m of this.#ended) sum += m.pnl
    assert(sum === p.equity - p.start, 'the profits of the markets add up to the change of equity')
    assert(owners.reduce((a, o) => a + o.pnl, 0) === sum, 'the profits of the strategies add up to the change of equity')
    return {
      complete,
      reason,
      rows: this.#rows + this.#rowsInBatch - this.#checkpoints,
      firstTime: this.#heardFrom,
      lastTime: this.#heardFrom === null ? null : this.#rowTime,
      marketsSeen: this.markets.seen,
      marketsSynced: this.#synced,
      marketsTwoSided: this.#twoSided,
      marketsShown: this.#shown,
      marketsUnsyncedEver: this.#unsynced,
      inFlux: this.#inFlux,
      cash: p.cash,
      locked: p.locked,
      equity: p.equity,
      equityMid: p.equityMid,
      equityPeak: p.equityPeak,
      drawdownMax: p.drawdownMax,
      fees: p.fees,
      stressLoss: p.loss + (p.equity - p.start),
      signals: tallies.reduce((a, t) => a + t.signals, 0),
      orders: this.manager.orders,
      fills: this.manager.fills,
      refusals: summed(tallies.map((t) => t.refusals)),
      rejections: summed(tallies.map((t) => t.rejections)),
      externals: this.externals.names,
      owners,
      markets: this.#ended,
    }
  }

  // ------------------------------------------------------------------------------------------------ time

  /** A row at a later time: finish this instant, then everything due before it. */
  #advance(time: number): void {
    assert(time > this.#rowTime && time > this.#ticked, 'rows come in the order of their time, and after the time that has passed')
    this.#elapse(time)
    this.#rowTime = time
    this.#wakes = this.#wakes > WAKES_FORGIVEN ? this.#wakes - WAKES_FORGIVEN : 0
    this.#setNow(time)
    if (this.#heardFrom === null && time >= this.#quietUntil) this.#heardFrom = time
    if (this.#firstTime === null) this.#begin(time)
    else if (time >= this.#warmupUntil) this.#warmed()
  }
  #elapse(time: number): void {
    if (this.#dirtyCount > 0 || this.#notices.length > 0 || this.#queue.time <= this.#now) this.#drain()
    while (this.#queue.time < time) {
      this.#setNow(this.#queue.time)
      this.#drain()
    }
  }

  #begin(time: number): void {
    this.#firstTime = time
    const { from, warmup } = this.#header.selection
    this.#warmupUntil = (from !== null && from > time ? from : time) + warmup
    this.session.move('first-row', this.#now)
    if (this.#whole === null) this.session.move('feed-synced', this.#now)
    if (time >= this.#warmupUntil) this.#warmed()
    this.#dispatch.start()
  }
  #warmed(): void {
    this.#warmupUntil = Infinity
    this.session.move('warmup-over', this.#now)
  }

  /** Messages never tie: the clock is at least one step past the last message. */
  #setNow(time: number): void {
    if (time > this.#now) this.#now = time
    this.#state.now = this.#now
  }
  #step(): void {
    this.#now++
    this.#state.now = this.#now
  }

  /** Repeats until nothing is due at this instant. */
  #drain(): void {
    const queue = this.#queue
    for (let round = 0; ; round++) {
      if (round > ROUNDS_MAX) throw this.#endless()
      if (queue.time <= this.#now && queue.phase < PHASE_HANDLERS) this.#due(queue.pop())
      else if (this.#notices.length > 0 || this.#dirtyCount > 0) this.#handlers()
      else if (queue.time <= this.#now) this.#due(queue.pop())
      else return
    }
  }

  #endless(): StrategyError {
    this.#dispatch.stop()
    return new StrategyError(
      'STRATEGY_LOOP',
      'The session answers itself without end in one instant: a strategy wakes itself at desk.now, or repeats a wish that is refused at once',
    )
  }
  #due(due: Due): void {
    switch (due.type) {
      case 'venue':
        this.#venue.onTape?.due(due.token)
        this.#maybeRetire(due.market)
        break
      case 'answer':
        this.#step()
        this.manager.answered(due.answer)
        if (due.answer.type === 'fill') this.filledLate(due.answer.order.market)
        this.#maybeRetire(due.answer.order.market)
        break
      case 'wake':
        if (!this.session.ending) this.#dispatch.wake(due.owner)
        break
      case 'retry':
        this.manager.retry(due.wish)
        break
      case 'basket':
        this.manager.goOn(due.basket)
        break
      case 'flux':
        if (due.market.fluxSince === due.since) this.#unsync(due.market, 'crossed')
        break
      case 'sample':
        this.#sampler.due(due.markout)
        break
      case 'leave':
        this.#maybeRetire(due.market)
        break
      case 'unsynced':
        if (!due.market.synced && due.market.unsyncedSince === due.since) this.manager.pullAll([due.market])
        break
      case 'lost':
        if (this.#noneSince === due.since && this.session.fed) this.session.move('feed-lost', this.#now)
        break
      default:
        unreachable(due)
    }
  }

  #handlers(): void {
    if (this.#notices.length > 0) {
      const notices = this.#notices
      this.#notices = []
      if (this.#now >= this.#quietUntil) for (const notice of notices) this.#dispatch.notify(notice)
    }
    const dirty = this.#dirty
    const count = this.#dirtyCount
    if (count === 0) return
    // Two lists take turns: a handler may make a market dirty again.
    this.#dirty = this.#dirtySpare
    this.#dirtySpare = dirty
    this.#dirtyCount = 0
    for (let k = 0; k < count; k++) {
      const market = dirty[k] as Market
      market.dirty = false
      const { book } = market
      if (!market.synced) continue
      if (book.crossed) {
        // In flux inside one venue instant: not broken, but nothing to act on.
        if (market.fluxSince >= 0) continue
        this.#inFlux++
        market.fluxSince = market.venueTime
        this.#queue.push(this.#now + FLUX_MAX, Phase.TIMER, { type: 'flux', market, since: market.fluxSince })
        continue
      }
      market.fluxSince = -1
      if (!market.everTwoSided && book.twoSided) {
        market.everTwoSided = true
        this.#twoSided++
      }
      if (market.sampled) this.#sampler.touched(market, this.#now)
      if (market.status !== 'active' || this.#now < this.#quietUntil) continue
      if (!market.everShown && book.twoSided) {
        market.everShown = true
        this.#shown++
      }
      this.#dispatch.book(this.bookOf(market))
    }
  }

  // ------------------------------------------------------------------------------------------------ news

  #entered(name: SessionStateName, cause: SessionCause): void {
    this.journal.state(this.#now, -1, this.words.of(`session:${name}`), this.words.of(cause))
    this.#live?.entered(cause)
  }
  /** What was held to be gone is not. */
  revived(order: Order): void {
    this.#live?.revived(order)
  }

  // ------------------------------------------------------------------------------------------------ rows

  /** Not in the loop itself: what is rare there makes the common rows slower (measured: a quarter). The best price of a side, where no depth is known. What we took of a level that went away is forgotten with it. */
  #quoted(market: Market, flags: number, side: SideCode, price: number, quantity: number): boolean {
    const { book } = market
    const best = side === BID ? book.bestBid : book.bestAsk
    const before = best >= 0 && best < book.grid.size ? (book.grid.prices[best] as number) : -1
    const last = (flags & Flag.LAST) !== 0
    if (!book.quote(side, price, quantity)) {
      this.#unsync(market, 'level off the grid')
      // Half a quote is none: what stays off until its message is over.
      market.inSnapshot = !last
      return false
    }
    if (last) {
      if (!market.inSnapshot && !book.crossed) this.#sync(market)
      market.inSnapshot = false
    }
    const tape = this.#venue.onTape
    if (tape === null || (market.resting === 0 && !market.taken)) return true
    if (before >= 0 && before !== price) tape.displayed(market, side, before, 0)
    if (quantity > 0) tape.displayed(market, side, price, quantity)
    return true
  }

  /** The row opens a later venue instant of its market: the last one is whole now. */
  #instant(market: Market, timeVenue: number): void {
    if (market.fluxSince >= 0) {
      if (market.book.crossed) this.#unsync(market, 'crossed')
      else market.fluxSince = -1
    }
    const tape = this.#venue.onTape
    if (tape !== null && (market.resting > 0 || market.arrival < timeVenue)) tape.instant(market, timeVenue)
    market.venueTime = timeVenue
  }

  #rare(kind: number, feed: number, timeVenue: number, text: string | undefined): void {
    assert(text !== undefined, 'a rare row has its detail')
    if (kind === Kind.CATALOG) {
      const market = this.markets.add(feed, JSON.parse(text) as CatalogDetail)
      if (market !== null) this.#live?.listed(market)
      return
    }
    if (kind === Kind.EXTERNAL) {
      this.#notices.push({ type: 'external', view: this.externals.add(JSON.parse(text) as ExternalDetail, timeVenue) })
      return
    }
    if (kind === Kind.OPERATOR) {
      this.#operate(JSON.parse(text) as OperatorDetail)
      return
    }
    const market = this.markets.at(feed)
    // A market that has paid and left may still be named by a late row.
    if (market === undefined || market === null) return
    if (timeVenue > market.venueTime) this.#instant(market, timeVenue)
    switch (kind) {
      case Kind.STATUS: {
        const detail = JSON.parse(text) as StatusDetail
        const before = market.status
        if (detail.closeTime !== undefined) market.closeTime = detail.closeTime as Timestamp | null
        if (before === detail.status) return
        if (before === 'active' || before === 'inactive') {
          market.closeBid = market.book.hasBid ? market.book.bid : 0
          market.closeAsk = market.book.hasAsk ? market.book.ask : PRICE_ONE
        }
        market.status = detail.status
        this.#mention(market, `status:${detail.status}`)
        this.#watch(market)
        this.#venue.onTape?.lifecycle(market, before, timeVenue)
        this.#notices.push({ type: 'status', market })
        return
      }
      case Kind.GRID: {
        const grid = gridOf((JSON.parse(text) as GridDetail).grid)
        if (grid === market.grid) return
        market.grid = grid
        // Marks are kept by index.
        if (market.holding !== null) market.holding.markPosition = 0
        if (!market.book.regrid(grid)) this.#unsync(market, 'level off the grid')
        this.#venue.onTape?.lifecycle(market, market.status, timeVenue)
        this.#mention(market, 'grid')
        return
      }
      case Kind.FEE:
        market.fee = JSON.parse(text) as FeeDetail
        return
      case Kind.SYNC: {
        const detail = JSON.parse(text) as SyncDetail
        if (detail.state === 'unsynced') this.#unsync(market, detail.reason)
        return
      }
      case Kind.DETERMINED:
        this.#determine(market, JSON.parse(text) as DeterminedDetail, timeVenue)
        return
      case Kind.SETTLED:
        this.#settle(market)
        this.#maybeRetire(market)
        return
      default:
        throw new AssertionError('Invariant: the kind of a row is known')
    }
  }

  #determine(market: Market, detail: DeterminedDetail, timeVenue: number): void {
    if (market.settlementValue >= 0) return
    assert(detail.value >= 0 && detail.value <= 10_000, 'a settlement value lies between 0 and one dollar')
    const before = market.status
    market.settlementValue = detail.value
    market.result = detail.result
    market.status = 'determined'
    this.#watch(market)
    this.#venue.onTape?.lifecycle(market, before, timeVenue)
    const h = market.holding
    if (h !== null) {
      this.portfolio.mark(market)
      this.portfolio.recount(market)
      settlementRow(this, market, h.position, detail.result, 0)
      this.#sampler.equity(this.#now)
    }
    this.#notices.push({ type: 'settlement', market, positions: h === null ? [] : h.positions.slice() })
  }

  /** Cash moves: the position and its collateral become money. */
  #settle(market: Market): void {
    assert(market.settlementValue >= 0, 'a market is determined before it pays')
    if (market.paid) return
    market.paid = true
    market.status = 'finalized'
    if (this.#live !== null) {
      market.leavesAt = this.#now + LATE
      this.#queue.push(market.leavesAt, Phase.TIMER, { type: 'leave', market })
    }
    if (market.holding !== null) this.#pay(market)
  }

  /** A fill from before the close whose news came after the result: it settles at once, and pays at once when the market has paid. */
  filledLate(market: Market): void {
    const h = market.holding
    if (market.settlementValue < 0 || h === null || h.position === 0) return
    settlementRow(this, market, h.position, market.result ?? '', 0)
    if (market.paid) this.#pay(market)
  }

  #pay(market: Market): void {
    const position = market.holding?.position ?? 0
    const paid = this.portfolio.pay(market)
    this.#venue.paid?.(market, position, paid)
    settlementRow(this, market, position, 'paid', paid)
    this.#sampler.equity(this.#now)
  }

  /** A market that has paid leaves once nothing of ours is on its way. */
  #maybeRetire(market: Market): void {
    if (!market.paid || market.resting > 0 || market.arrival < Infinity) return
    for (const wish of market.wishes) if (wish !== null && wish.order !== null) return
    if (this.markets.at(market.feed) !== market) return
    if (this.#live?.leaves(market) === false) return
    this.#venue.left?.(market)
    if (market.holding !== null) {
      this.#ended.push(marketEnd(market, this.portfolio))
      this.#sampler.retire(market, this.#now)
      this.portfolio.retire(market)
    }
    this.markets.remove(market)
  }

  #operate(detail: OperatorDetail): void {
    this.journal.state(this.#now, -1, this.words.of(`operator:${detail.command}`), this.words.of(detail.reason))
    if (detail.command === 'stop') return
    this.session.move(detail.command, this.#now)
    if (detail.command === 'resume' && detail.by === undefined) this.#live?.resumed()
    if (detail.command === 'halt') this.manager.pullAll(this.markets.alive)
    if (detail.command === 'reduce') this.manager.pullOpening(this.markets.alive)
  }

  #sync(market: Market): void {
    market.fluxSince = -1
    if (market.synced) return
    market.synced = true
    if (!market.everSynced) {
      market.everSynced = true
      this.#synced++
    }
    if (market.everUnsynced) this.#mention(market, 'synced')
    this.#watch(market)
  }
  #unsync(market: Market, reason: string): void {
    market.fluxSince = -1
    market.inSnapshot = false
    if (!market.synced) return
    market.synced = false
    if (!market.everUnsynced) {
      market.everUnsynced = true
      this.#unsynced++
    }
    this.#mention(market, `unsynced:${reason}`)
    this.#watch(market)
    if (this.#live === null) return
    // A gap is mended in a moment, and a place in the queue is worth one; no longer.
    market.unsyncedSince = this.#now
    this.#queue.push(this.#now + this.#header.limits.silenceMax, Phase.TIMER, { type: 'unsynced', market, since: this.#now })
  }
  /** Sync or status of a market changed: does the feed still know any book that can be traded? */
  #watch(market: Market): void {
    const whole = this.#whole
    if (whole === null) return
    if (market.synced && (market.status === 'active' || market.status === 'inactive')) whole.add(market)
    else whole.delete(market)
    if (whole.size > 0) {
      this.#noneSince = -1
      if (!this.session.fed) this.session.move('feed-synced', this.#now)
    } else if (this.#noneSince < 0) {
      this.#noneSince = this.#now
      this.#queue.push(this.#now + this.#header.limits.silenceMax, Phase.TIMER, { type: 'lost', since: this.#now })
    }
  }

  /** A checkpoint repeats the book: a synced book must already be it. */
  #audit(market: Market, kind: number, flags: number, side: SideCode, price: number, quantity: number): void {
    if (kind === Kind.CLEAR) {
      this.#audited = 0
      if ((flags & Flag.LAST) !== 0) assert(!market.book.hasBid && !market.book.hasAsk, 'an empty checkpoint meets an empty book')
      return
    }
    assert(market.book.at(side, price) === quantity, 'a synced book equals the checkpoint of the tape')
    this.#audited++
    if ((flags & Flag.LAST) !== 0) assert(this.#audited === market.book.levels, 'a synced book has no level that the checkpoint has not')
  }
  #audited = 0

  /** State of a market enters the journal only where we trade it: what nobody looked at must not change a digest. */
  #mention(market: Market, what: string): void {
    if (!market.sampled) return
    this.journal.state(this.#now, this.words.market(market), this.words.of(what))
  }

  // ------------------------------------------------------------------------------------------------ ports

  answer(time: number, answer: Answer): void {
    this.#queue.push(Math.max(time, this.#now), Phase.ANSWER, { type: 'answer', answer })
  }
  wake(time: number, market: Market, token: unknown): void {
    this.#queue.push(Math.max(time, this.#now), Phase.COMMAND, { type: 'venue', market, token })
  }
  goOnAt(time: number, basket: BasketRun): void {
    this.#queue.push(Math.max(time, this.#now + 1), Phase.TIMER, { type: 'basket', basket })
  }
  retryAt(time: number, wish: Wish): void {
    this.#queue.push(Math.max(time, this.#now + 1), Phase.TIMER, { type: 'retry', wish })
  }
  wakeAt(time: number, owner: number): void {
    if (++this.#wakes > WAKES_MAX)
      throw new StrategyError(
        'STRATEGY_LOOP',
        `Strategy ${this.#header.strategies[owner]?.name ?? ''} woke itself a million times more often than rows came: wake it later, such as at desk.now + SECOND`,
      )
    // Before `--from` a strategy hears nothing: its timers wait for it.
    this.#queue.push(Math.max(time, this.#now, this.#quietUntil), Phase.TIMER, { type: 'wake', owner })
  }
  filled(order: Order, answer: Extract<Answer, { type: 'fill' }>): void {
    this.#sampler.filled(order.market, answer, this.#now)
    this.#notices.push({ type: 'fill', order, answer })
  }
  traded(market: Market): void {
    if (market.sampled) return
    market.sampled = true
    this.#sampler.touched(market, this.#now)
  }
  changed(): void {
    this.#sampler.equity(this.#now)
  }
  bookOf(market: Market): MarketBook {
    return (market.view ??= new MarketBook(market))
  }
}
