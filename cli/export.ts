/** `tapeline report export`: the tables of a run or a tape as Arrow or Parquet files, for Python and others. Owns the choice of what is exported; hides the writing. */
import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import type { CommandModule } from 'yargs'
import { DataError } from '../data/errors.ts'
import type { ExportedTable, ExportFormat } from '../data/export.ts'
import { once } from './backtest.ts'
import { EXIT, UsageError } from './exit.ts'
import { count, present, progress, tableText, type Outcome } from './output.ts'

type Arguments = { source: string; arrow: boolean; parquet: boolean; out: string | undefined; json: boolean }
type ExportData = {
  readonly of: 'run' | 'tape'
  readonly format: ExportFormat
  readonly out: string
  readonly bytes: number
  readonly tables: readonly ExportedTable[]
}

export const exportCommand: CommandModule<object, Arguments> = {
  command: 'export <source>',
  describe: 'The tables of a run or a tape as Arrow or Parquet files, for Python and others',
  builder: (y) =>
    y
      .positional('source', { type: 'string', demandOption: true, describe: 'Folder of a run or a tape' })
      .option('arrow', { type: 'boolean', default: false, describe: 'Arrow IPC files (pyarrow, pandas, polars, DuckDB)' })
      .option('parquet', { type: 'boolean', default: false, describe: 'Parquet files' })
      .option('out', { type: 'string', requiresArg: true, describe: 'New folder (default: exports/<name>-<format>)' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
      .check((argv) => once(argv)) as never,
  handler: (argv) => present('report export', argv.json, () => runExport(argv)),
}

async function runExport({ source, arrow, parquet, out, json }: Arguments): Promise<Outcome<ExportData | null>> {
  if (arrow === parquet) throw new UsageError('give one of --arrow and --parquet')
  const format: ExportFormat = arrow ? 'arrow' : 'parquet'
  const folder = out ?? join('exports', `${basename(resolve(source))}-${format}`)
  const of = existsSync(join(source, 'session.json')) ? 'run' : 'tape'
  if (of === 'tape' && !existsSync(join(source, 'manifest.json')))
    throw new DataError('NOT_A_RUN', `${source} is neither a run (no session.json) nor a tape (no manifest.json): give the folder of one`)
  const { exportTables } = await import('../data/export.ts')
  const { runTables, tapeTables } = await import('../data/export-tables.ts')
  const { Database } = await import('../data/parquet.ts')
  let stopped = false
  const stop = (): void => void (stopped = true)
  process.on('SIGINT', stop)
  const bar = await progress('export', json)
  const db = await Database.open({ threads: 1, memory: 1024 })
  try {
    let tables: Awaited<ReturnType<typeof tapeTables>>
    let metadata: Record<string, string>
    let total = 0
    if (of === 'run') {
      const { readRun } = await import('../data/run.ts')
      const { framesOf } = await import('../reports/frames.ts')
      const record = await readRun(source)
      tables = await runTables(db, source, framesOf(record))
      metadata = {
        source: 'tapeline run',
        version: record.header.version,
        digest: record.digest,
        tape: record.header.tape.name,
        practice: String(record.header.tape.practice),
        complete: String(record.end.complete),
      }
    } else {
      const { openTape } = await import('../data/tape-reader.ts')
      const tape = await openTape(source)
      tables = await tapeTables(tape)
      metadata = {
        source: 'tapeline tape',
        tape: tape.manifest.name,
        origin: tape.manifest.source,
        practice: String(tape.manifest.practice),
      }
      total = tape.manifest.rows
    }
    const done = await exportTables(db, tables, {
      format,
      out: folder,
      metadata,
      stopped: () => stopped,
      progress: (table, rows) => bar.update(rows, Math.max(total, rows), `${table} ${count(rows)} rows`),
    })
    const bytes = done.reduce((a, t) => a + t.bytes, 0)
    return {
      data: { of, format, out: folder, bytes, tables: done },
      text: `${tableText(
        ['table', 'rows', 'bytes'],
        done.map((t) => [t.file, count(t.rows), count(t.bytes)]),
      )}

${count(bytes)} bytes in ${folder}; tables.json says what every column means
Next     python -c "import pandas; print(pandas.read_${format === 'arrow' ? 'feather' : 'parquet'}('${join(folder, done[0]?.file ?? '')}'))"
`,
    }
  } catch (error) {
    if (stopped) return { data: null, exit: EXIT.interrupted, error: { code: 'INTERRUPTED', message: 'interrupted: no file was written' } }
    throw error
  } finally {
    bar.end()
    db.close()
    process.off('SIGINT', stop)
  }
}
