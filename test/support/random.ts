/** A small seeded generator for tests (mulberry32): the product has its own; tests must not lean on it. */
export function random(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = a
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
export function integer(next: () => number, from: number, to: number): number {
  return from + Math.floor(next() * (to - from + 1))
}
