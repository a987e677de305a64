/**
 * The bridge from the edge at the fill to net profit. Owns the split; hides the markout rows. Invariant: the steps add up to net P&L exactly, because
 * what cannot be told apart stands in the last of them.
 */
import type { SessionRecord } from '../engine/session.ts'
import { MINUTE } from '../engine/units.ts'
import { sign, type Fill } from './episodes.ts'

/** How gross P&L came about, in Money; the four steps add up to net exactly. */
export type Bridge = {
  /** Σ s × (mid at the fill − price) × contracts. */
  readonly spread: number
  /** What the mid did against or for us in the minute after. */
  readonly minute: number
  /** The rest: later moves, settlement, and fills without a mid at those moments. */
  readonly later: number
  readonly fees: number
  readonly net: number
  /** Fills with a mid at the fill, with one a minute after, and in all. */
  readonly nSpread: number
  readonly nMinute: number
  readonly n: number
}
export function bridgeOf({ markouts: m, end, header }: SessionRecord, fills: readonly Fill[]): Bridge | null {
  const atFill = new Map<number, number>()
  const after = new Map<number, number>()
  for (let i = 0; i < m.length; i++) {
    if ((m.mid2[i] as number) < 0) continue
    if (m.horizon[i] === 0) atFill.set(m.fill[i] as number, m.mid2[i] as number)
    else if (m.horizon[i] === MINUTE) after.set(m.fill[i] as number, m.mid2[i] as number)
  }
  if (atFill.size === 0) return null
  let spread = 0
  let minute = 0
  let nMinute = 0
  for (const f of fills) {
    const mid2 = atFill.get(f.index)
    if (mid2 === undefined) continue
    spread += sign(f) * (mid2 / 2 - f.price) * f.quantity
    const later2 = after.get(f.index)
    if (later2 === undefined) continue
    nMinute++
    minute += (sign(f) * (later2 - mid2) * f.quantity) / 2
  }
  const net = end.equity - header.cash
  const whole = { spread: Math.round(spread), minute: Math.round(minute) }
  const later = net + end.fees - whole.spread - whole.minute
  return { ...whole, later, fees: end.fees, net, nSpread: atFill.size, nMinute, n: fills.length }
}
