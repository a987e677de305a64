/**
 * Dispatch: the calls into strategies. Owns how a handler is called and whose fault an error is; hides the handlers. Invariant: a strategy that threw is
 * not called again, so that what ran so far can be finished.
 */
import { AssertionError, unreachable } from './assert.ts'
import type { StrategyDesk } from './desk.ts'
import type { Market } from './market.ts'
import type { Answer, Order } from './order.ts'
import type { ExternalView, Strategy } from './strategy.ts'
import { StrategyError, type Call } from './strategy-error.ts'
import { BID, type Price, type SideCode, type Timestamp } from './units.ts'
import type { MarketBook } from './view.ts'

/** What a handler other than `onBook` is told, after the rows and answers of its instant. */
export type Notice =
  | {
      readonly type: 'trade'
      readonly market: Market
      readonly side: SideCode
      readonly price: number
      readonly quantity: number
      readonly timeVenue: number
    }
  | { readonly type: 'fill'; readonly order: Order; readonly answer: Extract<Answer, { type: 'fill' }> }
  | { readonly type: 'status'; readonly market: Market }
  | { readonly type: 'settlement'; readonly market: Market; readonly positions: readonly number[] }
  | { readonly type: 'external'; readonly view: ExternalView }

export class Dispatch {
  readonly #strategies: readonly Strategy[]
  readonly #desks: readonly StrategyDesk[]
  readonly listensToTrades: boolean
  #stopped = false
  /** The call at hand: plain fields, for the hot path. `#owner` −1: none. */
  #owner = -1
  #handler = ''
  #market: { readonly ticker: string } | null = null

  constructor(strategies: readonly Strategy[], desks: readonly StrategyDesk[]) {
    this.#strategies = strategies
    this.#desks = desks
    this.listensToTrades = strategies.some((s) => s.onTrade !== undefined)
  }

  /** Whose handler is running, for whoever had to break it off. */
  get calling(): Call | null {
    const strategy = this.#strategies[this.#owner]
    return strategy === undefined ? null : { strategy: strategy.name, handler: this.#handler, market: this.#market?.ticker ?? null }
  }
  /** No handler is called any more. */
  stop(): void {
    this.#stopped = true
  }

  start(): void {
    this.#each('onStart', null, (s, desk) => s.onStart?.(desk))
  }
  wake(owner: number): void {
    this.#each('onWake', null, (s, desk, o) => (o === owner ? s.onWake?.(desk) : undefined))
  }

  /** The hot one: no closure for each row. */
  book(view: MarketBook): void {
    if (this.#stopped) return
    for (let owner = 0; owner < this.#strategies.length; owner++) {
      const strategy = this.#strategies[owner] as Strategy
      if (strategy.onBook === undefined) continue
      this.#owner = owner
      this.#handler = 'onBook'
      this.#market = view.market
      try {
        const returned: unknown = strategy.onBook(view, this.#desks[owner] as StrategyDesk)
        if (returned !== undefined) this.#refuseLater(returned)
      } catch (error) {
        throw this.#blame(error)
      }
    }
    this.#owner = -1
  }

  notify(n: Notice): void {
    switch (n.type) {
      case 'trade': {
        const trade = Object.freeze({
          market: n.market.face,
          side: n.side === BID ? ('bid' as const) : ('ask' as const),
          price: n.price as Price,
          size: n.quantity / 100,
          timeVenue: n.timeVenue as Timestamp,
        })
        this.#each('onTrade', n.market, (s, desk) => s.onTrade?.(trade, desk))
        break
      }
      case 'fill': {
        const fill = Object.freeze({
          market: n.order.market.face,
          side: n.order.side === BID ? ('bid' as const) : ('ask' as const),
          price: n.answer.price,
          size: n.answer.quantity / 100,
          maker: n.answer.maker,
          fee: n.answer.fee / 1e6,
        })
        this.#each('onFill', n.order.market, (s, desk, owner) => (owner === n.order.owner ? s.onFill?.(fill, desk) : undefined))
        break
      }
      case 'status':
        this.#each('onStatus', n.market, (s, desk) => s.onStatus?.(n.market.face, desk))
        break
      case 'settlement':
        this.#each('onSettlement', n.market, (s, desk, owner) =>
          s.onSettlement?.(
            {
              market: n.market.face,
              result: n.market.result ?? '',
              value: n.market.settlementValue as Price,
              position: (n.positions[owner] ?? 0) / 100,
            },
            desk,
          ),
        )
        break
      case 'external':
        this.#each('onExternal', null, (s, desk) => s.onExternal?.(n.view, desk))
        break
      default:
        unreachable(n)
    }
  }

  #each(handler: string, market: Market | null, call: (strategy: Strategy, desk: StrategyDesk, owner: number) => unknown): void {
    if (this.#stopped) return
    this.#strategies.forEach((strategy, owner) => {
      this.#owner = owner
      this.#handler = handler
      this.#market = market
      try {
        const returned = call(strategy, this.#desks[owner] as StrategyDesk, owner)
        if (returned !== undefined) this.#refuseLater(returned)
      } catch (error) {
        throw this.#blame(error)
      }
    })
    this.#owner = -1
  }

  /** A handler decides before it returns: what it did after an `await` would come between two batches, wherever those happen to be cut. */
  #refuseLater(returned: unknown): void {
    if (typeof returned !== 'object' || returned === null) return
    const { then, next } = returned as { then?: unknown; next?: unknown }
    if (typeof then !== 'function' && typeof next !== 'function') return
    // Nobody will wait for it, so nobody is told of its failure either.
    if (typeof then === 'function')
      then.call(
        returned,
        () => {},
        () => {},
      )
    const strategy = this.#strategies[this.#owner] as Strategy
    throw new StrategyError(
      'STRATEGY_ASYNC',
      `Strategy ${strategy.name}: ${this.#handler} is ${typeof then === 'function' ? 'async (it returned a promise)' : 'a generator (its body never ran)'}: a handler decides before it returns; desk.wake comes back later`,
    )
  }

  /** A strategy's own error says whose it is and where; a broken invariant of ours stays what it is. */
  #blame(error: unknown): unknown {
    this.#stopped = true
    const call = this.calling
    this.#owner = -1
    if (error instanceof AssertionError || call === null) return error
    if (error instanceof StrategyError) {
      error.call ??= call
      return error
    }
    const text = error instanceof Error ? error.message : String(error)
    const readOnly = error instanceof TypeError && /only a getter|not extensible|read only/.test(text)
    const blamed = readOnly
      ? new StrategyError(
          'STRATEGY_READ_ONLY',
          `Strategy ${call.strategy} tried in ${call.handler} to change what it is shown: ${text}`,
          error,
        )
      : new StrategyError('STRATEGY_THREW', `Strategy ${call.strategy} threw in ${call.handler}: ${text}`, error)
    blamed.call = call
    return blamed
  }
}
