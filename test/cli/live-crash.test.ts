import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Random } from '../../adapters/practice/random.ts'
import { Drill, figuresText, momentOf } from '../support/live-drill.ts'
import { liveRoom, type Room } from '../support/live-room.ts'
import { PROGRAM, runJson } from '../support/program.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** Live sessions of the shipped program that are killed, stopped and starved, against an exchange whose own books judge them. `LIVE_KILLS=200` is the long drill. */
const built = existsSync(PROGRAM)
const KILLS = Number(process.env['LIVE_KILLS'] ?? 4)
const SEED = Number(process.env['LIVE_SEED'] ?? 7)
const rooms: Room[] = []
afterEach(async () => {
  for (const room of rooms.splice(0)) await room.close()
  if (process.env['LIVE_KEEP'] === undefined) removeFolders()
})
async function room(options: Parameters<typeof liveRoom>[1] = {}): Promise<Room> {
  const made = await liveRoom(process.env['LIVE_KEEP'] ?? folder(), options)
  rooms.push(made)
  return made
}

describe.skipIf(!built)(`a live session${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it(
    `that is killed ${KILLS} times asks for no order twice, loses no fill, and ends with the exchange's own numbers`,
    async () => {
      const x = await room({
        life: 300_000_000,
        rules: [{ on: 'request', do: 'delay', ms: 200, probability: 0.3, operation: 'CreateOrderV2' }],
      })
      const drill = new Drill(x, 's')
      const random = new Random(SEED)
      for (let i = 1; i <= KILLS; i++) {
        await drill.kill(momentOf(random, i))
        if (i % 10 === 0)
          process.stdout.write(
            `${i}: ${drill.figures.wrong.length} wrong, ${drill.figures.exits.length} exits, ${drill.unknown().size} unknown\n`,
          )
      }
      await drill.finish(40_000)
      process.stdout.write(figuresText(drill.figures))
      expect(drill.figures.wrong).toEqual([])
      expect(drill.figures.exits).toEqual([])
      expect(drill.unknown().size).toBe(0)
      expect(x.orders().length).toBeGreaterThan(0)
      const replay = await runJson(x.dir, ['replay', join(x.dir, 's')])
      expect([replay.code, replay.data?.['equal']]).toEqual([0, true])
    },
    Math.max(120_000, KILLS * 20_000),
  )
})
