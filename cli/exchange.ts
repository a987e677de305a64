/** `tapeline exchange`: a local exchange behind Kalshi's wire, for rehearsals without money. Owns the composition of exchange, tape and population; they do not know each other. */
import { existsSync, readFileSync } from 'node:fs'
import type { Argv, CommandModule } from 'yargs'
import type { Driver, Exchange, ExchangeServer, TapeDriver } from '../adapters/exchange/index.ts'
import { TIER_NAMES, type Tier } from '../adapters/exchange/limits.ts'
import { dollars } from '../engine/units.ts'
import { once } from './backtest.ts'
import { EXIT, said, UsageError } from './exit.ts'
import { present } from './output.ts'

export type ExchangeArguments = {
  tape: string | undefined
  from: string | undefined
  practice: boolean
  seed: number
  markets: number
  life: string
  rate: number
  port: number
  adminPort: number | undefined
  scale: number
  start: string | undefined
  wait: string | undefined
  accounts: number
  cash: number
  tier: Tier
  keyType: 'rsa' | 'ed25519'
  keys: string
  shard: number
  readLag: string
  skew: string
  restingReserve: 'sum' | 'none'
  wallSignatures: boolean
  faults: string | undefined
  duration: string
  json: boolean
}

type Running = { readonly server: ExchangeServer; readonly tape: TapeDriver | null; readonly ended: Promise<string> }

export const exchangeCommand: CommandModule<object, ExchangeArguments> = {
  command: 'exchange',
  describe: "Run a local exchange behind Kalshi's REST and WebSocket, on loopback",
  builder: (y) =>
    y
      .option('tape', { type: 'string', requiresArg: true, describe: 'Drive it with this tape' })
      .option('from', { type: 'string', requiresArg: true, describe: 'Start of the tape, UTC' })
      .option('practice', { type: 'boolean', default: false, describe: 'Drive it with the practice population' })
      .option('seed', { type: 'number', default: 1, requiresArg: true, describe: 'Seed of the population and of ids' })
      .option('markets', { type: 'number', default: 4, requiresArg: true, describe: 'Practice markets side by side' })
      .option('life', { type: 'string', default: '15m', requiresArg: true, describe: 'Life of a practice market' })
      .option('rate', { type: 'number', default: 20, requiresArg: true, describe: 'Actions a second in each practice market' })
      .option('port', { type: 'number', default: 0, requiresArg: true, describe: 'Port on 127.0.0.1 (0: any free one)' })
      .option('admin-port', {
        type: 'number',
        requiresArg: true,
        describe: 'Open the admin door on this port (0: any free one; tapeline help faults lists its calls)',
      })
      .option('scale', { type: 'number', default: 1, requiresArg: true, describe: 'Seconds of exchange time in a real second' })
      .option('start', { type: 'string', requiresArg: true, describe: 'Exchange time at the start, UTC (default: now)' })
      .option('wait', {
        type: 'string',
        requiresArg: true,
        describe:
          "Real time for which the tape waits, its first books shown, for the first WebSocket subscription to a market's data (default: 30s; 0s and with --start: it runs at once)",
      })
      .option('accounts', { type: 'number', default: 2, requiresArg: true, describe: 'Accounts, each with its key' })
      .option('cash', { type: 'number', default: 10_000, requiresArg: true, describe: 'Dollars of each account' })
      .option('tier', { choices: TIER_NAMES, default: 'basic' as const, describe: 'Rate limit tier of the accounts' })
      .option('key-type', { choices: ['rsa', 'ed25519'] as const, default: 'rsa' as const, describe: 'Kind of new keys' })
      .option('keys', {
        type: 'string',
        default: 'exchange-keys',
        requiresArg: true,
        describe: 'Folder of the private keys; those that are there are used',
      })
      .option('shard', { type: 'number', default: 0, requiresArg: true, describe: 'exchange_index of the markets' })
      .option('read-lag', { type: 'string', default: '350ms', requiresArg: true, describe: 'How far private reads lag' })
      .option('skew', { type: 'string', default: '10s', requiresArg: true, describe: 'Largest clock difference of a signature, real time' })
      .option('resting-reserve', { choices: ['sum', 'none'] as const, default: 'sum' as const, describe: 'What resting orders set aside' })
      .option('wall-signatures', { type: 'boolean', default: false, describe: "Accept signatures by the machine's own clock too" })
      .option('faults', { type: 'string', requiresArg: true, describe: 'JSON file of faults to inject (tapeline help faults)' })
      .option('duration', { type: 'string', default: '8h', requiresArg: true, describe: 'Stops by itself after this real time' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout when it is ready, and nothing else' })
      .check((argv) => once(argv))
      .example('$0 exchange --practice --duration 10m', '')
      .example('$0 exchange --tape tapes/btc --scale 10 --admin-port 0', '')
      .example('$0 exchange --tape tapes/btc --wait 5m', 'The tape begins when a client subscribes')
      .example('$0 exchange --practice --faults faults.json', '{"rules":[{"on":"frame","do":"drop","every":500}]}')
      .example('curl 127.0.0.1:4513/sockets -d \'{"do":"disconnect"}\'', 'With --admin-port 4513: every connection breaks')
      .epilogue('Faults and the admin door, all of it: tapeline help faults') as unknown as Argv<ExchangeArguments>,
  handler: async (argv) => {
    let running: Running | null = null
    await present('exchange', argv.json, async () => {
      running = await startExchange(argv)
      return describe(argv, running)
    })
    if (running !== null) await untilEnd(argv, running)
  },
}

async function startExchange(argv: ExchangeArguments): Promise<Running> {
  const { parseDuration, parseInstant } = await import('./options.ts')
  const x = await import('../adapters/exchange/index.ts')
  if (argv.tape === undefined && !argv.practice)
    throw new UsageError('an exchange needs strangers: give --practice, --tape <folder>, or both')
  for (const [name, value, least, most] of [
    ['seed', argv.seed, 0, 2 ** 32],
    ['markets', argv.markets, 1, 200],
    ['rate', argv.rate, 1, 1000],
    ['accounts', argv.accounts, 1, 50],
    ['port', argv.port, 0, 65_535],
    ['admin-port', argv.adminPort ?? 0, 0, 65_535],
    ['shard', argv.shard, 0, 3],
  ] as const) {
    if (!Number.isSafeInteger(value) || value < least || value > most)
      throw new UsageError(`${said(name, value)}: a whole number from ${least} to ${most}`)
  }
  if (!(argv.scale > 0 && argv.scale <= 1000)) throw new UsageError(`${said('scale', argv.scale)}: a number above 0 and at most 1000`)
  if (!(argv.cash > 0 && argv.cash <= 1e9)) throw new UsageError(`${said('cash', argv.cash)}: dollars above zero`)
  const duration = parseDuration(argv.duration, '--duration')
  const start = parseInstant(argv.start, '--start') ?? x.realNow()
  const wait = waitOf(argv, parseDuration)
  const exchange = new x.Exchange({
    start,
    seed: argv.seed,
    readLag: parseDuration(argv.readLag, '--read-lag'),
    // At 20 seconds a second half a second on the way is ten of the exchange's.
    skewMax: parseDuration(argv.skew, '--skew') * Math.max(1, argv.scale),
    restingReserve: argv.restingReserve,
  })
  const faults = new x.Faults(readFaults(argv.faults, x.parseFaults))
  await accountsOf(exchange, argv)
  const drivers: Driver[] = []
  let tape: TapeDriver | null = null
  let from = 0
  if (argv.tape !== undefined) {
    const { openTape } = await import('../data/tape-reader.ts')
    const { DataError } = await import('../data/errors.ts')
    const opened = await openTape(argv.tape)
    const { manifest } = opened
    if (manifest.depth !== 'book')
      throw new DataError(
        'PARTIAL_BOOK',
        `${argv.tape} knows ${manifest.depth} and no order books: an exchange needs a tape with whole books`,
      )
    from = parseInstant(argv.from, '--from') ?? manifest.from
    if (from < manifest.from || from > manifest.to)
      throw new UsageError(
        `--from ${argv.from ?? ''} is not on the tape, which runs from ${new Date(manifest.from / 1000).toISOString()} to ${new Date(manifest.to / 1000).toISOString()}`,
      )
    const rows = await opened.read({ from: argv.from === undefined ? null : from, batchRows: 8192, decode: 'thread' })
    tape = new x.TapeDriver(exchange, rows, { shift: start - from, exchangeIndex: argv.shard })
    await tape.load()
    drivers.push(tape)
  }
  if (argv.practice) drivers.push(await practiceDriver(exchange, argv, start, parseDuration(argv.life, '--life')))
  let end: (reason: string) => void = () => {}
  const ended = new Promise<string>((resolve) => (end = resolve))
  // The clock starts when everything is loaded: nobody misses the beginning. Where no time was asked for it starts at the real one, so that any client signs well.
  const realStart = x.realNow()
  const virtualStart = argv.start === undefined ? realStart : start
  const clock = new x.VirtualClock({ virtualStart, realStart, scale: argv.scale })
  const latest = Math.round(virtualStart + wait * argv.scale)
  if (wait > 0) tape?.hold(from, latest)
  else tape?.begin(from, virtualStart)
  const server = new x.ExchangeServer({
    exchange,
    clock,
    drivers,
    port: argv.port,
    adminPort: argv.adminPort ?? null,
    faults,
    wallSignatures: argv.wallSignatures,
    onStop: () => end('stopped through the admin door'),
  })
  if (tape?.held === true) {
    const release = (why: string) => (): void => {
      if (tape?.held !== true) return
      server.hub.onWatched = null
      tape.release()
      process.stderr.write(`the tape begins: ${why}\n`)
    }
    server.hub.onWatched = release('a client has subscribed')
    exchange.at(latest, release('nobody has subscribed'))
  }
  try {
    await server.start()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EADDRINUSE' && code !== 'EACCES') throw error
    await tape?.close()
    // It was the admin door where it asked for that port and the other one was free.
    const option = (error as { port?: number }).port === argv.adminPort && argv.adminPort !== argv.port ? '--admin-port' : '--port'
    const port = option === '--port' ? argv.port : argv.adminPort
    const same = argv.adminPort === argv.port ? ' (--admin-port is the same one)' : ''
    throw new UsageError(`${option} ${port}: the port is taken or not allowed${same}; give another, or 0 for any free one`)
  }
  const timer = setTimeout(() => end(`--duration ${argv.duration} is over`), Math.min(duration / 1000, 2 ** 31 - 1))
  process.once('SIGINT', () => end('Ctrl-C'))
  void ended.then(() => clearTimeout(timer))
  return { server, tape, ended }
}

/** µs of real time for which a tape waits for its first listener. */
function waitOf(argv: ExchangeArguments, parseDuration: (text: string, name: string) => number): number {
  if (argv.wait === undefined) return argv.tape === undefined || argv.start !== undefined ? 0 : parseDuration('30s', '--wait')
  if (argv.tape === undefined) throw new UsageError('--wait holds a tape back: it goes with --tape')
  const wait = parseDuration(argv.wait, '--wait')
  if (wait > 0 && argv.start !== undefined) throw new UsageError('--wait goes without --start, at which the tape begins')
  return wait
}

async function accountsOf(exchange: Exchange, argv: ExchangeArguments): Promise<void> {
  const { openAccounts } = await import('../adapters/exchange/index.ts')
  try {
    const { warning } = await openAccounts(exchange, {
      folder: argv.keys,
      names: Array.from({ length: argv.accounts }, (_, i) => `account-${i + 1}`),
      keyType: argv.keyType,
      cash: dollars(argv.cash),
      shards: argv.shard === 0 ? [0] : [0, argv.shard],
      tier: argv.tier,
    })
    if (warning !== null) process.stderr.write(`warning: --keys ${warning}\n`)
  } catch (error) {
    throw new UsageError(`--keys ${argv.keys}: ${error instanceof Error ? error.message : String(error)}`, EXIT.credentials, 'CREDENTIALS')
  }
}

/** The population's five verbs, said to the exchange. */
async function practiceDriver(exchange: Exchange, argv: ExchangeArguments, start: number, life: number): Promise<Driver> {
  const { Crowd } = await import('../adapters/practice/crowd.ts')
  const { floorOf } = await import('../adapters/exchange/index.ts')
  return new Crowd(
    {
      list: (m) =>
        void exchange.list({
          ...m,
          fee: { type: 'quadratic', multiplier: 10_000 },
          exclusive: false,
          exchangeIndex: argv.shard,
          settlementTimer: 30_000_000,
        }),
      floor: (ticker, sink) => floorOf(exchange, ticker, sink),
      open: (ticker) => exchange.markets.get(ticker)?.tradable === true && exchange.shard(argv.shard).tradingActive,
      determine: (ticker, result) => {
        const market = exchange.markets.get(ticker)
        if (market !== undefined && market.result === '') exchange.lifecycle.determine(market, result, result === 'yes' ? 10_000 : 0)
      },
      index: (id, value) => exchange.publish({ feed: 'cfbenchmarks', id, value, sourceTime: exchange.now }),
    },
    { seed: argv.seed, start, markets: argv.markets, life, rate: argv.rate, resultAfter: 30_000_000 },
  )
}

function readFaults<T>(path: string | undefined, parse: (json: unknown) => T): T | undefined {
  if (path === undefined) return undefined
  if (!existsSync(path)) throw new UsageError(`--faults ${path}: the file does not exist`, EXIT.config, 'CONFIG')
  try {
    return parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    throw new UsageError(`--faults ${path}: ${error instanceof Error ? error.message : String(error)}`, EXIT.config, 'CONFIG')
  }
}

function describe(argv: ExchangeArguments, { server, tape }: Running) {
  server.catchUp()
  const { exchange, clock } = server
  const accounts = [...exchange.accounts.values()].map((a) => ({
    name: a.name,
    user: a.user,
    keyId: [...a.keys.keys()][0] ?? '',
    keyFile: `${argv.keys}/${a.name}.pem`,
    cashDollars: argv.cash,
  }))
  const markets = [...exchange.markets.values()].filter((m) => m.status === 'active').map((m) => m.ticker)
  const strangers = [
    argv.practice ? `the practice population (seed ${argv.seed})` : '',
    argv.tape === undefined ? '' : `the tape ${argv.tape}`,
  ]
  const data = {
    rest: server.url,
    socket: server.socketUrl,
    admin: server.adminUrl,
    clock: clock.plan,
    tapeWaits: tape?.held ?? false,
    accounts,
    markets,
  }
  const text = `A LOCAL EXCHANGE: no money, no Kalshi. Strangers are ${strangers.filter((s) => s !== '').join(' and ')}

REST       ${server.url}
WebSocket  ${server.socketUrl}
Admin      ${server.adminUrl ?? 'closed (open it with --admin-port 0)'}
Clock      ${new Date(clock.now() / 1000).toISOString()}, ${argv.scale === 1 ? 'real time' : `${argv.scale} seconds a second`}
${ownClock(argv) ? `           give it to paper, record and live: --clock '${JSON.stringify(clock.plan)}'\n` : ''}${tape === null ? '' : `Tape       ${tape.held ? `waits up to ${argv.wait ?? '30s'} for the first WebSocket subscription (--wait)` : 'runs'}\n`}Accounts
${accounts.map((a) => `  ${a.name}  $${argv.cash}  key ${a.keyId}  ${a.keyFile}`).join('\n')}
Markets    ${markets.length === 0 ? 'none yet' : `${markets.slice(0, 4).join(', ')}${markets.length > 4 ? `, … ${markets.length} in all` : ''}`}

Try        curl '${server.url}/markets?status=open'
Stop       Ctrl-C, or it stops by itself after ${argv.duration}
`
  return { data, text }
}

/** Whether its clock is another than the machine's: clients must be given it. */
function ownClock({ scale, start }: ExchangeArguments): boolean {
  return scale !== 1 || start !== undefined
}

async function untilEnd(argv: ExchangeArguments, { server, tape, ended }: Running): Promise<void> {
  const watch = setInterval(() => {
    if (tape?.ended !== true) return
    clearInterval(watch)
    process.stderr.write(
      `the tape has ended: its strangers are gone and its books stand still${argv.practice ? '; the practice markets go on' : ''}\n`,
    )
  }, 200)
  const reason = await ended
  clearInterval(watch)
  if (server.failure === null) server.catchUp()
  await server.stop()
  await tape?.close()
  const { exchange } = server
  const { money, positions } = exchange.audit()
  const failure = server.failure ?? tape?.failure ?? null
  const summary = `Stopped: ${reason}. ${server.requests} requests, ${exchange.ordersMade} orders, ${exchange.tradesMade} trades, ${server.faults.log.length} faults injected; money ${money === 0 && positions === 0 ? 'adds up' : 'DOES NOT ADD UP'}\n`
  if (server.behindMax > 2_000_000)
    process.stderr.write(
      `warning: it stood up to ${(server.behindMax / 1e6).toFixed(1)} s behind its clock: choose a smaller --scale, --rate or --markets\n`,
    )
  if (argv.json) process.stderr.write(summary)
  else process.stdout.write(summary)
  if (failure !== null) process.stderr.write(`error: ${failure instanceof Error ? failure.message : 'the exchange failed'}\n`)
  process.exitCode = failure !== null ? EXIT.bug : money === 0 && positions === 0 ? EXIT.ok : EXIT.mismatch
}
