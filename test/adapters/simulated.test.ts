import { describe, expect, it } from 'vitest'
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { gridOf } from '../../engine/grid.ts'
import { Market, MarketEvent } from '../../engine/market.ts'
import { Order, type Answer } from '../../engine/order.ts'
import type { SelfTradePrevention, TimeInForce } from '../../engine/matching.ts'
import { ASK, BID, type Price, type Quantity, type SideCode, type Timestamp } from '../../engine/units.ts'
import { Wish } from '../../engine/wish.ts'
import { catalog } from '../support/rows.ts'

/** A venue with a clock of its own: what is due happens when the test says so. */
function setup() {
  const event = new MarketEvent('E', false)
  const market = new Market(0, 0, catalog('KXT-1', { event: 'E' }), event, 'book')
  market.synced = true
  market.venueTime = 1_000
  const answers: (Answer & { known: number })[] = []
  const wakes: { time: number; token: unknown }[] = []
  const inbox = {
    now: 1_000,
    answer: (known: number, answer: Answer) => void answers.push({ ...answer, known }),
    wake: (time: number, _market: unknown, token: unknown) => void wakes.push({ time, token }),
  }
  const venue = new SimulatedVenue('queue', { place: 100, cancel: 50, amend: 70, answer: 30 }, 400)
  venue.connect(inbox)
  let id = 0
  const wish = new Wish(market, 0, BID, false)
  const order = (
    side: SideCode,
    price: number,
    quantity: number,
    tif: TimeInForce,
    more: { postOnly?: boolean; expires?: number; reduceOnly?: boolean; prevention?: SelfTradePrevention } = {},
  ) =>
    new Order(
      id++,
      market,
      0,
      side,
      price as Price,
      quantity as Quantity,
      tif,
      more.postOnly ?? false,
      (more.expires ?? null) as Timestamp | null,
      wish,
      more,
    )
  const send = (o: Order) => venue.send({ type: 'submit', order: o, price: o.price, quantity: o.quantity })
  /** The first row of the market at a later venue time. */
  const row = (time: number) => {
    venue.instant(market, time)
    market.venueTime = time
    inbox.now = time
  }
  const told = (from = 0) =>
    answers
      .slice(from)
      .map(
        (a) =>
          `${a.order.id} ${a.type}${'reason' in a ? ` ${a.reason}` : ''}${a.type === 'fill' ? ` ${a.quantity}@${a.price} ${a.maker ? 'maker' : 'taker'}` : ''}`,
      )
  return { market, venue, answers, wakes, inbox, order, send, row, told }
}

describe('the simulated venue', () => {
  it('acts on a command before the first later row of its market, or when the clock reaches arrival + lagMax; never told early', () => {
    const v = setup()
    const a = v.order(BID, 4_000, 100, 'gtc')
    expect(v.send(a)).toBe(1_100)
    v.row(1_100) // not later than the arrival
    expect(v.told()).toEqual([])
    v.row(1_101)
    expect(v.told()).toEqual(['0 accepted'])
    expect(v.answers[0]?.known).toBe(1_130)
    const b = v.order(BID, 3_900, 100, 'gtc')
    v.send(b)
    const wake = v.wakes.at(-1)
    expect(wake?.time).toBe(1_201 + 400)
    v.venue.due(wake?.token)
    expect(v.told(1)).toEqual(['1 accepted'])
    // The row that would have caused it comes later: it acts once.
    v.row(5_000)
    expect(v.told(2)).toEqual([])
  })

  it('knows immediate, kill, post-only, reduce-only and expiring orders', () => {
    const v = setup()
    v.market.book.set(ASK, 5_000, 300)
    v.market.book.set(BID, 4_000, 300)
    for (const o of [
      v.order(BID, 5_000, 200, 'ioc'),
      v.order(BID, 5_000, 200, 'fok'),
      v.order(BID, 5_000, 100, 'gtc', { postOnly: true }),
      v.order(BID, 5_000, 100, 'ioc', { reduceOnly: true }),
      v.order(ASK, 4_000, 900, 'ioc', { reduceOnly: true }),
      v.order(ASK, 4_100, 100, 'gtc', { reduceOnly: true }),
      v.order(BID, 4_050, 100, 'gtc'),
      v.order(BID, 3_900, 100, 'gtc', { expires: 9_000 }),
    ])
      v.send(o)
    v.row(2_000)
    expect(v.told()).toEqual([
      '0 accepted',
      '0 fill 200@5000 taker',
      '1 rejected fok-volume',
      '2 rejected post-only-cross',
      '3 rejected reduce-only-no-position',
      '4 accepted',
      '4 fill 200@4000 taker',
      '4 canceled reduce-only',
      '5 rejected reduce-only-needs-ioc',
      '6 rejected off-grid',
      '7 accepted',
    ])
    v.row(9_001)
    expect(v.told(11)).toEqual(['7 canceled expired'])
  })

  it('prevents self-trades in both modes, on our own resting orders', () => {
    for (const [prevention, expected] of [
      ['taker', ['0 accepted', '1 accepted', '1 canceled self-trade']],
      ['maker', ['0 accepted', '1 accepted', '0 canceled self-trade', '1 canceled ioc']],
    ] as const) {
      const v = setup()
      v.send(v.order(ASK, 5_000, 100, 'gtc'))
      v.send(v.order(BID, 5_000, 100, 'ioc', { prevention }))
      v.row(2_000)
      expect(v.told()).toEqual(expected)
    }
  })

  it('cancels at the close, on reactivation, and what a new grid does not know; refuses what comes to a closed market', () => {
    const v = setup()
    v.market.book.set(BID, 3_000, 100)
    v.send(v.order(BID, 4_000, 100, 'gtc'))
    v.row(2_000)
    v.market.status = 'inactive'
    v.venue.lifecycle(v.market, 'active', 2_100)
    v.send(v.order(BID, 3_900, 100, 'gtc'))
    v.row(3_000)
    v.market.status = 'active'
    v.venue.lifecycle(v.market, 'inactive', 3_100)
    v.send(v.order(BID, 3_800, 100, 'gtc'))
    v.row(4_000)
    v.market.status = 'closed'
    v.venue.lifecycle(v.market, 'active', 4_100)
    v.send(v.order(BID, 3_700, 100, 'gtc'))
    v.row(5_000)
    expect(v.told()).toEqual([
      '0 accepted',
      '1 rejected trading-paused',
      '0 canceled reactivated',
      '2 accepted',
      '2 canceled closed',
      '3 rejected market-closed',
    ])
    expect(v.market.resting).toBe(0)
  })

  it('answers a cancel or amend of an order that is gone with not-found, and the fill stands', () => {
    const v = setup()
    const a = v.order(BID, 4_000, 100, 'gtc')
    v.send(a)
    v.row(2_000)
    v.venue.execution(v.market, BID, 3_900, 500, 2_100)
    v.venue.send({ type: 'cancel', order: a, price: a.price, quantity: a.quantity })
    v.venue.send({ type: 'amend', order: a, price: 4_100 as Price, quantity: 200 as Quantity })
    v.row(3_000)
    expect(v.told()).toEqual(['0 accepted', '0 fill 100@4000 maker', '0 cancel-rejected not-found', '0 amend-rejected not-found'])
  })
})

describe('what a review found', () => {
  it('gives back what we took once the level was emptied and filled again, also to one who only takes', () => {
    const v = setup()
    v.market.book.set(ASK, 5_000, 100)
    v.send(v.order(BID, 5_000, 100, 'ioc'))
    v.row(2_000)
    expect(v.market.taken).toBe(true)
    v.market.book.change(ASK, 5_000, -100)
    v.venue.displayed(v.market, ASK, 5_000, 0)
    v.market.book.change(ASK, 5_000, 100)
    v.send(v.order(BID, 5_000, 100, 'ioc'))
    v.row(3_000)
    expect(v.told(2)).toEqual(['1 accepted', '1 fill 100@5000 taker'])
  })

  it('does not trade on a book that is crossed or out of sync', () => {
    for (const broken of ['crossed', 'unsynced'] as const) {
      const v = setup()
      v.market.book.set(ASK, 5_000, 100)
      if (broken === 'crossed') v.market.book.set(BID, 6_000, 100)
      else v.market.synced = false
      v.send(v.order(BID, 5_000, 100, 'ioc'))
      v.row(2_000)
      expect(v.told()).toEqual(['0 accepted', '0 canceled ioc'])
    }
  })

  it('does not fill an order by a print from before it was there; forgets the expiry of an order that is over; keeps orders over a new grid', () => {
    const v = setup()
    const a = v.order(BID, 4_000, 100, 'gtc', { expires: 9_000 })
    v.send(a)
    v.row(2_000)
    v.venue.execution(v.market, BID, 3_900, 500, 1_050)
    expect(v.told()).toEqual(['0 accepted'])
    v.market.grid = gridOf([{ start: 0, end: 10_000, step: 1_000 }])
    v.market.book.regrid(v.market.grid)
    v.send(v.order(ASK, 6_600, 100, 'gtc'))
    v.venue.lifecycle(v.market, 'active', 2_100)
    expect(v.market.resting).toBe(1)
    v.venue.execution(v.market, BID, 3_000, 500, 2_200)
    expect(v.told(1)).toEqual(['0 fill 100@4000 maker'])
    v.row(3_000)
    expect(v.market.arrival).toBe(Infinity)
  })
})
