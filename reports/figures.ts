/**
 * Figures: one number of a report with everything that must stand beside it. Owns the shape and the wording by unit; hides nothing. Invariant: a value
 * that does not exist is null with a reason, never zero or infinity.
 */
import { centsSigned, contracts, count, decimal, duration, money, percent } from './words.ts'

export type Metric = {
  readonly id: string
  readonly label: string
  readonly value: number | null
  readonly text: string
  readonly unit: Unit
  /** What it is a figure of: how many observations. */
  readonly n: number | null
  readonly formula: string
  readonly interval: readonly [number, number] | null
  readonly reason: string | null
}
/** What `value` is in: `money` millionths of a dollar, `quantity` hundredths of a contract, `cents` a contract, `time` µs, `share` 0 … 1. */
export type Unit = 'money' | 'quantity' | 'cents' | 'time' | 'share' | 'points' | 'ratio' | 'count'

/** How a value of a unit is written. */
export function show(unit: Unit, x: number): string {
  switch (unit) {
    case 'money':
      return money(x)
    case 'quantity':
      return contracts(x)
    case 'cents':
      return centsSigned(x)
    case 'time':
      return duration(x)
    case 'share':
      return percent(x, Math.abs(x) < 0.1 ? 2 : 1)
    case 'points':
      return `${decimal(x * 100, 1)} points`
    case 'ratio':
      return decimal(x, 2)
    case 'count':
      return count(x)
  }
}

type More = { interval?: readonly [number, number] | null; reason?: string; text?: string }
/** Gathers the figures; NaN and infinity become null with the reason. */
export class Figures {
  readonly all: Metric[] = []
  add(id: string, label: string, unit: Unit, formula: string, value: number, n: number | null, more: More = {}): void {
    const exists = Number.isFinite(value)
    this.all.push({
      id,
      label,
      value: exists ? value : null,
      text: exists ? (more.text ?? show(unit, value)) : 'n/a',
      unit,
      n,
      formula,
      interval: exists ? (more.interval ?? null) : null,
      reason: exists ? null : (more.reason ?? 'undefined for these data'),
    })
  }
}
