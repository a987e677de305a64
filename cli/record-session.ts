/**
 * A recording: the exchange's feed onto a tape that grows. Owns its course from the first connection to the whole tape, and how it goes on; hides feed and recorder from each other. Invariants:
 * nothing here can send an order; whatever ends it, what came is kept, and a reader of the tape sees a tape at any moment.
 *
 * `<tape>/` a tape like any other · `status.json` what it does · `quarantine.ndjson` what could not be read
 */
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Kalshi, SelectionRule } from '../adapters/kalshi/index.ts'
import type { World } from '../adapters/kalshi/ports.ts'
import { Recorder } from '../adapters/recorder/recorder.ts'
import { DataError } from '../data/errors.ts'
import { openTape } from '../data/tape-reader.ts'
import type { CoverageRow, Manifest } from '../data/schema.ts'
import { afterLong, BURST, externalOf, isLocal, lagOf, REFRESH_EVERY, TICK, ticking, type Ending } from './live-connection.ts'
import { EXIT, failureOf, UsageError } from './exit.ts'
import { countExternals, LiveSession } from './live-session.ts'
import { Notices } from './notices.ts'
import { Snapshots } from './session-snapshot.ts'
import { troubleText } from './status-text.ts'
import { readSnapshot, writeSnapshot, type SessionSnapshot } from './session-status.ts'

/** What is recorded; kept in the manifest. A tape goes on with the same request alone. */
export type RecordRequest = {
  readonly environment: string
  readonly rule: SelectionRule
  readonly external: string | null
}
export type RecordOptions = {
  readonly dir: string
  readonly request: RecordRequest
  readonly kalshi: Kalshi
  readonly world: World & { readonly quarantine: { readonly kept: number } }
  /** µs that a row may wait for its label: so much more is lost when the process dies. */
  readonly labelWait: number
  /** µs of the clock between two parts. */
  readonly rotate: number
  readonly spaceMin: number
  readonly duration: number | null
  readonly onReady: (end: (ending: Ending) => void) => void
  /** Every second. */
  readonly onSecond: (snapshot: SessionSnapshot) => void
  readonly say: (text: string) => void
  /** Told what happens while it runs, a line a second at most. */
  readonly tell?: ((text: string) => void) | undefined
}
export type RecordFacts = {
  readonly manifest: Manifest
  readonly coverage: readonly CoverageRow[]
  /** Rows of this run. */
  readonly rows: number
  readonly gaps: number
  readonly audits: number
  readonly auditsEqual: number
  readonly finished: boolean
  /** Whether a connection was ever open, and what the feed says was wrong. */
  readonly reached: boolean
  readonly trouble: string | null
  readonly ending: Ending
  readonly seconds: number
}

const STATUS_MS = 1_000

export async function runRecord(options: RecordOptions): Promise<RecordFacts> {
  const { dir, request, kalshi, world, say } = options
  const started = performance.now()
  const before = await pastOf(dir, request)
  const remarks: string[] = []
  const recorder = await Recorder.open(dir, {
    name: basename(dir),
    source: `record (${isLocal(request.environment) ? 'local exchange' : request.environment})`,
    practice: isLocal(request.environment),
    depth: 'book',
    origin: request,
    clock: world.clock,
    rotate: { every: options.rotate },
    spaceMin: options.spaceMin,
    onRemark: (text) => void remarks.push(text),
    ...(before === null ? {} : { ranUntil: before.ran + 1 }),
  })
  let finished = false
  try {
    if (before !== null) say(`going on with ${dir}: ${before.rows} rows until ${iso(before.to)}`)
    const live = new LiveSession({
      engine: null,
      recorder,
      clock: world.clock,
      lag: lagOf(options.labelWait),
      turn: (body) => body(),
      numbersFrom: 0,
      from: before === null ? 0 : Math.max(before.to, before.ran + 1),
    })
    const feed = kalshi.feed({
      rule: request.rule,
      known: recorder.known,
      labelWait: options.labelWait,
      refreshEvery: REFRESH_EVERY,
      onAudit: (ticker, equal, time) => recorder.note({ type: 'audit', ticker, time, equal }),
    })
    const snapshots = new Snapshots({
      dir,
      mode: 'record',
      trading: null,
      environment: kalshi.environment.name,
      live,
      recorder,
      feed: () => feed.status(),
      started: Date.now(),
      clock: world.clock,
      labelWait: options.labelWait,
    })

    // ------------------------------------------------------------------------------------------ the course
    let ending: Ending | null = null
    let reached = false
    /** Looked at every second, and before the end closes what is open. */
    const look = (): void => void (reached ||= feed.status().links.some((l) => l.state === 'open'))
    const end = (e: Ending): void => {
      if (ending !== null) return
      ending = e
      look()
      feed.stop()
    }
    const failed = (error: unknown): void => {
      const text = error instanceof Error ? error.message : String(error)
      snapshots.error(text)
      const failure: Ending = { reason: text, exit: failureOf(error).exit, complete: false, error }
      // What breaks on the way to an end that was asked for is what the caller must hear.
      if (ending !== null && ending.error === undefined) ending = failure
      else end(failure)
    }
    /** A disk that takes no more ends it, whoever wanted to write. */
    const guarded = (body: () => void): void => {
      if (ending?.error !== undefined) return
      try {
        body()
      } catch (error) {
        failed(error)
      }
    }
    const status = (ended: string | null): SessionSnapshot => {
      for (const text of remarks.splice(0)) {
        snapshots.error(text)
        say(text)
      }
      const snapshot = snapshots.take(ended)
      try {
        writeSnapshot(dir, snapshot)
      } catch (error) {
        snapshots.error(`the snapshot could not be written (${error instanceof Error ? error.message : String(error)})`)
      }
      return snapshot
    }
    const external = externalOf(request.external, before?.externals ?? new Map<string, number>(), live, (text) => {
      snapshots.error(text)
      say(text)
    })
    const ticker = ticking(world, TICK, () =>
      guarded(() => {
        external?.advance()
        live.tick()
      }),
    )
    const notices = options.tell === undefined ? null : new Notices(options.tell, { errors: false })
    let quarantined = 0
    const seconds = setInterval(() => {
      snapshots.second()
      look()
      const { kept } = world.quarantine
      if (kept > quarantined) recorder.note({ type: 'quarantined', count: kept - quarantined })
      quarantined = kept
      const { state, failure } = recorder.status
      if (state === 'full' || state === 'failed') failed(new DataError('DISK', failure ?? `${dir} takes no more rows`))
      const snapshot = status(null)
      notices?.look(snapshot)
      options.onSecond(snapshot)
    }, STATUS_MS)
    const timer = afterLong(options.duration, () => end({ reason: 'its time is over', exit: EXIT.ok, complete: true }))
    options.onReady(end)
    status(null)
    try {
      let batches = 0
      for await (const batch of feed.batches()) {
        guarded(() => live.take(batch))
        if (++batches % BURST === 0) await new Promise(setImmediate)
      }
      if (ending === null) end({ reason: 'the feed ended', exit: EXIT.exchange, complete: false })
    } catch (error) {
      failed(error)
    }

    // ------------------------------------------------------------------------------------------ the end
    ticker.cancel()
    clearInterval(seconds)
    timer.cancel()
    external?.close()
    guarded(() => live.drain())
    if (world.quarantine.kept > quarantined) recorder.note({ type: 'quarantined', count: world.quarantine.kept - quarantined })
    const measured = kalshi.rest.clockOffset
    if (measured !== null)
      recorder.note({
        type: 'clock',
        offset: { connection: 'REST', offset: -Math.round(measured.offset), uncertainty: Math.round(measured.uncertainty), samples: 1 },
      })
    try {
      await recorder.finish()
      finished = true
    } catch (error) {
      // The log has it, and whoever opens the tape next makes parts of it.
      failed(error)
    }
    const over = ending as unknown as Ending
    status(over.reason)
    snapshots.close()
    const { counts, links, troubles } = feed.status()
    const tape = await openTape(dir)
    return {
      manifest: tape.manifest,
      coverage: await tape.coverage(),
      rows: live.rows,
      gaps: links.reduce((a, l) => a + l.gaps, 0),
      audits: counts['audits'] ?? 0,
      auditsEqual: counts['auditsEqual'] ?? 0,
      finished,
      reached: reached || live.rows > 0,
      trouble: Object.entries(troubles).map(([what, why]) => troubleText(what, why))[0] ?? null,
      ending: over,
      seconds: (performance.now() - started) / 1000,
    }
  } finally {
    if (recorder.status.state !== 'finished') await recorder.leave().catch(() => {})
  }
}

type Past = { readonly rows: number; readonly to: number; readonly ran: number; readonly externals: ReadonlyMap<string, number> }

/** What was recorded there before, of the same request; null: nothing. */
async function pastOf(dir: string, request: RecordRequest): Promise<Past | null> {
  if (!existsSync(join(dir, 'manifest.json'))) return null
  const tape = await openTape(dir)
  const { manifest } = tape
  if (JSON.stringify(manifest.origin) !== JSON.stringify(request))
    throw new UsageError(
      `--tape ${dir} is a tape of ${manifest.source}, made from ${JSON.stringify(manifest.origin).slice(0, 200)}: only the same request goes on with it; choose another folder`,
    )
  const externals = new Map<string, number>()
  if (request.external !== null && (manifest.byKind.external ?? 0) > 0)
    // Rows of no market alone.
    for await (const batch of await tape.read({ decode: 'thread', tickers: [] })) countExternals(batch, externals)
  let ran = 0
  try {
    ran = readSnapshot(dir).ran
  } catch {}
  return { rows: manifest.rows, to: manifest.to, ran: Math.max(ran, manifest.to), externals }
}
function iso(microseconds: number): string {
  return new Date(microseconds / 1000).toISOString()
}
