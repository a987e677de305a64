/**
 * A session lived again from its own record: rows and news in the order in which they came, through a new engine with a venue that says nothing. Owns that order and the venue; hides nothing.
 * Invariant: what was news then is news now, at the same time and at the same place among the rows, so the same engine writes the same journal, byte for byte. Who replays a session and who goes on
 * with one read it here.
 */
import type { SessionPiece } from '../../data/session-inputs.ts'
import type { Engine } from '../../engine/engine.ts'
import type { News } from '../../engine/news.ts'
import type { Command } from '../../engine/order.ts'
import type { Venue } from '../../engine/venue.ts'

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

/** Each piece is told after the engine has lived through it. `turn` makes a call into the engine, bounded in time. */
export async function* relive(
  pieces: AsyncIterable<SessionPiece>,
  engine: Pick<Engine, 'run' | 'enter'>,
  turn: <T>(body: () => T) => T,
): AsyncGenerator<SessionPiece> {
  for await (const piece of pieces) {
    if (piece.type === 'rows') {
      turn(() => engine.run(piece.batch))
      // Signals and timers live between two batches.
      await new Promise(setImmediate)
    } else if (piece.input.kind === 'news') turn(() => engine.enter(piece.input.time, piece.input.detail as News))
    yield piece
  }
}
