import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Externals } from '../../engine/externals.ts'
import { Kind } from '../../engine/message.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import { sharesOf } from '../../engine/settlement.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { spotLag } from '../../strategies/spot-lag.ts'
import { batchesOf, randomTape, START, type Row } from '../support/rows.ts'
import { header, runSession } from '../support/session.ts'

describe('an outside series', () => {
  it('has as its last value the latest publication in its highest revision, of what is known', () => {
    const row = fc.record({
      published: fc.integer({ min: 0, max: 5 }),
      revision: fc.integer({ min: 0, max: 3 }),
      value: fc.double({ noNaN: true }),
    })
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 20 }), (rows) => {
        const externals = new Externals()
        rows.forEach(({ published, revision, value }, i) => {
          externals.add({ series: 's', value, revision }, published)
          const known = rows.slice(0, i + 1)
          const latest = Math.max(...known.map((r) => r.published))
          const revised = Math.max(...known.filter((r) => r.published === latest).map((r) => r.revision))
          // Of equal ones the one that was known last.
          const last = known.findLast((r) => r.published === latest && r.revision === revised)
          expect(externals.last('s')).toEqual({ series: 's', value: last?.value, revision: revised, timeVenue: latest })
        })
      }),
    )
    expect(new Externals().last('s')).toBe(null)
  })

  it('does not keep a silent market alive: what is decided on a dead book is refused', () => {
    const book = randomTape({ seed: 4, rows: 200 }).rows
    const last = book.at(-1)?.time ?? START
    const spot: Row[] = Array.from({ length: 60 }, (_, k) => ({
      time: last + (k + 1) * 1_000_000,
      timeVenue: last + (k + 1) * 1_000_000,
      market: -1,
      kind: Kind.EXTERNAL,
      flags: 1,
      side: 0,
      price: 0,
      quantity: 0,
      detail: JSON.stringify({ series: 'spot', value: k, revision: 0 }),
    }))
    let when = 0
    const late = (after: number): Strategy => ({
      name: 'late',
      parameters: {},
      onBook: ({ market }) => void (seen = market),
      onExternal(_, desk) {
        if (++when !== after || seen === null) return
        const there = desk.book(seen)
        if (there?.twoSided === true) desk.take(seen, { side: 'bid', limit: there.ask, size: 1, why: 'late' })
      },
    })
    let seen: Parameters<NonNullable<Strategy['onBook']>>[0]['market'] | null = null
    const refused = (after: number) => {
      when = 0
      return runSession(batchesOf([...book, ...spot], 100), [late(after)], { limits: LIMITS_DEFAULT }).end.refusals
    }
    expect(refused(2)).toEqual({})
    expect(refused(50)).toEqual({ 'feed-silent': 1 })
  })

  it('is followed or faded by spot-lag in the right direction', () => {
    const quote = (ms: number, bid: number): Row[] =>
      [bid, bid + 200].map((price, side) => ({
        time: START + ms * 1000,
        timeVenue: START + ms * 1000,
        market: 0,
        kind: Kind.QUOTE,
        flags: side,
        side,
        price,
        quantity: 10_000,
        detail: null,
      }))
    const spot = (ms: number, value: number): Row => ({
      time: START + ms * 1000,
      timeVenue: START + ms * 1000,
      market: -1,
      kind: Kind.EXTERNAL,
      flags: 1,
      side: 0,
      price: 0,
      quantity: 0,
      detail: JSON.stringify({ series: 'spot', value, revision: 0 }),
    })
    const [first] = randomTape({ seed: 1, rows: 20 }).rows
    const rows: Row[] = [{ ...(first as Row) }]
    // The market trembles around 50 cents, and so does the spot: then the spot leaps and the market does not.
    for (let k = 0; k < 20; k++) rows.push(...quote(1 + k * 100, 4_900 + (k % 2) * 100), spot(50 + k * 100, 100 + (k % 2)))
    rows.push(spot(2_060, 130))
    const side = (mode: string) =>
      runSession(
        batchesOf(rows, 50),
        [spotLag({ window: 10, threshold: 1.5, mode })],
        { tape: { ...header().tape, depth: 'quotes' } },
        'quotes',
      )
        .lines.filter((l) => l.kind === 'signal')
        .map((l) => l.side)
    expect(side('follow')).toEqual([0])
    expect(side('fade')).toEqual([1])
  })
})

describe('what strategies share', () => {
  it('adds up to the whole in whole millionths, whatever they hold', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -5_000, max: 5_000 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: -1e9, max: 1e9 }),
        fc.option(fc.integer({ min: 0, max: 20_000 }).map((x) => x / 2)),
        (positions, value, mark) => {
          const flat = positions.every((p) => p === 0)
          const shares = sharesOf(flat ? 0 : value, mark, positions)
          expect(shares.every(Number.isSafeInteger)).toBe(true)
          expect(shares.reduce((a, s) => a + s, 0)).toBe(flat ? 0 : value)
          positions.forEach((p, k) => {
            if (p === 0) expect(shares[k]).toBe(0)
          })
        },
      ),
    )
    expect(sharesOf(0, 6_000, [1_000, -1_000])).toEqual([6_000_000, -6_000_000])
  })
})
