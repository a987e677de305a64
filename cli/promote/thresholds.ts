/**
 * What a strategy has to show before each step. Owns the thresholds: names, defaults, descriptions, and the file that changes them; hides YAML. Invariants: the file says no more than it means to change, and
 * everything it leaves out is the default; all its mistakes are found at once, each with its place.
 */
import { existsSync } from 'node:fs'
import { z } from 'zod'
import { ConfigText } from '../config/yaml.ts'
import { ConfigError } from '../exit.ts'

/** What may be done next, in order. A backtest takes nothing but a strategy that loads. */
export const LEVELS = ['backtest', 'paper', 'demo', 'canary', 'live'] as const
export type Level = (typeof LEVELS)[number]
export const GATES_FILE = 'gates.yaml'

const number = (description: string, standard: number, most: number) =>
  z.number().nonnegative().max(most).meta({ description, default: standard }).default(standard)
const whole = (description: string, standard: number, most = 1e9) =>
  z.int().nonnegative().max(most).meta({ description, default: standard }).default(standard)
const money = (description: string, standard: number) =>
  z.number().min(-1e8).max(1e8).meta({ description, default: standard }).default(standard)
const drills = (description: string, standard: string[]) =>
  z
    .array(z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, 'expected a word such as restart'), 'expected a list such as [restart, gap]')
    .max(50)
    .meta({ description, default: standard })
    .default(standard)

export const Thresholds = z.strictObject({
  practice: z
    .boolean()
    .meta({
      description: 'Whether practice tapes and local exchanges count. What they prove opens the local exchange alone',
      default: false,
    })
    .default(false),
  paper: z
    .strictObject({
      days: number('Days of tape that backtests cover', 60, 10_000),
      fills: whole('Fills in them', 200),
      markets: whole('Markets with a fill', 100),
      events: whole('Events with a fill: markets of one win and lose together', 50),
      coverageShare: number('Share of recorded time in which books were synced', 0.99, 1),
      netWorstDollars: money('Net P&L under the worst fill model is above', 0),
      netWithoutBestDollars: money('… without the five best markets, too', 0),
      repeatedRuns: whole('Backtests that were run again with the same digest', 1),
    })
    .prefault({}),
  demo: z
    .strictObject({
      days: number('Days of paper sessions', 14, 10_000),
      fills: whole('Fills in them', 100),
      fillsApartShare: number('Fills of a paper session and of the backtest of its own tape lie this near, as a share', 0.1, 10),
      centsApart: number('… and P&L a contract, in cents', 1, 100),
      incidents: whole('Paper sessions that ended early or were halted by something else than their operator', 0),
      drills: drills('Drills that were passed', ['restart', 'disconnect', 'gap']),
    })
    .prefault({}),
  canary: z
    .strictObject({
      days: number('Days of sessions at the demo exchange', 7, 10_000),
      fills: whole('Fills in them', 20),
      reconciliations: whole('Reconciliations with the exchange', 100),
      incidents: whole('Sessions that ended early or were halted by something else than their operator', 0),
      drills: drills('Drills that were passed', ['kill', 'crash', 'order-entry']),
      killSeconds: number('From halt to nothing open, in the drill kill', 2, 600),
      sessionLossDollars: number('Session loss limit that a canary may have', 50, 1e6),
      orderContracts: number('Contracts in one order of a canary', 5, 1e6),
    })
    .prefault({}),
  live: z
    .strictObject({
      days: number('Days of canary sessions', 14, 10_000),
      fills: whole('Fills in them', 100),
      slippageCents: number('What fills cost beyond the simulated venue on the same tape, cents a contract', 1, 100),
      incidents: whole('Sessions that ended early or were halted by something else than their operator', 0),
    })
    .prefault({}),
})
export type Thresholds = z.infer<typeof Thresholds>

/** `given`: as --gates names it; undefined: `gates.yaml` where it stands, else the defaults. Throws a ConfigError. */
export function readThresholds(given: string | undefined): { readonly thresholds: Thresholds; readonly file: string | null } {
  const path = given ?? (existsSync(GATES_FILE) ? GATES_FILE : null)
  if (path === null) return { thresholds: Thresholds.parse({}), file: null }
  let text: ConfigText
  try {
    text = ConfigText.read(path)
  } catch (error) {
    throw new ConfigError([`${given === undefined ? '' : '--gates '}${(error as Error).message}`])
  }
  const value = pruned(text.value)
  const mistakes = text.check(Thresholds)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return { thresholds: Thresholds.parse(value), file: path }
}
/** A section whose every line is a comment is an empty one. */
function pruned(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const sections = value as Record<string, unknown>
  for (const name of LEVELS) if (sections[name] === null) delete sections[name]
  return value
}

/** The file with everything in it, as its defaults. */
export function thresholdsText(thresholds: Thresholds): string {
  const lines = [
    '# What a strategy has to show before each step: `tapeline promote status <strategy>`. What is left out is as here.',
    '# These are proposals to be tuned, not measured facts.',
  ]
  for (const [name, outer] of Object.entries(Thresholds.shape)) {
    const section = inner(outer)
    if (!(section instanceof z.ZodObject)) {
      lines.push(...lineOf('', name, thresholds[name as 'practice'], outer))
      continue
    }
    lines.push(`${name}:`)
    const values = thresholds[name as 'paper'] as Readonly<Record<string, unknown>>
    for (const [key, type] of Object.entries(section.shape)) lines.push(...lineOf('  ', key, values[key], type as z.ZodType))
  }
  return `${lines.join('\n')}\n`
}
function lineOf(indent: string, name: string, value: unknown, type: z.ZodType): string[] {
  return [
    `${`${indent}${name}: ${JSON.stringify(value)}`.padEnd(48)} # ${type.meta()?.description ?? inner(type).meta()?.description ?? ''}`,
  ]
}
function inner(type: z.ZodType): z.ZodType {
  return type instanceof z.ZodDefault || type instanceof z.ZodPrefault ? inner(type.unwrap() as z.ZodType) : type
}
