/**
 * Tables of a report and the files behind them: markets, trades, fills, reasons. Owns the columns, the caps on rows and the CSV layouts; hides the
 * markup of a table. Invariants: a table or file that is cut says so; every cell from outside is text.
 */
import type { SessionRecord } from '../engine/session.ts'
import { csv } from './csv.ts'
import type { Episode, Fill } from './episodes.ts'
import { html, raw, type Markup } from './markup.ts'
import type { Analysis } from './metrics.ts'
import { contracts, count, duration, episodeText, money, moneySigned, plural, reason, say, utc, utcMillis } from './words.ts'

const ROWS_MAX = 300
const TITLE_MAX = 120

type Column = { readonly name: string; readonly right?: boolean; readonly fixed?: boolean }
export function table(caption: string, columns: readonly Column[], rows: readonly Markup[]): Markup {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><caption>${caption}</caption><thead><tr>${columns.map((c) => html`<th scope="col"${raw(c.right ? ' class="n"' : '')}${raw(c.fixed ? '' : ' data-sort')}>${c.name}</th>`)}</tr></thead><tbody>
${rows}</tbody></table></div>`
}
function number(value: number, text: string): Markup {
  return html`<td class="n" data-v="${value}">${text}</td>`
}
function gain(value: number): Markup {
  return html`<td class="n ${value > 0 ? 'up' : value < 0 ? 'down' : ''}" data-v="${value}">${moneySigned(value)}</td>`
}
function cut(shown: number, all: number, what: string): string {
  return all > shown ? `The first ${count(shown)} of ${count(all)} ${what} are shown. ` : ''
}

export function marketTable({ end }: SessionRecord): Markup | false {
  const rows = [...end.markets].sort((a, b) => b.pnl - a.pnl || (a.ticker < b.ticker ? -1 : 1))
  if (rows.length === 0) return false
  // Best and worst both matter: a table that is cut keeps both ends.
  const shown = rows.length <= ROWS_MAX ? rows : [...rows.slice(0, ROWS_MAX / 2), ...rows.slice(-ROWS_MAX / 2)]
  return html`${rows.length > ROWS_MAX && html`<p class="soft small">The ${ROWS_MAX / 2} best and ${ROWS_MAX / 2} worst of ${plural(rows.length, 'market')}; all are in summary.json.</p>`}${table(
    'Markets with an order, best first',
    [
      { name: 'Market' },
      { name: 'Result' },
      { name: 'Orders', right: true },
      { name: 'Fills', right: true },
      { name: 'Contracts', right: true },
      { name: 'Fees', right: true },
      { name: 'Net P&L', right: true },
      { name: 'Held at the end' },
    ],
    shown.map(
      (m) =>
        html`<tr><td title="${m.title.slice(0, TITLE_MAX)}">${m.ticker}</td><td>${m.result === null ? 'unknown' : m.result.toUpperCase()}</td>${number(m.orders, count(m.orders))}${number(m.fills, count(m.fills))}${number(m.filled, contracts(m.filled))}${number(m.fees, money(m.fees))}${gain(m.pnl)}<td>${m.position === 0 ? '' : `${m.position > 0 ? 'YES' : 'NO'} ${contracts(Math.abs(m.position))} (${m.result === null ? `marked at ${m.markBasis}` : 'not paid yet'})`}</td></tr>\n`,
    ),
  )}`
}

export function countTable(title: string, rows: Analysis['refusals'], none: string): Markup {
  if (rows.length === 0) return html`<div><h3>${title}</h3><p class="soft small">${none}</p></div>`
  return html`<div><h3>${title}</h3>${table(
    title,
    [
      { name: 'Reason', fixed: true },
      { name: 'Count', right: true, fixed: true },
    ],
    rows.map((r) => html`<tr><td>${r.reason}</td><td class="n">${count(r.count)}</td></tr>`),
  )}</div>`
}

export function reasonTable(rows: Analysis['byReason']): Markup {
  return html`<div><h3>Fills by reason</h3>${table(
    'Fills by reason',
    [
      { name: 'Why', fixed: true },
      { name: 'Fills', right: true, fixed: true },
      { name: 'Contracts', right: true, fixed: true },
    ],
    rows
      .slice(0, 20)
      .map(
        (r) =>
          html`<tr><td>${r.why === '' ? '(none)' : r.why}</td><td class="n">${count(r.fills)}</td><td class="n">${contracts(r.contracts)}</td></tr>`,
      ),
  )}</div>`
}

/** `room`: characters of CSV that the page can afford. */
export function tradeSection(episodes: readonly Episode[], room: number): Markup | false {
  if (episodes.length === 0) return false
  return html`<h2>Trades</h2><p class="soft small">A trade runs from flat to flat or to settlement, at average cost; one still open is marked where it could be closed. ${cut(ROWS_MAX, episodes.length, 'trades')}${download('trades.csv', TRADE_HEAD, episodes.map(tradeRow), room)}</p>${table(
    'Trades',
    [
      { name: 'Opened (UTC)' },
      { name: 'Market' },
      { name: 'Trade' },
      { name: 'Held' },
      { name: 'Why' },
      { name: 'Fees', right: true },
      { name: 'Net P&L', right: true },
    ],
    episodes
      .slice(0, ROWS_MAX)
      .map(
        (e) =>
          html`<tr><td>${utc(e.opened)}</td><td>${e.market}</td><td>${episodeText(e)}</td><td data-v="${e.closed === null ? 9e15 : e.closed - e.opened}">${e.closed === null ? 'open' : duration(e.closed - e.opened)}</td><td>${e.why}</td>${number(e.fees, money(e.fees))}${gain(e.pnl)}</tr>\n`,
      ),
  )}`
}

export function fillSection(fills: readonly Fill[], room: number): Markup | false {
  if (fills.length === 0) return false
  return html`<h2>Fills</h2><p class="soft small">${cut(ROWS_MAX, fills.length, 'fills')}${fills.length > ROWS_MAX && 'All are in journal.parquet of the run folder. '}${download('fills.csv', FILL_HEAD, fills.map(fillRow), room)}</p>${table(
    'Fills',
    [
      { name: 'Time (UTC)' },
      { name: 'Market' },
      { name: 'Fill' },
      { name: 'Contracts', right: true },
      { name: 'As' },
      { name: 'Fee', right: true },
      { name: 'Why' },
    ],
    fills
      .slice(0, ROWS_MAX)
      .map(
        (f) =>
          html`<tr><td>${utcMillis(f.time)}</td><td>${f.market}</td><td>${say(f)}</td>${number(f.quantity, contracts(f.quantity))}<td>${f.maker ? 'maker' : 'taker'}</td>${number(f.fee, money(f.fee))}<td>${reason(f.why, f.value)}</td></tr>\n`,
      ),
  )}`
}

type Row = readonly (string | number)[]
const TRADE_HEAD: Row = [
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
]
function tradeRow(e: Episode): Row {
  return [
    iso(e.opened),
    e.closed === null ? '' : iso(e.closed),
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
  ]
}
const FILL_HEAD: Row = [
  'time',
  'market',
  'strategy',
  'order',
  'yes_side',
  'yes_price_dollars',
  'contracts',
  'role',
  'fee_dollars',
  'in_words',
  'why',
  'value',
]
function fillRow(f: Fill): Row {
  return [
    iso(f.time),
    f.market,
    f.owner,
    f.order,
    f.side === 'bid' ? 'buy' : 'sell',
    f.price / 10_000,
    f.quantity / 100,
    f.maker ? 'maker' : 'taker',
    f.fee / 1e6,
    say(f),
    f.why,
    f.value,
  ]
}
function iso(time: number): string {
  return new Date(time / 1000).toISOString()
}

/** A download that works with scripts off: the file stands in the link, as many rows as the page can afford. */
function download(name: string, head: Row, rows: readonly Row[], room: number): Markup {
  const parts = [csv([head])]
  let size = 0
  for (const row of rows) {
    const line = csv([row])
    size += line.length + 2
    if (size > room) break
    parts.push(line)
  }
  const held = parts.length - 1
  const text = Buffer.from(`${parts.join('\r\n')}\r\n`, 'utf8').toString('base64')
  return html`<a class="noprint" download="${name}" href="data:text/csv;charset=utf-8;base64,${text}">Download ${name}</a>${held < rows.length && ` (the first ${count(held)} of ${count(rows.length)} rows)`}`
}
