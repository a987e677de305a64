/**
 * The promotion of a strategy: who let it go how far, when, and on what it rests. Owns `<sessions>/promotions/<strategy>-<hash>.json`; hides the seal. Invariants: it is bound to the hash of code and
 * parameters, so that a changed strategy has none; a record that was changed by hand, or whose name says another strategy, is refused rather than read.
 */
import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Limits } from '../../engine/session.ts'
import { EXIT, UsageError } from '../exit.ts'
import { readSealed, writeSealed, type Sealed } from '../sealed.ts'
import { fileNameOf, type Identity, type IdentityPart } from './identity.ts'
import type { Gate } from './judge.ts'
import { LEVELS, type Level, type Thresholds } from './thresholds.ts'

const SCHEMA = 'tapeline.promotion/1'
const ADVICE = 'make a new one with `tapeline promote request`'

export type Promotion = {
  readonly schema: typeof SCHEMA
  readonly name: string
  readonly hash: string
  readonly strategies: readonly IdentityPart[]
  readonly level: Level
  /** Whether practice data counted: then it opens the local exchange alone. */
  readonly practice: boolean
  readonly time: string
  readonly by: string
  readonly version: string
  /** The limits of the latest run that it rests on, engine units; null: it rests on none. */
  readonly limits: Limits | null
  /** What a canary may have, in the units of a file of limits. */
  readonly canary: { readonly sessionLossDollars: number; readonly orderContracts: number }
  readonly gates: readonly Gate[]
  /** Earlier levels of the same strategy. */
  readonly before: readonly { readonly level: Level; readonly time: string; readonly by: string }[]
}

function folderOf(sessions: string): string {
  return join(sessions, 'promotions')
}
export function promotionPath(sessions: string, identity: Pick<Identity, 'name' | 'hash'>): string {
  return join(folderOf(sessions), `${fileNameOf(identity)}.json`)
}

function readAt(path: string): Sealed<Promotion> {
  const record = readSealed<Promotion>(path, SCHEMA, ADVICE)
  if (basename(path) !== `${fileNameOf(record)}.json`)
    throw new UsageError(
      `${path} is the promotion of ${record.name} ${record.hash.slice(0, 8)} under another name, so nothing is taken from it: ${ADVICE}`,
      EXIT.gate,
      'TAMPERED',
    )
  return record
}

/** Null: it has none. Throws TAMPERED. */
export function promotionOf(sessions: string, identity: Pick<Identity, 'name' | 'hash'>): Sealed<Promotion> | null {
  const path = promotionPath(sessions, identity)
  if (!existsSync(path)) return null
  const record = readAt(path)
  // Eight digits of a hash can be another's.
  return record.hash === identity.hash ? record : null
}

/** Promotions of strategies of the same name, the latest first: what a changed strategy was before. Those that cannot be believed are left out. */
export function relativesOf(sessions: string, { name, hash }: Identity): readonly Sealed<Promotion>[] {
  const folder = folderOf(sessions)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .flatMap((file) => {
      try {
        const record = readAt(join(folder, file))
        return record.name === name && record.hash !== hash ? [record] : []
      } catch {
        return []
      }
    })
    .sort((a, b) => Date.parse(b.time) - Date.parse(a.time))
}

export function writePromotion(
  sessions: string,
  identity: Identity,
  made: Pick<Promotion, 'level' | 'by' | 'version' | 'limits' | 'gates'>,
  thresholds: Thresholds,
): { readonly path: string; readonly record: Promotion } {
  const before = promotionOf(sessions, identity)
  if (before !== null && LEVELS.indexOf(made.level) < LEVELS.indexOf(before.level) && (before.practice || !thresholds.practice))
    throw new UsageError(
      `${identity.name} is promoted to ${before.level} already, which holds ${made.level}: to take it back, remove ${promotionPath(sessions, identity)}`,
    )
  if (before !== null && !before.practice && thresholds.practice)
    throw new UsageError(
      `${identity.name} is promoted on real data already, and practice data would take its place: leave practice out of the gates`,
    )
  const record: Promotion = {
    schema: SCHEMA,
    name: identity.name,
    hash: identity.hash,
    strategies: identity.parts,
    practice: thresholds.practice,
    time: new Date().toISOString(),
    canary: { sessionLossDollars: thresholds.canary.sessionLossDollars, orderContracts: thresholds.canary.orderContracts },
    before: before === null ? [] : [...before.before, { level: before.level, time: before.time, by: before.by }],
    ...made,
  }
  const path = promotionPath(sessions, identity)
  writeSealed(path, record)
  return { path, record }
}
