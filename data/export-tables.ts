/**
 * What is exported of a tape and of a run: the tables, their columns and units. Owns the list that another program reads by; hides where each
 * value lies at rest. Invariants: every integer keeps the engine's unit and says it; beside it stands a decimal (`…_dollars`, `…_contracts`)
 * wherever a reader would have to guess; unknown is null, never a zero.
 */
import { join } from 'node:path'
import { Flag, KIND_NAMES, LABEL_NAMES, LABEL_SHIFT } from '../engine/message.ts'
import type { ArrowType } from './arrow.ts'
import type { ExportColumn, ExportTable } from './export.ts'
import { Database, quote, type ColumnType } from './parquet.ts'
import type { Tape } from './tape-reader.ts'

const PRICE = '1/10,000 dollar'
const QUANTITY = '1/100 contract'
const MONEY = '1/1,000,000 dollar'
const LEARNED = 'when we learned it'

function word(name: string, sql: string, note?: string, words?: readonly string[]): ExportColumn {
  return {
    name,
    type: 'word',
    sql: `nullif(${sql}, '')`,
    ...(note === undefined ? {} : { note }),
    ...(words === undefined ? {} : { words }),
  }
}
function time(name: string, sql: string, note?: string): ExportColumn {
  return { name, type: 'timestamp', sql, unit: 'us', ...(note === undefined ? {} : { note }) }
}
function text(name: string, sql: string): ExportColumn {
  return { name, type: 'text', sql }
}
function whole(name: string, sql: string, note?: string): ExportColumn {
  return { name, type: 'int64', sql: `(${sql})::BIGINT`, ...(note === undefined ? {} : { note }) }
}
function flag(name: string, sql: string): ExportColumn {
  return { name, type: 'bool', sql }
}
/** The integer, and the decimal beside it. */
function price(name: string, sql: string, note = 'per contract, YES side'): ExportColumn[] {
  return [
    { name, type: 'int32', sql: `(${sql})::INTEGER`, unit: PRICE, note },
    { name: `${name}_dollars`, type: 'float64', sql: `(${sql}) / 10000.0::DOUBLE`, unit: 'dollar', note },
  ]
}
function quantity(name: string, sql: string, decimal = `${name}_contracts`): ExportColumn[] {
  return [
    { name, type: 'int64', sql: `(${sql})::BIGINT`, unit: QUANTITY },
    { name: decimal, type: 'float64', sql: `(${sql}) / 100.0::DOUBLE`, unit: 'contract' },
  ]
}
function money(name: string, sql: string, note?: string): ExportColumn[] {
  const more = note === undefined ? {} : { note }
  return [
    { name, type: 'int64', sql: `(${sql})::BIGINT`, unit: MONEY, ...more },
    { name: `${name}_dollars`, type: 'float64', sql: `(${sql}) / 1000000.0::DOUBLE`, unit: 'dollar', ...more },
  ]
}
const SIDES = ['ask', 'bid']
function side(sql: string, note = 'of the YES book: a bid buys YES, an ask sells YES (buys NO)'): ExportColumn {
  return word('side', `CASE ${sql} WHEN 0 THEN 'bid' WHEN 1 THEN 'ask' END`, note, SIDES)
}

// ---------------------------------------------------------------------------------------------------- a tape

export async function tapeTables(tape: Tape): Promise<ExportTable[]> {
  const files = tape.manifest.files.filter((f) => f.path.startsWith('messages/')).map((f) => quote(join(tape.dir, f.path)))
  const markets = await tape.markets()
  const tickers = markets.map((m) => m.ticker).sort()
  const series = [...new Set(markets.map((m) => m.series))].sort()
  // Kinds 1 … 4 are about a level or a trade; only they have a side, a price and a quantity.
  const about = (sql: string): string => `CASE WHEN kind BETWEEN 1 AND 4 THEN ${sql} END`
  const bit = (mask: number): string => `(flags & ${mask}) <> 0`
  const list = (names: readonly string[]): string => `[${names.map(quote).join(', ')}]`
  return [
    {
      name: 'messages',
      from: `read_parquet([${files.join(', ')}])`,
      columns: [
        time('time', 'time', LEARNED),
        time('time_venue', 'nullif(time_venue, 0)', 'when it happened at the exchange'),
        word('market', 'market', 'ticker', tickers),
        word('kind', `${list(KIND_NAMES)}[kind + 1]`, 'engine/message.ts says what each means', [...KIND_NAMES].sort()),
        word('side', about("CASE side WHEN 0 THEN 'bid' ELSE 'ask' END"), "of the YES book; of a trade: the taker's", SIDES),
        ...price('price', about('price')),
        ...quantity('quantity', about('quantity')).map((c) => ({ ...c, note: 'signed for a delta, absolute for a level' })),
        word('label', `nullif(${list(LABEL_NAMES)}[((flags >> ${LABEL_SHIFT}) & 7) + 1], 'none')`, 'why a level decreased', [
          ...LABEL_NAMES,
        ]),
        flag('last', bit(Flag.LAST)),
        flag('execution', bit(Flag.EXECUTION)),
        flag('checkpoint', bit(Flag.CHECKPOINT)),
        flag('inferred', bit(Flag.INFERRED)),
        text('detail', 'detail'),
      ],
    },
    {
      name: 'markets',
      from: `read_parquet(${quote(join(tape.dir, 'markets.parquet'))})`,
      columns: [
        word('market', 'ticker', 'ticker', tickers),
        word('event', 'event'),
        word('series', 'series', undefined, series),
        text('title', 'title'),
        flag('exclusive', 'exclusive'),
        text('strike', 'strike'),
        time('open_time', '"openTime"'),
        time('close_time', '"closeTime"'),
        word('result', 'result', 'known afterwards only'),
        ...price('settlement_value', '"settlementValue"', 'what one YES contract paid'),
        time('determined_time', '"determinedTime"'),
        time('settled_time', '"settledTime"'),
        whole('rows', 'rows'),
        whole('deltas', 'deltas'),
        whole('trades', 'trades'),
        ...quantity('traded_quantity', '"tradedQuantity"', 'traded_contracts'),
        ...quantity('venue_quantity', '"venueQuantity"', 'venue_contracts'),
        flag('partial_book', '"partialBook"'),
        time('first_time', '"firstTime"'),
        time('last_time', '"lastTime"'),
        text('grid', 'grid'),
        word('grid_basis', '"gridBasis"'),
        text('fee', 'fee'),
        word('fee_basis', '"feeBasis"'),
      ],
    },
    {
      name: 'coverage',
      from: `read_parquet(${quote(join(tape.dir, 'coverage.parquet'))})`,
      columns: [
        word('market', 'market', 'ticker', tickers),
        time('hour', 'hour'),
        whole('rows', 'rows'),
        { ...whole('recorded', 'recorded'), unit: 'us' },
        { ...whole('synced', 'synced'), unit: 'us' },
        whole('gaps', 'gaps'),
        whole('resyncs', 'resyncs'),
        whole('in_flux', '"inFlux"'),
        whole('negative_levels', '"negativeLevels"'),
        whole('lasting_crosses', '"lastingCrosses"'),
        whole('audits', 'audits'),
        whole('audits_equal', '"auditsEqual"'),
        flag('partial_book', '"partialBook"'),
      ],
    },
  ]
}

// ---------------------------------------------------------------------------------------------------- a run

/** Tables of a run that are made from its record rather than read from its files. */
export type PlainTable = {
  readonly name: string
  readonly columns: readonly PlainColumn[]
  readonly rows: readonly Readonly<Record<string, string | number | boolean | null>>[]
}
export type PlainColumn = { readonly name: string; readonly type: PlainType; readonly note?: string }
/** `price`, `quantity`, `money`: integers of the engine; each is exported with its decimal beside it. */
export type PlainType = 'price' | 'quantity' | 'money' | 'time' | 'count' | 'real' | 'flag' | 'word' | 'text'

/** `dir`: the run folder; `plain`: what its record was made into. */
export async function runTables(db: Database, dir: string, plain: readonly PlainTable[]): Promise<ExportTable[]> {
  const journal = (kind: string): string =>
    `read_parquet(${quote(join(dir, 'journal.parquet'))}, file_row_number = true) WHERE kind = ${quote(kind)} ORDER BY file_row_number`
  const file = (name: string): string => `read_parquet(${quote(join(dir, `${name}.parquet`))})`
  const who = [word('market', 'market', 'ticker'), word('strategy', 'owner')]
  const wished = [side('side'), ...price('price', 'price'), ...quantity('quantity', 'quantity', 'contracts')]
  const why = [word('why', 'why'), { name: 'value', type: 'float64', sql: 'value', note: 'the number the reason was about' } as const]
  const tables: ExportTable[] = [
    {
      name: 'fills',
      // Numbered before anything is left out, so that `fill` is what `markouts` says.
      from: `(SELECT *, row_number() OVER (ORDER BY file_row_number) - 1 AS fill FROM read_parquet(${quote(join(dir, 'journal.parquet'))}, file_row_number = true) WHERE kind = 'fill') ORDER BY fill`,
      columns: [
        whole('fill', 'fill', 'counts from 0, as in markouts'),
        whole('order', '"order"'),
        time('time', 'time', LEARNED),
        time('time_venue', 'b', 'when it happened at the exchange'),
        ...who,
        ...wished,
        word('role', 'what', undefined, ['maker', 'taker']),
        ...money('fee', 'a'),
        ...why,
      ],
    },
    {
      name: 'signals',
      from: journal('signal'),
      columns: [
        time('time', 'time'),
        ...who,
        word('kind', 'what', 'quote: wants to rest; take: wants to trade now; pull: ends a quote'),
        ...wished,
        ...why,
      ],
    },
    {
      name: 'refusals',
      from: journal('refusal'),
      columns: [
        time('time', 'time'),
        ...who,
        word('gate', 'what', 'the limit that said no'),
        ...wished,
        ...why,
        whole('times', 'a', 'refusals of the same wish since the row before, this one included'),
      ],
    },
    {
      name: 'equity',
      from: file('equity'),
      columns: [
        time('time', 'time'),
        ...money('cash', 'cash', 'free'),
        ...money('locked', 'locked', 'collateral of open positions'),
        ...money('liquidation', 'liquidation', 'equity with open positions where they could be closed'),
        ...money('mid', 'mid', 'equity with open positions at the mid'),
        ...money('low', 'low', 'of liquidation since the row before'),
        ...money('high', 'high', 'of liquidation since the row before'),
        ...money('fees', 'fees', 'running total'),
        ...money('drawdown', 'drawdown', 'largest so far'),
        ...money('exposure', 'exposure', 'worst loss of everything held and working'),
      ],
    },
    {
      name: 'touches',
      from: file('touches'),
      columns: [
        time('time', 'time'),
        word('market', 'market', 'ticker'),
        ...price('bid', 'nullif(bid, -1)'),
        ...quantity('bid_quantity', 'CASE WHEN bid >= 0 THEN "bidQuantity" END', 'bid_contracts'),
        ...price('ask', 'nullif(ask, -1)'),
        ...quantity('ask_quantity', 'CASE WHEN ask >= 0 THEN "askQuantity" END', 'ask_contracts'),
      ],
    },
    {
      name: 'markouts',
      from: `(SELECT m.*, f.side, f.price FROM read_parquet(${quote(join(dir, 'markouts.parquet'))}, file_row_number = true) m
        LEFT JOIN (SELECT row_number() OVER (ORDER BY file_row_number) - 1 AS n, side, price FROM read_parquet(${quote(join(dir, 'journal.parquet'))}, file_row_number = true) WHERE kind = 'fill') f
        ON f.n = m.fill) ORDER BY file_row_number`,
      columns: [
        whole('fill', 'fill', 'as in fills'),
        {
          name: 'horizon',
          type: 'int64',
          sql: 'horizon::BIGINT',
          unit: 'us',
          note: 'after the fill at the exchange; 0 is the fill itself',
        },
        {
          name: 'mid_twice',
          type: 'int32',
          sql: 'nullif(mid2, -1)',
          unit: PRICE,
          note: 'bid + ask; null where the book was not two-sided',
        },
        { name: 'mid_dollars', type: 'float64', sql: 'nullif(mid2, -1) / 20000.0::DOUBLE', unit: 'dollar' },
        {
          name: 'markout_dollars',
          type: 'float64',
          sql: '((CASE side WHEN 0 THEN 1 ELSE -1 END) * (nullif(mid2, -1) - 2 * price)) / 20000.0::DOUBLE',
          unit: 'dollar',
          note: 'per contract, before fees: above zero the mid moved our way',
        },
        flag('settled', 'settled = 1'),
      ],
    },
  ]
  for (const table of plain) tables.push(await staged(db, table))
  return tables
}

const STORED: Readonly<Record<PlainType, ColumnType>> = {
  price: 'double',
  quantity: 'double',
  money: 'double',
  time: 'double',
  count: 'double',
  real: 'double',
  flag: 'double',
  word: 'varchar',
  text: 'varchar',
}

async function staged(db: Database, { name, columns, rows }: PlainTable): Promise<ExportTable> {
  const table = await db.table(`plain_${name}`, Object.fromEntries(columns.map((c) => [`"${c.name}"`, STORED[c.type]])))
  await table.append(
    columns.map((c) => rows.map((row) => plainValue(row[c.name]))),
    0,
    rows.length,
  )
  return {
    name,
    from: `plain_${name}`,
    columns: columns.flatMap((c): ExportColumn[] => {
      const sql = `"${c.name}"`
      const note = c.note === undefined ? {} : { note: c.note }
      switch (c.type) {
        case 'price':
          return price(c.name, sql, c.note)
        case 'quantity':
          return quantity(c.name, sql)
        case 'money':
          return money(c.name, sql, c.note)
        case 'time':
          return [time(c.name, `${sql}::BIGINT`, c.note)]
        case 'count':
          return [whole(c.name, sql, c.note)]
        case 'flag':
          return [flag(c.name, `${sql} = 1`)]
        case 'word':
          return [word(c.name, sql, c.note)]
        case 'real':
        case 'text':
          return [{ name: c.name, type: (c.type === 'real' ? 'float64' : 'text') satisfies ArrowType, sql, ...note }]
      }
    }),
  }
}
function plainValue(value: string | number | boolean | null | undefined): string | number | null {
  if (value === null || value === undefined) return null
  return typeof value === 'boolean' ? Number(value) : value
}
