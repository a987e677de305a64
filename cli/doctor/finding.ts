/** What the doctor says of one thing. Owns the states and their order; hides nothing. */
import { EXIT } from '../exit.ts'

export type State = 'ok' | 'warning' | 'problem' | 'skipped'
export type Finding = {
  readonly name: string
  readonly state: State
  readonly text: string
  /** What to type or do; null: nothing. */
  readonly fix: string | null
  /** Exit code of a problem; 0 of everything else. */
  readonly exit: number
}

export const fine = (name: string, text: string): Finding => ({ name, state: 'ok', text, fix: null, exit: EXIT.ok })
export const skipped = (name: string, text: string): Finding => ({ name, state: 'skipped', text, fix: null, exit: EXIT.ok })
export const warning = (name: string, text: string, fix: string | null = null): Finding => ({
  name,
  state: 'warning',
  text,
  fix,
  exit: EXIT.ok,
})
export const problem = (name: string, text: string, fix: string | null, exit: number): Finding => ({
  name,
  state: 'problem',
  text,
  fix,
  exit,
})
