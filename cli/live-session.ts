/**
 * A session on rows as they come. Owns the one order in which rows of the feed, rows of our own and passing time reach tape and engine; hides who brought them. Invariants: a row is on the
 * tape before the engine sees it; times never go back and are later than the time that the engine was told has passed; so the tape alone, read again, leads to the same journal.
 *
 * The engine's clock runs `lag` behind the wall's: as long as a row may still wait for its label in the feed. A row of our own (a command, an outside value) takes its place among the feed's
 * rows by the time at which it came.
 */
import type { Recorder } from '../adapters/recorder/recorder.ts'
import type { Engine } from '../engine/engine.ts'
import { createBatch, Flag, Kind, pushRow, type Batch, type ExternalDetail, type OperatorDetail } from '../engine/message.ts'
import { assert } from '../engine/assert.ts'
import type { News } from '../engine/news.ts'
import { Spread } from './spread.ts'

export type LiveParts = {
  /** Whoever acts on the rows; null: they are recorded alone. */
  readonly engine: Pick<Engine, 'run' | 'tick'> | null
  /** Live: keeps what enters beside rows, before it enters. Throws when it cannot. */
  readonly news?: { keep(time: number, news: News): void; enter(time: number, news: News): void }
  /** Live: sends what the engine commanded, before a turn is over: its end costs more than the whole decision where the machine is busy. */
  readonly flush?: () => void
  readonly recorder: Pick<Recorder, 'write'>
  /** µs. */
  readonly clock: { now(): number }
  /** µs by which rows of the feed may come later than their time. */
  readonly lag: number
  /** Makes a call into the engine, bounded in time. */
  readonly turn: <T>(body: () => T) => T
  /** Added to the feed's market numbers, where the tape has some of its own. */
  readonly numbersFrom: number
  /** No row may have an earlier time. */
  readonly from: number
}

type Own = {
  readonly due: number
  readonly kind: Kind
  readonly timeVenue: number
  readonly detail: string
  readonly done: (() => void) | null
}

/** Rows of our own that may wait. */
export const OWN_MAX = 10_000

export class LiveSession {
  readonly #parts: LiveParts
  readonly #own: Own[] = []
  /** Of each outside series, when its last value is due. */
  readonly #dueLast = new Map<string, number>()
  readonly #single = createBatch(1)
  /** Time of the last row. */
  #last: number
  /** No row is earlier. */
  #floor: number
  #ran: number
  rows = 0
  /** Rows whose time had to be set later: the feed was later than its word. */
  moved = 0
  externals = 0
  #resting = false
  readonly feedLag = new Spread()
  /** From the time of a batch's last row to the end of what the engine did about it. */
  readonly decision = new Spread()

  constructor(parts: LiveParts) {
    this.#parts = parts
    this.#last = parts.from
    this.#floor = parts.from
    this.#ran = parts.from
  }

  /** µs: everything due before it has happened, and no more. A row that the tape did not take moved the floor and nothing else. */
  get ran(): number {
    return this.#ran
  }
  get room(): boolean {
    return this.#own.length < OWN_MAX
  }
  /** Rows of our own whose time has not come. */
  get waiting(): number {
    return this.#own.length
  }

  /** Rows of the feed. */
  take(batch: Batch): void {
    if (batch.length === 0) return
    this.#release(batch.time[0] as number)
    const { numbersFrom, clock } = this.#parts
    for (let i = 0; i < batch.length; i++) {
      const time = batch.time[i] as number
      if (time < this.#floor) {
        batch.time[i] = this.#floor
        this.moved++
      } else this.#floor = time
      if ((batch.market[i] as number) >= 0) batch.market[i] = (batch.market[i] as number) + numbersFrom
      const kind = batch.kind[i] as number
      if (kind === Kind.DELTA || kind === Kind.TRADE) this.feedLag.add(time - (batch.timeVenue[i] as number))
    }
    const came = batch.time[batch.length - 1] as number
    this.#pass(batch)
    this.decision.add(clock.now() - came)
  }

  /** A command of the operator. `done`: it is on the tape, and the engine has obeyed. */
  operator(detail: OperatorDetail, done: (() => void) | null = null): void {
    const now = this.#parts.clock.now()
    this.#queue({ due: now, kind: Kind.OPERATOR, timeVenue: now, detail: JSON.stringify(detail), done })
  }
  /** An outside value; known now, or later where it says so. */
  external(detail: ExternalDetail, published: number | null, known: number | null): void {
    const now = this.#parts.clock.now()
    // Values of a series stay in the order in which they were given.
    const due = Math.max(now, known ?? now, this.#dueLast.get(detail.series) ?? 0)
    this.#dueLast.set(detail.series, due)
    this.#queue({ due, kind: Kind.EXTERNAL, timeVenue: Math.min(published ?? due, due), detail: JSON.stringify(detail), done: null })
  }
  /** News of the account, now: kept before the engine learns it. Later rows are later than it. */
  news(news: News): void {
    const port = this.#parts.news
    assert(port !== undefined, 'news comes to a live session')
    const now = this.#parts.clock.now()
    this.#release(now)
    const time = Math.max(now, this.#floor)
    port.keep(time, news)
    this.#floor = time + 1
    this.#ran = this.#floor
    this.#parts.turn(() => {
      port.enter(time, news)
      this.#parts.flush?.()
    })
  }
  /** By the time at which it is due; what is due at one time in the order in which it was given. */
  #queue(own: Own): void {
    if (this.#resting) return
    let at = this.#own.length
    while (at > 0 && (this.#own[at - 1] as Own).due > own.due) at--
    this.#own.splice(at, 0, own)
  }

  /** Time passes. */
  tick(): void {
    const horizon = this.#parts.clock.now() - this.#parts.lag
    this.#release(horizon)
    if (horizon <= this.#last) return
    this.#floor = Math.max(this.#floor, horizon + 1)
    this.#ran = this.#floor
    const { engine, turn } = this.#parts
    if (engine !== null) turn(() => engine.tick(horizon))
  }

  /** What came by now, on the tape at once. */
  drain(): void {
    this.#release(this.#parts.clock.now())
  }
  /** The last row: whoever reads the tape knows how far time had come. */
  close(reason: string): void {
    this.#release(Infinity, true)
    const now = Math.max(this.#parts.clock.now() - this.#parts.lag, this.#floor)
    this.#row({ due: now, kind: Kind.OPERATOR, timeVenue: now, detail: JSON.stringify({ command: 'stop', reason }), done: null }, true)
  }
  /** The same when the engine can take no more rows: for the tape alone. */
  mark(reason: string): void {
    const now = Math.max(this.#parts.clock.now() - this.#parts.lag, this.#floor)
    this.#row({ due: now, kind: Kind.OPERATOR, timeVenue: now, detail: JSON.stringify({ command: 'stop', reason }), done: null }, false)
  }

  /** No row enters any more: a strategy failed. News still does. */
  rest(): void {
    this.#own.length = 0
    this.#resting = true
  }

  /** Rows of our own that came by then. `commands`: only those, what is known later is not known. */
  #release(until: number, commands = false): void {
    while (this.#own.length > 0 && (this.#own[0] as Own).due <= until) {
      const own = this.#own.shift() as Own
      if (commands && own.kind === Kind.EXTERNAL) continue
      this.#row(own, true)
    }
  }
  #row(own: Own, run: boolean): void {
    const b = this.#single
    b.length = 0
    b.details = []
    this.#floor = Math.max(this.#floor, own.due)
    pushRow(b, this.#floor, own.timeVenue, -1, own.kind, Flag.LAST, 0, 0, 0, own.detail)
    if (own.kind === Kind.EXTERNAL) this.externals++
    if (run) this.#pass(b)
    else {
      this.#parts.recorder.write(b)
      this.#ran = this.#floor
    }
    own.done?.()
  }
  #pass(batch: Batch): void {
    const { engine, recorder, turn, flush } = this.#parts
    recorder.write(batch)
    const last = batch.time[batch.length - 1] as number
    this.#last = last
    this.#ran = this.#floor
    this.rows += batch.length
    if (engine === null) return
    if (flush === undefined) return turn(() => engine.run(batch))
    // An instant is over when the next row is later. Nobody who trades waits for it: later rows are later, by as much as it takes.
    this.#floor = last + 2
    this.#ran = this.#floor
    turn(() => {
      engine.run(batch)
      engine.tick(last + 1)
      flush()
    })
  }
}

/** Outside values on a tape, by their series. */
export function countExternals(batch: Batch, into: Map<string, number>): void {
  for (let i = 0; i < batch.length; i++) {
    if (batch.kind[i] !== Kind.EXTERNAL) continue
    const { series } = JSON.parse(batch.details[batch.detail[i] as number] as string) as ExternalDetail
    into.set(series, (into.get(series) ?? 0) + 1)
  }
}
