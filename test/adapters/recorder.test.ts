import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { Recorder, type RecorderOptions } from '../../adapters/recorder/recorder.ts'
import { makePracticeTape } from '../../adapters/practice/practice-tape.ts'
import { HistoryFeed } from '../../adapters/history/feed.ts'
import { backtest } from '../../cli/session.ts'
import { ownRows } from '../../data/losses.ts'
import { openTape } from '../../data/tape-reader.ts'
import { tapeStats } from '../../data/tape-stats.ts'
import { verifyTape } from '../../data/verify.ts'
import { createBatch, Flag, Kind, pushRow, type Batch } from '../../engine/message.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import { HOUR, SECOND } from '../../engine/units.ts'
import { lean } from '../../strategies/lean.ts'
import { batchesOf, catalog, randomTape, START, type Row } from '../support/rows.ts'
import { bundled } from '../support/bundle.ts'
import { feedOf, named, readNamed, type Named } from '../support/recordings.ts'

const folders: string[] = []
const folder = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'tapeline-recorder-'))
  folders.push(dir)
  return dir
}
afterEach(() => {
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true })
})
const OPTIONS: RecorderOptions = { source: 'test', spaceMin: 0 }
/** Of times stretched over days: midnights and hours pass. */
const stretched = (rows: readonly Row[], factor: number): Row[] =>
  rows.map((r) => ({ ...r, time: START + (r.time - START) * factor, timeVenue: START + (r.timeVenue - START) * factor }))
async function drain(batches: AsyncIterable<Batch>): Promise<number> {
  let n = 0
  for await (const batch of batches) n += batch.length
  return n
}
const options = (tape: string, out: string) => ({
  tape,
  strategies: [{ strategy: lean(), source: null }],
  markets: null,
  series: null,
  from: null,
  to: null,
  warmup: 0,
  fills: null,
  delays: { place: 100_000, cancel: 100_000, amend: 100_000, answer: 50_000 },
  seed: 1,
  cash: 1e10,
  limits: LIMITS_DEFAULT,
  out,
  decode: 'thread' as const,
})

describe('a recording', () => {
  it('is the feed, row for row, whatever the batches and the parts; and passes the same batches on', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1e6 }),
        fc.constantFrom(1, 7, 64, 997),
        fc.constantFrom(120, 700, 100_000),
        fc.constantFrom(1, 2000),
        async (seed, size, rows, factor) => {
          const tape = randomTape({ seed, rows: 1200, markets: 3, settle: true, gaps: true })
          const wanted = stretched(tape.rows, factor)
          const dir = join(folder(), 'tape')
          const recorder = await Recorder.open(dir, { ...OPTIONS, rotate: { rows } })
          const seen: number[] = []
          for await (const batch of recorder.through(feedOf(wanted, size)).batches()) seen.push(batch.length)
          expect(seen).toEqual([...batchesOf(wanted, size)].map((b) => b.length))
          const manifest = await recorder.finish()
          expect(manifest.growing).toBeUndefined()
          expect(await readNamed(dir)).toEqual(named(wanted, tape.tickers))
          expect(await verifyTape(dir)).toEqual([])
          if (rows === 120) expect(manifest.files.length).toBeGreaterThan(8)
          // Every part starts with what a run needs to start there.
          for (const file of manifest.files.filter((f) => f.path.startsWith('messages/')).slice(1)) expect(file.rows).toBeGreaterThan(0)
        },
      ),
      { numRuns: 8 },
    )
  })

  it('is worth what the tape is worth that it was made of: the same digest, the same books from anywhere', async () => {
    const dir = folder()
    const [source, copy, cut] = [join(dir, 'source'), join(dir, 'copy'), join(dir, 'cut')]
    await makePracticeTape(source, { seed: 5, markets: 6, days: 1, rate: 12 })
    for (const [to, rows] of [
      [copy, 1_000_000],
      [cut, 5_000],
    ] as const) {
      const recorder = await Recorder.open(to, { ...OPTIONS, practice: true, rotate: { rows } })
      await drain(recorder.through(new HistoryFeed(await openTape(source), { decode: 'thread' })).batches())
      const manifest = await recorder.finish()
      expect(manifest.lagMax).toBe((await openTape(source)).manifest.lagMax)
    }
    const [a, b, c] = [
      await backtest(options(source, join(dir, 'a'))),
      await backtest(options(copy, join(dir, 'b'))),
      await backtest(options(cut, join(dir, 'c'))),
    ]
    expect(a.record.end.fills).toBeGreaterThan(0)
    expect(b.record.digest).toBe(a.record.digest)
    expect(c.record.digest).toBe(a.record.digest)
    const from = (await openTape(source)).manifest.from + 5 * HOUR
    const late = await Promise.all([source, cut].map((tape, i) => backtest({ ...options(tape, join(dir, `late${i}`)), from })))
    expect(late[1]?.record.digest).toBe(late[0]?.record.digest)
    // What is known of the markets afterwards is the same as well.
    const [wanted, got] = await Promise.all([source, cut].map(async (t) => (await openTape(t)).markets()))
    const plain = (rows: typeof wanted) => rows?.map((r) => ({ ...r, venueQuantity: null })).sort((x, y) => (x.ticker < y.ticker ? -1 : 1))
    expect(plain(got)).toEqual(plain(wanted))
  })

  it('can be read at any moment by somebody else: everything up to there, once', async () => {
    const tape = randomTape({ seed: 8, rows: 4000, markets: 4, settle: true, gaps: true })
    const rows = stretched(tape.rows, 900)
    const wanted = named(rows, tape.tickers)
    const dir = join(folder(), 'tape')
    const recorder = await Recorder.open(dir, { ...OPTIONS, rotate: { rows: 450 } })
    let done = 0
    let checked = 0
    let slow: { read: Promise<Named[]>; upTo: number } | null = null
    for (const batch of batchesOf(rows, 31)) {
      recorder.write(batch)
      done += batch.length
      if (checked % 17 === 0) {
        const opened = await openTape(dir)
        expect(opened.manifest.growing).toBeDefined()
        expect(opened.manifest.to).toBe(rows[done - 1]?.time)
        expect(opened.manifest.markets).toBe(new Set(wanted.slice(0, done).map((r) => r.market)).size)
        expect(await readNamed(opened)).toEqual(wanted.slice(0, done))
        const markets = await opened.markets()
        expect(Object.fromEntries(markets.map((m) => [m.ticker, m.rows]))).toEqual(
          Object.fromEntries(
            tape.tickers.map((t) => [t, wanted.slice(0, done).filter((r) => r.market === t).length] as const).filter(([, n]) => n > 0),
          ),
        )
        expect((await opened.coverage()).reduce((a, c) => a + c.rows, 0)).toBe(done)
        expect(await verifyTape(dir)).toEqual([])
        // One that was opened long ago, and reads on while parts are made of the log behind it.
        if (slow !== null) expect(await slow.read).toEqual(wanted.slice(0, slow.upTo))
        slow = { read: new Promise((r) => setTimeout(r, 30)).then(() => readNamed(opened)), upTo: done }
      }
      checked++
      if (checked % 5 === 0) await new Promise(setImmediate)
    }
    await recorder.finish()
    if (slow !== null) expect(await slow.read).toEqual(wanted.slice(0, slow.upTo))
    const finished = await openTape(dir)
    // The figures do not depend on when they were written out.
    const whole = await Recorder.open(join(dir, '..', 'whole'), OPTIONS)
    for (const batch of batchesOf(rows, 500)) whole.write(batch)
    await whole.finish()
    const other = await openTape(join(dir, '..', 'whole'))
    expect(await finished.markets()).toEqual(await other.markets())
    expect(await finished.coverage()).toEqual(await other.coverage())
    expect(ownRows(finished.manifest)).toBe(ownRows(other.manifest))
    expect({ ...finished.manifest, files: [], rows: 0, checkpoints: 0, byKind: {}, name: '', digest: '' }).toEqual({
      ...other.manifest,
      files: [],
      rows: 0,
      checkpoints: 0,
      byKind: {},
      name: '',
      digest: '',
    })
  })

  it('counts a gap, a disconnect and a break once each, and time in which it was down or a market closed as not recorded', async () => {
    const dir = folder()
    const tickers = ['KXA-1', 'KXA-2', 'KXA-3']
    const at = (seconds: number): number => START + seconds * SECOND
    type Said = readonly [seconds: number, market: number, kind: Kind, detail: object | null]
    const said = (...rows: readonly Said[]): Batch => {
      const batch = createBatch(rows.length)
      for (const [seconds, market, kind, detail] of rows)
        pushRow(batch, at(seconds), at(seconds), market, kind, Flag.LAST, 0, 0, 0, detail === null ? null : JSON.stringify(detail))
      return batch
    }
    const lost = (seconds: number, reason: string, more: object = {}): Said[] =>
      [0, 1].map((m) => [seconds, m, Kind.SYNC, { state: 'unsynced', reason, ...more }])
    const whole = (seconds: number): Said[] => [0, 1].map((m) => [seconds, m, Kind.CLEAR, null])
    const names: Said[] = tickers.map((t, m) => [0, m, Kind.CATALOG, catalog(t)])
    const first = await Recorder.open(dir, OPTIONS)
    first.write(said(...names, ...whole(0), [0, 2, Kind.CLEAR, null], [5, 2, Kind.STATUS, { status: 'closed' }]))
    first.write(said(...lost(10, 'gap in seq after 7'), ...whole(12), ...lost(20, 'no sign of life', { disconnected: true }), ...whole(24)))
    first.write(said(...lost(30, 'polled'), ...whole(31), ...whole(40)))
    const figures = async () => {
      const { gaps, resyncs, disconnects, breaks } = await tapeStats(await openTape(dir))
      return { gaps, resyncs, disconnects, breaks }
    }
    // While it grows and no part was ever cut: from the log.
    expect(await figures()).toEqual({ gaps: 1, resyncs: 6, disconnects: 1, breaks: { count: 0, seconds: 0 } })
    await first.leave()
    const again = await Recorder.open(dir, { ...OPTIONS, ranUntil: at(45) })
    again.write(said(...names.map(([, m, k, d]): Said => [65, m, k, d === null ? null : { ...d, status: m === 2 ? 'closed' : 'active' }])))
    again.write(said(...whole(66), ...whole(70), [70, 2, Kind.DETERMINED, { result: 'yes', value: 10_000 }]))
    const wanted = { gaps: 1, resyncs: 8, disconnects: 1, breaks: { count: 1, seconds: 20 } }
    expect(await figures()).toEqual(wanted)
    await again.finish()
    expect(await figures()).toEqual(wanted)
    const { manifest, ...tape } = await openTape(dir)
    expect(manifest).toMatchObject({ gaps: 1, disconnects: 1, breaks: { count: 1, time: 20 * SECOND } })
    const hours = await tape.coverage()
    const of = (ticker: string, what: 'recorded' | 'synced' | 'gaps'): number =>
      hours.filter((h) => h.market === ticker).reduce((a, h) => a + h[what], 0)
    for (const ticker of tickers.slice(0, 2))
      expect([of(ticker, 'recorded') / SECOND, of(ticker, 'synced') / SECOND, of(ticker, 'gaps')]).toEqual([50, 50 - 2 - 4 - 1 - 1, 1])
    // Five seconds until its close; what came later is no time of it.
    expect([of('KXA-3', 'recorded') / SECOND, of('KXA-3', 'synced') / SECOND]).toEqual([5, 5])
  })

  it('backtests while it grows', async () => {
    const dir = folder()
    const source = join(dir, 'source')
    await makePracticeTape(source, { seed: 2, markets: 3, days: 1, rate: 10 })
    const tape = await openTape(source)
    const recorder = await Recorder.open(join(dir, 'tape'), { ...OPTIONS, practice: true, rotate: { rows: 3000 } })
    await drain(recorder.through(new HistoryFeed(tape, { decode: 'thread' })).batches())
    const a = await backtest(options(source, join(dir, 'a')))
    const b = await backtest(options(join(dir, 'tape'), join(dir, 'b')))
    expect(b.record.digest).toBe(a.record.digest)
    await recorder.leave()
  })

  it('goes on after it was left, as the same tape: markets are out of sync until their next snapshot', async () => {
    const tape = randomTape({ seed: 3, rows: 1500, markets: 3 })
    const dir = join(folder(), 'tape')
    const half = 700
    const first = await Recorder.open(dir, { ...OPTIONS, rotate: { rows: 300 } })
    for (const batch of batchesOf(tape.rows.slice(0, half), 50)) first.write(batch)
    await first.leave()
    const second = await Recorder.open(dir, { ...OPTIONS, rotate: { rows: 300 } })
    expect(second.status).toMatchObject({ state: 'recording', rows: half + 3, rowsInParts: half })
    for (const [m, ticker] of tape.tickers.entries()) {
      const again = createBatch(1)
      pushRow(again, tape.rows[half]?.time as number, START, m, Kind.CATALOG, Flag.LAST, 0, 0, 0, JSON.stringify(catalog(ticker)))
      second.write(again)
    }
    for (const batch of batchesOf(tape.rows.slice(half), 50)) second.write(batch)
    await second.finish()
    const rows = await readNamed(dir)
    const sync = rows.filter((r) => r.kind === Kind.SYNC)
    expect(Object.fromEntries(sync.map((r) => [r.market, r.detail]))).toEqual(
      Object.fromEntries(tape.tickers.map((t) => [t, '{"state":"unsynced","reason":"recorder restarted"}'])),
    )
    expect(rows.filter((r) => r.kind !== Kind.SYNC && r.kind !== Kind.CATALOG)).toEqual(
      named(tape.rows, tape.tickers).filter((r) => r.kind !== Kind.CATALOG),
    )
    expect(await verifyTape(dir)).toEqual([])
    // And once more, on a tape that was finished.
    const third = await Recorder.open(dir, OPTIONS)
    // Whoever reads it now looks into the log again.
    expect((await readNamed(dir)).length).toBe(rows.length + 3)
    await third.finish()
    expect((await readNamed(dir)).length).toBe(rows.length + 3)
    const markets = await (await openTape(dir)).markets()
    expect(markets.reduce((a, m) => a + m.rows, 0)).toBe(rows.length + 3)
  })

  it('loses its books after the instant of its last row, and after the time that a live session let pass behind it', async () => {
    const tape = randomTape({ seed: 3, rows: 400, markets: 3 })
    const dir = join(folder(), 'tape')
    const first = await Recorder.open(dir, OPTIONS)
    for (const batch of batchesOf(tape.rows, 50)) first.write(batch)
    await first.leave()
    const last = tape.rows.at(-1)?.time as number
    const second = await Recorder.open(dir, { ...OPTIONS, ranUntil: last - 5, ranOn: 2 })
    expect(second.status.to).toBe(last + 2)
    await second.finish()
    const sync = (await readNamed(dir)).filter((r) => r.kind === Kind.SYNC && r.detail?.includes('restarted') === true)
    expect(sync.map((r) => r.time)).toEqual(tape.tickers.map(() => last + 2))
  })

  it('damaged in what was synced is refused by every reader, with file and byte', async () => {
    const dir = join(folder(), 'tape')
    const recorder = await Recorder.open(dir, OPTIONS)
    for (const [i, batch] of [...batchesOf(randomTape({ seed: 6, rows: 2000, markets: 2 }).rows, 50)].entries()) {
      recorder.write(batch)
      if (i === 20) await recorder.sync()
    }
    await recorder.leave()
    const log = join(dir, 'log', '000000.log')
    const bytes = readFileSync(log)
    bytes[9000] = (bytes[9000] as number) ^ 4
    writeFileSync(log, bytes)
    const refusal = { code: 'LOG_DAMAGED', message: expect.stringMatching(/000000\.log is damaged at byte \d+ \(its checksum is wrong\)/) }
    await expect(openTape(dir)).rejects.toMatchObject(refusal)
    await expect(Recorder.open(dir, OPTIONS)).rejects.toMatchObject(refusal)
    expect(await verifyTape(dir)).toEqual([{ path: 'log/000000.log', problem: expect.stringMatching(/damaged at byte/) }])
  })

  it('is written by one at a time', async () => {
    const dir = join(folder(), 'tape')
    const recorder = await Recorder.open(dir, OPTIONS)
    await expect(Recorder.open(dir, OPTIONS)).rejects.toMatchObject({ code: 'TAPE_BUSY' })
    const program = bundled('test/support/recording.ts')
    const run = () => execFileSync(process.execPath, [program, 'hold', dir], { encoding: 'utf8' }).trim()
    expect(run()).toBe('TAPE_BUSY')
    await recorder.finish()
    expect(run()).toBe('got it')
  })
})

describe('a clock that steps', () => {
  const steady = { at: 0, now: () => START + steady.at }
  it('back: rows keep their order, time runs on, and the tape says so', async () => {
    const dir = join(folder(), 'tape')
    steady.at = 0
    const said: string[] = []
    const recorder = await Recorder.open(dir, { ...OPTIONS, clock: steady, onRemark: (t) => said.push(t) })
    const put = (time: number, kind: Kind, detail: string | null = null) => {
      const b = createBatch(1)
      pushRow(b, time, START, 0, kind, Flag.LAST, 0, kind === Kind.DELTA ? 4000 : 0, kind === Kind.DELTA ? 100 : 0, detail)
      recorder.write(b)
      steady.at += SECOND
      return b.time[0] as number
    }
    const times = [
      put(START + 10 * SECOND, Kind.CATALOG, JSON.stringify(catalog('KXA-1-B0'))),
      put(START + 11 * SECOND, Kind.CLEAR),
      // An hour back.
      put(START - HOUR + 12 * SECOND, Kind.DELTA),
      put(START - HOUR + 13 * SECOND, Kind.DELTA),
      // It was set right again.
      put(START + 14 * SECOND, Kind.DELTA),
      // And a day ahead.
      put(START + 24 * HOUR + 15 * SECOND, Kind.DELTA),
      put(START + 16 * SECOND, Kind.DELTA),
    ].map((t) => (t - START) / SECOND)
    expect(times).toEqual([10, 11, 12, 13, 14, 86_415, 86_416])
    await recorder.finish()
    expect((await readNamed(dir)).map((r) => (r.time - START) / SECOND)).toEqual(times)
    expect(said.length).toBe(2)
    expect((await openTape(dir)).manifest.remarks).toEqual([
      expect.stringMatching(/^The clock went back by 3599 s at 2026-/),
      expect.stringMatching(/^The clock went back by 86399 s at 2026-/),
    ])
  })
})

describe('a full disk', () => {
  const mountable = ((): boolean => {
    const dir = mkdtempSync(join(tmpdir(), 'tapeline-mount-'))
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tapeline', dir], { stdio: 'ignore' })
      execFileSync('umount', [dir])
      return true
    } catch {
      return false
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })()
  const skipped = mountable ? '' : ' (skipped: mount is not permitted here)'

  it.skipIf(!mountable)(`stops the recording, keeps what is whole, and goes on when there is space${skipped}`, async () => {
    const dir = folder()
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tapeline', dir])
    try {
      writeFileSync(join(dir, 'ballast'), Buffer.alloc(1_200_000))
      const tape = randomTape({ seed: 4, rows: 40_000, markets: 3, settle: true })
      const to = join(dir, 'tape')
      const recorder = await Recorder.open(to, { ...OPTIONS, onFull: 'pass', rotate: { rows: 4000 } })
      const kept: Row[] = []
      const missed: Row[] = []
      const batches = [...batchesOf(tape.rows, 500)]
      let at = 0
      for (; at < batches.length && missed.length < 2000; at++) {
        const slice = tape.rows.slice(at * 500, at * 500 + 500)
        ;(recorder.write(batches[at] as Batch) ? kept : missed).push(...slice)
        await new Promise(setImmediate)
      }
      expect(missed.length).toBeGreaterThan(0)
      expect(recorder.status).toMatchObject({
        state: 'full',
        rows: kept.length,
        rowsMissed: missed.length,
        failure: expect.stringContaining('disk is full'),
      })
      expect(await readNamed(to)).toEqual(named(kept, tape.tickers))
      rmSync(join(dir, 'ballast'))
      recorder.resume()
      expect(recorder.status.state).toBe('recording')
      const after = tape.rows.slice(at * 500)
      for (const batch of batchesOf(after.slice(0, 3000), 500)) expect(recorder.write(batch)).toBe(true)
      await recorder.finish()
      const rows = await readNamed(to)
      const rare = named(missed, tape.tickers).filter((r) => r.kind >= Kind.CATALOG)
      expect(rows.length).toBe(kept.length + 3 + rare.length + 3000)
      expect(rows.slice(0, kept.length)).toEqual(named(kept, tape.tickers))
      expect(rows.slice(kept.length, kept.length + 3).map((r) => r.detail)).toEqual(
        Array(3).fill('{"state":"unsynced","reason":"recording paused"}'),
      )
      expect(rows.slice(kept.length + 3 + rare.length)).toEqual(named(after.slice(0, 3000), tape.tickers))
      expect(await verifyTape(to)).toEqual([])
    } finally {
      execFileSync('umount', [dir])
    }
  })
})

describe('files of a recording', () => {
  it('are never left half-made', async () => {
    const dir = join(folder(), 'tape')
    const recorder = await Recorder.open(dir, { ...OPTIONS, rotate: { rows: 200 } })
    for (const batch of batchesOf(randomTape({ seed: 1, rows: 2000, markets: 2 }).rows, 100)) recorder.write(batch)
    await recorder.finish()
    const names = readdirSync(dir, { recursive: true }) as string[]
    expect(names.filter((n) => /tmp|log|lock|\.\d+\.parquet/.test(n))).toEqual([])
    expect(existsSync(join(dir, 'markets.parquet'))).toBe(true)
  })
})
