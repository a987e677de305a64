/** HTTP over undici: the one door to it. Owns the connection pool of reads and the size of an answer; hides sockets. Invariant: redirects are not followed and nothing is retried here. */
import { Agent, request } from 'undici'
import { UndiciWrites } from './rest-writes.ts'
import { HttpFailure, type Http, type HttpAnswer, type HttpRequest } from './ports.ts'

const BODY_MAX = 64 * 1024 * 1024
const CONNECT_TIMEOUT = 5_000

export class UndiciHttp implements Http {
  readonly #agent = new Agent({
    connections: 8,
    keepAliveTimeout: 30_000,
    connect: { timeout: CONNECT_TIMEOUT },
    maxResponseSize: BODY_MAX,
  })
  readonly #writes = new UndiciWrites()

  /** Reads share a pool; whatever may change something at the exchange goes its own way, where it is known whether it left. */
  request(request: HttpRequest): Promise<HttpAnswer> {
    return request.method === 'GET' ? this.#read(request) : this.#writes.request(request)
  }
  prepare(origin: string): void {
    this.#writes.prepare(origin)
  }

  async #read({ method, url, headers, body, timeout }: HttpRequest): Promise<HttpAnswer> {
    const milliseconds = Math.ceil(timeout / 1000)
    const signal = AbortSignal.timeout(milliseconds)
    try {
      const answer = await request(url, {
        method,
        headers: { ...headers, ...(body === null ? {} : { 'content-type': 'application/json' }) },
        body,
        dispatcher: this.#agent,
        signal,
        headersTimeout: milliseconds,
        bodyTimeout: milliseconds,
      })
      return {
        status: answer.statusCode,
        type: one(answer.headers['content-type']),
        date: one(answer.headers['date']),
        body: await answer.body.text(),
      }
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : ''
      if (signal.aborted || code.includes('TIMEOUT')) throw new HttpFailure('timeout', `none within ${milliseconds / 1000} s`)
      if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') throw new HttpFailure('too large', `it is larger than ${BODY_MAX / 1024 / 1024} MiB`)
      throw new HttpFailure('network', code === '' ? 'the connection failed' : code)
    }
  }
  async close(): Promise<void> {
    // What is on its way is not waited for: whoever closes has stopped asking.
    await Promise.all([this.#agent.destroy(), this.#writes.close()])
  }
}

function one(header: string | readonly string[] | undefined): string {
  return typeof header === 'string' ? header : (header?.[0] ?? '')
}
