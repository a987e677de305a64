/** The account itself: limits, keys, subaccounts, transfers (api.md §1.6, §2, §4.11). Owns how money moves between the parts of one account; it never leaves it. */
import type { Account, Scope, ShardTransfer } from './account.ts'
import type { Call, Route } from './route.ts'
import { makeKeyPair, publicKeyOf } from './auth.ts'
import { TIERS } from './limits.ts'
import { refuse } from './refusal.ts'
import { decodeBody, flagOf, integerOf, paged, requireField, stringOf, type Body } from './request.ts'
import * as text from './text.ts'

const ok = (body: unknown): { status: number; body: unknown } => ({ status: 200, body })
type Signed = Omit<Route, 'access'>
const signed = (route: Signed): Route => ({ access: 'signed', ...route })

const SCOPES: readonly string[] = [
  'read',
  'write',
  'write::trade',
  'write::transfer',
  'write::block_trade_accept',
  'read::block_trade_accept',
  'read::portfolio_balance',
]
function scopesOf(body: Body): Scope[] {
  const given = body['scopes']
  if (given === undefined) return ['read', 'write']
  if (!Array.isArray(given) || given.some((s) => !SCOPES.includes(s as string))) throw refuse(400, 'invalid_parameters', 'unknown scope')
  if (given.includes('write') && !given.includes('read')) throw refuse(400, 'invalid_parameters', 'write needs read')
  return given as Scope[]
}
function lockOf(body: Body, caller: Account): number | null {
  const sub = integerOf(body, 'subaccount')
  if (sub !== null && (sub < 0 || sub >= caller.subaccounts)) throw refuse(400, 'invalid_parameters', 'there is no such subaccount')
  return sub
}
function shardOf(call: Call, body: Body, name: string): number {
  const shard = integerOf(body, name) ?? 0
  if (!call.x.shards.some((s) => s.index === shard)) throw refuse(400, 'invalid_parameters', `there is no such ${name}`)
  return shard
}
function subOf(body: Body, caller: Account, name: string): number {
  const sub = requireField(integerOf(body, name), name)
  if (sub < 0 || sub >= caller.subaccounts) throw refuse(400, 'invalid_parameters', `there is no such ${name}`)
  return sub
}
/** Cash that nothing rests on. */
function movable(call: Call, caller: Account, sub: number, shard: number, amount: number): void {
  if (!(amount > 0)) throw refuse(400, 'invalid_parameters', 'the amount is above zero')
  if (call.x.margin.free(caller, sub, shard) < amount) throw refuse(400, 'insufficient_balance')
}

function transferBody(t: ShardTransfer): Record<string, unknown> {
  return {
    transfer_id: t.id,
    source: 'event_contract',
    destination: 'event_contract',
    source_exchange_shard: t.from,
    destination_exchange_shard: t.to,
    amount: text.balance(t.amount),
    status: 'complete',
    created_ts: text.unixSeconds(t.time),
  }
}

export const accountRoutes: readonly Route[] = [
  signed({
    method: 'GET',
    path: '/account/limits',
    operation: 'GetAccountApiLimits',
    locked: true,
    handle: (_call, caller) => {
      const { read, write } = TIERS[caller.tier]
      const lane = (l: typeof read): Record<string, number> => ({ refill_rate: l.rate, bucket_capacity: l.capacity })
      const grants = caller.tier === 'basic' ? [] : [{ exchange_instance: 'event_contract', level: caller.tier, source: 'manual' }]
      return ok({ usage_tier: caller.tier, read: lane(read), write: lane(write), grants })
    },
  }),
  signed({
    method: 'POST',
    path: '/account/api_usage_level/upgrade',
    operation: 'UpgradeAccountApiUsageLevel',
    writes: true,
    handle: (_call, caller) => {
      if (caller.orders.size === 0) throw refuse(403, 'forbidden', 'no API-created order among the latest 100')
      if (caller.tier === 'basic') caller.upgrade('advanced')
      return { status: 201, body: {} }
    },
  }),
  signed({
    method: 'GET',
    path: '/account/api_usage_level/volume_progress',
    operation: 'GetAccountApiUsageLevelVolumeProgress',
    handle: (call, caller) => {
      const volume = caller.view.fills.reduce((a, f) => a + f.quantity, 0)
      return ok({ volume_progress: [{ computed_ts: text.unixSeconds(call.x.now), trailing_30d_volume_fp: text.count(volume), goals: [] }] })
    },
  }),

  signed({
    method: 'GET',
    path: '/api_keys',
    operation: 'GetApiKeys',
    handle: (_call, caller) =>
      ok({
        api_keys: [...caller.keys.values()].map((k) => ({
          api_key_id: k.id,
          name: k.name,
          scopes: k.scopes,
          ...(k.subaccount === null ? {} : { subaccount: k.subaccount }),
        })),
      }),
  }),
  signed({
    method: 'POST',
    path: '/api_keys',
    operation: 'CreateApiKey',
    handle: (call, caller) => {
      const body = decodeBody(call.body, 'CreateApiKeyRequest', {
        name: 'string',
        public_key: 'string',
        scopes: 'array',
        subaccount: 'int64',
      })
      const pem = requireField(stringOf(body, 'public_key'), 'public_key')
      const name = requireField(stringOf(body, 'name'), 'name')
      let publicKey
      try {
        publicKey = publicKeyOf(pem)
      } catch {
        throw refuse(400, 'invalid_parameters', 'public_key is not a PEM public key')
      }
      const id = call.x.ids.next('key')
      call.x.addKey(caller, { id, name, publicKey, scopes: scopesOf(body), subaccount: lockOf(body, caller) })
      return { status: 201, body: { api_key_id: id } }
    },
  }),
  signed({
    method: 'POST',
    path: '/api_keys/generate',
    operation: 'GenerateApiKey',
    handle: (call, caller) => {
      const body = decodeBody(call.body, 'GenerateApiKeyRequest', {
        name: 'string',
        key_type: 'string',
        scopes: 'array',
        subaccount: 'int64',
      })
      const type = stringOf(body, 'key_type') ?? 'rsa'
      if (type !== 'rsa' && type !== 'ed25519') throw refuse(400, 'invalid_parameters', 'key_type is rsa or ed25519')
      const name = requireField(stringOf(body, 'name'), 'name')
      const scopes = scopesOf(body)
      const subaccount = lockOf(body, caller)
      const { publicKey, privatePem } = makeKeyPair(type)
      const id = call.x.ids.next('key')
      call.x.addKey(caller, { id, name, publicKey, scopes, subaccount })
      return { status: 201, body: { api_key_id: id, private_key: privatePem, key_type: type } }
    },
  }),
  signed({
    method: 'DELETE',
    path: '/api_keys/:api_key',
    operation: 'DeleteApiKey',
    handle: (call, caller) => {
      if (!call.x.removeKey(caller, call.params['api_key'] ?? '')) throw refuse(404, 'not_found')
      return { status: 204, body: undefined }
    },
  }),

  signed({
    method: 'POST',
    path: '/portfolio/subaccounts',
    operation: 'CreateSubaccount',
    scope: 'write::transfer',
    handle: (call, caller) => {
      const shard = shardOf(call, decodeBody(call.body, 'CreateSubaccountRequest', { exchange_index: 'int64' }, true), 'exchange_index')
      if (caller.subaccounts > 63) throw refuse(400, 'invalid_parameters', 'at most 63 numbered subaccounts')
      const number = caller.subaccounts++
      caller.move(number, shard, 0, call.x.now)
      return { status: 201, body: { subaccount_number: number } }
    },
  }),
  signed({
    method: 'GET',
    path: '/portfolio/subaccounts/balances',
    operation: 'GetSubaccountBalances',
    scope: 'read',
    handle: (_call, caller) =>
      ok({
        subaccount_balances: [...caller.view.cash.values()].map((c) => ({
          subaccount_number: c.subaccount,
          exchange_index: c.shard,
          balance: text.balance(c.amount),
          updated_ts: text.unixSeconds(c.time),
        })),
      }),
  }),
  signed({
    method: 'GET',
    path: '/portfolio/subaccounts/netting',
    operation: 'GetSubaccountNetting',
    handle: (_call, caller) =>
      ok({
        netting_configs: Array.from({ length: caller.subaccounts }, (_, n) => ({
          subaccount_number: n,
          enabled: caller.netting.has(n),
          exchange_index: 0,
        })),
      }),
  }),
  signed({
    method: 'PUT',
    path: '/portfolio/subaccounts/netting',
    operation: 'UpdateSubaccountNetting',
    handle: (call, caller) => {
      const body = decodeBody(call.body, 'UpdateSubaccountNettingRequest', {
        subaccount_number: 'int64',
        enabled: 'bool',
        exchange_index: 'int64',
      })
      const sub = subOf(body, caller, 'subaccount_number')
      const events = new Map([...caller.positions.values()].filter((p) => p.subaccount === sub).map((p) => [p.event, p.exchangeIndex]))
      if (flagOf(body, 'enabled')) caller.netting.add(sub)
      else {
        // What was returned has to be there to be paid back, on the shard to which it was returned.
        const owed = new Map<number, number>()
        for (const [event, shard] of events) owed.set(shard, (owed.get(shard) ?? 0) + (caller.returned.get(`${sub}/${event}`) ?? 0))
        for (const [shard, amount] of owed)
          if (amount > 0 && amount > call.x.margin.free(caller, sub, shard)) throw refuse(400, 'insufficient_balance')
        caller.netting.delete(sub)
      }
      for (const [event, shard] of events) call.x.margin.returnCollateral(caller, sub, event, shard)
      return ok({})
    },
  }),
  signed({
    method: 'POST',
    path: '/portfolio/subaccounts/transfer',
    operation: 'ApplySubaccountTransfer',
    scope: 'write::transfer',
    handle: (call, caller) => {
      const body = decodeBody(call.body, 'ApplySubaccountTransferRequest', {
        client_transfer_id: 'string',
        from_subaccount: 'int64',
        to_subaccount: 'int64',
        amount_cents: 'int64',
        exchange_index: 'int64',
      })
      const id = requireField(stringOf(body, 'client_transfer_id'), 'client_transfer_id')
      if (caller.subaccountTransfers.has(id)) throw refuse(409, 'transfer_already_exists')
      const [from, to] = [subOf(body, caller, 'from_subaccount'), subOf(body, caller, 'to_subaccount')]
      const shard = shardOf(call, body, 'exchange_index')
      const amount = requireField(integerOf(body, 'amount_cents'), 'amount_cents') * 10_000
      movable(call, caller, from, shard, amount)
      caller.move(from, shard, -amount, call.x.now)
      caller.move(to, shard, amount, call.x.now)
      caller.subaccountTransfers.set(id, {
        number: caller.subaccountTransfers.size,
        id: call.x.ids.next('transfer'),
        from,
        to,
        amount,
        time: call.x.now,
        exchangeIndex: shard,
      })
      return ok({})
    },
  }),
  signed({
    method: 'GET',
    path: '/portfolio/subaccounts/transfers',
    operation: 'GetSubaccountTransfers',
    handle: ({ query }, caller) => {
      const { page, cursor } = paged(
        [...caller.subaccountTransfers.values()].reverse(),
        query.limit(1000, 100),
        query.text('cursor'),
        (t) => t.number,
      )
      return ok({
        cursor,
        transfers: page.map((t) => ({
          transfer_id: t.id,
          from_subaccount: t.from,
          to_subaccount: t.to,
          amount_cents: text.cents(t.amount),
          created_ts: text.unixSeconds(t.time),
          exchange_index: t.exchangeIndex,
        })),
      })
    },
  }),

  signed({
    method: 'POST',
    path: '/portfolio/intra_exchange_instance_transfer',
    operation: 'IntraExchangeInstanceTransfer',
    scope: 'write::transfer',
    handle: (call, caller) => {
      const body = decodeBody(call.body, 'IntraExchangeInstanceTransferRequest', {
        source: 'string',
        destination: 'string',
        amount: 'int64',
        source_exchange_shard: 'int64',
        destination_exchange_shard: 'int64',
        source_subaccount: 'int64',
        destination_subaccount: 'int64',
        client_transfer_id: 'string',
      })
      if (stringOf(body, 'source') !== 'event_contract' || stringOf(body, 'destination') !== 'event_contract')
        throw refuse(400, 'invalid_parameters', 'only event_contract to event_contract')
      const clientId = stringOf(body, 'client_transfer_id')
      if (clientId !== null && caller.shardTransfers.some((t) => t.clientId === clientId)) throw refuse(409, 'transfer_already_exists')
      const [from, to] = [shardOf(call, body, 'source_exchange_shard'), shardOf(call, body, 'destination_exchange_shard')]
      const sub = (name: string): number => (integerOf(body, name) === null ? 0 : subOf(body, caller, name))
      const [source, destination] = [sub('source_subaccount'), sub('destination_subaccount')]
      // Centicents.
      const amount = requireField(integerOf(body, 'amount'), 'amount') * 100
      movable(call, caller, source, from, amount)
      caller.move(source, from, -amount, call.x.now)
      caller.move(destination, to, amount, call.x.now)
      const transfer: ShardTransfer = {
        number: caller.shardTransfers.length,
        id: call.x.ids.next('transfer'),
        from,
        to,
        amount,
        time: call.x.now,
        clientId,
      }
      caller.shardTransfers.push(transfer)
      return ok({ transfer_id: transfer.id })
    },
  }),
  signed({
    method: 'GET',
    path: '/portfolio/intra_exchange_instance_transfers',
    operation: 'GetIntraExchangeInstanceTransfers',
    handle: ({ query }, caller) => {
      const { page, cursor } = paged([...caller.shardTransfers].reverse(), query.limit(500, 100), query.text('cursor'), (t) => t.number)
      return ok({ transfers: page.map(transferBody), ...(cursor === '' ? {} : { cursor }) })
    },
  }),
  signed({
    method: 'GET',
    path: '/portfolio/intra_exchange_instance_transfers/:transfer_id',
    operation: 'GetIntraExchangeInstanceTransfer',
    handle: ({ params }, caller) => {
      const transfer = caller.shardTransfers.find((t) => t.id === params['transfer_id'])
      if (transfer === undefined) throw refuse(404, 'not_found')
      return ok({ transfer: transferBody(transfer) })
    },
  }),
  signed({
    method: 'GET',
    path: '/portfolio/target_balance_allocation',
    operation: 'GetTargetBalanceAllocation',
    handle: (_call, caller) => ok({ allocations: caller.allocations, resting_margin_reservation: caller.reservation }),
  }),
  signed({
    method: 'POST',
    path: '/portfolio/target_balance_allocation',
    operation: 'SetTargetBalanceAllocation',
    scope: 'write::transfer',
    handle: (call, caller) => {
      const body = decodeBody(call.body, 'SetTargetBalanceAllocationRequest', {
        allocations: 'array',
        resting_margin_reservation: 'string',
      })
      const list = (body['allocations'] ?? []) as { exchange_index: number; percent: number }[]
      const sum = list.reduce((a, l) => a + l.percent, 0)
      if (list.length > 0 && sum !== 100) throw refuse(400, 'invalid_parameters', 'percentages total 100')
      caller.allocations = list.map((l) => ({ exchange_index: l.exchange_index, percent: l.percent }))
      caller.reservation = stringOf(body, 'resting_margin_reservation') ?? caller.reservation
      return ok({})
    },
  }),
  signed({ method: 'GET', path: '/portfolio/deposits', operation: 'GetDeposits', handle: () => ok({ deposits: [], cursor: '' }) }),
  signed({ method: 'GET', path: '/portfolio/withdrawals', operation: 'GetWithdrawals', handle: () => ok({ withdrawals: [], cursor: '' }) }),
]
