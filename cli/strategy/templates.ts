/** What `tapeline strategy new` writes: a small strategy that runs, and a test that proves what it does. Owns the two texts. */

/** `name` as on the command line: `buy-dips`. */
export function strategyText(name: string): string {
  return `import { SECOND, type Strategy } from 'tapeline'

/**
 * Stands in for the seller when somebody in a hurry sells: bids \`below\` cents under the touch, and takes the bid away \`patience\` seconds later.
 * Hypothesis: a price that one large seller pushed down comes back. Loses when the seller knew something.
 *
 * The defaults are the types of --param: \`--param below=2\` must be a number because 1 is one.
 */
export default function ${camel(name)}({ below = 1, size = 5, positionMax = 20, patience = 10 } = {}): Strategy {
  if (!(below >= 0) || !(size > 0) || !(patience > 0)) throw new RangeError('${name} needs below of 0 or more, size and patience above 0')
  // State lives here: every run calls this function once and starts afresh. Markets are the keys.
  const since = new Map<string, number>()
  return {
    name: '${name}',
    parameters: { below, size, positionMax, patience },

    // Somebody traded. \`trade.side\` is what the taker did: 'ask' sold YES into the bid.
    onTrade({ market, side }, desk) {
      const book = desk.book(market)
      if (side !== 'ask' || book === null || !book.hasBid) return
      // Prices are 1/10,000 dollar of the YES side: 100 is a cent. snap() gives the nearest price that the market knows and that is not worse for us.
      const price = desk.snap(market, 'bid', book.bid - below * 100)
      // A quote is a wish: saying it twice changes nothing, and the order manager finds the orders.
      desk.quote(market, { side: 'bid', price, size, positionMax, why: 'after a seller' })
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
const market = () => scenario().book({ bids: [[40, 100]], asks: [[44, 100]] })

test('bids a cent below the touch after somebody sold, and is filled when the next one sells through it', () => {
  const { signals, fills, profit } = market()
    .after(1)
    .trade({ side: 'ask', price: 40, size: 20 })
    .after(1)
    .level('bid', 39, 30)
    .trade({ side: 'ask', price: 40, size: 80 })
    .trade({ side: 'ask', price: 39, size: 30 })
    .level('bid', 38, 50)
    .trade({ side: 'ask', price: 38, size: 10 })
    .after(5)
    .close('yes')
    .run(${factory}({ size: 5, positionMax: 5 }))
  assert.deepEqual(
    signals.filter((s) => s.what === 'quote').map((s) => [s.side, s.price, s.size])[0],
    ['bid', 39, 5],
  )
  assert.deepEqual(fills.map((f) => [f.side, f.price, f.size, f.maker]), [['bid', 39, 5, true]])
  // Five contracts at 39 ¢ that paid a dollar each, less what the fill cost.
  assert.ok(Math.abs(profit - (5 * 0.61 - (fills[0]?.fee ?? 0))) < 1e-9)
})

test('takes the bid away when its patience ends', () => {
  const { orders, fills } = market()
    .after(1)
    .trade({ side: 'ask', price: 40, size: 20 })
    .after(30)
    .level('ask', 45, 10)
    .run(${factory}({ patience: 10 }))
  assert.equal(fills.length, 0)
  assert.deepEqual(orders.map((o) => [o.what, Math.round(o.time)]), [['submit-gtc', 1], ['cancel', 11]])
})

test('does nothing when somebody buys', () => {
  const { signals } = market().after(1).trade({ side: 'bid', price: 44, size: 20 }).after(1).run(${factory}())
  assert.deepEqual(signals, [])
})
`
}

/** `buy-dips` → `buyDips`. */
function camel(name: string): string {
  return name.replaceAll(/[-_.]+(.)?/g, (_, next: string | undefined) => next?.toUpperCase() ?? '')
}
