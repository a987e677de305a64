/**
 * A world of one's own for the adapter: virtual time, and a network between its sockets and a peer that drops, delays, doubles, reorders and corrupts. Owns the network. Invariant: the same seed gives the same run.
 */
import { HttpFailure, type Http, type QuarantineEntry, type Socket, type SocketEvents, type World } from '../../adapters/kalshi/ports.ts'
import { random } from '../support/random.ts'
import type { Peer, Session } from './peer.ts'
import { Timeline } from './timeline.ts'

/** Chances by frame (drop … corrupt), by second (halfOpen, reset) and by request (http). */
export type Faults = {
  readonly drop: number
  readonly delay: number
  readonly duplicate: number
  readonly reorder: number
  readonly corrupt: number
  readonly halfOpen: number
  readonly reset: number
  readonly http: number
}
export const NONE: Faults = { drop: 0, delay: 0, duplicate: 0, reorder: 0, corrupt: 0, halfOpen: 0, reset: 0, http: 0 }
/** Each fault is absent in about half of the seeds, so that they do not hide each other. */
export function faultsOf(seed: number): Faults {
  const next = random(seed ^ 0x5bd1e995)
  const some = (most: number): number => (next() < 0.5 ? 0 : next() * most)
  return {
    drop: some(0.03),
    delay: some(0.02),
    duplicate: some(0.05),
    reorder: some(0.03),
    corrupt: some(0.005),
    halfOpen: some(0.01),
    reset: some(0.02),
    http: some(0.2),
  }
}

export class VirtualWorld extends Timeline {
  faults: Faults = NONE
  readonly fired: Record<keyof Faults, number> = { drop: 0, delay: 0, duplicate: 0, reorder: 0, corrupt: 0, halfOpen: 0, reset: 0, http: 0 }
  readonly quarantined: QuarantineEntry[] = []
  readonly peer: Peer
  readonly world: World
  /** What reached the other end whole: [sid, seq] of the frame, told before it is handed over. */
  delivered: (text: string) => void = () => {}
  /** Frames handed over, whole or not. */
  frames = 0
  connects: number[] = []
  /** Handshakes are refused with this status. */
  refuse: number | null = null
  readonly #wires = new Set<Wire>()

  constructor(seed: number, start: number, peer: Peer) {
    super(seed, start)
    this.peer = peer
    const chance = random(seed + 1)
    this.world = {
      clock: { now: () => this.now, wall: () => Math.floor(this.now / 1000) },
      timers: { after: (delay, call) => this.after(delay, call) },
      chance: { next: chance },
      sockets: { open: (url, headers, events) => this.#open(url, headers, events) },
      http: this.#http(),
      quarantine: { keep: (entry) => void this.quarantined.push(entry) },
    }
  }

  /** Every open wire lives through a second of faults. */
  second(): void {
    for (const wire of this.#wires) {
      if (this.hit(this.faults.halfOpen)) {
        this.fired.halfOpen++
        wire.silent = true
      }
      if (this.hit(this.faults.reset)) {
        this.fired.reset++
        wire.end(1006, 'reset')
      }
    }
    this.after(1_000_000, () => this.second())
  }
  heal(): void {
    this.faults = NONE
  }
  /** The other side closes every connection. */
  resetAll(): void {
    for (const wire of this.#wires) wire.end(1001, 'going away')
  }
  silenceAll(): void {
    for (const wire of this.#wires) wire.silent = true
  }

  #open(url: string, headers: Readonly<Record<string, string>>, events: SocketEvents): Socket {
    this.connects.push(this.now)
    const wire = new Wire(this, events, () => this.#wires.delete(wire))
    this.after(this.between(5_000, 60_000), () => {
      if (wire.ended) return
      if (this.refuse !== null) return wire.end(null, 'refused', this.refuse)
      if (!url.endsWith('/trade-api/ws/v2') || headers['KALSHI-ACCESS-SIGNATURE'] === undefined) return wire.end(null, 'refused', 401)
      this.#wires.add(wire)
      wire.session = this.peer.connect((text) => wire.down(text))
      wire.beat()
      events.opened()
    })
    return wire
  }
  #http(): Http {
    return {
      request: ({ method, url, timeout }) =>
        new Promise((resolve, reject) => {
          const fault = this.hit(this.faults.http)
          if (fault) this.fired.http++
          const kind = fault ? this.between(0, 3) : -1
          if (kind === 0) return void this.after(timeout, () => reject(new HttpFailure('timeout', 'none in time')))
          this.after(this.between(5_000, 120_000), () => {
            const date = new Date(this.now / 1000).toUTCString()
            if (kind === 1) return resolve({ status: 503, type: 'application/json', date, body: '{}' })
            if (kind === 2) return resolve({ status: 200, type: 'text/html', date, body: '<html>log in</html>' })
            if (kind === 3) return resolve({ status: 429, type: 'application/json', date, body: '{"error":"too many requests"}' })
            const { status, body } = this.peer.rest(method, url, this.now)
            // The answer was made before it arrives.
            this.after(this.between(1_000, 60_000), () => resolve({ status, type: 'application/json', date, body: JSON.stringify(body) }))
          })
        }),
    }
  }
}

/** One connection as bytes would travel: in order, unless a fault says otherwise. */
class Wire implements Socket {
  readonly waiting = 0
  silent = false
  ended = false
  session: Session | null = null
  readonly #v: VirtualWorld
  readonly #events: SocketEvents
  readonly #forget: () => void
  #arrival = 0
  #held: string | null = null

  constructor(v: VirtualWorld, events: SocketEvents, forget: () => void) {
    this.#v = v
    this.#events = events
    this.#forget = forget
  }
  send(text: string): void {
    this.#v.after(this.#v.between(2_000, 30_000), () => {
      if (!this.silent && !this.ended) this.session?.command(text)
    })
  }
  ping(): void {
    this.#v.after(this.#v.between(4_000, 60_000), () => this.#heard())
  }
  destroy(): void {
    this.#finish()
  }
  end(code: number | null, reason: string, status: number | null = null): void {
    if (this.ended) return
    this.#finish()
    this.#events.closed({ code, reason, status })
  }
  #finish(): void {
    this.ended = true
    this.session?.close()
    this.#forget()
  }
  /** The exchange's own heartbeat. */
  beat(): void {
    if (this.ended) return
    this.#heard()
    this.#v.after(10_000_000, () => this.beat())
  }
  #heard(): void {
    if (!this.ended && !this.silent) this.#events.heard()
  }

  down(text: string): void {
    const v = this.#v
    const { faults, fired } = v
    if (v.hit(faults.drop)) return void fired.drop++
    if (v.hit(faults.corrupt)) {
      fired.corrupt++
      return this.#arrive(corrupt(text, v.between(0, 3), v.between(1, text.length - 1)), false)
    }
    if (this.#held === null && v.hit(faults.reorder)) {
      fired.reorder++
      this.#held = text
      return
    }
    this.#arrive(text, true)
    if (v.hit(faults.duplicate)) {
      fired.duplicate++
      this.#arrive(text, true)
    }
    if (this.#held !== null) {
      const held = this.#held
      this.#held = null
      this.#arrive(held, true)
    }
  }
  #arrive(text: string, whole: boolean): void {
    const v = this.#v
    let latency = v.between(1_000, 25_000)
    if (v.hit(v.faults.delay)) {
      v.fired.delay++
      latency += v.between(0, 3_000_000)
    }
    // What comes later waits behind what is late.
    this.#arrival = Math.max(this.#arrival, v.now + latency)
    v.after(this.#arrival - v.now, () => {
      if (this.ended || this.silent) return
      v.frames++
      if (whole) v.delivered(text)
      this.#events.frame(text)
    })
  }
}
function corrupt(text: string, how: number, at: number): string {
  switch (how) {
    case 0:
      return text.slice(0, at)
    case 1:
      return `${text.slice(0, at)}\u0000${text.slice(at + 1)}`
    case 2:
      return text.replace(/"(market_ticker|type|channel|sid)":/, '"x":')
    default:
      return `[${text}]`
  }
}
