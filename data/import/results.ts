/**
 * Outcomes for tapes whose frames carry none. Owns the reading of a results file and the times of `determined` and `settled` rows; the rewrite is data/rewrite.ts.
 * Invariant: the engine learns a result only at the time of its row.
 *
 * Columns by header: `ticker`, `result` (yes, no, scalar, void; also `market_outcome`), optional `value` (dollars a YES contract pays), `determined_time`, `settled_time`
 * (RFC 3339). Without times: determined a minute after the close (or after the market's last row), paid a minute later.
 */
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { Kind, type DeterminedDetail } from '../../engine/message.ts'
import { MINUTE, parsePrice } from '../../engine/units.ts'
import { DataError } from '../errors.ts'
import { rewriteTape, type Insertion } from '../rewrite.ts'
import type { MarketRow } from '../schema.ts'
import { openTape } from '../tape-reader.ts'
import { parseTime } from './frames.ts'

export type ResultsSummary = {
  readonly markets: number
  readonly set: number
  readonly already: number
  readonly unknown: readonly string[]
  readonly without: readonly string[]
}

type Outcome = {
  readonly result: DeterminedDetail['result']
  readonly value: number
  readonly determined: number | null
  readonly settled: number | null
  readonly line: number
}

const ASSUMED = 'Time of determination assumed: one minute after the close, paid one minute later (the results file states none)'

export async function importResults(csv: string, dir: string): Promise<ResultsSummary> {
  const outcomes = parseResults(
    await readFile(csv, 'utf8').catch((error: unknown) => {
      throw new DataError('FILE_MISSING', `${csv} cannot be read: give a CSV file with the columns ticker and result`, error)
    }),
    basename(csv),
  )
  const tape = await openTape(dir)
  const markets = await tape.markets()
  const plan = new Map<string, { row: MarketRow; outcome: Outcome; determined: number; settled: number }>()
  let already = 0
  let assumed = false
  for (const row of markets) {
    const outcome = outcomes.get(row.ticker)
    if (outcome === undefined) continue
    if (row.result !== null) {
      if (row.result !== outcome.result || row.settlementValue !== outcome.value) {
        throw new DataError(
          'INPUT_INVALID',
          `${basename(csv)}:${outcome.line}: ${row.ticker} is ${outcome.result}, but the tape already says ${row.result}: correct one of them`,
        )
      }
      already++
      continue
    }
    if (outcome.determined === null) assumed = true
    const determined = outcome.determined ?? Math.max(row.closeTime ?? 0, row.lastTime) + MINUTE
    plan.set(row.ticker, { row, outcome, determined, settled: outcome.settled ?? determined + MINUTE })
  }
  const summary: ResultsSummary = {
    markets: markets.length,
    set: plan.size,
    already,
    unknown: [...outcomes.keys()].filter((t) => !markets.some((m) => m.ticker === t)).sort(),
    without: markets
      .filter((m) => m.result === null && !outcomes.has(m.ticker))
      .map((m) => m.ticker)
      .sort(),
  }
  if (plan.size === 0) return summary

  const insertions: Insertion[] = [...plan.values()]
    .flatMap(({ row, outcome, determined, settled }) => [
      {
        time: determined,
        timeVenue: determined,
        market: row.ticker,
        kind: Kind.DETERMINED,
        detail: JSON.stringify({ result: outcome.result, value: outcome.value }),
      },
      { time: settled, timeVenue: settled, market: row.ticker, kind: Kind.SETTLED, detail: '{}' },
    ])
    .sort((a, b) => a.time - b.time || (a.market < b.market ? -1 : a.market > b.market ? 1 : 0))
  await rewriteTape(tape, {
    insertions,
    remarks: assumed ? [ASSUMED] : [],
    markets: markets.map((m) => {
      const p = plan.get(m.ticker)
      return p === undefined
        ? m
        : { ...m, result: p.outcome.result, settlementValue: p.outcome.value, determinedTime: p.determined, settledTime: p.settled }
    }),
  })
  return summary
}

/** Text of a results file → outcomes by ticker. Throws DataError with `file:line`. */
export function parseResults(text: string, file: string): Map<string, Outcome> {
  const lines = text.split(/\r?\n/)
  const header = (lines[0] ?? '').split(',').map((c) => c.trim())
  const column = (...names: string[]): number => header.findIndex((h) => names.includes(h))
  const ticker = column('ticker', 'market_ticker', 'market')
  const result = column('result', 'market_outcome', 'market_result')
  if (ticker < 0 || result < 0)
    throw new DataError('INPUT_INVALID', `${file}:1: needs a header with the columns ticker and result, has ${header.join(', ')}`)
  const value = column('value', 'settlement_value')
  const determined = column('determined_time')
  const settled = column('settled_time')
  const outcomes = new Map<string, Outcome>()
  lines.forEach((raw, i) => {
    if (i === 0 || raw.trim() === '') return
    const cells = raw.split(',').map((c) => c.trim())
    const where = `${file}:${i + 1}`
    const name = cells[ticker] ?? ''
    const word = (cells[result] ?? '').toLowerCase()
    if (name === '') throw new DataError('INPUT_INVALID', `${where}: the ticker is missing`)
    if (word === '') return
    if (word !== 'yes' && word !== 'no' && word !== 'scalar' && word !== 'void')
      throw new DataError('INPUT_INVALID', `${where}: result ${word} of ${name} is not yes, no, scalar or void`)
    const given = value < 0 || (cells[value] ?? '') === '' ? Number.NaN : parsePrice(cells[value] ?? '')
    if (value >= 0 && (cells[value] ?? '') !== '' && Number.isNaN(given))
      throw new DataError('INPUT_INVALID', `${where}: value ${cells[value]} of ${name} is not a number of dollars between 0 and 1`)
    if ((word === 'scalar' || word === 'void') && Number.isNaN(given))
      throw new DataError('INPUT_INVALID', `${where}: a ${word} result of ${name} needs a value: what a YES contract pays`)
    const time = (index: number): number | null => {
      const cell = index < 0 ? '' : (cells[index] ?? '')
      if (cell === '') return null
      const t = parseTime(cell)
      if (!Number.isFinite(t)) throw new DataError('INPUT_INVALID', `${where}: ${cell} is not a time such as 2026-05-13T13:45:00Z`)
      return t
    }
    const outcome: Outcome = {
      result: word,
      value: Number.isNaN(given) ? (word === 'yes' ? 10_000 : 0) : given,
      determined: time(determined),
      settled: time(settled),
      line: i + 1,
    }
    const before = outcomes.get(name)
    if (before !== undefined && (before.result !== outcome.result || before.value !== outcome.value)) {
      throw new DataError('INPUT_INVALID', `${where}: ${name} is ${word} here and ${before.result} on line ${before.line}`)
    }
    if (before === undefined) outcomes.set(name, outcome)
  })
  return outcomes
}
