/**
 * What a running session says on stderr of itself. Owns what is worth a line, and how many there may be; hides what was said before. Invariants: at most one line a look, and a look is a second; a
 * trouble or an error is told the first time alone; what lasts shorter than two looks is no news of the feed.
 */
import type { SessionSnapshot } from './session-status.ts'
import { SILENT_MAX, stateText, troubleText } from './status-text.ts'

/** Different errors that are remembered as told, and those that one line has room for. */
const TOLD_MAX = 500
const AT_ONCE_MAX = 3
/** Looks. */
const LASTS = 2

type Feed = 'unknown' | 'there' | 'lost' | 'idle'

export class Notices {
  readonly #say: (text: string) => void
  readonly #errors: boolean
  readonly #told = new Set<string>()
  #waiting: string[] = []
  #state = ''
  #feed: Feed = 'unknown'
  #next: Feed = 'unknown'
  #seen = 0

  /** `errors`: those of the snapshot too, for whoever does not say them as they come. */
  constructor(say: (text: string) => void, { errors = true }: { readonly errors?: boolean } = {}) {
    this.#say = say
    this.#errors = errors
  }

  /** Once a second. */
  look(s: SessionSnapshot): void {
    const news: string[] = []
    const feed = this.#feedNews(s)
    if (feed !== null) news.push(feed)
    const state = stateText(s.state)
    if (this.#state !== '' && state !== this.#state)
      news.push(`state ${this.#state} → ${state}${s.state.cause === null ? '' : ` (${s.state.cause})`}`)
    this.#state = state
    for (const [what, why] of Object.entries(s.feed.troubles)) this.#first(troubleText(what, why))
    if (this.#errors) for (const { text } of s.errors) this.#first(text)
    const now = this.#waiting.splice(0, AT_ONCE_MAX)
    news.push(...now)
    if (this.#waiting.length > 0) {
      news.push(`${this.#waiting.length} more in \`tapeline status ${s.session}\``)
      this.#waiting = []
    }
    if (news.length > 0) this.#say(`${new Date(s.written).toISOString().slice(11, 19)} ${news.join('; ').replaceAll('\n', ' ')}`)
  }

  #first(text: string): void {
    // The same with another line or count in it is the same.
    const key = text.replace(/\d+/g, '#')
    if (this.#told.has(key) || this.#told.size >= TOLD_MAX) return
    this.#told.add(key)
    this.#waiting.push(text)
  }

  #feedNews(s: SessionSnapshot): string | null {
    const now = feedOf(s)
    this.#seen = now === this.#next ? this.#seen + 1 : 1
    this.#next = now
    if (now === this.#feed || (this.#seen < LASTS && now === 'lost')) return null
    const before = this.#feed
    this.#feed = now
    if (now === 'lost') return `feed lost: ${lostText(s)}`
    if (now === 'there') return `${before === 'lost' ? 'feed is back' : 'feed is there'}: ${s.feed.marketsSynced} markets synced`
    return now === 'idle' && before !== 'unknown' ? `no market is open: waiting for the next (${s.feed.environment})` : null
  }
}

function feedOf({ feed }: SessionSnapshot): Feed {
  const { connections, marketsSynced, marketsUnsynced } = feed
  if (connections.length === 0) return 'unknown'
  if (connections.some((c) => c.state !== 'idle' && (c.state !== 'open' || (c.silent ?? 0) >= SILENT_MAX))) return 'lost'
  if (marketsSynced > 0) return 'there'
  return marketsUnsynced > 0 ? 'lost' : 'idle'
}
function lostText({ feed }: SessionSnapshot): string {
  const down = feed.connections.filter((c) => c.state !== 'open' && c.state !== 'idle')
  const silent = feed.connections.filter((c) => (c.silent ?? 0) >= SILENT_MAX)
  const of = feed.connections.length
  const open = feed.marketsSynced + feed.marketsUnsynced
  if (down.length > 0) return `${down.length} of ${of} connections down (${feed.marketsSynced} of ${open} markets synced)`
  if (silent.length > 0)
    return `${silent.length} of ${of} connections silent for ${Math.floor(Math.max(...silent.map((c) => c.silent ?? 0)) / 1e6)} s`
  return `0 of ${open} markets synced`
}
