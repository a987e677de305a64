/**
 * A live session without an exchange: the engine in live mode over a tape, its orders at a simulated venue beside it whose answers come back as news, late, out of step, lost and found. Owns the course of
 * such a session and what really became of its orders; hides the venue. Invariant: the folder is what a real session leaves (rows, news, intents, outcomes and journal in one log), and everything is a
 * function of its seed.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HistoryFeed } from '../../adapters/history/feed.ts'
import { SessionFolder } from '../../adapters/record/session-record.ts'
import { Recorder } from '../../adapters/recorder/recorder.ts'
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { reliveFolder, SilentVenue } from '../../cli/live/relive.ts'
import { slice } from '../../data/log-rows.ts'
import { openTape } from '../../data/tape-reader.ts'
import { Engine } from '../../engine/engine.ts'
import { createBatch, Flag, Kind, pushRow, type Batch } from '../../engine/message.ts'
import type { AnswerNews, News } from '../../engine/news.ts'
import { Order, type Answer, type Command } from '../../engine/order.ts'
import type { FillModelName, SessionHeader, SessionRecord } from '../../engine/session.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { SECOND } from '../../engine/units.ts'
import type { Inbox } from '../../engine/venue.ts'
import { Wish } from '../../engine/wish.ts'
import { strategies as builtIn } from '../../strategies/index.ts'
import { integer, random } from './random.ts'
import { header as headerOf } from './session.ts'

export type LiveOptions = {
  readonly seed: number
  readonly strategy?: string
  readonly parameters?: readonly string[]
  /** What the venue really does. */
  readonly model?: FillModelName
  /** Shares of commands. */
  readonly lost?: number
  readonly neverArrived?: number
  readonly notSent?: number
  readonly refused?: number
  /** Money more than the formula, on every fill. */
  readonly feeMore?: number
  /** One fill that is not ours. */
  readonly foreign?: boolean
  /** The process dies after so many instants, and goes on. */
  readonly dieAt?: number
  readonly finish?: boolean
  /** It stands still instead: the files of a run beside its log. */
  readonly pause?: boolean
  /** False: the venue does not say when it did what it was told. */
  readonly venueTimes?: boolean
}
type Due = { readonly time: number; readonly number: number; readonly enter: readonly News[]; readonly outcome: Outcome | null }
/** As the trader of a live session writes it. */
type Outcome = {
  readonly order: number
  readonly client: string | null
  readonly type: string
  readonly attempt: number
  readonly outcome: string
  readonly status: number | null
  readonly reason: string
  readonly made: number
  readonly synced: number
  readonly handed: number
  readonly sent: number | null
  readonly answered: number
}
/** A command that is at the venue, and how its answer comes back. */
type Way = {
  readonly sent: number
  readonly synced: number
  readonly answered: number
  readonly lost: boolean
  /** When it is known again. */
  readonly until: number
  readonly type: Command['type']
  done: boolean
}

/** What an exchange would have told, had it been asked: kept by the test alone. */
export type Truth = { readonly fills: Map<number, { price: number; quantity: number; fee: number; timeVenue: number; maker: boolean }[]> }

export async function liveSession(
  dir: string,
  source: string,
  options: LiveOptions,
): Promise<{ record: SessionRecord | null; truth: Truth }> {
  const { seed, strategy: name = 'lean', parameters = [], model = 'queue' } = options
  const { lost = 0, neverArrived = 0, notSent = 0, refused = 0, feeMore = 0 } = options
  const next = random(seed)
  const tape = await openTape(source)
  const strategy = (): Strategy => (builtIn[name] as () => Strategy)()
  const header: SessionHeader = {
    ...headerOf(),
    mode: 'live',
    live: { nonce: 'fixture', environment: 'local', subaccount: 0 },
    strategies: [{ name, parameters: strategy().parameters }],
    tape: { ...headerOf().tape, name: 'live', source: 'live (fixture)', practice: true, lagMax: Math.max(30_000, tape.manifest.lagMax) },
  }
  const truth: Truth = { fills: new Map() }

  // ------------------------------------------------------------------------------------------ the venue
  const delays = { place: 1, cancel: 1, amend: 1, answer: 1 }
  const simulated = new SimulatedVenue(model, delays, header.tape.lagMax)
  const heard: { readonly time: number; readonly answer: Answer }[] = []
  const world = new Engine({
    header: { ...header, mode: 'backtest', strategies: [] },
    strategies: [],
    venue: {
      onTape: simulated,
      connect(inbox: Inbox) {
        simulated.connect({
          get now() {
            return inbox.now
          },
          answer: (time, answer) => void heard.push({ time, answer }),
          wake: (time, market, token) => inbox.wake(time, market, token),
        })
      },
      send: () => 0,
    },
    sink: { journal() {}, touches() {}, equity() {}, markouts() {} },
  })
  const twins = new Map<number, Order>()
  const ways = new Map<number, Way[]>()
  let due: Due[] = []
  let [dues, trades, commands] = [0, 0, 0]
  const lastOf = new Map<number, number>()
  /** News of one order keep their order; `exact`: at its own time whatever else is known. */
  const later = (order: number, time: number, enter: readonly News[], outcome: Outcome | null = null, exact = false): void => {
    const at = exact ? time : Math.max(time, (lastOf.get(order) ?? 0) + 1)
    lastOf.set(order, Math.max(at, lastOf.get(order) ?? 0))
    due.push({ time: at, number: dues++, enter, outcome })
    due.sort((a, b) => a.time - b.time || a.number - b.number)
  }
  const clientOf = (order: number): string => `fixture-0-${order}`

  const send = (command: Command, decided: number, log: (kind: string, detail: unknown) => void): void => {
    const { order, type, price, quantity } = command
    const { id } = order
    const client = clientOf(id)
    const place = { command: commands++, attempt: 1, order: id, ticker: order.market.ticker, shard: 0, subaccount: 0 }
    const side = order.side === 0 ? 'bid' : 'ask'
    log(
      'intent',
      type === 'submit'
        ? { kind: 'create', ...place, client, side, price, quantity, tif: order.tif, expires: order.expires, postOnly: order.postOnly }
        : type === 'amend'
          ? { kind: 'amend', ...place, id: `v${id}`, side, price, quantity }
          : type === 'decrease'
            ? { kind: 'decrease', ...place, id: `v${id}`, quantity }
            : { kind: 'cancel', ...place, id: `v${id}` },
    )
    const synced = decided + integer(next, 200, 2_000)
    const sent = synced + integer(next, 20, 300)
    const answered = sent + integer(next, 8_000, 60_000)
    const kind = type === 'submit' ? 'create' : type
    const outcome = (word: string, reason: string, status: number | null, at: number, left: number | null = sent): Outcome => ({
      order: id,
      client: kind === 'create' ? client : null,
      type: kind,
      attempt: 1,
      outcome: word,
      status,
      reason,
      made: decided,
      synced,
      handed: synced + 10,
      sent: left,
      answered: at,
    })
    const u = next()
    if (type === 'submit' && u < notSent)
      return later(
        id,
        sent,
        [{ type: 'rejected', order: id, timeVenue: sent, reason: 'not-sent' }],
        outcome('not-sent', 'no connection', null, sent, null),
      )
    if (type === 'submit' && u < notSent + neverArrived) {
      const gone = sent + 2 * SECOND
      later(id, gone, [{ type: 'no-answer', order: id, timeVenue: gone, reason: 'timeout' }], outcome('unknown', 'timeout', null, gone))
      return later(id, gone + 70 * SECOND, [{ type: 'absent', order: id, timeVenue: gone + 70 * SECOND }])
    }
    if (type === 'submit' && u < notSent + neverArrived + refused)
      return later(
        id,
        answered,
        [{ type: 'rejected', order: id, timeVenue: sent + 1_000, reason: 'insufficient_balance' }],
        outcome('rejected', 'insufficient_balance', 400, answered),
      )
    const isLost = u > 1 - lost
    const market = world.markets.get(order.market.ticker)
    if (market === undefined) return
    let twin = twins.get(id)
    if (twin === undefined) {
      twin = new Order(
        id,
        market,
        0,
        order.side,
        price,
        quantity,
        order.tif,
        order.postOnly,
        order.expires,
        new Wish(market, 0, order.side, order.tif !== 'gtc'),
      )
      twins.set(id, twin)
    }
    const way: Way = { sent, synced, answered, lost: isLost, until: sent + (2 + integer(next, 1, 6)) * SECOND, type, done: false }
    ways.set(id, [...(ways.get(id) ?? []), way])
    if (isLost) {
      const gone = sent + 2 * SECOND
      later(id, gone, [{ type: 'no-answer', order: id, timeVenue: gone, reason: 'timeout' }], outcome('unknown', 'timeout', null, gone))
    }
    const arrival = sent + integer(next, 3_000, answered - sent - 1)
    delays.place = delays.cancel = delays.amend = Math.max(1, arrival - world.now)
    simulated.send({ type, order: twin, price, quantity })
  }

  /** What the venue said: told when its answer is back, or found again when it was lost. */
  const tell = (now: number): void => {
    for (const { answer } of heard.splice(0)) {
      const { order, timeVenue } = answer
      const { id } = order
      const way = ways.get(id)?.find((w) => !w.done)
      const answers = answer.type !== 'fill' && (answer.type !== 'canceled' || (answer.reason === 'user' && way?.type === 'cancel'))
      const lost = ways.get(id)?.find((w) => w.lost && (!w.done || now < w.until))
      // What is heard of an order while nobody knows what its last command came to is told after that.
      const at = Math.max(
        now,
        answers && way !== undefined
          ? way.lost
            ? way.until
            : way.answered
          : lost !== undefined
            ? lost.until + 1 + integer(next, 1, 1_000)
            : timeVenue + integer(next, 2_000, 40_000),
      )
      let news: AnswerNews
      if (answer.type === 'fill') {
        const { price, quantity, maker } = answer
        const fee = answer.fee + feeMore
        news = { type: 'fill', order: id, timeVenue, price, quantity, fee, maker, trade: `t${trades++}` }
        truth.fills.set(id, [...(truth.fills.get(id) ?? []), { price, quantity, fee, timeVenue, maker }])
      } else if (answer.type === 'accepted') news = { type: 'accepted', order: id, timeVenue, remaining: answer.remaining, id: `v${id}` }
      else if (answer.type === 'amended' || answer.type === 'decreased')
        news = { type: answer.type, order: id, timeVenue, remaining: answer.remaining }
      else if (answer.type === 'absent') news = { type: 'absent', order: id, timeVenue }
      else news = { type: answer.type, order: id, timeVenue, reason: reasonOf(answer) }
      let outcome: Outcome | null = null
      if (answers && way !== undefined) {
        way.done = true
        const word = answer.type.endsWith('rejected') ? 'rejected' : 'acknowledged'
        if (!way.lost)
          outcome = {
            order: id,
            client: way.type === 'submit' ? clientOf(id) : null,
            type: way.type === 'submit' ? 'create' : way.type,
            attempt: 1,
            outcome: word,
            status: word === 'rejected' ? 400 : null,
            reason: reasonOf(answer),
            made: way.synced - 100,
            synced: way.synced,
            handed: way.synced + 10,
            sent: way.sent,
            answered: way.answered,
          }
      }
      if (options.venueTimes === false && news.type !== 'fill') news = { ...news, timeVenue: at }
      later(id, at, [news], outcome, answers && way?.lost === true)
    }
  }

  // ------------------------------------------------------------------------------------------ the session
  const process = async (until: number): Promise<SessionRecord | null> => {
    const folder = await SessionFolder.open(dir, { durable: false })
    const recorder = await Recorder.open(folder.tape, {
      source: 'live (fixture)',
      practice: true,
      spaceMin: 0,
      log: folder.log,
      rotate: { rows: 4000 },
    })
    const silent = new Collecting()
    const sink = await folder.goOn(header)
    const engine = new Engine({ header, strategies: [strategy()], venue: silent, sink })
    let last = 0
    const log = (kind: string, detail: unknown): void => void folder.input({ row: recorder.rows, time: engine.now, kind, detail })
    const enter = (time: number, news: News): void => {
      last = time
      folder.input({ row: recorder.rows, time, kind: 'news', detail: news })
      engine.enter(time, news)
      flush()
    }
    const flush = (): void => {
      for (const command of silent.commands.splice(0)) send(command, engine.now, log)
    }
    if (folder.resumed) {
      const relived = await reliveFolder(dir, engine, (body) => body())
      if (relived.failure !== null) throw relived.failure
      last = relived.to
      silent.commands.length = 0
      engine.flush()
      sink.repeated()
    } else {
      writeFileSync(join(dir, 'session.json'), JSON.stringify(header))
      writeFileSync(
        join(dir, 'live.json'),
        JSON.stringify({ schema: 'tapeline.live/1', strategies: [name], parameters, environment: 'local' }),
      )
    }
    log('segment', { generation: folder.resumed ? 2 : 1, version: '0.0.0', time: new Date(last / 1000).toISOString() })
    const feed = new HistoryFeed(tape, { decode: 'thread' })
    const own = (command: string, reason: string, time: number): Batch => {
      const b = createBatch(1)
      pushRow(b, time, time, -1, Kind.OPERATOR, Flag.LAST, 0, 0, 0, JSON.stringify({ command, reason }))
      return b
    }
    /** The feed of a process that goes on has numbers of its own, and tells every market and its book anew. */
    let shift = 0
    const anew = (time: number): Batch => {
      shift = 1000
      const b = createBatch(4096)
      const markets = [...world.markets.alive]
      for (const m of markets)
        pushRow(b, time, m.venueTime, m.feed + shift, Kind.CATALOG, Flag.LAST, 0, 0, 0, catalogs.get(m.feed) as string)
      for (const m of markets) {
        const levels = ([0, 1] as const).flatMap((side) => {
          const shown = side === 0 ? m.book.bids : m.book.asks
          return Array.from(shown, (q, i) => ({ side, price: m.book.grid.priceAt(i), q })).filter((l) => l.q > 0)
        })
        pushRow(b, time, m.venueTime, m.feed + shift, Kind.CLEAR, levels.length === 0 ? Flag.LAST : 0, 0, 0, 0)
        levels.forEach((l, k) =>
          pushRow(b, time, m.venueTime, m.feed + shift, Kind.LEVEL, k === levels.length - 1 ? Flag.LAST : 0, l.side, l.price, l.q),
        )
      }
      return b
    }
    let moments = 0
    let told = false
    let queued = 0
    for await (const batch of feed.batches()) {
      for (let start = 0, end = 0; start < batch.length; start = end) {
        const time = batch.time[start] as number
        while (end < batch.length && batch.time[end] === time) end++
        moments++
        const piece = slice(batch, start, end)
        for (let i = 0; i < piece.length; i++)
          if (piece.kind[i] === Kind.CATALOG) catalogs.set(piece.market[i] as number, piece.details[piece.detail[i] as number] as string)
        const ours = moments > begun
        if (ours && moments === begun + 1 && begun > 0) {
          const b = anew(Math.max(last + 1, time - 1))
          recorder.write(b)
          engine.run(b)
          last = b.time[0] as number
        }
        // What was due before it.
        while (ours && (due[0]?.time ?? Infinity) < time) {
          const { time: at, enter: list, outcome } = due.shift() as Due
          const now = Math.max(at, last)
          if (now >= time) break
          if (outcome !== null) folder.input({ row: recorder.rows, time: now, kind: 'outcome', detail: outcome })
          for (const news of list) enter(now, news)
        }
        if (ours) {
          world.run(piece)
          tell(time)
          for (let i = 0; i < piece.length; i++) if ((piece.market[i] as number) >= 0) piece.market[i] = (piece.market[i] as number) + shift
          recorder.write(piece)
          engine.run(piece)
          last = time
          const after = batch.time[end] as number | undefined
          if (after === undefined || after > time + 1) engine.tick((last = time + 1))
          flush()
          if (!told && moments > 20) {
            told = true
            log('reconciled', { outcome: 'agreed', why: 'as the exchange says', differences: [] })
            enter(last, { type: 'agreed', reason: 'the first reconciliation' })
          }
          if (last - queued > 5 * SECOND) {
            queued = last
            for (const [id, twin] of twins) {
              const ahead = simulated.queuePosition(twin)
              if (ahead !== null) log('queue', { order: id, ahead, predicted: ahead + 100 * integer(next, 0, 3) })
            }
          }
          if (moments === foreignAt && options.foreign === true) {
            const ticker = [...engine.markets.alive][0]?.ticker as string
            log('incident', {
              class: 'foreign-fill',
              action: 'halt-market',
              reason: `a fill of the account in ${ticker} that no order of the session made`,
              ticker,
            })
            enter(last, {
              type: 'foreign-fill',
              ticker,
              side: 'bid',
              price: 5000,
              quantity: 300,
              fee: 5_300,
              maker: false,
              trade: 'f1',
              timeVenue: last - 20_000,
            })
            later(-1, last + 30 * SECOND, [{ type: 'market-freed', ticker, reason: 'looked at by the operator' }])
            log('reconciled', {
              outcome: 'halted',
              why: 'a position differs',
              differences: [
                {
                  kind: 'position',
                  key: ticker,
                  ticker,
                  shard: 0,
                  ours: '0',
                  theirs: '3',
                  explanation: 'somebody else traded',
                  counted: true,
                },
              ],
            })
          }
        }
        if (moments === until) {
          engine.flush()
          await recorder.leave()
          await folder.leave()
          begun = moments
          return null
        }
      }
    }
    // Taken back, answered, over.
    const halt = own('halt', 'the session ends', last + 1)
    recorder.write(halt)
    engine.run(halt)
    engine.tick((last = last + 2))
    flush()
    for (let k = 0; k < 200; k++) {
      world.tick(last + SECOND / 2)
      tell(last)
      last += SECOND / 2
      while ((due[0]?.time ?? Infinity) <= last) {
        const { enter: list, outcome } = due.shift() as Due
        if (outcome !== null) folder.input({ row: recorder.rows, time: last, kind: 'outcome', detail: outcome })
        for (const news of list) enter(last, news)
      }
    }
    const stop = own('stop', 'its time is over', last + 1)
    recorder.write(stop)
    engine.run(stop)
    if (options.finish === false) {
      engine.flush()
      await recorder.leave()
      await folder.leave()
      return null
    }
    if (options.pause === true) {
      // As a live session ends: what it wrote may go on.
      engine.flush()
      sink.detach()
      const end = engine.finish('its time is over', true)
      await recorder.leave()
      return await folder.pause(end)
    }
    const end = engine.finish('its time is over', true)
    await recorder.finish()
    return await folder.finish(end)
  }
  let begun = 0
  const catalogs = new Map<number, string>()
  const foreignAt = 3000
  if (options.dieAt !== undefined) await process(options.dieAt)
  const record = await process(Infinity)
  return { record, truth }
}

function reasonOf(answer: Answer): string {
  return 'reason' in answer ? answer.reason : ''
}

/** As the silent one, with the commands themselves. */
class Collecting extends SilentVenue {
  readonly commands: Command[] = []
  override send(command: Command): number {
    this.commands.push({ ...command })
    return super.send(command)
  }
}
