/** What a live session's record must say of what happened at the exchange, judged from the exchange's own books. Owns the comparison; hides nothing. Invariant: an empty list means that nothing differs. */
import { readRun } from '../../data/run.ts'
import { DOLLARS, type Room } from './live-room.ts'
import type { SessionWitness } from './session-witness.ts'

/** Of `flatten`: its intents are in a file of their own. */
const CLOSING = /F\d+-0-\d+$/

/** At any time, also right after a kill: nothing is at the exchange that the log did not know first. */
export function ordersJudged(room: Room, witness: SessionWitness): string[] {
  const wrong = witness.twice.map((client) => `two intents have the client order id ${client}`)
  const clients = new Set<string>()
  for (const { client, code, known } of room.seen) {
    if (clients.has(client)) wrong.push(`the exchange was asked twice for ${client}`)
    clients.add(client)
    if (!known && !CLOSING.test(client)) wrong.push(`${client} came to the exchange before its intent was in the log`)
    if (code === 'order_already_exists') wrong.push(`${client} was refused as one that exists`)
  }
  for (const o of room.orders())
    if (!witness.creates.has(o.clientId) && !CLOSING.test(o.clientId)) wrong.push(`order ${o.id} (${o.clientId}) has no intent in the log`)
  return wrong
}

/** After the end: fills, positions and cash to the last digit, and nothing open. */
export async function endJudged(room: Room, witness: SessionWitness, session: string): Promise<string[]> {
  const wrong = ordersJudged(room, witness)
  const theirs = new Map(room.fills().map((f) => [f.tradeId, f]))
  const ours = new Map<string, number>()
  for (const f of witness.fills) {
    ours.set(f.trade, (ours.get(f.trade) ?? 0) + 1)
    const fill = theirs.get(f.trade)
    if (fill === undefined) wrong.push(`trade ${f.trade} is in our books alone`)
    else if (fill.price !== f.price || fill.quantity !== f.quantity || fill.fee !== f.fee || fill.taker === f.maker)
      wrong.push(`trade ${f.trade} differs: ${JSON.stringify(f)} and ${JSON.stringify(fill)}`)
    if (f.type === 'foreign-fill' && f.by !== 'flatten') wrong.push(`trade ${f.trade} was booked as nobody's`)
  }
  for (const [trade, n] of ours) if (n > 1) wrong.push(`trade ${trade} is booked ${n} times`)
  for (const [trade, f] of theirs) if (!ours.has(trade)) wrong.push(`trade ${trade} of ${f.clientId} in ${f.ticker} is lost`)
  for (const o of room.resting()) wrong.push(`order ${o.id} (${o.clientId}) still rests`)

  const { end, header } = await readRun(session)
  const held = new Map(end.markets.map((m) => [m.ticker, m.position]))
  let short = 0
  for (const p of room.who.account.positions.values()) {
    const position = p.settled >= 0 ? 0 : p.quantity
    if ((held.get(p.ticker) ?? 0) !== position) wrong.push(`${p.ticker}: ours ${held.get(p.ticker) ?? 0}, the exchange ${position}`)
    held.delete(p.ticker)
    if (position < 0) short -= position
  }
  for (const [ticker, position] of held) if (position !== 0) wrong.push(`${ticker}: ours ${position}, the exchange knows none`)
  // A NO costs its own price there; here it is a short YES with a dollar set aside: the same cash.
  const cash = room.who.account.total - DOLLARS * 1_000_000
  if (end.cash - header.cash !== cash)
    wrong.push(`cash: ours ${(end.cash - header.cash) / 1e6}, the exchange ${cash / 1e6} (${short} short)`)
  return wrong
}
