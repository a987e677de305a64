import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  fillOfAnswer,
  fillOfStream,
  orderOfAnswer,
  orderOfStream,
  positionOfAnswer,
  readAll,
  settlementOfAnswer,
} from '../../../../adapters/kalshi/venue/facts.ts'
import { ENDPOINTS, type WireFill, type WireOrder } from '../../../../adapters/kalshi/wire/answers.ts'
import { readFrame } from '../../../../adapters/kalshi/wire/stream.ts'
import { order } from '../../exchange/support.ts'
import { inOne } from './support.ts'

const recorded = fileURLToPath(new URL('../../../../../shared/kalshi/recorded', import.meta.url))
const there = existsSync(recorded)

/** Two traders do this and that; everything the exchange then says of the first one, from all sides. */
async function life(seed: number) {
  const local = inOne()
  const { call, connect, trader, rest, x } = local
  const [we, other] = [trader('we'), trader('other')]
  const stream = connect(we)
  stream.session.receive(JSON.stringify({ id: 1, cmd: 'subscribe', params: { channels: ['fill', 'user_orders', 'market_positions'] } }))
  let n = seed
  const roll = (most: number): number => {
    n = (Math.imul(n, 1_103_515_245) + 12_345) >>> 0
    return (n >>> 8) % most
  }
  const ids: string[] = []
  for (let i = 0; i < 40; i++) {
    x.advance(x.now + 1_000_000)
    const who = roll(3) === 0 ? other : we
    const made = call(who, 'POST', '/portfolio/events/orders', order(roll(2) === 0 ? 'bid' : 'ask', 4000 + 100 * roll(20), 1 + roll(500)))
    if (made.status === 201 && who === we) ids.push(made.body['order_id'] as string)
    const id = ids[roll(ids.length || 1)]
    if (id !== undefined && roll(4) === 0) call(we, 'DELETE', `/portfolio/events/orders/${id}?market_ticker=KXTEST-A`)
  }
  x.advance(x.now + 1_000_000)
  return { ...local, we, reader: rest(we), messages: stream.frames.map((f) => readFrame(f.text)) }
}

describe('facts', () => {
  it('say the same from REST and from the stream, to the digit, and add up to the position', async () => {
    let fills = 0
    let canceled = 0
    for (let seed = 1; seed <= 20; seed++) {
      const { reader, messages } = await life(seed)
      const orders = (await reader.list<WireOrder>('orders', { limit: 1000 })).items.map((o) => orderOfAnswer(o).fact)
      const trades = (await reader.list<WireFill>('fills', { limit: 1000 })).items.map((f) => fillOfAnswer(f).fact)
      expect(orders).not.toContain(null)
      expect(trades).not.toContain(null)
      const told = new Map<string, unknown>()
      const heard: unknown[] = []
      let position = 0
      for (const frame of messages) {
        if (frame.kind !== 'message') throw new Error(`unreadable: ${JSON.stringify(frame)}`)
        const m = frame.message
        if (m.type === 'user_order') {
          const { fact } = orderOfStream(m.msg)
          if (fact === null) throw new Error('an order is unreadable')
          told.set(fact.id, { ...fact, reason: null, updated: null })
        }
        if (m.type === 'fill') {
          const { fact } = fillOfStream(m.msg)
          if (fact === null) throw new Error('a fill is unreadable')
          position += fact.side === 'bid' ? fact.quantity : -fact.quantity
          expect(fact.position).toBe(position)
          heard.push({ ...fact, position: null })
        }
      }
      expect(new Map(orders.map((o) => [o?.id, { ...o, updated: null }]))).toEqual(told)
      expect([...trades].reverse()).toEqual(heard)
      for (const o of orders) {
        const mine = trades.filter((t) => t?.id === o?.id)
        expect(mine.reduce((sum, t) => sum + (t?.quantity ?? 0), 0)).toBe(o?.filled)
        canceled += o?.status === 'canceled' ? 1 : 0
      }
      fills += trades.length
      const { market_positions: rows } = await reader.get('positions')
      expect(positionOfAnswer(rows[0] as (typeof rows)[0]).fact?.position ?? 0).toBe(position)
    }
    expect(fills).toBeGreaterThan(100)
    expect(canceled).toBeGreaterThan(20)
  })

  it('are null with why when a row contradicts itself or lacks what decides', async () => {
    const { reader } = await life(3)
    const o = (await reader.list<WireOrder>('orders', {})).items[0] as WireOrder
    const f = (await reader.list<WireFill>('fills', {})).items[0] as WireFill
    const wrongOrders: [Partial<WireOrder>, string][] = [
      [{ yes_price_dollars: '0.505050' }, 'its price is none'],
      [{ yes_price_dollars: '1.0000' }, 'its price is none'],
      [{ remaining_count_fp: '-1.00' }, 'a count of it is none'],
      [{ fill_count_fp: '1e2' }, 'a count of it is none'],
      [{ outcome_side: o.book_side === 'bid' ? 'no' : 'yes' }, 'contradict each other'],
      [{ order_id: '' }, 'no number'],
      [{ order_id: 'a/b?c' }, 'no number that can be named'],
      [{ last_update_time: 'yesterday' }, 'its time is none'],
      [{ status: 'resting', remaining_count_fp: '0.00' }, 'rests with nothing left'],
    ]
    for (const [wrong, why] of wrongOrders) {
      const reading = orderOfAnswer({ ...o, ...wrong })
      expect([reading.fact, reading.why]).toEqual([null, expect.stringContaining(why)])
    }
    const wrongFills: [Partial<WireFill>, string][] = [
      [{ count_fp: '0.00' }, 'its count is none'],
      [{ count_fp: 'NaN' }, 'its count is none'],
      [{ fee_cost: '0.0000001' }, 'its fee is none'],
      [{ created_time: null, ts: null }, 'its time is none'],
      [{ trade_id: '' }, 'no trade'],
      [{ order_id: '../x' }, 'no order that can be named'],
    ]
    for (const [wrong, why] of wrongFills) {
      const reading = fillOfAnswer({ ...f, ...wrong })
      expect([reading.fact, reading.why]).toEqual([null, expect.stringContaining(why)])
    }
    // A status, a side that nobody knows: the row does not even pass as one.
    for (const wrong of [{ status: 'sleeping' }, { book_side: 'middle' }])
      expect(ENDPOINTS.orders.check.is({ orders: [{ ...o, ...wrong }], cursor: '' })).toBe(false)
    expect(fillOfAnswer({ ...f, fee_cost: '-0.0002' }).fact?.fee).toBe(-200)
    expect(fillOfAnswer({ ...f, count_fp: 12.5, yes_price_dollars: 0.56 }).fact).toMatchObject({ quantity: 1250, price: 5600 })
  })

  it.skipIf(!there)(
    `can be read of every order, fill and position that was recorded${there ? '' : ' (skipped: no recorded answers on this machine)'}`,
    () => {
      const why: string[] = []
      let rows = 0
      const add = (file: string, facts: { readonly facts: readonly unknown[]; readonly why: string | null }): void => {
        rows += facts.facts.length
        if (facts.why !== null) why.push(`${file}: ${facts.why}`)
      }
      for (const file of readdirSync(recorded).filter((f) => f.endsWith('.json') && !f.endsWith('.meta.json'))) {
        const body: unknown = JSON.parse(readFileSync(join(recorded, file), 'utf8'))
        if (ENDPOINTS.orders.check.is(body)) add(file, readAll(body.orders, orderOfAnswer))
        if (ENDPOINTS.order.check.is(body)) add(file, readAll([body.order], orderOfAnswer))
        if (ENDPOINTS.fills.check.is(body)) add(file, readAll(body.fills, fillOfAnswer))
        if (ENDPOINTS.positions.check.is(body)) add(file, readAll(body.market_positions, positionOfAnswer))
      }
      expect(why).toEqual([])
      expect(rows).toBeGreaterThan(5)
    },
  )

  it('keep every digit', () => {
    const row = { ticker: 'T', market_result: 'scalar', settled_time: '2026-10-10T10:00:00Z', fee_cost: '0', no_count_fp: '0.00' } as const
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9_000_000_000 }), fc.integer({ min: 0, max: 100 }), (count, cents) => {
        const yes_count_fp = `${Math.floor(count / 100)}.${String(count % 100).padStart(2, '0')}`
        const { fact } = settlementOfAnswer({ ...row, yes_count_fp, value: cents, revenue: cents })
        return fact?.net === count && fact.value === cents * 100 && fact.revenue === cents * 10_000
      }),
    )
  })
})
