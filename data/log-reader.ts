/**
 * Reading the append log: one segment, frame by frame. Owns the kinds of frames and what a whole frame is; hides the buffer. Invariant: it stops at the first byte that is not part
 * of a whole frame in sequence, and says where and why; it changes nothing, so that a log can be read while another process writes it.
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { DataError } from './errors.ts'

export const MAGIC = 0x31664c54 // "TLf1"
export const HEADER = 32
/** Longer than any batch: a length above it is no length. */
const PAYLOAD_MAX = 1 << 28
const CHUNK = 1 << 20

/** Kinds of frames. Below `INPUT` they are the tape's and go when its parts hold them; from there on a session's, and stay until it ends. */
export const FrameKind = {
  /** First frame of a segment: `Head`. */
  HEAD: 0,
  /** u32 number of a market in this segment, then its ticker. */
  NAME: 1,
  ROWS: 2,
  /** JSON: what the tape's coverage must know and no row says. */
  NOTE: 3,
  /** JSON `SessionInput`. */
  INPUT: 16,
  JOURNAL: 17,
  TOUCHES: 18,
  EQUITY: 19,
  MARKOUTS: 20,
  /** JSON: the texts that the blocks after it number on. */
  STRINGS: 21,
  /** JSON `SessionHeader`: an engine starts. */
  SESSION: 22,
  /** JSON `SessionEnd`: it finished. */
  END: 23,
} as const
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind]

export type Head = { readonly schema: 'tapeline.log/1'; readonly segment: number; readonly first: number; readonly compacted: boolean }
/** `payload` is valid until the next frame is read. */
export type Frame = {
  readonly kind: FrameKind
  readonly sequence: number
  readonly offset: number
  readonly end: number
  readonly payload: Buffer
}
export type Problem = { readonly offset: number; readonly reason: string }

export function segmentName(number: number): string {
  return `${String(number).padStart(6, '0')}.log`
}
/** Segments of a log folder, in order. */
export function segmentsOf(dir: string): { readonly number: number; readonly path: string }[] {
  return readdirSync(dir)
    .filter((name) => /^\d{6,}\.log$/.test(name))
    .map((name) => ({ number: Number.parseInt(name, 10), path: join(dir, name) }))
    .sort((a, b) => a.number - b.number)
}

export class SegmentReader {
  readonly #fd: number
  readonly #path: string
  #buffer = Buffer.alloc(0)
  /** Where in the file the buffer starts, and where the next frame does. */
  #base = 0
  #offset = 0
  #sequence = -1
  #closed = false
  /** Set when `next` met something that is not a whole frame before the end of the file. */
  problem: Problem | null = null
  compacted = false
  /** Sequence of its first frame; −1 before it was read. */
  first = -1

  /** `quick`: the caller reads a frame or two. */
  constructor(path: string, quick = false) {
    this.#fd = openSync(path, 'r')
    this.#path = path
    this.#chunk = quick ? 4096 : CHUNK
  }
  readonly #chunk: number

  get size(): number {
    return fstatSync(this.#fd).size
  }
  get offset(): number {
    return this.#offset
  }

  /** The next whole frame that ends at or before `limit`; null: there is none (see `problem`). A reader of a growing file may ask again. */
  next(limit = Infinity): Frame | null {
    this.problem = null
    const at = this.#offset
    if (at + HEADER > limit) return null
    if (!this.#have(at, HEADER)) {
      if (this.size > at) this.problem = { offset: at, reason: 'half a frame' }
      return null
    }
    const b = this.#buffer
    const k = at - this.#base
    if (b.readUInt32LE(k) !== MAGIC) return this.#broken(at, 'no frame starts there')
    const length = b.readUInt32LE(k + 8)
    if (length > PAYLOAD_MAX) return this.#broken(at, 'its length is impossible')
    const end = at + HEADER + length
    if (end > limit) return null
    if (!this.#have(at, HEADER + length)) return this.#broken(at, 'half a frame')
    const start = at - this.#base
    const bytes = this.#buffer.subarray(start, start + HEADER + length)
    if (crc32(bytes.subarray(8)) !== bytes.readUInt32LE(4)) return this.#broken(at, 'its checksum is wrong')
    const kind = bytes.readUInt32LE(12) as FrameKind
    const sequence = bytes.readDoubleLE(16)
    const payload = bytes.subarray(HEADER)
    if (at === 0) {
      const head = kind === FrameKind.HEAD ? (JSON.parse(payload.toString('latin1')) as Head) : null
      if (head?.schema !== 'tapeline.log/1') return this.#broken(at, 'it does not start as a log of this version')
      this.compacted = head.compacted
      this.first = head.first
    } else if (this.compacted ? sequence <= this.#sequence : sequence !== this.#sequence + 1)
      return this.#broken(at, `sequence ${sequence} after ${this.#sequence}`)
    this.#sequence = sequence
    this.#offset = end
    return { kind, sequence, offset: at, end, payload }
  }

  /** Whether a whole frame behind `offset` says that more than the frames up to `sequence` were on disk. */
  vouchedFor(offset: number, sequence: number): boolean {
    const rest = this.rest(offset)
    for (let at = 0; (at = rest.indexOf(MAGIC_BYTES, at)) >= 0; at++) {
      if (at + HEADER > rest.length) return false
      const length = rest.readUInt32LE(at + 8)
      if (length > PAYLOAD_MAX || at + HEADER + length > rest.length) continue
      if (crc32(rest.subarray(at + 8, at + HEADER + length)) !== rest.readUInt32LE(at + 4)) continue
      if (rest.readDoubleLE(at + 24) > sequence) return true
    }
    return false
  }
  /** As `next` for the log of another process: half a frame may be one that is being written just now. Null: the end, or (`problem`) what is cut when the log is opened next. Throws LOG_DAMAGED for what was on disk once. */
  nextWhole(): Frame | null {
    const frame = this.next() ?? (this.problem === null ? null : this.next())
    if (frame === null && this.problem !== null && (this.compacted || this.vouchedFor(this.problem.offset, this.#sequence)))
      throw damaged(this.#path, this.problem.offset, this.problem.reason)
    return frame
  }
  /** Everything from `offset` on. */
  rest(offset: number): Buffer {
    const rest = Buffer.alloc(Math.max(0, this.size - offset))
    let done = 0
    while (done < rest.length) {
      const n = readSync(this.#fd, rest, done, rest.length - done, offset + done)
      if (n === 0) break
      done += n
    }
    return rest.subarray(0, done)
  }
  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#fd)
  }

  #broken(offset: number, reason: string): null {
    this.problem = { offset, reason }
    // What follows may be written just now: look again next time.
    this.#buffer = Buffer.alloc(0)
    this.#base = offset
    return null
  }
  #have(at: number, bytes: number): boolean {
    if (at >= this.#base && at + bytes <= this.#base + this.#buffer.length) return true
    const wanted = Math.max(bytes, this.#chunk)
    const buffer = Buffer.allocUnsafe(wanted)
    let done = 0
    while (done < wanted) {
      const n = readSync(this.#fd, buffer, done, wanted - done, at + done)
      if (n === 0) break
      done += n
    }
    this.#buffer = buffer.subarray(0, done)
    this.#base = at
    return done >= bytes
  }
}
const MAGIC_BYTES = Buffer.from([0x54, 0x4c, 0x66, 0x31])

export function damaged(path: string, offset: number, reason: string): DataError {
  return new DataError(
    'LOG_DAMAGED',
    `${path} is damaged at byte ${offset} (${reason}), and what stands there was on disk once: restore the file from a copy, or take the folder's tape without its log`,
  )
}
