import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { AppendLog, type Disk, type LogOptions } from '../../data/log.ts'
import { FrameKind, SegmentReader, segmentsOf } from '../../data/log-reader.ts'

const folders: string[] = []
const folder = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'tapeline-log-'))
  folders.push(dir)
  return dir
}
afterEach(() => {
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true })
})

/** Payloads of all frames but heads, in order: [kind, text]. */
function contents(dir: string): [number, string][] {
  const out: [number, string][] = []
  let last = 0
  for (const { path } of segmentsOf(dir)) {
    const reader = new SegmentReader(path)
    for (let f = reader.next(); f !== null; f = reader.next()) {
      expect(f.sequence).toBeGreaterThan(last)
      last = f.sequence
      if (f.kind !== FrameKind.HEAD) out.push([f.kind, f.payload.toString('utf8')])
    }
    expect(reader.problem).toBeNull()
    reader.close()
  }
  return out
}
const put = (log: AppendLog, kind: FrameKind, text: string): number =>
  log.append(kind, Buffer.byteLength(text), (target, at) => void target.write(text, at, 'utf8'))
const texts = (n: number): [number, string][] => Array.from({ length: n }, (_, i) => [FrameKind.INPUT, `frame ${i} ${'x'.repeat(i % 37)}`])

async function filled(n: number, options: LogOptions = {}): Promise<string> {
  const dir = join(folder(), 'log')
  const log = await AppendLog.open(dir, options)
  for (const [kind, text] of texts(n)) put(log, kind as FrameKind, text)
  await log.close()
  return dir
}

describe('the append log', () => {
  it('gives back what was put in, over segments and reopenings', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.tuple(fc.constantFrom(FrameKind.NOTE, FrameKind.INPUT), fc.string()), { maxLength: 30 }), { maxLength: 4 }),
        async (runs) => {
          const dir = join(folder(), 'log')
          for (const run of runs) {
            const log = await AppendLog.open(dir, { segmentBytes: 300 })
            expect(log.cut).toBeNull()
            for (const [kind, text] of run) put(log, kind, text)
            await log.sync()
            expect(log.syncedSequence).toBe(log.sequence)
            await log.close()
          }
          if (runs.length > 0) expect(contents(dir)).toEqual(runs.flat())
        },
      ),
      { numRuns: 30 },
    )
  })

  it('cut at every byte of its last three frames: what was whole before stays, and the cut is told', async () => {
    const dir = await filled(12, { durable: false })
    const path = segmentsOf(dir)[0]?.path as string
    const whole = readFileSync(path)
    const ends: number[] = []
    const reader = new SegmentReader(path)
    for (let f = reader.next(); f !== null; f = reader.next()) ends.push(f.end)
    reader.close()
    const from = ends.at(-4) as number
    for (let length = from; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length))
      const log = await AppendLog.open(dir)
      const kept = ends.filter((e) => e <= length)
      if (length === kept.at(-1)) expect(log.cut).toBeNull()
      else expect(log.cut).toEqual({ file: path, offset: kept.at(-1), bytes: length - (kept.at(-1) as number), reason: 'half a frame' })
      put(log, FrameKind.INPUT, 'after')
      await log.close()
      expect(contents(dir)).toEqual([...texts(12).slice(0, kept.length - 1), [FrameKind.INPUT, 'after']])
      for (const name of readdirSync(dir)) rmSync(join(dir, name))
    }
  })

  it('garbage and zeros after the last frame are cut', async () => {
    for (const tail of [
      Buffer.alloc(5000),
      Buffer.from('TLf1 nonsense that starts like a frame and goes on for a while, longer than a header'),
    ]) {
      const dir = await filled(5)
      const path = segmentsOf(dir)[0]?.path as string
      writeFileSync(path, Buffer.concat([readFileSync(path), tail]))
      const log = await AppendLog.open(dir)
      expect(log.cut?.bytes).toBe(tail.length)
      expect(readFileSync(`${path}.cut`)).toEqual(tail)
      await log.close()
      expect(contents(dir)).toEqual(texts(5))
    }
  })

  it('any byte changed in what was synced is refused, with file and offset', async () => {
    const dir = join(folder(), 'log')
    const log = await AppendLog.open(dir)
    for (const [kind, text] of texts(20)) put(log, kind as FrameKind, text)
    await log.sync()
    put(log, FrameKind.INPUT, 'vouches for the rest')
    await log.close()
    const path = segmentsOf(dir)[0]?.path as string
    const whole = readFileSync(path)
    const ends: number[] = [0]
    const reader = new SegmentReader(path)
    for (let f = reader.next(); f !== null; f = reader.next()) ends.push(f.end)
    reader.close()
    const last = ends.at(-2) as number
    for (let at = 0; at < last; at += 7) {
      const bytes = Buffer.from(whole)
      bytes[at] = (bytes[at] as number) ^ (1 << (at % 8))
      writeFileSync(path, bytes)
      const start = ends.filter((e) => e <= at).at(-1)
      await expect(AppendLog.open(dir)).rejects.toMatchObject({
        code: 'LOG_DAMAGED',
        message: expect.stringContaining(`${path} is damaged at byte ${start} `),
      })
      expect(readFileSync(path)).toEqual(bytes)
    }
  })

  it('damage in a segment before a synced one is refused; a hole that nobody vouches for is cut with all behind it', async () => {
    const dir = join(folder(), 'log')
    const log = await AppendLog.open(dir, { segmentBytes: 400 })
    for (const [kind, text] of texts(30)) put(log, kind as FrameKind, text)
    await log.sync()
    put(log, FrameKind.INPUT, 'last')
    await log.close()
    const [first, second] = segmentsOf(dir).map((s) => s.path) as [string, string]
    const bytes = readFileSync(first)
    writeFileSync(first, bytes.subarray(0, bytes.length - 3))
    await expect(AppendLog.open(dir)).rejects.toMatchObject({ code: 'LOG_DAMAGED' })
    writeFileSync(first, bytes)
    copyFileSync(second, `${second}.aside`)
    rmSync(second)
    await expect(AppendLog.open(dir)).rejects.toMatchObject({ code: 'LOG_DAMAGED' })

    // The same without a sync: the kernel wrote the second segment out and not the end of the first.
    const loose = await filled(30, { durable: false, segmentBytes: 400 })
    const paths = segmentsOf(loose).map((s) => s.path)
    truncateSync(paths[1] as string, statSync(paths[1] as string).size - 3)
    const again = await AppendLog.open(loose)
    expect(again.cut?.file).toBe(paths[1])
    await again.close()
    const left = contents(loose)
    expect(left).toEqual(texts(30).slice(0, left.length))
    expect(left.length).toBeGreaterThan(5)
    expect(left.length).toBeLessThan(20)
  })

  it('gives free what the tape has taken over, and keeps a session in order', async () => {
    const dir = join(folder(), 'log')
    const log = await AppendLog.open(dir)
    for (let i = 0; i < 10; i++) {
      put(log, FrameKind.NOTE, `note ${i}`)
      if (i < 5) put(log, FrameKind.INPUT, `input ${i}`)
      if (i % 3 === 2) log.roll()
    }
    await log.release(log.sequence)
    const inputs = Array.from({ length: 5 }, (_, i): [number, string] => [FrameKind.INPUT, `input ${i}`])
    expect(contents(dir)).toEqual([...inputs, [FrameKind.NOTE, 'note 9']])
    await log.close()
    const again = await AppendLog.open(dir)
    expect(again.cut).toBeNull()
    await again.release(again.sequence)
    put(again, FrameKind.INPUT, 'on')
    await again.close()
    expect(contents(dir)).toEqual([...inputs, [FrameKind.INPUT, 'on']])
  })
})

describe('a disk that fails', () => {
  class Failing implements Disk {
    room = Infinity
    broken = false
    syncBroken = false
    write(fd: number, bytes: Uint8Array, position: number): number {
      if (this.broken) throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
      if (this.room === 0) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
      const n = Math.min(this.room, bytes.length)
      this.room -= n
      return writeSync(fd, bytes, 0, n, position)
    }
    async sync(): Promise<void> {
      if (this.syncBroken) throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
    }
  }

  it('full, at every byte of a frame: a typed error, nothing half-written, and it goes on when told so', async () => {
    for (let room = 0; room < 80; room += 3) {
      const disk = new Failing()
      const dir = join(folder(), 'log')
      const log = await AppendLog.open(dir, { disk })
      put(log, FrameKind.INPUT, 'before')
      disk.room = room
      expect(() => put(log, FrameKind.INPUT, 'y'.repeat(60))).toThrow(
        expect.objectContaining({ code: 'DISK', message: expect.stringContaining('the disk is full') }),
      )
      expect(log.state).toBe('failing')
      expect(() => put(log, FrameKind.INPUT, '')).toThrow(expect.objectContaining({ code: 'DISK' }))
      expect(contents(dir)).toEqual([[FrameKind.INPUT, 'before']])
      disk.room = Infinity
      log.resume()
      put(log, FrameKind.INPUT, 'after')
      await log.close()
      expect(contents(dir)).toEqual([
        [FrameKind.INPUT, 'before'],
        [FrameKind.INPUT, 'after'],
      ])
    }
  })

  it('a write that fails otherwise, or a sync: it takes no more, and is never tried again', async () => {
    for (const how of ['broken', 'syncBroken'] as const) {
      const disk = new Failing()
      const dir = join(folder(), 'log')
      const log = await AppendLog.open(dir, { disk })
      put(log, FrameKind.INPUT, 'before')
      disk[how] = true
      if (how === 'broken') expect(() => put(log, FrameKind.INPUT, 'x')).toThrow(expect.objectContaining({ code: 'DISK' }))
      else await expect(log.sync()).rejects.toMatchObject({ code: 'DISK' })
      expect(log.state).toBe('failed')
      disk[how] = false
      expect(() => put(log, FrameKind.INPUT, 'x')).toThrow(expect.objectContaining({ code: 'DISK' }))
      await expect(log.sync()).rejects.toMatchObject({ code: 'DISK' })
      await log.close()
      const again = await AppendLog.open(dir)
      await again.close()
      expect(contents(dir)).toEqual([[FrameKind.INPUT, 'before']])
    }
  })

  it('is forced at once where it is quick; where it is not, where it fails, and where something older comes first, it is said', async () => {
    const disk = new (class extends Failing {
      calls = 0
      slow = 0
      release: (() => void) | null = null
      syncNow(): void {
        this.calls++
        if (this.syncBroken) throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
        for (const until = performance.now() + this.slow; performance.now() < until; );
      }
      override async sync(): Promise<void> {
        if (this.release !== null) await new Promise<void>((resolve) => (this.release = resolve))
      }
    })()
    const log = await AppendLog.open(join(folder(), 'log'), { disk, syncEvery: 1e6 })
    put(log, FrameKind.INPUT, 'a')
    // The folder's own entry comes first.
    expect([log.syncNow(), disk.calls]).toEqual([false, 0])
    await log.sync()
    const sequence = put(log, FrameKind.INPUT, 'b')
    expect([log.syncNow(), log.syncedSequence, disk.calls]).toEqual([true, sequence, 1])
    expect([log.syncNow(), disk.calls]).toEqual([true, 1])
    log.roll()
    put(log, FrameKind.INPUT, 'c')
    expect([log.syncNow(), log.syncedSequence]).toEqual([false, sequence])
    // While the older segment is on its way nothing newer vouches for itself.
    disk.release = () => {}
    const running = log.sync()
    await new Promise(setImmediate)
    expect([log.syncNow(), log.syncedSequence]).toEqual([false, sequence])
    for (let done = false; !done; await new Promise(setImmediate)) {
      disk.release?.()
      void running.then(() => (done = true))
      await new Promise(setImmediate)
    }
    disk.release = null
    disk.slow = 15
    put(log, FrameKind.INPUT, 'd')
    expect(log.syncNow()).toBe(true)
    put(log, FrameKind.INPUT, 'e')
    expect([log.syncNow(), disk.calls]).toEqual([false, 2])
    await log.close()

    const failing = await AppendLog.open(join(folder(), 'log'), { disk, syncEvery: 1e6 })
    await failing.sync()
    put(failing, FrameKind.INPUT, 'f')
    disk.syncBroken = true
    expect(() => failing.syncNow()).toThrow(expect.objectContaining({ code: 'DISK' }))
    disk.syncBroken = false
    expect(() => failing.syncNow()).toThrow(expect.objectContaining({ code: 'DISK' }))
    expect(failing.state).toBe('failed')
    await failing.close()
  })

  const mountable = ((): boolean => {
    try {
      const dir = mkdtempSync(join(tmpdir(), 'tapeline-mount-'))
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tapeline', dir], { stdio: 'ignore' })
      execFileSync('umount', [dir])
      return true
    } catch {
      return false
    }
  })()
  it.skipIf(!mountable)(`a real disk that is full${mountable ? '' : ' (skipped: mount is not permitted here)'}`, async () => {
    const dir = folder()
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tapeline', dir])
    try {
      const path = join(dir, 'log')
      mkdirSync(path)
      writeFileSync(join(dir, 'ballast'), Buffer.alloc(100_000))
      const log = await AppendLog.open(path)
      let n = 0
      expect(() => {
        for (;;) {
          put(log, FrameKind.INPUT, `${n} ${'z'.repeat(3000)}`)
          n++
        }
      }).toThrow(expect.objectContaining({ code: 'DISK' }))
      await log.sync()
      expect(contents(path).length).toBe(n)
      rmSync(join(dir, 'ballast'))
      log.resume()
      put(log, FrameKind.INPUT, 'room again')
      await log.close()
      expect(contents(path).length).toBe(n + 1)
    } finally {
      execFileSync('umount', [dir])
    }
  })
})
