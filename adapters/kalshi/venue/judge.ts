/**
 * From comparisons to a verdict: what counts, what is told, what is kept. Owns "seen twice" and the words; hides nothing. Invariants: a difference counts when two judged passes in a row show it, a foreign order
 * at once; a pass that was not judged neither confirms nor clears anything; a market is halted once.
 */
import type { News } from '../../../engine/news.ts'
import type { Baseline, CashReading, Comparison, Difference } from './reconcile.ts'

export type Outcome =
  /** No difference. */
  | 'agreed'
  /** Differences of single markets, which are halted; the rest agrees. */
  | 'halted'
  /** A difference of the account: no order is permitted. */
  | 'disagreed'
  /** Differences that one pass alone has shown. */
  | 'suspected'
  | 'not judged'
export type Verdict = {
  readonly outcome: Outcome
  readonly why: string
  readonly counted: readonly Difference[]
  readonly suspected: readonly Difference[]
  readonly notes: readonly string[]
  readonly news: readonly News[]
}

const SHOWN_MAX = 40
const NOTES_MAX = 10
const NEWS_TEXT_MAX = 400

export class Judge {
  /** Differences that the last pass showed, with their market. */
  readonly #suspects = new Map<string, string | null>()
  readonly #halted = new Set<string>()
  #said: 'agreed' | 'disagreed' | null = null

  /** Markets that were halted before, as a restart finds them in its log. */
  restore(tickers: Iterable<string>): void {
    for (const ticker of tickers) this.#halted.add(ticker)
  }
  /** What was agreed upon is no longer certain: the next agreement is said again. */
  doubt(): void {
    this.#said = null
  }
  /** An operator has looked at the halted markets: what is still so is said again. */
  resumed(): void {
    this.#halted.clear()
    this.doubt()
  }
  /** A market that was halted is as the exchange says again, and goes on. */
  freed(ticker: string): void {
    this.#halted.delete(ticker)
  }
  /** Whether agreement or the opposite was said since it was last in doubt. */
  get said(): boolean {
    return this.#said !== null
  }
  /** Agreement was the last word. */
  get agreed(): boolean {
    return this.#said === 'agreed'
  }
  get halted(): ReadonlySet<string> {
    return this.#halted
  }

  judge(comparison: Comparison): Verdict {
    if (!comparison.judged) return { outcome: 'not judged', why: comparison.why, counted: [], suspected: [], notes: [], news: [] }
    const { differences, notes, busy } = comparison
    const counts = (d: Difference): boolean =>
      d.kind === 'foreign-order' || d.kind === 'foreign-position' || this.#suspects.has(`${d.kind}/${d.key}`)
    const counted = differences.filter(counts)
    const suspected = differences.filter((d) => !counts(d))
    // A market that was not compared clears nothing.
    for (const [key, ticker] of this.#suspects) if (ticker === null || !busy.has(ticker)) this.#suspects.delete(key)
    for (const d of differences) this.#suspects.set(`${d.kind}/${d.key}`, d.ticker)
    const account = counted.filter((d) => d.ticker === null)
    const outcome =
      account.length > 0 ? 'disagreed' : suspected.length > 0 ? 'suspected' : counted.length > 0 ? 'halted' : ('agreed' as const)
    const news: News[] = []
    const markets = new Map<string, Difference[]>()
    for (const d of counted) if (d.ticker !== null) markets.set(d.ticker, [...(markets.get(d.ticker) ?? []), d])
    for (const [ticker, list] of markets) {
      if (this.#halted.has(ticker)) continue
      this.#halted.add(ticker)
      news.push({ type: 'market-halted', ticker, reason: sentence(list), by: 'reconciliation' })
    }
    // What permits orders again is a comparison of everything: nothing happens meanwhile, so that it comes.
    const word = outcome === 'disagreed' ? 'disagreed' : outcome === 'suspected' || busy.size > 0 ? null : 'agreed'
    const why =
      outcome === 'agreed'
        ? `orders, positions, settlements and cash are as the exchange says${busy.size === 0 ? '' : ` (but for ${busy.size} ${busy.size === 1 ? 'market' : 'markets'} in which something happened just now)`}`
        : sentence(counted.length > 0 ? counted : suspected)
    if (word !== null && word !== this.#said) {
      this.#said = word
      news.push({
        type: word,
        reason:
          word === 'disagreed'
            ? sentence(account)
            : outcome === 'agreed'
              ? why
              : `all but ${markets.size} halted market${markets.size === 1 ? '' : 's'}`,
      })
    }
    return { outcome, why, counted, suspected, notes, news }
  }
}

function labelOf({ key, ticker }: Difference): string {
  return ticker === null || key.endsWith(ticker) ? key : `${ticker} ${key}`
}
function sentence(differences: readonly Difference[]): string {
  const text = differences.map((d) => `${labelOf(d)}: ours ${d.ours}, the exchange ${d.theirs} (${d.explanation})`).join('; ')
  return text.length <= NEWS_TEXT_MAX ? text : `${text.slice(0, NEWS_TEXT_MAX - 1)}…`
}

/** What a pass came to: for the log of the session, and to be shown. Bounded, plain JSON. */
export type ReconcileRecord = {
  readonly time: number
  readonly cause: string
  readonly outcome: Outcome
  readonly why: string
  readonly asOf: number | null
  readonly reading: CashReading
  readonly orders: number
  readonly positions: number
  readonly differences: readonly (Difference & { readonly counted: boolean })[]
  readonly differencesMore: number
  readonly notes: readonly string[]
  /** With the pass that took it. */
  readonly baseline: Baseline | null
}

export function recordOf(
  verdict: Verdict,
  more: Pick<ReconcileRecord, 'time' | 'cause' | 'asOf' | 'reading' | 'orders' | 'positions' | 'baseline'>,
): ReconcileRecord {
  const all = [...verdict.counted.map((d) => ({ ...d, counted: true })), ...verdict.suspected.map((d) => ({ ...d, counted: false }))]
  return {
    ...more,
    outcome: verdict.outcome,
    why: verdict.why,
    differences: all.slice(0, SHOWN_MAX),
    differencesMore: Math.max(0, all.length - SHOWN_MAX),
    notes: verdict.notes.slice(0, NOTES_MAX),
  }
}

/** A table that a trader can read: what, ours, the exchange's, and what it may be. */
export function sideBySide(record: ReconcileRecord): string {
  const rows = record.differences.map((d) => [`${d.counted ? '' : '? '}${labelOf(d)}`, d.ours, d.theirs, d.explanation])
  if (rows.length === 0) return `${record.outcome}: ${record.why}`
  const table = [['', 'ours', 'exchange', ''], ...rows]
  const widths = [0, 1, 2].map((c) => Math.max(...table.map((r) => (r[c] as string).length)))
  const lines = table.map((r) =>
    r
      .map((cell, c) => (c < 3 ? cell.padEnd(widths[c] as number) : cell))
      .join('  ')
      .trimEnd(),
  )
  if (record.differencesMore > 0) lines.push(`… and ${record.differencesMore} more`)
  return lines.join('\n')
}
