/**
 * News: what enters a live session beside rows. The venue's answers to our orders, fills that are nobody's of ours, markets that are halted, and whether we and the exchange agree. Owns the shapes; hides
 * nothing. Invariant: plain JSON, so that it is kept as it entered and enters again, byte for byte, when the session is replayed. Prices in 1/10,000 $, quantities in 1/100 contract, money in 1/1,000,000 $,
 * times in µs; `order` is the engine's number of an order.
 */
export type AnswerNews =
  /** `id`: the venue's own number of the order. */
  | { readonly type: 'accepted'; readonly order: number; readonly timeVenue: number; readonly remaining: number; readonly id: string }
  | { readonly type: 'amended' | 'decreased'; readonly order: number; readonly timeVenue: number; readonly remaining: number }
  | {
      readonly type: 'rejected' | 'cancel-rejected' | 'amend-rejected'
      readonly order: number
      readonly timeVenue: number
      readonly reason: string
    }
  | { readonly type: 'canceled'; readonly order: number; readonly timeVenue: number; readonly reason: string }
  | {
      readonly type: 'fill'
      readonly order: number
      readonly timeVenue: number
      readonly price: number
      readonly quantity: number
      readonly fee: number
      readonly maker: boolean
      /** The venue's number of the trade: booked once. */
      readonly trade: string
    }
  /** The last write of the order has no outcome that could be trusted. */
  | { readonly type: 'no-answer'; readonly order: number; readonly timeVenue: number; readonly reason: string }
  /** Proved: it never came to be. */
  | { readonly type: 'absent'; readonly order: number; readonly timeVenue: number }

export type AccountNews =
  /** A fill of the account that no order of the session made: it is ours all the same. */
  | {
      readonly type: 'foreign-fill'
      readonly ticker: string
      readonly side: 'bid' | 'ask'
      readonly price: number
      readonly quantity: number
      readonly fee: number
      readonly maker: boolean
      readonly trade: string
      readonly timeVenue: number
      /** The operator closed a position of the session with it: nobody has to look. */
      readonly by?: 'flatten'
    }
  /** `by`: whose halt it is; a market goes on when nobody halts it any more. An operator's `resume` ends them all. */
  | { readonly type: 'market-halted' | 'market-freed'; readonly ticker: string; readonly reason: string; readonly by?: string }
  /** Orders, fills, positions and cash are as the exchange says, or are not. */
  | { readonly type: 'agreed' | 'disagreed'; readonly reason: string }

export type News = AnswerNews | AccountNews
