/**
 * `tapeline live accept-cash`: a person says that money came in or went out beside a live session. Owns the line, what is shown and the phrase; hides how the session is told. Invariant: accepted is what was
 * shown, and the session itself looks once more whether it is still so.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Argv, CommandModule } from 'yargs'
import type { AcceptedCash, ReconcileRecord } from '../../adapters/kalshi/live.ts'
import { DataError } from '../../data/errors.ts'
import { formatMoney } from '../../engine/units.ts'
import { configOptions, type ConfigArguments } from '../config-command.ts'
import { EXIT, UsageError } from '../exit.ts'
import { present, type Outcome } from '../output.ts'
import { lifeOf, readSnapshot } from '../session-status.ts'
import { sessionDir } from '../sessions.ts'
import { goneText } from '../status-text.ts'

type Arguments = Pick<ConfigArguments, 'config' | 'profile'> & {
  session: string | undefined
  reason: string
  confirm: string | undefined
  dryRun: boolean
  json: boolean
}
type Accepted = AcceptedCash & { readonly session: string; readonly dryRun: boolean }

const WAIT_MS = 5_000

export const acceptCashCommand: CommandModule<object, Arguments> = {
  command: 'accept-cash [session]',
  describe: 'Accept a difference in cash: money came in or went out beside the session; shows it and takes a typed confirmation',
  builder: (y) =>
    configOptions(y)
      .positional('session', { type: 'string', describe: 'Folder of the session (default: the live one that runs)' })
      .option('reason', { type: 'string', demandOption: true, requiresArg: true, describe: 'Where it came from or went: it is kept' })
      .option('confirm', { type: 'string', requiresArg: true, describe: 'The phrase instead of typing it: "ACCEPT CASH -25.000000"' })
      .option('dry-run', { type: 'boolean', default: false, describe: 'Show it, and accept nothing' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
      .example('$0 live accept-cash --reason "withdrawal of 25 dollars"', '') as unknown as Argv<Arguments>,
  handler: (argv) => present('live accept-cash', argv.json, () => accept(argv)),
}

async function accept(argv: Arguments): Promise<Outcome<Accepted>> {
  const reason = argv.reason.trim()
  if (reason === '') throw new UsageError('--reason needs words, as in --reason "withdrawal of 25 dollars": they are kept')
  const dir = await sessionDir(argv.session, argv, true)
  const snapshot = readSnapshot(dir)
  const life = lifeOf(snapshot, Date.now())
  if (snapshot.mode !== 'live') throw new UsageError(`${dir} is no live session: its cash is its own`)
  if (life !== 'running')
    throw new UsageError(
      life === 'ended' ? `${dir} has ended (${snapshot.ended}): there is no cash to accept` : goneText(snapshot),
      EXIT.data,
      'SESSION_GONE',
    )
  const { shards, text } = await shown(dir)
  const phrase = phraseOf(shards)
  if (argv.dryRun) return { data: { session: dir, shards, reason, dryRun: true }, text: `DRY RUN: nothing was accepted\n${text}` }
  process.stderr.write(`${text}\n`)
  const { confirmed } = await import('./confirm.ts')
  await confirmed(argv.confirm, phrase)
  const { sendAcceptedCash, withdrawAcceptedCash } = await import('./cash-file.ts')
  const path = sendAcceptedCash(dir, { shards, reason })
  for (const until = Date.now() + WAIT_MS; existsSync(path) && Date.now() < until; ) await new Promise((go) => setTimeout(go, 20))
  if (withdrawAcceptedCash(path))
    throw new DataError('SESSION_SILENT', `${dir} did not take the word in ${WAIT_MS / 1000} s and it was withdrawn: the session may hang`)
  return {
    data: { session: dir, shards, reason, dryRun: false },
    text: `${dir}: told; it compares anew, and trades again once all agrees (\`tapeline status ${dir}\`)`,
  }
}
/** What the last comparison says of cash: from the log, which the session writes before it obeys. */
export async function shown(dir: string): Promise<{ readonly shards: AcceptedCash['shards']; readonly text: string }> {
  const { cashOff, sideBySide } = await import('../../adapters/kalshi/live.ts')
  const { logInputs } = await import('../../data/session-inputs.ts')
  const records: ReconcileRecord[] = []
  for (const { kind, detail } of logInputs(join(dir, 'log'))) {
    if (kind === 'reconciled' && (detail as ReconcileRecord).outcome !== 'not judged') records[0] = detail as ReconcileRecord
  }
  const last = records[0] ?? null
  const shards = [...cashOff(last)]
  if (last === null || shards.length === 0)
    throw new UsageError(
      `${dir} has no difference in cash to accept: ${last === null ? 'nothing was compared yet' : `${last.outcome}, ${last.why}`}`,
    )
  return { shards, text: sideBySide({ ...last, differences: last.differences.filter((d) => d.kind === 'cash') }) }
}
export function phraseOf(shards: AcceptedCash['shards']): string {
  const sum = shards.reduce((s, [, money]) => s + money, 0)
  return `ACCEPT CASH ${sum < 0 ? '' : '+'}${formatMoney(sum)}`
}
