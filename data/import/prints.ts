/**
 * Trades without books → a tape. Owns the total order of trades, duplicates, the merge with the lives of the markets and the summary; hides SQL. Shared by every import of trades.
 * Invariants: the same trades give the same rows, however they were spread over files; a trade is counted once; what cannot be used stands in the quarantine.
 *
 * The caller's database has the view or table `prints`: `file` INTEGER, `row` BIGINT, `trade_id` VARCHAR, `ticker` VARCHAR, `time` BIGINT µs, `side` UTINYINT (the taker's, YES book),
 * `price` INTEGER, `quantity` BIGINT, `place` BIGINT (order within one µs as recorded, else 0), `executes` BOOLEAN, `repaired` BOOLEAN, `problem` VARCHAR (null: usable), `raw` VARCHAR.
 */
import { basename, dirname, join } from 'node:path'
import { mkdir, rm } from 'node:fs/promises'
import { createBatch, Flag, Kind, pushRow, type Batch } from '../../engine/message.ts'
import { DataError } from '../errors.ts'
import { Database } from '../parquet.ts'
import type { Manifest } from '../schema.ts'
import { TapeWriter } from '../tape-writer.ts'
import { hashFile, shortName } from './frames.ts'
import { listedAs, planMarkets, together, type LifeFigures, type LifeRow, type PlanBounds, type Seen } from './lifecycle.ts'
import { NO_LISTINGS, readListings, type Listings } from './listing.ts'

export type PrintsOptions = {
  readonly name?: string
  readonly replace?: boolean
  /** Files that list markets. */
  readonly markets?: readonly string[]
  /** Or what they say already, and between which times the data is whole. */
  readonly listings?: Listings
  readonly bounds?: PlanBounds
  /** µs from the time of the exchange to when a row is known. 0, where nothing is declared. */
  readonly lag?: number
  /** The stage makes a table `candles` too: `ticker` VARCHAR, `time` DOUBLE (end, µs), `detail` VARCHAR (`CandleDetail`). */
  readonly candles?: boolean
  /** What the manifest says of the origin beside the files. */
  readonly origin?: Readonly<Record<string, unknown>>
  /** Of a local exchange: nothing of it was traded by anybody. */
  readonly practice?: boolean
  /** What is being done, for a bar. */
  readonly progress?: (done: number, total: number) => void
  readonly stopped?: () => boolean
}
export type PrintsSummary = {
  readonly rows: number
  readonly byKind: Manifest['byKind']
  readonly trades: number
  readonly contracts: number
  readonly from: number
  readonly to: number
  readonly duplicates: number
  readonly repaired: number
  /** Trades of tickers that a list knows with or without `KX`, by the ticker of the data. */
  readonly tickersMapped: Readonly<Record<string, string>>
  readonly unlistedTrades: number
  readonly quarantined: number
  readonly quarantineReasons: Readonly<Record<string, number>>
  readonly remarks: readonly string[]
} & LifeFigures

export type Quarantine = (
  place: { readonly file: string; readonly row?: number; readonly line?: number; readonly at?: string },
  reason: string,
  raw: string,
) => void

const BATCH_ROWS = 16_384
const SORT_MEMORY = 400

/** Makes a tape of depth `prints`. `stage` gives the database its `prints`, and returns remarks about it. */
export async function importPrints(
  source: string,
  files: readonly string[],
  dir: string,
  options: PrintsOptions,
  stage: (database: Database, quarantine: Quarantine) => Promise<readonly string[]>,
): Promise<PrintsSummary> {
  const writer = await TapeWriter.create(dir, {
    source,
    practice: options.practice === true,
    depth: 'prints',
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.replace === undefined ? {} : { replace: options.replace }),
  })
  const spill = join(dirname(dir), `.${basename(dir)}.partial-${process.pid}-sort`)
  let database: Database | null = null
  try {
    await mkdir(spill, { recursive: true })
    database = await Database.open({ threads: 2, memory: SORT_MEMORY, spill })
    return await build(database, writer, files, options, stage)
  } catch (error) {
    await writer.abort()
    throw error
  } finally {
    database?.close()
    await rm(spill, { recursive: true, force: true })
  }
}

async function build(
  db: Database,
  writer: TapeWriter,
  files: readonly string[],
  options: PrintsOptions,
  stage: (database: Database, quarantine: Quarantine) => Promise<readonly string[]>,
): Promise<PrintsSummary> {
  const names = files.map(shortName)
  const reasons: Record<string, number> = {}
  let quarantined = 0
  const quarantine: Quarantine = (place, reason, raw) => {
    quarantined++
    reasons[reason] = (reasons[reason] ?? 0) + 1
    writer.quarantine(`${JSON.stringify({ ...place, reason, raw: raw.slice(0, 2_000) })}\n`)
  }
  const remarks = [...(await stage(db, quarantine))]
  const { duplicates, anonymous } = await distinctTrades(db)
  for await (const piece of db.pieces(`SELECT file, row::DOUBLE, problem, raw FROM rejected ORDER BY file, row`)) {
    const [file, row] = [piece.column(0), piece.column(1)]
    for (let i = 0; i < piece.rows; i++)
      quarantine({ file: names[file[i] as number] ?? '', row: row[i] as number }, piece.text(2, i) ?? '', piece.text(3, i) ?? '')
  }
  const raw = await survey(db)
  if (raw.size === 0) {
    const worst = Object.entries(reasons).sort((a, b) => b[1] - a[1])[0]
    throw new DataError(
      'TAPE_EMPTY',
      `${names.join(', ')}: no usable trade${worst === undefined ? ' in it' : `: ${worst[0]} in ${worst[1].toLocaleString('en-US')} of ${quarantined.toLocaleString('en-US')} rows`}`,
    )
  }
  const has = (ticker: string): boolean =>
    raw.has(ticker) || raw.has(`KX${ticker}`) || (ticker.startsWith('KX') && raw.has(ticker.slice(2)))
  const listings = options.listings ?? (options.markets === undefined ? NO_LISTINGS : await readListings(db, options.markets, has))
  // Tickers of the data as the list knows them: two forms of one ticker are one market.
  const seen = new Map<string, Seen>()
  const meant = new Map<string, string>()
  const tickersMapped: Record<string, string> = {}
  for (const [ticker, data] of raw) {
    const listed = listedAs(ticker, listings.markets) ?? ticker
    if (listed !== ticker) tickersMapped[ticker] = listed
    meant.set(ticker, listed)
    const before = seen.get(listed)
    seen.set(listed, before === undefined ? data : together(before, data))
  }
  const plan = planMarkets(seen, listings, {
    strangers: 'unlisted',
    what: 'trade',
    volumes: options.listings === undefined ? 'traded' : 'all',
    ...options.bounds,
  })
  for (const m of plan.markets) writer.market(m.ticker)
  const table = await db.table('names', { ticker: 'varchar', market: 'integer', born: 'double' })
  const born = new Map(plan.markets.map((m) => [m.ticker, m.firstTime]))
  // Candles are of listed markets, whether they traded or not.
  for (const ticker of listings.markets.keys()) if (born.has(ticker)) meant.set(ticker, ticker)
  const pairs = [...meant]
  await table.append(
    [
      pairs.map((p) => p[0]),
      Int32Array.from(pairs, (p) => writer.market(p[1])),
      Float64Array.from(pairs, (p) => born.get(p[1]) ?? Infinity),
    ],
    0,
    pairs.length,
  )
  const candles = options.candles === true ? await candlesOf(db, remarks) : null
  const trades = [...raw.values()].reduce((sum, s) => sum + s.trades, 0)
  await write(db, writer, plan, trades, options)
  const repaired = Number((await db.rows('SELECT count(*) AS n FROM usable WHERE repaired'))[0]?.['n'] ?? 0)
  const n = (x: number): string => x.toLocaleString('en-US')
  if (duplicates > 0) remarks.push(`${n(duplicates)} trades stood in the files more than once: counted once`)
  if (anonymous > 0) remarks.push(`${n(anonymous)} trades have no trade_id: a repetition of theirs would not be seen`)
  if (repaired > 0)
    remarks.push(`${n(repaired)} prices that had been cut by a cent (int(float × 100)) were repaired from the other side of the contract`)
  if (Object.keys(tickersMapped).length > 0)
    remarks.push(`${n(Object.keys(tickersMapped).length)} tickers found in the list of markets with KX added or removed`)
  const { lag = 0 } = options
  remarks.push(
    lag === 0
      ? 'Each row is known at the time of the exchange: no lag is declared'
      : `Each row is known ${(lag / 1000).toLocaleString('en-US')} ms after the time of the exchange: a declared lag, not a measured one`,
    ...plan.remarks,
  )
  const { unlisted } = plan.figures
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
      ...options.origin,
    },
    remarks,
    coverage: [],
    markets: plan.markets.map((m) => ({
      ...m,
      rows: m.rows + (candles?.get(m.ticker) ?? 0),
      firstTime: m.firstTime + lag,
      lastTime: m.lastTime + lag,
    })),
  })
  return {
    rows: manifest.rows,
    byKind: manifest.byKind,
    trades,
    contracts: [...raw.values()].reduce((sum, s) => sum + s.quantity, 0) / 100,
    from: manifest.from,
    to: manifest.to,
    duplicates,
    repaired,
    tickersMapped,
    unlistedTrades: unlisted.reduce((sum, ticker) => sum + (seen.get(ticker)?.trades ?? 0), 0),
    quarantined,
    quarantineReasons: reasons,
    remarks,
    ...plan.figures,
  }
}

/**
 * The views `usable` and `rejected`. A trade_id that stands several times counts once; of contents that differ the first in a fixed order is taken, so that the order of
 * files decides nothing, and the others are rejected.
 */
async function distinctTrades(db: Database): Promise<{ readonly duplicates: number; readonly anonymous: number }> {
  await db.run(
    `CREATE TABLE twice AS SELECT trade_id FROM prints WHERE problem IS NULL AND trade_id IS NOT NULL GROUP BY trade_id HAVING count(*) > 1`,
  )
  const [count] = await db.rows(
    `SELECT (SELECT count(*) FROM twice) AS twice, (SELECT count(*) FROM prints WHERE problem IS NULL AND trade_id IS NULL) AS anonymous`,
  )
  const anonymous = Number(count?.['anonymous'])
  if (Number(count?.['twice']) === 0) {
    await db.run('CREATE VIEW usable AS SELECT * FROM prints WHERE problem IS NULL')
    await db.run('CREATE VIEW rejected AS SELECT file, row, problem, raw FROM prints WHERE problem IS NOT NULL')
    return { duplicates: 0, anonymous }
  }
  await db.run(
    `CREATE TABLE dropped AS SELECT file, row, (time, ticker, side, price, quantity) IS DISTINCT FROM
       first_value((time, ticker, side, price, quantity)) OVER one AS conflict, row_number() OVER one AS n
     FROM prints SEMI JOIN twice USING (trade_id) WHERE problem IS NULL
     WINDOW one AS (PARTITION BY trade_id ORDER BY time, ticker, side, price, quantity, file, row) QUALIFY n > 1`,
  )
  await db.run('CREATE VIEW usable AS SELECT p.* FROM prints p ANTI JOIN dropped USING (file, row) WHERE p.problem IS NULL')
  await db.run(
    `CREATE VIEW rejected AS SELECT file, row, problem, raw FROM prints WHERE problem IS NOT NULL
     UNION ALL SELECT file, row, 'the trade_id stands elsewhere with other content', raw FROM prints SEMI JOIN (SELECT file, row FROM dropped WHERE conflict) USING (file, row)`,
  )
  const [same] = await db.rows('SELECT count(*) AS n FROM dropped WHERE NOT conflict')
  return { duplicates: Number(same?.['n']), anonymous }
}

/** The view `known_candles`: one a market and time, of markets that are known by then. Returns how many each has. */
async function candlesOf(db: Database, remarks: string[]): Promise<Map<string, number>> {
  await db.run(
    `CREATE VIEW known_candles AS SELECT time, market, ticker, detail FROM candles JOIN names USING (ticker) WHERE time >= born
     QUALIFY row_number() OVER (PARTITION BY ticker, time ORDER BY detail) = 1`,
  )
  const [early] = await db.rows('SELECT count(*) AS n FROM candles LEFT JOIN names USING (ticker) WHERE coalesce(time < born, true)')
  if (Number(early?.['n']) > 0)
    remarks.push(`${Number(early?.['n']).toLocaleString('en-US')} candles that end before their market is known were left out`)
  const rows = await db.rows('SELECT ticker, count(*) AS n FROM known_candles GROUP BY ticker')
  return new Map(rows.map((r) => [String(r['ticker']), Number(r['n'])]))
}

async function survey(db: Database): Promise<Map<string, Seen>> {
  const fine = new Map<string, ReadonlySet<number>>()
  for (const row of await db.rows(
    `SELECT ticker, string_agg(DISTINCT price::VARCHAR, ',') AS prices FROM usable WHERE price % 100 <> 0 GROUP BY ticker`,
  ))
    fine.set(String(row['ticker']), new Set(String(row['prices']).split(',').map(Number)))
  const seen = new Map<string, Seen>()
  const sql = `SELECT ticker, count(*)::DOUBLE, sum(quantity)::DOUBLE, min(time)::DOUBLE, max(time)::DOUBLE FROM usable GROUP BY ticker ORDER BY ticker`
  for await (const piece of db.pieces(sql))
    for (let i = 0; i < piece.rows; i++) {
      const ticker = piece.text(0, i) ?? ''
      const [rows, quantity, first, last] = [1, 2, 3, 4].map((c) => piece.column(c)[i] as number) as [number, number, number, number]
      seen.set(ticker, { rows, trades: rows, quantity, first, last, finePrices: fine.get(ticker) ?? new Set() })
    }
  return seen
}

/** Trades in their total order, with the lives of the markets between them. A taker that sweeps prices in one µs meets the best first. */
async function write(
  db: Database,
  writer: TapeWriter,
  plan: { readonly before: readonly LifeRow[]; readonly after: readonly LifeRow[] },
  total: number,
  options: PrintsOptions,
): Promise<void> {
  const { lag = 0, candles = false } = options
  const out = new LifeMerge(writer, plan, lag)
  let done = 0
  const order = 'market, place, side, CASE WHEN side = 0 THEN price ELSE -price END, quantity, trade_id, file, row'
  const columns = 'time::DOUBLE, market, side, price, quantity::DOUBLE, executes::UTINYINT'
  const trades = 'usable JOIN names USING (ticker)'
  // What a candle sums up comes before it.
  const sql = candles
    ? `SELECT ${columns}, detail FROM (
         SELECT time, market, place, side::INTEGER AS side, price, quantity, trade_id, file, row, executes, NULL AS detail FROM ${trades}
         UNION ALL SELECT time::BIGINT, market, 0, 0, 0, 0, NULL, 0, 0, false, detail FROM known_candles)
       ORDER BY time, detail IS NOT NULL, ${order}`
    : `SELECT ${columns} FROM ${trades} ORDER BY time, ${order}`
  for await (const piece of db.pieces(sql)) {
    if (options.stopped?.() === true) throw new DataError('INPUT_INVALID', 'the import was interrupted: no tape was written')
    const [time, market, side, price, quantity, executes] = [0, 1, 2, 3, 4, 5].map((c) => piece.column(c)) as [
      Float64Array,
      Int32Array,
      Uint8Array | Int32Array,
      Int32Array,
      Float64Array,
      Uint8Array,
    ]
    for (let i = 0; i < piece.rows; i++) {
      const t = time[i] as number
      if (out.due(t)) await out.until(t)
      if (out.full) await out.flush()
      const detail = candles ? piece.text(6, i) : null
      if (detail !== null) {
        pushRow(out.batch, t + lag, t, market[i] as number, Kind.CANDLE, Flag.LAST, 0, 0, 0, detail)
        continue
      }
      pushRow(
        out.batch,
        t + lag,
        t,
        market[i] as number,
        Kind.TRADE,
        executes[i] === 1 ? Flag.LAST | Flag.EXECUTION : Flag.LAST,
        side[i] as number,
        price[i] as number,
        quantity[i] as number,
      )
    }
    done += piece.rows
    options.progress?.(done, total)
  }
  await out.end()
}

/** Puts the rows of the markets' lives between rows of data: those that announce before the data of their µs, those that end after it. */
export class LifeMerge {
  readonly batch: Batch = createBatch(BATCH_ROWS)
  readonly #writer: TapeWriter
  readonly #lag: number
  readonly #before: readonly LifeRow[]
  readonly #after: readonly LifeRow[]
  #nextBefore = 0
  #nextAfter = 0

  constructor(writer: TapeWriter, { before, after }: { readonly before: readonly LifeRow[]; readonly after: readonly LifeRow[] }, lag = 0) {
    this.#writer = writer
    this.#lag = lag
    this.#before = before
    this.#after = after
  }
  get full(): boolean {
    return this.batch.length === BATCH_ROWS
  }
  /** Rows that the batch can still take. */
  get room(): number {
    return BATCH_ROWS - this.batch.length
  }
  /** Whether a row comes before data of this time. */
  due(time: number): boolean {
    const [b, a] = [this.#before[this.#nextBefore], this.#after[this.#nextAfter]]
    return (b !== undefined && b.time <= time) || (a !== undefined && a.time < time)
  }
  async until(time: number): Promise<void> {
    for (;;) {
      const [b, a] = [this.#before[this.#nextBefore], this.#after[this.#nextAfter]]
      const first = b !== undefined && (a === undefined || b.time <= a.time) ? b : a
      if (first === undefined || (first === b ? first.time > time : first.time >= time)) return
      if (first === b) this.#nextBefore++
      else this.#nextAfter++
      if (this.full) await this.flush()
      const { batch } = this
      pushRow(batch, first.time + this.#lag, first.time, this.#writer.market(first.ticker), first.kind, Flag.LAST, 0, 0, 0, first.detail)
    }
  }
  async flush(): Promise<void> {
    await this.#writer.append(this.batch)
    this.batch.length = 0
    this.batch.details = []
  }
  async end(): Promise<void> {
    await this.until(Infinity)
    await this.flush()
  }
}

export async function origin(files: readonly string[]): Promise<{ readonly file: string; readonly sha256: string }[]> {
  return Promise.all(files.map(async (f) => ({ file: shortName(f), sha256: await hashFile(f) })))
}
