/**
 * The live feed of Kalshi: the engine's `Feed` over sockets and REST. Owns the wiring of the decisions (`core.ts`) to the world (`ports.ts`); hides both. Invariant: everything that
 * happens reaches the core as one call with one time, in the order in which it happened.
 */
import type { Batch, Feed } from '../../engine/message.ts'
import { FeedCore } from './core.ts'
import type { Environment } from './environment.ts'
import { KalshiError } from './errors.ts'
import type { Socket, Timer, World } from './ports.ts'
import { Priority } from './rate-limit.ts'
import type { Rest } from './rest.ts'
import type { Action, FeedOptions, FeedStatus, ReadRequest } from './shared.ts'
import type { Signer } from './sign.ts'
import type { WireMarket, WireTrade } from './wire/answers.ts'

const TICK = 50_000
const SOCKET_PATH = '/trade-api/ws/v2'

export type KalshiFeedParts = {
  readonly environment: Environment
  readonly signer: Signer
  readonly rest: Rest
  readonly world: World
  readonly options: FeedOptions
}

export class KalshiFeed implements Feed {
  readonly #parts: KalshiFeedParts
  readonly #core: FeedCore
  readonly #sockets = new Map<number, Socket>()
  #timer: Timer | null = null
  /** Why it ended by itself. */
  #error: unknown = null
  #running = false
  #tickedAt = 0

  constructor(parts: KalshiFeedParts) {
    this.#parts = parts
    const { world, options } = parts
    this.#core = new FeedCore(options, world.chance, world.quarantine, (action) => this.#do(action), world.clock.now())
  }

  /** Connects and goes on until `stop`, or until it cannot: then it throws, after the rows that it has. */
  async *batches(): AsyncIterableIterator<Batch> {
    this.start()
    try {
      for (;;) {
        const batch = await this.#core.outbox.take()
        if (batch === undefined) break
        yield batch
      }
    } finally {
      this.stop()
    }
    if (this.#error !== null) throw this.#error
  }
  /** Connects without waiting for a reader. */
  start(): void {
    if (this.#running) return
    this.#running = true
    this.#tick()
  }
  stop(): void {
    if (!this.#running) return
    this.#running = false
    this.#timer?.cancel()
    const sockets = [...this.#sockets.values()]
    this.#sockets.clear()
    for (const socket of sockets) socket.destroy()
    this.#core.outbox.end()
  }
  /** A batch that is ready, without waiting. */
  poll(): Batch | undefined {
    return this.#core.outbox.poll()
  }
  /** The shard of a market that is followed; null: it is not known. */
  shardOf(ticker: string): number | null {
    return this.#core.shardOf(ticker)
  }
  status(): FeedStatus {
    return this.#core.status()
  }

  #tick(): void {
    if (!this.#running) return
    const { clock, timers } = this.#parts.world
    const now = clock.now()
    // How late we are ourselves: a loop that is blocked hears nothing.
    if (this.#tickedAt > 0) this.#core.late(now - this.#tickedAt - TICK)
    this.#tickedAt = now
    this.#guarded(() => this.#core.tick(now))
    if (!this.#running) return
    this.#timer = timers.after(TICK, () => this.#tick())
  }

  #do(action: Action): void {
    switch (action.kind) {
      case 'open':
        return this.#open(action.link)
      case 'send':
        return this.#sockets.get(action.link)?.send(action.text)
      case 'ping':
        return this.#sockets.get(action.link)?.ping()
      case 'destroy': {
        const socket = this.#sockets.get(action.link)
        this.#sockets.delete(action.link)
        return socket?.destroy()
      }
      case 'read':
        this.#read(action.request).catch((error: unknown) => {
          if (!this.#running) return
          if (!(error instanceof KalshiError)) return this.#fail(error)
          this.#guarded(() => this.#core.failed(action.request, error, this.#parts.world.clock.now()))
        })
        return
      case 'fail':
        return this.#fail(action.error)
    }
  }

  #open(link: number): void {
    const { environment, signer, world } = this.#parts
    const now = (): number => world.clock.now()
    // Signed anew at every connect: a signature lives for seconds.
    const headers = signer.headers('GET', SOCKET_PATH, world.clock.wall())
    // What an old socket still says is nobody's.
    const current = (): boolean => this.#running && this.#sockets.get(link) === socket
    const socket: Socket = world.sockets.open(environment.socket, headers, {
      opened: () => {
        if (current()) this.#guarded(() => this.#core.opened(link, now()))
      },
      frame: (text) => {
        if (current()) this.#guarded(() => this.#core.frame(link, text, now()))
      },
      strange: (what) => {
        if (current()) this.#guarded(() => this.#core.strange(link, what, now()))
      },
      heard: () => {
        if (current()) this.#guarded(() => this.#core.heard(link, now()))
      },
      closed: (end) => {
        if (!current()) return
        this.#sockets.delete(link)
        this.#guarded(() => this.#core.closed(link, end, now()))
      },
    })
    this.#sockets.set(link, socket)
  }

  async #read(request: ReadRequest): Promise<void> {
    const { rest, world } = this.#parts
    const core = this.#core
    // What arrives after the end is nobody's.
    const tell = (call: (now: number) => void): void => {
      if (this.#running) this.#guarded(() => call(world.clock.now()))
    }
    switch (request.kind) {
      case 'series-markets': {
        const { series, status } = request
        const listing = await rest.list<WireMarket>('markets', { series_ticker: series, status, limit: 1000 })
        return tell((now) => core.listed(request, listing, now))
      }
      case 'markets': {
        const listing = await rest.list<WireMarket>('markets', { tickers: request.tickers.join(','), limit: 1000 })
        return tell((now) => core.listed(request, listing, now))
      }
      case 'event': {
        const { event } = await rest.get('event', { event_ticker: request.ticker })
        return tell((now) => core.event(event, now))
      }
      case 'series': {
        const { series } = await rest.get('series', { series_ticker: request.ticker })
        return tell((now) => core.series(series, now))
      }
      case 'fees': {
        const changes = await rest.get('seriesFeeChanges', { series_ticker: request.ticker })
        return tell((now) => core.fees(request.ticker, changes, now))
      }
      case 'audit':
      case 'poll': {
        const books = await rest.get(
          'orderbooks',
          { tickers: request.tickers },
          { priority: Priority.REPAIR, attempts: 1, timeout: 5_000_000 },
        )
        return tell((now) => core.books(request, books, now))
      }
      case 'trades': {
        const listing = await rest.list<WireTrade>(
          'trades',
          { ticker: request.ticker, min_ts: Math.floor(request.since / 1e6) - 1, limit: 1000 },
          { priority: Priority.HISTORY, pagesMax: 20 },
        )
        return tell((now) => core.trades(request.ticker, listing, now))
      }
      case 'status': {
        const status = await rest.get('exchangeStatus', {}, { attempts: 1 })
        const measured = rest.clockOffset
        // Below what the header can tell, two clocks are equal.
        if (measured !== null) core.clockOffset = Math.abs(measured.offset) <= 2 * measured.uncertainty ? 0 : measured.offset
        return tell((now) => core.exchange(status, now))
      }
    }
  }

  #fail(error: unknown): void {
    this.#error ??= error
    this.stop()
  }
  /** What breaks inside is told to the reader, not to the socket. */
  #guarded(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#fail(error)
    }
  }
}
