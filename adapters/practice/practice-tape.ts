/**
 * Makes a practice tape: 15-minute markets of the practice population, from their first snapshot to their settlement. Owns the schedule of markets and the
 * feed's lag; hides the writer. Invariant: same options, same bytes.
 */
import { createBatch, Flag, Kind, LABEL_NAMES, pushRow, type CatalogDetail } from '../../engine/message.ts'
import { EventQueue, Phase } from '../../engine/queue.ts'
import { DAY, HOUR, MINUTE, SECOND } from '../../engine/units.ts'
import type { CoverageRow, LabelShare, Manifest, MarketRow } from '../../data/schema.ts'
import { TapeWriter } from '../../data/tape-writer.ts'
import { PRACTICE_GRID, PracticeMarket } from './population.ts'
import { Random } from './random.ts'

export type PracticeOptions = {
  readonly seed: number
  /** Markets in all, spread evenly over the days. */
  readonly markets: number
  readonly days: number
  /** Actions a second in each market; a recorded KXBTC15M market has about 90. */
  readonly rate?: number
  /** Stop after about this many rows: for benchmarks. */
  readonly rowsMax?: number
  readonly name?: string
  readonly replace?: boolean
  readonly progress?: (done: number, total: number, rows: number) => void
}

/** 2026-06-01T00:00:00Z */
const EPOCH = 1_780_272_000_000_000
const LIFE = 15 * MINUTE
const SERIES = 'KXPRACTICE15M'

type Step = { readonly kind: 'open' | 'act' | 'close' | 'wipe' | 'determine' | 'settle'; readonly live: Live }
type Live = {
  readonly ticker: string
  readonly number: number
  readonly open: number
  readonly close: number
  readonly market: PracticeMarket
  row: Partial<MarketRow>
  rows: number
  first: number
  last: number
}

export async function makePracticeTape(dir: string, options: PracticeOptions): Promise<Manifest> {
  const { seed, markets, days, rate = 40, rowsMax = Infinity } = options
  const writer = await TapeWriter.create(dir, {
    source: 'practice',
    practice: true,
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.replace === undefined ? {} : { replace: options.replace }),
  })
  try {
    const random = new Random(seed)
    const queue = new EventQueue<Step>()
    const batch = createBatch(8192)
    const slots = Math.max(1, Math.floor((days * DAY) / LIFE))
    const done: Live[] = []
    let venue = EPOCH
    let time = EPOCH
    let rows = 0
    let full: Promise<void> | null = null
    const put = (live: Live, kind: Kind, flags: number, side: number, price: number, quantity: number, detail: unknown = null): void => {
      // One receive time a message: snapshots and everything else that belongs together share it.
      if (fresh) {
        time = Math.max(time + 1, venue + 2_000 + random.integer(0, 20_000))
        fresh = false
      }
      pushRow(batch, time, venue, live.number, kind, flags, side, price, quantity, detail === null ? null : JSON.stringify(detail))
      if ((flags & Flag.LAST) !== 0) fresh = true
      rows++
      live.rows++
      if (live.first < 0) live.first = time
      live.last = time
    }
    let fresh = true
    const flush = async (): Promise<void> => {
      await writer.append(batch)
      batch.length = 0
      batch.details = []
    }
    for (let i = 0; i < markets; i++) {
      const slot = Math.floor((i * slots) / markets)
      const open = EPOCH + slot * LIFE
      const close = open + LIFE
      const label = new Date(close / 1000).toISOString().slice(2, 16).replace(/[-T:]/g, '')
      const ticker = `${SERIES}-${label}-${String(i).padStart(5, '0')}`
      const live: Live = {
        ticker,
        number: writer.market(ticker),
        open,
        close,
        market: null as unknown as PracticeMarket,
        row: {},
        rows: 0,
        first: -1,
        last: -1,
      }
      const market = new PracticeMarket(seed * 1_000_003 + i, open, close, (kind, flags, side, price, quantity) =>
        put(live, kind, flags, side, price, quantity),
      )
      Object.assign(live, { market })
      queue.push(open, Phase.TIMER, { kind: 'open', live })
    }
    const gap = Math.round(SECOND / rate)
    while (queue.size > 0 && rows < rowsMax) {
      venue = Math.max(venue, queue.time)
      const step = queue.pop()
      const { live } = step
      const next = (kind: Step['kind'], at: number): void => queue.push(at, Phase.TIMER, { kind, live })
      switch (step.kind) {
        case 'open': {
          const detail: CatalogDetail = {
            ticker: live.ticker,
            event: live.ticker.slice(0, live.ticker.lastIndexOf('-')),
            series: SERIES,
            title: `Practice market closing ${new Date(live.close / 1000).toISOString().slice(11, 16)} UTC`,
            exclusive: false,
            strike: null,
            openTime: live.open,
            closeTime: live.close,
            status: 'active',
            grid: PRACTICE_GRID,
            fee: { type: 'quadratic', multiplier: 10_000 },
          }
          put(live, Kind.CATALOG, Flag.LAST, 0, 0, 0, detail)
          live.market.open()
          next('act', venue + random.integer(1, 2 * gap))
          next('close', live.close)
          break
        }
        case 'act':
          if (venue >= live.close) break
          live.market.act(venue)
          next('act', venue + random.integer(1, 2 * gap))
          break
        case 'close':
          put(live, Kind.STATUS, Flag.LAST, 0, 0, 0, { status: 'closed' })
          next('wipe', live.close + 560_000)
          break
        case 'wipe':
          live.market.wipe()
          next('determine', live.close + 30 * SECOND)
          break
        case 'determine': {
          const yes = live.market.result === 'yes'
          put(live, Kind.DETERMINED, Flag.LAST, 0, 0, 0, { result: live.market.result, value: yes ? 10_000 : 0 })
          live.row = { result: live.market.result, settlementValue: yes ? 10_000 : 0, determinedTime: time }
          next('settle', live.close + 60 * SECOND)
          break
        }
        case 'settle':
          put(live, Kind.SETTLED, Flag.LAST, 0, 0, 0, {})
          live.row = { ...live.row, settledTime: time }
          break
      }
      if (step.kind === 'open') done.push(live)
      if (batch.length > 4096) {
        full = flush()
        await full
        options.progress?.(venue - EPOCH, days * DAY, rows)
      }
    }
    await flush()
    const shares = new Map<number, { count: number; quantity: number }>()
    for (const live of done) {
      for (const [label, share] of live.market.labels) {
        const s = shares.get(label) ?? { count: 0, quantity: 0 }
        s.count += share.count
        s.quantity += share.quantity
        shares.set(label, s)
      }
    }
    const labels: LabelShare[] = [...shares]
      .sort((a, b) => a[0] - b[0])
      .map(([label, share]) => ({ series: SERIES, label: LABEL_NAMES[label] as LabelShare['label'], inferred: false, ...share }))
    return await writer.finish({
      clock: [],
      labels,
      labelBasis: 'true',
      gaps: 0,
      inFlux: 0,
      negativeLevels: 0,
      lastingCrosses: 0,
      quarantined: 0,
      origin: { generator: 'practice/1', seed, markets, days, rate, ...(rowsMax === Infinity ? {} : { rowsMax }) },
      remarks: ['Practice data: made by a seeded population of agents, not recorded from an exchange'],
      markets: done.map((live) => marketRow(live)),
      coverage: done.flatMap((live) => coverageRows(live)),
    })
  } catch (error) {
    await writer.abort()
    throw error
  }
}

function marketRow(live: Live): MarketRow {
  const { market } = live
  return {
    ticker: live.ticker,
    event: live.ticker.slice(0, live.ticker.lastIndexOf('-')),
    series: SERIES,
    title: `Practice market closing ${new Date(live.close / 1000).toISOString().slice(11, 16)} UTC`,
    exclusive: false,
    strike: null,
    openTime: live.open,
    closeTime: live.close,
    grid: JSON.stringify(PRACTICE_GRID),
    gridBasis: 'stated',
    fee: JSON.stringify({ type: 'quadratic', multiplier: 10_000 }),
    feeBasis: 'stated',
    result: live.row.result ?? null,
    settlementValue: live.row.settlementValue ?? null,
    determinedTime: live.row.determinedTime ?? null,
    settledTime: live.row.settledTime ?? null,
    rows: live.rows,
    deltas: market.deltas,
    trades: market.trades,
    tradedQuantity: market.tradedQuantity,
    venueQuantity: market.tradedQuantity,
    partialBook: false,
    firstTime: live.first,
    lastTime: live.last,
  }
}

function coverageRows(live: Live): CoverageRow[] {
  const rows: CoverageRow[] = []
  for (let hour = Math.floor(live.first / HOUR) * HOUR; hour <= live.last; hour += HOUR) {
    const recorded = Math.min(live.last, hour + HOUR) - Math.max(live.first, hour)
    rows.push({
      market: live.ticker,
      hour,
      rows: live.rows,
      recorded,
      synced: recorded,
      gaps: 0,
      resyncs: 0,
      inFlux: 0,
      negativeLevels: 0,
      lastingCrosses: 0,
      audits: 0,
      auditsEqual: 0,
      partialBook: false,
    })
  }
  return rows
}
