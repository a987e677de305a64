/**
 * The summary: every number of the report as data, and one screen of it as text. Owns the choice of the dozen that come first and the warnings;
 * hides nothing. Invariant: text from outside reaches a terminal without control characters.
 */
import type { SessionRecord } from '../engine/session.ts'
import { PRINTS_WAIT } from '../engine/matching.ts'
import { PRICE_ONE } from '../engine/units.ts'
import type { Metric } from './figures.ts'
import type { LiveSummary } from './live/summary.ts'
import type { Analysis } from './metrics.ts'
import { spanText } from './returns.ts'
import { contracts, count, duration, money, moneySigned, plural, utc } from './words.ts'

export type Summary = {
  readonly schema: 'tapeline.summary/1'
  readonly digest: string
  readonly practice: boolean
  readonly complete: boolean
  readonly header: SessionRecord['header']
  readonly end: Omit<SessionRecord['end'], 'markets'>
  readonly warnings: readonly string[]
  readonly metrics: readonly Metric[]
  readonly funnel: Analysis['funnel']
  readonly refusals: Analysis['refusals']
  readonly rejections: Analysis['rejections']
  readonly markouts: Analysis['markouts']
  readonly bridge: Analysis['bridge']
  readonly byReason: Analysis['byReason']
  readonly daily: Analysis['daily']
  readonly strategies: Analysis['strategies']
  readonly markets: SessionRecord['end']['markets']
  /** Null: not a live session. */
  readonly live: LiveSummary | null
}

export function summarise(record: SessionRecord, analysis: Analysis): Summary {
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
    funnel: analysis.funnel,
    refusals: analysis.refusals,
    rejections: analysis.rejections,
    markouts: analysis.markouts,
    bridge: analysis.bridge,
    byReason: analysis.byReason,
    daily: analysis.daily,
    // Of a session with one strategy these are the figures above.
    strategies: analysis.strategies.length > 1 ? analysis.strategies.map((s) => ({ ...s, realized: [] })) : [],
    markets,
    live: null,
  }
}

/** What a reader must know before believing a number, the gravest first. */
function warningsOf(record: SessionRecord, { metrics, trading, daily, refusals, rejections }: Analysis): string[] {
  const { header, end } = record
  const out: string[] = []
  const { tape } = header
  // What is said of queues matters to orders that rest.
  // A real venue judges its queues itself.
  const resting = header.mode !== 'live' && (end.fills === 0 || trading.fills.some((f) => f.maker))
  const strict = header.fills === 'strict' ? '' : ' Compare --fills strict.'
  if (!end.complete) out.push(`Partial: the session ended early (${end.reason}). Every figure covers only the part that ran.`)
  // A run that was broken off says so above; why it did nothing until then is no news.
  if (end.fills === 0 && end.complete) {
    const top = listed(refusals, 3)
    if (end.firstTime === null) out.push('No fills: nothing was recorded in the chosen span.')
    else if (end.marketsTwoSided === 0 && tape.depth !== 'prints')
      out.push('No fills: no market ever had a synced two-sided book, so the strategy was never asked.')
    else if (end.signals === 0)
      out.push(
        `No fills: the strategy saw ${tape.depth === 'prints' ? `the trades of ${plural(end.marketsSeen, 'market')}` : plural(end.marketsTwoSided, 'two-sided market')} and never asked for anything.${tape.depth === 'prints' ? ' On a tape of trades only onTrade is called, never onBook.' : ''}`,
      )
    else if (end.orders === 0) out.push(`No fills: ${plural(end.signals, 'signal')}, all refused by risk (${top}).`)
    else {
      const why = [top === '' ? '' : `refusals: ${top}`, rejections.length === 0 ? '' : `rejections: ${listed(rejections, 3)}`].filter(
        (t) => t !== '',
      )
      out.push(`No fills: ${plural(end.orders, 'order')} sent and none traded${why.length === 0 ? '' : `; ${why.join('; ')}`}.`)
    }
  }
  const closed = trading.episodes.filter((e) => e.exit !== 'open').length
  if (end.fills > 0 && closed < 30) out.push(`Small sample: ${plural(closed, 'closed trade')}. Win rate and means say little below 30.`)
  const traded = end.markets.filter((m) => m.fills > 0)
  const events = new Set(traded.map((m) => m.event)).size
  if (end.fills > 0 && events < 20)
    out.push(`Few independent outcomes: ${plural(events, 'event')}. Trades of one event win and lose together.`)
  const interval = metric(metrics, 'net').interval
  if (interval !== null && interval[0] <= 0 && interval[1] >= 0)
    out.push(`Net P&L cannot be told from luck: its 95 % interval (${money(interval[0])} … ${money(interval[1])}) includes zero.`)
  const without = metric(metrics, 'netWithoutBest').value
  if (without !== null && without <= 0 && end.equity > header.cash)
    out.push(`The profit comes from a few markets: without the best five, net P&L is ${money(without)}.`)
  if (daily.length < 30)
    out.push(
      `Short span: ${spanText(record, daily.length)}. Ratios of daily returns, and returns a dollar-day, are withheld below 30 days.`,
    )
  if (tape.labels === 'inferred' && resting)
    out.push(`Trades are inferred from volume (the recording has no trade channel): queue positions are estimates.${strict}`)
  if (tape.labels === 'mixed' && resting)
    out.push(`For some markets trades are inferred from volume: queue positions there are estimates.${strict}`)
  for (const series of end.externals.missing)
    out.push(
      `No row of the outside series ${series} was on the tape${end.externals.seen.length === 0 ? ', nor of any other: `tapeline data import external` brings one in' : `; it has ${end.externals.seen.join(', ')}`}.`,
    )
  const crossed = end.owners.filter((o) => (o.refusals['self-cross'] ?? 0) > 0)
  if (end.owners.length > 1 && crossed.length > 0)
    out.push(
      `Strategies stood in each other's way: ${crossed.map((o) => `${o.name} was refused ${plural(o.refusals['self-cross'] ?? 0, 'time')}`).join(', ')} because the order would have met one of our own. Run each alone before comparing them.`,
    )
  const waits = waitsOf(trading)
  if (tape.depth === 'prints' && waits !== null)
    out.push(
      `Takers waited for a trade to fill at: ${duration(waits.median)} in the median, ${duration(waits.most)} for one in ten, ${duration(PRINTS_WAIT)} at most. What a book would have given at once is unknown.`,
    )
  if (tape.depth === 'prints')
    out.push(
      'Only trades were recorded: our takers fill at later trades of takers on the same side, as if first in line for what those found, and never between them. Limits that need a book are not applicable.',
    )
  if (tape.depth === 'quotes')
    out.push(
      'Only best prices were recorded: what stood behind them, and in what order, is unknown. Takers get the quoted size and no more.',
    )
  if (tape.labels === 'none' && tape.depth === 'book' && header.mode !== 'live')
    out.push('Trades are unknown (neither prints nor volume were recorded): resting orders can only fill when the book crosses them.')
  const { losses } = tape
  if (losses !== undefined && losses.breaks > 0)
    out.push(
      `${header.mode === 'backtest' ? 'The recording' : 'The session'} was cut off and went on: down ${duration(losses.down)} in ${plural(losses.breaks, 'break')}, in which nothing was seen${header.mode === 'backtest' ? '' : ' or done'}; that time is in no figure of coverage.`,
    )
  if (tape.gaps > 0)
    out.push(`The recording has ${plural(tape.gaps, 'gap')}; nothing is traded or filled in a market until its next snapshot.`)
  const open = end.markets.filter((m) => m.position !== 0 && m.result === null)
  if (open.length > 0) {
    const blind = open.filter((m) => m.markBasis === 'no quote: worst case').length
    // What a NO is worth: its dollar of collateral less the cost of buying the YES back.
    const collateral = open.reduce((a, m) => a + Math.max(0, -m.position) * PRICE_ONE, 0)
    const value = collateral + open.reduce((a, m) => a + m.liquidationValue, 0)
    const mid = collateral + open.reduce((a, m) => a + m.midValue, 0)
    out.push(
      `${plural(open.length, 'position')} never settled on this tape: marked where they could be closed (worth ${money(value)}; ${money(mid)} at the mid)${blind > 0 ? `, ${count(blind)} at worst case where nobody quoted` : ''}. Outcomes can be added with \`tapeline data import results\`.`,
    )
  }
  if (header.fills === 'touch' && resting)
    out.push('Optimistic fill model: every trade at our price fills us as if we were first in the queue.')
  return out
}

/** How long takers waited, from arrival to fill at the venue (µs). `null` without a taker's fill. */
function waitsOf({ fills }: Analysis['trading']): { readonly median: number; readonly most: number } | null {
  const waits = fills.flatMap((f) => (f.maker || f.arrived === null ? [] : [f.timeVenue - f.arrived])).sort((a, b) => a - b)
  const at = (share: number): number => waits[Math.min(waits.length - 1, Math.floor(share * waits.length))] as number
  return waits.length === 0 ? null : { median: at(0.5), most: at(0.9) }
}

/** What each fill model means, in a trader's words. */
export const FILL_MODELS = {
  strict: 'a resting order fills only when a trade goes through its price',
  queue:
    'a resting order waits behind the quantity that was there; trades at its price advance it, cancels do not; depth arriving through its price fills it',
  touch: 'a resting order fills at any trade at its price, as if first in the queue (optimistic)',
  quotes:
    'only best prices are known: a taker gets the quoted size at the quoted price and no more; a resting order fills when the other side is quoted at its price or through it, or a trade goes through it',
  prints:
    'only trades are known: a taker fills at the next trades after its arrival in which a stranger took the same side within its limit, up to their size, and waits a quarter of an hour for them at most; a resting order fills when a trade goes through its price',
} as const
/** What is known where not the whole book is. */
export const DEPTHS = {
  book: 'whole books',
  quotes: 'best prices only, no depth: fills beyond the quoted size, and queues, cannot be judged',
  prints: 'trades only, no book: prices between trades, spreads and queues are unknown',
} as const
export const LABELS = {
  'paired with prints': 'told from cancels by pairing each decrease of the book with a recorded print',
  inferred: 'inferred from volume and last price (no trade channel was recorded)',
  mixed: 'paired with recorded prints in some markets, inferred from volume in others',
  true: 'known exactly: the tape was made with them',
  none: 'unknown: neither prints nor volume were recorded',
} as const

/** Gap: a break in the sequence of a stream. Resync: a new snapshot after a loss. Disconnect: a connection that ended. Break: the recording was broken off and went on. */
export function lossWords({ gaps, losses }: SessionRecord['header']['tape']): string {
  if (losses === undefined) return plural(gaps, 'gap')
  const { resyncs, disconnects, breaks, down } = losses
  return [
    `${plural(gaps, 'gap')}, ${plural(resyncs, 'resync')}, ${plural(disconnects, 'disconnect')}`,
    ...(breaks > 0 ? [`down ${duration(down)} in ${plural(breaks, 'break')}`] : []),
  ].join(', ')
}
/** Of how many trades the win rate is: those that came out at nothing are closed trades too. */
export function decidedText(metrics: readonly Metric[]): string {
  const [decided, closed] = [metric(metrics, 'winRate').n ?? 0, metric(metrics, 'trades').value ?? 0]
  return closed === decided
    ? plural(closed, 'closed trade')
    : `${count(decided)} of ${plural(closed, 'closed trade')} (${count(closed - decided)} at exactly nothing)`
}
export function metric(metrics: readonly Metric[], id: string): Metric {
  const found = metrics.find((m) => m.id === id)
  if (found === undefined) throw new Error(`no metric ${id}`)
  return found
}
function shown(metrics: readonly Metric[], id: string): string {
  const m = metric(metrics, id)
  return m.value === null ? `n/a (${m.reason})` : m.text
}
function listed(rows: Analysis['refusals'], most: number): string {
  return rows
    .slice(0, most)
    .map((r) => `${r.reason} ${count(r.count)}`)
    .join(', ')
}

const COLORS = { yellow: 33, green: 32, red: 31, bold: 1 } as const
/** Text from outside may hold codes that move a terminal's cursor or rename its window. */
function plain(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, ' ')
}

/** One screen. */
export function renderTerminal(s: Summary, { color }: { readonly color: boolean }): string {
  const paint = (text: string, tone: keyof typeof COLORS): string => (color ? `\u001b[${COLORS[tone]}m${text}\u001b[0m` : text)
  const m = s.metrics
  const { tape } = s.header
  const lines: string[] = []
  if (s.practice) lines.push(paint('PRACTICE DATA: made by a seeded population of agents, not recorded from an exchange', 'yellow'))
  lines.push(
    `${paint(plain(`${s.header.strategies.map((x) => x.name).join(' + ')} on ${tape.name}`), 'bold')} · ${s.header.mode === 'live' ? 'live' : `${s.header.fills} fills`} · ${s.complete ? 'complete' : paint('PARTIAL', 'yellow')}`,
  )
  lines.push(
    `${count(s.end.rows)} rows · ${plural(s.end.marketsSeen, 'market')} · ${utc(s.end.firstTime)} to ${utc(s.end.lastTime)} UTC · ${tape.depth === 'book' ? `labels ${tape.labels} · ${lossWords(tape)}` : DEPTHS[tape.depth].replace(/:.*/, '')}`,
  )
  lines.push('')
  const wide = (label: string, text: string): void => void lines.push(`  ${label.padEnd(20)}${text}`)
  const net = metric(m, 'net')
  const interval = net.interval === null ? '' : `   (95 % ${money(net.interval[0])} … ${money(net.interval[1])})`
  wide('Net P&L', paint(moneySigned(net.value ?? 0), (net.value ?? 0) >= 0 ? 'green' : 'red') + interval)
  wide('Gross / fees', `${shown(m, 'gross')} / ${shown(m, 'fees')}`)
  const win = metric(m, 'winRate')
  wide('Win rate', win.value === null ? `n/a (${win.reason})` : `${win.text} of ${decidedText(m)}; break-even ${shown(m, 'breakEven')}`)
  wide('Sharpe', shown(m, 'sharpe'))
  wide('Largest drawdown', `${shown(m, 'drawdown')} (${shown(m, 'drawdownShare')} of the peak)`)
  const rate = metric(m, 'fillRate')
  wide('Fill rate', rate.value === null ? `n/a (${rate.reason})` : `${rate.text} of orders, ${shown(m, 'fillRateContracts')} of contracts`)
  const maker = metric(m, 'makerShare')
  wide(
    'Orders / fills',
    `${shown(m, 'orders')} / ${count(s.end.fills)}${maker.value === null ? '' : `   ${maker.text} of contracts as maker`}`,
  )
  wide('Markout, 1 min', shown(m, 'markout'))
  wide('Refused by risk', s.refusals.length === 0 ? 'nothing' : listed(s.refusals, 4))
  if (s.rejections.length > 0) wide('Rejected by venue', listed(s.rejections, 4))
  for (const x of s.strategies)
    wide(
      x.name.slice(0, 19),
      `${moneySigned(x.end.pnl)}   win rate ${shown(x.metrics, 'winRate')}, ${count(x.end.orders)} orders, ${count(x.end.fills)} fills`,
    )
  const traded = s.markets.filter((x) => x.fills > 0).sort((a, b) => b.pnl - a.pnl || (a.ticker < b.ticker ? -1 : 1))
  const named = (list: typeof traded): string => list.map((x) => `${plain(x.ticker)} ${moneySigned(x.pnl)}`).join(', ')
  const ends = Math.min(3, Math.ceil(traded.length / 2))
  if (ends > 0) wide('Best', named(traded.slice(0, ends)))
  if (traded.length > ends) wide('Worst', named(traded.slice(ends).slice(-3).reverse()))
  // A market whose result is known holds no open trade any more, be it that its money has not come.
  for (const [label, determined] of [
    ['Left open', false],
    ['Waits to be paid', true],
  ] as const) {
    const open = s.markets.filter((x) => x.position !== 0 && (x.result !== null) === determined)
    const held = open.slice(0, 3).map((x) => `${plain(x.ticker)} ${x.position > 0 ? 'YES' : 'NO'} ${contracts(Math.abs(x.position))}`)
    if (open.length > 0) wide(label, held.join(', ') + (open.length > 3 ? `, … ${count(open.length)} in all` : ''))
  }
  if (s.live !== null) for (const [label, text] of liveLines(s.live)) wide(label, text)
  if (s.warnings.length > 0) lines.push('')
  for (const w of s.warnings) lines.push(`${paint('!', 'yellow')} ${plain(w)}`)
  return `${lines.join('\n')}\n`
}

/** Order success, unknowns and agreement: what a screen has room for. */
function liveLines({ outcomes, unknowns, reconciliations, sideBySide: { columns, rows } }: LiveSummary): [string, string][] {
  const lines: [string, string][] = []
  const [all] = outcomes
  if (all !== undefined)
    lines.push([
      'Order success',
      `${all.success === null ? 'n/a' : `${(all.success * 100).toFixed(1)} %`} of ${plural(all.sent, 'command')}   ${count(all.rejected)} rejected, ${count(all.unknown)} unknown${unknowns.unresolved > 0 ? ` (${count(unknowns.unresolved)} unresolved)` : ''}, ${count(all.notSent)} not sent`,
    ])
  lines.push(['Reconciled', `${plural(reconciliations.passes, 'pass', 'passes')}, ${count(reconciliations.agreed)} agreed`])
  const net = rows.find((r) => r.id === 'net')
  lines.push(['Side by side', columns.map((c, k) => `${c.name} ${net?.cells[k]?.text ?? 'missing'}`).join('   ')])
  return lines
}
