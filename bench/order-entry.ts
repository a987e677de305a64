/**
 * The benchmark of order entry: command → intent on disk → first byte on the socket → answer, against the local exchange in a process of its own on loopback. Owns the workload (immediate orders that meet
 * nobody, one after another); prints a table and one JSON line. The log, its sync, the gate, signing and sockets are in it; the engine is not.
 *
 * `node dist/bench-order-entry.js` (500 orders for each kind of key) · `node dist/bench-order-entry.js --orders 2000 --pause 2`
 */
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Exchange, ExchangeServer, giveKey, realNow, VirtualClock } from '../adapters/exchange/index.ts'
import { environmentOf } from '../adapters/kalshi/environment.ts'
import { FileQuarantine, Signer, systemWorld } from '../adapters/kalshi/index.ts'
import { Budget } from '../adapters/kalshi/rate-limit.ts'
import { Rest } from '../adapters/kalshi/rest.ts'
import { Gate } from '../adapters/kalshi/venue/gate.ts'
import { KalshiVenue } from '../adapters/kalshi/venue/venue.ts'
import { AppendLog } from '../data/log.ts'
import { FrameKind } from '../data/log-reader.ts'
import type { Market } from '../engine/market.ts'
import { Order } from '../engine/order.ts'
import { MINUTE, type Price, type Quantity } from '../engine/units.ts'
import type { Wish } from '../engine/wish.ts'

const TICKER = 'KXBENCH-A'
const KEYS = ['rsa', 'ed25519'] as const
type Served = {
  readonly url: string
  readonly keys: Readonly<Record<(typeof KEYS)[number], { readonly keyId: string; readonly privatePem: string }>>
}

function option(name: string, standard: number): number {
  const at = process.argv.indexOf(`--${name}`)
  const value = at < 0 ? standard : Number(process.argv[at + 1])
  if (!Number.isSafeInteger(value) || value < 0) {
    process.stderr.write(`error: --${name} takes a whole number\n`)
    process.exit(2)
  }
  return value
}

/** The other process: an exchange with one market and an account for each kind of key. */
async function serve(): Promise<void> {
  const realStart = realNow()
  const exchange = new Exchange({ start: realStart, readLag: 0 })
  exchange.list({
    ticker: TICKER,
    event: 'KXBENCH',
    series: 'KXBENCH',
    title: 'Benchmark',
    openTime: 0,
    closeTime: realStart + 60 * MINUTE,
    grid: [{ start: 0, end: 10_000, step: 100 }],
    fee: { type: 'quadratic', multiplier: 10_000 },
    exclusive: false,
  })
  const account = exchange.openAccount('bench', [{ shard: 0, amount: 1e12 }], 'prestige')
  const server = new ExchangeServer({ exchange, clock: new VirtualClock({ virtualStart: realStart, realStart, scale: 1 }), drivers: [] })
  await server.start()
  const served: Served = {
    url: new URL(server.url).origin,
    keys: { rsa: giveKey(exchange, account, 'rsa'), ed25519: giveKey(exchange, account, 'ed25519') },
  }
  process.send?.(served)
  process.on('disconnect', () => process.exit(0))
}

type Stages = Record<'sync' | 'gate' | 'answer' | 'whole', number[]>
async function measure(served: Served, key: (typeof KEYS)[number], signAhead: number, orders: number, pause: number): Promise<Stages> {
  const dir = mkdtempSync(join(tmpdir(), 'tapeline-bench-'))
  const log = await AppendLog.open(join(dir, 'log'))
  const world = systemWorld(new FileQuarantine('/dev/null'))
  const environment = environmentOf(served.url)
  const signer = Signer.fromPem(served.keys[key].keyId, served.keys[key].privatePem)
  const budget = new Budget({ read: { perSecond: 1e6, capacity: 1e6 }, write: { perSecond: 1e6, capacity: 1e6 } })
  const rest = new Rest(environment, signer, budget, world)
  const gate = new Gate(
    {
      environment,
      signer,
      clock: world.clock,
      timers: world.timers,
      http: world.http,
      budget,
      caps: { orderMax: 100_000, notionalMax: 1e9, collar: 10_000, ordersPerSecond: 1e6, ordersOpen: 1e6 },
      killed: () => null,
      holdsLock: () => true,
      synced: () => log.syncedSequence,
      permits: () => null,
      reference: () => 5000,
      closes: () => Infinity,
      ordersOpen: () => 1,
    },
    { signAhead },
  )
  gate.prepare()
  const stages: Stages = { sync: [], gate: [], answer: [], whole: [] }
  let ended: () => void = () => {}
  const venue: KalshiVenue = new KalshiVenue(
    {
      gate,
      rest,
      clock: world.clock,
      timers: world.timers,
      record: (_kind: string, detail: unknown) =>
        log.appendJson(FrameKind.INPUT, { row: 0, time: world.clock.now(), kind: 'intent', detail }),
      sync: () => log.sync(),
      enter: () => {},
      wanted: () => {},
      failed: (error) => {
        throw error
      },
      passed: (_intent, { times, outcome }, made, synced) => {
        if (outcome.kind !== 'acknowledged' || times.sent === null) throw new Error(`an order ended ${JSON.stringify(outcome)}`)
        stages.sync.push(synced - made)
        stages.gate.push(times.sent - synced)
        stages.answer.push(times.ended - times.sent)
        stages.whole.push(times.sent - made)
        ended()
      },
      orderGroup: () => null,
      shardOf: () => 0,
    },
    { nonce: `b${key}${signAhead}`, generation: 1, subaccount: 0, start: 0 },
  )
  await new Promise((resolve) => setTimeout(resolve, 300))
  for (let k = 0; k < orders + 50; k++) {
    const order = new Order(k, { ticker: TICKER } as Market, 0, 0, 5000 as Price, 100 as Quantity, 'ioc', false, null, {} as Wish)
    const answered = new Promise<void>((resolve) => (ended = resolve))
    venue.send({ type: 'submit', order, price: order.price, quantity: order.quantity })
    await venue.flush()
    await answered
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause))
  }
  // The first ones warm up.
  for (const times of Object.values(stages)) times.splice(0, 50)
  venue.close()
  rest.stop()
  await world.close()
  await log.close()
  rmSync(dir, { recursive: true, force: true })
  return stages
}

async function main(): Promise<void> {
  const orders = option('orders', 500)
  const pause = option('pause', 5)
  const child = fork(process.argv[1] as string, ['--serve'])
  const served = await new Promise<Served>((resolve) => child.once('message', (m) => resolve(m as Served)))
  const results: Record<string, Record<string, readonly [number, number]>> = {}
  const row = (cells: readonly string[]): void =>
    void process.stdout.write(`${cells.map((c, k) => (k === 0 ? c.padEnd(22) : c.padStart(18))).join('')}\n`)
  row(['p50 / p99 in µs', 'intent synced', 'first byte', 'answer', 'command → byte'])
  for (const key of KEYS) {
    for (const ahead of [0, 4]) {
      const stages = await measure(served, key, ahead, orders, pause)
      const of = (times: number[]): readonly [number, number] => {
        times.sort((a, b) => a - b)
        return [times[Math.floor(times.length / 2)] as number, times[Math.floor(times.length * 0.99)] as number]
      }
      const name = `${key}${ahead > 0 ? ', signed ahead' : ''}`
      const figures = Object.fromEntries(Object.entries(stages).map(([stage, times]) => [stage, of(times)]))
      results[name] = figures
      row([name, ...Object.values(figures).map(([p50, p99]) => `${p50} / ${p99}`)])
    }
  }
  process.stdout.write(`${JSON.stringify({ orders, pause, results })}\n`)
  child.disconnect()
}
await (process.argv.includes('--serve') ? serve() : main())
