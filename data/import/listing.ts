/**
 * Lists of markets: the files that say what a market is, when it closes and how it ended. Owns their reading (Parquet, and JSON in every envelope of the REST API, old and
 * new field names); hides the names. Invariant: a market comes out once; a field that is not there is null, never a guess.
 */
import type { DeterminedDetail, GridBand } from '../../engine/message.ts'
import { parseDecimal, parsePrice, parseQuantity } from '../../engine/units.ts'
import { DataError } from '../errors.ts'
import { quote, type Database } from '../parquet.ts'
import { parseTime, shortName } from './frames.ts'
import { filesUnder, fitting, parquetFile, unreadable } from './inputs.ts'
import { readDocuments } from './documents.ts'

/** A market as a list describes it, results included. Times µs, quantities Quantity, prices Price units. */
export type Listing = {
  readonly ticker: string
  readonly event: string | null
  readonly series: string | null
  readonly title: string | null
  readonly strike: string | null
  readonly exclusive: boolean | null
  readonly openTime: number | null
  readonly closeTime: number | null
  readonly expirationTime: number | null
  readonly settlementTimer: number | null
  readonly settlementTime: number | null
  readonly result: DeterminedDetail['result'] | null
  readonly value: number | null
  /** A result that is written and cannot be used, as it stands. */
  readonly resultUnknown: string | null
  readonly volume: number | null
  readonly grid: readonly GridBand[] | null
  readonly closesEarly: boolean | null
}

export type Listings = {
  readonly markets: ReadonlyMap<string, Listing>
  /** Lines of the files that describe a market again: the same, and with other content (the later state counted). */
  readonly repeated: number
  readonly changed: number
  /** Listed, but neither they nor a market of their event has data: left out. */
  readonly elsewhere: number
  readonly without: number
  readonly files: readonly string[]
}
export const NO_LISTINGS: Listings = { markets: new Map(), repeated: 0, changed: 0, elsewhere: 0, without: 0, files: [] }

type Record_ = Readonly<Record<string, unknown>>

const TIMES = ['open_time', 'close_time', 'expected_expiration_time', 'settlement_ts'] as const
const TEXTS = [
  'ticker',
  'event_ticker',
  'series_ticker',
  'title',
  'subtitle',
  'yes_sub_title',
  'result',
  'settlement_value',
  'settlement_value_dollars',
  'settlement_timer_seconds',
  'volume',
  'volume_fp',
  'mutually_exclusive',
  'can_close_early',
  'tick_size',
  'strike_type',
  'floor_strike',
  'cap_strike',
] as const

/** The markets of these files that have data, or a sibling in their event with data. `has`: whether a ticker does (Parquet lists may be much longer than the data). */
export async function readListings(database: Database, paths: readonly string[], has: (ticker: string) => boolean): Promise<Listings> {
  const files = filesUnder(paths, ['.parquet', '.json', '.json.gz', '.jsonl', '.jsonl.gz', '.ndjson', '.ndjson.gz'])
  const found = new Map<string, Listing[]>()
  const [listed, wanted] = [new Set<string>(), new Set<string>()]
  let without = 0
  const add = (listing: Listing): void => {
    const before = found.get(listing.ticker)
    if (before === undefined) found.set(listing.ticker, [listing])
    else before.push(listing)
  }
  for (const path of files) {
    if (path.endsWith('.parquet')) {
      without += await fromParquet(database, path, has, listed, wanted, add)
      continue
    }
    const markets: Record_[] = []
    const events = new Map<string, Record_>()
    await readDocuments(path, (value) => collect(value, null, markets, events))
    if (markets.length === 0)
      throw new DataError(
        'INPUT_INVALID',
        `${shortName(path)}: no market found in it: expected the JSON of GET /markets, /markets/{ticker} or /events/{event}, or a Parquet file with the column ticker`,
      )
    for (const market of markets) {
      const event = events.get(String(market['event_ticker']))
      const listing = listingOf({ ...event, ...market, title: market['title'] || event?.['title'] }, shortName(path))
      listed.add(listing.ticker)
      if (has(listing.ticker)) wanted.add(listing.event ?? listing.ticker)
      add(listing)
    }
  }
  const markets = new Map<string, Listing>()
  let [repeated, changed] = [0, 0]
  for (const [ticker, all] of [...found].sort((a, b) => (a[0] < b[0] ? -1 : 1))) {
    if (!has(ticker) && !wanted.has(all[0]?.event ?? ticker)) continue
    const distinct = new Map(all.map((l) => [JSON.stringify(l), l]))
    repeated += all.length - distinct.size
    changed += distinct.size - 1
    markets.set(ticker, latest(ticker, [...distinct.values()]))
  }
  return { markets, repeated, changed, elsewhere: listed.size - markets.size, without, files }
}

/** Of several states of a market the one that says most, whatever the order of the files. */
function latest(ticker: string, states: readonly Listing[]): Listing {
  const results = new Set(states.filter((s) => s.result !== null).map((s) => `${s.result} ${s.value}`))
  if (results.size > 1)
    throw new DataError(
      'INPUT_INVALID',
      `${ticker} is listed with different results (${[...results].join(', ')}): correct one of the lists of markets`,
    )
  const rank = (s: Listing): string =>
    `${s.result === null ? 0 : 1} ${String(s.volume ?? 0).padStart(18, '0')} ${String(s.closeTime ?? 0).padStart(18, '0')} ${JSON.stringify(s)}`
  return [...states].sort((a, b) => (rank(a) < rank(b) ? 1 : -1))[0] as Listing
}

async function fromParquet(
  database: Database,
  path: string,
  has: (ticker: string) => boolean,
  listed: Set<string>,
  wanted: Set<string>,
  add: (listing: Listing) => void,
): Promise<number> {
  const { name, columns } = await parquetFile(database, path)
  if (!columns.has('ticker'))
    throw new DataError(
      'INPUT_INVALID',
      `${name} has no column ticker, it has ${[...columns.keys()].join(', ')}${fitting(columns.keys())}: a list of markets needs ticker`,
    )
  if (!['event_ticker', 'open_time', 'close_time', 'result'].some((c) => columns.has(c)))
    throw new DataError(
      'INPUT_INVALID',
      `${name} says nothing of a market but its ticker (none of event_ticker, open_time, close_time, result)${fitting(columns.keys())}`,
    )
  const source = `read_parquet(${quote(path)})`
  const event = columns.has('event_ticker') ? 'CAST(event_ticker AS VARCHAR)' : 'NULL'
  let without = 0
  try {
    // First the names alone: of a long list only the events with data are taken up.
    for await (const piece of database.pieces(`SELECT CAST(ticker AS VARCHAR), ${event} FROM ${source}`))
      for (let i = 0; i < piece.rows; i++) {
        const ticker = piece.text(0, i)
        if (ticker === null || ticker === '') {
          without++
          continue
        }
        listed.add(ticker)
        if (has(ticker)) wanted.add(piece.text(1, i) ?? ticker)
      }
    const times = TIMES.filter((c) => columns.has(c))
    const texts = TEXTS.filter((c) => columns.has(c))
    const fields = [...times, ...texts]
    const time = (c: string): string =>
      `coalesce(strftime(TRY_CAST(${c} AS TIMESTAMPTZ) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ'), CAST(${c} AS VARCHAR))`
    const sql = `SELECT ${[...times.map(time), ...texts.map((c) => `CAST(${c} AS VARCHAR)`)].join(', ')} FROM ${source}`
    for await (const piece of database.pieces(sql))
      for (let i = 0; i < piece.rows; i++) {
        const record: Record<string, unknown> = {}
        fields.forEach((field, c) => (record[field] = piece.text(c, i)))
        const { ticker, event_ticker: group } = record
        if (typeof ticker !== 'string' || ticker === '') continue
        if (has(ticker) || wanted.has(typeof group === 'string' ? group : ticker)) add(listingOf(record, name))
      }
  } catch (error) {
    throw unreadable(name, error)
  }
  return without
}

/** Every market and every event inside a JSON value, whatever the envelope. */
function collect(value: unknown, event: string | null, markets: Record_[], events: Map<string, Record_>): void {
  if (Array.isArray(value)) {
    for (const one of value as unknown[]) collect(one, event, markets, events)
    return
  }
  if (typeof value !== 'object' || value === null) return
  const record = value as Record_
  const group = record['event_ticker']
  if (typeof record['ticker'] === 'string' && (typeof group === 'string' || 'close_time' in record || 'result' in record)) {
    markets.push(typeof group === 'string' || event === null ? record : { ...record, event_ticker: event })
    return
  }
  const { series_ticker: series, mutually_exclusive: exclusive, title } = record
  if (typeof group === 'string') events.set(group, { series_ticker: series, mutually_exclusive: exclusive, title })
  for (const inner of Object.values(record)) collect(inner, typeof group === 'string' ? group : event, markets, events)
}

/** One record, of JSON or of a Parquet row, in our terms. */
function listingOf(record: Record_, file: string): Listing {
  const ticker = String(record['ticker'])
  const text = (name: string): string | null => {
    const value = record[name]
    return typeof value === 'string' && value !== ''
      ? value
      : typeof value === 'number' || typeof value === 'boolean'
        ? String(value)
        : null
  }
  const time = (name: string): number | null => {
    const value = text(name)
    if (value === null) return null
    const t = parseTime(value)
    if (!Number.isFinite(t))
      throw new DataError('INPUT_INVALID', `${file}: ${name} ${value} of ${ticker} is not a time such as 2026-05-13T13:45:00Z`)
    return t > 0 ? t : null // year 1 is how Go writes that there is none
  }
  const truth = (name: string): boolean | null => {
    const value = text(name)
    return value === 'true' ? true : value === 'false' ? false : null
  }
  const number = (value: number): number | null => (Number.isFinite(value) ? value : null)
  const [floor, cap] = [text('floor_strike'), text('cap_strike')]
  const seconds = text('settlement_timer_seconds')
  const tick = text('tick_size')
  const step = tick === null ? null : number(parseDecimal(tick, 2))
  const volume = text('volume_fp') ?? text('volume')
  return {
    ticker,
    event: text('event_ticker'),
    series: text('series_ticker'),
    title: [text('title'), text('yes_sub_title') ?? text('subtitle')].filter((x) => x !== null).join(': ') || null,
    strike: floor !== null && cap !== null ? `${floor}..${cap}` : (floor ?? (cap === null ? null : `<${cap}`)),
    exclusive: truth('mutually_exclusive'),
    openTime: time('open_time'),
    closeTime: time('close_time'),
    expirationTime: time('expected_expiration_time'),
    settlementTimer: seconds === null ? null : number(parseDecimal(seconds, 6)),
    settlementTime: time('settlement_ts'),
    ...outcomeOf(text),
    volume: volume === null ? null : number(parseQuantity(volume)),
    grid: bandsOf(record['price_ranges']) ?? (step !== null && step > 0 && 10_000 % step === 0 ? [{ start: 0, end: 10_000, step }] : null),
    closesEarly: truth('can_close_early'),
  }
}

function outcomeOf(text: (name: string) => string | null): Pick<Listing, 'result' | 'value' | 'resultUnknown'> {
  const word = text('result')
  if (word === null) return { result: null, value: null, resultUnknown: null }
  const [dollars, cents] = [text('settlement_value_dollars'), text('settlement_value')]
  const units = dollars !== null ? parsePrice(dollars) : cents !== null ? parseDecimal(cents, 2) : Number.NaN
  const stated = units >= 0 && units <= 10_000
  if (word === 'yes' || word === 'no') return { result: word, value: word === 'yes' ? 10_000 : 0, resultUnknown: null }
  if ((word === 'scalar' || word === 'void') && stated) return { result: word, value: units, resultUnknown: null }
  return { result: null, value: null, resultUnknown: word }
}

/** `price_ranges` of the exchange → bands; null when they are none. */
export function bandsOf(value: unknown): GridBand[] | null {
  if (!Array.isArray(value)) return null
  const bands: GridBand[] = []
  for (const range of value as unknown[]) {
    if (typeof range !== 'object' || range === null) return null
    const { start, end, step } = range as Record<string, unknown>
    const band = { start: parsePrice(String(start)), end: parsePrice(String(end)), step: parsePrice(String(step)) }
    if (!(band.step > 0) || !(band.start >= 0) || !(band.end > band.start)) return null
    bands.push(band)
  }
  return bands.length > 0 ? bands : null
}
