/**
 * The record of a paper or live session while it runs. Owns the folder (its lock, the one log of rows, inputs and journal, what becomes of it at the end); hides the frames.
 * Invariants: one process writes a session; whatever `sync` returned for is there after any crash, in the order in which it was given; a restart is a new segment of the same record.
 *
 * `<session>/log/` while it runs · `tape/` (written by the recorder, which shares the log) · at the end `session.json` `end.json` `journal.parquet` … `inputs.parquet`
 *
 *   open ──begin / goOn──▶ running ──finish──▶ files (the log is gone)
 *                             ├──pause──▶ files beside the log: may go on
 *                             └──leave (or a crash)──▶ the log alone: may go on
 */
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JournalSink } from '../../engine/journal.ts'
import type { SampleSink } from '../../engine/samples.ts'
import type { SessionEnd, SessionHeader, SessionRecord } from '../../engine/session.ts'
import { DataError } from '../../data/errors.ts'
import { holdFolder } from '../../data/hold.ts'
import { AppendLog, type LogOptions } from '../../data/log.ts'
import { FrameKind } from '../../data/log-reader.ts'
import { PAUSED, RunLog } from '../../data/run-log.ts'
import { logInputs, writeInputs, type SessionInput } from '../../data/session-inputs.ts'

export class SessionFolder {
  /** Given to the recorder of the session's tape (`<session>/tape`), so that all share one sequence. */
  readonly log: AppendLog
  /** Whether it goes on after a crash or a stop without an end. */
  readonly resumed: boolean
  readonly #dir: string
  readonly #letGo: () => Promise<void>
  #run: RunLog | null = null

  private constructor(dir: string, log: AppendLog, resumed: boolean, letGo: () => Promise<void>) {
    this.#dir = dir
    this.log = log
    this.resumed = resumed
    this.#letGo = letGo
  }

  /** Opens a new session folder, or one that has no end yet. Throws TAPE_BUSY while another process runs it. */
  static async open(dir: string, options: LogOptions = {}): Promise<SessionFolder> {
    const letGo = await holdFolder(dir)
    try {
      if (existsSync(join(dir, 'end.json')) && !existsSync(join(dir, 'log')))
        throw new DataError('TAPE_EXISTS', `${dir} is a session that has ended: choose another folder`)
      const resumed = existsSync(join(dir, 'log'))
      return new SessionFolder(dir, await AppendLog.open(join(dir, 'log'), options), resumed, letGo)
    } catch (error) {
      await letGo()
      throw error
    }
  }

  get tape(): string {
    return join(this.#dir, 'tape')
  }

  /** A segment begins: where its engine writes journal and samples. */
  async begin(header: SessionHeader): Promise<JournalSink & SampleSink> {
    this.#run = await RunLog.open(this.#dir, header, this.log)
    return this.#run
  }
  /** Goes on with a session that was paused or cut off: its engine lives it again, and `RunLog.repeated` says whether it came to the same. */
  async goOn(header: SessionHeader): Promise<RunLog> {
    await rm(join(this.#dir, 'log', PAUSED), { force: true })
    this.#run = RunLog.goOn(header, this.log)
    return this.#run
  }
  /** What entered so far, in order. */
  *inputs(): IterableIterator<SessionInput> {
    yield* logInputs(this.log.dir)
  }
  /** Something other than a row enters the engine. `row`: rows on the tape by now (`recorder.rows`). Returns its place in the log. Throws DISK when it cannot be kept: then it must not enter. */
  input(input: SessionInput): number {
    return this.log.appendJson(FrameKind.INPUT, input)
  }
  /** Returns when all that was given so far is on disk: rows, inputs, journal (flush the engine's journal first). */
  async sync(): Promise<void> {
    await this.log.sync()
  }

  /** The session is over, and its tape is finished: the log becomes files. */
  async finish(end: SessionEnd): Promise<SessionRecord> {
    const run = this.#run
    if (run === null) throw new DataError('NOT_A_RUN', `${this.#dir}: the session has not begun`)
    run.end(end)
    await this.log.sync()
    await writeInputs(this.#dir, this.log.dir)
    const record = await run.finish(this.#dir)
    await this.log.remove()
    await this.#letGo()
    return record
  }
  /** It stands still: the files of a run are written, with an end of today, and the log stays for whoever goes on. `RunLog.detach` was called before the engine finished. */
  async pause(end: SessionEnd): Promise<SessionRecord> {
    const run = this.#run
    if (run === null) throw new DataError('NOT_A_RUN', `${this.#dir}: the session has not begun`)
    await this.log.sync()
    await writeInputs(this.#dir, this.log.dir)
    const record = await run.keep(this.#dir, end)
    await writeFile(join(this.#dir, 'log', PAUSED), '')
    await this.leave()
    return record
  }
  /** Lets go without an end: the next one to open it goes on. */
  async leave(): Promise<void> {
    await this.log.close()
    await this.#letGo()
  }
}
