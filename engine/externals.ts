/**
 * Outside series: what is known of each by now. Owns which row is the latest; hides the map. Invariant: a row enters when it was known, and the last value is that of the
 * latest publication, in its highest revision: a late word about an earlier time does not replace a later one.
 */
import type { ExternalDetail } from './message.ts'
import type { ExternalView } from './strategy.ts'
import type { Timestamp } from './units.ts'

export class Externals {
  readonly #last = new Map<string, ExternalView>()
  readonly #asked = new Set<string>()

  /** Takes a row that is known now. Returns it as strategies see it. */
  add({ series, value, revision }: ExternalDetail, timeVenue: number): ExternalView {
    const view: ExternalView = Object.freeze({ series, value, revision, timeVenue: timeVenue as Timestamp })
    const before = this.#last.get(series)
    if (before === undefined || timeVenue > before.timeVenue || (timeVenue === before.timeVenue && revision >= before.revision))
      this.#last.set(series, view)
    return view
  }
  last(series: string): ExternalView | null {
    const view = this.#last.get(series)
    if (view === undefined) this.#asked.add(series)
    return view ?? null
  }
  /** Series with a row so far, and those that were asked for and have none. */
  get names(): { readonly seen: string[]; readonly missing: string[] } {
    return { seen: [...this.#last.keys()].sort(), missing: [...this.#asked].filter((s) => !this.#last.has(s)).sort() }
  }
}
