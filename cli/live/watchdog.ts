/**
 * Whether an engine lives, and what else is wrong with its session: from what it says of itself, second by second. Owns the judgement; hides nothing. A reducer. Invariants: silence is measured on a clock that
 * never steps; a watch that did not look itself does not call the engine silent for that time.
 */
import type { SessionSnapshot } from '../session-status.ts'

export type Look = {
  /** Null: none could be read. */
  readonly snapshot: SessionSnapshot | null
  /** Why everything is halted; null: it is not. */
  readonly latch: string | null
  /** Bytes free where the session writes; null: not known. */
  readonly free: number | null
}
/** `lines`: where several things are told as one, each of them. */
export type Condition = { readonly class: ConditionClass; readonly text: string; readonly lines?: readonly string[] }
export const CONDITIONS = [
  'engine-silent',
  'takeover-unproved',
  'exchange-unreachable',
  'key-refused',
  'open-after-end',
  'halted',
  'reducing',
  'disagreement',
  'troubles',
  'orders-unknown',
  'feed-lost',
  'disk-low',
  'disk-full',
] as const
export type ConditionClass = (typeof CONDITIONS)[number]
export type Verdict = {
  /** `none`: it was never heard of. */
  readonly engine: 'alive' | 'silent' | 'ended' | 'none'
  readonly silentFor: number | null
  /** It writes again after a silence that was called one. */
  readonly back: boolean
  readonly conditions: readonly Condition[]
}
export type WatchdogOptions = {
  /** ms. */
  readonly tolerance: number
  readonly unknownMax?: number
  readonly feedMax?: number
  readonly troubleMax?: number
}

const SPACE_LOW = 2 * 2 ** 30
const SPACE_MIN = 256 * 2 ** 20
/** Longer than this between two looks: it was us who slept. */
const GAP = 5_000
/** What is waited for after that. */
const GRACE = 5_000

export class Watchdog {
  readonly #tolerance: number
  readonly #unknownMax: number
  readonly #feedMax: number
  readonly #troubleMax: number
  #written: number | null = null
  #heardAt: number | null = null
  #lookedAt: number | null = null
  #silent = false
  #unknownSince: number | null = null
  #feedSince: number | null = null
  #wrongSince: number | null = null
  #troubled = false

  constructor({ tolerance, unknownMax = 60_000, feedMax = 10_000, troubleMax = 10_000 }: WatchdogOptions) {
    this.#tolerance = tolerance
    this.#unknownMax = unknownMax
    this.#feedMax = feedMax
    this.#troubleMax = troubleMax
  }

  /** `now`: ms of a clock that never steps. */
  look({ snapshot, latch, free }: Look, now: number): Verdict {
    const slept = this.#lookedAt !== null && now - this.#lookedAt > GAP
    this.#lookedAt = now
    // A watch that begins gives the engine its whole tolerance: it may be starting.
    this.#heardAt ??= now
    if (slept) this.#heardAt = Math.max(this.#heardAt, now - Math.max(0, this.#tolerance - GRACE))
    let back = false
    if (snapshot !== null && snapshot.written !== this.#written) {
      const first = this.#written === null
      this.#written = snapshot.written
      this.#heardAt = now
      back = this.#silent && !first
      this.#silent = false
    }
    const ended = snapshot !== null && snapshot.ended !== null
    const silentFor = now - this.#heardAt
    if (!ended && silentFor > this.#tolerance) this.#silent = true
    const engine = ended ? 'ended' : this.#silent ? 'silent' : snapshot === null ? 'none' : 'alive'
    const conditions: Condition[] = []
    const add = (name: ConditionClass, text: string, lines?: readonly string[]): void =>
      void conditions.push({ class: name, text, ...(lines === undefined ? {} : { lines }) })
    if (engine === 'silent') add('engine-silent', `the engine has not been heard of for ${Math.round(silentFor / 1000)} s`)
    if (latch !== null) add('halted', `everything is halted: ${latch}`)
    else if (engine === 'alive' && snapshot?.state.name === 'halted')
      add('halted', `the session is halted${causeOf(snapshot)}${whyOf(snapshot)}`)
    if (engine === 'alive' && snapshot !== null) this.#session(snapshot, now, add)
    else {
      this.#unknownSince = null
      this.#feedSince = null
      this.#wrongSince = null
      this.#troubled = false
    }
    if (free !== null && free < SPACE_MIN)
      add('disk-full', `${megabytes(free)} are left on the disk: trading stops before a record is lost`)
    else if (snapshot !== null && !ended && (snapshot.tape.state === 'full' || snapshot.tape.state === 'failed'))
      add('disk-full', `the session takes no more rows (${snapshot.tape.failure ?? snapshot.tape.state})`)
    else if (free !== null && free < SPACE_LOW) add('disk-low', `${megabytes(free)} are left on the disk`)
    return { engine, silentFor: snapshot === null ? null : silentFor, back, conditions }
  }

  /** Before the first look: the engine that wrote this is known to be dead for so long, ms. */
  silentSince(written: number, silentFor: number, now: number): void {
    this.#written = written
    this.#heardAt = now - Math.max(silentFor, this.#tolerance + 1)
    this.#silent = true
  }
  /** Somebody took the halt back: the engine has its whole tolerance to come. */
  forgive(now: number): void {
    this.#heardAt = now
    this.#silent = false
  }

  #session(snapshot: SessionSnapshot, now: number, add: (name: ConditionClass, text: string, lines?: readonly string[]) => void): void {
    const { state, feed, orders } = snapshot
    if (state.name === 'reducing') add('reducing', `the session only lowers positions${causeOf(snapshot)}${whyOf(snapshot)}`)
    if (state.cause === 'disagreed' && state.name !== 'trading')
      add('disagreement', `orders, fills, positions or cash are not what the exchange says: look at \`tapeline status\`${whyOf(snapshot)}`)
    // Many are over in a moment. A halt or a reduction is told with its reasons; what was told before stays told.
    this.#wrongSince = snapshot.wrong.length === 0 ? null : (this.#wrongSince ?? now)
    const lasting = this.#wrongSince !== null && now - this.#wrongSince > this.#troubleMax
    this.#troubled = snapshot.wrong.length > 0 && (this.#troubled || (lasting && state.name !== 'halted' && state.name !== 'reducing'))
    if (this.#troubled)
      add(
        'troubles',
        `${snapshot.wrong.length === 1 ? 'something is' : `${snapshot.wrong.length} things are`} wrong${whyOf(snapshot)}`,
        snapshot.wrong,
      )
    const unknown = orders.list.filter((o) => o.state === 'unknown').length
    this.#unknownSince = unknown === 0 ? null : (this.#unknownSince ?? now)
    if (this.#unknownSince !== null && now - this.#unknownSince > this.#unknownMax)
      add('orders-unknown', `what became of ${unknown} orders has not been known for more than ${Math.round(this.#unknownMax / 1000)} s`)
    const deaf =
      (state.name === 'syncing' && state.cause === 'feed-lost') ||
      (feed.connections.length > 0 && feed.connections.every((c) => c.state !== 'open' || c.stale))
    this.#feedSince = deaf ? (this.#feedSince ?? now) : null
    if (this.#feedSince !== null && now - this.#feedSince > this.#feedMax)
      add('feed-lost', 'the feed is lost or stale: nothing is traded on it')
  }
}

function causeOf({ state }: SessionSnapshot): string {
  return state.cause === null ? '' : ` (${state.cause})`
}
const WHY_MAX = 600
/** What acts on its orders, as `status` says it. */
function whyOf({ wrong }: SessionSnapshot): string {
  const text = wrong.join('; ')
  return text === '' ? '' : `: ${text.length <= WHY_MAX ? text : `${text.slice(0, WHY_MAX - 1)}…`}`
}
function megabytes(bytes: number): string {
  return `${Math.floor(bytes / 2 ** 20)} MB`
}
