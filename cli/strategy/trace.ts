/**
 * From a place in what runs to a place in what was written. Owns the source maps of loaded strategy files and of this program; hides stack traces. Invariant: a place that is not
 * certain is no place.
 */
import { existsSync, readFileSync } from 'node:fs'
import { SourceMap, type SourceMapPayload } from 'node:module'
import { basename, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { StrategyError } from '../../engine/strategy-error.ts'
import type { Place } from './finding.ts'
import { DIST } from './installation.ts'

/** Lines that `run` puts before a bundle. */
const HEAD = 1
const BUNDLE = 'tapeline-strategy:'

type Known = { readonly map: SourceMap; readonly show: (source: string) => string; readonly folder?: string }
const bundles = new Map<string, Known>()
const programs = new Map<string, Known | null>()

/** The name under which a bundle runs. `folder`: that of its file, as the caller named it. */
export function known(map: string, sha256: string, folder: string): string {
  const name = `${BUNDLE}${sha256.slice(0, 16)}-${bundles.size}`
  bundles.set(name, { map: new SourceMap(JSON.parse(map) as SourceMapPayload), show: (source) => source, folder })
  return name
}

/** A frame: `line` and `column` from 0, in what runs. */
export type Frame = { readonly script: string; readonly line: number; readonly column: number }

/** The author's line in a list of frames, the innermost first: of a strategy file before that of a package it uses. */
export function placeOf(frames: readonly Frame[]): Place | null {
  const places = frames.flatMap((f) => placed(f) ?? [])
  return places.find((p) => !/(^|[\\/])node_modules[\\/]/.test(p.file)) ?? places[0] ?? null
}

/** Where in the author's own file an error came from. */
export function whereOf(error: unknown): Place | null {
  for (const e of error instanceof StrategyError && error.cause !== undefined ? [error.cause] : [error]) {
    if (!(e instanceof Error) || typeof e.stack !== 'string') continue
    const frames = [
      ...e.stack.matchAll(/(tapeline-strategy:[0-9a-f]+-\d+|file:\/\/\S+?\.js|(?:\/|[A-Za-z]:\\)[^\s()]+?\.js):(\d+):(\d+)/g),
    ].map(([, script = '', line, column]) => ({ script, line: Number(line) - 1, column: Number(column) - 1 }))
    const place = placeOf(frames)
    if (place !== null) return place
  }
  return null
}

function placed({ script, line, column }: Frame): Place | null {
  const bundle = bundles.get(script)
  const from = bundle ?? program(script)
  if (from === null) return null
  const found = from.map.findEntry(bundle === undefined ? line : line - HEAD, column)
  if (!('originalSource' in found) || found.originalSource === undefined) return null
  const file = from.show(found.originalSource)
  if (file === '' || file.includes('guards:')) return null
  const place = { file, line: found.originalLine + 1, column: found.originalColumn + 1 }
  return from.folder === undefined ? place : { ...place, folder: from.folder }
}

/** The map of a file of this program; of its places those of the built-in strategies are an author's. */
function program(script: string): Known | null {
  const path = script.startsWith('file:') ? fileURLToPath(script) : script
  if (dirname(path) !== DIST) return null
  let map = programs.get(path)
  if (map === undefined) {
    const file = `${path}.map`
    map = existsSync(file)
      ? {
          map: new SourceMap(JSON.parse(readFileSync(file, 'utf8')) as SourceMapPayload),
          show: (source) =>
            /(^|\/)strategies\/[^/]+\.ts$/.test(source) && !source.includes('cli/') ? `strategies/${basename(source)}` : '',
        }
      : null
    programs.set(path, map)
  }
  return map
}
