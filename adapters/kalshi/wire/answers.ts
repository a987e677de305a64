/**
 * Answers of Kalshi's REST interface that are read (OpenAPI 3.34.0), by endpoint. Owns every field name and path of the reading side; hides nothing. Invariants: prices and
 * counts are decimal text; a list names its field, so that its pages can be walked; nothing here writes.
 */
import {
  boolean,
  bookSide,
  Check,
  decimal,
  integer,
  levels,
  listOf,
  number,
  object,
  oneOf,
  priceRanges,
  side,
  string,
  unread,
  type Shape,
  type Value,
} from './fields.ts'
import { feeType } from './stream.ts'

const leg = object({}, unread('event_ticker', 'market_ticker', 'side', 'yes_settlement_value_dollars'))
export const market = object(
  {
    ticker: string,
    event_ticker: string,
    status: oneOf('initialized', 'inactive', 'active', 'closed', 'determined', 'disputed', 'amended', 'finalized'),
    open_time: string,
    close_time: string,
    result: oneOf('yes', 'no', 'scalar', ''),
    price_ranges: priceRanges,
    yes_bid_dollars: decimal,
    yes_ask_dollars: decimal,
    volume_fp: decimal,
    volume_24h_fp: decimal,
  },
  {
    title: string,
    subtitle: string,
    yes_sub_title: string,
    market_type: string,
    updated_time: string,
    settlement_ts: string,
    settlement_value_dollars: decimal,
    price_level_structure: string,
    exchange_index: integer,
    strike_type: string,
    floor_strike: number,
    cap_strike: number,
    functional_strike: string,
    can_close_early: boolean,
    expected_expiration_time: string,
    latest_expiration_time: string,
    fee_waiver_expiration_time: string,
    settlement_timer_seconds: integer,
    yes_bid_size_fp: decimal,
    yes_ask_size_fp: decimal,
    last_price_dollars: decimal,
    open_interest_fp: decimal,
    is_provisional: boolean,
    settlement_bounds_type: string,
    settlement_floor_dollars: decimal,
    mve_selected_legs: listOf(leg),
    ...unread(
      'no_sub_title',
      'created_time',
      'expiration_time',
      'no_bid_dollars',
      'no_ask_dollars',
      'notional_value_dollars',
      'previous_yes_bid_dollars',
      'previous_yes_ask_dollars',
      'previous_price_dollars',
      'expiration_value',
      'occurrence_datetime',
      'early_close_condition',
      'custom_strike',
      'rules_primary',
      'rules_secondary',
      'mve_collection_ticker',
      'primary_participant_key',
    ),
  },
)
export const event = object(
  { event_ticker: string, series_ticker: string, mutually_exclusive: boolean },
  {
    title: string,
    sub_title: string,
    collateral_return_type: string,
    fee_type_override: feeType,
    fee_multiplier_override: number,
    exchange_index: integer,
    markets: listOf(market),
    ...unread('category', 'strike_date', 'strike_period', 'product_metadata', 'settlement_sources', 'last_updated_ts'),
  },
)
export const series = object(
  { ticker: string, title: string, fee_type: feeType, fee_multiplier: number },
  {
    category: string,
    frequency: string,
    exchange_index: integer,
    ...unread(
      'tags',
      'settlement_sources',
      'contract_url',
      'contract_terms_url',
      'product_metadata',
      'additional_prohibitions',
      'volume_fp',
      'last_updated_ts',
      'categories',
    ),
  },
)
export const seriesFeeChange = object({
  id: string,
  series_ticker: string,
  fee_type: feeType,
  fee_multiplier: number,
  scheduled_ts: string,
})
export const eventFeeChange = object(
  { id: string, event_ticker: string, scheduled_ts: string },
  { series_ticker: string, fee_type_override: feeType, fee_multiplier_override: number },
)
export const bookSides = object({}, { yes_dollars: levels, no_dollars: levels })
export const tickerBook = object({ ticker: string, orderbook_fp: bookSides })
export const publicTrade = object(
  { trade_id: string, ticker: string, count_fp: decimal, yes_price_dollars: decimal, created_time: string },
  { taker_book_side: bookSide, taker_outcome_side: side, taker_side: side, is_block_trade: boolean, ...unread('no_price_dollars') },
)
const quotesOf = object({}, { open_dollars: decimal, low_dollars: decimal, high_dollars: decimal, close_dollars: decimal })
const pricesOf = object(
  {},
  {
    open_dollars: decimal,
    low_dollars: decimal,
    high_dollars: decimal,
    close_dollars: decimal,
    mean_dollars: decimal,
    previous_dollars: decimal,
    min_dollars: decimal,
    max_dollars: decimal,
  },
)
export const candle = object({
  end_period_ts: integer,
  yes_bid: quotesOf,
  yes_ask: quotesOf,
  price: pricesOf,
  volume_fp: decimal,
  open_interest_fp: decimal,
})
const oldQuotes = object({}, { open: decimal, low: decimal, high: decimal, close: decimal })
const oldPrices = object(
  {},
  {
    open: decimal,
    low: decimal,
    high: decimal,
    close: decimal,
    mean: decimal,
    previous: decimal,
    min: decimal,
    max: decimal,
  },
)
export const historicalCandle = object({
  end_period_ts: integer,
  yes_bid: oldQuotes,
  yes_ask: oldQuotes,
  price: oldPrices,
  volume: decimal,
  open_interest: decimal,
})
const marketCandles = object({ market_ticker: string, candlesticks: listOf(candle) })
const shardStatus = object(
  { exchange_index: integer, exchange_active: boolean, trading_active: boolean },
  unread('description', 'intra_exchange_transfers_active'),
)
export const exchangeStatus = object(
  { exchange_active: boolean, trading_active: boolean },
  {
    exchange_estimated_resume_time: string,
    exchange_index_statuses: listOf(shardStatus),
    ...unread('intra_exchange_transfers_active'),
  },
)
const hours = listOf(object({ open_time: string, close_time: string }))
const week = object({
  start_time: string,
  end_time: string,
  monday: hours,
  tuesday: hours,
  wednesday: hours,
  thursday: hours,
  friday: hours,
  saturday: hours,
  sunday: hours,
})
export const schedule = object({
  standard_hours: listOf(week),
  maintenance_windows: listOf(object({ start_datetime: string, end_datetime: string })),
})
export const bucketLimit = object({ refill_rate: integer, bucket_capacity: integer })
export const endpointCost = object({ method: string, path: string, cost: integer })
const shardBalance = object({ exchange_index: integer, balance: decimal })
export const order = object(
  {
    order_id: string,
    client_order_id: string,
    ticker: string,
    outcome_side: side,
    book_side: bookSide,
    status: oneOf('resting', 'canceled', 'executed'),
    yes_price_dollars: decimal,
    fill_count_fp: decimal,
    remaining_count_fp: decimal,
    initial_count_fp: decimal,
    taker_fill_cost_dollars: decimal,
    maker_fill_cost_dollars: decimal,
    taker_fees_dollars: decimal,
    maker_fees_dollars: decimal,
  },
  {
    type: string,
    created_time: string,
    last_update_time: string,
    expiration_time: string,
    order_group_id: string,
    subaccount_number: integer,
    exchange_index: integer,
    ...unread('user_id', 'side', 'action', 'no_price_dollars', 'self_trade_prevention_type', 'cancel_order_on_pause'),
  },
)
export const fill = object(
  {
    fill_id: string,
    trade_id: string,
    order_id: string,
    ticker: string,
    outcome_side: side,
    book_side: bookSide,
    count_fp: decimal,
    yes_price_dollars: decimal,
    is_taker: boolean,
    fee_cost: decimal,
  },
  {
    created_time: string,
    exchange_index: integer,
    subaccount_number: integer,
    ...unread('market_ticker', 'side', 'action', 'no_price_dollars', 'ts'),
  },
)
export const position = object(
  {
    ticker: string,
    position_fp: decimal,
    market_exposure_dollars: decimal,
    realized_pnl_dollars: decimal,
    fees_paid_dollars: decimal,
    total_traded_dollars: decimal,
  },
  { exchange_index: integer, last_updated_ts: string },
)
export const eventPosition = object(
  { event_ticker: string, event_exposure_dollars: decimal, realized_pnl_dollars: decimal, fees_paid_dollars: decimal },
  unread('total_cost_dollars', 'total_cost_shares_fp'),
)
export const settlement = object(
  {
    ticker: string,
    market_result: oneOf('yes', 'no', 'scalar'),
    yes_count_fp: decimal,
    no_count_fp: decimal,
    revenue: integer,
    settled_time: string,
    fee_cost: decimal,
  },
  { event_ticker: string, exchange_index: integer, value: integer, ...unread('yes_total_cost_dollars', 'no_total_cost_dollars') },
)
const apiKey = object({ api_key_id: string, scopes: listOf(string) }, { subaccount: integer, ...unread('name', 'fcm_subtrader_id') })
const nettingConfig = object({ subaccount_number: integer, enabled: boolean }, { exchange_index: integer })
const orderGroup = object({ id: string, is_auto_cancel_enabled: boolean }, { contracts_limit_fp: decimal, exchange_index: integer })
export const queuePosition = object({ order_id: string, market_ticker: string, queue_position_fp: decimal })

export type WireOrder = Value<typeof order>
export type WireFill = Value<typeof fill>
export type WirePosition = Value<typeof position>
export type WireSettlement = Value<typeof settlement>
export type WireMarket = Value<typeof market>
export type WireEvent = Value<typeof event>
export type WireSeries = Value<typeof series>
export type WireTrade = Value<typeof publicTrade>

const cursor = { cursor: string }
export type EndpointOf<T> = { readonly path: string; readonly check: Check<T>; readonly signed: boolean; readonly list: string | null }
function endpoint<T>(path: string, schema: Shape<T>, signed: boolean, list: string | null = null): EndpointOf<T> {
  return { path, check: new Check(schema), signed, list }
}
/**
 * The reading side. `{name}` in a path is filled from the parameters of the call; the rest become its query. `list`: the field whose pages a cursor walks.
 * `/exchange/announcements` was removed on 2026-07-04 and is not here.
 */
export const ENDPOINTS = {
  markets: endpoint('/markets', object({ markets: listOf(market) }, cursor), false, 'markets'),
  market: endpoint('/markets/{ticker}', object({ market }), false),
  events: endpoint('/events', object({ events: listOf(event) }, { ...cursor, ...unread('milestones') }), false, 'events'),
  event: endpoint('/events/{event_ticker}', object({ event }, { markets: listOf(market) }), false),
  seriesList: endpoint('/series', object({ series: listOf(series) }), false),
  series: endpoint('/series/{series_ticker}', object({ series }), false),
  seriesFeeChanges: endpoint('/series/fee_changes', object({ series_fee_change_arr: listOf(seriesFeeChange) }), false),
  eventFeeChanges: endpoint(
    '/events/fee_changes',
    object({ event_fee_changes: listOf(eventFeeChange) }, cursor),
    false,
    'event_fee_changes',
  ),
  orderbook: endpoint('/markets/{ticker}/orderbook', object({ orderbook_fp: bookSides }), false),
  orderbooks: endpoint('/markets/orderbooks', object({ orderbooks: listOf(tickerBook) }), false),
  trades: endpoint('/markets/trades', object({ trades: listOf(publicTrade) }, cursor), false, 'trades'),
  candles: endpoint(
    '/series/{series_ticker}/markets/{ticker}/candlesticks',
    object({ candlesticks: listOf(candle) }, { ticker: string }),
    false,
  ),
  candlesOfMany: endpoint('/markets/candlesticks', object({ markets: listOf(marketCandles) }), false),
  candlesOfEvent: endpoint(
    '/series/{series_ticker}/events/{ticker}/candlesticks',
    object({ market_tickers: listOf(string), market_candlesticks: listOf(listOf(candle)) }, { adjusted_end_ts: integer }),
    false,
  ),
  historicalCutoff: endpoint(
    '/historical/cutoff',
    object(
      { market_settled_ts: string, trades_created_ts: string, orders_updated_ts: string },
      { market_positions_last_updated_ts: string },
    ),
    false,
  ),
  historicalMarkets: endpoint('/historical/markets', object({ markets: listOf(market) }, cursor), false, 'markets'),
  historicalMarket: endpoint('/historical/markets/{ticker}', object({ market }), false),
  historicalTrades: endpoint('/historical/trades', object({ trades: listOf(publicTrade) }, cursor), false, 'trades'),
  historicalCandles: endpoint(
    '/historical/markets/{ticker}/candlesticks',
    object({ candlesticks: listOf(historicalCandle) }, { ticker: string }),
    false,
  ),
  exchangeStatus: endpoint('/exchange/status', exchangeStatus, false),
  exchangeSchedule: endpoint('/exchange/schedule', object({ schedule }), false),
  userDataTimestamp: endpoint('/exchange/user_data_timestamp', object({ as_of_time: string }), false),
  accountLimits: endpoint('/account/limits', object({ usage_tier: string, read: bucketLimit, write: bucketLimit }, unread('grants')), true),
  endpointCosts: endpoint('/account/endpoint_costs', object({ default_cost: integer, endpoint_costs: listOf(endpointCost) }), false),
  balance: endpoint(
    '/portfolio/balance',
    object(
      { balance_dollars: decimal, updated_ts: integer },
      { balance_breakdown: listOf(shardBalance), ...unread('balance', 'portfolio_value') },
    ),
    true,
  ),
  orders: endpoint('/portfolio/orders', object({ orders: listOf(order) }, cursor), true, 'orders'),
  order: endpoint('/portfolio/orders/{order_id}', object({ order }), true),
  fills: endpoint('/portfolio/fills', object({ fills: listOf(fill) }, cursor), true, 'fills'),
  positions: endpoint(
    '/portfolio/positions',
    object({ market_positions: listOf(position), event_positions: listOf(eventPosition) }, cursor),
    true,
    'market_positions',
  ),
  settlements: endpoint('/portfolio/settlements', object({ settlements: listOf(settlement) }, cursor), true, 'settlements'),
  queuePositions: endpoint('/portfolio/orders/queue_positions', object({ queue_positions: listOf(queuePosition) }), true),
  queuePosition: endpoint('/portfolio/orders/{order_id}/queue_position', object({ queue_position_fp: decimal }), true),
  historicalOrders: endpoint('/historical/orders', object({ orders: listOf(order) }, cursor), true, 'orders'),
  historicalFills: endpoint('/historical/fills', object({ fills: listOf(fill) }, cursor), true, 'fills'),
  apiKeys: endpoint('/api_keys', object({ api_keys: listOf(apiKey) }, unread('api_key_region_expiration_ts')), true),
  netting: endpoint('/portfolio/subaccounts/netting', object({ netting_configs: listOf(nettingConfig) }), true),
  orderGroups: endpoint('/portfolio/order_groups', object({}, { order_groups: listOf(orderGroup) }), true),
} as const
export type Endpoint = keyof typeof ENDPOINTS
export type Answer<E extends Endpoint> = (typeof ENDPOINTS)[E] extends EndpointOf<infer T> ? T : never

/** What an error body says, in any of its four shapes (api.md §4.12); null where it says nothing. */
export function errorOf(body: string): { readonly code: string; readonly details: string } | null {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null) return null
  const { error, code, msg, details, message } = value as Record<string, unknown>
  if (typeof error === 'string') return { code: error, details: '' }
  if (typeof error === 'object' && error !== null) {
    const inner = error as Record<string, unknown>
    return { code: words(inner['code']), details: words(inner['details'] ?? inner['message']) }
  }
  if (typeof code === 'string') return { code, details: words(details ?? message) }
  return typeof msg === 'string' ? { code: 'parameters', details: words(msg) } : null
}
/** Its words, without anything that a terminal would obey. */
function words(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, 300).replace(/\p{Cc}/gu, ' ') : ''
}
