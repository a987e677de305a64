import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { backtest } from '../../cli/session.ts'
import { DELAYS_DEFAULT } from '../../cli/options.ts'
import { importExternal } from '../../data/import/external.ts'
import { importQuotes } from '../../data/import/quotes.ts'
import { openTape } from '../../data/tape-reader.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import { spotLag } from '../../strategies/spot-lag.ts'

const file = fileURLToPath(
  new URL('../../../shared/data/permissive/Johnny-God_CC-BY-4.0/KXETH15M_raw_snapshots_head1500.jsonl', import.meta.url),
)
const dir = mkdtempSync(join(tmpdir(), 'tapeline-spot-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe('spot-lag on recorded quotes and their spot series (../shared, skipped where it is absent)', () => {
  it.skipIf(!existsSync(file))('decides the same up to any time at which the tape is cut, outside rows included', async () => {
    const tape = join(dir, 'eth')
    await importQuotes([file], tape, { map: { ticker: 'ticker', time: 'ts', bid: 'yb', ask: 'ya' }, size: 1000 })
    await importExternal([file], tape, { series: 'ETH', map: { known: 'ts', value: 'spot' } })
    let n = 0
    const run = async (to: number | null) => {
      const { record } = await backtest({
        tape,
        strategies: [{ strategy: spotLag({ series: 'ETH', window: 20, threshold: 1 }), source: null }],
        markets: null,
        series: null,
        from: null,
        to,
        warmup: 0,
        fills: null,
        delays: DELAYS_DEFAULT,
        seed: 1,
        cash: 10_000_000_000,
        limits: LIMITS_DEFAULT,
        out: join(dir, `run-${n++}`),
        decode: 'thread',
      })
      const { journal: j, strings } = record
      const word = (id: number): string => (id < 0 ? '' : (strings[id] as string))
      return Array.from({ length: j.length }, (_, i) => ({
        time: j.time[i] as number,
        text: [
          j.kind[i],
          word(j.market[i] as number),
          j.order[i],
          j.side[i],
          j.price[i],
          j.quantity[i],
          word(j.what[i] as number),
          j.value[i],
        ].join(' '),
      }))
    }
    const whole = await run(null)
    expect(whole.filter((l) => l.text.includes('take')).length).toBeGreaterThan(20)
    const { manifest } = await openTape(tape)
    for (let k = 1; k <= 9; k++) {
      const cut = manifest.from + Math.floor(((manifest.to - manifest.from) * k) / 10)
      const part = await run(cut)
      const until = (lines: typeof whole) => lines.filter((l) => l.time < cut && !l.text.includes('session:'))
      expect(until(part)).toEqual(until(whole))
    }
  })
})
