/**
 * A tape plays the strangers: its depth is the anonymous quantity of each level, its trades meet known orders first, its rare rows are the lives of its markets. Owns
 * the shift of tape time onto the exchange's clock; hides batches. Invariants: the rows of one venue instant of a market are applied together, so nobody trades on
 * half of them; rows keep their order.
 *
 * A tape may be held at its beginning (`hold`): its markets are listed with their first books, so that a client finds them, and nothing moves until `release`.
 *
 * A tape knows no orders, so its book does not answer to ours: what our takers took stays taken until the level falls below it (engine/matching), and a trade
 * that met our order was, on the tape, a trade of two strangers: its print is cut by what we took of it.
 */
import {
  Flag,
  Kind,
  Label,
  labelOf,
  type Batch,
  type CatalogDetail,
  type DeterminedDetail,
  type ExternalDetail,
  type FeeDetail,
  type GridDetail,
  type StatusDetail,
  type SyncDetail,
} from '../../engine/message.ts'
import { ASK, BID, type SideCode } from '../../engine/units.ts'
import type { Exchange } from './exchange.ts'
import { Lifecycle } from './lifecycle.ts'
import type { ListedMarket } from './market.ts'
import type { Driver } from './stage.ts'

export type TapeDriverOptions = {
  /** µs of exchange time − µs of tape time. */
  readonly shift: number
  /** The shard of its markets. */
  readonly exchangeIndex?: number
}

export class TapeDriver implements Driver {
  readonly #x: Exchange
  readonly #batches: AsyncIterator<Batch>
  #shift: number
  /** Tape time at which it is held; null: it runs. */
  #heldAt: number | null = null
  /** Markets whose close the tape tells. */
  readonly #closing = new Set<ListedMarket>()
  readonly #shard: number
  readonly #markets: (ListedMarket | undefined)[] = []
  #batch: Batch | null = null
  #row = 0
  #next: Promise<void> | null = null
  #ended = false
  failure: unknown = null
  rows = 0

  constructor(exchange: Exchange, batches: AsyncIterable<Batch>, options: TapeDriverOptions) {
    this.#x = exchange
    this.#batches = batches[Symbol.asyncIterator]()
    this.#shift = options.shift
    this.#shard = options.exchangeIndex ?? 0
  }

  /** Reads ahead; resolves when the next rows are there or the tape has ended. */
  async load(): Promise<void> {
    if (this.#batch !== null || this.#ended) return
    this.#next ??= this.#read()
    await this.#next
  }
  get ended(): boolean {
    return this.#ended && this.#batch === null
  }
  get due(): number {
    const b = this.#batch
    if (b === null) return Infinity
    if (this.#heldAt !== null) return this.#opens(b, this.#heldAt) ? this.#x.now : Infinity
    return (b.timeVenue[this.#row] as number) + this.#shift
  }

  get held(): boolean {
    return this.#heldAt !== null
  }
  /** Tape time `from` is exchange time `at`. Before the first row. */
  begin(from: number, at: number): void {
    this.#shift = at - from
  }
  /** Stops before the first change after `from`; exchange time `latest` is when it will be released at the latest, so that no market closes before. */
  hold(from: number, latest: number): void {
    this.begin(from, latest)
    this.#heldAt = from
  }
  /** The first change happens now, everything else as much later as it is on the tape. */
  release(): void {
    if (this.#heldAt === null) return
    const b = this.#batch
    const from = b === null ? this.#heldAt : Math.max(this.#heldAt, b.timeVenue[this.#row] as number)
    this.#heldAt = null
    const before = this.#shift
    this.begin(from, this.#x.now)
    for (const m of this.#closing)
      if (m.status === 'active' || m.status === 'inactive') this.#x.lifecycle.moveClose(m, m.closeTime + this.#shift - before)
  }
  /** A row of the opening state: all up to the beginning, then catalogs and books as long as nothing moves. */
  #opens(b: Batch, from: number): boolean {
    const kind = b.kind[this.#row] as Kind
    if ((b.timeVenue[this.#row] as number) <= from || (kind !== Kind.DELTA && kind !== Kind.TRADE && kind !== Kind.EXTERNAL)) return true
    return this.#markets.every((m) => m === undefined || m.blind)
  }

  step(): void {
    const b = this.#batch
    if (b === null) return
    const market = b.market[this.#row] as number
    const instant = b.timeVenue[this.#row] as number
    this.#x.trading.operate(null, () => {
      while (this.#row < b.length && (b.timeVenue[this.#row] as number) === instant && (b.market[this.#row] as number) === market) {
        this.#apply(b, this.#row++)
        this.rows++
      }
      const m = this.#markets[market]
      if (m !== undefined) this.#whole(m)
    })
    if (this.#row >= b.length) {
      this.#batch = null
      this.#next = this.#read()
    }
  }

  async close(): Promise<void> {
    await this.#next
    await this.#batches.return?.()
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const { value, done } = (await this.#batches.next()) as IteratorResult<Batch, undefined>
        if (done === true || value === undefined) {
          this.#ended = true
          break
        }
        if (value.length === 0) continue
        this.#batch = value
        this.#row = 0
        break
      }
    } catch (error) {
      this.failure = error
      this.#ended = true
    }
    this.#next = null
  }

  /** The instant is over: depth that came through known orders meets them. */
  #whole(m: ListedMarket): void {
    const { depth, matching } = m
    if (depth === null || !m.tradable || depth.crossed) return
    if (matching.known.bestBid >= depth.bestAsk || matching.known.bestAsk <= depth.bestBid) {
      matching.crossed()
      m.refreshAll()
    }
  }

  #apply(b: Batch, i: number): void {
    const x = this.#x
    const kind = b.kind[i] as Kind
    const feed = b.market[i] as number
    const detail = (): unknown => JSON.parse(b.details[b.detail[i] as number] ?? '{}')
    if (kind === Kind.CATALOG) return this.#catalog(feed, detail() as CatalogDetail)
    if (kind === Kind.EXTERNAL) {
      const e = detail() as ExternalDetail
      const at = (b.timeVenue[i] as number) + this.#shift
      x.publish({ feed: 'cfbenchmarks', id: e.series, value: String(e.value), sourceTime: this.held ? Math.min(at, x.now) : at })
      return
    }
    const m = this.#markets[feed]
    if (m === undefined || m.depth === null) return
    const side = b.side[i] as SideCode
    const price = b.price[i] as number
    const quantity = b.quantity[i] as number
    const flags = b.flags[i] as number
    switch (kind) {
      case Kind.CLEAR:
        // A checkpoint repeats what is known; a snapshot replaces it.
        if ((flags & Flag.CHECKPOINT) !== 0 && !m.blind) return
        m.depth.clear()
        if ((flags & Flag.LAST) !== 0) this.#snapped(m)
        return
      case Kind.LEVEL:
        if ((flags & Flag.CHECKPOINT) !== 0 && !m.blind) return
        m.depth.set(side, price, quantity)
        if ((flags & Flag.LAST) !== 0) this.#snapped(m)
        return
      case Kind.DELTA:
        return this.#delta(m, side, price, quantity, flags)
      case Kind.TRADE: {
        const met = (flags & Flag.EXECUTION) !== 0 && m.tradable ? x.trading.print(m, side === BID ? ASK : BID, price, quantity) : 0
        const taken = met > 0 ? met : Math.min(m.owed, quantity)
        m.owed -= taken
        x.trading.strangersTraded(m, side, price, quantity - taken)
        return
      }
      case Kind.STATUS: {
        const s = detail() as StatusDetail
        if (s.closeTime !== undefined && s.closeTime !== null) x.lifecycle.moveClose(m, s.closeTime + this.#shift)
        if (s.status === 'inactive') x.lifecycle.halt(m)
        else if (s.status === 'active') x.lifecycle.activate(m)
        else if (s.status === 'closed') x.lifecycle.close(m)
        return
      }
      case Kind.GRID:
        return x.lifecycle.regrid(m, (detail() as GridDetail).grid)
      case Kind.FEE:
        return x.eventFee(m.event.ticker, detail() as FeeDetail)
      case Kind.DETERMINED: {
        const d = detail() as DeterminedDetail
        const { result, value } = Lifecycle.outcome(d.result, d.value)
        return x.lifecycle.determine(m, result, value, false)
      }
      case Kind.SETTLED:
        return x.lifecycle.settle(m)
      case Kind.SYNC:
        m.blind = (detail() as SyncDetail).state === 'unsynced'
        return
      case Kind.QUOTE:
      case Kind.CANDLE:
      case Kind.OPERATOR:
        return
    }
  }

  #catalog(feed: number, c: CatalogDetail): void {
    const x = this.#x
    const known = x.markets.get(c.ticker)
    if (known !== undefined) {
      this.#markets[feed] = known
      return
    }
    if (c.status === 'finalized' || c.status === 'unlisted') return
    const m = x.list({
      ticker: c.ticker,
      event: c.event,
      series: c.series,
      title: c.title,
      ...(c.strike === null ? {} : { subtitle: c.strike }),
      openTime: Math.min(x.now, c.openTime === null ? x.now : c.openTime + this.#shift),
      closeTime: c.closeTime === null ? x.now + 365 * 86_400_000_000 : c.closeTime + this.#shift,
      grid: c.grid,
      fee: c.fee,
      exclusive: c.exclusive === true,
      exchangeIndex: this.#shard,
      tape: true,
    })
    m.blind = true
    if (c.closeTime !== null) this.#closing.add(m)
    if (c.status === 'inactive') x.lifecycle.halt(m)
    if (c.status === 'closed' || c.status === 'determined') x.lifecycle.close(m)
    this.#markets[feed] = m
  }

  #snapped(m: ListedMarket): void {
    m.blind = false
    m.matching.resnapped()
    m.refreshAll()
    this.#x.trading.touch(m)
  }

  #delta(m: ListedMarket, side: SideCode, price: number, delta: number, flags: number): void {
    const { depth } = m
    if (depth === null || m.blind || m.status === 'closed' || m.status === 'determined' || m.status === 'finalized') return
    const traded = delta < 0 && labelOf(flags) === Label.TRADE
    if (traded && (flags & Flag.EXECUTION) !== 0) {
      const met = this.#x.trading.print(m, side, price, -delta)
      if ((flags & Flag.INFERRED) !== 0) {
        // No print will come: this is the news of the trade.
        m.owed -= met
        this.#x.trading.strangersTraded(m, side === BID ? ASK : BID, price, -delta - met)
      }
    }
    if (!depth.change(side, price, delta)) {
      // A level below zero: the tape's book is not to be believed before its next snapshot.
      m.blind = true
      return
    }
    if (delta < 0) m.matching.displayed(side, price, depth.at(side, price))
    m.refresh(side, price)
  }
}
