/**
 * The journal: every signal on change, refusal, command, answer, fill, settlement and state transition of a session, in
 * columns. Owns the row layout and the string table; hides when a block leaves for its sink. Text is made on demand by
 * readers. Invariant: the same session and tape give the same rows, strings and block borders, byte for byte; a market
 * is named by its ticker, never by an index of the run.
 */
import { assert } from './assert.ts'

/**
 * Kinds of journal rows and what their columns hold (columns not named are 0, −1 or '').
 *
 * | kind       | what                                         | columns |
 * |------------|----------------------------------------------|---------|
 * | SIGNAL     | `quote` `take` `pull` `basket`               | market owner side price quantity why value; a = number of the basket, 0 for none |
 * | REFUSAL    | the refusal (risk's word)                    | market owner side price quantity why; a = times the same wish was refused for it before this row and since the last row |
 * | COMMAND    | `submit-gtc` `submit-ioc` `submit-fok` `cancel` `amend` `decrease` | market owner order side price quantity why value; a = arrival at the venue (µs) when simulated, else 0 |
 * | ANSWER     | `accepted` `rejected:<reason>` `canceled:<reason>` `amended` `decreased` `cancel-rejected`, live also `no-answer:<reason>` `absent` | market owner order side price quantity (remaining); a = venue time |
 * | FILL       | `maker` `taker`                              | market owner order (−1: of no order of the session; owner `outside`, or whose position `flatten` closed) side price quantity why value; a = fee (Money), b = venue time |
 * | SETTLEMENT | `yes` `no` `scalar` `void` at determination; `paid` when cash moves | market owner price (value of YES) quantity (signed position); a = money paid, b = realised P&L of the market in the session, fees included (Money) |
 * | STATE      | `synced` `unsynced:<reason>` `status:<status>` `session:<state>` (why: the cause; at the end `session:complete` `session:partial`), `operator:<command>` (why: the reason), live also `agreed` `disagreed` `market-halted` `market-freed` (why: the reason) | market or none |
 * |            | `basket:completing` `basket:unwinding`, at its end `basket:complete` `basket:none` `basket:even` `basket:uneven` | owner why value; quantity = contracts filled in every leg, a = number of the basket |
 * | FORECAST   | `forecast`                                   | market owner; value = probability of YES |
 */
export const JournalKind = { SIGNAL: 0, REFUSAL: 1, COMMAND: 2, ANSWER: 3, FILL: 4, SETTLEMENT: 5, STATE: 6, FORECAST: 7 } as const
export type JournalKind = (typeof JournalKind)[keyof typeof JournalKind]
export const JOURNAL_KIND_NAMES = ['signal', 'refusal', 'command', 'answer', 'fill', 'settlement', 'state', 'forecast'] as const

/** Columns of journal rows. `market`, `owner`, `what`, `why` index `strings` (−1: none). Times in µs, money in millionths of a dollar. */
export type JournalTable = {
  length: number
  readonly time: Float64Array
  readonly kind: Uint8Array
  readonly market: Int32Array
  readonly owner: Int32Array
  /** Order number of the session, −1 for none. */
  readonly order: Float64Array
  readonly side: Uint8Array
  readonly price: Int32Array
  readonly quantity: Float64Array
  readonly what: Int32Array
  readonly why: Int32Array
  readonly value: Float64Array
  readonly a: Float64Array
  readonly b: Float64Array
}

export function createJournalTable(capacity: number): JournalTable {
  return {
    length: 0,
    time: new Float64Array(capacity),
    kind: new Uint8Array(capacity),
    market: new Int32Array(capacity),
    owner: new Int32Array(capacity),
    order: new Float64Array(capacity),
    side: new Uint8Array(capacity),
    price: new Int32Array(capacity),
    quantity: new Float64Array(capacity),
    what: new Int32Array(capacity),
    why: new Int32Array(capacity),
    value: new Float64Array(capacity),
    a: new Float64Array(capacity),
    b: new Float64Array(capacity),
  }
}

/** Texts by number, in order of first appearance. */
export class Strings {
  readonly #texts: string[] = []
  readonly #numbers = new Map<string, number>()

  intern(text: string): number {
    const known = this.#numbers.get(text)
    if (known !== undefined) return known
    const id = this.#texts.length
    this.#texts.push(text)
    this.#numbers.set(text, id)
    return id
  }
  at(id: number): string {
    if (id < 0) return ''
    const text = this.#texts[id]
    assert(text !== undefined, 'a string number is known')
    return text
  }
  get all(): readonly string[] {
    return this.#texts
  }
}

/** Where full blocks go. Called with a block that is reused after the call returns. */
export interface JournalSink {
  journal(block: JournalTable, strings: Strings): void
}

const BLOCK = 4096

export class Journal {
  readonly strings: Strings
  readonly #sink: JournalSink
  readonly #block = createJournalTable(BLOCK)
  #rows = 0

  constructor(strings: Strings, sink: JournalSink) {
    this.strings = strings
    this.#sink = sink
  }

  /** Rows written so far, those not yet handed to the sink included. */
  get rows(): number {
    return this.#rows
  }

  push(
    time: number,
    kind: JournalKind,
    market: number,
    owner: number,
    order: number,
    side: number,
    price: number,
    quantity: number,
    what: number,
    why: number,
    value: number,
    a: number,
    b: number,
  ): void {
    const t = this.#block
    // A block that its sink would not take is kept whole, and offered again: nothing is written beyond its end.
    if (t.length === BLOCK) this.flush()
    const i = t.length
    t.time[i] = time
    t.kind[i] = kind
    t.market[i] = market
    t.owner[i] = owner
    t.order[i] = order
    t.side[i] = side
    t.price[i] = price
    t.quantity[i] = quantity
    t.what[i] = what
    t.why[i] = why
    t.value[i] = value
    t.a[i] = a
    t.b[i] = b
    t.length = i + 1
    this.#rows++
    if (t.length === BLOCK) this.flush()
  }

  /** A STATE row: of a market (by its word, −1 for the session's own). */
  state(time: number, market: number, what: number, why = -1): void {
    this.push(time, JournalKind.STATE, market, -1, -1, 0, -1, 0, what, why, 0, 0, 0)
  }

  /** Hands the open block to the sink. Called by the engine at its end; block borders are part of no digest. */
  flush(): void {
    if (this.#block.length === 0) return
    this.#sink.journal(this.#block, this.strings)
    this.#block.length = 0
  }
}
