/** Candles of one market by the minute (api.md §6). Owns open, high, low and close of touches and trades; invariant: a longer candle is the sum of its minutes. */
import { MINUTE, PRICE_ONE } from '../../engine/units.ts'

type Range = { open: number; high: number; low: number; close: number }
export type Candle = {
  /** Inclusive end of the period, µs. */
  end: number
  bid: Range
  ask: Range
  /** Null: nothing traded. */
  price: Range | null
  /** Price of the last trade before it, −1 for none. */
  previous: number
  notional: number
  volume: number
  openInterest: number
}

export class Candles {
  readonly #minutes: Candle[] = []
  #bid = 0
  #ask: number = PRICE_ONE
  #last = -1
  #interest = 0

  /** The end of an operation: best prices and open interest as they stand. */
  touch(now: number, bid: number, ask: number, openInterest: number): void {
    if (bid === this.#bid && ask === this.#ask && openInterest === this.#interest) return
    const c = this.#at(now)
    this.#interest = openInterest
    c.openInterest = openInterest
    this.#bid = bid
    this.#ask = ask
    widen(c.bid, bid)
    widen(c.ask, ask)
  }
  trade(now: number, price: number, quantity: number): void {
    const c = this.#at(now)
    if (c.price === null) c.price = { open: price, high: price, low: price, close: price }
    else widen(c.price, price)
    c.notional += price * quantity
    c.volume += quantity
    this.#last = price
  }

  /** Candles of `period` µs whose end lies in the range, oldest first; periods in which nothing happened have none. */
  query(from: number, to: number, period: number): Candle[] {
    const out: Candle[] = []
    for (const m of this.#minutes) {
      const end = Math.ceil(m.end / period) * period
      if (end < from || end > to) continue
      const last = out.at(-1)
      if (last === undefined || last.end !== end)
        out.push({ ...m, end, bid: { ...m.bid }, ask: { ...m.ask }, price: m.price && { ...m.price } })
      else {
        join(last.bid, m.bid)
        join(last.ask, m.ask)
        if (m.price !== null) {
          if (last.price === null) last.price = { ...m.price }
          else join(last.price, m.price)
        }
        last.notional += m.notional
        last.volume += m.volume
        last.openInterest = m.openInterest
      }
    }
    return out
  }
  /** The state just before a time as a candle without trades; null when nothing was known. */
  before(time: number): Candle | null {
    let found: Candle | null = null
    for (const m of this.#minutes) if (m.end < time) found = m
    if (found === null) return null
    const flat = (p: number): Range => ({ open: p, high: p, low: p, close: p })
    return {
      ...found,
      end: time,
      bid: flat(found.bid.close),
      ask: flat(found.ask.close),
      previous: found.price?.close ?? found.previous,
      price: null,
      notional: 0,
      volume: 0,
    }
  }

  #at(now: number): Candle {
    const end = Math.ceil(Math.max(1, now) / MINUTE) * MINUTE
    const last = this.#minutes.at(-1)
    if (last !== undefined && last.end >= end) return last
    const flat = (p: number): Range => ({ open: p, high: p, low: p, close: p })
    const made: Candle = {
      end,
      bid: flat(this.#bid),
      ask: flat(this.#ask),
      price: null,
      previous: this.#last,
      notional: 0,
      volume: 0,
      openInterest: this.#interest,
    }
    this.#minutes.push(made)
    return made
  }
}

function widen(range: Range, value: number): void {
  if (value > range.high) range.high = value
  if (value < range.low) range.low = value
  range.close = value
}
function join(range: Range, later: Range): void {
  if (later.high > range.high) range.high = later.high
  if (later.low < range.low) range.low = later.low
  range.close = later.close
}
