/**
 * A model against what happened, over all orders. Owns the measures and which model is the nearest; hides nothing. Invariant: an order that was never in the model has no part in a measure of a model.
 */
import type { FillModelName } from '../../engine/session.ts'
import type { DivergeClass, ModelSummary, OrderLine } from './model.ts'

export function summariseModel(model: FillModelName, lines: readonly OrderLine[]): ModelSummary {
  const classes: Partial<Record<DivergeClass, number>> = {}
  for (const l of lines) classes[l.class] = (classes[l.class] ?? 0) + 1
  const judged = lines.filter((l) => l.modelled)
  const sum = (of: (l: OrderLine) => number): number => judged.reduce((a, l) => a + of(l), 0)
  const most = sum((l) => Math.max(l.live.filled, l.model.filled))
  const both = judged.filter((l) => l.live.filled > 0 && l.model.filled > 0)
  const apart = both.map((l) => (l.model.firstFill as number) - (l.live.firstFill as number))
  const samples = judged.reduce((a, l) => a + l.queueSamples, 0)
  return {
    model,
    orders: judged.length,
    both: both.length,
    neither: judged.filter((l) => l.live.filled === 0 && l.model.filled === 0).length,
    liveOnly: judged.filter((l) => l.live.filled > 0 && l.model.filled === 0).length,
    modelOnly: judged.filter((l) => l.live.filled === 0 && l.model.filled > 0).length,
    classes,
    contractsLive: sum((l) => l.live.filled),
    contractsModel: sum((l) => l.model.filled),
    contractError: most === 0 ? null : sum((l) => Math.abs(l.model.filled - l.live.filled)) / most,
    firstFillError: median(apart.map(Math.abs)),
    firstFillBias: median(apart),
    feesLive: sum((l) => l.live.fees),
    feesModel: sum((l) => l.model.fees),
    feeError: sum((l) => Math.abs(l.model.fees - l.live.fees)),
    pnlLive: sum((l) => l.live.pnl ?? 0),
    pnlModel: sum((l) => l.model.pnl ?? 0),
    pnlError: sum((l) => Math.abs((l.model.pnl ?? 0) - (l.live.pnl ?? 0))),
    queueError: samples === 0 ? null : sum((l) => (l.queueError ?? 0) * l.queueSamples) / samples,
    queueSamples: samples,
  }
}

/** The smallest share of contracts that were filled in one and not in the other; then the smallest differences of money, then of time. Null: no order was judged. */
export function nearestOf(models: readonly ModelSummary[]): ModelSummary | null {
  const of = (m: ModelSummary): readonly number[] => [m.contractError ?? 0, m.pnlError, m.firstFillError ?? 0]
  let best: ModelSummary | null = null
  for (const m of models) {
    if (m.orders === 0) continue
    if (best === null) {
      best = m
      continue
    }
    const [a, b] = [of(m), of(best)]
    const at = a.findIndex((x, i) => x !== b[i])
    if (at >= 0 && (a[at] as number) < (b[at] as number)) best = m
  }
  return best
}

function median(values: readonly number[]): number | null {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length / 2
  return ((sorted[Math.ceil(half) - 1] as number) + (sorted[Math.floor(half)] as number)) / 2
}
