import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import type { CatalogDetail } from '../../engine/message.ts'
import type { Duration } from '../../engine/units.ts'
import type { FeedOptions } from '../../adapters/kalshi/shared.ts'
import { Harness, START } from './harness.ts'
import { NONE } from './world.ts'

/** One thing at a time goes wrong, or simply happens. */
async function quiet(
  markets: number,
  options: Partial<FeedOptions> = {},
  { rate = 20, seed = 11, prepare = (() => {}) as (peer: Harness['peer']) => void } = {},
): Promise<Harness> {
  const h = new Harness(seed, { rule: { series: ['KXSIM'] }, audit: { cacheAge: 0 }, ...options }, (peer) => {
    for (let m = 0; m < markets; m++) peer.add(`KXSIM-E-M${m}`)
    prepare(peer)
  })
  h.keepRows = true
  if (rate > 0) h.busy(rate)
  h.start(NONE)
  await h.run(5)
  await good(h)
  return h
}
const rowsOf = (h: Harness, kind: string, ticker = ''): string[] => h.rows.filter((r) => r.split(' ')[1] === kind && r.includes(ticker))
const good = async (h: Harness): Promise<void> => expect(await h.calm()).toEqual({ mistakes: [], wrong: [] })

describe('a connection', () => {
  it('FEED-10: that is half open is noticed within 15 s and replaced', async () => {
    const h = await quiet(3)
    const before = h.virtual.now
    h.virtual.silenceAll()
    await h.run(14)
    expect(h.synced).toBe(3)
    await h.run(4)
    await good(h)
    expect((h.virtual.connects.at(-1) as number) - before).toBeLessThan(16_000_000)
    expect(h.status().drops).toEqual({ 'no sign of life': 1 })
  })

  it('FEED-28: that is closed at once, for ten minutes, is tried with patience', async () => {
    const h = await quiet(2, {}, { rate: 2 })
    const before = h.virtual.connects.length
    const flap = (): void => {
      h.virtual.resetAll()
      if (h.virtual.now < START + 605_000_000) h.virtual.after(100_000, flap)
    }
    flap()
    await h.run(600)
    // Six a minute, what was saved at the start, and the breaker after ten failures.
    expect(h.virtual.connects.length - before).toBeLessThan(6 * 10 + 10)
    await h.run(400)
    h.quiet()
    await h.run(3)
    await good(h)
  })

  it('is given up when the key is refused again and again, with one sentence', async () => {
    const h = await quiet(1, {}, { rate: 1 })
    h.virtual.refuse = 401
    h.virtual.resetAll()
    await h.run(20)
    await expect(h.feed.batches().next()).rejects.toThrow(/refuses the handshake \(401\): check the key/)
  })

  it('FEED-12: whose news is old is stale, and its books are not used', async () => {
    const h = await quiet(2, {}, { rate: 50 })
    // Two seconds behind: not enough to reconnect, too much to trade on.
    h.peer.lie = (text) =>
      text
        .replace(/"ts":"([^"]+)"/, (_, t: string) => `"ts":"${new Date(Date.parse(t) - 2_000).toISOString()}"`)
        .replace(/"ts_ms":(\d+)/, (_, t: string) => `"ts_ms":${Number(t) - 2_000}`)
    await h.run(6)
    expect(h.synced).toBe(0)
    expect(rowsOf(h, 'sync').at(-1)).toContain('stale')
    h.peer.lie = null
    await h.run(5)
    await good(h)
  })
})

describe('times of the exchange', () => {
  for (const [name, ms] of [
    ['of 1970', () => 0],
    ['of an hour ahead', (t: number) => t + 3_600_000],
    ['of 2100', () => Date.parse('2100-01-01T00:00:00Z')],
    ['of two hours ago', (t: number) => t - 7_200_000],
  ] as const)
    it(`FEED-18: ${name} move no timer, make the books stale until they make sense, and lead to another connection`, async () => {
      const h = await quiet(2, {}, { rate: 50 })
      h.peer.lie = (text) =>
        text
          .replace(/"ts":"([^"]+)"/, (_, t: string) => `"ts":"${new Date(ms(Date.parse(t))).toISOString()}"`)
          .replace(/"ts_ms":(\d+)/, (_, t: string) => `"ts_ms":${ms(Number(t))}`)
      await h.run(6)
      expect([h.synced, rowsOf(h, 'sync').at(-1)]).toEqual([0, expect.stringContaining('stale')])
      expect(h.status().links[0]).toMatchObject({ connects: 1, stale: true })
      await h.run(30)
      // Not once after another: each gets its time. And none of them is believed for a moment.
      const from = h.rows.length
      await h.run(60)
      expect(h.status().drops).toEqual({ 'its times make no sense': 3 })
      expect(h.synced).toBe(0)
      const rows = h.rows.slice(from).map((r) => r.split(' '))
      for (const [i, r] of rows.entries())
        if (r[1] === 'level' && (Number(r[6]) & 1) === 1) expect([rows[i + 1]?.[1], rows[i + 1]?.[2]]).toEqual(['sync', r[2]])
      // Rows have times that can be lived with.
      expect(h.rows.every((r) => Math.abs(Number(r.split(' ')[0]) - START) < 200_000_000)).toBe(true)
      h.peer.lie = null
      await h.run(5)
      await good(h)
      expect(h.status().links[0]?.stale).toBe(false)
    })
})

describe('a subscription', () => {
  it('FEED-17: that the exchange ends is opened anew', async () => {
    for (const code of [10, 25]) {
      const h = await quiet(3)
      for (const session of h.peer.sessions) session.fault('orderbook_delta', code)
      await h.run(2)
      await good(h)
      expect(h.status().links[0]).toMatchObject({ resubscribed: 1, connects: 1 })
    }
  })

  it('FEED-11: that the exchange has lost is found by its own list, and opened anew', async () => {
    const h = await quiet(2)
    for (const session of h.peer.sessions)
      for (const s of session.subscriptions.values()) if (s.channel === 'orderbook_delta') session.subscriptions.delete(s.sid)
    await h.run(62, false)
    expect(await h.calm(false)).toMatchObject({ wrong: [] })
  })

  it('repairs its books by subscribing anew where the exchange has no get_snapshot', async () => {
    const h = await quiet(3, {}, { rate: 40, prepare: (peer) => void (peer.old = true) })
    h.virtual.faults = { ...NONE, drop: 0.01 }
    await h.run(30)
    h.virtual.heal()
    await h.run(10)
    h.quiet()
    await h.run(2)
    await good(h)
    expect(h.status().links[0]?.resubscribed).toBeGreaterThan(0)
  })

  it('FEED-16: that brings what nobody asked for makes no book', async () => {
    const h = await quiet(2, {}, { rate: 0 })
    for (const session of h.peer.sessions)
      for (const s of session.subscriptions.values())
        if (s.channel === 'orderbook_delta') {
          session.push(s, 'orderbook_snapshot', { market_ticker: 'KXOTHER-E-M', yes_dollars_fp: [['0.4000', '1.00']] }, null)
          session.push(
            s,
            'orderbook_delta',
            { market_ticker: 'KXOTHER-E-M', price_dollars: '0.4000', delta_fp: '1.00', side: 'yes', ts_ms: START / 1000 },
            null,
          )
          session.push(
            { ...s, sid: 999, seq: 0 },
            'orderbook_delta',
            { market_ticker: 'KXSIM-E-M0', price_dollars: '0.4000', delta_fp: '1.00', side: 'yes', ts_ms: START / 1000 },
            null,
          )
        }
    await h.run(1)
    expect(h.rows.some((r) => r.includes('KXOTHER'))).toBe(false)
    expect(h.status().links[0]).toMatchObject({ strays: 3, gaps: 0 })
    await good(h)
  })

  it('FEED-15: takes the number of a message that nobody knows', async () => {
    const h = await quiet(2)
    h.peer.lie = (text) => text.replace('"orderbook_delta"', '"orderbook_dream"')
    await h.run(1, false)
    h.peer.lie = null
    expect(h.status().unknownTypes['orderbook_dream']).toBeGreaterThan(0)
    expect(h.virtual.quarantined.filter((q) => q.reason.includes('orderbook_dream'))).toHaveLength(1)
    expect(h.status().links[0]).toMatchObject({ gaps: 0, connects: 1 })
  })
})

describe('the truth', () => {
  it('FEED-08: an audit finds a stream that lies, and a new subscription mends it', async () => {
    const h = await quiet(4, { audit: { cacheAge: 0, every: 5_000_000 } }, { rate: 10 })
    await h.run(60)
    const fair = h.status().counts
    expect(fair['audits']).toBeGreaterThan(20)
    expect(fair['auditsEqual']).toBe(fair['audits'])
    // One digit of one delta, and nobody can see it.
    let lies = 0
    h.peer.lie = (text) => {
      if (lies > 0 || !text.includes('"delta_fp":"') || text.includes('"delta_fp":"-')) return text
      lies++
      return text.replace(/"delta_fp":"(\d+)/, (_, n: string) => `"delta_fp":"${Number(n) + 7}`)
    }
    await h.run(30, false)
    h.quiet()
    await h.run(3, false)
    expect(lies).toBe(1)
    expect(h.status().counts['auditsBroken']).toBeGreaterThan(0)
    expect(h.wrong()).toEqual([])
  })

  it('is watched by a test that can fail: a lie that nobody repairs is a mistake', async () => {
    const h = await quiet(2, { audit: { every: 1e12 } })
    h.peer.lie = (text) => {
      if (!/"delta_fp":"\d/.test(text)) return text
      h.peer.lie = null
      return text.replace(/"delta_fp":"(\d+)/, (_, n: string) => `"delta_fp":"${Number(n) + 7}`)
    }
    await h.run(5)
    expect(h.mistakes.length).toBeGreaterThan(0)
  })

  it('FEED-07: a level below zero breaks the book at once', async () => {
    const h = await quiet(1)
    h.peer.lie = (text) => {
      if (!text.includes('"delta_fp"')) return text
      h.peer.lie = null
      return text.replace(/"delta_fp":"-?[^"]+"/, '"delta_fp":"-99999.00"')
    }
    await h.run(3, false)
    expect(rowsOf(h, 'sync').some((r) => r.includes('negative level'))).toBe(true)
    h.quiet()
    await h.run(3, false)
    expect(h.wrong()).toEqual([])
  })

  it('polls books while a connection is down, marks them, and does not call them synced', async () => {
    const h = await quiet(3)
    h.virtual.refuse = 502
    h.virtual.resetAll()
    const from = h.rows.length
    await h.run(12)
    const polled = h.rows.slice(from).filter((r) => r.split(' ')[1] === 'level')
    expect(polled.length).toBeGreaterThan(20)
    expect(polled.every((r) => (Number(r.split(' ')[6]) & 128) !== 0)).toBe(true)
    expect(h.synced).toBe(0)
    expect([...h.seen.values()].every((m) => m.polled)).toBe(true)
    h.virtual.refuse = null
    await h.run(20)
    await good(h)
  })

  it('FEED-27: every trade is told once, those that were missed too', async () => {
    const h = await quiet(3, {}, { rate: 60 })
    h.virtual.faults = { ...NONE, drop: 0.02, duplicate: 0.05, reset: 0.1 }
    await h.run(60)
    h.virtual.heal()
    h.quiet()
    await h.run(30)
    const told = rowsOf(h, 'trade').length
    const { tradesLate, tradesTwice } = h.status().counts as Record<string, number>
    expect(h.peer.trades.length).toBeGreaterThan(300)
    // What happened before the first subscription is nobody's.
    expect(h.peer.trades.length - told).toBeLessThan(30)
    expect(told).toBeLessThanOrEqual(h.peer.trades.length)
    expect(tradesLate).toBeGreaterThan(0)
    expect(tradesTwice).toBeGreaterThanOrEqual(0)
    // The last minute is whole.
    const from = START + 30_000_000
    const late = h.peer.trades.filter((t) => t.venue > from).length
    expect(rowsOf(h, 'trade').length).toBeGreaterThanOrEqual(late)
  })

  it('FEED-13: a reader that is too slow loses market data as a whole, never a catalog row, and gets whole books again', async () => {
    const h = await quiet(3, { rowsMax: 300 }, { rate: 100 })
    const read = h.read.bind(h)
    h.read = () => false
    h.peer.feeUpdate('KXSIM-E', 'quadratic', 2)
    await h.run(20, false)
    expect(h.status().rowsWaiting).toBeLessThan(400)
    h.peer.add('KXSIM-E-LATE')
    await h.run(70, false)
    h.read = read
    await h.run(5, false)
    h.quiet()
    await h.run(2)
    await good(h)
    expect(h.status().counts['chokes']).toBe(1)
    expect(h.status().rowsDropped).toBeGreaterThan(100)
    // Told before everything was thrown away.
    expect(rowsOf(h, 'fee').some((r) => r.includes('20000'))).toBe(true)
    expect(h.market('KXSIM-E-LATE')?.synced).toBe(true)
  })
})

describe('a market', () => {
  it('opens and closes without a word, is determined and paid, and is forgotten', async () => {
    const h = await quiet(
      0,
      {},
      {
        prepare: (peer) => {
          peer.add('KXSIM-E-A', { open: START + 20_000_000, close: START + 50_000_000, status: 'initialized' })
          peer.add('KXSIM-E-B')
        },
      },
    )
    await h.run(1)
    const a = h.peer.markets.get('KXSIM-E-A')
    expect(h.market('KXSIM-E-A')?.status).toBe('initialized')
    h.virtual.after(START + 20_000_000 - h.virtual.now, () => void (a!.status = 'active'))
    h.virtual.after(START + 50_000_000 - h.virtual.now, () => void (a!.status = 'closed'))
    await h.run(20)
    expect(h.market('KXSIM-E-A')?.status).toBe('active')
    await h.run(40)
    expect(rowsOf(h, 'status', 'KXSIM-E-A').map((r) => [Number(r.split(' ')[0]) - START, r.split(' ').at(-1)])).toEqual([
      [20_000_000, '{"status":"active"}'],
      [52_000_000, '{"status":"closed"}'],
    ])
    h.peer.settle(a!, 'yes')
    await h.run(1)
    expect(rowsOf(h, 'determined')).toHaveLength(1)
    expect(rowsOf(h, 'settled')).toHaveLength(1)
    await h.run(130)
    expect(h.status().markets.map((m) => m.ticker)).toEqual(['KXSIM-E-B'])
    expect(h.mistakes).toEqual([])
  })

  it('tells fees, halts, moved closes and results that only REST knows', async () => {
    const h = await quiet(2)
    const [a, b] = [...h.peer.markets.values()]
    h.peer.feeUpdate('KXSIM-E', 'quadratic_with_maker_fees', 2)
    h.peer.lifecycle({ market_ticker: a!.ticker, event_type: 'deactivated', is_deactivated: true })
    await h.run(1)
    h.peer.lifecycle({ market_ticker: a!.ticker, event_type: 'activated', is_deactivated: false })
    h.peer.lifecycle({ market_ticker: a!.ticker, event_type: 'close_date_updated', close_ts: START / 1e6 + 7200 })
    a!.close = START + 7_200_000_000
    h.peer.feeUpdate('KXSIM-E', null, null)
    await h.run(1)
    expect(rowsOf(h, 'fee').map((r) => r.split(' ').at(-1))).toEqual([
      '{"type":"quadratic_with_maker_fees","multiplier":20000}',
      '{"type":"quadratic_with_maker_fees","multiplier":20000}',
      '{"type":"quadratic","multiplier":5000}',
      '{"type":"quadratic","multiplier":5000}',
    ])
    expect(rowsOf(h, 'status', a!.ticker).map((r) => r.split(' ').at(-1))).toEqual([
      '{"status":"inactive"}',
      '{"status":"active"}',
      `{"status":"active","closeTime":${START + 7_200_000_000}}`,
    ])
    // The exchange pauses, and goes on.
    h.peer.trading = false
    await h.run(16)
    expect(h.market(b!.ticker)?.status).toBe('inactive')
    h.peer.trading = true
    await h.run(16)
    expect(h.market(b!.ticker)?.status).toBe('active')
    // The stream is silent about its end.
    b!.status = 'finalized'
    b!.result = 'no'
    await h.run(61)
    expect(rowsOf(h, 'determined', b!.ticker).map((r) => r.split(' ').at(-1))).toEqual(['{"result":"no","value":0}'])
    expect(rowsOf(h, 'settled', b!.ticker)).toHaveLength(1)
    expect(h.mistakes).toEqual([])
  })

  it('that its reader knows from before is told as he knows it, then what has changed, and is followed until it has paid, whatever the rule says', async () => {
    const MINUTE = 60_000_000
    const catalog = (ticker: string, more: Partial<CatalogDetail> = {}): CatalogDetail => ({
      ticker,
      event: 'KXSIM-E',
      series: 'KXSIM',
      title: 'as it was',
      exclusive: true,
      strike: null,
      openTime: START - 60 * MINUTE,
      closeTime: START + 86_400_000_000,
      status: 'active',
      grid: [{ start: 0, end: 10_000, step: 100 }],
      fee: { type: 'quadratic', multiplier: 5_000 },
      ...more,
    })
    const known = (
      ticker: string,
      more: Partial<CatalogDetail> = {},
      result: string | null = null,
      settlementValue: number | null = null,
    ) => ({
      catalog: catalog(ticker, more),
      result,
      settlementValue,
    })
    const h = await quiet(
      0,
      {
        // Nothing fits this rule.
        rule: { series: ['KXSIM'], closeWithin: MINUTE as Duration },
        known: [
          known('KXSIM-E-SAME'),
          known('KXSIM-E-HALT', { status: 'inactive' }),
          known('KXSIM-E-OPENED', { status: 'initialized', openTime: START - 10 * MINUTE }),
          known('KXSIM-E-LONGER', { status: 'closed', closeTime: START - 10 * MINUTE }),
          known('KXSIM-E-OVER', { closeTime: START - 30 * MINUTE, fee: { type: 'flat', multiplier: 1 } }),
          known('KXSIM-E-DECIDED', { status: 'determined', closeTime: START - 30 * MINUTE }, 'yes', 10_000),
          known('KXSIM-E-WAITS', { closeTime: START - 5 * MINUTE }),
          known('KXSIM-E-GONE'),
        ],
      },
      {
        prepare: (peer) => {
          for (const name of ['SAME', 'HALT', 'OPENED', 'LONGER']) peer.add(`KXSIM-E-${name}`)
          peer.add('KXSIM-E-OVER', { close: START - 30 * MINUTE, status: 'finalized', result: 'no' })
          peer.add('KXSIM-E-DECIDED', { close: START - 30 * MINUTE, status: 'finalized', result: 'yes' })
          peer.add('KXSIM-E-WAITS', { close: START - 5 * MINUTE, status: 'closed' })
        },
      },
    )
    const told = (name: string): string[] =>
      h.rows
        .filter((r) => r.split(' ')[2] === `KXSIM-E-${name}` && /^(status|grid|fee|determined|settled)$/.test(r.split(' ')[1] as string))
        .map((r) => `${r.split(' ')[1]} ${r.slice(r.indexOf('{'))}`)
    const longer = START + 86_400_000_000
    expect(Object.fromEntries(['SAME', 'HALT', 'OPENED', 'LONGER', 'OVER', 'DECIDED', 'WAITS', 'GONE'].map((n) => [n, told(n)]))).toEqual({
      SAME: [],
      HALT: ['status {"status":"active"}'],
      OPENED: ['status {"status":"active"}'],
      LONGER: [`status {"status":"closed","closeTime":${longer}}`, 'status {"status":"active"}'],
      OVER: ['status {"status":"closed"}', 'determined {"result":"no","value":0}', 'settled {}'],
      DECIDED: ['settled {}'],
      WAITS: ['status {"status":"closed"}'],
      GONE: [],
    })
    expect(rowsOf(h, 'catalog').every((r) => r.includes('as it was'))).toBe(true)
    expect(h.synced).toBe(4)
    expect(h.status().troubles).toEqual({ 'KXSIM-E-GONE': expect.stringContaining('does not list it any more') })
    h.peer.add('KXSIM-E-NEW')
    // It pays when the exchange does, and only then is it forgotten.
    const waits = h.peer.markets.get('KXSIM-E-WAITS')
    await h.run(70)
    expect(h.status().markets.some((m) => m.ticker === 'KXSIM-E-WAITS')).toBe(true)
    Object.assign(waits ?? {}, { status: 'finalized', result: 'yes' })
    await h.run(70)
    expect(told('WAITS').slice(1)).toEqual(['determined {"result":"yes","value":10000}', 'settled {}'])
    expect(
      h
        .status()
        .markets.map((m) => m.ticker.slice(8))
        .sort(),
    ).toEqual(['HALT', 'LONGER', 'OPENED', 'SAME'])
    expect(h.mistakes).toEqual([])
  })

  it('has outside series beside it, and rows are gathered when they may be', async () => {
    const h = await quiet(1, { indices: ['BRTI'], batchMs: 400 })
    h.peer.index('BRTI', '91234.5')
    await h.run(1)
    expect(rowsOf(h, 'external').map((r) => r.split(' ').at(-1))).toEqual([
      '{"series":"cfbenchmarks_value:BRTI","value":91234.5,"revision":0}',
    ])
    // A reader who waits gets a batch every 400 ms, whatever comes in between.
    h.read = () => false
    const times: number[] = []
    const reader = (async () => {
      for await (const batch of h.feed.batches()) if (batch.length > 0) times.push(h.virtual.now)
    })()
    await h.run(4, false)
    h.feed.stop()
    await reader
    expect(times.length).toBeGreaterThan(5)
    for (let i = 2; i < times.length - 1; i++) expect((times[i] as number) - (times[i - 1] as number)).toBeGreaterThanOrEqual(399_000)
  })

  it('FEED-19: whose grid changes is not used until its book is read anew on the new grid; an unknown fee is not traded at all', async () => {
    const h = await quiet(2, {}, { rate: 0 })
    const [a] = [...h.peer.markets.values()]
    h.peer.lifecycle({
      market_ticker: a!.ticker,
      event_type: 'price_level_structure_updated',
      price_level_structure: 'deci_cent',
      price_ranges: [{ start: '0.0000', end: '1.0000', step: '0.0010' }],
    })
    await h.run(1)
    expect(rowsOf(h, 'grid', a!.ticker)).toHaveLength(1)
    expect(rowsOf(h, 'sync', a!.ticker).at(-1)).toContain('grid changed')
    await good(h)
    h.peer.feeUpdate('KXSIM-E', 'margin_market_maker_program_fees', 1)
    await h.run(1)
    expect(h.synced).toBe(0)
    expect(Object.values(h.status().troubles).join()).toMatch(/fee .* is not known/)
  })

  it('by the thousand are born and die, and leave memory flat', async () => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const h = new Harness(5, { rule: { series: ['KXSIM'], marketsMax: 800 }, marketsPerSocket: 200, refreshEvery: 30_000_000 }, () => {})
    let born = 0
    const heaps: number[] = []
    h.start(NONE)
    const generation = async (): Promise<void> => {
      const now = h.virtual.now
      for (let i = 0; i < 400; i++, born++) h.peer.add(`KXSIM-${Math.floor(born / 4)}-M${born}`, { open: now - 1, close: now + 60_000_000 })
      await h.run(50, false)
      for (let i = 0; i < 400; i++) h.peer.act()
      await h.run(15, false)
      for (const market of h.peer.markets.values()) if (market.status === 'active') h.peer.settle(market, 'no')
      await h.run(125, false)
      h.peer.markets.clear()
      h.forget()
      gc()
      heaps.push(process.memoryUsage().heapUsed / 1e6)
    }
    while (born < 10_000) await generation()
    const { counts, markets } = h.status()
    expect(counts['births']).toBe(10_000)
    expect(counts['deaths']).toBe(10_000)
    expect(markets).toEqual([])
    const early = heaps.slice(4, 8).reduce((a, b) => a + b) / 4
    const late = heaps.slice(-4).reduce((a, b) => a + b) / 4
    process.stdout.write(`10,000 births and deaths: heap ${early.toFixed(1)} MB after 2,400, ${late.toFixed(1)} MB after 10,000\n`)
    expect(late - early).toBeLessThan(4)
  }, 300_000)
})
