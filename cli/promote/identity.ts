/**
 * What a strategy is, so that proof of it can be told from proof of another. Owns the hash over code and parameters; hides nothing. Invariants: a file is what it was made of, whatever it is called and
 * wherever it lies; a built-in one is its version; strategies that run together are one thing, proved together, because limits and the rule against trading with oneself hold across all.
 */
import { createHash } from 'node:crypto'
import type { SessionHeader } from '../../engine/session.ts'

type Named = SessionHeader['strategies'][number]
export type IdentityPart = {
  readonly name: string
  readonly parameters: Named['parameters']
  /** SHA-256 of a file's code, or `built in <version>`. */
  readonly code: string
}
export type Identity = {
  /** Names with + between, as in the phrase that arms it. */
  readonly name: string
  readonly parts: readonly IdentityPart[]
  /** Over code and parameters. */
  readonly hash: string
  /** Over the code alone: what other sets of parameters share. */
  readonly code: string
}

export function identityOf(strategies: readonly Named[], version: string): Identity {
  const parts = strategies.map(({ name, parameters, source }): IdentityPart => {
    // The order in which parameters stand says nothing.
    const sorted = Object.fromEntries(Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1)))
    return { name, parameters: sorted, code: source === undefined ? `built in ${version}` : source.sha256 }
  })
  return {
    name: parts.map((p) => p.name).join('+'),
    parts,
    hash: sha256(parts.map((p) => [p.code, p.code.startsWith('built in') ? p.name : '', p.parameters])),
    code: sha256(parts.map((p) => [p.code, p.code.startsWith('built in') ? p.name : ''])),
  }
}
function sha256(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}

/** Name and hash as part of a file's name. */
export function fileNameOf({ name, hash }: Pick<Identity, 'name' | 'hash'>): string {
  return `${name.replace(/[^\p{L}\p{N}_.+-]+/gu, '-').slice(0, 80)}-${hash.slice(0, 8)}`
}
