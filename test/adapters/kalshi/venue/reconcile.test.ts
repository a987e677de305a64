import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { OrderFact } from '../../../../adapters/kalshi/venue/evidence.ts'
import type { SettlementFact } from '../../../../adapters/kalshi/venue/facts.ts'
import { Judge, recordOf, sideBySide, type Verdict } from '../../../../adapters/kalshi/venue/judge.ts'
import {
  baselineOf,
  compare,
  foreignOf,
  unfit,
  type Baseline,
  type CashReading,
  type OurOrder,
  type OurPayment,
  type OurView,
  type TheirView,
} from '../../../../adapters/kalshi/venue/reconcile.ts'
import { PRICE_ONE } from '../../../../engine/units.ts'

const NOW = 1_795_000_000_000_000
const SECOND = 1_000_000
const MINUTE = 60 * SECOND

type OurParts = {
  orders?: readonly OurOrder[]
  moving?: readonly string[]
  positions?: Record<string, number>
  paid?: Record<string, OurPayment>
  cash?: readonly (readonly [number, number])[]
  reserved?: readonly (readonly [number, number])[]
  eventVenue?: number
  eventAt?: number
}
const shardOf = (ticker: string): number => (ticker.startsWith('C-') ? 2 : 0)
const our = ({ orders = [], moving = [], positions = {}, paid = {}, cash = [], reserved = [], ...more }: OurParts = {}): OurView => ({
  orders,
  moving: new Set(moving),
  isOurs: (o) => o.client?.startsWith('we-') === true,
  positions: new Map(Object.entries(positions)),
  paid: new Map(Object.entries(paid)),
  shardOf,
  cash: new Map(cash),
  reserved: new Map(reserved),
  eventVenue: NOW - MINUTE,
  eventAt: NOW - MINUTE,
  ...more,
})
type TheirParts = {
  orders?: readonly OrderFact[] | null
  positions?: Record<string, number> | null
  settlements?: readonly SettlementFact[] | null
  cash?: readonly (readonly [number, number])[] | null
  asOf?: number | null
  why?: readonly string[]
}
const their = ({ orders = [], positions = {}, settlements = [], cash = [[0, 100_000_000]], ...more }: TheirParts = {}): TheirView => ({
  started: NOW,
  ended: NOW + SECOND,
  asOf: NOW - SECOND / 2,
  why: [],
  orders,
  positions:
    positions === null
      ? null
      : Object.entries(positions).map(([ticker, position]) => ({ ticker, shard: shardOf(ticker), position, fees: 0 })),
  settlements,
  cash: cash === null ? null : new Map(cash),
  ...more,
})
const bid = (id: string, ticker: string, remaining: number, price: number): OurOrder => ({ id, ticker, side: 'bid', price, remaining })
const fact = (o: OurOrder, client: string | null = `we-${o.id}`): OrderFact => ({
  ...o,
  client,
  status: 'resting',
  initial: o.remaining,
  filled: 0,
  reason: null,
  group: null,
  subaccount: 0,
  shard: shardOf(o.ticker),
  updated: null,
})
const paidRow = (ticker: string, net: number, result: 'yes' | 'no', time = NOW - MINUTE): SettlementFact => {
  const value = result === 'yes' ? PRICE_ONE : 0
  return { ticker, shard: 0, result, net, value, revenue: net >= 0 ? net * value : -net * (PRICE_ONE - value), time }
}
const START: Baseline = { time: NOW - 60 * MINUTE, orders: [], positions: [], cash: [[0, 100_000_000]], reserved: [] }

/** Two passes over the same, as a trader reads them. */
function twice(
  ours: OurView,
  theirs: TheirView,
  baseline = START,
  reading: CashReading = null,
): { first: Verdict; second: Verdict; text: string } {
  const judge = new Judge()
  const first = judge.judge(compare(baseline, ours, theirs, reading))
  const second = judge.judge(compare(baseline, ours, theirs, reading))
  const record = recordOf(second, { time: NOW, cause: 'minute', asOf: NOW, reading, orders: 0, positions: 0, baseline: null })
  return { first, second, text: sideBySide(record) }
}

describe('what differs, as a trader reads it', () => {
  const A = bid('a1', 'A', 1000, 5600)
  const cases: [string, OurView, TheirView, string][] = [
    [
      'an order that is gone',
      our({ orders: [A] }),
      their(),
      `            ours                exchange
A order/a1  bid 10.00 @ 0.5600  not resting  canceled or filled, and we have not heard of it`,
    ],
    [
      'an order that was filled in part',
      our({ orders: [A] }),
      their({ orders: [fact({ ...A, remaining: 400 })] }),
      `            ours                exchange
A order/a1  bid 10.00 @ 0.5600  bid 4.00 @ 0.5600  filled or decreased, and we have not heard of it`,
    ],
    [
      'an order of ours that we take for gone',
      our(),
      their({ orders: [fact(A)] }),
      `            ours         exchange
A order/a1  not resting  bid 10.00 @ 0.5600  an order of ours that we take for gone`,
    ],
    [
      'somebody else at work',
      our(),
      their({ orders: [fact(A, null)] }),
      `            ours  exchange
A order/a1  none  bid 10.00 @ 0.5600  not sent by this session: another program, the website, or a key that somebody else has`,
    ],
    [
      'a position without a row',
      our({ positions: { A: 500 }, cash: [[0, -28_000_000]] }),
      their({ cash: [[0, 72_000_000]] }),
      `            ours   exchange
position/A  +5.00  +0.00 (no row)  fills that only one of us has`,
    ],
    [
      'a row that we lack: theirs alone is looked at, too',
      our(),
      their({ positions: { B: -200 } }),
      `            ours   exchange
position/B  +0.00  -2.00     fills that only one of us has`,
    ],
    [
      'a deposit',
      our(),
      their({ cash: [[0, 150_000_000]] }),
      `        ours        exchange
cash/0  100.000000  150.000000  +50.000000: a deposit, a transfer, or a payment that we do not know`,
    ],
    [
      'money moved between shards',
      our(),
      their({
        cash: [
          [0, 60_000_000],
          [2, 40_000_000],
        ],
      }),
      `        ours        exchange
cash/0  100.000000  60.000000  moved between shards
cash/2  0.000000    40.000000  moved between shards`,
    ],
    [
      'a result that was amended',
      our({ paid: { A: { net: 500, value: PRICE_ONE, paid: 5_000_000, at: NOW - 5 * MINUTE } }, cash: [[0, 2_000_000]] }),
      their({ settlements: [paidRow('A', 500, 'no')], cash: [[0, 97_000_000]] }),
      `              ours                            exchange
settlement/A  +5.00 at 1.0000, paid 5.000000  +5.00 no at 0.0000, paid 0.000000  its result was amended`,
    ],
    [
      'a settlement that nobody told us of',
      our({ positions: { A: 500 }, cash: [[0, -3_000_000]] }),
      their({ settlements: [paidRow('A', 500, 'yes', NOW - 20 * MINUTE)], cash: [[0, 102_000_000]] }),
      `              ours         exchange
settlement/A  holds +5.00  paid 5.000000  the market was settled and we have not heard of it`,
    ],
    [
      'a payment without a settlement',
      our({ paid: { A: { net: 500, value: PRICE_ONE, paid: 5_000_000, at: NOW - 20 * MINUTE } }, cash: [[0, 2_000_000]] }),
      their({ positions: { A: 500 }, cash: [[0, 97_000_000]] }),
      `              ours           exchange
settlement/A  paid 5.000000  no settlement  we paid it 20 minutes ago; the result may have been taken back`,
    ],
  ]
  for (const [name, ours, theirs, table] of cases)
    it(name, () => {
      const { text } = twice(ours, theirs)
      expect(`\n${text}\n`).toBe(`\n${table}\n`)
    })
})

describe('a difference', () => {
  it('counts when two passes in a row show it, a foreign order at once; a market is halted, money stops the session', () => {
    const A = bid('a1', 'A', 1000, 5600)
    const gone = twice(our({ orders: [A] }), their())
    expect([gone.first.outcome, gone.first.news]).toEqual(['suspected', []])
    expect([gone.second.outcome, gone.second.news.map((n) => n.type)]).toEqual(['halted', ['market-halted', 'agreed']])
    const foreign = twice(our(), their({ orders: [fact(A, 'someone')] }))
    expect(foreign.first.news).toEqual([
      {
        type: 'market-halted',
        by: 'reconciliation',
        ticker: 'A',
        reason: expect.stringMatching(/^A order\/a1: ours none, the exchange bid 10\.00 @ 0\.5600 \(not sent by this session/),
      },
      { type: 'agreed', reason: 'all but 1 halted market' },
    ])
    expect(foreign.second.news).toEqual([])
    const money = twice(our(), their({ cash: [[0, 99_999_800]] }))
    expect([money.first.outcome, money.second.outcome]).toEqual(['suspected', 'disagreed'])
    expect(money.second.news.map((n) => n.type)).toEqual(['disagreed'])
    // Gone in the second pass: it was the lag of a list, and nobody was told.
    const judge = new Judge()
    expect(judge.judge(compare(START, our({ orders: [A] }), their(), null)).outcome).toBe('suspected')
    expect(judge.judge(compare(START, our(), their({ asOf: 0 }), null)).outcome).toBe('not judged')
    expect(judge.judge(compare(START, our({ orders: [A] }), their({ orders: [fact(A)] }), null))).toMatchObject({
      outcome: 'agreed',
      news: [{ type: 'agreed' }],
    })
  })

  it('is not looked for in what was not whole, not quiet, or older than our last news', () => {
    const cases: [OurView, TheirView, RegExp][] = [
      [
        our(),
        their({ positions: null, why: ['positions: a cursor came back'] }),
        /^not readable: positions \(positions: a cursor came back\)$/,
      ],
      [our(), their({ orders: null, cash: null }), /^not readable: orders, cash$/],
      [our(), their({ asOf: null }), /^not readable: the exchange's data time stamp$/],
      [our({ eventAt: NOW - SECOND }), their(), /^not quiet/],
      [our({ eventAt: NOW + SECOND / 2 }), their(), /^not quiet/],
      [our({ eventVenue: NOW }), their(), /^lagging: the exchange's data is 1\.5 s behind our last news$/],
    ]
    for (const [ours, theirs, why] of cases) expect(unfit(ours, theirs)).toMatch(why)
    expect(unfit(our(), their())).toBeNull()
  })

  it('is not made of a market in which something moves', () => {
    const A = bid('a1', 'A', 1000, 5600)
    expect(twice(our({ orders: [A], moving: ['A'] }), their()).second.outcome).toBe('agreed')
    expect(twice(our({ moving: ['A'] }), their({ orders: [fact(A)] })).second.outcome).toBe('agreed')
    // It was filled before we heard whether it was placed: position and cash are not judged there, and everywhere else they are.
    const filled = their({ positions: { A: 500 }, cash: [[0, 97_200_000]] })
    expect(twice(our({ moving: ['A'] }), filled).second).toMatchObject({
      outcome: 'agreed',
      notes: ['A: ours +0.00, the exchange +5.00; an order of it has no outcome yet'],
    })
    expect(twice(our({ moving: ['B'] }), filled).second.outcome).toBe('disagreed')
    // A stranger's order is one all the same.
    expect(twice(our({ moving: ['A'] }), their({ orders: [fact(A, null)] })).second.outcome).toBe('halted')
  })
})

describe('what was there before the session', () => {
  it('halts its markets, is not adopted, and its money is not ours', () => {
    const old = fact({ id: 'o1', ticker: 'A', side: 'ask', price: 7000, remaining: 300 }, null)
    const theirs = their({ orders: [old], positions: { B: -400 } })
    const baseline = baselineOf(our(), theirs)
    expect(baseline).toMatchObject({ orders: ['o1'], positions: [['B', -400]], cash: [[0, 100_000_000]], reserved: [[0, 900_000]] })
    const { news, outcome } = new Judge().judge({
      judged: true,
      differences: foreignOf(baseline, theirs),
      notes: [],
      reading: null,
      busy: new Set<string>(),
    })
    expect(outcome).toBe('halted')
    expect(news.map((n) => (n.type === 'market-halted' ? n.ticker : n.type))).toEqual(['A', 'B', 'agreed'])
    // Later passes agree; when B is settled, its payment is explained.
    expect(twice(our(), theirs, baseline).second.outcome).toBe('agreed')
    expect(twice(our(), their({ settlements: [paidRow('B', -400, 'no')], cash: [[0, 104_000_000]] }), baseline).second.outcome).toBe(
      'agreed',
    )
    // Somebody buys back one of the short ones: booked as outside, the dollar that comes free is explained.
    const bought = our({ positions: { B: 100 }, cash: [[0, -600_000]] })
    expect(twice(bought, their({ orders: [old], positions: { B: -300 }, cash: [[0, 100_400_000]] }), baseline).second.outcome).toBe(
      'agreed',
    )
  })
})

describe('balance', () => {
  it('is equal when it is under either reading, and the reading that fits is kept', () => {
    const orders = [bid('a1', 'A', 1000, 5600)]
    const ours = our({ orders, reserved: [[0, 5_700_000]] })
    const list = orders.map((o) => fact(o))
    const read = (cash: number, reading: CashReading = null) => compare(START, ours, their({ orders: list, cash: [[0, cash]] }), reading)
    expect(read(100_000_000)).toMatchObject({ differences: [], reading: 'gross' })
    expect(read(94_400_000)).toMatchObject({ differences: [], reading: 'net' })
    // With the fees that may still be due.
    expect(read(94_300_000)).toMatchObject({ differences: [], reading: 'net' })
    expect(read(100_000_000, 'net')).toMatchObject({ differences: [{ kind: 'cash' }] })
    expect(read(94_400_000, 'gross')).toMatchObject({ differences: [{ kind: 'cash' }] })
    expect(compare(START, our(), their(), null)).toMatchObject({ differences: [], reading: null })
    // Four decimals are shown: less than that is no difference.
    expect(read(100_000_099)).toMatchObject({ differences: [] })
    expect(read(100_000_100)).toMatchObject({ differences: [{ kind: 'cash' }] })
  })
})

// ---------------------------------------------------------------------------------------------------- properties

/** A world in which both sides know the same: built from fills, never from the comparison. */
const world = fc
  .record({
    start: fc.array(
      fc.integer({ min: 0, max: 1_000_000 }).map((n) => n * 100),
      { minLength: 3, maxLength: 3 },
    ),
    net: fc.boolean(),
    markets: fc.array(
      fc.record({
        name: fc.constantFrom('A', 'B', 'C-D', 'E', 'C-F'),
        before: fc.constantFrom(0, 0, 0, 300, -700),
        fills: fc.array(
          fc.record({
            quantity: fc.integer({ min: -500, max: 500 }).filter((q) => q !== 0),
            price: fc.integer({ min: 1, max: 9_999 }),
            fee: fc.nat(300).map((n) => n * 100),
          }),
          { maxLength: 5 },
        ),
        orders: fc.array(
          fc.record({
            side: fc.constantFrom('bid' as const, 'ask' as const),
            remaining: fc.integer({ min: 1, max: 900 }),
            price: fc.integer({ min: 1, max: 99 }).map((p) => p * 100),
          }),
          { maxLength: 3 },
        ),
        end: fc.constantFrom('open' as const, 'open' as const, 'yes' as const, 'no' as const),
      }),
      { maxLength: 5 },
    ),
  })
  .map(({ start, net, markets }) => {
    const cash = new Map<number, number>([0, 1, 2].map((s) => [s, start[s] as number]))
    const baseline: Baseline = { time: 0, orders: [], positions: [], cash: [...cash], reserved: [] }
    const before: [string, number][] = []
    const ours = {
      orders: [] as OurOrder[],
      positions: {} as Record<string, number>,
      paid: {} as Record<string, OurPayment>,
      cash: new Map<number, number>(),
    }
    const theirs = { orders: [] as OrderFact[], positions: {} as Record<string, number>, settlements: [] as SettlementFact[] }
    const seen = new Set<string>()
    const add = (map: Map<number, number>, shard: number, money: number): void => void map.set(shard, (map.get(shard) ?? 0) + money)
    const locked = (q: number): number => (q < 0 ? -q * PRICE_ONE : 0)
    for (const m of markets) {
      if (seen.has(m.name)) continue
      seen.add(m.name)
      const shard = shardOf(m.name)
      let [q, all] = [0, m.before]
      if (m.before !== 0) before.push([m.name, m.before])
      for (const f of m.fills) {
        const flow = -f.quantity * f.price - f.fee
        add(ours.cash, shard, flow - (locked(q + f.quantity) - locked(q)))
        add(cash, shard, flow - (locked(all + f.quantity) - locked(all)))
        q += f.quantity
        all += f.quantity
      }
      if (m.end === 'open') {
        ours.positions[m.name] = q
        if (all !== 0) theirs.positions[m.name] = all
        for (const [i, o] of m.orders.entries()) {
          const order: OurOrder = { id: `${m.name}-${i}`, ticker: m.name, ...o }
          ours.orders.push(order)
          theirs.orders.push(fact(order))
          if (net) add(cash, shard, -o.remaining * (o.side === 'bid' ? o.price : PRICE_ONE - o.price))
        }
      } else {
        const value = m.end === 'yes' ? PRICE_ONE : 0
        const paid = q * value + locked(q)
        ours.paid[m.name] = { net: q, value, paid, at: NOW - MINUTE }
        add(ours.cash, shard, paid)
        if (all !== 0) {
          theirs.settlements.push({ ...paidRow(m.name, all, m.end), shard })
          add(cash, shard, all * value + locked(all))
        }
      }
    }
    return { baseline: { ...baseline, positions: before }, ours, theirs: { ...theirs, cash } }
  })
type Built = typeof world extends fc.Arbitrary<infer T> ? T : never
const view = (w: Built): [OurView, TheirView] => [
  our({ ...w.ours, cash: [...w.ours.cash] }),
  their({ ...w.theirs, cash: [...w.theirs.cash] }),
]

/** One thing of one side is changed; null: this world has none of it. */
const PLANTS: Record<string, (w: Built) => Built | null> = {
  'an order of theirs is gone': (w) =>
    w.theirs.orders.length === 0 ? null : { ...w, theirs: { ...w.theirs, orders: w.theirs.orders.slice(1) } },
  'an order of ours is gone': (w) => (w.ours.orders.length === 0 ? null : { ...w, ours: { ...w.ours, orders: w.ours.orders.slice(1) } }),
  'a hundredth of a contract less rests': (w) => {
    const [o, ...rest] = w.theirs.orders
    return o === undefined || o.remaining < 2
      ? null
      : { ...w, theirs: { ...w.theirs, orders: [{ ...o, remaining: o.remaining - 1 }, ...rest] } }
  },
  'a stranger rests': (w) => ({ ...w, theirs: { ...w.theirs, orders: [...w.theirs.orders, fact(bid('x', 'Z', 1, 100), null)] } }),
  'a hundredth of a contract more is held': (w) => {
    const open = Object.keys(w.ours.positions)[0]
    return open === undefined
      ? null
      : { ...w, theirs: { ...w.theirs, positions: { ...w.theirs.positions, [open]: (w.theirs.positions[open] ?? 0) + 1 } } }
  },
  'a row is missing': (w) => {
    const [name, ...rest] = Object.keys(w.theirs.positions)
    if (name === undefined) return null
    return { ...w, theirs: { ...w.theirs, positions: Object.fromEntries(rest.map((n) => [n, w.theirs.positions[n] as number])) } }
  },
  'a market that we do not know is held': (w) => ({ ...w, theirs: { ...w.theirs, positions: { ...w.theirs.positions, Z: -1 } } }),
  'a tenth of a cent more': (w) => ({
    ...w,
    theirs: { ...w.theirs, cash: new Map([...w.theirs.cash].map(([s, m]) => [s, s === 2 ? m + 1_000 : m])) },
  }),
  'a shard is not listed': (w) => ({
    ...w,
    theirs: { ...w.theirs, cash: new Map([...w.theirs.cash].filter(([s, m]) => s !== 0 || m === 0)) },
  }),
  'the other result': (w) => {
    const [s, ...rest] = w.theirs.settlements
    return s === undefined || w.ours.paid[s.ticker]?.net === undefined
      ? null
      : {
          ...w,
          theirs: {
            ...w.theirs,
            settlements: [{ ...s, ...paidRow(s.ticker, s.net, s.result === 'yes' ? 'no' : 'yes'), shard: s.shard }, ...rest],
          },
        }
  },
  'settled twice': (w) => {
    const [s] = w.theirs.settlements
    return s === undefined ? null : { ...w, theirs: { ...w.theirs, settlements: [s, ...w.theirs.settlements] } }
  },
}

describe('for all books', () => {
  it('that hold the same, the verdict is agreed', () => {
    let [orders, positions, paid] = [0, 0, 0]
    fc.assert(
      fc.property(world, (w) => {
        orders += w.theirs.orders.length
        positions += Object.keys(w.theirs.positions).length
        paid += w.theirs.settlements.length
        const { first, second } = twice(...view(w), w.baseline)
        expect([first.outcome, second.outcome, first.counted, first.suspected]).toEqual(['agreed', 'agreed', [], []])
      }),
      { numRuns: 2_000 },
    )
    expect(Math.min(orders, positions, paid)).toBeGreaterThan(500)
  })
  for (const [name, plant] of Object.entries(PLANTS))
    it(`a single planted difference is found within two passes: ${name}`, () => {
      let planted = 0
      fc.assert(
        fc.property(world, (w) => {
          const wrong = plant(w)
          if (wrong === null) return
          if (name === 'a shard is not listed' && wrong.theirs.cash.size === w.theirs.cash.size) return
          planted++
          const { first, second } = twice(...view(wrong), wrong.baseline)
          expect(first.outcome).not.toBe('agreed')
          expect(['halted', 'disagreed']).toContain(second.outcome)
          expect(second.news.length + first.news.length).toBeGreaterThan(0)
        }),
        { numRuns: 400 },
      )
      expect(planted).toBeGreaterThan(80)
    })
})
