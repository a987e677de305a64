/**
 * The end mark of a session that has none: its process was killed. Owns what can be said from the blocks that were whole; hides nothing. Invariant: it adds up as every record does:
 * fills at their prices and fees, positions at the settlement, or at the last touch that was sampled (without depth: that is not known here).
 */
import { JournalKind } from '../engine/journal.ts'
import { OUTSIDE } from '../engine/live.ts'
import { PRICE_ONE } from '../engine/units.ts'
import { sharesOf } from '../engine/settlement.ts'
import { distinct } from '../engine/words.ts'
import type { MarketEnd, OwnerEnd, SessionEnd, SessionHeader } from '../engine/session.ts'
import type { Tables } from './run-blocks.ts'

type Writable<T> = { -readonly [K in keyof T]: T[K] }

export function partialEnd(
  header: SessionHeader,
  strings: readonly string[],
  { journal, touches, equity }: Pick<Tables, 'journal' | 'touches' | 'equity'>,
): SessionEnd {
  const last = equity.length - 1
  const money = (column: 'cash' | 'locked' | 'drawdown' | 'exposure', without: number): number =>
    last < 0 ? without : (equity[column][last] as number)
  let peak = header.cash
  for (let i = 0; i < equity.length; i++) peak = Math.max(peak, equity.high[i] as number)
  // In a live session the account can trade beside the strategies: that has a ledger too.
  const names = distinct([...header.strategies.map((s) => s.name), ...(header.mode === 'live' ? [OUTSIDE] : [])])
  const all = names.map(
    (name): Writable<OwnerEnd> => ({
      name,
      signals: 0,
      orders: 0,
      refusals: {},
      rejections: {},
      fills: 0,
      filled: 0,
      fees: 0,
      openValue: 0,
      pnl: 0,
    }),
  )
  const markets = new Map<string, Writable<MarketEnd>>()
  /** Contracts of each strategy in each market. */
  const held = new Map<string, number[]>()
  const word = (number: number): string => strings[number] ?? ''
  const total = { refusals: {} as Record<string, number>, rejections: {} as Record<string, number>, signals: 0, orders: 0, fills: 0 }
  for (let i = 0; i < journal.length; i++) {
    const kind = journal.kind[i] as number
    const what = word(journal.what[i] as number)
    const ticker = word(journal.market[i] as number)
    const owner = all.find((o) => o.name === word(journal.owner[i] as number))
    const quantity = journal.quantity[i] as number
    if (kind === JournalKind.SIGNAL) {
      total.signals++
      if (owner !== undefined) owner.signals++
    } else if (kind === JournalKind.REFUSAL) {
      // The row repeats its wish `a` times before it.
      const times = 1 + (journal.a[i] as number)
      total.refusals[what] = (total.refusals[what] ?? 0) + times
      if (owner !== undefined) owner.refusals = { ...owner.refusals, [what]: (owner.refusals[what] ?? 0) + times }
    } else if (kind === JournalKind.COMMAND && what.startsWith('submit')) {
      total.orders++
      if (owner !== undefined) owner.orders++
      marketOf(markets, ticker).orders++
    } else if (kind === JournalKind.ANSWER && what.startsWith('rejected:')) {
      const reason = what.slice('rejected:'.length)
      total.rejections[reason] = (total.rejections[reason] ?? 0) + 1
      if (owner !== undefined) owner.rejections = { ...owner.rejections, [reason]: (owner.rejections[reason] ?? 0) + 1 }
    } else if (kind === JournalKind.FILL) {
      total.fills++
      const fee = journal.a[i] as number
      const flow = ((journal.side[i] as number) === 0 ? -1 : 1) * (journal.price[i] as number) * quantity - fee
      const m = marketOf(markets, ticker)
      m.fills++
      m.filled += quantity
      m.fees += fee
      m.position += (journal.side[i] as number) === 0 ? quantity : -quantity
      m.pnl += flow
      const positions = held.get(ticker) ?? all.map(() => 0)
      held.set(ticker, positions)
      if (owner === undefined) continue
      const k = all.indexOf(owner)
      positions[k] = (positions[k] as number) + ((journal.side[i] as number) === 0 ? quantity : -quantity)
      owner.fills++
      owner.filled += quantity
      owner.fees += fee
      owner.pnl += flow
    } else if (kind === JournalKind.SETTLEMENT) {
      const m = marketOf(markets, ticker)
      m.settlementValue = journal.price[i] as number
      if (what === 'paid') m.paid = true
      else m.result = what
    }
  }
  for (let i = touches.length - 1; i >= 0; i--) {
    const m = markets.get(word(touches.market[i] as number))
    if (m === undefined || m.markPrice !== null) continue
    const [bid, ask] = [touches.bid[i] as number, touches.ask[i] as number]
    m.markPrice = bid >= 0 && ask >= 0 ? (bid + ask) / 2 : bid >= 0 ? bid : ask >= 0 ? ask : 0
    m.liquidationValue = m.position > 0 ? m.position * Math.max(0, bid) : m.position * (ask >= 0 ? ask : PRICE_ONE)
    m.midValue = Math.floor(m.position * m.markPrice)
    m.markBasis = 'touch'
  }
  let [value, middle] = [0, 0]
  for (const m of markets.values()) {
    if (m.settlementValue !== null) {
      m.markPrice = m.settlementValue
      m.liquidationValue = m.midValue = m.position * m.settlementValue
      m.markBasis = 'settlement'
    }
    const positions = held.get(m.ticker) ?? []
    sharesOf(m.liquidationValue, m.markPrice, positions).forEach((share, k) => {
      const owner = all[k] as Writable<OwnerEnd>
      owner.pnl += share
      if (!m.paid) owner.openValue += share
    })
    m.pnl += m.liquidationValue
    value += m.pnl
    middle += m.pnl - m.liquidationValue + m.midValue
    if (m.paid) m.position = m.liquidationValue = m.midValue = 0
  }
  const cash = money('cash', header.cash)
  return {
    complete: false,
    reason: `cut off: the session has no end mark; what was written up to the last whole block is kept, ${journal.length} rows of the journal`,
    rows: 0,
    firstTime: journal.length === 0 ? null : (journal.time[0] as number),
    lastTime: journal.length === 0 ? null : (journal.time[journal.length - 1] as number),
    // At least those that were traded.
    marketsSeen: markets.size,
    marketsSynced: markets.size,
    marketsTwoSided: markets.size,
    marketsShown: markets.size,
    marketsUnsyncedEver: 0,
    inFlux: 0,
    // Not in the journal: nothing is claimed.
    externals: { seen: [], missing: [] },
    cash,
    locked: money('locked', 0),
    equity: header.cash + value,
    equityMid: header.cash + middle,
    equityPeak: Math.max(peak, header.cash + value),
    drawdownMax: money('drawdown', 0),
    fees: [...markets.values()].reduce((a, m) => a + m.fees, 0),
    stressLoss: money('exposure', 0),
    ...total,
    owners: all.filter((o, k) => k < header.strategies.length || o.fills > 0),
    markets: [...markets.values()].sort((a, b) => (a.ticker < b.ticker ? -1 : 1)),
  }
}

function marketOf(markets: Map<string, Writable<MarketEnd>>, ticker: string): Writable<MarketEnd> {
  let m = markets.get(ticker)
  if (m === undefined) {
    m = {
      ticker,
      event: ticker.slice(0, ticker.lastIndexOf('-')),
      series: ticker.split('-')[0] ?? ticker,
      title: ticker,
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
    }
    markets.set(ticker, m)
  }
  return m
}
