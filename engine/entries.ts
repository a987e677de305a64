/**
 * Entries: the rows of the journal about wishes, orders and baskets. Owns which column holds what for each of them (the table stands in journal.ts); hides the words' numbers.
 * Invariant: one call, one row.
 */
import type { BasketRun } from './basket.ts'
import { JournalKind, type Journal } from './journal.ts'
import type { Answer, Command, Order } from './order.ts'
import type { RiskState } from './risk.ts'
import type { Wish } from './wish.ts'
import type { Words } from './words.ts'

export class Entries {
  readonly #journal: Journal
  readonly #words: Words
  readonly #state: RiskState

  constructor(journal: Journal, words: Words, state: RiskState) {
    this.#journal = journal
    this.#words = words
    this.#state = state
  }

  /** What a strategy wants now; `basket`: as a leg of it. */
  signal(wish: Wish, basket: BasketRun | null): void {
    const words = this.#words
    this.#ofWish(
      JournalKind.SIGNAL,
      wish,
      wish.quantity,
      basket !== null ? words.basket : wish.take ? words.take : words.quote,
      wish.why,
      wish.value,
      basket === null ? 0 : basket.id,
    )
  }
  pull(wish: Wish): void {
    this.#ofWish(JournalKind.SIGNAL, wish, 0, this.#words.pull, -1, 0, 0)
  }
  /** `times`: how often the same was refused since it was last written down. */
  refusal(wish: Wish, reason: string, times: number): void {
    this.#ofWish(JournalKind.REFUSAL, wish, wish.quantity, this.#words.of(reason), wish.why, wish.value, times)
  }
  /** `arrival` at the venue in µs, 0 when nobody knows. */
  command(what: number, { order, price, quantity }: Command, arrival: number): void {
    this.#ofOrder(JournalKind.COMMAND, order, price, quantity, what, order.why, order.value, arrival, 0)
  }
  answer(order: Order, what: number, remaining: number, timeVenue: number): void {
    this.#ofOrder(JournalKind.ANSWER, order, order.price, remaining, what, -1, 0, timeVenue, 0)
  }
  fill(order: Order, { price, quantity, maker, fee, timeVenue }: Extract<Answer, { type: 'fill' }>): void {
    const what = maker ? this.#words.maker : this.#words.taker
    this.#ofOrder(JournalKind.FILL, order, price, quantity, what, order.why, order.value, fee, timeVenue)
  }
  /** A basket enters a stage, or is over with an outcome. */
  basket(run: BasketRun): void {
    const words = this.#words
    this.#journal.push(
      this.#state.now,
      JournalKind.STATE,
      -1,
      words.owner(run.owner),
      -1,
      0,
      -1,
      run.least,
      words.of(`basket:${run.stage === 'over' ? run.outcome : run.stage}`),
      words.of(run.why),
      run.value,
      run.id,
      0,
    )
  }

  #ofWish(kind: JournalKind, wish: Wish, quantity: number, what: number, why: number, value: number, a: number): void {
    const words = this.#words
    this.#journal.push(
      this.#state.now,
      kind,
      words.market(wish.market),
      words.owner(wish.owner),
      -1,
      wish.side,
      wish.price,
      quantity,
      what,
      why,
      value,
      a,
      0,
    )
  }
  #ofOrder(
    kind: JournalKind,
    order: Order,
    price: number,
    quantity: number,
    what: number,
    why: number,
    value: number,
    a: number,
    b: number,
  ): void {
    const words = this.#words
    this.#journal.push(
      this.#state.now,
      kind,
      words.market(order.market),
      words.owner(order.owner),
      order.id,
      order.side,
      price,
      quantity,
      what,
      why,
      value,
      a,
      b,
    )
  }
}
