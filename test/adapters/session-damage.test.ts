import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makePracticeTape } from '../../adapters/practice/practice-tape.ts'
import { DataError } from '../../data/errors.ts'
import { AppendLog } from '../../data/log.ts'
import { FrameKind, HEADER, SegmentReader, segmentsOf, type Head } from '../../data/log-reader.ts'
import type { SessionInput } from '../../data/session-inputs.ts'
import { liveSession } from '../support/live-session.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** The log of a live session under a knife: what a torn write, a power cut and a bad disk leave of it. */
type At = { readonly kind: string; readonly offset: number; readonly end: number; readonly sequence: number; readonly synced: number }
const NAMES: Readonly<Record<number, string>> = { [FrameKind.ROWS]: 'rows', [FrameKind.JOURNAL]: 'journal' }
const dir = folder()
const KINDS = ['news', 'intent', 'journal', 'rows']
const frames: At[] = []
let path = ''
let bytes: Buffer = Buffer.alloc(0)
afterAll(() => {
  removeFolders()
  rmSync(place, { recursive: true, force: true })
})
beforeAll(async () => {
  await makePracticeTape(join(dir, 'source'), { seed: 6, markets: 2, days: 1, rate: 8 })
  await liveSession(join(dir, 'whole'), join(dir, 'source'), { seed: 4, lost: 0.1, neverArrived: 0.1, finish: false })
  const last = segmentsOf(join(dir, 'whole/log')).at(-1)?.path as string
  const all = framesOf(last)
  bytes = shortened(readFileSync(last), all.slice(Math.min(...KINDS.map((kind) => lastOf(kind, all))) - 60))
  vouch()
  path = join(place, basename(last))
  writeFileSync(path, bytes)
  frames.push(...framesOf(path))
}, 120_000)

function framesOf(file: string): At[] {
  const found: At[] = []
  const own = readFileSync(file)
  const reader = new SegmentReader(file)
  for (let f = reader.next(); f !== null; f = reader.next()) {
    const input = f.kind === FrameKind.INPUT ? (JSON.parse(f.payload.toString('utf8')) as SessionInput).kind : null
    found.push({ ...f, kind: input ?? NAMES[f.kind] ?? 'other', synced: own.readDoubleLE(f.offset + 24) })
  }
  reader.close()
  return found
}
/** As if the segment began with these frames: thousands of copies are read to their end. */
function shortened(whole: Buffer, kept: readonly At[]): Buffer {
  const first = (kept[0] as At).sequence
  const head: Head = { schema: 'tapeline.log/1', segment: 0, first: first - 1, compacted: false }
  const payload = Buffer.from(JSON.stringify(head))
  const frame = Buffer.alloc(HEADER + payload.length)
  whole.copy(frame, 0, 0, HEADER)
  frame.writeUInt32LE(payload.length, 8)
  frame.writeDoubleLE(first - 1, 16)
  payload.copy(frame, HEADER)
  return Buffer.concat([frame, whole.subarray((kept[0] as At).offset)])
}
/** The session is made in memory and waits for no disk: here its frames say that those before them were synced, one to three behind, as a real one's do. */
function vouch(): void {
  let synced = 0
  for (let [at, n] = [0, 0]; at < bytes.length; n++) {
    const length = bytes.readUInt32LE(at + 8)
    synced = Math.max(synced, bytes.readDoubleLE(at + 16) - 1 - (n % 3))
    bytes.writeDoubleLE(synced, at + 24)
    bytes.writeUInt32LE(crc32(bytes.subarray(at + 8, at + HEADER + length)), at + 4)
    at += HEADER + length
  }
}
/** The last frame of a kind that has three before it. */
function lastOf(kind: string, of: readonly At[] = frames): number {
  const n = of.findLastIndex((f, i) => f.kind === kind && i > 3)
  if (n < 0) throw new Error(`the session has no ${kind} in the segment`)
  return n
}
// In memory where there is such a place: what is proved here needs no disk, and thousands of logs are opened.
const place = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tapeline-damage-'))
const copy = join(place, 'copy')
/** Opens the session with this as its last segment. What stands there after, and what was laid aside; or why it was refused. */
async function opened(last: Buffer): Promise<{ left: Buffer; aside: Buffer | null } | DataError> {
  rmSync(copy, { recursive: true, force: true })
  mkdirSync(join(copy, 'log'), { recursive: true })
  const own = join(copy, 'log', basename(path))
  writeFileSync(own, last)
  try {
    const log = await AppendLog.open(join(copy, 'log'), { durable: false })
    await log.close()
  } catch (error) {
    if (!(error instanceof DataError)) throw error
    // Refused is untouched.
    expect(readFileSync(own).equals(last)).toBe(true)
    return error
  }
  return { left: readFileSync(own), aside: existsSync(`${own}.cut`) ? readFileSync(`${own}.cut`) : null }
}
/** Every byte; in the middle of a long payload so many alone. */
function* placesIn(from: number, to: number, most: number): IterableIterator<number> {
  const stride = Math.max(1, Math.ceil((to - from) / most))
  for (let at = from; at < to; at += at - from < 2 * HEADER || to - at < HEADER ? 1 : stride) yield at
}

describe('the log of a live session', () => {
  for (const kind of KINDS)
    it(`cut at every byte of its last three records, the last of kind ${kind}: what is whole stays, the torn rest lies beside it`, async () => {
      const n = lastOf(kind)
      let cuts = 0
      for (const { offset, end } of frames.slice(n - 2, n + 1))
        for (const at of placesIn(offset, end, 300)) {
          const it = await opened(bytes.subarray(0, at))
          if (it instanceof DataError) throw it
          expect([at, it.left.equals(bytes.subarray(0, offset))]).toEqual([at, true])
          expect([at, it.aside?.equals(bytes.subarray(offset, at)) ?? at === offset]).toEqual([at, true])
          cuts++
        }
      const whole = await opened(bytes.subarray(0, frames[n]?.end))
      expect(whole).toEqual({ left: bytes.subarray(0, frames[n]?.end), aside: null })
      process.stdout.write(`${kind}: ${cuts} cuts\n`)
    })

  it('with zeros behind a whole or a torn record, as a file that grew and was not written: cut as if they were not there', async () => {
    const n = lastOf('intent')
    const { offset, end } = frames[n] as At
    for (const zeros of [1, 31, 32, 33, 511, 4096, 65_536])
      for (const at of [end, end - 1, offset + HEADER, offset + 5]) {
        const it = await opened(Buffer.concat([bytes.subarray(0, at), Buffer.alloc(zeros)]))
        if (it instanceof DataError) throw it
        const from = at === end ? end : offset
        expect([zeros, at, it.left.equals(bytes.subarray(0, from))]).toEqual([zeros, at, true])
        expect(it.aside?.length).toBe(at + zeros - from)
      }
  })

  it('with one bit another in its last three records: cut before it, or refused with file and byte, and never read', async () => {
    const counts = { cut: 0, refused: 0 }
    for (const kind of KINDS) {
      const n = lastOf(kind)
      const end = (frames[n] as At).end
      for (const { offset, end: to, sequence } of frames.slice(n - 2, n + 1))
        for (const at of placesIn(offset, to, 40)) {
          const flipped = Buffer.from(bytes.subarray(0, end))
          flipped[at] = (flipped[at] as number) ^ (1 << (at % 8))
          const it = await opened(flipped)
          const vouched = frames.slice(0, n + 1).some((f) => f.offset > offset && f.synced >= sequence)
          if (it instanceof DataError) {
            counts.refused++
            expect([it.code, vouched]).toEqual(['LOG_DAMAGED', true])
            expect(it.message).toContain(`${join(copy, 'log', basename(path))} is damaged at byte ${offset} (`)
          } else {
            counts.cut++
            expect([at, vouched, it.left.equals(bytes.subarray(0, offset))]).toEqual([at, false, true])
            expect(it.aside?.equals(flipped.subarray(offset))).toBe(true)
          }
        }
    }
    process.stdout.write(`${JSON.stringify(counts)}\n`)
    expect(Math.min(counts.cut, counts.refused)).toBeGreaterThan(100)
  })

  it('with one bit another in the middle: refused with file and byte, and nothing is changed', async () => {
    const size = statSync(path).size
    let seen = 0
    for (let k = 0; k < 60; k++) {
      const at = Math.floor((size * 0.75 * k) / 60)
      const { offset } = frames.find((f) => f.end > at) as At
      const flipped = Buffer.from(bytes)
      flipped[at] = (flipped[at] as number) ^ (1 << (k % 8))
      const it = await opened(flipped)
      expect([at, it instanceof DataError ? it.code : 'taken']).toEqual([at, 'LOG_DAMAGED'])
      expect((it as DataError).message).toContain(`is damaged at byte ${offset} (`)
      seen++
    }
    expect(seen).toBe(60)
  })
})
