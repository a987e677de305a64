/** A confirmation that was typed. Owns the question; hides the terminal. Invariant: only the whole phrase is a yes; without a terminal it comes by --confirm alone. */
import { createInterface } from 'node:readline/promises'
import { EXIT, UsageError } from '../exit.ts'

/** `accepts`: whether what was said is a yes. Throws NOT_CONFIRMED. */
export async function confirmed(
  given: string | undefined,
  phrase: string,
  accepts: (said: string) => boolean = (s) => s === phrase,
): Promise<void> {
  let said = given
  if (said === undefined && process.stdin.isTTY && process.stderr.isTTY) {
    const terminal = createInterface({ input: process.stdin, output: process.stderr })
    try {
      said = await terminal.question(`Type ${phrase} to go on: `)
    } finally {
      terminal.close()
    }
  }
  if (said !== undefined && accepts(said.trim())) return
  throw new UsageError(
    said === undefined
      ? `nothing was done: it needs a confirmation; type it, or add --confirm "${phrase}"`
      : `nothing was done: the confirmation is not the one that was asked for; it is "${phrase}"`,
    EXIT.gate,
    'NOT_CONFIRMED',
  )
}
