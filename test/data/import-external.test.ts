import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { importExternal, type ExternalOptions } from '../../data/import/external.ts'
import { readManifest } from '../../data/tape-reader.ts'
import { TapeWriter } from '../../data/tape-writer.ts'
import { verifyTape } from '../../data/verify.ts'
import { Flag } from '../../engine/message.ts'
import { batchesOf, randomTape, START, type Row } from '../support/rows.ts'
import { folder, iso, removeFolders, rowsOf, writeParquet } from '../support/tapes.ts'

afterEach(removeFolders)

const tapeOf = async (rows = 1500, change: (rows: Row[]) => Row[] = (all) => all) => {
  const dir = folder()
  const made = randomTape({ seed: 5, rows, markets: 2 })
  const tape = { ...made, rows: change(made.rows) }
  const writer = await TapeWriter.create(join(dir, 'tape'), { name: 'test', source: 'test' })
  for (const ticker of tape.tickers) writer.market(ticker)
  for (const batch of batchesOf(tape.rows, 997)) await writer.append(batch)
  writer.quarantine('{"reason":"kept"}\n')
  await writer.finish({
    clock: [],
    labels: [],
    labelBasis: 'true',
    gaps: 0,
    inFlux: 0,
    negativeLevels: 0,
    lastingCrosses: 0,
    quarantined: 1,
    origin: { made: 'here' },
    remarks: ['a remark'],
    coverage: [],
    markets: tape.tickers.map((ticker) => ({
      ticker,
      event: ticker,
      series: 'KXTEST',
      title: '',
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
    })),
  })
  return { dir, tape: join(dir, 'tape'), times: tape.rows.map((r) => r.time), rows: tape.rows }
}
const into = async (dir: string, text: string, options: ExternalOptions = {}, name = 'x.csv') => {
  writeFileSync(join(dir, name), text)
  return importExternal([join(dir, name)], join(dir, 'tape'), options)
}

describe('outside series', () => {
  it('enter in the order in which they were known, between exchange messages and never inside one', async () => {
    const { dir, tape, rows } = await tapeOf()
    const before = await rowsOf(tape)
    // Known exactly when rows stand there, some of them in the middle of a message.
    const open = rows.filter((r) => (r.flags & Flag.LAST) === 0).slice(0, 20)
    expect(open.length).toBeGreaterThan(5)
    const known = [...open, ...rows.filter((_, i) => i % 97 === 0)].map((r) => r.time)
    const text = [
      'series,published,known,value,revision',
      ...known.map((k, i) => `spot,${iso(k - 1000 - i)},${iso(k)},${i}.5,${i}`),
    ].reverse()
    const s = await into(dir, [text[text.length - 1], ...text.slice(0, -1)].join('\n'))
    expect(s).toMatchObject({ rows: known.length, repeated: 0, replaced: 0 })
    const after = await rowsOf(tape)
    expect(after.filter((r) => r.kind !== 'external')).toEqual(before)
    const external = after.filter((r) => r.kind === 'external')
    expect(external.map((r) => r.time)).toEqual([...known].sort((a, b) => a - b))
    for (const r of external) {
      const i = Number(r.detail?.['revision'])
      expect(r).toMatchObject({
        time: known[i],
        timeVenue: (known[i] as number) - 1000 - i,
        ticker: '',
        detail: { series: 'spot', value: i + 0.5 },
      })
    }
    after.forEach((r, i) => {
      if (r.kind === 'external') expect(i === 0 || after[i - 1]?.last).toBe(true)
    })
    expect(await verifyTape(tape)).toEqual([])
    expect(readFileSync(join(tape, 'quarantine.ndjson'), 'utf8')).toBe('{"reason":"kept"}\n')
    expect(await readManifest(tape)).toMatchObject({ name: 'test', remarks: ['a remark'], origin: { made: 'here' } })
    expect(readdirSync(dir).sort()).toEqual(['tape', 'x.csv'])
  })

  it('wait for the end of a message that takes longer than a µs', async () => {
    // The rows of each message one µs apart: what is known in between is told after its last row.
    const { dir, tape } = await tapeOf(300, (rows) => rows.map((r, i) => ({ ...r, time: START + i * 10, timeVenue: START + i * 10 })))
    const before = await rowsOf(tape)
    const middle = before.flatMap((r, i) => (r.last ? [] : [i]))
    expect(middle.length).toBeGreaterThan(5)
    await into(dir, `known,value\n${middle.map((i) => `${iso((before[i]?.time ?? 0) + 3)},${i}`).join('\n')}\n`, { series: 'a' })
    const after = await rowsOf(tape)
    expect(after.filter((r) => r.kind !== 'external')).toEqual(before)
    after.forEach((r, k) => {
      if (r.kind !== 'external') return
      const from = Number(r.detail?.['value'])
      const end = before.findIndex((x, i) => i > from && x.last)
      expect([r.time, r.timeVenue]).toEqual([before[end]?.time, (before[from]?.time ?? 0) + 3])
      expect(after[k - 1]?.last).toBe(true)
    })
  })

  it('stand once: again is refused, --replace-series takes their place and leaves others alone', async () => {
    const { dir, tape } = await tapeOf(300)
    const t = (i: number): string => iso(START + i * 1000)
    await into(dir, `published,value\n${t(1)},1\n${t(2)},2\n`, { series: 'a', lag: 500 })
    await into(dir, `published,value\n${t(1)},7\n${t(1)},7\n`, { series: 'b' })
    await expect(into(dir, `published,value\n${t(3)},3\n`, { series: 'a' })).rejects.toThrow(
      /has the series a already: give --replace-series/,
    )
    const s = await into(dir, `known,value\n${t(3)},3\n`, { series: 'a', replaceSeries: true })
    expect(s).toMatchObject({ rows: 1, replaced: 2 })
    const external = (await rowsOf(tape)).filter((r) => r.kind === 'external')
    expect(external.map((r) => [r.time - START, r.timeVenue - START, r.detail])).toEqual([
      [1000, 1000, { series: 'b', value: 7, revision: 0 }],
      [3000, 3000, { series: 'a', value: 3, revision: 0 }],
    ])
    expect((await readManifest(tape)).remarks).toEqual([
      'a remark',
      expect.stringMatching(/^Outside series b: taken as known when published/),
    ])
  })

  it('come from JSON lines and Parquet alike', async () => {
    const { dir, tape } = await tapeOf(300)
    const records = [1, 2, 3].map((i) => ({ station: 's', issued: START + i * 1000, got: START + i * 2000, high: i / 3, run: i }))
    const map = { series: 'station', published: 'issued', known: 'got', value: 'high', revision: 'run' }
    await into(dir, records.map((r) => JSON.stringify(r)).join('\n'), { map }, 'x.jsonl')
    const first = await rowsOf(tape)
    const file = await writeParquet(
      join(dir, 'x.parquet'),
      { station: 'VARCHAR', issued: 'BIGINT', got: 'BIGINT', high: 'DOUBLE', run: 'INTEGER' },
      records,
    )
    await importExternal([file], tape, { map, replaceSeries: true })
    expect(await rowsOf(tape)).toEqual(first)
    expect(first.filter((r) => r.kind === 'external').map((r) => r.detail?.['value'])).toEqual([1 / 3, 2 / 3, 1])
  })

  it.each([
    [
      'published,known,value\n2026-09-20T00:00:00Z,2026-09-20T00:00:01Z,1\n2026-09-20T00:00:02Z,2026-09-20T00:00:01Z,1\n',
      /x\.csv:3: known .* lies before published/,
    ],
    ['published,value\n2026-09-20T00:00:00Z,NaN\n', /x\.csv:2: value NaN is no finite number/],
    ['published,value\n2026-09-20T00:00:00Z,1e999\n', /x\.csv:2: value 1e999 is no finite number/],
    ['published,value\n2026-09-20T00:00:00Z,\n', /x\.csv:2: the value is missing/],
    ['published,value\nyesterday,1\n', /x\.csv:2: published yesterday is no time/],
    ['published,value\n2026-09-20T00:00:00Z,1,2\n', /x\.csv:2 has 3 cells, the header has 2/],
    ['when,value\n2026-09-20T00:00:00Z,1\n', /which column says when .*it has when, value/],
    ['published,v\n2026-09-20T00:00:00Z,1\n', /which column is value\? .*it has published, v/],
    ['published,value\n', /no record in it/],
    ['', /is empty/],
  ])('refuse %j and leave the tape as it was', async (text, message) => {
    const { dir, tape } = await tapeOf(200)
    const before = readFileSync(join(tape, 'manifest.json'), 'utf8')
    await expect(into(dir, text, { series: 'a' })).rejects.toThrow(message)
    expect(readFileSync(join(tape, 'manifest.json'), 'utf8')).toBe(before)
    expect(readdirSync(dir).sort()).toEqual(['tape', 'x.csv'])
  })
})
