/** Limits in human units ↔ engine units. Owns the names that a file uses; hides the scales. Invariant: the smaller value is the tighter one, for every limit. */
import { z } from 'zod'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import type { Limits } from '../../engine/session.ts'
import { SECOND } from '../../engine/units.ts'

type Scale = { readonly field: keyof Limits; readonly scale: number; readonly most: number; readonly about: string }

/** `scale`: engine units in one human unit. */
export const LIMIT_SCALES = {
  orderContracts: { field: 'orderMax', scale: 100, most: 1e7, about: 'Contracts in one order' },
  positionContracts: { field: 'positionMax', scale: 100, most: 1e7, about: 'Contracts held in one market' },
  marketLossDollars: { field: 'marketLossMax', scale: 1e6, most: 1e8, about: 'Worst loss in one market' },
  eventLossDollars: { field: 'eventLossMax', scale: 1e6, most: 1e8, about: 'Worst loss in one event whose markets exclude each other' },
  sessionLossDollars: { field: 'sessionLossMax', scale: 1e6, most: 1e8, about: 'Worst loss of the whole session' },
  ordersOpen: { field: 'ordersOpenMax', scale: 1, most: 1e5, about: 'Orders that work at the same time' },
  ordersPerSecond: { field: 'ordersPerSecondMax', scale: 1, most: 1e4, about: 'New orders a second' },
  collarCents: { field: 'collar', scale: 100, most: 100, about: 'Distance of an order from the best price, cents' },
  feedSilenceSeconds: { field: 'silenceMax', scale: SECOND, most: 86_400, about: 'Silence of the feed after which nothing new is sent' },
  orderAgeSeconds: { field: 'orderAgeMax', scale: SECOND, most: 7 * 86_400, about: 'Age at which an order expires at the exchange' },
} as const satisfies Readonly<Record<string, Scale>>
export type LimitName = keyof typeof LIMIT_SCALES
export const LIMIT_NAMES = Object.keys(LIMIT_SCALES) as LimitName[]

export function limitDefault(name: LimitName): number {
  const { field, scale } = LIMIT_SCALES[name]
  return LIMITS_DEFAULT[field] / scale
}

/** Limits that were said, over the defaults. */
export function limitsOf(said: Readonly<Partial<Record<LimitName, number>>>): Limits {
  const limits: Record<keyof Limits, number> = { ...LIMITS_DEFAULT }
  for (const name of LIMIT_NAMES) {
    const value = said[name]
    const { field, scale } = LIMIT_SCALES[name]
    if (value !== undefined) limits[field] = Math.round(value * scale)
  }
  return limits
}

function limit(name: LimitName) {
  const { scale, most, about } = LIMIT_SCALES[name]
  const whole = scale === 1
  const number = whole ? z.int().positive() : z.number().positive()
  return number
    .max(most)
    .refine((v) => Math.round(v * scale) >= 1 && Math.abs(v * scale - Math.round(v * scale)) < 1e-3, `it comes in steps of ${1 / scale}`)
    .meta({ description: about, default: limitDefault(name) })
    .optional()
}
/** The section of a configuration file, and the whole of a `--limits` file. */
export const LimitsSection = z.strictObject(
  Object.fromEntries(LIMIT_NAMES.map((name) => [name, limit(name)])) as Record<LimitName, ReturnType<typeof limit>>,
)
