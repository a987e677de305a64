import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { takeLock } from '../../cli/live/lock.ts'
import { bundled } from '../support/bundle.ts'

/** One live engine to an account: processes that race for it, and holders that are killed. */
const program = bundled('test/support/lock-child.ts')
const home = mkdtempSync(join(tmpdir(), 'tapeline-lock-'))
afterAll(() => {
  rmSync(home, { recursive: true, force: true })
  rmSync(program, { force: true })
})
const children = new Set<ChildProcess>()
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  children.clear()
})

type Child = { readonly child: ChildProcess; readonly said: Promise<string>; readonly gone: Promise<void> }
function start(...args: string[]): Child {
  const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, HOME: home }, stdio: ['ignore', 'pipe', 'inherit'] })
  children.add(child)
  return {
    child,
    said: new Promise((resolve) => {
      let text = ''
      child.stdout?.on('data', (d: Buffer) => {
        text += d.toString()
        if (text.includes('\n')) resolve(text.trim())
      })
      child.once('close', () => resolve(text.trim()))
    }),
    gone: new Promise((resolve) => child.once('close', () => resolve())),
  }
}
const key = (): string => `key-${process.pid}-${Math.random().toString(36).slice(2)}`

describe('the lock of a live engine', () => {
  it('goes to one of 50 that start together, and is free again after each kill -9', async () => {
    const id = key()
    const racing = Array.from({ length: 50 }, () => start('demo', id))
    const said = await Promise.all(racing.map((r) => r.said))
    const holders = racing.filter((_, i) => said[i] === 'held')
    expect(holders.length).toBe(1)
    const busy = said.filter((s) => s !== 'held')
    for (const text of busy) expect(text).toMatch(/^busy a live engine trades this key and subaccount 0 of demo on this machine already/)
    // Who holds it says so, as far as it found the time.
    expect(busy.filter((s) => s.includes(`process ${holders[0]?.child.pid}, session sessions/a`)).length).toBeGreaterThan(0)
    holders[0]?.child.kill('SIGKILL')
    await holders[0]?.gone
    for (let i = 0; i < 5; i++) {
      const next = start('demo', id)
      expect(await next.said).toBe('held')
      next.child.kill('SIGKILL')
      await next.gone
    }
  }, 120_000)

  it('is by exchange, key and subaccount; two names of this machine are one exchange; a stopped holder still holds', async () => {
    const id = key()
    const holder = start('http://localhost:4010', id, '3')
    expect(await holder.said).toBe('held')
    await expect(takeLock({ environment: 'http://127.0.0.1:4010/', keyId: id, subaccount: 3 }, 'x')).rejects.toMatchObject({
      exit: 5,
      code: 'LIVE_BUSY',
    })
    for (const other of [
      { environment: 'http://127.0.0.1:4011', keyId: id, subaccount: 3 },
      { environment: 'http://127.0.0.1:4010', keyId: `${id}x`, subaccount: 3 },
      { environment: 'http://127.0.0.1:4010', keyId: id, subaccount: 4 },
    ])
      await (await takeLock(other, 'x')).release()
    holder.child.kill('SIGSTOP')
    await expect(takeLock({ environment: 'http://127.0.0.1:4010', keyId: id, subaccount: 3 }, 'x')).rejects.toThrow(
      /it does not say who it is/,
    )
    holder.child.kill('SIGKILL')
    await holder.gone
    const own = await takeLock({ environment: 'http://127.0.0.1:4010', keyId: id, subaccount: 3 }, 'x')
    // Inside one process, too.
    await expect(takeLock({ environment: 'http://127.0.0.1:4010', keyId: id, subaccount: 3 }, 'x')).rejects.toThrow(
      /process \d+, session x/,
    )
    expect(own.held()).toBe(true)
    await own.release()
    expect(own.held()).toBe(false)
    await (await takeLock({ environment: 'http://127.0.0.1:4010', keyId: id, subaccount: 3 }, 'x')).release()
  }, 60_000)

  it('is a file that the kernel locks where sockets have no abstract names: the same, 8 together and after kill -9', async () => {
    const id = key()
    for (let round = 0; round < 2; round++) {
      const racing = Array.from({ length: 8 }, () => start('demo', id, '0', 'file'))
      const said = await Promise.all(racing.map((r) => r.said))
      const holders = racing.filter((_, i) => said[i] === 'held')
      expect([round, holders.length, said.filter((s) => s.startsWith('busy')).length]).toEqual([round, 1, 7])
      holders[0]?.child.kill('SIGKILL')
      await holders[0]?.gone
    }
  }, 120_000)
})
