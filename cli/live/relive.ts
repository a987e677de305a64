/**
 * A live session, lived again: its own rows and news, in the order in which they entered, through an engine whose venue says nothing. Owns that course; hides the log and the tape. Invariant: nothing else
 * enters, so the engine comes to stand where the old one stood.
 */
import { readSession } from '../../data/session-inputs.ts'
import { AssertionError } from '../../engine/assert.ts'
import type { Engine } from '../../engine/engine.ts'
import type { News } from '../../engine/news.ts'
import { countExternals } from '../live-session.ts'

export type Relived = {
  readonly rows: number
  readonly news: number
  /** Markets that its tape has numbered, and values of outside series on it. */
  readonly markets: number
  readonly externals: ReadonlyMap<string, number>
  /** µs of the last row or news. */
  readonly to: number
  /** What a strategy threw; null: none failed. */
  readonly failure: Error | null
}

/** `turn` makes a call into the engine. A strategy that fails is kept as `failure`: no row entered after it, and news to the end. Throws what else the engine throws. */
export async function relive(dir: string, engine: Pick<Engine, 'run' | 'enter' | 'stop'>, turn: <T>(body: () => T) => T): Promise<Relived> {
  const { tickers, pieces } = await readSession(dir, { decode: 'thread', batchRows: 4096 })
  let [rows, news, to] = [0, 0, 0]
  const externals = new Map<string, number>()
  let failure: Error | null = null
  const guarded = (body: () => void): void => {
    try {
      turn(body)
    } catch (error) {
      if (failure !== null || error instanceof AssertionError) throw error
      failure = error instanceof Error ? error : new Error('a strategy threw something that is no error')
      engine.stop()
    }
  }
  for await (const piece of pieces) {
    if (piece.type === 'input') {
      const { kind, time, detail } = piece.input
      if (kind !== 'news') continue
      guarded(() => engine.enter(time, detail as News))
      news++
      to = Math.max(to, time)
      continue
    }
    const { batch } = piece
    countExternals(batch, externals)
    if (batch.length > 0) to = Math.max(to, batch.time[batch.length - 1] as number)
    if (failure === null) guarded(() => engine.run(batch))
    rows += batch.length
    await new Promise(setImmediate)
  }
  return { rows, news, markets: tickers.length, externals, to, failure }
}
