/** Texts of the command line → engine units. Owns the parsing of times, durations, money and limits; every refusal says what, where and how to fix. */
import { existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'
import { parseTime } from '../data/import/frames.ts'
import { LIMITS_DEFAULT } from '../engine/risk.ts'
import type { Delays, Limits } from '../engine/session.ts'
import { dollars, priceDistance } from '../engine/units.ts'
import { EXIT, suggest, UsageError } from './exit.ts'

/** Pessimistic, above zero: a home connection on a bad day. */
export const DELAYS_DEFAULT: Delays = { place: 100_000, cancel: 100_000, amend: 100_000, answer: 50_000 }

export function parseDuration(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)(us|µs|ms|s|m|h|d)$/.exec(text.trim())
  if (match === null) throw new UsageError(`${option} ${text}: not a duration; write a number and a unit such as 50ms, 2s, 5m, 1h`)
  const unit = { us: 1, µs: 1, ms: 1e3, s: 1e6, m: 60e6, h: 3600e6, d: 86_400e6 }[match[2] as 'us'] as number
  return Math.round(Number(match[1]) * unit)
}

/** `place=50ms,answer=30ms` over the defaults. */
export function parseDelays(text: string | undefined): Delays {
  const delays: Record<string, number> = { ...DELAYS_DEFAULT }
  if (text === undefined || text === '') return DELAYS_DEFAULT
  for (const part of text.split(',')) {
    const [name = '', value = ''] = part.split('=').map((x) => x.trim())
    if (!(name in DELAYS_DEFAULT)) {
      const near = suggest(name, Object.keys(DELAYS_DEFAULT))
      throw new UsageError(
        `--delay ${part}: there is no delay ${name}${near === null ? '' : ` (did you mean ${near}?)`}; write place=50ms,cancel=50ms,amend=50ms,answer=30ms`,
      )
    }
    const d = parseDuration(value, `--delay ${name}`)
    if (d <= 0) throw new UsageError(`--delay ${part}: a delay is above zero, nothing reaches an exchange in no time`)
    delays[name] = d
  }
  return delays as unknown as Delays
}

export function parseInstant(text: string | undefined, option: string): number | null {
  if (text === undefined) return null
  const full = /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : /Z$|[+-]\d\d:\d\d$/.test(text) ? text : `${text}Z`
  const t = parseTime(full)
  if (!Number.isFinite(t)) throw new UsageError(`${option} ${text}: not a time; write 2026-05-13 or 2026-05-13T13:45:00Z (UTC)`)
  return t
}

const LimitsFile = z.strictObject({
  orderContracts: z.number().positive().optional(),
  positionContracts: z.number().positive().optional(),
  marketLossDollars: z.number().positive().optional(),
  eventLossDollars: z.number().positive().optional(),
  sessionLossDollars: z.number().positive().optional(),
  ordersOpen: z.number().int().positive().optional(),
  ordersPerSecond: z.number().int().positive().optional(),
  collarCents: z.number().positive().optional(),
  feedSilenceSeconds: z.number().positive().optional(),
  orderAgeSeconds: z.number().positive().optional(),
})

/** A JSON file of limits in human units over the defaults. */
export function readLimits(path: string | undefined): Limits {
  if (path === undefined) return LIMITS_DEFAULT
  if (!existsSync(path)) throw new UsageError(`--limits ${path}: the file does not exist`, EXIT.config, 'CONFIG')
  let json: unknown
  try {
    json = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new UsageError(`${path}: not JSON (${error instanceof Error ? error.message : ''})`, EXIT.config, 'CONFIG')
  }
  const parsed = LimitsFile.safeParse(json)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const where = issue?.path.join('.') ?? ''
    throw new UsageError(
      `${path}${where === '' ? '' : ` ${where}`}: ${issue?.message ?? 'invalid'}; known limits: ${Object.keys(LimitsFile.shape).join(', ')}`,
      EXIT.config,
      'CONFIG',
    )
  }
  const f = parsed.data
  const d = LIMITS_DEFAULT
  return {
    orderMax: f.orderContracts === undefined ? d.orderMax : Math.round(f.orderContracts * 100),
    positionMax: f.positionContracts === undefined ? d.positionMax : Math.round(f.positionContracts * 100),
    marketLossMax: f.marketLossDollars === undefined ? d.marketLossMax : dollars(f.marketLossDollars),
    eventLossMax: f.eventLossDollars === undefined ? d.eventLossMax : dollars(f.eventLossDollars),
    sessionLossMax: f.sessionLossDollars === undefined ? d.sessionLossMax : dollars(f.sessionLossDollars),
    ordersOpenMax: f.ordersOpen ?? d.ordersOpenMax,
    ordersPerSecondMax: f.ordersPerSecond ?? d.ordersPerSecondMax,
    collar: f.collarCents === undefined ? d.collar : priceDistance(f.collarCents / 100),
    silenceMax: f.feedSilenceSeconds === undefined ? d.silenceMax : Math.round(f.feedSilenceSeconds * 1e6),
    orderAgeMax: f.orderAgeSeconds === undefined ? d.orderAgeMax : Math.round(f.orderAgeSeconds * 1e6),
  }
}
