/** Whether the strategies of a session are still what they were. Owns the comparison; hides nothing. Invariant: a session is gone on with, or looked back at, with its own code and parameters alone. */
import type { SessionHeader } from '../../engine/session.ts'
import { EXIT, UsageError } from '../exit.ts'
import type { Chosen } from './choose.ts'

/** The strategies of the header: the same code with the same parameters. */
export async function sameStrategies(dir: string, header: SessionHeader, strategies: readonly Chosen[]): Promise<void> {
  const { strategiesOf } = await import('../session.ts')
  const now = strategiesOf(strategies)
  header.strategies.forEach((was, i) => {
    if (JSON.stringify(was) !== JSON.stringify(now[i]))
      throw new UsageError(
        `${was.name} is not what it was when ${dir} was begun (${was.source === undefined ? 'its parameters' : `${was.source.file} or its parameters`} changed): put it back, or start a new session`,
        EXIT.mismatch,
        'DIVERGED',
      )
  })
}
