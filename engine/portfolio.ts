/**
 * The portfolio: cash, collateral, positions, and what working orders could still do to them. Owns every number of money
 * in a session; hides how sums are kept up to date. Invariants, asserted at every fill and settlement:
 *
 * * cash = start + Σ cash flows − Σ fees − collateral locked, exactly;
 * * a market's worst loss is exact for a binary contract: the worse of "YES pays" and "NO pays", each with every working order
 *   filled that hurts in it.
 *
 * A contract bought at p costs p. A contract sold that was not held is a NO contract: it costs 1 − p, which is the same as
 * receiving p and locking one dollar until it is bought back or the market pays.
 */
import { assert } from './assert.ts'
import { feeBound } from './fees.ts'
import type { Market, MarketEvent } from './market.ts'
import type { Order } from './order.ts'
import { BID, PRICE_ONE, type Money, type Position, type SideCode } from './units.ts'

/** What stood behind the value of an open position. */
export type MarkBasis = 'none' | 'settlement' | 'touch' | 'last touch before the close' | 'last trade' | 'no quote: worst case'

/** What we hold and have working in one market. Money in millionths of a dollar. */
export class Holding {
  position = 0 as Position
  /** Signed: negative for buys. Without fees. */
  cashFlow = 0
  fees = 0
  /** Contracts that changed hands. */
  traded = 0
  fills = 0
  orders = 0
  /** Working, on its way or unknown, at the worse of old and new while amending. */
  bidQuantity = 0
  bidNotional = 0
  askQuantity = 0
  askNotional = 0
  feeOpen = 0
  /** Cash that working orders may still need. */
  reserved = 0
  /** Value of the position at liquidation and (twice) at the mid, collateral of a short included. */
  liquidation = 0
  middle = 0
  markBasis: MarkBasis = 'none'
  paidOut = 0
  /** Best indices under which the position was last marked whole at the touch; −1: walk again. */
  markBid = -1
  markAsk = -1
  markPosition = 0
  /** [owner] */
  readonly positions: number[] = []
  /** What was paid for, of each owner: whoever closed it before is heard of later. */
  readonly paidFor: number[] = []
}

/** What one strategy did, over all markets. Money and Quantity. */
export type Ledger = { cashFlow: number; fees: number; fills: number; traded: number }

export class Portfolio {
  readonly start: Money
  /** [owner] */
  readonly ledgers: Ledger[]
  cash: number
  /** One dollar for every contract short. */
  locked = 0
  fees = 0
  reserved = 0
  /** Σ over markets of the value of positions at liquidation / mid. */
  liquidation = 0
  middle = 0
  /** Σ of worst losses over events, P&L already made included (Money, positive is a loss). */
  loss = 0
  equityPeak: number
  drawdownMax = 0
  /** Extremes of equity since the last sample. */
  low: number
  high: number

  constructor(cash: Money, owners = 1) {
    this.start = cash
    this.ledgers = Array.from({ length: owners }, () => ({ cashFlow: 0, fees: 0, fills: 0, traded: 0 }))
    this.cash = cash
    this.equityPeak = cash
    this.low = cash
    this.high = cash
  }

  /** Cash and locked collateral, with positions marked at the prices they could be closed at. */
  get equity(): number {
    return this.cash + this.liquidation
  }
  get equityMid(): number {
    return this.cash + this.middle
  }
  get available(): number {
    return this.cash - this.reserved
  }

  holdingOf(market: Market): Holding {
    let holding = market.holding
    if (holding === null) {
      holding = new Holding()
      market.holding = holding
    }
    return holding
  }

  /** What a working order may still do, replacing what was counted for it. `quantity` 0 when it is over; `notional` where it is not their product; `priceNext` where it is being amended. */
  expose(
    order: Order,
    price: number,
    quantity: number,
    notional = order.side === BID ? price * quantity : (PRICE_ONE - price) * quantity,
    priceNext = price,
  ): void {
    const h = this.holdingOf(order.market)
    const fee = quantity === 0 ? 0 : worseFee(order.market, price, priceNext, quantity)
    if (order.side === BID) {
      h.bidQuantity += quantity - order.riskQuantity
      h.bidNotional += notional - order.riskNotional
    } else {
      h.askQuantity += quantity - order.riskQuantity
      h.askNotional += notional - order.riskNotional
    }
    h.feeOpen += fee - order.riskFee
    order.riskQuantity = quantity
    order.riskNotional = notional
    order.riskFee = fee
    this.#refresh(order.market, h)
  }

  /** A fill of ours. `fee` is Money. Returns the signed change of the position. */
  fill(market: Market, owner: number, side: SideCode, price: number, quantity: number, fee: number): void {
    const h = this.holdingOf(market)
    const change = side === BID ? quantity : -quantity
    const flow = -change * price
    const lockedBefore = h.position < 0 ? -h.position * PRICE_ONE : 0
    h.position = (h.position + change) as Position
    const lockedAfter = h.position < 0 ? -h.position * PRICE_ONE : 0
    h.positions[owner] = (h.positions[owner] ?? 0) + change
    h.cashFlow += flow
    h.fees += fee
    h.traded += quantity
    h.fills++
    const ledger = this.ledgers[owner]
    assert(ledger !== undefined, 'a fill belongs to a strategy of the session')
    ledger.cashFlow += flow
    ledger.fees += fee
    ledger.fills++
    ledger.traded += quantity
    this.fees += fee
    this.locked += lockedAfter - lockedBefore
    this.cash += flow - fee - (lockedAfter - lockedBefore)
    assert(Number.isSafeInteger(this.cash) && Number.isSafeInteger(h.cashFlow), 'money stays a safe integer')
    this.#refresh(market, h)
    this.mark(market)
  }

  /** The result pays: the position and its collateral become cash. Returns the money paid. */
  pay(market: Market): number {
    const h = market.holding
    assert(market.settlementValue >= 0, 'only a determined market pays')
    if (h === null) return 0
    const locked = h.position < 0 ? -h.position * PRICE_ONE : 0
    const paid = h.position * market.settlementValue + locked
    assert(paid >= 0, 'a settlement never takes money')
    this.cash += paid
    this.locked -= locked
    h.cashFlow += h.position * market.settlementValue
    h.paidOut += paid
    h.position = 0 as Position
    for (let owner = 0; owner < h.positions.length; owner++) {
      h.paidFor[owner] = (h.paidFor[owner] ?? 0) + (h.positions[owner] ?? 0)
      const ledger = this.ledgers[owner]
      if (ledger !== undefined) ledger.cashFlow += (h.positions[owner] ?? 0) * market.settlementValue
      h.positions[owner] = 0
    }
    this.mark(market)
    h.markBasis = 'settlement'
    this.#refresh(market, h)
    return paid
  }

  /** Net P&L of a market with its position at liquidation, fees included. */
  profit(market: Market): number {
    const h = market.holding
    if (h === null) return 0
    const locked = h.position < 0 ? -h.position * PRICE_ONE : 0
    return h.cashFlow - h.fees + h.liquidation - locked
  }

  /** Marks the position of a market: at its settlement value once determined, else where it could be closed (walking the depth). */
  mark(market: Market): void {
    const h = market.holding
    if (h === null) return
    let liquidation = 0
    let middle = 0
    const position = h.position
    if (position === 0) {
      h.markBasis = 'none'
      h.markPosition = 0
    } else if (market.settlementValue >= 0) {
      liquidation = position * market.settlementValue + (position < 0 ? -position * PRICE_ONE : 0)
      middle = liquidation
      h.markBasis = 'settlement'
    } else if (market.depth === 'prints') {
      // No book is known: the last trade is all there is.
      h.markBasis = 'last trade'
      liquidation = position > 0 ? position * market.lastTrade : -position * (PRICE_ONE - market.lastTrade)
      middle = liquidation
    } else if (market.status !== 'active' && market.status !== 'inactive') {
      // Closed and not determined: the book is wiped, so what stood before the close is the last that is known.
      h.markBasis = 'last touch before the close'
      h.markPosition = 0
      liquidation = position > 0 ? position * market.closeBid : -position * (PRICE_ONE - market.closeAsk)
      const sum = market.closeBid + market.closeAsk
      middle = Math.floor((position > 0 ? position * sum : -position * (2 * PRICE_ONE - sum)) / 2)
    } else {
      const book = market.book
      // At unchanged best prices a position that the touch holds whole is worth what it was.
      const touch =
        position > 0
          ? book.bestBid < 0
            ? 0
            : (book.bids[book.bestBid] as number)
          : book.bestAsk >= book.asks.length
            ? 0
            : (book.asks[book.bestAsk] as number)
      const whole = touch >= Math.abs(position)
      if (whole && h.markBid === book.bestBid && h.markAsk === book.bestAsk && h.markPosition === position) return
      h.markBid = whole ? book.bestBid : -1
      h.markAsk = book.bestAsk
      h.markPosition = position
      h.markBasis = 'touch'
      let left = Math.abs(position)
      if (position > 0) {
        for (let i = book.bestBid; i >= 0 && left > 0; i--) {
          const q = book.bids[i] as number
          if (q === 0) continue
          const take = q < left ? q : left
          liquidation += take * (book.grid.prices[i] as number)
          left -= take
        }
      } else {
        for (let i = book.bestAsk; i < book.asks.length && left > 0; i++) {
          const q = book.asks[i] as number
          if (q === 0) continue
          const take = q < left ? q : left
          liquidation += take * (PRICE_ONE - (book.grid.prices[i] as number))
          left -= take
        }
      }
      // What no depth would take is worth nothing: a bid of 0 for YES, an ask of one dollar for the short.
      if (left > 0) h.markBasis = 'no quote: worst case'
      if (book.bestBid >= 0 && book.bestAsk < book.grid.size) {
        const sum = (book.grid.prices[book.bestBid] as number) + (book.grid.prices[book.bestAsk] as number)
        middle = Math.floor((position > 0 ? position * sum : -position * (2 * PRICE_ONE - sum)) / 2)
      } else middle = liquidation
    }
    this.liquidation += liquidation - h.liquidation
    this.middle += middle - h.middle
    h.liquidation = liquidation
    h.middle = middle
    const equity = this.cash + this.liquidation
    if (equity > this.equityPeak) this.equityPeak = equity
    else if (this.equityPeak - equity > this.drawdownMax) this.drawdownMax = this.equityPeak - equity
    if (equity < this.low) this.low = equity
    if (equity > this.high) this.high = equity
  }

  /** Loss of a market if NO pays, everything that hurts filled. */
  lossIfNo(h: Holding): number {
    return -(h.cashFlow - h.fees) + h.bidNotional + h.feeOpen
  }
  /** Loss of a market if YES pays. */
  lossIfYes(h: Holding): number {
    return -(h.cashFlow - h.fees + h.position * PRICE_ONE) + h.askNotional + h.feeOpen
  }
  marketLoss(market: Market): number {
    const h = market.holding
    if (h === null) return 0
    if (market.settlementValue >= 0) return this.#lossSettled(market, h)
    const no = this.lossIfNo(h)
    const yes = this.lossIfYes(h)
    return no > yes ? no : yes
  }

  /**
   * Worst loss of an event: in an exclusive one over "none wins" and each market winning; else each market at its worst. With `changed`,
   * that market counts with the losses `no` and `yes` instead of its own.
   */
  eventLoss(event: MarketEvent, changed: Market | null = null, no = 0, yes = 0): number {
    let none = -event.realized
    let worst = -event.realized
    let swing = 0
    for (const market of event.markets) {
      const h = market.holding
      let lossNo: number
      let lossYes: number
      if (market === changed) {
        lossNo = no
        lossYes = yes
      } else if (h === null) continue
      else if (market.settlementValue >= 0) {
        lossNo = this.#lossSettled(market, h)
        lossYes = lossNo
      } else {
        lossNo = this.lossIfNo(h)
        lossYes = this.lossIfYes(h)
      }
      none += lossNo
      worst += lossNo > lossYes ? lossNo : lossYes
      if (lossYes - lossNo > swing) swing = lossYes - lossNo
    }
    return event.exclusive ? none + swing : worst
  }

  /** A market has paid and leaves: its P&L stays in the event's and session's sums. */
  retire(market: Market): void {
    const h = market.holding
    if (h === null) return
    assert(h.position === 0 && h.bidQuantity === 0 && h.askQuantity === 0, 'a market retires flat and without orders')
    market.event.realized += h.cashFlow - h.fees
    market.holding = null
  }

  #lossSettled(market: Market, h: Holding): number {
    return -(h.cashFlow - h.fees + h.position * market.settlementValue) + h.feeOpen
  }

  #refresh(market: Market, h: Holding): void {
    const reserved = cashNeeded(h.position, h.bidQuantity, h.bidNotional, h.askQuantity, h.askNotional) + h.feeOpen
    this.reserved += reserved - h.reserved
    h.reserved = reserved
    const loss = this.eventLoss(market.event)
    this.loss += loss - market.event.loss
    market.event.loss = loss
  }

  /** Recounts the loss of an event after a result. */
  recount(market: Market): void {
    const h = market.holding
    if (h !== null) this.#refresh(market, h)
  }
}

/** Cash that working orders may still need, fees apart: what closes a position needs none, and both sides may fill. */
export function cashNeeded(position: number, bidQuantity: number, bidNotional: number, askQuantity: number, askNotional: number): number {
  const short = position < 0 ? -position : 0
  const long = position > 0 ? position : 0
  const bids = bidNotional - Math.min(bidQuantity, short) * PRICE_ONE
  const asks = askNotional - Math.min(askQuantity, long) * PRICE_ONE
  return (bids > 0 ? bids : 0) + (asks > 0 ? asks : 0)
}

/** The larger fee bound of two prices at which an order may trade. */
export function worseFee(market: Market, price: number, other: number, quantity: number): number {
  const fee = feeBound(market.fee, price, quantity, market.venueTime)
  return other === price ? fee : Math.max(fee, feeBound(market.fee, other, quantity, market.venueTime))
}
