/**
 * What the report of a live session is made of beside its record. Owns the shapes; hides nothing. Invariant: a column that could not be made says why.
 */
import type { SessionRecord } from '../../engine/session.ts'
import type { ModelSummary } from '../diverge/model.ts'
import type { LiveInput } from './facts.ts'

/** Another session of the same strategy: on the same tape (backtest), or over the same time (paper). `note`: what it is, in a few words. */
export type Beside = { readonly record: SessionRecord; readonly note: string } | { readonly missing: string }
export type LiveParts = {
  /** Fills by which the operator closed positions, and that the record does not have (yet). */
  readonly unbooked?: readonly { readonly quantity: number }[]
  readonly inputs: readonly LiveInput[]
  readonly backtest: Beside
  readonly paper: Beside
  /** The session's orders under each fill model, the nearest first; null: not compared, with the reason. */
  readonly models: readonly ModelSummary[] | { readonly missing: string }
}
