/** The figures of `data stats` as text. Owns what is shown of a tape with books, of one with best prices, and of one with trades alone. */
import type { TapeStats } from '../data/tape-stats.ts'
import { count, tableText } from './output.ts'

/** Markets in a table at most: the rest stands in --json. */
const MARKETS_MAX = 40

/** Gap: a break in the sequence of a stream. Resync: a new snapshot of a market that was lost. Disconnect: a connection that ended. */
export function lossText({ gaps, resyncs, disconnects, breaks }: Pick<TapeStats, 'gaps' | 'resyncs' | 'disconnects' | 'breaks'>): string {
  return [
    `${count(gaps)} gaps, ${count(resyncs)} resyncs`,
    disconnects === null ? '' : `${count(disconnects)} disconnects`,
    breaks === null || breaks.count === 0
      ? ''
      : `down ${breaks.seconds.toFixed(1)} s in ${count(breaks.count)} break${breaks.count === 1 ? '' : 's'}`,
  ]
    .filter((t) => t !== '')
    .join(', ')
}

export function bookStatsText(s: TapeStats): string {
  const n = (x: number | null, digits = 2): string => (x === null ? 'n/a' : x.toFixed(digits))
  const compared = s.perMarket.filter((m) => m.venueContracts !== null)
  const venue = compared.reduce((a, m) => a + (m.venueContracts ?? 0), 0)
  const labelled = s.labels.filter((l) => l.label === 'trade').reduce((a, l) => a + l.contracts, 0)
  const ours = compared.reduce((a, m) => a + m.contracts, 0) || labelled
  return `${s.name}: ${count(s.rows)} rows${s.checkpoints === 0 ? '' : ` (and ${count(s.checkpoints)} of checkpoints)`}, ${count(s.markets)} markets, ${s.from} to ${s.to}
  recorded      ${s.recordedHours.toFixed(2)} market-hours${s.clock.length > 1 ? ` in ${s.clock.length} connections` : ''}, over a span of ${s.hours.toFixed(2)} hours
  in sync       ${s.coverage === null ? 'n/a' : `${(s.coverage * 100).toFixed(3)} % of recorded time`}; ${lossText(s)}, ${s.inFlux} in flux, ${s.lastingCrosses} lasting crosses, ${s.negativeLevels} negative levels, ${s.quarantined} quarantined
  audit         ${s.audits === 0 ? 'n/a (no ticker)' : `${count(s.auditsEqual)} of ${count(s.audits)} tickers had our best prices (${((s.auditsEqual / s.audits) * 100).toFixed(1)} %)`}
  rows          ${Object.entries(s.byKind)
    .map(([k, v]) => `${k} ${count(v)}`)
    .join(', ')}
  spread        ${n(s.spread)} ¢ (time-weighted, two-sided time)
  deltas/trade  ${n(s.deltasPerTrade, 1)}
  volume        ${venue === 0 ? 'n/a (the exchange states none)' : `${count(Math.round(ours))} contracts in trades, ${count(Math.round(venue))} by the exchange (${((ours / venue) * 100).toFixed(1)} %)`}
  lag           ${s.lagMilliseconds === null ? 'n/a' : `p50 ${s.lagMilliseconds.p50} ms, p95 ${s.lagMilliseconds.p95} ms, p99 ${s.lagMilliseconds.p99} ms, max ${s.lagMilliseconds.max.toFixed(0)} ms`}

Decreases
${tableText(
  ['series', 'label', 'how', 'count', 'contracts', 'share'],
  s.labels.map((l) => [
    l.series,
    l.label,
    l.inferred ? 'inferred' : 'known',
    count(l.count),
    count(Math.round(l.contracts)),
    `${(l.share * 100).toFixed(2)}%`,
  ]),
)}

Markets
${tableText(
  ['market', 'rows', 'deltas', 'trades', 'contracts', 'exchange', 'spread ¢', 'depth', 'low ¢', 'high ¢', 'result'],
  s.perMarket
    .slice(0, 40)
    .map((m) => [
      m.ticker,
      count(m.rows),
      count(m.deltas),
      count(m.trades),
      m.contracts.toFixed(0),
      m.venueContracts === null ? 'n/a' : m.venueContracts.toFixed(0),
      n(m.spread),
      n(m.touchDepth, 0),
      n(m.low, 1),
      n(m.high, 1),
      m.result ?? 'unknown',
    ]),
)}
${s.perMarket.length > 40 ? `… ${s.perMarket.length - 40} more (--json has all)\n` : ''}${s.remarks.map((r) => `note: ${r}`).join('\n')}
`
}

/** Best prices or trades alone: nothing of a book is said. */
export function shallowStatsText(s: TapeStats): string {
  const n = (x: number | null, digits = 1): string => (x === null ? 'n/a' : x.toFixed(digits))
  const kinds = Object.entries(s.byKind).map(([k, v]) => `${k} ${count(v)}`)
  const p = s.prints
  const largest = [...s.perMarket]
    .sort((a, b) => b.contracts - a.contracts || b.rows - a.rows || (a.ticker < b.ticker ? -1 : 1))
    .slice(0, MARKETS_MAX)
  const lines = [
    `${s.name}: ${count(s.rows)} rows${s.checkpoints === 0 ? '' : ` (and ${count(s.checkpoints)} of checkpoints)`}, ${count(s.markets)} markets, ${s.from} to ${s.to}`,
    `  knows         ${p === null ? 'best prices alone: no depth, no trades' : 'trades alone: no book, no quotes'}`,
    `  rows          ${kinds.join(', ')}${s.quarantined > 0 ? `; ${count(s.quarantined)} quarantined` : ''}`,
  ]
  if (p === null) lines.push(`  spread        ${n(s.spread, 2)} ¢ (time-weighted, two-sided time)`)
  else
    lines.push(
      `  trades        ${count(p.trades)} of ${count(p.contracts)} contracts at ${n(p.low)} to ${n(p.high)} ¢; takers bought YES in ${(p.takerYes * 100).toFixed(1)} % of contracts`,
      `  a market      ${count(p.perMarketMedian)} trades in the median, ${count(p.perMarketMax)} at most, over ${count(p.marketsTraded)} markets that traded; ${count(p.unlisted)} unlisted, not tradable`,
      `  volume        ${p.volumeCompared === 0 ? 'n/a (the exchange states none)' : `equal to the exchange's in ${count(p.volumeEqual)} of ${count(p.volumeCompared)} listed markets that traded`}`,
    )
  const results = new Map<string, number>()
  for (const m of s.perMarket) results.set(m.result ?? 'unknown', (results.get(m.result ?? 'unknown') ?? 0) + 1)
  lines.push(`  results       ${[...results].map(([r, k]) => `${r} ${count(k)}`).join(', ')}`)
  const table =
    p === null
      ? tableText(
          ['market', 'rows', 'spread ¢', 'at best', 'low ¢', 'high ¢', 'result'],
          largest.map((m) => [m.ticker, count(m.rows), n(m.spread, 2), n(m.touchDepth, 0), n(m.low), n(m.high), m.result ?? 'unknown']),
        )
      : tableText(
          ['market', 'trades', 'contracts', 'exchange', 'low ¢', 'high ¢', 'result'],
          largest.map((m) => [
            m.ticker,
            count(m.trades),
            count(m.contracts),
            m.venueContracts === null ? 'n/a' : count(m.venueContracts),
            n(m.low),
            n(m.high),
            m.result ?? 'unknown',
          ]),
        )
  const more = s.perMarket.length - largest.length
  return `${lines.join('\n')}

Markets${more > 0 ? ` (the ${MARKETS_MAX} largest)` : ''}
${table}
${more > 0 ? `… ${count(more)} more (--json has all)\n` : ''}${s.remarks.map((r) => `note: ${r}`).join('\n')}
`
}
