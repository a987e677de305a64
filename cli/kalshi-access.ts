/**
 * Where public data is read from: flags over `$TAPELINE_…` over tapeline.yaml, as for live markets. Owns the options and the one difference; hides addresses (adapters/kalshi/environment.ts).
 * Invariants: demo unless something else is named; a key is not needed, and one of the file is used for the environment that stands beside it alone.
 */
import type { Argv } from 'yargs'
import { configOptions } from './config-command.ts'
import { UsageError } from './exit.ts'
import { accessOf as liveAccessOf, isLocal } from './live-connection.ts'

export type AccessArguments = {
  config?: string
  profile?: string
  environment?: 'demo' | 'production' | 'local'
  url?: string
  keyId?: string
  keyFile?: string
}

export function accessOptions(y: Argv): Argv {
  return configOptions(y)
    .option('environment', {
      choices: ['demo', 'production', 'local'] as const,
      requiresArg: true,
      describe: 'Which exchange (default: as in tapeline.yaml, else demo)',
    })
    .option('url', { type: 'string', requiresArg: true, describe: 'Address of a local exchange, as http://127.0.0.1:4010/trade-api/v2' })
    .option('key-id', { type: 'string', requiresArg: true, describe: 'Id of an API key: not needed, its own limits hold then' })
    .option('key-file', { type: 'string', requiresArg: true, describe: 'PEM file of that key, mode 0600' })
}

export async function accessOf(argv: AccessArguments): Promise<{
  readonly name: 'demo' | 'production' | 'local'
  /** As adapters/kalshi/environment.ts takes it. */
  readonly environment: string
  readonly key: { readonly id: string; readonly file: string } | null
}> {
  const { environment, keyId, keyFile } = (await publicProduction(argv)) ?? (await liveAccessOf({ ...NOTHING, ...argv }))
  if ((keyId === null) !== (keyFile === null))
    throw new UsageError(`--key-${keyId === null ? 'file' : 'id'} was given alone: a key is --key-id and --key-file together`)
  return {
    name: isLocal(environment) ? 'local' : (environment as 'demo' | 'production'),
    environment,
    key: keyId === null || keyFile === null ? null : { id: keyId, file: keyFile },
  }
}

/** What is public can be read from production by the word alone, without a profile: nothing can be ordered there, and no key of the file goes along. Null: a profile names it, or another one is meant. */
async function publicProduction(
  argv: AccessArguments,
): Promise<{ environment: string; keyId: string | null; keyFile: string | null } | null> {
  if (argv.environment !== 'production') return null
  if (argv.url !== undefined) return null
  const { settingsOf } = await import('./config.ts')
  const { kalshi } = settingsOf({ config: argv.config, profile: argv.profile })
  return kalshi.environment === 'production'
    ? null
    : { environment: 'production', keyId: argv.keyId ?? null, keyFile: argv.keyFile ?? null }
}

/** Options that live markets have besides. */
const NOTHING = {
  series: undefined,
  market: undefined,
  environment: undefined,
  url: undefined,
  clock: undefined,
  keyId: undefined,
  keyFile: undefined,
  external: undefined,
  duration: undefined,
}
