/**
 * The door of the Kalshi adapter. Owns how a session with the exchange begins: environment, key, budget, the account's own limits; hides the parts. Orders leave through the one gate, which is made here
 * because it needs the key.
 */
import { environmentOf, type Environment } from './environment.ts'
import { KalshiFeed } from './feed.ts'
import { learnLimits } from './learn.ts'
import type { World } from './ports.ts'
import { Budget } from './rate-limit.ts'
import { Rest } from './rest.ts'
import type { FeedOptions } from './shared.ts'
import { Signer } from './sign.ts'
import { Gate, type GateOptions, type GateParts } from './venue/gate.ts'
import { CANCEL_COSTS } from './venue/intent.ts'
import { Stopper } from './venue/stopper.ts'

export { download, keptRequest, type DownloadOptions, type DownloadRequest, type DownloadSummary } from './download/index.ts'
export { KalshiError } from './errors.ts'
export { readCandles, readTrades } from './history.ts'
export { probe, type ProbeResult } from './probe.ts'
export { PublicReader } from './learn.ts'
export type { FeedOptions, FeedStatus } from './shared.ts'
export type { SelectionRule } from './selection.ts'
export { Signer } from './sign.ts'
export { FileQuarantine, systemWorld } from './system.ts'
export type { GateOptions, GateParts, GateStatus, HardCaps } from './venue/gate.ts'
export type { FillFact, OrderFact } from './venue/evidence.ts'
export type { Gate } from './venue/gate.ts'
export { readFillsOf, readHoldings, readMarketPlace, type Holding, type MarketPlace } from './venue/holdings.ts'
export { clientId, type CreateIntent, type Intent } from './venue/intent.ts'
export type { StopPlan, Stopper, StopReport } from './venue/stopper.ts'
export type { Kept } from './venue/tracked.ts'
export { KalshiVenue, type Leftover, type VenueOptions, type VenueParts, type VenueStatus } from './venue/venue.ts'

export type KalshiAccess = {
  /** `demo` (the default), `production`, or the address of an exchange on this machine. */
  readonly environment?: string
  readonly keyId: string
  /** PEM file, mode 0600. */
  readonly keyFile: string
}

const STOP_TIMEOUT = 5_000_000

/** A session with the exchange: everything in it shares one budget and one key. */
export class Kalshi {
  readonly environment: Environment
  readonly rest: Rest
  readonly budget: Budget
  readonly #signer: Signer
  readonly #world: World

  constructor(
    { environment = 'demo', keyId, keyFile }: KalshiAccess,
    world: World,
    env: Readonly<Record<string, string | undefined>> = {},
  ) {
    this.environment = environmentOf(environment, env)
    this.#signer = Signer.fromFile(keyId, keyFile)
    this.#world = world
    this.budget = new Budget()
    this.rest = new Rest(this.environment, this.#signer, this.budget, world)
  }

  /** The account's own limits and costs. Without them the Basic tier is assumed; a key that is refused is an error. */
  async learn(): Promise<{ readonly tier: string | null }> {
    return learnLimits(this.rest, this.budget, this.#world.clock)
  }

  /** Lets no further read out. Feeds are stopped on their own. */
  close(): void {
    this.rest.stop()
  }

  /** The one way for writes: what may pass is asked of the session. */
  gate(parts: Omit<GateParts, 'environment' | 'signer' | 'clock' | 'timers' | 'http' | 'budget'>, options: GateOptions = {}): Gate {
    const { clock, timers, http } = this.#world
    return new Gate({ ...parts, environment: this.environment, signer: this.#signer, clock, timers, http, budget: this.budget }, options)
  }
  /** Takes back what a subaccount has at the exchange. `killed`: why; null: order groups may be reset. */
  stopper(subaccount: number, killed: () => string | null): Stopper {
    // What a first month's account may do, at the prices that are published: nobody waits for an answer about it.
    this.budget.setCosts(10, CANCEL_COSTS)
    const gate = this.gate(
      {
        caps: { orderMax: 0, notionalMax: 0, collar: 0, ordersPerSecond: 0, ordersOpen: 0 },
        killed,
        holdsLock: () => true,
        synced: () => 0,
        permits: () => null,
        reference: () => null,
        closes: () => null,
        ordersOpen: () => 0,
      },
      { timeout: STOP_TIMEOUT },
    )
    return new Stopper(gate, this.rest, this.#world, subaccount)
  }

  feed(options: FeedOptions): KalshiFeed {
    return new KalshiFeed({ environment: this.environment, signer: this.#signer, rest: this.rest, world: this.#world, options })
  }
}
