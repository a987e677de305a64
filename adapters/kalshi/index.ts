/**
 * The door of the Kalshi adapter, reading side. Owns how a session with the exchange begins: environment, key, budget, the account's own limits; hides the parts. Invariant: nothing behind this door can
 * send an order; `live.ts` is the door to what can.
 */
import { environmentOf, type Environment } from './environment.ts'
import { KalshiFeed } from './feed.ts'
import { learnLimits } from './learn.ts'
import type { World } from './ports.ts'
import { Budget } from './rate-limit.ts'
import { Rest } from './rest.ts'
import type { FeedOptions } from './shared.ts'
import { Signer } from './sign.ts'

export { download, keptRequest, type DownloadOptions, type DownloadRequest, type DownloadSummary } from './download/index.ts'
export { KalshiError } from './errors.ts'
export type { KalshiFeed } from './feed.ts'
export { readCandles, readTrades } from './history.ts'
export { probe, type ProbeResult } from './probe.ts'
export { PublicReader } from './learn.ts'
export type { FeedOptions, FeedStatus } from './shared.ts'
export type { SelectionRule } from './selection.ts'
export { Signer } from './sign.ts'
export { FileQuarantine, systemWorld } from './system.ts'

export type KalshiAccess = {
  /** `demo` (the default), `production`, or the address of an exchange on this machine. */
  readonly environment?: string
  readonly keyId: string
  /** PEM file, mode 0600. */
  readonly keyFile: string
}

/** A session with the exchange: everything in it shares one budget and one key. */
export class Kalshi {
  readonly environment: Environment
  readonly rest: Rest
  readonly budget: Budget
  protected readonly signer: Signer
  protected readonly world: World

  constructor(
    { environment = 'demo', keyId, keyFile }: KalshiAccess,
    world: World,
    env: Readonly<Record<string, string | undefined>> = {},
  ) {
    this.environment = environmentOf(environment, env)
    this.signer = Signer.fromFile(keyId, keyFile)
    this.world = world
    this.budget = new Budget()
    this.rest = new Rest(this.environment, this.signer, this.budget, world)
  }

  /** The account's own limits and costs. Without them the Basic tier is assumed; a key that is refused is an error. */
  async learn(): Promise<{ readonly tier: string | null }> {
    return learnLimits(this.rest, this.budget, this.world.clock)
  }

  /** Lets no further read out. Feeds are stopped on their own. */
  close(): void {
    this.rest.stop()
  }

  feed(options: FeedOptions): KalshiFeed {
    return new KalshiFeed({ environment: this.environment, signer: this.signer, rest: this.rest, world: this.world, options })
  }
}
