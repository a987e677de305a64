/** The options that say which exchange is meant, and by whose key. Owns their names; hides addresses (adapters/kalshi/environment.ts). Invariant: demo unless production is named. */
import type { Options } from 'yargs'
import { UsageError } from './exit.ts'

export type AccessArguments = {
  environment: 'demo' | 'production' | 'local'
  url?: string
  keyId?: string
  keyFile?: string
}

export const ACCESS_OPTIONS = {
  environment: {
    choices: ['demo', 'production', 'local'] as const,
    default: 'demo' as const,
    requiresArg: true,
    describe: 'Which exchange',
  },
  url: { type: 'string', requiresArg: true, describe: 'Address of a local exchange, as http://127.0.0.1:4010/trade-api/v2' },
  'key-id': { type: 'string', requiresArg: true, describe: 'Id of an API key: not needed, its own limits hold then' },
  'key-file': { type: 'string', requiresArg: true, describe: 'PEM file of that key, mode 0600' },
} satisfies Record<string, Options>

export function accessOf({ environment, url, keyId, keyFile }: AccessArguments): {
  readonly name: AccessArguments['environment']
  /** As adapters/kalshi/environment.ts takes it. */
  readonly environment: string
  readonly key: { readonly id: string; readonly file: string } | null
} {
  if (environment === 'local' && url === undefined)
    throw new UsageError(
      '--environment local needs --url: give the address that `tapeline exchange` prints, as http://127.0.0.1:4010/trade-api/v2',
    )
  if (environment !== 'local' && url !== undefined)
    throw new UsageError(`--url is for an exchange on this machine: give --environment local with it, or leave it out for ${environment}`)
  if ((keyId === undefined) !== (keyFile === undefined))
    throw new UsageError(`--key-${keyId === undefined ? 'file' : 'id'} was given alone: a key is --key-id and --key-file together`)
  return {
    name: environment,
    environment: url === undefined ? environment : url.replace(/(\/trade-api\/v2)?\/*$/, ''),
    key: keyId === undefined || keyFile === undefined ? null : { id: keyId, file: keyFile },
  }
}
