/**
 * One market as a trader watched it: best YES prices, our resting orders as segments, our fills as triangles, the settlement line. Owns the walk
 * from answers to segments; hides the thinning. Invariant: every fill is drawn unless another of the same side
 * stands on the same spot or there are more than a chart can hold; how many are drawn is handed back.
 */
import { JournalKind } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'
import { BID } from '../engine/units.ts'
import type { Fill } from './episodes.ts'
import { COLUMNS, Plot, svg, thin, timeAxis } from './plot.ts'
import { contracts, reason, say, utcMillis } from './words.ts'

type Segment = { readonly from: number; readonly to: number; readonly price: number; readonly side: number }

/** Where and how long our orders rested, in the order they ended. Times in µs, prices in Price units. */
export function restingSegments({ journal: j, strings }: SessionRecord, market: number, end: number): Segment[] {
  const open = new Map<number, { from: number; price: number; side: number; left: number }>()
  const segments: Segment[] = []
  const cut = (id: number, to: number): void => {
    const o = open.get(id)
    if (o !== undefined && to > o.from) segments.push({ from: o.from, to, price: o.price, side: o.side })
    open.delete(id)
  }
  for (let i = 0; i < j.length; i++) {
    if (j.market[i] !== market) continue
    const kind = j.kind[i]
    const id = j.order[i] as number
    const time = j.time[i] as number
    if (kind === JournalKind.FILL) {
      const o = open.get(id)
      if (o === undefined) continue
      o.left -= j.quantity[i] as number
      if (o.left <= 0) cut(id, time)
    } else if (kind === JournalKind.ANSWER) {
      const what = strings[j.what[i] as number] ?? ''
      if (what === 'accepted' || what === 'amended') {
        cut(id, time)
        open.set(id, { from: time, price: j.price[i] as number, side: j.side[i] as number, left: j.quantity[i] as number })
      } else if (what.startsWith('canceled')) cut(id, time)
    }
  }
  for (const id of Array.from(open.keys())) cut(id, end)
  return segments
}

/** Segments that begin and end in the same pixel columns at one price are one. */
function merged(segments: readonly Segment[], first: number, span: number): Segment[] {
  const seen = new Map<string, Segment>()
  const column = (t: number): number => Math.floor(((t - first) / span) * COLUMNS)
  for (const s of segments) {
    const key = `${column(s.from)} ${column(s.to)} ${s.price} ${s.side}`
    if (!seen.has(key)) seen.set(key, s)
  }
  return [...seen.values()]
}
/** What a chart may cost: pixel columns of the touch, segments, fills, and up to how many fills each says its price and reason on hover. */
const DETAIL = {
  whole: { columns: COLUMNS, segments: 300, fills: 600, titles: 250 },
  small: { columns: COLUMNS / 4, segments: 150, fills: 250, titles: 100 },
} as const

/** The range of what was quoted and traded, ¢, with room around it: a settlement at 0 or 100 must not flatten it. */
function scaleOf(prices: readonly number[]): readonly [number, number] {
  let [low, high] = [Infinity, -Infinity]
  for (const price of prices) {
    // A side that nobody quoted is no number.
    if (price < low) low = price
    if (price > high) high = price
  }
  if (low > high) return [0, 100]
  const room = Math.max(1, (high - low) * 0.08)
  return [Math.max(0, Math.floor(low - room)), Math.min(100, Math.ceil(high + room))]
}
/** A dotted line where it settled; beyond the scale it stands at the edge and says which way. */
function settlement(value: number, low: number, high: number, last: number): Plot.Markish[] {
  const outside = value < low || value > high
  const y = Math.min(high, Math.max(low, value))
  return [
    Plot.ruleY([y], { stroke: 'var(--ink)', strokeDasharray: '2 4' }),
    ...(outside
      ? [
          Plot.text([{ x: new Date(last / 1000), y }], {
            x: 'x',
            y: 'y',
            text: () => `${value > high ? '↑' : '↓'} settled at ${Number(value.toFixed(2))}¢`,
            textAnchor: 'end',
            dy: value > high ? 10 : -10,
            fill: 'var(--ink)',
            stroke: 'var(--page)',
            strokeWidth: 4,
          }),
        ]
      : []),
  ]
}

export type MarketChart = { readonly svg: string; readonly fills: number; readonly drawn: number }

export function marketChart(record: SessionRecord, ticker: string, fills: readonly Fill[], size: keyof typeof DETAIL): MarketChart {
  const most = DETAIL[size]
  const { touches: t, strings, journal: j, end } = record
  const number = strings.indexOf(ticker)
  const market = end.markets.find((m) => m.ticker === ticker)
  const own = fills.filter((f) => f.market === ticker)
  // The last thing that happened to us or on the book: a book that is emptied long after the close does not stretch the axis.
  let last = 0
  for (let i = 0; i < j.length; i++)
    if (j.market[i] === number && j.kind[i] !== JournalKind.STATE) last = Math.max(last, j.time[i] as number)
  const times: number[] = []
  const bids: number[] = []
  const asks: number[] = []
  for (let i = 0; i < t.length; i++) {
    if (t.market[i] !== number) continue
    const quoted = (t.bid[i] as number) >= 0 || (t.ask[i] as number) >= 0
    if (!quoted && (t.time[i] as number) > last) continue
    times.push(t.time[i] as number)
    bids.push((t.bid[i] as number) < 0 ? Number.NaN : (t.bid[i] as number) / 100)
    asks.push((t.ask[i] as number) < 0 ? Number.NaN : (t.ask[i] as number) / 100)
  }
  const from = Math.min(times[0] ?? Infinity, own[0]?.time ?? Infinity)
  const first = Number.isFinite(from) ? from : (end.firstTime ?? 0)
  last = Math.max(last, times[times.length - 1] ?? 0, first)
  const span = Math.max(1, last - first)
  const line = (values: readonly number[], stroke: string): Plot.Markish =>
    Plot.line(thin(times, values, values.length, most.columns), { x: 'x', y: 'y', stroke, strokeWidth: 1.1, curve: 'step-after' })
  const all = merged(restingSegments(record, number, last), first, span)
  const every = Math.max(1, Math.ceil(all.length / most.segments))
  const segments = all.filter((_, i) => i % every === 0)
  const pixels = new Map<string, Fill>()
  for (const f of own) {
    const key = `${Math.floor(((f.time - first) / span) * COLUMNS * 2)} ${f.side} ${f.price}`
    if (!pixels.has(key)) pixels.set(key, f)
  }
  const spots = [...pixels.values()]
  const drawn = spots.filter(
    (_, i) =>
      Math.floor((i * most.fills) / spots.length) !== Math.floor(((i - 1) * most.fills) / spots.length) || spots.length <= most.fills,
  )
  const date = (us: number): Date => new Date(us / 1000)
  const triangles = (side: Fill['side']): Plot.Markish =>
    Plot.dot(
      drawn.filter((f) => f.side === side),
      {
        x: (f: Fill) => date(f.time),
        y: (f: Fill) => f.price / 100,
        symbol: 'triangle',
        rotate: side === 'bid' ? 0 : 180,
        fill: side === 'bid' ? 'var(--good)' : 'var(--bad)',
        stroke: 'var(--page)',
        r: 4.5,
        ...(drawn.length > most.titles
          ? {}
          : { title: (f: Fill) => `${utcMillis(f.time).slice(11)} ${say(f)} × ${contracts(f.quantity)}: ${reason(f.why, f.value)}` }),
      },
    )
  const settled = market?.settlementValue ?? null
  const [low, high] = scaleOf([...bids, ...asks, ...segments.map((s) => s.price / 100), ...drawn.map((f) => f.price / 100)])
  return {
    fills: own.length,
    drawn: drawn.length,
    svg: svg({
      ariaLabel: 'Best prices of the market, our orders and fills',
      height: 340,
      x: timeAxis(first, last),
      y: { label: 'YES price, ¢', grid: true, domain: [low, high] },
      marks: [
        ...(settled === null ? [] : settlement(settled / 100, low, high, last)),
        Plot.ruleY(segments, {
          x1: (s: Segment) => date(s.from),
          x2: (s: Segment) => date(s.to),
          y: (s: Segment) => s.price / 100,
          stroke: (s: Segment) => (s.side === BID ? 'var(--c1)' : 'var(--c2)'),
          strokeOpacity: 0.35,
          strokeWidth: 3,
        }),
        line(bids, 'var(--c1)'),
        // Where only trades are known both are the last trade.
        ...(record.header.tape.depth === 'prints' ? [] : [line(asks, 'var(--c2)')]),
        triangles('bid'),
        triangles('ask'),
      ],
    }),
  }
}
