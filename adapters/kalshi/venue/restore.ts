/**
 * The orders of a session again, after a crash, from what its log kept. Owns how news are heard a second time; hides nothing. Invariant: what has no outcome in the log is unknown, and is told so once.
 */
import type { AnswerNews, News } from '../../../engine/news.ts'
import type { Command } from '../../../engine/order.ts'
import { isOfOrder, type CancelIntent, type OrderIntent } from './intent.ts'
import type { Ledger } from './ledger.ts'
import type { Kept, Tracked } from './tracked.ts'

/** What the log of the session kept, in its order. What has no outcome there is unknown from now on; everything that may live is looked at. */
export function restore(ledger: Ledger, kept: readonly Kept[], command: (intent: OrderIntent, now: number) => void, now: number): void {
  for (const k of kept) {
    if ('news' in k) heard(ledger, k.news, k.time ?? now, now)
    else if ('intent' in k && isOfOrder(k.intent)) command(k.intent, k.time)
  }
  for (const t of ledger.byOrder.values()) {
    if (t.over) continue
    const what = t.pending?.kind ?? t.unknown?.what ?? null
    t.pending = null
    if (what !== null) ledger.doubt(t, what, 'restart', now)
    // A cancel may be asked for twice: what shall end does not rest until its doubt is over.
    if (what === 'cancel' && t.id !== null) t.repeat = { intent: cancelOf(t, t.id), at: now }
    t.doubtful = true
    ledger.watch(t, now)
  }
  // Before everything else: what was agreed upon says nothing of what happened since, and no order is permitted before the exchange was asked anew.
  if (kept.length > 0) ledger.news.unshift({ type: 'disagreed', reason: 'the session goes on: the exchange is asked first' })
}

function cancelOf(t: Tracked, id: string): CancelIntent & { readonly order: number } {
  const { shard, subaccount } = t.create
  return { kind: 'cancel', command: null, attempt: 0, order: t.order, id, ticker: t.ticker, shard, subaccount }
}
/** A command that a crash kept from being sent: provably no byte of it left. */
export function dropped(ledger: Ledger, order: number, type: Command['type']): void {
  const t = ledger.byOrder.get(order)
  const kind = type === 'submit' ? 'rejected' : type === 'cancel' ? 'cancel-rejected' : 'amend-rejected'
  const news: AnswerNews = { type: kind, order, timeVenue: 0, reason: 'not-sent' }
  if (t === undefined) ledger.news.push(news)
  else ledger.tell(t, news)
}

function heard(ledger: Ledger, news: News, time: number, now: number): void {
  if (news.type === 'foreign-fill') return void ledger.trades.take(news.ticker, news.trade, { ...news, id: '' })
  if (!('order' in news)) return
  const t = ledger.byOrder.get(news.order)
  if (t === undefined) return
  t.tell(news)
  // Pictures from before it show terms that were.
  if (news.type === 'amended' || news.type === 'decreased') t.changed = Math.max(t.changed, news.timeVenue)
  switch (news.type) {
    case 'accepted':
      ledger.alive.add(t)
      t.accepted = true
      t.id = news.id
      ledger.byId.set(news.id, t)
      t.told = 'open'
      t.unknown = null
      t.next = null
      if (t.pending?.kind === 'create') t.pending = null
      return
    case 'amended':
      if (t.next !== null) {
        t.price = t.next.price
        t.total = t.next.total
      }
      return answered(ledger, t)
    case 'decreased':
      t.total = t.booked + news.remaining
      return answered(ledger, t)
    case 'amend-rejected':
      return answered(ledger, t)
    case 'cancel-rejected':
      t.pending = null
      t.canceling = false
      return
    case 'no-answer':
      // No byte of it left later than that: a crash since does not begin its time anew.
      t.unknown = { what: t.pending?.kind ?? t.unknown?.what ?? 'create', at: Math.min(time, now), passes: 0, passedAt: -Infinity }
      t.pending = null
      t.told = 'unknown'
      return
    case 'fill':
      t.booked += news.quantity
      ledger.trades.take(t.ticker, news.trade, { ...news, id: t.id ?? '', side: t.create.side })
      if (t.engineOver) ledger.close(t, 'over')
      return
    case 'canceled':
      return ledger.close(t, 'over')
    case 'rejected':
    case 'absent':
      return ledger.close(t, news.type)
  }
}

function answered(ledger: Ledger, t: Tracked): void {
  t.next = null
  t.pending = null
  t.unknown = null
  if (!t.over) t.told = 'open'
  if (t.engineOver) ledger.close(t, 'over')
}
