/**
 * The practice population on somebody else's exchange: rolling markets of one length, each with its strangers, from the opening to the result. Owns the schedule and
 * the behaviour; hides orders. Invariant: the same seed, start and answers of the exchange give the same orders.
 *
 * The exchange is a port with five verbs (`CrowdStage`); who composes the two is none of this file's business.
 */
import type { MatchSink } from '../../engine/matching.ts'
import type { GridBand } from '../../engine/message.ts'
import { EventQueue, Phase } from '../../engine/queue.ts'
import { SECOND } from '../../engine/units.ts'
import { PRACTICE_GRID, PracticeMarket, type Floor } from './population.ts'
import { Random } from './random.ts'

export type CrowdMarket = {
  readonly ticker: string
  readonly event: string
  readonly series: string
  readonly title: string
  readonly openTime: number
  readonly closeTime: number
  readonly grid: readonly GridBand[]
}
export interface CrowdStage {
  list(market: CrowdMarket): void
  /** The floor of a listed market; the sink hears of the strangers' orders. */
  floor(ticker: string, sink: MatchSink): Floor
  open(ticker: string): boolean
  determine(ticker: string, result: 'yes' | 'no'): void
  /** A value of the outside index that the markets are about, decimal text. */
  index(id: string, value: string): void
}
export type CrowdOptions = {
  readonly seed: number
  readonly start: number
  /** Markets side by side. */
  readonly markets: number
  /** Life of a market, µs. */
  readonly life: number
  /** Actions a second in each market. */
  readonly rate: number
  /** From the close to the result, µs. */
  readonly resultAfter: number
}

const SERIES = 'KXPRACTICE15M'
const INDEX = 'PRACTICE_RTI'

type Step = { readonly kind: 'open' | 'act' | 'determine' | 'index'; readonly live: Live | null; readonly lane: number }
type Live = { readonly ticker: string; readonly close: number; readonly market: PracticeMarket }

export class Crowd {
  readonly #stage: CrowdStage
  readonly #options: CrowdOptions
  readonly #random: Random
  readonly #queue = new EventQueue<Step>()
  #made = 0
  #index = 50_000_00

  constructor(stage: CrowdStage, options: CrowdOptions) {
    this.#stage = stage
    this.#options = options
    this.#random = new Random(options.seed)
    for (let lane = 0; lane < options.markets; lane++) this.#queue.push(options.start, Phase.TIMER, { kind: 'open', live: null, lane })
    this.#queue.push(options.start, Phase.TIMER, { kind: 'index', live: null, lane: 0 })
  }

  get due(): number {
    return this.#queue.time
  }

  step(): void {
    const now = this.#queue.time
    const step = this.#queue.pop()
    const { life, rate, resultAfter } = this.#options
    const gap = Math.max(1, Math.round(SECOND / rate))
    switch (step.kind) {
      case 'open': {
        const live = this.#open(now, step.lane)
        this.#queue.push(now + this.#random.integer(1, 2 * gap), Phase.TIMER, { ...step, kind: 'act', live })
        this.#queue.push(live.close + resultAfter, Phase.TIMER, { ...step, kind: 'determine', live })
        this.#queue.push(now + life, Phase.TIMER, { ...step, kind: 'open', live: null })
        return
      }
      case 'act': {
        const { live } = step
        if (live === null || now >= live.close) return
        // Halted or paused: they wait.
        if (this.#stage.open(live.ticker)) live.market.act(now)
        this.#queue.push(now + this.#random.integer(1, 2 * gap), Phase.TIMER, step)
        return
      }
      case 'determine':
        if (step.live === null) return
        this.#stage.determine(step.live.ticker, step.live.market.result)
        return
      case 'index': {
        this.#index = Math.max(100, this.#index + this.#random.bell(150))
        const text = String(this.#index).padStart(3, '0')
        this.#stage.index(INDEX, `${text.slice(0, -2)}.${text.slice(-2)}`)
        this.#queue.push(now + SECOND, Phase.TIMER, step)
      }
    }
  }

  #open(now: number, lane: number): Live {
    const { seed, life } = this.#options
    const close = now + life
    const number = this.#made++
    const label = new Date(close / 1000).toISOString().slice(2, 19).replace(/[-T:]/g, '')
    const ticker = `${SERIES}-${label}-${String(lane).padStart(2, '0')}`
    const title = `Practice market ${lane + 1} closing ${new Date(close / 1000).toISOString().slice(11, 19)} UTC`
    this.#stage.list({ ticker, event: `${SERIES}-${label}`, series: SERIES, title, openTime: now, closeTime: close, grid: PRACTICE_GRID })
    const market = new PracticeMarket(
      seed * 1_000_003 + number,
      now,
      close,
      () => {},
      (sink) => this.#stage.floor(ticker, sink),
    )
    market.open()
    return { ticker, close, market }
  }
}
