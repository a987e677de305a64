/**
 * What a live session can lose, in dollars. Owns which bound holds and its explanation; hides nothing. Invariant: the least of what each bound allows, and each bound is one that the gate or the exchange keeps
 * without the strategy's help; rounded up to the dollar that is typed.
 */
import type { Limits } from '../../engine/session.ts'

type Bound = { readonly name: string; readonly money: number; readonly why: string }
export type WorstCase = {
  /** Whole dollars. */
  readonly dollars: number
  readonly bounds: readonly Bound[]
  readonly binding: string
}

export function worstCaseOf(of: {
  readonly limits: Limits
  readonly cash: number
  readonly balance: number
  readonly subaccount: number
}): WorstCase {
  const bounds: Bound[] = [
    {
      name: 'session loss limit',
      money: of.limits.sessionLossMax,
      why: 'worst loss of everything held and working, with what was already lost, checked before each order',
    },
    { name: 'cash to use', money: of.cash, why: 'live.cashDollars: the session counts on no more' },
    {
      name: 'balance',
      money: of.balance,
      why: `of subaccount ${of.subaccount}: contracts are paid in full, so the exchange lends nothing`,
    },
  ]
  const least = bounds.reduce((a, b) => (b.money < a.money ? b : a))
  return { dollars: Math.ceil(least.money / 1e6), bounds, binding: least.name }
}
