/** Order groups (api.md §4.7): a limit on contracts filled in any 15 seconds. Owns their counters; invariant: a triggered group holds no resting order. */
import { SECOND } from '../../engine/units.ts'
import type { Account, OrderGroup } from './account.ts'
import type { Exchange } from './exchange.ts'
import type { GroupEvent } from './outlet.ts'
import { refuse } from './refusal.ts'

const WINDOW = 15 * SECOND
const GROUPS_MAX = 100_000

/** Counts a fill (0: none); true when the sum of the window is above the limit. */
export function groupHit(group: OrderGroup, now: number, quantity: number): boolean {
  const { fills } = group
  while (fills.length > 0 && (fills[0] as [number, number])[0] <= now - WINDOW) fills.shift()
  if (quantity > 0) fills.push([now, quantity])
  let sum = 0
  for (const [, q] of fills) sum += q
  return sum > group.limit
}

export class Groups {
  readonly #x: Exchange
  constructor(exchange: Exchange) {
    this.#x = exchange
  }

  create(account: Account, limit: number, subaccount: number, exchangeIndex: number): OrderGroup {
    if (account.groups.size >= GROUPS_MAX) throw refuse(400, 'invalid_parameters', 'too many order groups')
    const group: OrderGroup = { id: this.#x.ids.next('group'), subaccount, exchangeIndex, limit, triggered: false, fills: [] }
    account.groups.set(group.id, group)
    this.#x.outlet.group(account, group, 'created')
    return group
  }
  limit(account: Account, group: OrderGroup, limit: number): void {
    group.limit = limit
    this.#x.outlet.group(account, group, 'limit_updated')
    if (!group.triggered && groupHit(group, this.#x.now, 0)) this.trigger(account, group)
  }
  reset(account: Account, group: OrderGroup): void {
    group.triggered = false
    group.fills.length = 0
    this.#x.outlet.group(account, group, 'reset')
  }
  trigger(account: Account, group: OrderGroup): void {
    group.triggered = true
    this.#cancelAll(account, group, 'triggered')
  }
  delete(account: Account, group: OrderGroup): void {
    account.groups.delete(group.id)
    this.#cancelAll(account, group, 'deleted')
  }
  /** Its orders go first, then it is told why. */
  #cancelAll(account: Account, group: OrderGroup, event: GroupEvent): void {
    const { trading, outlet } = this.#x
    trading.operate(null, () => {
      for (const order of account.resting) if (order.group === group.id) trading.remove(order, 'Decrease')
      trading.say(() => outlet.group(account, group, event))
    })
  }
}
