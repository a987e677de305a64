/**
 * Our own orders and fills as the exchange tells them: one socket for the private channels. Owns which of them are confirmed and when something may have been missed; hides connection and subscriptions. A
 * reducer: messages in, commands out. Invariant: what it tells are hints; whatever makes it doubt that it heard all becomes `missed` or `reconnected`, so that somebody reads.
 */
import { parseQuantity, SECOND } from '../../../engine/units.ts'
import { digits } from '../../../data/import/translate.ts'
import { Connection, Permits, type ConnectionCommand } from '../connection.ts'
import { KalshiError } from '../errors.ts'
import type { Chance, Quarantine, SocketEnd } from '../ports.ts'
import { Stream, type StreamCommand } from '../stream.ts'
import { readFrame, type Channel, type StreamMessage } from '../wire/stream.ts'
import { PositionChain } from './chain.ts'
import type { FillFact, OrderFact } from './evidence.ts'
import { fillOfStream, orderOfStream } from './facts.ts'

export type PrivateEvent =
  | { readonly type: 'order'; readonly fact: OrderFact }
  | { readonly type: 'fill'; readonly fact: FillFact }
  | {
      readonly type: 'group'
      readonly id: string
      readonly event: 'created' | 'triggered' | 'reset' | 'deleted' | 'limit_updated'
      readonly timeVenue: number | null
    }
  /** All channels are confirmed on a connection: before it, nothing was heard. A reconcile is due. */
  | { readonly type: 'reconnected' }
  /** Something was lost while connected: a sweep is due at once. `groups`: it may have been news of an order group. */
  | { readonly type: 'missed'; readonly reason: string; readonly groups: boolean }
  | { readonly type: 'down'; readonly reason: string }

export type PrivateCommand =
  | { readonly kind: 'open' | 'ping' | 'destroy' }
  | { readonly kind: 'send'; readonly text: string }
  | { readonly kind: 'tell'; readonly event: PrivateEvent }
  | { readonly kind: 'fail'; readonly error: KalshiError }

const CHANNELS: readonly Channel[] = ['fill', 'user_orders', 'market_positions', 'order_group_updates']
/** All channels have to be confirmed by then. */
const CONFIRM_WAIT = 15 * SECOND

export class PrivateCore {
  readonly chain = new PositionChain()
  readonly counts = { frames: 0, malformed: 0, unreadable: 0, unknown: 0, missed: 0, connects: 0 }
  readonly #quarantine: Quarantine
  readonly #emit: (command: PrivateCommand) => void
  readonly #connection: Connection
  readonly #stream: Stream
  readonly #confirmed = new Set<Channel>()
  #whole = false
  #opened = false
  #openedAt = 0
  #resubscribed = 0
  #now = 0

  constructor(chance: Chance, quarantine: Quarantine, emit: (command: PrivateCommand) => void, permits = new Permits()) {
    this.#quarantine = quarantine
    this.#emit = emit
    permits.want(1)
    this.#connection = new Connection(chance, permits, (c) => this.#connectionCommand(c))
    this.#stream = new Stream({ markets: [], globals: CHANNELS.map((channel) => ({ channel })) }, (c) => this.#streamCommand(c))
  }

  /** Connected, and every channel confirmed. */
  get whole(): boolean {
    return this.#whole
  }
  get state(): Connection['state'] {
    return this.#connection.state
  }

  start(now: number): void {
    this.#now = now
    this.#connection.start(now)
    this.#connection.advance(now)
  }
  opened(now: number): void {
    this.#now = now
    if (this.#connection.state !== 'connecting') return
    this.counts.connects++
    this.#connection.opened(now)
    this.#opened = true
    this.#openedAt = now
    this.#confirmed.clear()
    this.#stream.opened(now)
  }
  closed(end: SocketEnd, now: number): void {
    this.#now = now
    this.#down(`disconnected${end.code === null ? '' : ` (${end.code})`}`)
    this.#connection.closed(end, now)
  }
  heard(now: number): void {
    this.#connection.heard(now)
  }
  /** Something came that is no text frame. */
  strange(what: string, now: number): void {
    this.#now = now
    this.#malformed(what, '')
  }
  frame(text: string, now: number): void {
    this.#now = now
    if (this.#connection.state !== 'open') return
    this.#connection.heard(now)
    this.counts.frames++
    const frame = readFrame(text)
    switch (frame.kind) {
      case 'malformed':
        return this.#malformed(frame.reason, text)
      case 'unknown':
        this.counts.unknown++
        this.#keep(`unknown type ${frame.type.slice(0, 60)}`, text)
        return this.#stream.unknown(frame.sid, frame.seq, now)
      case 'message': {
        const { message } = frame
        const applies = this.#stream.message(message, now)
        if (message.type === 'subscribed') this.#subscribed(message.msg.channel as Channel)
        if (applies) this.#apply(message, text)
        this.#watch()
      }
    }
  }
  tick(now: number): void {
    this.#now = now
    this.#connection.advance(now)
    this.#stream.advance(now)
    this.#watch()
    const broken = this.chain.advance(now)
    if (broken !== null) this.#missed(broken)
    if (this.#connection.state === 'open' && !this.#whole && now - this.#openedAt > CONFIRM_WAIT)
      this.#connection.drop('not every private channel was confirmed', now)
  }

  #subscribed(channel: Channel): void {
    if (!CHANNELS.includes(channel)) return
    this.#confirmed.add(channel)
    if (this.#confirmed.size < CHANNELS.length) return
    if (this.#whole) return this.#missed(`${channel} was subscribed anew`, channel === 'order_group_updates')
    this.#whole = true
    this.#tell({ type: 'reconnected' })
  }
  /** A subscription that died between two messages was replaced by the stream: what came in between is lost. */
  #watch(): void {
    if (this.#stream.counts.resubscribed === this.#resubscribed) return
    this.#resubscribed = this.#stream.counts.resubscribed
    this.#missed('a subscription of a private channel was lost', true)
  }
  #apply(m: StreamMessage, raw: string): void {
    if (m.type === 'user_order') {
      const { fact, why } = orderOfStream(m.msg)
      return fact === null ? this.#unreadable(why, raw) : this.#tell({ type: 'order', fact })
    }
    if (m.type === 'fill') {
      const { fact, why } = fillOfStream(m.msg)
      if (fact === null) return this.#unreadable(why, raw)
      const { twice, broken } = this.chain.fill(fact)
      if (!twice) this.#tell({ type: 'fill', fact })
      return broken === null ? undefined : this.#missed(broken)
    }
    if (m.type === 'market_position') {
      const position = parseQuantity(digits(m.msg.position_fp))
      if (!Number.isSafeInteger(position)) return this.#unreadable(`position of ${m.msg.market_ticker.slice(0, 60)} is none`, raw)
      return this.chain.claim(m.msg.market_ticker, m.msg.subaccount ?? 0, position, this.#now)
    }
    // Nothing else was subscribed.
    if (m.type !== 'order_group_updates') return void this.counts.unknown++
    const time = m.msg.ts_ms ?? null
    this.#tell({ type: 'group', id: m.msg.order_group_id, event: m.msg.event_type, timeVenue: time === null ? null : time * 1000 })
  }
  #unreadable(why: string, raw: string): void {
    this.counts.unreadable++
    this.#keep(why, raw)
    this.#missed(why)
  }
  #malformed(reason: string, raw: string): void {
    this.counts.malformed++
    this.#keep(reason, raw)
    this.#missed('a private frame could not be read', true)
    this.#stream.malformed(this.#now)
  }
  #keep(reason: string, raw: string): void {
    this.#quarantine.keep({ time: this.#now, where: 'private', reason, raw })
  }
  #missed(reason: string, groups = false): void {
    this.counts.missed++
    this.#tell({ type: 'missed', reason, groups })
  }
  #down(reason: string): void {
    // A connection that never came to be was down before.
    if (!this.#opened) return
    this.#opened = false
    this.#stream.closed()
    this.#confirmed.clear()
    this.#whole = false
    this.#tell({ type: 'down', reason })
  }
  #tell(event: PrivateEvent): void {
    this.#emit({ kind: 'tell', event })
  }

  #connectionCommand(c: ConnectionCommand): void {
    switch (c.kind) {
      case 'connect':
        return this.#emit({ kind: 'open' })
      case 'ping':
        return this.#emit({ kind: 'ping' })
      case 'destroy':
        this.#emit({ kind: 'destroy' })
        return this.#down(c.reason)
      case 'refused':
        return this.#emit({
          kind: 'fail',
          error: new KalshiError(
            'AUTH',
            `the exchange refuses the private handshake (${c.status}): check the key, its environment (demo or production) and the clock of this machine`,
            c.status,
          ),
        })
    }
  }
  #streamCommand(c: StreamCommand): void {
    switch (c.kind) {
      case 'send':
        return this.#emit({ kind: 'send', text: c.text })
      case 'drop':
        return this.#connection.drop(c.reason, this.#now)
      case 'missed':
        return this.#missed(`messages of ${c.channel} were lost`, c.channel === 'order_group_updates')
      case 'unsync':
      case 'full':
      case 'refused':
        // Books and markets: there are none here. What a channel was refused for ends the connection.
        return
    }
  }
}
