import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { makePracticeTape } from '../../adapters/practice/practice-tape.ts'
import { CLASSES, type ModelSummary, type OrderLine } from '../../reports/diverge/model.ts'
import { endAll, exchange } from '../support/live.ts'
import { PROGRAM, runJson, runProgram } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** A real session of the shipped program, against the local exchange over sockets, looked back at. */
const built = existsSync(PROGRAM)
afterEach(() => {
  endAll()
  removeFolders()
})

const SETTINGS = `limits:
  orderContracts: 50
  positionContracts: 200
  marketLossDollars: 200
  eventLossDollars: 400
  sessionLossDollars: 400
  ordersOpen: 50
  ordersPerSecond: 10
  collarCents: 20
  feedSilenceSeconds: 15
  orderAgeSeconds: 900
live:
  cashDollars: 500
  orderGroupContracts: 500
`

it.skipIf(!built)(
  `a live session on the local exchange: replayed bit for bit, every order explained, reported${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`,
  async () => {
    const dir = folder()
    writeFileSync(join(dir, 'tapeline.yaml'), SETTINGS)
    await makePracticeTape(join(dir, 'driving'), { seed: 3, markets: 2, days: 1, rate: 14 })
    const { access } = await exchange(dir, ['--tape', 'driving', '--scale', '8'])
    const what = ['lean', '--series', 'KXPRACTICE15M', ...access]
    const shown = await runProgram(dir, ['live', 'arm', ...what, '--unproven', 'a test', '--dry-run'])
    const phrase = /ARM lean [\d.,]+/.exec(shown.stdout)?.[0] ?? ''
    expect((await runProgram(dir, ['live', 'arm', ...what, '--unproven', 'a test', '--confirm', phrase])).code).toBe(0)
    const ran = await runJson(dir, ['live', ...what, '--unwatched', 'a test', '--duration', '20s', '--out', 's'])
    expect([ran.code, ran.errors]).toEqual([0, []])

    const replay = await runJson(dir, ['replay', 's'])
    expect([replay.code, replay.errors]).toEqual([0, []])
    expect(replay.data).toMatchObject({ mode: 'live', equal: true, intents: { wrong: [] } })
    expect((replay.data as { digest: string }).digest).toBe((ran.data as { digest: string }).digest)

    const diverge = await runJson(dir, ['diverge', 's'])
    expect([diverge.code, diverge.errors]).toEqual([0, []])
    const data = diverge.data as unknown as {
      models: ModelSummary[]
      orders: OrderLine[]
      delays: Record<string, number>
      live: { orders: number }
    }
    expect(data.orders.length).toBe(data.live.orders)
    expect(data.orders.length).toBeGreaterThan(0)
    for (const o of data.orders) {
      expect(CLASSES).toContain(o.class)
      expect(o.why.length).toBeGreaterThan(10)
    }
    // The exchange tells when it took an order: nothing is guessed.
    expect(data.orders.filter((o) => o.modelled).every((o) => o.basis === 'venue')).toBe(true)
    for (const delay of Object.values(data.delays)) expect(delay).toBeGreaterThan(0)
    const story = (await runProgram(dir, ['explain', 's', String(data.orders[0]?.order)])).stdout
    expect(story).toMatch(/written +intent to submit as \w+-1-\d+, on disk [\d.]+ (ms|s) later/)
    expect(story).not.toMatch(/ -[\d.]+ ms/)
    const page = readFileSync(join(dir, 's/report.html'), 'utf8')
    expect(page).toContain('Backtest, paper and live')
    expect(page).toContain('agreed in everything')
  },
  120_000,
)
