/**
 * A session's own tape under every fill model, in one pass: its orders as they were sent, and its strategies run free. Owns the pass; hides the worlds. Invariants: an order is put in before the first row
 * that was known later than its decision; every model sees the same rows.
 */
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { slice } from '../../data/log-rows.ts'
import { Run } from '../../data/run.ts'
import { openTape } from '../../data/tape-reader.ts'
import { Engine } from '../../engine/engine.ts'
import { Kind, type Batch } from '../../engine/message.ts'
import type { Delays, FillModelName, SessionHeader, SessionRecord } from '../../engine/session.ts'
import type { Surroundings } from '../../reports/diverge/compare.ts'
import type { Act } from '../../reports/diverge/model.ts'
import { failureIn } from '../strategy/failure.ts'
import type { Chosen } from '../strategy/choose.ts'
import { Spread } from '../spread.ts'
import { Watch } from '../watch.ts'
import { OrderWorld } from './order-world.ts'

/** Something that happens between two rows. */
export type Moment =
  | { readonly time: number; readonly act: Act }
  | { readonly time: number; readonly asked: { readonly order: number; readonly ahead: number } }
  | { readonly time: number; readonly filled: number }

export type FreeRun = { readonly model: FillModelName; readonly record: SessionRecord | null; readonly failed: string | null }
export type Passed = {
  readonly worlds: readonly OrderWorld[]
  readonly free: readonly FreeRun[]
  /** By order. */
  readonly around: ReadonlyMap<number, Surroundings>
}
export type PassOptions = {
  readonly tape: string
  readonly header: SessionHeader
  readonly models: readonly FillModelName[]
  /** In the order of time. */
  readonly moments: readonly Moment[]
  /** Models under which the strategies run free, new ones for each. */
  readonly free: readonly { readonly model: FillModelName; readonly strategies: readonly Chosen[] }[]
  readonly delays: Delays
  /** From when on a free run may trade, µs. */
  readonly tradesFrom: number | null
  readonly decode?: 'worker' | 'thread'
}

/** A feed that is this many times as late as usual, and by more than a tenth of a second, is late. */
const LATE_TIMES = 5
const LATE_LEAST = 100_000

export async function pass(options: PassOptions): Promise<Passed> {
  const { header, models, moments } = options
  const tape = await openTape(options.tape)
  const worlds = models.map((model) => new OrderWorld(model, header))
  const watch = new Watch()
  const free = options.free.map(({ model, strategies }) => freeRun(options, model, strategies))
  const lags = new Lags()
  const around = new Map<number, Surroundings>()
  let next = 0
  const run = (batch: Batch): void => {
    for (const world of worlds) world.run(batch)
  }
  const happens = (m: Moment): void => {
    if ('act' in m) {
      if (m.act.type === 'submit') around.set(m.act.order, lags.now(m.act.ticker))
      for (const world of worlds) world.put(m.act)
    } else if ('asked' in m) for (const world of worlds) world.asked(m.asked.order, m.time, m.asked.ahead)
    else for (const world of worlds) world.filledFirst(m.filled)
  }
  try {
    const stream = await tape.read({ decode: options.decode ?? 'worker' })
    lags.tickers = stream.tickers
    for await (const batch of stream) {
      let start = 0
      for (let i = 0; i < batch.length && next < moments.length; i++) {
        if ((batch.time[i] as number) <= (moments[next] as Moment).time) continue
        if (i > start) {
          const piece = slice(batch, start, i)
          run(piece)
          lags.take(piece)
        }
        start = i
        while (next < moments.length && (moments[next] as Moment).time < (batch.time[i] as number)) happens(moments[next++] as Moment)
      }
      if (start < batch.length) {
        const piece = slice(batch, start, batch.length)
        run(piece)
        lags.take(piece)
      }
      for (const f of free) f.run(batch, watch)
      await new Promise(setImmediate)
    }
    while (next < moments.length) happens(moments[next++] as Moment)
    for (const world of worlds) world.finish()
    return { worlds, free: free.map((f) => f.finish(watch)), around }
  } finally {
    await watch.end()
  }
}

/** How late the rows of a market come, and usually. */
class Lags {
  tickers: readonly string[] = []
  readonly #last = new Map<string, number>()
  readonly #all = new Spread()

  take(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) {
      const kind = batch.kind[i]
      if (kind !== Kind.DELTA && kind !== Kind.TRADE) continue
      const lag = (batch.time[i] as number) - (batch.timeVenue[i] as number)
      this.#last.set(this.tickers[batch.market[i] as number] ?? '', lag)
      this.#all.add(lag)
    }
  }
  now(ticker: string): Surroundings {
    const lag = this.#last.get(ticker) ?? null
    const lagUsual = this.#all.quantiles?.p50 ?? null
    return { lag, lagUsual, late: lag !== null && lagUsual !== null && lag > LATE_LEAST && lag > LATE_TIMES * lagUsual }
  }
}

function freeRun({ header: own, delays, tradesFrom }: PassOptions, model: FillModelName, strategies: readonly Chosen[]) {
  const sink = new Run()
  let first: number | null = null
  let failed: string | null = null
  let header: SessionHeader | null = null
  let engine: Engine | null = null
  const begin = (time: number): Engine => {
    first = time
    // Before the session could trade, its strategies saw and could not: so here.
    const warmup = Math.max(own.selection.warmup, tradesFrom === null ? 0 : tradesFrom - first)
    const { live: _, ...plain } = own
    header = { ...plain, mode: 'backtest', fills: model, delays, selection: { ...own.selection, warmup } }
    return new Engine({
      header,
      strategies: strategies.map((s) => s.strategy),
      venue: new SimulatedVenue(model, delays, own.tape.lagMax),
      sink,
    })
  }
  return {
    run(batch: Batch, watch: Watch): void {
      if (failed !== null || batch.length === 0) return
      engine ??= begin(batch.time[0] as number)
      const e = engine
      try {
        watch.turn(() => e.run(batch))
      } catch (error) {
        failed = failureIn(error, { time: e.now, call: e.calling }, watch).reason
      }
    },
    finish(watch: Watch): FreeRun {
      if (engine === null || header === null) return { model, record: null, failed: 'the tape has no rows' }
      if (failed !== null) return { model, record: null, failed }
      const e = engine
      return {
        model,
        record: sink.record(
          header,
          watch.turn(() => e.finish('end of tape', true)),
        ),
        failed: null,
      }
    },
  }
}
