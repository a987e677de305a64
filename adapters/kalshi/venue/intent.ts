/**
 * Intents: what we are about to ask of the exchange, as it is kept on disk before the first byte leaves, and the request that it becomes. Owns client order ids and the paths and bodies of every
 * write; hides HTTP. Invariants: plain JSON; one client order id per order, for ever; no path with an empty part (api.md §8.3: it would cancel everything).
 */
import { formatPrice, formatQuantity } from '../../../engine/units.ts'
import { REST_ROOT } from '../environment.ts'

/** Shared by all. `command`: the session's number of the engine's command that it carries out (from 0), null for what the venue does by itself. `attempt`: from 1; only cancels and decreases are repeated. */
type Common = { readonly command: number | null; readonly attempt: number }
/** Where an order is: `shard` null where the market's is not known (it is routed by its ticker). */
type Place = { readonly ticker: string; readonly shard: number | null; readonly subaccount: number }

export type CreateIntent = Common &
  Place & {
    readonly kind: 'create'
    /** The engine's number. */
    readonly order: number
    readonly client: string
    readonly side: 'bid' | 'ask'
    /** Price units, quantity units. */
    readonly price: number
    readonly quantity: number
    readonly tif: 'gtc' | 'ioc' | 'fok'
    /** µs, whole seconds; null for immediate orders alone. */
    readonly expires: number | null
    readonly prevention: 'taker' | 'maker'
    readonly postOnly: boolean
    readonly reduceOnly: boolean
    readonly group: string | null
  }
export type AmendIntent = Common &
  Place & {
    readonly kind: 'amend'
    readonly order: number
    readonly id: string
    readonly side: 'bid' | 'ask'
    readonly price: number
    /** In all: filled and what shall rest. */
    readonly quantity: number
  }
export type DecreaseIntent = Common &
  Place & {
    readonly kind: 'decrease'
    readonly order: number
    readonly id: string
    /** What shall rest: said absolutely, so that saying it twice does no harm. */
    readonly quantity: number
  }
export type CancelIntent = Common &
  Place & {
    readonly kind: 'cancel'
    /** Null: an order that is not the session's. */
    readonly order: number | null
    readonly id: string
  }
export type CancelBatchIntent = Common & { readonly kind: 'cancel-batch'; readonly orders: readonly (Place & { readonly id: string })[] }
export type CancelAllIntent = Common & { readonly kind: 'cancel-all'; readonly subaccount: number }
type GroupPlace = { readonly shard: number | null; readonly subaccount: number }
export type GroupIntent =
  /** `limit`: contracts that may be filled in 15 s, quantity units. */
  | (Common & GroupPlace & { readonly kind: 'group-create'; readonly limit: number })
  | (Common & GroupPlace & { readonly kind: 'group-limit'; readonly group: string; readonly limit: number })
  | (Common & GroupPlace & { readonly kind: 'group-reset' | 'group-trigger' | 'group-delete'; readonly group: string })
export type Intent = CreateIntent | AmendIntent | DecreaseIntent | CancelIntent | CancelBatchIntent | CancelAllIntent | GroupIntent
/** Of one order of the session. */
export type OrderIntent = CreateIntent | AmendIntent | DecreaseIntent | (CancelIntent & { readonly order: number })

/** Whether it can only take away risk: such writes pass the gate whatever happened, except when another process may be the master. */
export function isReducing(intent: Intent): boolean {
  return REDUCING.has(intent.kind)
}
/** Whether it makes the exchange's own brake ready, and trades nothing. */
export function isBrake(intent: Intent): boolean {
  return intent.kind === 'group-create' || intent.kind === 'group-limit' || intent.kind === 'group-reset'
}
const REDUCING: ReadonlySet<Intent['kind']> = new Set(['cancel', 'cancel-batch', 'cancel-all', 'group-trigger', 'group-delete'])
/** Of the session's orders, and with an order's number. */
export function isOfOrder(intent: Intent): intent is OrderIntent {
  return 'order' in intent && intent.order !== null
}

const CLIENT = /^([A-Za-z0-9]{1,20})-(\d{1,6})-(\d{1,8})$/
/** `nonce`: of the session, letters and digits, ≤ 20. `generation`: of the process in the session. */
export function clientId(nonce: string, generation: number, order: number): string {
  const id = `${nonce}-${generation}-${order}`
  if (!CLIENT.test(id)) throw new Error(`"${id}" is no client order id: the nonce has 1 to 20 letters and digits`)
  return id
}
/** What a client order id says, or null when it is not of our form. */
export function readClientId(id: string): { readonly nonce: string; readonly generation: number; readonly order: number } | null {
  const parts = CLIENT.exec(id)
  return parts === null ? null : { nonce: parts[1] as string, generation: Number(parts[2]), order: Number(parts[3]) }
}
/** Whose orders close what a session holds, `flatten` after `flatten`: they are told from everybody else's when the session goes on. */
export function flattenNonce(session: string, n: number): string {
  return `${session.replace(/[^A-Za-z0-9]/g, '').slice(0, 14)}F${n}`
}
/** Whether an order closed what the session of that nonce held. */
export function isOfFlatten(client: string | null, session: string): boolean {
  const said = client === null ? null : readClientId(client)
  if (said === null) return false
  const n = /F(\d{1,5})$/.exec(said.nonce)?.[1]
  return n !== undefined && said.nonce === flattenNonce(session, Number(n))
}

export type WriteRequest = {
  readonly method: 'POST' | 'PUT' | 'DELETE'
  /** Below the root, without query. */
  readonly path: string
  readonly query: string
  readonly body: string | null
  /** How many items a batch bills. */
  readonly items: number
  /** The bucket that pays: null is each. */
  readonly shard: number | null
}

export const ORDERS_PATH = '/portfolio/events/orders'
/** What cancels cost as it is published, for whoever has no time to ask (api.md §2.4): one order, each of a batch, all. */
export const CANCEL_COSTS = ['/:order_id', '/batched', ''].map((end) => ({
  method: 'DELETE',
  path: `${REST_ROOT}${ORDERS_PATH}${end}`,
  cost: 2,
}))
const GROUPS_PATH = '/portfolio/order_groups'
const TIFS = { gtc: 'good_till_canceled', ioc: 'immediate_or_cancel', fok: 'fill_or_kill' } as const

export function requestOf(intent: Intent): WriteRequest {
  switch (intent.kind) {
    case 'create':
      return post(ORDERS_PATH, '', intent.shard, {
        ticker: intent.ticker,
        client_order_id: intent.client,
        side: intent.side,
        count: formatQuantity(intent.quantity),
        price: formatPrice(intent.price),
        ...(intent.expires === null ? {} : { expiration_time: Math.floor(intent.expires / 1e6) }),
        time_in_force: TIFS[intent.tif],
        post_only: intent.postOnly,
        self_trade_prevention_type: intent.prevention === 'taker' ? 'taker_at_cross' : 'maker',
        cancel_order_on_pause: true,
        ...(intent.reduceOnly ? { reduce_only: true } : {}),
        subaccount: intent.subaccount,
        ...(intent.group === null ? {} : { order_group_id: intent.group }),
        ...(intent.shard === null ? {} : { exchange_index: intent.shard }),
      })
    case 'amend':
      return post(`${ORDERS_PATH}/${part(intent.id)}/amend`, `?subaccount=${intent.subaccount}`, intent.shard, {
        ticker: intent.ticker,
        side: intent.side,
        price: formatPrice(intent.price),
        count: formatQuantity(intent.quantity),
        ...(intent.shard === null ? {} : { exchange_index: intent.shard }),
      })
    case 'decrease':
      return post(`${ORDERS_PATH}/${part(intent.id)}/decrease`, `?subaccount=${intent.subaccount}`, intent.shard, {
        reduce_to: formatQuantity(intent.quantity),
        ...where(intent),
      })
    case 'cancel': {
      const at = Object.entries(where(intent)).map(([name, value]) => `&${name}=${encodeURIComponent(String(value))}`)
      return remove(`${ORDERS_PATH}/${part(intent.id)}`, `?subaccount=${intent.subaccount}${at.join('')}`, intent.shard)
    }
    case 'cancel-batch':
      return {
        ...remove(`${ORDERS_PATH}/batched`, '', 0),
        body: JSON.stringify({ orders: intent.orders.map((o) => ({ order_id: part(o.id), subaccount: o.subaccount, ...where(o) })) }),
        items: intent.orders.length,
      }
    case 'cancel-all':
      return remove(ORDERS_PATH, `?subaccount=${intent.subaccount}`, 0)
    case 'group-create':
      return post(`${GROUPS_PATH}/create`, '', 0, {
        contracts_limit_fp: formatQuantity(intent.limit),
        subaccount: intent.subaccount,
        ...(intent.shard === null ? {} : { exchange_index: intent.shard }),
      })
    case 'group-limit':
      return put(`${GROUPS_PATH}/${part(intent.group)}/limit`, intent, { contracts_limit_fp: formatQuantity(intent.limit) })
    case 'group-reset':
      return put(`${GROUPS_PATH}/${part(intent.group)}/reset`, intent, {})
    case 'group-trigger':
      return put(`${GROUPS_PATH}/${part(intent.group)}/trigger`, intent, {})
    case 'group-delete':
      return remove(`${GROUPS_PATH}/${part(intent.group)}`, groupQuery(intent), 0)
  }
}

function post(path: string, query: string, shard: number | null, body: unknown): WriteRequest {
  return { method: 'POST', path, query, body: JSON.stringify(body), items: 1, shard }
}
function put(path: string, place: GroupPlace, body: unknown): WriteRequest {
  return { method: 'PUT', path, query: groupQuery(place), body: JSON.stringify(body), items: 1, shard: 0 }
}
function remove(path: string, query: string, shard: number | null): WriteRequest {
  return { method: 'DELETE', path, query, body: null, items: 1, shard }
}
/** The shard where it is known; else the ticker routes (api.md §4.3: neither would mean shard 0). */
function where({ ticker, shard }: Place): { readonly exchange_index: number } | { readonly market_ticker: string } {
  return shard === null ? { market_ticker: ticker } : { exchange_index: shard }
}
function groupQuery({ shard, subaccount }: GroupPlace): string {
  return `?subaccount=${subaccount}${shard === null ? '' : `&exchange_index=${shard}`}`
}
/** Whether a number of the exchange can be named in a request. */
export function isNameable(id: string): boolean {
  return /^[\w-]{1,100}$/.test(id)
}
function part(id: string): string {
  if (!isNameable(id)) throw new Error('a number of the exchange is letters, digits, - and _: an order without one cannot be named')
  return id
}
