/**
 * The practice population: strangers who trade one market on engine/matching. Makers keep ladders and move their orders with the value, noise places, cancels and takes
 * at random, the informed take what is mispriced. Owns their behaviour; hides their orders. Invariants: every row follows from an order somebody placed, so deltas,
 * trades and queue places are consistent; the same seed gives the same rows.
 *
 * The mix is tuned to recorded KXBTC15M books: about 14 deltas a trade, of decreases 44 % amends, 40 % cancels, 14 % trades, a spread near one cent.
 */
import { gridOf } from '../../engine/grid.ts'
import { Matching, VenueOrder, type MatchSink } from '../../engine/matching.ts'
import { Flag, Kind, Label, withLabel, type GridBand } from '../../engine/message.ts'
import { ASK, BID, PRICE_ONE, type Price, type Quantity, type SideCode } from '../../engine/units.ts'
import { Random } from './random.ts'

export const PRACTICE_GRID: readonly GridBand[] = [
  { start: 0, end: 1_000, step: 10 },
  { start: 1_000, end: 9_000, step: 100 },
  { start: 9_000, end: 10_000, step: 10 },
]

/** Where the population trades: a matching of its own (a tape is made), or an exchange's (others trade there too). It is told of its own orders through `MatchSink`. */
export type Floor = Pick<Matching, 'grid' | 'known' | 'place' | 'cancel' | 'cancelAll'>

/** Receives rows of the market, in order. */
export type RowSink = (kind: Kind, flags: number, side: number, price: number, quantity: number) => void

const MAKER_ACCOUNTS = 4
const NOISE = 100
const INFORMED = 200
const ORDERS_MAX = 240

export class PracticeMarket implements MatchSink {
  readonly #random: Random
  readonly #matching: Floor
  readonly #row: RowSink
  readonly #closeTime: number
  readonly #openTime: number
  /** Resting orders, in no order: for picking one at random. */
  readonly #resting: VenueOrder[] = []
  readonly #place = new Map<VenueOrder, number>()
  #ids = 0
  /** The hidden quantity whose sign decides: YES when it ends above zero. */
  #hidden: number
  #time: number
  /** Why levels change just now. */
  #label: Label = Label.NONE
  #silent = false
  deltas = 0
  trades = 0
  tradedQuantity = 0
  readonly labels = new Map<Label, { count: number; quantity: number }>()

  constructor(seed: number, openTime: number, closeTime: number, row: RowSink, floor: ((sink: MatchSink) => Floor) | null = null) {
    this.#random = new Random(seed)
    this.#row = row
    this.#openTime = openTime
    this.#closeTime = closeTime
    this.#time = openTime
    this.#matching = floor?.(this) ?? new Matching(gridOf(PRACTICE_GRID), null, 'queue', this)
    this.#hidden = this.#random.bell(6_000)
  }

  /** Value of a YES contract to those who know, Price units (a float: their opinion). */
  get value(): number {
    const left = Math.max(0.002, (this.#closeTime - this.#time) / (this.#closeTime - this.#openTime))
    // An algebraic sigmoid of distance over what can still happen: only + × √, so the same on every machine.
    const z = this.#hidden / 10_000 / Math.sqrt(left)
    return PRICE_ONE * Math.min(0.998, Math.max(0.002, 0.5 + (0.5 * z) / Math.sqrt(0.7 + z * z)))
  }
  get result(): 'yes' | 'no' {
    return this.#hidden > 0 ? 'yes' : 'no'
  }

  /** The makers build the first book; then it is told as a snapshot. */
  open(): void {
    this.#silent = true
    const { grid } = this.#matching
    const middle = grid.floorIndex(this.value)
    for (let k = 0; k < 45; k++) {
      for (const side of [BID, ASK] as const) {
        const index = side === BID ? middle - k : middle + 1 + k
        if (index < 0 || index >= grid.size) continue
        for (let n = this.#random.integer(1, 2); n > 0; n--)
          this.#rest(this.#random.integer(0, MAKER_ACCOUNTS - 1), side, index, this.#size(k + 2))
      }
    }
    this.#silent = false
    this.snapshot(0)
  }

  /** The whole book as `clear` and `level` rows. */
  snapshot(flags: number): void {
    const { known } = this.#matching
    let left = known.levels
    this.#row(Kind.CLEAR, flags | (left === 0 ? Flag.LAST : 0), 0, 0, 0)
    for (const side of [BID, ASK] as const) {
      const levels = side === BID ? known.bids : known.asks
      for (let i = 0; i < levels.length; i++) {
        const q = levels[i] as number
        if (q > 0) this.#row(Kind.LEVEL, flags | (--left === 0 ? Flag.LAST : 0), side, known.grid.priceAt(i), q)
      }
    }
  }

  /** Somebody does something at `time` (µs). */
  act(time: number): void {
    const random = this.#random
    // The hidden quantity wanders with the time that passed; over the whole life it moves about one unit of 10,000.
    const share = (time - this.#time) / (this.#closeTime - this.#openTime)
    this.#hidden += random.bell(10_000 * Math.sqrt(Math.max(0, share)))
    this.#time = time
    const u = random.integer(0, 999)
    if (u < 320) this.#move()
    else if (u < 645) this.#join()
    else if (u < 930) this.#leave()
    else if (u < 985) this.#noiseTakes()
    else this.#informedTakes()
  }

  /** The exchange empties the book after the close. */
  wipe(): void {
    this.#label = Label.CLOSE_WIPE
    this.#matching.cancelAll('closed')
  }

  // ---------------------------------------------------------------------------------------------- what they do

  /** A maker moves an order with the value: −q at the old price, +q at the new, in one instant. */
  #move(): void {
    const near = this.#random.chance(1, 4)
    // What stands at the touch is small: size is risk.
    const order = this.#pick((o) => o.account < MAKER_ACCOUNTS && (!near || o.remaining <= 8_000))
    if (order === null) return this.#join()
    const { grid } = this.#matching
    const fair = grid.floorIndex(this.value)
    const away = near ? 1 + this.#random.geometric(3) : this.#random.integer(2, 40)
    const index = this.#inside(order.side, order.side === BID ? fair + 1 - away : fair + away)
    if (index < 0 || index === order.index) return
    const { remaining, account, side } = order
    this.#label = Label.AMEND
    this.#matching.cancel(order, 'user')
    this.#rest(account, side, index, remaining)
  }

  #join(): void {
    if (this.#resting.length >= ORDERS_MAX) return this.#leave()
    const random = this.#random
    const { grid, known } = this.#matching
    const side = this.#thinner()
    const touch = side === BID ? known.bestBid : known.bestAsk
    const fair = grid.floorIndex(this.value)
    const from = touch < 0 || touch >= grid.size ? fair : touch
    const k = random.chance(1, 3) ? random.geometric(3) - 1 : random.integer(1, 40)
    const index = this.#inside(side, side === BID ? from - k : from + k)
    if (index < 0) return
    this.#label = Label.NONE
    this.#rest(random.chance(1, 3) ? random.integer(0, MAKER_ACCOUNTS - 1) : NOISE, side, index, this.#size(Math.max(0, k)))
  }

  #leave(): void {
    if (this.#resting.length < 60) return this.#join()
    const order = this.#pick(() => true)
    if (order === null) return
    this.#label = Label.CANCEL
    this.#matching.cancel(order, 'user')
  }

  #noiseTakes(): void {
    const { known } = this.#matching
    const side = this.#random.chance(1, 2) ? BID : ASK
    const touch = side === BID ? known.bestAsk : known.bestBid
    if (touch < 0 || touch >= known.grid.size) return
    this.#trade(NOISE + 1, side, known.grid.priceAt(touch), this.#random.integer(1, 8) * this.#random.integer(1, 30) * 25)
  }

  #informedTakes(): void {
    const { known } = this.#matching
    const fair = this.value
    if (known.hasAsk && known.ask < fair - 100) this.#trade(INFORMED, BID, this.#snap(fair - 50), this.#random.integer(10, 200) * 100)
    else if (known.hasBid && known.bid > fair + 100) this.#trade(INFORMED, ASK, this.#snap(fair + 150), this.#random.integer(10, 200) * 100)
    else this.#noiseTakes()
  }

  // ---------------------------------------------------------------------------------------------- how

  #trade(account: number, side: SideCode, price: number, quantity: number): void {
    this.#label = Label.TRADE
    this.#matching.place(new VenueOrder(this.#ids++, account, side, price as Price, quantity as Quantity), 'ioc')
  }
  #snap(value: number): number {
    const { grid } = this.#matching
    return grid.priceAt(Math.min(grid.size - 1, Math.max(0, grid.floorIndex(value))))
  }
  /** Off the other side, on the grid; −1 when there is no room. */
  #inside(side: SideCode, wanted: number): number {
    const { known, grid } = this.#matching
    let index = wanted
    if (side === BID && known.bestAsk < grid.size) index = Math.min(index, known.bestAsk - 1)
    if (side === ASK && known.bestBid >= 0) index = Math.max(index, known.bestBid + 1)
    return index < 0 || index >= grid.size ? -1 : index
  }
  #thinner(): SideCode {
    let bids = 0
    for (let i = 0; i < 6 && i < this.#resting.length; i++)
      if ((this.#resting[this.#random.integer(0, this.#resting.length - 1)] as VenueOrder).side === BID) bids++
    return bids * 2 < 6 ? BID : bids * 2 > 6 ? ASK : this.#random.chance(1, 2) ? BID : ASK
  }
  #size(away: number): number {
    if (away <= 2) return this.#random.integer(1, 80) * 100
    const lot = this.#random.chance(1, 3) ? 100 : this.#random.chance(1, 2) ? this.#random.integer(1, 40) : this.#random.integer(40, 400)
    const whole = (lot + (away > 5 ? this.#random.integer(0, 900) : 0)) * 100
    return this.#random.chance(1, 12) ? whole + this.#random.integer(1, 99) : whole
  }
  #rest(account: number, side: SideCode, index: number, quantity: number): void {
    const order = new VenueOrder(this.#ids++, account, side, this.#matching.grid.priceAt(index), quantity as Quantity, true)
    if (this.#matching.place(order, 'gtc') !== null) return
    this.#place.set(order, this.#resting.length)
    this.#resting.push(order)
  }
  #pick(fits: (order: VenueOrder) => boolean): VenueOrder | null {
    for (let tries = 0; tries < 12 && this.#resting.length > 0; tries++) {
      const order = this.#resting[this.#random.integer(0, this.#resting.length - 1)] as VenueOrder
      if (fits(order)) return order
    }
    return null
  }
  #forget(order: VenueOrder): void {
    const at = this.#place.get(order)
    if (at === undefined) return
    const last = this.#resting.pop() as VenueOrder
    if (last !== order) {
      this.#resting[at] = last
      this.#place.set(last, at)
    }
    this.#place.delete(order)
  }

  // ---------------------------------------------------------------------------------------------- what the exchange tells

  fill(maker: VenueOrder | null, taker: VenueOrder | null, price: Price, quantity: Quantity): void {
    if (maker !== null && maker.remaining === 0) this.#forget(maker)
    this.trades++
    this.tradedQuantity += quantity
    this.#row(Kind.TRADE, Flag.LAST, taker?.side ?? BID, price, quantity)
  }
  canceled(order: VenueOrder): void {
    this.#forget(order)
  }
  level(side: SideCode, price: Price, delta: number): void {
    if (this.#silent) return
    this.deltas++
    let flags: number = Flag.LAST
    if (delta < 0) {
      flags = withLabel(flags, this.#label)
      if (this.#label === Label.TRADE) flags |= Flag.EXECUTION
      const share = this.labels.get(this.#label) ?? { count: 0, quantity: 0 }
      share.count++
      share.quantity -= delta
      this.labels.set(this.#label, share)
    }
    this.#row(Kind.DELTA, flags, side, price, delta)
  }
}
