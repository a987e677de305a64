import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { environmentOf } from '../../../../adapters/kalshi/environment.ts'
import { FileQuarantine, systemWorld } from '../../../../adapters/kalshi/index.ts'
import type { HttpRequest } from '../../../../adapters/kalshi/ports.ts'
import { Budget, WriteBudget } from '../../../../adapters/kalshi/rate-limit.ts'
import { Signer } from '../../../../adapters/kalshi/sign.ts'
import { Gate, type GateOptions, type GateParts } from '../../../../adapters/kalshi/venue/gate.ts'
import { clientId, readClientId, requestOf, type Intent } from '../../../../adapters/kalshi/venue/intent.ts'
import { outcomeOf, type Outcome } from '../../../../adapters/kalshi/venue/outcome.ts'
import { amend, cancel, create, decrease, SECOND } from './history.ts'

const ID = '0b1c2d3e-aaaa-bbbb-cccc-1234567890ab'
const signer = Signer.fromPem(ID, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)
const servers: Server[] = []
const closing: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  for (const s of servers.splice(0)) s.close()
})

/** A server of bytes: `script` is called with each request as it came, whole. */
async function scripted(script: (socket: Socket, request: string, turn: number) => void, onConnect: (socket: Socket) => void = () => {}) {
  const requests: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    onConnect(socket)
    let text = ''
    socket.on('data', (bytes) => {
      text += bytes.toString()
      for (;;) {
        const head = text.indexOf('\r\n\r\n')
        if (head < 0) return
        const length = Number(/content-length: (\d+)/i.exec(text.slice(0, head))?.[1] ?? 0)
        if (text.length < head + 4 + length) return
        const request = text.slice(0, head + 4 + length)
        text = text.slice(head + 4 + length)
        requests.push(request)
        script(socket, request, requests.length)
      }
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    for (const s of sockets) s.destroy()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, sockets }
}
const respond = (socket: Socket, status: number, body: string, type = 'application/json'): void => {
  socket.write(
    `HTTP/1.1 ${status} X\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nkeep-alive: timeout=60\r\n\r\n${body}`,
  )
}
const rested = (request: string): string => {
  const { client_order_id: client, count } = JSON.parse(request.slice(request.indexOf('\r\n\r\n') + 4)) as Record<string, string>
  return JSON.stringify({ order_id: 'v-1', client_order_id: client, fill_count: '0.00', remaining_count: count, ts_ms: 1_700_000_000_000 })
}

function gateTo(url: string, more: Partial<GateParts> = {}, options: GateOptions = {}) {
  const world = systemWorld(new FileQuarantine('/dev/null'))
  const state = {
    killed: null as string | null,
    lock: true,
    synced: 10,
    permits: null as string | null,
    reference: 5000 as number | null,
    closes: Infinity as number | null,
    open: 1,
  }
  const budget = new Budget({ read: { perSecond: 100, capacity: 100 }, write: { perSecond: 10_000, capacity: 10_000 } })
  const gate = new Gate(
    {
      environment: environmentOf(url),
      signer,
      clock: world.clock,
      timers: world.timers,
      http: world.http,
      budget,
      caps: { orderMax: 1000, notionalMax: 6_000_000, collar: 1000, ordersPerSecond: 1000, ordersOpen: 5 },
      killed: () => state.killed,
      holdsLock: () => state.lock,
      synced: () => state.synced,
      permits: () => state.permits,
      reference: () => state.reference,
      closes: () => state.closes,
      ordersOpen: () => state.open,
      ...more,
    },
    options,
  )
  closing.push(async () => {
    gate.close()
    await world.close()
  })
  return { gate, state, world, budget }
}
const soon = (order: number, more: Parameters<typeof create>[1] = {}) =>
  create(order, { expires: (Math.floor(Date.now() / 1000) + 600) * SECOND, ...more })
const said = ({ outcome: o }: { readonly outcome: Outcome }): string =>
  o.kind === 'acknowledged' ? o.kind : `${o.kind} ${o.kind === 'rejected' ? o.code : o.reason}`

describe('the table of outcomes', () => {
  const answer = (status: number, body: string, type = 'application/json') => ({ answer: { status, body, type, date: '' } })
  const ok = JSON.stringify({ order_id: 'v', client_order_id: 'abc-1-0', fill_count: '1.00', remaining_count: '5.00', ts_ms: 1 })
  const of = (intent: Intent, passage: Parameters<typeof outcomeOf>[1]): string => said({ outcome: outcomeOf(intent, passage) })
  it('ORD-06, ORD-07: only what could be read, of a documented kind, is believed', () => {
    const c = create(0)
    const rows: readonly (readonly [number, string, string])[] = [
      [201, ok, 'acknowledged'],
      [200, ok, 'acknowledged'],
      [201, ok.replace('abc-1-0', 'abc-1-9'), 'unknown 201 about another order'],
      [201, ok.replace('5.00', '5.01'), 'unknown 201 with counts that cannot be'],
      [201, ok.replace('"5.00"', '"-5.00"'), 'unknown 201 with counts that cannot be'],
      [201, '<html>', 'unknown 201 with something that is not JSON'],
      [200, '{"message":"deprecated"}', 'unknown 200 without what it should say (order_id: Expected required property)'],
      [201, ok.slice(0, -3), 'unknown 201 with something that is not JSON'],
      [400, '{"error":{"code":"insufficient_balance","message":"x"}}', 'rejected insufficient_balance'],
      [400, '{"code":"bad_request","message":"x"}', 'rejected bad_request'],
      [400, '{"error":{"code":"user_not_found: 0b1c"}}', 'rejected user_not_found'],
      [401, '{"error":{"code":"header_timestamp_expired"}}', 'rejected header_timestamp_expired'],
      [403, '{"error":{"code":"forbidden"}}', 'rejected forbidden'],
      [404, '{"error":{"code":"market_not_found"}}', 'rejected market_not_found'],
      [409, '{"error":{"code":"trading_is_paused"}}', 'rejected trading_is_paused'],
      [409, '{"error":{"code":"order_already_exists"}}', 'unknown order_already_exists'],
      [410, '{"error":{"code":"deprecated_v1_order_endpoint"}}', 'rejected deprecated_v1_order_endpoint'],
      [429, '{"error":"too many requests"}', 'rejected too_many_requests'],
      [429, '<html>slow down</html>', 'unknown 429'],
      [400, '', 'unknown 400'],
      [408, '{"error":{"code":"timeout"}}', 'unknown 408 timeout'],
      [301, '', 'unknown 301'],
      [422, '{"error":{"code":"what"}}', 'unknown 422 what'],
      [500, '{"error":{"code":"insufficient_balance"}}', 'unknown 500 insufficient_balance'],
      [502, '<html>', 'unknown 502'],
      [503, '{"error":{"code":"exchange_unavailable"}}', 'unknown 503 exchange_unavailable'],
    ]
    for (const [status, body, expected] of rows) expect([status, body, of(c, answer(status, body))]).toEqual([status, body, expected])
    expect(of(c, answer(200, '<html>', 'text/html'))).toBe('unknown 200 with text/html instead of JSON')
    expect(of(c, { answer: null, sent: false, reason: 'ECONNREFUSED' })).toBe('not-sent ECONNREFUSED')
    expect(of(c, { answer: null, sent: true, reason: 'ECONNRESET' })).toBe('unknown ECONNRESET')
  })
  it('a cancel, a decrease, an amend must be about their order; of a batch each item counts alone, and what is missing is unknown', () => {
    const x = cancel(0, 'v')
    expect(of(x, answer(200, '{"order_id":"v","reduced_by":"1.00","ts_ms":1}'))).toBe('acknowledged')
    expect(of(x, answer(200, '{"order_id":"w","reduced_by":"1.00","ts_ms":1}'))).toBe('unknown 200 about another order')
    expect(of(decrease(0, 'v', 100), answer(200, '{"order_id":"v","remaining_count":"1.01","ts_ms":1}'))).toBe(
      'unknown 200 with counts that cannot be',
    )
    expect(of(amend(0, 'v', 5100, 100), answer(200, '{"order_id":"v","ts_ms":1}'))).toBe('acknowledged')
    const batch: Intent = {
      kind: 'cancel-batch',
      command: null,
      attempt: 1,
      orders: ['a', 'b', 'c'].map((id) => ({ id, ticker: 'T', shard: 0, subaccount: 0 })),
    }
    const items = [
      { order_id: 'a', reduced_by: '2.00', ts_ms: 5 },
      { order_id: 'b', reduced_by: '0.00', error: { code: 'not_found' } },
    ]
    const outcome = outcomeOf(batch, answer(200, JSON.stringify({ orders: items })))
    expect(outcome.kind === 'acknowledged' && outcome.answer.kind === 'cancel-batch' && [...outcome.answer.items]).toEqual([
      ['a', { kind: 'canceled', reduced: 200, time: 5000 }],
      ['b', { kind: 'rejected', code: 'not_found' }],
    ])
    expect(of(batch, answer(200, JSON.stringify({ orders: [...items, items[0]] })))).toBe('unknown 200 about another order')
    expect(of({ kind: 'cancel-all', command: null, attempt: 1, subaccount: 2 }, answer(204, '', ''))).toBe('acknowledged')
    expect(of({ kind: 'cancel-all', command: null, attempt: 1, subaccount: 2 }, answer(200, '{}', 'application/json'))).toBe('acknowledged')
    expect(of({ kind: 'cancel-all', command: null, attempt: 1, subaccount: 2 }, answer(200, '<html>', 'text/html'))).toMatch(/^unknown/)
  })
  it('requests say everything that the exchange asks for, and never an empty part of a path', () => {
    const r = requestOf(create(3, { group: 'og', shard: 2, subaccount: 4 }))
    expect([r.method, r.path, r.shard, JSON.parse(r.body as string)]).toEqual([
      'POST',
      '/portfolio/events/orders',
      2,
      {
        ticker: 'KXTEST-1',
        client_order_id: 'abc-1-3',
        side: 'bid',
        count: '6.00',
        price: '0.5000',
        expiration_time: 1_700_003_600,
        time_in_force: 'good_till_canceled',
        post_only: true,
        self_trade_prevention_type: 'taker_at_cross',
        cancel_order_on_pause: true,
        subaccount: 4,
        order_group_id: 'og',
        exchange_index: 2,
      },
    ])
    expect(JSON.parse(requestOf(decrease(0, 'v', 100)).body as string)).toEqual({ reduce_to: '1.00', exchange_index: 0 })
    const routed = requestOf(cancel(0, 'v', { shard: null }))
    expect([routed.method, routed.path, routed.query, routed.shard]).toEqual([
      'DELETE',
      '/portfolio/events/orders/v',
      '?subaccount=0&market_ticker=KXTEST-1',
      null,
    ])
    for (const id of ['', '.', 'a/b', 'a?b', '..']) expect(() => requestOf(cancel(0, id))).toThrow(/cannot be named/)
    expect(readClientId(clientId('n0nce', 2, 17))).toEqual({ nonce: 'n0nce', generation: 2, order: 17 })
    expect([readClientId('a.b-1-2'), readClientId('x'), readClientId('a-1-')]).toEqual([null, null, null])
    expect(() => clientId('a.b', 1, 1)).toThrow()
  })
})

describe('the transport, over sockets', () => {
  it('knows whether a byte left: refused and unreachable did not, reset and silence did', async () => {
    const good = await scripted((socket, request) => respond(socket, 201, rested(request)))
    expect(said(await gateTo(good.url).gate.write(soon(0), 1))).toBe('acknowledged')
    // Nobody listens.
    const gone = await scripted(() => {})
    await new Promise((resolve) => servers.at(-1)?.close(resolve))
    const refused = await gateTo(gone.url).gate.write(soon(0), 1)
    expect([refused.outcome.kind, refused.times.sent]).toEqual(['not-sent', null])
    // It hangs up right away: whether before or after our bytes it cannot tell.
    const rude = await scripted(
      () => {},
      (socket) => socket.resetAndDestroy(),
    )
    const r = await gateTo(rude.url).gate.write(soon(0), 1)
    expect([r.outcome.kind, r.times.sent === null]).toEqual([r.times.sent === null ? 'not-sent' : 'unknown', r.outcome.kind === 'not-sent'])
    // After the whole request, in the middle of the answer, and never.
    const scripts: readonly (readonly [(socket: Socket, request: string) => void, string])[] = [
      [(socket) => socket.resetAndDestroy(), 'unknown'],
      [(socket) => socket.end('HTTP/1.1 201 X\r\ncontent-length: 100\r\n\r\n{"order'), 'unknown'],
      [(socket) => socket.end('SSH-2.0-OpenSSH\r\n'), 'unknown'],
      [() => {}, 'unknown'],
      [(socket) => respond(socket, 302, ''), 'unknown'],
      [(socket) => respond(socket, 200, '<html>log in</html>', 'text/html'), 'unknown'],
      [(socket) => respond(socket, 201, '{"order_id":'), 'unknown'],
      [(socket) => respond(socket, 503, '<html>'), 'unknown'],
    ]
    for (const [script, kind] of scripts) {
      const server = await scripted(script)
      const { outcome, times } = await gateTo(server.url, {}, { timeout: 300_000 }).gate.write(soon(0), 1)
      expect([script.toString(), outcome.kind, times.sent !== null]).toEqual([script.toString(), kind, true])
      await new Promise((resolve) => setTimeout(resolve, 50))
      // ORD-27: one write is one request, whatever happens to it.
      expect(server.requests).toHaveLength(1)
    }
  })
  it('ORD-27: a connection that was used before and is reset under the next request: unknown, and not sent again', async () => {
    let connects = 0
    const server = await scripted(
      (socket, request, turn) => (turn === 1 ? respond(socket, 201, rested(request)) : socket.resetAndDestroy()),
      () => connects++,
    )
    const { gate } = gateTo(server.url)
    expect(said(await gate.write(soon(0), 1))).toBe('acknowledged')
    await new Promise((resolve) => setTimeout(resolve, 20))
    const second = await gate.write(soon(1), 2)
    expect([second.outcome.kind, server.requests.length, connects]).toEqual(['unknown', 2, 1])
    for (const [k, x] of [cancel(0, 'v-1'), decrease(0, 'v-1', 100)].entries()) {
      expect((await gate.write(x, 3)).outcome.kind).toBe('unknown')
      expect(server.requests).toHaveLength(3 + k)
    }
  })
  it('signs method and path alone, once each, also ahead of time', async () => {
    const server = await scripted((socket, request) => respond(socket, 201, rested(request)))
    const { gate } = gateTo(server.url, {}, { signAhead: 2 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    for (let k = 0; k < 4; k++) expect(said(await gate.write(soon(k), 1))).toBe('acknowledged')
    const signatures = server.requests.map((r) => /kalshi-access-signature: (\S+)/i.exec(r)?.[1])
    const stamps = server.requests.map((r) => Number(/kalshi-access-timestamp: (\d+)/i.exec(r)?.[1]))
    expect(signatures.every((s) => s !== undefined)).toBe(true)
    for (const t of stamps) expect(Math.abs(Date.now() - t)).toBeLessThan(2000)
  })
  it('keeps connections open before they are needed', async () => {
    const server = await scripted((socket, request) => respond(socket, 201, rested(request)))
    const { gate } = gateTo(server.url)
    gate.prepare()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(server.sockets.size).toBe(3)
    await gate.write(soon(0), 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect([server.requests.length, server.sockets.size]).toEqual([1, 4])
  })
})

describe('the gate', () => {
  it('R10: refuses what may not leave, says why, and lets through what takes away risk', async () => {
    const server = await scripted((socket, request) =>
      respond(socket, 200, request.startsWith('POST') ? rested(request) : '{"order_id":"v","reduced_by":"1.00","ts_ms":1}'),
    )
    const { gate, state, world } = gateTo(server.url)
    let order = 0
    const tries = async (change: () => void, more: Parameters<typeof create>[1] = {}, sequence = 1): Promise<string> => {
      const before = { ...state }
      change()
      const result = said(await gate.write(soon(order++, more), sequence))
      const canceled = said(await gate.write(cancel(0, 'v'), sequence))
      Object.assign(state, before)
      expect([result, canceled]).toEqual([result, result === 'rejected gate:lock' ? 'rejected gate:lock' : 'acknowledged'])
      return result
    }
    const none = (): void => {}
    expect(await tries(none)).toBe('acknowledged')
    expect(await tries(() => (state.killed = 'by hand'))).toBe('rejected gate:kill')
    expect(await tries(() => (state.lock = false))).toBe('rejected gate:lock')
    expect(await tries(none, {}, 11)).toBe('rejected gate:unsynced')
    expect(await tries(none, {}, Infinity)).toBe('rejected gate:unsynced')
    expect(await tries(() => (state.permits = 'syncing'))).toBe('rejected gate:syncing')
    expect(await tries(() => (state.reference = null))).toBe('rejected gate:reference')
    expect(await tries(() => (state.reference = 3999))).toBe('rejected gate:collar')
    expect(await tries(() => (state.reference = 6001), { side: 'ask' })).toBe('rejected gate:collar')
    // Far behind the market is no danger.
    expect(await tries(() => (state.reference = 9000))).toBe('acknowledged')
    expect(await tries(() => (state.open = 6))).toBe('rejected gate:orders-open')
    expect(await tries(() => (state.closes = world.clock.now() + 29 * SECOND))).toBe('rejected gate:close')
    expect(await tries(() => (state.closes = null))).toBe('rejected gate:close')
    expect(await tries(none, { quantity: 1001 })).toBe('rejected gate:size')
    expect(await tries(none, { quantity: 0 })).toBe('rejected gate:size')
    expect(await tries(none, { quantity: 1.5 })).toBe('rejected gate:size')
    expect(await tries(none, { quantity: 1000, price: 6001 })).toBe('rejected gate:notional')
    expect(await tries(none, { price: 10_000 })).toBe('rejected gate:price')
    expect(await tries(none, { price: Number.NaN })).toBe('rejected gate:price')
    expect(await tries(none, { expires: null })).toBe('rejected gate:expiration')
    expect(await tries(none, { expires: 1 })).toBe('rejected gate:expiration')
    expect(await tries(none, { client: 'abc-1-0' })).toBe('rejected gate:client-id')
    expect(said(await gate.write(amend(0, 'v', 5000, 1001), 1))).toBe('rejected gate:size')
    state.closes = world.clock.now() + 29 * SECOND
    expect(said(await gate.write(amend(0, 'v', 4000, 500), 1))).toBe('rejected gate:close')
    state.closes = Infinity
    // Decided before a sleep.
    expect(said(await gate.write(soon(order++), 1, world.clock.now() - 6 * SECOND))).toBe('rejected gate:stale')
    expect(said(await gate.write(cancel(0, 'v'), 1, world.clock.now() - 6 * SECOND))).toBe('acknowledged')
    state.killed = 'by hand'
    expect(said(await gate.write(decrease(0, 'v', 100), 1))).toBe('rejected gate:kill')
    const trigger: Intent = { kind: 'group-trigger', command: null, attempt: 1, group: 'og', shard: 0, subaccount: 0 }
    expect(said(await gate.write(trigger, Infinity))).toBe('acknowledged')
    expect(said(await gate.write({ ...trigger, kind: 'group-reset' }, 1))).toBe('rejected gate:kill')
    // Refused is refused: nothing of it reached the wire.
    expect(server.requests.filter((r) => r.startsWith('POST'))).toHaveLength(2)
    expect(gate.status.refused).toMatchObject({ kill: 3, lock: 2 })
  })
  it('I-K1: reads the kill flag right before the first byte, wherever a create waited until then', async () => {
    // A server that is slow to take connections: the create waits for its socket when the flag is set.
    let connects = 0
    const server = await scripted(
      (socket, request) => respond(socket, 201, rested(request)),
      () => connects++,
    )
    const requests: HttpRequest[] = []
    let release: (() => void) | null = null
    const world = systemWorld(new FileQuarantine('/dev/null'))
    closing.push(() => world.close())
    const slow = {
      request: async (r: HttpRequest) => {
        requests.push(r)
        await new Promise<void>((resolve) => (release = resolve))
        return world.http.request(r)
      },
    }
    const { gate, state } = gateTo(server.url, { http: slow })
    const waits = gate.write(soon(0), 1)
    state.killed = 'now'
    ;(release as unknown as () => void)()
    expect(said(await waits)).toBe('not-sent gate:kill')
    expect(server.requests).toEqual([])
    // And where nobody asks again, `stopCreates` ends it: a thousand that wait for sixteen connections.
    const silent = await scripted(() => {})
    const { gate: g, state: s } = gateTo(silent.url, {}, { timeout: 1_000_000 })
    let stopped = 0
    const all = Array.from({ length: 100 }, async (_, k) => {
      const passed = await g.write(soon(k), 1)
      if (passed.outcome.kind === 'not-sent') stopped++
      return passed
    })
    await new Promise((resolve) => setTimeout(resolve, 100))
    const leftBy = silent.requests.length
    s.killed = 'now'
    g.stopCreates()
    // At once, not when those on their way have ended.
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(stopped).toBe(100 - leftBy)
    const ends = await Promise.all(all)
    expect(silent.requests).toHaveLength(leftBy)
    expect(ends.filter((e) => e.outcome.kind === 'unknown')).toHaveLength(leftBy)
    expect(ends.filter((e) => e.outcome.kind === 'not-sent')).toHaveLength(100 - leftBy)
    expect(leftBy).toBe(16)
  })
  it('ORD-05: creates leave enough tokens to cancel; they wait a moment, and then their strategy decides anew', async () => {
    const server = await scripted((socket, request) =>
      respond(socket, 200, request.startsWith('POST') ? rested(request) : '{"order_id":"v","reduced_by":"1.00","ts_ms":1}'),
    )
    const budget = new Budget({ read: { perSecond: 100, capacity: 100 }, write: { perSecond: 100, capacity: 100 } })
    budget.setCosts(10, [{ method: 'DELETE', path: '/trade-api/v2/portfolio/events/orders/:order_id', cost: 2 }])
    const { gate } = gateTo(server.url, { budget })
    const results = await Promise.all(Array.from({ length: 10 }, (_, k) => gate.write(soon(k), 1)))
    const passed = results.filter((r) => r.outcome.kind === 'acknowledged').length
    expect(results.filter((r) => said(r) === 'rejected gate:tokens')).toHaveLength(10 - passed)
    // 80 tokens, of which 16 are kept.
    expect(passed).toBe(6)
    const cancels = await Promise.all(Array.from({ length: 5 }, () => gate.write(cancel(0, 'v'), 1)))
    expect(cancels.every((r) => r.outcome.kind === 'acknowledged')).toBe(true)
  })
  it('bills shards apart, orders without one on each, batches whole; after a refusal only what takes away risk goes on', () => {
    const b = new WriteBudget({ perSecond: 100, capacity: 100 })
    const now = 1_000_000_000
    for (let k = 0; k < 6; k++) expect(b.spend(now, 1, 10, false, 0)).toBe(true)
    expect([b.spend(now, 1, 10, false, 0), b.spend(now, 0, 10, false, 0), b.spend(now, null, 10, false, 0)]).toEqual([false, true, false])
    expect(b.spend(now, 1, 2, true, 0)).toBe(true)
    // A batch that does not fit is refused whole by the exchange: it is not tried.
    expect(b.freeAt(now, 2, 90, false, 0)).toBe(Infinity)
    // Many open orders keep more.
    expect([b.spend(now, 3, 10, false, 40), b.spend(now, 3, 10, false, 20), b.spend(now, 3, 40, false, 20)]).toEqual([true, true, false])
    b.refused(now)
    expect([
      b.spend(now + 999_999, 0, 10, false, 0),
      b.spend(now + 999_999, 0, 2, true, 0),
      b.spend(now + 1_000_000, 0, 10, false, 0),
    ]).toEqual([false, true, true])
    for (let k = 0; k < 6; k++) b.refused(now + k)
    expect(b.freeAt(now + 5, 0, 10, false, 0)).toBe(now + 5 + 60 * SECOND)
  })
  it('USER-03, ORD-28: a key that is refused, an interface that has moved, a portal in between: nothing new is tried', async () => {
    for (const [status, body, why] of [
      [401, '{"error":{"code":"authentication_error"}}', 'key-refused'],
      [410, '{"error":{"code":"deprecated_v1_order_endpoint"}}', 'interface-moved'],
      [200, '{"message":"notice"}', 'answers-unreadable'],
    ] as const) {
      const server = await scripted((socket) => respond(socket, status, body))
      const { gate } = gateTo(server.url)
      await gate.write(soon(0), 1)
      expect(said(await gate.write(soon(1), 1))).toBe(`rejected gate:${why}`)
      await gate.write(cancel(0, 'v'), 1)
      expect([server.requests.length, gate.status.frozen]).toEqual([2, why])
      gate.thaw()
      await gate.write(soon(2), 1)
      expect(server.requests).toHaveLength(3)
    }
  })
})

describe('the one road', () => {
  const root = fileURLToPath(new URL('../../../..', import.meta.url))
  const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root, encoding: 'utf8' }).trim().split('\n')
  const sources = files.filter((f) => /^(adapters|cli|data|engine|reports|strategies|bench|notebooks)\/.*\.ts$/.test(f))
  const read = (f: string): string => readFileSync(join(root, f), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  it('R10: the transport is called by the gate alone, and nobody else asks the exchange for anything but a read', () => {
    const importers = sources.filter((f) => /from '[^']*\/transport\.ts'/.test(read(f)))
    expect(importers).toEqual(['adapters/kalshi/venue/gate.ts'])
    expect(sources.filter((f) => /from '[^']*\/rest-writes\.ts'/.test(read(f)))).toEqual(['adapters/kalshi/rest-http.ts'])
    // Every request to an `Http` names its method beside the call: elsewhere it is GET, word for word.
    const kalshi = sources.filter((f) => f.startsWith('adapters/kalshi/') || f.startsWith('cli/'))
    const asking = kalshi.filter((f) => /\bhttp\b\S*\.request\(|\.request\(/.test(read(f)))
    const methods = (f: string): string[] => [...read(f).matchAll(/method: '(\w+)'/g)].map((m) => m[1] as string)
    for (const f of asking.filter((x) => !/venue\/transport|rest-http|rest-writes/.test(x)))
      expect([f, methods(f).filter((m) => m !== 'GET')]).toEqual([f, []])
    expect(asking).toContain('adapters/kalshi/venue/transport.ts')
    // And the words of a write stand where intents become requests, nowhere else.
    const writing = kalshi.filter((f) => /'(POST|PUT|DELETE)'/.test(read(f)))
    // (An alert is posted, to whoever the user named: never to the exchange.)
    expect(writing).toEqual([
      'adapters/kalshi/ports.ts',
      'adapters/kalshi/venue/gate.ts',
      'adapters/kalshi/venue/intent.ts',
      'cli/live/messenger.ts',
    ])
  })
})
