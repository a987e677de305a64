/**
 * Kept pages → a tape, through the builder of every import of trades. Owns which page a trade is taken from and the form of candles; hides nothing. Invariants: a trade of the two
 * sides of the cutoff, or of two walks, is on the tape once; what is not what was asked for stands in the quarantine.
 */
import type { CandleDetail } from '../../../engine/message.ts'
import { MINUTE } from '../../../engine/units.ts'
import { importPrints, type PrintsSummary, type Quarantine } from '../../../data/import/prints.ts'
import type { Listings } from '../../../data/import/listing.ts'
import type { PlanBounds } from '../../../data/import/lifecycle.ts'
import { STAGED, STAGED_REST, TradeColumns, tradeOf } from '../../../data/import/rest-trades.ts'
import type { Database } from '../../../data/parquet.ts'
import { archivedCandle, liveCandle, type Candle } from '../history.ts'
import type { Answer, WireTrade } from '../wire/answers.ts'
import type { Range } from './markets.ts'
import type { Walker } from './walk.ts'

export type Building = {
  readonly tape: string
  readonly environment: 'demo' | 'production' | 'local'
  readonly name: string | undefined
  readonly replace: boolean
  readonly pages: string
  readonly range: Range
  readonly lag: number
  readonly listings: Listings
  readonly bounds: PlanBounds
  readonly candles: 1 | 60 | 1440 | null
  readonly origin: Readonly<Record<string, unknown>>
  readonly remarks: readonly string[]
  readonly progress: (done: number, total: number) => void
  readonly stopped: () => boolean
}

/** Keys of a market's trades, oldest first: the archive, the live side, and what was asked again. */
export const TRADE_KEYS = ['trades/historical', 'trades/live'] as const
export const SECOND = '/second'
export function tradeKeys(ticker: string): string[] {
  return ['', SECOND].flatMap((again) => TRADE_KEYS.map((key) => `${key}/${ticker}${again}`))
}
export const CANDLE_KEYS = ['candles/live', 'candles/historical'] as const

export async function buildTape(walker: Walker, b: Building): Promise<PrintsSummary> {
  return importPrints(
    b.environment === 'local' ? 'kalshi-rest (local exchange)' : 'kalshi-rest',
    [b.pages],
    b.tape,
    {
      ...(b.name === undefined ? {} : { name: b.name }),
      replace: b.replace,
      practice: b.environment === 'local',
      listings: b.listings,
      bounds: b.bounds,
      lag: b.lag,
      candles: b.candles !== null,
      origin: b.origin,
      progress: b.progress,
      stopped: b.stopped,
    },
    async (database, quarantine) => {
      await stageTrades(database, quarantine, walker, b)
      if (b.candles !== null) await stageCandles(database, quarantine, walker, b, b.candles)
      return b.remarks
    },
  )
}

/** Every trade as it was answered, oldest first; the same one twice is the builder's to see. */
async function stageTrades(
  database: Database,
  quarantine: Quarantine,
  walker: Walker,
  { listings, range, stopped }: Building,
): Promise<void> {
  const columns = new TradeColumns(await database.table('staged', STAGED))
  let row = 0
  for (const ticker of listings.markets.keys()) {
    if (stopped()) break
    for (const key of tradeKeys(ticker)) {
      const items = await walker.items<WireTrade>(key, 'trades')
      for (const trade of items.reverse()) {
        const parsed = tradeOf(trade, null)
        row++
        if (typeof parsed === 'string') quarantine({ file: key }, parsed, JSON.stringify(trade))
        else if (parsed.ticker !== ticker) quarantine({ file: key }, 'a trade of another market than was asked for', JSON.stringify(trade))
        else if (parsed.time >= range.from && parsed.time <= range.to) columns.push(0, row, parsed)
        if (columns.full) await columns.flush()
      }
    }
  }
  await columns.flush()
  await database.run(
    `CREATE VIEW prints AS SELECT s.file, s.row::BIGINT AS row, s.trade_id, s.ticker, s.time::BIGINT AS time, s.side, s.price, s.quantity::BIGINT AS quantity, s.row::BIGINT AS place,
       ${STAGED_REST}
     FROM staged s`,
  )
}

async function stageCandles(
  database: Database,
  quarantine: Quarantine,
  walker: Walker,
  { listings, range }: Building,
  minutes: 1 | 60 | 1440,
): Promise<void> {
  const table = await database.table('candles', { ticker: 'varchar', time: 'double', detail: 'varchar' })
  for (const ticker of listings.markets.keys()) {
    const details: CandleDetail[] = []
    for (const key of CANDLE_KEYS) {
      const read = (item: unknown): Candle =>
        key === 'candles/live'
          ? liveCandle(item as Answer<'candles'>['candlesticks'][number])
          : archivedCandle(item as Answer<'historicalCandles'>['candlesticks'][number])
      for (const item of await walker.itemsBelow(`${key}/${ticker}`, 'candlesticks')) {
        const { end, bid, ask, price, volume, openInterest } = read(item)
        if (!(volume >= 0 && openInterest >= 0))
          quarantine({ file: key }, 'a candle whose volume is no number of contracts', JSON.stringify(item))
        else if (end >= range.from && end <= range.to)
          details.push({ period: minutes * MINUTE, end, bid, ask, price, volume, openInterest })
      }
    }
    const n = details.length
    await table.append([details.map(() => ticker), Float64Array.from(details, (d) => d.end), details.map((d) => JSON.stringify(d))], 0, n)
  }
}
