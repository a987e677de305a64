/**
 * `tapeline resume` of a live session. Owns its order: a reason and a typed confirmation, the order groups reset, the latch last, then the engine told. Invariant: a resume that fails on its way leaves the
 * halt as it was.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { KalshiError } from '../../adapters/kalshi/errors.ts'
import { logInputs } from '../../data/session-inputs.ts'
import { UsageError } from '../exit.ts'
import { liftHalt, readHalt } from '../halt.ts'
import type { Outcome } from '../output.ts'
import { lifeOf } from '../session-status.ts'
import { confirmed } from './confirm.ts'
import { engineWord, type EngineWord } from './engine-word.ts'
import { note } from './operator-log.ts'
import { liveBelow, reach, snapshotOf, type KeyArguments, type LivePlace } from './place.ts'
import { sessionFiles } from './session-files.ts'
import { explainTrouble, waitingIncidents, type Incident } from './troubles.ts'

export type ResumeRequest = KeyArguments & { readonly reason: string; readonly dryRun: boolean; readonly confirm: string | undefined }
export type ResumeResult = {
  readonly session: string
  readonly lifted: boolean
  readonly was: string | null
  readonly groups: readonly { readonly id: string; readonly outcome: string }[]
  readonly engine: EngineWord
  /** What waits for the word of a person; null: the log could not be read. */
  readonly troubles: readonly Pick<Incident, 'class' | 'scope' | 'cause'>[] | null
}

export async function resumeLive(place: LivePlace, request: ResumeRequest): Promise<Outcome<ResumeResult>> {
  const reason = request.reason.trim()
  if (reason === '')
    throw new UsageError('a live session is resumed for a reason: say what was wrong and why it is not any more, with --reason')
  const halt = readHalt(place.sessions)
  const phrase = `RESUME ${place.name}`
  const troubles = troublesOf(place.dir)
  const before = snapshotOf(place.dir)
  const running = before !== null && lifeOf(before, Date.now()) === 'running'
  const result = {
    session: place.dir,
    lifted: false,
    was: halt?.reason ?? null,
    groups: [],
    engine: { life: 'unknown', pid: null, acknowledged: null },
    troubles,
  } as const
  const open = troublesText(troubles, running)
  if (!request.dryRun) {
    process.stderr.write(`${open.join('\n')}\n`)
    await confirmed(request.confirm, phrase)
  }
  const line = await reach(place, request)
  let groups: readonly { readonly id: string; readonly outcome: string }[]
  try {
    // The halt that stands is the one that is being taken back.
    const stopper = line.kalshi.stopper(place.subaccount, () => null)
    const { order_groups: listed } = await line.kalshi.rest.get('orderGroups', { subaccount: place.subaccount })
    const known = (listed ?? []).map((g) => ({ id: g.id, shard: g.exchange_index ?? null }))
    if (request.dryRun) return dryResume(place, result, halt?.path ?? null, known, open)
    note(place.dir, { what: 'resume', reason, halt: halt?.reason ?? null, troubles, groups: known.map((g) => g.id) })
    groups = await stopper.reset(known)
  } finally {
    await line.close()
  }
  const failed = groups.filter((g) => g.outcome !== 'acknowledged')
  if (failed.length > 0)
    throw new KalshiError(
      'REFUSED',
      `${failed.length} of ${groups.length} order groups were not reset (${failed
        .map((g) => `${g.id}: ${g.outcome}`)
        .join(', ')
        .slice(0, 300)}): the session is still halted; try again`,
    )
  const lifted = liftHalt(place.sessions)
  const flag = performance.now()
  const engine = await engineWord(place.dir, 'resume', reason, () => Math.round(performance.now() - flag))
  note(place.dir, { what: 'resumed', reason, lifted, engine })
  const others = liveBelow(place.sessions).filter((dir) => dir !== join(place.sessions, place.name))
  const stood = [
    ...(lifted ? [`the halt is taken back (it was: ${halt?.reason ?? ''})`] : []),
    ...(before?.state.name === 'halted'
      ? [`the session itself was halted${before.state.cause === null ? '' : ` (${before.state.cause})`}`]
      : []),
  ]
  const text = [
    `RESUMED  ${place.dir}: ${stood.length === 0 ? 'no halt stood' : stood.join('; ')}; ${groups.length} order groups reset`,
    engine.acknowledged !== null
      ? `the engine (process ${engine.pid ?? 0}) takes it: it trades when it has compared orders, fills, positions and cash with the exchange`
      : engine.life === 'running'
        ? `the engine (process ${engine.pid ?? 0}) did not answer: look at \`tapeline status ${place.dir}\``
        : `no engine runs; to go on\n  1. ${armCommandOf(place)}\n  2. tapeline live --resume ${place.dir}`,
    ...(engine.acknowledged === null && troubles !== null && troubles.length > 0
      ? [`the troubles are not cleared, since no engine took the word: when it runs, \`tapeline resume ${place.dir}\` clears them`]
      : []),
  ]
  return {
    data: { ...result, lifted, groups, engine },
    text: text.join('\n'),
    warnings: others.length === 0 ? [] : [`the latch held for every session in ${place.sessions}: ${others.join(', ')} may go on too`],
  }
}
function dryResume(
  place: LivePlace,
  result: ResumeResult,
  latch: string | null,
  groups: readonly { readonly id: string }[],
  open: readonly string[],
): Outcome<ResumeResult> {
  const snapshot = snapshotOf(place.dir)
  const running = snapshot !== null && lifeOf(snapshot, Date.now()) === 'running'
  const lines = [
    'DRY RUN: nothing was written and nothing sent but reads',
    ...open,
    ...groups.map((g) => `would send    PUT /portfolio/order_groups/${g.id}/reset`),
    latch === null ? 'latch         none stands' : `would remove  ${latch}`,
    running ? `would tell    the engine (process ${snapshot.pid}): resume` : 'engine        not running: nobody to tell',
    `would need    --confirm "RESUME ${place.name}"`,
  ]
  return { data: result, text: lines.join('\n') }
}

/** A log that cannot be read holds nobody back: null. */
function troublesOf(dir: string): Incident[] | null {
  const log = join(dir, 'log')
  if (!existsSync(log)) return []
  try {
    return waitingIncidents(logInputs(log))
  } catch {
    return null
  }
}
function troublesText(troubles: readonly Incident[] | null, running: boolean): string[] {
  if (troubles === null) return ['troubles      not known: the log of the session cannot be read']
  if (troubles.length === 0) return ['troubles      none waits for a resume']
  return [
    `troubles      ${running ? 'a resume clears these, so look at each' : 'these wait for a resume of the engine when it runs again'}:`,
    ...troubles.map((i) => `  ${explainTrouble(i)}`),
  ]
}
/** Its beginning: what it does not name has to be the same as then. */
function armCommandOf({ dir }: LivePlace): string {
  const rest = 'with the markets, limits and exchange of then (an arm is good for one session)'
  try {
    const { strategies, parameters } = sessionFiles(dir).plan
    return `tapeline live arm ${[...strategies, ...parameters.map((p) => `--param ${p}`)].join(' ')} … ${rest}`
  } catch {
    return `tapeline live arm … ${rest}, the strategy and its parameters`
  }
}
