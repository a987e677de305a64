/**
 * Messages of Kalshi's WebSocket (AsyncAPI of 2026-10-01), and the commands that it takes. Owns every field name of the stream; hides JSON. Invariant: `readFrame` never
 * throws: what it is given becomes a message, an unknown type that is kept, or a malformed frame with a reason.
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
  type Value,
} from './fields.ts'

const subscribed = object({ channel: string, sid: integer })
const confirmed = object({}, { market_tickers: listOf(string), ...unread('market_ids', 'index_ids', 'underlying_tickers') })
const subscriptionList = listOf(object({ channel: string, sid: integer }))
const refused = object({ code: integer, msg: string }, { market_ticker: string, market_tickers: listOf(string) })
const orderbookSnapshot = object({ market_ticker: string }, { yes_dollars_fp: levels, no_dollars_fp: levels, ...unread('market_id') })
const orderbookDelta = object(
  { market_ticker: string, price_dollars: decimal, delta_fp: decimal, side },
  { ts: string, ts_ms: integer, client_order_id: string, subaccount: integer, ...unread('market_id') },
)
const ticker = object(
  { market_ticker: string, price_dollars: decimal, yes_bid_dollars: decimal, yes_ask_dollars: decimal, volume_fp: decimal },
  {
    ts_ms: integer,
    time: string,
    last_trade_size_fp: decimal,
    yes_bid_size_fp: decimal,
    yes_ask_size_fp: decimal,
    open_interest_fp: decimal,
    ...unread('market_id', 'dollar_volume', 'dollar_open_interest', 'ts'),
  },
)
const trade = object(
  { trade_id: string, market_ticker: string, yes_price_dollars: decimal, count_fp: decimal },
  {
    taker_book_side: bookSide,
    taker_outcome_side: side,
    taker_side: side,
    is_block_trade: boolean,
    ts_ms: integer,
    ...unread('no_price_dollars', 'ts'),
  },
)
const fill = object(
  {
    trade_id: string,
    order_id: string,
    market_ticker: string,
    is_taker: boolean,
    yes_price_dollars: decimal,
    count_fp: decimal,
    fee_cost: decimal,
    post_position_fp: decimal,
    outcome_side: side,
    book_side: bookSide,
  },
  {
    exchange_index: integer,
    client_order_id: string,
    ts_ms: integer,
    subaccount: integer,
    ...unread('side', 'action', 'ts', 'purchased_side'),
  },
)
const lifecycleMetadata = object(
  {},
  {
    title: string,
    event_ticker: string,
    floor_strike: number,
    cap_strike: number,
    strike_type: string,
    ...unread(
      'name',
      'yes_sub_title',
      'no_sub_title',
      'rules_primary',
      'rules_secondary',
      'can_close_early',
      'expected_expiration_ts',
      'custom_strike',
    ),
  },
)
const lifecycle = {
  exchange_index: integer,
  open_ts: integer,
  close_ts: integer,
  result: string,
  determination_ts: integer,
  settlement_value: decimal,
  settled_ts: integer,
  is_deactivated: boolean,
  price_level_structure: string,
  additional_metadata: lifecycleMetadata,
}
/** `event_type` is text: a new one is no reason to lose its sequence number. Those that are known are handled where it takes effect. */
const marketLifecycle = object(
  { event_type: string, market_ticker: string },
  { ...lifecycle, price_ranges: priceRanges, ...unread('strike_type', 'floor_strike', 'cap_strike', 'custom_strike', 'yes_sub_title') },
)
const multivariateLifecycle = object({ event_type: string, market_ticker: string }, lifecycle)
const eventLifecycle = object(
  { event_ticker: string, series_ticker: string },
  { title: string, subtitle: string, collateral_return_type: string, exchange_index: integer, ...unread('strike_date', 'strike_period') },
)
const FEE_TYPES = [
  'quadratic',
  'quadratic_with_maker_fees',
  'quadratic_with_combo_maker_fees',
  'flat',
  'margin_market_maker_program_fees',
] as const
export const feeType = oneOf(...FEE_TYPES)
const eventFeeUpdate = object({ event_ticker: string }, { fee_type_override: feeType, fee_multiplier_override: number })
const marketPosition = object(
  {
    market_ticker: string,
    position_fp: decimal,
    position_cost_dollars: decimal,
    realized_pnl_dollars: decimal,
    fees_paid_dollars: decimal,
  },
  { user_id: string, subaccount: integer, ...unread('position_fee_cost_dollars', 'volume_fp') },
)
const orderGroupUpdates = object(
  { event_type: oneOf('created', 'triggered', 'reset', 'deleted', 'limit_updated'), order_group_id: string },
  { contracts_limit_fp: decimal, ts_ms: integer },
)
const userOrder = object(
  {
    order_id: string,
    ticker: string,
    status: oneOf('resting', 'canceled', 'executed', 'unknown'),
    outcome_side: side,
    book_side: bookSide,
    yes_price_dollars: decimal,
    fill_count_fp: decimal,
    remaining_count_fp: decimal,
    initial_count_fp: decimal,
    client_order_id: string,
  },
  {
    taker_fill_cost_dollars: decimal,
    maker_fill_cost_dollars: decimal,
    taker_fees_dollars: decimal,
    maker_fees_dollars: decimal,
    created_ts_ms: integer,
    last_updated_ts_ms: integer,
    expiration_ts_ms: integer,
    exchange_index: integer,
    subaccount_number: integer,
    order_group_id: string,
    last_update_reason: string,
    ...unread('user_id', 'side', 'is_yes', 'self_trade_prevention_type', 'created_time', 'last_update_time', 'expiration_time'),
  },
)
const average = object({ value: decimal }, unread('window_size', 'window_start_ts_ms', 'window_end_ts_exclusive'))
const cfbenchmarksValue = object(
  { index_id: string, data: string },
  { received_at: integer, avg_60s_data: average, last_60s_windowed_average_15min: average },
)
const cfbenchmarksFast = object({ index_id: string, value_usd: decimal, source_ts_ms: integer }, unread('received_at', 'data'))
const pythValue = object({ underlying_ticker: string, value_usd: decimal, source_ts_ms: integer }, unread('received_at'))
const indexList = object({ index_ids: listOf(string) })
const underlyingList = object({ underlying_tickers: listOf(string) })

/** Payload (`msg`) of each type. */
export const PAYLOADS = {
  subscribed,
  error: refused,
  orderbook_snapshot: orderbookSnapshot,
  orderbook_delta: orderbookDelta,
  ticker,
  trade,
  fill,
  market_lifecycle_v2: marketLifecycle,
  multivariate_market_lifecycle: multivariateLifecycle,
  event_lifecycle: eventLifecycle,
  event_fee_update: eventFeeUpdate,
  market_position: marketPosition,
  order_group_updates: orderGroupUpdates,
  user_order: userOrder,
  cfbenchmarks_value: cfbenchmarksValue,
  cfbenchmarks_value_5hz: cfbenchmarksFast,
  cfbenchmarks_value_indexlist: indexList,
  cfbenchmarks_value_5hz_indexlist: indexList,
  pyth_value: pythValue,
  pyth_value_underlying_list: underlyingList,
} as const
type Payloads = typeof PAYLOADS
type PayloadType = keyof Payloads

export type WireUserOrder = Value<typeof userOrder>
export type WireUserFill = Value<typeof fill>

/** `seq` counts per `sid`; control replies on a counted subscription are counted too. `id` is the command that is answered. */
type Envelope = { readonly sid: number | null; readonly seq: number | null; readonly id: number | null }
export type StreamMessage =
  | { [T in PayloadType]: Envelope & { readonly type: T; readonly msg: Value<Payloads[T]> } }[PayloadType]
  | (Envelope & { readonly type: 'unsubscribed' })
  | (Envelope & {
      readonly type: 'ok'
      readonly tickers: readonly string[] | null
      readonly subscriptions: Value<typeof subscriptionList> | null
    })
export type Frame =
  | { readonly kind: 'message'; readonly message: StreamMessage }
  /** A type that nobody knows yet: kept and counted; its sequence number still counts. */
  | (Envelope & { readonly kind: 'unknown'; readonly type: string })
  | { readonly kind: 'malformed'; readonly reason: string }

const checks: ReadonlyMap<string, Check<unknown>> = new Map(
  Object.entries(PAYLOADS).map(([type, schema]) => [type, new Check<unknown>(schema)]),
)
const okCheck = new Check(confirmed)
const listCheck = new Check(subscriptionList)

export function readFrame(text: string): Frame {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { kind: 'malformed', reason: 'not JSON' }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { kind: 'malformed', reason: 'not an object' }
  const { type, sid: rawSid, seq: rawSeq, id: rawId, msg } = value as Record<string, unknown>
  if (typeof type !== 'string' || type === '') return { kind: 'malformed', reason: 'no type' }
  const sid = whole(rawSid)
  const seq = whole(rawSeq)
  const id = whole(rawId)
  if (sid === undefined || seq === undefined || id === undefined) return { kind: 'malformed', reason: 'sid, seq or id is no whole number' }
  const check = checks.get(type)
  if (check !== undefined) {
    if (!check.is(msg)) return { kind: 'malformed', reason: `${type} ${check.why(msg)}` }
    return { kind: 'message', message: { type, sid, seq, id, msg } as StreamMessage }
  }
  if (type === 'unsubscribed') return { kind: 'message', message: { type, sid, seq, id } }
  if (type === 'ok') {
    if (listCheck.is(msg)) return { kind: 'message', message: { type, sid, seq, id, tickers: null, subscriptions: msg } }
    if (msg === undefined || msg === null) return { kind: 'message', message: { type, sid, seq, id, tickers: null, subscriptions: null } }
    if (!okCheck.is(msg)) return { kind: 'malformed', reason: `ok ${okCheck.why(msg)}` }
    return { kind: 'message', message: { type, sid, seq, id, tickers: msg.market_tickers ?? null, subscriptions: null } }
  }
  return { kind: 'unknown', type, sid, seq, id }
}
/** Absent is null; anything but a whole number is undefined. */
function whole(value: unknown): number | null | undefined {
  if (value === undefined || value === null) return null
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

/** Error codes of the stream that decide what happens next (api.md §5.8). */
export const StreamError = {
  UNKNOWN_SUBSCRIPTION: 7,
  AUTHENTICATION: 9,
  CHANNEL: 10,
  TIMEOUT: 18,
  OVERFLOW: 25,
  MARKET_LIMIT: 26,
  TOO_MANY: 27,
} as const

export const CHANNELS = [
  'orderbook_delta',
  'ticker',
  'trade',
  'fill',
  'market_positions',
  'user_orders',
  'order_group_updates',
  'market_lifecycle_v2',
  'multivariate_market_lifecycle',
  'cfbenchmarks_value',
  'cfbenchmarks_value_5hz',
  'pyth_value',
] as const
export type Channel = (typeof CHANNELS)[number]
/** Channels whose messages carry `seq`. */
export function isSequenced(channel: Channel): boolean {
  return channel !== 'ticker' && channel !== 'fill' && channel !== 'market_positions' && channel !== 'user_orders'
}

/** Commands as text. `use_yes_price` is always said: the exchange's default will change. */
export const command = {
  subscribe(id: number, channels: readonly Channel[], more: SubscribeMore = {}): string {
    const { tickers, indices, underlyings } = more
    return JSON.stringify({
      id,
      cmd: 'subscribe',
      params: {
        channels,
        ...(tickers === undefined ? {} : { market_tickers: tickers }),
        ...(indices === undefined ? {} : { index_ids: indices }),
        ...(underlyings === undefined ? {} : { underlying_tickers: underlyings }),
        ...(channels.includes('orderbook_delta') ? { use_yes_price: true } : {}),
        ...(channels.includes('ticker') ? { send_initial_snapshot: true } : {}),
      },
    })
  },
  unsubscribe(id: number, sids: readonly number[]): string {
    return JSON.stringify({ id, cmd: 'unsubscribe', params: { sids } })
  },
  update(id: number, sid: number, action: 'add_markets' | 'delete_markets' | 'get_snapshot', tickers: readonly string[]): string {
    return JSON.stringify({ id, cmd: 'update_subscription', params: { sids: [sid], action, market_tickers: tickers } })
  },
  list(id: number): string {
    return JSON.stringify({ id, cmd: 'list_subscriptions' })
  },
} as const
type SubscribeMore = {
  readonly tickers?: readonly string[]
  readonly indices?: readonly string[]
  readonly underlyings?: readonly string[]
}
