/**
 * The REST surface without a socket: a request in, an answer out, at the exchange's time. Owns routing, signatures, scopes and token buckets, in that
 * order of checks; hides which file answers what. Invariant: every answer, refusals too, is a status and a JSON body (or none).
 */
import type { Account, ApiKey, Scope } from './account.ts'
import { accountRoutes } from './api-account.ts'
import { marketRoutes } from './api-market.ts'
import { orderRoutes } from './api-orders.ts'
import { portfolioRoutes } from './api-portfolio.ts'
import { authenticate, hasCredentials } from './auth.ts'
import type { Exchange } from './exchange.ts'
import { costOf, spendRead, spendWrite } from './limits.ts'
import { Refusal, refuse, tooMany } from './refusal.ts'
import { Query } from './request.ts'
import { restricted, type Call, type Route } from './route.ts'

export const BASE = '/trade-api/v2'
/** Path of the WebSocket, as its handshake signs it. */
export const SOCKET_PATH = '/trade-api/ws/v2'

export type ApiRequest = {
  readonly method: string
  /** Path and query, from the root. */
  readonly url: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
  /** The machine's own time in µs when signatures by it are accepted too; null: by the exchange's clock alone. */
  readonly wall: number | null
}
/** `body` undefined: none. */
export type ApiAnswer = { readonly status: number; readonly body: unknown; readonly operation: string; readonly account: string | null }

type Compiled = { readonly route: Route; readonly parts: readonly string[]; readonly cost: number }

export class Api {
  readonly #x: Exchange
  readonly #routes = new Map<string, Compiled[]>()

  constructor(exchange: Exchange) {
    this.#x = exchange
    for (const route of [...marketRoutes, ...orderRoutes, ...portfolioRoutes, ...accountRoutes]) {
      const parts = route.path.split('/')
      const key = `${route.method} ${parts.length}`
      const list = this.#routes.get(key) ?? []
      list.push({ route, parts, cost: costOf(route.method, `${BASE}${route.path}`) })
      this.#routes.set(key, list)
    }
    // A word wins over a parameter in the same place.
    const words = (c: Compiled): number => c.parts.filter((p) => !p.startsWith(':')).length
    for (const list of this.#routes.values()) list.sort((a, b) => words(b) - words(a))
  }

  /** The operations it answers, as OpenAPI names them. */
  get operations(): string[] {
    return [...this.#routes.values()].flat().map((c) => `${c.route.method} ${c.route.path}`)
  }

  /** Operation and account of a request as it says of itself, unproved: for faults. */
  about(request: ApiRequest): [string, string | null] {
    const found = this.#find(request.method, request.url.split('?', 1)[0] ?? '')
    const id = request.headers['kalshi-access-key']
    const account = typeof id === 'string' ? (this.#x.accountOfKey(id)?.account.name ?? null) : null
    return [found?.compiled.route.operation ?? 'unknown', account]
  }

  /** The caller advances the exchange first. */
  handle(request: ApiRequest): ApiAnswer {
    const [path = '', search = ''] = request.url.split('?', 2)
    const found = this.#find(request.method, path)
    const operation = found?.compiled.route.operation ?? 'unknown'
    let account: string | null = null
    try {
      if (found === null) throw refuse(404, 'not_found')
      const { route, cost } = found.compiled
      const x = this.#x
      // Reads show what the lag lets them show now.
      x.advance(x.now)
      const caller = this.#caller(route, request, path)
      account = caller?.account.name ?? null
      const call: Call = {
        x,
        query: new Query(operation, new URLSearchParams(search)),
        params: found.params,
        body: request.body,
        key: caller?.key ?? null,
      }
      if (caller !== null) {
        this.#permit(route, caller.key)
        const charge = route.charge?.(call) ?? { cost, shards: [0] }
        const paid =
          route.writes === true
            ? spendWrite(caller.account, x.now, charge.cost, charge.shards)
            : spendRead(caller.account, x.now, charge.cost)
        if (!paid) throw tooMany()
      }
      const answer = route.handle(call, (caller?.account ?? null) as Account)
      return { ...answer, operation, account }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return { status: error.status, body: error.body, operation, account }
    }
  }

  #caller(route: Route, request: ApiRequest, path: string): { account: Account; key: ApiKey } | null {
    if (route.access === 'signed') return authenticate(this.#x, request.headers, request.method, path, request.wall)
    if (!hasCredentials(request.headers)) return null
    // Public data is given to anybody; a good signature only says whose bucket pays.
    try {
      return authenticate(this.#x, request.headers, request.method, path, request.wall)
    } catch {
      return null
    }
  }

  #permit(route: Route, key: ApiKey): void {
    if (route.access === 'public') return
    const has = (scope: Scope): boolean => key.scopes.includes(scope) || (scope.startsWith('write::') && key.scopes.includes('write'))
    const wanted: Scope = route.scope ?? (route.method === 'GET' ? 'read' : 'write')
    const allowed = has(wanted) || (wanted === 'read::portfolio_balance' && has('read'))
    if (!allowed) throw refuse(403, 'insufficient_scope')
    if (key.subaccount !== null && route.locked !== true) throw restricted()
  }

  #find(method: string, path: string): { compiled: Compiled; params: Record<string, string> } | null {
    if (!path.startsWith(`${BASE}/`)) return null
    const parts = path.slice(BASE.length).replace(/\/$/, '').split('/')
    for (const compiled of this.#routes.get(`${method} ${parts.length}`) ?? []) {
      const params: Record<string, string> = {}
      const fits = compiled.parts.every((p, i) => {
        const given = parts[i] ?? ''
        if (!p.startsWith(':')) return p === given
        params[p.slice(1)] = decode(given)
        return given !== ''
      })
      if (fits) return { compiled, params }
    }
    return null
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
