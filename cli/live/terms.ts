/** Terms of a session that differ, by the names and in the units of the file, where whoever reads it puts them right. Owns names and units; hides the scales. Invariant: no field is left out for want of a name. */
import type { Limits } from '../../engine/session.ts'
import { LIMIT_NAMES, LIMIT_SCALES } from '../config/limits.ts'

export type Term = { readonly name: string; readonly was: string; readonly is: string }
/** Engine units; durations in µs. */
export type Terms = {
  readonly limits: Limits
  readonly cash: number
  readonly orderGroupContracts: number | undefined
  readonly absenceMargin: number | undefined
  readonly closeMargin: number | undefined
}

/** `partly`: what was not kept is not compared; else it is a difference. */
export function termsApart(was: Terms, is: Terms, partly = false): Term[] {
  const found: Term[] = []
  const compare = (name: string, a: number | undefined, b: number | undefined, text: (n: number) => string): void => {
    if (a === b || (partly && (a === undefined || b === undefined))) return
    const say = (n: number | undefined): string => (n === undefined ? 'not said' : text(n))
    found.push({ name, was: say(a), is: say(b) })
  }
  for (const field of new Set([...Object.keys(was.limits), ...Object.keys(is.limits)]) as Set<keyof Limits>) {
    const name = LIMIT_NAMES.find((n) => LIMIT_SCALES[n].field === field)
    const scale = name === undefined ? 1 : LIMIT_SCALES[name].scale
    const [a, b] = [was.limits[field] as number | undefined, is.limits[field] as number | undefined]
    if (a !== b)
      found.push({
        name: `limits.${name ?? field}`,
        was: a === undefined ? 'not said' : String(a / scale),
        is: b === undefined ? 'not said' : String(b / scale),
      })
  }
  const seconds = (n: number): string => `${n / 1e6}s`
  compare('live.cashDollars', was.cash, is.cash, (n) => String(n / 1e6))
  compare('live.orderGroupContracts', was.orderGroupContracts, is.orderGroupContracts, String)
  compare('live.absenceMargin', was.absenceMargin, is.absenceMargin, seconds)
  compare('live.closeMargin', was.closeMargin, is.closeMargin, seconds)
  return found
}
