import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { readWatch, watchAlive } from '../../cli/live/watch-file.ts'
import { encodingsOf, repeats } from '../support/canary.ts'
import { creates, endDrill, startEngine, startExchange, startProgram, until } from '../support/drill.ts'
import { PROGRAM, runProgram } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** The watch of the shipped program over something like a live engine: it dies, it stands still, it comes back. */
const built = existsSync(PROGRAM)
const servers: { close(): void }[] = []
afterEach(async () => {
  for (const s of servers.splice(0)) s.close()
  await endDrill()
  removeFolders()
})
type Heard = { readonly class: string; readonly status: string; readonly text: string; readonly session: string }

describe.skipIf(!built)(`tapeline watch${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('takes over from an engine that was killed and from one that stands still, tells, and lets one that comes back go on after a resume', async () => {
    const dir = folder()
    const session = join(dir, 'sessions/s')
    const x = await startExchange(dir)
    const heard: Heard[] = []
    let bodies = ''
    let down = true
    const hook = createServer((request, response) => {
      let body = ''
      request.on('data', (d: Buffer) => (body += d.toString()))
      request.on('end', () => {
        bodies += body + JSON.stringify(request.headers)
        // The first ones find nobody: they come again.
        if (!down) heard.push(JSON.parse(body) as Heard)
        response.writeHead(down ? 503 : 204).end()
        down = false
      })
    }).listen(0, '127.0.0.1')
    servers.push(hook)
    const log = join(dir, 'alerts.ndjson')
    writeFileSync(
      join(dir, 'alert.mjs'),
      `import{appendFileSync,readFileSync}from'node:fs';appendFileSync(process.argv[2],readFileSync(0,'utf8'))`,
    )
    const command = JSON.stringify([process.execPath, join(dir, 'alert.mjs'), log, '$(touch shell)'])
    const engine = await startEngine(dir, x, 'sessions/s')
    expect(watchAlive(session, Date.now())).toBe(false)

    const dry = await runProgram(dir, ['watch', 'sessions/s', '--dry-run'])
    expect([dry.code, dry.stdout.includes('would send   DELETE /portfolio/events/orders?subaccount=0')]).toEqual([0, true])
    const args = [
      'watch',
      'sessions/s',
      '--tolerance',
      '4s',
      '--alert-command',
      command,
      '--alert-webhook',
      `http://127.0.0.1:${(hook.address() as AddressInfo).port}/x`,
    ]
    let watch = startProgram(dir, args)
    await until('the watch lives', () => watchAlive(session, Date.now()))
    await until('it has seen the engine', () => readWatch(session)?.state === 'watching')
    expect((await runProgram(dir, ['watch', 'sessions/s'])).stderr).toMatch(/is watched already/)

    // Killed.
    const killed = Date.now()
    engine.child.kill('SIGKILL')
    const first = await until('it took over', () => readWatch(session)?.takeover?.proved != null && readWatch(session))
    const t = first.takeover
    console.log(
      `killed: flag +${(t?.flagged ?? 0) - killed} ms, cancels +${(t?.cancelsSent ?? 0) - killed} ms, proved +${(t?.proved ?? 0) - killed} ms (tolerance 4000 ms)`,
    )
    expect((t?.proved ?? 0) - killed).toBeLessThan(60_000)
    expect(await x.resting()).toEqual([])
    expect(readFileSync(join(dir, 'sessions/HALTED'), 'utf8')).toMatch(/^the engine of s was silent for more than 4 s\n/)
    await until(
      'both channels told it',
      () => existsSync(log) && readFileSync(log, 'utf8').includes('engine-silent') && heard.some((h) => h.class === 'engine-silent'),
    )
    expect(existsSync(join(dir, 'shell'))).toBe(false)

    // Resumed: the next engine trades, and the alert ends.
    expect((await runProgram(dir, ['resume', 'sessions/s', '--reason', 'restarted', '--confirm', 'RESUME s'])).code).toBe(0)
    // Whoever starts it again does not race with the watch: what is dead and proved empty is halted once.
    await new Promise((resolve) => setTimeout(resolve, 7_000))
    expect([existsSync(join(dir, 'sessions/HALTED')), readWatch(session)?.takeovers]).toEqual([false, 1])
    // Nor by a watch that begins anew: what the one before has proved is proved.
    watch.child.kill('SIGTERM')
    await watch.ended
    watch = startProgram(dir, args)
    await until('the next watch lives', () => watchAlive(session, Date.now()))
    await new Promise((resolve) => setTimeout(resolve, 7_000))
    expect([existsSync(join(dir, 'sessions/HALTED')), readWatch(session)?.takeovers]).toEqual([false, 1])
    const next = await startEngine(dir, x, 'sessions/s')
    await until('orders rest', async () => (await x.resting()).length > 0)
    await until('it says that it is over', () => heard.some((h) => h.class === 'engine-silent' && h.status === 'over'), 40)
    expect(existsSync(join(dir, 'sessions/HALTED'))).toBe(false)

    // Stands still: it cannot know, and when it wakes up its gate does.
    const stopped = Date.now()
    next.child.kill('SIGSTOP')
    const second = await until('it took over again', () => {
      const w = readWatch(session)
      return w?.takeovers === 2 && w.takeover?.proved != null && w
    })
    console.log(
      `stopped: flag +${(second.takeover?.flagged ?? 0) - stopped} ms, cancels +${(second.takeover?.cancelsSent ?? 0) - stopped} ms, proved +${(second.takeover?.proved ?? 0) - stopped} ms`,
    )
    expect(await x.resting()).toEqual([])
    next.child.kill('SIGCONT')
    await until('the engine is back', () => readWatch(session)?.state === 'watching')
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(await x.resting()).toEqual([])

    // It trades on, but nothing that it says reaches the disk: as bad as dead.
    expect((await runProgram(dir, ['resume', 'sessions/s', '--reason', 'woken', '--confirm', 'RESUME s'])).code).toBe(0)
    await until('orders rest again', async () => (await x.resting()).length > 0)
    mkdirSync(join(session, 'status.json.tmp'))
    const third = await until('it took over from an engine without a disk', () => {
      const w = readWatch(session)
      return w?.takeovers === 3 && w.takeover?.proved != null && w
    })
    const flag = third.takeover?.flagged ?? 0
    await until('the engine tries again', () => creates(session).filter((c) => c.began > flag + 5).length > 3)
    for (const c of creates(session).filter((e) => e.began > flag + 5)) expect(c.outcome.code).toBe('gate:kill')
    expect(await x.resting()).toEqual([])

    watch.child.kill('SIGTERM')
    const { code, out, err } = await watch.ended
    expect([code, watchAlive(session, Date.now())]).toEqual([143, false])
    // Nothing that left holds a key.
    const pem = readFileSync(x.key(0).keyFile, 'utf8')
    for (const text of [
      bodies,
      out,
      err,
      readFileSync(log, 'utf8'),
      readFileSync(join(session, 'watch.json'), 'utf8'),
      readFileSync(join(session, 'operator.ndjson'), 'utf8'),
    ]) {
      expect(repeats(text, pem)).toBeNull()
      expect(text.includes(encodingsOf(x.key(0).keyId).raw)).toBe(false)
    }
  })

  it('leaves an engine alone that restarts in time, ends with its session where it is told to, and refuses a start that could do nothing', async () => {
    const dir = folder()
    const session = join(dir, 'sessions/s')
    const x = await startExchange(dir)
    const engine = await startEngine(dir, x, 'sessions/s')
    const other = x.key(1)
    const refused = await runProgram(dir, ['watch', 'sessions/s', '--key-id', x.key(0).keyId, '--key-file', other.keyFile])
    expect([refused.code, refused.stderr]).toEqual([6, expect.stringMatching(/the watch could not do its work: .*401/)])
    for (const [args, code, text] of [
      [['--alert-webhook', 'http://example.com/x'], 2, /https address/],
      [['--alert-webhook', 'https://u:secret@example.com'], 2, /without a password/],
      [['--alert-command', '["x",1]'], 2, /JSON list/],
      [['--tolerance', '1s'], 2, /from 2s to 10m/],
    ] as const) {
      const ran = await runProgram(dir, ['watch', 'sessions/s', ...args])
      expect([ran.code, ran.stderr]).toEqual([code, expect.stringMatching(text)])
      expect(ran.stderr).not.toMatch(/secret/)
    }
    const watch = startProgram(dir, ['watch', 'sessions/s', '--tolerance', '20s', '--until-end', '--json'])
    await until('it watches', () => readWatch(session)?.state === 'watching')
    const died = performance.now()
    engine.child.kill('SIGKILL')
    await engine.ended
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    const again = await startEngine(dir, x, 'sessions/s')
    const away = performance.now() - died
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, 22_000 - away)))
    // Where the machine is so busy that it was not in time, nothing is said.
    if (away < 15_000) expect([readWatch(session)?.takeovers, existsSync(join(dir, 'sessions/HALTED'))]).toEqual([0, false])
    // An end that leaves orders is no good end.
    again.child.kill('SIGTERM')
    const { code, out } = await watch.ended
    expect([code, JSON.parse(out)]).toMatchObject([8, { data: { open: expect.any(Number) } }])
    // Whoever names no session means the account that was traded last, also where nothing runs.
    const halted = await runProgram(dir, ['halt'])
    expect([halted.code, halted.stdout]).toEqual([0, expect.stringMatching(/^HALTED {2}sessions\/s .*[^]*proved empty {2}whole lists/)])
    expect(await x.resting()).toEqual([])
    rmSync(join(session, 'watch.json'))
    expect(watchAlive(session, Date.now())).toBe(false)
  })
})
