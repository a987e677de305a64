import { describe, expect, it, vi } from 'vitest'
import { drill } from './drill.ts'
import { drilled } from './drilled.ts'
import { MUTANTS } from './mutants.ts'

vi.mock('../../../adapters/exchange/auth.ts', async (original) => ({
  ...(await original<typeof import('../../../adapters/exchange/auth.ts')>()),
  ...(await import('./trusting.ts')),
}))

const SEEDS_MAX = 200

/** What the drill is worth: bugs of the classes that cost money in this field, planted around the real trader. */
describe('a trader who', () => {
  const kills: number[] = []
  it.each(Object.entries(MUTANTS))(
    '%s is caught',
    async (name, trade) => {
      for (let seed = 1; seed <= SEEDS_MAX; seed++) {
        const { mistakes } = await drill(seed, drilled(seed, { trade }))
        if (mistakes.length === 0) continue
        kills.push(seed)
        process.stdout.write(`${name}: seed ${seed}, ${(mistakes[0] as string).split('\n', 1)[0]?.slice(0, 200)}\n`)
        return
      }
      expect.unreachable(`${SEEDS_MAX} seeds did not find it`)
    },
    600_000,
  )

  it('is caught in every class', () => {
    kills.sort((a, b) => a - b)
    process.stdout.write(
      `planted bugs caught: ${kills.length} of ${Object.keys(MUTANTS).length}, seeds to the first: median ${kills[kills.length >> 1]}, most ${kills.at(-1)}\n`,
    )
    expect(kills.length).toBe(Object.keys(MUTANTS).length)
  })

  it('says one cent too much is caught: the canary, which must fail', async () => {
    const { make, witness } = drilled(1)
    const { mistakes } = await drill(1, {
      witness,
      make: (parts) => {
        const subject = make(parts)
        const word = subject.lastWord.bind(subject)
        subject.lastWord = () => ({ ...word(), cash: word().cash + 10_000 })
        return subject
      },
    })
    expect(mistakes.join()).toMatch(/cash is \d+ and the session says \d+ \(10000 too much\)/)
  })
})
