/**
 * A session against the fill models: reading, running, judging. Owns what is read and in which order; hides the pass over the tape. Invariant: without a whole ledger nothing is compared.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DataError } from '../../data/errors.ts'
import { isWhole, readRun } from '../../data/run.ts'
import { readInputs } from '../../data/session-inputs.ts'
import { FILL_MODELS_OF, type Delays, type FillModelName, type SessionRecord } from '../../engine/session.ts'
import { judge, type OrderCase } from '../../reports/diverge/compare.ts'
import type { ModelSummary, OrderLine } from '../../reports/diverge/model.ts'
import { nearestOf, summariseModel } from '../../reports/diverge/summary.ts'
import { tradingOf, type Fill } from '../../reports/episodes.ts'
import { liveFacts, type LiveFacts, type LiveInput } from '../../reports/live/facts.ts'
import { tradedFrom } from '../../reports/live/spans.ts'
import { ledgerProblems } from '../../reports/live/ledger.ts'
import { ordersOf } from '../../reports/orders.ts'
import { failureOf, UsageError } from '../exit.ts'
import { sessionFiles, strategiesAgain, type SessionFiles } from '../live/session-files.ts'
import { silently } from '../strategy/guards.ts'
import { actsOf, delaysOf } from './acts.ts'
import { pass, type FreeRun, type Moment } from './run.ts'

export type LookedAt = {
  readonly files: SessionFiles
  readonly record: SessionRecord
  readonly inputs: readonly LiveInput[]
  /** Null: a paper session, whose venue is simulated. */
  readonly facts: LiveFacts | null
  readonly whole: boolean
}
export type Compared = LookedAt & {
  readonly delays: Delays
  readonly models: readonly { readonly summary: ModelSummary; readonly lines: readonly OrderLine[] }[]
  /** The nearest of those that were asked for; null: no order was at the venue. */
  readonly nearest: FillModelName | null
  readonly free: readonly FreeRun[]
  readonly warnings: readonly string[]
}

export async function lookAt(dir: string): Promise<LookedAt> {
  const files = sessionFiles(dir)
  const record = await readRun(dir)
  const inputs = await readInputs(dir)
  const whole = isWhole(dir)
  return { files, record, inputs, facts: record.header.mode === 'live' ? liveFacts(inputs) : null, whole }
}

/** What of the session's books does not add up; empty: they do. */
export function booksOf({ record, facts, whole }: LookedAt): string[] {
  return ledgerProblems(record, facts, whole)
}

/** `wanted`: the models to look at; null: all that the tape can carry. */
export async function compare(
  looked: LookedAt,
  wanted: readonly FillModelName[] | null,
  decode: 'worker' | 'thread' = 'worker',
): Promise<Compared> {
  const { files, record, facts } = looked
  const { header } = record
  const possible = FILL_MODELS_OF[header.tape.depth]
  const wrong = wanted?.find((m) => !possible.includes(m))
  if (wrong !== undefined)
    throw new UsageError(
      `--fills ${wrong}: the tape of this session can carry ${possible.join(', ')}: choose of these, or leave --fills away`,
    )
  if (!existsSync(join(files.dir, 'tape', 'manifest.json')))
    throw new DataError('NOT_A_TAPE', `${join(files.dir, 'tape')} is not there: a session is compared on its own tape`)
  const models = wanted ?? possible
  const warnings: string[] = []
  const acts = actsOf(record, facts)
  const trading = tradingOf(record)
  const delays = facts === null ? header.delays : delaysOf(facts, header.delays)
  const moments: Moment[] = [...acts.values()].flat().map((act) => ({ time: act.decided, act }))
  for (const q of facts?.queues ?? []) moments.push({ time: q.time, asked: { order: q.order, ahead: q.ahead } })
  const first = new Set<number>()
  for (const f of trading.fills) {
    if (f.order < 0 || first.has(f.order)) continue
    first.add(f.order)
    moments.push({ time: f.time, filled: f.order })
  }
  // Of one time the command comes first, as it did.
  moments.sort((a, b) => a.time - b.time)
  const free: { model: FillModelName; strategies: Awaited<ReturnType<typeof strategiesAgain>> }[] = []
  try {
    for (const model of models) free.push({ model, strategies: await silently(() => strategiesAgain(files)) })
  } catch (error) {
    warnings.push(`the strategies could not be run again, so there is no free run: ${failureOf(error).message}`)
  }
  const passed = await silently(() =>
    pass({
      tape: join(files.dir, 'tape'),
      header,
      models,
      moments,
      free,
      delays,
      tradesFrom: tradedFrom(record),
      decode,
    }),
  )
  const marks = new Map(record.end.markets.map((m) => [m.ticker, m.settlementValue ?? m.markPrice]))
  const fills = new Map<number, Fill[]>()
  for (const f of trading.fills) {
    const own = fills.get(f.order)
    if (own === undefined) fills.set(f.order, [f])
    else own.push(f)
  }
  const rows = ordersOf(record)
  const judged = passed.worlds.map((world) => {
    const lines = rows.map((row) => {
      const one: OrderCase = {
        row,
        fills: fills.get(row.order) ?? [],
        acts: acts.get(row.order) ?? [],
        predicted: world.predicted.get(row.order) ?? null,
        facts,
        around: passed.around.get(row.order) ?? null,
        mark: marks.get(row.market) ?? null,
      }
      return judge(one)
    })
    return { summary: summariseModel(world.model, lines), lines }
  })
  return {
    ...looked,
    delays,
    models: judged,
    nearest: nearestOf(judged.map((m) => m.summary))?.model ?? null,
    free: passed.free,
    warnings,
  }
}
