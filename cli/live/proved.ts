/**
 * What was proved against what is about to run. Owns which promotion an environment asks for and what counts as a difference; hides records. Invariants: nothing lacks only if code, parameters, level and caps
 * are those of a promotion whose runs still stand; every difference is named, harmless or not.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Limits } from '../../engine/session.ts'
import { LIMIT_NAMES, LIMIT_SCALES } from '../config/limits.ts'
import type { Identity } from '../promote/identity.ts'
import { promotionOf, promotionPath, relativesOf, type Promotion } from '../promote/record.ts'
import { LEVELS, type Level } from '../promote/thresholds.ts'
import type { Sealed } from '../sealed.ts'

export type Proved = {
  readonly promotion: { readonly file: string; readonly record: Sealed<Promotion> } | null
  /** Why it may not go without --unproven, one sentence each. */
  readonly lacks: readonly string[]
  /** What else is not as it was. */
  readonly differences: readonly string[]
}

/** Real orders at a local exchange are a rehearsal; real money starts as a canary. */
function needed(environment: string): Level {
  return environment === 'production' ? 'canary' : environment === 'demo' ? 'demo' : 'paper'
}

/** Throws TAMPERED for a record that was changed. */
export function provedOf(of: {
  readonly sessions: string
  readonly identity: Identity
  readonly environment: string
  readonly limits: Limits
  readonly version: string
}): Proved {
  const { sessions, identity, environment, limits, version } = of
  const level = needed(environment)
  const place = environment === 'demo' || environment === 'production' ? environment : 'a local exchange'
  const ask = `\`tapeline promote status ${identity.name.replaceAll('+', ' ')}\` says what it needs`
  const record = promotionOf(sessions, identity)
  if (record === null) {
    const [was] = relativesOf(sessions, identity)
    return {
      promotion: null,
      lacks: [`${identity.name} ${identity.hash.slice(0, 8)} has no promotion, and ${place} asks for ${level}: ${ask}`],
      differences:
        was === undefined
          ? []
          : [`promoted is another ${was.name} (${was.hash.slice(0, 8)}, to ${was.level})`, ...partsApart(was, identity)],
    }
  }
  const lacks: string[] = []
  const differences: string[] = []
  if (record.practice && (environment === 'demo' || environment === 'production'))
    lacks.push(`its promotion counts practice data, which opens a local exchange alone: ${ask}`)
  if (LEVELS.indexOf(record.level) < LEVELS.indexOf(level))
    lacks.push(`it is promoted to ${record.level}, and ${place} asks for ${level}: ${ask}`)
  if (environment === 'production' && record.level === 'canary') {
    const { sessionLossDollars, orderContracts } = record.canary
    if (limits.sessionLossMax > sessionLossDollars * 1e6)
      lacks.push(`a canary may lose $${sessionLossDollars}, and limits.sessionLossDollars is ${limits.sessionLossMax / 1e6}: lower it`)
    if (limits.orderMax > orderContracts * 100)
      lacks.push(
        `an order of a canary has at most ${orderContracts} contracts, and limits.orderContracts is ${limits.orderMax / 100}: lower it`,
      )
  }
  if (record.version !== version) differences.push(`it was proved with Tapeline ${record.version}, and this is ${version}`)
  for (const name of record.limits === null ? [] : LIMIT_NAMES) {
    const { field, scale } = LIMIT_SCALES[name]
    const was = (record.limits as Limits)[field]
    if (limits[field] === was) continue
    const text = `limits.${name} was ${was / scale} and is ${limits[field] / scale}`
    if (limits[field] > was) lacks.push(`${text}: it was never run with so much; lower it, or prove it so`)
    else differences.push(`${text} (tighter)`)
  }
  lacks.push(...runsApart(record))
  return { promotion: { file: promotionPath(sessions, identity), record }, lacks, differences }
}

function partsApart(was: Promotion, identity: Identity): string[] {
  return identity.parts.flatMap((part, i) => {
    const other = was.strategies[i]
    if (other === undefined || other.name !== part.name) return []
    const names = [...new Set([...Object.keys(other.parameters), ...Object.keys(part.parameters)])]
    return [
      ...(other.code === part.code ? [] : [`the code of ${part.name} was ${other.code.slice(0, 14)} and is ${part.code.slice(0, 14)}`]),
      ...names
        .filter((n) => other.parameters[n] !== part.parameters[n])
        .map((n) => `${part.name}.${n} was ${String(other.parameters[n])} and is ${String(part.parameters[n])}`),
    ]
  })
}

/** Runs that it rests on and that are something else by now. One that is gone proves as much as before: the record has what it was. */
function runsApart(record: Promotion): string[] {
  const rests = new Map(record.gates.flatMap((g) => g.rests).map((r) => [r.folder, r.digest]))
  return [...rests].flatMap(([folder, digest]) => {
    const end = join(folder, 'end.json')
    if (digest === '' || !existsSync(end)) return []
    let now: unknown
    try {
      now = (JSON.parse(readFileSync(end, 'utf8')) as { digest?: unknown }).digest
    } catch {
      now = null
    }
    return now === digest ? [] : [`${folder}, which its promotion rests on, is another run by now: promote it anew`]
  })
}
