/**
 * Who is asking (api.md §1.2-1.5): three headers, a signature over timestamp + METHOD + path, a clock that may be off by so much. Owns the check; hides
 * the two kinds of keys. Invariant: nothing is answered in an account's name without a signature of one of its keys.
 */
import { constants, createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto'
import type { Account, ApiKey } from './account.ts'
import type { Exchange } from './exchange.ts'
import { refuse } from './refusal.ts'

export type KeyType = 'rsa' | 'ed25519'
export type SignedHeaders = {
  readonly 'kalshi-access-key'?: string
  readonly 'kalshi-access-timestamp'?: string
  readonly 'kalshi-access-signature'?: string
}
type Headers = Readonly<Record<string, string | string[] | undefined>>

export function hasCredentials(headers: Headers): boolean {
  return headers['kalshi-access-key'] !== undefined
}

/** Throws the 401 that the exchange would give. `wall`: a signature by the machine's own clock is accepted too (µs), null: it is not. */
export function authenticate(
  x: Exchange,
  headers: Headers,
  method: string,
  path: string,
  wall: number | null,
): { account: Account; key: ApiKey } {
  const id = header(headers, 'kalshi-access-key')
  if (id === null) throw refuse(401, 'key_is_missing_from_headers')
  const stamp = header(headers, 'kalshi-access-timestamp')
  if (stamp === null) throw refuse(401, 'timestamp_is_missing_from_headers')
  const signature = header(headers, 'kalshi-access-signature')
  if (signature === null) throw refuse(401, 'signature_is_missing_from_headers')
  const at = /^\d{10,16}$/.test(stamp) ? Number(stamp) * 1000 : Number.NaN
  const near = (clock: number): boolean => Math.abs(at - clock) <= x.options.skewMax
  if (!near(x.signedAt ?? x.told) && !(wall !== null && near(wall))) throw refuse(401, 'header_timestamp_expired')
  const found = x.accountOfKey(id)
  if (found === null) throw refuse(401, 'authentication_error', 'NOT_FOUND')
  if (!verified(found.key.publicKey, `${stamp}${method}${path}`, signature))
    throw refuse(401, 'authentication_error', 'INCORRECT_API_KEY_SIGNATURE')
  return found
}

function header(headers: Headers, name: string): string | null {
  const value = headers[name]
  return typeof value === 'string' && value !== '' ? value : null
}

function verified(key: KeyObject, message: string, signature: string): boolean {
  const bytes = Buffer.from(signature, 'base64')
  try {
    return key.asymmetricKeyType === 'ed25519'
      ? verify(null, Buffer.from(message), key, bytes)
      : verify('sha256', Buffer.from(message), { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }, bytes)
  } catch {
    return false
  }
}

export function makeKeyPair(type: KeyType): { publicKey: KeyObject; privatePem: string } {
  const pair = type === 'rsa' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ed25519')
  return { publicKey: pair.publicKey, privatePem: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string }
}
/** The public half of a PEM, private or public. */
export function publicKeyOf(pem: string): KeyObject {
  return createPublicKey(pem)
}

/** The three headers, as a client makes them. `now`: µs. For rehearsals and tests. */
export function signRequest(keyId: string, privatePem: string, now: number, method: string, path: string): Record<string, string> {
  const stamp = String(Math.floor(now / 1000))
  const key = createPrivateKey(privatePem)
  const message = Buffer.from(`${stamp}${method}${path.split('?')[0] ?? path}`)
  const signature =
    key.asymmetricKeyType === 'ed25519'
      ? sign(null, message, key)
      : sign('sha256', message, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 })
  return { 'KALSHI-ACCESS-KEY': keyId, 'KALSHI-ACCESS-TIMESTAMP': stamp, 'KALSHI-ACCESS-SIGNATURE': signature.toString('base64') }
}
