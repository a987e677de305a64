import { rollingByMarket, type Strategy } from '../engine/index.ts'

/**
 * Fades moves of more than `threshold` standard deviations from the rolling mean of the mid.
 * Hypothesis: a short-lived imbalance, not news, moved the price. Loses when news did.
 *
 * The deviation is that of the population, the current mid included; a mid counts once, when it changes. The limit is one tick
 * through the touch, so that a touch that moves a tick on the way is still taken.
 */
export function meanReversion({ window = 100, minimum = 30, threshold = 2, size = 10, positionMax = 100 } = {}): Strategy {
  if (!Number.isInteger(window) || window < 2 || minimum > window || !(threshold > 0) || !(size > 0))
    throw new RangeError('mean-reversion needs a whole window of 2 or more, minimum within it, threshold and size above 0')
  const mids = rollingByMarket(window) // exact integer sums: a constant window has zero deviation
  return {
    name: 'mean-reversion',
    parameters: { window, minimum, threshold, size, positionMax },
    onBook(book, desk) {
      if (!book.twoSided || !mids.pushChange(book.market, book.mid)) return
      const { mean, deviation, count } = mids.at(book.market)
      if (count < minimum || deviation === 0) return
      const z = (book.mid - mean) / deviation
      if (z < -threshold)
        desk.take(book.market, { side: 'bid', limit: book.step(book.ask, 1), size, positionMax, why: 'z below', value: z })
      if (z > threshold)
        desk.take(book.market, { side: 'ask', limit: book.step(book.bid, -1), size, positionMax, why: 'z above', value: z })
    },
  }
}
