import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  compare,
  paidInAll,
  type Baseline,
  type OurPayment,
  type OurView,
  type TheirView,
} from '../../../../adapters/kalshi/venue/reconcile.ts'
import { PRICE_ONE } from '../../../../engine/units.ts'

const NOW = 1_795_000_000_000_000
const MINUTE = 60_000_000
const START_CASH = 500_000_000
const BASELINE: Baseline = { time: NOW - 60 * MINUTE, orders: [], positions: [], cash: [[0, START_CASH]], reserved: [] }
const locked = (q: number): number => (q < 0 ? -q * PRICE_ONE : 0)

describe('a market that pays again for a fill that came late', () => {
  it('makes no difference: number and amount are those of all its fills, and the exchange may list it or not yet', () => {
    const part = fc.record({ q: fc.integer({ min: -900, max: 900 }).filter((q) => q !== 0), price: fc.integer({ min: 1, max: 99 }) })
    fc.assert(
      fc.property(fc.array(part, { minLength: 2, maxLength: 4 }), fc.boolean(), fc.boolean(), (parts, yes, listed) => {
        const value = yes ? PRICE_ONE : 0
        let payment: OurPayment | undefined
        let [net, spent] = [0, 0]
        for (const { q, price } of parts) {
          payment = paidInAll(payment, { net: q, value, paid: q * value + locked(q), at: NOW - MINUTE })
          net += q
          spent += q * price * 100
        }
        const revenue = net >= 0 ? net * value : -net * (PRICE_ONE - value)
        const ours: OurView = {
          orders: [],
          moving: new Set(),
          isOurs: () => false,
          positions: new Map(),
          paid: new Map([['A', payment as OurPayment]]),
          shardOf: () => 0,
          cash: new Map([[0, net * value - spent]]),
          reserved: new Map(),
          eventVenue: NOW - MINUTE,
          eventAt: NOW - MINUTE,
        }
        const row = { ticker: 'A', shard: 0, result: yes ? 'yes' : 'no', net, value, revenue, time: NOW - MINUTE } as const
        const theirs: TheirView = {
          started: NOW,
          ended: NOW,
          asOf: NOW,
          why: [],
          orders: [],
          positions: listed || net === 0 ? [] : [{ ticker: 'A', shard: 0, position: net, fees: 0 }],
          settlements: listed ? [row] : [],
          cash: new Map([[0, START_CASH - spent - locked(net) + (listed ? revenue : 0)]]),
        }
        expect(compare(BASELINE, ours, theirs, 'gross')).toMatchObject({ judged: true, differences: [] })
      }),
    )
  })
})
