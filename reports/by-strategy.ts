/**
 * Each strategy of a session by itself. Owns the cut of a record into what belongs to one strategy; hides nothing: the figures are those of the whole session, over fewer rows. Invariant:
 * money, fills, orders, signals and refusals of all strategies add up to the session's.
 */
import { createJournalTable, type JournalTable } from '../engine/journal.ts'
import type { OwnerEnd, SessionRecord } from '../engine/session.ts'
import type { Trading } from './episodes.ts'
import { executionOf, type Execution } from './execution.ts'
import { Figures, type Metric } from './figures.ts'

export type StrategyFigures = Pick<Execution, 'refusals' | 'byReason'> & {
  readonly name: string
  readonly parameters: Readonly<Record<string, number | string | boolean>>
  readonly end: OwnerEnd
  readonly metrics: readonly Metric[]
  /** Realized P&L after each closed trade, in the order of time (µs, Money). */
  readonly realized: readonly { readonly time: number; readonly pnl: number }[]
  /** P&L by market, best first (Money). */
  readonly markets: readonly { readonly ticker: string; readonly pnl: number; readonly fills: number }[]
}

export function byStrategy(
  record: SessionRecord,
  { fills, episodes }: Trading,
  mid2: (market: string, time: number) => number,
  tradeFigures: (f: Figures, episodes: Trading['episodes']) => void,
): StrategyFigures[] {
  const { end, header, strings } = record
  return end.owners.map((owner, k) => {
    const own = { fills: fills.filter((f) => f.owner === owner.name), episodes: episodes.filter((e) => e.owner === owner.name) }
    const { signals, orders, fills: filled, refusals, rejections } = owner
    const part: SessionRecord = {
      ...record,
      journal: rowsOf(record.journal, strings.indexOf(owner.name)),
      end: { ...end, signals, orders, fills: filled, refusals, rejections },
    }
    const f = new Figures()
    f.add('net', 'Net P&L', 'money', 'cash flow − fees + its share of open positions', owner.pnl, owner.fills)
    f.add('fees', 'Fees', 'money', 'Σ fee of its fills', owner.fees, owner.fills)
    tradeFigures(f, own.episodes)
    const execution = executionOf(f, part, own.fills, mid2)
    let sum = 0
    const closed = own.episodes.filter((e) => e.closed !== null).sort((a, b) => (a.closed as number) - (b.closed as number))
    const markets = new Map<string, { pnl: number; fills: number }>()
    for (const e of own.episodes) {
      const m = markets.get(e.market) ?? { pnl: 0, fills: 0 }
      m.pnl += e.pnl
      markets.set(e.market, m)
    }
    for (const x of own.fills) {
      const m = markets.get(x.market)
      if (m !== undefined) m.fills++
    }
    return {
      name: owner.name,
      parameters: header.strategies[k]?.parameters ?? {},
      end: owner,
      metrics: f.all,
      refusals: execution.refusals,
      byReason: execution.byReason,
      realized: closed.map((e) => ({ time: e.closed as number, pnl: (sum += e.pnl) })),
      markets: [...markets].map(([ticker, m]) => ({ ticker, ...m })).sort((a, b) => b.pnl - a.pnl || (a.ticker < b.ticker ? -1 : 1)),
    }
  })
}

/** The rows of a journal that one strategy owns. */
function rowsOf(journal: JournalTable, owner: number): JournalTable {
  const kept: number[] = []
  for (let i = 0; i < journal.length; i++) if (journal.owner[i] === owner) kept.push(i)
  const out = createJournalTable(kept.length)
  for (const [name, column] of Object.entries(journal)) {
    if (typeof column === 'number') continue
    const target = out[name as 'time']
    kept.forEach((from, to) => {
      target[to] = column[from] as number
    })
  }
  out.length = kept.length
  return out
}
