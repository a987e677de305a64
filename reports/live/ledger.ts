/**
 * Whether the books of a live session add up. Owns the checks: profits against trades, fills of the journal against the venue's own trades; hides nothing. Invariant: a sentence for each thing that does not
 * add up, with both numbers; nothing is made to fit.
 */
import { JournalKind } from '../../engine/journal.ts'
import type { SessionRecord } from '../../engine/session.ts'
import { analyse } from '../metrics.ts'
import { plural } from '../words.ts'
import type { LiveFacts } from './facts.ts'

/** `whole`: the session has its end, so that nothing of the journal is still to come. Empty: it adds up. */
export function ledgerProblems(record: SessionRecord, facts: LiveFacts | null, whole: boolean): string[] {
  const problems: string[] = []
  try {
    analyse(record)
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error))
  }
  if (facts === null) return problems
  const seen = new Set<string>()
  for (const { trade } of [...facts.trades, ...facts.foreign]) {
    if (seen.has(trade)) problems.push(`trade ${trade} of the venue entered twice`)
    seen.add(trade)
  }
  const told = new Map<string, number>()
  const key = (order: number, price: number, quantity: number, fee: number, time: number): string =>
    `${order} ${price} ${quantity} ${fee} ${time}`
  for (const t of facts.trades) count(told, key(t.order, t.price, t.quantity, t.fee, t.timeVenue))
  // What the operator closed is split over whose it was: each trade is found again as the sum of its parts.
  const closed = new Map<string, { quantity: number; fee: number }>()
  for (const t of facts.foreign)
    if (t.by === undefined) count(told, key(-1, t.price, t.quantity, t.fee, t.timeVenue))
    else {
      const sum = closed.get(`${t.price} ${t.timeVenue}`) ?? { quantity: 0, fee: 0 }
      closed.set(`${t.price} ${t.timeVenue}`, { quantity: sum.quantity + t.quantity, fee: sum.fee + t.fee })
    }
  const { journal: j, strings } = record
  let booked = 0
  for (let i = 0; i < j.length; i++) {
    if (j.kind[i] !== JournalKind.FILL) continue
    if (j.order[i] === -1 && strings[j.why[i] as number] === 'flatten') {
      const sum = closed.get(`${j.price[i]} ${j.b[i]}`) ?? { quantity: 0, fee: 0 }
      sum.quantity -= j.quantity[i] as number
      sum.fee -= j.a[i] as number
      if (sum.quantity < 0) problems.push(`the journal has closed more than the venue told (row ${i})`)
      continue
    }
    booked++
    const k = key(j.order[i] as number, j.price[i] as number, j.quantity[i] as number, j.a[i] as number, j.b[i] as number)
    const left = told.get(k) ?? 0
    if (left === 0) problems.push(`the journal has a fill that the venue never told (row ${i}, order ${j.order[i]})`)
    else told.set(k, left - 1)
  }
  for (const [trade, { quantity, fee }] of closed)
    if (quantity === 0 ? fee !== 0 : whole)
      problems.push(`what the venue told of the operator's closing (${trade}) is not what the journal has`)
  const all = facts.trades.length + facts.foreign.filter((f) => f.by === undefined).length
  if (whole && booked < all) problems.push(`the venue told ${plural(all, 'trade')} of ours and the journal has ${plural(booked, 'fill')}`)
  return problems
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
