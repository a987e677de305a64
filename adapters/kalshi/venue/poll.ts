/**
 * Reading again and again what the private stream only hints at: orders, fills, single orders, queue positions, and whether the exchange is paused. Owns when each is read and from where on; hides the walks.
 * Invariant: the window of fills moves on only over lists that were whole, and never beyond what the exchange says its data holds.
 */
import { parseQuantity, SECOND } from '../../../engine/units.ts'
import { digits } from '../../../data/import/translate.ts'
import { KalshiError } from '../errors.ts'
import type { Timer, World } from '../ports.ts'
import { Priority } from '../rate-limit.ts'
import type { Rest } from '../rest.ts'
import type { Answer } from '../wire/answers.ts'
import { Cadence } from './cadence.ts'
import type { OrderFact, Sweep } from './evidence.ts'
import { orderOfAnswer } from './facts.ts'
import { READ, Sweeper, type SweepRead } from './sweep.ts'

export type QueuePosition = { readonly id: string; readonly ticker: string /** Contracts ahead, quantity units. */; readonly ahead: number }
export type PollEvent =
  | { readonly type: 'sweep'; readonly sweep: Sweep }
  /** Facts of a list that was not whole: true, but they prove nothing about what they lack. */
  | { readonly type: 'facts'; readonly orders: SweepRead['orders']; readonly fills: SweepRead['fills'] }
  | { readonly type: 'order'; readonly fact: OrderFact }
  /** A single order could not be read. `missing`: the exchange answered that it does not know it, which proves nothing. */
  | { readonly type: 'unread'; readonly id: string; readonly missing: boolean; readonly reason: string }
  | { readonly type: 'queue'; readonly time: number; readonly positions: readonly QueuePosition[] }
  | { readonly type: 'paused' | 'resumed'; readonly shard: number; readonly what: 'trading' | 'exchange' }
  | { readonly type: 'trouble'; readonly reason: string }

/** What the orders are like right now. */
export type PollNeeds = {
  /** Orders that are open at the exchange, or whose outcome is unknown. */
  readonly live: number
  /** Markets in which orders rest: their queue positions are read. */
  readonly resting: readonly string[]
  /** µs of the exchange: since when an order exists of which not all is known; null: there is none. */
  readonly since: number | null
}
export type PollOptions = {
  /** µs of the exchange: nothing of the session is older. */
  readonly start: number
  readonly subaccount?: number
  readonly pagesMax?: number
  readonly sweepEvery?: number
  readonly sweepIdle?: number
  readonly queueEvery?: number
  readonly statusEvery?: number
}

const TICKERS_PER_READ = 100
const QUEUE_TICKERS_MAX = 1_000
const READS_MAX = 1_000
/** A session that was away for long has more to read, once. */
const PAGES_FIRST = 2_000

export class Poller {
  readonly #rest: Rest
  readonly #world: Pick<World, 'clock' | 'timers'>
  readonly #options: PollOptions
  readonly #needs: () => PollNeeds
  readonly #emit: (event: PollEvent, now: number) => void
  readonly #fail: (error: unknown) => void
  readonly #sweeper: Sweeper
  readonly #sweeps: Cadence
  readonly #queues: Cadence
  readonly #statuses: Cadence
  readonly #wanted: string[] = []
  readonly #paused = new Map<string, boolean>()
  /** From here on fills may not have been seen, µs of the exchange. */
  #watermark: number
  #reading = false
  #timer: Timer | null = null
  #running = false
  readonly counts = { sweeps: 0, incomplete: 0, reads: 0, queues: 0, statuses: 0 }

  constructor(
    rest: Rest,
    world: Pick<World, 'clock' | 'timers'>,
    options: PollOptions,
    parts: {
      readonly needs: () => PollNeeds
      readonly onEvent: (event: PollEvent, now: number) => void
      readonly onFail: (error: unknown) => void
    },
  ) {
    this.#rest = rest
    this.#world = world
    this.#options = options
    this.#needs = parts.needs
    this.#emit = parts.onEvent
    this.#fail = parts.onFail
    this.#watermark = options.start
    const now = world.clock.now()
    this.#sweeper = new Sweeper(rest, () => world.clock.now(), options, Math.max(PAGES_FIRST, options.pagesMax ?? 0))
    const { sweepEvery = 5 * SECOND, sweepIdle = 30 * SECOND, queueEvery = 10 * SECOND, statusEvery = 15 * SECOND } = options
    this.#sweeps = new Cadence({ busy: sweepEvery, idle: sweepIdle, least: SECOND / 2 }, now)
    this.#queues = new Cadence({ busy: queueEvery, idle: queueEvery, least: SECOND }, now)
    this.#statuses = new Cadence({ busy: statusEvery, idle: statusEvery, least: SECOND }, now)
  }

  get watermark(): number {
    return this.#watermark
  }
  /** Before `start`: what happened until then is known. */
  restore(watermark: number): void {
    this.#watermark = Math.max(this.#watermark, watermark)
  }
  /** What is paused: `trading/0`, `exchange/2`, … */
  get paused(): readonly string[] {
    return [...this.#paused].filter(([, is]) => is).map(([key]) => key)
  }
  start(): void {
    if (this.#running) return
    this.#running = true
    this.advance()
  }
  stop(): void {
    this.#running = false
    this.#timer?.cancel()
    this.#timer = null
  }
  /** A sweep is due at once: something was missed, a connection is new, an outcome is unknown. */
  sweepNow(): void {
    this.#sweeps.ask(this.#world.clock.now())
    this.advance()
  }
  /** Single orders, by the exchange's number. */
  read(ids: readonly string[]): void {
    for (const id of ids) if (!this.#wanted.includes(id) && this.#wanted.length < READS_MAX) this.#wanted.push(id)
    this.advance()
  }
  /** A write was answered 5xx, or refused because of a pause. */
  doubted(): void {
    this.#statuses.ask(this.#world.clock.now())
    this.advance()
  }
  /** There are orders again. */
  busy(): void {
    this.#sweeps.wake(this.#world.clock.now())
    this.advance()
  }

  /** Starts what is due, and wakes up when something is. */
  advance(): void {
    if (!this.#running) return
    const { clock, timers } = this.#world
    const now = clock.now()
    if (now >= this.#sweeps.due) this.#run(this.#sweeps, () => this.#sweep())
    if (now >= this.#queues.due) this.#run(this.#queues, () => this.#queue())
    if (now >= this.#statuses.due) this.#run(this.#statuses, () => this.#status())
    if (this.#wanted.length > 0 && !this.#reading) {
      this.#reading = true
      this.#guarded(async () => {
        await this.#reads()
        this.#reading = false
        this.advance()
      })
    }
    this.#timer?.cancel()
    const due = Math.min(this.#sweeps.due, this.#queues.due, this.#statuses.due)
    this.#timer = Number.isFinite(due) ? timers.after(Math.max(0, due - now), () => this.advance()) : null
  }
  #run(cadence: Cadence, run: () => Promise<boolean>): void {
    cadence.begin()
    this.#guarded(async () => {
      const ok = await run()
      cadence.end(this.#world.clock.now(), this.#needs().live > 0, ok)
      this.advance()
    })
  }
  /** What breaks inside is told; that it is over is not. */
  #guarded(run: () => Promise<void>): void {
    run().catch((error: unknown) => {
      const over = !this.#running || (error instanceof KalshiError && error.code === 'STOPPED')
      this.stop()
      if (!over) this.#fail(error)
    })
  }
  #tell(event: PollEvent): void {
    if (this.#running) this.#emit(event, this.#world.clock.now())
  }

  async #sweep(): Promise<boolean> {
    const { since } = this.#needs()
    const { sweep, orders, fills, troubles } = await this.#sweeper.sweep(Math.min(this.#watermark, since ?? Infinity))
    this.counts.sweeps++
    const whole = sweep.orders !== null && sweep.fills !== null
    if (!whole) this.counts.incomplete++
    for (const reason of troubles) this.#tell({ type: 'trouble', reason })
    if (orders.length + fills.length > 0) this.#tell({ type: 'facts', orders, fills })
    this.#tell({ type: 'sweep', sweep })
    if (whole && sweep.asOf !== null) this.#watermark = Math.max(this.#watermark, sweep.asOf)
    return whole
  }
  async #reads(): Promise<void> {
    for (let id = this.#wanted[0]; id !== undefined && this.#running; id = this.#wanted[0]) {
      const answer = await this.#ask(() => this.#rest.get('order', { order_id: id as string }, READ))
      this.#wanted.shift()
      this.counts.reads++
      if (answer instanceof KalshiError) {
        this.#tell({ type: 'unread', id, missing: answer.code === 'NOT_FOUND', reason: answer.message })
        continue
      }
      const { fact, why } = orderOfAnswer(answer.order)
      if (fact === null) this.#tell({ type: 'unread', id, missing: false, reason: why })
      else if (fact.id !== id) this.#tell({ type: 'unread', id, missing: false, reason: `the answer is about another order (${fact.id})` })
      else this.#tell({ type: 'order', fact })
    }
  }
  async #queue(): Promise<boolean> {
    const tickers = [...new Set(this.#needs().resting)].slice(0, QUEUE_TICKERS_MAX)
    if (tickers.length === 0) return true
    const positions: QueuePosition[] = []
    const time = this.#world.clock.now()
    for (let i = 0; i < tickers.length; i += TICKERS_PER_READ) {
      const parameters = { market_tickers: tickers.slice(i, i + TICKERS_PER_READ).join(','), subaccount: this.#options.subaccount ?? 0 }
      const answer = await this.#ask(() => this.#rest.get('queuePositions', parameters, { priority: Priority.CATALOG, attempts: 1 }))
      if (answer instanceof KalshiError) {
        this.#tell({ type: 'trouble', reason: `queue positions: ${answer.message}` })
        return false
      }
      for (const { order_id: id, market_ticker: ticker, queue_position_fp: text } of answer.queue_positions) {
        const ahead = parseQuantity(digits(text))
        if (Number.isSafeInteger(ahead) && ahead >= 0) positions.push({ id, ticker, ahead })
      }
    }
    this.counts.queues++
    if (positions.length > 0) this.#tell({ type: 'queue', time, positions })
    return true
  }
  async #status(): Promise<boolean> {
    const answer = await this.#ask(() => this.#rest.get('exchangeStatus', {}, { priority: Priority.RECONCILE, attempts: 1 }))
    if (answer instanceof KalshiError) {
      this.#tell({ type: 'trouble', reason: `exchange status: ${answer.message}` })
      return false
    }
    this.counts.statuses++
    for (const { shard, trading, exchange } of shardsOf(answer)) {
      this.#state('exchange', shard, !exchange)
      this.#state('trading', shard, !trading)
    }
    return true
  }
  #state(what: 'trading' | 'exchange', shard: number, paused: boolean): void {
    const key = `${what}/${shard}`
    const before = this.#paused.get(key) ?? false
    this.#paused.set(key, paused)
    if (before !== paused) this.#tell({ type: paused ? 'paused' : 'resumed', shard, what })
  }
  async #ask<T>(read: () => Promise<T>): Promise<T | KalshiError> {
    try {
      return await read()
    } catch (error) {
      if (error instanceof KalshiError && error.code !== 'STOPPED') return error
      throw error
    }
  }
}

/** The top of the answer is shard 0 (api.md §6). */
export function shardsOf(
  answer: Answer<'exchangeStatus'>,
): readonly { readonly shard: number; readonly trading: boolean; readonly exchange: boolean }[] {
  const rows = answer.exchange_index_statuses ?? []
  const shards = rows.map((r) => ({ shard: r.exchange_index, trading: r.trading_active, exchange: r.exchange_active }))
  if (shards.some((s) => s.shard === 0)) return shards
  return [{ shard: 0, trading: answer.trading_active, exchange: answer.exchange_active }, ...shards]
}
