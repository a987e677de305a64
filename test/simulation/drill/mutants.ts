/**
 * Planted bugs: the mistakes that cost money in this field, each put around the real trader by a few lines. Owns the list; hides nothing. Invariant: nothing of it is in the program: a mutant wraps the ports,
 * or replaces one method of the trader that was just made.
 */
import type { HttpAnswer, HttpRequest } from '../../../adapters/kalshi/ports.ts'
import { Rest } from '../../../adapters/kalshi/rest.ts'
import { readClientId } from '../../../adapters/kalshi/venue/intent.ts'
import type { KalshiTrader } from '../../../adapters/kalshi/venue/trader.ts'
import { honest, type Trade } from './drilled.ts'

type Send = (request: HttpRequest) => Promise<HttpAnswer>
/** Puts itself between the trader and the network. */
function between(around: (request: HttpRequest, send: Send) => Promise<HttpAnswer>): Trade {
  return (desk, hands) => {
    const { http } = hands.world
    const world = { ...hands.world, http: { request: (request: HttpRequest) => around(request, (r) => http.request(r)) } }
    const { environment, signer, budget } = hands
    return honest(desk, { ...hands, world, rest: new Rest(environment, signer, budget, world) })
  }
}
const isCreate = ({ method, url }: HttpRequest): boolean => method === 'POST' && new URL(url).pathname.endsWith('/events/orders')
const answered = (status: number, body: unknown): HttpAnswer => ({ status, type: 'application/json', date: '', body: JSON.stringify(body) })
type Cell = { answer: HttpAnswer | null; error: unknown }
async function tried(send: Send, request: HttpRequest): Promise<Cell> {
  try {
    return { answer: await send(request), error: null }
  } catch (error) {
    return { answer: null, error }
  }
}
function given({ answer, error }: Cell): HttpAnswer {
  if (answer === null) throw error
  return answer
}

export const MUTANTS: Readonly<Record<string, Trade>> = {
  'retries a POST after a 500': between(async (request, send) => {
    const first = await tried(send, request)
    return isCreate(request) && (first.answer?.status ?? 0) >= 500 ? send(request) : given(first)
  }),
  'takes no answer for a rejection': between(async (request, send) => {
    const first = await tried(send, request)
    return isCreate(request) && first.answer === null ? answered(400, { error: { code: 'timeout', message: 'timeout' } }) : given(first)
  }),
  'tries again with a new id': between(async (request, send) => {
    const first = await tried(send, request)
    if (!isCreate(request) || (first.answer !== null && first.answer.status < 500)) return given(first)
    const body = JSON.parse(request.body ?? '{}') as { client_order_id: string }
    const said = readClientId(body.client_order_id)
    return send({
      ...request,
      body: JSON.stringify({ ...body, client_order_id: `${said?.nonce}-${said?.generation}-${500_000 + (said?.order ?? 0)}` }),
    })
  }),
  'drops the fill of an order it does not know': (desk, hands) => {
    const trader = honest(desk, hands) as KalshiTrader
    const { orders } = trader.venue
    const filled = orders.filled.bind(orders)
    orders.filled = (fact, source, now) => {
      for (const t of orders.live()) if (t.id === fact.id) return filled(fact, source, now)
    }
    return trader
  },
  'forgets unknown orders in the limits': (desk, hands) =>
    honest(
      {
        ...desk,
        get engine() {
          return desk.engine
        },
        enter: (news) => {
          desk.enter(news)
          if (news.type !== 'no-answer') return
          const order = desk.engine.manager.orderOf(news.order)
          if (order?.state !== 'unknown') return
          desk.engine.portfolio.expose(order, order.price, 0)
          order.wish.order = null
        },
      },
      hands,
    ),
  'reads the kill flag before an await': (desk, hands) => {
    let killed: string | null = null
    const { http } = hands.world
    // What was asked at the gate is not asked again at the socket.
    const world = { ...hands.world, http: { request: ({ mayLeave: _may, stop: _stop, ...request }: HttpRequest) => http.request(request) } }
    return honest(
      {
        ...desk,
        get engine() {
          return desk.engine
        },
        sync: () => {
          killed = hands.killed()
          return desk.sync()
        },
      },
      { ...hands, world, killed: () => killed },
    )
  },
  'knows a fill by its order': (desk, hands) => {
    const trader = honest(desk, hands) as KalshiTrader
    const { orders } = trader.venue
    const filled = orders.filled.bind(orders)
    orders.filled = (fact, source, now) => filled({ ...fact, trade: fact.id }, source, now)
    return trader
  },
  'takes a missing position for flat': (desk, hands) => {
    let n = 0
    return between(async (request, send) => {
      const answer = await send(request)
      if (!request.url.includes('/portfolio/positions') || answer.status !== 200) return answer
      for (const market of desk.engine.markets.alive) {
        const position = market.holding?.position ?? 0
        if (position === 0 || answer.body.includes(market.ticker)) continue
        const side = position > 0 ? 'ask' : 'bid'
        desk.enter({
          type: 'foreign-fill',
          ticker: market.ticker,
          side,
          price: 5000,
          quantity: Math.abs(position),
          fee: 0,
          maker: false,
          trade: `flat-${n++}`,
          timeVenue: 0,
        })
      }
      return answer
    })(desk, hands)
  },
  'takes a 404 for canceled': (desk, hands) => {
    const mutant: { trader: KalshiTrader | null } = { trader: null }
    const trade = between(async (request, send) => {
      const answer = await send(request)
      const id = new URL(request.url).pathname.split('/').at(-1)
      if (request.method !== 'DELETE' || answer.status !== 404) return answer
      for (const t of mutant.trader?.venue.orders.live() ?? [])
        if (t.id === id)
          return answered(200, {
            order_id: id,
            reduced_by: ((t.total - t.booked) / 100).toFixed(2),
            ts_ms: Math.floor(hands.world.clock.now() / 1000),
          })
      return answer
    })
    mutant.trader = trade(desk, hands) as KalshiTrader
    return mutant.trader
  },
  'takes a truncated page for all': between(async (request, send) => {
    const answer = await send(request)
    if (request.method !== 'GET' || answer.status !== 200 || !request.url.includes('/portfolio/')) return answer
    return { ...answer, body: answer.body.replace(/"cursor":"[^"]*"/, '"cursor":""') }
  }),
  'sends before the disk has it': (desk, hands) =>
    honest(
      {
        ...desk,
        get engine() {
          return desk.engine
        },
        sync: () => {
          void desk.sync()
          return Promise.resolve()
        },
        synced: () => Infinity,
      },
      hands,
    ),
}
