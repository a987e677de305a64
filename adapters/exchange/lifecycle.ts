/**
 * Lives of markets (api.md §3.4, §3.5): listed, open, closed, determined, paid. Owns status changes and settlements; invariant: a market pays each
 * position once, in whole cents.
 *
 * Opening and closing are silent. Half a second after the close the exchange empties the book, which the public sees as negative deltas.
 */
import { gridOf } from '../../engine/grid.ts'
import type { GridBand } from '../../engine/message.ts'
import { ASK, BID, MILLISECOND, PRICE_ONE, type SideCode } from '../../engine/units.ts'
import type { Exchange } from './exchange.ts'
import { settlementOf } from './ledger.ts'
import { structureName, type ListedMarket, type MarketResult } from './market.ts'

const WIPE_AFTER = 500 * MILLISECOND

export class Lifecycle {
  readonly #x: Exchange
  constructor(exchange: Exchange) {
    this.#x = exchange
  }

  listed(market: ListedMarket): void {
    this.#x.outlet.lifecycle(market, 'created')
    if (market.openTime <= this.#x.now) this.open(market)
    else this.#x.at(market.openTime, () => this.open(market))
    this.#closeLater(market)
  }
  open(market: ListedMarket): void {
    if (market.status === 'initialized' && this.#x.now >= market.openTime) market.status = 'active'
  }
  #closeLater(market: ListedMarket): void {
    const { closeTime } = market
    this.#x.at(closeTime, () => {
      if (market.closeTime === closeTime) this.close(market)
    })
  }
  /** Silent: no message tells it. */
  close(market: ListedMarket): void {
    if (market.status !== 'active' && market.status !== 'inactive' && market.status !== 'initialized') return
    market.status = 'closed'
    this.#x.at(this.#x.now + WIPE_AFTER, () => {
      if (market.status !== 'active') this.#wipe(market)
    })
  }
  #wipe(market: ListedMarket): void {
    this.#x.trading.operate(null, () => {
      market.matching.cancelAll('closed')
      if (market.depth !== null && market.definition.tape === true) {
        market.depth.clear()
        market.matching.resnapped()
        market.refreshAll()
      }
    })
  }
  moveClose(market: ListedMarket, closeTime: number): void {
    if (closeTime === market.closeTime) return
    market.closeTime = closeTime
    market.updated = this.#x.now
    this.#x.outlet.lifecycle(market, 'close_date_updated')
    if (market.status === 'closed' && closeTime > this.#x.now) {
      market.status = 'active'
      this.#x.outlet.lifecycle(market, 'activated')
    }
    if (closeTime <= this.#x.now) this.close(market)
    else this.#closeLater(market)
  }
  halt(market: ListedMarket): void {
    if (market.status !== 'active') return
    market.status = 'inactive'
    market.updated = this.#x.now
    this.#x.outlet.lifecycle(market, 'deactivated')
  }
  /** Every resting order is canceled when a halted market comes back. */
  activate(market: ListedMarket): void {
    if (market.status !== 'inactive') return
    this.#x.trading.operate(null, () => market.matching.cancelAll('reactivated'))
    market.status = 'active'
    market.updated = this.#x.now
    this.#x.outlet.lifecycle(market, 'activated')
  }
  /** `value`: what a YES contract pays, Price units. A second result amends the first. `timed`: payment follows by itself. */
  determine(market: ListedMarket, result: MarketResult, value: number, timed = true): void {
    if (market.status === 'finalized') return
    const again = market.result !== ''
    this.close(market)
    this.#wipe(market)
    market.status = again ? 'amended' : 'determined'
    market.result = result
    market.value = value
    market.determined = this.#x.now
    market.updated = this.#x.now
    this.#x.outlet.lifecycle(market, 'determined')
    if (!timed) return
    const { determined } = market
    this.#x.at(this.#x.now + market.settlementTimer, () => {
      if (market.determined === determined && market.status !== 'disputed') this.settle(market)
    })
  }
  dispute(market: ListedMarket): void {
    if (market.status === 'determined' || market.status === 'amended') market.status = 'disputed'
  }

  settle(market: ListedMarket): void {
    const x = this.#x
    const { result } = market
    if (market.status === 'finalized' || result === '') return
    market.status = 'finalized'
    market.settled = x.now
    market.updated = x.now
    x.trading.operate(null, () => {
      for (const account of x.accounts.values()) {
        for (let sub = 0; sub < account.subaccounts; sub++) {
          const p = account.positions.get(`${sub}/${market.ticker}`)
          if (p === undefined) continue
          const { revenue, residue } = settlementOf(p.quantity, market.value)
          const held = p.quantity
          const cost = p.cost
          account.move(sub, market.exchangeIndex, revenue, x.now)
          account.feesPaid += residue
          p.realized += revenue - cost
          p.cost = 0
          p.feesOpen = 0
          p.quantity = 0
          p.updated = x.now
          p.settled = x.now
          x.trading.moved(account, p)
          if (held === 0) continue
          account.showSettlement(
            {
              number: x.settlementsMade++,
              ticker: market.ticker,
              event: market.event.ticker,
              exchangeIndex: market.exchangeIndex,
              subaccount: sub,
              result,
              position: held,
              cost,
              revenue,
              value: market.value,
              fee: p.fees + residue,
              time: x.now,
            },
            x.now,
          )
        }
      }
      for (const s of market.strangers.values()) {
        s.cash += s.position * market.value
        s.position = 0
      }
      x.trading.touch(market)
    })
    x.outlet.lifecycle(market, 'settled')
  }

  /** Orders and levels that the new grid does not know leave (undocumented, api.md §3.6). */
  regrid(market: ListedMarket, bands: readonly GridBand[]): void {
    const grid = gridOf(bands)
    if (grid === market.matching.grid) return
    this.#x.trading.operate(null, () => {
      market.depth?.regrid(grid)
      market.matching.regrid(grid)
      const { shown } = market
      for (const side of [BID, ASK] as SideCode[]) {
        for (const [p, q] of market.levels(side, true)) {
          if ((grid.indexOf[p] ?? -1) >= 0) continue
          shown.change(side, p, -q)
          this.#x.trading.level(market, side, p, -q)
        }
      }
      shown.regrid(grid)
      market.refreshAll()
      market.structure = structureName(bands)
      market.updated = this.#x.now
    })
    this.#x.outlet.lifecycle(market, 'price_level_structure_updated')
  }
  /** Result and value from the words of a tape or a person. */
  static outcome(result: 'yes' | 'no' | 'scalar' | 'void', value: number): { result: MarketResult; value: number } {
    if (result === 'yes') return { result: 'yes', value: PRICE_ONE }
    if (result === 'no') return { result: 'no', value: 0 }
    return { result: 'scalar', value }
  }
}
