import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { importKalshiWs } from '../../data/import/kalshi-ws.ts'
import { Labeler, type Row } from '../../data/import/label.ts'
import { openTape } from '../../data/tape-reader.ts'
import { Flag, Kind, LABEL_NAMES, labelOf } from '../../engine/message.ts'
import { ASK, BID, PRICE_ONE } from '../../engine/units.ts'

const row = (time: number, kind: Kind, side: number, price: number, quantity: number, timeVenue = time): Row => ({
  time,
  timeVenue,
  market: 0,
  kind,
  flags: Flag.LAST,
  side,
  price,
  quantity,
  detail: null,
  open: false,
  reached: false,
  met: false,
  whole: false,
  sent: false,
})

/** One market whose deltas are [venue time in ms, side, price, quantity, best bid after, best ask after]; a ticker is [ms, volume, last, last size, arrival]. */
type Delta = readonly [number, number, number, number, number, number]
function labels(
  deltas: readonly Delta[],
  { tickers = [], scale = 1, prints = [] as Row[], close = null as number | null } = {} as {
    tickers?: readonly (readonly [number, number, number, number, number?])[]
    scale?: number
    prints?: Row[]
    close?: number | null
  },
): string[] {
  const out: Row[] = []
  const labeler = new Labeler((r) => out.push(r))
  labeler.market(0, prints.length > 0, close, scale)
  const steps: { at: number; run: () => void }[] = [
    ...tickers.map(([ms, volume, last, lastSize, at = ms]) => ({
      at: at * 1000,
      run: () => labeler.ticker(0, { timeVenue: ms * 1000, volume, last, lastSize }, at * 1000),
    })),
    ...prints.map((p) => ({ at: p.time, run: () => labeler.push(p) })),
    ...deltas.map(([ms, side, price, quantity, bid, ask]) => ({
      at: ms * 1000 + 10,
      run: () => {
        labeler.push(row(ms * 1000 + 10, Kind.DELTA, side, price, quantity, ms * 1000))
        labeler.best(0, bid, ask)
      },
    })),
  ]
  for (const step of steps.map((s, i) => ({ ...s, i })).sort((a, b) => a.at - b.at || a.i - b.i)) step.run()
  labeler.interrupted(0)
  labeler.finish()
  return out
    .filter((r) => r.kind === Kind.TRADE || r.quantity < 0)
    .map((r) => `${r.kind === Kind.TRADE ? 'print' : LABEL_NAMES[labelOf(r.flags)]}${(r.flags & Flag.EXECUTION) !== 0 ? ' executes' : ''}`)
}

describe('one venue instant', () => {
  it('calls a decrease with an increase on its own side an amend, also when the size changed', () => {
    expect(
      labels([
        [10, ASK, 8400, -847, 8000, 8300],
        [10, ASK, 8300, 798, 8000, 8300],
      ]),
    ).toEqual(['amend'])
  })

  it('calls a decrease met from the other side a trade whose taker rests, not an amend of equal size', () => {
    const start = [100, 0, 5000, 100] as const
    expect(
      labels(
        [
          [110, BID, 9010, 100, 9010, 9010],
          [110, ASK, 9010, -100, 9010, 9020],
          [120, ASK, 9020, -100, 9010, 9030],
        ],
        { tickers: [start, [130, 100, 8000, 1]] },
      ),
    ).toEqual(['trade executes', 'cancel'])
  })

  it('lets a sweep take its levels in any order, and nothing behind the best price that is left', () => {
    const tickers = [
      [100, 0, 6500, 1],
      [130, 424, 6500, 1],
    ] as const
    expect(
      labels(
        [
          [110, BID, 6500, -124, 6700, 8000],
          [110, BID, 6700, -100, 6600, 8000],
          [110, BID, 6600, -200, 6400, 8000],
          [120, BID, 6300, -424, 6400, 8000],
        ],
        { tickers },
      ),
    ).toEqual(['trade executes', 'trade executes', 'trade executes', 'cancel'])
  })

  it('that only takes away and leaves no book is a wipe, also when no close time is known', () => {
    const wipe = Array.from({ length: 120 }, (_, i) => [500, BID, 100 + i, -100, i === 119 ? 0 : 100, PRICE_ONE] as const)
    expect(new Set(labels(wipe))).toEqual(new Set(['close-wipe']))
  })
})

describe('volume', () => {
  const deltas: readonly Delta[] = [
    [110, BID, 4000, -1479, 4000, 4200],
    [120, BID, 4000, -1479, 4000, 4200],
  ]
  it('that counts both sides of a trade explains half as much', () => {
    const tickers = [
      [100, 0, 4000, 1],
      [130, 2958, 4000, 1479],
    ] as const
    expect(labels(deltas, { tickers, scale: 1 })).toEqual(['trade executes', 'trade executes'])
    expect(labels(deltas, { tickers, scale: 2 })).toEqual(['cancel', 'trade executes'])
  })

  it('may be told many seconds later, or before the deltas that it speaks of', () => {
    const late = [
      [100, 0, 4000, 1],
      [130, 1479, 4000, 1479, 20_000],
    ] as const
    expect(labels([...deltas, [19_000, ASK, 4200, 5, 4000, 4200]], { tickers: late })).toEqual(['cancel', 'trade executes'])
    const early = [
      [100, 0, 4000, 1],
      [130, 1479, 4000, 1479, 105],
    ] as const
    expect(labels(deltas, { tickers: early })).toEqual(['cancel', 'trade executes'])
  })

  it('is never exceeded, and every decrease has one label (fast-check)', () => {
    const step = fc.record({
      side: fc.constantFrom(BID, ASK),
      level: fc.integer({ min: 0, max: 2 }),
      quantity: fc.integer({ min: -50, max: 50 }),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), fc.nat(400), fc.constantFrom(1, 2), (steps, volume, scale) => {
        const deltas = steps
          .filter((s) => s.quantity !== 0)
          .map(
            (s, i) => [110 + (i >> 1), s.side, s.side === BID ? 4000 - s.level * 10 : 4200 + s.level * 10, s.quantity, 4000, 4200] as const,
          )
        const out = labels(deltas, {
          tickers: [
            [100, 0, 4000, 10],
            [500, volume, 4000, 10],
          ],
          scale,
        })
        const down = deltas.filter((d) => d[3] < 0)
        expect(out).toHaveLength(down.length)
        expect(out).not.toContain('none')
        const traded = down.reduce((a, d, i) => a - (out[i]?.startsWith('trade') === true ? d[3] : 0), 0)
        expect(traded).toBeLessThanOrEqual(volume / scale)
      }),
      { seed: 2 },
    )
  })
})

describe('prints', () => {
  it('stand for several decreases of one instant where the sizes add up', () => {
    const print = row(115_000, Kind.TRADE, ASK, 4000, 30, 110_000)
    expect(
      labels(
        [
          [110, BID, 4000, -10, 4000, 4200],
          [110, BID, 4000, -20, 4000, 4200],
          [120, BID, 4000, -10, 4000, 4200],
        ],
        { prints: [print] },
      ),
    ).toEqual(['trade executes', 'trade executes', 'print', 'cancel'])
  })
})

const folders: string[] = []
afterEach(() => {
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true })
})
const folder = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'tapeline-'))
  folders.push(dir)
  return dir
}

describe('bare frames', () => {
  it('before the first one with a time are no older than that; a block trade executes nobody', async () => {
    const dir = folder()
    const m = { market_ticker: 'KXDEMO-26SEP-A' }
    const ms = 1_790_000_000_000
    const frames = [
      { type: 'subscribed', id: 1, msg: { channel: 'orderbook_delta', sid: 1 } },
      { type: 'orderbook_snapshot', sid: 1, seq: 1, msg: { ...m, yes_dollars_fp: [['0.4000', '9.00']] } },
      { type: 'orderbook_delta', sid: 1, seq: 2, msg: { ...m, price_dollars: '0.4000', delta_fp: '-3.00', side: 'yes', ts_ms: ms } },
      {
        type: 'trade',
        sid: 2,
        seq: 1,
        msg: { ...m, yes_price_dollars: '0.4000', count_fp: '3.00', taker_book_side: 'ask', is_block_trade: true, ts_ms: ms },
      },
    ]
    writeFileSync(join(dir, 'bare.jsonl'), frames.map((f) => JSON.stringify(f)).join('\n\n'))
    const summary = await importKalshiWs([join(dir, 'bare.jsonl')], join(dir, 'tape'))
    const tape = await openTape(join(dir, 'tape'))
    expect([tape.manifest.from, tape.manifest.to]).toEqual([ms * 1000, ms * 1000])
    expect(summary.byLabel).toEqual({ cancel: 1 })
    let executions = 0
    for await (const b of await tape.read({ decode: 'thread' }))
      for (let i = 0; i < b.length; i++) executions += (b.flags[i] as number) & Flag.EXECUTION
    expect(executions).toBe(0)
  })

  it('without any time at all are refused in one sentence', async () => {
    const dir = folder()
    writeFileSync(join(dir, 'f.jsonl'), JSON.stringify({ type: 'orderbook_snapshot', sid: 1, seq: 1, msg: { market_ticker: 'KXA-B-C' } }))
    await expect(importKalshiWs([join(dir, 'f.jsonl')], join(dir, 'tape'))).rejects.toThrow(/no frame has a time/)
    expect(readdirSync(dir)).toEqual(['f.jsonl'])
  })
})

const shared = new URL('../../../shared/data/', import.meta.url).pathname
describe.skipIf(!existsSync(shared))('labels of the six recorded sessions (use ../shared; skipped where it is absent)', () => {
  it('explain the exchange’s own volume, and fill the known orders that were filled and no other', async () => {
    const dir = folder()
    const root = join(shared, 'nolicence')
    const sessions = readdirSync(root).filter((d) => d.startsWith('organics_'))
    const summary = await importKalshiWs(
      sessions.map((d) => join(root, d)),
      join(dir, 'btc'),
    )
    expect(summary.remarks.filter((r) => r.includes('counts both sides'))).toHaveLength(6)
    const tape = await openTape(join(dir, 'btc'))
    const venue = (await tape.markets()).reduce((a, m) => a + (m.venueQuantity ?? 0), 0)
    const trades = new Map<string, { time: number; quantity: number }[]>()
    let inferred = 0
    const stream = await tape.read({ decode: 'thread' })
    for await (const b of stream)
      for (let i = 0; i < b.length; i++) {
        if (b.kind[i] !== Kind.DELTA || LABEL_NAMES[labelOf(b.flags[i] as number)] !== 'trade') continue
        const quantity = -(b.quantity[i] as number)
        inferred += quantity
        const key = `${stream.tickers[b.market[i] as number]?.slice(0, 20)} ${b.side[i]} ${b.price[i]}`
        trades.set(key, [...(trades.get(key) ?? []), { time: b.timeVenue[i] as number, quantity }])
      }
    expect(inferred / venue).toBeGreaterThan(0.99)
    expect(inferred / venue).toBeLessThanOrEqual(1)
    // The orders of ../shared/data/derived/ground_truth_orders_dev.csv that lie inside: created, side, price; when and how much of it was filled.
    const known: [string, string, number, number, { after: number; quantity: number } | null][] = [
      ['KXBTC15M-26MAY130915', '2026-05-13T13:01:05.286961Z', BID, 5300, null],
      ['KXBTC15M-26MAY130915', '2026-05-13T13:11:08.197796Z', BID, 9500, null],
      ['KXBTC15M-26MAY130945', '2026-05-13T13:35:47.925178Z', ASK, 4500, null],
      ['KXBTC15M-26MAY130945', '2026-05-13T13:40:11.225806Z', ASK, 200, { after: 60.79, quantity: 100 }],
      ['KXBTC15M-26MAY131145', '2026-05-13T15:43:39.885519Z', BID, 7000, { after: 12.48, quantity: 600 }],
      ['KXBTC15M-26MAY131215', '2026-05-13T16:14:18.682841Z', BID, 7800, null],
      ['KXBTC15M-26MAY131245', '2026-05-13T16:31:12.691837Z', BID, 5000, { after: 3.56, quantity: 200 }],
    ]
    for (const [market, created, side, price, fill] of known) {
      const from = Date.parse(`${created.slice(0, 19)}Z`) * 1000 + Number(created.slice(20, 26))
      const after = (trades.get(`${market} ${side} ${price}`) ?? []).filter((t) => t.time > from)
      if (fill === null) expect([market, created, after]).toEqual([market, created, []])
      else expect(after.some((t) => t.quantity === fill.quantity && Math.abs((t.time - from) / 1e6 - fill.after) < 0.02)).toBe(true)
    }
    expect(readFileSync(join(dir, 'btc/manifest.json'), 'utf8')).toContain('"inferred"')
  })
})
