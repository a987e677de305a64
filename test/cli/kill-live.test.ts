import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { SessionFolder } from '../../adapters/record/session-record.ts'
import { readWatch } from '../../cli/live/watch-file.ts'
import { endDrill, startExchange, startProgram, until, type DrillExchange } from '../support/drill.ts'
import { PROGRAM, runJson, runProgram } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** The kill drill with the real engine: `tapeline live` trades, and is stopped from outside. Its folder is not the settings' one: the latch must be read there all the same. */
const built = existsSync(PROGRAM)
afterEach(async () => {
  await endDrill()
  removeFolders()
})
const SETTINGS = `live:
  cashDollars: 200
  orderGroupContracts: 200
limits:
  orderContracts: 50
  positionContracts: 200
  marketLossDollars: 100
  eventLossDollars: 200
  sessionLossDollars: 200
  ordersOpen: 20
  ordersPerSecond: 5
  collarCents: 15
  feedSilenceSeconds: 15
  orderAgeSeconds: 600
`
type Status = { readonly state: { readonly name: string }; readonly orders: { readonly sent: number; readonly working: number } }
const statusOf = (session: string): Status | null =>
  existsSync(join(session, 'status.json')) ? (JSON.parse(readFileSync(join(session, 'status.json'), 'utf8')) as Status) : null

async function live(dir: string, x: DrillExchange, out: string) {
  const { keyId, keyFile } = x.key(0)
  const what = ['lean', '--series', 'KXPRACTICE15M', '--environment', 'local', '--url', x.rest, '--key-id', keyId, '--key-file', keyFile]
  const arm = await runProgram(dir, ['live', 'arm', ...what, '--unproven', 'a drill', '--confirm', 'x'])
  const phrase = /ARM [\w-]+ \d+/.exec(arm.stderr + arm.stdout)?.[0] ?? ''
  const armed = await runProgram(dir, ['live', 'arm', ...what, '--unproven', 'a drill', '--confirm', phrase])
  expect([armed.code, armed.stderr]).toEqual([0, expect.anything()])
  const started = startProgram(dir, ['live', ...what, '--out', out, '--json'])
  await until('it has a folder', () => existsSync(join(dir, out, 'live.json')) && statusOf(join(dir, out)))
  const watch = startProgram(dir, ['watch', out, '--tolerance', '5s'])
  await until('it has orders', async () => (statusOf(join(dir, out))?.orders.sent ?? 0) > 0 && (await x.resting()).length > 0, 60).catch(
    async (error: unknown) => {
      started.child.kill('SIGKILL')
      throw new Error(`${String(error)}: ${JSON.stringify(await started.ended)} ${JSON.stringify(statusOf(join(dir, out)))}`)
    },
  )
  return watch
}

describe.skipIf(!built)(`the kill path of tapeline live${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('halts it alive and takes over from it dead', async () => {
    const dir = folder()
    writeFileSync(join(dir, 'tapeline.yaml'), SETTINGS)
    const x = await startExchange(dir)
    const watch = await live(dir, x, 'elsewhere/a')
    const halted = await runJson(dir, ['halt', 'elsewhere/a', '--reason', 'a drill'])
    console.log(
      `alive: ${JSON.stringify({ ...(halted.data as { sessions: Record<string, unknown>[] }).sessions[0], latch: 0, steps: 0, left: 0 })}`,
    )
    expect([halted.code, existsSync(join(dir, 'elsewhere/HALTED'))]).toEqual([0, true])
    await until('the engine says so', () => statusOf(join(dir, 'elsewhere/a'))?.state.name === 'halted')
    const before = (await x.orders()).length
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    expect([(await x.orders()).length, await x.resting()]).toEqual([before, []])
    const resumed = await runJson(dir, ['resume', 'elsewhere/a', '--reason', 'over', '--confirm', 'RESUME a'])
    expect(resumed.code).toBe(0)
    // (Markets that the trigger halted are freed by whoever owns their halts: not looked at here.)
    await until('the session trades again', () => statusOf(join(dir, 'elsewhere/a'))?.state.name === 'trading')
    await until('it is watched', () => readWatch(join(dir, 'elsewhere/a'))?.state === 'watching')
    const { pid } = JSON.parse(readFileSync(join(dir, 'elsewhere/a/status.json'), 'utf8')) as { pid: number }
    const killed = Date.now()
    process.kill(pid, 'SIGKILL')
    const { takeover } = await until('it took over', () => {
      const w = readWatch(join(dir, 'elsewhere/a'))
      return w?.takeover?.proved != null && w
    })
    console.log(
      `dead: flag +${(takeover?.flagged ?? 0) - killed} ms, cancels +${(takeover?.cancelsSent ?? 0) - killed} ms, proved +${(takeover?.proved ?? 0) - killed} ms (tolerance 5000 ms)`,
    )
    expect([await x.resting(), existsSync(join(dir, 'elsewhere/HALTED'))]).toEqual([[], true])
    watch.child.kill('SIGTERM')

    // The way back: what waits for a person is shown before it is confirmed, and every step is named.
    const log = await SessionFolder.open(join(dir, 'elsewhere/a'))
    const incident = { action: 'halt-session', since: 1, until: null }
    for (const detail of [
      { ...incident, class: 'group-triggered', scope: null, cause: 'group 7' },
      { ...incident, class: 'fill-foreign', scope: 'KX-ONE', cause: 'trade 9' },
      { ...incident, class: 'key-refused', scope: null, cause: '401' },
      { ...incident, class: 'key-refused', scope: null, cause: '401', until: 2 },
    ])
      log.input({ row: 0, time: 1, kind: 'incident', detail })
    await log.sync()
    await log.log.close()
    await log.leave()
    const shown = /group-triggered: .*\(group 7\).*\n.*fill-foreign, KX-ONE: .*\(trade 9\)/
    const dry = await runProgram(dir, ['resume', 'elsewhere/a', '--reason', 'mended', '--dry-run'])
    expect([dry.code, dry.stdout]).toEqual([0, expect.stringMatching(shown)])
    expect(dry.stdout).not.toMatch(/key-refused/)
    const asked = await runProgram(dir, ['resume', 'elsewhere/a', '--reason', 'mended'])
    expect([asked.code, asked.stderr]).toEqual([5, expect.stringMatching(shown)])
    const { keyId, keyFile } = x.key(0)
    const exchange = ['--environment', 'local', '--url', x.rest, '--key-id', keyId, '--key-file', keyFile]
    mkdirSync(join(dir, 'sessions'), { recursive: true })
    writeFileSync(join(dir, 'sessions/HALTED'), 'a drill\n')
    const arm = ['live', 'arm', 'lean', '--series', 'KXPRACTICE15M', ...exchange, '--unproven', 'a drill', '--dry-run']
    const armed = await runProgram(dir, arm)
    expect([armed.code, armed.stdout]).toEqual([0, expect.stringMatching(/HALTED stands \(a drill\).*`tapeline resume`/)])
    const back = await runProgram(dir, ['resume', 'elsewhere/a', '--reason', 'mended', '--confirm', 'RESUME a'])
    expect([back.code, back.stdout]).toEqual([
      0,
      expect.stringMatching(/the halt is taken back[^]*1\. tapeline live arm lean …[^]*2\. tapeline live --resume .*a\n[^]*not cleared/),
    ])
  })
})
