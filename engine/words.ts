/** Words of the journal: each interned once, so that writing a row makes no text. Invariant: a word keeps its number for the session. */
import type { Journal } from './journal.ts'
import type { Market } from './market.ts'

/** Numbers of words in the journal, interned once. */
export class Words {
  readonly #journal: Journal
  readonly quote: number
  readonly take: number
  readonly pull: number
  readonly basket: number
  readonly submitGtc: number
  readonly submitIoc: number
  readonly cancel: number
  readonly amend: number
  readonly decrease: number
  readonly accepted: number
  readonly amended: number
  readonly decreased: number
  readonly cancelRejected: number
  readonly maker: number
  readonly taker: number
  readonly #owners: readonly number[]

  /** `owners`: the strategies' names, each once. */
  constructor(journal: Journal, owners: readonly string[]) {
    this.#journal = journal
    this.quote = this.of('quote')
    this.take = this.of('take')
    this.pull = this.of('pull')
    this.basket = this.of('basket')
    this.submitGtc = this.of('submit-gtc')
    this.submitIoc = this.of('submit-ioc')
    this.cancel = this.of('cancel')
    this.amend = this.of('amend')
    this.decrease = this.of('decrease')
    this.accepted = this.of('accepted')
    this.amended = this.of('amended')
    this.decreased = this.of('decreased')
    this.cancelRejected = this.of('cancel-rejected')
    this.maker = this.of('maker')
    this.taker = this.of('taker')
    this.#owners = owners.map((name) => this.of(name))
  }
  of(text: string): number {
    return this.#journal.strings.intern(text)
  }
  rejected(reason: string): number {
    return this.of(`rejected:${reason}`)
  }
  canceled(reason: string): number {
    return this.of(`canceled:${reason}`)
  }
  market(market: Market): number {
    if (market.name < 0) market.name = this.of(market.ticker)
    return market.name
  }
  /** Names of the strategies as the journal has them. */
  get ownerNames(): readonly string[] {
    return this.#owners.map((word) => this.#journal.strings.at(word))
  }
  owner(owner: number): number {
    return this.#owners[owner] ?? -1
  }
}

/** Two strategies of one name are told apart by a number. */
export function distinct(names: readonly string[]): string[] {
  const seen = new Map<string, number>()
  return names.map((name) => {
    const n = (seen.get(name) ?? 0) + 1
    seen.set(name, n)
    return n === 1 ? name : `${name} ${n}`
  })
}
