/**
 * The benchmark of the whole program at work: a local exchange in a process of its own, driven by the practice population, and `tapeline live` with a strategy that quotes, amends and pulls all the time. Owns
 * the workload and the reading of what the session's log says; hides the processes, and ends those that it started. A stage begins where the one before it ends: exchange → frame (the exchange's time of a
 * message → its time here) → decision (the strategy's command is made) → intent on disk → first byte on the socket → answer.
 *
 * `node dist/bench-live.js` (40 s for each kind of key) · `node dist/bench-live.js --seconds 60 --markets 20 --rate 60 --runs 3 --key rsa --dir /dev/shm`
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readRun } from '../data/run.ts'
import { readInputs, readSession } from '../data/session-inputs.ts'
import { JournalKind } from '../engine/journal.ts'
import { Flag, Kind } from '../engine/message.ts'

const program = process.env['BENCH_PROGRAM'] ?? fileURLToPath(new URL('tapeline.js', import.meta.url))
const node = (process.env['BENCH_NODE'] ?? '').split(' ').filter((word) => word !== '')

function said(name: string): string | null {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? null : (process.argv[at + 1] ?? '')
}
function option(name: string, standard: number): number {
  const value = Number(said(name) ?? standard)
  if (!Number.isSafeInteger(value) || value < 1) {
    process.stderr.write(`error: --${name} takes a whole number above zero\n`)
    process.exit(2)
  }
  return value
}
const seconds = option('seconds', 40)
const markets = option('markets', 20)
const rate = option('rate', 60)
const runs = option('runs', 1)
const kept = said('keep')
/** Where sessions live: `/dev/shm` tells the program from its disk. */
const place = said('dir') ?? tmpdir()
const keys = said('key') === null ? (['rsa', 'ed25519'] as const) : ([said('key') as 'rsa' | 'ed25519'] as const)

/** Never two commands in a tenth of a second, so that none waits for rate, tokens or an answer: each is the consequence of the message that it heard. */
const STRATEGY = `export default function busy({ every = 108000, size = 1 } = {}) {
  let last = 0
  const steps = new Map()
  return {
    name: 'busy',
    parameters: { every, size },
    onBook(book, desk) {
      const { market } = book
      if (desk.now - last < every || !book.hasBid || book.bid <= 1000) return
      const step = steps.get(market) ?? 0
      const working = desk.working(market, 'bid')
      if (step > 0 && working === 0) { steps.set(market, 0); return }
      last = desk.now
      steps.set(market, (step + 1) % 3)
      if (step === 2) return desk.pull(market)
      desk.quote(market, { side: 'bid', price: book.step(book.bid, step === 0 ? -6 : -7), size, positionMax: 20, why: 'busy' })
    },
  }
}
`
const SETTINGS = `limits:
  orderContracts: 20
  positionContracts: 100
  marketLossDollars: 100
  eventLossDollars: 200
  sessionLossDollars: 1000
  ordersOpen: 200
  ordersPerSecond: 10
  collarCents: 20
  feedSilenceSeconds: 10
  orderAgeSeconds: 300
live:
  cashDollars: 2000
  orderGroupContracts: 500
`

const STAGES = ['exchange → frame', 'frame → decision', '→ intent on disk', '→ first byte', '→ answer', 'frame → byte'] as const
type Measured = { readonly stages: Readonly<Record<string, Readonly<Record<(typeof STAGES)[number], number[]>>>>; readonly facts: Facts }
type Facts = {
  readonly messagesPerSecond: number
  readonly writes: number
  readonly acknowledged: number
  readonly other: number
  readonly load: number
  readonly moved: number
  readonly loopP99: number
}

async function measure(key: 'rsa' | 'ed25519'): Promise<Measured> {
  const dir = mkdtempSync(join(place, 'tapeline-bench-live-'))
  writeFileSync(join(dir, 'busy.mjs'), STRATEGY)
  writeFileSync(join(dir, 'tapeline.yaml'), SETTINGS)
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TAPELINE_')))
  const words = `exchange --practice --json --tier prestige --cash 100000 --key-type ${key} --markets ${markets} --rate ${rate} --duration 1h`
  const exchange = spawn(process.execPath, [program, ...words.split(' ')], { cwd: dir, env, stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const { rest, accounts } = (JSON.parse(await firstLine(exchange)) as { data: Served }).data
    const account = accounts[0] as Served['accounts'][number]
    const access = ['--environment', 'local', '--url', rest, '--key-id', account.keyId, '--key-file', account.keyFile]
    const common = ['./busy.mjs', ...access, '--series', 'KXPRACTICE15M']
    const run = (args: readonly string[]): string =>
      execFileSync(process.execPath, [program, 'live', ...args], { cwd: dir, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const arm = ['arm', ...common, '--unproven', 'a benchmark']
    const { phrase } = (JSON.parse(run([...arm, '--dry-run', '--json'])) as { data: { phrase: string } }).data
    run([...arm, '--confirm', phrase])
    const load = loadavg()[0] as number
    const live = spawn(
      process.execPath,
      [...node, program, 'live', ...common, '--unwatched', 'a benchmark', '--duration', `${seconds}s`, '--out', 's', '--json'],
      {
        cwd: dir,
        env,
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    let errors = ''
    live.stderr.on('data', (text: Buffer) => (errors += text.toString()))
    const code = await new Promise((resolve) => live.once('close', resolve))
    if (code !== 0) throw new Error(`tapeline live ended with ${String(code)}: ${errors}`)
    const measured = await read(join(dir, 's'), (load + (loadavg()[0] as number)) / 2)
    if (kept !== null) {
      mkdirSync(kept, { recursive: true })
      execFileSync('cp', ['-r', dir, kept])
    }
    return measured
  } finally {
    if (exchange.exitCode === null) {
      exchange.kill('SIGINT')
      await new Promise((resolve) => exchange.once('close', resolve))
    }
    rmSync(dir, { recursive: true, force: true })
  }
}
type Served = { readonly rest: string; readonly accounts: readonly { readonly keyId: string; readonly keyFile: string }[] }

type Outcome = {
  readonly order: number | null
  readonly type: string
  readonly outcome: string
  readonly made: number
  readonly synced: number
  readonly sent: number | null
  readonly answered: number
}
async function read(dir: string, load: number): Promise<Measured> {
  const { journal } = await readRun(dir)
  // The venue numbers its commands as the journal has them: when each was decided, by the session's time.
  const decided: number[] = []
  for (let i = 0; i < journal.length; i++) if (journal.kind[i] === JournalKind.COMMAND) decided.push(journal.time[i] as number)
  const lags = new Map<number, number>()
  let [messages, from, to] = [0, 0, 0]
  const { pieces } = await readSession(dir, { decode: 'thread' })
  for await (const piece of pieces) {
    if (piece.type !== 'rows') continue
    const { batch } = piece
    for (let i = 0; i < batch.length; i++) {
      const [time, kind, flags] = [batch.time[i] as number, batch.kind[i] as number, batch.flags[i] as number]
      if ((flags & Flag.CHECKPOINT) !== 0) continue
      if (kind !== Kind.DELTA && kind !== Kind.TRADE) continue
      if (from === 0) from = time
      to = time
      messages++
      lags.set(time, time - (batch.timeVenue[i] as number))
    }
  }
  const intents = new Map<string, number[]>()
  const stages: Record<string, Record<(typeof STAGES)[number], number[]>> = {}
  let [writes, acknowledged, other] = [0, 0, 0]
  for (const { kind, detail } of await readInputs(dir)) {
    if (kind === 'intent') {
      const intent = detail as { readonly kind: string; readonly order?: number; readonly command: number | null }
      if (intent.command === null || intent.order === undefined) continue
      const name = `${intent.kind} ${intent.order}`
      intents.set(name, [...(intents.get(name) ?? []), intent.command])
    }
    if (kind !== 'outcome') continue
    const o = detail as Outcome
    const command = o.order === null ? undefined : intents.get(`${o.type} ${o.order}`)?.shift()
    if (command === undefined) continue
    writes++
    if (o.outcome === 'acknowledged') acknowledged++
    const time = decided[command] as number
    const lag = lags.get(time)
    // The end takes orders back without a message of the market.
    if (o.outcome !== 'acknowledged' || o.sent === null || lag === undefined) {
      other++
      continue
    }
    const values = [lag, o.made - time, o.synced - o.made, o.sent - o.synced, o.answered - o.sent, o.sent - time]
    for (const type of [o.type, 'all']) {
      const of = (stages[type] ??= Object.fromEntries(STAGES.map((s) => [s, [] as number[]])) as Record<(typeof STAGES)[number], number[]>)
      STAGES.forEach((s, i) => void of[s].push(values[i] as number))
    }
  }
  const status = JSON.parse(readFileSync(join(dir, 'status.json'), 'utf8')) as { rows: { moved: number }; loop: { p99: number } }
  const messagesPerSecond = Math.round((messages / (to - from)) * 1e6)
  return { stages, facts: { messagesPerSecond, writes, acknowledged, other, load, moved: status.rows.moved, loopP99: status.loop.p99 } }
}

async function firstLine(child: ChildProcess): Promise<string> {
  let text = ''
  for await (const part of child.stdout ?? []) {
    text += String(part)
    if (text.includes('\n')) break
  }
  return text
}

const quantile = (values: readonly number[], p: number): number => [...values].sort((a, b) => a - b)[Math.floor(values.length * p)] ?? 0
const median = (values: readonly number[]): number => quantile(values, 0.5)
const results: Record<string, unknown> = {}
const line = (cells: readonly string[]): void =>
  void process.stdout.write(`${cells.map((c, k) => (k === 0 ? c.padEnd(16) : c.padStart(20))).join('')}\n`)
line(['p50/p90/p99 ms', ...STAGES])
for (const key of keys) {
  const measured: Measured[] = []
  for (let k = 0; k < runs; k++) measured.push(await measure(key))
  const figures: Record<string, Record<string, number[]>> = {}
  for (const type of ['create', 'amend', 'cancel', 'all']) {
    figures[type] = {}
    // Of several runs the median of each figure: one that was disturbed must not move it.
    for (const s of STAGES)
      figures[type][s] = [0.5, 0.9, 0.99].map((p) => median(measured.map((m) => quantile(m.stages[type]?.[s] ?? [], p))) / 1000)
    line([`${key} ${type}`, ...STAGES.map((s) => (figures[type]?.[s] ?? []).map((x) => x.toFixed(2)).join(' / '))])
  }
  results[key] = { figures, runs: measured.map((m) => m.facts) }
  for (const { facts } of measured) process.stdout.write(`  ${JSON.stringify(facts)}\n`)
}
process.stdout.write(`${JSON.stringify({ seconds, markets, rate, results })}\n`)
