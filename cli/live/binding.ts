/** What a live session is, as an arm is bound to it. Owns the one way from settings and strategies to a binding, for `live arm` and `live` alike; hides nothing. Invariant: the same words give the same binding. */
import type { Identity } from '../promote/identity.ts'
import type { Binding } from './arms.ts'
import type { LiveSettings } from './settings.ts'

export async function bindingOf(of: {
  readonly strategy: readonly string[]
  readonly param: readonly string[]
  readonly live: LiveSettings
  readonly environment: string
  /** `keyDigest` of the key's id. */
  readonly key: string
}): Promise<{ readonly identity: Identity; readonly binding: Binding }> {
  const { chooseStrategies } = await import('../strategy/choose.ts')
  const { strategiesOf } = await import('../session.ts')
  const { identityOf } = await import('../promote/identity.ts')
  const { VERSION } = await import('../version.ts')
  const identity = identityOf(strategiesOf(await chooseStrategies(of.strategy, of.param)), VERSION)
  const { live } = of
  const { series, markets, closeWithin, closeAfter, spreadMax, volumeMin, marketsMax } = live.following
  return {
    identity,
    binding: {
      strategies: identity.parts,
      hash: identity.hash,
      version: VERSION,
      limits: live.settings.limits,
      environment: of.environment,
      key: of.key,
      subaccount: live.subaccount,
      cash: live.cash,
      orderGroupContracts: live.orderGroupContracts,
      absenceMargin: live.absenceMargin,
      closeMargin: live.closeMargin,
      // In whatever order they were said.
      markets: { series: [...series].sort(), markets: [...markets].sort(), closeWithin, closeAfter, spreadMax, volumeMin, marketsMax },
    },
  }
}
