/**
 * The life of a market on a tape made from trades or best prices: when it becomes known, closes, is determined and paid. Owns the rules by which missing times are assumed and the
 * remarks that say so; hides the counting. Invariants: a catalog row says nothing that was known only later (no result, no early close); every row of a market lies between its
 * catalog row and its close; the plan depends on the data and not on the order in which it was read.
 */
import { Kind, type CatalogDetail, type FeeDetail, type GridBand, type MarketStatus } from '../../engine/message.ts'
import { MINUTE } from '../../engine/units.ts'
import type { MarketRow } from '../schema.ts'
import type { Listing, Listings } from './listing.ts'
import { eventOf, inferGrid, seriesOf } from './survey.ts'

/** What the data itself says of one market. */
export type Seen = {
  readonly rows: number
  readonly trades: number
  /** Quantity. */
  readonly quantity: number
  readonly first: number
  readonly last: number
  /** Prices off the cent. */
  readonly finePrices: ReadonlySet<number>
}

/** Two forms of one ticker. */
export function together(a: Seen, b: Seen): Seen {
  return {
    rows: a.rows + b.rows,
    trades: a.trades + b.trades,
    quantity: a.quantity + b.quantity,
    first: Math.min(a.first, b.first),
    last: Math.max(a.last, b.last),
    finePrices: new Set([...a.finePrices, ...b.finePrices]),
  }
}

export type LifeRow = { readonly time: number; readonly ticker: string; readonly kind: Kind; readonly detail: string }

export type Plan = {
  /** Rows that come before the data of their time, and those that come after it, each in order. */
  readonly before: readonly LifeRow[]
  readonly after: readonly LifeRow[]
  readonly markets: readonly MarketRow[]
  readonly remarks: readonly string[]
  readonly figures: LifeFigures
}
export type LifeFigures = {
  readonly markets: number
  /** Listed markets with data, listed ones without on the tape, and those left out (nothing of their event has data, or no time is known). */
  readonly listed: number
  readonly listedWithout: number
  readonly listedElsewhere: number
  readonly unlisted: readonly string[]
  readonly undetermined: number
  /** Series of the data → series on the tape, with the number of markets. */
  readonly seriesMapped: Readonly<Record<string, { readonly to: string; readonly markets: number }>>
  readonly volumeCompared: number
  readonly volumeEqual: number
  readonly volumeUnequal: readonly { readonly ticker: string; readonly contracts: number; readonly exchange: number }[]
}

const FEE: FeeDetail = { type: 'quadratic', multiplier: 10_000 }

/** A prefix of today's and of before: X counts as KXX where the data knows KXX. */
export function seriesRule(known: ReadonlySet<string>): (ticker: string) => string {
  return (ticker) => {
    const prefix = seriesOf(ticker)
    return known.has(`KX${prefix}`) ? `KX${prefix}` : prefix
  }
}

/** The listed ticker that a ticker of the data means: itself, or the same with `KX` added or removed. Null: none is listed. */
export function listedAs(ticker: string, markets: ReadonlyMap<string, unknown>): string | null {
  if (markets.has(ticker)) return ticker
  if (markets.has(`KX${ticker}`)) return `KX${ticker}`
  return ticker.startsWith('KX') && markets.has(ticker.slice(2)) ? ticker.slice(2) : null
}

export function planMarkets(
  seen: ReadonlyMap<string, Seen>,
  listings: Listings,
  /** `unlisted`: a market without a catalog row is not tradable; `assumed`: it is, by what its ticker says. */
  { strangers, what, volumes }: { readonly strangers: 'unlisted' | 'assumed'; readonly what: 'trade' | 'quote'; readonly volumes: boolean },
): Plan {
  const tickers = [...new Set([...seen.keys(), ...listings.markets.keys()])].sort()
  const known = new Set([...tickers.map(seriesOf), ...[...listings.markets.values()].flatMap((l) => (l.series === null ? [] : [l.series]))])
  const series = seriesRule(known)
  const scheduled = new Map<string, number>()
  const exclusive = new Map<string, boolean>()
  for (const l of listings.markets.values()) {
    const event = l.event ?? eventOf(l.ticker)
    if (l.closeTime !== null) scheduled.set(event, Math.max(scheduled.get(event) ?? 0, l.closeTime))
    if (l.exclusive !== null) exclusive.set(event, l.exclusive)
  }
  const tally = new Tally(what)
  let end = -Infinity
  for (const s of seen.values()) if (s.last > end) end = s.last
  const before: LifeRow[] = []
  const after: LifeRow[] = []
  const markets: MarketRow[] = []
  const unlisted: string[] = []
  const mapped: Record<string, { to: string; markets: number }> = {}
  const unequal: { ticker: string; contracts: number; exchange: number }[] = []
  let [listed, listedWithout, undetermined, compared] = [0, 0, 0, 0]
  for (const ticker of tickers) {
    const data = seen.get(ticker) ?? null
    const listing = listings.markets.get(ticker) ?? null
    const life = lifeOf(ticker, listing, data, end, tally)
    if (life === null) continue
    const { born, closed, determined, settled } = life
    const event = listing?.event ?? eventOf(ticker)
    const line = listing?.series ?? series(ticker)
    if (line !== seriesOf(ticker)) (mapped[seriesOf(ticker)] ??= { to: line, markets: 0 }).markets++
    const stranger = listing === null
    if (stranger) unlisted.push(ticker)
    else if (data !== null) listed++
    else listedWithout++
    const close = listing === null ? null : (scheduled.get(event) ?? null)
    if (close !== null && listing?.closeTime != null && close > listing.closeTime) tally.closedBefore++
    const { grid, stated } = gridFor(listing, data, tally)
    const status: MarketStatus = stranger && strangers === 'unlisted' ? 'unlisted' : 'active'
    const catalog: CatalogDetail = {
      ticker,
      event,
      series: line,
      title: listing?.title ?? ticker,
      exclusive: exclusive.get(event) ?? null,
      strike: listing?.strike ?? null,
      openTime: listing?.openTime == null ? null : born,
      closeTime: close,
      status,
      grid,
      fee: FEE,
    }
    const rare = (time: number, kind: Kind, detail: unknown): LifeRow => ({ time, ticker, kind, detail: JSON.stringify(detail) })
    before.push(rare(born, Kind.CATALOG, catalog))
    let rows = 1 + (data?.rows ?? 0)
    if (closed !== null) {
      after.push(rare(closed, Kind.STATUS, { status: 'closed' }))
      rows++
    }
    if (determined !== null && settled !== null) {
      after.push(rare(determined, Kind.DETERMINED, { result: listing?.result, value: listing?.value }), rare(settled, Kind.SETTLED, {}))
      rows += 2
    } else if (listing !== null) undetermined++
    const volume = volumes ? (listing?.volume ?? null) : null
    if (volume !== null && data !== null) {
      compared++
      if (volume !== data.quantity) unequal.push({ ticker, contracts: data.quantity / 100, exchange: volume / 100 })
    }
    markets.push({
      ticker,
      event,
      series: line,
      title: catalog.title,
      exclusive: catalog.exclusive,
      strike: catalog.strike,
      openTime: listing?.openTime ?? null,
      closeTime: listing?.closeTime ?? null,
      grid: JSON.stringify(grid),
      gridBasis: stated ? 'stated' : 'inferred',
      fee: JSON.stringify(FEE),
      feeBasis: 'assumed',
      result: determined === null ? null : (listing?.result ?? null),
      settlementValue: determined === null ? null : (listing?.value ?? null),
      determinedTime: determined,
      settledTime: settled,
      rows,
      deltas: 0,
      trades: data?.trades ?? 0,
      tradedQuantity: data?.quantity ?? 0,
      venueQuantity: volume,
      partialBook: false,
      firstTime: born,
      lastTime: settled ?? closed ?? data?.last ?? born,
    })
  }
  const rank: Partial<Record<Kind, number>> = { [Kind.STATUS]: 0, [Kind.DETERMINED]: 1, [Kind.SETTLED]: 2 }
  const inOrder = (a: LifeRow, b: LifeRow): number =>
    a.time - b.time || (rank[a.kind] ?? 0) - (rank[b.kind] ?? 0) || (a.ticker < b.ticker ? -1 : a.ticker > b.ticker ? 1 : 0)
  const figures: LifeFigures = {
    markets: markets.length,
    listed,
    listedWithout,
    listedElsewhere: listings.elsewhere + tally.timeless,
    unlisted,
    undetermined,
    seriesMapped: mapped,
    volumeCompared: compared,
    volumeEqual: compared - unequal.length,
    volumeUnequal: unequal,
  }
  return {
    before: before.sort(inOrder),
    after: after.sort(inOrder),
    markets,
    remarks: tally.remarks(figures, listings, strangers),
    figures,
  }
}

type Life = { readonly born: number; readonly closed: number | null; readonly determined: number | null; readonly settled: number | null }

/** When things happened to a market; null when nothing about it has a time. `end`: the last row of all data. */
function lifeOf(ticker: string, listing: Listing | null, data: Seen | null, end: number, tally: Tally): Life | null {
  if (listing === null) return data === null ? null : { born: data.first, closed: null, determined: null, settled: null }
  if (listing.resultUnknown !== null) tally.resultUnknown(ticker, listing.resultUnknown)
  if (listing.closesEarly === true) tally.closesEarly++
  const { openTime, closeTime, expirationTime, result } = listing
  if (openTime === null) tally.openMissing++
  if (closeTime === null) tally.closeMissing++
  if (openTime !== null && data !== null && openTime > data.first) tally.openLate++
  const start = Math.min(openTime ?? Infinity, data?.first ?? Infinity)
  const born = Number.isFinite(start) ? start : closeTime
  if (born === null) {
    tally.timeless++
    return null
  }
  let closed: number | null = null
  // A close that lies beyond the data is a plan, unless the market has ended.
  if (closeTime !== null && result === null && closeTime > end) tally.open++
  else if (closeTime !== null) {
    closed = Math.max(born, closeTime)
    if (data !== null && data.last > closed) {
      closed = data.last + 1
      tally.closeLate++
    }
  }
  if (result === null) return { born, closed, determined: null, settled: null }
  const last = data === null ? -Infinity : data.last + MINUTE
  const assumed = Math.max(expirationTime ?? -Infinity, closed === null ? -Infinity : closed + MINUTE, last, born)
  const timer = listing.settlementTimer ?? MINUTE
  if (listing.settlementTime === null) {
    tally.settlementAssumed++
    return { born, closed: closed ?? assumed, determined: assumed, settled: assumed + timer }
  }
  // Paid at a stated time: determined one timer before it, but never before the close or the last trade.
  const determined = Math.max(listing.settlementTime - timer, closed ?? born, data === null ? born : data.last + 1)
  return { born, closed: closed ?? determined, determined, settled: Math.max(determined, listing.settlementTime) }
}

function gridFor(
  listing: Listing | null,
  data: Seen | null,
  tally: Tally,
): { readonly grid: readonly GridBand[]; readonly stated: boolean } {
  const fine = data?.finePrices ?? new Set<number>()
  const stated = listing?.grid ?? null
  if (stated !== null) {
    const on = (p: number): boolean => stated.some((b) => p >= b.start && p <= b.end && (p - b.start) % b.step === 0)
    if ([...fine].every(on)) return { grid: stated, stated: true }
    tally.gridContradicted++
  }
  tally.gridInferred++
  return { grid: inferGrid(fine).bands, stated: false }
}

/** Counts what had to be assumed, and says it in sentences. */
class Tally {
  readonly #what: 'trade' | 'quote'
  openMissing = 0
  closeMissing = 0
  openLate = 0
  closeLate = 0
  closedBefore = 0
  closesEarly = 0
  timeless = 0
  open = 0
  settlementAssumed = 0
  gridInferred = 0
  gridContradicted = 0
  readonly #words = new Map<string, string[]>()

  constructor(what: 'trade' | 'quote') {
    this.#what = what
  }
  resultUnknown(ticker: string, word: string): void {
    const list = this.#words.get(word)
    if (list === undefined) this.#words.set(word, [ticker])
    else list.push(ticker)
  }

  remarks(f: LifeFigures, listings: Listings, strangers: 'unlisted' | 'assumed'): string[] {
    const what = this.#what
    const out = ['Fees assumed: quadratic, multiplier 1 (the files state none)']
    const say = (n: number, text: string): void => {
      if (n > 0) out.push(text)
    }
    const n = (count: number, one: string): string => `${count.toLocaleString('en-US')} ${one}${count === 1 ? '' : 's'}`
    say(
      this.settlementAssumed,
      `Settlement time of ${n(this.settlementAssumed, 'market')} assumed: determined at the latest of expected expiration, close + 1 minute and last ${what} + 1 minute; paid after the settlement timer (1 minute where none is given)`,
    )
    if (f.unlisted.length > 0)
      out.push(
        strangers === 'unlisted'
          ? `${n(f.unlisted.length, 'market')} in no list of markets: on the tape as unlisted, not tradable`
          : `${n(f.unlisted.length, 'market')} described by the ticker alone: event and series by convention, no close time, no result`,
      )
    say(this.gridInferred, `Price grid of ${n(this.gridInferred, 'market')} inferred from the prices seen`)
    say(this.gridContradicted, `${n(this.gridContradicted, 'market')} had prices off the stated grid: a finer one was inferred`)
    say(this.openMissing, `${n(this.openMissing, 'listed market')} without an open time: known from the first ${what} on`)
    say(this.openLate, `${n(this.openLate, 'market')} with a ${what} before the stated open time: known from that ${what} on`)
    say(this.closeMissing, `${n(this.closeMissing, 'listed market')} without a close time: closed when determined`)
    say(this.closeLate, `${n(this.closeLate, 'market')} with a ${what} after the stated close: closed 1 µs after the last one`)
    say(
      this.closedBefore,
      `${n(this.closedBefore, 'market')} closed before the latest close of the event, which stands in the catalog as the scheduled one`,
    )
    say(
      this.closesEarly,
      `${n(this.closesEarly, 'market')} could close early: the list gives the close as it came, so the scheduled close in the catalog may have been later`,
    )
    say(this.open, `${n(this.open, 'market')} had not closed when the data ends`)
    say(this.timeless, `${n(this.timeless, 'listed market')} without any time: left out`)
    say(listings.elsewhere, `${n(listings.elsewhere, 'listed market')} left out: nothing of their event has a ${what}`)
    say(listings.repeated, `${n(listings.repeated, 'line')} of the market lists said the same again: counted once`)
    say(
      listings.changed,
      `${n(listings.changed, 'line')} of the market lists described a market in another state: the one with a result, else the larger volume, was taken`,
    )
    say(listings.without, `${n(listings.without, 'line')} of the market lists had no ticker`)
    for (const [word, tickers] of this.#words)
      out.push(
        `Result ${word} of ${n(tickers.length, 'market')} cannot be used (no value, or no known word): undetermined (${tickers.slice(0, 3).join(', ')}${tickers.length > 3 ? ', …' : ''})`,
      )
    for (const [from, { to, markets }] of Object.entries(f.seriesMapped))
      out.push(`Series ${from} counts as ${to} (${n(markets, 'market')})`)
    return out
  }
}
