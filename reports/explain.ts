/**
 * The life of one order, in the order of time: seen, wished, refused, sent, answered, filled, and what came after. Owns which rows belong to
 * it; hides the walks. Invariant: every row of the journal that names the order is told exactly once.
 */
import { JournalKind } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'
import { sign, tradingOf, type Episode } from './episodes.ts'
import { deal, eventOf, type TraderEvent } from './journal-words.ts'
import type { LiveFacts } from './live/facts.ts'
import { liveOrder, withLive, type LiveOrder } from './live/order-story.ts'
import { ordersOf, type OrderRow } from './orders.ts'
import { endInWords, rejectionInWords } from './remedies.ts'
import { touchesOf, type Touch } from './touch.ts'
import { wishesOf, type WishStory } from './wishes.ts'
import { cents, centsSigned, contracts, duration, episodeText, money, moneySigned, plural } from './words.ts'

export type OrderMarkout = {
  /** Of the fills of this order, from 0. */
  readonly fill: number
  /** µs after the fill. */
  readonly horizon: number
  /** Price units; null: not two-sided then. */
  readonly mid: number | null
  readonly settled: boolean
  /** ¢ a contract, before fees: above zero it moved our way. */
  readonly cents: number | null
}

export type OrderStory = {
  readonly order: OrderRow
  readonly headline: string
  /** When it was decided, for a look at the book. */
  readonly decided: number
  readonly touch: Touch | null
  readonly events: readonly TraderEvent[]
  readonly markouts: readonly OrderMarkout[]
  readonly episodes: readonly Episode[]
  readonly outcome: string
  /** Null: not of a live session. */
  readonly live: LiveOrder | null
}

/** Null: there is no such order. `facts`: of a live session, what was written down beside its journal. */
export function explainOrder(record: SessionRecord, id: number, facts: LiveFacts | null = null): OrderStory | null {
  const order = ordersOf(record).find((o) => o.order === id)
  if (order === undefined) return null
  const { journal: j } = record
  const own: number[] = []
  for (let i = 0; i < j.length; i++) if (j.order[i] === id) own.push(i)
  const first = own[0] as number
  const last = own[own.length - 1] as number
  const rows = new Set(own)
  const wishes = wishesOf(record)
  const mine = wishesOfOrder(wishes.all, wishes.byCommand, own, last)
  for (const w of mine) {
    rows.add(w.row)
    for (const r of w.refusals) if (r <= last) rows.add(r)
  }
  const rests = order.type === 'gtc'
  if (rests)
    for (const p of wishes.pulls)
      if (p > first && p < last && j.market[p] === j.market[first] && j.owner[p] === j.owner[first] && j.side[p] === j.side[first])
        rows.add(p)

  const touchAt = touchesOf(record)
  const begun = Math.min(...rows)
  const decided = j.time[begun] as number
  const touch = touchAt(order.market, decided) ?? touchAt(order.market, order.sent)
  const events: TraderEvent[] = []
  const told = (kind: TraderEvent['kind'], time: number, text: string): void =>
    void events.push({ row: null, time, kind, owner: '', order: null, text })
  if (touch !== null) told('saw', touch.time, touchText(touch, decided))
  for (const row of [...rows].sort((a, b) => a - b)) {
    events.push(eventOf(record, row))
    if (rests && row === accepted(record, own)) {
      const t = touchAt(order.market, j.time[row] as number)
      if (t !== null) told('saw', j.time[row] as number, queueText(j.side[row] as number, j.price[row] as number, t, j.time[row] as number))
    }
  }

  const live = facts === null ? null : liveOrder(facts, id)
  if (live !== null) withLive(events, live)
  const trading = tradingOf(record)
  const fills = trading.fills.filter((f) => f.order === id)
  const markouts: OrderMarkout[] = []
  const numbers = new Map(fills.map((f, k) => [f.index, k]))
  const { markouts: m } = record
  for (let i = 0; i < m.length; i++) {
    const k = numbers.get(m.fill[i] as number)
    const fill = k === undefined ? undefined : fills[k]
    if (k === undefined || fill === undefined) continue
    const mid2 = m.mid2[i] as number
    markouts.push({
      fill: k,
      horizon: m.horizon[i] as number,
      mid: mid2 < 0 ? null : mid2 / 2,
      settled: m.settled[i] === 1,
      cents: mid2 < 0 ? null : (sign(fill) * (mid2 / 2 - fill.price)) / 100,
    })
  }
  fills.forEach((f, k) => {
    const after = markouts.filter((x) => x.fill === k)
    if (after.length > 0)
      told(
        'after',
        f.time,
        `${fills.length > 1 ? `fill ${k + 1}: ` : ''}${record.header.tape.depth === 'prints' ? 'the last trade' : 'the mid'} ${after.map(markoutText).join(', ')}`,
      )
  })
  const episodes = trading.episodes.filter(
    (e) =>
      e.market === order.market &&
      e.owner === order.owner &&
      fills.some((f) => e.opened <= f.time && (e.closed === null || f.time <= e.closed)),
  )
  return {
    order,
    headline: `#${id} ${order.market}: ${deal(order.side === 'bid' ? 0 : 1, order.price)} × ${contracts(order.quantity)}, ${rests ? 'to rest' : 'to trade at once'}, by ${order.owner}`,
    decided,
    touch,
    events,
    markouts,
    episodes,
    outcome: outcomeOf(order, episodes),
    live,
  }
}

/** The wishes that its commands came of, and those of the same kind and side stated while it lived. */
function wishesOfOrder(
  all: readonly WishStory[],
  byCommand: ReadonlyMap<number, WishStory>,
  own: readonly number[],
  last: number,
): Set<WishStory> {
  const mine = new Set<WishStory>()
  for (const row of own) {
    const wish = byCommand.get(row)
    if (wish !== undefined) mine.add(wish)
  }
  const [born] = mine
  if (born === undefined || born.kind !== 'quote') return mine
  for (const w of all) {
    // Words that another order came of are that order's.
    if (w.row <= born.row || w.row >= last || w.commands.length > 0) continue
    if (w.market === born.market && w.owner === born.owner && w.side === born.side && w.kind === born.kind) mine.add(w)
  }
  return mine
}

function accepted({ journal: j, strings }: SessionRecord, own: readonly number[]): number {
  return own.find((i) => j.kind[i] === JournalKind.ANSWER && strings[j.what[i] as number] === 'accepted') ?? -1
}

export function touchText(t: Touch, now: number): string {
  const side = (price: number, quantity: number): string => (price < 0 ? 'nobody' : `${cents(price)} × ${contracts(quantity)}`)
  const age = now - t.time
  // Where only trades are known both prices are the last trade's.
  if (t.bid >= 0 && t.bid === t.ask && t.bidQuantity === 0)
    return `last trade ${cents(t.bid)}${age > 0 ? ` (${duration(age)} before)` : ''}`
  return `best YES bid ${side(t.bid, t.bidQuantity)}, ask ${side(t.ask, t.askQuantity)}${age > 0 ? ` (sampled ${duration(age)} before)` : ''}`
}

function queueText(side: number, price: number, t: Touch, now: number): string {
  const [best, quantity] = side === 0 ? [t.bid, t.bidQuantity] : [t.ask, t.askQuantity]
  const name = side === 0 ? 'bid' : 'ask'
  const age = now - t.time
  const sampled = age > 0 ? ` (sampled ${duration(age)} before)` : ''
  if (best < 0) return `at the acceptance nobody else stood on its side${sampled}`
  if (best === price)
    return `at the acceptance ${contracts(quantity)} contracts were displayed at its price: the queue in front of it${sampled}`
  const better = side === 0 ? price > best : price < best
  return better
    ? `at the acceptance it was the best ${name}: the next stood at ${cents(best)}${sampled}`
    : `at the acceptance it stood ${cents(Math.abs(best - price))} behind the best ${name} of ${cents(best)}${sampled}`
}

function markoutText(m: OrderMarkout): string {
  const when = m.horizon === 0 ? 'at the fill' : `after ${horizonText(m.horizon)}`
  if (m.mid === null) return `${when} unknown (no two-sided book)`
  return `${when} ${m.settled ? 'settled at ' : ''}${cents(m.mid)} (${centsSigned(m.cents ?? 0)})`
}

function horizonText(us: number): string {
  return us < 1e6 ? `${us / 1e3} ms` : us < 60e6 ? `${us / 1e6} s` : us < 3600e6 ? `${us / 60e6} min` : `${us / 3600e6} h`
}

function outcomeOf(o: OrderRow, episodes: readonly Episode[]): string {
  const filled =
    o.filled === 0
      ? 'nothing was filled'
      : `${contracts(o.filled)} of ${contracts(o.quantity)} filled in ${plural(o.fills, 'fill')} at ${cents(o.cost / o.filled)} on average, fees ${money(o.fees)}`
  const end =
    o.state === 'filled'
      ? 'filled whole'
      : o.state === 'rejected'
        ? o.reason === 'absent'
          ? 'its answer was lost, and it was proved that it never came to be'
          : `rejected (${rejectionInWords(o.reason)})`
        : o.state === 'canceled'
          ? endInWords(o.reason)
          : o.accepted === null
            ? 'its answer was still on its way when the session ended'
            : 'still working when the session ended'
  const trades = episodes.map(
    (e) => `${episodeText(e)}, ${e.exit === 'open' ? 'open, marked at' : 'made'} ${moneySigned(e.pnl)} net of ${money(e.fees)} fees`,
  )
  const head = o.filled > 0 && o.state === 'filled' ? filled : `${end}; ${filled}`
  return `${head}.${trades.length === 0 ? '' : ` ${trades.length === 1 ? 'The trade it belongs to' : 'The trades it belongs to'}: ${trades.join('; ')}.`}`
}
