import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { provedOf } from '../../cli/live/proved.ts'
import { gather } from '../../cli/promote/evidence.ts'
import { identityOf } from '../../cli/promote/identity.ts'
import { judge, reached, type Gate } from '../../cli/promote/judge.ts'
import { promotionOf, promotionPath, writePromotion } from '../../cli/promote/record.ts'
import { readThresholds, Thresholds, thresholdsText } from '../../cli/promote/thresholds.ts'
import type { FillModelName, SessionHeader } from '../../engine/session.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import { PROGRAM, runJson, runProgram } from '../support/program.ts'
import { header as headerOf } from '../support/session.ts'

/** How far a strategy may go: evidence from folders, gates against thresholds, and the record. */
const dir = mkdtempSync(join(tmpdir(), 'tapeline-promote-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
let folders = 0
const folder = (): string => {
  const at = join(dir, `f${folders++}`)
  mkdirSync(at)
  return at
}

const SHA = 'a'.repeat(64)
const strategies: SessionHeader['strategies'] = [{ name: 'mine', parameters: { size: 1 }, source: { file: 'mine.ts', sha256: SHA } }]
const identity = identityOf(strategies, '0.1.0')
const DAY = 86_400_000_000

type Run = {
  mode?: SessionHeader['mode']
  fills?: FillModelName
  tape?: string
  practice?: boolean
  parameters?: SessionHeader['strategies'][number]['parameters']
  sha?: string
  days?: number
  start?: number
  count?: number
  net?: number
  digest?: string
  complete?: boolean
  reason?: string
  strings?: string[]
  seed?: number
}
let runs = 0
/** A folder as a session leaves it, with ten markets of ten events. */
function run(root: string, r: Run = {}): string {
  const at = join(root, `r${runs++}`)
  mkdirSync(at, { recursive: true })
  const base = headerOf()
  const header: SessionHeader = {
    ...base,
    mode: r.mode ?? 'backtest',
    version: '0.1.0',
    seed: r.seed ?? 1,
    tape: { ...base.tape, name: r.tape ?? 't', manifest: r.tape ?? 't', practice: r.practice ?? false, coverage: 1 },
    strategies: [{ name: 'mine', parameters: r.parameters ?? { size: 1 }, source: { file: 'x.ts', sha256: r.sha ?? SHA } }],
    fills: r.fills ?? 'queue',
  }
  const { count = 100, net = 10_000_000, start = 0, days = 10 } = r
  const end = {
    complete: r.complete ?? true,
    reason: r.reason ?? 'end of tape',
    firstTime: start * DAY,
    lastTime: (start + days) * DAY,
    equity: header.cash + net,
    fills: count,
    owners: [{ filled: count * 100 }],
    markets: Array.from({ length: 10 }, (_, i) => ({
      ticker: `${r.tape ?? 't'}-${i}`,
      event: `${r.tape ?? 't'}${i}`,
      fills: count / 10,
      pnl: net / 10,
    })),
  }
  writeFileSync(join(at, 'session.json'), JSON.stringify(header))
  writeFileSync(join(at, 'end.json'), JSON.stringify({ digest: r.digest ?? `d${runs}`, end, strings: r.strings ?? [] }))
  return at
}
const T = Thresholds.parse({ paper: { days: 20, fills: 200, markets: 20, events: 20 }, demo: { days: 2, fills: 50, drills: ['gap'] } })
function gatesOf(root: string, t = T): Map<string, Gate> {
  return new Map(judge(gather(identity, [root]), t).map((g) => [`${g.level} ${g.name}`, g]))
}
const said = (gates: Map<string, Gate>, name: string): string =>
  `${gates.get(name)?.passed === true ? 'ok' : 'NO'} ${gates.get(name)?.found}`

describe('evidence', () => {
  it('is of one code with one set of parameters, whatever it is called; others are counted as trials', () => {
    const at = folder()
    run(at)
    run(at, { parameters: { size: 2 }, count: 5000 })
    run(at, { parameters: { size: 3 }, count: 5000 })
    run(at, { sha: 'b'.repeat(64), count: 5000 })
    const { backtests, trials } = gather(identity, [at, at])
    expect([backtests.length, trials]).toEqual([1, 2])
    // The order of parameters says nothing; a built-in strategy is its version.
    const two = (parameters: Record<string, number>, version = '1') => identityOf([{ name: 'lean', parameters }], version).hash
    expect(two({ a: 1, b: 2 })).toBe(two({ b: 2, a: 1 }))
    expect(new Set([two({ a: 1 }), two({ a: 2 }), two({ a: 1 }, '2'), identity.hash]).size).toBe(4)
    expect(identityOf([...strategies, ...strategies], '1').hash).not.toBe(identity.hash)
  })

  it('counts nothing twice: a tape that was run ten times is one tape, hours shared are counted once', () => {
    const at = folder()
    for (let i = 0; i < 10; i++) run(at, { seed: i })
    run(at, { tape: 'u', start: 5, days: 10 })
    const gates = gatesOf(at)
    expect([said(gates, 'paper days of tape'), said(gates, 'paper fills'), said(gates, 'paper markets')]).toEqual([
      'NO 15.0',
      'ok 200',
      'ok 20',
    ])
  })

  it('leaves out what has not ended or cannot be read, and says which', () => {
    const at = folder()
    const [broken, odd] = [run(at), run(at)]
    writeFileSync(join(broken, 'end.json'), '{')
    writeFileSync(join(odd, 'session.json'), JSON.stringify({ schema: 'tapeline.session/1', mode: 'dream' }))
    rmSync(join(run(at), 'end.json'))
    mkdirSync(join(run(at), 'log'))
    const { backtests, unread } = gather(identity, [at, join(at, 'nowhere')])
    expect(backtests).toEqual([])
    expect(unread).toEqual([expect.stringMatching(/end\.json: it cannot be read as JSON/), expect.stringMatching(/session\.json: mode: /)])
  })
})

describe('gates', () => {
  it('want every fill model of each tape, and judge by the worst of each', () => {
    const at = folder()
    run(at, { fills: 'queue', net: 5e6 })
    run(at, { fills: 'touch', net: 9e6 })
    expect(said(gatesOf(at), 'paper fill models')).toBe('NO t lacks strict')
    run(at, { fills: 'strict', net: -1e6 })
    const gates = gatesOf(at)
    expect(said(gates, 'paper fill models')).toBe('ok strict −$1.00, queue $5.00, touch $9.00')
    expect(said(gates, 'paper net at the worst model')).toBe('NO −$1.00 (strict)')
    // Another seed of the same tape is no other tape, and does not complete the band of this one.
    run(at, { fills: 'strict', net: 50e6, seed: 2 })
    expect(said(gatesOf(at), 'paper net at the worst model')).toBe('NO −$1.00 (strict)')
  })

  it('believe a digest that came out twice, and no run of which another came out', () => {
    const at = folder()
    const first = run(at, { digest: 'x' })
    expect(said(gatesOf(at), 'paper run again, same digest')).toMatch(/^NO 0/)
    writeFileSync(
      join(first, 'proofs.json'),
      JSON.stringify({ schema: 'tapeline.proofs/1', proofs: [{ what: 'again', digest: 'other', equal: true }] }),
    )
    expect(said(gatesOf(at), 'paper run again, same digest')).toMatch(/^NO 0/)
    writeFileSync(
      join(first, 'proofs.json'),
      JSON.stringify({ schema: 'tapeline.proofs/1', proofs: [{ what: 'again', digest: 'x', equal: true }] }),
    )
    expect(said(gatesOf(at), 'paper run again, same digest')).toBe('ok 1')
    rmSync(join(first, 'proofs.json'))
    run(at, { digest: 'x' })
    expect(said(gatesOf(at), 'paper run again, same digest')).toMatch(/^ok/)
    run(at, { digest: 'y' })
    expect(said(gatesOf(at), 'paper run again, same digest')).toMatch(/^NO .* came to ANOTHER digest/)
  })

  it('hold a paper session to the backtest of its own tape, to its replay, and to a calm end', () => {
    const at = folder()
    const paper = run(at, { mode: 'paper', tape: 'own', days: 3, count: 100, net: 1e6, digest: 'p', reason: 'its time is over' })
    const names = ['demo paper as its backtest', 'demo replays equal', 'demo sessions with an incident', 'demo drill gap']
    const all = (): string[] => names.map((n) => said(gatesOf(at), n))
    expect(all()).toEqual(['NO 0 of 1 compared (backtest --tape <session>/tape)', 'NO 0 of 1', 'ok 0', 'NO never run'])
    // Two cents a contract apart are too many: 100 contracts, two dollars.
    const back = run(at, { tape: 'own', count: 95, net: 3e6 })
    expect(all()[0]).toMatch(/^NO 1 of 1 compared: at most 5 %, 2\.\d\d ¢/)
    rmSync(back, { recursive: true })
    run(at, { tape: 'own', count: 95, net: 1.2e6 })
    const replay = (equal: boolean): void =>
      writeFileSync(
        join(paper, 'proofs.json'),
        JSON.stringify({ schema: 'tapeline.proofs/1', proofs: [{ what: 'replay', digest: 'p', equal }] }),
      )
    replay(true)
    const drill = (time: string, passed: boolean): void => {
      const session = join(at, `drill${time}`)
      mkdirSync(session)
      const drills = [{ name: 'gap', passed, runs: 3, failures: passed ? [] : ['seed 7: an order was doubled'], figures: {} }]
      writeFileSync(
        join(session, 'drill.json'),
        JSON.stringify({ schema: 'tapeline.drill/1', version: '0.1.0', time, environment: 'local', strategy: null, drills }),
      )
    }
    drill('2026-01-01', true)
    expect(all()).toEqual([expect.stringMatching(/^ok 1 of 1/), 'ok 1 of 1', 'ok 0', 'ok passed 3 times (2026-01-01)'])
    // The sample of the backtests is not the session's own tape.
    expect(said(gatesOf(at), 'paper fills')).toBe('NO 0')
    drill('2026-02-01', false)
    replay(false)
    run(at, { mode: 'paper', tape: 'other', complete: false, reason: 'the feed ended', count: 0 })
    expect(all()).toEqual([
      expect.stringMatching(/^ok 1 of 1/),
      expect.stringMatching(/^NO .* DIVERGED/),
      expect.stringMatching(/^NO 1: .* \(it ended early: the feed ended\)/),
      'NO FAILED: seed 7: an order was doubled',
    ])
  })

  it('hold live sessions to their reconciliations, and take a proof of another session for none', () => {
    const at = folder()
    const live = run(at, { mode: 'live', tape: 'l', days: 8, count: 30, digest: 'l' })
    const proof = (more: object): void =>
      writeFileSync(
        join(live, 'live-proof.json'),
        JSON.stringify({
          schema: 'tapeline.live-proof/1',
          digest: 'l',
          environment: 'demo',
          level: 'demo',
          unproven: null,
          reconciliations: { passes: 500, differences: 0 },
          unknown: { total: 3, unresolved: 0 },
          slippageCents: 0.2,
          incidents: [],
          ...more,
        }),
      )
    const names = [
      'days at the demo exchange',
      'reconciliations',
      'differences with the exchange',
      'unknown outcomes resolved',
      'sessions with an incident',
    ]
    const all = (): string[] => names.map((n) => said(gatesOf(at), `canary ${n}`))
    proof({})
    expect(all()).toEqual(['ok 8.0', 'ok 500', 'ok 0', 'ok 3 of 3', 'ok 0'])
    proof({ reconciliations: { passes: 500, differences: 1 }, unknown: { total: 3, unresolved: 1 }, incidents: ['the clock went back'] })
    expect(all()).toEqual(['ok 8.0', 'ok 500', 'NO 1', 'NO 2 of 3', expect.stringMatching(/^NO 1: .*the clock went back/)])
    proof({ digest: 'another' })
    expect([all()[0], gather(identity, [at]).unread]).toEqual(['NO 0.0', [expect.stringMatching(/it is of another session/)]])
    // Production counts for live, not for canary.
    proof({ environment: 'production' })
    expect([all()[0], said(gatesOf(at), 'live fills as a canary'), said(gatesOf(at), 'live slippage')]).toEqual([
      'NO 0.0',
      'NO 30',
      'ok at most 0.20 ¢ (1 of 1 compared)',
    ])
  })

  it('do not count practice data, but where the thresholds say so', () => {
    const at = folder()
    for (const fills of ['queue', 'strict', 'touch'] as const) run(at, { fills, practice: true, days: 30, count: 1000 })
    run(at, { practice: true, digest: 'd', seed: 5 })
    run(at, { practice: true, digest: 'd', seed: 5 })
    const easy = { ...T, paper: { ...T.paper, markets: 5, events: 5 } }
    expect(reached(judge(gather(identity, [at]), easy))).toBe('backtest')
    expect(reached(judge(gather(identity, [at]), { ...easy, practice: true }))).toBe('paper')
  })

  it('come from a file whose mistakes are all told, each with its place, and print as one that says the same', async () => {
    const at = folder()
    writeFileSync(join(at, 'gates.yaml'), 'practise: true\npaper:\n  day: 3\n  fills: many\ndemo:\n  drills: restart\ncanary: 5\n')
    const { code, errors } = await runJson(at, ['promote', 'gates'])
    expect([code, errors.map((e) => e.message)]).toEqual([
      3,
      [
        'gates.yaml:1:1 practise: unknown; did you mean practice?',
        'gates.yaml:3:3 paper.day: unknown; did you mean days?',
        'gates.yaml:4:10 paper.fills: expected number, received string',
        'gates.yaml:6:11 demo.drills: expected a list such as [restart, gap]',
        expect.stringMatching(/^gates\.yaml:7:9 canary: expected object/),
      ],
    ])
    const file = join(at, 'g.yaml')
    writeFileSync(file, thresholdsText(T))
    expect(readThresholds(file).thresholds).toEqual(T)
    writeFileSync(file, 'paper:\n')
    expect(readThresholds(file).thresholds).toEqual(Thresholds.parse({}))
  })
})

describe('a promotion', () => {
  const made = { level: 'canary' as const, by: 'me', version: '0.1.0', limits: LIMITS_DEFAULT, gates: [] }
  const proved = (sessions: string, environment: string, limits = LIMITS_DEFAULT, of = identity): string =>
    provedOf({ sessions, identity: of, environment, limits, version: '0.1.0' }).lacks.join('; ')
  const tight = { ...LIMITS_DEFAULT, sessionLossMax: 50e6, orderMax: 500 }

  it('holds for its hash, its level, its caps and its limits, and for nothing beyond', () => {
    const at = folder()
    expect(proved(at, 'demo')).toMatch(/has no promotion, and demo asks for demo/)
    writePromotion(at, identity, made, T)
    expect([proved(at, 'http://127.0.0.1:1'), proved(at, 'demo'), proved(at, 'production', tight)]).toEqual(['', '', ''])
    expect(proved(at, 'production')).toMatch(
      /a canary may lose \$50, and .* is 2000: lower it; an order of a canary has at most 5 contracts/,
    )
    expect(proved(at, 'demo', { ...LIMITS_DEFAULT, collar: LIMITS_DEFAULT.collar + 100 })).toMatch(
      /limits\.collarCents was 10 and is 11: it was never run/,
    )
    const other = identityOf([{ name: 'mine', parameters: { size: 2 }, source: { file: 'm.ts', sha256: 'b'.repeat(64) } }], '0.1.0')
    expect(provedOf({ sessions: at, identity: other, environment: 'demo', limits: LIMITS_DEFAULT, version: '0.1.0' })).toMatchObject({
      promotion: null,
      differences: [
        expect.stringMatching(/promoted is another mine/),
        expect.stringMatching(/code of mine was a+ and is b+/),
        'mine.size was 1 and is 2',
      ],
    })
    expect(provedOf({ sessions: at, identity, environment: 'demo', limits: tight, version: '9' }).differences).toEqual([
      'it was proved with Tapeline 0.1.0, and this is 9',
      expect.stringMatching(/orderContracts was 100 and is 5 \(tighter\)/),
      expect.stringMatching(/sessionLossDollars was 2000 and is 50 \(tighter\)/),
    ])
    expect(() => writePromotion(at, identity, { ...made, level: 'paper' }, T)).toThrow(/is promoted to canary already/)
    const practice = folder()
    writePromotion(practice, identity, made, { ...T, practice: true })
    expect([proved(practice, 'http://127.0.0.1:1'), proved(practice, 'demo')]).toEqual(['', expect.stringMatching(/counts practice data/)])
  })

  it('is refused when it was changed, or stands under the name of another; and runs that changed since take it back', () => {
    const at = folder()
    const rest = run(at, { digest: 'd' })
    const gates = [{ level: 'paper' as const, name: 'x', wanted: '', found: '', passed: true, rests: [{ folder: rest, digest: 'd' }] }]
    const { path } = writePromotion(at, identity, { ...made, gates }, T)
    expect(proved(at, 'demo')).toBe('')
    writeFileSync(join(rest, 'end.json'), '{"digest":"e"}')
    expect(proved(at, 'demo')).toMatch(/is another run by now: promote it anew/)
    rmSync(rest, { recursive: true })
    expect(proved(at, 'demo')).toBe('')
    const text = readFileSync(path, 'utf8')
    for (const changed of [
      text.replace('canary', 'live'),
      text.replace(identity.hash, 'c'.repeat(64)),
      text.replace('"seal": "', '"seal": "0'),
      `${text} `,
      '{}',
      'x',
    ]) {
      writeFileSync(path, changed)
      expect(() => proved(at, 'demo')).toThrow(/so nothing is taken from it: make a new one with `tapeline promote request`/)
    }
    const other = identityOf([{ name: 'other', parameters: {} }], '1')
    writeFileSync(promotionPath(at, other), text)
    expect(() => promotionOf(at, other)).toThrow(/is the promotion of mine \w{8} under another name/)
  })
})

const built = existsSync(PROGRAM)
describe.skipIf(!built)(`tapeline promote${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('asks for what lacks, writes a record when nothing does, and reads every run again before it believes it', async () => {
    const at = folder()
    await runProgram(at, ['data', 'practice', '--seed', '3', '--markets', '10', '--tape', 'tapes/t'])
    writeFileSync(
      join(at, 'gates.yaml'),
      'practice: true\npaper: { days: 0.01, markets: 1, fills: 1, events: 1, netWorstDollars: -10000, netWithoutBestDollars: -10000 }\n',
    )
    const backtest = (model: string) => runJson(at, ['backtest', '--tape', 'tapes/t', '--strategy', 'lean', '--fills', model])
    const run = (await backtest('queue')).data?.['run'] as string
    const strict = (await backtest('strict')).data?.['run'] as string
    await backtest('touch')
    const lacking = await runJson(at, ['promote', 'request', 'lean'])
    expect([lacking.code, (lacking.data?.['missing'] as Gate[] | undefined)?.map((g) => g.name)]).toEqual([5, ['run again, same digest']])
    await backtest('queue')
    const other = await runJson(at, ['promote', 'request', 'lean', '--param', 'size=3'])
    expect([other.code, other.data?.['runs']]).toEqual([5, { backtests: 0, paper: 0, live: 0, drills: 0, trials: 1 }])
    const end = readFileSync(join(at, run, 'end.json'), 'utf8')
    const tampered = async (change: string, what: RegExp): Promise<void> => {
      writeFileSync(join(at, run, 'end.json'), change)
      const ran = await runProgram(at, ['promote', 'request', 'lean'])
      expect([ran.code, ran.stdout]).toEqual([5, expect.stringMatching(what)])
      writeFileSync(join(at, run, 'end.json'), end)
    }
    await tampered(end.replace(/"equity": (\d+)/, '"equity": 99999999999'), /its numbers do not follow from its journal/)
    const journal = readFileSync(join(at, run, 'journal.parquet'))
    // The journal of another run under this one's name.
    writeFileSync(join(at, run, 'journal.parquet'), readFileSync(join(at, strict, 'journal.parquet')))
    await tampered(end, /runs\/lean-t-/)
    writeFileSync(join(at, run, 'journal.parquet'), journal)
    expect(existsSync(join(at, 'sessions'))).toBe(false)
    const dry = await runProgram(at, ['promote', 'request', 'lean', '--dry-run'])
    expect([dry.code, dry.stdout, existsSync(join(at, 'sessions'))]).toEqual([
      0,
      expect.stringMatching(/would be promoted to paper/),
      false,
    ])
    const done = await runJson(at, ['promote', 'request', 'lean', '--by', 'somebody'])
    expect([done.code, done.data?.['requested'], done.data?.['written']]).toEqual([0, 'paper', true])
    const status = await runJson(at, ['promote', 'status', 'lean'])
    expect(status.data).toMatchObject({ promotion: { level: 'paper', by: 'somebody', practice: true }, gatesReached: 'paper' })
    const again = await runProgram(at, ['promote', 'request', 'lean'])
    expect([again.code, again.stderr]).toEqual([5, expect.stringMatching(/not promoted to demo: \d+ of \d+ gates/)])
  }, 180_000)
})
