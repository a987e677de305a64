import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { SessionFolder } from '../../adapters/record/session-record.ts'
import { phraseOf, shown } from '../../cli/live/accept-cash.ts'
import { sendAcceptedCash, takeAcceptedCash, withdrawAcceptedCash } from '../../cli/live/cash-file.ts'
import { takeCommands } from '../../cli/session-status.ts'

const root = mkdtempSync(join(tmpdir(), 'accept-cash-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const record = (theirs: string, counted: boolean) => ({
  time: 1,
  cause: 'minute',
  outcome: 'disagreed',
  why: 'cash',
  differences: [
    { kind: 'cash', key: 'cash/2', ticker: null, shard: 2, ours: '1000.000000', theirs, explanation: 'a withdrawal', counted },
    { kind: 'position', key: 'position/A', ticker: 'A', shard: 0, ours: '+1.00', theirs: '+2.00', explanation: 'a fill', counted: true },
  ],
  differencesMore: 0,
  notes: [],
})

describe('tapeline live accept-cash', () => {
  it('shows the last comparison of a session that runs, its cash alone, and asks for the dollars', async () => {
    const dir = join(root, 'session')
    const folder = await SessionFolder.open(dir)
    const keep = async (detail: unknown): Promise<void> => {
      folder.input({ row: 0, time: 1, kind: 'reconciled', detail })
      await folder.sync()
    }
    await expect(shown(dir)).rejects.toThrow(/no difference in cash to accept: nothing was compared yet$/)
    await keep(record('980.000000', true))
    await keep(record('975.000000', true))
    await keep({ ...record('1.000000', true), outcome: 'not judged', differences: [] })
    const { shards, text } = await shown(dir)
    expect([shards, phraseOf(shards)]).toEqual([[[2, -25_000_000]], 'ACCEPT CASH -25.000000'])
    expect(text).toMatch(/^ +ours +exchange\ncash\/2 +1000\.000000 +975\.000000 +a withdrawal$/)
    expect(phraseOf([[0, 5_500_000]])).toBe('ACCEPT CASH +5.500000')
    // Shown once only, it does not count.
    await keep(record('975.000000', false))
    await expect(shown(dir)).rejects.toThrow(/no difference in cash to accept: disagreed, cash$/)
    await folder.log.close()
  })

  it('is taken once by the session, beside its other commands; what is no such word is thrown away', () => {
    const dir = join(root, 'told')
    const word = { shards: [[2, -25_000_000]] as const, reason: 'rent' }
    const path = sendAcceptedCash(dir, word)
    const troubles: string[] = []
    const trouble = (text: string): void => void troubles.push(text)
    expect(takeCommands(dir, trouble)).toEqual([])
    for (const bad of ['{', '{}', '{"shards":[[0,1.5]],"reason":"x"}', '{"shards":[],"reason":"x"}', `"${'x'.repeat(5000)}"`])
      writeFileSync(join(dir, 'commands', `z${troubles.length}${bad.length}.cash`), bad)
    expect(takeAcceptedCash(dir, trouble)).toEqual([word])
    expect([troubles.length, takeAcceptedCash(dir, trouble), withdrawAcceptedCash(path)]).toEqual([5, [], false])
    expect(withdrawAcceptedCash(sendAcceptedCash(dir, word))).toBe(true)
    expect(takeAcceptedCash(dir, trouble)).toEqual([])
  })
})
