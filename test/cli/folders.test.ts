import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { makeFolder, proveFolder } from '../../data/folder.ts'
import { PROGRAM, runJson } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

const built = existsSync(PROGRAM)
const proc = existsSync('/proc/self') && existsSync('/sys/kernel')
afterEach(() => removeFolders())

describe('makeFolder', () => {
  it('makes what is missing, says so, and takes back what a proof made', () => {
    const dir = folder()
    proveFolder(join(dir, 'a', 'b', 'c'))
    expect(readdirSync(dir)).toEqual([])
    expect(makeFolder(join(dir, 'a', 'b'))).toEqual([join(dir, 'a'), join(dir, 'a', 'b')])
    proveFolder(join(dir, 'a', 'b', 'c'))
    expect([makeFolder(join(dir, 'a', 'b')), readdirSync(join(dir, 'a'))]).toEqual([[], ['b']])
    writeFileSync(join(dir, 'file'), '')
    expect(() => makeFolder(join(dir, 'file', 'x'))).toThrow(/file is there and is no folder\): choose a folder/)
  })
})

describe.skipIf(!built || !proc)(
  `folders that nobody can make${built ? (proc ? '' : ' (skipped: no /proc)') : ' (skipped: dist/ is not built)'}`,
  () => {
    it('end every command that writes at once, exit 4, before anything else was tried', async () => {
      const dir = folder()
      mkdirSync(join(dir, 'config'))
      // Nobody listens at that address: the folder is looked at first.
      const exchange = ['--environment', 'local', '--url', 'http://127.0.0.1:9', '--key-id', 'x', '--key-file', 'x.pem']
      for (const bad of ['/proc/tapeline', '/proc/tapeline/tape', '/sys/tapeline/tape'])
        for (const args of [
          ['record', '--series', 'KXPRACTICE15M', ...exchange, '--tape', bad],
          ['paper', '--series', 'KXPRACTICE15M', '--strategy', 'lean', ...exchange, '--out', bad],
          ['download', '--series', 'KXPRACTICE15M', '--from', '2026-01-01', ...exchange, '--tape', bad],
          ['data', 'practice', '--tape', bad],
        ]) {
          const { code, errors, seconds } = await runJson(dir, args)
          expect([args[0], bad, code, errors[0]?.code, errors[0]?.message]).toEqual([
            args[0],
            bad,
            4,
            'DISK',
            expect.stringMatching(/cannot be made \(\/(proc|sys) takes no new folder, E[A-Z]+\): choose a folder that can be written$/),
          ])
          expect(seconds).toBeLessThan(10)
        }
    }, 120_000)
  },
)
