/**
 * Which decreases add up to a volume. Owns the search where no prints were recorded; hides its bounds. Invariants: what it returns never exceeds the volume,
 * was within a taker's reach, and does not depend on anything but its arguments.
 */
import type { Row, Volume } from './label.ts'

const SEARCH_MAX = 20_000

/** Decreases of one venue instant that were within reach: one taker, so all or none. */
type Sweep = {
  readonly rows: readonly Row[]
  readonly size: number
  readonly met: boolean
  readonly whole: boolean
  readonly distance: number
}

/**
 * The trades among `candidates` (in order of time). Certain ones first: takers whose remainder came to rest, and the last trade, known by price and size. For
 * the rest an exact sum is searched, whole sweeps before single rows, orders that left as they had come last. What cannot be explained stays unexplained.
 */
export function tradesOf(candidates: readonly Row[], volume: number, ticker: Volume): Row[] {
  const reached = candidates.filter((r) => r.reached)
  const trades: Row[] = []
  let left = volume
  const take = (rows: readonly Row[]): void => {
    for (const row of rows) {
      trades.push(row)
      left += row.quantity
    }
  }
  let open: Sweep[] = sweepsOf(reached, ticker)
  const choose = (sweep: Sweep | undefined): void => {
    if (sweep === undefined || sweep.size > left) return
    take(sweep.rows)
    open = open.filter((s) => s !== sweep)
  }
  const last = open.findLast((s) => s.rows.some((r) => r.price === ticker.last && -r.quantity === ticker.lastSize))
  choose(last)
  for (const sweep of open.filter((s) => s.met)) choose(sweep)
  const ranked = open
    .filter((s) => s.size <= left)
    .sort((a, b) => Number(a.whole) - Number(b.whole) || a.distance - b.distance || b.rows.length - a.rows.length)
  const exact = sumTo(ranked, left)
  if (exact !== null) {
    for (const sweep of exact) take(sweep.rows)
    return trades
  }
  const rows = ranked.flatMap((s) => s.rows.map((r) => sweepOf([r], ticker)))
  const parts = rows.length === ranked.length ? null : sumTo(rows, left)
  if (parts !== null) for (const part of parts) take(part.rows)
  else for (const part of rows) if (part.size <= left) take(part.rows)
  return trades
}

function sweepsOf(rows: readonly Row[], ticker: Volume): Sweep[] {
  const sweeps: Sweep[] = []
  for (let i = 0; i < rows.length; ) {
    const { timeVenue, side } = rows[i] as Row
    const same: Row[] = []
    for (; i < rows.length && rows[i]?.timeVenue === timeVenue && rows[i]?.side === side; i++) same.push(rows[i] as Row)
    sweeps.push(sweepOf(same, ticker))
  }
  return sweeps
}
function sweepOf(rows: readonly Row[], ticker: Volume): Sweep {
  return {
    rows,
    size: rows.reduce((a, r) => a - r.quantity, 0),
    met: rows.some((r) => r.met),
    whole: rows.length === 1 && rows[0]?.whole === true,
    distance: Math.min(...rows.map((r) => Math.abs(r.price - ticker.last))),
  }
}

/** A subset whose sizes add up to `total`, found within a bounded search in the order given; null for none. */
function sumTo(sweeps: readonly Sweep[], total: number): Sweep[] | null {
  if (total === 0) return []
  const chosen: Sweep[] = []
  const suffix = new Float64Array(sweeps.length + 1)
  for (let i = sweeps.length - 1; i >= 0; i--) suffix[i] = (suffix[i + 1] as number) + (sweeps[i] as Sweep).size
  let steps = 0
  const search = (i: number, left: number): boolean => {
    if (left === 0) return true
    if (i >= sweeps.length || (suffix[i] as number) < left || ++steps > SEARCH_MAX) return false
    const sweep = sweeps[i] as Sweep
    if (sweep.size <= left) {
      chosen.push(sweep)
      if (search(i + 1, left - sweep.size)) return true
      chosen.pop()
    }
    return search(i + 1, left)
  }
  return search(0, total) ? chosen : null
}
