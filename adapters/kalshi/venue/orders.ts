/**
 * Our orders at the exchange: a reducer. Owns what is known of each order and what the engine was told of it; hides order and repetition of what comes in. Evidence in (`command`, `outcome`, `seen`, `filled`,
 * `swept`, `tick`), news and wanted writes and reads out; no clock, no await. Invariants: whatever the order in which the same evidence comes, the end is the same; a trade is booked once; an order's end is
 * told after all of its fills; nothing is concluded from what could not be read.
 */
import { SECOND } from '../../../engine/units.ts'
import type { News } from '../../../engine/news.ts'
import type { Command } from '../../../engine/order.ts'
import type { FillFact, OrderFact, Source, Sweep, Wanted } from './evidence.ts'
import { isOfFlatten, readClientId, type Intent, type OrderIntent } from './intent.ts'
import { Ledger, READ_FIRST, type OrdersOptions, type WantedWrite } from './ledger.ts'
import type { Outcome } from './outcome.ts'
import { Replies } from './replies.ts'
import { dropped, restore } from './restore.ts'
import { reasonOf, Tracked, type Kept, type Unknown } from './tracked.ts'

export type OrdersStatus = {
  readonly open: number
  readonly unknown: number
  readonly watched: number
  readonly held: number
  readonly trades: number
  readonly foreign: number
  readonly repeatedTrades: number
}

const READ_MAX = 5 * SECOND
const FOREIGN_MAX = 4_096
/** A cancel that found nothing, of an order that is shown resting for so long after it, did not happen. */
const MISSED_MAX = 10 * SECOND

export class Orders {
  readonly #ledger: Ledger
  readonly #replies: Replies
  readonly #heldReads = new Map<string, { at: number; reads: number }>()
  #sweepAt = 0

  constructor(options: OrdersOptions) {
    this.#ledger = new Ledger(options)
    this.#replies = new Replies(this.#ledger)
  }

  // ---------------------------------------------------------------------------------------------- out

  takeNews(): readonly News[] {
    const news = this.#ledger.news
    if (news.length > 0) this.#ledger.news = []
    return news
  }
  takeWrites(): readonly WantedWrite[] {
    const writes = this.#ledger.writes
    if (writes.length > 0) this.#ledger.writes = []
    return writes
  }
  takeWanted(): Wanted {
    const wanted = { reads: [...this.#ledger.reads], sweep: this.#ledger.sweepDue }
    this.#ledger.reads.clear()
    this.#ledger.sweepDue = false
    return wanted
  }
  get wants(): boolean {
    return this.#ledger.sweepDue || this.#ledger.reads.size > 0
  }
  /** Something is not settled: tick. */
  get restless(): boolean {
    return this.#ledger.waiting.size > 0 || this.#heldReads.size > 0
  }
  get(order: number): Tracked | undefined {
    return this.#ledger.byOrder.get(order)
  }
  /** All that may rest or fill at the exchange. */
  live(): IterableIterator<Tracked> {
    return this.#ledger.alive.values()
  }
  /** Orders that may be open at the exchange. */
  get open(): number {
    return this.#ledger.alive.size
  }
  get status(): OrdersStatus {
    let unknown = 0
    let watched = 0
    for (const t of this.#ledger.byOrder.values()) {
      if (t.unknown !== null) unknown++
      if (t.told === 'absent' || t.told === 'rejected') watched++
    }
    const { held, size: trades } = this.#ledger.trades
    return {
      open: this.#ledger.alive.size,
      unknown,
      watched,
      held: held.size,
      trades,
      foreign: this.#ledger.foreign.size,
      repeatedTrades: this.#ledger.repeated,
    }
  }

  // ---------------------------------------------------------------------------------------------- in: what we did

  /** An intent was made: it may leave from now on. */
  command(intent: OrderIntent, now: number): void {
    if (intent.kind === 'create') {
      const t = new Tracked(intent, now)
      this.#ledger.byOrder.set(intent.order, t)
      let siblings = this.#ledger.byTicker.get(intent.ticker)
      if (siblings === undefined) {
        siblings = new Set()
        this.#ledger.byTicker.set(intent.ticker, siblings)
      }
      siblings.add(t)
      this.#ledger.alive.add(t)
      return
    }
    const t = this.#ledger.byOrder.get(intent.order)
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
    this.#replies.outcome(intent, outcome, now)
  }
  /** Whether a trade of the account is told, as ours or as somebody else's. */
  isBooked(ticker: string, trade: string): boolean {
    return this.#ledger.trades.isBooked(ticker, trade)
  }
  /** An order group was triggered: its orders end for that reason. */
  triggered(group: string): void {
    this.#ledger.groupsTriggered.add(group)
  }
  /** The exchange's clock − ours, µs. */
  get clockOffset(): number {
    return this.#ledger.clockOffset
  }
  set clockOffset(offset: number) {
    this.#ledger.clockOffset = offset
  }
  /** The market has settled: its orders that are over are forgotten, the others when they are. */
  forget(ticker: string): void {
    this.#ledger.forget(ticker)
  }
  /** What the log of the session kept, in its order. */
  restore(kept: readonly Kept[], now: number): void {
    restore(this.#ledger, kept, (intent, time) => this.command(intent, time), now)
  }
  /** A change of an order that has ended, as the engine is about to learn: it is not sent, and the engine does not wait for it. */
  pointless(order: number): void {
    this.#ledger.news.push({ type: 'amend-rejected', order, timeVenue: 0, reason: 'not-sent' })
  }
  /** A command that a crash kept from being sent. */
  dropped(order: number, type: Command['type']): void {
    dropped(this.#ledger, order, type)
  }

  // ---------------------------------------------------------------------------------------------- in: what the exchange says

  /** A picture of an order, from wherever it came. */
  seen(fact: OrderFact, source: Source, now: number): void {
    if (fact.subaccount !== this.#ledger.options.subaccount || this.#ledger.trades.isForgotten(fact.ticker)) return
    const t = this.#ledger.byId.get(fact.id) ?? this.#ledger.ofClient(fact.client)
    if (t === undefined) return this.#foreignOrder(fact)
    const { create } = t
    if (create.ticker !== fact.ticker || create.side !== fact.side)
      return this.#ledger.halt(fact.ticker, `order ${fact.id} has the client order id of another order of ours`)
    // A refused order that the exchange lists as ended, without a fill, is what we know it to be.
    if (t.over && !t.accepted && fact.status !== 'resting' && fact.filled === 0 && !this.#ledger.trades.held.has(fact.id)) return
    if (!this.#ledger.identify(t, fact.id, fact.remaining, fact.updated ?? 0, now)) return
    t.reported = Math.max(t.reported, fact.filled)
    t.doubtful = false
    if (!t.over) {
      this.#compare(t, fact, source)
      if (fact.status !== 'resting') this.#endSeen(t, fact)
      else this.#rests(t, now)
    }
    this.#ledger.settle(t)
    this.#ledger.watch(t, now)
  }

  /** A fill of the account, from wherever it came. */
  filled(fact: FillFact, _source: Source, now: number): void {
    if (fact.subaccount !== this.#ledger.options.subaccount) return
    const t = this.#ledger.byId.get(fact.id)
    const whose = t === undefined && !this.#ledger.foreign.has(fact.id) ? 'nobody' : 'known'
    // The session's books begin with its positions at the start: what made those is in them.
    if (t === undefined && fact.timeVenue < this.#ledger.options.start) return
    const took = this.#ledger.trades.take(fact.ticker, fact.trade, fact)
    if (took !== 'new') {
      this.#ledger.repeated++
      if (took === 'different')
        this.#ledger.halt(fact.ticker, `trade ${fact.trade} was told twice with different content: the first counts`)
      return
    }
    if (whose === 'nobody') {
      this.#ledger.trades.hold(fact)
      this.#ledger.reads.add(fact.id)
      this.#heldReads.set(fact.id, { at: now + READ_FIRST, reads: 1 })
    } else if (this.#ledger.foreign.get(fact.id)?.closing === true) {
      this.#ledger.trades.hold(fact)
      this.#ledger.sweepDue = true
    } else if (t === undefined) this.#ledger.foreignFill(fact)
    else {
      this.#ledger.book(t, fact)
      this.#ledger.settle(t)
      this.#ledger.watch(t, now)
    }
  }

  /** A walk over all orders and fills: the truth as of its time, and the only way to prove that something is not. */
  swept(sweep: Sweep, now: number): void {
    for (const fact of sweep.orders ?? []) this.seen(fact, 'list', now)
    for (const fact of sweep.fills ?? []) this.filled(fact, 'list', now)
    const shown = new Map((sweep.orders ?? []).map((fact) => [fact.id, fact]))
    for (const t of this.#ledger.waiting) {
      if (t.unknown !== null) this.#pass(t, sweep, t.id === null ? undefined : shown.get(t.id))
      this.#ledger.watch(t, now)
    }
    if (sweep.orders !== null && sweep.fills !== null && sweep.asOf !== null) this.#closed(sweep.asOf)
  }
  /** What the operator closed is told after everything that happened before it: lists are the newest first, and it closes what those fills made. `asOf`: until then all fills are known. */
  #closed(asOf: number): void {
    const { trades, foreign } = this.#ledger
    const closing = (id: string): boolean => foreign.get(id)?.closing === true
    const unclear = new Set([...trades.held].filter(([id]) => !closing(id)).flatMap(([, facts]) => facts.map((f) => f.ticker)))
    const ids = [...trades.held.keys()].filter(closing)
    const ready = ids.filter((id) => trades.held.get(id)?.every((f) => f.timeVenue <= asOf && !unclear.has(f.ticker)))
    const facts = ready.flatMap((id) => trades.release(id)).sort((a, b) => a.timeVenue - b.timeVenue)
    for (const fact of facts) this.#ledger.foreignFill(fact)
    if (ready.length < ids.length) this.#ledger.sweepDue = true
  }
  /** One sweep against what is unknown. What is there was adopted already; here only what is not is concluded, and only from whole, fresh lists, again and again. */
  #pass(t: Tracked, sweep: Sweep, fact: OrderFact | undefined): void {
    const unknown = t.unknown as Unknown
    const { absenceMargin, absencePasses, absenceGap, freshness } = this.#ledger.options
    const { started, orders, fills, asOf, since } = sweep
    if (started - unknown.at < absenceMargin || started - unknown.passedAt < absenceGap) return
    const whole = orders !== null && fills !== null && since <= t.since + this.#ledger.clockOffset
    const fresh = asOf !== null && asOf >= unknown.at + this.#ledger.clockOffset + freshness
    const unchanged = fact !== undefined && fact.status === 'resting' && fact.price === t.price && fact.filled + fact.remaining === t.total
    if (!whole || !fresh || this.#ledger.trades.holds(t.ticker) || (unknown.what !== 'create' && !unchanged)) {
      unknown.passes = 0
      return
    }
    unknown.passes++
    unknown.passedAt = started
    // That an order still rests needs no repetition: it is asked to end again.
    if (unknown.passes < (unknown.what === 'cancel' ? 1 : absencePasses)) return
    t.unknown = null
    if (unknown.what === 'create') {
      this.#ledger.close(t, 'absent')
      this.#ledger.tell(t, { type: 'absent', order: t.order, timeVenue: 0 })
    } else {
      t.next = null
      t.told = 'open'
      t.canceling = false
      this.#ledger.tell(t, {
        type: 'accepted',
        order: t.order,
        timeVenue: fact?.updated ?? 0,
        remaining: t.total - t.booked,
        id: t.id as string,
      })
    }
  }
  /** A targeted read found nothing: reads lag behind writes, so that this proves nothing. */
  readNotFound(_id: string): void {
    this.#ledger.sweepDue = true
  }
  /** Time passes: repetitions, and reads that are due again. */
  tick(now: number): void {
    for (const t of this.#ledger.waiting) {
      if (t.repeat !== null && now >= t.repeat.at) {
        const { intent } = t.repeat
        t.repeat = null
        if (!t.over && t.ended === null)
          this.#ledger.writes.push({ kind: 'repeat', intent: { ...intent, command: null, attempt: intent.attempt + 1 } })
      }
      if (now < t.readAt) continue
      const reads = t.wantsRead
      const sweeps = !t.over && (t.lacksFills || t.unknown !== null)
      if (reads) this.#ledger.reads.add(t.id as string)
      if (sweeps && now >= this.#sweepAt) {
        this.#ledger.sweepDue = true
        this.#sweepAt = now + READ_FIRST
      }
      // What blocks its market is looked for as often as counts.
      const most = t.unknown === null ? READ_MAX : Math.max(READ_FIRST, this.#ledger.options.absenceGap)
      if (reads || sweeps) t.readAt = now + Math.min(most, READ_FIRST * 2 ** Math.min(t.reads++, 10))
      else if (t.repeat === null && t.unknown === null) this.#ledger.waiting.delete(t)
    }
    for (const [id, held] of this.#heldReads) {
      if (!this.#ledger.trades.held.has(id)) this.#heldReads.delete(id)
      else if (now >= held.at) {
        this.#ledger.reads.add(id)
        held.at = now + Math.min(READ_MAX, READ_FIRST * 2 ** Math.min(held.reads++, 10))
      }
    }
  }
  /** Price and size of a picture against what we asked for. */
  #compare(t: Tracked, fact: OrderFact, source: Source): void {
    // A picture from before the last change that is proved shows terms that were.
    if (fact.updated === null || fact.updated < t.changed) return
    const resting = fact.status === 'resting'
    const total = fact.filled + fact.remaining
    const { next } = t
    if (next !== null && fact.price === next.price && (next.price !== t.price || (resting && total === next.total && total !== t.total))) {
      this.#ledger.becomes(t, fact.updated ?? 0)
    } else if (
      t.reduced !== null ||
      t.pending?.kind === 'decrease' ||
      t.unknown?.what === 'decrease' ||
      t.repeat?.intent.kind === 'decrease'
    ) {
      const fresh = t.reduced !== null && fact.updated !== null && fact.updated >= t.reduced.time
      if (resting && (total < t.total || fresh)) this.#ledger.shrinks(t, Math.min(total, t.total), fact.updated ?? 0)
    } else if (next === null && resting && source !== 'answer' && (fact.updated ?? 0) > t.changed && !t.meddled) {
      if (fact.price === t.price && total === t.total) return
      t.meddled = true
      this.#ledger.halt(t.ticker, `order ${fact.id} has other terms than we gave it: somebody else changed it`)
    }
  }
  /** It is shown resting although we asked for its end. */
  #rests(t: Tracked, now: number): void {
    if (t.ended !== null || t.cancelMissed === null) return
    // Reads lag behind writes: only after a while it is believed.
    if (now - t.cancelMissed < MISSED_MAX) return
    t.cancelMissed = null
    this.#ledger.cancelFailed(t, 'not-found', now)
  }
  #endSeen(t: Tracked, fact: OrderFact): void {
    t.changed = Math.max(t.changed, fact.updated ?? 0)
    if (fact.status === 'executed') return this.#ledger.end(t, null, fact.filled, false)
    const { reason, known } = reasonOf(fact.reason)
    // A word that is new: a picture without it follows most often, but the order has ended all the same.
    if (!known) this.#ledger.reads.add(fact.id)
    this.#ledger.end(t, reason, fact.filled, true)
  }
  #foreignOrder(fact: OrderFact): void {
    const fresh = !this.#ledger.foreign.has(fact.id)
    const closing = isOfFlatten(fact.client, this.#ledger.options.nonce)
    if (fresh) {
      this.#ledger.foreign.set(fact.id, { ticker: fact.ticker, closing })
      if (this.#ledger.foreign.size > FOREIGN_MAX) this.#ledger.foreign.delete(this.#ledger.foreign.keys().next().value as string)
    }
    if (closing) {
      if (this.#ledger.trades.held.has(fact.id)) this.#ledger.sweepDue = true
      return
    }
    const held = this.#ledger.trades.release(fact.id)
    const said = fact.client === null ? null : readClientId(fact.client)
    const lost = said?.nonce === this.#ledger.options.nonce
    if (fresh && (fact.status === 'resting' || held.length > 0 || lost))
      this.#ledger.halt(
        fact.ticker,
        lost ? `order ${fact.id} has an id of this session, but its log does not know it` : `order ${fact.id} is not ours`,
      )
    for (const fill of held) this.#ledger.foreignFill(fill)
  }
}
