/**
 * Best prices without depth → a tape of quotes. Owns the units of prices and sizes, crossed quotes and which quotes are news; hides staging. Invariants: a size is recorded or declared,
 * never invented; a quote that says nothing new gives no row; the rows do not depend on the order of the input, but for records of one market in one µs.
 *
 * A side without a price, a bid at 0 and an ask at one dollar are a side that is empty: quantity 0, at the price it last had.
 */
import { mkdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Flag, Kind, pushRow } from '../../engine/message.ts'
import { ASK, BID, parseDecimal, parseQuantity, PRICE_ONE } from '../../engine/units.ts'
import { DataError } from '../errors.ts'
import { Database } from '../parquet.ts'
import type { Manifest } from '../schema.ts'
import { TapeWriter } from '../tape-writer.ts'
import { shortName } from './frames.ts'
import { filesUnder } from './inputs.ts'
import { listedAs, planMarkets, together, type LifeFigures, type Seen } from './lifecycle.ts'
import { NO_LISTINGS, readListings } from './listing.ts'
import { LifeMerge, origin, type Quarantine } from './prints.ts'
import { chooseColumns, instantOf, readRecords, RECORD_ENDINGS, type ColumnMap, type Reading } from './records.ts'

export const QUOTE_FIELDS = ['ticker', 'time', 'bid', 'ask', 'bidSize', 'askSize'] as const
const USUAL = {
  ticker: ['ticker', 'market_ticker', 'market'],
  time: ['time', 'ts', 'timestamp', 'received', 'created_time', 'ts_ms'],
  bid: ['bid', 'yes_bid', 'yb', 'best_bid', 'yes_bid_dollars', 'market.yes_bid', 'market.yes_bid_dollars'],
  ask: ['ask', 'yes_ask', 'ya', 'best_ask', 'yes_ask_dollars', 'market.yes_ask', 'market.yes_ask_dollars'],
  bidSize: ['bid_size', 'yes_bid_size', 'yes_bid_size_fp', 'market.yes_bid_size', 'market.yes_bid_size_fp'],
  askSize: ['ask_size', 'yes_ask_size', 'yes_ask_size_fp', 'market.yes_ask_size', 'market.yes_ask_size_fp'],
} as const

export type QuotesOptions = {
  readonly name?: string
  readonly replace?: boolean
  readonly markets?: readonly string[]
  readonly map?: ColumnMap
  /** The market of all records, where no column names it. */
  readonly ticker?: string
  readonly priceUnit?: 'cents' | 'dollars'
  /** Quantity at a best price where the files give none: a declared assumption. */
  readonly size?: number
}
export type QuotesSummary = {
  readonly rows: number
  readonly byKind: Manifest['byKind']
  readonly records: number
  readonly quotes: number
  readonly unchanged: number
  readonly from: number
  readonly to: number
  readonly priceUnit: 'cents' | 'dollars'
  /** Records whose size was declared, not recorded. */
  readonly sizesAssumed: number
  readonly quarantined: number
  readonly quarantineReasons: Readonly<Record<string, number>>
  readonly remarks: readonly string[]
} & LifeFigures

/** Prices are staged in millionths of what the file counts in, until its unit is known. */
const SCALE = 6
const NONE = -1
const CHUNK = 8_192

export async function importQuotes(paths: readonly string[], dir: string, options: QuotesOptions = {}): Promise<QuotesSummary> {
  const files = filesUnder(paths, RECORD_ENDINGS)
  const writer = await TapeWriter.create(dir, {
    source: 'quotes',
    depth: 'quotes',
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.replace === undefined ? {} : { replace: options.replace }),
  })
  const spill = join(dirname(dir), `.${basename(dir)}.partial-${process.pid}-sort`)
  let database: Database | null = null
  try {
    await mkdir(spill, { recursive: true })
    database = await Database.open({ threads: 2, memory: 400, spill })
    return await build(database, writer, files, options)
  } catch (error) {
    await writer.abort()
    throw error
  } finally {
    database?.close()
    await rm(spill, { recursive: true, force: true })
  }
}

async function build(db: Database, writer: TapeWriter, files: readonly string[], options: QuotesOptions): Promise<QuotesSummary> {
  const names = files.map(shortName)
  const reasons: Record<string, number> = {}
  let quarantined = 0
  const quarantine: Quarantine = (place, reason, raw) => {
    quarantined++
    reasons[reason] = (reasons[reason] ?? 0) + 1
    writer.quarantine(`${JSON.stringify({ ...place, reason, raw: raw.slice(0, 2_000) })}\n`)
  }
  const staging = new Staging(db, options, quarantine)
  await staging.run(files, names)
  const unit = options.priceUnit ?? staging.unit(names)
  const sizesAssumed = staging.sizesAssumed
  const step = unit === 'dollars' ? 100 : 10_000
  const price = (column: string): string => `CASE WHEN ${column} >= 0 THEN (${column} / ${step})::INTEGER END`
  await db.run(
    `CREATE VIEW quotes AS SELECT *, CASE
       WHEN bid % ${step} <> 0 AND bid >= 0 OR ask % ${step} <> 0 AND ask >= 0 THEN 'price is finer than 0.0001 dollars'
       WHEN bid >= ${step * PRICE_ONE} OR ask > ${step * PRICE_ONE} OR ask = 0 THEN 'price is out of its range in ${unit}' END AS problem FROM staged`,
  )
  for await (const piece of db.pieces(
    `SELECT file, row, problem, ticker || ' bid ' || bid || ' ask ' || ask || ' (millionths of ${unit})' FROM quotes WHERE problem IS NOT NULL ORDER BY file, row`,
  ))
    for (let i = 0; i < piece.rows; i++)
      quarantine(
        { file: names[piece.column(0)[i] as number] ?? '', line: piece.column(1)[i] as number },
        piece.text(2, i) ?? '',
        piece.text(3, i) ?? '',
      )
  const raw = await survey(db, price)
  if (raw.size === 0) {
    const worst = Object.entries(reasons).sort((a, b) => b[1] - a[1])[0]
    throw new DataError(
      'TAPE_EMPTY',
      `${names.join(', ')}: no usable quote${worst === undefined ? ' in it' : `: ${worst[0]} in ${worst[1]} of ${quarantined} records`}`,
    )
  }
  const has = (ticker: string): boolean =>
    raw.has(ticker) || raw.has(`KX${ticker}`) || (ticker.startsWith('KX') && raw.has(ticker.slice(2)))
  const listings = options.markets === undefined ? NO_LISTINGS : await readListings(db, options.markets, has)
  const meant = new Map([...raw.keys()].map((ticker) => [ticker, listedAs(ticker, listings.markets) ?? ticker]))
  const seen = new Map<string, Seen>()
  for (const [ticker, data] of raw) {
    const [listed, before] = [meant.get(ticker) as string, seen.get(meant.get(ticker) as string)]
    seen.set(listed, before === undefined ? data : together(before, data))
  }
  const plan = planMarkets(seen, listings, { strangers: 'assumed', what: 'quote', volumes: false })
  for (const m of plan.markets) writer.market(m.ticker)
  const table = await db.table('names', { ticker: 'varchar', market: 'integer' })
  const pairs = [...meant]
  await table.append([pairs.map((p) => p[0]), Int32Array.from(pairs, (p) => writer.market(p[1]))], 0, pairs.length)
  const news = await write(db, writer, plan, price)
  const records = [...raw.values()].reduce((sum, s) => sum + s.rows, 0)
  const remarks = [
    'Best prices alone, as recorded: no venue clock is known, so each row stands at the time of its record, and no depth behind it',
    ...(sizesAssumed === 0
      ? []
      : [
          `Size at the best prices assumed in ${sizesAssumed.toLocaleString('en-US')} records: ${(options.size ?? 0) / 100} contracts, as declared with --size (the files give none)`,
        ]),
    ...(staging.zoneless === 0 ? [] : [`${staging.zoneless.toLocaleString('en-US')} times had no zone: taken as UTC`]),
    ...plan.remarks,
  ]
  const manifest = await writer.finish({
    clock: [],
    labels: [],
    labelBasis: 'none',
    gaps: 0,
    inFlux: 0,
    negativeLevels: 0,
    lastingCrosses: 0,
    quarantined,
    origin: {
      files: await origin(files),
      ...(options.markets === undefined ? {} : { markets: await origin(listings.files) }),
      ...(options.size === undefined ? {} : { sizeAssumed: options.size }),
    },
    remarks,
    coverage: [],
    markets: plan.markets.map((m) => {
      const rows = 2 * (news.byMarket.get(writer.market(m.ticker)) ?? 0)
      return { ...m, rows: m.rows - (seen.get(m.ticker)?.rows ?? 0) + rows }
    }),
  })
  return {
    rows: manifest.rows,
    byKind: manifest.byKind,
    records,
    quotes: news.quotes,
    unchanged: records - news.quotes,
    from: manifest.from,
    to: manifest.to,
    priceUnit: unit,
    sizesAssumed,
    quarantined,
    quarantineReasons: reasons,
    remarks,
    ...plan.figures,
  }
}

async function survey(db: Database, price: (column: string) => string): Promise<Map<string, Seen>> {
  const fine = new Map<string, Set<number>>()
  for (const column of ['bid', 'ask']) {
    const sql = `SELECT ticker, string_agg(DISTINCT (${price(column)})::VARCHAR, ',') AS prices FROM quotes WHERE problem IS NULL AND ${price(column)} % 100 <> 0 GROUP BY ticker`
    for (const row of await db.rows(sql)) {
      const ticker = String(row['ticker'])
      fine.set(ticker, new Set([...(fine.get(ticker) ?? []), ...String(row['prices']).split(',').map(Number)]))
    }
  }
  const seen = new Map<string, Seen>()
  const sql = 'SELECT ticker, count(*)::DOUBLE, min(time), max(time) FROM quotes WHERE problem IS NULL GROUP BY ticker ORDER BY ticker'
  for await (const piece of db.pieces(sql))
    for (let i = 0; i < piece.rows; i++) {
      const ticker = piece.text(0, i) ?? ''
      const [rows, first, last] = [1, 2, 3].map((c) => piece.column(c)[i] as number) as [number, number, number]
      seen.set(ticker, { rows, trades: 0, quantity: 0, first, last, finePrices: fine.get(ticker) ?? new Set() })
    }
  return seen
}

type Touch = { bid: number; bidQuantity: number; ask: number; askQuantity: number }

/** Quotes in order of time, those that change something, with the lives of the markets between them. */
async function write(
  db: Database,
  writer: TapeWriter,
  plan: ConstructorParameters<typeof LifeMerge>[1],
  price: (column: string) => string,
): Promise<{ readonly quotes: number; readonly byMarket: ReadonlyMap<number, number> }> {
  const out = new LifeMerge(writer, plan)
  const touches = new Map<number, Touch>()
  const byMarket = new Map<number, number>()
  let quotes = 0
  const sql = `SELECT time, market, coalesce(${price('bid')}, ${NONE}), coalesce(${price('ask')}, ${NONE}), bid_size, ask_size
    FROM quotes JOIN names USING (ticker) WHERE problem IS NULL ORDER BY time, market, file, row`
  for await (const piece of db.pieces(sql)) {
    const [times, markets, bids, asks, bidSizes, askSizes] = [0, 1, 2, 3, 4, 5].map((c) => piece.column(c)) as [
      Float64Array,
      Int32Array,
      Int32Array,
      Int32Array,
      Float64Array,
      Float64Array,
    ]
    for (let i = 0; i < piece.rows; i++) {
      const market = markets[i] as number
      const time = times[i] as number
      const last = touches.get(market)
      const [bid, ask] = [bids[i] as number, asks[i] as number]
      const bidQuantity = bid > 0 ? (bidSizes[i] as number) : 0
      const askQuantity = ask >= 0 && ask < PRICE_ONE ? (askSizes[i] as number) : 0
      const next: Touch = {
        bid: bidQuantity > 0 ? bid : (last?.bid ?? 0),
        bidQuantity,
        ask: askQuantity > 0 ? ask : (last?.ask ?? PRICE_ONE),
        askQuantity,
      }
      if (
        last !== undefined &&
        last.bid === next.bid &&
        last.bidQuantity === bidQuantity &&
        last.ask === next.ask &&
        last.askQuantity === askQuantity
      )
        continue
      touches.set(market, next)
      byMarket.set(market, (byMarket.get(market) ?? 0) + 1)
      quotes++
      if (out.due(time)) await out.until(time)
      if (out.room < 2) await out.flush()
      pushRow(out.batch, time, time, market, Kind.QUOTE, 0, BID, next.bid, bidQuantity)
      pushRow(out.batch, time, time, market, Kind.QUOTE, Flag.LAST, ASK, next.ask, askQuantity)
    }
  }
  await out.end()
  return { quotes, byMarket }
}

/** All records into the table `staged`: prices in millionths of their unit (−1: none), sizes in Quantity. */
class Staging {
  readonly #db: Database
  readonly #options: QuotesOptions
  readonly #quarantine: Quarantine
  #tickers: string[] = []
  #numbers: number[][] = []
  /** Prices strictly between 0 and 1, and above 1: dollars or cents. */
  #below = 0
  #above = 0
  sizesAssumed = 0
  zoneless = 0

  constructor(db: Database, options: QuotesOptions, quarantine: Quarantine) {
    this.#db = db
    this.#options = options
    this.#quarantine = quarantine
  }

  async run(files: readonly string[], names: readonly string[]): Promise<void> {
    const { map = {}, ticker, size } = this.#options
    const table = await this.#db.table('staged', {
      ticker: 'varchar',
      file: 'integer',
      row: 'double',
      time: 'double',
      bid: 'double',
      ask: 'double',
      bid_size: 'double',
      ask_size: 'double',
    })
    const flush = async (): Promise<void> => {
      const column = (c: number): Float64Array => Float64Array.from(this.#numbers, (n) => n[c] as number)
      const file = Int32Array.from(this.#numbers, (n) => n[0] as number)
      await table.append([this.#tickers, file, ...[1, 2, 3, 4, 5, 6].map(column)], 0, this.#tickers.length)
      this.#tickers = []
      this.#numbers = []
    }
    for (const [number, path] of files.entries()) {
      const file = names[number] as string
      await readRecords(this.#db, path, {
        columns: (columns) => {
          const required = ticker === undefined ? ['ticker', 'time', 'bid', 'ask'] : ['time', 'bid', 'ask']
          const one = ticker === undefined ? ' (--market <ticker> where all records are of one market)' : ''
          const chosen = chooseColumns(columns, file, map, USUAL, required, one)
          if ((chosen['bidSize'] === undefined || chosen['askSize'] === undefined) && size === undefined)
            throw new DataError(
              'INPUT_INVALID',
              `${file}:1 gives no sizes at the best prices: name their columns with --map bidSize=<column>,askSize=<column>, or declare one with --size <contracts>; it has ${columns.slice(0, 20).join(', ')}`,
            )
          return chosen
        },
        take: (reading) => {
          const reason = this.#take(reading, number)
          if (reason !== null) this.#quarantine({ file, line: reading.line }, reason, reading.raw())
          return this.#tickers.length >= CHUNK ? flush() : undefined
        },
        bad: (line, reason, text) => this.#quarantine({ file, line }, reason, text),
      })
    }
    await flush()
  }

  /** What the prices are counted in, by what most of them can be. */
  unit(names: readonly string[]): 'cents' | 'dollars' {
    if (this.#below === 0 && this.#above === 0)
      throw new DataError(
        'INPUT_INVALID',
        `${names.join(', ')}: whether prices are cents or dollars cannot be told (all are 0 or 1): give --price-unit cents or dollars`,
      )
    return this.#below >= this.#above ? 'dollars' : 'cents'
  }

  /** Stages a record; says why when it cannot be used. */
  #take({ line, get }: Reading, file: number): string | null {
    const ticker = this.#options.ticker ?? get('ticker')
    if (ticker === null) return 'no ticker'
    const text = get('time')
    const time = text === null ? Number.NaN : instantOf(text)
    if (!Number.isFinite(time)) return 'time is no time'
    if (text !== null && /[-T]\d\d:\d\d:[\d.]+$/.test(text.replace(' ', 'T'))) this.zoneless++
    const [bid, ask] = [priceIn(get('bid')), priceIn(get('ask'))]
    if (Number.isNaN(bid) || Number.isNaN(ask)) return 'bid or ask is no price'
    if (bid > 0 && ask >= 0 && bid >= ask) return 'crossed: the bid is not below the ask'
    const sizes = [get('bidSize'), get('askSize')].map((s) => (s === null ? null : parseQuantity(withoutNoise(s))))
    let assumed = false
    for (const [i, there] of [bid > 0, ask > 0].entries()) {
      if (!there || sizes[i] !== null) continue
      const { size } = this.#options
      if (size === undefined) return 'a best price without its size'
      sizes[i] = size
      assumed = true
    }
    const [bidSize, askSize] = [sizes[0] ?? 0, sizes[1] ?? 0]
    if (!(bidSize >= 0) || !(askSize >= 0)) return 'a size is no number of contracts in hundredths'
    if (assumed) this.sizesAssumed++
    for (const p of [bid, ask]) {
      if (p > 0 && p < 1_000_000) this.#below++
      else if (p > 1_000_000) this.#above++
    }
    this.#tickers.push(ticker)
    this.#numbers.push([file, line, time, bid, ask, bidSize, askSize])
    return null
  }
}

function priceIn(text: string | null): number {
  if (text === null) return NONE
  const value = parseDecimal(withoutNoise(text), SCALE)
  return value >= 0 ? value : Number.NaN
}

/** A number that a program computed (1 − 0.85 = 0.15000000000000002) without the last digits of its float. */
function withoutNoise(text: string): string {
  return /^-?\d+\.\d{13,}$/.test(text) ? Number(text).toFixed(10) : text
}
