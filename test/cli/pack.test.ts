import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'

/** What is published, installed somewhere else as its user does it. Takes about a minute, most of it the packages it needs. */
const root = fileURLToPath(new URL('../..', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'tapeline-pack-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

type Ran = { readonly code: number; readonly out: string }
const run = (cwd: string, command: string, ...args: string[]): Promise<Ran> =>
  new Promise((done) => {
    const env = {
      ...process.env,
      NO_COLOR: '1',
      XDG_CACHE_HOME: join(dir, 'cache'),
      npm_config_cache: process.env['npm_config_cache'] ?? join(homedir(), '.npm'),
    }
    execFile(command, args, { cwd, env, maxBuffer: 1e8, timeout: 90_000 }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 128, out: stdout + stderr }),
    )
  })

// The scripts would build dist/ again under the feet of the other tests; it is as `npm test` built it.
const packed = await run(root, 'npm', 'pack', '--ignore-scripts', '--silent', '--pack-destination', dir)
const tarball = readdirSync(dir).find((f) => f.endsWith('.tgz')) ?? ''
const away = join(dir, 'away')
mkdirSync(away)
writeFileSync(join(away, 'package.json'), '{"name":"away","private":true,"type":"module"}\n')
const installed = await run(away, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', '--fetch-retries=0', join(dir, tarball))
const unreachable = installed.code !== 0 && /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|network/.test(installed.out)
const why = unreachable ? ' (the npm registry cannot be reached)' : ''

describe('the published package', () => {
  it('holds the program, its declarations and its papers; no tests, no sources, no path of a machine', async () => {
    expect([packed.code, tarball]).toEqual([0, expect.stringMatching(/^tapeline-\d+\.\d+\.\d+\.tgz$/)])
    const { out } = await run(dir, 'tar', '-tzf', tarball)
    const files = out
      .trim()
      .split('\n')
      .map((f) => f.replace('package/', ''))
    for (const f of files)
      expect(f).toMatch(
        /^(package\.json|README\.md|ARCHITECTURE\.md|CHANGELOG\.md|LICENSE|dist\/[\w-]+\.js(\.map)?|dist\/types\/(engine|strategies|data|reports|adapters|cli|notebooks)\/[\w/.-]+\.d\.ts)$/,
      )
    for (const f of [
      'dist/tapeline.js',
      'dist/index.js',
      'dist/testing.js',
      'dist/notebook.js',
      'dist/decode-worker.js',
      'dist/watch-worker.js',
      'LICENSE',
    ])
      expect(files).toContain(f)
    expect((await run(dir, 'tar', '-xzf', tarball)).code).toBe(0)
    const machines = [root, homedir(), tmpdir()].filter((p) => p.length > 3)
    for (const f of files) {
      const text = readFileSync(join(dir, 'package', f), 'utf8')
      expect([f, machines.filter((p) => text.includes(p))]).toEqual([f, []])
      if (f.endsWith('.map'))
        expect((JSON.parse(text) as { sources: string[]; sourcesContent?: unknown }).sources.every((s) => !s.startsWith('/'))).toBe(true)
    }
  })

  it.skipIf(unreachable)(
    `installs, shows its demo, and runs a new strategy of its user${why}`,
    async () => {
      expect([installed.code, installed.out]).toEqual([0, expect.any(String)])
      const demo = await run(away, 'npx', 'tapeline', 'demo')
      expect([demo.code, demo.out]).toEqual([0, expect.stringMatching(/PRACTICE DATA[^]*mean-reversion/)])
      expect((await run(away, 'npx', 'tapeline', 'strategy', 'new', 'x')).code).toBe(0)
      const tested = await run(away, 'npx', 'tapeline', 'strategy', 'test', './x.test.ts')
      expect([tested.code, tested.out]).toEqual([0, expect.stringMatching(/pass 3/)])
      const ran = await run(away, 'npx', 'tapeline', 'backtest', '--tape', 'tapes/practice-demo', '--strategy', './x.ts')
      expect([ran.code, ran.out]).toEqual([0, expect.stringMatching(/Report +runs\/x-practice-demo-/)])
    },
    90_000,
  )

  it.skipIf(unreachable)(
    `type-checks for its user with plain tsc, every declaration of it included${why}`,
    async () => {
      writeFileSync(
        join(away, 'own.ts'),
        `import { rollingByMarket, SECOND, type Strategy } from 'tapeline'
import { scenario } from 'tapeline/testing'
const mids = rollingByMarket(10)
export const own = (): Strategy => ({ name: 'own', parameters: {}, onBook: (book, desk) => { if (mids.pushChange(book.market, book.mid)) desk.wake(desk.now + SECOND) } })
export const profit: number = scenario().book({ bids: [[40, 1]] }).run(own()).profit
// @ts-${'expect'}-error a strategy has a name
export const wrong: Strategy = { parameters: {} }
`,
      )
      const checked = await run(
        away,
        'npx',
        'tsc',
        '--module',
        'nodenext',
        '--target',
        'es2023',
        '--lib',
        'es2023',
        '--strict',
        '--noEmit',
        'own.ts',
      )
      expect([checked.code, checked.out]).toEqual([0, ''])
    },
    60_000,
  )
})
