/**
 * Outside indices as the exchange passes them on (A10: cfbenchmarks_value, its 5 Hz twin, pyth_value). Owns the averages that go with a value; invariant: a
 * window holds only ticks before the one it is told with, and the one of the quarter hour counts its close.
 */
import type { IndexTick } from './outlet.ts'

const MINUTE_MS = 60_000
const QUARTER_MS = 15 * MINUTE_MS

type Average = { value: string; window_size: number; window_start_ts_ms: number; window_end_ts_exclusive: number }

class Series {
  /** Ticks of the last minute: [source ms, value]. */
  readonly ticks: [number, number][] = []
  lastSecond = -1
  lastFast = -1

  averages(at: number, value: number, digits: number): { avg_60s_data: Average; last_60s_windowed_average_15min?: Average } {
    while (this.ticks.length > 0 && (this.ticks[0] as [number, number])[0] < at - MINUTE_MS) this.ticks.shift()
    const mean = (of: readonly [number, number][]): string => (of.reduce((a, [, v]) => a + v, 0) / of.length).toFixed(digits)
    const trailing = this.ticks.filter(([t]) => t < at)
    const close = Math.ceil(at / QUARTER_MS) * QUARTER_MS
    const out: ReturnType<Series['averages']> = {
      avg_60s_data: {
        value: trailing.length === 0 ? value.toFixed(digits) : mean(trailing),
        window_size: trailing.length,
        window_start_ts_ms: at - MINUTE_MS,
        window_end_ts_exclusive: at,
      },
    }
    this.ticks.push([at, value])
    if (at > close - MINUTE_MS) {
      const inside = this.ticks.filter(([t]) => t > close - MINUTE_MS && t <= close)
      out.last_60s_windowed_average_15min = {
        value: mean(inside),
        window_size: inside.length,
        window_start_ts_ms: close - MINUTE_MS,
        window_end_ts_exclusive: close + 1,
      }
    }
    return out
  }
}

export class Indices {
  readonly #series = new Map<string, Series>()

  /** Ids seen on a feed. */
  known(feed: IndexTick['feed']): string[] {
    return [...this.#series.keys()].filter((k) => k.startsWith(`${feed}/`)).map((k) => k.slice(feed.length + 1))
  }

  /** Bodies by channel. `now`: µs. */
  bodies(tick: IndexTick, now: number): { channel: 'cfbenchmarks_value' | 'cfbenchmarks_value_5hz' | 'pyth_value'; body: string }[] {
    const key = `${tick.feed}/${tick.id}`
    let series = this.#series.get(key)
    if (series === undefined) {
      series = new Series()
      this.#series.set(key, series)
    }
    const at = Math.floor(tick.sourceTime / 1000)
    const received = Math.floor(now / 1000)
    if (tick.feed === 'pyth') {
      const cut = tick.value.indexOf('.')
      const value = `${cut < 0 ? `${tick.value}.` : tick.value}00000000`
      return [
        {
          channel: 'pyth_value',
          body: JSON.stringify({
            underlying_ticker: tick.id,
            value_usd: value.slice(0, value.indexOf('.') + 9),
            source_ts_ms: at,
            received_at: received,
          }),
        },
      ]
    }
    const data = JSON.stringify({ type: 'value', id: tick.id, value: tick.value, time: at })
    const out: ReturnType<Indices['bodies']> = []
    if (at - series.lastFast >= 200) {
      series.lastFast = at
      out.push({
        channel: 'cfbenchmarks_value_5hz',
        body: JSON.stringify({ index_id: tick.id, value_usd: tick.value, source_ts_ms: at, received_at: received, data }),
      })
    }
    if (at - series.lastSecond >= 1000) {
      series.lastSecond = at
      const digits = tick.value.includes('.') ? tick.value.length - tick.value.indexOf('.') - 1 : 0
      out.push({
        channel: 'cfbenchmarks_value',
        body: JSON.stringify({
          index_id: tick.id,
          received_at: received,
          data,
          ...series.averages(at, Number(tick.value), Math.max(2, digits)),
        }),
      })
    }
    return out
  }
}
