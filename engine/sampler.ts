/**
 * The sampler: when a sample is taken. Touches of a traded market at most once a second and at every fill; equity when it changed, at
 * most once a second, with the extremes between; the mid at fixed horizons after each fill. Owns those rhythms; hides the pending
 * horizons. Invariant: sampling reads the session and never changes a decision.
 */
import type { Market } from './market.ts'
import type { Answer } from './order.ts'
import type { Words } from './words.ts'
import type { Portfolio } from './portfolio.ts'
import { MARKOUT_HORIZONS, type Samples } from './samples.ts'
import { SECOND } from './units.ts'

/** A fill whose next horizon is awaited. */
export type Markout = { readonly fill: number; readonly market: Market; readonly time: number; horizon: number }

export class Sampler {
  readonly #samples: Samples
  readonly #portfolio: Portfolio
  readonly #words: Words
  readonly #at: (time: number, markout: Markout) => void
  #fills = 0
  #equityTime = -Infinity
  #equityLast = Number.NaN

  constructor(samples: Samples, portfolio: Portfolio, words: Words, at: (time: number, markout: Markout) => void) {
    this.#samples = samples
    this.#portfolio = portfolio
    this.#words = words
    this.#at = at
  }

  /** A sampled market's book changed. */
  touched(market: Market, now: number): void {
    if (market.holding !== null && market.holding.position !== 0) {
      this.#portfolio.mark(market)
      if (now - this.#equityTime >= SECOND) this.equity(now)
    }
    if (now - market.touchTime >= SECOND) this.#touch(market, now)
  }

  filled(market: Market, answer: Extract<Answer, { type: 'fill' }>, now: number): void {
    this.#touch(market, now)
    this.equity(now)
    const markout: Markout = { fill: this.#fills++, market, time: answer.timeVenue, horizon: 0 }
    this.due(markout)
  }

  /** Takes the mid of the awaited horizon and waits for the next. */
  due(markout: Markout): void {
    const { market } = markout
    const { book } = market
    const settled = market.settlementValue >= 0
    let mid2 = -1
    if (settled) mid2 = 2 * market.settlementValue
    else if (market.depth === 'prints') mid2 = market.lastTrade < 0 ? -1 : 2 * market.lastTrade
    else if (market.synced && book.twoSided && !book.crossed) mid2 = book.bid + book.ask
    this.#samples.markout(markout.fill, MARKOUT_HORIZONS[markout.horizon] as number, mid2, settled ? 1 : 0)
    markout.horizon++
    const next = MARKOUT_HORIZONS[markout.horizon]
    if (next !== undefined) this.#at(markout.time + next, markout)
  }

  equity(now: number): void {
    const p = this.#portfolio
    const equity = p.equity
    if (equity === this.#equityLast && p.low === equity && p.high === equity) return
    this.#samples.equity(now, p.cash, p.locked, equity, p.equityMid, p.low, p.high, p.fees, p.drawdownMax, p.loss)
    p.low = equity
    p.high = equity
    this.#equityTime = now
    this.#equityLast = equity
  }

  /** Last look at a market that leaves. */
  retire(market: Market, now: number): void {
    this.#touch(market, now)
  }

  finish(now: number, markets: Iterable<Market>): void {
    for (const market of markets) if (market.sampled) this.#touch(market, now)
    this.equity(now)
  }

  #touch(market: Market, now: number): void {
    const { book } = market
    const prints = market.depth === 'prints'
    const bid = prints ? market.lastTrade : book.hasBid ? book.bid : -1
    const ask = prints ? market.lastTrade : book.hasAsk ? book.ask : -1
    const bidQuantity = book.bidQuantity
    const askQuantity = book.askQuantity
    if (
      bid === market.touchBid &&
      ask === market.touchAsk &&
      bidQuantity === market.touchBidQuantity &&
      askQuantity === market.touchAskQuantity
    )
      return
    market.touchTime = now
    market.touchBid = bid
    market.touchAsk = ask
    market.touchBidQuantity = bidQuantity
    market.touchAskQuantity = askQuantity
    this.#samples.touch(now, this.#words.market(market), bid, bidQuantity, ask, askQuantity)
  }
}
