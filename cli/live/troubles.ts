/**
 * What goes wrong while a live session runs, and what is held back because of it. Owns which troubles are open; hides how they are counted. A reducer: what happened in, incidents and the level of the session
 * out. Invariants: what permits an order is derived from the open incidents alone, the strongest counts; an incident that begins ends once, on the way back that its row names and on no other; nothing grows with
 * the length of a session.
 */
import { MINUTE, SECOND } from '../../engine/units.ts'
import { maintenanceAt } from './maintenance.ts'
import {
  ACCOUNT_CODES,
  ACTIONS,
  backText,
  effectText,
  QUIET_CODES,
  TROUBLES,
  type TroubleAction,
  type TroubleClass,
  type TroubleRow,
} from './trouble-table.ts'

/** Times in µs. What has a `scope` concerns one market (its ticker), one shard (`shard 2`) or one order; else null. */
export type Happened =
  /** An order or an amend was refused. `status` null: by our own gate. */
  | { readonly type: 'rejected'; readonly ticker: string; readonly code: string; readonly status: number | null }
  | { readonly type: 'no-answer'; readonly ticker: string; readonly order: number; readonly unreadable: boolean }
  /** It has an outcome by now. */
  | { readonly type: 'resolved'; readonly order: number }
  /** HTTP status of any answer to a write. */
  | { readonly type: 'answered'; readonly status: number }
  /** The exchange's clock − ours, and how far that may be off. */
  | { readonly type: 'clock'; readonly offset: number; readonly uncertainty: number }
  | { readonly type: 'gap' }
  /** One that begins, or is over. */
  | { readonly type: 'begin' | 'over'; readonly class: TroubleClass; readonly scope?: string | null; readonly cause?: string }
  /** Bytes left. */
  | { readonly type: 'space'; readonly free: number }
  /** µs by which the loop was late. */
  | { readonly type: 'late'; readonly by: number }
  /** A comparison of orders, fills, positions and cash with the exchange: each one, not only a change. */
  | { readonly type: 'agreed' | 'disagreed' }
  | { readonly type: 'operator'; readonly word: 'resume' }
  | { readonly type: 'tick' }

export type Incident = {
  readonly class: TroubleClass
  readonly action: TroubleAction
  /** Null: the session. */
  readonly scope: string | null
  readonly since: number
  readonly cause: string
  /** Null: it is open. */
  readonly until: number | null
}
export type Level = 'open' | 'reduce' | 'pause' | 'halt-session' | 'stop'
export type Reaction =
  | { readonly type: 'begun' | 'ended'; readonly incident: Incident }
  /** What the session may do now; the cause of what is new. */
  | { readonly type: 'level'; readonly level: Level; readonly cause: string }

type Open = {
  readonly class: TroubleClass
  readonly scope: string | null
  readonly since: number
  readonly cause: string
  lastAt: number
  /** It was said to be over. */
  overAt: number | null
  agreedSince: number | null
}
type Counted = { readonly times: number[]; at: number }

const OPEN_MAX = 1_000
const KEYS_MAX = 2_000
/** Refusals that say nothing of the order. */
const OWN_CLASS: ReadonlySet<number> = new Set([401, 403, 410, 429])
const SKEW_MAX = 5 * SECOND
const SKEW_FINE = SECOND
const SPACE_LOW = 2 ** 30
const SPACE_FINE = 2 * 2 ** 30
const SPACE_MIN = 256 * 2 ** 20
const LATE_MAX = SECOND
/** Before the maintenance nothing new is begun. */
const MAINTENANCE_AHEAD = 2 * MINUTE

export class Troubles {
  readonly #open = new Map<string, Open>()
  readonly #counts = new Map<string, Counted>()
  /** Began, and has not lasted long enough to matter. */
  readonly #waiting = new Map<
    string,
    { readonly class: TroubleClass; readonly scope: string | null; readonly since: number; readonly cause: string }
  >()
  #level: Level = 'open'
  #markets = new Set<string>()
  #agreed = false
  #maintenance: { readonly until: number } | null = null
  #calendarAt = -Infinity

  /** Whether new orders are permitted, by the gate asked synchronously; null: they are. `reduce` permits what lowers a position: whoever asks for that asks `level`. */
  get hold(): Exclude<Level, 'open' | 'reduce'> | null {
    return this.#level === 'open' || this.#level === 'reduce' ? null : this.#level
  }
  get level(): Level {
    return this.#level
  }
  /** Market or shard (`shard 2`) that may have nothing new. */
  held(scope: string): boolean {
    return this.#markets.has(scope)
  }
  get open(): readonly Incident[] {
    return [...this.#open.values()].map((o) => incidentOf(o, null))
  }
  /** Sizes of what it keeps. */
  get size(): number {
    return this.#open.size + this.#counts.size + this.#waiting.size
  }

  /** What was open when the process before ended, and has a way back by a person alone. */
  restore(incident: Incident): Reaction[] {
    const out: Reaction[] = []
    const { class: name, scope, since, cause } = incident
    this.#add({ class: name, scope, since, cause, lastAt: since, overAt: null, agreedSince: null }, out)
    this.#settle(out)
    return out
  }

  take(time: number, event: Happened): Reaction[] {
    const out: Reaction[] = []
    const begin = (name: TroubleClass, scope: string | null, cause: string): void => this.#begin(name, scope, cause, time, out)
    switch (event.type) {
      case 'rejected':
        this.#rejected(event, begin, time)
        break
      case 'no-answer':
        begin('order-unknown', `order ${event.order} ${event.ticker}`, `order ${event.order} in ${event.ticker}`)
        begin('orders-unknown', null, 'unknown outcomes')
        begin('answers-lost', null, `order ${event.order}`)
        if (event.unreadable) begin('answer-unreadable', null, `order ${event.order}`)
        break
      case 'resolved':
        for (const [key, { class: name, scope }] of [...this.#open, ...this.#waiting])
          if (name === 'order-unknown' && scope?.startsWith(`order ${event.order} `) === true) this.#over(key, time)
        break
      case 'answered':
        if (event.status === 401) begin('key-refused', null, '401')
        else if (event.status === 403) begin('key-forbidden', null, '403')
        else if (event.status === 410 || (event.status >= 300 && event.status < 400)) begin('interface-moved', null, String(event.status))
        else if (event.status === 429) begin('rate-limited', null, '429')
        break
      case 'clock': {
        const least = Math.max(0, Math.abs(event.offset) - event.uncertainty)
        if (least > SKEW_MAX) begin('clock-skew', null, `at least ${(least / SECOND).toFixed(1)} s`)
        else if (least <= SKEW_FINE) this.#over('clock-skew', time)
        break
      }
      case 'gap':
        begin('feed-gaps', null, 'gaps')
        break
      case 'begin':
        begin(event.class, event.scope ?? null, event.cause ?? '')
        break
      case 'over':
        this.#over(keyOf(event.class, event.scope ?? null), time)
        break
      case 'space':
        if (event.free < SPACE_MIN) begin('disk-full', null, `${Math.floor(event.free / 2 ** 20)} MB left`)
        else if (event.free < SPACE_LOW) begin('disk-low', null, `${Math.floor(event.free / 2 ** 20)} MB left`)
        else if (event.free >= SPACE_FINE) this.#over('disk-low', time)
        break
      case 'late':
        if (event.by > LATE_MAX) begin('loop-stalled', null, `${(event.by / SECOND).toFixed(1)} s late`)
        break
      case 'agreed':
        this.#agreed = true
        for (const o of this.#open.values()) o.agreedSince = time
        break
      case 'disagreed':
        this.#agreed = false
        for (const o of this.#open.values()) o.agreedSince = null
        break
      case 'operator':
        this.#resume(time, out)
        break
      case 'tick':
        break
    }
    this.#advance(time, out)
    this.#settle(out)
    return out
  }

  #rejected(
    { ticker, code, status }: Extract<Happened, { type: 'rejected' }>,
    begin: (name: TroubleClass, scope: string | null, cause: string) => void,
    time: number,
  ): void {
    // Our own gate says why by itself, and holds back by itself.
    if (status === null || OWN_CLASS.has(status) || QUIET_CODES.has(code)) return
    const account = ACCOUNT_CODES.has(code)
    const name = account ? 'rejections-account' : 'rejections'
    // The same reason: each is counted by itself.
    const counted = this.#count(`${name} ${account ? '' : ticker} ${code}`, TROUBLES[name].when, time)
    const open = this.#open.get(keyOf(name, account ? null : ticker))
    if (open !== undefined) open.lastAt = time
    else if (counted) begin(name, account ? null : ticker, code)
  }

  #begin(name: TroubleClass, scope: string | null, cause: string, time: number, out: Reaction[]): void {
    const key = keyOf(name, scope)
    const open = this.#open.get(key)
    if (open !== undefined) {
      open.lastAt = time
      open.overAt = null
      return
    }
    const { when } = TROUBLES[name] as TroubleRow
    if (when !== 'at-once') {
      if ('lasting' in when) {
        if (!this.#waiting.has(key) && this.#waiting.size < KEYS_MAX) this.#waiting.set(key, { class: name, scope, since: time, cause })
        return
      }
      // Rejections were counted by their reason.
      if (name !== 'rejections' && name !== 'rejections-account' && !this.#count(key, when, time)) return
    }
    this.#add({ class: name, scope, since: time, cause, lastAt: time, overAt: null, agreedSince: null }, out)
  }
  #add(open: Open, out: Reaction[]): void {
    // More than can be told apart is one trouble, and a great one.
    if (open.scope !== null && this.#open.size >= OPEN_MAX)
      return this.#add({ ...open, class: 'too-many', scope: null, cause: open.class }, out)
    if (this.#open.has(keyOf(open.class, open.scope))) return
    this.#open.set(keyOf(open.class, open.scope), open)
    out.push({ type: 'begun', incident: incidentOf(open, null) })
  }
  #count(key: string, when: TroubleRow['when'], time: number): boolean {
    if (when === 'at-once' || 'lasting' in when) return true
    if (!this.#counts.has(key) && this.#counts.size >= KEYS_MAX) this.#counts.delete(this.#counts.keys().next().value as string)
    const counted = this.#counts.get(key) ?? { times: [], at: time }
    this.#counts.delete(key)
    this.#counts.set(key, counted)
    counted.times.push(time)
    counted.at = time
    while (counted.times.length > when.count || time - (counted.times[0] as number) > when.within) counted.times.shift()
    return counted.times.length >= when.count
  }
  #over(key: string, time: number): void {
    this.#waiting.delete(key)
    const open = this.#open.get(key)
    if (open !== undefined) open.overAt ??= time
  }
  /** The word of a person ends what waits for it; what is still so begins again by itself. */
  #resume(time: number, out: Reaction[]): void {
    for (const [key, open] of this.#open) if ((TROUBLES[open.class] as TroubleRow).back.by === 'operator') this.#end(key, open, time, out)
    this.#counts.clear()
  }
  #end(key: string, open: Open, time: number, out: Reaction[]): void {
    this.#open.delete(key)
    out.push({ type: 'ended', incident: incidentOf(open, time) })
  }

  #advance(time: number, out: Reaction[]): void {
    if (time >= this.#calendarAt) {
      this.#calendarAt = time + SECOND
      this.#maintenance = maintenanceAt(time, MAINTENANCE_AHEAD)
    }
    const maintenance = this.#maintenance
    if (maintenance !== null) this.#begin('maintenance', null, `until ${new Date(maintenance.until / 1000).toISOString()}`, time, out)
    else this.#over('maintenance', time)
    for (const [key, w] of this.#waiting) {
      const { when } = TROUBLES[w.class] as TroubleRow
      if (when === 'at-once' || !('lasting' in when) || time - w.since < when.lasting) continue
      this.#waiting.delete(key)
      this.#add({ ...w, lastAt: time, overAt: null, agreedSince: null }, out)
    }
    for (const [key, open] of this.#open)
      if (isBack(open, (TROUBLES[open.class] as TroubleRow).back, time, this.#agreed)) this.#end(key, open, time, out)
    for (const [key, { at }] of this.#counts) if (time - at > 5 * MINUTE) this.#counts.delete(key)
  }
  #settle(out: Reaction[]): void {
    let strongest: { readonly level: Level; readonly open: Open } | null = null
    const markets = new Set<string>()
    for (const open of this.#open.values()) {
      const { action } = TROUBLES[open.class] as TroubleRow
      if (action === 'halt-market' && open.scope !== null) markets.add(open.scope.replace(/^order \d+ /, ''))
      const level = levelOf(action)
      if (level !== 'open' && (strongest === null || rank(level) > rank(strongest.level))) strongest = { level, open }
    }
    this.#markets = markets
    const level = strongest?.level ?? 'open'
    if (level === this.#level) return
    this.#level = level
    out.push({ type: 'level', level, cause: strongest === null ? 'all is well again' : explainTrouble(incidentOf(strongest.open, null)) })
  }
}

function isBack(open: Open, back: TroubleRow['back'], time: number, agreed: boolean): boolean {
  switch (back.by) {
    case 'quiet':
      return time - open.lastAt >= back.for
    case 'over':
      // An agreement from before the end of it says nothing of what it did.
      return (
        open.overAt !== null &&
        time - open.overAt >= back.settle &&
        (!back.agreed || (agreed && open.agreedSince !== null && open.agreedSince >= open.overAt))
      )
    case 'operator':
    case 'restart':
      return false
  }
}
function levelOf(action: TroubleAction): Level {
  return action === 'reduce' || action === 'pause' || action === 'halt-session' || action === 'stop' ? action : 'open'
}
function rank(level: Level): number {
  return level === 'open' ? -1 : ACTIONS.indexOf(level)
}
function keyOf(name: TroubleClass, scope: string | null): string {
  return scope === null ? name : `${name} ${scope}`
}
function incidentOf({ class: name, scope, since, cause }: Open, until: number | null): Incident {
  return { class: name, action: TROUBLES[name].action, scope, since, cause, until }
}

/** Of a session's log: what is open and waits for the operator's word. What is over by itself is found again. */
export function waitingIncidents(inputs: Iterable<{ readonly kind: string; readonly detail: unknown }>): Incident[] {
  const open = new Map<string, Incident>()
  for (const { kind, detail } of inputs) {
    if (kind !== 'incident') continue
    const incident = detail as Incident
    const key = keyOf(incident.class, incident.scope)
    if (incident.until === null) open.set(key, incident)
    else open.delete(key)
  }
  return [...open.values()].filter((i) => TROUBLES[i.class].back.by === 'operator')
}

/** What it is, what is done, how it ends. */
export function explainTrouble({ class: name, scope, cause }: Pick<Incident, 'class' | 'scope' | 'cause'>): string {
  const { what, action, back, advice } = TROUBLES[name] as TroubleRow
  const where = scope === null ? '' : `, ${scope}`
  return `${name}${where}: ${what}${cause === '' ? '' : ` (${cause})`}; ${effectText(action)}; the way back: ${backText(back)}; ${advice}`
}
