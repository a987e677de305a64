/**
 * The session of a running notebook: what its cells show and the parameters they were given. Owns the meeting place of the runner and the kit,
 * which are loaded apart; hides nothing. Invariant: outside a runner there is none, and the kit prints instead.
 */

export type NotebookSession = {
  readonly parameters: Readonly<Record<string, string>>
  /** A cell begins, by its number. */
  begin(cell: number): void
  /** The last expression of a cell. */
  value(cell: number, value: unknown): Promise<void>
  show(value: unknown): void
  /** Practice data was used: the page says so in its first line. */
  practice(): void
}

const KEY = Symbol.for('tapeline.notebook')
type Holder = { [KEY]?: NotebookSession | undefined }

export function notebookSession(): NotebookSession | undefined {
  return (globalThis as Holder)[KEY]
}
export function setNotebookSession(session: NotebookSession | undefined): void {
  ;(globalThis as Holder)[KEY] = session
}
