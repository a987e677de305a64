import type { Strategy } from '../engine/index.ts'
import { favorite } from './favorite.ts'
import { lean } from './lean.ts'
import { meanReversion } from './mean-reversion.ts'
import { parity } from './parity.ts'
import { spotLag } from './spot-lag.ts'

/** The built-in strategies by the name a command line knows them by. Defaults of the factories are the types of `--param`. */
export const strategies: Readonly<Record<string, (parameters?: Record<string, never>) => Strategy>> = {
  'mean-reversion': meanReversion as (parameters?: Record<string, never>) => Strategy,
  favorite: favorite as (parameters?: Record<string, never>) => Strategy,
  parity: parity as (parameters?: Record<string, never>) => Strategy,
  'spot-lag': spotLag as (parameters?: Record<string, never>) => Strategy,
  lean: lean as (parameters?: Record<string, never>) => Strategy,
}
