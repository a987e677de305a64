import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { importTradesParquet } from '../../data/import/trades-parquet.ts'
import { verifyTape } from '../../data/verify.ts'
import { integer, random } from '../support/random.ts'
import { folder, iso, removeFolders, writeParquet } from '../support/tapes.ts'

const T0 = 1_750_000_000_000_000
const program = fileURLToPath(new URL('../../dist/tapeline.js', import.meta.url))
type Ran = { code: number; stderr: string }
const run = (args: readonly string[]): Promise<Ran> =>
  new Promise((done) => {
    execFile(process.execPath, [program, ...args], { maxBuffer: 1e8 }, (error, _stdout, stderr) => {
      done({ code: error === null ? 0 : (error.code as unknown as number), stderr })
    })
  })

let dir = ''
let [trades, markets] = ['', '']
beforeAll(async () => {
  dir = folder()
  const next = random(7)
  const rows = Array.from({ length: 30_000 }, (_, i) => {
    const yes = i % 500 === 3 ? 28 : integer(next, 1, 99)
    return {
      trade_id: `${integer(next, 0, 1e9)}-${i}`,
      ticker: `KXTEST-${i % 5}-${i % 3}`,
      count: integer(next, 1, 900),
      yes_price: yes,
      no_price: i % 500 === 3 ? 13 : 100 - yes,
      taker_side: next() < 0.5 ? 'yes' : 'no',
      created_time: iso(T0 + i * 7_000_000 + integer(next, 0, 999_999)),
    }
  })
  const types = {
    trade_id: 'VARCHAR',
    ticker: 'VARCHAR',
    count: 'INTEGER',
    yes_price: 'INTEGER',
    no_price: 'INTEGER',
    taker_side: 'VARCHAR',
    created_time: 'TIMESTAMPTZ',
  }
  trades = await writeParquet(join(dir, 'trades.parquet'), types, rows)
  const list = [...new Set(rows.map((r) => r.ticker))].map((ticker) => ({
    ticker,
    event_ticker: ticker.slice(0, 8),
    result: 'no',
    close_time: iso(T0 + 1e12),
  }))
  markets = await writeParquet(
    join(dir, 'markets.parquet'),
    { ticker: 'VARCHAR', event_ticker: 'VARCHAR', result: 'VARCHAR', close_time: 'TIMESTAMPTZ' },
    list,
  )
})
afterAll(removeFolders)

describe('a byte that was flipped', () => {
  it('is named by `data verify` wherever it stands, in every file of the tape', async () => {
    const tape = join(dir, 'flip')
    await importTradesParquet([trades], tape, { markets: [markets] })
    expect(await verifyTape(tape)).toEqual([])
    const files = readdirSync(tape, { recursive: true, withFileTypes: true })
      .filter((e) => e.isFile())
      .map((e) => join(e.parentPath, e.name))
    const names = files.map((f) => f.slice(tape.length + 1))
    for (const part of ['manifest.json', 'markets.parquet', 'coverage.parquet', 'quarantine.ndjson']) expect(names).toContain(part)
    expect(names.filter((n) => n.startsWith('messages/')).length).toBeGreaterThan(0)
    const next = random(3)
    for (const [f, file] of files.entries()) {
      const good = readFileSync(file)
      for (let k = 0; k < (names[f] === 'manifest.json' ? 300 : 12); k++) {
        const bad = Buffer.from(good)
        const at = k === 0 ? 0 : k === 1 ? good.length - 1 : integer(next, 0, good.length - 1)
        bad[at] = (bad[at] as number) ^ (1 << integer(next, 0, 7))
        writeFileSync(file, bad)
        const said = await verifyTape(tape).then(
          (findings) => findings.map((x) => x.path).join(),
          (error: unknown) => (error as Error).message,
        )
        expect([names[f], at, said]).toEqual([names[f], at, expect.stringContaining(names[f] as string)])
      }
      writeFileSync(file, good)
    }
    expect(await verifyTape(tape)).toEqual([])
  })
})

/** A disk of a few hundred kilobytes, where this system lets one be made. */
function disk(kilobytes: number): string | null {
  const at = mkdtempSync(join(tmpdir(), 'tapeline-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'tmpfs', at], { stdio: 'ignore' })
    return at
  } catch {
    rmSync(at, { recursive: true })
    return null
  }
}
function remove(at: string): void {
  execFileSync('umount', [at])
  rmSync(at, { recursive: true })
}
const probe = disk(64)
if (probe !== null) remove(probe)
const size = (path: string): number =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .reduce((sum, e) => sum + statSync(join(e.parentPath, e.name)).size, 0)

describe.skipIf(probe === null)(probe === null ? 'a full disk (skipped: this system lets nobody mount a small one)' : 'a full disk', () => {
  it('leaves no half tape, whenever it fills up: exit 4 with one sentence, and nothing at the target', async () => {
    let [failed, made] = [0, 0]
    for (const kilobytes of [4, 32, 128, 300, 340, 370, 400, 2000]) {
      const at = disk(kilobytes) as string
      try {
        const ran = await run(['data', 'import', 'trades-parquet', trades, '--markets', markets, '--tape', join(at, 'tape')])
        if (ran.code === 0) {
          made++
          expect(await verifyTape(join(at, 'tape'))).toEqual([])
          expect(readdirSync(at)).toEqual(['tape'])
        } else {
          failed++
          expect([kilobytes, ran.code, ran.stderr]).toEqual([
            kilobytes,
            4,
            expect.stringMatching(/^error: .*(disk is full|no space left).*\n$/i),
          ])
          expect(readdirSync(at)).toEqual([])
        }
      } finally {
        remove(at)
      }
    }
    expect(failed).toBeGreaterThan(3)
    expect(made).toBeGreaterThan(0)
  }, 120_000)

  it('leaves the old tape whole when it is being rewritten', async () => {
    const whole = join(dir, 'whole')
    await importTradesParquet([trades], whole, { markets: [markets] })
    const kilobytes = Math.ceil(size(whole) / 1024)
    const csv = join(dir, 'spot.csv')
    writeFileSync(csv, `published,value\n${Array.from({ length: 5000 }, (_, i) => `${iso(T0 + i * 1e6)},${i / 7}`).join('\n')}\n`)
    const results = join(dir, 'results.csv')
    writeFileSync(results, 'ticker,result\nKXTEST-0-0,no\n')
    for (const room of [8, 100, Math.ceil(kilobytes * 0.9), kilobytes]) {
      const at = disk(kilobytes + 64 + room) as string
      try {
        const tape = join(at, 'tape')
        mkdirSync(tape)
        execFileSync('cp', ['-r', `${whole}/.`, tape])
        const before = readFileSync(join(tape, 'manifest.json'), 'utf8')
        const ran = await run(['data', 'import', 'external', csv, '--series', 'spot', '--tape', tape])
        expect([room, ran.code, ran.stderr]).toEqual([room, 4, expect.stringMatching(/^error: .*(disk is full|no space left).*\n$/i)])
        expect(readFileSync(join(tape, 'manifest.json'), 'utf8')).toBe(before)
        expect(await verifyTape(tape)).toEqual([])
        expect(readdirSync(at)).toEqual(['tape'])
      } finally {
        remove(at)
      }
    }
    expect(existsSync(whole)).toBe(true)
  }, 120_000)
})
