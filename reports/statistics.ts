/**
 * Statistics that a report rests on. Owns the formulas, with the source at each; hides nothing. Invariant: a value that does not exist is
 * NaN here and "n/a" with a reason on the page; randomness is a seeded integer generator, so a report has the same bytes every time.
 */
import { mean, sampleKurtosis, sampleSkewness, sampleStandardDeviation } from 'simple-statistics'

export { mean }

const ROOT_2PI = 2.5066282746310002

/** Standard normal distribution function: Taylor series near zero (Marsaglia 2004), Laplace's continued fraction in the tails. */
export function normalCdf(z: number): number {
  const density = Math.exp((-z * z) / 2) / ROOT_2PI
  if (Math.abs(z) <= 3) {
    let term = z
    let sum = z
    for (let k = 3; Math.abs(term) > Math.abs(sum) * 1e-17; k += 2) {
      term *= (z * z) / k
      sum += term
    }
    return 0.5 + density * sum
  }
  let fraction = Math.abs(z)
  for (let k = 250; k >= 1; k--) fraction = Math.abs(z) + k / fraction
  return z < 0 ? density / fraction : 1 - density / fraction
}

type Coefficients = readonly [number, number, number, number, number, number, number, number]
function ratio(a: Coefficients, b: Coefficients, x: number): number {
  return a.reduceRight((sum, c) => sum * x + c, 0) / b.reduceRight((sum, c) => sum * x + c, 0)
}
/** Standard normal quantile: Wichura's AS 241, PPND16, about 16 digits. NaN outside (0, 1). */
export function normalQuantile(p: number): number {
  if (!(p > 0 && p < 1)) return Number.NaN
  const q = p - 0.5
  if (Math.abs(q) <= 0.425) {
    return (
      q *
      ratio(
        [
          3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987, 67265.7709270087,
          33430.57558358813, 2509.0809287301227,
        ],
        [
          1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271, 28729.085735721943,
          5226.495278852854,
        ],
        0.180625 - q * q,
      )
    )
  }
  const r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p))
  const x =
    r <= 5
      ? ratio(
          [
            1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684, 0.2417807251774506,
            0.022723844989269184, 0.0007745450142783414,
          ],
          [
            1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008, 0.015198666563616457, 0.0005475938084995345,
            1.0507500716444169e-9,
          ],
          r - 1.6,
        )
      : ratio(
          [
            6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124, 0.0012426609473880784,
            2.7115555687434876e-5, 2.0103343992922881e-7,
          ],
          [
            1, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133, 1.8463183175100548e-5,
            1.421511758316446e-7, 2.0442631033899397e-15,
          ],
          r - 5,
        )
  return q < 0 ? -x : x
}
/** Two-sided 95 % of a normal. */
export const Z95 = normalQuantile(0.975)

/** Wilson score interval of `wins` out of `n` (95 %). */
export function wilson(wins: number, n: number): readonly [number, number] {
  const z2 = Z95 * Z95
  const p = wins / n
  const center = (p + z2 / (2 * n)) / (1 + z2 / n)
  const half = (Z95 / (1 + z2 / n)) * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n))
  return [Math.max(0, center - half), Math.min(1, center + half)]
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
  return normalCdf((sharpe - benchmark) / sharpeError(sharpe, n, skew, kurtosis))
}
/** Standard error of a per-period Sharpe ratio. */
export function sharpeError(sharpe: number, n: number, skew: number, kurtosis: number): number {
  return Math.sqrt((1 - skew * sharpe + ((kurtosis - 1) / 4) * sharpe * sharpe) / (n - 1))
}

/** Kaplan–Meier survival: share not yet filled after each distinct time; an observation without an event is censored at its time. */
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

/** Uniform integers below `below`, xorshift32 (Marsaglia 2003) from a fixed seed. */
function integers(): (below: number) => number {
  let state = 0x2545f491
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}
function middle95(totals: Float64Array): readonly [number, number] {
  totals.sort()
  return [totals[Math.floor(totals.length * 0.025)] as number, totals[Math.ceil(totals.length * 0.975) - 1] as number]
}
/** 95 % interval of a sum by resampling whole clusters (markets of one event settle together). */
export function clusterBootstrap(sums: readonly number[], draws = 2000): readonly [number, number] {
  const next = integers()
  const totals = new Float64Array(draws)
  for (let d = 0; d < draws; d++) {
    let total = 0
    for (let i = 0; i < sums.length; i++) total += sums[next(sums.length)] as number
    totals[d] = total
  }
  return middle95(totals)
}
/** 95 % interval of a sum over days, by the stationary block bootstrap (Politis and Romano 1994), mean block length n^⅓, wrapping round. */
export function blockBootstrap(days: readonly number[], draws = 2000): readonly [number, number] {
  const n = days.length
  const length = Math.max(1, Math.round(Math.cbrt(n)))
  const next = integers()
  const totals = new Float64Array(draws)
  for (let d = 0; d < draws; d++) {
    let total = 0
    let at = 0
    for (let i = 0; i < n; i++) {
      at = i === 0 || next(length) === 0 ? next(n) : (at + 1) % n
      total += days[at] as number
    }
    totals[d] = total
  }
  return middle95(totals)
}
