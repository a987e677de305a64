/** The report of a session that has just run, and what `--json` carries of it. Owns that shape; hides the report. Invariant: dollars are decimal strings. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SessionRecord } from '../engine/session.ts'
import type { Strategy } from '../engine/strategy.ts'
import { formatMoney } from '../engine/units.ts'
import { count } from './output.ts'

export type RunData = {
  readonly run: string
  readonly digest: string
  readonly strategies: readonly { readonly name: string; readonly file: string | null; readonly parameters: Strategy['parameters'] }[]
  readonly rows: number
  readonly markets: number
  readonly orders: number
  readonly fills: number
  readonly refusals: Readonly<Record<string, number>>
  readonly netDollars: string
  readonly feesDollars: string
  readonly winRate: number | null
  readonly sharpe: number | null
  readonly fillRate: number | null
  readonly drawdownDollars: string
  readonly complete: boolean
  readonly practice: boolean
  readonly report: string
  readonly seconds: number
}

/** Writes `report.html` and `summary.json` into the folder. */
export async function reported(
  record: SessionRecord,
  folder: string,
  seconds: number,
  json: boolean,
): Promise<{ readonly data: RunData; readonly text: string; readonly warnings: readonly string[] }> {
  const { buildReport, metric } = await import('../reports/index.ts')
  const { liveParts } = await import('./live/report-parts.ts')
  const report = buildReport(record, await liveParts(folder, record, { paper: null, fills: null }))
  const page = join(folder, 'report.html')
  await writeFile(page, report.html)
  await writeFile(join(folder, 'summary.json'), `${JSON.stringify(report.summary, null, 1)}\n`)
  const { end } = record
  const value = (id: string): number | null => metric(report.summary.metrics, id).value
  const data: RunData = {
    run: folder,
    digest: record.digest,
    strategies: record.header.strategies.map(({ name, parameters, source }) => ({ name, file: source?.file ?? null, parameters })),
    rows: end.rows,
    markets: end.marketsSeen,
    orders: end.orders,
    fills: end.fills,
    refusals: end.refusals,
    netDollars: formatMoney(end.equity - record.header.cash),
    feesDollars: formatMoney(end.fees),
    winRate: value('winRate'),
    sharpe: value('sharpe'),
    fillRate: value('fillRate'),
    drawdownDollars: formatMoney(end.drawdownMax),
    complete: end.complete,
    practice: record.header.tape.practice,
    report: page,
    seconds: Number(seconds.toFixed(3)),
  }
  const text = `${report.terminal(process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined)}
Report   ${page}
Run      ${folder} (${count(end.rows)} rows in ${seconds.toFixed(1)} s)
Next     npx tapeline report open ${folder}
`
  return { data, text, warnings: json ? report.summary.warnings : [] }
}
