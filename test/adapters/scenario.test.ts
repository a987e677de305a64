import { describe, expect, it } from 'vitest'
import { scenario } from '../../adapters/simulated/scenario.ts'
import type { Strategy } from '../../engine/strategy.ts'

/** The testing door, against figures worked out on paper. */
const taker = (size: number): Strategy => {
  let done = false
  return {
    name: 'taker',
    parameters: { size },
    onBook(book, desk) {
      if (done || !book.hasAsk) return
      done = true
      desk.take(book.market, { side: 'bid', limit: book.ask, size, why: 'first', value: 7 })
    },
  }
}

describe('a scenario', () => {
  it('takes what is shown after the delay, pays the fee and the result', () => {
    // 10 at 44 ¢: fee ceil(0.07 × 10 × 0.44 × 0.56 × 10^4)/10^4 = $0.1725 (from 0.17248); YES pays $1.
    const result = scenario()
      .book({ bids: [[40, 100]], asks: [[44, 30]] })
      .after(5)
      .close('yes')
      .run(taker(10))
    expect(result.signals).toEqual([
      {
        time: expect.closeTo(0, 4) as number,
        strategy: 'taker',
        market: 'KXTEST-30JAN01-T1',
        what: 'take',
        side: 'bid',
        price: 44,
        size: 10,
        why: 'first',
        value: 7,
      },
    ])
    expect(result.orders.map((o) => [o.what, o.side, o.price, o.size])).toEqual([['submit-ioc', 'bid', 44, 10]])
    // 0.1 s to the venue and 0.05 s back.
    expect(result.fills).toEqual([
      {
        time: expect.closeTo(0.15, 3) as number,
        strategy: 'taker',
        market: 'KXTEST-30JAN01-T1',
        order: 0,
        side: 'bid',
        price: 44,
        size: 10,
        maker: false,
        fee: expect.closeTo(0.1725, 6) as number,
        why: 'first',
      },
    ])
    expect(result.fees).toBeCloseTo(0.1725, 9)
    expect(result.profit).toBeCloseTo(10 * 0.56 - 0.1725, 9)
    expect(result.positions).toEqual({})
  })

  it('gets nothing of a level that left on the way, and says what a limit refused', () => {
    const late = scenario()
      .book({ bids: [[40, 100]], asks: [[44, 30]] })
      .after(0.05)
      .level('ask', 44, 0)
      .after(1)
      .level('ask', 50, 10)
      .run(taker(10))
    expect([late.orders.length, late.fills]).toEqual([1, []])
    const refused = scenario({ limits: { orderMax: 500 } })
      .book({ bids: [[40, 100]], asks: [[44, 30]] })
      .after(1)
      .level('bid', 41, 1)
      .run(taker(10))
    expect([refused.orders, refused.refusals.map((r) => [r.strategy, r.side, r.price, r.size, r.reason])]).toEqual([
      [],
      [['taker', 'bid', 44, 10, expect.any(String)]],
    ])
  })

  it('lets an outside value be known late, in several markets of one event, with forecasts and an open position', () => {
    const heard: unknown[] = []
    const listener: Strategy = {
      name: 'listener',
      parameters: {},
      onExternal(external, desk) {
        heard.push([external.series, external.value, Number(desk.now) - Number(external.timeVenue)])
        for (const ticker of ['KXA-E-1', 'KXA-E-2']) {
          const market = desk.market(ticker)
          if (market === null) continue
          heard.push(desk.siblings(market).map((m) => m.ticker))
          desk.forecast(market, 0.25)
        }
        const market = desk.market('KXA-E-2')
        if (market !== null) desk.take(market, { side: 'ask', limit: 3000, size: 2, why: 'falls' })
      },
    }
    const result = scenario()
      .market({ ticker: 'KXA-E-1', exclusive: true })
      .market({ ticker: 'KXA-E-2', exclusive: true, tick: 0.5 })
      .book({ bids: [[20, 5]], asks: [[21, 5]] }, 'KXA-E-1')
      .book({ bids: [[30.5, 5]], asks: [[31, 5]] }, 'KXA-E-2')
      .after(10)
      .external('spot', 101.5, { delay: 2 })
      .after(1)
      .level('ask', 32, 5, 'KXA-E-2')
      .run(listener)
    expect(heard).toEqual([['spot', 101.5, 2_000_000], ['KXA-E-2'], ['KXA-E-1']])
    expect(result.forecasts.map((f) => [f.market, f.probability])).toEqual([
      ['KXA-E-1', 0.25],
      ['KXA-E-2', 0.25],
    ])
    expect(result.fills.map((f) => [f.market, f.side, f.price, f.size])).toEqual([['KXA-E-2', 'ask', 30.5, 2]])
    expect(result.positions).toEqual({ 'KXA-E-2': -2 })
    // Sold at 30.5 ¢, would be bought back at 31 ¢.
    expect(result.profit).toBeCloseTo(-2 * 0.005 - result.fees, 9)
  })

  it('runs the same script any number of times, and several strategies in one session', () => {
    const script = scenario()
      .book({ bids: [[40, 100]], asks: [[44, 30]] })
      .after(5)
      .close('no')
    const once = script.run(taker(10))
    expect(script.run(taker(10))).toEqual(once)
    const both = script.run(taker(10), { ...taker(5), name: 'other' })
    expect(both.fills.map((f) => [f.strategy, f.size])).toEqual([
      ['taker', 10],
      ['other', 5],
    ])
    expect(both.profit).toBeCloseTo(-15 * 0.44 - both.fees, 9)
  })
})
