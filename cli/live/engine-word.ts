/** A word to the engine of a live session, and how long it took to obey. Owns the wait; hides the files. Invariant: it never throws and never waits longer than its time; a word that was not taken is withdrawn. */
import { lifeOf, readSnapshot, sendCommand, withdrawCommand, type Life } from '../session-status.ts'
import { snapshotOf } from './place.ts'

/** `acknowledged`: in the terms of `since`; null: it was not. */
export type EngineWord = { readonly life: Life | 'unknown'; readonly pid: number | null; readonly acknowledged: number | null }

const ACKNOWLEDGE_MS = 5_000

/** `since`: ms since what matters. */
export async function engineWord(dir: string, word: 'halt' | 'resume', reason: string, since: () => number): Promise<EngineWord> {
  const before = snapshotOf(dir)
  if (before === null) return { life: 'unknown', pid: null, acknowledged: null }
  const life = lifeOf(before, Date.now())
  const { pid } = before
  const silent = { life, pid, acknowledged: null }
  if (life !== 'running') return silent
  const until = performance.now() + ACKNOWLEDGE_MS
  try {
    const id = sendCommand(dir, word, reason)
    while (performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      try {
        if (readSnapshot(dir).commands.some((c) => c.id === id)) return { life, pid, acknowledged: since() }
      } catch {}
    }
    withdrawCommand(dir, id)
  } catch {
    // A full disk: the latch must do.
  }
  return silent
}
