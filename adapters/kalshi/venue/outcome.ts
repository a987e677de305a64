/**
 * What an HTTP answer to a write means: one table. Owns the four outcomes; hides bodies. Invariant: every write ends in exactly one; only a refusal that could be read, of a kind that is documented, is
 * `rejected`; only a proof that no byte left is `not-sent`; everything else is `unknown`.
 *
 * | what came                                                            | outcome      |
 * |----------------------------------------------------------------------|--------------|
 * | 2xx that describes the order that was written about                  | acknowledged |
 * | 2xx of another shape, about another order, or with impossible counts | unknown      |
 * | 400 401 403 404 409 410 429 with a code                              | rejected     |
 * | 409 `order_already_exists`                                           | unknown      |
 * | any other status, 3xx, 408, 5xx, a refusal without a code            | unknown      |
 * | no answer, no byte written (proved)                                  | not-sent     |
 * | no answer otherwise                                                  | unknown      |
 */
import { parseQuantity } from '../../../engine/units.ts'
import type { HttpAnswer } from '../ports.ts'
import { errorOf } from '../wire/answers.ts'
import { WRITES } from '../wire/writes.ts'
import { isNameable, type Intent } from './intent.ts'

/** Quantities in 1/100 contract, times in µs. */
export type WriteAnswer =
  /** `filled`: at once. */
  | { readonly kind: 'create'; readonly id: string; readonly filled: number; readonly remaining: number; readonly time: number }
  /** Null where the answer does not say. `filled`: by the amend. */
  | {
      readonly kind: 'amend'
      readonly id: string
      readonly filled: number | null
      readonly remaining: number | null
      readonly time: number
    }
  | { readonly kind: 'decrease'; readonly id: string; readonly remaining: number; readonly time: number }
  /** `reduced`: what rested until then. */
  | { readonly kind: 'cancel'; readonly id: string; readonly reduced: number; readonly time: number }
  | { readonly kind: 'cancel-batch'; readonly items: ReadonlyMap<string, BatchItem> }
  | { readonly kind: 'cancel-all' }
  /** `id`: of the group. */
  | { readonly kind: 'group'; readonly id: string }
export type BatchItem =
  | { readonly kind: 'canceled'; readonly reduced: number; readonly time: number }
  | { readonly kind: 'rejected'; readonly code: string }
export type Outcome =
  | { readonly kind: 'acknowledged'; readonly answer: WriteAnswer }
  /** `status` null: our own gate. */
  | { readonly kind: 'rejected'; readonly code: string; readonly status: number | null }
  | { readonly kind: 'not-sent'; readonly reason: string }
  /** `unreadable`: a success that says nothing of an order. */
  | { readonly kind: 'unknown'; readonly reason: string; readonly unreadable?: true }

/** What came back over the wire, or how it did not. */
export type Passage = { readonly answer: HttpAnswer } | { readonly answer: null; readonly sent: boolean; readonly reason: string }

const REFUSALS: ReadonlySet<number> = new Set([400, 401, 403, 404, 409, 410, 429])

export function outcomeOf(intent: Intent, passage: Passage): Outcome {
  if (passage.answer === null)
    return passage.sent ? { kind: 'unknown', reason: passage.reason } : { kind: 'not-sent', reason: passage.reason }
  const { status, body, type } = passage.answer
  if (status >= 200 && status < 300) {
    const answer = read(intent, status, body, type)
    if (typeof answer !== 'string') return { kind: 'acknowledged', answer }
    const reason = `${status} ${answer}`
    // Answers about another order have been seen: the exchange is well for all that.
    return answer === OTHER || answer === IMPOSSIBLE ? { kind: 'unknown', reason } : { kind: 'unknown', reason, unreadable: true }
  }
  const code = errorOf(body)?.code ?? ''
  if (!REFUSALS.has(status) || code === '') return { kind: 'unknown', reason: code === '' ? String(status) : `${status} ${codeOf(code)}` }
  // An order of ours with this id exists: it is looked for, and never sent again.
  if (status === 409 && code === 'order_already_exists') return { kind: 'unknown', reason: 'order_already_exists' }
  return { kind: 'rejected', code: codeOf(code), status }
}

/** One word: a code may carry data (`user_not_found: <id>`), and 429 says a sentence. */
function codeOf(code: string): string {
  return (code.split(':')[0] as string).trim().toLowerCase().replace(/\s+/g, '_').slice(0, 60)
}

/** The answer, or why it is not believed. */
function read(intent: Intent, status: number, body: string, type: string): WriteAnswer | string {
  // Cancel-all answers 204 with nothing; a page of whoever stands between is no answer.
  if (intent.kind === 'cancel-all' && status === 204) return { kind: 'cancel-all' }
  if (type !== '' && !type.includes('json')) return `with ${type.slice(0, 40)} instead of JSON`
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    return 'with something that is not JSON'
  }
  switch (intent.kind) {
    case 'cancel-all':
      return { kind: 'cancel-all' }
    case 'create': {
      if (!WRITES.create.is(value)) return without(WRITES.create.why(value))
      const filled = count(value.fill_count)
      const remaining = count(value.remaining_count)
      if (isOther(value.client_order_id, intent.client) || !isNameable(value.order_id)) return OTHER
      if (!(filled >= 0 && remaining >= 0 && filled + remaining <= intent.quantity)) return IMPOSSIBLE
      return { kind: 'create', id: value.order_id, filled, remaining, time: value.ts_ms * 1000 }
    }
    case 'amend': {
      if (!WRITES.amend.is(value)) return without(WRITES.amend.why(value))
      const filled = maybe(value.fill_count)
      const remaining = maybe(value.remaining_count)
      if (value.order_id !== intent.id) return OTHER
      if (!((filled ?? 0) >= 0 && (remaining ?? 0) >= 0 && (filled ?? 0) + (remaining ?? 0) <= intent.quantity)) return IMPOSSIBLE
      return { kind: 'amend', id: value.order_id, filled, remaining, time: value.ts_ms * 1000 }
    }
    case 'decrease': {
      if (!WRITES.decrease.is(value)) return without(WRITES.decrease.why(value))
      const remaining = count(value.remaining_count)
      if (value.order_id !== intent.id) return OTHER
      if (!(remaining >= 0 && remaining <= intent.quantity)) return IMPOSSIBLE
      return { kind: 'decrease', id: value.order_id, remaining, time: value.ts_ms * 1000 }
    }
    case 'cancel': {
      if (!WRITES.cancel.is(value)) return without(WRITES.cancel.why(value))
      const reduced = count(value.reduced_by)
      if (value.order_id !== intent.id) return OTHER
      if (!(reduced >= 0)) return IMPOSSIBLE
      return { kind: 'cancel', id: value.order_id, reduced, time: value.ts_ms * 1000 }
    }
    case 'cancel-batch': {
      if (!WRITES.cancelBatch.is(value)) return without(WRITES.cancelBatch.why(value))
      const asked = new Set(intent.orders.map((o) => o.id))
      const items = new Map<string, BatchItem>()
      for (const { order_id: id, reduced_by: by, ts_ms: time, error } of value.orders) {
        // What is told twice, or was not asked, is believed of nobody; what is missing is unknown.
        if (!asked.has(id) || items.has(id)) return OTHER
        const code = error?.code ?? ''
        if (error !== undefined && error !== null) {
          if (code !== '') items.set(id, { kind: 'rejected', code: codeOf(code) })
        } else if (by !== undefined && by !== null && count(by) >= 0)
          items.set(id, { kind: 'canceled', reduced: count(by), time: (time ?? 0) * 1000 })
      }
      return { kind: 'cancel-batch', items }
    }
    case 'group-create': {
      if (!WRITES.groupCreate.is(value)) return without(WRITES.groupCreate.why(value))
      return !isNameable(value.order_group_id) ? OTHER : { kind: 'group', id: value.order_group_id }
    }
    case 'group-limit':
    case 'group-reset':
    case 'group-trigger':
    case 'group-delete':
      return { kind: 'group', id: intent.group }
  }
}
const OTHER = 'about another order'
const IMPOSSIBLE = 'with counts that cannot be'

function without(why: string): string {
  return `without what it should say (${why})`
}
function isOther(said: string | null | undefined, ours: string): boolean {
  return said !== undefined && said !== null && said !== '' && said !== ours
}
function count(value: string | number): number {
  return parseQuantity(String(value))
}
function maybe(value: string | number | null | undefined): number | null {
  return value === undefined || value === null ? null : count(value)
}
