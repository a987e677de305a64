/**
 * Execution: what became of each order, and where the mid stood around each fill. Owns the reading of commands, answers, markouts and touches;
 * hides the walks. Invariant: a fill without a two-sided book at a moment has no part in a figure about that moment, and every n says so.
 */
import { JournalKind } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'
import { MINUTE } from '../engine/units.ts'
import { sign, type Fill } from './episodes.ts'
import type { Figures } from './figures.ts'
import { kaplanMeier, survivalQuantile } from './statistics.ts'

type OrderFacts = {
  /** When it was decided, and the price asked for. */
  readonly decided: number
  accepted: number | null
  firstFill: number | null
  ended: number | null
  /** Most contracts ever asked for, amends included (Quantity). */
  quantity: number
  filled: number
  readonly rests: boolean
}

function ordersOf({ journal: j, strings }: SessionRecord): Map<number, OrderFacts> {
  const orders = new Map<number, OrderFacts>()
  for (let i = 0; i < j.length; i++) {
    const id = j.order[i] as number
    if (id < 0) continue
    const kind = j.kind[i]
    const what = strings[j.what[i] as number] ?? ''
    const quantity = j.quantity[i] as number
    if (kind === JournalKind.COMMAND && what.startsWith('submit')) {
      const rests = what === 'submit-gtc'
      orders.set(id, { decided: j.time[i] as number, accepted: null, firstFill: null, ended: null, quantity, filled: 0, rests })
      continue
    }
    const o = orders.get(id)
    if (o === undefined) continue
    if (kind === JournalKind.ANSWER) {
      if (what === 'accepted') o.accepted = j.a[i] as number
      else if (what === 'amended') o.quantity = Math.max(o.quantity, o.filled + quantity)
      else if (what.startsWith('canceled')) o.ended = j.a[i] as number
    } else if (kind === JournalKind.FILL) {
      o.filled += quantity
      o.quantity = Math.max(o.quantity, o.filled)
      o.firstFill ??= j.b[i] as number
    }
  }
  return orders
}

export type MarkoutPoint = {
  readonly horizon: number
  readonly cents: number
  readonly n: number
  readonly maker: number | null
  readonly taker: number | null
}

/** s × (mid at the horizon − price), ¢ a contract, weighted by contracts, before fees. */
function markoutsOf({ markouts: m }: SessionRecord, fills: readonly Fill[]): MarkoutPoint[] {
  type Sum = { n: number; maker: number; makerWeight: number; taker: number; takerWeight: number }
  const sums = new Map<number, Sum>()
  const byIndex = new Map(fills.map((f) => [f.index, f]))
  for (let i = 0; i < m.length; i++) {
    const fill = byIndex.get(m.fill[i] as number)
    const mid2 = m.mid2[i] as number
    if (mid2 < 0 || fill === undefined) continue
    const horizon = m.horizon[i] as number
    const s = sums.get(horizon) ?? { n: 0, maker: 0, makerWeight: 0, taker: 0, takerWeight: 0 }
    const edge = (sign(fill) * (mid2 / 2 - fill.price) * fill.quantity) / 100
    s.n++
    if (fill.maker) {
      s.maker += edge
      s.makerWeight += fill.quantity
    } else {
      s.taker += edge
      s.takerWeight += fill.quantity
    }
    sums.set(horizon, s)
  }
  return [...sums]
    .sort((a, b) => a[0] - b[0])
    .map(([horizon, s]) => ({
      horizon,
      cents: (s.maker + s.taker) / (s.makerWeight + s.takerWeight),
      n: s.n,
      maker: s.makerWeight === 0 ? null : s.maker / s.makerWeight,
      taker: s.takerWeight === 0 ? null : s.taker / s.takerWeight,
    }))
}

/** What takers paid over the mid they decided on, ¢ a contract, before fees; positive is a cost. */
function slippageOf(
  orders: ReadonlyMap<number, OrderFacts>,
  fills: readonly Fill[],
  mid2: (market: string, time: number) => number,
): { readonly cents: number; readonly n: number } {
  let cost = 0
  let weight = 0
  let n = 0
  for (const f of fills) {
    const order = orders.get(f.order)
    if (f.maker || order === undefined) continue
    const mid = mid2(f.market, order.decided)
    if (Number.isNaN(mid)) continue
    cost += (sign(f) * (f.price - mid / 2) * f.quantity) / 100
    weight += f.quantity
    n++
  }
  return { cents: weight === 0 ? Number.NaN : cost / weight, n }
}

type Counted = { readonly reason: string; readonly count: number }
export type Execution = {
  readonly markouts: readonly MarkoutPoint[]
  readonly timeToFill: readonly { readonly time: number; readonly survival: number }[]
  readonly refusals: readonly Counted[]
  readonly rejections: readonly Counted[]
  readonly byReason: readonly { readonly why: string; readonly fills: number; readonly contracts: number }[]
}

export function executionOf(
  f: Figures,
  record: SessionRecord,
  fills: readonly Fill[],
  mid2: (market: string, time: number) => number,
): Execution {
  const { end } = record
  const orders = ordersOf(record)
  const accepted = [...orders.values()].filter((o) => o.accepted !== null)
  const n = accepted.length
  const none = { reason: 'no order was accepted' }
  f.add('orders', 'Orders', 'count', 'orders sent (an amend is no new order)', end.orders, end.orders)
  f.add('fills', 'Fills', 'count', 'executions of our orders', end.fills, end.fills)
  f.add(
    'fillRate',
    'Fill rate',
    'share',
    'accepted orders with any fill ÷ accepted orders',
    accepted.filter((o) => o.firstFill !== null).length / n,
    n,
    none,
  )
  f.add(
    'fillRateContracts',
    'Fill rate by contracts',
    'share',
    'contracts filled ÷ contracts placed (amends up included), of accepted orders',
    accepted.reduce((a, o) => a + o.filled, 0) / accepted.reduce((a, o) => a + o.quantity, 0),
    n,
    none,
  )
  const filled = fills.reduce((a, x) => a + x.quantity, 0)
  const made = fills.filter((x) => x.maker).reduce((a, x) => a + x.quantity, 0)
  f.add('makerShare', 'Contracts filled as maker', 'share', 'contracts of maker fills ÷ contracts filled', made / filled, fills.length, {
    reason: 'no fills',
  })
  const resting = accepted.filter((o) => o.rests)
  const timeToFill = kaplanMeier(
    resting.map((o) => ({
      time: Math.max(0, (o.firstFill ?? o.ended ?? end.lastTime ?? 0) - (o.accepted ?? 0)),
      event: o.firstFill !== null,
    })),
  )
  f.add(
    'timeToFill',
    'Median time to first fill',
    'time',
    'Kaplan–Meier over resting orders; a canceled order counts as not filled until then',
    survivalQuantile(timeToFill, 0.5),
    resting.length,
    {
      reason: resting.length === 0 ? 'no resting orders' : 'fewer than half of the resting orders would be filled',
    },
  )
  const slippage = slippageOf(orders, fills, mid2)
  f.add(
    'slippage',
    'Taker cost over the mid',
    'cents',
    's × (price − mid when decided), ¢ a contract, weighted by contracts, before fees; positive is a cost',
    slippage.cents,
    slippage.n,
    {
      reason: 'no taker fill had a two-sided book when it was decided',
    },
  )
  const markouts = markoutsOf(record, fills)
  const minute = markouts.find((x) => x.horizon === MINUTE)
  f.add(
    'markout',
    'Markout after a minute',
    'cents',
    's × (mid a minute after the fill − price), ¢ a contract, weighted by contracts, before fees',
    minute?.cents ?? Number.NaN,
    minute?.n ?? 0,
    {
      reason: 'no fill had a mid a minute later',
    },
  )
  const refusals = counted(end.refusals)
  const rejections = counted(end.rejections)
  const sum = (list: readonly Counted[]): number => list.reduce((a, r) => a + r.count, 0)
  f.add(
    'refusals',
    'Refusals by risk',
    'count',
    'wishes that a limit refused; a wish repeated while refused counts each time',
    sum(refusals),
    end.signals,
  )
  f.add('rejections', 'Rejections by the venue', 'count', 'commands that the venue refused', sum(rejections), end.orders)
  f.add('signals', 'Signals', 'count', 'wishes stated by the strategy, on change', end.signals, end.rows)
  return { markouts, timeToFill, refusals, rejections, byReason: byReason(fills) }
}

function counted(record: Readonly<Record<string, number>>): Counted[] {
  return Object.entries(record)
    .map(([reason, count]) => ({ reason, count }))
    .sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1))
}
function byReason(fills: readonly Fill[]): Execution['byReason'] {
  const reasons = new Map<string, { fills: number; contracts: number }>()
  for (const f of fills) {
    const r = reasons.get(f.why) ?? { fills: 0, contracts: 0 }
    r.fills++
    r.contracts += f.quantity
    reasons.set(f.why, r)
  }
  return [...reasons].sort((a, b) => b[1].fills - a[1].fills || (a[0] < b[0] ? -1 : 1)).map(([why, r]) => ({ why, ...r }))
}
