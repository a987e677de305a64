/** The private socket in the world: opens, sends, ticks. Owns the wiring of `private.ts` to the ports; hides both. Invariant: every handshake is signed anew, and what an old socket still says is nobody's. */
import type { Environment } from '../environment.ts'
import type { Socket, Timer, World } from '../ports.ts'
import type { Signer } from '../sign.ts'
import { PrivateCore, type PrivateCommand, type PrivateEvent } from './private.ts'

const TICK = 100_000
const SOCKET_PATH = '/trade-api/ws/v2'

export type PrivateSocketParts = {
  readonly environment: Environment
  readonly signer: Signer
  readonly world: World
  readonly onEvent: (event: PrivateEvent, now: number) => void
  /** It cannot go on: the key is refused, or something broke inside. */
  readonly onFail: (error: unknown) => void
}

export class PrivateSocket {
  readonly core: PrivateCore
  readonly #parts: PrivateSocketParts
  #socket: Socket | null = null
  #timer: Timer | null = null
  #running = false

  constructor(parts: PrivateSocketParts) {
    this.#parts = parts
    this.core = new PrivateCore(parts.world.chance, parts.world.quarantine, (c) => this.#do(c))
  }
  start(): void {
    if (this.#running) return
    this.#running = true
    this.#guarded(() => this.core.start(this.#parts.world.clock.now()))
    this.#tick()
  }
  stop(): void {
    this.#running = false
    this.#timer?.cancel()
    this.#timer = null
    const socket = this.#socket
    this.#socket = null
    socket?.destroy()
  }

  #tick(): void {
    if (!this.#running) return
    const { clock, timers } = this.#parts.world
    this.#guarded(() => this.core.tick(clock.now()))
    if (this.#running) this.#timer = timers.after(TICK, () => this.#tick())
  }
  #do(c: PrivateCommand): void {
    switch (c.kind) {
      case 'open':
        return this.#open()
      case 'send':
        return this.#socket?.send(c.text)
      case 'ping':
        return this.#socket?.ping()
      case 'destroy': {
        const socket = this.#socket
        this.#socket = null
        return socket?.destroy()
      }
      case 'tell':
        if (this.#running) this.#parts.onEvent(c.event, this.#parts.world.clock.now())
        return
      case 'fail':
        return this.#fail(c.error)
    }
  }
  #open(): void {
    const { environment, signer, world } = this.#parts
    // A signature lives for seconds.
    const headers = signer.headers('GET', SOCKET_PATH, world.clock.wall())
    const tell = (call: (now: number) => void): void => {
      if (this.#running && this.#socket === socket) this.#guarded(() => call(world.clock.now()))
    }
    const socket: Socket = world.sockets.open(environment.socket, headers, {
      opened: () => tell((now) => this.core.opened(now)),
      frame: (text) => tell((now) => this.core.frame(text, now)),
      strange: (what) => tell((now) => this.core.strange(what, now)),
      heard: () => tell((now) => this.core.heard(now)),
      closed: (end) =>
        tell((now) => {
          this.#socket = null
          this.core.closed(end, now)
        }),
    })
    this.#socket = socket
  }
  #guarded(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#fail(error)
    }
  }
  #fail(error: unknown): void {
    if (!this.#running) return
    this.stop()
    this.#parts.onFail(error)
  }
}
