/** A test's own program for another process: one TypeScript file, bundled. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Path of the bundle of a file of the repository. Beside the packages, so that it finds them. */
export function bundled(path: string): string {
  const folder = join(root, 'node_modules', '.cache', 'tapeline-test')
  mkdirSync(folder, { recursive: true })
  const outfile = join(folder, `${path.replaceAll(/[^a-z-]/g, '-')}-${process.pid}.mjs`)
  buildSync({
    absWorkingDir: root,
    entryPoints: [path],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    outfile,
    logLevel: 'error',
  })
  return outfile
}
