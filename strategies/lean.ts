import type { Strategy } from '../engine/index.ts'

/**
 * Two-sided quotes around the mid that lean away from inventory: the longer we are, the lower both quotes stand.
 * Hypothesis: strangers pay the spread for immediacy more often than they know better. Loses to those who know.
 *
 * `edge` is the least distance from the leaned mid in ticks of a cent, `lean` the cents it moves for each `size` contracts held. Quotes never
 * stand better than one tick inside the touch and never cross it.
 */
export function lean({ size = 10, edge = 1, lean: leaning = 0.5, positionMax = 100 } = {}): Strategy {
  if (!(size > 0) || !(edge >= 0) || !(positionMax >= 0)) throw new RangeError('lean needs size above 0, edge and positionMax of 0 or more')
  return {
    name: 'lean',
    parameters: { size, edge, lean: leaning, positionMax },
    onBook(book, desk) {
      const { market } = book
      if (!book.twoSided) return desk.pull(market)
      const position = desk.position(market)
      const fair = book.mid - (position / size) * leaning * 100
      const bid = Math.min(desk.snap(market, 'bid', fair - edge * 100), book.step(book.ask, -1))
      const ask = Math.max(desk.snap(market, 'ask', fair + edge * 100), book.step(book.bid, 1))
      desk.quote(market, { side: 'bid', price: bid, size, positionMax, why: 'lean', value: position })
      desk.quote(market, { side: 'ask', price: ask, size, positionMax, why: 'lean', value: position })
    },
  }
}
