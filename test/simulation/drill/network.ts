/**
 * The way between one process and the exchange: `Http` and `Sockets` of the adapter's ports, straight into the exchange's own synchronous core. Owns what the network does to a request, an answer and a frame;
 * hides the sockets that are not there. Invariants: the exchange sees each request that arrives once and whole; whoever watches is told when bytes leave, when they arrive and when they never will; a process
 * that was killed hears nothing more.
 */
import type { Account, ApiKey } from '../../../adapters/exchange/index.ts'
import { Api, type Exchange, type Frame, type Hub, type Session } from '../../../adapters/exchange/index.ts'
import {
  HttpFailure,
  type HttpAnswer,
  type HttpRequest,
  type Socket,
  type SocketEvents,
  type World,
} from '../../../adapters/kalshi/ports.ts'
import type { Timeline } from '../timeline.ts'
import type { Moment } from './disk.ts'
import { Dice, type Fired, type Swarm } from './swarm.ts'

/** A write on its way. */
export type Way = {
  readonly number: number
  readonly time: number
  readonly method: string
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
  state: 'on its way' | 'arrived' | 'gone'
  /** The process has its answer, or has given up. */
  heard: boolean
}
export interface Watcher {
  /** Bytes of a write leave the process. */
  left(way: Way): void
  arrived(way: Way, status: number): void
  gone(way: Way): void
}

export type NetworkParts = {
  readonly timeline: Timeline
  readonly exchange: Exchange
  readonly hub: Hub
  readonly account: Account
  readonly key: ApiKey
  readonly seed: number
  readonly fired: Fired
  readonly watcher: Watcher
  /** A process lives through this, or not. */
  readonly moment: (at: Moment) => void
}

const PRIVATE = new Set(['fill', 'user_orders', 'market_positions', 'order_group_updates'])
const JSON_TYPE = 'application/json'

export class Network {
  swarm: Swarm
  readonly ways = new Set<Way>()
  /** Writes by client order id, for whoever asks which is not answered yet. */
  readonly byClient = new Map<string, Way>()
  readonly parts: NetworkParts
  readonly api: Api
  readonly wires = new Set<Wire>()
  /** Order ids that an answer may speak of by mistake. */
  readonly others: string[] = []
  writes = 0
  reads = 0
  connects = 0
  #number = 0
  /** The exchange gives so many rows at once, whatever is asked for. */
  readonly #page: number
  /** µs: within the margin after which an order may be held to be absent. */
  late: readonly [number, number] = [1_000_000, 58_000_000]
  /** µs by which the clock of a process is ahead. */
  readonly off: number
  readonly #dice: Dice

  constructor(swarm: Swarm, parts: NetworkParts) {
    this.swarm = swarm
    this.parts = parts
    this.api = new Api(parts.exchange)
    this.#dice = new Dice(parts.seed, 'http')
    this.off = Math.floor(swarm.clockOff) * (this.#dice.hit(0.5) ? 1 : -1)
    this.#page = this.#dice.pick([1, 3, 8, 20, 50])
  }

  /** The ports of one process. */
  process(chance: () => number): { readonly world: World; kill(): void } {
    const { timeline } = this.parts
    const { off } = this
    let alive = true
    const mine = new Set<Wire>()
    const ifAlive =
      <A extends unknown[]>(call: (...args: A) => void, at: Moment | null = null) =>
      (...args: A): void => {
        if (alive && at !== null) this.parts.moment(at)
        if (alive) call(...args)
      }
    const world: World = {
      clock: { now: () => timeline.now + off, wall: () => Math.floor((timeline.now + off) / 1000) },
      timers: { after: (delay, call) => timeline.after(delay, ifAlive(call)) },
      chance: { next: chance },
      sockets: {
        open: (_url, headers, events) => {
          const wire = new Wire(this, {
            opened: ifAlive(() => events.opened()),
            frame: ifAlive((text: string) => events.frame(text), 'frame'),
            strange: ifAlive((what: string) => events.strange(what)),
            heard: ifAlive(() => events.heard()),
            closed: ifAlive((why) => events.closed(why)),
          } satisfies SocketEvents)
          mine.add(wire)
          wire.connect(headers)
          return wire
        },
      },
      http: {
        request: (request) =>
          new Promise((resolve, reject) => {
            if (alive) this.#request(request, () => alive, ifAlive(resolve, 'answer'), ifAlive(reject, 'answer'))
          }),
      },
      quarantine: { keep: () => {} },
    }
    return {
      world,
      kill: () => {
        alive = false
        for (const wire of mine) wire.destroy()
      },
    }
  }

  /** Every open connection lives through a second of faults. */
  second(): void {
    const { fired } = this.parts
    for (const wire of this.wires) {
      if (this.#dice.hit(this.swarm.halfOpen)) {
        fired['half open']++
        wire.silent = true
      }
      if (this.#dice.hit(this.swarm.reset)) {
        fired.reset++
        wire.end(1006, 'reset')
      }
    }
  }
  latency(dice: Dice): number {
    return dice.between(2_000, 15_000) + dice.between(0, Math.ceil(this.swarm.slow * 1000))
  }

  // ---------------------------------------------------------------------------------------------- requests

  #request(request: HttpRequest, alive: () => boolean, resolve: (answer: HttpAnswer) => void, reject: (error: unknown) => void): void {
    if (request.method === 'GET') return this.#read(request, resolve, reject)
    const { timeline, moment } = this.parts
    const given = timeline.now
    let open = true
    const stopped = (): void => {
      if (!open) return
      open = false
      reject(new HttpFailure('stopped', 'stopped', false))
    }
    request.stop?.addEventListener('abort', stopped)
    // A connection may have to be made first.
    timeline.after(this.#dice.hit(this.swarm.connecting) ? this.#dice.between(1_000, 300_000) : 0, () => {
      request.stop?.removeEventListener('abort', stopped)
      if (!open || !alive()) return
      open = false
      moment('send')
      if (!alive()) return
      if (request.mayLeave?.() === false) return reject(new HttpFailure('stopped', 'it may not leave', false))
      this.#write(request, given, resolve, reject)
      moment('sent')
    })
  }

  #write(request: HttpRequest, given: number, resolve: (answer: HttpAnswer) => void, reject: (error: unknown) => void): void {
    const { timeline, fired, watcher } = this.parts
    const { swarm } = this
    const dice = this.#dice
    this.writes++
    const way: Way = {
      number: this.#number++,
      time: given,
      method: request.method,
      path: new URL(request.url).pathname,
      body: request.body === null ? {} : (JSON.parse(request.body) as Record<string, unknown>),
      state: 'on its way',
      heard: false,
    }
    const client = way.body['client_order_id']
    if (typeof client === 'string' && !this.byClient.has(client)) this.byClient.set(client, way)
    const answer = (given: HttpAnswer, delay: number): void => {
      const late = delay > request.timeout - (timeline.now - way.time)
      timeline.after(late ? Math.max(0, request.timeout - (timeline.now - way.time)) : delay, () => {
        way.heard = true
        if (late) reject(new HttpFailure('timeout', 'none in time'))
        else resolve(given)
      })
    }
    const lose = (kind: 'timeout' | 'network', delay: number): void => {
      timeline.after(kind === 'timeout' ? request.timeout : delay, () => {
        way.heard = true
        reject(new HttpFailure(kind, kind === 'timeout' ? 'none in time' : 'ECONNRESET'))
      })
    }
    const gone = (): void => {
      way.state = 'gone'
      this.ways.delete(way)
      watcher.gone(way)
    }
    const executed = (): HttpAnswer => {
      const given = this.#execute(request)
      way.state = 'arrived'
      this.ways.delete(way)
      watcher.arrived(way, given.status)
      return given
    }
    const up = this.latency(dice)

    if (dice.hit(swarm.refused)) {
      fired.refused++
      return void timeline.after(dice.between(500, 5_000), () => {
        way.heard = true
        reject(new HttpFailure('network', 'ECONNREFUSED', false))
      })
    }
    this.ways.add(way)
    watcher.left(way)
    request.onSent?.()
    if (dice.hit(swarm.requestLost)) {
      const reset = dice.hit(0.5)
      fired[reset ? 'request reset' : 'request lost']++
      lose(reset ? 'network' : 'timeout', dice.between(2_000, 400_000))
      // Only now is it known that it does not arrive.
      return void timeline.after(up, gone)
    }
    if (dice.hit(swarm.answerLost)) {
      const reset = dice.hit(0.5)
      timeline.after(up, () => {
        fired[reset ? 'answer reset' : 'answer lost']++
        executed()
        if (reset) lose('network', dice.between(1_000, 200_000))
      })
      if (!reset) lose('timeout', 0)
      return
    }
    if (dice.hit(swarm.effectLate)) {
      const reset = dice.hit(0.5)
      lose(reset ? 'network' : 'timeout', dice.between(2_000, 400_000))
      return void timeline.after(dice.between(...this.late), () => {
        fired['effect late']++
        executed()
      })
    }
    if (dice.hit(swarm.tooMany)) {
      return void timeline.after(up, () => {
        fired['429']++
        gone()
        answer(this.#say(429, JSON_TYPE, '{"error":"too many requests"}'), this.latency(dice))
      })
    }
    if (dice.hit(swarm.status)) {
      const status = dice.pick([408, 500, 502, 503, 504])
      const effect = dice.hit(0.5)
      return void timeline.after(up, () => {
        fired[status === 408 ? '408' : effect ? '5xx with effect' : '5xx without effect']++
        if (effect) executed()
        else gone()
        const code = status === 503 ? 'service_unavailable' : status === 408 ? 'request_timeout' : 'internal_server_error'
        answer(this.#say(status, JSON_TYPE, JSON.stringify({ error: { code, message: code } })), this.latency(dice))
      })
    }
    if (dice.hit(swarm.html)) {
      const effect = dice.hit(0.5)
      const status = dice.pick([200, 502, 503, 403])
      return void timeline.after(up, () => {
        fired[effect ? 'html with effect' : 'html without effect']++
        if (effect) executed()
        else gone()
        answer(this.#say(status, 'text/html', '<html><body>Please stand by</body></html>'), this.latency(dice))
      })
    }
    const garbage = dice.hit(swarm.garbage) ? dice.between(0, 3) : -1
    const late = dice.hit(swarm.answerLate) ? dice.between(200_000, 3_000_000) : 0
    timeline.after(up, () => {
      const given = executed()
      let { body } = given
      if (given.status < 300 && given.status !== 204 && garbage >= 0) {
        if (garbage === 0) {
          fired['answer cut']++
          body = body.slice(0, dice.between(1, Math.max(1, body.length - 2)))
        } else if (garbage === 1) {
          fired['answer empty']++
          body = ''
        } else if (garbage === 2) {
          fired['answer without order']++
          body = '{}'
        } else {
          const other = this.others.length > 0 ? dice.pick(this.others) : '00000000-0000-4000-8000-000000000000'
          const parsed = JSON.parse(body) as Record<string, unknown>
          if (parsed['order_id'] !== undefined && parsed['order_id'] !== other) {
            fired['answer of another order']++
            body = JSON.stringify({
              ...parsed,
              order_id: other,
              ...(parsed['client_order_id'] === undefined ? {} : { client_order_id: 'somebody-elses' }),
            })
          }
        }
      }
      const id = /"order_id":"([^"]+)"/.exec(given.body)?.[1]
      if (id !== undefined && way.path.endsWith('/orders')) this.others.push(id)
      if (late > 0) fired['answer late']++
      answer({ ...given, body }, this.latency(dice) + late)
    })
  }

  #read(request: HttpRequest, resolve: (answer: HttpAnswer) => void, reject: (error: unknown) => void): void {
    const { timeline, fired } = this.parts
    const { swarm } = this
    const dice = this.#dice
    this.reads++
    const up = this.latency(dice)
    const down = this.latency(dice)
    const answer = (given: HttpAnswer): void => void timeline.after(down, () => resolve(given))
    if (dice.hit(swarm.readFailed)) {
      const how = dice.between(0, 3)
      if (how === 0) {
        fired['read lost']++
        return void timeline.after(request.timeout, () => reject(new HttpFailure('timeout', 'none in time')))
      }
      return void timeline.after(up, () => {
        if (how === 1) {
          fired['read 5xx']++
          answer(this.#say(503, JSON_TYPE, '{"error":{"code":"service_unavailable","message":"service unavailable"}}'))
        } else if (how === 2) {
          fired['read 429']++
          answer(this.#say(429, JSON_TYPE, '{"error":"too many requests"}'))
        } else {
          fired['read unreadable']++
          const { body } = this.#execute(request)
          answer(this.#say(200, JSON_TYPE, body.slice(0, Math.floor(body.length / 2))))
        }
      })
    }
    const url = new URL(request.url)
    const list = url.pathname.includes('/portfolio/') && url.searchParams.has('limit')
    let { url: target } = request
    const cursor = url.searchParams.get('cursor')
    let circles = false
    if (list && swarm.pages > 0) {
      if (cursor !== null && dice.hit(swarm.pages)) {
        if (dice.hit(0.5)) {
          fired['page lost']++
          return void timeline.after(up, () =>
            answer(this.#say(500, JSON_TYPE, '{"error":{"code":"internal_server_error","message":"no"}}')),
          )
        }
        circles = true
      }
      if (this.#page < Number(url.searchParams.get('limit'))) {
        fired['small page']++
        url.searchParams.set('limit', String(this.#page))
        target = url.href
      }
    }
    timeline.after(up, () => {
      const given = this.#execute({ ...request, url: target })
      if (circles && given.status === 200) {
        fired['cursor in circles']++
        return answer({ ...given, body: JSON.stringify({ ...(JSON.parse(given.body) as object), cursor }) })
      }
      answer(given)
    })
  }

  /** The exchange does it, now. */
  #execute({ method, url, headers, body }: HttpRequest): HttpAnswer {
    const { exchange, timeline } = this.parts
    const { pathname, search } = new URL(url)
    const lower = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
    exchange.advance(timeline.now)
    exchange.signedAt = Number(lower['kalshi-access-timestamp']) * 1000 || null
    const answer = this.api.handle({ method, url: `${pathname}${search}`, headers: lower, body: body ?? '', wall: null })
    exchange.signedAt = null
    return this.#say(answer.status, JSON_TYPE, answer.body === undefined ? '' : JSON.stringify(answer.body))
  }
  #say(status: number, type: string, body: string): HttpAnswer {
    return { status, type, date: new Date(this.parts.timeline.now / 1000).toUTCString(), body }
  }
}

/** One connection as frames would travel: in order, unless a fault says otherwise. */
class Wire implements Socket {
  readonly waiting = 0
  silent = false
  ended = false
  readonly #network: Network
  readonly #events: SocketEvents
  readonly #dice: Dice
  #session: Session | null = null
  #arrival = 0
  #held: Frame | null = null

  constructor(network: Network, events: SocketEvents) {
    this.#network = network
    this.#events = events
    this.#dice = new Dice(network.parts.seed, `wire ${network.connects++}`)
  }
  connect(headers: Readonly<Record<string, string>>): void {
    const { timeline, hub, account, key } = this.#network.parts
    timeline.after(this.#dice.between(5_000, 60_000), () => {
      if (this.ended) return
      if (headers['KALSHI-ACCESS-SIGNATURE'] === undefined) return this.end(null, 'refused', 401)
      this.#network.wires.add(this)
      this.#session = hub.connect(account, key, (frame) => this.#down(frame))
      this.#beat()
      this.#events.opened()
    })
  }
  send(text: string): void {
    const { timeline, exchange } = this.#network.parts
    timeline.after(this.#network.latency(this.#dice), () => {
      if (this.silent || this.ended) return
      exchange.advance(timeline.now)
      this.#session?.receive(text)
    })
  }
  ping(): void {
    this.#network.parts.timeline.after(2 * this.#network.latency(this.#dice), () => this.#heard())
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
    this.#session?.close()
    this.#network.wires.delete(this)
  }
  #beat(): void {
    if (this.ended) return
    this.#heard()
    this.#network.parts.timeline.after(10_000_000, () => this.#beat())
  }
  #heard(): void {
    if (!this.ended && !this.silent) this.#events.heard()
  }

  #down(frame: Frame): void {
    const { swarm, parts } = this.#network
    const { fired } = parts
    const dice = this.#dice
    const mine = frame.channel !== null && PRIVATE.has(frame.channel) && frame.type !== 'subscribed'
    const [drop, twice, swap] = mine
      ? [swarm.privateDrop, swarm.privateTwice, swarm.privateOrder]
      : [swarm.publicFaults, swarm.publicFaults, 0]
    if (dice.hit(drop)) return void fired[mine ? 'private frame lost' : 'public frame lost']++
    if (!mine && dice.hit(swarm.publicFaults / 4)) {
      fired['public frame cut']++
      return this.#arrive(frame, frame.text.slice(0, dice.between(1, frame.text.length - 1)))
    }
    if (this.#held === null && dice.hit(swap)) {
      this.#held = frame
      return
    }
    this.#arrive(frame)
    if (dice.hit(twice)) {
      fired[mine ? 'private frame twice' : 'public frame twice']++
      this.#arrive(frame)
    }
    // Only a private frame waits, and only for the next one.
    if (this.#held !== null && mine) {
      fired['private frames swapped']++
      const held = this.#held
      this.#held = null
      this.#arrive(held)
    }
  }
  #arrive(frame: Frame, text = frame.text): void {
    const { timeline, fired } = this.#network.parts
    // What comes later waits behind what is late.
    this.#arrival = Math.max(this.#arrival, timeline.now + this.#network.latency(this.#dice))
    timeline.after(this.#arrival - timeline.now, () => {
      if (this.ended || this.silent) return
      if (frame.type === 'fill') {
        const client = /"client_order_id":"([^"]+)"/.exec(text)?.[1]
        if (client !== undefined && this.#network.byClient.get(client)?.heard === false) fired['fill before acknowledgement']++
      }
      this.#events.frame(text)
    })
  }
}
