import { cpSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makePracticeTape } from '../../adapters/practice/practice-tape.ts'
import { SessionFolder } from '../../adapters/record/session-record.ts'
import { compareIntents } from '../../cli/live/intents.ts'
import { Database } from '../../data/parquet.ts'
import { readInputs } from '../../data/session-inputs.ts'
import type { FillModelName } from '../../engine/session.ts'
import { CLASSES, type ModelSummary, type OrderLine } from '../../reports/diverge/model.ts'
import { liveSession, type Truth } from '../support/live-session.ts'
import { paperSession } from '../support/paper-session.ts'
import { PROGRAM, runJson, runProgram } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** `diverge`, `replay` and `explain` of live sessions whose venue is known: what really happened is the fixture's, not the program's. */
const built = existsSync(PROGRAM)
afterAll(removeFolders)

type Data = {
  nearest: FillModelName | null
  shown: FillModelName
  models: ModelSummary[]
  orders: OrderLine[]
  free: { model: FillModelName; orders: number | null; failed: string | null }[]
  delays: Record<string, number>
  ledger: string[]
}
const MODELS = ['queue', 'strict', 'touch'] as const

describe.skipIf(!built)(`live sessions looked back at${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  const dir = folder()
  const at = (name: string): string => join(dir, name)
  const truths = new Map<string, Truth>()
  const diverge = async (name: string, ...more: string[]): Promise<Data> => {
    const answer = await runJson(dir, ['diverge', name, ...more])
    expect([answer.code, answer.errors]).toEqual([0, []])
    return answer.data as unknown as Data
  }
  beforeAll(async () => {
    await makePracticeTape(at('source'), { seed: 5, markets: 3, days: 1, rate: 14 })
    const trouble = { lost: 0.05, neverArrived: 0.05, notSent: 0.05, refused: 0.05 }
    for (const [k, model] of MODELS.entries())
      truths.set(model, (await liveSession(at(model), at('source'), { seed: 11 + k, model, ...trouble })).truth)
    await liveSession(at('segments'), at('source'), { seed: 21, ...trouble, foreign: true, dieAt: 9000, pause: true })
    truths.set('takers', (await liveSession(at('takers'), at('source'), { seed: 5, strategy: 'mean-reversion', feeMore: 100 })).truth)
    await liveSession(at('running'), at('source'), { seed: 31, finish: false, venueTimes: false })
    await paperSession(at('paper'), at('source'))
  }, 120_000)

  it.each(MODELS)(
    'finds out that the venue was %s: every order as it was, to the microsecond and the millionth of a dollar',
    async (model) => {
      const data = await diverge(model)
      const truth = truths.get(model) as Truth
      expect(data.nearest).toBe(model)
      const own = data.models.find((m) => m.model === model) as ModelSummary
      expect(own).toMatchObject({ liveOnly: 0, modelOnly: 0, contractError: 0, firstFillError: 0, feeError: 0, pnlError: 0, queueError: 0 })
      expect(own.both).toBeGreaterThan(2)
      expect(own.queueSamples).toBeGreaterThan(100)
      for (const other of data.models) if (other.model !== model) expect(other.contractError).toBeGreaterThan(0.05)
      // Against what the fixture kept, in which the program has no part.
      for (const line of data.orders) {
        const fills = truth.fills.get(line.order) ?? []
        const [quantity, cost, fees] = [
          fills.reduce((a, f) => a + f.quantity, 0),
          fills.reduce((a, f) => a + f.quantity * f.price, 0),
          fills.reduce((a, f) => a + f.fee, 0),
        ]
        expect([line.live.filled, line.live.cost, line.live.fees, line.live.firstFill]).toEqual([
          quantity,
          cost,
          fees,
          fills[0]?.timeVenue ?? null,
        ])
        if (line.modelled) expect(line.model).toEqual({ ...line.live, end: expect.any(String) })
      }
      for (const o of data.orders) expect(['absent', 'never-sent', 'rejected', 'same']).toContain(o.class)
      expect(data.orders.filter((o) => o.class === 'same').length).toBeGreaterThan(5)
      expect(data.orders.some((o) => o.unknownFor !== null && o.class === 'same')).toBe(true)
      expect(data.free.map((f) => f.failed)).toEqual([null, null, null])
    },
  )

  it('explains every order under every model, in text, JSON and CSV', async () => {
    const why: Partial<Record<FillModelName, string>> = {}
    let orders = 0
    for (const model of MODELS) {
      const data = await diverge('queue', '--fills', model)
      orders = data.orders.length
      why[model] = data.orders.map((o) => `${o.class}: ${o.why}`).join('\n')
      expect(data.shown).toBe(model)
      expect(data.models).toHaveLength(1)
      for (const line of data.orders) {
        expect(CLASSES).toContain(line.class)
        expect(line.why.length).toBeGreaterThan(20)
        if (line.modelled && line.live.filled !== line.model.filled)
          expect(['live-more', 'model-more', 'model-refused']).toContain(line.class)
      }
      expect(Object.values(data.models[0]?.classes ?? {}).reduce((a, n) => a + n, 0)).toBe(data.orders.length)
      const summary = data.models[0] as ModelSummary
      expect(summary.both + summary.neither + summary.liveOnly + summary.modelOnly).toBe(summary.orders)
      expect(summary.pnlModel - summary.pnlLive).toBe(
        data.orders.filter((o) => o.modelled).reduce((a, o) => a + (o.model.pnl ?? 0) - (o.live.pnl ?? 0), 0),
      )
    }
    expect(why.strict).toMatch(/^live-more: .*too pessimistic about the queue, it still had [\d.,]+ before the order/m)
    expect(why.touch).toMatch(/^model-more: .*too optimistic about the queue.*queue position as the venue told it last/m)
    const text = await runProgram(dir, ['diverge', 'queue', '--csv', 'orders.csv'])
    expect(text.stdout).toMatch(
      /queue is the nearest: filled or not as the venue did in (\d+) of \1 orders, 0\.0 % of the contracts differ/,
    )
    expect(text.stdout).toMatch(/its answer was lost \(timeout\), and 70\.0 s later it was proved that it never came to be/)
    const lines = readFileSync(at('orders.csv'), 'utf8').trim().split('\r\n')
    expect(lines).toHaveLength(1 + 3 * orders)
    expect(lines.every((l) => l.length > 50)).toBe(true)
  })

  it('tells fees that the formula does not know, and measures delays from outcomes', async () => {
    const data = await diverge('takers')
    expect(data.models[0]).toMatchObject({ contractError: 0 })
    const filled = data.orders.filter((o) => o.live.filled > 0)
    expect(filled.length).toBeGreaterThan(3)
    for (const o of filled)
      expect([o.class, o.why]).toEqual(['fee', expect.stringMatching(/the same fills, and fees of \$0\.\d{4} and in the model/)])
    expect(data.models[0]?.feeError).toBe(filled.reduce((a, o) => a + 100 * (truths.get('takers')?.fills.get(o.order)?.length ?? 0), 0))
    const writes = (await readInputs(at('takers'))).flatMap((i) =>
      i.kind === 'outcome' ? [i.detail as { type: string; sent: number; answered: number; order: number }] : [],
    )
    const halves = writes.map((w) => (w.answered - w.sent) / 2).sort((a, b) => a - b)
    expect(data.delays['answer']).toBe(Math.round(halves[Math.floor(halves.length / 2)] as number))
  })

  it('a paper session is its own model: nothing differs, and the others do', async () => {
    const data = await diverge('paper')
    expect(data.nearest).toBe('queue')
    expect(new Set(data.orders.map((o) => o.class))).toEqual(new Set(['same']))
    expect(data.models.map((m) => (m.contractError ?? 0) > 0)).toEqual([false, true, true])
    expect(data.models[0]).toMatchObject({ pnlError: 0, feeError: 0, firstFillError: 0 })
    // And run free it is itself again: the same orders.
    expect(data.free[0]?.orders).toBe(data.orders.length)
  })

  it('a session that still runs is compared as far as it is written, and arrivals that nobody told are half a round trip', async () => {
    const data = await diverge('running')
    expect(data).toMatchObject({ complete: false, nearest: 'queue' })
    expect(data.models[0]?.both).toBeGreaterThan(5)
    expect(data.models[0]?.contractError).toBeLessThan(0.1)
    expect(new Set(data.orders.map((o) => o.basis))).toEqual(new Set(['half']))
  })

  it('refuses books that do not add up (exit 9), and wrong input in one sentence', async () => {
    cpSync(at('running'), at('twice'), { recursive: true })
    const inputs = await readInputs(at('twice'))
    const fill = inputs.find((i) => i.kind === 'news' && (i.detail as { type: string }).type === 'fill')
    const session = await SessionFolder.open(at('twice'), { durable: false })
    session.input(fill as (typeof inputs)[number])
    await session.leave()
    const twice = await runJson(dir, ['diverge', 'twice'])
    expect([twice.code, twice.errors[0]]).toMatchObject([
      9,
      { code: 'LEDGER_MISMATCH', message: expect.stringMatching(/trade t0 of the venue entered twice/) },
    ])
    await runProgram(dir, ['backtest', '--tape', 'source', '--strategy', 'lean', '--out', 'run', '--quiet'])
    const cases: [string[], number, RegExp][] = [
      [['nowhere'], 4, /nowhere is no session \(no session\.json/],
      [['run'], 4, /run is a backtest, not a paper or live session/],
      [['queue', '--fills', 'prints'], 2, /--fills prints: the tape of this session can carry queue, strict, touch/],
      [['queue', '--fills', 'queue', '--fills', 'touch'], 2, /fills/],
    ]
    for (const [args, code, text] of cases) {
      const r = await runProgram(dir, ['diverge', ...args])
      expect([args.join(' '), r.code, r.stderr]).toEqual([args.join(' '), code, expect.stringMatching(text)])
      expect(r.stderr.trim().split('\n')).toHaveLength(1)
    }
  })

  it('is replayed bit for bit, across segments, with every intent beside its command', async () => {
    for (const name of ['queue', 'segments', 'takers', 'running']) {
      const r = await runJson(dir, ['replay', name])
      expect([name, r.code, r.errors]).toEqual([name, 0, []])
      const data = r.data as {
        digest: string
        digestRecorded: string | null
        segments: number
        news: number
        intents: { intents: number; commands: number; neverSent: unknown[]; wrong: unknown[] }
      }
      if (name !== 'running') expect(data.digest).toBe(data.digestRecorded)
      expect(data.segments).toBe(name === 'segments' ? 2 : 1)
      expect(data.news).toBeGreaterThan(20)
      expect(data.intents.intents).toBeGreaterThan(10)
      expect(data.intents).toMatchObject({ commands: data.intents.intents, neverSent: [], wrong: [] })
    }
    expect((await runProgram(dir, ['replay', 'segments'])).stdout).toMatch(/the same journal and samples, bit for bit: .* 2 segments/)
  })

  it('a replay that does not lead to the journal is exit 9 with the row', async () => {
    cpSync(at('takers'), at('changed'), { recursive: true })
    const db = await Database.open()
    await db.copy(
      `SELECT * FROM read_parquet('${at('takers')}/inputs.parquet') WHERE NOT contains(detail, '"trade":"t1"')`,
      at('changed/inputs.parquet'),
    )
    db.close()
    const r = await runProgram(dir, ['replay', 'changed'])
    expect([r.code, r.stderr]).toEqual([
      9,
      expect.stringMatching(/changed: row \d+ of the journal is another one\n {2}recorded .* fill taker/),
    ])
    // And its books do not add up either: a fill that the venue never told.
    expect((await runProgram(dir, ['diverge', 'changed'])).stderr).toMatch(
      /the journal has a fill that the venue never told \(row \d+, order \d+\)/,
    )
  })

  it('compares intents with commands: what was never sent, what nobody asked for, what says something else', () => {
    const command = { order: 1, type: 'submit', ticker: 'A', side: 'bid', price: 4000, quantity: 100 } as const
    const intent = (kind: string, number: number | null, more: object = {}) => ({
      row: 0,
      time: 0,
      kind: 'intent',
      detail: { kind, command: number, attempt: 1, order: 1, ticker: 'A', side: 'bid', price: 4000, quantity: 100, ...more },
    })
    const cancel = { ...command, type: 'cancel' } as const
    expect(compareIntents([command, { ...command, order: 2 }], [intent('create', 0)])).toMatchObject({
      intents: 1,
      commands: 2,
      wrong: [],
      neverSent: [{ order: 2 }],
    })
    expect(compareIntents([command], [intent('create', 0, { price: 4100 })]).wrong).toEqual([
      'intent create of order 1, for command 0, says bid 100 at 4100 in A (1/100 contract, 1/10,000 $), and the engine said submit bid 100 at 4000 in A (1/100 contract, 1/10,000 $)',
    ])
    expect(compareIntents([], [intent('create', 3)]).wrong[0]).toMatch(/has no command: the engine never asked for it/)
    // A command may leave once; what only takes away risk may be said again.
    expect(compareIntents([command], [intent('create', 0), intent('create', 0, { attempt: 2 })]).wrong).toHaveLength(1)
    expect(
      compareIntents([command, cancel], [intent('create', 0), intent('cancel', 1), intent('cancel', 1, { attempt: 2 })]),
    ).toMatchObject({ repeated: 1, wrong: [] })
    // The shell's own are what takes back, never what adds.
    expect(compareIntents([], [intent('group-trigger', null), intent('cancel', null)])).toMatchObject({ beside: 2, wrong: [] })
    expect(compareIntents([], [intent('create', null)]).wrong).toHaveLength(1)
  })

  it('explain tells the intent, the outcome, the delays, the queue and the trades of an order', async () => {
    const data = await diverge('queue')
    const lost = data.orders.find((o) => o.unknownFor !== null && o.live.filled > 0) as OrderLine
    const text = (await runProgram(dir, ['explain', 'queue', String(lost.order)])).stdout
    expect(text).toContain(`sent as fixture-0-${lost.order}, at the venue v${lost.order}`)
    expect(text).toMatch(/written +intent to \w+ as fixture-0-\d+, on disk [\d.]+ ms later/)
    expect(text).toMatch(
      /outcome +\w+ unknown: nothing that could be trusted came back \(timeout\); bytes left [\d.]+ ms after the decision/,
    )
    expect(text).toMatch(/known again after [\d.]+ s: /)
    expect(text).toMatch(/filled .*; trade t\d+, heard/)
    const story = (await runJson(dir, ['explain', 'queue', String(lost.order)])).data as {
      live: { client: string; trades: { trade: string }[]; queue: unknown[] }
      events: { kind: string; text: string; time: number }[]
    }
    expect(story.live.trades.length).toBe(truths.get('queue')?.fills.get(lost.order)?.length)
    const times = story.events.filter((e) => e.kind !== 'after' && e.kind !== 'saw').map((e) => e.time)
    expect(times).toEqual([...times].sort((a, b) => a - b))
    const absent = data.orders.find((o) => o.class === 'absent') as OrderLine
    expect((await runProgram(dir, ['explain', 'queue', String(absent.order)])).stdout).toMatch(
      /proved absent: it never came to be[\s\S]*its answer was lost, and it was proved/,
    )
  })
})
