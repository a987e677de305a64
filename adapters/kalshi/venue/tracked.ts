/**
 * One order as the exchange and the engine know it. Owns its shape and the words for why the exchange ends an order; hides nothing. Invariant: what the engine was told is kept beside what is known, so that
 * it is never told what cannot be.
 */
import type { AnswerNews, News } from '../../../engine/news.ts'
import type { CreateIntent, Intent, OrderIntent } from './intent.ts'

/** The engine's picture: `absent` and `rejected` are over for it, but are watched on. */
export type Told = 'sent' | 'open' | 'unknown' | 'over' | 'absent' | 'rejected'
/** What the log of a session keeps of its orders, in its order. `time`: when the intent was made, or the news entered, µs. */
export type Kept =
  | { readonly intent: Intent; readonly time: number }
  | { readonly news: News; readonly time?: number }
  /** Number of a command that never became an intent. */
  | { readonly dropped: number }
export type Terms = { readonly price: number; readonly total: number }
/** A write whose outcome nobody knows. `at`: no byte of it can have left after that, µs. */
export type Unknown = { readonly what: OrderIntent['kind']; readonly at: number; passes: number; passedAt: number }

export class Tracked {
  readonly create: CreateIntent
  /** When its intent was made, µs. */
  readonly since: number
  id: string | null = null
  told: Told = 'sent'
  /** The engine was given its number at the exchange. */
  accepted = false
  price: number
  /** Filled and resting, as last proved. */
  total: number
  /** What an amend on its way, or of unknown outcome, would make of it. */
  next: Terms | null = null
  /** Σ trades booked. */
  booked = 0
  /** The most that the exchange said was filled. */
  reported = 0
  /** It does not rest any more. `filled`: what the exchange says was filled by then; it is over when all of that is booked. */
  ended: { readonly reason: string; filled: number; proved: boolean } | null = null
  pending: OrderIntent | null = null
  unknown: Unknown | null = null
  /** A decrease was acknowledged: what it left resting, and its time at the exchange; what that is in all shows the next picture of the order. */
  reduced: { readonly remaining: number; readonly time: number } | null = null
  /** The engine waits for what becomes of a decrease: whichever proof comes first answers it, and no other does. */
  decreasing = false
  /** We asked for its end: where the exchange says no other reason, that is it. */
  cancelAsked = false
  /** The engine asked, and waits for what becomes of it. */
  canceling = false
  cancelRefusedAt = -Infinity
  /** A cancel found nothing that rests, or said something that does not fit: since when, µs. */
  cancelMissed: number | null = null
  /** A picture of it is wanted whatever else is known (after a restart). */
  doubtful = false
  /** A repetition that is due, µs. */
  repeat: { readonly intent: OrderIntent; readonly at: number } | null = null
  /** Venue time of the last change that is proved, µs. */
  changed = 0
  reads = 0
  readAt = 0
  /** Somebody else changed it: said once. */
  meddled = false
  // The engine's own picture: it ends an order by itself with the fill that makes it whole, as far as it knows its size.
  #engineTotal: number
  #engineNext: number | null = null
  #engineFilled = 0
  engineOver = false

  constructor(create: CreateIntent, since: number) {
    this.create = create
    this.since = since
    this.price = create.price
    this.total = create.quantity
    this.pending = create
    this.#engineTotal = create.quantity
  }

  /** An amend leaves. */
  amends(next: Terms): void {
    this.next = next
    this.#engineNext = next.total
  }
  /** The engine is told. */
  tell(news: AnswerNews): void {
    if (news.type !== 'fill' && news.type !== 'no-answer' && news.type !== 'cancel-rejected') this.decreasing = false
    switch (news.type) {
      case 'fill': {
        this.#engineFilled += news.quantity
        if (this.#engineFilled === Math.max(this.#engineTotal, this.#engineNext ?? 0)) this.engineOver = true
        return
      }
      case 'amended':
        this.#engineTotal = this.#engineNext ?? this.#engineTotal
        this.#engineNext = null
        return
      case 'decreased':
        this.#engineTotal = this.#engineFilled + news.remaining
        this.#engineNext = null
        return
      case 'amend-rejected':
        this.#engineNext = null
        if (this.#engineFilled >= this.#engineTotal) this.engineOver = true
        return
      case 'accepted':
        this.#engineNext = null
        this.engineOver = false
        return
      case 'canceled':
      case 'rejected':
      case 'absent':
        this.engineOver = true
        return
      case 'cancel-rejected':
      case 'no-answer':
    }
  }

  get order(): number {
    return this.create.order
  }
  get ticker(): string {
    return this.create.ticker
  }
  /** Nothing of it can rest or fill as far as is known. */
  get over(): boolean {
    return this.told === 'over' || this.told === 'absent' || this.told === 'rejected'
  }
  /** The most that may be filled. */
  get most(): number {
    return this.next === null ? this.total : Math.max(this.total, this.next.total)
  }
  /** Its fills are not all booked. */
  get lacksFills(): boolean {
    return this.booked < Math.max(this.reported, this.ended?.filled ?? 0)
  }
  /** A picture of the order itself would help. */
  get wantsRead(): boolean {
    if (this.id === null || this.over) return false
    return this.doubtful || this.unknown !== null || this.reduced !== null || this.cancelMissed !== null
  }
}

/** Words of the exchange for the last change of a canceled order (api.md §5.6). `Decrease` and `Amend` name no reason: whoever asked for it. */
const REASONS: Readonly<Record<string, string>> = {
  MarginCancel: 'margin',
  SelfTradeCancel: 'self-trade',
  ExpiryCancel: 'expired',
  CloseCancel: 'closed',
  HaltCancel: 'halted',
  PostOnlyCrossCancel: 'post-only',
  ReduceOnlyCancel: 'reduce-only',
  SettlementBoundsCancel: 'bounds',
}
/** Why the exchange says an order ended; null where it names nobody. `known` is false for a word that is new. */
export function reasonOf(word: string | null): { readonly reason: string | null; readonly known: boolean } {
  if (word === null || word === '' || word === 'Decrease' || word === 'Amend' || word === 'Trade') return { reason: null, known: true }
  const reason = Object.hasOwn(REASONS, word) ? (REASONS[word] as string) : null
  return { reason, known: reason !== null }
}
