/** `tapeline live …`: real orders. Owns the list of its commands. */
import type { CommandModule } from 'yargs'
import { armCommand, armsCommand, disarmCommand } from './live/arm.ts'

export const liveCommand: CommandModule = {
  command: 'live',
  describe: 'Real orders: arm a session, take an arm back, list what is armed',
  builder: (y) =>
    y.command(armCommand).command(disarmCommand).command(armsCommand).demandCommand(1, 'Give one of: arm, disarm, arms').strict(),
  handler: () => {},
}
