/**
 * Settlement: what a market came to in the end. Owns the end marks of markets and strategies; hides nothing. Invariant: a market's profit is exact, and what strategies share adds up to
 * the whole.
 */
import { JournalKind, type Journal } from './journal.ts'
import type { Market } from './market.ts'
import type { Tally } from './order-manager.ts'
import type { Portfolio } from './portfolio.ts'
import type { MarketEnd, OwnerEnd } from './session.ts'
import { assert } from './assert.ts'
import { PRICE_ONE } from './units.ts'
import type { Words } from './words.ts'

type Books = { readonly now: number; readonly journal: Journal; readonly words: Words; readonly portfolio: Portfolio }
/** A market is determined, or pays: the row of the journal. `position` contracts; `paid` Money. */
export function settlementRow(
  { now, journal, words, portfolio }: Books,
  market: Market,
  position: number,
  what: string,
  paid: number,
): void {
  const [name, value] = [words.market(market), market.settlementValue]
  journal.push(now, JournalKind.SETTLEMENT, name, -1, -1, 0, value, position, words.of(what), -1, 0, paid, portfolio.profit(market))
}

/** The end mark of a market with orders. */
export function marketEnd(market: Market, portfolio: Portfolio): MarketEnd {
  const h = market.holding
  assert(h !== null, 'a market with an end mark had orders')
  const locked = h.position < 0 ? -h.position * PRICE_ONE : 0
  return {
    ticker: market.ticker,
    event: market.event.ticker,
    series: market.series,
    title: market.title,
    strike: market.strike,
    closeTime: market.closeTime,
    result: market.result,
    settlementValue: market.settlementValue < 0 ? null : market.settlementValue,
    paid: market.paid,
    orders: h.orders,
    fills: h.fills,
    filled: h.traded,
    position: h.position,
    liquidationValue: h.liquidation - locked,
    midValue: h.middle - locked,
    markBasis: h.markBasis,
    markPrice: market.settlementValue >= 0 ? market.settlementValue : market.reference < 0 ? null : market.reference,
    fees: h.fees,
    pnl: portfolio.profit(market),
  }
}

/**
 * The value of a market's open position by the strategies that hold it, in Money: by contracts where the sum is not flat; at the mark where it is. Whole numbers that add up to `value`: the
 * last holder takes what rounding leaves.
 */
export function sharesOf(value: number, markPrice: number | null, positions: readonly number[]): number[] {
  const total = positions.reduce((a, p) => a + p, 0)
  const last = positions.findLastIndex((p) => p !== 0)
  let given = 0
  return positions.map((position, k) => {
    if (position === 0) return 0
    const share = k === last ? value - given : Math.trunc(total === 0 ? (markPrice ?? 0) * position : (value / total) * position)
    given += share
    return share
  })
}

/** The end marks of all strategies. `open`: markets that still hold a position. */
export function ownerEnds(names: readonly string[], portfolio: Portfolio, tallies: readonly Tally[], open: readonly Market[]): OwnerEnd[] {
  const values = names.map(() => 0)
  for (const market of open) {
    const h = market.holding
    if (h === null) continue
    const end = marketEnd(market, portfolio)
    const positions = names.map((_, owner) => h.positions[owner] ?? 0)
    sharesOf(end.liquidationValue, end.markPrice, positions).forEach((share, owner) => {
      values[owner] = (values[owner] as number) + share
    })
  }
  return names.map((name, owner) => {
    const ledger = portfolio.ledgers[owner]
    const tally = tallies[owner]
    assert(ledger !== undefined && tally !== undefined, 'every strategy has its ledger')
    const openValue = values[owner] as number
    return {
      name,
      signals: tally.signals,
      orders: tally.orders,
      refusals: summed([tally.refusals]),
      rejections: summed([tally.rejections]),
      fills: ledger.fills,
      filled: ledger.traded,
      fees: ledger.fees,
      openValue,
      pnl: ledger.cashFlow - ledger.fees + openValue,
    }
  })
}

/** Counts by reason added up, in the order of the reasons. */
export function summed(counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const out: Record<string, number> = {}
  for (const key of [...new Set(counts.flatMap((c) => Object.keys(c)))].sort()) out[key] = counts.reduce((a, c) => a + (c[key] ?? 0), 0)
  return out
}
