/**
 * One WebSocket connection as a synchronous state machine: command texts in, frames out (api.md §5). Owns subscriptions and their counters; hides the
 * socket. Invariant: per sid `seq` starts at 1 and steps by one for every numbered message and every reply on it, whatever its market.
 *
 * | reply                    | takes a number of the sid                                            |
 * |--------------------------|----------------------------------------------------------------------|
 * | subscribed, list         | no                                                                   |
 * | ok, unsubscribed         | yes                                                                  |
 * | index and underlying list| yes                                                                  |
 * | error                    | no                                                                   |
 */
import type { Account, ApiKey } from './account.ts'
import { CHANNELS, type Channel } from './channels.ts'
import type { Hub } from './hub.ts'
import { milliseconds } from './text.ts'

export type Frame = {
  readonly text: string
  readonly type: string
  readonly channel: Channel | null
  readonly sid: number | null
  readonly seq: number | null
}

const ERRORS: Readonly<Record<number, string>> = {
  1: 'Unable to process message',
  2: 'Params required',
  3: 'Channels required',
  4: 'Subscription IDs required',
  5: 'Unknown command',
  7: 'Unknown subscription ID',
  8: 'Unknown channel name',
  9: 'Authentication required',
  10: 'Channel error',
  11: 'Invalid parameter',
  12: 'Exactly one subscription ID is required',
  13: 'Unsupported action',
  14: 'Market Ticker required',
  15: 'Action required',
  18: 'Command timeout',
  19: 'shard_factor must be > 0',
  20: 'shard_factor is required when shard_key is set',
  21: 'shard_key must be >= 0 and < shard_factor',
  22: 'shard_factor must be <= 100',
  24: 'Index IDs required',
  25: 'Subscription buffer overflow',
  26: 'Subscription market limit exceeded',
  27: 'Too many requests',
  28: 'Underlying tickers required',
}
/** Markets in all subscriptions of a session, commands a second. */
const MARKETS_MAX = 500_000
const COMMANDS_PER_SECOND = 10_000

/** How the markets of a channel are chosen. */
const FILTERED: readonly Channel[] = ['orderbook_delta', 'ticker', 'trade', 'fill', 'market_positions', 'user_orders']
const INDEXED: readonly Channel[] = ['cfbenchmarks_value', 'cfbenchmarks_value_5hz', 'pyth_value']
/** Channels whose messages carry `seq`. */
const NUMBERED: ReadonlySet<Channel> = new Set<Channel>([
  'orderbook_delta',
  'trade',
  'order_group_updates',
  'market_lifecycle_v2',
  'multivariate_market_lifecycle',
  'communications',
  'cfbenchmarks_value',
  'cfbenchmarks_value_5hz',
  'pyth_value',
])

export class Subscription {
  readonly session: Session
  readonly sid: number
  readonly channel: Channel
  seq = 0
  /** No filter was given: everything. */
  all: boolean
  /** Tickers, or ids of indices and underlyings. */
  readonly chosen = new Set<string>()
  readonly yesPrices: boolean
  readonly quietAck: boolean

  constructor(session: Session, sid: number, channel: Channel, all: boolean, yesPrices: boolean, quietAck: boolean) {
    this.session = session
    this.sid = sid
    this.channel = channel
    this.all = all
    this.yesPrices = yesPrices
    this.quietAck = quietAck
  }
  wants(name: string): boolean {
    return this.all || this.chosen.has(name)
  }
}

type Params = Record<string, unknown>
const textOf = (v: unknown): string | null => (typeof v === 'string' && v !== '' ? v : null)
const listOf = (one: unknown, many: unknown): string[] | null => {
  if (many !== undefined) return Array.isArray(many) && many.every((x) => typeof x === 'string') ? (many as string[]) : null
  if (one === undefined) return []
  return typeof one === 'string' ? [one] : null
}

export class Session {
  readonly account: Account
  readonly key: ApiKey
  readonly #hub: Hub
  readonly #send: (frame: Frame) => void
  readonly #subscriptions = new Map<number, Subscription>()
  #nextSid = 1
  #second = -1
  #commands = 0

  constructor(hub: Hub, account: Account, key: ApiKey, send: (frame: Frame) => void) {
    this.#hub = hub
    this.account = account
    this.key = key
    this.#send = send
  }

  get subscriptions(): readonly Subscription[] {
    return [...this.#subscriptions.values()]
  }

  /** A text frame from the client. */
  receive(text: string): void {
    let command: Record<string, unknown>
    try {
      const parsed: unknown = JSON.parse(text)
      if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return this.#error(1, null)
      command = parsed as Record<string, unknown>
    } catch {
      return this.#error(1, null)
    }
    const id = Number.isSafeInteger(command['id']) && command['id'] !== 0 ? (command['id'] as number) : null
    if (command['id'] !== undefined && !Number.isSafeInteger(command['id'])) return this.#error(1, null)
    const second = Math.floor(this.#hub.now / 1_000_000)
    if (second !== this.#second) {
      this.#second = second
      this.#commands = 0
    }
    if (++this.#commands > COMMANDS_PER_SECOND) return this.#error(27, id)
    const params = command['params'] as Params | undefined
    const hasParams = typeof params === 'object' && params !== null && !Array.isArray(params)
    switch (command['cmd']) {
      case 'subscribe':
        return hasParams ? this.#subscribe(id, params) : this.#error(2, id)
      case 'unsubscribe':
        return hasParams ? this.#unsubscribe(id, params) : this.#error(2, id)
      case 'update_subscription':
        return hasParams ? this.#update(id, params) : this.#error(2, id)
      case 'list_subscriptions':
        return this.#reply(
          { ...named(id), type: 'ok', msg: this.subscriptions.map((s) => ({ channel: s.channel, sid: s.sid })) },
          null,
          null,
        )
      default:
        return this.#error(5, id)
    }
  }

  // ---------------------------------------------------------------------------------------------- commands

  #subscribe(id: number | null, params: Params): void {
    const channels = params['channels']
    if (!Array.isArray(channels) || channels.length === 0) return this.#error(3, id)
    const fresh: { sub: Subscription; added: string[] }[] = []
    for (const name of channels as unknown[]) {
      const made = this.#join(id, name, params)
      if (made === null) continue
      fresh.push(made)
      this.#reply(
        { type: 'subscribed', ...named(id), msg: { channel: made.sub.channel, sid: made.sub.sid } },
        made.sub.channel,
        made.sub.sid,
      )
    }
    // Every acknowledgement first, then the snapshots (recorded).
    for (const { sub, added } of fresh) this.#first(sub, added, params['send_initial_snapshot'] === true)
  }

  /** A new subscription, or more markets in the one that is there: subscribing again is no error. */
  #join(id: number | null, name: unknown, params: Params): { sub: Subscription; added: string[] } | null {
    const refuse = (code: number, more: Params = {}): null => {
      this.#error(code, id, null, more)
      return null
    }
    if (typeof name !== 'string' || !CHANNELS.includes(name as Channel)) return refuse(8)
    const channel = name as Channel
    if (channel === 'communications') {
      const { shard_factor: factor, shard_key: key } = params
      if (factor !== undefined && !(Number.isSafeInteger(factor) && (factor as number) > 0)) return refuse(19)
      if (factor === undefined && key !== undefined) return refuse(20)
      if ((factor as number) > 100) return refuse(22)
      if (key !== undefined && !(Number.isSafeInteger(key) && (key as number) >= 0 && (key as number) < (factor as number)))
        return refuse(21)
    }
    let chosen: string[] = []
    if (FILTERED.includes(channel)) {
      const found = this.#markets(channel, params)
      if (typeof found === 'number') return refuse(found)
      if (found.unknown.length > 0) return refuse(11, { market_tickers: found.unknown })
      chosen = found.tickers
      if (channel === 'orderbook_delta' && chosen.length === 0) return refuse(14)
    } else if (INDEXED.includes(channel)) {
      const list = listOf(undefined, params[channel === 'pyth_value' ? 'underlying_tickers' : 'index_ids'])
      if (list === null) return refuse(11)
      chosen = list
    }
    let total = chosen.length
    for (const s of this.#subscriptions.values()) total += s.chosen.size
    if (total > MARKETS_MAX) return refuse(26)
    const everything = INDEXED.includes(channel) ? chosen.includes('all') : chosen.length === 0
    let sub = this.subscriptions.find((s) => s.channel === channel)
    if (sub === undefined) {
      sub = new Subscription(
        this,
        this.#nextSid++,
        channel,
        everything,
        params['use_yes_price'] === true,
        params['skip_ticker_ack'] === true,
      )
      this.#subscriptions.set(sub.sid, sub)
      this.#hub.add(sub)
    } else if (everything) sub.all = true
    const added = chosen.filter((c) => c !== 'all' && !sub.chosen.has(c))
    for (const c of added) sub.chosen.add(c)
    return { sub, added }
  }

  /** Tickers of a command; ids are for the ticker channel alone. A number is an error code. */
  #markets(channel: Channel, params: Params): { tickers: string[]; unknown: string[] } | number {
    const tickers = listOf(params['market_ticker'], params['market_tickers'])
    const ids = listOf(params['market_id'], params['market_ids'])
    if (tickers === null || ids === null) return 11
    if (params['market_ticker'] !== undefined && params['market_tickers'] !== undefined) return 11
    if (ids.length > 0) {
      if (channel !== 'ticker' || tickers.length > 0) return 11
      const found = ids.map((i) => this.#hub.tickerOf(i))
      return { tickers: found.filter((t) => t !== null), unknown: ids.filter((_, n) => found[n] === null) }
    }
    return { tickers: [...new Set(tickers)], unknown: tickers.filter((t) => !this.#hub.knows(t)) }
  }

  #first(sub: Subscription, added: readonly string[], tickers: boolean): void {
    if (sub.channel === 'orderbook_delta') for (const t of added) this.#hub.snapshot(sub, t, null)
    if (sub.channel === 'ticker' && tickers) for (const t of added) this.#hub.tickerNow(sub, t)
  }

  #unsubscribe(id: number | null, params: Params): void {
    const sids = params['sids']
    if (!Array.isArray(sids) || sids.length === 0) return this.#error(4, id)
    for (const sid of sids as unknown[]) {
      const sub = typeof sid === 'number' ? this.#subscriptions.get(sid) : undefined
      if (sub === undefined) {
        this.#error(7, id, typeof sid === 'number' && sid > 0 ? sid : null)
        continue
      }
      this.#drop(sub)
      this.#reply({ ...named(id), sid: sub.sid, seq: ++sub.seq, type: 'unsubscribed' }, sub.channel, sub.sid, sub.seq)
    }
  }

  #update(id: number | null, params: Params): void {
    const sids = params['sids']
    const sid = params['sid'] ?? (Array.isArray(sids) && sids.length === 1 ? (sids as unknown[])[0] : undefined)
    if (typeof sid !== 'number' || (params['sid'] !== undefined && sids !== undefined)) return this.#error(12, id)
    const sub = this.#subscriptions.get(sid)
    if (sub === undefined) return this.#error(7, id, sid > 0 ? sid : null)
    const action = textOf(params['action'])
    if (action === null) return this.#error(15, id, sid)
    if (INDEXED.includes(sub.channel)) return this.#updateIndices(id, sub, action, params)
    if (!FILTERED.includes(sub.channel)) return this.#error(13, id, sid)
    if (action !== 'add_markets' && action !== 'delete_markets' && (action !== 'get_snapshot' || sub.channel !== 'orderbook_delta'))
      return this.#error(13, id, sid)
    const found = this.#markets(sub.channel, params)
    if (typeof found === 'number') return this.#error(found, id, sid)
    if (found.tickers.length === 0 && found.unknown.length === 0) return this.#error(14, id, sid)
    if (action !== 'delete_markets' && found.unknown.length > 0) return this.#error(11, id, sid, { market_tickers: found.unknown })
    if (action === 'get_snapshot') {
      for (const t of found.tickers) this.#hub.snapshot(sub, t, id)
      return
    }
    const added = found.tickers.filter((t) => !sub.chosen.has(t))
    if (action === 'add_markets') for (const t of added) sub.chosen.add(t)
    else for (const t of found.tickers) sub.chosen.delete(t)
    this.#reply(
      { ...named(id), sid, seq: ++sub.seq, type: 'ok', ...(sub.quietAck ? {} : { msg: { market_tickers: [...sub.chosen] } }) },
      sub.channel,
      sid,
      sub.seq,
    )
    if (action === 'add_markets') this.#first(sub, added, params['send_initial_snapshot'] === true)
  }

  #updateIndices(id: number | null, sub: Subscription, action: string, params: Params): void {
    const pyth = sub.channel === 'pyth_value'
    const field = pyth ? 'underlying_tickers' : 'index_ids'
    if (action === (pyth ? 'underlying_list' : 'indexlist')) {
      const known = this.#hub.indices.known(pyth ? 'pyth' : 'cfbenchmarks')
      const type = pyth ? 'pyth_value_underlying_list' : `${sub.channel}_indexlist`
      return this.#reply({ ...named(id), type, sid: sub.sid, seq: ++sub.seq, msg: { [field]: known } }, sub.channel, sub.sid, sub.seq)
    }
    const adds = action === (pyth ? 'subscribe_underlyings' : 'subscribe_indices')
    if (!adds && action !== (pyth ? 'unsubscribe_underlyings' : 'unsubscribe_indices')) return this.#error(13, id, sub.sid)
    const list = listOf(undefined, params[field])
    if (list === null || list.length === 0) return this.#error(pyth ? 28 : 24, id, sub.sid)
    for (const name of list) {
      if (name === 'all') {
        sub.all = adds
        if (!adds) sub.chosen.clear()
      } else if (adds) sub.chosen.add(name)
      else sub.chosen.delete(name)
    }
    const now = sub.all ? ['all'] : [...sub.chosen]
    this.#reply({ ...named(id), type: 'ok', sid: sub.sid, seq: ++sub.seq, msg: { [field]: now } }, sub.channel, sub.sid, sub.seq)
  }

  // ---------------------------------------------------------------------------------------------- frames out

  /** A message on a subscription; `body` is JSON text. */
  message(sub: Subscription, type: string, body: string, id: number | null = null): void {
    const numbered = NUMBERED.has(sub.channel)
    const seq = numbered ? ++sub.seq : null
    const head = `{"type":"${type}","sid":${sub.sid}${seq === null ? '' : `,"seq":${seq}`}${id === null ? '' : `,"id":${id}`}`
    this.#send({
      text: `${head},"msg":${body},"sending_ts_ms":${milliseconds(this.#hub.now)}}\n`,
      type,
      channel: sub.channel,
      sid: sub.sid,
      seq,
    })
  }
  /** A channel breaks: the client has to subscribe again. 10: channel error, 25: buffer overflow. */
  fail(sub: Subscription, code: 10 | 25): void {
    this.#drop(sub)
    this.#error(code, null, sub.sid)
  }
  close(): void {
    for (const sub of this.#subscriptions.values()) this.#hub.remove(sub)
    this.#subscriptions.clear()
    this.#hub.left(this)
  }

  #drop(sub: Subscription): void {
    this.#subscriptions.delete(sub.sid)
    this.#hub.remove(sub)
  }
  #error(code: number, id: number | null, sid: number | null = null, more: Params = {}): void {
    this.#reply(
      { ...named(id), type: 'error', ...(sid === null ? {} : { sid }), msg: { code, msg: ERRORS[code] ?? 'Channel error', ...more } },
      null,
      sid,
    )
  }
  #reply(message: Record<string, unknown>, channel: Channel | null, sid: number | null, seq: number | null = null): void {
    const text = `${JSON.stringify({ ...message, sending_ts_ms: milliseconds(this.#hub.now) })}\n`
    this.#send({ text, type: String(message['type']), channel, sid, seq })
  }
}

function named(id: number | null): { id?: number } {
  return id === null ? {} : { id }
}
