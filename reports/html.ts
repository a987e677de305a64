/**
 * The report as one HTML file. Owns the order in which a skeptic reads: what it rests on, what to know before believing it, the dozen figures, then
 * charts and tables. Hides the markup. Invariants: no request to anywhere; the same record gives the same bytes; people read YES and NO.
 */
import { PRINTS_WAIT } from '../engine/matching.ts'
import type { SessionRecord } from '../engine/session.ts'
import { distinct } from '../engine/words.ts'
import { bridgeChart, drawdownChart, equityChart, fillTimeChart, MARKET_BARS, marketBars, markoutChart } from './charts.ts'
import { marketChart } from './market-chart.ts'
import { escape, html, raw, type Markup } from './markup.ts'
import { show, type Metric } from './figures.ts'
import { funnelSection as funnel } from './funnel-table.ts'
import type { Analysis } from './metrics.ts'
import { SCRIPT, STYLE } from './page.ts'
import { strategySections } from './strategy-sections.ts'
import { decidedText, DEPTHS, FILL_MODELS, LABELS, lossWords, metric, type Summary } from './summary.ts'
import { countTable, fillSection, marketTable, reasonTable, tradeSection } from './tables.ts'
import { cents, contracts, count, decimal, duration, money, moneySigned, plural, utc } from './words.ts'

const MARKETS_SHOWN = 4
/** Characters that a page aims at, and what its last tables, figures and assumptions take of them at most. */
const PAGE_MAX = 900_000
const TABLES_MAX = 230_000

/** `live`: the part that a live session alone has. */
export function renderHtml(record: SessionRecord, analysis: Analysis, summary: Summary, live: Markup | null = null): string {
  const { header, end } = record
  const title = `${header.strategies.map((s) => s.name).join(' + ')} on ${header.tape.name}`
  const top = html`
${header.tape.practice && html`<div class="practice">Practice data: this tape was made by a seeded population of agents, not recorded from an exchange</div>`}
<main>
<h1>${title}</h1>
<p class="soft">${header.mode} · ${end.complete ? 'complete' : html`<b>PARTIAL: ${end.reason}</b>`} · digest <code>${record.digest.slice(0, 16)}</code></p>
${restsOn(record, analysis)}
${summary.warnings.length > 0 && html`<section class="notes" aria-label="Read this first"><b>Read this first</b><ul>${summary.warnings.map((w) => html`<li>${w}</li>`)}</ul></section>`}
${cards(summary)}
${live}
${funnel(analysis.funnel)}
${equity(record, analysis)}
${strategySections(record, analysis)}
${markets(record)}
${details(record, analysis)}
${execution(record, analysis)}`
  // What the charts and tables leave of a megabyte goes to the two files, three quarters of it as base64 makes four characters of three.
  const room = Math.max(40_000, Math.floor(((PAGE_MAX - top.text.length - TABLES_MAX) * 0.75) / 2))
  const body = html`${top}
${tradeSection(analysis.trading.episodes, room)}
${fillSection(analysis.trading.fills, room)}
<h2>Every figure</h2>
<dl>${summary.metrics.map((m) => html`<dt>${m.label}</dt><dd><b>${m.text}</b>${m.reason !== null && html` (${m.reason})`}${m.interval !== null && html` <span class="soft">${intervalText(m)}</span>`}${m.n !== null && html` <span class="soft">n = ${count(m.n)}</span>`}<br><span class="soft">${m.formula}</span></dd>\n`)}</dl>
${assumptions(record)}
<h2>Run it again</h2>
<pre>${command(record)}</pre>
${files(record)}<p class="soft small">The same tape and settings give the same digest: <code>${record.digest}</code>. Tapeline ${header.version}, Node ${header.node}, tape manifest <code>${header.tape.manifest === '' ? 'unknown' : header.tape.manifest.slice(0, 16)}</code>, seed ${header.seed}.</p>
</main>`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">
<title>${escape(title)}</title><style>${STYLE}</style></head><body>${body.text}<script>${SCRIPT}</script></body></html>
`
}

function figure(svg: string, caption: Markup | string): Markup {
  return html`<figure><div class="chart" tabindex="0">${raw(svg)}</div><figcaption>${caption}<span class="swipe"> Swipe the chart sideways.</span></figcaption></figure>`
}
function key(color: string, dashed = false): Markup {
  return html`<span class="key" style="border-color:var(--${color})${dashed && ';border-top-style:dashed'}"></span>`
}

function restsOn({ header, end }: SessionRecord, analysis: Analysis): Markup {
  const { tape } = header
  const fact = (label: string, text: string, wide = false): Markup =>
    html`<div${raw(wide ? ' class="wide"' : '')}><b>${label}</b><span>${text}</span></div>`
  const closed = analysis.trading.episodes.filter((e) => e.exit !== 'open').length
  const events = new Set(end.markets.filter((m) => m.fills > 0).map((m) => m.event)).size
  const several = header.strategies.length > 1
  const parameters = header.strategies.map(({ name, parameters: p }) => {
    const own = Object.entries(p).map(([k, v]) => `${k}=${v}`)
    return `${several ? `${name}: ` : ''}${own.length === 0 ? 'none' : own.join(' ')}`
  })
  return html`<section class="facts" aria-label="What this rests on">
${fact('Tape', `${tape.name}, ${tape.source}, ${count(end.rows)} rows`)}
${fact('Span', `${utc(end.firstTime)} to ${utc(end.lastTime)} UTC`)}
${fact('Markets', `${count(end.marketsSeen)} seen${tape.depth === 'prints' ? '' : `, ${count(end.marketsTwoSided)} two-sided`}`)}
${tape.depth === 'book' && fact('Coverage', `${tape.coverage === null ? 'unknown' : `${decimal(tape.coverage * 100, 2)} % of recorded time in sync`}, ${lossWords(tape)}, ${plural(tape.inFlux, 'moment')} in flux`)}
${fact('Sample', `${plural(end.fills, 'fill')}, ${plural(closed, 'closed trade')}, ${plural(events, 'event')}`)}
${fact('Cash', money(header.cash))}
${header.mode !== 'live' && fact('Delays', `place ${duration(header.delays.place)}, cancel ${duration(header.delays.cancel)}, amend ${duration(header.delays.amend)}, answer ${duration(header.delays.answer)}`)}
${fact('Fees', header.mode === 'live' ? 'as the exchange charged them' : "Kalshi's formula, taker and maker")}
${fact('Parameters', parameters.join(' | '), header.strategies.length > 1)}
${header.mode === 'live' ? fact('Fills', `real, by the exchange${header.live === undefined ? '' : ` (${header.live.environment}, subaccount ${header.live.subaccount})`}; delays as they were measured, below`, true) : fact('Fill model', `${header.fills}: ${FILL_MODELS[header.fills]}`, true)}
${tape.depth === 'book' && fact('Trades are', LABELS[tape.labels], true)}
${tape.depth !== 'book' && fact('Known', DEPTHS[tape.depth], true)}
</section>`
}

function intervalText({ unit, interval }: Metric): Markup | '' {
  if (interval === null) return ''
  return html`95 %: <span class="nb">${show(unit, interval[0])}</span> … <span class="nb">${show(unit, interval[1])}</span>`
}

function cards({ metrics: m, refusals, rejections }: Summary): Markup {
  const card = (id: string, note: Markup | string, signed = false): Markup => {
    const x = metric(m, id)
    const tone = signed && x.value !== null ? (x.value > 0 ? ' up' : x.value < 0 ? ' down' : '') : ''
    const plus = signed && x.value !== null && x.value > 0 && !x.text.startsWith('+') ? '+' : ''
    return html`<div class="card" title="${x.formula}"><div class="k">${x.label}</div><div class="v${tone}">${plus}${x.text}</div><div class="d">${x.value === null ? x.reason : html`${intervalText(x)}${x.interval !== null && ' · '}${note}`}</div></div>\n`
  }
  const text = (id: string): string => metric(m, id).text
  const n = (id: string): string => count(metric(m, id).n ?? 0)
  return html`<section class="cards" aria-label="Key figures">
${card('net', html`gross <span class="nb">${text('gross')}</span>`, true)}
${card('winRate', `of ${decidedText(m)} · break-even ${text('breakEven')}`)}
${card('sharpe', `n = ${n('sharpe')} days`)}
${card('drawdown', `${text('drawdownShare')} of the peak`)}
${card('fillRate', `n = ${n('fillRate')} orders · ${text('fillRateContracts')} of contracts`)}
${card('markout', `n = ${n('markout')} fills, before fees`, true)}
${card('fees', `${text('feePerContract')} a contract`)}
${card('perDollarDay', `most committed ${text('capitalPeak')}`, true)}
${card('orders', `${plural(metric(m, 'fills').value ?? 0, 'fill')}, ${plural(metric(m, 'rejections').value ?? 0, 'rejection')}${rejections[0] === undefined ? '' : `, most: ${rejections[0].reason}`}`)}
${card('refusals', refusals[0] === undefined ? 'no limit stood in the way' : `most: ${refusals[0].reason} ${count(refusals[0].count)}`)}
</section>`
}

function equity(record: SessionRecord, { bridge }: Analysis): Markup | false {
  if (record.equity.length === 0) return false
  return html`<h2>Equity</h2>
${figure(equityChart(record), html`${key('c1')}net P&amp;L${record.end.fees !== 0 && html`${key('c2', true)}before fees`}. Open positions are marked where they could be closed.`)}
${figure(drawdownChart(record), 'How far equity stood below its highest value so far.')}
${bridge !== null && html`<h2>Where the profit came from</h2>${figure(bridgeChart(bridge), `Edge at the fill: how far the price stood from ${middle(record)} then, times contracts (${count(bridge.nSpread)} of ${count(bridge.n)} fills${record.header.tape.depth === 'prints' ? '' : ' had a two-sided book'}). The minute after: what it did next (${count(bridge.nMinute)} fills). Later: everything else up to the exit or settlement. The steps add up exactly.`)}`}`
}

/** What stands for the value of a market between trades. */
function middle({ header }: SessionRecord): string {
  return header.tape.depth === 'prints' ? 'the last trade' : 'the mid'
}

function markets(record: SessionRecord): Markup | false {
  const traded = record.end.markets.filter((m) => m.fills > 0).length
  const list = marketTable(record)
  if (list === false) return false
  return html`<h2>Profit by market</h2>${traded > 0 && figure(marketBars(record), `Net of fees; open positions where they could be closed.${traded > MARKET_BARS ? ` The ${MARKET_BARS / 2} best and ${MARKET_BARS / 2} worst of ${plural(traded, 'market')} with a fill.` : ''}`)}${list}`
}

function details(record: SessionRecord, { trading }: Analysis): Markup | false {
  const most = record.end.markets
    .filter((m) => m.orders > 0)
    .sort((a, b) => b.fills - a.fills || b.orders - a.orders || (a.ticker < b.ticker ? -1 : 1))
    .slice(0, MARKETS_SHOWN)
  const [first, ...rest] = most
  if (first === undefined) return false
  const one = (m: (typeof most)[number]): Markup => {
    const chart = marketChart(record, m.ticker, trading.fills, m === first ? 'whole' : 'small')
    const settled =
      m.settlementValue === null
        ? ' Not settled on this tape.'
        : ` Dotted: settled ${m.result === 'yes' ? 'YES' : m.result === 'no' ? 'NO' : `at ${cents(m.settlementValue)}`}.`
    return html`${m.title !== m.ticker && html`<p class="soft">${m.title}</p>`}<p class="small">${plural(m.orders, 'order')}, ${plural(m.fills, 'fill')}, ${plural(m.filled / 100, 'contract')}, net ${moneySigned(m.pnl)}</p>${figure(
      chart.svg,
      html`${record.header.tape.depth === 'prints' ? html`${key('c1')}last trade` : html`${key('c1')}best YES bid${key('c2')}best YES ask`}; thick and pale: our resting orders; ▲ we bought YES (or sold NO), ▼ we bought NO (or sold YES): price, contracts and reason on hover and in the tables.${settled}${chart.drawn < chart.fills && ` ${count(chart.drawn)} of ${count(chart.fills)} fills are drawn; the others stand on or close to the same spots.`}`,
    )}`
  }
  return html`<h2>One market in detail</h2><h3>${first.ticker}</h3>${one(first)}
${rest.map((m) => html`<details><summary>${m.ticker} · ${plural(m.fills, 'fill')} · ${moneySigned(m.pnl)}</summary>${one(m)}</details>\n`)}`
}

function execution(record: SessionRecord, analysis: Analysis): Markup {
  const m = (id: string): Metric => metric(analysis.metrics, id)
  const median = m('timeToFill')
  return html`<h2>Execution</h2>
${analysis.markouts.length > 0 && html`<h3>Markout</h3>${figure(markoutChart(analysis.markouts), html`${key('ink')}all fills${key('c1')}maker${key('c2', true)}taker. Where ${middle(record)} stood after our fills, ¢ a contract, weighted by contracts, before fees; above zero it moved our way. A maker whose line falls below zero is being picked off.`)}`}
${analysis.timeToFill.length > 1 && html`<h3>Time to fill</h3>${figure(fillTimeChart(analysis.timeToFill), `Share of resting orders with a first fill by time since acceptance (Kaplan–Meier: a canceled order counts as unfilled until then); half by ${median.value === null ? `never: ${median.reason}` : median.text}; n = ${count(median.n ?? 0)} orders.`)}`}
<div class="two">
${analysis.byReason.length > 0 && reasonTable(analysis.byReason)}
${countTable('Refused by risk', analysis.refusals, record.end.signals === 0 ? 'Nothing was asked for.' : 'No limit stood in the way.')}
${countTable('Rejected by the venue', analysis.rejections, record.end.orders === 0 ? 'No order was sent.' : 'Every command was accepted.')}
</div>`
}

function assumptions({ header }: SessionRecord): Markup {
  const { limits, delays, rate } = header
  return html`<h2>Assumptions</h2>
<ul class="small">
${
  header.mode === 'live'
    ? html`<li>Fills, fees and delays are the exchange's own. Each fill is booked once, by its trade; what nobody of the session made is booked to the owner "outside".</li>
<li>An order whose outcome is unknown counts at its worst in every limit until evidence resolves it.</li>`
    : html`<li>Fill model <b>${header.fills}</b>: ${FILL_MODELS[header.fills]}. ${header.tape.depth === 'book' && ' Takers walk the displayed depth and what they took stays taken.'}${header.tape.depth === 'prints' && ` A taker waits ${duration(PRINTS_WAIT)} at most.`}</li>
<li>Delays: place ${duration(delays.place)}, cancel ${duration(delays.cancel)}, amend ${duration(delays.amend)}, answer ${duration(delays.answer)}. ${header.tape.depth === 'prints' ? 'A command acts on trades after its arrival alone.' : 'A command acts on the book as the venue had it on arrival.'}</li>
<li>Fees by Kalshi's published formula; the balance is rounded to a whole cent before 2026-05-28T17:01Z and to $0.0001 since. Series without stated fees count as quadratic, multiplier 1.</li>
<li>Our orders do not move other people's: nobody reacts to them.</li>`
}
<li>Cash is locked until a market pays; no interest is counted; the risk-free rate is 0.</li>
<li>All times are UTC. Every calendar day counts; a year has 365.</li>
<li>Write tokens: ${rate.perSecond} a second, bucket ${rate.capacity}; 10 an order or amend, 2 a cancel.</li>
<li>Limits: order ${contracts(limits.orderMax)} contracts · position ${contracts(limits.positionMax)} · worst loss ${money(limits.marketLossMax)} a market, ${money(limits.eventLossMax)} an exclusive event, ${money(limits.sessionLossMax)} a session · ${limits.ordersOpenMax} open orders · ${limits.ordersPerSecondMax} orders a second · price collar ${cents(limits.collar)} · ${silence(header)} · orders live at most ${duration(limits.orderAgeMax)}.</li>
${header.tape.remarks.map((r) => html`<li>Of the tape: ${r}</li>\n`)}</ul>`
}

/** Strategies from files: which text they were. */
function files({ header }: SessionRecord): Markup | false {
  const from = header.strategies.flatMap(({ name, source }) => (source === undefined ? [] : [{ name, ...source }]))
  if (from.length === 0) return false
  return html`<p class="soft small">From files, wherever you keep them: ${from.map((f, i) => html`${i > 0 && ', '}${f.name} is <code>${f.file}</code> with SHA-256 <code>${f.sha256.slice(0, 16)}</code>`)}.</p>
`
}

/** Which of the limits that need a book the tape can carry. */
function silence({ tape, limits }: SessionRecord['header']): string {
  if (tape.depth === 'prints')
    return 'feed silent and book in sync: not applicable to trades alone; the collar is measured from the last trade'
  if (tape.depth === 'quotes')
    return 'feed silent: not applicable to quotes, which say nothing while they stand; a market without records goes out of sync'
  return `feed silent ${duration(limits.silenceMax)}`
}

function command({ header }: SessionRecord): string {
  const { selection, delays } = header
  if (header.mode === 'live')
    return 'npx tapeline replay <session>     # its rows and news lead to the same journal, bit for bit\nnpx tapeline diverge <session>    # every order against the fill models'
  const word = (x: string | number | boolean): string =>
    /^[\w.,:=/+-]+$/.test(String(x)) ? String(x) : `'${String(x).replaceAll("'", "'\\''")}'`
  // With several strategies a parameter names its own, two of one name by their number.
  const labels = distinct(header.strategies.map((s) => s.name))
  const parts = [
    'npx tapeline backtest',
    `--tape ${word(`tapes/${header.tape.name}`)}`,
    ...header.strategies.map((s, i) =>
      [
        `--strategy ${word(s.source === undefined ? s.name : `./${s.source.file}`)}`,
        ...Object.entries(s.parameters).map(([k, v]) => `--param ${word(`${labels.length > 1 ? `${labels[i]}.` : ''}${k}=${v}`)}`),
      ].join(' '),
    ),
    `--fills ${header.fills}`,
    `--delay place=${delays.place / 1000}ms,cancel=${delays.cancel / 1000}ms,amend=${delays.amend / 1000}ms,answer=${delays.answer / 1000}ms`,
    `--cash ${header.cash / 1e6}`,
    `--seed ${header.seed}`,
  ]
  if (selection.markets !== null) parts.push(...selection.markets.map((m) => `--market ${word(m)}`))
  if (selection.series !== null) parts.push(...selection.series.map((m) => `--series ${word(m)}`))
  if (selection.from !== null) parts.push(`--from ${new Date(selection.from / 1000).toISOString()}`)
  if (selection.to !== null) parts.push(`--to ${new Date(selection.to / 1000).toISOString()}`)
  if (selection.warmup > 0) parts.push(`--warmup ${selection.warmup / 1e6}s`)
  return parts.join(' \\\n  ')
}
