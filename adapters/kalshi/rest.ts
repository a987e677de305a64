/**
 * Reads over REST. Owns signing, the budget, timeouts, bounded retries and what an answer means; hides HTTP. Invariants: only reads are repeated (an order is sent by other
 * code, once); an answer that is not what the endpoint answers is UNREADABLE, never empty; a list says whether it is complete.
 */
import { KalshiError } from './errors.ts'
import { REST_ROOT, type Environment } from './environment.ts'
import { HttpFailure, type Http, type HttpAnswer, type HttpRequest, type Timer, type World } from './ports.ts'
import { Priority, type Budget, type Lane } from './rate-limit.ts'
import type { Signer } from './sign.ts'
import { ENDPOINTS, errorOf, type Answer, type Endpoint, type EndpointOf } from './wire/answers.ts'

export type Parameters = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>
export type ReadOptions = {
  readonly priority?: Priority
  /** µs for one attempt. */
  readonly timeout?: number
  readonly attempts?: number
  /** Ask again after an answer that is no JSON, too: whoever is in between may be gone by then. */
  readonly patient?: boolean
}
/** A walked list. `complete`: its end was reached; false with why otherwise. */
export type Listing<T> = { readonly items: readonly T[]; readonly complete: boolean; readonly why: string; readonly pages: number }

const TIMEOUT = 10_000_000
const ATTEMPTS = 4
const BACKOFF_FIRST = 250_000
const BACKOFF_MAX = 8_000_000
const PAGES_MAX = 1_000

export type RestWorld = Pick<World, 'clock' | 'timers' | 'chance' | 'http'>

export class Rest {
  readonly #environment: Environment
  readonly #signer: Signer | null
  readonly #budget: Budget
  readonly #world: RestWorld
  #timer: Timer | null = null
  #stopped = false
  readonly #abandoned = new Set<(error: KalshiError) => void>()
  /** The exchange's clock − ours, and how far that may be off (µs); null before the first answer. */
  clockOffset: { readonly offset: number; readonly uncertainty: number } | null = null
  /** Requests sent and how they ended, by word. */
  readonly counts: Record<string, number> = {}

  constructor(environment: Environment, signer: Signer | null, budget: Budget, world: RestWorld) {
    this.#environment = environment
    this.#signer = signer
    this.#budget = budget
    this.#world = world
  }

  /** One answer, checked. Throws a `KalshiError`. */
  async get<E extends Endpoint>(endpoint: E, parameters: Parameters = {}, options: ReadOptions = {}): Promise<Answer<E>> {
    return (await this.answer(endpoint, parameters, options)).value
  }
  /** The same, with the text as it came. */
  async answer<E extends Endpoint>(
    endpoint: E,
    parameters: Parameters = {},
    options: ReadOptions = {},
  ): Promise<{ readonly value: Answer<E>; readonly body: string }> {
    const { path, check, signed } = ENDPOINTS[endpoint] as EndpointOf<Answer<E>>
    const filled = fill(path, parameters, endpoint)
    const attempts = options.attempts ?? ATTEMPTS
    for (let attempt = 1; ; attempt++) {
      let whole = false
      try {
        const body = await this.#read(filled.path, filled.query, signed, options)
        let value: unknown
        try {
          value = JSON.parse(body)
        } catch {
          throw new KalshiError(
            'UNREADABLE',
            `GET ${filled.path} answered something that is not JSON: a proxy or a captive portal may be in between`,
          )
        }
        whole = true
        if (!check.is(value))
          throw new KalshiError(
            'UNREADABLE',
            `GET ${filled.path} answered something else than it should (${check.why(value)}): the interface may have changed`,
          )
        this.#count('ok')
        return { value, body }
      } catch (error) {
        if (!(error instanceof KalshiError)) throw error
        this.#count(error.code)
        // An answer of another shape will have it the next time too.
        const garbled = options.patient === true && error.code === 'UNREADABLE' && !whole
        if (attempt >= attempts || !(isWorthAnotherTry(error) || garbled)) throw error
        const most = Math.min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** (attempt - 1))
        await this.#pause(most / 2 + (this.#world.chance.next() * most) / 2)
      }
    }
  }

  /** All pages of a list. A cursor that comes back, or too many pages, ends it incomplete; an error is thrown. */
  async list<T>(
    endpoint: Endpoint,
    parameters: Parameters = {},
    options: ReadOptions & { readonly pagesMax?: number } = {},
  ): Promise<Listing<T>> {
    const field = ENDPOINTS[endpoint].list
    if (field === null) throw new KalshiError('REFUSED', `${endpoint} is no list: read it with get`)
    const items: T[] = []
    const seen = new Set<string>()
    const pagesMax = options.pagesMax ?? PAGES_MAX
    let cursor: string | undefined
    for (let pages = 1; ; pages++) {
      const answer = (await this.get(endpoint, { ...parameters, cursor }, options)) as Readonly<Record<string, unknown>>
      for (const item of answer[field] as readonly T[]) items.push(item)
      const next = answer['cursor']
      // Absent, null and "" all mean the end (api.md §6.1).
      if (next === undefined || next === null || next === '') return { items, complete: true, why: 'end reached', pages }
      if (seen.has(next as string)) return { items, complete: false, why: 'a cursor came back', pages }
      if (pages >= pagesMax) return { items, complete: false, why: `more than ${pagesMax} pages`, pages }
      seen.add(next as string)
      cursor = next as string
    }
  }

  /** Lets nothing more out; what waits fails with STOPPED. */
  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.#timer = null
    const error = new KalshiError('STOPPED', 'the session is ending: no further read is sent')
    for (const fail of this.#abandoned) fail(error)
    this.#abandoned.clear()
  }

  async #read(path: string, query: string, signed: boolean, options: ReadOptions): Promise<string> {
    const root = `${REST_ROOT}${path}`
    const cost = this.#budget.costOf('GET', root)
    await this.#spend('read', cost, options.priority ?? Priority.CATALOG)
    const { clock, http } = this.#world
    const sent = clock.now()
    const answer = await this.#send(http, {
      method: 'GET',
      url: `${this.#environment.rest}${root}${query}`,
      headers: { accept: 'application/json', ...this.#sign('GET', root, signed) },
      body: null,
      timeout: options.timeout ?? TIMEOUT,
    })
    this.#measure(answer.date, sent)
    if (answer.status === 429) this.#budget.refused('read', clock.now())
    else this.#budget.answered('read')
    if (answer.status >= 200 && answer.status < 300) {
      if (answer.type !== '' && !answer.type.includes('json'))
        throw new KalshiError(
          'UNREADABLE',
          `GET ${path} answered ${answer.type.slice(0, 60)} instead of JSON: a proxy or a captive portal may be in between`,
          answer.status,
        )
      return answer.body
    }
    throw errorFor(path, answer)
  }
  async #send(http: Http, request: HttpRequest): Promise<HttpAnswer> {
    try {
      return await http.request(request)
    } catch (error) {
      const { pathname } = new URL(request.url)
      if (error instanceof HttpFailure)
        throw new KalshiError(
          error.kind === 'timeout' ? 'TIMEOUT' : error.kind === 'network' ? 'NETWORK' : 'UNREADABLE',
          `GET ${pathname} has no answer (${error.message}): check the connection to the exchange`,
        )
      throw error
    }
  }
  #sign(method: string, path: string, signed: boolean): Record<string, string> {
    if (this.#signer === null) {
      if (signed) throw new KalshiError('CREDENTIALS', `${method} ${path} needs a key: give its id and its PEM file`)
      return {}
    }
    return this.#signer.headers(method, path, this.#world.clock.wall())
  }
  /** The `Date` header has whole seconds: enough to see a clock that is wrong. */
  #measure(date: string, sent: number): void {
    const server = Date.parse(date)
    if (!Number.isFinite(server)) return
    const now = this.#world.clock.now()
    const middle = (sent + now) / 2
    this.clockOffset = { offset: server * 1000 + 500_000 - middle, uncertainty: 500_000 + (now - sent) / 2 }
  }

  #spend(lane: Lane, cost: number, priority: Priority): Promise<void> {
    return this.#wait((go) => {
      this.#budget.ask(lane, cost, priority, go)
      this.#advance()
    })
  }
  #advance(): void {
    if (this.#stopped) return
    const { clock, timers } = this.#world
    this.#timer?.cancel()
    this.#timer = null
    const next = this.#budget.advance(clock.now())
    if (Number.isFinite(next)) this.#timer = timers.after(Math.max(0, next - clock.now()), () => this.#advance())
  }
  #pause(delay: number): Promise<void> {
    return this.#wait((go) => {
      this.#world.timers.after(delay, go)
    })
  }
  /** A wait that `stop` ends. */
  #wait(start: (go: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) return reject(new KalshiError('STOPPED', 'the session is ending: no further read is sent'))
      this.#abandoned.add(reject)
      start(() => {
        this.#abandoned.delete(reject)
        resolve()
      })
    })
  }
  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }
}

function isWorthAnotherTry(error: KalshiError): boolean {
  return error.code === 'RATE_LIMITED' || error.code === 'SERVER' || error.code === 'TIMEOUT' || error.code === 'NETWORK'
}

/** Fills `{name}` of the path; the rest is the query. An empty part would name another endpoint (api.md §8.3), so it is refused. */
function fill(path: string, parameters: Parameters, endpoint: string): { readonly path: string; readonly query: string } {
  const used = new Set<string>()
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
    used.add(name)
    const value = parameters[name]
    if (value === undefined || value === '' || value === '.' || value === '..')
      throw new KalshiError('REFUSED', `${endpoint} needs a ${name.replaceAll('_', ' ')}: none was given`)
    return encodeURIComponent(String(value))
  })
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters)) {
    if (used.has(name) || value === undefined) continue
    if (typeof value === 'object') for (const v of value) query.append(name, v)
    else query.append(name, String(value))
  }
  const text = query.toString()
  return { path: filled, query: text === '' ? '' : `?${text}` }
}

function errorFor(path: string, { status, body }: HttpAnswer): KalshiError {
  const said = errorOf(body)
  const reason = said === null ? null : said.code
  const words = said === null ? '' : ` (${[said.code, said.details].filter((t) => t !== '').join(': ')})`
  const make = (code: KalshiError['code'], advice: string): KalshiError =>
    new KalshiError(code, `GET ${path} was answered ${status}${words}: ${advice}`, status, reason)
  if (status === 401) return make('AUTH', 'check the key, its environment (demo or production) and the clock of this machine')
  if (status === 403) return make('FORBIDDEN', 'the key has no right to this: give it the scope, or use another key')
  if (status === 404) return make('NOT_FOUND', 'check the ticker')
  if (status === 429) return make('RATE_LIMITED', 'the account asks too often; other programs with the same account count too')
  if (status >= 500) return make('SERVER', 'the exchange is not well; it may be in its maintenance (Thursday 03:00-05:00 New York)')
  if (status >= 300 && status < 400) return make('UNREADABLE', 'it points elsewhere, which the exchange does not do')
  return make('REFUSED', 'the exchange does not take this request')
}
