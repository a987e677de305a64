/**
 * Facts: orders, fills and settlements of the wire in our units. Owns what a row must hold to be believed; hides field names. Invariant: digits, never floats, and a row that contradicts itself or lacks
 * something is `null` with why, never a guess.
 */
import { parseTime } from '../../../data/import/frames.ts'
import { digits, text } from '../../../data/import/translate.ts'
import { parseDecimal, parsePrice, parseQuantity, PRICE_ONE } from '../../../engine/units.ts'
import type { WireFill, WireOrder, WirePosition, WireSettlement } from '../wire/answers.ts'
import type { WireUserFill, WireUserOrder } from '../wire/stream.ts'
import type { FillFact, OrderFact } from './evidence.ts'
import { isNameable } from './intent.ts'

export type Reading<T> = { readonly fact: T; readonly why: null } | { readonly fact: null; readonly why: string }

/** What a market of ours paid. `net`: signed contracts that were settled; `value`: price units of YES, as far as whole cents tell it. */
export type SettlementFact = {
  readonly ticker: string
  readonly shard: number
  readonly result: 'yes' | 'no' | 'scalar'
  readonly net: number
  readonly value: number | null
  readonly revenue: number
  readonly time: number
}
export type PositionFact = { readonly ticker: string; readonly shard: number; readonly position: number; readonly fees: number }

/** Decimal text of dollars → Money; NaN when it is none. */
export function parseMoney(value: unknown): number {
  return parseDecimal(digits(value), 6)
}

type Sides = { readonly book_side: 'bid' | 'ask'; readonly outcome_side: 'yes' | 'no' }
/** Both words of the wire must say the same side (api.md §4.1). */
function sideOf({ book_side: book, outcome_side: outcome }: Sides): 'bid' | 'ask' | null {
  return (book === 'bid') === (outcome === 'yes') ? book : null
}
const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 0
/** Optional numbers of the wire: absent is the first subaccount, the first shard (api.md §4.4: both came later than the rest). */
const number = (value: number | null | undefined): number => value ?? 0

function orderFact(
  id: string,
  wire: Sides & {
    readonly ticker: string
    readonly yes_price_dollars: unknown
    readonly initial_count_fp: unknown
    readonly fill_count_fp: unknown
    readonly remaining_count_fp: unknown
    readonly status: string
  },
  more: Pick<OrderFact, 'client' | 'reason' | 'group' | 'subaccount' | 'shard' | 'updated'>,
): Reading<OrderFact> {
  const bad = (why: string): Reading<OrderFact> => ({ fact: null, why: `order ${id.slice(0, 40)}: ${why}` })
  const { status } = wire
  if (!isNameable(id) || wire.ticker === '') return bad('it has no number that can be named, or no market')
  if (status !== 'resting' && status !== 'canceled' && status !== 'executed') return bad(`its status is "${status.slice(0, 20)}"`)
  const side = sideOf(wire)
  if (side === null) return bad(`it is a ${wire.book_side} of ${wire.outcome_side}, which contradict each other`)
  const price = parsePrice(digits(wire.yes_price_dollars))
  const initial = parseQuantity(digits(wire.initial_count_fp))
  const filled = parseQuantity(digits(wire.fill_count_fp))
  const remaining = parseQuantity(digits(wire.remaining_count_fp))
  if (!(price > 0 && price < PRICE_ONE)) return bad('its price is none')
  if (!isCount(initial) || !isCount(filled) || !isCount(remaining)) return bad('a count of it is none')
  if (status === 'resting' && remaining === 0) return bad('it rests with nothing left')
  if (more.updated !== null && !Number.isSafeInteger(more.updated)) return bad('its time is none')
  return { fact: { id, ticker: wire.ticker, side, price, status, initial, filled, remaining, ...more }, why: null }
}

export function orderOfAnswer(wire: WireOrder): Reading<OrderFact> {
  const updated = wire.last_update_time ?? wire.created_time ?? null
  return orderFact(wire.order_id, wire, {
    client: text(wire.client_order_id),
    reason: null,
    group: text(wire.order_group_id),
    subaccount: number(wire.subaccount_number),
    shard: number(wire.exchange_index),
    updated: updated === null ? null : parseTime(updated),
  })
}
export function orderOfStream(wire: WireUserOrder): Reading<OrderFact> {
  const updated = wire.last_updated_ts_ms ?? wire.created_ts_ms ?? null
  return orderFact(wire.order_id, wire, {
    client: text(wire.client_order_id),
    reason: text(wire.last_update_reason),
    group: text(wire.order_group_id),
    subaccount: number(wire.subaccount_number),
    shard: number(wire.exchange_index),
    updated: updated === null ? null : updated * 1000,
  })
}

function fillFact(
  wire: Sides & {
    readonly trade_id: string
    readonly order_id: string
    readonly yes_price_dollars: unknown
    readonly count_fp: unknown
    readonly fee_cost: unknown
    readonly is_taker: boolean
  },
  more: Pick<FillFact, 'ticker' | 'timeVenue' | 'position' | 'subaccount' | 'shard'>,
): Reading<FillFact> {
  const { trade_id: trade, order_id: id } = wire
  const bad = (why: string): Reading<FillFact> => ({ fact: null, why: `fill ${trade.slice(0, 40)}: ${why}` })
  if (trade === '' || !isNameable(id) || more.ticker === '') return bad('it has no trade, no order that can be named, or no market')
  const side = sideOf(wire)
  if (side === null) return bad(`it is a ${wire.book_side} of ${wire.outcome_side}, which contradict each other`)
  const price = parsePrice(digits(wire.yes_price_dollars))
  const quantity = parseQuantity(digits(wire.count_fp))
  // A rebate may make the fee of a fill negative.
  const fee = parseMoney(wire.fee_cost)
  if (!(price > 0 && price < PRICE_ONE)) return bad('its price is none')
  if (!isCount(quantity) || quantity === 0) return bad('its count is none')
  if (!Number.isSafeInteger(fee)) return bad('its fee is none')
  if (!Number.isSafeInteger(more.timeVenue)) return bad('its time is none')
  if (more.position !== null && !Number.isSafeInteger(more.position)) return bad('the position after it is none')
  return { fact: { trade, id, side, price, quantity, fee, maker: !wire.is_taker, ...more }, why: null }
}

export function fillOfAnswer(wire: WireFill): Reading<FillFact> {
  const seconds = wire.ts
  const created = wire.created_time ?? null
  return fillFact(wire, {
    ticker: wire.ticker,
    timeVenue: created !== null ? parseTime(created) : typeof seconds === 'number' ? seconds * 1_000_000 : Number.NaN,
    position: null,
    subaccount: number(wire.subaccount_number),
    shard: number(wire.exchange_index),
  })
}
export function fillOfStream(wire: WireUserFill): Reading<FillFact> {
  const { ts_ms: milliseconds, ts: seconds } = wire
  return fillFact(wire, {
    ticker: wire.market_ticker,
    timeVenue: typeof milliseconds === 'number' ? milliseconds * 1000 : typeof seconds === 'number' ? seconds * 1_000_000 : Number.NaN,
    position: parseQuantity(digits(wire.post_position_fp)),
    subaccount: number(wire.subaccount),
    shard: number(wire.exchange_index),
  })
}

export function positionOfAnswer(wire: WirePosition): Reading<PositionFact> {
  const position = parseQuantity(digits(wire.position_fp))
  const fees = parseMoney(wire.fees_paid_dollars)
  if (wire.ticker === '' || !Number.isSafeInteger(position) || !Number.isSafeInteger(fees))
    return { fact: null, why: `position of ${wire.ticker.slice(0, 60)}: a number of it is none` }
  return { fact: { ticker: wire.ticker, shard: number(wire.exchange_index), position, fees }, why: null }
}

export function settlementOfAnswer(wire: WireSettlement): Reading<SettlementFact> {
  const yes = parseQuantity(digits(wire.yes_count_fp))
  const no = parseQuantity(digits(wire.no_count_fp))
  const time = parseTime(wire.settled_time)
  const bad = (why: string): Reading<SettlementFact> => ({ fact: null, why: `settlement of ${wire.ticker.slice(0, 60)}: ${why}` })
  if (!isCount(yes) || !isCount(no)) return bad('a count of it is none')
  if (!Number.isSafeInteger(time)) return bad('its time is none')
  const { market_result: result } = wire
  const cents = wire.value ?? null
  const value = result === 'yes' ? PRICE_ONE : result === 'no' ? 0 : cents === null ? null : cents * 100
  const fact = {
    ticker: wire.ticker,
    shard: number(wire.exchange_index),
    result,
    net: yes - no,
    value,
    revenue: wire.revenue * 10_000,
    time,
  }
  return { fact, why: null }
}

/** All rows of a list, or the first reason why it cannot be believed as a whole; what could be read is true all the same. */
export function readAll<W, T>(
  rows: readonly W[],
  read: (row: W) => Reading<T>,
): { readonly facts: readonly T[]; readonly why: string | null } {
  const facts: T[] = []
  let why: string | null = null
  for (const row of rows) {
    const reading = read(row)
    if (reading.fact !== null) facts.push(reading.fact)
    else why ??= reading.why
  }
  return { facts, why }
}
