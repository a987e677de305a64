import { execFile } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { folder, iso, removeFolders, writeParquet } from '../support/tapes.ts'

/** The shipped program on tapes without books, as its user runs it. */
const program = fileURLToPath(new URL('../../dist/tapeline.js', import.meta.url))
const dir = folder()
afterAll(removeFolders)
type Ran = { code: number; stdout: string; stderr: string }
const run = (...args: readonly string[]): Promise<Ran> =>
  new Promise((done) => {
    execFile(process.execPath, [program, ...args], { cwd: dir, env: { ...process.env, NO_COLOR: '1' } }, (error, stdout, stderr) => {
      done({ code: error === null ? 0 : (error.code as unknown as number), stdout, stderr })
    })
  })

const T0 = 1_750_000_000_000_000
beforeAll(async () => {
  const trades = Array.from({ length: 300 }, (_, i) => ({
    trade_id: `t${i}`,
    ticker: `${i < 100 ? '' : 'KX'}HIGH-${i % 50}-A`,
    count: 1 + (i % 3),
    yes_price: 40,
    no_price: 60,
    taker_side: i % 2 === 0 ? 'yes' : 'no',
    created_time: iso(T0 + i * 1e6),
  }))
  await writeParquet(
    join(dir, 'trades.parquet'),
    {
      trade_id: 'VARCHAR',
      ticker: 'VARCHAR',
      count: 'INTEGER',
      yes_price: 'INTEGER',
      no_price: 'INTEGER',
      taker_side: 'VARCHAR',
      created_time: 'VARCHAR',
    },
    trades,
  )
  const markets = Array.from({ length: 45 }, (_, i) => ({
    ticker: `KXHIGH-${i}-A`,
    event_ticker: `KXHIGH-${i}`,
    result: i % 2 === 0 ? 'yes' : 'no',
    close_time: iso(T0 + 1e9),
    volume: trades.filter((t) => t.ticker.endsWith(`HIGH-${i}-A`)).reduce((a, t) => a + t.count, 0) + (i === 3 ? 1 : 0),
  }))
  await writeParquet(
    join(dir, 'markets.parquet'),
    { ticker: 'VARCHAR', event_ticker: 'VARCHAR', result: 'VARCHAR', close_time: 'TIMESTAMPTZ', volume: 'BIGINT' },
    markets,
  )
  writeFileSync(
    join(dir, 'quotes.jsonl'),
    [1, 2, 3].map((i) => JSON.stringify({ ts: iso(T0 + i * 1e6), ticker: 'KXHIGH-1-A', bid: 0.3 + i / 100, ask: 0.5 })).join('\n'),
  )
  writeFileSync(join(dir, 'markets.csv'), 'ticker,close_time\n')
})

describe('importing what others recorded', () => {
  it('makes a tape of prints that list, verify, stats and book speak of without a book', async () => {
    const made = await run('data', 'import', 'trades-parquet', 'trades.parquet', '--markets', 'markets.parquet', '--tape', 'tapes/prints')
    expect([made.code, made.stderr]).toEqual([0, ''])
    expect(made.stdout).toMatch(/trades {7}300 of 600 contracts/)
    expect(made.stdout).toMatch(/45 listed with trades, 0 listed without; 10 unlisted, not tradable \(30 trades\)/)
    expect(made.stdout).toMatch(/equal in 44 of 45 listed markets that traded; unequal: KXHIGH-3-A \d+ of \d+/)
    expect(made.stdout).toMatch(/HIGH-0-A → KXHIGH-0-A/)
    const again = await run(
      'data',
      'import',
      'trades-parquet',
      'trades.parquet',
      '--markets',
      'markets.parquet',
      '--tape',
      'tapes/prints',
      '--replace',
      '--json',
    )
    const { data } = JSON.parse(again.stdout) as { data: { unlisted: string[]; volumeUnequal: unknown[]; trades: number } }
    expect([data.unlisted.length, data.volumeUnequal.length, data.trades]).toEqual([10, 1, 300])
    expect((await run('data', 'verify', 'tapes/prints')).stdout).toMatch(/is whole/)
    const stats = (await run('data', 'stats', 'tapes/prints')).stdout
    expect(stats).toMatch(/trades alone: no book, no quotes[\s\S]*equal to the exchange's in 44 of 45[\s\S]*… 15 more/)
    expect(stats).not.toMatch(/spread|in sync|Decreases/)
    expect(stats.split('\n').length).toBeLessThan(75)
    const book = (await run('data', 'book', 'KXHIGH-1-A', '--tape', 'tapes/prints', '--at', iso(T0 + 200e6))).stdout
    expect(book).toMatch(/active[\s\S]*no book is known: this tape holds trades alone\nlast trade \d at 40\.0¢, taker bought NO/)
    expect((await run('data', 'book', 'KXHIGH-49-A', '--tape', 'tapes/prints')).stdout).toMatch(/unlisted/)
    expect((await run('data', 'list', 'tapes')).stdout).toMatch(/tapes\/prints +trades-parquet +prints/)
  })

  it('makes a tape of quotes with a declared size, and puts an outside series into it', async () => {
    const made = await run('data', 'import', 'quotes', 'quotes.jsonl', '--size', '25', '--tape', 'tapes/quotes')
    expect([made.code, made.stderr]).toEqual([0, ''])
    expect(made.stdout).toMatch(/ASSUMED in 3 records: 25 contracts \(--size\)/)
    const book = (await run('data', 'book', 'KXHIGH-1-A', '--tape', 'tapes/quotes')).stdout
    expect(book).toMatch(/no book is known beyond the best prices[\s\S]*25 +33\.0¢ +50\.0¢ +25/)
    expect((await run('data', 'stats', 'tapes/quotes')).stdout).toMatch(/best prices alone/)
    const map = ['--map', 'published=ts,value=bid', '--series', 'own']
    expect((await run('data', 'import', 'external', 'quotes.jsonl', '--tape', 'tapes/quotes', ...map, '--lag', '2s')).stdout).toMatch(
      /own {2}3 rows \(0 revisions\), known/,
    )
    expect((await run('data', 'verify', 'tapes/quotes')).code).toBe(0)
  })

  it('answers wrong input with one sentence and its exit code', async () => {
    const cases: [string[], number, RegExp][] = [
      [['trades-parquet', 'trades.parquet', '--tape', 'x'], 2, /markets/],
      [['trades-parquet', 'markets.parquet', '--markets', 'markets.parquet', '--tape', 'x'], 4, /no column trade_id.*--markets/],
      [
        ['trades-parquet', 'quotes.jsonl', '--markets', 'markets.parquet', '--tape', 'x'],
        4,
        /quotes\.jsonl:1 is JSON: `data import kalshi-rest-trades`/,
      ],
      [['trades-parquet', 'trades.parquet', '--markets', 'trades.parquet', '--tape', 'x'], 4, /looks like trades/],
      [['trades-parquet', 'trades.parquet', '--markets', 'markets.csv', '--tape', 'x'], 4, /markets\.csv:1 is not JSON/],
      [['kalshi-rest-trades', 'trades.parquet', '--tape', 'x'], 4, /trades\.parquet:1 is not JSON but Parquet/],
      [['kalshi-rest-trades', 'quotes.jsonl', '--tape', 'x'], 4, /quotes\.jsonl:1: no trades found/],
      [['quotes', 'quotes.jsonl', '--tape', 'x'], 4, /gives no sizes.*--size/],
      [['quotes', 'quotes.jsonl', '--tape', 'x', '--size', '0'], 2, /--size 0/],
      [['quotes', 'quotes.jsonl', '--tape', 'x', '--map', 'bit=bid'], 2, /did you mean bid\?/],
      [['external', 'quotes.jsonl', '--tape', 'x', '--series', 'a'], 4, /x is not a tape/],
      [['trades-parquet', 'nowhere', '--markets', 'markets.parquet', '--tape', 'x'], 4, /nowhere does not exist/],
    ]
    for (const [args, code, text] of cases) {
      const r = await run('data', 'import', ...args)
      expect([args.join(' '), r.code, r.stderr]).toEqual([args.join(' '), code, expect.stringMatching(text)])
      expect(r.stderr.trim().split('\n')).toHaveLength(1)
      expect(r.stdout).toBe('')
    }
    expect(existsSync(join(dir, 'x'))).toBe(false)
    expect(readdirSync(dir).filter((f) => f.startsWith('.'))).toEqual([])
  })
})
