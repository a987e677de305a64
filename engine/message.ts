/**
 * Messages: what enters the engine. Owns the columns of a Batch, the kinds of rows, their flags and the JSON of rare
 * rows. Everything upstream (tape, live feed, practice population) writes these columns; the loop reads nothing else.
 * Invariant: `time` never decreases from row to row, and the rows of one exchange message end with `LAST`.
 */
import { assert } from './assert.ts'

/** Kinds of rows. 0 … 5 are market data; from `CATALOG` on a row is rare and changes what is known of a market. From `CANDLE` on a row carries `detail`. */
export const Kind = {
  /** The book of the market is emptied; `level` rows follow until `LAST` (a snapshot). */
  CLEAR: 0,
  /** Absolute quantity of one price level, inside a snapshot. */
  LEVEL: 1,
  /** Signed change of one price level. */
  DELTA: 2,
  /** Two strangers traded. `side` is the taker's on the YES book (bid = the taker bought YES). */
  TRADE: 3,
  /** Best price of one side (`side`) and its quantity, where no depth is known; quantity 0: the side is empty. */
  QUOTE: 4,
  /** A period summed up by the exchange: `CandleDetail`. No book, no matching and no strategy sees it. */
  CANDLE: 5,
  /** A market becomes known: `CatalogDetail`. */
  CATALOG: 6,
  /** Its price grid changes: `GridDetail`. */
  GRID: 7,
  /** Its status changes: `StatusDetail`. */
  STATUS: 8,
  /** Its fee rule changes: `FeeDetail`. */
  FEE: 9,
  /** Its result is known: `DeterminedDetail`. Not paid yet. */
  DETERMINED: 10,
  /** It paid. */
  SETTLED: 11,
  /** The feed's own state for a market: `SyncDetail`. */
  SYNC: 12,
  /** A row of any named outside series: `ExternalDetail`. `market` is −1. */
  EXTERNAL: 13,
  /** A person's command to the session: `OperatorDetail`. `market` is −1. */
  OPERATOR: 14,
} as const
export type Kind = (typeof Kind)[keyof typeof Kind]
export const KIND_NAMES = [
  'clear',
  'level',
  'delta',
  'trade',
  'quote',
  'candle',
  'catalog',
  'grid',
  'status',
  'fee',
  'determined',
  'settled',
  'sync',
  'external',
  'operator',
] as const
export type KindName = (typeof KIND_NAMES)[number]

/** Bits of `flags`. */
export const Flag = {
  /** Last row of an exchange message. */
  LAST: 1,
  /** This row is the first news of an execution: it advances queues. The other half of its pair is inert. */
  EXECUTION: 2,
  /** `clear`/`level` rows that repeat the whole book, so that a run can start here; a synced book asserts against them. */
  CHECKPOINT: 4,
  /** The label was inferred from volume and last price, not from a print. */
  INFERRED: 8,
  /** Asked for, not streamed: a book while the stream was down, or a print that the stream had missed. Bits 4-6 are the label. */
  POLLED: 128,
} as const

/** Why a level decreased, in bits 4-6 of `flags` of a negative delta. */
export const Label = { NONE: 0, TRADE: 1, AMEND: 2, CLOSE_WIPE: 3, CANCEL: 4 } as const
export type Label = (typeof Label)[keyof typeof Label]
export const LABEL_NAMES = ['none', 'trade', 'amend', 'close-wipe', 'cancel'] as const
export type LabelName = (typeof LABEL_NAMES)[number]
export const LABEL_SHIFT = 4
export function labelOf(flags: number): number {
  return (flags >> LABEL_SHIFT) & 7
}
export function withLabel(flags: number, label: Label): number {
  return (flags & ~(7 << LABEL_SHIFT)) | (label << LABEL_SHIFT)
}

/** What a tape knows of order books: all levels, best prices alone, or trades alone. */
export type Depth = 'book' | 'quotes' | 'prints'

/** A band of a price grid: from `start` to `end` (inclusive), every `step`; all in Price units. */
export type GridBand = { readonly start: number; readonly end: number; readonly step: number }

export type FeeType = 'quadratic' | 'quadratic_with_maker_fees' | 'quadratic_with_combo_maker_fees' | 'flat'
/** Kalshi fee schedule, api.md §7.1. `multiplier` is in 1/10,000 (10,000 = 1). */
export type FeeDetail = { readonly type: FeeType; readonly multiplier: number }

/** `unlisted` is ours: known from its trades alone, never tradable. The others are the exchange's. */
export type MarketStatus = 'unlisted' | 'initialized' | 'active' | 'inactive' | 'closed' | 'determined' | 'finalized'

/** Known when the row's time has come, and nothing else: no result, no later close time. Times in µs, prices in Price units. */
export type CatalogDetail = {
  readonly ticker: string
  readonly event: string
  readonly series: string
  readonly title: string
  /** At most one market of the event resolves YES. `null`: unknown. */
  readonly exclusive: boolean | null
  readonly strike: string | null
  readonly openTime: number | null
  readonly closeTime: number | null
  readonly status: MarketStatus
  readonly grid: readonly GridBand[]
  readonly fee: FeeDetail
}
/** Price units. */
export type CandlePrices = { readonly open: number; readonly low: number; readonly high: number; readonly close: number }
/** From `end` − `period` (exclusive) to `end` (µs). Best prices of both sides (as the exchange says them: a bid of 0, an ask of one dollar is nobody) and traded prices; null: it says none. `volume` and `openInterest` in Quantity. */
export type CandleDetail = {
  readonly period: number
  readonly end: number
  readonly bid: CandlePrices | null
  readonly ask: CandlePrices | null
  readonly price: CandlePrices | null
  readonly volume: number
  readonly openInterest: number
}
export type GridDetail = { readonly grid: readonly GridBand[] }
export type StatusDetail = { readonly status: MarketStatus; readonly closeTime?: number | null }
/** `value`: what one YES contract pays, in Price units. */
export type DeterminedDetail = { readonly result: 'yes' | 'no' | 'scalar' | 'void'; readonly value: number }
/** `disconnected`: its connection ended. */
export type SyncDetail = { readonly state: 'synced' | 'unsynced'; readonly reason: string; readonly disconnected?: boolean }
export type ExternalDetail = { readonly series: string; readonly value: number; readonly revision: number }
/** `stop`: the session was ended here by hand, by its time or by a failure; it changes nothing but the time that has passed. */
/** `by`: whose word it is; absent: a person's. `table`: what follows from a trouble; `latch`: a file that halts everything; `end`: the session comes to its end. */
export type OperatorDetail = {
  readonly command: 'pause' | 'reduce' | 'halt' | 'resume' | 'stop'
  readonly reason: string
  readonly by?: 'table' | 'latch' | 'end'
}

/**
 * Columns of rows. `market` is the feed's own number for a market (dense from 0, given meaning by a `catalog` row);
 * `side` is BID or ASK of the YES book; `price` in Price units; `quantity` in Quantity units, signed for a delta;
 * `detail` is an index into `details`, or −1.
 */
export type Batch = {
  length: number
  readonly time: Float64Array
  readonly timeVenue: Float64Array
  readonly market: Int32Array
  readonly kind: Uint8Array
  readonly flags: Uint8Array
  readonly side: Uint8Array
  readonly price: Int32Array
  readonly quantity: Float64Array
  readonly detail: Int32Array
  /** JSON texts of the rows of this batch that carry one. */
  details: string[]
}

export function createBatch(capacity: number): Batch {
  return {
    length: 0,
    time: new Float64Array(capacity),
    timeVenue: new Float64Array(capacity),
    market: new Int32Array(capacity),
    kind: new Uint8Array(capacity),
    flags: new Uint8Array(capacity),
    side: new Uint8Array(capacity),
    price: new Int32Array(capacity),
    quantity: new Float64Array(capacity),
    detail: new Int32Array(capacity),
    details: [],
  }
}

/** Appends one row; the caller checks `batch.length < capacity` (`batch.time.length`). `detail` is JSON text of a rare row. */
export function pushRow(
  batch: Batch,
  time: number,
  timeVenue: number,
  market: number,
  kind: Kind,
  flags: number,
  side: number,
  price: number,
  quantity: number,
  detail: string | null = null,
): void {
  const i = batch.length
  assert(i < batch.time.length, 'a row fits its batch')
  batch.time[i] = time
  batch.timeVenue[i] = timeVenue
  batch.market[i] = market
  batch.kind[i] = kind
  batch.flags[i] = flags
  batch.side[i] = side
  batch.price[i] = price
  batch.quantity[i] = quantity
  if (detail === null) batch.detail[i] = -1
  else {
    batch.detail[i] = batch.details.length
    batch.details.push(detail)
  }
  batch.length = i + 1
}

/** What glues any source of rows to the engine: batches in order, until the source ends. A batch may be reused after the next call. */
export interface Feed {
  batches(): AsyncIterable<Batch>
}
