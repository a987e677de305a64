/**
 * Where the exchange is (api.md §1.1). Owns the addresses; hides nothing. Invariants: demo unless production is named; an address of one's own is loopback, so that no
 * signature ever goes to a host that is not the exchange.
 */
import { KalshiError } from './errors.ts'

export type Environment = {
  readonly name: 'demo' | 'production' | 'local'
  /** Origin of the REST interface, without path. */
  readonly rest: string
  readonly socket: string
}
export const REST_ROOT = '/trade-api/v2'
const SOCKET_PATH = '/trade-api/ws/v2'

const ENVIRONMENTS: Readonly<Record<'demo' | 'production', Environment>> = {
  demo: {
    name: 'demo',
    rest: 'https://external-api.demo.kalshi.co',
    socket: `wss://external-api-ws.demo.kalshi.co${SOCKET_PATH}`,
  },
  production: {
    name: 'production',
    rest: 'https://external-api.kalshi.com',
    socket: `wss://external-api-ws.kalshi.com${SOCKET_PATH}`,
  },
}

/** By name, or an exchange of one's own on this machine (`http://127.0.0.1:4010`). */
export function environmentOf(name: string = 'demo', env: Readonly<Record<string, string | undefined>> = {}): Environment {
  if (name === 'demo' || name === 'production') {
    if (env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0')
      throw new KalshiError('CREDENTIALS', 'NODE_TLS_REJECT_UNAUTHORIZED=0 turns certificates off: unset it before talking to the exchange')
    return ENVIRONMENTS[name]
  }
  const local = /^http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/.exec(name)
  if (local === null)
    throw new KalshiError(
      'CREDENTIALS',
      `environment "${name.slice(0, 80)}" is unknown: say demo, production, or the address of an exchange on this machine (http://127.0.0.1:4010)`,
    )
  return { name: 'local', rest: name, socket: `${name.replace('http', 'ws')}${SOCKET_PATH}` }
}
