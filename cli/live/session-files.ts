/**
 * The folder of a paper or live session, for commands that look back at it. Owns how it is known what a session was (its header, how it was started); hides which file says it. Invariant: a folder that
 * is no session is refused in one sentence.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DataError } from '../../data/errors.ts'
import type { SessionHeader } from '../../engine/session.ts'
import type { Chosen } from '../strategy/choose.ts'

/** How it was started, as far as it matters to run its strategies again. */
export type StartPlan = { readonly strategies: readonly string[]; readonly parameters: readonly string[] }
export type SessionFiles = { readonly dir: string; readonly header: SessionHeader; readonly plan: StartPlan }

const PLANS = { live: 'live.json', paper: 'paper.json' } as const

export function sessionFiles(dir: string): SessionFiles {
  const header = json(join(dir, 'session.json')) as SessionHeader | null
  if (header === null || (header.mode !== 'live' && header.mode !== 'paper'))
    throw new DataError(
      'NOT_A_SESSION',
      header === null
        ? `${dir} is no session (no session.json in it that can be read): give the folder that \`tapeline paper\` or \`tapeline live\` printed`
        : `${dir} is a ${header.mode}, not a paper or live session: give the folder that \`tapeline paper\` or \`tapeline live\` printed`,
    )
  const file = PLANS[header.mode]
  const plan = json(join(dir, file)) as Partial<StartPlan> | null
  if (!Array.isArray(plan?.strategies) || !Array.isArray(plan.parameters))
    throw new DataError(
      'NOT_A_SESSION',
      `${join(dir, file)} is missing or cannot be read: without it nobody knows how the session was started`,
    )
  return { dir, header, plan: { strategies: plan.strategies, parameters: plan.parameters } }
}

/** Its strategies, new from the start, and the same as then; throws where they are not. */
export async function strategiesAgain({ dir, header, plan }: SessionFiles): Promise<readonly Chosen[]> {
  const { chooseStrategies } = await import('../strategy/choose.ts')
  const { sameStrategies } = await import('../strategy/same.ts')
  const strategies = await chooseStrategies(plan.strategies, plan.parameters)
  await sameStrategies(dir, header, strategies)
  return strategies
}

function json(path: string): unknown {
  if (!existsSync(path)) return null
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}
