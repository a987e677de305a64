/** Whether runs are what they say. Owns the two questions: do the tables lead to the digest, do the numbers follow from the journal; hides tables. Invariant: nothing is changed. */
import type { SessionRecord } from '../../engine/session.ts'
import type { Rest } from './judge.ts'

/** One sentence for each run that is not what it says. */
export async function proveRuns(rests: readonly Rest[]): Promise<string[]> {
  const { readRun, Run } = await import('../../data/run.ts')
  const { buildReport } = await import('../../reports/index.ts')
  const problems: string[] = []
  for (const { folder, digest } of new Map(rests.map((r) => [r.folder, r])).values()) {
    let record: SessionRecord
    try {
      record = await readRun(folder)
    } catch (error) {
      problems.push(`${folder}: ${error instanceof Error ? error.message : String(error)}`)
      continue
    }
    const again = new Run(false)
    const { strings } = record
    const words = { all: strings } as Parameters<InstanceType<typeof Run>['journal']>[1]
    again.journal(record.journal, words)
    again.touches(record.touches, words)
    again.equity(record.equity)
    again.markouts(record.markouts)
    if (record.digest !== digest) problems.push(`${folder}: it was run anew meanwhile`)
    else if (again.digest() !== digest) problems.push(`${folder}: its tables do not lead to its digest: they were changed after the run`)
    else
      try {
        buildReport(record)
      } catch (error) {
        problems.push(`${folder}: its numbers do not follow from its journal (${error instanceof Error ? error.message : String(error)})`)
      }
  }
  return problems
}
