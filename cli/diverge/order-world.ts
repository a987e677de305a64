/**
 * The simulated venue on a session's own tape, without strategies: commands are put in as they were really sent. Owns one model's world; hides the engine that keeps the books. Invariant: a command acts at
 * the venue time at which it really arrived, on the book as the tape had it then.
 */
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { Engine } from '../../engine/engine.ts'
import type { Batch } from '../../engine/message.ts'
import { Order, type Answer } from '../../engine/order.ts'
import type { FillModelName, SessionHeader } from '../../engine/session.ts'
import { ASK, BID, type Price, type Quantity, type Timestamp } from '../../engine/units.ts'
import { Wish } from '../../engine/wish.ts'
import type { Act, Predicted } from '../../reports/diverge/model.ts'

const SINK = { journal() {}, touches() {}, equity() {}, markouts() {} }

export class OrderWorld {
  readonly model: FillModelName
  readonly predicted = new Map<number, Predicted>()
  readonly #venue: SimulatedVenue
  readonly #engine: Engine
  readonly #orders = new Map<number, Order>()

  constructor(model: FillModelName, header: SessionHeader) {
    this.model = model
    const venue = new SimulatedVenue(model, header.delays, header.tape.lagMax)
    this.#venue = venue
    this.#engine = new Engine({
      header: { ...header, mode: 'backtest', fills: model, strategies: [] },
      strategies: [],
      venue: {
        onTape: venue,
        // Answers are what is asked for: no order manager waits for them.
        connect: (inbox) =>
          venue.connect({
            get now() {
              return inbox.now
            },
            answer: (_time, answer) => this.#answered(answer),
            wake: (time, market, token) => inbox.wake(time, market, token),
          }),
        send: () => 0,
      },
      sink: SINK,
    })
  }

  run(batch: Batch): void {
    this.#engine.run(batch)
  }
  finish(): void {
    this.#engine.finish('end of tape', true)
  }

  put(act: Act): void {
    const market = this.#engine.markets.get(act.ticker)
    let order = this.#orders.get(act.order)
    if (order === undefined) {
      const wholeBook = market !== undefined && market.synced && !market.inSnapshot && !market.book.crossed
      this.predicted.set(act.order, {
        accepted: null,
        rejected: null,
        fills: [],
        ended: null,
        late: 0,
        aheadFirst: null,
        aheadAtFill: null,
        queue: [],
        wholeBook,
        known: market !== undefined,
      })
      if (market === undefined) return
      const side = act.side === 'bid' ? BID : ASK
      const wish = new Wish(market, 0, side, act.tif !== 'gtc')
      const [price, quantity] = [act.price as Price, act.quantity as Quantity]
      order = new Order(act.order, market, 0, side, price, quantity, act.tif, act.tif === 'gtc', act.expires as Timestamp | null, wish)
      this.#orders.set(act.order, order)
    }
    if (this.#engine.markets.get(act.ticker) !== order.market) return
    this.#venue.arriveAt({ type: act.type, order, price: act.price as Price, quantity: act.quantity as Quantity }, act.arrival)
  }

  /** The venue told its queue position of an order. */
  asked(order: number, time: number, venue: number): void {
    this.predicted.get(order)?.queue.push({ time, ahead: this.#ahead(order), venue })
  }
  /** The venue filled it first. */
  filledFirst(order: number): void {
    const p = this.predicted.get(order)
    if (p !== undefined) p.aheadAtFill = this.#ahead(order)
  }
  #ahead(order: number): number | null {
    const known = this.#orders.get(order)
    return known === undefined ? null : this.#venue.queuePosition(known)
  }

  #answered(answer: Answer): void {
    const p = this.predicted.get(answer.order.id)
    if (p === undefined) return
    switch (answer.type) {
      case 'accepted':
        p.accepted = answer.timeVenue
        p.aheadFirst = this.#ahead(answer.order.id)
        break
      case 'rejected':
        p.rejected = answer.reason
        break
      case 'canceled':
        p.ended = { time: answer.timeVenue, reason: answer.reason }
        break
      case 'fill': {
        const { timeVenue, price, quantity, fee, maker } = answer
        p.fills.push({ timeVenue, price, quantity, fee, maker })
        break
      }
      case 'amend-rejected':
        p.late++
        break
      case 'amended':
      case 'decreased':
      case 'cancel-rejected':
      case 'no-answer':
      case 'absent':
        break
    }
  }
}
