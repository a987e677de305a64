import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { writeHalt } from '../../cli/halt.ts'
import { besideText, flattenedSince } from '../../cli/live/beside.ts'
import { beyondText } from '../../cli/live/flatten-text.ts'
import type { FlattenPlan } from '../../cli/live/flatten-plan.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** What was done beside an engine, as `status` tells it. */
afterEach(removeFolders)
const line = (time: number, entry: object): string => `${JSON.stringify({ time: new Date(time).toISOString(), ...entry })}\n`

it('tells of a halt that stands, of what was proved and of what was flattened since the session spoke last, and of nothing that was before', () => {
  const sessions = folder()
  const dir = join(sessions, 's')
  mkdirSync(dir)
  const at = Date.UTC(2026, 10, 25, 12)
  const snapshot = { written: at, positions: [{ market: 'A', position: 5, pnl: 0 }] }
  expect(besideText(dir, snapshot, false)).toEqual([])
  writeFileSync(join(dir, 'operator.ndjson'), line(at - 1_000, { what: 'halt', provedEmpty: 900 }))
  const fill = (trade: string, quantity: number) => ({ trade, ticker: 'A', quantity })
  writeFileSync(join(dir, 'flatten-0.ndjson'), line(at - 1_000, { what: 'flattened', fills: [fill('old', 100)] }))
  expect(besideText(dir, snapshot, false)).toEqual([])
  appendFileSync(
    join(dir, 'operator.ndjson'),
    line(at + 1_000, { what: 'takeover', proved: at + 900 }) + line(at + 2_000, { what: 'halt', provedEmpty: null }),
  )
  // The last line was not written whole.
  writeFileSync(join(dir, 'flatten-1.ndjson'), `${line(at + 3_000, { what: 'flattened', fills: [fill('a', 100), fill('b', 50)] })}{"time":`)
  writeHalt(sessions, 'a drill', 'a test')
  const [halted, proved, flattened, ...more] = besideText(dir, snapshot, false)
  expect(halted).toMatch(/^HALTED .*HALTED stands \(a drill\): nothing trades before `tapeline resume .*live --resume/)
  expect(proved).toBe('NOTICE    since then: nothing of its orders was open at 2026-11-25T12:00:01Z (proved by `tapeline watch`)')
  expect(flattened).toMatch(/traded 1\.5 contracts in 1 markets; .* the positions shown are those before$/)
  expect(more).toEqual([])
  // Of an engine that runs its own words are true, but for the halt.
  expect(besideText(dir, snapshot, true)).toEqual([expect.stringMatching(/^HALTED/)])
  expect(flattenedSince(dir, 0).map((f) => f.trade)).toEqual(['old', 'a', 'b'])
})

it('a closing says what of it is not the session’s', () => {
  const plan = (...markets: [string, number][]) =>
    ({ markets: markets.map(([ticker, position]) => ({ ticker, position })) }) as unknown as FlattenPlan
  const own = [
    { market: 'A', position: 10 },
    { market: 'B', position: -0.5 },
  ]
  expect(beyondText(plan(['A', 1_000], ['B', -50]), own)).toEqual([])
  expect(beyondText(plan(['A', 3_000], ['B', -50], ['C', 100]), own)).toEqual([
    'NOTICE    not all of it is what the session last said to hold (A 30, by the session 10; C 1, by the session 0): the whole subaccount is closed',
  ])
})
