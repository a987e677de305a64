/**
 * What only a live session has: news of the account takes effect. Owns which news does what, and the halts of markets; hides nothing. Invariants: money that moved is booked, whoever moved it; what does
 * not fit our books is never made to fit: it stops new risk, in its market or everywhere, and says why.
 */
import { JournalKind, type Journal } from './journal.ts'
import type { Market, Markets } from './market.ts'
import type { AnswerNews, News } from './news.ts'
import type { Answer, Order } from './order.ts'
import type { OrderManager } from './order-manager.ts'
import type { Portfolio } from './portfolio.ts'
import type { SessionCause, SessionState } from './session-state.ts'
import { ASK, BID, type Price, type Quantity, type SideCode } from './units.ts'
import type { Words } from './words.ts'

/** Who made the fills that no strategy made. */
export const OUTSIDE = 'outside'

/** What it asks of the engine. */
export interface LiveHost {
  readonly now: number
  readonly markets: Markets
  readonly portfolio: Portfolio
  readonly journal: Journal
  readonly words: Words
  readonly manager: OrderManager
  readonly session: SessionState
  answer(time: number, answer: Answer): void
  traded(market: Market): void
  /** Equity is another. */
  changed(): void
  filledLate(market: Market): void
}

export class Live {
  readonly #host: LiveHost
  readonly #outside: number
  /** Who halts a market, and why. */
  readonly #halts = new Map<Market, Map<string, string>>()
  /** Halts, and fills of others, in markets that the feed has not told of yet. */
  readonly #earlyHalts = new Map<string, Map<string, string>>()
  readonly #early = new Map<string, Extract<News, { type: 'foreign-fill' }>[]>()

  /** `outside`: the owner behind all strategies. */
  constructor(host: LiveHost, outside: number) {
    this.#host = host
    this.#outside = outside
  }

  learn(news: News): void {
    const host = this.#host
    if ('order' in news) {
      const order = host.manager.orderOf(news.order)
      // Its market has paid, and our books of it are closed: whatever this is, it is not as we thought.
      if (order === undefined) return this.#strange(`${news.type} of order ${news.order}, whose market has been paid`)
      return host.answer(host.now, answerOf(news, order))
    }
    switch (news.type) {
      case 'agreed':
      case 'disagreed':
        this.#note(null, news.type, news.reason)
        return host.session.move(news.type, host.now)
      case 'market-halted':
      case 'market-freed': {
        const market = host.markets.get(news.ticker)
        if (market === undefined) return this.#haltedEarly(news)
        return news.type === 'market-halted'
          ? this.#halt(market, news.by ?? '', news.reason)
          : this.#free(market, news.by ?? null, news.reason)
      }
      case 'foreign-fill':
        return this.#foreign(news)
    }
  }

  /** The feed tells of a market: what moved there before is booked now. */
  listed(market: Market): void {
    const halts = this.#earlyHalts.get(market.ticker)
    this.#earlyHalts.delete(market.ticker)
    for (const [by, reason] of halts ?? []) this.#halt(market, by, reason)
    const early = this.#early.get(market.ticker)
    if (early === undefined) return
    this.#early.delete(market.ticker)
    for (const news of early) this.#foreign(news)
  }
  /** The session changed its state: what rests at the exchange while we are blind, or wrong about it, is taken back. */
  entered(cause: SessionCause): void {
    if (cause === 'feed-lost' || cause === 'disagreed') this.#host.manager.pullAll(this.#host.markets.alive)
  }
  awaits(ticker: string): boolean {
    return this.#early.has(ticker)
  }
  /** What was held to be gone is not. */
  revived(order: Order): void {
    this.#halt(order.market, 'revived', 'an order came back that was held to be gone')
  }

  /** An operator has looked: what is still wrong is found again. */
  resumed(): void {
    this.#earlyHalts.clear()
    for (const market of this.#halts.keys()) this.#free(market, null, 'resumed by the operator')
  }
  /** A market that has paid may leave: false while something of ours is in it. */
  leaves(market: Market): boolean {
    if (this.#host.now < market.leavesAt) return false
    const h = market.holding
    if (h !== null && (h.position !== 0 || h.bidQuantity !== 0 || h.askQuantity !== 0)) return false
    this.#host.manager.forget(market)
    this.#halts.delete(market)
    return true
  }

  /** Whoever compares may know of a market before the feed tells of it: it is halted as soon as it is there. */
  #haltedEarly({ type, ticker, reason, by }: Extract<News, { type: 'market-halted' | 'market-freed' }>): void {
    const halts = this.#earlyHalts.get(ticker) ?? new Map<string, string>()
    if (type === 'market-halted') this.#earlyHalts.set(ticker, halts.set(by ?? '', reason))
    else if (by === undefined || (halts.delete(by) && halts.size === 0)) this.#earlyHalts.delete(ticker)
  }
  #halt(market: Market, by: string, reason: string): void {
    const halts = this.#halts.get(market) ?? new Map<string, string>()
    this.#halts.set(market, halts)
    halts.set(by, reason)
    market.halted = reason
    this.#note(market, 'market-halted', reason)
    this.#host.manager.pullAll([market])
  }
  /** `by` null: whoever halted it. */
  #free(market: Market, by: string | null, reason: string): void {
    const halts = this.#halts.get(market)
    if (halts === undefined || (by !== null && !halts.delete(by))) return
    if (by === null) halts.clear()
    market.halted = [...halts.values()].at(-1) ?? null
    if (market.halted === null) this.#halts.delete(market)
    this.#note(market, 'market-freed', reason)
  }
  /** Ours, though none of our orders made it: a position like any other. A person looks at the market, unless it was he who closed it. */
  #foreign(news: Extract<News, { type: 'foreign-fill' }>): void {
    const { portfolio, words, journal, markets, now } = this.#host
    const market = markets.get(news.ticker)
    if (market === undefined) {
      const early = this.#early.get(news.ticker)
      if (early === undefined) this.#early.set(news.ticker, [news])
      else early.push(news)
      return this.#strange(`a fill of the account in ${news.ticker}, which is not in the session`)
    }
    const side = news.side === 'bid' ? BID : ASK
    // What the operator closed was somebody's: who believes that he still holds it would close it once more.
    const parts =
      news.by === undefined
        ? [{ owner: this.#outside, quantity: news.quantity, fee: news.fee }]
        : closedBy(heldOf(market), side, news.quantity, news.fee, this.#outside)
    for (const { owner, quantity, fee } of parts) {
      portfolio.fill(market, owner, side, news.price, quantity, fee)
      journal.push(
        now,
        JournalKind.FILL,
        words.market(market),
        words.owner(owner),
        -1,
        side,
        news.price,
        quantity,
        news.maker ? words.maker : words.taker,
        words.of(news.by ?? 'not ours'),
        0,
        fee,
        news.timeVenue,
      )
    }
    this.#host.traded(market)
    this.#host.changed()
    this.#host.filledLate(market)
    if (news.by === undefined) this.#halt(market, 'foreign', 'a fill of the account that no order of the session made')
  }
  #strange(what: string): void {
    this.#note(null, 'disagreed', what)
    this.#host.session.move('disagreed', this.#host.now)
  }
  #note(market: Market | null, what: string, why: string): void {
    const { journal, words, now } = this.#host
    journal.state(now, market === null ? -1 : words.market(market), words.of(what), words.of(why))
  }
}

/** By owner; where the market has paid by now, with what it was paid for: a fill from before closed that. */
function heldOf({ holding }: Market): readonly number[] {
  if (holding === null) return []
  return Array.from({ length: holding.positions.length }, (_, owner) => (holding.positions[owner] ?? 0) + (holding.paidFor[owner] ?? 0))
}
/** Whose positions a fill closes, each as far as its share of them goes; what closes nobody's is `outside`'s. Σ is the fill, to the last digit. `positions`: by owner, signed. */
export function closedBy(
  positions: readonly (number | undefined)[],
  side: SideCode,
  quantity: number,
  fee: number,
  outside: number,
): readonly { readonly owner: number; readonly quantity: number; readonly fee: number }[] {
  const sign = side === BID ? -1 : 1
  const held = Array.from(positions, (p = 0) => Math.max(0, p * sign))
  const parts: { owner: number; quantity: number; fee: number }[] = []
  let total = held.reduce((a, h) => a + h, 0)
  let [left, feeLeft] = [quantity, fee]
  const take = (owner: number, part: number): void => {
    const share = part === left ? feeLeft : Math.floor((feeLeft * part) / left)
    const before = parts.find((p) => p.owner === owner)
    if (before === undefined) parts.push({ owner, quantity: part, fee: share })
    else {
      before.quantity += part
      before.fee += share
    }
    left -= part
    feeLeft -= share
  }
  held.forEach((h, owner) => {
    if (h === 0 || left === 0) return
    // What is left must still fit the others.
    const part = Math.min(h, left, Math.max(Math.round((left * h) / total), left - (total - h)))
    total -= h
    if (part > 0) take(owner, part)
  })
  if (left > 0) take(outside, left)
  return parts
}

function answerOf(news: AnswerNews, order: Order): Answer {
  const { timeVenue } = news
  switch (news.type) {
    case 'fill': {
      const { price, quantity, fee, maker } = news
      return { type: 'fill', order, timeVenue, price: price as Price, quantity: quantity as Quantity, fee, maker }
    }
    case 'accepted':
      return { type: 'accepted', order, timeVenue, remaining: news.remaining }
    case 'amended':
    case 'decreased':
      return { type: news.type, order, timeVenue, remaining: news.remaining }
    case 'absent':
      return { type: 'absent', order, timeVenue }
    case 'rejected':
    case 'cancel-rejected':
    case 'amend-rejected':
      return { type: news.type, order, timeVenue, reason: news.reason }
    case 'canceled':
    case 'no-answer':
      return { type: news.type, order, timeVenue, reason: news.reason }
  }
}
