/**
 * The drill of killed processes: a live session that is started, killed in the middle of what it does, and goes on, again and again. Owns the moments and the figures; hides nothing of what went wrong.
 * Invariant: the same seed chooses the same moments (what happens in them is the machine's).
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { realNow } from '../../adapters/exchange/index.ts'
import type { Random } from '../../adapters/practice/random.ts'
import { endJudged, ordersJudged } from './live-judge.ts'
import type { Room } from './live-room.ts'
import type { Started } from './live.ts'
import { SessionWitness } from './session-witness.ts'

/** When to kill. `after`: ms since it may trade. */
export type Moment =
  /** So long after it was started, whatever it does. */
  | { readonly at: 'time'; readonly after: number }
  /** An intent is in the log: its write is about to leave, or on its way. */
  | { readonly at: 'intent'; readonly after: number }
  /** A write is at the exchange: before it takes effect, or after and before its answer. */
  | { readonly at: 'before' | 'after'; readonly after: number }
/** Longer than this a process is not waited for: it is killed where it stands, ms. */
const PATIENCE = 15_000

export type Figures = {
  kills: number
  /** Of them: while it was not permitted to trade yet. */
  killsBeforeReady: number
  killsWithFlying: number
  readonly moments: Record<string, number>
  /** From the start of the process to the first agreement, ms. */
  readonly ready: number[]
  readonly wrong: string[]
  creates: number
  orders: number
  fills: number
  /** Orders of which it was not known whether they exist, by how that ended. */
  readonly unknown: Record<string, number>
  readonly exits: string[]
}

/** The `n`th kill, from 1: now and then a process lives long enough to find out what became of everything. */
export function momentOf(random: Random, n: number): Moment {
  if (n % 8 === 0) return { at: 'intent', after: 22_000 }
  const kind = random.integer(0, 9)
  if (kind < 4) return { at: 'time', after: random.integer(0, 4_000) }
  const after = random.integer(0, 1_500)
  return { at: kind < 6 ? 'intent' : kind < 8 ? 'before' : 'after', after }
}

export class Drill {
  readonly figures: Figures = {
    kills: 0,
    killsBeforeReady: 0,
    killsWithFlying: 0,
    moments: {},
    ready: [],
    wrong: [],
    creates: 0,
    orders: 0,
    fills: 0,
    unknown: {},
    exits: [],
  }
  witness: SessionWitness
  readonly #room: Room
  readonly #session: string
  /** There is a session to go on with. */
  begun = false

  constructor(room: Room, session: string) {
    this.#room = room
    this.#session = session
    this.witness = new SessionWitness(join(room.dir, session, 'log'))
    room.hooks.known = (client) => {
      this.witness.look()
      return this.witness.creates.has(client)
    }
  }

  /** Its log was changed by another hand: read anew from the start. */
  again(): void {
    this.witness.close()
    this.witness = new SessionWitness(join(this.#room.dir, this.#session, 'log'))
    this.witness.look()
  }
  /** Starts it, or lets it go on. */
  async start(more: readonly string[] = []): Promise<{ readonly process: Started; readonly at: number }> {
    await this.#room.arm()
    const at = realNow()
    // A process that was killed before the folder was begun has left nothing to go on with.
    const process = this.begun ? this.#room.resume(this.#session, more) : this.#room.begin(this.#session, more)
    return { process, at }
  }
  /** Waits for what this process has come to. False: it was over before. */
  async until(process: Started, look: () => boolean, ms = PATIENCE): Promise<boolean> {
    const end = performance.now() + ms
    while (performance.now() < end) {
      if (process.child.exitCode !== null || process.child.signalCode !== null) return false
      this.witness.look()
      if (look()) return true
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    return false
  }
  ready(lives: number): boolean {
    return this.witness.lives.length > lives && this.witness.lives.at(-1)?.agreed !== null
  }

  async kill(moment: Moment): Promise<void> {
    const { figures, witness } = this
    const lives = witness.lives.length
    const { process, at } = await this.start()
    let killed = false
    const kill = (): void => {
      if (!killed) process.child.kill('SIGKILL')
      killed = true
    }
    if (moment.at === 'time') {
      await this.until(process, () => (realNow() - at) / 1000 >= moment.after)
      kill()
    } else {
      await this.until(process, () => this.ready(lives))
      const since = performance.now()
      await this.until(process, () => performance.now() - since >= moment.after, moment.after + PATIENCE)
      if (moment.at === 'intent') {
        const asked = witness.asked
        await this.until(process, () => witness.asked > asked)
        kill()
      } else {
        this.#room.hooks.write = (_, effect) => {
          if (moment.at === 'after') effect()
          kill()
          this.#room.hooks.write = null
        }
        await this.until(process, () => killed)
        this.#room.hooks.write = null
        kill()
      }
    }
    const { code, out, err } = await process.ended
    witness.look()
    figures.kills++
    figures.moments[moment.at] = (figures.moments[moment.at] ?? 0) + 1
    if (!this.ready(lives)) figures.killsBeforeReady++
    else figures.ready.push(((witness.lives.at(-1)?.agreed as number) - at) / 1000)
    if (witness.flying.size > 0) figures.killsWithFlying++
    // It ended by itself before it was killed: that is what is looked for.
    if (code !== null) figures.exits.push(`kill ${figures.kills}: exit ${code} ${out.slice(0, 600)} ${err.slice(-300)}`)
    // As the program sees it: a folder with a log is a session.
    this.begun ||= existsSync(join(this.#room.dir, this.#session, 'log'))
    for (const w of ordersJudged(this.#room, witness)) if (!figures.wrong.includes(w)) figures.wrong.push(`kill ${figures.kills}: ${w}`)
  }

  /** The last process: it runs until nothing is unknown, and is ended by Ctrl-C. */
  async finish(ms: number): Promise<void> {
    const { figures, witness } = this
    const lives = witness.lives.length
    const { process, at } = await this.start()
    await this.until(process, () => this.ready(lives))
    if (this.ready(lives)) figures.ready.push(((witness.lives.at(-1)?.agreed as number) - at) / 1000)
    await this.end(process, ms)
  }
  async end(process: Started, ms: number): Promise<void> {
    const { figures, witness } = this
    await this.until(process, () => this.unknown().size === 0, ms)
    process.child.kill('SIGINT')
    const ended = await process.ended
    witness.look()
    if (ended.code !== 130) figures.exits.push(`end: exit ${ended.code} ${ended.out.slice(0, 600)} ${ended.err.slice(-300)}`)
    figures.wrong.push(...(await endJudged(this.#room, witness, join(this.#room.dir, this.#session))))
    figures.creates = witness.creates.size
    figures.orders = this.#room.orders().length
    figures.fills = this.#room.fills().length
    this.unknown()
  }

  /** Orders whose last word is that nothing is known; counts how the others ended. */
  unknown(): ReadonlySet<number> {
    const open = new Set<number>()
    const ended: Record<string, number> = {}
    for (const { news } of this.witness.news) {
      if (!('order' in news)) continue
      if (news.type === 'no-answer') open.add(news.order)
      else if (open.delete(news.order)) ended[news.type] = (ended[news.type] ?? 0) + 1
    }
    Object.assign(this.figures.unknown, ended)
    return open
  }
}

export function figuresText(figures: Figures): string {
  const sorted = [...figures.ready].sort((a, b) => a - b)
  const at = (q: number): string => ((sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN) / 1000).toFixed(2)
  return `${figures.kills} kills (${figures.killsBeforeReady} before it might trade, ${figures.killsWithFlying} with writes without an outcome; ${JSON.stringify(figures.moments)})
start to trading: n ${sorted.length}, p50 ${at(0.5)} s, p99 ${at(0.99)} s, max ${at(1)} s
creates in the log ${figures.creates}, orders at the exchange ${figures.orders}, fills ${figures.fills}
unknown, and how it ended: ${JSON.stringify(figures.unknown)}
wrong: ${figures.wrong.length === 0 ? 'nothing' : `\n  ${figures.wrong.slice(0, 30).join('\n  ')}`}
exits: ${figures.exits.length === 0 ? 'none of its own' : `\n  ${figures.exits.slice(0, 30).join('\n  ')}`}
`
}
