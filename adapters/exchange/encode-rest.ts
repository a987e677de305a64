/** State → bodies of REST answers, field by field as OpenAPI 3.34 names them. Owns the shapes; hides nothing; invariant: fields that were removed from the API are never written. */
import type { FeeDetail } from '../../engine/message.ts'
import { BID, PRICE_ONE } from '../../engine/units.ts'
import type { OrderGroup, SettlementRow } from './account.ts'
import type { Candle } from './candles.ts'
import type { Exchange } from './exchange.ts'
import type { Position } from './ledger.ts'
import type { EventRecord, ListedMarket, SeriesRecord } from './market.ts'
import type { FillRow, OrderRow, TradeRow } from './order.ts'
import * as text from './text.ts'

type Json = Record<string, unknown>

const SOURCES = [{ name: 'Tapeline', url: 'https://example.com/' }]

export function marketBody(m: ListedMarket, now: number): Json {
  const d = m.definition
  const { bid, ask } = m
  const last = Math.max(0, m.lastPrice)
  return {
    ticker: m.ticker,
    event_ticker: m.event.ticker,
    market_type: 'binary',
    title: d.title,
    ...(d.subtitle === undefined ? {} : { subtitle: d.subtitle }),
    yes_sub_title: d.subtitle ?? d.title,
    no_sub_title: d.subtitle ?? d.title,
    created_time: text.time(m.created),
    updated_time: text.time(m.updated),
    open_time: text.time(m.openTime),
    close_time: text.time(m.closeTime),
    expected_expiration_time: text.time(m.closeTime),
    expiration_time: text.time(m.closeTime),
    latest_expiration_time: text.time(m.closeTime),
    settlement_timer_seconds: Math.round(m.settlementTimer / 1e6),
    status: m.status,
    yes_bid_dollars: text.price(bid),
    yes_bid_size_fp: text.count(m.shown.bidQuantity),
    yes_ask_dollars: text.price(ask),
    yes_ask_size_fp: text.count(m.shown.askQuantity),
    no_bid_dollars: text.price(PRICE_ONE - ask),
    no_ask_dollars: text.price(PRICE_ONE - bid),
    last_price_dollars: text.price(last),
    previous_yes_bid_dollars: '0.0000',
    previous_yes_ask_dollars: '0.0000',
    previous_price_dollars: '0.0000',
    volume_fp: text.count(m.volume),
    volume_24h_fp: text.count(m.volume24(now)),
    open_interest_fp: text.count(m.openInterest),
    notional_value_dollars: '1.0000',
    result: m.result,
    can_close_early: true,
    early_close_condition: 'A rehearsal may close this market early.',
    expiration_value: '',
    ...(m.value >= 0 ? { settlement_value_dollars: text.price(m.value) } : {}),
    ...(m.settled >= 0 ? { settlement_ts: text.time(m.settled) } : {}),
    ...(d.strike === undefined ? {} : { strike_type: d.strike.type }),
    ...(d.strike?.floor === undefined ? {} : { floor_strike: d.strike.floor }),
    ...(d.strike?.cap === undefined ? {} : { cap_strike: d.strike.cap }),
    rules_primary: `${d.title}.`,
    rules_secondary: '',
    price_level_structure: m.structure,
    price_ranges: priceRanges(m),
    settlement_bounds_type: 'default',
    exchange_index: m.exchangeIndex,
  }
}
export function priceRanges(m: ListedMarket): Json[] {
  return m.matching.grid.bands.map((b) => ({ start: text.price(b.start), end: text.price(b.end), step: text.price(b.step) }))
}

/** 1/10,000 → the number of the wire. */
export function multiplier(fee: FeeDetail): number {
  return fee.multiplier / 10_000
}

export function eventBody(e: EventRecord, now: number, nested: boolean): Json {
  return {
    event_ticker: e.ticker,
    series_ticker: e.series,
    title: e.title,
    sub_title: e.ticker,
    collateral_return_type: e.exclusive ? 'MECNET' : '',
    mutually_exclusive: e.exclusive,
    category: 'Practice',
    settlement_sources: SOURCES,
    strike_period: 'rehearsal',
    last_updated_ts: text.time(e.updated),
    exchange_index: e.exchangeIndex,
    ...(e.override === null ? {} : { fee_type_override: e.override.type, fee_multiplier_override: multiplier(e.override) }),
    ...(nested ? { markets: e.markets.map((m) => marketBody(m, now)) } : {}),
  }
}

export function seriesBody(s: SeriesRecord, volume: number | null): Json {
  return {
    ticker: s.ticker,
    frequency: 'custom',
    title: s.title,
    category: 'Practice',
    categories: ['Practice'],
    tags: [],
    settlement_sources: SOURCES,
    contract_url: 'https://example.com/',
    contract_terms_url: 'https://example.com/',
    fee_type: s.fee.type,
    fee_multiplier: multiplier(s.fee),
    additional_prohibitions: [],
    last_updated_ts: text.time(s.updated),
    exchange_index: s.exchangeIndex,
    ...(volume === null ? {} : { volume_fp: text.count(volume) }),
  }
}

export function orderBody(o: OrderRow): Json {
  const yes = o.side === BID
  return {
    order_id: o.id,
    user_id: o.user,
    client_order_id: o.clientId,
    ticker: o.ticker,
    side: 'yes',
    action: yes ? 'buy' : 'sell',
    outcome_side: yes ? 'yes' : 'no',
    book_side: yes ? 'bid' : 'ask',
    type: 'limit',
    status: o.state,
    yes_price_dollars: text.price(o.price),
    no_price_dollars: text.price(PRICE_ONE - o.price),
    initial_count_fp: text.count(o.initial),
    fill_count_fp: text.count(o.filled),
    remaining_count_fp: text.count(o.remaining),
    taker_fill_cost_dollars: text.money(o.takerCost),
    maker_fill_cost_dollars: text.money(o.makerCost),
    taker_fees_dollars: text.money(o.takerFees),
    maker_fees_dollars: text.money(o.makerFees),
    created_time: text.time(o.created),
    last_update_time: text.time(o.updated),
    ...(o.expires === null ? {} : { expiration_time: text.time(o.expires) }),
    self_trade_prevention_type: preventionName(o.prevention),
    ...(o.group === null ? {} : { order_group_id: o.group }),
    ...(o.cancelOnPause ? { cancel_order_on_pause: true } : {}),
    subaccount_number: o.subaccount,
    exchange_index: o.exchangeIndex,
  }
}
export function preventionName(prevention: 'taker' | 'maker'): string {
  return prevention === 'taker' ? 'taker_at_cross' : 'maker'
}

export function fillBody(f: FillRow): Json {
  const yes = f.side === BID
  return {
    fill_id: f.tradeId,
    trade_id: f.tradeId,
    order_id: f.orderId,
    ticker: f.ticker,
    market_ticker: f.ticker,
    side: 'yes',
    action: yes ? 'buy' : 'sell',
    outcome_side: yes ? 'yes' : 'no',
    book_side: yes ? 'bid' : 'ask',
    count_fp: text.count(f.quantity),
    yes_price_dollars: text.price(f.price),
    no_price_dollars: text.price(PRICE_ONE - f.price),
    is_taker: f.taker,
    fee_cost: text.money(f.fee),
    created_time: text.time(f.time),
    ts: text.unixSeconds(f.time),
    subaccount_number: f.subaccount,
    exchange_index: f.exchangeIndex,
  }
}

export function positionBody(p: Position): Json {
  return {
    ticker: p.ticker,
    exchange_index: p.exchangeIndex,
    total_traded_dollars: text.money(p.traded),
    position_fp: text.count(p.quantity),
    market_exposure_dollars: text.money(p.cost),
    realized_pnl_dollars: text.money(p.realized),
    fees_paid_dollars: text.money(p.fees),
    last_updated_ts: text.time(p.updated),
  }
}
export function eventPositionBody(event: string, positions: readonly Position[]): Json {
  const sum = (of: (p: Position) => number): number => positions.reduce((a, p) => a + of(p), 0)
  return {
    event_ticker: event,
    total_cost_dollars: text.money(sum((p) => p.traded)),
    total_cost_shares_fp: text.count(sum((p) => p.tradedQuantity)),
    event_exposure_dollars: text.money(sum((p) => p.cost)),
    realized_pnl_dollars: text.money(sum((p) => p.realized)),
    fees_paid_dollars: text.money(sum((p) => p.fees)),
  }
}

export function settlementBody(s: SettlementRow): Json {
  return {
    ticker: s.ticker,
    event_ticker: s.event,
    exchange_index: s.exchangeIndex,
    market_result: s.result,
    yes_count_fp: text.count(Math.max(0, s.position)),
    yes_total_cost_dollars: text.money(s.position > 0 ? s.cost : 0),
    no_count_fp: text.count(Math.max(0, -s.position)),
    no_total_cost_dollars: text.money(s.position < 0 ? s.cost : 0),
    revenue: text.cents(s.revenue),
    value: Math.floor(s.value / 100),
    settled_time: text.time(s.time),
    fee_cost: text.money(s.fee),
  }
}

export function tradeBody(t: TradeRow): Json {
  const yes = t.side === BID
  return {
    trade_id: t.id,
    ticker: t.ticker,
    count_fp: text.count(t.quantity),
    yes_price_dollars: text.price(t.price),
    no_price_dollars: text.price(PRICE_ONE - t.price),
    taker_side: yes ? 'yes' : 'no',
    taker_outcome_side: yes ? 'yes' : 'no',
    taker_book_side: yes ? 'bid' : 'ask',
    created_time: text.time(t.time),
    is_block_trade: false,
  }
}

/** `plain`: the historical variant, whose names lack the suffixes. */
export function candleBody(c: Candle, plain: boolean): Json {
  const name = (n: string): string => (plain ? n : `${n}_dollars`)
  const range = (r: Candle['bid']): Json => ({
    [name('open')]: text.price(r.open),
    [name('low')]: text.price(r.low),
    [name('high')]: text.price(r.high),
    [name('close')]: text.price(r.close),
  })
  const price: Json = c.price === null ? {} : { ...range(c.price), [name('mean')]: text.average(c.notional, c.volume) }
  if (c.previous >= 0) price[name('previous')] = text.price(c.previous)
  if (plain) for (const n of ['open', 'low', 'high', 'close', 'mean', 'previous']) price[n] ??= null
  return {
    end_period_ts: text.unixSeconds(c.end),
    yes_bid: range(c.bid),
    yes_ask: range(c.ask),
    price,
    [plain ? 'volume' : 'volume_fp']: text.count(c.volume),
    [plain ? 'open_interest' : 'open_interest_fp']: text.count(c.openInterest),
  }
}

export function orderbookBody(m: ListedMarket, depth: number): Json {
  const side = (s: 0 | 1): string[][] => {
    const levels = m.levels(s, false)
    return (depth === 0 ? levels : levels.slice(-depth)).map(([p, q]) => [text.price(p), text.count(q)])
  }
  return { yes_dollars: side(0), no_dollars: side(1) }
}

export function groupBody(g: OrderGroup): Json {
  return { id: g.id, contracts_limit_fp: text.count(g.limit), is_auto_cancel_enabled: true, exchange_index: g.exchangeIndex }
}

export function statusBody(x: Exchange): Json {
  const first = x.shards[0]
  return {
    exchange_active: first?.exchangeActive ?? true,
    trading_active: first?.tradingActive ?? true,
    intra_exchange_transfers_active: first?.transfersActive ?? true,
    exchange_index_statuses: x.shards.map((s) => ({
      exchange_index: s.index,
      description: s.description,
      exchange_active: s.exchangeActive,
      trading_active: s.tradingActive,
      intra_exchange_transfers_active: s.transfersActive,
    })),
  }
}
