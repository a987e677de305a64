import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { makePracticeTape } from '../../adapters/practice/practice-tape.ts'
import { readRun } from '../../data/run.ts'
import { bundled } from '../support/bundle.ts'
import { endAll, exchange, start, statusOf, until, type Started, type Status } from '../support/live.ts'
import { PROGRAM, runJson, runProgram, type Envelope } from '../support/program.ts'
import { folder, removeFolders, rowsOf, type TapeRow } from '../support/tapes.ts'

/** Paper sessions of the shipped program against the local exchange of the shipped program, over real sockets. */
const built = existsSync(PROGRAM)
afterEach(() => {
  endAll()
  removeFolders()
})

/** What happened to the book of a market at the venue, instant by instant: what each level changed by. Inside an instant the wire has an order of its own. */
function changes(rows: readonly TapeRow[]): { readonly at: number; readonly what: string }[] {
  const instants = new Map<number, Map<string, number>>()
  for (const r of rows) {
    if (r.kind !== 'delta') continue
    const levels = instants.get(r.timeVenue) ?? new Map<string, number>()
    instants.set(r.timeVenue, levels)
    const level = `${r.side} ${r.price}`
    levels.set(level, (levels.get(level) ?? 0) + r.quantity)
  }
  return [...instants].map(([at, levels]) => ({
    at,
    what: [...levels]
      .filter(([, q]) => q !== 0)
      .map(([level, q]) => `${level} ${q}`)
      .sort()
      .join(', '),
  }))
}
/** Its trades; the wire has their times in milliseconds. */
function trades(rows: readonly TapeRow[], shift: number, from: number, to: number): string[] {
  return rows
    .filter((r) => r.kind === 'trade')
    .map((r) => ({ at: Math.floor((r.timeVenue + shift) / 1000), what: `${r.side} ${r.price} ${r.quantity}` }))
    .filter(({ at }) => at > Math.ceil(from / 1000) && at < Math.floor(to / 1000))
    .map(({ at, what }) => `${at} ${what}`)
    .sort()
}
/** The book of a market as the rows before `end` lead to it. */
function bookAfter(rows: readonly TapeRow[]): string[] {
  const levels = new Map<string, number>()
  for (const r of rows) {
    if (r.kind === 'clear') levels.clear()
    if (r.kind !== 'level' && r.kind !== 'delta') continue
    const key = `${r.side} ${r.price}`
    const left = r.kind === 'level' ? r.quantity : (levels.get(key) ?? 0) + r.quantity
    if (left === 0) levels.delete(key)
    else levels.set(key, left)
  }
  return [...levels].map(([key, q]) => `${key} ${q}`).sort()
}

describe.skipIf(!built)(`tapeline paper${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('records what drives the exchange, obeys its operator, hears outside series, reports, and is replayed bit for bit', async () => {
    const dir = folder()
    await makePracticeTape(join(dir, 'driving'), { seed: 3, markets: 2, days: 1, rate: 12 })
    const x = await exchange(dir, ['--tape', 'driving', '--scale', '8'])
    const session = join(dir, 's')
    writeFileSync(join(dir, 'prices.ndjson'), '{"series":"spot","value":1}\n')
    const paper = start(dir, [
      'paper',
      ...'--strategy lean --strategy mean-reversion --param mean-reversion.minimum=5 --series KXPRACTICE15M'.split(' '),
      ...x.access,
      ...'--external prices.ndjson --duration 13s --out s --json'.split(' '),
    ])
    await until('orders are sent', () => (statusOf(session)?.orders.sent ?? 0) > 0)
    appendFileSync(
      join(dir, 'prices.ndjson'),
      '{"series":"spot","value":2,"published":"2026-01-01T00:00:00Z"}\nnonsense\n{"series":"spot","va',
    )
    const halt = await runJson(dir, ['halt', 's', '--reason', 'a test'])
    expect([halt.code, halt.data?.['state'], halt.data?.['reason']]).toEqual([0, 'halted', 'a test'])
    const status = await runJson(dir, ['status', 's'])
    expect([status.code, status.data?.['life'], status.data?.['state']]).toEqual([
      8,
      'running',
      expect.objectContaining({ name: 'halted', cause: 'halt' }),
    ])
    appendFileSync(join(dir, 'prices.ndjson'), 'lue":3,"revision":1}\n')
    expect((await runJson(dir, ['reduce', 's'])).data?.['state']).toBe('reducing')
    expect((await runJson(dir, ['pause', 's'])).data?.['state']).toBe('ready')
    expect((await runJson(dir, ['resume', 's'])).data?.['state']).toBe('trading')
    const { code, out, err } = await paper.ended
    expect([code, err.split('\n').length]).toEqual([0, 2])
    const { data } = JSON.parse(out) as Envelope
    expect([data?.['run'], data?.['complete'], data?.['practice']]).toEqual(['s', true, true])
    expect(data?.['orders']).toBeGreaterThan(0)
    expect(readdirSync(session).sort().join(' ')).toBe(
      'commands end.json equity.parquet journal.parquet markouts.parquet paper.json report.html run.json session.json status.json summary.json tape touches.parquet',
    )

    // The tape: what the exchange was driven by, from the first snapshot on, change by change and trade by trade, by the exchange's own times.
    const recorded = await rowsOf(join(session, 'tape'))
    const driving = await rowsOf(join(dir, 'driving'))
    const ticker = recorded.find((r) => r.kind === 'delta')?.ticker as string
    const every = recorded.filter((r) => r.ticker === ticker)
    // As far as the stream held: a stall of this machine is eight times as long there, and may end it.
    const lost = every.findIndex((r, i) => r.kind === 'sync' && i > every.findIndex((d) => d.kind === 'delta'))
    const own = lost < 0 ? every : every.slice(0, lost)
    const source = driving.filter((r) => r.ticker === ticker)
    const first = own.findIndex((r) => r.kind === 'delta')
    const heard = changes(own)
    // One shift between the two clocks, which the first instants tell.
    const played = changes(source)
    const at = played.findIndex((_, k) => heard.slice(0, 20).every((h, i) => h.what === played[k + i]?.what))
    const shift = (heard[0]?.at ?? 0) - (played[at]?.at ?? 0)
    expect(heard.length).toBeGreaterThan(250)
    expect(heard).toEqual(played.slice(at, at + heard.length).map((p) => ({ ...p, at: p.at + shift })))
    const span = [heard[0]?.at ?? 0, heard.at(-1)?.at ?? 0] as const
    // Its trades are subscribed after its book: the first instants may lack one or two, and nothing after.
    const [ours, theirs] = [trades(own, 0, ...span), trades(source, shift, ...span)]
    expect(theirs.length - ours.length).toBeLessThanOrEqual(2)
    expect(ours).toEqual(theirs.slice(theirs.length - ours.length))
    // The snapshot that it began with is the driving book of that moment.
    const since = source.findIndex((r) => r.kind === 'delta' && r.timeVenue === played[at]?.at)
    expect(bookAfter(own.slice(0, first))).toEqual(bookAfter(source.slice(0, since)))
    // Of each pair of print and change the first to come executes, on both.
    const executed = (rows: readonly TapeRow[]): number => rows.filter((r) => r.executes).reduce((a, r) => a + Math.abs(r.quantity), 0)
    const printed = own.filter((r) => r.kind === 'trade').reduce((a, r) => a + r.quantity, 0)
    expect(printed).toBeGreaterThan(0)
    expect(executed(own) / printed).toBeGreaterThan(0.98)
    expect(executed(own) / printed).toBeLessThan(1.02)

    // Rows of our own among them.
    expect(recorded.filter((r) => r.kind === 'operator').map((r) => r.detail?.['command'])).toEqual([
      'halt',
      'reduce',
      'pause',
      'resume',
      'stop',
    ])
    expect(recorded.filter((r) => r.kind === 'external').map((r) => r.detail)).toEqual([
      { series: 'spot', value: 1, revision: 0 },
      { series: 'spot', value: 2, revision: 0 },
      { series: 'spot', value: 3, revision: 1 },
    ])
    expect(statusOf(session)?.errors.map((e) => e.text)).toEqual([
      expect.stringMatching(/prices\.ndjson:3: not JSON; the line was skipped/),
    ])
    const ended = await runJson(dir, ['halt', 's'])
    expect([ended.code, ended.errors[0]?.message]).toEqual([4, expect.stringMatching(/has ended \(its time is over\)/)])

    const replay = await runJson(dir, ['replay', 's'])
    expect([replay.code, replay.data?.['equal'], replay.data?.['digest']]).toEqual([0, true, data?.['digest']])
    // And it can fail: with another limit behind its back the first row that differs is named.
    const header = JSON.parse(readFileSync(join(session, 'session.json'), 'utf8')) as { limits: Record<string, number> }
    writeFileSync(join(session, 'session.json'), JSON.stringify({ ...header, limits: { ...header.limits, ordersOpenMax: 1 } }))
    const changed = await runJson(dir, ['replay', 's'])
    expect([changed.code, changed.errors[0]?.code]).toEqual([9, 'DIVERGED'])
    expect(changed.errors[0]?.message).toMatch(/row \d+ of the journal is another one\n {2}recorded {2}2026-.* {2}replayed {2}2026-/s)

    x.child.kill('SIGINT')
    expect((await x.ended).err).toMatch(/ 0 orders,/)
  }, 90_000)

  it('keeps what ran after Ctrl-C, SIGTERM and kill -9, and goes on where it was', async () => {
    const dir = folder()
    const x = await exchange(dir, ['--practice', '--markets', '3', '--life', '5m', '--rate', '30'])
    const session = join(dir, 's')
    writeFileSync(join(dir, 'prices.ndjson'), '{"series":"spot","value":1}\n{"series":"spot","value":2}\n')
    const begin = (...args: string[]): Started => start(dir, ['paper', ...args, ...x.access, '--json'])
    const trading = ({ child }: Started, sent: number): Promise<Status> =>
      until('it trades', () => {
        const s = statusOf(session)
        return s !== null && s.pid === child.pid && s.state.name === 'trading' && s.orders.sent > sent && s.rows.total > 300 && s
      })

    const first = begin('--strategy', 'lean', '--series', 'KXPRACTICE15M', '--external', 'prices.ndjson', '--out', 's')
    await trading(first, 0)
    // A second one beside it gets nothing.
    const twin = await runJson(dir, ['paper', '--resume', 's', ...x.access])
    expect([twin.code, twin.errors[0]?.code]).toEqual([4, 'TAPE_BUSY'])
    first.child.kill('SIGKILL')
    await first.ended
    const gone = await runJson(dir, ['status', 's'])
    expect([gone.code, gone.data?.['life'], gone.errors[0]?.code]).toEqual([4, 'gone', 'SESSION_GONE'])
    expect((await runJson(dir, ['pause', 's'])).errors[0]?.code).toBe('SESSION_GONE')
    // What is whole can be read, replayed, reported and explained.
    const cut = await readRun(session)
    expect([cut.end.complete, cut.end.orders > 0]).toEqual([false, true])
    expect((await runJson(dir, ['replay', 's'])).data?.['equal']).toBe(true)
    const partial = (await runProgram(dir, ['report', 'build', 's'])).stdout
    expect(partial).toMatch(/PARTIAL\n[\d,]{3,} rows · [1-9] markets .* labels paired with prints · 0 gaps/)
    expect(partial).not.toMatch(/Trades are unknown/)
    expect((await runProgram(dir, ['explain', 's', '0'])).stdout).toMatch(/#0 KXPRACTICE15M\S+: (buy|sell) .*\nThe book at the decision/s)

    const second = begin('--resume', 's')
    await trading(second, cut.end.orders)
    // The twin of a crash: torn in the middle of a write as well.
    second.child.kill('SIGKILL')
    await second.ended
    appendFileSync(join(session, 'log', readdirSync(join(session, 'log')).sort().at(-1) as string), 'half a frame')
    appendFileSync(
      join(
        session,
        'tape',
        'log',
        readdirSync(join(session, 'tape', 'log'))
          .sort()
          .at(-1) as string,
      ),
      'half a frame',
    )

    const third = begin('--resume', 's')
    const { orders } = await trading(third, cut.end.orders)
    third.child.kill('SIGTERM')
    const stopped = await third.ended
    expect([stopped.code, (JSON.parse(stopped.out) as Envelope).errors[0]?.code]).toEqual([143, 'TERMINATED'])
    const whole = await readRun(session)
    expect([whole.end.reason, whole.end.orders >= orders.sent]).toEqual(['terminated', true])
    expect((await runJson(dir, ['replay', 's'])).data?.['equal']).toBe(true)

    const fourth = begin('--resume', 's')
    await trading(fourth, whole.end.orders - 1)
    fourth.child.kill('SIGINT')
    const interrupted = await fourth.ended
    expect([interrupted.code, (JSON.parse(interrupted.out) as Envelope).errors[0]?.code]).toEqual([130, 'INTERRUPTED'])
    const replay = await runJson(dir, ['replay', 's'])
    expect([replay.code, replay.data?.['equal']]).toEqual([0, true])
    // One session over four processes: each outside value once, three restarts on the tape, and no journal set aside.
    const rows = await rowsOf(join(session, 'tape'))
    expect(rows.filter((r) => r.kind === 'external').map((r) => r.detail?.['value'])).toEqual([1, 2])
    const restarts = new Set(rows.filter((r) => r.kind === 'sync' && r.detail?.['reason'] === 'recorder restarted').map((r) => r.time))
    expect(restarts.size).toBe(3)
    // The report says so, and report, replay and statistics know of as many rows.
    const { header, end } = await readRun(session)
    expect(header.tape.losses).toMatchObject({ breaks: 3 })
    expect((await runProgram(dir, ['report', 'build', 's'])).stdout).toMatch(/was cut off and went on: down [\d.]+ \w+ in 3 breaks/)
    const stats = (await runJson(dir, ['data', 'stats', 's/tape'])).data as { rows: number; byKind: Record<string, number> }
    const sum = Object.values(stats.byKind).reduce((a, n) => a + n, 0)
    expect([end.rows, header.tape.rows, stats.rows, sum]).toEqual(Array(4).fill(replay.data?.['rows']))
    expect(existsSync(join(session, 'log.before'))).toBe(false)
    expect((await runProgram(dir, ['data', 'verify', 's/tape'])).code).toBe(0)
  }, 120_000)

  it('says while it runs what happens to it: a feed that falls silent and comes back, a word, a bad line', async () => {
    const dir = folder()
    writeFileSync(join(dir, 'faults.json'), JSON.stringify({ rules: [{ on: 'time', at: 9_000, do: 'half-open' }] }))
    writeFileSync(join(dir, 'prices.ndjson'), 'nonsense\n')
    const x = await exchange(dir, '--practice --markets 2 --life 5m --rate 20 --faults faults.json'.split(' '))
    const session = join(dir, 's')
    const paper = start(dir, [...'paper --strategy lean --series KXPRACTICE15M --external prices.ndjson --out s'.split(' '), ...x.access])
    const silent = await until('the connection is silent', () => {
      const at = statusOf(session)?.feed.connections[0]?.silent ?? 0
      return at > 6_500_000 && at
    })
    expect(silent).toBeLessThan(15_100_000)
    // Its own connection is one that everything else believes in: open, markets synced.
    expect((await runProgram(dir, ['status', 's'])).stdout).toMatch(/Feed +local, open SILENT for \d+ s;/)
    await until(
      'it is back',
      () => (statusOf(session)?.feed.connections[0]?.connects ?? 0) > 1 && (statusOf(session)?.feed.marketsSynced ?? 0) > 0,
    )
    expect((await runProgram(dir, ['pause', 's'])).stdout).toMatch(/the session is paused/)
    await until('a second has passed', () => statusOf(session)?.state.name === 'ready')
    await new Promise((resolve) => setTimeout(resolve, 2_200))
    paper.child.kill('SIGTERM')
    const { err } = await paper.ended
    expect(err).toMatch(/prices\.ndjson:1: not JSON/)
    expect(err).toMatch(/\d\d:\d\d:\d\d feed lost: 1 of 1 connections silent for \d+ s\n(.*\n)*?.* feed is back: \d markets synced/)
    expect(err).toMatch(/state trading → paused \(pause\)/)
    const ended = await runProgram(dir, ['status', 's'])
    expect([ended.code, ended.stdout]).toEqual([
      0,
      expect.stringMatching(/ENDED .*terminated\n(.*\n)*Feed +local, connection closed;(.*\n)*Rows .*tape finished\n/),
    ])
    expect(ended.stdout).not.toMatch(/working|1970|recording/)
    // Nobody misses that there is nothing to see.
    const nothing = start(dir, [...'paper --strategy lean --series NOPE --duration 4s --out n'.split(' '), ...x.access])
    const { code, err: why } = await nothing.ended
    expect(code).toBe(4)
    expect(why).toMatch(/no market of series NOPE is open or will open.*\n(.*\n)*error: no market came/)
  }, 90_000)

  it('keeps what ran when a strategy fails, in a row or in a wake, and the replay fails at the same place', async () => {
    const dir = folder()
    const x = await exchange(dir, ['--practice', '--markets', '2', '--rate', '20'])
    const code = (body: string): string => `export default () => ({ name: 'weak', parameters: {}, ${body} })\n`
    mkdirSync(join(dir, 'mine'))
    writeFileSync(
      join(dir, 'mine/row.mjs'),
      code(
        'n: 0, onBook(book, desk) { desk.quote(book.market, { side: "bid", price: book.bid, size: 1, why: "x" }); if (++this.n > 40) throw new Error("enough") }',
      ),
    )
    writeFileSync(
      join(dir, 'mine/wake.mjs'),
      code('onStart(desk) { desk.wake(desk.now + 2000000) }, onWake() { throw new Error("awake") }'),
    )
    for (const [file, said] of [
      ['row', /mine\/row\.mjs:1:\d+ Strategy weak threw in onBook: enough/],
      ['wake', /mine\/wake\.mjs:1:\d+ Strategy weak threw in onWake: awake/],
    ] as const) {
      const ran = await runJson(dir, ['paper', '--strategy', `mine/${file}.mjs`, '--series', 'KXPRACTICE15M', ...x.access, '--out', file])
      expect([ran.code, ran.errors[0]?.code, ran.errors[0]?.message]).toEqual([10, 'STRATEGY_THREW', expect.stringMatching(said)])
      expect(existsSync(join(dir, file, 'report.html'))).toBe(true)
      const replay = await runJson(dir, ['replay', file])
      expect([file, replay.code, replay.data?.['equal']]).toEqual([file, 0, true])
    }
  }, 60_000)

  it('says what is missing before it connects', async () => {
    const dir = folder()
    for (const [args, code, said] of [
      [['--series', 'X'], 2, /--strategy is missing/],
      [['--strategy', 'lean'], 2, /needs markets: give --series or --market/],
      [['--strategy', 'lean', '--series', 'X', '--environment', 'local'], 2, /--environment local needs --url/],
      [['--strategy', 'lean', '--series', 'X', '--url', 'http://127.0.0.1:1'], 2, /--url goes with --environment local/],
      [['--strategy', 'lean', '--series', 'X'], 6, /give --key-id and --key-file/],
      [['--resume', 'nowhere'], 4, /nowhere is no paper session/],
      [['--resume', 'nowhere', '--series', 'X'], 2, /--series is the session's own/],
    ] as const) {
      const { code: exit, stderr } = await runProgram(dir, ['paper', ...args])
      expect([args, exit, stderr]).toEqual([args, code, expect.stringMatching(said)])
      expect(stderr.trim().split('\n')).toHaveLength(1)
    }
    expect((await runProgram(dir, ['status'])).stderr).toMatch(/there is no session in sessions\//)
    expect((await runProgram(dir, ['halt', '.'])).code).toBe(4)
    expect(readdirSync(dir).filter((n) => n !== 'cache')).toEqual([])
  }, 60_000)

  it('has no code that could send anything but reads', () => {
    const text = readFileSync(bundled('cli/paper.ts'), 'utf8')
    expect(text.includes('#send(http, {')).toBe(true)
    expect([...text.matchAll(/method: ?["'`]?(\w+)/g)].map((m) => m[1])).not.toContain('POST')
    expect(/["'`](POST|PUT|DELETE|PATCH)["'`]/.exec(text)).toBe(null)
  })
})
