/**
 * The account as it stands before a session is armed. Owns what arming wants to know of it, in engine units; hides the interface of the exchange. Invariants: only reads; a list that did not come whole is an
 * error, for half of a list of open positions would look like safety; what is not known of a key is taken for the worst.
 */
import type { Kalshi } from '../../adapters/kalshi/index.ts'
import { readAccount as readFacts, type AccountFacts } from '../../adapters/kalshi/live.ts'
import { KalshiError } from '../../adapters/kalshi/index.ts'
import { parseDecimal, parsePrice, parseQuantity, PRICE_ONE } from '../../engine/units.ts'
import { livePlaces } from './place.ts'

export type OpenPosition = {
  readonly ticker: string
  /** Signed, of YES. */
  readonly position: number
  /** Money that can still be lost in it. */
  readonly exposure: number
}
export type OpenOrder = {
  readonly id: string
  readonly ticker: string
  readonly side: 'bid' | 'ask'
  readonly price: number
  readonly remaining: number
  readonly client: string | null
}
export type AccountView = {
  readonly tier: string | null
  /** What the key may do, what stands in the way, and what a reader must know. */
  readonly facts: AccountFacts
  /** Money of the subaccount. */
  readonly balance: number
  readonly positions: readonly OpenPosition[]
  readonly orders: readonly OpenOrder[]
}

export async function readAccount(kalshi: Kalshi, keyId: string, subaccount: number, tier: string | null): Promise<AccountView> {
  const { rest } = kalshi
  const facts = await readFacts(rest, { keyId, subaccount })
  const { balance_dollars: balance } = await rest.get('balance', { subaccount })
  const orders = await rest.list<Order>('orders', { status: 'resting', limit: 1000, subaccount })
  const positions = await rest.list<Position>('positions', { count_filter: 'position', limit: 1000, subaccount })
  for (const [name, list] of Object.entries({ orders, positions }))
    if (!list.complete) throw new KalshiError('UNREADABLE', `the list of open ${name} did not come whole (${list.why}): try again`)
  return {
    tier,
    facts,
    balance: read(String(balance), (t) => parseDecimal(t, 6), 'the balance'),
    orders: orders.items.map((o) => ({
      id: o.order_id,
      ticker: o.ticker,
      side: o.book_side,
      price: read(String(o.yes_price_dollars), parsePrice, `the price of order ${o.order_id}`),
      remaining: read(String(o.remaining_count_fp), parseQuantity, `what remains of order ${o.order_id}`),
      client: o.client_order_id ?? null,
    })),
    positions: positions.items
      .map((p) => ({
        ticker: p.ticker,
        position: read(String(p.position_fp), parseQuantity, `the position in ${p.ticker}`),
        exposure: read(String(p.market_exposure_dollars), (t) => parseDecimal(t, 6), `the exposure in ${p.ticker}`),
      }))
      .filter((p) => p.position !== 0),
  }
}
type Order = {
  readonly order_id: string
  readonly ticker: string
  readonly book_side: 'bid' | 'ask'
  readonly yes_price_dollars: string | number
  readonly remaining_count_fp: string | number
  readonly client_order_id?: string | null
}
type Position = { readonly ticker: string; readonly position_fp: string | number; readonly market_exposure_dollars: string | number }

/** Unknown is never zero. */
function read(text: string, parse: (text: string) => number, what: string): number {
  const value = parse(text)
  if (Number.isFinite(value)) return value
  throw new KalshiError('UNREADABLE', `${what} cannot be read ("${text.slice(0, 40)}"): the interface may have changed`)
}

/** Whose orders are open on the subaccount, a line each. */
export function openOrders(orders: readonly OpenOrder[], sessions: string): string[] {
  const owners = new Map<string, number>()
  if (orders.length === 0) return []
  const places = livePlaces(sessions)
  for (const { client } of orders) {
    const owner = places.find((p) => p.nonce !== null && client?.startsWith(`${p.nonce}-`) === true)?.dir ?? ''
    owners.set(owner, (owners.get(owner) ?? 0) + 1)
  }
  return [...owners].map(([owner, n]) => {
    const what = `${n} ${n === 1 ? 'order' : 'orders'} of ${owner === '' ? 'somebody else' : owner} ${n === 1 ? 'is' : 'are'} open on the subaccount`
    return owner === '' ? what : `${what}: a second session on it would take them for somebody else's`
  })
}

/** Money that resting orders can still cost. */
export function atRest(orders: readonly OpenOrder[]): number {
  return orders.reduce((a, o) => a + (o.side === 'bid' ? o.price : PRICE_ONE - o.price) * o.remaining, 0)
}
