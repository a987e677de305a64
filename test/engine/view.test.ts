import { describe, expect, it } from 'vitest'
import type { BookView, Desk, Strategy } from '../../engine/strategy.ts'
import { StrategyError } from '../../engine/strategy-error.ts'
import { batchesOf, randomTape } from '../support/rows.ts'
import { runSession } from '../support/session.ts'

/** What a handler that misbehaves is told; null: nothing stopped it. */
function told(act: (book: BookView, desk: Desk) => void): string | null {
  const tape = randomTape({ seed: 3, rows: 300, settle: true })
  const strategy: Strategy = { name: 'hostile', parameters: {}, onBook: (book, desk) => (book.twoSided ? act(book, desk) : undefined) }
  try {
    runSession(batchesOf(tape.rows, 100), [strategy])
    return null
  } catch (error) {
    if (!(error instanceof StrategyError)) throw error
    return error.code
  }
}
type Loose = Record<string, unknown> & { market: Record<string, unknown> }
const loose = (x: unknown): Loose => x as Loose

describe('what a strategy is shown', () => {
  it('cannot be changed', () => {
    expect(told((book) => void (loose(book)['bid'] = 5))).toBe('STRATEGY_READ_ONLY')
    expect(told((book) => void (loose(book)['mine'] = 5))).toBe('STRATEGY_READ_ONLY')
    expect(told((book) => void (loose(book).market['status'] = 'closed'))).toBe('STRATEGY_READ_ONLY')
    expect(told((book) => void (loose(book.market.event)['exclusive'] = true))).toBe('STRATEGY_READ_ONLY')
    expect(told((_, desk) => void (loose(desk)['take'] = () => {}))).toBe('STRATEGY_READ_ONLY')
    expect(told((book) => void (loose(Object.getPrototypeOf(book))['step'] = () => 0))).toBe('STRATEGY_READ_ONLY')
  })

  it('shows nothing of the engine behind it, and no outcome before its time', () => {
    const keys = new Set<string>()
    expect(
      told((book) => {
        for (const shown of [book, book.market]) for (const key in shown) keys.add(key)
        for (const shown of [book, book.market]) for (const key of Object.getOwnPropertyNames(shown)) keys.add(key)
      }),
    ).toBe(null)
    expect([...keys]).toEqual([])
    expect(told((book) => void loose(book.market)['result'])).toBe('STRATEGY_RESULT')
    expect(told((book) => void loose(book.market)['settlementValue'])).toBe('STRATEGY_RESULT')
    expect(
      told((book) => {
        expect([loose(book).market['book'], loose(book).market['holding']]).toEqual([undefined, undefined])
      }),
    ).toBe(null)
  })

  it('is the only thing that the desk takes for a market', () => {
    expect(told((book, desk) => void desk.position({ ...book.market } as never))).toBe('STRATEGY_MARKET')
    expect(told((_, desk) => void desk.book('KXT' as never))).toBe('STRATEGY_MARKET')
  })

  it('names a price that was read where there is none', () => {
    const strategy: Strategy = { name: 'careless', parameters: {}, onBook: (book) => void book.bid }
    const empty = randomTape({ seed: 1, rows: 40 }).rows.filter((r) => r.kind !== 1)
    const rows = empty.map((r) => (r.kind === 0 ? { ...r, flags: 1 } : r)).slice(0, 2)
    expect(() => runSession(batchesOf(rows, 10), [strategy])).toThrow(/ask book.twoSided/)
  })
})
