import { afterEach, describe, expect, it } from 'vitest'
import { Faults, parseFaults, signRequest, type Driver, type FaultRule } from '../../../adapters/exchange/index.ts'
import { crowdOn, onSockets, order, Rebuilt, trader, type Json, type Sockets, type Trader } from './support.ts'

/** Faults on command: each is seen from the client's side of a real socket. */

const open: Sockets[] = []
afterEach(async () => {
  for (const s of open.splice(0)) await s.stop()
})
const ORDERS = '/portfolio/events/orders'
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function start(rules: FaultRule[], more: Parameters<typeof onSockets>[0] = {}): Promise<{ s: Sockets; a: Trader; b: Trader }> {
  const s = await onSockets({ rules, ...more })
  open.push(s)
  return { s, a: trader(s.x, 'a'), b: trader(s.x, 'b') }
}
/** A subscriber of the book, and orders that make deltas with numbers 2, 3, … */
async function watching(rules: FaultRule[]) {
  const { s, a, b } = await start(rules)
  const c = await s.socket(a)
  c.send('subscribe', { channels: ['orderbook_delta'], market_tickers: ['KXTEST-A'] })
  await c.until((m) => m['type'] === 'orderbook_snapshot' || m['type'] === 'unreadable')
  const move = async (n: number): Promise<void> => {
    for (let i = 0; i < n; i++) await s.call(b, 'POST', ORDERS, order('bid', 100 * (i + 1), 100))
    await pause(50)
  }
  const numbers = (): unknown[] => c.of('orderbook_delta').map((m) => m['seq'])
  return { s, a, b, c, move, numbers }
}
const frame = (what: Extract<FaultRule, { on: 'frame' }>['do'], more: Json = {}): FaultRule =>
  ({ on: 'frame', do: what, type: 'orderbook_delta', after: 1, times: 1, ...more }) as FaultRule

describe('frames', () => {
  it('are dropped, doubled, swapped, late or damaged, and the log says so', async () => {
    const dropped = await watching([frame('drop')])
    await dropped.move(4)
    expect(dropped.numbers()).toEqual([2, 4, 5])
    expect(dropped.s.server.faults.log).toMatchObject([{ on: 'frame', do: 'drop', what: 'orderbook_delta sid 1 seq 3' }])
    const rebuilt = new Rebuilt(false)
    expect(() => dropped.c.messages.filter((m) => m['seq']).forEach((m) => rebuilt.apply(m))).toThrow('gap: 2 → 4')
    const doubled = await watching([frame('duplicate')])
    await doubled.move(3)
    expect(doubled.numbers()).toEqual([2, 3, 3, 4])
    const swapped = await watching([frame('reorder')])
    await swapped.move(3)
    expect(swapped.numbers()).toEqual([2, 4, 3])
    const late = await watching([frame('delay', { ms: 120 })])
    await late.move(3)
    expect(late.numbers()).toEqual([2, 4])
    await pause(150)
    expect(late.numbers()).toEqual([2, 4, 3])
    const damaged = await watching([frame('corrupt', { times: 2 })])
    await damaged.move(4)
    expect(damaged.c.texts.filter((t) => !t.endsWith('}\n') || t.includes('#'))).toHaveLength(2)
  })

  it('stop while the socket stays open, stop with it, or end with an error of the channel', async () => {
    const dead = await watching([frame('half-open')])
    await dead.move(4)
    dead.c.send('list_subscriptions')
    await pause(100)
    expect(dead.numbers()).toEqual([2])
    expect([dead.c.ws.readyState, dead.c.of('ok').length]).toEqual([dead.c.ws.OPEN, 0])
    const cut = await watching([frame('close')])
    await cut.move(2)
    expect(await cut.c.closed).toBe(1006)
    for (const [what, code] of [
      ['channel-error', 10],
      ['overflow', 25],
    ] as const) {
      const broken = await watching([frame(what)])
      await broken.move(4)
      expect(broken.numbers()).toEqual([2])
      expect(broken.c.of('error')[0]).toMatchObject({ sid: 1, msg: { code } })
      // It is over: subscribing again gives a new number and a whole book.
      broken.c.send('subscribe', { channels: ['orderbook_delta'], market_tickers: ['KXTEST-A'] })
      expect(await broken.c.until((m) => m['sid'] === 2)).toMatchObject({ type: 'orderbook_snapshot', seq: 1 })
    }
  })

  it('that a slow reader leaves lying cost it the subscription', async () => {
    const { s, a, b } = await start([], { bufferMax: 64 * 1024 })
    for (let p = 1; p < 99; p++) await s.call(b, 'POST', ORDERS, order('bid', p * 100, 100))
    const c = await s.socket(a)
    c.send('subscribe', { channels: ['orderbook_delta'], market_tickers: ['KXTEST-A'] })
    await c.until((m) => m['type'] === 'orderbook_snapshot')
    c.ws.pause()
    for (let i = 0; i < 6000; i++) c.send('update_subscription', { sid: 1, action: 'get_snapshot', market_tickers: ['KXTEST-A'] })
    await pause(1500)
    c.ws.resume()
    await Promise.race([c.until((m) => m['msg']?.code === 25, 10_000), c.closed])
    await pause(100)
    expect(c.of('orderbook_snapshot').length).toBeLessThan(6000)
    const numbers = c.of('orderbook_snapshot').map((m) => m['seq'] as number)
    // What did arrive is whole: never a single frame was dropped.
    expect(numbers).toEqual(numbers.map((_, i) => i + 1))
  })
})

describe('requests', () => {
  const create = (what: Extract<FaultRule, { on: 'request' }>['do'], more: Json = {}): FaultRule =>
    ({ on: 'request', do: what, operation: 'CreateOrderV2', times: 1, ...more }) as FaultRule
  const mine = async (s: Sockets, a: Trader): Promise<number> =>
    ((await s.call(a, 'GET', '/portfolio/orders')).body['orders'] as Json[]).length

  it('lose their answer after the effect, take effect when nobody waits, or never do', async () => {
    const lost = await start([create('lose-response')])
    await expect(lost.s.call(lost.a, 'POST', ORDERS, order('bid', 100, 100))).rejects.toThrow()
    expect(await mine(lost.s, lost.a)).toBe(1)
    const late = await start([create('late-effect', { ms: 200 })])
    await expect(late.s.call(late.a, 'POST', ORDERS, order('bid', 100, 100))).rejects.toThrow()
    expect(await mine(late.s, late.a)).toBe(0)
    await pause(250)
    expect(await mine(late.s, late.a)).toBe(1)
    const reset = await start([create('reset')])
    await expect(reset.s.call(reset.a, 'POST', ORDERS, order('bid', 100, 100))).rejects.toThrow()
    await pause(50)
    expect(await mine(reset.s, reset.a)).toBe(0)
    // Late by more than clocks may differ: it was signed in time.
    const slow = await start([create('delay', { ms: 15_000 })], { scale: 10, options: { skewMax: 8_000_000 } })
    expect((await slow.s.call(slow.a, 'POST', ORDERS, order('bid', 100, 100))).status).toBe(201)
  })

  it('are answered 429, 5xx and HTML, with and without an effect', async () => {
    for (const [rule, status, orders] of [
      [create('too-many'), 429, 0],
      [create('status', { status: 503 }), 503, 0],
      [create('status', { status: 500, effect: true }), 500, 1],
    ] as const) {
      const { s, a } = await start([rule])
      expect((await s.call(a, 'POST', ORDERS, order('bid', 100, 100))).status).toBe(status)
      expect(await mine(s, a)).toBe(orders)
    }
    const { s, a } = await start([create('html', { effect: true })])
    const answer = await s.raw(a, 'POST', ORDERS, order('bid', 100, 100))
    expect([answer.status, answer.headers.get('content-type'), (await answer.text()).startsWith('<html>')]).toEqual([
      502,
      'text/html',
      true,
    ])
    expect(await mine(s, a)).toBe(1)
  })

  it('are refused in words that fit the status, without an effect', async () => {
    for (const [more, body] of [
      [{ status: 409 }, { error: { code: 'trading_is_paused', message: 'trading is paused' } }],
      [{ status: 409, code: 'market_closed' }, { error: { code: 'market_closed', message: 'market closed' } }],
      [{ status: 404 }, { error: { code: 'market_not_found', message: 'market not found' } }],
      [{ status: 404, operation: 'CancelOrderV2' }, { error: { code: 'not_found', message: 'not found' } }],
      [{ status: 400 }, { error: { code: 'bad_request', message: 'bad request' } }],
      [{ status: 429 }, { error: 'too many requests' }],
      [{ status: 503 }, { error: { code: 'service_unavailable', message: 'service unavailable' } }],
      [{ status: 500 }, { error: { code: 'internal_server_error', message: 'internal server error' } }],
    ] as [Json, Json][]) {
      const { s, a } = await start([create('status', more)])
      const answer =
        more['operation'] === undefined ? await s.call(a, 'POST', ORDERS, order('bid', 100, 100)) : await s.call(a, 'DELETE', `${ORDERS}/x`)
      expect(answer).toEqual({ status: more['status'], body })
      expect(await mine(s, a)).toBe(0)
    }
  })

  it('do what they should and are answered with another order of the account, repeatably by the seed', async () => {
    const lies = ['CancelOrderV2', 'AmendOrderV2', 'DecreaseOrderV2', 'BatchCancelOrdersV2'].map(
      (operation) => ({ on: 'request', do: 'wrong-order', operation }) as FaultRule,
    )
    const run = async (seed: number): Promise<unknown[]> => {
      const { s, a } = await start(lies, { seed })
      const placed: Json[] = []
      for (let i = 0; i < 8; i++)
        placed.push((await s.call(a, 'POST', ORDERS, order('bid', 100 * (i + 1), 300 + i, { client_order_id: `n${i}` }))).body)
      const id = (n: number): string => placed[n]?.['order_id'] as string
      const index = (body: Json): number => placed.findIndex((p) => p['order_id'] === body['order_id'])
      const canceled = (await s.call(a, 'DELETE', `${ORDERS}/${id(0)}`)).body
      const amended = (
        await s.call(a, 'POST', `${ORDERS}/${id(1)}/amend`, { ticker: 'KXTEST-A', side: 'bid', price: '0.0300', count: '1.00' })
      ).body
      const decreased = (await s.call(a, 'POST', `${ORDERS}/${id(2)}/decrease`, { reduce_to: '0.50' })).body
      const batch = (await s.call(a, 'DELETE', `${ORDERS}/batched`, { orders: [{ order_id: id(3) }, { order_id: id(4) }] })).body[
        'orders'
      ] as Json[]
      // Each names an order of the account that it was not about, in that order's words.
      for (const [n, body] of [canceled, amended, decreased].entries()) {
        expect([-1, n]).not.toContain(index(body))
        expect(body['client_order_id']).toBe(`n${index(body)}`)
      }
      expect(canceled['reduced_by']).toBe(((300 + index(canceled)) / 100).toFixed(2))
      expect(batch.map(index).filter((n, at) => n === at + 3)).toHaveLength(1)
      // What was done is right.
      const orders = (await s.call(a, 'GET', '/portfolio/orders')).body['orders'] as Json[]
      expect(orders.map((o) => [o['status'], o['remaining_count_fp']]).reverse()).toEqual([
        ['canceled', '0.00'],
        ['resting', '1.00'],
        ['resting', '0.50'],
        ['canceled', '0.00'],
        ['canceled', '0.00'],
        ['resting', '3.05'],
        ['resting', '3.06'],
        ['resting', '3.07'],
      ])
      // A refusal says what it is.
      expect((await s.call(a, 'DELETE', `${ORDERS}/${id(0)}`)).status).toBe(404)
      return [canceled, amended, decreased, ...batch].map(index)
    }
    const first = await run(5)
    expect(await run(5)).toEqual(first)
    // An account of one order hears of nobody's.
    const { s, a } = await start(lies)
    const only = (await s.call(a, 'POST', ORDERS, order('bid', 100, 100))).body['order_id'] as string
    const { status, body } = await s.call(a, 'DELETE', `${ORDERS}/${only}`)
    expect([status, body['order_id'] === only, body['client_order_id'], body['reduced_by']]).toEqual([200, false, undefined, '1.00'])
  })

  it('are answered 2xx without an order, with and without an effect; a refusal is told as it is', async () => {
    for (const [effect, orders] of [
      [true, 1],
      [false, 0],
    ] as const) {
      const { s, a } = await start([create('no-order', { effect, times: 2 })])
      expect(await s.call(a, 'POST', ORDERS, order('bid', 100, 100))).toEqual({ status: 201, body: {} })
      expect(await mine(s, a)).toBe(orders)
      expect((await s.call(a, 'POST', ORDERS, order('bid', 105, 100))).status).toBe(effect ? 400 : 201)
    }
  })

  it('are answered 500 by an exchange whose driver broke an invariant, whichever door they come through, and it ends', async () => {
    /** Through which door the error came, null when the server's own tick was faster. */
    const through = async (door: 'rest' | 'socket' | 'upgrade' | 'admin'): Promise<number | null> => {
      let broken = false
      const driver: Driver = {
        get due() {
          return broken ? 0 : Infinity
        },
        step() {
          throw new Error('a level below zero')
        },
      }
      let stops = 0
      const { s, a } = await start([], { drivers: () => [driver], adminPort: 0, onStop: () => void stops++ })
      const c = await s.socket(a)
      const [before, end] = [s.x.now, Date.now() + 1000]
      while (s.x.now === before && Date.now() < end) await pause(1)
      broken = true
      let seen: number | null = null
      if (door === 'rest')
        seen = await s.call(a, 'GET', '/portfolio/balance').then(
          (r) => r.status,
          () => null,
        )
      if (door === 'admin')
        seen = await s.admin('/status', undefined, 'GET').then(
          (r) => r.status,
          () => null,
        )
      if (door === 'upgrade')
        seen = await s.socket(a).then(
          () => 101,
          (e: Error) => (e.message === 'HTTP 500' ? 500 : null),
        )
      if (door === 'socket') {
        c.send('list_subscriptions')
        // Cut, where a stop says goodbye.
        seen = (await c.closed) === 1006 ? 500 : null
        expect(c.of('ok')).toEqual([])
      }
      expect([String(s.server.failure), stops > 0]).toEqual(['Error: a level below zero', true])
      return seen
    }
    for (const door of ['rest', 'socket', 'upgrade', 'admin'] as const) {
      let seen: number | null = null
      for (let tries = 0; seen === null && tries < 10; tries++) seen = await through(door)
      expect([door, seen]).toEqual([door, 500])
    }
  }, 30_000)

  it('and connections are refused', async () => {
    const { s, a } = await start([
      { on: 'connect', do: 'status', status: 502, times: 1 },
      { on: 'connect', do: 'reset', times: 1, after: 1 },
    ])
    await expect(s.socket(a)).rejects.toThrow('502')
    await expect(s.socket(a)).rejects.toThrow()
    const c = await s.socket(a)
    c.close()
  })
})

describe('moments', () => {
  it('pause trading, freeze reads, shift the clock and cut sockets, by file and by the admin door', async () => {
    const { s, a } = await start(
      [
        { on: 'time', at: 60_000, do: 'pause-trading' },
        { on: 'time', at: 120_000, do: 'resume-trading' },
      ],
      { scale: 200, adminPort: 0 },
    )
    const until = async (seconds: number): Promise<void> => {
      while (s.clock.now() < s.x.options.start + seconds * 1e6) await pause(5)
    }
    await until(61)
    expect((await s.call(a, 'POST', ORDERS, order('bid', 100, 100))).body['error']['code']).toBe('trading_is_paused')
    await until(121)
    expect((await s.call(a, 'POST', ORDERS, order('bid', 100, 100))).status).toBe(201)
    const reads = async (): Promise<number> => ((await s.call(a, 'GET', '/portfolio/orders')).body['orders'] as Json[]).length
    expect(await reads()).toBe(1)
    await s.admin('/reads', { frozen: true })
    await s.call(a, 'POST', ORDERS, order('bid', 200, 100))
    const asOf = async () => (await s.call(null, 'GET', '/exchange/user_data_timestamp')).body['as_of_time'] as string
    const before = await asOf()
    await pause(30)
    expect([await reads(), await asOf()]).toEqual([1, before])
    await s.admin('/reads', { frozen: false })
    expect(await reads()).toBe(2)
    const c = await s.socket(a)
    await s.admin('/sockets', { do: 'disconnect' })
    expect(await c.closed).toBe(1006)
    const headers = await s.call(a, 'GET', '/portfolio/balance')
    expect(headers.status).toBe(200)
    await s.admin('/faults', { on: 'request', do: 'too-many', operation: 'GetBalance', times: 1 })
    expect((await s.call(a, 'GET', '/portfolio/balance')).status).toBe(429)
    expect((await s.admin('/faults', undefined, 'GET')).body['injected']).toMatchObject([
      { do: 'pause-trading' },
      { do: 'resume-trading' },
      { do: 'too-many' },
    ])
    expect((await s.admin('/faults', { on: 'frame', do: 'explode' })).status).toBe(400)
  })

  it('repeat with the seed, and a file with a mistake says where', () => {
    const file = parseFaults({ seed: 9, rules: [{ on: 'frame', do: 'drop', probability: 0.3 }] })
    const run = (): number[] => {
      const faults = new Faults(file)
      const out: number[] = []
      for (let i = 0; i < 200; i++)
        if (faults.frame({ text: '', type: 'trade', channel: 'trade', sid: 1, seq: i }, 'a', i) !== null) out.push(i)
      return out
    }
    expect(run()).toEqual(run())
    expect(run().length).toBeGreaterThan(30)
    expect(() => parseFaults({ rules: [{ on: 'frame', do: 'drop', chanel: 'trade' }] })).toThrow(/rules\.0.*chanel/)
    expect(() => parseFaults({ rules: [{ on: 'request', do: 'status', status: 200 }] })).toThrow(/rules\.0\.status/)
  })

  it('of the exchange’s own clock make good signatures fail', async () => {
    const { s, a } = await start([], { adminPort: 0 })
    const before = await s.raw(a, 'GET', '/portfolio/balance')
    expect(before.status).toBe(200)
    await s.admin('/clock', { offsetMs: 60_000 })
    const answer = await s.raw(a, 'GET', '/portfolio/balance')
    expect([answer.status, ((await answer.json()) as Json)['error'].code]).toEqual([401, 'header_timestamp_expired'])
    // By the wrong clock it is good.
    const headers = signRequest(a.keyId, a.privatePem, s.clock.now() + 60_000_000, 'GET', '/trade-api/v2/portfolio/balance')
    expect((await s.raw(null, 'GET', '/portfolio/balance', undefined, headers)).status).toBe(200)
  })

  it('of the exchange’s own clock are on its face alone: Date, times of messages and answers; nothing that is due moves', async () => {
    const { s, a, b } = await start([], { options: { skewMax: 7_200_000_000 } })
    const due = Math.floor(s.clock.now() / 1e6) + 600
    const id = (await s.call(a, 'POST', ORDERS, order('bid', 4000, 100, { expiration_time: due }))).body['order_id'] as string
    const c = await s.socket(a)
    c.send('subscribe', { channels: ['orderbook_delta', 'trade', 'fill', 'ticker'], market_tickers: ['KXTEST-A'] })
    await c.until((m) => m['type'] === 'orderbook_snapshot')
    for (const hours of [1, -1]) {
      s.server.schedule({ on: 'time', at: 0, do: 'clock-offset', ms: hours * 3_600_000 })
      const before = c.messages.length
      const made = await s.call(b, 'POST', ORDERS, order('ask', 6000 + hours * 100, 100))
      await s.call(a, 'POST', ORDERS, order('bid', 6000 + hours * 100, 100))
      await c.until((m) => c.messages.indexOf(m) >= before && m['type'] === 'fill')
      await pause(30)
      const off = (us: number): number => Math.round((us - s.clock.now()) / 3_600_000_000)
      const stamps = c.messages.slice(before).flatMap((m) => [m['sending_ts_ms'] as number, m['msg'].ts_ms as number])
      expect(new Set(c.messages.slice(before).map((m) => m['type']))).toEqual(new Set(['orderbook_delta', 'trade', 'fill', 'ticker']))
      expect(new Set([...stamps, made.body['ts_ms'] as number].map((ms) => off(ms * 1000)))).toEqual(new Set([hours]))
      const { headers } = await s.raw(null, 'GET', '/exchange/status')
      expect(off(Date.parse(headers.get('date') as string) * 1000)).toBe(hours)
      expect((await s.call(a, 'GET', `/portfolio/orders/${id}`)).body['order']['status']).toBe('resting')
      expect(s.x.markets.get('KXTEST-A')?.status).toBe('active')
      expect(Math.abs(s.x.now - s.clock.now())).toBeLessThan(2_000_000)
    }
  })

  it('leave a population in order: a halted market wakes up with an empty book and trades on', async () => {
    const { s, a } = await start([], { scale: 50, adminPort: 0, drivers: (x) => [crowdOn(x, 5)] })
    await pause(100)
    const ticker = [...s.x.markets.keys()].find((t) => t.startsWith('KXPRACTICE')) as string
    const c = await s.socket(a)
    c.send('subscribe', { channels: ['orderbook_delta', 'market_lifecycle_v2'], market_tickers: [ticker] })
    await c.until((m) => m['type'] === 'orderbook_snapshot')
    await s.admin(`/markets/${ticker}`, { do: 'halt' })
    await s.admin(`/markets/${ticker}`, { do: 'activate' })
    await pause(400)
    const rebuilt = new Rebuilt(false)
    s.x.lifecycle.halt(s.x.markets.get(ticker) as never)
    await pause(50)
    for (const m of c.messages.filter((x) => x['sid'] === 1 && x['seq'] !== undefined)) rebuilt.apply(m)
    expect(rebuilt.book).toEqual((await s.call(null, 'GET', `/markets/${ticker}/orderbook`)).body['orderbook_fp'])
    expect(
      c
        .of('market_lifecycle_v2')
        .map((m) => m['msg'].event_type)
        .slice(0, 2),
    ).toEqual(['deactivated', 'activated'])
    expect(rebuilt.yes.size).toBeGreaterThan(0)
  })
})
