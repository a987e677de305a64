/**
 * Strangers of one market: few and cheap. Owns a small two-sided book around a value that wanders, and takers who meet what is best. Invariant: the same dice and answers of the exchange give the same orders.
 */
import { floorOf, type Exchange } from '../../../adapters/exchange/index.ts'
import { VenueOrder, type MatchSink } from '../../../engine/matching.ts'
import { ASK, BID, type Price, type Quantity, type SideCode } from '../../../engine/units.ts'
import type { Dice } from './swarm.ts'

const ORDERS_MAX = 16
const TAKER = 50

export class Strangers implements MatchSink {
  readonly ticker: string
  readonly #dice: Dice
  readonly #floor: ReturnType<typeof floorOf>
  readonly #resting: VenueOrder[] = []
  #value: number
  #ids = 0

  constructor(exchange: Exchange, ticker: string, dice: Dice) {
    this.ticker = ticker
    this.#dice = dice
    this.#value = dice.between(2_500, 7_500)
    this.#floor = floorOf(exchange, ticker, this)
    for (let k = 0; k < 5; k++) for (const side of [BID, ASK] as const) this.#rest(side, k + 1)
  }

  act(): void {
    const dice = this.#dice
    this.#value = Math.min(9_300, Math.max(700, this.#value + dice.between(-60, 60)))
    const u = dice.next()
    if (u < 0.45) this.#rest(dice.hit(0.5) ? BID : ASK, dice.between(1, 5))
    else if (u < 0.72 && this.#resting.length > 4) this.#floor.cancel(dice.pick(this.#resting), 'user')
    else {
      // Through the touch, in whole contracts mostly.
      const side = dice.hit(0.5) ? BID : ASK
      const price = Math.round((this.#value + (side === BID ? 300 : -300)) / 100) * 100
      const quantity = dice.between(1, 25) * 100 + (dice.hit(0.2) ? dice.between(1, 99) : 0)
      this.#floor.place(new VenueOrder(this.#ids++, TAKER, side, price as Price, quantity as Quantity), 'ioc')
    }
  }
  #rest(side: SideCode, away: number): void {
    if (this.#resting.length >= ORDERS_MAX) return void this.#floor.cancel(this.#dice.pick(this.#resting), 'user')
    const price = Math.round((this.#value + (side === BID ? -1 : 1) * (away * 100)) / 100) * 100
    if (price < 100 || price > 9_900) return
    const quantity = this.#dice.between(1, 20) * 100 + (this.#dice.hit(0.2) ? this.#dice.between(1, 99) : 0)
    const order = new VenueOrder(this.#ids++, this.#dice.between(1, 3), side, price as Price, quantity as Quantity)
    if (this.#floor.place(order, 'gtc') === null && order.remaining > 0 && order.resting) this.#resting.push(order)
  }

  fill(maker: VenueOrder | null): void {
    if (maker !== null && maker.remaining === 0) this.#forget(maker)
  }
  canceled(order: VenueOrder): void {
    this.#forget(order)
  }
  level(): void {}
  #forget(order: VenueOrder): void {
    const at = this.#resting.indexOf(order)
    if (at >= 0) this.#resting.splice(at, 1)
  }
}
