import type { Strategy } from '../engine/index.ts'
import { lean } from './lean.ts'
import { meanReversion } from './mean-reversion.ts'

/** The built-in strategies by the name a command line knows them by. Defaults of the factories are the types of `--param`. */
export const strategies: Readonly<Record<string, (parameters?: Record<string, never>) => Strategy>> = {
  'mean-reversion': meanReversion as (parameters?: Record<string, never>) => Strategy,
  lean: lean as (parameters?: Record<string, never>) => Strategy,
}
