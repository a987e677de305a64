/**
 * A row of the journal as a trader says it. Owns the wording of signals, refusals, commands, answers, fills, settlements and states; hides the
 * columns. Invariant: a row is said from itself and its session's header alone, so that it reads the same wherever it is shown.
 */
import { JournalKind } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'
import { BID, PRICE_ONE } from '../engine/units.ts'
import { endInWords, rejectionInWords, remedyOf } from './remedies.ts'
import { cents, contracts, duration, money, moneySigned, plural, reason, utcMillis } from './words.ts'

export type EventKind =
  | 'saw'
  | 'wished'
  | 'refused'
  | 'sent'
  | 'written'
  | 'outcome'
  | 'queue'
  | 'answered'
  | 'filled'
  | 'settled'
  | 'state'
  | 'forecast'
  | 'after'

export type TraderEvent = {
  /** Row of the journal; null: told by samples, or by what was written down beside the journal. */
  readonly row: number | null
  readonly time: number
  readonly kind: EventKind
  readonly owner: string
  readonly order: number | null
  readonly text: string
}

const KINDS: Readonly<Record<number, EventKind>> = {
  [JournalKind.SIGNAL]: 'wished',
  [JournalKind.REFUSAL]: 'refused',
  [JournalKind.COMMAND]: 'sent',
  [JournalKind.ANSWER]: 'answered',
  [JournalKind.FILL]: 'filled',
  [JournalKind.SETTLEMENT]: 'settled',
  [JournalKind.STATE]: 'state',
  [JournalKind.FORECAST]: 'forecast',
}

/** `buy YES at 42¢`, `sell YES at 45¢ (= buy NO at 55¢)`. */
export function deal(side: number, price: number): string {
  return side === BID ? `buy YES at ${cents(price)}` : `sell YES at ${cents(price)} (= buy NO at ${cents(PRICE_ONE - price)})`
}

export function eventOf(record: SessionRecord, row: number): TraderEvent {
  const { journal: j, strings } = record
  const order = j.order[row] as number
  const owner = j.owner[row] as number
  return {
    row,
    time: j.time[row] as number,
    kind: KINDS[j.kind[row] as number] as EventKind,
    owner: owner < 0 ? '' : (strings[owner] ?? ''),
    order: order < 0 ? null : order,
    text: rowInWords(record, row),
  }
}

function rowInWords({ header, journal: j, strings }: SessionRecord, i: number): string {
  const word = (id: number): string => (id < 0 ? '' : (strings[id] ?? ''))
  const what = word(j.what[i] as number)
  const why = word(j.why[i] as number)
  const value = j.value[i] as number
  const time = j.time[i] as number
  const price = j.price[i] as number
  const quantity = j.quantity[i] as number
  const a = j.a[i] as number
  const trade = (): string => `${deal(j.side[i] as number, price)} × ${contracts(quantity)}`
  const because = why === '' ? '' : `: ${reason(why, value)}`
  switch (j.kind[i] as JournalKind) {
    case JournalKind.SIGNAL:
      if (what === 'pull') return `pulled its quote to ${j.side[i] === BID ? 'buy' : 'sell'} YES at ${cents(price)}`
      return `${what === 'take' ? 'wants to trade now' : what === 'quote' ? 'wants to rest' : `wants (${what})`}: ${trade()}${because}`
    case JournalKind.REFUSAL: {
      const { meaning, limit } = remedyOf(what, header)
      return `${what}${limit === '' ? '' : ` (${limit})`}: ${meaning}; it wanted to ${trade()}${a > 1 ? `; refused ${plural(a, 'time')} since it was last written down` : ''}`
    }
    case JournalKind.COMMAND: {
      const arrival = a > 0 ? `; arrives ${utcMillis(a).slice(11)}, ${duration(a - time)} later` : ''
      if (what === 'cancel') return `cancel, ${contracts(quantity)} left${arrival}`
      if (what === 'decrease') return `decrease to ${contracts(quantity)} left${arrival}`
      if (what === 'amend') return `amend to ${deal(j.side[i] as number, price)}, ${contracts(quantity)} in all${because}${arrival}`
      return `order to ${what === 'submit-gtc' ? 'rest' : what === 'submit-fok' ? 'trade whole or not at all' : header.tape.depth === 'prints' ? 'trade with the next takers of its side' : 'trade at once'}: ${trade()}${because}${arrival}`
    }
    case JournalKind.ANSWER: {
      const heard = a > 0 ? `; at the venue ${utcMillis(a).slice(11)}, heard ${duration(time - a)} later` : ''
      if (what.startsWith('no-answer:'))
        return `no answer that can be trusted (${what.slice('no-answer:'.length)}): nobody knows what became of its last command, so it counts at its worst and nothing is added beside it`
      if (what === 'absent') return `proved absent: it never came to be${quantity > 0 ? `, ${contracts(quantity)} are wanted no more` : ''}`
      if (what.startsWith('rejected:')) {
        const r = what.slice('rejected:'.length)
        return r === 'not-sent' || r.startsWith('gate:')
          ? `never sent: ${rejectionInWords(r)}`
          : `rejected as ${r}: ${rejectionInWords(r)}${heard}`
      }
      if (what.startsWith('canceled:'))
        return `${endInWords(what.slice('canceled:'.length))}${quantity > 0 ? `, ${contracts(quantity)} unfilled` : ''}${heard}`
      if (what === 'cancel-rejected') return `the cancel came too late: the order was gone${heard}`
      return `${what}: ${deal(j.side[i] as number, price)}, ${contracts(quantity)} left${heard}`
    }
    case JournalKind.FILL:
      return `${contracts(quantity)} as ${what}: ${deal(j.side[i] as number, price)}, fee ${money(a)} (${cents(a / quantity)} a contract); at the venue ${utcMillis(j.b[i] as number).slice(11)}`
    case JournalKind.SETTLEMENT: {
      const held = quantity === 0 ? 'nothing held' : `${quantity > 0 ? 'YES' : 'NO'} ${contracts(Math.abs(quantity))} held`
      return what === 'paid'
        ? `paid at ${cents(price)} a YES: ${held}, ${money(a)} to cash; ${moneySigned(j.b[i] as number)} in this market, fees included`
        : `determined ${what.toUpperCase()} (a YES pays ${cents(price)}): ${held}`
    }
    case JournalKind.STATE:
      return `${what}${why === '' ? '' : ` (${why})`}`
    case JournalKind.FORECAST:
      return `forecast: YES with probability ${value.toFixed(4)}`
  }
}
