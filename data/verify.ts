/** Verification: the files of a tape against its manifest. Owns the comparison; a finding names one file and what is wrong with it. */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { FrameKind, SegmentReader, segmentsOf } from './log-reader.ts'
import { rangeOf } from './log-rows.ts'
import { isSealed } from './manifest.ts'
import { Database, quote } from './parquet.ts'
import type { Growing, Manifest } from './schema.ts'
import { readManifest } from './tape-files.ts'
import { describeFile } from './tape-writer.ts'

export type Finding = { readonly path: string; readonly problem: string }

/** Every file by presence, size and SHA-256, rows and their order, and files that nobody knows. Empty: the tape is whole. */
export async function verifyTape(dir: string): Promise<Finding[]> {
  for (;;) {
    const manifest = await readManifest(dir)
    const findings = await verifyBy(dir, manifest)
    // A tape that grows may have changed under our eyes: what we missed then stands elsewhere now.
    if (findings.length === 0 || manifest.growing === undefined || JSON.stringify(await readManifest(dir)) === JSON.stringify(manifest))
      return findings
  }
}

async function verifyBy(dir: string, manifest: Manifest): Promise<Finding[]> {
  const findings: Finding[] = []
  // What it says of the files cannot be relied upon then.
  if (!isSealed(manifest, await readFile(join(dir, 'manifest.json'), 'utf8')))
    return [{ path: 'manifest.json', problem: 'is not what its own digest says: its content changed' }]
  const db = await Database.open()
  try {
    let last = -1
    for (const file of manifest.files) {
      if (!existsSync(join(dir, file.path))) {
        findings.push({ path: file.path, problem: 'is named in the manifest and is not there' })
        continue
      }
      const now = await describeFile(dir, file.path, file.rows)
      if (now.bytes !== file.bytes) findings.push({ path: file.path, problem: `has ${now.bytes} bytes, the manifest says ${file.bytes}` })
      else if (now.sha256 !== file.sha256)
        findings.push({ path: file.path, problem: 'its SHA-256 is not that of the manifest: its content changed' })
      else if (file.path.startsWith('messages/')) {
        const [row] = await db.rows(
          `SELECT count(*) AS n, min(time) AS first, max(time) AS latest, coalesce(sum(CASE WHEN time < before THEN 1 ELSE 0 END), 0)::BIGINT AS back
           FROM (SELECT time, lag(time) OVER (ORDER BY file_row_number) AS before FROM read_parquet(${quote(join(dir, file.path))}, file_row_number = true))`,
        )
        if (row?.['n'] !== file.rows)
          findings.push({ path: file.path, problem: `has ${String(row?.['n'])} rows, the manifest says ${file.rows}` })
        if (Number(row?.['back']) > 0 || Number(row?.['first']) < last)
          findings.push({ path: file.path, problem: 'its rows are not in the order of their time' })
        last = Number(row?.['latest'])
      }
    }
  } finally {
    db.close()
  }
  const rows = manifest.files.reduce((sum, f) => sum + (f.path.startsWith('messages/') ? f.rows : 0), 0)
  if (rows !== manifest.rows)
    findings.push({ path: 'manifest.json', problem: `says ${manifest.rows} rows, its message files hold ${rows}` })
  const known = new Set(['manifest.json', ...manifest.files.map((f) => f.path)])
  const { growing } = manifest
  if (growing !== undefined) findings.push(...verifyLog(dir, growing))
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name).slice(join(dir, '.').length + 1)
    // The recorder's own, while it works, and what is left of it after a crash.
    if (
      /^log[\\/]\d+\.log(\.cut)?$|^(markets|coverage)\.\d+\.parquet$|^writer\.lock|^status\.json(\.tmp)?$|^quarantine\.ndjson$/.test(path)
    )
      continue
    if (growing !== undefined && /^messages[\\/]|\.tmp$|^(markets|coverage)\.parquet$/.test(path)) continue
    if (!known.has(path) && existsSync(join(dir, path))) findings.push({ path, problem: 'is not in the manifest' })
  }
  return findings
}

/** Every frame of the log. Half a frame at its very end is being written, or will be cut by whoever goes on: no finding. */
function verifyLog(dir: string, growing: Growing): Finding[] {
  const log = join(dir, growing.log)
  const findings: Finding[] = []
  const segments = existsSync(log) ? segmentsOf(log) : []
  let rows = growing.rows
  for (const [i, { path }] of segments.entries()) {
    const reader = new SegmentReader(path)
    try {
      let sequence = 0
      for (let frame = reader.next(); frame !== null; frame = reader.next()) {
        sequence = frame.sequence
        if (frame.kind !== FrameKind.ROWS) continue
        const range = rangeOf(frame)
        if (range.before > rows)
          findings.push({
            path: join(growing.log, basename(path)),
            problem: `lacks ${range.before - rows} rows before byte ${frame.offset}`,
          })
        rows = Math.max(rows, range.before + range.rows)
      }
      const { problem } = reader
      if (problem !== null && (i < segments.length - 1 || reader.vouchedFor(problem.offset, sequence)))
        findings.push({ path: join(growing.log, basename(path)), problem: `is damaged at byte ${problem.offset} (${problem.reason})` })
    } finally {
      reader.close()
    }
  }
  return findings
}
