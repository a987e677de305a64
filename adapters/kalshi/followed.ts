/**
 * The markets that the feed follows, from their catalog row to their payment. Owns births, deaths, what REST says of them and which connection they have; hides the rule's evaluation.
 * Invariants: a market gets its catalog row once, before anything else; one that the reader knows from before gets it as he knows it, and what has changed since as rows of their own; a market
 * that has paid is forgotten whole, and none before.
 */
import type { MarketStatus } from '../../engine/message.ts'
import { MINUTE, SECOND } from '../../engine/units.ts'
import { MarketState } from '../../data/import/state.ts'
import type { KnownMarket } from '../../data/ledger.ts'
import type { Described, Listed } from './catalog.ts'
import type { Link, Links } from './links.ts'
import { choose, MARKETS_MAX } from './selection.ts'
import { trouble, unsync, type Shared } from './shared.ts'
import type { Answer } from './wire/answers.ts'

export type Tracked = {
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

const EVALUATE_EVERY = SECOND
/** A closed market stays subscribed this long: its book is wiped, its last trades come. */
const CLOSED_LINGER = 2 * MINUTE
/** A list may be half a minute behind (api.md §3.4). */
const LIST_LAG = 45 * SECOND

export class Followed {
  readonly tracked = new Map<string, Tracked>()
  /** When the rule is looked at again. */
  evaluateAt = 0
  readonly #shared: Shared
  readonly #links: Links
  readonly #forgotten: (state: MarketState) => void
  #number = 0
  #introducing: Described | null = null
  /** Markets that the reader knows from before, until they are followed. */
  readonly #known: Map<string, KnownMarket>

  constructor(shared: Shared, links: Links, forgotten: (state: MarketState) => void) {
    this.#shared = shared
    this.#links = links
    this.#forgotten = forgotten
    this.#known = new Map((shared.options.known ?? []).map((k) => [k.catalog.ticker, k]))
  }

  /** Markets whose news is wanted whether a list of the rule has them or not. */
  get tickers(): string[] {
    return [...this.tracked.keys(), ...this.#known.keys()]
  }

  /** The state of the market that is being introduced; nobody else is let in. */
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
    const known = this.#known.get(ticker)
    if (known !== undefined) recall(state, known)
    return state
  }
  /** These have no connection any more; they get another one. */
  unlink(tickers: readonly string[]): void {
    unsync(this.#shared, tickers, 'not subscribed')
    for (const ticker of tickers) {
      const t = this.tracked.get(ticker)
      if (t !== undefined) t.link = null
    }
    this.evaluateAt = this.#shared.now
  }
  /** A shard that does not trade halts its markets, and lets them go on. */
  exchange(status: Answer<'exchangeStatus'>): void {
    const shards = new Map((status.exchange_index_statuses ?? []).map((s) => [s.exchange_index, s.exchange_active && s.trading_active]))
    const standard = status.exchange_active && status.trading_active
    for (const t of this.tracked.values()) {
      const trading = shards.get(t.shard) ?? standard
      if (!trading && t.state.status === 'active') {
        t.paused = true
        this.#shared.translator.status(t.state, 'inactive')
      } else if (trading && t.paused) {
        t.paused = false
        if (t.state.status === 'inactive') this.#shared.translator.status(t.state, 'active')
      }
    }
  }

  /** A whole reading of the catalog is there. */
  reconcile(now: number): void {
    for (const t of this.tracked.values()) {
      const listed = this.#shared.catalog.markets.get(t.state.ticker)
      if (listed === undefined) continue
      // What was not understood, or refused, is tried again with every reading.
      this.#shared.troubles.delete(t.state.ticker)
      this.#compare(t, listed)
    }
    for (const ticker of this.#shared.options.rule.tickers ?? [])
      if (!this.#shared.catalog.markets.has(ticker)) trouble(this.#shared, ticker, 'the exchange does not list it')
    for (const series of this.#shared.options.rule.series ?? []) {
      if (!this.#shared.catalog.empty.has(series)) this.#shared.troubles.delete(series)
      else
        trouble(
          this.#shared,
          series,
          `no market of series ${series} is open or will open (is it spelled right? each reading of the list looks again)`,
        )
    }
    for (const ticker of this.#known.keys())
      if (!this.#shared.catalog.markets.has(ticker))
        trouble(this.#shared, ticker, 'it has not paid, and the exchange does not list it any more')
    for (const [ticker, why] of this.#shared.catalog.unreadable) trouble(this.#shared, ticker, why)
    this.evaluate(now)
  }
  /** News that no message brought. */
  #compare(t: Tracked, listed: Listed): void {
    const { state } = t
    if (state.status === 'finalized' || this.#shared.now - t.newsAt < LIST_LAG) return
    const moved = listed.closeTime !== state.closeTime
    if (moved) this.#shared.translator.closes(state, listed.closeTime)
    if (JSON.stringify(listed.grid) !== JSON.stringify(state.grid)) {
      this.#shared.translator.grid(state, listed.grid)
      this.#shared.translator.unsync(state, 'grid changed', null)
    }
    // What closed without a word did so at its own time, before anything that came of it.
    if (isOver(listed.status)) this.#shared.translator.closed(state)
    if (listed.value !== null && listed.result !== null && (state.result !== listed.result || state.settlementValue !== listed.value))
      this.#shared.translator.determined(state, listed.result, listed.value, this.#shared.translator.time)
    if (listed.status === 'finalized' && state.result !== null)
      return this.#shared.translator.settled(state, listed.settledTime ?? this.#shared.translator.time)
    // A list can lag half a minute behind: it opens and halts markets, and reopens what was extended; it does not take back a later state.
    const order = ['unlisted', 'initialized', 'active', 'inactive', 'closed', 'determined', 'finalized']
    const halted = (s: string): boolean => s === 'active' || s === 'inactive'
    const later = order.indexOf(listed.status) > order.indexOf(state.status) && !(halted(listed.status) && halted(state.status))
    const changed = halted(listed.status) && halted(state.status) && listed.status !== state.status && !t.paused
    const reopened = moved && state.status === 'closed' && halted(listed.status) && listed.closeTime > this.#shared.now
    if ((later && listed.status !== 'determined' && listed.status !== 'finalized') || changed || reopened)
      this.#shared.translator.status(state, listed.status)
  }

  evaluate(now: number): void {
    this.evaluateAt = now + EVALUATE_EVERY
    const rule = this.#shared.options.rule
    const alive = new Set(this.#known.keys())
    for (const t of this.tracked.values()) if (t.closedAt === 0) alive.add(t.state.ticker)
    const chosen = choose(this.#shared.catalog.markets.values(), { marketsMax: MARKETS_MAX, ...rule }, alive, now)
    // What the reader knows from before is wanted, over or not: its result is still to come.
    const wanted = [...chosen, ...[...this.#known.keys()].filter((t) => this.#shared.catalog.markets.has(t))]
    const events = new Set<string>()
    for (const ticker of wanted) {
      const listed = this.#shared.catalog.markets.get(ticker) as Listed
      events.add(listed.event)
      if (this.tracked.has(ticker)) continue
      const described = this.#shared.catalog.describe(ticker, now)
      if ('listed' in described) this.#track(described, now)
      else for (const request of described) this.#shared.act({ kind: 'read', request })
    }
    for (const t of this.tracked.values()) this.#grow(t, now)
    for (const t of this.tracked.values()) events.add(t.event)
    this.#shared.catalog.prune(events)
    this.#place(now)
    this.refee(now)
    this.#links.idle(now)
  }
  #track(described: Described, now: number): void {
    this.#shared.counts.births++
    this.#introducing = described
    const { listed } = described
    const state = this.#shared.translator.market(listed.ticker, 'none')
    this.#introducing = null
    if (state === null) return
    this.#shared.troubles.delete(listed.ticker)
    this.tracked.set(listed.ticker, {
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
    if (this.#known.delete(listed.ticker)) this.#compare(this.tracked.get(listed.ticker) as Tracked, listed)
  }
  /** What time does to a market: it closes, it leaves its connection, it is forgotten. */
  #grow(t: Tracked, now: number): void {
    const { state } = t
    const over = isOver(state.status)
    if (!over) t.closedAt = 0
    else if (t.closedAt === 0) t.closedAt = now
    if (over && t.link !== null && now - t.closedAt > CLOSED_LINGER) {
      t.link.stream.remove([state.ticker], now)
      unsync(this.#shared, [state.ticker], 'closed')
      t.link = null
    }
    if (state.status !== 'finalized' || (t.link !== null && now - t.closedAt <= CLOSED_LINGER)) return
    this.#shared.counts.deaths++
    this.tracked.delete(state.ticker)
    this.#forgotten(state)
    this.#shared.translator.forget(state)
  }
  /** Markets without a connection get one. */
  #place(now: number): void {
    const added = new Map<Link, string[]>()
    for (const t of this.tracked.values()) {
      if (t.link !== null || t.closedAt > 0 || this.#shared.troubles.has(t.state.ticker)) continue
      let link = this.#links.list.find((l) => l.stream.size + (added.get(l)?.length ?? 0) < l.room)
      link ??= this.#links.create(now)
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
  refee(now: number): void {
    for (const request of this.#shared.catalog.fees(now)) this.#shared.act({ kind: 'read', request })
    for (const t of this.tracked.values()) {
      const fee = this.#shared.catalog.feeOf(t.event)
      if (fee !== null && (fee.type !== t.state.fee.type || fee.multiplier !== t.state.fee.multiplier))
        this.#shared.translator.fee(t.state, fee)
    }
  }
  /** What is not understood is not traded: it leaves its connection until the catalog makes sense again. */
  freeze(t: Tracked, why: string): void {
    trouble(this.#shared, t.state.ticker, why)
    t.link?.stream.remove([t.state.ticker], this.#shared.now)
    this.unlink([t.state.ticker])
  }
}

function isOver(status: MarketStatus): boolean {
  return status === 'closed' || status === 'determined' || status === 'finalized'
}

/** The market as its reader knows it: what has changed since is told afterwards. */
function recall(state: MarketState, { catalog, result, settlementValue }: KnownMarket): void {
  state.regrid(catalog.grid)
  state.title = catalog.title
  state.exclusive = catalog.exclusive
  state.strike = catalog.strike
  state.closeTime = catalog.closeTime
  state.status = catalog.status
  state.fee = catalog.fee
  state.result = result
  state.settlementValue = settlementValue
}
