import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { liveAccounts } from '../../cli/live/place.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** Where live sessions of a folder traded, as `halt` asks where nothing runs. */
afterEach(removeFolders)

function session(dir: string, name: string, plan: Record<string, unknown> | null, written: number): string {
  const path = join(dir, name)
  mkdirSync(path)
  writeFileSync(join(path, 'live.json'), plan === null ? '{' : JSON.stringify(plan))
  writeFileSync(
    join(path, 'status.json'),
    JSON.stringify({
      schema: 'tapeline.status/1',
      mode: 'live',
      written,
      ended: 'Ctrl-C',
      state: { name: 'stopped' },
      orders: {},
      feed: { connections: [] },
    }),
  )
  return path
}

it('takes the last session of each account, another key being another account; local exchanges, which come and go, only where nothing was later; what is damaged is named', () => {
  const dir = folder()
  const at = (environment: string, keyId: string, subaccount = 0) => ({ environment, keyId, subaccount })
  session(dir, 'old', at('production', 'k1'), 1)
  const first = session(dir, 'first', at('production', 'k1'), 2)
  const second = session(dir, 'second', at('production', 'k2'), 3)
  const other = session(dir, 'other', at('production', 'k2', 1), 4)
  const local = session(dir, 'local', at('http://127.0.0.1:1', 'k3'), 5)
  const damaged = session(dir, 'damaged', null, 6)
  expect(liveAccounts(dir)).toEqual({ dirs: [first, local, other, second], skipped: [damaged] })
  session(dir, 'demo', at('demo', 'k4'), 7)
  expect(liveAccounts(dir).dirs).not.toContain(local)
  expect(liveAccounts(folder())).toEqual({ dirs: [], skipped: [] })
})
