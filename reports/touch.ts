/**
 * The touch at a time: what the mid of a market was when something was decided. Owns the search over the touch samples; hides their layout.
 * Invariant: only rows known by then are read.
 */
import type { SessionRecord } from '../engine/session.ts'

/** The two-sided mid (× 2) of a market that was last known at a time; NaN when there was none. */
export function midsAt({ touches: t, strings }: SessionRecord): (market: string, time: number) => number {
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
    const row = list[low - 1]
    if (row === undefined || (t.bid[row] as number) < 0 || (t.ask[row] as number) < 0) return Number.NaN
    return (t.bid[row] as number) + (t.ask[row] as number)
  }
}
