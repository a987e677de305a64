/**
 * A run as tables of plain rows, for notebooks and other programs: orders, trades, markets, metrics. Owns their columns; hides the record.
 * Invariant: integers keep the engine's units, and the type of a column says which.
 */
import type { SessionRecord } from '../engine/session.ts'
import { tradingOf } from './episodes.ts'
import { analyse } from './metrics.ts'
import { ordersOf } from './orders.ts'

export type FrameType = 'price' | 'quantity' | 'money' | 'time' | 'count' | 'real' | 'flag' | 'word' | 'text'
export type FrameValue = string | number | boolean | null
export type Frame = {
  readonly name: string
  readonly columns: readonly { readonly name: string; readonly type: FrameType; readonly note?: string }[]
  readonly rows: readonly Readonly<Record<string, FrameValue>>[]
}

function frame(name: string, columns: Readonly<Record<string, FrameType | readonly [FrameType, string]>>, rows: Frame['rows']): Frame {
  return {
    name,
    rows,
    columns: Object.entries(columns).map(([column, type]) =>
      typeof type === 'string' ? { name: column, type } : { name: column, type: type[0], note: type[1] },
    ),
  }
}

export function framesOf(record: SessionRecord): readonly Frame[] {
  const { metrics } = analyse(record)
  return [
    frame(
      'orders',
      {
        order: 'count',
        market: ['word', 'ticker'],
        strategy: 'word',
        side: ['word', 'of the YES book: a bid buys YES, an ask sells YES (buys NO)'],
        type: ['word', 'gtc rests; ioc and fok trade at once or not at all'],
        why: 'word',
        value: 'real',
        price: 'price',
        price_last: 'price',
        quantity: 'quantity',
        sent: 'time',
        arrival: ['time', 'at the venue'],
        accepted: ['time', 'at the venue'],
        first_fill: ['time', 'at the venue'],
        ended: ['time', 'when we learned it; null: it still stood at the end'],
        state: 'word',
        reason: 'word',
        amends: 'count',
        fills: 'count',
        filled: 'quantity',
        fill_price_dollars: ['real', 'average of its fills, YES side'],
        fees: 'money',
      },
      ordersOf(record).map((o) => ({
        order: o.order,
        market: o.market,
        strategy: o.owner,
        side: o.side,
        type: o.type,
        why: o.why,
        value: o.value,
        price: o.price,
        price_last: o.priceLast,
        quantity: o.quantity,
        sent: o.sent,
        arrival: o.arrival > 0 ? o.arrival : null,
        accepted: o.accepted,
        first_fill: o.firstFill,
        ended: o.ended,
        state: o.state,
        reason: o.reason,
        amends: o.amends,
        fills: o.fills,
        filled: o.filled,
        fill_price_dollars: o.filled === 0 ? null : o.cost / o.filled / 10_000,
        fees: o.fees,
      })),
    ),
    frame(
      'trades',
      {
        market: ['word', 'ticker'],
        strategy: 'word',
        held: ['word', 'YES or NO'],
        opened: 'time',
        closed: ['time', 'null: still open at the end'],
        exit: 'word',
        quantity: 'quantity',
        entry_dollars: ['real', 'average price of the side held'],
        exit_dollars: ['real', 'average price of the side held'],
        fees: 'money',
        pnl: ['money', 'net of fees; open trades where they could be closed'],
        why: 'word',
      },
      tradingOf(record).episodes.map((e) => ({
        market: e.market,
        strategy: e.owner,
        held: e.side,
        opened: e.opened,
        closed: e.closed,
        exit: e.exit,
        quantity: e.quantity,
        entry_dollars: e.entry / 10_000,
        exit_dollars: e.exitPrice === null ? null : e.exitPrice / 10_000,
        fees: e.fees,
        pnl: e.pnl,
        why: e.why,
      })),
    ),
    frame(
      'markets',
      {
        market: ['word', 'ticker'],
        event: 'word',
        series: 'word',
        title: 'text',
        strike: 'text',
        close_time: 'time',
        result: 'word',
        settlement_value: ['price', 'what one YES contract paid'],
        paid: 'flag',
        orders: 'count',
        fills: 'count',
        filled: 'quantity',
        position: 'quantity',
        liquidation_value: 'money',
        mid_value: 'money',
        mark_basis: 'word',
        fees: 'money',
        pnl: 'money',
      },
      record.end.markets.map((m) => ({
        market: m.ticker,
        event: m.event,
        series: m.series,
        title: m.title,
        strike: m.strike,
        close_time: m.closeTime,
        result: m.result,
        settlement_value: m.settlementValue,
        paid: m.paid,
        orders: m.orders,
        fills: m.fills,
        filled: m.filled,
        position: m.position,
        liquidation_value: m.liquidationValue,
        mid_value: m.midValue,
        mark_basis: m.markBasis,
        fees: m.fees,
        pnl: m.pnl,
      })),
    ),
    frame(
      'metrics',
      {
        id: 'word',
        label: 'text',
        value: ['real', 'in the unit beside it; null with a reason'],
        unit: ['word', 'money: 1/1,000,000 dollar, quantity: 1/100 contract, cents: a contract, time: us, share: 0 to 1'],
        text: ['text', 'as the report shows it'],
        n: 'real',
        low: ['real', '95 % interval'],
        high: ['real', '95 % interval'],
        reason: 'text',
        formula: 'text',
      },
      metrics.map((m) => ({
        id: m.id,
        label: m.label,
        value: m.value,
        unit: m.unit,
        text: m.text,
        n: m.n,
        low: m.interval?.[0] ?? null,
        high: m.interval?.[1] ?? null,
        reason: m.reason,
        formula: m.formula,
      })),
    ),
  ]
}
