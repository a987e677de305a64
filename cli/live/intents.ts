/**
 * Commands of the engine against what was written down before anything was sent. Owns which intent belongs to which command; hides nothing. Invariant: an intent is never explained by a command that says
 * something else, and a command without an intent was never sent.
 */
import type { SessionInput } from '../../data/session-inputs.ts'
import type { Sent } from './relive.ts'

/** An intent as far as it must be what the engine said: `command` is the number of the engine's command that it carries out, null for the shell's own; `attempt` counts from 1. */
type Said = {
  readonly kind: string
  readonly command: number | null
  readonly attempt: number
  readonly order?: number | null
  readonly ticker?: string
  readonly side?: string
  readonly price?: number
  readonly quantity?: number
}

export type Intents = {
  readonly intents: number
  readonly commands: number
  /** No intent of it is on disk: the process ended between the decision and the disk, or the order was over by then. They never left. */
  readonly neverSent: readonly Sent[]
  /** Of the shell's own: order groups, and what it takes back by itself. */
  readonly beside: number
  /** Said again: what takes away risk may be. */
  readonly repeated: number
  /** Contradictions, one sentence each. */
  readonly wrong: readonly string[]
}

const KINDS: Readonly<Record<string, Sent['type']>> = { create: 'submit', amend: 'amend', decrease: 'decrease', cancel: 'cancel' }
const FIELDS = ['order', 'ticker', 'side', 'price', 'quantity'] as const

/** Both in the order in which they came; the engine's commands are numbered from 0. */
export function compareIntents(sent: readonly Sent[], inputs: readonly SessionInput[]): Intents {
  const wrong: string[] = []
  const matched = new Set<number>()
  let [intents, beside, repeated] = [0, 0, 0]
  for (const input of inputs) {
    if (input.kind !== 'intent') continue
    intents++
    const said = input.detail as Said
    if (said.command === null) {
      beside++
      // What adds risk is the engine's to ask for.
      if (said.kind === 'create' || said.kind === 'amend')
        wrong.push(`an intent to ${said.kind} order ${said.order} is no command of the engine`)
      continue
    }
    const type = KINDS[said.kind]
    const command = sent[said.command]
    const what = `intent ${said.kind} of order ${said.order}, for command ${said.command},`
    if (command === undefined || type === undefined) wrong.push(`${what} has no command: the engine never asked for it`)
    else if (
      command.type !== type ||
      FIELDS.some((f) => said[f] !== undefined && (type !== 'cancel' || f === 'order') && said[f] !== command[f])
    )
      wrong.push(`${what} says ${text(said)}, and the engine said ${command.type} ${text(command)}`)
    else if (matched.has(said.command)) {
      if (said.attempt > 1 && (type === 'cancel' || type === 'decrease')) repeated++
      else wrong.push(`${what} was written twice: one command may leave once`)
    } else matched.add(said.command)
  }
  return { intents, commands: sent.length, neverSent: sent.filter((_, n) => !matched.has(n)), beside, repeated, wrong }
}

function text({ ticker, side, price, quantity }: Pick<Said, 'ticker' | 'side' | 'price' | 'quantity'>): string {
  return `${side ?? '?'} ${quantity ?? '?'} at ${price ?? '?'} in ${ticker ?? '?'} (1/100 contract, 1/10,000 $)`
}
