/** Public endpoints: exchange, series, events, markets, books, trades, candles, and their historical twins (api.md §6). Owns filters and paging of public data. */
import { MINUTE } from '../../engine/units.ts'
import type { Call, Route } from './route.ts'
import type { Candle } from './candles.ts'
import { candleBody, eventBody, marketBody, multiplier, orderbookBody, seriesBody, statusBody, tradeBody } from './encode-rest.ts'
import type { Exchange } from './exchange.ts'
import { COST_DEFAULT, COSTS } from './limits.ts'
import type { ListedMarket } from './market.ts'
import { badQuery, refuse } from './refusal.ts'
import { paged } from './request.ts'
import * as text from './text.ts'

const ok = (body: unknown): { status: number; body: unknown } => ({ status: 200, body })
type Get = Omit<Route, 'method' | 'access'>
const get = (route: Get): Route => ({ method: 'GET', access: 'public', ...route })

/** api.md §3.4 */
const STATUS_FILTERS = {
  unopened: ['initialized'],
  open: ['active'],
  paused: ['inactive'],
  closed: ['closed', 'determined', 'disputed', 'amended'],
  settled: ['finalized'],
} as const
type StatusFilter = keyof typeof STATUS_FILTERS
const FILTER_NAMES = Object.keys(STATUS_FILTERS) as StatusFilter[]
const fits = (m: ListedMarket, filter: StatusFilter | null): boolean =>
  filter === null || (STATUS_FILTERS[filter] as readonly string[]).includes(m.status)

const archived = (x: Exchange, m: ListedMarket): boolean => m.settled >= 0 && m.settled < x.cutoff.settled
const isCombo = (ticker: string): boolean => ticker.startsWith('KXMVE')

function oneMarket(x: Exchange, ticker: string | undefined, historical: boolean): ListedMarket {
  const market = x.markets.get(ticker ?? '')
  if (market === undefined || archived(x, market) !== historical) throw refuse(404, 'not_found')
  return market
}

function markets(call: Call, historical: boolean): ListedMarket[] {
  const { x, query } = call
  const status = historical ? null : query.oneOf('status', FILTER_NAMES)
  const event = query.text('event_ticker')
  const series = query.text('series_ticker')
  const tickers = query.list('tickers')
  const mve = query.oneOf('mve_filter', ['only', 'exclude'] as const)
  const times = [
    ['created', ['unopened', 'open', null], (m: ListedMarket) => m.created],
    ['close', ['closed', null], (m: ListedMarket) => m.closeTime],
    ['settled', ['settled', null], (m: ListedMarket) => m.settled],
  ] as const
  const ranges = times.map(([name, statuses, of]) => ({
    name,
    statuses,
    of,
    min: query.seconds(`min_${name}_ts`),
    max: query.seconds(`max_${name}_ts`),
  }))
  const used = ranges.filter((r) => r.min !== null || r.max !== null)
  const updated = query.seconds('min_updated_ts')
  if (used.length + (updated === null ? 0 : 1) > 1) throw refuse(400, 'bad_request', 'timestamp filters are mutually exclusive')
  for (const r of used)
    if (!(r.statuses as readonly (string | null)[]).includes(status))
      throw refuse(400, 'bad_request', `${r.name} filters do not go with this status`)
  const out: ListedMarket[] = []
  for (const m of x.markets.values()) {
    if (archived(x, m) !== historical || !fits(m, status)) continue
    if (event !== null && m.event.ticker !== event) continue
    if (series !== null && m.series.ticker !== series) continue
    if (tickers.length > 0 && !tickers.includes(m.ticker)) continue
    if (mve !== null && isCombo(m.ticker) !== (mve === 'only')) continue
    if (updated !== null && m.updated < updated) continue
    if (used.some((r) => (r.min !== null && r.of(m) < r.min) || (r.max !== null && r.of(m) > r.max))) continue
    out.push(m)
  }
  // Newest first.
  return out.reverse()
}

function marketList(call: Call, historical: boolean): { status: number; body: unknown } {
  const limit = call.query.limit(1000, 100)
  const { page, cursor } = paged(markets(call, historical), limit, call.query.text('cursor'), (m) => m.number)
  return ok({ cursor, markets: page.map((m) => marketBody(m, call.x.now)) })
}

function trades(call: Call, historical: boolean): { status: number; body: unknown } {
  const { x, query } = call
  const limit = query.limit(1000, 100)
  const ticker = query.text('ticker')
  const from = query.seconds('min_ts')
  const to = query.seconds('max_ts')
  const block = query.text('is_block_trade') === null ? null : query.flag('is_block_trade')
  const list = x.trades.filter(
    (t) =>
      t.time < x.cutoff.trades === historical &&
      (ticker === null || t.ticker === ticker) &&
      (from === null || t.time >= from) &&
      (to === null || t.time < to + 1_000_000) &&
      block !== true,
  )
  const { page, cursor } = paged(list.reverse(), limit, query.text('cursor'), (t) => t.number)
  return ok({ cursor, trades: page.map(tradeBody) })
}

function period(call: Call): { from: number; to: number; minutes: number } {
  const { query } = call
  const from = query.requiredInteger('start_ts') * 1_000_000
  const to = query.requiredInteger('end_ts') * 1_000_000
  const minutes = query.requiredInteger('period_interval')
  if (minutes !== 1 && minutes !== 60 && minutes !== 1440) throw query.failed('period_interval', 'oneof')
  return { from, to, minutes }
}
function candles(call: Call, m: ListedMarket): Candle[] {
  const { from, to, minutes } = period(call)
  const list = m.candles.query(from, to, minutes * MINUTE)
  if (call.query.flag('include_latest_before_start')) {
    const first = m.candles.before(from)
    if (first !== null) list.unshift(first)
  }
  return list
}

export const marketRoutes: readonly Route[] = [
  get({ path: '/exchange/status', operation: 'GetExchangeStatus', handle: ({ x }) => ok(statusBody(x)) }),
  get({
    path: '/exchange/schedule',
    operation: 'GetExchangeSchedule',
    handle: ({ x }) => {
      const day = [{ open_time: '00:00', close_time: '00:00' }]
      return ok({
        schedule: {
          standard_hours: [
            {
              start_time: text.time(x.options.start),
              end_time: text.time(x.options.start + 365 * 86_400_000_000),
              monday: day,
              tuesday: day,
              wednesday: day,
              thursday: [
                { open_time: '00:00', close_time: '03:00' },
                { open_time: '05:00', close_time: '00:00' },
              ],
              friday: day,
              saturday: day,
              sunday: day,
            },
          ],
          maintenance_windows: [],
        },
      })
    },
  }),
  get({
    path: '/exchange/user_data_timestamp',
    operation: 'GetUserDataTimestamp',
    handle: ({ x }) => ok({ as_of_time: text.time(x.readUntil) }),
  }),
  get({
    path: '/account/endpoint_costs',
    operation: 'GetAccountEndpointCosts',
    handle: () => ok({ default_cost: COST_DEFAULT, endpoint_costs: COSTS }),
  }),

  get({
    path: '/series',
    operation: 'GetSeriesList',
    handle: ({ x, query }) => {
      const category = query.text('category')
      const updated = query.seconds('min_updated_ts')
      const volume = query.flag('include_volume')
      const list = [...x.series.values()].filter(
        (s) => (category === null || category === 'Practice') && (updated === null || s.updated >= updated),
      )
      return ok({ series: list.map((s) => seriesBody(s, volume ? seriesVolume(x, s.ticker) : null)) })
    },
  }),
  get({
    path: '/series/fee_changes',
    operation: 'GetSeriesFeeChanges',
    handle: ({ x, query }) => {
      const ticker = query.text('series_ticker')
      const history = query.flag('show_historical')
      const list = x.seriesFees.filter((c) => (ticker === null || c.ticker === ticker) && (history || c.time > x.now))
      return ok({
        series_fee_change_arr: list.map((c) => ({
          id: c.id,
          series_ticker: c.ticker,
          fee_type: c.fee?.type,
          fee_multiplier: c.fee === null ? 0 : multiplier(c.fee),
          scheduled_ts: text.time(c.time),
        })),
      })
    },
  }),
  get({
    path: '/series/:series_ticker',
    operation: 'GetSeries',
    handle: ({ x, params, query }) => {
      const series = x.series.get(params['series_ticker'] ?? '')
      if (series === undefined) throw refuse(404, 'not_found')
      return ok({ series: seriesBody(series, query.flag('include_volume') ? seriesVolume(x, series.ticker) : null) })
    },
  }),
  get({
    path: '/series/:series_ticker/markets/:ticker/candlesticks',
    operation: 'GetMarketCandlesticks',
    handle: (call) => {
      const m = oneMarket(call.x, call.params['ticker'], false)
      return ok({ ticker: m.ticker, candlesticks: candles(call, m).map((c) => candleBody(c, false)) })
    },
  }),
  get({
    path: '/series/:series_ticker/events/:ticker/candlesticks',
    operation: 'GetMarketCandlesticksByEvent',
    handle: (call) => {
      const event = call.x.events.get(call.params['ticker'] ?? '')
      if (event === undefined) throw refuse(404, 'not_found')
      const lists = event.markets.map((m) => candles(call, m))
      let end = period(call).to
      // More than 5,000 candles: cut, and say where to go on.
      if (lists.reduce((n, l) => n + l.length, 0) > 5000) {
        const each = Math.floor(5000 / lists.length)
        end = Math.min(...lists.filter((l) => l.length > each).map((l) => (l[each - 1] as Candle).end))
      }
      return ok({
        market_tickers: event.markets.map((m) => m.ticker),
        market_candlesticks: lists.map((l) => l.filter((c) => c.end <= end).map((c) => candleBody(c, false))),
        adjusted_end_ts: text.unixSeconds(end),
      })
    },
  }),

  get({
    path: '/events',
    operation: 'GetEvents',
    handle: ({ x, query }) => {
      const limit = query.limit(200, 200)
      const nested = query.flag('with_nested_markets')
      const status = query.oneOf('status', FILTER_NAMES)
      const series = query.text('series_ticker')
      const tickers = query.list('tickers')
      const close = query.seconds('min_close_ts')
      const updated = query.seconds('min_updated_ts')
      const list = [...x.events.values()].filter(
        (e) =>
          !isCombo(e.ticker) &&
          (series === null || e.series === series) &&
          (tickers.length === 0 || tickers.includes(e.ticker)) &&
          (status === null || e.markets.some((m) => fits(m, status))) &&
          (close === null || e.markets.some((m) => m.closeTime >= close)) &&
          (updated === null || e.updated >= updated),
      )
      const { page, cursor } = paged(list.reverse(), limit, query.text('cursor'), (e) => e.number)
      return ok({
        cursor,
        events: page.map((e) => eventBody(e, x.now, nested)),
        ...(query.flag('with_milestones') ? { milestones: [] } : {}),
      })
    },
  }),
  get({
    path: '/events/multivariate',
    operation: 'GetMultivariateEvents',
    handle: ({ query }) => {
      query.limit(200, 100)
      return ok({ cursor: '', events: [] })
    },
  }),
  get({
    path: '/events/fee_changes',
    operation: 'GetEventFeeChanges',
    handle: ({ x, query }) => {
      const limit = query.limit(1000, 100)
      const ticker = query.text('event_ticker')
      const list = x.eventFees.filter((c) => ticker === null || c.ticker === ticker)
      const { page, cursor } = paged([...list].reverse(), limit, query.text('cursor'), (c) => c.number)
      return ok({
        cursor,
        event_fee_changes: page.map((c) => ({
          id: c.id,
          event_ticker: c.ticker,
          series_ticker: c.series,
          fee_type_override: c.fee?.type ?? null,
          fee_multiplier_override: c.fee === null ? null : multiplier(c.fee),
          scheduled_ts: text.time(c.time),
        })),
      })
    },
  }),
  get({
    path: '/events/:event_ticker',
    operation: 'GetEvent',
    handle: ({ x, params, query }) => {
      const event = x.events.get(params['event_ticker'] ?? '')
      if (event === undefined) throw refuse(404, 'not_found')
      const nested = query.flag('with_nested_markets')
      return ok({ event: eventBody(event, x.now, nested), markets: nested ? [] : event.markets.map((m) => marketBody(m, x.now)) })
    },
  }),
  get({
    path: '/events/:event_ticker/metadata',
    operation: 'GetEventMetadata',
    handle: ({ x, params }) => {
      const event = x.events.get(params['event_ticker'] ?? '')
      if (event === undefined) throw refuse(404, 'not_found')
      return ok({
        image_url: '',
        settlement_sources: [],
        market_details: event.markets.map((m) => ({ market_ticker: m.ticker, image_url: '', color_code: '' })),
      })
    },
  }),

  get({ path: '/markets', operation: 'GetMarkets', handle: (call) => marketList(call, false) }),
  get({ path: '/markets/trades', operation: 'GetTrades', handle: (call) => trades(call, false) }),
  get({
    path: '/markets/orderbooks',
    operation: 'GetMarketOrderbooks',
    handle: ({ x, query }) => {
      const tickers = query.list('tickers')
      if (tickers.length === 0) throw query.failed('tickers', 'required')
      if (tickers.length > 100) throw query.failed('tickers', 'max')
      const known = tickers.map((t) => x.markets.get(t)).filter((m) => m !== undefined)
      return ok({ orderbooks: known.map((m) => ({ ticker: m.ticker, orderbook_fp: orderbookBody(m, 0) })) })
    },
  }),
  get({
    path: '/markets/candlesticks',
    operation: 'BatchGetMarketCandlesticks',
    handle: (call) => {
      const tickers = call.query.list('market_tickers')
      if (tickers.length === 0) throw call.query.failed('market_tickers', 'required')
      if (tickers.length > 100) throw badQuery('at most 100 market tickers')
      const known = tickers.map((t) => call.x.markets.get(t)).filter((m) => m !== undefined)
      const lists = known.map((m) => ({ market_ticker: m.ticker, candlesticks: candles(call, m).map((c) => candleBody(c, false)) }))
      if (lists.reduce((n, l) => n + l.candlesticks.length, 0) > 10_000) throw badQuery('at most 10000 candlesticks')
      return ok({ markets: lists })
    },
  }),
  get({
    path: '/markets/:ticker',
    operation: 'GetMarket',
    handle: ({ x, params }) => ok({ market: marketBody(oneMarket(x, params['ticker'], false), x.now) }),
  }),
  get({
    path: '/markets/:ticker/orderbook',
    operation: 'GetMarketOrderbook',
    handle: ({ x, params, query }) => {
      const depth = query.integer('depth') ?? 0
      if (depth > 100) throw query.failed('depth', 'lte')
      if (depth < 0) throw query.failed('depth', 'gte')
      return ok({ orderbook_fp: orderbookBody(oneMarket(x, params['ticker'], false), depth) })
    },
  }),

  get({
    path: '/historical/cutoff',
    operation: 'GetHistoricalCutoff',
    handle: ({ x }) =>
      ok({
        market_settled_ts: text.time(x.cutoff.settled),
        trades_created_ts: text.time(x.cutoff.trades),
        orders_updated_ts: text.time(x.cutoff.orders),
        market_positions_last_updated_ts: text.time(x.cutoff.positions),
      }),
  }),
  get({ path: '/historical/markets', operation: 'GetHistoricalMarkets', handle: (call) => marketList(call, true) }),
  get({
    path: '/historical/markets/:ticker',
    operation: 'GetHistoricalMarket',
    handle: ({ x, params }) => ok({ market: marketBody(oneMarket(x, params['ticker'], true), x.now) }),
  }),
  get({
    path: '/historical/markets/:ticker/candlesticks',
    operation: 'GetMarketCandlesticksHistorical',
    handle: (call) => {
      const m = oneMarket(call.x, call.params['ticker'], true)
      return ok({ ticker: m.ticker, candlesticks: candles(call, m).map((c) => candleBody(c, true)) })
    },
  }),
  get({ path: '/historical/trades', operation: 'GetTradesHistorical', handle: (call) => trades(call, true) }),
  get({ path: '/incentive_programs', operation: 'GetIncentivePrograms', handle: () => ok({ incentive_programs: [] }) }),
]

function seriesVolume(x: Exchange, ticker: string): number {
  let sum = 0
  for (const m of x.markets.values()) if (m.series.ticker === ticker) sum += m.volume
  return sum
}
