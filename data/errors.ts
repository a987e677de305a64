/** Errors of data: files, tapes, imports. Owns the codes; a message is one sentence that says what, where and how to fix. */

export type DataErrorCode =
  | 'NOT_A_TAPE'
  | 'TAPE_EXISTS'
  | 'TAPE_SCHEMA'
  | 'TAPE_DAMAGED'
  | 'TAPE_EMPTY'
  | 'FILE_MISSING'
  | 'FILE_UNREADABLE'
  | 'INPUT_INVALID'
  | 'MARKET_UNKNOWN'
  | 'NOT_A_RUN'
  | 'NOT_A_SESSION'
  | 'SESSION_SILENT'
  | 'ORDER_UNKNOWN'
  | 'MOMENT_UNKNOWN'
  | 'TAPE_MISMATCH'
  | 'EXPORT_EXISTS'
  | 'PARTIAL_BOOK'
  | 'NOTHING_THERE'
  | 'DOWNLOAD_OTHER'
  | 'DOWNLOAD_BUSY'
  | 'DOWNLOAD_DAMAGED'
  | 'LOG_DAMAGED'
  | 'TAPE_BUSY'
  | 'FEED_INVALID'
  | 'DISK'
  /** A session does not lead to its own journal any more. */
  | 'DIVERGED'

/** A full disk, by whoever met it, in one form; anything else unchanged. */
export function diskError(error: unknown, where: string, then: string): unknown {
  if (error instanceof DataError || !(error instanceof Error)) return error
  if (!/no space left|ENOSPC|EDQUOT|disk (is )?full/i.test(error.message)) return error
  return new DataError('DISK', `the disk is full (${where}): free some space; ${then}`, error)
}

/** Bad or missing data. `code` is stable. */
export class DataError extends Error {
  override readonly name = 'DataError'
  readonly code: DataErrorCode

  constructor(code: DataErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}
