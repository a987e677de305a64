import { expect, it } from 'vitest'
import { environmentOf } from '../../../../adapters/kalshi/environment.ts'
import { Budget } from '../../../../adapters/kalshi/rate-limit.ts'
import { KalshiTrader, type TraderDesk } from '../../../../adapters/kalshi/venue/trader.ts'
import type { Command, Order } from '../../../../engine/order.ts'

it('sends nothing of what is commanded while the session is lived again: it was sent once, or never will be', () => {
  const kept: string[] = []
  const desk = {
    generation: 2,
    engine: { manager: { orderOf: () => undefined }, session: { hold: null }, markets: { alive: [] } },
    record: (kind: string) => kept.push(kind),
    sync: () => Promise.resolve(),
    synced: () => kept.length,
    enter: () => {},
    say: () => {},
    fail: () => {},
  } as unknown as TraderDesk
  const clock = { now: () => 1e15, wall: () => 1e12 }
  const world = { clock, timers: { after: () => ({ cancel() {} }) }, chance: { next: () => 0.5 } }
  const trader = new KalshiTrader(
    {
      environment: environmentOf('http://127.0.0.1:1'),
      signer: { headers: () => ({}) },
      rest: { clockOffset: null },
      budget: new Budget(),
      world,
      desk,
      killed: () => null,
      holdsLock: () => true,
      shardOf: () => 0,
    } as never,
    {
      nonce: 'n',
      subaccount: 0,
      start: 0,
      groupLimit: 0,
      caps: { orderMax: 1, notionalMax: 1, collar: 1, ordersPerSecond: 1, ordersOpen: 1 },
    },
  )
  // It has had its answer since, in the life before: nothing is left to be told of it.
  const order = { id: 0, market: { ticker: 'A' }, side: 0, tif: 'gtc', state: 'canceled' } as unknown as Order
  trader.venue.send({ type: 'submit', order, price: 4000, quantity: 100 } as unknown as Command)
  trader.flush()
  expect(kept).toEqual([])
  trader.restore([])
  trader.flush()
  expect(kept).toEqual([])
})
