/**
 * Evidence: what the exchange said of our orders and fills, from wherever it came (an answer to a write, a private message, a list). Owns the shapes in our units; hides the wire. Invariant: a thing that
 * could not be read is `null`, never an empty list; a list that is not complete says so.
 */
export type OrderFact = {
  /** The venue's number. */
  readonly id: string
  readonly client: string | null
  readonly ticker: string
  readonly side: 'bid' | 'ask'
  /** Price units of YES. */
  readonly price: number
  readonly status: 'resting' | 'canceled' | 'executed'
  /** Quantity: as asked for first, filled so far, left. */
  readonly initial: number
  readonly filled: number
  readonly remaining: number
  /** The venue's word for the last change (`ExpiryCancel`, …), where it says one. */
  readonly reason: string | null
  readonly group: string | null
  readonly subaccount: number
  readonly shard: number
  /** µs, where told. */
  readonly updated: number | null
}

export type FillFact = {
  readonly trade: string
  /** The venue's number of the order. */
  readonly id: string
  readonly ticker: string
  readonly side: 'bid' | 'ask'
  readonly price: number
  readonly quantity: number
  /** Money. */
  readonly fee: number
  readonly maker: boolean
  /** µs. */
  readonly timeVenue: number
  /** Signed position of the market after it, where told (private stream): the chain that shows a lost message. */
  readonly position: number | null
  readonly subaccount: number
  readonly shard: number
}

export type Source = 'answer' | 'stream' | 'read' | 'list'

/** One walk over orders and fills. `asOf`: the venue's data time stamp read before it, µs; null: not readable. Lists are null where they could not be read to their end. */
export type Sweep = {
  readonly started: number
  readonly ended: number
  readonly asOf: number | null
  /** All orders of the session's markets updated since `since` and everything resting, every status. */
  readonly orders: readonly OrderFact[] | null
  readonly fills: readonly FillFact[] | null
  /** µs from which the lists reach. */
  readonly since: number
}

/** What the orders would like to have read: single orders by the venue's number, and whether a sweep is due at once. */
export type Wanted = { readonly reads: readonly string[]; readonly sweep: boolean }
