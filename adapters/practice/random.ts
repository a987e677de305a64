/** A seeded integer generator (xoshiro128**, Blackman and Vigna). Owns its state; invariant: the same seed gives the same integers on every machine. */
export class Random {
  #a: number
  #b: number
  #c: number
  #d: number

  constructor(seed: number) {
    // splitmix32 spreads the seed over the state.
    let s = seed >>> 0
    const next = (): number => {
      s = (s + 0x9e3779b9) >>> 0
      let z = s
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
      return (z ^ (z >>> 15)) >>> 0
    }
    this.#a = next()
    this.#b = next()
    this.#c = next()
    this.#d = next() | 1
  }
  /** 0 … 2³² − 1 */
  uint32(): number {
    const product = Math.imul(this.#b, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0
    const t = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= t
    this.#d = (this.#d << 11) | (this.#d >>> 21)
    return result
  }
  /** `from` … `to`, both included. */
  integer(from: number, to: number): number {
    return from + (this.uint32() % (to - from + 1))
  }
  /** True `numerator` times out of `denominator`. */
  chance(numerator: number, denominator: number): boolean {
    return this.uint32() % denominator < numerator
  }
  /** Near-normal integer: mean 0, deviation about `scale` (sum of twelve uniform ones). */
  bell(scale: number): number {
    let sum = 0
    for (let i = 0; i < 12; i++) sum += this.uint32() / 4294967296
    return Math.round((sum - 6) * scale)
  }
  /** 0, 1, 2, … each half as likely as the one before. */
  geometric(max: number): number {
    const zeros = Math.clz32(this.uint32())
    return zeros > max ? max : zeros
  }
}
