import { afterEach, describe, expect, it } from 'vitest'
import { PositionChain } from '../../../../adapters/kalshi/venue/chain.ts'
import type { FillFact } from '../../../../adapters/kalshi/venue/evidence.ts'
import { PrivateCore, type PrivateCommand, type PrivateEvent } from '../../../../adapters/kalshi/venue/private.ts'
import { Poller } from '../../../../adapters/kalshi/venue/poll.ts'
import { PrivateSocket } from '../../../../adapters/kalshi/venue/private-socket.ts'
import { order, type Trader } from '../../exchange/support.ts'
import { faster, onLoopback, until } from './support.ts'

const closing: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})
async function started(more: Parameters<typeof onLoopback>[0] = {}, scale = 1) {
  const local = await onLoopback(more)
  closing.push(() => local.stop())
  const [we, other] = [local.trader('we'), local.trader('other')]
  const events: PrivateEvent[] = []
  let failed: unknown = null
  const socket = new PrivateSocket({
    environment: local.environment,
    signer: local.signer(we),
    world: scale === 1 ? local.world : faster(local.world, scale),
    onEvent: (event) => void events.push(event),
    onFail: (error) => void (failed = error),
  })
  closing.push(() => socket.stop())
  socket.start()
  type Of<T> = Extract<PrivateEvent, { type: T }>
  const of = <T extends PrivateEvent['type']>(type: T): Of<T>[] => events.filter((e): e is Of<T> => e.type === type)
  const fills = (): string[] => of('fill').map((e) => e.fact.trade)
  /** We rest a bid, the other one sells into it. */
  const trade = async (contracts = 1): Promise<void> => {
    await local.call(we, 'POST', '/portfolio/events/orders', order('bid', 5000, contracts * 100))
    await local.call(other, 'POST', '/portfolio/events/orders', order('ask', 5000, contracts * 100))
  }
  const truth = (who: Trader = we): string[] => who.account.view.fills.map((f) => f.tradeId)
  return { ...local, we, other, events, of, fills, trade, truth, socket, failure: () => failed }
}

describe('the private socket over real sockets', () => {
  it('confirms every channel before it says so, tells orders, fills and groups, and signs every handshake anew', async () => {
    const s = await started()
    await until(() => s.of('reconnected').length === 1, 'connected')
    await s.trade(3)
    const group = await s.call(s.we, 'POST', '/portfolio/order_groups/create', { contracts_limit: 5 })
    await s.call(s.we, 'PUT', `/portfolio/order_groups/${String(group.body['order_group_id'])}/trigger`, {})
    await until(() => s.of('group').length === 2 && s.fills().length === 1, 'news')
    expect(s.of('group').map((e) => e.event)).toEqual(['created', 'triggered'])
    expect(s.of('order').at(-1)?.fact).toMatchObject({
      status: 'executed',
      filled: 300,
      remaining: 0,
      side: 'bid',
      price: 5000,
      reason: 'Trade',
    })
    expect(s.of('fill')[0]?.fact).toMatchObject({ quantity: 300, position: 300, maker: true })
    expect(s.of('missed')).toEqual([])
    // The other side drops everybody: we come back, and a reconcile is due.
    await s.trade()
    for (const connection of s.server.connections) connection.reset()
    await until(() => s.of('reconnected').length === 2, 'connected again')
    expect(s.of('down')).toHaveLength(1)
    await s.trade()
    await until(() => s.fills().includes(s.truth().at(-1) as string), 'the last fill')
  })

  it('FEED-25: a fill that was dropped is noticed, by the next fill or by the position alone', async () => {
    const byFill = await started({
      rules: [
        { on: 'frame', do: 'drop', type: 'fill', after: 1, times: 1, account: 'we' },
        { on: 'frame', do: 'drop', type: 'market_position', account: 'we' },
      ],
    })
    await until(() => byFill.of('reconnected').length === 1, 'connected')
    await byFill.trade()
    await byFill.trade(2)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(byFill.of('missed')).toEqual([])
    await byFill.trade()
    await until(() => byFill.of('missed').length === 1, 'the break')
    expect(byFill.of('missed')[0]?.reason).toBe('position of KXTEST-A is 4, its fills lead to 2')

    const byPosition = await started({ rules: [{ on: 'frame', do: 'drop', type: 'fill', after: 1, account: 'we' }] })
    await until(() => byPosition.of('reconnected').length === 1, 'connected')
    await byPosition.trade()
    await byPosition.trade(2)
    await until(() => byPosition.of('missed').length === 1, 'the position that no fill explains', 5_000)
    expect(byPosition.of('missed')[0]?.reason).toBe('position of KXTEST-A is 3, its fills lead to 1')
  })

  it('FEED-25: with a third of the private messages dropped, every fill is known soon, and what was lost starts the sweep', async () => {
    const scale = 10
    const s = await started({ rules: [{ on: 'frame', do: 'drop', probability: 0.33, account: 'we', channel: 'fill' }], seed: 5 }, scale)
    await until(() => s.of('reconnected').length === 1, 'connected')
    const known = new Map<string, number>()
    const world = faster(s.world, scale)
    const poller = new Poller(
      s.rest(s.we),
      world,
      { start: s.x.now },
      {
        needs: () => ({ live: 1, resting: [], since: null }),
        onEvent: (e) => {
          if (e.type === 'sweep') for (const f of e.sweep.fills ?? []) if (!known.has(f.trade)) known.set(f.trade, performance.now())
        },
        onFail: (error) => {
          throw error
        },
      },
    )
    closing.push(() => poller.stop())
    poller.start()
    let read = 0
    const hear = (): void => {
      for (const e of s.events.slice(read)) {
        if (e.type === 'fill' && !known.has(e.fact.trade)) known.set(e.fact.trade, performance.now())
        if (e.type === 'missed' || e.type === 'reconnected') poller.sweepNow()
      }
      read = s.events.length
    }
    const hearing = setInterval(hear, 2)
    closing.push(() => clearInterval(hearing))
    const waits: number[] = []
    for (let i = 0; i < 60; i++) {
      const at = performance.now()
      await s.trade()
      await until(() => s.truth().length > i && known.has(s.truth()[i] as string), `fill ${i}`)
      waits.push((((known.get(s.truth()[i] as string) as number) - at) * scale) / 1000)
    }
    expect(s.of('missed').length).toBeGreaterThan(5)
    expect(s.of('fill').length).toBeLessThan(55)
    // Seconds of ours: a second of grace for the position message, or the next sweep.
    expect(Math.max(...waits)).toBeLessThan(10)
  })

  it('a doubled fill is told once and breaks nothing', async () => {
    const s = await started({ rules: [{ on: 'frame', do: 'duplicate', type: 'fill', account: 'we' }] })
    await until(() => s.of('reconnected').length === 1, 'connected')
    for (let i = 0; i < 3; i++) await s.trade()
    await until(() => s.socket.core.chain.counts.twice === 3 && s.truth().length === 3, 'the doubles')
    expect(s.fills()).toEqual(s.truth())
    expect(s.of('missed')).toEqual([])
  })

  it('a channel that dies (10, 25) is subscribed anew and what came in between counts as missed', async () => {
    for (const [what, channel] of [
      ['channel-error', 'fill'],
      ['overflow', 'user_orders'],
    ] as const) {
      const s = await started({ rules: [{ on: 'frame', do: what, channel, after: 1, times: 1, account: 'we' }] })
      await until(() => s.of('reconnected').length === 1, 'connected')
      await s.trade()
      await s.trade()
      await until(() => s.of('missed').length >= 2, `${what}: lost and there again`)
      expect(s.of('missed').map((m) => m.reason)).toContain(`${channel} was subscribed anew`)
      await s.trade()
      await until(() => s.fills().at(-1) === s.truth().at(-1), 'fills go on')
      expect(s.of('down')).toEqual([])
    }
  })

  it('a frame that nobody can read is kept and counts as missed; three in a minute end the connection', async () => {
    const s = await started({ rules: [{ on: 'frame', do: 'corrupt', type: 'user_order', account: 'we' }] })
    await until(() => s.of('reconnected').length === 1, 'connected')
    // A frame may be damaged in a name alone: then nobody can tell.
    for (let i = 0; i < 20 && s.of('down').length === 0; i++) await s.trade()
    await until(() => s.of('reconnected').length === 2, 'connected again')
    expect(s.kept.filter((k) => k.where === 'private').length).toBeGreaterThanOrEqual(3)
    expect(s.of('missed').length).toBeGreaterThanOrEqual(3)
    expect(s.of('down')[0]?.reason).toBe('3 unreadable frames in a minute')
  })

  it('a half-open socket is no connection: it is dropped after its silence and another one is made', async () => {
    const s = await started({ rules: [{ on: 'frame', do: 'half-open', type: 'user_order', times: 1, account: 'we' }] }, 10)
    await until(() => s.of('reconnected').length === 1, 'connected')
    const since = performance.now()
    await s.trade()
    await until(() => s.of('reconnected').length === 2, 'connected again')
    expect(s.of('down')[0]?.reason).toBe('no sign of life')
    // 15 s at ten times the speed, and the way back.
    expect(performance.now() - since).toBeLessThan(6_000)
  })

  it('a key that is refused ends it with one sentence', async () => {
    const s = await started({ rules: [{ on: 'connect', do: 'status', status: 401 }] }, 10)
    await until(() => s.failure() !== null, 'the end')
    expect(String(s.failure())).toMatch(/refuses the private handshake \(401\): check the key/)
    expect(s.of('reconnected')).toEqual([])
  })
})

describe('the chain of positions', () => {
  const fill = (trade: string, side: 'bid' | 'ask', quantity: number, position: number | null, subaccount = 0): FillFact => ({
    trade,
    id: 'o',
    ticker: 'T',
    side,
    price: 5000,
    quantity,
    fee: 0,
    maker: true,
    timeVenue: 0,
    position,
    subaccount,
    shard: 0,
  })
  it('holds over both sides and subaccounts, and says each break once', () => {
    const chain = new PositionChain()
    chain.seed('T', 0, -100)
    expect(chain.fill(fill('1', 'bid', 300, 200)).broken).toBeNull()
    expect(chain.fill(fill('2', 'ask', 500, -300)).broken).toBeNull()
    expect(chain.fill(fill('3', 'bid', 100, 100, 7)).broken).toBeNull()
    expect(chain.fill(fill('2', 'ask', 500, -300))).toEqual({ twice: true, broken: null })
    expect(chain.fill(fill('5', 'bid', 100, -100)).broken).toBe('position of T is -1, its fills lead to -2')
    expect(chain.fill(fill('6', 'bid', 100, 0)).broken).toBeNull()
    chain.claim('T', 0, 0, 0)
    expect(chain.advance(2_000_000)).toBeNull()
    chain.claim('T', 0, 900, 0)
    expect(chain.advance(500_000)).toBeNull()
    expect(chain.advance(1_000_000)).toBe('position of T is 9, its fills lead to 0')
    expect(chain.advance(9_000_000)).toBeNull()
  })
})

describe('the reducer', () => {
  it('gives up a connection on which not every channel was confirmed', () => {
    const commands: PrivateCommand[] = []
    const core = new PrivateCore({ next: () => 0.5 }, { keep() {} }, (c) => void commands.push(c))
    core.start(1)
    core.opened(2)
    for (const [i, channel] of ['fill', 'user_orders', 'market_positions'].entries())
      core.frame(JSON.stringify({ type: 'subscribed', id: i + 1, msg: { channel, sid: i + 1 } }), 3)
    expect(core.whole).toBe(false)
    for (let now = 100_000; now < 30_000_000; now += 100_000) {
      core.heard(now)
      core.tick(now)
    }
    expect(commands.filter((c) => c.kind === 'tell').map((c) => c.event.type)).toEqual(['down'])
    expect(commands.filter((c) => c.kind === 'open').length).toBeGreaterThan(1)
  })
})
