/**
 * When a session could trade. Owns the reading of its states from the journal; hides the rows. Invariant: the spans of a session do not overlap and end with its record.
 */
import { JournalKind } from '../../engine/journal.ts'
import type { SessionRecord } from '../../engine/session.ts'

export type StateSpan = { readonly state: string; readonly cause: string; readonly from: number; readonly to: number }

export function stateSpans({ journal: j, strings, end }: SessionRecord): StateSpan[] {
  const spans: { state: string; cause: string; from: number; to: number }[] = []
  for (let i = 0; i < j.length; i++) {
    if (j.kind[i] !== JournalKind.STATE) continue
    const what = strings[j.what[i] as number] ?? ''
    if (!what.startsWith('session:') || what === 'session:complete' || what === 'session:partial') continue
    const time = j.time[i] as number
    const open = spans.at(-1)
    if (open !== undefined) open.to = time
    spans.push({ state: what.slice('session:'.length), cause: strings[j.why[i] as number] ?? '', from: time, to: time })
  }
  const last = spans.at(-1)
  if (last !== undefined) last.to = Math.max(last.from, end.lastTime ?? last.from, j.length === 0 ? 0 : (j.time[j.length - 1] as number))
  return spans
}

const CAUSES: Readonly<Record<string, string>> = {
  'feed-lost': 'no open market had a whole book',
  'first-row': 'before the first book and the first agreement',
  disagreed: 'the exchange did not agree',
  halt: 'by the operator',
  pause: 'by the operator',
}
const TRADES: readonly string[] = ['trading', 'reducing']
/** Since when orders were permitted for the first time; null: never. */
export function tradedFrom(record: SessionRecord): number | null {
  return stateSpans(record).find((s) => TRADES.includes(s.state))?.from ?? null
}
/** Share of the time between its first and its last state in which orders were permitted, and what the rest was. */
export function uptimeOf(record: SessionRecord): {
  readonly share: number | null
  readonly lost: readonly { readonly why: string; readonly time: number }[]
} {
  const spans = stateSpans(record).filter((s) => s.state !== 'stopping' && s.state !== 'stopped')
  const all = spans.reduce((a, s) => a + s.to - s.from, 0)
  const lost = new Map<string, number>()
  const word = (s: StateSpan): string => `${s.state} (${CAUSES[s.cause] ?? s.cause})`
  for (const s of spans) if (!TRADES.includes(s.state)) lost.set(word(s), (lost.get(word(s)) ?? 0) + s.to - s.from)
  return {
    share: all === 0 ? null : 1 - [...lost.values()].reduce((a, t) => a + t, 0) / all,
    lost: [...lost].map(([why, time]) => ({ why, time })).sort((a, b) => b.time - a.time || (a.why < b.why ? -1 : 1)),
  }
}
