/**
 * An order's life: one table. What is not in it cannot happen, and if it happens the session stops. Owns the states, the
 * events and the Order object that the order manager keeps; hides nothing. Invariant: a state changes through `nextState` only.
 */
import { AssertionError } from './assert.ts'
import type { BasketRun } from './basket.ts'
import type { Market } from './market.ts'
import type { SelfTradePrevention, TimeInForce } from './matching.ts'
import type { Wish } from './wish.ts'
import type { Price, Quantity, SideCode, Timestamp } from './units.ts'

export type OrderState = 'sent' | 'working' | 'amending' | 'canceling' | 'unknown' | 'absent' | 'rejected' | 'canceled' | 'filled'
export type OrderEvent =
  | 'accepted'
  | 'rejected'
  | 'fill'
  | 'fill-last'
  | 'canceled'
  | 'cancel-rejected'
  | 'no-answer'
  | 'absent-proved'
  | 'amend-sent'
  | 'cancel-sent'

/** `=`: unchanged. `book`: the fill is booked, counted and shown although the order had ended. `adopt`: booked, and the market is halted. */
type Step = OrderState | '=' | 'book' | 'adopt'

const TABLE: Readonly<Record<OrderState, Partial<Record<OrderEvent, Step>>>> = {
  sent: { accepted: 'working', rejected: 'rejected', fill: 'working', 'fill-last': 'filled', canceled: 'canceled', 'no-answer': 'unknown' },
  working: {
    accepted: 'working',
    fill: 'working',
    'fill-last': 'filled',
    canceled: 'canceled',
    'no-answer': 'unknown',
    'amend-sent': 'amending',
    'cancel-sent': 'canceling',
  },
  amending: {
    accepted: 'working',
    rejected: 'working',
    fill: 'amending',
    'fill-last': 'filled',
    canceled: 'canceled',
    'no-answer': 'unknown',
  },
  canceling: {
    accepted: 'canceling',
    rejected: 'rejected',
    fill: 'canceling',
    'fill-last': 'filled',
    canceled: 'canceled',
    'cancel-rejected': 'working',
    'no-answer': 'unknown',
  },
  // A fill says that it exists, and nothing of what became of the last command.
  unknown: {
    accepted: 'working',
    rejected: 'rejected',
    fill: 'unknown',
    'fill-last': 'filled',
    canceled: 'canceled',
    'no-answer': 'unknown',
    'absent-proved': 'absent',
    'cancel-rejected': 'unknown',
  },
  absent: { accepted: 'adopt', fill: 'adopt', 'fill-last': 'adopt', canceled: '=', 'cancel-rejected': '=' },
  rejected: { accepted: 'adopt', fill: 'adopt', 'fill-last': 'adopt', 'cancel-rejected': '=' },
  canceled: { fill: 'book', 'fill-last': 'book', canceled: '=', 'cancel-rejected': '=', rejected: '=' },
  filled: { accepted: '=', canceled: '=', 'cancel-rejected': '=', rejected: '=' },
}

/** The state after an event. Throws AssertionError for what cannot happen. */
export function nextState(state: OrderState, event: OrderEvent): Step {
  const step = TABLE[state][event]
  if (step === undefined) throw new AssertionError(`Invariant: an order that is ${state} cannot see ${event}`)
  return step
}

/** Every (state, event) with its step, for tests and documentation. */
export const ORDER_LIFE: Readonly<Record<OrderState, Readonly<Partial<Record<OrderEvent, Step>>>>> = TABLE

/** An order as we know it. What the venue knows is the venue's. */
export class Order {
  /** Counts from 0 in the session. */
  readonly id: number
  readonly market: Market
  readonly owner: number
  readonly side: SideCode
  readonly tif: TimeInForce
  readonly wish: Wish
  readonly expires: Timestamp | null
  readonly postOnly: boolean
  /** Only ever lowers the position; immediate orders only (api.md §4.2). */
  readonly reduceOnly: boolean
  readonly prevention: SelfTradePrevention
  price: Price
  /** Wanted in all: filled + remaining. */
  quantity: Quantity
  filled = 0
  state: OrderState = 'sent'
  /** While amending: what it becomes. Limits count the worse of old and new. */
  priceNext: Price | null = null
  quantityNext: Quantity | null = null
  why = -1
  value = 0
  /** The basket that it is part of. */
  basket: BasketRun | null = null
  /** It left the count of open orders: once, whatever news comes later. */
  left = false
  // Its contribution to the limits of its market, kept by the portfolio.
  riskQuantity = 0
  riskNotional = 0
  riskFee = 0

  constructor(
    id: number,
    market: Market,
    owner: number,
    side: SideCode,
    price: Price,
    quantity: Quantity,
    tif: TimeInForce,
    postOnly: boolean,
    expires: Timestamp | null,
    wish: Wish,
    { reduceOnly = false, prevention = 'taker' }: { readonly reduceOnly?: boolean; readonly prevention?: SelfTradePrevention } = {},
  ) {
    this.id = id
    this.market = market
    this.owner = owner
    this.side = side
    this.price = price
    this.quantity = quantity
    this.tif = tif
    this.postOnly = postOnly
    this.expires = expires
    this.wish = wish
    this.reduceOnly = reduceOnly
    this.prevention = prevention
  }

  get remaining(): Quantity {
    return (this.quantity - this.filled) as Quantity
  }
  get over(): boolean {
    return this.state === 'filled' || this.state === 'canceled' || this.state === 'rejected' || this.state === 'absent'
  }
}

/** What leaves the engine. `price` and `quantity` (total, filled part included) are the new ones of an amend; `quantity` the remaining of a decrease. */
export type Command = {
  readonly type: 'submit' | 'cancel' | 'amend' | 'decrease'
  readonly order: Order
  readonly price: Price
  readonly quantity: Quantity
}

/** What comes back. `no-answer`: the outcome of the last command is not known; `absent`: it is proved that the order never came to be. */
export type Answer =
  | { readonly type: 'accepted' | 'amended' | 'decreased'; readonly order: Order; readonly timeVenue: number; readonly remaining: number }
  | {
      readonly type: 'rejected' | 'cancel-rejected' | 'amend-rejected'
      readonly order: Order
      readonly timeVenue: number
      readonly reason: string
    }
  | { readonly type: 'canceled' | 'no-answer'; readonly order: Order; readonly timeVenue: number; readonly reason: string }
  | { readonly type: 'absent'; readonly order: Order; readonly timeVenue: number }
  | {
      readonly type: 'fill'
      readonly order: Order
      readonly timeVenue: number
      readonly price: Price
      readonly quantity: Quantity
      /** Money. */
      readonly fee: number
      readonly maker: boolean
    }
