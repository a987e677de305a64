/**
 * Markets as a session knows them: only what `catalog`, `status`, `grid`, `fee` and `determined` rows said so far. Owns the
 * Market and Event objects and the slots in which they live; hides the recycling of slots. Invariant: a slot is never an
 * order nor an output; everything that leaves the engine names a market by its ticker.
 */
import { assert } from './assert.ts'
import { Book } from './book.ts'
import { MarketFace, type MarketBook } from './view.ts'
import { gridOf, type PriceGrid } from './grid.ts'
import type { CatalogDetail, Depth, FeeDetail, MarketStatus } from './message.ts'
import type { Wish } from './wish.ts'
import type { Holding } from './portfolio.ts'
import { PRICE_ONE, type Timestamp } from './units.ts'

/** An event: markets that settle together; `exclusive`: at most one of them resolves YES. */
export class MarketEvent {
  readonly ticker: string
  readonly exclusive: boolean
  /** As strategies see it. */
  readonly face: { readonly ticker: string; readonly exclusive: boolean }
  /** Markets alive in the session. */
  readonly markets: Market[] = []
  /** Net P&L of its markets that have paid and left (Money): part of every outcome. */
  realized = 0
  /** Worst loss over all outcomes as last computed (Money, ≥ 0 is a loss); part of the session's sum. */
  loss = 0

  constructor(ticker: string, exclusive: boolean) {
    this.ticker = ticker
    this.exclusive = exclusive
    this.face = Object.freeze({ ticker, exclusive })
  }
}

/** One market of a session. Strategies see its `face`. */
export class Market {
  readonly ticker: string
  readonly event: MarketEvent
  readonly series: string
  readonly title: string
  readonly strike: string | null
  /** Dense number in this session, reused after the market has left: a key for arrays, never an order. */
  readonly slot: number
  /** The feed's own number for it. */
  feed: number
  closeTime: Timestamp | null
  status: MarketStatus
  grid: PriceGrid
  fee: FeeDetail
  readonly book: Book
  /** What the feed knows of its book. On `prints` the book stays empty and counts as synced. */
  readonly depth: Depth
  readonly face: MarketFace
  /** False until the first snapshot and after any gap. */
  synced = false
  /** Live: why no new risk is taken here, until somebody frees it; null: it is not halted. */
  halted: string | null = null
  /** What a YES contract pays, Price units; −1 until determined. */
  settlementValue = -1
  result: string | null = null
  paid = false
  /** Live: when it may leave after it has paid. */
  leavesAt = Infinity
  /** Best prices when it closed; 0 and one dollar where there was none. */
  closeBid = 0
  closeAsk: number = PRICE_ONE

  // What the loop keeps beside it.
  /** Latest venue time of its rows: the venue instant the book stands in. */
  venueTime = 0
  /** Venue time since which the book is crossed; −1: it is not. */
  fluxSince = -1
  /** Arrival of the first command on its way, Infinity for none. */
  arrival = Infinity
  /** Our orders resting at the venue, or matched against by it. */
  resting = 0
  /** We took displayed depth here: its later changes matter to what is left to take. */
  taken = false
  dirty = false
  inSnapshot = false
  lastTrade = -1
  /** Number of its ticker in the journal's strings, −1 before it was first named. */
  name = -1
  holding: Holding | null = null
  /** Its book as strategies see it, made at the first call. */
  view: MarketBook | null = null
  /** [owner × 2 + side] */
  readonly wishes: (Wish | null)[] = []
  sampled = false
  everSynced = false
  everTwoSided = false
  /** A strategy was called with its two-sided book. */
  everShown = false
  everUnsynced = false
  /** Engine time since which it is out of sync. */
  unsyncedSince = -1
  touchTime = -1
  touchBid = -2
  touchAsk = -2
  touchBidQuantity = -1
  touchAskQuantity = -1

  constructor(slot: number, feed: number, detail: CatalogDetail, event: MarketEvent, depth: Depth) {
    this.slot = slot
    this.feed = feed
    this.ticker = detail.ticker
    this.event = event
    this.series = detail.series
    this.title = detail.title
    this.strike = detail.strike
    this.closeTime = detail.closeTime as Timestamp | null
    this.status = detail.status
    this.grid = gridOf(detail.grid)
    this.fee = detail.fee
    this.book = new Book(this.grid)
    this.depth = depth
    this.synced = depth === 'prints'
    this.face = new MarketFace(this)
  }

  /** Where it stands: the middle of the book, its one side, or the last trade; −1 where nothing is known. */
  get reference(): number {
    const { book } = this
    if (book.twoSided) return (book.bid + book.ask) / 2
    if (book.hasBid) return book.bid
    return book.hasAsk ? book.ask : this.lastTrade
  }
  get tradable(): boolean {
    return this.status === 'active' && this.synced
  }
}

/** The markets of a session: by the feed's number on the hot path, by ticker elsewhere. */
export class Markets {
  readonly #byFeed: (Market | null | undefined)[] = []
  readonly #byTicker = new Map<string, Market>()
  readonly #events = new Map<string, MarketEvent>()
  readonly #free: number[] = []
  readonly #depth: Depth
  #slots = 0
  seen = 0

  constructor(depth: Depth) {
    this.#depth = depth
  }

  /** The market of a feed number; undefined before its catalog row, null after it left. */
  at(feed: number): Market | null | undefined {
    return this.#byFeed[feed]
  }
  get(ticker: string): Market | undefined {
    return this.#byTicker.get(ticker)
  }
  get alive(): IterableIterator<Market> {
    return this.#byTicker.values()
  }

  /** A `catalog` row: a new market, or (its ticker known) the same one repeated, which is returned unchanged; null for one that has paid already. */
  add(feed: number, detail: CatalogDetail): Market | null {
    if (detail.status === 'finalized' || this.#byFeed[feed] === null) {
      this.#byFeed[feed] = null
      return null
    }
    const known = this.#byTicker.get(detail.ticker)
    if (known !== undefined) {
      known.feed = feed
      this.#byFeed[feed] = known
      return known
    }
    let event = this.#events.get(detail.event)
    if (event === undefined) {
      event = new MarketEvent(detail.event, detail.exclusive === true)
      this.#events.set(detail.event, event)
    }
    const market = new Market(this.#free.pop() ?? this.#slots++, feed, detail, event, this.#depth)
    event.markets.push(market)
    this.#byFeed[feed] = market
    this.#byTicker.set(market.ticker, market)
    this.seen++
    return market
  }

  /** A market that has paid and holds nothing leaves; its slot is free again. */
  remove(market: Market): void {
    assert(market.resting === 0 && market.arrival === Infinity, 'a market leaves without orders')
    this.#byFeed[market.feed] = null
    this.#byTicker.delete(market.ticker)
    const siblings = market.event.markets
    siblings.splice(siblings.indexOf(market), 1)
    if (siblings.length === 0) this.#events.delete(market.event.ticker)
    this.#free.push(market.slot)
  }
}
