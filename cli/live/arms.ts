/**
 * Arm records: a person's word that one live session may run, once. Owns `<sessions>/armed/`, what an arm is bound to, and its use; hides the files. Invariants: an arm is used by a rename, so of two sessions
 * one gets it; it holds until its time and not after; it fits what it was made for and nothing else, and what differs is named; a newer arm of the same account takes the place of an older.
 *
 * `<sessions>/armed/<id>.json` ready · `<sessions>/armed/spent/<id>.json` used, withdrawn or replaced, and why beside it in `<id>.why`
 */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Limits } from '../../engine/session.ts'
import type { Following } from '../config.ts'
import { EXIT, UsageError } from '../exit.ts'
import type { IdentityPart } from '../promote/identity.ts'
import type { Level } from '../promote/thresholds.ts'
import { readSealed, syncFolder, writeSealed, type Sealed } from '../sealed.ts'
import { termsApart } from './terms.ts'

const SCHEMA = 'tapeline.arm/1'
const ADVICE = 'arm anew with `tapeline live arm`'

/** What an arm is good for. Engine units. */
export type Binding = {
  readonly strategies: readonly IdentityPart[]
  /** Over code and parameters. */
  readonly hash: string
  readonly version: string
  readonly limits: Limits
  readonly environment: string
  /** SHA-256 of the key's id, the start of it. */
  readonly key: string
  readonly subaccount: number
  readonly cash: number
  readonly orderGroupContracts: number
  readonly absenceMargin: number
  readonly closeMargin: number
  /** Which markets: part of the settings, or of the command line. */
  readonly markets: Pick<Following, 'series' | 'markets' | 'closeWithin' | 'closeAfter' | 'spreadMax' | 'volumeMin' | 'marketsMax'>
}
export type Arm = Binding & {
  readonly schema: typeof SCHEMA
  readonly id: string
  readonly name: string
  /** ms of this machine's clock. */
  readonly armed: number
  readonly expires: number
  /** Whole dollars, as typed. */
  readonly acceptedDollars: number
  readonly confirmed: 'typed' | '--confirm'
  /** Null: without one. */
  readonly promotion: { readonly file: string; readonly seal: string; readonly level: Level } | null
  /** Why it goes without what it should have proved; null: it has proved it. */
  readonly unproven: string | null
  /** What differed from what was proved, as it was shown. */
  readonly differences: readonly string[]
  readonly warnings: readonly string[]
}
export type Armed = { readonly path: string; readonly arm: Arm }
/** `worstDollars`: what it comes to now; more than was accepted is refused. */
export type Wanted = Binding & { readonly name: string; readonly worstDollars: number }
export type Listed = {
  readonly path: string
  readonly arm: Sealed<Arm> | null
  readonly state: 'ready' | 'expired' | 'spent' | 'damaged'
  readonly why: string
}

export const EXPIRES_MAX = 24 * 3600 * 1000
/** By which the clock of this machine may have gone back since. */
const CLOCK_SLACK = 60_000

export function keyDigest(keyId: string): string {
  return createHash('sha256').update(keyId).digest('hex').slice(0, 16)
}
function folderOf(sessions: string): string {
  return join(sessions, 'armed')
}

/** Writes an arm, and takes away older ones of the same account. */
export function writeArm(sessions: string, made: Omit<Arm, 'schema' | 'id' | 'armed' | 'expires'>, lasts: number, now = Date.now()): Armed {
  const id = `${new Date(now).toISOString().replace(/[-:.]/g, '')}-${randomBytes(4).toString('hex')}`
  for (const { path, arm, state } of listArms(sessions, now))
    if (state !== 'spent' && arm !== null && accountOf(arm) === accountOf(made)) spend(sessions, path, `replaced by ${id}`)
  const arm: Arm = { schema: SCHEMA, id, armed: now, expires: now + lasts, ...made }
  const path = join(folderOf(sessions), `${id}.json`)
  writeSealed(path, arm)
  return { path, arm }
}
function accountOf({ environment, key, subaccount }: Binding): string {
  return JSON.stringify([environment, key, subaccount])
}

/** Every arm that is or was, the latest last. */
export function listArms(sessions: string, now = Date.now()): Listed[] {
  const at = (folder: string): string[] =>
    existsSync(folder)
      ? readdirSync(folder)
          .filter((n) => n.endsWith('.json'))
          .sort()
          .map((n) => join(folder, n))
      : []
  const look = (path: string, spent: boolean): Listed[] => {
    try {
      const arm = readSealed<Arm>(path, SCHEMA, ADVICE)
      if (spent) return [{ path, arm, state: 'spent', why: whyOf(path) }]
      return now >= arm.expires
        ? [{ path, arm, state: 'expired', why: `it expired ${spanText(now - arm.expires)} ago` }]
        : [{ path, arm, state: 'ready', why: `for ${spanText(arm.expires - now)} more` }]
    } catch (error) {
      // It was taken since its name was read, and is among the spent by now.
      if (!spent && !existsSync(path)) return []
      return [{ path, arm: null, state: spent ? 'spent' : 'damaged', why: error instanceof Error ? error.message : String(error) }]
    }
  }
  const folder = folderOf(sessions)
  // Those that wait first: one that is taken meanwhile is then found among the spent, and none is overlooked.
  const waiting = at(folder).flatMap((p) => look(p, false))
  return [...at(join(folder, 'spent')).flatMap((p) => look(p, true)), ...waiting]
}
function whyOf(path: string): string {
  try {
    return readFileSync(path.replace(/\.json$/, '.why'), 'utf8').trim()
  } catch {
    return 'it was used'
  }
}

/** Takes arms back: the one named, or all. */
export function disarm(sessions: string, id: string | null): string[] {
  const gone: string[] = []
  for (const { path, arm, state } of listArms(sessions)) {
    if (state === 'spent' || (id !== null && arm?.id !== id && !path.endsWith(`${id}.json`))) continue
    if (spend(sessions, path, `withdrawn on ${new Date().toISOString()}`)) gone.push(arm?.id ?? path)
  }
  return gone
}

/** False: somebody else was first. */
function spend(sessions: string, path: string, why: string): string | null {
  const folder = join(folderOf(sessions), 'spent')
  mkdirSync(folder, { recursive: true })
  const target = join(folder, basename(path))
  try {
    renameSync(path, target)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  // A use that a power cut undoes would be a second one.
  syncFolder(folder)
  syncFolder(folderOf(sessions))
  try {
    writeFileSync(target.replace(/\.json$/, '.why'), `${why}\n`)
  } catch {}
  return target
}

/**
 * For `tapeline live`: the arm of this strategy, spent in the same moment. Throws NOT_ARMED, ARM_EXPIRED, ARM_USED, ARM_DIFFERS or TAMPERED, all exit 5, each with what to do. `session`: what it was used for.
 */
export function takeArm(sessions: string, wanted: Wanted, session = '', now = Date.now()): Armed {
  const command = `\`tapeline live arm ${wanted.name.replaceAll('+', ' ')} …\``
  const refuse = (code: string, text: string): UsageError => new UsageError(text, EXIT.gate, code)
  const all = listArms(sessions, now)
  const own = all.filter((l) => l.arm !== null && l.arm.name === wanted.name)
  const ready = own.filter((l) => l.state === 'ready').map((l) => ({ path: l.path, arm: l.arm as Sealed<Arm> }))
  const fitting = ready.find(({ arm }) => differencesOf(arm, wanted).length === 0)
  if (fitting === undefined) {
    const [other] = ready.slice(-1)
    if (other !== undefined)
      throw refuse(
        'ARM_DIFFERS',
        `${wanted.name} is armed for something else (${other.arm.id}): ${differencesOf(other.arm, wanted).join('; ')}: put it back, or arm what is meant with ${command}`,
      )
    const expired = own.filter((l) => l.state === 'expired').at(-1)
    if (expired !== undefined)
      throw refuse('ARM_EXPIRED', `the arm of ${wanted.name} (${expired.arm?.id}) is over: ${expired.why}: arm anew with ${command}`)
    const damaged = all.find((l) => l.state === 'damaged')
    if (damaged !== undefined) throw refuse('TAMPERED', damaged.why)
    const used = own.filter((l) => l.state === 'spent').at(-1)
    if (used !== undefined)
      throw refuse(
        'ARM_USED',
        `the arm of ${wanted.name} (${used.arm?.id}) is spent: ${used.why}: an arm is good for one session, so arm anew with ${command}`,
      )
    throw refuse('NOT_ARMED', `${wanted.name} is not armed in ${folderOf(sessions)}: real orders need ${command} first`)
  }
  const { arm } = fitting
  if (arm.armed > now + CLOCK_SLACK || arm.expires - arm.armed > EXPIRES_MAX)
    throw refuse(
      'ARM_EXPIRED',
      `the arm of ${wanted.name} (${arm.id}) was made at a time that is still to come: set the clock of this machine, and arm anew with ${command}`,
    )
  const path = spend(
    sessions,
    fitting.path,
    `used on ${new Date(now).toISOString()} by process ${process.pid}${session === '' ? '' : ` for ${session}`}`,
  )
  if (path === null)
    throw refuse('ARM_USED', `the arm of ${wanted.name} (${arm.id}) was used by another session in this moment: arm anew with ${command}`)
  // What was taken is what was read.
  const taken = readSealed<Arm>(path, SCHEMA, ADVICE)
  if (taken.seal !== arm.seal) throw refuse('TAMPERED', `${path} was changed while it was taken, so nothing is sent: ${ADVICE}`)
  return { path, arm: taken }
}

/** What an arm says and what is there now, one sentence each. */
function differencesOf(arm: Arm, wanted: Wanted): string[] {
  const found: string[] = []
  const compare = (what: string, was: unknown, is: unknown): void => {
    const [a, b] = [JSON.stringify(was), JSON.stringify(is)]
    if (a !== b) found.push(`${what} was ${a} and is ${b}`)
  }
  for (const [i, part] of wanted.strategies.entries()) {
    const was = arm.strategies[i]
    if (was === undefined || was.name !== part.name) continue
    if (was.code !== part.code) found.push(`the code of ${part.name} was ${was.code.slice(0, 12)} and is ${part.code.slice(0, 12)}`)
    for (const name of new Set([...Object.keys(was.parameters), ...Object.keys(part.parameters)]))
      compare(`${part.name}.${name}`, was.parameters[name], part.parameters[name])
  }
  if (found.length === 0 && arm.hash !== wanted.hash) compare('the strategies', arm.hash.slice(0, 8), wanted.hash.slice(0, 8))
  for (const { name, was, is } of termsApart(arm, wanted)) found.push(`${name} was ${was} and is ${is}`)
  for (const name of ['version', 'environment', 'subaccount'] as const) compare(name, arm[name], wanted[name])
  if (arm.key !== wanted.key) found.push('the key is another one')
  for (const name of Object.keys(wanted.markets) as (keyof Binding['markets'])[])
    compare(`markets ${name}`, arm.markets[name], wanted.markets[name])
  if (wanted.worstDollars > arm.acceptedDollars) found.push(`the worst case was $${arm.acceptedDollars} and is $${wanted.worstDollars}`)
  return found
}

export function spanText(ms: number): string {
  const minutes = Math.max(0, ms) / 60_000
  return minutes < 1 ? `${Math.round(minutes * 60)} s` : minutes < 120 ? `${Math.round(minutes)} min` : `${(minutes / 60).toFixed(1)} h`
}
