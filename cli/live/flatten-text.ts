/** What `tapeline flatten` shows: the cost before, the fills after; and what a session leaves for it. Owns the words; hides nothing. Invariant: money is rounded against the reader. */
import type { SessionEnd } from '../../engine/session.ts'
import { tableText } from '../output.ts'
import type { FlattenPlan } from './flatten-plan.ts'
import type { FlattenData } from './flatten.ts'
import type { LivePlace } from './place.ts'

/** Dollars of a cost, rounded up to the cent. */
export function dollarsText(cost: number): string {
  return (Math.ceil(cost / 10_000) / 100).toFixed(2)
}
function gain(money: number | null): string {
  if (money === null) return 'n/a'
  const cents = Math.floor(money / 10_000)
  return `${cents < 0 ? '−' : '+'}${(Math.abs(cents) / 100).toFixed(2)}`
}
const price = (p: number): string => (p / 10_000).toFixed(4)
const contracts = (q: number): string => String(q / 100)

/** What is held when a session is over, by its own record; '' for nothing. What is determined pays by itself. */
export function heldText({ markets }: Pick<SessionEnd, 'markets'>, dir: string): string {
  const held = markets.filter((m) => m.position !== 0 && m.result === null)
  if (held.length === 0) return ''
  const list = held.map((m) => `${m.ticker} ${m.position > 0 ? 'YES' : 'NO'} ${contracts(Math.abs(m.position))}`).join(', ')
  return `STILL HELD, by its record: ${list}; npx tapeline flatten ${dir} closes ${held.length === 1 ? 'it' : 'them'}`
}

export function planText({ dir, environment, subaccount }: LivePlace, { markets, stuck, cost }: FlattenPlan, collar: number): string {
  const lines = [
    `FLATTEN ${dir} (${environment}, subaccount ${subaccount}): reduce-only, at once (what does not fill is dropped), no worse than ${(collar / 100).toFixed(0)} ¢ behind the touch`,
  ]
  if (markets.length === 0 && stuck.length === 0) lines.push('nothing is held')
  if (markets.length > 0)
    lines.push(
      tableText(
        ['market', 'position', 'does', 'touch', 'worst', 'there', 'fees', 'cost likely', 'at worst', 'result likely', 'at worst'],
        markets.map((m) => [
          m.ticker,
          contracts(m.position),
          `${m.side === 'ask' ? 'sell' : 'buy'} ${contracts(m.quantity)}`,
          price(m.touch),
          price(m.limit),
          contracts(m.within),
          dollarsText(m.worst.fees),
          dollarsText(m.likely.cost),
          dollarsText(m.worst.cost),
          gain(m.likely.result),
          gain(m.worst.result),
        ]),
      ),
      `at worst it costs $${dollarsText(cost)} against the middle of the books, fees included; likely $${dollarsText(markets.reduce((a, m) => a + m.likely.cost, 0))} for what stands there now`,
    )
  for (const { ticker, position, why } of stuck) lines.push(`not now   ${ticker} (${contracts(position)}): ${why}`)
  return lines.join('\n')
}

/** What is closed beyond what the session says that it holds: a subaccount has one position in a market, whoever made it. */
export function beyondText({ markets }: FlattenPlan, own: readonly { readonly market: string; readonly position: number }[]): string[] {
  const other = markets.filter((m) => Math.round((own.find((p) => p.market === m.ticker)?.position ?? 0) * 100) !== m.position)
  return other.length === 0
    ? []
    : [
        `NOTICE    not all of it is what the session last said to hold (${other
          .slice(0, 5)
          .map((m) => `${m.ticker} ${contracts(m.position)}, by the session ${own.find((p) => p.market === m.ticker)?.position ?? 0}`)
          .join('; ')}${other.length > 5 ? ` and ${other.length - 5} more` : ''}): the whole subaccount is closed`,
      ]
}

export function fillText({ dir }: LivePlace, { plan, orders, fills, left, log }: FlattenData): string {
  const rows = plan.markets.map((m) => {
    const own = fills.filter((f) => f.ticker === m.ticker)
    const quantity = own.reduce((a, f) => a + f.quantity, 0)
    const value = own.reduce((a, f) => a + f.price * f.quantity, 0)
    const words = orders
      .filter((o) => o.ticker === m.ticker)
      .map((o) => (o.outcome === 'acknowledged' ? 'taken' : `${o.outcome === 'unknown' ? 'UNKNOWN' : o.outcome}: ${o.reason ?? ''}`))
    return [
      m.ticker,
      `${m.side === 'ask' ? 'sold' : 'bought'} ${contracts(quantity)} of ${contracts(m.quantity)}`,
      quantity === 0 ? 'n/a' : price(value / quantity),
      dollarsText(own.reduce((a, f) => a + f.fee, 0)),
      left === null ? 'n/a' : contracts(left.find((h) => h.ticker === m.ticker)?.position ?? 0),
      [...new Set(words)].join(', '),
    ]
  })
  return [
    `${dir}: ${orders.length} orders sent${log === null ? '' : `, kept in ${log}`}`,
    tableText(['market', 'did', 'average', 'fees', 'left', 'orders'], rows),
  ].join('\n')
}
