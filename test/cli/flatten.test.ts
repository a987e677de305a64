import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { heldText } from '../../cli/live/flatten-text.ts'
import type { MarketEnd } from '../../engine/session.ts'
import { endDrill, startEngine, startExchange, until } from '../support/drill.ts'
import { PROGRAM, runJson, runProgram } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** Flattening by the shipped program: what it costs, who may, what became of it. */
const built = existsSync(PROGRAM)
afterEach(async () => {
  await endDrill()
  removeFolders()
})
type Flattened = {
  readonly orders: readonly { readonly client: string; readonly outcome: string; readonly filled: number | null }[]
  readonly fills: readonly {
    readonly quantity: number
    readonly price: number
    readonly fee: number
    readonly side: string
    readonly ticker: string
  }[]
  readonly plan: {
    readonly cost: number
    readonly markets: readonly {
      readonly ticker: string
      readonly limit: number
      readonly mark: number
      readonly worst: { readonly cost: number }
    }[]
  }
  readonly left: readonly unknown[] | null
}

it('is named at the end of a session for what is still held, and not for what pays by itself', () => {
  const market = (ticker: string, position: number, result: string | null = null) => ({ ticker, position, result }) as MarketEnd
  expect(heldText({ markets: [market('A', 0), market('B', 500, 'yes')] }, 's')).toBe('')
  expect(heldText({ markets: [market('A', 1000), market('B', -250), market('C', 0)] }, 's')).toBe(
    'STILL HELD, by its record: A YES 10, B NO 2.5; npx tapeline flatten s closes them',
  )
})

describe.skipIf(!built)(`tapeline flatten${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('refuses while the engine trades, shows its cost, closes for no more than was agreed to, and never sends an order twice', async () => {
    const dir = folder()
    const x = await startExchange(dir)
    const engine = await startEngine(dir, x, 'sessions/s', { buy: 7 })
    await until('it holds something', async () => (await x.positions()).length > 0)
    const running = await runProgram(dir, ['flatten', 'sessions/s', '--confirm', 'FLATTEN 1 markets 100'])
    expect([running.code, running.stderr]).toEqual([
      5,
      expect.stringMatching(/is running .*: two hands on one position end badly; `tapeline halt/),
    ])

    engine.child.kill('SIGKILL')
    await engine.ended
    const open = await runProgram(dir, ['flatten', 'sessions/s', '--dry-run'])
    expect([open.code, open.stderr]).toEqual([5, expect.stringMatching(/orders are open in subaccount 0/)])
    expect((await runProgram(dir, ['halt', 'sessions/s'])).code).toBe(0)

    const dry = await runProgram(dir, ['flatten', 'sessions/s', '--dry-run'])
    console.log(dry.stdout)
    expect([dry.code, dry.stdout]).toEqual([
      0,
      expect.stringMatching(/^DRY RUN.*\n[^]*sell 7 [^]*at worst it costs \$\d+\.\d\d [^]*--confirm "FLATTEN 1 markets \d+\.\d\d"\n$/),
    ])
    for (const confirm of ['yes', 'FLATTEN 2 markets 100', 'FLATTEN 1 markets 0.01']) {
      const refused = await runProgram(dir, ['flatten', 'sessions/s', '--confirm', confirm])
      expect([refused.code, refused.stderr]).toEqual([5, expect.stringMatching(/nothing was done: the confirmation is not the one/)])
    }
    expect((await x.positions()).map((p) => Number(p.position_fp))).toEqual([7])

    // The answer is lost: it may have been filled, and is not sent again.
    const orders = (await x.orders()).length
    await x.say('/faults', { on: 'request', do: 'lose-response', operation: 'CreateOrderV2', times: 1 })
    const lost = await runJson(dir, ['flatten', 'sessions/s', '--confirm', 'FLATTEN 1 markets 100'])
    expect([lost.code, (lost.data as Flattened).orders.map((o) => o.outcome)]).toEqual([7, ['unknown']])
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect((await x.orders()).length).toBe(orders + 1)
    const held = (await x.positions()).reduce((a, p) => a + Number(p.position_fp), 0)
    const lines = readFileSync(join(dir, 'sessions/s/flatten-0.ndjson'), 'utf8')
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l) as { what: string })
    expect(lines.map((l) => l.what)).toEqual(['flatten', 'intent', 'outcome', 'flattened'])
    expect(held).toBeLessThanOrEqual(7)
  })

  it('closes long and short, by the fills no worse than it said', async () => {
    const dir = folder()
    const x = await startExchange(dir)
    const engine = await startEngine(dir, x, 'sessions/s', { buy: 7, sell: 1 })
    await until('it holds something', async () => (await x.positions()).length > 1)
    expect((await runProgram(dir, ['halt', 'sessions/s'])).code).toBe(0)
    const wrong = await runProgram(dir, ['flatten', 'sessions/s', '--market', 'NOPE', '--dry-run'])
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringMatching(/nothing is held in NOPE: held is \S+, \S+\n/)])
    const flat = await runJson(dir, ['flatten', 'sessions/s', '--confirm', 'FLATTEN 2 markets 100', '--collar-cents', '20'])
    const data = flat.data as Flattened
    expect([flat.code, data.orders.map((o) => o.outcome), data.left]).toEqual([0, ['acknowledged', 'acknowledged'], []])
    // The engine lives all the while, and does nothing.
    expect(engine.child.exitCode).toBeNull()
    await until('the exchange says so too', async () => (await x.positions()).every((p) => Number(p.position_fp) === 0))
    for (const f of data.fills) {
      const m = data.plan.markets.find((p) => p.ticker === f.ticker)
      expect(f.side === 'ask' ? f.price - (m?.limit ?? 0) : (m?.limit ?? 0) - f.price).toBeGreaterThanOrEqual(0)
    }
    const fees = data.fills.reduce((a, f) => a + f.fee, 0)
    expect(fees).toBeGreaterThan(0)
    expect(new Set(data.orders.map((o) => o.client)).size).toBe(2)
    const again = await runJson(dir, ['flatten', 'sessions/s'])
    expect([again.code, (again.data as Flattened).plan.markets]).toEqual([0, []])
  })
})
