/**
 * What goes wrong in one seed. Owns the families of faults and how strong each is; hides the dice. Invariant: each family is off in about half of the seeds, so that faults do not hide each other, and the
 * same seed gives the same swarm.
 */
import { random } from '../../support/random.ts'

/** Most of each family: a chance by request, frame or second, or µs. */
const MOST = {
  /** Milliseconds of latency each way beyond a few. */
  slow: 400,
  /** The answer comes late, so that fills are heard before it. */
  answerLate: 0.25,
  requestLost: 0.08,
  answerLost: 0.1,
  effectLate: 0.06,
  /** 408, 500, 502, 503, 504, with effect or without. */
  status: 0.1,
  tooMany: 0.08,
  html: 0.06,
  /** 2xx that says nothing, or cannot be read, or speaks of another order. */
  garbage: 0.1,
  refused: 0.06,
  /** A connection has to be made first. */
  connecting: 0.2,
  /** Reads: lost, 5xx, unreadable. */
  readFailed: 0.15,
  /** Reads of the account lag by up to so many seconds. */
  readLag: 10,
  /** Chance by second that they stand still for a while. */
  readFrozen: 0.02,
  /** Lists come in small pages, the rest of which is lost or comes back in circles. */
  pages: 0.2,
  privateDrop: 0.3,
  privateTwice: 0.15,
  privateOrder: 0.15,
  publicFaults: 0.01,
  /** Chances by second of a connection. */
  reset: 0.02,
  halfOpen: 0.01,
  /** Chances by second. */
  pauseTrading: 0.02,
  pauseExchange: 0.02,
  pauseShard: 0.02,
  marketHalted: 0.02,
  marketClosed: 0.025,
  foreign: 0.02,
  outsideCancel: 0.03,
  groupTrigger: 0.01,
  /** Somebody takes away half of what an order of ours has left. */
  meddle: 0.03,
  /** µs by which the clock of the session is off. */
  clockOff: 4_000_000,
  /** The account has the smallest rate limits. */
  basicTier: 1,
  /** It has little money on each shard. */
  poor: 1,
  /** Somebody pulls the brake, and lets it go. */
  brake: 0.01,
  /** Chance by second, and by moment at which something leaves or enters the process. */
  crash: 0.02,
  crashAt: 0.002,
} as const
export type Family = keyof typeof MOST
export const FAMILIES = Object.keys(MOST) as readonly Family[]
export type Swarm = Readonly<Record<Family, number>>

export const CALM: Swarm = Object.fromEntries(FAMILIES.map((f) => [f, 0])) as Record<Family, number>

/** `only`: these families alone keep what the seed gave them. */
export function swarmOf(seed: number, only: readonly Family[] = FAMILIES): Swarm {
  const next = random(seed ^ 0x2c1b3c6d)
  const swarm: Record<Family, number> = { ...CALM }
  for (const family of FAMILIES) {
    const on = next() < 0.5
    // Never so little that it would not be seen in one run.
    const share = 0.25 + 0.75 * next()
    if (on && only.includes(family)) swarm[family] = MOST[family] * share
  }
  return swarm
}

/** Every single thing that can go wrong, as it is counted. */
export const KINDS = [
  'answer late',
  'request lost',
  'request reset',
  'answer lost',
  'answer reset',
  'effect late',
  '408',
  '5xx without effect',
  '5xx with effect',
  '429',
  'html without effect',
  'html with effect',
  'answer cut',
  'answer empty',
  'answer without order',
  'answer of another order',
  'refused',
  'read lost',
  'read 5xx',
  'read 429',
  'read unreadable',
  'reads frozen',
  'small page',
  'page lost',
  'cursor in circles',
  'private frame lost',
  'private frame twice',
  'private frames swapped',
  'public frame lost',
  'public frame twice',
  'public frame cut',
  'fill before acknowledgement',
  'reset',
  'half open',
  'trading paused',
  'exchange paused',
  'shard paused',
  'market halted',
  'closed with orders open',
  'settled with a position',
  'manual order',
  'canceled by somebody else',
  'group triggered',
  'order reduced by somebody else',
  'brake',
  'crash',
  'crash in the act',
] as const
export type Kind = (typeof KINDS)[number]
export type Fired = Record<Kind, number>
export const newFired = (): Fired => Object.fromEntries(KINDS.map((k) => [k, 0])) as Fired

/** Dice of one purpose: what is thrown for one fault does not change what is thrown for another. */
export class Dice {
  readonly #next: () => number

  constructor(seed: number, purpose: string) {
    let h = 2166136261
    for (let i = 0; i < purpose.length; i++) h = Math.imul(h ^ purpose.charCodeAt(i), 16777619)
    this.#next = random((Math.imul(seed, 0x9e3779b1) ^ h) >>> 0)
  }
  hit(probability: number): boolean {
    return probability > 0 && this.#next() < probability
  }
  /** Both included. */
  between(from: number, to: number): number {
    return from + Math.floor(this.#next() * (to - from + 1))
  }
  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#next() * list.length)] as T
  }
  next(): number {
    return this.#next()
  }
}
