/** Exit codes and what leads to them. Owns the numbers: scripts match on them. */
import { AssertionError } from '../engine/assert.ts'
import { StrategyError } from '../engine/strategy-error.ts'
import { KalshiError } from '../adapters/kalshi/errors.ts'
import { DataError } from '../data/errors.ts'

export const EXIT = {
  ok: 0,
  bug: 1,
  usage: 2,
  config: 3,
  data: 4,
  gate: 5,
  credentials: 6,
  exchange: 7,
  risk: 8,
  mismatch: 9,
  strategy: 10,
  interrupted: 130,
  terminated: 143,
} as const

export const EXIT_TEXT: readonly (readonly [number, string])[] = [
  [0, 'done'],
  [1, 'a bug in Tapeline: please report it with the text of the error'],
  [2, 'wrong use of the command line'],
  [3, 'a configuration file is wrong'],
  [4, 'data is missing, damaged or not what was expected'],
  [5, 'a gate was not met'],
  [6, 'credentials are missing or refused'],
  [7, 'the exchange or the network failed'],
  [8, 'halted by risk'],
  [9, 'not deterministic, or the ledger does not match'],
  [10, 'a strategy file is wrong, or a strategy failed (a partial result is kept)'],
  [130, 'interrupted by Ctrl-C (a partial result is kept)'],
  [143, 'terminated'],
]

/** Wrong use: one sentence, exit 2 (or 3 for a configuration file). */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly exit: number
  readonly code: string
  constructor(message: string, exit: number = EXIT.usage, code = 'USAGE') {
    super(message)
    this.exit = exit
    this.code = code
  }
}

/** Settings that are wrong: every mistake, one sentence each, exit 3. */
export class ConfigError extends UsageError {
  readonly mistakes: readonly string[]
  constructor(mistakes: readonly string[]) {
    const [first = '', ...more] = mistakes
    super(
      more.length === 0 ? first : `${mistakes.length} mistakes in the settings\n${mistakes.map((m) => `  ${m}`).join('\n')}`,
      EXIT.config,
      'CONFIG',
    )
    this.mistakes = mistakes
  }
}

/** `all`: where there are several, each. */
export type Failure = { readonly exit: number; readonly code: string; readonly message: string; readonly all?: readonly string[] }

export function failureOf(error: unknown): Failure {
  if (error instanceof ConfigError) return { exit: error.exit, code: error.code, message: error.message, all: error.mistakes }
  if (error instanceof UsageError) return { exit: error.exit, code: error.code, message: error.message }
  if (error instanceof DataError)
    return { exit: error.code === 'DIVERGED' ? EXIT.mismatch : EXIT.data, code: error.code, message: error.message }
  if (error instanceof KalshiError) return { exit: exitOf(error), code: error.code, message: error.message }
  if (error instanceof StrategyError) return { exit: EXIT.strategy, code: error.code, message: error.message }
  if (error instanceof Error && 'code' in error && error.code === 'LEDGER_MISMATCH')
    return { exit: EXIT.mismatch, code: 'LEDGER_MISMATCH', message: error.message }
  if (error instanceof AssertionError)
    return {
      exit: EXIT.bug,
      code: error.code,
      message: `${error.message}. This is a bug in Tapeline or a damaged tape: run \`tapeline data verify\` first, then report it`,
    }
  if (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ENOSPC' || error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'EROFS' || error.code === 'ENOTDIR')
  ) {
    return { exit: EXIT.data, code: 'DISK', message: `${error.message}: free some space or choose a folder that can be written` }
  }
  return { exit: EXIT.bug, code: 'BUG', message: error instanceof Error ? error.message : String(error) }
}

/** Credentials are the user's to mend; what else goes wrong between us and the exchange is the exchange's or the network's. */
function exitOf({ code }: KalshiError): number {
  return code === 'CREDENTIALS' || code === 'AUTH' || code === 'FORBIDDEN' ? EXIT.credentials : EXIT.exchange
}

/** An option with its number, as it was said: what is no number is repeated as it stood on the command line. */
export function said(name: string, value: number, words: readonly string[] = process.argv): string {
  const option = `--${name}`
  if (!Number.isNaN(value)) return `${option} ${value}`
  const at = words.findLastIndex((w) => w === option || w.startsWith(`${option}=`))
  const word = words[at] === option ? words[at + 1] : words[at]?.slice(option.length + 1)
  return word === undefined ? option : `${option} ${word.slice(0, 40)}`
}

/** The nearest known word, for a typo. */
export function suggest(word: string, known: readonly string[]): string | null {
  let best: string | null = null
  let distance = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const k of known) {
    const d = edits(word.toLowerCase(), k.toLowerCase())
    if (d < distance) {
      distance = d
      best = k
    }
  }
  return best
}
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length] ?? 0
}
