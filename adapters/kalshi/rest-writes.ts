/**
 * Writes over undici: connections of their own, opened before they are needed. Owns the pools and the proof whether a request left; hides sockets. Invariants: a request is put on
 * a socket once at most; `sent: false` is said only where it never was; what was given up before its first byte never leaves.
 */
import type { Socket } from 'node:net'
import { buildConnector, Pool, type Dispatcher } from 'undici'
import { HttpFailure, type HttpAnswer, type HttpRequest } from './ports.ts'

const CONNECT_TIMEOUT = 5_000
/** A connection without requests for this long is not used again: the other side may be closing it just now. */
const IDLE_MAX = 10_000
const CONNECTIONS = 16
const CONNECTIONS_URGENT = 4
const SPARES = 3
/** The exchange closes connections that never ask. */
const SPARE_AGE_MAX = 20_000
const SPARE_CHECK = 5_000
const BODY_MAX = 4 * 1024 * 1024

export class UndiciWrites {
  readonly #origins = new Map<string, { readonly usual: Pool; readonly urgent: Pool; readonly spares: Spares }>()

  request(request: HttpRequest): Promise<HttpAnswer> {
    // Made by this adapter, and checked when its environment was: parsed again it would cost more than the signature.
    const slash = request.url.indexOf('/', request.url.indexOf('//') + 2)
    const [origin, path] = [request.url.slice(0, slash), request.url.slice(slash)]
    const { usual, urgent } = this.#at(origin)
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(request, resolve, reject)
      if (exchange.over) return
      const pool = request.urgent === true ? urgent : usual
      pool.dispatch(
        {
          method: request.method,
          path,
          headers: request.body === null ? request.headers : { ...request.headers, 'content-type': 'application/json' },
          body: request.body,
          idempotent: false,
          headersTimeout: 0,
          bodyTimeout: 0,
        },
        exchange,
      )
    })
  }
  prepare(origin: string): void {
    this.#at(origin).spares.keep(SPARES)
  }
  async close(): Promise<void> {
    const all = [...this.#origins.values()]
    this.#origins.clear()
    for (const { spares } of all) spares.close()
    await Promise.all(all.flatMap(({ usual, urgent }) => [usual.destroy(), urgent.destroy()]))
  }

  #at(origin: string): { readonly usual: Pool; readonly urgent: Pool; readonly spares: Spares } {
    let known = this.#origins.get(origin)
    if (known === undefined) {
      const spares = new Spares(origin)
      const pool = (connections: number): Pool =>
        new Pool(origin, { connections, pipelining: 1, keepAliveTimeout: IDLE_MAX, keepAliveMaxTimeout: IDLE_MAX, connect: spares.connect })
      known = { usual: pool(CONNECTIONS), urgent: pool(CONNECTIONS_URGENT), spares }
      this.#origins.set(origin, known)
    }
    return known
  }
}

/** One request. undici calls `onRequestStart` synchronously right before it writes the first byte, and never without it: that is the proof. */
class Exchange implements Dispatcher.DispatchHandler {
  over = false
  readonly #request: HttpRequest
  readonly #resolve: (answer: HttpAnswer) => void
  readonly #reject: (failure: HttpFailure) => void
  readonly #timer: NodeJS.Timeout
  readonly #stopped = (): void => {
    if (!this.#sent) this.#fail('stopped', 'it was given up before it left')
  }
  #sent = false
  #controller: Dispatcher.DispatchController | null = null
  #status = 0
  #type = ''
  #date = ''
  readonly #chunks: Buffer[] = []
  #size = 0

  constructor(request: HttpRequest, resolve: (answer: HttpAnswer) => void, reject: (failure: HttpFailure) => void) {
    this.#request = request
    this.#resolve = resolve
    this.#reject = reject
    const milliseconds = Math.ceil(request.timeout / 1000)
    this.#timer = setTimeout(() => this.#fail('timeout', `none within ${milliseconds / 1000} s`), milliseconds)
    if (request.stop?.aborted === true) this.#stopped()
    else request.stop?.addEventListener('abort', this.#stopped)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // A second time would be a repetition: whatever became of the first, this one stays here.
    if (this.over || this.#sent) {
      controller.abort(new Error('given up'))
      this.#fail('network', 'the connection was lost')
      return
    }
    if (this.#request.mayLeave?.() === false) {
      this.#fail('stopped', 'it may not leave any more')
      controller.abort(new Error('given up'))
      return
    }
    this.#sent = true
    this.#controller = controller
    this.#request.onSent?.()
  }
  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    this.#status = status
    this.#type = one(headers['content-type'])
    this.#date = one(headers['date'])
  }
  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#size += chunk.length
    if (this.#size > BODY_MAX) this.#fail('too large', `it is larger than ${BODY_MAX / 1024 / 1024} MiB`)
    else this.#chunks.push(chunk)
  }
  onResponseEnd(): void {
    if (!this.#end()) return
    this.#resolve({ status: this.#status, type: this.#type, date: this.#date, body: Buffer.concat(this.#chunks).toString('utf8') })
  }
  onResponseError(_: Dispatcher.DispatchController | null, error: Error): void {
    const code = 'code' in error ? String(error.code) : ''
    this.#fail('network', code === '' ? 'the connection failed' : code)
  }

  #fail(kind: HttpFailure['kind'], message: string): void {
    if (!this.#end()) return
    this.#reject(new HttpFailure(kind, message, this.#sent))
    // The connection of an answer that is not waited for is not used again.
    this.#controller?.abort(new Error('given up'))
  }
  #end(): boolean {
    if (this.over) return false
    this.over = true
    clearTimeout(this.#timer)
    this.#request.stop?.removeEventListener('abort', this.#stopped)
    return true
  }
}

/** Connections that are open and have carried nothing yet. */
class Spares {
  readonly #url: URL
  readonly #open = buildConnector({ timeout: CONNECT_TIMEOUT })
  readonly #sockets: { readonly socket: Socket; readonly since: number; readonly gone: () => void }[] = []
  #wanted = 0
  #opening = 0
  #timer: NodeJS.Timeout | null = null

  constructor(origin: string) {
    this.#url = new URL(origin)
  }
  /** How undici's pools come to a connection. */
  readonly connect: buildConnector.connector = (options, callback) => {
    const socket = this.#take()
    if (socket === null) this.#open(options, callback)
    // Never at once: undici goes on when it is called back later.
    else queueMicrotask(() => callback(null, socket))
    this.#fill()
  }
  keep(count: number): void {
    this.#wanted = count
    this.#fill()
    this.#timer ??= setInterval(() => this.#fill(), SPARE_CHECK).unref()
  }
  close(): void {
    this.#wanted = 0
    if (this.#timer !== null) clearInterval(this.#timer)
    for (const { socket } of this.#sockets.splice(0)) socket.destroy()
  }

  #take(): Socket | null {
    for (let spare = this.#sockets.shift(); spare !== undefined; spare = this.#sockets.shift()) {
      const { socket, since, gone } = spare
      for (const event of ['close', 'end', 'error']) socket.off(event, gone)
      if (socket.destroyed || !socket.writable || Date.now() - since > SPARE_AGE_MAX + SPARE_CHECK) {
        socket.on('error', () => {}).destroy()
        continue
      }
      socket.ref()
      return socket
    }
    return null
  }
  #fill(): void {
    const now = Date.now()
    for (const { socket, since } of this.#sockets) if (now - since > SPARE_AGE_MAX) socket.destroy()
    while (this.#sockets.length + this.#opening < this.#wanted) {
      this.#opening++
      const { host, hostname, protocol, port } = this.#url
      this.#open({ host, hostname: hostname.replace(/^\[|\]$/g, ''), protocol, port }, (error, socket) => {
        this.#opening--
        // Whoever needs one opens it himself and learns why it fails.
        if (error !== null) return
        if (this.#sockets.length >= this.#wanted) {
          socket.destroy()
          return
        }
        const gone = (): void => {
          const at = this.#sockets.findIndex((s) => s.socket === socket)
          if (at >= 0) this.#sockets.splice(at, 1)
          socket.destroy()
        }
        for (const event of ['close', 'end', 'error']) socket.on(event, gone)
        socket.unref()
        this.#sockets.push({ socket, since: Date.now(), gone })
      })
    }
  }
}

function one(header: string | readonly string[] | undefined): string {
  return typeof header === 'string' ? header : (header?.[0] ?? '')
}
