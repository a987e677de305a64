import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** `explain` and `report export` as their user runs them. */
const program = fileURLToPath(new URL('../../dist/tapeline.js', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'tapeline-explain-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

type Ran = { code: number; stdout: string; stderr: string }
const run = (...args: string[]): Promise<Ran> =>
  new Promise((done) => {
    execFile(process.execPath, [program, ...args], { cwd: dir, maxBuffer: 1e8 }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : (error.code as unknown as number), stdout, stderr }),
    )
  })
type Event = { row: number | null; time: number; kind: string; order: number | null; text: string }
type Answer = {
  what: string
  verdict: string
  steps: { id: string; count: number }[]
  events: Event[]
  order: { order: number; market: string; sent: number; fills: number }
  orders: { order: number; fills: number; sent: number }[]
  book: { bids: unknown[] } | null
  bookNote: string | null
  touch: unknown
  time: number
  working: unknown[]
}
const data = async (...args: string[]): Promise<Answer> => {
  const r = await run(...args, '--json')
  expect(r.stdout.trim().split('\n')).toHaveLength(1)
  const envelope = JSON.parse(r.stdout) as { ok: boolean; data: Answer; errors: unknown[] }
  expect(envelope.errors).toEqual([])
  return envelope.data
}

beforeAll(async () => {
  await run('data', 'practice', '--seed', '3', '--markets', '3', '--days', '2', '--rate', '15', '--tape', 'tape')
  await run('data', 'practice', '--seed', '4', '--markets', '1', '--rate', '5', '--tape', 'other')
  expect((await run('backtest', '--tape', 'tape', '--strategy', 'lean', '--out', 'run')).code).toBe(0)
})

describe('explain', () => {
  it('tells the funnel, an order, a market and a moment; every order it names can be asked for', async () => {
    const funnel = await data('explain', 'run')
    expect(funnel.steps.find((s) => s.id === 'fills')?.count).toBeGreaterThan(0)
    expect((await run('explain', 'run')).stdout).toContain(funnel.verdict)
    const first = await data('explain', 'run', '0')
    const market = first.order.market
    expect(first.events.map((e) => e.kind).slice(0, 3)).toEqual(['saw', 'wished', 'sent'])
    expect(first.book?.bids.length).toBeGreaterThan(0)
    const timeline = await data('explain', 'run', market)
    const filled = timeline.orders.find((o) => o.fills > 0)
    const text = (await run('explain', 'run', `#${filled?.order}`)).stdout
    expect(text).toMatch(/filled +#\d+ .* as maker: (buy|sell) YES at/)
    expect(text).toMatch(/The book at the decision/)
    // A moment by full time, and by the clock where that is one moment.
    const at = new Date((filled?.sent ?? 0) / 1000).toISOString()
    const full = await data('explain', 'run', `${market}@${at.slice(0, 19)}Z`, '--window', '2s')
    expect(full.events.some((e) => e.order === filled?.order)).toBe(true)
    const clock = await data('explain', 'run', `${market}@${at.slice(11, 19)}`, '--window', '2s')
    expect(clock.time).toBe(full.time)
    expect((await run('explain', 'run', `${market}@${at.slice(11, 19)}`)).stdout).toMatch(/position|orders|cash/)
  })

  it('finds the tape by run.json, which is part of no digest, takes --tape instead, and refuses another tape', async () => {
    expect(JSON.parse(readFileSync(join(dir, 'run/run.json'), 'utf8'))).toEqual({ schema: 'tapeline.run/1', tape: 'tape' })
    renameSync(join(dir, 'tape'), join(dir, 'moved'))
    const lost = await data('explain', 'run', '0')
    expect([lost.book, lost.bookNote]).toEqual([null, 'the tape is not at tape any more: give --tape to see the book'])
    expect((await data('explain', 'run', '0', '--tape', 'moved')).book).not.toBeNull()
    const other = await run('explain', 'run', '0', '--tape', 'other')
    expect([other.code, other.stderr]).toEqual([4, expect.stringMatching(/other is not the tape of this run/)])
    rmSync(join(dir, 'run/run.json'))
    expect((await data('explain', 'run', '0')).bookNote).toMatch(/does not say where its tape is/)
    expect((await run('report', 'build', 'run')).code).toBe(0)
    renameSync(join(dir, 'moved'), join(dir, 'tape'))
  })

  it('answers what is not there with what is nearby', async () => {
    const market = (await data('explain', 'run', '0')).order.market
    const cases: [string[], number, RegExp][] = [
      [['run', '99999'], 4, /order 99999 is not in the run: it has orders 0 to \d+/],
      [['run', 'KXNOPE'], 4, /KXNOPE is not a market of this run \(it has /],
      [['run', `${market}@2030-01-01T00:00:00Z`], 4, /outside the run, which goes from 2026-06-01 .* has rows from/],
      [['run', `${market}@yesterday`], 2, /not a time/],
      [['run', `${market}@25:00:00`], 2, /not a time of day/],
      [['run', `${market}@03:00:00`], 2, /comes 2 times in the run; write one of .*@2026-06-01T03:00:00Z, .*@2026-06-02T03:00:00Z/],
      [['run', `${market}@00:05:00`, '--window', 'wide'], 2, /not a duration/],
      [['nowhere'], 4, /not a finished run/],
      [['run', '0', '--tape', 'nowhere'], 4, /nowhere is not a tape/],
    ]
    for (const [args, code, text] of cases) {
      const r = await run('explain', ...args)
      expect([args.join(' '), r.code, r.stderr]).toEqual([args.join(' '), code, expect.stringMatching(text)])
      expect(r.stderr.trim().split('\n')).toHaveLength(1)
      expect(r.stdout).toBe('')
    }
  })
})

describe('report export', () => {
  it('writes a run and a tape, says exact sizes, writes nothing over and asks for a format', async () => {
    for (const source of ['run', 'tape'])
      for (const format of ['arrow', 'parquet']) {
        const r = await run('report', 'export', source, `--${format}`, '--json')
        const { data: d } = JSON.parse(r.stdout) as { data: { out: string; bytes: number; tables: { file: string; bytes: number }[] } }
        for (const t of d.tables) expect(readFileSync(join(dir, d.out, t.file)).length).toBe(t.bytes)
        expect(d.bytes).toBe(d.tables.reduce((a, t) => a + t.bytes, 0))
      }
    const again = await run('report', 'export', 'run', '--arrow')
    expect([again.code, again.stderr]).toEqual([4, expect.stringMatching(/exports\/run-arrow is there already/)])
    expect((await run('report', 'export', 'run')).code).toBe(2)
    expect((await run('report', 'export', 'exports', '--arrow')).stderr).toMatch(/neither a run .* nor a tape/)
    expect(existsSync(join(dir, 'exports/exports-arrow'))).toBe(false)
  })
})
