/**
 * What brings the feed back to the truth: snapshots of broken books, audits, polled books while a connection is down, trades that were missed. Owns who is repaired when; hides the rhythm.
 * Invariant: a repair that was no use again and again is not repeated at once.
 */
import { MINUTE, SECOND } from '../../engine/units.ts'
import type { MarketState } from '../../data/import/state.ts'
import type { BookLevel } from '../../data/import/translate.ts'
import { Audits } from './audit.ts'
import type { Followed } from './followed.ts'
import type { Link, Links } from './links.ts'
import { unsync, type ReadRequest, type Shared } from './shared.ts'

const BREAKS_MAX = 5
const BACKFILLS_AT_ONCE = 2

export class Repair {
  readonly audits: Audits
  readonly #shared: Shared
  readonly #links: Links
  readonly #followed: Followed
  readonly #backfill = new Map<string, number>()
  #backfilling = 0
  #broken = new Set<MarketState>()

  constructor(shared: Shared, links: Links, followed: Followed, now: number) {
    this.#shared = shared
    this.#links = links
    this.#followed = followed
    this.audits = new Audits({ every: 30 * SECOND, cacheAge: 15 * SECOND, settle: SECOND, markets: 20, ...shared.options.audit }, now)
  }

  advance(now: number): void {
    this.mend(now)
    this.#audit(now)
    for (const l of this.#links.list) this.#poll(l, now)
    this.#backfills()
  }
  broken(state: MarketState): void {
    this.#broken.add(state)
  }
  forgotten(state: MarketState): void {
    this.#backfill.delete(state.ticker)
    this.audits.spare(state.ticker)
  }
  backfilled(): void {
    this.#backfilling--
  }
  backfillFailed(ticker: string, since: number, again: boolean): void {
    this.#backfilling--
    if (again) this.#backfill.set(ticker, since)
  }

  /** Books that were found broken: a snapshot, unless it was no use again and again. */
  mend(now: number): void {
    if (this.#broken.size === 0) return
    const broken = this.#broken
    this.#broken = new Set()
    const later: MarketState[] = []
    for (const state of broken) {
      const t = this.#followed.tracked.get(state.ticker)
      if (t === undefined || t.link === null) continue
      t.breaks = t.breaks.filter((at) => now - at < MINUTE)
      if (t.breaks.length >= BREAKS_MAX) {
        later.push(state)
        continue
      }
      t.breaks.push(now)
      t.link.stream.resync([state.ticker], now)
    }
    // Its grid may have changed without a word.
    if (later.length > 0) this.#shared.catalog.soon(now)
    for (const state of later) this.#broken.add(state)
  }
  #audit(now: number): void {
    const synced = (): string[] => {
      const tickers: string[] = []
      for (const t of this.#followed.tracked.values()) if (t.state.synced && t.state.status === 'active') tickers.push(t.state.ticker)
      return tickers
    }
    const asked = this.audits.advance(synced, now)
    if (asked !== null) this.#read({ kind: 'audit', tickers: asked })
    for (const v of this.audits.verdicts((t) => this.#shared.translator.markets.get(t), now)) {
      const t = this.#followed.tracked.get(v.ticker)
      if (t === undefined) continue
      this.#shared.counts.audits++
      this.#shared.counts.levelsCompared += v.compared
      t.state.count('audits', this.#shared.translator.time)
      if (v.equal) {
        this.#shared.counts.auditsEqual++
        t.state.count('auditsEqual', this.#shared.translator.time)
      }
      this.#shared.options.onAudit?.(v.ticker, v.equal, this.#shared.translator.time)
      if (!v.broken) continue
      this.#shared.counts.auditsBroken++
      unsync(this.#shared, [v.ticker], 'audit')
      // The stream itself gave this book: another subscription, not another snapshot.
      t.link?.stream.renew('a book differs from the exchange', now)
    }
  }
  /** Books of a connection that is down. */
  #poll(l: Link, now: number): void {
    if (l.connection.state === 'open' || l.connection.state === 'idle' || now < l.pollAt) return
    l.pollAt = now + (this.#shared.options.pollEvery ?? 2 * SECOND)
    const tickers = [...l.stream.tickers].filter((t) => this.#followed.tracked.get(t)?.state.status === 'active')
    for (let i = 0; i < tickers.length; i += 100) this.#read({ kind: 'poll', tickers: tickers.slice(i, i + 100), link: l.number })
  }
  polled(link: number, books: ReadonlyMap<string, readonly BookLevel[]>): void {
    // The stream may be back by now: it knows better.
    if (this.#links.list[link]?.connection.state === 'open') return
    for (const [ticker, levels] of books) {
      const t = this.#followed.tracked.get(ticker)
      if (t === undefined || t.state.synced || t.link?.number !== link) continue
      const said = JSON.stringify(levels)
      if (said === t.polled) continue
      t.polled = said
      this.#shared.counts.polledBooks++
      this.#shared.ours = true
      this.#shared.translator.polled(t.state, levels)
      this.#shared.ours = false
    }
  }
  missed(ticker: string): void {
    const t = this.#followed.tracked.get(ticker)
    if (t !== undefined && this.#shared.options.trades !== false) this.#backfill.set(ticker, t.lastTrade)
  }
  #backfills(): void {
    for (const [ticker, since] of this.#backfill) {
      if (this.#backfilling >= BACKFILLS_AT_ONCE) return
      this.#backfill.delete(ticker)
      this.#backfilling++
      this.#read({ kind: 'trades', ticker, since })
    }
  }
  #read(request: ReadRequest): void {
    this.#shared.act({ kind: 'read', request })
  }
}
