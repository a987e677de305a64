/**
 * Every number of a report, once: terminal, JSON and HTML read them here. Owns the formulas (shown beside each value) and the reasons for what does not exist. Invariant:
 * a value that is undefined is null with a reason, never zero or infinity; the parts add up to the whole or the report is refused.
 */
import { JournalKind } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'
import { DAY } from '../engine/units.ts'
import { tradingOf, type Episode, type Fill, type Trading } from './episodes.ts'
import { clusterBootstrap, kaplanMeier, mean, moments, probabilisticSharpe, sharpeError, survivalQuantile, wilson } from './statistics.ts'

export type Metric = {
  readonly id: string
  readonly label: string
  readonly value: number | null
  readonly text: string
  /** What it is a figure of: how many observations. */
  readonly n: number | null
  readonly formula: string
  readonly interval: readonly [number, number] | null
  readonly reason: string | null
}

/** The record contradicts itself: a report must not be made of it. */
export class ReportError extends Error {
  override readonly name = 'ReportError'
  readonly code = 'LEDGER_MISMATCH'
}

const DAYS_A_YEAR = 365
const DAYS_FOR_RATIOS = 30

export type MarkoutPoint = {
  readonly horizon: number
  readonly cents: number
  readonly n: number
  readonly maker: number | null
  readonly taker: number | null
}
export type Analysis = {
  readonly metrics: readonly Metric[]
  readonly trading: Trading
  readonly markouts: readonly MarkoutPoint[]
  readonly timeToFill: readonly { readonly time: number; readonly survival: number }[]
  readonly refusals: readonly { readonly reason: string; readonly count: number }[]
  readonly rejections: readonly { readonly reason: string; readonly count: number }[]
  readonly daily: readonly { readonly day: number; readonly equity: number; readonly pnl: number }[]
  readonly byReason: readonly { readonly why: string; readonly fills: number; readonly contracts: number }[]
}

export function money(units: number): string {
  const sign = units < 0 ? '−' : ''
  const cents = Math.round(Math.abs(units) / 10_000)
  const whole = Math.floor(cents / 100)
  return `${cents === 0 ? '' : sign}$${whole.toLocaleString('en-US')}.${String(cents % 100).padStart(2, '0')}`
}
export function percent(x: number, digits = 1): string {
  return `${(x * 100).toFixed(digits)} %`
}

export function analyse(record: SessionRecord): Analysis {
  const { header, end, journal: j, strings } = record
  const trading = tradingOf(record)
  const { fills, episodes } = trading
  const net = end.equity - header.cash
  const sumMarkets = end.markets.reduce((a, m) => a + m.pnl, 0)
  const sumEpisodes = episodes.reduce((a, e) => a + e.pnl, 0)
  const sumFees = fills.reduce((a, f) => a + f.fee, 0)
  if (sumMarkets !== net || sumEpisodes !== net || sumFees !== end.fees) {
    throw new ReportError(
      `the record does not add up: net P&L ${net}, markets ${sumMarkets}, episodes ${sumEpisodes}; fees ${end.fees}, of fills ${sumFees} (millionths of a dollar)`,
    )
  }
  const metrics: Metric[] = []
  const add = (
    id: string,
    label: string,
    formula: string,
    value: number | null,
    show: (x: number) => string,
    n: number | null,
    more: { interval?: readonly [number, number] | null; reason?: string } = {},
  ): void => {
    const exists = value !== null && Number.isFinite(value)
    metrics.push({
      id,
      label,
      formula,
      n,
      value: exists ? value : null,
      text: exists ? show(value) : 'n/a',
      interval: exists ? (more.interval ?? null) : null,
      reason: exists ? null : (more.reason ?? 'undefined for these data'),
    })
  }
  const dollars = (x: number): string => money(x)

  // Profit.
  const events = new Map<string, number>()
  for (const m of end.markets) if (m.fills > 0) events.set(m.event, (events.get(m.event) ?? 0) + m.pnl)
  const clusters = [...events.values()]
  add(
    'net',
    'Net P&L',
    'equity at the end − starting cash; fees paid; open positions at the price they could be closed at; interval: events resampled whole, 95 %',
    net,
    dollars,
    fills.length,
    {
      interval: clusters.length >= 5 ? clusterBootstrap(clusters) : null,
    },
  )
  add('gross', 'Gross P&L', 'net P&L + fees', net + end.fees, dollars, fills.length)
  add('netMid', 'Net P&L at the mid', 'as net P&L, with open positions at the mid', end.equityMid - header.cash, dollars, fills.length)
  add(
    'fees',
    'Fees',
    'Σ fee of fills: taker 0.07 × M × C × P × (1 − P) rounded up to $0.0001, then the balance rounded to its grid',
    end.fees,
    dollars,
    fills.length,
  )
  const contracts = fills.reduce((a, f) => a + f.quantity, 0)
  add(
    'feePerContract',
    'Fee a contract',
    'fees ÷ contracts filled',
    contracts === 0 ? null : end.fees / contracts,
    (x) => `${(x / 100).toFixed(2)} ¢`,
    fills.length,
    { reason: 'no fills' },
  )
  add('contracts', 'Contracts filled', 'Σ contracts of fills', contracts, (x) => (x / 100).toLocaleString('en-US'), fills.length)

  // Trades.
  const closed = episodes.filter((e) => e.exit !== 'open')
  const wins = closed.filter((e) => e.pnl > 0)
  const losses = closed.filter((e) => e.pnl < 0)
  const decided = wins.length + losses.length
  add(
    'winRate',
    'Win rate',
    'trades that made money ÷ trades that made or lost money; a trade runs from flat to flat or to settlement; Wilson 95 %',
    decided === 0 ? null : wins.length / decided,
    percent,
    decided,
    {
      interval: decided === 0 ? null : wilson(wins.length, decided),
      reason: 'no closed trade made or lost money',
    },
  )
  const win = wins.length === 0 ? Number.NaN : mean(wins.map((e) => e.pnl))
  const loss = losses.length === 0 ? Number.NaN : -mean(losses.map((e) => e.pnl))
  add(
    'breakEven',
    'Break-even win rate',
    'mean loss ÷ (mean win + mean loss): above it these trades earn money',
    decided === 0 ? null : loss / (win + loss),
    percent,
    decided,
    {
      reason: decided === 0 ? 'no closed trades' : wins.length === 0 ? 'no winning trade' : 'no losing trade',
    },
  )
  const settled = closed.filter((e) => e.exit === 'settled' && e.quantity > 0)
  const settledDecided = settled.filter((e) => e.pnl !== 0)
  const cost = settled.length === 0 ? Number.NaN : mean(settled.map((e) => e.entry / 10_000 + e.fees / e.quantity / 10_000))
  add(
    'excessWinRate',
    'Excess win rate, held to settlement',
    'win rate − mean(price + fee paid a contract), for trades held to settlement',
    settledDecided.length === 0 ? null : settledDecided.filter((e) => e.pnl > 0).length / settledDecided.length - cost,
    (x) => `${(x * 100).toFixed(1)} points`,
    settledDecided.length,
    {
      reason: 'no trade was held to settlement',
    },
  )
  add('trades', 'Closed trades', 'flat to flat, or to settlement', closed.length, (x) => x.toLocaleString('en-US'), closed.length)
  add(
    'expectancy',
    'Mean P&L a trade',
    'Σ P&L of closed trades ÷ their number',
    closed.length === 0 ? null : mean(closed.map((e) => e.pnl)),
    dollars,
    closed.length,
    { reason: 'no closed trades' },
  )
  add(
    'profitFactor',
    'Profit factor',
    'Σ gains ÷ Σ losses',
    losses.length === 0 ? null : wins.reduce((a, e) => a + e.pnl, 0) / -losses.reduce((a, e) => a + e.pnl, 0),
    (x) => x.toFixed(2),
    decided,
    { reason: 'no losing trade' },
  )
  add(
    'payoff',
    'Mean win ÷ mean loss',
    'mean gain of winning trades ÷ mean loss of losing trades',
    decided === 0 ? null : win / loss,
    (x) => x.toFixed(2),
    decided,
    { reason: 'needs a winning and a losing trade' },
  )
  const held = closed.map((e) => (e.closed ?? 0) - e.opened).sort((a, b) => a - b)
  add(
    'holding',
    'Median holding time',
    'median of (closed − opened) over closed trades',
    held.length === 0 ? null : (held[Math.floor(held.length / 2)] as number),
    duration,
    held.length,
    { reason: 'no closed trades' },
  )

  // Risk and return.
  const daily = dailyEquity(record)
  const returns = daily.map((d, i) => d.pnl / (i === 0 ? header.cash : (daily[i - 1] as { equity: number }).equity))
  const short = `needs ${DAYS_FOR_RATIOS} days, the data have ${returns.length}`
  const enough = returns.length >= DAYS_FOR_RATIOS
  const m = enough ? moments(returns) : { sharpe: Number.NaN, skew: 0, kurtosis: 3, deviation: Number.NaN }
  const flat = enough && m.deviation === 0 ? 'every day had the same return' : short
  add(
    'sharpe',
    'Sharpe ratio',
    'mean ÷ deviation (n − 1) of daily returns × √365; all calendar days count (UTC), idle ones too; risk-free rate 0; interval ± 1.96 standard errors',
    enough ? m.sharpe * Math.sqrt(DAYS_A_YEAR) : null,
    (x) => x.toFixed(2),
    returns.length,
    {
      reason: flat,
      interval: enough
        ? [
            (m.sharpe - 1.96 * sharpeError(m.sharpe, returns.length, m.skew, m.kurtosis)) * Math.sqrt(DAYS_A_YEAR),
            (m.sharpe + 1.96 * sharpeError(m.sharpe, returns.length, m.skew, m.kurtosis)) * Math.sqrt(DAYS_A_YEAR),
          ]
        : null,
    },
  )
  add(
    'psr',
    'Probability that Sharpe > 0',
    'probabilistic Sharpe ratio of one trial (skew and kurtosis counted)',
    enough ? probabilisticSharpe(m.sharpe, 0, returns.length, m.skew, m.kurtosis) : null,
    percent,
    returns.length,
    { reason: flat },
  )
  const down = enough ? Math.sqrt(returns.reduce((a, r) => a + Math.min(0, r) ** 2, 0) / returns.length) : Number.NaN
  add(
    'sortino',
    'Sortino ratio',
    'mean daily return ÷ √(Σ min(0, r)² ÷ all days) × √365',
    enough && down > 0 ? (mean(returns) / down) * Math.sqrt(DAYS_A_YEAR) : null,
    (x) => x.toFixed(2),
    returns.length,
    { reason: enough ? 'no losing day' : short },
  )
  add('totalReturn', 'Return on starting cash', 'net P&L ÷ starting cash', net / header.cash, (x) => percent(x, 2), returns.length)
  add(
    'drawdown',
    'Largest drawdown',
    'largest fall of equity (liquidation) below its highest value so far, at every change',
    end.drawdownMax,
    dollars,
    record.equity.length,
  )
  const { dollarDays, peak } = capital(record)
  add(
    'perDollarDay',
    'Return a dollar-day',
    'net P&L ÷ ∫ value of positions and their collateral dt, a day',
    dollarDays > 0 && enough ? net / dollarDays : null,
    (x) => percent(x, 2),
    returns.length,
    { reason: dollarDays > 0 ? short : 'no capital was ever committed' },
  )
  add('capitalPeak', 'Most capital committed', 'largest value of positions with their collateral', peak, dollars, record.equity.length)
  add(
    'exposure',
    'Worst loss ever open',
    'largest loss if everything held and working went against us, P&L so far included',
    maximum(record.equity.exposure, record.equity.length),
    dollars,
    record.equity.length,
    { reason: 'nothing was ever at risk' },
  )
  add(
    'stress',
    'Stress at the end',
    'loss from here if every open position settles against us',
    end.stressLoss,
    dollars,
    end.markets.filter((x) => x.position !== 0).length,
  )

  // Execution.
  const orders = ordersOf(record)
  const accepted = orders.filter((o) => o.accepted !== null)
  const withFill = accepted.filter((o) => o.firstFill !== null).length
  add('orders', 'Orders', 'orders sent (amends are not new orders)', end.orders, (x) => x.toLocaleString('en-US'), end.orders)
  add(
    'fillRate',
    'Fill rate',
    'accepted orders with any fill ÷ accepted orders',
    accepted.length === 0 ? null : withFill / accepted.length,
    percent,
    accepted.length,
    { reason: 'no order was accepted' },
  )
  const placed = accepted.reduce((a, o) => a + o.quantity, 0)
  add(
    'fillRateContracts',
    'Fill rate by contracts',
    'contracts filled ÷ contracts placed',
    placed === 0 ? null : accepted.reduce((a, o) => a + o.filled, 0) / placed,
    percent,
    accepted.length,
    { reason: 'no order was accepted' },
  )
  const makers = fills.filter((f) => f.maker)
  add(
    'makerShare',
    'Contracts filled as maker',
    'contracts of maker fills ÷ contracts filled',
    contracts === 0 ? null : makers.reduce((a, f) => a + f.quantity, 0) / contracts,
    percent,
    fills.length,
    { reason: 'no fills' },
  )
  const resting = accepted.filter((o) => o.rests)
  const curve = kaplanMeier(
    resting.map((o) => ({ time: (o.firstFill ?? o.ended ?? end.lastTime ?? 0) - (o.accepted ?? 0), event: o.firstFill !== null })),
  )
  const median = survivalQuantile(curve, 0.5)
  add(
    'timeToFill',
    'Median time to first fill',
    'Kaplan–Meier over resting orders; a canceled order counts as not filled until then',
    Number.isNaN(median) ? null : median,
    duration,
    resting.length,
    {
      reason: resting.length === 0 ? 'no resting orders' : 'fewer than half of the resting orders would be filled',
    },
  )
  const refusals = counts(end.refusals)
  const rejections = counts(end.rejections)
  add(
    'refusals',
    'Refusals by risk',
    'wishes that a limit refused; a wish repeated while refused counts each time',
    refusals.reduce((a, r) => a + r.count, 0),
    (x) => x.toLocaleString('en-US'),
    end.signals,
  )
  add(
    'rejections',
    'Rejections by the venue',
    'commands that the venue refused',
    rejections.reduce((a, r) => a + r.count, 0),
    (x) => x.toLocaleString('en-US'),
    end.orders,
  )
  add('signals', 'Signals', 'wishes stated by the strategy, on change', end.signals, (x) => x.toLocaleString('en-US'), end.rows)

  const markouts = markoutsOf(record, fills)
  const minute = markouts.find((x) => x.horizon === 60_000_000)
  add(
    'markout',
    'Markout after a minute',
    's × (mid a minute after the fill − price), ¢ a contract, weighted by contracts, before fees',
    minute === undefined || minute.n === 0 ? null : minute.cents,
    (x) => `${x >= 0 ? '+' : '−'}${Math.abs(x).toFixed(2)} ¢`,
    minute?.n ?? 0,
    { reason: 'no fill had a mid a minute later' },
  )
  const reasons = new Map<string, { fills: number; contracts: number }>()
  for (const f of fills) {
    const r = reasons.get(f.why) ?? { fills: 0, contracts: 0 }
    r.fills++
    r.contracts += f.quantity
    reasons.set(f.why, r)
  }
  forecasts(record, add, j, strings)
  return {
    metrics,
    trading,
    markouts,
    timeToFill: curve,
    refusals,
    rejections,
    daily,
    byReason: [...reasons].sort((a, b) => b[1].fills - a[1].fills).map(([why, r]) => ({ why, ...r })),
  }
}

export function duration(microseconds: number): string {
  const s = microseconds / 1e6
  if (s < 1) return `${Math.round(s * 1000)} ms`
  if (s < 120) return `${s.toFixed(1)} s`
  if (s < 7200) return `${(s / 60).toFixed(1)} min`
  return s < 172_800 ? `${(s / 3600).toFixed(1)} h` : `${(s / 86_400).toFixed(1)} days`
}

function counts(record: Readonly<Record<string, number>>): { reason: string; count: number }[] {
  return Object.entries(record)
    .map(([reason, count]) => ({ reason, count }))
    .sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1))
}
function maximum(column: Float64Array, length: number): number | null {
  let best: number | null = null
  for (let i = 0; i < length; i++) if (best === null || (column[i] as number) > best) best = column[i] as number
  return best
}

/** Equity at the end of each UTC day, first to last, days without a change included. */
function dailyEquity({ header, end, equity }: SessionRecord): { day: number; equity: number; pnl: number }[] {
  if (end.firstTime === null || end.lastTime === null) return []
  const first = Math.floor(Math.max(end.firstTime, header.selection.from ?? 0) / DAY)
  const last = Math.floor(end.lastTime / DAY)
  const days: { day: number; equity: number; pnl: number }[] = []
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

/** ∫ (equity − cash) dt in dollar-days (Money × days), and its largest value. */
function capital({ equity, end }: SessionRecord): { dollarDays: number; peak: number } {
  let sum = 0
  let peak = 0
  for (let i = 0; i < equity.length; i++) {
    const until = i + 1 < equity.length ? (equity.time[i + 1] as number) : Math.max(end.lastTime ?? 0, equity.time[i] as number)
    const committed = (equity.liquidation[i] as number) - (equity.cash[i] as number)
    sum += (committed * (until - (equity.time[i] as number))) / DAY
    if (committed > peak) peak = committed
  }
  return { dollarDays: sum, peak }
}

type OrderFacts = {
  accepted: number | null
  firstFill: number | null
  ended: number | null
  quantity: number
  filled: number
  rests: boolean
}
export function ordersOf({ journal: j, strings }: SessionRecord): OrderFacts[] {
  const orders = new Map<number, OrderFacts>()
  for (let i = 0; i < j.length; i++) {
    const kind = j.kind[i]
    const id = j.order[i] as number
    if (id < 0) continue
    const what = strings[j.what[i] as number] ?? ''
    if (kind === JournalKind.COMMAND && what.startsWith('submit')) {
      orders.set(id, {
        accepted: null,
        firstFill: null,
        ended: null,
        quantity: j.quantity[i] as number,
        filled: 0,
        rests: what === 'submit-gtc',
      })
      continue
    }
    const o = orders.get(id)
    if (o === undefined) continue
    if (kind === JournalKind.ANSWER) {
      if (what === 'accepted') o.accepted = j.a[i] as number
      else if (what.startsWith('canceled')) o.ended = j.a[i] as number
    } else if (kind === JournalKind.FILL) {
      o.filled += j.quantity[i] as number
      o.firstFill ??= j.b[i] as number
    }
  }
  return [...orders.values()]
}

function markoutsOf({ markouts: m }: SessionRecord, fills: readonly Fill[]): MarkoutPoint[] {
  type Sum = { weight: number; cents: number; n: number; makerWeight: number; maker: number; takerWeight: number; taker: number }
  const sums = new Map<number, Sum>()
  for (let i = 0; i < m.length; i++) {
    const mid2 = m.mid2[i] as number
    const fill = fills[m.fill[i] as number]
    if (mid2 < 0 || fill === undefined) continue
    const horizon = m.horizon[i] as number
    const s = sums.get(horizon) ?? { weight: 0, cents: 0, n: 0, makerWeight: 0, maker: 0, takerWeight: 0, taker: 0 }
    const edge = ((fill.side === 'bid' ? 1 : -1) * (mid2 / 2 - fill.price)) / 100
    s.weight += fill.quantity
    s.cents += edge * fill.quantity
    s.n++
    if (fill.maker) {
      s.makerWeight += fill.quantity
      s.maker += edge * fill.quantity
    } else {
      s.takerWeight += fill.quantity
      s.taker += edge * fill.quantity
    }
    sums.set(horizon, s)
  }
  return [...sums]
    .sort((a, b) => a[0] - b[0])
    .map(([horizon, s]) => ({
      horizon,
      cents: s.cents / s.weight,
      n: s.n,
      maker: s.makerWeight === 0 ? null : s.maker / s.makerWeight,
      taker: s.takerWeight === 0 ? null : s.taker / s.takerWeight,
    }))
}

/** Brier score of the first forecast in each market that was determined, refused below 50. */
function forecasts(
  record: SessionRecord,
  add: (
    id: string,
    label: string,
    formula: string,
    value: number | null,
    show: (x: number) => string,
    n: number | null,
    more?: { reason?: string },
  ) => void,
  j: SessionRecord['journal'],
  strings: readonly string[],
): void {
  const first = new Map<string, number>()
  for (let i = 0; i < j.length; i++) {
    if (j.kind[i] !== JournalKind.FORECAST) continue
    const market = strings[j.market[i] as number] ?? ''
    if (!first.has(market)) first.set(market, j.value[i] as number)
  }
  if (first.size === 0) return
  const outcomes = new Map(
    record.end.markets.filter((m) => m.settlementValue !== null).map((m) => [m.ticker, (m.settlementValue as number) / 10_000]),
  )
  const pairs = [...first].filter(([m]) => outcomes.has(m)).map(([m, f]) => (f - (outcomes.get(m) as number)) ** 2)
  add(
    'brier',
    'Brier score',
    'mean (forecast − outcome)², the first forecast of each traded market',
    pairs.length < 50 ? null : mean(pairs),
    (x) => x.toFixed(4),
    pairs.length,
    { reason: `needs 50 outcomes, the data have ${pairs.length}` },
  )
}

/** How a person says a fill: what was bought or sold, in YES and NO. `before` is the position it met. */
export function say(fill: Fill): string {
  const p = (x: number): string => `${(x / 100).toFixed(2).replace(/\.?0+$/, '')}¢`
  if (fill.side === 'bid') return fill.before < 0 ? `sell NO at ${p(10_000 - fill.price)}` : `buy YES at ${p(fill.price)}`
  return fill.before > 0 ? `sell YES at ${p(fill.price)}` : `buy NO at ${p(10_000 - fill.price)}`
}

export function episodeText(e: Episode): string {
  const p = (x: number): string => `${(x / 100).toFixed(2)}¢`
  return `${e.side} ${(e.quantity / 100).toLocaleString('en-US')} at ${p(e.entry)}${e.exitPrice === null ? '' : ` → ${e.exit === 'settled' ? 'settled ' : ''}${p(e.exitPrice)}`}`
}
