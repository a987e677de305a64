/**
 * Charts of a whole session: equity, drawdown, the bridge from gross to net, markets, markouts, time to fill. Owns each chart's form; hides the
 * reduction of its data. Invariant: what is drawn is in the record, and a sign is written, not only colored.
 */
import type { SessionRecord } from '../engine/session.ts'
import type { Bridge } from './bridge.ts'
import type { MarkoutPoint } from './execution.ts'
import type { Analysis } from './metrics.ts'
import { dollarsTick, Plot, svg, thin, timeAxis } from './plot.ts'
import { count, duration, moneySigned } from './words.ts'

/** From the first row of the session to its last, so that two charts below each other share it. */
function axisOf({ equity, end }: SessionRecord): Plot.ScaleOptions {
  const from = end.firstTime ?? equity.time[0] ?? 0
  return timeAxis(from, Math.max(end.lastTime ?? from, equity.time[equity.length - 1] ?? from))
}

export function equityChart(record: SessionRecord): string {
  const { equity, header, end } = record
  const n = equity.length
  const net = new Float64Array(n)
  const gross = new Float64Array(n)
  for (let i = 0; i < n; i++) {
    net[i] = ((equity.liquidation[i] as number) - header.cash) / 1e6
    gross[i] = ((equity.liquidation[i] as number) + (equity.fees[i] as number) - header.cash) / 1e6
  }
  const start = { x: new Date((end.firstTime ?? equity.time[0] ?? 0) / 1000), y: 0 }
  const stop = { x: new Date(Math.max(end.lastTime ?? 0, equity.time[n - 1] ?? 0) / 1000), y: (end.equity - header.cash) / 1e6 }
  return svg({
    ariaLabel: `Net and gross profit over time, ending at ${moneySigned(end.equity - header.cash)} net`,
    x: axisOf(record),
    y: { label: 'P&L, $', tickFormat: dollarsTick, grid: true, nice: true },
    marks: [
      Plot.ruleY([0], { stroke: 'var(--soft)' }),
      ...(end.fees === 0
        ? []
        : [
            Plot.line([start, ...thin(equity.time, gross, n)], {
              x: 'x',
              y: 'y',
              stroke: 'var(--c2)',
              strokeWidth: 1.2,
              strokeDasharray: '4 3',
              curve: 'step-after',
            }),
          ]),
      Plot.line([start, ...thin(equity.time, net, n), stop], {
        x: 'x',
        y: 'y',
        stroke: 'var(--c1)',
        strokeWidth: 1.8,
        curve: 'step-after',
      }),
    ],
  })
}

export function drawdownChart(record: SessionRecord): string {
  const { equity, header, end } = record
  const n = equity.length
  const down = new Float64Array(n)
  let peak = header.cash
  for (let i = 0; i < n; i++) {
    // Both extremes since the sample before: the order inside a second is not kept, so the deeper reading counts.
    down[i] = -Math.max(0, peak - (equity.low[i] as number)) / 1e6
    peak = Math.max(peak, equity.high[i] as number)
  }
  const points = thin(equity.time, down, n)
  return svg({
    ariaLabel: `Drawdown over time, at most ${moneySigned(-end.drawdownMax)}`,
    height: 150,
    x: axisOf(record),
    y: { label: 'drawdown, $', tickFormat: dollarsTick, grid: true, nice: true, ticks: 4 },
    // `y1` and `y2`: with `y` alone the library stacks what falls on one millisecond.
    marks: [Plot.areaY(points, { x: 'x', y1: 0, y2: 'y', fill: 'var(--bad)', fillOpacity: 0.5, curve: 'step-after' })],
  })
}

type Bar = { readonly name: string; readonly from: number; readonly to: number; readonly text: string }
function bars(ariaLabel: string, rows: readonly Bar[], marginLeft: number, label: string | null): string {
  const low = Math.min(0, ...rows.map((r) => Math.min(r.from, r.to)))
  const high = Math.max(0, ...rows.map((r) => Math.max(r.from, r.to)))
  const pad = (high - low || 1) * 0.12
  return svg({
    ariaLabel,
    height: 44 + 22 * rows.length,
    marginTop: 8,
    marginLeft,
    marginRight: 24,
    x: {
      label,
      labelArrow: 'none',
      tickFormat: dollarsTick,
      grid: true,
      ticks: 8,
      domain: [low < 0 ? low - pad : 0, high > 0 ? high + pad : 0],
    },
    y: { label: null, domain: rows.map((r) => r.name), tickSize: 0 },
    marks: [
      Plot.barX(rows, {
        x1: 'from',
        x2: 'to',
        y: 'name',
        fill: (d: Bar) => (d.to >= d.from ? 'var(--good)' : 'var(--bad)'),
        insetTop: 2,
        insetBottom: 2,
      }),
      Plot.ruleX([0], { stroke: 'var(--soft)' }),
      ...[false, true].map((up) =>
        Plot.text(
          rows.filter((r) => r.to >= r.from === up),
          { x: 'to', y: 'name', text: 'text', textAnchor: up ? 'start' : 'end', dx: up ? 4 : -4, fill: 'var(--ink)' },
        ),
      ),
    ],
  })
}

export const MARKET_BARS = 24
export function marketBars({ end }: SessionRecord): string {
  const traded = end.markets.filter((m) => m.fills > 0).sort((a, b) => b.pnl - a.pnl || (a.ticker < b.ticker ? -1 : 1))
  const half = MARKET_BARS / 2
  const shown = traded.length <= MARKET_BARS ? traded : [...traded.slice(0, half), ...traded.slice(-half)]
  const longest = Math.max(...shown.map((m) => m.ticker.length))
  const name = (ticker: string): string => (ticker.length > 34 ? `…${ticker.slice(-33)}` : ticker)
  return bars(
    'Net profit by market',
    shown.map((m) => ({ name: name(m.ticker), from: 0, to: m.pnl / 1e6, text: moneySigned(m.pnl) })),
    20 + 7.4 * Math.min(34, longest),
    'net P&L, $',
  )
}

/** From the edge at the fill to net profit, step by step: each bar starts where the one above it ended. */
export function bridgeChart(b: Bridge): string {
  let at = 0
  const step = (name: string, amount: number): Bar => {
    const from = at
    at += amount
    return { name, from: from / 1e6, to: at / 1e6, text: moneySigned(amount) }
  }
  const rows = [
    step('edge at the fill', b.spread),
    step('the minute after', b.minute),
    step('later, with settlement', b.later),
    step('fees', -b.fees),
    { name: 'net P&L', from: 0, to: b.net / 1e6, text: moneySigned(b.net) },
  ]
  return bars(`Bridge to net profit: ${rows.map((r) => `${r.name} ${r.text}`).join(', ')}`, rows, 160, null)
}

function horizon(us: number): string {
  return us === 0 ? 'fill' : us < 60e6 ? `${us / 1e6} s` : us < 3600e6 ? `${us / 60e6} min` : `${us / 3600e6} h`
}
export function markoutChart(points: readonly MarkoutPoint[]): string {
  const series = (['all', 'maker', 'taker'] as const).map((name) => ({
    name,
    color: name === 'all' ? 'var(--ink)' : name === 'maker' ? 'var(--c1)' : 'var(--c2)',
    points: points.flatMap((p) => {
      const y = name === 'all' ? p.cents : p[name]
      return y === null ? [] : [{ x: horizon(p.horizon), y }]
    }),
  }))
  return svg({
    ariaLabel: `Markout by horizon: ${points.map((p) => `${horizon(p.horizon)} ${p.cents.toFixed(2)} ¢`).join(', ')}`,
    marginTop: 26,
    x: { label: 'after the fill', labelArrow: 'none', domain: points.map((p) => horizon(p.horizon)), type: 'point' },
    y: { label: '¢ a contract', grid: true, nice: true },
    marks: [
      Plot.ruleY([0], { stroke: 'var(--soft)' }),
      ...series.map((s) =>
        Plot.line(s.points, {
          x: 'x',
          y: 'y',
          stroke: s.color,
          strokeWidth: s.name === 'all' ? 2 : 1.3,
          ...(s.name === 'taker' ? { strokeDasharray: '4 3' } : {}),
        }),
      ),
      ...series.map((s) => Plot.dot(s.points, { x: 'x', y: 'y', fill: s.color, r: s.name === 'all' ? 3 : 2.2 })),
      Plot.text(points, {
        x: (p: MarkoutPoint) => horizon(p.horizon),
        text: (p: MarkoutPoint) => `n ${count(p.n)}`,
        frameAnchor: 'top',
        dy: -14,
        fill: 'var(--soft)',
        fontSize: 10.5,
      }),
    ],
  })
}

export function fillTimeChart(curve: Analysis['timeToFill']): string {
  // Up to the time by which nearly all that will ever fill has filled: one late straggler must not squeeze the rest.
  const floor = curve[curve.length - 1]?.survival ?? 1
  const late = curve.find((c) => 1 - c.survival >= 0.99 * (1 - floor))?.time ?? 1
  const [unit, word] = late > 2 * 3600e6 ? [3600e6, 'hours'] : late > 5 * 60e6 ? [60e6, 'minutes'] : [1e6, 'seconds']
  const points = [{ x: 0, y: 0 }, ...curve.filter((c) => c.time <= late).map((c) => ({ x: c.time / unit, y: 1 - c.survival }))]
  const step = Math.max(1, Math.floor(points.length / 300))
  return svg({
    ariaLabel: `Share of resting orders filled by time since acceptance; ${Math.round((1 - floor) * 100)} % at last, ${duration(curve[curve.length - 1]?.time ?? 0)} after acceptance`,
    height: 190,
    x: { label: `${word} since accepted`, labelArrow: 'none', grid: true },
    y: { label: 'share filled', domain: [0, 1], tickFormat: (x: number) => `${Math.round(x * 100)} %`, grid: true, ticks: 5 },
    marks: [
      Plot.ruleY([0.5], { stroke: 'var(--soft)', strokeDasharray: '2 4' }),
      Plot.line(
        points.filter((_, i) => i % step === 0 || i === points.length - 1),
        { x: 'x', y: 'y', stroke: 'var(--c1)', strokeWidth: 1.8, curve: 'step-after' },
      ),
    ],
  })
}
