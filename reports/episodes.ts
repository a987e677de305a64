/**
 * Episodes: what a trader calls a trade, from flat to flat or to settlement. Owns the cut of fills into episodes at average cost; hides the walk over the journal.
 * Invariant: the profits of all episodes, open ones at liquidation, add up to the net P&L of their market exactly.
 */
import { JournalKind } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'
import { sharesOf } from '../engine/settlement.ts'
import { BID, PRICE_ONE } from '../engine/units.ts'

export type Fill = {
  /** Number of its markouts; −1: no order of the session made it, and it has none. */
  readonly index: number
  readonly time: number
  readonly timeVenue: number
  /** When its order reached the venue, where that is known. */
  readonly arrived: number | null
  readonly market: string
  readonly owner: string
  readonly order: number
  readonly side: 'bid' | 'ask'
  readonly price: number
  readonly quantity: number
  readonly fee: number
  readonly maker: boolean
  readonly why: string
  readonly value: number
  /** Position of the owner in the market before it. */
  readonly before: number
}

export type Episode = {
  readonly market: string
  readonly owner: string
  /** What was held. */
  readonly side: 'YES' | 'NO'
  readonly opened: number
  readonly closed: number | null
  readonly exit: 'traded' | 'settled' | 'open'
  /** Contracts entered in all (Quantity) and their average price, Price units of the side held. */
  readonly quantity: number
  readonly entry: number
  /** Average exit price of the side held; settlement value when settled; null while open. */
  readonly exitPrice: number | null
  /** Money. */
  readonly fees: number
  readonly pnl: number
  readonly why: string
}

type Open = {
  market: string
  owner: string
  position: number
  opened: number
  cash: number
  fees: number
  entered: number
  entryValue: number
  exited: number
  exitValue: number
  why: string
  long: boolean
}

export type Trading = { readonly fills: readonly Fill[]; readonly episodes: readonly Episode[] }

export function tradingOf(record: SessionRecord): Trading {
  const { journal: j, strings, end } = record
  const fills: Fill[] = []
  const episodes: Episode[] = []
  const open = new Map<string, Open>()
  const word = (id: number): string => (id < 0 ? '' : (strings[id] ?? ''))
  const finish = (o: Open, closed: number | null, exit: Episode['exit'], exitPrice: number | null): void => {
    episodes.push({
      market: o.market,
      owner: o.owner,
      side: o.long ? 'YES' : 'NO',
      opened: o.opened,
      closed,
      exit,
      quantity: o.entered,
      entry: o.entered === 0 ? 0 : o.entryValue / o.entered,
      exitPrice: exitPrice ?? (o.exited === 0 ? null : o.exitValue / o.exited),
      fees: o.fees,
      pnl: o.cash - o.fees,
      why: o.why,
    })
  }
  const arrivals = new Map<number, number>()
  let own = 0
  for (let i = 0; i < j.length; i++) {
    const kind = j.kind[i]
    if (kind === JournalKind.COMMAND && (j.a[i] as number) > 0 && word(j.what[i] as number).startsWith('submit'))
      arrivals.set(j.order[i] as number, j.a[i] as number)
    if (kind === JournalKind.FILL) {
      const market = word(j.market[i] as number)
      const owner = word(j.owner[i] as number)
      const key = `${owner}\n${market}`
      const time = j.time[i] as number
      const price = j.price[i] as number
      const fee = j.a[i] as number
      const quantity = j.quantity[i] as number
      const buys = j.side[i] === BID
      const why = word(j.why[i] as number)
      let o = open.get(key)
      fills.push({
        index: (j.order[i] as number) < 0 ? -1 : own++,
        time,
        timeVenue: j.b[i] as number,
        arrived: arrivals.get(j.order[i] as number) ?? null,
        market,
        owner,
        order: j.order[i] as number,
        side: buys ? 'bid' : 'ask',
        price,
        quantity,
        fee,
        maker: word(j.what[i] as number) === 'maker',
        why,
        value: j.value[i] as number,
        before: o?.position ?? 0,
      })
      let left = buys ? quantity : -quantity
      let feeLeft = fee
      while (left !== 0) {
        if (o === undefined) {
          o = {
            market,
            owner,
            position: 0,
            opened: time,
            cash: 0,
            fees: 0,
            entered: 0,
            entryValue: 0,
            exited: 0,
            exitValue: 0,
            why,
            long: left > 0,
          }
          open.set(key, o)
        }
        const closes = o.position !== 0 && Math.sign(left) !== Math.sign(o.position)
        const part = closes && Math.abs(left) > Math.abs(o.position) ? -o.position : left
        // A fill that turns the position over belongs to two episodes; its fee goes with its contracts, the last part takes the remainder.
        const feePart = part === left ? feeLeft : Math.floor((fee * Math.abs(part)) / quantity)
        const own = o.long ? price : PRICE_ONE - price
        o.cash -= part * price
        o.fees += feePart
        if (closes) {
          o.exited += Math.abs(part)
          o.exitValue += Math.abs(part) * own
        } else {
          o.entered += Math.abs(part)
          o.entryValue += Math.abs(part) * own
        }
        o.position += part
        left -= part
        feeLeft -= feePart
        if (o.position === 0) {
          finish(o, time, 'traded', null)
          open.delete(key)
          o = undefined
        }
      }
    } else if (kind === JournalKind.SETTLEMENT && word(j.what[i] as number) !== 'paid') {
      const market = word(j.market[i] as number)
      const value = j.price[i] as number
      for (const [key, o] of open) {
        if (o.market !== market) continue
        o.cash += o.position * value
        finish(o, j.time[i] as number, 'settled', o.long ? value : PRICE_ONE - value)
        open.delete(key)
      }
    }
  }
  // What is still open is marked where it could be closed; a market's mark is shared by position where several strategies hold it.
  const owners = end.owners.map((o) => o.name)
  const ends = new Map(end.markets.map((m) => [m.ticker, m]))
  const held = new Map<string, Open[]>()
  for (const o of open.values()) held.set(o.market, [...(held.get(o.market) ?? []), o])
  for (const [market, list] of held) {
    // In the order of the header, as the session shared it.
    list.sort((a, b) => owners.indexOf(a.owner) - owners.indexOf(b.owner))
    const m = ends.get(market)
    const shares = sharesOf(
      m?.liquidationValue ?? 0,
      m?.markPrice ?? null,
      list.map((o) => o.position),
    )
    list.forEach((o, k) => {
      o.cash += shares[k] as number
      finish(o, null, 'open', null)
    })
  }
  return { fills, episodes }
}

/** + for a buy of YES, − for a sale. */
export function sign(fill: Pick<Fill, 'side'>): 1 | -1 {
  return fill.side === 'bid' ? 1 : -1
}
