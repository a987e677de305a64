/** What the account may spend. Owns the two questions about it; hides nothing. Invariant: where the exchange does not say, the Basic tier and its costs hold; a key that is refused is an error. */
import { environmentOf, type Environment } from './environment.ts'
import { KalshiError } from './errors.ts'
import type { Clock } from './ports.ts'
import { Budget } from './rate-limit.ts'
import { Rest, type RestWorld } from './rest.ts'
import { Signer } from './sign.ts'

export async function learnLimits(rest: Rest, budget: Budget, clock: Clock): Promise<{ readonly tier: string | null }> {
  try {
    const { usage_tier: tier, read, write } = await rest.get('accountLimits')
    budget.setLimits(
      {
        read: { perSecond: read.refill_rate, capacity: read.bucket_capacity },
        write: { perSecond: write.refill_rate, capacity: write.bucket_capacity },
      },
      clock.now(),
    )
    const { default_cost: standard, endpoint_costs: costs } = await rest.get('endpointCosts')
    budget.setCosts(standard, costs)
    return { tier }
  } catch (error) {
    if (!(error instanceof KalshiError) || error.code === 'AUTH' || error.code === 'FORBIDDEN' || error.code === 'CREDENTIALS') throw error
    return { tier: null }
  }
}

/** Reading of public data: a key is not needed, but with one the limits are its own. */
export class PublicReader {
  readonly environment: Environment
  readonly rest: Rest
  readonly #budget = new Budget()
  readonly #signed: boolean
  readonly #world: RestWorld

  constructor(
    access: { readonly environment: string; readonly key: { readonly id: string; readonly file: string } | null },
    world: RestWorld,
    env: Readonly<Record<string, string | undefined>> = {},
  ) {
    this.environment = environmentOf(access.environment, env)
    const signer = access.key === null ? null : Signer.fromFile(access.key.id, access.key.file)
    this.#signed = signer !== null
    this.#world = world
    this.rest = new Rest(this.environment, signer, this.#budget, world)
  }
  async learn(): Promise<{ readonly tier: string | null }> {
    return this.#signed ? learnLimits(this.rest, this.#budget, this.#world.clock) : { tier: null }
  }
}
