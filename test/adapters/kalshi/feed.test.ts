import { constants, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { FeedCore } from '../../../adapters/kalshi/core.ts'
import { FileQuarantine, Kalshi, systemWorld } from '../../../adapters/kalshi/index.ts'
import { framesOf, type Frame } from '../../../data/import/frames.ts'
import { importKalshiWs } from '../../../data/import/kalshi-ws.ts'
import { receiveOf } from '../../../data/import/survey.ts'
import { openTape } from '../../../data/tape-reader.ts'
import { Flag, Kind, KIND_NAMES, type Batch, type CatalogDetail } from '../../../engine/message.ts'
import { formatPrice, parsePrice } from '../../../engine/units.ts'
import { Peer, type Levels } from '../../simulation/peer.ts'

const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const folders: string[] = []
const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true })
})
const folder = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'tapeline-'))
  folders.push(dir)
  return dir
}
const until = async (condition: () => boolean, what: string): Promise<void> => {
  const end = performance.now() + 15_000
  while (!condition()) {
    if (performance.now() > end) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** The scripted exchange of the simulation behind real sockets. */
async function exchange(peer: Peer) {
  peer.now = Date.now() * 1000
  const handshakes: string[] = []
  const believes = (request: IncomingMessage): boolean => {
    const { headers, url = '' } = request
    const message = Buffer.from(`${String(headers['kalshi-access-timestamp'])}GET${url.replace(/\?.*$/, '')}`)
    const key = { key: createPublicKey(pair.privateKey), padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
    return verify('sha256', message, key, Buffer.from(String(headers['kalshi-access-signature']), 'base64'))
  }
  const server: Server = createServer((request, response) => {
    peer.now = Date.now() * 1000
    if (!believes(request)) return void response.writeHead(401).end('{}')
    const { status, body } = peer.rest(request.method ?? '', `http://x${request.url ?? ''}`, peer.now)
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  const sockets = new WebSocketServer({ noServer: true })
  const raw = new Set<import('node:stream').Duplex>()
  server.on('upgrade', (request, socket, head) => {
    handshakes.push(String(request.headers['kalshi-access-signature']))
    if (!believes(request)) return void socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n')
    raw.add(socket)
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const session = peer.connect((text) => ws.send(text))
      const heartbeat = setInterval(() => ws.ping('heartbeat'), 1_000)
      ws.on('message', (data) => {
        peer.now = Date.now() * 1000
        session.command((data as Buffer).toString())
      })
      ws.on('close', () => {
        clearInterval(heartbeat)
        session.close()
        raw.delete(socket)
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    for (const s of raw) s.destroy()
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, handshakes, raw, sockets }
}

function equal(a: Levels, b: Levels): boolean {
  return a.size === b.size && [...a].every(([price, quantity]) => b.get(price) === quantity)
}

/** A naive reader of rows. */
class Reader {
  readonly books = new Map<string, [Levels, Levels]>()
  readonly synced = new Set<string>()
  readonly kinds = new Set<string>()
  readonly #names = new Map<number, string>()
  read(b: Batch): void {
    for (let i = 0; i < b.length; i++) {
      const kind = b.kind[i] as number
      this.kinds.add(KIND_NAMES[kind] as string)
      if (kind === Kind.CATALOG) {
        const { ticker } = JSON.parse(b.details[b.detail[i] as number] as string) as CatalogDetail
        this.#names.set(b.market[i] as number, ticker)
        this.books.set(ticker, [new Map(), new Map()])
      }
      const ticker = this.#names.get(b.market[i] as number) as string
      const books = this.books.get(ticker) as [Levels, Levels]
      if (kind === Kind.CLEAR) for (const side of books) side.clear()
      const side = books?.[b.side[i] as 0 | 1]
      const price = b.price[i] as number
      const quantity = b.quantity[i] as number
      if (kind === Kind.LEVEL) side.set(price, quantity)
      if (kind === Kind.DELTA && this.synced.has(ticker)) {
        const left = (side.get(price) ?? 0) + quantity
        if (left === 0) side.delete(price)
        else side.set(price, left)
      }
      if (kind === Kind.SYNC) this.synced.delete(ticker)
      if ((kind === Kind.LEVEL || kind === Kind.CLEAR) && ((b.flags[i] as number) & Flag.LAST) !== 0) this.synced.add(ticker)
    }
  }
}

describe('the feed over real sockets', () => {
  it('follows markets, signs every handshake anew, survives resets, garbage and a wrong key, and ends when it is told to', async () => {
    const peer = new Peer(3)
    const { url, handshakes, raw, sockets } = await exchange(peer)
    for (let m = 0; m < 5; m++) peer.add(`KXREAL-E-M${m}`)
    const dir = folder()
    const keyFile = join(dir, 'key.pem')
    writeFileSync(keyFile, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, { mode: 0o600 })
    const quarantine = join(dir, 'quarantine.ndjson')
    const world = systemWorld(new FileQuarantine(quarantine))
    const kalshi = new Kalshi({ environment: url, keyId: 'key-1', keyFile }, world)
    expect(await kalshi.learn()).toEqual({ tier: null })
    const feed = kalshi.feed({ rule: { series: ['KXREAL'] }, refreshEvery: 500_000, marketsPerSocket: 3, labelWait: 50_000 })
    const reader = new Reader()
    const reading = (async () => {
      for await (const batch of feed.batches()) reader.read(batch)
    })()
    const busy = setInterval(() => {
      peer.now = Date.now() * 1000
      for (let i = 0; i < 20; i++) peer.act()
    }, 5)
    await until(() => reader.synced.size === 5, 'five books')
    await new Promise((resolve) => setTimeout(resolve, 300))
    const truth = (): boolean =>
      [...peer.markets.values()].every((m) => {
        const [bids, asks] = reader.books.get(m.ticker) ?? [new Map(), new Map()]
        return reader.synced.has(m.ticker) && equal(bids, m.bids) && equal(asks, m.asks)
      })
    const calm = async (): Promise<void> => {
      const act = peer.act.bind(peer)
      peer.act = () => {}
      await until(truth, 'the truth')
      peer.act = act
    }
    await calm()
    // The connections are cut in the middle of everything.
    for (const s of raw) s.destroy()
    await until(() => feed.status().links.every((l) => l.connects === 2 && l.state === 'open'), 'a second connection')
    await until(() => reader.synced.size === 5, 'five books again')
    await calm()
    // Garbage, a binary frame, a frame that is far too large.
    for (const ws of sockets.clients) ws.send('{"type":"orderbook_delta","sid":')
    for (const ws of sockets.clients) ws.send(Buffer.from([1, 2, 3]))
    await new Promise((resolve) => setTimeout(resolve, 100))
    await calm()
    for (const ws of sockets.clients) ws.send('x'.repeat(5 * 1024 * 1024))
    await until(() => feed.status().links.every((l) => l.connects === 3 && l.state === 'open'), 'a third connection')
    await calm()
    expect(new Set(handshakes).size).toBe(handshakes.length)
    expect(handshakes.length).toBe(6)
    expect([...reader.kinds].sort()).toEqual(['catalog', 'clear', 'delta', 'level', 'sync', 'trade'])
    expect(readFileSync(quarantine, 'utf8')).toContain('not JSON')
    expect(feed.status().links.map((l) => l.markets)).toEqual([3, 2])
    clearInterval(busy)
    feed.stop()
    await reading
    writeFileSync(keyFile, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)
    const wrong = new Kalshi({ environment: url, keyId: 'key-1', keyFile }, systemWorld(new FileQuarantine(quarantine)))
    await expect(wrong.learn()).rejects.toMatchObject({ code: 'AUTH' })
    await expect(
      wrong
        .feed({ rule: { tickers: ['X'] } })
        .batches()
        .next(),
    ).rejects.toMatchObject({ code: 'AUTH' })
    await world.close()
  }, 60_000)
})

describe('a reader that is too slow', () => {
  it("FEED-13: over real sockets loses rows, knows of it, and has the exchange's own books again when it reads", async () => {
    const peer = new Peer(5)
    const { url } = await exchange(peer)
    for (let m = 0; m < 4; m++) peer.add(`KXSLOW-E-M${m}`)
    const keyFile = join(folder(), 'key.pem')
    writeFileSync(keyFile, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, { mode: 0o600 })
    const world = systemWorld(new FileQuarantine('/dev/null'))
    const kalshi = new Kalshi({ environment: url, keyId: 'key-1', keyFile }, world)
    const feed = kalshi.feed({ rule: { series: ['KXSLOW'] }, refreshEvery: 500_000, rowsMax: 2_000, labelWait: 50_000 })
    const reader = new Reader()
    const reasons: string[] = []
    let [slow, rows, below] = [false, 0, 0]
    const reading = (async () => {
      for await (const b of feed.batches()) {
        rows += b.length
        for (let i = 0; i < b.length; i++) {
          if (b.kind[i] !== Kind.SYNC) continue
          reasons.push((JSON.parse(b.details[b.detail[i] as number] as string) as { reason: string }).reason)
        }
        reader.read(b)
        // Changes on the far side of a hole would leave less than nothing somewhere.
        for (const ticker of reader.synced)
          for (const side of reader.books.get(ticker) ?? []) for (const q of side.values()) if (q < 0) below++
        while (slow) await new Promise((resolve) => setTimeout(resolve, 10))
      }
    })()
    const busy = setInterval(() => {
      peer.now = Date.now() * 1000
      for (let i = 0; i < 60; i++) peer.act()
    }, 5)
    await until(() => reader.synced.size === 4, 'four books')
    for (let round = 1; round <= 2; round++) {
      slow = true
      await until(() => feed.status().counts['chokes'] === round, 'too much for the reader')
      const { rowsDropped, rowsWaiting, markets } = feed.status()
      expect(rowsDropped).toBeGreaterThan(1_000 * round)
      expect(markets.some((m) => m.synced)).toBe(false)
      // Nothing more is kept for him meanwhile.
      await new Promise((resolve) => setTimeout(resolve, 300))
      expect(feed.status().rowsWaiting).toBeLessThan(rowsWaiting + 50)
      slow = false
      await until(() => reader.synced.size === 4 && feed.status().markets.every((m) => m.synced), 'four books again')
    }
    clearInterval(busy)
    await until(
      () =>
        [...peer.markets.values()].every((m) => {
          const [bids, asks] = reader.books.get(m.ticker) ?? [new Map(), new Map()]
          return reader.synced.has(m.ticker) && equal(bids, m.bids) && equal(asks, m.asks)
        }),
      'the truth',
    )
    process.stdout.write(`${rows} rows read, ${feed.status().rowsDropped} thrown away in 2 chokes\n`)
    expect(reasons.filter((r) => r === 'reader too slow')).toHaveLength(8)
    expect(below).toBe(0)
    // None of it was taken for something else.
    expect(feed.status().links[0]).toMatchObject({ connects: 1, gaps: 0 })
    feed.stop()
    await reading
    kalshi.close()
    await world.close()
  }, 60_000)
})

// ------------------------------------------------------------------------------------------------ one translation

const recordings = fileURLToPath(new URL('../../../../shared/data/nolicence', import.meta.url))
const sessions = existsSync(recordings) ? readdirSync(recordings).filter((f) => f.startsWith('organics')) : []
const why = sessions.length > 0 ? '' : ' (skipped: no recorded frames on this machine)'

describe('recorded frames', () => {
  it.skipIf(sessions.length === 0)(`become the same rows live as by the import${why}`, async () => {
    for (const session of [sessions[0] as string, sessions.find((s) => s.includes('1333Z')) as string]) {
      const dir = join(recordings, session)
      const tapeDir = join(folder(), 'tape')
      const { clock } = await importKalshiWs([dir], tapeDir)
      const tape = await openTape(tapeDir)
      const imported: string[] = []
      const details = new Map<string, CatalogDetail>()
      const names = new Map<number, string>()
      for await (const b of await tape.read({ decode: 'thread' })) take(b, imported, names, details)
      const live = await liveRows(dir, details, clock[0]?.offset ?? 0)
      // An import knows where its recording ends; a stream does not.
      const cut = imported.findIndex((r) => r.includes('recording ended'))
      const known = cut < 0 ? imported : imported.slice(0, cut)
      expect(known.length).toBeGreaterThan(1_000)
      const from = live.indexOf(known[0] as string)
      expect(from).toBeGreaterThanOrEqual(0)
      for (let i = 0; i < known.length; i++) if (live[from + i] !== known[i]) expect([i, live[from + i]]).toEqual([i, known[i]])
      process.stdout.write(`${session}: ${known.length} rows, the same live and imported\n`)
    }
  })
})

function take(b: Batch, rows: string[], names: Map<number, string>, details: Map<string, CatalogDetail>): void {
  for (let i = 0; i < b.length; i++) {
    const kind = b.kind[i] as number
    const flags = b.flags[i] as number
    if ((flags & Flag.CHECKPOINT) !== 0) continue
    const text = (b.detail[i] as number) < 0 ? '' : (b.details[b.detail[i] as number] as string)
    if (kind === Kind.CATALOG) {
      const detail = JSON.parse(text) as CatalogDetail
      if (!details.has(detail.ticker)) details.set(detail.ticker, detail)
      names.set(b.market[i] as number, detail.ticker)
      continue
    }
    const row = [
      b.time[i],
      b.timeVenue[i],
      names.get(b.market[i] as number),
      KIND_NAMES[kind],
      flags & Flag.LAST,
      b.side[i],
      b.price[i],
      b.quantity[i],
    ]
    rows.push([...row, text].join(' ').trim())
  }
}

/** The frames of a session as the exchange would send them today, through the feed's own decisions. */
async function liveRows(dir: string, details: ReadonlyMap<string, CatalogDetail>, offset: number): Promise<string[]> {
  const heads: { time: number; order: number; frame: Frame }[] = []
  for (const file of readdirSync(dir)
    .sort()
    .filter((f) => f.endsWith('.gz'))) {
    let time = -Infinity
    for await (const frame of framesOf(join(dir, file), () => {})) {
      const t = receiveOf(frame)
      if (Number.isFinite(t)) time = Math.max(time, t - offset)
      heads.push({ time, order: heads.length, frame })
    }
  }
  heads.sort((a, b) => a.time - b.time || (a.frame.seq ?? -1) - (b.frame.seq ?? -1) || a.order - b.order)
  const first = heads.find((h) => Number.isFinite(h.time))?.time ?? 0
  const sent: { id: number; cmd: string; params?: { channels?: string[] } }[] = []
  const core = new FeedCore(
    { rule: { tickers: [...details.keys()] }, trades: false, audit: { every: 1e15 }, rowsMax: 1e9, pollAfter: 1e15 },
    { next: () => 0 },
    { keep: () => {} },
    (action) => {
      if (action.kind === 'send') sent.push(JSON.parse(action.text) as (typeof sent)[number])
    },
    first - 10_000_000,
  )
  const rows: string[] = []
  const names = new Map<number, string>()
  const drain = (): void => {
    for (let b = core.outbox.poll(); b !== undefined; b = core.outbox.poll()) take(b, rows, names, new Map())
  }
  // REST and the subscription, a moment before the first frame.
  let now = first - 10_000_000
  core.tick(now)
  core.opened(0, now)
  const iso = (us: number | null): string =>
    new Date((us ?? 4e15) / 1000).toISOString().replace('Z', `${String((us ?? 0) % 1000).padStart(3, '0')}Z`)
  const markets = [...details.values()].map((d) => ({
    ticker: d.ticker,
    event_ticker: d.event,
    status: 'active' as const,
    open_time: iso(first - 1e9),
    close_time: iso(d.closeTime),
    result: '' as const,
    price_ranges: d.grid.map((g) => ({ start: formatPrice(g.start), end: formatPrice(g.end), step: formatPrice(g.step) })),
    yes_bid_dollars: '0.0000',
    yes_ask_dollars: '0.0000',
    volume_fp: '0.00',
    volume_24h_fp: '0.00',
  }))
  core.listed({ kind: 'markets', tickers: [] }, { items: markets, complete: true, why: '', pages: 1 }, now)
  for (const d of details.values()) core.event({ event_ticker: d.event, series_ticker: d.series, mutually_exclusive: true }, now)
  core.tick((now += 1_000_000))
  for (const d of details.values()) core.series({ ticker: d.series, title: '', fee_type: 'quadratic', fee_multiplier: 1 }, now)
  core.tick((now += 1_000_000))
  const sids: Record<string, number> = { market_lifecycle_v2: 3, orderbook_delta: 1, ticker: 2 }
  for (const c of sent.filter((s) => s.cmd === 'subscribe'))
    for (const channel of c.params?.channels ?? [])
      core.frame(0, JSON.stringify({ type: 'subscribed', id: c.id, msg: { channel, sid: sids[channel] } }), now)
  drain()
  expect(core.status().markets).toHaveLength(details.size)
  let seq = 0
  let last = -1
  for (const { frame, time } of heads) {
    if (Number.isFinite(time)) now = Math.max(now, time)
    if (!['orderbook_delta', 'orderbook_snapshot', 'ticker'].includes(frame.type)) continue
    const msg: Record<string, unknown> = { ...frame.msg }
    // Recorded with NO prices; the feed asks for YES prices.
    if (frame.type === 'orderbook_delta' && msg['side'] === 'no') msg['price_dollars'] = mirrored(String(msg['price_dollars']))
    if (frame.type === 'orderbook_snapshot' && Array.isArray(msg['no_dollars_fp']))
      msg['no_dollars_fp'] = (msg['no_dollars_fp'] as [string, string][]).map(([p, q]) => [mirrored(p), q])
    const sid = frame.type === 'ticker' ? 2 : 1
    if (sid === 1) {
      // Numbers of the control replies, which were not recorded, are skipped; a new subscription counts from one.
      const step = frame.seq === null || last < 0 ? 1 : frame.seq - last
      last = frame.seq ?? last
      seq += Math.max(1, step)
    }
    core.frame(0, JSON.stringify({ type: frame.type, sid, ...(sid === 1 ? { seq } : {}), msg }), now)
    drain()
  }
  return rows
}
function mirrored(price: string): string {
  return formatPrice(10_000 - parsePrice(price))
}
