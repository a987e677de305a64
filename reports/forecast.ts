/**
 * Forecast quality: a strategy's probabilities against outcomes, and against the market. Owns which forecast counts; hides the walk. Invariant:
 * model and market are scored on the same rows, one a market, and not at all below 50 outcomes or when all outcomes are alike.
 */
import { JournalKind } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'
import { mean } from './statistics.ts'

const OUTCOMES_MIN = 50

export function forecastScore(
  { journal: j, strings, end }: SessionRecord,
  mid2: (market: string, time: number) => number,
  add: (id: string, label: string, formula: string, value: number, n: number, reason: string) => void,
): void {
  const outcomes = new Map(
    end.markets.flatMap((m) => (m.settlementValue === null ? [] : [[m.ticker, m.settlementValue / 10_000] as const])),
  )
  const seen = new Set<string>()
  const model: number[] = []
  const market: number[] = []
  const results = new Set<number>()
  let forecasts = 0
  for (let i = 0; i < j.length; i++) {
    if (j.kind[i] !== JournalKind.FORECAST) continue
    forecasts++
    const ticker = strings[j.market[i] as number] ?? ''
    const outcome = outcomes.get(ticker)
    const mid = mid2(ticker, j.time[i] as number) / 20_000
    if (outcome === undefined || Number.isNaN(mid) || seen.has(ticker)) continue
    seen.add(ticker)
    results.add(outcome)
    model.push(((j.value[i] as number) - outcome) ** 2)
    market.push((mid - outcome) ** 2)
  }
  if (forecasts === 0) return
  const n = model.length
  const enough = n >= OUTCOMES_MIN && results.size > 1
  const reason = n < OUTCOMES_MIN ? `needs ${OUTCOMES_MIN} outcomes with a mid, the data have ${n}` : 'all outcomes were alike'
  const ours = enough ? mean(model) : Number.NaN
  const theirs = enough ? mean(market) : Number.NaN
  const rows = 'one a market: the first forecast made with a two-sided book sampled'
  add('brier', 'Brier score of the forecasts', `mean (forecast − outcome)²; ${rows}`, ours, n, reason)
  add('brierMarket', 'Brier score of the market', 'mean (mid − outcome)², on the same rows', theirs, n, reason)
  add(
    'skill',
    'Skill against the market',
    '1 − Brier of the forecasts ÷ Brier of the market; above 0 the forecasts knew more',
    theirs > 0 ? 1 - ours / theirs : Number.NaN,
    n,
    enough ? 'the market was perfect' : reason,
  )
}
