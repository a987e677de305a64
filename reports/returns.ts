/**
 * Equity over time: its day ends, its falls and the capital it tied up. Owns the reduction of the equity table; hides the walk. Invariant:
 * every calendar day (UTC) of the session counts, idle ones too, and the first is measured from the starting cash.
 */
import type { SessionRecord } from '../engine/session.ts'
import { DAY } from '../engine/units.ts'
import type { Figures } from './figures.ts'
import { duration, plural } from './words.ts'
import { mean, moments, probabilisticSharpe, sharpeError, Z95 } from './statistics.ts'

const DAYS_A_YEAR = 365
const DAYS_FOR_RATIOS = 30
const DAYS_FOR_ANNUAL = 90

export type Daily = { readonly day: number; readonly equity: number; readonly pnl: number }

/** Equity (Money, liquidation) at the end of each UTC day, first to last. */
export function dailyEquity({ header, end, equity }: SessionRecord): Daily[] {
  if (end.firstTime === null || end.lastTime === null) return []
  const first = Math.floor(Math.max(end.firstTime, header.selection.from ?? 0) / DAY)
  const last = Math.floor(end.lastTime / DAY)
  const days: Daily[] = []
  let at = 0
  let value = header.cash
  for (let day = first; day <= last; day++) {
    const before = value
    while (at < equity.length && (equity.time[at] as number) < (day + 1) * DAY) value = equity.liquidation[at++] as number
    if (day === last) value = end.equity
    days.push({ day, equity: value, pnl: value - before })
  }
  return days
}

/** How much there is: calendar days, and below one day the time itself, of which one day would say too much. */
export function spanText({ end }: SessionRecord, days: number): string {
  const span = (end.lastTime ?? 0) - (end.firstTime ?? 0)
  return span < DAY ? duration(span) : plural(days, 'day')
}

/** ∫ (equity − free cash) dt in Money × days, and its largest value. */
function capital({ equity, end }: SessionRecord): { readonly dollarDays: number; readonly peak: number } {
  let sum = 0
  let peak = 0
  for (let i = 0; i < equity.length; i++) {
    const from = equity.time[i] as number
    const until = i + 1 < equity.length ? (equity.time[i + 1] as number) : Math.max(end.lastTime ?? 0, from)
    const committed = (equity.liquidation[i] as number) - (equity.cash[i] as number)
    sum += (committed * (until - from)) / DAY
    if (committed > peak) peak = committed
  }
  return { dollarDays: sum, peak }
}

/** Deepest fall as a share of the peak before it, and the longest time spent below a peak (µs; an unrecovered one counts to the end). */
function underwater({ header, equity, end }: SessionRecord): { readonly share: number; readonly longest: number } {
  let peak = header.cash
  let since = end.firstTime ?? 0
  let share = 0
  let longest = 0
  for (let i = 0; i < equity.length; i++) {
    const time = equity.time[i] as number
    // Both extremes since the sample before: the order inside a second is not kept, so the deeper reading counts.
    if (peak > 0) share = Math.max(share, (peak - (equity.low[i] as number)) / peak)
    if ((equity.high[i] as number) >= peak) {
      peak = equity.high[i] as number
      since = time
    } else longest = Math.max(longest, time - since)
  }
  if (end.equity < peak && end.lastTime !== null) longest = Math.max(longest, end.lastTime - since)
  return { share, longest }
}

function maximum(column: Float64Array, length: number): number | null {
  let best: number | null = null
  for (let i = 0; i < length; i++) if (best === null || (column[i] as number) > best) best = column[i] as number
  return best
}

/** Ratios of daily returns, falls, capital and what could be lost. */
export function risk(f: Figures, record: SessionRecord, daily: readonly Daily[]): void {
  const { header, end } = record
  const net = end.equity - header.cash
  const returns = daily.map((d, i) => d.pnl / (i === 0 ? header.cash : (daily[i - 1] as Daily).equity))
  const days = returns.length
  const enough = days >= DAYS_FOR_RATIOS
  const m = enough ? moments(returns) : { sharpe: Number.NaN, skew: 0, kurtosis: 3, deviation: Number.NaN }
  const year = Math.sqrt(DAYS_A_YEAR)
  const reason = enough ? 'every day had the same return' : `needs ${DAYS_FOR_RATIOS} days, the data have ${spanText(record, days)}`
  const error = enough ? Z95 * sharpeError(m.sharpe, days, m.skew, m.kurtosis) : 0
  f.add(
    'sharpe',
    'Sharpe ratio',
    'ratio',
    'mean ÷ deviation (n − 1) of daily returns × √365; every calendar day counts (UTC), idle ones too; risk-free rate 0; interval: 1.96 standard errors, skew and kurtosis counted',
    m.sharpe * year,
    days,
    { reason, interval: [(m.sharpe - error) * year, (m.sharpe + error) * year] },
  )
  f.add(
    'psr',
    'Probability that Sharpe > 0',
    'share',
    'probabilistic Sharpe ratio of one trial (Bailey and López de Prado 2012); trying several settings lowers it',
    enough ? probabilisticSharpe(m.sharpe, 0, days, m.skew, m.kurtosis) : Number.NaN,
    days,
    { reason },
  )
  const down = enough ? Math.sqrt(returns.reduce((a, r) => a + Math.min(0, r) ** 2, 0) / days) : Number.NaN
  f.add(
    'sortino',
    'Sortino ratio',
    'ratio',
    'mean daily return ÷ √(Σ min(0, r)² ÷ all days) × √365',
    down > 0 ? (mean(returns) / down) * year : Number.NaN,
    days,
    {
      reason: enough ? 'no losing day' : reason,
    },
  )
  const annual = { reason: `annualized figures need ${DAYS_FOR_ANNUAL} days, the data have ${spanText(record, days)}` }
  const whole = days >= DAYS_FOR_ANNUAL
  f.add(
    'volatility',
    'Volatility a year',
    'share',
    'deviation (n − 1) of daily returns × √365',
    whole ? m.deviation * year : Number.NaN,
    days,
    annual,
  )
  f.add(
    'growth',
    'Growth a year',
    'share',
    '(equity at the end ÷ starting cash)^(365 ÷ days) − 1',
    whole ? (end.equity / header.cash) ** (DAYS_A_YEAR / days) - 1 : Number.NaN,
    days,
    annual,
  )
  f.add('totalReturn', 'Return on starting cash', 'share', 'net P&L ÷ starting cash', net / header.cash, days)
  const n = record.equity.length
  const { share, longest } = underwater(record)
  f.add(
    'drawdown',
    'Largest drawdown',
    'money',
    'largest fall of equity (liquidation) below its highest value so far, at every change',
    end.drawdownMax,
    n,
  )
  f.add('drawdownShare', 'Largest drawdown, share of the peak', 'share', 'largest (peak − equity) ÷ peak, at every sample', share, n)
  f.add(
    'drawdownTime',
    'Longest time under water',
    'time',
    'longest time below a peak of equity; one not recovered counts to the end',
    n === 0 ? Number.NaN : longest,
    n,
    {
      reason: 'equity never changed',
    },
  )
  const { dollarDays, peak } = capital(record)
  // A rate by the day: of minutes it says what no day would earn.
  const idle = { reason: dollarDays > 0 ? reason : 'no capital was ever committed' }
  f.add(
    'perDollarDay',
    'Return a dollar-day',
    'share',
    'net P&L ÷ ∫ value of positions and their collateral dt, in dollar-days: what a dollar tied up for a day earned',
    dollarDays > 0 && enough ? net / dollarDays : Number.NaN,
    n,
    idle,
  )
  f.add('dollarDays', 'Dollar-days committed', 'money', '∫ value of positions and their collateral dt', dollarDays, n)
  f.add('capitalPeak', 'Most capital committed', 'money', 'largest value of positions with their collateral', peak, n)
  f.add(
    'exposure',
    'Worst loss ever open',
    'money',
    'largest loss if everything held and working went against us, P&L so far included',
    maximum(record.equity.exposure, n) ?? Number.NaN,
    n,
    {
      reason: 'nothing was ever at risk',
    },
  )
  f.add(
    'stress',
    'Stress at the end',
    'money',
    'loss from here if every open position settles against us',
    end.stressLoss,
    end.markets.filter((x) => x.position !== 0).length,
  )
}
