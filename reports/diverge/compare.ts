/**
 * One order at the venue and in a model: what differs, and what is known of why. Owns the classes and their order (the first that holds is the reason), and the words; hides nothing. Invariants: every order
 * is one line; a difference whose cause is not proved says what is known of it, never nothing.
 */
import type { LiveFacts } from '../live/facts.ts'
import { neverLeft } from '../live/facts.ts'
import type { Fill } from '../episodes.ts'
import type { OrderRow } from '../orders.ts'
import { endInWords, rejectionInWords } from '../remedies.ts'
import { cents, contracts, duration, plural } from '../words.ts'
import type { Act, DivergeClass, ModelFill, OrderLine, Predicted, Result } from './model.ts'

/** Two fills are of the same trade when they are no further apart: the exchange tells some times in whole seconds. */
export const SAME_TIME = 1_000_000
/** What happened this near to a command's arrival may have been a race. */
const RACE = 500_000

/** What is known of the market and the feed when an order was decided. */
export type Surroundings = { readonly lag: number | null; readonly lagUsual: number | null; readonly late: boolean }
export type OrderCase = {
  readonly row: OrderRow
  readonly fills: readonly Fill[]
  readonly acts: readonly Act[]
  /** Null: it was never put into the model. */
  readonly predicted: Predicted | null
  readonly facts: LiveFacts | null
  readonly around: Surroundings | null
  /** Price units of YES that the market is worth in the end; null: nothing is known. */
  readonly mark: number | null
}

export function judge(c: OrderCase): OrderLine {
  const { row, fills, acts, predicted, facts, mark } = c
  const submit = acts.find((a) => a.type === 'submit')
  const writes = facts?.ofOrder.get(row.order) ?? []
  const first = writes.find((w) => w.type === 'submit')
  const end = endOf(c)
  const within = (predicted?.fills ?? []).filter((f) => f.timeVenue <= end + SAME_TIME)
  const live = resultOf(row, fills, mark, liveEnd(row))
  const model = resultOf(row, within, mark, predicted === null ? 'not in the model' : modelEnd(predicted))
  const samples = predicted?.queue.filter((q) => q.ahead !== null) ?? []
  const spans = writes.flatMap((w) => (w.unknown === null ? [] : [w.unknown]))
  const unknownFor = spans.length === 0 ? null : spans.reduce((a, s) => a + ((s.until ?? s.since) - s.since), 0)
  const known: Known = { ...c, live, model, end, within, first, submit }
  const verdict = classOf(known)
  const more = [...besides(known, spans), ...verdict.more]
  return {
    order: row.order,
    market: row.market,
    owner: row.owner,
    side: row.side,
    type: row.type,
    price: row.price,
    quantity: row.quantity,
    amends: row.amends,
    decided: row.sent,
    arrival: submit?.arrival ?? null,
    basis: submit?.basis ?? null,
    live,
    model,
    modelAfter: (predicted?.fills ?? []).reduce((a, f) => a + f.quantity, 0) - model.filled,
    queueFirst: predicted?.aheadFirst ?? null,
    queueError: samples.length === 0 ? null : samples.reduce((a, q) => a + Math.abs((q.ahead as number) - q.venue), 0) / samples.length,
    queueSamples: samples.length,
    unknownFor,
    modelled: predicted !== null && predicted.known,
    class: verdict.class,
    why: [verdict.why, ...more].join('; '),
  }
}

type Known = OrderCase & {
  readonly live: Result
  readonly model: Result
  readonly end: number
  readonly within: readonly ModelFill[]
  readonly first: ReturnType<typeof firstWrite>
  readonly submit: Act | undefined
}
type Verdict = { readonly class: DivergeClass; readonly why: string; readonly more: readonly string[] }
function firstWrite(facts: LiveFacts, order: number) {
  return facts.ofOrder.get(order)?.find((w) => w.type === 'submit')
}
const verdict = (name: DivergeClass, why: string, ...more: readonly (string | null)[]): Verdict => ({
  class: name,
  why,
  more: more.filter((m): m is string => m !== null),
})

function classOf(k: Known): Verdict {
  const { row, facts, first, predicted, live, model } = k
  if (facts !== null) {
    if (first === undefined) return verdict('never-sent', 'decided, and no intent of it is on disk: it never left this machine')
    if (neverLeft(first) || (facts.rejected.get(row.order) ?? '').startsWith('gate:'))
      return verdict('never-sent', `no byte of it left: ${first.reason ?? facts.rejected.get(row.order) ?? 'not sent'}`)
    if (facts.absent.has(row.order))
      return verdict(
        'absent',
        `its answer was lost (${first.reason ?? 'no answer'}), and ${first.unknown?.until ? `${duration(first.unknown.until - first.unknown.since)} later ` : ''}it was proved that it never came to be`,
      )
  }
  if (row.state === 'rejected' && (predicted === null || !knowsRejection(row.reason)))
    return verdict('rejected', `the venue refused it (${rejectionInWords(row.reason)}), for a reason that no model knows: none was asked`)
  if (predicted === null || !predicted.known)
    return verdict('not-modelled', 'its market was not on the tape when it arrived, so the model cannot judge it')
  if (row.state === 'rejected') {
    const said = `the venue refused it (${rejectionInWords(row.reason)})`
    return predicted.rejected === null
      ? verdict('rejected', `${said}; the model took it, so the venue saw another book or it arrived at another moment`, race(k))
      : verdict('same', `${said}, and so did the model (${rejectionInWords(predicted.rejected)})`)
  }
  if (predicted.rejected !== null)
    return verdict(
      'model-refused',
      `the model refused it (${rejectionInWords(predicted.rejected)}), the venue took it: the book of the tape and the venue's differed at its arrival`,
      live.filled > 0 ? `it filled ${contracts(live.filled)}` : null,
      race(k),
    )
  if (live.filled > model.filled) return liveMore(k)
  if (model.filled > live.filled) return modelMore(k)
  if (live.filled === 0)
    return verdict('same', `nobody filled anything: ${live.end}${live.end === model.end ? '' : ` (in the model: ${model.end})`}`)
  const apart = (model.firstFill as number) - (live.firstFill as number)
  const when = `${duration(Math.abs(apart))} ${apart > 0 ? 'later' : 'earlier'}`
  if (live.cost !== model.cost)
    return verdict(
      'price',
      `both filled ${contracts(live.filled)}, at ${cents(live.cost / live.filled)} and in the model at ${cents(model.cost / model.filled)}: ${
        row.type !== 'gtc'
          ? 'the depth at the venue was not what the tape showed at its arrival'
          : Math.abs(apart) > SAME_TIME
            ? `the model's first fill came ${when}, with a change of price in between: it thinks the queue before the order ${apart > 0 ? 'longer' : 'shorter'} than it was`
            : 'a change of price had arrived in the one and not in the other'
      }`,
      queueText(k),
    )
  if (Math.abs(apart) > SAME_TIME)
    return verdict(
      'time',
      `both filled ${contracts(live.filled)} at the same price, the model ${when}: ${apart > 0 ? 'it thinks the queue before the order longer than it was' : 'it thinks the queue before the order shorter than it was'}`,
      queueText(k),
    )
  if (live.fees !== model.fees)
    return verdict(
      'fee',
      `the same fills, and fees of ${exact(live.fees)} and in the model ${exact(model.fees)}: the exchange rounds or charges this market in another way than the formula`,
    )
  return verdict('same', `both filled ${contracts(live.filled)} at ${cents(live.cost / live.filled)}`)
}

/** The venue gave more than the model. */
function liveMore(k: Known): Verdict {
  const { row, live, model, predicted } = k
  const head = `the venue filled ${contracts(live.filled)}, the model ${model.filled === 0 ? 'nothing' : `only ${contracts(model.filled)}`}`
  const after = (predicted?.fills ?? []).find((f) => f.timeVenue > k.end + SAME_TIME)
  const late = after === undefined ? null : `the model fills it ${duration(after.timeVenue - k.end)} after the real order had ended`
  if (row.type !== 'gtc')
    return verdict(
      'live-more',
      `${head}: ${predicted?.wholeBook === false ? 'the book of the tape was not whole at its arrival, and the model trades on nothing that it does not know' : 'more stood at the venue than the tape showed when it arrived (depth that came in between, or that our own earlier trade had taken from the model)'}`,
      race(k),
    )
  if (predicted !== null && predicted.late > 0 && predicted.ended === null && model.filled > 0)
    return verdict(
      'live-more',
      `${head}: in the model it was filled whole before ${predicted.late === 1 ? 'the change' : 'the changes'} that made it larger arrived (at ${clock(model.lastFill)}; the venue's first fill was at ${clock(live.firstFill)}), so the model was the faster one here`,
      queueText(k),
    )
  const ahead = predicted?.aheadAtFill ?? null
  return verdict(
    'live-more',
    ahead !== null && ahead > 0
      ? `${head}: the model is too pessimistic about the queue, it still had ${contracts(ahead)} before the order when the venue filled it`
      : ahead === 0
        ? `${head}: the model had nobody before it then, and saw no trade on the tape that reached it (a trade that is missing or has another label)`
        : `${head}: it no longer rested in the model then (${modelEnd(predicted as Predicted)})`,
    late,
    queueText(k),
    race(k),
  )
}

/** The model gave more than the venue. */
function modelMore(k: Known): Verdict {
  const { row, live, model, within } = k
  const head = `the model filled ${contracts(model.filled)}, the venue ${live.filled === 0 ? 'nothing' : `only ${contracts(live.filled)}`}`
  if (row.type !== 'gtc')
    return verdict(
      'model-more',
      `${head}: what the tape showed at its arrival was gone at the venue: somebody was faster, or it was our own trade a moment before`,
      race(k),
    )
  const extra = within.at(-1) as ModelFill
  const left = k.end - extra.timeVenue
  if (left >= -SAME_TIME && left < RACE && live.end !== 'filled whole')
    return verdict(
      'model-more',
      `${head}: a race, the trade came ${left >= 0 ? `${duration(left)} before` : `${duration(-left)} after`} the venue ended the order (${live.end})`,
      queueText(k),
    )
  return verdict(
    'model-more',
    `${head}: the model is too optimistic about the queue, at ${clock(extra.timeVenue)} a trade reached the order in the model and not at the venue (others stood before it, or our own presence changed what they did)`,
    queueText(k),
    race(k),
  )
}

function clock(time: number | null): string {
  return time === null ? 'no time' : new Date(time / 1000).toISOString().slice(11, 23)
}
/** Fees differ in fractions of a cent. */
function exact(fee: number): string {
  return `$${(fee / 1e6).toFixed(4)}`
}

/** What the venue told of its queue against what the model thought. */
function queueText({ predicted }: OrderCase): string | null {
  const last = predicted?.queue.filter((q) => q.ahead !== null).at(-1)
  if (last === undefined)
    return predicted?.aheadFirst == null
      ? null
      : `the model put ${contracts(predicted.aheadFirst)} before it at arrival; the venue never told its queue position`
  return `queue position as the venue told it last ${contracts(last.venue)}, in the model ${contracts(last.ahead as number)}`
}
/** Whether what came of it hung on when it arrived. */
function race({ submit, live, predicted }: Known): string | null {
  if (submit === undefined || predicted === null) return null
  const first = Math.min(live.firstFill ?? Infinity, predicted.fills[0]?.timeVenue ?? Infinity)
  if (first - submit.arrival > RACE || submit.basis === 'venue' || submit.basis === 'simulated') return null
  return `its arrival is only known to half a round trip, and the first fill came ${duration(Math.max(0, first - submit.arrival))} after it`
}

/** What was in the way beside the model. */
function besides(
  { around, acts, facts, row }: Known,
  spans: readonly { readonly since: number; until: number | null; how: string | null }[],
): string[] {
  const out: string[] = []
  for (const s of spans)
    out.push(
      s.until === null
        ? 'its outcome is unknown to the end'
        : `its outcome was unknown for ${duration(s.until - s.since)} and ended by ${s.how ?? 'news'}`,
    )
  if (around?.late === true && around.lag !== null)
    out.push(
      `it was decided while the feed was ${duration(around.lag)} late (usually ${around.lagUsual === null ? 'unknown' : duration(around.lagUsual)})`,
    )
  const cut = acts.find((a) => a.cut !== null && row.state !== 'rejected')
  if (cut !== undefined)
    out.push(`it was ended by something that no model knows (${endInWords(cut.cut as string)}): the model ends it then too`)
  const repeats = (facts?.ofOrder.get(row.order) ?? []).reduce((a, w) => a + w.repeats, 0)
  if (repeats > 0) out.push(`${plural(repeats, 'write')} of it ${repeats === 1 ? 'was' : 'were'} repeated`)
  return out
}

/** Whether a simulated venue can refuse for this: the others (money, permissions, rates) say nothing of a model. */
export function knowsRejection(reason: string): boolean {
  return /post.?only|cross|closed|paused|volume|grid/i.test(reason)
}

/** Venue time at which the real order was over; Infinity: it never was. */
function endOf({ row, fills, facts }: OrderCase): number {
  if (row.state === 'filled') return fills.at(-1)?.timeVenue ?? row.ended ?? Infinity
  if (row.state === 'working') return Infinity
  return facts?.ends.get(row.order)?.time ?? row.endedVenue ?? row.ended ?? Infinity
}
function liveEnd(row: OrderRow): string {
  if (row.state === 'filled') return 'filled whole'
  if (row.state === 'working') return 'it stood to the end'
  return row.state === 'rejected' ? `refused (${rejectionInWords(row.reason)})` : endInWords(row.reason)
}
function modelEnd({ ended, rejected, fills }: Predicted): string {
  if (rejected !== null) return `refused (${rejectionInWords(rejected)})`
  if (ended !== null) return endInWords(ended.reason)
  return fills.length > 0 ? 'filled' : 'it stood to the end'
}

function resultOf(row: OrderRow, fills: readonly ModelFill[], mark: number | null, end: string): Result {
  const sign = row.side === 'bid' ? 1 : -1
  let [filled, cost, fees] = [0, 0, 0]
  for (const f of fills) {
    filled += f.quantity
    cost += f.price * f.quantity
    fees += f.fee
  }
  return {
    filled,
    cost,
    fees,
    firstFill: fills[0]?.timeVenue ?? null,
    lastFill: fills.at(-1)?.timeVenue ?? null,
    pnl: filled === 0 ? 0 : mark === null ? null : sign * (mark * filled - cost) - fees,
    end,
  }
}
