import { generateKeyPairSync } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { realNow, signRequest } from '../../../adapters/exchange/index.ts'
import { crowdOn, market, onSockets, order, Rebuilt, trader, type Json, type Sockets, type Trader } from './support.ts'

/** The exchange on real sockets. */

const open: Sockets[] = []
afterEach(async () => {
  for (const s of open.splice(0)) await s.stop()
})
const start = async (options: Parameters<typeof onSockets>[0] = {}): Promise<Sockets> => {
  const s = await onSockets(options)
  open.push(s)
  return s
}
const ORDERS = '/portfolio/events/orders'
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('signatures', () => {
  it('accepts RSA-PSS and Ed25519, refuses in the recorded words, and knows how far clocks may differ', async () => {
    const s = await start()
    const path = '/portfolio/balance'
    const get = async (who: Trader, change: (h: Record<string, string>) => void = () => {}, shift = 0) => {
      const headers = signRequest(who.keyId, who.privatePem, s.clock.now() + shift, 'GET', `/trade-api/v2${path}`)
      change(headers)
      const response = await s.raw(null, 'GET', path, undefined, headers)
      return [response.status, ((await response.json()) as Json)['error']] as const
    }
    for (const type of ['rsa', 'ed25519'] as const) {
      const who = trader(s.x, type, 100, 'basic', type)
      expect((await get(who))[0]).toBe(200)
      const other = generateKeyPairSync(type as 'rsa', { modulusLength: 2048 }).privateKey.export({
        type: 'pkcs8',
        format: 'pem',
      }) as string
      const forged = signRequest(who.keyId, other, s.clock.now(), 'GET', `/trade-api/v2${path}`)
      expect(await get(who, (h) => Object.assign(h, forged))).toEqual([
        401,
        { code: 'authentication_error', message: 'authentication_error', details: 'INCORRECT_API_KEY_SIGNATURE' },
      ])
      // The query is not signed, the method is.
      expect((await s.call(who, 'GET', `${path}?subaccount=0`)).status).toBe(200)
      expect(
        await get(who, (h) => Object.assign(h, signRequest(who.keyId, who.privatePem, s.clock.now(), 'POST', `/trade-api/v2${path}`))),
      ).toMatchObject([401, {}])
    }
    const who = trader(s.x, 'clock', 100)
    for (const shift of [5, -5]) expect((await get(who, () => {}, shift * 1e6))[0]).toBe(200)
    for (const shift of [30, -30, 300, -300]) {
      expect(await get(who, () => {}, shift * 1e6)).toEqual([
        401,
        { code: 'header_timestamp_expired', message: 'header timestamp expired' },
      ])
    }
    expect(await get(who, (h) => delete h['KALSHI-ACCESS-SIGNATURE'])).toEqual([
      401,
      { code: 'signature_is_missing_from_headers', message: 'signature is missing from headers' },
    ])
    expect((await get(who, (h) => (h['KALSHI-ACCESS-KEY'] = '00000000-0000-0000-0000-000000000000')))[1]).toMatchObject({
      details: 'NOT_FOUND',
    })
    await expect(s.socket({ ...who, keyId: 'nobody' })).rejects.toThrow('401')
  })

  it('holds keys to their scopes and to their subaccount', async () => {
    const s = await start()
    const a = trader(s.x, 'a', 100)
    const made = await s.call(a, 'POST', '/portfolio/subaccounts', {})
    expect(made.body).toEqual({ subaccount_number: 1 })
    await s.call(a, 'POST', '/portfolio/subaccounts/transfer', {
      client_transfer_id: 'x',
      from_subaccount: 0,
      to_subaccount: 1,
      amount_cents: 5000,
    })
    const key = async (body: Json): Promise<Trader> => {
      const { body: k } = await s.call(a, 'POST', '/api_keys/generate', { name: 'k', key_type: 'ed25519', ...body })
      return { account: a.account, keyId: k['api_key_id'] as string, privatePem: k['private_key'] as string }
    }
    const reader = await key({ scopes: ['read'] })
    expect((await s.call(reader, 'POST', ORDERS, order('bid', 100, 100))).status).toBe(403)
    expect((await s.call(reader, 'GET', '/portfolio/orders')).status).toBe(200)
    const locked = await key({ scopes: ['read', 'write::trade'], subaccount: 1 })
    const placed = await s.call(locked, 'POST', ORDERS, order('bid', 4000, 100))
    expect(placed.status).toBe(201)
    expect((await s.call(locked, 'POST', ORDERS, order('bid', 4000, 100, { subaccount: 0 }))).status).toBe(403)
    expect((await s.call(locked, 'GET', '/api_keys')).status).toBe(403)
    expect((await s.call(locked, 'POST', '/portfolio/subaccounts/transfer', {})).status).toBe(403)
    expect((await s.call(locked, 'GET', '/portfolio/balance')).body).toMatchObject({ balance: 5000 })
    expect((await s.call(locked, 'GET', '/portfolio/balance')).body['balance_breakdown']).toBeUndefined()
    expect((await s.call(a, 'GET', '/portfolio/balance')).body).toMatchObject({ balance: 5000 })
  })
})

describe('the WebSocket', () => {
  it('answers every command, counts per sid with the replies in it, and knows its error codes', async () => {
    const definitions = ['A', 'B'].map((n) => market(`KXTEST-${n}`, { closeTime: realNow() + 3_600_000_000 }))
    const s = await start({ definitions })
    const [a, b] = [trader(s.x, 'a'), trader(s.x, 'b')]
    const c = await s.socket(a)
    c.send('subscribe', { channels: ['orderbook_delta', 'trade', 'nonsense', 'ticker'], market_tickers: ['KXTEST-A'] })
    await c.until((m) => m['type'] === 'orderbook_snapshot')
    // Acknowledgements first, refused channels apart, then the snapshot with the first number of its sid.
    expect(c.messages.slice(0, 5).map((m) => [m['type'], m['id'], m['msg'].sid ?? m['sid'], m['seq'], m['msg'].code])).toEqual([
      ['subscribed', 1, 1, undefined, undefined],
      ['subscribed', 1, 2, undefined, undefined],
      ['error', 1, undefined, undefined, 8],
      ['subscribed', 1, 3, undefined, undefined],
      ['orderbook_snapshot', undefined, 1, 1, undefined],
    ])
    expect(c.messages.at(4)?.['msg']).toEqual({ market_ticker: 'KXTEST-A', market_id: s.x.markets.get('KXTEST-A')?.id })
    expect(c.texts.every((t) => t.endsWith('\n'))).toBe(true)
    expect(c.messages.every((m) => Number.isInteger(m['sending_ts_ms']))).toBe(true)
    await s.call(b, 'POST', ORDERS, order('ask', 5200, 300))
    await c.until((m) => m['type'] === 'orderbook_delta')
    // An ask at 0.52 is a NO bid at 0.48 by default; nobody's client id is told to others.
    expect(c.of('orderbook_delta')[0]?.['msg']).toMatchObject({ side: 'no', price_dollars: '0.4800', delta_fp: '3.00' })
    expect(c.of('orderbook_delta')[0]?.['msg'].client_order_id).toBeUndefined()
    c.send('update_subscription', { sids: [1], action: 'add_markets', market_tickers: ['KXTEST-B'] })
    expect(await c.until((m) => m['type'] === 'ok')).toMatchObject({
      id: 2,
      sid: 1,
      seq: 3,
      msg: { market_tickers: ['KXTEST-A', 'KXTEST-B'] },
    })
    expect(await c.until((m) => m['msg']?.market_ticker === 'KXTEST-B')).toMatchObject({ type: 'orderbook_snapshot', seq: 4 })
    c.send('update_subscription', { sid: 1, action: 'get_snapshot', market_tickers: ['KXTEST-A'] })
    expect(await c.until((m) => m['id'] === 3)).toMatchObject({
      type: 'orderbook_snapshot',
      sid: 1,
      seq: 5,
      msg: { no_dollars_fp: [['0.4800', '3.00']] },
    })
    c.send('update_subscription', { sid: 1, action: 'delete_markets', market_tickers: ['KXTEST-A'] })
    expect(await c.until((m) => m['id'] === 4)).toMatchObject({ type: 'ok', seq: 6, msg: { market_tickers: ['KXTEST-B'] } })
    // Subscribing again adds to what is there, without an error.
    c.send('subscribe', { channels: ['orderbook_delta'], market_tickers: ['KXTEST-A'] })
    expect(await c.until((m) => m['id'] === 5)).toMatchObject({ type: 'subscribed', msg: { sid: 1 } })
    expect(await c.until((m) => m['seq'] === 7)).toMatchObject({ type: 'orderbook_snapshot', sid: 1 })
    c.send('list_subscriptions')
    expect((await c.until((m) => m['id'] === 6))['msg']).toEqual([
      { channel: 'orderbook_delta', sid: 1 },
      { channel: 'trade', sid: 2 },
      { channel: 'ticker', sid: 3 },
    ])
    c.send('unsubscribe', { sids: [1] })
    expect(await c.until((m) => m['type'] === 'unsubscribed')).toMatchObject({ id: 7, sid: 1, seq: 8 })
    const code = async (cmd: string, params?: Json): Promise<number> => {
      const id = c.send(cmd, params)
      return (await c.until((m) => m['id'] === id))['msg'].code as number
    }
    expect(await code('subscribe')).toBe(2)
    expect(await code('subscribe', {})).toBe(3)
    expect(await code('subscribe', { channels: ['orderbook_delta'] })).toBe(14)
    expect(await code('subscribe', { channels: ['orderbook_delta'], market_ticker: 'KXNONE' })).toBe(11)
    expect(await code('unsubscribe', {})).toBe(4)
    expect(await code('unsubscribe', { sids: [99] })).toBe(7)
    expect(await code('dance')).toBe(5)
    expect(await code('update_subscription', { action: 'add_markets' })).toBe(12)
    expect(await code('update_subscription', { sid: 77, action: 'add_markets' })).toBe(7)
    expect(await code('update_subscription', { sid: 2 })).toBe(15)
    expect(await code('update_subscription', { sid: 2, action: 'get_snapshot', market_ticker: 'KXTEST-A' })).toBe(13)
    expect(await code('update_subscription', { sid: 2, action: 'add_markets' })).toBe(14)
    expect(await code('subscribe', { channels: ['communications'], shard_factor: 101 })).toBe(22)
    expect(await code('subscribe', { channels: ['communications'], shard_key: 1 })).toBe(20)
    c.ws.send('not json')
    expect((await c.until((m) => m['msg']?.code === 1))['id']).toBeUndefined()
  })

  it('tells its own account what happened, with the reason, and nobody else', async () => {
    const s = await start()
    const [a, b] = [trader(s.x, 'a'), trader(s.x, 'b')]
    const [ca, cb] = [await s.socket(a), await s.socket(b)]
    for (const c of [ca, cb]) {
      c.send('subscribe', {
        channels: ['fill', 'user_orders', 'market_positions', 'orderbook_delta', 'trade'],
        market_tickers: ['KXTEST-A'],
        use_yes_price: true,
      })
      await c.until((m) => m['type'] === 'orderbook_snapshot')
    }
    const resting = order('ask', 5200, 300)
    await s.call(a, 'POST', ORDERS, resting)
    const delta = await ca.until((m) => m['type'] === 'orderbook_delta')
    expect(delta['msg']).toMatchObject({ side: 'no', price_dollars: '0.5200', client_order_id: resting['client_order_id'] })
    await s.call(b, 'POST', ORDERS, order('bid', 9900, 100, { time_in_force: 'immediate_or_cancel' }))
    const fill = await ca.until((m) => m['type'] === 'fill')
    expect(fill['msg']).toMatchObject({
      is_taker: false,
      count_fp: '1.00',
      yes_price_dollars: '0.5200',
      post_position_fp: '-1.00',
      book_side: 'ask',
      fee_cost: '0.000000',
    })
    expect((await cb.until((m) => m['type'] === 'fill'))['msg']).toMatchObject({
      is_taker: true,
      fee_cost: '0.017500',
      post_position_fp: '1.00',
    })
    expect((await cb.until((m) => m['type'] === 'trade'))['msg'].trade_id).toBe(fill['msg'].trade_id)
    expect((await ca.until((m) => m['type'] === 'market_position'))['msg']).toMatchObject({
      position_fp: '-1.00',
      position_cost_dollars: '0.480000',
    })
    await s.call(a, 'DELETE', ORDERS)
    await ca.until((m) => m['msg']?.status === 'canceled')
    expect(
      ca.of('user_order').map((m) => [m['msg'].status, m['msg'].last_update_reason, m['msg'].fill_count_fp, m['msg'].remaining_count_fp]),
    ).toEqual([
      ['resting', undefined, '0.00', '3.00'],
      ['resting', 'Trade', '1.00', '2.00'],
      ['canceled', 'Decrease', '1.00', '0.00'],
    ])
    expect(cb.of('user_order').every((m) => m['msg'].user_id === b.account.user)).toBe(true)
    // Channels without numbers carry none; a ping says heartbeat.
    expect([...ca.of('fill'), ...ca.of('user_order'), ...ca.of('market_position')].every((m) => m['seq'] === undefined)).toBe(true)
  })

  it('pings with a heartbeat every ten seconds of its clock, and carries index channels with their averages', async () => {
    const s = await start({ scale: 100, drivers: (x) => [crowdOn(x, 3)] })
    const a = trader(s.x, 'a')
    const c = await s.socket(a)
    const sub = c.send('subscribe', { channels: ['cfbenchmarks_value', 'cfbenchmarks_value_5hz'] })
    await c.until((m) => m['id'] === sub)
    const list = c.send('update_subscription', { sid: 1, action: 'indexlist' })
    expect(await c.until((m) => m['id'] === list)).toMatchObject({
      type: 'cfbenchmarks_value_indexlist',
      seq: 1,
      msg: { index_ids: ['PRACTICE_RTI'] },
    })
    expect(c.of('cfbenchmarks_value')).toEqual([])
    const missing = c.send('update_subscription', { sid: 1, action: 'subscribe_indices' })
    expect((await c.until((m) => m['id'] === missing))['msg'].code).toBe(24)
    c.send('update_subscription', { sid: 1, action: 'subscribe_indices', index_ids: ['PRACTICE_RTI'] })
    const value = await c.until((m) => m['type'] === 'cfbenchmarks_value')
    expect(value).toMatchObject({ sid: 1, seq: 3, msg: { index_id: 'PRACTICE_RTI' } })
    const averages = value['msg'].avg_60s_data as Json
    expect(averages['window_end_ts_exclusive'] - averages['window_start_ts_ms']).toBe(60_000)
    await pause(400)
    expect(c.pings.length).toBeGreaterThan(1)
    expect(new Set(c.pings)).toEqual(new Set(['heartbeat']))
  })

  it('rebuilds the REST book through sockets while a population and two accounts trade', async () => {
    const s = await start({ scale: 20, drivers: (x) => [crowdOn(x, 11, { rate: 60 })] })
    const [a, b] = [trader(s.x, 'a', 5000), trader(s.x, 'b', 5000)]
    await pause(100)
    const ticker = ([...s.x.markets.keys()].find((t) => t.startsWith('KXPRACTICE')) as string) ?? ''
    const c = await s.socket(a)
    const rebuilt = new Rebuilt(true)
    c.send('subscribe', { channels: ['orderbook_delta'], market_tickers: [ticker], use_yes_price: true })
    await c.until((m) => m['type'] === 'orderbook_snapshot')
    for (let i = 0; i < 60; i++) {
      const m = (await s.call(null, 'GET', `/markets/${ticker}`)).body['market'] as Json
      const price = Math.round(Number(i % 2 === 0 ? m['yes_ask_dollars'] : m['yes_bid_dollars']) * 10_000)
      if (price > 0 && price < 10_000)
        await s.call(
          i % 3 === 0 ? a : b,
          'POST',
          ORDERS,
          order(i % 2 === 0 ? 'bid' : 'ask', price, 500, { ticker, self_trade_prevention_type: 'maker' }),
        )
    }
    s.x.pause('trading', true)
    // Nobody moves any more: the stream catches up with the book.
    s.x.lifecycle.halt(s.x.markets.get(ticker) as never)
    await pause(200)
    for (const m of c.messages.filter((x) => x['sid'] === 1 && x['seq'] !== undefined)) rebuilt.apply(m)
    expect(rebuilt.seq).toBeGreaterThan(100)
    expect(rebuilt.book).toEqual((await s.call(null, 'GET', `/markets/${ticker}/orderbook`)).body['orderbook_fp'])
    expect(a.account.view.fills.length + b.account.view.fills.length).toBeGreaterThan(10)
    expect(s.x.audit()).toEqual({ money: 0, positions: 0 })
  })
})

describe('reads', () => {
  it('lag behind writes as long as they are told to, and say how fresh they are', async () => {
    const s = await start({ options: { readLag: 300_000 } })
    const a = trader(s.x, 'a')
    const id = (await s.call(a, 'POST', ORDERS, order('bid', 4000, 100))).body['order_id'] as string
    expect((await s.call(a, 'GET', `/portfolio/orders/${id}`)).status).toBe(404)
    await pause(350)
    expect((await s.call(a, 'GET', `/portfolio/orders/${id}`)).body['order']['status']).toBe('resting')
    expect((await s.call(a, 'DELETE', `${ORDERS}/${id}`)).body['reduced_by']).toBe('1.00')
    expect((await s.call(a, 'GET', `/portfolio/orders/${id}`)).body['order']['status']).toBe('resting')
    const asOf = Date.parse((await s.call(null, 'GET', '/exchange/user_data_timestamp')).body['as_of_time'] as string)
    expect(Math.abs(s.clock.now() / 1000 - 300 - asOf)).toBeLessThan(50)
    await pause(350)
    expect((await s.call(a, 'GET', `/portfolio/orders/${id}`)).body['order']['status']).toBe('canceled')
  })

  it('page with cursors: the last is empty, garbage starts over, too much is refused', async () => {
    const s = await start()
    const a = trader(s.x, 'a')
    const placed: string[] = []
    for (let i = 0; i < 7; i++)
      placed.unshift((await s.call(a, 'POST', ORDERS, order('bid', 100 * (i + 1), 100))).body['client_order_id'] as string)
    const seen: string[] = []
    let cursor = ''
    let pages = 0
    do {
      const { body } = await s.call(a, 'GET', `/portfolio/orders?limit=3&cursor=${cursor}`)
      seen.push(...(body['orders'] as Json[]).map((o) => o['client_order_id'] as string))
      cursor = body['cursor'] as string
      pages++
    } while (cursor !== '')
    expect([seen, pages]).toEqual([placed, 3])
    expect(((await s.call(a, 'GET', '/portfolio/orders?limit=2&cursor=garbage')).body['orders'] as Json[]).length).toBe(2)
    expect(await s.call(a, 'GET', '/markets?limit=1001')).toEqual({
      status: 400,
      body: {
        msg: "Parameter validation failed for GetMarkets: Key: 'GetMarketsParams.Limit' Error:Field validation for 'Limit' failed on the 'lte' tag",
      },
    })
    expect((await s.call(a, 'GET', '/markets?status=nonsense')).body['error']['details']).toBe('invalid status filter')
    expect(((await s.call(a, 'GET', '/portfolio/orders?status=resting&ticker=KXTEST-A')).body['orders'] as Json[]).length).toBe(7)
  })

  it('keep shards apart: markets, money and wrong pins', async () => {
    const closeTime = realNow() + 3_600_000_000
    const s = await start({
      definitions: [
        market('KXTEST-A', { closeTime }),
        market('KXCRYPTO-A', { event: 'KXCRYPTO-E', series: 'KXCRYPTO', closeTime, exchangeIndex: 2 }),
      ],
    })
    const a = trader(s.x, 'a', 100)
    const on = (more: Json) => s.call(a, 'POST', ORDERS, order('bid', 4000, 100, { ticker: 'KXCRYPTO-A', ...more }))
    expect((await on({})).body['error']['code']).toBe(`user_not_found: ${a.account.user}`)
    expect((await on({ exchange_index: 0 })).body['error']['code']).toBe('market_not_found')
    const move = { source: 'event_contract', destination: 'event_contract', amount: 300_000, destination_exchange_shard: 2 }
    const { body: transfer } = await s.call(a, 'POST', '/portfolio/intra_exchange_instance_transfer', move)
    expect(
      (await s.call(a, 'GET', `/portfolio/intra_exchange_instance_transfers/${transfer['transfer_id']}`)).body['transfer'],
    ).toMatchObject({ amount: '30.0000', status: 'complete' })
    const id = (await on({ exchange_index: -1 })).body['order_id'] as string
    expect((await on({ count: '999.00' })).body['error']['code']).toBe('insufficient_balance')
    expect((await s.call(a, 'DELETE', `${ORDERS}/${id}`)).status).toBe(404)
    expect((await s.call(a, 'DELETE', `${ORDERS}/${id}?market_ticker=KXCRYPTO-A`)).status).toBe(200)
    expect((await s.call(a, 'GET', '/portfolio/balance')).body).toMatchObject({
      balance: 10_000,
      balance_breakdown: [
        { exchange_index: 0, balance: '70.0000' },
        { exchange_index: 2, balance: '30.0000' },
      ],
    })
    expect((await s.call(a, 'GET', '/portfolio/balance?exchange_index=2')).body).toMatchObject({ balance: 3000 })
  })
})

describe('the doors', () => {
  it('listen on loopback alone, and the admin door keeps web pages out', async () => {
    const s = await start({ adminPort: 0 })
    expect(s.server.url).toMatch(/^http:\/\/127\.0\.0\.1:/)
    expect((await s.admin('/status', undefined, 'GET')).body['audit']).toEqual({ money: 0, positions: 0 })
    const evil = await fetch(`${s.server.adminUrl}/stop`, { method: 'POST', headers: { origin: 'http://evil.example' } })
    expect(evil.status).toBe(403)
    await s.admin('/markets', { ticker: 'KXNEW-A', event: 'KXNEW-E', series: 'KXNEW', closesIn: 60 })
    expect((await s.call(null, 'GET', '/markets/KXNEW-A')).body['market']['status']).toBe('active')
    await s.admin('/markets/KXNEW-A', { do: 'determine', result: 'yes' })
    expect((await s.call(null, 'GET', '/markets/KXNEW-A')).body['market']).toMatchObject({ status: 'determined', result: 'yes' })
    expect((await s.admin('/markets/KXNEW-A', { do: 'explode' })).status).toBe(400)
    const plain = new WebSocket(s.server.socketUrl)
    const status = await new Promise((resolve) => plain.once('unexpected-response', (_request, response) => resolve(response.statusCode)))
    expect(status).toBe(401)
  })
})
