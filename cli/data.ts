/** `tapeline data …`: tapes in, and what they hold. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Argv, CommandModule } from 'yargs'
import { DataError } from '../data/errors.ts'
import { ownRows } from '../data/losses.ts'
import { configOptions } from './config-command.ts'
import { imports } from './data-import.ts'
import { EXIT, failureOf, said, UsageError } from './exit.ts'
import { bookStatsText, shallowStatsText } from './data-stats.ts'
import { count, present, progress, tableText } from './output.ts'

type Json = { json: boolean }
const withJson = (y: Argv): Argv =>
  y.option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })

/** Where tapes lie when nothing is said. */
async function tapesFolder(argv: { readonly config?: string; readonly profile?: string }): Promise<string> {
  const { settingsOf } = await import('./config.ts')
  return settingsOf(argv).tapes
}

const importKalshi: CommandModule<object, Json & { path: string[]; tape: string; name?: string; yesPrices: boolean; replace: boolean }> = {
  command: 'kalshi-ws <path..>',
  describe: 'Recorded WebSocket frames of Kalshi (files or folders, plain or .gz)',
  builder: (y) =>
    withJson(y.positional('path', { type: 'string', array: true, demandOption: true, describe: 'Files or folders of frames' }))
      .option('tape', { type: 'string', demandOption: true, requiresArg: true, describe: 'Folder of the tape to write' })
      .option('name', { type: 'string', requiresArg: true, describe: 'Name of the tape (default: its folder)' })
      .option('yes-prices', { type: 'boolean', default: false, describe: 'Recorded with use_yes_price: NO levels carry YES prices' })
      .option('replace', { type: 'boolean', default: false, describe: 'Replace a tape that is there' }) as never,
  handler: (argv) =>
    present('data import', argv.json, async () => {
      const { importKalshiWs } = await import('../data/import/kalshi-ws.ts')
      let stopped = false
      const stop = (): void => void (stopped = true)
      process.on('SIGINT', stop)
      const bar = await progress('import', argv.json)
      const started = performance.now()
      try {
        const s = await importKalshiWs(argv.path, argv.tape, {
          ...(argv.name === undefined ? {} : { name: argv.name }),
          yesPrices: argv.yesPrices,
          replace: argv.replace,
          stopped: () => stopped,
          progress: (done, total, rows) => bar.update(done, total, `${count(rows)} rows`),
        })
        bar.end()
        const seconds = (performance.now() - started) / 1000
        const text = `${count(s.rows)} rows, ${s.markets} markets → ${argv.tape} (${seconds.toFixed(1)} s)
  rows         ${Object.entries(s.byKind)
    .map(([k, n]) => `${k} ${count(n)}`)
    .join(', ')}
  decreases    ${Object.entries(s.byLabel)
    .map(([k, n]) => `${k} ${count(n)}`)
    .join(', ')}
  sequence     ${s.gaps} gaps, ${s.negativeLevels} negative levels, ${s.lastingCrosses} lasting crosses, ${s.inFlux} moments in flux
  audit        ${s.audits === 0 ? 'no ticker to compare with' : `best prices equal to the ticker's in ${count(s.auditsEqual)} of ${count(s.audits)} (${((s.auditsEqual / s.audits) * 100).toFixed(1)} %)`}
  clock        ${s.clock.length === 0 ? 'no venue times' : s.clock.map((c) => `${(c.offset / 1000).toFixed(1)} ± ${(c.uncertainty / 1000).toFixed(1)} ms`).join(', ')}
  quarantined  ${
    s.quarantined === 0
      ? 'nothing'
      : `${count(s.quarantined)}: ${Object.entries(s.quarantineReasons)
          .map(([r, n]) => `${r} (${n})`)
          .join('; ')} → ${join(argv.tape, 'quarantine.ndjson')}`
  }
${s.remarks.map((r) => `  note         ${r}`).join('\n')}

Next  npx tapeline data stats ${argv.tape}
`
        return { data: { ...s, tape: argv.tape, seconds: Number(seconds.toFixed(3)) }, text }
      } catch (error) {
        bar.end()
        if (stopped)
          return { data: null, exit: EXIT.interrupted, error: { code: 'INTERRUPTED', message: 'interrupted: no tape was written' } }
        throw error
      } finally {
        process.off('SIGINT', stop)
      }
    }),
}

const importResults: CommandModule<object, Json & { csv: string; tape: string }> = {
  command: 'results <csv>',
  describe: 'Outcomes of markets (ticker, result) into a tape that has none',
  builder: (y) =>
    withJson(y.positional('csv', { type: 'string', demandOption: true })).option('tape', {
      type: 'string',
      demandOption: true,
      requiresArg: true,
    }) as never,
  handler: (argv) =>
    present('data import', argv.json, async () => {
      const { importResults: run } = await import('../data/import/results.ts')
      const s = await run(argv.csv, argv.tape)
      const list = (xs: readonly string[]): string => `${xs.slice(0, 4).join(', ')}${xs.length > 4 ? `, … ${xs.length} in all` : ''}`
      return {
        data: s,
        text: `${s.set} of ${s.markets} markets given their result${s.already > 0 ? `, ${s.already} had it already` : ''}
${s.without.length > 0 ? `  still without  ${list(s.without)}\n` : ''}${s.unknown.length > 0 ? `  not on the tape  ${list(s.unknown)}\n` : ''}`,
      }
    }),
}

const importCommand: CommandModule = {
  command: 'import',
  describe: 'Bring recordings into a tape',
  builder: (y) => {
    let all = y.command(importKalshi)
    for (const one of imports) all = all.command(one as CommandModule)
    return all
      .command(importResults)
      .demandCommand(1, 'Give what to import: kalshi-ws, trades-parquet, kalshi-rest-trades, quotes, external or results')
      .strict()
  },
  handler: () => {},
}

const practice: CommandModule<
  object,
  Json & {
    seed: number
    markets: number
    days: number
    rate: number
    tape?: string
    replace: boolean
    rows?: number
    config?: string
    profile?: string
  }
> = {
  command: 'practice',
  describe: 'Make a practice tape: a seeded population trading on the matching engine',
  builder: (y) =>
    withJson(configOptions(y))
      .option('seed', { type: 'number', default: 1, requiresArg: true })
      .option('markets', { type: 'number', default: 12, requiresArg: true, describe: 'Markets in all, 15 minutes each' })
      .option('days', { type: 'number', default: 1, requiresArg: true, describe: 'Days over which they are spread' })
      .option('rate', { type: 'number', default: 40, requiresArg: true, describe: 'Actions a second in each market' })
      .option('rows', { type: 'number', requiresArg: true, describe: 'Stop after about this many rows' })
      .option('tape', { type: 'string', requiresArg: true, describe: 'Folder of the tape (default: tapes/practice-<seed>)' })
      .option('replace', { type: 'boolean', default: false }) as never,
  handler: (argv) =>
    present('data practice', argv.json, async () => {
      for (const [name, value, least] of [
        ['seed', argv.seed, 0],
        ['markets', argv.markets, 1],
        ['days', argv.days, 1],
        ['rate', argv.rate, 1],
      ] as const) {
        if (!Number.isSafeInteger(value) || value < least) throw new UsageError(`${said(name, value)}: a whole number of ${least} or more`)
      }
      const { makePracticeTape } = await import('../adapters/practice/practice-tape.ts')
      const tape = argv.tape ?? join(await tapesFolder(argv), `practice-${argv.seed}`)
      const bar = await progress('practice', argv.json)
      try {
        const m = await makePracticeTape(tape, {
          seed: argv.seed,
          markets: argv.markets,
          days: argv.days,
          rate: argv.rate,
          replace: argv.replace,
          ...(argv.rows === undefined ? {} : { rowsMax: argv.rows }),
          progress: (done, total, rows) => bar.update(done, total, `${count(rows)} rows`),
        })
        return {
          data: { tape, rows: m.rows, byKind: m.byKind, markets: m.markets, practice: true },
          text: `PRACTICE DATA\n${count(m.rows)} rows, ${m.markets} markets → ${tape}\n\nNext  npx tapeline backtest --tape ${tape} --strategy lean`,
        }
      } finally {
        bar.end()
      }
    }),
}

const list: CommandModule<object, Json & { dir?: string; config?: string; profile?: string }> = {
  command: 'list [dir]',
  describe: 'Tapes in a folder (default: tapes)',
  builder: (y) => withJson(configOptions(y.positional('dir', { type: 'string' }))) as never,
  handler: (argv) =>
    present('data list', argv.json, async () => {
      const { openTape } = await import('../data/tape-reader.ts')
      const dir = argv.dir ?? (await tapesFolder(argv))
      const folders = existsSync(join(dir, 'manifest.json'))
        ? [dir]
        : existsSync(dir)
          ? readdirSync(dir)
              .map((d) => join(dir, d))
              .filter((d) => existsSync(join(d, 'manifest.json')))
          : []
      if (argv.dir !== undefined && !existsSync(dir)) throw new DataError('FILE_MISSING', `${dir} does not exist: give a folder of tapes`)
      const tapes = []
      const warnings: string[] = []
      for (const folder of folders) {
        let opened: Awaited<ReturnType<typeof openTape>>
        try {
          opened = await openTape(folder)
        } catch (error) {
          warnings.push(failureOf(error).message)
          continue
        }
        const { manifest: m } = opened
        const coverage = await opened.coverage()
        const bytes = m.files.reduce((a, f) => a + f.bytes, 0)
        tapes.push({
          tape: folder,
          source: m.source,
          practice: m.practice,
          depth: m.depth,
          rows: ownRows(m),
          markets: m.markets,
          // A tape without rows has no time.
          from: m.rows === 0 ? null : new Date(m.from / 1000).toISOString(),
          to: m.rows === 0 ? null : new Date(m.to / 1000).toISOString(),
          gaps: m.gaps,
          resyncs: coverage.reduce((a, c) => a + c.resyncs, 0),
          disconnects: m.disconnects ?? null,
          breaks: m.breaks?.count ?? null,
          downSeconds: m.breaks === undefined ? null : m.breaks.time / 1e6,
          labels: m.labelBasis,
          bytes,
          /** It is being recorded, or was broken off: rows may still come. */
          growing: m.growing !== undefined,
        })
      }
      const grows = tapes.some((t) => t.growing)
      return {
        data: tapes,
        warnings,
        text:
          tapes.length === 0
            ? `no tape in ${dir}: make one with \`npx tapeline data practice\` or \`npx tapeline data import kalshi-ws <path> --tape <dir>\``
            : tableText(
                [
                  'tape',
                  'source',
                  'depth',
                  'rows',
                  'markets',
                  'from (UTC)',
                  'to (UTC)',
                  'gaps',
                  'resyncs',
                  'lost',
                  'down',
                  'trades',
                  'MB',
                  ...(grows ? ['state'] : []),
                ],
                tapes.map((t) => [
                  t.tape,
                  t.source,
                  t.depth,
                  count(t.rows),
                  count(t.markets),
                  t.from?.slice(0, 16) ?? 'no rows',
                  t.to?.slice(0, 16) ?? '',
                  t.depth === 'book' ? String(t.gaps) : '',
                  t.depth === 'book' ? String(t.resyncs) : '',
                  t.disconnects === null ? '' : String(t.disconnects),
                  t.breaks === null || t.breaks === 0 ? '' : `${(t.downSeconds ?? 0).toFixed(0)} s in ${t.breaks}`,
                  t.depth === 'book' ? t.labels : '',
                  (t.bytes / 1e6).toFixed(1),
                  t.growing ? 'grows' : '',
                ]),
              ),
      }
    }),
}

const verify: CommandModule<object, Json & { tape: string }> = {
  command: 'verify <tape>',
  describe: 'Files of a tape against their SHA-256, sizes, rows and order',
  builder: (y) => withJson(y.positional('tape', { type: 'string', demandOption: true })) as never,
  handler: (argv) =>
    present('data verify', argv.json, async () => {
      const { verifyTape } = await import('../data/verify.ts')
      const findings = await verifyTape(argv.tape)
      if (findings.length === 0) return { data: { tape: argv.tape, findings }, text: `${argv.tape} is whole` }
      return {
        data: { tape: argv.tape, findings },
        exit: EXIT.data,
        error: { code: 'TAPE_DAMAGED', message: findings.map((f) => `${join(argv.tape, f.path)} ${f.problem}`).join('; ') },
      }
    }),
}

const stats: CommandModule<object, Json & { tape: string }> = {
  command: 'stats <tape>',
  describe: 'Coverage, gaps, prices, spreads, trades, labels, volume against the exchange',
  builder: (y) => withJson(y.positional('tape', { type: 'string', demandOption: true })) as never,
  handler: (argv) =>
    present('data stats', argv.json, async () => {
      const { openTape } = await import('../data/tape-reader.ts')
      const { tapeStats } = await import('../data/tape-stats.ts')
      const s = await tapeStats(await openTape(argv.tape))
      return { data: s, text: s.depth === 'book' ? bookStatsText(s) : shallowStatsText(s) }
    }),
}

const book: CommandModule<object, Json & { market: string; tape: string; at?: string; depth: number }> = {
  command: 'book <market>',
  describe: 'The book of a market at a time, as a trader reads it',
  builder: (y) =>
    withJson(y.positional('market', { type: 'string', demandOption: true, describe: 'Ticker' }))
      .option('tape', { type: 'string', demandOption: true, requiresArg: true })
      .option('at', { type: 'string', requiresArg: true, describe: 'Time, UTC (default: the end of the tape)' })
      .option('depth', { type: 'number', default: 8, requiresArg: true, describe: 'Levels a side' }) as never,
  handler: (argv) =>
    present('data book', argv.json, async () => {
      const { openTape } = await import('../data/tape-reader.ts')
      const { bookAt } = await import('../data/book-at.ts')
      const { parseInstant } = await import('./options.ts')
      if (!Number.isSafeInteger(argv.depth) || argv.depth < 1)
        throw new UsageError(`--depth ${argv.depth}: a whole number of levels above zero`)
      const b = await bookAt(await openTape(argv.tape), argv.market, parseInstant(argv.at, '--at'), argv.depth)
      const cents = (p: number): string => `${(p / 100).toFixed(1)}¢`
      if (b.depth === 'prints') {
        const t = b.lastTrade
        return {
          data: b,
          text: `${b.ticker} at ${new Date(b.time / 1000).toISOString()} · ${b.status}${b.closeTime === null ? '' : ` · closes ${new Date(b.closeTime / 1000).toISOString()}`}
no book is known: this tape holds trades alone
${t === null ? 'no trade before this time' : `last trade ${count(t.quantity / 100)} at ${cents(t.price)}, taker bought ${t.side === 0 ? 'YES' : 'NO'}, at ${new Date(t.time / 1000).toISOString()}`}
`,
        }
      }
      const rows = Array.from({ length: Math.max(b.bids.length, b.asks.length) }, (_, i) => {
        const [bid, ask] = [b.bids[i], b.asks[i]]
        return [
          bid === undefined ? '' : count(bid.quantity / 100),
          bid === undefined ? '' : cents(bid.price),
          ask === undefined ? '' : cents(ask.price),
          ask === undefined ? '' : count(ask.quantity / 100),
          ask === undefined ? '' : cents(10_000 - ask.price),
        ]
      })
      const [bid, ask] = [b.bids[0], b.asks[0]]
      return {
        data: b,
        text: `${b.ticker} at ${new Date(b.time / 1000).toISOString()} · ${b.status}${b.synced ? '' : ' · NOT IN SYNC'}${b.closeTime === null ? '' : ` · closes ${new Date(b.closeTime / 1000).toISOString()}`}
${b.depth === 'quotes' ? 'no book is known beyond the best prices: this tape holds quotes\n' : ''}${rows.length === 0 ? 'the book is empty' : tableText(['size', 'bid YES', 'ask YES', 'size', '(bid NO)'], rows)}
${bid !== undefined && ask !== undefined ? `spread ${cents(ask.price - bid.price)}, mid ${((bid.price + ask.price) / 200).toFixed(2)}¢` : rows.length === 0 ? '' : 'one-sided'}${b.lastTrade === null ? '' : ` · last trade ${b.lastTrade.quantity / 100} at ${cents(b.lastTrade.price)}`}
`,
      }
    }),
}

export const dataCommand: CommandModule = {
  command: 'data',
  describe: 'Make, import and inspect tapes',
  builder: (y) =>
    y
      .command(importCommand)
      .command(practice)
      .command(list)
      .command(verify)
      .command(stats)
      .command(book)
      .demandCommand(1, 'Give one of: import, practice, list, verify, stats, book')
      .strict(),
  handler: () => {},
}
