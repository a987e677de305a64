/**
 * The one door to DuckDB and Parquet. Owns connections, typed columns in and out, and zstd Parquet files; hides the package.
 * Invariant: the same rows give the same bytes (one thread writes, row groups have a fixed size).
 */
import type { DuckDBConnection, DuckDBDataChunk, DuckDBInstance } from '@duckdb/node-api'
import { assert } from '../engine/assert.ts'
import { DataError } from './errors.ts'

export type ColumnType = 'double' | 'integer' | 'utinyint' | 'varchar'
/** Loaded by whoever opens the first database: its program costs a tenth of a second, which `halt` does not have. */
const load = () => import('@duckdb/node-api')
type DuckDB = Awaited<ReturnType<typeof load>>
const SQL_TYPES = { double: 'DOUBLE', integer: 'INTEGER', utinyint: 'UTINYINT', varchar: 'VARCHAR' } as const

export type NumberColumn = Float64Array | Int32Array | Uint8Array | Uint16Array | Uint32Array
/** Rows of one piece of a result: typed arrays to copy from at once (reused by nobody, valid until the next piece). */
export type Piece = {
  readonly rows: number
  column(index: number): NumberColumn
  /** A BIGINT column. */
  bigints(index: number): BigInt64Array
  /** Text at a row of a VARCHAR column, null for NULL. */
  text(index: number, row: number): string | null
  /** Which rows of a column are not NULL; null: all of them. */
  valid(index: number): ((row: number) => boolean) | null
}

const CHUNK = 2048
const ROW_GROUP = 122_880

export function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

export class Database {
  readonly #duckdb: DuckDB
  readonly #instance: DuckDBInstance
  readonly #connection: DuckDBConnection
  #closed = false

  private constructor(duckdb: DuckDB, instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#duckdb = duckdb
    this.#instance = instance
    this.#connection = connection
  }

  /** An in-memory database. `memory` in MB; `spill`: a folder for what does not fit (removed by the caller). */
  static async open(options: { readonly threads?: number; readonly memory?: number; readonly spill?: string } = {}): Promise<Database> {
    const duckdb = await load()
    const instance = await duckdb.DuckDBInstance.create(':memory:', {
      threads: String(options.threads ?? 1),
      memory_limit: `${options.memory ?? 512}MB`,
      ...(options.spill === undefined ? {} : { temp_directory: options.spill }),
      preserve_insertion_order: 'true',
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
    })
    const connection = await instance.connect()
    // Text without a zone is UTC on every machine.
    await connection.run("SET TimeZone = 'UTC'")
    return new Database(duckdb, instance, connection)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#connection.closeSync()
    this.#instance.closeSync()
  }

  async run(sql: string): Promise<void> {
    await this.#connection.run(sql).catch(full)
  }

  /** A small result as objects; BIGINT becomes number (checked to be safe). `values` fill `$name` in the query. */
  async rows(sql: string, values?: Readonly<Record<string, string | number | boolean | null>>): Promise<Record<string, unknown>[]> {
    const reader = await this.#connection.runAndReadAll(sql, values).catch(full)
    return reader.getRowObjects().map((row) => {
      const out: Record<string, unknown> = {}
      for (const [key, value] of Object.entries(row)) {
        if (typeof value === 'bigint') {
          const n = Number(value)
          assert(Number.isSafeInteger(n), 'an integer read from a file fits a number')
          out[key] = n
        } else out[key] = value
      }
      return out
    })
  }

  /** A large result, piece by piece, in order. */
  async *pieces(sql: string): AsyncIterableIterator<Piece> {
    const result = await this.#connection.stream(sql).catch(full)
    for (;;) {
      const chunk = await result.fetchChunk().catch(full)
      if (chunk === null || chunk.rowCount === 0) return
      yield {
        rows: chunk.rowCount,
        column: (index) => (chunk.getColumnVector(index) as unknown as { items: NumberColumn }).items,
        bigints: (index) => (chunk.getColumnVector(index) as unknown as { items: BigInt64Array }).items,
        valid: (index) => {
          const { validity } = chunk.getColumnVector(index) as unknown as {
            validity: { data: unknown; itemValid(row: number): boolean }
          }
          return validity.data === null ? null : (row) => validity.itemValid(row)
        },
        text: (index, row) => chunk.getColumnVector(index).getItem(row) as string | null,
      }
    }
  }

  /** A table that is filled by columns. */
  async table(name: string, columns: Readonly<Record<string, ColumnType>>): Promise<ColumnAppender> {
    await this.run(
      `CREATE OR REPLACE TABLE ${name} (${Object.entries(columns)
        .map(([c, t]) => `${c} ${SQL_TYPES[t]}`)
        .join(', ')})`,
    )
    return new ColumnAppender(this.#duckdb, this.#connection, name, Object.values(columns))
  }

  /** Writes a query to a zstd Parquet file, with key-value pairs beside the data. */
  async copy(query: string, path: string, metadata: Readonly<Record<string, string>> = {}): Promise<void> {
    const pairs = Object.entries(metadata).map(([k, v]) => `${quote(k)}: ${quote(v)}`)
    const beside = pairs.length === 0 ? '' : `, KV_METADATA {${pairs.join(', ')}}`
    await this.run(`COPY (${query}) TO ${quote(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${ROW_GROUP}${beside})`)
  }

  /** Writes small rows of plain values (numbers, text, booleans, null) to Parquet. `types` are SQL types. `over`: they replace rows of the same key in another file, and all are sorted by it. */
  async writeRows(
    path: string,
    types: Readonly<Record<string, string>>,
    rows: readonly Readonly<Record<string, unknown>>[],
    over?: { readonly path: string; readonly key: readonly string[] },
  ): Promise<void> {
    const names = Object.keys(types)
    await this.run(`CREATE OR REPLACE TABLE small_rows (${names.map((n) => `"${n}" ${types[n]}`).join(', ')})`)
    const BATCH = 500
    for (let i = 0; i < rows.length; i += BATCH) {
      const values = rows.slice(i, i + BATCH).map((row) => `(${names.map((n) => literal(row[n])).join(', ')})`)
      await this.run(`INSERT INTO small_rows VALUES ${values.join(', ')}`)
    }
    if (over === undefined) await this.copy('SELECT * FROM small_rows', path)
    else {
      const key = over.key.map((k) => `"${k}"`).join(', ')
      await this.copy(
        `SELECT * FROM (SELECT * FROM read_parquet(${quote(over.path)}) ANTI JOIN small_rows USING (${key}) UNION ALL SELECT * FROM small_rows) ORDER BY ${key}`,
        path,
      )
    }
    await this.run('DROP TABLE small_rows')
  }
}

/** A disk that is full is the reader's to mend; every other failure goes on as it is. */
function full(error: unknown): never {
  const text = error instanceof Error ? error.message : String(error)
  if (/no space left|disk (is )?full|max_temp_directory_size/i.test(text))
    throw new DataError(
      'DISK',
      `the disk is full (${text.split('\n')[0] ?? ''}): free some space or choose a folder on another disk`,
      error,
    )
  throw error
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return 'NULL'
  if (typeof value === 'number') {
    assert(Number.isFinite(value), 'a stored number is finite')
    return String(value)
  }
  if (typeof value === 'boolean') return value ? 'true' : 'false'
  assert(typeof value === 'string', 'a stored value is a number, a truth value or text')
  return quote(value)
}

/** Holds a file for this process until it lets go or dies: the kernel's own lock, which no crash leaves behind. Null: another process holds it. */
export async function holdFile(path: string): Promise<(() => void) | null> {
  try {
    const { DuckDBInstance } = await load()
    const instance = await DuckDBInstance.create(path, { threads: '1', memory_limit: '32MB' })
    return () => instance.closeSync()
  } catch (error) {
    if (error instanceof Error && /lock/i.test(error.message)) return null
    throw error
  }
}

/** Appends rows given as typed columns to a table, a chunk at a time. */
export class ColumnAppender {
  readonly #duckdb: DuckDB
  readonly #connection: DuckDBConnection
  readonly #name: string
  readonly #types: readonly ColumnType[]
  #whole: DuckDBDataChunk | null = null

  constructor(duckdb: DuckDB, connection: DuckDBConnection, name: string, types: readonly ColumnType[]) {
    this.#duckdb = duckdb
    this.#connection = connection
    this.#name = name
    this.#types = types
  }

  /** Rows `from` … `to` − 1 of every column, in the table's order. Text columns, and numbers some of which are missing, are plain arrays with null. */
  async append(columns: readonly (NumberColumn | readonly (string | number | null)[])[], from: number, to: number): Promise<void> {
    const appender = await this.#connection.createAppender(this.#name)
    const { DuckDBDataChunk: Chunk } = this.#duckdb
    const types = this.#types.map((t) => this.#duckdb[SQL_TYPES[t]])
    const plain = !columns.some((c) => Array.isArray(c))
    for (let start = from; start < to; start += CHUNK) {
      const rows = Math.min(CHUNK, to - start)
      // Whole chunks of numbers share one: their memory is DuckDB's, and the collector of this side does not see how much of it waits (measured: 1 GB over 6 million rows).
      const chunk = rows === CHUNK && plain ? (this.#whole ??= Chunk.create(types, CHUNK)) : Chunk.create(types, rows)
      for (let c = 0; c < types.length; c++) {
        const source = columns[c] as NumberColumn | readonly (string | number | null)[]
        if (Array.isArray(source)) chunk.setColumnValues(c, (source as readonly (string | number | null)[]).slice(start, start + rows))
        else {
          const vector = chunk.getColumnVector(c) as unknown as { items: NumberColumn; flush(): void }
          vector.items.set((source as NumberColumn).subarray(start, start + rows))
          vector.flush()
        }
      }
      appender.appendDataChunk(chunk)
    }
    appender.closeSync()
  }
}
