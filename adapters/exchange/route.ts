/** What an endpoint is: its path, who may call it, what it costs, what it does. Owns the contract between the router and the files of endpoints. */
import type { Account, ApiKey, Scope } from './account.ts'
import type { Exchange } from './exchange.ts'
import { Refusal, refuse } from './refusal.ts'
import type { Query } from './request.ts'

export type Call = {
  readonly x: Exchange
  readonly query: Query
  readonly params: Readonly<Record<string, string>>
  readonly body: string
  readonly key: ApiKey | null
}
/** `caller` is there for signed routes. */
export type Route = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  readonly operation: string
  readonly access: 'public' | 'signed'
  /** GET and everything else reads; order flow writes. */
  readonly writes?: boolean
  /** Besides `read` for a GET: what the key must be allowed to do. */
  readonly scope?: Scope
  /** Tokens and the shards whose buckets pay; absent: the table's cost from the unscoped bucket. */
  readonly charge?: (call: Call) => { cost: number; shards: readonly number[] }
  /** A key that is locked to one subaccount may use it. */
  readonly locked?: boolean
  readonly handle: (call: Call, caller: Account) => { status: number; body: unknown }
}

export function restricted(): Refusal {
  const message = 'this API key is restricted to a single sub-account and cannot access this endpoint'
  return new Refusal(403, 'forbidden', { error: { code: 'forbidden', message } })
}

/** The subaccount of a request: a locked key stays in its own. `otherwise`: what none given means. */
export function subaccountOf<T extends number | null>(call: Call, caller: Account, given: number | null, otherwise: T): number | T {
  const lock = call.key?.subaccount ?? null
  if (lock !== null) {
    if (given !== null && given !== lock) throw restricted()
    return lock
  }
  if (given === null) return otherwise
  if (given < 0 || given >= caller.subaccounts) throw refuse(400, 'invalid_parameters', 'there is no such subaccount')
  return given
}
