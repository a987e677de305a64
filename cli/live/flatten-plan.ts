/**
 * What closing everything would cost. Owns the arithmetic; hides nothing. Invariants: a limit never lies further from the touch than the collar; nothing is planned in a market of which not everything is known;
 * what is shown as the worst is what the limits allow at the worst.
 */
import { tradeFee } from '../../engine/fees.ts'
import { gridOf } from '../../engine/grid.ts'
import { PRICE_ONE } from '../../engine/units.ts'
import type { Holding, MarketPlace } from '../../adapters/kalshi/live.ts'

/** Prices in price units, quantities in quantity units, Money. */
export type FlattenMarket = {
  readonly ticker: string
  readonly shard: number | null
  readonly closes: number
  readonly position: number
  readonly side: 'bid' | 'ask'
  readonly quantity: number
  /** Best price of the other side. */
  readonly touch: number
  readonly limit: number
  /** Middle of the book; the touch where one side is empty. */
  readonly mark: number
  /** How much stands between the touch and the limit now, at most the position. */
  readonly within: number
  /** Of that: proceeds over what the position has cost are a gain. */
  readonly likely: Cost
  readonly worst: Cost
}
export type Cost = {
  /** Against the mark, fees included. */
  readonly cost: number
  readonly fees: number
  /** Money made by the position in all; null: what it has cost is not known. */
  readonly result: number | null
}
export type FlattenPlan = {
  readonly markets: readonly FlattenMarket[]
  /** Held, and not to be closed now. */
  readonly stuck: readonly { readonly ticker: string; readonly position: number; readonly why: string }[]
  /** At worst, against the mark. */
  readonly cost: number
}

export function flattenPlan(
  holdings: readonly Holding[],
  places: ReadonlyMap<string, MarketPlace | string>,
  { collar, now }: { readonly collar: number; readonly now: number },
): FlattenPlan {
  const markets: FlattenMarket[] = []
  const stuck: { ticker: string; position: number; why: string }[] = []
  for (const holding of [...holdings].sort((a, b) => (a.ticker < b.ticker ? -1 : 1))) {
    const place = places.get(holding.ticker) ?? 'it was not read'
    const planned = typeof place === 'string' ? place : one(holding, place, collar, now)
    if (typeof planned === 'string') stuck.push({ ticker: holding.ticker, position: holding.position, why: planned })
    else markets.push(planned)
  }
  return { markets, stuck, cost: markets.reduce((a, m) => a + m.worst.cost, 0) }
}

function one(holding: Holding, place: MarketPlace, collar: number, now: number): FlattenMarket | string {
  const { position, cost } = holding
  if (!place.open) return `it is ${place.status}: it cannot be traded now`
  if (place.closes <= now) return 'it has closed'
  const { fee } = place
  if (fee === null) return 'its fee is not known'
  const sells = position > 0
  const bids = place.levels.filter((l) => l.side === 0).sort((a, b) => b.price - a.price)
  const asks = place.levels.filter((l) => l.side === 1).sort((a, b) => a.price - b.price)
  const against = sells ? bids : asks
  const touch = against[0]?.price
  if (touch === undefined) return sells ? 'nobody bids' : 'nobody offers'
  const other = (sells ? asks : bids)[0]?.price
  const mark = other === undefined ? touch : (touch + other) / 2
  const grid = gridOf(place.grid)
  // Towards the touch where the grid is coarser than the collar.
  const wanted = sells ? Math.max(touch - collar, 1) : Math.min(touch + collar, PRICE_ONE - 1)
  const floor = grid.floorIndex(wanted)
  const index = sells ? (floor >= 0 && grid.priceAt(floor) === wanted ? floor : floor + 1) : floor
  if (index < 0 || index >= grid.size) return 'no price of its grid lies within the collar'
  const limit = grid.priceAt(index)
  if (sells ? limit > touch : limit < touch) return 'no price of its grid lies within the collar'
  const quantity = Math.abs(position)
  let left = quantity
  let [likelyCost, likelyFees, proceeds] = [0, 0, 0]
  for (const { price, quantity: there } of against) {
    if (left === 0 || (sells ? price < limit : price > limit)) break
    const taken = Math.min(left, there)
    left -= taken
    const paid = tradeFee(fee, false, price, taken)
    likelyCost += Math.abs(mark - price) * taken + paid
    likelyFees += paid
    proceeds += (sells ? price : PRICE_ONE - price) * taken
  }
  const within = quantity - left
  const fees = tradeFee(fee, false, limit, quantity)
  const share = within === quantity ? cost : cost === null ? null : Math.round((cost * within) / quantity)
  return {
    ticker: holding.ticker,
    shard: place.shard ?? holding.shard,
    closes: place.closes,
    position,
    side: sells ? 'ask' : 'bid',
    quantity,
    touch,
    limit,
    mark,
    within,
    likely: { cost: Math.round(likelyCost), fees: likelyFees, result: share === null ? null : proceeds - share - likelyFees },
    worst: {
      cost: Math.round(Math.abs(mark - limit) * quantity + fees),
      fees,
      result: cost === null ? null : (sells ? limit : PRICE_ONE - limit) * quantity - cost - fees,
    },
  }
}
