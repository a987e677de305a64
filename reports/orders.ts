/**
 * Orders read back from the journal: one row each, the life summarised. Owns what counts as the beginning and the end of an order; hides the walk.
 * Invariant: every order that was sent is one row, and filled + what was left never exceeds what was asked for.
 */
import { JournalKind } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'

export type OrderRow = {
  readonly order: number
  readonly market: string
  readonly owner: string
  readonly side: 'bid' | 'ask'
  /** `gtc` rests, `ioc` and `fok` trade now or never. */
  readonly type: string
  readonly why: string
  readonly value: number
  /** First and last price asked for; the largest size asked for, amends included (Quantity). */
  readonly price: number
  priceLast: number
  quantity: number
  readonly sent: number
  /** Arrival of the first command at the venue; 0: unknown. */
  readonly arrival: number
  /** Venue times; null: never. */
  accepted: number | null
  firstFill: number | null
  /** When we learned that it was over; null: it still stood at the end. */
  ended: number | null
  /** The same by the venue's clock, where it told. */
  endedVenue: number | null
  /** `filled`, `canceled`, `rejected` or `working`, and the venue's reason. */
  state: 'filled' | 'canceled' | 'rejected' | 'working'
  reason: string
  amends: number
  fills: number
  filled: number
  /** Σ price × quantity of its fills, and their fees (Money). */
  cost: number
  fees: number
}

/** In the order they were sent. */
export function ordersOf({ journal: j, strings }: SessionRecord): OrderRow[] {
  const orders = new Map<number, OrderRow>()
  const left = new Map<number, number>()
  const word = (id: number): string => (id < 0 ? '' : (strings[id] ?? ''))
  for (let i = 0; i < j.length; i++) {
    const id = j.order[i] as number
    if (id < 0) continue
    const kind = j.kind[i]
    const what = word(j.what[i] as number)
    const quantity = j.quantity[i] as number
    const time = j.time[i] as number
    if (kind === JournalKind.COMMAND && what.startsWith('submit')) {
      left.set(id, quantity)
      orders.set(id, {
        order: id,
        market: word(j.market[i] as number),
        owner: word(j.owner[i] as number),
        side: j.side[i] === 0 ? 'bid' : 'ask',
        type: what.slice('submit-'.length),
        why: word(j.why[i] as number),
        value: j.value[i] as number,
        price: j.price[i] as number,
        priceLast: j.price[i] as number,
        quantity,
        sent: time,
        arrival: j.a[i] as number,
        accepted: null,
        firstFill: null,
        ended: null,
        endedVenue: null,
        state: 'working',
        reason: '',
        amends: 0,
        fills: 0,
        filled: 0,
        cost: 0,
        fees: 0,
      })
      continue
    }
    const o = orders.get(id)
    if (o === undefined) continue
    if (kind === JournalKind.ANSWER) {
      if (what === 'accepted') {
        o.accepted ??= j.a[i] as number
        // Held to be gone, and found.
        if (o.state === 'rejected') o.state = 'working'
      } else if (what === 'amended' || what === 'decreased') {
        o.amends++
        o.priceLast = j.price[i] as number
        left.set(id, quantity)
        o.quantity = Math.max(o.quantity, o.filled + quantity)
      } else if (what.startsWith('canceled:')) {
        o.state = 'canceled'
        o.reason = what.slice('canceled:'.length)
        o.ended = time
        o.endedVenue = (j.a[i] as number) > 0 ? (j.a[i] as number) : null
      } else if (what === 'absent') {
        o.state = 'rejected'
        o.reason = 'absent'
        o.ended = time
      } else if (what.startsWith('rejected:') && o.accepted === null) {
        // A rejected amend leaves its order where it was.
        o.state = 'rejected'
        o.reason = what.slice('rejected:'.length)
        o.ended = time
      }
    } else if (kind === JournalKind.FILL) {
      o.fills++
      o.filled += quantity
      o.quantity = Math.max(o.quantity, o.filled)
      o.firstFill ??= j.b[i] as number
      o.cost += (j.price[i] as number) * quantity
      o.fees += j.a[i] as number
      left.set(id, (left.get(id) ?? 0) - quantity)
      if ((o.state === 'working' || o.state === 'rejected') && (left.get(id) ?? 0) <= 0) {
        o.state = 'filled'
        o.ended = time
      }
    }
  }
  return [...orders.values()]
}
