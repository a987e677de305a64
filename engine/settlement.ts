/** Settlement: what a market came to in the end. Owns the end mark of one market; hides nothing. Invariant: a market's profit is exact. */
import type { Market } from './market.ts'
import type { Portfolio } from './portfolio.ts'
import type { MarketEnd } from './session.ts'
import { assert } from './assert.ts'
import { PRICE_ONE } from './units.ts'

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
    fees: h.fees,
    pnl: portfolio.profit(market),
  }
}
