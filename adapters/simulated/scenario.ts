/**
 * A market in a few lines, for tests of strategies: what happens is written down step by step and runs through the real engine and the simulated venue. Owns the human units
 * of a script (cents, contracts, seconds) and the reading of what came out; hides rows, batches and the journal. Invariant: a strategy sees nothing here that a tape could not
 * show it, and a session has the limits, delays and fees of a backtest unless the script says otherwise.
 *
 * ```ts
 * const { fills, profit } = scenario()
 *   .book({ bids: [[40, 100]], asks: [[44, 100]] })
 *   .after(1).trade({ side: 'ask', price: 40, size: 30 })
 *   .after(60).close('yes')
 *   .run(mine({ size: 5 }))
 * ```
 */
import { assert } from '../../engine/assert.ts'
import { Engine } from '../../engine/engine.ts'
import { JOURNAL_KIND_NAMES, type JournalTable, type Strings } from '../../engine/journal.ts'
import { createBatch, Flag, Kind, Label, pushRow, withLabel, type Batch, type CatalogDetail } from '../../engine/message.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import type { FillModelName, Limits, SessionHeader } from '../../engine/session.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { ASK, BID, sideCode, type Side, type SideCode } from '../../engine/units.ts'
import { SimulatedVenue } from './venue.ts'

/** [cents, contracts] */
export type ScenarioLevel = readonly [price: number, size: number]
export type ScenarioMarket = {
  readonly ticker?: string
  readonly event?: string
  readonly series?: string
  /** At most one market of the event resolves YES. */
  readonly exclusive?: boolean
  readonly strike?: string
  /** Cents between prices; 1 by default. */
  readonly tick?: number
  /** Seconds after the start; an hour by default. */
  readonly closesAfter?: number
}
export type ScenarioOptions = {
  readonly fills?: FillModelName
  /** Seconds from a decision to the venue, and from there back; 0.1 and 0.05 by default. */
  readonly delay?: { readonly place?: number; readonly cancel?: number; readonly amend?: number; readonly answer?: number }
  /** Dollars; 10,000 by default. */
  readonly cash?: number
  readonly limits?: Partial<Limits>
}

/** What a strategy asked for. Prices in cents, sizes in contracts, times in seconds since the start. */
export type ScenarioSignal = {
  readonly time: number
  readonly strategy: string
  readonly market: string
  readonly what: string
  readonly side: Side
  readonly price: number
  readonly size: number
  readonly why: string
  readonly value: number
}
export type ScenarioRefusal = {
  readonly time: number
  readonly strategy: string
  readonly market: string
  readonly side: Side
  readonly price: number
  readonly size: number
  readonly reason: string
}
export type ScenarioOrder = {
  readonly time: number
  readonly strategy: string
  readonly market: string
  readonly what: string
  readonly order: number
  readonly side: Side
  readonly price: number
  readonly size: number
}
export type ScenarioFill = {
  readonly time: number
  readonly strategy: string
  readonly market: string
  readonly order: number
  readonly side: Side
  readonly price: number
  readonly size: number
  readonly maker: boolean
  readonly fee: number
  readonly why: string
}
export type ScenarioForecast = { readonly time: number; readonly strategy: string; readonly market: string; readonly probability: number }
export type ScenarioResult = {
  readonly signals: readonly ScenarioSignal[]
  /** Commands to the venue: submits, amends, cancels. */
  readonly orders: readonly ScenarioOrder[]
  readonly fills: readonly ScenarioFill[]
  readonly refusals: readonly ScenarioRefusal[]
  readonly forecasts: readonly ScenarioForecast[]
  /** Contracts by market, + long YES; only where there is a position at the end. */
  readonly positions: Readonly<Record<string, number>>
  /** Dollars, after fees; open positions where they could be closed. */
  readonly profit: number
  /** Dollars. */
  readonly fees: number
}

/** 2030-01-01T00:00Z, in µs: any time does, as long as it is always the same. */
const START = 1_893_456_000_000_000
const TICKER = 'KXTEST-30JAN01-T1'

type Row = {
  readonly time: number
  readonly market: number
  readonly kind: Kind
  readonly flags: number
  readonly side: SideCode
  readonly price: number
  readonly quantity: number
  readonly detail: string | null
}
type Known = {
  readonly number: number
  readonly levels: readonly [Map<number, number>, Map<number, number>]
  readonly catalog: CatalogDetail
  born: boolean
}

/** An empty script; `options` are those of a backtest. */
export function scenario(options: ScenarioOptions = {}): Scenario {
  return new Scenario(options)
}

export class Scenario {
  readonly #options: ScenarioOptions
  readonly #rows: Row[] = []
  readonly #markets = new Map<string, Known>()
  #time = START

  constructor(options: ScenarioOptions) {
    this.#options = options
  }

  /** A market of its own name and event. Without this a script has one market, KXTEST-30JAN01-T1. */
  market({ ticker = TICKER, event, series, exclusive = false, strike, tick = 1, closesAfter = 3600 }: ScenarioMarket): this {
    assert(!this.#markets.has(ticker), 'a market of a scenario is described once, before anything happens in it')
    this.#markets.set(ticker, {
      number: this.#markets.size,
      levels: [new Map(), new Map()],
      born: false,
      catalog: {
        ticker,
        event: event ?? ticker.replace(/-[^-]*$/, ''),
        series: series ?? ticker.replace(/-.*$/, ''),
        title: ticker,
        exclusive,
        strike: strike ?? null,
        openTime: START,
        closeTime: START + seconds(closesAfter),
        status: 'active',
        grid: [{ start: 0, end: 10_000, step: price(tick) }],
        fee: { type: 'quadratic', multiplier: 10_000 },
      },
    })
    return this
  }

  /** Time passes: seconds, in steps of a microsecond. */
  after(time: number): this {
    assert(time >= 0, 'time passes forwards in a scenario')
    this.#time += seconds(time)
    return this
  }

  /** The whole book, as a snapshot: [cents of the YES side, contracts]. */
  book(
    { bids = [], asks = [] }: { readonly bids?: readonly ScenarioLevel[]; readonly asks?: readonly ScenarioLevel[] },
    ticker?: string,
  ): this {
    const known = this.#known(ticker)
    known.levels[BID].clear()
    known.levels[ASK].clear()
    const all = [...bids.map((l) => [BID, l] as const), ...asks.map((l) => [ASK, l] as const)]
    this.#row(known, Kind.CLEAR, all.length === 0 ? Flag.LAST : 0)
    all.forEach(([side, [cents, size]], i) => {
      known.levels[side].set(price(cents), quantity(size))
      this.#row(known, Kind.LEVEL, i === all.length - 1 ? Flag.LAST : 0, side, price(cents), quantity(size))
    })
    return this.#next()
  }

  /** One level becomes this large; 0 empties it. A decrease is a cancel. */
  level(side: Side, cents: number, size: number, ticker?: string): this {
    const known = this.#known(ticker)
    const code = sideCode(side)
    const change = quantity(size) - (known.levels[code].get(price(cents)) ?? 0)
    if (change === 0) return this
    this.#change(known, code, price(cents), change, change < 0 ? withLabel(0, Label.CANCEL) : 0)
    return this.#next()
  }

  /** Two strangers trade: `side` is the taker's (`ask`: sold YES into the bid). What stood there leaves the book. */
  trade({ side, price: cents, size }: { readonly side: Side; readonly price: number; readonly size: number }, ticker?: string): this {
    const known = this.#known(ticker)
    const maker = side === 'bid' ? ASK : BID
    const p = price(cents)
    const stood = known.levels[maker].get(p) ?? 0
    assert(stood >= quantity(size), 'a trade of a scenario takes what its book shows: give the level first')
    this.#row(known, Kind.TRADE, Flag.LAST | Flag.EXECUTION, sideCode(side), p, quantity(size))
    this.#change(known, maker, p, -quantity(size), withLabel(0, Label.TRADE))
    return this.#next()
  }

  /** A value of an outside series becomes known; it was published `delay` seconds ago. */
  external(series: string, value: number, { delay = 0, revision = 0 }: { readonly delay?: number; readonly revision?: number } = {}): this {
    this.#rows.push({
      time: this.#time,
      market: -1,
      kind: Kind.EXTERNAL,
      flags: Flag.LAST,
      side: BID,
      price: seconds(delay),
      quantity: 0,
      detail: JSON.stringify({ series, value, revision }),
    })
    return this.#next()
  }

  /** The market closes, its book is wiped; with a result it is determined and pays. */
  close(result?: 'yes' | 'no' | number, ticker?: string): this {
    const known = this.#known(ticker)
    this.#row(known, Kind.STATUS, Flag.LAST, BID, 0, 0, { status: 'closed' })
    this.#next()
    for (const side of [BID, ASK] as const)
      for (const [p, q] of known.levels[side]) this.#change(known, side, p, -q, withLabel(0, Label.CLOSE_WIPE))
    this.#next()
    if (result === undefined) return this
    const value = result === 'yes' ? 10_000 : result === 'no' ? 0 : price(result)
    this.after(1).#row(known, Kind.DETERMINED, Flag.LAST, BID, 0, 0, { result: typeof result === 'number' ? 'scalar' : result, value })
    this.after(1).#row(known, Kind.SETTLED, Flag.LAST, BID, 0, 0, {})
    return this.#next()
  }

  /** Runs strategies over the script, from the start each time: make them anew for each run. */
  run(...strategies: readonly Strategy[]): ScenarioResult {
    assert(this.#rows.length > 0, 'something happens in a scenario before it runs')
    const { delay = {}, cash = 10_000, fills = 'queue', limits = {} } = this.#options
    const delays = {
      place: seconds(delay.place ?? 0.1),
      cancel: seconds(delay.cancel ?? 0.1),
      amend: seconds(delay.amend ?? 0.1),
      answer: seconds(delay.answer ?? 0.05),
    }
    const header: SessionHeader = {
      schema: 'tapeline.session/1',
      mode: 'backtest',
      version: 'scenario',
      node: '',
      tape: {
        name: 'scenario',
        manifest: '',
        source: 'scenario',
        practice: true,
        depth: 'book',
        rows: this.#rows.length,
        markets: this.#markets.size,
        from: START,
        to: this.#time,
        lagMax: 1000,
        gaps: 0,
        inFlux: 0,
        coverage: 1,
        labels: 'true',
        remarks: [],
      },
      strategies: strategies.map(({ name, parameters }) => ({ name, parameters })),
      cash: Math.round(cash * 1e6),
      limits: { ...LIMITS_DEFAULT, ...limits },
      fills,
      delays,
      rate: { perSecond: 100, capacity: 100 },
      seed: 1,
      selection: { markets: null, series: null, from: null, to: null, warmup: 0 },
    }
    const read = new Reading()
    const engine = new Engine({ header, strategies, venue: new SimulatedVenue(fills, delays, header.tape.lagMax), sink: read })
    engine.run(this.#batch())
    const end = engine.finish('end of scenario', true)
    return {
      signals: read.signals,
      orders: read.orders,
      fills: read.fills,
      refusals: read.refusals,
      forecasts: read.forecasts,
      positions: Object.fromEntries(end.markets.filter((m) => m.position !== 0).map((m) => [m.ticker, m.position / 100])),
      profit: (end.equity - header.cash) / 1e6,
      fees: end.fees / 1e6,
    }
  }

  #batch(): Batch {
    const batch = createBatch(this.#rows.length)
    for (const r of this.#rows) {
      // Of an outside value `price` is how long ago it was published.
      const external = r.kind === Kind.EXTERNAL
      pushRow(
        batch,
        r.time,
        external ? r.time - r.price : r.time,
        r.market,
        r.kind,
        r.flags,
        r.side,
        external ? 0 : r.price,
        r.quantity,
        r.detail,
      )
    }
    return batch
  }

  #known(ticker?: string): Known {
    const [first] = this.#markets.keys()
    if (first === undefined && ticker === undefined) this.market({})
    const name = ticker ?? first ?? TICKER
    if (!this.#markets.has(name)) this.market({ ticker: name })
    const known = this.#markets.get(name) as Known
    if (!known.born) {
      known.born = true
      this.#row(known, Kind.CATALOG, Flag.LAST, BID, 0, 0, known.catalog)
    }
    return known
  }
  #change(known: Known, side: SideCode, p: number, change: number, flags: number): void {
    const left = (known.levels[side].get(p) ?? 0) + change
    if (left === 0) known.levels[side].delete(p)
    else known.levels[side].set(p, left)
    this.#row(known, Kind.DELTA, flags | Flag.LAST, side, p, change)
  }
  #row(known: Known, kind: Kind, flags: number, side: SideCode = BID, p = 0, q = 0, detail: unknown = null): void {
    this.#rows.push({
      time: this.#time,
      market: known.number,
      kind,
      flags,
      side,
      price: p,
      quantity: q,
      detail: detail === null ? null : JSON.stringify(detail),
    })
  }
  /** Messages never come at one time. */
  #next(): this {
    this.#time++
    return this
  }
}

/** The journal, read into human units. */
class Reading {
  readonly signals: ScenarioSignal[] = []
  readonly orders: ScenarioOrder[] = []
  readonly fills: ScenarioFill[] = []
  readonly refusals: ScenarioRefusal[] = []
  readonly forecasts: ScenarioForecast[] = []

  journal(t: JournalTable, strings: Strings): void {
    for (let i = 0; i < t.length; i++) {
      const text = (column: Int32Array): string => strings.at(column[i] as number)
      const row = { time: ((t.time[i] as number) - START) / 1e6, strategy: text(t.owner), market: text(t.market) }
      const side: Side = t.side[i] === BID ? 'bid' : 'ask'
      const wish = { ...row, side, price: (t.price[i] as number) / 100, size: (t.quantity[i] as number) / 100 }
      const order = t.order[i] as number
      switch (JOURNAL_KIND_NAMES[t.kind[i] as number]) {
        case 'signal':
          this.signals.push({ ...wish, what: text(t.what), why: text(t.why), value: t.value[i] as number })
          break
        case 'refusal':
          this.refusals.push({ ...wish, reason: text(t.why) })
          break
        case 'command':
          this.orders.push({ ...wish, what: text(t.what), order })
          break
        case 'fill':
          this.fills.push({ ...wish, order, maker: text(t.what) === 'maker', fee: (t.a[i] as number) / 1e6, why: text(t.why) })
          break
        case 'forecast':
          this.forecasts.push({ ...row, probability: t.value[i] as number })
          break
        case 'answer':
        case 'settlement':
        case 'state':
        case undefined:
          break
      }
    }
  }
  touches(): void {}
  equity(): void {}
  markouts(): void {}
}

function seconds(time: number): number {
  return Math.round(time * 1e6)
}
function price(cents: number): number {
  const units = Math.round(cents * 100)
  assert(Math.abs(cents * 100 - units) < 1e-6 && units >= 0 && units <= 10_000, 'a price of a scenario is 0 to 100 cents in steps of 0.01')
  return units
}
function quantity(size: number): number {
  const units = Math.round(size * 100)
  assert(Math.abs(size * 100 - units) < 1e-6 && units >= 0, 'a size of a scenario is a number of contracts in steps of 0.01')
  return units
}
