/**
 * What a subaccount holds, and the markets in which it could be sold: positions, books, fees, closes. Owns the reads; hides the wire. Invariant: a list is whole or null; what could not be read of a market is a
 * reason not to trade there.
 */
import { bandsOf, isGrid, levelsOf, type BookLevel } from '../../../data/import/translate.ts'
import { parseTime } from '../../../data/import/frames.ts'
import type { FeeDetail, GridBand } from '../../../engine/message.ts'
import { feeDetail } from '../catalog.ts'
import { KalshiError } from '../errors.ts'
import type { Rest } from '../rest.ts'
import type { WireFill, WirePosition } from '../wire/answers.ts'
import type { FillFact } from './evidence.ts'
import { fillOfAnswer, parseMoney, positionOfAnswer, readAll } from './facts.ts'
import { READ } from './sweep.ts'

export type Holding = {
  readonly ticker: string
  readonly shard: number
  /** Quantity units, signed: + YES. */
  readonly position: number
  /** What it has cost, Money; null: not told. */
  readonly cost: number | null
}
export type MarketPlace = {
  readonly ticker: string
  readonly shard: number | null
  readonly open: boolean
  readonly status: string
  /** µs. */
  readonly closes: number
  readonly grid: readonly GridBand[]
  /** Null: not known. */
  readonly fee: FeeDetail | null
  readonly levels: readonly BookLevel[]
}

/** Positions that are not zero. Throws what could not be read. */
export async function readHoldings(rest: Rest, subaccount: number): Promise<readonly Holding[]> {
  const { items, complete, why } = await rest.list<WirePosition>('positions', { subaccount, count_filter: 'position', limit: 1000 }, READ)
  if (!complete) throw new KalshiError('UNREADABLE', `the list of positions has no end (${why}): nothing is concluded from it`)
  const read = readAll(items, positionOfAnswer)
  if (read.why !== null) throw new KalshiError('UNREADABLE', `${read.why}: nothing is concluded from the list`)
  const costs = new Map(items.map((p) => [p.ticker, parseMoney(p.market_exposure_dollars)]))
  return read.facts
    .filter((p) => p.position !== 0)
    .map(({ ticker, shard, position }) => {
      const cost = costs.get(ticker) ?? Number.NaN
      return { ticker, shard, position, cost: Number.isSafeInteger(cost) ? cost : null }
    })
}

/** A market as it stands now, or why it cannot be told. */
export async function readMarketPlace(rest: Rest, ticker: string): Promise<MarketPlace | string> {
  try {
    const { market } = await rest.get('market', { ticker }, READ)
    const { orderbook_fp: book } = await rest.get('orderbook', { ticker, depth: 0 }, READ)
    const grid = bandsOf(market.price_ranges)
    const closes = parseTime(market.close_time)
    const levels = levelsOf(book.yes_dollars, book.no_dollars, false)
    if (grid === null || !isGrid(grid)) return 'its price grid is not known'
    if (!Number.isFinite(closes)) return 'its close is not known'
    if (typeof levels === 'string') return levels
    const { status } = market
    return {
      ticker,
      shard: market.exchange_index ?? null,
      open: status === 'active',
      status,
      closes,
      grid,
      fee: await feeOf(rest, market.event_ticker),
      levels,
    }
  } catch (error) {
    if (error instanceof KalshiError && error.code !== 'AUTH' && error.code !== 'STOPPED') return error.message
    throw error
  }
}
async function feeOf(rest: Rest, eventTicker: string): Promise<FeeDetail | null> {
  try {
    const { event } = await rest.get('event', { event_ticker: eventTicker }, READ)
    const { series } = await rest.get('series', { series_ticker: event.series_ticker }, READ)
    const own = event.fee_type_override == null && event.fee_multiplier_override == null
    return own
      ? feeDetail(series.fee_type, series.fee_multiplier)
      : feeDetail(event.fee_type_override ?? series.fee_type, event.fee_multiplier_override ?? series.fee_multiplier)
  } catch {
    return null
  }
}

/** Fills of these orders since then (µs of the exchange), as far as they are shown. */
export async function readFillsOf(rest: Rest, subaccount: number, ids: ReadonlySet<string>, since: number): Promise<readonly FillFact[]> {
  const { items } = await rest.list<WireFill>('fills', { subaccount, min_ts: Math.max(0, Math.floor(since / 1e6) - 5), limit: 1000 }, READ)
  const seen = new Map<string, FillFact>()
  for (const fact of readAll(items, fillOfAnswer).facts) if (ids.has(fact.id)) seen.set(fact.trade, fact)
  return [...seen.values()]
}
