import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Run } from '../../data/run.ts'
import { Engine } from '../../engine/engine.ts'
import { closedBy } from '../../engine/live.ts'
import { Kind } from '../../engine/message.ts'
import type { News } from '../../engine/news.ts'
import { ORDER_LIFE, type Command } from '../../engine/order.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { ASK, BID, SECOND } from '../../engine/units.ts'
import { buildReport } from '../../reports/index.ts'
import { integer, random } from '../support/random.ts'
import { batchesOf, catalog, randomTape, START, type Row } from '../support/rows.ts'
import { header as headerOf } from '../support/session.ts'

const T = 'KXLIVE-E-A'
const header = { ...headerOf(), mode: 'live' as const, live: { nonce: 'test', environment: 'local', subaccount: 0 } }

/** A venue that only collects. */
class Silent {
  readonly onTape = null
  readonly sent: Command[] = []
  connect(): void {}
  send(command: Command): number {
    this.sent.push(command)
    return 0
  }
}
function engineOf(strategies: readonly Strategy[]) {
  const run = new Run()
  const venue = new Silent()
  const named = { ...header, strategies: strategies.map(({ name, parameters }) => ({ name, parameters })) }
  const engine = new Engine({ header: named, strategies, venue, sink: run })
  return { engine, venue, run, header: named }
}

/** One market with a book at 40/50, and a strategy that wants what it is told. */
function scene() {
  const wish: { quote: number | null; take: number | null } = { quote: 4000, take: null }
  const strategy: Strategy = {
    name: 'told',
    parameters: {},
    onBook(book, desk) {
      if (wish.take !== null) desk.take(book.market, { side: 'bid', limit: wish.take as never, size: 2, why: 'told' })
      if (wish.quote === null) desk.pull(book.market, 'bid')
      else desk.quote(book.market, { side: 'bid', price: wish.quote as never, size: 10, why: 'told' })
    },
  }
  const parts = engineOf([strategy])
  const { engine, venue, run } = parts
  let second = 0
  const row = (kind: Kind, side: number, price: number, quantity: number, detail: unknown = null): Row => ({
    time: START + second * SECOND,
    timeVenue: START + second * SECOND,
    market: 0,
    kind,
    flags: kind === Kind.CLEAR || (kind === Kind.LEVEL && side === BID) ? 0 : 1,
    side,
    price,
    quantity,
    detail: detail === null ? null : JSON.stringify(detail),
  })
  const rows = (...list: Row[]): void => {
    for (const batch of batchesOf(list, 100)) engine.run(batch)
  }
  rows(row(Kind.CATALOG, 0, 0, 0, catalog(T)))
  return {
    ...parts,
    wish,
    /** A book anew: the strategy is called. */
    book() {
      second++
      rows(row(Kind.CLEAR, 0, 0, 0), row(Kind.LEVEL, BID, 4000, 10_000), row(Kind.LEVEL, ASK, 5000, 10_000))
      engine.tick(START + second * SECOND + 1000)
    },
    status(status: string, kind: Kind = Kind.STATUS, more: object = {}, market = 0) {
      second++
      rows({ ...row(kind, 0, 0, 0, { status, ...more }), market })
      engine.tick(START + second * SECOND + 1000)
    },
    news(...list: News[]) {
      second++
      for (const n of list) engine.enter(START + second * SECOND, n)
    },
    order: (id: number) => engine.manager.orderOf(id),
    commands: () => venue.sent.splice(0).map((c) => `${c.type} ${c.order.id} ${c.price} ${c.quantity}`),
    words() {
      engine.flush()
      const { journal, strings } = run.record(header, engine.finish('over', true))
      return Array.from({ length: journal.length }, (_, i) =>
        [strings[journal.owner[i] as number] ?? '', strings[journal.what[i] as number], strings[journal.why[i] as number] ?? '']
          .join(' ')
          .trim(),
      )
    },
    refusals: () => ({ ...engine.manager.tallies[0]?.refusals }),
  }
}
const at = START
const agreed: News = { type: 'agreed', reason: 'reconciled' }
const accepted = (order: number): News => ({ type: 'accepted', order, timeVenue: at, remaining: 1000, id: `v${order}` })
const fill = (order: number, quantity: number, trade: string): News => ({
  type: 'fill',
  order,
  timeVenue: at,
  price: 4000,
  quantity,
  fee: 1_000,
  maker: true,
  trade,
})
const noAnswer = (order: number): News => ({ type: 'no-answer', order, timeVenue: at, reason: 'timeout' })

describe('a live session', () => {
  it('sends nothing before the exchange agrees, takes everything back when it does not, and goes on when it does again', () => {
    const s = scene()
    s.book()
    expect(s.commands()).toEqual([])
    expect(s.refusals()).toEqual({ syncing: 1 })
    s.news(agreed)
    s.book()
    expect(s.commands()).toEqual(['submit 0 4000 1000'])
    s.news(accepted(0), { type: 'disagreed', reason: 'a position' })
    expect(s.commands()).toEqual(['cancel 0 4000 1000'])
    s.book()
    s.news({ type: 'canceled', order: 0, timeVenue: at, reason: 'user' })
    s.book()
    expect(s.commands()).toEqual([])
    expect(s.engine.session.name).toBe('syncing')
    s.news(agreed)
    s.book()
    expect(s.commands()).toEqual(['submit 1 4000 1000'])
  })

  it('counts an order without answer at its worst, adds nothing beside it, and goes on when it is known', () => {
    const s = scene()
    s.news(agreed)
    s.book()
    s.news(noAnswer(0))
    const exposed = s.engine.portfolio.loss
    expect(exposed).toBeGreaterThanOrEqual(4_000 * 1000)
    s.wish.take = 5000
    s.wish.quote = null
    s.book()
    expect(s.commands()).toEqual(['submit 0 4000 1000'])
    expect(s.refusals()).toMatchObject({ 'order-unknown': 1 })
    expect(s.engine.portfolio.loss).toBe(exposed)
    expect(s.engine.ordersOpen).toBe(1)
    s.news({ type: 'absent', order: 0, timeVenue: at })
    expect([s.order(0)?.state, s.engine.portfolio.loss, s.engine.ordersOpen]).toEqual(['absent', 0, 0])
    s.book()
    expect(s.commands()).toEqual(['submit 1 5000 200'])
  })

  it.each([
    ['accepted', [accepted(0)], 'canceling', 0, ['cancel 0 4000 1000']],
    ['filled in part', [fill(0, 300, 'a')], 'canceling', 300, ['cancel 0 4000 700']],
    ['filled whole', [fill(0, 400, 'a'), fill(0, 600, 'b')], 'filled', 1000, ['cancel 0 4000 600']],
  ] as const)(
    'adopts an order that was held to be absent and was %s: it counts, its market is halted, it is taken back',
    (_, news, state, position, commands) => {
      const s = scene()
      s.news(agreed)
      s.book()
      s.news(noAnswer(0), { type: 'absent', order: 0, timeVenue: at })
      s.wish.quote = null
      s.book()
      s.commands()
      s.news(...news)
      expect(s.order(0)?.state).toBe(state)
      expect(s.commands()).toEqual(commands)
      const market = s.engine.markets.get(T)
      expect([market?.holding?.position, market?.halted === null]).toEqual([position, false])
      s.wish.quote = 3900
      s.book()
      expect(s.commands()).toEqual([])
      if (state === 'canceling') s.news({ type: 'canceled', order: 0, timeVenue: at, reason: 'user' })
      expect(s.commands()).toEqual([])
      expect(s.refusals()).toMatchObject({ 'market-halted': 1 })
      expect([s.engine.ordersOpen, s.engine.markets.get(T)?.holding?.bidQuantity]).toEqual([0, 0])
      s.news({ type: 'market-freed', ticker: T, reason: 'looked at' })
      s.book()
      expect(s.commands()).toEqual(['submit 1 3900 1000'])
    },
  )

  it('takes an order that lives again back until it is gone, also when its wish has another order by now', () => {
    const s = scene()
    s.news(agreed)
    s.book()
    s.news(noAnswer(0), { type: 'absent', order: 0, timeVenue: at })
    s.wish.quote = 3900
    s.book()
    s.news(accepted(1))
    expect(s.commands()).toEqual(['submit 0 4000 1000', 'submit 1 3900 1000'])
    s.news(accepted(0))
    expect(s.commands()).toContain('cancel 0 4000 1000')
    for (let i = 0; i < 3; i++) {
      s.news({ type: 'cancel-rejected', order: 0, timeVenue: at, reason: 'rate' })
      expect(s.commands()).toEqual(['cancel 0 4000 1000'])
    }
    s.news({ type: 'market-freed', ticker: T, reason: 'looked at' }, noAnswer(0))
    s.wish.quote = null
    s.book()
    s.news({ type: 'canceled', order: 1, timeVenue: at, reason: 'user' })
    s.commands()
    // Nobody knows what became of it: nothing is added beside it.
    s.wish.quote = 3800
    s.book()
    expect([s.commands(), s.refusals()['order-unknown']]).toEqual([[], 1])
    s.news({ type: 'canceled', order: 0, timeVenue: at, reason: 'user' })
    expect(s.commands()).toEqual(['submit 2 3800 1000'])
    expect([s.engine.ordersOpen, s.engine.markets.get(T)?.holding?.bidQuantity]).toEqual([1, 1000])
  })

  it('knows again what an amend without answer came to', () => {
    for (const [news, price] of [
      [accepted(0), 4000],
      [{ type: 'amended', order: 0, timeVenue: at, remaining: 1000 } as News, 3900],
    ] as const) {
      const s = scene()
      s.news(agreed)
      s.book()
      s.news(accepted(0))
      s.wish.quote = 3900
      s.book()
      expect(s.commands()).toEqual(['submit 0 4000 1000', 'amend 0 3900 1000'])
      s.news(noAnswer(0))
      // 40 ¢ filled whole, or 39 ¢: the dearer counts.
      expect(s.engine.markets.get(T)?.holding?.bidNotional).toBe(4000 * 1000)
      s.news(news)
      // It is worked on from what it is.
      expect([s.order(0)?.price, s.order(0)?.state]).toEqual([price, price === 3900 ? 'working' : 'amending'])
    }
  })

  it('books a fill that is not its own to nobody of its strategies, and halts the market', () => {
    const s = scene()
    s.news(agreed)
    s.book()
    s.news(accepted(0))
    s.news({
      type: 'foreign-fill',
      ticker: T,
      side: 'ask',
      price: 4000,
      quantity: 500,
      fee: 2_000,
      maker: false,
      trade: 'x',
      timeVenue: at,
    })
    expect(s.engine.markets.get(T)?.holding?.position).toBe(-500)
    expect(s.commands()).toEqual(['submit 0 4000 1000', 'cancel 0 4000 1000'])
    s.news({ type: 'canceled', order: 0, timeVenue: at, reason: 'user' })
    const end = s.engine.finish('over', true)
    expect(end.owners.map((o) => [o.name, o.fills, o.fees])).toEqual([
      ['told', 0, 0],
      ['outside', 1, 2_000],
    ])
    const report = buildReport(s.run.record(s.header, end))
    expect(report.html).toContain('outside')
  })

  it('books what the operator closed to whoever held it: nobody closes it once more, and the market goes on', () => {
    const s = scene()
    s.news(agreed)
    s.book()
    s.news(accepted(0), fill(0, 500, 'ours'))
    const closed = { ticker: T, side: 'ask', price: 4000, quantity: 500, fee: 2_000, maker: false, trade: 'x', timeVenue: at } as const
    s.news({ type: 'foreign-fill', ...closed, by: 'flatten' })
    expect(s.engine.markets.get(T)).toMatchObject({ halted: null, holding: { position: 0, positions: [0] } })
    expect(s.commands()).toEqual(['submit 0 4000 1000'])
    s.news({ type: 'canceled', order: 0, timeVenue: at, reason: 'user' })
    const end = s.engine.finish('over', true)
    // Nothing is outside's.
    expect(end.owners.map((o) => [o.name, o.fills, o.fees])).toEqual([['told', 2, 3_000]])
    expect(buildReport(s.run.record(s.header, end)).html).toContain('flatten')
  })
  it('what was closed before a market paid is booked to whoever held it then, also where it is heard of after', () => {
    const s = scene()
    s.news(agreed)
    s.book()
    s.news(accepted(0), fill(0, 500, 'ours'), { type: 'canceled', order: 0, timeVenue: at, reason: 'user' })
    s.status('closed')
    s.status('', Kind.DETERMINED, { result: 'yes', value: 10_000 })
    s.status('', Kind.SETTLED)
    const closed = { ticker: T, side: 'ask', price: 4500, quantity: 500, fee: 2_000, maker: false, trade: 'x', timeVenue: at } as const
    s.news({ type: 'foreign-fill', ...closed, by: 'flatten' })
    // Bought at 40, sold at 45: what the result was changes nothing of it.
    expect(s.engine.portfolio.ledgers.map((l) => [l.cashFlow, l.fees])).toEqual([
      [500 * 500, 3_000],
      [0, 0],
    ])
    expect(s.engine.portfolio.cash - header.cash).toBe(500 * 500 - 3_000)
  })
  it('shares what was closed: nobody beyond zero, nobody by more than his part and a contract’s hundredth, the rest to nobody, the sum to the last digit', () => {
    const positions = fc.array(fc.integer({ min: -2_000, max: 2_000 }), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(
        positions,
        fc.boolean(),
        fc.integer({ min: 1, max: 6_000 }),
        fc.integer({ min: 0, max: 99_999 }),
        (held, buys, quantity, fee) => {
          const outside = held.length
          const parts = closedBy(held, buys ? BID : ASK, quantity, fee, outside)
          const sum = (f: (p: (typeof parts)[number]) => number): number => parts.reduce((a, p) => a + f(p), 0)
          expect([sum((p) => p.quantity), sum((p) => p.fee)]).toEqual([quantity, fee])
          const open = held.map((p) => Math.max(0, buys ? -p : p))
          const total = open.reduce((a, p) => a + p, 0)
          const closing = Math.min(total, quantity)
          for (const p of parts) expect(p.quantity > 0 && p.fee >= 0 && Number.isSafeInteger(p.fee)).toBe(true)
          for (const [owner, h] of open.entries()) {
            const part = parts.find((p) => p.owner === owner)?.quantity ?? 0
            expect(part).toBeLessThanOrEqual(h)
            expect(Math.abs(part - (total === 0 ? 0 : (closing * h) / total))).toBeLessThanOrEqual(held.length)
          }
          expect(parts.find((p) => p.owner === outside)?.quantity ?? 0).toBe(quantity - closing)
        },
      ),
    )
  })

  it('is told of an order whose market has paid: for ten minutes it is booked and paid; after that nothing is invented, and trading stops', () => {
    const s = scene()
    s.news(agreed)
    s.book()
    s.news(accepted(0), { type: 'canceled', order: 0, timeVenue: at, reason: 'closed' })
    s.status('closed')
    s.status('', Kind.DETERMINED, { result: 'yes', value: 10_000 })
    s.status('', Kind.SETTLED)
    s.news(fill(0, 100, 'late'))
    s.news({
      type: 'foreign-fill',
      ticker: T,
      side: 'ask',
      price: 4000,
      quantity: 100,
      fee: 0,
      maker: false,
      trade: 'late too',
      timeVenue: at,
    })
    expect([s.engine.session.agreed, s.engine.portfolio.cash - header.cash]).toEqual([true, -1_000])
    s.engine.tick(START + 700 * SECOND)
    expect(s.order(0)).toBeUndefined()
    s.engine.enter(START + 701 * SECOND, fill(0, 100, 'too late'))
    expect(s.engine.session.agreed).toBe(false)
    expect(s.words().join('\n')).toContain('disagreed fill of order 0, whose market has been paid')
  })

  it('halts a market that was halted before the feed told of it, until whoever halted it frees it', () => {
    const halted = (ticker: string, by?: string): News => ({
      type: 'market-halted',
      ticker,
      reason: 'not ours',
      ...(by === undefined ? {} : { by }),
    })
    const s = scene()
    s.news(agreed, halted('KXLIVE-E-B', 'reconciliation'), halted('KXLIVE-E-C', 'reconciliation'), halted('KXLIVE-E-D'))
    s.news({ type: 'market-freed', ticker: 'KXLIVE-E-C', reason: 'agreed', by: 'reconciliation' })
    s.news({ type: 'market-freed', ticker: 'KXLIVE-E-D', reason: 'agreed', by: 'somebody else' })
    for (const [k, x] of ['B', 'C', 'D'].entries()) s.status('', Kind.CATALOG, catalog(`KXLIVE-E-${x}`), k + 1)
    const of = (x: string): string | null | undefined => s.engine.markets.get(`KXLIVE-E-${x}`)?.halted
    expect([of('B'), of('C'), of('D')]).toEqual(['not ours', null, 'not ours'])
    s.news({ type: 'market-freed', ticker: 'KXLIVE-E-B', reason: 'agreed', by: 'reconciliation' })
    expect(of('B')).toBeNull()
  })

  it('books what others did in a market that the feed had not told of, as soon as it does', () => {
    const s = scene()
    s.news(agreed, {
      type: 'foreign-fill',
      ticker: 'KXLIVE-E-B',
      side: 'bid',
      price: 3000,
      quantity: 200,
      fee: 500,
      maker: true,
      trade: 'early',
      timeVenue: at,
    })
    expect([s.engine.session.agreed, s.engine.awaits('KXLIVE-E-B'), s.engine.portfolio.cash]).toEqual([false, true, header.cash])
    s.status('', Kind.CATALOG, catalog('KXLIVE-E-B'), 1)
    expect([s.engine.awaits('KXLIVE-E-B'), s.engine.portfolio.cash - header.cash]).toEqual([false, -600_500])
    expect(s.engine.markets.get('KXLIVE-E-B')?.holding?.position).toBe(200)
  })

  it('does not take an order for refused of which only a change was', () => {
    const s = scene()
    s.news(agreed)
    s.book()
    s.news(accepted(0), noAnswer(0), fill(0, 100, 't1'))
    // A fill says nothing of the write without outcome.
    expect(s.order(0)?.state).toBe('unknown')
    s.news({ type: 'amend-rejected', order: 0, timeVenue: at, reason: 'not-sent' })
    expect(s.order(0)?.state).toBe('unknown')
  })

  it('takes quotes back when a book stays out of sync, and not for a gap', () => {
    for (const mended of [true, false]) {
      const s = scene()
      s.news(agreed)
      s.book()
      s.news(accepted(0))
      s.status('unsynced', Kind.SYNC, { state: 'unsynced', reason: 'gap' })
      if (mended) s.book()
      s.engine.tick(START + 60 * SECOND)
      expect(s.commands()).toEqual(['submit 0 4000 1000', ...(mended ? [] : ['cancel 0 4000 1000'])])
    }
  })

  it('has an order life in which nothing that comes late is lost', () => {
    for (const [state, steps] of Object.entries(ORDER_LIFE)) {
      if (state === 'filled') continue
      expect([state, 'fill' in steps]).toEqual([state, true])
    }
  })

  it('written down and read again is the same, bit for bit: however its rows were cut, and whatever ticked', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), (seed) => {
        const next = random(seed)
        const tape = randomTape({ seed, rows: 600, markets: 3, settle: true, gaps: true })
        const strategy = (): Strategy => {
          const dice = random(seed + 1)
          return {
            name: 'dice',
            parameters: {},
            onBook(book, desk) {
              if (!book.twoSided) return
              const u = dice()
              if (u < 0.2)
                desk.quote(book.market, { side: u < 0.1 ? 'bid' : 'ask', price: u < 0.1 ? book.bid : book.ask, size: 3, why: 'dice' })
              else if (u < 0.3) desk.take(book.market, { side: 'bid', limit: book.ask, size: 1, why: 'dice' })
              else if (u < 0.35) desk.pull(book.market, 'bid')
            },
          }
        }
        const first = engineOf([strategy()])
        const due: { time: number; news: News }[] = [{ time: START, news: agreed }]
        const story: (Row | { time: number; news: News })[] = []
        let trades = 0
        let last = 0
        const answer = (): void => {
          for (const c of first.venue.sent.splice(0)) {
            const time = last + integer(next, 0, 400_000)
            const { id, filled } = c.order
            const news: News[] = []
            const u = next()
            if (c.type === 'submit') {
              if (u < 0.1) news.push({ type: 'rejected', order: id, timeVenue: time, reason: 'x' })
              else if (u < 0.2) news.push(noAnswer(id), { type: 'absent', order: id, timeVenue: time })
              else {
                if (u < 0.3) news.push(noAnswer(id))
                news.push(accepted(id))
                if (u < 0.6) news.push({ ...fill(id, 100, `t${trades++}`), price: c.price } as News)
                if (c.order.tif !== 'gtc') news.push({ type: 'canceled', order: id, timeVenue: time, reason: 'ioc' })
              }
            } else if (c.type === 'cancel') news.push({ type: 'canceled', order: id, timeVenue: time, reason: 'user' })
            else if (c.type === 'amend') news.push({ type: 'amended', order: id, timeVenue: time, remaining: c.quantity - filled })
            else news.push({ type: 'decreased', order: id, timeVenue: time, remaining: c.quantity })
            for (const n of news) due.push({ time, news: n })
          }
          due.sort((a, b) => a.time - b.time)
        }
        // An order that is over hears of nothing but fills; whatever the dice say of it is not told.
        const possible = ({ news }: { news: News }): boolean => {
          if (!('order' in news)) return true
          const order = first.engine.manager.orderOf(news.order)
          return order !== undefined && !order.over
        }
        const enter = (item: { time: number; news: News }): void => {
          if (!possible(item)) return
          last = Math.max(last, item.time)
          if (next() < 0.5) first.engine.tick(last)
          first.engine.enter(last, item.news)
          story.push({ time: last, news: item.news })
          answer()
        }
        let ticked = 0
        for (const row of tape.rows) {
          while (due.length > 0 && (due[0] as { time: number }).time < row.time) enter(due.shift() as { time: number; news: News })
          const moved = {
            ...row,
            time: Math.max(row.time, last + (story.at(-1) !== undefined && 'news' in (story.at(-1) as object) ? 1 : 0), ticked + 1),
          }
          last = moved.time
          for (const batch of batchesOf([moved], 1)) first.engine.run(batch)
          story.push(moved)
          if (next() < 0.2) first.engine.tick((ticked = last + integer(next, 1, 50)))
          last = Math.max(last, ticked)
          answer()
        }
        const end = first.engine.finish('over', true)
        expect(first.engine.manager.orders).toBeGreaterThan(0)

        const second = engineOf([strategy()])
        let rows: Row[] = []
        const flush = (): void => {
          for (const batch of batchesOf(rows, 4096)) second.engine.run(batch)
          rows = []
        }
        for (const item of story) {
          if ('news' in item) {
            flush()
            second.engine.enter(item.time, item.news)
          } else rows.push(item)
        }
        flush()
        expect(second.engine.finish('over', true)).toEqual(end)
        expect(second.run.digest()).toBe(first.run.digest())
      }),
      { numRuns: 40 },
    )
  })
})
