/**
 * Commands of the engine against what was written down before anything was sent. Owns which intent belongs to which command; hides nothing. Invariant: an intent is never explained by a command that says
 * something else, and a command without an intent was never sent.
 */
import type { SessionInput } from '../../data/session-inputs.ts'
import type { Sent } from './relive.ts'

/** An intent as far as it must be what the engine said. */
type Said = Partial<Sent> & { readonly client?: string }

export type Intents = {
  readonly intents: number
  readonly commands: number
  /** The process ended between the decision and the disk: they never left. */
  readonly neverSent: readonly Sent[]
  /** Of the shell's own (it takes back what rests when a session ends): cancels only. */
  readonly cancelsBeside: number
  /** Contradictions, one sentence each. */
  readonly wrong: readonly string[]
}

/** Both in the order in which they came; one order has one command on its way at a time. */
export function compareIntents(sent: readonly Sent[], inputs: readonly SessionInput[]): Intents {
  const waiting = new Map<string, Sent[]>()
  const key = (order: number | undefined, type: string | undefined): string => `${order} ${type}`
  for (const command of sent) {
    const list = waiting.get(key(command.order, command.type))
    if (list === undefined) waiting.set(key(command.order, command.type), [command])
    else list.push(command)
  }
  const wrong: string[] = []
  const matched = new Set<Sent>()
  let [intents, cancelsBeside] = [0, 0]
  for (const input of inputs) {
    if (input.kind !== 'intent') continue
    intents++
    const said = input.detail as Said
    const what = `the intent to ${said.type} order ${said.order}`
    const list = waiting.get(key(said.order, said.type)) ?? []
    const command = list.find((c) => same(c, said))
    if (command !== undefined) {
      list.splice(list.indexOf(command), 1)
      matched.add(command)
    } else if (said.type === 'cancel') cancelsBeside++
    else if (list[0] !== undefined) wrong.push(`${what} says ${text(said)}, and the engine said ${text(list[0])}`)
    else wrong.push(`${what} (${text(said)}) has no command: the engine never asked for it`)
  }
  return { intents, commands: sent.length, neverSent: sent.filter((c) => !matched.has(c)), cancelsBeside, wrong }
}

/** What must be the same; sizes of amends are counted in another way on the wire. */
const FIELDS: Readonly<Record<Sent['type'], readonly ('ticker' | 'side' | 'price' | 'quantity')[]>> = {
  submit: ['ticker', 'side', 'price', 'quantity'],
  amend: ['ticker', 'side', 'price'],
  decrease: ['ticker'],
  cancel: ['ticker'],
}
function same(command: Sent, said: Said): boolean {
  return FIELDS[command.type].every((field) => said[field] === undefined || said[field] === command[field])
}
function text({ ticker, side, price, quantity }: Said): string {
  return `${side ?? '?'} ${quantity ?? '?'} at ${price ?? '?'} in ${ticker ?? '?'} (1/100 contract, 1/10,000 $)`
}
