/**
 * Our orders at the exchange: a reducer. Owns what is known of each order and what the engine was told of it; hides order and repetition of what comes in. Evidence in (`command`, `outcome`, `seen`, `filled`,
 * `swept`, `tick`), news and wanted writes and reads out; no clock, no await. Invariants: whatever the order in which the same evidence comes, the end is the same; a trade is booked once; an order's end is
 * told after all of its fills; nothing is concluded from what could not be read.
 */
import { SECOND } from '../../../engine/units.ts'
import type { AnswerNews, News } from '../../../engine/news.ts'
import type { Command } from '../../../engine/order.ts'
import type { FillFact, OrderFact, Source, Sweep, Wanted } from './evidence.ts'
import { isOfOrder, readClientId, type Intent, type OrderIntent } from './intent.ts'
import type { Outcome, WriteAnswer } from './outcome.ts'
import { Trades } from './trades.ts'
import { reasonOf, Tracked, type Kept, type Terms, type Unknown } from './tracked.ts'

export type OrdersOptions = {
  readonly nonce: string
  readonly subaccount: number
  /** Fills before the session's start are nobody's of it, µs at the exchange. */
  readonly start: number
  /** No absence is concluded so long after the last byte, µs. */
  readonly absenceMargin?: number
  /** So many complete sweeps in a row, so far apart (µs). */
  readonly absencePasses?: number
  readonly absenceGap?: number
  /** The exchange's data must be so much later than the last byte, µs. */
  readonly freshness?: number
}
/** What the venue shall write by itself: a repetition, or the order group's trigger when repetitions are no use. */
export type WantedWrite =
  | { readonly kind: 'repeat'; readonly intent: OrderIntent }
  | { readonly kind: 'trigger'; readonly group: string | null; readonly shard: number | null }
export type OrdersStatus = {
  readonly open: number
  readonly unknown: number
  readonly watched: number
  readonly held: number
  readonly trades: number
  readonly foreign: number
  readonly repeatedTrades: number
}

const ATTEMPTS_MAX = 3
const REPEAT_FIRST = 250_000
const REPEAT_REFUSED = SECOND
const READ_FIRST = 250_000
const READ_MAX = 5 * SECOND
const FOREIGN_MAX = 4_096
/** A cancel that found nothing, of an order that is shown resting for so long after it, did not happen. */
const MISSED_MAX = 10 * SECOND

export class Orders {
  readonly #o: Required<OrdersOptions>
  readonly #byOrder = new Map<number, Tracked>()
  readonly #byId = new Map<string, Tracked>()
  readonly #byTicker = new Map<string, Set<Tracked>>()
  readonly #trades = new Trades()
  /** Of others, by the venue's number: bounded. */
  readonly #foreign = new Map<string, string>()
  readonly #settled = new Set<string>()
  readonly #triggered = new Set<string>()
  /** Those that wait for something: asked by every tick. */
  readonly #restless = new Set<Tracked>()
  readonly #heldReads = new Map<string, { at: number; reads: number }>()
  #news: News[] = []
  #writes: WantedWrite[] = []
  #reads = new Set<string>()
  #sweep = false
  #sweepAt = 0
  #repeated = 0
  open = 0
  /** The exchange's clock − ours, µs. */
  clockOffset = 0

  constructor(options: OrdersOptions) {
    this.#o = { absenceMargin: 60 * SECOND, absencePasses: 5, absenceGap: 2 * SECOND, freshness: 5 * SECOND, ...options }
  }

  // ---------------------------------------------------------------------------------------------- out

  takeNews(): readonly News[] {
    const news = this.#news
    if (news.length > 0) this.#news = []
    return news
  }
  takeWrites(): readonly WantedWrite[] {
    const writes = this.#writes
    if (writes.length > 0) this.#writes = []
    return writes
  }
  takeWanted(): Wanted {
    const wanted = { reads: [...this.#reads], sweep: this.#sweep }
    this.#reads.clear()
    this.#sweep = false
    return wanted
  }
  get wants(): boolean {
    return this.#sweep || this.#reads.size > 0
  }
  /** Something is not settled: tick. */
  get restless(): boolean {
    return this.#restless.size > 0 || this.#heldReads.size > 0
  }
  get(order: number): Tracked | undefined {
    return this.#byOrder.get(order)
  }
  /** All that may rest or fill at the exchange. */
  *live(): IterableIterator<Tracked> {
    for (const t of this.#byOrder.values()) if (!t.over) yield t
  }
  get status(): OrdersStatus {
    let unknown = 0
    let watched = 0
    for (const t of this.#byOrder.values()) {
      if (t.unknown !== null) unknown++
      if (t.told === 'absent' || t.told === 'rejected') watched++
    }
    const { held, size: trades } = this.#trades
    return { open: this.open, unknown, watched, held: held.size, trades, foreign: this.#foreign.size, repeatedTrades: this.#repeated }
  }

  // ---------------------------------------------------------------------------------------------- memory

  /** The market has settled: its orders that are over are forgotten, the others when they are. */
  forget(ticker: string): void {
    const siblings = this.#byTicker.get(ticker)
    let left = 0
    for (const t of siblings ?? []) {
      if (!t.over) {
        left++
        continue
      }
      siblings?.delete(t)
      this.#byOrder.delete(t.order)
      if (t.id !== null) this.#byId.delete(t.id)
    }
    if (left > 0) return void this.#settled.add(ticker)
    this.#byTicker.delete(ticker)
    this.#settled.delete(ticker)
    this.#trades.forget(ticker)
    for (const [id, of] of this.#foreign) if (of === ticker) this.#foreign.delete(id)
  }

  /** What the log of the session kept, in its order. What has no outcome there is unknown from now on; everything that may live is looked at. */
  restore(kept: readonly Kept[], now: number): void {
    for (const k of kept) {
      if ('news' in k) this.#heard(k.news, now)
      else if ('intent' in k && isOfOrder(k.intent)) this.command(k.intent, k.time)
    }
    for (const t of this.#byOrder.values()) {
      if (t.over) continue
      const what = t.pending?.kind ?? t.unknown?.what ?? null
      t.pending = null
      if (what !== null) this.#doubt(t, what, 'restart', now)
      t.doubtful = true
      this.#watch(t, now)
    }
  }
  /** A command that a crash kept from being sent: provably no byte of it left. */
  dropped(order: number, type: Command['type']): void {
    const t = this.#byOrder.get(order)
    const kind = type === 'submit' ? 'rejected' : type === 'cancel' ? 'cancel-rejected' : 'amend-rejected'
    const news: AnswerNews = { type: kind, order, timeVenue: 0, reason: 'not-sent' }
    if (t === undefined) this.#news.push(news)
    else this.#tell(t, news)
  }
  /** A change of an order that has ended, as the engine is about to learn: it is not sent, and the engine does not wait for it. */
  pointless(order: number): void {
    this.#news.push({ type: 'amend-rejected', order, timeVenue: 0, reason: 'not-sent' })
  }
  #heard(news: News, now: number): void {
    if (news.type === 'foreign-fill') return void this.#trades.take(news.ticker, news.trade, { ...news, id: '' })
    if (!('order' in news)) return
    const t = this.#byOrder.get(news.order)
    if (t === undefined) return
    t.tell(news)
    switch (news.type) {
      case 'accepted':
        if (t.over) this.open++
        t.accepted = true
        t.id = news.id
        this.#byId.set(news.id, t)
        t.told = 'open'
        t.unknown = null
        t.next = null
        if (t.pending?.kind === 'create') t.pending = null
        return
      case 'amended':
        if (t.next !== null) {
          t.price = t.next.price
          t.total = t.next.total
        }
        return this.#answered(t)
      case 'decreased':
        t.total = t.booked + news.remaining
        return this.#answered(t)
      case 'amend-rejected':
        return this.#answered(t)
      case 'cancel-rejected':
        t.pending = null
        t.canceling = false
        return
      case 'no-answer':
        t.unknown = { what: t.pending?.kind ?? t.unknown?.what ?? 'create', at: now, passes: 0, passedAt: -Infinity }
        t.pending = null
        t.told = 'unknown'
        return
      case 'fill':
        t.booked += news.quantity
        this.#trades.take(t.ticker, news.trade, { ...news, id: t.id ?? '', side: t.create.side })
        if (t.engineOver) this.#close(t, 'over')
        return
      case 'canceled':
        return this.#close(t, 'over')
      case 'rejected':
      case 'absent':
        return this.#close(t, news.type)
    }
  }
  #answered(t: Tracked): void {
    t.next = null
    t.pending = null
    t.unknown = null
    if (!t.over) t.told = 'open'
    if (t.engineOver) this.#close(t, 'over')
  }
  #close(t: Tracked, told: 'over' | 'rejected' | 'absent'): void {
    if (!t.over) this.open--
    t.told = told
    t.pending = null
    t.unknown = null
    t.repeat = null
    this.#restless.delete(t)
  }

  // ---------------------------------------------------------------------------------------------- our writes

  /** An intent was made: it may leave from now on. */
  command(intent: OrderIntent, now: number): void {
    if (intent.kind === 'create') {
      const t = new Tracked(intent, now)
      this.#byOrder.set(intent.order, t)
      let siblings = this.#byTicker.get(intent.ticker)
      if (siblings === undefined) {
        siblings = new Set()
        this.#byTicker.set(intent.ticker, siblings)
      }
      siblings.add(t)
      this.open++
      return
    }
    const t = this.#byOrder.get(intent.order)
    if (t === undefined) return
    t.pending = intent
    if (intent.kind === 'amend') t.amends({ price: intent.price, total: intent.quantity })
    else if (intent.kind === 'decrease') t.decreasing = true
    else if (intent.kind === 'cancel') {
      t.cancelAsked = true
      t.canceling ||= intent.command !== null
    }
  }

  /** What became of a write. `now`: no byte of it can leave later. */
  outcome(intent: Intent, outcome: Outcome, now: number): void {
    if (intent.kind === 'cancel-batch') return this.#batch(outcome, now)
    if (!isOfOrder(intent)) return
    const t = this.#byOrder.get(intent.order)
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
    this.#settle(t)
    this.#watch(t, now)
  }
  /** An order group was triggered: its orders end for that reason. */
  triggered(group: string): void {
    this.#triggered.add(group)
  }

  #created(t: Tracked, outcome: Outcome, now: number): void {
    switch (outcome.kind) {
      case 'acknowledged': {
        const { answer } = outcome
        if (answer.kind !== 'create' || !this.#identify(t, answer.id, answer.remaining, answer.time, now)) return
        t.reported = Math.max(t.reported, answer.filled)
        if (answer.remaining === 0)
          this.#end(
            t,
            answer.filled < t.create.quantity ? (t.create.tif === 'gtc' ? 'self-trade' : 'ioc') : null,
            answer.filled,
            answer.filled < t.create.quantity,
          )
        return
      }
      case 'unknown':
        if (t.id === null && !t.over) this.#doubt(t, 'create', outcome.reason, now)
        return
      case 'rejected':
      case 'not-sent':
        if (t.told !== 'sent' && t.told !== 'unknown') return
        // Found meanwhile: it exists, whatever the answer says.
        if (t.id !== null) return void (t.doubtful = true)
        this.#close(t, 'rejected')
        this.#tell(t, { type: 'rejected', order: t.order, timeVenue: 0, reason: refusal(outcome) })
    }
  }
  #amended(t: Tracked, next: Terms, outcome: Outcome, now: number): void {
    const waits = t.next !== null && t.next.price === next.price && t.next.total === next.total
    if (!waits || t.over) return
    switch (outcome.kind) {
      case 'acknowledged': {
        const { answer } = outcome
        if (answer.kind !== 'amend') return
        this.#becomes(t, answer.time)
        // It traded whole, or stopped at an order of our own: a picture of it says which.
        if (answer.remaining === 0) t.doubtful = true
        return
      }
      case 'unknown':
        return this.#doubt(t, 'amend', outcome.reason, now)
      case 'rejected':
      case 'not-sent':
        t.next = null
        this.#tell(t, { type: 'amend-rejected', order: t.order, timeVenue: 0, reason: refusal(outcome) })
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
        if (answer.remaining < intent.quantity || t.booked + answer.remaining === t.total) this.#shrinks(t, t.total, answer.time)
        else t.reduced = { remaining: answer.remaining, time: answer.time }
        return
      }
      case 'unknown':
        if (intent.attempt < ATTEMPTS_MAX) t.repeat = { intent, at: now + REPEAT_FIRST * 2 ** (intent.attempt - 1) }
        else this.#doubt(t, 'decrease', outcome.reason, now)
        return
      case 'rejected':
      case 'not-sent':
        // Of a repetition: the first may have done it, and then there is nothing left to take away.
        if (intent.attempt > 1) return this.#doubt(t, 'decrease', refusal(outcome), now)
        this.#tell(t, { type: 'amend-rejected', order: t.order, timeVenue: 0, reason: refusal(outcome) })
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
          this.#doubt(t, 'cancel', outcome.reason, now)
          this.#writes.push({ kind: 'trigger', group: t.create.group, shard: t.create.shard })
        }
        return
      case 'not-sent':
        if (intent.attempt < ATTEMPTS_MAX) t.repeat = { intent, at: now + REPEAT_FIRST * 2 ** (intent.attempt - 1) }
        else this.#cancelFailed(t, refusal(outcome), now)
        return
      case 'rejected':
        // Not resting any more, or somewhere else: it proves nothing.
        if (outcome.status === 404) t.cancelMissed ??= now
        else if (outcome.status === 429 && intent.attempt < ATTEMPTS_MAX)
          t.repeat = { intent, at: now + REPEAT_REFUSED * 2 ** (intent.attempt - 1) }
        // Such as a market that has closed: the exchange ends the order, and says so.
        else this.#cancelFailed(t, refusal(outcome), now)
    }
  }
  /** Told to an engine that asked for it. */
  #cancelFailed(t: Tracked, reason: string, now: number): void {
    if (!t.canceling) return
    t.canceling = false
    t.cancelRefusedAt = now
    this.#tell(t, { type: 'cancel-rejected', order: t.order, timeVenue: 0, reason })
  }
  /** `reduced` rested until the cancel, so that everything else was filled; it must fit. */
  #cancelSays(t: Tracked, answer: WriteAnswer & { readonly kind: 'cancel' }, now: number): void {
    const filled = t.total - answer.reduced
    if (t.next === null && t.reduced === null && answer.reduced > 0 && filled >= t.booked) {
      t.changed = Math.max(t.changed, answer.time)
      this.#end(t, 'user', filled, true, false)
    } else t.cancelMissed ??= now
  }
  #batch(outcome: Outcome, now: number): void {
    if (outcome.kind !== 'acknowledged' || outcome.answer.kind !== 'cancel-batch') return
    for (const [id, item] of outcome.answer.items) {
      const t = this.#byId.get(id)
      if (t === undefined || t.over || t.ended !== null) continue
      t.cancelAsked = true
      if (item.kind === 'canceled') this.#cancelSays(t, { kind: 'cancel', id, reduced: item.reduced, time: item.time }, now)
      else t.cancelMissed ??= now
      this.#settle(t)
      this.#watch(t, now)
    }
  }

  // ---------------------------------------------------------------------------------------------- evidence

  /** A picture of an order, from wherever it came. */
  seen(fact: OrderFact, source: Source, now: number): void {
    if (fact.subaccount !== this.#o.subaccount || this.#trades.isForgotten(fact.ticker)) return
    const t = this.#byId.get(fact.id) ?? this.#ofClient(fact.client)
    if (t === undefined) return this.#foreignOrder(fact)
    const { create } = t
    if (create.ticker !== fact.ticker || create.side !== fact.side)
      return this.#halt(fact.ticker, `order ${fact.id} has the client order id of another order of ours`)
    // A refused order that the exchange lists as ended, without a fill, is what we know it to be.
    if (t.over && !t.accepted && fact.status !== 'resting' && fact.filled === 0 && !this.#trades.held.has(fact.id)) return
    if (!this.#identify(t, fact.id, fact.remaining, fact.updated ?? 0, now)) return
    t.reported = Math.max(t.reported, fact.filled)
    t.doubtful = false
    if (!t.over) {
      this.#compare(t, fact, source)
      if (fact.status !== 'resting') this.#endSeen(t, fact)
      else this.#rests(t, now)
    }
    this.#settle(t)
    this.#watch(t, now)
  }

  /** A fill of the account, from wherever it came. */
  filled(fact: FillFact, _source: Source, now: number): void {
    if (fact.subaccount !== this.#o.subaccount) return
    const t = this.#byId.get(fact.id)
    const whose = t === undefined && !this.#foreign.has(fact.id) ? 'nobody' : 'known'
    // The session's books begin with its positions at the start: what made those is in them.
    if (t === undefined && fact.timeVenue < this.#o.start) return
    const took = this.#trades.take(fact.ticker, fact.trade, fact)
    if (took !== 'new') {
      this.#repeated++
      if (took === 'different') this.#halt(fact.ticker, `trade ${fact.trade} was told twice with different content: the first counts`)
      return
    }
    if (whose === 'nobody') {
      this.#trades.hold(fact)
      this.#reads.add(fact.id)
      this.#heldReads.set(fact.id, { at: now + READ_FIRST, reads: 1 })
    } else if (t === undefined) this.#foreignFill(fact)
    else {
      this.#book(t, fact)
      this.#settle(t)
      this.#watch(t, now)
    }
  }

  /** A walk over all orders and fills: the truth as of its time, and the only way to prove that something is not. */
  swept(sweep: Sweep, now: number): void {
    for (const fact of sweep.orders ?? []) this.seen(fact, 'list', now)
    for (const fact of sweep.fills ?? []) this.filled(fact, 'list', now)
    const shown = new Map((sweep.orders ?? []).map((fact) => [fact.id, fact]))
    for (const t of this.#restless) {
      if (t.unknown !== null) this.#pass(t, sweep, t.id === null ? undefined : shown.get(t.id))
      this.#watch(t, now)
    }
  }
  /** One sweep against what is unknown. What is there was adopted already; here only what is not is concluded, and only from whole, fresh lists, again and again. */
  #pass(t: Tracked, sweep: Sweep, fact: OrderFact | undefined): void {
    const unknown = t.unknown as Unknown
    const { absenceMargin, absencePasses, absenceGap, freshness } = this.#o
    const { started, orders, fills, asOf, since } = sweep
    if (started - unknown.at < absenceMargin || started - unknown.passedAt < absenceGap) return
    const whole = orders !== null && fills !== null && since <= t.since + this.clockOffset
    const fresh = asOf !== null && asOf >= unknown.at + this.clockOffset + freshness
    const unchanged = fact !== undefined && fact.status === 'resting' && fact.price === t.price && fact.filled + fact.remaining === t.total
    if (!whole || !fresh || this.#trades.holds(t.ticker) || (unknown.what !== 'create' && !unchanged)) {
      unknown.passes = 0
      return
    }
    unknown.passes++
    unknown.passedAt = started
    // That an order still rests needs no repetition: it is asked to end again.
    if (unknown.passes < (unknown.what === 'cancel' ? 1 : absencePasses)) return
    t.unknown = null
    if (unknown.what === 'create') {
      this.#close(t, 'absent')
      this.#tell(t, { type: 'absent', order: t.order, timeVenue: 0 })
    } else {
      t.next = null
      t.told = 'open'
      t.canceling = false
      this.#tell(t, { type: 'accepted', order: t.order, timeVenue: fact?.updated ?? 0, remaining: t.total - t.booked, id: t.id as string })
    }
  }
  /** A targeted read found nothing: reads lag behind writes, so that this proves nothing. */
  readNotFound(_id: string): void {
    this.#sweep = true
  }

  /** Time passes: repetitions, and reads that are due again. */
  tick(now: number): void {
    for (const t of this.#restless) {
      if (t.repeat !== null && now >= t.repeat.at) {
        const { intent } = t.repeat
        t.repeat = null
        if (!t.over && t.ended === null)
          this.#writes.push({ kind: 'repeat', intent: { ...intent, command: null, attempt: intent.attempt + 1 } })
      }
      if (now < t.readAt) continue
      const reads = t.wantsRead
      const sweeps = !t.over && (t.lacksFills || (t.unknown !== null && t.id === null))
      if (reads) this.#reads.add(t.id as string)
      if (sweeps && now >= this.#sweepAt) {
        this.#sweep = true
        this.#sweepAt = now + READ_FIRST
      }
      if (reads || sweeps) t.readAt = now + Math.min(READ_MAX, READ_FIRST * 2 ** Math.min(t.reads++, 10))
      else if (t.repeat === null && t.unknown === null) this.#restless.delete(t)
    }
    for (const [id, held] of this.#heldReads) {
      if (!this.#trades.held.has(id)) this.#heldReads.delete(id)
      else if (now >= held.at) {
        this.#reads.add(id)
        held.at = now + Math.min(READ_MAX, READ_FIRST * 2 ** Math.min(held.reads++, 10))
      }
    }
  }

  // ---------------------------------------------------------------------------------------------- inside

  #tell(t: Tracked, news: AnswerNews): void {
    t.tell(news)
    this.#news.push(news)
  }
  #halt(ticker: string, reason: string): void {
    this.#news.push({ type: 'market-halted', ticker, reason })
  }
  #watch(t: Tracked, now: number): void {
    const needs = t.repeat !== null || t.unknown !== null || (!t.over && (t.wantsRead || t.lacksFills))
    if (!needs) return void this.#restless.delete(t)
    if (this.#restless.has(t)) return
    this.#restless.add(t)
    t.reads = 0
    // Fills follow by themselves most often; everything else is asked for at once.
    t.readAt = t.wantsRead ? now : now + READ_FIRST
  }

  #ofClient(client: string | null): Tracked | undefined {
    const said = client === null ? null : readClientId(client)
    if (said === null || said.nonce !== this.#o.nonce) return undefined
    const t = this.#byOrder.get(said.order)
    return t?.create.client === client ? t : undefined
  }
  /** The order is the one of that number. False: it is another one, and nothing said of it counts. */
  #identify(t: Tracked, id: string, remaining: number, time: number, now: number): boolean {
    if (t.id !== null && t.id !== id) {
      this.#halt(t.ticker, `two orders (${t.id} and ${id}) have the client order id ${t.create.client}`)
      return false
    }
    if (t.id === null) {
      t.id = id
      this.#byId.set(id, t)
    }
    if (!t.accepted) {
      t.accepted = true
      if (t.over) this.open++
      if (t.unknown?.what === 'create') t.unknown = null
      t.told = 'open'
      this.#tell(t, { type: 'accepted', order: t.order, timeVenue: time, remaining, id })
      for (const fact of this.#trades.release(id)) this.#book(t, fact)
      this.#watch(t, now)
    }
    return true
  }
  #doubt(t: Tracked, what: OrderIntent['kind'], reason: string, at: number): void {
    t.unknown ??= { what, at, passes: 0, passedAt: -Infinity }
    // Whole by its fills, it is over for the engine, whatever became of the change.
    if (t.told === 'unknown' || t.engineOver) return
    t.told = 'unknown'
    this.#tell(t, { type: 'no-answer', order: t.order, timeVenue: 0, reason })
  }
  #known(t: Tracked): void {
    t.unknown = null
    if (t.told === 'unknown') t.told = 'open'
  }

  /** The amend on its way is proved. */
  #becomes(t: Tracked, time: number): void {
    const next = t.next as Terms
    t.price = next.price
    t.total = next.total
    t.next = null
    t.changed = Math.max(t.changed, time)
    if (t.unknown?.what === 'amend') this.#known(t)
    this.#tell(t, { type: 'amended', order: t.order, timeVenue: time, remaining: Math.max(0, t.total - t.booked) })
  }
  /** The decrease is proved: that is its size in all. */
  #shrinks(t: Tracked, total: number, time: number): void {
    t.total = total
    t.reduced = null
    t.changed = Math.max(t.changed, time)
    if (t.pending?.kind === 'decrease') t.pending = null
    if (t.repeat?.intent.kind === 'decrease') t.repeat = null
    if (t.unknown?.what === 'decrease') this.#known(t)
    this.#tell(t, { type: 'decreased', order: t.order, timeVenue: time, remaining: Math.max(0, total - t.booked) })
  }
  /** Price and size of a picture against what we asked for. */
  #compare(t: Tracked, fact: OrderFact, source: Source): void {
    // A picture from before the last change that is proved shows terms that were.
    if (fact.updated === null || fact.updated < t.changed) return
    const resting = fact.status === 'resting'
    const total = fact.filled + fact.remaining
    const { next } = t
    if (next !== null && fact.price === next.price && (next.price !== t.price || (resting && total === next.total && total !== t.total))) {
      this.#becomes(t, fact.updated ?? 0)
    } else if (
      t.reduced !== null ||
      t.pending?.kind === 'decrease' ||
      t.unknown?.what === 'decrease' ||
      t.repeat?.intent.kind === 'decrease'
    ) {
      const fresh = t.reduced !== null && fact.updated !== null && fact.updated >= t.reduced.time
      if (resting && (total < t.total || fresh)) this.#shrinks(t, Math.min(total, t.total), fact.updated ?? 0)
    } else if (next === null && resting && source !== 'answer' && (fact.updated ?? 0) > t.changed && !t.meddled) {
      if (fact.price === t.price && total === t.total) return
      t.meddled = true
      this.#halt(t.ticker, `order ${fact.id} has other terms than we gave it: somebody else changed it`)
    }
  }
  /** It is shown resting although we asked for its end. */
  #rests(t: Tracked, now: number): void {
    if (t.ended !== null || t.cancelMissed === null) return
    // Reads lag behind writes: only after a while it is believed.
    if (now - t.cancelMissed < MISSED_MAX) return
    t.cancelMissed = null
    this.#cancelFailed(t, 'not-found', now)
  }
  #endSeen(t: Tracked, fact: OrderFact): void {
    t.changed = Math.max(t.changed, fact.updated ?? 0)
    if (fact.status === 'executed') return this.#end(t, null, fact.filled, false)
    const { reason, known } = reasonOf(fact.reason)
    // A word that is new: a picture without it follows most often, but the order has ended all the same.
    if (!known) this.#reads.add(fact.id)
    this.#end(t, reason, fact.filled, true)
  }
  /** `canceled`: something of it was not filled. */
  /** `proved`: the exchange said itself how much was filled; else it follows from our size of the order, and its word replaces it. */
  #end(t: Tracked, reason: string | null, filled: number, canceled: boolean, proved = true): void {
    if (t.ended !== null) {
      t.ended.filled = proved && !t.ended.proved ? filled : Math.max(t.ended.filled, filled)
      t.ended.proved ||= proved
      return
    }
    const { tif, expires, group } = t.create
    let why = reason
    if (why === null && !canceled) why = 'filled'
    else if (why === null && tif !== 'gtc') why = 'ioc'
    else if (why === null && t.cancelAsked) why = 'user'
    else if (why === null && group !== null && this.#triggered.has(group)) why = 'group'
    else if (why === null && expires !== null && t.changed >= expires) why = 'expired'
    t.ended = { reason: why ?? 'outside', filled, proved }
  }

  #book(t: Tracked, fact: FillFact): void {
    const room = t.most - t.booked
    if (t.create.ticker !== fact.ticker || t.create.side !== fact.side || fact.quantity > room) {
      // It is ours by its order, but cannot be of the order that we sent: the position changes all the same.
      this.#halt(fact.ticker, `trade ${fact.trade} does not fit order ${fact.id}: more than it had, or another side`)
      return this.#foreignFill(fact)
    }
    t.booked += fact.quantity
    const { price, quantity, fee, maker, trade, timeVenue } = fact
    this.#tell(t, { type: 'fill', order: t.order, timeVenue, price, quantity, fee, maker, trade })
  }
  /** Told when everything that was filled is booked. */
  #settle(t: Tracked): void {
    if (t.over || !t.accepted) return
    const full = t.booked >= t.total && t.next === null && t.reduced === null
    if (!full && (t.ended === null || t.lacksFills)) return
    if (!t.engineOver) this.#tell(t, { type: 'canceled', order: t.order, timeVenue: t.changed, reason: t.ended?.reason ?? 'filled' })
    this.#close(t, 'over')
    if (this.#settled.has(t.ticker)) this.forget(t.ticker)
  }

  #foreignOrder(fact: OrderFact): void {
    const fresh = !this.#foreign.has(fact.id)
    if (fresh) {
      this.#foreign.set(fact.id, fact.ticker)
      if (this.#foreign.size > FOREIGN_MAX) this.#foreign.delete(this.#foreign.keys().next().value as string)
    }
    const held = this.#trades.release(fact.id)
    const said = fact.client === null ? null : readClientId(fact.client)
    const lost = said?.nonce === this.#o.nonce
    if (fresh && (fact.status === 'resting' || held.length > 0 || lost))
      this.#halt(
        fact.ticker,
        lost ? `order ${fact.id} has an id of this session, but its log does not know it` : `order ${fact.id} is not ours`,
      )
    for (const fill of held) this.#foreignFill(fill)
  }
  #foreignFill({ ticker, side, price, quantity, fee, maker, trade, timeVenue }: FillFact): void {
    this.#news.push({ type: 'foreign-fill', ticker, side, price, quantity, fee, maker, trade, timeVenue })
  }
}

function refusal(outcome: Extract<Outcome, { readonly kind: 'rejected' | 'not-sent' }>): string {
  if (outcome.kind === 'rejected') return outcome.code
  return outcome.reason.startsWith('gate:') ? outcome.reason : 'not-sent'
}
