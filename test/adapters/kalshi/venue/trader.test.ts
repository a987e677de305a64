import { describe, expect, it } from 'vitest'
import { environmentOf } from '../../../../adapters/kalshi/environment.ts'
import type { HttpRequest, Socket, SocketEvents, Sockets } from '../../../../adapters/kalshi/ports.ts'
import { Budget } from '../../../../adapters/kalshi/rate-limit.ts'
import { Rest } from '../../../../adapters/kalshi/rest.ts'
import { Signer } from '../../../../adapters/kalshi/sign.ts'
import { cashOff } from '../../../../adapters/kalshi/venue/cash.ts'
import { KalshiTrader, type KeptInput } from '../../../../adapters/kalshi/venue/trader.ts'
import { Run } from '../../../../data/run.ts'
import { Engine } from '../../../../engine/engine.ts'
import type { News } from '../../../../engine/news.ts'
import { MINUTE, SECOND } from '../../../../engine/units.ts'
import { header } from '../../../support/session.ts'
import { T0 } from '../../exchange/support.ts'
import { inOne } from './support.ts'

const WIDE = { read: { perSecond: 1e6, capacity: 1e6 }, write: { perSecond: 1e6, capacity: 1e6 } }

/** A private stream on which nothing ever comes but what answers a subscription; it can be cut, and is not there as long as it is. */
class Silent implements Sockets {
  #events: SocketEvents | null = null
  #cut = false

  cut(): void {
    this.#cut = true
    this.#events?.closed({ code: 1006, reason: '', status: null })
  }
  back(): void {
    this.#cut = false
  }
  open(_url: string, _headers: unknown, events: SocketEvents): Socket {
    if (this.#cut) {
      queueMicrotask(() => events.closed({ code: null, reason: 'ECONNREFUSED', status: null }))
      return { send() {}, ping() {}, destroy() {}, waiting: 0 }
    }
    this.#events = events
    let sids = 0
    queueMicrotask(() => events.opened())
    const send = (text: string): void => {
      const { id, params } = JSON.parse(text) as { id: number; params: { channels?: string[] } }
      for (const channel of params.channels ?? [])
        queueMicrotask(() => events.frame(JSON.stringify({ id, type: 'subscribed', msg: { channel, sid: ++sids } })))
    }
    return { send, ping: () => events.heard(), destroy() {}, waiting: 0 }
  }
}

/** A session that sends nothing. Without `sockets` its private stream never opens. */
function sessions({
  sockets = { open: () => ({ send() {}, ping() {}, destroy() {}, waiting: 0 }) },
  delay = 0,
}: {
  sockets?: Sockets /** µs of each answer. */
  delay?: number
} = {}) {
  const s = inOne({ readLag: 350_000 })
  const we = s.trader('we')
  const log: KeptInput[] = []
  const said: string[] = []
  const environment = environmentOf('http://127.0.0.1:1')
  const http = {
    request: async (request: HttpRequest) => {
      if (delay > 0) await new Promise<void>((resolve) => void s.world.timers.after(delay, resolve))
      return s.world.http.request(request)
    },
  }
  const world = { ...s.world, sockets, http }
  const begin = (generation: number) => {
    let trader: KalshiTrader | null = null
    const venue = { onTape: null, connect() {}, send: () => 0 }
    const live = { ...header(), mode: 'live' as const, live: { nonce: 'we', environment: 'local', subaccount: 0 }, strategies: [] }
    const engine = new Engine({ header: live, strategies: [], venue, sink: new Run() })
    const desk = {
      generation,
      engine,
      record: (kind: string, detail: unknown) => log.push({ time: s.x.now, kind, detail: JSON.parse(JSON.stringify(detail)) as unknown }),
      sync: () => Promise.resolve(),
      synced: () => log.length,
      enter: (news: News) => {
        if (news.type !== 'agreed' && news.type !== 'disagreed') return
        engine.session.move(news.type, s.x.now)
        log.push({ time: s.x.now, kind: 'word', detail: news.type })
      },
      say: (text: string) => void said.push(text),
      fail: (error: unknown) => {
        throw error
      },
    }
    trader = new KalshiTrader(
      {
        environment,
        signer: Signer.fromPem(we.keyId, we.privatePem),
        rest: new Rest(environment, Signer.fromPem(we.keyId, we.privatePem), new Budget(WIDE), world),
        budget: new Budget(WIDE),
        world,
        desk,
        killed: () => null,
        holdsLock: () => true,
        shardOf: () => 0,
      },
      {
        nonce: 'we',
        subaccount: 0,
        start: T0,
        groupLimit: 0,
        caps: { orderMax: 1, notionalMax: 1, collar: 1, ordersPerSecond: 1, ordersOpen: 1 },
      },
    )
    engines.push(engine)
    return trader
  }
  const engines: Engine[] = []
  const kinds = (kind: string): unknown[] => log.filter((l) => l.kind === kind).map((l) => l.detail)
  return { ...s, we, log, said, begin, kinds, engines }
}

describe('who trades for a session', () => {
  it('accepts a difference in cash to its last digit alone, and a restart knows of it; it reads on from where fills are known', async () => {
    const s = sessions()
    const first = s.begin(0)
    await first.start()
    await s.run(10 * SECOND)
    expect(first.reconciled?.outcome).toBe('agreed')
    s.we.account.move(0, 0, -25_000_000, s.x.now)
    await s.run(2 * MINUTE)
    expect([first.reconciled?.outcome, [...cashOff(first.reconciled)]]).toEqual(['disagreed', [[0, -25_000_000]]])
    expect(first.acceptCash({ shards: [[0, -24_000_000]], reason: 'rent' })).toMatch(/^the cash of shard 0 differs by -25\.000000 by now/)
    expect(first.acceptCash({ shards: [[0, -25_000_000]], reason: 'rent' })).toBeNull()
    await s.run(10 * SECOND)
    expect(first.reconciled).toMatchObject({ outcome: 'agreed', differences: [] })
    expect(s.kinds('cash-accepted')).toEqual([{ shards: [[0, -25_000_000]], reason: 'rent' }])
    // Nothing of it is accepted twice.
    expect(first.acceptCash({ shards: [[0, -25_000_000]], reason: 'rent' })).toMatch(/differs by 0\.000000 by now/)
    await s.run(3 * MINUTE)
    await first.stop()

    const marks = s.kinds('watermark') as { time: number }[]
    expect(marks.length).toBeGreaterThanOrEqual(3)
    expect(marks.length).toBeLessThanOrEqual(7)
    const known = marks.at(-1)?.time ?? 0
    s.requests.length = 0
    const second = s.begin(1)
    second.restore([...s.log])
    await second.start()
    await s.run(10 * SECOND)
    expect(second.reconciled).toMatchObject({ outcome: 'agreed', differences: [], baseline: null })
    const from = s.requests.filter((r) => r.path.startsWith('/portfolio/fills')).map((r) => Number(/min_ts=(\d+)/.exec(r.path)?.[1]))
    expect(Math.min(...from)).toBe(Math.floor((known - MINUTE) / 1e6))
    await second.stop()
  })
  it('asks the exchange anew where the session doubts by itself, and lets it trade again, once', async () => {
    const s = sessions({ sockets: new Silent() })
    const t = s.begin(0)
    await t.start()
    await s.run(10 * SECOND)
    const session = (s.engines[0] as Engine).session
    expect([session.agreed, s.kinds('reconciled').length]).toEqual([true, 1])
    // As it does when it hears of a fill in a market that it does not have.
    session.move('disagreed', s.x.now)
    await s.run(10 * SECOND)
    expect(session.agreed).toBe(true)
    await s.run(30 * SECOND)
    expect([session.agreed, s.kinds('reconciled').length]).toEqual([true, 2])
    await t.stop()
  })
  it('that was deaf for a while, or from the start, compares anew before it may trade, however slow the answers are', async () => {
    // With the last it can hear again in the middle of a reading.
    for (const delay of [0, 60_000, 200_000])
      for (const early of [false, true]) {
        const sockets = new Silent()
        const s = sessions({ sockets, delay })
        const t = s.begin(0)
        if (early) sockets.cut()
        await t.start()
        await s.run(15 * SECOND)
        expect([delay, early, s.engines[0]?.session.agreed]).toEqual([delay, early, !early])
        if (!early) sockets.cut()
        await s.run(40 * SECOND)
        expect(s.engines[0]?.session.agreed).toBe(false)
        // Nobody asks again and again while nothing can be heard.
        const asked = s.kinds('reconciled').filter((d) => (d as { cause: string }).cause === 'asked')
        expect([delay, early, asked]).toEqual([delay, early, []])
        sockets.back()
        await s.run(40 * SECOND)
        expect(s.engines[0]?.session.agreed).toBe(true)
        // The word follows the comparison that began after it could hear again.
        expect(s.kinds('word')).toEqual(early ? ['agreed'] : ['agreed', 'disagreed', 'agreed'])
        const compared = s.log.findLastIndex((l) => l.kind === 'reconciled' && (l.detail as { cause: string }).cause === 'reconnected')
        expect([delay, early, s.log.findLastIndex((l) => l.kind === 'word') > compared]).toEqual([delay, early, true])
        expect(s.log[compared]?.time).toBeGreaterThan(T0 + 55 * SECOND)
        await t.stop()
      }
  })
})
