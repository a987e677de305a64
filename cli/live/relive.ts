/**
 * A session lived again from its own record: rows and news in the order in which they came, through a new engine with a venue that says nothing. Owns that order and the venue; hides nothing.
 * Invariant: what was news then is news now, at the same time and at the same place among the rows, so the same engine writes the same journal, byte for byte. Who replays a session and who goes on
 * with one read it here.
 */
import { AssertionError } from '../../engine/assert.ts'
import { readSession, type SessionPiece } from '../../data/session-inputs.ts'
import type { Engine } from '../../engine/engine.ts'
import { Kind, type OperatorDetail } from '../../engine/message.ts'
import type { News } from '../../engine/news.ts'
import type { Command } from '../../engine/order.ts'
import type { Venue } from '../../engine/venue.ts'
import { countExternals } from '../live-session.ts'
import type { OperatorCommand } from '../session-status.ts'

/** What the engine sent, as it was when it was sent: an order goes on to live. */
export type Sent = {
  readonly order: number
  readonly type: Command['type']
  readonly ticker: string
  readonly side: 'bid' | 'ask'
  readonly price: number
  readonly quantity: number
}

/** Takes every command and answers none: answers are news of the record. */
export class SilentVenue implements Venue {
  readonly onTape = null
  readonly sent: Sent[] = []

  connect(): void {}
  send({ type, order, price, quantity }: Command): number {
    this.sent.push({ order: order.id, type, ticker: order.market.ticker, side: order.side === 0 ? 'bid' : 'ask', price, quantity })
    return 0
  }
}

/**
 * Each piece is told after the engine has lived through it. `turn` makes a call into the engine, bounded in time. A strategy that fails is told by `failed`: after it no row enters, as none did then, and
 * news to the end.
 */
export async function* relive(
  pieces: AsyncIterable<SessionPiece>,
  engine: Pick<Engine, 'run' | 'enter' | 'stop'>,
  turn: <T>(body: () => T) => T,
  failed: (error: Error) => void,
): AsyncGenerator<SessionPiece> {
  let over = false
  const live = (body: () => void): void => {
    try {
      turn(body)
    } catch (error) {
      if (over || error instanceof AssertionError || !(error instanceof Error)) throw error
      over = true
      engine.stop()
      failed(error)
    }
  }
  for await (const piece of pieces) {
    if (piece.type === 'rows') {
      if (!over) live(() => engine.run(piece.batch))
      // Signals and timers live between two batches.
      await new Promise(setImmediate)
    } else if (piece.input.kind === 'news') live(() => engine.enter(piece.input.time, piece.input.detail as News))
    yield piece
  }
}

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
  /** The last word of a person, and the last of anybody; null: none was said. */
  readonly said: OperatorCommand | null
  readonly told: OperatorCommand | null
}

/** A whole session folder, as far as it has come. */
export async function reliveFolder(
  dir: string,
  engine: Pick<Engine, 'run' | 'enter' | 'stop'>,
  turn: <T>(body: () => T) => T,
): Promise<Relived> {
  const { tickers, pieces } = await readSession(dir, { decode: 'thread', batchRows: 4096 })
  let [rows, news, to] = [0, 0, 0]
  let failure: Error | null = null
  let [said, told]: [OperatorCommand | null, OperatorCommand | null] = [null, null]
  const externals = new Map<string, number>()
  for await (const piece of relive(pieces, engine, turn, (error) => (failure = error))) {
    if (piece.type === 'input') {
      if (piece.input.kind !== 'news') continue
      news++
      to = Math.max(to, piece.input.time)
    } else {
      const { batch } = piece
      countExternals(batch, externals)
      for (let i = 0; i < batch.length; i++) {
        if (batch.kind[i] !== Kind.OPERATOR) continue
        const { command, by } = JSON.parse(batch.details[batch.detail[i] as number] as string) as OperatorDetail
        if (command === 'stop') continue
        told = command
        if (by === undefined) said = command
      }
      if (batch.length > 0) to = Math.max(to, batch.time[batch.length - 1] as number)
      rows += batch.length
    }
  }
  return { rows, news, markets: tickers.length, externals, to, failure, said, told }
}
