import { existsSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { feeBound, fillFee, tradeFee } from '../../engine/fees.ts'
import { ASK, BID } from '../../engine/units.ts'

const plain = { type: 'quadratic', multiplier: 10_000 } as const
const FINE = 1_785_000_000_000_000
const CENTS = 1_776_000_000_000_000

describe("Kalshi's fees", () => {
  it('matches the published reference values (taker and maker, one contract, rounded up to $0.0001)', () => {
    const table: [number, number, number][] = [
      [100, 700, 200],
      [500, 3_400, 900],
      [1_000, 6_300, 1_600],
      [2_500, 13_200, 3_300],
      [5_000, 17_500, 4_400],
      [5_200, 17_500, 4_400],
    ]
    for (const [price, taker, maker] of table) {
      expect(tradeFee(plain, false, price, 100)).toBe(taker)
      expect(tradeFee(plain, false, 10_000 - price, 100)).toBe(taker)
      expect(tradeFee({ type: 'quadratic_with_maker_fees', multiplier: 10_000 }, true, price, 100)).toBe(maker)
    }
    expect(tradeFee(plain, true, 5_000, 100)).toBe(0)
    expect(tradeFee({ type: 'quadratic', multiplier: 5_000 }, false, 5_000, 100)).toBe(8_800)
  })

  it('charges the plainest case exactly: 100 at 50 cents is $1.75, not $1.76', () => {
    expect(fillFee(plain, false, BID, 5_000, 10_000, CENTS, { gathered: 0 })).toBe(1_750_000)
  })

  it('rounds the balance, not only the fee', () => {
    // 71.94 at 0.0130 paid 0.06478: trade fee 0.0647 (rounded up), then cost and fee together to $0.0001.
    expect(fillFee(plain, false, BID, 130, 7_194, FINE, { gathered: 0 })).toBe(64_780)
    // 1 at 0.52 and 1 at 0.99, recorded on the demo exchange.
    expect(fillFee(plain, false, BID, 5_200, 100, FINE, { gathered: 0 })).toBe(17_500)
    expect(fillFee(plain, false, BID, 9_900, 100, FINE, { gathered: 0 })).toBe(700)
  })

  it('gives back a cent when more than a cent of rounding has gathered on one order (the documented mechanics)', () => {
    // 0.09 at 0.3301 in three fills of 0.03 on a cent account: 0.010097, 0.000097, 0.000097 net.
    const account = { gathered: 0 }
    const fees = [0, 1, 2].map(() => fillFee(plain, false, BID, 3_301, 3, CENTS, account))
    expect(fees).toEqual([10_097, 97, 97])
  })

  it('is never negative, never above its bound, and keeps the balance on its grid', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9_999 }),
        fc.array(fc.integer({ min: 100, max: 50_000 }), { minLength: 1, maxLength: 5 }),
        fc.constantFrom(BID, ASK),
        fc.constantFrom(FINE, CENTS),
        (price, parts, side, time) => {
          const account = { gathered: 0 }
          let sum = 0
          for (const q of parts) {
            const fee = fillFee(plain, false, side, price, q, time, account)
            expect(fee).toBeGreaterThanOrEqual(0)
            const change = (side === BID ? -price * q : price * q) - fee
            expect(Math.abs(change % (time === CENTS ? 10_000 : 100))).toBe(0)
            sum += fee
          }
          expect(sum).toBeLessThanOrEqual(
            feeBound(
              plain,
              price,
              parts.reduce((a, b) => a + b, 0),
              time,
            ),
          )
        },
      ),
    )
  })

  const real = new URL('../../../shared/data/derived/fee_validation_dev.csv', import.meta.url)
  it.skipIf(!existsSync(real))(
    'agrees with real single-price taker orders of KXBTC15M to the cent (uses ../shared; skipped where it is absent)',
    () => {
      const rows = readFileSync(real, 'utf8')
        .trim()
        .split('\n')
        .slice(1)
        .map((l) => l.split(','))
      let compared = 0
      let equal = 0
      for (const [source, , series, created, role, count, price, cost, fee] of rows) {
        if (source !== 'ryanathompson' || series !== 'KXBTC15M' || role !== 'taker') continue
        const p = Math.round(Number(price) * 10_000)
        const q = Math.round(Number(count) * 100)
        // One price for the whole order, as far as the cost tells: the average of several fills has a fee that depends on the split.
        const average = Number(cost) / Number(count)
        const at = Math.round(average * 10_000)
        if (Math.abs(at * q - Math.round(Number(cost) * 1e6)) > 0) continue
        compared++
        const time = Date.parse(created ?? '') * 1000
        if (Math.abs(fillFee(plain, false, BID, at, q, time, { gathered: 0 }) - Math.round(Number(fee) * 1e6)) < 1) equal++
        expect(p).toBeGreaterThan(0)
      }
      expect(compared).toBeGreaterThan(100)
      expect(equal / compared).toBeGreaterThan(0.95)
    },
  )
})
