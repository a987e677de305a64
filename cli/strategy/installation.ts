/** This installation of Tapeline, as strategy files see it. Owns the paths of its program and declarations and the digest that says when they changed; hides the folders. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { VERSION } from '../version.ts'
import { describe } from './describe.ts'
import { GUARDED } from './guards.ts'

/** `dist/`, whether this file runs from there (bundled) or from its source. */
export const DIST = ((): string => {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const source = join(here, '../../dist')
  return existsSync(join(here, 'tapeline.js')) ? here.replace(/[\\/]$/, '') : source
})()

/** What may be imported of Tapeline: the file with its declarations, and the one that runs. */
export const DOORS: Readonly<Record<string, { readonly types: string; readonly program: string }>> = {
  tapeline: { types: join(DIST, 'types/engine/index.d.ts'), program: join(DIST, 'index.js') },
  'tapeline/testing': { types: join(DIST, 'types/adapters/simulated/scenario.d.ts'), program: join(DIST, 'testing.js') },
}

/** SHA-256 over version, declarations and guards: a bundle made for another one is made again. */
export function installationDigest(): string {
  const hash = createHash('sha256')
    .update(VERSION)
    .update(GUARDED.join())
    .update(process.versions.node.split('.')[0] ?? '')
  const types = join(DIST, 'types/engine')
  for (const file of existsSync(types) ? readdirSync(types).sort() : []) hash.update(file).update(readFileSync(join(types, file)))
  return hash.digest('hex')
}

/** First sentence of a built-in strategy's doc comment, which its declarations keep. */
export function describeBuiltIn(name: string): string | null {
  const file = join(DIST, 'types/strategies', `${name}.d.ts`)
  const factory = name.replaceAll(/-(.)/g, (_, next: string) => next.toUpperCase())
  return existsSync(file) ? describe(readFileSync(file, 'utf8'), factory) : null
}
