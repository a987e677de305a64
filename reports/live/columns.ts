/**
 * Backtest, paper and live side by side: the same figures of three sessions. Owns which figures and how each is found in a record; hides nothing. Invariant: a figure is made by one formula in all columns, and
 * one that does not exist in a column says why.
 */
import { JournalKind } from '../../engine/journal.ts'
import { MINUTE, SECOND } from '../../engine/units.ts'
import type { SessionRecord } from '../../engine/session.ts'
import { sign } from '../episodes.ts'
import { analyse, type Analysis } from '../metrics.ts'
import { ordersOf } from '../orders.ts'
import { metric } from '../summary.ts'
import { touchesOf } from '../touch.ts'
import { centsSigned, contracts, count, duration, money, moneySigned, percent, plural } from '../words.ts'
import { delayText, delaysIn, outcomesOf, quantilesOf, unknownsOf, type Stage } from './delays.ts'
import type { LiveFacts } from './facts.ts'
import type { Beside } from './parts.ts'
import { uptimeOf } from './spans.ts'

export type Cell = { readonly value: number | null; readonly text: string; readonly note: string }
export type ColumnRow = { readonly id: string; readonly label: string; readonly formula: string; readonly cells: readonly (Cell | null)[] }
export type Column = { readonly name: 'backtest' | 'paper' | 'live'; readonly note: string; readonly missing: boolean }
export type SideBySide = { readonly columns: readonly Column[]; readonly rows: readonly ColumnRow[] }

type Source = { readonly record: SessionRecord; readonly analysis: Analysis; readonly facts: LiveFacts | null }
type RowOf = { readonly id: string; readonly label: string; readonly formula: string; readonly cell: (s: Source) => Cell }

const none = (why: string): Cell => ({ value: null, text: 'n/a', note: why })
const cell = (value: number, text: string, note = ''): Cell => ({ value, text, note })

function figure(id: string, label: string, note: (s: Source) => string = () => ''): RowOf {
  return {
    id,
    label,
    formula: '',
    cell(s) {
      const m = metric(s.analysis.metrics, id)
      return m.value === null ? none(m.reason ?? '') : cell(m.value, m.text, note(s))
    },
  }
}
const n = (id: string) => (s: Source) => `n = ${count(metric(s.analysis.metrics, id).n ?? 0)}`

function markout(horizon: number, label: string): RowOf {
  return {
    id: `markout-${horizon}`,
    label,
    formula: 's × (mid at the horizon − price), ¢ a contract, weighted by contracts, before fees',
    cell({ analysis }) {
      const point = analysis.markouts.find((m) => m.horizon === horizon)
      return point === undefined ? none('no fill had a mid then') : cell(point.cents, centsSigned(point.cents), `n = ${count(point.n)}`)
    },
  }
}

function delay(stage: Stage, label: string, simulated: (s: Source) => number | null): RowOf {
  return {
    id: `delay-${stage}`,
    label,
    formula: 'median, and the 99th of a hundred',
    cell(s) {
      if (s.facts === null) {
        const set = simulated(s)
        return set === null ? none('simulated') : cell(set, delayText(set), 'as set')
      }
      const q = quantilesOf(delaysIn(s.facts.writes, stage))
      return q === null ? none('no write has these times') : cell(q.p50, delayText(q.p50), `p99 ${delayText(q.p99)}, n = ${count(q.n)}`)
    },
  }
}

function tallied(reasons: readonly string[]): Analysis['rejections'] {
  const counts = new Map<string, number>()
  for (const r of reasons) counts.set(r, (counts.get(r) ?? 0) + 1)
  return [...counts].map(([reason, n]) => ({ reason, count: n })).sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1))
}

const ACKNOWLEDGED: readonly string[] = ['accepted', 'amended', 'decreased', 'canceled:user']
/** Of a simulated venue: every command arrives. */
function answeredOf({ journal: j, strings }: SessionRecord): { readonly acknowledged: number; readonly sent: number } {
  let [acknowledged, sent] = [0, 0]
  for (let i = 0; i < j.length; i++) {
    if (j.kind[i] === JournalKind.COMMAND) sent++
    else if (j.kind[i] === JournalKind.ANSWER && ACKNOWLEDGED.includes(strings[j.what[i] as number] ?? '')) acknowledged++
  }
  return { acknowledged, sent }
}

/** s × (price − the touch that it was decided on), ¢ a contract, takers only; positive is a cost. */
function slippage({ record, analysis }: Source): Cell {
  const touch = touchesOf(record)
  const decided = new Map(ordersOf(record).map((o) => [o.order, o.sent]))
  let [cost, weight, fills] = [0, 0, 0]
  for (const f of analysis.trading.fills) {
    const time = decided.get(f.order)
    if (f.maker || time === undefined) continue
    const t = touch(f.market, time)
    const price = f.side === 'bid' ? (t?.ask ?? -1) : (t?.bid ?? -1)
    if (price < 0) continue
    cost += (sign(f) * (f.price - price) * f.quantity) / 100
    weight += f.quantity
    fills++
  }
  return weight === 0 ? none('no taker fill with a touch') : cell(cost / weight, centsSigned(cost / weight), `n = ${count(fills)}`)
}

const ROWS: readonly RowOf[] = [
  {
    id: 'net',
    label: 'Net P&L',
    formula: 'equity at the end − starting cash; fees paid; open positions at the price they could be closed at',
    cell: ({ record: { end, header } }) =>
      cell(end.equity - header.cash, moneySigned(end.equity - header.cash), end.complete ? '' : `partial: ${end.reason}`),
  },
  {
    id: 'fees',
    label: 'Fees',
    formula: 'Σ fee of fills',
    cell: ({ record: { end } }) => cell(end.fees, money(end.fees)),
  },
  {
    id: 'orders',
    label: 'Orders',
    formula: 'orders sent (an amend is no new order)',
    cell: ({ record: { end } }) => cell(end.orders, count(end.orders)),
  },
  {
    id: 'fills',
    label: 'Fills',
    formula: 'executions of our orders',
    cell: ({ record: { end }, analysis }) =>
      cell(end.fills, count(end.fills), `${contracts(analysis.trading.fills.reduce((a, f) => a + f.quantity, 0))} contracts`),
  },
  figure('fillRate', 'Fill rate', n('fillRate')),
  figure('fillRateContracts', 'Fill rate by contracts'),
  {
    id: 'success',
    label: 'Order success',
    formula: 'commands acknowledged ÷ commands sent',
    cell({ facts, record }) {
      if (facts !== null) {
        const all = outcomesOf(facts)[0]
        return all?.success == null
          ? none('nothing was sent')
          : cell(all.success, percent(all.success), `${count(all.acknowledged)} of ${count(all.sent)}`)
      }
      const { acknowledged, sent } = answeredOf(record)
      return sent === 0
        ? none('nothing was sent')
        : cell(acknowledged / sent, percent(acknowledged / sent), `${count(acknowledged)} of ${count(sent)}`)
    },
  },
  figure('timeToFill', 'Time to first fill, half of the orders', n('timeToFill')),
  {
    id: 'slippage-touch',
    label: 'Slippage against the touch at the decision',
    formula: 's × (price − the best price that stood opposite when it was decided), ¢ a contract, takers; positive is a cost',
    cell: slippage,
  },
  markout(SECOND, 'Markout after a second'),
  markout(MINUTE, 'Markout after a minute'),
  delay('bytes', 'Decision → bytes', () => null),
  delay('all', 'Decision → answer', ({ record: { header } }) => header.delays.place + header.delays.answer),
  {
    id: 'uptime',
    label: 'Uptime',
    formula: 'share of the session in which orders were permitted',
    cell({ record }) {
      if (record.header.mode === 'backtest') return none('a tape has no feed to lose')
      const { share, lost } = uptimeOf(record)
      return share === null
        ? none('it never began')
        : cell(share, percent(share), lost[0] === undefined ? '' : `else most ${lost[0].why} ${duration(lost[0].time)}`)
    },
  },
  {
    id: 'rejections',
    label: 'Rejections by the venue',
    formula: 'commands that the venue refused',
    cell({ analysis, facts }) {
      // The engine hears nothing of the cancel of an order that has ended; the exchange said no all the same.
      const said = (facts?.writes ?? []).filter((w) => w.outcome === 'rejected').map((w) => w.reason ?? 'unknown')
      const list = facts === null ? analysis.rejections : tallied(said)
      const all = list.reduce((a, r) => a + r.count, 0)
      return cell(all, count(all), list[0] === undefined ? '' : `most: ${list[0].reason}`)
    },
  },
  {
    id: 'unknown',
    label: 'Unknown outcomes',
    formula: 'writes of which nobody knew what had become of them',
    cell({ facts }) {
      if (facts === null) return none('simulated: always answered')
      const u = unknownsOf(facts)
      return cell(
        u.writes,
        count(u.writes),
        u.writes === 0
          ? ''
          : u.unresolved > 0
            ? `${plural(u.unresolved, 'one', 'of them')} never resolved`
            : `all resolved, in ${delayText(u.time?.p50 ?? 0)} half of them`,
      )
    },
  },
]

export function sideBySide(live: Source, backtest: Beside, paper: Beside): SideBySide {
  const sources: (Source | null)[] = []
  const columns: Column[] = []
  for (const [name, beside] of [
    ['backtest', backtest],
    ['paper', paper],
  ] as const) {
    let missing = 'missing' in beside ? beside.missing : null
    let source: Source | null = null
    if (!('missing' in beside))
      try {
        source = { record: beside.record, analysis: analyse(beside.record), facts: null }
      } catch (error) {
        missing = error instanceof Error ? error.message : String(error)
      }
    sources.push(source)
    columns.push({ name, note: missing ?? ('note' in beside ? beside.note : ''), missing: missing !== null })
  }
  sources.push(live)
  columns.push({ name: 'live', note: 'what happened', missing: false })
  const rows = ROWS.map(({ id, label, formula, cell: of }) => ({
    id,
    label,
    formula: formula === '' ? metric(live.analysis.metrics, id).formula : formula,
    cells: sources.map((s) => (s === null ? null : of(s))),
  }))
  return { columns, rows }
}
