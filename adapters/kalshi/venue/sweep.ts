/**
 * One walk over our orders and fills. Owns windows, tiers and what makes a list whole; hides pages. Invariant: a list that was not read to its end, or has a row that nobody could read, is null; what was read
 * of it is true all the same and is handed on apart.
 */
import { parseTime } from '../../../data/import/frames.ts'
import { HOUR, DAY, MINUTE } from '../../../engine/units.ts'
import { KalshiError } from '../errors.ts'
import { Priority } from '../rate-limit.ts'
import type { Parameters, ReadOptions, Rest } from '../rest.ts'
import type { Endpoint, WireFill, WireOrder } from '../wire/answers.ts'
import type { FillFact, OrderFact, Sweep } from './evidence.ts'
import { fillOfAnswer, orderOfAnswer, readAll, type Reading } from './facts.ts'

/** Windows overlap by this much: what the exchange shows late is seen by the next one. */
export const MARGIN = MINUTE
const CUTOFF_EVERY = 10 * MINUTE
/** An older one is not trusted. */
const CUTOFF_MAX = HOUR
/** The archive is asked as soon as a window comes this near to it: it grows while we read. */
const CUTOFF_NEAR = DAY
const SINGLE_MAX = 200
export const READ: ReadOptions = { priority: Priority.RECONCILE, attempts: 2 }

export type SweepRead = {
  readonly sweep: Sweep
  /** What was read of lists that are null. */
  readonly orders: readonly OrderFact[]
  readonly fills: readonly FillFact[]
  /** Why a list is null. */
  readonly troubles: readonly string[]
}
export type Walk<T> = { readonly facts: readonly T[]; readonly why: string | null }
type Cutoff = { readonly orders: number; readonly fills: number; readonly readAt: number }

export class Sweeper {
  readonly #rest: Rest
  readonly #now: () => number
  readonly #subaccount: number
  readonly #pagesMax: number
  /** Pages of a walk until one sweep was whole. */
  #pages: number
  #cutoff: Cutoff | null = null
  /** What rested in the last whole walk. */
  #rested: ReadonlySet<string> = new Set()

  constructor(
    rest: Rest,
    now: () => number,
    { subaccount = 0, pagesMax = 100 }: { subaccount?: number; pagesMax?: number } = {},
    pagesFirst = pagesMax,
  ) {
    this.#rest = rest
    this.#now = now
    this.#subaccount = subaccount
    this.#pagesMax = pagesMax
    this.#pages = pagesFirst
  }

  /** Everything since `from` (µs of the exchange), with the margin before it. Throws STOPPED alone. */
  async sweep(from: number): Promise<SweepRead> {
    const started = this.#now()
    const since = from - MARGIN
    const troubles: string[] = []
    const asOf = await this.asOf()
    if (asOf === null) troubles.push("the exchange's data time stamp cannot be read")
    // Orders before fills: then all fills that an order reports are in the list that is read after it.
    const orders = await this.#orders(since)
    const fills = await this.fills(since)
    if (orders.why === null && fills.why === null) this.#pages = this.#pagesMax
    if (orders.why !== null) troubles.push(`orders: ${orders.why}`)
    if (fills.why !== null) troubles.push(`fills: ${fills.why}`)
    return {
      sweep: {
        started,
        ended: this.#now(),
        asOf,
        orders: orders.why === null ? orders.facts : null,
        fills: fills.why === null ? fills.facts : null,
        since,
      },
      orders: orders.why === null ? [] : orders.facts,
      fills: fills.why === null ? [] : fills.facts,
      troubles,
    }
  }
  /** How fresh reads of the account are, µs of the exchange. */
  async asOf(): Promise<number | null> {
    const time = await this.#try(async () => parseTime((await this.#rest.get('userDataTimestamp', {}, READ)).as_of_time))
    return typeof time === 'number' && Number.isSafeInteger(time) ? time : null
  }
  /** Everything that rests. */
  resting(): Promise<Walk<OrderFact>> {
    return this.#walk<WireOrder, OrderFact>('orders', { status: 'resting' }, orderOfAnswer)
  }

  /** Windows go by when an order was made (api.md §4.3 leaves it open): what rested in the last walk and is in no list now is read by itself. */
  async #orders(since: number): Promise<Walk<OrderFact>> {
    const min = { min_ts: seconds(since) }
    const { facts, why } = await this.#tiers(
      since,
      [() => this.resting(), () => this.#walk<WireOrder, OrderFact>('orders', min, orderOfAnswer)],
      'orders',
      (o) => o.id,
      () => this.#walk<WireOrder, OrderFact>('historicalOrders', min, orderOfAnswer),
    )
    if (why !== null) return { facts, why }
    const found = new Set(facts.map((o) => o.id))
    const gone = [...this.#rested].filter((id) => !found.has(id))
    const all = [...facts]
    for (const id of gone.slice(0, SINGLE_MAX)) {
      const single = await this.#single(id)
      if (single.fact !== null) all.push(single.fact)
      // Not there: nobody can say what became of it. Whoever waits for it asks again.
      else if (!single.missing) return { facts: all, why: single.why }
    }
    if (gone.length > SINGLE_MAX) return { facts: all, why: `${gone.length} orders that rested are in no list` }
    this.#rested = new Set(all.filter((o) => o.status === 'resting').map((o) => o.id))
    return { facts: all, why: null }
  }
  async #single(id: string): Promise<{ readonly fact: OrderFact | null; readonly missing: boolean; readonly why: string }> {
    let failure: KalshiError | null = null
    const answer = await this.#try(
      () => this.#rest.get('order', { order_id: id }, READ),
      (error) => void (failure = error),
    )
    if (answer === null) {
      const error = failure as KalshiError | null
      return { fact: null, missing: error?.code === 'NOT_FOUND', why: error?.message ?? '' }
    }
    const { fact, why } = orderOfAnswer(answer.order)
    if (fact?.id === id) return { fact, missing: false, why: '' }
    return { fact: null, missing: false, why: why ?? `an answer about order ${id} is about another one` }
  }
  /** Every fill since then. */
  fills(since: number): Promise<Walk<FillFact>> {
    const min = { min_ts: seconds(since) }
    return this.#tiers(
      since,
      [() => this.#walk<WireFill, FillFact>('fills', min, fillOfAnswer)],
      'fills',
      (f) => f.trade,
      () => this.#walk<WireFill, FillFact>('historicalFills', min, fillOfAnswer),
    )
  }
  /** Live before historical: a row that is archived in between is in the second. Of a row that is in both, the later word counts. */
  async #tiers<T>(
    since: number,
    live: readonly (() => Promise<Walk<T>>)[],
    tier: 'orders' | 'fills',
    keyOf: (fact: T) => string,
    historical: () => Promise<Walk<T>>,
  ): Promise<Walk<T>> {
    const found = new Map<string, T>()
    let why: string | null = null
    const add = (walk: Walk<T>): void => {
      for (const fact of walk.facts) found.set(keyOf(fact), fact)
      why ??= walk.why
    }
    for (const read of live) add(await read())
    const cutoff = await this.#readCutoff()
    if (cutoff === null) why ??= 'where the archive begins is not known'
    else if (since < cutoff[tier] + CUTOFF_NEAR) {
      const old = await historical()
      for (const fact of old.facts) if (!found.has(keyOf(fact))) found.set(keyOf(fact), fact)
      why ??= old.why
    }
    return { facts: [...found.values()], why }
  }
  async #walk<W, T>(endpoint: Endpoint, parameters: Parameters, read: (row: W) => Reading<T>): Promise<Walk<T>> {
    let failure = ''
    const listing = await this.#try(
      () => this.#rest.list<W>(endpoint, { ...parameters, limit: 1000, subaccount: this.#subaccount }, { ...READ, pagesMax: this.#pages }),
      (error) => void (failure = error.message),
    )
    if (listing === null) return { facts: [], why: failure }
    const { facts, why } = readAll(listing.items, read)
    return { facts, why: listing.complete ? why : `the list has no end (${listing.why})` }
  }
  async #readCutoff(): Promise<Cutoff | null> {
    const now = this.#now()
    if (this.#cutoff !== null && now - this.#cutoff.readAt < CUTOFF_EVERY) return this.#cutoff
    const answer = await this.#try(() => this.#rest.get('historicalCutoff', {}, READ))
    if (answer !== null) {
      const orders = parseTime(answer.orders_updated_ts)
      const fills = parseTime(answer.trades_created_ts)
      if (Number.isSafeInteger(orders) && Number.isSafeInteger(fills)) this.#cutoff = { orders, fills, readAt: now }
    }
    return this.#cutoff !== null && now - this.#cutoff.readAt < CUTOFF_MAX ? this.#cutoff : null
  }
  async #try<T>(read: () => Promise<T>, failed: (error: KalshiError) => void = () => {}): Promise<T | null> {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof KalshiError) || error.code === 'STOPPED') throw error
      failed(error)
      return null
    }
  }
}

/** Times of the interface are whole seconds. */
function seconds(time: number): number {
  return Math.max(0, Math.floor(time / 1_000_000))
}
