/**
 * Dispatch: the calls into strategies. Owns how a handler is called and whose fault an error is; hides the handlers. Invariant: a strategy that threw is
 * not called again, so that what ran so far can be finished.
 */
import { AssertionError, unreachable } from './assert.ts'
import type { StrategyDesk } from './desk.ts'
import type { Market } from './market.ts'
import type { Answer, Order } from './order.ts'
import type { ExternalView, Strategy } from './strategy.ts'
import { StrategyError } from './strategy-error.ts'
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

  constructor(strategies: readonly Strategy[], desks: readonly StrategyDesk[]) {
    this.#strategies = strategies
    this.#desks = desks
    this.listensToTrades = strategies.some((s) => s.onTrade !== undefined)
  }

  start(): void {
    this.#each('onStart', (s, desk) => s.onStart?.(desk))
  }
  wake(owner: number): void {
    this.#each('onWake', (s, desk, o) => (o === owner ? s.onWake?.(desk) : undefined))
  }

  /** The hot one: no closure for each row. */
  book(view: MarketBook): void {
    if (this.#stopped) return
    for (let owner = 0; owner < this.#strategies.length; owner++) {
      const strategy = this.#strategies[owner] as Strategy
      if (strategy.onBook === undefined) continue
      try {
        strategy.onBook(view, this.#desks[owner] as StrategyDesk)
      } catch (error) {
        throw this.#blame(error, strategy, 'onBook')
      }
    }
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
        this.#each('onTrade', (s, desk) => s.onTrade?.(trade, desk))
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
        this.#each('onFill', (s, desk, owner) => (owner === n.order.owner ? s.onFill?.(fill, desk) : undefined))
        break
      }
      case 'status':
        this.#each('onStatus', (s, desk) => s.onStatus?.(n.market.face, desk))
        break
      case 'settlement':
        this.#each('onSettlement', (s, desk, owner) =>
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
        this.#each('onExternal', (s, desk) => s.onExternal?.(n.view, desk))
        break
      default:
        unreachable(n)
    }
  }

  #each(handler: string, call: (strategy: Strategy, desk: StrategyDesk, owner: number) => void): void {
    if (this.#stopped) return
    this.#strategies.forEach((strategy, owner) => {
      try {
        call(strategy, this.#desks[owner] as StrategyDesk, owner)
      } catch (error) {
        throw this.#blame(error, strategy, handler)
      }
    })
  }

  /** A strategy's own error says whose it is and where; a broken invariant of ours stays what it is. */
  #blame(error: unknown, strategy: Strategy, handler: string): unknown {
    this.#stopped = true
    if (error instanceof AssertionError || error instanceof StrategyError) return error
    const text = error instanceof Error ? error.message : String(error)
    if (error instanceof TypeError && /only a getter|not extensible|read only/.test(text))
      return new StrategyError(
        'STRATEGY_READ_ONLY',
        `Strategy ${strategy.name} tried in ${handler} to change what it is shown: ${text}`,
        error,
      )
    return new StrategyError('STRATEGY_THREW', `Strategy ${strategy.name} threw in ${handler}: ${text}`, error)
  }
}
