/** The error of a strategy's own making. Owns the class; `code` is stable. Invariant: a broken invariant of ours is never one of these. */

/** A call into a strategy. */
export type Call = { readonly strategy: string; readonly handler: string; readonly market: string | null }

/** A strategy asked for something that cannot be meant: NaN, a negative size, a price outside 0 … 10,000. */
export class StrategyError extends Error {
  override readonly name = 'StrategyError'
  readonly code: string
  /** The handler in which it happened, once that is known. */
  call: Call | null = null
  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}
