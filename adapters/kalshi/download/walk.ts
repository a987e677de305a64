/**
 * Lists walked page by page into the kept pages. Owns what a good walk is; hides cursors. Invariants: a page that is kept is never asked for again; a walk ends, whatever the
 * cursors say; one that ended for another reason than its end is walked once more from the start, and if that is no better it is named and not called whole.
 *
 * Seen in the wild: a cursor that nobody knows is answered with the first page, silently (api.md §6.1). It shows as a page that brings nothing new.
 */
import { KalshiError } from '../errors.ts'
import { Priority } from '../rate-limit.ts'
import type { Parameters, Rest } from '../rest.ts'
import { ENDPOINTS, type Endpoint } from '../wire/answers.ts'
import { END_REACHED, type PageStore } from './pages.ts'

export type Walk = {
  readonly key: string
  readonly endpoint: Endpoint
  readonly parameters: Parameters
  /** That the exchange has no such thing is an answer too. */
  readonly optional?: boolean
}

/** A read is repeated so often: with the pauses between them a minute of trouble passes. */
const OPTIONS = { priority: Priority.HISTORY, attempts: 9, patient: true }
const STALE_MAX = 3
const PAGES_MAX = 20_000
/** Walks side by side: enough to spend the budget, whatever an answer takes. */
const LANES = 6
const AGAIN = '/again'

/** What an item of a list is known by. */
const IDENTITY: Readonly<Record<string, string>> = {
  markets: 'ticker',
  events: 'event_ticker',
  trades: 'trade_id',
  event_fee_changes: 'id',
}

export class Walker {
  readonly #rest: Rest
  readonly #store: PageStore
  /** One list could not be read: the others go no further. */
  #failed = false
  /** What is being asked, how many of its lists are done, and how many there are. */
  asking = ''
  done = 0
  known = 0
  /** Items on pages that an earlier page of the walk had already, and pages that were newer than the one before. */
  repeated = 0
  disordered = 0
  progress: () => void = () => {}

  constructor(rest: Rest, store: PageStore) {
    this.#rest = rest
    this.#store = store
  }

  /** All of them, several at a time. Returns the keys of those that are not whole. */
  async all(walks: readonly Walk[], what: string): Promise<string[]> {
    this.asking = what
    this.done = 0
    this.known = walks.length
    const broken: string[] = []
    let next = 0
    const lane = async (): Promise<void> => {
      for (let walk = walks[next++]; walk !== undefined && !this.#failed; walk = walks[next++]) {
        try {
          if (!(await this.#whole(walk))) broken.push(walk.key)
        } catch (error) {
          if (walk.optional !== true || !(error instanceof KalshiError) || error.code !== 'NOT_FOUND') {
            this.#failed = true
            throw error
          }
        }
        this.done++
        this.progress()
      }
    }
    const ends = await Promise.allSettled(Array.from({ length: LANES }, lane))
    const reasons = ends.filter((e) => e.status === 'rejected').map((e) => e.reason as unknown)
    const first = reasons.find((r) => !(r instanceof KalshiError) || r.code !== 'STOPPED') ?? reasons[0]
    if (first !== undefined) throw first
    return broken.sort()
  }

  /** The bodies under a key, and under its second walk. */
  async bodies(key: string): Promise<Readonly<Record<string, unknown>>[]> {
    const out: Readonly<Record<string, unknown>>[] = []
    for (const page of [...this.#store.pages(key), ...this.#store.pages(`${key}${AGAIN}`)]) out.push(await this.#store.read(page))
    return out
  }
  async items<T>(key: string, field: string): Promise<T[]> {
    return (await this.bodies(key)).flatMap((b) => b[field] as T[])
  }

  /** Of all keys below one: the windows of a market's candles. */
  async itemsBelow<T>(key: string, field: string): Promise<T[]> {
    const out: T[] = []
    for (const below of this.#store.keysBelow(key)) out.push(...(await this.items<T>(below, field)))
    return out
  }

  async #whole(walk: Walk): Promise<boolean> {
    if ((await this.#walk(walk)) === END_REACHED) return true
    return (await this.#walk({ ...walk, key: `${walk.key}${AGAIN}` })) === END_REACHED
  }

  async #walk({ key, endpoint, parameters }: Walk): Promise<string> {
    const store = this.#store
    const ended = store.endOf(key)
    if (ended !== null) return ended
    const { list } = ENDPOINTS[endpoint]
    if (list === null) {
      const { body } = await this.#rest.answer(endpoint, parameters, OPTIONS)
      await store.append(key, { cursor: '', next: '', end: END_REACHED, body })
      return END_REACHED
    }
    const seen = new Set<string>()
    const cursors = new Set<string>()
    let [cursor, stale, oldest] = ['', 0, '']
    const take = (value: Readonly<Record<string, unknown>>): void => {
      const items = value[list] as readonly Readonly<Record<string, unknown>>[]
      const before = seen.size
      for (const item of items) seen.add(String(item[IDENTITY[list] ?? 'id']))
      const fresh = seen.size - before
      if (cursors.size > 0) this.repeated += items.length - fresh
      stale = fresh === 0 && items.length + cursors.size > 0 ? stale + 1 : 0
      if (list !== 'trades') return
      const [newest, last] = [items[0]?.['created_time'], items.at(-1)?.['created_time']]
      // Times of one form compare as text closely enough to see a list that begins anew.
      if (oldest !== '' && typeof newest === 'string' && newest.slice(0, 19) > oldest.slice(0, 19)) this.disordered++
      if (typeof last === 'string') oldest = last
    }
    for (const page of store.pages(key)) {
      take(await store.read(page))
      cursors.add(page.next)
      cursor = page.next
    }
    for (;;) {
      if (this.#failed) throw new KalshiError('STOPPED', 'another list could not be read')
      const { value, body } = await this.#rest.answer(endpoint, cursor === '' ? parameters : { ...parameters, cursor }, OPTIONS)
      const answer = value as Readonly<Record<string, unknown>>
      take(answer)
      const next = typeof answer['cursor'] === 'string' ? answer['cursor'] : ''
      const end =
        next === ''
          ? END_REACHED
          : cursors.has(next)
            ? 'a cursor came back'
            : stale >= STALE_MAX
              ? `${STALE_MAX} pages brought nothing new`
              : store.pages(key).length + 1 >= PAGES_MAX
                ? `more than ${PAGES_MAX} pages`
                : null
      await store.append(key, { cursor, next, end, body })
      this.progress()
      if (end !== null) return end
      cursors.add(next)
      cursor = next
    }
  }
}
