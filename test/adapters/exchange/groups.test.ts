import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inProcess, market, order, T0, trader, type Json } from './support.ts'

/** Order groups: how much may trade in any fifteen seconds. */

const ORDERS = '/portfolio/events/orders'
const GROUPS = '/portfolio/order_groups'
const ioc = { time_in_force: 'immediate_or_cancel' }

function world() {
  const w = inProcess({}, [market('KXTEST-A'), market('KXTEST-B', { event: 'KXTEST-F', series: 'KXTESTF', exchangeIndex: 2 })])
  const [a, b] = [trader(w.x, 'a', 1000, 'prestige', 'ed25519', [0, 2]), trader(w.x, 'b', 1000, 'prestige', 'ed25519', [0, 2])]
  const create = (body: Json) => w.call(a, 'POST', `${GROUPS}/create`, body)
  const place = (group: string, more: Json = {}, side: 'bid' | 'ask' = 'bid', price = 5000, count = 100) =>
    w.call(a, 'POST', ORDERS, order(side, price, count, { order_group_id: group, ...more }))
  const hit = (count: number, price = 5000) => w.call(b, 'POST', ORDERS, order('ask', price, count, ioc)).body['fill_count']
  const heard = () => {
    const { session, frames, messages } = w.connect(a)
    session.receive(JSON.stringify({ id: 1, cmd: 'subscribe', params: { channels: ['order_group_updates', 'user_orders', 'fill'] } }))
    frames.length = 0
    return () =>
      messages().map((m) => [
        m['type'],
        m['msg'].event_type ?? m['msg'].last_update_reason ?? m['msg'].count_fp,
        m['msg'].contracts_limit_fp,
      ])
  }
  return { ...w, a, b, create, place, hit, heard }
}

describe('an order group', () => {
  it('triggers as it goes above its limit in fifteen seconds, tells its orders first and then itself, and takes none until it is reset', () => {
    const w = world()
    const messages = w.heard()
    const id = w.create({ contracts_limit: 3 }).body['order_group_id'] as string
    const resting = [w.place(id, {}, 'bid', 4000), w.place(id, {}, 'bid', 3000)].map((r) => r.body['order_id'] as string)
    for (const count of [200, 100]) {
      w.place(id, {}, 'bid', 5000, count)
      expect(w.hit(count)).toBe((count / 100).toFixed(2))
    }
    expect(w.call(w.a, 'GET', `${GROUPS}/${id}`).body['orders']).toEqual(resting)
    // What it takes counts as what it gives.
    w.call(w.b, 'POST', ORDERS, order('ask', 6000, 1))
    const before = messages().length
    w.place(id, ioc, 'bid', 6000, 1)
    expect(messages().slice(before)).toEqual([
      ['user_order', undefined, undefined],
      ['fill', '0.01', undefined],
      ['user_order', 'Trade', undefined],
      ['user_order', 'Decrease', undefined],
      ['user_order', 'Decrease', undefined],
      ['order_group_updates', 'triggered', undefined],
    ])
    for (const more of [{}, ioc]) {
      const refused = w.place(id, more)
      expect([refused.status, refused.body['error']['code']]).toEqual([409, 'exceeded_order_group_risk_limit'])
    }
    // Time alone does not bring it back; others trade on.
    w.stage.advance(T0 + 60_000_000)
    expect(w.place(id).status).toBe(409)
    expect(w.call(w.a, 'POST', ORDERS, order('bid', 2000, 100)).status).toBe(201)
    expect(w.call(w.a, 'PUT', `${GROUPS}/${id}/reset`, {}).status).toBe(200)
    const again = w.place(id).body['order_id'] as string
    expect(w.call(w.a, 'PUT', `${GROUPS}/${id}/trigger`, {}).status).toBe(200)
    expect(w.call(w.a, 'GET', `/portfolio/orders/${again}`).body['order']['status']).toBe('canceled')
    expect(w.call(w.a, 'PUT', `${GROUPS}/${id}/limit`, { contracts_limit_fp: '7.50' }).status).toBe(200)
    expect(w.place(id).status).toBe(409)
    w.call(w.a, 'PUT', `${GROUPS}/${id}/reset`, {})
    w.place(id)
    expect(w.call(w.a, 'DELETE', `${GROUPS}/${id}`).status).toBe(200)
    expect(w.place(id).body['error']['code']).toBe('order_group_not_found')
    const updates = messages().filter(([type]) => type === 'order_group_updates')
    expect(updates.map(([, event, limit]) => [event, limit])).toEqual([
      ['created', '3.00'],
      ['triggered', undefined],
      ['reset', undefined],
      ['triggered', undefined],
      ['limit_updated', '7.50'],
      ['reset', undefined],
      ['deleted', undefined],
    ])
    // A cancel of its own orders stands before each end.
    expect(messages().slice(-2)).toEqual([
      ['user_order', 'Decrease', undefined],
      ['order_group_updates', 'deleted', undefined],
    ])
  })

  it('is found on its own shard and in its own subaccount alone, and takes orders of these alone', () => {
    const w = world()
    w.call(w.a, 'POST', '/portfolio/subaccounts', {})
    const far = w.create({ contracts_limit: 5, exchange_index: 2 }).body
    const other = w.create({ contracts_limit: 5, subaccount: 1 }).body
    expect([far['exchange_index'], other['subaccount']]).toEqual([2, 1])
    const [id, second] = [far['order_group_id'] as string, other['order_group_id'] as string]
    for (const [method, path, body] of [
      ['PUT', '/limit', { contracts_limit: 4 }],
      ['PUT', '/trigger', {}],
      ['PUT', '/reset', {}],
      ['DELETE', '', undefined],
    ] as const) {
      const status = (group: string, query: string) => w.call(w.a, method, `${GROUPS}/${group}${path}${query}`, body).status
      expect([method, path, status(id, ''), status(id, '?exchange_index=0'), status(second, ''), status(second, '?subaccount=0')]).toEqual([
        method,
        path,
        404,
        404,
        404,
        404,
      ])
      if (method === 'DELETE') {
        const code = (r: { status: number; body: Json }) => [r.status, r.body['error']?.code]
        expect(code(w.place(id))).toEqual([404, 'order_group_not_found'])
        expect(code(w.place(second))).toEqual([404, 'order_group_not_found'])
        expect(w.place(id, { ticker: 'KXTEST-B' }).status).toBe(201)
        expect(w.call(w.a, 'GET', `${GROUPS}/${id}`).body['orders']).toHaveLength(1)
        expect((w.call(w.a, 'GET', GROUPS).body['order_groups'] as Json[]).map((g) => g['id'])).toEqual([id, second])
        expect((w.call(w.a, 'GET', `${GROUPS}?subaccount=1`).body['order_groups'] as Json[]).map((g) => g['id'])).toEqual([second])
      }
      expect([status(id, '?exchange_index=2'), status(second, '?subaccount=1')]).toEqual([200, 200])
    }
  })

  it('triggers exactly when the fills of some fifteen seconds sum to more than its limit, over any fills', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ wait: fc.constantFrom(0, 1, 1_000_000, 5_000_000, 14_999_999, 15_000_000), count: fc.integer({ min: 1, max: 300 }) }),
          {
            minLength: 1,
            maxLength: 15,
          },
        ),
        (fills) => {
          const w = world()
          const id = w.create({ contracts_limit: 5 }).body['order_group_id'] as string
          let done: { at: number; count: number }[] = []
          for (const { wait, count } of fills) {
            w.stage.advance(w.x.now + wait)
            w.place(id, {}, 'bid', 5000, count)
            w.hit(count)
            done = [...done.filter((f) => f.at > w.x.now - 15_000_000), { at: w.x.now, count }]
            const above = done.reduce((sum, f) => sum + f.count, 0) > 500
            expect(w.place(id, {}, 'bid', 100, 1).status).toBe(above ? 409 : 201)
            if (!above) continue
            w.call(w.a, 'PUT', `${GROUPS}/${id}/reset`, {})
            done = []
          }
        },
      ),
      { numRuns: 60 },
    )
  })
})
