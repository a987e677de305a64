/**
 * A disk in memory: what was appended, and how much of it would survive. Owns the records; hides when they become safe. Invariants: only what a finished `sync` covered is sure to be there after a crash, in the
 * order in which it was given; a process that was killed writes no more.
 */
import type { Timeline } from '../timeline.ts'
import type { Dice } from './swarm.ts'

/** Moments at which a process may be killed: before and after everything that leaves it. */
export type Moment = 'append' | 'sync' | 'synced' | 'send' | 'sent' | 'answer' | 'frame'

export class Disk<R> {
  /** Survives a crash. */
  readonly safe: R[] = []
  readonly #timeline: Timeline
  readonly #dice: Dice
  #pending: R[] = []
  #mount: Mount<R> | null = null
  /** Told of each moment; may kill. */
  moment: (at: Moment) => void = () => {}
  syncs = 0

  constructor(timeline: Timeline, dice: Dice) {
    this.#timeline = timeline
    this.#dice = dice
  }
  /** What one process sees of it. */
  mount(): Mount<R> {
    const mount = new Mount(this)
    this.#mount = mount
    return mount
  }
  /** Some of what was not synced may have reached the disk all the same: a prefix of it. */
  crash(): void {
    if (this.#mount !== null) this.#mount.dead = true
    if (this.#dice.hit(0.3)) this.safe.push(...this.#pending.slice(0, this.#dice.between(0, this.#pending.length)))
    this.#pending = []
  }

  append(record: R): number {
    const place = this.safe.length + this.#pending.length
    this.#pending.push(record)
    this.moment('append')
    return place
  }
  sync(mount: Mount<R>): Promise<void> {
    this.syncs++
    const end = this.safe.length + this.#pending.length
    this.moment('sync')
    return new Promise((resolve) => {
      this.#timeline.after(this.#dice.between(100, 3_000), () => {
        if (mount.dead) return
        const more = end - this.safe.length
        if (more > 0) this.safe.push(...this.#pending.splice(0, more))
        this.moment('synced')
        if (!mount.dead) resolve()
      })
    })
  }
}

export class Mount<R> {
  readonly #disk: Disk<R>
  dead = false

  constructor(disk: Disk<R>) {
    this.#disk = disk
  }
  /** What an earlier process left. */
  get kept(): readonly R[] {
    return this.#disk.safe
  }
  /** Returns its place. */
  append(record: R): number {
    return this.dead ? -1 : this.#disk.append(record)
  }
  /** The last place that is safe, −1: none. */
  get synced(): number {
    return this.#disk.safe.length - 1
  }
  /** Takes a moment; whoever is dead by then never hears of it. */
  sync(): Promise<void> {
    return this.dead ? new Promise(() => {}) : this.#disk.sync(this)
  }
}
