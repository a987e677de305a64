/**
 * The benchmark of the live feed: frames a second from text to rows on one thread, and how long one frame takes. Owns the workload (frames of the shape that KXBTC15M sends, made from a
 * seed); prints a table and one JSON line. Checking, sequence, books, labels and batches are in it; sockets are not.
 *
 * `node dist/bench-feed.js` (200,000 frames, 5 markets) · `node dist/bench-feed.js --frames 1000000 --markets 200`
 */
import { cpus } from 'node:os'
import { FeedCore } from '../adapters/kalshi/core.ts'
import { readFrame } from '../adapters/kalshi/wire/stream.ts'
import { Random } from '../adapters/practice/random.ts'
import { formatPrice, formatQuantity } from '../engine/units.ts'

function option(name: string, standard: number): number {
  const at = process.argv.indexOf(`--${name}`)
  const value = at < 0 ? standard : Number(process.argv[at + 1])
  if (!Number.isSafeInteger(value) || value < 1) {
    process.stderr.write(`error: --${name} takes a whole number above zero\n`)
    process.exit(2)
  }
  return value
}
const count = option('frames', 200_000)
const markets = option('markets', 5)
const repeat = option('repeat', 3)
const START = 1_795_000_000_000_000
const STEP = 100

type Script = { readonly frames: readonly string[]; readonly kinds: Readonly<Record<string, number>> }
const ticker = (m: number): string => `KXBTC15M-26NOV251200-${String(m).padStart(2, '0')}`
const iso = (us: number): string => new Date(Math.floor(us / 1000)).toISOString().replace('Z', `${String(us % 1000).padStart(3, '0')}Z`)

/** Half of the deltas are amends (−q, +q in one µs), a tenth trades with their print, a ticker every hundred frames: as recorded. */
function script(): Script {
  const random = new Random(7)
  const below = (n: number): number => random.uint32() % n
  const books = Array.from({ length: markets }, () => [new Map<number, number>(), new Map<number, number>()] as const)
  const frames: string[] = []
  const kinds: Record<string, number> = {}
  let seq = 0
  let trades = 0
  const sending = (): string => `"sending_ts_ms":${Math.floor((START + frames.length * STEP) / 1000)}`
  const put = (kind: string, text: string): void => {
    frames.push(text)
    kinds[kind] = (kinds[kind] ?? 0) + 1
  }
  const delta = (m: number, side: number, price: number, change: number, venue: number): void => {
    const book = books[m]?.[side as 0 | 1] as Map<number, number>
    const left = (book.get(price) ?? 0) + change
    if (left === 0) book.delete(price)
    else book.set(price, left)
    put(
      'orderbook_delta',
      `{"type":"orderbook_delta","sid":1,"seq":${++seq},${sending()},"msg":{"market_ticker":"${ticker(m)}","market_id":"17961d0e-03e3-43b8-bd61-dad719669926","price_dollars":"${formatPrice(price)}","delta_fp":"${formatQuantity(change)}","side":"${side === 0 ? 'yes' : 'no'}","ts":"${iso(venue)}","ts_ms":${Math.floor(venue / 1000)}}}`,
    )
  }
  for (let m = 0; m < markets; m++) {
    const book = books[m] as (typeof books)[number]
    for (let k = 1; k <= 40; k++) {
      book[0].set(5_000 - k * 100, 10_000 + below(50_000))
      book[1].set(5_000 + k * 100, 10_000 + below(50_000))
    }
    const list = (side: 0 | 1): string => JSON.stringify([...book[side]].map(([p, q]) => [formatPrice(p), formatQuantity(q)]))
    put(
      'orderbook_snapshot',
      `{"type":"orderbook_snapshot","sid":1,"seq":${++seq},${sending()},"msg":{"market_ticker":"${ticker(m)}","market_id":"x","yes_dollars_fp":${list(0)},"no_dollars_fp":${list(1)}}}`,
    )
  }
  while (frames.length < count) {
    const m = below(markets)
    const side = below(2)
    const venue = START + frames.length * STEP
    const book = books[m]?.[side as 0 | 1] as Map<number, number>
    const away = (k: number): number => (side === 0 ? 5_000 - k * 100 : 5_000 + k * 100)
    const u = below(100)
    if (u < 46) {
      const price = away(1 + below(40))
      const q = Math.min(book.get(price) ?? 0, 100 * (1 + below(50)))
      if (q === 0) continue
      delta(m, side, price, -q, venue)
      delta(m, side, away(1 + below(40)), q, venue)
    } else if (u < 90) {
      delta(m, side, away(1 + below(40)), 100 * (1 + below(50)), venue)
    } else if (u < 99) {
      const price = away(1)
      const q = Math.min(book.get(price) ?? 0, 100 * (1 + below(20)))
      if (q === 0) continue
      delta(m, side, price, -q, venue)
      put(
        'trade',
        `{"type":"trade","sid":2,"seq":${++trades},${sending()},"msg":{"trade_id":"${trades}-b500-57c6-efa2-c31d94d916c1","market_ticker":"${ticker(m)}","yes_price_dollars":"${formatPrice(price)}","no_price_dollars":"${formatPrice(10_000 - price)}","count_fp":"${formatQuantity(q)}","taker_side":"${side === 0 ? 'no' : 'yes'}","taker_outcome_side":"${side === 0 ? 'no' : 'yes'}","taker_book_side":"${side === 0 ? 'ask' : 'bid'}","is_block_trade":false,"ts":${Math.floor(venue / 1e6)},"ts_ms":${Math.floor(venue / 1000)}}}`,
      )
    } else
      put(
        'ticker',
        `{"type":"ticker","sid":3,${sending()},"msg":{"market_ticker":"${ticker(m)}","market_id":"x","price_dollars":"0.4900","yes_bid_dollars":"0.4900","yes_ask_dollars":"0.5100","volume_fp":"33896.00","open_interest_fp":"20422.00","dollar_volume":16948,"dollar_open_interest":10211,"yes_bid_size_fp":"300.00","yes_ask_size_fp":"150.00","last_trade_size_fp":"25.00","ts":${Math.floor(venue / 1e6)},"ts_ms":${Math.floor(venue / 1000)},"time":"${iso(venue)}"}}`,
      )
  }
  return { frames, kinds }
}

/** A core whose markets are known and subscribed. */
function subscribed(): FeedCore {
  const sent: string[] = []
  let lists = 0
  let now = START - 10_000_000
  const tickers = Array.from({ length: markets }, (_, m) => ticker(m))
  const core = new FeedCore(
    { rule: { tickers, marketsMax: markets }, marketsPerSocket: markets },
    { next: () => 0 },
    { keep: () => {} },
    (action) => {
      if (action.kind === 'send') sent.push(action.text)
      else if (action.kind === 'read' && action.request.kind === 'markets') lists++
    },
    now,
  )
  core.tick(now)
  core.opened(0, now)
  const items = tickers.map((t) => ({
    ticker: t,
    event_ticker: 'KXBTC15M-26NOV251200',
    status: 'active' as const,
    open_time: iso(START - 3_600_000_000),
    close_time: iso(START + 86_400_000_000),
    result: '' as const,
    price_ranges: [{ start: '0.0000', end: '1.0000', step: '0.0100' }],
    yes_bid_dollars: '0.4900',
    yes_ask_dollars: '0.5100',
    volume_fp: '0.00',
    volume_24h_fp: '0.00',
  }))
  for (; lists > 0; lists--) core.listed({ kind: 'markets', tickers }, { items, complete: true, why: '', pages: 1 }, now)
  core.event({ event_ticker: 'KXBTC15M-26NOV251200', series_ticker: 'KXBTC15M', mutually_exclusive: false }, now)
  core.tick((now += 1_000_000))
  core.series({ ticker: 'KXBTC15M', title: 'Bitcoin', fee_type: 'quadratic', fee_multiplier: 1 }, now)
  core.tick((now += 1_000_000))
  const sids: Record<string, number> = { orderbook_delta: 1, trade: 2, ticker: 3, market_lifecycle_v2: 4 }
  for (const text of sent) {
    const { id, cmd, params } = JSON.parse(text) as { id: number; cmd: string; params?: { channels?: string[] } }
    if (cmd !== 'subscribe') continue
    for (const channel of params?.channels ?? [])
      core.frame(0, JSON.stringify({ type: 'subscribed', id, msg: { channel, sid: sids[channel] } }), now)
  }
  return core
}

const { frames, kinds } = script()
const median = (v: readonly number[]): number => [...v].sort((a, b) => a - b)[Math.floor(v.length / 2)] as number
const rate = (work: () => void): number => {
  const started = performance.now()
  work()
  return frames.length / ((performance.now() - started) / 1000)
}
let rows = 0
const whole = (): number => {
  const core = subscribed()
  rows = 0
  const result = rate(() => {
    for (let i = 0; i < frames.length; i++) {
      core.frame(0, frames[i] as string, START + i * STEP)
      if (i % 64 === 0) for (let b = core.outbox.poll(); b !== undefined; b = core.outbox.poll()) rows += b.length
    }
    for (let b = core.outbox.poll(); b !== undefined; b = core.outbox.poll()) rows += b.length
  })
  const { links, counts } = core.status()
  if (rows < frames.length / 2 || links[0]?.gaps !== 0 || counts['refused'] !== 0 || counts['negative'] !== 0)
    throw new Error('the workload is not clean')
  return result
}
const latencies = (): Float64Array => {
  const core = subscribed()
  const times = new Float64Array(frames.length)
  for (let i = 0; i < frames.length; i++) {
    const started = performance.now()
    core.frame(0, frames[i] as string, START + i * STEP)
    for (let b = core.outbox.poll(); b !== undefined; b = core.outbox.poll()) rows += b.length
    times[i] = (performance.now() - started) * 1000
  }
  return times.sort()
}
const rounds = (work: () => number): number => median(Array.from({ length: repeat }, work))
const parse = rounds(() => rate(() => frames.forEach((f) => JSON.parse(f))))
const checked = rounds(() => rate(() => frames.forEach((f) => readFrame(f))))
const decoded = rounds(whole)
const decodedRows = rows
const sorted = latencies()
const at = (p: number): number => sorted[Math.floor(sorted.length * p)] as number
const figures = {
  frames: frames.length,
  markets,
  rows: decodedRows,
  framesPerSecond: Math.round(decoded),
  parsePerSecond: Math.round(parse),
  checkedPerSecond: Math.round(checked),
  microsecondsP50: Number(at(0.5).toFixed(2)),
  microsecondsP99: Number(at(0.99).toFixed(2)),
}
process.stdout.write(
  `${frames.length.toLocaleString('en-US')} frames of ${markets} markets (${Object.entries(kinds)
    .map(([k, n]) => `${k} ${n}`)
    .join(', ')}), median of ${repeat}; ${cpus().length} × ${cpus()[0]?.model ?? 'cpu'}, Node ${process.version}\n` +
    `JSON.parse alone      ${(parse / 1e3).toFixed(0)} k frames/s\n` +
    `… and checked         ${(checked / 1e3).toFixed(0)} k frames/s\n` +
    `frame → rows          ${(decoded / 1e3).toFixed(0)} k frames/s, ${decodedRows.toLocaleString('en-US')} rows\n` +
    `one frame → its rows  p50 ${figures.microsecondsP50} µs, p99 ${figures.microsecondsP99} µs\n${JSON.stringify(figures)}\n`,
)
