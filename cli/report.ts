/** `tapeline report build|open|export`: the report of a run again, where it is, and its tables. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { CommandModule } from 'yargs'
import { DataError } from '../data/errors.ts'
import type { FillModelName } from '../engine/session.ts'
import { once } from './backtest.ts'
import { exportCommand } from './export.ts'
import { present } from './output.ts'

type Arguments = { run: string; json: boolean }
type BuildArguments = Arguments & { paper: string | undefined; fills: FillModelName | undefined }

const build: CommandModule<object, BuildArguments> = {
  command: 'build <run>',
  describe: 'Write the report of a run again',
  builder: (y) =>
    y
      .positional('run', { type: 'string', demandOption: true, describe: 'Folder of the run' })
      .option('paper', { type: 'string', requiresArg: true, describe: 'Of a live session: the paper session to stand beside it' })
      .option('fills', {
        choices: ['strict', 'queue', 'touch', 'quotes', 'prints'] as const,
        describe: 'Of a live session: fill model of the backtest beside it (default: the nearest to what happened)',
      })
      .option('json', { type: 'boolean', default: false })
      .check((argv) => once(argv)) as never,
  handler: ({ run, paper, fills, json }) =>
    present('report build', json, async () => {
      const { sessionRecord } = await import('./tape-facts.ts')
      const { buildReport } = await import('../reports/index.ts')
      const { liveParts } = await import('./live/report-parts.ts')
      const record = await sessionRecord(run)
      const report = buildReport(record, await liveParts(run, record, { paper: paper ?? null, fills: fills ?? null }))
      const page = join(run, 'report.html')
      await writeFile(page, report.html)
      await writeFile(join(run, 'summary.json'), `${JSON.stringify(report.summary, null, 1)}\n`)
      return {
        data: { run, report: page, digest: report.summary.digest },
        text: `${report.terminal(process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined)}\nReport   ${page}\n`,
      }
    }),
}

const open: CommandModule<object, Arguments> = {
  command: 'open <run>',
  describe: 'Open the report of a run in the browser',
  builder: (y) =>
    y
      .positional('run', { type: 'string', demandOption: true, describe: 'Folder of the run' })
      .option('json', { type: 'boolean', default: false }) as never,
  handler: ({ run, json }) =>
    present('report open', json, async () => {
      const page = resolve(run, 'report.html')
      if (!existsSync(page))
        throw new DataError('NOT_A_RUN', `${join(run, 'report.html')} does not exist: write it with \`tapeline report build ${run}\``)
      const address = pathToFileURL(page).href
      const [program, ...more] =
        process.platform === 'darwin' ? ['open'] : process.platform === 'win32' ? ['cmd', '/c', 'start', ''] : ['xdg-open']
      const opened = await new Promise<boolean>((done) => {
        const child = spawn(program as string, [...more, address], { stdio: 'ignore', detached: true })
        child.on('error', () => done(false))
        child.on('spawn', () => {
          child.unref()
          done(true)
        })
      })
      return { data: { report: page, opened }, text: opened ? `opened ${address}` : `no browser could be started; open ${address}` }
    }),
}

export const reportCommand: CommandModule = {
  command: 'report',
  describe: 'Build, open or export the report of a run',
  builder: (y) => y.command(build).command(open).command(exportCommand).demandCommand(1, 'Give one of: build, open, export').strict(),
  handler: () => {},
}
