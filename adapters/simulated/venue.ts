/**
 * The simulated venue: engine/matching on the tape's own book, behind delays. Owns when a command arrives and what the venue
 * decides about it; hides the venue's side of orders. Invariants: a command that arrives at venue time a acts before the first row of its
 * own market later than a (or when the clock reaches a + lagMax), on the book as it then stands; its answer is never known before that
 * moment, nor before a + the answer delay; delays live here and in the engine's queue, never in the matching.
 */
import { assert, unreachable } from '../../engine/assert.ts'
import { fillFee, type FeeAccount } from '../../engine/fees.ts'
import type { Market } from '../../engine/market.ts'
import { Matching, PRINTS_WAIT, VenueOrder, type CancelReason, type MatchSink } from '../../engine/matching.ts'
import type { Command, Order } from '../../engine/order.ts'
import type { Delays, FillModelName } from '../../engine/session.ts'
import { BID, type Price, type Quantity, type SideCode } from '../../engine/units.ts'
import type { Inbox, OnTape, Venue } from '../../engine/venue.ts'

/** A command on its way, or an expiry. `order` is null for an expiry of `target`. */
type Arrival = { readonly time: number; readonly market: Market; readonly command: Command | null; readonly target: number; done: boolean }

/** The venue's side of one market. */
class VenueMarket implements MatchSink {
  readonly market: Market
  readonly matching: Matching
  readonly arrivals: Arrival[] = []
  readonly orders = new Map<number, Resting>()
  readonly #venue: SimulatedVenue
  /** Our position as the venue knows it: ahead of what we have heard. */
  position = 0

  constructor(market: Market, model: FillModelName, venue: SimulatedVenue) {
    this.market = market
    this.matching = new Matching(market.grid, market.book, model, this)
    this.#venue = venue
  }
  fill(maker: VenueOrder | null, taker: VenueOrder | null, price: Price, quantity: Quantity): void {
    const own = maker ?? taker
    assert(own !== null && (maker === null || taker === null), 'in a backtest a fill has one order of ours')
    this.#venue.filled(this, own, price, quantity, maker !== null)
  }
  canceled(order: VenueOrder, reason: CancelReason): void {
    this.#venue.ended(this, order, reason)
  }
  level(): void {}
}

/** What the venue knows of one of our orders. */
type Resting = { readonly order: Order; readonly venue: VenueOrder; readonly fees: FeeAccount; expiry: Arrival | null }

export class SimulatedVenue implements Venue, OnTape {
  readonly #model: FillModelName
  readonly #delays: Delays
  readonly #lagMax: number
  readonly #markets = new Map<Market, VenueMarket>()
  #inbox: Inbox | null = null
  /** Venue time of what is happening: an arrival, or the row being applied. */
  #time = 0

  constructor(model: FillModelName, delays: Delays, lagMax: number) {
    for (const delay of [delays.place, delays.cancel, delays.amend, delays.answer]) {
      assert(Number.isSafeInteger(delay) && delay > 0, 'every delay of a simulated venue is a whole number of µs above zero')
    }
    this.#model = model
    this.#delays = delays
    this.#lagMax = lagMax
  }

  get onTape(): OnTape {
    return this
  }
  connect(inbox: Inbox): void {
    this.#inbox = inbox
  }

  send(command: Command): number {
    const { market } = command.order
    const m = this.#of(market)
    const delay = command.type === 'submit' ? this.#delays.place : command.type === 'cancel' ? this.#delays.cancel : this.#delays.amend
    return this.#enqueue(m, this.#now + delay, command, command.order.id).time
  }

  /** The same, where it is known when the command arrived: venue time, µs. */
  arriveAt(command: Command, time: number): void {
    this.#enqueue(this.#of(command.order.market), time, command, command.order.id)
  }

  /** Contracts of ours before the order and in it, for tests and displays; null when it does not rest. */
  queuePosition(order: Order): number | null {
    const m = this.#markets.get(order.market)
    const resting = m?.orders.get(order.id)
    return m === undefined || resting === undefined || !resting.venue.resting ? null : m.matching.queuePosition(resting.venue)
  }

  // ---------------------------------------------------------------------------------------------- the tape

  instant(market: Market, timeVenue: number): void {
    const m = this.#markets.get(market)
    if (m === undefined) return
    this.#close(m)
    while (m.arrivals.length > 0 && (m.arrivals[0] as Arrival).time < timeVenue) this.#arrive(m, m.arrivals[0] as Arrival)
  }

  execution(market: Market, side: SideCode, price: number, quantity: number, timeVenue: number): void {
    const m = this.#markets.get(market)
    if (m === undefined) return
    this.#time = timeVenue
    m.matching.execution(side, price, quantity, timeVenue)
  }
  displayed(market: Market, side: SideCode, price: number, quantity: number): void {
    this.#markets.get(market)?.matching.displayed(side, price, quantity)
  }
  snapshot(market: Market): void {
    this.#markets.get(market)?.matching.resnapped()
  }
  lifecycle(market: Market, statusBefore: string, timeVenue: number): void {
    const m = this.#markets.get(market)
    if (m === undefined) return
    this.#time = timeVenue
    if (market.grid !== m.matching.grid) {
      m.matching.regrid(market.grid)
      market.resting = m.matching.count
    }
    if (market.status === statusBefore) return
    // api.md §3.4: resting orders end at the close, and when a halted market is activated again.
    if (market.status === 'active' && statusBefore === 'inactive') m.matching.cancelAll('reactivated')
    else if (market.status !== 'active' && market.status !== 'inactive') {
      m.matching.cancelAll('closed')
      // A market that is over leaves no trace here: ten thousand of them must not fill the memory.
      if (m.arrivals.length === 0) this.#markets.delete(market)
    }
  }
  due(token: unknown): void {
    const arrival = token as Arrival
    if (arrival.done) return
    const m = this.#of(arrival.market)
    if (arrival.time > arrival.market.venueTime) this.#close(m)
    while (!arrival.done) this.#arrive(m, m.arrivals[0] as Arrival)
    if (m.arrivals.length === 0 && m.matching.count === 0 && arrival.market.settlementValue >= 0) this.#markets.delete(arrival.market)
  }

  // ---------------------------------------------------------------------------------------------- arrivals

  get #now(): number {
    assert(this.#inbox !== null, 'a venue is connected before it is used')
    return this.#inbox.now
  }

  #of(market: Market): VenueMarket {
    let m = this.#markets.get(market)
    if (m === undefined) {
      m = new VenueMarket(market, this.#model, this)
      this.#markets.set(market, m)
    }
    return m
  }

  /** Arrivals of one market never tie: each is at least a µs after the one before it that arrives no later. */
  #enqueue(m: VenueMarket, time: number, command: Command | null, target: number): Arrival {
    const { arrivals } = m
    let at = arrivals.length
    while (at > 0 && (arrivals[at - 1] as Arrival).time > time) at--
    let due = time
    // Step over a run of equal times.
    if (at > 0 && (arrivals[at - 1] as Arrival).time === due) due++
    while (at < arrivals.length && (arrivals[at] as Arrival).time === due) {
      due++
      at++
    }
    const arrival: Arrival = { time: due, market: m.market, command, target, done: false }
    arrivals.splice(at, 0, arrival)
    m.market.arrival = (arrivals[0] as Arrival).time
    this.#inbox?.wake(due + this.#lagMax, m.market, arrival)
    return arrival
  }

  /** An order is over: its expiry need not arrive. */
  #forget(m: VenueMarket, resting: Resting): void {
    m.orders.delete(resting.order.id)
    const { expiry } = resting
    if (expiry === null || expiry.done) return
    expiry.done = true
    m.arrivals.splice(m.arrivals.indexOf(expiry), 1)
    m.market.arrival = m.arrivals[0]?.time ?? Infinity
  }

  /** The venue instant is whole: depth that came through our prices met us. */
  #close(m: VenueMarket): void {
    const { market } = m
    if (m.matching.count === 0 || !market.synced || market.book.crossed || market.status !== 'active') return
    this.#time = market.venueTime
    m.matching.crossed()
  }

  #arrive(m: VenueMarket, arrival: Arrival): void {
    assert(m.arrivals[0] === arrival, 'arrivals are taken in order')
    m.arrivals.shift()
    arrival.done = true
    m.market.arrival = m.arrivals.length > 0 ? (m.arrivals[0] as Arrival).time : Infinity
    this.#time = arrival.time
    const { command } = arrival
    if (command === null) {
      const expired = m.orders.get(arrival.target)
      if (expired !== undefined) m.matching.cancel(expired.venue, expired.venue.waiting ? 'ioc' : 'expired')
      return
    }
    switch (command.type) {
      case 'submit':
        this.#submit(m, command)
        break
      case 'cancel': {
        const resting = m.orders.get(command.order.id)
        if (resting === undefined || !m.matching.cancel(resting.venue, 'user')) {
          this.#answer({ type: 'cancel-rejected', order: command.order, timeVenue: this.#time, reason: 'not-found' })
        }
        break
      }
      case 'amend':
        this.#amend(m, command)
        break
      case 'decrease': {
        const resting = m.orders.get(command.order.id)
        if (resting === undefined || !resting.venue.resting)
          this.#answer({ type: 'amend-rejected', order: command.order, timeVenue: this.#time, reason: 'not-found' })
        else {
          // Fills on the way may have left less than what was asked for: then there is nothing to decrease.
          m.matching.decrease(resting.venue, command.quantity)
          this.#answer({ type: 'decreased', order: command.order, timeVenue: this.#time, remaining: resting.venue.remaining })
        }
        break
      }
      default:
        unreachable(command.type)
    }
  }

  #submit(m: VenueMarket, command: Command): void {
    const { order } = command
    const { market } = m
    const refusal = this.#closedReason(market)
    if (refusal !== null) {
      this.#answer({ type: 'rejected', order, timeVenue: this.#time, reason: refusal })
      return
    }
    const venue = new VenueOrder(order.id, 0, order.side, command.price, command.quantity, order.postOnly, order.prevention)
    const resting: Resting = { order, venue, fees: { gathered: 0 }, expiry: null }
    m.orders.set(order.id, resting)
    // The acceptance is told before its fills: an answer in the same instant keeps this order.
    this.#answer({ type: 'accepted', order, timeVenue: this.#time, remaining: command.quantity })
    venue.since = this.#time
    // No matching from a book that is out of sync or in flux: what must trade at once ends unfilled.
    if (order.tif !== 'gtc' && (!market.synced || market.inSnapshot || market.book.crossed)) {
      this.#flushHeld()
      this.ended(m, venue, 'ioc')
      return
    }
    const reducible = order.reduceOnly ? Math.max(0, order.side === BID ? -m.position : m.position) : -1
    const rejection = m.matching.place(venue, order.tif, reducible)
    if (rejection !== null) {
      m.orders.delete(order.id)
      this.#retract({ type: 'rejected', order, timeVenue: this.#time, reason: rejection })
      return
    }
    // What a reduce-only order may not trade is canceled.
    if (reducible >= 0 && reducible < command.quantity && venue.remaining === 0) {
      this.#answer({ type: 'canceled', order, timeVenue: this.#time, reason: 'reduce-only' })
    }
    if (venue.resting) {
      market.resting = m.matching.count
      const until = venue.waiting ? this.#time + PRINTS_WAIT : order.expires
      if (until !== null) resting.expiry = this.#enqueue(m, until, null, order.id)
    }
    this.#flushHeld()
  }

  #amend(m: VenueMarket, command: Command): void {
    const { order } = command
    const resting = m.orders.get(order.id)
    const refusal = resting === undefined || !resting.venue.resting ? 'not-found' : this.#closedReason(m.market)
    if (refusal !== null || resting === undefined) {
      this.#answer({ type: 'amend-rejected', order, timeVenue: this.#time, reason: refusal ?? 'not-found' })
      return
    }
    const remaining = (command.quantity - resting.venue.filled) as Quantity
    if (remaining <= 0) {
      // Filled past what the amend asks for while it was on its way: what is left is canceled (api.md §4.3, count = filled + resting).
      this.#answer({ type: 'amend-rejected', order, timeVenue: this.#time, reason: 'filled' })
      return
    }
    this.#answer({ type: 'amended', order, timeVenue: this.#time, remaining })
    if (command.price !== resting.venue.price || remaining >= resting.venue.remaining) resting.venue.since = this.#time
    const rejection = m.matching.amend(resting.venue, command.price, remaining)
    if (rejection !== null) this.#retract({ type: 'amend-rejected', order, timeVenue: this.#time, reason: rejection })
    else this.#flushHeld()
    m.market.resting = m.matching.count
  }

  #closedReason(market: Market): string | null {
    if (market.status === 'inactive' || market.status === 'initialized') return 'trading-paused'
    return market.status === 'active' ? null : 'market-closed'
  }

  // ---------------------------------------------------------------------------------------------- answers

  /** @internal */
  filled(m: VenueMarket, venue: VenueOrder, price: Price, quantity: Quantity, maker: boolean): void {
    const resting = m.orders.get(venue.id)
    assert(resting !== undefined, 'a filled order is known to the venue')
    const { order } = resting
    const fee = fillFee(m.market.fee, maker, order.side, price, quantity, this.#time, resting.fees)
    if (venue.remaining === 0) this.#forget(m, resting)
    if (!maker) m.market.taken = true
    m.position += order.side === BID ? quantity : -quantity
    m.market.resting = m.matching.count
    this.#answer({ type: 'fill', order, timeVenue: this.#time, price, quantity, fee, maker })
  }

  /** @internal */
  ended(m: VenueMarket, venue: VenueOrder, reason: CancelReason): void {
    const resting = m.orders.get(venue.id)
    assert(resting !== undefined, 'a canceled order is known to the venue')
    this.#forget(m, resting)
    m.market.resting = m.matching.count
    this.#answer({ type: 'canceled', order: resting.order, timeVenue: this.#time, reason })
  }

  /** Answers of the command being executed, held until it is known whether it was refused whole. */
  #held: Parameters<Inbox['answer']>[1][] = []
  #holding = false

  #answer(answer: Parameters<Inbox['answer']>[1]): void {
    if (answer.type === 'accepted' || answer.type === 'amended') this.#holding = true
    if (this.#holding) this.#held.push(answer)
    else this.#inbox?.answer(this.#time + this.#delays.answer, answer)
  }
  #flushHeld(): void {
    this.#holding = false
    for (const answer of this.#held) this.#inbox?.answer(this.#time + this.#delays.answer, answer)
    this.#held = []
  }
  #retract(answer: Parameters<Inbox['answer']>[1]): void {
    assert(this.#held.length === 1, 'a command refused whole changed nothing')
    this.#held = []
    this.#holding = false
    this.#answer(answer)
  }
}
