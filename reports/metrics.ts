/**
 * Every number of a report, once: terminal, JSON and HTML read them here. Owns the formulas (shown beside each value) and the reasons for
 * what does not exist. Invariant: a value that is undefined is null with a reason, never zero or infinity; the parts add up to the whole, to
 * the millionth of a dollar, or the report is refused.
 */
import type { SessionRecord } from '../engine/session.ts'
import { tradingOf, type Episode, type Fill, type Trading } from './episodes.ts'
import { bridgeOf, type Bridge } from './bridge.ts'
import { byStrategy, type StrategyFigures } from './by-strategy.ts'
import { executionOf, type Execution } from './execution.ts'
import { Figures, type Metric } from './figures.ts'
import { forecastScore } from './forecast.ts'
import { funnelOf, type Funnel } from './funnel.ts'
import { dailyEquity, risk, type Daily } from './returns.ts'
import { blockBootstrap, clusterBootstrap, mean, wilson } from './statistics.ts'
import { midsAt } from './touch.ts'
import { decimal } from './words.ts'

/** The record contradicts itself: a report must not be made of it. */
export class ReportError extends Error {
  override readonly name = 'ReportError'
  readonly code = 'LEDGER_MISMATCH'
}

const CLUSTERS_FOR_INTERVAL = 5
const DAYS_FOR_INTERVAL = 10

export type Analysis = Execution & {
  readonly metrics: readonly Metric[]
  readonly trading: Trading
  readonly bridge: Bridge | null
  readonly funnel: Funnel
  readonly daily: readonly Daily[]
  readonly strategies: readonly StrategyFigures[]
}

export function analyse(record: SessionRecord): Analysis {
  const trading = tradingOf(record)
  reconcile(record, trading)
  reconcileOwners(record, trading)
  const figures = new Figures()
  const daily = dailyEquity(record)
  const mid2 = midsAt(record)
  profit(figures, record, trading.fills, daily)
  trades(figures, trading.episodes)
  risk(figures, record, daily)
  const execution = executionOf(figures, record, trading.fills, mid2)
  forecastScore(record, mid2, (id, label, formula, value, n, reason) =>
    figures.add(id, label, 'ratio', formula, value, n, { reason, text: value.toFixed(4) }),
  )
  return {
    metrics: figures.all,
    trading,
    bridge: bridgeOf(record, trading.fills),
    funnel: funnelOf(record),
    daily,
    strategies: byStrategy(record, trading, mid2, trades),
    ...execution,
  }
}

function reconcile({ header, end }: SessionRecord, { fills, episodes }: Trading): void {
  const net = end.equity - header.cash
  const ofMarkets = end.markets.reduce((a, m) => a + m.pnl, 0)
  const ofEpisodes = episodes.reduce((a, e) => a + e.pnl, 0)
  const ofFills = fills.reduce((a, f) => a + f.fee, 0)
  if (ofMarkets !== net || ofEpisodes !== net || ofFills !== end.fees)
    throw new ReportError(
      `the record does not add up: net P&L ${net}, markets ${ofMarkets}, episodes ${ofEpisodes}; fees ${end.fees}, of fills ${ofFills} (millionths of a dollar)`,
    )
}

/** Each strategy's ledger, kept by the session, against its trades as the report found them. */
function reconcileOwners({ end }: SessionRecord, { fills, episodes }: Trading): void {
  for (const owner of end.owners) {
    const pnl = episodes.reduce((a, e) => a + (e.owner === owner.name ? e.pnl : 0), 0)
    const fees = fills.reduce((a, f) => a + (f.owner === owner.name ? f.fee : 0), 0)
    if (pnl !== owner.pnl || fees !== owner.fees)
      throw new ReportError(
        `the ledger of ${owner.name} does not add up: net P&L ${owner.pnl}, of its trades ${pnl}; fees ${owner.fees}, of its fills ${fees} (millionths of a dollar)`,
      )
  }
}

function profit(f: Figures, { header, end }: SessionRecord, fills: readonly Fill[], daily: readonly Daily[]): void {
  const net = end.equity - header.cash
  const n = fills.length
  const events = new Map<string, number>()
  for (const m of end.markets) if (m.fills > 0) events.set(m.event, (events.get(m.event) ?? 0) + m.pnl)
  // Two ways in which outcomes hang together: markets of an event, and days that follow each other. The wider interval counts.
  const intervals: (readonly [number, number])[] = []
  if (events.size >= CLUSTERS_FOR_INTERVAL) intervals.push(clusterBootstrap([...events.values()]))
  if (daily.length >= DAYS_FOR_INTERVAL) intervals.push(blockBootstrap(daily.map((d) => d.pnl)))
  const interval = intervals.sort((a, b) => b[1] - b[0] - (a[1] - a[0]))[0] ?? null
  f.add(
    'net',
    'Net P&L',
    'money',
    'equity at the end − starting cash; fees paid; open positions at the price they could be closed at; 95 % interval: the wider of whole events resampled (from 5 events) and blocks of days (from 10 days)',
    net,
    n,
    { interval },
  )
  f.add('gross', 'Gross P&L', 'money', 'net P&L + fees', net + end.fees, n)
  f.add('netMid', 'Net P&L at the mid', 'money', 'as net P&L, with open positions at the mid', end.equityMid - header.cash, n)
  const best = end.markets.map((m) => m.pnl).sort((a, b) => b - a)
  const traded = end.markets.filter((m) => m.fills > 0).length
  f.add(
    'netWithoutBest',
    'Net P&L without the best 5 markets',
    'money',
    'net P&L − P&L of the five most profitable markets',
    traded > 5 ? net - best.slice(0, 5).reduce((a, x) => a + Math.max(0, x), 0) : Number.NaN,
    traded,
    { reason: `needs more than 5 traded markets, the data have ${traded}` },
  )
  f.add(
    'fees',
    'Fees',
    'money',
    "Σ fee of fills, by Kalshi's formula: taker 0.07 × M × C × P × (1 − P) rounded up to $0.0001, then the balance rounded to its grid",
    end.fees,
    n,
  )
  const filled = fills.reduce((a, x) => a + x.quantity, 0)
  f.add('feePerContract', 'Fee a contract', 'cents', 'fees ÷ contracts filled', end.fees / filled / 100, n, {
    reason: 'no fills',
    text: `${decimal(end.fees / filled / 100, 2)} ¢`,
  })
  f.add('feeShare', 'Fees ÷ gross profit', 'share', 'fees ÷ gross P&L', net + end.fees > 0 ? end.fees / (net + end.fees) : Number.NaN, n, {
    reason: 'there was no gross profit',
  })
  f.add('contracts', 'Contracts filled', 'quantity', 'Σ contracts of fills', filled, n)
}

function trades(f: Figures, episodes: readonly Episode[]): void {
  const closed = episodes.filter((e) => e.exit !== 'open')
  const wins = closed.filter((e) => e.pnl > 0)
  const losses = closed.filter((e) => e.pnl < 0)
  const decided = wins.length + losses.length
  const average = (list: readonly number[]): number => (list.length === 0 ? Number.NaN : mean([...list]))
  const win = average(wins.map((e) => e.pnl))
  const loss = -average(losses.map((e) => e.pnl))
  f.add(
    'trades',
    'Closed trades',
    'count',
    'a trade runs from flat to flat, or to settlement, at average cost',
    closed.length,
    closed.length,
  )
  f.add(
    'winRate',
    'Win rate',
    'share',
    'trades that made money ÷ trades that made or lost money, net of fees; Wilson 95 %',
    wins.length / decided,
    decided,
    {
      interval: decided === 0 ? null : wilson(wins.length, decided),
      reason: 'no closed trade made or lost money',
    },
  )
  f.add(
    'breakEven',
    'Break-even win rate',
    'share',
    'mean loss ÷ (mean win + mean loss): the win rate at which trades of this size of win and loss earn nothing',
    loss / (win + loss),
    decided,
    {
      reason: decided === 0 ? 'no closed trades' : wins.length === 0 ? 'no winning trade' : 'no losing trade',
    },
  )
  f.add('scratches', 'Scratches', 'count', 'closed trades that made and lost exactly nothing', closed.length - decided, closed.length)
  // Held to settlement: one population for the rate and for what it must beat.
  const settled = closed.filter((e) => e.exit === 'settled' && e.pnl !== 0)
  const rate = settled.filter((e) => e.pnl > 0).length / settled.length
  const cost = average(settled.map((e) => (e.entry + e.fees / e.quantity) / 10_000))
  const none = { reason: 'no trade was held to settlement' }
  f.add(
    'winRateSettled',
    'Win rate, held to settlement',
    'share',
    'as win rate, trades held to settlement only',
    rate,
    settled.length,
    none,
  )
  f.add(
    'breakEvenSettled',
    'Break-even, held to settlement',
    'share',
    'mean (price + fee paid a contract, in dollars), of the same trades',
    cost,
    settled.length,
    none,
  )
  f.add(
    'excessWinRate',
    'Excess win rate, held to settlement',
    'points',
    'win rate − break-even, of the same trades',
    rate - cost,
    settled.length,
    none,
  )
  f.add(
    'expectancy',
    'Mean P&L a trade',
    'money',
    'Σ P&L of closed trades ÷ their number',
    average(closed.map((e) => e.pnl)),
    closed.length,
    {
      reason: 'no closed trades',
    },
  )
  const quantity = closed.reduce((a, e) => a + e.quantity, 0)
  f.add(
    'centsPerContract',
    'P&L a contract',
    'cents',
    'Σ P&L of closed trades ÷ contracts entered',
    closed.reduce((a, e) => a + e.pnl, 0) / quantity / 100,
    closed.length,
    {
      reason: 'no closed trades',
    },
  )
  const gains = wins.reduce((a, e) => a + e.pnl, 0)
  const lost = -losses.reduce((a, e) => a + e.pnl, 0)
  f.add('profitFactor', 'Profit factor', 'ratio', 'Σ gains ÷ Σ losses of closed trades', lost === 0 ? Number.NaN : gains / lost, decided, {
    reason: decided === 0 ? 'no closed trades' : 'no losing trade',
  })
  f.add('payoff', 'Mean win ÷ mean loss', 'ratio', 'mean gain of winning trades ÷ mean loss of losing trades', win / loss, decided, {
    reason: 'needs a winning and a losing trade',
  })
  const held = closed.map((e) => (e.closed ?? 0) - e.opened).sort((a, b) => a - b)
  const half = held.length / 2
  const median = ((held[Math.ceil(half) - 1] ?? Number.NaN) + (held[Math.floor(half)] ?? Number.NaN)) / 2
  f.add('holding', 'Median holding time', 'time', 'median of (closed − opened) over closed trades', median, held.length, {
    reason: 'no closed trades',
  })
}
