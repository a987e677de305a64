/**
 * What really went to the venue, and when it arrived there. Owns the reading of a record into commands as they reached the venue, and the delays that were measured; hides the pairing of commands and writes.
 * Invariant: what never left, or was proved never to have come to be, is no act.
 */
import { JournalKind } from '../../engine/journal.ts'
import type { Delays, SessionRecord } from '../../engine/session.ts'
import { SECOND } from '../../engine/units.ts'
import { knowsRejection } from '../../reports/diverge/compare.ts'
import type { Act, ArrivalBasis } from '../../reports/diverge/model.ts'
import { neverLeft, type LiveFacts, type Write, type WriteType } from '../../reports/live/facts.ts'

/** The exchange's word for a time is believed when it lies this near to the write's own span (clocks differ). */
const CLOCKS_APART = 2 * SECOND
/** How the simulated venue itself ends orders: the model decides those. */
const OWN_ENDS: readonly string[] = [
  'filled',
  'ioc',
  'expired',
  'closed',
  'reactivated',
  'self-trade',
  'reduce-only',
  'grid',
  'post-only',
  'session',
]

/** Every command of the record as it reached the venue, by order. `facts` null: a simulated venue, whose journal knows the arrivals. */
export function actsOf(record: SessionRecord, facts: LiveFacts | null): Map<number, Act[]> {
  const { journal: j, strings, header } = record
  const acts = new Map<number, Act[]>()
  const usual = facts === null ? header.delays : delaysOf(facts, header.delays)
  const writes = new Map((facts?.writes ?? []).flatMap((w) => (w.command === null ? [] : [[w.command, w] as const])))
  let number = -1
  const word = (id: number): string => (id < 0 ? '' : (strings[id] ?? ''))
  for (let i = 0; i < j.length; i++) {
    if (j.kind[i] !== JournalKind.COMMAND) continue
    // As whoever sends them counts them.
    number++
    const order = j.order[i] as number
    const what = word(j.what[i] as number)
    const type = (what.startsWith('submit') ? 'submit' : what) as WriteType
    const decided = j.time[i] as number
    let at: { readonly arrival: number; readonly basis: ArrivalBasis } | null
    if (facts === null) at = { arrival: j.a[i] as number, basis: 'simulated' }
    else at = arrived(writes.get(number), facts, usual, decided)
    if (at === null) continue
    const tif = what.startsWith('submit') ? (what.slice('submit-'.length) as Act['tif']) : (acts.get(order)?.[0]?.tif ?? 'gtc')
    const act: Act = {
      order,
      type,
      ticker: word(j.market[i] as number),
      side: j.side[i] === 0 ? 'bid' : 'ask',
      tif,
      price: j.price[i] as number,
      quantity: j.quantity[i] as number,
      // As the order manager sets it.
      expires: tif === 'gtc' ? Math.ceil((decided + header.limits.orderAgeMax) / SECOND) * SECOND : null,
      decided,
      ...at,
      cut: null,
    }
    const own = acts.get(order)
    // A change of what never came to be changes nothing.
    if (own !== undefined) own.push(act)
    else if (type === 'submit') acts.set(order, [act])
  }
  if (facts !== null) for (const [order, own] of acts) endsOf(own, order, facts)
  return acts
}

/** Null: it never came to the venue. */
function arrived(
  write: Write | undefined,
  facts: LiveFacts,
  usual: Delays,
  decided: number,
): { readonly arrival: number; readonly basis: ArrivalBasis } | null {
  if (write === undefined || neverLeft(write)) return null
  if (write.type === 'submit' && facts.absent.has(write.order)) return null
  const refused = facts.rejected.get(write.order)
  if (refused !== undefined && !knowsRejection(refused)) return null
  // Nobody knew, and then the order was as it had been before: the change did not happen.
  if (write.unknown !== null && write.type !== 'submit' && write.venue === null && write.outcome !== 'acknowledged') return null
  const { sent, answered, venue } = write
  // What happened at the venue was before its answer: a time that is not was our own clock's, or clocks are so far apart that nothing is known.
  if (venue !== null && (answered === null || venue < answered) && (sent === null || venue >= sent - CLOCKS_APART))
    return { arrival: venue, basis: 'venue' }
  if (sent !== null && answered !== null) return { arrival: sent + Math.max(1, Math.round((answered - sent) / 2)), basis: 'half' }
  const delay = write.type === 'submit' ? usual.place : write.type === 'cancel' ? usual.cancel : usual.amend
  return { arrival: decided + delay, basis: 'usual' }
}

/** Ends that no model would find: the order ends in the model too, then. */
function endsOf(acts: Act[], order: number, facts: LiveFacts): void {
  const first = acts[0] as Act
  const refused = facts.rejected.get(order)
  const end = facts.ends.get(order)
  const cancel = (arrival: number, cut: string): void => void acts.push({ ...first, type: 'cancel', arrival, quantity: 0, cut })
  // What the venue refused is asked of the model, and taken away again at once: nobody will ever cancel it.
  if (refused !== undefined) cancel(first.arrival + 1, refused)
  else if (end !== undefined && !OWN_ENDS.includes(end.reason) && !(end.reason === 'user' && acts.some((a) => a.type === 'cancel')))
    cancel(end.time, end.reason)
}

/** Medians of what was measured: from the decision to the venue, and back. What was never measured stays as the header has it. */
export function delaysOf(facts: LiveFacts, standard: Delays): Delays {
  const there: Record<WriteType, number[]> = { submit: [], cancel: [], amend: [], decrease: [] }
  const back: number[] = []
  for (const w of facts.writes) {
    if (w.sent === null || w.answered === null) continue
    const half = (w.answered - w.sent) / 2
    there[w.type].push(w.sent - w.decided + half)
    back.push(half)
  }
  const middle = (values: number[], without: number): number => {
    if (values.length === 0) return without
    values.sort((a, b) => a - b)
    return Math.max(1, Math.round(values[Math.floor(values.length / 2)] as number))
  }
  const place = middle(there.submit, standard.place)
  return {
    place,
    cancel: middle(there.cancel, place),
    amend: middle([...there.amend, ...there.decrease], place),
    answer: middle(back, standard.answer),
  }
}
