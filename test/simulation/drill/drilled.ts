/** The program under drill: the real venue in a session, as `drill` wants it. Owns its header and limits; hides nothing. */
import { readClientId, type Intent } from '../../../adapters/kalshi/venue/intent.ts'
import { KalshiTrader, type TraderDesk } from '../../../adapters/kalshi/venue/trader.ts'
import type { Trading } from '../../../cli/live/trading.ts'
import type { Limits, SessionHeader } from '../../../engine/session.ts'
import { header } from '../../support/session.ts'
import type { Disk } from './disk.ts'
import { LIMITS, type Drilled } from './drill.ts'
import { maker } from './maker.ts'
import { LiveProcess, type Hands, type Rec } from './session.ts'
import { SERIES, START } from './stage.ts'
import { swarmOf } from './swarm.ts'
import type { Witness } from './truth.ts'

const SECOND = 1_000_000
const NONCE = 'drill'
const limits: Limits = {
  orderMax: 12 * 100,
  positionMax: LIMITS.positionMax,
  marketLossMax: LIMITS.marketLossMax,
  eventLossMax: 200 * SECOND,
  sessionLossMax: LIMITS.sessionLossMax,
  ordersOpenMax: 30,
  ordersPerSecondMax: 5,
  collar: 1_000,
  silenceMax: 10 * SECOND,
  orderAgeMax: 40 * SECOND,
}

export type Trade = (desk: TraderDesk, hands: Hands) => Trading
export const honest: Trade = (desk, hands) =>
  new KalshiTrader(
    { ...hands, desk },
    {
      nonce: NONCE,
      subaccount: 0,
      start: START,
      groupLimit: 150 * 100,
      // More often than in earnest: what a minute would show shall be seen in a run of minutes.
      reconcileEvery: 15 * SECOND,
      caps: { orderMax: limits.orderMax, notionalMax: 12 * SECOND, collar: 2_000, ordersPerSecond: 10, ordersOpen: limits.ordersOpenMax },
    },
  )

/** `trade`: a mutant brings its own. `watch`: told of every process that begins. */
export function drilled(
  seed: number,
  { trade = honest, watch = () => {} }: { trade?: Trade; watch?: (process: LiveProcess) => void } = {},
): Drilled<Rec> {
  // One strategy, or two that get into each other's way.
  const names = seed % 3 === 0 ? ['maker', 'rival'] : ['maker']
  const head: SessionHeader = {
    ...header(),
    mode: 'live',
    live: { nonce: NONCE, environment: 'local', subaccount: 0 },
    cash: 0,
    limits,
    rate: swarmOf(seed).basicTier > 0 ? { perSecond: 100, capacity: 100 } : { perSecond: 1200, capacity: 3600 },
    seed,
    strategies: names.map((name) => ({ name, parameters: { seed } })),
  }
  return {
    make: (parts) => {
      const process = new LiveProcess(parts, {
        header: { ...head, cash: parts.cash },
        strategies: () => names.map((name) => maker(seed, name)),
        series: SERIES,
        trade,
      })
      watch(process)
      return process
    },
    witness: witnessOf,
  }
}

function witnessOf(disk: Disk<Rec>): Witness {
  const safe = new Set<string>()
  let at = 0
  return {
    ours: (id) => readClientId(id)?.nonce === NONCE,
    isSafe: (id) => {
      for (; at < disk.safe.length; at++) {
        const record = disk.safe[at] as Rec
        if (record.kind !== 'input' || record.input.kind !== 'intent') continue
        const intent = record.input.detail as Intent
        if (intent.kind === 'create') safe.add(intent.client)
      }
      return safe.has(id)
    },
    intentOf: (id) => String(readClientId(id)?.order ?? id),
  }
}
