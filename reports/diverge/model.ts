/**
 * The shapes of a comparison: what was sent, what a model says of it, what was judged. Owns nothing but the shapes. Prices in 1/10,000 $, quantities in 1/100 contract, money in 1/1,000,000 $, times in µs.
 */
import type { FillModelName } from '../../engine/session.ts'
import type { WriteType } from '../live/facts.ts'

/** How the time of arrival at the venue is known: the venue's own word, half of the round trip of this write, half of the usual one, or a simulated venue. */
export type ArrivalBasis = 'venue' | 'half' | 'usual' | 'simulated'

/** One command as it reached the venue. */
export type Act = {
  readonly order: number
  readonly type: WriteType
  readonly ticker: string
  readonly side: 'bid' | 'ask'
  readonly tif: 'gtc' | 'ioc' | 'fok'
  readonly price: number
  readonly quantity: number
  readonly expires: number | null
  readonly decided: number
  readonly arrival: number
  readonly basis: ArrivalBasis
  /** Not ours: the order ended for a reason that no model knows, at that time. */
  readonly cut: string | null
}

export type ModelFill = {
  readonly timeVenue: number
  readonly price: number
  readonly quantity: number
  readonly fee: number
  readonly maker: boolean
}
/** What a model says of one order. */
export type Predicted = {
  accepted: number | null
  rejected: string | null
  fills: ModelFill[]
  ended: { readonly time: number; readonly reason: string } | null
  /** Changes that came too late in the model: the order was gone. */
  late: number
  /** Contracts before it when it came to rest. */
  aheadFirst: number | null
  /** And when the venue filled it first. */
  aheadAtFill: number | null
  /** Where the venue told its queue position: both. */
  queue: { readonly time: number; readonly ahead: number | null; readonly venue: number }[]
  /** Of the book at arrival. */
  wholeBook: boolean
  /** The market was on the tape by then. */
  known: boolean
}

/** What came of an order, on one side of the comparison. */
export type Result = {
  readonly filled: number
  /** Σ price × quantity. */
  readonly cost: number
  readonly fees: number
  readonly firstFill: number | null
  readonly lastFill: number | null
  /** At the market's mark; null: nothing is known of its value. */
  readonly pnl: number | null
  readonly end: string
}

export const CLASSES = [
  'same',
  'never-sent',
  'absent',
  'rejected',
  'model-refused',
  'not-modelled',
  'live-more',
  'model-more',
  'price',
  'time',
  'fee',
] as const
export type DivergeClass = (typeof CLASSES)[number]

export type OrderLine = {
  readonly order: number
  readonly market: string
  readonly owner: string
  readonly side: 'bid' | 'ask'
  readonly type: string
  readonly price: number
  readonly quantity: number
  readonly amends: number
  readonly decided: number
  readonly arrival: number | null
  readonly basis: ArrivalBasis | null
  readonly live: Result
  /** By the end of the real order; what the model would have filled after it is in `modelAfter`. */
  readonly model: Result
  readonly modelAfter: number
  readonly queueFirst: number | null
  /** Mean of |predicted − venue's| where the venue told, and how often it did. */
  readonly queueError: number | null
  readonly queueSamples: number
  readonly unknownFor: number | null
  /** It was in the model: it counts when the model is judged. */
  readonly modelled: boolean
  readonly class: DivergeClass
  /** In words: what differs, and what is known of why. */
  readonly why: string
}

export type ModelSummary = {
  readonly model: FillModelName
  /** Orders that were at the venue and in the model. */
  readonly orders: number
  readonly both: number
  readonly neither: number
  readonly liveOnly: number
  readonly modelOnly: number
  readonly classes: Readonly<Partial<Record<DivergeClass, number>>>
  readonly contractsLive: number
  readonly contractsModel: number
  /** Σ |model − live| ÷ Σ max(model, live), contracts; null: nobody filled anything. */
  readonly contractError: number | null
  /** Of orders that both filled: median of |model − live| and median of model − live. */
  readonly firstFillError: number | null
  readonly firstFillBias: number | null
  readonly feesLive: number
  readonly feesModel: number
  readonly feeError: number
  readonly pnlLive: number
  readonly pnlModel: number
  /** Σ |model − live| over orders. */
  readonly pnlError: number
  /** Mean |predicted − venue's|, contracts/100, over samples. */
  readonly queueError: number | null
  readonly queueSamples: number
}
