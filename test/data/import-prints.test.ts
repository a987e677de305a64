import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { asyncBufferFromFile, parquetRead } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { afterEach, describe, expect, it } from 'vitest'
import { importRestTrades, tradeOf } from '../../data/import/rest-trades.ts'
import { cut, importTradesParquet, repairedPrice } from '../../data/import/trades-parquet.ts'
import { openTape, readManifest } from '../../data/tape-reader.ts'
import { tapeStats } from '../../data/tape-stats.ts'
import { formatPrice, HOUR, MINUTE, SECOND } from '../../engine/units.ts'
import { random, integer } from '../support/random.ts'
import { folder, iso, removeFolders, rowsOf, writeParquet } from '../support/tapes.ts'

afterEach(removeFolders)

const T0 = 1_750_000_000_000_000
type Trade = {
  trade_id: string | null
  ticker: string | null
  count: number | null
  yes_price: number | null
  no_price: number | null
  taker_side: string | null
  created_time: string | null
}
const TRADES = {
  trade_id: 'VARCHAR',
  ticker: 'VARCHAR',
  count: 'INTEGER',
  yes_price: 'INTEGER',
  no_price: 'INTEGER',
  taker_side: 'VARCHAR',
  created_time: 'TIMESTAMPTZ',
}
const MARKETS = {
  ticker: 'VARCHAR',
  event_ticker: 'VARCHAR',
  series_ticker: 'VARCHAR',
  result: 'VARCHAR',
  open_time: 'TIMESTAMPTZ',
  close_time: 'TIMESTAMPTZ',
  expected_expiration_time: 'TIMESTAMPTZ',
  settlement_timer_seconds: 'BIGINT',
  volume: 'BIGINT',
  mutually_exclusive: 'BOOLEAN',
  tick_size: 'BIGINT',
  floor_strike: 'BIGINT',
  cap_strike: 'BIGINT',
  settlement_ts: 'TIMESTAMPTZ',
}
let id = 0
const trade = (ticker: string, at: number, yes: number, count: number, taker: 'yes' | 'no', more: Partial<Trade> = {}): Trade => ({
  trade_id: `t${++id}`,
  ticker,
  count,
  yes_price: yes,
  no_price: 100 - yes,
  taker_side: taker,
  created_time: iso(T0 + at),
  ...more,
})
const market = (ticker: string, more: Record<string, unknown> = {}) => ({
  ticker,
  event_ticker: ticker.slice(0, ticker.lastIndexOf('-')),
  series_ticker: 'KXTEST',
  result: 'yes',
  open_time: iso(T0 - HOUR),
  close_time: iso(T0 + HOUR),
  expected_expiration_time: null,
  settlement_ts: null,
  settlement_timer_seconds: 600,
  volume: null,
  mutually_exclusive: true,
  tick_size: 1,
  floor_strike: 70,
  cap_strike: null,
  ...more,
})

async function run(trades: readonly Trade[], markets: readonly Record<string, unknown>[], types: Partial<typeof TRADES> = {}) {
  const dir = folder()
  const input = await writeParquet(join(dir, 'trades.parquet'), { ...TRADES, ...types }, trades)
  const list = await writeParquet(join(dir, 'markets.parquet'), MARKETS, markets)
  const tape = join(dir, 'tape')
  const summary = await importTradesParquet([input], tape, { markets: [list] })
  const quarantine = existsSync(join(tape, 'quarantine.ndjson'))
    ? readFileSync(join(tape, 'quarantine.ndjson'), 'utf8')
        .trim()
        .split('\n')
        .map((l) => JSON.parse(l) as { file: string; row: number; reason: string; raw: string })
    : []
  return { dir, tape, summary, rows: await rowsOf(tape), quarantine, manifest: await readManifest(tape) }
}

describe('prices cut by int(float × 100)', () => {
  /** What Python makes of int(float("0.NN") * 100): the same but for these. */
  const python = (cents: number): number => ({ 29: 28, 57: 56, 58: 57 })[cents] ?? cents
  const all = Array.from({ length: 99 }, (_, i) => i + 1)

  it('are repaired to the true price wherever the sum shows it, and nothing else is', () => {
    const seen = new Map(all.map((p) => [`${python(p)} ${python(100 - p)}`, p]))
    expect(seen.size).toBe(99)
    for (const cents of all) expect(cut(cents)).toBe(python(cents))
    for (const yes of all)
      for (const no of all) {
        if (yes + no === 100) continue
        expect([yes, no, repairedPrice(yes, no)]).toEqual([yes, no, seen.get(`${yes} ${no}`) ?? null])
      }
  })

  it.each(['INTEGER', 'BIGINT', 'DOUBLE', 'VARCHAR'])(
    'come out right from a file (%s), on both sides; what cannot be told is quarantined with its row',
    async (type) => {
      const trades = all.map((p, i) => trade('KXTEST-A-1', i, p, 1, 'yes', { yes_price: cut(p), no_price: cut(100 - p) }))
      trades.push(trade('KXTEST-A-1', 500, 28, 1, 'no', { no_price: 70 }))
      const { rows, summary, quarantine } = await run(trades, [market('KXTEST-A-1', { volume: 99 })], { yes_price: type, no_price: type })
      expect(rows.filter((r) => r.kind === 'trade').map((r) => r.price)).toEqual(all.map((p) => p * 100))
      expect(summary).toMatchObject({ repaired: 6, quarantined: 1, trades: 99, volumeEqual: 1 })
      expect(quarantine).toMatchObject([{ row: 100, reason: expect.stringMatching(/do not add up to 100/) as unknown }])
      expect(summary.remarks.join()).toMatch(/6 prices that had been cut/)
    },
  )
})

describe('trades without books', () => {
  it('give the same rows for every order of the rows and every split into files, repetitions counted once', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async (seed) => {
        const next = random(seed)
        const trades = Array.from({ length: 150 }, () =>
          trade(
            `KXTEST-${integer(next, 0, 3)}-${integer(next, 0, 2)}`,
            integer(next, 0, 40) * SECOND,
            integer(next, 1, 99),
            integer(next, 1, 9),
            next() < 0.5 ? 'yes' : 'no',
          ),
        )
        const markets = [...new Set(trades.map((t) => t.ticker as string))].filter((t) => !t.endsWith('2')).map((t) => market(t))
        const dir = folder()
        const list = await writeParquet(join(dir, 'markets.parquet'), MARKETS, markets)
        const backward = await writeParquet(join(dir, 'markets2.parquet'), MARKETS, [...markets].reverse())
        const one = await importTradesParquet([await writeParquet(join(dir, 'all.parquet'), TRADES, trades)], join(dir, 'one'), {
          markets: [list],
        })
        const mixed = trades.map((t) => ({ t, key: next() })).sort((a, b) => a.key - b.key)
        const split = 20 + integer(next, 0, 100)
        const parts = [mixed.slice(0, split + 10), mixed.slice(split)]
        const files = await Promise.all(
          parts.map((p, i) =>
            writeParquet(
              join(dir, `part${i}.parquet`),
              TRADES,
              p.map((x) => x.t),
            ),
          ),
        )
        const two = await importTradesParquet(files, join(dir, 'two'), { markets: [backward] })
        expect(two).toEqual({ ...one, duplicates: 10, remarks: [expect.stringMatching(/^10 trades stood/), ...one.remarks] })
        const digests = async (tape: string) => (await readManifest(join(dir, tape))).files.map((f) => [f.path, f.sha256])
        expect(await digests('two')).toEqual(await digests('one'))
      }),
      { numRuns: 5 },
    )
  })

  it('are in order of time; a sweep in one µs meets the best price first; each is a message that executes', async () => {
    const sweep = [44, 42, 43].map((p) => trade('KXTEST-A-1', 5, p, 1, 'yes'))
    const down = [20, 22, 21].map((p) => trade('KXTEST-A-1', 9, p, 1, 'no'))
    const { rows } = await run([...down, ...sweep, trade('KXTEST-A-1', 1, 50, 2, 'no')], [market('KXTEST-A-1')])
    const trades = rows.filter((r) => r.kind === 'trade')
    expect(trades.map((r) => [r.time - T0, r.side, r.price, r.quantity])).toEqual([
      [1, 'ask', 5000, 200],
      [5, 'bid', 4200, 100],
      [5, 'bid', 4300, 100],
      [5, 'bid', 4400, 100],
      [9, 'ask', 2200, 100],
      [9, 'ask', 2100, 100],
      [9, 'ask', 2000, 100],
    ])
    expect(trades.every((r) => r.last && r.executes && r.timeVenue === r.time)).toBe(true)
  })

  it.each(['TIMESTAMPTZ', 'TIMESTAMP', 'VARCHAR'])('have their times from %s, in UTC on every machine', async (type) => {
    const zone = process.env['TZ']
    process.env['TZ'] = 'Asia/Kolkata'
    try {
      const plain = iso(T0 + 7)
        .replace('T', ' ')
        .replace('Z', '')
      const texts = type === 'VARCHAR' ? [iso(T0 + 7), plain, `${plain}+00:00`, iso(T0 + 7 + 5 * HOUR).replace('Z', '+05:00')] : [plain]
      const trades = texts.map((created_time) => trade('KXTEST-A-1', 0, 40, 1, 'yes', { created_time }))
      const { rows, summary } = await run(trades, [market('KXTEST-A-1')], { created_time: type })
      expect(rows.filter((r) => r.kind === 'trade').map((r) => r.time - T0)).toEqual(texts.map(() => 7))
      expect(summary.remarks.some((r) => /no time zone: taken as UTC/.test(r))).toBe(type === 'TIMESTAMP')
    } finally {
      if (zone === undefined) delete process.env['TZ']
      else process.env['TZ'] = zone
    }
  })

  it('know nothing before its time: the catalog is the same whatever the result, and names the scheduled close', async () => {
    const trades = [trade('KXTEST-A-1', 5, 40, 1, 'yes'), trade('KXTEST-A-2', 6, 40, 1, 'yes'), trade('KXTEST-A-3', 6, 40, 1, 'yes')]
    const catalogs = new Set<string>()
    for (const [result, volume] of [
      ['yes', 1],
      ['no', 99],
      ['', 1],
    ] as const) {
      const { rows, summary } = await run(trades, [
        market('KXTEST-A-1', { result, volume, close_time: iso(T0 + 10 * MINUTE) }),
        market('KXTEST-A-2', { result, volume }),
      ])
      const known = rows.filter((r) => r.kind === 'catalog')
      catalogs.add(JSON.stringify(known))
      expect(known.map((r) => [r.ticker, r.time - T0, r.detail?.['status'], r.detail?.['closeTime']])).toEqual([
        ['KXTEST-A-1', -HOUR, 'active', T0 + HOUR],
        ['KXTEST-A-2', -HOUR, 'active', T0 + HOUR],
        ['KXTEST-A-3', 6, 'unlisted', null],
      ])
      expect(known.map((r) => JSON.stringify(r.detail)).join()).not.toMatch(/result|volume|settle/)
      const life = rows.filter((r) => r.kind !== 'catalog' && r.kind !== 'trade').map((r) => [r.ticker, r.kind, r.time - T0])
      if (result !== '')
        expect(life).toEqual([
          ['KXTEST-A-1', 'status', 10 * MINUTE],
          ['KXTEST-A-1', 'determined', 11 * MINUTE],
          ['KXTEST-A-1', 'settled', 21 * MINUTE],
          ['KXTEST-A-2', 'status', HOUR],
          ['KXTEST-A-2', 'determined', 61 * MINUTE],
          ['KXTEST-A-2', 'settled', 71 * MINUTE],
        ])
      else expect(life).toEqual([]) // not closed within the data: nothing has happened yet
      expect(summary.remarks.join()).toMatch(/1 market closed before the latest close of the event/)
    }
    expect(catalogs.size).toBe(1)
  })

  it('have every row of a market between its catalog row and its close, whatever times the list states', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async (seed) => {
        const next = random(seed)
        const time = (): string | null => (next() < 0.3 ? null : iso(T0 + integer(next, -100, 100) * SECOND))
        const tickers = ['1', '2', '3', '4'].map((x) => `KXTEST-A-${x}`)
        const trades = tickers.slice(0, 3).flatMap((t) => [0, 1, 2].map(() => trade(t, integer(next, -100, 100) * SECOND, 40, 1, 'yes')))
        const { rows } = await run(
          trades,
          tickers.map((t) =>
            market(t, {
              open_time: time(),
              close_time: time(),
              expected_expiration_time: time(),
              settlement_ts: time(),
              result: next() < 0.7 ? 'no' : '',
            }),
          ),
        )
        for (const ticker of tickers) {
          const kinds = rows.filter((r) => r.ticker === ticker).map((r) => r.kind)
          expect(kinds.join(' ')).toMatch(/^(catalog( trade){0,3}( status( determined settled)?)?)?$/)
        }
        expect(rows.filter((r) => r.kind === 'trade')).toHaveLength(9)
        expect(rows.every((r, i) => i === 0 || r.time >= (rows[i - 1]?.time ?? 0))).toBe(true)
      }),
      { numRuns: 12 },
    )
  })

  it('quarantine what cannot be used, each with its row and reason, and count the rest', async () => {
    const bad: [Partial<Trade>, RegExp][] = [
      [{ ticker: null }, /no ticker/],
      [{ created_time: null }, /no time/],
      [{ count: 0 }, /not above zero/],
      [{ count: -3 }, /not above zero/],
      [{ count: null }, /not above zero/],
      [{ taker_side: 'buy' }, /neither yes nor no/],
      [{ taker_side: null }, /neither yes nor no/],
      [{ yes_price: 100, no_price: 0 }, /outside 1 to 99/],
      [{ yes_price: 0, no_price: 100 }, /outside 1 to 99/],
      [{ yes_price: null }, /missing/],
      [{ yes_price: 40, no_price: 50 }, /do not add up/],
    ]
    const trades = [trade('KXTEST-A-1', 1, 40, 1, 'yes'), ...bad.map(([more]) => trade('KXTEST-A-1', 2, 40, 1, 'yes', more))]
    const same = trade('KXTEST-A-1', 3, 40, 1, 'yes')
    const { summary, quarantine } = await run([...trades, same, { ...same, count: 5 }], [market('KXTEST-A-1', { volume: 2 })])
    expect(quarantine.map((q) => q.row)).toEqual([...bad.map((_, i) => i + 2), bad.length + 3])
    for (const [i, [, reason]] of bad.entries()) expect(quarantine[i]?.reason).toMatch(reason)
    expect(quarantine[bad.length]?.reason).toMatch(/stands elsewhere with other content/)
    expect(summary).toMatchObject({ trades: 2, contracts: 2, quarantined: bad.length + 1, volumeEqual: 1 })
  })

  it('find the market and the series of another era by the KX rule alone', async () => {
    const trades = [
      trade('HIGH-A-1', 1, 40, 1, 'yes'), // listed as KXHIGH-A-1
      trade('KXLOW-A-1', 2, 40, 1, 'yes'), // listed as LOW-A-1
      trade('HIGH-B-1', 3, 40, 1, 'yes'), // not listed, its series known as KXHIGH
      trade('RAIN-B-1', 4, 40, 1, 'yes'), // nothing known
      trade('KXHIGH-A-1', 5, 40, 2, 'yes'), // the same market, both forms
    ]
    const { summary, rows, tape } = await run(trades, [
      market('KXHIGH-A-1', { series_ticker: 'KXHIGH', volume: 3 }),
      market('LOW-A-1', { series_ticker: 'KXLOW', volume: 1 }),
    ])
    expect(summary.tickersMapped).toEqual({ 'HIGH-A-1': 'KXHIGH-A-1', 'KXLOW-A-1': 'LOW-A-1' })
    expect(summary.unlisted).toEqual(['HIGH-B-1', 'RAIN-B-1'])
    expect(summary.seriesMapped).toEqual({ HIGH: { to: 'KXHIGH', markets: 1 }, LOW: { to: 'KXLOW', markets: 1 } })
    expect([summary.volumeEqual, summary.volumeCompared]).toEqual([2, 2])
    expect(rows.filter((r) => r.kind === 'catalog').map((r) => [r.ticker, r.detail?.['series']])).toEqual([
      ['KXHIGH-A-1', 'KXHIGH'],
      ['LOW-A-1', 'KXLOW'],
      ['HIGH-B-1', 'KXHIGH'],
      ['RAIN-B-1', 'RAIN'],
    ])
    const stats = await tapeStats(await openTape(tape))
    expect(stats).toMatchObject({
      depth: 'prints',
      coverage: null,
      prints: { trades: 5, contracts: 6, unlisted: 2, volumeEqual: 2, takerYes: 1, low: 40, high: 40 },
    })
  })

  it('name a market whose volume differs, one that is listed twice, and a result that has no value', async () => {
    const { summary } = await run(
      [trade('KXTEST-A-1', 1, 40, 3, 'yes'), trade('KXTEST-A-2', 1, 40, 3, 'yes')],
      [
        market('KXTEST-A-1', { volume: 5 }),
        market('KXTEST-A-1', { volume: 4, result: '' }),
        market('KXTEST-A-2', { result: 'scalar' }),
        market('KXTEST-B-1'),
      ],
    )
    expect(summary.volumeUnequal).toEqual([{ ticker: 'KXTEST-A-1', contracts: 3, exchange: 5 }])
    expect(summary).toMatchObject({ listed: 2, listedWithout: 0, listedElsewhere: 1, undetermined: 1 })
    const contradicted = [market('KXTEST-A-1'), market('KXTEST-A-1', { result: 'no' })]
    await expect(run([trade('KXTEST-A-1', 1, 40, 3, 'yes')], contradicted)).rejects.toThrow(/KXTEST-A-1 is listed with different results/)
    expect(summary.remarks.join('\n')).toMatch(/described a market in another state[\s\S]*Result scalar of 1 market cannot be used/)
  })

  it('refuse files that are something else, in one sentence', async () => {
    const dir = folder()
    const good = await writeParquet(join(dir, 'good.parquet'), TRADES, [trade('KXTEST-A-1', 1, 40, 1, 'yes')])
    const list = await writeParquet(join(dir, 'list.parquet'), MARKETS, [market('KXTEST-A-1')])
    writeFileSync(join(dir, 'x.csv'), 'a,b\n1,2\n')
    writeFileSync(join(dir, 'empty.parquet'), '')
    writeFileSync(join(dir, 'cut.parquet'), readFileSync(good).subarray(0, 300))
    const broken = readFileSync(good)
    broken.fill(0xff, 8, 60)
    writeFileSync(join(dir, 'broken.parquet'), broken)
    mkdirSync(join(dir, 'folder'))
    for (const [file, message] of [
      ['x.csv', /x\.csv:1 is no Parquet file/],
      ['empty.parquet', /empty\.parquet is empty/],
      ['cut.parquet', /was cut off/],
      ['broken.parquet', /cannot be read/],
      ['folder', /folder without a \.parquet file/],
      ['nowhere', /does not exist/],
      ['list.parquet', /no column trade_id, count.*it has ticker, event_ticker.*--markets/],
    ] as const) {
      const failure = await importTradesParquet([join(dir, file)], join(dir, 'tape'), { markets: [list] }).catch((e: unknown) => e)
      expect(failure).toMatchObject({ name: 'DataError', message: expect.stringMatching(message) as unknown })
      expect((failure as Error).message).not.toMatch(/\n/)
    }
    await expect(importTradesParquet([good], join(dir, 'tape'), { markets: [join(dir, 'x.csv')] })).rejects.toThrow(/x\.csv:3? ?.*JSON/)
    expect(existsSync(join(dir, 'tape'))).toBe(false)
  })
})

describe('trades of the REST API', () => {
  // Oldest first; three prints of one sweep share a µs, in an order that no price would give.
  const told = [
    { ticker: 'KXTEST-A-1', at: 1, cents: 40, count: 3, taker: 'yes' },
    { ticker: 'KXTEST-A-1', at: 5, cents: 44, count: 1, taker: 'yes' },
    { ticker: 'KXTEST-A-1', at: 5, cents: 41, count: 2, taker: 'yes' },
    { ticker: 'KXTEST-A-1', at: 5, cents: 43, count: 7, taker: 'yes' },
    { ticker: 'KXTEST-A-2', at: 7, cents: 9, count: 12, taker: 'no' },
    { ticker: 'KXTEST-A-1', at: 9, cents: 57, count: 1, taker: 'no' },
  ] as const
  type Told = (typeof told)[number]
  const base = (t: Told, i: number) => ({ trade_id: `id-${i}`, ticker: t.ticker, created_time: iso(T0 + t.at) })
  const old = (t: Told, i: number) => ({ ...base(t, i), count: t.count, yes_price: t.cents, no_price: 100 - t.cents, taker_side: t.taker })
  const fresh = (t: Told, i: number) => ({
    ...base(t, i),
    count_fp: `${t.count}.00`,
    yes_price_dollars: formatPrice(t.cents * 100),
    no_price_dollars: formatPrice(10_000 - t.cents * 100),
    taker_book_side: t.taker === 'yes' ? 'bid' : 'ask',
    taker_outcome_side: t.taker,
  })
  const both = (t: Told, i: number) => ({ ...fresh(t, i), ...old(t, i) })
  const dollars = (t: Told, i: number) => ({
    ...base(t, i),
    yes_price: t.cents / 100,
    no_price: formatPrice(10_000 - t.cents * 100),
    count: t.count,
    taker_side: t.taker,
  })
  const shapes: Record<string, (t: Told, i: number) => { readonly ticker: string }> = { old, fresh, both, dollars }
  const byTicker = (list: readonly { ticker: string }[]) =>
    Object.fromEntries([...new Set(list.map((t) => t.ticker))].map((k) => [k, list.filter((t) => t.ticker === k)]))
  const envelopes: Record<string, (list: readonly { ticker: string }[]) => string> = {
    page: (list) => JSON.stringify({ trades: list, cursor: 'next' }, null, 2),
    list: (list) => JSON.stringify(list),
    'by ticker': (list) => JSON.stringify(byTicker(list), null, 1),
    recorded: (list) => JSON.stringify({ _metadata: { limit: 5 }, response: { cursor: '', trades: list } }),
    'line by line': (list) => list.map((t) => JSON.stringify(t)).join('\n\n'),
    'pages by the line': (list) => [list.slice(0, 2), list.slice(2)].map((trades) => JSON.stringify({ trades, cursor: '' })).join('\n'),
  }

  it('are the same in every envelope, era and direction, in one file or many, plain or gzip', async () => {
    const markets = join(folder(), 'm.json')
    writeFileSync(markets, JSON.stringify({ markets: [market('KXTEST-A-1'), market('KXTEST-A-2')] }))
    let first: unknown = null
    for (const [shape, make] of Object.entries(shapes))
      for (const [envelope, text] of Object.entries(envelopes))
        for (const newest of [false, true])
          for (const parts of [1, 2]) {
            const dir = folder()
            const all = told.map(make)
            const list = newest ? [...all].reverse() : all
            // A sweep that is cut by the border of two pages stays in its order.
            const pieces = parts === 1 ? [list] : [list.slice(0, 3), list.slice(3)]
            const files = pieces.map((p, i) => {
              const path = join(dir, `${i}.json${parts === 2 ? '.gz' : ''}`)
              writeFileSync(path, parts === 2 ? gzipSync(text(p)) : text(p))
              return path
            })
            const tape = join(dir, 'tape')
            const s = await importRestTrades(files, tape, { markets: [markets] })
            const rows = await rowsOf(tape)
            first ??= rows
            expect([shape, envelope, newest, parts, s.quarantined, rows]).toEqual([shape, envelope, newest, parts, 0, first])
          }
    const trades = (first as Awaited<ReturnType<typeof rowsOf>>).filter((r) => r.kind === 'trade')
    expect(trades.map((r) => [r.ticker, r.time - T0, r.side, r.price, r.quantity])).toEqual(
      told.map((t) => [t.ticker, t.at, t.taker === 'yes' ? 'bid' : 'ask', t.cents * 100, t.count * 100]),
    )
  }, 180_000)

  it('are read by their digits, never through a float', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9999 }), fc.integer({ min: 1, max: 1e9 }), (price, quantity) => {
        const t = { ticker: 'A-1', created_time: iso(T0), taker_side: 'yes', count: quantity / 100 }
        const parsed = [
          tradeOf({ ...t, yes_price: price / 10_000 }, null),
          tradeOf({ ...t, yes_price_dollars: formatPrice(price) }, null),
          tradeOf({ ...t, no_price: formatPrice(10_000 - price) }, null),
        ]
        for (const p of parsed) expect(p).toMatchObject({ price, quantity, side: 0, time: T0 })
      }),
    )
  })

  it.each([
    [{}, /no ticker/],
    [{ ticker: 'A-1' }, /no time/],
    [{ ticker: 'A-1', created_time: iso(T0), count: '1e3' }, /no number/],
    [{ ticker: 'A-1', created_time: iso(T0), count: 0 }, /above zero/],
    [{ ticker: 'A-1', created_time: iso(T0), count: 1, taker_side: 'maker' }, /taker side/],
    [{ ticker: 'A-1', created_time: iso(T0), count: 1, taker_side: 'yes', taker_book_side: 'ask' }, /contradict/],
    [{ ticker: 'A-1', created_time: iso(T0), count: 1, taker_side: 'yes' }, /no yes_price/],
    [{ ticker: 'A-1', created_time: iso(T0), count: 1, taker_side: 'yes', yes_price: 0.30000000000000004 }, /no number of dollars/],
    [{ ticker: 'A-1', created_time: iso(T0), count: 1, taker_side: 'yes', yes_price: 100 }, /between 0 and a dollar/],
    [{ ticker: 'A-1', created_time: iso(T0), count: 1, taker_side: 'yes', yes_price: 40, no_price: 50 }, /do not add up/],
  ])('say why %j is no trade', (value, reason) => {
    expect(tradeOf(value, null)).toMatch(reason)
  })

  it('name the place of what is wrong: line, and path inside a document', async () => {
    const dir = folder()
    const bad = { ...old(told[1], 1), count: -1 }
    writeFileSync(join(dir, 'a.json'), JSON.stringify({ trades: [old(told[0], 0), bad, 'x'] }, null, 1))
    writeFileSync(join(dir, 'b.ndjson'), [JSON.stringify(old(told[4], 4)), '{"trade_id": ', '{"foo":1}', JSON.stringify(bad)].join('\n'))
    await importRestTrades([dir], join(dir, 'tape'))
    const places = readFileSync(join(dir, 'tape/quarantine.ndjson'), 'utf8')
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l) as Record<string, unknown>)
    expect(places.map(({ file, line, at, reason }) => [String(file).split('/')[1], line, at, reason])).toEqual([
      ['a.json', 13, 'trades[1]', 'count is not above zero'],
      ['a.json', 1, 'trades[2]', 'not an object'],
      ['b.ndjson', 2, undefined, 'not JSON'],
      ['b.ndjson', 3, undefined, 'no trade'],
      ['b.ndjson', 4, undefined, 'count is not above zero'],
    ])
    for (const [text, message] of [
      ['{"trades": [\n{"trade_id"\n', /:[23] is not JSON/],
      ['{"markets": []}', /no trades found.*--markets/],
      ['', /is empty/],
      ['\n\n', /blank lines/],
    ] as const) {
      writeFileSync(join(dir, 'c.json'), text)
      await expect(importRestTrades([join(dir, 'c.json')], join(dir, 'none'))).rejects.toThrow(message)
    }
    writeFileSync(join(dir, 'd.json.gz'), gzipSync(JSON.stringify({ trades: told.map(old) })).subarray(0, 60))
    await expect(importRestTrades([join(dir, 'd.json.gz')], join(dir, 'none'))).rejects.toThrow(/d\.json\.gz:1 cannot be read/)
    expect(existsSync(join(dir, 'none'))).toBe(false)
  })
})

const shared = fileURLToPath(new URL('../../../shared/data/permissive/cpratim_MIT/', import.meta.url))
const here = existsSync(shared)
describe.skipIf(!here)(here ? 'real weather trades' : 'real weather trades (skipped: ../shared/data is not there)', () => {
  const file = join(shared, 'weather_trades_2023-12_2025-01.parquet')
  const list = join(shared, 'weather_markets_2023-12_2025-01.parquet')
  it('agree with the volume of the exchange in every listed market', async () => {
    const tape = join(folder(), 'weather')
    const s = await importTradesParquet([file], tape, { markets: [list] })
    expect(s).toMatchObject({
      trades: 780_063,
      listed: 3_959,
      listedWithout: 73,
      volumeCompared: 3_959,
      volumeEqual: 3_959,
      unlistedTrades: 95_477,
      duplicates: 0,
      repaired: 0,
      quarantined: 0,
    })
    expect(s.unlisted).toHaveLength(3_699)
    // Another reader finds the same contracts.
    const sums = { yes: 0, no: 0 }
    await parquetRead({
      file: await asyncBufferFromFile(file),
      compressors,
      columns: ['count', 'taker_side'],
      onComplete: (rows) => {
        for (const [count, side] of rows as unknown as [number, 'yes' | 'no'][]) sums[side] += count
      },
    })
    expect(s.contracts).toBe(sums.yes + sums.no)
    const stats = await tapeStats(await openTape(tape))
    expect(stats.prints?.takerYes).toBeCloseTo(sums.yes / s.contracts, 9)
  }, 120_000)

  it('say the same in the raw JSON of the API', async () => {
    for (const city of ['ny', 'mia']) {
      const name = join(shared, `kxhigh${city}_2025-01-10`)
      const s = await importRestTrades([`${name}_trades.json`], join(folder(), 'tape'), { markets: [`${name}_event.json`] })
      expect(s).toMatchObject({ listed: 6, volumeEqual: 6, volumeCompared: 6, quarantined: 0 })
    }
  })
})
