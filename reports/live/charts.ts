/**
 * Charts of a live session: its states over time with what happened to it, and the delays of its writes. Owns each chart's form; hides the library. Invariant: what is drawn is in the record, and told in words
 * beside it.
 */
import type { SessionRecord } from '../../engine/session.ts'
import { Plot, svg, timeAxis } from '../plot.ts'
import { delaysIn, STAGES, type Stage } from './delays.ts'
import type { LiveFacts } from './facts.ts'
import { stateSpans } from './spans.ts'

const BANDS = {
  trading: 'good',
  reducing: 'c2',
  ready: 'c1',
  syncing: 'bad',
  halted: 'bad',
  starting: 'faint',
  stopping: 'faint',
  stopped: 'faint',
} as const

export function statesChart(record: SessionRecord, facts: LiveFacts): string {
  const spans = stateSpans(record).filter((s) => s.to > s.from)
  const from = spans[0]?.from ?? 0
  const to = Math.max(from + 1, spans.at(-1)?.to ?? from)
  const at = (time: number): Date => new Date(Math.min(to, Math.max(from, time)) / 1000)
  const lanes = ['state', 'unknown', 'incidents']
  const unknown = facts.writes.flatMap((w) => (w.unknown === null ? [] : [w.unknown]))
  return svg({
    ariaLabel: `States of the session over time, with ${unknown.length} unknown outcomes and ${facts.incidents.length} incidents`,
    height: 126,
    marginLeft: 84,
    marginTop: 6,
    x: timeAxis(from, to),
    y: { label: null, domain: lanes, tickSize: 0 },
    marks: [
      Plot.barX(spans, {
        x1: (s: (typeof spans)[number]) => at(s.from),
        x2: (s: (typeof spans)[number]) => at(s.to),
        y: () => 'state',
        fill: (s: (typeof spans)[number]) => `var(--${BANDS[s.state as keyof typeof BANDS] ?? 'faint'})`,
        insetTop: 4,
        insetBottom: 4,
        title: (s: (typeof spans)[number]) => `${s.state} (${s.cause})`,
      }),
      Plot.tickX(unknown, { x: (s: (typeof unknown)[number]) => at(s.since), y: () => 'unknown', stroke: 'var(--bad)', strokeWidth: 1.5 }),
      Plot.barX(
        unknown.filter((s) => s.until !== null),
        {
          x1: (s: (typeof unknown)[number]) => at(s.since),
          x2: (s: (typeof unknown)[number]) => at(s.until as number),
          y: () => 'unknown',
          fill: 'var(--bad)',
          insetTop: 8,
          insetBottom: 8,
        },
      ),
      Plot.dot(facts.incidents, {
        x: (i: (typeof facts.incidents)[number]) => at(i.time),
        y: () => 'incidents',
        r: 5,
        symbol: 'triangle',
        fill: 'var(--c2)',
        title: (i: (typeof facts.incidents)[number]) => `${i.class}: ${i.action}`,
      }),
    ],
  })
}

export const DRAWN: readonly (readonly [Stage, string, string])[] = [
  ['synced', 'c1', ''],
  ['bytes', 'good', '2 3'],
  ['all', 'c2', '6 3'],
]
const POINTS = 200
/** Share of writes that were no slower; null: no times were written. */
export function delayChart(facts: LiveFacts): string | null {
  const lines = DRAWN.map(([stage, color, dash]) => ({
    stage,
    color,
    dash,
    sorted: delaysIn(facts.writes, stage).filter((x) => x > 0),
  })).filter((l) => l.sorted.length > 1)
  if (lines.length === 0) return null
  const step = (sorted: readonly number[]): { x: number; y: number }[] =>
    Array.from({ length: Math.min(POINTS, sorted.length) }, (_, k) => {
      const i = Math.round((k / Math.max(1, Math.min(POINTS, sorted.length) - 1)) * (sorted.length - 1))
      return { x: (sorted[i] as number) / 1000, y: (i + 1) / sorted.length }
    })
  return svg({
    ariaLabel: `Share of writes by delay: ${lines.map((l) => STAGES.find((s) => s[0] === l.stage)?.[1]).join(', ')}`,
    height: 200,
    x: {
      type: 'log',
      label: 'ms',
      labelArrow: 'none',
      grid: true,
      ticks: 6,
      tickFormat: (d: number) => (d >= 1 ? d.toLocaleString('en-US') : String(Number(d.toPrecision(2)))),
    },
    y: { label: 'share of writes', tickFormat: (d: number) => `${Math.round(d * 100)} %`, domain: [0, 1], grid: true, ticks: 5 },
    marks: lines.map((l) =>
      Plot.line(step(l.sorted), {
        x: 'x',
        y: 'y',
        stroke: `var(--${l.color})`,
        strokeWidth: 1.8,
        curve: 'step-after',
        ...(l.dash === '' ? {} : { strokeDasharray: l.dash }),
      }),
    ),
  })
}
