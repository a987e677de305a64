import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Notices } from '../../cli/notices.ts'
import { writeSnapshot, type SessionSnapshot } from '../../cli/session-status.ts'
import { statusText } from '../../cli/status-text.ts'
import { PROGRAM, runJson, runProgram } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** What is told of sessions, and which is meant where none is named. */
const built = existsSync(PROGRAM)
afterEach(removeFolders)

const T = 1_790_000_000_000
type More = Omit<Partial<SessionSnapshot>, 'feed' | 'orders'> & {
  feed?: Partial<SessionSnapshot['feed']>
  orders?: Partial<SessionSnapshot['orders']>
}
function snapshot(session: string, { feed, orders, ...more }: More = {}): SessionSnapshot {
  return {
    schema: 'tapeline.status/1',
    session,
    mode: 'paper',
    pid: process.pid,
    // Fresh for as long as the test runs.
    written: Date.now() + 60_000,
    started: Date.now() - 3_600_000,
    ended: null,
    state: { name: 'trading', since: T * 1000, cause: 'feed-synced', hold: null },
    time: T * 1000,
    ran: T * 1000,
    strategies: ['lean'],
    wrong: [],
    remarks: [],
    feed: {
      environment: 'local',
      connections: [{ name: 'socket-0', state: 'open', connects: 1, stale: false, silent: 40_000 }],
      uptime: 1,
      lag: null,
      marketsSynced: 2,
      marketsUnsynced: 0,
      unsynced: [],
      troubles: {},
      rowsWaiting: 0,
      rowsDropped: 0,
      gaps: 0,
      audits: 0,
      auditsEqual: 0,
      ...feed,
    },
    orders: {
      working: 8,
      sent: 20,
      fills: 3,
      refusals: {},
      rejections: {},
      list: [{ market: 'KXA-1', owner: 'lean', side: 'bid', price: 0.4, remaining: 5, state: 'working' }],
      ...orders,
    },
    positions: [],
    money: { equity: 10_000, pnl: -1.5, cash: 10_000, fees: 0, drawdown: 2 },
    limits: { orders: 0.04, position: 0, marketLoss: 0, sessionLoss: 0 },
    delays: { place: 50_000, answer: 50_000, measured: [] },
    labelWait: 100_000,
    decision: { p50: 60_000, p99: 90_000, max: 99_000 } as unknown as SessionSnapshot['decision'],
    rows: { total: 1000, perSecond: 20, externals: 0, moved: 0 },
    tape: { state: 'recording', rows: 1000, failure: null },
    loop: { p50: 0, p99: 0, max: 0 },
    memory: { resident: 2 ** 27, heap: 2 ** 26 },
    commands: [],
    errors: [],
    ...more,
  }
}
function put(dir: string, name: string, more: More = {}): void {
  mkdirSync(join(dir, name), { recursive: true })
  writeSnapshot(join(dir, name), snapshot(name, more))
}
/** No process has this number: the kernel's are smaller. */
const NOBODY = 2 ** 30

describe.skipIf(!built)(`which session is meant${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('guesses none of several that run, lists them, and looks where tapeline.yaml says', async () => {
    const dir = folder()
    writeFileSync(join(dir, 'tapeline.yaml'), 'sessions: mine\n')
    put(dir, 'sessions/decoy')
    put(dir, 'mine/old', { ended: 'its time is over', written: Date.now() + 90_000 })
    put(dir, 'mine/a')
    const one = await runJson(dir, ['status'])
    expect([one.code, one.data?.['session'], one.data?.['life']]).toEqual([0, 'mine/a', 'running'])
    put(dir, 'mine/b', { state: { name: 'ready', since: T, cause: 'pause', hold: 'paused' } })
    put(dir, 'mine/dead', { pid: NOBODY })
    const { code, stdout } = await runProgram(dir, ['status'])
    expect(code).toBe(0)
    const lines = stdout.split('\n').filter((l) => l.includes('mine/') && !l.includes('sessions run in'))
    expect(lines.map((l) => l.split(/\s+/).slice(0, 3).join(' ')).sort()).toEqual(['mine/a paper trading', 'mine/b paper paused'])
    for (const word of ['pause', 'reduce', 'resume', 'halt']) {
      const refused = await runJson(dir, [word])
      expect([word, refused.code, refused.errors[0]?.code]).toEqual([word, 2, 'SESSION_AMBIGUOUS'])
      expect(refused.errors[0]?.message).toMatch(/^2 sessions run in mine: .*mine\/(a, mine\/b|b, mine\/a)/)
      expect(existsSync(join(dir, 'mine/a/commands')) || existsSync(join(dir, 'mine/b/commands'))).toBe(false)
    }
    expect((await runProgram(dir, ['pause', 'mine/b', '--dry-run'])).stdout).toMatch(
      /would tell +mine\/b \(process \d+, now paused\): pause/,
    )
  }, 60_000)

  it('calls a session that is gone an error, and does not ask for a key to go on with one that runs', async () => {
    const dir = folder()
    put(dir, 'sessions/s', { pid: NOBODY, mode: 'live' })
    const gone = await runJson(dir, ['status'])
    expect([gone.code, gone.data?.['life'], gone.errors[0]?.code]).toEqual([4, 'gone', 'SESSION_GONE'])
    expect(gone.errors[0]?.message).toContain('`tapeline live --resume sessions/s` goes on')
    put(dir, 'sessions/s')
    const busy = await runProgram(dir, ['paper', '--resume', 'sessions/s'])
    expect([busy.code, busy.stderr]).toEqual([4, expect.stringMatching(/^error: sessions\/s runs \(process \d+\)/)])
  }, 30_000)

  it('repeats what was said wrong, not what became of it', async () => {
    const dir = folder()
    for (const [args, code, said] of [
      ['exchang', 2, 'Did you mean exchange? (see tapeline exchange --help)'],
      ['nonsensical', 2, '(see tapeline --help)'],
      ['exchange --practice --seed abc', 2, '--seed abc: a whole number'],
      ['paper --strategy lean --series X --seed=1x', 2, '--seed 1x: the seed is a whole number'],
      [
        'paper --strategy lean --series X --environment local --url http://example.com',
        2,
        '--url http://example.com: an exchange on this machine',
      ],
      ['paper --strategy lean --series X --environment local --url http://127.0.0.1.example.com', 2, 'an exchange on this machine'],
    ] as const) {
      const ran = await runProgram(dir, args.split(' '))
      expect([args, ran.code, ran.stderr]).toEqual([args, code, expect.stringContaining(said)])
      expect(ran.stderr).not.toContain('NaN')
    }
  }, 30_000)
})

describe('status', () => {
  it('says of a session that has ended nothing as if it went on', () => {
    const now = Date.now()
    for (const life of ['ended', 'gone'] as const) {
      const text = statusText(
        snapshot('s', { ended: life === 'ended' ? 'interrupted' : null, written: now, started: now - 7_500_000 }),
        life,
        now + 90_000,
      )
      expect(text).not.toMatch(/local, open|working|recording|State +trading/)
      expect(text).toContain('connection closed')
      expect(text).toContain('8 left when it ended')
      expect(text).toMatch(
        life === 'ended' ? /ENDED 20\S+Z after 2 h 5 min: interrupted/ : /GONE: last heard of \S+Z, 90 s ago, after 2 h 5 min/,
      )
    }
    // Real orders do not end with their process.
    expect(statusText(snapshot('s', { mode: 'live' }), 'gone', now)).toContain('8 NOT known to be closed')
  })

  it('shows what is refused and why, what a decision waits for, and how long each connection has been silent', () => {
    const refusals = { position: 9000, cash: 40, halted: 30, 'feed-silent': 20, unsynced: 10, 'order-rate': 5 }
    const link = (silent: number) => ({ name: `socket-${silent}`, state: 'open', connects: 1, stale: false, silent })
    const s = snapshot('s', {
      orders: { refusals, rejections: { 'post only cross': 2 } },
      feed: { connections: [link(5_200_000), link(7_900_000)] },
    })
    const text = statusText(s, 'running', s.written + 400)
    expect(text).toContain(
      'by risk 9,105 (position 9,000, cash 40, halted 30, feed-silent 20, unsynced 10, 1 more reasons); by the venue 2 (post only cross 2)',
    )
    expect(text).toMatch(/local, open, open SILENT for 7 s;/)
    expect(text).toMatch(/waits up to 100\.0 ms for its label/)
    expect(text).toMatch(/used of what is allowed: open orders 4%/)
    expect(text).toMatch(/running, process \d+, up \d+ min; said 0\.4 s ago/)
    const dead = { connections: [], marketsSynced: 0, marketsUnsynced: 2 }
    expect(statusText(snapshot('s', { feed: dead }), 'running', T)).toMatch(
      /State +trading since .*; no market is synced, so no order is sent/,
    )
  })
})

describe('what a session says of itself', () => {
  it('tells what changes and no more, a line a look, the same error once', () => {
    const said: string[] = []
    const notices = new Notices((text) => said.push(text.replace(/^\S+ /, '')))
    const look = (more: More = {}): void => notices.look(snapshot('s', more))
    const down = {
      connections: [{ name: 'socket-0', state: 'waiting', connects: 1, stale: false, silent: null }],
      marketsSynced: 0,
      marketsUnsynced: 2,
    }
    const silent = { connections: [{ name: 'socket-0', state: 'open', connects: 1, stale: false, silent: 6_100_000 }] }
    const lines = (...looks: More[]): string[] => {
      said.length = 0
      for (const more of looks) {
        const before = said.length
        look(more)
        expect(said.length - before).toBeLessThanOrEqual(1)
      }
      return said.slice()
    }
    expect(lines({}, {}, {})).toEqual(['feed is there: 2 markets synced'])
    // A hiccup of a second is none.
    expect(lines({ feed: down }, {}, {})).toEqual([])
    expect(lines({ feed: down }, { feed: down }, { feed: down }, {}, {})).toEqual([
      'feed lost: 1 of 1 connections down (0 of 2 markets synced)',
      'feed is back: 2 markets synced',
    ])
    expect(lines({ feed: silent }, { feed: silent }, {})).toEqual([
      'feed lost: 1 of 1 connections silent for 6 s',
      'feed is back: 2 markets synced',
    ])
    const halted = { state: { name: 'halted', since: T, cause: 'halt', hold: 'halted' } } as const
    expect(lines(halted, halted, {})).toEqual(['state trading → halted (halt)', 'state halted → trading (feed-synced)'])
    const error = (n: number): More => ({ errors: [{ time: T, text: `stdin:${n}: not JSON` }] })
    expect(lines(error(1), error(2), error(300), {})).toEqual(['stdin:1: not JSON'])
    const many = { errors: ['a', 'b', 'c', 'd', 'e'].map((text) => ({ time: T, text })) }
    expect(lines(many, many)).toEqual(['a; b; c; 2 more in `tapeline status s`'])
    const nope = { feed: { troubles: { NOPE: 'no market of series NOPE is open' } } }
    expect(lines(nope, nope, {}, nope)).toEqual(['no market of series NOPE is open'])
  })
})
