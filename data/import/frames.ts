/**
 * Recorded frames: files → one normal form. Owns the envelopes in which recorders wrap Kalshi's WebSocket frames, plain or gzip, and the line
 * numbers; hides streams. Invariant: every non-blank line becomes a frame or a reject, never nothing.
 *
 * Envelopes: `{…, payload_json, local_recv_ns, sequence_number, connection_id, event_type}` · `{received_ms, frame}` (lines, or one document with
 * `frames`) · `{recv_ts_ns, raw}` with the frame as text inside · the bare frame (its own times stand for the receipt).
 */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import { DataError } from '../errors.ts'

/** A message of the exchange as it was received. `receive` in µs of the recorder's clock; NaN when the envelope has none. */
export type Frame = {
  readonly connection: string
  readonly receive: number
  readonly sid: number | null
  readonly seq: number | null
  readonly type: string
  readonly msg: Readonly<Record<string, unknown>>
  readonly file: string
  readonly line: number
}
export type Reject = { readonly file: string; readonly line: number; readonly reason: string; readonly raw: string }

const RAW_MAX = 2_000

/** Files under paths: a file itself, or every .json, .jsonl, .ndjson (also .gz) below a folder, in order of name. */
export async function findFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = []
  for (const path of paths) {
    if (!existsSync(path)) throw new DataError('FILE_MISSING', `${path} does not exist: give a file or folder of recorded frames`)
    if (!statSync(path).isDirectory()) {
      files.push(path)
      continue
    }
    const found = (await readdir(path, { recursive: true, withFileTypes: true }))
      .filter((e) => e.isFile() && /\.(jsonl|ndjson|json)(\.gz)?$/.test(e.name) && !e.name.endsWith('.meta.json'))
      .map((e) => join(e.parentPath, e.name))
      .sort()
    if (found.length === 0)
      throw new DataError('FILE_MISSING', `${path} holds no .jsonl, .ndjson or .json file (plain or .gz): give the folder of the recording`)
    files.push(...found)
  }
  return [...new Set(files)]
}

/** A name for the file that no machine's path is part of: its folder and itself. */
export function shortName(path: string): string {
  return `${basename(dirname(path))}/${basename(path)}`
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const block of createReadStream(path)) hash.update(block as Buffer)
  return hash.digest('hex')
}

/** Frames of one file in its order. */
export async function* framesOf(
  path: string,
  reject: (r: Reject) => void,
  progress?: (bytes: number) => void,
): AsyncIterableIterator<Frame> {
  const file = shortName(path)
  const source = createReadStream(path)
  if (progress !== undefined) source.on('data', (block) => progress(block.length))
  const input = path.endsWith('.gz') ? source.pipe(createGunzip()) : source
  // A broken stream ends the lines with its error.
  source.on('error', (error) => input.destroy(error))
  let line = 0
  try {
    for await (const text of createInterface({ input, crlfDelay: Infinity })) {
      line++
      if (text.trim() === '') continue
      let value: unknown
      try {
        value = JSON.parse(text)
      } catch {
        reject({ file, line, reason: 'not JSON', raw: text.slice(0, RAW_MAX) })
        continue
      }
      const many = isObject(value) && Array.isArray(value['frames']) ? (value['frames'] as unknown[]) : [value]
      for (const one of many) {
        const frame = unwrap(one, file, line)
        if (typeof frame === 'string') reject({ file, line, reason: frame, raw: JSON.stringify(one).slice(0, RAW_MAX) })
        else yield frame
      }
    }
  } catch (error) {
    throw new DataError(
      'FILE_UNREADABLE',
      `${file}:${line + 1} cannot be read (${error instanceof Error ? error.message : String(error)}): the file is damaged or not complete`,
      error,
    )
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The frame inside an envelope, or why it is none. */
function unwrap(value: unknown, file: string, line: number): Frame | string {
  if (!isObject(value)) return 'not an object'
  if ('payload_json' in value) {
    const payload = typeof value['payload_json'] === 'string' ? tryParse(value['payload_json']) : value['payload_json']
    if (!isObject(payload)) return 'payload_json is not an object'
    const type = typeof value['event_type'] === 'string' ? value['event_type'] : ''
    const connection = typeof value['connection_id'] === 'string' ? value['connection_id'] : file
    const receive = microseconds(value['local_recv_ns'])
    if (!Number.isFinite(receive)) return 'local_recv_ns is not a time'
    const seq = typeof value['sequence_number'] === 'number' ? value['sequence_number'] : null
    if (type === 'ws_subscribed') {
      const inner = isObject(payload['msg']) ? payload['msg'] : {}
      return { connection, receive, sid: null, seq: null, type: 'subscribed', msg: inner, file, line }
    }
    return { connection, receive, sid: null, seq, type, msg: payload, file, line }
  }
  if ('frame' in value)
    return bare(value['frame'], typeof value['received_ms'] === 'number' ? Math.round(value['received_ms'] * 1000) : Number.NaN, file, line)
  if ('raw' in value) {
    const frame = typeof value['raw'] === 'string' ? tryParse(value['raw']) : value['raw']
    if (frame === undefined) return 'raw is not JSON'
    return bare(frame, microseconds(value['recv_ts_ns']), file, line)
  }
  return bare(value, Number.NaN, file, line)
}

function bare(frame: unknown, receive: number, file: string, line: number): Frame | string {
  if (!isObject(frame) || typeof frame['type'] !== 'string') return 'no frame with a type'
  return {
    connection: file,
    receive,
    sid: typeof frame['sid'] === 'number' ? frame['sid'] : null,
    seq: typeof frame['seq'] === 'number' ? frame['seq'] : null,
    type: frame['type'],
    msg: isObject(frame['msg']) ? frame['msg'] : {},
    file,
    line,
  }
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Nanoseconds in a JSON number have lost their last digits already; µs keep what is true. */
function microseconds(nanoseconds: unknown): number {
  return typeof nanoseconds === 'number' ? Math.floor(nanoseconds / 1000) : Number.NaN
}

/** The second that was parsed last: news of one second shares its text. */
let second = ''
let secondMilliseconds = 0

/** RFC 3339 text with up to µs → µs. NaN when it is none. */
export function parseTime(text: string): number {
  if (second !== '' && text.charCodeAt(text.length - 1) === 90 && text.startsWith(second)) {
    const fraction = fractionOf(text)
    if (fraction >= 0) return secondMilliseconds * 1000 + fraction
  }
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text)
  if (match === null) return Number.NaN
  const whole = Date.parse(`${match[1]}${match[3]}`)
  if (match[3] === 'Z' && Number.isFinite(whole)) {
    second = match[1] as string
    secondMilliseconds = whole
  }
  const fraction = Number((match[2] ?? '').padEnd(6, '0').slice(0, 6))
  return whole * 1000 + fraction
}
/** µs of what stands between the second and its Z; −1 where that is no fraction. */
function fractionOf(text: string): number {
  const end = text.length - 1
  const start = second.length
  if (end === start) return 0
  if (text.charCodeAt(start) !== 46 || end < start + 2 || end > start + 10) return -1
  let fraction = 0
  for (let i = 1; i <= 6; i++) {
    const c = start + i < end ? text.charCodeAt(start + i) - 48 : 0
    if (c < 0 || c > 9) return -1
    fraction = fraction * 10 + c
  }
  for (let i = start + 7; i < end; i++) if (text.charCodeAt(i) < 48 || text.charCodeAt(i) > 57) return -1
  return fraction
}

/** Venue time of a message in µs: `ts` as text, `ts_ms`, or `ts` in seconds. NaN for none. */
export function venueTime(msg: Readonly<Record<string, unknown>>): number {
  const { ts, ts_ms: ms, time } = msg
  if (typeof ts === 'string') {
    const t = parseTime(ts)
    if (Number.isFinite(t)) return t
  }
  if (typeof time === 'string') {
    const t = parseTime(time)
    if (Number.isFinite(t)) return t
  }
  if (typeof ms === 'number') return Math.round(ms * 1000)
  if (typeof ts === 'number') return Math.round(ts * 1_000_000)
  return Number.NaN
}
