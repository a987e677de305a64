import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { backtest } from '../../cli/session.ts'
import { DELAYS_DEFAULT } from '../../cli/options.ts'
import { importTradesParquet } from '../../data/import/trades-parquet.ts'
import { Database } from '../../data/parquet.ts'
import { JournalKind } from '../../engine/journal.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import { favorite } from '../../strategies/favorite.ts'
import { buildReport } from '../../reports/index.ts'

const shared = fileURLToPath(new URL('../../../shared/data/permissive/cpratim_MIT/', import.meta.url))
const trades = join(shared, 'weather_trades_2023-12_2025-01.parquet')
const markets = join(shared, 'weather_markets_2023-12_2025-01.parquet')
const dir = mkdtempSync(join(tmpdir(), 'tapeline-favorite-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

type Print = { t: number; p: number; buys: boolean }
type Buy = { ticker: string; trigger: number; time: number; price: number; pnl: number }

/** The same strategy in a few lines over the raw rows, in whole cents and microseconds: no engine, no tape, no fees module. */
function byHand(prints: readonly Print[], ticker: string, paysYes: boolean): Buy | null {
  const [place, answer, wait] = [100_000, 50_000, 900_000_000]
  let order: { trigger: number; arrival: number } | null = null
  for (let i = 0; i < prints.length; i++) {
    const { t, p, buys } = prints[i] as Print
    if (order !== null && t > order.arrival && t <= order.arrival + wait && buys && p <= 98) {
      const fee = Math.ceil((7 * p * (100 - p)) / 10_000) * 10_000
      return { ticker, trigger: order.trigger, time: t, price: p, pnl: (paysYes ? 1_000_000 : 0) - p * 10_000 - fee }
    }
    if (order !== null && t >= order.arrival + wait + answer) order = null
    if (order !== null || p < 90 || p > 98) continue
    // The collar is measured from the last trade of the instant, ten cents at most.
    let last = i
    while (prints[last + 1]?.t === t) last++
    if (98 - (prints[last] as Print).p <= 10) order = { trigger: t, arrival: t + place }
  }
  return null
}

describe('favorite over every weather market (../shared, skipped where it is absent)', () => {
  it.skipIf(!existsSync(trades))(
    'earns what a few lines over the raw trades say, to the micro-dollar, and buys only after its trigger',
    async () => {
      const tape = join(dir, 'weather')
      const summary = await importTradesParquet([trades], tape, { markets: [markets] })
      expect(summary.rows).toBeGreaterThan(780_063)
      const { record } = await backtest({
        tape,
        strategies: [{ strategy: favorite(), source: null }],
        markets: null,
        series: null,
        from: null,
        to: null,
        warmup: 0,
        fills: null,
        delays: DELAYS_DEFAULT,
        seed: 1,
        cash: 10_000_000_000,
        limits: LIMITS_DEFAULT,
        out: join(dir, 'run'),
        decode: 'thread',
      })
      const db = await Database.open()
      const listed = await db.rows(`SELECT ticker, result FROM read_parquet('${markets}')`)
      const results = new Map(listed.map((r) => [r['ticker'] as string, r['result'] as string]))
      const byMarket = new Map<string, Print[]>()
      for (const r of await db.rows(
        `SELECT ticker, epoch_us(created_time) AS t, yes_price AS p, taker_side AS side FROM read_parquet('${trades}') ORDER BY created_time, taker_side DESC,
         CASE WHEN taker_side = 'yes' THEN yes_price ELSE -yes_price END, count, trade_id`, // a sweep walks the book
      )) {
        const ticker = r['ticker'] as string
        if (!results.has(ticker)) continue
        const list = byMarket.get(ticker) ?? []
        byMarket.set(ticker, list)
        list.push({ t: r['t'] as number, p: r['p'] as number, buys: r['side'] === 'yes' })
      }
      db.close()
      expect(byMarket.size).toBe(3_959)
      const buys = [...byMarket].flatMap(([ticker, prints]) => byHand(prints, ticker, results.get(ticker) === 'yes') ?? [])
      const { journal: j, strings, end } = record
      const fills: Omit<Buy, 'trigger' | 'pnl'>[] = []
      for (let i = 0; i < j.length; i++)
        if (j.kind[i] === JournalKind.FILL)
          fills.push({ ticker: strings[j.market[i] as number] as string, time: j.b[i] as number, price: (j.price[i] as number) / 100 })
      const order = (a: { ticker: string }, b: { ticker: string }): number => (a.ticker < b.ticker ? -1 : 1)
      expect(fills.sort(order)).toEqual(buys.map(({ ticker, time, price }) => ({ ticker, time, price })).sort(order))
      expect(fills.length).toBeGreaterThan(500)
      for (const b of buys) expect(b.time).toBeGreaterThan(b.trigger)
      expect(end.equity - record.header.cash).toBe(buys.reduce((a, b) => a + b.pnl, 0))
      for (const m of end.markets)
        expect([m.ticker, m.position, m.pnl]).toEqual([m.ticker, 0, buys.find((b) => b.ticker === m.ticker)?.pnl ?? 0])
      expect(buildReport(record).summary.metrics.find((m) => m.id === 'net')?.value).toBe(end.equity - record.header.cash)
    },
  )
})
