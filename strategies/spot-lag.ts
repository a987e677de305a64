import { rollingByMarket, type BookView, type Desk, type MarketView, type Strategy } from '../engine/index.ts'

/**
 * Trades the gap between an outside spot price and a market on it. Both are measured in deviations from their own rolling mean, at each new spot value; the gap is how much
 * further the spot has moved. `follow`: the market will catch up, so a spot that ran ahead is bought. `fade`: the spot's move will come back, so it is sold.
 * Hypothesis (follow): makers of short crypto markets reprice later than the spot. Loses when the market knew first, or when the move was noise.
 *
 * `series` names the outside series, `markets` the series of the markets it is the spot of. Needs `window` spot values before it acts.
 */
export function spotLag({
  series = 'spot',
  markets = '',
  mode = 'follow',
  window = 60,
  threshold = 2,
  size = 10,
  positionMax = 50,
} = {}): Strategy {
  if (mode !== 'follow' && mode !== 'fade') throw new RangeError(`spot-lag needs mode follow or fade, not ${mode}`)
  if (!Number.isInteger(window) || window < 2 || !(threshold > 0) || !(size > 0) || !(positionMax >= 0))
    throw new RangeError('spot-lag needs a whole window of 2 or more, threshold and size above 0, positionMax of 0 or more')
  const mids = rollingByMarket(window)
  const spots = rollingByMarket(window)
  /** The markets at hand, each with the spot at which it was first seen. */
  const seen = new Map<MarketView, number>()

  /** Deviations of the last value from the rolling mean, or NaN before the window is full. */
  const score = (rolling: { mean: number; deviation: number; count: number }, value: number): number =>
    rolling.count < window || rolling.deviation === 0 ? Number.NaN : (value - rolling.mean) / rolling.deviation
  const act = (market: MarketView, book: BookView, spot: number, desk: Desk): void => {
    mids.push(market, book.mid)
    spots.push(market, spot)
    const gap = score(spots.at(market), spot) - score(mids.at(market), book.mid)
    if (!(Math.abs(gap) > threshold)) return
    const buys = gap > 0 === (mode === 'follow')
    const limit = buys ? book.ask : book.bid
    desk.take(market, { side: buys ? 'bid' : 'ask', limit, size, positionMax, why: gap > 0 ? 'spot ahead' : 'spot behind', value: gap })
  }
  return {
    name: 'spot-lag',
    parameters: { series, markets, mode, window, threshold, size, positionMax },
    // Asked for once, so that a report can say when the tape has no such series.
    onStart: (desk) => void desk.external(series),
    onBook({ market }) {
      if ((markets === '' || market.series === markets) && !seen.has(market)) seen.set(market, Number.NaN)
    },
    onSettlement({ market }) {
      seen.delete(market)
    },
    onExternal(external, desk) {
      if (external.series !== series) return
      for (const [market, first] of seen) {
        const anchor = Number.isNaN(first) ? external.value : first
        if (Number.isNaN(first)) seen.set(market, anchor)
        const book = market.status === 'active' ? desk.book(market) : null
        // Whole thousandths from the first value: exact sums, so that a spot that stands still has no deviation.
        if (book?.twoSided === true) act(market, book, Math.round((external.value - anchor) * 1000), desk)
      }
    },
  }
}
