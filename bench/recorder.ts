/**
 * The recorder's benchmark: what a row costs on its way into a tape. Owns the workloads; prints a table and one JSON line.
 *
 * `node dist/bench-recorder.js [--rows 2000000] [--seconds 15]`, in the folder whose disk is meant: rows a second through log and parts, the share of a core at 2,000 messages a
 * second, how long a sync takes, and columns against JSON lines as the form of the log.
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { PracticeMarket } from '../adapters/practice/population.ts'
import { Recorder } from '../adapters/recorder/recorder.ts'
import { PRACTICE_GRID } from '../adapters/practice/population.ts'
import { AppendLog } from '../data/log.ts'
import { appendRows } from '../data/log-rows.ts'
import { createBatch, Flag, Kind, pushRow, type Batch } from '../engine/message.ts'

function option(name: string, standard: number): number {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? standard : Number(process.argv[at + 1])
}
const rows = option('rows', 2_000_000)
const seconds = option('seconds', 15)
mkdirSync('tapes', { recursive: true })
const dir = mkdtempSync(join('tapes', 'bench-recorder-'))
const START = 1_790_000_000_000_000

/** Rows of `markets` practice markets that take turns, in batches of about `size`, one exchange message after another. */
function* batches(markets: number, size: number, total: number, gap: number): IterableIterator<Batch> {
  let time = START
  let current = 0
  let made = 0
  let batch = createBatch(size + 4096 + markets * 256)
  const life = total * gap * 2 + 1e9
  const all = Array.from({ length: markets }, (_, m) => {
    return new PracticeMarket(m + 1, START, START + life, (kind, flags, side, price, quantity) => {
      pushRow(batch, time, time - 5_000, current, kind, flags, side, price, quantity)
      made++
    })
  })
  for (const [m, market] of all.entries()) {
    current = m
    const ticker = `KXBENCH-26JAN01-B${m}`
    const catalog = {
      ticker,
      event: 'KXBENCH-26JAN01',
      series: 'KXBENCH',
      title: ticker,
      exclusive: false,
      strike: null,
      openTime: START,
      closeTime: START + life,
    }
    const detail = { ...catalog, status: 'active', grid: PRACTICE_GRID, fee: { type: 'quadratic', multiplier: 10_000 } }
    pushRow(batch, time, time, m, Kind.CATALOG, Flag.LAST, 0, 0, 0, JSON.stringify(detail))
    market.open()
  }
  while (made < total) {
    time += gap
    current = (current + 1) % markets
    all[current]?.act(time)
    if (batch.length < size) continue
    yield batch
    batch = createBatch(size + 256)
  }
}
const folderBytes = (path: string): number =>
  (readdirSync(path, { recursive: true }) as string[]).reduce(
    (sum, f) => sum + (statSync(join(path, f)).isFile() ? statSync(join(path, f)).size : 0),
    0,
  )
const cpu = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
const results: Record<string, number> = {}
const say = (name: string, value: number, unit: string): void => {
  results[name] = Number(value.toPrecision(4))
  process.stdout.write(`${name.padEnd(58)} ${value >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3)} ${unit}\n`)
}

async function forms(): Promise<void> {
  for (const size of [1, 16, 256]) {
    const some = [...batches(20, size, 200_000, 500)]
    const n = some.reduce((a, b) => a + b.length, 0)
    const log = await AppendLog.open(join(dir, `columns-${size}`), { durable: false, segmentBytes: 1 << 30 })
    let started = performance.now()
    let before = 0
    for (const b of some) {
      appendRows(log, b, b.market, before)
      before += b.length
    }
    const columns = performance.now() - started
    const bytes = log.position.offset
    await log.remove()
    const fd = openSync(join(dir, 'lines.ndjson'), 'w')
    started = performance.now()
    let text = 0
    for (const b of some) {
      let lines = ''
      for (let i = 0; i < b.length; i++) {
        const d = b.detail[i] as number
        lines += `${JSON.stringify([b.time[i], b.timeVenue[i], b.market[i], b.kind[i], b.flags[i], b.side[i], b.price[i], b.quantity[i], d < 0 ? null : b.details[d]])}\n`
      }
      text += writeSync(fd, lines)
    }
    const json = performance.now() - started
    closeSync(fd)
    say(`log, columns, batches of ${size}`, n / columns / 1000, `M rows/s, ${(bytes / n).toFixed(0)} bytes a row`)
    say(`log, JSON lines, batches of ${size}`, n / json / 1000, `M rows/s, ${(text / n).toFixed(0)} bytes a row (no checksum)`)
  }
}

async function throughput(): Promise<void> {
  const path = join(dir, 'fast')
  const some = [...batches(100, 256, rows, 500)]
  const recorder = await Recorder.open(path, { source: 'bench', practice: true, spaceMin: 0 })
  const started = performance.now()
  const used = cpu()
  const feed = {
    async *batches() {
      yield* some
    },
  }
  for await (const _ of recorder.through(feed).batches()) continue
  const { rows: n } = recorder.status
  await recorder.finish()
  const wall = (performance.now() - started) / 1000
  say('recorder, as fast as it goes, into finished parts', n / wall / 1e6, 'M rows/s')
  say('  CPU a million rows', ((cpu() - used) / n) * 1e6, 's')
  say('  tape', folderBytes(path) / n, 'bytes a row')
}

async function steady(): Promise<void> {
  const path = join(dir, 'steady')
  const recorder = await Recorder.open(path, { source: 'bench', practice: true, spaceMin: 0, rotate: { every: 5_000_000 } })
  const some = batches(200, 4, 1e9, 500)
  const used = cpu()
  const started = performance.now()
  const lag: number[] = []
  let sent = 0
  while (performance.now() - started < seconds * 1000) {
    const due = ((performance.now() - started) / 1000) * 2000
    for (; sent < due; ) {
      const before = performance.now()
      const { value } = some.next()
      if (value === undefined) break
      const made = performance.now()
      recorder.write(value)
      lag.push(performance.now() - made)
      sent += value.length
      // What it costs to invent rows is not the recorder's.
      invented += made - before
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const wall = (performance.now() - started) / 1000
  const share = (cpu() - used - invented / 1000) / wall
  const { sync, rowsInParts, rows: n } = recorder.status
  say(
    '2,000 rows a second in batches of 4: share of a core',
    share * 100,
    `% (a part every 5 s; ${n} rows, ${rowsInParts} of them in parts)`,
  )
  lag.sort((a, b) => a - b)
  say('  a write, median', (lag[Math.floor(lag.length / 2)] as number) * 1000, 'µs')
  say('  a write, 99.9 %', (lag[Math.floor(lag.length * 0.999)] as number) * 1000, 'µs')
  say('  longest time a row waited to be on disk', sync.unsyncedMax, 'ms')
  await recorder.finish()
}
let invented = 0

async function syncs(): Promise<void> {
  const log = await AppendLog.open(join(dir, 'sync'))
  const [batch] = [...batches(1, 8, 1000, 500)] as [Batch]
  const times: number[] = []
  for (let i = 0; i < 500; i++) {
    appendRows(log, batch, batch.market, i * batch.length)
    const started = performance.now()
    await log.sync()
    times.push(performance.now() - started)
  }
  await log.remove()
  times.sort((a, b) => a - b)
  for (const q of [0.5, 0.9, 0.99, 1])
    say(`a sync, ${q === 1 ? 'longest' : `${q * 100} %`} of 500`, times[Math.min(499, Math.floor(q * 500))] as number, 'ms')
}

try {
  await forms()
  await syncs()
  await throughput()
  await steady()
  process.stdout.write(`${JSON.stringify(results)}\n`)
} finally {
  rmSync(dir, { recursive: true, force: true })
}
