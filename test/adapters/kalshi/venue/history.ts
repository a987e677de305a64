/** For the tests of our orders: the exchange's own history of one order, what it tells of it, and the engine as its table of an order's life has it. */
import { ORDER_LIFE, type OrderEvent, type OrderState } from '../../../../engine/order.ts'
import type { News } from '../../../../engine/news.ts'
import type { FillFact, OrderFact, Sweep } from '../../../../adapters/kalshi/venue/evidence.ts'
import type { AmendIntent, CancelIntent, CreateIntent, DecreaseIntent } from '../../../../adapters/kalshi/venue/intent.ts'
import { Orders } from '../../../../adapters/kalshi/venue/orders.ts'

export const SECOND = 1_000_000
export const T0 = 1_700_000_000 * SECOND
export const TICKER = 'KXTEST-1'

export function orders(): Orders {
  return new Orders({ nonce: 'abc', subaccount: 0, start: T0 - 60 * SECOND })
}
export function create(order: number, more: Partial<CreateIntent> = {}): CreateIntent {
  return {
    kind: 'create',
    command: order,
    attempt: 1,
    order,
    client: `abc-1-${order}`,
    ticker: TICKER,
    shard: 0,
    subaccount: 0,
    side: 'bid',
    price: 5000,
    quantity: 600,
    tif: 'gtc',
    expires: T0 + 3600 * SECOND,
    prevention: 'taker',
    postOnly: true,
    reduceOnly: false,
    group: null,
    ...more,
  }
}
const place = (order: number, id: string) => ({ command: 100 + order, attempt: 1, order, id, ticker: TICKER, shard: 0, subaccount: 0 })
export const cancel = (order: number, id: string, more: Partial<CancelIntent> = {}): CancelIntent & { readonly order: number } => ({
  kind: 'cancel',
  ...place(order, id),
  ...more,
  order,
})
export const amend = (order: number, id: string, price: number, quantity: number): AmendIntent => ({
  kind: 'amend',
  ...place(order, id),
  side: 'bid',
  price,
  quantity,
})
export const decrease = (order: number, id: string, quantity: number, attempt = 1): DecreaseIntent => ({
  kind: 'decrease',
  ...place(order, id),
  attempt,
  quantity,
})

/** The engine, by its own table: throws where a news cannot be. */
export class EngineModel {
  readonly states = new Map<number, { state: OrderState; total: number; next: number | null; filled: number }>()
  readonly trades = new Set<string>()
  readonly heard: News[] = []

  sent(order: number, quantity: number): void {
    this.states.set(order, { state: 'sent', total: quantity, next: null, filled: 0 })
  }
  wrote(order: number, event: 'amend-sent' | 'cancel-sent', next: number | null = null): void {
    const o = this.#of(order)
    this.#step(order, event)
    o.next = next
  }
  hear(news: readonly News[]): void {
    for (const n of news) {
      this.heard.push(n)
      if (n.type === 'foreign-fill') this.#once(n.trade)
      if (!('order' in n)) continue
      const o = this.#of(n.order)
      switch (n.type) {
        case 'accepted':
          this.#step(n.order, 'accepted')
          o.next = null
          break
        case 'amended':
          if (o.next === null) throw new Error('amended without an amend')
          this.#step(n.order, 'accepted')
          o.total = o.next
          o.next = null
          break
        case 'decreased':
          this.#step(n.order, 'accepted')
          o.total = o.filled + n.remaining
          o.next = null
          break
        case 'amend-rejected':
          o.next = null
          this.#step(n.order, o.filled >= o.total ? 'fill-last' : 'rejected')
          break
        case 'fill': {
          this.#once(n.trade)
          o.filled += n.quantity
          const total = Math.max(o.total, o.next ?? 0)
          if (o.filled > total) throw new Error(`filled ${o.filled} of ${total}`)
          this.#step(n.order, o.filled === total ? 'fill-last' : 'fill')
          break
        }
        case 'absent':
          this.#step(n.order, 'absent-proved')
          break
        case 'rejected':
        case 'canceled':
        case 'cancel-rejected':
        case 'no-answer':
          this.#step(n.order, n.type)
      }
    }
  }
  #of(order: number) {
    const o = this.states.get(order)
    if (o === undefined) throw new Error(`order ${order} was never sent`)
    return o
  }
  #once(trade: string): void {
    if (this.trades.has(trade)) throw new Error(`trade ${trade} told twice`)
    this.trades.add(trade)
  }
  #step(order: number, event: OrderEvent): void {
    const o = this.#of(order)
    const step = ORDER_LIFE[o.state][event]
    if (step === undefined) throw new Error(`an order that is ${o.state} cannot see ${event}`)
    // Stricter than the table: an order's end is told after all of its fills, and once.
    if (step === 'book') throw new Error('a fill was told after the end')
    if (step === '=' && event === 'canceled') throw new Error('an end was told twice')
    if (step === 'adopt') o.state = 'working'
    else if (step !== '=') o.state = step
  }
}

/** One order at the exchange: what happens to it, and what is told of it. */
export class History {
  readonly id: string
  readonly facts: OrderFact[] = []
  readonly fills: FillFact[] = []
  #now = T0
  #filled = 0
  #remaining: number
  #price: number
  readonly #create: CreateIntent

  constructor(create: CreateIntent, id = `venue-${create.order}`) {
    this.id = id
    this.#create = create
    this.#remaining = create.quantity
    this.#price = create.price
    this.#tell(null)
  }
  get filled(): number {
    return this.#filled
  }
  get remaining(): number {
    return this.#remaining
  }
  get price(): number {
    return this.#price
  }
  get now(): number {
    return this.#now
  }
  fill(quantity: number): this {
    this.#now += 1000
    this.#filled += quantity
    this.#remaining -= quantity
    const { ticker, side, subaccount } = this.#create
    this.fills.push({
      trade: `${this.id}-trade-${this.fills.length}`,
      id: this.id,
      ticker,
      side,
      price: this.#price,
      quantity,
      fee: 100,
      maker: true,
      timeVenue: this.#now,
      position: null,
      subaccount,
      shard: 0,
    })
    return this.#tell('Trade')
  }
  amend(price: number, total: number): this {
    this.#now += 1000
    this.#price = price
    this.#remaining = total - this.#filled
    return this.#tell('Amend')
  }
  reduceTo(remaining: number): this {
    this.#now += 1000
    this.#remaining = Math.min(this.#remaining, remaining)
    return this.#tell('Decrease')
  }
  end(reason: string): this {
    this.#now += 1000
    this.#remaining = 0
    return this.#tell(reason, 'canceled')
  }
  get last(): OrderFact {
    return this.facts.at(-1) as OrderFact
  }
  #tell(reason: string | null, status?: OrderFact['status']): this {
    const { client, ticker, side, subaccount, group } = this.#create
    this.facts.push({
      id: this.id,
      client,
      ticker,
      side,
      price: this.#price,
      status: status ?? (this.#remaining === 0 ? 'executed' : 'resting'),
      initial: this.#create.quantity,
      filled: this.#filled,
      remaining: this.#remaining,
      reason,
      group,
      subaccount,
      shard: 0,
      updated: this.#now,
    })
    return this
  }
}

export function sweep(at: number, histories: readonly History[], more: Partial<Sweep> = {}): Sweep {
  return {
    started: at,
    ended: at + 1000,
    asOf: at,
    orders: histories.map((h) => ({ ...h.last, reason: null })),
    fills: histories.flatMap((h) => h.fills),
    since: T0 - 60 * SECOND,
    ...more,
  }
}

export function* permutations<T>(items: readonly T[]): IterableIterator<readonly T[]> {
  if (items.length <= 1) yield items
  else
    for (let i = 0; i < items.length; i++)
      for (const rest of permutations([...items.slice(0, i), ...items.slice(i + 1)])) yield [items[i] as T, ...rest]
}
