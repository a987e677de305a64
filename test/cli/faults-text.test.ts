import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { parseFaults, parseRule } from '../../adapters/exchange/faults.ts'
import { PROGRAM, runProgram } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** What the help says can be done is done to a running exchange. */
const built = existsSync(PROGRAM)
afterEach(() => removeFolders())

describe.skipIf(!built)(`tapeline help faults${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('gives a faults file that is read as it stands, and knows every word that the exchange knows', async () => {
    const { code, stdout } = await runProgram(folder(), ['help', 'faults'])
    expect(code).toBe(0)
    const file = parseFaults(JSON.parse(stdout.slice(stdout.indexOf('{"seed"'), stdout.indexOf(']}') + 2)))
    expect(new Set(file.rules.map((r) => r.on))).toEqual(new Set(['frame', 'request', 'connect', 'time']))
    const words = { frame: {}, request: {}, connect: {}, time: { at: 0 } }
    for (const [on, more] of Object.entries(words)) {
      const from = stdout.indexOf(`  on "${on}"`)
      const line = stdout.slice(from, (/\n {2}on|\n\n/.exec(stdout.slice(from))?.index as number) + from)
      // The exchange's own refusal lists what it knows.
      let known = ''
      try {
        parseRule({ on, do: '?', ...more })
      } catch (error) {
        known = (error as Error).message
      }
      const names = [...known.matchAll(/"([a-z-]+)"/g)].map((m) => m[1] as string)
      expect(names.length).toBeGreaterThan(1)
      for (const name of names) expect([on, line.replaceAll(/\s+/g, ' ')]).toEqual([on, expect.stringMatching(new RegExp(`[ ]${name}\\b`))])
    }
    expect((await runProgram(folder(), ['exchange', '--help'])).stdout).toMatch(/"on":"frame"[\s\S]*tapeline help faults/)
  })

  it('lists calls of the admin door of which each is answered', async () => {
    const dir = folder()
    const child = spawn(process.execPath, [PROGRAM, 'exchange', '--practice', '--admin-port', '0', '--json', '--duration', '60s'], {
      cwd: dir,
    })
    try {
      const ended = new Promise<number | null>((done) => child.once('close', done))
      const { admin, markets } = await new Promise<{ admin: string; markets: string[] }>((done) => {
        let out = ''
        child.stdout.on('data', (d: Buffer) => {
          out += d.toString()
          if (out.includes('\n')) done(JSON.parse(out).data)
        })
      })
      const { stdout } = await runProgram(dir, ['help', 'faults'])
      const calls = [...stdout.matchAll(/curl 127\.0\.0\.1:4513(\/\S+)(?: -d '([^']+)')?(?: -X (DELETE))?/g)]
      expect(calls.length).toBeGreaterThan(10)
      for (const [, path = '', body, method] of calls) {
        const answer = await fetch(`${admin}${path.replace('TICKER', markets[0] as string)}`, {
          method: method ?? (body === undefined ? 'GET' : 'POST'),
          // As curl -d sends it.
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          ...(body === undefined ? {} : { body }),
        })
        expect([path, answer.status, await answer.text()]).toEqual([path, 200, expect.not.stringContaining('"error"')])
      }
      expect(await ended).toBe(0)
    } finally {
      child.kill('SIGKILL')
    }
  })
})
