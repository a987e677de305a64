/**
 * The live part of a report: what was expected and what happened side by side, then everything between a decision and its end. Owns the order and the markup; hides nothing. Invariants: shown for live sessions
 * alone; words from outside are text.
 */
import type { SessionRecord } from '../../engine/session.ts'
import { html, raw, type Markup } from '../markup.ts'
import { table } from '../tables.ts'
import { contracts, count, duration, money, moneySigned, percent, plural, utc, utcMillis } from '../words.ts'
import type { ModelSummary } from '../diverge/model.ts'
import { delayChart, DRAWN, statesChart } from './charts.ts'
import type { Cell, SideBySide } from './columns.ts'
import { delayText, STAGES } from './delays.ts'
import type { LiveFacts } from './facts.ts'
import type { LiveSummary } from './summary.ts'

const ROWS_MAX = 100
const right = (name: string): { readonly name: string; readonly right: true; readonly fixed: true } => ({ name, right: true, fixed: true })
const left = (name: string): { readonly name: string; readonly fixed: true } => ({ name, fixed: true })
const none = (text: string): Markup => html`<p class="soft small">${text}</p>`

export function liveSections(record: SessionRecord, live: LiveSummary, facts: LiveFacts): Markup {
  return html`<h2>Backtest, paper and live</h2>
${columns(live.sideBySide)}
${models(live.models)}
<h2>Between decision and answer</h2>
${delays(live, facts)}
<h2>What happened to the session</h2>
${figure(statesChart(record, facts), html`${key('good')}trading${key('bad')}not permitted (syncing, halted), and unknown outcomes${key('c1')}ready${key('c2')}reducing. ▲ incidents.`)}
${uptime(live)}
${incidents(live)}
${operator(live)}
<h2>Agreement with the exchange</h2>
${reconciliations(live)}
${outside(facts)}`
}

function figure(svg: string, caption: Markup): Markup {
  return html`<figure><div class="chart" tabindex="0">${raw(svg)}</div><figcaption>${caption}<span class="swipe"> Swipe the chart sideways.</span></figcaption></figure>`
}
function key(color: string): Markup {
  return html`<span class="key" style="border-color:var(--${color})"></span>`
}
function dash(color: string, pattern: string): Markup {
  return html`<svg class="dash" viewBox="0 0 26 4" width="26" height="4" aria-hidden="true"><line x1="0" y1="2" x2="26" y2="2" stroke="var(--${color})" stroke-width="3" stroke-dasharray="${pattern}"/></svg>`
}
function cut(shown: number, all: number, what: string): string {
  return all > shown ? `The first ${count(shown)} of ${count(all)} ${what} are shown; all are in summary.json. ` : ''
}

// ---------------------------------------------------------------------------------------------------- side by side

function columns({ columns: list, rows }: SideBySide): Markup {
  const one = (c: Cell | null): Markup =>
    c === null
      ? html`<td class="soft">—</td>`
      : html`<td${raw(c.value === null ? ' class="soft"' : '')}>${c.text}${c.note !== '' && html`<br><span class="soft">${c.note}</span>`}</td>`
  return html`<ul class="soft small">${list.map((c) => html`<li><b>${c.name}</b>: ${c.missing ? 'missing, ' : ''}${c.note}</li>`)}</ul>
<div class="scroll funnel" tabindex="0" role="region" aria-label="Backtest, paper and live side by side"><table class="beside"><caption>Backtest, paper and live side by side</caption><thead><tr><th scope="col">Figure</th>${list.map((c) => html`<th scope="col">${c.name}</th>`)}</tr></thead><tbody>
${rows.map((r) => html`<tr><td title="${r.formula}">${r.label}</td>${r.cells.map(one)}</tr>\n`)}</tbody></table></div>`
}

function models(list: LiveSummary['models']): Markup {
  if ('missing' in list) return html`<h3>The fill models against what happened</h3>${none(list.missing)}`
  const one = (m: ModelSummary, k: number): Markup =>
    html`<tr><td>${m.model}${k === 0 && ' (nearest)'}</td><td class="n">${count(m.both + m.neither)} of ${count(m.orders)}</td><td class="n">${count(m.liveOnly)}</td><td class="n">${count(m.modelOnly)}</td><td class="n">${m.contractError === null ? 'n/a' : percent(m.contractError)}</td><td class="n">${m.firstFillError === null ? 'n/a' : `± ${duration(m.firstFillError)}`}</td><td class="n">${m.queueError === null ? 'never told' : `± ${contracts(m.queueError)}`}</td><td class="n">${money(m.feesModel)}</td><td class="n">${moneySigned(m.pnlModel)}</td><td class="n">${moneySigned(m.pnlModel - m.pnlLive)}</td></tr>\n`
  return html`<h3>The fill models against what happened</h3>
<p class="soft small">The orders as they were really sent, put into the simulated venue on the session's own tape. Alike: filled, or not, as the venue did. Apart: the share of contracts that were filled in one and not in the other; the nearest has the least. <code>tapeline diverge</code> explains every order.</p>
${table('Fill models against what happened', [left('Model'), right('Alike'), right('Live only'), right('Model only'), right('Apart'), right('First fill'), right('Queue'), right('Fees'), right('P&L'), right('Against live')], list.map(one))}`
}

// ---------------------------------------------------------------------------------------------------- writes

function delays({ outcomes, delays: stages, unknowns }: LiveSummary, facts: LiveFacts): Markup {
  const chart = delayChart(facts)
  const names = { all: 'all', submit: 'orders', amend: 'amends', decrease: 'decreases', cancel: 'cancels' } as const
  return html`${
    outcomes.length === 0 || outcomes[0]?.intents === 0
      ? none('No command was written down: nothing was ever to be sent.')
      : table(
          'What became of the commands',
          [
            left('Commands'),
            right('Written down'),
            right('Sent'),
            right('Acknowledged'),
            right('Rejected'),
            right('Unknown'),
            right('Not sent'),
            right('Success'),
          ],
          outcomes.map(
            (o) =>
              html`<tr><td>${names[o.type]}</td><td class="n">${count(o.intents)}</td><td class="n">${count(o.sent)}</td><td class="n">${count(o.acknowledged)}</td><td class="n">${count(o.rejected)}</td><td class="n">${count(o.unknown)}</td><td class="n">${count(o.notSent)}</td><td class="n">${o.success === null ? 'n/a' : percent(o.success)}</td></tr>\n`,
          ),
        )
  }
${chart !== null && figure(chart, html`${DRAWN.map(([stage, color, pattern]) => html`${dash(color, pattern)}${STAGES.find((s) => s[0] === stage)?.[1]}`)}. Share of writes that were no slower; a write without an answer is in none of the lines to it.`)}
${
  stages.some((s) => s.quantiles !== null) &&
  table(
    'Delays',
    [left('Stage'), right('Half'), right('9 of 10'), right('99 of 100'), right('Longest'), right('n')],
    stages.flatMap(({ label, quantiles: q }) =>
      q === null
        ? []
        : [
            html`<tr><td>${label}</td><td class="n">${delayText(q.p50)}</td><td class="n">${delayText(q.p90)}</td><td class="n">${delayText(q.p99)}</td><td class="n">${delayText(q.max)}</td><td class="n">${count(q.n)}</td></tr>\n`,
          ],
    ),
  )
}
<h3>Unknown outcomes</h3>
${
  unknowns.writes === 0
    ? none('Every write had an answer that could be read.')
    : html`<p>${plural(unknowns.writes, 'write')} without an outcome that could be trusted; ${unknowns.unresolved === 0 ? 'each was resolved' : `${count(unknowns.unresolved)} never resolved, the others`}${unknowns.time !== null && `: half within ${delayText(unknowns.time.p50)}, the longest after ${delayText(unknowns.time.max)}`}. They ended by ${unknowns.ends.map((e) => `${e.how} (${count(e.count)})`).join(', ')}.</p>`
}`
}

// ---------------------------------------------------------------------------------------------------- the session

function uptime({ uptime: { share, lost }, segments }: LiveSummary): Markup {
  return html`<p>Orders were permitted in ${share === null ? 'no part' : percent(share)} of the session${
    lost.length > 0 &&
    `; else it was ${lost
      .slice(0, 4)
      .map((l) => `${l.why} ${duration(l.time)}`)
      .join(', ')}`
  }. ${
    segments.length > 1
      ? `It was cut off and went on at ${segments
          .slice(1)
          .map((s) => utc(s.time))
          .join(', ')}.`
      : 'One segment: it never broke off.'
  }</p>`
}

function incidents({ incidents: list }: LiveSummary): Markup {
  return html`<h3>Incidents</h3>${
    list.length === 0
      ? none('None.')
      : html`${cut(ROWS_MAX, list.length, 'incidents')}${table(
          'Incidents',
          [left('Time (UTC)'), left('Class'), left('Action'), right('Lasted'), left('Cause')],
          list
            .slice(0, ROWS_MAX)
            .map(
              (i) =>
                html`<tr><td>${utc(i.time)}</td><td>${i.class}</td><td>${i.action}${i.market !== null && ` (${i.market})`}</td><td class="n">${i.lasted === null ? 'a moment' : duration(i.lasted)}</td><td class="wrap text">${i.reason}</td></tr>\n`,
            ),
        )}`
  }`
}

function operator({ operator: list }: LiveSummary): Markup {
  return html`<h3>Operator</h3>${
    list.length === 0
      ? none('Nobody intervened.')
      : html`${cut(ROWS_MAX, list.length, 'commands')}${table(
          'Commands of the operator',
          [left('Time (UTC)'), left('Command'), left('Reason')],
          list
            .slice(0, ROWS_MAX)
            .map((o) => html`<tr><td>${utcMillis(o.time)}</td><td>${o.command}</td><td class="wrap text">${o.reason}</td></tr>\n`),
        )}`
  }`
}

// ---------------------------------------------------------------------------------------------------- the exchange

/** Ours and theirs beside each other, where the record has them so; the rest as it was written. */
function difference(d: Readonly<Record<string, unknown>>): Markup {
  const { ours, theirs, what, kind, ticker, shard, explanation, key: _, counted, ...more } = d
  const text = (x: unknown): string =>
    x === undefined || x === null ? '—' : typeof x === 'object' ? JSON.stringify(x) : String(x as string | number | boolean)
  const rest = [
    ...Object.entries(more).map(([k, v]) => `${k} ${text(v)}`),
    ...(explanation === undefined ? [] : [text(explanation)]),
    ...(counted === false ? ['seen once, so it does not count yet'] : []),
  ].join('; ')
  const where = ticker ?? (typeof shard === 'number' ? `shard ${shard}` : undefined)
  return html`<td>${text(what ?? kind)}${where !== undefined && ` ${text(where)}`}</td><td class="wrap">${text(ours)}</td><td class="wrap">${text(theirs)}</td><td class="wrap text">${rest}</td>`
}
function reconciliations({ reconciliations: r }: LiveSummary): Markup {
  if (r.passes === 0) return none('No reconciliation is on record.')
  const rows = r.differing.flatMap((x) => (x.differences.length === 0 ? [{ x, d: {} }] : x.differences.map((d) => ({ x, d }))))
  return html`<p>${plural(r.passes, 'reconciliation')}, ${count(r.agreed)} agreed in everything${r.unjudged > 0 && `, ${count(r.unjudged)} could not be judged (something was just happening, or one pass alone showed a difference)`}${r.last !== null && `; the last, at ${utc(r.last.time)}: ${r.last.verdict}`}.</p>
${
  rows.length > 0 &&
  html`${cut(ROWS_MAX, rows.length, 'differences')}${table(
    'Differences, side by side',
    [left('Time (UTC)'), left('Verdict'), left('What'), left('Ours'), left("The exchange's"), left('More')],
    rows.slice(0, ROWS_MAX).map(({ x, d }) => html`<tr><td>${utc(x.time)}</td><td>${x.verdict}</td>${difference(d)}</tr>\n`),
  )}`
}`
}

function outside({ foreign }: LiveFacts): Markup | false {
  if (foreign.length === 0) return false
  return html`<h3>Fills that no strategy made</h3>
<p class="soft small">The account traded beside this session's strategies: the operator closed positions with <code>tapeline flatten</code>, or another program, a person, an order of an earlier session. What moved the account's money is booked: what the operator closed to the strategies that held it, everything else to the owner <b>outside</b>, where it counts in the session's totals and in no strategy's, and its market is halted until a person has looked. ${cut(ROWS_MAX, foreign.length, 'fills')}</p>
${table(
  'Fills that no strategy made',
  [left('Time (UTC)'), left('Market'), left('Fill'), right('Contracts'), left('As'), right('Fee'), left('By'), left('Trade')],
  foreign
    .slice(0, ROWS_MAX)
    .map(
      (f) =>
        html`<tr><td>${utcMillis(f.timeVenue)}</td><td>${f.ticker}</td><td>${f.side === 'bid' ? 'buy' : 'sell'} YES at ${Number((f.price / 100).toFixed(2))}¢</td><td class="n">${contracts(f.quantity)}</td><td>${f.maker ? 'maker' : 'taker'}</td><td class="n">${money(f.fee)}</td><td>${f.by === 'flatten' ? 'the operator (flatten)' : 'somebody else'}</td><td>${f.trade}</td></tr>\n`,
    ),
)}`
}
