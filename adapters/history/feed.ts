/** The feed of a backtest: a tape, read in order. Owns nothing but the port; hides the reader. */
import type { Batch, Feed } from '../../engine/message.ts'
import type { ReadOptions, Tape } from '../../data/tape-reader.ts'

export class HistoryFeed implements Feed {
  readonly #tape: Tape
  readonly #options: ReadOptions

  constructor(tape: Tape, options: ReadOptions) {
    this.#tape = tape
    this.#options = options
  }
  async *batches(): AsyncIterableIterator<Batch> {
    yield* await this.#tape.read(this.#options)
  }
}
