import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { signRequest, VirtualClock, type ClockPlan } from '../../adapters/exchange/index.ts'
import { openTape } from '../../data/tape-reader.ts'
import { parseTime } from '../../data/import/frames.ts'
import { ASK, BID, parsePrice } from '../../engine/units.ts'
import { Kind, type CatalogDetail } from '../../engine/message.ts'
import { PROGRAM, runJson, runProgram } from '../support/program.ts'

/** `tapeline record`, the shipped program, on a local exchange over real sockets; beside it a naive client that writes down what the exchange sends. */
const there = existsSync(PROGRAM)
const dir = mkdtempSync(join(tmpdir(), 'tapeline-'))
const children: ChildProcess[] = []

type Server = {
  rest: string
  socket: string
  clock: ClockPlan
  accounts: { keyId: string; keyFile: string }[]
  markets: string[]
}
let server: Server
let witness: Witness

function start(args: readonly string[]): { child: ChildProcess; ended: Promise<{ code: number | null; out: string; err: string }> } {
  const child = spawn(process.execPath, [PROGRAM, ...args], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  let [out, err] = ['', '']
  child.stdout?.on('data', (d: Buffer) => (out += d.toString()))
  child.stderr?.on('data', (d: Buffer) => (err += d.toString()))
  return { child, ended: new Promise((done) => child.once('close', (code) => done({ code, out, err }))) }
}
const recordArguments = (tape: string, ...more: string[]): string[] => [
  ...`record --tape ${tape} --environment local --url ${server.rest} --clock ${JSON.stringify(server.clock)}`.split(' '),
  ...`--key-id ${server.accounts[0]?.keyId} --key-file ${server.accounts[0]?.keyFile}`.split(' '),
  ...(more.includes('--market') ? [] : ['--series', 'KXPRACTICE15M']),
  ...more,
]
type Status = {
  pid: number
  rows: { total: number }
  feed: { marketsSynced: number; audits: number; auditsEqual: number }
}
async function untilStatus(tape: string, pid: number, condition: (status: Status) => boolean): Promise<void> {
  const end = performance.now() + 60_000
  for (;;) {
    if (existsSync(join(dir, tape, 'status.json'))) {
      const status = JSON.parse(readFileSync(join(dir, tape, 'status.json'), 'utf8')) as Status
      if (status.pid === pid && condition(status)) return
    }
    if (performance.now() > end) throw new Error(`never, of ${tape}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Changes of books and trades as the exchange told them, a text each, by market. */
class Witness {
  readonly deltas = new Map<string, string[]>()
  readonly trades = new Map<string, string[]>()
  readonly socket: WebSocket
  constructor({ socket, clock, accounts }: Server) {
    const account = accounts[1] as Server['accounts'][number]
    const now = new VirtualClock(clock).now()
    this.socket = new WebSocket(socket, {
      headers: signRequest(account.keyId, readFileSync(join(dir, account.keyFile), 'utf8'), now, 'GET', '/trade-api/ws/v2'),
    })
    this.socket.on('open', () => {
      const params = { channels: ['orderbook_delta', 'trade'], market_tickers: server.markets, use_yes_price: true }
      this.socket.send(JSON.stringify({ id: 1, cmd: 'subscribe', params }))
    })
    this.socket.on('message', (data: Buffer) => {
      const { type, msg } = JSON.parse(data.toString()) as { type: string; msg: Record<string, string> }
      const put = (to: Map<string, string[]>, text: string): void => {
        const list = to.get(msg['market_ticker'] ?? '') ?? []
        to.set(msg['market_ticker'] ?? '', list)
        list.push(text)
      }
      if (type === 'orderbook_delta')
        put(
          this.deltas,
          `${parseTime(msg['ts'] ?? '')} ${msg['side'] === 'yes' ? BID : ASK} ${parsePrice(msg['price_dollars'] ?? '')} ${hundredths(msg['delta_fp'] ?? '')}`,
        )
      if (type === 'trade') put(this.trades, `${parsePrice(msg['yes_price_dollars'] ?? '')} ${hundredths(msg['count_fp'] ?? '')}`)
    })
  }
}
const hundredths = (text: string): number => Math.round(Number(text) * 100)

type Told = { readonly time: number; readonly ticker: string; readonly kind: number; readonly text: string; readonly detail: string }
async function rowsOf(tape: string): Promise<Told[]> {
  const rows: Told[] = []
  const stream = await (await openTape(join(dir, tape))).read({ decode: 'thread' })
  for await (const b of stream) {
    for (let i = 0; i < b.length; i++) {
      const kind = b.kind[i] as number
      const [price, quantity] = [b.price[i] as number, b.quantity[i] as number]
      rows.push({
        time: b.time[i] as number,
        ticker: stream.tickers[b.market[i] as number] ?? '',
        kind,
        text: kind === Kind.DELTA ? `${b.timeVenue[i]} ${b.side[i]} ${price} ${quantity}` : `${price} ${quantity}`,
        detail: (b.detail[i] as number) < 0 ? '' : (b.details[b.detail[i] as number] as string),
      })
    }
  }
  return rows
}

/** Every stretch in which a market was synced has exactly what was told, without a hole: how many changes that were. */
function compare(rows: readonly Told[]): { deltas: number; stretches: number; holes: number } {
  let [deltas, stretches, holes] = [0, 0, 0]
  for (const [ticker, told] of witness.deltas) {
    const own = rows.filter((r) => r.ticker === ticker)
    let stretch: string[] = []
    const over = (): void => {
      if (stretch.length > 0) {
        stretches++
        // Two changes of one microsecond may be alike: the place is where the whole stretch fits.
        const fits = told.some((text, at) => text === stretch[0] && stretch.every((s, k) => told[at + k] === s))
        if (!fits) holes++
        deltas += stretch.length
      }
      stretch = []
    }
    for (const r of own) {
      if (r.kind === Kind.SYNC) over()
      else if (r.kind === Kind.DELTA) stretch.push(r.text)
    }
    over()
  }
  return { deltas, stretches, holes }
}

beforeAll(async () => {
  if (!there) return
  // Keys are given here, or missing on purpose.
  for (const name of ['TAPELINE_KEY_ID', 'TAPELINE_KEY_FILE']) Reflect.deleteProperty(process.env, name)
  const { child, ended } = start([
    ...'exchange --practice --json --markets 2 --rate 30 --scale 3 --key-type ed25519'.split(' '),
    ...'--life 2h --duration 5m --tier premier --skew 60s'.split(' '),
  ])
  server = await new Promise<Server>((resolve, reject) => {
    child.stdout?.once('data', (d: Buffer) => resolve((JSON.parse(d.toString()) as { data: Server }).data))
    void ended.then(({ err }) => reject(new Error(err)))
  })
  witness = new Witness(server)
  await new Promise((resolve) => witness.socket.once('message', resolve))
}, 60_000)
afterAll(() => {
  witness?.socket.terminate()
  for (const child of children) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})

describe.skipIf(!there)(`tapeline record${there ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('records what the exchange published, row for row, can be read while it grows, and is whole after SIGTERM, audits in', async () => {
    const { child, ended } = start(recordArguments('tape', '--json'))
    await untilStatus('tape', child.pid ?? 0, (s) => s.rows.total > 300 && s.feed.marketsSynced === 2)
    // While it grows.
    const growing = await runJson(dir, ['backtest', '--tape', 'tape', '--strategy', 'lean', '--out', 'run'])
    expect([growing.code, growing.ok]).toEqual([0, true])
    const seen = await rowsOf('tape')
    expect((await runProgram(dir, ['data', 'verify', 'tape'])).code).toBe(0)
    const listed = async (): Promise<unknown> => {
      const tapes = (await runJson(dir, ['data', 'list', '.'])).data as unknown as { tape: string; growing: boolean }[]
      return tapes.find((t) => t.tape === 'tape')?.growing
    }
    expect(await listed()).toBe(true)
    expect((await runProgram(dir, ['data', 'list', 'tape'])).stdout).toMatch(/^tape .* grows$/m)
    const status = await runProgram(dir, ['status', 'tape'])
    expect(status.stdout).toMatch(/tape \(record\)\nLife     running, .*\nState {4}recording/)
    expect((await runProgram(dir, ['halt', 'tape'])).stderr).toContain('tape is a recording: nothing trades in it')
    expect((await runJson(dir, recordArguments('tape'))).errors[0]).toMatchObject({ code: 'TAPE_BUSY' })
    await untilStatus('tape', child.pid ?? 0, (s) => s.feed.audits >= 2)
    child.kill('SIGTERM')
    const { code, out } = await ended
    expect(code).toBe(143)
    const { data, errors } = JSON.parse(out) as { data: Record<string, number | string>; errors: { code: string; message: string }[] }
    expect(errors[0]).toMatchObject({ code: 'TERMINATED', message: expect.stringContaining('rows are whole in tape') as string })
    expect(data['audits']).toBeGreaterThanOrEqual(2)
    expect(data['auditsEqual']).toBe(data['audits'])
    expect(data).toMatchObject({ finished: true, markets: 2, gaps: 0 })
    expect(data['coverage']).toBeGreaterThan(0.9)
    expect((await runProgram(dir, ['data', 'verify', 'tape'])).code).toBe(0)

    expect(await listed()).toBe(false)
    const { manifest } = await openTape(join(dir, 'tape'))
    expect([manifest.growing, manifest.practice, manifest.rows]).toEqual([undefined, true, data['rows']])
    const rows = await rowsOf('tape')
    expect(rows.length).toBe(manifest.rows)
    // What was read while it grew is what stands there now.
    expect(rows.slice(0, seen.length)).toEqual(seen)
    const { deltas, holes } = compare(rows)
    expect(holes).toBe(0)
    expect(deltas).toBeGreaterThan(300)
    // Trades: a run of what was told, from the first to the last.
    for (const [ticker, told] of witness.trades) {
      const own = rows.filter((r) => r.ticker === ticker && r.kind === Kind.TRADE).map((r) => r.text)
      expect(own.length).toBeGreaterThan(5)
      expect(told.some((_, at) => own.every((text, k) => told[at + k] === text))).toBe(true)
    }
    expect(rows.filter((r) => r.kind === Kind.CATALOG).map((r) => (JSON.parse(r.detail) as CatalogDetail).ticker)).toEqual(server.markets)
  }, 90_000)

  it('goes on after kill -9 with all but the last second, and only for the same request', async () => {
    const first = start(recordArguments('killed', '--json'))
    await untilStatus('killed', first.child.pid ?? 0, (s) => s.rows.total > 400)
    first.child.kill('SIGKILL')
    const clock = new VirtualClock(server.clock)
    const killed = clock.now()
    await first.ended
    expect((await runProgram(dir, ['data', 'verify', 'killed'])).code).toBe(0)
    expect((await runProgram(dir, ['status', 'killed'])).stderr).toContain('the same `tapeline record` as before goes on with it')
    const before = await rowsOf('killed')
    // Three seconds of the exchange pass in one of ours.
    expect(killed - (before.at(-1)?.time ?? 0)).toBeLessThan(3_000_000)

    expect((await runJson(dir, recordArguments('killed', '--market', server.markets[0] ?? ''))).errors[0]?.message).toContain(
      'only the same request goes on with it',
    )
    const second = start(recordArguments('killed'))
    await untilStatus('killed', second.child.pid ?? 0, (s) => s.rows.total > 300 && s.feed.marketsSynced === 2)
    second.child.kill('SIGINT')
    const { code, out, err } = await second.ended
    expect([code, out.split('\n').length]).toEqual([130, 4])
    expect(err).toContain(`going on with killed: ${before.length} rows`)
    const rows = await rowsOf('killed')
    expect(rows.slice(0, before.length)).toEqual(before)
    const restarts = rows.slice(before.length).filter((r) => r.kind === Kind.SYNC && r.detail.includes('recorder restarted'))
    expect(restarts.map((r) => r.ticker).sort()).toEqual([...server.markets].sort())
    const { holes, stretches } = compare(rows)
    expect([holes, stretches >= 4]).toEqual([0, true])
    expect(rows.every((r, i) => i === 0 || r.time >= (rows[i - 1]?.time ?? 0))).toBe(true)
    expect((await runProgram(dir, ['data', 'verify', 'killed'])).code).toBe(0)
  }, 90_000)

  it('stops with exit 4 when the disk is full and keeps what is whole; takes outside values', async () => {
    writeFileSync(join(dir, 'outside.ndjson'), '{"series":"btc","value":65000.5}\nnonsense\n{"series":"btc","value":65001}\n')
    const { code, out } = await start(recordArguments('full', '--space-min', '100000000', '--external', 'outside.ndjson', '--json')).ended
    const { data, errors } = JSON.parse(out) as { data: { rows: number }; errors: { code: string; message: string }[] }
    expect(code).toBe(4)
    expect(errors[0]).toMatchObject({
      code: 'DISK',
      message: expect.stringMatching(/MB are left on the disk.* rows are whole in full/) as string,
    })
    const rows = await rowsOf('full')
    expect(rows.length).toBe(data.rows)
    expect(rows.filter((r) => r.kind === Kind.EXTERNAL).map((r) => (JSON.parse(r.detail) as { value: number }).value)).toEqual([
      65000.5, 65001,
    ])
    expect((await runProgram(dir, ['data', 'verify', 'full'])).code).toBe(0)
    expect(compare(rows).holes).toBe(0)
    // With room again the same request goes on, and no outside value is taken twice.
    const again = await runJson(dir, recordArguments('full', '--external', 'outside.ndjson', '--duration', '1s'))
    expect(again.code).toBe(0)
    expect((await rowsOf('full')).filter((r) => r.kind === Kind.EXTERNAL).length).toBe(2)
  }, 60_000)

  it('says in one sentence what is wrong', async () => {
    const refused = async (...args: string[]): Promise<[number, string]> => {
      const { code, stderr } = await runProgram(dir, ['record', ...args])
      return [code, stderr.trim()]
    }
    const { keyId = '', keyFile = '' } = server.accounts[0] ?? {}
    const local = ['--series', 'A', '--environment', 'local', '--key-id', keyId, '--key-file', keyFile]
    const [nothing, choice, rotate, key, external, file] = await Promise.all([
      refused('--tape', 'x'),
      refused('--tape', 'x', '--market', 'A', '--spread-max', '5'),
      refused('--tape', 'x', '--series', 'A', '--rotate', '1ms'),
      refused('--tape', 'x', '--series', 'A', '--environment', 'local', '--url', server.rest, '--duration', '1s'),
      refused('--tape', 'x', ...local, '--url', server.rest, '--external', 'none'),
      refused('--tape', keyFile, ...local, '--url', server.rest),
    ])
    expect(nothing).toEqual([2, 'error: a recording needs markets: give --series or --market'])
    expect(choice).toEqual([2, 'error: --close-within, --spread-max and --volume-min choose among the markets of a series: give --series'])
    expect(rotate).toEqual([2, expect.stringContaining('--rotate 1ms: a part is at least a second')])
    expect(key).toEqual([6, expect.stringContaining('give --key-id and --key-file')])
    expect(external).toEqual([4, 'error: --external none is no file: give a file with a value a line, or - for stdin'])
    expect(file).toEqual([2, expect.stringContaining('is a file: a tape is a folder')])
    expect(existsSync(join(dir, 'x'))).toBe(false)
    expect(await refused('--tape', 'x', ...local, '--url', 'http://127.0.0.1:9', '--duration', '1s')).toEqual([
      7,
      expect.stringContaining('no connection to the exchange was ever open'),
    ])
    // A series that is misspelt, or sleeps: nothing is on the tape, and nobody takes that for a recording.
    const empty = await runProgram(
      dir,
      recordArguments('nope', '--duration', '4s').map((a) => (a === 'KXPRACTICE15M' ? 'NOPE' : a)),
    )
    expect([empty.code, empty.stderr.trim().split('\n')]).toEqual([
      4,
      [
        expect.stringContaining('record: NOPE of local'),
        expect.stringMatching(/^\d\d:\d\d:\d\d no market of series NOPE is open or will open/),
        expect.stringMatching(/^error: nothing was recorded: no market of series NOPE .*nope holds no row$/),
      ],
    ])
    expect((await runProgram(dir, ['status', 'nope'])).stdout).toMatch(/trouble  no market of series NOPE/)
    const listed = await runProgram(dir, ['data', 'list', '.'])
    expect(listed.stdout).toMatch(/nope .*no rows/)
    expect(listed.stdout).not.toContain('1970')
  }, 60_000)
})
