/** Verification: the files of a tape against its manifest. Owns the comparison; a finding names one file and what is wrong with it. */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isSealed } from './manifest.ts'
import { Database, quote } from './parquet.ts'
import { readManifest } from './tape-reader.ts'
import { describeFile } from './tape-writer.ts'

export type Finding = { readonly path: string; readonly problem: string }

/** Every file by presence, size and SHA-256, rows and their order, and files that nobody knows. Empty: the tape is whole. */
export async function verifyTape(dir: string): Promise<Finding[]> {
  const manifest = await readManifest(dir)
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
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name).slice(join(dir, '.').length + 1)
    if (!known.has(path) && existsSync(join(dir, path))) findings.push({ path, problem: 'is not in the manifest' })
  }
  return findings
}
