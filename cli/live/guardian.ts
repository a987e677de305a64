/**
 * What a live session does about its troubles. Owns the wiring of the table of troubles to the session: what is watched, which word follows from it, and whose word counts; hides the counting. Invariants: the
 * stronger of the operator's word and of the table's holds; what holds back acts on the gate at once and on the engine with the next row; each incident is kept, begun and ended.
 */
import { statfsSync } from 'node:fs'
import type { ReconcileRecord, TraderStatus } from '../../adapters/kalshi/live.ts'
import type { News } from '../../engine/news.ts'
import type { OperatorCommand } from '../session-status.ts'
import type { TroubleClass } from './trouble-table.ts'
import { explainTrouble, Troubles, type Happened, type Incident, type Level, type Reaction } from './troubles.ts'

export type GuardianParts = {
  /** µs. */
  readonly clock: { now(): number; wall(): number }
  readonly keep: (kind: string, detail: unknown) => void
  /** A word to the engine, which is no person's. */
  readonly word: (command: OperatorCommand, reason: string) => void
  /** Nothing is sent until books and account have been compared anew. */
  readonly resync: (reason: string) => void
  /** A market that differed from the exchange's picture does not any more. */
  readonly agrees: (ticker: string) => void
  readonly news: (news: News) => void
  /** What is on its way and has not left stays here. */
  readonly stopCreates: () => void
  readonly end: (reason: string) => void
  readonly say: (text: string) => void
}
/** What is looked at every second. */
export type SecondFacts = {
  readonly dir: string
  readonly fed: boolean
  readonly gaps: number
  readonly clock: { readonly offset: number; readonly uncertainty: number } | null
  readonly trader: TraderStatus
  /** µs by which the loop was late at most since the last look. */
  readonly late: number
  /** Whether somebody watches; null: nobody has to. */
  readonly watched: boolean | null
}

const RANK: Readonly<Record<Level, number>> = { open: 0, reduce: 1, pause: 2, 'halt-session': 3, stop: 4 }
const WORDS = { open: 'resume', reduce: 'reduce', pause: 'pause', 'halt-session': 'halt', stop: 'halt' } as const
const LEVELS: Readonly<Record<OperatorCommand, Level>> = { resume: 'open', reduce: 'reduce', pause: 'pause', halt: 'halt-session' }
const TICKERS_MAX = 4_096
/** The monotonic clock and the wall's may drift so far apart in a second; more is a step, or a sleep. */
const STEP_MAX = 2_000_000
const SLEEP_MIN = 30_000_000
const STALL_MIN = 5_000_000

export class Guardian {
  readonly #parts: GuardianParts
  readonly #troubles = new Troubles()
  /** What the operator said last, and what the engine was told last. */
  #said: Level = 'open'
  #told: Level = 'open'
  #gaps = 0
  readonly #marks = new Map<TroubleClass, boolean>()
  readonly #halted = new Map<string, string>()
  #seen: { readonly now: number; readonly wall: number } | null = null
  #paused = new Set<string>()
  #differing: ReadonlySet<string> = new Set()

  /** `said`: the last word of a person, `told`: the last that the engine heard, where the session goes on. */
  constructor(parts: GuardianParts, said: OperatorCommand | null = null, told: OperatorCommand | null = null) {
    this.#parts = parts
    this.#said = said === null ? 'open' : LEVELS[said]
    this.#told = told === null ? 'open' : LEVELS[told]
  }
  /** What was open when the process before ended. */
  restore(incidents: readonly Incident[]): void {
    for (const incident of incidents) this.#react(this.#troubles.restore(incident))
    this.#apply('the session goes on')
  }

  /** Asked by the gate before every write: why nothing new may leave; null: it may. */
  get hold(): string | null {
    return this.#troubles.hold
  }
  get open(): readonly string[] {
    return this.#troubles.open.map(explainTrouble)
  }

  /** The operator's own word: it is given to the engine by whoever took it. */
  operator(command: OperatorCommand): void {
    this.#said = LEVELS[command]
    this.#told = this.#said
    if (command === 'resume') this.happened({ type: 'operator', word: 'resume' })
    this.#apply('the operator')
  }

  /** News that has entered. `unknown`: nobody knows yet what became of its order. */
  news(news: News, unknown: boolean): void {
    if (news.type === 'agreed' || news.type === 'disagreed') this.happened({ type: news.type })
    // What a crash left unknown says nothing of the exchange: each is looked for, and its market waits.
    else if (news.type === 'no-answer' && news.reason === 'restart') {
      const ticker = this.#tickerOf(news.order)
      const cause = `order ${news.order} in ${ticker}`
      this.happened({ type: 'begin', class: 'order-unknown', scope: `order ${news.order} ${ticker}`, cause })
    } else if (news.type === 'no-answer')
      this.happened({ type: 'no-answer', ticker: this.#tickerOf(news.order), order: news.order, unreadable: /^2\d\d /.test(news.reason) })
    // What the operator closed he knows.
    else if (news.type === 'foreign-fill' && news.by === undefined)
      this.happened({ type: 'begin', class: 'fill-foreign', scope: news.ticker, cause: news.trade })
    else if (!unknown && 'order' in news) this.happened({ type: 'resolved', order: news.order })
  }
  #tickers = new Map<number, string>()
  #tickerOf(order: number): string {
    return this.#tickers.get(order) ?? ''
  }
  /** As the log keeps it. */
  kept(kind: string, detail: unknown): void {
    if (kind === 'intent') {
      const { kind: what, order, ticker } = detail as { kind: string; order?: number; ticker?: string }
      if (what === 'group-trigger') this.happened({ type: 'begin', class: 'cancel-stuck', cause: 'its order group is triggered' })
      if (what === 'create' && order !== undefined && ticker !== undefined) {
        this.#tickers.set(order, ticker)
        if (this.#tickers.size > TICKERS_MAX) this.#tickers.delete(this.#tickers.keys().next().value as number)
      }
    } else if (kind === 'outcome') {
      const o = detail as { type: string; outcome: string; order: number | null; status: number | null; reason: string }
      if (o.status !== null) this.happened({ type: 'answered', status: o.status })
      if (o.outcome === 'rejected' && o.order !== null && (o.type === 'create' || o.type === 'amend'))
        this.happened({ type: 'rejected', ticker: this.#tickerOf(o.order), code: o.reason, status: o.status })
    } else if (kind === 'reconciled') this.#reconciled(detail as ReconcileRecord)
  }
  #reconciled({ outcome, why, differences }: ReconcileRecord): void {
    this.#mark('reads-failing', outcome === 'not judged' && why.startsWith('not readable'), why.slice(0, 200))
    if (outcome === 'not judged') return
    const differing = new Set<string>()
    for (const { kind, ticker, counted, ours, theirs } of differences) {
      if (!counted) continue
      const cause = `ours ${ours}, the exchange ${theirs}`
      if (ticker === null) continue
      if (kind === 'foreign-order') this.happened({ type: 'begin', class: 'order-foreign', scope: ticker, cause })
      else {
        differing.add(ticker)
        this.happened({ type: 'begin', class: 'market-differs', scope: ticker, cause })
      }
    }
    const cash = differences.find((d) => d.counted && d.ticker === null)
    this.#mark('cash-differs', cash !== undefined, cash === undefined ? '' : `ours ${cash.ours}, the exchange ${cash.theirs}`)
    for (const ticker of this.#differing)
      if (!differing.has(ticker)) this.happened({ type: 'over', class: 'market-differs', scope: ticker })
    this.#differing = differing
    if (outcome === 'agreed' || outcome === 'halted') this.happened({ type: 'agreed' })
    else if (outcome === 'disagreed') this.happened({ type: 'disagreed' })
  }

  /** Whether somebody watches: said before the first turn, too. */
  watched(is: boolean | null): void {
    if (is !== null) this.#mark('watch-silent', !is, '')
  }
  /** Called once a second. */
  second(facts: SecondFacts): void {
    const { clock } = this.#parts
    const [now, wall] = [clock.now(), clock.wall() * 1000]
    const seen = this.#seen
    this.#seen = { now, wall }
    if (seen !== null) {
      // Where a machine sleeps the monotonic clock may stand still: then every time of ours would be wrong by the sleep.
      const jump = wall - seen.wall - (now - seen.now)
      if (jump > SLEEP_MIN || now - seen.now > SLEEP_MIN) {
        this.#pulse('woken', `${Math.round(Math.max(jump, now - seen.now) / 1e6)} s`)
        this.#parts.end('this machine slept: go on with --resume, so that its clock is read anew')
      } else if (Math.abs(jump) > STEP_MAX) this.#pulse('clock-step', `by ${(jump / 1e6).toFixed(1)} s`)
    }
    this.#mark('feed-stale', !facts.fed, '')
    for (; this.#gaps < facts.gaps; this.#gaps++) this.happened({ type: 'gap' })
    if (facts.clock !== null) this.happened({ type: 'clock', ...facts.clock })
    this.#mark('private-stream-lost', facts.trader.private !== 'open', facts.trader.private)
    const paused = new Set(facts.trader.paused)
    for (const key of paused) if (!this.#paused.has(key)) this.#pause(key, true)
    for (const key of this.#paused) if (!paused.has(key)) this.#pause(key, false)
    this.#paused = paused
    for (const { shard, state, reason, ours } of facts.trader.groups)
      if (state === 'triggered' && !ours) this.happened({ type: 'begin', class: 'group-triggered', cause: `shard ${shard}: ${reason}` })
    this.watched(facts.watched)
    this.happened({ type: 'late', by: facts.late })
    // Shorter than a sleep, and long enough for everything to be another.
    if (facts.late > STALL_MIN) this.#parts.resync(`this process stood still for ${Math.round(facts.late / 1e6)} s`)
    try {
      const { bavail, bsize } = statfsSync(facts.dir)
      this.happened({ type: 'space', free: bavail * bsize })
    } catch {
      // A file system that does not tell.
    }
    this.happened({ type: 'tick' })
  }
  #pause(key: string, begins: boolean): void {
    const [what = '', shard = '0'] = key.split('/')
    const type = begins ? 'begin' : 'over'
    // A whole pause is seen on shard 0; another shard alone holds back its own markets, which the feed has paused.
    if (shard === '0') this.happened({ type, class: what === 'exchange' ? 'exchange-paused' : 'trading-paused', cause: key })
    else this.happened({ type, class: 'shard-paused', scope: `shard ${shard}`, cause: what })
  }
  #mark(name: TroubleClass, is: boolean, cause: string): void {
    if ((this.#marks.get(name) ?? false) === is) return
    this.#marks.set(name, is)
    this.happened({ type: is ? 'begin' : 'over', class: name, cause })
  }
  #pulse(name: TroubleClass, cause: string): void {
    this.happened({ type: 'begin', class: name, cause })
    this.happened({ type: 'over', class: name })
  }

  /** The session takes everything back: what happens from here on is its own doing. */
  rest(): void {
    this.#resting = true
  }
  #resting = false

  happened(event: Happened): void {
    if (this.#resting) return
    this.#react(this.#troubles.take(this.#parts.clock.now(), event))
  }
  #react(reactions: readonly Reaction[]): void {
    const { keep, say } = this.#parts
    for (const reaction of reactions) {
      if (reaction.type === 'level') {
        this.#apply(reaction.cause)
        continue
      }
      const { incident } = reaction
      keep('incident', incident)
      say(`${reaction.type === 'begun' ? '' : 'over: '}${explainTrouble(incident)}`)
      this.#market(incident.class, incident.scope, reaction.type === 'begun')
    }
  }
  /** Nothing new in one market, and again. Reconciliation halts markets by itself. */
  #market(name: TroubleClass, scope: string | null, begins: boolean): void {
    if (begins && (name === 'clock-step' || name === 'woken')) return this.#parts.resync(name)
    if (name === 'market-differs' && scope !== null && !begins) return this.#parts.agrees(scope)
    if (name !== 'rejections' || scope === null) return
    if (begins) this.#halted.set(scope, name)
    else if (!this.#halted.delete(scope)) return
    this.#parts.news({ type: begins ? 'market-halted' : 'market-freed', ticker: scope, reason: name, by: name })
  }

  /** The stronger of both words, where it is not what the engine was told last. */
  #apply(cause: string): void {
    const level = RANK[this.#troubles.level] > RANK[this.#said] ? this.#troubles.level : this.#said
    if (level === this.#told) return
    const before = this.#told
    this.#told = level
    if (RANK[level] >= RANK.pause) this.#parts.stopCreates()
    // A halt is left by `reduce` or `resume` alone.
    if (RANK[before] >= RANK['halt-session'] && level === 'pause') this.#parts.word('reduce', cause)
    this.#parts.word(WORDS[level], cause)
    if (level === 'stop') this.#parts.end(cause)
  }
}
