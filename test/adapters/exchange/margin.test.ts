import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inProcess, market, order, trader, type Json, type Trader } from './support.ts'

/** Money is there for every trade: nothing leaves cash below zero, whatever resting orders set aside. */

const ORDERS = '/portfolio/events/orders'
type World = ReturnType<typeof inProcess>
const create = (w: World, who: Trader, o: Json) => w.call(who, 'POST', ORDERS, o)
const ioc = { time_in_force: 'immediate_or_cancel' }
const watch = (w: World, who: Trader) => {
  const { session, frames, messages } = w.connect(who)
  session.receive(JSON.stringify({ id: 1, cmd: 'subscribe', params: { channels: ['user_orders'] } }))
  frames.length = 0
  return () => messages().map(({ msg }) => [msg.status, msg.last_update_reason, msg.fill_count_fp, msg.remaining_count_fp])
}

describe('MarginCancel', () => {
  it('ends a resting order that cannot be paid when it would trade; the taker goes on to the next', () => {
    const w = inProcess({ restingReserve: 'none' })
    const [poor, rich, taker] = [trader(w.x, 'poor', 10), trader(w.x, 'rich'), trader(w.x, 'taker')]
    // Nothing is set aside: each of the three could be paid alone.
    const ids = [5000, 4900, 4800].map((p) => create(w, poor, order('bid', p, 1500)).body['order_id'] as string)
    create(w, rich, order('bid', 4700, 1000))
    const heard = watch(w, poor)
    const sold = create(w, taker, order('ask', 4700, 3000, ioc))
    // 15 at 0.50 leave 2.50 dollars; the other two want 7.35 and 7.20 and end; ten are left for the rich one.
    expect([sold.body['fill_count'], sold.body['average_fill_price']]).toEqual(['25.00', '0.4880'])
    expect(heard()).toEqual([
      ['executed', 'Trade', '15.00', '0.00'],
      ['canceled', 'MarginCancel', '0.00', '0.00'],
      ['canceled', 'MarginCancel', '0.00', '0.00'],
    ])
    const states = ids.map((id) => w.call(poor, 'GET', `/portfolio/orders/${id}`).body['order']['status'] as string)
    expect(states).toEqual(['executed', 'canceled', 'canceled'])
    expect(w.call(poor, 'GET', '/portfolio/balance').body['balance_dollars']).toBe('2.5000')
    expect(w.call(null, 'GET', '/markets/KXTEST-A/orderbook').body['orderbook_fp']).toEqual({ yes_dollars: [], no_dollars: [] })
    expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
  })

  it('does not let a fill-or-kill count on what nobody pays', () => {
    const w = inProcess({ restingReserve: 'none' })
    const [poor, taker] = [trader(w.x, 'poor', 10), trader(w.x, 'taker')]
    create(w, poor, order('bid', 5000, 1900))
    create(w, poor, order('bid', 1000, 100))
    create(w, taker, order('ask', 9000, 100))
    create(w, poor, order('bid', 9000, 100, ioc))
    const fok = create(w, taker, order('ask', 5000, 1900, { time_in_force: 'fill_or_kill' }))
    expect([fok.status, fok.body['error']['code']]).toEqual([409, 'fill_or_kill_insufficient_resting_volume'])
  })

  it('lets a reduce-only order close; what its way out leaves uncovered ends when it would trade', () => {
    const w = inProcess()
    const [a, b] = [trader(w.x, 'a', 10), trader(w.x, 'b')]
    create(w, b, order('ask', 5000, 1900))
    create(w, a, order('bid', 5000, 1900, ioc))
    // Its own resting way out sets nothing aside, because it closes.
    const out = create(w, a, order('ask', 5200, 1900)).body['order_id'] as string
    create(w, b, order('bid', 4000, 1900))
    const closed = create(w, a, order('ask', 4000, 1900, { ...ioc, reduce_only: true }))
    expect(closed.body['fill_count']).toBe('19.00')
    const heard = watch(w, a)
    // Now 19 NO at 0.48 would cost 9.12, and there are 7.4 dollars.
    expect(create(w, b, order('bid', 5200, 1900, ioc)).body['fill_count']).toBe('0.00')
    expect(heard()).toEqual([['canceled', 'MarginCancel', '0.00', '0.00']])
    expect(w.call(a, 'GET', `/portfolio/orders/${out}`).body['order']['status']).toBe('canceled')
    expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
  })

  it('refuses a reduce-only order whose collateral was given back and spent', () => {
    const w = inProcess({}, [
      ...['A', 'B'].map((n) => market(`KXTEST-${n}`, { exclusive: true })),
      market('KXFAR-A', { event: 'KXFAR-E', series: 'KXFAR', exclusive: true, exchangeIndex: 2 }),
    ])
    const [a, b] = [13, 1000].map((dollars, n) => trader(w.x, `t${n}`, dollars, 'prestige', 'ed25519', [0, 2])) as [Trader, Trader]
    // A position on the other shard, and plenty of money there.
    a.account.move(0, 2, 900_000_000, w.x.now)
    a.account.deposited += 900_000_000
    create(w, b, order('bid', 4000, 100, { ticker: 'KXFAR-A' }))
    create(w, a, order('ask', 4000, 100, { ticker: 'KXFAR-A', ...ioc }))
    w.call(a, 'PUT', '/portfolio/subaccounts/netting', { subaccount_number: 0, enabled: true })
    for (const n of ['A', 'B']) {
      create(w, b, order('bid', 4000, 1000, { ticker: `KXTEST-${n}` }))
      create(w, a, order('ask', 4000, 1000, { ticker: `KXTEST-${n}`, ...ioc }))
    }
    w.call(a, 'POST', '/portfolio/subaccounts', {})
    const spend = { client_transfer_id: 's', from_subaccount: 0, to_subaccount: 1, amount_cents: 900 }
    expect(w.call(a, 'POST', '/portfolio/subaccounts/transfer', spend).status).toBe(200)
    create(w, b, order('ask', 4000, 1000))
    const back = create(w, a, order('bid', 4000, 1000, { ...ioc, reduce_only: true }))
    expect([back.status, back.body['error']['code']]).toEqual([400, 'insufficient_balance'])
    // Switched off it would have to be paid back too, on its own shard: money elsewhere does not help.
    const off = w.call(a, 'PUT', '/portfolio/subaccounts/netting', { subaccount_number: 0, enabled: false })
    expect([off.status, off.body['error']['code']]).toEqual([400, 'insufficient_balance'])
    expect(a.account.cash(0, 0)).toBeGreaterThanOrEqual(0)
    expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
  })
})

describe('properties', () => {
  const action = fc.record({
    who: fc.nat(2),
    kind: fc.integer({ min: 0, max: 99 }),
    side: fc.constantFrom('bid', 'ask' as const),
    price: fc.integer({ min: 1, max: 999 }).map((p) => p * 10),
    near: fc.nat(9).map((n) => n > 0),
    count: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 300, max: 1300 })),
    pick: fc.nat(50),
    tif: fc.constantFrom('good_till_canceled', 'good_till_canceled', 'immediate_or_cancel', 'fill_or_kill'),
    maker: fc.boolean(),
    reduce: fc.boolean(),
    subaccount: fc.nat(1),
  })

  it('cash never goes below zero and money adds up, over any orders of poor accounts, in both ways of setting aside', () => {
    const seen = { canceled: 0, closing: 0, fills: 0 }
    fc.assert(
      fc.property(
        fc.array(action, { minLength: 80, maxLength: 140 }),
        fc.constantFrom('sum', 'none' as const),
        (actions, restingReserve) => {
          const tickers = ['KXTEST-A', 'KXTEST-B', 'KXTEST-C']
          const w = inProcess(
            { restingReserve },
            tickers.map((t, n) =>
              market(t, {
                event: n < 2 ? 'KXTEST-E' : 'KXTEST-F',
                exclusive: n < 2,
                grid: [{ start: 0, end: 10_000, step: 10 }],
                fee: { type: 'quadratic_with_maker_fees', multiplier: 10_000 },
              }),
            ),
          )
          const traders = [trader(w.x, 'a', 12), trader(w.x, 'b', 12), trader(w.x, 'c', 300)]
          const heard = traders.map((t) => watch(w, t))
          let ids = 0
          for (const t of traders) {
            w.call(t, 'POST', '/portfolio/subaccounts', {})
            const half = { from_subaccount: 0, to_subaccount: 1, amount_cents: 500, client_transfer_id: 'half' }
            w.call(t, 'POST', '/portfolio/subaccounts/transfer', half)
          }
          for (const s of actions) {
            const who = traders[s.who] as Trader
            const resting = [...who.account.resting]
            const target = resting[s.pick % Math.max(1, resting.length)]
            const price = s.near ? 4900 + (s.price % 200) : s.price
            const body = order(s.side, price, s.who === 2 ? 3 * s.count : s.count, {
              ticker: tickers[s.pick % 3],
              client_order_id: `p${ids++}`,
              time_in_force: s.tif,
              self_trade_prevention_type: s.maker ? 'maker' : 'taker_at_cross',
              reduce_only: s.reduce && s.tif === 'immediate_or_cancel',
              subaccount: s.subaccount,
            })
            w.stage.advance(w.x.now + 50_000)
            if (s.kind < 75 || target === undefined) {
              const { status } = create(w, who, body)
              if (status === 201 && body['reduce_only'] === true) seen.closing++
            } else if (s.kind < 85) {
              w.call(who, 'POST', `${ORDERS}/${target.id}/amend?subaccount=${target.subaccount}`, {
                ticker: target.market.ticker,
                side: target.side === 0 ? 'bid' : 'ask',
                price: body['price'],
                count: ((target.filled + s.count) / 100).toFixed(2),
              })
            } else if (s.kind < 89)
              w.call(who, 'DELETE', `${ORDERS}/${target.id}?subaccount=${target.subaccount}&market_ticker=${target.market.ticker}`)
            else if (s.kind < 94)
              w.call(who, 'PUT', '/portfolio/subaccounts/netting', { subaccount_number: s.subaccount, enabled: s.maker })
            else if (s.kind < 97) {
              const [from, to] = s.maker ? [0, 1] : [1, 0]
              const transfer = { from_subaccount: from, to_subaccount: to, amount_cents: s.count, client_transfer_id: `t${ids++}` }
              w.call(who, 'POST', '/portfolio/subaccounts/transfer', transfer)
            } else w.x.eventFee('KXTEST-E', { type: 'quadratic_with_maker_fees', multiplier: s.maker ? 40_000 : 5_000 })
            expect(w.x.audit()).toEqual({ money: 0, positions: 0 })
            for (const t of traders) for (const sub of [0, 1]) expect(t.account.cash(sub, 0)).toBeGreaterThanOrEqual(0)
            for (const m of w.x.markets.values()) expect(m.shown.crossed).toBe(false)
          }
          for (const h of heard) for (const [, reason] of h()) if (reason === 'MarginCancel') seen.canceled++
          for (const t of traders) {
            seen.fills += t.account.view.fills.length
          }
        },
      ),
      { numRuns: 30 },
    )
    // It met what it is about.
    expect(seen.canceled + seen.closing).toBeGreaterThan(30)
    expect(seen.fills).toBeGreaterThan(300)
  })
})
