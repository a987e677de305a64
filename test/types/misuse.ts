/** Misuse that must not compile. Each line below is an error the compiler must find: `tsc -b` fails when one of them is none. Nothing here runs. */
import type { Matching } from '../../engine/matching.ts'
import type { Approved, Intent } from '../../engine/risk.ts'
import type { BookView, Desk, MarketView } from '../../engine/strategy.ts'
import type { Price, Quantity } from '../../engine/units.ts'

export function misuse(desk: Desk, book: BookView, market: MarketView, matching: Matching, intent: Intent): void {
  // @ts-expect-error a plain number is no price
  const price: Price = 4200
  // @ts-expect-error a quantity is no price
  const other: Price = 100 as Quantity
  // @ts-expect-error only risk makes an approved wish
  const approved: Approved<Intent> = intent
  // @ts-expect-error a strategy cannot change a market
  market.status = 'closed'
  // @ts-expect-error nor a book
  book.bidSize = 5
  // @ts-expect-error a reason is not optional
  desk.quote(market, { side: 'bid', price: book.bid, size: 1 })
  // @ts-expect-error inside the engine "no" does not exist
  desk.quote(market, { side: 'no', price: book.bid, size: 1, why: 'x' })
  // @ts-expect-error a new kind of order life is written down first
  matching.cancel(null, 'because')
  void price
  void other
  void approved
}
