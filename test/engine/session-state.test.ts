import { describe, expect, it } from 'vitest'
import { Flag, Kind } from '../../engine/message.ts'
import { SESSION_CAUSES, SESSION_STATES, SessionState, type SessionCause, type SessionStateName } from '../../engine/session-state.ts'
import { ASK, BID, SECOND, type Price } from '../../engine/units.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { batchesOf, catalog, START, type Row } from '../support/rows.ts'
import { runSession, type Result } from '../support/session.ts'

/** What a session does, as an operator would be told it. `→` is onward: lost feed or (live) no agreement with the exchange, then warm-up, then the operator's last word. */
const TOLD = `
              first-row  feed-synced  feed-lost  agreed    disagreed  warmup-over  pause    reduce    halt    resume   strategy-error  end       over
   starting   syncing    ·            ·          starting  starting   ·            ·        ·         ·       ·        stopping        stopping  ·
   syncing    ·          →            syncing    →         syncing    syncing      syncing  syncing   halted  syncing  stopping        stopping  ·
   ready      ·          ·            syncing    →         syncing    →            ready    →         halted  →        stopping        stopping  ·
   trading    ·          ·            syncing    →         syncing    ·            ready    reducing  halted  trading  stopping        stopping  ·
   reducing   ·          ·            syncing    →         syncing    ·            ready    reducing  halted  trading  stopping        stopping  ·
   halted     ·          halted       halted     halted    halted     halted       halted   →         halted  →        stopping        stopping  ·
   stopping   ·          stopping     stopping   stopping  stopping   ·            ·        ·         ·       ·        stopping        stopping  stopped
   stopped    ·          ·            ·          ·         ·          ·            ·        ·         ·       ·        stopped         stopped   ·`
const cells = new Map<string, string>()
const [head = [], ...rows] = TOLD.trim()
  .split('\n')
  .map((line) => line.trim().split(/\s+/))
for (const [state, ...row] of rows) row.forEach((cell, c) => cells.set(`${state} ${head[c]}`, cell))

type Config = { live: boolean; state: string; fed: boolean; agreed: boolean; warm: boolean; word: string; path: SessionCause[] }
function after({ live, state, fed, agreed, warm, word, path }: Config, cause: SessionCause): Config | null {
  const cell = cells.get(`${state} ${cause}`)
  if (cell === '·') return null
  const next: Config = {
    live,
    state: cell as string,
    fed: cause === 'feed-synced' || (fed && cause !== 'feed-lost'),
    agreed: cause === 'agreed' || (agreed && cause !== 'disagreed'),
    warm: warm || cause === 'warmup-over',
    word: cause === 'resume' ? 'trading' : cause === 'reduce' ? 'reducing' : cause === 'pause' && state !== 'halted' ? 'ready' : word,
    path: [...path, cause],
  }
  if (cell === '→') next.state = !next.fed || !next.agreed ? 'syncing' : !next.warm ? 'ready' : next.word
  return next
}
/** Every way a session can stand. */
function reachable(): Config[] {
  const seen = new Map<string, Config>()
  const open: Config[] = [false, true].map((live) => ({
    live,
    state: 'starting',
    fed: false,
    agreed: !live,
    warm: false,
    word: 'trading',
    path: [],
  }))
  for (let config = open.shift(); config !== undefined; config = open.shift()) {
    const key = `${config.live} ${config.state} ${config.fed} ${config.agreed} ${config.warm} ${config.word}`
    if (seen.has(key)) continue
    seen.set(key, config)
    for (const cause of SESSION_CAUSES) {
      const next = after(config, cause)
      if (next !== null) open.push(next)
    }
  }
  return [...seen.values()]
}
function stand(path: readonly SessionCause[], live = false) {
  const entered: string[] = []
  const session = new SessionState((name, cause) => entered.push(`${name} ${cause}`), live)
  path.forEach((cause, i) => session.move(cause, i + 1))
  return { session, entered }
}

describe('the state of a session', () => {
  it('follows its table in every cell, from every way in which it can stand, and nothing else can happen', () => {
    const visited = new Set<string>()
    for (const config of reachable()) {
      for (const cause of SESSION_CAUSES) {
        visited.add(`${config.state} ${cause}`)
        const { session, entered } = stand(config.path, config.live)
        expect([session.name, session.fed, session.warm]).toEqual([config.state, config.fed, config.warm])
        const told = entered.length
        const next = after(config, cause)
        if (next === null) {
          expect(() => session.move(cause, 100)).toThrow(/Invariant: a session changes its state along its table/)
          expect(session.name).toBe(config.state)
          continue
        }
        session.move(cause, 100)
        expect([config.path, cause, session.name]).toEqual([config.path, cause, next.state])
        // Told once, with its cause, and only when it changed.
        expect(entered.slice(told)).toEqual(next.state === config.state ? [] : [`${next.state} ${cause}`])
        if (next.state !== config.state) expect([session.since, session.cause]).toEqual([100, cause])
      }
    }
    expect(visited.size).toBe(SESSION_STATES.length * SESSION_CAUSES.length)
  })

  it('permits orders while it trades, what lowers a position while it reduces, and nothing otherwise', () => {
    const words: Record<SessionStateName, (string | null)[]> = {
      starting: ['warmup'],
      syncing: ['syncing'],
      ready: ['warmup', 'paused'],
      trading: [null],
      reducing: [null],
      halted: ['halted'],
      stopping: ['session-ending'],
      stopped: ['session-ending'],
    }
    for (const { path, warm } of reachable()) {
      const { session } = stand(path)
      expect(words[session.name]).toContain(session.hold)
      if (session.name === 'ready') expect(session.hold).toBe(warm ? 'paused' : 'warmup')
      expect(session.reducing).toBe(session.name === 'reducing')
    }
  })
})

/** A paper session over rows at given seconds. */
function paper(
  script: readonly (readonly [seconds: number, what: string])[],
  strategies?: readonly Strategy[],
  ticks: readonly number[] = [],
) {
  const T = 'KXSTATE-E-A'
  const rows: Row[] = []
  const row = (time: number, kind: Kind, market: number, side: number, price: number, quantity: number, detail: unknown = null) =>
    rows.push({
      time,
      timeVenue: time,
      market,
      kind,
      flags:
        kind === Kind.CLEAR || (kind === Kind.LEVEL && side === BID) ? 0 : kind === Kind.TRADE ? Flag.LAST | Flag.EXECUTION : Flag.LAST,
      side,
      price,
      quantity,
      detail: detail === null ? null : JSON.stringify(detail),
    })
  for (const [seconds, what] of script) {
    const time = START + seconds * SECOND
    if (what === 'catalog') row(time, Kind.CATALOG, 0, 0, 0, 0, catalog(T))
    else if (what === 'book') {
      row(time, Kind.CLEAR, 0, 0, 0, 0)
      row(time, Kind.LEVEL, 0, BID, 4000, 10_000)
      row(time, Kind.LEVEL, 0, ASK, 5000, 10_000)
    }
    // Somebody sells down to 39, or buys up to 61: everything of ours between is due.
    else if (what === 'sale') row(time, Kind.TRADE, 0, ASK, 3900, 100_000)
    else if (what === 'purchase') row(time, Kind.TRADE, 0, BID, 6100, 100_000)
    else if (what === 'delta') row(time, Kind.DELTA, 0, BID, 3900, 100)
    else if (what === 'gap') row(time, Kind.SYNC, 0, 0, 0, 0, { state: 'unsynced', reason: 'gap' })
    else row(time, Kind.OPERATOR, -1, 0, 0, 0, { command: what, reason: 'by hand' })
  }
  const taker: Strategy = {
    name: 'taker',
    parameters: {},
    onBook(book, desk) {
      desk.quote(book.market, { side: 'bid', price: book.bid, size: 1, why: 'here' })
    },
    onWake() {},
  }
  const batches = batchesOf(rows, 1)
  const all = [...batches, ...ticks.map((t) => START + t * SECOND)].sort(
    (a, b) => (typeof a === 'number' ? a : (a.time[0] as number)) - (typeof b === 'number' ? b : (b.time[0] as number)),
  )
  const run = runSession(all, strategies ?? [taker], { mode: 'paper' })
  const states = run.lines
    .filter((l) => /^(session|operator):/.test(l.what))
    .map((l) => `${((l.time - START) / SECOND).toFixed(0)} ${l.what} ${l.why}`)
  return { run, states }
}

describe('a paper session', () => {
  it('waits for a whole book, loses the feed after ten seconds without one, and refuses new risk until it is back', () => {
    const { run, states } = paper([
      [0, 'catalog'],
      [1, 'book'],
      [5, 'gap'],
      [9, 'book'],
      [20, 'gap'],
      [40, 'book'],
      [41, 'delta'],
    ])
    expect(states).toEqual([
      '0 session:syncing first-row',
      '1 session:trading feed-synced',
      '30 session:syncing feed-lost',
      '40 session:trading feed-synced',
      '41 session:stopping end',
      '41 session:complete end of tape',
      '41 session:stopped over',
    ])
    expect(run.end.orders).toBeGreaterThan(0)
  })

  it('obeys its operator: pause, reduce, halt and resume are rows, and each is journaled with its reason', () => {
    const { run, states } = paper([
      [0, 'catalog'],
      [1, 'book'],
      [2, 'pause'],
      [3, 'delta'],
      [4, 'resume'],
      [5, 'halt'],
      [6, 'delta'],
      [7, 'pause'],
      [8, 'reduce'],
      [9, 'resume'],
      [10, 'delta'],
    ])
    expect(states).toEqual([
      '0 session:syncing first-row',
      '1 session:trading feed-synced',
      '2 operator:pause by hand',
      '2 session:ready pause',
      '4 operator:resume by hand',
      '4 session:trading resume',
      '5 operator:halt by hand',
      '5 session:halted halt',
      '7 operator:pause by hand',
      '8 operator:reduce by hand',
      '8 session:reducing reduce',
      '9 operator:resume by hand',
      '9 session:trading resume',
      '10 session:stopping end',
      '10 session:complete end of tape',
      '10 session:stopped over',
    ])
    // The halt took the resting quote back.
    expect(run.lines.some((l) => l.kind === 'command' && l.what === 'cancel')).toBe(true)
    expect(run.lines.filter((l) => l.kind === 'refusal').map((l) => l.what)).toEqual(['halted'])
  })
  /** Buys 5 once and then rests what it was given: a bid that would add, an ask that would close. */
  const holder = (name: string, buys: number, bid: number, ask: number): Strategy => {
    let bought = buys === 0
    return {
      name,
      parameters: {},
      onBook({ market }, desk) {
        if (!bought) {
          bought = true
          return desk.take(market, { side: 'bid', limit: 5000 as Price, size: buys, why: 'to hold' })
        }
        if (bid > 0) desk.quote(market, { side: 'bid', price: 4000 as Price, size: bid, why: 'adds' })
        if (ask > 0) desk.quote(market, { side: 'ask', price: 6000 as Price, size: ask, why: 'closes' })
      },
    }
  }
  const positionOf = (run: Result): number => run.fills.reduce((a, f) => a + (f.side === BID ? f.quantity : -f.quantity), 0) / 100
  const script = (word: string) =>
    [
      [0, 'catalog'],
      [1, 'book'],
      [2, 'delta'],
      [3, 'delta'],
      [5, word],
      [7, 'sale'],
      [8, 'purchase'],
      [9, 'delta'],
    ] as const

  it('takes back on reduce what could do more than close, and leaves what closes', () => {
    const cases = [
      // [bid, first ask, ask of a second strategy] → sides and owners taken back, position at the end: without reduce it is another.
      { bid: 3, ask: 5, other: 0, back: ['one bid'], end: 0, free: 3 },
      { bid: 0, ask: 8, other: 0, back: ['one ask'], end: 5, free: -3 },
      { bid: 2, ask: 3, other: 2, back: ['one bid'], end: 0, free: 2 },
      // Together they are more than what is held: the one that still fits stays.
      { bid: 0, ask: 3, other: 4, back: ['other ask'], end: 2, free: -2 },
      { bid: 0, ask: 6, other: 5, back: ['one ask'], end: 0, free: -6 },
    ]
    for (const { bid, ask, other, back, end, free } of cases) {
      const strategies = () => [holder('one', 5, bid, ask), holder('other', 0, 0, other)]
      const { run } = paper(script('reduce'), strategies())
      const taken = run.lines.filter((l) => l.kind === 'command' && l.what === 'cancel')
      expect(taken.map((l) => `${l.owner} ${l.side === BID ? 'bid' : 'ask'}`)).toEqual(back)
      expect(taken.every((l) => l.time === START + 5 * SECOND)).toBe(true)
      expect([bid, ask, other, positionOf(run)]).toEqual([bid, ask, other, end])
      // The wish is over too: said again, it is refused.
      expect(run.lines.some((l) => l.kind === 'refusal' && l.what === 'reduce-only')).toBe(true)
      expect(positionOf(paper(script('delta'), strategies()).run)).toBe(free)
    }
  })
})
