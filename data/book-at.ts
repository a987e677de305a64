/** The book of one market at a moment, as a trader reads it. Owns the replay up to that moment; hides the rows. Invariant: nothing after the moment is looked at. */
import { Book } from '../engine/book.ts'
import { gridOf } from '../engine/grid.ts'
import {
  Flag,
  Kind,
  type CatalogDetail,
  type Depth,
  type GridDetail,
  type MarketStatus,
  type StatusDetail,
  type SyncDetail,
} from '../engine/message.ts'
import { ASK, BID, type SideCode } from '../engine/units.ts'
import { DataError } from './errors.ts'
import type { Tape } from './tape-reader.ts'

export type BookAt = {
  /** What the tape knows: without a book `bids` and `asks` are the last quote (one level), or empty. */
  readonly depth: Depth
  readonly ticker: string
  readonly time: number
  readonly status: MarketStatus
  readonly synced: boolean
  readonly closeTime: number | null
  /** Best first. Prices in Price units, quantities in Quantity units. */
  readonly bids: readonly { readonly price: number; readonly quantity: number }[]
  readonly asks: readonly { readonly price: number; readonly quantity: number }[]
  readonly lastTrade: { readonly time: number; readonly price: number; readonly quantity: number; readonly side: SideCode } | null
  readonly lastRow: number | null
}

export async function bookAt(tape: Tape, ticker: string, time: number | null, depth: number): Promise<BookAt> {
  const at = time ?? tape.manifest.to
  if (at < tape.manifest.from || at > tape.manifest.to + 86_400_000_000) {
    throw new DataError(
      'INPUT_INVALID',
      `${new Date(at / 1000).toISOString()} is not on the tape ${tape.manifest.name}, which runs from ${new Date(tape.manifest.from / 1000).toISOString()} to ${new Date(tape.manifest.to / 1000).toISOString()}`,
    )
  }
  let book: Book | null = null
  let status: MarketStatus = 'initialized'
  let closeTime: number | null = null
  let synced = false
  let lastRow: number | null = null
  let lastTrade: BookAt['lastTrade'] = null
  for await (const b of await tape.read({ tickers: [ticker], from: at, to: at, decode: 'thread' })) {
    for (let i = 0; i < b.length; i++) {
      if ((b.market[i] as number) < 0) continue
      const kind = b.kind[i] as number
      const text = (b.detail[i] as number) < 0 ? '' : (b.details[b.detail[i] as number] ?? '')
      if (kind === Kind.CATALOG) {
        const detail = JSON.parse(text) as CatalogDetail
        book ??= new Book(gridOf(detail.grid))
        status = detail.status
        closeTime = detail.closeTime
        continue
      }
      if (book === null) continue
      if (((b.flags[i] as number) & Flag.CHECKPOINT) === 0) lastRow = b.time[i] as number
      const side = b.side[i] as SideCode
      const [price, quantity] = [b.price[i] as number, b.quantity[i] as number]
      if (kind === Kind.CLEAR) {
        book.clear()
        synced = true
      } else if (kind === Kind.LEVEL) book.set(side, price, quantity)
      else if (kind === Kind.DELTA && synced) book.change(side, price, quantity)
      else if (kind === Kind.QUOTE) {
        putQuote(book, side, price, quantity)
        synced = true
      } else if (kind === Kind.TRADE) lastTrade = { time: b.time[i] as number, price, quantity, side }
      else if (kind === Kind.STATUS) {
        const detail = JSON.parse(text) as StatusDetail
        status = detail.status
        closeTime = detail.closeTime === undefined ? closeTime : detail.closeTime
      } else if (kind === Kind.GRID) book.regrid(gridOf((JSON.parse(text) as GridDetail).grid))
      else if (kind === Kind.SYNC) synced = synced && (JSON.parse(text) as SyncDetail).state === 'synced'
      else if (kind === Kind.DETERMINED) status = 'determined'
      else if (kind === Kind.SETTLED) status = 'finalized'
    }
  }
  const levels = (side: SideCode): { price: number; quantity: number }[] => {
    const out: { price: number; quantity: number }[] = []
    if (book === null) return out
    const quantities = side === BID ? book.bids : book.asks
    for (let k = 0; k < quantities.length && out.length < depth; k++) {
      const i = side === BID ? quantities.length - 1 - k : k
      if ((quantities[i] as number) > 0) out.push({ price: book.grid.priceAt(i), quantity: quantities[i] as number })
    }
    return out
  }
  return {
    depth: tape.manifest.depth,
    ticker,
    time: at,
    status,
    synced,
    closeTime,
    bids: levels(BID),
    asks: levels(ASK),
    lastTrade,
    lastRow,
  }
}

/** A best price in the place of the one before it. */
export function putQuote(book: Book, side: SideCode, price: number, quantity: number): void {
  if (side === BID ? book.hasBid : book.hasAsk) book.set(side, side === BID ? book.bid : book.ask, 0)
  if (quantity > 0) book.set(side, price, quantity)
}
