/**
 * Where a live session is: its folder, its exchange, its subaccount, whose key. Owns what is read of a session that may be dead, hung or half written; hides its files. Invariant: what one file does not say
 * is looked for in the next, and what none says is asked of the command line in one sentence.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { KalshiLive } from '../../adapters/kalshi/live.ts'
import type { World } from '../../adapters/kalshi/ports.ts'
import type { ConfigArguments } from '../config-command.ts'
import { EXIT, UsageError } from '../exit.ts'
import { readSnapshot, type SessionSnapshot } from '../session-status.ts'

export type LivePlace = {
  readonly dir: string
  readonly name: string
  /** Folder of the latch that the session's gate reads. */
  readonly sessions: string
  /** `demo`, `production`, or the address of an exchange on this machine. */
  readonly environment: string
  readonly subaccount: number
  /** What its client order ids begin with. */
  readonly nonce: string | null
  readonly keyId: string | null
  readonly keyFile: string | null
  /** Of a local exchange with a clock of its own. */
  readonly clock: string | null
}
export type KeyArguments = Pick<ConfigArguments, 'config' | 'profile'> & {
  keyId: string | undefined
  keyFile: string | undefined
  clock: string | undefined
}

/** Null: it is no live session. */
export function placeOf(dir: string): LivePlace | null {
  const plan = jsonOf(join(dir, 'live.json'))
  const header = jsonOf(join(dir, 'session.json'))
  if (!existsSync(join(dir, 'live.json')) && header['mode'] !== 'live' && snapshotOf(dir)?.mode !== 'live') return null
  const live = objectOf(header['live'])
  const environment = textOf(plan['environment']) ?? textOf(live['environment'])
  const subaccount = plan['subaccount'] ?? live['subaccount']
  if (environment === null || typeof subaccount !== 'number' || !Number.isSafeInteger(subaccount) || subaccount < 0)
    throw new UsageError(
      `${dir} does not say where it trades any more (live.json and session.json are gone or damaged): cancel its orders on the exchange's own page`,
      EXIT.data,
      'NOT_A_SESSION',
    )
  return {
    dir,
    name: basename(resolve(dir)),
    sessions: dirname(resolve(dir)),
    environment,
    subaccount,
    nonce: textOf(live['nonce']),
    keyId: textOf(plan['keyId']),
    keyFile: textOf(plan['keyFile']),
    clock: textOf(plan['clock']),
  }
}
export function snapshotOf(dir: string): SessionSnapshot | null {
  try {
    return readSnapshot(dir)
  } catch {
    return null
  }
}
/** Live sessions below a folder that no end came to. */
export function liveBelow(sessions: string): string[] {
  return liveSessions(sessions).filter((dir) => (snapshotOf(dir)?.ended ?? null) === null)
}
/** Of each account that a live session below a folder traded, the one that said something last. Of local exchanges, which come and go, only where nothing was said later anywhere. */
export function liveAccounts(sessions: string): { readonly dirs: readonly string[]; readonly skipped: readonly string[] } {
  const last = new Map<string, { readonly dir: string; readonly written: number; readonly local: boolean }>()
  const places = livePlaces(sessions)
  for (const { dir, environment, keyId, subaccount } of places) {
    const written = snapshotOf(dir)?.written ?? 0
    const account = JSON.stringify([environment, keyId, subaccount])
    if (written >= (last.get(account)?.written ?? 0))
      last.set(account, { dir, written, local: environment !== 'demo' && environment !== 'production' })
  }
  const newest = Math.max(...[...last.values()].map(({ written }) => written))
  const dirs = [...last.values()].filter(({ local, written }) => !local || written === newest).map(({ dir }) => dir)
  return { dirs, skipped: liveSessions(sessions).filter((dir) => !places.some((p) => p.dir === dir)) }
}
/** Of folders that are live sessions and still say where they traded. */
export function livePlaces(sessions: string): LivePlace[] {
  return liveSessions(sessions).flatMap((dir) => {
    try {
      return placeOf(dir) ?? []
    } catch {
      return []
    }
  })
}
function liveSessions(sessions: string): string[] {
  let names: string[]
  try {
    names = readdirSync(sessions)
  } catch {
    return []
  }
  return names
    .map((name) => join(sessions, name))
    .filter((dir) => existsSync(join(dir, 'live.json')))
    .sort()
}

/** On a connection of its own: with the key that was named, the session's, or the one of tapeline.yaml. */
export async function reach(
  place: LivePlace,
  argv: KeyArguments,
): Promise<{ readonly kalshi: KalshiLive; readonly world: World; readonly keyId: string; close(): Promise<void> }> {
  if ((argv.keyId === undefined) !== (argv.keyFile === undefined))
    throw new UsageError(`--key-${argv.keyId === undefined ? 'file' : 'id'} was given alone: a key is --key-id and --key-file together`)
  let key = { id: argv.keyId ?? place.keyId, file: argv.keyFile ?? place.keyFile }
  if (key.id === null || key.file === null) {
    const { settingsOf } = await import('../config.ts')
    const { keyId, keyFile } = settingsOf({ config: argv.config, profile: argv.profile }).kalshi
    if (place.keyId !== null && keyId !== null && keyId !== place.keyId)
      throw new UsageError(
        `${place.dir} trades with another key than tapeline.yaml names: choose its profile, or give its --key-id and --key-file`,
        EXIT.credentials,
        'CREDENTIALS',
      )
    key = { id: keyId ?? key.id, file: keyFile ?? key.file }
  }
  if (key.id === null || key.file === null)
    throw new UsageError(
      `the key of ${place.dir} is not known here: give --key-id and --key-file, or run this where its tapeline.yaml is`,
      EXIT.credentials,
      'CREDENTIALS',
    )
  const { KalshiLive } = await import('../../adapters/kalshi/live.ts')
  const { worldOf } = await import('../live-connection.ts')
  const clock = argv.clock ?? place.clock ?? undefined
  const world = await worldOf({ clock }, place.environment, { keep() {} })
  try {
    const kalshi = new KalshiLive({ environment: place.environment, keyId: key.id, keyFile: resolve(key.file) }, world, process.env)
    return {
      kalshi,
      world,
      keyId: key.id,
      close: async () => {
        kalshi.close()
        await world.close()
      },
    }
  } catch (error) {
    await world.close()
    throw error
  }
}

function jsonOf(path: string): Readonly<Record<string, unknown>> {
  try {
    return objectOf(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    return {}
  }
}
function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}
function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
