import type { BookView, Desk, Leg, MarketView, Strategy } from '../engine/index.ts'

/**
 * Trades the sum of an event's prices against the dollar. Of mutually exclusive markets *at most* one resolves YES, so all YES together are worth a dollar at most:
 * it sells every YES when the bids, after fees and at their depth, come to more than a dollar by `edge` dollars a set. Exactly one resolves YES only where the event is
 * exhaustive too, which nobody but the reader of its rules can know: it buys every YES below a dollar in the series or events named in `exhaustive` alone, each with the number of
 * its markets (`KXHIGHNY:6,KXFED-27JAN:4`), and only while it knows what became of every one of them. No leg grows beyond `positionMax` contracts.
 * Hypothesis: makers of single markets do not watch the sum. Loses when one leg fills and another is gone: a basket then completes up to `cost` dollars, or unwinds.
 *
 * Legs that settled early are left out: a NO leaves the sum, a YES ends the event. An event with a leg that cannot be traded just now waits. A set needs an order a leg: with more legs
 * than orders are allowed in a second nothing is sent (`basket-size`).
 */
export function parity({ edge = 0.01, size = 10, cost = 0.02, positionMax = 100, exhaustive = '' } = {}): Strategy {
  if (!(edge >= 0) || !(size > 0) || !(cost >= 0 && cost < 1) || !(positionMax >= 0))
    throw new RangeError('parity needs edge of 0 or more, size above 0, cost from 0 to below 1, positionMax of 0 or more')
  const legsOf = new Map<string, number>()
  for (const word of exhaustive.split(',').filter((w) => w.trim() !== '')) {
    const [name = '', count = ''] = word.trim().split(':')
    if (name === '' || !/^[1-9]\d*$/.test(count))
      throw new RangeError(`exhaustive=${exhaustive}: write each as TICKER:number of its markets, as in KXHIGHNY:6`)
    legsOf.set(name, Number(count))
  }
  /** Events with legs that settled: how many settled NO, and whether one settled YES. */
  const settled = new Map<string, { no: number; yes: boolean }>()
  const over = (m: MarketView): boolean => m.status === 'determined' || m.status === 'finalized'

  /** Dollars that a set earns on one side, after fees of `contracts` in each leg. */
  const gain = (books: readonly BookView[], side: 'bid' | 'ask', contracts: number, desk: Desk): number => {
    let sum = side === 'ask' ? -1 : 1
    for (const book of books) {
      const price = side === 'ask' ? book.bid : book.ask
      sum += (side === 'ask' ? price : -price) / 10_000 - desk.fee(book.market, price, contracts) / contracts
    }
    return sum
  }
  const trade = (books: readonly BookView[], side: 'bid' | 'ask', why: string, desk: Desk): void => {
    if (books.some((b) => !(side === 'ask' ? b.hasBid : b.hasAsk))) return
    const room = books.map((b) => positionMax + (side === 'ask' ? desk.position(b.market) : -desk.position(b.market)))
    const contracts = Math.floor(Math.min(size, ...room, ...books.map((b) => (side === 'ask' ? b.bidSize : b.askSize))))
    if (contracts < 1) return
    const value = gain(books, side, contracts, desk)
    if (value < edge) return
    const legs: Leg[] = books.map((b) => ({ market: b.market, side, limit: side === 'ask' ? b.bid : b.ask }))
    desk.basket({ legs, size: contracts, missing: 'complete', costMax: cost, why, value })
  }
  return {
    name: 'parity',
    parameters: { edge, size, cost, positionMax, exhaustive },
    onSettlement({ market, value }, desk) {
      const { ticker } = market.event
      const known = settled.get(ticker) ?? { no: 0, yes: false }
      if (value > 0) known.yes = true
      else known.no++
      // The last leg takes the memory of its event with it.
      if (desk.siblings(market).every(over)) settled.delete(ticker)
      else settled.set(ticker, known)
    },
    onBook({ market }, desk) {
      const { event, series } = market
      if (!event.exclusive) return
      const { no, yes } = settled.get(event.ticker) ?? { no: 0, yes: false }
      if (yes) return
      const books: BookView[] = []
      for (const leg of [market, ...desk.siblings(market)]) {
        if (over(leg)) continue
        const book = leg.status === 'active' ? desk.book(leg) : null
        if (book === null) return
        books.push(book)
      }
      if (books.length < 2) return
      trade(books, 'ask', 'bids above a dollar', desk)
      const legs = legsOf.get(event.ticker) ?? legsOf.get(series)
      if (legs !== undefined && books.length + no === legs) trade(books, 'bid', 'asks below a dollar', desk)
    },
  }
}
