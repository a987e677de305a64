import { describe, expect, it } from 'vitest'
import { Flag, Kind } from '../../engine/message.ts'
import type { Basket, Strategy } from '../../engine/strategy.ts'
import { ASK, BID } from '../../engine/units.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import { parity } from '../../strategies/parity.ts'
import { batchesOf, catalog, START, type Row } from '../support/rows.ts'
import { runSession } from '../support/session.ts'

const DELAYS = { place: 50_000, cancel: 50_000, amend: 50_000, answer: 30_000 }
type Levels = readonly (readonly [side: 'bid' | 'ask', cents: number, contracts: number])[]
const at = (ms: number): number => START + ms * 1000

/** Rows by hand: markets of one exclusive event, each with its book. */
class Script {
  readonly rows: Row[] = []
  #push(ms: number, market: number, kind: number, flags: number, side = 0, cents = 0, contracts = 0, detail: unknown = null): this {
    const text = detail === null ? null : JSON.stringify(detail)
    const time = at(ms)
    this.rows.push({ time, timeVenue: time, market, kind, flags, side, price: cents * 100, quantity: contracts * 100, detail: text })
    return this
  }
  market(market: number, levels: Levels): this {
    const detail = catalog(`KXE-M${market}`, { event: 'KXE', series: 'KXE', exclusive: true, closeTime: at(1e7) })
    this.#push(0, market, Kind.CATALOG, Flag.LAST, 0, 0, 0, detail)
    this.#push(0, market, Kind.CLEAR, levels.length === 0 ? Flag.LAST : 0)
    levels.forEach(([side, cents, contracts], i) =>
      this.#push(0, market, Kind.LEVEL, i === levels.length - 1 ? Flag.LAST : 0, side === 'bid' ? BID : ASK, cents, contracts),
    )
    return this
  }
  change(ms: number, market: number, side: 'bid' | 'ask', cents: number, contracts: number): this {
    return this.#push(ms, market, Kind.DELTA, Flag.LAST, side === 'bid' ? BID : ASK, cents, contracts)
  }
  status(ms: number, market: number, status: 'closed' | 'inactive'): this {
    return this.#push(ms, market, Kind.STATUS, Flag.LAST, 0, 0, 0, { status })
  }
  result(ms: number, market: number, result: 'yes' | 'no'): this {
    this.status(ms, market, 'closed')
    return this.#push(ms, market, Kind.DETERMINED, Flag.LAST, 0, 0, 0, { result, value: result === 'yes' ? 10_000 : 0 })
  }
  run(strategies: readonly Strategy[], limits = LIMITS_DEFAULT) {
    return runSession(batchesOf(this.rows, 64), strategies, { delays: DELAYS, limits, tape: { ...runHeader, lagMax: 0 } })
  }
}
const runHeader = {
  name: 'test',
  manifest: '',
  source: 'test',
  practice: false,
  depth: 'book' as const,
  rows: 0,
  markets: 0,
  from: 0,
  to: 0,
  gaps: 0,
  inFlux: 0,
  coverage: null,
  labels: 'true' as const,
  remarks: [],
}

/** Sells one set of all markets at 40 and better, once, when the first book comes. */
function seller(more: Partial<Basket>): Strategy {
  let done = false
  return {
    name: 'seller',
    parameters: {},
    onBook({ market }, desk) {
      const all = [market, ...desk.siblings(market)]
      if (done || all.some((m) => desk.book(m) === null)) return
      done = true
      desk.basket({
        legs: all.map((m) => ({ market: m, side: 'ask' as const, limit: 4_000 })),
        size: 10,
        missing: 'hold',
        why: 'set',
        ...more,
      })
    },
  }
}
const story = (run: ReturnType<Script['run']>): string[] =>
  run.lines
    .filter((l) => (l.kind === 'state' && l.what.startsWith('basket')) || l.kind === 'fill' || l.kind === 'refusal')
    .map((l) =>
      l.kind === 'fill'
        ? `${l.market} ${l.side === BID ? 'bought' : 'sold'} ${l.quantity / 100} at ${l.price / 100}`
        : l.kind === 'refusal'
          ? `refused ${l.what}`
          : `${l.what} ${l.quantity / 100}`,
    )
const deep: Levels = [
  ['bid', 40, 100],
  ['ask', 42, 100],
]

describe('a basket', () => {
  it('is sent together and is complete when every leg filled whole', () => {
    const run = new Script()
      .market(0, deep)
      .market(1, deep)
      .market(2, deep)
      .change(200, 0, 'bid', 30, 1)
      .run([seller({})])
    expect(story(run)).toEqual(['KXE-M0 sold 10 at 40', 'KXE-M1 sold 10 at 40', 'KXE-M2 sold 10 at 40', 'basket:complete 10'])
    const sent = run.lines.filter((l) => l.kind === 'command').map((l) => l.time)
    expect(new Set(sent).size).toBe(1)
  })

  // Leg 1 loses its bid at 40 while the orders are on their way; 38 is the next.
  const missing = (kind: Basket['missing'], costMax = 0) =>
    new Script()
      .market(0, deep)
      .market(1, [
        ['bid', 40, 4],
        ['bid', 38, 3],
        ['bid', 36, 50],
        ['ask', 42, 100],
      ])
      .market(2, deep)
      .change(600, 0, 'bid', 30, 1)
      .change(900, 0, 'bid', 30, 1)
      .run([seller({ missing: kind, costMax })])

  it('holds what there is', () => {
    expect(story(missing('hold'))).toEqual(['KXE-M0 sold 10 at 40', 'KXE-M1 sold 4 at 40', 'KXE-M2 sold 10 at 40', 'basket:uneven 4'])
  })
  it('unwinds what has no counterpart, through the spread', () => {
    expect(story(missing('unwind'))).toEqual([
      'KXE-M0 sold 10 at 40',
      'KXE-M1 sold 4 at 40',
      'KXE-M2 sold 10 at 40',
      'basket:unwinding 4',
      'KXE-M0 bought 6 at 42',
      'KXE-M2 bought 6 at 42',
      'basket:even 4',
    ])
  })
  it('completes up to its cost, and unwinds the rest', () => {
    expect(story(missing('complete', 0.04))).toEqual([
      'KXE-M0 sold 10 at 40',
      'KXE-M1 sold 4 at 40',
      'KXE-M2 sold 10 at 40',
      'basket:completing 4',
      'KXE-M1 sold 3 at 38',
      'KXE-M1 sold 3 at 36',
      'basket:complete 10',
    ])
    expect(story(missing('complete', 0.02)).slice(3)).toEqual([
      'basket:completing 4',
      'KXE-M1 sold 3 at 38',
      'basket:unwinding 7',
      'KXE-M0 bought 3 at 42',
      'KXE-M2 bought 3 at 42',
      'basket:even 7',
    ])
  })

  it('is refused whole when one leg is, and leaves no trace in any limit', () => {
    const script = () => new Script().market(0, deep).market(1, deep).market(2, deep).change(200, 0, 'bid', 30, 1)
    const whole = script().run([seller({})])
    expect(whole.end.orders).toBe(3)
    // Asked again and again: what a refused basket counted for must not stay counted.
    const insistent = (): Strategy => ({
      name: 'insistent',
      parameters: {},
      onBook({ market }, desk) {
        const legs = [market, ...desk.siblings(market)].map((m) => ({ market: m, side: 'ask' as const, limit: 4_000 }))
        if (legs.length === 3) desk.basket({ legs, size: 10, missing: 'hold', why: 'set' })
      },
    })
    const many = new Script().market(0, deep).market(1, deep).market(2, deep)
    for (let k = 1; k <= 40; k++) many.change(200 * k, k % 3, 'bid', 30, 1)
    const refused = many.run([insistent()], { ...LIMITS_DEFAULT, ordersOpenMax: 2, eventLossMax: 8_000_000 })
    expect([refused.end.orders, Object.keys(refused.end.refusals)]).toEqual([0, ['open-orders']])
    // Each accepted basket costs its tokens, ten a leg: a bucket of 100 that refills with 100 a second gives three at once.
    const eager = new Script().market(0, deep).market(1, deep).market(2, deep)
    for (let k = 0; k < 6; k++) eager.change(1 + k, k % 3, 'bid', 30, 1)
    const spent = eager.run(
      Array.from({ length: 6 }, () => seller({})),
      { ...LIMITS_DEFAULT, ordersPerSecondMax: 100 },
    )
    expect([spent.end.orders, spent.end.refusals['write-tokens']]).toEqual([9, 3])
    for (const [limits, word] of [
      [{ ...LIMITS_DEFAULT, ordersOpenMax: 2 }, 'open-orders'],
      [{ ...LIMITS_DEFAULT, ordersPerSecondMax: 2 }, 'basket-size'],
      [{ ...LIMITS_DEFAULT, marketLossMax: 5_000_000 }, 'market-loss'],
      [{ ...LIMITS_DEFAULT, orderMax: 900 }, 'order-size'],
    ] as const) {
      const run = script().run([seller({})], limits)
      expect(story(run)).toEqual([`refused ${word}`])
      expect([run.end.orders, run.end.markets, run.end.stressLoss]).toEqual([0, [], 0])
    }
  })

  it('counts at its worst partial outcome: one leg alone filled, and that market wins', () => {
    const limits = (eventLossMax: number) => ({ ...LIMITS_DEFAULT, eventLossMax })
    const script = () => new Script().market(0, deep).market(1, deep).market(2, deep).change(200, 0, 'bid', 30, 1)
    // 10 sold at 40 lose 6 dollars when that market wins, and fees: more than 6, less than 8.
    expect(story(script().run([seller({})], limits(6_000_000)))).toEqual(['refused event-loss'])
    expect(script().run([seller({})], limits(8_000_000)).end.orders).toBe(3)
  })
})

describe('the stages of a basket', () => {
  it('wait for the order rate instead of leaving a leg without counterpart', () => {
    // Six legs, five unwinds: more than ten orders in a second.
    const script = new Script()
    for (let m = 0; m < 5; m++) script.market(m, deep)
    script.market(5, [
      ['bid', 40, 4],
      ['ask', 42, 100],
    ])
    script.change(600, 0, 'bid', 30, 1).change(2_500, 0, 'bid', 30, 1)
    const run = script.run([seller({ missing: 'unwind' })])
    expect(run.end.refusals).toEqual({ 'order-rate': 1 })
    expect(run.end.markets.map((m) => m.position)).toEqual([-400, -400, -400, -400, -400, -400])
    expect(story(run).at(-1)).toBe('basket:even 4')
  })

  it('step inside our own quotes of another strategy, which would stop them otherwise', () => {
    let done = false
    const bystander: Strategy = {
      name: 'bystander',
      parameters: {},
      onBook({ market }, desk) {
        if (!done && market.ticker === 'KXE-M0') desk.quote(market, { side: 'ask', price: 4_500, size: 1, why: 'rest' })
        done ||= market.ticker === 'KXE-M0'
      },
    }
    const script = new Script().market(0, deep).market(1, [
      ['bid', 40, 4],
      ['ask', 42, 100],
    ])
    const run = script
      .change(600, 0, 'bid', 30, 1)
      .change(900, 0, 'bid', 30, 1)
      .run([bystander, seller({ missing: 'unwind' })])
    expect(story(run).slice(-3)).toEqual(['basket:unwinding 4', 'KXE-M0 bought 6 at 42', 'basket:even 4'])
  })

  it('unwind whatever a loss limit says: the way out is never closed by its own fee', () => {
    const script = new Script().market(0, deep).market(1, [
      ['bid', 40, 4],
      ['ask', 42, 100],
    ])
    script.change(600, 0, 'bid', 30, 1).change(900, 0, 'bid', 30, 1)
    const run = script.run([seller({ missing: 'unwind' })], { ...LIMITS_DEFAULT, marketLossMax: 6_280_000 })
    expect(run.end.markets.map((m) => m.position)).toEqual([-400, -400])
  })

  it('go on when a leg closes on the way: what filled is unwound', () => {
    const script = new Script()
      .market(0, deep)
      .market(1, deep)
      .result(30, 1, 'no')
      .change(600, 0, 'bid', 30, 1)
      .change(900, 0, 'bid', 30, 1)
    const run = script.run([seller({ missing: 'unwind' })])
    expect(run.end.rejections).toEqual({ 'market-closed': 1 })
    expect(story(run).at(-1)).toBe('basket:none 0')
    expect(run.end.markets.find((m) => m.ticker === 'KXE-M0')?.position).toBe(0)
  })

  it('share what is displayed between two strategies that want the same', () => {
    const thin: Levels = [
      ['bid', 40, 15],
      ['ask', 42, 100],
    ]
    const run = new Script()
      .market(0, thin)
      .market(1, thin)
      .change(600, 0, 'bid', 30, 1)
      .run([seller({}), seller({})])
    expect(run.end.owners.map((o) => o.filled)).toEqual([2_000, 1_000])
  })
})

describe('parity', () => {
  const books = (bids: readonly number[], asks: readonly number[], size = 20): Script =>
    bids.reduce(
      (script, bid, m) =>
        script.market(m, [
          ['bid', bid, size],
          ['ask', asks[m] as number, size],
        ]),
      new Script(),
    )

  it('sells every YES when the bids after fees exceed a dollar, and nothing when fees eat it', () => {
    // 40 + 36 + 31 = 107: fees of 10 contracts are about 5 cents a set, so 2 are left.
    const rich = books([40, 36, 31], [45, 40, 35])
      .change(10, 0, 'bid', 30, 1)
      .change(400, 0, 'bid', 30, 1)
      .run([parity({ positionMax: 10 })])
    expect(rich.fills.map((f) => `${f.market} ${f.side === ASK ? 'sold' : 'bought'} ${f.quantity / 100} at ${f.price / 100}`)).toEqual([
      'KXE-M0 sold 10 at 40',
      'KXE-M1 sold 10 at 36',
      'KXE-M2 sold 10 at 31',
    ])
    // A set is a profit whatever wins: its worst outcome is better than nothing.
    expect(rich.end.stressLoss).toBeLessThan(0)
    const poor = books([38, 34, 31], [45, 40, 35]).change(10, 0, 'bid', 30, 1).run([parity()])
    expect(poor.end.signals).toBe(0)
  })

  it('buys every YES below a dollar only where the reader said the event is exhaustive', () => {
    const script = () => books([20, 20, 20], [30, 30, 30]).change(10, 0, 'bid', 10, 1).change(400, 0, 'bid', 10, 1)
    expect(script().run([parity()]).end.signals).toBe(0)
    expect(
      script()
        .run([parity({ exhaustive: 'KXE:3', positionMax: 10 })])
        .fills.every((f) => f.side === BID),
    ).toBe(true)
    expect(script().run([parity({ exhaustive: 'KXE:3', positionMax: 10 })]).fills).toHaveLength(3)
  })

  it('does not buy a set that is not all there: a leg closed and not determined, a leg unknown, one paused', () => {
    const buyer = (): Strategy => parity({ exhaustive: 'KXE:3', positionMax: 10 })
    for (const status of ['closed', 'inactive'] as const) {
      const script = books([20, 20, 20], [97, 2, 2])
      script.status(5, 0, status).change(10, 1, 'bid', 10, 1).change(400, 1, 'bid', 10, 1)
      expect(script.run([buyer()]).end.signals).toBe(0)
    }
    const two = books([20, 20], [30, 30]).change(10, 0, 'bid', 10, 1)
    expect(two.run([buyer()]).end.signals).toBe(0)
    expect(() => parity({ exhaustive: 'KXE' })).toThrow(/TICKER:number of its markets/)
  })

  it('leaves out legs that settled NO, and the whole event once a leg settled YES', () => {
    const script = (result: 'yes' | 'no') =>
      books([30, 52, 3], [60, 60, 9])
        .result(50, 2, result)
        .change(100, 0, 'bid', 58, 20)
        .change(400, 0, 'bid', 30, 1)
        .run([parity({ size: 5, edge: 0.02, positionMax: 5 })])
    const no = script('no')
    expect(no.fills.map((f) => f.market)).toEqual(['KXE-M0', 'KXE-M1'])
    const yes = script('yes')
    expect(yes.end.signals).toBe(0)
  })
})
