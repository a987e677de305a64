import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { afterEach, describe, expect, it } from 'vitest'
import { download, type DownloadOptions, type DownloadRequest } from '../../../adapters/kalshi/index.ts'
import { PageStore } from '../../../adapters/kalshi/download/pages.ts'
import { importRestTrades } from '../../../data/import/rest-trades.ts'
import { openTape } from '../../../data/tape-reader.ts'
import { verifyTape } from '../../../data/verify.ts'
import { formatDecimal, MINUTE, parseQuantity, SECOND } from '../../../engine/units.ts'
import { integer, random } from '../../support/random.ts'
import { folder, iso, removeFolders, rowsOf, type TapeRow } from '../../support/tapes.ts'
import { playedPast, reader, request, truth, type Past } from './past.ts'

/** Downloads against what the exchange itself says it has traded, and against servers that hand out wrong pages. */

const pasts: Past[] = []
const servers: Server[] = []
afterEach(async () => {
  for (const p of pasts.splice(0)) await p.stop()
  for (const s of servers.splice(0)) {
    s.closeAllConnections()
    s.close()
  }
  removeFolders()
})
async function past(options: Parameters<typeof playedPast>[0] = {}): Promise<Past> {
  const p = await playedPast(options)
  pasts.push(p)
  return p
}
const LAG = 100_000
async function get(url: string, wanted: DownloadRequest, options: Partial<DownloadOptions> = {}, before?: Parameters<typeof reader>[1]) {
  const tape = options.tape ?? join(folder(), 'tape')
  const r = reader(url, before)
  try {
    const summary = await download(r.rest, wanted, { tape, lag: LAG, ...options })
    return { tape, summary, turns: r.turns(), rows: await rowsOf(tape) }
  } finally {
    await r.close()
  }
}
/** Within one µs the order of different markets is the tape's own. */
const traded = (rows: readonly TapeRow[]): string[] =>
  rows.filter((r) => r.kind === 'trade').map((r) => `${r.timeVenue} ${r.ticker} ${r.side} ${r.price} ${r.quantity}`)

describe('a download', () => {
  it('is what the exchange traded, listed, charged and paid, on both sides of a cutoff that moves while it is read', async () => {
    const p = await past({
      during: (x, minute) => {
        if (minute === 4) x.seriesFee('KXPRACTICE15M', { type: 'quadratic_with_maker_fees', multiplier: 5_000 })
        if (minute === 12) x.seriesFee('KXPRACTICE15M', { type: 'quadratic', multiplier: 10_000 })
        const event = [...x.events.keys()].at(-1) as string
        if (minute === 14) x.eventFee(event, { type: 'quadratic', multiplier: 20_000 })
        if (minute === 16) x.eventFee(event, null)
      },
    })
    const { x, start } = p
    const middle = x.trades[Math.floor(x.trades.length / 3)]?.time ?? 0
    x.cutoff = { ...x.cutoff, settled: start + 15 * MINUTE, trades: middle }
    const moved: string[] = []
    const wanted = request(p, { candles: 1 })
    const { tape, summary, rows } = await get(p.server.url, wanted, {}, ({ url }) => {
      // What was live when its first page was read is in the archive when the second is asked for.
      if (moved.length === 0 && url.includes('/markets/trades') && url.includes('cursor')) {
        moved.push(url)
        x.cutoff = { ...x.cutoff, settled: start + 25 * MINUTE, trades: start + 22 * MINUTE }
      }
    })
    expect(moved).toHaveLength(1)
    expect(await verifyTape(tape)).toEqual([])
    expect(traded(rows)).toEqual(truth(x, p.start, p.end))
    expect(x.trades.length).toBeGreaterThan(4_000)
    expect(rows.filter((r) => r.kind !== 'sync').every((r) => r.time === r.timeVenue + LAG)).toBe(true)
    expect(summary).toMatchObject({ askedAgain: 0, broken: [], built: { volumeUnequal: [], quarantined: 0 } })
    expect(summary.built?.volumeCompared).toBeGreaterThanOrEqual(4)

    const opened = await openTape(tape)
    const { manifest } = opened
    expect(manifest).toMatchObject({ depth: 'prints', lagMax: LAG, source: 'kalshi-rest (local exchange)', practice: true })
    expect(manifest.remarks).toContain('Each row is known 100 ms after the time of the exchange: a declared lag, not a measured one')
    for (const row of await opened.markets()) {
      const m = x.markets.get(row.ticker)
      if (m === undefined) throw new Error('a market that the exchange does not know')
      const over = m.status !== 'active'
      expect(row).toMatchObject({
        event: m.event.ticker,
        series: 'KXPRACTICE15M',
        exclusive: false,
        gridBasis: 'stated',
        openTime: m.openTime,
        closeTime: m.closeTime,
        result: m.result === '' ? null : m.result,
        settlementValue: m.value < 0 ? null : m.value,
        ...(m.settled < 0 ? {} : { settledTime: m.settled }),
        venueQuantity: over ? m.volume : null,
      })
    }
    // The first change has no rule before it: nobody says it.
    const firstBorn = rows.filter((r) => r.kind === 'catalog')[0]
    expect(firstBorn?.detail?.['fee']).toEqual({ type: 'quadratic', multiplier: 10_000 })
    expect(manifest.remarks.join('\n')).toMatch(/Fees of \d markets? assumed for a part of the time/)
    const fees = rows.filter((r) => r.kind === 'fee').map((r) => [Math.round((r.timeVenue - start) / MINUTE), r.detail?.['multiplier']])
    expect(fees).toEqual(
      expect.arrayContaining([
        [4, 5_000],
        [12, 10_000],
        [14, 20_000],
        [16, 10_000],
      ]),
    )
    // Candles: the exchange's own, from both sides, once.
    const candles = rows.filter((r) => r.kind === 'candle')
    const own = [...x.markets.values()].flatMap((m) =>
      m.candles.query(p.start, p.end, MINUTE).map((c) => `${m.ticker} ${c.end} ${c.volume} ${c.price?.close ?? null} ${c.bid.low}`),
    )
    const got = candles.map(({ ticker, detail: d }) => {
      const price = d?.['price'] as { close: number } | null
      return `${ticker} ${String(d?.['end'])} ${String(d?.['volume'])} ${price?.close ?? null} ${(d?.['bid'] as { low: number } | null)?.low}`
    })
    expect(got.sort()).toEqual(own.sort())
    expect(manifest.byKind.candle).toBe(own.length)
    // The same again from nothing is the same tape.
    const again = await get(p.server.url, wanted)
    const files = async (dir: string) => (await openTape(dir)).manifest.files.filter((f) => f.path.startsWith('messages/'))
    expect(await files(again.tape)).toEqual(await files(tape))
  })

  it('of a part of the time says what cannot be compared, and knows older markets from its beginning on', async () => {
    const p = await past({ minutes: 24 })
    const [from, to] = [p.start + 5 * MINUTE, p.start + 17 * MINUTE]
    const { rows, summary, tape } = await get(p.server.url, request(p, { from, to }))
    expect(traded(rows)).toEqual(truth(p.x, from, to))
    expect(rows[0]).toMatchObject({ kind: 'catalog', timeVenue: from })
    expect(summary.built?.volumeCompared).toBe(0)
    expect(summary.notCompared).toBe(4)
    const { manifest } = await openTape(tape)
    expect(manifest.remarks.join('\n')).toMatch(
      /4 markets opened before or closed after the range: the volume of the exchange is not comparable/,
    )
    // One market, and one event.
    const ticker = [...p.x.markets.keys()][0] as string
    const event = [...p.x.events.keys()].at(-1) as string
    const one = await get(p.server.url, request(p, { series: [], markets: [ticker], events: [event], from: 0, open: true }))
    expect(new Set(one.rows.map((r) => r.ticker))).toEqual(
      new Set([ticker, ...(p.x.events.get(event)?.markets ?? []).map((m) => m.ticker)]),
    )
  })

  it.each([
    ['too many requests', { on: 'request', do: 'too-many', every: 3 }],
    ['failures of the exchange', { on: 'request', do: 'status', status: 503, every: 3 }],
    ['pages of a proxy', { on: 'request', do: 'html', status: 502, every: 4 }],
    ['lost answers', { on: 'request', do: 'reset', every: 4 }],
  ] as const)('comes through %s', async (_, rule) => {
    const p = await past({ minutes: 12, rules: [rule] })
    const { rows, turns, summary } = await get(p.server.url, request(p))
    expect(traded(rows)).toEqual(truth(p.x))
    expect(turns).toBeGreaterThan(summary.pages)
    expect(p.server.faults.log.length).toBeGreaterThan(3)
  })
})

describe('kept pages', () => {
  it('are cut off at any byte, and the next call goes on from there without asking for whole pages again', async () => {
    const p = await past({ minutes: 14 })
    const tape = join(folder(), 'tape')
    const whole = await get(p.server.url, request(p), { tape, keep: true })
    const pages = join(`${tape}.download`, 'pages.ndjson')
    const bytes = readFileSync(pages)
    const lines = bytes.toString().split('\n').slice(0, -1)
    expect(whole.turns).toBe(lines.length)
    const next = random(7)
    for (let i = 0; i < 5; i++) {
      const other = join(folder(), 'tape')
      const cut = integer(next, 1, bytes.length - 1)
      const store = await PageStore.open(other, request(p))
      await store.close()
      writeFileSync(join(`${other}.download`, 'pages.ndjson'), bytes.subarray(0, cut))
      const kept = bytes.subarray(0, cut).toString().split('\n').length - 1
      const r = await get(p.server.url, request(p), { tape: other })
      expect([r.turns, r.summary.pagesKept, r.summary.pages]).toEqual([lines.length - kept, kept, lines.length])
      expect(traded(r.rows)).toEqual(traded(whole.rows))
      expect(existsSync(`${other}.download`)).toBe(false)
    }
    // The tape stands and the folder was left: nothing is asked, nothing built.
    const left = await get(p.server.url, request(p), { tape, keep: true })
    expect([left.turns, left.summary.built]).toEqual([0, null])
  })

  it('that were changed, belong to another request or to a living process are refused', async () => {
    const p = await past({ minutes: 4 })
    const tape = join(folder(), 'tape')
    const { summary } = await get(p.server.url, request(p), { tape, keep: true })
    const pages = join(summary.folder, 'pages.ndjson')
    const refusal = (options: Partial<DownloadOptions>, wanted = request(p)): Promise<unknown> =>
      get(p.server.url, wanted, { tape, replace: true, ...options }).then(
        () => 'accepted',
        (e: unknown) => (e as Error).message,
      )
    expect(await refusal({}, request(p, { to: p.end + SECOND }))).toMatch(
      /keeps the pages of another request \(to was \d+\): give the same options/,
    )
    writeFileSync(join(summary.folder, 'lock'), '1')
    expect(await refusal({})).toMatch(/is being worked on by process 1: wait for it/)
    // One that was killed and not cleared away has a number still, and works on nothing.
    const shell = spawn('sh', ['-c', 'sleep 60 & echo $!; kill -9 $!; exec sleep 5'])
    const [line] = (await once(shell.stdout, 'data')) as [Buffer]
    await new Promise((resolve) => setTimeout(resolve, 200))
    writeFileSync(join(summary.folder, 'lock'), line.toString().trim())
    expect(await refusal({})).toBe('accepted')
    shell.kill()
    await get(p.server.url, request(p), { tape, keep: true, replace: true })
    writeFileSync(join(summary.folder, 'lock'), '999999999')
    const file = openSync(pages, 'r+')
    writeSync(file, '#', 200)
    closeSync(file)
    expect(await refusal({})).toMatch(/pages.ndjson:1 is not what was written: give --restart/)
    expect(await refusal({ restart: true })).toBe('accepted')
    // A torn last line alone is cut off.
    await get(p.server.url, request(p), { tape, keep: true, replace: true })
    truncateSync(pages, readFileSync(pages).length - 3)
    expect(await refusal({})).toBe('accepted')
  })
})

type Trade = { trade_id: string; created_time: string }
/** A server of one settled market whose pages are scripted: `page` gets the cursor and how often trades were asked for. */
async function scripted(
  volume: string | ((turn: number) => string),
  page: (cursor: string, turn: number) => { trades: readonly unknown[]; next: string },
  more: Readonly<Record<string, unknown>> = {},
): Promise<{ url: string; asked: string[] }> {
  const T = 1_795_000_000_000_000
  const asked: string[] = []
  let turn = 0
  const trade = (n: number): Trade & Record<string, unknown> => ({
    trade_id: `t${n}`,
    ticker: 'KXA-B-C',
    count_fp: '1.00',
    yes_price_dollars: '0.5000',
    no_price_dollars: '0.5000',
    taker_outcome_side: 'yes',
    taker_book_side: 'bid',
    created_time: iso(T + n * 1_000_000),
  })
  const server = createServer((incoming, response) => {
    const { pathname, searchParams } = new URL(incoming.url ?? '', 'http://x')
    const path = pathname.replace('/trade-api/v2', '')
    asked.push(path)
    const market = {
      ticker: 'KXA-B-C',
      event_ticker: 'KXA-B',
      status: 'finalized',
      open_time: iso(T),
      close_time: iso(T + 3_600_000_000),
      settlement_ts: iso(T + 3_700_000_000),
      result: 'yes',
      price_ranges: [{ start: '0.0000', end: '1.0000', step: '0.0100' }],
      yes_bid_dollars: '0.0000',
      yes_ask_dollars: '1.0000',
      volume_fp:
        typeof volume === 'string' ? volume : volume(asked.filter((a) => a.startsWith('/markets') && !a.includes('trades')).length),
      volume_24h_fp: '0.00',
      settlement_timer_seconds: 60,
      ...more,
    }
    const answer = (): unknown => {
      if (path === '/historical/cutoff')
        return { market_settled_ts: iso(T - 3e13), trades_created_ts: iso(T - 3e13), orders_updated_ts: iso(T) }
      if (path === '/markets') return { markets: [market], cursor: '' }
      if (path === '/markets/KXA-B-C') return { market }
      if (path === '/events')
        return { events: [{ event_ticker: 'KXA-B', series_ticker: 'KXA', mutually_exclusive: true, title: 'A' }], cursor: '' }
      if (path === '/series/KXA') return { series: { ticker: 'KXA', title: 'A', fee_type: 'quadratic', fee_multiplier: 1 } }
      if (path === '/series/fee_changes') return { series_fee_change_arr: [] }
      if (path === '/events/fee_changes') return { event_fee_changes: [], cursor: '' }
      if (path === '/markets/trades') {
        const { trades, next } = page(searchParams.get('cursor') ?? '', ++turn)
        return { trades: trades.map((t) => (typeof t === 'number' ? trade(t) : t)), cursor: next }
      }
      return null
    }
    const body = answer()
    response.writeHead(body === null ? 404 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body ?? { error: { code: 'not_found', message: 'not found' } }))
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}
const ONE = request({ start: 1_794_999_000_000_000, end: 1_795_004_000_000_000 }, { series: [], markets: ['KXA-B-C'] })
const ids = (rows: readonly TapeRow[]): number[] =>
  rows.filter((r) => r.kind === 'trade').map((r) => (r.timeVenue - 1_795_000_000_000_000) / 1_000_000)

describe('a server with wrong pages', () => {
  it('that repeats trades on the next page has them counted once', async () => {
    const s = await scripted('5.00', (cursor) => (cursor === '' ? { trades: [5, 4, 3], next: 'a' } : { trades: [3, 2, 1], next: '' }))
    const { rows, summary } = await get(s.url, ONE)
    expect(ids(rows)).toEqual([1, 2, 3, 4, 5])
    expect(summary).toMatchObject({ repeatedItems: 1, broken: [], askedAgain: 0, built: { duplicates: 1, volumeEqual: 1 } })
  })

  it('that skips a page is asked again, and what is found then is taken', async () => {
    const s = await scripted('4.00', (cursor, turn) =>
      cursor === '' ? { trades: [4, 3], next: 'a' } : turn === 2 ? { trades: [1], next: '' } : { trades: [2, 1], next: '' },
    )
    const { rows, summary, tape } = await get(s.url, ONE)
    expect(ids(rows)).toEqual([1, 2, 3, 4])
    expect(summary).toMatchObject({ askedAgain: 1, mended: 1, built: { volumeUnequal: [] } })
    expect((await (await openTape(tape)).markets())[0]).toMatchObject({ exclusive: true, tradedQuantity: 400, venueQuantity: 400 })
  })

  it('that states its volume late is believed the second time', async () => {
    const s = await scripted(
      (turn) => (turn < 2 ? '1.00' : '2.00'),
      () => ({ trades: [2, 1], next: '' }),
    )
    expect((await get(s.url, ONE)).summary).toMatchObject({ askedAgain: 1, mended: 1, built: { volumeUnequal: [] } })
  })

  it('whose trades never make up the volume is named, in the summary and on the tape', async () => {
    const s = await scripted('9.00', () => ({ trades: [2, 1], next: '' }))
    const { summary, tape } = await get(s.url, ONE)
    expect(summary).toMatchObject({
      askedAgain: 1,
      mended: 0,
      built: { volumeUnequal: [{ ticker: 'KXA-B-C', contracts: 2, exchange: 9 }] },
    })
    const opened = await openTape(tape)
    expect(opened.manifest.remarks.join('\n')).toMatch(/do not make up the volume of the exchange: KXA-B-C \(2 of 9 contracts\)/)
    expect((await opened.markets())[0]).toMatchObject({ tradedQuantity: 200, venueQuantity: 900 })
  })

  it.each([
    ['the same cursor for ever', () => 'a'],
    ['two cursors in turn', (_: string, turn: number) => (turn % 2 === 0 ? 'a' : 'b')],
    ['always a new cursor to the first page', (_: string, turn: number) => `c${turn}`],
  ] as const)('that hands out %s ends, and the market is named as not whole', async (_, next) => {
    const s = await scripted('3.00', (cursor, turn) => ({ trades: [3, 2], next: next(cursor, turn) }))
    const { summary, rows, tape } = await get(s.url, ONE)
    expect(ids(rows)).toEqual([2, 3])
    expect(s.asked.length).toBeLessThan(40)
    expect(summary.broken).toContain('trades/live/KXA-B-C')
    expect((await openTape(tape)).manifest.remarks.join('\n')).toMatch(/Trades of 1 market do not come to their end .*: KXA-B-C/)
  })

  it('that has forgotten a cursor when the call goes on is walked from the start', async () => {
    let forgotten = false
    const s = await scripted('4.00', (cursor) => {
      if (cursor === '' || (cursor === 'a' && forgotten)) return { trades: [4, 3], next: forgotten && cursor === '' ? 'n' : 'a' }
      return { trades: [2, 1], next: '' }
    })
    const tape = join(folder(), 'tape')
    const r = reader(s.url, ({ url }) => {
      if (url.includes('cursor=a') && !forgotten) r.rest.stop()
    })
    await expect(download(r.rest, ONE, { tape, lag: LAG })).rejects.toMatchObject({ code: 'STOPPED' })
    await r.close()
    forgotten = true
    const { rows, summary } = await get(s.url, ONE, { tape })
    expect(ids(rows)).toEqual([1, 2, 3, 4])
    expect(summary).toMatchObject({ broken: [], built: { volumeUnequal: [] } })
  })
})

const recorded = fileURLToPath(new URL('../../../../shared/data/nolicence/', import.meta.url))
const here = existsSync(recorded)
describe.skipIf(!here)(
  here ? 'a real market served page by page' : 'a real market served page by page (skipped: ../shared/data is not there)',
  () => {
    it('becomes the tape that an import of the recorded answer becomes', async () => {
      const file = join(recorded, 'nikhilr5_KXETH15M-26MAY150600-00_trades.json.gz')
      const trades = JSON.parse(gunzipSync(readFileSync(file)).toString()) as { count_fp: string; ticker: string }[]
      const volume = trades.reduce((sum, t) => sum + parseQuantity(t.count_fp), 0)
      const market = {
        ticker: trades[0]?.ticker,
        event_ticker: 'KXETH15M-26MAY150600',
        open_time: '2026-05-15T09:45:00Z',
        close_time: '2026-05-15T10:00:00Z',
        settlement_ts: '2026-05-15T10:02:00Z',
        price_ranges: [{ start: '0.0000', end: '1.0000', step: '0.0010' }],
        volume_fp: formatDecimal(volume, 2),
      }
      const s = await scripted(
        '',
        (cursor) => {
          const at = Number(cursor)
          return { trades: trades.slice(at, at + 1000), next: at + 1000 < trades.length ? String(at + 1000) : '' }
        },
        market,
      )
      const from = Date.parse('2026-05-15T09:00:00Z') * 1000
      const { rows, summary } = await get(
        s.url,
        { ...ONE, markets: [String(market.ticker)], from, to: from + 2 * 3_600_000_000 },
        { lag: 0 },
      )
      expect(summary).toMatchObject({ broken: [], askedAgain: 0, built: { volumeEqual: 1, quarantined: 0 } })
      const dir = folder()
      writeFileSync(
        join(dir, 'markets.json'),
        JSON.stringify({ markets: [{ status: 'finalized', result: 'yes', settlement_timer_seconds: 60, ...market }] }),
      )
      await importRestTrades([file], join(dir, 'tape'), { markets: [join(dir, 'markets.json')] })
      const imported = await rowsOf(join(dir, 'tape'))
      const plain = (all: readonly TapeRow[]): unknown[] =>
        all.map((r) => (r.kind === 'catalog' ? { ...r, detail: { ...r.detail, title: '' } } : r))
      expect(trades.length).toBeGreaterThan(2_000)
      expect(plain(rows)).toEqual(plain(imported))
    })
  },
)
