/**
 * Markets as REST lists them: what a choice is made from, and what a catalog row says. Owns the reading rhythm, events, series and fees; hides the wire's market. A reducer: answers in,
 * requests out. Invariants: a market is described only when its event and its fee are known (unknown is never a default); a list that is not complete takes nothing away.
 */
import type { FeeDetail, FeeType, GridBand, MarketStatus } from '../../engine/message.ts'
import { MINUTE, parseDecimal, parsePrice, parseQuantity, PRICE_ONE, SECOND } from '../../engine/units.ts'
import { parseTime } from '../../data/import/frames.ts'

import { bandsOf, digits, isGrid } from '../../data/import/translate.ts'
import type { Listing } from './rest.ts'
import type { Candidate, SelectionRule } from './selection.ts'
import type { Answer, WireEvent, WireMarket, WireSeries } from './wire/answers.ts'

export type CatalogRequest =
  | { readonly kind: 'series-markets'; readonly series: string; readonly status: 'open' | 'unopened' }
  | { readonly kind: 'markets'; readonly tickers: readonly string[] }
  | { readonly kind: 'event' | 'series' | 'fees'; readonly ticker: string }

export type Listed = Candidate & {
  readonly event: string
  readonly title: string
  readonly strike: string | null
  readonly grid: readonly GridBand[]
  readonly shard: number
  readonly result: 'yes' | 'no' | 'scalar' | null
  /** What a YES contract pays, Price units; null until determined. */
  readonly value: number | null
  readonly settledTime: number | null
}
export type Described = { readonly listed: Listed; readonly series: string; readonly exclusive: boolean; readonly fee: FeeDetail }
type EventEntry = { readonly series: string; readonly exclusive: boolean; override: FeeDetail | null }

const TICKERS_PER_READ = 100
const SOON = 2 * SECOND
const SERIES_EVERY = 10 * MINUTE
const RETRY_FIRST = 2 * SECOND
const RETRY_MAX = MINUTE

export class Catalog {
  readonly #rule: SelectionRule
  readonly #every: number
  /** What was listed last. */
  markets: ReadonlyMap<string, Listed> = new Map()
  #fresh = new Map<string, Listed>()
  /** Series of which this reading has found a market. */
  readonly #found = new Set<string>()
  /** Series of which the last whole reading found none that is open or will open. */
  empty: ReadonlySet<string> = new Set()
  #open = 0
  #whole = true
  #nextAt = 0
  #askedSoon = false
  readonly #events = new Map<string, EventEntry>()
  readonly #fees = new Map<string, { readonly fee: FeeDetail; readonly at: number }>()
  readonly #changes = new Map<string, readonly { readonly at: number; readonly fee: FeeDetail }[]>()
  /** When an event or a series may be asked for again. */
  readonly #retry = new Map<string, { readonly at: number; readonly tries: number }>()
  /** Markets that could not be understood, by ticker, with why. Emptied with every reading. */
  readonly unreadable = new Map<string, string>()
  readings = 0

  constructor(rule: SelectionRule, every: number) {
    this.#rule = rule
    this.#every = every
  }

  /** Something has changed out there: read again, soon. */
  soon(now: number): void {
    if (this.#askedSoon) return
    this.#askedSoon = true
    this.#nextAt = Math.min(this.#nextAt, now + SOON)
  }

  /** What must be read now. `followed`: tickers whose news is wanted whether they are listed or not. */
  advance(followed: Iterable<string>, now: number): CatalogRequest[] {
    if (this.#open > 0 || now < this.#nextAt) return []
    this.#nextAt = now + this.#every
    this.#askedSoon = false
    this.#fresh = new Map()
    this.#found.clear()
    this.#whole = true
    this.unreadable.clear()
    const requests: CatalogRequest[] = []
    for (const series of this.#rule.series ?? [])
      for (const status of ['open', 'unopened'] as const) requests.push({ kind: 'series-markets', series, status })
    const named = [...new Set([...(this.#rule.tickers ?? []), ...followed])].sort()
    for (let i = 0; i < named.length; i += TICKERS_PER_READ)
      requests.push({ kind: 'markets', tickers: named.slice(i, i + TICKERS_PER_READ) })
    this.#open = requests.length
    return requests
  }
  /** True when a whole reading is done and `markets` is new. */
  listed(listing: Listing<WireMarket>, series: string | null = null): boolean {
    if (series !== null && listing.items.length > 0) this.#found.add(series)
    for (const wire of listing.items) {
      const market = listedOf(wire)
      if (typeof market === 'string') this.unreadable.set(wire.ticker, market)
      else this.#fresh.set(market.ticker, market)
    }
    if (!listing.complete) this.#whole = false
    return this.#closed()
  }
  failedList(): boolean {
    this.#whole = false
    return this.#closed()
  }
  #closed(): boolean {
    if (--this.#open > 0) return false
    this.readings++
    if (this.#whole) this.empty = new Set((this.#rule.series ?? []).filter((s) => !this.#found.has(s)))
    this.markets = this.#whole ? this.#fresh : new Map([...this.markets, ...this.#fresh])
    return true
  }

  /** Everything that a catalog row says, or null and what to read for it. */
  describe(ticker: string, now: number): Described | readonly CatalogRequest[] {
    const listed = this.markets.get(ticker)
    if (listed === undefined) return []
    const event = this.#events.get(listed.event)
    if (event === undefined) return this.#ask('event', listed.event, now)
    const fee = this.feeOf(listed.event)
    if (fee === null) return this.#ask('series', event.series, now)
    return { listed, series: event.series, exclusive: event.exclusive, fee }
  }
  /** The fee rule of an event's markets: its own, or its series'. */
  feeOf(event: string): FeeDetail | null {
    const e = this.#events.get(event)
    return e === undefined ? null : (e.override ?? this.#fees.get(e.series)?.fee ?? null)
  }
  event(wire: WireEvent): void {
    this.#retry.delete(wire.event_ticker)
    const override = overrideOf(wire.fee_type_override, wire.fee_multiplier_override)
    // Of an event whose fee nobody knows no market is described.
    if (override === 'unknown') this.unreadable.set(wire.event_ticker, `fee ${String(wire.fee_type_override)} is not known`)
    else this.#events.set(wire.event_ticker, { series: wire.series_ticker, exclusive: wire.mutually_exclusive, override })
  }
  series(wire: WireSeries, now: number): void {
    this.#retry.delete(wire.ticker)
    const fee = feeDetail(wire.fee_type, wire.fee_multiplier)
    if (fee === null) this.unreadable.set(wire.ticker, `fee ${wire.fee_type} × ${wire.fee_multiplier} is not known`)
    else this.#fees.set(wire.ticker, { fee, at: now })
  }
  /** A stream message: both null is "as the series". Returns the fee that holds now; null: it is not known, or the event is none of ours. */
  eventFee(event: string, type: string | null | undefined, multiplier: number | null | undefined): FeeDetail | 'unknown' | null {
    const e = this.#events.get(event)
    if (e === undefined) return null
    const override = overrideOf(type, multiplier)
    if (override === 'unknown') return override
    e.override = override
    return this.feeOf(event)
  }
  feeChanges(series: string, changes: Answer<'seriesFeeChanges'>['series_fee_change_arr'], now: number): void {
    const planned = changes
      .filter((c) => c.series_ticker === series)
      .map((c) => ({ at: parseTime(c.scheduled_ts), fee: feeDetail(c.fee_type, c.fee_multiplier) }))
      .filter((c): c is { at: number; fee: FeeDetail } => c.fee !== null && c.at > now)
      .sort((a, b) => a.at - b.at)
    this.#changes.set(series, planned)
  }
  /** Planned changes take effect; what is to be read about fees again. */
  fees(now: number): readonly CatalogRequest[] {
    const requests: CatalogRequest[] = []
    for (const [series, planned] of this.#changes) {
      const due = planned.filter((p) => p.at <= now).at(-1)
      if (due === undefined) continue
      this.#fees.set(series, { fee: due.fee, at: now })
      this.#changes.set(
        series,
        planned.filter((p) => p.at > now),
      )
    }
    for (const [series, { fee, at }] of this.#fees) {
      if (now - at < SERIES_EVERY) continue
      this.#fees.set(series, { fee, at: now })
      requests.push({ kind: 'series', ticker: series }, { kind: 'fees', ticker: series })
    }
    return requests
  }
  failed(request: CatalogRequest, now: number): void {
    if (!('ticker' in request)) return
    const tries = (this.#retry.get(request.ticker)?.tries ?? 0) + 1
    this.#retry.set(request.ticker, { at: now + Math.min(RETRY_MAX, RETRY_FIRST * 2 ** tries), tries })
  }
  /** Forgets what no followed or listed market needs. */
  prune(events: ReadonlySet<string>): void {
    const series = new Set<string>()
    for (const [ticker, e] of this.#events) {
      if (events.has(ticker)) series.add(e.series)
      else this.#events.delete(ticker)
    }
    for (const map of [this.#fees, this.#changes]) for (const key of map.keys()) if (!series.has(key)) map.delete(key)
    for (const key of this.#retry.keys()) if (!events.has(key) && !series.has(key)) this.#retry.delete(key)
  }

  #ask(kind: 'event' | 'series', ticker: string, now: number): readonly CatalogRequest[] {
    const retry = this.#retry.get(ticker)
    if (retry !== undefined && now < retry.at) return []
    // Not again before this one has had its time.
    this.#retry.set(ticker, { at: now + RETRY_MAX, tries: retry?.tries ?? 0 })
    return kind === 'series'
      ? [
          { kind, ticker },
          { kind: 'fees', ticker },
        ]
      : [{ kind, ticker }]
  }
}

const STATUS: Readonly<Record<WireMarket['status'], MarketStatus>> = {
  initialized: 'initialized',
  active: 'active',
  inactive: 'inactive',
  closed: 'closed',
  determined: 'determined',
  disputed: 'determined',
  amended: 'determined',
  finalized: 'finalized',
}
const FEES: readonly string[] = [
  'quadratic',
  'quadratic_with_maker_fees',
  'quadratic_with_combo_maker_fees',
  'flat',
] satisfies readonly FeeType[]

export function feeDetail(type: string | null | undefined, multiplier: number | null | undefined): FeeDetail | null {
  if (type == null || multiplier == null || !FEES.includes(type)) return null
  const units = parseDecimal(String(multiplier), 4)
  return units >= 0 ? { type: type as FeeType, multiplier: units } : null
}

function overrideOf(type: string | null | undefined, multiplier: number | null | undefined): FeeDetail | 'unknown' | null {
  return type == null && multiplier == null ? null : (feeDetail(type, multiplier) ?? 'unknown')
}

/** A listed market, or why it cannot be used. */
function listedOf(wire: WireMarket): Listed | string {
  const grid = bandsOf(wire.price_ranges)
  if (grid === null || !isGrid(grid)) return 'its price grid is not known'
  const openTime = parseTime(wire.open_time)
  const closeTime = parseTime(wire.close_time)
  if (!Number.isFinite(openTime) || !Number.isFinite(closeTime)) return 'its open or close time is not a time'
  const bid = parsePrice(digits(wire.yes_bid_dollars))
  const ask = parsePrice(digits(wire.yes_ask_dollars))
  const value = wire.settlement_value_dollars == null ? Number.NaN : parsePrice(digits(wire.settlement_value_dollars))
  const settled = wire.settlement_ts == null ? Number.NaN : parseTime(wire.settlement_ts)
  const strike = wire.floor_strike ?? wire.cap_strike
  return {
    ticker: wire.ticker,
    event: wire.event_ticker,
    title: wire.title ?? wire.yes_sub_title ?? wire.ticker,
    status: STATUS[wire.status],
    openTime,
    closeTime,
    // 0 and one dollar both mean that nobody quotes (api.md §3.2).
    bid: Number.isFinite(bid) && bid < PRICE_ONE ? bid : 0,
    ask: ask > 0 ? ask : PRICE_ONE,
    volumeDay: parseQuantity(digits(wire.volume_24h_fp)) || 0,
    strike: strike != null ? String(strike) : (wire.functional_strike ?? null),
    grid,
    shard: wire.exchange_index ?? 0,
    result: wire.result === '' ? null : wire.result,
    value: Number.isFinite(value) ? value : wire.result === 'yes' ? PRICE_ONE : wire.result === 'no' ? 0 : null,
    settledTime: Number.isFinite(settled) ? settled : null,
  }
}
