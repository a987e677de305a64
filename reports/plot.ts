/**
 * The drawing board of all charts: static SVG, readable with scripts off, in print, in light and dark. Owns the one door to the chart library,
 * the time axis and the thinning; hides linkedom. Colors are CSS variables of the page. Invariant: thinning keeps the first, lowest, highest and
 * last value of every pixel column, and the same options give the same bytes.
 */
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'

const { document } = parseHTML('<!doctype html><html><body></body></html>')
const WIDTH = 920
export const COLUMNS = 460

export type Point = { readonly x: Date; readonly y: number }

export function svg(options: Plot.PlotOptions): string {
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
  // One width for the file, any width on the screen; a tenth of a pixel is enough. Class names are counted by the library over the process:
  // a report needs them the same every time.
  return (node as unknown as { outerHTML: string }).outerHTML
    .replaceAll(/plot-[0-9a-f]+/g, 'plot')
    .replace(/<style>[\s\S]*?<\/style>/g, '')
    .replace('<svg ', '<svg role="img" ')
    .replaceAll(
      / (d|x|y|x1|x2|y1|y2|width|height|transform)="([^"]*)"/g,
      (_, name: string, value: string) => ` ${name}="${value.replaceAll(/(\.\d)\d+/g, '$1')}"`,
    )
}

/** M4 (Jugel and others 2014): of each of `columns` equal spans the first, lowest, highest and last value; a value that is not there breaks the line. */
export function thin(times: ArrayLike<number>, values: ArrayLike<number>, length: number, columns = COLUMNS): Point[] {
  const at = (i: number): Point => ({ x: new Date((times[i] as number) / 1000), y: values[i] as number })
  if (length <= columns * 4) return Array.from({ length }, (_, i) => at(i))
  const points: Point[] = []
  const first = times[0] as number
  const scale = columns / Math.max(1, (times[length - 1] as number) - first)
  let i = 0
  while (i < length) {
    const column = Math.floor(((times[i] as number) - first) * scale)
    const start = i
    let low = -1
    let high = -1
    let gap = -1
    while (i < length && Math.floor(((times[i] as number) - first) * scale) === column) {
      const value = values[i] as number
      if (Number.isNaN(value)) gap = i
      else {
        if (low < 0 || value < (values[low] as number)) low = i
        if (high < 0 || value > (values[high] as number)) high = i
      }
      i++
    }
    const kept = new Set([start, low, high, gap, i - 1].filter((k) => k >= 0))
    for (const k of [...kept].sort((a, b) => a - b)) points.push(at(k))
  }
  return points
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
/** A UTC axis of 24 hours; the date stands under the first tick and under midnight. `from`, `to` in µs. */
export function timeAxis(from: number, to: number): Plot.ScaleOptions {
  const span = to - from
  const day = (d: Date): string => `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()] ?? ''}`
  return {
    type: 'utc',
    label: 'UTC',
    labelArrow: 'none',
    domain: [new Date(from / 1000), new Date(Math.max(to, from + 1e6) / 1000)],
    tickFormat: (d: Date, i: number) => {
      const text = d.toISOString()
      const midnight = text.slice(11, 19) === '00:00:00'
      if (span > 5 * 86_400e6) return day(d) + (i === 0 ? `\n${d.getUTCFullYear()}` : '')
      const clock = text.slice(11, span < 6 * 60e6 ? 19 : 16)
      return i === 0 || midnight ? `${clock}\n${day(d)}` : clock
    },
  } as Plot.ScaleOptions
}

/** Dollars on an axis. */
export function dollarsTick(x: number): string {
  const size = Math.abs(x)
  return `${x < 0 ? '−' : ''}$${size.toLocaleString('en-US', size >= 10 || Number.isInteger(size) ? { maximumFractionDigits: 0 } : { minimumFractionDigits: 2 })}`
}
export { Plot }
