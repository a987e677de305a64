import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runJson, runProgram } from '../support/program.ts'

/** Strategies that misbehave, each through the shipped program: a named code, the author's line, what ran so far on disk, and an end in time. */
const dir = mkdtempSync(join(tmpdir(), 'tapeline-hostile-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
beforeAll(async () => {
  expect(
    (await runJson(dir, ['data', 'practice', '--seed', '3', '--markets', '2', '--days', '1', '--rate', '15', '--tape', 'tape'])).ok,
  ).toBe(true)
})

/** A strategy whose handlers begin on line 7. */
const strategy = (name: string, handlers: string): string => `import type { Strategy } from 'tapeline'
export default function factory({ size = 1 } = {}): Strategy {
  let n = 0
  return {
    name: '${name}',
    parameters: { size },
${handlers}
  }
}
`
type Case = { readonly code: string; readonly line: number; readonly text: RegExp; readonly handlers: string }
const DURING: Readonly<Record<string, Case>> = {
  'throws-at-a-row': {
    code: 'STRATEGY_THREW',
    line: 8,
    text: /threw in onBook: boom KXPRACTICE15M-\S+ \(at 2026-06-01T00:\d\d:\d\d\.\d{3}Z\)/,
    handlers: `    onBook(book) {
      if (++n === 500) throw new Error('boom ' + book.market.ticker)
    },`,
  },
  'throws-a-text': {
    code: 'STRATEGY_THREW',
    line: 0,
    text: /threw in onTrade: no reason \(for KXPRACTICE15M-\S+ at 2026/,
    handlers: `    onTrade() {
      throw 'no reason'
    },`,
  },
  'wakes-at-once': {
    code: 'STRATEGY_LOOP',
    line: 9,
    text: /wakes itself at desk\.now again and again/,
    handlers: `    onStart: (desk) => desk.wake(desk.now),
    onWake(desk) {
      desk.wake(desk.now)
    },`,
  },
  'wakes-in-a-microsecond': {
    code: 'STRATEGY_LOOP',
    line: 9,
    text: /a million times more often than rows/,
    handlers: `    onStart: (desk) => desk.wake(desk.now + 1),
    onWake(desk) {
      desk.wake(desk.now + 1)
    },`,
  },
  'loops-for-ever': {
    code: 'STRATEGY_LOOP',
    line: 10, // the loop's head, where V8 may stop it
    text: /loops-for-ever: onBook does not end: not done after 3 s.*for KXPRACTICE15M-\S+ at 2026/,
    handlers: `    onBook() {
      if (++n < 500) return
      let i = 0
      while (true) {
        i++
      }
    },`,
  },
  'asks-for-ever': {
    code: 'STRATEGY_LOOP',
    line: 9,
    text: /more than 100000 things in one instant/,
    handlers: `    onBook(book, desk) {
      if (!book.twoSided || ++n < 300) return
      for (;;) desk.quote(book.market, { side: 'bid', price: book.bid, size: 1 + (n++ % 5), why: 'x' })
    },`,
  },
  'sizes-nan': {
    code: 'STRATEGY_SIZE',
    line: 9,
    text: /has size NaN.*in onBook/,
    handlers: `    onBook(book, desk) {
      if (!book.hasBid || ++n < 200) return
      desk.quote(book.market, { side: 'bid', price: book.bid, size: Number.NaN, why: 'x' })
    },`,
  },
  'changes-the-book': {
    code: 'STRATEGY_READ_ONLY',
    line: 8,
    text: /tried in onBook to change what it is shown: Cannot/,
    handlers: `    onBook(book) {
      ;(book as any).bid = 1
    },`,
  },
  'reads-the-clock-by-a-detour': {
    code: 'STRATEGY_CLOCK',
    line: 9,
    text: /Date\.now\(\) reads the clock: use desk\.now/,
    handlers: `    onBook() {
      const clock: any = Date
      n = clock['now']()
    },`,
  },
  'reads-local-time': {
    code: 'STRATEGY_CLOCK',
    line: 8,
    text: /time zone/,
    handlers: `    onBook(book, desk) {
      n = (new Date(desk.now / 1000) as any)['getHours']()
    },`,
  },
  'is-random-by-a-detour': {
    code: 'STRATEGY_RANDOM',
    line: 9,
    text: /Math\.random\(\) is random/,
    handlers: `    onBook() {
      const { random } = Math
      n = random()
    },`,
  },
  'reads-the-machine-by-a-detour': {
    code: 'STRATEGY_MACHINE',
    line: 8,
    text: /process reads this machine/,
    handlers: `    onBook() {
      n = Object.keys((globalThis as any)['pro' + 'cess'].env).length
    },`,
  },
  'answers-later': {
    code: 'STRATEGY_ASYNC',
    line: 0,
    text: /onBook is async \(it returned a promise\)/,
    handlers: `    onBook: (async () => {}) as () => any,`,
  },
  'calls-itself-for-ever': {
    code: 'STRATEGY_THREW',
    line: 8,
    text: /Maximum call stack size exceeded/,
    handlers: `    onBook() {
      const deeper = (x: number): number => 1 + deeper(x + 1)
      n = deeper(0)
    },`,
  },
  'keeps-everything': {
    code: 'STRATEGY_MEMORY',
    line: 0,
    text: /Memory is nearly full \(\d+ MB of \d+ MB\)/,
    handlers: `    onBook: (() => {
      const all: number[][] = []
      return () => void all.push(new Array<number>(8_000).fill(0.5))
    })(),`,
  },
}

describe('strategies that misbehave during a run', () => {
  for (const [name, { code, line, text, handlers }] of Object.entries(DURING)) {
    it(`${name}: ${code}`, async () => {
      writeFileSync(join(dir, `${name}.ts`), strategy(name, handlers))
      const ran = await runJson(dir, ['backtest', '--tape', 'tape', '--strategy', `./${name}.ts`, '--out', `run-${name}`], {
        TAPELINE_TURN_SECONDS: '3',
        NODE_OPTIONS: '--max-old-space-size=700',
      })
      expect([ran.code, ran.errors[0]?.code]).toEqual([10, code])
      const message = ran.errors[0]?.message ?? ''
      expect(message).toMatch(text)
      if (line > 0) expect(message).toMatch(new RegExp(`^${name}\\.ts:${line}:\\d+ `))
      expect(ran.seconds).toBeLessThan(45)
      // What ran so far is there and says what it is.
      expect(ran.data?.['complete']).toBe(false)
      const page = readFileSync(join(dir, `run-${name}/report.html`), 'utf8')
      expect(page).toContain('PARTIAL: ')
      expect(page).not.toContain(dir)
      expect((JSON.parse(readFileSync(join(dir, `run-${name}/end.json`), 'utf8')) as { end: { complete: boolean } }).end.complete).toBe(
        false,
      )
    })
  }

  it('one that fills the memory within a single call ends the process, as Node does: not by exit 10, and nothing is kept', async () => {
    writeFileSync(
      join(dir, 'hoards.ts'),
      strategy(
        'hoards',
        '    onBook() {\n      const all: number[][] = []\n      while (n++ < 1e9) all.push(new Array<number>(100_000).fill(n))\n    },',
      ),
    )
    const ran = await runProgram(dir, ['backtest', '--tape', 'tape', '--strategy', './hoards.ts', '--out', 'run-hoards'], {
      NODE_OPTIONS: '--max-old-space-size=150',
    })
    expect(ran.code).not.toBe(0)
    expect(ran.stderr).toMatch(/heap out of memory|heap limit/i)
    expect(existsSync(join(dir, 'run-hoards/end.json'))).toBe(false)
  })
})

const BEFORE: Readonly<Record<string, { readonly code: string; readonly text: RegExp; readonly source: string }>> = {
  'reads-a-file': {
    code: 'STRATEGY_IMPORT',
    text: /^reads-a-file\.ts:1:30 imports 'node:fs' reads this machine/,
    source: `import { readFileSync } from 'node:fs'\nexport default () => ({ name: 'x', parameters: {}, onBook: () => void readFileSync('x') })\n`,
  },
  'requires-a-file': {
    code: 'STRATEGY_IMPORT',
    text: /^requires-a-file\.js:2:\d+ imports 'fs'/,
    source: `export default () => ({ name: 'x', parameters: {}, onBook() {\n  require('fs') } })\n`,
  },
  'reads-the-clock': {
    code: 'STRATEGY_CLOCK',
    text: /^reads-the-clock\.ts:8:11 Date\.now reads the clock: use desk\.now/,
    source: strategy('x', '    onBook() {\n      n = Date.now()\n    },'),
  },
  'is-async': {
    code: 'STRATEGY_ASYNC',
    text: /^is-async\.ts:7:5 onBook is async/,
    source: strategy('x', '    async onBook() {},'),
  },
  'loops-when-loaded': {
    code: 'STRATEGY_LOOP',
    text: /^\.\/loops-when-loaded\.js the file fails when it is loaded: not done after 10 s/,
    source: `for (;;) {}\nexport default () => ({})\n`,
  },
}
describe('strategies that misbehave before a run', () => {
  for (const [name, { code, text, source }] of Object.entries(BEFORE)) {
    it(`${name}: ${code}`, async () => {
      const file = name.includes('requires') || name.includes('loaded') ? `${name}.js` : `${name}.ts`
      writeFileSync(join(dir, file), source)
      const ran = await runJson(dir, ['backtest', '--tape', 'tape', '--strategy', `./${file}`, '--out', `run-${name}`])
      expect([ran.code, ran.errors[0]?.code]).toEqual([10, code])
      expect(ran.errors[0]?.message).toMatch(text)
      expect(ran.seconds).toBeLessThan(45)
      expect(existsSync(join(dir, `run-${name}`))).toBe(false)
    })
  }
})
