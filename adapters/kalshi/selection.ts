/**
 * Which markets a feed follows. Owns the rule and its order; hides nothing. Invariant: a market that was chosen stays until it has closed, so that a spread that opens and
 * closes does not tear its book apart.
 */
import type { MarketStatus } from '../../engine/message.ts'
import type { Duration } from '../../engine/units.ts'

export type SelectionRule = {
  /** These, whatever else the rule says. */
  readonly tickers?: readonly string[]
  /** Markets of these series … */
  readonly series?: readonly string[]
  /** … that close within this, … */
  readonly closeWithin?: Duration
  /** … but not sooner than this, … */
  readonly closeAfter?: Duration
  /** … with at most this between bid and ask (Price units), … */
  readonly spreadMax?: number
  /** … and at least this traded in the last 24 hours (Quantity). */
  readonly volumeMin?: number
  /** At most so many: those that close first. */
  readonly marketsMax?: number
}

/** What a choice is made from. */
export type Candidate = {
  readonly ticker: string
  readonly status: MarketStatus
  readonly openTime: number
  readonly closeTime: number
  /** Best prices; 0 and 10,000 for none. */
  readonly bid: number
  readonly ask: number
  readonly volumeDay: number
}

export const MARKETS_MAX = 500
/** A market that opens within this is already of interest. */
const OPENS_SOON = 60_000_000

/** The tickers to follow, those that close first in front. `kept`: those followed now. */
export function choose(candidates: Iterable<Candidate>, rule: SelectionRule, kept: ReadonlySet<string>, now: number): string[] {
  const named = new Set(rule.tickers ?? [])
  const fits = (c: Candidate): boolean => {
    if (c.closeTime <= now || c.status === 'closed' || c.status === 'determined' || c.status === 'finalized') return false
    if (named.has(c.ticker) || kept.has(c.ticker)) return true
    if (c.status === 'initialized' && c.openTime > now + OPENS_SOON) return false
    if (rule.closeWithin !== undefined && c.closeTime > now + rule.closeWithin) return false
    if (rule.closeAfter !== undefined && c.closeTime < now + rule.closeAfter) return false
    // A market that has not opened has neither a spread nor a volume.
    if (c.status !== 'active') return true
    if (rule.spreadMax !== undefined && c.ask - c.bid > rule.spreadMax) return false
    return rule.volumeMin === undefined || c.volumeDay >= rule.volumeMin
  }
  const rank = (c: Candidate): number => (named.has(c.ticker) ? 0 : kept.has(c.ticker) ? 1 : 2)
  return [...candidates]
    .filter(fits)
    .sort((a, b) => rank(a) - rank(b) || a.closeTime - b.closeTime || (a.ticker < b.ticker ? -1 : 1))
    .slice(0, rule.marketsMax ?? MARKETS_MAX)
    .map((c) => c.ticker)
}
