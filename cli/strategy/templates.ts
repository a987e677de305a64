/** What `tapeline strategy new` writes: a small strategy that runs, and a test that proves what it does. Owns the two texts. */

/** `name` as on the command line: `buy-dips`. */
export function strategyText(name: string): string {
  return `import { SECOND, type Strategy } from 'tapeline'

/**
 * Bids where a fall ended: when the best bid drops by \`fall\` cents or more at one go, rests a bid at the new touch and takes it away \`patience\` seconds later.
 * Hypothesis: one large seller pushed the price down and it comes back. Loses when the seller knew something.
 *
 * The defaults are the types of --param: \`--param fall=3\` is a number because 2 is one.
 */
export default function ${camel(name)}({ fall = 2, size = 5, positionMax = 20, patience = 10 } = {}): Strategy {
  if (!(fall > 0) || !(size > 0) || !(patience > 0)) throw new RangeError('${name} needs fall, size and patience above 0')
  // State lives here: each run calls this function once and starts afresh.
  const bids = new Map<string, number>()
  const since = new Map<string, number>()
  return {
    name: '${name}',
    parameters: { fall, size, positionMax, patience },

    // Once for each message that changes the book of a market.
    onBook(book, desk) {
      const { market } = book
      if (!book.hasBid) return
      // Prices are 1/10,000 dollar of the YES side: 100 is a cent.
      const before = bids.get(market.ticker) ?? book.bid
      bids.set(market.ticker, book.bid)
      if (before - book.bid < fall * 100) return
      // A quote is a wish: saying it twice changes nothing, and the order manager finds the orders.
      desk.quote(market, { side: 'bid', price: book.bid, size, positionMax, why: 'fall', value: before - book.bid })
      since.set(market.ticker, desk.now)
      // Time is the tape's: desk.now in µs, and desk.wake instead of a timer.
      desk.wake(desk.now + patience * SECOND)
    },

    onWake(desk) {
      for (const [ticker, time] of since) {
        if (desk.now - time < patience * SECOND) continue
        since.delete(ticker)
        const market = desk.market(ticker)
        if (market !== null) desk.pull(market)
      }
    },
  }
}
`
}

export function testText(name: string): string {
  const factory = camel(name)
  return `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scenario } from 'tapeline/testing'
import ${factory} from './${name}.ts'

// Prices in cents of the YES side, sizes in contracts, times in seconds. Orders take 0.1 s to the venue, as in a backtest.
const market = () => scenario().book({ bids: [[40, 100], [36, 50]], asks: [[44, 100]] })

test('bids where a fall ended, and is filled when somebody sells through that price', () => {
  const { signals, fills, profit } = market()
    .after(1)
    .trade({ side: 'ask', price: 40, size: 100 }) // the fall: 40 to 36
    .after(1)
    .level('bid', 35, 50)
    .trade({ side: 'ask', price: 36, size: 50 }) // what stood before us
    .trade({ side: 'ask', price: 35, size: 10 }) // through our price
    .after(1)
    .close('yes')
    .run(${factory}({ size: 5 }))
  assert.deepEqual(signals.map((s) => [s.what, s.side, s.price, s.size, s.why]), [['quote', 'bid', 36, 5, 'fall']])
  assert.deepEqual(fills.map((f) => [f.side, f.price, f.size, f.maker]), [['bid', 36, 5, true]])
  // Five contracts at 36 ¢ that paid a dollar each, less what the fill cost.
  assert.ok(Math.abs(profit - (5 * 0.64 - (fills[0]?.fee ?? 0))) < 1e-9)
})

test('takes the bid away when its patience ends', () => {
  const { orders, fills } = market().after(1).level('bid', 40, 0).after(30).level('ask', 45, 10).run(${factory}({ patience: 10 }))
  assert.equal(fills.length, 0)
  assert.deepEqual(orders.map((o) => [o.what, Math.round(o.time)]), [['submit-gtc', 1], ['cancel', 11]])
})

test('does nothing when the bid falls a little, or rises', () => {
  const { signals } = market().after(1).level('bid', 38, 10).level('bid', 40, 0).level('bid', 42, 10).run(${factory}({ fall: 3 }))
  assert.deepEqual(signals, [])
})
`
}

/** `buy-dips` → `buyDips`. */
function camel(name: string): string {
  return name.replaceAll(/[-_.]+(.)?/g, (_, next: string | undefined) => next?.toUpperCase() ?? '')
}
