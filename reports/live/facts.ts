/**
 * What a live session wrote down beside its journal, as facts: each write with its outcome and times, spans in which nobody knew, reconciliations, incidents, queue positions. Owns how they are read from the
 * inputs of the record; hides the inputs. Invariant: what was not written is null, never zero, and an outcome belongs to one write.
 */
import type { News } from '../../engine/news.ts'

/** An input of a session's record, in the order of the record. Times in µs. */
export type LiveInput = { readonly row: number; readonly time: number; readonly kind: string; readonly detail: unknown }

export type WriteType = 'submit' | 'cancel' | 'amend' | 'decrease'
export type WriteOutcome = 'acknowledged' | 'rejected' | 'not-sent' | 'unknown'
/** One command on its way to the venue. */
export type Write = {
  readonly order: number
  /** Number of the engine's command that it carries out; null: not told, or the shell's own. */
  readonly command: number | null
  readonly type: WriteType
  readonly client: string | null
  /** When its intent was written. */
  readonly decided: number
  /** Null: nothing of it is on record. */
  outcome: WriteOutcome | null
  status: number | null
  reason: string | null
  synced: number | null
  sent: number | null
  answered: number | null
  /** The venue's own time of what it did. */
  venue: number | null
  /** Tries after the first (cancels only). */
  repeats: number
  /** Nobody knew what became of it; `how`: the news that ended it. */
  unknown: { readonly since: number; until: number | null; how: string | null } | null
}
export type QueueFact = { readonly time: number; readonly order: number; readonly ahead: number; readonly predicted: number | null }
export type TradeFact = Extract<News, { type: 'fill' }> & { readonly time: number }
export type ForeignFact = Extract<News, { type: 'foreign-fill' }> & { readonly time: number }
export type ReconciliationFact = {
  readonly time: number
  readonly verdict: string
  readonly why: string
  /** Side by side, as they were written. */
  readonly differences: readonly Readonly<Record<string, unknown>>[]
}
export type IncidentFact = {
  readonly time: number
  readonly class: string
  readonly action: string
  readonly reason: string
  readonly market: string | null
  /** When it was over, where the record says it. */
  until: number | null
}
export type SegmentFact = { readonly time: number; readonly generation: number | null; readonly version: string }
export type LiveFacts = {
  readonly writes: readonly Write[]
  /** By order, in the order of the record. */
  readonly ofOrder: ReadonlyMap<number, readonly Write[]>
  readonly trades: readonly TradeFact[]
  readonly foreign: readonly ForeignFact[]
  readonly queues: readonly QueueFact[]
  readonly reconciliations: readonly ReconciliationFact[]
  readonly incidents: readonly IncidentFact[]
  readonly segments: readonly SegmentFact[]
  /** The venue's own number of an order. */
  readonly venueIds: ReadonlyMap<number, string>
  /** How the venue says that an order ended, and when (its time). */
  readonly ends: ReadonlyMap<number, { readonly reason: string; readonly time: number }>
  readonly absent: ReadonlySet<number>
  readonly rejected: ReadonlyMap<number, string>
}

/** As intents call them. */
const TYPES: Readonly<Partial<Record<string, WriteType>>> = { create: 'submit', amend: 'amend', decrease: 'decrease', cancel: 'cancel' }
const EXPECTED: Readonly<Partial<Record<News['type'], readonly WriteType[]>>> = {
  accepted: ['submit'],
  rejected: ['submit'],
  amended: ['amend'],
  'amend-rejected': ['amend', 'decrease'],
  decreased: ['decrease'],
  canceled: ['cancel'],
  'cancel-rejected': ['cancel'],
}

export function liveFacts(inputs: readonly LiveInput[]): LiveFacts {
  const writes: Write[] = []
  const ofOrder = new Map<number, Write[]>()
  const trades: TradeFact[] = []
  const foreign: ForeignFact[] = []
  const queues: QueueFact[] = []
  const reconciliations: ReconciliationFact[] = []
  const incidents: IncidentFact[] = []
  const segments: SegmentFact[] = []
  const venueIds = new Map<number, string>()
  const ends = new Map<number, { reason: string; time: number }>()
  const absent = new Set<number>()
  const rejected = new Map<number, string>()

  const learn = (time: number, news: News): void => {
    if (news.type === 'foreign-fill') return void foreign.push({ ...news, time })
    if (news.type === 'market-freed')
      for (const i of incidents) if (i.market === news.ticker && i.until === null && i.time < time) i.until = time
    if (!('order' in news)) return
    const own = ofOrder.get(news.order) ?? []
    if (news.type === 'no-answer') {
      const open = own.findLast((w) => w.outcome === 'unknown' || w.outcome === null) ?? own.at(-1)
      if (open !== undefined) open.unknown ??= { since: time, until: null, how: null }
      return
    }
    const waiting = own.find((w) => w.unknown !== null && w.unknown.until === null)
    if (waiting?.unknown) {
      waiting.unknown.until = time
      waiting.unknown.how = 'reason' in news ? `${news.type}: ${news.reason}` : news.type
    }
    if (news.type === 'fill') trades.push({ ...news, time })
    if (news.type === 'accepted') venueIds.set(news.order, news.id)
    if (news.type === 'absent') absent.add(news.order)
    else absent.delete(news.order)
    if (news.type === 'rejected') rejected.set(news.order, news.reason)
    if (news.type === 'canceled') ends.set(news.order, { reason: news.reason, time: news.timeVenue })
    const types = EXPECTED[news.type] ?? []
    // One command of an order is on its way at a time: the last of its kind is meant.
    const write = own.findLast((w) => types.includes(w.type) && w.venue === null)
    if (write !== undefined && news.timeVenue > 0 && (news.type !== 'canceled' || news.reason === 'user')) write.venue = news.timeVenue
  }

  for (const { time, kind, detail } of inputs) {
    const d = (typeof detail === 'object' && detail !== null ? detail : {}) as Readonly<Record<string, unknown>>
    switch (kind) {
      case 'news':
        learn(time, detail as News)
        break
      case 'intent': {
        const order = numberOf(d['order'])
        const type = TYPES[textOf(d['kind']) ?? '']
        // Order groups, and what is said of orders that are not the session's.
        if (order === null || type === undefined) break
        const own = ofOrder.get(order)
        const before = (numberOf(d['attempt']) ?? 1) > 1 ? own?.findLast((w) => w.type === type) : undefined
        if (before !== undefined) {
          before.repeats++
          break
        }
        const write: Write = {
          order,
          command: numberOf(d['command']),
          type,
          client: textOf(d['client']),
          decided: time,
          outcome: null,
          status: null,
          reason: null,
          synced: null,
          sent: null,
          answered: null,
          venue: null,
          repeats: 0,
          unknown: null,
        }
        writes.push(write)
        if (own === undefined) ofOrder.set(order, [write])
        else own.push(write)
        break
      }
      case 'outcome': {
        const type = TYPES[textOf(d['type']) ?? '']
        const own = ofOrder.get(numberOf(d['order']) ?? -1) ?? []
        // The answer to one command may be written down after the intent of the next: an outcome names the moment in which its own was made.
        const made = numberOf(d['made']) ?? -Infinity
        const write = own.find((w) => w.type === type && w.outcome === null && w.decided >= made) ?? own.findLast((w) => w.type === type)
        if (write === undefined) break
        const said = (textOf(d['outcome']) ?? 'unknown') as WriteOutcome
        const reason = textOf(d['reason'])
        // Our own gate is no venue.
        write.outcome = said === 'rejected' && reason?.startsWith('gate:') === true ? 'not-sent' : said
        write.status = numberOf(d['status'])
        write.reason = reason === '' ? null : reason
        write.synced ??= numberOf(d['synced'])
        write.sent ??= numberOf(d['sent'])
        // When it was given up is no answer.
        write.answered = said === 'acknowledged' || (write.outcome === 'rejected' && write.sent !== null) ? numberOf(d['answered']) : null
        break
      }
      case 'queue': {
        const [order, ahead] = [numberOf(d['order']), numberOf(d['ahead'])]
        if (order !== null && ahead !== null) queues.push({ time, order, ahead, predicted: numberOf(d['predicted']) })
        break
      }
      case 'reconciled': {
        const list = Array.isArray(d['differences']) ? d['differences'] : []
        reconciliations.push({
          time,
          verdict: textOf(d['outcome']) ?? textOf(d['verdict']) ?? 'unknown',
          why: textOf(d['why']) ?? '',
          differences: list.map((x: unknown) =>
            typeof x === 'object' && x !== null ? (x as Readonly<Record<string, unknown>>) : { what: String(x) },
          ),
        })
        break
      }
      case 'incident': {
        const name = textOf(d['class']) ?? 'unknown'
        const market = textOf(d['ticker']) ?? textOf(d['market']) ?? textOf(d['scope'])
        const until = numberOf(d['until'])
        // Written down when it begins, and again when it is over.
        const open = until === null ? undefined : incidents.findLast((i) => i.class === name && i.market === market && i.until === null)
        if (open !== undefined) open.until = until
        else
          incidents.push({
            time: numberOf(d['since']) ?? time,
            class: name,
            action: textOf(d['action']) ?? 'unknown',
            reason: textOf(d['reason']) ?? textOf(d['cause']) ?? '',
            market,
            until,
          })
        break
      }
      case 'segment':
        segments.push({ time: instantOf(d['time']) ?? time, generation: numberOf(d['generation']), version: textOf(d['version']) ?? '' })
        break
      default:
        // Of a later version, or of the tape's own business.
        break
    }
  }
  return { writes, ofOrder, trades, foreign, queues, reconciliations, incidents, segments, venueIds, ends, absent, rejected }
}

function numberOf(x: unknown): number | null {
  return typeof x === 'number' && Number.isFinite(x) ? x : null
}
/** µs, from a number or an ISO time. */
function instantOf(x: unknown): number | null {
  const ms = typeof x === 'string' ? Date.parse(x) : Number.NaN
  return Number.isNaN(ms) ? numberOf(x) : ms * 1000
}
function textOf(x: unknown): string | null {
  return typeof x === 'string' ? x : null
}

/** A gate of our own said no, or not one byte of it left. */
export function neverLeft(write: Write | undefined): boolean {
  return write?.outcome === 'not-sent' || (write?.reason ?? '').startsWith('gate:')
}
