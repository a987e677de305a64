/**
 * The public door of reports: a session's record in, a page, its numbers and one screen of text out. Owns the order of the steps; hides every file
 * beside it. Invariant: pure, with no clock, no network, no file; the same record gives the same bytes.
 */
import type { SessionRecord } from '../engine/session.ts'
import { renderHtml } from './html.ts'
import type { LiveParts } from './live/parts.ts'
import { liveSections } from './live/section.ts'
import { liveSummary, liveWarnings } from './live/summary.ts'
import { analyse } from './metrics.ts'
import { renderTerminal, summarise, type Summary } from './summary.ts'

export type Report = { readonly html: string; readonly summary: Summary; terminal(color: boolean): string }

/** `parts`: of a live session, what its report has beside the record. Throws ReportError when the record does not add up. */
export function buildReport(record: SessionRecord, parts: LiveParts | null = null): Report {
  const analysis = analyse(record)
  const plain = summarise(record, analysis)
  if (parts === null)
    return { html: renderHtml(record, analysis, plain), summary: plain, terminal: (color) => renderTerminal(plain, { color }) }
  const { live, facts } = liveSummary(record, analysis, parts)
  // Whether orders were lost or books disagreed is graver than a small sample.
  const summary = { ...plain, warnings: [...liveWarnings(live), ...plain.warnings], live }
  return {
    html: renderHtml(record, analysis, summary, liveSections(record, live, facts)),
    summary,
    terminal: (color) => renderTerminal(summary, { color }),
  }
}

export { metric, renderTerminal, type Summary } from './summary.ts'
