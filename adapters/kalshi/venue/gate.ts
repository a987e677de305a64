/**
 * The gate: every write to the exchange passes here, and nothing else reaches the transport. Owns the last word, said synchronously right before the first byte: kill flag, lock, synced intent, session,
 * hard caps, market's close, client ids, tokens. Invariants: between the checks and the write there is no await; a write that was checked and then had to wait (for a connection, for tokens) is checked again
 * when it leaves; what only takes away risk always passes, except when another process may be the master.
 */
import { setMaxListeners } from 'node:events'
import { PRICE_ONE, SECOND } from '../../../engine/units.ts'
import { REST_ROOT, type Environment } from '../environment.ts'
import type { Clock, Http, Timer, Timers } from '../ports.ts'
import type { Budget } from '../rate-limit.ts'
import type { Signer } from '../sign.ts'
import {
  isBrake,
  isReducing,
  ORDERS_PATH,
  requestOf,
  type AmendIntent,
  type CreateIntent,
  type Intent,
  type WriteRequest,
} from './intent.ts'
import { outcomeOf, type Outcome } from './outcome.ts'
import { Signatures } from './signatures.ts'
import { Transport, type PassageTimes } from './transport.ts'

/** What no order may ever exceed, whatever the session's limits say. Quantity, money, price units. */
export type HardCaps = {
  readonly orderMax: number
  readonly notionalMax: number
  /** Away from the market's reference. */
  readonly collar: number
  readonly ordersPerSecond: number
  readonly ordersOpen: number
}
export type GateParts = {
  readonly environment: Environment
  readonly signer: Pick<Signer, 'headers' | 'headersLater'>
  readonly clock: Clock
  readonly timers: Timers
  readonly http: Http
  readonly budget: Budget
  readonly caps: HardCaps
  /** Why everything is halted; null: it is not. Read for every write. */
  readonly killed: () => string | null
  /** Whether this process is still the only master of the session. */
  readonly holdsLock: () => boolean
  /** The last sequence of the log that is on disk. */
  readonly synced: () => number
  /** Why the session permits no new risk (no agreement yet, a pause, a stale feed …); null: it permits. */
  readonly permits: () => string | null
  /** Where the market stands, price units; null: unknown. */
  readonly reference: (ticker: string) => number | null
  /** When it closes, µs; null: unknown. */
  readonly closes: (ticker: string) => number | null
  /** Orders that may be open at the exchange, the one that asks included. */
  readonly ordersOpen: () => number
  /** Contracts of an order that are booked as filled, quantity units: an amend says its size with them. */
  readonly bookedOf?: (order: number) => number
  /** No order without the exchange's own brake on it. */
  readonly needsGroup?: boolean
}
export type GateOptions = {
  /** A create waits so long for tokens, µs. */
  readonly patience?: number
  /** No create and no amend this long before the close of their market, µs. */
  readonly closeMargin?: number
  /** A write is given up after, µs. */
  readonly timeout?: number
  /** Signatures kept ready for creates; 0: each is made when it is needed. */
  readonly signAhead?: number
}
export type Passed = { readonly outcome: Outcome; readonly times: PassageTimes }
export type GateStatus = {
  readonly frozen: string | null
  /** Writes that wait for tokens. */
  readonly waiting: number
  readonly passed: number
  /** How often each reason refused. */
  readonly refused: Readonly<Record<string, number>>
  readonly outcomes: Readonly<Record<Outcome['kind'], number>>
}

type Waiting = {
  readonly intent: Intent
  readonly sequence: number
  /** When it was decided, µs. */
  readonly made: number
  readonly until: number
  readonly go: () => void
  readonly refuse: (why: string) => void
}
/** µs: what was decided longer ago adds no risk any more. */
const AGE_MAX = 5 * SECOND
const CLIENTS_MAX = 65_536
/** A success that says nothing of an order: a portal in between, or a notice. Nothing new is tried for so long. */
const UNREADABLE_PAUSE = 60 * SECOND

export class Gate {
  readonly #parts: GateParts
  readonly #transport: Transport
  readonly #signatures: Signatures | null
  readonly #patience: number
  readonly #closeMargin: number
  readonly #timeout: number
  /** Client ids that were used; the oldest are dropped, and nothing as old as they passes any more. */
  readonly #clients = new Set<string>()
  #frozen: string | null = null
  #frozenUntil = -Infinity
  #creates: AbortController | null = null
  readonly #recent: number[] = []
  readonly #waiting: Waiting[] = []
  #timer: Timer | null = null
  #passed = 0
  readonly #refused: Record<string, number> = {}
  readonly #outcomes: Record<Outcome['kind'], number> = { acknowledged: 0, rejected: 0, 'not-sent': 0, unknown: 0 }

  constructor(parts: GateParts, { patience = 50_000, closeMargin = 30 * SECOND, timeout = 10 * SECOND, signAhead = 0 }: GateOptions = {}) {
    this.#parts = parts
    const { environment, signer, clock, timers, http } = parts
    this.#signatures = signAhead > 0 ? new Signatures(signer, clock, timers, 'POST', `${REST_ROOT}${ORDERS_PATH}`, signAhead) : null
    this.#transport = new Transport(environment, signer, this.#signatures, clock, http)
    this.#patience = patience
    this.#closeMargin = closeMargin
    this.#timeout = timeout
  }

  /** Opens connections before the first write. */
  prepare(): void {
    this.#transport.prepare()
  }

  /** The one method. `sequence`: of the intent in the log. `made`: when it was decided, µs. Never rejects. */
  write(intent: Intent, sequence: number, made = this.#parts.clock.now()): Promise<Passed> {
    const request = requestOf(intent)
    const why = this.#check(intent, sequence, made)
    if (why !== null) return Promise.resolve(this.#refusal(why))
    if (this.#spend(intent, request)) return this.#send(intent, request, sequence, made)
    return this.#wait(intent, request, sequence, made)
  }
  /** Creates and amends that are not on a socket yet never leave: called when the kill flag is set, so that nobody waits for the next check. */
  stopCreates(): void {
    this.#creates?.abort()
    this.#creates = null
    for (const w of this.#waiting.filter((x) => !isReducing(x.intent))) {
      this.#waiting.splice(this.#waiting.indexOf(w), 1)
      w.refuse('kill')
    }
  }
  /** No new risk until `thaw`, or for a time (µs): the key is refused, the interface has moved, answers cannot be read. */
  freeze(why: string, duration = Infinity): void {
    const until = this.#parts.clock.now() + duration
    if (this.#frozenUntil >= until) return
    this.#frozen = why
    this.#frozenUntil = until
  }
  thaw(): void {
    this.#frozen = null
    this.#frozenUntil = -Infinity
  }
  /** Client ids of an earlier process of the session: they are used. */
  remember(client: string): void {
    this.#clients.add(client)
    if (this.#clients.size > CLIENTS_MAX) this.#clients.delete(this.#clients.values().next().value as string)
  }
  get status(): GateStatus {
    return {
      frozen: this.#parts.clock.now() < this.#frozenUntil ? this.#frozen : null,
      waiting: this.#waiting.length,
      passed: this.#passed,
      refused: { ...this.#refused },
      outcomes: { ...this.#outcomes },
    }
  }
  /** Nothing more leaves; what waits is refused. */
  close(): void {
    this.freeze('closed')
    this.#signatures?.close()
    this.#timer?.cancel()
    this.stopCreates()
    for (const w of this.#waiting.splice(0)) w.refuse('closed')
  }

  // ---------------------------------------------------------------------------------------------- checks

  /** Why it may not leave, or null. Everything that a moment can change is asked here, again right before the first byte. */
  #permit(intent: Intent, sequence: number, made: number): string | null {
    const { holdsLock, killed, synced, permits } = this.#parts
    if (!holdsLock()) return 'lock'
    if (isReducing(intent)) return null
    if (killed() !== null) return 'kill'
    if (this.#frozen !== null && this.#parts.clock.now() < this.#frozenUntil) return this.#frozen
    if (!(sequence <= synced())) return 'unsynced'
    // A process that stood still wakes with what it decided before: the market is another.
    if (this.#parts.clock.now() - made > AGE_MAX) return 'stale'
    // A brake adds no risk: it is made ready before anything is permitted.
    if (isBrake(intent)) return null
    const permit = permits()
    if (permit !== null) return permit
    const adds = intent.kind === 'create' || intent.kind === 'amend'
    if (adds && !(this.#parts.clock.now() < this.#closing(intent.ticker))) return 'close'
    return null
  }
  #check(intent: Intent, sequence: number, made: number): string | null {
    const why = this.#permit(intent, sequence, made)
    if (why !== null) return why
    if (intent.kind === 'create') return this.#checkCreate(intent)
    return intent.kind === 'amend' ? this.#checkCaps(intent) : null
  }
  #checkCreate(intent: CreateIntent): string | null {
    const { client, tif, expires } = intent
    if (this.#clients.has(client) || (this.#clients.size >= CLIENTS_MAX && isOlder(client, this.#clients.values().next().value as string)))
      return 'client-id'
    // The one control that outlives this machine: every order that rests ends by itself.
    if (tif === 'gtc' ? expires === null || expires <= this.#parts.clock.now() : expires !== null) return 'expiration'
    if (this.#parts.needsGroup && intent.group === null) return 'group'
    if (this.#parts.ordersOpen() > this.#parts.caps.ordersOpen) return 'orders-open'
    return this.#checkCaps(intent)
  }
  #checkCaps(intent: CreateIntent | AmendIntent): string | null {
    const { caps, reference, clock, bookedOf } = this.#parts
    const { price, side, ticker } = intent
    const quantity = intent.kind === 'amend' ? intent.quantity - (bookedOf?.(intent.order) ?? 0) : intent.quantity
    if (!(Number.isSafeInteger(quantity) && quantity > 0 && quantity <= caps.orderMax)) return 'size'
    if (!(Number.isSafeInteger(price) && price > 0 && price < PRICE_ONE)) return 'price'
    if (!((side === 'bid' ? price : PRICE_ONE - price) * quantity <= caps.notionalMax)) return 'notional'
    const stands = reference(ticker)
    if (stands === null) return 'reference'
    // Only the side that pays too much: a quote far behind the market is no danger.
    if (!((side === 'bid' ? price - stands : stands - price) <= caps.collar)) return 'collar'
    const now = clock.now()
    while (this.#recent.length > 0 && now - (this.#recent[0] as number) >= SECOND) this.#recent.shift()
    return this.#recent.length >= caps.ordersPerSecond ? 'rate' : null
  }
  #closing(ticker: string): number {
    return (this.#parts.closes(ticker) ?? Number.NaN) - this.#closeMargin
  }

  // ---------------------------------------------------------------------------------------------- tokens

  #cost(request: WriteRequest): number {
    return this.#parts.budget.costOf(request.method, `${REST_ROOT}${request.path}`) * request.items
  }
  #spend(intent: Intent, request: WriteRequest): boolean {
    const { budget, clock, ordersOpen } = this.#parts
    const reducing = isReducing(intent)
    // First come, first served, of those who may have to wait.
    if (!reducing && this.#waiting.some((w) => !isReducing(w.intent))) return false
    return budget.writes.spend(clock.now(), request.shard, this.#cost(request), reducing, ordersOpen())
  }
  /** What takes away risk waits as long as it must; everything else for a moment, and then its strategy decides anew on the book of that time. */
  #wait(intent: Intent, request: WriteRequest, sequence: number, made: number): Promise<Passed> {
    const until = isReducing(intent) ? Infinity : this.#parts.clock.now() + this.#patience
    return new Promise((resolve) => {
      this.#waiting.push({
        intent,
        sequence,
        until,
        made,
        go: () => void this.#send(intent, request, sequence, made).then(resolve),
        refuse: (why) => resolve(this.#refusal(why)),
      })
      this.#serve()
    })
  }
  #serve(): void {
    const { budget, clock, timers, ordersOpen } = this.#parts
    this.#timer?.cancel()
    this.#timer = null
    const now = clock.now()
    let next = Infinity
    let blocked = false
    for (const reducing of [true, false]) {
      for (const w of this.#waiting.filter((x) => isReducing(x.intent) === reducing)) {
        const request = requestOf(w.intent)
        const cost = this.#cost(request)
        const free = budget.writes.freeAt(now, request.shard, cost, reducing, ordersOpen())
        const leave = (): void => void this.#waiting.splice(this.#waiting.indexOf(w), 1)
        if (free > w.until || now >= w.until) {
          leave()
          w.refuse('tokens')
        } else if (free <= now && !(blocked && !reducing)) {
          leave()
          const why = this.#check(w.intent, w.sequence, w.made)
          if (why !== null) w.refuse(why)
          else {
            budget.writes.spend(now, request.shard, cost, reducing, ordersOpen())
            w.go()
          }
        } else {
          blocked ||= !reducing
          next = Math.min(next, Math.max(free, now + 1000), w.until)
        }
      }
    }
    if (Number.isFinite(next)) this.#timer = timers.after(Math.max(0, next - now), () => this.#serve())
  }

  // ---------------------------------------------------------------------------------------------- the write

  /** Everything was checked in this very turn. */
  #send(intent: Intent, request: WriteRequest, sequence: number, made: number): Promise<Passed> {
    const reducing = isReducing(intent)
    if (intent.kind === 'create') this.remember(intent.client)
    if (intent.kind === 'create' || intent.kind === 'amend') this.#recent.push(this.#parts.clock.now())
    this.#passed++
    let stopped: string | null = null
    const passage = this.#transport.send(request, {
      urgent: reducing,
      stop: reducing ? undefined : this.#stopper(),
      mayLeave: () => (stopped = this.#permit(intent, sequence, made)) === null,
      timeout: this.#timeout,
    })
    return passage.then((result) => {
      let outcome = outcomeOf(intent, result)
      // It was given up before its first byte, by us.
      if (outcome.kind === 'not-sent' && stopped !== null) outcome = { kind: 'not-sent', reason: `gate:${stopped}` }
      if (result.answer !== null) this.#learn(result.answer.status, outcome)
      this.#outcomes[outcome.kind]++
      return { outcome, times: result.times }
    })
  }
  #stopper(): AbortSignal {
    if (this.#creates === null) {
      this.#creates = new AbortController()
      // As many as there are creates on their way.
      setMaxListeners(0, this.#creates.signal)
    }
    return this.#creates.signal
  }
  #learn(status: number, outcome: Outcome): void {
    const { budget, clock } = this.#parts
    if (status === 429) budget.writes.refused(clock.now())
    else budget.writes.answered()
    if (status === 401) this.freeze('key-refused')
    // Somewhere else, or no longer: no other way is tried.
    else if (status === 410 || (status >= 300 && status < 400)) this.freeze('interface-moved')
    else if (status < 300 && outcome.kind === 'unknown' && outcome.unreadable === true) this.freeze('answers-unreadable', UNREADABLE_PAUSE)
  }
  #refusal(why: string): Passed {
    this.#refused[why] = (this.#refused[why] ?? 0) + 1
    const now = this.#parts.clock.now()
    return { outcome: { kind: 'rejected', code: `gate:${why}`, status: null }, times: { handed: now, sent: null, ended: now } }
  }
}

/** Client ids of one session count up: what is before the oldest that is remembered may have been used. */
function isOlder(client: string, oldest: string): boolean {
  return Number(client.slice(client.lastIndexOf('-') + 1)) <= Number(oldest.slice(oldest.lastIndexOf('-') + 1))
}
