/** One order as the exchange keeps it. Owns its counters; hides its place in the queue (`venue`). Invariant: filled + remaining never exceeds what was asked for. */
import type { FeeAccount } from '../../engine/fees.ts'
import type { SelfTradePrevention, TimeInForce, VenueOrder } from '../../engine/matching.ts'
import type { SideCode } from '../../engine/units.ts'
import type { ListedMarket } from './market.ts'

export type OrderState = 'resting' | 'canceled' | 'executed'
/** api.md §5.6 */
export type UpdateReason =
  | 'Decrease'
  | 'Amend'
  | 'MarginCancel'
  | 'SelfTradeCancel'
  | 'ExpiryCancel'
  | 'CloseCancel'
  | 'HaltCancel'
  | 'Trade'
  | 'ReduceOnlyCancel'

export class OrderRecord {
  readonly id: string
  /** Counts up over the whole exchange: the order of lists and their cursor. */
  readonly number: number
  readonly user: string
  readonly subaccount: number
  readonly market: ListedMarket
  readonly venue: VenueOrder
  readonly tif: TimeInForce
  readonly prevention: SelfTradePrevention
  readonly postOnly: boolean
  readonly cancelOnPause: boolean
  readonly group: string | null
  readonly created: number
  clientId: string
  /** As it was placed or last amended. */
  initial: number
  /** The same after decreases: filled this far, it is executed. */
  asked: number
  state: OrderState = 'resting'
  updated: number
  expires: number | null
  takerCost = 0
  makerCost = 0
  takerFees = 0
  makerFees = 0
  readonly fees: FeeAccount = { gathered: 0 }

  constructor(fields: {
    id: string
    number: number
    user: string
    subaccount: number
    market: ListedMarket
    venue: VenueOrder
    tif: TimeInForce
    prevention: SelfTradePrevention
    postOnly: boolean
    cancelOnPause: boolean
    group: string | null
    clientId: string
    expires: number | null
    now: number
  }) {
    this.id = fields.id
    this.number = fields.number
    this.user = fields.user
    this.subaccount = fields.subaccount
    this.market = fields.market
    this.venue = fields.venue
    this.tif = fields.tif
    this.prevention = fields.prevention
    this.postOnly = fields.postOnly
    this.cancelOnPause = fields.cancelOnPause
    this.group = fields.group
    this.clientId = fields.clientId
    this.expires = fields.expires
    this.created = fields.now
    this.updated = fields.now
    this.initial = fields.venue.remaining
    this.asked = this.initial
  }

  get side(): SideCode {
    return this.venue.side
  }
  get filled(): number {
    return this.venue.filled
  }
  get remaining(): number {
    return this.state === 'resting' ? this.venue.remaining : 0
  }
  /** A copy for readers that lag. */
  row(): OrderRow {
    return {
      id: this.id,
      number: this.number,
      user: this.user,
      subaccount: this.subaccount,
      ticker: this.market.ticker,
      event: this.market.event.ticker,
      exchangeIndex: this.market.exchangeIndex,
      side: this.side,
      price: this.venue.price,
      clientId: this.clientId,
      state: this.state,
      initial: this.initial,
      filled: this.filled,
      remaining: this.remaining,
      takerCost: this.takerCost,
      makerCost: this.makerCost,
      takerFees: this.takerFees,
      makerFees: this.makerFees,
      created: this.created,
      updated: this.updated,
      expires: this.expires,
      prevention: this.prevention,
      group: this.group,
      cancelOnPause: this.cancelOnPause,
    }
  }
}

export type OrderRow = {
  readonly id: string
  readonly number: number
  readonly user: string
  readonly subaccount: number
  readonly ticker: string
  readonly event: string
  readonly exchangeIndex: number
  readonly side: SideCode
  readonly price: number
  readonly clientId: string
  readonly state: OrderState
  readonly initial: number
  readonly filled: number
  readonly remaining: number
  readonly takerCost: number
  readonly makerCost: number
  readonly takerFees: number
  readonly makerFees: number
  readonly created: number
  readonly updated: number
  readonly expires: number | null
  readonly prevention: SelfTradePrevention
  readonly group: string | null
  readonly cancelOnPause: boolean
}

export type FillRow = {
  readonly number: number
  readonly tradeId: string
  readonly orderId: string
  readonly clientId: string
  readonly ticker: string
  readonly exchangeIndex: number
  readonly subaccount: number
  readonly side: SideCode
  readonly price: number
  readonly quantity: number
  readonly taker: boolean
  readonly fee: number
  readonly time: number
  /** Net position after it. */
  readonly position: number
}

export type TradeRow = {
  readonly number: number
  readonly id: string
  readonly ticker: string
  readonly price: number
  readonly quantity: number
  /** The taker's side. */
  readonly side: SideCode
  readonly time: number
}
