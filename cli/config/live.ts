/**
 * What live trading has beside the settings of everybody: its own section, and how high a limit may stand at all. Owns the ceilings, which are compiled in and which no file, flag or variable moves;
 * hides nothing. Invariant: a ceiling is at or above nothing that a first month of live trading needs, and is raised by a change of this file alone.
 */
import type { LimitName } from './limits.ts'

/** In the units of the file. */
export const LIVE_CEILINGS: Readonly<Record<LimitName, number>> = {
  orderContracts: 500,
  positionContracts: 5_000,
  marketLossDollars: 1_000,
  eventLossDollars: 2_500,
  sessionLossDollars: 5_000,
  ordersOpen: 200,
  ordersPerSecond: 10,
  collarCents: 20,
  feedSilenceSeconds: 15,
  orderAgeSeconds: 3_600,
}
/** Dollars that a live session may use. */
export const LIVE_CASH_MAX = 25_000
/** Contracts that an order group may fill in 15 seconds. */
export const LIVE_GROUP_MAX = 5_000
/** Settings of this section come from files and flags of a live command alone. */
export const LIVE_SECTION = 'live.'
