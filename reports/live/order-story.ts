/**
 * What a live order has beside its rows in the journal: its intent on disk, its outcome, the delays, the venue's numbers, its places in the queue. Owns their wording; hides nothing. Invariant: each stands at the
 * time at which it was so.
 */
import type { TraderEvent } from '../journal-words.ts'
import { contracts, plural, utcMillis } from '../words.ts'
import { delayText } from './delays.ts'
import type { LiveFacts, QueueFact, TradeFact, Write } from './facts.ts'

export type LiveOrder = {
  readonly client: string | null
  /** The venue's own number. */
  readonly venue: string | null
  readonly writes: readonly Write[]
  readonly trades: readonly TradeFact[]
  readonly queue: readonly QueueFact[]
}

export function liveOrder(facts: LiveFacts, order: number): LiveOrder {
  const writes = facts.ofOrder.get(order) ?? []
  return {
    client: writes.find((w) => w.client !== null)?.client ?? null,
    venue: facts.venueIds.get(order) ?? null,
    writes,
    trades: facts.trades.filter((t) => t.order === order),
    queue: facts.queues.filter((q) => q.order === order),
  }
}

/** Puts them among the events of the journal, which are in the order of time. */
export function withLive(events: TraderEvent[], live: LiveOrder): void {
  const { client, venue, writes, trades, queue } = live
  const more: TraderEvent[] = []
  const told = (kind: TraderEvent['kind'], time: number, text: string): void =>
    void more.push({ row: null, time, kind, owner: '', order: null, text })
  for (const w of writes) {
    told(
      'written',
      w.decided,
      `intent to ${w.type}${client === null ? '' : ` as ${client}`}${w.synced === null ? '' : `, on disk ${delayText(w.synced - w.decided)} later`}`,
    )
    const text = outcomeText(w)
    if (text !== null) told('outcome', w.answered ?? w.unknown?.since ?? w.sent ?? w.decided, text)
    if (w.unknown !== null)
      told(
        'outcome',
        w.unknown.until ?? w.unknown.since,
        w.unknown.until === null
          ? 'its outcome is unknown to the end of the record'
          : `known again after ${delayText(w.unknown.until - w.unknown.since)}: ${w.unknown.how ?? 'news'}`,
      )
  }
  let last: number | null = null
  for (const q of queue) {
    if (q.ahead === last) continue
    last = q.ahead
    told(
      'queue',
      q.time,
      `the venue says ${contracts(q.ahead)} before it${q.predicted === null ? '' : `, we thought ${contracts(q.predicted)}`}`,
    )
  }
  const fills = events.filter((e) => e.kind === 'filled')
  fills.forEach((e, k) => {
    const trade = trades[k]
    if (trade !== undefined)
      events[events.indexOf(e)] = { ...e, text: `${e.text}; trade ${trade.trade}, heard ${utcMillis(trade.time).slice(11)}` }
  })
  const accepted = events.findIndex((e) => e.kind === 'answered' && e.text.startsWith('accepted'))
  if (venue !== null && accepted >= 0)
    events[accepted] = {
      ...(events[accepted] as TraderEvent),
      text: `${(events[accepted] as TraderEvent).text}; the venue's number ${venue}`,
    }
  // Of one time the journal comes first: it decided.
  events.push(...more)
  events.sort((a, b) => a.time - b.time)
}

function outcomeText(w: Write): string | null {
  const stages = [
    w.sent === null ? null : `bytes left ${delayText(w.sent - w.decided)} after the decision`,
    w.sent === null || w.answered === null ? null : `answered ${delayText(w.answered - w.sent)} after that`,
  ].filter((t) => t !== null)
  const detail = [w.status === null ? '' : `HTTP ${w.status}`, w.reason ?? ''].filter((t) => t !== '').join(', ')
  const tail = `${detail === '' ? '' : ` (${detail})`}${stages.length === 0 ? '' : `; ${stages.join(', ')}`}${w.repeats > 0 ? `; repeated ${plural(w.repeats, 'time')}` : ''}`
  switch (w.outcome) {
    case null:
      return null
    case 'acknowledged':
      return `${w.type} acknowledged${tail}`
    case 'rejected':
      return `${w.type} rejected${tail}`
    case 'not-sent':
      return `${w.type} not sent: provably no byte of it left${detail === '' ? '' : ` (${detail})`}`
    case 'unknown':
      return `${w.type} unknown: nothing that could be trusted came back${tail}`
  }
}
