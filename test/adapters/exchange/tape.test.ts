import { describe, expect, it } from 'vitest'
import { Stage, TapeDriver } from '../../../adapters/exchange/index.ts'
import { Book } from '../../../engine/book.ts'
import { gridOf } from '../../../engine/grid.ts'
import { createBatch, Flag, Kind, Label, pushRow, withLabel, type Batch } from '../../../engine/message.ts'
import { ASK, BID } from '../../../engine/units.ts'
import { catalog, randomTape, START } from '../../support/rows.ts'
import { inProcess, order, Rebuilt, T0, trader, type Json } from './support.ts'

/** An exchange that a tape drives: the tape's strangers and known orders on one book. */

async function* once(batch: Batch): AsyncIterable<Batch> {
  yield batch
}
type Rows = (push: (at: number, kind: Kind, flags: number, side: number, price: number, quantity: number, detail?: unknown) => void) => void
async function driven(rows: Rows) {
  const batch = createBatch(1000)
  rows((at, kind, flags, side, price, quantity, detail) =>
    pushRow(batch, START + at, START + at, 0, kind, flags, side, price, quantity, detail === undefined ? null : JSON.stringify(detail)),
  )
  const w = inProcess({}, [])
  const driver = new TapeDriver(w.x, once(batch), { shift: T0 - START })
  await driver.load()
  const stage = new Stage(w.x, [driver])
  return { ...w, stage, driver }
}
const TICKER = 'KXTAPE-26JAN01-A'
const opening: Rows = (push) => {
  push(0, Kind.CATALOG, Flag.LAST, 0, 0, 0, catalog(TICKER))
  push(1000, Kind.CLEAR, 0, 0, 0, 0)
  push(1000, Kind.LEVEL, 0, BID, 5000, 1000)
  push(1000, Kind.LEVEL, 0, BID, 4900, 700)
  push(1000, Kind.LEVEL, Flag.LAST, ASK, 5200, 400)
}
const book = (w: Awaited<ReturnType<typeof driven>>) => w.call(null, 'GET', `/markets/${TICKER}/orderbook`).body['orderbook_fp'] as Json

describe('a tape behind the wire', () => {
  it('shows its depth plus known orders, less what takers took; its times are shifted onto the exchange’s clock', async () => {
    const w = await driven((push) => {
      opening(push)
      push(3_000_000, Kind.DELTA, withLabel(Flag.LAST, Label.CANCEL), ASK, 5200, -100)
      push(4_000_000, Kind.DELTA, Flag.LAST, ASK, 5200, 900)
    })
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    w.stage.advance(T0 + 1_500_000)
    expect(book(w)).toEqual({
      yes_dollars: [
        ['0.4900', '7.00'],
        ['0.5000', '10.00'],
      ],
      no_dollars: [['0.4800', '4.00']],
    })
    const m = w.call(null, 'GET', `/markets/${TICKER}`).body['market'] as Json
    expect([m['status'], Date.parse(m['close_time'] as string) * 1000]).toEqual(['active', T0 + 3_600_000_000])
    const { session, messages } = w.connect(b)
    session.receive(
      JSON.stringify({ id: 1, cmd: 'subscribe', params: { channels: ['orderbook_delta', 'trade'], market_tickers: [TICKER] } }),
    )
    const mine = w.call(a, 'POST', '/portfolio/events/orders', order('bid', 5000, 200, { ticker: TICKER }))
    expect(book(w)['yes_dollars'].at(-1)).toEqual(['0.5000', '12.00'])
    expect(w.call(a, 'GET', `/portfolio/orders/${mine.body['order_id']}/queue_position`).body['queue_position_fp']).toBe('10.00')
    // Two accounts on one level: the anonymous first, then a.
    const hit = w.call(
      b,
      'POST',
      '/portfolio/events/orders',
      order('ask', 5000, 1100, { ticker: TICKER, time_in_force: 'immediate_or_cancel' }),
    )
    expect(hit.body['fill_count']).toBe('11.00')
    expect(book(w)['yes_dollars'].at(-1)).toEqual(['0.5000', '1.00'])
    expect(w.call(a, 'GET', '/portfolio/fills').body['fills'][0]).toMatchObject({ count_fp: '1.00', is_taker: false })
    // b takes all that is offered; the tape's cancel of 1 is of what b took already, its 9 more are new.
    w.call(b, 'POST', '/portfolio/events/orders', order('bid', 5200, 400, { ticker: TICKER, time_in_force: 'immediate_or_cancel' }))
    expect(book(w)['no_dollars']).toEqual([])
    w.stage.advance(T0 + 3_500_000)
    expect(book(w)['no_dollars']).toEqual([])
    w.stage.advance(T0 + 4_500_000)
    expect(book(w)['no_dollars']).toEqual([['0.4800', '9.00']])
    const rebuilt = new Rebuilt(false)
    for (const x of messages().filter((x) => x['sid'] === 1 && x['seq'] !== undefined)) rebuilt.apply(x)
    expect(rebuilt.book).toEqual(book(w))
    expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
  })

  it('lets a trade meet known orders before and at its price, and prints what is left of it once', async () => {
    const w = await driven((push) => {
      opening(push)
      // The delta first, then its print; then a print first.
      push(2_000_000, Kind.DELTA, withLabel(Flag.LAST | Flag.EXECUTION, Label.TRADE), BID, 5000, -300)
      push(2_000_500, Kind.TRADE, Flag.LAST, ASK, 5000, 300)
      push(3_000_000, Kind.TRADE, Flag.LAST | Flag.EXECUTION, ASK, 5000, 700)
      push(3_000_500, Kind.DELTA, withLabel(Flag.LAST, Label.TRADE), BID, 5000, -700)
    })
    const a = trader(w.x, 'a')
    w.stage.advance(T0 + 1_500_000)
    // Better than the market: 2 are met first.
    w.call(a, 'POST', '/portfolio/events/orders', order('bid', 5100, 200, { ticker: TICKER }))
    const behind = w.call(a, 'POST', '/portfolio/events/orders', order('bid', 5000, 500, { ticker: TICKER })).body['order_id'] as string
    w.stage.advance(T0 + 2_900_000)
    const trades = () =>
      (w.call(null, 'GET', '/markets/trades?limit=1000').body['trades'] as Json[]).map((t) => [t['yes_price_dollars'], t['count_fp']])
    expect(trades()).toEqual([
      ['0.5000', '1.00'],
      ['0.5100', '2.00'],
    ])
    expect(w.call(a, 'GET', `/portfolio/orders/${behind}/queue_position`).body['queue_position_fp']).toBe('7.00')
    w.stage.advance(T0 + 3_900_000)
    // 10 stood before it: 1 and 7 of them traded, 2 count as canceled with the level; nothing is left for it yet.
    expect(trades().reduce((sum, [, q]) => sum + Number(q), 0)).toBe(10)
    expect(w.the(TICKER).volume).toBe(1000)
    expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
  })

  it('fills a resting order when depth comes through it, refuses orders while its book is lost, and pays its result', async () => {
    const w = await driven((push) => {
      opening(push)
      push(2_000_000, Kind.DELTA, Flag.LAST, ASK, 5100, 300)
      push(3_000_000, Kind.SYNC, Flag.LAST, 0, 0, 0, { state: 'unsynced', reason: 'gap' })
      push(4_000_000, Kind.CLEAR, 0, 0, 0, 0)
      push(4_000_000, Kind.LEVEL, Flag.LAST, BID, 4000, 100)
      push(5_000_000, Kind.STATUS, Flag.LAST, 0, 0, 0, { status: 'closed' })
      push(6_000_000, Kind.DETERMINED, Flag.LAST, 0, 0, 0, { result: 'yes', value: 10_000 })
      push(7_000_000, Kind.SETTLED, Flag.LAST, 0, 0, 0, {})
    })
    const a = trader(w.x, 'a')
    w.stage.advance(T0 + 1_500_000)
    w.call(a, 'POST', '/portfolio/events/orders', order('bid', 5100, 200, { ticker: TICKER }))
    w.stage.advance(T0 + 2_500_000)
    expect(w.call(a, 'GET', '/portfolio/fills').body['fills'][0]).toMatchObject({
      yes_price_dollars: '0.5100',
      count_fp: '2.00',
      is_taker: false,
    })
    expect(book(w)['no_dollars']).toEqual([
      ['0.4800', '4.00'],
      ['0.4900', '1.00'],
    ])
    w.stage.advance(T0 + 3_500_000)
    expect(w.call(a, 'POST', '/portfolio/events/orders', order('bid', 5000, 100, { ticker: TICKER })).body['error']['code']).toBe(
      'trading_is_paused',
    )
    w.stage.advance(T0 + 4_500_000)
    expect(book(w)).toEqual({ yes_dollars: [['0.4000', '1.00']], no_dollars: [] })
    w.stage.advance(T0 + 8_000_000)
    expect(w.call(a, 'GET', '/portfolio/settlements').body['settlements'][0]).toMatchObject({ revenue: 200, market_result: 'yes' })
    expect(book(w)).toEqual({ yes_dollars: [], no_dollars: [] })
    expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
  })

  it('keeps its public book equal to tape plus orders over random tapes, and money whole', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const tape = randomTape({ seed, rows: 1500, markets: 2, settle: true, gaps: seed % 2 === 0 })
      const batch = createBatch(tape.rows.length)
      for (const r of tape.rows)
        pushRow(batch, r.time, r.timeVenue, r.market, r.kind as Kind, r.flags, r.side, r.price, r.quantity, r.detail)
      const w = inProcess({}, [])
      const driver = new TapeDriver(w.x, once(batch), { shift: T0 - START })
      await driver.load()
      const stage = new Stage(w.x, [driver])
      const a = trader(w.x, 'a', 100_000)
      let sessions: { ticker: string; rebuilt: Rebuilt; read: () => void }[] = []
      let n = 0
      while (!driver.ended && driver.due < Infinity) {
        stage.advance(driver.due)
        for (const m of w.x.markets.values()) {
          if (sessions.some((x) => x.ticker === m.ticker)) continue
          const { session, frames } = w.connect(a)
          session.receive(
            JSON.stringify({ id: 1, cmd: 'subscribe', params: { channels: ['orderbook_delta'], market_tickers: [m.ticker] } }),
          )
          const rebuilt = new Rebuilt(false)
          sessions = [
            ...sessions,
            {
              ticker: m.ticker,
              rebuilt,
              read: () => frames.splice(0).forEach((f) => f.type !== 'subscribed' && rebuilt.apply(JSON.parse(f.text) as Json)),
            },
          ]
        }
        if (++n % 7 === 0)
          for (const m of w.x.markets.values()) {
            if (!m.tradable || m.depth?.crossed === true) continue
            const price = n % 2 === 0 ? m.ask : m.bid
            if (price <= 0 || price >= 10_000) continue
            w.call(
              a,
              'POST',
              '/portfolio/events/orders',
              order(n % 3 === 0 ? 'bid' : 'ask', price, 100 + (n % 5) * 100, { ticker: m.ticker, self_trade_prevention_type: 'maker' }),
            )
          }
        if (n % 25 === 0) {
          for (const x of sessions) {
            x.read()
            expect(x.rebuilt.book).toEqual(w.call(null, 'GET', `/markets/${x.ticker}/orderbook`).body['orderbook_fp'])
          }
          expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
        }
      }
      expect(a.account.view.fills.length).toBeGreaterThan(5)
    }
  })

  it('knows what was taken of a level: for a post-only order, for a place in the queue, and for what fills it', async () => {
    const w = await driven((push) => {
      opening(push)
      push(3_000_000, Kind.DELTA, Flag.LAST, ASK, 5200, 50)
      push(4_000_000, Kind.DELTA, withLabel(Flag.LAST, Label.CANCEL), BID, 5000, -600)
    })
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    w.stage.advance(T0 + 1_500_000)
    const place = (side: 'bid' | 'ask', price: number, count: number, more: Json = {}) =>
      w.call(a, 'POST', '/portfolio/events/orders', order(side, price, count, { ticker: TICKER, ...more }))
    const taking = (side: 'bid' | 'ask', price: number, count: number) =>
      w.call(b, 'POST', '/portfolio/events/orders', order(side, price, count, { ticker: TICKER, time_in_force: 'immediate_or_cancel' }))
        .body['fill_count']
    const at = (id: unknown) => w.call(a, 'GET', `/portfolio/orders/${String(id)}/queue_position`).body['queue_position_fp']
    const quiet = { post_only: true }
    expect(taking('bid', 5200, 300)).toBe('3.00')
    expect(place('bid', 5200, 100, quiet).body['error']?.details).toBe('post only cross')
    expect(taking('bid', 5200, 100)).toBe('1.00')
    // Nobody sees an offer at 0.52 any more, though the tape has one.
    expect(book(w)['no_dollars']).toEqual([])
    const bid = place('bid', 5200, 100, quiet)
    expect([bid.status, at(bid.body['order_id'])]).toEqual([201, '0.00'])
    // Of the ten bid for at 0.50 three are sold to: seven are seen, and stand before the next.
    expect(taking('ask', 5200, 100)).toBe('1.00')
    expect(taking('ask', 5000, 300)).toBe('3.00')
    expect(book(w)['yes_dollars'].at(-1)).toEqual(['0.5000', '7.00'])
    const next = place('bid', 5000, 200).body['order_id']
    expect(at(next)).toBe('7.00')
    expect(taking('ask', 5000, 100)).toBe('1.00')
    expect(at(next)).toBe('6.00')
    expect([taking('ask', 5000, 700), at(next)]).toEqual(['7.00', '0.00'])
    expect(w.call(a, 'GET', '/portfolio/fills').body['fills'][0]).toMatchObject({ order_id: next, count_fp: '1.00' })
    // New depth through a known bid meets it; what had been taken before does not.
    const through = place('bid', 5200, 100, quiet).body['order_id']
    w.stage.advance(T0 + 2_900_000)
    expect(w.call(a, 'GET', `/portfolio/orders/${String(through)}`).body['order']['fill_count_fp']).toBe('0.00')
    w.stage.advance(T0 + 3_100_000)
    expect(w.call(a, 'GET', `/portfolio/orders/${String(through)}`).body['order']['fill_count_fp']).toBe('0.50')
    w.stage.advance(T0 + 4_100_000)
    expect(w.the(TICKER).shown.crossed).toBe(false)
    expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
  })

  it('waits with its first books for the first subscription to a market, then runs as if it had begun there; nobody missed a row', async () => {
    const w = await driven((push) => {
      opening(push)
      push(3_000_000, Kind.DELTA, Flag.LAST, ASK, 5200, 900)
      push(5_000_000, Kind.DELTA, Flag.LAST, BID, 5000, 500)
    })
    const a = trader(w.x, 'a')
    const latest = T0 + 60_000_000
    w.driver.hold(START, latest)
    const closes = () => Date.parse(w.call(null, 'GET', `/markets/${TICKER}`).body['market'].close_time as string) * 1000
    w.stage.advance(T0 + 1000)
    expect(book(w)['no_dollars']).toEqual([['0.4800', '4.00']])
    // It never closes before it begins: its close is where it would be if nobody came.
    expect(closes()).toBe(latest + 3_600_000_000)
    expect(w.call(a, 'POST', '/portfolio/events/orders', order('bid', 1000, 100, { ticker: TICKER })).status).toBe(201)
    w.stage.advance(T0 + 20_000_000)
    expect([book(w)['no_dollars'], w.driver.due]).toEqual([[['0.4800', '4.00']], Infinity])
    w.hub.onWatched = () => w.driver.release()
    const { session, messages } = w.connect(a)
    session.receive(JSON.stringify({ id: 1, cmd: 'subscribe', params: { channels: ['user_orders', 'market_lifecycle_v2'] } }))
    await Promise.resolve()
    expect(w.driver.held).toBe(true)
    session.receive(JSON.stringify({ id: 2, cmd: 'subscribe', params: { channels: ['orderbook_delta'], market_tickers: [TICKER] } }))
    await Promise.resolve()
    expect(w.driver.held).toBe(false)
    w.stage.advance(T0 + 20_000_000)
    w.stage.advance(T0 + 21_999_999)
    const heard = () =>
      messages()
        .filter((m) => m['msg']?.delta_fp !== undefined)
        .map((m) => [m['msg'].delta_fp, m['msg'].ts_ms])
    expect(heard()).toEqual([['9.00', T0 / 1000 + 20_000]])
    w.stage.advance(T0 + 22_000_000)
    expect(heard()).toEqual([
      ['9.00', T0 / 1000 + 20_000],
      ['5.00', T0 / 1000 + 22_000],
    ])
    // Its first change was three seconds after its beginning, so it closes so much earlier, and that is told.
    expect(closes()).toBe(T0 + 17_000_000 + 3_600_000_000)
    const moved = messages().filter((m) => m['msg']?.event_type === 'close_date_updated')
    expect(moved.map((m) => m['msg'].close_ts)).toEqual([Math.floor(closes() / 1e6)])
  })

  it('without known orders shows the tape and nothing else', async () => {
    const tape = randomTape({ seed: 77, rows: 3000, markets: 1 })
    const batch = createBatch(tape.rows.length)
    for (const r of tape.rows) pushRow(batch, r.time, r.timeVenue, r.market, r.kind as Kind, r.flags, r.side, r.price, r.quantity, r.detail)
    const w = inProcess({}, [])
    const driver = new TapeDriver(w.x, once(batch), { shift: T0 - START })
    await driver.load()
    new Stage(w.x, [driver]).advance(T0 + tape.end - START + 1_000_000)
    const truth = new Book(gridOf([{ start: 0, end: 10_000, step: 100 }]))
    let printed = 0
    for (const r of tape.rows) {
      if (r.kind === Kind.CLEAR) truth.clear()
      if (r.kind === Kind.LEVEL) truth.set(r.side, r.price, r.quantity)
      if (r.kind === Kind.DELTA) truth.change(r.side, r.price, r.quantity)
      if (r.kind === Kind.TRADE) printed += r.quantity
    }
    const m = w.the(tape.tickers[0] as string)
    const levels = (b: Book, side: 0 | 1) => [...(side === 0 ? b.bids : b.asks)]
    if (m.status === 'active') expect([levels(m.shown, 0), levels(m.shown, 1)]).toEqual([levels(truth, 0), levels(truth, 1)])
    expect(m.volume).toBe(printed)
  })
})
