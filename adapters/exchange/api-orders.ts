/** Order entry: create, amend, decrease, cancel, batches, cancel-all, order groups (api.md §4). Owns the decoding of order requests and their answers. */
import { ASK, BID } from '../../engine/units.ts'
import type { Account, OrderGroup } from './account.ts'
import { subaccountOf, type Call, type Route } from './route.ts'
import { groupBody } from './encode-rest.ts'
import { costOf, payers } from './limits.ts'
import type { OrderRecord } from './order.ts'
import { Refusal, refuse } from './refusal.ts'
import { checkFields, countOf, decodeBody, dollarsOf, flagOf, integerOf, requireField, stringOf, type Body } from './request.ts'
import * as text from './text.ts'
import type { CreateOrder, Traded } from './order-request.ts'

type Json = Record<string, unknown>
type Answer = { status: number; body: unknown }

const CREATE = {
  ticker: 'string',
  client_order_id: 'string',
  side: 'string',
  count: 'string',
  price: 'string',
  expiration_time: 'int64',
  time_in_force: 'string',
  post_only: 'bool',
  self_trade_prevention_type: 'string',
  cancel_order_on_pause: 'bool',
  reduce_only: 'bool',
  subaccount: 'int64',
  order_group_id: 'string',
  exchange_index: 'int64',
} as const
const AMEND = {
  ticker: 'string',
  side: 'string',
  price: 'string',
  count: 'string',
  client_order_id: 'string',
  updated_client_order_id: 'string',
  exchange_index: 'int64',
  expiration_time: 'int64',
} as const
const DECREASE = { reduce_by: 'string', reduce_to: 'string', exchange_index: 'int64', market_ticker: 'string' } as const
const CANCEL = { order_id: 'string', subaccount: 'int64', exchange_index: 'int64', market_ticker: 'string' } as const
const TIFS = { good_till_canceled: 'gtc', immediate_or_cancel: 'ioc', fill_or_kill: 'fok' } as const
const PREVENTIONS = { taker_at_cross: 'taker', maker: 'maker' } as const

function word<T extends Record<string, string>>(body: Body, name: string, words: T): T[keyof T] {
  const given = requireField(stringOf(body, name), name)
  const found = Object.hasOwn(words, given) ? words[given] : undefined
  if (found === undefined) throw refuse(400, 'invalid_parameters', `${name} is one of ${Object.keys(words).join(', ')}`)
  return found as T[keyof T]
}
const side = (body: Body): 0 | 1 => (word(body, 'side', { bid: 'bid', ask: 'ask' }) === 'bid' ? BID : ASK)

function clientId(body: Body, name: string): string | null {
  const id = stringOf(body, name)
  if (id === null || id === '') return null
  // Seen: a dot is refused. 64 characters is FIX's bound.
  if (id.length > 64 || id.includes('.')) throw refuse(400, 'invalid_parameters', `${name} has at most 64 characters and no dot`)
  return id
}

function createOf(call: Call, caller: Account, body: Body): CreateOrder {
  const expires = integerOf(body, 'expiration_time')
  return {
    ticker: requireField(stringOf(body, 'ticker'), 'ticker'),
    side: side(body),
    quantity: requireField(countOf(body, 'count'), 'count'),
    price: requireField(dollarsOf(body, 'price'), 'price'),
    tif: word(body, 'time_in_force', TIFS),
    prevention: word(body, 'self_trade_prevention_type', PREVENTIONS),
    clientId: clientId(body, 'client_order_id'),
    postOnly: flagOf(body, 'post_only'),
    reduceOnly: flagOf(body, 'reduce_only'),
    cancelOnPause: flagOf(body, 'cancel_order_on_pause'),
    expires: expires === null ? null : expires * 1_000_000,
    subaccount: subaccountOf(call, caller, integerOf(body, 'subaccount'), 0),
    group: stringOf(body, 'order_group_id') || null,
    exchangeIndex: integerOf(body, 'exchange_index'),
  }
}

function averages(t: Traded): Json {
  if (t.quantity === 0) return {}
  // Average price of the YES book, whichever side was bought.
  const cost = t.order.side === BID ? t.cost : 10_000 * t.quantity - t.cost
  return { average_fill_price: text.average(cost, t.quantity), average_fee_paid: text.average(t.fees, t.quantity) }
}
function created(call: Call, caller: Account, body: Body): Json {
  const t = call.x.trading.create(caller, createOf(call, caller, body))
  return {
    order_id: t.order.id,
    ...(t.order.clientId === '' ? {} : { client_order_id: t.order.clientId }),
    fill_count: text.count(t.quantity),
    remaining_count: text.count(t.order.remaining),
    ...averages(t),
    ts_ms: text.milliseconds(call.x.told),
  }
}

/** An order of the caller on the shard that was named, or routed to by ticker; none named is shard 0 and subaccount 0 (api.md §4.3). */
function orderOf(
  call: Call,
  caller: Account,
  id: string | undefined,
  exchangeIndex: number | null,
  ticker: string | null,
  subaccount: number | null,
): OrderRecord {
  const order = caller.orders.get(id ?? '')
  const sub = subaccountOf(call, caller, subaccount, 0)
  const routed = ticker !== null && (exchangeIndex === null || exchangeIndex < 0)
  const here =
    order !== undefined && (routed ? order.market.ticker === ticker : order.market.exchangeIndex === Math.max(0, exchangeIndex ?? 0))
  if (order === undefined || !here || order.subaccount !== sub) throw refuse(404, 'not_found')
  return order
}
function canceled(call: Call, order: OrderRecord): Json {
  const reduced = call.x.trading.cancel(order)
  return {
    order_id: order.id,
    ...(order.clientId === '' ? {} : { client_order_id: order.clientId }),
    reduced_by: text.count(reduced),
    ts_ms: text.milliseconds(call.x.told),
  }
}

/** Reads what a charge needs from a body that may be nonsense. */
function glance(body: string): { exchange_index: number | null; ticker: string | null; items: number } {
  try {
    const b = JSON.parse(body) as Record<string, unknown>
    const ticker = b['ticker'] ?? b['market_ticker']
    return {
      exchange_index: typeof b['exchange_index'] === 'number' ? b['exchange_index'] : null,
      ticker: typeof ticker === 'string' ? ticker : null,
      items: Array.isArray(b['orders']) ? b['orders'].length : 1,
    }
  } catch {
    return { exchange_index: null, ticker: null, items: 1 }
  }
}
const chargeBody = (cost: number) => (call: Call) => {
  const g = glance(call.body)
  return {
    cost,
    shards: payers(
      g.exchange_index,
      g.ticker,
      call.x.shards.map((s) => s.index),
    ),
  }
}
/** A batch is the sum of its items, always from the unscoped bucket. */
const chargeBatch = (each: number) => (call: Call) => ({ cost: each * Math.max(1, glance(call.body).items), shards: [0] })

const CANCEL_COST = costOf('DELETE', '/trade-api/v2/portfolio/events/orders/:order_id')
type Signed = Omit<Route, 'access' | 'writes' | 'locked' | 'scope'>
const writes = (route: Signed): Route => ({ access: 'signed', writes: true, locked: true, scope: 'write::trade', ...route })
const gone: Route['handle'] = () => {
  throw refuse(410, 'deprecated_v1_order_endpoint')
}

function batchItems(call: Call, struct: string): unknown[] {
  const items = decodeBody(call.body, struct, { orders: 'array' })['orders']
  if (!Array.isArray(items) || items.length === 0) throw refuse(400, 'invalid_parameters', 'orders is a list of at least one order')
  return items
}

/** A group of the subaccount and the shard that are named; `otherwise`: the shard where none is, null for any. */
function groupOf(call: Call, caller: Account, otherwise: 0 | null = 0): OrderGroup {
  const group = caller.groups.get(call.params['order_group_id'] ?? '')
  const sub = subaccountOf(call, caller, call.query.integer('subaccount'), 0)
  const shard = call.query.integer('exchange_index') ?? otherwise
  if (group === undefined || group.subaccount !== sub || (shard !== null && shard >= 0 && shard !== group.exchangeIndex))
    throw refuse(404, 'not_found')
  return group
}
const LIMIT = { contracts_limit: 'int64', contracts_limit_fp: 'string', subaccount: 'int64', exchange_index: 'int64' } as const
function limitOf(body: Body): number {
  const whole = integerOf(body, 'contracts_limit')
  const exact = countOf(body, 'contracts_limit_fp')
  if (whole !== null && exact !== null && exact !== whole * 100)
    throw refuse(400, 'invalid_parameters', 'contracts_limit and contracts_limit_fp differ')
  const limit = exact ?? (whole === null ? null : whole * 100)
  if (limit === null || limit < 100 || limit > 100_000_000)
    throw refuse(400, 'invalid_parameters', 'contracts_limit is between 1 and 1000000')
  return limit
}
const done = (): Answer => ({ status: 200, body: {} })

export const orderRoutes: readonly Route[] = [
  writes({
    method: 'POST',
    path: '/portfolio/events/orders',
    operation: 'CreateOrderV2',
    charge: chargeBody(10),
    handle: (call, caller) => ({ status: 201, body: created(call, caller, decodeBody(call.body, 'CreateOrderV2Request', CREATE)) }),
  }),
  writes({
    method: 'DELETE',
    path: '/portfolio/events/orders',
    operation: 'CancelAllOrders',
    handle: (call, caller) => {
      const sub = subaccountOf(call, caller, call.query.integer('subaccount'), null)
      for (const order of caller.resting) {
        if (sub !== null && order.subaccount !== sub) continue
        try {
          call.x.trading.cancel(order)
        } catch (error) {
          // A market that closed, or a paused shard, keeps its orders; the others go.
          if (!(error instanceof Refusal)) throw error
        }
      }
      return { status: 204, body: undefined }
    },
  }),
  writes({
    method: 'POST',
    path: '/portfolio/events/orders/batched',
    operation: 'BatchCreateOrdersV2',
    charge: chargeBatch(10),
    handle: (call, caller) => ({
      status: 201,
      body: {
        orders: batchItems(call, 'BatchCreateOrdersV2Request').map((item) => {
          try {
            return created(call, caller, checkFields(item, 'CreateOrderV2Request', CREATE))
          } catch (error) {
            if (!(error instanceof Refusal)) throw error
            const id = (item as Json | null)?.['client_order_id']
            return { ...(typeof id === 'string' ? { client_order_id: id } : {}), error: error.flat }
          }
        }),
      },
    }),
  }),
  writes({
    method: 'DELETE',
    path: '/portfolio/events/orders/batched',
    operation: 'BatchCancelOrdersV2',
    charge: chargeBatch(CANCEL_COST),
    handle: (call, caller) => ({
      status: 200,
      body: {
        orders: batchItems(call, 'BatchCancelOrdersV2Request').map((item) => {
          let id = ''
          try {
            const body = checkFields(item, 'BatchCancelOrdersV2RequestOrder', CANCEL)
            id = requireField(stringOf(body, 'order_id'), 'order_id')
            return canceled(
              call,
              orderOf(call, caller, id, integerOf(body, 'exchange_index'), stringOf(body, 'market_ticker'), integerOf(body, 'subaccount')),
            )
          } catch (error) {
            if (!(error instanceof Refusal)) throw error
            return { order_id: id, reduced_by: '0.00', error: error.flat }
          }
        }),
      },
    }),
  }),
  writes({
    method: 'DELETE',
    path: '/portfolio/events/orders/:order_id',
    operation: 'CancelOrderV2',
    charge: (call) => ({
      cost: CANCEL_COST,
      shards: payers(
        call.query.integer('exchange_index'),
        call.query.text('market_ticker'),
        call.x.shards.map((s) => s.index),
      ),
    }),
    handle: (call, caller) => {
      const { query } = call
      const order = orderOf(
        call,
        caller,
        call.params['order_id'],
        query.integer('exchange_index'),
        query.text('market_ticker'),
        query.integer('subaccount'),
      )
      return { status: 200, body: canceled(call, order) }
    },
  }),
  writes({
    method: 'POST',
    path: '/portfolio/events/orders/:order_id/amend',
    operation: 'AmendOrderV2',
    charge: chargeBody(10),
    handle: (call, caller) => {
      const body = decodeBody(call.body, 'AmendOrderV2Request', AMEND)
      const ticker = requireField(stringOf(body, 'ticker'), 'ticker')
      const expires = integerOf(body, 'expiration_time')
      const order = caller.orders.get(call.params['order_id'] ?? '')
      const sub = subaccountOf(call, caller, call.query.integer('subaccount'), 0)
      if (order === undefined || order.subaccount !== sub) throw refuse(404, 'not_found')
      call.x.routed(ticker, integerOf(body, 'exchange_index'))
      const t = call.x.trading.amend(caller, order, {
        ticker,
        side: side(body),
        price: requireField(dollarsOf(body, 'price'), 'price'),
        total: requireField(countOf(body, 'count'), 'count'),
        clientId: stringOf(body, 'client_order_id') || null,
        clientIdNew: clientId(body, 'updated_client_order_id'),
        expires: expires === null ? null : expires * 1_000_000,
      })
      return {
        status: 200,
        body: {
          order_id: order.id,
          ...(order.clientId === '' ? {} : { client_order_id: order.clientId }),
          // Both counts when the size changed or something traded, averages only of what traded; remaining is what is left after it.
          ...(t.resized || t.quantity > 0
            ? { remaining_count: text.count(order.remaining), fill_count: text.count(t.quantity), ...averages(t) }
            : {}),
          ts_ms: text.milliseconds(call.x.told),
        },
      }
    },
  }),
  writes({
    method: 'POST',
    path: '/portfolio/events/orders/:order_id/decrease',
    operation: 'DecreaseOrderV2',
    charge: chargeBody(10),
    handle: (call, caller) => {
      const body = decodeBody(call.body, 'DecreaseOrderV2Request', DECREASE)
      const by = countOf(body, 'reduce_by')
      const to = countOf(body, 'reduce_to')
      if ((by === null) === (to === null)) throw refuse(400, 'invalid_parameters', 'give exactly one of reduce_by and reduce_to')
      if ((by !== null && by <= 0) || (to !== null && to < 0)) throw refuse(400, 'invalid_order_size')
      const order = orderOf(
        call,
        caller,
        call.params['order_id'],
        integerOf(body, 'exchange_index'),
        stringOf(body, 'market_ticker'),
        call.query.integer('subaccount'),
      )
      call.x.trading.decrease(caller, order, Math.max(0, to ?? order.remaining - (by as number)))
      return {
        status: 200,
        body: {
          order_id: order.id,
          ...(order.clientId === '' ? {} : { client_order_id: order.clientId }),
          remaining_count: text.count(order.remaining),
          ts_ms: text.milliseconds(call.x.told),
        },
      }
    },
  }),

  writes({
    method: 'POST',
    path: '/portfolio/order_groups/create',
    operation: 'CreateOrderGroup',
    handle: (call, caller) => {
      const body = decodeBody(call.body, 'CreateOrderGroupRequest', LIMIT)
      const shard = Math.max(0, integerOf(body, 'exchange_index') ?? 0)
      if (!call.x.shards.some((s) => s.index === shard)) throw refuse(400, 'invalid_parameters', 'there is no such exchange_index')
      const sub = subaccountOf(call, caller, integerOf(body, 'subaccount'), 0)
      const group = call.x.groups.create(caller, limitOf(body), sub, shard)
      return { status: 201, body: { order_group_id: group.id, subaccount: sub, exchange_index: shard } }
    },
  }),
  {
    method: 'GET',
    access: 'signed',
    locked: true,
    path: '/portfolio/order_groups',
    operation: 'GetOrderGroups',
    handle: (call, caller) => {
      const sub = subaccountOf(call, caller, call.query.integer('subaccount'), null)
      return {
        status: 200,
        body: { order_groups: [...caller.groups.values()].filter((g) => sub === null || g.subaccount === sub).map(groupBody) },
      }
    },
  },
  {
    method: 'GET',
    access: 'signed',
    locked: true,
    path: '/portfolio/order_groups/:order_group_id',
    operation: 'GetOrderGroup',
    handle: (call, caller) => {
      // The spec knows no exchange_index here.
      const group = groupOf(call, caller, null)
      const { id: _id, ...rest } = groupBody(group)
      return { status: 200, body: { ...rest, orders: [...caller.resting].filter((o) => o.group === group.id).map((o) => o.id) } }
    },
  },
  writes({
    method: 'PUT',
    path: '/portfolio/order_groups/:order_group_id/limit',
    operation: 'UpdateOrderGroupLimit',
    handle: (call, caller) => {
      const group = groupOf(call, caller)
      call.x.groups.limit(caller, group, limitOf(decodeBody(call.body, 'UpdateOrderGroupLimitRequest', LIMIT)))
      return done()
    },
  }),
  writes({
    method: 'PUT',
    path: '/portfolio/order_groups/:order_group_id/reset',
    operation: 'ResetOrderGroup',
    handle: (call, caller) => {
      call.x.groups.reset(caller, groupOf(call, caller))
      return done()
    },
  }),
  writes({
    method: 'PUT',
    path: '/portfolio/order_groups/:order_group_id/trigger',
    operation: 'TriggerOrderGroup',
    handle: (call, caller) => {
      call.x.groups.trigger(caller, groupOf(call, caller))
      return done()
    },
  }),
  writes({
    method: 'DELETE',
    path: '/portfolio/order_groups/:order_group_id',
    operation: 'DeleteOrderGroup',
    handle: (call, caller) => {
      call.x.groups.delete(caller, groupOf(call, caller))
      return done()
    },
  }),

  // The first version of order entry is gone (api.md §3.9).
  writes({ method: 'POST', path: '/portfolio/orders', operation: 'CreateOrder', handle: gone }),
  writes({ method: 'DELETE', path: '/portfolio/orders/:order_id', operation: 'CancelOrder', handle: gone }),
  writes({ method: 'POST', path: '/portfolio/orders/batched', operation: 'BatchCreateOrders', handle: gone }),
  writes({ method: 'DELETE', path: '/portfolio/orders/batched', operation: 'BatchCancelOrders', handle: gone }),
  writes({ method: 'POST', path: '/portfolio/orders/:order_id/amend', operation: 'AmendOrder', handle: gone }),
  writes({ method: 'POST', path: '/portfolio/orders/:order_id/decrease', operation: 'DecreaseOrder', handle: gone }),
]
