/** `tapeline replay`: a session's own tape and header through the engine again. Owns the verdict: the same journal and samples bit for bit, or the first row that is not; hides nothing. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { CommandModule } from 'yargs'
import type { SessionEnd } from '../engine/session.ts'
import { EXIT } from './exit.ts'
import { count, present, type Outcome } from './output.ts'
import { readSnapshot } from './session-status.ts'

type Arguments = { session: string; json: boolean }
type ReplayData = {
  readonly session: string
  readonly digest: string
  readonly digestRecorded: string | null
  readonly equal: boolean
  readonly rows: number
  readonly journalRows: number
  readonly difference: { readonly row: number; readonly was: string | null; readonly is: string | null } | null
  readonly seconds: number
}

export const replayCommand: CommandModule<object, Arguments> = {
  command: 'replay <session>',
  describe: 'Run the tape of a paper session again: the same journal, bit for bit',
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
  const { readPlan, sameStrategies } = await import('./paper.ts')
  const { readHeader } = await import('./paper-session.ts')
  const { firstDifference } = await import('./journal-compare.ts')
  const { readRun, Run } = await import('../data/run.ts')
  const { openTape } = await import('../data/tape-reader.ts')
  const { HistoryFeed } = await import('../adapters/history/feed.ts')
  const { SimulatedVenue } = await import('../adapters/simulated/venue.ts')
  const { Engine } = await import('../engine/engine.ts')
  const { chooseStrategies } = await import('./strategy/choose.ts')
  const { failureIn } = await import('./strategy/failure.ts')
  const { Watch } = await import('./watch.ts')
  const plan = readPlan(dir)
  const header = await readHeader(dir)
  const strategies = await chooseStrategies(plan.strategies, plan.parameters)
  await sameStrategies(dir, header, strategies)
  const recorded = await readRun(dir)
  // While it runs, and after it was cut off, there is no end: then what was written must be how this one begins.
  const whole = existsSync(join(dir, 'end.json')) && !existsSync(join(dir, 'log'))
  const run = new Run()
  const engine = new Engine({
    header,
    strategies: strategies.map((s) => s.strategy),
    venue: new SimulatedVenue(header.fills, header.delays, header.tape.lagMax),
    sink: run,
  })
  const watch = new Watch()
  const last = recorded.journal.length === 0 ? 0 : (recorded.journal.time[recorded.journal.length - 1] as number)
  const { complete, reason } = recorded.end
  let end: SessionEnd | null = null
  let failed: string | null = null
  let rows = 0
  try {
    for await (const batch of new HistoryFeed(await openTape(join(dir, 'tape')), { decode: 'worker' }).batches()) {
      watch.turn(() => engine.run(batch))
      rows += batch.length
      await new Promise(setImmediate)
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
  const equal = difference === null && (!whole || again.digest === recorded.digest)
  if (whole) {
    const { addProof } = await import('./promote/proofs.ts')
    addProof(dir, { what: 'replay', digest: recorded.digest, equal })
  }
  const seconds = (performance.now() - started) / 1000
  const data: ReplayData = {
    session: dir,
    digest: again.digest,
    digestRecorded: whole ? recorded.digest : null,
    equal,
    rows,
    journalRows: recorded.journal.length,
    difference,
    seconds: Number(seconds.toFixed(3)),
  }
  const what = `${count(rows)} rows of ${join(dir, 'tape')}, ${count(recorded.journal.length)} rows of its journal, ${seconds.toFixed(1)} s`
  if (equal)
    return {
      data,
      text: whole
        ? `the same journal and samples, bit for bit: ${what}\ndigest ${again.digest}`
        : `the journal so far is how the replay begins: ${what} (the session has no end mark yet)`,
    }
  const message =
    difference === null
      ? `${dir}: the journal is the same and the samples are not: was the program changed?`
      : `${dir}: row ${difference.row} of the journal is another one\n  recorded  ${difference.was ?? '(the journal has ended)'}\n  replayed  ${difference.is ?? '(the journal has ended)'}`
  return { data, exit: EXIT.mismatch, error: { code: 'DIVERGED', message } }
}
