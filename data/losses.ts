/**
 * How a recording lost sight of its markets. Owns the three words and their count: a gap is a break in the sequence of a stream, a disconnect a connection that ended, a break a
 * recording that was broken off and went on. Hides which rows say so. Invariant: what strikes many markets at one moment counts once.
 */
import { Kind, type SyncDetail } from '../engine/message.ts'
import type { TapeFacts } from '../engine/session.ts'
import type { CoverageRow, Manifest } from './schema.ts'

/** Recording of these markets was broken off and goes on later: the time between was not recorded. */
export const RESTARTED = 'recorder restarted'
export const PAUSED = 'recording paused'

export function isBreak(reason: string): boolean {
  return reason === RESTARTED || reason === PAUSED
}
export function isGap(reason: string): boolean {
  return reason.startsWith('gap in seq') || reason === 'a message without seq'
}

/** What a session's header says of them. */
export function lossesOf(
  { disconnects, breaks }: Pick<Manifest, 'disconnects' | 'breaks'>,
  coverage: readonly CoverageRow[],
): Pick<TapeFacts, 'losses'> {
  if (breaks === undefined) return {}
  const resyncs = coverage.reduce((a, c) => a + c.resyncs, 0)
  return { losses: { resyncs, disconnects: disconnects ?? 0, breaks: breaks.count, down: breaks.time } }
}
/** Rows of the market, those that only repeat what is known left out. */
export function ownRows({ rows, checkpoints = 0 }: Pick<Manifest, 'rows' | 'checkpoints'>): number {
  return rows - checkpoints
}

export class Losses {
  gaps = 0
  disconnects = 0
  breaks = 0
  /** µs between the last moment before a break and the first row after it. */
  down = 0
  #gapTime = -1
  #disconnectTime = -1
  /** A break that has not ended. */
  #since = -1

  row(kind: number, time: number, text: string): void {
    const detail = kind === Kind.SYNC ? (JSON.parse(text) as SyncDetail) : null
    const reason = detail?.state === 'unsynced' ? detail.reason : ''
    if (isBreak(reason)) {
      if (this.#since < 0) this.#since = time
      return
    }
    if (this.#since >= 0) {
      this.breaks++
      this.down += time - this.#since
      this.#since = -1
    }
    if (isGap(reason) && time !== this.#gapTime) {
      this.#gapTime = time
      this.gaps++
    }
    if (detail?.disconnected === true && time !== this.#disconnectTime) {
      this.#disconnectTime = time
      this.disconnects++
    }
  }
  continue({ gaps, disconnects = 0, breaks }: Pick<Manifest, 'gaps' | 'disconnects' | 'breaks'>): void {
    this.gaps = gaps
    this.disconnects = disconnects
    this.breaks = breaks?.count ?? 0
    this.down = breaks?.time ?? 0
  }
  get facts(): Required<Pick<Manifest, 'gaps' | 'disconnects' | 'breaks'>> {
    return { gaps: this.gaps, disconnects: this.disconnects, breaks: { count: this.breaks, time: this.down } }
  }
}
