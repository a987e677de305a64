import type { Strategy } from '../engine/index.ts'

/**
 * Buys `size` YES after a market's first trade between `from` and `to` cents and holds it to settlement: a naive baseline.
 * Hypothesis: favorites win a little more often than their price says. Loses when they do not, by a lot at once.
 *
 * Works on trades alone. While the buy finds nothing within `to` it is tried again at the next trade in the band.
 */
export function favorite({ from = 90, to = 98, size = 1 } = {}): Strategy {
  if (!(from >= 1 && to <= 99 && from <= to) || !(size > 0))
    throw new RangeError('favorite needs cents 1 <= from <= to <= 99 and size above 0')
  return {
    name: 'favorite',
    parameters: { from, to, size },
    onTrade({ market, price }, desk) {
      if (price < from * 100 || price > to * 100 || market.status !== 'active') return
      desk.take(market, {
        side: 'bid',
        limit: desk.snap(market, 'bid', to * 100),
        size,
        positionMax: size,
        why: 'favorite',
        value: price / 100,
      })
    },
  }
}
