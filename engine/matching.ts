/**
 * Matching in one market: price, then time, at the resting order's price (api.md §4.1). A price level is a queue of known
 * orders between anonymous blocks:
 *
 * ```
 *   front ──▶ [anonymous 40] [order A 10] [anonymous 25] [order B 5] [anonymous 80] ◀── back
 *              A.ahead = 40                B.ahead = 65      displayed by the depth = 145 (ours not included)
 * ```
 *
 * An anonymous block is known by size alone (from a tape) and `ahead` counts the anonymous quantity before an order. Without
 * a tape (`depth` = null) every order is known: the practice population and the local exchange. With a tape the known
 * orders are ours: the backtest. Both: a driven exchange.
 *
 * Where only trades are known (`prints`) there is nothing to walk: a taker waits for the next trades within its limit.
 *
 * Owns queues, resting orders, what takers took from the displayed depth; hides the lists. Invariant: fills never exceed what a
 * trade, or the displayed depth minus what we took of it, had to give; `ahead` never grows and never exceeds the level.
 */
import { assert } from './assert.ts'
import { Book } from './book.ts'
import type { PriceGrid } from './grid.ts'
import type { FillModelName } from './session.ts'
import { ASK, BID, MINUTE, type Price, type Quantity, type SideCode } from './units.ts'

export type TimeInForce = 'gtc' | 'ioc' | 'fok'
/** api.md §4.6. `taker`: the incoming order stops at our own; `maker`: our own resting order is canceled and matching goes on. */
export type SelfTradePrevention = 'taker' | 'maker'
export type FillModel = FillModelName
/** Where only trades are known a taker waits for them this long, then ends unfilled. */
export const PRINTS_WAIT = 15 * MINUTE

export type CancelReason =
  | 'user'
  | 'ioc'
  | 'self-trade'
  | 'expired'
  | 'closed'
  | 'reactivated'
  | 'reduce-only'
  | 'grid'
  | 'session'
  | 'margin'
export type PlaceRejection = 'post-only-cross' | 'fok-volume' | 'reduce-only-needs-ioc' | 'reduce-only-no-position' | 'off-grid' | 'size'

/** An order at the venue. Created by the caller, owned by its matching while it rests. */
export class VenueOrder {
  readonly id: number
  /** Orders of one account never trade with each other. */
  readonly account: number
  readonly side: SideCode
  price: Price
  /** Grid index of `price`. */
  index = -1
  remaining: Quantity
  filled = 0
  readonly postOnly: boolean
  readonly prevention: SelfTradePrevention
  /** Anonymous quantity before it in its level. */
  ahead = 0
  /** Its place was cut by a snapshot: an estimate from then on. */
  uncertain = false
  resting = false
  /** A taker that waits for trades, where no book is known. */
  waiting = false
  /** Venue time at which it arrived, or came back to the end of a queue. */
  since = -Infinity
  next: VenueOrder | null = null
  previous: VenueOrder | null = null

  constructor(
    id: number,
    account: number,
    side: SideCode,
    price: Price,
    quantity: Quantity,
    postOnly = false,
    prevention: SelfTradePrevention = 'taker',
  ) {
    this.id = id
    this.account = account
    this.side = side
    this.price = price
    this.remaining = quantity
    this.postOnly = postOnly
    this.prevention = prevention
  }
}

/** What matching tells its venue, in order. */
export interface MatchSink {
  /** `maker` is null when the taker met anonymous depth, `taker` null when a tape's trade met a resting order. */
  fill(maker: VenueOrder | null, taker: VenueOrder | null, price: Price, quantity: Quantity): void
  /** A resting or incoming order ended unfilled. */
  canceled(order: VenueOrder, reason: CancelReason): void
  /** The known quantity at a level changed (no tape: the public delta). */
  level(side: SideCode, price: Price, delta: number): void
  /** Whether an order can pay for what it is about to trade; where it cannot it ends. Absent: always. */
  pays?(order: VenueOrder, taking: boolean, price: Price, quantity: Quantity): boolean
}

/** What a post-only order must not meet: everything displayed, or only what our takers left of it, which is what others see. */
export type PostOnlyCheck = 'displayed' | 'left'

export class Matching {
  readonly #sink: MatchSink
  readonly #model: FillModel
  readonly #postOnly: PostOnlyCheck
  /** What a tape displays, or null. Read, never written. */
  readonly #depth: Book | null
  /** Totals of known orders by level. */
  readonly known: Book
  #heads: [(VenueOrder | null)[], (VenueOrder | null)[]] = [[], []]
  #tails: [(VenueOrder | null)[], (VenueOrder | null)[]] = [[], []]
  /** What our takers took of each displayed level, by side and index; allocated at the first take. */
  #taken: [Float64Array, Float64Array] | null = null
  /** Takers that wait for trades (`prints` only), in the order of their arrival. */
  readonly #waiting: VenueOrder[] = []
  /** Resting and waiting orders. */
  count = 0

  constructor(grid: PriceGrid, depth: Book | null, model: FillModel, sink: MatchSink, postOnly: PostOnlyCheck = 'displayed') {
    this.known = new Book(grid)
    this.#depth = depth
    this.#model = model
    this.#sink = sink
    this.#postOnly = postOnly
  }

  get grid(): PriceGrid {
    return this.known.grid
  }

  /**
   * An order arrives. It trades with what is there, then rests (gtc) or ends. `reducible`: how much a reduce-only order may trade,
   * −1 for any. Returns null, or why it was refused whole; a refused order changed nothing.
   */
  place(order: VenueOrder, tif: TimeInForce, reducible = -1): PlaceRejection | null {
    order.index = this.grid.indexOf[order.price] ?? -1
    if (order.index < 0) return 'off-grid'
    if (!(order.remaining > 0)) return 'size'
    if (reducible >= 0) {
      if (tif === 'gtc') return 'reduce-only-needs-ioc'
      if (reducible === 0) return 'reduce-only-no-position'
    }
    if (order.postOnly && this.#crossesAt(order.side, order.index)) return 'post-only-cross'
    if (tif === 'fok' && this.#available(order) < order.remaining) return 'fok-volume'
    if (reducible >= 0 && reducible < order.remaining) order.remaining = reducible as Quantity
    if (this.#model === 'prints' && tif !== 'gtc') {
      order.waiting = true
      order.resting = true
      this.#waiting.push(order)
      this.count++
      return null
    }
    const stopped = order.postOnly ? null : this.#take(order)
    if (order.remaining === 0) return null
    if (stopped !== null) this.#sink.canceled(order, stopped)
    else if (tif === 'gtc') this.#rest(order)
    else this.#sink.canceled(order, 'ioc')
    return null
  }

  /** Takes a resting order off the book. False when it does not rest. */
  cancel(order: VenueOrder, reason: CancelReason): boolean {
    if (!order.resting) return false
    if (order.waiting) this.#endWait(order)
    else this.#unlink(order)
    this.#sink.canceled(order, reason)
    return true
  }

  /** Fewer contracts, same price: the place is kept (api.md §4.3). `remaining` > 0 and below what it has. */
  decrease(order: VenueOrder, remaining: Quantity): boolean {
    if (!order.resting || !(remaining < order.remaining) || !(remaining > 0)) return false
    const delta = remaining - order.remaining
    order.remaining = remaining
    this.known.change(order.side, order.price, delta)
    this.#sink.level(order.side, order.price, delta)
    return true
  }

  /**
   * New price or size. The place is kept only when the size falls at the same price (api.md §4.3); otherwise, and when nothing changes, the order leaves and
   * comes back at the end of the queue, and may trade on arrival.
   */
  amend(order: VenueOrder, price: Price, remaining: Quantity): PlaceRejection | 'gone' | null {
    if (!order.resting) return 'gone'
    const index = this.grid.indexOf[price] ?? -1
    if (index < 0) return 'off-grid'
    if (!(remaining > 0)) return 'size'
    if (price === order.price && remaining < order.remaining) {
      this.decrease(order, remaining)
      return null
    }
    if (order.postOnly && this.#crossesAt(order.side, index)) return 'post-only-cross'
    this.#unlink(order)
    order.price = price
    order.index = index
    order.remaining = remaining
    order.uncertain = false
    const stopped = order.postOnly ? null : this.#take(order)
    if (order.remaining > 0) {
      if (stopped !== null) this.#sink.canceled(order, stopped)
      else this.#rest(order)
    }
    return null
  }

  /** Every resting order of the market ends, best price first, front first. */
  cancelAll(reason: CancelReason): void {
    for (let order = this.#waiting[0]; order !== undefined; order = this.#waiting[0]) this.cancel(order, reason)
    for (const side of [BID, ASK] as const) {
      for (let order = this.#front(side); order !== null; order = this.#front(side)) this.cancel(order, reason)
    }
  }

  /**
   * A tape's trade: `quantity` was executed at `price` against the resting `side`. Our better-priced orders would have been met
   * first; at the price itself the fill model decides. All of ours share the one volume. `time`: an order that came no earlier was not there.
   */
  execution(side: SideCode, price: number, quantity: number, time = Infinity): void {
    if (this.count === 0) return
    let left = this.#through(side, price, quantity, time)
    if (this.#model === 'prints') {
      // Whoever took, an order of ours that the price went through was better than what was met.
      left = this.#through(side === BID ? ASK : BID, price, left, time)
      this.#printed(side === BID ? ASK : BID, price, left, time)
      return
    }
    const index = this.grid.indexOf[price] ?? -1
    if (left === 0 || index < 0 || (this.#model !== 'queue' && this.#model !== 'touch')) return
    let order = this.#heads[side][index] ?? null
    let passed = 0
    while (order !== null && left > 0) {
      const following: VenueOrder | null = order.next
      const before = Math.max(0, order.ahead - passed)
      const anonymous = Math.min(before, left)
      passed += anonymous
      left -= anonymous
      if (left > 0 && order.since < time) {
        left -= this.#fillResting(order, Math.min(left, order.remaining))
      }
      order = following
    }
    if (passed > 0) for (let o = this.#heads[side][index] ?? null; o !== null; o = o.next) o.ahead = Math.max(0, o.ahead - passed)
  }

  /** Fills our orders of a side that are better than the trade's price. Returns what is left of it. */
  #through(side: SideCode, price: number, quantity: number, time: number): number {
    let left = quantity
    for (let order = this.#front(side); order !== null && left > 0; order = this.#front(side)) {
      if ((side === BID ? order.price <= price : order.price >= price) || order.since >= time) break
      left -= this.#fillResting(order, Math.min(left, order.remaining))
    }
    return left
  }

  /**
   * Takers of the trade's own side that were there before it share what it had, first come first served, each within its limit and at the trade's price. A trade of the other
   * side shows what stood on ours, which says nothing of what we could have taken.
   */
  #printed(taker: SideCode, price: number, quantity: number, time: number): void {
    let left = quantity
    for (let k = 0; k < this.#waiting.length && left > 0; ) {
      const order = this.#waiting[k] as VenueOrder
      if (order.since >= time) break
      if (order.side !== taker || (order.side === BID ? price > order.price : price < order.price)) {
        k++
        continue
      }
      const q = Math.min(left, order.remaining) as Quantity
      left -= q
      this.#count(order, q)
      if (order.remaining === 0) this.#endWait(order)
      else k++
      this.#sink.fill(null, order, price as Price, q)
    }
  }
  #endWait(order: VenueOrder): void {
    this.#waiting.splice(this.#waiting.indexOf(order), 1)
    order.waiting = false
    order.resting = false
    this.count--
  }

  /** The displayed quantity of a level fell to `quantity`: no place is behind more than that, and no more was taken. */
  displayed(side: SideCode, price: number, quantity: number): void {
    const index = this.grid.indexOf[price] ?? -1
    if (index < 0) return
    for (let o = this.#heads[side][index] ?? null; o !== null; o = o.next) if (o.ahead > quantity) o.ahead = quantity
    const taken = this.#taken
    if (taken !== null && (taken[side][index] as number) > quantity) taken[side][index] = quantity
  }

  /** A snapshot replaced the depth: places shrink to the level, never grow, and are estimates from now on. */
  resnapped(): void {
    const depth = this.#depth
    if (depth === null) return
    for (const side of [BID, ASK] as const) {
      const shown = side === BID ? depth.bids : depth.asks
      const heads = this.#heads[side]
      for (let i = 0; i < heads.length; i++) {
        for (let o = heads[i] ?? null; o !== null; o = o.next) {
          const level = shown[i] ?? 0
          o.uncertain = true
          if (o.ahead > level) o.ahead = level
        }
      }
      const taken = this.#taken
      if (taken !== null) for (let i = 0; i < taken[side].length; i++) taken[side][i] = Math.min(taken[side][i] as number, shown[i] ?? 0)
    }
  }

  /**
   * The venue instant is over and the depth stands at or through one of our resting prices: whoever brought that depth would have met
   * us first. Fills up to the displayed size not yet taken. Not under `strict`, which knows trades only.
   */
  crossed(): void {
    const depth = this.#depth
    if (depth === null || this.#model === 'strict' || this.#model === 'prints') return
    if (this.known.bestBid < depth.bestAsk && this.known.bestAsk > depth.bestBid) return
    for (const side of [BID, ASK] as const) {
      const other = side === BID ? ASK : BID
      for (let order = this.#front(side); order !== null; order = this.#front(side)) {
        const level = this.#bestShown(other)
        if (level < 0 || (side === BID ? level > order.index : level < order.index)) break
        this.#draw(other, level, this.#fillResting(order, Math.min(order.remaining, this.#shownAt(other, level))))
      }
    }
  }

  /** The grid changed; `depth` has been moved already. Orders that the new grid does not know are canceled. */
  regrid(grid: PriceGrid): void {
    if (grid === this.grid) return
    for (const order of this.#waiting.slice()) if ((grid.indexOf[order.price] ?? -1) < 0) this.cancel(order, 'grid')
    const orders: VenueOrder[] = []
    for (const side of [BID, ASK] as const) {
      for (const head of this.#heads[side]) for (let o = head ?? null; o !== null; o = o.next) orders.push(o)
    }
    this.known.clear()
    this.known.regrid(grid)
    this.#heads = [[], []]
    this.#tails = [[], []]
    this.#taken = null
    this.count = this.#waiting.length
    for (const order of orders) {
      order.resting = false
      order.next = null
      order.previous = null
      order.index = grid.indexOf[order.price] ?? -1
      if (order.index < 0) this.#sink.canceled(order, 'grid')
      else {
        this.#link(order)
        this.known.change(order.side, order.price, order.remaining)
      }
    }
  }

  /** Every resting order: by side, best price first, front first. */
  *orders(): IterableIterator<VenueOrder> {
    for (const side of [BID, ASK] as const) {
      const heads = this.#heads[side]
      for (let k = 0; k < heads.length; k++) {
        const i = side === BID ? heads.length - 1 - k : k
        for (let o = heads[i] ?? null; o !== null; o = o.next) yield o
      }
    }
  }

  /** Contracts before an order in its level: anonymous that our takers left, and known orders in front of it (api.md: queue position). */
  queuePosition(order: VenueOrder): Quantity {
    let before = Math.max(0, order.ahead - this.#takenAt(order.side, order.index))
    for (let o = order.previous; o !== null; o = o.previous) before += o.remaining
    return before as Quantity
  }

  /** Displayed quantity of a level that our takers left: what others still see of the anonymous there. */
  anonymousAt(side: SideCode, price: number): Quantity {
    const index = this.grid.indexOf[price] ?? -1
    return (index < 0 ? 0 : this.#shownAt(side, index)) as Quantity
  }

  // ---------------------------------------------------------------------------------------------- taking

  /** Why it stopped before its limit did: an order of its own account, or money; null when neither did. */
  #take(order: VenueOrder): 'self-trade' | 'margin' | null {
    const other: SideCode = order.side === BID ? ASK : BID
    while (order.remaining > 0) {
      const shown = this.#bestShown(other)
      const front = this.#front(other)
      const knownIndex = front === null ? -1 : front.index
      let index: number
      if (shown < 0) index = knownIndex
      else if (knownIndex < 0) index = shown
      else index = other === ASK ? Math.min(shown, knownIndex) : Math.max(shown, knownIndex)
      if (index < 0 || (order.side === BID ? index > order.index : index < order.index)) return null
      // Front to back: anonymous quantity before the first known order, that order, and so on.
      const maker = front !== null && front.index === index ? front : null
      const anonymous = this.#shownAt(other, index)
      const before = maker === null ? anonymous : Math.min(anonymous, Math.max(0, maker.ahead - this.#takenAt(other, index)))
      if (before > 0) {
        const q = Math.min(order.remaining, before)
        if (!this.#pays(order, true, this.grid.priceAt(index), q)) return 'margin'
        this.#draw(other, index, q)
        this.#count(order, q)
        this.#sink.fill(null, order, this.grid.priceAt(index), q as Quantity)
        continue
      }
      assert(maker !== null, 'a level that can be taken has somebody in it')
      if (maker.account === order.account) {
        if (order.prevention === 'taker') return 'self-trade'
        this.cancel(maker, 'self-trade')
        continue
      }
      const q = Math.min(order.remaining, maker.remaining) as Quantity
      const at = maker.price
      if (!this.#pays(maker, false, at, q)) {
        this.cancel(maker, 'margin')
        continue
      }
      if (!this.#pays(order, true, at, q)) return 'margin'
      this.#count(order, q)
      this.#reduceResting(maker, q)
      this.#sink.fill(maker, order, at, q)
    }
    return null
  }
  #pays(order: VenueOrder, taking: boolean, price: Price, quantity: number): boolean {
    return this.#sink.pays === undefined || this.#sink.pays(order, taking, price, quantity as Quantity)
  }

  /** Quantity that an order could trade at once, its own account's left out. */
  #available(order: VenueOrder): number {
    const other: SideCode = order.side === BID ? ASK : BID
    const size = this.grid.size
    let sum = 0
    for (let k = 0; k < size; k++) {
      const i = other === ASK ? k : size - 1 - k
      if (other === ASK ? i > order.index : i < order.index) break
      const own = order.prevention === 'taker' ? this.#firstOf(other, i, order.account) : null
      // It would stop at its own account's order: only what stands before that counts.
      if (own !== null) return sum + this.#before(other, i, own)
      sum += this.#shownAt(other, i)
      for (let o = this.#heads[other][i] ?? null; o !== null; o = o.next)
        if (o.account !== order.account && this.#pays(o, false, o.price, o.remaining)) sum += o.remaining
      if (sum >= order.remaining) break
    }
    return sum
  }

  #firstOf(side: SideCode, index: number, account: number): VenueOrder | null {
    for (let o = this.#heads[side][index] ?? null; o !== null; o = o.next) if (o.account === account) return o
    return null
  }
  #before(side: SideCode, index: number, order: VenueOrder): number {
    let sum = Math.min(this.#shownAt(side, index), Math.max(0, order.ahead - this.#takenAt(side, index)))
    for (let o = order.previous; o !== null; o = o.previous) sum += o.remaining
    return sum
  }

  /** Whether a post-only order at this price would be refused. */
  crosses(side: SideCode, price: number): boolean {
    return this.#crossesAt(side, this.grid.indexOf[price] as number)
  }
  /** Whether a resting order of the account stands at or through this price on the other side. */
  crossesOwn(account: number, side: SideCode, price: number): boolean {
    const limit = this.grid.indexOf[price] as number
    for (const o of this.orders())
      if (o.account === account && o.side !== side && (side === BID ? o.index <= limit : o.index >= limit)) return true
    return false
  }
  /** In a backtest even what we took of the displayed counts: a resting quote at or through the other side would be a fiction. */
  #crossesAt(side: SideCode, index: number): boolean {
    const depth = this.#depth
    if (this.#postOnly === 'left') {
      const shown = this.#bestShown(side === BID ? ASK : BID)
      if (shown >= 0 && (side === BID ? index >= shown : index <= shown)) return true
      return side === BID ? index >= this.known.bestAsk : index <= this.known.bestBid
    }
    if (side === BID) return index >= this.known.bestAsk || (depth !== null && index >= depth.bestAsk)
    return index <= this.known.bestBid || (depth !== null && index <= depth.bestBid)
  }

  /** Best displayed level with something left to take, −1 for none. */
  #bestShown(side: SideCode): number {
    const depth = this.#depth
    if (depth === null) return -1
    if (side === ASK) {
      for (let i = depth.bestAsk; i < depth.asks.length; i++) if (this.#shownAt(ASK, i) > 0) return i
      return -1
    }
    for (let i = depth.bestBid; i >= 0; i--) if (this.#shownAt(BID, i) > 0) return i
    return -1
  }

  /** available = max(0, displayed − taken) */
  #shownAt(side: SideCode, index: number): number {
    const depth = this.#depth
    if (depth === null) return 0
    const shown = (side === BID ? depth.bids[index] : depth.asks[index]) ?? 0
    if (shown === 0) return 0
    return Math.max(0, shown - this.#takenAt(side, index))
  }
  #takenAt(side: SideCode, index: number): number {
    const taken = this.#taken
    return taken === null ? 0 : (taken[side][index] as number)
  }
  #draw(side: SideCode, index: number, quantity: number): void {
    if (this.#taken === null) this.#taken = [new Float64Array(this.grid.size), new Float64Array(this.grid.size)]
    this.#taken[side][index] = (this.#taken[side][index] as number) + quantity
  }

  // ---------------------------------------------------------------------------------------------- resting

  #count(order: VenueOrder, q: number): void {
    order.remaining = (order.remaining - q) as Quantity
    order.filled += q
  }

  /** Returns what it traded: an order that cannot pay for it leaves instead. */
  #fillResting(order: VenueOrder, q: number): number {
    const at = order.price
    if (!this.#pays(order, false, at, q)) {
      this.cancel(order, 'margin')
      return 0
    }
    this.#reduceResting(order, q)
    this.#sink.fill(order, null, at, q as Quantity)
    return q
  }

  #reduceResting(order: VenueOrder, q: number): void {
    this.#count(order, q)
    this.known.change(order.side, order.price, -q)
    this.#sink.level(order.side, order.price, -q)
    if (order.remaining === 0) this.#detach(order)
  }

  #rest(order: VenueOrder): void {
    const depth = this.#depth
    order.ahead = depth === null || this.#model === 'touch' ? 0 : depth.at(order.side, order.price)
    this.#link(order)
    this.known.change(order.side, order.price, order.remaining)
    this.#sink.level(order.side, order.price, order.remaining)
  }

  #front(side: SideCode): VenueOrder | null {
    const best = side === BID ? this.known.bestBid : this.known.bestAsk
    return this.#heads[side][best] ?? null
  }

  #link(order: VenueOrder): void {
    const heads = this.#heads[order.side]
    const tails = this.#tails[order.side]
    if (heads.length === 0) {
      for (let i = 0; i < this.grid.size; i++) {
        heads.push(null)
        tails.push(null)
      }
    }
    const tail = tails[order.index] ?? null
    order.previous = tail
    order.next = null
    if (tail === null) heads[order.index] = order
    else tail.next = order
    tails[order.index] = order
    order.resting = true
    this.count++
  }

  #unlink(order: VenueOrder): void {
    this.known.change(order.side, order.price, -order.remaining)
    this.#sink.level(order.side, order.price, -order.remaining)
    this.#detach(order)
  }

  #detach(order: VenueOrder): void {
    if (order.previous === null) this.#heads[order.side][order.index] = order.next
    else order.previous.next = order.next
    if (order.next === null) this.#tails[order.side][order.index] = order.previous
    else order.next.previous = order.previous
    order.next = null
    order.previous = null
    order.resting = false
    this.count--
  }
}
