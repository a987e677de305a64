/** What is known of a session's own tape once it has run. Owns those facts; hides where they stand. Invariant: what decides the journal stays as the session began with it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { lossesOf, ownRows } from '../data/losses.ts'
import { readRun } from '../data/run.ts'
import { openTape } from '../data/tape-reader.ts'
import { describeFile } from '../data/tape-writer.ts'
import type { SessionHeader, SessionRecord } from '../engine/session.ts'

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
      rows: ownRows(manifest),
      markets: manifest.markets,
      from: manifest.from,
      to: manifest.to,
      gaps: manifest.gaps,
      ...lossesOf(manifest, coverage),
      inFlux: coverage.reduce((a, c) => a + c.inFlux, 0),
      coverage: recorded === 0 ? null : coverage.reduce((a, c) => a + c.synced, 0) / recorded,
      labels: manifest.labelBasis,
      // A session that goes on has said some of them before.
      remarks: [...new Set([...header.tape.remarks, ...manifest.remarks])],
    },
  }
}

/** What a session left behind, with what its tape says where the session itself did not come to say it: it was killed, or still runs. */
export async function sessionRecord(dir: string): Promise<SessionRecord> {
  const record = await readRun(dir)
  const { header, end } = record
  // Of a session that ended its own header has it; a backtest has no tape of its own.
  if (header.mode === 'backtest' || end.complete || end.rows > 0 || !existsSync(join(dir, 'tape', 'manifest.json'))) return record
  const facts = await tapeFacts(dir, header)
  const { tape } = facts
  return {
    ...record,
    header: facts,
    end: {
      ...end,
      // What stands on its tape went through it; the last rows may not have.
      rows: tape.rows,
      firstTime: end.firstTime ?? (tape.from > 0 ? tape.from : null),
      lastTime: end.lastTime === null ? (tape.to > 0 ? tape.to : null) : Math.max(end.lastTime, tape.to),
      marketsSeen: Math.max(end.marketsSeen, tape.markets),
    },
  }
}
