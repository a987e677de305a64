/**
 * Delays of the writes of a live session, stage by stage, and what became of the writes. Owns the stages and the counting; hides nothing. Invariant: a write without a time has no part in a figure about it, and
 * every n says so.
 */
import type { LiveFacts, Write, WriteType } from './facts.ts'

export type Quantiles = { readonly n: number; readonly p50: number; readonly p90: number; readonly p99: number; readonly max: number }
export const STAGES = [
  ['synced', 'decision → intent on disk'],
  ['sent', 'on disk → bytes on the socket'],
  ['answered', 'bytes → answer'],
  ['bytes', 'decision → bytes'],
  ['all', 'decision → answer'],
] as const
export type Stage = (typeof STAGES)[number][0]

export function stageOf(w: Write, stage: Stage): number | null {
  const between = (a: number | null, b: number | null): number | null => (a === null || b === null ? null : b - a)
  switch (stage) {
    case 'synced':
      return between(w.decided, w.synced)
    case 'sent':
      return between(w.synced, w.sent)
    case 'answered':
      return between(w.sent, w.answered)
    case 'bytes':
      return between(w.decided, w.sent)
    case 'all':
      return between(w.decided, w.answered)
  }
}

/** Sorted. */
export function delaysIn(writes: readonly Write[], stage: Stage): number[] {
  return writes
    .map((w) => stageOf(w, stage))
    .filter((x): x is number => x !== null)
    .sort((a, b) => a - b)
}
export function quantilesOf(sorted: readonly number[]): Quantiles | null {
  if (sorted.length === 0) return null
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number
  return { n: sorted.length, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: sorted.at(-1) as number }
}

export type Outcomes = {
  readonly type: WriteType | 'all'
  readonly intents: number
  readonly sent: number
  readonly acknowledged: number
  readonly rejected: number
  readonly notSent: number
  readonly unknown: number
  /** Acknowledged ÷ sent; null: nothing was sent. */
  readonly success: number | null
}
export function outcomesOf({ writes }: LiveFacts): Outcomes[] {
  const types = (['submit', 'amend', 'decrease', 'cancel'] as const).filter((t) => writes.some((w) => w.type === t))
  const rows = types.map((type) =>
    counted(
      type,
      writes.filter((w) => w.type === type),
    ),
  )
  return rows.length === 1 ? rows : [counted('all', writes), ...rows]
}
function counted(type: Outcomes['type'], writes: readonly Write[]): Outcomes {
  const of = (outcome: Write['outcome']): number => writes.filter((w) => w.outcome === outcome).length
  const notSent = of('not-sent')
  const sent = writes.filter((w) => w.outcome !== null).length - notSent
  const acknowledged = of('acknowledged')
  return {
    type,
    intents: writes.length,
    sent,
    acknowledged,
    rejected: of('rejected'),
    notSent,
    unknown: of('unknown'),
    success: sent === 0 ? null : acknowledged / sent,
  }
}

export type Unknowns = {
  readonly writes: number
  readonly unresolved: number
  readonly time: Quantiles | null
  /** How they ended: the news, and how often. */
  readonly ends: readonly { readonly how: string; readonly count: number }[]
}
export function unknownsOf({ writes }: LiveFacts): Unknowns {
  const spans = writes.flatMap((w) => (w.unknown === null ? [] : [w.unknown]))
  const ends = new Map<string, number>()
  for (const s of spans) if (s.how !== null) ends.set(s.how, (ends.get(s.how) ?? 0) + 1)
  return {
    writes: spans.length,
    unresolved: spans.filter((s) => s.until === null).length,
    time: quantilesOf(spans.flatMap((s) => (s.until === null ? [] : [s.until - s.since])).sort((a, b) => a - b)),
    ends: [...ends].map(([how, count]) => ({ how, count })).sort((a, b) => b.count - a.count || (a.how < b.how ? -1 : 1)),
  }
}

/** With as many digits as it has. */
export function delayText(us: number): string {
  if (us < 10_000) return `${(us / 1000).toFixed(2)} ms`
  if (us < 100_000) return `${(us / 1000).toFixed(1)} ms`
  return us < 1e6 ? `${Math.round(us / 1000)} ms` : us < 120e6 ? `${(us / 1e6).toFixed(1)} s` : `${(us / 60e6).toFixed(1)} min`
}
