/** Texts of the command line → engine units. Owns the parsing of times, durations and delays; every refusal says what, where and how to fix. */
import { parseTime } from '../data/import/frames.ts'
import type { Delays } from '../engine/session.ts'
import { suggest, UsageError } from './exit.ts'

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
  for (const [name, value] of delayWords(text)) delays[name] = parseDuration(value, `--delay ${name}`)
  return delays as unknown as Delays
}

/** The delays that a text names, each with its duration, checked. */
export function delayWords(text: string | undefined): (readonly [keyof Delays, string])[] {
  if (text === undefined || text === '') return []
  const words: (readonly [keyof Delays, string])[] = []
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
    words.push([name as keyof Delays, value])
  }
  return words
}

export function parseInstant(text: string | undefined, option: string): number | null {
  if (text === undefined) return null
  const full = /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : /Z$|[+-]\d\d:\d\d$/.test(text) ? text : `${text}Z`
  const t = parseTime(full)
  if (!Number.isFinite(t)) throw new UsageError(`${option} ${text}: not a time; write 2026-05-13 or 2026-05-13T13:45:00Z (UTC)`)
  return t
}
