/**
 * A feed in its virtual world, watched from outside: rows are read into naive books and compared with what the exchange sent. Owns the oracle. Invariant checked after every event: a
 * market that the rows call synced has exactly the book that its subscription had at the last number that the feed has processed, and no whole frame was passed over.
 */
import { generateKeyPairSync } from 'node:crypto'
import type { FeedOptions, FeedStatus } from '../../adapters/kalshi/shared.ts'
import { environmentOf } from '../../adapters/kalshi/environment.ts'
import { KalshiFeed } from '../../adapters/kalshi/feed.ts'
import { Budget } from '../../adapters/kalshi/rate-limit.ts'
import { Rest } from '../../adapters/kalshi/rest.ts'
import { Signer } from '../../adapters/kalshi/sign.ts'
import { Flag, Kind, KIND_NAMES, type CatalogDetail, type SyncDetail } from '../../engine/message.ts'
import { Peer, type Levels } from './peer.ts'
import { VirtualWorld, type Faults } from './world.ts'

export const START = 1_795_000_000_000_000
const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string

export type Seen = {
  readonly ticker: string
  synced: boolean
  polled: boolean
  status: string
  readonly books: [Levels, Levels]
  inSnapshot: boolean
  unsyncedAt: number
  reason: string
}

export class Harness {
  readonly peer: Peer
  readonly virtual: VirtualWorld
  readonly feed: KalshiFeed
  readonly seen = new Map<number, Seen>()
  /** Rows as text, for tests that read them. */
  readonly rows: string[] = []
  readonly mistakes: string[] = []
  /** µs from an unsync to the next sync, by why. */
  readonly recoveries: { readonly gap: number[]; readonly disconnect: number[]; readonly other: number[] } = {
    gap: [],
    disconnect: [],
    other: [],
  }
  checks = 0
  syncedChecks = 0
  keepRows = false
  #lastTime = 0
  #named = new Map<string, Seen>()
  /** Highest number that arrived whole, by subscription. */
  readonly #arrived = new Map<number, number>()
  readonly #shadows = new Map<number, { at: number; readonly books: Map<string, [Levels, Levels]> }>()

  constructor(seed: number, options: FeedOptions, prepare: (peer: Peer) => void) {
    this.peer = new Peer(seed)
    this.peer.now = START
    prepare(this.peer)
    this.virtual = new VirtualWorld(seed, START, this.peer)
    this.virtual.delivered = (text) => {
      const { sid, seq } = JSON.parse(text) as { sid?: number; seq?: number }
      if (sid !== undefined && seq !== undefined) this.#arrived.set(sid, Math.max(this.#arrived.get(sid) ?? 0, seq))
    }
    const environment = environmentOf('http://127.0.0.1:1')
    const signer = Signer.fromPem('test-key', pem)
    const budget = new Budget({ read: { perSecond: 1200, capacity: 3600 }, write: { perSecond: 100, capacity: 100 } })
    const { world } = this.virtual
    this.feed = new KalshiFeed({ environment, signer, rest: new Rest(environment, signer, budget, world), world, options })
  }

  /** The exchange is busy: so many acts a second, for as long as it runs. */
  busy(perSecond: number): void {
    const step = (): void => {
      this.peer.now = this.virtual.now
      if (this.#busy) this.peer.act()
      this.virtual.after(this.virtual.between(1, (2 * 1_000_000) / perSecond), step)
    }
    this.virtual.after(1, step)
  }
  #busy = true
  quiet(): void {
    this.#busy = false
  }
  /** A moment in which nothing happens, so that what is on its way arrives: then every book must be the exchange's own. */
  async calm(check = true): Promise<{ readonly mistakes: readonly string[]; readonly wrong: readonly string[] }> {
    this.#busy = false
    await this.run(1, check)
    const found = { mistakes: this.mistakes.slice(0, 3), wrong: this.wrong() }
    this.#busy = true
    return found
  }
  /** What the watcher itself remembers. */
  forget(): void {
    this.seen.clear()
    this.#named.clear()
    this.peer.trades.length = 0
    this.peer.commands.length = 0
    for (const log of this.peer.logs.values()) (log as unknown[]).length = 0
  }
  start(faults?: Faults): void {
    if (faults !== undefined) this.virtual.faults = faults
    this.virtual.second()
    this.feed.start()
  }
  async run(seconds: number, check = true): Promise<void> {
    await this.virtual.run(this.virtual.now + seconds * 1_000_000, () => {
      this.peer.now = this.virtual.now
      // Nothing can have changed where no frame and no row came.
      const news = this.read() || this.virtual.frames !== this.#framesSeen
      this.#framesSeen = this.virtual.frames
      if (check && news) this.check()
    })
  }
  get synced(): number {
    return [...this.seen.values()].filter((m) => m.synced).length
  }
  market(ticker: string): Seen | undefined {
    return this.#named.get(ticker)
  }

  #framesSeen = 0

  /** The rows that are ready, into naive books. False: there were none. */
  read(): boolean {
    let any = false
    for (let b = this.feed.poll(); b !== undefined; b = this.feed.poll()) {
      any = true
      for (let i = 0; i < b.length; i++) {
        const kind = b.kind[i] as number
        const time = b.time[i] as number
        const flags = b.flags[i] as number
        const detail = (b.detail[i] as number) < 0 ? null : (b.details[b.detail[i] as number] as string)
        if (time < this.#lastTime) this.mistakes.push(`time goes back at ${time}`)
        this.#lastTime = time
        const number = b.market[i] as number
        if (kind === Kind.CATALOG) {
          const { ticker, status } = JSON.parse(detail as string) as CatalogDetail
          const seen: Seen = {
            ticker,
            synced: false,
            polled: false,
            status,
            books: [new Map(), new Map()],
            inSnapshot: false,
            unsyncedAt: -1,
            reason: '',
          }
          this.seen.set(number, seen)
          this.#named.set(ticker, seen)
        }
        const m = this.seen.get(number)
        if (number >= 0 && m === undefined) {
          this.mistakes.push(`${KIND_NAMES[kind]} before its catalog row`)
          continue
        }
        const side = b.side[i] as number
        const price = b.price[i] as number
        const quantity = b.quantity[i] as number
        if (this.keepRows)
          this.rows.push([time, KIND_NAMES[kind], m?.ticker ?? '', side, price, quantity, flags, detail ?? ''].join(' ').trim())
        if (m === undefined) continue
        const polled = (flags & Flag.POLLED) !== 0
        if (kind === Kind.STATUS) m.status = (JSON.parse(detail as string) as { status: string }).status
        else if (kind === Kind.CLEAR) {
          m.books[0].clear()
          m.books[1].clear()
          m.inSnapshot = true
        } else if (kind === Kind.LEVEL) m.books[side as 0 | 1].set(price, quantity)
        else if (kind === Kind.DELTA && m.synced) {
          const levels = m.books[side as 0 | 1]
          const left = (levels.get(price) ?? 0) + quantity
          if (left === 0) levels.delete(price)
          else levels.set(price, left)
        } else if (kind === Kind.SYNC) {
          const { state, reason } = JSON.parse(detail as string) as SyncDetail
          if (state === 'unsynced' && m.synced && reason !== 'polled') {
            m.unsyncedAt = time
            m.reason = reason
          }
          m.synced = false
          m.polled = reason === 'polled'
        }
        if ((kind === Kind.CLEAR || kind === Kind.LEVEL) && (flags & Flag.LAST) !== 0 && m.inSnapshot) {
          m.inSnapshot = false
          m.synced = true
          if (!polled && m.unsyncedAt >= 0) {
            const list = m.reason.startsWith('gap')
              ? this.recoveries.gap
              : /disconnected|sign of life/.test(m.reason)
                ? this.recoveries.disconnect
                : this.recoveries.other
            list.push(time - m.unsyncedAt)
            m.unsyncedAt = -1
          }
        }
      }
    }
    return any
  }

  /** What the rows say against what was sent. */
  check(): void {
    this.checks++
    const status = this.feed.status()
    const sequences = status.links.map((l) => l.sequence)
    for (const s of sequences) {
      if (s === null) continue
      const arrived = this.#arrived.get(s.sid) ?? 0
      const anySynced = status.markets.some((m) => m.synced && sequences[m.link ?? -1]?.sid === s.sid)
      if (anySynced && s.seq < arrived) this.mistakes.push(`sid ${s.sid}: ${arrived} arrived, ${s.seq} processed`)
    }
    for (const m of status.markets) {
      const seen = this.seen.get(m.number)
      if (seen === undefined || !seen.synced) continue
      const s = sequences[m.link ?? -1]
      if (s == null) {
        this.mistakes.push(`${m.ticker} is synced without a subscription`)
        continue
      }
      this.syncedChecks++
      const truth = this.#truth(s.sid, s.seq).get(m.ticker)
      if (truth === undefined) this.mistakes.push(`${m.ticker} is synced and was never sent`)
      else if (!same(truth[0], seen.books[0]) || !same(truth[1], seen.books[1]))
        this.mistakes.push(`${m.ticker} differs at sid ${s.sid} seq ${s.seq}, ${this.virtual.now - START} µs after the start`)
    }
  }
  #truth(sid: number, seq: number): Map<string, [Levels, Levels]> {
    const log = this.peer.logs.get(sid) ?? []
    let shadow = this.#shadows.get(sid)
    if (shadow === undefined) this.#shadows.set(sid, (shadow = { at: 0, books: new Map() }))
    for (; shadow.at < seq; shadow.at++) {
      const sent = log[shadow.at]
      if (sent === null || sent === undefined) continue
      if ('snapshot' in sent) shadow.books.set(sent.ticker, [new Map(sent.snapshot[0]), new Map(sent.snapshot[1])])
      else {
        const levels = shadow.books.get(sent.ticker)?.[sent.side === 'bid' ? 0 : 1]
        if (levels === undefined) continue
        const left = (levels.get(sent.price) ?? 0) + sent.change
        if (left === 0) levels.delete(sent.price)
        else levels.set(sent.price, left)
      }
    }
    return shadow.books
  }
  /** Markets whose book is not the exchange's own, or not synced, now. */
  wrong(): string[] {
    const wrong: string[] = []
    for (const market of this.peer.markets.values()) {
      if (market.status !== 'active') continue
      const seen = this.#named.get(market.ticker)
      if (seen === undefined || !seen.synced) wrong.push(`${market.ticker} is not synced`)
      else if (!same(seen.books[0], market.bids) || !same(seen.books[1], market.asks)) wrong.push(`${market.ticker} differs`)
    }
    return wrong
  }
  status(): FeedStatus {
    return this.feed.status()
  }
}

function same(a: Levels, b: Levels): boolean {
  if (a.size !== b.size) return false
  for (const [price, quantity] of a) if (b.get(price) !== quantity) return false
  return true
}
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? 0
}
