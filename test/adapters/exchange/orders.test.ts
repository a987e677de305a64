import { describe, expect, it } from 'vitest'
import type { ApiKey } from '../../../adapters/exchange/account.ts'
import { inProcess, market, order, T0, trader, type Json, type Trader } from './support.ts'

/** What happens to an order after it was placed: who finds it, in which order it is told, what an amend answers. */

const ORDERS = '/portfolio/events/orders'
type World = ReturnType<typeof inProcess>
const create = (w: World, who: Trader, o: Json) => w.call(who, 'POST', ORDERS, o)
const amend = (w: World, who: Trader, id: unknown, body: Json, query = '') =>
  w.call(who, 'POST', `${ORDERS}/${String(id)}/amend${query}`, { ticker: 'KXTEST-A', side: 'bid', ...body })
const codeOf = (body: Json): unknown => body['error']?.code

describe('subaccounts', () => {
  it('none named is the primary one: an order of subaccount 3 is found by nobody who does not name it, but by a key that is locked to it', () => {
    const w = inProcess()
    const a = trader(w.x, 'a')
    for (let i = 0; i < 3; i++) w.call(a, 'POST', '/portfolio/subaccounts', {})
    w.call(a, 'POST', '/portfolio/subaccounts/transfer', {
      client_transfer_id: 't',
      from_subaccount: 0,
      to_subaccount: 3,
      amount_cents: 20_000,
    })
    const keyId = w.x.ids.next('key')
    const { publicKey } = a.account.keys.get(a.keyId) as ApiKey
    w.x.addKey(a.account, { id: keyId, name: 'locked', publicKey, scopes: ['read', 'write'], subaccount: 3 })
    const locked: Trader = { ...a, keyId }
    const place = () => create(w, a, order('bid', 4000, 500, { subaccount: 3 })).body['order_id'] as string
    const wanted = { price: '0.4100', count: '5.00' }
    const requests: ((who: Trader, id: string, query: string, sub: number | undefined) => number)[] = [
      (who, id, query) => amend(w, who, id, wanted, query).status,
      (who, id, query) => w.call(who, 'POST', `${ORDERS}/${id}/decrease${query}`, { reduce_to: '4.00' }).status,
      (who, id, query) => w.call(who, 'DELETE', `${ORDERS}/${id}${query}`).status,
      (who, id, _query, subaccount) => {
        const { body } = w.call(who, 'DELETE', `${ORDERS}/batched`, { orders: [{ order_id: id, subaccount }] })
        return body['orders'][0].error === undefined ? 200 : 404
      },
    ]
    for (const request of requests) {
      const id = place()
      expect([request(a, id, '', undefined), request(a, id, '?subaccount=0', 0), request(a, id, '?subaccount=2', 2)]).toEqual([
        404, 404, 404,
      ])
      expect(w.call(a, 'GET', `/portfolio/orders/${id}`).body['order']).toMatchObject({ status: 'resting', remaining_count_fp: '5.00' })
      expect(request(a, id, '?subaccount=3', 3)).toBe(200)
      expect(request(locked, place(), '', undefined)).toBe(200)
    }
    // Cancel-all is of all of them where none is named.
    const [mine, third] = [create(w, a, order('bid', 4000, 100)).body['order_id'] as string, place()]
    expect(w.call(a, 'DELETE', `${ORDERS}?subaccount=0`).status).toBe(204)
    const state = (id: string): unknown => w.call(a, 'GET', `/portfolio/orders/${id}`).body['order'].status
    expect([state(mine), state(third)]).toEqual(['canceled', 'resting'])
    w.call(a, 'DELETE', ORDERS)
    expect(state(third)).toBe('canceled')
  })
})

describe('amend', () => {
  it('tells the amended order first, then each fill and the order after it, as they happen', () => {
    const w = inProcess()
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    create(w, b, order('ask', 5100, 100))
    create(w, b, order('ask', 5200, 200))
    const id = create(w, a, order('bid', 5000, 300)).body['order_id'] as string
    const { session, frames, messages } = w.connect(a)
    session.receive(JSON.stringify({ id: 1, cmd: 'subscribe', params: { channels: ['user_orders', 'fill', 'market_positions'] } }))
    frames.length = 0
    const answer = amend(w, a, id, { price: '0.5200', count: '5.00', updated_client_order_id: 'new' })
    expect(
      messages().map(({ type, msg }) =>
        type === 'user_order'
          ? [msg.last_update_reason, msg.status, msg.yes_price_dollars, msg.fill_count_fp, msg.remaining_count_fp, msg.client_order_id]
          : type === 'fill'
            ? [type, msg.yes_price_dollars, msg.count_fp, msg.client_order_id]
            : [type, msg.position_fp],
      ),
    ).toEqual([
      ['Amend', 'resting', '0.5200', '0.00', '5.00', 'new'],
      ['fill', '0.5100', '1.00', 'new'],
      ['Trade', 'resting', '0.5200', '1.00', '4.00', 'new'],
      ['fill', '0.5200', '2.00', 'new'],
      ['Trade', 'resting', '0.5200', '3.00', '2.00', 'new'],
      ['market_position', '3.00'],
    ])
    expect(answer.body).toEqual({
      order_id: id,
      client_order_id: 'new',
      remaining_count: '2.00',
      fill_count: '3.00',
      average_fill_price: '0.5167',
      average_fee_paid: expect.stringMatching(/^0\.017\d$/),
      ts_ms: T0 / 1000,
    })
  })

  it('answers counts when the size changed or something traded and averages when something traded, never null', () => {
    const w = inProcess()
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    const id = create(w, a, order('ask', 6000, 300)).body['order_id'] as string
    const move = (price: string, count: string): Json => {
      const { order_id: _id, client_order_id: _client, ts_ms: _ts, ...rest } = amend(w, a, id, { side: 'ask', price, count }).body
      return rest
    }
    expect(move('0.5900', '3.00')).toEqual({})
    expect(move('0.5900', '3.00')).toEqual({})
    expect(move('0.5900', '2.00')).toEqual({ remaining_count: '2.00', fill_count: '0.00' })
    expect(move('0.5800', '4.00')).toEqual({ remaining_count: '4.00', fill_count: '0.00' })
    create(w, b, order('bid', 5500, 100))
    // The count stays four, of which one trades: what remains is three.
    expect(move('0.5500', '4.00')).toEqual({
      remaining_count: '3.00',
      fill_count: '1.00',
      average_fill_price: '0.5500',
      average_fee_paid: '0.0174',
    })
    // A maker's fills before it are not the amend's.
    create(w, b, order('bid', 5500, 100))
    expect(move('0.5600', '4.00')).toEqual({})
    create(w, b, order('bid', 5600, 900))
    expect(amend(w, a, id, { side: 'ask', price: '0.5600', count: '4.00' }).status).toBe(404)
  })

  it('keeps its place only when it shrinks at its price: the same order again goes to the back', () => {
    const w = inProcess()
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    const id = create(w, a, order('bid', 5000, 300)).body['order_id'] as string
    create(w, b, order('bid', 5000, 200))
    const place = () => w.call(a, 'GET', `/portfolio/orders/${id}/queue_position`).body['queue_position_fp']
    amend(w, a, id, { price: '0.5000', count: '2.50' })
    expect(place()).toBe('0.00')
    amend(w, a, id, { price: '0.5000', count: '2.50' })
    expect(place()).toBe('2.00')
  })

  it('that would meet an own order is refused whole and changes nothing; with `maker` the other order gives way', () => {
    const w = inProcess()
    const a = trader(w.x, 'a')
    const offer = create(w, a, order('ask', 5500, 100)).body['order_id'] as string
    const [bid, maker] = ['taker_at_cross', 'maker'].map(
      (self_trade_prevention_type) => create(w, a, order('bid', 5000, 100, { self_trade_prevention_type })).body['order_id'] as string,
    )
    const refused = amend(w, a, bid, { price: '0.5500', count: '1.00' })
    expect([refused.status, refused.body['error']]).toEqual([
      400,
      { code: 'invalid_order', message: 'invalid order', details: 'self cross attempt' },
    ])
    expect(w.call(a, 'GET', `/portfolio/orders/${bid}`).body['order']).toMatchObject({ status: 'resting', yes_price_dollars: '0.5000' })
    expect(amend(w, a, bid, { price: '0.5400', count: '1.00' }).status).toBe(200)
    expect(amend(w, a, maker, { price: '0.5500', count: '1.00' }).status).toBe(200)
    expect(w.call(a, 'GET', `/portfolio/orders/${offer}`).body['order']['status']).toBe('canceled')
  })
})

describe('orders that are over', () => {
  it('are not found after the close too; a live one on a closed market or a paused exchange is refused', () => {
    const w = inProcess({}, [market('KXTEST-A', { closeTime: T0 + 10_000_000 })])
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    const executed = create(w, a, order('bid', 5000, 100)).body['order_id'] as string
    create(w, b, order('ask', 5000, 100))
    const canceled = create(w, a, order('bid', 4000, 100)).body['order_id'] as string
    w.call(a, 'DELETE', `${ORDERS}/${canceled}`)
    const live = create(w, a, order('bid', 3000, 200)).body['order_id'] as string
    const tried = (id: string): [number, unknown][] =>
      [
        w.call(a, 'DELETE', `${ORDERS}/${id}`),
        w.call(a, 'POST', `${ORDERS}/${id}/decrease`, { reduce_to: '1.00' }),
        amend(w, a, id, { price: '0.3000', count: '1.00' }),
      ].map(({ status, body }) => [status, codeOf(body)])
    const missing = Array.from({ length: 3 }, () => [404, 'not_found'])
    const refused = (code: string) => Array.from({ length: 3 }, () => [409, code])
    w.x.pause('exchange', true)
    expect([tried(executed), tried(canceled), tried('unknown'), tried(live)]).toEqual([
      missing,
      missing,
      missing,
      refused('exchange_is_paused'),
    ])
    w.x.pause('exchange', false)
    w.x.pause('trading', true)
    // A trading pause takes cancels, and decreases are partial ones.
    const other = create(w, a, order('bid', 3000, 200)).status
    expect([other, w.call(a, 'POST', `${ORDERS}/${live}/decrease`, { reduce_to: '1.50' }).status]).toEqual([409, 200])
    w.x.pause('trading', false)
    w.stage.advance(T0 + 10_200_000)
    expect([tried(executed), tried(canceled), tried(live)]).toEqual([missing, missing, refused('market_closed')])
    w.stage.advance(T0 + 11_000_000)
    expect(tried(live)).toEqual(missing)
  })
})
