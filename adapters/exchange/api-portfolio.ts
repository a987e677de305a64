/** What an account owns: balance, orders, fills, positions, settlements, queue positions (api.md §4.9-4.11). Owns filters and paging of private reads, which lag. */
import type { Account } from './account.ts'
import { subaccountOf, type Call, type Route } from './route.ts'
import { eventPositionBody, fillBody, orderBody, positionBody, settlementBody } from './encode-rest.ts'
import type { Exchange } from './exchange.ts'
import { PRICE_ONE } from '../../engine/units.ts'
import type { Position } from './ledger.ts'
import type { FillRow, OrderRow } from './order.ts'
import { refuse } from './refusal.ts'
import { paged } from './request.ts'
import * as text from './text.ts'

const ok = (body: unknown): { status: number; body: unknown } => ({ status: 200, body })
type Get = Omit<Route, 'method' | 'access' | 'locked'>
const get = (route: Get): Route => ({ method: 'GET', access: 'signed', locked: true, ...route })

const within = (time: number, from: number | null, to: number | null): boolean =>
  (from === null || time >= from) && (to === null || time < to + 1_000_000)

function orders(call: Call, caller: Account, historical: boolean): { status: number; body: unknown } {
  const { x, query } = call
  const limit = query.limit(1000, 100, 1)
  const tickers = query.list('ticker')
  const events = query.list('event_ticker')
  if (events.length > 10) throw query.failed('event_ticker', 'max')
  const status = query.oneOf('status', ['resting', 'canceled', 'executed'] as const)
  const [from, to, shard] = [query.seconds('min_ts'), query.seconds('max_ts'), query.integer('exchange_index')]
  const sub = subaccountOf(call, caller, query.integer('subaccount'), null)
  const old = (o: OrderRow): boolean => o.state !== 'resting' && o.updated < x.cutoff.orders
  const list = [...caller.view.orders.values()]
    .filter(
      (o) =>
        old(o) === historical &&
        (tickers.length === 0 || tickers.includes(o.ticker)) &&
        (events.length === 0 || events.includes(o.event)) &&
        (status === null || o.state === status) &&
        within(o.created, from, to) &&
        (sub === null || o.subaccount === sub) &&
        (shard === null || o.exchangeIndex === shard),
    )
    .sort((a, b) => b.number - a.number)
  const { page, cursor } = paged(list, limit, query.text('cursor'), (o) => o.number)
  return ok({ cursor, orders: page.map(orderBody) })
}

function fills(call: Call, caller: Account, historical: boolean): { status: number; body: unknown } {
  const { x, query } = call
  const limit = query.limit(1000, 100, 1)
  const tickers = query.list('ticker')
  if (tickers.length > 100) throw query.failed('ticker', 'max')
  const order = query.text('order_id')
  const [from, to, shard] = [query.seconds('min_ts'), query.seconds('max_ts'), query.integer('exchange_index')]
  const sub = subaccountOf(call, caller, query.integer('subaccount'), null)
  const list = caller.view.fills
    .filter(
      (f) =>
        f.time < x.cutoff.trades === historical &&
        (tickers.length === 0 || tickers.includes(f.ticker)) &&
        (order === null || f.orderId === order) &&
        within(f.time, from, to) &&
        (sub === null || f.subaccount === sub) &&
        (shard === null || f.exchangeIndex === shard),
    )
    .reverse()
  const { page, cursor } = paged(list, limit, query.text('cursor'), (f: FillRow) => f.number)
  return ok({ cursor, fills: page.map(fillBody) })
}

function positions(call: Call, caller: Account, historical: boolean): { status: number; body: unknown } {
  const { x, query } = call
  const limit = query.limit(1000, 100)
  const ticker = query.text('ticker')
  const event = query.text('event_ticker')
  const shard = query.integer('exchange_index')
  const counts = query.list('count_filter')
  for (const c of counts) if (c !== 'position' && c !== 'total_traded') throw refuse(400, 'bad_request', 'invalid count_filter')
  const settled = historical ? 'settled' : (query.oneOf('settlement_status', ['unsettled', 'settled', 'all'] as const) ?? 'unsettled')
  const sub = subaccountOf(call, caller, query.integer('subaccount'), 0)
  // A settled event's positions move to the archive together.
  const archived = (p: Position): boolean =>
    (x.events.get(p.event)?.markets ?? []).every((m) => m.settled >= 0) && p.settled >= 0 && p.updated < x.cutoff.positions
  const numberOf = (p: Position): number => x.markets.get(p.ticker)?.number ?? 0
  const chosen = [...caller.view.positions.values()].filter(
    (p) =>
      p.subaccount === sub &&
      archived(p) === historical &&
      (settled === 'all' || p.settled >= 0 === (settled === 'settled')) &&
      (ticker === null || p.ticker === ticker) &&
      (event === null || p.event === event) &&
      (shard === null || p.exchangeIndex === shard) &&
      (counts.length === 0 || (counts.includes('position') && p.quantity !== 0) || (counts.includes('total_traded') && p.traded !== 0)),
  )
  const list = chosen.sort((a, b) => numberOf(b) - numberOf(a))
  const { page, cursor } = paged(list, limit, query.text('cursor'), numberOf)
  const byEvent = new Map<string, Position[]>()
  for (const p of page) byEvent.set(p.event, [...(byEvent.get(p.event) ?? []), p])
  return ok({
    cursor,
    market_positions: page.map(positionBody),
    event_positions: [...byEvent].map(([e, ps]) => eventPositionBody(e, ps)),
  })
}

/** Positions at the last price, or what they cost where nothing traded. Money. */
function worth(x: Exchange, positions: Iterable<Position>, sub: number, shard: number | null): number {
  let sum = 0
  for (const p of positions) {
    if (p.subaccount !== sub || (shard !== null && p.exchangeIndex !== shard) || p.quantity === 0) continue
    const last = x.markets.get(p.ticker)?.lastPrice ?? -1
    sum += last < 0 ? p.cost : p.quantity > 0 ? p.quantity * last : -p.quantity * (PRICE_ONE - last)
  }
  return sum
}

export const portfolioRoutes: readonly Route[] = [
  get({
    path: '/portfolio/balance',
    operation: 'GetBalance',
    scope: 'read::portfolio_balance',
    handle: (call, caller) => {
      const { x, query } = call
      const sub = subaccountOf(call, caller, query.integer('subaccount'), 0)
      const shard = query.integer('exchange_index')
      const all = [...caller.view.cash.values()].filter((c) => c.subaccount === sub)
      const rows = all.filter((c) => shard === null || c.shard === shard)
      const cash = rows.reduce((a, c) => a + c.amount, 0)
      return ok({
        balance: text.cents(cash),
        balance_dollars: text.balance(cash),
        portfolio_value: text.cents(worth(x, caller.view.positions.values(), sub, shard)),
        updated_ts: text.unixSeconds(rows.reduce((a, c) => Math.max(a, c.time), 0)),
        ...(call.key?.subaccount === null
          ? { balance_breakdown: all.map((c) => ({ exchange_index: c.shard, balance: text.balance(c.amount) })) }
          : {}),
      })
    },
  }),
  get({ path: '/portfolio/orders', operation: 'GetOrders', handle: (call, caller) => orders(call, caller, false) }),
  get({
    path: '/portfolio/orders/queue_positions',
    operation: 'GetOrderQueuePositions',
    handle: (call, caller) => {
      const tickers = call.query.list('market_tickers')
      const event = call.query.text('event_ticker')
      if (tickers.length === 0 && event === null) throw refuse(400, 'invalid_parameters', 'give market_tickers or event_ticker')
      const sub = subaccountOf(call, caller, call.query.integer('subaccount'), 0)
      const list = [...caller.resting].filter(
        (o) => o.subaccount === sub && (tickers.includes(o.market.ticker) || (event !== null && o.market.event.ticker === event)),
      )
      return ok({
        queue_positions: list.map((o) => ({
          order_id: o.id,
          market_ticker: o.market.ticker,
          queue_position_fp: text.count(o.market.queuePosition(o.venue)),
        })),
      })
    },
  }),
  get({
    path: '/portfolio/orders/:order_id',
    operation: 'GetOrder',
    handle: (call, caller) => {
      const row = caller.view.orders.get(call.params['order_id'] ?? '')
      const sub = subaccountOf(call, caller, null, null)
      if (row === undefined || (sub !== null && row.subaccount !== sub)) throw refuse(404, 'not_found')
      return ok({ order: orderBody(row) })
    },
  }),
  get({
    path: '/portfolio/orders/:order_id/queue_position',
    operation: 'GetOrderQueuePosition',
    handle: (call, caller) => {
      const order = caller.orders.get(call.params['order_id'] ?? '')
      const sub = subaccountOf(call, caller, null, null)
      if (order === undefined || order.state !== 'resting' || (sub !== null && order.subaccount !== sub)) throw refuse(404, 'not_found')
      return ok({ queue_position_fp: text.count(order.market.queuePosition(order.venue)) })
    },
  }),
  get({ path: '/portfolio/fills', operation: 'GetFills', handle: (call, caller) => fills(call, caller, false) }),
  get({ path: '/portfolio/positions', operation: 'GetPositions', handle: (call, caller) => positions(call, caller, false) }),
  get({
    path: '/portfolio/settlements',
    operation: 'GetSettlements',
    handle: (call, caller) => {
      const { query } = call
      const limit = query.limit(1000, 100, 1)
      const ticker = query.text('ticker')
      const event = query.text('event_ticker')
      const [from, to] = [query.seconds('min_ts'), query.seconds('max_ts')]
      const sub = subaccountOf(call, caller, query.integer('subaccount'), null)
      const list = caller.view.settlements
        .filter(
          (s) =>
            (ticker === null || s.ticker === ticker) &&
            (event === null || s.event === event) &&
            within(s.time, from, to) &&
            (sub === null || s.subaccount === sub),
        )
        .reverse()
      const { page, cursor } = paged(list, limit, query.text('cursor'), (s) => s.number)
      return ok({ cursor, settlements: page.map(settlementBody) })
    },
  }),
  get({
    path: '/portfolio/summary/total_resting_order_value',
    operation: 'GetPortfolioRestingOrderTotalValue',
    handle: (call, caller) => {
      const sub = subaccountOf(call, caller, null, 0)
      const rows = caller.shards.map((shard) => ({ shard, value: call.x.margin.reserved(caller, sub, shard) }))
      return ok({
        total_resting_order_value: text.cents(rows.reduce((a, r) => a + r.value, 0)),
        resting_order_value_breakdown: rows.map((r) => ({ exchange_index: r.shard, balance: text.balance(r.value) })),
      })
    },
  }),
  get({ path: '/historical/orders', operation: 'GetHistoricalOrders', handle: (call, caller) => orders(call, caller, true) }),
  get({ path: '/historical/fills', operation: 'GetFillsHistorical', handle: (call, caller) => fills(call, caller, true) }),
  get({ path: '/historical/positions', operation: 'GetHistoricalPositions', handle: (call, caller) => positions(call, caller, true) }),
]
