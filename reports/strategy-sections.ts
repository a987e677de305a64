/**
 * The strategies of a session side by side, then each by itself. Owns the form; hides the markup. Invariant: shown only where there are several, for one strategy the page is about it
 * anyway.
 */
import type { SessionRecord } from '../engine/session.ts'
import type { StrategyFigures } from './by-strategy.ts'
import { html, raw, type Markup } from './markup.ts'
import type { Analysis } from './metrics.ts'
import { dollarsTick, Plot, svg, thin, timeAxis } from './plot.ts'
import { metric } from './summary.ts'
import { countTable, reasonTable, table } from './tables.ts'
import { count, money, moneySigned, plural } from './words.ts'

const LINES = [
  ['c1', ''],
  ['c2', '6 3'],
  ['good', '2 3'],
  ['bad', '8 3 2 3'],
  ['ink', '1 2'],
  ['soft', '10 4'],
] as const
const MARKETS_SHOWN = 10
const line = (k: number): (typeof LINES)[number] => LINES[k % LINES.length] as (typeof LINES)[number]

export function strategySections(record: SessionRecord, { strategies }: Analysis): Markup | false {
  if (strategies.length < 2) return false
  return html`<h2>By strategy</h2>
<p class="soft small">Each strategy has its own ledger; the sums are exact. Cash, limits and the rule against trading with oneself hold across all of them, so one can stand in another's way.</p>
${figure(record, strategies)}
${comparison(strategies)}
${strategies.map(section)}`
}

function figure(record: SessionRecord, strategies: readonly StrategyFigures[]): Markup {
  const { end } = record
  const from = end.firstTime ?? 0
  const to = end.lastTime ?? from
  const chart = svg({
    ariaLabel: `Realized profit by strategy: ${strategies.map((s) => `${s.name} ${moneySigned(s.end.pnl)}`).join(', ')}`,
    height: 200,
    x: timeAxis(from, to),
    y: { label: 'realized P&L, $', tickFormat: dollarsTick, grid: true, nice: true },
    marks: [
      Plot.ruleY([0], { stroke: 'var(--soft)' }),
      ...strategies.map((s, k) => {
        const times = [from, ...s.realized.map((r) => r.time), to]
        const values = [0, ...s.realized.map((r) => r.pnl / 1e6), (s.realized.at(-1)?.pnl ?? 0) / 1e6]
        const [color, dash] = line(k)
        return Plot.line(thin(times, values, times.length), {
          x: 'x',
          y: 'y',
          stroke: `var(--${color})`,
          strokeWidth: 1.6,
          curve: 'step-after',
          ...(dash === '' ? {} : { strokeDasharray: dash }),
        })
      }),
    ],
  })
  const keys = strategies.map(
    (s, k) =>
      html`<svg class="dash" viewBox="0 0 26 4" width="26" height="4" aria-hidden="true"><line x1="0" y1="2" x2="26" y2="2" stroke="var(--${line(k)[0]})" stroke-width="3" stroke-dasharray="${line(k)[1]}"/></svg>${s.name} `,
  )
  return html`<figure><div class="chart" tabindex="0">${raw(chart)}</div><figcaption>${keys}<br>P&amp;L of closed trades; what is open at the end is in the table alone.<span class="swipe"> Swipe the chart sideways.</span></figcaption></figure>`
}

function comparison(strategies: readonly StrategyFigures[]): Markup {
  const cell = (s: StrategyFigures, id: string): Markup => {
    const m = metric(s.metrics, id)
    return html`<td class="n" title="${m.value === null ? (m.reason ?? '') : m.formula}" data-v="${m.value ?? ''}">${m.text}</td>`
  }
  const open = strategies.some((s) => s.end.openValue !== 0)
  return table(
    'Strategies',
    [
      { name: 'Strategy' },
      { name: 'Net P&L', right: true },
      { name: 'Fees', right: true },
      ...(open ? [{ name: 'Open value', right: true }] : []),
      { name: 'Trades', right: true },
      { name: 'Win rate', right: true },
      { name: 'Orders', right: true },
      { name: 'Fills', right: true },
      { name: 'Fill rate', right: true },
      { name: 'Markout', right: true },
      { name: 'Refused', right: true },
    ],
    strategies.map(
      (s) =>
        html`<tr><td>${s.name}</td><td class="n ${s.end.pnl > 0 ? 'up' : s.end.pnl < 0 ? 'down' : ''}" data-v="${s.end.pnl}">${moneySigned(s.end.pnl)}</td><td class="n" data-v="${s.end.fees}">${money(s.end.fees)}</td>${open && html`<td class="n" data-v="${s.end.openValue}">${money(s.end.openValue)}</td>`}${cell(s, 'trades')}${cell(s, 'winRate')}${cell(s, 'orders')}${cell(s, 'fills')}${cell(s, 'fillRate')}${cell(s, 'markout')}${cell(s, 'refusals')}</tr>\n`,
    ),
  )
}

function section(s: StrategyFigures): Markup {
  const parameters = Object.entries(s.parameters).map(([k, v]) => `${k}=${v}`)
  const shown =
    s.markets.length <= MARKETS_SHOWN ? s.markets : [...s.markets.slice(0, MARKETS_SHOWN / 2), ...s.markets.slice(-MARKETS_SHOWN / 2)]
  return html`<h3>${s.name}: ${moneySigned(s.end.pnl)}</h3>
<p class="soft small">${parameters.length === 0 ? 'no parameters' : parameters.join(' ')} · ${plural(s.end.signals, 'signal')}, ${plural(s.end.orders, 'order')}, ${plural(s.end.fills, 'fill')}</p>
${
  shown.length > 0 &&
  table(
    `Markets of ${s.name}`,
    [{ name: 'Market' }, { name: 'Fills', right: true }, { name: 'Net P&L', right: true }],
    shown.map(
      (m) =>
        html`<tr><td>${m.ticker}</td><td class="n" data-v="${m.fills}">${count(m.fills)}</td><td class="n ${m.pnl > 0 ? 'up' : m.pnl < 0 ? 'down' : ''}" data-v="${m.pnl}">${moneySigned(m.pnl)}</td></tr>\n`,
    ),
  )
}
${shown.length < s.markets.length && html`<p class="soft small">The ${MARKETS_SHOWN / 2} best and ${MARKETS_SHOWN / 2} worst of ${plural(s.markets.length, 'market')}.</p>`}
<div class="two">${s.byReason.length > 0 && reasonTable(s.byReason)}${countTable('Refused by risk', s.refusals, s.end.signals === 0 ? 'Nothing was asked for.' : 'No limit stood in the way.')}</div>
<details><summary>Every figure of ${s.name}</summary><dl>${s.metrics.map((m) => html`<dt>${m.label}</dt><dd><b>${m.text}</b>${m.reason !== null && html` (${m.reason})`}${m.n !== null && html` <span class="soft">n = ${count(m.n)}</span>`}<br><span class="soft">${m.formula}</span></dd>\n`)}</dl></details>`
}
