/** Figures against answers worked out on paper (fixture.ts) and against SciPy. */
import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SessionRecord } from '../../engine/session.ts'
import { buildReport, metric, renderTerminal } from '../../reports/index.ts'
import { tradingOf } from '../../reports/episodes.ts'
import { blockBootstrap, moments, normalCdf, normalQuantile, probabilisticSharpe, sharpeError, wilson } from '../../reports/statistics.ts'
import { decimal, money, reason, say } from '../../reports/words.ts'
import { marketEnd, Story, threeMarkets } from './fixture.ts'

describe('statistics agree with SciPy 1.x', () => {
  it('normal distribution and its quantile', () => {
    for (const [z, p] of [
      [0, 0.5],
      [0.5, 0.6914624612740131],
      [1, 0.8413447460685429],
      [-1.96, 0.024997895148220435],
      [5.5, 0.9999999810104375],
    ] as const)
      expect(Math.abs(normalCdf(z) - p)).toBeLessThan(4e-16)
    expect(normalCdf(-6) / 9.865876450376946e-10).toBeCloseTo(1, 12)
    expect(normalCdf(-10) / 7.61985302416047e-24).toBeCloseTo(1, 12)
    for (const [p, z] of [
      [0.5, 0],
      [0.975, 1.959963984540054],
      [0.025, -1.9599639845400545],
      [0.9, 1.2815515655446004],
      [0.42, -0.20189347914185088],
      [0.001, -3.090232306167813],
      [1e-10, -6.361340902404056],
      [0.999999, 4.753424308817087],
    ] as const)
      expect(Math.abs(normalQuantile(p) - z)).toBeLessThan(2e-10 * (p > 0.99 ? 1 : 1e-5))
    for (const p of [0, 1, -0.1, Number.NaN]) expect(normalQuantile(p)).toBeNaN()
    fc.assert(
      fc.property(fc.double({ min: 1e-12, max: 0.999999, noNaN: true }), (p) => Math.abs(normalCdf(normalQuantile(p)) / p - 1) < 1e-11),
    )
  })
  it('Wilson intervals', () => {
    const close = (x: readonly [number, number], low: number, high: number): void => {
      expect(x[0]).toBeCloseTo(low, 13)
      expect(x[1]).toBeCloseTo(high, 13)
    }
    close(wilson(41, 100), 0.31867313021136523, 0.5079856994658922)
    close(wilson(62, 151), 0.3352971791507503, 0.4903309168021178)
    close(wilson(0, 10), 0, 0.27753279986288926)
    close(wilson(10, 10), 0.7224672001371109, 1)
  })
  it('moments, standard error and probabilistic Sharpe ratio', () => {
    const m = moments([0.01, -0.02, 0.015, 0.003, -0.007, 0, 0.012, 0.021, -0.004, 0.009])
    expect(m.sharpe).toBeCloseTo(0.32290148148525555, 13)
    expect(m.skew).toBeCloseTo(-0.6496359246553847, 12)
    expect(m.kurtosis).toBeCloseTo(3.292117421219413, 11)
    expect(sharpeError(m.sharpe, 10, m.skew, m.kurtosis)).toBeCloseTo(0.37557593083216023, 12)
    expect(probabilisticSharpe(m.sharpe, 0, 10, m.skew, m.kurtosis)).toBeCloseTo(0.8050366217952896, 12)
    expect(probabilisticSharpe(0.458, 0, 24, -2.448, 10.164)).toBeCloseTo(0.913361083860933, 13)
  })
  it('a block bootstrap is the same every time, holds the sum, and is wider when days hang together', () => {
    const waves = Array.from({ length: 120 }, (_, i) => Math.sin(i / 8))
    const shuffled = waves.map((_, i) => waves[(i * 77) % 120] as number)
    const width = (days: readonly number[]): number => blockBootstrap(days)[1] - blockBootstrap(days)[0]
    expect(blockBootstrap(waves)).toEqual(blockBootstrap(waves))
    expect(width(waves)).toBeGreaterThan(1.5 * width(shuffled))
  })
})

describe('three markets worked out on paper', () => {
  const record = threeMarkets()
  const report = buildReport(record)
  const { summary, html } = report
  const value = (id: string): number | null => metric(summary.metrics, id).value

  it('episodes: a fill that turns the position over belongs to two', () => {
    const { episodes } = tradingOf(record)
    expect(episodes.map((e) => [e.market, e.side, e.quantity / 100, e.entry / 100, e.exit, e.fees / 1e6, e.pnl / 1e6])).toEqual([
      ['KXA-1', 'YES', 10, 40, 'traded', 0.13, 1.67],
      ['KXA-1', 'NO', 4, 40, 'settled', 0.04, 2.36],
      ['KXB-1', 'NO', 5, 30, 'settled', 0.08, -1.58],
      ['KXC-1', 'YES', 10, 20, 'open', 0.12, -0.32],
    ])
    expect(episodes[0]?.exitPrice).toBe(5800)
  })
  it('profit, trades, execution', () => {
    expect([value('net'), value('gross'), value('fees'), value('netMid')]).toEqual([2_130_000, 2_500_000, 370_000, 2_230_000])
    expect(value('winRate')).toBeCloseTo(2 / 3, 12)
    expect(value('breakEven')).toBeCloseTo(1.58 / (1.58 + 2.015), 12)
    expect([value('winRateSettled'), value('breakEvenSettled')]).toEqual([0.5, (0.41 + 0.316) / 2])
    expect(value('excessWinRate')).toBeCloseTo(0.137, 12)
    expect(value('profitFactor')).toBeCloseTo(4.03 / 1.58, 12)
    expect(value('expectancy')).toBeCloseTo(2_450_000 / 3, 6)
    expect(value('fillRate')).toBeCloseTo(5 / 6, 12)
    expect(value('fillRateContracts')).toBeCloseTo(39 / 62, 12)
    expect(value('makerShare')).toBeCloseTo(15 / 39, 12)
    // Orders of 2 s and 4 s to the fill, one canceled after 3 s: a third falls at 2 s, the rest at 4 s.
    expect(value('timeToFill')).toBe(4_000_000)
    expect(value('slippage')).toBeCloseTo((3 * 10 + 1 * 10) / 24, 12)
    expect(value('markout')).toBeCloseTo((5 * 10 - 3 * 4) / 14, 12)
    expect(metric(summary.metrics, 'markout').n).toBe(2)
    expect(value('refusals')).toBe(4)
  })
  it('the bridge adds up exactly', () => {
    expect(summary.bridge).toMatchObject({
      spread: 100_000,
      minute: 280_000,
      later: 2_120_000,
      fees: 370_000,
      net: 2_130_000,
      nSpread: 2,
      nMinute: 2,
      n: 5,
    })
  })
  it('drawdown and capital', () => {
    expect(value('drawdown')).toBe(2_000_000)
    expect(value('drawdownShare')).toBeCloseTo(2 / 10_003, 12)
    expect(value('drawdownTime')).toBe(3540e6)
    const dollarDays = (4 * 48 + 8.5 * 440 + 6.5 * 500 + 1.8 * 2600) / 86_400
    expect(value('dollarDays') ?? 0).toBeCloseTo(dollarDays * 1e6, 0)
    // Of an hour it would say what no day earned: withheld like the ratios of days.
    expect(metric(summary.metrics, 'perDollarDay')).toMatchObject({ value: null, reason: metric(summary.metrics, 'sharpe').reason })
  })
  it('says what it cannot know, with n and the reason', () => {
    expect(metric(summary.metrics, 'sharpe')).toMatchObject({
      value: null,
      text: 'n/a',
      n: 1,
      interval: null,
      reason: expect.stringMatching(/^needs 30 days, the data have [\d.]+ (min|s|h)$/),
    })
    expect(metric(summary.metrics, 'growth').reason).toMatch(/need 90 days/)
    for (const m of summary.metrics) {
      expect(m.value === null || Number.isFinite(m.value)).toBe(true)
      expect(m.value === null ? m.reason : m.text).not.toMatch(/NaN|Infinity|^$/)
    }
    expect(html.slice(0, html.indexOf('<script>'))).not.toMatch(/NaN|Infinity|undefined|\[object/)
  })
  it('speaks YES and NO, and stands on one screen', () => {
    for (const text of [
      'buy YES at 40¢',
      'sell YES at 60¢ (6), buy NO at 40¢',
      'buy NO at 30¢',
      'NO 5 at 30¢ → settled 0¢',
      '1 position never settled on this tape: marked where they could be closed (worth $1.80; $1.90 at the mid)',
    ])
      expect(html).toContain(text)
    const screen = report.terminal(false)
    expect(screen).toBe(renderTerminal(summary, { color: false }))
    expect(screen).toContain('+$2.13')
    expect(screen).toContain('position 3, collar 1')
    expect(screen.split('\n').length).toBeLessThan(30)
    expect(stripVTControlCharacters(report.terminal(true))).toBe(screen)
  })
  it('a record that lies is refused', () => {
    const lies: ((r: SessionRecord) => SessionRecord['end'])[] = [
      (r) => ({ ...r.end, equity: r.end.equity + 1 }),
      (r) => ({ ...r.end, fees: r.end.fees - 1 }),
      (r) => ({ ...r.end, markets: r.end.markets.slice(1) }),
    ]
    for (const lie of lies)
      expect(() => buildReport({ ...record, end: lie(record) })).toThrow(expect.objectContaining({ code: 'LEDGER_MISMATCH' }))
  })
  it('marks a partial run in the page, the summary and the terminal', () => {
    const partial = buildReport({ ...record, end: { ...record.end, complete: false, reason: 'interrupted' } })
    expect(partial.summary).toMatchObject({ complete: false })
    expect(partial.summary.warnings[0]).toMatch(/^Partial: the session ended early \(interrupted\)/)
    expect(partial.html).toContain('PARTIAL: interrupted')
    expect(partial.terminal(false)).toContain('PARTIAL')
  })
})

describe('long sessions', () => {
  const days = 100
  const story = new Story()
  let equity = 10_000
  const daily: number[] = []
  for (let d = 0; d < days; d++) {
    // Every third day nothing happens: it counts as a day of no return.
    const change = d % 3 === 2 ? 0 : d % 2 === 0 ? 12.5 : -7.25
    daily.push(change / equity)
    equity += change
    if (change !== 0) story.equityAt(d * 86_400 + 3600, equity)
  }
  const pnl = Math.round((equity - 10_000) * 1e6)
  story.order(0, 1, 'gtc', 'KXA-1', 'bid', 0.5, 1)
  story.fill(1, 1, 'maker', 'KXA-1', 'bid', 0.5, 1, 0)
  const end = marketEnd('KXA-1', {
    orders: 1,
    fills: 1,
    filled: 100,
    position: 100,
    liquidationValue: pnl + 500_000,
    midValue: pnl + 500_000,
    markBasis: 'touch',
    pnl,
  })
  const record = story.record([end], { lastTime: (Date.UTC(2026, 5, 1) + days * 86_400_000 - 1000) * 1000 })

  it('Sharpe counts every calendar day', () => {
    const { metrics } = buildReport(record).summary
    const mean = daily.reduce((a, x) => a + x, 0) / days
    const deviation = Math.sqrt(daily.reduce((a, x) => a + (x - mean) ** 2, 0) / (days - 1))
    expect(metric(metrics, 'sharpe')).toMatchObject({ n: days, reason: null })
    expect(metric(metrics, 'sharpe').value).toBeCloseTo((mean / deviation) * Math.sqrt(365), 8)
    expect(metric(metrics, 'growth').value).toBeCloseTo((equity / 10_000) ** (365 / days) - 1, 10)
    const net = metric(metrics, 'net').interval
    expect((net?.[0] ?? 0) < pnl && pnl < (net?.[1] ?? 0)).toBe(true)
  })
})

describe('forecasts', () => {
  const run = (n: number, probability: (i: number) => number): ReturnType<typeof buildReport> => {
    const s = new Story()
    const markets = Array.from({ length: n }, (_, i) => {
      const ticker = `KXF-${i}`
      s.touch(i, ticker, 0.49, 0.51)
      s.forecast(i + 0.5, ticker, probability(i))
      s.forecast(i + 0.7, ticker, 0.99)
      s.settle(i + 1, ticker, i % 2 === 0 ? 'yes' : 'no')
      return marketEnd(ticker, { result: i % 2 === 0 ? 'yes' : 'no', settlementValue: i % 2 === 0 ? 10_000 : 0, paid: true })
    })
    return buildReport(s.record(markets))
  }
  it('are scored against the market on the same rows, the first of each market, and not below 50', () => {
    const { metrics } = run(50, (i) => (i % 2 === 0 ? 0.8 : 0.2)).summary
    expect(metric(metrics, 'brier').value).toBeCloseTo(0.04, 12)
    expect(metric(metrics, 'brierMarket').value).toBeCloseTo(0.25, 12)
    expect(metric(metrics, 'skill').value).toBeCloseTo(0.84, 12)
    expect(metric(run(49, () => 0.5).summary.metrics, 'brier')).toMatchObject({
      value: null,
      reason: 'needs 50 outcomes with a mid, the data have 49',
    })
  })
})

describe('words', () => {
  it('numbers', () => {
    expect([money(0), money(-4999), money(-5000), money(1_234_567_890)]).toEqual(['$0.00', '$0.00', '−$0.01', '$1,234.57'])
    expect([decimal(-0.001, 2), decimal(-1.5, 1), decimal(-8091.6, 1)]).toEqual(['0.00', '−1.5', '−8,091.6'])
    expect([reason('z below', -2.5), reason('lean', 0), reason('lean', -16.75), reason('n', 100)]).toEqual([
      'z below −2.5',
      'lean',
      'lean −16.75',
      'n 100',
    ])
  })
  it('a fill is said from the side it was held on', () => {
    const fill = { price: 4200, quantity: 1000 } as const
    expect(say({ ...fill, side: 'bid', before: 0 })).toBe('buy YES at 42¢')
    expect(say({ ...fill, side: 'ask', before: 0 })).toBe('buy NO at 58¢')
    expect(say({ ...fill, side: 'ask', before: 1000 })).toBe('sell YES at 42¢')
    expect(say({ ...fill, side: 'bid', before: -400 })).toBe('sell NO at 58¢ (4), buy YES at 42¢')
  })
})

describe('properties', () => {
  it('whatever is traded: rates stay between 0 and 1, parts add up, nothing is infinite', () => {
    const trade = fc.record({
      side: fc.constantFrom('bid' as const, 'ask' as const),
      price: fc.integer({ min: 1, max: 99 }),
      size: fc.integer({ min: 1, max: 500 }),
      fee: fc.integer({ min: 0, max: 300 }),
      how: fc.constantFrom('maker' as const, 'taker' as const),
    })
    fc.assert(
      fc.property(fc.array(trade, { maxLength: 25 }), fc.constantFrom('yes' as const, 'no' as const), (trades, result) => {
        const s = new Story()
        let cash = 0
        let position = 0
        let fees = 0
        trades.forEach((t, i) => {
          s.order(i, i, t.how === 'maker' ? 'gtc' : 'ioc', 'KXA-1', t.side, t.price / 100, t.size / 100)
          s.fill(i, i, t.how, 'KXA-1', t.side, t.price / 100, t.size / 100, t.fee / 100)
          const signed = t.side === 'bid' ? t.size : -t.size
          position += signed
          cash -= signed * t.price * 100 + t.fee * 10_000
          fees += t.fee * 10_000
        })
        s.settle(100, 'KXA-1', result)
        const value = result === 'yes' ? 10_000 : 0
        const pnl = cash + position * value
        const report = buildReport(
          s.record([
            marketEnd('KXA-1', { result, settlementValue: value, paid: true, orders: trades.length, fills: trades.length, fees, pnl }),
          ]),
        )
        for (const id of ['winRate', 'fillRate', 'fillRateContracts', 'makerShare', 'breakEven', 'winRateSettled']) {
          const m = metric(report.summary.metrics, id)
          expect(m.value === null || (m.value >= 0 && m.value <= 1)).toBe(true)
          expect(m.interval === null || (m.interval[0] >= 0 && m.interval[1] <= 1)).toBe(true)
        }
        expect(metric(report.summary.metrics, 'net').value).toBe(pnl)
        expect(report.html).not.toMatch(/NaN|Infinity/)
      }),
      { numRuns: 40 },
    )
  })
})
