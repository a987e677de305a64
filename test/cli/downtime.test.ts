import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { readRun } from '../../data/run.ts'
import { JournalKind } from '../../engine/journal.ts'
import { endAll, exchange, start, until } from '../support/live.ts'
import { PROGRAM, runJson, runProgram } from '../support/program.ts'
import { folder, removeFolders, rowsOf, type TapeRow } from '../support/tapes.ts'

/** What becomes of markets while nobody looks: a session and a recording are cut off, the exchange goes on, and both go on with what it did. */
const built = existsSync(PROGRAM)
afterEach(() => {
  endAll()
  removeFolders()
})

/** Takes one contract of every market. */
const HOLDER = `export default () => ({
  name: 'holder', parameters: {},
  onBook(book, desk) {
    if (desk.position(book.market) === 0 && book.ask < 9800) desk.take(book.market, { side: 'bid', limit: book.ask + 100, size: 1, positionMax: 1, why: 'once' })
  },
})
`
const MILL = [{ start: 0, end: 10_000, step: 10 }]
type Snapshot = { positions: { market: string; position: number }[]; rows: { total: number }; feed: { marketsSynced: number }; pid: number }
const read = (path: string): Snapshot | null =>
  existsSync(join(path, 'status.json')) ? (JSON.parse(readFileSync(join(path, 'status.json'), 'utf8')) as Snapshot) : null

/** Rows of a market that are neither book nor trade, since a row number. */
const news = (rows: readonly TapeRow[], ticker: string, since: number): [string, unknown][] =>
  rows
    .slice(since)
    .filter((r) => r.ticker === ticker && ['status', 'grid', 'fee', 'determined', 'settled'].includes(r.kind))
    .map((r) => [r.kind, r.detail])

describe.skipIf(!built)(`time that nobody watched${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('is made up for by paper and record: fee, grid and close time that changed, a market that paid, one that closed and pays later', async () => {
    const dir = folder()
    const x = await exchange(dir, ['--practice', '--markets', '3', '--life', '1h', '--rate', '20', '--admin-port', '0'])
    const [changed = '', paid = '', closed = ''] = x.markets
    const event = changed.slice(0, changed.lastIndexOf('-'))
    mkdirSync(join(dir, 'mine'))
    writeFileSync(join(dir, 'mine/holder.mjs'), HOLDER)
    const paper = (...args: string[]) => start(dir, ['paper', ...args, ...x.access, '--json'])
    const record = () => start(dir, ['record', '--tape', 'rec', '--series', 'KXPRACTICE15M', ...x.access, '--json'])
    const first = [paper('--strategy', 'mine/holder.mjs', '--series', 'KXPRACTICE15M', '--out', 's'), record()]
    await until('three positions', () => read(join(dir, 's'))?.positions.length === 3)
    await until('a recording', () => read(join(dir, 'rec'))?.feed.marketsSynced === 3)
    for (const { child } of first) child.kill('SIGKILL')
    await Promise.all(first.map((f) => f.ended))
    const before = { s: (await rowsOf(join(dir, 's/tape'))).length, rec: (await rowsOf(join(dir, 'rec'))).length }

    await x.admin(`fees`, { event, fee: { type: 'quadratic_with_maker_fees', multiplier: 3 } })
    await x.admin(`markets/${changed}`, { do: 'regrid', grid: MILL })
    await x.admin(`markets/${changed}`, { do: 'move-close', closesIn: 7_200 })
    await x.admin(`markets/${paid}`, { do: 'close' })
    await x.admin(`markets/${paid}`, { do: 'determine', result: 'yes' })
    await x.admin(`markets/${paid}`, { do: 'settle' })
    await x.admin(`markets/${closed}`, { do: 'close' })

    const second = [paper('--resume', 's'), record()]
    const pids = second.map((s) => s.child.pid)
    for (const [k, at] of ['s', 'rec'].entries())
      await until(`${at} goes on`, () => {
        const status = read(join(dir, at))
        return status !== null && status.pid === pids[k] && status.feed.marketsSynced === 1 && (k === 1 || status.positions.length === 2)
      })
    // The one that had closed pays only now.
    await x.admin(`markets/${closed}`, { do: 'determine', result: 'no' })
    await x.admin(`markets/${closed}`, { do: 'settle' })
    await until('one position', () => read(join(dir, 's'))?.positions.length === 1)
    await until('rows of the recording', () => (read(join(dir, 'rec'))?.rows.total ?? 0) > 200)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    for (const { child } of second) child.kill('SIGTERM')
    for (const { ended } of second) expect((await ended).code).toBe(143)

    for (const [at, since] of [
      ['s/tape', before.s],
      ['rec', before.rec],
    ] as const) {
      const rows = await rowsOf(join(dir, at))
      const fee = { type: 'quadratic_with_maker_fees', multiplier: 30_000 }
      expect(news(rows, changed, since)).toEqual([
        ['status', { status: 'active', closeTime: expect.any(Number) as number }],
        ['grid', { grid: MILL }],
        ['fee', fee],
      ])
      // Told once, with the exchange's own times, before any row of its book.
      const told = rows.slice(since).filter((r) => r.ticker === changed)
      expect(told.findIndex((r) => r.kind === 'fee')).toBeLessThan(
        told.findIndex((r) => r.kind === 'clear' && r.time > (told[1]?.time ?? 0)),
      )
      expect(news(rows, paid, since).map(([kind, detail]) => [kind, detail])).toEqual(
        expect.arrayContaining([
          ['status', { status: 'closed' }],
          ['determined', { result: 'yes', value: 10_000 }],
          ['settled', {}],
        ]),
      )
      expect(
        news(rows, closed, since)
          .map(([kind]) => kind)
          .filter((k) => k !== 'fee'),
      ).toEqual(['status', 'status', 'determined', 'settled'])
      // Its catalog row is repeated as it was known, so that what changed stands in rows of its own.
      const catalogs = rows.filter((r) => r.ticker === changed && r.kind === 'catalog').map((r) => r.detail)
      expect([catalogs.length, catalogs[1]?.['grid'], catalogs[1]?.['fee']]).toEqual([2, catalogs[0]?.['grid'], catalogs[0]?.['fee']])
      expect(catalogs[0]?.['grid']).not.toEqual(MILL)
      expect((await runProgram(dir, ['data', 'verify', at])).code).toBe(0)
    }
    // The engine has it: cash moved for two, and the third is known as it is.
    const run = await readRun(join(dir, 's'))
    const settled = new Map<string, number>()
    for (let i = 0; i < run.journal.length; i++)
      if (run.journal.kind[i] === JournalKind.SETTLEMENT && run.strings[run.journal.what[i] as number] === 'paid')
        settled.set(run.strings[run.journal.market[i] as number] as string, (run.journal.a[i] as number) / 1e6)
    expect(settled).toEqual(
      new Map([
        [paid, 1],
        [closed, 0],
      ]),
    )
    expect(run.end.markets.find((m) => m.ticker === changed)).toMatchObject({ paid: false, position: 100 })
    const replay = await runJson(dir, ['replay', 's'])
    expect([replay.code, replay.data?.['equal']]).toEqual([0, true])
  }, 120_000)
})
