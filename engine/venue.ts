/**
 * The venue port: where commands go and answers come from. A simulated venue lives on the tape's own book and is shown its rows
 * (`onTape`); a real one has its own book and is shown nothing.
 */
import type { Market } from './market.ts'
import type { Answer, Command } from './order.ts'
import type { SideCode } from './units.ts'

/** What a venue may do to the engine: schedule. `due` is called back with the token at that time, before answers of the instant. */
export interface Inbox {
  readonly now: number
  /** An answer becomes known at `time`, never before now. */
  answer(time: number, answer: Answer): void
  /** Calls `onTape.due(token)` at `time`, before the answers of that instant. */
  wake(time: number, market: Market, token: unknown): void
}

export interface Venue {
  connect(inbox: Inbox): void
  /** A command leaves now. Returns when it will arrive (µs), or 0 when nobody knows. */
  send(command: Command): number
  readonly onTape: OnTape | null
  /** A market has paid `paid` (Money, what a short had locked included) for `position` contracts; and it has left: nothing of it is held or on its way. */
  paid?(market: Market, position: number, paid: number): void
  left?(market: Market): void
}

/** Called by the loop for markets with a command on its way or an order resting, in row order, before the row changes the book unless said otherwise. */
export interface OnTape {
  /** The row opens a later venue instant than the book stands in. */
  instant(market: Market, timeVenue: number): void
  /** `quantity` was executed against the resting `side`. */
  execution(market: Market, side: SideCode, price: number, quantity: number, timeVenue: number): void
  /** After the book changed: a level fell to `quantity`. */
  displayed(market: Market, side: SideCode, price: number, quantity: number): void
  /** After a whole snapshot. */
  snapshot(market: Market): void
  /** After status, grid or sync changed. */
  lifecycle(market: Market, statusBefore: string, timeVenue: number): void
  due(token: unknown): void
}
