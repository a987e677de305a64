import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

/** The house, tested: what stands where, and what must not stand anywhere. */
const root = fileURLToPath(new URL('../..', import.meta.url))
const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root, encoding: 'utf8' })
  .trim()
  .split('\n')
  .filter((f) => existsSync(join(root, f)))
const read = (f: string): string => readFileSync(join(root, f), 'utf8')
const sources = files.filter((f) => /^(engine|strategies|data|reports|adapters|cli|notebooks|bench)\/.*(?<!\.nb)\.ts$/.test(f))

describe('the house', () => {
  it('has the river at its top level and nothing else', () => {
    const top = new Set(files.map((f) => f.split('/')[0] as string).filter((f) => !f.startsWith('.')))
    expect([...top].sort()).toEqual(
      [
        'ARCHITECTURE.md',
        'CHANGELOG.md',
        'LICENSE',
        'README.md',
        'adapters',
        'bench',
        'cli',
        'data',
        'engine',
        'notebooks',
        'package-lock.json',
        'package.json',
        'reports',
        'strategies',
        'test',
        'tsconfig.json',
      ].sort(),
    )
  })

  it('says at the head of every file what the file owns', () => {
    for (const f of sources) expect([f, /^(#![^\n]*\n)?(import [^\n]*\n)*\n?\/\*\*/.test(read(f))]).toEqual([f, true])
  })

  it('keeps files to one idea and no machine in them', () => {
    for (const f of files.filter((x) => /\.(ts|mjs|cjs|md|json)$/.test(x) && x !== 'package-lock.json')) {
      const text = read(f)
      if (sources.includes(f)) expect([f, text.split('\n').length < 800]).toEqual([f, true])
      if (f !== 'test/tidy/tidy.test.ts' && f !== 'test/types/misuse.ts')
        expect([
          f,
          /\/(home|root|Users|work)\/[a-z]|TODO|FIXME|@ts-ignore|@ts-expect-error|oxlint-disable|\b(it|describe|test)\.(only|todo)\b/.exec(
            text,
          )?.[0],
        ]).toEqual([f, undefined])
    }
  })

  it('lets nobody bypass the layers by hand: strategies see the public door alone', () => {
    for (const f of files.filter((x) => /^strategies\/.*\.ts$/.test(x))) {
      for (const [, from] of read(f).matchAll(/from '([^']+)'/g))
        expect([f, from]).toEqual([f, expect.stringMatching(/^(\.\.\/engine\/index\.ts|\.\/[a-z-]+\.ts)$/)])
    }
  })
})
