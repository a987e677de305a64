/** A place for a population on one market: it trades with the same matching as everybody. Owns the way in; invariant: what strangers do is one operation of the exchange, told like any other. */
import type { CancelReason, Matching, MatchSink, PlaceRejection, TimeInForce, VenueOrder } from '../../engine/matching.ts'
import type { Exchange } from './exchange.ts'

export type Floor = Pick<Matching, 'grid' | 'known' | 'place' | 'cancel' | 'cancelAll'>

export function floorOf(exchange: Exchange, ticker: string, sink: MatchSink): Floor {
  const market = exchange.routed(ticker, null)
  market.crowd = sink
  const { matching } = market
  const { trading } = exchange
  return {
    get grid() {
      return matching.grid
    },
    known: matching.known,
    place: (order: VenueOrder, tif: TimeInForce): PlaceRejection | null => trading.operate(null, () => matching.place(order, tif)),
    cancel: (order: VenueOrder, reason: CancelReason): boolean => trading.operate(null, () => matching.cancel(order, reason)),
    cancelAll: (reason: CancelReason): void => trading.operate(null, () => matching.cancelAll(reason)),
  }
}
