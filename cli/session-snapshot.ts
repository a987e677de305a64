/** The snapshot of a running session, made from what it holds. Owns the reading; hides nothing. Invariant: it only reads. */
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks'
import type { FeedStatus } from '../adapters/kalshi/index.ts'
import type { Recorder } from '../adapters/recorder/recorder.ts'
import type { Engine } from '../engine/engine.ts'
import type { SessionHeader } from '../engine/session.ts'
import type { LiveSession } from './live-session.ts'
import { SILENT_MAX } from './status-text.ts'
import { ERRORS_MAX, LIST_MAX, TEXT_MAX, type Acknowledged, type SessionSnapshot } from './session-status.ts'

export type SnapshotParts = {
  readonly dir: string
  readonly mode: string
  /** Null: nothing acts on the rows, they are recorded. */
  readonly trading: Trading | null
  readonly environment: string
  readonly live: LiveSession
  readonly recorder: Pick<Recorder, 'status'>
  readonly feed: () => FeedStatus
  readonly started: number
  /** The session's. */
  readonly clock: { now(): number }
  readonly labelWait: number
  /** Troubles that stand and act on orders; nothing: nobody looks for them. */
  readonly wrong?: () => readonly string[]
  /** What acts on nothing, and a person should know. */
  readonly remarks?: () => readonly string[]
}
export type Trading = {
  readonly engine: Engine
  readonly header: SessionHeader
  readonly measured: readonly number[]
}

/** The loop is looked at this often; what it measures holds this wait. */
const LOOP_MS = 10
/** Seconds of which the share of uptime is told. */
const UPTIME_SECONDS = 600

export class Snapshots {
  readonly #parts: SnapshotParts
  readonly #loop: IntervalHistogram
  readonly #errors: { time: number; text: string }[] = []
  readonly #commands: Acknowledged[] = []
  readonly #synced: boolean[] = []
  #rows = 0
  #at = performance.now()
  #perSecond = 0
  readonly #begun: number

  constructor(parts: SnapshotParts) {
    this.#parts = parts
    this.#begun = parts.clock.now()
    this.#loop = monitorEventLoopDelay({ resolution: LOOP_MS })
    this.#loop.enable()
  }
  close(): void {
    this.#loop.disable()
  }

  error(text: string): void {
    this.#errors.push({ time: this.#parts.clock.now(), text: text.slice(0, TEXT_MAX) })
    if (this.#errors.length > ERRORS_MAX) this.#errors.shift()
  }
  acknowledge(command: Acknowledged): void {
    this.#commands.push(command)
    if (this.#commands.length > ERRORS_MAX) this.#commands.shift()
  }

  /** Called once a second: rates and uptime are counted by calls. */
  second(): void {
    const now = performance.now()
    this.#perSecond = ((this.#parts.live.rows - this.#rows) / Math.max(1, now - this.#at)) * 1000
    this.#rows = this.#parts.live.rows
    this.#at = now
    // Books that were whole before everything fell silent are not known to be whole.
    const { markets, links } = this.#parts.feed()
    this.#synced.push(markets.some((m) => m.synced) && links.some((l) => l.silent !== null && l.silent < SILENT_MAX))
    if (this.#synced.length > UPTIME_SECONDS) this.#synced.shift()
  }

  take(ended: string | null): SessionSnapshot {
    const { dir, mode, trading, environment, live, recorder, started, labelWait } = this.#parts
    const feed = this.#parts.feed()
    const open = feed.markets.filter((m) => m.status === 'active' || m.status === 'inactive')
    const unsynced = open.filter((m) => !m.synced)
    const microseconds = (ns: number): number => (Number.isFinite(ns) ? Math.max(0, Math.round(ns / 1e3) - LOOP_MS * 1000) : 0)
    const { state: tapeState, rows: tapeRows, failure } = recorder.status
    const memory = process.memoryUsage()
    return {
      schema: 'tapeline.status/1',
      session: dir,
      mode,
      pid: process.pid,
      written: Date.now(),
      started,
      ended,
      ...(trading === null ? recordingOf(live, tapeState, this.#begun) : tradingOf(trading, live, this.#begun)),
      labelWait,
      ran: live.ran,
      feed: {
        environment,
        connections: feed.links
          .slice(0, LIST_MAX)
          // What was open when it ended is not open any more.
          .map(({ name, state, connects, stale, silent }) =>
            ended === null ? { name, state, connects, stale, silent } : { name, state: 'closed', connects, stale: false, silent: null },
          ),
        uptime: this.#synced.length === 0 ? null : this.#synced.filter(Boolean).length / this.#synced.length,
        lag: live.feedLag.quantiles,
        marketsSynced: open.length - unsynced.length,
        marketsUnsynced: unsynced.length,
        unsynced: unsynced.slice(0, LIST_MAX).map((m) => m.ticker),
        troubles: Object.fromEntries(
          Object.entries(feed.troubles)
            .slice(0, ERRORS_MAX)
            .map(([ticker, why]) => [ticker, why.slice(0, TEXT_MAX)]),
        ),
        rowsWaiting: feed.rowsWaiting,
        rowsDropped: feed.rowsDropped,
        gaps: feed.links.reduce((a, l) => a + l.gaps, 0),
        audits: feed.counts['audits'] ?? 0,
        auditsEqual: feed.counts['auditsEqual'] ?? 0,
      },
      rows: { total: live.rows, perSecond: Math.round(this.#perSecond), externals: live.externals, moved: live.moved },
      tape: { state: tapeState, rows: tapeRows, failure },
      loop: {
        p50: microseconds(this.#loop.percentile(50)),
        p99: microseconds(this.#loop.percentile(99)),
        max: microseconds(this.#loop.max),
      },
      memory: { resident: memory.rss, heap: memory.heapUsed },
      wrong: ended === null ? wrongOf(this.#parts) : [],
      remarks: bounded(this.#parts.remarks?.() ?? []),
      commands: this.#commands.slice(),
      errors: this.#errors.slice(),
    }
  }
}

type TradingPart = Pick<
  SessionSnapshot,
  'state' | 'time' | 'ran' | 'strategies' | 'orders' | 'positions' | 'money' | 'limits' | 'delays' | 'decision'
>

function tradingOf({ engine, header, measured }: Trading, live: LiveSession, begun: number): TradingPart {
  const { portfolio, session } = engine
  const { limits } = header
  const orders: SessionSnapshot['orders']['list'][number][] = []
  const positions: SessionSnapshot['positions'][number][] = []
  let [position, marketLoss] = [0, 0]
  for (const market of engine.markets.alive) {
    const { holding } = market
    if (holding === null) continue
    position = Math.max(position, Math.abs(holding.position))
    marketLoss = Math.max(marketLoss, portfolio.marketLoss(market))
    if (holding.position !== 0 && positions.length < LIST_MAX)
      positions.push({ market: market.ticker, position: holding.position / 100, pnl: portfolio.profit(market) / 1e6 })
    for (const wish of market.wishes) {
      const order = wish?.order ?? null
      if (order === null || order.over || orders.length >= LIST_MAX) continue
      orders.push({
        market: market.ticker,
        owner: header.strategies[order.owner]?.name ?? '',
        side: order.side === 0 ? 'bid' : 'ask',
        price: order.price / 10_000,
        remaining: order.remaining / 100,
        state: order.state,
      })
    }
  }
  return {
    state: { name: session.name, since: session.since > 0 ? session.since : begun, cause: session.cause, hold: session.hold },
    time: engine.now,
    ran: Math.max(engine.now, live.ran),
    strategies: header.strategies.map((s) => s.name),
    orders: {
      working: engine.ordersOpen,
      sent: engine.manager.orders,
      fills: engine.manager.fills,
      refusals: countsOf(engine.manager.tallies.map((t) => t.refusals)),
      rejections: countsOf(engine.manager.tallies.map((t) => t.rejections)),
      list: orders,
    },
    positions,
    money: {
      equity: portfolio.equity / 1e6,
      pnl: (portfolio.equity - portfolio.start) / 1e6,
      cash: portfolio.cash / 1e6,
      fees: portfolio.fees / 1e6,
      drawdown: portfolio.drawdownMax / 1e6,
    },
    limits: {
      orders: engine.ordersOpen / limits.ordersOpenMax,
      position: position / limits.positionMax,
      marketLoss: Math.max(0, marketLoss) / limits.marketLossMax,
      sessionLoss: Math.max(0, portfolio.loss) / limits.sessionLossMax,
    },
    delays: { place: header.delays.place, answer: header.delays.answer, measured },
    decision: live.decision.quantiles,
  }
}

function wrongOf({ wrong, trading }: SnapshotParts): string[] {
  const halted = [...(trading?.engine.markets.alive ?? [])].flatMap((m) =>
    m.halted === null ? [] : [`${m.ticker} takes no new order: ${m.halted}; \`tapeline explain <session> ${m.ticker}\``],
  )
  return bounded([...(wrong?.() ?? []), ...halted])
}
function bounded(texts: readonly string[]): string[] {
  return texts.slice(0, LIST_MAX).map((text) => text.slice(0, TEXT_MAX))
}

/** Of all strategies, the most frequent first. */
function countsOf(tallies: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums = new Map<string, number>()
  for (const tally of tallies) for (const [reason, n] of Object.entries(tally)) sums.set(reason, (sums.get(reason) ?? 0) + n)
  return Object.fromEntries([...sums].sort((a, b) => b[1] - a[1]).slice(0, LIST_MAX))
}

/** Nothing trades: the same shape, empty. */
function recordingOf(live: LiveSession, tapeState: string, begun: number): TradingPart {
  return {
    state: { name: tapeState === 'full' || tapeState === 'failed' ? 'full' : 'recording', since: begun, cause: null, hold: null },
    time: live.ran,
    ran: live.ran,
    strategies: [],
    orders: { working: 0, sent: 0, fills: 0, refusals: {}, rejections: {}, list: [] },
    positions: [],
    money: { equity: 0, pnl: 0, cash: 0, fees: 0, drawdown: 0 },
    limits: { orders: 0, position: 0, marketLoss: 0, sessionLoss: 0 },
    delays: { place: 0, answer: 0, measured: [] },
    decision: null,
  }
}
