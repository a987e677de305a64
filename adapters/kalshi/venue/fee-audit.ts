/** Fees as the model makes them against fees as the exchange reports them. Owns the count of what differs beyond rounding; hides nothing. Invariant: the books use what was reported, whatever this says. */
import { balanceGrid } from '../../../engine/fees.ts'

export class FeeAudit {
  readonly counts = { fills: 0, differ: 0, modelled: 0, reported: 0 }
  /** The largest difference seen, Money, and its trade. */
  worst: { readonly trade: string; readonly modelled: number; readonly reported: number } | null = null

  /** Money. Rounding may move a fee by one step of the formula and one of the balance. True: it differs by more. */
  see(trade: string, modelled: number, reported: number, timeVenue: number): boolean {
    this.counts.fills++
    this.counts.modelled += modelled
    this.counts.reported += reported
    const off = Math.abs(modelled - reported)
    if (off <= 2 * balanceGrid(timeVenue)) return false
    this.counts.differ++
    if (this.worst === null || off > Math.abs(this.worst.modelled - this.worst.reported)) this.worst = { trade, modelled, reported }
    return true
  }
}
