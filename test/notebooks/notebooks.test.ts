import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { highlight, readNotebook } from '../../cli/notebook-cells.ts'
import { markdown } from '../../reports/markdown.ts'
import { shown } from '../../reports/shown.ts'

/** The notebooks of the repository, run as their user runs them, and what a notebook does when it fails. */
const root = fileURLToPath(new URL('../..', import.meta.url))
const program = join(root, 'dist/tapeline.js')
const dir = mkdtempSync(join(tmpdir(), 'tapeline-notebooks-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

type Data = {
  page: string
  cells: { line: number; ran: boolean; shown: string[]; error: string | null }[]
  parameters: Record<string, string>
}
type Ran = { code: number; stdout: string; stderr: string; ok: boolean; data: Data; errors: { code: string; message: string }[] }
const notebook = (args: readonly string[]): Promise<Ran> =>
  new Promise((done) => {
    execFile(process.execPath, [program, 'notebook', ...args, '--json'], { cwd: dir, maxBuffer: 1e8 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : (error.code as unknown as number)
      done({ code, stdout, stderr, ...(JSON.parse(stdout) as { ok: boolean; data: Data; errors: Ran['errors'] }) })
    })
  })
const page = (r: Ran): string => readFileSync(join(dir, r.data.page), 'utf8')
const unescape = (html: string): string =>
  html
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&')

const notebooks = readdirSync(join(root, 'notebooks')).filter((f) => f.endsWith('.nb.ts'))

describe('the notebooks of the repository', () => {
  it('are three', () => expect(notebooks).toHaveLength(3))
  for (const file of notebooks) {
    it(`${file} runs from its first cell to its last, on practice data and saying so, and asks for nothing`, async () => {
      const r = await notebook(['run', join(root, 'notebooks', file)])
      expect([r.code, r.errors]).toEqual([0, []])
      expect(r.data.cells.every((c) => c.ran && c.error === null)).toBe(true)
      const forms = r.data.cells.flatMap((c) => c.shown)
      expect(forms).toContain('figure')
      expect(forms).toContain('table')
      const html = page(r)
      expect(html).toMatch(/<body><div class="practice">Practice data/)
      expect(html.match(/(?:src|href)\s*=\s*["']?(?!data:|#)[a-z]/i)?.[0]).toBeUndefined()
      expect(html.match(/url\(|@import|https?:\/\/(?!www\.w3\.org)/)?.[0]).toBeUndefined()
      expect(html).not.toContain(root)
      for (const part of ['Hypothesis', 'Method', 'Limits']) expect(html).toContain(part)
      // Again over the same data: the same bytes.
      if (file === 'calibration.nb.ts') {
        await notebook(['run', join(root, 'notebooks', file), '--out', 'again.html'])
        expect(readFileSync(join(dir, 'again.html'), 'utf8') === html).toBe(true)
      }
    }, 180_000)
  }
})

describe('a notebook', () => {
  it('from `notebook new` runs, takes its parameters and refuses others', async () => {
    expect((await notebook(['new', 'study/first'])).code).toBe(0)
    const r = await notebook(['run', 'study/first.nb.ts', '--param', 'size=3'])
    expect([r.code, r.data.parameters]).toEqual([0, { size: '3' }])
    expect(page(r)).toMatch(/Parameters: size=3/)
    expect((await notebook(['new', 'study/first'])).errors[0]?.message).toMatch(/is there already/)
    const wrong = await notebook(['run', 'study/first.nb.ts', '--param', 'sise=3'])
    expect([wrong.code, wrong.errors[0]?.message]).toEqual([2, expect.stringMatching(/no parameter sise \(did you mean size\?\)/)])
    expect((await notebook(['run', 'nowhere.nb.ts'])).code).toBe(4)
    expect((await notebook(['run', 'study/first.ts'])).code).toBe(2)
  }, 120_000)

  it('that fails keeps what ran before, and names its own line', async () => {
    const cases: [string, RegExp, boolean[]][] = [
      [
        "// %%\nimport { show } from 'tapeline/notebook'\nshow('before')\n// %%\nconst f = (): never => {\n  throw new Error('boom <b>')\n}\nf()\n// %%\nshow('after')\n",
        /^bad\.nb\.ts:6: boom/,
        [true, true, false],
      ],
      [
        "// %%\nimport { backtest, show } from 'tapeline/notebook'\nshow('before')\n// %%\n\nawait backtest({ tape: 'nowhere', strategy: 'lean' })\n",
        /^bad\.nb\.ts:6: .*nowhere is not a tape/,
        [true, true],
      ],
      [
        "// %%\nimport { sql, show } from 'tapeline/notebook'\nshow('before')\n\n// %%\nawait sql('SELECT nothing FROM nowhere')\n",
        /^bad\.nb\.ts:6: .*nowhere/,
        [true, true],
      ],
      ['// %% [markdown]\n// # Title\n\n// %%\nconst x = = 1\n', /^bad\.nb\.ts:5: /, [false]],
      ["// %%\nimport x from 'no-such-package'\nx\n", /^bad\.nb\.ts:2: .*no-such-package/, [false]],
    ]
    for (const [text, message, ran] of cases) {
      writeFileSync(join(dir, 'bad.nb.ts'), text)
      const r = await notebook(['run', 'bad.nb.ts'])
      expect([r.code, r.errors[0]?.message]).toEqual([10, expect.stringMatching(message)])
      expect(r.data.cells.map((c) => c.ran)).toEqual(ran)
      const html = page(r)
      expect(html).toMatch(/role="alert">bad\.nb\.ts:\d+: /)
      expect(html).not.toContain('boom <b>')
      if (text.includes('before')) expect(html).toContain('<p class="said">before</p>')
      expect(html).not.toContain('<p class="said">after</p>')
    }
    expect(existsSync(join(dir, 'bad.html'))).toBe(true)
  }, 120_000)

  it('shows the last expression of a cell, what it prints, tables, Arrow and promises, with text as text', async () => {
    writeFileSync(
      join(dir, 'shows.nb.ts'),
      `const shared = 20
shared + 1
// %%
import { sql, sqlArrow } from 'tapeline/notebook'
console.log('printed', shared)
Promise.resolve('<script>alert(1)</script>')
// %%
await sqlArrow('SELECT 1.5 AS a, \\'x\\' AS b UNION ALL SELECT $n, NULL', { params: { n: 2 } })
// %%
const rows = await sql("SELECT TIMESTAMPTZ '2026-06-01 00:00:00.123Z' AS t, 3::BIGINT AS n, [1,2] AS list")
rows
// %%
const last = 1
`,
    )
    const r = await notebook(['run', 'shows.nb.ts'])
    expect([r.code, r.errors]).toEqual([0, []])
    expect(r.data.cells.map((c) => c.shown)).toEqual([['value'], ['text', 'text'], ['table'], ['table'], []])
    const html = page(r)
    expect(html).toContain('<pre class="said">21</pre>')
    expect(html).toContain('<p class="said">printed 20</p>')
    expect(html).not.toContain('<script>alert')
    expect(html).toContain('2026-06-01 00:00:00.123')
    expect(html).toContain('n/a')
  })
})

describe('the parts of a notebook', () => {
  it('keep the text: the module has the lines of the notebook, colors change no character', () => {
    for (const file of [
      ...notebooks.map((f) => `notebooks/${f}`),
      'cli/notebook.ts',
      'cli/notebook-cells.ts',
      'engine/engine.ts',
      'reports/html.ts',
    ]) {
      const text = readFileSync(join(root, file), 'utf8')
      expect(unescape(highlight(text).text) === text).toBe(true)
      const { module, cells } = readNotebook(text, file)
      expect(module?.split('\n')).toHaveLength(text.split('\n').length)
      for (const c of cells) expect(text.split('\n')[c.line - 1]).toContain(c.text.split('\n')[0])
    }
  })

  it('keep words from outside inert', () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.constantFrom('<', '>', '"', "'", '&', '*', '`', '[', ']', '(', ')', '|', '-', '#', ' ', '\n', 'a', ':', '/'),
        }),
        (text) => {
          const tags = markdown(text).text.match(/<[^>]*>/g) ?? []
          for (const tag of tags)
            expect(tag).toMatch(
              /^<\/?(h[1-6]|p|ul|ol|li|b|i|code|pre|blockquote|table|thead|tbody|tr|th|td|div)( class="(n|scroll)")?( tabindex="0")?>$|^<a href="(https?:\/\/|#|[./\w-])[^"<>]*">$|^<\/a>$/,
            )
          expect(shown(text).markup.text.replaceAll(/<\/?(pre|p)( class="said")?>/g, '')).not.toMatch(/[<>]/)
          expect(shown([{ a: text }]).markup.text).not.toMatch(/<(script|img|b>)/)
        },
      ),
      { numRuns: 500 },
    )
    expect(markdown('[x](javascript:alert)').text).not.toContain('href')
    expect(markdown('[x](https://example.com/a) and `a*b*c` **bold** *it*').text).toBe(
      '<p><a href="https://example.com/a">x</a> and <code>a*b*c</code> <b>bold</b> <i>it</i></p>',
    )
    expect(markdown('| a | b |\n|---|--:|\n| 1 | 2 |').text).toContain('<td class="n">2</td>')
  })
})
