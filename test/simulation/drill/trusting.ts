/** The exchange's check of who asks, without the arithmetic of signatures: a key that is known and a clock that is right are enough. For `vi.mock` of `adapters/exchange/auth.ts`. */
import type { Account, ApiKey, Exchange } from '../../../adapters/exchange/index.ts'
import { refuse } from '../../../adapters/exchange/refusal.ts'

export function authenticate(
  x: Exchange,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): { account: Account; key: ApiKey } {
  const stamp = Number(headers['kalshi-access-timestamp']) * 1000
  if (!(Math.abs(stamp - (x.signedAt ?? x.now)) <= x.options.skewMax)) throw refuse(401, 'header_timestamp_expired')
  const found = x.accountOfKey(String(headers['kalshi-access-key']))
  if (found === null) throw refuse(401, 'authentication_error', 'NOT_FOUND')
  return found
}
