/**
 * Trades and candles of the past over REST: the live side and the archive behind its cutoff, as one list (api.md §6.2). Owns where the two meet; hides pages and both shapes of candles.
 * Invariants: a trade is there once, oldest first; a candle in which nothing traded has no price, and nobody invents one.
 */
import type { CandleDetail, CandlePrices } from '../../engine/message.ts'
import { parsePrice, parseQuantity } from '../../engine/units.ts'
import { parseTime } from '../../data/import/frames.ts'
import { digits } from '../../data/import/translate.ts'
import { KalshiError } from './errors.ts'
import { Priority } from './rate-limit.ts'
import type { Listing, Rest } from './rest.ts'
import type { Answer, WireTrade } from './wire/answers.ts'

const OPTIONS = { priority: Priority.HISTORY }

/** Trades of a market between two times (µs), oldest first. */
export async function readTrades(rest: Rest, ticker: string, from: number, to: number): Promise<Listing<WireTrade>> {
  const cutoff = parseTime((await rest.get('historicalCutoff', {}, OPTIONS)).trades_created_ts)
  const parameters = { ticker, min_ts: Math.floor(from / 1e6), max_ts: Math.ceil(to / 1e6), limit: 1000 }
  const sides: Listing<WireTrade>[] = []
  // A cutoff that cannot be read hides nothing: both sides are asked.
  if (!(from >= cutoff)) sides.push(await rest.list<WireTrade>('historicalTrades', parameters, OPTIONS))
  sides.push(await rest.list<WireTrade>('trades', parameters, OPTIONS))
  const seen = new Set<string>()
  const items: WireTrade[] = []
  for (const side of sides)
    for (const trade of [...side.items].reverse()) {
      if (seen.has(trade.trade_id)) continue
      seen.add(trade.trade_id)
      items.push(trade)
    }
  const cut = sides.find((s) => !s.complete)
  return { items, complete: cut === undefined, why: cut?.why ?? 'end reached', pages: sides.reduce((n, s) => n + s.pages, 0) }
}

export type Candle = Omit<CandleDetail, 'period'>

/** Candles of a market between two times (µs), every `minutes`; from the archive when the market has gone there. */
export async function readCandles(
  rest: Rest,
  series: string,
  ticker: string,
  from: number,
  to: number,
  minutes: 1 | 60 | 1440,
): Promise<readonly Candle[]> {
  const parameters = { ticker, start_ts: Math.floor(from / 1e6), end_ts: Math.ceil(to / 1e6), period_interval: minutes }
  try {
    const { candlesticks } = await rest.get('candles', { series_ticker: series, ...parameters }, OPTIONS)
    return candlesticks.map(liveCandle)
  } catch (error) {
    if (!(error instanceof KalshiError) || error.code !== 'NOT_FOUND') throw error
  }
  return (await rest.get('historicalCandles', parameters, OPTIONS)).candlesticks.map(archivedCandle)
}

export function liveCandle(c: Answer<'candles'>['candlesticks'][number]): Candle {
  const prices = (p: (typeof c)['yes_bid']): CandlePrices | null => pricesOf(p.open_dollars, p.low_dollars, p.high_dollars, p.close_dollars)
  return {
    end: c.end_period_ts * 1_000_000,
    bid: prices(c.yes_bid),
    ask: prices(c.yes_ask),
    price: prices(c.price),
    volume: parseQuantity(digits(c.volume_fp)),
    openInterest: parseQuantity(digits(c.open_interest_fp)),
  }
}
export function archivedCandle(c: Answer<'historicalCandles'>['candlesticks'][number]): Candle {
  const prices = (p: (typeof c)['yes_bid']): CandlePrices | null => pricesOf(p.open, p.low, p.high, p.close)
  return {
    end: c.end_period_ts * 1_000_000,
    bid: prices(c.yes_bid),
    ask: prices(c.yes_ask),
    price: prices(c.price),
    volume: parseQuantity(digits(c.volume)),
    openInterest: parseQuantity(digits(c.open_interest)),
  }
}
function pricesOf(open: unknown, low: unknown, high: unknown, close: unknown): CandlePrices | null {
  const prices = {
    open: parsePrice(digits(open)),
    low: parsePrice(digits(low)),
    high: parsePrice(digits(high)),
    close: parsePrice(digits(close)),
  }
  return Object.values(prices).every((p) => Number.isFinite(p)) ? prices : null
}
