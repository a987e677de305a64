/**
 * Books that are asked for beside the stream, to find out whether the stream is true. Owns who is looked at when, and what may be compared; hides timing. Invariant: only levels that
 * did not move while the answer may have been made are compared, so that a difference is a difference: it must be seen twice to count against the book.
 */
import type { MarketState } from '../../data/import/state.ts'
import type { BookLevel } from '../../data/import/translate.ts'

export type AuditOptions = {
  /** µs between looks. */
  readonly every: number
  /** An answer may be this old already (the exchange's cache). */
  readonly cacheAge: number
  /** News may be this late. */
  readonly settle: number
  /** Markets in one look. */
  readonly markets: number
}
export type AuditVerdict = { readonly ticker: string; readonly equal: boolean; readonly broken: boolean; readonly compared: number }

type Look = {
  phase: 'watching' | 'asked' | 'settling'
  at: number
  /** Levels that moved, by market. */
  readonly moved: Map<string, Set<number>>
  books: ReadonlyMap<string, readonly BookLevel[]>
}

export class Audits {
  readonly #options: AuditOptions
  readonly #suspects = new Set<string>()
  #look: Look | null = null
  #nextAt: number
  #turn = ''

  constructor(options: AuditOptions, now: number) {
    this.#options = options
    this.#nextAt = now + options.every
  }

  /** A level of a market moves. */
  moved(ticker: string, side: number, price: number): void {
    this.#look?.moved.get(ticker)?.add(price * 2 + side)
  }
  watches(ticker: string): boolean {
    return this.#look !== null && this.#look.moved.has(ticker)
  }
  /** Its book was replaced, or is not to be trusted anyway. */
  spare(ticker: string): void {
    this.#look?.moved.delete(ticker)
  }

  /** The markets to ask for now, or null. `synced`: those that can be looked at. */
  advance(synced: () => readonly string[], now: number): readonly string[] | null {
    const look = this.#look
    if (look === null) {
      if (now < this.#nextAt) return null
      this.#nextAt = now + this.#options.every
      const chosen = this.#choose(synced())
      if (chosen.length === 0) return null
      this.#look = { phase: 'watching', at: now, moved: new Map(chosen.map((t) => [t, new Set<number>()])), books: new Map() }
      return null
    }
    if (look.phase !== 'watching' || now - look.at < this.#options.cacheAge) return null
    look.phase = 'asked'
    look.at = now
    const asked = [...look.moved.keys()]
    if (asked.length > 0) return asked
    this.#look = null
    return null
  }
  answered(books: ReadonlyMap<string, readonly BookLevel[]>, now: number): void {
    const look = this.#look
    if (look?.phase !== 'asked') return
    look.phase = 'settling'
    look.at = now
    look.books = books
  }
  failed(): void {
    this.#look = null
  }
  /** What came out, once late news has had its time. */
  verdicts(market: (ticker: string) => MarketState | undefined, now: number): AuditVerdict[] {
    const look = this.#look
    if (look?.phase !== 'settling' || now - look.at < this.#options.settle) return []
    this.#look = null
    const verdicts: AuditVerdict[] = []
    for (const [ticker, moved] of look.moved) {
      const levels = look.books.get(ticker)
      const state = market(ticker)
      if (levels === undefined || state?.synced !== true) continue
      const { compared, different } = compare(state, levels, moved)
      const broken = different > 0 && this.#suspects.has(ticker)
      if (different > 0 && !broken) {
        this.#suspects.add(ticker)
        this.#nextAt = Math.min(this.#nextAt, now + 1_000_000)
      } else this.#suspects.delete(ticker)
      verdicts.push({ ticker, equal: different === 0, broken, compared })
    }
    return verdicts
  }

  /** Suspects first, then everybody in turn. */
  #choose(synced: readonly string[]): string[] {
    const there = new Set(synced)
    for (const s of this.#suspects) if (!there.has(s)) this.#suspects.delete(s)
    const sorted = [...synced].sort()
    const after = sorted.findIndex((t) => t > this.#turn)
    const turned = after < 0 ? sorted : [...sorted.slice(after), ...sorted.slice(0, after)]
    const chosen = [...new Set([...this.#suspects, ...turned])].slice(0, this.#options.markets)
    this.#turn = chosen.at(-1) ?? ''
    return chosen
  }
}

function compare(state: MarketState, levels: readonly BookLevel[], moved: ReadonlySet<number>): { compared: number; different: number } {
  let compared = 0
  let different = 0
  const told = new Map(levels.map((l) => [l.price * 2 + l.side, l.quantity]))
  const { grid, bids, asks } = state.book
  for (let i = 0; i < grid.size; i++) {
    const price = grid.prices[i] as number
    for (const [side, quantities] of [bids, asks].entries()) {
      const key = price * 2 + side
      const theirs = told.get(key) ?? 0
      const ours = quantities[i] ?? 0
      told.delete(key)
      if (moved.has(key) || (theirs === 0 && ours === 0)) continue
      compared++
      if (theirs !== ours) different++
    }
  }
  // Levels off our grid.
  for (const key of told.keys()) if (!moved.has(key)) different++
  return { compared, different }
}
