/**
 * One strategy file and all it imports → one text that runs in this process. Owns the only use of esbuild at run time and the sentences for files that cannot be bundled; hides
 * how names that are not deterministic get their stand-ins. Invariant: nothing of the bundle reaches the machine but through `tapeline` and the guards.
 */
import { existsSync, readdirSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, type BuildOptions, type Message, type Plugin } from 'esbuild'
import { suggest } from '../exit.ts'
import { hashOf, sha256 } from './cache.ts'
import { refusal, type Finding } from './finding.ts'
import { GUARDED, USES } from './guards.ts'
import { DOORS } from './installation.ts'

export type Bundle = {
  /** CommonJS: the body of a function of (module, exports, require). */
  readonly code: string
  /** Source map of `code`, its sources relative to the folder of the strategy file. */
  readonly map: string
  /** Absolute path and SHA-256 of every file that decides what the bundle is or whether it is accepted. */
  readonly inputs: readonly (readonly [string, string])[]
  /** SHA-256 over the contents of what was bundled, wherever it lay. */
  readonly sha256: string
}

const GUARDS = 'tapeline:guards'
const builtin = (path: string): boolean => path.startsWith('node:') || builtinModules.includes(path)
const bare = (path: string): boolean => !/^(\.{0,2}[/\\]|\.{1,2}$|[A-Za-z]:)/.test(path)

const common = {
  bundle: true,
  write: false,
  metafile: true,
  platform: 'neutral',
  mainFields: ['module', 'main'],
  target: 'node20',
  // The user's own settings are for the user's own tools: a file means the same in every folder.
  tsconfigRaw: {},
  sourcesContent: false,
  logLevel: 'silent',
  define: { 'process.env.NODE_ENV': '"production"' },
} as const satisfies BuildOptions

const guarded: Plugin = {
  name: 'guarded',
  setup(bundler) {
    bundler.onResolve({ filter: /^tapeline:/ }, ({ path }) => (path === GUARDS ? { path, external: true } : { path, namespace: 'guards' }))
    bundler.onLoad({ filter: /^tapeline:names$/, namespace: 'guards' }, () => ({
      contents: `export { ${GUARDED.join(', ')} } from '${GUARDS}'`,
    }))
    bundler.onResolve({ filter: /^tapeline(\/.*)?$/ }, ({ path }) =>
      path === 'tapeline'
        ? { path, external: true }
        : { errors: [{ text: `'${path}' is not for strategies: import from 'tapeline' (tapeline/testing belongs into a .test.ts file)` }] },
    )
    bundler.onResolve({ filter: /./ }, ({ path }) =>
      builtin(path) ? { errors: [{ text: `'${path}' ${USES.machine.does}: ${USES.machine.instead}` }] } : undefined,
    )
  },
}

/** Bundles a strategy file. Throws one error with every finding. */
export async function bundleStrategy(entry: string, given: string): Promise<Bundle> {
  const dir = dirname(entry)
  const built = await build({
    ...common,
    entryPoints: [entry],
    absWorkingDir: dir,
    outdir: dir,
    format: 'cjs',
    sourcemap: 'external',
    inject: ['tapeline:names'],
    plugins: [guarded],
  }).catch((error: unknown) => {
    throw notBundled(error, dir, given)
  })
  const output = (end: string): string => built.outputFiles.find((f) => f.path.endsWith(end))?.text ?? ''
  const files = Object.keys(built.metafile.inputs)
    .filter((path) => !path.startsWith('guards:'))
    .map((path) => resolve(dir, path))
  const hashed = files.map((path) => [path, hashOf(path) ?? ''] as const)
  return {
    code: output('.js'),
    map: output('.js.map'),
    inputs: [...hashed, ...manifestsOf(files)],
    sha256: sha256(
      hashed
        .map(([, hash]) => hash)
        .sort()
        .join('\n'),
    ),
  }
}

/** Bundles a test of strategies, as a module for `node --test`: node's own modules stay, Tapeline is this installation. */
export async function bundleTest(entry: string, given: string): Promise<{ readonly code: string; readonly locals: readonly string[] }> {
  const dir = dirname(entry)
  const doors: Plugin = {
    name: 'doors',
    setup(bundler) {
      bundler.onResolve({ filter: /^tapeline(\/.*)?$/ }, ({ path }) => {
        const door = DOORS[path]
        return door === undefined
          ? { errors: [{ text: `there is no '${path}': import from 'tapeline' or 'tapeline/testing'` }] }
          : { path: pathToFileURL(door.program).href, external: true }
      })
      bundler.onResolve({ filter: /./ }, ({ path }) => (builtin(path) ? { path, external: true } : undefined))
    },
  }
  const built = await build({
    ...common,
    entryPoints: [entry],
    absWorkingDir: dir,
    outdir: dir,
    format: 'esm',
    sourcemap: 'inline',
    // Absolute, so that a failed assertion shows the line of the test wherever the bundle lies.
    sourceRoot: pathToFileURL(`${dir}${sep}`).href,
    banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
    plugins: [doors],
  }).catch((error: unknown) => {
    throw notBundled(error, dir, given)
  })
  const locals = Object.keys(built.metafile.inputs)
    .map((path) => resolve(dir, path))
    .filter((path) => path !== entry && !path.includes(`${sep}node_modules${sep}`))
  return { code: built.outputFiles[0]?.text ?? '', locals }
}

/** The package.json of every package in a bundle: it says which of the package's files are meant. */
function manifestsOf(files: readonly string[]): (readonly [string, string])[] {
  const found = new Map<string, string>()
  for (const file of files) {
    const at = file.lastIndexOf(`${sep}node_modules${sep}`)
    if (at < 0) continue
    const parts = file.slice(at + 14).split(sep)
    const path = join(file.slice(0, at + 14), ...parts.slice(0, parts[0]?.startsWith('@') === true ? 2 : 1), 'package.json')
    const hash = hashOf(path)
    if (hash !== null) found.set(path, hash)
  }
  return [...found]
}

function notBundled(error: unknown, dir: string, given: string): Error {
  const messages = typeof error === 'object' && error !== null && 'errors' in error ? (error.errors as Message[]) : null
  if (messages === null || messages.length === 0) return error instanceof Error ? error : new Error(String(error))
  return refusal(
    given,
    messages.map((m) => findingOf(m, dir, given)),
  )
}

function findingOf({ text, location, pluginName }: Message, dir: string, given: string): Finding {
  const at = location === null ? null : { file: join(dirname(given), location.file), line: location.line, column: location.column + 1 }
  const missing = /^Could not resolve "(.+?)"/.exec(text)?.[1]
  if (missing !== undefined) {
    if (bare(missing)) {
      const name = missing
        .split('/')
        .slice(0, missing.startsWith('@') ? 2 : 1)
        .join('/')
      return {
        at,
        code: 'STRATEGY_IMPORT',
        text: `imports '${missing}', which is not installed here: run \`npm install ${name}\` in ${dirname(given)}`,
      }
    }
    const folder = resolve(dir, location === null ? '.' : dirname(location.file), dirname(missing))
    const near = nearFile(folder, basename(missing))
    return {
      at,
      code: 'STRATEGY_IMPORT',
      text: `imports '${missing}', and there is no such file${near === null ? '' : ` (did you mean ${relativeImport(dirname(missing), near)}?)`}`,
    }
  }
  if (pluginName !== '') return { at, code: 'STRATEGY_IMPORT', text: `imports ${text}` }
  if (text.startsWith('Top-level await'))
    return { at, code: 'STRATEGY_ASYNC', text: 'waits at the top of the file: a strategy does not wait for anything' }
  if (text.startsWith('No matching export')) return { at, code: 'STRATEGY_IMPORT', text: text.replace(/^No/, 'no').replaceAll('"', "'") }
  return { at, code: 'STRATEGY_SYNTAX', text: `is not TypeScript here: ${text}` }
}

function relativeImport(folder: string, file: string): string {
  return `${folder === '' ? '.' : folder}/${file}`
}

/** The file of a folder whose name is nearest to a wrong one. */
export function nearFile(folder: string, name: string): string | null {
  if (!existsSync(folder)) return null
  const files = readdirSync(folder).filter((f) => /\.[cm]?[jt]s$/.test(f) && !f.endsWith('.d.ts'))
  const bareName = (f: string): string => f.replace(/\.[cm]?[jt]s$/, '')
  const same = files.find((f) => bareName(f) === bareName(name))
  if (same !== undefined) return same
  const near = suggest(bareName(name), files.map(bareName))
  return files.find((f) => bareName(f) === near) ?? null
}

/** A path as its reader would write it. */
export function shown(path: string, entry: string, given: string): string {
  return join(dirname(given), relative(dirname(entry), path))
}
