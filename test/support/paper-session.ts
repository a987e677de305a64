/** A finished paper session over a tape, as `tapeline paper` leaves it: its engine on the simulated venue. Owns nothing; the course of a real one is tested with the program. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HistoryFeed } from '../../adapters/history/feed.ts'
import { SessionFolder } from '../../adapters/record/session-record.ts'
import { Recorder } from '../../adapters/recorder/recorder.ts'
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { openTape } from '../../data/tape-reader.ts'
import { Engine } from '../../engine/engine.ts'
import type { FillModelName, SessionHeader, SessionRecord } from '../../engine/session.ts'
import type { Strategy } from '../../engine/strategy.ts'
import { strategies as builtIn } from '../../strategies/index.ts'
import { header as headerOf } from './session.ts'

export async function paperSession(dir: string, source: string, name = 'lean', model: FillModelName = 'queue'): Promise<SessionRecord> {
  const tape = await openTape(source)
  const strategy = (builtIn[name] as () => Strategy)()
  const plain = headerOf()
  const header: SessionHeader = {
    ...plain,
    mode: 'paper',
    fills: model,
    strategies: [{ name, parameters: strategy.parameters }],
    tape: { ...plain.tape, name: 'paper', source: 'paper (fixture)', practice: true, lagMax: Math.max(30_000, tape.manifest.lagMax) },
  }
  const folder = await SessionFolder.open(dir, { durable: false })
  const recorder = await Recorder.open(folder.tape, { source: 'paper', practice: true, spaceMin: 0, log: folder.log })
  const engine = new Engine({
    header,
    strategies: [strategy],
    venue: new SimulatedVenue(model, header.delays, header.tape.lagMax),
    sink: await folder.begin(header),
  })
  for await (const batch of recorder.through(new HistoryFeed(tape, { decode: 'thread' })).batches()) engine.run(batch)
  const end = engine.finish('its time is over', true)
  await recorder.finish()
  const record = await folder.finish(end)
  writeFileSync(join(dir, 'paper.json'), JSON.stringify({ schema: 'tapeline.paper/1', strategies: [name], parameters: [] }))
  return record
}
