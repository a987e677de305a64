import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { readRun } from '../../data/run.ts'
import { runRecord } from '../../cli/record-session.ts'
import type { Ending } from '../../cli/live-connection.ts'
import { createBatch, Flag, Kind, pushRow } from '../../engine/message.ts'
import { fill, noDiskBecause, smallDisk, unmountAll } from '../support/disk.ts'
import { endAll, exchange, start, statusOf, until } from '../support/live.ts'
import { PROGRAM, runJson, runProgram, type Envelope } from '../support/program.ts'
import { folder, removeFolders, rowsOf } from '../support/tapes.ts'

/** A disk that is really full, under the shipped program: a small file system that the test fills. */
const built = existsSync(PROGRAM)
const why = noDiskBecause()
afterEach(() => {
  endAll()
  unmountAll()
  removeFolders()
})
const BYTES_LEFT = 60_000

describe.skipIf(!built || why !== '')(`a full disk${built ? why : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('ends a recording with exit 4; its tape can be verified and run, and goes on when there is room', async () => {
    const dir = folder()
    smallDisk(join(dir, 'disk'), 16)
    const x = await exchange(dir, ['--practice', '--markets', '3', '--life', '1h', '--rate', '60'])
    const args = ['record', '--tape', 'disk/rec', '--series', 'KXPRACTICE15M', '--space-min', '0', ...x.access, '--json']
    const first = start(dir, args)
    await until('rows', () => (statusOf(join(dir, 'disk/rec'))?.rows.total ?? 0) > 300)
    fill(join(dir, 'disk/filler'), BYTES_LEFT)
    const { code, out, err } = await first.ended
    const { errors } = JSON.parse(out) as Envelope
    process.stdout.write(`${errors[0]?.message}\n`)
    expect([code, errors[0]?.code]).toEqual([4, 'DISK'])
    expect(errors[0]?.message).toMatch(/^the disk is full \(.*\): .* rows are whole in disk\/rec; the same command goes on with it$/)
    expect(err).not.toMatch(/at .*\.js:\d+/)
    // While it is full.
    const rows = await rowsOf(join(dir, 'disk/rec'))
    expect(rows.length).toBeGreaterThan(300)
    expect((await runProgram(dir, ['data', 'verify', 'disk/rec'])).code).toBe(0)
    const ran = await runJson(dir, ['backtest', '--tape', 'disk/rec', '--strategy', 'lean', '--out', 'run'])
    expect([ran.code, ran.data?.['rows']]).toEqual([0, rows.length])
    // And with room again.
    rmSync(join(dir, 'disk/filler'))
    const second = start(dir, [...args, '--duration', '3s'])
    expect((await second.ended).code).toBe(0)
    const more = await rowsOf(join(dir, 'disk/rec'))
    expect(more.slice(0, rows.length)).toEqual(rows)
    expect(more.length).toBeGreaterThan(rows.length + 50)
    expect((await runProgram(dir, ['data', 'verify', 'disk/rec'])).code).toBe(0)
  }, 90_000)

  it('ends a paper session with exit 4; it can be replayed as far as it came, and goes on when there is room', async () => {
    const dir = folder()
    smallDisk(join(dir, 'disk'), 16)
    writeFileSync(join(dir, 'tapeline.yaml'), 'paper:\n  spaceMinMegabytes: 0\n')
    const x = await exchange(dir, ['--practice', '--markets', '3', '--life', '1h', '--rate', '60'])
    const session = join(dir, 'disk/s')
    const first = start(dir, ['paper', '--strategy', 'lean', '--series', 'KXPRACTICE15M', '--out', 'disk/s', ...x.access, '--json'])
    await until('orders', () => (statusOf(session)?.orders.sent ?? 0) > 3)
    fill(join(dir, 'disk/filler'), BYTES_LEFT)
    const { code, out } = await first.ended
    const { errors } = JSON.parse(out) as Envelope
    process.stdout.write(`${errors[0]?.message}\n`)
    expect([code, errors[0]?.code, errors.length]).toEqual([4, 'DISK', 1])
    expect(errors[0]?.message).toMatch(/^the disk is full \(.*`tapeline paper --resume disk\/s` goes on with it$/)
    const cut = await readRun(session)
    expect(cut.journal.length).toBeGreaterThan(10)
    expect((await runProgram(dir, ['data', 'verify', 'disk/s/tape'])).code).toBe(0)
    const replay = await runJson(dir, ['replay', 'disk/s'])
    expect([replay.code, replay.data?.['equal']]).toEqual([0, true])

    rmSync(join(dir, 'disk/filler'))
    const second = start(dir, ['paper', '--resume', 'disk/s', ...x.access, '--duration', '3s', '--json'])
    expect((await second.ended).code).toBe(0)
    const whole = await readRun(session)
    expect(whole.end.orders).toBeGreaterThanOrEqual(cut.end.orders)
    const again = await runJson(dir, ['replay', 'disk/s'])
    expect([again.code, again.data?.['equal']]).toEqual([0, true])
  }, 90_000)

  it('that is nearly full ends the tape first, and leaves a paper session the room for its record', async () => {
    const dir = folder()
    smallDisk(join(dir, 'disk'), 16)
    const x = await exchange(dir, ['--practice', '--markets', '2', '--life', '1h', '--rate', '40'])
    const ran = await runJson(dir, ['paper', '--strategy', 'lean', '--series', 'KXPRACTICE15M', '--out', 'disk/s', ...x.access])
    expect([ran.code, ran.errors[0]?.code]).toEqual([4, 'DISK'])
    expect(ran.errors[0]?.message).toMatch(/MB are left on the disk, recording stops below 268 MB/)
    expect(existsSync(join(dir, 'disk/s/report.html'))).toBe(true)
    const replay = await runJson(dir, ['replay', 'disk/s'])
    expect([replay.code, replay.data?.['equal'], replay.data?.['digest']]).toEqual([0, true, ran.data?.['digest']])
  }, 60_000)

  it('keeps the sentence of a strategy that fails on it', async () => {
    const dir = folder()
    smallDisk(join(dir, 'disk'), 16)
    writeFileSync(join(dir, 'tapeline.yaml'), 'paper:\n  spaceMinMegabytes: 0\n')
    mkdirSync(join(dir, 'mine'))
    // It fails when the test wants it to.
    writeFileSync(
      join(dir, 'mine/weak.mjs'),
      "export default () => ({ name: 'weak', parameters: {}, onExternal() { throw new Error('enough') } })\n",
    )
    writeFileSync(join(dir, 'values.ndjson'), '')
    const x = await exchange(dir, ['--practice', '--markets', '1', '--life', '1h', '--rate', '2'])
    const args = ['paper', '--strategy', 'mine/weak.mjs', '--series', 'KXPRACTICE15M', '--out', 'disk/s', '--external', 'values.ndjson']
    const paper = start(dir, [...args, ...x.access, '--json'])
    await until('a book', () => statusOf(join(dir, 'disk/s'))?.feed.marketsSynced === 1)
    fill(join(dir, 'disk/filler'), 24_000)
    writeFileSync(join(dir, 'values.ndjson'), '{"series":"x","value":1}\n')
    const { code, out } = await paper.ended
    const { errors } = JSON.parse(out) as Envelope
    process.stdout.write(`${errors[0]?.code}: ${errors[0]?.message}\n`)
    // Whichever comes first is told, and never a bug.
    expect([
      [10, 'STRATEGY_THREW'],
      [4, 'DISK'],
    ]).toContainEqual([code, errors[0]?.code])
    expect((await runProgram(dir, ['data', 'verify', 'disk/s/tape'])).code).toBe(0)
  }, 60_000)

  it('that is met after the end was asked for is told, with exit 4 instead of that of the signal', async () => {
    const dir = smallDisk(join(folder(), 'disk'), 4) as string
    const batch = createBatch(3)
    const now = Date.now() * 1000
    const catalog = {
      ticker: 'A-B-C',
      event: 'A-B',
      series: 'A',
      title: 't',
      exclusive: false,
      strike: null,
      openTime: null,
      closeTime: null,
      status: 'active',
      grid: [{ start: 0, end: 10_000, step: 100 }],
      fee: { type: 'quadratic', multiplier: 10_000 },
    }
    pushRow(batch, now, now, 0, Kind.CATALOG, Flag.LAST, 0, 0, 0, JSON.stringify(catalog))
    pushRow(batch, now, now, 0, Kind.CLEAR, 0, 0, 0, 0)
    pushRow(batch, now, now, 0, Kind.LEVEL, Flag.LAST, 0, 5_000, 100)
    let stop = (): void => {}
    const stopped = new Promise<void>((resolve) => (stop = resolve))
    let end: (ending: Ending) => void = () => {}
    const feed = {
      async *batches() {
        yield batch
        // In the log by the next turn; then the disk is full, and the user wants to go.
        setTimeout(() => {
          fill(join(dir, 'filler'), 0)
          end({ reason: 'interrupted', exit: 130, complete: false })
        }, 50)
        await stopped
      },
      stop,
      status: () => ({ links: [], markets: [], counts: {}, troubles: {}, rowsWaiting: 0, rowsDropped: 0 }),
    }
    const kalshi = { feed: () => feed, environment: { name: 'local' }, rest: { clockOffset: null } }
    const real = { now: () => Date.now() * 1000 }
    const timers = {
      after: (us: number, call: () => void) => {
        const timer = setTimeout(call, us / 1000)
        return { cancel: () => clearTimeout(timer) }
      },
    }
    const facts = await runRecord({
      dir: join(dir, 'rec'),
      request: { environment: 'http://127.0.0.1:1', rule: { series: ['A'] }, external: null },
      kalshi: kalshi as never,
      world: { clock: real, timers, quarantine: { kept: 0 } } as never,
      labelWait: 0,
      rotate: 3_600_000_000,
      spaceMin: 0,
      duration: null,
      onSecond: () => {},
      say: () => {},
      onReady: (call) => {
        end = call
      },
    })
    expect(facts.finished).toBe(false)
    expect(facts.ending).toMatchObject({ exit: 4, error: { code: 'DISK' } })
    expect(facts.rows).toBe(3)
  }, 30_000)
})
