/**
 * Records that other commands leave beside a session, for its strategy to rest on: drills, and how a live session went. Owns their shapes and their check; hides nothing. Invariant: what does not have its
 * shape is told, and counts for nothing.
 *
 * `<session>/drill.json` · `<session>/live-proof.json`
 */
import { z } from 'zod'

const count = z.int().nonnegative()
const time = z.string().refine((text) => Number.isFinite(Date.parse(text)), 'expected a time such as 2026-06-01T12:00:00Z')
/** The hash of `cli/promote/identity.ts`; null: a drill of the program, whatever strategy runs in it. */
const strategy = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'expected the hash of a strategy')
  .nullable()

export const DRILL_FILE = 'drill.json'
const Drill = z.object({
  /** `restart` `disconnect` `gap` `crash` `kill` `order-entry` …: gates ask for them by name. */
  name: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, 'expected a word such as restart or kill'),
  passed: z.boolean(),
  runs: count,
  /** What went wrong, one sentence each, with the seed. */
  failures: z.array(z.string()).max(1000),
  /** What was measured, by name with its unit: `nothingOpenMs`, `lastCreateMs`. */
  figures: z.record(z.string(), z.number()),
})
export const DrillRecord = z.object({
  schema: z.literal('tapeline.drill/1'),
  version: z.string(),
  time,
  environment: z.string(),
  strategy,
  drills: z.array(Drill).min(1),
})
export type DrillRecord = z.infer<typeof DrillRecord>

export const LIVE_PROOF_FILE = 'live-proof.json'
export const LiveProof = z.object({
  schema: z.literal('tapeline.live-proof/1'),
  /** The digest of the session that it is of. */
  digest: z.string(),
  environment: z.string(),
  /** The promotion that it ran on, as the arm record says; null: unproven, or the local exchange. */
  level: z.enum(['paper', 'demo', 'canary', 'live']).nullable(),
  unproven: z.string().nullable(),
  reconciliations: z.object({ passes: count, differences: count }),
  /** Writes whose outcome was unknown, and those that still were at the end. */
  unknown: z.object({ total: count, unresolved: count }),
  /** What fills cost beyond what the simulated venue says of the same tape, cents a contract; null: not compared. */
  slippageCents: z.number().nullable(),
  /** Halts that no operator asked for, one sentence each. */
  incidents: z.array(z.string()).max(1000),
})
export type LiveProof = z.infer<typeof LiveProof>
