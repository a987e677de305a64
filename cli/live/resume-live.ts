/**
 * `tapeline resume` of a live session. Owns its order: a reason and a typed confirmation, the order groups reset, the latch last, then the engine told. Invariant: a resume that fails on its way leaves the
 * halt as it was.
 */
import { join } from 'node:path'
import { KalshiError } from '../../adapters/kalshi/errors.ts'
import { UsageError } from '../exit.ts'
import { liftHalt, readHalt } from '../halt.ts'
import type { Outcome } from '../output.ts'
import { lifeOf } from '../session-status.ts'
import { confirmed } from './confirm.ts'
import { engineWord, type EngineWord } from './engine-word.ts'
import { note } from './operator-log.ts'
import { liveBelow, reach, snapshotOf, type KeyArguments, type LivePlace } from './place.ts'

export type ResumeRequest = KeyArguments & { readonly reason: string; readonly dryRun: boolean; readonly confirm: string | undefined }
export type ResumeResult = {
  readonly session: string
  readonly lifted: boolean
  readonly was: string | null
  readonly groups: readonly { readonly id: string; readonly outcome: string }[]
  readonly engine: EngineWord
}

export async function resumeLive(place: LivePlace, request: ResumeRequest): Promise<Outcome<ResumeResult>> {
  const reason = request.reason.trim()
  if (reason === '')
    throw new UsageError('a live session is resumed for a reason: say what was wrong and why it is not any more, with --reason')
  const halt = readHalt(place.sessions)
  const phrase = `RESUME ${place.name}`
  const result = {
    session: place.dir,
    lifted: false,
    was: halt?.reason ?? null,
    groups: [],
    engine: { life: 'unknown', pid: null, acknowledged: null },
  } as const
  if (!request.dryRun) await confirmed(request.confirm, phrase)
  const line = await reach(place, request)
  let groups: readonly { readonly id: string; readonly outcome: string }[]
  try {
    // The halt that stands is the one that is being taken back.
    const stopper = line.kalshi.stopper(place.subaccount, () => null)
    const { order_groups: listed } = await line.kalshi.rest.get('orderGroups', { subaccount: place.subaccount })
    const known = (listed ?? []).map((g) => ({ id: g.id, shard: g.exchange_index ?? null }))
    if (request.dryRun) return dryResume(place, result, halt?.path ?? null, known)
    note(place.dir, { what: 'resume', reason, halt: halt?.reason ?? null, groups: known.map((g) => g.id) })
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
  const text = [
    `RESUMED  ${place.dir}: ${lifted ? `the halt is taken back (it was: ${halt?.reason ?? ''})` : 'no halt stood'}; ${groups.length} order groups reset`,
    engine.acknowledged !== null
      ? `the engine (process ${engine.pid ?? 0}) takes it: it trades when it has compared orders, fills, positions and cash with the exchange`
      : engine.life === 'running'
        ? `the engine (process ${engine.pid ?? 0}) did not answer: look at \`tapeline status ${place.dir}\``
        : `no engine runs: \`tapeline live --resume ${place.dir}\` goes on`,
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
): Outcome<ResumeResult> {
  const snapshot = snapshotOf(place.dir)
  const running = snapshot !== null && lifeOf(snapshot, Date.now()) === 'running'
  const lines = [
    'DRY RUN: nothing was written and nothing sent but reads',
    ...groups.map((g) => `would send    PUT /portfolio/order_groups/${g.id}/reset`),
    latch === null ? 'latch         none stands' : `would remove  ${latch}`,
    running ? `would tell    the engine (process ${snapshot.pid}): resume` : 'engine        not running: nobody to tell',
    `would need    --confirm "RESUME ${place.name}"`,
  ]
  return { data: result, text: lines.join('\n') }
}
