import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { afterEach, describe, expect, it } from 'vitest'
import { openTape, type ReadOptions } from '../../data/tape-reader.ts'
import { TapeWriter } from '../../data/tape-writer.ts'
import { verifyTape } from '../../data/verify.ts'
import { Flag, Kind } from '../../engine/message.ts'
import { HOUR } from '../../engine/units.ts'
import { batchesOf, randomTape, type RandomTape, type Row } from '../support/rows.ts'

const folders: string[] = []
const folder = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'tapeline-'))
  folders.push(dir)
  return dir
}
afterEach(() => {
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true })
})

const nothing = {
  clock: [],
  labels: [],
  labelBasis: 'true',
  gaps: 0,
  inFlux: 0,
  negativeLevels: 0,
  lastingCrosses: 0,
  quarantined: 0,
  origin: {},
  remarks: [],
  coverage: [],
} as const
const marketRow = (ticker: string) =>
  ({
    ticker,
    event: ticker,
    series: 'KXTEST',
    title: "it's a title",
    exclusive: null,
    strike: null,
    openTime: null,
    closeTime: null,
    grid: '[]',
    gridBasis: 'stated',
    fee: '{}',
    feeBasis: 'stated',
    result: null,
    settlementValue: null,
    determinedTime: null,
    settledTime: null,
    rows: 1,
    deltas: 1,
    trades: 1,
    tradedQuantity: 1,
    venueQuantity: null,
    partialBook: false,
    firstTime: 0,
    lastTime: 0,
  }) as const

async function write(dir: string, tape: RandomTape, size = 997) {
  const writer = await TapeWriter.create(dir, { name: 'test', source: 'test' })
  for (const ticker of tape.tickers) writer.market(ticker)
  for (const batch of batchesOf(tape.rows, size)) await writer.append(batch)
  return writer.finish({ ...nothing, markets: tape.tickers.map(marketRow) })
}
async function read(dir: string, options: ReadOptions = {}): Promise<Row[]> {
  const rows: Row[] = []
  const stream = await (await openTape(dir)).read({ decode: 'thread', ...options })
  for await (const b of stream) {
    for (let i = 0; i < b.length; i++) {
      rows.push({
        time: b.time[i] as number,
        timeVenue: b.timeVenue[i] as number,
        market: b.market[i] as number,
        kind: b.kind[i] as number,
        flags: b.flags[i] as number,
        side: b.side[i] as number,
        price: b.price[i] as number,
        quantity: b.quantity[i] as number,
        detail: (b.detail[i] as number) < 0 ? null : (b.details[b.detail[i] as number] as string),
      })
    }
  }
  return rows
}
const plain = (rows: readonly Row[]) => rows.filter((r) => (r.flags & Flag.CHECKPOINT) === 0)

/** Books by ticker after all rows, snapshots and checkpoints applied alike. */
function books(rows: readonly Row[]): string {
  const all = new Map<number, Map<string, number>>()
  for (const r of rows) {
    const book = all.get(r.market) ?? new Map<string, number>()
    all.set(r.market, book)
    const key = `${r.side}:${r.price}`
    if (r.kind === Kind.CLEAR) book.clear()
    else if (r.kind === Kind.LEVEL) book.set(key, r.quantity)
    else if (r.kind === Kind.DELTA) {
      const left = (book.get(key) ?? 0) + r.quantity
      if (left === 0) book.delete(key)
      else book.set(key, left)
    }
  }
  return JSON.stringify([...all].sort((a, b) => a[0] - b[0]).map(([m, b]) => [m, [...b].map(String).sort((x, y) => (x < y ? -1 : 1))]))
}

describe('a tape at rest', () => {
  it('gives back every row, for any batch size', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), fc.constantFrom(1, 64, 997, 4096), async (seed, size) => {
        const tape = randomTape({ seed, rows: 1500, markets: 3, settle: true, gaps: true })
        const dir = join(folder(), 'tape')
        const manifest = await write(dir, tape, size)
        const rows = await read(dir, { batchRows: size })
        expect(plain(rows)).toEqual(tape.rows)
        expect(rows.length).toBe(manifest.rows)
        expect(Object.values(manifest.byKind).reduce((a, b) => a + b, 0)).toBe(manifest.rows)
      }),
      { numRuns: 6 },
    )
  })

  it('starts anywhere: the books from a checkpoint are the books of the whole tape', async () => {
    // Stretch the rows over three hours and a day border.
    const base = randomTape({ seed: 11, rows: 4000, markets: 3 })
    const first = base.rows[0]?.time ?? 0
    const midnight = Math.ceil(first / (24 * HOUR)) * 24 * HOUR
    const stretch = (t: number) => midnight - 2 * HOUR + Math.floor((t - first) * 600)
    const rows = base.rows.map((r) => ({ ...r, time: stretch(r.time), timeVenue: stretch(r.timeVenue) }))
    const dir = join(folder(), 'tape')
    const manifest = await write(dir, { ...base, rows })
    expect(new Set(manifest.files.map((f) => f.path.split('/')[1])).size).toBeGreaterThan(2)
    const whole = await read(dir)
    for (const share of [0.3, 0.6, 0.9]) {
      const from = rows[Math.floor(rows.length * share)]?.time as number
      const late = await read(dir, { from })
      expect(late.length).toBeLessThan(whole.length)
      expect(books(late)).toBe(books(whole))
      expect(plain(late).filter((r) => r.time >= from)).toEqual(plain(whole).filter((r) => r.time >= from))
    }
  })

  it('writes the same bytes for the same rows', async () => {
    const tape = randomTape({ seed: 3, rows: 3000, markets: 2 })
    const [a, b] = [join(folder(), 'tape'), join(folder(), 'tape')]
    const one = await write(a, tape, 64)
    const two = await write(b, tape, 997)
    expect(two).toEqual(one)
  })

  it('is plain Parquet: another reader finds the same columns', async () => {
    const tape = randomTape({ seed: 6, rows: 800, markets: 2 })
    const dir = join(folder(), 'tape')
    const manifest = await write(dir, tape)
    const path = join(dir, manifest.files[0]?.path as string)
    const rows = (await parquetReadObjects({ file: await asyncBufferFromFile(path), compressors })) as {
      time: bigint
      market: string
      quantity: bigint
      kind: number
      flags: number
    }[]
    expect(
      rows.filter((r) => (r.flags & Flag.CHECKPOINT) === 0).map((r) => [Number(r.time), r.market, Number(r.quantity), r.kind]),
    ).toEqual(tape.rows.map((r) => [r.time, tape.tickers[r.market], r.quantity, r.kind]))
  })

  it('keeps to a selection of markets', async () => {
    const tape = randomTape({ seed: 4, rows: 3000, markets: 3 })
    const dir = join(folder(), 'tape')
    await write(dir, tape)
    const ticker = tape.tickers[1] as string
    expect(plain(await read(dir, { tickers: [ticker] }))).toEqual(tape.rows.filter((r) => r.market === 1))
    await expect(read(dir, { tickers: ['KXNONE'] })).rejects.toThrow(/KXNONE is not on the tape/)
  })

  it('leaves nothing when it is given up, and does not write over another', async () => {
    const dir = folder()
    const target = join(dir, 'tape')
    const writer = await TapeWriter.create(target, { source: 'test' })
    for (const batch of batchesOf(randomTape({ seed: 1, rows: 500 }).rows, 100)) await writer.append(batch).catch(() => {})
    await writer.abort()
    expect(readdirSync(dir)).toEqual([])
    writeFileSync(join(dir, 'mine.txt'), 'x')
    await expect(TapeWriter.create(dir, { source: 'test' })).rejects.toThrow(/is not empty/)
  })

  it('names the file in which a byte was flipped', async () => {
    const dir = join(folder(), 'tape')
    const manifest = await write(dir, randomTape({ seed: 9, rows: 2000, markets: 2 }))
    expect(await verifyTape(dir)).toEqual([])
    const path = manifest.files[0]?.path as string
    const bytes = readFileSync(join(dir, path))
    bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] as number) ^ 1
    writeFileSync(join(dir, path), bytes)
    const findings = await verifyTape(dir)
    expect(findings.map((f) => f.path)).toEqual([path])
  })
})
