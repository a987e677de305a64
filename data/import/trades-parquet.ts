/**
 * The public trade layout (Parquet: trade_id, ticker, count, yes_price, no_price, taker_side, created_time) → a tape of prints. Owns the checks of a row and the repair of cut
 * prices; hides the SQL. Invariant: a price is repaired only where exactly one true price can have led to the row.
 */
import { DataError } from '../errors.ts'
import { quote, type Database } from '../parquet.ts'
import { shortName } from './frames.ts'
import { filesUnder, fitting, parquetFile, unreadable, type ParquetFile } from './inputs.ts'
import { importPrints, type PrintsOptions, type PrintsSummary } from './prints.ts'

const COLUMNS = ['trade_id', 'ticker', 'count', 'yes_price', 'no_price', 'taker_side', 'created_time'] as const

export async function importTradesParquet(paths: readonly string[], dir: string, options: PrintsOptions = {}): Promise<PrintsSummary> {
  const files = filesUnder(paths, ['.parquet'])
  try {
    return await importPrints('trades-parquet', files, dir, options, (database) => stage(database, files))
  } catch (error) {
    throw unreadable(files.length === 1 ? shortName(files[0] as string) : `one of ${files.length} files`, error)
  }
}

async function stage(database: Database, files: readonly string[]): Promise<string[]> {
  const remarks: string[] = []
  const parts: string[] = []
  for (const [i, path] of files.entries()) {
    const file = await parquetFile(database, path)
    const missing = COLUMNS.filter((c) => !file.columns.has(c))
    if (missing.length > 0)
      throw new DataError(
        'INPUT_INVALID',
        `${file.name} has no column ${missing.join(', ')}; it has ${[...file.columns.keys()].join(', ')}${fitting(file.columns.keys())}`,
      )
    const zone = file.columns.get('created_time') ?? ''
    if (zone.startsWith('TIMESTAMP') && !zone.endsWith('TIME ZONE'))
      remarks.push(`created_time of ${file.name} has no time zone: taken as UTC`)
    if (!zone.startsWith('TIMESTAMP') && zone !== 'VARCHAR')
      throw new DataError(
        'INPUT_INVALID',
        `${file.name}: created_time is ${zone}, and not a timestamp or text such as 2026-05-13T13:45:00Z`,
      )
    parts.push(partOf(file, i))
  }
  await database.run(`CREATE VIEW prints AS ${parts.join('\nUNION ALL ')}`)
  return remarks
}

/** One file in the columns of `prints`. */
function partOf({ path }: ParquetFile, number: number): string {
  const exact = (column: string): string => `TRY_CAST("${column}" AS DECIMAL(18,6))`
  const raw = COLUMNS.map((c) => `${quote(c)}: CAST("${c}" AS VARCHAR)`).join(', ')
  const yes = `CASE ${repairs()
    .map(([y, n, price]) => `WHEN yes = ${y} AND no = ${n} THEN ${price}`)
    .join(' ')} ELSE yes END`
  return `SELECT ${number} AS file, row, trade_id, ticker, time, CASE WHEN taker = 'yes' THEN 0 ELSE 1 END::UTINYINT AS side,
    CASE WHEN problem IS NULL THEN (${yes} * 100)::INTEGER END AS price, CASE WHEN problem IS NULL THEN (contracts * 100)::BIGINT END AS quantity, 0::BIGINT AS place, true AS executes,
    problem IS NULL AND yes + no <> 100 AS repaired, problem, CASE WHEN problem IS NOT NULL THEN raw END AS raw FROM (SELECT *, CASE
      WHEN ticker IS NULL THEN 'no ticker'
      WHEN time IS NULL THEN 'created_time is no time'
      WHEN contracts IS NULL OR contracts <= 0 THEN 'count is not above zero'
      WHEN contracts * 100 <> floor(contracts * 100) THEN 'count is finer than a hundredth of a contract'
      WHEN taker IS NULL OR taker NOT IN ('yes', 'no') THEN 'taker_side is neither yes nor no'
      WHEN yes IS NULL OR no IS NULL THEN 'yes_price or no_price is missing'
      WHEN yes <> floor(yes) OR no <> floor(no) THEN 'price is no whole number of cents'
      WHEN yes NOT BETWEEN 1 AND 99 OR no NOT BETWEEN 1 AND 99 THEN 'price is outside 1 to 99 cents'
      WHEN yes + no <> 100 AND NOT (${repairs()
        .map(([y, n]) => `(yes = ${y} AND no = ${n})`)
        .join(' OR ')}) THEN 'yes_price and no_price do not add up to 100, and which of them is wrong cannot be told'
    END AS problem FROM (SELECT file_row_number + 1 AS row, nullif(CAST(trade_id AS VARCHAR), '') AS trade_id, nullif(CAST(ticker AS VARCHAR), '') AS ticker,
      epoch_us(TRY_CAST(created_time AS TIMESTAMPTZ)) AS time, lower(CAST(taker_side AS VARCHAR)) AS taker, ${exact('count')} AS contracts,
      ${exact('yes_price')} AS yes, ${exact('no_price')} AS no, to_json({${raw}})::VARCHAR AS raw
      FROM read_parquet(${quote(path)}, file_row_number = true)))`
}

/** What `int(float(text) × 100)` makes of a price in cents: the same, or a cent less for a few. */
export function cut(cents: number): number {
  return Math.trunc(Number(`0.${String(cents).padStart(2, '0')}`) * 100)
}

/** The true YES price of a row whose prices do not add up to 100: from the exact side, when just one of the two can have been cut to the other. Null: cannot be told. */
export function repairedPrice(yes: number, no: number): number | null {
  const leads = (price: number): boolean => price >= 1 && price <= 99 && cut(price) === yes && cut(100 - price) === no
  const [fromYes, fromNo] = [leads(yes), leads(100 - no)]
  return fromYes === fromNo ? null : fromYes ? yes : 100 - no
}

/** Every row that can be repaired: yes and no as they stand, and the true YES price. */
function repairs(): [number, number, number][] {
  const out: [number, number, number][] = []
  for (let yes = 1; yes < 100; yes++)
    for (let no = 1; no < 100; no++) {
      const price = yes + no === 100 ? null : repairedPrice(yes, no)
      if (price !== null) out.push([yes, no, price])
    }
  return out
}
