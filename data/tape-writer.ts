/**
 * Writes a whole tape at once. Owns the staging beside the target and the manifest; hides the files of messages (part-writer.ts). Invariant: at the target path there is a whole
 * tape or nothing.
 */
import { createHash } from 'node:crypto'
import { appendFileSync, createReadStream, existsSync, readdirSync } from 'node:fs'
import { open, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { assert } from '../engine/assert.ts'
import type { Batch } from '../engine/message.ts'
import { DataError } from './errors.ts'
import { makeFolder } from './folder.ts'
import { manifestText, sealed } from './manifest.ts'
import { PartWriter } from './part-writer.ts'
import { TAPE_SCHEMA, COVERAGE_TYPES, MARKET_TYPES, type CoverageRow, type Manifest, type ManifestFile, type MarketRow } from './schema.ts'

/** What only the maker of a tape knows; the writer adds the rest of the manifest. */
export type TapeExtra = Pick<
  Manifest,
  'clock' | 'labels' | 'labelBasis' | 'gaps' | 'inFlux' | 'negativeLevels' | 'lastingCrosses' | 'quarantined' | 'origin' | 'remarks'
> & { readonly markets: readonly MarketRow[]; readonly coverage: readonly CoverageRow[] }

export class TapeWriter {
  readonly #target: string
  readonly #partial: string
  readonly #identity: Pick<Manifest, 'name' | 'source' | 'practice' | 'depth'>
  readonly #replace: boolean
  readonly #parts: PartWriter

  private constructor(
    target: string,
    partial: string,
    identity: Pick<Manifest, 'name' | 'source' | 'practice' | 'depth'>,
    replace: boolean,
    parts: PartWriter,
  ) {
    this.#target = target
    this.#partial = partial
    this.#identity = identity
    this.#replace = replace
    this.#parts = parts
  }

  /** Starts a tape that will stand at `dir`. Refuses a folder that is there already, unless told to replace it. */
  static async create(
    dir: string,
    {
      name = basename(dir),
      source,
      practice = false,
      depth = 'book',
      replace = false,
    }: {
      readonly name?: string
      readonly source: string
      readonly practice?: boolean
      readonly depth?: Manifest['depth']
      readonly replace?: boolean
    },
  ): Promise<TapeWriter> {
    if (existsSync(dir) && readdirSync(dir).length > 0) {
      if (!replace) throw new DataError('TAPE_EXISTS', `${dir} exists and is not empty: choose another folder, or remove it first`)
      if (!existsSync(join(dir, 'manifest.json')))
        throw new DataError(
          'TAPE_EXISTS',
          `${dir} is not empty and not a tape, so it is not replaced: choose another folder, or remove it first`,
        )
    }
    const partial = join(dirname(dir), `.${basename(dir)}.partial-${process.pid}`)
    await rm(partial, { recursive: true, force: true })
    makeFolder(join(partial, 'messages'))
    return new TapeWriter(dir, partial, { name, source, practice, depth }, replace, await PartWriter.open(partial, depth))
  }

  /** The number of a market in the batches that are appended. */
  market(ticker: string): number {
    return this.#parts.market(ticker)
  }

  async append(batch: Batch): Promise<void> {
    await this.#parts.append(batch)
  }

  /** Keeps a rejected piece of input: one line of JSON with its file, line and reason. */
  quarantine(line: string): void {
    appendFileSync(join(this.#partial, 'quarantine.ndjson'), line)
  }

  /** Completes the tape and puts it in its place. */
  async finish(extra: TapeExtra): Promise<Manifest> {
    const parts = this.#parts
    const { totals } = parts
    if (totals.rows === 0) {
      await this.abort()
      throw new DataError('TAPE_EMPTY', `${this.#target}: nothing to write, the input holds no usable row`)
    }
    const named = new Set(extra.markets.map((m) => m.ticker))
    assert(named.size === extra.markets.length, 'a market stands once in markets.parquet')
    assert(
      parts.tickersUsed.every((ticker) => named.has(ticker)),
      'every market with rows stands in markets.parquet',
    )
    await parts.flush()
    const markets = join(this.#partial, 'markets.parquet')
    await parts.database.writeRows(markets, MARKET_TYPES, extra.markets)
    await parts.database.writeRows(join(this.#partial, 'coverage.parquet'), COVERAGE_TYPES, extra.coverage)
    parts.close()
    const files: ManifestFile[] = []
    for (const file of [
      ...parts.files,
      { path: 'markets.parquet', rows: extra.markets.length },
      { path: 'coverage.parquet', rows: extra.coverage.length },
    ]) {
      files.push(await describeFile(this.#partial, file.path, file.rows))
    }
    if (existsSync(join(this.#partial, 'quarantine.ndjson'))) {
      files.push(await describeFile(this.#partial, 'quarantine.ndjson', extra.quarantined))
    }
    const { markets: marketRows, coverage: _coverage, ...facts } = extra
    const manifest = sealed({
      schema: TAPE_SCHEMA,
      ...this.#identity,
      files,
      rows: totals.rows,
      checkpoints: totals.rows - totals.rowsOwn,
      byKind: parts.byKind,
      markets: marketRows.length,
      from: totals.from,
      to: totals.to,
      lagMax: totals.lagMax,
      ...facts,
    })
    await writeFile(join(this.#partial, 'manifest.json'), manifestText(manifest))
    await syncFiles(this.#partial, manifest)
    const old = `${this.#partial}.old`
    if (this.#replace) {
      if (existsSync(this.#target)) await rename(this.#target, old)
    } else {
      await rmdir(this.#target).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT')
          throw new DataError('TAPE_EXISTS', `${this.#target} was filled by somebody else meanwhile: choose another folder`, error)
      })
    }
    try {
      await rename(this.#partial, this.#target)
    } catch (error) {
      if (existsSync(old)) await rename(old, this.#target)
      throw error
    }
    await rm(old, { recursive: true, force: true })
    return manifest
  }

  /** Leaves nothing behind. */
  async abort(): Promise<void> {
    this.#parts.close()
    await rm(this.#partial, { recursive: true, force: true })
  }
}

/** SHA-256, size and rows of a file of a tape. */
export async function describeFile(folder: string, path: string, rows: number): Promise<ManifestFile> {
  const hash = createHash('sha256')
  for await (const block of createReadStream(join(folder, path))) hash.update(block as Buffer)
  const { size } = await stat(join(folder, path))
  return { path, sha256: hash.digest('hex'), bytes: size, rows }
}

async function syncFiles(folder: string, manifest: Manifest): Promise<void> {
  for (const path of ['manifest.json', ...manifest.files.map((f) => f.path)]) {
    const handle = await open(join(folder, path), 'r')
    await handle.sync()
    await handle.close()
  }
}
