/** `tapeline watch`: a second process that stops a session whose engine cannot. Owns the command line, what a watch needs before it may call itself one, and how it ends; hides its course (watch-session.ts). */
import type { Argv, CommandModule } from 'yargs'
import { EXIT, UsageError } from '../exit.ts'
import { present, type Outcome } from '../output.ts'
import { sessionDir } from '../sessions.ts'
import { keyOptions } from './options.ts'

type WatchArguments = {
  session: string | undefined
  tolerance: string | undefined
  alertCommand: string | undefined
  alertWebhook: string | undefined
  untilEnd: boolean
  dryRun: boolean
  keyId: string | undefined
  keyFile: string | undefined
  clock: string | undefined
  config?: string
  profile?: string
  json: boolean
}
type WatchData = { readonly reason: string; readonly takeovers: number; readonly takeover: unknown; readonly open: number | null }

const TOLERANCE_MS = 15_000

export const watchCommand: CommandModule<object, WatchArguments> = {
  command: 'watch [session]',
  describe: 'Watch over a live session from a process of its own: when its engine falls silent, halt and take everything back',
  builder: (y) =>
    keyOptions(y.positional('session', { type: 'string', describe: 'Folder of the session' }))
      .option('tolerance', {
        type: 'string',
        requiresArg: true,
        describe: 'Silence of the engine after which it takes over (default: 15s, or live.heartbeat)',
      })
      .option('alert-command', {
        type: 'string',
        requiresArg: true,
        describe: 'Program that gets each alert as JSON on stdin: its path, or a JSON list with arguments; no shell',
      })
      .option('alert-webhook', {
        type: 'string',
        requiresArg: true,
        describe: 'Address that gets each alert as JSON: https, or http on this machine',
      })
      .option('until-end', { type: 'boolean', default: false, describe: 'End with the session instead of waiting for it to go on' })
      .option('dry-run', { type: 'boolean', default: false, describe: 'Show what it would watch, send and tell, and do nothing' })
      .option('json', {
        type: 'boolean',
        default: false,
        describe: 'One JSON envelope on stdout and nothing else',
      }) as unknown as Argv<WatchArguments>,
  handler: (argv) => present('watch', argv.json, () => watch(argv)),
}

async function watch(argv: WatchArguments): Promise<Outcome<WatchData | { readonly dryRun: true }>> {
  const { placeOf, reach, snapshotOf } = await import('./place.ts')
  const { commandChannel, commandOf, webhookChannel, webhookOf } = await import('./messenger.ts')
  const { readWatch, watchAlive } = await import('./watch-file.ts')
  const dir = await sessionDir(argv.session, argv, true)
  const place = placeOf(dir)
  if (place === null) throw new UsageError(`${dir} is no live session: only real orders need a watch`)
  const { command, webhook, tolerance } = await settingsFor(argv)
  const channels = [
    ...(command === null ? [] : [commandChannel(typeof command === 'string' ? commandOf(command) : command)]),
    ...(webhook === null ? [] : [webhookChannel(webhookOf(webhook))]),
  ]
  const other = readWatch(dir)
  if (!argv.dryRun && other !== null && other.pid !== process.pid && watchAlive(dir, Date.now()))
    throw new UsageError(`${dir} is watched already (process ${other.pid}): one is enough`, EXIT.gate, 'WATCH_BUSY')
  const line = await reach(place, argv)
  try {
    const { WatchSession } = await import('./watch-session.ts')
    const say = (text: string): void => void process.stderr.write(`${new Date().toISOString()} ${text}\n`)
    const keyOwn = line.keyId !== place.keyId
    const ended = snapshotOf(dir)?.ended ?? null
    if (ended !== null) say(`${dir} has ended (${ended}): it is watched for when it goes on; name another session if that is not the one`)
    const session = new WatchSession({
      place,
      kalshi: line.kalshi,
      world: line.world,
      keyOwn,
      tolerance,
      channels,
      untilEnd: argv.untilEnd,
      say,
    })
    const trouble = await session.begin()
    const told =
      channels.length === 0
        ? 'nobody but this terminal (give --alert-command or --alert-webhook)'
        : channels.map((c) => c.name).join(' and ')
    const facts = [
      `${dir} on ${place.environment}, subaccount ${place.subaccount}; silence of ${tolerance / 1000} s is too long; alerts go to ${told}`,
      keyOwn
        ? 'with a key of its own'
        : "with the engine's key: one of its own (read and write::trade, the same subaccount) outlives a lock of that one",
    ]
    if (argv.dryRun) {
      const plan = await line.kalshi.stopper(place.subaccount, () => 'watch').plan()
      const lines = ['DRY RUN: nothing was written and nothing sent but reads', ...facts.map((f) => `would watch  ${f}`)]
      if (trouble !== null) lines.push(`the exchange ${trouble.why}`)
      lines.push(`would write  the latch in ${place.sessions}, and ${dir}/watch.json every second`)
      for (const r of plan.requests) lines.push(`would send   ${r.method} ${r.path}${r.query}`)
      return { data: { dryRun: true }, text: lines.join('\n') }
    }
    if (trouble !== null)
      throw new UsageError(
        `the watch could not do its work: ${trouble.why}`,
        trouble.refused ? EXIT.credentials : EXIT.exchange,
        trouble.refused ? 'AUTH' : 'EXCHANGE',
      )
    for (const fact of facts) say(fact)
    let signal: number | null = null
    const on = (exit: number, reason: string) => (): void => {
      if (signal !== null) process.exit(exit)
      signal = exit
      if (session.takingOver) process.stderr.write('\na takeover is under way and is given up\n')
      session.end(reason)
    }
    const listeners = process.listeners('SIGTERM')
    process.removeAllListeners('SIGTERM')
    const [interrupted, terminated] = [on(EXIT.interrupted, 'interrupted'), on(EXIT.terminated, 'terminated')]
    process.on('SIGINT', interrupted)
    process.on('SIGTERM', terminated)
    const result = await session.run()
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', terminated)
    for (const listener of listeners) process.on('SIGTERM', listener)
    const open = result.open === null ? '' : result.open === 0 ? '; nothing is open' : `; ${result.open} ORDERS ARE OPEN`
    return {
      data: result,
      text: `${result.reason}${open}; ${result.takeovers === 0 ? 'it never had to take over' : `it took over ${result.takeovers} times`}`,
      exit: signal ?? (result.takeovers > 0 || (result.open ?? 0) > 0 ? EXIT.risk : EXIT.ok),
    }
  } finally {
    await line.close()
  }
}

/** The command line, else the file's section; never the environment. */
async function settingsFor(
  argv: WatchArguments,
): Promise<{ command: string | readonly string[] | null; webhook: string | null; tolerance: number }> {
  const { settingsOf } = await import('../config.ts')
  const { parseDuration } = await import('../options.ts')
  const { values, written } = settingsOf({ config: argv.config, profile: argv.profile }, {})
  const value = (path: string): unknown => (written.has(path) ? values.get(path)?.value : undefined)
  const tolerance = argv.tolerance ?? (value('live.heartbeat') as string | undefined)
  const milliseconds =
    tolerance === undefined
      ? TOLERANCE_MS
      : parseDuration(tolerance, argv.tolerance === undefined ? 'live.heartbeat' : '--tolerance') / 1000
  if (!(milliseconds >= 2_000 && milliseconds <= 600_000))
    throw new UsageError(`--tolerance ${tolerance ?? ''}: from 2s to 10m; an engine speaks once a second`)
  return {
    command: argv.alertCommand ?? (value('live.alert.command') as readonly string[] | undefined) ?? null,
    webhook: argv.alertWebhook ?? (value('live.alert.webhook') as string | undefined) ?? null,
    tolerance: milliseconds,
  }
}
