/**
 * The soak: a local exchange, a feed into `paper` or `record`, a reconnect forced every minute, a line of figures every ten seconds, and at the end their slopes. Owns the course and the slopes;
 * hides the processes, and ends those that it started. Not part of the tests: it takes as long as it is told.
 *
 * `node dist/bench-soak.js` (record, 30 minutes) · `node dist/bench-soak.js --minutes 10 --paper 1 --markets 8 --rate 125`
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

function option(name: string, standard: number): number {
  const at = process.argv.indexOf(`--${name}`)
  const value = at < 0 ? standard : Number(process.argv[at + 1])
  if (!Number.isSafeInteger(value) || value < 0) {
    process.stderr.write(`error: --${name} takes a whole number\n`)
    process.exit(2)
  }
  return value
}
const minutes = option('minutes', 30)
const paper = option('paper', 0) > 0
const markets = option('markets', 8)
const rate = option('rate', 125)
const reconnect = option('reconnect', 60)
/** Seconds between two parts of a recording: rows that wait for their part are memory too, and no leak. */
const rotate = option('rotate', 60)
/** Left out of the slopes. */
const warm = option('warm', 5)
const dir = resolve(`soak-${new Date().toISOString().replace(/[-:]|\.\d+/g, '')}`)
const program = process.env['SOAK_PROGRAM'] ?? fileURLToPath(new URL('tapeline.js', import.meta.url))
const probe = process.env['SOAK_PROBE_MODULE'] ?? fileURLToPath(new URL('bench-soak-probe.js', import.meta.url))
const samples = join(dir, 'samples.ndjson')
mkdirSync(dir, { recursive: true })

type Sample = Readonly<Record<string, number>>
const children: ChildProcess[] = []
function start(name: string, args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, ['--import', probe, program, ...args], {
    cwd: dir,
    env: { ...process.env, SOAK_PROBE: join(dir, `${name}.ndjson`) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stderr?.on('data', (text: Buffer) => appendFileSync(join(dir, `${name}.err`), text))
  children.push(child)
  return child
}
async function firstLine(child: ChildProcess): Promise<string> {
  let text = ''
  for await (const part of child.stdout ?? []) {
    text += String(part)
    if (text.includes('\n')) break
  }
  return text
}

const exchange = start('exchange', [
  ...'exchange --practice --json --admin-port 0 --key-type ed25519 --tier premier'.split(' '),
  ...`--markets ${markets} --rate ${rate} --duration ${minutes + 5}m`.split(' '),
])
const { data } = JSON.parse(await firstLine(exchange)) as {
  data: { rest: string; admin: string; accounts: { keyId: string; keyFile: string }[]; markets: string[] }
}
const account = data.accounts[0] ?? { keyId: '', keyFile: '' }
const series = [...new Set(data.markets.map((ticker) => ticker.split('-')[0] ?? ''))]
const session = paper ? 'session' : 'tape'
const feed = start('feed', [
  ...(paper ? `paper --strategy lean --out ${session}` : `record --tape ${session} --rotate ${rotate}s`).split(' '),
  ...`--environment local --url ${data.rest} --key-id ${account.keyId} --key-file ${account.keyFile}`.split(' '),
  ...series.flatMap((name) => ['--series', name]),
  ...`--duration ${minutes}m --json`.split(' '),
])
feed.stdout?.on('data', (text: Buffer) => appendFileSync(join(dir, 'feed.out'), text))
const over = new Promise<number | null>((done) => feed.once('close', done))
process.stderr.write(`soak: ${dir}, ${minutes} minutes, ${series.join(', ')}\n`)
process.once('SIGINT', () => feed.kill('SIGINT'))

const reconnects = setInterval(() => {
  void fetch(`${data.admin}/sockets`, { method: 'POST', body: JSON.stringify({ do: 'disconnect' }) }).catch(() => {})
}, reconnect * 1000)
const watch = setInterval(() => {
  const own = lastLine(join(dir, 'feed.ndjson'))
  const status = join(dir, session, 'status.json')
  if (own === null || !existsSync(status)) return
  try {
    const s = JSON.parse(readFileSync(status, 'utf8')) as {
      rows: { total: number; perSecond: number }
      feed: {
        marketsSynced: number
        marketsUnsynced: number
        rowsDropped: number
        connections: { connects: number }[]
        uptime: number | null
      }
      decision?: { p50: number; p99: number } | null
    }
    const other = lastLine(join(dir, 'exchange.ndjson'))
    const line: Sample = {
      ...own,
      rows: s.rows.total,
      rowsPerSecond: s.rows.perSecond,
      synced: s.feed.marketsSynced / Math.max(1, s.feed.marketsSynced + s.feed.marketsUnsynced),
      uptime: s.feed.uptime ?? 0,
      dropped: s.feed.rowsDropped,
      connects: s.feed.connections.reduce((a, c) => a + c.connects, 0),
      decisionP50: s.decision?.p50 ?? 0,
      decisionP99: s.decision?.p99 ?? 0,
      exchangeCpu: other?.['cpu'] ?? 0,
      exchangeRss: other?.['rss'] ?? 0,
    }
    appendFileSync(samples, `${JSON.stringify(line)}\n`)
  } catch {}
}, 10_000)

const code = await over
clearInterval(reconnects)
clearInterval(watch)
exchange.kill('SIGINT')
await new Promise((done) => exchange.once('close', done))
const lines = existsSync(samples)
  ? readFileSync(samples, 'utf8')
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l) as Sample)
  : []
const from = (lines[0]?.['time'] ?? 0) + warm * 60_000
const kept = lines.filter((l) => (l['time'] as number) >= from)
process.stdout.write(`${kept.length} samples after the first ${warm} minutes; exit ${code}\n`)
for (const name of Object.keys(kept[0] ?? {}).filter((n) => n !== 'time')) {
  const values = kept.map((l) => l[name] as number)
  const sorted = [...values].sort((a, b) => a - b)
  const shown = (x: number): string => x.toPrecision(4)
  process.stdout.write(
    `${name.padEnd(14)} median ${shown(sorted[Math.floor(sorted.length / 2)] ?? 0)}  min ${shown(sorted[0] ?? 0)}  max ${shown(sorted.at(-1) ?? 0)}  slope ${shown(
      slope(
        kept.map((l) => (l['time'] as number) / 3_600_000),
        values,
      ),
    )} an hour\n`,
  )
}
if (!paper && code === 0)
  process.stdout.write(execFileSync(process.execPath, [program, 'data', 'verify', join(dir, session)], { encoding: 'utf8' }))

function lastLine(path: string): Sample | null {
  if (!existsSync(path)) return null
  const line = readFileSync(path, 'utf8').trim().split('\n').at(-1)
  return line === undefined || line === '' ? null : (JSON.parse(line) as Sample)
}
/** Least squares. */
function slope(x: readonly number[], y: readonly number[]): number {
  const mean = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0) / Math.max(1, v.length)
  const [mx, my] = [mean(x), mean(y)]
  let [above, below] = [0, 0]
  x.forEach((v, i) => {
    above += (v - mx) * ((y[i] as number) - my)
    below += (v - mx) ** 2
  })
  return below === 0 ? 0 : above / below
}
