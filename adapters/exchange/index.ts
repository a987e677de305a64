/**
 * The door of the local exchange. Owns what programs and tests use:
 *
 * ```
 *   const clock = new VirtualClock({ virtualStart, realStart, scale })
 *   const exchange = new Exchange({ start: clock.now() })
 *   const account = exchange.openAccount('a', [{ shard: 0, amount: 1_000_000_000 }])
 *   const { keyId, privatePem } = giveKey(exchange, account)
 *   const server = new ExchangeServer({ exchange, clock, drivers: [] })
 *   await server.start()                     // server.url, server.socketUrl
 * ```
 *
 * Without sockets: `new Stage(exchange, drivers).advance(t)`, `new Api(exchange).handle(request)`, `new Hub(exchange).connect(account, key, send)`.
 */
export { Api, type ApiAnswer, type ApiRequest } from './api.ts'
export type { Account, ApiKey } from './account.ts'
export { signRequest } from './auth.ts'
export { realNow, VirtualClock, type ClockPlan } from './clock.ts'
export { Exchange, type ExchangeOptions } from './exchange.ts'
export { Faults, parseFaults, type FaultRule } from './faults.ts'
export { floorOf } from './floor.ts'
export { Hub } from './hub.ts'
export { giveKey, openAccounts, type AccountFile } from './keys.ts'
export type { Tier } from './limits.ts'
export type { ListedMarket, MarketDefinition } from './market.ts'
export { ExchangeServer, type ServerOptions } from './server.ts'
export type { Frame, Session } from './session.ts'
export { Stage, type Driver } from './stage.ts'
export { TapeDriver } from './tape-driver.ts'
