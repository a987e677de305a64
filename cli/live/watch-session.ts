/**
 * A watch over a live session: a process that trades nothing, with a connection of its own. Owns its course: it looks, says that it lives, takes everything back when the engine does not, and tells. Hides the
 * judgement (watchdog.ts), the stopping (adapters/kalshi/venue/stopper.ts) and the alerts (alerts.ts). Invariants: the latch is written before anything else of a takeover; nothing waits for an alert; what it
 * keeps does not grow, however long it runs.
 */
import { statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { KalshiLive, Stopper, StopReport } from '../../adapters/kalshi/live.ts'
import type { World } from '../../adapters/kalshi/ports.ts'
import { segmentsOf } from '../../data/log-reader.ts'
import { readHalt, writeHalt } from '../halt.ts'
import { lifeOf, type SessionSnapshot } from '../session-status.ts'
import { Alerts } from './alerts.ts'
import type { Channel } from './messenger.ts'
import { note } from './operator-log.ts'
import { snapshotOf, type LivePlace } from './place.ts'
import { Watchdog, type Condition, type Verdict } from './watchdog.ts'
import { readWatch, writeWatch, type Takeover, type WatchReport, type WatchState } from './watch-file.ts'

export type WatchParts = {
  readonly place: LivePlace
  readonly kalshi: KalshiLive
  readonly world: World
  readonly keyOwn: boolean
  /** ms. */
  readonly tolerance: number
  readonly channels: readonly Channel[]
  /** Ends with the session. */
  readonly untilEnd: boolean
  readonly say: (text: string) => void
}
export type WatchResult = {
  readonly reason: string
  readonly takeovers: number
  readonly takeover: Takeover | null
  readonly open: number | null
}

const LOOK_MS = 250
const BEAT_MS = 1_000
const SPACE_MS = 10_000
const PROBE_MS = 60_000
/** One try of a takeover, µs; then the next. */
const PATIENCE = 20_000_000
const AGAIN_FIRST = 5_000
const AGAIN_MAX = 60_000
/** After a takeover it is looked again, ms: what was on its way may have come late. */
const LATER = [10_000, 30_000, 60_000, 120_000] as const
const LATER_EVERY = 300_000
const UNREACHABLE_MS = 60_000

export class WatchSession {
  readonly #parts: WatchParts
  readonly #dog: Watchdog
  readonly #alerts: readonly { readonly channel: Channel; readonly alerts: Alerts }[]
  readonly #told: Alerts
  readonly #stopper: Stopper
  readonly #started = Date.now()
  #state: WatchState = 'idle'
  #verdict: Verdict = { engine: 'none', silentFor: null, back: false, conditions: [] }
  #own: Condition[] = []
  #heard: number | null = null
  #able = true
  #reached: number | null = null
  #failingSince: number | null = null
  #probing = false
  #probeAt = 0
  #free: number | null = null
  #freeAt = 0
  #beatAt = 0
  #takeover: Takeover | null = null
  #takeovers = 0
  /** This silence has been dealt with. */
  #dealt = false
  /** The halt over it was taken back, and it is dead: nothing of it can trade before it is heard of again. */
  #spared = false
  #taking = false
  #later = 0
  #openAfterEnd: number | null = null
  #endLooked = false
  readonly #undelivered: Record<string, string> = {}
  #timer: NodeJS.Timeout | null = null
  #finish: (reason: string) => void = () => {}
  #over: string | null = null

  constructor(parts: WatchParts) {
    this.#parts = parts
    const { place, channels, tolerance, kalshi } = parts
    const where = { session: place.name, environment: place.environment }
    this.#dog = new Watchdog({ tolerance })
    this.#alerts = channels.map((channel) => ({ channel, alerts: new Alerts(where) }))
    this.#told = new Alerts(where)
    this.#stopper = kalshi.stopper(place.subaccount, () => 'watch')
    // What a watch before has proved of an engine that is dead is proved: it is not halted once more.
    const before = readWatch(place.dir)
    if (before?.takeover == null) return
    this.#takeovers = before.takeovers
    this.#takeover = before.takeover
    const snapshot = snapshotOf(place.dir)
    this.#dealt = this.#provedDead(snapshot)
    if (this.#dealt && snapshot !== null) this.#dog.silentSince(snapshot.written, Date.now() - snapshot.written, performance.now())
  }

  /** Whether the exchange takes the key. Throws nothing: null, or why not. */
  async begin(): Promise<{ readonly why: string; readonly refused: boolean } | null> {
    this.#stopper.prepare()
    const { why, refused } = await this.#stopper.look()
    if (why !== null) return { why, refused }
    this.#reached = Date.now()
    this.#probeAt = performance.now() + PROBE_MS
    return null
  }
  run(): Promise<WatchResult> {
    return new Promise((resolve) => {
      this.#finish = (reason) => {
        if (this.#over !== null) return
        this.#over = reason
        if (this.#timer !== null) clearInterval(this.#timer)
        this.#beat()
        this.#stopper.close()
        resolve({ reason, takeovers: this.#takeovers, takeover: this.#takeover, open: this.#openAfterEnd })
      }
      this.#timer = setInterval(() => this.#look(), LOOK_MS)
      this.#look()
    })
  }
  end(reason: string): void {
    this.#finish(reason)
  }
  get takingOver(): boolean {
    return this.#taking
  }

  #look(): void {
    const { place, untilEnd } = this.#parts
    const now = performance.now()
    if (now >= this.#freeAt) {
      this.#freeAt = now + SPACE_MS
      this.#free = freeOf(place.dir)
    }
    const snapshot = snapshotOf(place.dir)
    if (snapshot !== null) this.#heard = snapshot.written
    const halt = readHalt(place.sessions)
    if (this.#dealt && halt === null && !this.#taking) {
      if (!this.#provedDead(snapshot)) {
        this.#parts.say('the halt was taken back: the engine has its time to come')
        this.#dealt = false
        this.#spared = false
        this.#dog.forgive(now)
      } else if (!this.#spared) {
        this.#parts.say('the halt was taken back: the engine is gone and nothing is open, so it is not halted again before it is heard of')
        this.#spared = true
      }
    }
    this.#verdict = this.#dog.look({ snapshot, latch: halt?.reason ?? null, free: this.#free }, now)
    const { engine, back } = this.#verdict
    if (back || engine === 'alive') {
      if (this.#dealt)
        this.#parts.say(
          halt === null ? 'the engine is back, and is watched as before' : 'the engine is back, and stays halted until `tapeline resume`',
        )
      this.#dealt = false
      this.#spared = false
      this.#endLooked = false
      this.#openAfterEnd = null
    }
    if (!this.#taking) this.#state = engine === 'alive' ? 'watching' : this.#dealt ? 'taken-over' : 'idle'
    if (engine === 'silent' && !this.#dealt && !this.#taking) void this.#takeOver()
    // Without a halt a look back would trigger the order groups that a resume has reset.
    else if (engine === 'silent' && this.#dealt && halt !== null && !this.#taking && now >= this.#later) void this.#takeOver(true)
    if (engine === 'ended' && !this.#endLooked && !this.#probing) void this.#lookAfterEnd()
    if ((engine !== 'silent' || this.#spared) && now >= this.#probeAt && !this.#probing) void this.#probe()
    this.#tell(now)
    if (now >= this.#beatAt) this.#beat()
    if (untilEnd && engine === 'ended' && this.#endLooked) this.#finish('the session has ended')
  }

  /** No process, no word since, and an account that was shown empty. One that was started again writes its log before anything else, even where its status cannot be written. */
  #provedDead(snapshot: SessionSnapshot | null): boolean {
    const t = this.#takeover
    return (
      t !== null &&
      t.proved !== null &&
      t.left === 0 &&
      snapshot !== null &&
      snapshot.written === t.heard &&
      lifeOf(snapshot, snapshot.written) === 'gone' &&
      !loggedSince(this.#parts.place.dir, t.flagged)
    )
  }

  /** `again`: it was proved before that nothing is open. */
  async #takeOver(again = false): Promise<void> {
    const { place, say, tolerance } = this.#parts
    this.#taking = true
    this.#state = 'taking-over'
    const reason = `the engine of ${place.name} was silent for more than ${tolerance / 1000} s`
    const latch = again ? null : writeHalt(place.sessions, reason, `tapeline watch ${place.name}`)
    const flagged = again ? (this.#takeover?.flagged ?? Date.now()) : Date.now()
    if (!again) {
      this.#takeovers++
      this.#takeover = { reason, heard: this.#heard, flagged, cancelsSent: null, proved: null, left: null, doubt: null }
      say(
        `${reason}: halted${latch === null || latch.stands ? '' : ` IN VAIN, ${latch.path} could not be written (${latch.failure ?? ''})`}; everything is being taken back`,
      )
    }
    let wait = AGAIN_FIRST
    for (let tries = 0; this.#over === null; tries++) {
      const begun = Date.now()
      const report = await this.#stopper.stop(PATIENCE)
      this.#account(report, begun, flagged, again && tries === 0)
      if (report.proved !== null || this.#verdict.engine !== 'silent') break
      say(`NOT PROVED that nothing is open (${report.doubt ?? 'orders are still shown'}): trying again`)
      await new Promise((resolve) => setTimeout(resolve, wait).unref())
      wait = Math.min(AGAIN_MAX, wait * 2)
    }
    this.#taking = false
    this.#dealt = true
    this.#later = performance.now() + nextLater(Date.now() - flagged)
  }
  #account(report: StopReport, begun: number, flagged: number, quiet: boolean): void {
    const at = (time: number | null): number | null => (time === null ? null : begun + Math.round((time - report.begun) / 1000))
    const { place, say } = this.#parts
    const left = report.left?.length ?? null
    const before = this.#takeover
    this.#reached = report.left === null ? this.#reached : Date.now()
    if (report.refused) this.#able = false
    else if (report.left !== null) this.#able = true
    this.#own = this.#own.filter((c) => c.class !== 'takeover-unproved')
    if (report.proved === null)
      this.#own.push({
        class: 'takeover-unproved',
        text: `it is not proved that nothing is open${left === null ? '' : `, ${left} orders were shown last`}: cancel them on the exchange's own page`,
      })
    const takeover: Takeover = {
      reason: before?.reason ?? '',
      heard: before?.heard ?? null,
      flagged,
      cancelsSent: before?.cancelsSent ?? at(report.cancelsSent),
      proved: quiet ? (before?.proved ?? null) : at(report.proved),
      left,
      doubt: report.doubt,
    }
    this.#takeover = takeover
    if (quiet && report.steps.every((s) => s.what !== 'cancel')) return
    const kept = note(place.dir, { what: 'takeover', ...takeover, steps: report.steps })
    if (report.proved !== null)
      say(
        `nothing is open, proved ${((takeover.proved ?? flagged) - flagged) / 1000} s after the flag${kept === null ? '' : ` (the session takes no note: ${kept})`}`,
      )
  }

  async #probe(): Promise<void> {
    this.#probing = true
    const { why, refused } = await this.#stopper.look()
    const now = performance.now()
    this.#probing = false
    this.#probeAt = now + (why === null ? PROBE_MS : PROBE_MS / 6)
    this.#able = !refused
    this.#failingSince = why === null ? null : (this.#failingSince ?? now)
    if (why === null) this.#reached = Date.now()
    this.#own = this.#own.filter((c) => c.class !== 'exchange-unreachable' && c.class !== 'key-refused')
    if (refused) this.#own.push({ class: 'key-refused', text: 'the exchange does not take the key of the watch: it could cancel nothing' })
    else if (this.#failingSince !== null && now - this.#failingSince > UNREACHABLE_MS)
      this.#own.push({
        class: 'exchange-unreachable',
        text: 'the watch has not reached the exchange for more than a minute: it could cancel nothing',
      })
  }
  /** An end takes everything back; whether it did is looked at once. */
  async #lookAfterEnd(): Promise<void> {
    this.#probing = true
    const { open } = await this.#stopper.look()
    this.#probing = false
    if (open === null) return
    this.#endLooked = true
    this.#openAfterEnd = open.length
    this.#reached = Date.now()
    this.#own = this.#own.filter((c) => c.class !== 'open-after-end')
    if (open.length > 0) {
      this.#own.push({
        class: 'open-after-end',
        text: `the session has ended and ${open.length} orders are open: \`tapeline halt ${this.#parts.place.name}\``,
      })
      // They may be on their way out, or expire: looked again.
      setTimeout(() => void (this.#endLooked = false), AGAIN_FIRST).unref()
    }
  }

  #tell(now: number): void {
    const wall = Date.now()
    const conditions = [
      ...this.#verdict.conditions,
      ...this.#own.filter((c) => c.class !== 'open-after-end' || this.#verdict.engine === 'ended'),
    ]
    this.#told.set(conditions, now, wall)
    for (const alert of this.#told.due(now, wall)) {
      if (alert.status !== 'lasting') this.#parts.say(`${alert.status === 'over' ? 'over' : 'ALERT'}: ${alert.class}: ${alert.text}`)
      this.#told.sent(alert, true, now)
    }
    for (const { channel, alerts } of this.#alerts) {
      alerts.set(conditions, now, wall)
      for (const alert of alerts.due(now, wall))
        void channel.send(alert).then((why) => {
          alerts.sent(alert, why === null, performance.now())
          if (why === null) delete this.#undelivered[channel.name]
          else this.#undelivered[channel.name] = why
        })
    }
  }
  #beat(): void {
    this.#beatAt = performance.now() + BEAT_MS
    const { place, keyOwn, tolerance } = this.#parts
    const snapshot = snapshotOf(place.dir)
    const report: WatchReport = {
      schema: 'tapeline.watch/1',
      session: place.dir,
      pid: process.pid,
      started: this.#started,
      written: Date.now(),
      ended: this.#over,
      state: this.#state,
      able: this.#able,
      reached: this.#reached,
      keyOwn,
      tolerance,
      engine: {
        pid: snapshot?.pid ?? null,
        state: this.#verdict.engine === 'alive' ? (snapshot?.state.name ?? '') : this.#verdict.engine,
        silentFor: this.#verdict.silentFor === null ? null : Math.round(this.#verdict.silentFor),
      },
      takeover: this.#takeover,
      takeovers: this.#takeovers,
      alerts: this.#told.open,
      undelivered: { ...this.#undelivered },
    }
    try {
      writeWatch(place.dir, report)
    } catch {
      // The engine sees that it is not written, and stops by itself.
    }
  }
}

function freeOf(dir: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(dir)
    return bavail * bsize
  } catch {
    return null
  }
}
function loggedSince(dir: string, time: number): boolean {
  try {
    return segmentsOf(join(dir, 'log')).some(({ path }) => statSync(path).mtimeMs > time)
  } catch (error) {
    // What cannot be looked at is no proof; what is not there was not written.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}
function nextLater(since: number): number {
  return LATER.find((l) => l > since) ?? LATER_EVERY
}
