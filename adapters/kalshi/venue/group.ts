/**
 * Order groups: the exchange's own brake, one for each shard that is traded on. Owns their life and what a trigger means; hides ids. A reducer: what happened in, what to write and what to tell out; the writes
 * pass through somebody else's gate. Invariants: a group that triggered is reset only when a person says so; a shard without a live group permits no order.
 */
import type { AccountNews } from '../../../engine/news.ts'
import { SECOND } from '../../../engine/units.ts'
import { KalshiError } from '../errors.ts'
import type { Rest } from '../rest.ts'
import { READ } from './sweep.ts'

/** What the gate does for us. An answer that is no proof is `unknown`. */
export interface GroupWriter {
  createGroup(shard: number, limit: number): Promise<GroupAnswer>
  resetGroup(id: string, shard: number): Promise<GroupAnswer>
  triggerGroup(id: string, shard: number): Promise<GroupAnswer>
  deleteGroup(id: string, shard: number): Promise<GroupAnswer>
}
export type GroupAnswer =
  | { readonly outcome: 'acknowledged'; readonly id: string }
  | { readonly outcome: 'rejected' | 'not-sent' | 'unknown'; readonly reason: string }

export type GroupWrite = {
  readonly kind: 'create' | 'reset' | 'trigger' | 'delete'
  readonly shard: number
  readonly id: string | null
  readonly limit: number
}
export type GroupState = 'wanted' | 'creating' | 'live' | 'triggered' | 'resetting' | 'triggering' | 'deleting' | 'gone' | 'failed'
type Group = {
  state: GroupState
  id: string | null
  tries: number
  retryAt: number
  reason: string
  /** We triggered it, or a halt of ours did: nobody has to look for why. */
  ours?: boolean
  /** The exchange lists it no more. */
  missing?: boolean
  /** From the log of a process before, and not seen at the exchange by this one. */
  adopted?: boolean
}

const BY_US = 'triggered by us'
const TRIES_MAX = 3
const RETRY = 2 * SECOND
/** After the tries: an exchange that was away for longer is asked again by itself. */
const RETRY_FAILED = 30 * SECOND

/** `ours`: we triggered it, or a halt of ours did. */
export type GroupView = {
  readonly shard: number
  readonly state: GroupState
  readonly id: string | null
  readonly reason: string
  readonly ours: boolean
}

export class GroupPlanner {
  readonly #limit: number
  readonly #tickersOf: (shard: number) => readonly string[]
  readonly #write: (write: GroupWrite) => void
  readonly #tell: (news: AccountNews) => void
  readonly #groups = new Map<number, Group>()

  /** `limit`: contracts (quantity units) that may be filled in any 15 s: at most half of what a shard may lose, because the fill that trips it is over already. */
  constructor(
    limit: number,
    parts: {
      readonly tickersOf: (shard: number) => readonly string[]
      readonly write: (write: GroupWrite) => void
      readonly tell: (news: AccountNews) => void
    },
  ) {
    this.#limit = limit
    this.#tickersOf = parts.tickersOf
    this.#write = parts.write
    this.#tell = parts.tell
  }

  /** The group for orders on a shard; null: no order is permitted there. */
  idOf(shard: number): string | null {
    const group = this.#groups.get(shard)
    return group?.state === 'live' ? group.id : null
  }
  stateOf(shard: number): GroupState | null {
    return this.#groups.get(shard)?.state ?? null
  }
  get groups(): readonly GroupView[] {
    return [...this.#groups].map(([shard, { state, id, reason, ours = false }]) => ({ shard, state, id, reason, ours }))
  }

  /** This shard will be traded on. */
  want(shard: number, now: number): void {
    if (this.#groups.has(shard)) return
    this.#groups.set(shard, { state: 'wanted', id: null, tries: 0, retryAt: now, reason: '' })
    this.advance(now)
  }
  /** A group of this session that is known from its log. */
  adopt(shard: number, id: string, triggered = false, reason = ''): void {
    this.#groups.set(shard, {
      state: triggered ? 'triggered' : 'live',
      id,
      tries: 0,
      retryAt: Infinity,
      reason: triggered ? (reason === '' ? 'group triggered' : reason) : '',
      adopted: true,
    })
  }
  /** Nothing of an earlier process is left to brake with: another one is made. */
  #anew(group: Group, now: number): void {
    group.state = 'wanted'
    group.id = null
    group.tries = 0
    group.retryAt = now
  }
  advance(now: number): void {
    for (const [shard, group] of this.#groups) {
      if ((group.state !== 'wanted' && group.state !== 'failed') || now < group.retryAt) continue
      group.state = 'creating'
      group.tries++
      this.#write({ kind: 'create', shard, id: null, limit: this.#limit })
    }
  }
  /** How a write ended. A group that may exist without our knowing holds no order, so that another one may be made. */
  answered(write: GroupWrite, answer: GroupAnswer, now: number): void {
    const group = this.#groups.get(write.shard)
    if (group === undefined) return
    const ok = answer.outcome === 'acknowledged'
    if (!ok) group.reason = `${write.kind} ${answer.outcome}: ${answer.reason}`
    switch (write.kind) {
      case 'create':
        if (group.state !== 'creating') return
        if (ok) {
          group.state = 'live'
          group.id = answer.id
          group.tries = 0
          group.missing = false
        } else if (answer.reason.startsWith('gate:')) {
          // Our own gate: nothing was tried.
          group.tries--
          group.state = 'wanted'
          group.retryAt = now + RETRY
        } else if (group.tries < TRIES_MAX) {
          group.state = 'wanted'
          group.retryAt = now + RETRY * 2 ** (group.tries - 1)
        } else {
          group.state = 'failed'
          group.retryAt = now + RETRY_FAILED
          // Said once: the later tries change nothing of it.
          if (group.tries > TRIES_MAX) return
          this.#tell({
            type: 'disagreed',
            reason: `no order group on shard ${write.shard} after ${TRIES_MAX} tries (${answer.reason.slice(0, 200)})`,
          })
        }
        return
      case 'reset':
        if (group.state !== 'resetting') return
        // A person has said that it goes on, and the one that triggered is no more.
        if (answer.outcome === 'rejected' && /^(order_group_)?not_found$/.test(answer.reason)) return this.#anew(group, now)
        // Whatever else is not proved leaves it triggered.
        group.state = ok ? 'live' : 'triggered'
        if (ok) group.missing = false
        return
      case 'trigger':
        if (group.state === 'triggering') this.#triggered(write.shard, group, ok ? BY_US : group.reason, ok)
        return
      case 'delete':
        if (group.state === 'deleting' && ok) group.state = 'gone'
    }
  }
  /** What the private stream says of a group, ours or not. `halted`: a halt stands, which triggers them as well. */
  heard(id: string, event: 'created' | 'triggered' | 'reset' | 'deleted' | 'limit_updated', halted = false): void {
    for (const [shard, group] of this.#groups) {
      if (group.id !== id) continue
      if (event === 'triggered' && (group.state === 'deleting' || group.state === 'gone')) continue
      if (event === 'triggered' && group.state !== 'triggered') {
        // It may be told before our own write is answered.
        const ours = group.state === 'triggering'
        this.#triggered(shard, group, ours ? BY_US : halted ? 'triggered by the halt' : 'group triggered', ours || halted)
      } else if (event === 'deleted' && group.state !== 'deleting' && group.state !== 'gone') {
        group.state = 'triggered'
        group.ours = false
        group.missing = true
        this.#halt(shard, 'the order group was deleted by somebody else')
      } else if (event === 'limit_updated' && group.state === 'live')
        this.#halt(shard, 'the limit of the order group was changed by somebody else')
      else if (event === 'reset' && group.state === 'triggered') group.reason = 'reset by somebody else; waits for the operator here'
    }
  }
  /** The groups that the exchange lists (after a lost message): one of ours that is not among them is gone. */
  listed(ids: ReadonlySet<string>): void {
    for (const [shard, group] of this.#groups) {
      if (group.id === null || (group.state !== 'live' && group.state !== 'triggered')) continue
      const { adopted } = group
      group.adopted = false
      group.missing = !ids.has(group.id)
      // The process before took it away and could not keep that (a full disk): what was in it is canceled, and the next brake is a new one.
      if (adopted === true && group.state === 'live' && group.missing) {
        this.#anew(group, 0)
        continue
      }
      if (group.state !== 'live' || !group.missing) continue
      group.state = 'triggered'
      group.ours = false
      this.#halt(shard, 'the order group is not there any more')
    }
  }
  /** A person says: go on. The only way back from a trigger; what is gone, or could not be made, is made anew. */
  resume(shard: number, now: number): void {
    const group = this.#groups.get(shard)
    if (group?.state === 'failed' || (group?.state === 'triggered' && group.missing)) {
      this.#anew(group, now)
      return this.advance(now)
    }
    if (group === undefined || group.state !== 'triggered' || group.id === null) return
    group.state = 'resetting'
    this.#write({ kind: 'reset', shard, id: group.id, limit: this.#limit })
  }
  /** Stop everything on a shard: its orders are canceled by the exchange. Also when a trigger is on its way: it may be lost. */
  trigger(shard: number): void {
    const group = this.#groups.get(shard)
    if (group?.id == null || group.state === 'gone') return
    group.state = 'triggering'
    this.#write({ kind: 'trigger', shard, id: group.id, limit: this.#limit })
  }
  /** The session is over and nothing rests: the groups go. */
  retire(): void {
    for (const [shard, group] of this.#groups) {
      if (group.id === null || group.state === 'gone') continue
      group.state = 'deleting'
      this.#write({ kind: 'delete', shard, id: group.id, limit: this.#limit })
    }
  }

  #triggered(shard: number, group: Group, reason: string, ours: boolean): void {
    group.state = 'triggered'
    group.ours = ours
    group.reason = reason
    this.#halt(shard, reason)
  }
  #halt(shard: number, reason: string): void {
    const tickers = this.#tickersOf(shard)
    for (const ticker of tickers) this.#tell({ type: 'market-halted', ticker, reason: `${reason} (shard ${shard})`, by: 'group' })
  }
}

/** Lets the writer do what the planner wants, and tells it how each write ended. */
export async function writeGroup(writer: GroupWriter, write: GroupWrite): Promise<GroupAnswer> {
  const { kind, shard, limit } = write
  const id = write.id ?? ''
  try {
    switch (kind) {
      case 'create':
        return await writer.createGroup(shard, limit)
      case 'reset':
        return await writer.resetGroup(id, shard)
      case 'trigger':
        return await writer.triggerGroup(id, shard)
      case 'delete':
        return await writer.deleteGroup(id, shard)
    }
  } catch (error) {
    return { outcome: 'unknown', reason: error instanceof Error ? error.message : 'it failed' }
  }
}

/** Ids of the groups that the exchange lists; null: not readable. Whether one has triggered is not listed. */
export async function readGroups(rest: Rest, subaccount = 0): Promise<ReadonlySet<string> | null> {
  try {
    const { order_groups: groups } = await rest.get('orderGroups', { subaccount }, READ)
    return new Set((groups ?? []).map((g) => g.id))
  } catch (error) {
    if (error instanceof KalshiError && error.code !== 'STOPPED') return null
    throw error
  }
}
