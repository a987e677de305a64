/**
 * Errors of the exchange and of the way to it. Owns the codes; a message is one sentence: what, where, how to fix. Invariant: no message repeats a key, a signature or a
 * header, and an answer that could not be read is never called "not there".
 */
export type KalshiErrorCode =
  /** The key file cannot be used, or the environment is not what it should be. Nothing was sent. */
  | 'CREDENTIALS'
  /** 401: the exchange does not believe the signature. */
  | 'AUTH'
  /** 403: the key may not do this. */
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  /** 429: nothing was done. */
  | 'RATE_LIMITED'
  /** Any other 4xx. */
  | 'REFUSED'
  | 'SERVER'
  /** 2xx, but not what the endpoint answers: HTML, another object, cut off. */
  | 'UNREADABLE'
  | 'TIMEOUT'
  | 'NETWORK'
  /** The reader gave up by itself: its budget is closed. */
  | 'STOPPED'

export class KalshiError extends Error {
  override readonly name = 'KalshiError'
  readonly code: KalshiErrorCode
  /** HTTP status, where there was an answer. */
  readonly status: number | null
  /** The exchange's own word, where it said one. */
  readonly reason: string | null

  constructor(code: KalshiErrorCode, message: string, status: number | null = null, reason: string | null = null) {
    super(message)
    this.code = code
    this.status = status
    this.reason = reason
  }
}
