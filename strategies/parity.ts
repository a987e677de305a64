import type { BookView, Desk, Leg, MarketView, Strategy } from '../engine/index.ts'

/**
 * Trades the sum of an event's prices against the dollar. Of mutually exclusive markets *at most* one resolves YES, so all YES together are worth a dollar at most:
 * it sells every YES when the bids, after fees and at their depth, come to more than a dollar by `edge` dollars a set. Exactly one resolves YES only where the event is
 * exhaustive too, which nobody but the reader of its rules can know: it buys every YES below a dollar in the series or events named in `exhaustive` alone
 * (comma-separated tickers). No leg grows beyond `positionMax` contracts.
 * Hypothesis: makers of single markets do not watch the sum. Loses when one leg fills and another is gone: a basket then completes up to `cost` dollars, or unwinds.
 *
 * Legs that settled early are left out: a NO leaves the sum, a YES ends the event.
 */
export function parity({ edge = 0.01, size = 10, cost = 0.02, positionMax = 100, exhaustive = '' } = {}): Strategy {
  if (!(edge >= 0) || !(size > 0) || !(cost >= 0 && cost < 1) || !(positionMax >= 0))
    throw new RangeError('parity needs edge of 0 or more, size above 0, cost from 0 to below 1, positionMax of 0 or more')
  const named = new Set(exhaustive.split(',').map((ticker) => ticker.trim()))
  const over = new Set<string>()
  const open = ({ status }: MarketView): boolean => status === 'active' || status === 'inactive' || status === 'initialized'

  /** Dollars that a set earns on one side, after fees of `contracts` in each leg; −Infinity when a leg has no price. */
  const gain = (books: readonly BookView[], side: 'bid' | 'ask', contracts: number, desk: Desk): number => {
    let sum = side === 'ask' ? -1 : 1
    for (const book of books) {
      const price = side === 'ask' ? book.bid : book.ask
      sum += (side === 'ask' ? price : -price) / 10_000 - desk.fee(book.market, price, contracts) / contracts
    }
    return sum
  }
  return {
    name: 'parity',
    parameters: { edge, size, cost, positionMax, exhaustive },
    onSettlement({ market, value }) {
      if (value > 0) over.add(market.event.ticker)
    },
    onBook({ market }, desk) {
      const { event, series } = market
      if (!event.exclusive || over.has(event.ticker)) return
      const legs = [market, ...desk.siblings(market)].filter(open)
      if (legs.length < 2) return
      const books: BookView[] = []
      for (const leg of legs) {
        const book = leg.status === 'active' ? desk.book(leg) : null
        if (book === null) return
        books.push(book)
      }
      const trade = (side: 'bid' | 'ask', why: string): void => {
        if (books.some((b) => !(side === 'ask' ? b.hasBid : b.hasAsk))) return
        const room = books.map((b) => positionMax + (side === 'ask' ? desk.position(b.market) : -desk.position(b.market)))
        const contracts = Math.floor(Math.min(size, ...room, ...books.map((b) => (side === 'ask' ? b.bidSize : b.askSize))))
        if (contracts < 1) return
        const value = gain(books, side, contracts, desk)
        if (value < edge) return
        const wanted: Leg[] = books.map((b) => ({ market: b.market, side, limit: side === 'ask' ? b.bid : b.ask }))
        desk.basket({ legs: wanted, size: contracts, missing: 'complete', costMax: cost, why, value })
      }
      trade('ask', 'bids above a dollar')
      if (named.has(event.ticker) || named.has(series)) trade('bid', 'asks below a dollar')
    },
  }
}
