/**
 * The first pass over a recording: what must be known before the first row can be written. Owns the clock offset of each connection, the prices
 * seen (for the grid), which markets have a trade or ticker channel; hides nothing. Invariant: it reads receive times only through differences
 * to venue times, so shifting every receive time by a second changes offsets by a second and nothing else.
 */
import type { GridBand } from '../../engine/message.ts'
import { parsePrice, parseQuantity } from '../../engine/units.ts'
import type { ClockOffset } from '../schema.ts'
import { framesOf, venueTime, type Frame } from './frames.ts'

export type Survey = {
  /** receive − venue at its lower envelope, by connection (µs). */
  readonly offsets: ReadonlyMap<string, number>
  readonly clock: readonly ClockOffset[]
  /** Prices seen, by series. */
  readonly prices: ReadonlyMap<string, ReadonlySet<number>>
  /** connection + market with a trade print. */
  readonly traded: ReadonlySet<string>
  /** Units of `volume_fp` in which one contract traded counts, by connection (2: both sides are counted). */
  readonly volumeScale: ReadonlyMap<string, number>
  readonly frames: number
  readonly connections: ReadonlyMap<string, { readonly first: number; readonly last: number }>
}

export function seriesOf(ticker: string): string {
  return ticker.split('-')[0] ?? ticker
}
export function eventOf(ticker: string): string {
  const cut = ticker.lastIndexOf('-')
  return cut > ticker.indexOf('-') ? ticker.slice(0, cut) : ticker
}
export function pairKey(connection: string, ticker: string): string {
  return `${connection}\n${ticker}`
}

const MINUTE = 60_000_000

export async function survey(files: readonly string[], progress?: (bytes: number) => void): Promise<Survey> {
  const lowest = new Map<string, Map<number, number>>()
  const samples = new Map<string, number>()
  const prices = new Map<string, Set<number>>()
  const traded = new Set<string>()
  const connections = new Map<string, { first: number; last: number }>()
  const volumes = new Map<string, VolumeEvidence>()
  let frames = 0
  const see = (ticker: string, text: unknown): void => {
    if (typeof text !== 'string') return
    const p = parsePrice(text)
    if (!Number.isFinite(p)) return
    const series = seriesOf(ticker)
    let set = prices.get(series)
    if (set === undefined) prices.set(series, (set = new Set()))
    set.add(p)
  }
  for (const file of files) {
    for await (const frame of framesOf(file, () => {}, progress)) {
      frames++
      const { msg, type, connection } = frame
      const receive = receiveOf(frame)
      if (Number.isFinite(receive)) {
        const c = connections.get(connection)
        if (c === undefined) connections.set(connection, { first: receive, last: receive })
        else {
          c.first = Math.min(c.first, receive)
          c.last = Math.max(c.last, receive)
        }
      }
      const ticker = typeof msg['market_ticker'] === 'string' ? msg['market_ticker'] : ''
      if (type === 'orderbook_delta' || type === 'trade') {
        const venue = venueTime(msg)
        if (Number.isFinite(venue) && Number.isFinite(receive)) {
          let minutes = lowest.get(connection)
          if (minutes === undefined) lowest.set(connection, (minutes = new Map()))
          const minute = Math.floor(venue / MINUTE)
          const difference = receive - venue
          const low = minutes.get(minute)
          if (low === undefined || difference < low) minutes.set(minute, difference)
          samples.set(connection, (samples.get(connection) ?? 0) + 1)
        }
        see(ticker, msg['price_dollars'] ?? msg['yes_price_dollars'])
        if (type === 'trade') traded.add(pairKey(connection, ticker))
      } else if (type === 'ticker') {
        let evidence = volumes.get(connection)
        if (evidence === undefined) volumes.set(connection, (evidence = new VolumeEvidence()))
        evidence.see(ticker, parseQuantity(String(msg['volume_fp'])), parseQuantity(String(msg['last_trade_size_fp'])))
      } else if (type === 'orderbook_snapshot') {
        for (const key of ['yes_dollars_fp', 'no_dollars_fp']) {
          const levels = msg[key]
          if (Array.isArray(levels)) for (const level of levels) if (Array.isArray(level)) see(ticker, level[0])
        }
      }
    }
  }
  const offsets = new Map<string, number>()
  const clock: ClockOffset[] = []
  for (const [connection, minutes] of [...lowest].sort((a, b) => (a[0] < b[0] ? -1 : 1))) {
    const lows = [...minutes.values()]
    const offset = Math.min(...lows)
    offsets.set(connection, offset)
    clock.push({ connection, offset, uncertainty: Math.round((Math.max(...lows) - offset) / 2), samples: samples.get(connection) ?? 0 })
  }
  const volumeScale = new Map([...volumes].map(([connection, evidence]) => [connection, evidence.scale]))
  return { offsets, clock, prices, traded, volumeScale, frames, connections }
}

/**
 * Whether the exchange's `volume_fp` counts a traded contract once or twice. In the recordings of 2026-05 all 2,784 changes are even and none is less than twice the
 * last trade's size; 462 are exactly twice that trade; `dollar_volume` is half of it in all 3,202 tickers. Counted once, a window with one trade would change by that trade's size.
 */
class VolumeEvidence {
  readonly #last = new Map<string, number>()
  #windows = 0
  #once = 0
  #twice = 0

  see(ticker: string, volume: number, lastSize: number): void {
    const change = volume - (this.#last.get(ticker) ?? Number.NaN)
    if (Number.isFinite(volume)) this.#last.set(ticker, volume)
    if (!(change > 0) || !(lastSize > 0)) return
    this.#windows++
    if (change < 2 * lastSize || change % 2 !== 0) this.#once++
    if (change === 2 * lastSize) this.#twice++
  }
  /** Doubt means once, and the manifest has a remark when it is twice. */
  get scale(): number {
    return this.#twice > 0 && this.#windows >= WINDOWS_MIN && this.#once * 50 < this.#windows ? 2 : 1
  }
}
const WINDOWS_MIN = 10

/** When it was received; a bare frame without an envelope stands on its own time. */
export function receiveOf(frame: Frame): number {
  return Number.isFinite(frame.receive) ? frame.receive : venueTime(frame.msg)
}

/** Price structures of api.md §3.6, coarse to fine, in Price units. */
const STRUCTURES: readonly { readonly name: string; readonly bands: readonly GridBand[] }[] = [
  { name: 'linear_cent', bands: [{ start: 0, end: 10_000, step: 100 }] },
  { name: 'center_whole_edge_half_cent', bands: edge(50, 100) },
  { name: 'center_whole_edge_quint_cent', bands: edge(20, 100) },
  { name: 'tapered_deci_cent', bands: edge(10, 100) },
  { name: 'center_half_edge_half_cent', bands: [{ start: 0, end: 10_000, step: 50 }] },
  { name: 'center_half_edge_quint_cent', bands: edge(20, 50) },
  { name: 'center_half_edge_deci_cent', bands: edge(10, 50) },
  { name: 'center_quint_edge_quint_cent', bands: [{ start: 0, end: 10_000, step: 20 }] },
  { name: 'center_quint_edge_deci_cent', bands: edge(10, 20) },
  { name: 'deci_cent', bands: [{ start: 0, end: 10_000, step: 10 }] },
  { name: 'center_centi_edge_centi_cent', bands: [{ start: 0, end: 10_000, step: 1 }] },
]
function edge(outer: number, inner: number): GridBand[] {
  return [
    { start: 0, end: 1_000, step: outer },
    { start: 1_000, end: 9_000, step: inner },
    { start: 9_000, end: 10_000, step: outer },
  ]
}

/** The coarsest known structure that has every price seen (NO prices mirror onto the same structures). */
export function inferGrid(prices: ReadonlySet<number>): { readonly name: string; readonly bands: readonly GridBand[] } {
  const fits = (bands: readonly GridBand[]): boolean => {
    for (const p of prices) if (!bands.some((b) => p >= b.start && p <= b.end && (p - b.start) % b.step === 0)) return false
    return true
  }
  const found = STRUCTURES.find((s) => fits(s.bands))
  return found ?? (STRUCTURES[STRUCTURES.length - 1] as (typeof STRUCTURES)[number])
}
