/**
 * Numbers as people read them: dollars, cents, percents, spans of time, YES and NO. Owns the wording; hides the units of the engine.
 * Invariant: a negative number carries a minus sign (U+2212) in front of everything, and nothing is rounded to a "−0".
 */
import type { Episode, Fill } from './episodes.ts'

/** Money → "$1,234.50"; half a cent is rounded away from zero. */
export function money(units: number): string {
  const cents = Math.round(Math.abs(units) / 10_000)
  const text = `$${Math.floor(cents / 100).toLocaleString('en-US')}.${String(cents % 100).padStart(2, '0')}`
  return units < 0 && cents > 0 ? `−${text}` : text
}
/** Money with its sign, plus too: a gain must not be told from a loss by colour alone. */
export function moneySigned(units: number): string {
  return units > 0 && money(units) !== '$0.00' ? `+${money(units)}` : money(units)
}
/** A decimal with a real minus sign. */
export function decimal(x: number, digits: number): string {
  const text = Math.abs(x).toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return x < 0 && /[1-9]/.test(text) ? `−${text}` : text
}
export function percent(x: number, digits = 1): string {
  return `${decimal(x * 100, digits)} %`
}
/** ¢ a contract, signed. */
export function centsSigned(x: number): string {
  const text = decimal(x, 2)
  return `${x > 0 && /[1-9]/.test(text) ? '+' : ''}${text} ¢`
}
export function count(x: number): string {
  return x.toLocaleString('en-US')
}
/** 1 market, 2 markets. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`
}
/** Quantity → contracts. */
export function contracts(quantity: number): string {
  return (quantity / 100).toLocaleString('en-US', { maximumFractionDigits: 2 })
}
export function duration(microseconds: number): string {
  const s = microseconds / 1e6
  if (s < 1) return `${Math.round(s * 1000)} ms`
  if (s < 120) return `${s.toFixed(1)} s`
  if (s < 7200) return `${(s / 60).toFixed(1)} min`
  return s < 172_800 ? `${(s / 3600).toFixed(1)} h` : `${(s / 86_400).toFixed(1)} days`
}
export function utc(time: number | null): string {
  return time === null ? '—' : new Date(time / 1000).toISOString().slice(0, 19).replace('T', ' ')
}
export function utcMillis(time: number): string {
  return new Date(time / 1000).toISOString().slice(0, 23).replace('T', ' ')
}

/** Price units → "42¢", "42.5¢". */
export function cents(price: number): string {
  return `${Number((price / 100).toFixed(2))}¢`
}
const NO = (price: number): number => 10_000 - price

/** How a person says a fill. `before` is the position it met: what closes a YES is "sell YES", what opens the other side is "buy NO". */
export function say(fill: Pick<Fill, 'side' | 'price' | 'quantity' | 'before'>): string {
  const { side, price, quantity, before } = fill
  if (side === 'bid') {
    if (before >= 0) return `buy YES at ${cents(price)}`
    const sell = `sell NO at ${cents(NO(price))}`
    return quantity > -before ? `${sell} (${contracts(-before)}), buy YES at ${cents(price)}` : sell
  }
  if (before <= 0) return `buy NO at ${cents(NO(price))}`
  const sell = `sell YES at ${cents(price)}`
  return quantity > before ? `${sell} (${contracts(before)}), buy NO at ${cents(NO(price))}` : sell
}
/** A reason and the number it was about. */
export function reason(why: string, value: number): string {
  return value === 0 || !Number.isFinite(value)
    ? why
    : `${why} ${decimal(value, Math.abs(value) < 10 ? 3 : 2).replace(/\.0+$|(\.\d*?)0+$/, '$1')}`
}
export function episodeText(e: Episode): string {
  const exit = e.exitPrice === null ? '' : ` → ${e.exit === 'settled' ? 'settled ' : ''}${cents(e.exitPrice)}`
  return `${e.side} ${contracts(e.quantity)} at ${cents(e.entry)}${exit}${e.exit === 'open' ? ' (open)' : ''}`
}
