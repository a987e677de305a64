import type { Strategy } from '../engine/index.ts'
import { favorite } from './favorite.ts'
import { lean } from './lean.ts'
import { meanReversion } from './mean-reversion.ts'
import { parity } from './parity.ts'
import { spotLag } from './spot-lag.ts'

/** The built-in strategies by the name a command line knows them by. Defaults of the factories are the types of `--param`. */
type Factory = (parameters?: Record<string, never>) => Strategy

export const strategies: Readonly<Record<string, Factory>> = {
  favorite: favorite as Factory,
  lean: lean as Factory,
  'mean-reversion': meanReversion as Factory,
  parity: parity as Factory,
  'spot-lag': spotLag as Factory,
}
