/** A local exchange for tests: in one process under a given clock (`inProcess`), or on real sockets (`onSockets`), with signed clients. */
import { WebSocket } from 'ws'
import {
  Api,
  Exchange,
  ExchangeServer,
  Faults,
  giveKey,
  Hub,
  realNow,
  signRequest,
  Stage,
  VirtualClock,
  type Account,
  type Driver,
  type ExchangeOptions,
  type FaultRule,
  type Frame,
  type ListedMarket,
  type MarketDefinition,
  type Session,
  type Tier,
} from '../../../adapters/exchange/index.ts'
import { Crowd } from '../../../adapters/practice/crowd.ts'
import { floorOf } from '../../../adapters/exchange/floor.ts'

export const T0 = 1_795_000_000_000_000
export type Json = Record<string, any>
export type Answer = { readonly status: number; readonly body: Json }

export function market(ticker: string, more: Partial<MarketDefinition> = {}): MarketDefinition {
  return {
    ticker,
    event: 'KXTEST-E',
    series: 'KXTEST',
    title: `Title of ${ticker}`,
    openTime: 0,
    closeTime: T0 + 3_600_000_000,
    grid: [{ start: 0, end: 10_000, step: 100 }],
    fee: { type: 'quadratic', multiplier: 10_000 },
    exclusive: false,
    ...more,
  }
}

let numbers = 0
/** A whole create request. */
export function order(side: 'bid' | 'ask', price: number, count: number, more: Json = {}): Json {
  return {
    ticker: 'KXTEST-A',
    client_order_id: `c-${numbers++}`,
    side,
    count: (count / 100).toFixed(2),
    price: (price / 10_000).toFixed(4),
    time_in_force: 'good_till_canceled',
    self_trade_prevention_type: 'taker_at_cross',
    ...more,
  }
}

export type Trader = { readonly account: Account; readonly keyId: string; readonly privatePem: string }
export function trader(
  x: Exchange,
  name: string,
  dollars = 1000,
  tier: Tier = 'prestige',
  type: 'rsa' | 'ed25519' = 'ed25519',
  shards = [0],
): Trader {
  const account = x.openAccount(
    name,
    shards.map((shard) => ({ shard, amount: dollars * 1_000_000 })),
    tier,
  )
  return { account, ...giveKey(x, account, type) }
}

export function inProcess(
  options: Partial<ExchangeOptions> = {},
  definitions: readonly MarketDefinition[] = [market('KXTEST-A')],
  drivers: readonly Driver[] = [],
) {
  const x = new Exchange({ start: T0, readLag: 0, ...options })
  const hub = new Hub(x)
  const api = new Api(x)
  const stage = new Stage(x, drivers)
  for (const d of definitions) x.list(d)
  const call = (who: Trader | null, method: string, path: string, body?: unknown): Answer => {
    const url = `/trade-api/v2${path}`
    const signed = who === null ? {} : signRequest(who.keyId, who.privatePem, x.now, method, url)
    const headers = Object.fromEntries(Object.entries(signed).map(([k, v]) => [k.toLowerCase(), v]))
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body)
    const answer = api.handle({ method, url, headers, body: text, wall: null })
    return { status: answer.status, body: JSON.parse(JSON.stringify(answer.body ?? null)) as Json }
  }
  const connect = (who: Trader): { session: Session; frames: Frame[]; messages: () => Json[] } => {
    const frames: Frame[] = []
    const key = who.account.keys.get(who.keyId)
    if (key === undefined) throw new Error('no key')
    const session = hub.connect(who.account, key, (frame) => void frames.push(frame))
    return { session, frames, messages: () => frames.map((f) => JSON.parse(f.text) as Json) }
  }
  const the = (ticker = 'KXTEST-A'): ListedMarket => x.markets.get(ticker) as ListedMarket
  return { x, hub, api, stage, call, connect, the }
}

/** The practice population, composed as the command line does it. */
export function crowdOn(x: Exchange, seed: number, { markets = 1, rate = 40, life = 900_000_000 } = {}): Driver {
  return new Crowd(
    {
      list: (m) => void x.list({ ...m, fee: { type: 'quadratic', multiplier: 10_000 }, exclusive: false }),
      floor: (ticker, sink) => floorOf(x, ticker, sink),
      open: (ticker) => x.markets.get(ticker)?.tradable === true,
      determine: (ticker, result) => {
        const m = x.markets.get(ticker)
        if (m !== undefined) x.lifecycle.determine(m, result, result === 'yes' ? 10_000 : 0)
      },
      index: (id, value) => x.publish({ feed: 'cfbenchmarks', id, value, sourceTime: x.now }),
    },
    { seed, start: x.now, markets, rate, life, resultAfter: 1_000_000 },
  )
}

export type Sockets = Awaited<ReturnType<typeof onSockets>>
export async function onSockets({
  options = {},
  definitions = [market('KXTEST-A', { closeTime: realNow() + 3_600_000_000 })],
  scale = 1,
  rules = [],
  seed = 1,
  drivers = () => [],
  adminPort = null,
  bufferMax,
  onStop,
}: {
  options?: Partial<ExchangeOptions>
  definitions?: readonly MarketDefinition[]
  scale?: number
  rules?: readonly FaultRule[]
  seed?: number
  drivers?: (x: Exchange) => readonly Driver[]
  adminPort?: number | null
  bufferMax?: number
  onStop?: () => void
} = {}) {
  const realStart = realNow()
  const clock = new VirtualClock({ virtualStart: realStart, realStart, scale })
  const x = new Exchange({ start: realStart, readLag: 0, skewMax: 10_000_000 * Math.max(1, scale), ...options })
  const server = new ExchangeServer({
    exchange: x,
    clock,
    drivers: drivers(x),
    adminPort,
    faults: new Faults({ seed, rules }),
    ...(bufferMax === undefined ? {} : { bufferMax }),
    ...(onStop === undefined ? {} : { onStop }),
  })
  for (const d of definitions) x.list(d)
  await server.start()
  const raw = async (
    who: Trader | null,
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Response> => {
    const signed = who === null ? {} : signRequest(who.keyId, who.privatePem, clock.now(), method, `/trade-api/v2${path}`)
    return fetch(`${server.url}${path}`, {
      method,
      headers: headers ?? { ...signed, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
  }
  const call = async (who: Trader | null, method: string, path: string, body?: unknown): Promise<Answer> => {
    const response = await raw(who, method, path, body)
    const text = await response.text()
    return { status: response.status, body: text === '' ? {} : (JSON.parse(text) as Json) }
  }
  const admin = async (path: string, body?: unknown, method = 'POST'): Promise<Answer> => {
    const response = await fetch(`${server.adminUrl}${path}`, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
    return { status: response.status, body: (await response.json()) as Json }
  }
  const socket = async (who: Trader): Promise<SocketClient> => {
    const client = new SocketClient(
      new WebSocket(server.socketUrl, { headers: signRequest(who.keyId, who.privatePem, clock.now(), 'GET', '/trade-api/ws/v2') }),
    )
    await client.opened
    return client
  }
  return { x, clock, server, raw, call, admin, socket, stop: () => server.stop() }
}

/** A WebSocket client that keeps what it heard. */
export class SocketClient {
  readonly ws: WebSocket
  readonly opened: Promise<void>
  readonly closed: Promise<number>
  readonly texts: string[] = []
  readonly messages: Json[] = []
  readonly pings: string[] = []
  #wake: (() => void)[] = []
  #id = 0

  constructor(ws: WebSocket) {
    this.ws = ws
    this.opened = new Promise((resolve, reject) => {
      ws.once('open', () => resolve())
      ws.once('error', reject)
      ws.once('unexpected-response', (_request, response) => reject(new Error(`HTTP ${response.statusCode}`)))
    })
    this.closed = new Promise((resolve) => ws.once('close', (code) => resolve(code)))
    ws.on('error', () => {})
    ws.on('ping', (data) => void this.pings.push(String(data)))
    ws.on('message', (data) => {
      const text = String(data as Buffer)
      this.texts.push(text)
      try {
        this.messages.push(JSON.parse(text) as Json)
      } catch {
        this.messages.push({ type: 'unreadable' })
      }
      for (const wake of this.#wake.splice(0)) wake()
    })
  }
  send(cmd: string, params?: Json): number {
    const id = ++this.#id
    this.ws.send(JSON.stringify({ id, cmd, ...(params === undefined ? {} : { params }) }))
    return id
  }
  /** The first message that fits, those already heard included. */
  async until(fits: (m: Json) => boolean, ms = 5000): Promise<Json> {
    const end = Date.now() + ms
    for (;;) {
      const found = this.messages.find(fits)
      if (found !== undefined) return found
      if (Date.now() > end) throw new Error(`no such message among ${this.messages.map((m) => m['type']).join(', ')}`)
      await Promise.race([new Promise<void>((resolve) => this.#wake.push(resolve)), new Promise((resolve) => setTimeout(resolve, 50))])
    }
  }
  of(type: string): Json[] {
    return this.messages.filter((m) => m['type'] === type)
  }
  close(): void {
    this.ws.terminate()
  }
}

/** A book rebuilt from public frames, by price of the YES book: the slow, obvious twin. */
export class Rebuilt {
  readonly yes = new Map<string, number>()
  readonly no = new Map<string, number>()
  seq = 0
  readonly #yesPrices: boolean
  constructor(yesPrices: boolean) {
    this.#yesPrices = yesPrices
  }
  apply(m: Json): void {
    if (m['seq'] !== undefined) {
      if (m['seq'] !== this.seq + 1) throw new Error(`gap: ${this.seq} → ${m['seq']}`)
      this.seq = m['seq'] as number
    }
    if (m['type'] === 'orderbook_snapshot') {
      for (const [map, name] of [
        [this.yes, 'yes_dollars_fp'],
        [this.no, 'no_dollars_fp'],
      ] as const) {
        map.clear()
        for (const [p, q] of (m['msg'][name] ?? []) as [string, string][]) map.set(p, Math.round(Number(q) * 100))
      }
    }
    if (m['type'] === 'orderbook_delta') {
      const map = m['msg'].side === 'yes' ? this.yes : this.no
      const q = (map.get(m['msg'].price_dollars) ?? 0) + Math.round(Number(m['msg'].delta_fp) * 100)
      if (q < 0) throw new Error(`negative level ${m['msg'].price_dollars}`)
      if (q === 0) map.delete(m['msg'].price_dollars)
      else map.set(m['msg'].price_dollars, q)
    }
  }
  /** As REST writes it. */
  get book(): Json {
    const write = (map: Map<string, number>, flip: boolean): string[][] =>
      [...map].map(([p, q]) => [flip ? (1 - Number(p)).toFixed(4) : p, (q / 100).toFixed(2)]).sort((a, b) => Number(a[0]) - Number(b[0]))
    return { yes_dollars: write(this.yes, false), no_dollars: write(this.no, this.#yesPrices) }
  }
}
