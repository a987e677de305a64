/**
 * What the key may do and what it could lose. Owns the questions (all of them reads) and the words; hides the answers' shapes. Invariant: what could not be read is said to be unknown, and counts as allowed
 * where it would cost money.
 */
import { formatMoney } from '../../../engine/units.ts'
import { KalshiError } from '../errors.ts'
import type { Rest } from '../rest.ts'
import { parseMoney } from './facts.ts'
import { READ } from './sweep.ts'

export type AccountFacts = {
  readonly subaccount: number
  /** Scopes of the key; null: the exchange does not show them. */
  readonly scopes: readonly string[] | null
  /** Locked to one subaccount; `number` null where the exchange does not say which. */
  readonly restricted: { readonly is: boolean; readonly number: number | null } | null
  /** Whether it may read orders, fills, positions and balance. */
  readonly reads: boolean
  readonly trades: boolean | null
  readonly transfers: boolean | null
  /** Money by shard, of the subaccount. Null: not readable. */
  readonly balances: readonly (readonly [number, number])[] | null
  /** Collateral return across the markets of an event. */
  readonly netting: boolean | null
  /** What stands in the way of a session. */
  readonly problems: readonly string[]
  readonly warnings: readonly string[]
}

/** Reads alone: nothing is changed. A key that the exchange does not believe is an error. */
export async function readAccount(
  rest: Rest,
  { keyId, subaccount = 0, shards = [0] }: { readonly keyId: string; readonly subaccount?: number; readonly shards?: readonly number[] },
): Promise<AccountFacts> {
  const keys = await attempt(() => rest.get('apiKeys', {}, READ))
  const key = keys instanceof KalshiError ? null : (keys.api_keys.find((k) => k.api_key_id === keyId) ?? null)
  const locked = keys instanceof KalshiError && isLock(keys)
  const balances = await balancesOf(rest, subaccount, shards)
  const restricted =
    key !== null
      ? { is: typeof key.subaccount === 'number', number: key.subaccount ?? null }
      : locked
        ? { is: true, number: balances instanceof KalshiError ? null : subaccount }
        : null
  const config = await attempt(() => rest.get('netting', {}, READ))
  const netting = config instanceof KalshiError ? null : config.netting_configs.some((c) => c.subaccount_number === subaccount && c.enabled)
  const scopes = key?.scopes ?? null
  const has = (scope: string): boolean | null => (scopes === null ? null : scopes.includes('write') || scopes.includes(scope))
  const probes = await Promise.all([
    attempt(() => rest.get('orders', { limit: 1, subaccount }, READ)),
    attempt(() => rest.get('positions', { limit: 1, subaccount }, READ)),
  ])
  const failed = [...probes, balances].filter((p) => p instanceof KalshiError)
  const facts = {
    subaccount,
    scopes,
    restricted,
    reads: failed.length === 0,
    trades: has('write::trade'),
    transfers: has('write::transfer'),
  }
  const known = { ...facts, balances: balances instanceof KalshiError ? null : balances, netting }
  return { ...known, problems: problemsOf(known, failed), warnings: warningsOf(known) }
}

/** What the key could lose at the most, in words: pieces for whoever shows the worst case of a session. `limit`: worst loss of the session by its limits, Money. */
export function lossText(facts: AccountFacts, limit: number): readonly string[] {
  const sum = facts.balances?.reduce((a, [, money]) => a + money, 0) ?? null
  const dollars = (money: number): string => `$${formatMoney(money).replace(/\d{4}$/, '')}`
  return [
    `by its limits: ${dollars(limit)}`,
    sum === null
      ? 'by what is there: not known, the balance cannot be read'
      : `by what is there, should the limits fail: ${dollars(sum)} on ${facts.balances?.length === 1 ? `shard ${String(facts.balances[0]?.[0])}` : `${String(facts.balances?.length)} shards`}, and what its positions are worth`,
    facts.restricted?.is === true
      ? `the key is locked to subaccount ${facts.restricted.number === null ? '(not told)' : String(facts.restricted.number)}: other money is out of its reach`
      : 'the key is not locked to a subaccount: all money of the user is within its reach',
    facts.transfers === false
      ? 'the key cannot move money'
      : facts.transfers === true
        ? 'the key can move money between subaccounts and shards'
        : 'whether the key can move money is not known: it counts as yes',
  ]
}

export const RECOMMENDED_SETUP: readonly string[] = [
  'make a subaccount for Tapeline alone and move into it what it may lose at the most',
  'make a key locked to that subaccount, with the scopes read and write::trade; without write, which includes write::transfer',
  'trade by hand, and with other programs, in another subaccount: a foreign order or fill halts its market here',
  'leave collateral return off there: cash can then be compared to the digit',
]

function problemsOf(
  facts: Pick<AccountFacts, 'scopes' | 'trades' | 'restricted' | 'subaccount'>,
  failed: readonly KalshiError[],
): string[] {
  const problems: string[] = []
  for (const error of failed) problems.push(error.message)
  if (facts.trades === false) problems.push('the key cannot trade: give it the scope write::trade')
  const { restricted, subaccount } = facts
  if (restricted?.is === true && restricted.number !== null && restricted.number !== subaccount)
    problems.push(`the key is locked to subaccount ${restricted.number}, the session is for ${subaccount}: choose one of them`)
  return [...new Set(problems)]
}
function warningsOf(facts: Pick<AccountFacts, 'scopes' | 'restricted' | 'transfers' | 'netting'>): string[] {
  const warnings: string[] = []
  if (facts.transfers === true) warnings.push('the key can move money (write::transfer): a key for trading alone is safer')
  if (facts.transfers === null) warnings.push('what the key may do is not shown to it: whether it can move money is not known')
  if (facts.restricted === null) warnings.push('whether the key is locked to a subaccount is not known')
  else if (!facts.restricted.is) warnings.push('the key is not locked to a subaccount: all money of the user is within its reach')
  if (facts.netting === true) warnings.push('collateral return is on in this subaccount: its cash cannot be compared with ours')
  if (facts.netting === null) warnings.push('whether collateral return is on is not known: cash may differ because of it')
  return warnings
}

async function balancesOf(
  rest: Rest,
  subaccount: number,
  shards: readonly number[],
): Promise<readonly (readonly [number, number])[] | KalshiError> {
  return attempt(async () => {
    const all = await rest.get('balance', { subaccount }, READ)
    const rows: (readonly [number, number])[] = []
    if (all.balance_breakdown != null) for (const b of all.balance_breakdown) rows.push([b.exchange_index, parseMoney(b.balance)])
    else
      for (const shard of shards)
        rows.push([shard, parseMoney((await rest.get('balance', { subaccount, exchange_index: shard }, READ)).balance_dollars)])
    if (rows.some(([, money]) => !Number.isSafeInteger(money)))
      throw new KalshiError('UNREADABLE', 'a balance is no amount: the interface may have changed')
    return rows
  })
}
/** The sentence that a locked key is answered with (api.md §1.6). */
function isLock(error: KalshiError): boolean {
  return error.code === 'FORBIDDEN' && /restricted to a single sub-?account/.test(error.message)
}
async function attempt<T>(read: () => Promise<T>): Promise<T | KalshiError> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof KalshiError) || error.code === 'AUTH' || error.code === 'CREDENTIALS' || error.code === 'STOPPED') throw error
    return error
  }
}
