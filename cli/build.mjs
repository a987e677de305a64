// Bundles the shipped program: every entry below into dist/, packages left outside, lazy imports kept lazy.
import { execFileSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const entries = {
  tapeline: 'cli/tapeline.ts',
  index: 'engine/index.ts',
  'decode-worker': 'data/decode-worker.ts',
  bench: 'bench/bench.ts',
  'bench-recorder': 'bench/recorder.ts',
}
rmSync(`${root}dist`, { recursive: true, force: true })
await build({
  absWorkingDir: root,
  entryPoints: Object.fromEntries(Object.entries(entries).filter(([, path]) => existsSync(`${root}${path}`))),
  outdir: 'dist',
  chunkNames: '[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  sourcemap: true,
  logLevel: 'warning',
})
if (existsSync(`${root}dist/tapeline.js`)) await chmod(`${root}dist/tapeline.js`, 0o755)
// The declarations that `import … from 'tapeline'` needs.
execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-b', `${root}engine`], { stdio: 'inherit' })
