/** What is known of a session's own tape once it has run. Owns those facts; hides where they stand. Invariant: what decides the journal stays as the session began with it. */
import { join } from 'node:path'
import { openTape } from '../data/tape-reader.ts'
import { describeFile } from '../data/tape-writer.ts'
import type { SessionHeader } from '../engine/session.ts'

/** The header with what is known of the tape by now. What decides the journal (depth and `lagMax`) stays. */
export async function tapeFacts(dir: string, header: SessionHeader): Promise<SessionHeader> {
  const tape = await openTape(join(dir, 'tape'))
  const { manifest } = tape
  const coverage = await tape.coverage()
  const recorded = coverage.reduce((a, c) => a + c.recorded, 0)
  return {
    ...header,
    tape: {
      ...header.tape,
      manifest: (await describeFile(tape.dir, 'manifest.json', 0)).sha256,
      rows: manifest.rows,
      markets: manifest.markets,
      from: manifest.from,
      to: manifest.to,
      gaps: coverage.reduce((a, c) => a + c.gaps, 0),
      inFlux: coverage.reduce((a, c) => a + c.inFlux, 0),
      coverage: recorded === 0 ? null : coverage.reduce((a, c) => a + c.synced, 0) / recorded,
      labels: manifest.labelBasis,
      // A session that goes on has said some of them before.
      remarks: [...new Set([...header.tape.remarks, ...manifest.remarks])],
    },
  }
}
