/** Where the exchange tells what happened. Owns the list of things that can happen; hides who listens. Invariant: told in the order in which they happened. */
import type { SideCode } from '../../engine/units.ts'
import type { Account, OrderGroup } from './account.ts'
import type { Position } from './ledger.ts'
import type { EventRecord, ListedMarket } from './market.ts'
import type { FillRow, OrderRecord, OrderRow, TradeRow, UpdateReason } from './order.ts'

export type LifecycleType =
  | 'created'
  | 'activated'
  | 'deactivated'
  | 'close_date_updated'
  | 'determined'
  | 'settled'
  | 'price_level_structure_updated'
  | 'metadata_updated'
export type GroupEvent = 'created' | 'triggered' | 'reset' | 'deleted' | 'limit_updated'
/** A value of an outside index. `value` is decimal text. */
export type IndexTick = { readonly feed: 'cfbenchmarks' | 'pyth'; readonly id: string; readonly value: string; readonly sourceTime: number }

export interface Outlet {
  /** A public level changed; `cause`: the order that made it, null for strangers and the exchange. */
  delta(market: ListedMarket, side: SideCode, price: number, delta: number, cause: OrderRecord | null): void
  trade(market: ListedMarket, trade: TradeRow): void
  /** Something that a ticker carries may have changed. */
  ticker(market: ListedMarket): void
  fill(account: Account, fill: FillRow): void
  order(account: Account, row: OrderRow, reason: UpdateReason | null): void
  position(account: Account, position: Position): void
  group(account: Account, group: OrderGroup, event: GroupEvent): void
  lifecycle(market: ListedMarket, type: LifecycleType): void
  event(event: EventRecord): void
  fee(event: EventRecord): void
  index(tick: IndexTick): void
}
