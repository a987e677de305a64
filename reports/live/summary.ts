/**
 * What only a live session has, as data: columns side by side, delays, outcomes, unknowns, reconciliations, incidents. Owns the shape and the warnings that come before every number; hides nothing. Invariant:
 * page and JSON read the same.
 */
import { JournalKind } from '../../engine/journal.ts'
import type { SessionRecord } from '../../engine/session.ts'
import type { ModelSummary } from '../diverge/model.ts'
import type { Analysis } from '../metrics.ts'
import { contracts, duration, plural } from '../words.ts'
import { sideBySide, type SideBySide } from './columns.ts'
import {
  delaysIn,
  outcomesOf,
  quantilesOf,
  STAGES,
  unknownsOf,
  type Outcomes,
  type Quantiles,
  type Stage,
  type Unknowns,
} from './delays.ts'
import { liveFacts, type IncidentFact, type LiveFacts, type ReconciliationFact, type SegmentFact } from './facts.ts'
import type { LiveParts } from './parts.ts'
import { stateSpans, uptimeOf } from './spans.ts'

export type Incident = IncidentFact & { readonly lasted: number | null }
export type OperatorAction = { readonly time: number; readonly command: string; readonly reason: string }
export type Reconciliations = {
  readonly passes: number
  readonly agreed: number
  /** Something was just happening, or one pass alone showed a difference. */
  readonly unjudged: number
  /** Those that did not agree, and those with something to show. */
  readonly differing: readonly ReconciliationFact[]
  readonly last: { readonly time: number; readonly verdict: string } | null
}
export type LiveSummary = {
  readonly sideBySide: SideBySide
  readonly outcomes: readonly Outcomes[]
  readonly delays: readonly { readonly stage: Stage; readonly label: string; readonly quantiles: Quantiles | null }[]
  readonly unknowns: Unknowns
  readonly uptime: ReturnType<typeof uptimeOf>
  readonly reconciliations: Reconciliations
  readonly incidents: readonly Incident[]
  readonly operator: readonly OperatorAction[]
  readonly segments: readonly SegmentFact[]
  /** `outside`: by nobody of the session. `closed`: by the operator's `flatten`. */
  readonly outside: OutsideFills
  readonly closed: OutsideFills
  /** Closed by the operator, and not in the record. */
  readonly unbooked: { readonly fills: number; readonly contracts: number }
  readonly models: readonly ModelSummary[] | { readonly missing: string }
}

export type OutsideFills = { readonly fills: number; readonly contracts: number; readonly fees: number }

export function liveSummary(
  record: SessionRecord,
  analysis: Analysis,
  parts: LiveParts,
): { readonly live: LiveSummary; readonly facts: LiveFacts } {
  const facts = liveFacts(parts.inputs)
  const { reconciliations: list } = facts
  const agreed = list.filter((r) => r.verdict === 'agreed')
  // A pass that judged nothing, or one alone that showed something, is no verdict.
  const last = list.findLast((r) => VERDICTS.includes(r.verdict))
  const live: LiveSummary = {
    sideBySide: sideBySide({ record, analysis, facts }, parts.backtest, parts.paper),
    outcomes: outcomesOf(facts),
    delays: STAGES.map(([stage, label]) => ({ stage, label, quantiles: quantilesOf(delaysIn(facts.writes, stage)) })),
    unknowns: unknownsOf(facts),
    uptime: uptimeOf(record),
    reconciliations: {
      passes: list.length,
      agreed: agreed.length,
      differing: list.filter((r) => r.differences.length > 0 || VERDICTS.slice(1).includes(r.verdict)),
      unjudged: list.filter((r) => !VERDICTS.includes(r.verdict)).length,
      last: last === undefined ? null : { time: last.time, verdict: last.verdict },
    },
    incidents: facts.incidents.map((i) => ({ ...i, lasted: lastedOf(record, i) })),
    operator: operatorOf(record),
    segments: facts.segments,
    outside: outsideOf(facts.foreign.filter((f) => f.by === undefined)),
    unbooked: { fills: parts.unbooked?.length ?? 0, contracts: (parts.unbooked ?? []).reduce((a, f) => a + f.quantity, 0) },
    closed: outsideOf(facts.foreign.filter((f) => f.by !== undefined)),
    models: parts.models,
  }
  return { live, facts }
}

function outsideOf(fills: LiveFacts['foreign']): OutsideFills {
  return { fills: fills.length, contracts: fills.reduce((a, f) => a + f.quantity, 0), fees: fills.reduce((a, f) => a + f.fee, 0) }
}

const VERDICTS: readonly string[] = ['agreed', 'halted', 'disagreed']
/** How soon after an incident the session must have left trading for that to be the incident's doing. */
const DOING = 5_000_000
/** Null: over at once, or the record does not say. */
function lastedOf(record: SessionRecord, { time, until }: IncidentFact): number | null {
  if (until !== null) return until - time
  const spans = stateSpans(record)
  const k = spans.findIndex((s) => s.state !== 'trading' && s.from >= time && s.from <= time + DOING)
  if (k < 0) return null
  const back = spans.slice(k).find((s) => s.state === 'trading')
  return (back?.from ?? spans.at(-1)?.to ?? time) - time
}

function operatorOf({ journal: j, strings }: SessionRecord): OperatorAction[] {
  const out: OperatorAction[] = []
  for (let i = 0; i < j.length; i++) {
    if (j.kind[i] !== JournalKind.STATE) continue
    const what = strings[j.what[i] as number] ?? ''
    if (what.startsWith('operator:'))
      out.push({ time: j.time[i] as number, command: what.slice('operator:'.length), reason: strings[j.why[i] as number] ?? '' })
  }
  return out
}

/** What must be known before a number of a live session is believed, the gravest first. */
export function liveWarnings({
  unknowns,
  reconciliations,
  outside,
  closed,
  unbooked,
  incidents,
  segments,
  sideBySide: { columns },
}: LiveSummary): string[] {
  const out: string[] = []
  if (reconciliations.passes === 0) out.push('No reconciliation is on record: nothing says that the exchange agrees with these books.')
  else if (reconciliations.last?.verdict !== 'agreed')
    out.push('The last reconciliation did not agree: the exchange says something else than these books. Both stand side by side below.')
  if (unknowns.unresolved > 0)
    out.push(
      `${plural(unknowns.unresolved, 'write')} ended unknown: it was never learned what became of ${unknowns.unresolved === 1 ? 'it' : 'them'}.`,
    )
  if (outside.fills > 0)
    out.push(
      `${plural(outside.fills, 'fill')} of the account (${contracts(outside.contracts)} contracts) ${outside.fills === 1 ? 'was' : 'were'} made by nobody of this session: booked to the owner "outside", counted in every total, and no strategy's doing.`,
    )
  if (unbooked.fills > 0)
    out.push(
      `The operator closed positions after the end (flatten): ${plural(unbooked.fills, 'fill')}, ${contracts(unbooked.contracts)} contracts, which are NOT in these books: they enter when the session goes on.`,
    )
  if (closed.fills > 0)
    out.push(
      `The operator closed positions by hand (flatten): ${plural(closed.fills, 'fill')}, ${contracts(closed.contracts)} contracts, booked to the strategies that held them.`,
    )
  if (segments.length > 1)
    out.push(`The session was cut off and went on ${plural(segments.length - 1, 'time')}: between two segments nobody watched.`)
  const long = incidents.filter((i) => i.lasted !== null).sort((a, b) => (b.lasted as number) - (a.lasted as number))[0]
  if (incidents.length > 0)
    out.push(
      `${plural(incidents.length, 'incident')}${long === undefined ? '' : `, the longest ${duration(long.lasted as number)} (${long.class})`}.`,
    )
  for (const c of columns) if (c.missing) out.push(`There is no ${c.name} column: ${c.note}.`)
  return out
}
