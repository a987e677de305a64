/**
 * What the report of a live session needs beside its record: its inputs, a backtest of its own tape, the paper session of the same strategy. Owns where they are found; hides the running. Invariant: what cannot
 * be had is a sentence in the report, never a failure of it.
 */
import { existsSync, readdirSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { readRun } from '../../data/run.ts'
import { readInputs, type SessionInput } from '../../data/session-inputs.ts'
import type { News } from '../../engine/news.ts'
import type { FillModelName, SessionHeader, SessionRecord } from '../../engine/session.ts'
import type { Beside, LiveParts } from '../../reports/live/parts.ts'
import { compare, lookAt, type Compared } from '../diverge/compared.ts'
import { failureOf, UsageError } from '../exit.ts'
import { flattenedSince, type FlattenedFill } from './beside.ts'
import { sessionFiles } from './session-files.ts'

export type PartOptions = {
  /** The paper session to stand beside it; null: look for one. */
  readonly paper: string | null
  /** Of the backtest column; null: the nearest. */
  readonly fills: FillModelName | null
  readonly decode?: 'worker' | 'thread'
}

/** Null: no live session, its report has no such part. */
export async function liveParts(dir: string, record: SessionRecord, { paper, fills, decode }: PartOptions): Promise<LiveParts | null> {
  if (record.header.mode !== 'live') {
    if (paper !== null) throw new UsageError(`--paper goes with a live session: ${dir} is a ${record.header.mode}`)
    return null
  }
  const beside = paper === null ? await paperBeside(dir, record) : await named(paper, record)
  const unbooked = async (): Promise<Pick<LiveParts, 'unbooked'>> => ({ unbooked: unbookedOf(dir, await readInputs(dir)) })
  let compared: Compared
  try {
    compared = await compare(await lookAt(dir), null, decode)
  } catch (error) {
    if (error instanceof UsageError) throw error
    const why = `the session's own tape could not be run: ${failureOf(error).message}`
    return { inputs: await readInputs(dir), backtest: { missing: why }, paper: beside, models: { missing: why }, ...(await unbooked()) }
  }
  const order = compared.models.map((m) => m.summary)
  const wanted = fills ?? compared.nearest ?? order[0]?.model ?? null
  const nearest = order.find((m) => m.model === compared.nearest)
  return {
    inputs: compared.inputs,
    backtest: backtestOf(compared, wanted),
    paper: beside,
    models:
      compared.nearest === null
        ? { missing: 'No order was at the venue: there is nothing to compare.' }
        : [...(nearest === undefined ? [] : [nearest]), ...order.filter((m) => m !== nearest)],
    ...(await unbooked()),
  }
}
/** What `flatten` did and the session has not heard of: it does when it goes on. */
function unbookedOf(dir: string, inputs: readonly SessionInput[]): readonly FlattenedFill[] {
  const booked = new Set(
    inputs.flatMap(({ kind, detail }) => (kind === 'news' && 'trade' in (detail as News) ? [(detail as { trade: string }).trade] : [])),
  )
  return flattenedSince(dir, 0).filter((f) => !booked.has(f.trade))
}

function backtestOf({ free, warnings, nearest }: Compared, wanted: FillModelName | null): Beside {
  const run = free.find((f) => f.model === wanted)
  if (run === undefined) return { missing: warnings[0] ?? `the tape cannot carry the fill model ${wanted ?? ''}` }
  if (run.record === null) return { missing: run.failed ?? 'it could not be run' }
  return {
    record: run.record,
    note: `the strategy run again on the session's own tape under the fill model ${run.model}${run.model === nearest ? ', the nearest to what happened,' : ''} with the delays that were measured, from when the session could first trade (what the real orders left in the book of the tape is there as anybody's)`,
  }
}

/** The same code with the same parameters. */
function strategyKey({ strategies }: SessionHeader): string {
  return JSON.stringify(strategies.map(({ name, parameters, source }) => [name, parameters, source?.sha256 ?? null]))
}
function overlap(a: SessionRecord, b: SessionRecord): number {
  const [from, to] = [
    Math.max(a.end.firstTime ?? Infinity, b.end.firstTime ?? Infinity),
    Math.min(a.end.lastTime ?? 0, b.end.lastTime ?? 0),
  ]
  return Number.isFinite(from) ? Math.max(0, to - from) : 0
}

async function named(paper: string, record: SessionRecord): Promise<Beside> {
  const { header } = sessionFiles(paper)
  if (header.mode !== 'paper') throw new UsageError(`--paper ${paper}: that is a ${header.mode} session; give a paper session`)
  const own = await readRun(paper)
  const notes = [`the paper session ${basename(resolve(paper))}`]
  if (strategyKey(header) !== strategyKey(record.header)) notes.push('of another strategy, other parameters or other code')
  const shared = overlap(record, own)
  notes.push(shared === 0 ? 'at another time' : `over ${shareText(shared, record)} of the time`)
  return { record: own, note: notes.join(', ') }
}

async function paperBeside(dir: string, record: SessionRecord): Promise<Beside> {
  const place = dirname(resolve(dir))
  let best: { readonly name: string; readonly record: SessionRecord; readonly shared: number } | null = null
  for (const name of readdirSync(place)) {
    const other = join(place, name)
    if (!existsSync(join(other, 'paper.json'))) continue
    try {
      const { header } = sessionFiles(other)
      if (strategyKey(header) !== strategyKey(record.header)) continue
      const own = await readRun(other)
      const shared = overlap(record, own)
      if (shared > (best?.shared ?? 0)) best = { name, record: own, shared }
    } catch {
      // A folder that cannot be read is no column.
    }
  }
  if (best === null)
    return { missing: 'no paper session of the same strategy over the same time stands beside this one; --paper <session> names one' }
  return { record: best.record, note: `the paper session ${best.name}, over ${shareText(best.shared, record)} of the time` }
}
function shareText(shared: number, { end }: SessionRecord): string {
  const all = (end.lastTime ?? 0) - (end.firstTime ?? 0)
  return all <= 0 ? 'part' : `${Math.round((100 * shared) / all)} %`
}
