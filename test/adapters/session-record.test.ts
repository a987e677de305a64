import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { HistoryFeed } from '../../adapters/history/feed.ts'
import { makePracticeTape } from '../../adapters/practice/practice-tape.ts'
import { SessionFolder } from '../../adapters/record/session-record.ts'
import { Recorder } from '../../adapters/recorder/recorder.ts'
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { SegmentReader, segmentsOf } from '../../data/log-reader.ts'
import { readRun, Run } from '../../data/run.ts'
import { readInputs, readSession, type SessionInput } from '../../data/session-inputs.ts'
import { openTape } from '../../data/tape-reader.ts'
import { Engine } from '../../engine/engine.ts'
import { Flag } from '../../engine/message.ts'
import type { JournalSink } from '../../engine/journal.ts'
import type { SampleSink } from '../../engine/samples.ts'
import type { SessionHeader } from '../../engine/session.ts'
import { buildReport } from '../../reports/index.ts'
import { meanReversion } from '../../strategies/mean-reversion.ts'
import { integer, random } from '../support/random.ts'
import { header as headerOf } from '../support/session.ts'
import { readNamed, rowsOf, type Named } from '../support/recordings.ts'

const dir = mkdtempSync(join(tmpdir(), 'tapeline-session-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const header: SessionHeader = { ...headerOf(), mode: 'paper', strategies: [{ name: 'mean-reversion', parameters: {} }] }
const engineOf = (sink: JournalSink & SampleSink) =>
  new Engine({
    header,
    strategies: [meanReversion({ window: 30, minimum: 10, threshold: 1 })],
    venue: new SimulatedVenue('queue', header.delays, header.tape.lagMax),
    sink,
  })

/** A paper session over a tape: rows through the recorder, an input after every few batches, the journal beside them. Stops after `until` batches without an end; else finishes. */
async function session(folder: string, source: string, until = Infinity, every = 3) {
  const given: (SessionInput | Named)[] = []
  const s = await SessionFolder.open(folder)
  const recorder = await Recorder.open(s.tape, { source: 'practice', practice: true, spaceMin: 0, log: s.log, rotate: { rows: 2500 } })
  const engine = engineOf(await s.begin(header))
  const feed = new HistoryFeed(await openTape(source), { decode: 'thread', batchRows: 211 })
  const tickers = (await (await openTape(source)).read()).tickers
  let n = 0
  for await (const batch of recorder.through(feed).batches()) {
    given.push(...rowsOf(batch, tickers).filter((r) => (r.flags & Flag.CHECKPOINT) === 0))
    if (n % every === 0) {
      const input = { row: recorder.rows, time: batch.time[batch.length - 1] as number, kind: 'answer', detail: { n, text: "it's one" } }
      s.input(input)
      given.push(input)
    }
    engine.run(batch)
    if (n % 5 === 0) {
      engine.journal.flush()
      await s.sync()
      expect(s.log.syncedSequence).toBe(s.log.sequence)
    }
    if (++n === until) break
  }
  if (n === until) {
    engine.journal.flush()
    await recorder.leave()
    await s.leave()
    return { given, record: null }
  }
  const end = engine.finish('end of tape', true)
  await recorder.finish()
  return { given, record: await s.finish(end) }
}
async function told(folder: string): Promise<(SessionInput | Named)[]> {
  const { tickers, pieces } = await readSession(folder, { decode: 'thread', batchRows: 500 })
  const out: (SessionInput | Named)[] = []
  for await (const p of pieces) {
    if (p.type === 'input') out.push(p.input)
    else out.push(...rowsOf(p.batch, tickers).filter((r) => (r.flags & Flag.CHECKPOINT) === 0))
  }
  return out
}

describe('the record of a session', () => {
  const source = join(dir, 'source')
  const plain = new Run()

  it('holds rows, inputs and journal in one order, and has the digest of the same session unrecorded', async () => {
    await makePracticeTape(source, { seed: 9, markets: 4, days: 1, rate: 12 })
    const engine = engineOf(plain)
    for await (const batch of new HistoryFeed(await openTape(source), { decode: 'thread' }).batches()) engine.run(batch)
    engine.finish('end of tape', true)

    const folder = join(dir, 'whole')
    const { given, record } = await session(folder, source)
    expect(record?.digest).toBe(plain.digest())
    expect(record?.end.fills).toBeGreaterThan(0)
    expect(await told(folder)).toEqual(given)
    expect(await readRun(folder)).toEqual(record)
    expect(readdirSync(folder).sort()).toEqual([
      'end.json',
      'equity.parquet',
      'inputs.parquet',
      'journal.parquet',
      'markouts.parquet',
      'session.json',
      'tape',
      'touches.parquet',
    ])
    await expect(SessionFolder.open(folder)).rejects.toThrow(/has ended/)
  })

  it('tells what entered between two parts before the books that the second repeats: time never goes back', async () => {
    const folder = join(dir, 'between')
    await session(folder, source, Infinity, 1)
    const { pieces } = await readSession(folder, { decode: 'thread', batchRows: 500 })
    let [time, checkpoints] = [0, 0]
    for await (const p of pieces) {
      const times = p.type === 'input' ? [p.input.time] : p.batch.time.subarray(0, p.batch.length)
      if (p.type === 'rows')
        for (let i = 0; i < p.batch.length; i++) checkpoints += ((p.batch.flags[i] as number) & Flag.CHECKPOINT) === 0 ? 0 : 1
      for (const t of times) {
        expect(t).toBeGreaterThanOrEqual(time)
        time = t
      }
    }
    expect(checkpoints).toBeGreaterThan(0)
  })

  it('cut off at any byte is read as far as it is whole, in the same order, and says that it is partial', async () => {
    const folder = join(dir, 'cut')
    const { given } = await session(folder, source, 60)
    const last = segmentsOf(join(folder, 'log')).at(-1)?.path as string
    const size = statSync(last).size
    // What parts were made of was on disk before them: only behind it can a crash cut.
    const { growing } = (await openTape(join(folder, 'tape'))).manifest
    expect(growing?.rows).toBeGreaterThan(1000)
    let least = 1
    const reader = new SegmentReader(last)
    for (let f = reader.next(); f !== null && f.sequence <= (growing?.sequence ?? 0) + 1; f = reader.next()) least = f.end
    reader.close()
    const next = random(1)
    let before = Infinity
    for (const length of [size, ...Array.from({ length: 14 }, () => integer(next, least, size - 1)).sort((a, b) => b - a)]) {
      const copy = join(dir, 'cut-copy')
      rmSync(copy, { recursive: true, force: true })
      cpSync(folder, copy, { recursive: true })
      truncateSync(join(copy, last.slice(folder.length)), length)
      const found = await told(copy)
      expect(found).toEqual(given.slice(0, found.length))
      expect(found.length).toBeLessThanOrEqual(before)
      before = found.length
      if (length === size) expect(found.length).toBe(given.length)
      const record = await readRun(copy)
      expect(record.end).toMatchObject({ complete: false, reason: expect.stringMatching(/^cut off: the session has no end mark/) })
      const whole = plain.record(header, record.end)
      const n = record.journal.length
      expect(Array.from(record.journal.time.subarray(0, n))).toEqual(Array.from(whole.journal.time.subarray(0, n)))
      expect(Array.from(record.journal.price.subarray(0, n))).toEqual(Array.from(whole.journal.price.subarray(0, n)))
      // And a report can be made of it.
      expect(buildReport(record).html).toContain('PARTIAL: cut off')
    }
  })

  it('goes on after a restart: a second segment, one digest over both', async () => {
    const folder = join(dir, 'restarted')
    await session(folder, source, 40)
    const first = await readRun(folder)
    expect(first.end.complete).toBe(false)
    const rows = (await readNamed(join(folder, 'tape'))).length
    const again = await SessionFolder.open(folder)
    expect(again.resumed).toBe(true)
    const recorder = await Recorder.open(again.tape, { source: 'practice', practice: true, spaceMin: 0, log: again.log })
    const own = new Run()
    const logged = await again.begin(header)
    const engine = engineOf({
      journal: (b, s) => (own.journal(b, s), logged.journal(b, s)),
      touches: (b, s) => (own.touches(b, s), logged.touches(b, s)),
      equity: (b) => (own.equity(b), logged.equity(b)),
      markouts: (b) => (own.markouts(b), logged.markouts(b)),
    })
    again.input({ row: recorder.rows, time: 0, kind: 'resumed', detail: {} })
    for await (const batch of recorder.through(new HistoryFeed(await openTape(source), { decode: 'thread' })).batches()) engine.run(batch)
    const end = engine.finish('end of tape', true)
    await recorder.finish()
    const record = await again.finish(end)
    expect(record.digest).toBe(createHash('sha256').update(first.digest).update(own.digest()).digest('hex'))
    expect(record.end).toEqual(end)
    const words = (r: typeof record, i: number) => [
      r.strings[r.journal.market[i] as number],
      r.strings[r.journal.what[i] as number],
      r.journal.time[i],
    ]
    const second = own.record(header, end)
    expect(record.journal.length).toBe(first.journal.length + second.journal.length)
    for (let i = 0; i < first.journal.length; i++) expect(words(record, i)).toEqual(words(first, i))
    for (let i = 0; i < second.journal.length; i++) expect(words(record, first.journal.length + i)).toEqual(words(second, i))
    expect((await readInputs(folder)).filter((i) => i.kind === 'resumed')).toEqual(
      [{ row: rows + 4 - 3, time: 0, kind: 'resumed', detail: {} }].map((i) => ({ ...i, row: expect.any(Number) })),
    )
    expect((await readNamed(join(folder, 'tape'))).length).toBeGreaterThan(rows)
    expect(existsSync(join(folder, 'log'))).toBe(false)
  })

  it('lived again goes on in the same journal: cut off, paused and gone on with, it has the digest of a replay in one piece', async () => {
    const folder = join(dir, 'lived')
    await session(folder, source, 40)
    const first = await readRun(folder)
    const strategy = { window: 30, minimum: 10, threshold: 1 }
    const live = async (how: 'leave' | 'pause' | 'finish', parameters = strategy) => {
      const s = await SessionFolder.open(folder)
      expect(s.resumed).toBe(true)
      const recorder = await Recorder.open(s.tape, { source: 'practice', practice: true, spaceMin: 0, log: s.log, rotate: { rows: 2500 } })
      const run = await s.goOn(header)
      const engine = new Engine({
        header,
        strategies: [meanReversion(parameters)],
        venue: new SimulatedVenue('queue', header.delays, header.tape.lagMax),
        sink: run,
      })
      try {
        const { pieces } = await readSession(folder, { decode: 'thread', batchRows: 700 })
        for await (const p of pieces) if (p.type === 'rows') engine.run(p.batch)
        engine.flush()
        run.repeated()
        if (how === 'leave') {
          await recorder.leave()
          await s.leave()
          return null
        }
        if (how === 'pause') run.detach()
        const end = engine.finish('over', true)
        if (how === 'pause') await recorder.leave()
        else await recorder.finish()
        return how === 'pause' ? await s.pause(end) : await s.finish(end)
      } catch (error) {
        await recorder.leave()
        await s.leave()
        throw error
      }
    }
    // Another strategy does not lead to the same journal, and nothing is changed by trying.
    await expect(live('leave', { ...strategy, threshold: 3 })).rejects.toMatchObject({ code: 'DIVERGED' })
    await expect(live('leave', { ...strategy, threshold: 0.5 })).rejects.toMatchObject({ code: 'DIVERGED' })
    expect((await readRun(folder)).journal.length).toBe(first.journal.length)
    await live('leave')
    const paused = await live('pause')
    expect((await readRun(folder)).digest).toBe(paused?.digest)
    expect(paused?.end.complete).toBe(true)
    expect(existsSync(join(folder, 'log'))).toBe(true)
    const done = await live('finish')
    expect(done?.digest).toBe(paused?.digest)
    const again = new Run()
    const engine = engineOf(again)
    const { pieces } = await readSession(folder, { decode: 'thread', batchRows: 4096 })
    for await (const p of pieces) if (p.type === 'rows') engine.run(p.batch)
    // Checkpoints at the start of parts are rows too.
    expect({ ...engine.finish('over', true), rows: 0 }).toEqual({ ...done?.end, rows: 0 })
    expect(again.digest()).toBe(done?.digest)
    expect(done?.journal.length).toBeGreaterThan(first.journal.length)
  })
})
