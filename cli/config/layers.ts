/**
 * Settings from all sides, one over the other: default < file < profile < environment < flag. Owns the order and where each value came from; hides the files. Invariants: a limit
 * is only tightened by what comes later; all mistakes are found before any value is used.
 */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { suggest } from '../exit.ts'
import { LIMIT_NAMES, limitDefault, LimitsSection } from './limits.ts'
import { ConfigFile, OUTLINE, PATHS, SETTINGS, hasVariable, variableOf, type Setting } from './schema.ts'
import { looksLikeKey, shown } from './secret.ts'
import { ConfigText, KEY_ADVICE, wording, type Place } from './yaml.ts'

export const CONFIG_FILE = 'tapeline.yaml'

export type Origin =
  | { readonly kind: 'default' }
  | ({ readonly kind: 'file'; readonly file: string; readonly profile: string | null } & Place)
  | { readonly kind: 'environment'; readonly name: string }
  /** `file`: a flag that names a file of settings. */
  | { readonly kind: 'flag'; readonly name: string; readonly file: (Place & { readonly name: string }) | null }
export type Value = { readonly value: unknown; readonly origin: Origin }
export type Layer = Map<string, Value>
export type Environment = Readonly<Record<string, string | undefined>>

/** A value that a command's own flag gave, in the form that the file has, already checked. */
export type Flag = { readonly path: string; readonly value: unknown; readonly name: string }
export type ConfigRequest = {
  /** Null: no file at all. */
  readonly config?: string | null | undefined
  readonly profile?: string | undefined
  readonly environment?: string | undefined
  /** File of a `--limits`. */
  readonly limits?: string | undefined
  readonly flags?: readonly Flag[]
}
export type Layers = {
  readonly file: string | null
  readonly profile: string | null
  readonly values: ReadonlyMap<string, Value>
  readonly common: Layer
  readonly chosen: Layer
  /** Paths that a file or a flag says, whatever else does. */
  readonly written: ReadonlySet<string>
  readonly mistakes: readonly string[]
}

/** Variables that are no settings. */
const VARIABLES = new Set(['TAPELINE_CONFIG', 'TAPELINE_PROFILE', 'TAPELINE_DEBUG', 'TAPELINE_TURN_SECONDS'])

export function originText(origin: Origin): string {
  switch (origin.kind) {
    case 'default':
      return 'default'
    case 'file':
      return `${origin.file}:${origin.line}${origin.profile === null ? '' : ` (profile ${origin.profile})`}`
    case 'environment':
      return `$${origin.name}`
    case 'flag':
      return origin.file === null ? origin.name : `${origin.name} ${origin.file.name}:${origin.file.line}`
  }
}

export function layersOf(request: ConfigRequest, env: Environment): Layers {
  const mistakes: string[] = []
  const text = openFile(request, env, mistakes)
  if (text !== null) {
    prune(text.value)
    mistakes.push(...text.check(ConfigFile))
  }
  // A file with a mistake gives no values: half of it would be another file.
  const usable = text !== null && mistakes.length === 0 ? text : null
  const common = usable === null ? new Map() : layerOf(usable, [], null)
  const profile = profileOf(request, env, text, mistakes)
  const chosen = usable === null || profile === null ? new Map() : layerOf(usable, ['profiles', profile], profile)
  const layers = [common, chosen, variables(env, mistakes), flags(request), limitsFile(request, mistakes)]
  const values = new Map<string, Value>()
  for (const { path, standard } of SETTINGS) if (standard !== undefined) values.set(path, { value: standard, origin: { kind: 'default' } })
  for (const layer of layers) for (const [path, value] of layer) if (!path.startsWith('limits.')) values.set(path, value)
  for (const name of LIMIT_NAMES) tighten(`limits.${name}`, limitDefault(name), layers, values, mistakes)
  const written = new Set(layers.flatMap((layer) => [...layer].filter(([, v]) => v.origin.kind !== 'environment').map(([path]) => path)))
  return { file: text?.name ?? null, profile, values, common, chosen, written, mistakes }
}

function openFile(request: ConfigRequest, env: Environment, mistakes: string[]): ConfigText | null {
  if (request.config === null) return null
  const variable = env['TAPELINE_CONFIG']
  const named = request.config ?? (variable === '' ? undefined : variable)
  try {
    if (named !== undefined) {
      if (looksLikeKey(named)) throw new Error(`${request.config === undefined ? '$TAPELINE_CONFIG' : '--config'} ${KEY_ADVICE}`)
      return ConfigText.read(named)
    }
    if (existsSync(CONFIG_FILE)) return ConfigText.read(CONFIG_FILE)
    const other = ['tapeline.yml', 'tapeline.json'].find((name) => existsSync(name))
    if (other !== undefined) throw new Error(`${other} is not read: rename it ${CONFIG_FILE}, or say --config ${other}`)
  } catch (error) {
    const from = request.config === undefined && named !== undefined ? '$TAPELINE_CONFIG ' : named === undefined ? '' : '--config '
    const { message } = error as Error
    mistakes.push(message.startsWith('-') || message.startsWith('$') ? message : `${from}${message}`)
  }
  return null
}

function profileOf(request: ConfigRequest, env: Environment, text: ConfigText | null, mistakes: string[]): string | null {
  const variable = env['TAPELINE_PROFILE']
  const name = request.profile ?? (variable === '' ? undefined : variable)
  if (name === undefined) return null
  const from = request.profile === undefined ? '$TAPELINE_PROFILE' : '--profile'
  if (text === null) {
    if (mistakes.length === 0)
      mistakes.push(
        `${from} ${shown(name)}: there is no ${CONFIG_FILE} here, so there are no profiles: write one with \`tapeline config init\`, or give --config <file>`,
      )
    return null
  }
  const { profiles } = text.value as { profiles?: unknown }
  const known = typeof profiles === 'object' && profiles !== null ? Object.keys(profiles) : []
  if (known.includes(name)) return name
  const near = suggest(name, known)
  if (text.mistakes.length === 0)
    mistakes.push(
      `${from} ${shown(name)}: ${text.name} has no such profile${near !== null ? ` (did you mean ${shown(near)}?)` : known.length === 0 ? ': it has none' : `; it has ${known.map(shown).join(', ')}`}`,
    )
  return null
}

/** A section of which every line is a comment is an empty one. */
function prune(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  const sections = new Set(OUTLINE.filter((x) => !('type' in x)).map((x) => x.path))
  const clean = (object: Record<string, unknown>, prefix: string): void => {
    for (const [name, inside] of Object.entries(object)) {
      const path = prefix === '' ? name : `${prefix}.${name}`
      if (inside === null && (sections.has(path) || path === 'profiles')) delete object[name]
      else if (typeof inside === 'object' && inside !== null && sections.has(path)) clean(inside as Record<string, unknown>, path)
    }
  }
  const top = value as Record<string, unknown>
  clean(top, '')
  const { profiles } = top
  if (typeof profiles !== 'object' || profiles === null) return
  for (const [name, profile] of Object.entries(profiles as Record<string, unknown>))
    if (profile === null) (profiles as Record<string, unknown>)[name] = {}
    else if (typeof profile === 'object') clean(profile as Record<string, unknown>, '')
}

function layerOf(text: ConfigText, way: readonly string[], profile: string | null): Layer {
  const layer: Layer = new Map()
  const at = (path: readonly string[]): unknown =>
    path.reduce<unknown>(
      (value, step) => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[step] : undefined),
      text.value,
    )
  for (const { path } of SETTINGS) {
    const steps = [...way, ...path.split('.')]
    const value = at(steps)
    if (value !== undefined)
      layer.set(path, {
        value: located(path, value, text.name),
        origin: { kind: 'file', file: text.name, profile, ...text.placeOf(steps) },
      })
  }
  return layer
}

/** A path of a file starts at the file's folder, so that it means the same from everywhere. */
function located(path: string, value: unknown, file: string): unknown {
  const place = (text: string): string => {
    const full = text === '~' || text.startsWith('~/') ? join(homedir(), text.slice(1)) : text
    return isAbsolute(full) || dirname(file) === '.' ? full : join(dirname(file), full)
  }
  if (PATHS.has(path)) return place(value as string)
  if (path.endsWith('.external')) return (value as { series: string; file: string }[]).map((x) => ({ ...x, file: place(x.file) }))
  return value
}

function variables(env: Environment, mistakes: string[]): Layer {
  const layer: Layer = new Map()
  const byName = new Map(SETTINGS.filter((s) => s.kind !== 'objects' && hasVariable(s.path)).map((s) => [variableOf(s.path), s]))
  for (const [name, text] of Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!name.startsWith('TAPELINE_') || VARIABLES.has(name) || text === undefined || text === '') continue
    const setting = byName.get(name)
    if (setting === undefined) {
      const near = suggest(name, [...byName.keys(), ...VARIABLES])
      const advice = /KEY|SECRET|PEM|TOKEN/.test(name)
        ? 'a key never stands in the environment: TAPELINE_KALSHI_KEY_FILE is the path of its file'
        : name.startsWith('TAPELINE_LIVE')
          ? 'live trading takes nothing from the environment: write it under live: in tapeline.yaml, and take it out of the environment'
          : near === null
            ? 'take it out of the environment'
            : `did you mean ${near}?`
      mistakes.push(`$${shown(name)}: unknown; ${advice}`)
    } else if (looksLikeKey(text)) mistakes.push(`$${name} ${KEY_ADVICE}`)
    else {
      const value = parsed(setting, text)
      const checked = setting.type.safeParse(value)
      if (!checked.success)
        mistakes.push(`$${name}: ${checked.error.issues[0] === undefined ? 'invalid' : wording(checked.error.issues[0])}`)
      else layer.set(setting.path, { value: located(setting.path, value, CONFIG_FILE), origin: { kind: 'environment', name } })
    }
  }
  return layer
}
function parsed({ kind }: Setting, text: string): unknown {
  if (kind === 'number') return /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i.test(text) ? Number(text) : text
  if (kind === 'list')
    return text
      .split(',')
      .map((x) => x.trim())
      .filter((x) => x !== '')
  return text
}

function flags({ flags: given = [], environment }: ConfigRequest): Layer {
  const layer: Layer = new Map()
  for (const { path, value, name } of given) layer.set(path, { value, origin: { kind: 'flag', name, file: null } })
  if (environment !== undefined)
    layer.set('kalshi.environment', { value: environment, origin: { kind: 'flag', name: '--environment', file: null } })
  return layer
}

export function limitsFile({ limits: path }: ConfigRequest, mistakes: string[]): Layer {
  const layer: Layer = new Map()
  if (path === undefined) return layer
  let text: ConfigText
  try {
    text = ConfigText.read(path)
  } catch (error) {
    mistakes.push(`--limits ${(error as Error).message}`)
    return layer
  }
  const found = text.check(LimitsSection)
  if (text.empty && found.length === 0)
    found.push(`--limits ${path}: the file says nothing: write { "sessionLossDollars": 500 }, or leave --limits away`)
  mistakes.push(...found)
  if (found.length > 0) return layer
  for (const [name, value] of Object.entries(text.value as Record<string, number>))
    layer.set(`limits.${name}`, { value, origin: { kind: 'flag', name: '--limits', file: { name: text.name, ...text.placeOf([name]) } } })
  return layer
}

/**
 * What a file says first may be looser than the default: that is what the file is for. Everything after it, and a variable even without it, can only be tighter.
 */
function tighten(path: string, standard: number, layers: readonly Layer[], values: Map<string, Value>, mistakes: string[]): void {
  let standing: Value = { value: standard, origin: { kind: 'default' } }
  for (const layer of layers) {
    const next = layer.get(path)
    if (next === undefined) continue
    const free = standing.origin.kind === 'default' && next.origin.kind !== 'environment'
    if (free || (next.value as number) <= (standing.value as number)) standing = next
    else
      mistakes.push(
        `${placeText(next.origin)} ${path}: ${String(next.value)} is looser than ${String(standing.value)} (${originText(standing.origin)}); what comes later may only tighten a limit${standing.origin.kind === 'default' ? `: write it into ${CONFIG_FILE}` : ''}`,
      )
  }
  values.set(path, standing)
}
export function placeText(origin: Origin): string {
  if (origin.kind === 'file') return `${origin.file}:${origin.line}:${origin.column}`
  if (origin.kind === 'flag' && origin.file !== null) return `${origin.name} ${origin.file.name}:${origin.file.line}:${origin.file.column}`
  return originText(origin)
}
