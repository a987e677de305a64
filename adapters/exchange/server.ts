/**
 * The exchange on the wire: node:http and ws, on loopback only. Owns sockets, real timers and the admin door; hides both from the exchange, which is called
 * synchronously and finished before the next byte is read. Invariant: one request is one call, at the clock's time; nothing listens beyond 127.0.0.1.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { Admin } from './admin.ts'
import { Api, SOCKET_PATH, type ApiAnswer, type ApiRequest } from './api.ts'
import { authenticate } from './auth.ts'
import { realNow, VirtualClock } from './clock.ts'
import { readBody } from './body.ts'
import { Connection } from './connection.ts'
import type { Exchange } from './exchange.ts'
import { Faults, type RequestFault, type TimeFault } from './faults.ts'
import { Hub } from './hub.ts'
import { aboutAnother, statusBody } from './misanswer.ts'
import { Refusal } from './refusal.ts'
import { Stage, type Driver } from './stage.ts'

const LOOPBACK = '127.0.0.1'
const FRAME_MAX = 64 * 1024 * 1024
const CONNECTIONS_MAX = 200
const FAILED: ApiAnswer = {
  status: 500,
  body: { error: { code: 'internal_server_error', message: 'internal server error' } },
  operation: '',
  account: null,
}
/** Real milliseconds between looks at what is due. */
const TICK_MAX = 50

export type ServerOptions = {
  readonly exchange: Exchange
  readonly clock: VirtualClock
  readonly drivers?: readonly Driver[]
  /** 0: any free one. */
  readonly port?: number
  /** Null: no admin door. */
  readonly adminPort?: number | null
  readonly faults?: Faults
  /** Signatures by the machine's own clock are accepted too: for clients that cannot be given the shared one. */
  readonly wallSignatures?: boolean
  /** Bytes that may wait for a slow reader. */
  readonly bufferMax?: number
  /** The admin door was asked to stop. */
  readonly onStop?: () => void
}

export class ExchangeServer {
  readonly exchange: Exchange
  readonly clock: VirtualClock
  readonly hub: Hub
  readonly api: Api
  readonly faults: Faults
  readonly connections = new Set<Connection>()
  /** An error that ended the exchange; null while all is well. */
  failure: unknown = null
  readonly #stage: Stage
  readonly #options: ServerOptions
  readonly #http: Server
  readonly #wss: WebSocketServer
  readonly #sockets = new Set<Socket>()
  #admin: Server | null = null
  #tick: NodeJS.Timeout | null = null
  #pings: NodeJS.Timeout | null = null
  readonly #late = new Set<NodeJS.Timeout>()
  #stopped = false
  requests = 0
  /** The longest that the exchange stood behind its clock, µs: the machine is too slow for the scale when it is long. */
  behindMax = 0

  constructor(options: ServerOptions) {
    this.#options = options
    this.exchange = options.exchange
    this.clock = options.clock
    this.exchange.face = this.clock
    this.faults = options.faults ?? new Faults()
    this.hub = new Hub(this.exchange)
    this.api = new Api(this.exchange)
    this.#stage = new Stage(this.exchange, options.drivers ?? [])
    this.#http = createServer((request, response) => void this.#serve(request, response))
    // As a load balancer keeps them: an idle socket outlives a client's pauses.
    this.#http.keepAliveTimeout = 65_000
    this.#http.on('connection', (socket) => this.#keep(socket))
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    this.#wss = new WebSocketServer({ noServer: true, perMessageDeflate: false, autoPong: false, maxPayload: FRAME_MAX })
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port
  }
  get url(): string {
    return `http://${LOOPBACK}:${this.port}/trade-api/v2`
  }
  get socketUrl(): string {
    return `ws://${LOOPBACK}:${this.port}${SOCKET_PATH}`
  }
  get adminUrl(): string | null {
    return this.#admin === null ? null : `http://${LOOPBACK}:${(this.#admin.address() as AddressInfo).port}`
  }

  async start(): Promise<void> {
    await listen(this.#http, this.#options.port ?? 0)
    if (this.#options.adminPort !== null && this.#options.adminPort !== undefined) {
      const admin = new Admin(this)
      this.#admin = createServer((request, response) => void admin.serve(request, response))
      this.#admin.on('connection', (socket) => this.#keep(socket))
      try {
        await listen(this.#admin, this.#options.adminPort)
      } catch (error) {
        // Half an exchange is none: what listens already would keep the process alive.
        this.#admin = null
        await this.stop()
        throw error
      }
    }
    for (const fault of this.faults.timed) this.schedule(fault)
    this.#pings = setInterval(() => {
      for (const c of this.connections) c.ping()
    }, 10_000 / this.clock.plan.scale)
    this.#again(0)
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    if (this.#tick !== null) clearTimeout(this.#tick)
    if (this.#pings !== null) clearInterval(this.#pings)
    for (const timer of this.#late) clearTimeout(timer)
    for (const c of this.connections) c.end()
    for (const client of this.#wss.clients) client.close(1001)
    const closed = [this.#http, this.#admin].filter((s) => s !== null).map((s) => new Promise<void>((resolve) => s.close(() => resolve())))
    // Clients get a moment to see the close.
    await new Promise((resolve) => setTimeout(resolve, 20))
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(closed)
  }
  requestStop(): void {
    this.#options.onStop?.()
  }

  /** Everything due has happened. Call before looking at the exchange from outside. */
  catchUp(): void {
    this.#stage.advance(this.clock.now())
    this.behindMax = Math.max(this.behindMax, this.clock.now() - this.exchange.now)
  }

  /** A broken invariant: no answer from here on would be worth anything. */
  broken(error: unknown): void {
    this.failure ??= error
    this.requestStop()
  }

  /** A fault of a moment: at its time, or now when it has passed. */
  schedule(fault: TimeFault): void {
    this.exchange.at(this.exchange.options.start + fault.at * 1000, () => {
      this.faults.note({ time: this.exchange.now, on: 'time', do: fault.do, what: String(fault.ms ?? '') })
      const shard = fault.shard ?? null
      switch (fault.do) {
        case 'pause-trading':
        case 'resume-trading':
          return this.exchange.pause('trading', fault.do === 'pause-trading', shard)
        case 'pause-exchange':
        case 'resume-exchange':
          return this.exchange.pause('exchange', fault.do === 'pause-exchange', shard)
        case 'freeze-reads':
        case 'thaw-reads':
          return this.exchange.freezeReads(fault.do === 'freeze-reads')
        case 'read-lag':
          this.exchange.readLag = (fault.ms ?? 0) * 1000
          return
        case 'clock-offset':
          this.clock.offset = (fault.ms ?? 0) * 1000
          return
        case 'disconnect':
          for (const c of this.connections) c.reset()
          return
        case 'half-open':
          for (const c of this.connections) c.halfOpen()
          return
        case 'stop-pings':
        case 'start-pings':
          for (const c of this.connections) c.pings = fault.do === 'start-pings'
      }
    })
  }

  // ---------------------------------------------------------------------------------------------- time

  #again(ms: number): void {
    if (this.#stopped) return
    this.#tick = setTimeout(() => {
      try {
        this.catchUp()
      } catch (error) {
        this.broken(error)
        void this.stop()
        return
      }
      this.#again(Math.min(TICK_MAX, Math.max(1, this.clock.wait(this.#stage.due))))
    }, ms)
  }

  // ---------------------------------------------------------------------------------------------- REST

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests++
    const body = await readBody(request)
    if (body === null) return void response.destroy()
    const call: ApiRequest = {
      method: request.method ?? 'GET',
      url: request.url ?? '/',
      headers: request.headers,
      body,
      wall: this.#options.wallSignatures === true ? realNow() : null,
    }
    try {
      if (this.failure !== null) return this.#answer(response, FAILED)
      this.catchUp()
      const [operation, account] = this.api.about(call)
      const fault = this.faults.request(call.method, operation, account, this.exchange.now)
      if (fault !== null) return this.#faulty(fault, call, operation, response)
    } catch (error) {
      this.broken(error)
      return this.#answer(response, FAILED)
    }
    this.#answer(response, this.#call(call))
  }

  #call(call: ApiRequest): ApiAnswer {
    try {
      return this.api.handle(call)
    } catch (error) {
      this.broken(error)
      return FAILED
    }
  }

  #faulty(fault: RequestFault, call: ApiRequest, operation: string, response: ServerResponse): void {
    const ms = (fault.ms ?? 1000) / this.clock.plan.scale
    switch (fault.do) {
      case 'too-many':
        return this.#write(response, 429, JSON.stringify({ error: 'too many requests' }), 'application/json')
      case 'reset':
        return void response.destroy()
      case 'lose-response':
        this.#call(call)
        return void response.destroy()
      case 'late-effect': {
        // Signed in time, executed late: the caller is gone by then.
        const stamp = Number(call.headers['kalshi-access-timestamp']) * 1000
        this.#later(ms, () => void this.#call(call), stamp)
        return void response.destroy()
      }
      case 'delay':
        return this.#later(ms, () => this.#answer(response, this.#call(call)), Number(call.headers['kalshi-access-timestamp']) * 1000)
      case 'status': {
        const status = fault.status ?? 500
        if (fault.effect === true) this.#call(call)
        return this.#write(response, status, JSON.stringify(statusBody(status, operation, fault.code)), 'application/json')
      }
      case 'wrong-order': {
        const answer = this.#call(call)
        const account = [...this.exchange.accounts.values()].find((a) => a.name === answer.account) ?? null
        const roll = (n: number): number => this.faults.roll(n)
        return this.#answer(response, aboutAnother(answer, account, roll, this.exchange.ids.of(`nobody's order:${this.requests}`)))
      }
      case 'no-order': {
        const answer = fault.effect === true ? this.#call(call) : { ...FAILED, status: operation.includes('Create') ? 201 : 200 }
        return this.#answer(response, answer.status < 300 ? { ...answer, body: {} } : answer)
      }
      case 'html':
        if (fault.effect === true) this.#call(call)
        return this.#write(
          response,
          fault.status ?? 502,
          '<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>\r\n',
          'text/html',
        )
    }
  }

  /** Runs later with the clock tolerance stretched to the request's own time stamp. */
  #later(ms: number, body: () => void, stamp: number): void {
    const timer = setTimeout(() => {
      this.#late.delete(timer)
      if (this.#stopped) return
      try {
        this.catchUp()
        this.exchange.signedAt = Number.isFinite(stamp) ? stamp : null
        body()
      } catch (error) {
        this.broken(error)
      } finally {
        this.exchange.signedAt = null
      }
    }, ms)
    this.#late.add(timer)
  }

  #answer(response: ServerResponse, answer: ApiAnswer): void {
    this.#write(response, answer.status, answer.body === undefined ? null : JSON.stringify(answer.body), 'application/json')
  }
  #write(response: ServerResponse, status: number, body: string | null, type: string): void {
    if (response.destroyed) return
    response.writeHead(status, {
      date: new Date(this.clock.face() / 1000).toUTCString(),
      ...(body === null ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) }),
    })
    response.end(body ?? undefined)
  }

  // ---------------------------------------------------------------------------------------------- WebSocket

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const path = (request.url ?? '/').split('?')[0] ?? '/'
    let caller
    try {
      this.catchUp()
      if (path !== SOCKET_PATH) throw new Refusal(404, 'not_found', {})
      const wall = this.#options.wallSignatures === true ? realNow() : null
      caller = authenticate(this.exchange, request.headers, 'GET', SOCKET_PATH, wall)
      if (this.hub.connections(caller.account) >= CONNECTIONS_MAX)
        throw new Refusal(429, 'too_many_requests', { error: 'too many requests' })
    } catch (error) {
      if (error instanceof Refusal) return refuseUpgrade(socket, error.status, error.body)
      this.broken(error)
      return refuseUpgrade(socket, FAILED.status, FAILED.body)
    }
    const fault = this.faults.connect(caller.account.name, this.exchange.now)
    if (fault?.do === 'reset') return void socket.destroy()
    if (fault?.do === 'status') return refuseUpgrade(socket, fault.status ?? 502, {})
    const { account, key } = caller
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      const connection = new Connection(ws, this.hub, account, key, this.faults, this.clock, this.#options.bufferMax ?? FRAME_MAX)
      this.connections.add(connection)
      ws.on('message', (data, binary) => {
        try {
          this.catchUp()
          connection.receive(binary ? '' : String(data as Buffer))
        } catch (error) {
          this.broken(error)
          connection.reset()
        }
      })
      ws.on('ping', (data) => connection.pong(data))
      ws.on('error', () => ws.terminate())
      ws.on('close', () => {
        connection.end()
        this.connections.delete(connection)
      })
    })
  }

  #keep(socket: Socket): void {
    socket.setNoDelay(true)
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => socket.destroy())
  }
}

function refuseUpgrade(socket: Duplex, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  const phrase = status === 401 ? 'Unauthorized' : status === 404 ? 'Not Found' : 'Refused'
  socket.end(
    `HTTP/1.1 ${status} ${phrase}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  )
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, LOOPBACK, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
