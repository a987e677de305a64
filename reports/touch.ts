/**
 * The touch at a time: what the mid of a market was when something was decided. Owns the search over the touch samples; hides their layout.
 * Invariant: only rows known by then are read.
 */
import type { SessionRecord } from '../engine/session.ts'

/** Best prices and sizes as last sampled; a side without a price has price −1. */
export type Touch = {
  readonly time: number
  readonly bid: number
  readonly bidQuantity: number
  readonly ask: number
  readonly askQuantity: number
}

/** The touch of a market that was last known at a time; null when there was none. */
export function touchesOf(record: SessionRecord): (market: string, time: number) => Touch | null {
  const row = rowsAt(record)
  const { touches: t } = record
  return (market, time) => {
    const i = row(market, time)
    if (i < 0) return null
    return {
      time: t.time[i] as number,
      bid: t.bid[i] as number,
      bidQuantity: t.bidQuantity[i] as number,
      ask: t.ask[i] as number,
      askQuantity: t.askQuantity[i] as number,
    }
  }
}

/** The two-sided mid (× 2) of a market that was last known at a time; NaN when there was none. */
export function midsAt(record: SessionRecord): (market: string, time: number) => number {
  const at = rowsAt(record)
  const { touches: t } = record
  return (market, time) => {
    const row = at(market, time)
    if (row < 0 || (t.bid[row] as number) < 0 || (t.ask[row] as number) < 0) return Number.NaN
    return (t.bid[row] as number) + (t.ask[row] as number)
  }
}

/** The row of the touch samples that a market stood at; −1 before its first. */
function rowsAt({ touches: t, strings }: SessionRecord): (market: string, time: number) => number {
  const rows = new Map<number, number[]>()
  for (let i = 0; i < t.length; i++) {
    const list = rows.get(t.market[i] as number)
    if (list === undefined) rows.set(t.market[i] as number, [i])
    else list.push(i)
  }
  const numbers = new Map(strings.map((text, i) => [text, i]))
  return (market, time) => {
    const list = rows.get(numbers.get(market) ?? -1) ?? []
    let low = 0
    let high = list.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((t.time[list[middle] as number] as number) <= time) low = middle + 1
      else high = middle
    }
    return list[low - 1] ?? -1
  }
}
