// Bundles the shipped program: every entry below into dist/, packages left outside, lazy imports kept lazy.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const entries = {
  tapeline: 'cli/tapeline.ts',
  index: 'engine/index.ts',
  testing: 'adapters/simulated/scenario.ts',
  notebook: 'notebooks/kit.ts',
  'decode-worker': 'data/decode-worker.ts',
  'watch-worker': 'cli/watch-worker.ts',
  bench: 'bench/bench.ts',
  'bench-feed': 'bench/feed.ts',
  'bench-recorder': 'bench/recorder.ts',
  'bench-order-entry': 'bench/order-entry.ts',
  'bench-live': 'bench/live.ts',
  'bench-soak': 'bench/soak.ts',
  'bench-soak-probe': 'bench/soak-probe.ts',
}
// Declarations stay: the compiler renews what changed.
if (existsSync(`${root}dist`))
  for (const name of readdirSync(`${root}dist`)) if (name !== 'types') rmSync(`${root}dist/${name}`, { recursive: true, force: true })
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
  // With no source inside: they lead from an error to a line of strategies/, and hold no path of this machine.
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning',
})
if (existsSync(`${root}dist/tapeline.js`)) await chmod(`${root}dist/tapeline.js`, 0o755)
// The declarations that `import … from 'tapeline'`, 'tapeline/testing' and 'tapeline/notebook' need.
execFileSync(
  process.execPath,
  [`${root}node_modules/typescript/bin/tsc`, '-b', `${root}strategies`, `${root}adapters`, `${root}notebooks`],
  {
    stdio: 'inherit',
  },
)
