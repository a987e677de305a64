import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { cacheFolder } from '../../cli/strategy/cache.ts'
import { makeGuards, silently } from '../../cli/strategy/guards.ts'
import { runJson, runProgram, type Envelope } from '../support/program.ts'

/** A strategy of one's own, from a folder that knows nothing of this repository. */
const dir = mkdtempSync(join(tmpdir(), 'tapeline-strategy-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const write = (path: string, text: string): void => {
  mkdirSync(dirname(join(dir, path)), { recursive: true })
  writeFileSync(join(dir, path), text)
}
const backtest = (...args: string[]): ReturnType<typeof runJson> => runJson(dir, ['backtest', '--tape', 'tape', ...args])
const check = (path: string, env?: Record<string, string>): ReturnType<typeof runJson> => runJson(dir, ['strategy', 'check', path], env)

/** The built-in `lean`, word for word, as a file of its own. */
const LEAN = readFileSync(new URL('../../strategies/lean.ts', import.meta.url), 'utf8').replace('../engine/index.ts', 'tapeline')
beforeAll(async () => {
  expect(
    (await runJson(dir, ['data', 'practice', '--seed', '3', '--markets', '2', '--days', '1', '--rate', '15', '--tape', 'tape'])).ok,
  ).toBe(true)
  write('mine.ts', LEAN)
})

describe('a strategy from a file', () => {
  it('does what the same text does built in, to the byte, wherever it lies and however its path is written', async () => {
    const builtIn = await backtest('--strategy', 'lean', '--param', 'size=7')
    expect(builtIn.data?.['fills']).toBeGreaterThan(0)
    write('else where/deep/mine.ts', LEAN)
    const digests = []
    for (const path of ['./mine.ts', 'mine.ts', join(dir, 'mine.ts'), './else where/deep/mine.ts'])
      digests.push((await backtest('--strategy', path, '--param', 'size=7')).data?.['digest'])
    expect(digests).toEqual(Array.from({ length: 4 }, () => builtIn.data?.['digest']))
  })

  it('is named in the record by base name and content, never by where it lay, and the report says how to run it again', async () => {
    const { data } = await backtest('--strategy', join(dir, 'mine.ts'), '--param', 'size=7', '--out', 'named')
    expect(data?.['strategies']).toEqual([{ name: 'lean', file: 'mine.ts', parameters: { size: 7, edge: 1, lean: 0.5, positionMax: 100 } }])
    const header = readFileSync(join(dir, 'named/session.json'), 'utf8')
    const page = readFileSync(join(dir, 'named/report.html'), 'utf8')
    expect(JSON.parse(header)).toMatchObject({
      strategies: [{ source: { file: 'mine.ts', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string } }],
    })
    expect(header + page).not.toContain(dir)
    expect(page).toContain('--strategy ./mine.ts --param size=7 --param edge=1')
    expect(page).toContain('with SHA-256')
  })

  it('brings helpers and npm packages of its folder, and each of them changes what it is', async () => {
    write('shop/node_modules/middle/package.json', '{"name":"middle","version":"1.0.0","main":"index.js","types":"index.d.ts"}')
    write('shop/node_modules/middle/index.js', 'exports.middle = (a, b) => (a + b) / 2\n')
    write('shop/node_modules/middle/index.d.ts', 'export function middle(a: number, b: number): number\n')
    write('shop/helpers.ts', `import { middle } from 'middle'\nexport const far = (a: number, b: number): boolean => middle(a, b) > 5000\n`)
    write(
      'shop/shop.ts',
      `import type { Strategy } from 'tapeline'
import { far } from './helpers.ts'
export function shop(): Strategy {
  return { name: 'shop', parameters: {}, onBook(book, desk) { if (book.twoSided && far(book.bid, book.ask)) desk.take(book.market, { side: 'bid', limit: book.ask, size: 1, positionMax: 3, why: 'far' }) } }
}
`,
    )
    const first = await check('./shop/shop.ts')
    expect(first.data?.['name']).toBe('shop')
    expect((await backtest('--strategy', './shop/shop.ts')).data?.['fills']).toBeGreaterThan(0)
    write('shop/helpers.ts', readFileSync(join(dir, 'shop/helpers.ts'), 'utf8').replace('5000', '5001'))
    const second = await check('./shop/shop.ts')
    write('shop/node_modules/middle/index.js', 'exports.middle = (a, b) => (b + a) / 2\n')
    const third = await check('./shop/shop.ts')
    expect(new Set([first, second, third].map((x) => x.data?.['sha256'])).size).toBe(3)
  })

  it('is guarded in the packages it uses too', async () => {
    write('late/node_modules/late/package.json', '{"name":"late","version":"1.0.0","main":"index.js"}')
    write('late/node_modules/late/index.js', 'module.exports = () => {\n  return new Date().getTime()\n}\n')
    write('late/late.js', `import late from 'late'\nexport default () => ({ name: 'late', parameters: {}, onBook() {\n  late() } })\n`)
    const { code, errors } = await backtest('--strategy', './late/late.js')
    expect([code, errors[0]?.code]).toEqual([10, 'STRATEGY_CLOCK'])
    // Looking for what a platform has is no use of it.
    write('probe/node_modules/probe/package.json', '{"name":"probe","version":"1.0.0","main":"index.js"}')
    write(
      'probe/node_modules/probe/index.js',
      `var root = typeof globalThis == 'object' && globalThis.Object === Object && globalThis || Function('return this')()
var isBuffer = root.Buffer && root.Buffer.isBuffer, node = typeof process === 'object' && process.env, later = root.setTimeout, promised = root.Promise && root.Promise.resolve(), now = root.Date.now, mode = process.env.NODE_ENV
exports.probe = function (x) { return x instanceof Function || Function.prototype.call === root.Function.prototype.call }
`,
    )
    write(
      'probe/probe.js',
      `import { probe } from 'probe'\nexport default () => ({ name: 'probe', parameters: {}, onBook() { probe(1) } })\n`,
    )
    expect((await backtest('--strategy', './probe/probe.js')).ok).toBe(true)
    // The author's own line, not the package's.
    expect(errors[0]?.message).toMatch(/^late\/late\.js:3:3 new Date\(\) reads the clock/)
  })

  it('may use what is the same on every run: dates with their zone, mathematics, console to stderr', async () => {
    write(
      'fair.ts',
      `import { formatPrice, type Strategy } from 'tapeline'
export default function fair(): Strategy {
  let said = false
  return {
    name: 'fair', parameters: {},
    onBook(book, desk) {
      if (said) return
      said = true
      const at = new Date(desk.now / 1000)
      console.log(at.toISOString(), at.getUTCHours(), Date.UTC(2026, 5, 1), Date.parse('2026-06-01T00:00:00Z'), new Date('2026-06-01') instanceof Date, JSON.stringify(at), Math.max(1, 2), Math.hypot(3, 4), typeof globalThis, formatPrice(4200))
    },
  }
}
`,
    )
    const { ok, stderr, stdout } = await backtest('--strategy', './fair.ts')
    expect(ok).toBe(true)
    expect(stdout.trim().split('\n')).toHaveLength(1)
    expect(stderr).toMatch(
      /^2026-06-01T00:00:00\.\d{3}Z 0 1780272000000 1780272000000 true "2026-06-01T00:00:00\.\d{3}Z" 2 5 object 0\.4200$/m,
    )
  })

  it('says nothing while it runs again for a report, and speaks again after it, even if that failed', async () => {
    const said: string[] = []
    const spy = vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0)
    try {
      const own = makeGuards()['console'] as Console
      await expect(
        silently(async () => {
          for (const word of ['log', 'info', 'warn', 'error', 'debug'] as const) own[word]('phantom')
          await Promise.resolve()
          own.log('phantom')
          throw new Error('no tape')
        }),
      ).rejects.toThrow('no tape')
      own.log('real')
    } finally {
      spy.mockRestore()
    }
    expect(said).toEqual(['real\n'])
  })
})

describe('a file that is no strategy', () => {
  const ts = (body: string, head = ''): string =>
    `import type { Strategy } from 'tapeline'\n${head}export default function mine({ size = 5 } = {}): Strategy {\n  return {${body}}\n}\n`
  const CASES: readonly (readonly [string, string, string, RegExp])[] = [
    [
      'syntax.ts',
      'export default function () {\n  return { name: "x" parameters: {} }\n}\n',
      'STRATEGY_SYNTAX',
      /^syntax\.ts:2:22 is not TypeScript here: Expected "}"/,
    ],
    ['empty.ts', 'export const a = 5\n', 'STRATEGY_SHAPE', /exports no function: export one that returns the strategy/],
    ['several.ts', 'export const a = () => ({}), b = () => ({})\n', 'STRATEGY_SHAPE', /exports several functions \(a, b\)/],
    [
      'field.ts',
      `export default function mine() {\n  return {\n    name: 5, parameters: {}, onBook() {} }\n}\n`,
      'STRATEGY_SHAPE',
      /^field\.ts:3:5 returns no Strategy: `name` is number and should be string/,
    ],
    [
      'field.js',
      `export default () => ({ name: 'x', parameters: { a: null }, onBook() {} })\n`,
      'STRATEGY_SHAPE',
      /`parameters\.a` is null: a number, a text, true or false/,
    ],
    [
      'handler.js',
      `export default () => ({ name: 'x', parameters: {}, onBok() {} })\n`,
      'STRATEGY_SHAPE',
      /no handler onBok \(did you mean onBook\?\)/,
    ],
    ['idle.js', `export default () => ({ name: 'x', parameters: {} })\n`, 'STRATEGY_SHAPE', /it has no handler/],
    ['nothing.js', `export default () => {}\n`, 'STRATEGY_SHAPE', /it returned undefined/],
    [
      'later.ts',
      `export default async function mine() { return { name: 'x', parameters: {}, onBook() {} } }\n`,
      'STRATEGY_ASYNC',
      /^later\.ts:1:31 is async: the factory/,
    ],
    [
      'throws.ts',
      ts(`name: 'x', parameters: { size }, onBook() {}`, '').replace(
        '  return',
        "  if (size < 10) throw new RangeError('size of 10 or more')\n  return",
      ),
      'STRATEGY_FACTORY',
      /^throws\.ts:3:24 the factory throws: RangeError: size of 10 or more/,
    ],
    [
      'missing.ts',
      ts(`name: left, parameters: { size }, onBook() {}`, `import left from 'left-pad'\n`),
      'STRATEGY_IMPORT',
      /^missing\.ts:2:18 imports 'left-pad', which is not installed here: run `npm install left-pad` in \./,
    ],
    [
      'local.ts',
      ts(`name: far, parameters: { size }, onBook() {}`, `import { far } from './shop/helper.ts'\n`),
      'STRATEGY_IMPORT',
      /^local\.ts:2:21 imports '\.\/shop\/helper\.ts', and there is no such file \(did you mean \.\/shop\/helpers\.ts\?\)/,
    ],
    [
      'testing.ts',
      ts(`name: String(scenario), parameters: { size }, onBook() {}`, `import { scenario } from 'tapeline/testing'\n`),
      'STRATEGY_IMPORT',
      /'tapeline\/testing' is not for strategies/,
    ],
  ]
  it('is refused by name, line and reason', async () => {
    write('shop/helpers.ts', 'export const far = 1\n')
    for (const [file, text, code, message] of CASES) {
      write(file, text)
      const ran = await check(`./${file}`)
      expect([file, ran.code, ran.errors[0]?.code, ran.errors[0]?.message]).toEqual([file, 10, code, expect.stringMatching(message)])
    }
    for (const [path, message] of [
      ['./mein.ts', /no such file \(did you mean \.\/mine\.ts\?\)/],
      ['./tape', /tape is no file/],
      ['./tape/manifest.json', /a strategy is a \.ts, \.js or \.mjs file/],
    ] as const) {
      const ran = await check(path)
      expect([ran.code, ran.errors[0]?.code]).toEqual([10, 'STRATEGY_FILE'])
      expect(ran.errors[0]?.message).toMatch(message)
    }
  }, 120_000)

  it('has its mistakes listed all at once, in words of its author', async () => {
    write(
      'many.ts',
      `import type { Strategy } from 'tapeline'
export default function many({ size = 5 } = {}): Strategy {
  return {
    name: 'many',
    parameters: { size },
    onBook(book, desk) {
      const t = Date.now()
      book.bid = 1
      desk.takee(1)
      desk.take(book.market, { side: 'bid', limit: book.ask, size })
      const x: string = size
      fetch('http://localhost')
    },
    onBok() {},
  }
}
`,
    )
    const { errors } = await check('./many.ts')
    expect(errors[0]?.code).toBe('STRATEGY_CLOCK')
    expect(errors[0]?.message.split('\n').map((l) => l.trim().replace(/: (use|put|keep) .*/, ''))).toEqual([
      './many.ts cannot run, 7 things are wrong:',
      'many.ts:7:17 Date.now reads the clock',
      "many.ts:8:12 cannot set 'bid': markets, books and fills are read only; keep numbers of your own in variables of the factory",
      "many.ts:9:12 there is no 'takee' on Desk; did you mean 'take'?",
      "many.ts:10:30 'why' is missing: Take needs it",
      'many.ts:11:13 number is no string',
      'many.ts:12:7 fetch uses the network',
      "many.ts:14:5 there is no 'onBok' in Strategy; did you mean 'onBook'?",
    ])
  })
})

describe('several strategies in one session', () => {
  it('take their parameters by name, two of one name by number, and the report repeats it', async () => {
    const args = ['--strategy', 'lean', '--strategy', './mine.ts', '--strategy', 'mean-reversion']
    const { data, ok } = await backtest(
      ...args,
      '--param',
      'lean.size=3',
      '--param',
      'lean 2.size=4',
      '--param',
      'mean-reversion.window=50',
      '--out',
      'several',
    )
    expect(ok).toBe(true)
    expect(
      ((data?.['strategies'] ?? []) as { name: string; file: string | null; parameters: Record<string, number> }[]).map((s) => [
        s.name,
        s.file,
        s.parameters['size'],
        s.parameters['window'],
      ]),
    ).toEqual([
      ['lean', null, 3, undefined],
      ['lean', 'mine.ts', 4, undefined],
      ['mean-reversion', null, 10, 50],
    ])
    const page = readFileSync(join(dir, 'several/report.html'), 'utf8')
    expect(page).toContain('--strategy lean --param lean.size=3')
    expect(page).toMatch(/--strategy \.\/mine\.ts --param (&#39;|')lean 2\.size=4/)
    const again = await backtest(...args, '--param', 'lean.size=3', '--param', 'lean 2.size=4', '--param', 'mean-reversion.window=50')
    expect(again.data?.['digest']).toBe(data?.['digest'])
    expect(again.data?.['run']).toMatch(/^runs\/lean\+lean\+mean-reversion-tape-[0-9a-f]{8}$/)
    for (const [param, message] of [
      ['size=3', /names its own \(did you mean lean\.size=3\?\); they are lean, lean 2, mean-reversion/],
      ['leen.size=3', /did you mean lean\.size=3\?/],
      ['lean.sise=3', /lean has no parameter sise \(did you mean size\?\)/],
      ['lean 2.size=big', /size is a number, as in lean 2\.size=10/],
    ] as const) {
      const wrong = await backtest(...args, '--param', param)
      expect([wrong.code, wrong.errors[0]?.message]).toEqual([2, expect.stringMatching(message)])
    }
    const unread = LEAN.replace('parameters: { size, edge', 'parameters: { size: 10, edge')
    write('unread.ts', unread)
    expect((await backtest('--strategy', './unread.ts', '--param', 'size=3')).errors[0]?.message).toMatch(
      /called with size=3 and returns parameters with size=10/,
    )
  }, 120_000)
})

describe('bundles kept between runs', () => {
  const cached = (): string[] => readdirSync(join(dir, 'kept/tapeline/strategies')).map((f) => join(dir, 'kept/tapeline/strategies', f))
  const env = { XDG_CACHE_HOME: join(dir, 'kept') }
  it('are used while nothing changed, made again when damaged, and a folder that cannot be written costs time alone', async () => {
    write('cached.ts', LEAN)
    const cold = await check('./cached.ts', env)
    const [file = '', ...others] = cached()
    expect(others).toEqual([])
    const { ino } = statSync(file)
    const warm = await check('./cached.ts', env)
    expect(warm.data).toEqual(cold.data)
    expect(statSync(file).ino).toBe(ino)
    // Faster by what the compiler takes.
    expect(warm.seconds).toBeLessThan(cold.seconds)
    for (const damaged of [
      '',
      'x',
      readFileSync(file, 'utf8').slice(0, -20),
      readFileSync(file, 'utf8').replace('positionMax', 'positionMin'),
    ]) {
      writeFileSync(file, damaged)
      expect((await check('./cached.ts', env)).data).toEqual(cold.data)
      expect(readFileSync(file, 'utf8')).not.toBe(damaged)
    }
    write('cached.ts', LEAN.replace('edge = 1', 'edge = 2'))
    expect((await check('./cached.ts', env)).data?.['parameters']).toMatchObject({ edge: 2 })
    // A file stands where the folder should be: nothing can be kept, whoever runs this.
    write('no-folder', '')
    expect((await check('./cached.ts', { XDG_CACHE_HOME: join(dir, 'no-folder') })).ok).toBe(true)
    chmodSync(join(dir, 'kept/tapeline/strategies'), 0o500)
    write('cached.ts', LEAN.replace('edge = 1', 'edge = 3'))
    expect((await check('./cached.ts', env)).data?.['parameters']).toMatchObject({ edge: 3 })
    chmodSync(join(dir, 'kept/tapeline/strategies'), 0o700)
  }, 120_000)

  it('lie where the platform keeps such things', () => {
    expect(cacheFolder({ XDG_CACHE_HOME: '/x' }, 'linux')).toBe('/x/tapeline')
    expect(cacheFolder({}, 'linux')).toMatch(/\.cache\/tapeline$/)
    expect(cacheFolder({}, 'darwin')).toMatch(/Library\/Caches\/tapeline$/)
    expect(cacheFolder({ LOCALAPPDATA: '/l' }, 'win32')).toBe('/l/tapeline/cache')
  })
})

describe('tapeline strategy', () => {
  it('writes a strategy that runs and a test that can fail, and writes over nothing', async () => {
    const created = await runJson(dir, ['strategy', 'new', 'buy-dips'])
    expect(created.data?.['files']).toEqual(['buy-dips.ts', 'buy-dips.test.ts'])
    const again = await runJson(dir, ['strategy', 'new', 'buy-dips'])
    expect([again.code, again.errors[0]?.message]).toEqual([2, expect.stringMatching(/buy-dips\.ts is there already/)])
    expect((await runJson(dir, ['strategy', 'new', 'class'])).code).toBe(2)
    const tested = await runProgram(dir, ['strategy', 'test', './buy-dips.test.ts'])
    expect([tested.code, tested.stdout]).toEqual([0, expect.stringMatching(/pass 3\n.*fail 0/s)])
    expect((await backtest('--strategy', './buy-dips.ts', '--param', 'fall=1')).data?.['fills']).toBeGreaterThan(0)
    // Each of its ideas is proved: without it a test fails, at a line of the test file.
    const source = readFileSync(join(dir, 'buy-dips.ts'), 'utf8')
    for (const [from, to] of [
      ['price: book.bid', 'price: book.step(book.bid, -1)'],
      ['< fall * 100', '< 1'],
      ['desk.pull(market)', 'desk.now'],
    ] as const) {
      expect(source).toContain(from)
      write('buy-dips.ts', source.replace(from, to))
      const failed = await runProgram(dir, ['strategy', 'test', './buy-dips.test.ts'])
      expect([to, failed.code, failed.stdout]).toEqual([to, 1, expect.stringMatching(/buy-dips\.test\.ts:\d+/)])
    }
    write('buy-dips.ts', source.replace('fall * 100)', 'fall * 100 * Math.random())'))
    const impure = await runProgram(dir, ['strategy', 'test', './buy-dips.test.ts'])
    expect([impure.code, impure.stderr]).toEqual([10, expect.stringMatching(/buy-dips\.ts:\d+:\d+ Math\.random is random/)])
    const none = await runProgram(dir, ['strategy', 'test', './mine.ts'])
    expect([none.code, none.stderr]).toEqual([2, expect.stringMatching(/holds no test/)])
    write('buy-dips.ts', source)
  }, 120_000)

  it('lists what there is with one line each, and checks one file', async () => {
    const { data } = (await runJson(dir, ['strategy', 'list', './mine.ts'])) as unknown as Envelope & {
      data: { name: string; file: string | null; description: string; parameters: object }[]
    }
    expect(data.map((s) => [s.name, s.file])).toEqual([
      ['favorite', null],
      ['lean', null],
      ['mean-reversion', null],
      ['parity', null],
      ['spot-lag', null],
      ['lean', './mine.ts'],
    ])
    expect(data[2]?.description).toBe('Fades moves of more than `threshold` standard deviations from the rolling mean of the mid.')
    expect(data[5]).toMatchObject({ description: data[1]?.description, parameters: { size: 10, edge: 1, lean: 0.5, positionMax: 100 } })
    const checked = await runProgram(dir, ['strategy', 'check', './mine.ts'])
    expect([checked.code, checked.stdout]).toEqual([
      0,
      expect.stringMatching(/^ok: \.\/mine\.ts is the strategy lean \(onBook\)\n[^]*--param size=10 +number/),
    ])
    expect(existsSync(join(dir, 'runs/check'))).toBe(false)
  })
})
