import { describe, expect, it } from 'vitest'
import { giveKey } from '../../../../adapters/exchange/index.ts'
import { lossText, readAccount, RECOMMENDED_SETUP } from '../../../../adapters/kalshi/venue/account.ts'
import { FeeAudit } from '../../../../adapters/kalshi/venue/fee-audit.ts'
import {
  GroupPlanner,
  readGroups,
  writeGroup,
  type GroupAnswer,
  type GroupWrite,
  type GroupWriter,
} from '../../../../adapters/kalshi/venue/group.ts'
import type { AccountNews } from '../../../../engine/news.ts'
import { T0, trader, type Json, type Trader } from '../../exchange/support.ts'
import { inOne } from './support.ts'

/** A key of the account with scopes and a lock of its own. */
function keyed(s: ReturnType<typeof inOne>, who: Trader, id: string, scopes: readonly string[], subaccount: number | null): Trader {
  const { keyId, privatePem } = giveKey(s.x, who.account, 'ed25519')
  const key = who.account.keys.get(keyId)
  if (key === undefined) throw new Error('no key')
  s.x.removeKey(who.account, keyId)
  s.x.addKey(who.account, { ...key, id, scopes: scopes as typeof key.scopes, subaccount })
  return { account: who.account, keyId: id, privatePem }
}

describe('what the key may do', () => {
  it('is read without changing anything, and a full key is warned of', async () => {
    const s = inOne()
    const we = trader(s.x, 'we', 1000, 'prestige', 'ed25519', [0, 2])
    const facts = await readAccount(s.rest(we), { keyId: we.keyId })
    expect(facts).toMatchObject({
      subaccount: 0,
      restricted: { is: false },
      reads: true,
      trades: true,
      transfers: true,
      netting: false,
      problems: [],
    })
    expect(facts.balances).toEqual([
      [0, 1e9],
      [2, 1e9],
    ])
    expect(facts.warnings).toEqual([
      'the key can move money (write::transfer): a key for trading alone is safer',
      'the key is not locked to a subaccount: all money of the user is within its reach',
    ])
    expect(s.requests.length).toBeGreaterThan(4)
    expect(lossText(facts, 50_000_000)).toEqual([
      'by its limits: $50.00',
      'by what is there, should the limits fail: $2000.00 on 2 shards, and what its positions are worth',
      'the key is not locked to a subaccount: all money of the user is within its reach',
      'the key can move money between subaccounts and shards',
    ])
    expect(RECOMMENDED_SETUP.join(' ')).toMatch(/write::trade/)
  })

  it('a locked key is seen as one by its refusals; what it cannot see is said to be unknown', async () => {
    const s = inOne()
    const we = s.trader('we')
    s.call(we, 'POST', '/portfolio/subaccounts', {})
    we.account.move(1, 0, 25_000_000, s.x.now)
    s.x.advance(s.x.now + 1_000_000)
    const locked = keyed(s, we, 'locked-key', ['read', 'write::trade'], 1)
    const facts = await readAccount(s.rest(locked), { keyId: locked.keyId, subaccount: 1 })
    expect(facts).toMatchObject({
      restricted: { is: true, number: 1 },
      scopes: null,
      transfers: null,
      balances: [[0, 25_000_000]],
      problems: [],
    })
    expect(facts.warnings.join('; ')).toMatch(/whether it can move money is not known/)
    expect(lossText(facts, 1)[2]).toBe('the key is locked to subaccount 1: other money is out of its reach')
    // For another subaccount it is of no use.
    const wrong = await readAccount(s.rest(locked), { keyId: locked.keyId, subaccount: 0 })
    expect(wrong.problems[0]).toMatch(/403.*restricted to a single sub-account/)
    const reader = keyed(s, we, 'reader-key', ['read'], null)
    expect((await readAccount(s.rest(reader), { keyId: reader.keyId })).problems).toEqual([
      'the key cannot trade: give it the scope write::trade',
    ])
  })
})

describe('fees', () => {
  it('that differ from the model beyond rounding are counted', () => {
    const audit = new FeeAudit()
    expect(audit.see('a', 17_500, 17_600, T0)).toBe(false)
    expect(audit.see('b', 0, 4_400, T0)).toBe(true)
    expect(audit.see('c', 20_000, 0, T0)).toBe(true)
    expect([audit.counts, audit.worst?.trade]).toEqual([{ fills: 3, differ: 2, modelled: 37_500, reported: 22_000 }, 'c'])
  })
})

describe('order groups', () => {
  const plan = (answers: (write: GroupWrite) => GroupAnswer | null = () => ({ outcome: 'acknowledged', id: 'g' })) => {
    const writes: string[] = []
    const news: AccountNews[] = []
    let now = 0
    const groups: GroupPlanner = new GroupPlanner(5_000, {
      tickersOf: (shard) => (shard === 0 ? ['A', 'B'] : []),
      write: (w) => {
        writes.push(`${w.kind} ${w.shard}${w.id === null ? '' : ` ${w.id}`}`)
        const answer = answers(w)
        if (answer !== null) groups.answered(w, answer, now)
      },
      tell: (n) => void news.push(n),
    })
    const at = (time: number): void => {
      now = time
      groups.advance(time)
    }
    return { groups, writes, news, at }
  }

  it('are made once a shard; a trigger halts its markets and only a person resets it', () => {
    const { groups, writes, news } = plan()
    groups.want(0, 0)
    groups.want(0, 0)
    expect([writes, groups.idOf(0), groups.idOf(2)]).toEqual([['create 0'], 'g', null])
    groups.heard('of-another-program', 'triggered')
    expect(news).toEqual([])
    groups.heard('g', 'triggered')
    groups.heard('g', 'triggered')
    expect(news).toEqual(['A', 'B'].map((ticker) => ({ type: 'market-halted', ticker, reason: 'group triggered (shard 0)', by: 'group' })))
    expect(groups.idOf(0)).toBeNull()
    // Somebody resets it on the website: here it waits all the same.
    groups.heard('g', 'reset')
    expect([groups.idOf(0), groups.stateOf(0), writes]).toEqual([null, 'triggered', ['create 0']])
    groups.resume(0, 0)
    expect([groups.idOf(0), writes.at(-1)]).toEqual(['g', 'reset 0 g'])
    groups.trigger(0)
    expect([writes.at(-1), groups.idOf(0)]).toEqual(['trigger 0 g', null])
    groups.retire()
    expect([writes.at(-1), groups.stateOf(0)]).toEqual(['delete 0 g', 'gone'])
  })

  it('that we trigger, or a halt of ours, are said to be ours, whichever is heard first: the stream or the answer', () => {
    for (const [answered, halted, reason] of [
      [true, false, 'triggered by us (shard 0)'],
      [false, false, 'triggered by us (shard 0)'],
      [false, true, 'triggered by the halt (shard 0)'],
    ] as const) {
      const { groups, news } = plan((w) => (w.kind === 'trigger' && !answered ? null : { outcome: 'acknowledged', id: 'g', reason: '' }))
      groups.want(0, 0)
      if (!halted) groups.trigger(0)
      groups.heard('g', 'triggered', halted)
      expect(news.map((n) => ('reason' in n ? n.reason : ''))).toEqual([reason, reason])
      expect(groups.groups).toMatchObject([{ state: 'triggered', ours: true }])
      // The next one is somebody else's again.
      groups.resume(0, 0)
      groups.heard('g', 'triggered')
      expect(groups.groups).toMatchObject([{ state: 'triggered', ours: false, reason: 'group triggered' }])
      // What is told of one that has gone is old.
      groups.retire()
      groups.heard('g', 'triggered')
      expect(groups.stateOf(0)).toBe('gone')
    }
  })

  it('that a process before could not keep having taken away are made anew; one that was seen and goes is somebody else’s doing', () => {
    const { groups, writes, news, at } = plan()
    groups.adopt(0, 'old')
    groups.listed(new Set())
    at(1)
    expect([writes, groups.idOf(0), news]).toEqual([['create 0'], 'g', []])
    groups.listed(new Set(['g']))
    groups.listed(new Set())
    expect([groups.idOf(0), news.map((n) => n.type)]).toEqual([null, ['market-halted', 'market-halted']])
    const seen = plan()
    seen.groups.adopt(0, 'old')
    seen.groups.listed(new Set(['old']))
    seen.groups.listed(new Set())
    expect([seen.writes, seen.groups.stateOf(0)]).toEqual([[], 'triggered'])
  })

  it('whose creation has no outcome are tried three times, later each time, and then nothing trades', () => {
    const { groups, writes, news, at } = plan(() => ({ outcome: 'unknown', reason: 'timeout' }))
    groups.want(2, 0)
    for (let now = 0; now <= 20_000_000; now += 100_000) at(now)
    expect([writes, groups.stateOf(2)]).toEqual([['create 2', 'create 2', 'create 2'], 'failed'])
    expect(news).toEqual([{ type: 'disagreed', reason: 'no order group on shard 2 after 3 tries (timeout)' }])
    expect(groups.groups[0]?.reason).toBe('create unknown: timeout')
  })

  it('that are gone, lowered or deleted by somebody else halt; a reset without proof does not free', () => {
    const gone = plan()
    gone.groups.want(0, 0)
    gone.groups.listed(new Set(['g']))
    expect(gone.news).toEqual([])
    gone.groups.listed(new Set(['other']))
    expect(gone.news[0]).toMatchObject({ type: 'market-halted', reason: 'the order group is not there any more (shard 0)' })
    const lowered = plan()
    lowered.groups.want(0, 0)
    lowered.groups.heard('g', 'limit_updated')
    expect(lowered.news).toHaveLength(2)
    const unsure = plan((w) => (w.kind === 'create' ? { outcome: 'acknowledged', id: 'g' } : { outcome: 'unknown', reason: 'timeout' }))
    unsure.groups.want(0, 0)
    unsure.groups.heard('g', 'deleted')
    unsure.groups.listed(new Set(['g']))
    unsure.groups.resume(0, 0)
    expect([unsure.groups.stateOf(0), unsure.groups.idOf(0)]).toEqual(['triggered', null])
  })

  it('that are gone are made anew when a person says so, and by no other way', () => {
    for (const reason of ['not_found', 'order_group_not_found']) {
      const { groups, writes, at } = plan((w) =>
        w.kind === 'reset' ? { outcome: 'rejected', reason } : { outcome: 'acknowledged', id: 'new' },
      )
      groups.adopt(0, 'old', true)
      groups.resume(0, 0)
      at(1)
      expect([groups.idOf(0), writes]).toEqual(['new', ['reset 0 old', 'create 0']])
    }
    const { groups, writes, at } = plan(() => ({ outcome: 'acknowledged', id: 'new' }))
    groups.adopt(0, 'old', true)
    groups.listed(new Set(['other']))
    at(1)
    expect([groups.idOf(0), writes]).toEqual([null, []])
    groups.resume(0, 2)
    expect([groups.idOf(0), writes]).toEqual(['new', ['create 0']])
  })

  it('that could not be made are asked for again after half a minute, and when a person says so', () => {
    let well = false
    const { groups, writes, news, at } = plan(() => (well ? { outcome: 'acknowledged', id: 'g' } : { outcome: 'unknown', reason: '503' }))
    groups.want(2, 0)
    for (let now = 0; now <= 60_000_000; now += 100_000) at(now)
    expect([writes.length, groups.stateOf(2), news.length]).toEqual([4, 'failed', 1])
    well = true
    groups.resume(2, 60_000_000)
    expect([groups.idOf(2), writes.length]).toEqual(['g', 5])
  })

  it('live the same life on the local exchange', async () => {
    const s = inOne()
    const we = s.trader('we')
    const send = (method: string, path: string, body: Json = {}): GroupAnswer => {
      const { status, body: said } = s.call(we, method, `/portfolio/order_groups${path}`, body)
      return status < 300
        ? { outcome: 'acknowledged', id: String(said['order_group_id'] ?? path) }
        : { outcome: 'rejected', reason: String(status) }
    }
    const writer: GroupWriter = {
      createGroup: async (shard, limit) => send('POST', '/create', { contracts_limit_fp: (limit / 100).toFixed(2), exchange_index: shard }),
      resetGroup: async (id) => send('PUT', `/${id}/reset`),
      triggerGroup: async (id) => send('PUT', `/${id}/trigger`),
      deleteGroup: async (id) => send('DELETE', `/${id}`),
    }
    const pending: Promise<void>[] = []
    const groups: GroupPlanner = new GroupPlanner(5_000, {
      tickersOf: () => ['KXTEST-A'],
      write: (w) => void pending.push(writeGroup(writer, w).then((answer) => groups.answered(w, answer, 0))),
      tell: () => {},
    })
    const done = async (): Promise<void> => void (await Promise.all(pending.splice(0)))
    groups.want(0, 0)
    await done()
    const id = groups.idOf(0) as string
    expect(await readGroups(s.rest(we))).toEqual(new Set([id]))
    groups.trigger(0)
    await done()
    expect([groups.stateOf(0), we.account.groups.get(id)?.triggered]).toEqual(['triggered', true])
    groups.resume(0, 0)
    await done()
    expect([groups.idOf(0), we.account.groups.get(id)?.triggered]).toEqual([id, false])
    groups.retire()
    await done()
    expect(await readGroups(s.rest(we))).toEqual(new Set())
    s.world.instead = () => ({ body: '<html>' })
    expect(await readGroups(s.rest(we))).toBeNull()
    expect(
      await writeGroup({ ...writer, deleteGroup: () => Promise.reject(new Error('cut')) }, { kind: 'delete', shard: 0, id, limit: 1 }),
    ).toEqual({ outcome: 'unknown', reason: 'cut' })
  })
})
