/**
 * The layout of a tape at rest. Owns names and types of every file and column of a tape folder; hides nothing: this page
 * is what another program needs to read one.
 *
 * ```
 * <tape>/
 *   manifest.json                              Manifest
 *   markets.parquet                            MarketRow: everything known afterwards, results included (audit, reports)
 *   coverage.parquet                           CoverageRow: market × hour
 *   messages/date=YYYY-MM-DD/part-000.parquet  the rows; file order is the sequence
 *   quarantine.ndjson                          rejected input lines, with file, line and reason (only when there are any)
 * ```
 *
 * A tape that is being recorded has `growing` in its manifest and, in the folder that it names, the append log (log.ts) with the rows that stand in no part yet; its
 * `markets` and `coverage` files carry a number and are replaced, never changed: whoever read the manifest finds what it names.
 *
 * A tape whose `depth` is not `book` has no checkpoints: a run over it starts at its first row. The date of its files is that of their first row; a file may hold several days.
 *
 * Columns of `messages`, sorted by (file, row): `time` BIGINT µs when we learned it · `time_venue` BIGINT µs · `market` VARCHAR
 * ticker ('' for none) · `kind` UTINYINT · `flags` UTINYINT · `side` UTINYINT · `price` INTEGER 1/10,000 $ · `quantity` BIGINT 1/100 contract ·
 * `detail` VARCHAR JSON of rare kinds, else NULL. Meanings: engine/message.ts.
 */
import type { Depth, KindName, LabelName } from '../engine/message.ts'

export const TAPE_SCHEMA = 'tapeline.tape/1'

export type ManifestFile = { readonly path: string; readonly sha256: string; readonly bytes: number; readonly rows: number }

/** The recorder's clock against the venue's, per connection (µs): receive − venue at its lower envelope. */
export type ClockOffset = {
  readonly connection: string
  readonly offset: number
  /** Half-width: spread of the lower envelope across the connection. */
  readonly uncertainty: number
  readonly samples: number
}

/** How decreases were labelled for one series: Quantity sums and counts. */
export type LabelShare = {
  readonly series: string
  readonly label: LabelName
  readonly inferred: boolean
  readonly count: number
  readonly quantity: number
}

/** Where the rows are that a growing tape holds in no part yet. */
export type Growing = {
  /** Folder of the append log, seen from the tape: `log`, or `../log` where a session shares it. */
  readonly log: 'log' | '../log'
  /** Rows in the parts, checkpoints not counted: the log's rows from there on follow. */
  readonly rows: number
  /** Frames of the log up to this one are in the parts. */
  readonly sequence: number
  /** Number of the `markets` and `coverage` files. */
  readonly generation: number
}

export type Manifest = {
  readonly schema: typeof TAPE_SCHEMA
  readonly name: string
  /** `kalshi-ws`, `practice`, … */
  readonly source: string
  /** Made by the practice population: every report says so in its first line. */
  readonly practice: boolean
  /** What it knows of order books. */
  readonly depth: Depth
  readonly files: readonly ManifestFile[]
  readonly rows: number
  readonly byKind: Readonly<Partial<Record<KindName, number>>>
  readonly markets: number
  /** µs, first and last `time`. */
  readonly from: number
  readonly to: number
  /** µs: the longest corrected lag (time − time_venue) of a market-data row. */
  readonly lagMax: number
  readonly clock: readonly ClockOffset[]
  readonly labels: readonly LabelShare[]
  /** How labels came about: from prints, from volume, or known (practice). */
  readonly labelBasis: 'paired with prints' | 'inferred' | 'mixed' | 'true' | 'none'
  /** Of `rows`: those that repeat what stands before, for readers who begin in the middle. Absent: a tape of before, nobody counted. */
  readonly checkpoints?: number
  /** Breaks in the sequence of a stream, each once however many markets it struck. */
  readonly gaps: number
  /** Of a recording: connections that were lost while they carried a book. */
  readonly disconnects?: number
  /** Of a recording: how often it was broken off and went on, and the time between (µs), in which nothing was recorded. */
  readonly breaks?: { readonly count: number; readonly time: number }
  readonly inFlux: number
  readonly negativeLevels: number
  readonly lastingCrosses: number
  readonly quarantined: number
  /** Input files with their SHA-256, or generator parameters: where this tape came from. */
  readonly origin: Readonly<Record<string, unknown>>
  /** Free remarks that a reader must know, one sentence each (grid inferred, fee assumed …). */
  readonly remarks: readonly string[]
  /** Only while somebody records it. */
  readonly growing?: Growing
  /** SHA-256 of this manifest with an empty digest: a manifest that was changed says so. '' on tapes of before. */
  readonly digest: string
}

/** A market as known after everything: for audit and reports, never for the engine. Times µs, prices Price units, quantities Quantity. */
export type MarketRow = {
  readonly ticker: string
  readonly event: string
  readonly series: string
  readonly title: string
  readonly exclusive: boolean | null
  readonly strike: string | null
  readonly openTime: number | null
  readonly closeTime: number | null
  /** JSON of GridBand[]. */
  readonly grid: string
  readonly gridBasis: 'stated' | 'inferred'
  /** JSON of FeeDetail. */
  readonly fee: string
  readonly feeBasis: 'stated' | 'assumed'
  readonly result: string | null
  readonly settlementValue: number | null
  readonly determinedTime: number | null
  readonly settledTime: number | null
  readonly rows: number
  readonly deltas: number
  readonly trades: number
  /** `trades`, and the contracts in them: prints, or decreases labelled as trades where there are none. Contracts by the exchange's own cumulative volume over the same span (null: unknown). */
  readonly tradedQuantity: number
  readonly venueQuantity: number | null
  /** Only best prices known at the start: a backtest refuses it. */
  readonly partialBook: boolean
  readonly firstTime: number
  readonly lastTime: number
}

/** One market in one hour. Durations µs. */
export type CoverageRow = {
  readonly market: string
  readonly hour: number
  readonly rows: number
  /** Time within the hour between the first and last news of the market's connection, and how much of it the book was synced. */
  readonly recorded: number
  readonly synced: number
  /** Breaks in sequence and new snapshots that this market had: one break of a stream strikes all its markets. */
  readonly gaps: number
  readonly resyncs: number
  readonly inFlux: number
  readonly negativeLevels: number
  readonly lastingCrosses: number
  /** Comparisons of our best prices with the exchange's own (ticker rows), and how many agreed. */
  readonly audits: number
  readonly auditsEqual: number
  readonly partialBook: boolean
}

/** SQL types of the small tables. */
export const MARKET_TYPES: Readonly<Record<keyof MarketRow, string>> = {
  ticker: 'VARCHAR',
  event: 'VARCHAR',
  series: 'VARCHAR',
  title: 'VARCHAR',
  exclusive: 'BOOLEAN',
  strike: 'VARCHAR',
  openTime: 'BIGINT',
  closeTime: 'BIGINT',
  grid: 'VARCHAR',
  gridBasis: 'VARCHAR',
  fee: 'VARCHAR',
  feeBasis: 'VARCHAR',
  result: 'VARCHAR',
  settlementValue: 'INTEGER',
  determinedTime: 'BIGINT',
  settledTime: 'BIGINT',
  rows: 'BIGINT',
  deltas: 'BIGINT',
  trades: 'BIGINT',
  tradedQuantity: 'BIGINT',
  venueQuantity: 'BIGINT',
  partialBook: 'BOOLEAN',
  firstTime: 'BIGINT',
  lastTime: 'BIGINT',
}
export const COVERAGE_TYPES: Readonly<Record<keyof CoverageRow, string>> = {
  market: 'VARCHAR',
  hour: 'BIGINT',
  rows: 'BIGINT',
  recorded: 'BIGINT',
  synced: 'BIGINT',
  gaps: 'BIGINT',
  resyncs: 'BIGINT',
  inFlux: 'BIGINT',
  negativeLevels: 'BIGINT',
  lastingCrosses: 'BIGINT',
  audits: 'BIGINT',
  auditsEqual: 'BIGINT',
  partialBook: 'BOOLEAN',
}
