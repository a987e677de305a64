import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { openAccounts } from '../../../adapters/exchange/index.ts'
import { inProcess } from './support.ts'

/** The folder of private keys. */

const folders: string[] = []
afterEach(() => {
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true })
})
const parent = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'tapeline-'))
  folders.push(dir)
  return dir
}
const opened = (folder: string) =>
  openAccounts(inProcess().x, { folder, names: ['one'], keyType: 'ed25519', cash: 1_000_000, shards: [0], tier: 'basic' })
const mode = (path: string): number => statSync(path).mode & 0o7777

describe('a folder of keys', () => {
  it('that is made is closed to others; one that was there keeps its mode, and what is written is closed in both', async () => {
    const at = parent()
    const made = await opened(join(at, 'deep', 'keys'))
    expect([made.warning, mode(join(at, 'deep', 'keys'))]).toEqual([null, 0o700])
    for (const [n, given] of [0o755, 0o750, 0o711, 0o700, 0o1777].entries()) {
      const folder = join(at, String(n))
      mkdirSync(folder)
      chmodSync(folder, given)
      writeFileSync(join(folder, 'accounts.json'), 'old')
      writeFileSync(join(folder, 'other.txt'), 'not ours')
      chmodSync(join(folder, 'other.txt'), 0o644)
      const { warning, files } = await opened(folder)
      expect([given, mode(folder), mode(join(folder, 'other.txt'))]).toEqual([given, given, 0o644])
      expect(['one.pem', 'accounts.json'].map((f) => mode(join(folder, f)))).toEqual([0o600, 0o600])
      expect(warning).toEqual((given & 7) === 0 ? null : expect.stringContaining(`mode 0${given.toString(8)}`))
      // The same key the next time.
      const pem = readFileSync(join(folder, 'one.pem'), 'utf8')
      expect((await opened(folder)).files).toEqual(files)
      expect(readFileSync(join(folder, 'one.pem'), 'utf8')).toBe(pem)
    }
  })

  it('into which others can write is refused, as is a key that others can read, and nothing is changed', async () => {
    const folder = join(parent(), 'open')
    mkdirSync(folder)
    chmodSync(folder, 0o777)
    await expect(opened(folder)).rejects.toThrow(/others can write to this folder \(mode 0777\)/)
    expect(mode(folder)).toBe(0o777)
    chmodSync(folder, 0o700)
    writeFileSync(join(folder, 'one.pem'), 'key')
    chmodSync(join(folder, 'one.pem'), 0o640)
    await expect(opened(folder)).rejects.toThrow(/can be read by others: chmod 600/)
    expect(mode(join(folder, 'one.pem'))).toBe(0o640)
  })
})
