/** `tapeline live …`: real orders. Owns the list of its commands. */
import type { CommandModule } from 'yargs'
import { acceptCashCommand } from './live/accept-cash.ts'
import { armCommand, armsCommand, disarmCommand } from './live/arm.ts'
import { runCommand } from './live/run.ts'

export const liveCommand: CommandModule = {
  command: 'live',
  describe: 'Real orders: run an armed session, arm one, take an arm back, list what is armed, accept a difference in cash',
  builder: (y) => y.command(runCommand).command(armCommand).command(disarmCommand).command(armsCommand).command(acceptCashCommand).strict(),
  handler: () => {},
}
