import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { Run } from '../../data/run.ts'
import { Engine } from '../../engine/engine.ts'
import type { SessionRecord } from '../../engine/session.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { csv } from '../../reports/csv.ts'
import { buildReport, metric } from '../../reports/index.ts'
import { html } from '../../reports/markup.ts'
import { clusterBootstrap, kaplanMeier, normalCdf, probabilisticSharpe, survivalQuantile, wilson } from '../../reports/statistics.ts'
import { lean } from '../../strategies/lean.ts'
import { meanReversion } from '../../strategies/mean-reversion.ts'
import { batchesOf, catalog, randomTape, type Row } from '../support/rows.ts'
import { header } from '../support/session.ts'

function record(rows: readonly Row[], strategies: readonly Strategy[], more: Parameters<typeof header>[0] = {}): SessionRecord {
  const h = header({ strategies: strategies.map((s) => ({ name: s.name, parameters: s.parameters })), ...more })
  const run = new Run()
  const engine = new Engine({ header: h, strategies, venue: new SimulatedVenue(h.fills, h.delays, h.tape.lagMax), sink: run })
  for (const batch of batchesOf(rows, 1000)) engine.run(batch)
  return run.record(h, engine.finish('end of tape', true))
}

describe('statistics', () => {
  it('agree with reference values', () => {
    // Φ from tables of 15 digits.
    for (const [z, p] of [
      [0, 0.5],
      [1, 0.841344746068543],
      [-1.959963984540054, 0.025],
      [3, 0.99865010196837],
      [-6, 9.865876450376981e-10],
    ] as const)
      expect(normalCdf(z)).toBeCloseTo(p, 14)
    // Bailey and López de Prado (2012): n 24, SR 0.458, skew −2.448, kurtosis 10.164.
    expect(probabilisticSharpe(0.458, 0, 24, -2.448, 10.164)).toBeCloseTo(0.9134, 4)
    // Wilson (1927) for 8 of 10.
    expect(wilson(8, 10).map((x) => Number(x.toFixed(4)))).toEqual([0.4902, 0.9433])
    // Kaplan–Meier by hand: events at 1 and 3, censored at 2 and 4.
    expect(
      kaplanMeier([
        { time: 1, event: true },
        { time: 2, event: false },
        { time: 3, event: true },
        { time: 4, event: false },
      ]),
    ).toEqual([
      { time: 1, survival: 0.75 },
      { time: 3, survival: 0.375 },
    ])
    expect(
      survivalQuantile(
        [
          { time: 1, survival: 0.75 },
          { time: 3, survival: 0.375 },
        ],
        0.5,
      ),
    ).toBe(3)
    const [low, high] = clusterBootstrap([10, -10, 30, -5, 20])
    expect(low).toBeLessThan(45)
    expect(high).toBeGreaterThan(45)
  })
})

describe('a report', () => {
  const tape = randomTape({ seed: 21, rows: 6000, markets: 4, settle: true })
  const r = record(tape.rows, [lean(), meanReversion({ window: 20, minimum: 5, threshold: 1 })])
  const report = buildReport(r)

  it('shows what is in the record: every number stands in the summary, and the page is the same every time', () => {
    expect(buildReport(r).html === report.html).toBe(true)
    expect(metric(report.summary.metrics, 'net').value).toBe(r.end.equity - r.header.cash)
    expect(report.summary.metrics.every((m) => (m.value === null) === (m.reason !== null) && m.value !== Infinity)).toBe(true)
    expect(metric(report.summary.metrics, 'sharpe')).toMatchObject({
      value: null,
      reason: expect.stringContaining('needs 30 days') as string,
    })
    expect(report.terminal(false).split('\n').length).toBeLessThan(32)
  })

  it('asks nothing of anybody: no address, no script from outside, readable without scripts', () => {
    expect(report.html.match(/(?:src|href)\s*=\s*["']?(?!data:|#)[a-z]/i)?.[0]).toBeUndefined()
    expect(report.html.match(/url\(|@import|https?:\/\/(?!www\.w3\.org)/)?.[0]).toBeUndefined()
    expect(report.html.match(/<svg/g)?.length).toBeGreaterThan(4)
    expect(report.html.includes('prefers-color-scheme:dark')).toBe(true)
  })

  it('refuses a record that does not add up', () => {
    const lie = { ...r, end: { ...r.end, equity: r.end.equity + 1 } }
    expect(() => buildReport(lie)).toThrow(/does not add up/)
  })

  it('says why nothing happened', () => {
    const idle: Strategy = { name: 'idle', parameters: {} }
    const quiet = buildReport(record(tape.rows, [idle]))
    expect(quiet.summary.warnings[0]).toMatch(/never asked for anything/)
    const refused = buildReport(
      record(tape.rows, [lean()], { selection: { markets: null, series: null, from: null, to: null, warmup: 1e15 } }),
    )
    expect(refused.summary.warnings[0]).toMatch(/all refused by risk \(warmup/)
    expect(quiet.html.includes('Read this first')).toBe(true)
    expect(buildReport(record([], [idle])).summary.warnings[0]).toMatch(/nothing was recorded in the chosen span/)
  })

  it('names practice data in its first line', () => {
    const practice = buildReport(record(tape.rows, [lean()], { tape: { ...header().tape, practice: true } }))
    expect(
      practice.html
        .slice(practice.html.indexOf('<body>') + 6)
        .trimStart()
        .slice(0, 60),
    ).toMatch(/^<div class="practice">Practice data/)
    expect(practice.terminal(false).split('\n')[0]).toMatch(/^PRACTICE DATA/)
  })

  it('stays under a megabyte for a million samples', () => {
    const n = 1_000_000
    const time = Float64Array.from({ length: n }, (_, i) => (r.end.firstTime ?? 0) + i * 1000)
    const values = Float64Array.from({ length: n }, (_, i) => r.header.cash + ((i * 7919) % 100_003) * 100)
    const zeros = new Float64Array(n)
    const big = {
      ...r,
      equity: {
        length: n,
        time,
        cash: values,
        locked: zeros,
        liquidation: values,
        mid: values,
        low: values,
        high: values,
        fees: zeros,
        drawdown: zeros,
        exposure: values,
      },
      touches: {
        length: n,
        time,
        market: new Int32Array(n).fill(r.strings.indexOf(r.end.markets[0]?.ticker ?? '')),
        bid: new Int32Array(n).fill(4000),
        bidQuantity: values,
        ask: Int32Array.from({ length: n }, (_, i) => 4100 + (i % 50) * 100),
        askQuantity: values,
      },
    }
    expect(buildReport(big).html.length).toBeLessThan(1_000_000)
  })

  it('keeps words from outside inert, in HTML and in CSV', () => {
    const evil = '</script><script>alert(1)</script><img src=x onerror=alert(2)>"\'&'
    const rows = randomTape({ seed: 4, rows: 3000, markets: 1, settle: true }).rows.map((x) =>
      x.kind === 6
        ? { ...x, detail: JSON.stringify({ ...catalog('KXTEST0-26JAN01-B0'), title: evil, strike: evil, ticker: `=1+1${evil}` }) }
        : x,
    )
    const page = buildReport(record(rows, [lean({ size: 5 })])).html
    expect(page.includes('<script>alert')).toBe(false)
    expect(page.includes('<img')).toBe(false)
    expect(page.match(/<script>/g)?.length).toBe(1)
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(html`<b>${text}</b>`.text.slice(3, -4)).not.toMatch(/[<>"']/)
        const cell = csv([[text]])
        const shown = cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell
        expect(shown === text || shown === `'${text}`).toBe(true)
        expect(shown).not.toMatch(/^[=+\-@\t\r]/)
      }),
    )
  })
})
