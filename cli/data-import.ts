/** `tapeline data import …` for what others recorded: trades, best prices and outside series. */
import { join } from 'node:path'
import type { Argv, CommandModule } from 'yargs'
import type { PrintsOptions, PrintsSummary } from '../data/import/prints.ts'
import { parseQuantity } from '../engine/units.ts'
import { EXIT, suggest, UsageError } from './exit.ts'
import { count, present, progress, type Outcome } from './output.ts'

type Json = { json: boolean }
type Source = Json & { path: string[]; tape: string; name?: string; replace: boolean; markets?: string[] }

function withTape(y: Argv, describe: string): Argv {
  return y
    .positional('path', { type: 'string', array: true, demandOption: true, describe })
    .option('tape', { type: 'string', demandOption: true, requiresArg: true, describe: 'Folder of the tape to write' })
    .option('name', { type: 'string', requiresArg: true, describe: 'Name of the tape (default: its folder)' })
    .option('replace', { type: 'boolean', default: false, describe: 'Replace a tape that is there' })
    .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
}
const withMarkets = (y: Argv, demandOption: boolean): Argv =>
  y.option('markets', {
    type: 'string',
    array: true,
    nargs: 1,
    demandOption,
    describe: 'List of markets: Parquet, or JSON of GET /markets, /markets/{ticker}, /events/{event} (may be given again)',
  })

const tradesParquet: CommandModule<object, Source> = {
  command: 'trades-parquet <path..>',
  describe: 'Trades in the public layout (Parquet: trade_id, ticker, count, yes_price, …)',
  builder: (y) => withMarkets(withTape(y, 'Parquet files or folders of trades'), true) as never,
  handler: (argv) =>
    present('data import', argv.json, () =>
      prints(argv, async (options) => {
        const { importTradesParquet } = await import('../data/import/trades-parquet.ts')
        return importTradesParquet(argv.path, argv.tape, options)
      }),
    ),
}

const restTrades: CommandModule<object, Source> = {
  command: 'kalshi-rest-trades <path..>',
  describe: 'Trades as the REST API answers them (JSON or NDJSON, plain or .gz)',
  builder: (y) => withMarkets(withTape(y, 'JSON files or folders of trades'), false) as never,
  handler: (argv) =>
    present('data import', argv.json, () =>
      prints(argv, async (options) => {
        const { importRestTrades } = await import('../data/import/rest-trades.ts')
        return importRestTrades(argv.path, argv.tape, options)
      }),
    ),
}

async function prints(argv: Source, run: (options: PrintsOptions) => Promise<PrintsSummary>): Promise<Outcome<unknown>> {
  let stopped = false
  const stop = (): void => void (stopped = true)
  process.on('SIGINT', stop)
  const bar = await progress('import', argv.json)
  const started = performance.now()
  try {
    const s = await run({
      ...(argv.name === undefined ? {} : { name: argv.name }),
      ...(argv.markets === undefined ? {} : { markets: argv.markets }),
      replace: argv.replace,
      stopped: () => stopped,
      progress: (done, total) => bar.update(done, total, `${count(done)} trades`),
    })
    bar.end()
    const seconds = (performance.now() - started) / 1000
    return {
      data: { ...s, tape: argv.tape, seconds: Number(seconds.toFixed(3)) },
      warnings:
        argv.markets === undefined
          ? ['no list of markets was given: every market is unlisted and nothing can be traded; give --markets <file>']
          : s.listed === 0
            ? ['no market with trades is in the list of markets: nothing on this tape can be traded']
            : [],
      text: printsText(s, argv.tape, seconds),
    }
  } catch (error) {
    bar.end()
    if (stopped) return { data: null, exit: EXIT.interrupted, error: { code: 'INTERRUPTED', message: 'interrupted: no tape was written' } }
    throw error
  } finally {
    process.off('SIGINT', stop)
  }
}

function printsText(s: PrintsSummary, tape: string, seconds: number): string {
  const unequal = s.volumeUnequal.slice(0, 5).map((u) => `${u.ticker} ${count(u.contracts)} of ${count(u.exchange)}`)
  const mapped = [
    ...Object.entries(s.seriesMapped).map(([from, { to, markets }]) => `series ${from} → ${to} (${count(markets)} markets)`),
    ...few(Object.entries(s.tickersMapped).map(([from, to]) => `${from} → ${to}`)),
  ]
  return `${count(s.rows)} rows, ${count(s.markets)} markets → ${tape} (${seconds.toFixed(1)} s)
${rowsText(s)}
  trades       ${count(s.trades)} of ${count(s.contracts)} contracts${s.duplicates > 0 ? `; ${count(s.duplicates)} repetitions counted once` : ''}${s.repaired > 0 ? `; ${count(s.repaired)} prices repaired` : ''}
  markets      ${count(s.listed)} listed with trades, ${count(s.listedWithout)} listed without${s.listedElsewhere > 0 ? `, ${count(s.listedElsewhere)} listed ones left out` : ''}; ${count(s.unlisted.length)} unlisted, not tradable (${count(s.unlistedTrades)} trades)
  results      ${count(s.byKind.determined ?? 0)} determined, ${count(s.undetermined)} listed without a result
  volume       ${s.volumeCompared === 0 ? 'n/a (the list states none)' : `equal in ${count(s.volumeEqual)} of ${count(s.volumeCompared)} listed markets that traded`}${unequal.length === 0 ? '' : `; unequal: ${unequal.join(', ')}${s.volumeUnequal.length > unequal.length ? ', … (--json names all)' : ''}`}
  mapped       ${mapped.length === 0 ? 'nothing' : mapped.join(', ')}
${endText(s, tape)}`
}

type Common = Pick<PrintsSummary, 'byKind' | 'from' | 'to' | 'quarantined' | 'quarantineReasons' | 'remarks'>

function rowsText(s: Common): string {
  const kinds = Object.entries(s.byKind).map(([k, n]) => `${k} ${count(n)}`)
  const minute = (us: number): string => new Date(us / 1000).toISOString().slice(0, 16).replace('T', ' ')
  return `  rows         ${kinds.join(', ')}
  span         ${minute(s.from)} to ${minute(s.to)} UTC`
}
function endText(s: Common, tape: string): string {
  const reasons = Object.entries(s.quarantineReasons).map(([r, n]) => `${r} (${count(n)})`)
  return `  quarantined  ${s.quarantined === 0 ? 'nothing' : `${count(s.quarantined)}: ${reasons.join('; ')} → ${join(tape, 'quarantine.ndjson')}`}
${s.remarks.map((r) => `  note         ${r}`).join('\n')}

Next  npx tapeline data stats ${tape}
`
}
function few(xs: readonly string[]): string[] {
  return xs.length > 4 ? [...xs.slice(0, 4), `… ${count(xs.length)} tickers in all`] : [...xs]
}

const quotes: CommandModule<object, Source & { map?: string; market?: string; priceUnit?: 'cents' | 'dollars'; size?: string }> = {
  command: 'quotes <path..>',
  describe: 'Best prices without depth (JSON lines, CSV or Parquet with any column names)',
  builder: (y) =>
    withMarkets(withTape(y, 'Files or folders of records'), false)
      .option('map', {
        type: 'string',
        requiresArg: true,
        describe: 'Columns by field, as ticker=ticker,time=ts,bid=yb,ask=ya,bidSize=…,askSize=… (an inner value: market.yes_bid)',
      })
      .option('market', { type: 'string', requiresArg: true, describe: 'Ticker of all records, where no column has it' })
      .option('price-unit', {
        choices: ['cents', 'dollars'] as const,
        requiresArg: true,
        describe: 'What prices are counted in (default: seen)',
      })
      .option('size', {
        type: 'string',
        requiresArg: true,
        describe: 'Contracts at a best price where none are recorded: your assumption, printed and kept on the tape',
      }) as never,
  handler: (argv) =>
    present('data import', argv.json, async () => {
      const { importQuotes, QUOTE_FIELDS } = await import('../data/import/quotes.ts')
      const size = argv.size === undefined ? undefined : parseQuantity(argv.size)
      if (size !== undefined && !(size > 0))
        throw new UsageError(`--size ${argv.size}: a number of contracts above zero, in hundredths at most`)
      const started = performance.now()
      const s = await importQuotes(argv.path, argv.tape, {
        ...(argv.name === undefined ? {} : { name: argv.name }),
        ...(argv.markets === undefined ? {} : { markets: argv.markets }),
        ...(argv.map === undefined ? {} : { map: parseMap(argv.map, QUOTE_FIELDS) }),
        ...(argv.market === undefined ? {} : { ticker: argv.market }),
        ...(argv.priceUnit === undefined ? {} : { priceUnit: argv.priceUnit }),
        ...(size === undefined ? {} : { size }),
        replace: argv.replace,
      })
      const seconds = (performance.now() - started) / 1000
      return {
        data: { ...s, tape: argv.tape, seconds: Number(seconds.toFixed(3)) },
        text: `${count(s.rows)} rows, ${count(s.markets)} markets → ${argv.tape} (${seconds.toFixed(1)} s)
${rowsText(s)}
  quotes       ${count(s.quotes)} from ${count(s.records)} records in ${s.priceUnit}; ${count(s.unchanged)} said nothing new
  sizes        ${s.sizesAssumed === 0 ? 'recorded' : `ASSUMED in ${count(s.sizesAssumed)} records: ${argv.size ?? ''} contracts (--size)`}
  markets      ${count(s.listed)} listed with quotes, ${count(s.listedWithout)} listed without${s.listedElsewhere > 0 ? `, ${count(s.listedElsewhere)} listed ones left out` : ''}; ${count(s.unlisted.length)} known by their ticker alone
${endText(s, argv.tape)}`,
      }
    }),
}

const external: CommandModule<
  object,
  Json & { path: string[]; tape: string; series?: string; map?: string; lag: string; replaceSeries: boolean }
> = {
  command: 'external <path..>',
  describe: 'An outside series (spot price, forecast, score) into a tape that is there',
  builder: (y) =>
    y
      .positional('path', { type: 'string', array: true, demandOption: true, describe: 'CSV, Parquet or JSON lines' })
      .option('tape', { type: 'string', demandOption: true, requiresArg: true, describe: 'The tape' })
      .option('series', { type: 'string', requiresArg: true, describe: 'Name of the series, where no column has it' })
      .option('map', {
        type: 'string',
        requiresArg: true,
        describe: 'Columns by field, as published=issued,known=received,value=high,revision=run,series=station',
      })
      .option('lag', {
        type: 'string',
        default: '0s',
        requiresArg: true,
        describe: 'From publication to knowledge, where no column says when a row was known',
      })
      .option('replace-series', { type: 'boolean', default: false, describe: 'Put the rows in the place of those that the series has' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' }) as never,
  handler: (argv) =>
    present('data import', argv.json, async () => {
      const { importExternal, EXTERNAL_FIELDS } = await import('../data/import/external.ts')
      const { parseDuration } = await import('./options.ts')
      const s = await importExternal(argv.path, argv.tape, {
        ...(argv.series === undefined ? {} : { series: argv.series }),
        ...(argv.map === undefined ? {} : { map: parseMap(argv.map, EXTERNAL_FIELDS) }),
        lag: parseDuration(argv.lag, '--lag'),
        replaceSeries: argv.replaceSeries,
      })
      const second = (us: number): string => new Date(us / 1000).toISOString().slice(0, 19).replace('T', ' ')
      const outside = (n: number, where: string): string => (n === 0 ? '' : `; ${count(n)} ${where}`)
      return {
        data: { ...s, tape: argv.tape },
        text: `${count(s.rows)} rows → ${argv.tape}${s.replaced > 0 ? `, in the place of ${count(s.replaced)}` : ''}${s.repeated > 0 ? `; ${count(s.repeated)} repetitions counted once` : ''}
${s.series
  .map(
    (x) =>
      `  ${x.series}  ${count(x.rows)} rows (${count(x.revised)} revisions), known ${second(x.from)} to ${second(x.to)} UTC${outside(x.early, 'before the first row of the tape')}${outside(x.late, 'after its last')}`,
  )
  .join('\n')}
${s.remarks.map((r) => `  note  ${r}\n`).join('')}`,
      }
    }),
}

/** `field=column,field=column` for known fields. */
function parseMap(text: string, fields: readonly string[]): Record<string, string> {
  const map: Record<string, string> = {}
  for (const part of text.split(',')) {
    const cut = part.indexOf('=')
    const [field, column] = cut < 0 ? [part.trim(), ''] : [part.slice(0, cut).trim(), part.slice(cut + 1).trim()]
    if (!fields.includes(field)) {
      const near = suggest(field, fields)
      throw new UsageError(
        `--map ${part}: there is no field ${field}${near === null ? '' : ` (did you mean ${near}?)`}; fields are ${fields.join(', ')}`,
      )
    }
    if (column === '') throw new UsageError(`--map ${part}: write ${field}=<column>`)
    map[field] = column
  }
  return map
}

export const imports = [tradesParquet, restTrades, quotes, external] as const
