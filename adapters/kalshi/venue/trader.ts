/**
 * Who trades for a live session: venue, private stream, sweeps, reconciliation and order groups, put together. Owns what each tells the others and what the session's log must keep of it; hides all of them.
 * Invariants: whatever the exchange says reaches the engine as news and in no other way; orders are permitted only after one whole agreement, and with a brake of the exchange's own on their shard.
 */
import type { Engine } from '../../../engine/engine.ts'
import type { Market } from '../../../engine/market.ts'
import type { News } from '../../../engine/news.ts'
import { fillFee, type FeeAccount } from '../../../engine/fees.ts'
import { formatMoney, MINUTE, PRICE_ONE, SECOND } from '../../../engine/units.ts'
import type { Environment } from '../environment.ts'
import type { Timer, World } from '../ports.ts'
import type { Budget } from '../rate-limit.ts'
import type { Rest } from '../rest.ts'
import type { Signer } from '../sign.ts'
import { notAccepted, withCash, type AcceptedCash } from './cash.ts'
import type { FillFact, OrderFact } from './evidence.ts'
import { FeeAudit } from './fee-audit.ts'
import { Gate, type HardCaps, type Passed } from './gate.ts'
import { GroupPlanner, readGroups, writeGroup, type GroupAnswer, type GroupView, type GroupWrite, type GroupWriter } from './group.ts'
import { isOfOrder, readClientId, type Intent } from './intent.ts'
import type { ReconcileRecord } from './judge.ts'
import { Poller, type PollEvent, type PollNeeds } from './poll.ts'
import { PrivateSocket } from './private-socket.ts'
import type { PrivateEvent } from './private.ts'
import { paidInAll, type OurOrder, type OurPayment, type OurView } from './reconcile.ts'
import { Reconciler } from './reconciler.ts'
import type { Kept, Tracked } from './tracked.ts'
import { KalshiVenue, type VenueStatus } from './venue.ts'

/** What the session does for it. */
export interface TraderDesk {
  readonly generation: number
  readonly engine: Engine
  record(kind: string, detail: unknown): number
  sync(): Promise<void>
  syncNow?(): boolean
  synced(): number
  enter(news: News): void
  say(text: string): void
  /** It cannot go on. */
  fail(error: unknown): void
}
export type TraderParts = {
  readonly environment: Environment
  readonly signer: Signer
  readonly rest: Rest
  readonly budget: Budget
  readonly world: World
  readonly desk: TraderDesk
  /** Why everything is halted; null: it is not. Asked before every write. */
  readonly killed: () => string | null
  /** Everything is being taken back: by a halt, or an end. Absent: whenever something keeps new orders back. */
  readonly halted?: () => boolean
  readonly holdsLock: () => boolean
  readonly shardOf: (ticker: string) => number | null
}
export type TraderOptions = {
  readonly nonce: string
  readonly subaccount: number
  /** µs of the exchange: nothing of the session is older. */
  readonly start: number
  /** Contracts (quantity units) that may be filled in 15 s on a shard; 0: without order groups. */
  readonly groupLimit: number
  readonly caps: HardCaps
  readonly absenceMargin?: number
  readonly closeMargin?: number
  readonly netting?: boolean
  readonly signAhead?: number
  readonly reconcileEvery?: number
  readonly sweepEvery?: number
}
export type TraderStatus = {
  readonly venue: VenueStatus
  readonly private: string
  readonly paused: readonly string[]
  readonly groups: GroupPlanner['groups']
  readonly reconciled: ReconcileRecord | null
  readonly verdicts: Readonly<Record<string, number>>
  /** Fees as they were reported, beside what the model makes of the same fills. */
  readonly fees: Pick<FeeAudit, 'counts' | 'worst'>
}
/** As a session's log keeps it. */
export type KeptInput = { readonly time: number; readonly kind: string; readonly detail: unknown }

const TICK = SECOND / 5
/** µs between two tries to reset a group. */
const RESET_PAUSE = 2 * SECOND
/** µs for which the exchange may show what cash was before. */
const CASH_WINDOW = 30 * SECOND
/** µs that the groups' last writes are waited for. */
const RETIRE_MAX = 2 * SECOND
/** The private stream may be away for so long before what rests is taken back. */
const DEAF_MAX = 5 * SECOND

export class KalshiTrader {
  readonly venue: KalshiVenue
  readonly #parts: TraderParts
  readonly #options: TraderOptions
  readonly #gate: Gate
  readonly #private: PrivateSocket
  readonly #poller: Poller
  readonly #reconciler: Reconciler
  readonly #groups: GroupPlanner
  readonly #writer: GroupWriter
  readonly #orderOfId = new Map<string, number>()
  readonly #fees = new FeeAudit()
  /** Rounding that has gathered, by order. */
  readonly #feeAccounts = new Map<number, FeeAccount>()
  /** What of the fills is known for certain, as the log has it, and when it was kept. */
  #watermark = 0
  #watermarkAt = -Infinity
  readonly #paid = new Map<string, OurPayment>()
  /** Cash that markets brought which have left: by market, because a session that lives again learns the shard of one only from what its log kept. */
  readonly #gone = new Map<string, number>()
  readonly #shards = new Map<string, number>()
  /** Agreement that waits for the brakes. */
  #agreed: News | null = null
  /** When the last private news came, by the exchange and by our clock. */
  #eventVenue = 0
  #eventAt = 0
  readonly #newsOf = new Map<string, { at: number; venue: number }>()
  /** Our cash by shard, when it changed: of the last half minute. */
  readonly #cashes: { readonly time: number; readonly cash: ReadonlyMap<number, number> }[] = []
  /** Since when the private stream is away; −1: it is there. */
  #deafSince = -1
  #deaf = false
  #timer: Timer | null = null
  #running = false
  /** Whether it was told what had happened before, be it nothing: until then nothing is sent. */
  #restored = false

  constructor(parts: TraderParts, options: TraderOptions) {
    this.#parts = parts
    this.#options = options
    const { environment, signer, rest, budget, world, desk } = parts
    const { clock, timers, http } = world
    const { subaccount, nonce, start } = options
    this.#gate = new Gate(
      {
        environment,
        signer,
        clock,
        timers,
        http,
        budget,
        caps: options.caps,
        killed: parts.killed,
        holdsLock: parts.holdsLock,
        synced: () => desk.synced(),
        permits: () => desk.engine.session.hold,
        reference: (ticker) => {
          const at = desk.engine.markets.get(ticker)?.reference ?? -1
          return at < 0 ? null : at
        },
        closes: (ticker) => desk.engine.markets.get(ticker)?.closeTime ?? null,
        ordersOpen: () => this.venue.orders.open,
        bookedOf: (order) => this.venue.orders.get(order)?.booked ?? 0,
        needsGroup: options.groupLimit > 0,
      },
      {
        ...(options.closeMargin === undefined ? {} : { closeMargin: options.closeMargin }),
        ...(options.signAhead === undefined ? {} : { signAhead: options.signAhead }),
      },
    )
    const fail = (error: unknown): void => desk.fail(error)
    this.venue = new KalshiVenue(
      {
        gate: this.#gate,
        rest,
        clock,
        timers,
        record: (kind, detail) => desk.record(kind, detail),
        sync: () => desk.sync(),
        syncNow: () => desk.syncNow?.() ?? false,
        enter: (news) => this.#enter(news),
        wanted: ({ reads, sweep }) => {
          if (reads.length > 0) this.#poller.read(reads)
          if (sweep) this.#poller.sweepNow()
        },
        failed: fail,
        passed: (intent, passed, made, synced) => this.#passed(intent, passed, made, synced),
        orderGroup: (shard) => (shard === null ? null : this.#groups.idOf(shard)),
        shardOf: (ticker) => this.#shardOf(ticker),
        paid: (market, position, paid) => this.#marketPaid(market, position, paid),
        left: (market) => this.#marketLeft(market),
      },
      {
        nonce,
        subaccount,
        start,
        generation: desk.generation,
        ...(options.absenceMargin === undefined ? {} : { absenceMargin: options.absenceMargin }),
      },
    )
    this.#private = new PrivateSocket({ environment, signer, world, onEvent: (event) => this.#heard(event), onFail: fail })
    this.#poller = new Poller(
      rest,
      world,
      { start, subaccount, ...(options.sweepEvery === undefined ? {} : { sweepEvery: options.sweepEvery }) },
      { needs: () => this.#needs(), onEvent: (event) => this.#polled(event), onFail: fail },
    )
    this.#reconciler = new Reconciler(
      rest,
      world,
      {
        start,
        subaccount,
        ...(options.netting === undefined ? {} : { netting: options.netting }),
        ...(options.reconcileEvery === undefined ? {} : { every: options.reconcileEvery }),
      },
      { view: () => this.#view(), onVerdict: (record, news) => this.#judged(record, news), onFail: fail },
    )
    this.#groups = new GroupPlanner(options.groupLimit, {
      tickersOf: (shard) => [...desk.engine.markets.alive].filter((m) => this.#shardOf(m.ticker) === shard).map((m) => m.ticker),
      write: (write) => {
        const writing: Promise<void> = this.#write(write)
          .catch(fail)
          .finally(() => this.#writes.delete(writing))
        this.#writes.add(writing)
      },
      tell: (news) => desk.enter(news),
    })
    this.#writer = {
      createGroup: (shard, limit) => this.#groupWrite({ kind: 'group-create', command: null, attempt: 1, shard, subaccount, limit }),
      resetGroup: (group, shard) => this.#groupWrite({ kind: 'group-reset', command: null, attempt: 1, group, shard, subaccount }),
      triggerGroup: (group, shard) => this.#groupWrite({ kind: 'group-trigger', command: null, attempt: 1, group, shard, subaccount }),
      deleteGroup: (group, shard) => this.#groupWrite({ kind: 'group-delete', command: null, attempt: 1, group, shard, subaccount }),
    }
  }

  /** What happened before, from the log, in its order; the engine has lived it again. What is not known of it enters as news. */
  restore(inputs: Iterable<KeptInput>): void {
    this.#restored = true
    const kept: Kept[] = []
    const halted = new Set<string>()
    const pulled = new Set<string>()
    const gone = new Set<string>()
    const groups = new Map<number, { readonly id: string; readonly state: string; readonly reason: string } | null>()
    let [baseline, reading]: [ReconcileRecord['baseline'], ReconcileRecord['reading']] = [null, null]
    for (const { time, kind, detail } of inputs) {
      if (kind === 'intent') {
        const intent = detail as Intent
        kept.push({ intent, time })
        // A session that ended took it away, whatever the answer: the next brake is a new one.
        if (intent.kind === 'group-delete') {
          gone.add(intent.group)
          groups.set(intent.shard ?? 0, null)
        }
      } else if (kind === 'shard') {
        const { ticker, shard } = detail as { ticker: string; shard: number }
        this.#shards.set(ticker, shard)
      } else if (kind === 'dropped') kept.push({ dropped: (detail as { command: number }).command })
      else if (kind === 'news') {
        const news = detail as News
        kept.push({ news, time })
        this.#remember(news, time)
        if (news.type === 'market-halted' || news.type === 'market-freed') {
          const of = news.by === 'group' ? pulled : halted
          if (news.type === 'market-halted') of.add(news.ticker)
          else of.delete(news.ticker)
        }
      } else if (kind === 'reconciled') {
        const record = detail as ReconcileRecord
        baseline = record.baseline ?? baseline
        reading = record.reading ?? reading
      } else if (kind === 'cash-accepted') {
        if (baseline !== null) baseline = withCash(baseline, (detail as AcceptedCash).shards)
      } else if (kind === 'watermark') {
        this.#watermark = (detail as { time: number }).time
      } else if (kind === 'group') {
        const { shard, id, state, reason, ours } = detail as Partial<GroupView> & Pick<GroupView, 'shard' | 'id' | 'state'>
        // The last word counts: a group that is gone, or on its way there, is made anew; one that our own end or halt has triggered, too.
        if (id === null || gone.has(id) || state === 'gone' || state === 'deleting' || (state === 'triggered' && ours === true))
          groups.set(shard, null)
        else groups.set(shard, { id, state, reason: reason ?? '' })
      }
    }
    for (const [shard, group] of groups) if (group !== null) this.#groups.adopt(shard, group.id, group.state !== 'live', group.reason)
    this.#reconciler.restore({ baseline, reading, halted: [...halted] })
    this.venue.restore(kept)
    // What may live is looked at from when it was made.
    let from = this.#watermark
    for (const t of this.venue.orders.live()) from = Math.min(from, t.since - MINUTE)
    this.#poller.restore(from)
    // What the brake of a session that ended had pulled: the next brake is a new one.
    for (const ticker of pulled)
      if (groups.get(this.#shardOf(ticker) ?? 0) === null)
        this.#parts.desk.enter({ type: 'market-freed', ticker, reason: 'the order group is a new one', by: 'group' })
  }
  /** An operator says that money came in or went out: what is there now is right, kept in the log. Why it is not accepted; null: it is. */
  acceptCash(accepted: AcceptedCash): string | null {
    const why = notAccepted(this.#reconciler.last, accepted)
    if (why !== null) return why
    this.#parts.desk.record('cash-accepted', accepted)
    this.#reconciler.acceptCash(new Map(accepted.shards))
    return null
  }

  /** Connects, and begins to read. */
  async start(): Promise<void> {
    this.#running = true
    this.#gate.prepare()
    this.#deafSince = this.#parts.world.clock.now()
    this.#private.start()
    this.#poller.start()
    this.#tick()
  }
  /** After every turn of the engine. */
  flush(): void {
    // What a session commands while it is lived again was sent once, or never will be.
    if (!this.#restored) return
    this.venue.flush().catch((error: unknown) => this.#parts.desk.fail(error))
  }
  /** The operator lets the session go on: brakes that were pulled are made ready, and the exchange is asked anew. */
  resumed(): void {
    this.#gate.thaw()
    this.#resetWanted = true
    this.#resetGroups()
    this.#reconciler.resumed()
  }
  readonly #writes = new Set<Promise<void>>()
  /** Shards whose group could not be made. */
  readonly #brakeless = new Set<number>()
  #resetWanted = false
  #resetAt = -Infinity
  /** As soon as nothing holds the gate: a reset is a write like any other. */
  #resetGroups(): void {
    const now = this.#parts.world.clock.now()
    if (!this.#resetWanted || this.#parts.killed() !== null || now - this.#resetAt < RESET_PAUSE) return
    this.#resetAt = now
    const held = this.#groups.groups.filter((g) => g.state === 'triggered' || g.state === 'failed')
    this.#resetWanted = held.length > 0
    for (const { shard } of held) this.#groups.resume(shard, now)
  }
  /** Everything is compared anew: until then nothing is sent. */
  recheck(): void {
    this.#agreed = null
    this.#poller.sweepNow()
    this.#reconciler.ask('asked')
  }
  /** A market that differed does not any more. */
  freed(ticker: string): void {
    this.#reconciler.freed(ticker)
  }
  /** Somebody pulled the brake: what has not left stays here. */
  halted(): void {
    this.#gate.stopCreates()
  }
  /** Takes everything back; returns when nothing is open, or when the time (µs) is over: what is left, a line each. */
  async settle(patience: number): Promise<readonly string[]> {
    this.#gate.stopCreates()
    for (const { shard, state } of this.#groups.groups) if (state === 'live') this.#groups.trigger(shard)
    const { open, unknown, why } = await this.venue.settleDown(patience)
    const left: string[] = []
    if (open === null) left.push(`it is not known what rests at the exchange: ${why}`)
    else for (const o of open) left.push(`${o.ticker} order ${o.id} (${o.client})`)
    if (unknown > 0) left.push(`${unknown} orders of which it is not known whether they exist; each ends by itself at its expiration`)
    if (left.length === 0) {
      this.#groups.retire()
      // That they are gone is kept: a session that goes on makes others.
      const { timers } = this.#parts.world
      const over = new Promise<void>((resolve) => void timers.after(RETIRE_MAX, resolve))
      await Promise.race([Promise.all(this.#writes), over])
      this.#keepGroups()
    }
    return left
  }
  async stop(): Promise<void> {
    this.#running = false
    this.#timer?.cancel()
    this.#private.stop()
    this.#poller.stop()
    this.#reconciler.stop()
    this.venue.close()
  }
  get status(): TraderStatus {
    return {
      venue: this.venue.status,
      private: this.#private.core.whole ? 'open' : this.#private.core.state,
      paused: this.#poller.paused,
      groups: this.#groups.groups,
      reconciled: this.#reconciler.last,
      verdicts: { ...this.#reconciler.counts },
      fees: { counts: { ...this.#fees.counts }, worst: this.#fees.worst },
    }
  }
  /** The last comparison, for whoever shows it. */
  get reconciled(): ReconcileRecord | null {
    return this.#reconciler.last
  }

  // ---------------------------------------------------------------------------------------------- what is heard

  #heard(event: PrivateEvent): void {
    switch (event.type) {
      case 'order':
        this.#event(event.fact)
        return this.venue.seen(event.fact, 'stream')
      case 'fill':
        this.#event(event.fact)
        return this.venue.filled(event.fact, 'stream')
      case 'group':
        if (event.event === 'triggered') this.venue.groupTriggered(event.id)
        this.#groups.heard(event.id, event.event, this.#parts.halted?.() ?? this.#parts.killed() !== null)
        this.#keepGroups()
        return
      case 'reconnected':
        this.#deafSince = -1
        // What was agreed upon while nobody listened waits no more: it is compared anew.
        this.#agreed = null
        this.#poller.sweepNow()
        this.#reconciler.ask('reconnected')
        if (this.#options.groupLimit > 0) this.#listed()
        return
      case 'missed':
        this.#poller.sweepNow()
        if (event.groups && this.#options.groupLimit > 0) this.#listed()
        return
      case 'down':
        if (this.#deafSince < 0) this.#deafSince = this.#parts.world.clock.now()
    }
  }
  #polled(event: PollEvent): void {
    switch (event.type) {
      case 'sweep':
        this.venue.swept(event.sweep)
        this.#keepWatermark()
        // Compared is only what the books have heard of: what happened while nobody listened is booked first.
        if (event.sweep.orders !== null && event.sweep.fills !== null) this.#reconciler.start()
        return
      case 'facts':
        for (const fact of event.orders) this.venue.seen(fact, 'list')
        for (const fact of event.fills) this.venue.filled(fact, 'list')
        return
      case 'order':
        return this.venue.seen(event.fact, 'read')
      case 'unread':
        return event.missing ? this.venue.readNotFound(event.id) : this.#parts.desk.say(`an order could not be read: ${event.reason}`)
      case 'queue':
        for (const { id, ahead } of event.positions) {
          const order = this.#orderOfId.get(id)
          if (order !== undefined) this.#record('queue', { order, ahead, predicted: null })
        }
        return
      case 'paused':
        return this.#parts.desk.say(`${event.what} is paused on shard ${event.shard}`)
      case 'resumed':
        // What the pause did to our orders is looked for before anything else.
        this.#poller.sweepNow()
        this.#reconciler.ask('resumed')
        return this.#parts.desk.say(`${event.what} goes on on shard ${event.shard}`)
      case 'trouble':
        return this.#parts.desk.say(event.reason)
    }
  }
  /** A restart reads from there on. A fill that nobody knows the order of is not in the log yet. */
  #keepWatermark(): void {
    const { watermark } = this.#poller
    const now = this.#parts.world.clock.now()
    if (watermark <= this.#watermark || now - this.#watermarkAt < MINUTE || this.venue.orders.status.held > 0) return
    this.#watermark = watermark
    this.#watermarkAt = now
    this.#record('watermark', { time: watermark })
  }
  #judged(record: ReconcileRecord, news: readonly News[]): void {
    this.#record('reconciled', record)
    for (const n of news) {
      if (n.type === 'agreed') {
        this.#agreed = n
        continue
      }
      if (n.type === 'disagreed') this.#agreed = null
      this.#parts.desk.enter(n)
    }
    this.#agree()
  }
  /** Agreement counts once the private stream is there and the brakes are ready. */
  #agree(): void {
    const agreed = this.#agreed
    if (agreed === null || this.#deafSince >= 0) return
    if (this.#options.groupLimit > 0) {
      const { groups } = this.#groups
      // Before its first market nobody knows which shards there are.
      if (groups.length === 0 || groups.some((g) => g.state === 'wanted' || g.state === 'creating')) return
    }
    this.#agreed = null
    this.#parts.desk.enter(agreed)
  }
  /** A brake on every shard that has a market of the session. */
  #wantGroups(now: number): void {
    if (this.#options.groupLimit === 0) return
    for (const market of this.#parts.desk.engine.markets.alive) {
      const shard = this.#shardOf(market.ticker)
      if (shard !== null && this.#groups.stateOf(shard) === null) this.#groups.want(shard, now)
    }
    this.#groups.advance(now)
  }

  #tick(): void {
    if (!this.#running) return
    const { clock, timers } = this.#parts.world
    const now = clock.now()
    this.venue.orders.clockOffset = this.#parts.rest.clockOffset?.offset ?? 0
    if (this.#deafSince >= 0 && now - this.#deafSince > DEAF_MAX && !this.#deaf && this.#parts.desk.engine.session.agreed) {
      this.#deaf = true
      this.#parts.desk.enter({ type: 'disagreed', reason: 'the private stream is away' })
    } else if (this.#deafSince < 0 && this.#deaf) this.#deaf = false
    // The session doubts by itself as well (news that fits nothing it has): what was agreed upon before would never be said again.
    const doubts = !this.#parts.desk.engine.session.agreed && this.#agreed === null && this.#reconciler.agreed
    if (doubts && this.#deafSince < 0 && this.#brakeless.size === 0) this.#reconciler.ask('asked')
    this.#wantGroups(now)
    this.#resetGroups()
    this.#agree()
    this.#timer = timers.after(TICK, () => this.#tick())
  }

  // ---------------------------------------------------------------------------------------------- what is told

  #enter(news: News): void {
    if (news.type === 'fill' || news.type === 'foreign-fill') this.#cashChanges()
    this.#remember(news, this.#parts.world.clock.now())
    this.#parts.desk.enter(news)
    if (news.type === 'accepted') this.#poller.busy()
  }
  #remember(news: News, at: number): void {
    if (news.type === 'accepted') this.#orderOfId.set(news.id, news.order)
    if (news.type === 'fill') this.#auditFee(news)
    const ticker =
      'ticker' in news ? news.ticker : 'order' in news ? (this.#parts.desk.engine.manager.orderOf(news.order)?.market.ticker ?? null) : null
    this.#happened(ticker, at, 'timeVenue' in news ? news.timeVenue : 0)
  }
  #auditFee({ order, maker, price, quantity, fee, timeVenue, trade }: Extract<News, { type: 'fill' }>): void {
    const of = this.#parts.desk.engine.manager.orderOf(order)
    if (of === undefined) return
    let account = this.#feeAccounts.get(order)
    if (account === undefined) this.#feeAccounts.set(order, (account = { gathered: 0 }))
    const modelled = fillFee(of.market.fee, maker, of.side, price, quantity, timeVenue, account)
    if (!this.#fees.see(trade, modelled, fee, timeVenue) || this.#fees.worst?.trade !== trade) return
    this.#parts.desk.say(
      `trade ${trade} in ${of.market.ticker}: the exchange took a fee of ${formatMoney(fee)}, its published formula makes ${formatMoney(modelled)}`,
    )
  }
  #event(fact: OrderFact | FillFact): void {
    this.#happened(fact.ticker, this.#parts.world.clock.now(), 'timeVenue' in fact ? fact.timeVenue : (fact.updated ?? 0))
  }
  #happened(ticker: string | null, at: number, venue: number): void {
    this.#eventAt = Math.max(this.#eventAt, at)
    this.#eventVenue = Math.max(this.#eventVenue, venue)
    if (ticker === null) return
    const before = this.#newsOf.get(ticker)
    if (before === undefined) this.#newsOf.set(ticker, { at, venue })
    else {
      before.at = Math.max(before.at, at)
      before.venue = Math.max(before.venue, venue)
    }
  }
  /** What happened to a write, for the report. */
  #passed(intent: Intent, { outcome, times }: Passed, made: number, synced: number): void {
    this.#happened('ticker' in intent ? intent.ticker : null, this.#parts.world.clock.now(), 0)
    const reason = outcome.kind === 'rejected' ? outcome.code : outcome.kind === 'acknowledged' ? '' : outcome.reason
    this.#record('outcome', {
      order: isOfOrder(intent) ? intent.order : null,
      client: intent.kind === 'create' ? intent.client : null,
      type: intent.kind,
      attempt: intent.attempt,
      outcome: outcome.kind,
      status: outcome.kind === 'rejected' ? outcome.status : null,
      reason,
      made,
      synced,
      handed: times.handed,
      sent: times.sent,
      answered: times.ended,
    })
    if (outcome.kind === 'unknown' || (outcome.kind === 'rejected' && /paused/.test(outcome.code))) this.#poller.doubted()
  }
  /** Beside the decisions: what cannot be kept ends the session where it matters, with the next news or intent. */
  #record(kind: string, detail: unknown): void {
    try {
      this.#parts.desk.record(kind, detail)
    } catch (error) {
      this.#parts.desk.fail(error)
    }
  }

  // ---------------------------------------------------------------------------------------------- order groups

  async #write(write: GroupWrite): Promise<void> {
    const answer = await writeGroup(this.#writer, write)
    if (answer.outcome === 'acknowledged' && write.kind === 'trigger' && write.id !== null) this.venue.groupTriggered(write.id)
    this.#groups.answered(write, answer, this.#parts.world.clock.now())
    const state = this.#groups.stateOf(write.shard)
    if (state === 'failed') this.#brakeless.add(write.shard)
    // The brake that was missed is there: what was said to disagree may agree again.
    else if (state === 'live' && this.#brakeless.delete(write.shard)) this.#reconciler.ask('asked')
    this.#keepGroups()
  }
  async #groupWrite(intent: Intent): Promise<GroupAnswer> {
    const { outcome } = await this.venue.write(intent)
    if (outcome.kind === 'acknowledged') return { outcome: 'acknowledged', id: outcome.answer.kind === 'group' ? outcome.answer.id : '' }
    return { outcome: outcome.kind, reason: outcome.kind === 'rejected' ? outcome.code : outcome.reason }
  }
  #kept = ''
  #keepGroups(): void {
    const groups = this.#groups.groups
    const text = JSON.stringify(groups)
    if (text === this.#kept) return
    this.#kept = text
    for (const { shard, id, state, reason, ours } of groups) this.#record('group', { shard, id, state, reason, ours })
  }
  #listed(): void {
    this.#listGroups().catch((error: unknown) => this.#parts.desk.fail(error))
  }
  async #listGroups(): Promise<void> {
    try {
      const ids = await readGroups(this.#parts.rest, this.#options.subaccount)
      if (ids !== null && this.#running) this.#groups.listed(ids)
    } catch {
      // The session is ending.
    }
  }

  // ---------------------------------------------------------------------------------------------- what is ours

  #shardOf(ticker: string): number | null {
    const shard = this.#parts.shardOf(ticker) ?? this.#shards.get(ticker) ?? null
    if (shard !== null && !this.#shards.has(ticker)) {
      this.#shards.set(ticker, shard)
      this.#record('shard', { ticker, shard })
    }
    return shard
  }
  #needs(): PollNeeds {
    let live = 0
    let since: number | null = null
    const resting = new Set<string>()
    for (const t of this.venue.orders.live()) {
      live++
      if (t.id !== null && t.unknown === null) resting.add(t.ticker)
      if (t.id === null || t.unknown !== null || t.reported > t.booked || t.ended !== null) {
        const from = t.since + this.venue.orders.clockOffset
        since = since === null ? from : Math.min(since, from)
      }
    }
    return { live, resting: [...resting], since }
  }
  #view(): OurView {
    const { engine } = this.#parts.desk
    const orders: OurOrder[] = []
    const moving = new Set<string>()
    for (const t of this.venue.orders.live()) {
      if (isMoving(t) || t.id === null) moving.add(t.ticker)
      else orders.push({ id: t.id, ticker: t.ticker, side: t.create.side, price: t.price, remaining: t.total - t.booked })
    }
    const positions = new Map<string, number>()
    const cash = this.#cashNow()
    const reserved = new Map<number, number>()
    const add = (map: Map<number, number>, shard: number, money: number): void => void map.set(shard, (map.get(shard) ?? 0) + money)
    for (const [ticker, money] of this.#gone) add(cash, this.#shardOf(ticker) ?? 0, money)
    for (const market of engine.markets.alive) {
      const h = market.holding
      if (h === null) continue
      const shard = this.#shardOf(market.ticker) ?? 0
      if (h.position !== 0) positions.set(market.ticker, h.position)
      add(reserved, shard, h.reserved)
    }
    return {
      orders,
      moving,
      isOurs: (order) => order.client !== null && readClientId(order.client)?.nonce === this.#options.nonce,
      positions,
      paid: this.#paid,
      shardOf: (ticker) => this.#shardOf(ticker) ?? 0,
      cash,
      reserved,
      eventVenue: this.#eventVenue,
      eventAt: this.#eventAt,
      isBooked: (ticker, trade) => this.venue.orders.isBooked(ticker, trade) && !engine.awaits(ticker),
      newsOf: this.#newsOf,
      cashBefore: this.#before(cash),
    }
  }
  #cashNow(): Map<number, number> {
    const cash = new Map<number, number>()
    for (const market of this.#parts.desk.engine.markets.alive) {
      if (market.holding === null) continue
      const shard = this.#shardOf(market.ticker) ?? 0
      cash.set(shard, (cash.get(shard) ?? 0) + cashOf(market))
    }
    return cash
  }
  /** By how much cash was another at the moments of the last half minute. */
  #before(now: ReadonlyMap<number, number>): ReadonlyMap<number, readonly number[]> {
    const before = new Map<number, number[]>()
    for (const { cash } of this.#cashes)
      for (const shard of new Set([...cash.keys(), ...now.keys()])) {
        const by = (cash.get(shard) ?? 0) - (now.get(shard) ?? 0)
        const list = before.get(shard) ?? []
        if (!list.includes(by)) list.push(by)
        before.set(shard, list)
      }
    return before
  }
  /** A fill or a payment changed it: what it was before counts for a while. */
  #cashChanges(): void {
    const now = this.#parts.world.clock.now()
    this.#cashes.push({ time: now, cash: this.#cashNow() })
    while (this.#cashes.length > 0 && now - (this.#cashes[0] as { time: number }).time > CASH_WINDOW) this.#cashes.shift()
  }
  #marketPaid(market: Market, net: number, paid: number): void {
    this.#happened(market.ticker, this.#parts.world.clock.now(), 0)
    const more = { net, value: market.settlementValue, paid, at: this.#parts.world.clock.now() }
    this.#paid.set(market.ticker, paidInAll(this.#paid.get(market.ticker), more))
  }
  #marketLeft(market: Market): void {
    const money = cashOf(market)
    if (money === 0) this.#shards.delete(market.ticker)
    else this.#gone.set(market.ticker, money)
    this.#newsOf.delete(market.ticker)
    this.venue.forget(market.ticker)
    const { manager } = this.#parts.desk.engine
    for (const order of this.#feeAccounts.keys()) if (manager.orderOf(order) === undefined) this.#feeAccounts.delete(order)
    for (const [id, order] of this.#orderOfId) if (manager.orderOf(order) === undefined) this.#orderOfId.delete(id)
  }
}

/** Cash that a market brought so far, Money. */
function cashOf({ holding: h }: Market): number {
  return h === null ? 0 : h.cashFlow - h.fees - (h.position < 0 ? -h.position * PRICE_ONE : 0)
}
/** On its way, being changed, or not known: the list may show it before or after. */
function isMoving(t: Tracked): boolean {
  return (
    t.pending !== null ||
    t.unknown !== null ||
    t.next !== null ||
    t.reduced !== null ||
    t.ended !== null ||
    t.repeat !== null ||
    t.cancelMissed !== null ||
    t.doubtful ||
    t.reported > t.booked
  )
}
