/**
 * `tapeline halt` of a live session. Owns its order: the latch before everything, the engine told and not waited for, everything taken back on a connection of its own, and proved. Hides requests
 * (adapters/kalshi/venue/stopper.ts). Invariants: no step waits for one that may hang; what is not proved is called not proved.
 */
import { join } from 'node:path'
import type { OrderFact, StopPlan, StopReport } from '../../adapters/kalshi/live.ts'
import { EXIT, failureOf, type Failure } from '../exit.ts'
import { haltFile, readHalt, writeHalt, type Latched } from '../halt.ts'
import { tableText, type Outcome } from '../output.ts'
import { lifeOf } from '../session-status.ts'
import { engineWord, type EngineWord } from './engine-word.ts'
import { note } from './operator-log.ts'
import { liveBelow, reach, snapshotOf, type KeyArguments, type LivePlace } from './place.ts'

export type HaltRequest = KeyArguments & { readonly reason: string; readonly dryRun: boolean /** µs. */; readonly patience: number }

/** ms after the flag. */
export type HaltResult = {
  readonly session: string
  readonly latch: Latched
  readonly engine: EngineWord
  readonly cancelsSent: number | null
  readonly provedEmpty: number | null
  /** The newest order of the account; before the flag it is negative. `uncertainty`: the clocks are compared in whole seconds. */
  readonly lastCreate: { readonly at: number; readonly uncertainty: number; readonly order: string } | null
  readonly createdAfter: number | null
  readonly groups: readonly { readonly id: string; readonly triggered: boolean }[]
  readonly steps: readonly {
    readonly what: string
    readonly which: string
    readonly sent: number | null
    readonly answered: number
    readonly outcome: string
  }[]
  readonly left: readonly OrderFact[] | null
  readonly doubt: string | null
  readonly failure: Failure | null
}

/** Every session at once: none waits for another. */
export async function haltAll(
  places: readonly LivePlace[],
  request: HaltRequest,
): Promise<Outcome<{ readonly sessions: readonly (HaltResult | { readonly plan: StopPlan | null })[] }>> {
  const outcomes = await Promise.all(places.map((place) => haltLive(place, request, places)))
  const errors = outcomes.flatMap((o) => (o.error === undefined ? [] : [o.error]))
  const [error] = errors
  return {
    data: { sessions: outcomes.map((o) => o.data) },
    text: outcomes.map((o) => o.text ?? '').join('\n\n'),
    warnings: outcomes.flatMap((o) => o.warnings ?? []),
    exit: outcomes.find((o) => (o.exit ?? EXIT.ok) !== EXIT.ok)?.exit ?? EXIT.ok,
    ...(error === undefined ? {} : { error: { code: error.code, message: errors.map((e) => e.message).join('; ') }, errors }),
  }
}

async function haltLive(
  place: LivePlace,
  request: HaltRequest,
  all: readonly LivePlace[],
): Promise<Outcome<HaltResult | { readonly plan: StopPlan | null }>> {
  if (request.dryRun) return dryHalt(place, request)
  // First of all, and before anything that could fail or wait.
  const latch = writeHalt(place.sessions, request.reason === '' ? 'halted by the operator' : request.reason, `tapeline halt ${place.name}`)
  const flag = performance.now()
  const since = (): number => Math.round((performance.now() - flag) * 10) / 10
  const word = engineWord(place.dir, 'halt', request.reason, since)
  let report: StopReport | null = null
  let failure: Failure | null = null
  /** µs of the connection's clock at the flag. */
  let zero = 0
  try {
    const line = await reach(place, request)
    try {
      zero = line.world.clock.now() - (performance.now() - flag) * 1000
      report = await line.kalshi.stopper(place.subaccount, () => 'halt').stop(request.patience)
    } finally {
      await line.close()
    }
  } catch (error) {
    failure = failureOf(error)
  }
  const engine = await word
  const result = resultOf(place, latch, engine, report, zero, failure)
  const kept = note(place.dir, { what: 'halt', reason: request.reason, ...result, failure: failure?.message ?? null })
  return outcomeOf(place, result, kept, all)
}

function resultOf(
  place: LivePlace,
  latch: Latched,
  engine: EngineWord,
  report: StopReport | null,
  zero: number,
  failure: Failure | null,
): HaltResult {
  const ms = (time: number): number => Math.round((time - zero) / 100) / 10
  const offset = report?.offset ?? null
  return {
    session: place.dir,
    latch,
    engine,
    cancelsSent: report?.cancelsSent == null ? null : ms(report.cancelsSent),
    provedEmpty: report?.proved == null ? null : ms(report.proved),
    lastCreate:
      report?.newest == null || offset === null
        ? null
        : { at: ms(report.newest.created - offset.offset), uncertainty: Math.round(offset.uncertainty / 1000), order: report.newest.id },
    createdAfter: report?.createdAfter ?? null,
    groups: report?.groups.map(({ id, triggered }) => ({ id, triggered })) ?? [],
    steps:
      report?.steps.map(({ what, which, sent, ended, outcome }) => ({
        what,
        which,
        sent: sent === null ? null : ms(sent),
        answered: ms(ended),
        outcome,
      })) ?? [],
    left: report?.left ?? null,
    doubt: report?.doubt ?? null,
    failure: failure ?? (report?.refused === true ? REFUSED : null),
  }
}
const REFUSED: Failure = {
  exit: EXIT.credentials,
  code: 'AUTH',
  message:
    'the exchange does not believe the key: check the key, its environment and the clock of this machine, or give another by --key-id and --key-file',
}

function outcomeOf(place: LivePlace, result: HaltResult, kept: string | null, all: readonly LivePlace[]): Outcome<HaltResult> {
  const { latch, engine, provedEmpty, left, doubt, failure } = result
  const proved = provedEmpty !== null
  const warnings: string[] = []
  if (latch.failure !== null)
    warnings.push(
      latch.stands
        ? `${latch.path} stands, but could not be written whole (${latch.failure})`
        : `${latch.path} COULD NOT BE WRITTEN (${latch.failure}): the engine is not held back by it; end its process${engine.pid === null ? '' : ` (${engine.pid})`}`,
    )
  if (engine.life === 'running' && engine.acknowledged === null)
    warnings.push(`the engine (process ${engine.pid ?? 0}) did not answer: the latch holds it back; end the process if it must go`)
  const others = liveBelow(place.sessions).filter((dir) => !all.some((p) => join(p.sessions, p.name) === dir))
  if (others.length > 0)
    warnings.push(
      `the latch holds for every session in ${place.sessions}, but only the orders of ${place.name} were canceled: halt ${others.join(', ')} too`,
    )
  if (kept !== null) warnings.push(`${place.dir} takes no note of this (${kept})`)
  if (result.createdAfter !== null && result.createdAfter > 0)
    warnings.push(
      `${result.createdAfter} orders were created after the flag: they were on their way, or somebody else trades this subaccount`,
    )
  const exit = !latch.stands ? EXIT.data : proved ? EXIT.ok : (failure?.exit ?? EXIT.exchange)
  const unproved = `NOT PROVED that nothing is open (${failure?.message ?? doubt ?? 'orders are still shown'})${left === null ? ': what is open is not known' : left.length === 0 ? '' : `: ${left.length} orders are still shown`}; run it again, and look at the exchange's own page`
  return {
    data: result,
    text: textOf(place, result),
    warnings,
    exit,
    ...(exit === EXIT.ok
      ? {}
      : {
          error: {
            code: proved ? 'HALT_UNLATCHED' : (failure?.code ?? 'HALT_UNPROVED'),
            message: proved ? 'the latch does not stand' : unproved,
          },
        }),
  }
}

function textOf(place: LivePlace, r: HaltResult): string {
  const at = (ms: number | null): string =>
    ms === null
      ? '—'
      : `${ms < 0 ? '−' : '+'}${Math.abs(ms) >= 1000 ? `${(Math.abs(ms) / 1000).toFixed(2)} s` : `${Math.abs(ms).toFixed(0)} ms`}`
  const { engine, lastCreate, groups, left } = r
  const said =
    engine.acknowledged !== null
      ? `halted (process ${engine.pid ?? 0})`
      : engine.life === 'running'
        ? `SILENT (process ${engine.pid ?? 0})`
        : engine.life === 'ended'
          ? 'has ended'
          : 'is gone: done without it'
  const triggered = groups.filter((g) => g.triggered).length
  const rows: [string, string, string][] = [
    [
      r.latch.stands ? '0 ms' : '—',
      'flag',
      r.latch.written ? r.latch.path : r.latch.stands ? `${r.latch.path} (stood already)` : 'NOT WRITTEN',
    ],
    [at(engine.acknowledged), 'engine', said],
    [
      at(lastCreate?.at ?? null),
      'last create',
      lastCreate === null
        ? r.createdAfter === null
          ? 'not known'
          : 'no order of the last minute'
        : `${lastCreate.order} (±${lastCreate.uncertainty} ms between the clocks)`,
    ],
    [
      at(r.cancelsSent),
      'cancels sent',
      r.cancelsSent === null
        ? 'NOT ALL WERE SENT'
        : `cancel-all of subaccount ${place.subaccount}; ${triggered} of ${groups.length} order groups triggered`,
    ],
    [
      at(r.provedEmpty),
      'proved empty',
      r.provedEmpty === null ? 'NOT PROVED' : 'whole lists, younger than the last cancel, show nothing open',
    ],
  ]
  const widths = [0, 1].map((c) => Math.max(...rows.map((row) => (row[c] as string).length)))
  const lines = rows.map(([time, what, text]) => `  ${time.padStart(widths[0] ?? 0)}  ${what.padEnd(widths[1] ?? 0)}  ${text}`)
  const failed = r.steps.filter((s) => s.outcome !== 'acknowledged').slice(-5)
  const parts = [
    `${r.provedEmpty === null ? 'HALTED, NOT PROVED' : 'HALTED'}  ${place.dir} (${place.environment}, subaccount ${place.subaccount})`,
    ...lines,
    ...failed.map((s) => `  ${s.what} ${s.which}: ${s.outcome}`),
  ]
  if (left !== null && left.length > 0) parts.push('', openText(left, place))
  parts.push('positions stay as they are: `tapeline flatten` shows what closing them would cost; `tapeline resume` lets it trade again')
  return parts.join('\n')
}
function openText(orders: readonly OrderFact[], { nonce }: LivePlace): string {
  return tableText(
    ['market', 'side', 'price', 'remaining', 'order', 'whose'],
    orders
      .slice(0, 50)
      .map((o) => [
        o.ticker,
        o.side,
        (o.price / 10_000).toFixed(4),
        String(o.remaining / 100),
        o.id,
        nonce !== null && o.client?.startsWith(`${nonce}-`) === true ? 'the session' : 'NOT THE SESSION',
      ]),
  )
}

async function dryHalt(place: LivePlace, request: HaltRequest): Promise<Outcome<{ readonly plan: StopPlan | null }>> {
  const lines = ['DRY RUN: nothing was written and nothing sent but reads']
  const halt = readHalt(place.sessions)
  lines.push(halt === null ? `would write  ${haltFile(place.sessions)}` : `stands       ${halt.path}: ${halt.reason}`)
  const snapshot = snapshotOf(place.dir)
  const life = snapshot === null ? 'unknown' : lifeOf(snapshot, Date.now())
  lines.push(life === 'running' ? `would tell   the engine (process ${snapshot?.pid ?? 0}): halt` : `engine       ${life}: nobody to tell`)
  const warnings: string[] = []
  let plan: StopPlan | null = null
  try {
    const line = await reach(place, request)
    try {
      plan = await line.kalshi.stopper(place.subaccount, () => 'halt').plan()
    } finally {
      await line.close()
    }
    for (const r of plan.requests) lines.push(`would send   ${r.method} ${r.path}${r.query}${r.body === null ? '' : ` ${r.body}`}`)
    if (plan.groups === null) lines.push('would send   PUT …/trigger for each order group that is found then')
    lines.push(`would read   what rests in subaccount ${place.subaccount}, again and again, until two whole and fresh lists are empty`)
    if (plan.open !== null) lines.push(plan.open.length === 0 ? 'open now     nothing' : `open now     ${plan.open.length} orders`)
    if (plan.open !== null && plan.open.length > 0) lines.push(openText(plan.open, place))
    warnings.push(...plan.doubts.map((d) => `not known now: ${d}`))
  } catch (error) {
    const { exit, code, message } = failureOf(error)
    return { data: { plan }, text: lines.join('\n'), exit, error: { code, message } }
  }
  return { data: { plan }, text: lines.join('\n'), warnings }
}
