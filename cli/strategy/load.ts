/**
 * From a path to a strategy: bundled, checked, kept, run. Owns the order of these steps and the factory that comes out of them; hides the cache. Invariant: a file is run only
 * after it was checked in exactly this form.
 */
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { Script } from 'node:vm'
import * as tapeline from '../../engine/index.ts'
import { StrategyError } from '../../engine/strategy-error.ts'
import type { StrategySource } from '../../engine/session.ts'
import { bounded, TimeoutError } from '../turn.ts'
import type { Bundle } from './bundle.ts'
import { keep, recall } from './cache.ts'
import { describe } from './describe.ts'
import { placeText, refusal } from './finding.ts'
import { makeGuards, refuse, USES } from './guards.ts'
import { installationDigest } from './installation.ts'
import { factoryOf, type Factory } from './shape.ts'
import { known, whereOf } from './trace.ts'

export type Opened = {
  readonly given: string
  readonly source: StrategySource
  readonly factory: Factory
  /** First sentence of the factory's doc comment. */
  readonly description: string | null
  readonly cached: boolean
}

/** A path rather than a name. */
export function isPath(strategy: string): boolean {
  return /[/\\]|\.[cm]?[jt]s$/.test(strategy)
}

/** A module that runs for longer than this when it is loaded does not end. */
const LOADING_MAX = 10_000

let guards: Readonly<Record<string, unknown>> | null = null

export async function openStrategy(given: string): Promise<Opened> {
  const entry = await fileOf(given)
  const installation = installationDigest()
  let bundle = recall(entry, installation)
  const cached = bundle !== null
  if (bundle === null) {
    bundle = await makeBundle(entry, given)
    keep(entry, installation, bundle)
  }
  const { factory, exported } = factoryOf(run(bundle, given), given)
  return {
    given,
    source: { file: basename(entry), sha256: bundle.sha256 },
    factory,
    description: describe(readFileSync(entry, 'utf8'), exported),
    cached,
  }
}

/** The real path of a strategy file. */
export async function fileOf(given: string): Promise<string> {
  const path = resolve(given)
  if (!existsSync(path)) {
    const { nearFile } = await import('./bundle.ts')
    const near = nearFile(dirname(path), basename(path))
    const folder = /^(.*[/\\])/.exec(given)?.[1] ?? './'
    throw new StrategyError(
      'STRATEGY_FILE',
      `${given}: there is no such file${near === null ? '' : ` (did you mean ${folder}${near}?)`}; \`tapeline strategy new <name>\` writes one`,
    )
  }
  if (!statSync(path).isFile()) throw new StrategyError('STRATEGY_FILE', `${given} is no file: give the .ts file of one strategy`)
  if (!/\.[cm]?[jt]s$/.test(path)) throw new StrategyError('STRATEGY_FILE', `${given}: a strategy is a .ts, .js or .mjs file`)
  return realpathSync(path)
}

async function makeBundle(entry: string, given: string): Promise<Bundle> {
  const { bundleStrategy } = await import('./bundle.ts')
  const bundle = await bundleStrategy(entry, given)
  const { checkTypes } = await import('./types.ts')
  const { findings, inputs } = checkTypes(entry, given)
  if (findings.length > 0) throw refusal(given, findings)
  const all = new Map([...inputs, ...bundle.inputs])
  return { ...bundle, inputs: [...all].sort(([a], [b]) => (a < b ? -1 : 1)) }
}

/** Runs a bundle from memory: its exports. */
function run(bundle: Bundle, given: string): Readonly<Record<string, unknown>> {
  guards ??= makeGuards()
  const doors: Readonly<Record<string, unknown>> = { tapeline, 'tapeline:guards': guards }
  const require = (name: unknown): unknown =>
    typeof name === 'string' && Object.hasOwn(doors, name) ? doors[name] : refuse('require()', USES.loading)
  const filename = known(bundle.map, bundle.sha256, dirname(given))
  const module = { exports: {} as Readonly<Record<string, unknown>> }
  try {
    const body = new Script(`(function (module, exports, require) { 'use strict';\n${bundle.code}\n})`, {
      filename,
    }).runInThisContext() as (...values: readonly unknown[]) => void
    bounded(() => body(module, module.exports, require), LOADING_MAX)
  } catch (error) {
    throw atLoading(error, given, 'the file fails when it is loaded')
  }
  return module.exports
}

/** Calls a factory. */
export function construct(opened: Pick<Opened, 'factory' | 'given'>, parameters?: Readonly<Record<string, unknown>>): unknown {
  try {
    return bounded(() => (parameters === undefined ? opened.factory() : opened.factory(parameters)), LOADING_MAX)
  } catch (error) {
    throw atLoading(error, opened.given, 'the factory throws')
  }
}

/** An error of the author's code before a session: where, and what. */
function atLoading(error: unknown, given: string, when: string): StrategyError {
  const place = whereOf(error)
  const at = place === null ? given : placeText(place)
  if (error instanceof StrategyError) return new StrategyError(error.code, `${at} ${error.message}`, error)
  if (error instanceof TimeoutError) return new StrategyError('STRATEGY_LOOP', `${at} ${when}: ${error.message}`, error)
  const text = error instanceof Error ? `${error.name === 'Error' ? '' : `${error.name}: `}${error.message}` : String(error)
  return new StrategyError('STRATEGY_FACTORY', `${at} ${when}: ${text}`, error)
}
