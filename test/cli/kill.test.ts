import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { creates, endDrill, startEngine, startExchange, until } from '../support/drill.ts'
import { PROGRAM, runJson, runProgram } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** Kill drills of the shipped program: real processes, real sockets, the local exchange. Figures are printed, bounds are generous: the machine may be busy. */
const built = existsSync(PROGRAM)
afterEach(async () => {
  await endDrill()
  removeFolders()
})

type Halted = {
  readonly latch: { readonly path: string; readonly written: boolean; readonly stands: boolean }
  readonly engine: { readonly life: string; readonly acknowledged: number | null }
  readonly cancelsSent: number | null
  readonly provedEmpty: number | null
  readonly lastCreate: { readonly at: number; readonly uncertainty: number } | null
  readonly groups: readonly { readonly triggered: boolean }[]
  readonly left: readonly unknown[] | null
}
const haltedOf = (data: unknown): Halted => (data as { sessions: Halted[] }).sessions[0] as Halted
const stamp = (dir: string): number => Date.parse(readFileSync(join(dir, 'sessions/HALTED'), 'utf8').split('\n')[1]?.split(' ')[0] ?? '')

describe.skipIf(!built)(`tapeline halt, live${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('stops an engine that is alive: no create after the flag, everything back, proved; twice is the same; resumed for a reason', async () => {
    const dir = folder()
    const x = await startExchange(dir)
    await startEngine(dir, x, 'sessions/s')
    const session = join(dir, 'sessions/s')

    const dry = await runProgram(dir, ['halt', 'sessions/s', '--dry-run'])
    expect(dry.stdout).toMatch(
      /DRY RUN.*\nwould write.*HALTED\nwould tell.*\nwould send {3}DELETE \/portfolio\/events\/orders\?subaccount=0\nwould send {3}PUT .*trigger/,
    )
    expect([existsSync(join(dir, 'sessions/HALTED')), (await x.resting()).length > 0]).toEqual([false, true])

    const ran = await runJson(dir, ['halt', '--reason', 'a drill'])
    const halted = haltedOf(ran.data)
    console.log('alive', JSON.stringify({ ...halted, latch: 0, left: 0, steps: 0 }))
    expect([ran.code, halted.latch.written, halted.groups, halted.left]).toEqual([
      0,
      true,
      [{ id: expect.any(String), triggered: true }],
      [],
    ])
    expect(halted.engine.acknowledged).not.toBeNull()
    expect(halted.provedEmpty).toBeLessThan(60_000)
    expect(await x.resting()).toEqual([])
    // Whatever the engine began after the flag never left its gate.
    const flag = stamp(dir)
    await until('the engine tries again', () => creates(session).filter((c) => c.began > flag + 300).length > 3)
    for (const c of creates(session).filter((e) => e.began > flag + 5))
      expect(c.outcome).toMatchObject({ kind: 'rejected', code: 'gate:kill' })
    expect(await x.resting()).toEqual([])

    // Again: nothing changes, the first reason stays.
    const again = await runJson(dir, ['halt', 'sessions/s', '--reason', 'another'])
    expect([again.code, haltedOf(again.data).latch]).toMatchObject([0, { written: false, stands: true }])
    expect(readFileSync(join(dir, 'sessions/HALTED'), 'utf8').split('\n')[0]).toBe('a drill')

    const refusals = [
      await runProgram(dir, ['resume', 'sessions/s', '--confirm', 'RESUME s']),
      await runProgram(dir, ['resume', 'sessions/s', '--reason', 'over']),
      await runProgram(dir, ['resume', 'sessions/s', '--reason', 'over', '--confirm', 'yes']),
    ]
    expect(refusals.map((r) => r.code)).toEqual([2, 5, 5])
    expect(existsSync(join(dir, 'sessions/HALTED'))).toBe(true)
    const resumed = await runJson(dir, ['resume', 'sessions/s', '--reason', 'over', '--confirm', 'RESUME s'])
    expect([resumed.code, resumed.data]).toMatchObject([0, { lifted: true, was: 'a drill', groups: [{ outcome: 'acknowledged' }] }])
    await until('orders rest again', async () => (await x.resting()).length > 0)
    // A paper word stays what it was, and shows itself first.
    expect((await runProgram(dir, ['pause', 'sessions/s', '--dry-run'])).stdout).toMatch(/would tell .*: pause/)
  })

  it('needs no engine: killed, and standing still', async () => {
    const dir = folder()
    const x = await startExchange(dir)
    const dead = await startEngine(dir, x, 'sessions/s')
    dead.child.kill('SIGKILL')
    await dead.ended
    await until('its orders are shown', async () => (await x.resting()).length > 0)
    const first = await runJson(dir, ['halt', 'sessions/s', '--reason', 'it died'])
    console.log('killed', JSON.stringify({ ...haltedOf(first.data), latch: 0, left: 0, steps: 0 }))
    expect([first.code, haltedOf(first.data).engine]).toMatchObject([0, { life: 'gone', acknowledged: null }])
    expect(await x.resting()).toEqual([])
    expect((await runProgram(dir, ['resume', 'sessions/s', '--reason', 'go on', '--confirm', 'RESUME s'])).stdout).toMatch(/no engine runs/)

    const hung = await startEngine(dir, x, 'sessions/s')
    hung.child.kill('SIGSTOP')
    const second = await runJson(dir, ['halt', 'sessions/s'])
    console.log('stopped', JSON.stringify({ ...haltedOf(second.data), latch: 0, left: 0, steps: 0 }))
    expect([second.code, haltedOf(second.data).engine.acknowledged]).toEqual([0, null])
    expect(await x.resting()).toEqual([])
    const before = creates(join(dir, 'sessions/s')).length
    hung.child.kill('SIGCONT')
    // It wakes up, and its gate reads the flag.
    const after = await until('it goes on', () => {
      const all = creates(join(dir, 'sessions/s')).slice(before)
      return all.length > 5 && all
    })
    expect(after.slice(1).map((c) => c.outcome.code)).toEqual(after.slice(1).map(() => 'gate:kill'))
    expect(await x.resting()).toEqual([])
  })

  it('says loudly what it cannot prove: lists that stand still, answers that are lost, a key that is refused, a session that says nothing', async () => {
    const dir = folder()
    const x = await startExchange(dir)
    const engine = await startEngine(dir, x, 'sessions/s')
    engine.child.kill('SIGKILL')
    await engine.ended
    // What is shown is old: the orders are gone, and it is not believed that they are, nor that they are not.
    await x.say('/reads', { frozen: true })
    const frozen = await runJson(dir, ['halt', 'sessions/s', '--timeout', '3s'])
    expect([frozen.code, frozen.errors[0]?.code]).toEqual([7, 'HALT_UNPROVED'])
    expect(frozen.errors[0]?.message).toMatch(
      /^NOT PROVED that nothing is open \(the list is older than what was sent\): \d+ orders are still shown/,
    )
    expect([haltedOf(frozen.data).provedEmpty, haltedOf(frozen.data).left?.length]).toEqual([null, expect.any(Number)])
    await x.say('/reads', { frozen: false })

    // The first answers get lost, a list comes as a web page: it asks again, and believes a whole list alone.
    for (const rule of [
      { on: 'request', do: 'lose-response', operation: 'CancelAllOrders', times: 1 },
      { on: 'request', do: 'status', status: 503, operation: 'TriggerOrderGroup', times: 1 },
      { on: 'request', do: 'html', operation: 'GetOrders', times: 2 },
    ])
      await x.say('/faults', rule)
    const lost = await runJson(dir, ['halt', 'sessions/s'])
    expect([lost.code, haltedOf(lost.data).left]).toEqual([0, []])
    expect(await x.resting()).toEqual([])

    const other = x.key(1)
    writeFileSync(join(dir, 'wrong.pem'), readFileSync(other.keyFile), { mode: 0o600 })
    const refused = await runJson(dir, ['halt', 'sessions/s', '--key-id', x.key(0).keyId, '--key-file', 'wrong.pem'])
    expect([refused.code, refused.errors[0]?.code]).toEqual([6, 'AUTH'])
    expect(haltedOf(refused.data).latch.stands).toBe(true)

    mkdirSync(join(dir, 'sessions/empty'))
    writeFileSync(join(dir, 'sessions/empty/live.json'), 'torn{')
    expect((await runProgram(dir, ['halt', 'sessions/empty'])).stderr).toMatch(/does not say where it trades any more/)
  })
})
