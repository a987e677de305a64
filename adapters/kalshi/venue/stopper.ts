/**
 * Taking everything back without the engine: for `halt` and `watch`, on a connection of their own. Owns the order of doing it and what counts as proof that nothing is open; hides requests. Invariants: it
 * only takes away risk, and only through a gate; nothing is called open or gone that was not read in a list to its end, from data that is younger than the last thing it sent.
 *
 * cancel-all at once, for it needs to know nothing · meanwhile the list of groups, each triggered: what is still on its way into one is refused by the exchange · then the list of what rests, again and
 * again; what a fresh list still shows is canceled by its number, and everything once more.
 */
import { parseTime } from '../../../data/import/frames.ts'
import { SECOND } from '../../../engine/units.ts'
import { KalshiError } from '../errors.ts'
import type { Clock, Timers } from '../ports.ts'
import type { Rest } from '../rest.ts'
import type { WireOrder } from '../wire/answers.ts'
import type { OrderFact } from './evidence.ts'
import { orderOfAnswer, readAll } from './facts.ts'
import type { Gate } from './gate.ts'
import { requestOf, type Intent, type WriteRequest } from './intent.ts'
import { READ, Sweeper } from './sweep.ts'

export type StopStep = {
  readonly what: 'cancel-all' | 'trigger' | 'cancel'
  /** The group, or how many orders. */
  readonly which: string
  /** µs: given to the connection, first byte (null: none), answer. */
  readonly handed: number
  readonly sent: number | null
  readonly ended: number
  readonly outcome: string
}
export type StopReport = {
  /** µs of our clock. */
  readonly begun: number
  readonly steps: readonly StopStep[]
  /** When the first cancel-all had left and each group that was found was told. */
  readonly cancelsSent: number | null
  /** When it was proved that nothing is open; null: it was not. */
  readonly proved: number | null
  readonly passes: number
  /** What the last whole list showed; null: none was whole. */
  readonly left: readonly OrderFact[] | null
  /** Why the last list was no proof. */
  readonly doubt: string | null
  /** The exchange does not believe the key: no use in going on. */
  readonly refused: boolean
  /** The newest order of the account: when it was created, µs of the exchange, and how many were after `begun`. */
  readonly newest: { readonly id: string; readonly created: number } | null
  readonly createdAfter: number | null
  /** The exchange's clock − ours, µs. */
  readonly offset: { readonly offset: number; readonly uncertainty: number } | null
  readonly groups: readonly { readonly id: string; readonly shard: number | null; readonly triggered: boolean }[]
}
export type StopPlan = {
  readonly requests: readonly Pick<WriteRequest, 'method' | 'path' | 'query' | 'body'>[]
  readonly open: readonly OrderFact[] | null
  readonly groups: readonly string[] | null
  /** What could not be read. */
  readonly doubts: readonly string[]
}
type Group = { readonly id: string; readonly shard: number | null }

/** Whole lists that show nothing, so far apart, before it is believed. */
const PASSES = 2
const APART = SECOND / 2
const PAUSE_FIRST = SECOND / 4
const PAUSE_MAX = 5 * SECOND
/** Times are compared across two clocks, and one of them is told in whole seconds. */
const OFFSET_UNKNOWN = SECOND
const BATCH = 20
const STEPS_MAX = 200
const REFUSALS_MAX = 3

export class Stopper {
  readonly #gate: Gate
  readonly #rest: Rest
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #subaccount: number
  readonly #sweeper: Sweeper
  #open = true
  /** The exchange's clock − ours lies between these, µs: each answer tells it to the second, and all of them together tell more. */
  #between: readonly [number, number] | null = null

  constructor(gate: Gate, rest: Rest, world: { readonly clock: Clock; readonly timers: Timers }, subaccount: number) {
    this.#gate = gate
    this.#rest = rest
    this.#clock = world.clock
    this.#timers = world.timers
    this.#subaccount = subaccount
    this.#sweeper = new Sweeper(rest, () => world.clock.now(), { subaccount })
  }

  /** Connections are opened before they are needed. */
  prepare(): void {
    this.#gate.prepare()
  }
  /** What `stop` would send now. Reads alone. */
  async plan(): Promise<StopPlan> {
    const doubts: string[] = []
    const groups = await this.#groups().catch((error: unknown) => void doubts.push(`the order groups: ${textOf(error)}`))
    const open = await this.#resting()
    if (open.why !== null) doubts.push(`the open orders: ${open.why}`)
    const intents = [this.#cancelAll(), ...(groups ?? []).map((g) => this.#trigger(g))]
    return {
      requests: intents.map((intent) => {
        const { method, path, query, body } = requestOf(intent)
        return { method, path, query, body }
      }),
      open: open.facts,
      groups: groups?.map((g) => g.id) ?? null,
      doubts,
    }
  }
  /** What rests now, as a whole list, and how fresh it is. */
  async look(): Promise<{ readonly open: readonly OrderFact[] | null; readonly why: string | null; readonly refused: boolean }> {
    const { facts, why, refused } = await this.#resting()
    return { open: facts, why, refused }
  }
  get offset(): StopReport['offset'] {
    if (this.#between === null) return null
    const [low, high] = this.#between
    return { offset: (low + high) / 2, uncertainty: (high - low) / 2 }
  }

  /** Goes on until nothing is open or `patience` (µs) is over. Never rejects. `known`: groups that need no reading. */
  async stop(patience: number, known: readonly Group[] = []): Promise<StopReport> {
    const begun = this.#clock.now()
    const until = begun + patience
    const steps: StopStep[] = []
    const told = new Map<string, Group & { triggered: boolean }>()
    let wrote = begun
    const write = async (what: StopStep['what'], which: string, intent: Intent): Promise<boolean> => {
      const { outcome, times } = await this.#gate.write(intent, 0)
      wrote = Math.max(wrote, times.ended)
      const said =
        outcome.kind === 'rejected'
          ? `rejected: ${outcome.code}`
          : 'reason' in outcome
            ? `${outcome.kind}: ${outcome.reason}`
            : outcome.kind
      if (steps.length < STEPS_MAX) steps.push({ what, which, ...times, outcome: said })
      return outcome.kind === 'acknowledged'
    }
    const trigger = async (group: Group): Promise<void> => {
      const entry = told.get(group.id) ?? { ...group, triggered: false }
      told.set(group.id, entry)
      if (!entry.triggered) entry.triggered = await write('trigger', group.id, this.#trigger(group))
    }
    const triggerListed = async (): Promise<boolean> => {
      try {
        await Promise.all((await this.#groups()).map(trigger))
        return true
      } catch {
        return false
      }
    }
    const [, , listed] = await Promise.all([
      write('cancel-all', `subaccount ${this.#subaccount}`, this.#cancelAll()),
      Promise.all(known.map(trigger)),
      triggerListed(),
    ])
    let groupsKnown = listed
    const first = steps.every((s) => s.sent !== null) && steps.length > 0 ? Math.max(...steps.map((s) => s.sent ?? 0)) : null
    let [passes, empty, refusals, pause] = [0, 0, 0, PAUSE_FIRST]
    let emptyAt = -Infinity
    let left: readonly OrderFact[] | null = null
    let doubt: string | null = null
    let proved: number | null = null
    while (this.#open && refusals < REFUSALS_MAX) {
      passes++
      const asOf = await this.#asOf()
      const { facts, why, refused } = await this.#resting()
      const now = this.#clock.now()
      refusals = refused ? refusals + 1 : 0
      // Our writes ended by then, on the exchange's clock.
      const fresh = asOf !== null && asOf >= this.#exchangeTime(wrote)
      doubt = why ?? (asOf === null ? 'how fresh the list is cannot be read' : fresh ? null : 'the list is older than what was sent')
      if (facts !== null) left = facts
      if (facts !== null && facts.length > 0) empty = 0
      if (facts?.length === 0 && fresh && now - emptyAt >= APART) {
        empty++
        emptyAt = now
      }
      if (empty >= PASSES) {
        proved = now
        break
      }
      if (now >= until) break
      const again = facts === null ? pause > SECOND : facts.length > 0 && (fresh || pause > SECOND)
      if (again) {
        const open = facts ?? []
        await Promise.all([write('cancel-all', `subaccount ${this.#subaccount}`, this.#cancelAll()), ...this.#byNumber(open, write)])
        for (const order of open) if (order.group !== null) await trigger({ id: order.group, shard: order.shard })
        groupsKnown ||= await triggerListed()
        for (const group of told.values()) await trigger(group)
      }
      const quiet = facts?.length === 0
      await this.#wait(Math.min(quiet ? PAUSE_FIRST : pause, Math.max(0, until - this.#clock.now())))
      if (!quiet) pause = Math.min(PAUSE_MAX, pause * 2)
    }
    const newest = await this.#newest(begun)
    return {
      begun,
      steps,
      cancelsSent: first,
      proved,
      passes,
      left,
      doubt: proved === null && !groupsKnown && doubt === null ? 'the order groups could not be read' : doubt,
      refused: refusals >= REFUSALS_MAX,
      newest: newest?.newest ?? null,
      createdAfter: newest?.after ?? null,
      offset: this.offset,
      groups: [...told.values()],
    }
  }
  /** Lets groups work again that were triggered. Sent once each: what is not acknowledged stays triggered, and is said. */
  async reset(groups: readonly Group[]): Promise<readonly { readonly id: string; readonly outcome: string }[]> {
    return Promise.all(
      groups.map(async ({ id, shard }) => {
        const place = { command: null, attempt: 1, shard, subaccount: this.#subaccount }
        const { outcome } = await this.#gate.write({ kind: 'group-reset', group: id, ...place }, 0)
        return { id, outcome: outcome.kind === 'rejected' ? outcome.code : outcome.kind }
      }),
    )
  }
  /** What is under way ends after its next answer. */
  close(): void {
    this.#open = false
    this.#gate.close()
  }

  #cancelAll(): Intent {
    return { kind: 'cancel-all', command: null, attempt: 1, subaccount: this.#subaccount }
  }
  #trigger({ id, shard }: Group): Intent {
    return { kind: 'group-trigger', command: null, attempt: 1, group: id, shard, subaccount: this.#subaccount }
  }
  *#byNumber(
    open: readonly OrderFact[],
    write: (what: StopStep['what'], which: string, intent: Intent) => Promise<boolean>,
  ): Iterable<Promise<boolean>> {
    for (let i = 0; i < open.length; i += BATCH) {
      const orders = open.slice(i, i + BATCH).map(({ id, ticker, shard }) => ({ id, ticker, shard, subaccount: this.#subaccount }))
      yield write('cancel', `${orders.length} by number`, { kind: 'cancel-batch', command: null, attempt: 1, orders })
    }
  }
  async #groups(): Promise<Group[]> {
    const { order_groups: groups } = await this.#rest.get('orderGroups', { subaccount: this.#subaccount }, { ...READ, attempts: 1 })
    return (groups ?? []).map((g) => ({ id: g.id, shard: g.exchange_index ?? null }))
  }
  async #resting(): Promise<{ readonly facts: readonly OrderFact[] | null; readonly why: string | null; readonly refused: boolean }> {
    try {
      const {
        items,
        complete,
        why: end,
      } = await this.#rest.list<WireOrder>(
        'orders',
        { status: 'resting', subaccount: this.#subaccount, limit: 1000 },
        { ...READ, attempts: 1 },
      )
      this.#measure()
      const { facts, why } = readAll(items, orderOfAnswer)
      if (!complete) return { facts: null, why: `the list has no end (${end})`, refused: false }
      return why === null ? { facts, why: null, refused: false } : { facts: null, why, refused: false }
    } catch (error) {
      return { facts: null, why: textOf(error), refused: error instanceof KalshiError && error.code === 'AUTH' }
    }
  }
  async #asOf(): Promise<number | null> {
    try {
      const asOf = await this.#sweeper.asOf()
      this.#measure()
      return asOf
    } catch {
      return null
    }
  }
  async #newest(
    begun: number,
  ): Promise<{ readonly newest: { readonly id: string; readonly created: number } | null; readonly after: number } | null> {
    try {
      const from = Math.max(0, Math.floor(this.#exchangeTime(begun) / SECOND) - 60)
      const { items } = await this.#rest.list<WireOrder>(
        'orders',
        { subaccount: this.#subaccount, min_ts: from, limit: 1000 },
        { ...READ, attempts: 2, pagesMax: 5 },
      )
      let newest: { id: string; created: number } | null = null
      let after = 0
      for (const o of items) {
        const created = typeof o.created_time === 'string' ? parseTime(o.created_time) : Number.NaN
        if (!Number.isFinite(created)) continue
        if (newest === null || created > newest.created) newest = { id: o.order_id, created }
        if (created > this.#exchangeTime(begun)) after++
      }
      return { newest, after }
    } catch {
      return null
    }
  }
  /** The latest that a moment of ours can be on the exchange's clock. */
  #exchangeTime(time: number): number {
    return time + (this.#between?.[1] ?? OFFSET_UNKNOWN)
  }
  /** After an answer. */
  #measure(): void {
    const told = this.#rest.clockOffset
    if (told === null) return
    const [low, high] = [told.offset - told.uncertainty, told.offset + told.uncertainty]
    const both =
      this.#between === null ? ([low, high] as const) : ([Math.max(low, this.#between[0]), Math.min(high, this.#between[1])] as const)
    // A clock was set meanwhile: what was known before is void.
    this.#between = both[0] < both[1] ? both : [low, high]
  }
  #wait(delay: number): Promise<void> {
    return new Promise((resolve) => void this.#timers.after(delay, resolve))
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
