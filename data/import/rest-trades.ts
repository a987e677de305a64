/**
 * Trades as the REST API answers them (GET /markets/trades) → a tape of prints. Owns the envelopes, old and new field names, and the order of prints that share a µs; hides
 * the walk through JSON. Invariants: a number is read by its digits; what is no usable trade stands in the quarantine with file, line and path.
 *
 * Envelopes: `{trades, cursor}` · a list · `{<ticker>: [...]}` · `{_metadata, response}` · one value a line (NDJSON), each of which may be any of these.
 */
import { ASK, BID, parseDecimal, parsePrice, parseQuantity, PRICE_ONE } from '../../engine/units.ts'
import { DataError } from '../errors.ts'
import type { ColumnAppender, Database } from '../parquet.ts'
import { lineOf, readDocuments, type Place } from './documents.ts'
import { parseTime, shortName } from './frames.ts'
import { filesUnder } from './inputs.ts'
import { importPrints, type PrintsOptions, type PrintsSummary, type Quarantine } from './prints.ts'
import { repairedPrice } from './trades-parquet.ts'

const ENDINGS = ['.json', '.json.gz', '.jsonl', '.jsonl.gz', '.ndjson', '.ndjson.gz']
const STAGED = {
  file: 'integer',
  row: 'double',
  trade_id: 'varchar',
  ticker: 'varchar',
  time: 'double',
  side: 'utinyint',
  price: 'integer',
  quantity: 'double',
  executes: 'utinyint',
  repaired: 'utinyint',
} as const
const CHUNK = 8_192
const TICKER = /^[A-Z0-9]+(-|$)/

export async function importRestTrades(paths: readonly string[], dir: string, options: PrintsOptions = {}): Promise<PrintsSummary> {
  const files = filesUnder(paths, ENDINGS)
  return importPrints('kalshi-rest-trades', files, dir, options, (database, quarantine) => stage(database, quarantine, files, options))
}

/** A trade in our terms. */
export type RestTrade = {
  readonly id: string | null
  readonly ticker: string
  readonly time: number
  readonly side: number
  readonly price: number
  readonly quantity: number
  readonly executes: boolean
  readonly repaired: boolean
}

async function stage(database: Database, quarantine: Quarantine, files: readonly string[], options: PrintsOptions): Promise<string[]> {
  const columns = new Columns(await database.table('staged', STAGED))
  // The place of a trade among all, as read; whether that is forward or backward in time is seen below.
  let row = 0
  for (const [file, path] of files.entries()) {
    if (options.stopped?.() === true) throw new DataError('INPUT_INVALID', 'the import was interrupted: no tape was written')
    const name = shortName(path)
    let pages = 0
    const keys = new Set<string>()
    await readDocuments(
      path,
      async (value, place) => {
        const lists = walk(value, '', null, keys, (trade, at, ticker) => {
          row++
          const parsed = tradeOf(trade, ticker)
          if (typeof parsed === 'string') quarantine({ file: name, ...whereIs(trade, at, place) }, parsed, JSON.stringify(trade))
          else columns.push(file, row, parsed)
        })
        if (lists === 0 && place.document === null) quarantine({ file: name, line: place.line }, 'no trade', JSON.stringify(value))
        pages += lists
        if (columns.full) await columns.flush()
      },
      (line, text) => quarantine({ file: name, line }, 'not JSON', text),
    )
    if (pages === 0)
      throw new DataError(
        'INPUT_INVALID',
        `${name}:1: no trades found in it${keys.size === 0 ? '' : ` (it has ${[...keys].slice(0, 8).join(', ')})`}: expected the JSON of GET /markets/trades; a list of markets is given with \`--markets\``,
      )
  }
  await columns.flush()
  // Newest first or oldest first, by file and market; a file that does not say (one instant) follows the others of its market, else the API: newest first.
  await database.run(
    `CREATE TABLE directions AS SELECT ticker, file, sum(sign(time - before)) AS own, sum(sum(sign(time - before))) OVER (PARTITION BY ticker) AS market
     FROM (SELECT ticker, file, time, lag(time) OVER (PARTITION BY file, ticker ORDER BY row) AS before FROM staged) GROUP BY ticker, file`,
  )
  await database.run(
    `CREATE VIEW prints AS SELECT s.file, s.row::BIGINT AS row, s.trade_id, s.ticker, s.time::BIGINT AS time, s.side, s.price, s.quantity::BIGINT AS quantity,
       (CASE WHEN coalesce(nullif(d.own, 0), nullif(d.market, 0), -1) > 0 THEN s.row ELSE -s.row END)::BIGINT AS place,
       s.executes = 1 AS executes, s.repaired = 1 AS repaired, NULL::VARCHAR AS problem,
       s.ticker || ' ' || s.time::BIGINT || ' ' || s.side || ' ' || s.price || ' ' || s.quantity::BIGINT || ' ' || coalesce(s.trade_id, '') AS raw
     FROM staged s JOIN directions d ON s.ticker = d.ticker AND s.file = d.file`,
  )
  return []
}

/** Calls `found` for everything that stands where a trade stands. Returns how many lists (or single trades) there were. */
function walk(
  value: unknown,
  path: string,
  ticker: string | null,
  keys: Set<string>,
  found: (trade: unknown, path: string, ticker: string | null) => void,
): number {
  if (Array.isArray(value)) {
    let pages = value.length === 0 ? 1 : 0
    value.forEach((one: unknown, i) => {
      const at = `${path}[${i}]`
      if (Array.isArray(one) || isEnvelope(one)) pages += walk(one, at, ticker, keys, found)
      else {
        found(one, at, ticker)
        pages = Math.max(pages, 1)
      }
    })
    return pages
  }
  if (typeof value !== 'object' || value === null) {
    found(value, path, ticker)
    return 1
  }
  const record = value as Record<string, unknown>
  for (const key of Object.keys(record)) keys.add(key)
  if (!isEnvelope(record)) {
    if (!looksLikeTrade(record)) return 0
    found(record, path, ticker)
    return 1
  }
  const under = (key: string): string => (path === '' ? key : `${path}.${key}`)
  if ('response' in record) return walk(record['response'], under('response'), ticker, keys, found)
  if ('trades' in record) return walk(record['trades'] ?? [], under('trades'), ticker, keys, found)
  let pages = 0
  for (const [key, list] of Object.entries(record))
    if (
      Array.isArray(list) &&
      ((list.length === 0 && TICKER.test(key)) ||
        list.some((one) => typeof one === 'object' && one !== null && looksLikeTrade(one as Record<string, unknown>)))
    )
      pages += walk(list, under(key), key, keys, found)
  return pages
}

function isEnvelope(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const record = value as Record<string, unknown>
  return 'response' in record || 'trades' in record || (!looksLikeTrade(record) && Object.values(record).some(Array.isArray))
}
function looksLikeTrade(record: Readonly<Record<string, unknown>>): boolean {
  return (
    'trade_id' in record ||
    (('count' in record || 'count_fp' in record) && ('created_time' in record || 'ts' in record || 'ts_ms' in record))
  )
}

function whereIs(trade: unknown, at: string, { line, document }: Place): { readonly line: number; readonly at?: string } {
  if (document === null) return at === '' ? { line } : { line, at }
  const id = typeof trade === 'object' && trade !== null ? (trade as Record<string, unknown>)['trade_id'] : null
  return { line: typeof id === 'string' ? lineOf(document, `"${id}"`) : line, at }
}

/** One trade of the API, or why it is none. `key`: the ticker under which it stood. */
export function tradeOf(value: unknown, key: string | null): RestTrade | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not an object'
  const t = value as Readonly<Record<string, unknown>>
  const ticker = textOf(t['ticker']) ?? textOf(t['market_ticker']) ?? key
  if (ticker === null) return 'no ticker'
  const time = timeOf(t)
  if (!Number.isFinite(time)) return 'created_time is no time'
  const quantity = parseQuantity(textOf(t['count_fp']) ?? textOf(t['count']) ?? '')
  if (!(quantity > 0)) return Number.isNaN(quantity) ? 'count is no number of contracts in hundredths' : 'count is not above zero'
  const side = takerOf(t)
  if (typeof side === 'string') return side
  const [yes, no] = [priceOf(t, 'yes'), priceOf(t, 'no')]
  if (Number.isNaN(yes) || Number.isNaN(no)) return 'a price is no number of dollars or cents'
  if (yes === null && no === null) return 'no yes_price and no no_price'
  let price = yes ?? PRICE_ONE - (no ?? 0)
  let repaired = false
  if (yes !== null && no !== null && yes + no !== PRICE_ONE) {
    // Whole cents may have been cut by a float on the way here.
    const cents = yes % 100 === 0 && no % 100 === 0 ? repairedPrice(yes / 100, no / 100) : null
    if (cents === null) return 'yes and no price do not add up to a dollar, and which of them is wrong cannot be told'
    price = cents * 100
    repaired = true
  }
  if (!(price > 0 && price < PRICE_ONE)) return 'price is not between 0 and a dollar'
  return { id: textOf(t['trade_id']), ticker, time, side, price, quantity, executes: t['is_block_trade'] !== true, repaired }
}

/** Text, or a JSON number in its shortest digits. */
function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : typeof value === 'number' ? String(value) : null
}

function timeOf(t: Readonly<Record<string, unknown>>): number {
  const created = textOf(t['created_time'])
  if (created !== null) return parseTime(created)
  const ms = textOf(t['ts_ms'])
  if (ms !== null) return parseDecimal(ms, 3)
  const seconds = textOf(t['ts'])
  return seconds === null ? Number.NaN : parseDecimal(seconds, 6)
}

/** The taker's side on the YES book. */
function takerOf(t: Readonly<Record<string, unknown>>): number | string {
  const book = textOf(t['taker_book_side'])
  const outcome = textOf(t['taker_outcome_side']) ?? textOf(t['taker_side'])
  const byBook = book === 'bid' ? BID : book === 'ask' ? ASK : null
  const byOutcome = outcome === 'yes' ? BID : outcome === 'no' ? ASK : null
  if ((book !== null && byBook === null) || (outcome !== null && byOutcome === null)) return 'the taker side is none that is known'
  if (byBook !== null && byOutcome !== null && byBook !== byOutcome) return 'the taker sides of book and outcome contradict each other'
  return byBook ?? byOutcome ?? 'no taker side'
}

/** A price by its digits: `…_dollars` first; else `yes_price`, whole cents from 1 on, below 1 dollars. Null: not there; NaN: no price. */
function priceOf(t: Readonly<Record<string, unknown>>, side: 'yes' | 'no'): number | null {
  const exact = textOf(t[`${side}_price_dollars`])
  if (exact !== null) return parsePrice(exact)
  const value = t[`${side}_price`]
  const text = textOf(value)
  if (text === null) return null
  const units = parseDecimal(text, 4)
  // Text with a point is dollars, as the API writes them; a bare number of 1 or more is cents.
  return units < PRICE_ONE || (typeof value === 'string' && text.includes('.')) ? parsePrice(text) : parseDecimal(text, 2)
}

/** Trades on their way into the database. */
class Columns {
  readonly #appender: ColumnAppender
  #ids: (string | null)[] = []
  #tickers: string[] = []
  #numbers: number[][] = []

  constructor(appender: ColumnAppender) {
    this.#appender = appender
  }
  get full(): boolean {
    return this.#ids.length >= CHUNK
  }
  push(file: number, row: number, t: RestTrade): void {
    this.#ids.push(t.id)
    this.#tickers.push(t.ticker)
    this.#numbers.push([file, row, t.time, t.side, t.price, t.quantity, t.executes ? 1 : 0, t.repaired ? 1 : 0])
  }
  async flush(): Promise<void> {
    const column = (c: number): Float64Array => Float64Array.from(this.#numbers, (n) => n[c] as number)
    const bytes = (c: number): Uint8Array => Uint8Array.from(this.#numbers, (n) => n[c] as number)
    const whole = (c: number): Int32Array => Int32Array.from(this.#numbers, (n) => n[c] as number)
    const n = this.#ids.length
    await this.#appender.append(
      [whole(0), column(1), this.#ids, this.#tickers, column(2), bytes(3), whole(4), column(5), bytes(6), bytes(7)],
      0,
      n,
    )
    this.#ids = []
    this.#tickers = []
    this.#numbers = []
  }
}
