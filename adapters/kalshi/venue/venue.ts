/**
 * The real venue: the engine's commands out, the exchange's news in. Owns when an intent is kept, synced and sent, and the queue through which news enters between turns; hides the reducer, the gate and the
 * wire. Invariants: no byte leaves before its intent is on disk; a command goes out at most once; nothing enters the engine while it is inside a turn.
 */
import type { Market } from '../../../engine/market.ts'
import type { News } from '../../../engine/news.ts'
import type { Command } from '../../../engine/order.ts'
import { BID, MILLISECOND, SECOND } from '../../../engine/units.ts'
import type { Inbox, Venue } from '../../../engine/venue.ts'
import type { Clock, Timer, Timers } from '../ports.ts'
import { Priority } from '../rate-limit.ts'
import type { Rest } from '../rest.ts'
import type { FillFact, OrderFact, Source, Sweep, Wanted } from './evidence.ts'
import type { Gate, GateStatus, Passed } from './gate.ts'
import { clientId, isOfOrder, type CancelIntent, type Intent } from './intent.ts'
import type { OrdersOptions } from './ledger.ts'
import { Orders, type OrdersStatus } from './orders.ts'
import { Sweeper } from './sweep.ts'
import type { Kept } from './tracked.ts'

export type VenueParts = {
  readonly gate: Gate
  readonly rest: Rest
  readonly clock: Clock
  readonly timers: Timers
  /** Appends to the log; returns its sequence. Throws when it cannot be kept: then nothing leaves that adds risk. `dropped`: the number of a command that a crash kept from becoming an intent. */
  record(kind: 'intent', detail: Intent): number
  record(kind: 'dropped', detail: { readonly command: number }): number
  /** Returns when all that was appended is on disk. */
  sync(): Promise<void>
  /** The same before it returns, where that is quick; false: it has to be waited for. */
  syncNow?(): boolean
  /** News for the engine, never called inside `send`. Whoever is given it keeps it, then enters it. */
  enter(news: News): void
  /** Reads that are wanted: fetched, and given back as evidence. */
  wanted(wanted: Wanted): void
  /** What went wrong beside the orders (the log cannot be kept): the session ends. */
  failed(error: unknown): void
  /** How long each step of a write took, for whoever measures. */
  passed?(intent: Intent, passed: Passed, made: number, synced: number): void
  /** Number of the order group that new orders join on this shard; null for none. */
  orderGroup(shard: number | null): string | null
  /** The shard of a market; null where it is not known. */
  shardOf(ticker: string): number | null
  /** A market has paid for a position; it has left the session. */
  paid?(market: Market, position: number, paid: number): void
  left?(market: Market): void
}
export type VenueOptions = Omit<OrdersOptions, 'start'> & {
  readonly generation: number
  /** Exchange time of the session's start, µs: fills before it are nobody's of it. */
  readonly start: number
}
export type VenueStatus = {
  readonly orders: OrdersStatus
  readonly gate: GateStatus
  /** Commands and repetitions that wait to be kept, and writes that wait for their outcome. */
  readonly collected: number
  readonly flying: number
}
/** What is left at the exchange after `settleDown`; null: it could not be read to its end. */
export type Leftover = { readonly open: readonly OpenOrder[] | null; readonly unknown: number; readonly why: string }
export type OpenOrder = { readonly id: string; readonly client: string; readonly ticker: string }

const TICK = 100 * MILLISECOND
/** A cancel that was refused (its market has closed) is not asked for again so soon. */
const CANCEL_PAUSE = 5 * SECOND
const TRIGGERS_MAX = 3

type Commanded = { readonly command: Command; readonly number: number }
type Collected = Commanded | { readonly intent: Intent }

export class KalshiVenue implements Venue {
  /** It has its own book and is shown nothing. */
  readonly onTape = null
  readonly orders: Orders
  readonly #parts: VenueParts
  readonly #options: VenueOptions
  #collected: Collected[] = []
  #commands = 0
  #flying = 0
  /** When the last write ended. */
  #wroteAt = -Infinity
  #timer: Timer | null = null
  #inside = false
  #closed = false
  /** Cancels of orders whose number at the exchange is not known yet, by order. */
  readonly #nameless = new Map<number, Collected>()

  constructor(parts: VenueParts, options: VenueOptions) {
    this.#parts = parts
    this.#options = options
    this.orders = new Orders(options)
  }

  // ---------------------------------------------------------------------------------------------- the engine's side

  connect(_inbox: Inbox): void {}
  paid(market: Market, position: number, paid: number): void {
    this.#parts.paid?.(market, position, paid)
  }
  left(market: Market): void {
    this.#parts.left?.(market)
  }
  /** Inside the engine's turn: collected, nothing else. When it arrives nobody knows. */
  send(command: Command): number {
    this.#collected.push({ command, number: this.#commands++ })
    return 0
  }
  /** When the engine has said all of a turn: what was collected is kept, synced and sent. Returns when it was handed to the sockets, or refused; answers come as news. */
  flush(): Promise<void> {
    if (this.#collected.length === 0) return DONE
    return this.#flush()
  }

  #flushed(): void {
    this.flush().catch((error: unknown) => this.#parts.failed(error))
  }
  async #flush(): Promise<void> {
    const { clock } = this.#parts
    const collected = this.#collected
    this.#collected = []
    const made = clock.now()
    const intents: { readonly intent: Intent; readonly sequence: number }[] = []
    for (const c of collected) {
      const intent = 'intent' in c ? c.intent : this.#intentOf(c, made)
      if (intent === null) continue
      intents.push({ intent, sequence: this.#keep(intent) })
      if (isOfOrder(intent)) this.orders.command(intent, made)
    }
    // What is not sent is answered, too.
    this.#tellAll()
    if (intents.length === 0) return
    if (!this.#syncNow()) await this.#sync()
    const synced = clock.now()
    for (const { intent, sequence } of intents) {
      this.#flying++
      this.#write(intent, sequence, made)
        .then((passed) => this.#came(intent, passed, made, synced))
        .catch((error: unknown) => this.#parts.failed(error))
    }
  }
  /** What cannot be kept has no sequence that is ever on disk: the gate lets only pass what takes away risk. */
  #keep(intent: Intent): number {
    try {
      return this.#parts.record('intent', intent)
    } catch (error) {
      this.#parts.failed(error)
      return Infinity
    }
  }
  #syncNow(): boolean {
    try {
      return this.#parts.syncNow?.() ?? false
    } catch (error) {
      this.#parts.failed(error)
      return true
    }
  }
  async #sync(): Promise<void> {
    try {
      await this.#parts.sync()
    } catch (error) {
      this.#parts.failed(error)
    }
  }
  #came(intent: Intent, passed: Passed, made: number, synced: number): void {
    this.#flying--
    const now = this.#parts.clock.now()
    this.#wroteAt = now
    if (this.#closed) return
    this.#parts.passed?.(intent, passed, made, synced)
    this.orders.outcome(intent, passed.outcome, now)
    if (intent.kind === 'group-trigger' && passed.outcome.kind !== 'acknowledged' && intent.attempt < TRIGGERS_MAX)
      this.#collected.push({ intent: { ...intent, attempt: intent.attempt + 1 } })
    this.#tellAll()
  }

  /** Null: it is not sent now. */
  #intentOf(commanded: Commanded, now: number): Intent | null {
    const { command, number } = commanded
    const { type, order, price, quantity } = command
    const { generation, nonce, subaccount } = this.#options
    const { ticker } = order.market
    const side = order.side === BID ? 'bid' : 'ask'
    if (type === 'submit') {
      const shard = this.#parts.shardOf(ticker)
      return {
        kind: 'create',
        command: number,
        attempt: 1,
        order: order.id,
        client: clientId(nonce, generation, order.id),
        ticker,
        shard,
        subaccount,
        side,
        price,
        quantity,
        tif: order.tif,
        expires: order.expires,
        prevention: order.prevention,
        postOnly: order.postOnly,
        // Taken only with immediate orders (api.md §4.2).
        reduceOnly: order.reduceOnly && order.tif === 'ioc',
        group: this.#parts.orderGroup(shard),
      }
    }
    const t = this.orders.get(order.id)
    if (t === undefined || t.over) {
      // The engine was told, or is about to be. A cancel is answered by that; a change is not.
      if (type !== 'cancel') this.orders.pointless(order.id)
      return null
    }
    if (t.id === null) {
      this.#nameless.set(order.id, commanded)
      return null
    }
    if (type === 'cancel' && now - t.cancelRefusedAt < CANCEL_PAUSE) {
      this.#parts.timers.after(t.cancelRefusedAt + CANCEL_PAUSE - now, () => {
        this.#collected.push(commanded)
        this.#flushed()
      })
      return null
    }
    const place = { command: number, attempt: 1, order: order.id, id: t.id, ticker, shard: t.create.shard, subaccount }
    if (type === 'amend') return { kind: 'amend', ...place, side, price, quantity }
    return type === 'decrease' ? { kind: 'decrease', ...place, quantity } : { kind: 'cancel', ...place }
  }

  // ---------------------------------------------------------------------------------------------- evidence

  seen(fact: OrderFact, source: Source): void {
    const now = this.#parts.clock.now()
    this.orders.seen(fact, source, now)
    this.#tellAll()
  }
  filled(fact: FillFact, source: Source): void {
    const now = this.#parts.clock.now()
    this.orders.filled(fact, source, now)
    this.#tellAll()
  }
  swept(sweep: Sweep): void {
    const now = this.#parts.clock.now()
    this.orders.swept(sweep, now)
    this.#tellAll()
  }
  readNotFound(id: string): void {
    this.orders.readNotFound(id)
    this.#tellAll()
  }
  groupTriggered(group: string): void {
    this.orders.triggered(group)
  }
  /** The market has settled. */
  forget(ticker: string): void {
    this.orders.forget(ticker)
  }
  /** A write of the session's own making: order groups, cancels of what is not ours. Kept, synced and sent with the next flush; its outcome is given to whoever asks. */
  async write(intent: Intent): Promise<Passed> {
    const { clock } = this.#parts
    const made = clock.now()
    const sequence = this.#keep(intent)
    if (isOfOrder(intent)) this.orders.command(intent, made)
    await this.#sync()
    const synced = clock.now()
    this.#flying++
    const passed = await this.#write(intent, sequence, made)
    this.#came(intent, passed, made, synced)
    return passed
  }
  /** What the gate cannot even put into words has not left. */
  async #write(intent: Intent, sequence: number, made: number): Promise<Passed> {
    try {
      return await this.#parts.gate.write(intent, sequence, made)
    } catch (error) {
      this.#parts.failed(error)
      const now = this.#parts.clock.now()
      const reason = error instanceof Error ? error.message : String(error)
      return { outcome: { kind: 'unknown', reason }, times: { handed: now, sent: null, ended: now } }
    }
  }

  /** News in the order in which they came about, one after another: what the engine answers to one is sent before the next. */
  #tellAll(): void {
    if (this.#inside) return
    this.#inside = true
    try {
      for (let news = this.orders.takeNews(); news.length > 0; news = this.orders.takeNews()) for (const n of news) this.#parts.enter(n)
    } finally {
      this.#inside = false
    }
    for (const w of this.orders.takeWrites()) {
      if (w.kind === 'repeat') this.#collected.push({ intent: w.intent })
      else if (w.group !== null) {
        const { group, shard } = w
        this.orders.triggered(group)
        this.#collected.push({
          intent: { kind: 'group-trigger', command: null, attempt: 1, group, shard, subaccount: this.#options.subaccount },
        })
      }
    }
    for (const [order, commanded] of this.#nameless) {
      const t = this.orders.get(order)
      if (t !== undefined && !t.over && t.id === null) continue
      this.#nameless.delete(order)
      this.#collected.push(commanded)
    }
    if (this.orders.wants) this.#parts.wanted(this.orders.takeWanted())
    if (this.#collected.length > 0) this.#flushed()
    if (this.orders.restless && this.#timer === null && !this.#closed) this.#timer = this.#parts.timers.after(TICK, () => this.#tick())
  }
  #tick(): void {
    this.#timer = null
    const now = this.#parts.clock.now()
    this.orders.tick(now)
    this.#tellAll()
  }

  // ---------------------------------------------------------------------------------------------- start and end

  /**
   * After the replay of an earlier part of the session, in which this venue was silent (nobody called `flush`): what the log kept, in its order. A command that the engine gave in the replay and that has no
   * intent in the log was never sent.
   */
  restore(kept: readonly Kept[]): void {
    const now = this.#parts.clock.now()
    this.orders.restore(kept, now)
    const made = new Set<number>()
    for (const k of kept) {
      if (!('intent' in k)) continue
      if (k.intent.kind === 'create') this.#parts.gate.remember(k.intent.client)
      if (k.intent.command !== null) made.add(k.intent.command)
    }
    // Of each order the last command counts: the engine gives the next one when it has its answer.
    const last = new Map<number, Commanded>()
    for (const c of this.#collected) if (!('intent' in c)) last.set(c.command.order.id, c)
    this.#collected = []
    for (const { command, number } of last.values()) {
      const { order, type } = command
      const waits = order.state === 'sent' || order.state === 'amending' || order.state === 'canceling'
      if (!waits || made.has(number)) continue
      this.#parts.record('dropped', { command: number })
      this.orders.dropped(order.id, type)
    }
    this.#tellAll()
  }

  /** The end: every order of ours is canceled by its number, then everything of the subaccount at once, then the list is read until nothing rests or the time is over (µs). */
  async settleDown(patience = 8 * SECOND): Promise<Leftover> {
    const { clock, rest, timers } = this.#parts
    const { subaccount } = this.#options
    const until = clock.now() + patience
    this.#parts.gate.stopCreates()
    const cancels: Promise<unknown>[] = []
    for (const t of this.orders.live()) {
      if (t.id === null) continue
      const place = { ticker: t.ticker, shard: t.create.shard, subaccount }
      cancels.push(this.write({ kind: 'cancel', command: null, attempt: 1, order: t.order, id: t.id, ...place } satisfies CancelIntent))
    }
    cancels.push(this.write({ kind: 'cancel-all', command: null, attempt: 1, subaccount }))
    const pause = (delay: number): Promise<void> => new Promise((go) => void timers.after(delay, go))
    await Promise.race([Promise.all(cancels), pause(patience)])
    let left: Leftover = { open: null, unknown: 0, why: 'the orders were not read' }
    const sweeper = new Sweeper(rest, () => clock.now(), { subaccount })
    for (let empty = 0; ; ) {
      const flying = this.#flying > 0 || this.#collected.length > 0
      const asOf = await sweeper.asOf().catch(() => null)
      left = await this.#leftover(rest, subaccount)
      const offset = rest.clockOffset
      const late = this.#wroteAt + (offset === null ? SECOND : offset.offset + offset.uncertainty)
      const fresh = asOf !== null && asOf >= late
      const doubt =
        flying || this.#flying > 0
          ? 'a write is still without its answer'
          : asOf === null
            ? 'how fresh the list is cannot be read'
            : 'the list is older than what was sent'
      const proof = left.open?.length === 0 && fresh && !flying && this.#flying === 0
      empty = proof ? empty + 1 : 0
      // Reads lag behind writes: once is not enough.
      if (empty >= 2) return left
      // An empty list that proves nothing is none.
      if (clock.now() >= until) return left.open?.length === 0 ? { ...left, open: null, why: doubt } : left
      await pause(300 * MILLISECOND)
      if (left.open !== null && left.open.length > 0 && (fresh || clock.now() - this.#wroteAt > SECOND))
        this.write({ kind: 'cancel-all', command: null, attempt: 1, subaccount }).catch((error: unknown) => this.#parts.failed(error))
    }
  }
  async #leftover(rest: Rest, subaccount: number): Promise<Leftover> {
    let unknown = 0
    // A create without its outcome may be on its way still.
    for (const t of this.orders.live()) if (t.unknown !== null || t.pending?.kind === 'create') unknown++
    try {
      const list = await rest.list<{ readonly order_id: string; readonly client_order_id: string; readonly ticker: string }>(
        'orders',
        { status: 'resting', subaccount, limit: 1000 },
        { priority: Priority.CANCEL, attempts: 2, timeout: 3 * SECOND },
      )
      if (!list.complete) return { open: null, unknown, why: list.why }
      return { open: list.items.map((o) => ({ id: o.order_id, client: o.client_order_id, ticker: o.ticker })), unknown, why: '' }
    } catch (error) {
      return { open: null, unknown, why: error instanceof Error ? error.message : 'unreadable' }
    }
  }

  get status(): VenueStatus {
    return { orders: this.orders.status, gate: this.#parts.gate.status, collected: this.#collected.length, flying: this.#flying }
  }
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#parts.gate.close()
  }
}
const DONE = Promise.resolve()
