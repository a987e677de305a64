/**
 * What is known of our orders, and what may be done with that: the parts of the reducer share it. Owns the maps, what was told to the engine, and what is wanted; hides how an order is found. Invariants: the
 * engine is told through `tell` alone; an order's end is told after all of its fills; a trade is booked once.
 */
import { SECOND } from '../../../engine/units.ts'
import type { AnswerNews, News } from '../../../engine/news.ts'
import type { FillFact } from './evidence.ts'
import { readClientId, type OrderIntent } from './intent.ts'
import { Trades } from './trades.ts'
import { Tracked, type Terms } from './tracked.ts'

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
/** A first read after a quarter of a second, later ones further apart. */
export const READ_FIRST = 250_000
const HALTED_MAX = 1_024

export class Ledger {
  readonly options: Required<OrdersOptions>
  readonly byOrder = new Map<number, Tracked>()
  /** Those of them that may rest or fill: what is asked often does not walk all that ever were. */
  readonly alive = new Set<Tracked>()
  readonly byId = new Map<string, Tracked>()
  readonly byTicker = new Map<string, Set<Tracked>>()
  readonly trades = new Trades()
  /** Of others, by the venue's number: bounded. */
  readonly foreign = new Map<string, { readonly ticker: string; readonly closing: boolean }>()
  readonly settled = new Set<string>()
  readonly groupsTriggered = new Set<string>()
  /** Those that wait for something: asked by every tick. */
  readonly waiting = new Set<Tracked>()
  readonly #halted = new Set<string>()
  news: News[] = []
  writes: WantedWrite[] = []
  readonly reads = new Set<string>()
  sweepDue = false
  repeated = 0
  /** The exchange's clock − ours, µs. */
  clockOffset = 0

  constructor(options: OrdersOptions) {
    this.options = { absenceMargin: 60 * SECOND, absencePasses: 5, absenceGap: 2 * SECOND, freshness: 5 * SECOND, ...options }
  }

  ofClient(client: string | null): Tracked | undefined {
    const said = client === null ? null : readClientId(client)
    if (said === null || said.nonce !== this.options.nonce) return undefined
    const t = this.byOrder.get(said.order)
    return t?.create.client === client ? t : undefined
  }
  /** The order is the one of that number. False: it is another one, and nothing said of it counts. */
  identify(t: Tracked, id: string, remaining: number, time: number, now: number): boolean {
    if (t.id !== null && t.id !== id) {
      this.halt(t.ticker, `two orders (${t.id} and ${id}) have the client order id ${t.create.client}`)
      return false
    }
    if (t.id === null) {
      t.id = id
      this.byId.set(id, t)
    }
    if (!t.accepted) {
      t.accepted = true
      this.alive.add(t)
      if (t.unknown?.what === 'create') t.unknown = null
      t.told = 'open'
      this.tell(t, { type: 'accepted', order: t.order, timeVenue: time, remaining, id })
      for (const fact of this.trades.release(id)) this.book(t, fact)
      this.watch(t, now)
    }
    return true
  }
  /** The market has settled: its orders that are over are forgotten, the others when they are. */
  forget(ticker: string): void {
    const siblings = this.byTicker.get(ticker)
    let left = 0
    for (const t of siblings ?? []) {
      if (!t.over) {
        left++
        continue
      }
      siblings?.delete(t)
      this.byOrder.delete(t.order)
      if (t.id !== null) this.byId.delete(t.id)
    }
    if (left > 0) return void this.settled.add(ticker)
    this.byTicker.delete(ticker)
    this.settled.delete(ticker)
    this.trades.forget(ticker)
    for (const [id, of] of this.foreign) if (of.ticker === ticker) this.foreign.delete(id)
  }

  // ---------------------------------------------------------------------------------------------- telling

  tell(t: Tracked, news: AnswerNews): void {
    t.tell(news)
    this.news.push(news)
  }
  /** Said once: what is wrong is shown by every list again. */
  halt(ticker: string, reason: string): void {
    const key = `${ticker} ${reason}`
    if (this.#halted.has(key)) return
    this.#halted.add(key)
    if (this.#halted.size > HALTED_MAX) this.#halted.delete(this.#halted.values().next().value as string)
    this.news.push({ type: 'market-halted', ticker, reason, by: 'orders' })
  }
  watch(t: Tracked, now: number): void {
    const needs = t.repeat !== null || t.unknown !== null || (!t.over && (t.wantsRead || t.lacksFills))
    if (!needs) return void this.waiting.delete(t)
    if (this.waiting.has(t)) return
    this.waiting.add(t)
    t.reads = 0
    // Fills follow by themselves most often; everything else is asked for at once.
    t.readAt = t.wantsRead ? now : now + READ_FIRST
  }
  doubt(t: Tracked, what: OrderIntent['kind'], reason: string, at: number): void {
    // An amend asks for the most evidence: it is not covered by a later doubt.
    if (t.unknown === null || (t.unknown.what !== what && t.unknown.what !== 'amend'))
      t.unknown = { what, at, passes: 0, passedAt: -Infinity }
    // Whole by its fills, it is over for the engine, whatever became of the change.
    if (t.told === 'unknown' || t.engineOver) return
    t.told = 'unknown'
    this.tell(t, { type: 'no-answer', order: t.order, timeVenue: 0, reason })
  }
  known(t: Tracked): void {
    t.unknown = null
    if (t.told === 'unknown') t.told = 'open'
  }
  /** The amend on its way is proved. */
  becomes(t: Tracked, time: number): void {
    const next = t.next as Terms
    t.price = next.price
    t.total = next.total
    t.next = null
    t.changed = Math.max(t.changed, time)
    if (t.unknown?.what === 'amend') this.known(t)
    this.tell(t, { type: 'amended', order: t.order, timeVenue: time, remaining: Math.max(0, t.total - t.booked) })
  }
  /** The decrease is proved: that is its size in all. */
  shrinks(t: Tracked, total: number, time: number): void {
    t.total = total
    t.reduced = null
    t.changed = Math.max(t.changed, time)
    if (t.pending?.kind === 'decrease') t.pending = null
    if (t.repeat?.intent.kind === 'decrease') t.repeat = null
    if (t.unknown?.what === 'decrease') this.known(t)
    this.tell(t, { type: 'decreased', order: t.order, timeVenue: time, remaining: Math.max(0, total - t.booked) })
  }
  /** Told to an engine that asked for it. */
  cancelFailed(t: Tracked, reason: string, now: number): void {
    if (!t.canceling) return
    t.canceling = false
    t.cancelRefusedAt = now
    this.tell(t, { type: 'cancel-rejected', order: t.order, timeVenue: 0, reason })
  }
  /** `canceled`: something of it was not filled. `proved`: the exchange said itself how much was; else it follows from our size of the order, and its word replaces it. */
  end(t: Tracked, reason: string | null, filled: number, canceled: boolean, proved = true): void {
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
    else if (why === null && group !== null && this.groupsTriggered.has(group)) why = 'group'
    else if (why === null && expires !== null && t.changed >= expires) why = 'expired'
    t.ended = { reason: why ?? 'outside', filled, proved }
  }
  book(t: Tracked, fact: FillFact): void {
    const room = t.most - t.booked
    if (t.create.ticker !== fact.ticker || t.create.side !== fact.side || fact.quantity > room) {
      // It is ours by its order, but cannot be of the order that we sent: the position changes all the same.
      this.halt(fact.ticker, `trade ${fact.trade} does not fit order ${fact.id}: more than it had, or another side`)
      return this.foreignFill(fact)
    }
    t.booked += fact.quantity
    const { price, quantity, fee, maker, trade, timeVenue } = fact
    this.tell(t, { type: 'fill', order: t.order, timeVenue, price, quantity, fee, maker, trade })
  }
  /** Told when everything that was filled is booked. */
  settle(t: Tracked): void {
    if (t.over || !t.accepted) return
    const full = t.booked >= t.total && t.next === null
    if (!full && (t.ended === null || t.lacksFills)) return
    if (!t.engineOver) this.tell(t, { type: 'canceled', order: t.order, timeVenue: t.changed, reason: t.ended?.reason ?? 'filled' })
    this.close(t, 'over')
    if (this.settled.has(t.ticker)) this.forget(t.ticker)
  }
  close(t: Tracked, told: 'over' | 'rejected' | 'absent'): void {
    this.alive.delete(t)
    t.told = told
    t.pending = null
    t.unknown = null
    t.repeat = null
    this.waiting.delete(t)
  }
  foreignFill({ id, ticker, side, price, quantity, fee, maker, trade, timeVenue }: FillFact): void {
    const by = this.foreign.get(id)?.closing === true ? ({ by: 'flatten' } as const) : {}
    this.news.push({ type: 'foreign-fill', ticker, side, price, quantity, fee, maker, trade, timeVenue, ...by })
  }
}
