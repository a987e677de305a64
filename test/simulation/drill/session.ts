/**
 * The live session that is drilled: engine, feed and venue as the program puts them together, on a disk in memory and under virtual time. Owns the course (what enters is kept before, what was kept is lived
 * again after a crash); hides nothing. Invariant: what a restart makes of rows and news is what the process before it had made of them, line by line of the journal.
 */
import { environmentOf } from '../../../adapters/kalshi/environment.ts'
import { KalshiFeed } from '../../../adapters/kalshi/feed.ts'
import type { Intent } from '../../../adapters/kalshi/venue/intent.ts'
import { Budget } from '../../../adapters/kalshi/rate-limit.ts'
import { Rest } from '../../../adapters/kalshi/rest.ts'
import { lagOf, ticking } from '../../../cli/live-connection.ts'
import { LiveSession } from '../../../cli/live-session.ts'
import type { TraderDesk, TraderParts } from '../../../adapters/kalshi/venue/trader.ts'
import type { Trading } from '../../../cli/live/trading.ts'
import type { KnownMarket } from '../../../data/ledger.ts'
import type { SessionInput } from '../../../data/session-inputs.ts'
import { Engine } from '../../../engine/engine.ts'
import { JOURNAL_KIND_NAMES, JournalKind, type JournalTable, type Strings } from '../../../engine/journal.ts'
import { Kind, type Batch, type CatalogDetail, type DeterminedDetail, type FeeDetail, type StatusDetail } from '../../../engine/message.ts'
import type { News } from '../../../engine/news.ts'
import type { SessionHeader } from '../../../engine/session.ts'
import type { Strategy } from '../../../engine/strategy.ts'
import type { Subject, SubjectParts } from './drill.ts'
import type { LastWord } from './truth.ts'

/** What is on the disk: rows, inputs beside them, and what the engine wrote. */
export type Rec =
  | { readonly kind: 'rows'; readonly batch: Batch }
  | { readonly kind: 'input'; readonly input: SessionInput }
  | { readonly kind: 'journal'; readonly lines: readonly string[] }

/** What a trader is made of. */
export type Hands = Omit<TraderParts, 'desk'>
export type SessionPlan = {
  readonly header: SessionHeader
  readonly strategies: () => readonly Strategy[]
  readonly series: string
  readonly trade: (desk: TraderDesk, hands: Hands) => Trading
}

const TICK = 50_000
const SECOND = 1_000_000

export class LiveProcess implements Subject {
  readonly #parts: SubjectParts<Rec>
  readonly #engine: Engine
  readonly #trader: Trading
  readonly #live: LiveSession
  readonly #feed: KalshiFeed
  readonly #lines: string[] = []
  readonly #trades: string[] = []
  readonly #clients = new Map<number, string>()
  readonly #filledOf = new Map<number, number>()
  readonly #denied: string[] = []
  /** FILL rows of the journal. */
  #fills = 0
  #rows = 0
  #latched = false
  #settled: 'no' | 'asked' | 'yes' = 'no'
  #left: readonly string[] = []
  failed: string | null = null
  readonly troubles: string[] = []

  constructor(parts: SubjectParts<Rec>, plan: SessionPlan) {
    this.#parts = parts
    const { world, signer, disk, isHalted } = parts
    const past = disk.kept.slice()
    const repeat = past.flatMap((r) => (r.kind === 'journal' ? r.lines : []))
    const inputs = past.flatMap((r) => (r.kind === 'input' ? [r.input] : []))
    const generation = inputs.filter((i) => i.kind === 'segment').length + 1
    const keep = (kind: string, detail: unknown, time = world.clock.now()): number => {
      const input = { row: this.#rows, time, kind, detail }
      this.#noted(input)
      return disk.append({ kind: 'input', input })
    }
    const environment = environmentOf('http://127.0.0.1:1')
    const budget = new Budget(parts.limits)
    const rest = new Rest(environment, signer, budget, world)
    const desk: { engine: Engine | null } = { engine: null }
    const port: TraderDesk = {
      generation,
      get engine() {
        return desk.engine as Engine
      },
      record: keep,
      sync: () => {
        this.#engine.flush()
        return disk.sync()
      },
      synced: () => disk.synced,
      enter: (news) => this.#act(() => this.#live.news(news)),
      say: (text) => void this.troubles.push(text),
      fail: (error) => this.#fail(error),
    }
    const memory = new Memory()
    for (const record of past) if (record.kind === 'rows') memory.take(record.batch)
    this.#feed = new KalshiFeed({
      environment,
      signer,
      rest,
      world,
      options: { rule: { series: [plan.series] }, known: memory.alive, labelWait: 0, tickers: false, refreshEvery: 15 * SECOND },
    })
    this.#trader = plan.trade(port, {
      environment,
      world,
      signer,
      rest,
      budget,
      killed: () => (isHalted() ? 'the brake' : null),
      holdsLock: () => true,
      shardOf: (ticker) => this.#feed.shardOf(ticker),
    })
    this.#engine = desk.engine = new Engine({
      header: plan.header,
      strategies: plan.strategies(),
      venue: this.#trader.venue,
      sink: {
        journal: (block, strings) => {
          const fresh: string[] = []
          for (let i = 0; i < block.length; i++) if (block.kind[i] === JournalKind.FILL) this.#fills++
          for (const line of linesOf(block, strings)) {
            const was = repeat[this.#lines.length]
            if (was !== undefined && was !== line) this.#fail(new Error(`a restart leads to "${line}" where "${was}" was`))
            this.#lines.push(line)
            if (was === undefined) fresh.push(line)
          }
          if (fresh.length > 0) disk.append({ kind: 'journal', lines: fresh })
        },
        touches() {},
        equity() {},
        markouts() {},
      },
    })
    keep('segment', { generation })

    // What was before, again.
    let to = 0
    for (const record of past) {
      if (record.kind === 'rows') {
        const { batch } = record
        this.#rows += batch.length
        to = Math.max(to, batch.time[batch.length - 1] as number)
        this.#engine.run(batch)
      } else if (record.kind === 'input') {
        to = Math.max(to, record.input.time)
        this.#noted(record.input)
        if (record.input.kind === 'news') this.#learn(record.input.time, record.input.detail as News)
      }
    }
    for (const line of repeat.slice(-1)) to = Math.max(to, Number(line.split(' ')[0]))
    const resumed = past.length > 0
    if (resumed) this.#engine.tick(to + 1)
    this.#engine.flush()
    if (this.#lines.length < repeat.length)
      this.#fail(new Error(`a restart leads to ${this.#lines.length} lines where ${repeat.length} were`))
    this.#live = new LiveSession({
      engine: this.#engine,
      news: { keep: (time, news) => void keep('news', news, time), enter: (time, news) => this.#learn(time, news) },
      recorder: {
        write: (batch: Batch) => {
          disk.append({ kind: 'rows', batch: copyOf(batch) })
          this.#rows += batch.length
        },
      } as never,
      clock: world.clock,
      lag: lagOf(0),
      turn: (body) => body(),
      numbersFrom: memory.numbers,
      from: resumed ? to + 2 : 0,
    })
    this.#trader.restore(inputs)
    this.#trader.flush()
  }

  start(): void {
    const { world, isHalted } = this.#parts
    this.#feed.start()
    ticking(world, TICK, () => {
      for (let b = this.#feed.poll(); b !== undefined; b = this.#feed.poll()) {
        const batch = b
        this.#act(() => this.#live.take(batch))
      }
      this.#act(() => this.#live.tick())
      const latch = isHalted()
      if (latch === this.#latched) return
      this.#latched = latch
      if (latch) this.#trader.halted()
      this.#act(() =>
        this.#live.operator({ command: latch ? 'halt' : 'resume', reason: 'the brake' }, () => {
          if (!latch) this.#trader.resumed()
        }),
      )
    })
    ticking(world, SECOND, () => this.#act(() => this.#engine.flush()))
    this.#trader.start().catch((error: unknown) => this.#fail(error))
  }
  stop(): void {
    // The brake does it: what rests is pulled by the engine.
  }

  get calm(): boolean {
    if (this.failed !== null) return false
    const engine = this.#engine
    for (const order of engine.manager.known) if (!order.over) return false
    if (!engine.session.agreed) return false
    if (this.#settled === 'no') {
      this.#settled = 'asked'
      void this.#trader.settle(10 * SECOND).then((left) => {
        this.#left = left
        this.#settled = left.length === 0 ? 'yes' : 'no'
      })
    }
    return this.#settled === 'yes'
  }
  lastWord(): LastWord {
    const engine = this.#engine
    engine.flush()
    const positions = new Map<string, number>()
    for (const market of engine.markets.alive) if (market.holding !== null) positions.set(market.ticker, market.holding.position)
    let unknown = 0
    const alive: string[] = []
    for (const order of engine.manager.known) {
      if (order.state === 'unknown') unknown++
      else if (!order.over) alive.push(`${order.id} ${order.state} in ${order.market.ticker}`)
    }
    const { session } = engine
    return {
      cash: engine.portfolio.cash,
      positions,
      trades: this.#trades,
      unknown,
      alive,
      stopped: null,
      denied: this.#denied,
      more: [
        ...(this.#fills === this.#trades.length
          ? []
          : [`${this.#trades.length} fills were heard of and ${this.#fills} are in the journal`]),
        ...(session.agreed
          ? []
          : [`the session does not agree with the exchange: ${this.#lines.findLast((l) => l.includes(' disagreed (')) ?? ''}`]),
        ...this.#left.map((l) => `left open: ${l}`),
      ],
    }
  }
  /** For whoever looks for a cause. */
  get journal(): readonly string[] {
    return this.#lines
  }

  #learn(time: number, news: News): void {
    if (news.type === 'fill') this.#filledOf.set(news.order, (this.#filledOf.get(news.order) ?? 0) + news.quantity)
    const about = news.type === 'market-halted' && news.reason.startsWith('position/')
    if (about && !news.reason.includes('before the session'))
      this.#parts.alarmed(news.ticker, this.#engine.markets.get(news.ticker)?.holding?.position ?? 0, news.reason)
    if (news.type === 'canceled') this.#parts.ended(this.#clients.get(news.order) ?? '', this.#filledOf.get(news.order) ?? 0)
    if (news.type === 'rejected' || news.type === 'absent') this.#denied.push(this.#clients.get(news.order) ?? '')
    if (news.type === 'fill' || news.type === 'foreign-fill') this.#trades.push(news.trade)
    this.#engine.enter(time, news)
  }
  #noted({ kind, detail }: SessionInput): void {
    if (kind !== 'intent') return
    const intent = detail as Intent
    if (intent.kind === 'create') this.#clients.set(intent.order, intent.client)
  }
  /** A turn, and then what the engine commanded in it. */
  #act(body: () => void): void {
    if (this.failed !== null) return
    try {
      body()
      this.#trader.flush()
    } catch (error) {
      this.#fail(error)
    }
  }
  #fail(error: unknown): void {
    this.failed ??= error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
}

function* linesOf(t: JournalTable, s: Strings): Generator<string> {
  for (let i = 0; i < t.length; i++) {
    const text = (column: Int32Array): string => s.at(column[i] as number)
    yield `${t.time[i]} ${JOURNAL_KIND_NAMES[t.kind[i] as number]} ${text(t.market)} ${text(t.owner)} ${t.order[i]} ${t.side[i]} ${t.price[i]} ${t.quantity[i]} ${text(t.what)} (${text(t.why)}) ${t.value[i]} ${t.a[i]} ${t.b[i]}`
  }
}
function copyOf(b: Batch): Batch {
  return {
    length: b.length,
    time: b.time.slice(0, b.length),
    timeVenue: b.timeVenue.slice(0, b.length),
    market: b.market.slice(0, b.length),
    kind: b.kind.slice(0, b.length),
    flags: b.flags.slice(0, b.length),
    side: b.side.slice(0, b.length),
    price: b.price.slice(0, b.length),
    quantity: b.quantity.slice(0, b.length),
    detail: b.detail.slice(0, b.length),
    details: b.details.slice(),
  }
}

/** What its rows say of each market that has not paid: followed until it has. */
class Memory {
  readonly #known = new Map<number, { catalog: CatalogDetail; result: string | null; settlementValue: number | null }>()
  numbers = 0

  take(b: Batch): void {
    for (let i = 0; i < b.length; i++) {
      const number = b.market[i] as number
      const kind = b.kind[i] as number
      if (kind < Kind.CATALOG || number < 0) continue
      const detail = b.details[b.detail[i] as number] as string
      this.numbers = Math.max(this.numbers, number + 1)
      if (kind === Kind.CATALOG) {
        const catalog = JSON.parse(detail) as CatalogDetail
        for (const [n, other] of this.#known) if (other.catalog.ticker === catalog.ticker) this.#known.delete(n)
        this.#known.set(number, { catalog, result: null, settlementValue: null })
        continue
      }
      const known = this.#known.get(number)
      if (known === undefined) continue
      if (kind === Kind.STATUS) known.catalog = { ...known.catalog, ...(JSON.parse(detail) as StatusDetail) }
      else if (kind === Kind.FEE) known.catalog = { ...known.catalog, fee: JSON.parse(detail) as FeeDetail }
      else if (kind === Kind.DETERMINED) {
        const { result, value } = JSON.parse(detail) as DeterminedDetail
        known.catalog = { ...known.catalog, status: 'determined' }
        known.result = result
        known.settlementValue = value
      } else if (kind === Kind.SETTLED) this.#known.delete(number)
    }
  }
  get alive(): readonly KnownMarket[] {
    return [...this.#known.values()]
  }
}
