/** The public door of reports: a session's record in, a page, its numbers and one screen of text out. Pure: no clock, no network, no file. */
import type { SessionRecord } from '../engine/session.ts'
import { renderHtml } from './html.ts'
import { analyse } from './metrics.ts'
import { summarise, terminalText, type Summary } from './summary.ts'

export type Report = { readonly html: string; readonly summary: Summary; terminal(colour: boolean): string }

/** Throws ReportError when the record does not add up. */
export function buildReport(record: SessionRecord): Report {
  const analysis = analyse(record)
  const summary = summarise(record, analysis)
  return { html: renderHtml(record, analysis, summary), summary, terminal: (colour) => terminalText(summary, colour) }
}

export { metric, type Summary } from './summary.ts'
