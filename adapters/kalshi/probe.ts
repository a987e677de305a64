/**
 * A look at the exchange without a session: does REST answer, does a WebSocket open, is the key believed, how far apart are the clocks. Owns the bounds; hides the parts. Invariant: it
 * ends within its time whatever the network does, only reads, and repeats nothing.
 */
import { environmentOf, type Environment } from './environment.ts'
import { KalshiError } from './errors.ts'
import type { World } from './ports.ts'
import { Budget } from './rate-limit.ts'
import { Rest } from './rest.ts'
import type { Signer } from './sign.ts'

/** `error` null: it went well. `took` in µs. */
export type Probed = { readonly error: KalshiError | null; readonly took: number }
export type ProbeResult = {
  readonly environment: Environment
  readonly rest: Probed
  /** What the exchange says of itself; null where it said nothing. */
  readonly status: { readonly exchangeActive: boolean; readonly tradingActive: boolean } | null
  /** The exchange's clock − ours, µs; null before an answer. */
  readonly clock: { readonly offset: number; readonly uncertainty: number } | null
  /** A 401 without a key is an answer too: `asksForKey`. */
  readonly socket: Probed & { readonly asksForKey: boolean }
  /** Null: there was no key, or nobody to ask. */
  readonly key: Probed | null
}

export async function probe(
  name: string,
  signer: Signer | null,
  world: World,
  { timeout = 3_000_000, env = {} }: { readonly timeout?: number; readonly env?: Readonly<Record<string, string | undefined>> } = {},
): Promise<ProbeResult> {
  const environment = environmentOf(name, env)
  const rest = new Rest(environment, signer, new Budget(), world)
  const timed = async <T>(ask: () => Promise<T>): Promise<Probed & { readonly answer: T | null }> => {
    const started = world.clock.now()
    try {
      const answer = await ask()
      return { answer, error: null, took: world.clock.now() - started }
    } catch (error) {
      if (!(error instanceof KalshiError)) throw error
      return { answer: null, error, took: world.clock.now() - started }
    }
  }
  const socket = openSocket(environment, signer, world, timeout)
  const status = await timed(() => rest.get('exchangeStatus', {}, { attempts: 1, timeout }))
  const clock = rest.clockOffset
  const reached = status.error === null || status.error.status !== null
  const key = signer === null || !reached ? null : await timed(() => rest.get('balance', {}, { attempts: 1, timeout }))
  rest.stop()
  return {
    environment,
    rest: { error: status.error, took: status.took },
    status: status.answer === null ? null : { exchangeActive: status.answer.exchange_active, tradingActive: status.answer.trading_active },
    clock,
    socket: await socket,
    key: key === null ? null : { error: key.error, took: key.took },
  }
}

function openSocket(
  { socket: url }: Environment,
  signer: Signer | null,
  world: World,
  timeout: number,
): Promise<Probed & { readonly asksForKey: boolean }> {
  const started = world.clock.now()
  return new Promise((done) => {
    let ended = false
    const end = (error: KalshiError | null, asksForKey = false): void => {
      if (ended) return
      ended = true
      timer.cancel()
      done({ error, asksForKey, took: world.clock.now() - started })
    }
    const timer = world.timers.after(timeout, () => {
      end(new KalshiError('TIMEOUT', `the WebSocket did not open within ${timeout / 1e6} s: check firewall and proxy`))
      socket.destroy()
    })
    const headers = signer === null ? {} : signer.headers('GET', new URL(url).pathname, world.clock.wall())
    const socket = world.sockets.open(url, headers, {
      opened: () => {
        end(null)
        socket.destroy()
      },
      frame: () => {},
      strange: () => {},
      heard: () => {},
      closed: ({ reason, status }) => {
        if (status === 401 && signer === null) return end(null, true)
        const advice = status === 401 ? 'check the key, its environment and the clock' : 'check the connection to the exchange'
        end(new KalshiError(status === 401 ? 'AUTH' : 'NETWORK', `the WebSocket did not open (${reason}): ${advice}`, status))
      },
    })
  })
}
