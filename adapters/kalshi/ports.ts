/**
 * The world as the adapter sees it: a clock, timers, chance, sockets, HTTP and a place for what cannot be read. Owns the small interfaces; hides nothing. Everything above
 * decides synchronously and touches the world through these alone, so that the same code runs on real sockets and, in one process under a virtual clock, against every fault.
 */

export interface Clock {
  /** µs since 1970 on a clock that never steps: it follows the wall clock from the start of the process on. */
  now(): number
  /** The wall clock in ms, for signatures. It may step. */
  wall(): number
}
export interface Timers {
  /** Calls back once, not before `now() + delay` (µs). */
  after(delay: number, call: () => void): Timer
}
export interface Timer {
  cancel(): void
}
/** 0 ≤ next() < 1. Seeded where it must be repeatable. */
export interface Chance {
  next(): number
}

export interface Sockets {
  /** Never throws: what goes wrong comes as `closed`. */
  open(url: string, headers: Readonly<Record<string, string>>, events: SocketEvents): Socket
}
export interface SocketEvents {
  opened(): void
  /** A text frame, whole. */
  frame(text: string): void
  /** A binary or too large frame: nothing the exchange sends. */
  strange(what: string): void
  /** The other side is alive: a ping of its, or a pong to ours. */
  heard(): void
  /** Once, and nothing after it. `status`: the HTTP status of a refused handshake. */
  closed(why: SocketEnd): void
}
export type SocketEnd = { readonly code: number | null; readonly reason: string; readonly status: number | null }
export interface Socket {
  send(text: string): void
  ping(): void
  /** Ends it without waiting for the other side. `closed` follows. */
  destroy(): void
  /** Bytes that wait to be sent. */
  readonly waiting: number
}

export interface Http {
  /** Rejects with an `HttpFailure` when there is no whole answer. */
  request(request: HttpRequest): Promise<HttpAnswer>
  /** Opens connections for writes to this origin before they are needed, and keeps them fresh. */
  prepare?(origin: string): void
}
export type HttpRequest = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | null
  /** µs until it is given up. */
  readonly timeout: number
  /** Its first byte is written to a socket now. Called once at most, synchronously before the write. */
  readonly onSent?: () => void
  /** Asked synchronously right before its first byte: a request that may not leave by then never does, wherever it waited. */
  readonly mayLeave?: () => boolean
  /** Gives up a request whose first byte is not written yet; one that is on its way is not touched, its answer counts. */
  readonly stop?: AbortSignal
  /** It takes away risk: it has connections of its own, so that it never waits behind what adds some. */
  readonly urgent?: boolean
}
export type HttpAnswer = { readonly status: number; readonly type: string; readonly date: string; readonly body: string }
export class HttpFailure extends Error {
  override readonly name = 'HttpFailure'
  readonly kind: 'timeout' | 'network' | 'too large' | 'stopped'
  /** False only where it is proved that no byte of the request was written to a socket. */
  readonly sent: boolean

  constructor(kind: HttpFailure['kind'], message: string, sent = true) {
    super(message)
    this.kind = kind
    this.sent = sent
  }
}

/** Where raw bytes go that nobody could read. */
export interface Quarantine {
  keep(entry: QuarantineEntry): void
}
export type QuarantineEntry = { readonly time: number; readonly where: string; readonly reason: string; readonly raw: string }

export type World = {
  readonly clock: Clock
  readonly timers: Timers
  readonly chance: Chance
  readonly sockets: Sockets
  readonly http: Http
  readonly quarantine: Quarantine
}
