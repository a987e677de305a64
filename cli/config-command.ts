/** `tapeline config show|schema|init`: what the settings are, what they may be, and a first file of them. */
import { writeFile } from 'node:fs/promises'
import type { Argv, CommandModule } from 'yargs'
import { ConfigError } from './exit.ts'
import { present, tableText } from './output.ts'

/** Which settings a command uses. */
export function configOptions(y: Argv): Argv {
  return y
    .option('config', {
      type: 'string',
      requiresArg: true,
      describe: 'File of settings (default: $TAPELINE_CONFIG, or tapeline.yaml here)',
    })
    .option('profile', { type: 'string', requiresArg: true, describe: 'Profile of it (default: $TAPELINE_PROFILE)' })
    .check((argv) => {
      for (const name of ['config', 'profile', 'environment'])
        if (Array.isArray(argv[name])) throw new Error(`--${name} was given ${argv[name].length} times: give it once`)
      return true
    })
}
export type ConfigArguments = { config?: string; profile?: string; environment?: 'demo' | 'production' | 'local'; json: boolean }
export function environmentOptions(y: Argv): Argv {
  return configOptions(y)
    .option('environment', {
      choices: ['demo', 'production', 'local'] as const,
      requiresArg: true,
      describe: 'Which exchange; production also needs a profile that names it',
    })
    .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
}

const show: CommandModule<object, ConfigArguments & { sources: boolean }> = {
  command: 'show',
  describe: 'The settings that hold here',
  builder: (y) => environmentOptions(y).option('sources', { type: 'boolean', default: false, describe: 'Where each came from' }) as never,
  handler: (argv) =>
    present('config show', argv.json, async () => {
      const { settingsOf } = await import('./config.ts')
      const { originText } = await import('./config/layers.ts')
      const { SETTINGS } = await import('./config/schema.ts')
      const { file, profile, values } = settingsOf(argv)
      const rows = SETTINGS.flatMap(({ path }) => {
        const value = values.get(path)
        return value === undefined ? [] : [{ path, value: shownValue(path, value.value), origin: value.origin }]
      })
      const production = values.get('kalshi.environment')
      const unconfirmed = production?.value === 'production' && production.origin.kind !== 'flag'
      const warnings = unconfirmed ? ['production holds only for commands that are given --environment production as well'] : []
      const head = `${file ?? 'no tapeline.yaml'}${profile === null ? '' : `, profile ${profile}`}`
      return {
        data: {
          file,
          profile,
          settings: Object.fromEntries(rows.map(({ path, value, origin }) => [path, { value, source: originText(origin), origin }])),
        },
        warnings,
        text: `${head}\n\n${tableText(
          ['setting', 'value', ...(argv.sources ? ['from'] : [])],
          rows.map(({ path, value, origin }) => [
            path,
            typeof value === 'string' ? value : JSON.stringify(value),
            ...(argv.sources ? [originText(origin)] : []),
          ]),
        )}\n`,
      }
    }),
}
/** Without what others should not read: the address of a webhook is its password. */
function shownValue(path: string, value: unknown): unknown {
  if (path === 'kalshi.keyId') return abbreviated(String(value))
  return path === 'live.alert.webhook' ? `${new URL(String(value)).origin}/…` : value
}
/** Enough to tell two keys apart. */
export function abbreviated(id: string): string {
  return id.length <= 8 ? id : `${id.slice(0, 8)}…`
}

const schema: CommandModule = {
  command: 'schema',
  describe: 'JSON Schema of tapeline.yaml, for editors',
  builder: (y) =>
    y.example(
      '$0 config schema > tapeline.schema.json',
      'and as first line of tapeline.yaml: # yaml-language-server: $schema=./tapeline.schema.json',
    ),
  handler: () =>
    present('config schema', false, async () => {
      const { z } = await import('zod')
      const { ConfigFile } = await import('./config/schema.ts')
      return { data: null, text: JSON.stringify({ title: 'tapeline.yaml', ...z.toJSONSchema(ConfigFile) }, null, 1) }
    }),
}

const init: CommandModule<object, { config: string; json: boolean }> = {
  command: 'init',
  describe: 'Write a first tapeline.yaml, in which everything is commented out',
  builder: (y) =>
    y
      .option('config', { type: 'string', default: 'tapeline.yaml', requiresArg: true, describe: 'The file to write' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' }) as never,
  handler: ({ config, json }) =>
    present('config init', json, async () => {
      const { starterText } = await import('./config/starter.ts')
      try {
        await writeFile(config, starterText(), { flag: 'wx' })
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'EEXIST') throw new ConfigError([`${config} is there already and is not written over: edit it, or move it away`])
        if (code === 'ENOENT') throw new ConfigError([`${config}: its folder does not exist: make it first`])
        throw error
      }
      return { data: { file: config }, text: `wrote ${config}\n\nNext\n  npx tapeline config show --sources\n  npx tapeline doctor\n` }
    }),
}

export const configCommand: CommandModule = {
  command: 'config',
  describe: 'Show the settings, their schema, or write a first file of them',
  builder: (y) => y.command(show).command(schema).command(init).demandCommand(1, 'Give one of: show, schema, init').strict(),
  handler: () => {},
}
