/**
 * A turn of other people's code, bounded in time. Owns the only way to break off a loop that never ends: a watchdog thread of Node's `vm` that interrupts the call. Hides the
 * script that makes the call. Invariant: what is broken off leaves by an error of its own kind, past every `catch` of the code that ran.
 */
import { Script } from 'node:vm'

/** The call did not end in time and was broken off, wherever it stood. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
}

const KEY = Symbol.for('tapeline.turn')
const script = new Script("globalThis[Symbol.for('tapeline.turn')]()")

/** Calls `body`; after `milliseconds` it is broken off. Costs some 20 µs. */
export function bounded<T>(body: () => T, milliseconds: number): T {
  const shared = globalThis as unknown as Record<symbol, unknown>
  let result: T | undefined
  const outer = shared[KEY]
  shared[KEY] = () => {
    result = body()
  }
  try {
    // The stack stays as it was thrown: it leads to the author's line.
    script.runInThisContext({ timeout: milliseconds, displayErrors: false })
    return result as T
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT')
      throw new TimeoutError(`not done after ${milliseconds / 1000} s: it was broken off`)
    throw error
  } finally {
    shared[KEY] = outer
  }
}
