import { appendFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import { ExternalFile, ExternalStream, parseExternal, type ExternalValue } from '../../adapters/external/ndjson.ts'
import { folder, removeFolders } from '../support/tapes.ts'

afterEach(removeFolders)
const line = (value: number): string => `{"series":"spot","value":${value}}\n`

/** Who takes so many values and no more, until told. */
function taker(room = Infinity) {
  const values: ExternalValue[] = []
  const troubles: string[] = []
  const state = { room }
  return {
    values,
    troubles,
    state,
    events: {
      value: (v: ExternalValue) => void values.push(v),
      trouble: (t: string) => void troubles.push(t),
      room: () => values.length < state.room,
    },
  }
}

describe('outside series as lines', () => {
  it('are read with their times, or refused with why', () => {
    expect(
      parseExternal('{"series":"s","value":1.5,"published":"2026-05-13T13:45:00.000001Z","known":1778679901000000,"revision":2}'),
    ).toEqual({
      series: 's',
      value: 1.5,
      published: Date.parse('2026-05-13T13:45:00Z') * 1000 + 1,
      known: 1_778_679_901_000_000,
      revision: 2,
    })
    for (const [text, why] of [
      ['{', /not JSON/],
      ['[1]', /no JSON object/],
      ['{"series":"","value":1}', /series is a name/],
      ['{"series":"s","value":"1"}', /value is a number/],
      ['{"series":"s","value":1e999}', /value is a number/],
      ['{"series":"s"}', /value is a number/],
      ['{"series":"s","value":1,"published":"yesterday"}', /are times/],
      ['{"series":"s","value":1,"known":1778679901}', /are times/],
      ['{"series":"s","value":1,"revision":-1}', /revision is a whole number/],
      ['{"series":"s","value":1,"price":2}', /price is not known/],
      ['{"__proto__":{},"series":"s","value":1}', /__proto__ is not known/],
    ] as const)
      expect([text, parseExternal(text)]).toEqual([text, expect.stringMatching(why)])
  })

  it('of a file that grows are taken once, whole, in order, and no faster than somebody takes them', () => {
    const path = join(folder(), 'prices.ndjson')
    writeFileSync(path, `${line(1)}\n${line(2)}{"series":"sp`)
    const { values, troubles, events, state } = taker()
    const file = new ExternalFile(path, events)
    file.advance()
    expect(values.map((v) => v.value)).toEqual([1, 2])
    appendFileSync(path, `ot","value":3}\nwhat\n`)
    file.advance()
    file.advance()
    expect(values.map((v) => v.value)).toEqual([1, 2, 3])
    expect(troubles).toEqual([`${path}:5: not JSON; the line was skipped`])
    // Longer than a line may be, over several readings.
    appendFileSync(path, `"${'x'.repeat(400_000)}"\n${line(4)}`)
    file.advance()
    expect([values.at(-1)?.value, troubles.at(-1)]).toEqual([4, expect.stringMatching(/:6: longer than 65536 characters/)])
    state.room = 4
    appendFileSync(path, line(5))
    file.advance()
    expect(values).toHaveLength(4)
    state.room = 5
    file.advance()
    expect(values.at(-1)?.value).toBe(5)
    // Rewritten: said once, and left alone.
    truncateSync(path, 10)
    state.room = 99
    file.advance()
    file.advance()
    expect(troubles.filter((t) => t.includes('became shorter'))).toHaveLength(1)
    file.close()
    // Whoever goes on after three of them gets the rest.
    writeFileSync(path, line(1) + line(2) + line(3) + line(4))
    const later = taker()
    const again = new ExternalFile(path, later.events, new Map([['spot', 3]]))
    again.advance()
    again.close()
    expect(later.values.map((v) => v.value)).toEqual([4])
    expect(() => new ExternalFile(join(path, 'nowhere'), later.events)).toThrow(/cannot be read/)
  })

  it('of a stream wait while there is no room', async () => {
    const input = new PassThrough()
    const { values, events, state } = taker(2)
    const stream = new ExternalStream(input, events)
    for (let i = 1; i <= 200; i++) input.write(line(i))
    await new Promise((resolve) => setTimeout(resolve, 50))
    const held = values.length
    state.room = Infinity
    stream.advance()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(held).toBeLessThan(201)
    expect(values.map((v) => v.value)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1))
    stream.close()
  })
})
