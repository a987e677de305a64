#!/usr/bin/env node
/** The command line. Owns the list of commands and what happens to wrong use; everything heavy is imported by the command that needs it. */
import yargs, { type CommandModule } from 'yargs'
import { hideBin } from 'yargs/helpers'
import { backtestCommand } from './backtest.ts'
import { configCommand } from './config-command.ts'
import { looksLikeKey } from './config/secret.ts'
import { dataCommand } from './data.ts'
import { demoCommand } from './demo.ts'
import { divergeCommand } from './diverge.ts'
import { doctorCommand } from './doctor.ts'
import { downloadCommand } from './download.ts'
import { explainCommand } from './explain.ts'
import { exchangeCommand } from './exchange.ts'
import { EXIT, EXIT_TEXT } from './exit.ts'
import { FAULTS_TEXT } from './faults-text.ts'
import { liveCommand } from './live.ts'
import { flattenCommand } from './live/flatten-command.ts'
import { watchCommand } from './live/watch-command.ts'
import { notebookCommand } from './notebook.ts'
import { statusCommand, wordCommands } from './operate.ts'
import { paperCommand } from './paper.ts'
import { promoteCommand } from './promote.ts'
import { replayCommand } from './replay.ts'
import { recordCommand } from './record.ts'
import { reportCommand } from './report.ts'
import { strategyCommand } from './strategy.ts'
import { VERSION } from './version.ts'

process.on('SIGTERM', () => process.exit(EXIT.terminated))
// A reader that went away (`| head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.ok)
})

if (process.argv.slice(2).some(looksLikeKey)) {
  // Before anything could repeat it. Arguments are seen by every program on the machine.
  const message =
    'an argument looks like a private key: keep the key in a file of its own (chmod 600), name the file in kalshi.keyFile, and make a new key, for others could have read this one'
  if (process.argv.includes('--json'))
    process.stdout.write(
      `${JSON.stringify({ schema: 'tapeline.error/1', ok: false, command: '', data: null, warnings: [], errors: [{ code: 'CREDENTIALS', message }] })}\n`,
    )
  else process.stderr.write(`error: ${message}\n`)
  process.exit(EXIT.credentials)
}

const COMMANDS = [
  demoCommand,
  backtestCommand,
  paperCommand,
  recordCommand,
  promoteCommand,
  liveCommand,
  statusCommand,
  ...wordCommands,
  flattenCommand,
  watchCommand,
  replayCommand,
  divergeCommand,
  dataCommand,
  downloadCommand,
  strategyCommand,
  exchangeCommand,
  reportCommand,
  explainCommand,
  notebookCommand,
  configCommand,
  doctorCommand,
] as const
const NAMES = new Set(['help', ...COMMANDS.map(({ command }) => String(command).split(' ')[0])])

await yargs(hideBin(process.argv))
  .scriptName('tapeline')
  .usage('$0 <command>\n\nBacktesting-first research engine for Kalshi')
  .command([...COMMANDS] as CommandModule[])
  .command(
    'help <topic>',
    'exit-codes: what they mean; faults: what the local exchange can be made to do wrong, and its admin door',
    (y) => y.positional('topic', { choices: ['exit-codes', 'faults'] as const, demandOption: true }),
    ({ topic }) => {
      if (topic === 'faults') process.stdout.write(FAULTS_TEXT)
      else process.stdout.write(`${EXIT_TEXT.map(([code, text]) => `${String(code).padStart(3)}  ${text}`).join('\n')}\n`)
    },
  )
  .demandCommand(1, 'Give a command; `tapeline --help` lists them')
  .recommendCommands()
  .strict()
  .version(VERSION)
  .help()
  .wrap(110)
  .fail((message, error) => {
    const text = message ?? error?.message ?? 'wrong use'
    if (process.argv.includes('--json')) {
      process.stdout.write(
        `${JSON.stringify({ schema: 'tapeline.error/1', ok: false, command: process.argv[2] ?? '', data: null, warnings: [], errors: [{ code: 'USAGE', message: text }] })}\n`,
      )
    } else
      process.stderr.write(
        `error: ${text.replaceAll('\n', ' ')} (see tapeline ${process.argv
          .slice(2)
          .slice(0, 1)
          .map((word) => (NAMES.has(word) ? word : (/^Did you mean ([\w-]+)\?/.exec(text)?.[1] ?? '')))
          .filter((word) => word !== '')
          .map((command) => `${command} `)
          .join('')}--help)\n`,
      )
    process.exit(EXIT.usage)
  })
  .parseAsync()
