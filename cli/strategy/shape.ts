/** What a factory gave back, held to what a strategy is. Owns the sentences for objects that are none; the types say the same before a run, and JavaScript has no types. */
import { StrategyError } from '../../engine/strategy-error.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { suggest } from '../exit.ts'

export const HANDLERS = [
  'onStart',
  'onBook',
  'onTrade',
  'onFill',
  'onStatus',
  'onSettlement',
  'onExternal',
  'onWake',
] as const satisfies readonly (keyof Strategy)[]

export type Factory = (parameters?: Readonly<Record<string, unknown>>) => unknown

/** The factory of a module: the default export, else the only function. */
export function factoryOf(
  module: Readonly<Record<string, unknown>>,
  given: string,
): { readonly factory: Factory; readonly exported: string } {
  const named = Object.keys(module).filter((k) => k !== 'default' && k !== '__esModule' && typeof module[k] === 'function')
  const standard = module['default']
  if (typeof standard === 'function') return { factory: standard as Factory, exported: 'default' }
  if (standard !== undefined && typeof standard === 'object')
    throw shape(
      `${given} exports ${what(standard)} as default: export a function that returns the strategy, as in export default function mine({ size = 10 } = {}): Strategy { … }`,
    )
  const [first, ...others] = named
  if (first === undefined)
    throw shape(
      `${given} exports no function: export one that returns the strategy, as in export default function mine({ size = 10 } = {}): Strategy { … }`,
    )
  if (others.length > 0)
    throw shape(`${given} exports several functions (${named.join(', ')}): make the one that returns the strategy the default export`)
  return { factory: module[first] as Factory, exported: first }
}

/** Throws unless it is a strategy. */
export function asStrategy(made: unknown, given: string): Strategy {
  const wrong = (why: string): StrategyError => shape(`${given}: the factory returns no strategy: ${why}`)
  if (typeof made !== 'object' || made === null) throw wrong(`it returned ${what(made)}`)
  if (typeof (made as { then?: unknown }).then === 'function') {
    ;(made as Promise<unknown>).then(
      () => {},
      () => {},
    )
    throw new StrategyError('STRATEGY_ASYNC', `${given}: the factory is async: it returns the strategy at once`)
  }
  const { name, parameters } = made as Partial<Strategy>
  if (typeof name !== 'string' || !/^[\p{L}\p{N}][\p{L}\p{N}_.+ -]{0,59}$/u.test(name))
    throw wrong(`\`name\` is ${what(name)}: a text of up to 60 letters, digits, spaces and _ . + -`)
  if (typeof parameters !== 'object' || parameters === null) throw wrong(`\`parameters\` is ${what(parameters)}: an object, as in { size }`)
  for (const [key, value] of Object.entries(parameters)) {
    const fits = typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
    if (!fits) throw wrong(`\`parameters.${key}\` is ${what(value)}: a number, a text, true or false`)
  }
  let handlers = 0
  for (const key of keysOf(made)) {
    if (!/^on[A-Z]/.test(key)) continue
    if (!(HANDLERS as readonly string[]).includes(key)) {
      const near = suggest(key, HANDLERS)
      throw wrong(`there is no handler ${key}${near === null ? '' : ` (did you mean ${near}?)`}; there are ${HANDLERS.join(', ')}`)
    }
    const value = (made as Readonly<Record<string, unknown>>)[key]
    if (value === undefined) continue
    if (typeof value !== 'function') throw wrong(`\`${key}\` is ${what(value)}: a function`)
    handlers++
  }
  if (handlers === 0) throw wrong(`it has no handler; there are ${HANDLERS.join(', ')}`)
  return made as Strategy
}

/** Its own keys and those of its class. */
function keysOf(made: object): Set<string> {
  const keys = new Set<string>()
  for (let o: object | null = made; o !== null && o !== Object.prototype; o = Object.getPrototypeOf(o) as object | null)
    for (const key of Object.getOwnPropertyNames(o)) keys.add(key)
  return keys
}
function what(value: unknown): string {
  if (value === undefined || value === null || typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value === 'string') return `'${value.slice(0, 60)}'`
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'function' ? 'a function' : 'an object'
}
function shape(message: string): StrategyError {
  return new StrategyError('STRATEGY_SHAPE', message)
}
