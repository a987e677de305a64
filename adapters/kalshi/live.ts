/** The door to trading. Owns who may pass it: whoever has a key, and a session that keeps what enters; hides the venue. Invariant: only a live session imports it. */
import { Kalshi } from './index.ts'
import { KalshiTrader, type TraderOptions, type TraderParts } from './venue/trader.ts'

export { readAccount, lossText, type AccountFacts } from './venue/account.ts'
export type { TraderDesk, TraderOptions, TraderStatus } from './venue/trader.ts'
export type { KalshiTrader } from './venue/trader.ts'

export class KalshiLive extends Kalshi {
  /** Who trades for a session. Nothing is sent before its `start`. */
  trader(parts: Pick<TraderParts, 'desk' | 'killed' | 'holdsLock' | 'shardOf'>, options: TraderOptions): KalshiTrader {
    const { environment, rest, budget, signer, world } = this
    return new KalshiTrader({ environment, signer, rest, budget, world, ...parts }, options)
  }
}
