/**
 * Public history by REST into a tape. Owns a download from its first question to the tape; hides walks, pages and the builder. Invariants: whatever moves between the live side and the
 * archive is on the tape once; everything is worked out from kept answers, so that a call that goes on does what the first one would have done.
 */
import { existsSync } from 'node:fs'
import { DataError } from '../../../data/errors.ts'
import { hashFile } from '../../../data/import/frames.ts'
import type { PrintsSummary } from '../../../data/import/prints.ts'
import { readManifest } from '../../../data/tape-reader.ts'
import type { Rest } from '../rest.ts'
import { Asking, type DownloadRequest } from './asking.ts'
import { buildTape, tradeKeys } from './build.ts'
import { iso, listingsOf, marketsIn, type feesOf, type Known, type Range } from './markets.ts'
import { folderOf, PageStore } from './pages.ts'
import { Walker } from './walk.ts'

export type { DownloadRequest } from './asking.ts'
export { keptRequest } from './pages.ts'

export type DownloadOptions = {
  readonly tape: string
  readonly name?: string
  readonly replace?: boolean
  readonly restart?: boolean
  readonly keep?: boolean
  /** µs from the time of the exchange to when a row is known. */
  readonly lag: number
  readonly progress?: (done: number, total: number, note: string) => void
  readonly stopped?: () => boolean
}
export type DownloadSummary = {
  /** Null: an earlier call had built the tape already. */
  readonly built: PrintsSummary | null
  readonly folder: string
  readonly pages: number
  readonly pagesKept: number
  /** Markets that were asked about a second time because their volume did not match, and those of them that match now. */
  readonly askedAgain: number
  readonly mended: number
  /** Lists that are not whole, as `trades/live/<ticker>`. */
  readonly broken: readonly string[]
  readonly repeatedItems: number
  readonly disorderedPages: number
  readonly notCompared: number
  readonly secondsBuilding: number
}

const USELESS: readonly string[] = ['MARKET_UNKNOWN', 'NOTHING_THERE']
export async function download(rest: Rest, request: DownloadRequest, options: DownloadOptions): Promise<DownloadSummary> {
  const done = await builtAlready(options)
  if (done === null && options.replace !== true && existsSync(`${options.tape}/manifest.json`))
    throw new DataError('TAPE_EXISTS', `${options.tape} exists already: choose another folder, or give --replace`)
  const store = await PageStore.open(options.tape, request, { restart: options.restart === true })
  try {
    const summary = done === null ? await new Download(rest, store, request, options).run() : done(store)
    if (options.keep === true) await store.close()
    else await store.remove()
    return summary
  } catch (error) {
    // Pages that lead to nothing would only stand in the way of the next request.
    if (store.count === 0 || (error instanceof DataError && USELESS.includes(error.code))) await store.remove()
    else await store.close()
    throw error
  }
}

/** The tape stands already and was made of just these pages: only the folder was left (the process ended in between). */
async function builtAlready({ tape, restart }: DownloadOptions): Promise<((store: PageStore) => DownloadSummary) | null> {
  const pages = `${folderOf(tape)}/pages.ndjson`
  if (restart === true || !existsSync(`${tape}/manifest.json`) || !existsSync(pages)) return null
  const { origin } = await readManifest(tape)
  const [file] = (origin['files'] ?? []) as { readonly sha256?: unknown }[]
  if (file === undefined || file.sha256 !== (await hashFile(pages))) return null
  return ({ folder, count, kept }) => ({ ...NOTHING, built: null, folder, pages: count, pagesKept: kept })
}
const NOTHING = { askedAgain: 0, mended: 0, broken: [], repeatedItems: 0, disorderedPages: 0, notCompared: 0, secondsBuilding: 0 }

class Download {
  readonly #store: PageStore
  readonly #walker: Walker
  readonly #asking: Asking
  readonly #request: DownloadRequest
  readonly #options: DownloadOptions
  readonly #range: Range

  constructor(rest: Rest, store: PageStore, request: DownloadRequest, options: DownloadOptions) {
    this.#store = store
    this.#walker = new Walker(rest, store)
    this.#asking = new Asking(store, this.#walker, request)
    this.#request = request
    this.#options = options
    this.#range = { from: request.from, to: request.to }
    this.#walker.progress = () => {
      const { asking, done, known } = this.#walker
      options.progress?.(done, known, `${asking} · ${store.count.toLocaleString('en-US')} pages`)
    }
  }

  async run(): Promise<DownloadSummary> {
    const before = await this.#asking.cutoff('start')
    const listed = await this.#asking.catalog()
    const events = await this.#asking.events(listed)
    const known = marketsIn(listed, events, this.#range)
    this.#asking.assertFound(listed, known)
    const fees = await this.#asking.fees(known, events)
    const broken = await this.#asking.trades(known, before.trades)
    const first = await this.#asking.unequal(known)
    const again = await this.#asking.again(first, known)
    broken.push(...again.broken)
    const missing = this.#request.candles === null ? 0 : await this.#asking.candles(known, this.#request.candles)
    const finalListings = again.known
    const compared = [...finalListings.values()].filter((k) => k.over && k.inside).length
    const started = performance.now()
    const built = await this.#build(finalListings, fees, broken, missing)
    const { repeated, disordered } = this.#walker
    const still = new Set(built.volumeUnequal.map((u) => u.ticker))
    return {
      built,
      folder: this.#store.folder,
      pages: this.#store.count,
      pagesKept: this.#store.kept,
      askedAgain: first.length,
      mended: first.filter((t) => !still.has(t)).length,
      broken,
      repeatedItems: repeated,
      disorderedPages: disordered,
      notCompared: finalListings.size - compared,
      secondsBuilding: (performance.now() - started) / 1000,
    }
  }

  async #build(
    known: ReadonlyMap<string, Known>,
    fees: ReturnType<typeof feesOf>,
    broken: readonly string[],
    candlesMissing: number,
  ): Promise<PrintsSummary> {
    const { environment, series, events, markets, from, to, candles } = this.#request
    const n = (count: number, one: string): string => `${count.toLocaleString('en-US')} ${one}${count === 1 ? '' : 's'}`
    const all = [...known.values()]
    const remarks = [`Downloaded by REST from the exchange (${environment}), ${iso(from)} to ${iso(to)}: public trades, no books`]
    const say = (count: number, text: string): void => {
      if (count > 0) remarks.push(text)
    }
    const partly = all.filter((k) => !k.inside).length
    say(
      partly,
      `${n(partly, 'market')} opened before or closed after the range: the volume of the exchange is not comparable, and what was traded outside is not here`,
    )
    const open = all.filter((k) => k.inside && !k.over).length
    say(open, `${n(open, 'market')} still traded when they were read: the volume of the exchange is not comparable`)
    const waived = all.filter((k) => k.waiver).length
    say(waived, `${n(waived, 'market')} had a fee waiver of the exchange: the fees on this tape are those without it`)
    const whole = broken.map((key) => key.split('/')[2] ?? key)
    say(
      whole.length,
      `Trades of ${n(new Set(whole).size, 'market')} do not come to their end (wrong cursors of the exchange): ${few(whole)}`,
    )
    say(candlesMissing, `${n(candlesMissing, 'market')} without candles on either side of the cutoff`)
    let total = 0
    for (const ticker of known.keys()) for (const key of tradeKeys(ticker)) total += this.#store.pages(key).length
    if (total === 0)
      throw new DataError('NOTHING_THERE', `none of the ${n(known.size, 'market')} in the range has a trade: choose another range`)
    return buildTape(this.#walker, {
      tape: this.#options.tape,
      environment,
      name: this.#options.name,
      replace: this.#options.replace === true,
      pages: this.#store.path,
      range: this.#range,
      lag: this.#options.lag,
      listings: listingsOf(known),
      bounds: { start: from, end: to, fees },
      candles,
      origin: { download: { environment, series, events, markets, from, to, candles, pages: this.#store.count } },
      remarks,
      progress: (done, rows) => this.#options.progress?.(done, rows, `${done.toLocaleString('en-US')} trades on the tape`),
      stopped: () => this.#options.stopped?.() === true,
    })
  }
}

function few(list: readonly string[]): string {
  const all = [...new Set(list)].sort()
  return `${all.slice(0, 5).join(', ')}${all.length > 5 ? ', …' : ''}`
}
