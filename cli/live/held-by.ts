/**
 * What held a live session while risk refused: the troubles of its log, instead of the first guess of a refusal's name. Owns which of them count; hides the spans. Invariant: named is only what holds orders back
 * and stood while the session was in the state of that refusal.
 */
import type { SessionRecord } from '../../engine/session.ts'
import { liveFacts, type IncidentFact, type LiveInput } from '../../reports/live/facts.ts'
import { stateSpans } from '../../reports/live/spans.ts'
import { remedyOf, type Remedy } from '../../reports/remedies.ts'
import { duration, utc } from '../../reports/words.ts'
import { TROUBLES, type TroubleRow } from './trouble-table.ts'

/** Where the session stands while risk refuses for it. */
const STATES: Readonly<Partial<Record<string, string>>> = {
  syncing: 'syncing',
  paused: 'ready',
  halted: 'halted',
  'reduce-only': 'reducing',
}
const HOLDING: readonly string[] = ['resync', 'reduce', 'pause', 'halt-session', 'stop'] satisfies TroubleRow['action'][]
/** µs: what stood for less explains nothing. */
const LEAST = 1_000_000
const NAMED_MAX = 3

/** `remedyOf` of a live session. */
export function heldBy(record: SessionRecord, inputs: readonly LiveInput[]): typeof remedyOf {
  const spans = stateSpans(record)
  const incidents = liveFacts(inputs).incidents.filter((i) => i.market === null && HOLDING.includes(i.action))
  return (reason, header): Remedy => {
    const first = remedyOf(reason, header)
    const within = spans.filter((s) => s.state === STATES[reason])
    const shared = ({ time, until }: IncidentFact): number =>
      within.reduce((a, s) => a + Math.max(0, Math.min(s.to, until ?? Infinity) - Math.max(s.from, time)), 0)
    const held = incidents
      .map((i) => ({ i, shared: shared(i) }))
      .filter((h) => h.shared >= LEAST)
      .sort((a, b) => b.shared - a.shared)
      .slice(0, NAMED_MAX)
    if (held.length === 0) return first
    const rows = held.map(({ i }) => (TROUBLES as Readonly<Partial<Record<string, TroubleRow>>>)[i.class])
    return {
      ...first,
      meaning: `the session was held for ${held
        .map(
          ({ i, shared: time }, k) =>
            `${duration(time)} by ${i.class}${i.reason === '' ? '' : ` (${i.reason})`}${rows[k] === undefined ? '' : `: ${rows[k].what}`}, from ${utc(i.time)} to ${i.until === null ? 'its end' : utc(i.until)} UTC`,
        )
        .join('; and for ')}`,
      change: [...new Set(rows.map((r) => r?.advice ?? first.change))].join('; '),
    }
  }
}
