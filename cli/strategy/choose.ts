/**
 * `--strategy` and `--param` → strategies ready to run. Owns how a strategy is named (a built-in name or the path of a file) and how a parameter finds its strategy; types come
 * from the defaults. Invariant: a parameter that nobody takes is an error.
 */
import { existsSync } from 'node:fs'
import type { StrategySource } from '../../engine/session.ts'
import type { Parameter, Strategy } from '../../engine/strategy.ts'
import { StrategyError } from '../../engine/strategy-error.ts'
import { distinct } from '../../engine/words.ts'
import { strategies } from '../../strategies/index.ts'
import { suggest, UsageError } from '../exit.ts'
import { asStrategy, type Factory } from './shape.ts'

export type Chosen = { readonly strategy: Strategy; readonly source: StrategySource | null }

/** A strategy before it has its parameters. `label`: what `--param` calls it. */
type Candidate = {
  readonly make: (parameters?: Readonly<Record<string, unknown>>) => Strategy
  readonly label: string
  readonly defaults: Strategy
  readonly given: string
  readonly source: StrategySource | null
}

export async function chooseStrategies(names: readonly string[], parameters: readonly string[]): Promise<readonly Chosen[]> {
  if (names.length === 0) throw new UsageError('--strategy is missing: give a name or the path of a file')
  const found: Omit<Candidate, 'label'>[] = []
  for (const name of names) found.push(await candidate(name))
  const labels = distinct(found.map((f) => f.defaults.name))
  const candidates = found.map((f, i): Candidate => ({ ...f, label: labels[i] ?? f.defaults.name }))
  const chosen = candidates.map(() => new Map<string, Parameter>())
  for (const text of parameters) assign(text, candidates, chosen)
  return candidates.map((c, i) => {
    const own = chosen[i] as ReadonlyMap<string, Parameter>
    const strategy = own.size === 0 ? c.defaults : made(c, own)
    for (const [key, value] of own) {
      const standard = c.defaults.parameters[key]
      if (value !== standard && strategy.parameters[key] === standard)
        throw new StrategyError(
          'STRATEGY_SHAPE',
          `${c.given}: the factory was called with ${key}=${value} and returns parameters with ${key}=${standard}: return what it was called with, as in parameters: { ${key} }`,
        )
    }
    return { strategy, source: c.source }
  })
}

/** The strategy of a name or a path, with its defaults. */
export async function candidate(name: string): Promise<Omit<Candidate, 'label'>> {
  const { isPath, openStrategy, construct } = await import('./load.ts')
  if (isPath(name)) {
    const opened = await openStrategy(name)
    const make = (parameters?: Readonly<Record<string, unknown>>): Strategy => asStrategy(construct(opened, parameters), name)
    return { make, defaults: make(), given: name, source: opened.source }
  }
  const factory = (Object.hasOwn(strategies, name) ? strategies[name] : undefined) as Factory | undefined
  if (factory === undefined) {
    const file = nearby(name)
    const near = file ?? suggest(name, Object.keys(strategies))
    throw new UsageError(
      `--strategy ${name}: there is no such strategy${near === null ? '' : ` (did you mean ${near}?)`}; there are ${Object.keys(strategies).join(', ')}, and files by their path, as in ./mine.ts`,
    )
  }
  const make = (parameters?: Readonly<Record<string, unknown>>): Strategy => factory(parameters) as Strategy
  return { make, defaults: make(), given: name, source: null }
}

function made({ make, source }: Candidate, own: ReadonlyMap<string, Parameter>): Strategy {
  try {
    return make(Object.fromEntries(own))
  } catch (error) {
    const said = [...own].map(([k, v]) => `${k}=${v}`).join(' ')
    const text = `--param ${said}: ${error instanceof Error ? error.message : String(error)}`
    if (source !== null && error instanceof StrategyError) throw new StrategyError(error.code, text, error)
    throw new UsageError(text)
  }
}

function assign(text: string, candidates: readonly Candidate[], chosen: readonly Map<string, Parameter>[]): void {
  const cut = text.indexOf('=')
  const name = cut < 0 ? text : text.slice(0, cut)
  const value = cut < 0 ? '' : text.slice(cut + 1)
  const [only, ...others] = candidates
  // The longest label wins: `lean 2.size` is not a parameter of `lean`.
  let index = candidates.reduce(
    (best, c, i) => (name.startsWith(`${c.label}.`) && c.label.length > (candidates[best]?.label.length ?? -1) ? i : best),
    -1,
  )
  const key = index < 0 ? name : name.slice((candidates[index]?.label.length ?? 0) + 1)
  if (index < 0 && others.length === 0) index = 0
  const target = candidates[index]
  if (target === undefined || only === undefined) {
    const owner = candidates.find((c) => c.defaults.parameters[name] !== undefined) ?? only
    const near = name.includes('.')
      ? suggest(
          name,
          candidates.flatMap((c) => Object.keys(c.defaults.parameters).map((k) => `${c.label}.${k}`)),
        )
      : `${owner?.label}.${name}`
    throw new UsageError(
      `--param ${text}: with several strategies a parameter names its own${near === null ? '' : ` (did you mean ${quoted(near)}=${value}?)`}; they are ${candidates.map((c) => c.label).join(', ')}`,
    )
  }
  const defaults = target.defaults.parameters
  const standard = Object.hasOwn(defaults, key) ? defaults[key] : undefined
  if (standard === undefined) {
    const near = suggest(key, Object.keys(defaults))
    const all = Object.entries(defaults).map(([k, v]) => `${k}=${v}`)
    throw new UsageError(
      `--param ${text}: ${target.label} has no parameter ${key}${near === null ? '' : ` (did you mean ${near}?)`}; it has ${all.length === 0 ? 'none' : all.join(', ')}`,
    )
  }
  if (cut < 0 || value === '') throw new UsageError(`--param ${text}: write ${name}=value, as in ${name}=${standard}`)
  if (typeof standard === 'number') {
    const n = Number(value)
    if (value.trim() === '' || !Number.isFinite(n)) throw new UsageError(`--param ${text}: ${key} is a number, as in ${name}=${standard}`)
    chosen[index]?.set(key, n)
  } else if (typeof standard === 'boolean') {
    if (value !== 'true' && value !== 'false') throw new UsageError(`--param ${text}: ${key} is true or false`)
    chosen[index]?.set(key, value === 'true')
  } else chosen[index]?.set(key, value)
}

/** `mine` → `./mine.ts` where that exists. */
function nearby(name: string): string | null {
  for (const end of ['.ts', '.mts', '.js', '.mjs']) if (existsSync(`${name}${end}`)) return `./${name}${end}`
  return null
}

function quoted(text: string): string {
  return text.includes(' ') ? `'${text}'` : text
}
