/** An exchange whose past has been played already, on real sockets, and readers of it: what it really traded is its own record. */
import { Exchange, ExchangeServer, Faults, realNow, Stage, VirtualClock, type FaultRule } from '../../../adapters/exchange/index.ts'
import { environmentOf } from '../../../adapters/kalshi/environment.ts'
import type { DownloadRequest } from '../../../adapters/kalshi/index.ts'
import type { HttpRequest } from '../../../adapters/kalshi/ports.ts'
import { Budget } from '../../../adapters/kalshi/rate-limit.ts'
import { UndiciHttp } from '../../../adapters/kalshi/rest-http.ts'
import { Rest } from '../../../adapters/kalshi/rest.ts'
import { MINUTE } from '../../../engine/units.ts'
import { crowdOn } from '../exchange/support.ts'

export const SERIES = 'KXPRACTICE15M'

/** `minutes` of the practice population, which ended just now. */
export async function playedPast({
  seed = 1,
  minutes = 35,
  markets = 2,
  life = 10 * MINUTE,
  rate = 40,
  rules = [],
  during = () => {},
}: {
  seed?: number
  minutes?: number
  markets?: number
  life?: number
  rate?: number
  rules?: readonly FaultRule[]
  during?: (x: Exchange, minute: number) => void
} = {}) {
  const end = realNow()
  const start = Math.floor((end - minutes * MINUTE) / MINUTE) * MINUTE
  const x = new Exchange({ start, readLag: 0, seed })
  const stage = new Stage(x, [crowdOn(x, seed, { markets, rate, life })])
  for (let m = 1; m <= minutes; m++) {
    stage.advance(start + m * MINUTE)
    during(x, m)
  }
  const realStart = realNow()
  const clock = new VirtualClock({ virtualStart: Math.max(realStart, x.now), realStart, scale: 1 })
  const server = new ExchangeServer({ exchange: x, clock, faults: new Faults({ seed, rules }) })
  await server.start()
  return { x, server, start, end: x.now, stop: () => server.stop() }
}
export type Past = Awaited<ReturnType<typeof playedPast>>

/** Reads without a limit, and pauses a hundredth as long. `before`: called with every request on its way out. */
export function reader(url: string, before: (request: HttpRequest, turn: number) => void = () => {}) {
  const http = new UndiciHttp()
  let turn = 0
  const rest = new Rest(
    environmentOf(new URL(url).origin),
    null,
    new Budget({ read: { perSecond: 1e6, capacity: 1e6 }, write: { perSecond: 100, capacity: 100 } }),
    {
      clock: { now: () => realNow(), wall: () => Date.now() },
      timers: {
        after: (delay, call) => {
          const timer = setTimeout(call, delay / 100_000)
          return { cancel: () => clearTimeout(timer) }
        },
      },
      chance: { next: () => 0.5 },
      http: {
        request: (request) => {
          before(request, ++turn)
          return http.request(request)
        },
      },
    },
  )
  return { rest, turns: () => turn, close: () => http.close() }
}

export function request(past: { start: number; end: number }, more: Partial<DownloadRequest> = {}): DownloadRequest {
  return {
    environment: 'local',
    series: [SERIES],
    events: [],
    markets: [],
    from: past.start,
    to: past.end,
    open: false,
    candles: null,
    ...more,
  }
}

/** What the exchange traded, as the rows of a tape are compared. */
export function truth(x: Exchange, from = 0, to = Infinity): string[] {
  return x.trades
    .filter((t) => t.time >= from && t.time <= to)
    .map((t) => `${t.time} ${t.ticker} ${t.side === 0 ? 'bid' : 'ask'} ${t.price} ${t.quantity}`)
}
