/**
 * The append log of whatever is being written just now: market rows, inputs, journal blocks, all in one sequence. Owns the frames, the cut into segments, when bytes are forced to
 * disk and what happens when they cannot be; hides the files. Invariants: a frame that is read back is whole and in sequence; what `sync` returned for is there after any crash;
 * a failed write leaves nothing behind that could be taken for a frame.
 *
 * `<dir>/000000.log …`: frames back to back, little-endian:
 *
 *   0 magic u32 · 4 CRC-32 of everything behind it u32 · 8 length of the payload u32 · 12 kind u32 · 16 sequence f64 · 24 synced f64 · 32 payload
 *
 * `synced`: every frame up to this sequence was known to be on disk when this one was written. It tells damage from a torn tail: what a later frame calls synced was whole once.
 * What no frame vouches for may be cut: nobody was told that it was safe.
 *
 *   open ──ENOSPC──▶ failing ──resume()──▶ open        any state ──close()──▶ closed
 *     └── EIO, or a sync that failed ──▶ failed (what the kernel still holds is unknown: open the folder anew)
 */
import { closeSync, fdatasync, fdatasyncSync, fsync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'
import { assert } from '../engine/assert.ts'
import { DataError } from './errors.ts'
import { damaged, HEADER, MAGIC, FrameKind, SegmentReader, segmentName, segmentsOf, type Head } from './log-reader.ts'

/** The calls into the operating system that can fail in the middle of a session: replaced by tests. */
export interface Disk {
  write(fd: number, bytes: Uint8Array, position: number): number
  sync(fd: number): Promise<void>
  /** The same, and nothing else happens meanwhile. */
  syncNow?(fd: number): void
}
const DISK: Disk = {
  write: (fd, bytes, position) => writeSync(fd, bytes, 0, bytes.length, position),
  sync: promisify(fdatasync),
  syncNow: fdatasyncSync,
}
/** ms: a disk that takes longer is waited for beside everything else, for so long. */
const SLOW = 10
const SLOW_FOR = 5_000

export type LogOptions = {
  /** False: nothing is forced to disk (a backtest can be run again). */
  readonly durable?: boolean
  /** ms between two syncs while bytes wait. Half of the second that may be lost: the other half is for a slow disk. */
  readonly syncEvery?: number
  readonly segmentBytes?: number
  readonly disk?: Disk
}
/** What opening found at the end and cut off. */
export type LogCut = { readonly file: string; readonly offset: number; readonly bytes: number; readonly reason: string }
export type LogState = 'open' | 'failing' | 'failed' | 'closed'
export type SyncStats = {
  readonly syncs: number
  /** ms. */
  readonly latencyMax: number
  /** ms: the longest time for which a byte waited to be on disk. */
  readonly unsyncedMax: number
}

type Segment = { readonly number: number; readonly path: string; last: number; kept: boolean; transient: boolean }

export class AppendLog {
  readonly dir: string
  readonly cut: LogCut | null
  readonly #durable: boolean
  readonly #syncEvery: number
  readonly #segmentBytes: number
  readonly #disk: Disk
  readonly #closedSegments: Segment[]
  #state: LogState = 'open'
  #failure: DataError | null = null
  #scratch = Buffer.alloc(1 << 16)
  #fd = -1
  #segment!: Segment
  /** Bytes of whole frames in the segment. */
  #end = 0
  #sequence: number
  #syncedSequence: number
  /** Segments that were left before they were synced. */
  #left: number[] = []
  #folderDirty = false
  #running: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null
  #waitingSince = -1
  #slowUntil = -Infinity
  #stats = { syncs: 0, latencyMax: 0, unsyncedMax: 0 }

  private constructor(dir: string, options: LogOptions, closed: Segment[], sequence: number, cut: LogCut | null) {
    this.dir = dir
    this.cut = cut
    this.#durable = options.durable ?? true
    this.#syncEvery = options.syncEvery ?? 500
    this.#segmentBytes = options.segmentBytes ?? 32 << 20
    this.#disk = options.disk ?? DISK
    this.#closedSegments = closed
    this.#sequence = sequence
    this.#syncedSequence = sequence
  }

  /** Opens a folder of segments, or begins one. A torn tail is cut off (`cut` says what); damage before it throws LOG_DAMAGED. The caller sees to it that nobody else writes. */
  static async open(dir: string, options: LogOptions = {}): Promise<AppendLog> {
    await mkdir(dir, { recursive: true })
    for (const name of await readdir(dir)) if (name.endsWith('.tmp')) await rm(join(dir, name))
    const { segments, cut } = await recover(dir)
    // What a process left in the kernel's hands when it was killed is made safe before anybody builds on it.
    if (options.durable ?? true) for (const { path } of segments) await syncFile(path)
    const last = segments.at(-1)
    const log = new AppendLog(dir, options, segments, last?.last ?? 0, cut)
    log.#begin((last?.number ?? -1) + 1)
    return log
  }

  get state(): LogState {
    return this.#state
  }
  /** Sequence of the latest frame; 0: none. */
  get sequence(): number {
    return this.#sequence
  }
  /** Every frame up to this one is on disk. */
  get syncedSequence(): number {
    return this.#syncedSequence
  }
  get stats(): SyncStats {
    return this.#stats
  }
  /** Where a reader may read up to. */
  get position(): { readonly segment: number; readonly offset: number } {
    return { segment: this.#segment.number, offset: this.#end }
  }

  /** Writes a frame whose payload of `size` bytes is filled in by `fill`, and returns its sequence. Throws DataError DISK when it cannot; then nothing was written. */
  append(kind: FrameKind, size: number, fill: (target: Buffer, at: number) => void): number {
    if (this.#state !== 'open') throw this.#refusal()
    // Rows stay in the segment that names their markets: their writer says when.
    if (kind !== FrameKind.ROWS && kind !== FrameKind.NAME) this.rollIfFull()
    return this.#frame(kind, size, fill)
  }
  rollIfFull(): void {
    if (this.#state === 'open' && this.#end >= this.#segmentBytes) this.roll()
  }
  /** A frame of JSON. */
  appendJson(kind: FrameKind, value: unknown): number {
    const text = JSON.stringify(value)
    const size = Buffer.byteLength(text)
    return this.append(kind, size, (target, at) => void target.write(text, at, size, 'utf8'))
  }

  #frame(kind: FrameKind, size: number, fill: (target: Buffer, at: number) => void): number {
    const total = HEADER + size
    if (this.#scratch.length < total) this.#scratch = Buffer.alloc(1 << Math.ceil(Math.log2(total)))
    const b = this.#scratch
    const sequence = this.#sequence + 1
    b.writeUInt32LE(MAGIC, 0)
    b.writeUInt32LE(size, 8)
    b.writeUInt32LE(kind, 12)
    b.writeDoubleLE(sequence, 16)
    b.writeDoubleLE(this.#syncedSequence, 24)
    fill(b, HEADER)
    b.writeUInt32LE(crc32(b.subarray(8, total)), 4)
    this.#write(b.subarray(0, total))
    this.#end += total
    this.#sequence = sequence
    this.#segment.last = sequence
    if (kind !== FrameKind.HEAD) {
      if (kind >= FrameKind.INPUT) this.#segment.kept = true
      else this.#segment.transient = true
    }
    if (!this.#durable) return sequence
    if (this.#waitingSince < 0) this.#waitingSince = performance.now()
    if (this.#timer === null) {
      this.#timer = setTimeout(() => {
        this.#timer = null
        // A failure is kept and thrown at the next append.
        this.sync().catch(() => {})
      }, this.#syncEvery)
      this.#timer.unref()
    }
    return sequence
  }

  /** All of the bytes at the end of the segment, or none. */
  #write(bytes: Uint8Array): void {
    let done = 0
    try {
      while (done < bytes.length) {
        const n = this.#disk.write(this.#fd, done === 0 ? bytes : bytes.subarray(done), this.#end + done)
        if (n <= 0) throw Object.assign(new Error('ENOSPC: nothing could be written'), { code: 'ENOSPC' })
        done += n
      }
    } catch (error) {
      // Half a frame is no frame to any reader; it is taken away all the same, and written over where it cannot be.
      try {
        ftruncateSync(this.#fd, this.#end)
      } catch {
        // The next frame starts at the same place.
      }
      throw this.#fail(error, isFull(error) ? 'failing' : 'failed')
    }
  }

  /** Returns when every frame appended so far is on disk. Throws DataError DISK: then nobody knows, and the log takes no more. */
  async sync(): Promise<void> {
    if (!this.#durable) return
    const wanted = this.#sequence
    while (this.#syncedSequence < wanted) {
      if (this.#state === 'failed') throw this.#refusal()
      this.#running ??= this.#syncOnce().finally(() => (this.#running = null))
      await this.#running
    }
  }

  /**
   * Every frame appended so far is on disk when it returns true; false: that is not quick just now, and `sync` has to be waited for. Through another thread and back takes several times as long as the disk
   * does, where the machine is busy. Throws as `sync` does.
   */
  syncNow(): boolean {
    if (!this.#durable) return true
    if (this.#state === 'failed') throw this.#refusal()
    if (this.#syncedSequence >= this.#sequence) return true
    const started = performance.now()
    // An older segment, or the folder, comes first.
    if (this.#disk.syncNow === undefined || this.#folderDirty || this.#left.length > 0 || this.#running !== null) return false
    if (started < this.#slowUntil) return false
    const since = this.#waitingSince
    this.#waitingSince = -1
    try {
      this.#disk.syncNow(this.#fd)
    } catch (error) {
      throw this.#fail(error, 'failed')
    }
    this.#synced(this.#sequence, started, since)
    const ended = performance.now()
    if (ended - started > SLOW) this.#slowUntil = ended + SLOW_FOR
    return true
  }

  async #syncOnce(): Promise<void> {
    const started = performance.now()
    const since = this.#waitingSince
    this.#waitingSince = -1
    const [fd, sequence, left] = [this.#fd, this.#sequence, this.#left]
    this.#left = []
    try {
      // In this order: a segment never vouches for its bytes before the one before it is safe.
      if (this.#folderDirty) {
        this.#folderDirty = false
        await syncFolder(this.dir)
      }
      for (const old of left) {
        await this.#disk.sync(old)
        closeSync(old)
      }
      await this.#disk.sync(fd)
    } catch (error) {
      throw this.#fail(error, 'failed')
    }
    this.#synced(sequence, started, since)
  }
  #synced(sequence: number, started: number, since: number): void {
    this.#syncedSequence = Math.max(this.#syncedSequence, sequence)
    const now = performance.now()
    const s = this.#stats
    this.#stats = {
      syncs: s.syncs + 1,
      latencyMax: Math.max(s.latencyMax, now - started),
      unsyncedMax: Math.max(s.unsyncedMax, since < 0 ? 0 : now - since),
    }
  }

  /** Goes on in a new segment; the old one can then be given free. */
  roll(): void {
    if (this.#state !== 'open') throw this.#refusal()
    const before = { fd: this.#fd, segment: this.#segment, end: this.#end }
    try {
      this.#begin(before.segment.number + 1)
    } catch (error) {
      this.#fd = before.fd
      this.#segment = before.segment
      this.#end = before.end
      throw this.#state === 'open' ? this.#fail(error, isFull(error) ? 'failing' : 'failed') : error
    }
    this.#closedSegments.push(before.segment)
    if (this.#durable) this.#left.push(before.fd)
    else closeSync(before.fd)
  }

  #begin(number: number): void {
    const path = join(this.dir, segmentName(number))
    const fd = openSync(path, 'w')
    this.#fd = fd
    this.#segment = { number, path, last: this.#sequence, kept: false, transient: false }
    this.#end = 0
    const head: Head = { schema: 'tapeline.log/1', segment: number, first: this.#sequence + 1, compacted: false }
    const text = JSON.stringify(head)
    try {
      this.#frame(FrameKind.HEAD, text.length, (target, at) => void target.write(text, at, 'latin1'))
    } catch (error) {
      closeSync(fd)
      throw error
    }
    this.#folderDirty = true
  }

  /** After the disk was full: takes frames again. */
  resume(): void {
    assert(this.#state === 'failing', 'only a log that is failing resumes')
    this.#state = 'open'
    this.#failure = null
  }

  /** The tape's frames up to `sequence` stand elsewhere: their segments go, or (where a session's own frames are among them) are rewritten without them. */
  async release(sequence: number): Promise<void> {
    // Others may be closed meanwhile.
    const over = this.#closedSegments.filter((segment) => segment.last <= sequence)
    for (const segment of over) {
      if (!segment.kept) {
        this.#closedSegments.splice(this.#closedSegments.indexOf(segment), 1)
        await rm(segment.path, { force: true })
      } else if (segment.transient) {
        await compact(segment.path, segment.number)
        segment.transient = false
      }
    }
    if (this.#durable) await syncFolder(this.dir)
  }

  /** Everything to disk, and no more. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    try {
      if (this.#state !== 'failed') await this.sync()
    } finally {
      await this.#running?.catch(() => {})
      this.#state = 'closed'
      for (const fd of [...this.#left, this.#fd]) closeSync(fd)
      this.#left = []
    }
  }
  /** Closes and removes the folder: everything in it stands elsewhere. */
  async remove(): Promise<void> {
    await this.close()
    await rm(this.dir, { recursive: true, force: true })
  }

  #fail(error: unknown, state: 'failing' | 'failed'): DataError {
    this.#state = state
    const cause = error instanceof Error ? error.message : String(error)
    this.#failure = new DataError(
      'DISK',
      state === 'failing'
        ? `the disk is full (${this.#segment.path}): free some space and go on; what was written before is whole`
        : `${this.#segment.path} could not be written (${cause}): what is on disk is known only after the folder is opened again`,
      error,
    )
    return this.#failure
  }
  #refusal(): DataError {
    return this.#failure ?? new DataError('DISK', `the log ${this.dir} is closed: open it again`)
  }
}

function isFull(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : ''
  return code === 'ENOSPC' || code === 'EDQUOT'
}

/** Names in a folder are on disk only after this. */
export async function syncFolder(dir: string): Promise<void> {
  const handle = await open(dir, 'r')
  try {
    await promisify(fsync)(handle.fd)
  } catch (error) {
    // Some file systems have nothing to sync in a folder.
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
  } finally {
    await handle.close()
  }
}

export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.datasync()
  } finally {
    await handle.close()
  }
}

/** Reads every segment to its end; cuts the tail that nobody vouches for. */
async function recover(dir: string): Promise<{ segments: Segment[]; cut: LogCut | null }> {
  const segments: Segment[] = []
  const paths = segmentsOf(dir)
  let sequence = 0
  for (const [i, { number, path }] of paths.entries()) {
    const reader = new SegmentReader(path)
    const segment: Segment = { number, path, last: sequence, kept: false, transient: false }
    if (reader.size === 0) {
      // Begun, and nothing more.
      reader.close()
      await rm(path)
      continue
    }
    try {
      for (let frame = reader.next(); frame !== null; frame = reader.next()) {
        segment.last = frame.sequence
        if (frame.kind === FrameKind.HEAD) continue
        if (frame.kind >= FrameKind.INPUT) segment.kept = true
        else segment.transient = true
      }
      // A hole between two segments: the end of the one before was never written out.
      const hole = i > 0 && !reader.compacted && reader.first !== sequence + 1 && !follows(paths[i - 1]?.path ?? '')
      const problem = reader.problem ?? (hole ? { offset: 0, reason: 'frames before it are missing' } : null)
      if (problem !== null) {
        const whole = hole ? sequence : segment.last
        const later = paths.slice(i + 1).some(({ path: next }) => vouches(next, whole))
        if (later || reader.compacted || reader.vouchedFor(problem.offset, whole)) throw damaged(path, problem.offset, problem.reason)
        // Kept aside: whoever wants to look at what was lost can.
        let bytes = 0
        for (const { path: gone } of paths.slice(hole ? i : i + 1)) {
          bytes += new SegmentReader(gone, true).size
          await rename(gone, `${gone}.cut`)
        }
        if (!hole) {
          const rest = reader.rest(problem.offset)
          bytes += rest.length
          await writeFile(`${path}.cut`, rest).catch(() => rm(`${path}.cut`, { force: true }))
          const handle = await open(path, 'r+')
          await handle.truncate(problem.offset)
          await handle.sync()
          await handle.close()
          if (problem.offset > 0) segments.push(segment)
          else await rm(path)
        }
        await syncFolder(dir)
        return { segments, cut: { file: path, offset: problem.offset, bytes, reason: problem.reason } }
      }
    } finally {
      reader.close()
    }
    sequence = Math.max(sequence, segment.last)
    segments.push(segment)
  }
  return { segments, cut: null }

  function follows(path: string): boolean {
    const before = new SegmentReader(path, true)
    try {
      before.next()
      return before.compacted
    } finally {
      before.close()
    }
  }
}

function vouches(path: string, sequence: number): boolean {
  const reader = new SegmentReader(path, true)
  try {
    return reader.vouchedFor(0, sequence)
  } finally {
    reader.close()
  }
}

/** The segment without the tape's frames, by a new file in its place. */
async function compact(path: string, number: number): Promise<void> {
  const reader = new SegmentReader(path)
  const pieces: Buffer[] = []
  try {
    for (let frame = reader.next(); frame !== null; frame = reader.next()) {
      if (frame.kind === FrameKind.HEAD) {
        const head: Head = { schema: 'tapeline.log/1', segment: number, first: frame.sequence, compacted: true }
        pieces.push(encode(FrameKind.HEAD, frame.sequence, Buffer.from(JSON.stringify(head))))
      } else if (frame.kind >= FrameKind.INPUT) pieces.push(encode(frame.kind, frame.sequence, frame.payload))
    }
  } finally {
    reader.close()
  }
  const handle = await open(`${path}.tmp`, 'w')
  await handle.writeFile(Buffer.concat(pieces))
  await handle.sync()
  await handle.close()
  await rename(`${path}.tmp`, path)
}
function encode(kind: number, sequence: number, payload: Uint8Array): Buffer {
  const b = Buffer.alloc(HEADER + payload.length)
  b.writeUInt32LE(MAGIC, 0)
  b.writeUInt32LE(payload.length, 8)
  b.writeUInt32LE(kind, 12)
  b.writeDoubleLE(sequence, 16)
  // A rewritten segment is on disk before it takes its place.
  b.writeDoubleLE(Number.MAX_SAFE_INTEGER, 24)
  b.set(payload, HEADER)
  b.writeUInt32LE(crc32(b.subarray(8)), 4)
  return b
}
