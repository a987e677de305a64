import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, it } from 'vitest'
import { importKalshiWs } from '../../data/import/kalshi-ws.ts'
import { importResults, parseResults } from '../../data/import/results.ts'
import { openTape } from '../../data/tape-reader.ts'
import { Flag, Kind, KIND_NAMES, LABEL_NAMES, labelOf } from '../../engine/message.ts'

const folders: string[] = []
afterEach(() => {
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true })
})
const folder = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'tapeline-'))
  folders.push(dir)
  return dir
}

const T0 = 1_790_000_000_000_000
const iso = (us: number): string => new Date(us / 1000).toISOString().replace('Z', `${String(us % 1000).padStart(3, '0')}Z`)
const M = 'KXDEMO-26SEP-A'
type Frame = { type: string; sid?: number; seq?: number; msg: Record<string, unknown>; at: number }
let seq = 0
const snapshot = (at: number, yes: [string, string][], no: [string, string][], market = M): Frame => ({
  type: 'orderbook_snapshot',
  sid: 1,
  seq: ++seq,
  at,
  msg: { market_ticker: market, ...(yes.length > 0 ? { yes_dollars_fp: yes } : {}), ...(no.length > 0 ? { no_dollars_fp: no } : {}) },
})
const delta = (at: number, side: 'yes' | 'no', price: string, change: string, venue = at - 20_000, market = M): Frame => ({
  type: 'orderbook_delta',
  sid: 1,
  seq: ++seq,
  at,
  msg: { market_ticker: market, side, price_dollars: price, delta_fp: change, ts: iso(venue), ts_ms: Math.floor(venue / 1000) },
})
const trade = (at: number, price: string, count: string, taker: 'bid' | 'ask', venue = at - 20_000): Frame => ({
  type: 'trade',
  sid: 2,
  seq: undefined as unknown as number,
  at,
  msg: { market_ticker: M, yes_price_dollars: price, count_fp: count, taker_book_side: taker, ts_ms: Math.floor(venue / 1000) },
})
const ticker = (at: number, volume: string, last: string, size: string, bid: string, ask: string): Frame => ({
  type: 'ticker',
  sid: 3,
  at,
  msg: {
    market_ticker: M,
    price_dollars: last,
    last_trade_size_fp: size,
    volume_fp: volume,
    yes_bid_dollars: bid,
    yes_ask_dollars: ask,
    time: iso(at - 20_000),
  },
})
const wire = ({ at: _at, ...frame }: Frame) => JSON.parse(JSON.stringify(frame)) as Record<string, unknown>
const envelopes: Record<string, (f: Frame, shift: number) => string> = {
  payload_json: (f, shift) =>
    JSON.stringify({
      event_type: f.type,
      connection_id: 'c',
      sequence_number: f.type === 'trade' ? null : (f.seq ?? null),
      local_recv_ns: (f.at + shift) * 1000,
      market_ticker: f.msg['market_ticker'],
      payload_json: f.msg,
    }),
  received_ms: (f, shift) => JSON.stringify({ received_ms: (f.at + shift) / 1000, frame: wire(f) }),
  raw: (f, shift) => JSON.stringify({ recv_ts_ns: (f.at + shift) * 1000, raw: `${JSON.stringify(wire(f))}\n` }),
}

async function run(frames: readonly Frame[], envelope = 'received_ms', { shift = 0, gzip = false, extra = [] as string[] } = {}) {
  const dir = folder()
  const text = [...frames.map((f) => (envelopes[envelope] as (f: Frame, s: number) => string)(f, shift)), ...extra].join('\n\n')
  const path = join(dir, gzip ? 'frames.ndjson.gz' : 'frames.ndjson')
  writeFileSync(path, gzip ? gzipSync(text) : text)
  const tape = join(dir, 'tape')
  const summary = await importKalshiWs([path], tape)
  const rows: string[] = []
  for await (const b of await (await openTape(tape)).read({ decode: 'thread' })) {
    for (let i = 0; i < b.length; i++) {
      const flags = b.flags[i] as number
      if ((flags & Flag.CHECKPOINT) !== 0) continue
      const kind = b.kind[i] as number
      rows.push(
        [
          (b.time[i] as number) - T0,
          (b.timeVenue[i] as number) - T0,
          KIND_NAMES[kind],
          ['bid', 'ask'][b.side[i] as number],
          b.price[i],
          b.quantity[i],
          kind === Kind.DELTA && (b.quantity[i] as number) < 0 ? LABEL_NAMES[labelOf(flags)] : '',
          (flags & Flag.EXECUTION) !== 0 ? 'executes' : '',
          (flags & Flag.INFERRED) !== 0 ? 'inferred' : '',
          kind >= Kind.STATUS ? b.details[b.detail[i] as number] : '',
        ]
          .join(' ')
          .trim(),
      )
    }
  }
  return { dir, tape, summary, rows }
}
const start = (): Frame[] => {
  seq = 0
  return [
    snapshot(
      T0 + 20_000,
      [
        ['0.4000', '100.00'],
        ['0.3900', '50.00'],
      ],
      [['0.5800', '70.00']],
    ),
    delta(T0 + 30_000, 'yes', '0.4000', '5.00'),
  ]
}

describe('recorded frames', () => {
  it('read the same in every envelope, plain or gzip, with blank lines between; a NO bid is a YES ask', async () => {
    const frames = [...start(), delta(T0 + 60_000, 'no', '0.5800', '-70.00'), delta(T0 + 70_000, 'no', '0.5700', '1.50')]
    const runs = await Promise.all([...Object.keys(envelopes).map((e) => run(frames, e)), run(frames, 'raw', { gzip: true })])
    for (const r of runs) {
      expect(r.rows).toEqual(runs[0]?.rows)
      expect(r.summary.quarantined).toBe(0)
    }
    expect(runs[0]?.rows.filter((x) => / (level|delta) /.test(x)).map((x) => x.split(' ').slice(2, 6).join(' '))).toEqual([
      'level bid 4000 10000',
      'level bid 3900 5000',
      'level ask 4200 7000',
      'delta bid 4000 500',
      'delta ask 4200 -7000',
      'delta ask 4300 150',
    ])
  })

  it('do not depend on the recorder clock: a second more on every receive time changes no row', async () => {
    const frames = [
      ...start(),
      delta(T0 + 61_000, 'yes', '0.3900', '-50.00', T0 + 31_000),
      ticker(T0 + 1_000_000, '10.00', '0.4000', '1.00', '0.4000', '0.4200'),
      delta(T0 + 1_100_000, 'yes', '0.4000', '-5.00'),
    ]
    const [a, b] = [await run(frames, 'raw'), await run(frames, 'raw', { shift: 1_000_000 })]
    expect(b.rows).toEqual(a.rows)
    expect((b.summary.clock[0]?.offset ?? 0) - (a.summary.clock[0]?.offset ?? 0)).toBe(1_000_000)
  })

  it('are counted by seq: `ok` consumes one, a gap unsyncs until the next snapshot, a new subscription starts again', async () => {
    const frames = start()
    frames.push(
      { type: 'ok', sid: 1, seq: ++seq, at: T0 + 40_000, msg: { market_tickers: [M] } },
      delta(T0 + 50_000, 'yes', '0.3900', '1.00'),
    )
    seq++ // one frame was lost
    frames.push(delta(T0 + 60_000, 'yes', '0.3900', '1.00'), snapshot(T0 + 70_000, [['0.4000', '1.00']], []), {
      type: 'subscribed',
      at: T0 + 80_000,
      msg: { channel: 'orderbook_delta', sid: 1 },
    })
    seq = 0
    frames.push(snapshot(T0 + 90_000, [['0.4100', '1.00']], []))
    const { summary, rows } = await run(frames)
    expect(summary.gaps).toBe(1)
    expect(rows.filter((r) => r.includes('unsynced'))).toHaveLength(1)
    expect(rows.filter((r) => r.includes(' sync '))[0]).toContain('gap in seq after 4')
  })

  it('that make no book unsync it: a negative level, a cross that lasts; a cross inside one venue instant is in flux', async () => {
    const negative = await run([...start(), delta(T0 + 60_000, 'yes', '0.3900', '-60.00')])
    expect([negative.summary.negativeLevels, negative.rows.some((r) => r.includes('negative level'))]).toEqual([1, true])
    const instant = T0 + 45_000
    const flux = await run([
      ...start(),
      delta(T0 + 60_000, 'yes', '0.4200', '5.00', instant),
      delta(T0 + 61_000, 'no', '0.5800', '-70.00', instant),
      delta(T0 + 62_000, 'no', '0.5700', '9.00', instant + 500),
    ])
    expect([flux.summary.inFlux, flux.summary.lastingCrosses]).toEqual([1, 0])
    const cross = await run([
      ...start(),
      delta(T0 + 60_000, 'yes', '0.4200', '5.00', instant),
      delta(T0 + 63_000, 'yes', '0.3900', '9.00', instant + 500),
    ])
    expect([cross.summary.inFlux, cross.summary.lastingCrosses]).toEqual([1, 1])
  })

  it('carry lifecycle and index values: what is known later stands at its time and not before', async () => {
    const life = (at: number, msg: Record<string, unknown>): Frame => ({
      type: 'market_lifecycle_v2',
      sid: 9,
      at,
      msg: { market_ticker: M, ...msg },
    })
    seq = 0
    const { rows } = await run([
      life(T0 + 1_000, {
        event_type: 'created',
        open_ts: (T0 - 1e6) / 1e6,
        close_ts: (T0 + 5e6) / 1e6,
        price_ranges: [{ start: '0.0000', end: '1.0000', step: '0.0050' }],
        additional_metadata: { title: 'Will it?', event_ticker: 'KXDEMO-26SEP' },
      }),
      ...start(),
      { type: 'cfbenchmarks_value', sid: 7, at: T0 + 31_000, msg: { index_id: 'BRTI', received_at: 1, data: '{"value":"80123.5"}' } },
      life(T0 + 32_000, { event_type: 'deactivated' }),
      life(T0 + 33_000, { event_type: 'activated' }),
      life(T0 + 34_000, {
        event_type: 'price_level_structure_updated',
        price_ranges: [{ start: '0.0000', end: '1.0000', step: '0.0010' }],
      }),
      life(T0 + 9_000_000, { event_type: 'determined', result: 'yes', settlement_value: '1.0000', determination_ts: (T0 + 8e6) / 1e6 }),
      life(T0 + 9_500_000, { event_type: 'settled', settled_ts: (T0 + 9e6) / 1e6 }),
    ])
    expect(rows.map((r) => r.split(' ')[2]).filter((k) => k !== 'level' && k !== 'clear' && k !== 'delta')).toEqual([
      'catalog',
      'external',
      'status',
      'status',
      'grid',
      'status',
      'determined',
      'settled',
    ])
    expect(rows.find((r) => r.includes('external'))).toContain('80123.5')
  })

  it('that cannot be used stand in the quarantine with file, line and reason; nothing is dropped in silence', async () => {
    const { summary, tape } = await run(start(), 'raw', {
      extra: [
        '{"recv_ts_ns": 5, "raw": "not json"}',
        'neither',
        JSON.stringify({ received_ms: T0 / 1000, frame: { type: 'novelty', msg: {} } }),
        envelopes['raw']?.({ ...delta(T0 + 90_000, 'yes', '1.7000', '1.00') }, 0) ?? '',
      ],
    })
    expect(summary.quarantined).toBe(4)
    const lines = readFileSync(join(tape, 'quarantine.ndjson'), 'utf8')
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l) as { line: number; reason: string; file: string })
    // Two frames and four extras, a blank line between each.
    expect(lines.map((l) => [l.line, l.reason])).toEqual([
      [5, 'raw is not JSON'],
      [7, 'not JSON'],
      [9, 'frame type novelty is not imported'],
      [11, 'delta without market, price or change'],
    ])
  })

  it('leave no half tape when the import is stopped', async () => {
    const dir = folder()
    writeFileSync(
      join(dir, 'f.ndjson'),
      start()
        .map((f) => envelopes['raw']?.(f, 0))
        .join('\n'),
    )
    await expect(importKalshiWs([join(dir, 'f.ndjson')], join(dir, 'tape'), { stopped: () => true })).rejects.toThrow(/interrupted/)
    expect(readdirSync(dir)).toEqual(['f.ndjson'])
  })
})

describe('labels', () => {
  const labels = (rows: readonly string[]): string[] =>
    rows.filter((r) => / delta .* -/.test(r) || / trade /.test(r)).map((r) => r.split(' ').slice(2).join(' ').replace(/ +/g, ' ').trim())

  it('pair a print with one decrease, whichever comes first; the second is inert; each print is used once', async () => {
    const frames = [
      ...start(),
      delta(T0 + 60_000, 'yes', '0.4000', '-5.00', T0 + 40_000),
      trade(T0 + 61_000, '0.4000', '5.00', 'ask', T0 + 40_000),
      trade(T0 + 80_000, '0.4200', '7.00', 'bid', T0 + 60_000),
      delta(T0 + 81_000, 'no', '0.5800', '-7.00', T0 + 60_000),
      delta(T0 + 90_000, 'yes', '0.4000', '-5.00', T0 + 70_000),
      delta(T0 + 9_000_000, 'yes', '0.3900', '1.00'),
    ]
    const { rows, summary } = await run(frames)
    expect(labels(rows)).toEqual([
      'delta bid 4000 -500 trade executes',
      'trade ask 4000 500',
      'trade bid 4200 700 executes',
      'delta ask 4200 -700 trade',
      'delta bid 4000 -500 cancel',
    ])
    expect(summary.byLabel).toEqual({ trade: 2, cancel: 1 })
  })

  it('call −q and +q in one instant an amend, and everything after the close a wipe', async () => {
    const close = T0 + 1_000_000
    const frames: Frame[] = [
      { type: 'watch_market', at: T0 + 1_000, msg: { market_ticker: M, close_time: iso(close), strike: 5 } },
      ...start(),
      delta(T0 + 60_000, 'yes', '0.4000', '-50.00', T0 + 40_000),
      delta(T0 + 60_500, 'yes', '0.4100', '50.00', T0 + 40_000),
      delta(close + 620_000, 'yes', '0.3900', '-50.00', close + 600_000),
      delta(close + 620_500, 'no', '0.5800', '-70.00', close + 600_000),
    ]
    const { rows } = await run(frames, 'payload_json')
    expect(labels(rows)).toEqual(['delta bid 4000 -5000 amend', 'delta bid 3900 -5000 close-wipe', 'delta ask 4200 -7000 close-wipe'])
    expect(rows.find((r) => r.includes(' status '))).toMatch(/^1600000 1000000 status .*closed/)
  })

  it('are inferred from volume and last price where nobody printed, and say so; never more than the volume', async () => {
    const frames = [
      ...start(),
      ticker(T0 + 50_000, '100.00', '0.4200', '1.00', '0.4000', '0.4200'),
      delta(T0 + 60_000, 'yes', '0.4000', '-20.00', T0 + 45_000),
      delta(T0 + 70_000, 'yes', '0.4000', '-30.00', T0 + 55_000),
      delta(T0 + 80_000, 'yes', '0.3900', '-20.00', T0 + 65_000),
      delta(T0 + 90_000, 'no', '0.5800', '-3.00', T0 + 69_000),
      ticker(T0 + 100_000, '123.00', '0.4200', '3.00', '0.4000', '0.4200'),
    ]
    const { rows } = await run(frames)
    expect(labels(rows)).toEqual([
      'delta bid 4000 -2000 trade executes inferred',
      'delta bid 4000 -3000 cancel inferred',
      'delta bid 3900 -2000 cancel inferred',
      'delta ask 4200 -300 trade executes inferred',
    ])
  })
})

describe('results', () => {
  it('enter as rows at their time, once, and contradictions are refused with file and line', async () => {
    const { tape, dir } = await run([...start(), delta(T0 + 600_000_000, 'yes', '0.3900', '1.00')])
    const csv = join(dir, 'results.csv')
    writeFileSync(csv, `ticker,result,determined_time\n${M},yes,${iso(T0 + 300_000_000)}\nKXOTHER-1,no,\n`)
    expect(await importResults(csv, tape)).toMatchObject({ set: 1, unknown: ['KXOTHER-1'], without: [] })
    expect(await importResults(csv, tape)).toMatchObject({ set: 0, already: 1 })
    const kinds: string[] = []
    for await (const b of await (await openTape(tape)).read({ decode: 'thread' }))
      for (let i = 0; i < b.length; i++) kinds.push(KIND_NAMES[b.kind[i] as number] as string)
    expect(kinds.filter((k) => ['determined', 'settled', 'delta'].includes(k))).toEqual(['delta', 'determined', 'settled', 'delta'])
    writeFileSync(csv, `ticker,result\n${M},no\n`)
    await expect(importResults(csv, tape)).rejects.toThrow(/results.csv:2: .* is no, but the tape already says yes/)
    expect(() => parseResults('ticker,result\nA,maybe\n', 'r.csv')).toThrow(/r.csv:2: result maybe of A/)
    expect(() => parseResults('market;outcome\n', 'r.csv')).toThrow(/r.csv:1: needs a header/)
  })
})

const shared = new URL('../../../shared/data/', import.meta.url).pathname
describe.skipIf(!existsSync(shared))('the six recorded KXBTC15M sessions (use ../shared; skipped where it is absent)', () => {
  it('rebuild without a negative level or an unexplained gap, agree with the tickers, and no canceled tracer is called a trade', async () => {
    const dir = folder()
    const root = join(shared, 'nolicence')
    const s = await importKalshiWs(
      readdirSync(root)
        .filter((d) => d.startsWith('organics_'))
        .map((d) => join(root, d)),
      join(dir, 'btc'),
    )
    expect(s).toMatchObject({ gaps: 0, negativeLevels: 0, lastingCrosses: 0, inFlux: 141, quarantined: 0, markets: 11 })
    expect(s.byKind.delta).toBe(326_826)
    expect(s.auditsEqual / s.audits).toBeGreaterThan(0.87)
    // Orders that were inserted and later removed whole behind the best price: nothing of them was filled.
    const decreases = new Map<string, { label: string; quantity: number }[]>()
    const traded: { key: string; time: number; quantity: number }[] = []
    for await (const b of await (await openTape(join(dir, 'btc'))).read({ decode: 'thread' })) {
      for (let i = 0; i < b.length; i++) {
        if (b.kind[i] !== Kind.DELTA || (b.quantity[i] as number) >= 0) continue
        const key = `${b.side[i]} ${b.price[i]}`
        const label = LABEL_NAMES[labelOf(b.flags[i] as number)] as string
        const at = `${b.timeVenue[i]} ${key}`
        decreases.set(at, [...(decreases.get(at) ?? []), { label, quantity: -(b.quantity[i] as number) }])
        if (label === 'trade') traded.push({ key, time: b.timeVenue[i] as number, quantity: -(b.quantity[i] as number) })
      }
    }
    let seen = 0
    let mislabelled = 0
    let naive = 0
    let queue = 0
    for (const line of readFileSync(join(shared, 'derived/tracers_dev.csv'), 'utf8').trim().split('\n').slice(1)) {
      const [, , created = '', canceled = '', side, price, size, ahead, , says] = line.split(',')
      const us = (t: string): number => Date.parse(`${t.slice(0, 19)}Z`) * 1000 + Number((t.slice(20, -1) || '0').padEnd(6, '0'))
      const p = Math.round(Number(price) * 10_000)
      const key = side === 'yes' ? `0 ${p}` : `1 ${10_000 - p}`
      const removed = decreases.get(`${us(canceled)} ${key}`)?.find((d) => d.quantity === Math.round(Number(size) * 100))
      if (removed === undefined) continue
      seen++
      if (removed.label === 'trade') mislabelled++
      if (says === '1') naive++
      // What the queue model would fill: labelled trades at the price beyond what stood ahead.
      const volume = traded
        .filter((t) => t.key === key && t.time > us(created) && t.time < us(canceled))
        .reduce((a, t) => a + t.quantity, 0)
      if (volume > Number(ahead) * 100) queue++
    }
    process.stdout.write(
      `tracers: ${seen} found, ${mislabelled} removals called trades, naive rule fills ${naive}, labelled trades would fill ${queue}\n`,
    )
    expect(seen).toBeGreaterThan(3_500)
    expect(mislabelled / seen).toBeLessThan(0.01)
    expect(queue / seen).toBeLessThan(0.01)
  })
})
