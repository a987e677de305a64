/**
 * The oracle: what the exchange knows of the account, held against what a session may do and what it believes. Owns the list of mistakes; hides how worst cases are counted. Invariant: everything is judged from
 * the exchange's own books and from the bytes that left, nothing from the session's state but its last word.
 */
import { Hub, type Account, type Exchange } from '../../../adapters/exchange/index.ts'
import { BID, PRICE_ONE, type SideCode } from '../../../engine/units.ts'
import type { Network, Watcher, Way } from './network.ts'

export type DrillLimits = { readonly positionMax: number; readonly marketLossMax: number; readonly sessionLossMax: number }
/** What a session says at the end. */
export type LastWord = {
  /** Money on all shards, collateral of shorts paid. */
  readonly cash: number
  /** By ticker; flat ones may be left out. */
  readonly positions: ReadonlyMap<string, number>
  /** Trade ids, each as often as it was booked. */
  readonly trades: readonly string[]
  readonly unknown: number
  /** Orders that it believes alive, each in a word or two. */
  readonly alive: readonly string[]
  /** Why it gave up; null: it did not. */
  readonly stopped: string | null
  /** Client order ids of which it said that they never came to be. */
  readonly denied?: readonly string[]
  /** What it holds against itself. */
  readonly more?: readonly string[]
}
/** What the oracle asks of the session while it runs. */
export interface Witness {
  /** Is it an order of the session? */
  ours(clientId: string): boolean
  /** Its intent would survive a crash. */
  isSafe(clientId: string): boolean
  /** What was wanted when it was sent: one id each. */
  intentOf(clientId: string): string
}

type Side = { position: number; cash: number }
type Claim = { side: SideCode; price: number; quantity: number }

export class WatchedHub extends Hub {
  filled: (trade: string, ticker: string, clientId: string, side: SideCode, price: number, quantity: number) => void = () => {}
  override fill(account: Account, fill: Parameters<Hub['fill']>[1]): void {
    this.filled(fill.tradeId, fill.ticker, fill.clientId, fill.side, fill.price, fill.quantity)
    super.fill(account, fill)
  }
  changed = 0
  override order(...args: Parameters<Hub['order']>): void {
    this.changed++
    super.order(...args)
  }
}

export class Truth implements Watcher {
  readonly mistakes: string[] = []
  readonly #start: number
  readonly #now: () => number
  readonly #limits: DrillLimits
  readonly #witness: Witness
  readonly #left = new Map<string, number>()
  readonly #ids = new Map<string, string>()
  readonly effects = new Map<string, number>()
  readonly #own = new Map<string, Side>()
  /** What a human did on the account, summed up after each of his fills, by market. */
  readonly #others = new Map<string, Side[]>()
  /** [trade, quantity] of the account. */
  readonly trades: string[] = []
  exchange: Exchange | null = null
  account: Account | null = null
  network: Network | null = null
  haltedSince = -1
  /** Effects may come later than an order may be held to be absent. */
  late = false
  creates = 0
  fills = 0
  foreignFills = 0
  /** The largest share of a limit that was ever used. */
  used = 0
  #dirty = false
  #changed = 0

  constructor(now: () => number, limits: DrillLimits, witness: Witness) {
    this.#now = now
    this.#start = now()
    this.#limits = limits
    this.#witness = witness
  }

  attach(exchange: Exchange, account: Account, network: Network, hub: WatchedHub): void {
    this.exchange = exchange
    this.account = account
    this.network = network
    const { trading } = exchange
    const create = trading.create.bind(trading)
    trading.create = (owner, request) => {
      const made = create(owner, request)
      const { clientId } = request
      if (clientId !== null && this.#witness.ours(clientId)) {
        const n = (this.effects.get(clientId) ?? 0) + 1
        this.effects.set(clientId, n)
        if (n > 1) this.wrong(`${clientId} took effect ${n} times`)
      }
      this.#dirty = true
      return made
    }
    hub.filled = (trade, ticker, clientId, side, price, quantity) => {
      this.#dirty = true
      this.trades.push(trade)
      const ours = this.#witness.ours(clientId)
      if (ours) this.fills++
      else this.foreignFills++
      const change = side === BID ? quantity : -quantity
      if (ours) {
        const own = sideOf(this.#own, ticker)
        own.position += change
        // Without fees: an order that is the way out may cost its fee beyond a limit.
        own.cash -= change * price
        return
      }
      const before = this.#others.get(ticker) ?? [{ position: 0, cash: 0 }]
      const { position, cash } = before.at(-1) as Side
      this.#others.set(ticker, [...before, { position: position + change, cash: cash - change * price }])
    }
  }
  wrong(what: string): void {
    if (this.mistakes.length < 20) this.mistakes.push(`${((this.#now() - this.#start) / 1e6).toFixed(3)} s: ${what}`)
  }
  // ---------------------------------------------------------------------------------------------- while it runs

  /** Somebody pulled the brake. */
  halt(): void {
    if (this.haltedSince < 0) this.haltedSince = this.#now()
  }
  release(): void {
    this.haltedSince = -1
  }
  left(way: Way): void {
    this.#dirty = true
    const adds = way.method === 'POST' && (way.path.endsWith('/events/orders') || way.path.endsWith('/amend'))
    if (adds && this.haltedSince >= 0) this.wrong(`${way.path.split('/').at(-1)} leaves after the halt`)
    if (!isCreate(way)) return
    this.creates++
    const id = way.body['client_order_id']
    if (typeof id !== 'string' || !this.#witness.ours(id)) return this.wrong('a create leaves without an id of ours')
    const n = (this.#left.get(id) ?? 0) + 1
    this.#left.set(id, n)
    if (n > 1) this.wrong(`the create of ${id} leaves ${n} times`)
    if (!this.#witness.isSafe(id)) this.wrong(`${id} leaves before its intent is on disk`)
    const intent = this.#witness.intentOf(id)
    const before = this.#ids.get(intent)
    if (before !== undefined && before !== id) this.wrong(`intent ${intent} has two ids, ${before} and ${id}`)
    this.#ids.set(intent, id)
  }
  arrived(): void {
    this.#dirty = true
  }
  gone(): void {
    this.#dirty = true
  }

  /** After every event: the worst that our orders can still come to, those at the exchange and those on their way. */
  check(hub: WatchedHub): void {
    if (!this.#dirty && this.#changed === hub.changed) return
    this.#dirty = false
    this.#changed = hub.changed
    const claims = new Map<string, Claim[]>()
    const claim = (ticker: string, c: Claim): void => {
      const list = claims.get(ticker)
      if (list === undefined) claims.set(ticker, [c])
      else list.push(c)
    }
    const amends = new Map<string, Way>()
    for (const way of this.network?.ways ?? []) {
      if (way.path.endsWith('/amend')) amends.set(way.path.split('/').at(-2) as string, way)
      if (!isCreate(way) || this.effects.has(String(way.body['client_order_id']))) continue
      const { ticker, side, price, count } = way.body as Record<string, string>
      claim(ticker as string, { side: side === 'bid' ? 0 : 1, price: tenThousandths(price), quantity: hundredths(count) })
    }
    for (const order of this.account?.resting ?? []) {
      if (!this.#witness.ours(order.clientId)) continue
      const { side } = order
      const amend = amends.get(order.id)
      let { price } = order.venue
      let quantity: number = order.remaining
      if (amend !== undefined) {
        const next = tenThousandths(amend.body['price'] as string)
        price = (side === BID ? Math.max(price, next) : Math.min(price, next)) as typeof price
        quantity = Math.max(quantity, hundredths(amend.body['count'] as string) - order.filled)
      }
      claim(order.market.ticker, { side, price, quantity })
    }
    const { positionMax, marketLossMax, sessionLossMax } = this.#limits
    // A human on the same account moves the sums as well, and what he does is heard of later: only what is beyond whatever of his part counts is ours.
    let session = 0
    for (const ticker of new Set([...claims.keys(), ...this.#own.keys()])) {
      const list = claims.get(ticker) ?? []
      const own = sideOf(this.#own, ticker)
      const market = this.exchange?.markets.get(ticker)
      const value = market?.status === 'finalized' || market?.status === 'determined' ? market.value : -1
      let [position, loss] = [Infinity, Infinity]
      for (const other of this.#others.get(ticker) ?? [{ position: 0, cash: 0 }]) {
        const worst = worstOf({ position: own.position + other.position, cash: own.cash + other.cash }, list, value)
        position = Math.min(position, worst.position)
        loss = Math.min(loss, worst.loss)
      }
      session += loss
      this.used = Math.max(this.used, position / positionMax, loss / marketLossMax)
      if (position > positionMax)
        this.wrong(`${ticker}: the position may become ${position}, beyond ${positionMax} (${JSON.stringify([own, list])})`)
      if (loss > marketLossMax) this.wrong(`${ticker}: may lose ${loss}, more than ${marketLossMax}`)
    }
    this.used = Math.max(this.used, session / sessionLossMax)
    if (session > sessionLossMax) this.wrong(`the session may lose ${session}, more than ${sessionLossMax}`)
  }

  /** The session takes an order of its own for over, with so much filled: as the exchange has it? */
  ended(clientId: string, filled: number): void {
    const order = this.account?.clientIds.get(clientId)
    if (order === undefined || order === null) return this.wrong(`${clientId} is said to have ended, and never was`)
    if (order.state === 'resting') this.wrong(`${clientId} is said to have ended, and rests`)
    else if (order.filled !== filled) this.wrong(`${clientId} is said to have ended with ${filled} filled, and ${order.filled} were`)
  }

  /** The session says that its position is not the exchange's. */
  alarmed(ticker: string, position: number, why: string): void {
    if (this.account?.quantity(ticker, 0) === position) this.wrong(`a false alarm: ${why}`)
  }

  // ---------------------------------------------------------------------------------------------- at the end

  /** What of the last word is not so. */
  verdict(word: LastWord): string[] {
    const wrong: string[] = [...(word.more ?? [])]
    const account = this.account as Account
    if (word.unknown > 0 && word.stopped === null) wrong.push(`${word.unknown} orders are unknown and nothing was stopped`)
    const resting = [...account.resting].filter((o) => this.#witness.ours(o.clientId))
    if (resting.length > 0) wrong.push(`${resting.length} orders of ours still rest: ${resting.map((o) => o.clientId).join(' ')}`)
    if (word.alive.length > 0) wrong.push(`it believes that these orders are alive: ${word.alive.join(', ')}`)
    for (const id of word.denied ?? [])
      if (!this.late && this.effects.has(id)) wrong.push(`${id} took effect, and the session said that it never came to be`)
    const booked = new Map<string, number>()
    for (const t of word.trades) booked.set(t, (booked.get(t) ?? 0) + 1)
    const mine = new Map<string, number>()
    for (const t of this.trades) mine.set(t, (mine.get(t) ?? 0) + 1)
    for (const [trade, n] of mine)
      if (booked.get(trade) !== n) wrong.push(`trade ${trade} happened ${n} times and was booked ${booked.get(trade) ?? 0} times`)
    for (const trade of booked.keys()) if (!mine.has(trade)) wrong.push(`trade ${trade} was booked and never happened`)
    for (const ticker of new Set([...word.positions.keys(), ...[...account.positions.values()].map((p) => p.ticker)])) {
      const [is, said] = [account.quantity(ticker, 0), word.positions.get(ticker) ?? 0]
      if (is !== said) wrong.push(`${ticker}: the position is ${is} and the session says ${said}`)
    }
    if (account.total !== word.cash)
      wrong.push(`cash is ${account.total} and the session says ${word.cash} (${word.cash - account.total} too much)`)
    const audit = this.exchange?.audit()
    if (audit?.money !== 0 || audit.positions !== 0) wrong.push(`the exchange's own books do not add up: ${JSON.stringify(audit)}`)
    return wrong.slice(0, 10)
  }
}

function sideOf(sides: Map<string, Side>, ticker: string): Side {
  let side = sides.get(ticker)
  if (side === undefined) sides.set(ticker, (side = { position: 0, cash: 0 }))
  return side
}
/** The worst that a market can come to with every claim filled that hurts. `value`: of YES, once it is known. */
function worstOf({ position, cash }: Side, claims: readonly Claim[], value: number): { readonly position: number; readonly loss: number } {
  if (value >= 0) return { position: 0, loss: -cash - position * value }
  let [bids, asks, no, yes] = [0, 0, -cash, -cash - position * PRICE_ONE]
  for (const c of claims)
    if (c.side === BID) {
      bids += c.quantity
      no += c.price * c.quantity
    } else {
      asks += c.quantity
      yes += (PRICE_ONE - c.price) * c.quantity
    }
  return { position: Math.max(position + bids, asks - position), loss: Math.max(no, yes) }
}

export function isCreate(way: Way): boolean {
  return way.method === 'POST' && way.path.endsWith('/events/orders')
}
const tenThousandths = (text: string | undefined): number => Math.round(Number(text) * 10_000)
const hundredths = (text: string | undefined): number => Math.round(Number(text) * 100)
