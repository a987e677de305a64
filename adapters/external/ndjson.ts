/**
 * Named outside series as lines of JSON, while they come: a file that grows, or a stream. Owns the reading of a line and the following of a file; hides polling and half lines. Invariants: a
 * line is read once and whole, in order; what cannot be read is told with its line and skipped; while nobody takes what was read, no more is read.
 *
 * `{"series":"btc-usd","value":65000.5,"published":"2026-01-01T12:00:00Z","known":"2026-01-01T12:00:01Z","revision":0}`; all but series and value may be left out: published and known
 * now, first revision. A time is text in UTC, or a whole number of µs.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { parseTime } from '../../data/import/frames.ts'
import { DataError } from '../../data/errors.ts'

/** Times in µs; null: now. */
export type ExternalValue = {
  readonly series: string
  readonly value: number
  readonly published: number | null
  readonly known: number | null
  readonly revision: number
}

const FIELDS = new Set(['series', 'value', 'published', 'known', 'revision'])
const SERIES_MAX = 80
const LINE_MAX = 65_536
const PIECE = 65_536

/** The value, or why it is none. */
export function parseExternal(line: string): ExternalValue | string {
  let json: unknown
  try {
    json = JSON.parse(line)
  } catch {
    return 'not JSON'
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return 'no JSON object'
  const fields = json as Readonly<Record<string, unknown>>
  for (const name of Object.keys(fields)) if (!FIELDS.has(name)) return `${name.slice(0, 40)} is not known: ${[...FIELDS].join(', ')}`
  const { series, value, revision = 0 } = fields
  if (typeof series !== 'string' || series === '' || series.length > SERIES_MAX)
    return `series is a name of at most ${SERIES_MAX} characters`
  if (typeof value !== 'number' || !Number.isFinite(value)) return 'value is a number'
  if (typeof revision !== 'number' || !Number.isSafeInteger(revision) || revision < 0) return 'revision is a whole number from 0 on'
  const published = timeOf(fields['published'])
  const known = timeOf(fields['known'])
  if (Number.isNaN(published) || Number.isNaN(known)) return 'published and known are times such as 2026-05-13T13:45:00Z, or µs'
  return { series, value, published, known, revision }
}
function timeOf(given: unknown): number | null {
  if (given === undefined || given === null) return null
  if (typeof given === 'number') return Number.isSafeInteger(given) && given > 1e15 ? given : NaN
  return typeof given === 'string' ? parseTime(given) : NaN
}

export type ExternalEvents = {
  value(value: ExternalValue): void
  /** A line that could not be read, or a file that became shorter. */
  trouble(text: string): void
  /** Whether there is room for more. */
  room(): boolean
}

/** Counts lines and passes them on. */
class Lines {
  readonly #name: string
  readonly #events: ExternalEvents
  /** How many values of a series were taken before this process: the first ones, for those of a series are taken in order. */
  readonly #skip: Map<string, number>
  #line = 0

  constructor(name: string, events: ExternalEvents, skip: ReadonlyMap<string, number>) {
    this.#name = name
    this.#events = events
    this.#skip = new Map(skip)
  }
  take(line: string): void {
    this.#line++
    if (line.trim() === '') return
    const value = line.length > LINE_MAX ? `longer than ${LINE_MAX} characters` : parseExternal(line)
    if (typeof value === 'string') return this.#events.trouble(`${this.#name}:${this.#line}: ${value}; the line was skipped`)
    const taken = this.#skip.get(value.series) ?? 0
    if (taken > 0) this.#skip.set(value.series, taken - 1)
    else this.#events.value(value)
  }
}

/** A file from its start on, as it grows. `advance` is called every now and then. */
export class ExternalFile {
  readonly #path: string
  readonly #fd: number
  readonly #events: ExternalEvents
  readonly #lines: Lines
  readonly #piece = Buffer.allocUnsafe(PIECE)
  #offset = 0
  #rest = Buffer.alloc(0)
  #shrunk = false

  constructor(path: string, events: ExternalEvents, skip: ReadonlyMap<string, number> = new Map()) {
    this.#path = path
    this.#events = events
    this.#lines = new Lines(path, events, skip)
    try {
      if (!statSync(path).isFile()) throw new Error('it is no file')
      this.#fd = openSync(path, 'r')
    } catch (error) {
      throw new DataError(
        'FILE_UNREADABLE',
        `${path} cannot be read (${error instanceof Error ? error.message : String(error)}): give a file with a value a line, or - for stdin`,
      )
    }
  }
  advance(): void {
    while (this.#events.room()) {
      const read = readSync(this.#fd, this.#piece, 0, PIECE, this.#offset)
      if (read === 0) {
        if (!this.#shrunk) this.#look()
        return
      }
      this.#offset += read
      let bytes = Buffer.concat([this.#rest, this.#piece.subarray(0, read)])
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
        this.#lines.take(bytes.toString('utf8', 0, end))
        bytes = bytes.subarray(end + 1)
      }
      // A line without an end is kept no longer than a line may be.
      this.#rest = Buffer.from(bytes.length > 2 * LINE_MAX ? bytes.subarray(0, 2 * LINE_MAX) : bytes)
    }
  }
  #look(): void {
    const size = statSync(this.#path, { throwIfNoEntry: false })?.size ?? this.#offset
    if (size >= this.#offset) return
    this.#shrunk = true
    this.#events.trouble(`${this.#path} became shorter than what was read of it: it is not read any more; append to it, never rewrite it`)
  }
  close(): void {
    closeSync(this.#fd)
  }
}

/** A stream to its end. It waits while there is no room. */
export class ExternalStream {
  readonly #reader: ReturnType<typeof createInterface>
  readonly #input: Readable
  readonly #events: ExternalEvents
  #paused = false

  constructor(input: Readable, events: ExternalEvents) {
    const lines = new Lines('stdin', events, new Map())
    this.#events = events
    this.#input = input
    this.#reader = createInterface({ input, crlfDelay: Infinity })
    this.#reader.on('line', (line) => {
      lines.take(line)
      if (events.room() || this.#paused) return
      this.#paused = true
      this.#reader.pause()
    })
  }
  advance(): void {
    if (!this.#paused || !this.#events.room()) return
    this.#paused = false
    this.#reader.resume()
  }
  close(): void {
    this.#reader.close()
    this.#input.destroy()
  }
}
