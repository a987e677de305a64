/**
 * A live session: the exchange's feed, the exchange itself, the wall clock. Owns its course from the lock to the last order that is taken back, and how it goes on after a crash; hides the parts from each
 * other. Invariants: what enters the engine was kept before; whatever ends the session, everything of ours at the exchange is taken back and looked for before the process goes, and what could not be is
 * said; the session's own rows and news lead to the same journal again.
 *
 * `<session>/session.json` header · `live.json` how it was started · `log/` rows, inputs and journal in one sequence · `tape/` parts · `status.json` · `commands/` · when it stands still the files of a run
 */
import { existsSync } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Kalshi, KalshiFeed } from '../../adapters/kalshi/index.ts'
import type { World } from '../../adapters/kalshi/ports.ts'
import { SessionFolder } from '../../adapters/record/session-record.ts'
import { Recorder } from '../../adapters/recorder/recorder.ts'
import { DataError } from '../../data/errors.ts'
import { makeFolder } from '../../data/folder.ts'
import { syncFolder } from '../../data/log.ts'
import { writePlace } from '../../data/run.ts'
import type { SessionInput } from '../../data/session-inputs.ts'
import { Engine } from '../../engine/engine.ts'
import type { News } from '../../engine/news.ts'
import type { SessionEnd, SessionHeader, SessionRecord } from '../../engine/session.ts'
import { StrategyError } from '../../engine/strategy-error.ts'
import { EXIT } from '../exit.ts'
import { afterLong, BURST, externalOf, lagOf, REFRESH_EVERY, ruleOf, ticking, type Ending } from '../live-connection.ts'
import { LiveSession } from '../live-session.ts'
import { Notices } from '../notices.ts'
import { Snapshots } from '../session-snapshot.ts'
import { clearCommands, readSnapshot, takeCommands, writeSnapshot, type SessionSnapshot } from '../session-status.ts'
import type { Chosen } from '../strategy/choose.ts'
import { failureIn } from '../strategy/failure.ts'
import { tapeFacts } from '../tape-facts.ts'
import { Watch } from '../watch.ts'
import type { Binding } from './arms.ts'
import { takeAcceptedCash } from './cash-file.ts'
import { Guardian } from './guardian.ts'
import { waitingIncidents } from './troubles.ts'
import { reliveFolder } from './relive.ts'
import type { PlanBrakes } from './resumed.ts'
import type { Trading, TradingDesk } from './trading.ts'
import { watchAlive } from './watch-file.ts'

/** How a session was started, as far as it matters to go on with it. Part of no digest; no key. */
export type LivePlan = {
  readonly schema: 'tapeline.live/1'
  /** As given: names, or absolute paths. */
  readonly strategies: readonly string[]
  readonly parameters: readonly string[]
  /** `demo`, `production`, or the address of an exchange on this machine. */
  readonly environment: string
  readonly keyId: string
  /** Path of its file. */
  readonly keyFile: string
  /** Of a local exchange with a clock of its own. */
  readonly clock: string | null
  readonly subaccount: number
  readonly series: readonly string[] | null
  readonly markets: readonly string[] | null
  readonly external: string | null
  /** Round trips as measured, µs. */
  readonly measured: readonly number[]
  /** µs of the exchange's clock when it began: nothing of it is older. */
  readonly start: number
  /** The whole rule of its markets, and the brakes, as they were armed; sessions that were begun before these were kept have none. */
  readonly rule?: Binding['markets']
  readonly brakes?: PlanBrakes
}

export type LiveOptions = {
  readonly dir: string
  readonly header: SessionHeader
  readonly plan: LivePlan
  readonly strategies: readonly Chosen[]
  readonly kalshi: Kalshi
  readonly world: World
  readonly resume: boolean
  /** What was armed: kept with the session. */
  readonly armed: unknown
  /** `held`: why nothing new may leave just now. */
  readonly trade: (desk: TradingDesk, feed: Pick<KalshiFeed, 'shardOf'>, held: () => string | null, pulled: () => boolean) => Trading
  /** Why everything is halted on this machine; null: it is not. */
  readonly halted: () => string | null
  /** Whether a watch must be alive. */
  readonly watched: boolean
  /** Real milliseconds after which it ends by itself; null: never. */
  readonly duration: number | null
  /** Tells how to end it, before it runs. */
  readonly onReady: (end: (ending: Ending) => void) => void
  readonly say: (text: string) => void
  /** Told what happens while it runs, a line a second at most. */
  readonly tell?: ((text: string) => void) | undefined
}
export type LiveResult = {
  readonly record: SessionRecord
  readonly ending: Ending
  readonly failure: StrategyError | null
  /** What could not be taken back, a line each. */
  readonly left: readonly string[]
  readonly seconds: number
}

const STATUS_MS = 1_000
const COMMANDS_MS = 50
/** µs: timers of strategies are at most so late. */
const TICK = 20_000
/** µs that taking everything back may last. */
const SETTLE = 10_000_000

export async function runLive(options: LiveOptions): Promise<LiveResult> {
  makeFolder(options.dir)
  const folder = await SessionFolder.open(options.dir)
  try {
    return await course(options, folder)
  } finally {
    await folder.leave().catch(() => {})
  }
}

async function course(options: LiveOptions, folder: SessionFolder): Promise<LiveResult> {
  const { dir, header, plan, strategies, kalshi, world, resume, say } = options
  const started = performance.now()
  const troubles: string[] = []
  const generation = segmentsOf(folder.inputs()) + 1
  const ranUntil = resume ? ranOf(dir, folder.inputs()) : 0
  const run = await folder.goOn(header)
  const recorder = await Recorder.open(folder.tape, {
    name: basename(dir),
    source: header.tape.source,
    practice: header.tape.practice,
    depth: 'book',
    origin: { environment: plan.environment, series: plan.series, markets: plan.markets },
    clock: world.clock,
    log: folder.log,
    onRemark: (text) => void troubles.push(text),
    // What was decided at the instant of the last row was decided before the books were lost: each batch is over one later.
    ...(resume ? { ranUntil: Math.max(ranUntil, run.lastTime) + 1, ranOn: 2 } : {}),
  })
  const watch = new Watch()
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 50
  let trading: Trading | null = null
  try {
    if (!resume) {
      await writeWhole(join(dir, 'session.json'), header)
      await writeWhole(join(dir, 'live.json'), plan)
      await writePlace(dir, folder.tape)
    }
    // The files of an end that was none.
    await rm(join(dir, 'end.json'), { force: true })
    clearCommands(dir)
    let guardian: Guardian | null = null
    /** Why nothing new may leave, whatever the rest says: the session comes to its end, or contradicts itself. */
    let holding: string | null = null
    const keep = (kind: string, detail: unknown, time = world.clock.now()): number => {
      const sequence = folder.input({ row: recorder.rows, time, kind, detail })
      guardian?.kept(kind, detail)
      return sequence
    }
    keep('segment', { generation, version: header.version, time: new Date().toISOString() })
    keep('armed', options.armed)
    await folder.sync()

    let dispatch: ((news: News) => void) | null = null
    const desk: { engine: Engine | null } = { engine: null }
    const port: TradingDesk = {
      generation,
      get engine() {
        return desk.engine as Engine
      },
      record: keep,
      sync: () => folder.sync(),
      syncNow: () => folder.log.syncNow(),
      synced: () => folder.log.syncedSequence,
      enter: (news) => dispatch?.(news),
      say: (text) => void troubles.push(text),
      fail: (error) => fail(error),
    }
    let fail: (error: unknown) => void = () => {}
    const feed = kalshi.feed({ rule: ruleOf(plan), known: recorder.known, labelWait: 0, refreshEvery: REFRESH_EVERY })
    const trader = options.trade(
      port,
      feed,
      () => options.halted() ?? guardian?.hold ?? holding,
      // A pause leaves at rest what rests, and a trouble that halts the session is no reason for another group to trip.
      () => options.halted() !== null || holding !== null,
    )
    trading = trader
    const engine = new Engine({ header, strategies: strategies.map((s) => s.strategy), venue: trader.venue, sink: run })
    desk.engine = engine
    const turn = <T>(body: () => T): T => watch.turn(body)
    // Somebody who watches must not take a long way back for silence.
    const beating = resume ? setInterval(() => beat(dir), STATUS_MS).unref() : null
    const past = resume ? await reliveFolder(dir, engine, turn) : null
    if (past !== null && past.failure !== null)
      throw new DataError(
        'DIVERGED',
        `${dir} cannot go on: a strategy failed in it, and would again (${past.failure.message}): mend it and start a new session; \`tapeline flatten\` closes what it holds`,
      )
    if (past !== null) say(`going on: ${past.rows} rows and ${past.news} news of its own were lived again`)
    if (resume) turn(() => engine.tick(Math.max(ranUntil, run.lastTime) + 1))
    engine.flush()
    run.repeated()
    if (beating !== null) clearInterval(beating)
    const live = new LiveSession({
      engine,
      news: {
        keep: (time, news) => void keep('news', news, time),
        enter: (time, news) => engine.enter(time, news),
      },
      flush: () => trader.flush(),
      recorder,
      clock: world.clock,
      lag: lagOf(0),
      turn,
      numbersFrom: past?.markets ?? 0,
      // Later than what the engine was told has passed: the clock may be behind the rows of before.
      from: Math.max(past?.to ?? 0, resume ? Math.max(ranUntil, run.lastTime) + 2 : 0),
    })
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
      labelWait: 0,
      wrong: () => guardian?.open ?? [],
      remarks: () => feesOff(trader.status),
    })

    // ------------------------------------------------------------------------------------------ the course
    let ending: Ending | null = null
    let failure: StrategyError | null = null
    let reason = ''
    /** Nothing more can be kept, so nothing more may enter. */
    let deaf = false
    let broken: unknown = null
    let over: () => void = () => {}
    const ended = new Promise<void>((resolve) => (over = resolve))
    const end = (e: Ending): void => {
      if (ending !== null) return
      holding = 'ending'
      trading?.halted()
      ending = e
      reason = e.reason
      over()
    }
    /** What breaks inside a call into the engine ends the session, whoever called. After a strategy's failure news alone goes on: what the exchange does is booked to the end. */
    const guarded = (body: () => void, news = false): void => {
      if ((failure !== null && !news) || deaf || broken !== null) return
      try {
        body()
      } catch (error) {
        try {
          const failed = failureIn(error, { time: engine.now, call: engine.calling }, watch)
          failure = failed.failure
          guardian?.happened({ type: 'begin', class: 'strategy-failed', cause: failed.reason.slice(0, 200) })
          live.rest()
          engine.stop()
          end({ reason: failed.reason, exit: EXIT.strategy, complete: false, error: failed.failure })
          reason = failed.reason
        } catch (fatal) {
          if (fatal instanceof DataError) {
            deaf = true
            end({ reason: fatal.message, exit: EXIT.data, complete: false, error: fatal })
          } else {
            broken = fatal
            guardian?.happened({
              type: 'begin',
              class: 'invariant-broken',
              cause: fatal instanceof Error ? fatal.message.slice(0, 200) : '',
            })
            end({ reason: 'failed', exit: EXIT.bug, complete: false, error: fatal })
          }
        }
      }
    }
    /** A turn, and then what the engine commanded in it. */
    const act = (body: () => void, news = false): void => {
      guarded(body, news)
      if (!deaf && broken === null) trader.flush()
    }
    fail = (error) => {
      if (error instanceof DataError) deaf = true
      const text = error instanceof Error ? error.message : String(error)
      snapshots.error(text)
      end({ reason: text, exit: error instanceof DataError ? EXIT.data : EXIT.exchange, complete: false, error })
    }
    const watcher = new Guardian(
      {
        clock: world.clock,
        keep: (kind, detail) => {
          try {
            keep(kind, detail)
          } catch (error) {
            fail(error)
          }
        },
        word: (command, why) => act(() => live.operator({ command, reason: why, by: 'table' })),
        resync: (why) => {
          dispatch?.({ type: 'disagreed', reason: why })
          trader.recheck()
        },
        agrees: (ticker) => {
          trader.freed(ticker)
          dispatch?.({ type: 'market-freed', ticker, reason: 'the exchange and we say the same again', by: 'reconciliation' })
        },
        news: (news) => act(() => live.news(news), true),
        stopCreates: () => trader.halted(),
        end: (why) =>
          end(
            why.startsWith('disk-full')
              ? { reason: why, exit: EXIT.data, complete: false, error: new DataError('DISK', `${why} (${dir})`) }
              : { reason: why, exit: EXIT.risk, complete: false },
          ),
        say: (text) => snapshots.error(text),
      },
      past?.said ?? null,
      past?.told ?? null,
    )
    guardian = watcher
    dispatch = (news) => {
      act(() => live.news(news), true)
      watcher.news(news, 'order' in news && engine.manager.orderOf(news.order)?.state === 'unknown')
    }
    for (const text of troubles.splice(0)) snapshots.error(text)
    trader.restore(folder.inputs())
    trader.flush()
    watcher.restore(waitingIncidents(folder.inputs()))
    watcher.watched(options.watched ? watchAlive(dir, Date.now()) : null)

    const external = externalOf(plan.external, past?.externals ?? new Map<string, number>(), live, (text) => snapshots.error(text))
    const status = (endedWith: string | null): SessionSnapshot => {
      const snapshot = snapshots.take(endedWith)
      try {
        writeSnapshot(dir, snapshot)
      } catch (error) {
        snapshots.error(`the snapshot could not be written (${error instanceof Error ? error.message : String(error)})`)
      }
      return snapshot
    }
    const notices = options.tell === undefined ? null : new Notices(options.tell)
    const ticker = ticking(world, TICK, () =>
      act(() => {
        external?.advance()
        live.tick()
      }),
    )
    let lateMax = 0
    let expected = performance.now() + STATUS_MS
    const seconds = setInterval(() => {
      lateMax = Math.max(0, performance.now() - expected)
      expected = performance.now() + STATUS_MS
      guarded(() => engine.flush())
      watcher.second({
        dir,
        fed: engine.session.fed,
        gaps: feed.status().links.reduce((a, l) => a + l.gaps, 0),
        clock: kalshi.rest.clockOffset,
        trader: trader.status,
        late: lateMax * 1000,
        watched: options.watched ? watchAlive(dir, Date.now()) : null,
      })
      snapshots.second()
      for (const text of troubles.splice(0)) snapshots.error(text)
      const snapshot = status(null)
      notices?.look(snapshot)
    }, STATUS_MS)
    let latched = false
    const commands = setInterval(() => {
      const latch = options.halted()
      if (latch !== null && !latched) {
        trader.halted()
        act(() => live.operator({ command: 'halt', reason: `latched: ${latch}`, by: 'latch' }))
      }
      if (latch !== null && !latched) watcher.operator('halt')
      latched = latch !== null
      for (const { id, command, reason: why } of takeCommands(dir, (text) => snapshots.error(text)))
        act(() =>
          live.operator({ command, reason: why }, () => {
            // First what holds back lets go: the brakes are made ready through the same gate.
            watcher.operator(command)
            if (command === 'resume') trader.resumed()
            snapshots.acknowledge({ id, command, reason: why, time: engine.now, state: engine.session.name })
            // On the tape and obeyed: whoever waits for it is told at once.
            queueMicrotask(() => void status(null))
          }),
        )
      for (const accepted of takeAcceptedCash(dir, (text) => snapshots.error(text)))
        act(() => {
          const why = trader.acceptCash(accepted)
          snapshots.error(why === null ? `cash accepted: ${accepted.reason}` : `cash NOT accepted: ${why}`)
        })
    }, COMMANDS_MS)
    const timer = afterLong(options.duration, () => end({ reason: 'its time is over', exit: EXIT.ok, complete: true }))
    options.onReady(end)
    status(null)
    const reading = (async (): Promise<void> => {
      let batches = 0
      try {
        for await (const batch of feed.batches()) {
          act(() => live.take(batch))
          if (++batches % BURST === 0) await new Promise(setImmediate)
        }
        if (ending === null) end({ reason: 'the feed ended', exit: EXIT.exchange, complete: false })
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error)
        snapshots.error(text)
        end({ reason: `the feed failed: ${text}`, exit: EXIT.exchange, complete: false, error })
      }
    })()
    trader
      .start()
      .catch((error: unknown) =>
        end({ reason: error instanceof Error ? error.message : String(error), exit: EXIT.exchange, complete: false, error }),
      )
    await ended

    // ------------------------------------------------------------------------------------------ the end
    timer.cancel()
    clearInterval(commands)
    watcher.rest()
    const last = ending as unknown as Ending
    act(() => {
      live.operator({ command: 'halt', reason: `stopping: ${last.reason}`, by: 'end' })
      live.drain()
    })
    say('taking back what rests at the exchange')
    const left = await trader
      .settle(SETTLE)
      .catch((error: unknown) => [`it is not known what is open: ${error instanceof Error ? error.message : String(error)}`])
    // Said at once: whatever fails from here on, this must be known.
    for (const line of left) say(`LEFT OPEN: ${line}`)
    await trader.stop()
    ticker.cancel()
    clearInterval(seconds)
    external?.close()
    feed.stop()
    await reading
    if (broken !== null) throw broken instanceof Error ? broken : new Error('it broke')
    let sessionEnd: SessionEnd | null = null
    const full = deaf
    deaf = false
    if (!full && failure === null) guarded(() => live.close(last.reason))
    else if (!full) live.mark(last.reason)
    run.detach()
    if (failure === null) guarded(() => (sessionEnd = turn(() => engine.finish(last.reason, last.complete))))
    if (failure !== null) sessionEnd = engine.finish(reason, false)
    if (broken !== null) throw broken
    for (const line of left) snapshots.error(`left open: ${line}`)
    status(reason)
    snapshots.close()
    await recorder.leave()
    status(reason)
    const record = await folder.pause(sessionEnd as unknown as SessionEnd).catch((error: unknown) => {
      if (!(error instanceof DataError) || error.code !== 'DISK') throw error
      const open = left.length === 0 ? 'nothing of it is open at the exchange' : `LEFT OPEN: ${left.join('; ')}`
      throw new DataError(
        'DISK',
        `${error.message}; ${open}; what was kept is whole, and \`tapeline live --resume ${dir}\` goes on with it when there is room`,
        error,
      )
    })
    const facts = await tapeFacts(dir, header)
    await writeWhole(join(dir, 'session.json'), facts)
    return { record: { ...record, header: facts }, ending: last, failure, left, seconds: (performance.now() - started) / 1000 }
  } finally {
    Error.stackTraceLimit = limit
    await trading?.stop().catch(() => {})
    await watch.end()
    if (recorder.status.state !== 'finished') await recorder.leave().catch(() => {})
  }
}

/** On the disk, name and all, when it returns: without these files nobody can go on with orders that are out. */
async function writeWhole(path: string, value: unknown): Promise<void> {
  await writeFile(`${path}.tmp`, `${JSON.stringify(value, null, 1)}\n`, { flush: true })
  await rename(`${path}.tmp`, path)
  await syncFolder(dirname(path))
}

/** Processes that ran the session so far. */
function segmentsOf(inputs: Iterable<SessionInput>): number {
  let count = 0
  for (const input of inputs) if (input.kind === 'segment') count++
  return count
}
/** Where the exchange took other fees than its published formula makes: the books have what it took. */
function feesOff({ fees: { counts } }: Trading['status']): string[] {
  const off = (counts.reported - counts.modelled) / 1e6
  return counts.differ === 0
    ? []
    : [
        `fees of ${counts.differ} of ${counts.fills} fills differ from the published formula, $${off.toFixed(4)} in all; the books have what was taken`,
      ]
}
/** The last snapshot again, as of now: the process lives, and is on its way back. */
function beat(dir: string): void {
  try {
    writeSnapshot(dir, { ...readSnapshot(dir), pid: process.pid, written: Date.now(), ended: null })
  } catch {
    // There is none, or it cannot be written: then nobody is told.
  }
}
/** µs until which the session is known to have run. */
function ranOf(dir: string, inputs: Iterable<SessionInput>): number {
  let ran = 0
  for (const { time } of inputs) ran = Math.max(ran, time)
  try {
    ran = Math.max(ran, readSnapshot(dir).ran)
  } catch {}
  return ran
}

export async function readLivePlan(dir: string): Promise<{ readonly header: SessionHeader; readonly plan: LivePlan }> {
  const path = join(dir, 'live.json')
  if (!existsSync(path) || !existsSync(join(dir, 'session.json')))
    throw new DataError('NOT_A_SESSION', `${dir} is no live session (no live.json in it): give the folder that \`tapeline live\` printed`)
  try {
    const plan = JSON.parse(await readFile(path, 'utf8')) as LivePlan
    if (plan.schema === 'tapeline.live/1')
      return { plan, header: JSON.parse(await readFile(join(dir, 'session.json'), 'utf8')) as SessionHeader }
  } catch {}
  throw new DataError('NOT_A_SESSION', `${path} cannot be read: the session cannot go on; its tape can be run by \`tapeline backtest\``)
}
