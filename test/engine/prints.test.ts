import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Kind } from '../../engine/message.ts'
import { PRINTS_WAIT } from '../../engine/matching.ts'
import type { SessionHeader } from '../../engine/session.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { BID } from '../../engine/units.ts'
import { favorite } from '../../strategies/favorite.ts'
import { integer, random } from '../support/random.ts'
import { batchesOf, catalog, printsOf, quotesOf, randomTape, START, type Row } from '../support/rows.ts'
import { header, runSession } from '../support/session.ts'

const on = (depth: 'prints' | 'quotes', lagMax = 0): Partial<SessionHeader> => ({ tape: { ...header().tape, depth, lagMax } })
const DELAY = { place: 50_000, cancel: 50_000, amend: 50_000, answer: 30_000 }

/** Trades of one market by hand: [milliseconds, price in cents, contracts]; the taker bought, unless contracts are negative. */
function trades(list: readonly (readonly [number, number, number])[], status = 'active'): Row[] {
  const row = { timeVenue: START, market: 0, flags: 1, side: 0, price: 0, quantity: 0, detail: null }
  return [
    { ...row, time: START, kind: Kind.CATALOG, flags: 1, detail: JSON.stringify(catalog('KXP-1', { status: status as 'active' })) },
    ...list.map(([ms, cents, contracts]) => ({
      ...row,
      time: START + ms * 1000,
      timeVenue: START + ms * 1000,
      kind: Kind.TRADE,
      flags: 3,
      side: contracts < 0 ? 1 : 0,
      price: cents * 100,
      quantity: Math.abs(contracts) * 100,
    })),
  ]
}
const once = (
  wish: (desk: Parameters<NonNullable<Strategy['onTrade']>>[1], trade: Parameters<NonNullable<Strategy['onTrade']>>[0]) => void,
): Strategy => {
  let done = false
  return {
    name: 'once',
    parameters: {},
    onTrade(trade, desk) {
      if (!done) wish(desk, trade)
      done = true
    },
  }
}
const fills = (rows: Row[], strategy: Strategy) =>
  runSession(batchesOf(rows, 100), [strategy], { ...on('prints'), delays: DELAY }, 'prints').fills.map(
    (f) => `${(f.b - START) / 1000} ms: ${f.quantity / 100} at ${f.price / 100} ${f.what}`,
  )

describe('a tape of trades alone', () => {
  const buy = (size: number, limit: number) =>
    once((desk, { market }) => desk.take(market, { side: 'bid', limit: limit * 100, size, why: 'test' }))

  it('fills a taker at the next trades after its arrival, within its limit, up to their size', () => {
    const rows = trades([
      [0, 50, 10],
      [49, 50, 10], // on its way
      [60, 51, 4],
      [61, 55, 100], // beyond the limit: passed over
      [65, 48, -100], // somebody sold: no word of what could be bought
      [70, 49, 3],
      [80, 52, 100],
    ])
    expect(fills(rows, buy(10, 52))).toEqual(['60 ms: 4 at 51 taker', '70 ms: 3 at 49 taker', '80 ms: 3 at 52 taker'])
  })

  it('ends a taker that found nothing within a quarter of an hour', () => {
    const late = PRINTS_WAIT / 1000 + 51
    const run = runSession(
      batchesOf(
        trades([
          [0, 50, 10],
          [late, 50, 10],
        ]),
        10,
      ),
      [buy(10, 52)],
      { ...on('prints'), delays: DELAY },
      'prints',
    )
    expect(run.fills).toEqual([])
    expect(run.lines.filter((l) => l.kind === 'answer').map((l) => l.what)).toEqual(['accepted', 'canceled:ioc'])
  })

  it('fills a maker only when a trade goes through its price, at its own price', () => {
    const rest = once((desk, { market }) => desk.quote(market, { side: 'bid', price: 4_800, size: 10, why: 'test' }))
    const rows = trades([
      [0, 50, 10],
      [60, 48, 500],
      [70, 47, 4],
      [80, 46, 100],
    ])
    expect(fills(rows, rest)).toEqual(['70 ms: 4 at 48 maker', '80 ms: 6 at 48 maker'])
  })

  it('lets nobody trade a market that is known from its trades alone', () => {
    const run = runSession(
      batchesOf(
        trades(
          [
            [0, 50, 10],
            [60, 50, 10],
          ],
          'unlisted',
        ),
        10,
      ),
      [buy(1, 52)],
      on('prints'),
      'prints',
    )
    expect(run.end.refusals).toEqual({ 'market-unlisted': 1 })
  })

  it('shares the volume of a trade between all of ours, and fills nothing before its cause', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), (seed) => {
        const next = random(seed)
        const tape = randomTape({ seed, rows: 4000, markets: 2, settle: true })
        const rows = printsOf(tape.rows)
        const wild: Strategy = {
          name: 'wild',
          parameters: {},
          onTrade({ market, price }, desk) {
            const side = next() < 0.5 ? 'bid' : 'ask'
            const at = desk.snap(market, side, price + integer(next, -300, 300))
            if (next() < 0.5) desk.take(market, { side, limit: at, size: integer(next, 1, 30), why: 'wild' })
            else desk.quote(market, { side, price: at, size: integer(next, 1, 30), why: 'wild' })
          },
        }
        const run = runSession(batchesOf(rows, 333), [wild, favorite({ from: 30, to: 70 })], { ...on('prints'), delays: DELAY }, 'prints')
        const volume = new Map<string, number>()
        for (const r of rows)
          if (r.kind === Kind.TRADE) {
            const key = `${tape.tickers[r.market]} ${r.timeVenue}`
            volume.set(key, (volume.get(key) ?? 0) + r.quantity)
          }
        const arrivals = new Map(run.lines.filter((l) => l.kind === 'command' && l.what.startsWith('submit')).map((l) => [l.order, l.a]))
        for (const f of run.fills) {
          const key = `${f.market} ${f.b}`
          volume.set(key, (volume.get(key) ?? 0) - f.quantity)
          expect(f.b).toBeGreaterThan(arrivals.get(f.order) ?? Infinity)
        }
        for (const left of volume.values()) expect(left).toBeGreaterThanOrEqual(0)
        expect(run.fills.length).toBeGreaterThan(0)
      }),
      { numRuns: 20 },
    )
  })
})

describe('a tape of best prices alone', () => {
  it('gives a taker the quoted size at the quoted price and no more, until another quote', () => {
    const quote = (ms: number, bid: number, ask: number, size: number): Row[] =>
      [
        [0, bid],
        [1, ask],
      ].map(([side = 0, cents = 0], k) => ({
        time: START + ms * 1000,
        timeVenue: START + ms * 1000,
        market: 0,
        kind: Kind.QUOTE,
        flags: k,
        side,
        price: cents * 100,
        quantity: size * 100,
        detail: null,
      }))
    const rows = [...trades([]), ...quote(0, 40, 42, 5), ...quote(200, 41, 42, 5), ...quote(400, 40, 43, 5), ...quote(600, 40, 42, 5)]
    const eager: Strategy = {
      name: 'eager',
      parameters: {},
      onBook: ({ market, ask }, desk) => desk.take(market, { side: 'bid', limit: Math.min(4_200, ask), size: 9, why: 'eager' }),
    }
    const run = runSession(batchesOf(rows, 3), [eager], { ...on('quotes'), delays: DELAY }, 'quotes')
    // At 200 the ask is the one that was taken already; at 600 it has been away in between.
    expect(run.fills.map((f) => `${(f.b - START) / 1000}: ${f.quantity / 100} at ${f.price / 100}`)).toEqual([
      '50: 5 at 42',
      '650: 5 at 42',
    ])
  })

  it('fills a resting order when the other side is quoted at its price, never beyond the quoted size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), (seed) => {
        const tape = randomTape({ seed, rows: 4000, markets: 1, settle: true })
        const rows = quotesOf(tape.rows)
        const maker: Strategy = {
          name: 'maker',
          parameters: {},
          onBook: (book, desk) => {
            if (book.twoSided) desk.quote(book.market, { side: 'bid', price: book.bid, size: 5, why: 'join' })
          },
        }
        const run = runSession(batchesOf(rows, 100), [maker], { ...on('quotes', tape.lagMax), delays: DELAY }, 'quotes')
        for (const f of run.fills.filter((x) => x.what === 'maker')) {
          expect(f.side).toBe(BID)
          const cause = rows.filter((r) => r.kind === Kind.QUOTE && r.side === 1 && r.timeVenue <= f.b).at(-1)
          const trade = cause !== undefined && cause.quantity > 0 && cause.price <= f.price
          expect(trade).toBe(true)
        }
      }),
      { numRuns: 20 },
    )
  })
})
