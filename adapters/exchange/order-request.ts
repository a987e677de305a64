/** What is asked of the exchange about orders, decoded, and what came of it at once. Owns the types between the wire and the trading. */
import type { SelfTradePrevention, TimeInForce } from '../../engine/matching.ts'
import type { SideCode } from '../../engine/units.ts'
import type { OrderRecord } from './order.ts'

export type CreateOrder = {
  readonly ticker: string
  readonly clientId: string | null
  readonly side: SideCode
  readonly quantity: number
  readonly price: number
  readonly tif: TimeInForce
  readonly prevention: SelfTradePrevention
  readonly postOnly: boolean
  readonly reduceOnly: boolean
  readonly cancelOnPause: boolean
  /** µs */
  readonly expires: number | null
  readonly subaccount: number
  readonly group: string | null
  /** −1 or null: by its ticker. */
  readonly exchangeIndex: number | null
}
export type AmendOrder = {
  readonly ticker: string
  readonly side: SideCode
  readonly price: number
  /** Filled plus what shall rest. */
  readonly total: number
  readonly clientId: string | null
  readonly clientIdNew: string | null
  /** Null: keep; 0: clear. µs. */
  readonly expires: number | null
}
/** What an operation traded at once. */
export type Traded = { readonly order: OrderRecord; readonly quantity: number; readonly cost: number; readonly fees: number }
