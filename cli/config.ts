/**
 * The settings of a command: `tapeline.yaml`, its profile, `$TAPELINE_…` and flags, in engine units. Owns what they mean together; hides the layers. Invariants: without a file
 * every value is the default of before; demo unless a profile names production and `--environment production` says so too; a key belongs to the environment beside it.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Delays, Limits } from '../engine/session.ts'
import { dollars } from '../engine/units.ts'
import {
  layersOf,
  limitsFile,
  originText,
  placeText,
  type ConfigRequest,
  type Environment,
  type Layers,
  type Origin,
  type Value,
} from './config/layers.ts'
import { LIMIT_NAMES, limitsOf, type LimitName } from './config/limits.ts'
import { ConfigError } from './exit.ts'
import { parseDuration } from './options.ts'

/** Which markets a session follows, in engine units; null: nothing was said. */
export type Following = {
  readonly series: readonly string[]
  readonly markets: readonly string[]
  readonly closeWithin: number | null
  readonly closeAfter: number | null
  readonly spreadMax: number | null
  readonly volumeMin: number | null
  readonly marketsMax: number
  readonly indices: readonly string[]
  readonly external: readonly { readonly series: string; readonly file: string }[]
  readonly rotate: { readonly rows: number; readonly bytes: number; readonly every: number }
  readonly spaceMin: number
}

export type Settings = {
  /** Null: there is none. */
  readonly file: string | null
  readonly profile: string | null
  readonly kalshi: {
    readonly environment: 'demo' | 'production' | 'local'
    readonly localUrl: string | null
    readonly keyId: string | null
    readonly keyFile: string | null
  }
  readonly limits: Limits
  readonly delays: Delays
  /** Money. */
  readonly cash: number
  readonly tapes: string
  readonly runs: string
  readonly sessions: string
  readonly record: Following
  readonly paper: Following
  /** What else a live session needs is read by `cli/live/settings.ts`. */
  readonly live: Following
  /** Paths that a file or a flag says: a value that a variable gave over a default is not among them. */
  readonly written: ReadonlySet<string>
  /** Every setting by its path, in the form that the file has, and where it came from. */
  readonly values: ReadonlyMap<string, Value>
}

/** Throws a ConfigError with everything that is wrong. */
export function settingsOf(request: ConfigRequest, env: Environment = process.env): Settings {
  const layers = layersOf(request, env)
  const mistakes = layers.mistakes.length > 0 ? layers.mistakes : exchangeMistakes(layers)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  const { file, profile, values, written } = layers
  const text = (path: string): string | null => (values.get(path)?.value as string | undefined) ?? null
  const number = (path: string): number | null => (values.get(path)?.value as number | undefined) ?? null
  const duration = (path: string): number | null => (text(path) === null ? null : parseDuration(text(path) as string, path))
  const said = LIMIT_NAMES.filter((name) => values.get(`limits.${name}`)?.origin.kind !== 'default')
  const following = (section: string): Following => ({
    series: (values.get(`${section}.series`)?.value as string[] | undefined) ?? [],
    markets: (values.get(`${section}.markets`)?.value as string[] | undefined) ?? [],
    closeWithin: duration(`${section}.closeWithin`),
    closeAfter: duration(`${section}.closeAfter`),
    spreadMax: scaled(number(`${section}.spreadMaxCents`), 100),
    volumeMin: scaled(number(`${section}.volumeMinContracts`), 100),
    marketsMax: number(`${section}.marketsMax`) as number,
    indices: (values.get(`${section}.indices`)?.value as string[] | undefined) ?? [],
    external: (values.get(`${section}.external`)?.value as Following['external'] | undefined) ?? [],
    rotate: {
      rows: number(`${section}.rotate.rows`) as number,
      bytes: (number(`${section}.rotate.megabytes`) as number) * 2 ** 20,
      every: duration(`${section}.rotate.every`) as number,
    },
    spaceMin: (number(`${section}.spaceMinMegabytes`) as number) * 2 ** 20,
  })
  return {
    file,
    profile,
    kalshi: {
      environment: text('kalshi.environment') as Settings['kalshi']['environment'],
      localUrl: text('kalshi.localUrl')?.replace(/(\/trade-api\/v2)?\/?$/, '') ?? null,
      keyId: text('kalshi.keyId'),
      keyFile: text('kalshi.keyFile'),
    },
    limits: limitsOf(Object.fromEntries(said.map((name) => [name, number(`limits.${name}`)])) as Record<LimitName, number>),
    delays: {
      place: duration('delays.place') as number,
      cancel: duration('delays.cancel') as number,
      amend: duration('delays.amend') as number,
      answer: duration('delays.answer') as number,
    },
    cash: dollars(number('cash') as number),
    tapes: text('tapes') as string,
    runs: text('runs') as string,
    sessions: text('sessions') as string,
    record: following('record'),
    paper: following('paper'),
    live: following('live'),
    written,
    values,
  }
}

/** A file of limits alone over the defaults: for programs that read no tapeline.yaml. */
export function readLimits(path: string | undefined): Limits {
  const mistakes: string[] = []
  const layer = limitsFile({ limits: path }, mistakes)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return limitsOf(
    Object.fromEntries(
      LIMIT_NAMES.flatMap((name) => {
        const value = layer.get(`limits.${name}`)
        return value === undefined ? [] : [[name, value.value as number]]
      }),
    ),
  )
}

/** A tape by its path, or by its name in the folder of tapes. */
export function tapeAt({ tapes }: Settings, tape: string): string {
  const inside = join(tapes, tape)
  return !existsSync(tape) && existsSync(join(inside, 'manifest.json')) ? inside : tape
}

function scaled(human: number | null, scale: number): number | null {
  return human === null ? null : Math.round(human * scale)
}

/** Where the exchange is, for `environmentOf` of the adapter. Only here does production come out, and only when it was said twice. */
export function exchangeOf({ kalshi: { environment, localUrl }, values, profile }: Settings): string {
  const origin = values.get('kalshi.environment')?.origin as Origin
  if (environment === 'production' && origin.kind !== 'flag')
    throw new ConfigError([
      `${placeText(origin)} kalshi.environment: profile ${profile ?? ''} is for production, which is real money: add --environment production to the command line`,
    ])
  if (environment !== 'local') return environment
  if (localUrl === null)
    throw new ConfigError([
      `kalshi.localUrl is not set, and the environment is local (${originText(origin)}): give the address that \`tapeline exchange\` prints`,
    ])
  return localUrl
}

/** What no single value shows: who may name production, and whose key it is. */
function exchangeMistakes({ values, common, chosen, profile }: Layers): string[] {
  const environment = values.get('kalshi.environment') as Value
  const inFile = chosen.get('kalshi.environment') ?? common.get('kalshi.environment')
  const mistakes: string[] = []
  const open = common.get('kalshi.environment')
  if (open?.value === 'production')
    mistakes.push(
      `${placeText(open.origin)} kalshi.environment: production stands in the common part, where every command would get it: put it, with its key, into a profile`,
    )
  else if (environment.value === 'production' && environment.origin.kind === 'environment')
    mistakes.push(
      `${placeText(environment.origin)}: production is never chosen by a variable: name it in a profile, and add --environment production to the command line`,
    )
  else if (environment.value === 'production' && chosen.get('kalshi.environment')?.value !== 'production')
    mistakes.push(
      `--environment production: ${profile === null ? 'no profile was chosen' : `profile ${profile} does not name production`}: name it in a profile (kalshi.environment, with its key) and choose that with --profile`,
    )
  if (mistakes.length > 0) return mistakes
  for (const path of ['kalshi.keyId', 'kalshi.keyFile']) {
    const key = values.get(path)
    if (key === undefined || key.origin.kind !== 'file') continue
    const named = (key.origin.profile === null ? common.get('kalshi.environment') : inFile)?.value as string | undefined
    const beside = named ?? 'demo'
    if (beside !== environment.value)
      mistakes.push(
        `${placeText(key.origin)} ${path}: it belongs to ${beside}, and the environment is ${String(environment.value)} (${originText(environment.origin)}): give the key of ${String(environment.value)} in the same place`,
      )
  }
  return mistakes
}
