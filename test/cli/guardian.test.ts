import { describe, expect, it } from 'vitest'
import { Guardian, type SecondFacts } from '../../cli/live/guardian.ts'
import type { Incident } from '../../cli/live/troubles.ts'
import { TROUBLES } from '../../cli/live/trouble-table.ts'
import type { OperatorCommand } from '../../cli/session-status.ts'

const SECOND = 1_000_000
/** A guardian and everything that it does, a line each. */
function scene(said: OperatorCommand | null = null, told: OperatorCommand | null = null) {
  const clock = { at: 1_790_000_000 * SECOND, jump: 0, now: () => clock.at, wall: () => (clock.at + clock.jump) / 1000 }
  const did: string[] = []
  const guardian = new Guardian(
    {
      clock,
      keep: (kind, detail) =>
        void did.push(`${kind} ${(detail as Incident).class} ${(detail as Incident).until === null ? 'begins' : 'ends'}`),
      word: (command) => void did.push(`word ${command}`),
      resync: (reason) => void did.push(`resync ${reason}`),
      agrees: (ticker) => void did.push(`agrees ${ticker}`),
      news: (news) => void did.push(`news ${news.type}`),
      stopCreates: () => void did.push('stop creates'),
      end: (reason) => void did.push(`end ${reason.slice(0, 18)}`),
      say: () => {},
    },
    said,
    told,
  )
  const facts = (more: Partial<SecondFacts> = {}): SecondFacts => ({
    dir: '/',
    fed: true,
    gaps: 0,
    clock: { offset: 0, uncertainty: 0 },
    trader: { private: 'open', paused: [], groups: [] } as unknown as SecondFacts['trader'],
    late: 0,
    watched: true,
    ...more,
  })
  return {
    guardian,
    clock,
    second: (more: Partial<SecondFacts> = {}, seconds = 1) => {
      for (let k = 0; k < seconds; k++) {
        clock.at += SECOND
        guardian.second(facts(more))
      }
    },
    did: () => did.splice(0).filter((d) => !d.includes('disk-')),
  }
}

describe('what a live session does about its troubles', () => {
  it('holds back while nobody watches, at once, and goes on when somebody does: by the word of the table', () => {
    const s = scene()
    s.guardian.watched(false)
    expect(s.did()).toEqual(['incident watch-silent begins', 'stop creates', 'word pause'])
    expect(s.guardian.hold).toBe('pause')
    s.second({ watched: true }, 8)
    expect(s.did()).toEqual(['incident watch-silent ends', 'word resume'])
    expect(s.guardian.hold).toBeNull()
  })

  it('never goes beyond what a person said last, before a restart or after', () => {
    for (const [said, word] of [
      ['halt', 'halt'],
      ['reduce', 'reduce'],
      ['pause', 'pause'],
    ] as const) {
      const s = scene(said, said)
      s.guardian.restore([])
      expect([said, s.did()]).toEqual([said, []])
      s.second({ watched: false }, 2)
      s.second({ watched: true }, 8)
      const words = s.did().filter((d) => d.startsWith('word'))
      expect([said, words.at(-1) ?? `word ${word}`]).toEqual([said, `word ${word}`])
      expect(words).not.toContain('word resume')
    }
  })

  it('lifts the halt of a clean stop when the session goes on, and what the table had said when its trouble is gone', () => {
    for (const told of ['halt', 'pause'] as const) {
      const s = scene('resume', told)
      s.guardian.restore([])
      expect(s.did()).toEqual(['word resume'])
    }
  })

  it('remembers over a restart what waits for a person', () => {
    const s = scene(null, 'halt')
    s.guardian.restore([{ class: 'key-refused', action: 'halt-session', scope: null, since: 1, cause: '401', until: null }])
    expect(s.did()).toEqual(['incident key-refused begins'])
    s.second({}, 120)
    expect(s.did()).toEqual([])
    s.guardian.operator('resume')
    expect(s.did()).toEqual(['incident key-refused ends'])
    expect(s.guardian.hold).toBeNull()
  })

  it('compares everything anew when the clock was set, and ends a session that slept', () => {
    const s = scene()
    s.second({}, 2)
    s.clock.jump = 5 * SECOND
    s.second()
    expect(s.did()).toEqual(['incident clock-step begins', 'resync clock-step'])
    s.clock.jump = 3_600 * SECOND
    s.second()
    expect(s.did()).toEqual(['incident woken begins', 'resync woken', 'end this machine slept'])
  })

  it('reduces when nothing of the account can be read for a minute, and frees a market that agrees again', () => {
    const s = scene()
    const record = (outcome: string, why: string, differences: readonly object[] = []): void =>
      s.guardian.kept('reconciled', { outcome, why, differences })
    s.second()
    record('not judged', 'not readable: orders')
    s.second({}, 62)
    expect(s.did()).toEqual(['incident reads-failing begins', 'word reduce'])
    record('agreed', '')
    s.second({}, 2)
    expect(s.did()).toEqual(['incident reads-failing ends', 'word resume'])
    const difference = { kind: 'position', ticker: 'A', counted: true, ours: '+1.00', theirs: '+2.00' }
    record('halted', '', [difference])
    expect(s.did()).toEqual(['incident market-differs begins'])
    record('halted', '', [difference])
    expect(s.did()).toEqual([])
    record('agreed', '')
    expect(s.did()).toEqual(['incident market-differs ends', 'agrees A'])
  })

  it('knows a caller of every class', async () => {
    const { readFileSync } = await import('node:fs')
    const source = ['guardian', 'troubles', 'course']
      .map((f) => readFileSync(new URL(`../../cli/live/${f}.ts`, import.meta.url), 'utf8'))
      .join('\n')
    for (const name of Object.keys(TROUBLES))
      expect([name, source.includes(`'${name}'`) || source.includes(`"${name}"`)]).toEqual([name, true])
  })
})
