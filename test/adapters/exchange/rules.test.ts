import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { signRequest } from '../../../adapters/exchange/index.ts'
import { inProcess, market, order, Rebuilt, T0, trader, type Json, type Trader } from './support.ts'

/** The exchange in one process under a given clock: every call is a signed request. */

const create = (w: ReturnType<typeof inProcess>, who: Trader, o: Json) => w.call(who, 'POST', '/portfolio/events/orders', o)
const count = (s: string): number => Math.round(Number(s) * 100)

describe('matching through the wire', () => {
  it('is price, then time, at the resting price; the queue position counts what stands ahead', () => {
    const w = inProcess()
    const [a, b, c] = [trader(w.x, 'a'), trader(w.x, 'b'), trader(w.x, 'c')]
    const first = create(w, a, order('bid', 5000, 1000)).body
    const second = create(w, b, order('bid', 5000, 500)).body
    create(w, b, order('bid', 5100, 200))
    const place = (who: Trader, id: string) => w.call(who, 'GET', `/portfolio/orders/${id}/queue_position`).body['queue_position_fp']
    expect([place(a, first['order_id']), place(b, second['order_id'])]).toEqual(['0.00', '10.00'])
    const taker = create(w, c, order('ask', 4000, 1300, { time_in_force: 'immediate_or_cancel' }))
    expect(taker.status).toBe(201)
    // 2 at 0.51 first, then 10 of a and 1 of b at 0.50.
    expect([taker.body['fill_count'], taker.body['remaining_count'], taker.body['average_fill_price']]).toEqual(['13.00', '0.00', '0.5015'])
    const fills = w.call(b, 'GET', '/portfolio/fills').body['fills'] as Json[]
    expect(fills.map((f) => [f['yes_price_dollars'], f['count_fp'], f['is_taker']])).toEqual([
      ['0.5000', '1.00', false],
      ['0.5100', '2.00', false],
    ])
    // Every fill shares its id with the public trade.
    const trades = w.call(null, 'GET', '/markets/trades').body['trades'] as Json[]
    expect(trades.map((t) => t['taker_book_side'])).toEqual(['ask', 'ask', 'ask'])
    expect(fills.every((f) => trades.some((t) => t['trade_id'] === f['trade_id']))).toBe(true)
    expect(place(b, second['order_id'])).toBe('0.00')
  })

  it('prevents self trades in both modes', () => {
    const w = inProcess()
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    create(w, b, order('bid', 4900, 100))
    const own = create(w, a, order('bid', 4800, 100)).body['order_id'] as string
    create(w, b, order('bid', 4700, 100))
    const stopped = create(w, a, order('ask', 4700, 300))
    // The better bid of b is met, then it stops at its own: nothing rests.
    expect([stopped.body['fill_count'], stopped.body['remaining_count']]).toEqual(['1.00', '0.00'])
    expect(w.call(a, 'GET', `/portfolio/orders/${own}`).body['order']['status']).toBe('resting')
    const through = create(w, a, order('ask', 4700, 300, { self_trade_prevention_type: 'maker' }))
    expect([through.body['fill_count'], through.body['remaining_count']]).toEqual(['1.00', '2.00'])
    expect(w.call(a, 'GET', `/portfolio/orders/${own}`).body['order']).toMatchObject({ status: 'canceled', remaining_count_fp: '0.00' })
  })

  it('keeps the place when an order shrinks at its price and loses it otherwise; decrease to 0 cancels', () => {
    const w = inProcess()
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    const id = create(w, a, order('bid', 5000, 1000)).body['order_id'] as string
    const other = create(w, b, order('bid', 5000, 100)).body['order_id'] as string
    const place = (who: Trader, o: string) => w.call(who, 'GET', `/portfolio/orders/${o}/queue_position`).body['queue_position_fp']
    const amend = (body: Json) => w.call(a, 'POST', `/portfolio/events/orders/${id}/amend`, { ticker: 'KXTEST-A', side: 'bid', ...body })
    expect(amend({ price: '0.5000', count: '8.00' }).body).toMatchObject({ remaining_count: '8.00' })
    expect(place(a, id)).toBe('0.00')
    expect(w.call(a, 'POST', `/portfolio/events/orders/${id}/decrease`, { reduce_by: '1.00' }).body['remaining_count']).toBe('7.00')
    expect(place(a, id)).toBe('0.00')
    expect(amend({ price: '0.5000', count: '9.00' }).body['remaining_count']).toBe('9.00')
    expect([place(b, other), place(a, id)]).toEqual(['0.00', '1.00'])
    expect(amend({ price: '0.5000', count: '9.00', ticker: 'KXTEST-B' }).status).toBe(404)
    expect(amend({ price: '0.5000', count: '9.00', side: 'ask' }).body['error']['code']).toBe('order_side_mismatch')
    expect(amend({ price: '0.5050', count: '9.00' }).body['error']['code']).toBe('invalid_price')
    // An amend that crosses trades on arrival.
    create(w, b, order('ask', 5200, 300))
    expect(amend({ price: '0.5200', count: '9.00' }).body).toMatchObject({
      fill_count: '3.00',
      remaining_count: '6.00',
      average_fill_price: '0.5200',
    })
    expect(w.call(a, 'POST', `/portfolio/events/orders/${id}/decrease`, { reduce_to: '0.00' }).body['remaining_count']).toBe('0.00')
    expect(w.call(a, 'GET', `/portfolio/orders/${id}`).body['order']).toMatchObject({ status: 'canceled', fill_count_fp: '3.00' })
    expect(w.call(a, 'POST', `/portfolio/events/orders/${id}/decrease`, { reduce_to: '1.00', reduce_by: '1.00' }).status).toBe(400)
  })

  it('kills what cannot be filled whole and burns its id', () => {
    const w = inProcess()
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    create(w, b, order('ask', 5000, 200))
    const fok = order('bid', 5000, 300, { time_in_force: 'fill_or_kill' })
    const killed = create(w, a, fok)
    expect([killed.status, killed.body['error']['code']]).toEqual([409, 'fill_or_kill_insufficient_resting_volume'])
    expect(create(w, a, fok).body['error']['code']).toBe('order_already_exists')
    expect(w.call(a, 'GET', '/portfolio/orders').body['orders']).toEqual([])
    expect(create(w, a, order('bid', 5000, 200, { time_in_force: 'fill_or_kill' })).body['fill_count']).toBe('2.00')
    // Reduce-only closes what is there and no more.
    create(w, b, order('bid', 4900, 900))
    const closing = create(w, a, order('ask', 4900, 900, { time_in_force: 'immediate_or_cancel', reduce_only: true }))
    expect([closing.body['fill_count'], closing.body['remaining_count']]).toEqual(['2.00', '0.00'])
    expect(create(w, a, order('ask', 4900, 100, { reduce_only: true })).status).toBe(400)
  })

  it('triggers a group above its limit in 15 seconds, refuses until reset, forgets what is older', () => {
    const w = inProcess()
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    const group = w.call(a, 'POST', '/portfolio/order_groups/create', { contracts_limit: 5 }).body['order_group_id'] as string
    const { session, messages } = w.connect(a)
    session.receive(JSON.stringify({ id: 1, cmd: 'subscribe', params: { channels: ['order_group_updates', 'user_orders'] } }))
    const grouped = (price: number, n: number) => create(w, a, order('bid', price, n, { order_group_id: group }))
    grouped(5000, 500)
    const rest = grouped(4000, 500).body['order_id'] as string
    create(w, b, order('ask', 5000, 500, { time_in_force: 'immediate_or_cancel' }))
    // Exactly the limit is not above it.
    expect(w.call(a, 'GET', `/portfolio/order_groups/${group}`).body['orders']).toEqual([rest])
    w.stage.advance(T0 + 16_000_000)
    create(w, b, order('ask', 4000, 400, { time_in_force: 'immediate_or_cancel' }))
    expect(w.call(a, 'GET', `/portfolio/order_groups/${group}`).body['orders']).toEqual([rest])
    grouped(4500, 200)
    create(w, b, order('ask', 4500, 200, { time_in_force: 'immediate_or_cancel' }))
    expect(w.call(a, 'GET', `/portfolio/orders/${rest}`).body['order']['status']).toBe('canceled')
    expect(grouped(3000, 100).status).toBe(409)
    expect(w.call(a, 'PUT', `/portfolio/order_groups/${group}/reset`, {}).status).toBe(200)
    expect(grouped(3000, 100).status).toBe(201)
    // Lowering the limit under the sum triggers too; the counter was reset, so only new fills count.
    create(w, b, order('ask', 3000, 100, { time_in_force: 'immediate_or_cancel' }))
    grouped(2000, 100)
    grouped(3000, 300)
    create(w, b, order('ask', 3000, 300, { time_in_force: 'immediate_or_cancel' }))
    w.call(a, 'PUT', `/portfolio/order_groups/${group}/limit`, { contracts_limit_fp: '2.00' })
    expect(w.call(a, 'GET', `/portfolio/order_groups/${group}`).body['orders']).toEqual([])
    expect(w.call(a, 'DELETE', `/portfolio/order_groups/${group}`).status).toBe(200)
    const events = messages().filter((m) => m['type'] === 'order_group_updates')
    expect(events.map((m) => m['msg'].event_type)).toEqual(['triggered', 'reset', 'limit_updated', 'triggered', 'deleted'])
    expect(events.map((m) => m['seq'])).toEqual([1, 2, 3, 4, 5])
  })
})

describe('lives of markets', () => {
  it('closes silently, refuses everything, wipes the book half a second later, settles to the cent', () => {
    const w = inProcess({}, [market('KXTEST-A', { closeTime: T0 + 10_000_000, settlementTimer: 5_000_000 })])
    const [a, b] = [trader(w.x, 'a', 100), trader(w.x, 'b', 100)]
    const { session, messages } = w.connect(a)
    session.receive(
      JSON.stringify({
        id: 1,
        cmd: 'subscribe',
        params: { channels: ['orderbook_delta', 'user_orders', 'market_lifecycle_v2'], market_tickers: ['KXTEST-A'] },
      }),
    )
    create(w, b, order('ask', 5200, 1000))
    create(w, a, order('bid', 5200, 1000))
    const id = create(w, a, order('bid', 4000, 700)).body['order_id'] as string
    w.stage.advance(T0 + 10_200_000)
    const heard = messages().length
    expect(w.the().status).toBe('closed')
    expect(create(w, a, order('bid', 4100, 100)).body['error']['code']).toBe('market_closed')
    expect(w.call(a, 'DELETE', `/portfolio/events/orders/${id}?market_ticker=KXTEST-A`).status).toBe(409)
    expect(messages().length).toBe(heard)
    expect(w.call(null, 'GET', '/markets/KXTEST-A/orderbook').body['orderbook_fp']['yes_dollars']).toEqual([['0.4000', '7.00']])
    w.stage.advance(T0 + 10_600_000)
    expect(
      messages()
        .slice(heard)
        .map((m) => [m['type'], m['msg'].delta_fp ?? m['msg'].last_update_reason]),
    ).toEqual([
      ['orderbook_delta', '-7.00'],
      ['user_order', 'CloseCancel'],
    ])
    w.x.lifecycle.determine(w.the(), 'yes', 10_000)
    expect(w.call(null, 'GET', '/markets?status=closed').body['markets']).toHaveLength(1)
    w.stage.advance(T0 + 16_000_000)
    expect(w.call(null, 'GET', '/markets?status=settled').body['markets'][0]).toMatchObject({
      result: 'yes',
      settlement_value_dollars: '1.0000',
      status: 'finalized',
    })
    const lifecycle = messages().filter((m) => m['type'] === 'market_lifecycle_v2')
    expect(lifecycle.map((m) => m['msg'].event_type)).toEqual(['determined', 'settled'])
    // a: −5.20 − 0.1748 (0.07 × 10 × 0.52 × 0.48 = 0.17472, up) + 10; b, the maker, pays no fee.
    expect(w.call(a, 'GET', '/portfolio/balance').body).toMatchObject({ balance: 10462, balance_dollars: '104.6252', portfolio_value: 0 })
    expect(w.call(b, 'GET', '/portfolio/balance').body['balance_dollars']).toBe('95.2000')
    expect(w.call(a, 'GET', '/portfolio/settlements').body['settlements'][0]).toMatchObject({
      market_result: 'yes',
      yes_count_fp: '10.00',
      yes_total_cost_dollars: '5.200000',
      no_count_fp: '0.00',
      revenue: 1000,
      value: 100,
      fee_cost: '0.174800',
    })
    expect(w.call(a, 'GET', '/portfolio/positions').body['market_positions']).toEqual([])
    expect(w.call(a, 'GET', '/portfolio/positions?settlement_status=settled').body['market_positions'][0]).toMatchObject({
      position_fp: '0.00',
      realized_pnl_dollars: '4.800000',
    })
    expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
  })

  it('cancels every resting order when a halted market comes back, and flagged ones at a pause', () => {
    const w = inProcess()
    const a = trader(w.x, 'a')
    const plain = create(w, a, order('bid', 4000, 100)).body['order_id'] as string
    const flagged = create(w, a, order('bid', 3000, 100, { cancel_order_on_pause: true })).body['order_id'] as string
    const state = (id: string) => w.call(a, 'GET', `/portfolio/orders/${id}`).body['order']['status']
    w.x.pause('trading', true)
    expect([state(plain), state(flagged)]).toEqual(['resting', 'canceled'])
    expect(create(w, a, order('bid', 4000, 100)).body['error']['code']).toBe('trading_is_paused')
    expect(w.call(null, 'GET', '/exchange/status').body['trading_active']).toBe(false)
    w.x.pause('trading', false)
    w.x.pause('exchange', true, 0)
    expect(w.call(a, 'DELETE', `/portfolio/events/orders/${plain}`).body['error']['code']).toBe('exchange_is_paused')
    w.x.pause('exchange', false)
    w.x.lifecycle.halt(w.the())
    expect(create(w, a, order('bid', 4000, 100)).body['error']['code']).toBe('trading_is_paused')
    expect(state(plain)).toBe('resting')
    w.x.lifecycle.activate(w.the())
    expect(state(plain)).toBe('canceled')
  })

  it('expires orders, moves the close, pays a scalar in whole cents and keeps the residue as a fee', () => {
    const w = inProcess()
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    const seconds = Math.floor(T0 / 1e6)
    expect(create(w, a, order('bid', 4000, 100, { expiration_time: seconds - 5 })).body['error']['details']).toBe(
      'Expiration timestamp must be in the future',
    )
    const id = create(w, a, order('bid', 4000, 100, { expiration_time: seconds + 5 })).body['order_id'] as string
    w.stage.advance(T0 + 6_000_000)
    expect(w.call(a, 'GET', `/portfolio/orders/${id}`).body['order']['status']).toBe('canceled')
    create(w, a, order('bid', 4000, 333))
    create(w, b, order('ask', 4000, 333))
    w.x.lifecycle.moveClose(w.the(), w.x.now)
    w.x.lifecycle.determine(w.the(), 'scalar', 3333)
    w.stage.advance(w.x.now + 60_000_000)
    // 3.33 × 0.3333 = 1.109889 → 1.10; 3.33 × 0.6667 = 2.220111 → 2.22.
    expect(w.call(a, 'GET', '/portfolio/settlements').body['settlements'][0]).toMatchObject({
      revenue: 110,
      market_result: 'scalar',
      value: 33,
    })
    expect(w.call(b, 'GET', '/portfolio/settlements').body['settlements'][0]).toMatchObject({ revenue: 222, no_count_fp: '3.33' })
    expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
  })

  it('gives collateral back across an exclusive event only to those who asked, and takes it back as results come', () => {
    const definitions = ['A', 'B', 'C'].map((n) => market(`KXTEST-${n}`, { exclusive: true, settlementTimer: 1_000_000 }))
    const w = inProcess({}, definitions)
    const [a, b, plain] = [trader(w.x, 'a', 10), trader(w.x, 'b', 1000), trader(w.x, 'c', 10)]
    expect(w.call(a, 'PUT', '/portfolio/subaccounts/netting', { subaccount_number: 0, enabled: true }).status).toBe(200)
    for (const n of ['A', 'B', 'C']) create(w, b, order('bid', 3000, 2000, { ticker: `KXTEST-${n}` }))
    const no = (who: Trader, n: string) =>
      create(w, who, order('ask', 3000, 500, { ticker: `KXTEST-${n}`, time_in_force: 'immediate_or_cancel' })).status
    const cash = (who: Trader) => Number(w.call(who, 'GET', '/portfolio/balance').body['balance_dollars'])
    // Five NO at 0.70 cost 3.50 each and a fee; without the option the third does not fit into 10 dollars.
    expect([no(plain, 'A'), no(plain, 'B'), no(plain, 'C')]).toEqual([201, 201, 400])
    const start = cash(a)
    no(a, 'A')
    expect(start - cash(a)).toBeCloseTo(3.5 + 0.0735, 4)
    no(a, 'B')
    // The second frees five dollars: it costs 3.50 − 5.
    expect(start - cash(a)).toBeCloseTo(7 - 5 + 0.147, 4)
    no(a, 'C')
    expect(start - cash(a)).toBeCloseTo(10.5 - 10 + 0.2205, 4)
    expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
    // Buying back is no longer free: what was returned has to be paid back. With 0.28 dollars left 1.50 are too much.
    w.call(a, 'POST', '/portfolio/subaccounts', {})
    const move = (from: number, to: number, id: string) =>
      w.call(a, 'POST', '/portfolio/subaccounts/transfer', {
        client_transfer_id: id,
        from_subaccount: from,
        to_subaccount: to,
        amount_cents: 900,
      }).status
    expect(move(0, 1, 'there')).toBe(200)
    create(w, b, order('ask', 3100, 500, { ticker: 'KXTEST-A' }))
    expect(create(w, a, order('bid', 3100, 500, { ticker: 'KXTEST-A' })).body['error']['code']).toBe('insufficient_balance')
    expect(move(1, 0, 'back')).toBe(200)
    const held = cash(a)
    for (const [n, result] of [
      ['B', 'yes'],
      ['A', 'no'],
      ['C', 'no'],
    ] as const) {
      w.x.lifecycle.determine(w.the(`KXTEST-${n}`), result, result === 'yes' ? 10_000 : 0)
      w.stage.advance(w.x.now + 2_000_000)
      expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
      // Every result pays exactly what was returned before it.
      expect(cash(a)).toBe(held)
    }
    // Two of three paid five dollars.
    expect(cash(a) - start).toBeCloseTo(10 - 10.5 - 0.2205, 4)
  })

  it('moves to another grid: orders and levels that it does not know leave', () => {
    const w = inProcess({}, [market('KXTEST-A', { grid: [{ start: 0, end: 10_000, step: 10 }] })])
    const a = trader(w.x, 'a')
    const { session, messages } = w.connect(a)
    session.receive(
      JSON.stringify({
        id: 1,
        cmd: 'subscribe',
        params: { channels: ['orderbook_delta', 'market_lifecycle_v2'], market_ticker: 'KXTEST-A' },
      }),
    )
    create(w, a, order('bid', 4010, 100))
    create(w, a, order('bid', 4000, 200))
    w.x.lifecycle.regrid(w.the(), [{ start: 0, end: 10_000, step: 100 }])
    expect(w.call(null, 'GET', '/markets/KXTEST-A/orderbook').body['orderbook_fp']['yes_dollars']).toEqual([['0.4000', '2.00']])
    expect(messages().at(-2)?.['msg']).toMatchObject({ price_dollars: '0.4010', delta_fp: '-1.00' })
    expect(messages().at(-1)?.['msg']).toMatchObject({ event_type: 'price_level_structure_updated', price_level_structure: 'linear_cent' })
    expect(create(w, a, order('bid', 4010, 100)).body['error']['code']).toBe('invalid_price')
  })
})

describe('candles', () => {
  it('are open, high, low, close of touch and trades by the minute, and longer ones the sum of their minutes', () => {
    const w = inProcess()
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    const minute = Math.ceil(T0 / 60e6) * 60e6
    const trade = (price: number, n: number): void => {
      create(w, b, order('ask', price, n))
      create(w, a, order('bid', price, n))
    }
    w.stage.advance(minute + 1_000_000)
    create(w, b, order('bid', 4000, 100))
    for (const [price, n] of [
      [5000, 100],
      [5200, 300],
      [4800, 100],
      [4900, 100],
    ] as const)
      trade(price, n)
    w.stage.advance(minute + 61_000_000)
    trade(5500, 200)
    const candles = (minutes: number): Json[] =>
      w.call(
        null,
        'GET',
        `/series/KXTEST/markets/KXTEST-A/candlesticks?start_ts=${minute / 1e6}&end_ts=${minute / 1e6 + 7200}&period_interval=${minutes}`,
      ).body['candlesticks'] as Json[]
    const [first, second] = candles(1) as [Json, Json]
    expect([first['end_period_ts'], second['end_period_ts']]).toEqual([minute / 1e6 + 60, minute / 1e6 + 120])
    expect(first['price']).toEqual({
      open_dollars: '0.5000',
      low_dollars: '0.4800',
      high_dollars: '0.5200',
      close_dollars: '0.4900',
      mean_dollars: '0.5050',
    })
    expect([first['volume_fp'], first['open_interest_fp']]).toEqual(['6.00', '6.00'])
    expect(second['price']).toMatchObject({ open_dollars: '0.5500', previous_dollars: '0.4900' })
    expect(first['yes_bid']).toMatchObject({ open_dollars: '0.0000', high_dollars: '0.4000', close_dollars: '0.4000' })
    expect(first['yes_ask']).toMatchObject({ high_dollars: '1.0000', low_dollars: '0.4800', close_dollars: '1.0000' })
    expect(candles(60)[0]).toMatchObject({
      volume_fp: '8.00',
      price: { open_dollars: '0.5000', high_dollars: '0.5500', low_dollars: '0.4800', close_dollars: '0.5500' },
    })
    expect(w.call(null, 'GET', '/series/KXTEST/markets/KXTEST-A/candlesticks?start_ts=1&end_ts=2&period_interval=7').status).toBe(400)
  })
})

describe('clocks', () => {
  it('takes a signature by the machine’s own clock only where that was allowed', () => {
    const w = inProcess()
    const a = trader(w.x, 'a')
    const wall = T0 + 7_200_000_000
    const url = '/trade-api/v2/portfolio/balance'
    const headers = Object.fromEntries(
      Object.entries(signRequest(a.keyId, a.privatePem, wall, 'GET', url)).map(([n, v]) => [n.toLowerCase(), v]),
    )
    const status = (allowed: number | null) => w.api.handle({ method: 'GET', url, headers, body: '', wall: allowed }).status
    expect([status(null), status(wall), status(wall + 60_000_000)]).toEqual([401, 200, 401])
  })
})

describe('rate limits', () => {
  it('empty buckets at real costs, bill shards, take a batch whole or not at all, and refill with the clock', () => {
    const w = inProcess({}, [market('KXTEST-A'), market('KXCRYPTO-A', { event: 'KXCRYPTO-E', series: 'KXCRYPTO', exchangeIndex: 2 })])
    const a = trader(w.x, 'a', 1000, 'basic', 'ed25519', [0, 2])
    const status = (more: Json) => create(w, a, order('bid', 100, 100, more)).status
    const many = (n: number, more: Json) => Array.from({ length: n }, () => status(more))
    // 100 tokens are ten creates on the unscoped bucket; a named shard has a budget of its own.
    expect(many(11, { exchange_index: 0 })).toEqual([...Array(10).fill(201), 429])
    expect(create(w, a, order('bid', 100, 100)).body).toEqual({ error: 'too many requests' })
    expect(many(11, { exchange_index: 2, ticker: 'KXCRYPTO-A' })).toEqual([...Array(10).fill(201), 429])
    w.stage.advance(w.x.now + 1_000_000)
    // Routed by its ticker an order pays on every shard.
    expect(many(5, {})).toEqual(Array(5).fill(201))
    expect(many(6, { exchange_index: 2, ticker: 'KXCRYPTO-A' })).toEqual([...Array(5).fill(201), 429])
    w.stage.advance(w.x.now + 1_000_000)
    // A batch is the sum of its items, on the unscoped bucket.
    const items = (n: number) => ({ orders: Array.from({ length: n }, () => order('bid', 100, 100)) })
    expect(w.call(a, 'POST', '/portfolio/events/orders/batched', items(11)).status).toBe(429)
    const nine = w.call(a, 'POST', '/portfolio/events/orders/batched', { orders: [...items(8).orders, order('bid', 105, 100)] })
    expect([nine.status, (nine.body['orders'] as Json[]).map((o) => o['error']?.code ?? 'placed')]).toEqual([
      201,
      [...Array(8).fill('placed'), 'invalid_price'],
    ])
    // Cancels cost 2: five of them fit into the ten tokens that are left.
    const ids = (nine.body['orders'] as Json[]).slice(0, 8).map((o) => ({ order_id: o['order_id'] as string }))
    const canceled = w.call(a, 'DELETE', '/portfolio/events/orders/batched', { orders: [...ids.slice(0, 4), { order_id: 'unknown' }] })
    expect((canceled.body['orders'] as Json[]).map((o) => [o['reduced_by'], o['error']?.code])).toEqual([
      ...Array(4).fill(['1.00', undefined]),
      ['0.00', 'not_found'],
    ])
    expect(w.call(a, 'DELETE', `/portfolio/events/orders/${ids[5]?.order_id}`).status).toBe(429)
    expect(w.call(a, 'GET', '/account/limits').body).toMatchObject({
      usage_tier: 'basic',
      write: { refill_rate: 100, bucket_capacity: 100 },
    })
    w.stage.advance(w.x.now + 1_000_000)
    expect(w.call(a, 'POST', '/account/api_usage_level/upgrade').status).toBe(201)
    expect(w.call(a, 'GET', '/account/limits').body).toMatchObject({
      usage_tier: 'advanced',
      write: { refill_rate: 300, bucket_capacity: 900 },
    })
    // Reads have their own bucket.
    expect(Array.from({ length: 100 }, () => w.call(a, 'GET', '/portfolio/balance').status).filter((s) => s === 429)).toHaveLength(11)
  })
})

describe('properties', () => {
  const action = fc.record({
    who: fc.nat(2),
    kind: fc.integer({ min: 0, max: 99 }),
    side: fc.constantFrom('bid', 'ask' as const),
    price: fc.integer({ min: 1, max: 99 }).map((p) => p * 100),
    near: fc.integer({ min: 45, max: 55 }).map((p) => p * 100),
    count: fc.integer({ min: 1, max: 3000 }),
    pick: fc.nat(50),
    tif: fc.constantFrom('good_till_canceled', 'good_till_canceled', 'immediate_or_cancel', 'fill_or_kill'),
    prevention: fc.constantFrom('taker_at_cross', 'maker'),
    flag: fc.boolean(),
  })
  type Action = typeof action extends fc.Arbitrary<infer A> ? A : never

  const play = (
    actions: readonly Action[],
    check: (w: ReturnType<typeof inProcess>, traders: readonly Trader[]) => void,
  ): ReturnType<typeof inProcess> => {
    const tickers = ['KXTEST-A', 'KXTEST-B']
    const w = inProcess(
      { seed: 7 },
      tickers.map((t) => market(t, { exclusive: true, fee: { type: 'quadratic_with_maker_fees', multiplier: 10_000 } })),
    )
    const traders = [trader(w.x, 'a', 200), trader(w.x, 'b', 200), trader(w.x, 'c', 20)]
    let ids = 0
    for (const s of actions) {
      const who = traders[s.who] as Trader
      const resting = [...who.account.resting]
      const target = resting[s.pick % Math.max(1, resting.length)]
      const ticker = tickers[s.pick % 2] as string
      const price = s.flag ? s.near : s.price
      const body = order(s.side, price, s.count, {
        ticker,
        client_order_id: `p${ids++}`,
        time_in_force: s.tif,
        self_trade_prevention_type: s.prevention,
        post_only: s.tif === 'good_till_canceled' && s.pick % 5 === 0,
        reduce_only: s.tif === 'immediate_or_cancel' && s.pick % 7 === 0,
      })
      w.stage.advance(w.x.now + 50_000)
      if (s.kind < 60 || target === undefined) create(w, who, body)
      else if (s.kind < 72) w.call(who, 'DELETE', `/portfolio/events/orders/${target.id}?market_ticker=${target.market.ticker}`)
      else if (s.kind < 84)
        w.call(who, 'POST', `/portfolio/events/orders/${target.id}/amend`, {
          ticker: target.market.ticker,
          side: target.side === 0 ? 'bid' : 'ask',
          price: body['price'],
          count: body['count'],
        })
      else if (s.kind < 92)
        w.call(who, 'POST', `/portfolio/events/orders/${target.id}/decrease`, {
          reduce_to: ((s.count % 200) / 100).toFixed(2),
          market_ticker: target.market.ticker,
        })
      else if (s.kind < 95) w.call(who, 'PUT', '/portfolio/subaccounts/netting', { subaccount_number: 0, enabled: s.flag })
      else if (s.kind < 97) {
        w.x.lifecycle.halt(w.the(ticker))
        w.x.lifecycle.activate(w.the(ticker))
      } else if (s.kind < 98) w.call(who, 'DELETE', '/portfolio/events/orders')
      else w.stage.advance(w.x.now + 20_000_000)
      check(w, traders)
    }
    return w
  }

  it('money is conserved over any order flow: cash, collateral, fees and positions balance to the millionth, and books hold what orders say', () => {
    fc.assert(
      fc.property(
        fc.array(action, { minLength: 1, maxLength: 120 }),
        fc.constantFrom('yes', 'no', 'scalar' as const),
        (actions, result) => {
          const w = play(actions, ({ x }, traders) => {
            expect(x.audit()).toEqual({ money: 0, positions: 0 })
            for (const t of traders) {
              expect(t.account.cash(0, 0)).toBeGreaterThanOrEqual(0)
            }
            for (const m of x.markets.values()) {
              const sum = new Map<string, number>()
              for (const t of traders)
                for (const o of t.account.resting)
                  if (o.market === m) sum.set(`${o.side}/${o.venue.price}`, (sum.get(`${o.side}/${o.venue.price}`) ?? 0) + o.remaining)
              const shown = new Map([
                ...m.levels(0, true).map(([p, q]) => [`0/${p}`, q] as const),
                ...m.levels(1, true).map(([p, q]) => [`1/${p}`, q] as const),
              ])
              expect(shown).toEqual(sum)
              expect(m.shown.crossed).toBe(false)
            }
            for (const t of traders)
              for (const o of t.account.orders.values()) {
                expect(o.filled + o.remaining).toBeLessThanOrEqual(Math.max(o.initial, o.asked))
                expect(o.state === 'resting').toBe(o.venue.resting)
              }
          })
          for (const [n, m] of [...w.x.markets.values()].entries()) {
            const outcome = n === 0 ? result : 'no'
            w.x.lifecycle.determine(m, outcome, outcome === 'yes' ? 10_000 : outcome === 'no' ? 0 : 4567)
          }
          w.stage.advance(w.x.now + 120_000_000)
          expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
          let left = 0
          let returned = 0
          for (const account of w.x.accounts.values()) {
            left += account.total + account.feesPaid - account.deposited
            for (const r of account.returned.values()) returned += r
            for (const p of account.positions.values()) expect(p.quantity).toBe(0)
          }
          expect([left, returned]).toEqual([0, 0])
        },
      ),
      { numRuns: 60 },
    )
  })

  it('public deltas rebuild exactly the REST book at every seq, in NO prices and in YES prices', () => {
    fc.assert(
      fc.property(fc.array(action, { minLength: 1, maxLength: 80 }), (actions) => {
        let clients: { yes: boolean; rebuilt: Map<string, Rebuilt>; read: () => void }[] | null = null
        play(actions, (w, traders) => {
          clients ??= [false, true].map((yes) => {
            const { session, frames } = w.connect(traders[0] as Trader)
            const rebuilt = new Map(['KXTEST-A', 'KXTEST-B'].map((t) => [t, new Rebuilt(yes)]))
            session.receive(
              JSON.stringify({
                id: 1,
                cmd: 'subscribe',
                params: { channels: ['orderbook_delta'], market_tickers: [...rebuilt.keys()], use_yes_price: yes },
              }),
            )
            let seq = 0
            return {
              yes,
              rebuilt,
              read: () => {
                for (const f of frames.splice(0)) {
                  const m = JSON.parse(f.text) as Json
                  if (m['type'] === 'subscribed') continue
                  expect(m['seq']).toBe(++seq)
                  const { seq: _seq, ...rest } = m
                  rebuilt.get(m['msg'].market_ticker as string)?.apply(rest)
                }
              },
            }
          })
          for (const c of clients) {
            c.read()
            for (const [ticker, r] of c.rebuilt)
              expect(r.book).toEqual(w.call(null, 'GET', `/markets/${ticker}/orderbook`).body['orderbook_fp'])
          }
        })
      }),
      { numRuns: 40 },
    )
  })

  it('is deterministic: the same calls at the same times give the same answers, ids included', () => {
    const actions = fc.sample(action, { numRuns: 150, seed: 42 })
    const run = (): string => {
      const out: string[] = []
      const w = play(
        actions,
        ({ call }, traders) => void out.push(JSON.stringify(call(traders[0] as Trader, 'GET', '/portfolio/orders?limit=5').body)),
      )
      out.push(JSON.stringify(w.call(null, 'GET', '/markets/trades?limit=1000').body))
      return out.join('\n')
    }
    expect(run()).toBe(run())
    expect(count('0.01')).toBe(1)
  })
})
