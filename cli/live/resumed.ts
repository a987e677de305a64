/**
 * A session that goes on, held against what is armed now. Owns what of a session may not differ; hides how each is written. Invariant: a session trades on under the limits that somebody accepted, or not at
 * all; what an old session did not keep is not guessed.
 */
import type { SessionHeader } from '../../engine/session.ts'
import { EXIT, UsageError } from '../exit.ts'
import type { Binding } from './arms.ts'
import type { LivePlan } from './course.ts'
import { termsApart } from './terms.ts'

/** Settings of a session that its header does not hold. */
export type PlanBrakes = Pick<Binding, 'orderGroupContracts' | 'absenceMargin' | 'closeMargin'>

/** Throws with every difference between what the session has and what would be armed. */
export function sameTerms(
  dir: string,
  session: { readonly header: Pick<SessionHeader, 'limits' | 'cash'>; readonly plan: Pick<LivePlan, 'subaccount' | 'brakes' | 'rule'> },
  binding: Pick<Binding, 'limits' | 'cash' | 'subaccount' | 'markets' | keyof PlanBrakes>,
): void {
  const { header, plan } = session
  const found: string[] = []
  const compare = (what: string, was: unknown, is: unknown): void => {
    const [a, b] = [JSON.stringify(was ?? null), JSON.stringify(is ?? null)]
    if (a !== b) found.push(`${what} is ${a} in the session and ${b} in the settings`)
  }
  const { brakes, rule } = plan
  const { limits, cash } = header
  const began = { limits, cash, orderGroupContracts: undefined, absenceMargin: undefined, closeMargin: undefined, ...brakes }
  for (const { name, was, is } of termsApart(began, binding, true)) found.push(`${name} is ${was} in the session and ${is} in the settings`)
  compare('subaccount', plan.subaccount, binding.subaccount)
  if (rule !== undefined)
    for (const name of Object.keys(binding.markets) as (keyof Binding['markets'])[])
      compare(`markets ${name}`, rule[name], binding.markets[name])
  if (found.length > 0)
    throw new UsageError(
      `${dir} began under other terms than the settings say now, so an arm of these is none for it: ${found.join('; ')}: put the settings back, or start a new session`,
      EXIT.gate,
      'DIFFERS',
    )
}
