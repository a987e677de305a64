/**
 * One seed from its first moment to its verdict. Owns the course: everything breaks, everything heals, everything must be resolved. Invariant: the same seed, session and swarm give the same run.
 */
import { Signer } from '../../../adapters/kalshi/sign.ts'
import type { BudgetLimits } from '../../../adapters/kalshi/rate-limit.ts'
import type { World } from '../../../adapters/kalshi/ports.ts'
import { Disk, type Mount } from './disk.ts'
import { cashOf, DrillStage, KEY_ID, START } from './stage.ts'
import { Dice, swarmOf, type Fired, type Swarm } from './swarm.ts'
import { Truth, WatchedHub, type DrillLimits, type LastWord, type Witness } from './truth.ts'

const SECOND = 1_000_000
const BASIC: BudgetLimits = { read: { perSecond: 200, capacity: 600 }, write: { perSecond: 100, capacity: 100 } }
const PREMIER: BudgetLimits = { read: { perSecond: 1200, capacity: 1200 }, write: { perSecond: 1200, capacity: 3600 } }
export const LIMITS: DrillLimits = { positionMax: 20 * 100, marketLossMax: 12 * SECOND, sessionLossMax: 24 * SECOND }

/** What is drilled: a program that can be killed and started again. */
export interface Subject {
  start(): void
  /** Nothing new, and what rests is taken back. */
  stop(): void
  readonly calm: boolean
  /** Something broke inside: with why. */
  readonly failed?: string | null
  lastWord(): LastWord
}
export type SubjectParts<R> = {
  readonly world: World
  readonly signer: Signer
  readonly disk: Mount<R>
  readonly seed: number
  /** Starts so far. */
  readonly starts: number
  readonly cash: number
  readonly isHalted: () => boolean
  /** Rate limits of the account. */
  readonly limits: BudgetLimits
  /** An order of the session is over, with so much filled. */
  readonly ended: (clientId: string, filled: number) => void
  /** It says that its position is not the exchange's. */
  readonly alarmed: (ticker: string, position: number, why: string) => void
}
export type Drilled<R> = {
  readonly make: (parts: SubjectParts<R>) => Subject
  readonly witness: (disk: Disk<R>) => Witness
}
export type Outcome<R> = {
  readonly seed: number
  readonly mistakes: readonly string[]
  readonly fired: Fired
  /** µs from the healing until all was resolved; −1: it never was. */
  readonly resolved: number
  readonly creates: number
  readonly fills: number
  readonly foreign: number
  readonly used: number
  readonly disk: readonly R[]
}
export type Plan = {
  readonly swarm?: Swarm
  readonly limits?: DrillLimits
  readonly danger?: number
  readonly late?: readonly [number, number]
  readonly patience?: number
}

export async function drill<R>(seed: number, { make, witness }: Drilled<R>, plan: Plan = {}): Promise<Outcome<R>> {
  const dice = new Dice(seed, 'course')
  const swarm = plan.swarm ?? swarmOf(seed)
  const danger = plan.danger ?? dice.between(90, 180)
  let stage: DrillStage | null = null
  const seen: Witness = {
    ours: (id) => who.ours(id),
    isSafe: (id) => who.isSafe(id),
    intentOf: (id) => who.intentOf(id),
  }
  const truth = new Truth(() => stage?.timeline.now ?? START, plan.limits ?? LIMITS, seen)
  stage = new DrillStage(
    seed,
    swarm,
    truth,
    (id) => who.ours(id),
    (exchange) => new WatchedHub(exchange),
  )
  const { timeline, exchange, account, network, fired } = stage
  const hub = stage.hub as WatchedHub
  if (plan.late !== undefined) {
    network.late = plan.late
    truth.late = true
  }
  truth.attach(exchange, account, network, hub)
  const disk = new Disk<R>(timeline, new Dice(seed, 'disk'))
  const who: Witness = witness(disk)
  const signer = signerOf()
  let halted = false

  let starts = 0
  let process = network.process(() => dice.next())
  let subject: Subject | null = null
  let healed = false
  const start = (): void => {
    const chance = new Dice(seed, `chance ${starts}`)
    process = network.process(() => chance.next())
    try {
      subject = make({
        world: process.world,
        signer,
        disk: disk.mount(),
        seed,
        starts: starts++,
        cash: cashOf(swarm),
        isHalted: () => halted,
        limits: swarm.basicTier > 0 ? BASIC : PREMIER,
        ended: (clientId, filled) => truth.ended(clientId, filled),
        alarmed: (ticker, position, why) => truth.alarmed(ticker, position, why),
      })
      subject.start()
    } catch (error) {
      truth.wrong(`it does not start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    }
  }
  const crash = (): void => {
    process.kill()
    disk.crash()
    subject = null
    timeline.after(dice.between(300_000, 8 * SECOND), start)
  }
  start()
  const crashes = (): void => {
    if (healed) return
    if (subject !== null && dice.hit(swarm.crash)) {
      fired.crash++
      crash()
    }
    timeline.after(dice.between(1, 2 * SECOND), crashes)
  }
  timeline.after(SECOND, crashes)
  const acts = new Dice(seed, 'acts')
  stage.moment = disk.moment = (at) => {
    // Frames are many.
    if (healed || subject === null || !acts.hit(at === 'frame' ? swarm.crashAt / 50 : swarm.crashAt)) return
    fired['crash in the act']++
    crash()
  }
  /** The brake is pulled in the middle of something, where there is something to be in the middle of. */
  const brake = (call: () => void): void => {
    const { moment } = stage
    let armed = true
    const pull = (): void => {
      if (!armed) return
      armed = false
      stage.moment = disk.moment = moment
      halted = true
      truth.halt()
      call()
    }
    timeline.after(3 * SECOND, pull)
    stage.moment = disk.moment = (at) => {
      if (at !== 'frame' && at !== 'answer' && acts.hit(0.5)) pull()
      moment(at)
    }
  }
  const brakes = (): void => {
    if (!healed && !halted && dice.hit(swarm.brake))
      brake(() => {
        fired.brake++
        timeline.after(dice.between(SECOND, 8 * SECOND), () => {
          if (healed) return
          halted = false
          truth.release()
        })
      })
    if (!healed) timeline.after(SECOND, brakes)
  }
  timeline.after(SECOND, brakes)

  const each = (): void => {
    truth.check(hub)
    const failed = subject?.failed ?? null
    if (failed !== null && truth.mistakes.length === 0) truth.wrong(failed)
  }
  const begin = timeline.now
  const done = (resolved: number): Outcome<R> => ({
    seed,
    mistakes: truth.mistakes,
    fired,
    resolved,
    creates: truth.creates,
    fills: truth.fills,
    foreign: truth.foreignFills,
    used: truth.used,
    disk: disk.safe,
  })
  while (timeline.now < begin + danger * SECOND && truth.mistakes.length === 0) await stage.run(timeline.now + SECOND, each)
  if (truth.mistakes.length > 0) return done(-1)

  healed = true
  halted = false
  truth.release()
  stage.heal()
  const healedAt = timeline.now
  // Alive and well for a moment, then the brake.
  await stage.run(timeline.now + 12 * SECOND, each)
  let pulled = false
  brake(() => (pulled = true))
  while (!pulled) await stage.run(timeline.now + 100_000, each)
  ;(subject as unknown as Subject).stop()
  const patience = (plan.patience ?? 120) * SECOND
  let resolved = -1
  let wrong: string[] = []
  while (timeline.now < healedAt + patience && truth.mistakes.length === 0) {
    await stage.run(timeline.now + SECOND, each)
    const now = subject as unknown as Subject
    if (!now.calm || network.ways.size > 0) continue
    wrong = truth.verdict(now.lastWord())
    if (wrong.length === 0) {
      resolved = timeline.now - healedAt
      break
    }
  }
  if (resolved < 0) for (const w of wrong.length > 0 ? wrong : truth.verdict((subject as unknown as Subject).lastWord())) truth.wrong(w)
  if (resolved < 0 && truth.mistakes.length === 0) truth.wrong('it is not calm after all that time')
  process.kill()
  return done(resolved)
}

/** Signatures are not what is drilled: the real ones cost more than everything else together. */
function signerOf(): Signer {
  return Object.assign(Object.create(Signer.prototype) as Signer, {
    headers: (_method: string, _path: string, wall: number) => ({
      'KALSHI-ACCESS-KEY': KEY_ID,
      'KALSHI-ACCESS-TIMESTAMP': String(wall),
      'KALSHI-ACCESS-SIGNATURE': 'drill',
    }),
  })
}
