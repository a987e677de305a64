/**
 * An account: one user with keys, cash by subaccount and shard, positions, orders, and what its reads show. Owns the books of one user; hides the
 * lag between what happened and what a read says (api.md §8.3). Invariant: reads show a state that once was true, in the order in which things happened.
 */
import type { KeyObject } from 'node:crypto'
import { TokenBucket } from '../../engine/token-bucket.ts'
import { newPosition, type Position } from './ledger.ts'
import { TIERS, type Tier } from './limits.ts'
import type { ListedMarket } from './market.ts'
import type { FillRow, OrderRecord, OrderRow } from './order.ts'

export type Scope = 'read' | 'write' | 'write::trade' | 'write::transfer' | 'read::portfolio_balance'
export type ApiKey = {
  readonly id: string
  readonly name: string
  readonly publicKey: KeyObject
  readonly scopes: readonly Scope[]
  /** Locked to one subaccount, null: not. */
  readonly subaccount: number | null
}

export type SettlementRow = {
  readonly number: number
  readonly ticker: string
  readonly event: string
  readonly exchangeIndex: number
  readonly subaccount: number
  readonly result: 'yes' | 'no' | 'scalar'
  readonly position: number
  readonly cost: number
  readonly revenue: number
  readonly value: number
  readonly fee: number
  readonly time: number
}
export type OrderGroup = {
  readonly id: string
  readonly subaccount: number
  readonly exchangeIndex: number
  limit: number
  triggered: boolean
  /** Fills of the last 15 seconds: [time, quantity]. */
  readonly fills: [number, number][]
}
export type SubaccountTransfer = {
  readonly number: number
  readonly id: string
  readonly from: number
  readonly to: number
  readonly amount: number
  readonly time: number
  readonly exchangeIndex: number
}
export type ShardTransfer = {
  readonly number: number
  readonly id: string
  readonly from: number
  readonly to: number
  readonly amount: number
  readonly time: number
  readonly clientId: string | null
}

export class Account {
  readonly user: string
  /** From 1,000,000 on: apart from the strangers of a population. */
  readonly number: number
  readonly name: string
  tier: Tier
  readonly keys = new Map<string, ApiKey>()
  /** Money by subaccount and shard. A shard without an entry is not provisioned. */
  readonly #cash = new Map<number, number>()
  subaccounts = 1
  /** Collateral return is an option, off by default, by subaccount (api.md §4.10). */
  readonly netting = new Set<number>()
  readonly returned = new Map<string, number>()
  readonly positions = new Map<string, Position>()
  readonly orders = new Map<string, OrderRecord>()
  readonly resting = new Set<OrderRecord>()
  readonly clientIds = new Map<string, OrderRecord | null>()
  readonly groups = new Map<string, OrderGroup>()
  readonly subaccountTransfers = new Map<string, SubaccountTransfer>()
  readonly shardTransfers: ShardTransfer[] = []
  allocations: { exchange_index: number; percent: number }[] = []
  reservation = 'none'
  readonly view = new ReadView()
  read: TokenBucket
  readonly #write = new Map<number, TokenBucket>()
  /** Everything paid in: for audits. */
  deposited = 0
  feesPaid = 0

  constructor(user: string, number: number, name: string, tier: Tier) {
    this.user = user
    this.number = number
    this.name = name
    this.tier = tier
    this.read = bucket(tier, 'read')
  }

  cash(subaccount: number, shard: number): number {
    return this.#cash.get(subaccount * 1000 + shard) ?? 0
  }
  provisioned(shard: number): boolean {
    return this.#cash.has(shard)
  }
  get shards(): number[] {
    return [...new Set([...this.#cash.keys()].map((k) => k % 1000))].sort((a, b) => a - b)
  }
  /** Moves cash and tells the reads. */
  move(subaccount: number, shard: number, amount: number, now: number): void {
    const key = subaccount * 1000 + shard
    const after = (this.#cash.get(key) ?? 0) + amount
    this.#cash.set(key, after)
    this.view.publish(now, (v) => void v.cash.set(key, { subaccount, shard, amount: after, time: now }))
  }
  get total(): number {
    let sum = 0
    for (const amount of this.#cash.values()) sum += amount
    return sum
  }

  position(market: ListedMarket, subaccount: number, now: number): Position {
    const key = `${subaccount}/${market.ticker}`
    let p = this.positions.get(key)
    if (p === undefined) {
      p = newPosition(market.ticker, market.event.ticker, market.exchangeIndex, subaccount, now)
      this.positions.set(key, p)
    }
    return p
  }
  quantity(ticker: string, subaccount: number): number {
    return this.positions.get(`${subaccount}/${ticker}`)?.quantity ?? 0
  }

  showOrder(order: OrderRecord, now: number): void {
    const row = order.row()
    this.view.publish(now, (v) => void v.orders.set(row.id, row))
  }
  showPosition(p: Position, now: number): void {
    const row = { ...p }
    this.view.publish(now, (v) => void v.positions.set(`${p.subaccount}/${p.ticker}`, row))
  }
  showFill(fill: FillRow, now: number): void {
    this.view.publish(now, (v) => void v.fills.push(fill))
  }
  showSettlement(row: SettlementRow, now: number): void {
    this.view.publish(now, (v) => void v.settlements.push(row))
  }

  /** The write bucket of a shard; 0 is the unscoped one. */
  write(shard: number): TokenBucket {
    let b = this.#write.get(shard)
    if (b === undefined) {
      b = bucket(this.tier, 'write')
      this.#write.set(shard, b)
    }
    return b
  }
  upgrade(tier: Tier): void {
    this.tier = tier
    this.read = bucket(tier, 'read')
    this.#write.clear()
  }
}

function bucket(tier: Tier, kind: 'read' | 'write'): TokenBucket {
  const { rate, capacity } = TIERS[tier][kind]
  return new TokenBucket(rate, capacity)
}

/** What reads show: every change arrives when the lag has passed, and none while reads are frozen. */
export class ReadView {
  readonly orders = new Map<string, OrderRow>()
  readonly fills: FillRow[] = []
  readonly settlements: SettlementRow[] = []
  readonly positions = new Map<string, Position>()
  readonly cash = new Map<number, { subaccount: number; shard: number; amount: number; time: number }>()
  #pending: { time: number; apply: (view: ReadView) => void }[] = []

  publish(time: number, apply: (view: ReadView) => void): void {
    this.#pending.push({ time, apply })
  }
  /** Shows everything that happened up to `until`. */
  catchUp(until: number): void {
    let n = 0
    while (n < this.#pending.length && (this.#pending[n] as { time: number }).time <= until)
      (this.#pending[n++] as { apply: (v: ReadView) => void }).apply(this)
    if (n > 0) this.#pending = this.#pending.slice(n)
  }
}
