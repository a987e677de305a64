import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { freemem } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Random } from '../../adapters/practice/random.ts'
import { takeLock } from '../../cli/live/lock.ts'
import { FrameKind, SegmentReader, segmentsOf } from '../../data/log-reader.ts'
import type { SessionInput } from '../../data/session-inputs.ts'
import { fill, noDiskBecause, smallDisk, unmountAll } from '../support/disk.ts'
import { Drill } from '../support/live-drill.ts'
import { endJudged, ordersJudged } from '../support/live-judge.ts'
import { liveRoom, type Room } from '../support/live-room.ts'
import type { Started } from '../support/live.ts'
import { PROGRAM, runJson, runProgram, type Envelope } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** How a live session is stopped, and what stops it: signals at any moment, sleep, a disk that is full, a record that is damaged, a second one. Judged from the exchange's own books. */
const built = existsSync(PROGRAM)
/** Below two gigabytes a session only takes risk away: the disk must have more, and it is in memory. */
const MEGABYTES = 2_400
const noDisk =
  freemem() < 3 * MEGABYTES * 2 ** 20 ? ' (skipped: the disk that is filled is in memory, and there is too little)' : noDiskBecause()
const rooms: Room[] = []
afterEach(async () => {
  for (const room of rooms.splice(0)) await room.close()
  if (process.env['LIVE_KEEP'] === undefined) unmountAll()
  removeFolders()
})
async function room(options: Parameters<typeof liveRoom>[1] = {}): Promise<{ x: Room; drill: Drill }> {
  const x = await liveRoom(process.env['LIVE_KEEP'] ?? folder(), options)
  rooms.push(x)
  return { x, drill: new Drill(x, 's') }
}
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const busy = (x: Room): boolean => x.resting().length > 1 && x.fills().length > 0
/** Orders of which the session does not know whether they exist. */
function unknown({ witness }: Drill): number {
  const orders = new Set<number>()
  for (const { news } of witness.news) {
    if (!('order' in news)) continue
    if (news.type === 'no-answer') orders.add(news.order)
    else orders.delete(news.order)
  }
  return orders.size
}
async function trading(drill: Drill, process: Started, lives: number, x: Room, ms = 40_000): Promise<void> {
  const so = await drill.until(process, () => drill.ready(lives) && busy(x), ms)
  if (!so) {
    process.child.kill('SIGKILL')
    throw new Error(`it does not trade: ${JSON.stringify(await process.ended)}`)
  }
}

describe.skipIf(!built)(`a live session${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('takes everything back at Ctrl-C and SIGTERM, whenever they come: while it starts, trades, goes on; and goes on trading after', async () => {
    const { x, drill } = await room()
    const random = new Random(3)
    const codes: (number | null)[] = []
    const stop = async (signal: 'SIGINT' | 'SIGTERM', when: 'starting' | 'trading'): Promise<void> => {
      const lives = drill.witness.lives.length
      const { process } = await drill.start()
      if (when === 'starting') await drill.until(process, () => drill.witness.lives.length > lives)
      else await trading(drill, process, lives, x)
      await pause(random.integer(0, 400))
      process.child.kill(signal)
      const { code, out } = await process.ended
      drill.witness.look()
      codes.push(code)
      expect([signal, when, code, x.resting().length]).toEqual([signal, when, signal === 'SIGINT' ? 130 : 143, 0])
      expect((JSON.parse(out) as Envelope).errors[0]?.code).toBe(signal === 'SIGINT' ? 'INTERRUPTED' : 'TERMINATED')
      drill.begun = true
    }
    await stop('SIGINT', 'starting')
    await stop('SIGTERM', 'trading')
    await stop('SIGTERM', 'starting')
    const orders = x.orders().length
    // What an end has halted is let go by whoever goes on.
    await stop('SIGINT', 'trading')
    expect(x.orders().length).toBeGreaterThan(orders)
    expect(codes).toEqual([130, 143, 143, 130])
    expect(await endJudged(x, drill.witness, join(x.dir, 's'))).toEqual([])
  }, 180_000)

  it('ends at once at the second signal', async () => {
    const { x, drill } = await room()
    const { process } = await drill.start()
    await trading(drill, process, 0, x)
    // Nothing is answered any more, so that taking back would last.
    x.hooks.write = () => {
      throw new Error('the exchange is out')
    }
    process.child.kill('SIGINT')
    await pause(300)
    const at = performance.now()
    process.child.kill('SIGINT')
    expect((await process.ended).code).toBe(130)
    expect(performance.now() - at).toBeLessThan(2_000)
  }, 90_000)

  it('that was stopped for 20 s and runs on (SIGSTOP, SIGCONT) looks first, and ends with the exchange’s own numbers', async () => {
    const { x, drill } = await room()
    const { process } = await drill.start()
    await trading(drill, process, 0, x)
    process.child.kill('SIGSTOP')
    const { asked } = drill.witness
    await pause(20_000)
    process.child.kill('SIGCONT')
    const woken = performance.now()
    // It stood still: the exchange is asked anew before anything is decided. What was on its way before may come in between.
    const words = (): string[] => drill.witness.news.map((n) => n.news.type).filter((type) => type === 'agreed' || type === 'disagreed')
    const looked = await drill.until(process, () => words().length >= 3, 60_000)
    const orders = x.seen.length
    const went = looked && (await drill.until(process, () => x.seen.length > orders + 3, 60_000))
    globalThis.process.stdout.write(
      `after the sleep: ${x.seen.length - orders} orders ${((performance.now() - woken) / 1000).toFixed(1)} s after it woke\n`,
    )
    // What was on its way when it was stopped may never have left: that it does not exist is certain after a minute.
    const certain = await drill.until(process, () => unknown(drill) === 0, 100_000)
    process.child.kill('SIGINT')
    const { code, err, out } = await process.ended
    drill.witness.look()
    expect([went && certain, code, err, out.slice(0, 300)]).toEqual([true, 130, err, out.slice(0, 300)])
    expect(drill.witness.asked).toBeGreaterThan(asked)
    expect(words()).toEqual(['agreed', 'disagreed', 'agreed'])
    expect(await endJudged(x, drill.witness, join(x.dir, 's'))).toEqual([])
  }, 260_000)

  it('whose positions were closed by `flatten` goes on: booked as the operator’s, no market halted, nothing to look at', async () => {
    const { x, drill } = await room()
    const open = (): readonly unknown[] => [...x.who.account.positions.values()].filter((p) => p.settled < 0 && p.quantity !== 0)
    // What it holds comes and goes: it is stopped until something is left.
    for (let n = 0; n < 6 && open().length === 0; n++) {
      const lives = drill.witness.lives.length
      const { process } = await drill.start()
      await trading(drill, process, lives, x)
      expect(await drill.until(process, () => open().length > 0, 30_000)).toBe(true)
      process.child.kill('SIGINT')
      expect((await process.ended).code).toBe(130)
      drill.begun = true
    }
    const held = open().length
    const words = ['flatten', 's', ...x.access.slice(4), '--collar-cents', '30']
    const shown = await runProgram(x.dir, [...words, '--dry-run'])
    const phrase = /--confirm "([^"]+)"/.exec(shown.stdout)?.[1]
    expect([shown.code, phrase]).toEqual([0, expect.stringMatching(/^FLATTEN \d+ markets \d/)])
    const flat = await runJson(x.dir, [...words, '--confirm', (phrase as string).replace(/[\d.]+$/, '500')])
    const { orders, fills } = flat.data as { orders: readonly { client: string }[]; fills: readonly { quantity: number }[] }
    expect([orders.length, fills.length > 0]).toEqual([held, true])
    const log = readFileSync(join(x.dir, 's/flatten-0.ndjson'), 'utf8')
    for (const { client } of orders) expect(log.indexOf(`"client":"${client}"`)).toBeGreaterThan(0)
    const lives = drill.witness.lives.length
    const again = (await drill.start()).process
    const told = (): boolean => drill.witness.fills.filter((f) => f.type === 'foreign-fill').length >= fills.length
    expect(await drill.until(again, () => drill.ready(lives) && told(), 60_000)).toBe(true)
    const before = x.seen.length
    expect(await drill.until(again, () => x.seen.length > before + 3, 20_000)).toBe(true)
    again.child.kill('SIGINT')
    expect((await again.ended).code).toBe(130)
    drill.witness.look()
    const foreign = drill.witness.fills.filter((f) => f.type === 'foreign-fill')
    expect(foreign.map((f) => ('by' in f ? f.by : null))).toEqual(fills.map(() => 'flatten'))
    expect(foreign.reduce((a, f) => a + f.quantity, 0)).toBe(fills.reduce((a, f) => a + f.quantity, 0))
    const replay = await runJson(x.dir, ['replay', 's'])
    expect([replay.code, replay.data?.['equal']]).toEqual([0, true])
    const report = await runProgram(x.dir, ['report', 'build', 's'])
    expect([report.code, report.stderr]).toEqual([0, ''])
    expect(readFileSync(join(x.dir, 's/report.html'), 'utf8')).toContain('the operator (flatten)')
    const halts = drill.witness.news.filter(({ news }) => news.type === 'market-halted' && !news.reason.startsWith('triggered by us'))
    expect(halts).toEqual([])
    expect(await endJudged(x, drill.witness, join(x.dir, 's'))).toEqual([])
  }, 180_000)

  it('whose log is damaged in the middle is refused with file and byte, exit 4, and asks the exchange for nothing', async () => {
    const { x, drill } = await room()
    await drill.kill({ at: 'after', after: 1_500 })
    const { path } = segmentsOf(join(x.dir, 's/log')).at(-1) as { path: string }
    const bytes = readFileSync(path)
    const at = Math.floor(bytes.length / 3)
    bytes[at] = (bytes[at] as number) ^ 4
    writeFileSync(path, bytes)
    let writes = 0
    x.hooks.write = () => void writes++
    const { process } = await drill.start()
    const { code, out } = await process.ended
    const { errors } = JSON.parse(out) as Envelope
    expect([code, errors[0]?.code, writes]).toEqual([4, 'LOG_DAMAGED', 0])
    const offset = Number(/is damaged at byte (\d+) \(/.exec(errors[0]?.message ?? '')?.[1])
    expect(errors[0]?.message).toContain('s/log/')
    expect(offset).toBeGreaterThan(0)
    expect(offset).toBeLessThanOrEqual(at)
    expect(readFileSync(path).equals(bytes)).toBe(true)
  }, 120_000)

  it('whose log lost its end (the last record news, intent, journal, rows, half a record behind it) finds at the exchange what is missing', async () => {
    const { x, drill } = await room()
    const lost: string[] = []
    for (const kind of ['news', 'intent', 'journal', 'rows'] as const) {
      await drill.kill({ at: 'after', after: 1_200 })
      const { path } = segmentsOf(join(x.dir, 's/log')).at(-1) as { path: string }
      const cut = cutBehind(path, kind)
      if (cut === null) continue
      lost.push(`${kind}: ${cut} bytes`)
      truncateSync(path, readFileSync(path).length - cut)
      drill.again()
    }
    process.stdout.write(`lost ${lost.join(', ')}\n`)
    expect(lost.length).toBeGreaterThan(2)
    await drill.finish(60_000)
    // Orders whose intents are lost are nobody's: said loudly, their fills are booked all the same, and nothing was asked twice.
    const known = drill.figures.wrong.filter((w) => !/has no intent in the log|was booked as nobody's|came to the exchange before/.test(w))
    expect(known).toEqual([])
    expect(drill.figures.exits).toEqual([])
    expect(readdirSync(join(x.dir, 's/log')).filter((n) => n.endsWith('.cut')).length).toBeGreaterThan(0)
  }, 180_000)

  it('starts once: 20 that start together with one key, and all of them while it is taken, are refused with exit 5 before any request', async () => {
    const { x } = await room({ markets: 1, rate: 1 })
    await x.arm()
    const race = async (n: number): Promise<readonly { code: number | null; out: string }[]> => {
      const all = Array.from({ length: n }, (_, i) => x.begin(`race-${i}`))
      const ended: { code: number | null; out: string }[] = []
      const over = all.map((p) => p.ended.then((e) => void ended.push(e)))
      const end = performance.now() + 90_000
      while (ended.length < n - 1 && performance.now() < end) await pause(50)
      for (const p of all) p.child.kill('SIGINT')
      await Promise.all(over)
      return ended
    }
    const lock = await takeLock({ environment: x.access[3] as string, keyId: x.who.keyId, subaccount: 0 }, 'mine')
    const before = x.server.requests
    const refused = [x.begin('taken-1'), x.begin('taken-2')]
    for (const { ended } of refused) {
      const { code, out } = await ended
      const { errors } = JSON.parse(out) as Envelope
      expect([code, errors[0]?.code]).toEqual([5, 'LIVE_BUSY'])
      expect(errors[0]?.message).toContain(`process ${process.pid}, session mine`)
    }
    expect(x.server.requests - before).toBe(0)
    await lock.release()
    const codes = (await race(20)).map(({ code }) => code)
    expect([codes.filter((c) => c === 5).length, codes.filter((c) => c === 130).length]).toEqual([19, 1])
    expect(readdirSync(x.dir).filter((name) => existsSync(join(x.dir, name, 'session.json'))).length).toBe(1)
  }, 150_000)

  it.skipIf(noDisk !== '')(
    `on a disk that is full sends nothing that it cannot keep, takes everything back, exit 4, and goes on when there is room${noDisk}`,
    async () => {
      const dir = process.env['LIVE_KEEP'] ?? folder()
      const x = await liveRoom(dir)
      rooms.push(x)
      mkdirSync(join(dir, 'disk'))
      smallDisk(join(dir, 'disk'), MEGABYTES)
      const drill = new Drill(x, 'disk/s')
      const { process: live } = await drill.start()
      await trading(drill, live, 0, x)
      fill(join(dir, 'disk/filler'), 4_000)
      const full = performance.now()
      const { code, out } = await live.ended
      drill.witness.look()
      const { errors } = JSON.parse(out) as Envelope
      process.stdout.write(`full: exit ${code} after ${((performance.now() - full) / 1000).toFixed(1)} s: ${errors[0]?.message}\n`)
      expect([code, errors[0]?.code, x.resting().length]).toEqual([4, 'DISK', 0])
      expect(ordersJudged(x, drill.witness)).toEqual([])
      rmSync(join(dir, 'disk/filler'))
      drill.begun = true
      const orders = x.orders().length
      const { process: again } = await drill.start()
      await drill.until(again, () => x.orders().length > orders + 2, 40_000)
      expect(x.orders().length).toBeGreaterThan(orders)
      // What had no outcome when the disk was full is found, or proved absent.
      await drill.end(again, 60_000)
      expect([drill.figures.wrong, drill.figures.exits]).toEqual([[], []])
    },
    150_000,
  )
})

/** Bytes to take away, so that the last whole record is of that kind, with half a record behind it. Null: there is none such. */
function cutBehind(path: string, kind: 'news' | 'intent' | 'journal' | 'rows'): number | null {
  const reader = new SegmentReader(path)
  const ends: { readonly kind: string; readonly end: number }[] = []
  for (let f = reader.next(); f !== null; f = reader.next()) {
    const input = f.kind === FrameKind.INPUT ? (JSON.parse(f.payload.toString('utf8')) as SessionInput).kind : ''
    ends.push({ kind: f.kind === FrameKind.ROWS ? 'rows' : f.kind === FrameKind.JOURNAL ? 'journal' : input, end: f.end })
  }
  const { size } = reader
  reader.close()
  const n = ends.findLastIndex((e, i) => e.kind === kind && i < ends.length - 1)
  const [last, next] = [ends[n], ends[n + 1]]
  if (last === undefined || next === undefined) return null
  return size - Math.floor((last.end + next.end) / 2)
}
