import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { afterEach, describe, expect, it } from 'vitest'
import { readRun, Run, writeRun } from '../../data/run.ts'
import { openTape, type ReadOptions } from '../../data/tape-reader.ts'
import { TapeWriter } from '../../data/tape-writer.ts'
import { verifyTape } from '../../data/verify.ts'
import { Flag, Kind } from '../../engine/message.ts'
import { Journal, JournalKind, Strings } from '../../engine/journal.ts'
import { Samples } from '../../engine/samples.ts'
import { HOUR, SECOND } from '../../engine/units.ts'
import { batchesOf, catalog, randomTape, START, type RandomTape, type Row } from '../support/rows.ts'

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

  it('reads the same rows whatever the batch size', async () => {
    const dir = join(folder(), 'tape')
    await write(dir, randomTape({ seed: 21, rows: 3000, markets: 2, settle: true, gaps: true }))
    const whole = await read(dir)
    for (const batchRows of [1, 64, 997, 4096]) expect(await read(dir, { batchRows })).toEqual(whole)
  })

  it('repeats at each checkpoint the book that a naive one holds there', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async (seed) => {
        const base = randomTape({ seed, rows: 2500, markets: 3, gaps: true })
        const rows = base.rows.map((r) => ({ ...r, time: START + (r.time - START) * 500, timeVenue: START + (r.timeVenue - START) * 500 }))
        const dir = join(folder(), 'tape')
        await write(dir, { ...base, rows })
        const all = await read(dir)
        let checked = 0
        for (let i = 0; i < all.length; i++) {
          const row = all[i] as Row
          if (row.kind !== Kind.CLEAR || (row.flags & Flag.CHECKPOINT) === 0) continue
          expect(((all[i - 1] as Row).flags & Flag.LAST) !== 0).toBe(true)
          let end = i
          while (((all[end] as Row).flags & Flag.LAST) === 0) end++
          const before = plain(all.slice(0, i)).filter((r) => r.market === row.market)
          expect(books(all.slice(i, end + 1))).toBe(books(before))
          checked++
        }
        expect(checked).toBeGreaterThan(3)
      }),
      { numRuns: 4 },
    )
  })

  const hour = Math.ceil(START / HOUR) * HOUR
  const T = (time: number, kind: number, side = 0, price = 0, quantity = 0, flags: number = Flag.LAST, detail: unknown = null): Row => ({
    time: hour + time,
    timeVenue: hour + time,
    market: 0,
    kind,
    flags,
    side,
    price,
    quantity,
    detail: detail === null ? null : JSON.stringify(detail),
  })
  const opening = [
    T(-10 * SECOND, Kind.CATALOG, 0, 0, 0, Flag.LAST, catalog('A')),
    T(-9 * SECOND, Kind.CLEAR, 0, 0, 0, 0),
    T(-9 * SECOND, Kind.LEVEL, 0, 4000, 500, 0),
    T(-9 * SECOND, Kind.LEVEL, 1, 4200, 700),
  ]
  const tape = (rows: Row[]): RandomTape => ({ rows, tickers: ['A'], lagMax: 0, end: hour })

  it.each([
    ['paused over the hour', [T(-SECOND, Kind.STATUS, 0, 0, 0, Flag.LAST, { status: 'inactive' })]],
    ['crossed just at the hour', [T(-1, Kind.DELTA, 0, 4300, 100), T(2, Kind.DELTA, 0, 4300, -100)]],
  ])('keeps the book of a market that is %s', async (_, between) => {
    const rows = [...opening, ...between, ...[5, 9, 20].map((t) => T(t, Kind.DELTA, 0, 3800, 100))]
    const dir = join(folder(), 'tape')
    await write(dir, tape(rows))
    const whole = await read(dir)
    const late = await read(dir, { from: hour + 9 })
    expect(late.length).toBeLessThan(whole.length)
    expect(books(late)).toBe(books(whole))
  })

  it('does not wait for ever for a book that stays crossed', async () => {
    const dir = join(folder(), 'tape')
    await write(dir, tape([...opening, T(-1, Kind.DELTA, 0, 4300, 100), ...[0, 1, 2].map((t) => T(t * SECOND, Kind.DELTA, 0, 3800, 100))]))
    const rows = await read(dir)
    const repeated = rows.filter((r) => (r.flags & Flag.CHECKPOINT) !== 0)
    expect(repeated.map((r) => [r.kind, r.time - hour])).toEqual([[Kind.CATALOG, SECOND]])
  })

  it('never removes what it did not make', async () => {
    const dir = folder()
    writeFileSync(join(dir, 'mine.txt'), 'x')
    await expect(TapeWriter.create(dir, { source: 'test', replace: true })).rejects.toThrow(/not a tape/)
    const target = join(folder(), 'tape')
    const writer = await TapeWriter.create(target, { source: 'test' })
    writer.market('A')
    for (const batch of batchesOf(opening, 64)) await writer.append(batch)
    mkdirSync(target)
    writeFileSync(join(target, 'mine.txt'), 'x')
    await expect(writer.finish({ ...nothing, markets: [marketRow('A')] })).rejects.toThrow(/filled by somebody else/)
    await writer.abort()
    expect(readdirSync(target)).toEqual(['mine.txt'])
  })

  it('replaces a tape as a whole', async () => {
    const dir = folder()
    const target = join(dir, 'tape')
    await write(target, tape(opening))
    const writer = await TapeWriter.create(target, { name: 'second', source: 'test', replace: true })
    writer.market('A')
    for (const batch of batchesOf(opening, 64)) await writer.append(batch)
    await writer.finish({ ...nothing, markets: [marketRow('A')] })
    expect((await openTape(target)).manifest.name).toBe('second')
    expect(readdirSync(dir)).toEqual(['tape'])
  })

  it('takes no row that a reader could not give back', async () => {
    await expect(write(join(folder(), 'tape'), tape([...opening, T(0.5, Kind.DELTA, 0, 3800, 100)]))).rejects.toThrow(/whole microseconds/)
    await expect(write(join(folder(), 'tape'), tape([...opening, T(0, Kind.DELTA, 0, 3800, 0.5)]))).rejects.toThrow(/whole/)
    await expect(write(join(folder(), 'tape'), tape([...opening, { ...T(0, Kind.DELTA, 0, 3800, 100), market: 1 }]))).rejects.toThrow(
      /number from the writer/,
    )
    const writer = await TapeWriter.create(join(folder(), 'tape'), { source: 'test' })
    writer.market('A')
    for (const batch of batchesOf(opening, 64)) await writer.append(batch)
    await expect(writer.finish({ ...nothing, markets: [] })).rejects.toThrow(/stands in markets.parquet/)
    await writer.abort()
  })

  it('lists a missing file and a file that nobody knows', async () => {
    const dir = join(folder(), 'tape')
    const manifest = await write(dir, tape(opening))
    const path = manifest.files[0]?.path as string
    rmSync(join(dir, path))
    writeFileSync(join(dir, 'stray.txt'), 'x')
    expect(await verifyTape(dir)).toEqual([
      { path, problem: 'is named in the manifest and is not there' },
      { path: 'stray.txt', problem: 'is not in the manifest' },
    ])
  })
})

describe('a run at rest', () => {
  /** 9,000 rows of everything, handed over early after every `every` rows. */
  function run(every: number): Run {
    const sink = new Run()
    const strings = new Strings()
    const journal = new Journal(strings, sink)
    const samples = new Samples(strings, sink)
    for (let i = 0; i < 9000; i++) {
      const market = strings.intern(`M-${i % 7}`)
      journal.push(
        START + i,
        JournalKind.SIGNAL,
        market,
        strings.intern('me'),
        i % 5 === 0 ? -1 : i,
        i & 1,
        4000 + i,
        i * 100,
        strings.intern('take'),
        i % 3 === 0 ? -1 : strings.intern(`why ${i % 11}`),
        i / 3,
        i,
        7 - i,
      )
      samples.touch(START + i, market, 4000, i, 4200, i)
      samples.equity(START + i, i, 0, 7 - i, i, i, i, 0, 0, 0)
      samples.markout(i, 0, i % 4 === 0 ? -1 : i, i & 1)
      if (i % every === 0) {
        journal.flush()
        samples.flush()
      }
    }
    journal.flush()
    samples.flush()
    return sink
  }

  it('has a digest that block borders do not change', () => {
    expect(new Set([1, 64, 997, 4096, 1e9].map((every) => run(every).digest())).size).toBe(1)
  })

  it('reads back what was written', async () => {
    const dir = join(folder(), 'run')
    const record = run(1e9).record({ mode: 'backtest' } as never, { complete: true } as never)
    await writeRun(dir, record)
    expect(await readRun(dir)).toEqual(record)
    rmSync(join(dir, 'markouts.parquet'))
    await expect(readRun(dir)).rejects.toMatchObject({ code: 'NOT_A_RUN' })
  })
})
