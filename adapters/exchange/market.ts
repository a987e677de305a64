/**
 * One listed market: what it is, its state, its book. Owns the public book and the public statistics; hides how the public book is put together.
 *
 * ```
 *   public level = what a tape displays − what our takers took of it + the known orders      (no tape: the known orders alone)
 * ```
 *
 * Every operation changes the parts and then calls `refresh` on the levels it touched; the difference to what was shown is the public delta.
 * Invariant: the sum of all deltas since any snapshot is the book, and no level is negative.
 */
import { assert } from '../../engine/assert.ts'
import { Book } from '../../engine/book.ts'
import { gridOf } from '../../engine/grid.ts'
import { Matching, type MatchSink, type VenueOrder } from '../../engine/matching.ts'
import type { FeeDetail, GridBand } from '../../engine/message.ts'
import { ASK, BID, DAY, PRICE_ONE, type Quantity, type SideCode } from '../../engine/units.ts'
import { Candles } from './candles.ts'

/** api.md §3.4 */
export type MarketState = 'initialized' | 'active' | 'inactive' | 'closed' | 'determined' | 'disputed' | 'amended' | 'finalized'
export type MarketResult = 'yes' | 'no' | 'scalar'

/** Everything a driver says of a market when it lists it. Times µs of the exchange's clock, prices in Price units. */
export type MarketDefinition = {
  readonly ticker: string
  readonly event: string
  readonly series: string
  readonly title: string
  readonly subtitle?: string
  readonly openTime: number
  readonly closeTime: number
  readonly grid: readonly GridBand[]
  /** Kalshi's label of the grid; named after the bands when absent. */
  readonly structure?: string
  readonly fee: FeeDetail
  /** At most one market of the event resolves YES. */
  readonly exclusive: boolean
  readonly exchangeIndex?: number
  /** From determination to payment, µs. */
  readonly settlementTimer?: number
  readonly strike?: { readonly type: 'greater' | 'less' | 'between'; readonly floor?: number; readonly cap?: number }
  /** The book follows a tape: anonymous depth beside known orders. */
  readonly tape?: boolean
}

export type EventRecord = {
  /** Counts up: the order of lists and their cursor. */
  readonly number: number
  readonly ticker: string
  readonly series: string
  readonly title: string
  readonly exclusive: boolean
  readonly exchangeIndex: number
  override: FeeDetail | null
  readonly markets: ListedMarket[]
  updated: number
}
export type SeriesRecord = {
  readonly ticker: string
  readonly title: string
  fee: FeeDetail
  readonly exchangeIndex: number
  updated: number
}

/** A change of a level as the public sees it. */
export type LevelSink = (market: ListedMarket, side: SideCode, price: number, delta: number) => void

export class ListedMarket {
  /** Counts up: the order of lists and their cursor. */
  readonly number: number
  readonly definition: MarketDefinition
  readonly ticker: string
  /** The `market_id` of the wire. */
  readonly id: string
  readonly event: EventRecord
  readonly series: SeriesRecord
  readonly exchangeIndex: number
  status: MarketState = 'initialized'
  readonly created: number
  updated: number
  openTime: number
  closeTime: number
  settlementTimer: number
  structure: string
  result: MarketResult | '' = ''
  /** What a YES contract pays, Price units; −1: unknown. */
  value = -1
  determined = -1
  settled = -1
  /** A tape lost its book: nothing is matched until the next snapshot. */
  blind = false
  readonly depth: Book | null
  readonly matching: Matching
  /** What the public sees. */
  readonly shown: Book
  readonly candles = new Candles()
  /** Price units, −1: nothing traded. */
  lastPrice = -1
  lastQuantity = 0
  /** Contracts, each trade once. */
  volume = 0
  notional = 0
  openInterest = 0
  /** Trades of the last day, oldest first: [time, quantity]. */
  readonly #recent: [number, number][] = []
  #recentSum = 0
  /** Strangers' side of every trade: position and cash by their account (−1: anonymous), so that money adds up. */
  readonly strangers = new Map<number, { position: number; cash: number }>()
  /** The population that trades here, told of its own orders. */
  crowd: MatchSink | null = null
  /** Contracts of a tape's trade that met known orders before its print arrived. */
  owed = 0
  readonly #levels: LevelSink

  constructor(
    number: number,
    definition: MarketDefinition,
    id: string,
    event: EventRecord,
    series: SeriesRecord,
    now: number,
    sink: MatchSink,
    levels: LevelSink,
  ) {
    this.number = number
    this.definition = definition
    this.ticker = definition.ticker
    this.id = id
    this.event = event
    this.series = series
    this.exchangeIndex = definition.exchangeIndex ?? 0
    this.created = now
    this.updated = now
    this.openTime = definition.openTime
    this.closeTime = definition.closeTime
    this.settlementTimer = definition.settlementTimer ?? 30_000_000
    const grid = gridOf(definition.grid)
    this.structure = definition.structure ?? structureName(definition.grid)
    this.depth = definition.tape === true ? new Book(grid) : null
    this.matching = new Matching(grid, this.depth, 'queue', sink, 'left')
    this.shown = new Book(grid)
    this.#levels = levels
  }

  get fee(): FeeDetail {
    return this.event.override ?? this.series.fee
  }
  get tradable(): boolean {
    return this.status === 'active' && !this.blind
  }
  get bid(): number {
    return this.shown.hasBid ? this.shown.bid : 0
  }
  get ask(): number {
    return this.shown.hasAsk ? this.shown.ask : PRICE_ONE
  }

  /** Makes the public level what it should be; the difference goes out as one delta. */
  refresh(side: SideCode, price: number): void {
    const want = this.matching.anonymousAt(side, price) + this.matching.known.at(side, price)
    const delta = want - this.shown.at(side, price)
    if (delta === 0) return
    assert(this.shown.change(side, price, delta), 'a public level is on the grid and never negative')
    this.#levels(this, side, price, delta)
  }
  /** The same for every level: after a snapshot, a crossing or a new grid. */
  refreshAll(): void {
    const { grid } = this.shown
    for (let i = 0; i < grid.size; i++) {
      const p = grid.prices[i] as number
      this.refresh(BID, p)
      this.refresh(ASK, p)
    }
  }

  /** Quantities of a side, ascending in the price that is written: the NO side in NO prices unless `yesPrices`. */
  levels(side: SideCode, yesPrices: boolean): [number, number][] {
    const out: [number, number][] = []
    const { grid } = this.shown
    const quantities = side === BID ? this.shown.bids : this.shown.asks
    for (let i = 0; i < quantities.length; i++) {
      const q = quantities[i] as number
      if (q > 0) out.push([side === BID || yesPrices ? (grid.prices[i] as number) : PRICE_ONE - (grid.prices[i] as number), q])
    }
    return side === ASK && !yesPrices ? out.reverse() : out
  }

  traded(now: number, price: number, quantity: number): void {
    this.lastPrice = price
    this.lastQuantity = quantity
    this.volume += quantity
    this.notional += price * quantity
    this.#recent.push([now, quantity])
    this.#recentSum += quantity
  }
  volume24(now: number): number {
    while (this.#recent.length > 0 && (this.#recent[0] as [number, number])[0] < now - DAY)
      this.#recentSum -= (this.#recent.shift() as [number, number])[1]
    return this.#recentSum
  }
  stranger(order: VenueOrder | null): { position: number; cash: number } {
    const account = order?.account ?? -1
    let s = this.strangers.get(account)
    if (s === undefined) {
      s = { position: 0, cash: 0 }
      this.strangers.set(account, s)
    }
    return s
  }
  queuePosition(order: VenueOrder): Quantity {
    return this.matching.queuePosition(order)
  }
}

/** Labels are names only; the bands are the authority (api.md §3.6). */
const STRUCTURES: Readonly<Record<string, string>> = {
  '0-10000/100': 'linear_cent',
  '0-10000/10': 'deci_cent',
  '0-1000/10;1000-9000/100;9000-10000/10': 'tapered_deci_cent',
  '0-1000/50;1000-9000/100;9000-10000/50': 'center_whole_edge_half_cent',
  '0-1000/20;1000-9000/100;9000-10000/20': 'center_whole_edge_quint_cent',
  '0-10000/50': 'center_half_edge_half_cent',
  '0-1000/20;1000-9000/50;9000-10000/20': 'center_half_edge_quint_cent',
  '0-1000/10;1000-9000/50;9000-10000/10': 'center_half_edge_deci_cent',
  '0-10000/20': 'center_quint_edge_quint_cent',
  '0-1000/10;1000-9000/20;9000-10000/10': 'center_quint_edge_deci_cent',
  '0-10000/1': 'center_centi_edge_centi_cent',
  '0-100/1;100-9900/10;9900-10000/1': 'center_deci_edge_centi_cent',
}
export function structureName(bands: readonly GridBand[]): string {
  return STRUCTURES[bands.map((b) => `${b.start}-${b.end}/${b.step}`).join(';')] ?? ''
}
