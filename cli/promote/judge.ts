/**
 * Evidence against thresholds: the table of gates. Owns what each gate asks and how it is counted; hides nothing. Invariants: pure; nothing counts twice (a tape that was run ten times is one tape, a market
 * that stands on two tapes one market, hours that two sessions shared are counted once); what was not shown has not passed.
 */
import { FILL_MODELS_OF, type FillModelName } from '../../engine/session.ts'
import { DAY } from '../../engine/units.ts'
import type { Backtest, Drill, Evidence, Live, Paper } from './evidence.ts'
import { LEVELS, type Level, type Thresholds } from './thresholds.ts'

/** A run that a gate rests on. */
export type Rest = { readonly folder: string; readonly digest: string }
export type Gate = {
  readonly level: Level
  readonly name: string
  readonly wanted: string
  readonly found: string
  readonly passed: boolean
  readonly rests: readonly Rest[]
}

export function judge(evidence: Evidence, t: Thresholds): readonly Gate[] {
  const counts = ({ practice }: { readonly practice: boolean }): boolean => t.practice || !practice
  // The backtest of a session's own tape is there to be compared with it; the sample is what was known before.
  const lived = new Set([...evidence.papers, ...evidence.lives].map((r) => r.header.tape.manifest))
  const backtests = evidence.backtests.filter((b) => b.complete && counts(b))
  const papers = evidence.papers.filter(counts)
  const demos = evidence.lives.filter((l) => l.proof?.environment === 'demo' || (t.practice && l.practice))
  const canaries = evidence.lives.filter((l) => l.proof?.environment === 'production')
  return [
    gate('backtest', 'strategy', 'it loads', 'it does', true, []),
    ...paperGates(bandsOf(backtests.filter((b) => !lived.has(b.header.tape.manifest))), backtests, t.paper),
    ...demoGates(papers, evidence, t.demo),
    ...canaryGates(demos, evidence.drills, t.canary),
    ...liveGates(canaries, t.live),
  ]
}
/** The highest level of which, and of all below, every gate is passed. */
export function reached(gates: readonly Gate[]): Level {
  const missing = LEVELS.findIndex((level) => gates.some((g) => g.level === level && !g.passed))
  return LEVELS[(missing < 0 ? LEVELS.length : missing) - 1] ?? 'backtest'
}
/** Gates of a level and of all below. */
export function upTo(gates: readonly Gate[], level: Level): readonly Gate[] {
  return gates.filter((g) => LEVELS.indexOf(g.level) <= LEVELS.indexOf(level))
}

// ---------------------------------------------------------------------------------------------------- backtests

/** The backtests of one tape that differ in nothing but the fill model. */
type Band = {
  readonly tape: string
  readonly models: ReadonlyMap<FillModelName, Backtest>
  readonly missing: readonly FillModelName[]
}

/** One for each tape: the one with most fill models, then the most rows, then the first. */
function bandsOf(backtests: readonly Backtest[]): readonly Band[] {
  const grounds = new Map<string, Map<FillModelName, Backtest>>()
  for (const b of backtests) {
    const models = grounds.get(b.ground) ?? new Map<FillModelName, Backtest>()
    // Of two with one header and two results the worse counts; that they differ is another gate's.
    const other = models.get(b.header.fills)
    if (other === undefined || b.net < other.net) models.set(b.header.fills, b)
    grounds.set(b.ground, models)
  }
  const best = new Map<string, Band>()
  for (const models of grounds.values()) {
    const [first] = models.values()
    if (first === undefined) continue
    const { manifest, name, depth } = first.header.tape
    const band: Band = { tape: name, models, missing: FILL_MODELS_OF[depth].filter((m) => !models.has(m)) }
    const standing = best.get(manifest)
    if (standing === undefined || rank(band) > rank(standing)) best.set(manifest, band)
  }
  return [...best.values()]
}
function rank({ models }: Band): number {
  const [first] = models.values()
  return models.size * 1e12 + (first === undefined ? 0 : first.to - first.from) / 1e6
}

function paperGates(bands: readonly Band[], backtests: readonly Backtest[], t: Thresholds['paper']): Gate[] {
  // The model that a backtest has by itself stands for the sample.
  const standing = bands.map(({ models }) => models.get('queue') ?? [...models.values()][0]).filter((b) => b !== undefined)
  const rests = standing.map(restOf)
  const all = bands.flatMap(({ models }) => [...models.values()])
  const markets = new Map<string, number>()
  const events = new Set<string>()
  for (const m of standing.flatMap((b) => b.markets)) {
    markets.set(m.ticker, Math.max(markets.get(m.ticker) ?? 0, m.fills))
    events.add(m.event)
  }
  const days = daysOf(standing)
  const fills = [...markets.values()].reduce((a, n) => a + n, 0)
  const coverage = standing.map((b) => b.header.tape.coverage).filter((c) => c !== null)
  const least = coverage.length === 0 ? null : Math.min(...coverage)
  // Of each tape the fill model that was worst on it.
  const worst = bands.flatMap(({ models }) => [...models.values()].sort((a, b) => a.net - b.net)[0] ?? [])
  const net = worst.reduce((a, b) => a + b.net, 0)
  const missing = bands.filter((b) => b.missing.length > 0)
  const without = withoutBest(worst)
  const repeated = backtests.filter((b) => b.repeated === true)
  // Whatever its settings: what is not deterministic once is not.
  const contradicted = backtests.filter((b) => b.repeated === false)
  return [
    gate('paper', 'days of tape', `≥ ${t.days}`, days.toFixed(1), days >= t.days, rests),
    gate('paper', 'fills', `≥ ${t.fills}`, String(fills), fills >= t.fills, rests),
    gate('paper', 'markets', `≥ ${t.markets}`, String(markets.size), markets.size >= t.markets, rests),
    gate('paper', 'events', `≥ ${t.events}`, String(events.size), events.size >= t.events, rests),
    gate(
      'paper',
      'coverage',
      `≥ ${percent(t.coverageShare)}`,
      least === null ? 'not known' : percent(least),
      least !== null && least >= t.coverageShare,
      rests,
    ),
    gate(
      'paper',
      'fill models',
      'all that each tape carries',
      bands.length === 0
        ? 'no complete backtest'
        : missing.length === 0
          ? netsOf(bands)
              .map((n) => `${n.model} ${money(n.net)}`)
              .join(', ')
          : missing.map((b) => `${b.tape} lacks ${b.missing.join(' and ')}`).join('; '),
      bands.length > 0 && missing.length === 0,
      all.map(restOf),
    ),
    gate(
      'paper',
      'net at the worst model',
      `> ${money(t.netWorstDollars * 1e6)}`,
      worst.length === 0 ? 'nothing' : `${money(net)} (${[...new Set(worst.map((b) => b.header.fills))].join(', ')})`,
      worst.length > 0 && net > t.netWorstDollars * 1e6,
      worst.map(restOf),
    ),
    gate(
      'paper',
      'without the best 5 markets',
      `> ${money(t.netWithoutBestDollars * 1e6)}`,
      without === null ? 'needs more than 5 markets with a fill' : money(without),
      without !== null && without > t.netWithoutBestDollars * 1e6,
      worst.map(restOf),
    ),
    gate(
      'paper',
      'run again, same digest',
      `≥ ${t.repeatedRuns}`,
      contradicted.length > 0
        ? `${contradicted.map((b) => b.folder).join(', ')} came to ANOTHER digest`
        : repeated.length === 0
          ? '0 (give the same command again)'
          : String(repeated.length),
      contradicted.length === 0 && repeated.length >= t.repeatedRuns,
      (contradicted.length > 0 ? contradicted : repeated).map(restOf),
    ),
  ]
}
/** Net P&L by fill model over the tapes that have it, in the order of the models. */
function netsOf(bands: readonly Band[]): readonly { readonly model: FillModelName; readonly net: number }[] {
  const models = ['strict', 'queue', 'touch', 'quotes', 'prints'] as const
  return models.flatMap((model) => {
    const runs = bands.flatMap((b) => b.models.get(model) ?? [])
    return runs.length === 0 ? [] : [{ model, net: runs.reduce((a, b) => a + b.net, 0) }]
  })
}
function withoutBest(runs: readonly Backtest[]): number | null {
  const byMarket = new Map<string, number>()
  for (const m of runs.flatMap((b) => b.markets)) byMarket.set(m.ticker, (byMarket.get(m.ticker) ?? 0) + m.pnl)
  if (byMarket.size <= 5) return null
  const best = [...byMarket.values()].sort((a, b) => b - a).slice(0, 5)
  return runs.reduce((a, b) => a + b.net, 0) - best.reduce((a, x) => a + Math.max(0, x), 0)
}

// ---------------------------------------------------------------------------------------------------- paper

function demoGates(papers: readonly Paper[], { backtests, drills }: Evidence, t: Thresholds['demo']): Gate[] {
  const rests = papers.map(restOf)
  const days = daysOf(papers)
  const fills = papers.reduce((a, p) => a + p.fills, 0)
  const traded = papers.filter((p) => p.fills > 0)
  const pairs = traded.map((paper) => ({ paper, back: twinOf(paper, backtests) }))
  const compared = pairs.flatMap(({ paper, back }) => (back === null ? [] : [{ paper, back, ...apart(paper, back) }]))
  const near = compared.every((c) => c.share <= t.fillsApartShare && c.cents <= t.centsApart)
  const [share, cents] = [Math.max(0, ...compared.map((c) => c.share)), Math.max(0, ...compared.map((c) => c.cents))]
  const replayed = papers.filter((p) => p.replayed === true)
  const diverged = papers.filter((p) => p.replayed === false)
  const troubled = papers.filter((p) => p.incidents.length > 0)
  return [
    gate('demo', 'days of paper', `≥ ${t.days}`, days.toFixed(1), days >= t.days, rests),
    gate('demo', 'fills on paper', `≥ ${t.fills}`, String(fills), fills >= t.fills, rests),
    gate(
      'demo',
      'paper as its backtest',
      `each: fills ≤ ${percent(t.fillsApartShare)} apart, ≤ ${t.centsApart} ¢ a contract`,
      traded.length === 0
        ? 'no session with a fill'
        : `${compared.length} of ${traded.length} compared${compared.length === 0 ? ' (backtest --tape <session>/tape)' : `: at most ${percent(share)}, ${cents.toFixed(2)} ¢`}`,
      traded.length > 0 && compared.length === traded.length && near,
      compared.flatMap((c) => [restOf(c.paper), restOf(c.back)]),
    ),
    gate(
      'demo',
      'replays equal',
      'every session',
      papers.length === 0
        ? 'no session'
        : diverged.length > 0
          ? `${diverged.map((p) => p.folder).join(', ')} DIVERGED`
          : `${replayed.length} of ${papers.length}`,
      papers.length > 0 && replayed.length === papers.length,
      (diverged.length > 0 ? diverged : replayed).map(restOf),
    ),
    incidentGate('demo', papers, troubled, t.incidents),
    ...drillGates('demo', drills, t.drills),
  ]
}
/** The backtest of a session's own tape, with its fill model. */
function twinOf(paper: Paper, backtests: readonly Backtest[]): Backtest | null {
  const { manifest } = paper.header.tape
  if (manifest === '') return null
  return backtests.find((b) => b.complete && b.header.tape.manifest === manifest && b.header.fills === paper.header.fills) ?? null
}
function apart(paper: Paper, back: Backtest): { readonly share: number; readonly cents: number } {
  // Money a hundredth of a contract → cents a contract.
  const cents = (r: Paper | Backtest): number => (r.filled === 0 ? 0 : (r.net / r.filled) * 1e-2)
  return {
    share: Math.abs(paper.fills - back.fills) / Math.max(1, paper.fills, back.fills),
    cents: Math.abs(cents(paper) - cents(back)),
  }
}

// ---------------------------------------------------------------------------------------------------- demo and production

function canaryGates(demos: readonly Live[], drills: readonly Drill[], t: Thresholds['canary']): Gate[] {
  const rests = demos.map(restOf)
  const days = daysOf(demos)
  const fills = demos.reduce((a, l) => a + l.fills, 0)
  const passes = demos.reduce((a, l) => a + (l.proof?.reconciliations.passes ?? 0), 0)
  const kill = latest(drills, 'kill')
  const open = kill?.figures['nothingOpenMs']
  return [
    gate('canary', 'days at the demo exchange', `≥ ${t.days}`, days.toFixed(1), days >= t.days, rests),
    gate('canary', 'fills there', `≥ ${t.fills}`, String(fills), fills >= t.fills, rests),
    gate('canary', 'reconciliations', `≥ ${t.reconciliations}`, String(passes), passes >= t.reconciliations, rests),
    ...bookGates('canary', demos),
    incidentGate('canary', demos, troubledOf(demos), t.incidents),
    ...drillGates('canary', drills, t.drills),
    gate(
      'canary',
      'halt to nothing open',
      `≤ ${t.killSeconds} s`,
      open === undefined ? 'not measured' : `${(open / 1000).toFixed(2)} s`,
      kill?.passed === true && open !== undefined && open <= t.killSeconds * 1000,
      kill === undefined ? [] : [{ folder: kill.folder, digest: '' }],
    ),
  ]
}

function liveGates(canaries: readonly Live[], t: Thresholds['live']): Gate[] {
  const rests = canaries.map(restOf)
  const days = daysOf(canaries)
  const fills = canaries.reduce((a, l) => a + l.fills, 0)
  const traded = canaries.filter((l) => l.fills > 0)
  const slips = traded.map((l) => l.proof?.slippageCents ?? null)
  const known = slips.filter((s) => s !== null)
  const most = known.length === 0 ? null : Math.max(...known)
  return [
    gate('live', 'days as a canary', `≥ ${t.days}`, days.toFixed(1), days >= t.days, rests),
    gate('live', 'fills as a canary', `≥ ${t.fills}`, String(fills), fills >= t.fills, rests),
    gate(
      'live',
      'slippage',
      `each ≤ ${t.slippageCents} ¢ a contract`,
      most === null ? 'not compared' : `at most ${most.toFixed(2)} ¢ (${known.length} of ${traded.length} compared)`,
      most !== null && known.length === traded.length && most <= t.slippageCents,
      traded.map(restOf),
    ),
    ...bookGates('live', canaries),
    incidentGate('live', canaries, troubledOf(canaries), t.incidents),
  ]
}

/** Books that agreed with the exchange's, and no write left unknown. */
function bookGates(level: Level, lives: readonly Live[]): Gate[] {
  const differences = lives.reduce((a, l) => a + (l.proof?.reconciliations.differences ?? 0), 0)
  const unresolved = lives.reduce((a, l) => a + (l.proof?.unknown.unresolved ?? 0), 0)
  const total = lives.reduce((a, l) => a + (l.proof?.unknown.total ?? 0), 0)
  const said = (text: string): string => (lives.length === 0 ? 'no session' : text)
  return [
    gate(
      level,
      'differences with the exchange',
      'none',
      said(String(differences)),
      lives.length > 0 && differences === 0,
      lives.map(restOf),
    ),
    gate(
      level,
      'unknown outcomes resolved',
      'all',
      said(`${total - unresolved} of ${total}`),
      lives.length > 0 && unresolved === 0,
      lives.map(restOf),
    ),
  ]
}
function troubledOf(lives: readonly Live[]): readonly Live[] {
  return lives.filter((l) => l.incidents.length > 0)
}
function incidentGate(level: Level, all: readonly (Paper | Live)[], troubled: readonly (Paper | Live)[], most: number): Gate {
  const found =
    all.length === 0
      ? 'no session'
      : troubled.length === 0
        ? '0'
        : `${troubled.length}: ${troubled.map((r) => `${r.folder} (${r.incidents.join('; ')})`).join(', ')}`
  return gate(
    level,
    'sessions with an incident',
    `≤ ${most}`,
    found,
    all.length > 0 && troubled.length <= most,
    (troubled.length > 0 ? troubled : all).map(restOf),
  )
}
function drillGates(level: Level, drills: readonly Drill[], names: readonly string[]): Gate[] {
  return names.map((name) => {
    const drill = latest(drills, name)
    const found =
      drill === undefined
        ? 'never run'
        : drill.passed
          ? `passed ${drill.runs} times (${drill.time.slice(0, 10)})`
          : `FAILED: ${drill.failures[0] ?? 'it does not say how'}`
    return gate(
      level,
      `drill ${name}`,
      'passed',
      found,
      drill?.passed === true && drill.runs > 0,
      drill === undefined ? [] : [{ folder: drill.folder, digest: '' }],
    )
  })
}
/** The last one counts: what failed since is not passed. */
function latest(drills: readonly Drill[], name: string): Drill | undefined {
  return drills.filter((d) => d.name === name).sort((a, b) => Date.parse(b.time) - Date.parse(a.time))[0]
}

// ---------------------------------------------------------------------------------------------------- counting

function gate(level: Level, name: string, wanted: string, found: string, passed: boolean, rests: readonly Rest[]): Gate {
  return { level, name, wanted, found, passed, rests }
}
function restOf({ folder, digest }: Rest): Rest {
  return { folder, digest }
}
/** Days that they cover together: hours that two of them share are counted once. */
function daysOf(runs: readonly { readonly from: number; readonly to: number }[]): number {
  let [sum, until] = [0, Number.NEGATIVE_INFINITY]
  for (const { from, to } of [...runs].sort((a, b) => a.from - b.from)) {
    if (to <= until) continue
    sum += to - Math.max(from, until)
    until = to
  }
  return sum / DAY
}
function percent(share: number): string {
  return `${Number((share * 100).toFixed(2))} %`
}
function money(millionths: number): string {
  return `${millionths < 0 ? '−' : ''}$${(Math.abs(millionths) / 1e6).toFixed(2)}`
}
