/**
 * The admin door: a second loopback port for whoever runs the rehearsal. Owns commands that no client of an exchange has (faults, pauses, lives of markets,
 * deposits); hides nothing. Invariant: only this machine reaches it, and no web page does (Host and Origin are checked, bodies are JSON).
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { z } from 'zod'
import { readBody } from './body.ts'
import { parseRule } from './faults.ts'
import { Lifecycle } from './lifecycle.ts'
import type { ListedMarket } from './market.ts'
import type { ExchangeServer } from './server.ts'
import * as text from './text.ts'

const Fee = z.strictObject({
  type: z.enum(['quadratic', 'quadratic_with_maker_fees', 'quadratic_with_combo_maker_fees', 'flat']),
  multiplier: z.number().nonnegative(),
})
const Band = z.strictObject({ start: z.int(), end: z.int(), step: z.int().positive() })
const PauseBody = z.strictObject({ what: z.enum(['trading', 'exchange']), paused: z.boolean(), shard: z.int().optional() })
const ReadsBody = z.strictObject({ lagMs: z.number().nonnegative().optional(), frozen: z.boolean().optional() })
const ClockBody = z.strictObject({ offsetMs: z.number() })
const SocketsBody = z.strictObject({ do: z.enum(['disconnect', 'half-open', 'stop-pings', 'start-pings']) })
const CutoffBody = z.strictObject({ secondsAgo: z.number().nonnegative() })
const DepositBody = z.strictObject({ dollars: z.number().positive(), shard: z.int().optional() })
const FeesBody = z.strictObject({ event: z.string().optional(), series: z.string().optional(), fee: Fee.nullable() })
const IndexBody = z.strictObject({ feed: z.enum(['cfbenchmarks', 'pyth']), id: z.string(), value: z.string().regex(/^\d+(\.\d+)?$/) })
/** Times in seconds from now, prices in 1/10,000 dollar. */
const ListBody = z.strictObject({
  ticker: z.string().min(1),
  event: z.string().min(1),
  series: z.string().min(1),
  title: z.string().default('Rehearsal market'),
  opensIn: z.number().default(0),
  closesIn: z.number().positive(),
  grid: z.array(Band).default([{ start: 0, end: 10_000, step: 100 }]),
  fee: Fee.default({ type: 'quadratic', multiplier: 1 }),
  exclusive: z.boolean().default(false),
  exchangeIndex: z.int().default(0),
  settlementSeconds: z.number().default(30),
})
const MarketBody = z.discriminatedUnion('do', [
  z.strictObject({ do: z.literal('halt') }),
  z.strictObject({ do: z.literal('activate') }),
  z.strictObject({ do: z.literal('close') }),
  z.strictObject({ do: z.literal('dispute') }),
  z.strictObject({ do: z.literal('settle') }),
  z.strictObject({ do: z.literal('determine'), result: z.enum(['yes', 'no', 'scalar']), value: z.int().min(0).max(10_000).optional() }),
  z.strictObject({ do: z.literal('move-close'), closesIn: z.number() }),
  z.strictObject({ do: z.literal('regrid'), grid: z.array(Band).min(1) }),
])

class NotFound extends Error {}
const feeOf = (fee: z.infer<typeof Fee>): { type: z.infer<typeof Fee>['type']; multiplier: number } => ({
  type: fee.type,
  multiplier: Math.round(fee.multiplier * 10_000),
})

export class Admin {
  readonly #server: ExchangeServer
  constructor(server: ExchangeServer) {
    this.#server = server
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const send = (status: number, body: unknown): void => {
      const json = JSON.stringify(body)
      response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(json) })
      response.end(json)
    }
    const host = (request.headers.host ?? '').replace(/:\d+$/, '')
    if ((host !== '127.0.0.1' && host !== 'localhost') || request.headers.origin !== undefined)
      return send(403, { error: 'this door is for programs on this machine' })
    const body = await readBody(request)
    try {
      this.#server.catchUp()
    } catch (error) {
      this.#server.broken(error)
      return send(500, { error: error instanceof Error ? error.message : 'the exchange failed' })
    }
    try {
      send(
        200,
        this.#do(request.method ?? 'GET', (request.url ?? '/').split('?')[0] ?? '/', body === null || body === '' ? {} : JSON.parse(body)),
      )
    } catch (error) {
      if (error instanceof NotFound) send(404, { error: error.message })
      else if (error instanceof z.ZodError)
        send(400, { error: `${error.issues[0]?.path.join('.') ?? ''}: ${error.issues[0]?.message ?? 'invalid'}` })
      else send(400, { error: error instanceof Error ? error.message : String(error) })
    }
  }

  #do(method: string, path: string, body: unknown): unknown {
    const server = this.#server
    const x = server.exchange
    const [, first = '', second = ''] = path.split('/').map(decodeURIComponent)
    const ok = { ok: true }
    switch (`${method} ${first}`) {
      case 'GET ':
      case 'GET status':
        return this.#status()
      case 'GET clock':
        return { ...server.clock.plan, now: server.clock.now(), offset: server.clock.offset }
      case 'GET faults':
        return { rules: server.faults.rules, injected: server.faults.log }
      case 'POST faults': {
        const rule = parseRule(body)
        if (rule.on === 'time') server.schedule(rule)
        else server.faults.add(rule)
        return ok
      }
      case 'DELETE faults':
        server.faults.clear()
        return ok
      case 'POST pause': {
        const { what, paused, shard } = PauseBody.parse(body)
        x.pause(what, paused, shard ?? null)
        return ok
      }
      case 'POST reads': {
        const { lagMs, frozen } = ReadsBody.parse(body)
        if (lagMs !== undefined) x.readLag = lagMs * 1000
        if (frozen !== undefined) x.freezeReads(frozen)
        return ok
      }
      case 'POST clock':
        server.clock.offset = ClockBody.parse(body).offsetMs * 1000
        return ok
      case 'POST sockets': {
        const { do: what } = SocketsBody.parse(body)
        for (const c of server.connections) {
          if (what === 'disconnect') c.reset()
          else if (what === 'half-open') c.halfOpen()
          else c.pings = what === 'start-pings'
        }
        return ok
      }
      case 'POST cutoff': {
        const at = x.now - CutoffBody.parse(body).secondsAgo * 1e6
        x.cutoff = { settled: at, trades: at, orders: at, positions: at }
        return ok
      }
      case 'POST accounts': {
        const account = [...x.accounts.values()].find((a) => a.name === second)
        if (account === undefined) throw new NotFound(`there is no account ${second}`)
        const { dollars, shard } = DepositBody.parse(body)
        const amount = Math.round(dollars * 100) * 10_000
        account.move(0, shard ?? 0, amount, x.now)
        account.deposited += amount
        return ok
      }
      case 'POST fees': {
        const { event, series, fee } = FeesBody.parse(body)
        if (event !== undefined) x.eventFee(event, fee === null ? null : feeOf(fee))
        else if (series !== undefined && fee !== null) x.seriesFee(series, feeOf(fee))
        return ok
      }
      case 'POST indices':
        x.publish({ ...IndexBody.parse(body), sourceTime: x.now })
        return ok
      case 'POST markets':
        return second === '' ? this.#list(body) : this.#market(second, body)
      case 'POST stop':
        setTimeout(() => server.requestStop(), 10)
        return ok
      default:
        throw new NotFound(`${method} ${path}: there is no such command`)
    }
  }

  #status(): unknown {
    const server = this.#server
    const x = server.exchange
    return {
      url: server.url,
      socketUrl: server.socketUrl,
      clock: server.clock.plan,
      now: text.time(x.now),
      requests: server.requests,
      behindMaxMs: Math.round(server.behindMax / 1000),
      connections: server.connections.size,
      markets: [...x.markets.values()].map((m) => ({ ticker: m.ticker, status: m.status, bid: text.price(m.bid), ask: text.price(m.ask) })),
      accounts: [...x.accounts.values()].map((a) => ({ name: a.name, user: a.user, keys: [...a.keys.keys()], cash: text.money(a.total) })),
      audit: x.audit(),
      faults: server.faults.log.length,
    }
  }

  #list(body: unknown): unknown {
    const x = this.#server.exchange
    const { opensIn, closesIn, settlementSeconds, fee, ...rest } = ListBody.parse(body)
    if (!x.shards.some((s) => s.index === rest.exchangeIndex)) throw new NotFound(`there is no shard ${rest.exchangeIndex}`)
    const market = x.list({
      ...rest,
      fee: feeOf(fee),
      openTime: x.now + Math.round(opensIn * 1e6),
      closeTime: x.now + Math.round(closesIn * 1e6),
      settlementTimer: Math.round(settlementSeconds * 1e6),
    })
    return { ticker: market.ticker, market_id: market.id }
  }

  #market(ticker: string, body: unknown): unknown {
    const x = this.#server.exchange
    const market = x.markets.get(ticker)
    if (market === undefined) throw new NotFound(`there is no market ${ticker}`)
    const command = MarketBody.parse(body)
    this.#apply(market, command)
    return { ticker, status: market.status }
  }
  #apply(market: ListedMarket, command: z.infer<typeof MarketBody>): void {
    const { lifecycle, now } = this.#server.exchange
    switch (command.do) {
      case 'halt':
        return lifecycle.halt(market)
      case 'activate':
        return lifecycle.activate(market)
      case 'close':
        return lifecycle.moveClose(market, now)
      case 'dispute':
        return lifecycle.dispute(market)
      case 'settle':
        return lifecycle.settle(market)
      case 'determine': {
        const { result, value } = Lifecycle.outcome(command.result, command.value ?? 0)
        return lifecycle.determine(market, result, value)
      }
      case 'move-close':
        return lifecycle.moveClose(market, now + Math.round(command.closesIn * 1e6))
      case 'regrid':
        return lifecycle.regrid(market, command.grid)
    }
  }
}
