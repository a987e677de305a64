/**
 * Charts as static SVG: readable with scripts off, in print, in light and dark. Owns each chart's form and the downsampling; hides the library. Colours are CSS variables of
 * the page. Invariant: what is drawn is in the record; thinning keeps the extremes of every pixel column.
 */
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { JournalKind } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'
import type { Fill } from './episodes.ts'
import type { Analysis, MarkoutPoint } from './metrics.ts'

const { document } = parseHTML('<!doctype html><html><body></body></html>')
const WIDTH = 920
const COLUMNS = 460

type Point = { x: Date; y: number }

function svg(options: Plot.PlotOptions): string {
  const node = Plot.plot({
    document: document as unknown as Document,
    width: WIDTH,
    height: 240,
    marginLeft: 64,
    marginRight: 16,
    marginBottom: 34,
    style: { background: 'none', color: 'var(--ink)', fontFamily: 'inherit', fontSize: '12px', overflow: 'visible' },
    ...options,
  } as Plot.PlotOptions)
  // One width for the file, any width on the screen. Class names are counted by the library over the process; a report needs them the same every time.
  return (node as unknown as { outerHTML: string }).outerHTML
    .replaceAll(/plot-[0-9a-f]+/g, 'plot')
    .replace(/<style>[\s\S]*?<\/style>/g, '')
    .replace('<svg ', '<svg role="img" ')
}

/** M4: of each of `COLUMNS` equal spans the first, lowest, highest and last value. */
export function thin(times: Float64Array, values: Float64Array, length: number): Point[] {
  const points: Point[] = []
  const at = (i: number): Point => ({ x: new Date((times[i] as number) / 1000), y: values[i] as number })
  if (length <= COLUMNS * 4) {
    for (let i = 0; i < length; i++) points.push(at(i))
    return points
  }
  const first = times[0] as number
  const span = Math.max(1, (times[length - 1] as number) - first)
  let i = 0
  while (i < length) {
    const column = Math.floor((((times[i] as number) - first) / span) * COLUMNS)
    const start = i
    let low = i
    let high = i
    while (i < length && Math.floor((((times[i] as number) - first) / span) * COLUMNS) === column) {
      if ((values[i] as number) < (values[low] as number)) low = i
      if ((values[i] as number) > (values[high] as number)) high = i
      i++
    }
    for (const k of [...new Set([start, low, high, i - 1])].sort((a, b) => a - b)) points.push(at(k))
  }
  return points
}

const dollarsTick = (x: number): string =>
  `${x < 0 ? '−' : ''}$${Math.abs(x).toLocaleString('en-US', { maximumFractionDigits: Math.abs(x) < 10 ? 2 : 0 })}`

/** From the first row of the session to the last sample: two charts that stand below each other share it. */
function spanOf(times: Float64Array, length: number, first: number | null): Date[] {
  return [new Date((first ?? times[0] ?? 0) / 1000), new Date((times[length - 1] ?? first ?? 0) / 1000)]
}

export function equityChart({ equity, header, end }: SessionRecord): string {
  const n = equity.length
  const net = new Float64Array(n)
  const gross = new Float64Array(n)
  for (let i = 0; i < n; i++) {
    net[i] = ((equity.liquidation[i] as number) - header.cash) / 1e6
    gross[i] = ((equity.liquidation[i] as number) + (equity.fees[i] as number) - header.cash) / 1e6
  }
  const start = { x: new Date((end.firstTime ?? 0) / 1000), y: 0 }
  return svg({
    ariaLabel: 'Net and gross profit over time',
    x: { type: 'utc', label: null, domain: spanOf(equity.time, n, end.firstTime) },
    y: { label: 'P&L, $', tickFormat: dollarsTick, grid: true, nice: true },
    marks: [
      Plot.ruleY([0], { stroke: 'var(--faint)' }),
      Plot.line([start, ...thin(equity.time, gross, n)], {
        x: 'x',
        y: 'y',
        stroke: 'var(--c2)',
        strokeWidth: 1.2,
        strokeDasharray: '4 3',
        curve: 'step-after',
      }),
      Plot.line([start, ...thin(equity.time, net, n)], { x: 'x', y: 'y', stroke: 'var(--c1)', strokeWidth: 1.8, curve: 'step-after' }),
    ],
  })
}

export function drawdownChart({ equity, header, end }: SessionRecord): string {
  const n = equity.length
  const down = new Float64Array(n)
  let peak = header.cash
  for (let i = 0; i < n; i++) {
    // Both extremes since the sample before: the order inside a second is not kept, so the deeper reading counts.
    const low = equity.low[i] as number
    down[i] = -Math.max(0, peak - low) / 1e6
    peak = Math.max(peak, equity.high[i] as number)
  }
  return svg({
    ariaLabel: 'Drawdown over time',
    height: 130,
    x: { type: 'utc', label: null, domain: spanOf(equity.time, n, end.firstTime) },
    y: { label: 'drawdown, $', tickFormat: dollarsTick, grid: true, nice: true, ticks: 4 },
    marks: [
      Plot.areaY(thin(equity.time, down, n), { x: 'x', y: 'y', fill: 'var(--bad)', fillOpacity: 0.25, curve: 'step-after' }),
      Plot.line(thin(equity.time, down, n), { x: 'x', y: 'y', stroke: 'var(--bad)', strokeWidth: 1.2, curve: 'step-after' }),
    ],
  })
}

export function marketBars({ end }: SessionRecord): string {
  const traded = end.markets.filter((m) => m.fills > 0).sort((a, b) => b.pnl - a.pnl)
  const shown = traded.length <= 24 ? traded : [...traded.slice(0, 12), ...traded.slice(-12)]
  const rows = shown.map((m) => ({ market: m.ticker, pnl: m.pnl / 1e6 }))
  return svg({
    ariaLabel: 'Profit by market',
    height: 40 + 22 * rows.length,
    marginLeft: 250,
    marginRight: 70,
    x: { label: 'net P&L, $', tickFormat: dollarsTick, grid: true, nice: true },
    y: { label: null, domain: rows.map((r) => r.market) },
    marks: [
      Plot.barX(rows, { x: 'pnl', y: 'market', fill: (d: { pnl: number }) => (d.pnl >= 0 ? 'var(--good)' : 'var(--bad)') }),
      Plot.ruleX([0], { stroke: 'var(--ink)' }),
      Plot.text(rows, {
        x: 'pnl',
        y: 'market',
        text: (d: { pnl: number }) => `${d.pnl >= 0 ? '+' : '−'}$${Math.abs(d.pnl).toFixed(2)}`,
        textAnchor: 'start',
        dx: 4,
        fill: 'var(--ink)',
        filter: (d: { pnl: number }) => d.pnl >= 0,
      }),
      Plot.text(rows, {
        x: () => 0,
        y: 'market',
        text: (d: { pnl: number }) => `−$${Math.abs(d.pnl).toFixed(2)}`,
        textAnchor: 'start',
        dx: 4,
        fill: 'var(--ink)',
        filter: (d: { pnl: number }) => d.pnl < 0,
      }),
    ],
  })
}

export function markoutChart(points: readonly MarkoutPoint[]): string {
  const name = (us: number): string =>
    us === 0 ? '0' : us < 1e6 ? `${us / 1e6} s` : us < 60e6 ? `${us / 1e6} s` : us < 3600e6 ? `${us / 60e6} min` : `${us / 3600e6} h`
  const rows = points.flatMap((p) => [
    { x: name(p.horizon), y: p.cents, series: 'all' },
    ...(p.maker === null ? [] : [{ x: name(p.horizon), y: p.maker, series: 'maker' }]),
    ...(p.taker === null ? [] : [{ x: name(p.horizon), y: p.taker, series: 'taker' }]),
  ])
  const colour = { all: 'var(--ink)', maker: 'var(--c1)', taker: 'var(--c2)' } as const
  return svg({
    ariaLabel: 'Markout by horizon',
    x: { label: 'after the fill', domain: points.map((p) => name(p.horizon)), type: 'point' },
    y: { label: '¢ a contract', grid: true, nice: true },
    marks: [
      Plot.ruleY([0], { stroke: 'var(--faint)' }),
      ...(['all', 'maker', 'taker'] as const).map((s) =>
        Plot.line(
          rows.filter((r) => r.series === s),
          { x: 'x', y: 'y', stroke: colour[s], strokeWidth: s === 'all' ? 2 : 1.3, ...(s === 'taker' ? { strokeDasharray: '4 3' } : {}) },
        ),
      ),
      ...(['all', 'maker', 'taker'] as const).map((s) =>
        Plot.dot(
          rows.filter((r) => r.series === s),
          { x: 'x', y: 'y', fill: colour[s], r: s === 'all' ? 3 : 2.2 },
        ),
      ),
    ],
  })
}

export function fillTimeChart(curve: Analysis['timeToFill']): string {
  const points = [{ x: 0, y: 0 }, ...curve.map((c) => ({ x: c.time / 1e6, y: 1 - c.survival }))]
  const step = Math.max(1, Math.floor(points.length / 200))
  return svg({
    ariaLabel: 'Share of resting orders filled by time',
    height: 200,
    x: { label: 'seconds since accepted', grid: true },
    y: { label: 'share filled', domain: [0, 1], tickFormat: '.0%', grid: true },
    marks: [
      Plot.line(
        points.filter((_, i) => i % step === 0 || i === points.length - 1),
        { x: 'x', y: 'y', stroke: 'var(--c1)', strokeWidth: 1.8, curve: 'step-after' },
      ),
    ],
  })
}

/** One market: touch, our resting orders as segments, our fills as triangles, the settlement line. */
export function marketChart(record: SessionRecord, ticker: string, fills: readonly Fill[]): string {
  const { touches: t, strings, journal: j, end } = record
  const number = strings.indexOf(ticker)
  const times: number[] = []
  const bids: number[] = []
  const asks: number[] = []
  for (let i = 0; i < t.length; i++) {
    if (t.market[i] !== number) continue
    times.push(t.time[i] as number)
    bids.push((t.bid[i] as number) < 0 ? Number.NaN : (t.bid[i] as number) / 100)
    asks.push((t.ask[i] as number) < 0 ? Number.NaN : (t.ask[i] as number) / 100)
  }
  const axis = Float64Array.from(times)
  const line = (values: readonly number[]): Point[] => thin(axis, Float64Array.from(values), values.length)
  type Segment = { x1: Date; x2: Date; y: number; side: number }
  const open = new Map<number, { from: number; price: number; side: number }>()
  const segments: Segment[] = []
  const cut = (id: number, time: number): void => {
    const o = open.get(id)
    if (o !== undefined && time > o.from)
      segments.push({ x1: new Date(o.from / 1000), x2: new Date(time / 1000), y: o.price / 100, side: o.side })
    open.delete(id)
  }
  for (let i = 0; i < j.length; i++) {
    if (j.market[i] !== number || j.kind[i] !== JournalKind.ANSWER) continue
    const what = strings[j.what[i] as number] ?? ''
    const id = j.order[i] as number
    const time = j.time[i] as number
    if (what === 'accepted' || what === 'amended') {
      cut(id, time)
      open.set(id, { from: time, price: j.price[i] as number, side: j.side[i] as number })
    } else if (what.startsWith('canceled')) cut(id, time)
  }
  const last = new Map(fills.filter((f) => f.market === ticker).map((f) => [f.order, f.time]))
  for (const id of Array.from(open.keys())) cut(id, last.get(id) ?? times[times.length - 1] ?? 0)
  const market = end.markets.find((m) => m.ticker === ticker)
  const own = fills.filter((f) => f.market === ticker).slice(0, 400)
  const dots = own.map((f) => ({ x: new Date(f.time / 1000), y: f.price / 100, side: f.side, title: `${f.why} ${f.value.toPrecision(3)}` }))
  const every = Math.max(1, Math.ceil(segments.length / 400))
  return svg({
    ariaLabel: 'Best prices of the market, our orders and fills',
    height: 340,
    x: { type: 'utc', label: null },
    y: { label: 'YES price, ¢', grid: true, nice: true },
    marks: [
      ...(market?.settlementValue === null || market === undefined
        ? []
        : [Plot.ruleY([market.settlementValue / 100], { stroke: 'var(--ink)', strokeDasharray: '2 4' })]),
      Plot.line(line(bids), { x: 'x', y: 'y', stroke: 'var(--c1)', strokeWidth: 1.1, curve: 'step-after' }),
      Plot.line(line(asks), { x: 'x', y: 'y', stroke: 'var(--c2)', strokeWidth: 1.1, curve: 'step-after' }),
      Plot.ruleY(
        segments.filter((_, i) => i % every === 0),
        {
          x1: 'x1',
          x2: 'x2',
          y: 'y',
          stroke: (d: Segment) => (d.side === 0 ? 'var(--c1)' : 'var(--c2)'),
          strokeOpacity: 0.35,
          strokeWidth: 3,
        },
      ),
      Plot.dot(
        dots.filter((d) => d.side === 'bid'),
        { x: 'x', y: 'y', symbol: 'triangle', fill: 'var(--good)', stroke: 'var(--page)', r: 4.5, title: 'title' },
      ),
      Plot.dot(
        dots.filter((d) => d.side === 'ask'),
        { x: 'x', y: 'y', symbol: 'triangle', rotate: 180, fill: 'var(--bad)', stroke: 'var(--page)', r: 4.5, title: 'title' },
      ),
    ],
  })
}
