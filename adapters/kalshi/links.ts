/**
 * The feed's connections: which there are, what their reducers want. Owns links; hides connections and streams from the rest of the core. Invariant: a link that is down has no synced
 * market.
 */
import { MINUTE, SECOND } from '../../engine/units.ts'
import { Connection, Permits, type ConnectionCommand } from './connection.ts'
import { KalshiError } from './errors.ts'
import { Freshness } from './freshness.ts'
import type { Chance } from './ports.ts'
import { trouble, unsync, type Shared } from './shared.ts'
import { Stream, type StreamCommand, type StreamPlan } from './stream.ts'
import type { Channel } from './wire/stream.ts'

export type Link = {
  readonly number: number
  readonly name: string
  readonly connection: Connection
  readonly stream: Stream
  readonly freshness: Freshness
  room: number
  downSince: number
  pollAt: number
  emptySince: number
}

/** What the others must know. */
export interface LinkEvents {
  /** Trades of these markets were lost. */
  missed(tickers: readonly string[]): void
  /** These markets have no connection any more. */
  unlinked(tickers: readonly string[]): void
}

const LINK_IDLE = MINUTE

export class Links {
  readonly list: Link[] = []
  readonly dropReasons = new Map<string, number>()
  readonly #shared: Shared
  readonly #chance: Chance
  readonly #channels: readonly Channel[]
  readonly #events: LinkEvents
  readonly #permits = new Permits()

  constructor(shared: Shared, chance: Chance, channels: readonly Channel[], events: LinkEvents) {
    this.#shared = shared
    this.#chance = chance
    this.#channels = channels
    this.#events = events
  }

  advance(now: number): void {
    for (const l of this.list) {
      l.connection.advance(now)
      l.stream.advance(now)
    }
  }
  /** A connection that carries nothing is not kept; the first one carries what is for all. */
  idle(now: number): void {
    for (const l of this.list) {
      if (l.number === 0 || l.stream.size > 0) l.emptySince = Infinity
      else if (l.emptySince === Infinity) l.emptySince = now
      else if (now - l.emptySince > LINK_IDLE) l.connection.stop(now)
    }
  }

  /** Another connection; it starts at once. */
  create(now: number): Link {
    const number = this.list.length
    const { indices, indicesFast, underlyings } = this.#shared.options
    // The first connection also carries what has no markets.
    const globals: StreamPlan['globals'] =
      number > 0
        ? []
        : [
            { channel: 'market_lifecycle_v2' },
            ...(indices === undefined ? [] : [{ channel: 'cfbenchmarks_value', indices } as const]),
            ...(indicesFast === undefined ? [] : [{ channel: 'cfbenchmarks_value_5hz', indices: indicesFast } as const]),
            ...(underlyings === undefined ? [] : [{ channel: 'pyth_value', underlyings } as const]),
          ]
    const link: Link = {
      number,
      name: `socket-${number}`,
      connection: new Connection(this.#chance, this.#permits, (c) => this.#connectionCommand(number, c)),
      stream: new Stream({ markets: this.#channels, globals }, (c) => this.#streamCommand(number, c)),
      freshness: new Freshness(),
      room: this.#shared.options.marketsPerSocket ?? 200,
      downSince: now,
      pollAt: 0,
      emptySince: Infinity,
    }
    this.list.push(link)
    this.#permits.want(this.list.length)
    link.connection.start(now)
    return link
  }
  #connectionCommand(link: number, c: ConnectionCommand): void {
    switch (c.kind) {
      case 'connect':
        return this.#shared.act({ kind: 'open', link })
      case 'ping':
        return this.#shared.act({ kind: 'ping', link })
      case 'destroy': {
        this.#shared.counts.drops++
        this.dropReasons.set(c.reason, (this.dropReasons.get(c.reason) ?? 0) + 1)
        this.#shared.act({ kind: 'destroy', link })
        return this.down(this.list[link] as Link, c.reason, this.#shared.now)
      }
      case 'refused':
        return this.#shared.act({
          kind: 'fail',
          error: new KalshiError(
            'AUTH',
            `the exchange refuses the handshake (${c.status}): check the key, its environment (demo or production) and the clock of this machine`,
            c.status,
          ),
        })
    }
  }
  #streamCommand(link: number, c: StreamCommand): void {
    const l = this.list[link] as Link
    switch (c.kind) {
      case 'send':
        return this.#shared.act({ kind: 'send', link, text: c.text })
      case 'drop':
        return l.connection.drop(c.reason, this.#shared.now)
      case 'unsync':
        return unsync(this.#shared, c.tickers, c.reason, c.gap)
      case 'missed':
        if (c.channel === 'trade') this.#events.missed(c.tickers)
        else if (c.channel === 'market_lifecycle_v2') this.#shared.catalog.soon(this.#shared.now)
        return
      case 'full':
        l.room = Math.max(1, l.stream.size)
        return this.#events.unlinked(c.tickers)
      case 'refused':
        for (const ticker of c.tickers) trouble(this.#shared, ticker, c.reason)
        return this.#events.unlinked(c.tickers)
    }
  }
  /** It is gone: nothing of it is trusted any more. */
  down(l: Link, reason: string, now: number): void {
    l.stream.closed()
    l.downSince = now
    l.pollAt = now + (this.#shared.options.pollAfter ?? 3 * SECOND)
    const { translator } = this.#shared
    this.#shared.ours = true
    for (const ticker of l.stream.tickers) {
      const state = translator.markets.get(ticker)
      if (state !== undefined) translator.interrupted(state, reason)
    }
    this.#shared.ours = false
  }
}
