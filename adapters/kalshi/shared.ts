/**
 * What the parts of the feed's core share: its options, what it asks of the world, what it counts. Owns the shapes; hides nothing. Invariant: `now` is the time of the call that is being
 * worked on, and nobody else's.
 */
import type { AuditOptions } from './audit.ts'
import type { Catalog, CatalogRequest } from './catalog.ts'
import type { KalshiError } from './errors.ts'
import type { SelectionRule } from './selection.ts'
import type { Translator } from '../../data/import/translate.ts'
import type { KnownMarket } from '../../data/ledger.ts'

export type FeedOptions = {
  readonly rule: SelectionRule
  /** Markets that whoever reads the feed knows from before and that had not paid then: followed until they have, whatever the rule says, and told what has changed since. */
  readonly known?: readonly KnownMarket[]
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
  /** Told what a comparison of a book with the exchange's own came to; `time` as of the rows. */
  readonly onAudit?: (ticker: string, equal: boolean, time: number) => void
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

/** What happened, by name, since the start. */
export function newCounts() {
  return {
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
}

export type Shared = {
  readonly options: FeedOptions
  readonly act: (action: Action) => void
  readonly counts: ReturnType<typeof newCounts>
  readonly translator: Translator
  readonly catalog: Catalog
  /** Markets that cannot be followed, or whose entry cannot be used, with why. */
  readonly troubles: Map<string, string>
  now: number
  /** It is we who unsync, not the translator for something that it found in a book. */
  ours: boolean
}

export function unsync(shared: Shared, tickers: Iterable<string>, reason: string, gap = false): void {
  shared.ours = true
  for (const ticker of tickers) {
    const state = shared.translator.markets.get(ticker)
    if (state !== undefined) shared.translator.unsync(state, reason, gap ? 'gaps' : null)
  }
  shared.ours = false
}
export function trouble({ troubles }: Shared, ticker: string, why: string): void {
  if (troubles.size < 1_000) troubles.set(ticker, why)
}

export type FeedStatus = {
  readonly links: readonly {
    readonly name: string
    readonly state: string
    readonly markets: number
    readonly connects: number
    readonly stale: boolean
    /** µs since anything was heard on it; null: it is not open. */
    readonly silent: number | null
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
  readonly troubles: Readonly<Record<string, string>>
  /** Connections that we ended ourselves, by why. */
  readonly drops: Readonly<Record<string, number>>
  readonly unknownTypes: Readonly<Record<string, number>>
  /** µs by which the exchange's clock is ahead of ours. */
  readonly clockOffset: number
  /** µs by which our own loop was late at most, of late. */
  readonly latenessMax: number
  readonly rowsWaiting: number
  readonly rowsDropped: number
}
