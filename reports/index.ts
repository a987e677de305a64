/**
 * The public door of reports: a session's record in, a page, its numbers and one screen of text out. Owns the order of the steps; hides every file
 * beside it. Invariant: pure, with no clock, no network, no file; the same record gives the same bytes.
 */
import type { SessionRecord } from '../engine/session.ts'
import { renderHtml } from './html.ts'
import { analyse } from './metrics.ts'
import { renderTerminal, summarise, type Summary } from './summary.ts'

export type Report = { readonly html: string; readonly summary: Summary; terminal(color: boolean): string }

/** Throws ReportError when the record does not add up. */
export function buildReport(record: SessionRecord): Report {
  const analysis = analyse(record)
  const summary = summarise(record, analysis)
  return { html: renderHtml(record, analysis, summary), summary, terminal: (color) => renderTerminal(summary, { color }) }
}

export { metric, renderTerminal, type Summary } from './summary.ts'
