import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inProcess, market, order, T0, trader, type Json } from './support.ts'

/** Pages of lists that change while they are read. */

describe('a cursor', () => {
  it('goes on behind its item when that has left the filter: resting orders that are canceled, open markets that close, positions that settle', () => {
    const definitions = [1, 2, 3, 4, 5].map((n) => market(`KXTEST-${n}`, { settlementTimer: 1_000_000 }))
    const w = inProcess({}, definitions)
    const [a, b] = [trader(w.x, 'a'), trader(w.x, 'b')]
    for (const d of definitions) {
      w.call(b, 'POST', '/portfolio/events/orders', order('ask', 5000, 100, { ticker: d.ticker }))
      w.call(a, 'POST', '/portfolio/events/orders', order('bid', 5000, 200, { ticker: d.ticker }))
    }
    const lists = [
      ['/portfolio/orders?status=resting', 'orders', 'ticker'],
      ['/markets?status=open', 'markets', 'ticker'],
      ['/portfolio/positions?settlement_status=unsettled', 'market_positions', 'ticker'],
    ] as const
    const page = (n: number, cursor: string): [string[], string] => {
      const [path, field, name] = lists[n] as (typeof lists)[number]
      const { body } = w.call(a, 'GET', `${path}&limit=2&cursor=${cursor}`)
      return [(body[field] as Json[]).map((i) => i[name] as string), body['cursor'] as string]
    }
    const first = lists.map((_, n) => page(n, ''))
    for (const [tickers] of first) expect(tickers).toEqual(['KXTEST-5', 'KXTEST-4'])
    // The item of every cursor goes, and so does the next one.
    for (const n of [4, 3]) w.x.lifecycle.determine(w.the(`KXTEST-${n}`), 'yes', 10_000)
    w.stage.advance(T0 + 5_000_000)
    for (const [n, [, cursor]] of first.entries()) expect(page(n, cursor)).toEqual([['KXTEST-2', 'KXTEST-1'], ''])
    // Garbage is page 1.
    expect(page(0, 'garbage')[0]).toEqual(['KXTEST-5', 'KXTEST-2'])
  })

  it('shows nothing twice and misses nothing that stayed, whatever is placed and canceled between the pages', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ cancel: fc.array(fc.nat(30), { maxLength: 6 }), place: fc.nat(3) }), { minLength: 1, maxLength: 12 }),
        (turns) => {
          const w = inProcess()
          const a = trader(w.x, 'a')
          const place = (): string => w.call(a, 'POST', '/portfolio/events/orders', order('bid', 100, 100)).body['order_id'] as string
          const before = Array.from({ length: 25 }, place)
          const gone = new Set<string>()
          const seen: string[] = []
          let cursor = ''
          let turn = 0
          do {
            const { body } = w.call(a, 'GET', `/portfolio/orders?status=resting&limit=4&cursor=${cursor}`)
            seen.push(...(body['orders'] as Json[]).map((o) => o['order_id'] as string))
            cursor = body['cursor'] as string
            const { cancel, place: more } = turns[turn++ % turns.length] as (typeof turns)[number]
            for (const n of cancel) {
              const id = before[n]
              if (id === undefined || gone.has(id)) continue
              gone.add(id)
              w.call(a, 'DELETE', `/portfolio/events/orders/${id}`)
            }
            for (let i = 0; i < more; i++) place()
            expect(turn).toBeLessThan(20)
          } while (cursor !== '')
          expect(new Set(seen).size).toBe(seen.length)
          for (const id of before) if (!gone.has(id)) expect(seen).toContain(id)
        },
      ),
      { numRuns: 40 },
    )
  })
})
