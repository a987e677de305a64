/** The door to trading. Owns who may pass it: whoever has a key, and a session that keeps what enters; hides the venue. Invariant: a live session and what stops one import it, and nobody else. */
import { Kalshi } from './index.ts'
import { Gate, type GateOptions, type GateParts } from './venue/gate.ts'
import { CANCEL_COSTS } from './venue/intent.ts'
import { Stopper } from './venue/stopper.ts'
import { KalshiTrader, type TraderOptions, type TraderParts } from './venue/trader.ts'

export { FileQuarantine, systemWorld } from './index.ts'
export { lossText, readAccount, RECOMMENDED_SETUP, type AccountFacts } from './venue/account.ts'
export { cashOff, type AcceptedCash } from './venue/cash.ts'
export type { FillFact, OrderFact } from './venue/evidence.ts'
export type { Gate, GateOptions, GateParts, GateStatus, HardCaps } from './venue/gate.ts'
export { readFillsOf, readHoldings, readMarketPlace, type Holding, type MarketPlace } from './venue/holdings.ts'
export { clientId, flattenNonce, type CreateIntent, type Intent } from './venue/intent.ts'
export { sideBySide, type ReconcileRecord } from './venue/judge.ts'
export type { StopPlan, Stopper, StopReport } from './venue/stopper.ts'
export type { KalshiTrader, TraderDesk, TraderOptions, TraderStatus } from './venue/trader.ts'

/** µs that one of its writes may take. */
const STOP_TIMEOUT = 3_000_000

export class KalshiLive extends Kalshi {
  /** Who trades for a session. Nothing is sent before its `start`. */
  trader(parts: Pick<TraderParts, 'desk' | 'killed' | 'halted' | 'holdsLock' | 'shardOf'>, options: TraderOptions): KalshiTrader {
    const { environment, rest, budget, signer, world } = this
    return new KalshiTrader({ environment, signer, rest, budget, world, ...parts }, options)
  }
  /** The one way for writes: what may pass is asked of the session. */
  gate(parts: Omit<GateParts, 'environment' | 'signer' | 'clock' | 'timers' | 'http' | 'budget'>, options: GateOptions = {}): Gate {
    const { clock, timers, http } = this.world
    return new Gate({ ...parts, environment: this.environment, signer: this.signer, clock, timers, http, budget: this.budget }, options)
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
    return new Stopper(gate, this.rest, this.world, subaccount)
  }
}
