/** The strategy of the drill: quotes both sides, moves them, takes, trades two markets at once, and changes its mind, by dice that follow the books it sees. Owns its dice; invariant: the same rows and news give the same wishes. */
import type { Strategy } from '../../../engine/strategy.ts'
import { Dice } from './swarm.ts'

export function maker(seed: number, name: string): Strategy {
  const dice = new Dice(seed, name)
  return {
    name,
    parameters: { seed },
    onBook(book, desk) {
      if (!book.twoSided) return
      const { market } = book
      const u = dice.next()
      if (u < 0.5) return
      const side = dice.hit(0.5) ? 'bid' : 'ask'
      const size = dice.between(1, 12) + (dice.hit(0.1) ? 0.25 : 0)
      if (u < 0.89) {
        const away = dice.between(0, 2)
        const price = side === 'bid' ? book.step(book.bid, -away) : book.step(book.ask, away)
        desk.quote(market, { side, price, size, why: 'quote', value: u })
      } else if (u < 0.94) desk.take(market, { side, limit: side === 'bid' ? book.ask : book.bid, size, why: 'take', value: u })
      else if (u < 0.96) {
        const other = desk.siblings(market)[0]
        const there = other === undefined ? null : desk.book(other)
        if (other === undefined || there === null || !there.twoSided) return
        desk.basket({
          legs: [
            { market, side: 'bid', limit: book.ask },
            { market: other, side: 'ask', limit: there.bid },
          ],
          size: dice.between(1, 4),
          missing: dice.pick(['hold', 'unwind', 'complete'] as const),
          costMax: 0.05,
          why: 'pair',
          value: u,
        })
      } else desk.pull(market, dice.hit(0.5) ? side : undefined)
    },
    onFill(fill, desk) {
      if (dice.hit(0.3)) desk.pull(fill.market)
    },
  }
}
