/**
 * What one connection is subscribed to, and whether it got all of it. Owns commands, subscriptions, sequence numbers and the way from a gap back to a whole book; hides ids. A
 * reducer: messages in, commands out. Invariants: a message takes effect only in the order of its subscription's `seq`; after a gap nothing of it is trusted until each
 * market's snapshot.
 */
import { assert } from '../../engine/assert.ts'
import { TokenBucket } from '../../engine/token-bucket.ts'
import { MINUTE, SECOND } from '../../engine/units.ts'
import { command, isSequenced, StreamError, type Channel, type StreamMessage } from './wire/stream.ts'

export type StreamCommand =
  | { readonly kind: 'send'; readonly text: string }
  /** Only a new connection can help. */
  | { readonly kind: 'drop'; readonly reason: string }
  | { readonly kind: 'unsync'; readonly tickers: readonly string[]; readonly reason: string; readonly gap: boolean }
  /** Messages of a channel were lost that no snapshot brings back. */
  | { readonly kind: 'missed'; readonly channel: Channel; readonly tickers: readonly string[] }
  /** The exchange does not know these markets, or has no room for them on this connection. */
  | { readonly kind: 'refused' | 'full'; readonly tickers: readonly string[]; readonly reason: string }

/** Channels of every market, and those without markets that this connection carries for all. */
export type StreamPlan = {
  readonly markets: readonly Channel[]
  readonly globals: readonly { readonly channel: Channel; readonly indices?: readonly string[]; readonly underlyings?: readonly string[] }[]
}

type Member = { state: 'new' | 'asked' | 'live'; asked: number; tries: number }
type Subscription = {
  readonly channel: Channel
  readonly sid: number
  last: number
  /** Frames that nobody could read since its last message: so many numbers may be missing from the next one without a second alarm. */
  forgiven: number
}
type Pending = {
  readonly kind: 'subscribe' | 'add' | 'delete' | 'snapshot' | 'list' | 'unsubscribe'
  readonly channel: Channel | null
  readonly sid: number
  readonly tickers: readonly string[]
  readonly sent: number
  readonly tries: number
}

const ANSWER_WAIT = 10 * SECOND
const SNAPSHOT_WAIT = SECOND
/** … and this much longer at the start, when there are many. */
const SNAPSHOT_START = 2 * SECOND
const SNAPSHOT_TRIES = 3
/** A gap right after a gap does not ask again: what was asked for is on its way. */
const SNAPSHOT_PAUSE = SECOND / 2
const LIST_EVERY = MINUTE
const TRIES_MAX = 3
const MALFORMED_MAX = 3
/** Far below the exchange's 10,000 a second. */
const COMMANDS_PER_SECOND = 50

export class Stream {
  readonly #plan: StreamPlan
  readonly #emit: (command: StreamCommand) => void
  readonly #members = new Map<string, Member>()
  readonly #subscriptions = new Map<Channel, Subscription>()
  readonly #bySid = new Map<number, Subscription>()
  readonly #pending = new Map<number, Pending>()
  readonly #queue: string[] = []
  readonly #later: { readonly at: number; readonly pending: Omit<Pending, 'sent'> }[] = []
  readonly #malformed: number[] = []
  #pace = new TokenBucket(COMMANDS_PER_SECOND, COMMANDS_PER_SECOND)
  #id = 0
  #open = false
  #listAt = Infinity
  #resubscribedAt = -Infinity
  /** What was seen, for status and tests. */
  readonly counts = { gaps: 0, duplicates: 0, strays: 0, malformed: 0, errors: 0, resubscribed: 0, snapshotsAsked: 0 }

  constructor(plan: StreamPlan, emit: (command: StreamCommand) => void) {
    this.#plan = plan
    this.#emit = emit
  }

  get size(): number {
    return this.#members.size
  }
  has(ticker: string): boolean {
    return this.#members.has(ticker)
  }
  get tickers(): IterableIterator<string> {
    return this.#members.keys()
  }
  /** Last `seq` of the books' subscription, −1 where there is none. */
  get bookSequence(): { readonly sid: number; readonly seq: number } | null {
    const s = this.#subscriptions.get('orderbook_delta')
    return s === undefined ? null : { sid: s.sid, seq: s.last }
  }

  // ------------------------------------------------------------------------------------------------ what is wanted

  add(tickers: readonly string[], now: number): void {
    for (const ticker of tickers) if (!this.#members.has(ticker)) this.#members.set(ticker, { state: 'new', asked: now, tries: 0 })
    this.#settle(now)
  }
  remove(tickers: readonly string[], now: number): void {
    const asked = tickers.filter((t) => this.#members.get(t) !== undefined && this.#members.get(t)?.state !== 'new')
    for (const ticker of tickers) this.#members.delete(ticker)
    if (!this.#open || asked.length === 0) return
    for (const channel of this.#plan.markets) {
      const s = this.#subscriptions.get(channel)
      if (s !== undefined) this.#send({ kind: 'delete', channel, sid: s.sid, tickers: asked, tries: 0 }, now)
    }
    this.#flush(now)
  }
  /** The book of a market is not what it should be: only a snapshot helps. */
  resync(tickers: readonly string[], now: number): void {
    const book = this.#subscriptions.get('orderbook_delta')
    if (!this.#open || book === undefined) return
    const asked: string[] = []
    for (const ticker of tickers) {
      const member = this.#members.get(ticker)
      if (member === undefined || member.state === 'new' || (member.state === 'asked' && now - member.asked < SNAPSHOT_PAUSE)) continue
      if (member.state === 'live') member.tries = 0
      member.state = 'asked'
      member.asked = now
      asked.push(ticker)
    }
    this.#snapshots(book, asked, now)
    this.#flush(now)
  }
  /** The stream itself is doubted: a new subscription of the books. */
  renew(reason: string, now: number): void {
    const book = this.#subscriptions.get('orderbook_delta')
    if (book !== undefined) this.#resubscribe(book, reason, now)
    this.#flush(now)
  }

  // ------------------------------------------------------------------------------------------------ the connection

  opened(now: number): void {
    this.#reset()
    this.#open = true
    this.#pace = new TokenBucket(COMMANDS_PER_SECOND, COMMANDS_PER_SECOND)
    this.#listAt = now + LIST_EVERY
    for (const { channel } of this.#plan.globals) this.#send({ kind: 'subscribe', channel, sid: -1, tickers: [], tries: 0 }, now)
    this.#settle(now)
  }
  closed(): void {
    this.#reset()
    this.#open = false
    this.#listAt = Infinity
  }
  #reset(): void {
    this.#subscriptions.clear()
    this.#bySid.clear()
    this.#pending.clear()
    this.#queue.length = 0
    this.#later.length = 0
    this.#malformed.length = 0
    for (const member of this.#members.values()) {
      member.state = 'new'
      member.tries = 0
    }
  }

  // ------------------------------------------------------------------------------------------------ messages

  /** Whether the message takes effect. */
  message(m: StreamMessage, now: number): boolean {
    if (m.type === 'subscribed') {
      this.#subscribed(m.id, m.msg.channel as Channel, m.msg.sid, now)
      return false
    }
    if (m.type !== 'unsubscribed' && m.type !== 'ok' && m.type !== 'error') return this.#data(m, now)
    this.#control(m.sid, m.seq, now)
    if (m.type === 'ok') this.#confirmed(m, now)
    else if (m.type === 'error') this.#refused(m, now)
    else if (m.id !== null) this.#pending.delete(m.id)
    return false
  }
  /** A message of a type that nobody knows: its number counts all the same. */
  unknown(sid: number | null, seq: number | null, now: number): void {
    this.#control(sid, seq, now)
  }
  /** A frame that nobody could read: it may have been of any subscription. */
  malformed(now: number): void {
    this.counts.malformed++
    this.#malformed.push(now)
    while (this.#malformed.length > 0 && now - (this.#malformed[0] as number) > MINUTE) this.#malformed.shift()
    if (this.#malformed.length >= MALFORMED_MAX)
      return this.#emit({ kind: 'drop', reason: `${MALFORMED_MAX} unreadable frames in a minute` })
    for (const s of this.#subscriptions.values()) {
      s.forgiven++
      if (isSequenced(s.channel)) this.#lost(s, 'a frame could not be read', false, now)
    }
    this.#flush(now)
  }

  #data(m: Exclude<StreamMessage, { type: 'subscribed' | 'unsubscribed' | 'ok' | 'error' }>, now: number): boolean {
    const s = m.sid === null ? undefined : this.#bySid.get(m.sid)
    if (s === undefined) {
      this.counts.strays++
      return false
    }
    const snapshot = m.type === 'orderbook_snapshot'
    if (isSequenced(s.channel) && !this.#sequence(s, m.seq, snapshot, now)) return false
    if (s.channel === 'orderbook_delta') {
      const member = m.type === 'orderbook_snapshot' || m.type === 'orderbook_delta' ? this.#members.get(m.msg.market_ticker) : undefined
      if (member === undefined) {
        this.counts.strays++
        return false
      }
      if (snapshot) {
        member.state = 'live'
        member.tries = 0
      }
    }
    return true
  }
  #control(sid: number | null, seq: number | null, now: number): void {
    const s = sid === null ? undefined : this.#bySid.get(sid)
    if (s !== undefined && seq !== null && isSequenced(s.channel)) this.#sequence(s, seq, false, now)
  }
  /** False: it was there before. */
  #sequence(s: Subscription, seq: number | null, snapshot: boolean, now: number): boolean {
    if (seq === s.last + 1) {
      s.last = seq
      s.forgiven = 0
      return true
    }
    if (seq !== null && seq <= s.last) {
      // A snapshot that repeats the last number says what is true as of that number: it can do no harm.
      if (snapshot && seq === s.last) return true
      this.counts.duplicates++
      return false
    }
    const missing = seq === null ? Infinity : seq - s.last - 1
    const before = s.last
    if (seq !== null) s.last = seq
    const forgiven = missing <= s.forgiven
    s.forgiven = 0
    if (!forgiven) {
      this.counts.gaps++
      this.#lost(s, seq === null ? 'a message without seq' : `gap in seq after ${before}`, true, now)
      this.#flush(now)
    }
    return true
  }
  #lost(s: Subscription, reason: string, gap: boolean, now: number): void {
    const tickers = [...this.#members.keys()]
    if (s.channel !== 'orderbook_delta') return this.#emit({ kind: 'missed', channel: s.channel, tickers })
    this.#emit({ kind: 'unsync', tickers, reason, gap })
    this.resync(tickers, now)
  }

  // ------------------------------------------------------------------------------------------------ answers

  #subscribed(id: number | null, channel: Channel, sid: number, now: number): void {
    const pending = id === null ? undefined : this.#pending.get(id)
    if (pending?.channel !== channel) {
      // Nobody asked, or nobody waits any more.
      if (!this.#bySid.has(sid)) this.#send({ kind: 'unsubscribe', channel: null, sid, tickers: [], tries: 0 }, now)
      return this.#flush(now)
    }
    this.#pending.delete(id as number)
    const before = this.#subscriptions.get(channel)
    if (before?.sid !== sid) {
      if (before !== undefined) this.#bySid.delete(before.sid)
      const s: Subscription = { channel, sid, last: 0, forgiven: 0 }
      this.#subscriptions.set(channel, s)
      this.#bySid.set(sid, s)
    }
    const gone = pending.tickers.filter((t) => !this.#members.has(t))
    if (gone.length > 0) this.#send({ kind: 'delete', channel, sid, tickers: gone, tries: 0 }, now)
    this.#settle(now)
  }
  #confirmed(m: Extract<StreamMessage, { type: 'ok' }>, now: number): void {
    const pending = m.id === null ? undefined : this.#pending.get(m.id)
    if (m.id !== null) this.#pending.delete(m.id)
    if (m.subscriptions !== null) this.#compare(m.subscriptions, now)
    const s = m.sid === null ? undefined : this.#bySid.get(m.sid)
    if (s === undefined || m.tickers === null || pending === undefined || pending.kind === 'snapshot') return
    // The list after the change; while another change is on its way it says nothing.
    for (const p of this.#pending.values()) if (p.sid === s.sid && (p.kind === 'add' || p.kind === 'delete')) return
    const there = new Set(m.tickers)
    const missing = [...this.#members].filter(([t, member]) => member.state !== 'new' && !there.has(t)).map(([t]) => t)
    const extra = m.tickers.filter((t) => !this.#members.has(t))
    if (missing.length > 0 && pending.tries < TRIES_MAX)
      this.#send({ kind: 'add', channel: s.channel, sid: s.sid, tickers: missing, tries: pending.tries + 1 }, now)
    if (extra.length > 0 && pending.tries < TRIES_MAX)
      this.#send({ kind: 'delete', channel: s.channel, sid: s.sid, tickers: extra, tries: pending.tries + 1 }, now)
    this.#flush(now)
  }
  /** The exchange's own list of our subscriptions against ours. */
  #compare(list: readonly { readonly channel: string; readonly sid: number }[], now: number): void {
    const there = new Set(list.map((l) => l.sid))
    for (const p of this.#pending.values()) if (p.kind === 'subscribe' || p.kind === 'unsubscribe') return
    for (const s of this.#subscriptions.values()) if (!there.has(s.sid)) this.#resubscribe(s, 'the exchange has lost the subscription', now)
    for (const sid of there) if (!this.#bySid.has(sid)) this.#send({ kind: 'unsubscribe', channel: null, sid, tickers: [], tries: 0 }, now)
    this.#flush(now)
  }
  #refused(m: Extract<StreamMessage, { type: 'error' }>, now: number): void {
    this.counts.errors++
    const { code, msg: reason } = m.msg
    const pending = m.id === null ? undefined : this.#pending.get(m.id)
    if (m.id !== null) this.#pending.delete(m.id)
    const s = m.sid !== null ? this.#bySid.get(m.sid) : pending === undefined ? undefined : this.#bySid.get(pending.sid)
    const said = `error ${code}: ${reason.slice(0, 100)}`
    if (
      code === StreamError.CHANNEL ||
      code === StreamError.OVERFLOW ||
      (code === StreamError.UNKNOWN_SUBSCRIPTION && pending?.kind !== 'unsubscribe')
    ) {
      if (s === undefined) return this.#emit({ kind: 'drop', reason: said })
      this.#resubscribe(s, said, now)
    } else if (code === StreamError.AUTHENTICATION) return this.#emit({ kind: 'drop', reason: said })
    else if (pending === undefined || pending.kind === 'delete' || pending.kind === 'unsubscribe' || pending.kind === 'list') return
    else if (code === StreamError.TOO_MANY || code === StreamError.TIMEOUT) {
      if (pending.tries >= TRIES_MAX) return this.#emit({ kind: 'drop', reason: said })
      this.#later.push({ at: now + SECOND * 2 ** pending.tries, pending: { ...pending, tries: pending.tries + 1 } })
    } else if (pending.kind === 'snapshot') {
      // An older exchange has no get_snapshot.
      if (s !== undefined) this.#resubscribe(s, said, now)
    } else {
      const named = m.msg.market_tickers ?? (m.msg.market_ticker == null ? null : [m.msg.market_ticker])
      const tickers = named ?? pending.tickers
      if (named === null && tickers.length > 1) {
        // One of them is to blame: each half is asked for alone.
        const half = Math.ceil(tickers.length / 2)
        for (const part of [tickers.slice(0, half), tickers.slice(half)]) this.#send({ ...pending, tickers: part }, now)
      } else {
        this.remove(tickers, now)
        const rest = pending.tickers.filter((t) => !tickers.includes(t))
        if (rest.length > 0) this.#send({ ...pending, tickers: rest }, now)
        this.#emit({ kind: code === StreamError.MARKET_LIMIT ? 'full' : 'refused', tickers, reason: said })
        if (pending.kind === 'subscribe' && pending.tickers.length === 0) this.#emit({ kind: 'drop', reason: said })
      }
    }
    this.#flush(now)
  }

  // ------------------------------------------------------------------------------------------------ commands

  /** Asks for what is wanted and not yet asked for. */
  #settle(now: number): void {
    if (!this.#open) return
    const fresh = [...this.#members].filter(([, m]) => m.state === 'new').map(([t]) => t)
    if (fresh.length > 0) {
      const waiting = [...this.#pending.values()].some((p) => p.kind === 'subscribe' && this.#plan.markets.includes(p.channel as Channel))
      const known = this.#plan.markets.every((c) => this.#subscriptions.has(c))
      if (known || !waiting) {
        for (const ticker of fresh) {
          const member = this.#members.get(ticker) as Member
          member.state = 'asked'
          member.asked = now + SNAPSHOT_START
          member.tries = 0
        }
        // One command for each channel: each is answered, or refused, for itself.
        for (const channel of this.#plan.markets) {
          const s = this.#subscriptions.get(channel)
          this.#send({ kind: s === undefined ? 'subscribe' : 'add', channel, sid: s?.sid ?? -1, tickers: fresh, tries: 0 }, now)
        }
      }
    }
    this.#flush(now)
  }
  #resubscribe(s: Subscription, reason: string, now: number): void {
    this.counts.resubscribed++
    if (now - this.#resubscribedAt < 2 * SECOND && s.channel === 'orderbook_delta')
      return this.#emit({ kind: 'drop', reason: `${reason}, again` })
    if (s.channel === 'orderbook_delta') this.#resubscribedAt = now
    this.#subscriptions.delete(s.channel)
    this.#bySid.delete(s.sid)
    this.#send({ kind: 'unsubscribe', channel: null, sid: s.sid, tickers: [], tries: 0 }, now)
    const tickers = this.#plan.markets.includes(s.channel) ? [...this.#members.keys()] : []
    if (s.channel === 'orderbook_delta') {
      this.#emit({ kind: 'unsync', tickers, reason, gap: false })
      for (const member of this.#members.values()) {
        member.state = 'asked'
        member.asked = now
        member.tries = 0
      }
    } else if (isSequenced(s.channel)) this.#emit({ kind: 'missed', channel: s.channel, tickers: [...this.#members.keys()] })
    this.#send({ kind: 'subscribe', channel: s.channel, sid: -1, tickers, tries: 0 }, now)
  }
  #snapshots(book: Subscription, tickers: readonly string[], now: number): void {
    if (tickers.length === 0) return
    this.counts.snapshotsAsked += tickers.length
    this.#send({ kind: 'snapshot', channel: 'orderbook_delta', sid: book.sid, tickers, tries: 0 }, now)
  }
  #send(pending: Omit<Pending, 'sent'>, now: number): void {
    const id = ++this.#id
    this.#pending.set(id, { ...pending, sent: now })
    this.#queue.push(this.#text(id, pending))
  }
  #text(id: number, { kind, channel, sid, tickers }: Omit<Pending, 'sent'>): string {
    switch (kind) {
      case 'subscribe': {
        const channels = channel === null ? [] : [channel]
        const global = this.#plan.globals.find((g) => g.channel === channel)
        if (global === undefined) return command.subscribe(id, channels, { tickers })
        const { indices, underlyings } = global
        return command.subscribe(id, channels, {
          ...(indices === undefined ? {} : { indices }),
          ...(underlyings === undefined ? {} : { underlyings }),
        })
      }
      case 'add':
        return command.update(id, sid, 'add_markets', tickers)
      case 'delete':
        return command.update(id, sid, 'delete_markets', tickers)
      case 'snapshot':
        return command.update(id, sid, 'get_snapshot', tickers)
      case 'unsubscribe':
        return command.unsubscribe(id, [sid])
      case 'list':
        return command.list(id)
    }
  }
  #flush(now: number): void {
    while (this.#queue.length > 0 && this.#pace.spend(now, 1)) this.#emit({ kind: 'send', text: this.#queue.shift() as string })
  }

  // ------------------------------------------------------------------------------------------------ time

  advance(now: number): void {
    if (!this.#open) return
    for (const [id, p] of this.#pending) {
      if (now - p.sent < ANSWER_WAIT) continue
      this.#pending.delete(id)
      if (p.kind === 'subscribe' || p.kind === 'add' || p.kind === 'list')
        return this.#emit({ kind: 'drop', reason: `no answer to ${p.kind}` })
    }
    for (let i = this.#later.length - 1; i >= 0; i--) {
      const later = this.#later[i] as { readonly at: number; readonly pending: Omit<Pending, 'sent'> }
      if (later.at > now) continue
      this.#later.splice(i, 1)
      this.#send(later.pending, now)
    }
    this.#overdue(now)
    if (now >= this.#listAt) {
      this.#listAt = now + LIST_EVERY
      this.#send({ kind: 'list', channel: null, sid: -1, tickers: [], tries: 0 }, now)
    }
    this.#flush(now)
  }
  /** Snapshots that were asked for and did not come. */
  #overdue(now: number): void {
    const book = this.#subscriptions.get('orderbook_delta')
    if (book === undefined) return
    const late: string[] = []
    for (const [ticker, member] of this.#members) {
      if (member.state !== 'asked' || now - member.asked < SNAPSHOT_WAIT * 2 ** member.tries) continue
      member.tries++
      member.asked = now
      if (member.tries > SNAPSHOT_TRIES) return this.#resubscribe(book, `no snapshot of ${ticker}`, now)
      late.push(ticker)
    }
    this.#snapshots(book, late, now)
    assert(this.#members.size >= late.length, 'only markets that are wanted are late')
  }
}
