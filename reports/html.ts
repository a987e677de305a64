/**
 * The report as one HTML file. Owns the order of what a sceptic reads: what it rests on, what to know before believing it, the dozen figures, then the charts and tables.
 * Invariants: no request to anywhere; the same record gives the same bytes; people read YES and NO.
 */
import type { SessionRecord } from '../engine/session.ts'
import { drawdownChart, equityChart, fillTimeChart, marketBars, marketChart, markoutChart } from './charts.ts'
import { csv } from './csv.ts'
import { episodeText, type Analysis, duration, money, say } from './metrics.ts'
import { escape, html, raw, type Markup } from './markup.ts'
import { SCRIPT, STYLE } from './page.ts'
import { FILL_MODELS, metric, utc, type Summary } from './summary.ts'

const ROWS_MAX = 500
const CSV_ROWS_MAX = 1_500
const MARKETS_SHOWN = 4

export function renderHtml(record: SessionRecord, analysis: Analysis, summary: Summary): string {
  const { header, end } = record
  const { fills, episodes } = analysis.trading
  const title = `${header.strategies.map((s) => s.name).join(' + ')} on ${header.tape.name}`
  const body = html`
${header.tape.practice && html`<div class="practice">Practice data: this tape was made by a seeded population of agents, not recorded from an exchange</div>`}
<main>
<h1>${title}</h1>
<p class="soft">${header.mode} · ${end.complete ? 'complete' : `PARTIAL: ${end.reason}`} · digest <code>${record.digest.slice(0, 16)}</code></p>
${restsOn(record, analysis)}
${summary.warnings.length > 0 && html`<section class="notes" aria-label="Read this first"><b>Read this first</b><ul>${summary.warnings.map((w) => html`<li>${w}</li>`)}</ul></section>`}
${cards(summary)}
${
  record.equity.length > 0 &&
  html`<h2>Equity</h2>
${figure(equityChart(record), html`<span class="key" style="border-color:var(--c1)"></span>net P&amp;L<span class="key" style="border-color:var(--c2);border-top-style:dashed"></span>before fees. Open positions are marked where they could be closed.`)}
${figure(drawdownChart(record), 'How far equity stood below its highest value so far.')}`
}
${end.markets.some((m) => m.fills > 0) && html`<h2>Profit by market</h2>${figure(marketBars(record), end.markets.filter((m) => m.fills > 0).length > 24 ? 'The twelve best and twelve worst markets; all stand in the table.' : 'Net of fees; open positions where they could be closed.')}`}
${marketTable(record)}
${details(record, analysis)}
<h2>Execution</h2>
${analysis.markouts.length > 0 && figure(markoutChart(analysis.markouts), html`<span class="key" style="border-color:var(--ink)"></span>all fills<span class="key" style="border-color:var(--c1)"></span>maker<span class="key" style="border-color:var(--c2);border-top-style:dashed"></span>taker. Where the mid stood after our fills, in our favour above zero, before fees; n = ${analysis.markouts[0]?.n ?? 0} fills. A maker that is always below zero is being picked off.`)}
${analysis.timeToFill.length > 1 && figure(fillTimeChart(analysis.timeToFill), 'Share of resting orders with a first fill, by time since acceptance (Kaplan–Meier; canceled orders count as unfilled until then).')}
${counts('Refused by risk', analysis.refusals, 'Nothing was refused.')}
${counts('Rejected by the venue', analysis.rejections, '')}
${episodes.length > 0 && html`<h2>Trades</h2><p class="soft small">A trade runs from flat to flat or to settlement. ${episodes.length > ROWS_MAX ? `The first ${ROWS_MAX.toLocaleString('en-US')} of ${episodes.length.toLocaleString('en-US')} are shown; the file has the first ${CSV_ROWS_MAX.toLocaleString('en-US')}.` : ''} ${download('trades.csv', tradesCsv(analysis))}</p>${tradeTable(analysis)}`}
${fills.length > 0 && html`<h2>Fills</h2><p class="soft small">${fills.length > ROWS_MAX ? `The first ${ROWS_MAX.toLocaleString('en-US')} of ${fills.length.toLocaleString('en-US')}; all are in journal.parquet of the run folder. ` : ''}${download('fills.csv', fillsCsv(analysis))}</p>${fillTable(analysis)}`}
<h2>Every figure</h2>
<dl>${summary.metrics.map((m) => html`<dt>${m.label}</dt><dd><b>${m.text}</b>${m.reason !== null && html` (${m.reason})`}${m.interval !== null && html` <span class="soft">95 %: ${intervalText(m.id, m.interval)}</span>`}${m.n !== null && html` <span class="soft">n = ${m.n.toLocaleString('en-US')}</span>`}<br><span class="soft">${m.formula}</span></dd>`)}</dl>
<h2>Assumptions</h2>
<ul class="small">
<li>Fill model <b>${header.fills}</b>: ${FILL_MODELS[header.fills]}. Takers walk the displayed depth and what they took stays taken.</li>
<li>Delays: place ${duration(header.delays.place)}, cancel ${duration(header.delays.cancel)}, amend ${duration(header.delays.amend)}, answer ${duration(header.delays.answer)}. A command acts on the book as the venue had it on arrival.</li>
<li>Fees by Kalshi's published formula; the balance is rounded to a whole cent before 2026-05-28T17:01Z and to $0.0001 since. Series without stated fees count as quadratic, multiplier 1.</li>
<li>Our orders do not move other people's: nobody reacts to them.</li>
<li>Cash is locked until a market pays; no interest is counted.</li>
<li>Write tokens: ${header.rate.perSecond} a second, bucket ${header.rate.capacity}; 10 an order or amend, 2 a cancel.</li>
<li>Limits: order ${header.limits.orderMax / 100} contracts · position ${header.limits.positionMax / 100} · worst loss ${money(header.limits.marketLossMax)} a market, ${money(header.limits.eventLossMax)} an exclusive event, ${money(header.limits.sessionLossMax)} a session · ${header.limits.ordersOpenMax} open orders · ${header.limits.ordersPerSecondMax} orders a second · price collar ${header.limits.collar / 100} ¢ · feed silent ${duration(header.limits.silenceMax)} · orders live at most ${duration(header.limits.orderAgeMax)}.</li>
</ul>
<h2>Again</h2>
<pre>${command(record)}</pre>
<p class="soft small">Same tape and same settings give the same digest: ${record.digest}</p>
</main>`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">
<title>${escape(title)}</title><style>${STYLE}</style></head><body>${body.text}<script>${SCRIPT}</script></body></html>
`
}

function figure(svg: string, caption: Markup | string): Markup {
  return html`<figure><div class="chart">${raw(svg)}</div><figcaption>${caption}</figcaption></figure>`
}

function restsOn({ header, end }: SessionRecord, analysis: Analysis): Markup {
  const { tape } = header
  const fact = (label: string, text: string): Markup => html`<div><b>${label}</b><span>${text}</span></div>`
  const closed = analysis.trading.episodes.filter((e) => e.exit !== 'open').length
  const events = new Set(end.markets.filter((m) => m.fills > 0).map((m) => m.event)).size
  return html`<section class="facts" aria-label="What this rests on">
${fact('Mode', header.mode)}
${fact('Tape', `${tape.name}, ${tape.source}, ${end.rows.toLocaleString('en-US')} rows`)}
${fact('Span', `${utc(end.firstTime)} to ${utc(end.lastTime)} UTC`)}
${fact('Markets', `${end.marketsSeen.toLocaleString('en-US')} seen, ${end.marketsTwoSided.toLocaleString('en-US')} two-sided`)}
${fact('Coverage', tape.coverage === null ? 'unknown' : `${(tape.coverage * 100).toFixed(2)} % of recorded time in sync, ${tape.gaps} gap(s), ${tape.inFlux} moments in flux`)}
${fact('Trades are', tape.labels)}
${fact('Fill model', header.fills)}
${fact('Fees', "Kalshi's formula, taker and maker")}
${fact('Delays', `place ${duration(header.delays.place)}, cancel ${duration(header.delays.cancel)}, amend ${duration(header.delays.amend)}, answer ${duration(header.delays.answer)}`)}
${fact('Cash', money(header.cash))}
${fact('Sample', `${end.fills.toLocaleString('en-US')} fills, ${closed.toLocaleString('en-US')} closed trades, ${events} event(s)`)}
${fact(
  'Parameters',
  header.strategies
    .map((s) =>
      Object.entries(s.parameters)
        .map(([k, v]) => `${k}=${v}`)
        .join(' '),
    )
    .join(' | '),
)}
</section>`
}

function intervalText(id: string, [low, high]: readonly [number, number]): string {
  if (id === 'net') return `${money(low)} … ${money(high)}`
  if (id === 'winRate') return `${(low * 100).toFixed(1)} … ${(high * 100).toFixed(1)} %`
  return `${low.toFixed(2)} … ${high.toFixed(2)}`
}

function cards(s: Summary): Markup {
  const m = s.metrics
  const card = (id: string, note: string, signed = false): Markup => {
    const x = metric(m, id)
    const tone = signed && x.value !== null ? (x.value > 0 ? ' up' : x.value < 0 ? ' down' : '') : ''
    const text = signed && x.value !== null && x.value > 0 ? `+${x.text}` : x.text
    return html`<div class="card" title="${x.formula}"><div class="k">${x.label}</div><div class="v${tone}">${text}</div><div class="d">${x.value === null ? x.reason : note}</div></div>`
  }
  const net = metric(m, 'net')
  const win = metric(m, 'winRate')
  const sharpe = metric(m, 'sharpe')
  const top = s.refusals[0]
  return html`<section class="cards" aria-label="Key figures">
${card('net', net.interval === null ? `gross ${metric(m, 'gross').text}` : `95 %: ${intervalText('net', net.interval)}`, true)}
${card('winRate', `${win.n} trades · break-even ${metric(m, 'breakEven').text}${win.interval === null ? '' : ` · 95 %: ${intervalText('winRate', win.interval)}`}`)}
${card('sharpe', `n = ${sharpe.n} days${sharpe.interval === null ? '' : ` · 95 %: ${intervalText('sharpe', sharpe.interval)}`}`)}
${card('fillRate', `${metric(m, 'fillRateContracts').text} of contracts · n = ${metric(m, 'fillRate').n}`)}
${card('drawdown', `${metric(m, 'totalReturn').text} return on cash`)}
${card('fees', `${metric(m, 'feePerContract').text} a contract`)}
${card('markout', `n = ${metric(m, 'markout').n} fills`, true)}
${card('perDollarDay', `most committed ${metric(m, 'capitalPeak').text}`, true)}
${card('orders', `${s.end.fills.toLocaleString('en-US')} fills, ${metric(m, 'rejections').text} rejections`)}
${card('refusals', top === undefined ? 'none' : `most: ${top.reason}`)}
</section>`
}

function marketTable({ end }: SessionRecord): Markup | false {
  const rows = [...end.markets].sort((a, b) => b.pnl - a.pnl)
  if (rows.length === 0) return false
  return html`<div class="scroll"><table><thead><tr><th data-sort>Market</th><th data-sort>Result</th><th class="n" data-sort>Orders</th><th class="n" data-sort>Fills</th><th class="n" data-sort>Contracts</th><th class="n" data-sort>Fees</th><th class="n" data-sort>Net P&amp;L</th><th data-sort>Held at the end</th></tr></thead><tbody>
${rows.slice(0, ROWS_MAX).map((m) => html`<tr><td title="${m.title}">${m.ticker}</td><td>${m.result === null ? 'unknown' : m.result.toUpperCase()}</td><td class="n" data-v="${m.orders}">${m.orders.toLocaleString('en-US')}</td><td class="n" data-v="${m.fills}">${m.fills.toLocaleString('en-US')}</td><td class="n" data-v="${m.filled}">${(m.filled / 100).toLocaleString('en-US')}</td><td class="n" data-v="${m.fees}">${money(m.fees)}</td><td class="n ${m.pnl > 0 ? 'up' : m.pnl < 0 ? 'down' : ''}" data-v="${m.pnl}">${m.pnl > 0 ? '+' : ''}${money(m.pnl)}</td><td>${m.position === 0 ? '' : `${m.position > 0 ? 'YES' : 'NO'} ${(Math.abs(m.position) / 100).toLocaleString('en-US')} (${m.markBasis})`}</td></tr>`)}
</tbody></table></div>${rows.length > ROWS_MAX && html`<p class="soft small">The first ${ROWS_MAX} of ${rows.length} markets.</p>`}`
}

function details(record: SessionRecord, analysis: Analysis): Markup | false {
  const best = [...record.end.markets]
    .filter((m) => m.orders > 0)
    .sort((a, b) => b.fills - a.fills || (a.ticker < b.ticker ? -1 : 1))
    .slice(0, MARKETS_SHOWN)
  if (best.length === 0) return false
  const one = (ticker: string): Markup => {
    const m = record.end.markets.find((x) => x.ticker === ticker)
    return figure(
      marketChart(record, ticker, analysis.trading.fills),
      html`<span class="key" style="border-color:var(--c1)"></span>best YES bid<span class="key" style="border-color:var(--c2)"></span>best YES ask; thick: our resting orders; ▲ we bought YES (or sold NO), ▼ we bought NO (or sold YES), reasons on hover and in the tables${m?.settlementValue !== null && m !== undefined ? `; dotted: settled ${m.result === 'yes' ? 'YES' : m.result === 'no' ? 'NO' : `at ${m.settlementValue / 100}¢`}` : ''}.`,
    )
  }
  const [first, ...rest] = best
  return html`<h2>One market in detail</h2><p>${first?.ticker} <span class="soft">${first?.title === first?.ticker ? '' : first?.title}</span></p>${one(first?.ticker ?? '')}
${rest.map((m) => html`<details><summary>${m.ticker} · ${m.fills} fills · ${money(m.pnl)}</summary>${one(m.ticker)}</details>`)}`
}

function counts(title: string, rows: Analysis['refusals'], none: string): Markup | false {
  if (rows.length === 0) return none === '' ? false : html`<p class="soft">${none}</p>`
  return html`<h3>${title}</h3><div class="scroll"><table><thead><tr><th>Reason</th><th class="n">Count</th></tr></thead><tbody>${rows.map((r) => html`<tr><td>${r.reason}</td><td class="n">${r.count.toLocaleString('en-US')}</td></tr>`)}</tbody></table></div>`
}

function tradeTable({ trading: { episodes } }: Analysis): Markup {
  return html`<div class="scroll"><table><thead><tr><th data-sort>Opened (UTC)</th><th data-sort>Market</th><th>Trade</th><th data-sort>Held</th><th data-sort>Why</th><th class="n" data-sort>Fees</th><th class="n" data-sort>Net P&amp;L</th></tr></thead><tbody>
${episodes.slice(0, ROWS_MAX).map((e) => html`<tr><td>${utc(e.opened)}</td><td>${e.market}</td><td>${episodeText(e)}${e.exit === 'open' && ' · open'}</td><td data-v="${(e.closed ?? 0) - e.opened}">${e.closed === null ? 'open' : duration(e.closed - e.opened)}</td><td>${e.why}</td><td class="n" data-v="${e.fees}">${money(e.fees)}</td><td class="n ${e.pnl > 0 ? 'up' : e.pnl < 0 ? 'down' : ''}" data-v="${e.pnl}">${e.pnl > 0 ? '+' : ''}${money(e.pnl)}</td></tr>`)}
</tbody></table></div>`
}

function fillTable({ trading: { fills } }: Analysis): Markup {
  return html`<div class="scroll"><table><thead><tr><th data-sort>Time (UTC)</th><th data-sort>Market</th><th data-sort>Fill</th><th class="n" data-sort>Contracts</th><th data-sort>As</th><th class="n" data-sort>Fee</th><th data-sort>Why</th></tr></thead><tbody>
${fills.slice(0, ROWS_MAX).map((f) => html`<tr><td>${new Date(f.time / 1000).toISOString().slice(0, 23).replace('T', ' ')}</td><td>${f.market}</td><td>${say(f)}</td><td class="n" data-v="${f.quantity}">${(f.quantity / 100).toLocaleString('en-US')}</td><td>${f.maker ? 'maker' : 'taker'}</td><td class="n" data-v="${f.fee}">${money(f.fee)}</td><td>${f.why} ${f.value === 0 ? '' : f.value.toPrecision(3)}</td></tr>`)}
</tbody></table></div>`
}

function tradesCsv({ trading: { episodes } }: Analysis): string {
  return csv([
    [
      'opened',
      'closed',
      'market',
      'strategy',
      'side',
      'contracts',
      'entry_dollars',
      'exit_dollars',
      'exit',
      'fees_dollars',
      'pnl_dollars',
      'why',
    ],
    ...episodes
      .slice(0, CSV_ROWS_MAX)
      .map((e) => [
        new Date(e.opened / 1000).toISOString(),
        e.closed === null ? '' : new Date(e.closed / 1000).toISOString(),
        e.market,
        e.owner,
        e.side,
        e.quantity / 100,
        Number((e.entry / 10_000).toFixed(6)),
        e.exitPrice === null ? '' : Number((e.exitPrice / 10_000).toFixed(6)),
        e.exit,
        e.fees / 1e6,
        e.pnl / 1e6,
        e.why,
      ]),
  ])
}
function fillsCsv({ trading: { fills } }: Analysis): string {
  return csv([
    ['time', 'market', 'strategy', 'order', 'yes_side', 'yes_price_dollars', 'contracts', 'role', 'fee_dollars', 'why', 'value'],
    ...fills
      .slice(0, CSV_ROWS_MAX)
      .map((f) => [
        new Date(f.time / 1000).toISOString(),
        f.market,
        f.owner,
        f.order,
        f.side === 'bid' ? 'buy' : 'sell',
        f.price / 10_000,
        f.quantity / 100,
        f.maker ? 'maker' : 'taker',
        f.fee / 1e6,
        f.why,
        f.value,
      ]),
  ])
}
/** A download that works with scripts off: the file stands in the link. */
function download(name: string, text: string): Markup {
  return html`<a class="noprint" download="${name}" href="data:text/csv;charset=utf-8;base64,${Buffer.from(text, 'utf8').toString('base64')}">Download ${name}</a>`
}

function command({ header }: SessionRecord): string {
  const { selection, delays } = header
  const parts = [
    'npx tapeline backtest',
    `--tape ${header.tape.name}`,
    ...header.strategies.map(
      (s) =>
        `--strategy ${s.name} ${Object.entries(s.parameters)
          .map(([k, v]) => `--param ${k}=${v}`)
          .join(' ')}`,
    ),
    `--fills ${header.fills}`,
    `--delay place=${delays.place / 1000}ms,cancel=${delays.cancel / 1000}ms,amend=${delays.amend / 1000}ms,answer=${delays.answer / 1000}ms`,
    `--cash ${header.cash / 1e6}`,
  ]
  if (selection.markets !== null) parts.push(...selection.markets.map((m) => `--market ${m}`))
  if (selection.series !== null) parts.push(...selection.series.map((m) => `--series ${m}`))
  if (selection.from !== null) parts.push(`--from ${new Date(selection.from / 1000).toISOString()}`)
  if (selection.to !== null) parts.push(`--to ${new Date(selection.to / 1000).toISOString()}`)
  if (selection.warmup > 0) parts.push(`--warmup ${selection.warmup / 1e6}s`)
  return parts.join(' \\\n  ')
}
