import { describe, expect, it, vi } from 'vitest'
import { drill, type Drilled } from './drill.ts'
import { MISTAKES, Naive, type Mistake } from './naive.ts'
import { SERIES } from './stage.ts'
import { Dice } from './swarm.ts'

vi.mock('../../../adapters/exchange/auth.ts', async (original) => ({
  ...(await original<typeof import('../../../adapters/exchange/auth.ts')>()),
  ...(await import('./trusting.ts')),
}))

/** He looks at positions alone. */
const limits = { positionMax: 40 * 100, marketLossMax: Infinity, sessionLossMax: Infinity }
function naive(mistake: Mistake | null): Drilled<string> {
  return {
    make: ({ world, signer, disk, seed, starts, cash, isHalted }) =>
      new Naive({ world, signer, disk, dice: new Dice(seed, `naive ${starts}`), limits, isHalted, cash, mistake, series: SERIES }),
    witness: (disk) => ({
      ours: (id) => id.startsWith('naive-'),
      isSafe: (id) => disk.safe.some((r) => r.includes(`"${id}"`)),
      intentOf: (id) => id.replace(/x$/, ''),
    }),
  }
}

/** The judge is judged first: by a trader that shares nothing with the one that is drilled. */
describe('the oracle of the drill', () => {
  it('finds nothing in an honest trader', async () => {
    let creates = 0
    let fills = 0
    for (let seed = 1; seed <= 15; seed++) {
      const o = await drill(seed, naive(null), { limits })
      expect({ seed, mistakes: o.mistakes }).toEqual({ seed, mistakes: [] })
      creates += o.creates
      fills += o.fills
    }
    expect(creates).toBeGreaterThan(400)
    expect(fills).toBeGreaterThan(200)
  })

  it.each(MISTAKES)('finds a trader who %s', async (mistake) => {
    for (let seed = 1; seed <= 60; seed++) {
      const { mistakes } = await drill(seed, naive(mistake), { limits })
      if (mistakes.length === 0) continue
      process.stdout.write(`${mistake}: seed ${seed}, ${mistakes[0]}\n`)
      return
    }
    expect.unreachable('60 seeds did not find it')
  })

  it('gives the same disk for the same seed', async () => {
    const [a, b] = [await drill(3, naive(null), { limits }), await drill(3, naive(null), { limits })]
    expect(a.disk.length).toBeGreaterThan(20)
    expect(b).toEqual(a)
  })
})
