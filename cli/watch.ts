/**
 * Turns of a session, bounded and watched. Owns the bound of one turn and the question where a broken-off call stood; hides the second thread. Invariant: without the thread (it
 * could not start, or did not look in time) a call is broken off all the same, and only the line is missing.
 */
import { existsSync } from 'node:fs'
import { receiveMessageOnPort, Worker, MessageChannel } from 'node:worker_threads'
import type { Place } from './strategy/finding.ts'
import { placeOf, type Frame } from './strategy/trace.ts'
import { bounded } from './turn.ts'

/** A minute: a turn holds some hundred milliseconds of honest work. Seconds, for strategies that are slower on purpose. */
const TURN_SECONDS = 60
export function turnMax(): number {
  const seconds = Number(process.env['TAPELINE_TURN_SECONDS'])
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : TURN_SECONDS * 1000
}

export class Watch {
  readonly #milliseconds = turnMax()
  readonly #turns = new Int32Array(new SharedArrayBuffer(4))
  readonly #channel = new MessageChannel()
  readonly #worker: Worker | null

  constructor() {
    const file = new URL('./watch-worker.js', import.meta.url)
    this.#worker = existsSync(file)
      ? new Worker(file, {
          workerData: { turns: this.#turns, port: this.#channel.port2, milliseconds: this.#milliseconds },
          transferList: [this.#channel.port2],
        })
      : null
    this.#worker?.unref()
    this.#worker?.on('error', () => {})
  }

  turn<T>(body: () => T): T {
    Atomics.add(this.#turns, 0, 1)
    try {
      return bounded(body, this.#milliseconds)
    } finally {
      Atomics.add(this.#turns, 0, 1)
    }
  }

  /** The author's line at which the last turn stood before it was broken off, where that is known. */
  stood(): Place | null {
    const got = receiveMessageOnPort(this.#channel.port1) as { message: readonly Frame[] } | undefined
    return got === undefined ? null : placeOf(got.message)
  }

  async end(): Promise<void> {
    this.#channel.port1.close()
    await this.#worker?.terminate()
  }
}
