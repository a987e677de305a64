/**
 * Reconciling in the world: reads what the exchange holds, compares, judges, tells. Owns when (at the start, on every connection, every minute, after a pause, soon again after doubt) and the baseline; hides
 * the reads. Invariant: it reads only, and what it tells follows from one whole reading.
 */
import type { News } from '../../../engine/news.ts'
import { MINUTE, SECOND } from '../../../engine/units.ts'
import { KalshiError } from '../errors.ts'
import type { Timer, World } from '../ports.ts'
import type { Parameters, Rest } from '../rest.ts'
import type { Endpoint, WirePosition, WireSettlement } from '../wire/answers.ts'
import { withCash } from './cash.ts'
import { parseMoney, positionOfAnswer, readAll, settlementOfAnswer, type Reading } from './facts.ts'
import { Judge, recordOf, type ReconcileRecord } from './judge.ts'
import {
  baselineOf,
  compare,
  foreignOf,
  QUIET,
  unfit,
  unheard,
  type Baseline,
  type CashReading,
  type Comparison,
  type OurView,
  type TheirView,
} from './reconcile.ts'
import { MARGIN, READ, Sweeper } from './sweep.ts'

export type ReconcilerOptions = {
  /** µs of the exchange. */
  readonly start: number
  readonly subaccount?: number
  /** Shards whose balance is asked for where the exchange does not list them all. */
  readonly shards?: readonly number[]
  /** Collateral return is on: cash cannot be compared. */
  readonly netting?: boolean
  readonly every?: number
  readonly pagesMax?: number
}
/** What a restart needs: the last record of the log that has it. */
export type ReconcilerState = { readonly baseline: Baseline | null; readonly reading: CashReading; readonly halted: readonly string[] }

/** Again after a suspicion: longer than a sweep takes to bring what a list of the exchange already holds. */
const SOON = 6 * SECOND
const RETRY_FIRST = SECOND
const RETRY_MAX = 30 * SECOND

export class Reconciler {
  readonly #rest: Rest
  readonly #world: Pick<World, 'clock' | 'timers'>
  readonly #options: ReconcilerOptions
  readonly #view: () => OurView
  readonly #emit: (record: ReconcileRecord, news: readonly News[]) => void
  readonly #fail: (error: unknown) => void
  readonly #sweeper: Sweeper
  readonly #judge = new Judge()
  #baseline: Baseline | null = null
  #reading: CashReading = null
  #timer: Timer | null = null
  #running = false
  #busy = false
  #cause: string | null = null
  #retries = 0
  last: ReconcileRecord | null = null
  readonly counts: Record<string, number> = {}

  constructor(
    rest: Rest,
    world: Pick<World, 'clock' | 'timers'>,
    options: ReconcilerOptions,
    parts: {
      readonly view: () => OurView
      readonly onVerdict: (record: ReconcileRecord, news: readonly News[]) => void
      readonly onFail: (error: unknown) => void
    },
  ) {
    this.#rest = rest
    this.#world = world
    this.#options = options
    this.#view = parts.view
    this.#emit = parts.onVerdict
    this.#fail = parts.onFail
    this.#sweeper = new Sweeper(rest, () => world.clock.now(), options)
  }

  /** Before `start`: what the session agreed upon before it was interrupted. */
  restore({ baseline, reading, halted }: ReconcilerState): void {
    this.#baseline = baseline
    this.#reading = reading
    this.#judge.restore(halted)
  }
  get state(): ReconcilerState {
    return { baseline: this.#baseline, reading: this.#reading, halted: [...this.#judge.halted] }
  }
  start(): void {
    if (this.#running) return
    this.#running = true
    this.ask('start')
  }
  stop(): void {
    this.#running = false
    this.#timer?.cancel()
    this.#timer = null
  }
  freed(ticker: string): void {
    this.#judge.freed(ticker)
  }
  /** It has said that all is as the exchange says, and has not doubted it since. */
  get agreed(): boolean {
    return this.#judge.agreed
  }
  /** An operator lets the session go on: halted markets are judged anew. */
  resumed(): void {
    this.#judge.resumed()
    this.ask('resumed')
  }
  /** A pass is due at once. What was agreed upon before is in doubt until then. */
  ask(cause: 'start' | 'reconnected' | 'resumed' | 'asked'): void {
    this.#judge.doubt()
    this.#cause = cause
    this.#retries = 0
    if (this.#running && !this.#busy) this.#after(0)
  }
  /** The user has said that money came in or went out: what is there now is right. The next pass compares with it. */
  acceptCash(shards: ReadonlyMap<number, number>): void {
    if (this.#baseline === null) return
    this.#baseline = withCash(this.#baseline, shards)
    this.ask('asked')
  }

  #after(delay: number): void {
    this.#timer?.cancel()
    this.#timer = this.#world.timers.after(delay, () => void this.#pass())
  }
  async #pass(): Promise<void> {
    if (!this.#running || this.#busy) return
    this.#busy = true
    const cause = this.#cause ?? 'minute'
    this.#cause = null
    try {
      const theirs = await this.read()
      if (!this.#running) return
      // It was asked for anew meanwhile: this reading began before whatever made somebody ask.
      if (this.#cause !== null) {
        this.#busy = false
        return this.#after(0)
      }
      const record = this.#compare(theirs, cause)
      this.#busy = false
      this.#after(this.#waitAfter(record, cause))
    } catch (error) {
      const over = !this.#running || (error instanceof KalshiError && error.code === 'STOPPED')
      this.stop()
      if (!over) this.#fail(error)
    } finally {
      this.#busy = false
    }
  }
  #waitAfter(record: ReconcileRecord, cause: string): number {
    if (record.outcome === 'suspected') {
      this.#cause = cause
      return SOON
    }
    // All that could be compared agrees, and something happened just now in the rest: orders wait for the word.
    if ((record.outcome === 'agreed' || record.outcome === 'halted') && !this.#judge.said) {
      this.#cause = cause
      return QUIET
    }
    if (record.outcome !== 'not judged') {
      this.#retries = 0
      return this.#options.every ?? MINUTE
    }
    this.#cause = cause
    return Math.min(RETRY_MAX, RETRY_FIRST * 2 ** Math.min(6, this.#retries++))
  }
  #compare(theirs: TheirView, cause: string): ReconcileRecord {
    const ours = this.#view()
    let taken: Baseline | null = null
    const why = this.#baseline === null ? (unfit(ours, theirs) ?? unheard(ours, theirs)) : null
    if (this.#baseline === null && why === null) {
      taken = baselineOf(ours, theirs)
      this.#baseline = taken
    }
    // Without a beginning there is nothing to compare with.
    let comparison: Comparison =
      this.#baseline === null
        ? { judged: false, why: why ?? '' }
        : compare(this.#baseline, ours, theirs, this.#reading, this.#options.netting)
    if (comparison.judged) {
      this.#reading = comparison.reading
      if (taken !== null) comparison = { ...comparison, differences: [...comparison.differences, ...foreignOf(taken, theirs)] }
    }
    const verdict = this.#judge.judge(comparison)
    this.counts[verdict.outcome] = (this.counts[verdict.outcome] ?? 0) + 1
    this.last = recordOf(verdict, {
      time: theirs.ended,
      cause,
      asOf: theirs.asOf,
      reading: this.#reading,
      orders: theirs.orders?.length ?? 0,
      positions: theirs.positions?.length ?? 0,
      baseline: taken,
    })
    this.#emit(this.last, verdict.news)
    return this.last
  }

  /** All that the exchange holds of the account. Throws STOPPED alone. */
  async read(): Promise<TheirView> {
    const { clock } = this.#world
    const started = clock.now()
    const why: string[] = []
    const { subaccount = 0, start } = this.#options
    const asOf = await this.#sweeper.asOf()
    const orders = await this.#sweeper.resting()
    if (orders.why !== null) why.push(`orders: ${orders.why}`)
    const positions = await this.#list<WirePosition, ReturnType<typeof positionOfAnswer>>(
      'positions',
      { subaccount },
      positionOfAnswer,
      why,
    )
    const min = Math.max(0, Math.floor((start - MARGIN) / 1e6))
    const settlements = await this.#list<WireSettlement, ReturnType<typeof settlementOfAnswer>>(
      'settlements',
      { subaccount, min_ts: min },
      settlementOfAnswer,
      why,
    )
    const cash = await this.#cash(why)
    // Last, so that it holds every fill that is in what was read before.
    const fills = this.#baseline === null ? await this.#sweeper.fills(start) : null
    if (fills !== null && fills.why !== null) why.push(`fills: ${fills.why}`)
    return {
      started,
      ended: clock.now(),
      asOf,
      orders: orders.why === null ? orders.facts : null,
      positions,
      settlements,
      cash,
      ...(fills === null ? {} : { fills: fills.why === null ? fills.facts.filter((f) => f.timeVenue >= start) : null }),
      why,
    }
  }
  async #list<W, R extends Reading<unknown>>(
    endpoint: Endpoint,
    parameters: Parameters,
    read: (row: W) => R,
    why: string[],
  ): Promise<readonly NonNullable<R['fact']>[] | null> {
    try {
      const { pagesMax = 100 } = this.#options
      const listing = await this.#rest.list<W>(endpoint, { ...parameters, limit: 1000 }, { ...READ, pagesMax })
      const { facts, why: bad } = readAll(listing.items, read as (row: W) => Reading<NonNullable<R['fact']>>)
      if (listing.complete && bad === null) return facts
      why.push(`${endpoint}: ${bad ?? `the list has no end (${listing.why})`}`)
    } catch (error) {
      why.push(`${endpoint}: ${messageOf(error)}`)
    }
    return null
  }
  async #cash(why: string[]): Promise<ReadonlyMap<number, number> | null> {
    const { subaccount = 0, shards = [0] } = this.#options
    const cash = new Map<number, number>()
    try {
      const all = await this.#rest.get('balance', { subaccount }, READ)
      if (all.balance_breakdown != null) for (const b of all.balance_breakdown) cash.set(b.exchange_index, parseMoney(b.balance))
      else
        for (const shard of shards) {
          const one = await this.#rest.get('balance', { subaccount, exchange_index: shard }, READ)
          cash.set(shard, parseMoney(one.balance_dollars))
        }
      for (const money of cash.values()) if (!Number.isSafeInteger(money)) throw new KalshiError('UNREADABLE', 'a balance is no amount')
      return cash
    } catch (error) {
      why.push(`balance: ${messageOf(error)}`)
      return null
    }
  }
}

/** What a failed read says; STOPPED and what is no answer goes on up. */
function messageOf(error: unknown): string {
  if (!(error instanceof KalshiError) || error.code === 'STOPPED') throw error
  return error.message
}
