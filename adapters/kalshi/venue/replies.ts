/**
 * What became of our writes. Owns what an outcome means for its order: which are told, which are repeated (cancels and decreases, visibly and three times at most), which are unknown; hides nothing. Invariant: a
 * create or an amend is never repeated.
 */
import { SECOND } from '../../../engine/units.ts'
import { isOfOrder, type Intent, type OrderIntent } from './intent.ts'
import type { Ledger } from './ledger.ts'
import type { Outcome, WriteAnswer } from './outcome.ts'
import type { Terms, Tracked } from './tracked.ts'

const ATTEMPTS_MAX = 3
const REPEAT_FIRST = 250_000
const REPEAT_REFUSED = SECOND

export class Replies {
  readonly #ledger: Ledger

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** What became of a write. `now`: no byte of it can leave later. */
  outcome(intent: Intent, outcome: Outcome, now: number): void {
    if (intent.kind === 'cancel-batch') return this.#batch(outcome, now)
    if (!isOfOrder(intent)) return
    const t = this.#ledger.byOrder.get(intent.order)
    if (t === undefined) return
    if (t.pending === intent || (t.pending?.kind === intent.kind && t.pending.attempt === intent.attempt)) t.pending = null
    switch (intent.kind) {
      case 'create':
        this.#created(t, outcome, now)
        break
      case 'amend':
        this.#amended(t, { price: intent.price, total: intent.quantity }, outcome, now)
        break
      case 'decrease':
        this.#decreased(t, intent, outcome, now)
        break
      case 'cancel':
        this.#canceled(t, intent, outcome, now)
        break
    }
    this.#ledger.settle(t)
    this.#ledger.watch(t, now)
  }

  #created(t: Tracked, outcome: Outcome, now: number): void {
    switch (outcome.kind) {
      case 'acknowledged': {
        const { answer } = outcome
        if (answer.kind !== 'create' || !this.#ledger.identify(t, answer.id, answer.remaining, answer.time, now)) return
        t.reported = Math.max(t.reported, answer.filled)
        if (answer.remaining === 0)
          this.#ledger.end(
            t,
            answer.filled < t.create.quantity ? (t.create.tif === 'gtc' ? 'self-trade' : 'ioc') : null,
            answer.filled,
            answer.filled < t.create.quantity,
          )
        return
      }
      case 'unknown':
        if (t.id === null && !t.over) this.#ledger.doubt(t, 'create', outcome.reason, now)
        return
      case 'rejected':
      case 'not-sent':
        if (t.told !== 'sent' && t.told !== 'unknown') return
        // Found meanwhile: it exists, whatever the answer says.
        if (t.id !== null) return void (t.doubtful = true)
        this.#ledger.close(t, 'rejected')
        this.#ledger.tell(t, { type: 'rejected', order: t.order, timeVenue: 0, reason: refusal(outcome) })
    }
  }
  #amended(t: Tracked, next: Terms, outcome: Outcome, now: number): void {
    const waits = t.next !== null && t.next.price === next.price && t.next.total === next.total
    if (!waits || t.over) return
    switch (outcome.kind) {
      case 'acknowledged': {
        const { answer } = outcome
        if (answer.kind !== 'amend') return
        this.#ledger.becomes(t, answer.time)
        // It traded whole, or stopped at an order of our own: a picture of it says which.
        if (answer.remaining === 0) t.doubtful = true
        return
      }
      case 'unknown':
        return this.#ledger.doubt(t, 'amend', outcome.reason, now)
      case 'rejected':
      case 'not-sent':
        t.next = null
        this.#ledger.tell(t, { type: 'amend-rejected', order: t.order, timeVenue: 0, reason: refusal(outcome) })
        if (outcome.kind === 'rejected' && outcome.status !== null) t.doubtful = true
    }
  }
  #decreased(t: Tracked, intent: OrderIntent & { readonly kind: 'decrease' }, outcome: Outcome, now: number): void {
    // A picture of the order may have answered it: by now the engine waits for something else.
    if (t.over || !t.decreasing) return
    switch (outcome.kind) {
      case 'acknowledged': {
        const { answer } = outcome
        if (answer.kind !== 'decrease') return
        t.unknown = t.unknown?.what === 'decrease' ? null : t.unknown
        // Less rests than was asked for, or as much as by our count anyway: it was filled down to that, and nothing was taken away.
        if (answer.remaining < intent.quantity || t.booked + answer.remaining === t.total) this.#ledger.shrinks(t, t.total, answer.time)
        else t.reduced = { remaining: answer.remaining, time: answer.time }
        return
      }
      case 'unknown':
        if (intent.attempt < ATTEMPTS_MAX) t.repeat = { intent, at: now + REPEAT_FIRST * 2 ** (intent.attempt - 1) }
        else this.#ledger.doubt(t, 'decrease', outcome.reason, now)
        return
      case 'rejected':
      case 'not-sent':
        // Of a repetition: the first may have done it, and then there is nothing left to take away.
        if (intent.attempt > 1) return this.#ledger.doubt(t, 'decrease', refusal(outcome), now)
        this.#ledger.tell(t, { type: 'amend-rejected', order: t.order, timeVenue: 0, reason: refusal(outcome) })
        if (outcome.kind === 'rejected' && outcome.status !== null) t.doubtful = true
    }
  }
  #canceled(t: Tracked, intent: OrderIntent & { readonly kind: 'cancel' }, outcome: Outcome, now: number): void {
    if (t.over || t.ended !== null) return
    switch (outcome.kind) {
      case 'acknowledged':
        if (outcome.answer.kind === 'cancel') this.#cancelSays(t, outcome.answer, now)
        return
      case 'unknown':
        if (intent.attempt < ATTEMPTS_MAX) t.repeat = { intent, at: now + REPEAT_FIRST * 2 ** (intent.attempt - 1) }
        else {
          this.#ledger.doubt(t, 'cancel', outcome.reason, now)
          this.#ledger.writes.push({ kind: 'trigger', group: t.create.group, shard: t.create.shard })
        }
        return
      case 'not-sent':
        if (intent.attempt < ATTEMPTS_MAX) t.repeat = { intent, at: now + REPEAT_FIRST * 2 ** (intent.attempt - 1) }
        else this.#ledger.cancelFailed(t, refusal(outcome), now)
        return
      case 'rejected':
        // Not resting any more, or somewhere else: it proves nothing.
        if (outcome.status === 404) t.cancelMissed ??= now
        else if (outcome.status === 429 && intent.attempt < ATTEMPTS_MAX)
          t.repeat = { intent, at: now + REPEAT_REFUSED * 2 ** (intent.attempt - 1) }
        // Such as a market that has closed: the exchange ends the order, and says so.
        else this.#ledger.cancelFailed(t, refusal(outcome), now)
    }
  }
  /** `reduced` rested until the cancel, so that everything else was filled; it must fit. */
  #cancelSays(t: Tracked, answer: WriteAnswer & { readonly kind: 'cancel' }, now: number): void {
    const filled = t.total - answer.reduced
    if (t.next === null && t.reduced === null && answer.reduced > 0 && filled >= t.booked) {
      t.changed = Math.max(t.changed, answer.time)
      this.#ledger.end(t, 'user', filled, true, false)
    } else t.cancelMissed ??= now
  }
  #batch(outcome: Outcome, now: number): void {
    if (outcome.kind !== 'acknowledged' || outcome.answer.kind !== 'cancel-batch') return
    for (const [id, item] of outcome.answer.items) {
      const t = this.#ledger.byId.get(id)
      if (t === undefined || t.over || t.ended !== null) continue
      t.cancelAsked = true
      if (item.kind === 'canceled') this.#cancelSays(t, { kind: 'cancel', id, reduced: item.reduced, time: item.time }, now)
      else t.cancelMissed ??= now
      this.#ledger.settle(t)
      this.#ledger.watch(t, now)
    }
  }
}

function refusal(outcome: Extract<Outcome, { readonly kind: 'rejected' | 'not-sent' }>): string {
  if (outcome.kind === 'rejected') return outcome.code
  return outcome.reason.startsWith('gate:') ? outcome.reason : 'not-sent'
}
