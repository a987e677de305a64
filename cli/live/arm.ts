/**
 * `tapeline live arm|disarm|arms`: a person's word before real orders. Owns the command lines, the order of the checks and the confirmation; hides what each check looks at. Invariants: only reads reach the
 * exchange; nothing is armed without the phrase that names the strategy and the dollars; nothing of it comes from the environment.
 */
import { createInterface } from 'node:readline'
import type { Argv, CommandModule } from 'yargs'
import { configOptions } from '../config-command.ts'
import { EXIT, UsageError } from '../exit.ts'
import type { LiveArguments } from '../live-connection.ts'
import { present, tableText, type Outcome } from '../output.ts'
import type { ArmPage } from './arm-page.ts'
import type { LiveSettings } from './settings.ts'

type ArmArguments = Omit<LiveArguments, 'external' | 'duration'> & {
  strategy: string[]
  param?: string[]
  limits?: string
  confirm?: string
  unproven?: string
  expires: string
  dryRun: boolean
  json: boolean
}

export const armCommand: CommandModule<object, ArmArguments> = {
  command: 'arm <strategy..>',
  describe: 'Let one live session of a strategy run: shows what can be lost and what was proved, and takes a typed confirmation',
  builder: (y) =>
    armingOptions(y)
      .option('confirm', { type: 'string', requiresArg: true, describe: 'The phrase instead of typing it, as in --confirm "ARM lean 250"' })
      .option('unproven', {
        type: 'string',
        requiresArg: true,
        describe: 'Arm without what it should have proved, for this reason, which is kept',
      })
      .option('expires', { type: 'string', default: '15m', requiresArg: true, describe: 'How long it waits for its session, at most 24h' })
      .option('dry-run', { type: 'boolean', default: false, describe: 'Show it, and arm nothing' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
      .check((argv) => {
        for (const name of ['confirm', 'unproven', 'expires', 'limits', 'url', 'clock', 'keyId', 'keyFile'])
          if (Array.isArray(argv[name])) throw new Error(`--${name} was given ${argv[name].length} times: give it once`)
        return true
      })
      .example('$0 live arm lean --series KXBTC15M', '')
      .example('$0 live arm ./mine.ts --dry-run', '') as unknown as Argv<ArmArguments>,
  handler: (argv) => present('live arm', argv.json, () => arm(argv)),
}

/** What `tapeline live` takes as well: an arm is for the same words. */
export function armingOptions(y: Argv): Argv {
  return configOptions(y)
    .positional('strategy', { type: 'string', array: true, demandOption: true, describe: 'Name of a strategy, or the path of its file' })
    .option('param', { type: 'string', array: true, requiresArg: true, describe: 'Parameter, k=v; with several strategies <name>.k=v' })
    .option('series', {
      type: 'string',
      array: true,
      requiresArg: true,
      describe: 'Markets of these series (default: live: in tapeline.yaml)',
    })
    .option('market', { type: 'string', array: true, requiresArg: true, describe: 'These markets, by ticker' })
    .option('limits', { type: 'string', requiresArg: true, describe: 'JSON file of risk limits, tighter than those of tapeline.yaml' })
    .option('environment', {
      choices: ['demo', 'production', 'local'] as const,
      requiresArg: true,
      describe: 'Which exchange (default: as in tapeline.yaml, else demo); production also needs a profile that names it',
    })
    .option('url', { type: 'string', requiresArg: true, describe: 'Address of the local exchange, as in http://127.0.0.1:4010' })
    .option('clock', { type: 'string', requiresArg: true, describe: 'Clock of a local exchange with --scale: the JSON that it prints' })
    .option('key-id', { type: 'string', requiresArg: true, describe: 'Id of the API key (default: as in tapeline.yaml)' })
    .option('key-file', { type: 'string', requiresArg: true, describe: 'Its PEM file, mode 0600' })
}

async function arm(argv: ArmArguments): Promise<Outcome<unknown>> {
  const { liveSettings } = await import('./settings.ts')
  const { EXPIRES_MAX, keyDigest, spanText, writeArm } = await import('./arms.ts')
  const { parseDuration } = await import('../options.ts')
  const lasts = parseDuration(argv.expires, '--expires') / 1000
  if (!(lasts >= 1000 && lasts <= EXPIRES_MAX)) throw new UsageError(`--expires ${argv.expires}: from 1s to 24h`)
  const unproven = argv.unproven?.trim() ?? null
  if (unproven === '') throw new UsageError('--unproven needs a reason, as in --unproven "rehearsal at the local exchange": it is kept')
  // Before anything else: an environment that speaks ends it here.
  const live = withMarkets(
    liveSettings({ config: argv.config, profile: argv.profile, environment: argv.environment, limits: argv.limits }),
    argv,
  )
  const { accessOf } = await import('../live-connection.ts')
  const access = await accessOf({ ...argv, external: undefined, duration: undefined })
  const { keyId } = access
  if (keyId === null || access.keyFile === null)
    throw new UsageError(
      'arming needs the key that will trade: give --key-id and --key-file, or name them in tapeline.yaml',
      EXIT.credentials,
      'CREDENTIALS',
    )
  const { sessions } = live.settings
  const { bindingOf } = await import('./binding.ts')
  const { identity, binding } = await bindingOf({
    strategy: argv.strategy,
    param: argv.param ?? [],
    live,
    environment: access.environment,
    key: keyDigest(keyId),
  })
  const { provedOf } = await import('./proved.ts')
  const proved = provedOf({ sessions, identity, environment: access.environment, limits: live.settings.limits, version: binding.version })
  if (proved.lacks.length > 0 && unproven === null)
    return {
      data: { name: identity.name, hash: identity.hash, lacks: proved.lacks, differences: proved.differences },
      text: [...proved.lacks, ...proved.differences].map((l) => `  ${l}`).join('\n'),
      exit: EXIT.gate,
      error: {
        code: 'UNPROVEN',
        message: `${identity.name} is not armed: it has not proved what it should (above): prove it, or give --unproven "reason", which is kept`,
      },
    }
  const page = await look({ argv, live, access, keyId, identity, proved, unproven, lasts })
  const { armText } = await import('./arm-page.ts')
  const data = {
    ...binding,
    name: identity.name,
    worstCase: page.worst,
    account: page.account,
    proved,
    phrase: page.phrase,
    warnings: page.warnings,
  }
  if (argv.dryRun)
    return {
      data: { ...data, armed: null },
      text: `${armText(page)}(--dry-run: nothing is armed)\n`,
      warnings: argv.json ? page.warnings : [],
    }
  if (!argv.json) process.stderr.write(`${armText(page)}\n`)
  const confirmed = await confirmation(argv, page.phrase)
  const { path, arm: made } = writeArm(
    sessions,
    {
      ...binding,
      name: identity.name,
      acceptedDollars: page.worst.dollars,
      confirmed,
      promotion:
        proved.promotion === null
          ? null
          : { file: proved.promotion.file, seal: proved.promotion.record.seal, level: proved.promotion.record.level },
      unproven: proved.lacks.length > 0 ? unproven : null,
      differences: [...proved.lacks, ...proved.differences],
      warnings: page.warnings,
    },
    lasts,
  )
  return {
    data: { ...data, armed: { id: made.id, path, expires: new Date(made.expires).toISOString() } },
    warnings: argv.json ? page.warnings : [],
    text: `${identity.name} is armed for one session, until ${new Date(made.expires).toISOString().slice(0, 19)}Z (${spanText(lasts)}): ${made.id}
Next     tapeline live with the same strategy, parameters, markets and exchange
Back     tapeline live disarm ${made.id}
`,
  }
}

/** The command line goes over the file, as everywhere. */
export function withMarkets(live: LiveSettings, { series, market }: Pick<ArmArguments, 'series' | 'market'>): LiveSettings {
  const following =
    series === undefined && market === undefined ? live.following : { ...live.following, series: series ?? [], markets: market ?? [] }
  if (following.series.length === 0 && following.markets.length === 0)
    throw new UsageError('a live session needs markets: give --series or --market, or name them under live: in tapeline.yaml')
  return { ...live, following }
}

type Looking = Pick<ArmPage, 'live' | 'identity' | 'proved' | 'unproven' | 'lasts' | 'keyId'> & {
  readonly argv: ArmArguments
  readonly access: Awaited<ReturnType<typeof import('../live-connection.ts')['accessOf']>>
}
/** Asks the exchange how the account stands. */
async function look(of: Looking): Promise<ArmPage> {
  const { argv, live, access, keyId, identity, proved } = of
  const { connect, worldOf } = await import('../live-connection.ts')
  const { openOrders, readAccount } = await import('./account.ts')
  const { worstCaseOf } = await import('./worst-case.ts')
  const { readHalt } = await import('../halt.ts')
  // Arming sends nothing, and a session that was halted goes on with a new arm: it is said, and `live` refuses.
  const halt = readHalt(live.settings.sessions)
  const { abbreviated } = await import('../config-command.ts')
  const world = await worldOf({ clock: argv.clock }, access.environment, { keep: () => {} })
  try {
    const kalshi = await connect(access, world)
    try {
      const { tier } = await kalshi.learn()
      const account = await readAccount(kalshi, keyId, live.subaccount, tier)
      const [problem] = account.facts.problems
      if (problem !== undefined) throw new UsageError(problem, EXIT.credentials, 'CREDENTIALS')
      if (live.cash > account.balance)
        throw new UsageError(
          `live.cashDollars is ${live.cash / 1e6}, and subaccount ${live.subaccount} has $${(account.balance / 1e6).toFixed(2)}: lower it, or bring money there`,
          EXIT.config,
          'CONFIG',
        )
      const worst = worstCaseOf({ limits: live.settings.limits, cash: live.cash, balance: account.balance, subaccount: live.subaccount })
      const warnings = [
        ...(halt === null
          ? []
          : [
              `${halt.path} stands (${halt.reason}), so \`tapeline live\` does not start: find out why, and take it away with \`tapeline resume\` when it is settled`,
            ]),
        ...account.facts.warnings,
        ...(live.alert.webhook === null && live.alert.command === null
          ? ['nobody is told when it halts: set live.alert.command or live.alert.webhook']
          : []),
        ...openOrders(account.orders, live.settings.sessions),
      ]
      return {
        ...of,
        environment: access.environment,
        keyId: abbreviated(keyId),
        account,
        worst,
        proved,
        warnings,
        phrase: `ARM ${identity.name} ${worst.dollars}`,
      }
    } finally {
      kalshi.close()
    }
  } finally {
    await world.close()
  }
}

/** Throws NOT_CONFIRMED. */
async function confirmation({ confirm, json }: ArmArguments, phrase: string): Promise<'typed' | '--confirm'> {
  const refuse = (text: string): UsageError => new UsageError(`nothing is armed: ${text}`, EXIT.gate, 'NOT_CONFIRMED')
  if (confirm !== undefined) {
    if (confirm.trim() === phrase) return '--confirm'
    throw refuse(`--confirm is not the phrase for this, which is "${phrase}": read what it says first (--dry-run shows it)`)
  }
  if (json || process.stdin.isTTY !== true)
    throw refuse(`this is no terminal to type in: read what it says (--dry-run shows it), and give --confirm "${phrase}"`)
  const typed = await typedLine('> ')
  if (typed?.trim() === phrase) return 'typed'
  throw refuse(`what was typed is not "${phrase}"`)
}
/** Null: the terminal was closed. */
function typedLine(prompt: string): Promise<string | null> {
  return new Promise((resolve) => {
    const lines = createInterface({ input: process.stdin, output: process.stderr })
    let answer: string | null = null
    lines.on('close', () => resolve(answer))
    lines.question(prompt, (text) => {
      answer = text
      lines.close()
    })
    lines.on('SIGINT', () => lines.close())
  })
}

// ---------------------------------------------------------------------------------------------------- disarm, arms

type ListArguments = { config?: string; profile?: string; sessions?: string; json: boolean }
function listOptions(y: Argv): Argv {
  return configOptions(y)
    .option('sessions', { type: 'string', requiresArg: true, describe: 'Folder of sessions (default: as in tapeline.yaml)' })
    .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
}
async function sessionsOf({ config, profile, sessions }: ListArguments): Promise<string> {
  const { settingsOf } = await import('../config.ts')
  return sessions ?? settingsOf({ config, profile }, {}).sessions
}

export const disarmCommand: CommandModule<object, ListArguments & { id?: string; dryRun: boolean }> = {
  command: 'disarm [id]',
  describe: 'Take an arm back before it is used (default: all of them)',
  builder: (y) =>
    listOptions(y)
      .positional('id', { type: 'string', describe: 'As `live arms` lists it' })
      .option('dry-run', { type: 'boolean', default: false, describe: 'Say which, and take none back' }) as never,
  handler: (argv) =>
    present('live disarm', argv.json, async () => {
      const { disarm, listArms } = await import('./arms.ts')
      const sessions = await sessionsOf(argv)
      const open = listArms(sessions).filter(
        (l) => l.state !== 'spent' && (argv.id === undefined || l.arm?.id === argv.id || l.path.endsWith(`${argv.id}.json`)),
      )
      if (argv.id !== undefined && open.length === 0)
        throw new UsageError(`${argv.id}: no such arm waits in ${sessions}: \`tapeline live arms\` lists them`)
      const gone = argv.dryRun ? [] : disarm(sessions, argv.id ?? null)
      const names = open.map((l) => l.arm?.id ?? l.path)
      return {
        data: { disarmed: gone, found: names },
        text:
          names.length === 0 ? 'nothing is armed' : argv.dryRun ? `would take back ${names.join(', ')}` : `taken back: ${gone.join(', ')}`,
      }
    }),
}

export const armsCommand: CommandModule<object, ListArguments & { all: boolean }> = {
  command: 'arms',
  describe: 'What is armed',
  builder: (y) => listOptions(y).option('all', { type: 'boolean', default: false, describe: 'Those that are spent, too' }) as never,
  handler: (argv) =>
    present('live arms', argv.json, async () => {
      const { listArms } = await import('./arms.ts')
      const found = listArms(await sessionsOf(argv)).filter((l) => argv.all || l.state !== 'spent')
      return {
        data: found,
        text:
          found.length === 0
            ? 'nothing is armed'
            : tableText(
                ['arm', 'strategy', 'exchange', 'sub', 'dollars', 'state', ''],
                found.map(({ path, arm: a, state, why }) => [
                  a?.id ?? path,
                  a === null ? '?' : `${a.name} ${a.hash.slice(0, 8)}`,
                  a?.environment ?? '?',
                  a === null ? '?' : String(a.subaccount),
                  a === null ? '?' : String(a.acceptedDollars),
                  `${state}${a?.unproven == null ? '' : ', UNPROVEN'}`,
                  why,
                ]),
              ),
      }
    }),
}
