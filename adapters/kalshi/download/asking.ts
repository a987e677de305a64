/**
 * What is asked of the exchange, in which order. Owns the keys and parameters of every question; hides pages. Invariants: the live side of a list is read before the cutoff is read again
 * and the archive after it, so that what moves from the one to the other meanwhile is seen at least once; what is asked next depends on kept answers alone.
 */
import { DataError } from '../../../data/errors.ts'
import { parseTime } from '../../../data/import/frames.ts'
import { tradeOf } from '../../../data/import/rest-trades.ts'
import { HOUR, MINUTE } from '../../../engine/units.ts'
import { KalshiError } from '../errors.ts'
import type { Answer, WireEvent, WireMarket, WireSeries, WireTrade } from '../wire/answers.ts'
import { CANDLE_KEYS, SECOND, TRADE_KEYS } from './build.ts'
import { feesOf, iso, marketsIn, type Known, type Listed, type Range } from './markets.ts'
import type { PageStore } from './pages.ts'
import type { Walk, Walker } from './walk.ts'

/** What is asked for; a folder of kept pages belongs to one of these. */
export type DownloadRequest = {
  readonly environment: 'demo' | 'production' | 'local'
  readonly series: readonly string[]
  readonly events: readonly string[]
  readonly markets: readonly string[]
  /** µs, both included. */
  readonly from: number
  readonly to: number
  /** No end was given: `to` is when the download began. */
  readonly open: boolean
  /** Minutes; null: no candles. */
  readonly candles: 1 | 60 | 1440 | null
}

const TICKERS = 100
const EVENTS_ONE_BY_ONE = 20
/** Periods in one answer of candles. */
const CANDLES_MAX = 4_000

export class Asking {
  readonly #store: PageStore
  readonly #walker: Walker
  readonly #request: DownloadRequest
  readonly #range: Range

  constructor(store: PageStore, walker: Walker, request: DownloadRequest) {
    this.#store = store
    this.#walker = walker
    this.#request = request
    this.#range = { from: request.from, to: request.to }
  }

  /** Where the archive begins, read now (or when this was read before). A cutoff that cannot be read hides nothing: both sides are asked. */
  async cutoff(name: string): Promise<{ readonly markets: number; readonly trades: number }> {
    const key = `cutoff/${name}`
    await this.#walker.all([{ key, endpoint: 'historicalCutoff', parameters: {} }], 'cutoff')
    const [body] = (await this.#walker.bodies(key)) as unknown as Answer<'historicalCutoff'>[]
    const time = (text: string | undefined): number => {
      const t = parseTime(text ?? '')
      return Number.isFinite(t) ? t : Infinity
    }
    return { markets: time(body?.market_settled_ts), trades: time(body?.trades_created_ts) }
  }

  async catalog(): Promise<Listed[]> {
    const { series, events, markets } = this.#request
    const closing = this.#range.from > 0 ? { min_close_ts: Math.floor(this.#range.from / 1e6) } : {}
    const side = (name: 'live' | 'historical'): Walk[] => {
      const endpoint = name === 'live' ? 'markets' : 'historicalMarkets'
      const walk = (what: string, parameters: Walk['parameters']): Walk => ({
        key: `markets/${name}/${what}`,
        endpoint,
        parameters: { ...parameters, limit: 1000 },
      })
      return [
        ...series.map((s) => walk(`series/${s}`, { series_ticker: s, ...(name === 'live' ? closing : {}) })),
        ...events.map((e) => walk(`event/${e}`, { event_ticker: e })),
        ...chunks(markets).map((c, i) => walk(`tickers/${i}`, { tickers: c.join(',') })),
      ]
    }
    const groups = series.map(
      (s): Walk => ({ key: `events/series/${s}`, endpoint: 'events', parameters: { series_ticker: s, limit: 200, ...closing } }),
    )
    const sides: Walk[] = [...side('live')]
    await this.#lists([...sides, ...groups], 'markets')
    const { markets: cutoff } = await this.cutoff('catalog')
    if (!(this.#range.from >= cutoff)) {
      const archive = side('historical')
      await this.#lists(archive, 'markets of the archive')
      sides.push(...archive)
    }
    const listed: Listed[] = []
    for (const { key, parameters } of sides)
      for (const wire of await this.#walker.items<WireMarket>(key, 'markets'))
        listed.push({ wire, series: (parameters['series_ticker'] as string | undefined) ?? null })
    return listed
  }

  /** Lists of what there is: without their end nobody knows what is missing. */
  async #lists(walks: readonly Walk[], what: string): Promise<void> {
    const [broken] = await this.#walker.all(walks, what)
    if (broken !== undefined)
      throw new KalshiError(
        'UNREADABLE',
        `the list ${broken} does not come to its end (${this.#store.endOf(`${broken}/again`) ?? 'unknown'}): the exchange hands out wrong cursors; try again later with --restart`,
      )
  }

  async events(listed: readonly Listed[]): Promise<Map<string, WireEvent>> {
    const events = new Map<string, WireEvent>()
    const take = async (key: string): Promise<void> => {
      for (const e of await this.#walker.items<WireEvent>(key, 'events')) events.set(e.event_ticker, e)
    }
    for (const s of this.#request.series) await take(`events/series/${s}`)
    const wanted = new Set([...marketsIn(listed, events, this.#range).values()].map((k) => k.listing.event ?? ''))
    const others = [...wanted].filter((e) => e !== '' && !events.has(e)).sort()
    const walks = chunks(others).map(
      (c, i): Walk => ({ key: `events/tickers/${i}`, endpoint: 'events', parameters: { tickers: c.join(','), limit: 200 } }),
    )
    await this.#lists(walks, 'events')
    for (const { key } of walks) await take(key)
    return events
  }

  assertFound(listed: readonly Listed[], known: ReadonlyMap<string, Known>): void {
    const { series, events, markets, environment } = this.#request
    const tickers = new Set(listed.map((l) => l.wire.ticker))
    const groups = new Set(listed.flatMap((l) => [l.wire.event_ticker, l.series]))
    const missing = [
      ...series.filter((s) => !groups.has(s)).map((s) => `series ${s}`),
      ...events.filter((e) => !groups.has(e)).map((e) => `event ${e}`),
      ...markets.filter((m) => !tickers.has(m)).map((m) => `market ${m}`),
    ]
    if (missing.length > 0)
      throw new DataError(
        'MARKET_UNKNOWN',
        `the exchange (${environment}) lists no market of ${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ', …' : ''} in the range: check the ticker, the range and --environment`,
      )
    if (known.size === 0)
      throw new DataError(
        'NOTHING_THERE',
        `none of the ${tickers.size} listed markets lives between ${iso(this.#range.from)} and ${iso(this.#range.to)}`,
      )
  }

  async fees(known: ReadonlyMap<string, Known>, events: ReadonlyMap<string, WireEvent>): Promise<ReturnType<typeof feesOf>> {
    const series = [...new Set([...known.values()].map((k) => k.series))].sort()
    const groups = [...new Set([...known.values()].map((k) => k.listing.event ?? ''))].filter((e) => e !== '').sort()
    const few = groups.length <= EVENTS_ONE_BY_ONE
    const ofEvents = few ? groups.map((e) => `fees/event/${e}`) : ['fees/events']
    await this.#walker.all(
      [
        ...series.map((s): Walk => ({ key: `series/${s}`, endpoint: 'series', parameters: { series_ticker: s }, optional: true })),
        ...series.map(
          (s): Walk => ({
            key: `fees/series/${s}`,
            endpoint: 'seriesFeeChanges',
            parameters: { series_ticker: s, show_historical: true },
            optional: true,
          }),
        ),
      ],
      'fees',
    )
    await this.#lists(
      ofEvents.map(
        (key, i): Walk => ({
          key,
          endpoint: 'eventFeeChanges',
          parameters: { ...(few ? { event_ticker: groups[i] } : {}), limit: 1000 },
          optional: true,
        }),
      ),
      'fees',
    )
    const described: WireSeries[] = []
    const changes: Answer<'seriesFeeChanges'>['series_fee_change_arr'][number][] = []
    let asked = Infinity
    for (const s of series) {
      for (const body of await this.#walker.bodies(`series/${s}`)) described.push(body['series'] as WireSeries)
      changes.push(...(await this.#walker.items<(typeof changes)[number]>(`fees/series/${s}`, 'series_fee_change_arr')))
      for (const page of this.#store.pages(`series/${s}`)) asked = Math.min(asked, parseTime(page.at))
    }
    const eventChanges = []
    for (const key of ofEvents)
      eventChanges.push(...(await this.#walker.items<Answer<'eventFeeChanges'>['event_fee_changes'][number]>(key, 'event_fee_changes')))
    const wanted = new Set(series)
    return feesOf(known, {
      series: described,
      asked,
      seriesChanges: changes.filter((c) => wanted.has(c.series_ticker)),
      events,
      eventChanges,
    })
  }

  async trades(known: ReadonlyMap<string, Known>, cutoffBefore: number): Promise<string[]> {
    const traded = [...known].filter(([, k]) => !(k.over && k.listing.volume === 0))
    const live = traded.filter(([, k]) => !k.over || lastOf(k) + HOUR >= cutoffBefore)
    const broken = await this.#walker.all(
      live.map(([ticker]) => this.#tradesWalk('live', ticker)),
      'trades',
    )
    const { trades: cutoff } = await this.cutoff('trades')
    const archived = traded.filter(([, k]) => !(Math.max(this.#range.from, k.listing.openTime ?? -Infinity) >= cutoff))
    broken.push(
      ...(await this.#walker.all(
        archived.map(([ticker]) => this.#tradesWalk('historical', ticker)),
        'trades of the archive',
      )),
    )
    return broken
  }
  #tradesWalk(side: 'live' | 'historical', ticker: string, suffix = ''): Walk {
    const { from, to } = this.#range
    return {
      key: `trades/${side}/${ticker}${suffix}`,
      endpoint: side === 'live' ? 'trades' : 'historicalTrades',
      // A second more at both ends, whatever the ends mean: what is too much is left out.
      parameters: {
        ticker,
        ...(from > 1e6 ? { min_ts: Math.floor(from / 1e6) - 1 } : {}),
        max_ts: Math.ceil(to / 1e6) + 1,
        limit: 1000,
      },
      optional: true,
    }
  }

  /** Markets whose trades, as first answered, do not make up the volume that the exchange states. */
  async unequal(known: ReadonlyMap<string, Known>): Promise<string[]> {
    const { from, to } = this.#range
    const unequal: string[] = []
    for (const [ticker, { over, inside, listing }] of known) {
      if (!over || !inside || listing.volume === null) continue
      const seen = new Map<string, number>()
      for (const key of TRADE_KEYS)
        for (const trade of await this.#walker.items<WireTrade>(`${key}/${ticker}`, 'trades')) {
          const parsed = tradeOf(trade, null)
          if (typeof parsed === 'string' || parsed.ticker !== ticker || parsed.time < from || parsed.time > to) continue
          seen.set(parsed.id ?? '', parsed.quantity)
        }
      let sum = 0
      for (const quantity of seen.values()) sum += quantity
      if (sum !== listing.volume) unequal.push(ticker)
    }
    return unequal
  }

  /** Asks once more for what did not add up: an answer that was late, or a page that was skipped. */
  async again(
    tickers: readonly string[],
    known: Map<string, Known>,
  ): Promise<{ readonly broken: string[]; readonly known: Map<string, Known> }> {
    if (tickers.length === 0) return { broken: [], known }
    await this.#walker.all(
      tickers.flatMap((ticker): Walk[] => [
        { key: `market/live/${ticker}`, endpoint: 'market', parameters: { ticker }, optional: true },
        { key: `market/historical/${ticker}`, endpoint: 'historicalMarket', parameters: { ticker }, optional: true },
      ]),
      'markets again',
    )
    const broken = await this.#walker.all(
      tickers.map((ticker) => this.#tradesWalk('live', ticker, SECOND)),
      'trades again',
    )
    broken.push(
      ...(await this.#walker.all(
        tickers.map((ticker) => this.#tradesWalk('historical', ticker, SECOND)),
        'trades of the archive again',
      )),
    )
    const renewed = new Map(known)
    for (const ticker of tickers) {
      const before = known.get(ticker)
      const listed: Listed[] = []
      for (const side of ['live', 'historical'])
        for (const body of await this.#walker.bodies(`market/${side}/${ticker}`))
          listed.push({ wire: body['market'] as WireMarket, series: before?.series ?? null })
      const after = marketsIn(listed, new Map(), this.#range).get(ticker)
      if (before !== undefined && after !== undefined)
        renewed.set(ticker, { ...before, listing: { ...before.listing, volume: after.listing.volume } })
    }
    return { broken, known: renewed }
  }

  /** Returns how many markets have none on either side. */
  async candles(known: ReadonlyMap<string, Known>, minutes: 1 | 60 | 1440): Promise<number> {
    const { markets: cutoff } = await this.cutoff('candles')
    const period = minutes * MINUTE
    const walks = (side: 'live' | 'historical', ticker: string, k: Known): Walk[] => {
      const from = Math.floor(Math.max(this.#range.from, k.listing.openTime ?? 0) / period) * period
      // The last period of a market ends after it.
      const to = Math.min(this.#range.to, lastOf(k) + period)
      const out: Walk[] = []
      for (let start = from; start <= to; start += CANDLES_MAX * period)
        out.push({
          key: `candles/${side}/${ticker}/${start / period}`,
          endpoint: side === 'live' ? 'candles' : 'historicalCandles',
          parameters: {
            ...(side === 'live' ? { series_ticker: k.series } : {}),
            ticker,
            start_ts: start / 1e6,
            end_ts: Math.min(Math.ceil(to / 1e6), (start + CANDLES_MAX * period) / 1e6 - 1),
            period_interval: minutes,
          },
          optional: true,
        })
      return out
    }
    const has = (side: string, ticker: string, k: Known): boolean =>
      walks(side as 'live', ticker, k).every((w) => this.#store.endOf(w.key) !== null)
    const ask = async (side: 'live' | 'historical', which: (k: Known) => boolean): Promise<void> => {
      const chosen = [...known].filter(([, k]) => which(k))
      await this.#walker.all(
        chosen.flatMap(([ticker, k]) => walks(side, ticker, k)),
        side === 'live' ? 'candles' : 'candles of the archive',
      )
    }
    const archived = (k: Known): boolean => (k.listing.settlementTime ?? Infinity) < cutoff
    await ask('live', (k) => !archived(k))
    const absent = new Set([...known].filter(([t, k]) => !archived(k) && !has('live', t, k)).map(([, k]) => k))
    await ask('historical', (k) => archived(k) || absent.has(k))
    return [...known].filter(([t, k]) => !CANDLE_KEYS.some((key) => has(key.slice('candles/'.length), t, k))).length
  }
}

/** The last moment in which a market can have traded. */
function lastOf({ listing }: Known): number {
  return Math.max(listing.settlementTime ?? -Infinity, listing.closeTime ?? Infinity)
}
function chunks<T>(list: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(list.length / TICKERS) }, (_, i) => list.slice(i * TICKERS, (i + 1) * TICKERS))
}
