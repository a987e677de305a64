/** The strategy of the drill: quotes both sides, moves them, takes, and changes its mind, by dice that follow the books it sees. Owns its dice; invariant: the same rows and news give the same wishes. */
import type { Strategy } from '../../../engine/strategy.ts'
import { Dice } from './swarm.ts'

export function maker(seed: number): Strategy {
  const dice = new Dice(seed, 'maker')
  return {
    name: 'drill',
    parameters: { seed },
    onBook(book, desk) {
      if (!book.twoSided) return
      const { market } = book
      const u = dice.next()
      if (u < 0.5) return
      const side = dice.hit(0.5) ? 'bid' : 'ask'
      const size = dice.between(1, 12) + (dice.hit(0.1) ? 0.25 : 0)
      if (u < 0.9) {
        const away = dice.between(0, 2)
        const price = side === 'bid' ? book.step(book.bid, -away) : book.step(book.ask, away)
        desk.quote(market, { side, price, size, why: 'quote', value: u })
      } else if (u < 0.95) desk.take(market, { side, limit: side === 'bid' ? book.ask : book.bid, size, why: 'take', value: u })
      else desk.pull(market, dice.hit(0.5) ? side : undefined)
    },
    onFill(fill, desk) {
      if (dice.hit(0.3)) desk.pull(fill.market)
    },
  }
}
