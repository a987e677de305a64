import { expect, it } from 'vitest'
import { environmentOf } from '../../../../adapters/kalshi/environment.ts'
import { Signer } from '../../../../adapters/kalshi/index.ts'
import { Budget } from '../../../../adapters/kalshi/rate-limit.ts'
import { KalshiTrader, type KeptInput, type TraderDesk } from '../../../../adapters/kalshi/venue/trader.ts'
import { inOne } from './support.ts'

/** A trader that only lives again what a log kept. */
function restored(inputs: readonly KeptInput[]): KalshiTrader {
  const s = inOne()
  const we = s.trader('we')
  const rate = { perSecond: 100, capacity: 100 }
  const trader = new KalshiTrader(
    {
      environment: environmentOf('http://127.0.0.1:1'),
      signer: Signer.fromPem(we.keyId, we.privatePem),
      rest: s.rest(we),
      budget: new Budget({ read: rate, write: rate }),
      world: s.world,
      desk: { generation: 2, engine: { markets: { alive: [] } }, record: () => 1 } as unknown as TraderDesk,
      killed: () => null,
      holdsLock: () => true,
      shardOf: () => 0,
    },
    {
      nonce: 'abc',
      subaccount: 0,
      start: 0,
      groupLimit: 100,
      caps: { orderMax: 1, notionalMax: 1, collar: 1, ordersPerSecond: 1, ordersOpen: 1 },
    },
  )
  trader.restore(inputs)
  return trader
}
const kept = (...states: readonly string[]): KeptInput[] =>
  states.map((state, k) => ({ time: k, kind: 'group', detail: { shard: 0, id: state === 'wanted' ? null : 'g', state } }))

it('a group that our own end or halt has triggered is let go by whoever goes on; one that tripped waits for a person, and says why', () => {
  const group = (ours: boolean) =>
    restored([{ time: 0, kind: 'group', detail: { shard: 0, id: 'g', state: 'triggered', reason: 'why', ours } }])
  expect(group(true).status.groups).toEqual([])
  expect(group(false).status.groups).toEqual([{ shard: 0, id: 'g', state: 'triggered', reason: 'why', ours: false }])
})

it('of a group the last word of the log counts: one that is gone is made anew', () => {
  const states = (...of: readonly string[]): string[] => restored(kept(...of)).status.groups.map((g) => `${g.id} ${g.state}`)
  expect(states('live', 'triggering', 'triggered', 'deleting', 'gone')).toEqual([])
  expect(states('live', 'triggered', 'deleting')).toEqual([])
  expect(states('live', 'triggered')).toEqual(['g triggered'])
  expect(states('live', 'triggering')).toEqual(['g triggered'])
  expect(states('live', 'gone', 'wanted', 'live')).toEqual(['g live'])
})
