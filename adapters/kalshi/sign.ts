/**
 * Signatures (api.md §1.2): RSA-PSS with SHA-256, or Ed25519, over time, method and path. Owns the private key; hides it: it is read once into a key object and shown by
 * nothing. Invariants: the file is readable by its owner alone; no error and no inspection repeats a byte of it; the query is never signed.
 */
import { constants, createPrivateKey, createPublicKey, sign, verify, type KeyObject, type SignKeyObjectInput } from 'node:crypto'
import { lstatSync, readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { KalshiError } from './errors.ts'

const KEY_BYTES_MAX = 64 * 1024
const HIDDEN = '[signer]'

export class Signer {
  readonly #id: string
  readonly #key: KeyObject

  private constructor(id: string, key: KeyObject) {
    this.#id = id
    this.#key = key
  }

  /** `id`: the key's id at the exchange. `path`: its private key, PEM, mode 0600 or stricter. */
  static fromFile(id: string, path: string): Signer {
    let text: string
    try {
      const stat = lstatSync(path)
      if (!stat.isFile())
        throw new KalshiError('CREDENTIALS', `${path} is not a plain file: give the file of the private key itself, not a link or a folder`)
      if ((stat.mode & 0o077) !== 0)
        throw new KalshiError(
          'CREDENTIALS',
          `${path} can be read by others (mode ${(stat.mode & 0o777).toString(8).padStart(4, '0')}): chmod 600 it`,
        )
      if (stat.size > KEY_BYTES_MAX)
        throw new KalshiError('CREDENTIALS', `${path} is too large for a key: give the PEM file that the exchange handed out`)
      text = readFileSync(path, 'utf8')
    } catch (error) {
      if (error instanceof KalshiError) throw error
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
      throw new KalshiError('CREDENTIALS', `${path} cannot be read (${code}): give the PEM file of the private key`)
    }
    return Signer.fromPem(id, text, path)
  }

  static fromPem(id: string, pem: string, where = 'the key'): Signer {
    if (!/^[\w-]{1,128}$/.test(id))
      throw new KalshiError('CREDENTIALS', `the id of the key is not an id: copy it from the exchange (letters, digits and dashes)`)
    if (/-----BEGIN (?:RSA )?PUBLIC KEY-----/.test(pem))
      throw new KalshiError('CREDENTIALS', `${where} holds a public key: give the private one`)
    if (/ENCRYPTED/.test(pem)) throw new KalshiError('CREDENTIALS', `${where} is encrypted: store it without a passphrase, mode 0600`)
    let key: KeyObject
    try {
      key = createPrivateKey(pem.replace(/^\uFEFF/, ''))
    } catch {
      // What the parser says could repeat what it read.
      throw new KalshiError('CREDENTIALS', `${where} holds no private key in PEM form: give the file that the exchange handed out`)
    }
    const type = key.asymmetricKeyType
    if (type !== 'rsa' && type !== 'ed25519')
      throw new KalshiError('CREDENTIALS', `${where} holds a key of type ${type ?? 'unknown'}: the exchange takes RSA and Ed25519`)
    return new Signer(id, key)
  }

  /** The three headers of a request or a handshake. `path` from the root; what follows a `?` is left out. `wall` in ms. */
  headers(method: string, path: string, wall: number): Record<string, string> {
    const { timestamp, message } = messageOf(method, path, wall)
    return this.#headers(timestamp, sign(this.#algorithm, message, this.#options))
  }
  /** The same, made beside the main thread; null where it fails. */
  headersLater(method: string, path: string, wall: number, call: (headers: Record<string, string> | null) => void): void {
    const { timestamp, message } = messageOf(method, path, wall)
    sign(this.#algorithm, message, this.#options, (error, signature) => call(error === null ? this.#headers(timestamp, signature) : null))
  }

  get #algorithm(): 'sha256' | null {
    return this.#key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  }
  get #options(): SignKeyObjectInput {
    return this.#key.asymmetricKeyType === 'ed25519'
      ? { key: this.#key }
      : { key: this.#key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  }
  #headers(timestamp: string, signature: Buffer): Record<string, string> {
    return {
      'KALSHI-ACCESS-KEY': this.#id,
      'KALSHI-ACCESS-TIMESTAMP': timestamp,
      'KALSHI-ACCESS-SIGNATURE': signature.toString('base64'),
    }
  }

  /** Signs something and verifies it with the public half: the kind of key, or null when it cannot be used. Nothing is sent. */
  test(wall: number): 'RSA' | 'Ed25519' | null {
    try {
      const headers = this.headers('GET', '/self-test', wall)
      const message = Buffer.from(`${headers['KALSHI-ACCESS-TIMESTAMP'] ?? ''}GET/self-test`, 'utf8')
      const signature = Buffer.from(headers['KALSHI-ACCESS-SIGNATURE'] ?? '', 'base64')
      const key = createPublicKey(this.#key)
      if (key.asymmetricKeyType === 'ed25519') return verify(null, message, key, signature) ? 'Ed25519' : null
      const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
      return verify('sha256', message, { key, ...padding }, signature) ? 'RSA' : null
    } catch {
      // Such as a key that is too short for the signature.
      return null
    }
  }

  toString(): string {
    return HIDDEN
  }
  toJSON(): string {
    return HIDDEN
  }
  [inspect.custom](): string {
    return HIDDEN
  }
}

function messageOf(method: string, path: string, wall: number): { readonly timestamp: string; readonly message: Buffer } {
  const timestamp = String(Math.floor(wall))
  return { timestamp, message: Buffer.from(timestamp + method.toUpperCase() + path.replace(/[?#].*$/s, ''), 'utf8') }
}
