/** What is wrong with a strategy file, and where. Owns the sentence of a refused file: `mine.ts:12:5 what is wrong`, up to ten of them. Hides nothing. */
import { join } from 'node:path'
import { StrategyError } from '../../engine/strategy-error.ts'

/** `line` and `column` count from 1; null: the file as a whole. */
export type Place = {
  readonly file: string
  readonly line: number
  readonly column: number
  /** Where the caller's path says that `file` lies; a record does not name it, so that it says the same wherever the file was. */
  readonly folder?: string
}
export type Finding = { readonly at: Place | null; readonly code: string; readonly text: string }

const SHOWN = 10

export function placeText({ file, line, column, folder }: Place): string {
  return `${folder === undefined ? file : join(folder, file)}:${line}:${column}`
}

/** One error of all findings. A file that is no TypeScript is that first of all. */
export function refusal(given: string, findings: readonly Finding[]): StrategyError {
  const lines = findings.map(({ at, text }) => `${at === null ? given : placeText(at)} ${text}`)
  const [first = given] = lines
  const code = findings[0]?.code ?? 'STRATEGY_FILE'
  if (lines.length === 1) return new StrategyError(code, first)
  const more = lines.length > SHOWN ? [`… and ${lines.length - SHOWN} more`] : []
  return new StrategyError(
    code,
    [`${given} cannot run, ${lines.length} things are wrong:`, ...[...lines.slice(0, SHOWN), ...more].map((l) => `  ${l}`)].join('\n'),
  )
}
