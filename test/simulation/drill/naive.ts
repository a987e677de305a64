/**
 * A small honest trader to prove the drill itself: the feed for its eyes, plain requests for its hands, and mistakes that can be planted. Owns its orders and books; shares no code with the venue that is
 * drilled later. Invariant: without a mistake it does what reliability asks for, slowly.
 */
import { environmentOf } from '../../../adapters/kalshi/environment.ts'
import { KalshiFeed } from '../../../adapters/kalshi/feed.ts'
import type { HttpAnswer, World } from '../../../adapters/kalshi/ports.ts'
import { Budget } from '../../../adapters/kalshi/rate-limit.ts'
import { Rest } from '../../../adapters/kalshi/rest.ts'
import type { Signer } from '../../../adapters/kalshi/sign.ts'
import { Kind, type CatalogDetail, type StatusDetail } from '../../../engine/message.ts'
import { Book } from '../../../engine/book.ts'
import { gridOf } from '../../../engine/grid.ts'
import { PRICE_ONE, type SideCode } from '../../../engine/units.ts'
import type { Mount } from './disk.ts'
import type { Dice } from './swarm.ts'
import type { DrillLimits, LastWord } from './truth.ts'

export const MISTAKES = [
  'sends again after a 500',
  'takes no answer for a refusal',
  'a new id for the second try',
  'drops fills of unknown orders',
  'forgets unknown orders in its limits',
  'reads the brake before it waits',
  'books fills by order',
  'takes a part for the whole',
  'takes a 404 for canceled',
  'sends before the disk',
] as const
export type Mistake = (typeof MISTAKES)[number]

type Mine = {
  readonly client: string
  readonly ticker: string
  readonly side: SideCode
  readonly price: number
  readonly quantity: number
  readonly sentAt: number
  id: string | null
  state: 'sent' | 'open' | 'unknown' | 'over'
  /** As the list says, and as we booked. */
  reported: number
  booked: number
  listed: 'resting' | 'canceled' | 'executed' | null
  absences: number
  pulledAt: number
}
type Seen = { readonly ticker: string; readonly shard: number; readonly book: Book; synced: boolean; status: string }
type Record_ =
  | { kind: 'intent'; client: string; ticker: string; side: SideCode; price: number; quantity: number; time: number }
  | { kind: 'boot' }
type Row = Record<string, unknown>

const SECOND = 1_000_000
const MARGIN = 60 * SECOND
const ROOT = 'http://127.0.0.1:1'

export type NaiveParts = {
  readonly world: World
  readonly signer: Signer
  readonly disk: Mount<string>
  readonly dice: Dice
  readonly limits: DrillLimits
  readonly isHalted: () => boolean
  readonly cash: number
  readonly mistake: Mistake | null
  readonly series: string
}

export class Naive {
  readonly #p: NaiveParts
  readonly #feed: KalshiFeed
  readonly #seen = new Map<number, Seen>()
  readonly #orders = new Map<string, Mine>()
  readonly #byId = new Map<string, Mine>()
  readonly #trades: string[] = []
  readonly #filledBy = new Map<string, number>()
  readonly #booked = new Set<string>()
  readonly #positions = new Map<string, number>()
  readonly #settled = new Set<string>()
  #flows = 0
  /** What collateral that was paid for shorts became at settlement. */
  #paid = 0
  readonly #generation: number
  #number = 0
  /** A whole look at the account since the start. */
  #looked = false
  #stopping = false

  constructor(parts: NaiveParts) {
    this.#p = parts
    const { world, signer, disk, series } = parts
    const environment = environmentOf(ROOT)
    const budget = new Budget({ read: { perSecond: 1200, capacity: 1200 }, write: { perSecond: 1200, capacity: 1200 } })
    this.#feed = new KalshiFeed({
      environment,
      signer,
      rest: new Rest(environment, signer, budget, world),
      world,
      options: { rule: { series: [series] }, labelWait: 0 },
    })
    let boots = 0
    for (const text of disk.kept) {
      const record = JSON.parse(text) as Record_
      if (record.kind === 'boot') boots++
      // What was meant may have been sent.
      else this.#keep(record.client, record.ticker, record.side, record.price, record.quantity, record.time).state = 'unknown'
    }
    this.#generation = boots
    disk.append(JSON.stringify({ kind: 'boot' }))
  }
  start(): void {
    this.#feed.start()
    const every = (delay: number, call: () => void): void => {
      const again = (): void => {
        call()
        this.#p.world.timers.after(delay, again)
      }
      this.#p.world.timers.after(delay, again)
    }
    void this.#p.disk.sync().then(() => {
      every(100_000, () => this.#read())
      every(700_000, () => this.#trade())
      every(2 * SECOND, () => void this.#look())
    })
  }
  /** Sends nothing new, and takes back what rests. */
  stop(): void {
    this.#stopping = true
  }

  // ---------------------------------------------------------------------------------------------- eyes

  #read(): void {
    for (let b = this.#feed.poll(); b !== undefined; b = this.#feed.poll())
      for (let i = 0; i < b.length; i++) {
        const number = b.market[i] as number
        const detail = (b.detail[i] as number) < 0 ? '' : (b.details[b.detail[i] as number] as string)
        if (b.kind[i] === Kind.CATALOG) {
          const { ticker, grid, status } = JSON.parse(detail) as CatalogDetail
          this.#seen.set(number, { ticker, shard: 0, book: new Book(gridOf(grid)), synced: false, status })
        }
        const seen = this.#seen.get(number)
        if (seen === undefined) continue
        const [side, price, quantity] = [b.side[i] as SideCode, b.price[i] as number, b.quantity[i] as number]
        const kind = b.kind[i]
        if (kind === Kind.CLEAR) {
          seen.book.clear()
          seen.synced = true
        } else if (kind === Kind.LEVEL) seen.book.set(side, price, quantity)
        else if (kind === Kind.DELTA && seen.synced) seen.book.change(side, price, quantity)
        else if (kind === Kind.SYNC) seen.synced = false
        else if (kind === Kind.STATUS) seen.status = (JSON.parse(detail) as StatusDetail).status
      }
  }

  // ---------------------------------------------------------------------------------------------- hands

  #trade(): void {
    const { dice, world, isHalted } = this.#p
    const now = world.clock.now()
    for (const o of this.#orders.values())
      if (
        o.state === 'open' &&
        o.id !== null &&
        now - o.pulledAt > 3 * SECOND &&
        (this.#stopping || isHalted() || (now - o.sentAt > 3 * SECOND && dice.hit(0.4)))
      )
        void this.#pull(o)
    if (this.#stopping || !this.#looked || isHalted()) return
    for (const seen of this.#seen.values()) {
      if (!seen.synced || seen.status !== 'active' || !seen.book.twoSided || seen.book.crossed || !dice.hit(0.5)) continue
      const side: SideCode = dice.hit(0.5) ? 0 : 1
      const taking = dice.hit(0.25)
      const { bid, ask } = seen.book
      const price = side === 0 ? (taking ? ask : bid) : taking ? bid : ask
      const quantity = dice.between(1, 12) * 100
      if (this.#mayAdd(seen.ticker, side, quantity)) void this.#send(seen.ticker, side, price, quantity, taking)
    }
  }
  /** Whatever has not ended counts whole; an unknown one blocks its market. */
  #mayAdd(ticker: string, side: SideCode, quantity: number): boolean {
    let open = 0
    for (const o of this.#orders.values()) {
      if (o.ticker !== ticker || o.state === 'over') continue
      if (o.state === 'unknown') {
        if (this.#p.mistake === 'forgets unknown orders in its limits') continue
        return false
      }
      if (o.side === side) open += o.quantity - o.booked
      // Never against ourselves.
      else return false
    }
    const position = this.#positions.get(ticker) ?? 0
    return open + (side === 0 ? position : -position) + quantity <= this.#p.limits.positionMax
  }
  #keep(client: string, ticker: string, side: SideCode, price: number, quantity: number, sentAt: number): Mine {
    const o: Mine = {
      client,
      ticker,
      side,
      price,
      quantity,
      sentAt,
      id: null,
      state: 'sent',
      reported: 0,
      booked: 0,
      listed: null,
      absences: 0,
      pulledAt: 0,
    }
    this.#orders.set(client, o)
    return o
  }

  async #send(ticker: string, side: SideCode, price: number, quantity: number, taking: boolean): Promise<void> {
    const { disk, world, mistake, isHalted } = this.#p
    const client = `naive-${this.#generation}-${this.#number++}`
    const o = this.#keep(client, ticker, side, price, quantity, world.clock.now())
    const intent: Record_ = { kind: 'intent', client, ticker, side, price, quantity, time: o.sentAt }
    disk.append(JSON.stringify(intent))
    const early = isHalted()
    if (mistake === 'sends before the disk') void disk.sync()
    else await disk.sync()
    if (mistake === 'reads the brake before it waits' ? early : isHalted()) {
      o.state = 'over'
      return
    }
    await this.#create(o, client, taking, mistake === 'sends again after a 500' || mistake === 'a new id for the second try' ? 1 : 0)
  }
  async #create(o: Mine, client: string, taking: boolean, tries: number): Promise<void> {
    const body = {
      ticker: o.ticker,
      client_order_id: client,
      side: o.side === 0 ? 'bid' : 'ask',
      count: (o.quantity / 100).toFixed(2),
      price: (o.price / 10_000).toFixed(4),
      time_in_force: taking ? 'immediate_or_cancel' : 'good_till_canceled',
      self_trade_prevention_type: 'taker_at_cross',
    }
    const answer = await this.#ask('POST', '/portfolio/events/orders', body)
    if (answer !== null && answer.status >= 200 && answer.status < 300) {
      const said = parsed(answer)
      if (said !== null && said['client_order_id'] === client && typeof said['order_id'] === 'string') {
        this.#name(o, said['order_id'])
        if (o.state !== 'over') o.state = 'open'
        return
      }
    } else if (answer !== null && answer.status !== 408 && answer.status < 500) {
      const code = parsed(answer)?.['error']
      if (code !== undefined) {
        o.state = 'over'
        return
      }
    } else if (tries > 0) {
      if (this.#p.mistake !== 'a new id for the second try') return this.#create(o, client, taking, tries - 1)
      const again = this.#keep(`${client}x`, o.ticker, o.side, o.price, o.quantity, o.sentAt)
      o.state = 'unknown'
      return this.#create(again, again.client, taking, 0)
    }
    if (o.state === 'sent') o.state = this.#p.mistake === 'takes no answer for a refusal' ? 'over' : 'unknown'
  }
  async #pull(o: Mine): Promise<void> {
    o.pulledAt = this.#p.world.clock.now()
    const answer = await this.#ask('DELETE', `/portfolio/events/orders/${o.id ?? ''}?market_ticker=${o.ticker}`, null)
    // What became of it, the list says.
    if (answer?.status === 404 && this.#p.mistake === 'takes a 404 for canceled') o.state = 'over'
  }
  #name(o: Mine, id: string): void {
    o.id = id
    this.#byId.set(id, o)
    o.booked = this.#filledBy.get(id) ?? 0
  }

  // ---------------------------------------------------------------------------------------------- books

  #looking = false
  /** One whole look at the account: settlements, fills, orders, in the order in which they cannot contradict what is booked. */
  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const { mistake, world } = this.#p
      const stamp = await this.#get('/exchange/user_data_timestamp')
      const settlements = await this.#all('/portfolio/settlements', 'settlements')
      const orders = await this.#all('/portfolio/orders', 'orders')
      // After the orders: what they report filled is in the list by then.
      const fills = await this.#all('/portfolio/fills', 'fills')
      if (stamp === null || settlements === null || fills === null || orders === null) return
      const asOf = Date.parse(String(stamp['as_of_time'])) * 1000
      const listed = new Set<string>()
      for (const row of orders) {
        const o = this.#orders.get(String(row['client_order_id']))
        if (o === undefined) continue
        listed.add(o.client)
        if (o.id === null) this.#name(o, String(row['order_id']))
        o.listed = row['status'] as 'resting'
        o.reported = hundredths(row['fill_count_fp'])
        if (o.state === 'unknown' || o.state === 'sent' || (o.state === 'over' && o.listed === 'resting')) o.state = 'open'
      }
      for (const row of fills.reverse()) this.#fill(row)
      for (const row of settlements) this.#settle(row)
      for (const o of this.#orders.values()) {
        if (o.state === 'open' && o.listed !== null && o.listed !== 'resting' && o.booked >= o.reported) o.state = 'over'
        if (o.state !== 'unknown' || listed.has(o.client)) continue
        if (mistake === 'takes a part for the whole') o.absences = 99
        else if (world.clock.now() - o.sentAt >= MARGIN && asOf >= o.sentAt + 5 * SECOND) o.absences++
        if (o.absences >= 5) o.state = 'over'
      }
      this.#looked = true
    } finally {
      this.#looking = false
    }
  }
  #fill(row: Row): void {
    const { mistake } = this.#p
    const trade = String(row['trade_id'])
    const o = this.#byId.get(String(row['order_id']))
    if (this.#booked.has(mistake === 'books fills by order' ? String(row['order_id']) : trade)) return
    if (o === undefined && mistake === 'drops fills of unknown orders') return
    this.#booked.add(mistake === 'books fills by order' ? String(row['order_id']) : trade)
    this.#trades.push(trade)
    const quantity = hundredths(row['count_fp'])
    const price = Math.round(Number(row['yes_price_dollars']) * 10_000)
    const change = row['book_side'] === 'bid' ? quantity : -quantity
    const ticker = String(row['ticker'])
    this.#positions.set(ticker, (this.#positions.get(ticker) ?? 0) + change)
    this.#flows += -change * price - Math.round(Number(row['fee_cost']) * 1e6)
    // Kept by the venue's number: the fill may be heard of before the order.
    const id = String(row['order_id'])
    this.#filledBy.set(id, (this.#filledBy.get(id) ?? 0) + quantity)
    if (o !== undefined) o.booked += quantity
  }
  #settle(row: Row): void {
    const ticker = String(row['ticker'])
    if (this.#settled.has(ticker)) return
    this.#settled.add(ticker)
    const held = hundredths(row['yes_count_fp']) - hundredths(row['no_count_fp'])
    this.#positions.set(ticker, (this.#positions.get(ticker) ?? 0) - held)
    this.#paid += Number(row['revenue']) * 10_000 - Math.max(0, -held) * PRICE_ONE
  }
  lastWord(): LastWord {
    let locked = 0
    for (const q of this.#positions.values()) locked += Math.max(0, -q) * PRICE_ONE
    let unknown = 0
    const alive: string[] = []
    for (const o of this.#orders.values()) {
      if (o.state === 'unknown') unknown++
      if (o.state === 'open' || o.state === 'sent') alive.push(`${o.client} ${o.state}`)
    }
    return {
      cash: this.#p.cash + this.#flows + this.#paid - locked,
      positions: this.#positions,
      trades: this.#trades,
      unknown,
      alive,
      stopped: null,
    }
  }
  /** Everything has an end that is proved. */
  get calm(): boolean {
    const { unknown, alive } = this.lastWord()
    return this.#looked && unknown === 0 && alive.length === 0
  }

  // ---------------------------------------------------------------------------------------------- requests

  async #ask(method: 'GET' | 'POST' | 'DELETE', path: string, body: Row | null): Promise<HttpAnswer | null> {
    const { world, signer } = this.#p
    try {
      return await world.http.request({
        method,
        url: `${ROOT}/trade-api/v2${path}`,
        headers: signer.headers(method, `/trade-api/v2${path}`, world.clock.wall()),
        body: body === null ? null : JSON.stringify(body),
        timeout: 5 * SECOND,
        ...(method === 'POST' && this.#p.mistake !== 'reads the brake before it waits' ? { mayLeave: () => !this.#p.isHalted() } : {}),
      })
    } catch {
      return null
    }
  }
  async #get(path: string): Promise<Row | null> {
    const answer = await this.#ask('GET', path, null)
    return answer?.status === 200 ? parsed(answer) : null
  }
  /** A list to its end, or null. */
  async #all(path: string, field: string): Promise<Row[] | null> {
    const rows: Row[] = []
    const seen = new Set<string>()
    for (let cursor = ''; ; ) {
      const page = await this.#get(`${path}?limit=1000${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`)
      const whole = this.#p.mistake !== 'takes a part for the whole'
      if (page === null || !Array.isArray(page[field])) return whole || rows.length === 0 ? null : rows
      rows.push(...(page[field] as Row[]))
      const next = typeof page['cursor'] === 'string' ? page['cursor'] : ''
      if (next === '') return rows
      if (seen.has(next)) return whole ? null : rows
      seen.add(next)
      cursor = next
    }
  }
}

function parsed({ body }: HttpAnswer): Row | null {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Row) : null
  } catch {
    return null
  }
}
const hundredths = (value: unknown): number => Math.round(Number(value) * 100)
