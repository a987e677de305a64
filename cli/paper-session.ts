/**
 * A paper session: the exchange's feed, the simulated venue, the wall clock. Owns its course from the first connection to the written report's record, and how it goes on after a crash; hides the
 * parts from each other. Invariants: nothing here can send an order (there is no code for it behind these imports); whatever ends the session, what ran is kept; the session's own tape and
 * header lead to the same journal again.
 *
 * `<session>/tape/` every row that entered · `session.json` header · `paper.json` how it was started, for this machine · `status.json` · `commands/` · `log/` journal and samples while it runs
 * · at the end the files of a run
 */
import { existsSync } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Kalshi } from '../adapters/kalshi/index.ts'
import type { World } from '../adapters/kalshi/ports.ts'
import { Recorder } from '../adapters/recorder/recorder.ts'
import { SimulatedVenue } from '../adapters/simulated/venue.ts'
import { DataError, diskError } from '../data/errors.ts'
import { holdFolder } from '../data/hold.ts'
import { readRun, writePlace } from '../data/run.ts'
import { RunLog } from '../data/run-log.ts'
import { openTape } from '../data/tape-reader.ts'
import { assert } from '../engine/assert.ts'
import { Engine } from '../engine/engine.ts'
import type { SessionEnd, SessionHeader, SessionRecord } from '../engine/session.ts'
import { StrategyError } from '../engine/strategy-error.ts'
import { afterLong, BURST, externalOf, lagOf, REFRESH_EVERY, ruleOf, TICK, ticking, type Choice, type Ending } from './live-connection.ts'
import { countExternals, LiveSession } from './live-session.ts'
import { firstDifference, rowsBeforeEnd } from './journal-compare.ts'
import { EXIT, UsageError } from './exit.ts'
import { Notices } from './notices.ts'
import { tapeFacts } from './tape-facts.ts'
import { Snapshots } from './session-snapshot.ts'
import { clearCommands, readSnapshot, takeCommands, writeSnapshot, type SessionSnapshot } from './session-status.ts'
import { failureIn } from './strategy/failure.ts'
import type { Chosen } from './strategy/choose.ts'
import { Watch } from './watch.ts'

/** How a session was started, as far as it matters to go on with it or to replay it. Part of no digest; no key. */
export type PaperPlan = {
  readonly schema: 'tapeline.paper/1'
  /** As given: names, or absolute paths. */
  readonly strategies: readonly string[]
  readonly parameters: readonly string[]
  /** `demo`, `production`, or the address of an exchange on this machine. */
  readonly environment: string
  readonly series: readonly string[] | null
  readonly markets: readonly string[] | null
  readonly external: string | null
  /** µs that a row may wait for its label. */
  readonly labelWait: number
  /** Round trips as measured, µs. */
  readonly measured: readonly number[]
  /** What else chooses its markets; sessions that were begun before it was kept have none. */
  readonly rule?: Choice
}

export type PaperOptions = {
  readonly dir: string
  readonly header: SessionHeader
  readonly plan: PaperPlan
  readonly strategies: readonly Chosen[]
  readonly kalshi: Kalshi
  readonly world: World
  readonly resume: boolean
  /** Real milliseconds after which it ends by itself; null: never. */
  readonly duration: number | null
  /** Bytes that stay free on the disk. */
  readonly spaceMin: number
  /** Tells how to end it, before it runs. */
  readonly onReady: (end: (ending: Ending) => void) => void
  readonly say: (text: string) => void
  /** Told what happens while it runs, a line a second at most. */
  readonly tell?: ((text: string) => void) | undefined
}
export type PaperResult = {
  readonly record: SessionRecord
  readonly ending: Ending
  readonly failure: StrategyError | null
  readonly seconds: number
}

const STATUS_MS = 1_000
const COMMANDS_MS = 50
export async function runPaper(options: PaperOptions): Promise<PaperResult> {
  const { dir } = options
  const troubles: string[] = []
  const letGo = await holdFolder(dir)
  try {
    return await course(options, troubles)
  } finally {
    await letGo()
  }
}

async function course(options: PaperOptions, troubles: string[]): Promise<PaperResult> {
  const { dir, header, plan, strategies, kalshi, world, resume, say } = options
  const started = performance.now()
  const before = resume ? await pastOf(dir) : null
  const recorder = await Recorder.open(join(dir, 'tape'), {
    name: basename(dir),
    source: header.tape.source,
    practice: header.tape.practice,
    depth: 'book',
    origin: { environment: plan.environment, series: plan.series, markets: plan.markets },
    clock: world.clock,
    spaceMin: options.spaceMin,
    onRemark: (text) => void troubles.push(text),
    ...(before === null ? {} : { ranUntil: before.ranUntil }),
  })
  const watch = new Watch()
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 50
  let run: RunLog | null = null
  let closed = false
  try {
    if (!resume) {
      await writeWhole(join(dir, 'session.json'), header)
      await writeWhole(join(dir, 'paper.json'), plan)
      await writePlace(dir, join(dir, 'tape'))
    }
    clearCommands(dir)
    // The old journal stays until the new one has repeated it.
    if (existsSync(join(dir, 'log'))) await rename(join(dir, 'log'), join(dir, LOG_BEFORE))
    run = await RunLog.open(dir, header)
    const engine = new Engine({
      header,
      strategies: strategies.map((s) => s.strategy),
      venue: new SimulatedVenue(header.fills, header.delays, header.tape.lagMax),
      sink: run,
    })
    const turn = <T>(body: () => T): T => watch.turn(body)
    const past = before === null ? null : await relive(dir, engine, turn, say)
    if (before !== null) await compared(dir, before)
    /** What the recorder threw: the tape takes no more rows. Told apart from what the journal's own log throws. */
    let full: unknown = null
    const tape: Pick<Recorder, 'write'> = {
      write: (batch) => {
        try {
          return recorder.write(batch)
        } catch (error) {
          full = error
          throw error
        }
      },
    }
    const live = new LiveSession({
      engine,
      recorder: tape,
      clock: world.clock,
      lag: lagOf(plan.labelWait),
      turn,
      numbersFrom: past?.markets ?? 0,
      from: Math.max(past?.to ?? 0, before?.ranUntil ?? 0),
    })
    const feed = kalshi.feed({ rule: ruleOf(plan), known: recorder.known, labelWait: plan.labelWait, refreshEvery: REFRESH_EVERY })
    const snapshots = new Snapshots({
      dir,
      mode: header.mode,
      trading: { engine, header, measured: plan.measured },
      environment: kalshi.environment.name,
      live,
      recorder,
      feed: () => feed.status(),
      started: Date.now(),
      clock: world.clock,
      labelWait: plan.labelWait,
    })
    for (const text of troubles) snapshots.error(text)

    // ------------------------------------------------------------------------------------------ the course
    let ending: Ending | null = null
    let failure: StrategyError | null = null
    let reason = ''
    /** The tape takes no more rows. */
    let deaf = false
    /** What ended it without a record: a broken invariant, a journal that cannot be written. */
    let broken: { readonly error: unknown } | null = null
    const end = (e: Ending): void => {
      if (ending !== null) return
      ending = e
      reason = e.reason
      feed.stop()
    }
    /** What breaks inside a call into the engine ends the session, whoever called. */
    const guarded = (body: () => void): void => {
      // After a broken invariant nothing enters the engine or the tape any more.
      if (failure !== null || deaf || closed) return
      try {
        body()
      } catch (error) {
        try {
          const failed = failureIn(error, { time: engine.now, call: engine.calling }, watch)
          failure = failed.failure
          end({ reason: failed.reason, exit: EXIT.strategy, complete: false, error: failed.failure })
          reason = failed.reason
        } catch (fatal) {
          // A row that cannot be recorded did not enter the engine either: what ran before it stands.
          if (fatal === full && fatal instanceof DataError) {
            deaf = true
            end({ reason: fatal.message, exit: EXIT.data, complete: false, error: fatal })
          } else {
            // The journal is whole up to its last block, and the tape leads to the rest of it again.
            broken = { error: diskError(goesOn(fatal, dir), dir, `\`tapeline paper --resume ${dir}\` goes on with it`) }
            end({ reason: 'failed', exit: EXIT.bug, complete: false, error: fatal })
            closed = true
          }
        }
      }
    }
    const external = externalOf(plan.external, past?.externals ?? new Map<string, number>(), live, (text) => snapshots.error(text))
    const status = (ended: string | null): SessionSnapshot => {
      const snapshot = snapshots.take(ended)
      try {
        writeSnapshot(dir, snapshot)
      } catch (error) {
        snapshots.error(`the snapshot could not be written (${error instanceof Error ? error.message : String(error)})`)
      }
      return snapshot
    }
    const notices = options.tell === undefined ? null : new Notices(options.tell)
    const ticker = ticking(world, TICK, () =>
      guarded(() => {
        external?.advance()
        live.tick()
      }),
    )
    const seconds = setInterval(() => {
      guarded(() => engine.flush())
      snapshots.second()
      for (const text of troubles.splice(0)) snapshots.error(text)
      const snapshot = status(null)
      notices?.look(snapshot)
    }, STATUS_MS)
    const commands = setInterval(() => {
      for (const { id, command, reason: why } of takeCommands(dir, (text) => snapshots.error(text)))
        guarded(() =>
          live.operator({ command, reason: why }, () => {
            snapshots.acknowledge({ id, command, reason: why, time: engine.now, state: engine.session.name })
            // On the tape and obeyed: whoever waits for it is told at once.
            queueMicrotask(() => void status(null))
          }),
        )
    }, COMMANDS_MS)
    const timer = afterLong(options.duration, () => end({ reason: 'its time is over', exit: EXIT.ok, complete: true }))
    options.onReady(end)
    status(null)
    try {
      let batches = 0
      for await (const batch of feed.batches()) {
        guarded(() => live.take(batch))
        if (failure !== null || deaf || closed) break
        if (++batches % BURST === 0) await new Promise(setImmediate)
      }
      if (ending === null) end({ reason: 'the feed ended', exit: EXIT.exchange, complete: false })
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      snapshots.error(text)
      if (ending === null) end({ reason: `the feed failed: ${text}`, exit: EXIT.exchange, complete: false, error })
    }

    // ------------------------------------------------------------------------------------------ the end
    ticker.cancel()
    clearInterval(seconds)
    clearInterval(commands)
    timer.cancel()
    external?.close()
    const over = ending as unknown as Ending
    const unbroken = (): void => {
      if (broken !== null) throw (broken as { readonly error: unknown }).error
    }
    unbroken()
    // After a strategy's failure the last row is for the tape alone: a replay comes as far as this session did, and no further.
    if (failure === null) guarded(() => live.close(over.reason))
    else
      try {
        live.mark(over.reason)
      } catch (error) {
        // A tape that is full lacks its last row; what the strategies did is kept all the same.
        if (error !== full) throw error
        deaf = true
        snapshots.error((error as Error).message)
      }
    let sessionEnd: SessionEnd | null = null
    // Its tape is full, its strategies are not at fault: they hear of the end as of any other.
    const unfinished = deaf
    deaf = false
    if (failure === null) guarded(() => (sessionEnd = turn(() => engine.finish(over.reason, over.complete))))
    unbroken()
    if (failure !== null) {
      engine.stop()
      try {
        sessionEnd = engine.finish(reason, false)
      } catch (error) {
        throw new StrategyError(
          (failure as StrategyError).code,
          `${(failure as StrategyError).message}; no partial result could be kept`,
          error,
        )
      }
    }
    assert(sessionEnd !== null, 'a session that is not broken has its end')
    status(reason)
    snapshots.close()
    closed = true
    let unmade: unknown = null
    if (unfinished) await recorder.leave()
    else
      await recorder.finish().catch((error: unknown) => {
        // The log has every row, and whoever opens the tape next makes parts of it.
        unmade = error
      })
    // The tape is not being recorded any more.
    status(reason)
    let record: SessionRecord
    let facts: SessionHeader
    try {
      run.end(sessionEnd)
      record = await run.finish(dir)
      facts = await tapeFacts(dir, header)
      await writeWhole(join(dir, 'session.json'), facts)
    } catch (error) {
      if (failure !== null)
        throw new StrategyError(
          (failure as StrategyError).code,
          `${(failure as StrategyError).message}; its record could not be written`,
          error,
        )
      throw diskError(
        error,
        dir,
        `what ran is in its log: \`tapeline replay ${dir}\` reads it, \`tapeline paper --resume ${dir}\` goes on with it`,
      )
    }
    return {
      record: { ...record, header: facts },
      ending: unmade !== null && over.error === undefined ? { ...over, exit: EXIT.data, complete: false, error: unmade } : over,
      failure,
      seconds: (performance.now() - started) / 1000,
    }
  } finally {
    Error.stackTraceLimit = limit
    await watch.end()
    if (recorder.status.state !== 'finished') await recorder.leave().catch(() => {})
  }
}

async function writeWhole(path: string, value: unknown): Promise<void> {
  await writeFile(`${path}.tmp`, `${JSON.stringify(value, null, 1)}\n`)
  await rename(`${path}.tmp`, path)
}

// ---------------------------------------------------------------------------------------------------- going on

const LOG_BEFORE = 'log.before'

type Past = { readonly record: SessionRecord | null; readonly ranUntil: number }

/** What the session left: its journal, as far as it was whole, and until when it is known to have run. */
async function pastOf(dir: string): Promise<Past> {
  // A journal that was set aside was being repeated when the process ended: what replaced it is worth nothing.
  if (existsSync(join(dir, LOG_BEFORE))) {
    await rm(join(dir, 'log'), { recursive: true, force: true })
    await rename(join(dir, LOG_BEFORE), join(dir, 'log'))
  }
  const record = existsSync(join(dir, 'log')) || existsSync(join(dir, 'end.json')) ? await readRun(dir) : null
  const journal = record?.journal
  const last = journal === undefined || journal.length === 0 ? 0 : (journal.time[journal.length - 1] as number)
  let ran = 0
  try {
    ran = readSnapshot(dir).ran
  } catch {}
  return { record, ranUntil: Math.max(last, ran) + 1 }
}

/** The session up to now, lived again: its own tape through a new engine, which then stands where the old one stood, with its orders, positions and strategies as they were. */
async function relive(
  dir: string,
  engine: Engine,
  turn: <T>(body: () => T) => T,
  say: (text: string) => void,
): Promise<{ readonly markets: number; readonly externals: ReadonlyMap<string, number>; readonly to: number }> {
  const stream = await (await openTape(join(dir, 'tape'))).read({ decode: 'thread', batchRows: 4096 })
  let [rows, to] = [0, 0]
  const externals = new Map<string, number>()
  for await (const batch of stream) {
    countExternals(batch, externals)
    if (batch.length > 0) to = batch.time[batch.length - 1] as number
    turn(() => engine.run(batch))
    rows += batch.length
    await new Promise(setImmediate)
  }
  engine.flush()
  say(`going on: ${rows} rows of its own tape were run again`)
  return { markets: stream.tickers.length, externals, to }
}

/** What the old journal says has come out again; else nothing is changed, and the session does not go on. */
async function compared(dir: string, { record }: Past): Promise<void> {
  if (record !== null) {
    const difference = firstDifference(record, await readRun(dir), rowsBeforeEnd(record))
    if (difference !== null) {
      await rm(join(dir, 'log'), { recursive: true, force: true })
      if (existsSync(join(dir, LOG_BEFORE))) await rename(join(dir, LOG_BEFORE), join(dir, 'log'))
      throw new UsageError(
        `${dir} cannot go on: its tape does not lead to its journal any more (row ${difference.row} was "${difference.was ?? 'the end'}" and is now "${difference.is ?? 'the end'}"): was a strategy or the program changed? Start a new session`,
        EXIT.mismatch,
        'DIVERGED',
      )
    }
  }
  await rm(join(dir, LOG_BEFORE), { recursive: true, force: true })
  // The files of an end that was none.
  await rm(join(dir, 'end.json'), { force: true })
}

/** A journal that takes no more: what to do about it. */
function goesOn(error: unknown, dir: string): unknown {
  if (!(error instanceof DataError)) return error
  return new DataError(error.code, `${error.message}; \`tapeline paper --resume ${dir}\` goes on with it`, error)
}

/** The header of a session, as it was begun. */
export async function readHeader(dir: string): Promise<SessionHeader> {
  return JSON.parse(await readFile(join(dir, 'session.json'), 'utf8')) as SessionHeader
}
