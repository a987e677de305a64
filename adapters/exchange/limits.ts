/**
 * Rate limits (api.md §2): tiers, costs, and who pays which bucket. Owns the table that both answers `GET /account/endpoint_costs` and empties the
 * buckets. Invariant: a refused request takes no token.
 */
import type { Account } from './account.ts'

export const TIER_NAMES = ['basic', 'advanced', 'expert', 'premier', 'paragon', 'prime', 'prestige'] as const
export type Tier = (typeof TIER_NAMES)[number]
type Lane = { readonly rate: number; readonly capacity: number }

/** Tokens a second and bucket capacity, as of 2026-09-24. */
export const TIERS: Readonly<Record<Tier, { readonly read: Lane; readonly write: Lane }>> = {
  basic: { read: { rate: 200, capacity: 600 }, write: { rate: 100, capacity: 100 } },
  advanced: { read: { rate: 300, capacity: 900 }, write: { rate: 300, capacity: 900 } },
  expert: { read: { rate: 600, capacity: 600 }, write: { rate: 600, capacity: 1800 } },
  premier: { read: { rate: 1200, capacity: 1200 }, write: { rate: 1200, capacity: 3600 } },
  paragon: { read: { rate: 2400, capacity: 2400 }, write: { rate: 2400, capacity: 7200 } },
  prime: { read: { rate: 4800, capacity: 4800 }, write: { rate: 4800, capacity: 14_400 } },
  prestige: { read: { rate: 12_000, capacity: 12_000 }, write: { rate: 9600, capacity: 28_800 } },
}

export const COST_DEFAULT = 10
/** Where the cost is not 10, in the exchange's own path notation. */
export const COSTS: readonly { readonly method: string; readonly path: string; readonly cost: number }[] = [
  { method: 'POST', path: '/trade-api/v2/account/api_usage_level/upgrade', cost: 30 },
  { method: 'DELETE', path: '/trade-api/v2/portfolio/events/orders', cost: 2 },
  { method: 'DELETE', path: '/trade-api/v2/portfolio/events/orders/:order_id', cost: 2 },
  { method: 'DELETE', path: '/trade-api/v2/portfolio/events/orders/batched', cost: 2 },
  { method: 'GET', path: '/trade-api/v2/portfolio/orders/:order_id', cost: 2 },
]
export function costOf(method: string, path: string): number {
  return COSTS.find((c) => c.method === method && c.path === path)?.cost ?? COST_DEFAULT
}

export function spendRead(account: Account, now: number, cost: number): boolean {
  return account.read.spend(now, cost)
}

/** `shards`: the buckets that pay; all of them or none. */
export function spendWrite(account: Account, now: number, cost: number, shards: readonly number[]): boolean {
  for (const s of shards) if (account.write(s).freeAt(now, cost) > now) return false
  for (const s of shards) account.write(s).spend(now, cost)
  return true
}

/** Buckets of a single order operation (api.md §2.3): a named shard pays itself, an order that is routed by its ticker pays on every shard. */
export function payers(exchangeIndex: number | null, ticker: string | null, shards: readonly number[]): readonly number[] {
  if (exchangeIndex !== null && exchangeIndex >= 0) return [exchangeIndex]
  return ticker === null && exchangeIndex === null ? [0] : shards
}
