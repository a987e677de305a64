/**
 * A session record written by hand, so that every figure of a report has an answer worked out on paper. Owns the little ledger below; hides the
 * columns. Invariant: what the story says in dollars and contracts stands in the record in the engine's units.
 */
import { createJournalTable, JournalKind, Strings, type JournalTable } from '../../engine/journal.ts'
import { createEquityTable, createMarkoutTable, createTouchTable } from '../../engine/samples.ts'
import type { MarketEnd, SessionEnd, SessionHeader, SessionRecord } from '../../engine/session.ts'
import { dollars, priceDistance } from '../../engine/units.ts'
import { header } from '../support/session.ts'

/** 2026-06-01T00:00:00Z. */
export const START = Date.UTC(2026, 5, 1) * 1000
const contracts = (human: number): number => Math.round(human * 100)
const at = (seconds: number): number => START + Math.round(seconds * 1e6)

type Row = {
  kind: number
  time: number
  what: string
  market?: string
  owner?: string
  order?: number
  side?: 'bid' | 'ask'
  price?: number
  quantity?: number
  why?: string
  value?: number
  a?: number
  b?: number
}

export class Story {
  readonly strings = new Strings()
  readonly journal: JournalTable = createJournalTable(20_000)
  readonly touches = createTouchTable(2_000)
  readonly equity = createEquityTable(2_000)
  readonly markouts = createMarkoutTable(2_000)

  row(r: Row): void {
    const t = this.journal
    const i = t.length++
    t.time[i] = r.time
    t.kind[i] = r.kind
    t.market[i] = r.market === undefined ? -1 : this.strings.intern(r.market)
    t.owner[i] = r.owner === undefined ? -1 : this.strings.intern(r.owner)
    t.order[i] = r.order ?? -1
    t.side[i] = r.side === 'ask' ? 1 : 0
    t.price[i] = r.price ?? -1
    t.quantity[i] = r.quantity ?? 0
    t.what[i] = this.strings.intern(r.what)
    t.why[i] = r.why === undefined ? -1 : this.strings.intern(r.why)
    t.value[i] = r.value ?? 0
    t.a[i] = r.a ?? 0
    t.b[i] = r.b ?? 0
  }
  /** An order sent and accepted in the same instant. */
  order(seconds: number, order: number, how: 'gtc' | 'ioc', market: string, side: 'bid' | 'ask', price: number, size: number): void {
    const shared = {
      time: at(seconds),
      market,
      owner: 'test',
      order,
      side,
      price: priceDistance(price),
      quantity: contracts(size),
      why: 'because',
    }
    this.row({ ...shared, kind: JournalKind.COMMAND, what: `submit-${how}` })
    this.row({ ...shared, kind: JournalKind.ANSWER, what: 'accepted', a: at(seconds) })
  }
  cancel(seconds: number, order: number, market: string): void {
    this.row({ kind: JournalKind.ANSWER, time: at(seconds), what: 'canceled:requested', market, owner: 'test', order, a: at(seconds) })
  }
  fill(
    seconds: number,
    order: number,
    how: 'maker' | 'taker',
    market: string,
    side: 'bid' | 'ask',
    price: number,
    size: number,
    fee: number,
    why = 'because',
  ): void {
    this.row({
      kind: JournalKind.FILL,
      time: at(seconds),
      what: how,
      market,
      owner: 'test',
      order,
      side,
      price: priceDistance(price),
      quantity: contracts(size),
      why,
      value: 1.25,
      a: dollars(fee),
      b: at(seconds),
    })
  }
  settle(seconds: number, market: string, result: 'yes' | 'no'): void {
    const shared = { kind: JournalKind.SETTLEMENT, time: at(seconds), market, price: result === 'yes' ? 10_000 : 0 }
    this.row({ ...shared, what: result })
    this.row({ ...shared, what: 'paid' })
  }
  forecast(seconds: number, market: string, probability: number): void {
    this.row({ kind: JournalKind.FORECAST, time: at(seconds), what: 'forecast', market, owner: 'test', value: probability })
  }
  touch(seconds: number, market: string, bid: number | null, ask: number | null): void {
    const t = this.touches
    const i = t.length++
    t.time[i] = at(seconds)
    t.market[i] = this.strings.intern(market)
    t.bid[i] = bid === null ? -1 : priceDistance(bid)
    t.ask[i] = ask === null ? -1 : priceDistance(ask)
  }
  markout(fill: number, seconds: number, mid: number | null): void {
    const t = this.markouts
    const i = t.length++
    t.fill[i] = fill
    t.horizon[i] = seconds * 1e6
    t.mid2[i] = mid === null ? -1 : priceDistance(mid) * 2
  }
  equityAt(seconds: number, equity: number, cash = equity, fees = 0): void {
    const t = this.equity
    const i = t.length++
    t.time[i] = at(seconds)
    t.cash[i] = dollars(cash)
    t.fees[i] = dollars(fees)
    t.exposure[i] = dollars(Math.max(0, 10_000 - cash))
    for (const column of [t.liquidation, t.mid, t.low, t.high]) column[i] = dollars(equity)
  }
  record(markets: readonly MarketEnd[], end: Partial<SessionEnd> = {}, more: Partial<SessionHeader> = {}): SessionRecord {
    const h = header({ strategies: [{ name: 'test', parameters: { size: 10 } }], ...more })
    const net = markets.reduce((a, m) => a + m.pnl, 0)
    const fees = markets.reduce((a, m) => a + m.fees, 0)
    return {
      header: h,
      digest: '0123456789abcdef'.repeat(4),
      strings: this.strings.all,
      journal: this.journal,
      touches: this.touches,
      equity: this.equity,
      markouts: this.markouts,
      end: {
        complete: true,
        reason: 'end of tape',
        rows: 1000,
        firstTime: START,
        lastTime: at(3600),
        marketsSeen: 3,
        marketsSynced: 3,
        marketsTwoSided: 3,
        marketsShown: 3,
        marketsUnsyncedEver: 0,
        inFlux: 0,
        cash: h.cash + net,
        locked: 0,
        equity: h.cash + net,
        equityMid: h.cash + net,
        equityPeak: h.cash + net,
        drawdownMax: 0,
        fees,
        stressLoss: 0,
        signals: 0,
        orders: markets.reduce((a, m) => a + m.orders, 0),
        fills: markets.reduce((a, m) => a + m.fills, 0),
        refusals: {},
        rejections: {},
        owners: [
          {
            name: 'test',
            signals: 0,
            orders: markets.reduce((a, m) => a + m.orders, 0),
            refusals: {},
            rejections: {},
            fills: markets.reduce((a, m) => a + m.fills, 0),
            filled: markets.reduce((a, m) => a + m.filled, 0),
            fees,
            openValue: 0,
            pnl: net,
          },
        ],
        markets,
        ...end,
      },
    }
  }
}

export function marketEnd(ticker: string, more: Partial<MarketEnd> = {}): MarketEnd {
  return {
    ticker,
    event: ticker.split('-')[0] ?? ticker,
    series: 'KX',
    title: `Title of ${ticker}`,
    strike: null,
    closeTime: null,
    result: null,
    settlementValue: null,
    paid: false,
    orders: 0,
    fills: 0,
    filled: 0,
    position: 0,
    liquidationValue: 0,
    midValue: 0,
    markBasis: 'none',
    markPrice: null,
    fees: 0,
    pnl: 0,
    ...more,
  }
}

/**
 * Three markets, five fills.
 * A: buys 10 YES at 40¢; sells 4 at 55¢ (fee 7¢); sells 10 more at 60¢ (fee 10¢), which closes 6 and opens 4 NO at 40¢; settles NO.
 * B: buys 5 NO at 30¢ (fee 8¢) of 8 asked for; settles YES.   C: buys 10 YES at 20¢ (fee 12¢), open at bid 18¢, mid 19¢; an order for 20 is canceled.
 */
export function threeMarkets(
  more: { readonly title?: string; readonly why?: string; readonly tickers?: readonly [string, string, string] } = {},
): SessionRecord {
  const [A, B, C] = more.tickers ?? ['KXA-1', 'KXB-1', 'KXC-1']
  const why = more.why ?? 'because'
  const s = new Story()
  s.touch(0, A, 0.4, 0.42)
  s.touch(0, B, 0.69, 0.71)
  s.touch(0, C, 0.18, 0.2)
  s.order(10, 1, 'gtc', A, 'bid', 0.4, 10)
  s.fill(12, 1, 'maker', A, 'bid', 0.4, 10, 0, why)
  s.touch(20, A, 0.54, 0.56)
  s.order(20, 2, 'ioc', A, 'ask', 0.55, 4)
  s.fill(20, 2, 'taker', A, 'ask', 0.55, 4, 0.07, why)
  s.touch(30, A, 0.62, 0.64)
  s.order(30, 3, 'ioc', A, 'ask', 0.6, 10)
  s.fill(30, 3, 'taker', A, 'ask', 0.6, 10, 0.1, why)
  s.order(40, 4, 'gtc', B, 'ask', 0.7, 8)
  s.fill(44, 4, 'maker', B, 'ask', 0.7, 5, 0.08, why)
  s.cancel(50, 4, B)
  s.order(60, 5, 'ioc', C, 'bid', 0.2, 10)
  s.fill(60, 5, 'taker', C, 'bid', 0.2, 10, 0.12, why)
  s.order(70, 6, 'gtc', C, 'bid', 0.17, 20)
  s.cancel(73, 6, C)
  s.settle(1000, A, 'no')
  s.settle(1000, B, 'yes')
  s.touch(2000, A, null, null)
  s.markout(0, 0, 0.41)
  s.markout(0, 60, 0.45)
  s.markout(1, 0, 0.55)
  s.markout(1, 60, 0.58)
  s.markout(2, 0, null)
  s.equityAt(12, 10_000, 9_996)
  s.equityAt(60, 10_003, 9_994.5)
  s.equityAt(500, 10_001, 9_994.5)
  s.equityAt(1000, 10_002.13, 10_000.33)
  const title = more.title ?? 'A title'
  return s.record(
    [
      marketEnd(A, {
        title,
        result: 'no',
        settlementValue: 0,
        paid: true,
        orders: 3,
        fills: 3,
        filled: 2400,
        fees: 170_000,
        pnl: 4_030_000,
      }),
      marketEnd(B, {
        title,
        result: 'yes',
        settlementValue: 10_000,
        paid: true,
        orders: 1,
        fills: 1,
        filled: 500,
        fees: 80_000,
        pnl: -1_580_000,
      }),
      marketEnd(C, {
        title,
        orders: 2,
        fills: 1,
        filled: 1000,
        fees: 120_000,
        position: 1000,
        liquidationValue: 1_800_000,
        midValue: 1_900_000,
        markBasis: 'touch',
        pnl: -320_000,
      }),
    ],
    {
      equityMid: 10_002_230_000,
      drawdownMax: 2_000_000,
      stressLoss: 1_800_000,
      signals: 8,
      refusals: { position: 3, collar: 1 },
      rejections: { 'post-only-cross': 2 },
    },
  )
}
