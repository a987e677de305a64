/**
 * A session: one run of the engine. Owns the header (everything that, with the tape, decides every byte of the journal)
 * and the end mark. Both are JSON. Invariant: nothing in the header comes from a clock or a machine but the versions.
 */
import type { JournalTable } from './journal.ts'
import type { Depth } from './message.ts'
import type { MarkBasis } from './portfolio.ts'
import type { EquityTable, MarkoutTable, TouchTable } from './samples.ts'

export type FillModelName = 'strict' | 'queue' | 'touch' | 'quotes' | 'prints'
/** The fill models that a depth of tape can carry, the default first. */
export const FILL_MODELS_OF: Readonly<Record<Depth, readonly FillModelName[]>> = {
  book: ['queue', 'strict', 'touch'],
  quotes: ['quotes'],
  prints: ['prints'],
}
/** µs from decision to venue (place, cancel, amend) and from venue to answer. */
export type Delays = { readonly place: number; readonly cancel: number; readonly amend: number; readonly answer: number }

/** Every risk limit, in engine units (Money, Quantity, µs, Price units). `null` would mean off; no default is. */
export type Limits = {
  readonly orderMax: number
  readonly positionMax: number
  readonly marketLossMax: number
  readonly eventLossMax: number
  readonly sessionLossMax: number
  readonly ordersOpenMax: number
  readonly ordersPerSecondMax: number
  readonly collar: number
  readonly silenceMax: number
  readonly orderAgeMax: number
}

/** What is known of the tape when the session starts; shown first in every report. */
export type TapeFacts = {
  readonly name: string
  readonly manifest: string
  readonly source: string
  readonly practice: boolean
  readonly depth: Depth
  readonly rows: number
  readonly markets: number
  readonly from: number
  readonly to: number
  /** µs: the longest corrected lag of the feed in the tape. */
  readonly lagMax: number
  readonly gaps: number
  /** Of a recording, where it says so: new snapshots after a loss, connections lost, how often it was broken off and went on, and for how long (µs). */
  readonly losses?: { readonly resyncs: number; readonly disconnects: number; readonly breaks: number; readonly down: number }
  /** Moments in which a book was crossed or locked inside one venue instant. */
  readonly inFlux: number
  /** Share of recorded market time in which the book was synced, 0 … 1; `null` when unknown. */
  readonly coverage: number | null
  readonly labels: 'paired with prints' | 'inferred' | 'mixed' | 'true' | 'none'
  /** What a reader must know of how it was made, one sentence each. */
  readonly remarks: readonly string[]
}

/** A strategy that came from a file: its base name, and SHA-256 over all that it was made of. Never where it lay. */
export type StrategySource = { readonly file: string; readonly sha256: string }

export type SessionHeader = {
  readonly schema: 'tapeline.session/1'
  readonly mode: 'backtest' | 'paper' | 'live'
  readonly version: string
  readonly node: string
  readonly tape: TapeFacts
  readonly strategies: readonly {
    readonly name: string
    readonly parameters: Readonly<Record<string, number | string | boolean>>
    /** Absent: built in. */
    readonly source?: StrategySource
  }[]
  readonly cash: number
  readonly limits: Limits
  readonly fills: FillModelName
  readonly delays: Delays
  /** Write tokens per second and bucket size of the account's tier (api.md §2.2); 10 a placement, 2 a cancel. */
  readonly rate: { readonly perSecond: number; readonly capacity: number }
  readonly seed: number
  /** Live alone: what makes client order ids unique for ever, where the orders go, and whose money it is. */
  readonly live?: { readonly nonce: string; readonly environment: string; readonly subaccount: number }
  /** Selection, `null`: everything. Times in µs. */
  readonly selection: {
    readonly markets: readonly string[] | null
    readonly series: readonly string[] | null
    readonly from: number | null
    readonly to: number | null
    /** µs from the first row during which the strategy sees and may not trade. */
    readonly warmup: number
  }
}

/** One market at the end of a session. Money in millionths of a dollar; `result` is `null` while undetermined. */
export type MarketEnd = {
  readonly ticker: string
  readonly event: string
  readonly series: string
  readonly title: string
  readonly strike: string | null
  readonly closeTime: number | null
  readonly result: string | null
  /** What one YES contract paid, Price units; `null` while undetermined. */
  readonly settlementValue: number | null
  readonly paid: boolean
  readonly orders: number
  readonly fills: number
  /** Contracts filled, Quantity. */
  readonly filled: number
  /** Signed position at the end (0 once paid). */
  readonly position: number
  /** Value of the open position at liquidation and at the mid, Money: of a NO the negative of what buying the YES back costs, without the collateral that comes free. */
  readonly liquidationValue: number
  readonly midValue: number
  readonly markBasis: MarkBasis
  /** Where it stands at the end, Price units of YES: its value once determined, else the mid, the one side or the last trade; `null` where nothing is known. Splits a position that is flat in sum between strategies. */
  readonly markPrice: number | null
  readonly fees: number
  /** Net of fees, positions marked at liquidation. */
  readonly pnl: number
}

/** One strategy at the end of a session: its own ledger. Money in millionths of a dollar; the `pnl` of all strategies add up to the session's. */
export type OwnerEnd = {
  readonly name: string
  readonly signals: number
  readonly orders: number
  readonly refusals: Readonly<Record<string, number>>
  readonly rejections: Readonly<Record<string, number>>
  readonly fills: number
  /** Contracts filled, Quantity. */
  readonly filled: number
  readonly fees: number
  /** Its share of the value of positions that are still open, at liquidation (`sharesOf`). */
  readonly openValue: number
  readonly pnl: number
}

export type SessionEnd = {
  readonly complete: boolean
  /** Why it ended: `end of tape`, `interrupted`, `strategy error`, … */
  readonly reason: string
  readonly rows: number
  readonly firstTime: number | null
  readonly lastTime: number | null
  readonly marketsSeen: number
  /** Of them: whose book was whole at some time, two-sided at some time, and shown to a strategy while two-sided. */
  readonly marketsSynced: number
  readonly marketsTwoSided: number
  readonly marketsShown: number
  readonly marketsUnsyncedEver: number
  readonly inFlux: number
  readonly cash: number
  readonly locked: number
  readonly equity: number
  readonly equityMid: number
  readonly equityPeak: number
  readonly drawdownMax: number
  readonly fees: number
  /** Worst loss of all that is still open at the end, Money. */
  readonly stressLoss: number
  readonly signals: number
  readonly orders: number
  readonly fills: number
  readonly refusals: Readonly<Record<string, number>>
  readonly rejections: Readonly<Record<string, number>>
  /** Outside series: those with a row, and those that a strategy asked for in vain. */
  readonly externals: { readonly seen: readonly string[]; readonly missing: readonly string[] }
  /** By strategy, in the order of the header. */
  readonly owners: readonly OwnerEnd[]
  /** Markets with an order, by ticker. */
  readonly markets: readonly MarketEnd[]
}

/** Everything a report is a pure function of. `strings` resolves the numbers of `journal` and `touches`. */
export type SessionRecord = {
  readonly header: SessionHeader
  readonly end: SessionEnd
  readonly digest: string
  readonly strings: readonly string[]
  readonly journal: JournalTable
  readonly touches: TouchTable
  readonly equity: EquityTable
  readonly markouts: MarkoutTable
}
