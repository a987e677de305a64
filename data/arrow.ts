/**
 * The one door to Apache Arrow. Owns IPC files written batch by batch and the shape of their columns; hides the package. Invariants: a file
 * has one schema and one dictionary a column, known before its first row; no more than one batch is held in memory.
 */
import {
  AsyncByteQueue,
  Bool,
  DateMillisecond,
  Dictionary,
  Field,
  Float64,
  Int32,
  Int64,
  makeData,
  makeVector,
  RecordBatch,
  RecordBatchFileWriter,
  Schema,
  Struct,
  Table,
  TimestampMicrosecond,
  Utf8,
  vectorFromArray,
  type Data,
  type DataType,
  type Vector,
} from 'apache-arrow'
import { open, type FileHandle } from 'node:fs/promises'
import { assert } from '../engine/assert.ts'

/** `word`: text of few values, kept as a dictionary. `timestamp`: µs since 1970, UTC. */
export type ArrowType = 'timestamp' | 'int64' | 'int32' | 'float64' | 'bool' | 'word' | 'text'

export type ArrowField = {
  readonly name: string
  readonly type: ArrowType
  /** Every text that a `word` column may hold. */
  readonly words?: readonly string[]
  /** Key-value pairs beside the field: unit, note. */
  readonly metadata: Readonly<Record<string, string>>
}

/** A column that is filled and written, over and over. `values` by type: BigInt64Array (timestamp, int64), Int32Array (int32, word), Float64Array, Uint8Array of 0 and 1 (bool), string[] (text). */
export type ArrowColumn = {
  readonly values: BigInt64Array | Int32Array | Float64Array | Uint8Array | string[]
  /** 1 where there is a value. */
  readonly valid: Uint8Array
}

export function createArrowColumn(type: ArrowType, capacity: number): ArrowColumn {
  const valid = new Uint8Array(capacity)
  switch (type) {
    case 'timestamp':
    case 'int64':
      return { values: new BigInt64Array(capacity), valid }
    case 'int32':
    case 'word':
      return { values: new Int32Array(capacity), valid }
    case 'float64':
      return { values: new Float64Array(capacity), valid }
    case 'bool':
      return { values: new Uint8Array(capacity), valid }
    case 'text':
      return { values: Array.from({ length: capacity }, () => ''), valid }
  }
}

/** What the package writes, kept until it is on disk: its own stream would run ahead of a slow disk. */
class Sink extends AsyncByteQueue {
  #parts: Uint8Array[] = []
  override write(chunk: Uint8Array): void {
    this.#parts.push(chunk)
  }
  take(): Uint8Array[] {
    const parts = this.#parts
    this.#parts = []
    return parts
  }
}

export class ArrowFile {
  readonly #file: FileHandle
  readonly #sink = new Sink()
  readonly #writer = new RecordBatchFileWriter()
  readonly #schema: Schema
  readonly #types: readonly ArrowType[]
  readonly #dictionaries: readonly (Vector | null)[]
  #rows = 0
  #bytes = 0

  private constructor(file: FileHandle, fields: readonly ArrowField[], metadata: Readonly<Record<string, string>>) {
    this.#file = file
    this.#types = fields.map((f) => f.type)
    this.#dictionaries = fields.map((f) => (f.type === 'word' ? makeVector(textData(f.words ?? [], null)) : null))
    this.#schema = new Schema(
      fields.map((f, i) => new Field(f.name, typeOf(f.type, i), true, new Map(Object.entries(f.metadata)))),
      new Map(Object.entries(metadata)),
    )
    this.#writer.reset(this.#sink, this.#schema)
  }

  static async create(path: string, fields: readonly ArrowField[], metadata: Readonly<Record<string, string>>): Promise<ArrowFile> {
    return new ArrowFile(await open(path, 'wx'), fields, metadata)
  }

  /** The first `rows` rows of every column. The columns may be filled anew once this has resolved. */
  async write(columns: readonly ArrowColumn[], rows: number): Promise<void> {
    if (rows === 0) return
    const children = columns.map((c, i) => this.#data(c, i, rows))
    const struct = makeData({ type: new Struct(this.#schema.fields), length: rows, nullCount: 0, children })
    this.#writer.write(new RecordBatch(this.#schema, struct))
    this.#rows += rows
    await this.#flush()
  }

  async close(): Promise<{ readonly rows: number; readonly bytes: number }> {
    this.#writer.finish()
    await this.#flush()
    await this.#file.close()
    return { rows: this.#rows, bytes: this.#bytes }
  }
  /** Gives the file up. */
  async abort(): Promise<void> {
    await this.#file.close()
  }

  async #flush(): Promise<void> {
    for (const part of this.#sink.take()) {
      await this.#file.write(part)
      this.#bytes += part.byteLength
    }
  }

  #data({ values, valid }: ArrowColumn, i: number, length: number): Data {
    const type = typeOf(this.#types[i] as ArrowType, i)
    const { nullBitmap, nullCount } = bitmap(valid, length)
    const common = { type, length, nullCount, nullBitmap }
    switch (this.#types[i] as ArrowType) {
      case 'text':
        return textData((values as string[]).slice(0, length), valid)
      case 'bool':
        return makeData({ ...common, data: bitmap(values as Uint8Array, length).bits } as never)
      case 'word':
        return makeData({ ...common, data: (values as Int32Array).subarray(0, length), dictionary: this.#dictionaries[i] } as never)
      case 'timestamp':
      case 'int64':
      case 'int32':
      case 'float64':
        return makeData({ ...common, data: (values as Float64Array).subarray(0, length) } as never)
    }
  }
}

function typeOf(type: ArrowType, dictionary: number): DataType {
  switch (type) {
    case 'timestamp':
      return new TimestampMicrosecond('UTC')
    case 'int64':
      return new Int64()
    case 'int32':
      return new Int32()
    case 'float64':
      return new Float64()
    case 'bool':
      return new Bool()
    case 'text':
      return new Utf8()
    case 'word':
      // Signed: pandas does not take unsigned dictionary indices.
      return new Dictionary(new Utf8(), new Int32(), dictionary)
  }
}

function bitmap(flags: Uint8Array, length: number): { nullBitmap: Uint8Array | null; nullCount: number; bits: Uint8Array } {
  const bits = new Uint8Array(Math.ceil(length / 64) * 8)
  let set = 0
  for (let i = 0; i < length; i++) {
    if (flags[i] === 0) continue
    set++
    bits[i >> 3] = (bits[i >> 3] as number) | (1 << (i & 7))
  }
  return { nullBitmap: set === length ? null : bits, nullCount: length - set, bits }
}

const utf8 = new TextEncoder()
/** `valid` null: every text is there. */
function textData(texts: readonly string[], valid: Uint8Array | null): Data<Utf8> {
  const { length } = texts
  const parts: Uint8Array[] = []
  const valueOffsets = new Int32Array(length + 1)
  let size = 0
  for (let i = 0; i < length; i++) {
    if (valid === null || valid[i] === 1) {
      const part = utf8.encode(texts[i] as string)
      parts.push(part)
      size += part.byteLength
    }
    valueOffsets[i + 1] = size
  }
  assert(size <= 0x7fff_ffff, 'the texts of a batch fit 32-bit offsets')
  const data = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    data.set(part, at)
    at += part.byteLength
  }
  const { nullBitmap, nullCount } = valid === null ? { nullBitmap: null, nullCount: 0 } : bitmap(valid, length)
  return makeData({ type: new Utf8(), length, nullCount, nullBitmap, valueOffsets, data })
}

export type ArrowTable = Table

/** Plain rows as an Arrow table: numbers as Float64, truth values as Bool, dates as dates, everything else as text. */
export function arrowTable(rows: readonly Readonly<Record<string, unknown>>[], names: readonly string[]): Table {
  const columns: Record<string, Vector> = {}
  for (const name of names) {
    const values = rows.map((row) => row[name] ?? null)
    const kind = values.find((v) => v !== null)
    const type =
      typeof kind === 'number'
        ? new Float64()
        : typeof kind === 'boolean'
          ? new Bool()
          : kind instanceof Date
            ? new DateMillisecond()
            : new Utf8()
    const text = (v: unknown): unknown => (v === null || typeof v === 'string' ? v : JSON.stringify(v))
    const plain = type instanceof Utf8 ? values.map(text) : values
    columns[name] = vectorFromArray(plain, type as never)
  }
  return new Table(columns)
}
