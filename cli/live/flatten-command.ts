/** `tapeline flatten`: the command line. Owns its options; hides the closing (flatten.ts). */
import type { Argv, CommandModule } from 'yargs'
import { UsageError } from '../exit.ts'
import { present } from '../output.ts'
import { sessionDir } from '../sessions.ts'
import { keyOptions } from './options.ts'

type FlattenArguments = {
  session: string | undefined
  collarCents: number
  market: string[] | undefined
  confirm: string | undefined
  dryRun: boolean
  keyId: string | undefined
  keyFile: string | undefined
  clock: string | undefined
  config?: string
  profile?: string
  json: boolean
}

export const flattenCommand: CommandModule<object, FlattenArguments> = {
  command: 'flatten [session]',
  describe: 'Close what a halted or dead live session holds: shows what it costs, and asks first',
  builder: (y) =>
    keyOptions(y.positional('session', { type: 'string', describe: 'Folder of the session' }))
      .option('collar-cents', { type: 'number', default: 5, requiresArg: true, describe: 'How far behind the touch it may go, cents' })
      .option('market', { type: 'string', array: true, requiresArg: true, describe: 'Only these markets' })
      .option('confirm', {
        type: 'string',
        requiresArg: true,
        describe: '"FLATTEN <n> markets <dollars>", where nobody can type it; the dollars are the most that it may cost',
      })
      .option('dry-run', { type: 'boolean', default: false, describe: 'Show it, and send nothing' })
      .option('json', {
        type: 'boolean',
        default: false,
        describe: 'One JSON envelope on stdout and nothing else',
      }) as unknown as Argv<FlattenArguments>,
  handler: (argv) =>
    present('flatten', argv.json, async () => {
      const { placeOf } = await import('./place.ts')
      const { flatten } = await import('./flatten.ts')
      const { collarCents, market, confirm, dryRun } = argv
      if (!(collarCents >= 0 && collarCents <= 50)) throw new UsageError(`--collar-cents ${collarCents}: from 0 to 50`)
      const dir = await sessionDir(argv.session, argv, true)
      const place = placeOf(dir)
      if (place === null) throw new UsageError(`${dir} is no live session: it holds nothing that could be closed`)
      return flatten(place, {
        ...argv,
        collar: Math.round(collarCents * 100),
        markets: market ?? null,
        confirm,
        dryRun,
        show: (text) => void process.stderr.write(`${text}\n`),
      })
    }),
}
