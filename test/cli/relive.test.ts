import { cpSync, rmSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { makePracticeTape } from '../../adapters/practice/practice-tape.ts'
import { SessionFolder } from '../../adapters/record/session-record.ts'
import { relive, SilentVenue } from '../../cli/live/relive.ts'
import { sessionFiles } from '../../cli/live/session-files.ts'
import { segmentsOf } from '../../data/log-reader.ts'
import { readRun, Run } from '../../data/run.ts'
import { readSession } from '../../data/session-inputs.ts'
import { Engine } from '../../engine/engine.ts'
import { lean } from '../../strategies/lean.ts'
import { liveSession } from '../support/live-session.ts'
import { integer, random } from '../support/random.ts'
import { folder, removeFolders } from '../support/tapes.ts'

afterAll(removeFolders)

it('a live session whose log was cut at any byte goes on with the journal and the digest of one that never stopped', async () => {
  const dir = folder()
  await makePracticeTape(join(dir, 'source'), { seed: 6, markets: 2, days: 1, rate: 8 })
  await liveSession(join(dir, 'whole'), join(dir, 'source'), { seed: 4, lost: 0.1, neverArrived: 0.1, finish: false })
  const { header } = sessionFiles(join(dir, 'whole'))
  const last = segmentsOf(join(dir, 'whole/log')).at(-1)?.path as string
  const size = statSync(last).size
  const next = random(3)
  let [kept, shortest] = [0, Infinity]
  for (const length of [size, ...Array.from({ length: 8 }, () => integer(next, Math.floor(size / 3), size - 1))]) {
    const copy = join(dir, 'copy')
    rmSync(copy, { recursive: true, force: true })
    cpSync(join(dir, 'whole'), copy, { recursive: true })
    truncateSync(join(copy, last.slice(join(dir, 'whole').length)), length)
    const before = await readRun(copy)
    const session = await SessionFolder.open(copy, { durable: false })
    const sink = await session.goOn(header)
    const own = new Run()
    const engine = new Engine({
      header,
      strategies: [lean()],
      venue: new SilentVenue(),
      sink: {
        journal: (b, s) => (own.journal(b, s), sink.journal(b, s)),
        touches: (b, s) => (own.touches(b, s), sink.touches(b, s)),
        equity: (b) => (own.equity(b), sink.equity(b)),
        markouts: (b) => (own.markouts(b), sink.markouts(b)),
      },
    })
    const { pieces } = await readSession(copy, { decode: 'thread' })
    const fail = (error: Error): never => {
      throw error
    }
    for await (const _ of relive(pieces, engine, (body) => body(), fail)) continue
    engine.flush()
    sink.repeated()
    const end = engine.finish('over', true)
    const record = await session.finish(end)
    expect(record.digest).toBe(own.digest())
    // By the same words, whatever numbers they had: what stood there is how it begins.
    const whole = own.record(header, end)
    expect(record).toEqual({ ...whole, header: record.header })
    const n = before.journal.length
    expect(Array.from(record.journal.time.subarray(0, n))).toEqual(Array.from(before.journal.time.subarray(0, n)))
    if (n > 0) kept++
    shortest = Math.min(shortest, n)
  }
  // Some were cut in the middle of the journal, and some before its first block.
  expect(kept).toBeGreaterThan(0)
  expect(shortest).toBe(0)
}, 60_000)
