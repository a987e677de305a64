/**
 * A scripted exchange for the simulation: true books, Kalshi's stream with its sequence numbers, and the reading side of REST. Written for clarity and from api.md alone; it shares no code
 * with the adapter. Owns the truth: of every subscription it keeps what it sent under which number.
 */
import { integer, random } from '../support/random.ts'

export type Levels = Map<number, number>
export type PeerMarket = {
  readonly ticker: string
  readonly event: string
  readonly series: string
  status: 'initialized' | 'active' | 'closed' | 'determined' | 'finalized'
  open: number
  close: number
  readonly bids: Levels
  readonly asks: Levels
  volume: number
  result: '' | 'yes' | 'no'
  lastVenue: number
}
export type Sent =
  | { readonly ticker: string; readonly snapshot: readonly [Levels, Levels] }
  | { readonly ticker: string; readonly side: 'bid' | 'ask'; readonly price: number; readonly change: number }
  | null
type Subscription = { readonly sid: number; readonly channel: string; readonly tickers: Set<string>; seq: number; readonly log: Sent[] }
export type PeerTrade = {
  readonly id: string
  readonly ticker: string
  readonly price: number
  readonly count: number
  readonly taker: 'bid' | 'ask'
  readonly venue: number
}

const SEQUENCED = new Set(['orderbook_delta', 'trade', 'market_lifecycle_v2', 'cfbenchmarks_value', 'pyth_value'])
const dollars = (price: number): string => (price / 10_000).toFixed(4)
const count = (quantity: number): string => (quantity / 100).toFixed(2)
const iso = (us: number): string => new Date(Math.floor(us / 1000)).toISOString().replace('Z', `${String(us % 1000).padStart(3, '0')}Z`)

export class Peer {
  readonly markets = new Map<string, PeerMarket>()
  readonly trades: PeerTrade[] = []
  readonly sessions = new Set<Session>()
  /** Of every subscription there ever was: what went out under each number (index 0: seq 1). */
  readonly logs = new Map<number, readonly Sent[]>()
  readonly commands: Record<string, unknown>[] = []
  /** Requests by path. */
  readonly asked: Record<string, number> = {}
  now = 0
  trading = true
  /** An older exchange: does not know get_snapshot. */
  old = false
  /** What is answered to a request instead, when set. */
  instead: ((path: string) => { status: number; body: unknown } | null) | null = null
  /** Changes a frame on its way out without anybody noticing: the stream lies. */
  lie: ((text: string) => string) | null = null
  readonly #next: () => number
  #sid = 0
  #trade = 0

  constructor(seed: number) {
    this.#next = random(seed)
  }

  add(ticker: string, more: Partial<PeerMarket> = {}): PeerMarket {
    const market: PeerMarket = {
      ticker,
      event: ticker.slice(0, ticker.lastIndexOf('-')),
      series: ticker.split('-')[0] as string,
      status: 'active',
      open: this.now - 3_600_000_000,
      close: this.now + 86_400_000_000,
      bids: new Map(),
      asks: new Map(),
      volume: 0,
      result: '',
      lastVenue: 0,
      ...more,
    }
    const mid = integer(this.#next, 20, 80)
    for (let k = 1; k <= 6; k++) {
      market.bids.set((mid - k) * 100, integer(this.#next, 1, 60) * 100)
      market.asks.set((mid + k) * 100, integer(this.#next, 1, 60) * 100)
    }
    this.markets.set(ticker, market)
    return market
  }

  connect(send: (text: string) => void): Session {
    const session = new Session(this, send)
    this.sessions.add(session)
    return session
  }
  subscription(channel: string, tickers: readonly string[]): Subscription {
    const log: Sent[] = []
    const sid = ++this.#sid
    this.logs.set(sid, log)
    return { sid, channel, tickers: new Set(tickers), seq: 0, log }
  }

  /** Somebody does something, somewhere. */
  act(): void {
    const open = [...this.markets.values()].filter((m) => m.status === 'active')
    const market = open[integer(this.#next, 0, open.length - 1)]
    if (market === undefined) return
    const side = this.#next() < 0.5 ? 'bid' : 'ask'
    const levels = side === 'bid' ? market.bids : market.asks
    const u = this.#next()
    const best = side === 'bid' ? Math.max(0, ...market.bids.keys()) : Math.min(10_000, ...market.asks.keys())
    if (u < 0.5) {
      const away = integer(this.#next, 0, 7) * 100
      const price = side === 'bid' ? (best === 0 ? 2_000 : best) - away + 100 : (best === 10_000 ? 8_000 : best) + away - 100
      const crosses = side === 'bid' ? [...market.asks.keys()].some((p) => p <= price) : [...market.bids.keys()].some((p) => p >= price)
      if (price >= 100 && price <= 9_900 && !crosses) this.change(market, side, price, integer(this.#next, 1, 40) * 50)
    } else if (u < 0.8) {
      const prices = [...levels.keys()]
      const price = prices[integer(this.#next, 0, Math.max(0, prices.length - 1))]
      if (price === undefined) return
      const there = levels.get(price) as number
      this.change(market, side, price, this.#next() < 0.5 ? -there : -integer(this.#next, 1, there))
    } else if (levels.size > 0) {
      const there = levels.get(best) as number
      const quantity = integer(this.#next, 1, there)
      this.change(market, side, best, -quantity)
      this.print(market, best, quantity, side === 'bid' ? 'ask' : 'bid')
    }
  }
  change(market: PeerMarket, side: 'bid' | 'ask', price: number, change: number): void {
    const levels = side === 'bid' ? market.bids : market.asks
    const left = (levels.get(price) ?? 0) + change
    if (left === 0) levels.delete(price)
    else levels.set(price, left)
    market.lastVenue = Math.max(market.lastVenue + 1, this.now)
    const msg = {
      market_ticker: market.ticker,
      market_id: market.ticker,
      price_dollars: dollars(price),
      delta_fp: count(change),
      side: side === 'bid' ? 'yes' : 'no',
      ts: iso(market.lastVenue),
      ts_ms: Math.floor(market.lastVenue / 1000),
    }
    this.#publish('orderbook_delta', market.ticker, 'orderbook_delta', msg, { ticker: market.ticker, side, price, change })
  }
  print(market: PeerMarket, price: number, quantity: number, taker: 'bid' | 'ask'): void {
    const id = `t-${++this.#trade}`
    market.volume += quantity
    this.trades.push({ id, ticker: market.ticker, price, count: quantity, taker, venue: market.lastVenue })
    this.#publish('trade', market.ticker, 'trade', {
      trade_id: id,
      market_ticker: market.ticker,
      yes_price_dollars: dollars(price),
      no_price_dollars: dollars(10_000 - price),
      count_fp: count(quantity),
      taker_side: taker === 'bid' ? 'yes' : 'no',
      taker_outcome_side: taker === 'bid' ? 'yes' : 'no',
      taker_book_side: taker,
      is_block_trade: false,
      ts: Math.floor(market.lastVenue / 1e6),
      ts_ms: Math.floor(market.lastVenue / 1000),
    })
  }
  /** A value of an outside series. */
  index(id: string, value: string): void {
    this.#publish('cfbenchmarks_value', null, 'cfbenchmarks_value', {
      index_id: id,
      received_at: Math.floor(this.now / 1000),
      data: JSON.stringify({ value }),
    })
  }
  lifecycle(msg: Record<string, unknown>): void {
    this.#publish('market_lifecycle_v2', null, 'market_lifecycle_v2', msg)
  }
  feeUpdate(event: string, type: string | null, multiplier: number | null): void {
    this.#publish('market_lifecycle_v2', null, 'event_fee_update', {
      event_ticker: event,
      fee_type_override: type,
      fee_multiplier_override: multiplier,
    })
  }
  /** The exchange decides and pays. */
  settle(market: PeerMarket, result: 'yes' | 'no'): void {
    market.status = 'finalized'
    market.result = result
    const at = Math.floor(this.now / 1e6)
    this.lifecycle({
      market_ticker: market.ticker,
      event_type: 'determined',
      result,
      settlement_value: result === 'yes' ? '1.0000' : '0.0000',
      determination_ts: at,
    })
    this.lifecycle({ market_ticker: market.ticker, event_type: 'settled', settled_ts: at })
  }
  #publish(channel: string, ticker: string | null, type: string, msg: Record<string, unknown>, sent: Sent = null): void {
    for (const session of this.sessions)
      for (const s of session.subscriptions.values())
        if (s.channel === channel && (ticker === null || s.tickers.has(ticker))) session.push(s, type, msg, sent)
  }

  // ------------------------------------------------------------------------------------------------ REST

  rest(method: string, url: string, now: number): { status: number; body: unknown } {
    const { pathname, searchParams: q } = new URL(url)
    const path = pathname.replace('/trade-api/v2', '')
    this.asked[path] = (this.asked[path] ?? 0) + 1
    const other = this.instead?.(path)
    if (other != null) return other
    const parts = path.split('/').slice(1)
    if (method !== 'GET') return { status: 405, body: { error: { code: 'not_allowed', message: 'not allowed' } } }
    if (path === '/exchange/status') return { status: 200, body: { exchange_active: true, trading_active: this.trading } }
    if (path === '/markets') {
      const status = q.get('status')
      const tickers = q.get('tickers')?.split(',')
      const series = q.get('series_ticker')
      const all = [...this.markets.values()].filter(
        (m) =>
          (tickers === undefined || tickers.includes(m.ticker)) &&
          (series === null || m.series === series) &&
          (status === null || (status === 'open' ? m.status === 'active' : status === 'unopened' && m.status === 'initialized')),
      )
      const from = Number(q.get('cursor') ?? 0)
      const page = all.slice(from, from + 50)
      return {
        status: 200,
        body: { markets: page.map((m) => this.#wire(m)), cursor: from + 50 < all.length ? String(from + 50) : '' },
      }
    }
    if (path === '/markets/orderbooks')
      return {
        status: 200,
        body: {
          orderbooks: q
            .getAll('tickers')
            .flatMap((t) => this.markets.get(t) ?? [])
            .map((m) => ({ ticker: m.ticker, orderbook_fp: { yes_dollars: list(m.bids), no_dollars: list(m.asks, true) } })),
        },
      }
    if (path === '/markets/trades') {
      const since = Number(q.get('min_ts') ?? 0) * 1e6
      const found = this.trades.filter((t) => t.ticker === q.get('ticker') && t.venue >= since && t.venue <= now)
      return {
        status: 200,
        body: {
          trades: found.reverse().map((t) => ({
            trade_id: t.id,
            ticker: t.ticker,
            count_fp: count(t.count),
            yes_price_dollars: dollars(t.price),
            no_price_dollars: dollars(10_000 - t.price),
            taker_outcome_side: t.taker === 'bid' ? 'yes' : 'no',
            taker_book_side: t.taker,
            created_time: iso(t.venue),
            is_block_trade: false,
          })),
          cursor: '',
        },
      }
    }
    if (path === '/series/fee_changes') return { status: 200, body: { series_fee_change_arr: [] } }
    if (parts[0] === 'events' && parts.length === 2) {
      const market = [...this.markets.values()].find((m) => m.event === parts[1])
      if (market === undefined) return { status: 404, body: { error: { code: 'not_found', message: 'not found' } } }
      return {
        status: 200,
        body: {
          event: {
            event_ticker: market.event,
            series_ticker: market.series,
            title: 'E',
            sub_title: '',
            mutually_exclusive: true,
            collateral_return_type: '',
          },
          markets: [],
        },
      }
    }
    if (parts[0] === 'series' && parts.length === 2)
      return {
        status: 200,
        body: {
          series: {
            ticker: parts[1],
            title: 'S',
            category: 'C',
            frequency: 'daily',
            fee_type: 'quadratic',
            fee_multiplier: 0.5,
            tags: [],
            settlement_sources: [],
          },
        },
      }
    return { status: 404, body: { error: { code: 'not_found', message: 'not found' } } }
  }
  #wire(m: PeerMarket): Record<string, unknown> {
    const bid = Math.max(0, ...m.bids.keys())
    const ask = Math.min(10_000, ...m.asks.keys())
    return {
      ticker: m.ticker,
      event_ticker: m.event,
      market_type: 'binary',
      title: `Market ${m.ticker}`,
      yes_sub_title: 'Yes',
      no_sub_title: 'No',
      status: m.status,
      open_time: iso(m.open),
      close_time: iso(m.close),
      result: m.result,
      ...(m.result === '' ? {} : { settlement_value_dollars: m.result === 'yes' ? '1.0000' : '0.0000' }),
      ...(m.status === 'finalized' ? { settlement_ts: iso(this.now) } : {}),
      price_level_structure: 'linear_cent',
      price_ranges: [{ start: '0.0000', end: '1.0000', step: '0.0100' }],
      yes_bid_dollars: dollars(bid),
      yes_ask_dollars: dollars(ask),
      volume_fp: count(m.volume),
      volume_24h_fp: count(m.volume),
    }
  }
}

/** One connection, from the exchange's side. */
export class Session {
  readonly subscriptions = new Map<number, Subscription>()
  readonly #peer: Peer
  readonly #send: (text: string) => void

  constructor(peer: Peer, send: (text: string) => void) {
    this.#peer = peer
    this.#send = send
  }
  close(): void {
    this.#peer.sessions.delete(this)
  }
  push(s: Subscription, type: string, msg: Record<string, unknown> | undefined, sent: Sent, id?: number): void {
    const seq = SEQUENCED.has(s.channel) ? { seq: ++s.seq } : {}
    if (SEQUENCED.has(s.channel)) s.log.push(sent)
    const text = JSON.stringify({
      type,
      sid: s.sid,
      ...seq,
      ...(id === undefined ? {} : { id }),
      ...(msg === undefined ? {} : { msg }),
      sending_ts_ms: Math.floor(this.#peer.now / 1000),
    })
    this.#send(`${this.#peer.lie?.(text) ?? text}\n`)
  }
  #snapshot(s: Subscription, ticker: string, id?: number): void {
    const market = this.#peer.markets.get(ticker)
    if (market === undefined) return
    const msg = {
      market_ticker: ticker,
      market_id: ticker,
      // A side without levels is left out.
      ...(market.bids.size > 0 ? { yes_dollars_fp: list(market.bids) } : {}),
      ...(market.asks.size > 0 ? { no_dollars_fp: list(market.asks) } : {}),
    }
    this.push(s, 'orderbook_snapshot', msg, { ticker, snapshot: [new Map(market.bids), new Map(market.asks)] }, id)
  }
  #reply(message: Record<string, unknown>): void {
    this.#send(`${JSON.stringify(message)}\n`)
  }

  command(text: string): void {
    const c = JSON.parse(text) as { id: number; cmd: string; params?: Record<string, unknown> }
    this.#peer.commands.push(c)
    const p = c.params ?? {}
    const tickers = (p['market_tickers'] as string[] | undefined) ?? []
    if (c.cmd === 'subscribe') {
      for (const channel of p['channels'] as string[]) {
        let s = [...this.subscriptions.values()].find((x) => x.channel === channel)
        if (s === undefined) {
          s = this.#peer.subscription(channel, [])
          this.subscriptions.set(s.sid, s)
        }
        this.#reply({ type: 'subscribed', id: c.id, msg: { channel, sid: s.sid } })
        if (channel === 'orderbook_delta' && p['use_yes_price'] !== true) throw new Error('the price convention was left to chance')
        this.#grow(s, tickers)
      }
      return
    }
    if (c.cmd === 'list_subscriptions')
      return this.#reply({ type: 'ok', id: c.id, msg: [...this.subscriptions.values()].map((s) => ({ channel: s.channel, sid: s.sid })) })
    for (const sid of p['sids'] as number[]) {
      const s = this.subscriptions.get(sid)
      if (s === undefined) return this.#reply({ type: 'error', id: c.id, msg: { code: 7, msg: 'Unknown subscription ID' } })
      if (c.cmd === 'unsubscribe') {
        this.push(s, 'unsubscribed', undefined, null, c.id)
        this.subscriptions.delete(sid)
        continue
      }
      switch (p['action']) {
        case 'add_markets':
          this.#grow(s, tickers)
          break
        case 'delete_markets':
          for (const t of tickers) s.tickers.delete(t)
          break
        default:
          if (this.#peer.old) return this.#reply({ type: 'error', id: c.id, sid, msg: { code: 13, msg: 'Unsupported action' } })
          for (const t of tickers) if (s.tickers.has(t)) this.#snapshot(s, t, c.id)
          return
      }
      this.push(s, 'ok', { market_tickers: [...s.tickers] }, null, c.id)
    }
  }
  #grow(s: Subscription, tickers: readonly string[]): void {
    for (const t of tickers) {
      if (s.tickers.has(t)) continue
      s.tickers.add(t)
      if (s.channel === 'orderbook_delta') this.#snapshot(s, t)
    }
  }
  /** An error that the exchange sends by itself. */
  fault(channel: string, code: number): void {
    for (const s of this.subscriptions.values())
      if (s.channel === channel) {
        this.subscriptions.delete(s.sid)
        this.#reply({ type: 'error', sid: s.sid, msg: { code, msg: 'gone' } })
      }
  }
}

/** Ascending; the NO side of REST in NO prices, of the stream (use_yes_price) in YES prices. */
function list(levels: Levels, mirror = false): [string, string][] {
  return [...levels]
    .map(([p, q]): [number, number] => [mirror ? 10_000 - p : p, q])
    .sort((a, b) => a[0] - b[0])
    .map(([p, q]) => [dollars(p), count(q)])
}
