/**
 * One socket of a client and what may go wrong on it. Owns the way of frames to the wire; hides ws. Invariant: without a fault frames leave in order, whole and once;
 * a reader that does not keep up is told (error 25) and loses the subscription, never single frames.
 */
import type { WebSocket } from 'ws'
import type { Account, ApiKey } from './account.ts'
import type { VirtualClock } from './clock.ts'
import { corrupted, type Faults } from './faults.ts'
import type { Hub } from './hub.ts'
import type { Frame, Session } from './session.ts'

export class Connection {
  readonly session: Session
  readonly #socket: WebSocket
  readonly #faults: Faults
  readonly #clock: VirtualClock
  readonly #bufferMax: number
  /** Alive on the wire, dead behind it: nothing goes in or out. */
  #halfOpen = false
  #held: string | null = null
  #timers = new Set<NodeJS.Timeout>()
  pings = true

  constructor(socket: WebSocket, hub: Hub, account: Account, key: ApiKey, faults: Faults, clock: VirtualClock, bufferMax: number) {
    this.#socket = socket
    this.#faults = faults
    this.#clock = clock
    this.#bufferMax = bufferMax
    this.session = hub.connect(account, key, (frame) => this.#send(frame))
  }

  receive(text: string): void {
    if (!this.#halfOpen) this.session.receive(text)
  }
  ping(): void {
    if (!this.#halfOpen && this.pings && this.#socket.readyState === this.#socket.OPEN) this.#socket.ping('heartbeat')
  }
  /** Answers the client's own ping: not on a connection that is dead behind the wire. */
  pong(data: Buffer): void {
    if (!this.#halfOpen && this.#socket.readyState === this.#socket.OPEN) this.#socket.pong(data)
  }
  halfOpen(): void {
    this.#halfOpen = true
  }
  /** As a network does it: no close frame. */
  reset(): void {
    this.#socket.terminate()
  }
  end(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    this.session.close()
  }

  #send(frame: Frame): void {
    if (this.#halfOpen) return
    const now = this.#clock.now()
    const fault = this.#faults.frame(frame, this.session.account.name, now)
    switch (fault?.do) {
      case undefined:
        break
      case 'drop':
        return
      case 'delay':
        return this.#later(frame.text, fault.ms ?? 1000)
      case 'duplicate':
        this.#write(frame.text)
        break
      case 'reorder':
        if (this.#held === null) {
          this.#held = frame.text
          return
        }
        break
      case 'corrupt':
        return this.#write(corrupted(frame.text, (n) => this.#faults.roll(n)))
      case 'half-open':
        return this.halfOpen()
      case 'close':
        return this.reset()
      case 'channel-error':
      case 'overflow': {
        const sub = this.session.subscriptions.find((s) => s.sid === frame.sid)
        const code = fault.do === 'overflow' ? 25 : 10
        // After the message that is being told to everybody.
        if (sub !== undefined) queueMicrotask(() => this.session.fail(sub, code))
        return
      }
    }
    this.#write(frame.text)
    if (this.#held !== null && this.#held !== frame.text) {
      const held = this.#held
      this.#held = null
      this.#write(held)
    }
  }

  #write(text: string): void {
    const socket = this.#socket
    if (socket.readyState !== socket.OPEN) return
    if (socket.bufferedAmount > this.#bufferMax) {
      for (const sub of this.session.subscriptions) queueMicrotask(() => this.session.fail(sub, 25))
      if (socket.bufferedAmount > 2 * this.#bufferMax) return this.reset()
    }
    socket.send(text)
  }
  #later(text: string, ms: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      if (!this.#halfOpen) this.#write(text)
    }, ms / this.#clock.plan.scale)
    this.#timers.add(timer)
  }
}
