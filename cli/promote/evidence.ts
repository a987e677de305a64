/**
 * What a strategy has done, read from the folders of its runs. Owns how a folder becomes evidence, and which folders are of the strategy; hides files. Invariants: only what ended counts, and what cannot be
 * read is told with its folder; a digest stands beside everything, so that it can be said what a promotion rests on.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import type { SessionEnd, SessionHeader } from '../../engine/session.ts'
import { identityOf, type Identity } from './identity.ts'
import { readProofs } from './proofs.ts'
import { DRILL_FILE, DrillRecord, LIVE_PROOF_FILE, LiveProof } from './records.ts'

/** What is the same for every session. Money in millionths of a dollar, quantities in hundredths, times in µs. */
type Ran = {
  readonly folder: string
  readonly digest: string
  readonly header: SessionHeader
  readonly practice: boolean
  readonly complete: boolean
  readonly reason: string
  readonly from: number
  readonly to: number
  readonly fills: number
  readonly filled: number
  readonly net: number
  readonly markets: readonly { readonly ticker: string; readonly event: string; readonly fills: number; readonly pnl: number }[]
}
export type Backtest = Ran & {
  /** Everything that decides what it came to but the fill model. */
  readonly ground: string
  /** Run more than once; `false`: with another result. Null: run once. */
  readonly repeated: boolean | null
}
export type Paper = Ran & {
  /** Null: never replayed. */
  readonly replayed: boolean | null
  readonly incidents: readonly string[]
}
export type Live = Ran & { readonly proof: LiveProof | null; readonly incidents: readonly string[] }
export type Drill = DrillRecord['drills'][number] & {
  readonly folder: string
  readonly time: string
  readonly version: string
  readonly environment: string
}
export type Evidence = {
  readonly backtests: readonly Backtest[]
  readonly papers: readonly Paper[]
  readonly lives: readonly Live[]
  readonly drills: readonly Drill[]
  /** Other sets of parameters of the same code that were run: the best of many looks better than it is. */
  readonly trials: number
  /** Folders that could not be read, with why. */
  readonly unread: readonly string[]
}

const Header = z.object({
  schema: z.literal('tapeline.session/1'),
  mode: z.enum(['backtest', 'paper', 'live']),
  version: z.string(),
  tape: z.object({ manifest: z.string(), practice: z.boolean(), depth: z.enum(['book', 'quotes', 'prints']) }),
  strategies: z.array(
    z.object({
      name: z.string(),
      parameters: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])),
      source: z.object({ file: z.string(), sha256: z.string() }).optional(),
    }),
  ),
  cash: z.number(),
  fills: z.enum(['strict', 'queue', 'touch', 'quotes', 'prints']),
})
const End = z.object({
  digest: z.string(),
  strings: z.array(z.string()),
  end: z.object({
    complete: z.boolean(),
    reason: z.string(),
    firstTime: z.number().nullable(),
    lastTime: z.number().nullable(),
    equity: z.number(),
    fills: z.number(),
    owners: z.array(z.object({ filled: z.number() })),
    markets: z.array(z.object({ ticker: z.string(), event: z.string(), fills: z.number(), pnl: z.number() })),
  }),
})
/** Ends that nobody has to explain. */
const CALM = new Set(['end of tape', 'its time is over', 'interrupted', 'terminated'])

/** All sessions and drills below these folders that are of the strategy. */
export function gather(identity: Identity, roots: readonly string[]): Evidence {
  const unread: string[] = []
  const backtests: Omit<Backtest, 'repeated'>[] = []
  const papers: Paper[] = []
  const lives: Live[] = []
  const drills: Drill[] = []
  const trials = new Set<string>()
  for (const folder of foldersOf(roots)) {
    drills.push(...drillsOf(folder, identity, unread))
    // Without an end mark it is still going, or was broken off.
    if (!existsSync(join(folder, 'end.json')) || !existsSync(join(folder, 'session.json')) || existsSync(join(folder, 'log'))) continue
    const header = read(folder, 'session.json', Header, unread) as SessionHeader | null
    if (header === null) continue
    const own = identityOf(header.strategies, header.version)
    if (own.code === identity.code) trials.add(own.hash)
    if (own.hash !== identity.hash) continue
    const file = read(folder, 'end.json', End, unread) as { digest: string; end: SessionEnd; strings: string[] } | null
    if (file === null) continue
    const { digest, end, strings } = file
    const ran: Ran = {
      folder,
      digest,
      header,
      practice: header.tape.practice,
      complete: end.complete,
      reason: end.reason,
      from: end.firstTime ?? 0,
      to: end.lastTime ?? 0,
      fills: end.fills,
      filled: end.owners.reduce((a, o) => a + o.filled, 0),
      net: end.equity - header.cash,
      markets: end.markets.filter((m) => m.fills > 0),
    }
    if (header.mode === 'backtest') backtests.push({ ...ran, ground: groundOf(header) })
    else if (header.mode === 'paper') {
      const replays = readProofs(folder).filter((p) => p.what === 'replay' && p.digest === digest)
      papers.push({ ...ran, replayed: replays.length === 0 ? null : replays.every((p) => p.equal), incidents: incidentsOf(ran, strings) })
    } else {
      const proof = existsSync(join(folder, LIVE_PROOF_FILE)) ? read(folder, LIVE_PROOF_FILE, LiveProof, unread) : null
      const own = proof !== null && proof.digest === digest ? proof : null
      if (proof !== null && own === null) unread.push(`${join(folder, LIVE_PROOF_FILE)}: it is of another session (its digest differs)`)
      lives.push({ ...ran, proof: own, incidents: [...incidentsOf(ran, strings), ...(own?.incidents ?? [])] })
    }
  }
  return {
    backtests: backtests.map((b) => ({ ...b, repeated: repeatedOf(b, backtests) })),
    papers,
    lives,
    drills,
    trials: [...trials].filter((hash) => hash !== identity.hash).length,
    unread,
  }
}

function foldersOf(roots: readonly string[]): string[] {
  const found: string[] = []
  const seen = new Set<string>()
  for (const root of roots) {
    if (seen.has(resolve(root)) || !existsSync(root)) continue
    seen.add(resolve(root))
    for (const name of readdirSync(root).sort()) {
      const folder = join(root, name)
      if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true) found.push(folder)
    }
  }
  return found
}

function read<T>(folder: string, file: string, type: z.ZodType<T>, unread: string[]): T | null {
  const path = join(folder, file)
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    unread.push(`${path}: it cannot be read as JSON`)
    return null
  }
  const checked = type.safeParse(value)
  if (checked.success) return value as T
  const [issue] = checked.error.issues
  unread.push(`${path}: ${issue === undefined ? 'it has another shape' : `${issue.path.join('.')}: ${issue.message}`}`)
  return null
}

function groundOf(header: SessionHeader): string {
  const { tape, selection, cash, limits, delays, rate, seed } = header
  return JSON.stringify([tape.manifest, selection, cash, limits, delays, rate, seed])
}

/** Another folder with the same header, or a proof beside this one. */
function repeatedOf(b: Omit<Backtest, 'repeated'>, all: readonly Omit<Backtest, 'repeated'>[]): boolean | null {
  const key = JSON.stringify(b.header)
  const twins = all.filter((o) => o.folder !== b.folder && o.complete && JSON.stringify(o.header) === key).map((o) => o.digest === b.digest)
  const again = readProofs(b.folder)
    .filter((p) => p.what === 'again' && p.digest === b.digest)
    .map((p) => p.equal)
  const shown = [...twins, ...again]
  return shown.length === 0 ? null : shown.every(Boolean)
}

/** How it ended, and states that it was brought into by something else than its operator. */
function incidentsOf({ complete, reason }: Ran, strings: readonly string[]): string[] {
  const found: string[] = []
  if (!complete && !CALM.has(reason)) found.push(`it ended early: ${reason.slice(0, 200)}`)
  if (strings.includes('session:halted') && !strings.includes('operator:halt')) found.push('it was halted, and not by its operator')
  if (strings.includes('strategy-error')) found.push('a strategy failed')
  return found
}

function drillsOf(folder: string, identity: Identity, unread: string[]): Drill[] {
  if (!existsSync(join(folder, DRILL_FILE))) return []
  const record = read(folder, DRILL_FILE, DrillRecord, unread)
  if (record === null || (record.strategy !== null && record.strategy !== identity.hash)) return []
  const { time, version, environment } = record
  return record.drills.map((d) => ({ ...d, folder, time, version, environment }))
}
