/** The latest values of a measure. Owns a ring of them; hides sorting. Invariant: quantiles are of the last 2,048 values, `null` before the first. */
const KEPT = 2048

export type Quantiles = { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number }

export class Spread {
  readonly #values = new Float64Array(KEPT)
  #count = 0

  add(value: number): void {
    this.#values[this.#count++ % KEPT] = value
  }
  get quantiles(): Quantiles | null {
    if (this.#count === 0) return null
    const sorted = this.#values.slice(0, Math.min(this.#count, KEPT)).sort()
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number
    return { count: this.#count, p50: at(0.5), p99: at(0.99), max: at(1) }
  }
}
