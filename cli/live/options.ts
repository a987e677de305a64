/** The options by which a command reaches a live session's exchange. Owns their names; hides nothing. Invariant: none is needed where the session and tapeline.yaml say it. */
import type { Argv } from 'yargs'
import { configOptions } from '../config-command.ts'

export function keyOptions(y: Argv): Argv {
  return configOptions(y)
    .option('key-id', { type: 'string', requiresArg: true, describe: "Live: id of an API key (default: the session's)" })
    .option('key-file', { type: 'string', requiresArg: true, describe: 'Live: its PEM file, mode 0600' })
    .option('clock', {
      type: 'string',
      requiresArg: true,
      describe: 'Live: clock of a local exchange with --scale, the JSON that it prints',
    })
}
