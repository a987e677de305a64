/** The summary: every number of the report as data, and one screen of it as text. Owns the choice of the dozen that come first and the warnings; hides nothing. */
import type { SessionRecord } from '../engine/session.ts'
import { analyse, money, type Analysis, type Metric } from './metrics.ts'

export type Summary = {
  readonly schema: 'tapeline.summary/1'
  readonly digest: string
  readonly practice: boolean
  readonly complete: boolean
  readonly header: SessionRecord['header']
  readonly end: Omit<SessionRecord['end'], 'markets'>
  readonly warnings: readonly string[]
  readonly metrics: readonly Metric[]
  readonly refusals: Analysis['refusals']
  readonly rejections: Analysis['rejections']
  readonly markouts: Analysis['markouts']
  readonly daily: Analysis['daily']
  readonly markets: SessionRecord['end']['markets']
}

export function summarise(record: SessionRecord, analysis: Analysis = analyse(record)): Summary {
  const { markets, ...end } = record.end
  return {
    schema: 'tapeline.summary/1',
    digest: record.digest,
    practice: record.header.tape.practice,
    complete: end.complete,
    header: record.header,
    end,
    warnings: warningsOf(record, analysis),
    metrics: analysis.metrics,
    refusals: analysis.refusals,
    rejections: analysis.rejections,
    markouts: analysis.markouts,
    daily: analysis.daily,
    markets,
  }
}

/** What a reader must know before believing a number, the gravest first. */
export function warningsOf({ header, end }: SessionRecord, analysis: Analysis): string[] {
  const out: string[] = []
  const { tape } = header
  const resting = analysis.trading.fills.some((f) => f.maker) || end.fills === 0
  if (!end.complete) out.push(`Partial: the session ended early (${end.reason}). Every figure covers only the part that ran.`)
  if (end.fills === 0) {
    const top = analysis.refusals
      .slice(0, 3)
      .map((r) => `${r.reason} ${r.count.toLocaleString('en-US')}`)
      .join(', ')
    if (end.firstTime === null) out.push('No fills: nothing was recorded in the chosen span.')
    else if (end.marketsTwoSided === 0) out.push('No fills: no market ever had a synced two-sided book, so the strategy was never asked.')
    else if (end.signals === 0)
      out.push(`No fills: the strategy saw ${end.marketsTwoSided} two-sided market(s) and never asked for anything.`)
    else if (end.orders === 0) out.push(`No fills: ${end.signals.toLocaleString('en-US')} signals, all refused by risk (${top}).`)
    else
      out.push(`No fills: ${end.orders.toLocaleString('en-US')} orders were sent and none traded${top === '' ? '' : `; refusals: ${top}`}.`)
  }
  const trades = analysis.trading.episodes.filter((e) => e.exit !== 'open').length
  if (end.fills > 0 && trades < 30) out.push(`Small sample: ${trades} closed trade(s). Win rate and means say little below 30.`)
  const events = new Set(end.markets.filter((m) => m.fills > 0).map((m) => m.event)).size
  if (end.fills > 0 && events < 20) out.push(`Few independent outcomes: ${events} event(s). Trades of one event win and lose together.`)
  if (analysis.daily.length < 30) out.push(`Short span: ${analysis.daily.length} day(s). Ratios of daily returns are withheld below 30.`)
  if (tape.labels === 'inferred' && resting)
    out.push(
      `Trades are inferred from volume (the recording has no trade channel): queue positions are estimates.${header.fills === 'strict' ? '' : ' Compare --fills strict.'}`,
    )
  if (tape.labels === 'none')
    out.push('Trades are unknown (neither prints nor volume were recorded): resting orders can only fill when the book crosses them.')
  if (tape.gaps > 0) out.push(`The recording has ${tape.gaps} gap(s); nothing is traded or filled in a market until its next snapshot.`)
  const open = end.markets.filter((m) => m.position !== 0)
  if (open.length > 0) {
    const undetermined = open.filter((m) => m.result === null)
    if (undetermined.length > 0)
      out.push(
        `${undetermined.length} position(s) never settled on this tape: marked where they could be closed${undetermined.some((m) => m.markBasis === 'no quote: worst case') ? ', at worst case where nobody quoted' : ''}. Outcomes can be added with \`tapeline data import results\`.`,
      )
  }
  if (header.fills === 'touch' && resting)
    out.push('Optimistic fill model: every trade at our price fills us as if we were first in the queue.')
  return out
}

export const FILL_MODELS = {
  strict: 'a resting order fills only when a trade goes through its price',
  queue:
    'a resting order waits behind the quantity that was there; trades at its price advance it, cancels do not; depth arriving through its price fills it',
  touch: 'a resting order fills at any trade at its price, as if first in the queue (optimistic)',
} as const

export function metric(metrics: readonly Metric[], id: string): Metric {
  const found = metrics.find((m) => m.id === id)
  if (found === undefined) throw new Error(`no metric ${id}`)
  return found
}
function shown(metrics: readonly Metric[], id: string): string {
  const m = metric(metrics, id)
  return m.value === null ? `n/a (${m.reason})` : m.text
}

/** One screen. */
export function terminalText(s: Summary, colour: boolean): string {
  const paint = (text: string, code: number): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text)
  const m = s.metrics
  const net = metric(m, 'net')
  const lines: string[] = []
  if (s.practice) lines.push(paint('PRACTICE DATA: made by a seeded population of agents, not recorded from an exchange', 33))
  const { tape } = s.header
  lines.push(
    paint(`${s.header.strategies.map((x) => x.name).join(' + ')} on ${tape.name}`, 1) +
      ` · ${s.header.fills} fills · ${s.complete ? 'complete' : 'PARTIAL'}`,
  )
  lines.push(
    `${s.end.rows.toLocaleString('en-US')} rows · ${s.end.marketsSeen} markets · ${utc(s.end.firstTime)} to ${utc(s.end.lastTime)} UTC · labels ${tape.labels} · ${tape.gaps} gaps`,
  )
  lines.push('')
  const wide = (label: string, text: string): string => `  ${label.padEnd(22)}${text}`
  const interval = net.interval === null ? '' : `   (95 % ${money(net.interval[0])} … ${money(net.interval[1])})`
  lines.push(wide('Net P&L', paint(net.text, (net.value ?? 0) >= 0 ? 32 : 31) + interval))
  lines.push(wide('Gross / fees', `${shown(m, 'gross')} / ${shown(m, 'fees')}`))
  const win = metric(m, 'winRate')
  lines.push(
    wide('Win rate', win.value === null ? `n/a (${win.reason})` : `${win.text} of ${win.n} trades; break-even ${shown(m, 'breakEven')}`),
  )
  lines.push(wide('Sharpe', shown(m, 'sharpe')))
  lines.push(wide('Largest drawdown', shown(m, 'drawdown')))
  lines.push(wide('Fill rate', `${shown(m, 'fillRate')} of orders, ${shown(m, 'fillRateContracts')} of contracts`))
  lines.push(wide('Orders / fills', `${shown(m, 'orders')} / ${s.end.fills.toLocaleString('en-US')}   maker ${shown(m, 'makerShare')}`))
  lines.push(wide('Markout, 1 min', shown(m, 'markout')))
  lines.push(
    wide(
      'Refused',
      s.refusals.length === 0
        ? 'nothing'
        : s.refusals
            .slice(0, 4)
            .map((r) => `${r.reason} ${r.count.toLocaleString('en-US')}`)
            .join(', '),
    ),
  )
  if (s.rejections.length > 0)
    lines.push(
      wide(
        'Rejected by venue',
        s.rejections
          .slice(0, 4)
          .map((r) => `${r.reason} ${r.count.toLocaleString('en-US')}`)
          .join(', '),
      ),
    )
  const traded = [...s.markets].filter((x) => x.fills > 0).sort((a, b) => b.pnl - a.pnl)
  if (traded.length > 1) {
    const name = (x: (typeof traded)[number]): string => `${x.ticker} ${money(x.pnl)}`
    lines.push(wide('Best', traded.slice(0, 2).map(name).join(', ')))
    lines.push(wide('Worst', traded.slice(-2).reverse().map(name).join(', ')))
  }
  const open = s.markets.filter((x) => x.position !== 0)
  if (open.length > 0)
    lines.push(
      wide(
        'Left open',
        open
          .slice(0, 3)
          .map((x) => `${x.ticker} ${x.position > 0 ? 'YES' : 'NO'} ${Math.abs(x.position) / 100}`)
          .join(', ') + (open.length > 3 ? `, … ${open.length} in all` : ''),
      ),
    )
  lines.push('')
  for (const w of s.warnings) lines.push(`${paint('!', 33)} ${w}`)
  return `${lines.join('\n')}\n`
}

export function utc(time: number | null): string {
  return time === null ? '—' : new Date(time / 1000).toISOString().slice(0, 19).replace('T', ' ')
}
