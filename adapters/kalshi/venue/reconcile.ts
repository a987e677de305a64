/**
 * Our books against the exchange's: orders, positions, settlements, cash by shard. Owns what counts as equal and the words for what is not; hides nothing. Pure. Invariants: what was not read whole, is older
 * than our last news, or was read while something happened is not judged; nothing is changed to make books agree.
 */
import { formatMoney, formatPrice, formatQuantity, MINUTE, PRICE_ONE, SECOND } from '../../../engine/units.ts'
import type { FillFact, OrderFact } from './evidence.ts'
import type { PositionFact, SettlementFact } from './facts.ts'

export type OurOrder = {
  readonly id: string
  readonly ticker: string
  readonly side: 'bid' | 'ask'
  readonly price: number
  readonly remaining: number
}
/** A market that our books have paid: `net` contracts at `value`, `paid` of Money (what a short had locked included). */
export type OurPayment = { readonly net: number; readonly value: number; readonly paid: number; readonly at: number }
export type OurView = {
  /** Orders that rest, as we believe. */
  readonly orders: readonly OurOrder[]
  /** Markets with an order on its way, being changed, or unknown: their orders are not judged, nor their position and the cash that it would move. */
  readonly moving: ReadonlySet<string>
  /** Whether an order was sent by this session (its client order id). */
  readonly isOurs: (order: OrderFact) => boolean
  /** Σ fills by market, those of nobody's order included, of markets that have not paid. Signed. */
  readonly positions: ReadonlyMap<string, number>
  readonly paid: ReadonlyMap<string, OurPayment>
  readonly shardOf: (ticker: string) => number
  /** Σ of all changes of cash since the start, by shard. */
  readonly cash: ReadonlyMap<number, number>
  /** What our own orders set aside, by shard, fees included. */
  readonly reserved: ReadonlyMap<number, number>
  /** When the last private message, answer or fill came: by the exchange's time, and by our clock. */
  readonly eventVenue: number
  readonly eventAt: number
  /** The same by market, of late. */
  readonly newsOf?: ReadonlyMap<string, { readonly at: number; readonly venue: number }>
  /** Whether a trade of the account is in our books. */
  readonly isBooked?: (ticker: string, trade: string) => boolean
  /** By how much our cash was another at the moments of the last half minute, by shard: what the exchange shows may be as old. */
  readonly cashBefore?: ReadonlyMap<number, readonly number[]>
}
export type TheirView = {
  readonly started: number
  readonly ended: number
  readonly asOf: number | null
  /** Everything that rests, all positions that are not settled, settlements since the start, balances. Null: not read whole. */
  readonly orders: readonly OrderFact[] | null
  readonly positions: readonly PositionFact[] | null
  readonly settlements: readonly SettlementFact[] | null
  readonly cash: ReadonlyMap<number, number> | null
  /** Fills since the start, read last; null: not readable. Absent: not asked for. */
  readonly fills?: readonly FillFact[] | null
  readonly why: readonly string[]
}
/** What was there before the session: plain JSON, so that a restart goes on from it. */
export type Baseline = {
  readonly time: number
  readonly orders: readonly string[]
  readonly positions: readonly (readonly [string, number])[]
  readonly cash: readonly (readonly [number, number])[]
  /** What orders from before set aside, by shard, at the most. */
  readonly reserved: readonly (readonly [number, number])[]
}
/** Whether `balance` counts what resting orders set aside (api.md §4.10 leaves it open); null: nothing has told yet. */
export type CashReading = 'gross' | 'net' | null

export type DifferenceKind =
  | 'foreign-order'
  | 'foreign-position'
  | 'order-gone'
  | 'order-unknown'
  | 'order-differs'
  | 'position'
  | 'settlement'
  | 'settlement-missing'
  | 'settlement-unheard'
  | 'cash'
export type Difference = {
  readonly kind: DifferenceKind
  /** What it is about: an order, a market, a shard. The same one twice counts. */
  readonly key: string
  readonly ticker: string | null
  readonly shard: number | null
  readonly ours: string
  readonly theirs: string
  readonly explanation: string
}
export type Comparison =
  | { readonly judged: false; readonly why: string }
  | {
      readonly judged: true
      readonly differences: readonly Difference[]
      readonly notes: readonly string[]
      readonly reading: CashReading
      /** Markets that were not compared: something happened in them just now. */
      readonly busy: ReadonlySet<string>
    }

export const QUIET = 2 * SECOND
/** The exchange's data must be this much newer than our last news. */
export const FRESH = SECOND
/** A payment and its settlement row may be this far apart. */
const SETTLEMENT_WAIT = 10 * MINUTE
/** Balances carry four decimals: what lies below is cut, then and now. */
const BALANCE_GRID = 100
const CENT = 10_000

/** Why it cannot be judged as a whole; null: it can. */
export function unfit(ours: OurView, theirs: TheirView): string | null {
  return unread(theirs) ?? restless(ours, theirs)
}
function unread(theirs: TheirView): string | null {
  const missing = (['orders', 'positions', 'settlements', 'cash'] as const).filter((name) => theirs[name] === null)
  if (missing.length > 0)
    return `not readable: ${missing.join(', ')}${theirs.why.length === 0 ? '' : ` (${theirs.why.join('; ').slice(0, 300)})`}`
  return theirs.asOf === null ? "not readable: the exchange's data time stamp" : null
}
function restless({ eventAt, eventVenue }: Pick<OurView, 'eventAt' | 'eventVenue'>, { started, asOf }: TheirView): string | null {
  if (eventAt > started - QUIET) return 'not quiet: something happened less than 2 s before, or while it was read'
  const behind = eventVenue + FRESH - (asOf ?? 0)
  return behind > 0 ? `lagging: the exchange's data is ${(behind / 1e6).toFixed(1)} s behind our last news` : null
}
/** Markets whose news is too young to be compared; null: that is not known market by market. */
function busyOf(ours: OurView, theirs: TheirView): ReadonlySet<string> | null {
  if (restless(ours, theirs) === null) return new Set()
  if (ours.newsOf === undefined) return null
  const busy = new Set<string>()
  for (const [ticker, { at, venue }] of ours.newsOf) if (restless({ eventAt: at, eventVenue: venue }, theirs) !== null) busy.add(ticker)
  return busy
}

/** Why the beginning cannot be fixed yet: a fill of the session's time that our books do not have would count twice, once it is heard of. */
export function unheard(ours: OurView, theirs: TheirView): string | null {
  if (theirs.fills === null) return 'not readable: fills'
  const fill = theirs.fills?.find((f) => ours.isBooked?.(f.ticker, f.trade) === false)
  return fill === undefined ? null : `trade ${fill.trade} in ${fill.ticker} is not booked yet`
}

/** What is there and not in our books: the session may have booked fills of the account before the first whole reading. Call only with a view that is fit. */
export function baselineOf(ours: OurView, theirs: TheirView): Baseline {
  const foreign = (theirs.orders ?? []).filter((o) => !ours.isOurs(o))
  const there = new Map((theirs.positions ?? []).map((p) => [p.ticker, p.position]))
  const baseline = {
    time: theirs.ended,
    orders: foreign.map((o) => o.id),
    positions: [...new Set([...there.keys(), ...ours.positions.keys()])]
      .map((ticker) => [ticker, (there.get(ticker) ?? 0) - (ours.positions.get(ticker) ?? 0)] as const)
      .filter(([, position]) => position !== 0),
    cash: [],
    reserved: [...costByShard(foreign)],
  }
  const { corrections } = compareMarkets(baseline, ours, theirs, new Set(), [], [])
  const cash = [...(theirs.cash ?? [])].map(
    ([shard, money]) => [shard, money - (ours.cash.get(shard) ?? 0) - (corrections.get(shard) ?? 0)] as const,
  )
  return { ...baseline, cash }
}

/** What the baseline holds, as differences: shown once, and the reason why its markets are halted. */
export function foreignOf(baseline: Baseline, theirs: TheirView): readonly Difference[] {
  const before = new Set(baseline.orders)
  const earlier = { ours: 'none', explanation: 'from before the session: it is not adopted' }
  const shards = new Map((theirs.positions ?? []).map((p) => [p.ticker, p.shard]))
  return [
    ...(theirs.orders ?? [])
      .filter((o) => before.has(o.id))
      .map(
        (o) =>
          ({ kind: 'foreign-order', key: `order/${o.id}`, ticker: o.ticker, shard: o.shard, theirs: sayOrder(o), ...earlier }) as const,
      ),
    ...baseline.positions.map(
      ([ticker, position]) =>
        ({
          kind: 'foreign-position',
          key: `position/${ticker}`,
          ticker,
          shard: shards.get(ticker) ?? 0,
          theirs: signed(position),
          ...earlier,
        }) as const,
    ),
  ]
}

export function compare(baseline: Baseline, ours: OurView, theirs: TheirView, reading: CashReading, netting = false): Comparison {
  const busy = busyOf(ours, theirs)
  const why = unread(theirs) ?? (busy === null ? restless(ours, theirs) : null)
  if (why !== null || busy === null) return { judged: false, why: why ?? '' }
  const differences: Difference[] = []
  const notes: string[] = []
  compareOrders(baseline, ours, theirs.orders ?? [], busy, differences, notes)
  const moved = compareMarkets(baseline, ours, theirs, busy, differences, notes)
  if (netting) notes.push('cash is not compared: collateral return is on, the exchange frees cash across the markets of an event')
  const known = netting ? reading : compareCash(baseline, ours, theirs, moved, busy, reading, differences, notes)
  return { judged: true, differences, notes, reading: known, busy }
}

function compareOrders(
  b: Baseline,
  ours: OurView,
  list: readonly OrderFact[],
  busy: ReadonlySet<string>,
  differences: Difference[],
  notes: string[],
): void {
  const before = new Set(b.orders)
  const theirs = new Map(list.map((o) => [o.id, o]))
  const known = new Set(ours.orders.map((o) => o.id))
  const shard = (ticker: string): number => ours.shardOf(ticker)
  for (const o of ours.orders) {
    if (ours.moving.has(o.ticker) || busy.has(o.ticker)) continue
    const there = theirs.get(o.id)
    const about = { key: `order/${o.id}`, ticker: o.ticker, shard: shard(o.ticker), ours: sayOrder(o) }
    if (there === undefined)
      differences.push({
        kind: 'order-gone',
        ...about,
        theirs: 'not resting',
        explanation: 'canceled or filled, and we have not heard of it',
      })
    else if (there.ticker !== o.ticker || there.side !== o.side || there.price !== o.price || there.remaining !== o.remaining)
      differences.push({
        kind: 'order-differs',
        ...about,
        theirs: `${there.ticker === o.ticker ? '' : `${there.ticker} `}${sayOrder(there)}`,
        explanation:
          there.remaining < o.remaining
            ? 'filled or decreased, and we have not heard of it'
            : 'changed by somebody else, or a change of ours that we take for failed',
      })
  }
  for (const o of list) {
    if (known.has(o.id)) continue
    const mine = ours.isOurs(o)
    if (mine && (ours.moving.has(o.ticker) || busy.has(o.ticker))) continue
    const earlier = before.has(o.id)
    if (earlier) notes.push(`order ${o.id} in ${o.ticker} is from before the session: ${sayOrder(o)}`)
    else
      differences.push({
        kind: mine ? 'order-unknown' : 'foreign-order',
        key: `order/${o.id}`,
        ticker: o.ticker,
        shard: o.shard,
        ours: mine ? 'not resting' : 'none',
        theirs: sayOrder(o),
        explanation: mine
          ? 'an order of ours that we take for gone'
          : 'not sent by this session: another program, the website, or a key that somebody else has',
      })
  }
}

/** Positions and settlements. Returns by how much the exchange's cash differs from ours because of them, by shard, and the shards of which that cannot be said. */
function compareMarkets(
  b: Baseline,
  ours: OurView,
  theirs: TheirView,
  busy: ReadonlySet<string>,
  differences: Difference[],
  notes: string[],
): { readonly corrections: ReadonlyMap<number, number>; readonly unsure: ReadonlySet<number> } {
  const corrections = new Map<number, number>()
  const unsure = new Set<number>()
  const before = new Map(b.positions)
  const positions = new Map((theirs.positions ?? []).map((p) => [p.ticker, p]))
  const settlements = new Map<string, SettlementFact[]>()
  for (const s of theirs.settlements ?? []) settlements.set(s.ticker, [...(settlements.get(s.ticker) ?? []), s])
  for (const ticker of new Set([
    ...before.keys(),
    ...ours.positions.keys(),
    ...ours.paid.keys(),
    ...positions.keys(),
    ...settlements.keys(),
  ])) {
    const rows = settlements.get(ticker) ?? []
    const payment = ours.paid.get(ticker)
    const earlier = before.get(ticker) ?? 0
    const own = payment?.net ?? ours.positions.get(ticker) ?? 0
    const held = earlier + own
    const shard = positions.get(ticker)?.shard ?? rows[0]?.shard ?? ours.shardOf(ticker)
    const there = positions.get(ticker)?.position ?? 0
    const about = { ticker, shard }
    const correct = (money: number): void => void corrections.set(shard, (corrections.get(shard) ?? 0) + money)
    // A dollar is locked for a contract short of the whole position, not of our part of it.
    correct((short(own) - (short(held) - short(earlier))) * PRICE_ONE)
    if (busy.has(ticker)) {
      // A payment just now is in the cash of one of us and not of the other.
      if (payment !== undefined || rows.length > 0) unsure.add(shard)
      continue
    }
    if (rows.length === 0) {
      if (payment === undefined) {
        if (there !== held && ours.moving.has(ticker)) {
          unsure.add(shard)
          notes.push(`${ticker}: ours ${signed(held)}, the exchange ${signed(there)}; an order of it has no outcome yet`)
        } else if (there !== held)
          differences.push({
            kind: 'position',
            key: `position/${ticker}`,
            ...about,
            ours: signed(held),
            theirs: positions.has(ticker) ? signed(there) : '+0.00 (no row)',
            explanation:
              earlier === 0
                ? 'fills that only one of us has'
                : `fills that only one of us has; ${signed(earlier)} is from before the session`,
          })
        continue
      }
      correct(-payment.paid)
      if (held === 0) continue
      const waited = theirs.ended - payment.at
      if (there !== 0 && there !== held)
        differences.push({
          kind: 'position',
          key: `position/${ticker}`,
          ...about,
          ours: `${signed(held)} (paid)`,
          theirs: signed(there),
          explanation: 'fills that only one of us has',
        })
      if (waited > SETTLEMENT_WAIT)
        differences.push({
          kind: 'settlement-missing',
          key: `settlement/${ticker}`,
          ...about,
          ours: `paid ${formatMoney(payment.paid)}`,
          theirs: 'no settlement',
          explanation: `we paid it ${Math.round(waited / MINUTE)} minutes ago; the result may have been taken back`,
        })
      else notes.push(`${ticker}: we have paid, the exchange lists no settlement yet`)
      continue
    }
    const revenue = rows.reduce((sum, s) => sum + s.revenue, 0)
    correct(revenue - (payment?.paid ?? 0))
    if (there !== 0 && there !== held)
      differences.push({
        kind: 'position',
        key: `position/${ticker}`,
        ...about,
        ours: '+0.00 (settled)',
        theirs: signed(there),
        explanation: 'a settled market has a position that nobody of us knows',
      })
    const problem = settlementProblem(rows, held, payment)
    const last = rows[0] as SettlementFact
    if (problem !== null)
      differences.push({
        kind: 'settlement',
        key: `settlement/${ticker}`,
        ...about,
        ours:
          payment === undefined
            ? `holds ${signed(held)}`
            : `${signed(held)} at ${formatPrice(payment.value)}, paid ${formatMoney(payment.paid)}`,
        theirs: rows
          .map(
            (s) => `${signed(s.net)} ${s.result}${s.value === null ? '' : ` at ${formatPrice(s.value)}`}, paid ${formatMoney(s.revenue)}`,
          )
          .join(' + '),
        explanation: problem,
      })
    else if (payment === undefined && own !== 0) {
      if (theirs.ended - last.time > SETTLEMENT_WAIT)
        differences.push({
          kind: 'settlement-unheard',
          key: `settlement/${ticker}`,
          ...about,
          ours: `holds ${signed(own)}`,
          theirs: `paid ${formatMoney(revenue)}`,
          explanation: 'the market was settled and we have not heard of it',
        })
      else notes.push(`${ticker}: the exchange has paid, we have not heard of the result yet`)
    }
  }
  return { corrections, unsure }
}

function settlementProblem(rows: readonly SettlementFact[], held: number, payment: OurPayment | undefined): string | null {
  const [row] = rows
  if (row === undefined) return null
  if (rows.length > 1) return `settled ${rows.length} times: its result was amended`
  if (row.net !== held) return 'settled for another number of contracts than we hold'
  if (payment === undefined || held === 0) return null
  const cut = Math.floor(payment.value / 100) * 100
  if (row.value !== null && row.value !== payment.value && !(row.result === 'scalar' && row.value === cut)) return 'its result was amended'
  // Whole cents are paid; what is below one is kept as a fee (api.md §3.5).
  const exact = held >= 0 ? held * payment.value : -held * (PRICE_ONE - payment.value)
  return exact - row.revenue >= 0 && exact - row.revenue < CENT ? null : 'paid another amount than the result makes'
}

function compareCash(
  b: Baseline,
  ours: OurView,
  theirs: TheirView,
  { corrections, unsure }: { readonly corrections: ReadonlyMap<number, number>; readonly unsure: ReadonlySet<number> },
  busy: ReadonlySet<string>,
  reading: CashReading,
  differences: Difference[],
  notes: string[],
): CashReading {
  const start = new Map(b.cash)
  const cash = theirs.cash ?? new Map<number, number>()
  const all = theirs.orders ?? []
  const [costs, reservedBefore] = [costByShard(all), new Map(b.reserved)]
  const foreign = costByShard(all.filter((o) => !ours.isOurs(o)))
  let known = reading
  const off: { shard: number; ours: number; by: number; theirs: number | undefined }[] = []
  for (const shard of new Set([...start.keys(), ...cash.keys(), ...ours.cash.keys()])) {
    if (unsure.has(shard)) continue
    const there = cash.get(shard)
    const gross = (start.get(shard) ?? 0) + (ours.cash.get(shard) ?? 0) + (corrections.get(shard) ?? 0)
    const earlier = reservedBefore.get(shard) ?? 0
    const aside = [...new Set([costs.get(shard) ?? 0, (foreign.get(shard) ?? 0) + (ours.reserved.get(shard) ?? 0)])]
    const nets = aside.map((a) => gross + earlier - a)
    const fits = (expected: number): boolean => there !== undefined && Math.abs(there - expected) < BALANCE_GRID
    // While markets are busy it may show any of the last moments, and what is set aside changes all the time.
    const moments = busy.size === 0 ? [0] : [0, ...(ours.cashBefore?.get(shard) ?? [])]
    const isGross = moments.some((moment) => fits(gross + moment))
    const isNet = nets.some(fits)
    if (busy.size > 0 && known === 'net') continue
    if (busy.size === 0 && isGross !== isNet && known === null) {
      known = isGross ? 'gross' : 'net'
      notes.push(`balance counts what resting orders set aside ${known === 'gross' ? 'as still there (gross)' : 'as gone (net)'}`)
    }
    if (known === 'gross' ? isGross : known === 'net' ? isNet : isGross || isNet) continue
    const expected = known === 'net' ? (nets[0] as number) : gross
    off.push({ shard, ours: expected, by: (there ?? 0) - expected, theirs: there })
  }
  for (const { shard, ours: expected, by, theirs: there } of off) {
    const between = off.some((o) => o.shard !== shard && Math.abs(o.by + by) < 2 * BALANCE_GRID)
    differences.push({
      kind: 'cash',
      key: `cash/${shard}`,
      ticker: null,
      shard,
      ours: formatMoney(expected),
      theirs: there === undefined ? 'not listed' : formatMoney(there),
      explanation: between
        ? 'moved between shards'
        : `${by > 0 ? '+' : ''}${formatMoney(by)}: ${by > 0 ? 'a deposit, a transfer, or a payment' : 'a withdrawal, a transfer, a fee, or a fill'} that we do not know`,
    })
  }
  return known
}

/** What resting orders cost at the most, by shard: price of what is bought, a dollar less it of what is sold. */
function costByShard(orders: readonly OrderFact[]): Map<number, number> {
  const sums = new Map<number, number>()
  for (const o of orders) {
    const cost = o.remaining * (o.side === 'bid' ? o.price : PRICE_ONE - o.price)
    sums.set(o.shard, (sums.get(o.shard) ?? 0) + cost)
  }
  return sums
}
function sayOrder(o: Pick<OurOrder, 'side' | 'remaining' | 'price'>): string {
  return `${o.side} ${formatQuantity(o.remaining)} @ ${formatPrice(o.price)}`
}
/** A market pays again for a fill that came late: what was paid in all, with what is locked for the whole position instead of for each part; the value stays. */
export function paidInAll(before: OurPayment | undefined, more: OurPayment): OurPayment {
  if (before === undefined) return more
  const net = before.net + more.net
  const locked = (short(net) - short(before.net) - short(more.net)) * PRICE_ONE
  return { net, value: before.value, paid: before.paid + more.paid + locked, at: more.at }
}

function short(position: number): number {
  return position < 0 ? -position : 0
}
function signed(quantity: number): string {
  return `${quantity < 0 ? '' : '+'}${formatQuantity(quantity)}`
}
