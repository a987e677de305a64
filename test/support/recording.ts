/**
 * A recording in a process of its own, to be killed. `record <dir> <seed> <rows> <part rows>`: random rows as fast as they go, a line for every sync with the rows before it; a tape that
 * is there is gone on with. `births <dir> 0 <markets> <part rows>`: markets that are born, trade and pay, and the heap after each tenth of them. `hold <dir>`: tries to become its writer.
 */
import { Recorder } from '../../adapters/recorder/recorder.ts'
import { holdFolder } from '../../data/hold.ts'
import { createBatch, Flag, Kind, pushRow } from '../../engine/message.ts'
import { batchesOf, catalog, randomTape, START } from './rows.ts'

declare const gc: (() => void) | undefined

const [what, dir = '', seed = '1', rows = '1000', part = '500'] = process.argv.slice(2)
if (what === 'hold') {
  try {
    await (await holdFolder(dir))()
    process.stdout.write('got it\n')
  } catch (error) {
    process.stdout.write(`${(error as { code: string }).code}\n`)
  }
} else if (what === 'births') {
  const recorder = await Recorder.open(dir, { source: 'test', spaceMin: 0, rotate: { rows: Number(part) } })
  const heap: number[] = []
  const markets = Number(rows)
  const passing = recorder.through({
    async *batches() {
      for (let m = 0; m < markets; m++) {
        const batch = createBatch(16)
        const at = START + m * 10_000_000
        const put = (k: number, kind: Kind, flags: number, side: number, price: number, quantity: number, detail: unknown = null): void =>
          pushRow(batch, at + k, at + k, m, kind, flags, side, price, quantity, detail === null ? null : JSON.stringify(detail))
        put(0, Kind.CATALOG, Flag.LAST, 0, 0, 0, catalog(`KXBIRTH-${String(m).padStart(6, '0')}`))
        put(1, Kind.CLEAR, 0, 0, 0, 0)
        put(1, Kind.LEVEL, 0, 0, 4000, 500)
        put(1, Kind.LEVEL, Flag.LAST, 1, 4300, 500)
        for (let k = 2; k < 6; k++) put(k, Kind.DELTA, Flag.LAST, 0, 4000, 100)
        put(6, Kind.TRADE, Flag.LAST, 1, 4000, 100)
        put(7, Kind.STATUS, Flag.LAST, 0, 0, 0, { status: 'closed' })
        put(8, Kind.DETERMINED, Flag.LAST, 0, 0, 0, { result: 'yes', value: 10_000 })
        put(9, Kind.SETTLED, Flag.LAST, 0, 0, 0, {})
        yield batch
      }
    },
  })
  let born = 0
  for await (const _ of passing.batches()) {
    if (++born % (markets / 10) !== 0) continue
    await recorder.rotate()
    gc?.()
    heap.push(process.memoryUsage().heapUsed)
  }
  const { rows: written, marketsAlive } = recorder.status
  const manifest = await recorder.finish()
  process.stdout.write(`${JSON.stringify({ heap, rows: written, markets: manifest.markets, alive: marketsAlive })}\n`)
} else {
  const recorder = await Recorder.open(dir, { source: 'test', spaceMin: 0, rotate: { rows: Number(part) } })
  process.stdout.write(`open ${recorder.status.rows} ${recorder.status.rowsInParts}\n`)
  let synced = 0
  for (const batch of batchesOf(randomTape({ seed: Number(seed), rows: Number(rows), markets: 3, gaps: true }).rows, 20)) {
    recorder.write(batch)
    const { rows: now } = recorder
    if (now - synced >= 200) {
      synced = now
      await recorder.sync()
      // Written at once: the parent counts on it.
      process.stdout.write(`synced ${now}\n`)
    }
    await new Promise(setImmediate)
  }
  await recorder.finish()
  process.stdout.write('finished\n')
}
