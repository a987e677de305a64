/** `tapeline replay`: a session's own tape and header through the engine again. Owns the verdict: the same journal and samples bit for bit, or the first row that is not; hides nothing. */
import { join } from 'node:path'
import type { CommandModule } from 'yargs'
import type { SessionInput } from '../data/session-inputs.ts'
import { Flag, type Batch } from '../engine/message.ts'
import type { SessionEnd } from '../engine/session.ts'
import { EXIT } from './exit.ts'
import type { Intents } from './live/intents.ts'
import { count, present, type Outcome } from './output.ts'
import { readSnapshot } from './session-status.ts'

type Arguments = { session: string; json: boolean }
type ReplayData = {
  readonly session: string
  readonly mode: 'paper' | 'live'
  readonly digest: string
  readonly digestRecorded: string | null
  readonly equal: boolean
  readonly rows: number
  /** Live: answers of the venue, halts, agreement: what entered beside rows. */
  readonly news: number
  readonly segments: number
  readonly journalRows: number
  readonly difference: { readonly row: number; readonly was: string | null; readonly is: string | null } | null
  /** Live: what the engine commanded against what was written down before it was sent. */
  readonly intents: Intents | null
  readonly seconds: number
}

export const replayCommand: CommandModule<object, Arguments> = {
  command: 'replay <session>',
  describe: 'Run the tape of a paper or live session again: the same journal, bit for bit',
  builder: (y) =>
    y
      .positional('session', { type: 'string', demandOption: true, describe: 'Folder of the session' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' }) as never,
  handler: ({ session, json }) => present('replay', json, () => replay(session)),
}

function ranOf(dir: string): number {
  try {
    return readSnapshot(dir).ran
  } catch {
    return 0
  }
}

async function replay(dir: string): Promise<Outcome<ReplayData>> {
  const started = performance.now()
  const { firstDifference, sameSamples } = await import('./journal-compare.ts')
  const { compareIntents } = await import('./live/intents.ts')
  const { relive, SilentVenue } = await import('./live/relive.ts')
  const { sessionFiles, strategiesAgain } = await import('./live/session-files.ts')
  const { isWhole, readRun, Run } = await import('../data/run.ts')
  const { readSession } = await import('../data/session-inputs.ts')
  const { SimulatedVenue } = await import('../adapters/simulated/venue.ts')
  const { Engine } = await import('../engine/engine.ts')
  const { failureIn } = await import('./strategy/failure.ts')
  const { Watch } = await import('./watch.ts')
  const files = sessionFiles(dir)
  const { header } = files
  const live = header.mode === 'live'
  const strategies = await strategiesAgain(files)
  const recorded = await readRun(dir)
  // While it runs, and after it was cut off, there is no end: then what was written must be how this one begins.
  const whole = isWhole(dir)
  const run = new Run()
  const silent = new SilentVenue()
  const engine = new Engine({
    header,
    strategies: strategies.map((s) => s.strategy),
    venue: live ? silent : new SimulatedVenue(header.fills, header.delays, header.tape.lagMax),
    sink: run,
  })
  const watch = new Watch()
  const last = recorded.journal.length === 0 ? 0 : (recorded.journal.time[recorded.journal.length - 1] as number)
  const { complete, reason } = recorded.end
  const inputs: SessionInput[] = []
  let end: SessionEnd | null = null
  let failed: string | null = null
  let rows = 0
  try {
    const { pieces } = await readSession(dir, { decode: 'worker' })
    const fail = (error: Error): void => {
      failed = failureIn(error, { time: engine.now, call: engine.calling }, watch).reason
    }
    for await (const piece of relive(pieces, engine, (body) => watch.turn(body), fail)) {
      if (piece.type === 'rows') rows += rowsOwn(piece.batch)
      else inputs.push(piece.input)
    }
    // Time that passed after the last row, where no row tells it: the session was cut off, or its disk was full.
    const ran = ranOf(dir) - 1
    watch.turn(() => engine.tick(whole ? ran : Math.max(ran, last + 1)))
    end = watch.turn(() => engine.finish(reason, complete))
  } catch (error) {
    failed = failureIn(error, { time: engine.now, call: engine.calling }, watch).reason
    engine.stop()
  } finally {
    await watch.end()
  }
  end ??= engine.finish(failed ?? reason, false)
  const again = run.record(header, end)
  const difference = firstDifference(recorded, again, whole ? null : recorded.journal.length)
  const segments = Math.max(1, inputs.filter((i) => i.kind === 'segment').length)
  // A record of several engines has a digest over theirs: then every row of journal and samples is compared.
  const equal = difference === null && (!whole || again.digest === recorded.digest || (segments > 1 && sameSamples(recorded, again)))
  if (whole) {
    const { addProof } = await import('./promote/proofs.ts')
    addProof(dir, { what: 'replay', digest: recorded.digest, equal })
  }
  const intents = live ? compareIntents(silent.sent, inputs) : null
  const seconds = (performance.now() - started) / 1000
  const data: ReplayData = {
    session: dir,
    mode: live ? 'live' : 'paper',
    digest: again.digest,
    digestRecorded: whole ? recorded.digest : null,
    equal,
    rows,
    news: inputs.filter((i) => i.kind === 'news').length,
    segments,
    journalRows: recorded.journal.length,
    difference,
    intents,
    seconds: Number(seconds.toFixed(3)),
  }
  const what = `${count(rows)} rows of ${join(dir, 'tape')}${live ? ` and ${count(data.news)} news` : ''}, ${count(recorded.journal.length)} rows of its journal${segments > 1 ? `, ${segments} segments` : ''}, ${seconds.toFixed(1)} s`
  const contradiction = intents?.wrong[0]
  if (equal && contradiction === undefined)
    return {
      data,
      text: `${
        whole
          ? `the same journal and samples, bit for bit: ${what}\ndigest ${again.digest}`
          : `the journal so far is how the replay begins: ${what} (the session has no end mark yet)`
      }${intents === null ? '' : `\n${intentsText(intents)}`}`,
    }
  const message =
    difference !== null
      ? `${dir}: row ${difference.row} of the journal is another one\n  recorded  ${difference.was ?? '(the journal has ended)'}\n  replayed  ${difference.is ?? '(the journal has ended)'}`
      : equal
        ? `${dir}: the journal is the same, but what was sent is not what it says: ${contradiction}${(intents?.wrong.length ?? 0) > 1 ? ` (and ${(intents?.wrong.length ?? 0) - 1} more, --json has them)` : ''}`
        : `${dir}: the journal is the same and the samples are not: was the program changed?`
  return { data, exit: EXIT.mismatch, error: { code: 'DIVERGED', message } }
}

const NEVER_SENT_SHOWN = 10
function intentsText({ intents, commands, neverSent, beside, repeated }: Intents): string {
  const more = [beside > 0 ? `${count(beside)} of the shell's own` : '', repeated > 0 ? `${count(repeated)} repeated` : ''].filter(
    (t) => t !== '',
  )
  const lines = [
    `${count(commands)} commands of the engine, ${count(intents)} intents written before anything was sent${more.length > 0 ? ` (${more.join(', ')})` : ''}`,
  ]
  if (neverSent.length > 0)
    lines.push(
      `never sent, for no intent of it is on disk: ${neverSent
        .slice(0, NEVER_SENT_SHOWN)
        .map((c) => `${c.type} of order ${c.order}`)
        .join(', ')}${neverSent.length > NEVER_SENT_SHOWN ? `, … ${count(neverSent.length)} in all` : ''}`,
    )
  return lines.join('\n')
}

/** Checkpoints repeat what is known: they are no rows of the session. */
function rowsOwn({ flags, length }: Batch): number {
  let rows = 0
  for (let i = 0; i < length; i++) if (((flags[i] as number) & Flag.CHECKPOINT) === 0) rows++
  return rows
}
