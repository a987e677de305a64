/** State → `msg` objects of WebSocket messages, field by field as AsyncAPI 2026-10-01 names them. Owns the shapes; invariant: each body is JSON text, made once and sent to everybody who gets the same. */
import { ASK, BID, PRICE_ONE, type SideCode } from '../../engine/units.ts'
import type { OrderGroup } from './account.ts'
import { multiplier, preventionName, priceRanges } from './encode-rest.ts'
import type { Position } from './ledger.ts'
import type { EventRecord, ListedMarket } from './market.ts'
import type { FillRow, OrderRow, TradeRow, UpdateReason } from './order.ts'
import type { GroupEvent, LifecycleType } from './outlet.ts'
import * as text from './text.ts'

export function snapshotBody(m: ListedMarket, yesPrices: boolean): string {
  const levels = (side: SideCode): string[][] => m.levels(side, yesPrices).map(([p, q]) => [text.price(p), text.count(q)])
  const yes = levels(BID)
  const no = levels(ASK)
  // A side without levels is left out.
  return JSON.stringify({
    market_ticker: m.ticker,
    market_id: m.id,
    ...(yes.length > 0 ? { yes_dollars_fp: yes } : {}),
    ...(no.length > 0 ? { no_dollars_fp: no } : {}),
  })
}

/** `own`: the client id and subaccount of the reader's own order that made the change. */
export function deltaBody(
  m: ListedMarket,
  side: SideCode,
  price: number,
  delta: number,
  now: number,
  yesPrices: boolean,
  own: { clientId: string; subaccount: number } | null,
): string {
  return JSON.stringify({
    market_ticker: m.ticker,
    market_id: m.id,
    price_dollars: text.price(side === BID || yesPrices ? price : PRICE_ONE - price),
    delta_fp: text.count(delta),
    side: side === BID ? 'yes' : 'no',
    ...(own === null
      ? {}
      : {
          ...(own.clientId === '' ? {} : { client_order_id: own.clientId }),
          ...(own.subaccount === 0 ? {} : { subaccount: own.subaccount }),
        }),
    ts: text.time(now),
    ts_ms: text.milliseconds(now),
  })
}

export function tickerBody(m: ListedMarket, now: number): string {
  return JSON.stringify({
    market_ticker: m.ticker,
    market_id: m.id,
    price_dollars: text.price(Math.max(0, m.lastPrice)),
    yes_bid_dollars: text.price(m.bid),
    yes_ask_dollars: text.price(m.ask),
    // Recorded tickers count both sides of a trade.
    volume_fp: text.count(2 * m.volume),
    open_interest_fp: text.count(m.openInterest),
    dollar_volume: Math.floor(m.volume / 100),
    dollar_open_interest: Math.floor(m.openInterest / 100),
    yes_bid_size_fp: text.count(m.shown.bidQuantity),
    yes_ask_size_fp: text.count(m.shown.askQuantity),
    last_trade_size_fp: text.count(m.lastQuantity),
    ts: text.unixSeconds(now),
    ts_ms: text.milliseconds(now),
    time: text.time(now),
  })
}
/** What of a ticker must differ for another one to be sent. */
export function tickerKey(m: ListedMarket): string {
  return `${m.lastPrice}/${m.bid}/${m.ask}/${m.volume}/${m.openInterest}/${m.shown.bidQuantity}/${m.shown.askQuantity}`
}

export function tradeMessage(t: TradeRow): string {
  const yes = t.side === BID
  return JSON.stringify({
    trade_id: t.id,
    market_ticker: t.ticker,
    yes_price_dollars: text.price(t.price),
    no_price_dollars: text.price(PRICE_ONE - t.price),
    count_fp: text.count(t.quantity),
    taker_side: yes ? 'yes' : 'no',
    taker_outcome_side: yes ? 'yes' : 'no',
    taker_book_side: yes ? 'bid' : 'ask',
    is_block_trade: false,
    ts: text.unixSeconds(t.time),
    ts_ms: text.milliseconds(t.time),
  })
}

export function fillMessage(f: FillRow): string {
  const yes = f.side === BID
  return JSON.stringify({
    trade_id: f.tradeId,
    order_id: f.orderId,
    market_ticker: f.ticker,
    exchange_index: f.exchangeIndex,
    is_taker: f.taker,
    side: 'yes',
    yes_price_dollars: text.price(f.price),
    count_fp: text.count(f.quantity),
    fee_cost: text.money(f.fee),
    action: yes ? 'buy' : 'sell',
    ts: text.unixSeconds(f.time),
    ts_ms: text.milliseconds(f.time),
    ...(f.clientId === '' ? {} : { client_order_id: f.clientId }),
    post_position_fp: text.count(f.position),
    purchased_side: yes ? 'yes' : 'no',
    outcome_side: yes ? 'yes' : 'no',
    book_side: yes ? 'bid' : 'ask',
    subaccount: f.subaccount,
  })
}

export function orderMessage(o: OrderRow, reason: UpdateReason | null): string {
  const yes = o.side === BID
  return JSON.stringify({
    order_id: o.id,
    user_id: o.user,
    ticker: o.ticker,
    status: o.state,
    side: 'yes',
    is_yes: true,
    outcome_side: yes ? 'yes' : 'no',
    book_side: yes ? 'bid' : 'ask',
    yes_price_dollars: text.price(o.price),
    fill_count_fp: text.count(o.filled),
    remaining_count_fp: text.count(o.remaining),
    initial_count_fp: text.count(o.initial),
    taker_fill_cost_dollars: text.money(o.takerCost),
    maker_fill_cost_dollars: text.money(o.makerCost),
    taker_fees_dollars: text.money(o.takerFees),
    maker_fees_dollars: text.money(o.makerFees),
    client_order_id: o.clientId,
    ...(o.group === null ? {} : { order_group_id: o.group }),
    self_trade_prevention_type: preventionName(o.prevention),
    created_time: text.time(o.created),
    created_ts_ms: text.milliseconds(o.created),
    last_update_time: text.time(o.updated),
    last_updated_ts_ms: text.milliseconds(o.updated),
    ...(o.expires === null ? {} : { expiration_time: text.time(o.expires), expiration_ts_ms: text.milliseconds(o.expires) }),
    subaccount_number: o.subaccount,
    exchange_index: o.exchangeIndex,
    ...(reason === null ? {} : { last_update_reason: reason }),
  })
}

export function positionMessage(p: Position, user: string): string {
  return JSON.stringify({
    user_id: user,
    market_ticker: p.ticker,
    position_fp: text.count(p.quantity),
    position_cost_dollars: text.money(p.cost),
    realized_pnl_dollars: text.money(p.realized),
    fees_paid_dollars: text.money(p.fees),
    position_fee_cost_dollars: text.money(p.feesOpen),
    volume_fp: text.count(p.tradedQuantity),
    subaccount: p.subaccount,
  })
}

export function groupMessage(g: OrderGroup, event: GroupEvent, now: number): string {
  const limited = event === 'created' || event === 'limit_updated'
  return JSON.stringify({
    event_type: event,
    order_group_id: g.id,
    ...(limited ? { contracts_limit_fp: text.count(g.limit) } : {}),
    ts_ms: text.milliseconds(now),
  })
}

export function lifecycleMessage(m: ListedMarket, type: LifecycleType): string {
  const d = m.definition
  const strike = {
    ...(d.strike === undefined ? {} : { strike_type: d.strike.type }),
    ...(d.strike?.floor === undefined ? {} : { floor_strike: d.strike.floor }),
    ...(d.strike?.cap === undefined ? {} : { cap_strike: d.strike.cap }),
  }
  const more: Record<LifecycleType, () => Record<string, unknown>> = {
    created: () => ({
      exchange_index: m.exchangeIndex,
      open_ts: text.unixSeconds(m.openTime),
      close_ts: text.unixSeconds(m.closeTime),
      price_level_structure: m.structure,
      price_ranges: priceRanges(m),
      additional_metadata: {
        name: d.title,
        title: d.title,
        yes_sub_title: d.subtitle ?? d.title,
        no_sub_title: d.subtitle ?? d.title,
        rules_primary: `${d.title}.`,
        rules_secondary: '',
        can_close_early: true,
        event_ticker: m.event.ticker,
        expected_expiration_ts: text.unixSeconds(m.closeTime),
        ...strike,
      },
    }),
    activated: () => ({ is_deactivated: false }),
    deactivated: () => ({ is_deactivated: true }),
    close_date_updated: () => ({ close_ts: text.unixSeconds(m.closeTime) }),
    determined: () => ({
      determination_ts: text.unixSeconds(m.determined),
      result: m.result,
      settlement_value: text.price(m.value),
    }),
    settled: () => ({ settled_ts: text.unixSeconds(m.settled) }),
    price_level_structure_updated: () => ({ price_level_structure: m.structure, price_ranges: priceRanges(m) }),
    metadata_updated: () => ({ ...strike, yes_sub_title: d.subtitle ?? d.title }),
  }
  return JSON.stringify({ market_ticker: m.ticker, event_type: type, ...more[type]() })
}

export function eventMessage(e: EventRecord): string {
  return JSON.stringify({
    event_ticker: e.ticker,
    exchange_index: e.exchangeIndex,
    title: e.title,
    subtitle: e.ticker,
    collateral_return_type: e.exclusive ? 'MECNET' : '',
    series_ticker: e.series,
  })
}
export function feeMessage(e: EventRecord): string {
  return JSON.stringify({
    event_ticker: e.ticker,
    fee_type_override: e.override?.type ?? null,
    fee_multiplier_override: e.override === null ? null : multiplier(e.override),
  })
}
