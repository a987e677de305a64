/**
 * A difference of cash that a person accepts: money came in or went out beside the session. Owns what may be accepted, and how the beginning changes by it; hides nothing. Invariant: accepted is only what the
 * last comparison has shown, to its last digit; our books do not change.
 */
import { formatMoney } from '../../../engine/units.ts'
import { parseMoney } from './facts.ts'
import type { ReconcileRecord } from './judge.ts'
import type { Baseline } from './reconcile.ts'

/** By shard, signed Money: the exchange's less ours. */
export type AcceptedCash = { readonly shards: readonly (readonly [number, number])[]; readonly reason: string }

/** What counts as different in cash. A shard that the exchange does not list has no amount. */
export function cashOff(record: Pick<ReconcileRecord, 'differences'> | null): ReadonlyMap<number, number> {
  const off = new Map<number, number>()
  for (const { kind, counted, shard, ours, theirs } of record?.differences ?? []) {
    const by = kind === 'cash' && counted ? parseMoney(theirs) - parseMoney(ours) : Number.NaN
    if (shard !== null && Number.isSafeInteger(by)) off.set(shard, by)
  }
  return off
}
/** Why it is not to be accepted; null: it is. */
export function notAccepted(record: Pick<ReconcileRecord, 'differences'> | null, { shards }: AcceptedCash): string | null {
  const off = cashOff(record)
  if (shards.length === 0) return 'it names no amount'
  for (const [shard, money] of shards)
    if (off.get(shard) !== money)
      return `the cash of shard ${shard} differs by ${formatMoney(off.get(shard) ?? 0)} by now, not by ${formatMoney(money)}: look again`
  return null
}
export function withCash(baseline: Baseline, shards: Iterable<readonly [number, number]>): Baseline {
  const cash = new Map(baseline.cash)
  for (const [shard, money] of shards) cash.set(shard, (cash.get(shard) ?? 0) + money)
  return { ...baseline, cash: [...cash] }
}
