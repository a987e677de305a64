/** Statistics that a report rests on. Owns the formulas; a value that does not exist is NaN here and "n/a" with a reason on the page. Sources stand at each function. */
import { mean, sampleKurtosis, sampleSkewness, sampleStandardDeviation } from 'simple-statistics'

/** Standard normal distribution function: erfc by Numerical Recipes' Chebyshev fit (erfccheb), relative error below 1e-15. */
export function normalCdf(z: number): number {
  return 0.5 * erfc(-z / Math.SQRT2)
}
const CHEBYSHEV = [
  -1.3026537197817094, 0.64196979235649, 1.9476473204185836e-2, -9.561514786808631e-3, -9.46595344482036e-4, 3.66839497852761e-4,
  4.2523324806907e-5, -2.0278578112534e-5, -1.624290004647e-6, 1.30365583558e-6, 1.5626441722e-8, -8.5238095915e-8, 6.529054439e-9,
  5.059343495e-9, -9.91364156e-10, -2.27365122e-10, 9.6467911e-11, 2.394038e-12, -6.886027e-12, 8.94487e-13, 3.13092e-13, -1.12708e-13,
  3.81e-16, 7.106e-15, -1.523e-15, -9.4e-17, 1.21e-16, -2.8e-17,
]
function erfc(x: number): number {
  const z = Math.abs(x)
  const t = 2 / (2 + z)
  const ty = 4 * t - 2
  let d = 0
  let dd = 0
  for (let j = CHEBYSHEV.length - 1; j > 0; j--) {
    const next = ty * d - dd + (CHEBYSHEV[j] as number)
    dd = d
    d = next
  }
  const value = t * Math.exp(-z * z + 0.5 * ((CHEBYSHEV[0] as number) + ty * d) - dd)
  return x >= 0 ? value : 2 - value
}

/** Wilson score interval of `wins` out of `n` (95 %). */
export function wilson(wins: number, n: number): readonly [number, number] {
  const z = 1.959963984540054
  const p = wins / n
  const centre = (p + (z * z) / (2 * n)) / (1 + (z * z) / n)
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n))
  return [centre - half, centre + half]
}

/** Moments of returns: per-period Sharpe ratio (ddof 1), skewness and kurtosis (3 for a normal). */
export function moments(returns: readonly number[]): {
  readonly sharpe: number
  readonly skew: number
  readonly kurtosis: number
  readonly deviation: number
} {
  const values = [...returns]
  const deviation = sampleStandardDeviation(values)
  return {
    sharpe: mean(values) / deviation,
    skew: values.length < 3 ? 0 : sampleSkewness(values),
    kurtosis: values.length < 4 ? 3 : sampleKurtosis(values) + 3,
    deviation,
  }
}

/** Probabilistic Sharpe ratio (Bailey and López de Prado 2012). `sharpe` and `benchmark` per period; `kurtosis` is 3 for a normal. */
export function probabilisticSharpe(sharpe: number, benchmark: number, n: number, skew: number, kurtosis: number): number {
  return normalCdf(((sharpe - benchmark) * Math.sqrt(n - 1)) / Math.sqrt(1 - skew * sharpe + ((kurtosis - 1) / 4) * sharpe * sharpe))
}
/** Standard error of a per-period Sharpe ratio. */
export function sharpeError(sharpe: number, n: number, skew: number, kurtosis: number): number {
  return Math.sqrt((1 - skew * sharpe + ((kurtosis - 1) / 4) * sharpe * sharpe) / (n - 1))
}

/** Kaplan–Meier survival: share not yet filled after each distinct time; `censored` observations left without an event. */
export function kaplanMeier(
  observations: readonly { readonly time: number; readonly event: boolean }[],
): { readonly time: number; readonly survival: number }[] {
  const sorted = [...observations].sort((a, b) => a.time - b.time)
  const curve: { time: number; survival: number }[] = []
  let survival = 1
  let at = 0
  while (at < sorted.length) {
    const time = (sorted[at] as { time: number }).time
    const risk = sorted.length - at
    let events = 0
    while (at < sorted.length && (sorted[at] as { time: number }).time === time) {
      if ((sorted[at] as { event: boolean }).event) events++
      at++
    }
    if (events > 0) {
      survival *= 1 - events / risk
      curve.push({ time, survival })
    }
  }
  return curve
}
/** First time at which the share filled reaches `q`; NaN when it never does. */
export function survivalQuantile(curve: readonly { readonly time: number; readonly survival: number }[], q: number): number {
  return curve.find((p) => p.survival <= 1 - q)?.time ?? Number.NaN
}

/** 95 % interval of a sum by resampling whole clusters (markets of one event settle together). Seeded, so a report has the same bytes every time. */
export function clusterBootstrap(sums: readonly number[], draws = 2000): readonly [number, number] {
  let state = 0x2545f491
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % sums.length
  }
  const totals = new Float64Array(draws)
  for (let d = 0; d < draws; d++) {
    let total = 0
    for (let i = 0; i < sums.length; i++) total += sums[next()] as number
    totals[d] = total
  }
  totals.sort()
  return [totals[Math.floor(draws * 0.025)] as number, totals[Math.ceil(draws * 0.975) - 1] as number]
}

export { mean }
