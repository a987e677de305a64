/**
 * The state of a session: the one thing that permits an order. Owns the table below and the three facts behind `onward`; hides nothing. Invariant: a session is in one state, changes it only
 * along a cell of the table, and what has no cell cannot happen.
 *
 *              first-row  feed-synced  feed-lost  agreed    disagreed  warmup-over  pause    reduce    halt    resume   strategy-error  end       over
 *   starting   syncing    ·            ·          starting  starting   ·            ·        ·         ·       ·        stopping        stopping  ·
 *   syncing    ·          onward       syncing    onward    syncing    syncing      syncing  syncing   halted  syncing  stopping        stopping  ·
 *   ready      ·          ·            syncing    onward    syncing    onward       ready    onward    halted  onward   stopping        stopping  ·
 *   trading    ·          ·            syncing    onward    syncing    ·            ready    reducing  halted  trading  stopping        stopping  ·
 *   reducing   ·          ·            syncing    onward    syncing    ·            ready    reducing  halted  trading  stopping        stopping  ·
 *   halted     ·          halted       halted     halted    halted     halted       halted   onward    halted  onward   stopping        stopping  ·
 *   stopping   ·          stopping     stopping   stopping  stopping   ·            ·        ·         ·       ·        stopping        stopping  stopped
 *   stopped    ·          ·            ·          ·         ·          ·            ·        ·         ·       ·        stopped         stopped   ·
 *
 * `·` cannot happen. `onward` is the first of these that holds: the feed is lost, or (live) the exchange and we do not agree → syncing; the warm-up goes on → ready; else what the operator said
 * last: pause → ready, reduce → reducing, resume (or nothing) → trading. A halt is left by `resume` or `reduce` and by nothing else.
 *
 * In a backtest the tape is its own feed: it is synced with its first row and never lost, and a gap is a matter of its market. In paper and live the feed is synced while any open market has a
 * whole book, and lost after none had for `silenceMax`. In live nothing is permitted before orders, fills, positions and cash were found to be what the exchange says, nor while they are not.
 */
import { assert } from './assert.ts'

export const SESSION_STATES = ['starting', 'syncing', 'ready', 'trading', 'reducing', 'halted', 'stopping', 'stopped'] as const
export type SessionStateName = (typeof SESSION_STATES)[number]
export const SESSION_CAUSES = [
  'first-row',
  'feed-synced',
  'feed-lost',
  'agreed',
  'disagreed',
  'warmup-over',
  'pause',
  'reduce',
  'halt',
  'resume',
  'strategy-error',
  'end',
  'over',
] as const
export type SessionCause = (typeof SESSION_CAUSES)[number]
type Cell = SessionStateName | 'onward'

/** The ends are the same from everywhere. */
const ENDS = { 'strategy-error': 'stopping', end: 'stopping' } as const
const AGREEMENT = { agreed: 'onward', disagreed: 'syncing' } as const
const TABLE: Readonly<Record<SessionStateName, Partial<Record<SessionCause, Cell>>>> = {
  starting: { 'first-row': 'syncing', agreed: 'starting', disagreed: 'starting', ...ENDS },
  syncing: {
    'feed-synced': 'onward',
    'feed-lost': 'syncing',
    agreed: 'onward',
    disagreed: 'syncing',
    'warmup-over': 'syncing',
    pause: 'syncing',
    reduce: 'syncing',
    halt: 'halted',
    resume: 'syncing',
    ...ENDS,
  },
  ready: {
    'feed-lost': 'syncing',
    ...AGREEMENT,
    'warmup-over': 'onward',
    pause: 'ready',
    reduce: 'onward',
    halt: 'halted',
    resume: 'onward',
    ...ENDS,
  },
  trading: { 'feed-lost': 'syncing', ...AGREEMENT, pause: 'ready', reduce: 'reducing', halt: 'halted', resume: 'trading', ...ENDS },
  reducing: { 'feed-lost': 'syncing', ...AGREEMENT, pause: 'ready', reduce: 'reducing', halt: 'halted', resume: 'trading', ...ENDS },
  halted: {
    'feed-synced': 'halted',
    'feed-lost': 'halted',
    agreed: 'halted',
    disagreed: 'halted',
    'warmup-over': 'halted',
    pause: 'halted',
    reduce: 'onward',
    halt: 'halted',
    resume: 'onward',
    ...ENDS,
  },
  stopping: { 'feed-synced': 'stopping', 'feed-lost': 'stopping', agreed: 'stopping', disagreed: 'stopping', ...ENDS, over: 'stopped' },
  stopped: { 'strategy-error': 'stopped', end: 'stopped' },
}

/** Why no order is permitted, in risk's words. */
export type Hold = 'session-ending' | 'syncing' | 'warmup' | 'halted' | 'paused'

export class SessionState {
  name: SessionStateName = 'starting'
  /** Engine time at which it came to be. */
  since = 0
  cause: SessionCause | null = null
  /** Plain fields, for risk: why nothing may be sent, and whether only what lowers a position may. */
  hold: Hold | null = 'warmup'
  reducing = false
  #fed = false
  #agreed: boolean
  #warm = false
  #word: 'ready' | 'reducing' | 'trading' = 'trading'
  readonly #entered: (name: SessionStateName, cause: SessionCause) => void

  /** `entered`: told of every change, with its cause. `live`: orders are real, and wait until the exchange and we agree. */
  constructor(entered: (name: SessionStateName, cause: SessionCause) => void, live = false) {
    this.#entered = entered
    this.#agreed = !live
  }

  /** Whether the warm-up is over, whatever else holds. */
  get warm(): boolean {
    return this.#warm
  }
  /** Whether the feed counts as synced. */
  get fed(): boolean {
    return this.#fed
  }
  /** Whether the exchange says what we say. */
  get agreed(): boolean {
    return this.#agreed
  }
  get ending(): boolean {
    return this.name === 'stopping' || this.name === 'stopped'
  }

  move(cause: SessionCause, now: number): void {
    const cell = TABLE[this.name][cause]
    assert(cell !== undefined, 'a session changes its state along its table')
    if (cause === 'feed-synced') this.#fed = true
    else if (cause === 'feed-lost') this.#fed = false
    else if (cause === 'agreed') this.#agreed = true
    else if (cause === 'disagreed') this.#agreed = false
    else if (cause === 'warmup-over') this.#warm = true
    else if (cause === 'resume') this.#word = 'trading'
    else if (cause === 'reduce') this.#word = 'reducing'
    else if (cause === 'pause' && this.name !== 'halted') this.#word = 'ready'
    const before = this.name
    this.name = cell === 'onward' ? this.#onward() : cell
    this.reducing = this.name === 'reducing'
    this.hold = this.#hold()
    if (this.name === before) return
    this.since = now
    this.cause = cause
    this.#entered(this.name, cause)
  }

  #onward(): SessionStateName {
    return !this.#fed || !this.#agreed ? 'syncing' : !this.#warm ? 'ready' : this.#word
  }
  #hold(): Hold | null {
    switch (this.name) {
      case 'starting':
        return 'warmup'
      case 'syncing':
        return 'syncing'
      case 'ready':
        return this.#warm ? 'paused' : 'warmup'
      case 'halted':
        return 'halted'
      case 'stopping':
      case 'stopped':
        return 'session-ending'
      case 'trading':
      case 'reducing':
        return null
    }
  }
}
