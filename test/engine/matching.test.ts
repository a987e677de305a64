import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Book } from '../../engine/book.ts'
import { gridOf } from '../../engine/grid.ts'
import { Matching, VenueOrder, type FillModel, type MatchSink } from '../../engine/matching.ts'
import { ASK, BID, type Price, type Quantity, type SideCode } from '../../engine/units.ts'

const grid = gridOf([{ start: 0, end: 10_000, step: 100 }])
type Event = string
function setup(model: FillModel = 'queue', tape = true) {
  const depth = new Book(grid)
  const events: Event[] = []
  const sink: MatchSink = {
    fill: (maker, taker, price, quantity) => void events.push(`fill ${maker?.id ?? '-'}/${taker?.id ?? '-'} ${quantity} @ ${price}`),
    canceled: (order, reason) => void events.push(`canceled ${order.id} ${reason} ${order.remaining}`),
    level: () => {},
  }
  const matching = new Matching(grid, tape ? depth : null, model, sink)
  let id = 0
  const order = (
    side: SideCode,
    price: number,
    quantity: number,
    more: { account?: number; postOnly?: boolean; prevention?: 'taker' | 'maker' } = {},
  ) =>
    new VenueOrder(id++, more.account ?? 0, side, price as Price, quantity as Quantity, more.postOnly ?? false, more.prevention ?? 'taker')
  return { depth, matching, events, order }
}

describe('matching on a tape', () => {
  it('lets a taker walk the displayed depth at its prices, and what it took stays taken', () => {
    const { depth, matching, events, order } = setup()
    depth.set(ASK, 5_100, 300)
    depth.set(ASK, 5_200, 500)
    matching.place(order(BID, 5_200, 600), 'ioc')
    expect(events).toEqual(['fill -/0 300 @ 5100', 'fill -/0 300 @ 5200'])
    matching.place(order(BID, 5_200, 600), 'ioc')
    expect(events.slice(2)).toEqual(['fill -/1 200 @ 5200', 'canceled 1 ioc 400'])
    // More is displayed: only the increase is there to take. Level 0 resets.
    depth.change(ASK, 5_100, 100)
    matching.place(order(BID, 5_200, 600), 'ioc')
    expect(events.slice(4)).toEqual(['fill -/2 100 @ 5100', 'canceled 2 ioc 500'])
  })

  it('makes a maker wait behind what was there: trades advance it, cancels only cap its place', () => {
    const { depth, matching, events, order } = setup()
    depth.set(BID, 5_000, 1_000)
    const ours = order(BID, 5_000, 200)
    matching.place(ours, 'gtc')
    expect(matching.queuePosition(ours)).toBe(1_000)
    matching.execution(BID, 5_000, 300)
    depth.change(BID, 5_000, -300)
    matching.displayed(BID, 5_000, 700)
    expect(matching.queuePosition(ours)).toBe(700)
    // 500 more behind us, 400 cancel: they may all have been behind, so our place holds.
    depth.change(BID, 5_000, 500)
    depth.change(BID, 5_000, -400)
    matching.displayed(BID, 5_000, 800)
    expect(matching.queuePosition(ours)).toBe(700)
    depth.change(BID, 5_000, -300)
    matching.displayed(BID, 5_000, 500)
    expect(matching.queuePosition(ours)).toBe(500)
    matching.execution(BID, 5_000, 600)
    expect(events).toEqual(['fill 0/- 100 @ 5000'])
    matching.execution(BID, 4_900, 1_000)
    expect(events).toEqual(['fill 0/- 100 @ 5000', 'fill 0/- 100 @ 5000'])
  })

  it('shares one trade among all our orders of a level, first in first out', () => {
    const { depth, matching, events, order } = setup()
    depth.set(ASK, 6_000, 100)
    matching.place(order(ASK, 6_000, 300), 'gtc')
    depth.change(ASK, 6_000, 200)
    matching.place(order(ASK, 6_000, 300), 'gtc')
    matching.execution(ASK, 6_000, 650)
    // 100 ahead of both, 300 ours, 200 strangers, 50 for the second.
    expect(events).toEqual(['fill 0/- 300 @ 6000', 'fill 1/- 50 @ 6000'])
  })

  it('keeps a place over a snapshot, never further back, never at the front for nothing', () => {
    const { depth, matching, order } = setup()
    depth.set(BID, 5_000, 1_000)
    const ours = order(BID, 5_000, 200)
    matching.place(ours, 'gtc')
    depth.clear()
    depth.set(BID, 5_000, 400)
    matching.resnapped()
    expect(matching.queuePosition(ours)).toBe(400)
    expect(ours.uncertain).toBe(true)
    depth.set(BID, 5_000, 4_000)
    matching.resnapped()
    expect(matching.queuePosition(ours)).toBe(400)
  })

  it('fills a resting order when depth arrives through its price, up to what is displayed', () => {
    const { depth, matching, events, order } = setup()
    depth.set(BID, 4_900, 100)
    depth.set(ASK, 5_200, 100)
    matching.place(order(BID, 5_000, 500), 'gtc')
    depth.set(ASK, 5_000, 200)
    matching.crossed()
    matching.crossed()
    expect(events).toEqual(['fill 0/- 200 @ 5000'])
  })

  it('knows trades through the price only under strict, and no queue under touch', () => {
    for (const [model, at, through] of [
      ['strict', 0, 200],
      ['queue', 0, 200],
      ['touch', 150, 200],
    ] as const) {
      const { depth, matching, order } = setup(model)
      depth.set(BID, 5_000, 1_000)
      const ours = order(BID, 5_000, 200)
      matching.place(ours, 'gtc')
      matching.execution(BID, 5_000, 150)
      expect(ours.filled).toBe(at)
      matching.execution(BID, 4_900, 900)
      expect(ours.filled).toBe(through)
    }
  })
})

describe('matching rules of the exchange (api.md §4)', () => {
  it('refuses a post-only that would cross, a kill that cannot fill, an off-grid price', () => {
    const { depth, matching, events, order } = setup()
    depth.set(ASK, 5_100, 300)
    expect(matching.place(order(BID, 5_100, 100, { postOnly: true }), 'gtc')).toBe('post-only-cross')
    expect(matching.place(order(BID, 5_100, 400), 'fok')).toBe('fok-volume')
    expect(matching.place(order(BID, 5_150, 100), 'gtc')).toBe('off-grid')
    expect(matching.place(order(BID, 5_100, 100), 'gtc', 50)).toBe('reduce-only-needs-ioc')
    expect(matching.place(order(BID, 5_100, 100), 'ioc', 0)).toBe('reduce-only-no-position')
    expect(events).toEqual([])
    expect(matching.place(order(BID, 5_100, 300), 'fok')).toBe(null)
    expect(events).toEqual(['fill -/5 300 @ 5100'])
  })

  it('caps a reduce-only order to what it may close', () => {
    const { depth, matching, events, order } = setup()
    depth.set(ASK, 5_100, 1_000)
    expect(matching.place(order(BID, 5_100, 400), 'ioc', 150)).toBe(null)
    expect(events).toEqual(['fill -/0 150 @ 5100'])
  })

  it('keeps its place when an order gets smaller and loses it for anything else', () => {
    const { matching, order } = setup('queue', false)
    const [a, b] = [order(BID, 5_000, 300, { account: 1 }), order(BID, 5_000, 300, { account: 2 })]
    matching.place(a, 'gtc')
    matching.place(b, 'gtc')
    expect(matching.amend(a, 5_000 as Price, 200 as Quantity)).toBe(null)
    expect(matching.queuePosition(a)).toBe(0)
    expect(matching.decrease(a, 100 as Quantity)).toBe(true)
    expect(matching.queuePosition(b)).toBe(100)
    expect(matching.amend(a, 5_000 as Price, 400 as Quantity)).toBe(null)
    expect([matching.queuePosition(a), matching.queuePosition(b)]).toEqual([300, 0])
    expect(matching.amend(b, 4_900 as Price, 300 as Quantity)).toBe(null)
    expect([matching.queuePosition(a), matching.queuePosition(b)]).toEqual([0, 0])
    // Amended to what it is, it is at the end too.
    matching.place(order(BID, 5_000, 50, { account: 3 }), 'gtc')
    expect(matching.amend(a, 5_000 as Price, 400 as Quantity)).toBe(null)
    expect(matching.queuePosition(a)).toBe(50)
  })

  it('prevents self-trades in both modes', () => {
    for (const [prevention, expected] of [
      ['taker', ['fill 0/2 100 @ 5000', 'canceled 2 self-trade 200']],
      ['maker', ['fill 0/2 100 @ 5000', 'canceled 1 self-trade 100', 'canceled 2 ioc 200']],
    ] as const) {
      const { matching, events, order } = setup('queue', false)
      matching.place(order(ASK, 5_000, 100, { account: 9 }), 'gtc')
      matching.place(order(ASK, 5_100, 100, { account: 1 }), 'gtc')
      matching.place(order(BID, 5_200, 300, { account: 1, prevention }), 'ioc')
      expect(events).toEqual(expected)
    }
  })

  it('conserves: what rests is what was placed less what traded and left, for any orders of many accounts', () => {
    const action = fc.record({
      kind: fc.constantFrom('gtc', 'ioc', 'fok', 'cancel', 'amend', 'decrease'),
      account: fc.integer({ min: 0, max: 3 }),
      side: fc.constantFrom(BID, ASK),
      price: fc.integer({ min: 45, max: 55 }),
      quantity: fc.integer({ min: 1, max: 500 }),
      postOnly: fc.boolean(),
      maker: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
        const live = new Map<number, VenueOrder>()
        let traded = 0
        const matching: Matching = new Matching(grid, null, 'queue', {
          fill(maker, taker, price, quantity) {
            expect(quantity).toBeGreaterThan(0)
            expect(maker === null || taker === null).toBe(false)
            expect(maker?.account).not.toBe(taker?.account)
            // At the maker's price, within the taker's limit.
            expect(price).toBe(maker?.price)
            expect(taker?.side === BID ? price <= taker.price : price >= (taker?.price ?? 0)).toBe(true)
            traded += quantity
          },
          canceled: () => {},
          level: () => {},
        })
        let id = 0
        for (const a of actions) {
          const pick = [...live.values()].filter((o) => o.resting)[a.quantity % 7]
          if (a.kind === 'cancel') {
            if (pick !== undefined) matching.cancel(pick, 'user')
          } else if (a.kind === 'decrease') {
            if (pick !== undefined) matching.decrease(pick, Math.max(1, pick.remaining - a.quantity) as Quantity)
          } else if (a.kind === 'amend') {
            if (pick !== undefined) matching.amend(pick, (a.price * 100) as Price, a.quantity as Quantity)
          } else {
            const order = new VenueOrder(
              id++,
              a.account,
              a.side,
              (a.price * 100) as Price,
              a.quantity as Quantity,
              a.postOnly && a.kind === 'gtc',
              a.maker ? 'maker' : 'taker',
            )
            const before = [...live.values()].reduce((s, o) => s + o.filled, 0)
            if (matching.place(order, a.kind as 'gtc') === null) live.set(order.id, order)
            else expect([...live.values()].reduce((s, o) => s + o.filled, 0)).toBe(before)
          }
          const resting = [...matching.orders()]
          // Never crossed, totals as the sum of what rests, every order counted once.
          expect(matching.known.crossed && matching.known.twoSided).toBe(false)
          expect(resting.length).toBe(matching.count)
          for (const side of [BID, ASK] as const) {
            const sum = resting.filter((o) => o.side === side).reduce((s, o) => s + o.remaining, 0)
            const levels = side === BID ? matching.known.bids : matching.known.asks
            expect([...levels].reduce((s, q) => s + q, 0)).toBe(sum)
          }
        }
        // Both sides of every trade were counted once.
        expect([...live.values()].reduce((s, o) => s + o.filled, 0)).toBe(2 * traded)
      }),
      { numRuns: 150 },
    )
  })
})
