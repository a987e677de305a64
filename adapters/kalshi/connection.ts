/**
 * One connection's life: when to connect, when to give up. Owns backoff, watchdog and the permits that all connections share; hides time. A reducer: messages in
 * (`opened`, `closed`, `heard`, `advance`), commands out. Invariants: no more connects than permits; silence of a socket ends it, whatever the system believes of it.
 */
import { assert } from '../../engine/assert.ts'
import { TokenBucket } from '../../engine/token-bucket.ts'
import { MINUTE, SECOND } from '../../engine/units.ts'
import type { Chance, SocketEnd } from './ports.ts'

export type ConnectionCommand =
  | { readonly kind: 'connect' }
  | { readonly kind: 'ping' }
  | { readonly kind: 'destroy'; readonly reason: string }
  /** The exchange refuses the key again and again: trying on is no use. */
  | { readonly kind: 'refused'; readonly status: number }

const BACKOFF_FIRST = 250_000
const BACKOFF_MAX = 30 * SECOND
/** Open for this long, a connection counts as good again. */
const HEALTHY = 30 * SECOND
const BREAKER_AFTER = 10
const BREAKER = 5 * MINUTE
const PING_EVERY = 5 * SECOND
/** The exchange pings every 10 s and answers our pings (api.md §5.9): so long without either, or data, is no connection. */
const SILENCE_MAX = 15 * SECOND
const HANDSHAKE_MAX = 15 * SECOND
/** A process that was stopped itself has heard nothing: it reads what waits before it judges. */
const STALL = 2 * SECOND
const STALL_GRACE = 5 * SECOND
const REFUSALS_MAX = 3

/** Connects of the whole process: 6 a minute, and one more for each connection that is wanted at the start. */
export class Permits {
  #bucket = new TokenBucket(6 / 60, 8)
  #wanted = 0

  want(count: number): void {
    if (count <= this.#wanted) return
    this.#wanted = count
    this.#bucket = new TokenBucket(6 / 60, 8 + count)
  }
  spend(now: number): boolean {
    return this.#bucket.spend(now, 1)
  }
  freeAt(now: number): number {
    return this.#bucket.freeAt(now, 1)
  }
}

export class Connection {
  readonly #chance: Chance
  readonly #permits: Permits
  readonly #emit: (command: ConnectionCommand) => void
  state: 'idle' | 'waiting' | 'connecting' | 'open' = 'idle'
  /** When the state began. */
  since = 0
  lastHeard = 0
  connects = 0
  /** In a row, without a healthy time in between. */
  failures = 0
  #refusals = 0
  #connectAt = Infinity
  #pingAt = Infinity
  #advanced = 0

  constructor(chance: Chance, permits: Permits, emit: (command: ConnectionCommand) => void) {
    this.#chance = chance
    this.#permits = permits
    this.#emit = emit
  }

  start(now: number): void {
    if (this.state !== 'idle') return
    this.#enter('waiting', now)
    this.#connectAt = now
  }
  stop(now: number): void {
    const had = this.state === 'open' || this.state === 'connecting'
    this.#enter('idle', now)
    if (had) this.#emit({ kind: 'destroy', reason: 'not needed' })
  }
  opened(now: number): void {
    if (this.state !== 'connecting') return
    this.#enter('open', now)
    this.lastHeard = now
    this.#pingAt = now + PING_EVERY
    this.#refusals = 0
  }
  heard(now: number): void {
    this.lastHeard = now
  }
  /** The socket is gone. */
  closed(end: SocketEnd, now: number): void {
    if (this.state !== 'open' && this.state !== 'connecting') return
    if (this.state === 'open' && now - this.since >= HEALTHY) this.failures = 0
    else this.failures++
    if (end.status === 401 || end.status === 403) {
      this.#refusals++
      if (this.#refusals >= REFUSALS_MAX) {
        this.#enter('idle', now)
        return this.#emit({ kind: 'refused', status: end.status })
      }
    }
    this.#enter('waiting', now)
    if (this.failures > BREAKER_AFTER) this.#connectAt = now + BREAKER
    else {
      const most = Math.min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** this.failures)
      this.#connectAt = now + BACKOFF_FIRST + Math.floor(this.#chance.next() * most)
    }
  }
  /** We do not trust it any more. */
  drop(reason: string, now: number): void {
    if (this.state !== 'open' && this.state !== 'connecting') return
    this.#emit({ kind: 'destroy', reason })
    this.closed({ code: null, reason, status: null }, now)
  }

  get #due(): number {
    switch (this.state) {
      case 'waiting':
        return this.#connectAt
      case 'connecting':
        return this.since + HANDSHAKE_MAX
      case 'open':
        return Math.min(this.#pingAt, this.lastHeard + SILENCE_MAX)
      case 'idle':
        return Infinity
    }
  }
  advance(now: number): void {
    const stalled = this.#advanced > 0 && now - this.#advanced > STALL
    this.#advanced = now
    if (this.state === 'open' && stalled) this.lastHeard = Math.max(this.lastHeard, now - SILENCE_MAX + STALL_GRACE)
    if (now < this.#due) return
    switch (this.state) {
      case 'waiting':
        if (!this.#permits.spend(now)) {
          this.#connectAt = this.#permits.freeAt(now)
          return
        }
        this.#enter('connecting', now)
        this.connects++
        return this.#emit({ kind: 'connect' })
      case 'connecting':
        return this.drop('the handshake has no end', now)
      case 'open':
        if (now - this.lastHeard >= SILENCE_MAX) return this.drop('no sign of life', now)
        this.#pingAt = now + PING_EVERY
        return this.#emit({ kind: 'ping' })
      case 'idle':
        return
    }
  }

  #enter(state: Connection['state'], now: number): void {
    assert(now >= this.since, 'a connection lives forwards')
    this.state = state
    this.since = now
    this.#connectAt = Infinity
    this.#pingAt = Infinity
  }
}
