import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tableFromIPC, type Table } from 'apache-arrow'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { DEFAULT_PARSERS } from 'hyparquet/src/convert.js'
import { compressors } from 'hyparquet-compressors'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makePracticeTape } from '../../adapters/practice/practice-tape.ts'
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { exportTables, type ExportedTable, type ExportFormat } from '../../data/export.ts'
import { runTables, tapeTables } from '../../data/export-tables.ts'
import { Database } from '../../data/parquet.ts'
import { readRun, Run, writeRun } from '../../data/run.ts'
import { openTape } from '../../data/tape-reader.ts'
import { Engine } from '../../engine/engine.ts'
import { JournalKind } from '../../engine/journal.ts'
import { KIND_NAMES, LABEL_NAMES, labelOf } from '../../engine/message.ts'
import type { SessionRecord } from '../../engine/session.ts'
import { framesOf } from '../../reports/frames.ts'
import { ordersOf } from '../../reports/orders.ts'
import { lean } from '../../strategies/lean.ts'
import { meanReversion } from '../../strategies/mean-reversion.ts'
import { batchesOf, randomTape } from '../support/rows.ts'
import { header } from '../support/session.ts'

/** Exports read back by readers that share no code with the writers, against the source. */
const dir = mkdtempSync(join(tmpdir(), 'tapeline-export-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

type Row = Record<string, unknown>
/** Dates and big integers as µs and numbers, dictionary words as text: one form for both formats. */
function plain(value: unknown, timestamp: boolean): unknown {
  if (value === null || value === undefined) return null
  if (typeof value === 'bigint') return Number(value)
  return timestamp && typeof value === 'number' ? Math.round(value * 1000) : value
}
function arrowRows(path: string): { table: Table; rows: Row[] } {
  const table = tableFromIPC(readFileSync(path))
  const times = new Set(table.schema.fields.filter((f) => String(f.type).startsWith('Timestamp')).map((f) => f.name))
  const columns = table.schema.fields.map((f) => [f.name, table.getChild(f.name)] as const)
  const rows = Array.from({ length: table.numRows }, (_, i) =>
    Object.fromEntries(columns.map(([name, column]) => [name, plain(column?.get(i), times.has(name))])),
  )
  return { table, rows }
}
/** A Date would end at the millisecond. */
const parsers = { ...DEFAULT_PARSERS, timestampFromMicroseconds: (micros: bigint) => Number(micros) as unknown as Date }
async function parquetRows(path: string): Promise<Row[]> {
  const rows = await parquetReadObjects({ file: await asyncBufferFromFile(path), compressors, parsers })
  return rows.map((row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, plain(v, false)])))
}

async function write(what: 'tape' | 'run', format: ExportFormat, out: string): Promise<ExportedTable[]> {
  const db = await Database.open({ threads: 1, memory: 512 })
  try {
    const tables =
      what === 'tape' ? await tapeTables(await openTape(join(dir, 'tape'))) : await runTables(db, join(dir, 'run'), framesOf(record))
    return await exportTables(db, tables, { format, out, metadata: { digest: 'abc' } })
  } finally {
    db.close()
  }
}

let record: SessionRecord
beforeAll(async () => {
  await makePracticeTape(join(dir, 'tape'), { seed: 5, markets: 3, days: 1, rate: 30 })
  const h = header({ strategies: [{ name: 'lean', parameters: { size: 10 } }] })
  const run = new Run()
  const engine = new Engine({
    header: h,
    strategies: [lean(), meanReversion({ window: 20, minimum: 5, threshold: 1 })],
    venue: new SimulatedVenue('queue', h.delays, h.tape.lagMax),
    sink: run,
  })
  for (const batch of batchesOf(randomTape({ seed: 8, rows: 6000, markets: 3, settle: true }).rows, 1000)) engine.run(batch)
  await writeRun(join(dir, 'run'), run.record(h, engine.finish('end of tape', true)))
  record = await readRun(join(dir, 'run'))
})

describe('an export', () => {
  it('of a tape holds every row in order, in both formats, to the last bit', async () => {
    const done = await write('tape', 'arrow', join(dir, 'a'))
    await write('tape', 'parquet', join(dir, 'p'))
    const { table, rows } = arrowRows(join(dir, 'a/messages.arrow'))
    const other = await parquetRows(join(dir, 'p/messages.parquet'))
    // More than one batch, and each column one dictionary.
    expect(table.batches.length).toBeGreaterThan(1)
    const tape = await openTape(join(dir, 'tape'))
    const stream = await tape.read({ decode: 'thread' })
    let at = 0
    for await (const b of stream) {
      for (let i = 0; i < b.length; i++, at++) {
        const kind = b.kind[i] as number
        const about = kind >= 1 && kind <= 4
        const flags = b.flags[i] as number
        const label = LABEL_NAMES[labelOf(flags)]
        const wanted = {
          time: b.time[i],
          time_venue: b.timeVenue[i] === 0 ? null : b.timeVenue[i],
          market: (b.market[i] as number) < 0 ? null : stream.tickers[b.market[i] as number],
          kind: KIND_NAMES[kind],
          side: about ? (b.side[i] === 0 ? 'bid' : 'ask') : null,
          price: about ? b.price[i] : null,
          price_dollars: about ? (b.price[i] as number) / 10_000 : null,
          quantity: about ? b.quantity[i] : null,
          quantity_contracts: about ? (b.quantity[i] as number) / 100 : null,
          label: label === 'none' ? null : label,
          last: (flags & 1) !== 0,
          execution: (flags & 2) !== 0,
          checkpoint: (flags & 4) !== 0,
          inferred: (flags & 8) !== 0,
          detail: (b.detail[i] as number) < 0 ? null : b.details[b.detail[i] as number],
        }
        if (JSON.stringify(rows[at]) !== JSON.stringify(wanted)) expect(rows[at]).toEqual(wanted)
        if (JSON.stringify(other[at]) !== JSON.stringify(wanted)) expect(other[at]).toEqual(wanted)
      }
    }
    expect([rows.length, other.length]).toEqual([at, at])
    const markets = arrowRows(join(dir, 'a/markets.arrow')).rows
    expect(markets).toEqual(await parquetRows(join(dir, 'p/markets.parquet')))
    expect(markets.map((m) => m['market'])).toEqual((await tape.markets()).map((m) => m.ticker))
    // Sizes are those on the disk; units stand with the fields.
    for (const t of done) expect(t.bytes).toBe(readFileSync(join(dir, 'a', t.file)).length)
    const field = table.schema.fields.find((f) => f.name === 'price')
    expect(field?.metadata.get('unit')).toBe('1/10,000 dollar')
    expect(String(table.schema.fields[0]?.type)).toBe('Timestamp<MICROSECOND, UTC>')
    const described = JSON.parse(readFileSync(join(dir, 'a/tables.json'), 'utf8')) as { tables: { columns: { name: string }[] }[] }
    expect(described.tables[0]?.columns.map((c) => c.name)).toEqual(table.schema.fields.map((f) => f.name))
  })

  it('of a run holds every order, fill, signal, refusal and sample, and is the same bytes each time', async () => {
    await write('run', 'arrow', join(dir, 'ra'))
    await write('run', 'arrow', join(dir, 'rb'))
    const done = await write('run', 'parquet', join(dir, 'rp'))
    const hash = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')
    for (const file of readdirSync(join(dir, 'ra')))
      expect([file, hash(join(dir, 'ra', file))]).toEqual([file, hash(join(dir, 'rb', file))])
    for (const { name } of done)
      expect([name, arrowRows(join(dir, `ra/${name}.arrow`)).rows]).toEqual([name, await parquetRows(join(dir, `rp/${name}.parquet`))])
    expect(done.map((t) => t.name)).toEqual([
      'fills',
      'signals',
      'refusals',
      'equity',
      'touches',
      'markouts',
      'orders',
      'trades',
      'markets',
      'metrics',
    ])
    const { journal: j, strings } = record
    const of = (kind: number): number[] => Array.from({ length: j.length }, (_, i) => i).filter((i) => j.kind[i] === kind)
    const read = (name: string): Row[] => arrowRows(join(dir, `ra/${name}.arrow`)).rows
    expect(
      read('fills').map((r) => [r['fill'], r['order'], r['time'], r['market'], r['price'], r['quantity'], r['fee'], r['why']]),
    ).toEqual(
      of(JournalKind.FILL).map((i, k) => [
        k,
        j.order[i],
        j.time[i],
        strings[j.market[i] as number],
        j.price[i],
        j.quantity[i],
        j.a[i],
        strings[j.why[i] as number],
      ]),
    )
    expect(read('signals')).toHaveLength(of(JournalKind.SIGNAL).length)
    expect(read('refusals')).toHaveLength(of(JournalKind.REFUSAL).length)
    expect(read('orders').map((r) => [r['order'], r['state'], r['filled'], r['fees'], r['accepted']])).toEqual(
      ordersOf(record).map((o) => [o.order, o.state, o.filled, o.fees, o.accepted]),
    )
    expect(read('equity').map((r) => r['liquidation'])).toEqual(Array.from(record.equity.liquidation))
    const touches = read('touches')
    expect(touches.map((r) => r['bid'] ?? -1)).toEqual(Array.from(record.touches.bid))
    expect(touches.some((r) => r['bid'] === null)).toBe(true)
    // A markout is the move of the mid from the fill's price, in our favour when positive.
    const fills = read('fills')
    for (const m of read('markouts')) {
      const fill = fills[m['fill'] as number] as Row
      if (m['mid_twice'] === null) expect(m['markout_dollars']).toBeNull()
      else
        expect(m['markout_dollars']).toBeCloseTo(
          (fill['side'] === 'bid' ? 1 : -1) * ((m['mid_twice'] as number) / 20_000 - (fill['price'] as number) / 10_000),
          9,
        )
    }
  })

  it('writes nothing over, and leaves nothing behind when it fails', async () => {
    await expect(write('run', 'arrow', join(dir, 'ra'))).rejects.toThrow(/ra is there already: choose a new folder with --out/)
    const db = await Database.open()
    const bad = [{ name: 'x', from: "read_parquet('nowhere.parquet')", columns: [{ name: 'a', type: 'int64' as const, sql: 'a' }] }]
    await expect(exportTables(db, bad, { format: 'arrow', out: join(dir, 'bad'), metadata: {} })).rejects.toThrow()
    db.close()
    expect(existsSync(join(dir, 'bad'))).toBe(false)
    expect(readdirSync(dir).filter((f) => f.startsWith('.'))).toEqual([])
  })
})
