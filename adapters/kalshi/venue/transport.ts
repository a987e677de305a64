/**
 * The one road for everything that may change something at the exchange. Owns signing and the measure of a write (handed over, first byte, answer); hides HTTP. Invariants: `gate.ts` alone calls it; nothing
 * is repeated here; a passage never rejects: how it failed, and whether a byte left, is its result.
 */
import { REST_ROOT, type Environment } from '../environment.ts'
import { HttpFailure, type Clock, type Http } from '../ports.ts'
import type { Signer } from '../sign.ts'
import type { WriteRequest } from './intent.ts'
import type { Passage } from './outcome.ts'
import type { Signatures } from './signatures.ts'

/** When, µs of the clock: handed to the transport, first byte on the socket (null: none), answer or its absence. */
export type PassageTimes = { readonly handed: number; readonly sent: number | null; readonly ended: number }
export type Leave = {
  readonly urgent: boolean
  readonly stop: AbortSignal | undefined
  readonly mayLeave: () => boolean
  readonly timeout: number
}

export class Transport {
  readonly #environment: Environment
  readonly #signer: Pick<Signer, 'headers'>
  readonly #signatures: Signatures | null
  readonly #clock: Clock
  readonly #http: Http

  constructor(environment: Environment, signer: Pick<Signer, 'headers'>, signatures: Signatures | null, clock: Clock, http: Http) {
    this.#environment = environment
    this.#signer = signer
    this.#signatures = signatures
    this.#clock = clock
    this.#http = http
  }

  /** Connections are opened before the first write. */
  prepare(): void {
    this.#http.prepare?.(this.#environment.rest)
  }

  async send(
    { method, path, query, body }: WriteRequest,
    { urgent, stop, mayLeave, timeout }: Leave,
  ): Promise<Passage & { readonly times: PassageTimes }> {
    const clock = this.#clock
    const handed = clock.now()
    let sent: number | null = null
    const root = `${REST_ROOT}${path}`
    // The body is no part of what is signed: the signature of a path that is always the same can be ready.
    const headers = this.#signatures?.take(method, root, clock.wall()) ?? this.#signer.headers(method, root, clock.wall())
    try {
      const answer = await this.#http.request({
        method,
        url: `${this.#environment.rest}${root}${query}`,
        headers: { accept: 'application/json', ...headers },
        body,
        timeout,
        urgent,
        mayLeave,
        ...(stop === undefined ? {} : { stop }),
        onSent: () => {
          sent = clock.now()
        },
      })
      return { answer, times: { handed, sent: sent ?? handed, ended: clock.now() } }
    } catch (error) {
      const failure = error instanceof HttpFailure ? error : null
      const reason = failure === null ? 'the request broke' : failure.kind === 'timeout' ? 'timeout' : failure.message
      // Whoever does not say is taken to have sent.
      return { answer: null, sent: failure?.sent ?? true, reason, times: { handed, sent, ended: clock.now() } }
    }
  }
}
