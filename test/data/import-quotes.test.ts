import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { bookAt } from '../../data/book-at.ts'
import { importQuotes, type QuotesOptions } from '../../data/import/quotes.ts'
import { instantOf } from '../../data/import/records.ts'
import { openTape } from '../../data/tape-reader.ts'
import { tapeStats } from '../../data/tape-stats.ts'
import { HOUR, SECOND } from '../../engine/units.ts'
import { folder, iso, removeFolders, rowsOf, writeParquet } from '../support/tapes.ts'

afterEach(removeFolders)

const T0 = 1_750_000_000_000_000
type Quote = { at: number; bid: number | null; ask: number | null; bidSize?: number; askSize?: number; ticker?: string }
const M = 'KXTEST-A-1'

async function run(text: string, options: QuotesOptions = {}, name = 'q.jsonl') {
  const dir = folder()
  writeFileSync(join(dir, name), text)
  const tape = join(dir, 'tape')
  const summary = await importQuotes([join(dir, name)], tape, options)
  const rows = await rowsOf(tape)
  return {
    dir,
    tape,
    summary,
    rows,
    shown: rows.filter((r) => r.kind === 'quote').map((r) => [r.time - T0, r.side, r.price, r.quantity, r.last]),
  }
}
const lines = (quotes: readonly Quote[]) =>
  quotes
    .map(({ at, ticker = M, bidSize = 10, askSize = 20, bid, ask }) =>
      JSON.stringify({ ts: iso(T0 + at), ticker, yes_bid: bid, yes_ask: ask, yes_bid_size: bidSize, yes_ask_size: askSize }),
    )
    .join('\n')

describe('best prices', () => {
  it('become pairs of rows, in order of time, and only when something changed', async () => {
    const { shown, summary, tape } = await run(
      lines([
        { at: 9, bid: 0.41, ask: 0.43 },
        { at: 1, bid: 0.4, ask: 0.42 },
        { at: 2, bid: 0.4, ask: 0.42 },
        { at: 3, bid: 0.4, ask: 0.42, askSize: 5.25 },
        { at: 4, bid: 0, ask: 0.42 },
        { at: 5, bid: null, ask: 0.42 },
        { at: 6, bid: 0.41, ask: 1 },
      ]),
    )
    expect(shown).toEqual([
      [1, 'bid', 4000, 1000, false],
      [1, 'ask', 4200, 2000, true],
      [3, 'bid', 4000, 1000, false],
      [3, 'ask', 4200, 525, true],
      [4, 'bid', 4000, 0, false],
      [4, 'ask', 4200, 2000, true],
      [6, 'bid', 4100, 1000, false],
      [6, 'ask', 4200, 0, true],
      [9, 'bid', 4100, 1000, false],
      [9, 'ask', 4300, 2000, true],
    ])
    expect(summary).toMatchObject({ quotes: 5, unchanged: 2, priceUnit: 'dollars', sizesAssumed: 0 })
    const known = async (at: number) => {
      const { bids, asks, depth } = await bookAt(await openTape(tape), M, T0 + at, 8)
      return [depth, ...[bids, asks].map((side) => side.map((l) => [l.price, l.quantity]))]
    }
    expect(await known(4)).toEqual(['quotes', [], [[4200, 2000]]])
    expect(await known(9)).toEqual(['quotes', [[4100, 1000]], [[4300, 2000]]])
    expect((await tapeStats(await openTape(tape))).perMarket[0]).toMatchObject({ spread: 2, low: 40, high: 42, trades: 0 })
  })

  it('are the same from JSON lines, CSV and Parquet, in cents and dollars, with any names', async () => {
    const quotes = [
      { at: 1, bid: 40, ask: 42.5 },
      { at: 2, bid: 41, ask: 43 },
    ]
    const map = { ticker: 'm', time: 't', bid: 'b', ask: 'a' }
    const record = (q: (typeof quotes)[number], unit: number) => ({ m: M, t: T0 + q.at, b: q.bid / unit, a: q.ask / unit, more: 'x,"y"' })
    const csv = (unit: number): string =>
      ['m,t,b,a,more', ...quotes.map((q) => record(q, unit)).map((r) => `${r.m},${r.t},${r.b},${r.a},"x,""y"""`)].join('\r\n')
    const runs = [
      await run(quotes.map((q) => JSON.stringify(record(q, 1))).join('\n'), { map, size: 700 }),
      await run(quotes.map((q) => JSON.stringify(record(q, 100))).join('\n'), { map, size: 700 }),
      await run(
        JSON.stringify(
          quotes.map((q) => record(q, 100)),
          null,
          1,
        ),
        { map, size: 700 },
        'q.json',
      ),
      await run(csv(1), { map, size: 700 }, 'q.csv'),
      await run(csv(100), { map, size: 700 }, 'q.csv'),
    ]
    const dir = folder()
    const parquet = await writeParquet(
      join(dir, 'q.parquet'),
      { m: 'VARCHAR', t: 'BIGINT', b: 'DOUBLE', a: 'DOUBLE' },
      quotes.map((q) => record(q, 100)),
    )
    await importQuotes([parquet], join(dir, 'tape'), { map, size: 700 })
    const first = runs[0]?.rows
    expect(runs[0]?.shown).toEqual([
      [1, 'bid', 4000, 700, false],
      [1, 'ask', 4250, 700, true],
      [2, 'bid', 4100, 700, false],
      [2, 'ask', 4300, 700, true],
    ])
    for (const r of runs) expect(r.rows).toEqual(first)
    expect(await rowsOf(join(dir, 'tape'))).toEqual(first)
    expect(runs.map((r) => r.summary.priceUnit)).toEqual(['cents', 'dollars', 'dollars', 'cents', 'dollars'])
    expect(runs[0]?.summary.remarks.join()).toMatch(/assumed in 2 records: 7 contracts, as declared with --size/)
  })

  it('lose the noise of a float that computed them, and nothing else', async () => {
    const text = lines([
      { at: 1, bid: 1 - 0.85, ask: 0.1 + 0.2, bidSize: 790.0299999999999 },
      { at: 2, bid: 0.15005, ask: 0.3 },
    ])
    const { shown, summary } = await run(text)
    expect(shown.map((r) => r.slice(2, 4))).toEqual([
      [1500, 79003],
      [3000, 2000],
    ])
    expect(summary.quarantineReasons).toEqual({ 'price is finer than 0.0001 dollars': 1 })
  })

  it('are never given a size that nobody recorded or declared', async () => {
    const text = JSON.stringify({ ts: iso(T0), ticker: M, bid: 0.4, ask: 0.5 })
    await expect(run(text)).rejects.toThrow(/q\.jsonl:1 gives no sizes.*--size <contracts>/)
    const one = JSON.stringify({ ts: iso(T0), ticker: M, bid: 0.4, ask: 0.5, bid_size: 3, ask_size: null })
    const two = JSON.stringify({ ts: iso(T0 + 1), ticker: M, bid: 0.4, ask: 0.5, bid_size: 3, ask_size: 4 })
    expect((await run([one, two].join('\n'))).summary).toMatchObject({
      quotes: 1,
      quarantineReasons: { 'a best price without its size': 1 },
    })
    expect((await run([one, two].join('\n'), { size: 100 })).summary).toMatchObject({ quotes: 2, sizesAssumed: 1 })
  })

  it('go to the quarantine when they are crossed or no price, with file and line', async () => {
    const good = { at: 1, bid: 0.4, ask: 0.5 }
    const text = [
      lines([
        good,
        { at: 2, bid: 0.5, ask: 0.5 },
        { at: 3, bid: 0.6, ask: 0.5 },
        { at: 4, bid: 0.40005, ask: 0.5 },
        { at: 5, bid: 7, ask: 9 },
      ]),
      'nonsense',
      lines([{ ...good, at: 6, bid: 0.45 }]),
    ].join('\n')
    const { summary, tape } = await run(text)
    const places = readFileSync(join(tape, 'quarantine.ndjson'), 'utf8')
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l) as { line: number; reason: string })
    expect(places.map((p) => p.line).sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6])
    expect(summary).toMatchObject({ quotes: 2, quarantined: 5 })
    await expect(run('ticker,time,bid,ask\nX-1,1750000000,0,1\n', { size: 1 }, 'q.csv')).rejects.toThrow(/--price-unit/)
    await expect(run('ticker,when,bid,ask\nX-1,1750000000,0,1\n', { size: 1 }, 'q.csv')).rejects.toThrow(
      /q\.csv:1: which column is time\? .*it has ticker, when/,
    )
    await expect(run('a,b\n1,2\n', { size: 1, map: { bid: 'yb' } }, 'q.csv')).rejects.toThrow(/no column yb \(--map bid=yb\); it has a, b/)
  })

  it('close only where a list says so, and 1 µs after the last quote where quotes run past it', async () => {
    const dir = folder()
    const list = join(dir, 'm.json')
    const m = {
      ticker: M,
      event_ticker: 'KXTEST-A',
      open_time: iso(T0 - HOUR),
      close_time: iso(T0 + 5),
      result: 'no',
      settlement_timer_seconds: 1,
    }
    writeFileSync(
      list,
      JSON.stringify({ event: { event_ticker: 'KXTEST-A', series_ticker: 'KXTEST', mutually_exclusive: true }, markets: [m] }),
    )
    const text = lines([
      { at: 1, bid: 0.4, ask: 0.5 },
      { at: 9, bid: 0.4, ask: 0.5 },
      { at: 9, bid: 0.3, ask: 0.5, ticker: 'KXTEST-A-2' },
    ])
    const { rows } = await run(text, { markets: [list] })
    expect(rows.filter((r) => r.kind !== 'quote').map((r) => [r.ticker, r.kind, r.time - T0, r.detail?.['status'] ?? null])).toEqual([
      [M, 'catalog', -HOUR, 'active'],
      ['KXTEST-A-2', 'catalog', 9, 'active'],
      [M, 'status', 10, 'closed'],
      [M, 'determined', 60 * SECOND + 10, null],
      [M, 'settled', 61 * SECOND + 10, null],
    ])
    expect(rows[0]?.detail).toMatchObject({ exclusive: true, series: 'KXTEST', closeTime: T0 + 5 })
  })

  it('have times in every unit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1_000_000_000_000_000, max: 3_000_000_000_000_000 }), (us) => {
        const s = String(us)
        expect(instantOf(s)).toBe(us)
        expect(instantOf(`${s}987`)).toBe(us)
        expect(instantOf(`${s.slice(0, -3)}.${s.slice(-3)}9`)).toBe(us)
        expect(instantOf(`${s.slice(0, -6)}.${s.slice(-6)}1936`)).toBe(us)
        expect(instantOf(s.slice(0, -6))).toBe(us - (us % 1e6))
        expect(instantOf(iso(us))).toBe(us)
        expect(instantOf(iso(us).replace('T', ' ').replace('Z', '+00'))).toBe(us)
      }),
    )
    for (const bad of ['', 'now', '-5', '1e9', '2026-13-01T00:00:00Z', '0']) expect(instantOf(bad)).toBeNaN()
  })
})

const shared = fileURLToPath(new URL('../../../shared/data/permissive/', import.meta.url))
const here = existsSync(shared)
describe.skipIf(!here)(here ? 'real best prices' : 'real best prices (skipped: ../shared/data is not there)', () => {
  it('come in from two recorders', async () => {
    const dir = folder()
    const eth = await importQuotes([join(shared, 'Johnny-God_CC-BY-4.0/KXETH15M_raw_snapshots_head1500.jsonl')], join(dir, 'eth'), {
      size: 10_000,
    })
    expect(eth).toMatchObject({ records: 1500, markets: 14, quarantined: 0, sizesAssumed: 1500, priceUnit: 'dollars' })
    const nba = await importQuotes([join(shared, 'sayujjain04_MIT/20260523_NYK_CLE_ticks.jsonl')], join(dir, 'nba'), {
      ticker: 'KXNBAGAME-26MAY23NYKCLE-NYK',
    })
    expect(nba).toMatchObject({ records: 470, markets: 1, quarantined: 0, sizesAssumed: 0 })
    // The first record has no price at all: nothing is known, and nothing is said but empty sides.
    expect((await rowsOf(join(dir, 'nba'))).slice(1, 3).map((r) => r.quantity)).toEqual([0, 0])
  })
})
