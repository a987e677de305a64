import { constants, createPublicKey, generateKeyPairSync, verify, type KeyObject } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { environmentOf } from '../../../adapters/kalshi/environment.ts'
import { FileQuarantine, KalshiError, readCandles, readTrades, systemWorld } from '../../../adapters/kalshi/index.ts'
import { Budget, Priority } from '../../../adapters/kalshi/rate-limit.ts'
import { Rest } from '../../../adapters/kalshi/rest.ts'
import { Signer } from '../../../adapters/kalshi/sign.ts'
import type { SystemWorld } from '../../../adapters/kalshi/system.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ed = generateKeyPairSync('ed25519')
const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string
const ID = '0b1c2d3e-aaaa-bbbb-cccc-1234567890ab'
let dir = ''
let world: SystemWorld
const servers: Server[] = []
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tapeline-'))
  world = systemWorld(new FileQuarantine(join(dir, 'quarantine.ndjson')))
})
afterEach(() => {
  for (const s of servers.splice(0)) {
    s.closeAllConnections()
    s.close()
  }
})
afterAll(async () => {
  await world.close()
  rmSync(dir, { recursive: true, force: true })
})

type Handler = (request: IncomingMessage, response: ServerResponse, turn: number) => void
async function served(
  handler: Handler,
  budget = new Budget({ read: { perSecond: 1e6, capacity: 1e6 }, write: { perSecond: 100, capacity: 100 } }),
) {
  let turn = 0
  const server = createServer((request, response) => handler(request, response, ++turn))
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const environment = environmentOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return { rest: new Rest(environment, Signer.fromPem(ID, pemOf(ed.privateKey)), budget, world), environment, turns: () => turn }
}
const json = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
}
const failure = async (promise: Promise<unknown>): Promise<KalshiError> => {
  const error = await promise.then(
    () => null,
    (e: unknown) => e,
  )
  expect(error).toBeInstanceOf(KalshiError)
  return error as KalshiError
}

describe('signatures', () => {
  it('cover time, method and path without the query, in both kinds', () => {
    const message = '1781159348379GET/trade-api/v2/portfolio/balance'
    for (const [pair, options] of [
      [rsa, { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }],
      [ed, {}],
    ] as const) {
      const headers = Signer.fromPem(ID, pemOf(pair.privateKey)).headers(
        'get',
        '/trade-api/v2/portfolio/balance?subaccount=1',
        1781159348379.9,
      )
      expect(headers['KALSHI-ACCESS-KEY']).toBe(ID)
      expect(headers['KALSHI-ACCESS-TIMESTAMP']).toBe('1781159348379')
      const signature = Buffer.from(headers['KALSHI-ACCESS-SIGNATURE'] as string, 'base64')
      const key = { key: createPublicKey(pair.privateKey), ...options }
      const algorithm = pair === rsa ? 'sha256' : null
      expect(verify(algorithm, Buffer.from(message), key, signature)).toBe(true)
      expect(verify(algorithm, Buffer.from(`${message}?subaccount=1`), key, signature)).toBe(false)
    }
  })

  it('USER-03: need a file that its owner alone can read, and say what is wrong with any other', () => {
    const path = join(dir, 'key.pem')
    const refusal = (text: string, mode = 0o600): string => {
      writeFileSync(path, text, { mode })
      chmodSync(path, mode)
      try {
        Signer.fromFile(ID, path)
      } catch (error) {
        return (error as Error).message
      }
      return 'accepted'
    }
    expect(refusal(pemOf(rsa.privateKey))).toBe('accepted')
    expect(refusal(pemOf(ed.privateKey), 0o400)).toBe('accepted')
    expect(refusal(`\uFEFF${pemOf(ed.privateKey).replaceAll('\n', '\r\n')}`)).toBe('accepted')
    for (const mode of [0o644, 0o640, 0o660, 0o604])
      expect(refusal(pemOf(rsa.privateKey), mode)).toMatch(/can be read by others .*: chmod 600 it$/)
    expect(refusal(rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string)).toMatch(/public key: give the private one/)
    expect(refusal(rsa.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }) as string)).toMatch(
      /encrypted/,
    )
    expect(refusal(pemOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey))).toMatch(
      /type ec: the exchange takes RSA and Ed25519/,
    )
    expect(refusal('hello')).toMatch(/no private key in PEM form/)
    symlinkSync(path, join(dir, 'link.pem'))
    expect(() => Signer.fromFile(ID, join(dir, 'link.pem'))).toThrow(/not a plain file/)
    expect(() => Signer.fromFile(ID, join(dir, 'none.pem'))).toThrow(/cannot be read \(ENOENT\)/)
    expect(() => Signer.fromPem('a b\nc', pemOf(ed.privateKey))).toThrow(/not an id/)
  })

  it('USER-02: go to demo unless production is named, and to no other host but this machine', () => {
    expect(environmentOf().rest).toBe('https://external-api.demo.kalshi.co')
    expect(environmentOf('production').socket).toBe('wss://external-api-ws.kalshi.com/trade-api/ws/v2')
    expect(environmentOf('http://127.0.0.1:4010').socket).toBe('ws://127.0.0.1:4010/trade-api/ws/v2')
    for (const wrong of [
      'prod',
      'https://api.elections.kalshi.com',
      'http://127.0.0.1.evil.com',
      'http://evil.com',
      'http://127.0.0.1:4010/x',
    ])
      expect(() => environmentOf(wrong)).toThrow(/is unknown: say demo, production/)
    expect(() => environmentOf('demo', { NODE_TLS_REJECT_UNAUTHORIZED: '0' })).toThrow(/turns certificates off/)
  })

  it('SEC-01: a planted key is in no output, in no encoding', async () => {
    const pem = pemOf(rsa.privateKey)
    const path = join(dir, 'canary.pem')
    writeFileSync(path, pem, { mode: 0o600 })
    const signer = Signer.fromFile(ID, path)
    const outputs: string[] = [String(signer), JSON.stringify({ signer }), inspect({ signer }, { depth: 9, showHidden: true })]
    const environment = environmentOf('http://127.0.0.1:9')
    const rest = new Rest(environment, signer, new Budget(), world)
    outputs.push(inspect(rest, { depth: 9, showHidden: true }), JSON.stringify(rest))
    for (const mode of [0o644, 0o600]) {
      for (const text of [
        pem,
        pem.slice(0, 700),
        pem.replace('BEGIN PRIVATE', 'BEGIN PUBLIC').replace('END PRIVATE', 'END PUBLIC'),
        `ENCRYPTED ${pem}`,
        pem.slice(30),
      ]) {
        const bad = join(dir, 'bad.pem')
        writeFileSync(bad, text, { mode })
        chmodSync(bad, mode)
        try {
          Signer.fromFile(ID, bad)
        } catch (error) {
          outputs.push(inspect(error, { depth: 9, showHidden: true }), JSON.stringify(error))
        }
      }
    }
    const error = await failure(rest.get('balance', {}, { attempts: 1, timeout: 300_000 }))
    const { rest: answered } = await served((_, r) => json(r, 401, { error: { code: 'authentication_error', details: 'NOT_FOUND' } }))
    const refused = await failure(answered.get('balance'))
    for (const e of [error, refused]) outputs.push(inspect(e, { depth: 9, showHidden: true }), JSON.stringify(e), e.stack ?? '')
    expect(outputs.length).toBeGreaterThan(20)
    const body = pem.split('\n').filter((l) => l !== '' && !l.startsWith('-----'))
    const der = Buffer.from(body.join(''), 'base64')
    const secrets = new Set<string>()
    for (const line of body) for (let i = 0; i + 24 <= line.length; i += 12) secrets.add(line.slice(i, i + 24))
    for (let i = 0; i + 16 <= der.length; i += 8) {
      const part = der.subarray(i, i + 16)
      secrets.add(part.toString('hex'))
      secrets.add(part.toString('latin1'))
      secrets.add(encodeURIComponent(part.toString('base64').slice(0, 20)))
      for (const shift of [0, 1, 2])
        secrets.add(
          der
            .subarray(i + shift, i + shift + 15)
            .toString('base64')
            .slice(0, 20),
        )
    }
    for (const output of outputs)
      for (const secret of secrets) if (secret.length >= 12) expect(output.toLowerCase().includes(secret.toLowerCase())).toBe(false)
  })
})

describe('reads', () => {
  it('are signed, spend their cost, and are checked', async () => {
    const seen: { url: string; signed: boolean }[] = []
    const { rest } = await served((request, response) => {
      const { url = '', headers } = request
      const path = url.replace(/\?.*$/, '')
      const message = Buffer.from(`${String(headers['kalshi-access-timestamp'])}GET${path}`)
      seen.push({ url, signed: verify(null, message, ed.publicKey, Buffer.from(String(headers['kalshi-access-signature']), 'base64')) })
      json(response, 200, { exchange_active: true, trading_active: false })
    })
    expect(await rest.get('exchangeStatus')).toMatchObject({ trading_active: false })
    expect(seen).toEqual([{ url: '/trade-api/v2/exchange/status', signed: true }])
    expect(rest.clockOffset).not.toBeNull()
    expect(Math.abs(rest.clockOffset?.offset ?? 1e9)).toBeLessThan(1_000_000)
    // A part of the path that is empty would be another endpoint.
    expect((await failure(rest.get('market', { ticker: '' }))).message).toMatch(/market needs a ticker/)
    expect((await failure(rest.get('market', { ticker: '..' }))).code).toBe('REFUSED')
    expect(seen).toHaveLength(1)
  })

  it('say in one sentence what went wrong, and repeat only what may be repeated', async () => {
    const cases: readonly [string, (r: ServerResponse) => void, string, number][] = [
      ['401', (r) => json(r, 401, { error: { code: 'header_timestamp_expired', message: 'header timestamp expired' } }), 'AUTH', 1],
      ['403', (r) => json(r, 403, { code: 'forbidden', message: 'no' }), 'FORBIDDEN', 1],
      ['404', (r) => json(r, 404, { error: { code: 'not_found', message: 'not found' } }), 'NOT_FOUND', 1],
      ['400', (r) => json(r, 400, { msg: 'Parameter validation failed' }), 'REFUSED', 1],
      ['429', (r) => json(r, 429, { error: 'too many requests' }), 'RATE_LIMITED', 2],
      ['503', (r) => json(r, 503, ''), 'SERVER', 2],
      ['HOST-04 captive portal', (r) => r.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in'), 'UNREADABLE', 1],
      ['html that says it is json', (r) => json(r, 200, '<html>'), 'UNREADABLE', 1],
      ['another object', (r) => json(r, 200, { exchange_active: 'yes' }), 'UNREADABLE', 1],
      ['cut off', (r) => json(r, 200, '{"exchange_active":tr'), 'UNREADABLE', 1],
      ['SEC-09 redirect', (r) => r.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(), 'UNREADABLE', 1],
      ['hang up', (r) => void r.destroy(), 'NETWORK', 2],
      ['silence', () => {}, 'TIMEOUT', 2],
    ]
    for (const [name, act, code, turns] of cases) {
      const s = await served((_, response) => act(response))
      const error = await failure(s.rest.get('exchangeStatus', {}, { attempts: 2, timeout: 400_000 }))
      expect([name, error.code, s.turns()]).toEqual([name, code, turns])
      expect(error.message).toMatch(/^GET \S+ .*: /)
      expect(error.message).not.toContain('\n')
    }
  })

  it('try again after an error, with patience', async () => {
    const s = await served((_, response, turn) =>
      turn < 3
        ? json(response, turn === 1 ? 429 : 500, { error: 'too many requests' })
        : json(response, 200, { exchange_active: true, trading_active: true }),
    )
    const started = performance.now()
    expect(await s.rest.get('exchangeStatus')).toMatchObject({ trading_active: true })
    expect(s.turns()).toBe(3)
    expect(performance.now() - started).toBeGreaterThan(350)
  })

  it('of lists walk every page, and say when a list is not complete', async () => {
    const trade = (id: number) => ({
      trade_id: String(id),
      ticker: 'T',
      count_fp: '1.00',
      yes_price_dollars: '0.5000',
      created_time: '2026-11-01T00:00:00Z',
    })
    const pages: Record<string, unknown> = {
      '': { trades: [trade(1), trade(2)], cursor: 'b' },
      b: { trades: [trade(3)], cursor: 'c' },
      c: { trades: [trade(4)], cursor: '' },
      loop: { trades: [trade(9)], cursor: 'loop' },
    }
    const s = await served((request, response) => {
      const q = new URL(request.url ?? '', 'http://x').searchParams
      json(response, 200, pages[q.get('cursor') ?? (q.get('ticker') === 'LOOP' ? 'loop' : '')])
    })
    expect(await s.rest.list('trades', { ticker: 'T' })).toMatchObject({ items: [1, 2, 3, 4].map(trade), complete: true, pages: 3 })
    expect(await s.rest.list('trades', { ticker: 'LOOP' })).toMatchObject({ complete: false, why: 'a cursor came back', pages: 2 })
    expect(await s.rest.list('trades', { ticker: 'T' }, { pagesMax: 2 })).toMatchObject({ complete: false, why: 'more than 2 pages' })
  })

  it('of history join the archive and the live side at the cutoff', async () => {
    const asked: string[] = []
    const trade = (id: string) => ({
      trade_id: id,
      ticker: 'T',
      count_fp: '1.00',
      yes_price_dollars: '0.5000',
      created_time: '2026-11-01T00:00:00Z',
    })
    const old = { open: '0.10', low: '0.10', high: '0.10', close: '0.10' }
    const s = await served((request, response) => {
      const { pathname } = new URL(request.url ?? '', 'http://x')
      asked.push(pathname.replace('/trade-api/v2', ''))
      if (pathname.endsWith('/cutoff'))
        return json(response, 200, {
          market_settled_ts: '2026-08-01T00:00:00Z',
          trades_created_ts: '2026-08-01T00:00:00Z',
          orders_updated_ts: '2026-10-01T00:00:00Z',
        })
      if (pathname.endsWith('/candlesticks'))
        return pathname.includes('/historical/')
          ? json(response, 200, {
              ticker: 'T',
              candlesticks: [{ end_period_ts: 60, yes_bid: old, yes_ask: old, price: {}, volume: '3.00', open_interest: '1.00' }],
            })
          : json(response, 404, { error: { code: 'not_found', message: 'not found' } })
      json(response, 200, { trades: pathname.includes('/historical/') ? [trade('b'), trade('a')] : [trade('c'), trade('b')], cursor: '' })
    })
    const from = Date.parse('2026-07-01T00:00:00Z') * 1000
    expect(await readTrades(s.rest, 'T', from, from + 150 * 86_400_000_000)).toMatchObject({
      items: [trade('a'), trade('b'), trade('c')],
      complete: true,
    })
    expect(asked).toContain('/historical/trades')
    asked.length = 0
    const now = Date.parse('2026-11-01T00:00:00Z') * 1000
    await readTrades(s.rest, 'T', now, now + 1e6)
    expect(asked).not.toContain('/historical/trades')
    expect(await readCandles(s.rest, 'S', 'T', 0, 120_000_000, 1)).toEqual([
      {
        end: 60_000_000,
        bid: { open: 1000, low: 1000, high: 1000, close: 1000 },
        ask: { open: 1000, low: 1000, high: 1000, close: 1000 },
        price: null,
        volume: 300,
        openInterest: 100,
      },
    ])
  })
})

describe('the budget', () => {
  it('lets orders go first, keeps a part for them, and waits after a 429', () => {
    const budget = new Budget({ read: { perSecond: 100, capacity: 100 }, write: { perSecond: 100, capacity: 100 } })
    const gone: string[] = []
    const ask = (name: string, priority: Priority, cost = 10): void => budget.ask('read', cost, priority, () => gone.push(name))
    for (let i = 0; i < 9; i++) ask(`history ${i}`, Priority.HISTORY)
    expect(budget.advance(1_000_000)).toBe(1_100_000)
    // Eight of ten: a fifth is kept.
    expect(gone).toHaveLength(8)
    ask('order', Priority.ORDER)
    ask('repair', Priority.REPAIR)
    ask('cancel', Priority.CANCEL)
    budget.advance(1_000_000)
    expect(gone.slice(8)).toEqual(['cancel', 'order'])
    budget.advance(1_300_000)
    expect(gone.slice(10)).toEqual(['repair'])
    budget.refused('read', 1_300_000)
    ask('late', Priority.CANCEL)
    expect(budget.advance(1_400_000)).toBe(1_550_000)
    budget.refused('read', 1_500_000)
    expect(budget.advance(1_600_000)).toBe(2_000_000)
    budget.advance(2_000_000)
    expect(gone.at(-1)).toBe('history 8')
    expect(budget.waiting('read')).toBe(0)
  })

  it('never lets more out than the account has, whoever asks for what', () => {
    let now = 0
    let spent = 0
    const budget = new Budget({ read: { perSecond: 200, capacity: 600 }, write: { perSecond: 100, capacity: 100 } })
    for (let i = 0; i < 2_000; i++) {
      const cost = 1 + ((i * 7) % 50)
      budget.ask('read', cost, ((i * 5) % 6) as Priority, () => {
        spent += cost
      })
      now += (i % 11) * 10_000
      budget.advance(now)
      expect(spent).toBeLessThanOrEqual(600 + (200 * now) / 1e6 + 1e-6)
    }
    // A request that costs more than a bucket holds is let go when the bucket is full, not never.
    budget.ask('write', 500, Priority.ORDER, () => {
      spent = -1
    })
    budget.advance(now + 10_000_000)
    expect(spent).toBe(-1)
  })

  it('knows the costs of the account', () => {
    const budget = new Budget()
    expect(budget.costOf('DELETE', '/trade-api/v2/portfolio/events/orders/abc')).toBe(10)
    budget.setCosts(10, [
      { method: 'DELETE', path: '/trade-api/v2/portfolio/events/orders/:order_id', cost: 2 },
      { method: 'DELETE', path: '/trade-api/v2/portfolio/events/orders/batched', cost: 3 },
      { method: 'GET', path: '/trade-api/v2/cfbenchmarks/*endpoint', cost: 50 },
    ])
    expect(budget.costOf('DELETE', '/trade-api/v2/portfolio/events/orders/abc')).toBe(2)
    expect(budget.costOf('DELETE', '/trade-api/v2/portfolio/events/orders/batched')).toBe(3)
    expect(budget.costOf('GET', '/trade-api/v2/cfbenchmarks/a/b')).toBe(50)
    expect(budget.costOf('GET', '/trade-api/v2/portfolio/events/orders/abc')).toBe(10)
    budget.setLimits({ read: { perSecond: 10, capacity: 10 }, write: { perSecond: 10, capacity: 10 } }, 5_000_000)
    budget.ask('read', 10, Priority.ORDER, () => {})
    expect(budget.advance(5_000_000)).toBe(6_000_000)
  })
})
