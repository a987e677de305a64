/**
 * What trades for the session that is drilled: venue, gate, private socket, sweeps, reconciling and order groups, put together. Owns the wiring; hides nothing. Invariant: an answer reaches the session as news,
 * and in no other way.
 */
import { Gate } from '../../../adapters/kalshi/venue/gate.ts'
import { GroupPlanner, readGroups, writeGroup, type GroupAnswer, type GroupWriter } from '../../../adapters/kalshi/venue/group.ts'
import { readClientId, type GroupIntent, type Intent } from '../../../adapters/kalshi/venue/intent.ts'
import { Poller } from '../../../adapters/kalshi/venue/poll.ts'
import { PrivateSocket } from '../../../adapters/kalshi/venue/private-socket.ts'
import type { OurOrder, OurPayment, OurView } from '../../../adapters/kalshi/venue/reconcile.ts'
import { Reconciler, type ReconcilerState } from '../../../adapters/kalshi/venue/reconciler.ts'
import { KalshiVenue } from '../../../adapters/kalshi/venue/venue.ts'
import type { Kept } from '../../../adapters/kalshi/venue/tracked.ts'
import type { Trading, TradingDesk } from '../../../cli/live/trading.ts'
import type { News } from '../../../engine/news.ts'
import { PRICE_ONE } from '../../../engine/units.ts'
import type { Hands } from './session.ts'

const SECOND = 1_000_000
type Book = { position: number; flows: number }

export function handsOf(desk: TradingDesk, hands: Hands): Trading {
  const { world, environment, signer, rest, budget, header, halted, start } = hands
  const { clock, timers } = world
  const nonce = header.live?.nonce ?? ''
  let offset = 0
  let eventVenue = 0
  let eventAt = 0
  const happened = (venue: number): void => {
    eventAt = clock.now()
    eventVenue = Math.max(eventVenue, venue)
  }
  // Our own books by market, from news alone: what reconciling compares.
  const books = new Map<string, Book>()
  const tickers = new Map<number, string>()
  const sides = new Map<number, 'bid' | 'ask'>()
  const learned = (news: News): void => {
    if (news.type !== 'fill' && news.type !== 'foreign-fill') return
    const ticker = news.type === 'fill' ? (tickers.get(news.order) as string) : news.ticker
    const side = news.type === 'fill' ? sides.get(news.order) : news.side
    let book = books.get(ticker)
    if (book === undefined) books.set(ticker, (book = { position: 0, flows: 0 }))
    const change = side === 'bid' ? news.quantity : -news.quantity
    book.position += change
    book.flows += -change * news.price - news.fee
    happened(news.timeVenue)
  }
  const enter = (news: News): void => {
    learned(news)
    desk.enter(news)
  }

  const planner = new GroupPlanner(200_00, {
    tickersOf: (shard) => [...desk.engine.markets.alive].filter((m) => (hands.shardOf(m.ticker) ?? 0) === shard).map((m) => m.ticker),
    write: (write) => void writeGroup(writer, write).then((answer) => planner.answered(write, answer, clock.now())),
    tell: (news) => enter(news),
  })
  const gate: Gate = new Gate({
    environment,
    signer,
    clock,
    timers,
    http: world.http,
    budget,
    caps: { orderMax: 1200, notionalMax: 20 * SECOND, collar: 1_500, ordersPerSecond: 20, ordersOpen: 40 },
    killed: halted,
    holdsLock: () => true,
    synced: () => desk.synced(),
    permits: () => desk.engine.session.hold,
    reference: (ticker) => {
      const at = desk.engine.markets.get(ticker)?.reference ?? -1
      return at < 0 ? null : at
    },
    closes: (ticker) => desk.engine.markets.get(ticker)?.closeTime ?? null,
    ordersOpen: (): number => venue.orders.open,
  })
  const venue: KalshiVenue = new KalshiVenue(
    {
      gate,
      rest,
      clock,
      timers,
      record: (kind: string, detail: unknown) => {
        const intent = detail as Intent
        if (kind === 'intent' && intent.kind === 'create') {
          tickers.set(intent.order, intent.ticker)
          sides.set(intent.order, intent.side)
        }
        return desk.record(kind, detail)
      },
      sync: () => desk.sync(),
      enter,
      wanted: ({ reads, sweep }) => {
        poller.read(reads)
        if (sweep) poller.sweepNow()
        poller.busy()
      },
      failed: (error) => hands.failed(error),
      orderGroup: (shard) => planner.idOf(shard ?? 0),
      shardOf: (ticker) => hands.shardOf(ticker),
    },
    { nonce, subaccount: 0, generation: desk.generation, start },
  )
  const groupWrite = async (intent: GroupIntent): Promise<GroupAnswer> => {
    const { outcome } = await venue.write(intent)
    if (outcome.kind === 'acknowledged') return { outcome: 'acknowledged', id: outcome.answer.kind === 'group' ? outcome.answer.id : '' }
    return { outcome: outcome.kind, reason: outcome.kind === 'rejected' ? outcome.code : outcome.reason }
  }
  const common = { command: null, attempt: 1, subaccount: 0 } as const
  const writer: GroupWriter = {
    createGroup: (shard, limit) => groupWrite({ ...common, kind: 'group-create', shard, limit }),
    resetGroup: (group, shard) => groupWrite({ ...common, kind: 'group-reset', shard, group }),
    triggerGroup: (group, shard) => groupWrite({ ...common, kind: 'group-trigger', shard, group }),
    deleteGroup: (group, shard) => groupWrite({ ...common, kind: 'group-delete', shard, group }),
  }
  const poller = new Poller(
    rest,
    world,
    { start },
    {
      needs: () => {
        let live = 0
        let since: number | null = null
        const resting: string[] = []
        for (const t of venue.orders.live()) {
          live++
          if (t.told === 'open') resting.push(t.ticker)
          since = Math.min(since ?? Infinity, t.since + offset)
        }
        return { live, resting, since }
      },
      onEvent: (event) => {
        switch (event.type) {
          case 'sweep':
            return venue.swept(event.sweep)
          case 'facts':
            for (const fact of event.orders) venue.seen(fact, 'list')
            for (const fact of event.fills) venue.filled(fact, 'list')
            return
          case 'order':
            return venue.seen(event.fact, 'read')
          case 'unread':
            if (event.missing) venue.readNotFound(event.id)
            return
          case 'resumed':
            return reconciler.ask('resumed')
          case 'paused':
          case 'queue':
          case 'trouble':
        }
      },
      onFail: (error) => hands.failed(error),
    },
  )
  const socket = new PrivateSocket({
    environment,
    signer,
    world,
    onEvent: (event) => {
      switch (event.type) {
        case 'order':
          happened(event.fact.updated ?? 0)
          return venue.seen(event.fact, 'stream')
        case 'fill':
          happened(event.fact.timeVenue)
          return venue.filled(event.fact, 'stream')
        case 'group':
          planner.heard(event.id, event.event)
          if (event.event === 'triggered') venue.groupTriggered(event.id)
          return
        case 'reconnected':
          poller.sweepNow()
          return reconciler.ask('reconnected')
        case 'missed':
          poller.sweepNow()
          if (event.groups) void readGroups(rest).then((ids) => ids !== null && planner.listed(ids))
          return
        case 'down':
      }
    },
    onFail: (error) => hands.failed(error),
  })
  const view = (): OurView => {
    const orders: OurOrder[] = []
    const moving = new Set<string>()
    for (const t of venue.orders.live()) {
      if (
        t.told === 'open' &&
        t.id !== null &&
        t.pending === null &&
        t.next === null &&
        t.unknown === null &&
        t.ended === null &&
        t.reduced === null
      )
        orders.push({ id: t.id, ticker: t.ticker, side: t.create.side, price: t.price, remaining: t.total - t.booked })
      else moving.add(t.ticker)
    }
    const cash = new Map<number, number>()
    const positions = new Map<string, number>()
    for (const [ticker, { position, flows }] of books) {
      const shard = hands.shardOf(ticker) ?? 0
      const payment = hands.payments.get(ticker)
      const locked = position < 0 ? -position * PRICE_ONE : 0
      cash.set(shard, (cash.get(shard) ?? 0) + flows - locked + (payment?.paid ?? 0))
      if (payment === undefined) positions.set(ticker, position)
    }
    return {
      orders,
      moving,
      isOurs: (fact) => fact.client !== null && readClientId(fact.client)?.nonce === nonce,
      positions,
      paid: hands.payments,
      shardOf: (ticker) => hands.shardOf(ticker) ?? 0,
      cash,
      reserved: new Map(),
      eventVenue,
      eventAt,
    }
  }
  let state: ReconcilerState = { baseline: null, reading: null, halted: [] }
  const reconciler = new Reconciler(
    rest,
    world,
    { start, shards: [0, 2] },
    {
      view,
      onVerdict: (record, news) => {
        desk.record('reconcile', { record, state: reconciler.state })
        for (const n of news) enter(n)
      },
      onFail: (error) => hands.failed(error),
    },
  )
  return {
    venue,
    restore: (inputs) => {
      const kept: Kept[] = []
      for (const { kind, detail, time } of inputs) {
        if (kind === 'intent') {
          const intent = detail as Intent
          kept.push({ intent, time })
          if (intent.kind === 'create') {
            tickers.set(intent.order, intent.ticker)
            sides.set(intent.order, intent.side)
          }
        } else if (kind === 'dropped') kept.push({ dropped: (detail as { command: number }).command })
        else if (kind === 'news') {
          kept.push({ news: detail as News })
          learned(detail as News)
        } else if (kind === 'reconcile') ({ state } = detail as { state: ReconcilerState })
      }
      if (state.baseline !== null) reconciler.restore(state)
      venue.restore(kept)
      return []
    },
    start: async () => {
      offset = 0
      for (const shard of hands.shards) planner.want(shard, clock.now())
      const groups = (): void => {
        planner.advance(clock.now())
        timers.after(SECOND, groups)
      }
      groups()
      socket.start()
      poller.start()
      reconciler.start()
    },
    flush: () => void venue.flush(),
    settle: async (patience) => {
      const left = await venue.settleDown(patience)
      if (left.open === null) return [`not readable: ${left.why}`]
      return [...left.open.map((o) => `${o.client} in ${o.ticker}`), ...(left.unknown > 0 ? [`${left.unknown} unknown`] : [])]
    },
    stop: async () => {
      socket.stop()
      poller.stop()
      reconciler.stop()
      venue.close()
    },
  }
}
export type { OurPayment }
