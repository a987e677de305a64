/**
 * The rate budget of the account (api.md §2): one bucket for reads, one for writes, shared by everybody who asks. Owns who goes next; hides waiting. Invariants: nobody
 * spends what is not there; what an order needs goes before what a feed would like, and the last part of a bucket is kept for it.
 */
import { TokenBucket } from '../../engine/token-bucket.ts'

/** Who goes first. Orders are 0 … 2; the feed repairs its books before it reads catalogs, and history comes last. */
export const Priority = { CANCEL: 0, ORDER: 1, RECONCILE: 2, REPAIR: 3, CATALOG: 4, HISTORY: 5 } as const
export type Priority = (typeof Priority)[keyof typeof Priority]
export type Lane = 'read' | 'write'

export type BudgetLimits = {
  /** Tokens a second, and the most that gather. */
  readonly read: { readonly perSecond: number; readonly capacity: number }
  readonly write: { readonly perSecond: number; readonly capacity: number }
}
/** The Basic tier: right until the account says otherwise. */
export const LIMITS_BASIC: BudgetLimits = { read: { perSecond: 200, capacity: 200 }, write: { perSecond: 100, capacity: 100 } }
const COST_DEFAULT = 10
/** This part of a bucket is left for priorities up to RECONCILE. */
const RESERVE = 0.2
const PAUSE_FIRST = 250_000
const PAUSE_MAX = 8_000_000

type Waiting = { readonly cost: number; readonly priority: Priority; readonly number: number; readonly go: () => void }
type Bucket = { tokens: TokenBucket; capacity: number; blockedUntil: number; refusals: number; readonly waiting: Waiting[] }

export class Budget {
  /** Order entry decides at once whether it may spend, shard by shard: it does not wait in line. */
  readonly writes: WriteBudget
  readonly #lanes: Record<Lane, Bucket>
  #costs: CostTable = costTable(COST_DEFAULT, [])
  #number = 0

  constructor(limits: BudgetLimits = LIMITS_BASIC) {
    const bucket = (l: BudgetLimits[Lane]): Bucket => ({
      tokens: new TokenBucket(l.perSecond, l.capacity),
      capacity: l.capacity,
      blockedUntil: 0,
      refusals: 0,
      waiting: [],
    })
    this.#lanes = { read: bucket(limits.read), write: bucket(limits.write) }
    this.writes = new WriteBudget(limits.write)
  }

  /** The account's own limits, once they are known. A bucket starts empty: what was spent before is not known. */
  setLimits(limits: BudgetLimits, now: number): void {
    for (const lane of ['read', 'write'] as const) {
      const { perSecond, capacity } = limits[lane]
      const bucket = this.#lanes[lane]
      bucket.tokens = new TokenBucket(perSecond, capacity)
      bucket.capacity = capacity
      bucket.tokens.spend(now, capacity)
    }
    this.writes.setLimits(limits.write, now)
  }
  setCosts(standard: number, costs: readonly { readonly method: string; readonly path: string; readonly cost: number }[]): void {
    this.#costs = costTable(standard, costs)
  }
  /** `path` from the root, without query. A batch costs this much for each of its items. */
  costOf(method: string, path: string): number {
    return this.#costs(method, path)
  }

  /** Asks to spend; `go` is called, now or later, when it has been spent. */
  ask(lane: Lane, cost: number, priority: Priority, go: () => void): void {
    const { waiting } = this.#lanes[lane]
    const entry: Waiting = { cost, priority, number: this.#number++, go }
    let at = waiting.length
    while (at > 0 && (waiting[at - 1] as Waiting).priority > priority) at--
    waiting.splice(at, 0, entry)
  }
  /** Lets go whoever can. Returns when somebody may go next, Infinity when nobody waits. */
  advance(now: number): number {
    return Math.min(this.#advance(this.#lanes.read, now), this.#advance(this.#lanes.write, now))
  }
  /** A bare 429: nothing was done, and our picture of the bucket was wrong. */
  refused(lane: Lane, now: number): void {
    const bucket = this.#lanes[lane]
    bucket.blockedUntil = now + Math.min(PAUSE_MAX, PAUSE_FIRST * 2 ** bucket.refusals)
    bucket.refusals = Math.min(bucket.refusals + 1, 10)
  }
  answered(lane: Lane): void {
    this.#lanes[lane].refusals = 0
  }
  waiting(lane: Lane): number {
    return this.#lanes[lane].waiting.length
  }

  #advance(bucket: Bucket, now: number): number {
    const { waiting } = bucket
    for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
      const cost = Math.min(first.cost, bucket.capacity)
      const kept = first.priority <= Priority.RECONCILE ? 0 : Math.min(bucket.capacity * RESERVE, bucket.capacity - cost)
      const free = Math.max(bucket.blockedUntil, bucket.tokens.freeAt(now, cost + kept))
      if (free > now) return free
      bucket.tokens.spend(now, cost)
      waiting.shift()
      first.go()
    }
    return Infinity
  }
}

/** Of what the account may spend, this much is spent here: other programs of the account and the way there take some. */
const WRITE_SHARE = 0.8
const CANCEL_COST = 2
const REFUSED_FIRST = 1_000_000
const REFUSED_MAX = 30_000_000
/** More refusals than this in a minute: nothing that adds risk for a minute. */
const REFUSALS_MAX = 5
const MINUTE = 60_000_000

/**
 * Write tokens by shard (api.md §2.3): each has the whole budget of the tier, 0 is the unscoped bucket. What takes away risk spends to the last token; everything else leaves enough to
 * cancel what is open.
 */
export class WriteBudget {
  #limits: BudgetLimits['write']
  readonly #buckets = new Map<number, TokenBucket>()
  /** Shards that are known: an order without one is billed on each. */
  readonly #shards = new Set<number>([0])
  #refusedUntil = 0
  #refusedWait = REFUSED_FIRST
  readonly #refusals: number[] = []

  constructor(limits: BudgetLimits['write']) {
    this.#limits = limits
  }
  setLimits(limits: BudgetLimits['write'], now: number): void {
    this.#limits = limits
    this.#buckets.clear()
    // What was spent before is not known.
    for (const shard of this.#shards) this.#bucket(shard).spend(now, this.#bucket(shard).size)
  }
  /** `shard` null: routed by its ticker. A batch costs the sum of its items, whole or not at all. */
  spend(now: number, shard: number | null, cost: number, reducing: boolean, ordersOpen: number): boolean {
    if (this.freeAt(now, shard, cost, reducing, ordersOpen) > now) return false
    for (const s of this.#payers(shard)) this.#bucket(s).spend(now, Math.min(cost, this.#bucket(s).size))
    return true
  }
  /** When it could be spent. */
  freeAt(now: number, shard: number | null, cost: number, reducing: boolean, ordersOpen: number): number {
    let free = reducing ? now : Math.max(now, this.#refusedUntil)
    for (const s of this.#payers(shard)) {
      const bucket = this.#bucket(s)
      const kept = reducing ? 0 : Math.min(bucket.size / 2, Math.max(bucket.size * RESERVE, ordersOpen * CANCEL_COST))
      // What is larger than the bucket never fits: the exchange would refuse it whole.
      if (cost + kept > bucket.size && !(reducing && cost >= bucket.size)) return Infinity
      free = Math.max(free, bucket.freeAt(now, Math.min(cost, bucket.size) + kept))
    }
    return free
  }
  /** 429: nothing was done, and our picture of the bucket was wrong. */
  refused(now: number): void {
    this.#refusals.push(now)
    while (this.#refusals.length > 0 && now - (this.#refusals[0] as number) > MINUTE) this.#refusals.shift()
    this.#refusedUntil = now + (this.#refusals.length > REFUSALS_MAX ? MINUTE : this.#refusedWait)
    this.#refusedWait = Math.min(REFUSED_MAX, this.#refusedWait * 2)
  }
  answered(): void {
    this.#refusedWait = REFUSED_FIRST
  }

  #payers(shard: number | null): Iterable<number> {
    if (shard !== null && !this.#shards.has(shard)) this.#shards.add(shard)
    return shard === null ? this.#shards : [shard]
  }
  #bucket(shard: number): TokenBucket {
    let bucket = this.#buckets.get(shard)
    if (bucket === undefined) {
      bucket = new TokenBucket(this.#limits.perSecond * WRITE_SHARE, this.#limits.capacity * WRITE_SHARE)
      this.#buckets.set(shard, bucket)
    }
    return bucket
  }
}

type CostTable = (method: string, path: string) => number
/** Paths as the exchange lists them: `:name` stands for one segment, `*name` for the rest. The longest that fits wins. */
function costTable(
  standard: number,
  costs: readonly { readonly method: string; readonly path: string; readonly cost: number }[],
): CostTable {
  const rules = costs.map((c) => ({ method: c.method, segments: c.path.split('/'), cost: c.cost }))
  return (method, path) => {
    const segments = path.split('/')
    let best = -1
    let cost = standard
    for (const rule of rules) {
      if (rule.method !== method) continue
      const score = fit(rule.segments, segments)
      if (score > best) {
        best = score
        cost = rule.cost
      }
    }
    return cost
  }
}
function fit(rule: readonly string[], path: readonly string[]): number {
  let exact = 0
  for (let i = 0; i < rule.length; i++) {
    const r = rule[i] as string
    if (r.startsWith('*')) return exact
    if (i >= path.length) return -1
    if (r.startsWith(':')) continue
    if (r !== path[i]) return -1
    exact++
  }
  return rule.length === path.length ? exact : -1
}
