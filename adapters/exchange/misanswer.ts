/**
 * Answers that lie or say nothing, as the exchange's own defects and gateways before it made them: another order's description (changelog 2026-05-21), a 2xx without
 * an order, a bare status. Owns their bodies; hides nothing. Invariant: what the request did is never touched, only what is said of it.
 */
import type { Account } from './account.ts'
import type { ApiAnswer } from './api.ts'
import type { OrderRecord } from './order.ts'
import { refuse, tooMany } from './refusal.ts'
import * as text from './text.ts'

type Json = Readonly<Record<string, unknown>>

const CODES: Readonly<Record<number, string>> = {
  400: 'bad_request',
  401: 'authentication_error',
  403: 'forbidden',
  404: 'not_found',
  409: 'trading_is_paused',
  410: 'deprecated_v1_order_endpoint',
  502: 'bad_gateway',
  503: 'service_unavailable',
  504: 'gateway_timeout',
}

/** The body that fits a status: the code that the exchange would give most likely, or the one that was asked for. */
export function statusBody(status: number, operation: string, code?: string): unknown {
  if (status === 429) return tooMany().body
  const likely = status === 404 && operation === 'CreateOrderV2' ? 'market_not_found' : CODES[status]
  return refuse(status, code ?? likely ?? (status < 500 ? 'bad_request' : 'internal_server_error')).body
}

/** The same answer with an order of the account's that it is not about. Refusals, and answers about no order, stay as they are. */
export function aboutAnother(answer: ApiAnswer, account: Account | null, roll: (n: number) => number, madeUp: string): ApiAnswer {
  const body = answer.body as Json | undefined
  if (answer.status >= 300 || typeof body !== 'object') return answer
  const items = body['orders']
  if (!Array.isArray(items))
    return typeof body['order_id'] === 'string' ? { ...answer, body: swapped(body, account, roll, madeUp) } : answer
  const at = items.length === 0 ? 0 : roll(items.length)
  return { ...answer, body: { ...body, orders: items.map((item: Json, n) => (n === at ? swapped(item, account, roll, madeUp) : item)) } }
}
function swapped(body: Json, account: Account | null, roll: (n: number) => number, madeUp: string): Json {
  const others = [...(account?.orders.values() ?? [])].filter((o) => o.id !== body['order_id'])
  // An account of one order hears of somebody else's.
  const other: OrderRecord | undefined = others[others.length === 0 ? 0 : roll(others.length)]
  const { client_order_id: _own, ...rest } = body
  const count = (name: string, of: (o: OrderRecord) => number): Json =>
    name in body && other !== undefined ? { [name]: text.count(of(other)) } : {}
  return {
    ...rest,
    order_id: other?.id ?? madeUp,
    ...(other === undefined || other.clientId === '' ? {} : { client_order_id: other.clientId }),
    ...count('remaining_count', (o) => o.remaining),
    ...count('reduced_by', (o) => o.initial - o.filled),
  }
}
