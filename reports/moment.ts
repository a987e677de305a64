/**
 * One market of a session at a moment, or from end to end: what was seen, wished, refused, sent and answered, and how things stood. Owns the
 * state at a time; hides the walk over the journal. Invariant: the state is that after every row up to and including the moment, and nothing later.
 */
import { JournalKind } from '../engine/journal.ts'
import type { MarketEnd, SessionRecord } from '../engine/session.ts'
import { BID } from '../engine/units.ts'
import { tradingOf, type Episode } from './episodes.ts'
import { touchText } from './explain.ts'
import { eventOf, type TraderEvent } from './journal-words.ts'
import { ordersOf, type OrderRow } from './orders.ts'
import { touchesOf, type Touch } from './touch.ts'

export type WorkingOrder = {
  readonly order: number
  readonly owner: string
  readonly side: 'bid' | 'ask'
  readonly price: number
  /** Quantity. */
  readonly left: number
  /** `on its way`: sent, and no answer known. */
  readonly state: 'working' | 'on its way'
}
export type Moment = {
  readonly market: string
  readonly time: number
  readonly window: number
  readonly touch: Touch | null
  readonly positions: readonly { readonly owner: string; readonly position: number }[]
  readonly working: readonly WorkingOrder[]
  /** Money; `equityTime`: when it was sampled, null: before the first change. */
  readonly cash: number
  readonly equity: number
  readonly equityTime: number | null
  /** Null: no change of it had been written (only markets with an order have theirs). */
  readonly status: string | null
  readonly sync: string | null
  readonly events: readonly TraderEvent[]
}

/** Tickers that the record has a row or a touch of, sorted. */
export function marketsOf({ journal: j, touches: t, strings }: SessionRecord): string[] {
  const seen = new Set<number>()
  for (let i = 0; i < j.length; i++) seen.add(j.market[i] as number)
  for (let i = 0; i < t.length; i++) seen.add(t.market[i] as number)
  seen.delete(-1)
  return [...seen].map((id) => strings[id] ?? '').sort()
}

/** First and last time of which the record knows something of a market; null: nothing. */
export function spanOf({ journal: j, touches: t, strings }: SessionRecord, market: string): readonly [number, number] | null {
  const id = strings.indexOf(market)
  let first = Infinity
  let last = -Infinity
  const see = (time: number): void => {
    first = Math.min(first, time)
    last = Math.max(last, time)
  }
  if (id >= 0) {
    for (let i = 0; i < j.length; i++) if (j.market[i] === id) see(j.time[i] as number)
    for (let i = 0; i < t.length; i++) if (t.market[i] === id) see(t.time[i] as number)
  }
  return first <= last ? [first, last] : null
}

export function explainMoment(record: SessionRecord, market: string, time: number, window: number): Moment {
  const { journal: j, strings, header, equity } = record
  const id = strings.indexOf(market)
  const word = (n: number): string => (n < 0 ? '' : (strings[n] ?? ''))
  const positions = new Map<string, number>()
  const working = new Map<number, { -readonly [K in keyof WorkingOrder]: WorkingOrder[K] }>()
  let status: string | null = null
  let sync: string | null = null
  const events: TraderEvent[] = []
  for (let i = 0; i < j.length; i++) {
    const at = j.time[i] as number
    if (at > time + window) break
    const session = j.market[i] === -1 && j.kind[i] === JournalKind.STATE
    if (j.market[i] !== id && !session) continue
    if (at >= time - window) events.push(eventOf(record, i))
    if (at > time || session) continue
    const what = word(j.what[i] as number)
    const owner = word(j.owner[i] as number)
    const order = j.order[i] as number
    const quantity = j.quantity[i] as number
    const stands = working.get(order)
    switch (j.kind[i] as JournalKind) {
      case JournalKind.COMMAND:
        if (what.startsWith('submit'))
          working.set(order, {
            order,
            owner,
            side: j.side[i] === BID ? 'bid' : 'ask',
            price: j.price[i] as number,
            left: quantity,
            state: 'on its way',
          })
        break
      case JournalKind.ANSWER:
        if (what.startsWith('canceled:') || (what.startsWith('rejected:') && stands?.state === 'on its way')) working.delete(order)
        else if (stands !== undefined && (what === 'accepted' || what === 'amended' || what === 'decreased')) {
          stands.state = 'working'
          stands.price = j.price[i] as number
          stands.left = quantity
        }
        break
      case JournalKind.FILL:
        positions.set(owner, (positions.get(owner) ?? 0) + (j.side[i] === BID ? quantity : -quantity))
        if (stands !== undefined) {
          stands.left -= quantity
          if (stands.left <= 0) working.delete(order)
        }
        break
      case JournalKind.SETTLEMENT:
        if (what === 'paid') positions.clear()
        else status = 'determined'
        break
      case JournalKind.STATE:
        if (what.startsWith('status:')) status = what.slice('status:'.length)
        else if (what === 'synced' || what.startsWith('unsynced:')) sync = what
        break
      case JournalKind.SIGNAL:
      case JournalKind.REFUSAL:
      case JournalKind.FORECAST:
        break
    }
  }
  const { touches: t } = record
  for (let i = 0; i < t.length; i++) {
    const at = t.time[i] as number
    if (t.market[i] !== id || at < time - window || at > time + window) continue
    const touch = { time: at, bid: t.bid[i], bidQuantity: t.bidQuantity[i], ask: t.ask[i], askQuantity: t.askQuantity[i] } as Touch
    events.push({ row: null, time: at, kind: 'saw', owner: '', order: null, text: touchText(touch, at) })
  }
  // What was seen comes before what was made of it in the same instant.
  events.sort((a, b) => a.time - b.time || (a.row ?? -1) - (b.row ?? -1))
  let sample = -1
  while (sample + 1 < equity.length && (equity.time[sample + 1] as number) <= time) sample++
  return {
    market,
    time,
    window,
    touch: touchesOf(record)(market, time),
    positions: [...positions].filter(([, p]) => p !== 0).map(([owner, position]) => ({ owner, position })),
    working: [...working.values()],
    cash: sample < 0 ? header.cash : (equity.cash[sample] as number),
    equity: sample < 0 ? header.cash : (equity.liquidation[sample] as number),
    equityTime: sample < 0 ? null : (equity.time[sample] as number),
    status,
    sync,
    events,
  }
}

export type Timeline = {
  readonly market: string
  /** Null: nothing was ever sent there. */
  readonly end: MarketEnd | null
  readonly span: readonly [number, number]
  readonly signals: number
  readonly refusals: readonly { readonly reason: string; readonly rows: number }[]
  readonly orders: readonly OrderRow[]
  readonly episodes: readonly Episode[]
  /** Changes of status and sync, and the settlement. */
  readonly states: readonly TraderEvent[]
}

/** Null: the record knows nothing of the market. */
export function explainMarket(record: SessionRecord, market: string): Timeline | null {
  const span = spanOf(record, market)
  if (span === null) return null
  const { journal: j, strings, end } = record
  const id = strings.indexOf(market)
  const refusals = new Map<string, number>()
  const states: TraderEvent[] = []
  let signals = 0
  for (let i = 0; i < j.length; i++) {
    if (j.market[i] !== id) continue
    if (j.kind[i] === JournalKind.SIGNAL) signals++
    else if (j.kind[i] === JournalKind.REFUSAL) {
      const reason = strings[j.what[i] as number] ?? ''
      refusals.set(reason, (refusals.get(reason) ?? 0) + 1)
    } else if (j.kind[i] === JournalKind.STATE || j.kind[i] === JournalKind.SETTLEMENT) states.push(eventOf(record, i))
  }
  return {
    market,
    end: end.markets.find((m) => m.ticker === market) ?? null,
    span,
    signals,
    refusals: [...refusals].map(([reason, rows]) => ({ reason, rows })).sort((a, b) => b.rows - a.rows || (a.reason < b.reason ? -1 : 1)),
    orders: ordersOf(record).filter((o) => o.market === market),
    episodes: tradingOf(record).episodes.filter((e) => e.market === market),
    states,
  }
}
