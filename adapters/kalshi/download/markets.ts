/**
 * What the kept answers say of markets: which of them are in the range, how they ended, what they cost to trade. Owns the reading of catalogs and of fee changes; hides where a market was
 * listed. Invariants: a pure function of what was answered; a volume is only stated where it can be compared (the market is over, and all of its life is in the range).
 */
import { FEE_ASSUMED, type FeeStep } from '../../../data/import/lifecycle.ts'
import { latest, listingOf, type Listing, type Listings } from '../../../data/import/listing.ts'
import { parseTime } from '../../../data/import/frames.ts'
import { seriesOf } from '../../../data/import/survey.ts'
import { feeDetail } from '../catalog.ts'
import type { Answer, WireEvent, WireMarket, WireSeries } from '../wire/answers.ts'

export type Range = { readonly from: number; readonly to: number }
export type Known = {
  readonly listing: Listing
  readonly series: string
  /** Nothing trades in it any more. */
  readonly over: boolean
  /** Its life is inside the range. */
  readonly inside: boolean
  readonly waiver: boolean
}
export type Listed = { readonly wire: WireMarket; readonly series: string | null }

const OVER: readonly WireMarket['status'][] = ['closed', 'determined', 'disputed', 'amended', 'finalized']
const WHERE = 'the answer of the exchange'

/** Markets that live in the range, by ticker. */
export function marketsIn(listed: readonly Listed[], events: ReadonlyMap<string, WireEvent>, range: Range): Map<string, Known> {
  const states = new Map<string, { wire: WireMarket; series: string; listing: Listing }[]>()
  for (const { wire, series } of listed) {
    const event = events.get(wire.event_ticker)
    const { series_ticker = series, mutually_exclusive = null, title } = event ?? {}
    const record = { series_ticker, mutually_exclusive, ...wire, title: wire.title ?? title }
    const state = { wire, series: series_ticker ?? seriesOf(wire.ticker), listing: listingOf(record, WHERE) }
    const others = states.get(wire.ticker)
    if (others === undefined) states.set(wire.ticker, [state])
    else others.push(state)
  }
  const known = new Map<string, Known>()
  for (const [ticker, all] of [...states].sort((a, b) => (a[0] < b[0] ? -1 : 1))) {
    const listing = latest(
      ticker,
      all.map((s) => s.listing),
    )
    const { openTime, closeTime } = listing
    if ((openTime ?? -Infinity) > range.to || (closeTime ?? Infinity) < range.from) continue
    const { wire, series } = all.find((s) => s.listing === listing) ?? (all[0] as (typeof all)[number])
    const inside = openTime !== null && openTime >= range.from && closeTime !== null && closeTime <= range.to
    known.set(ticker, { listing, series, over: OVER.includes(wire.status), inside, waiver: wire.fee_waiver_expiration_time != null })
  }
  return known
}

/** As the builder of tapes takes them: a volume that cannot be compared is not stated. */
export function listingsOf(known: ReadonlyMap<string, Known>): Listings {
  const markets = new Map([...known].map(([ticker, k]) => [ticker, k.over && k.inside ? k.listing : { ...k.listing, volume: null }]))
  return { markets, repeated: 0, changed: 0, elsewhere: 0, without: 0, files: [] }
}

export type FeeAnswers = {
  readonly series: readonly WireSeries[]
  /** When the series were described, µs. */
  readonly asked: number
  readonly seriesChanges: Answer<'seriesFeeChanges'>['series_fee_change_arr']
  readonly events: ReadonlyMap<string, WireEvent>
  readonly eventChanges: Answer<'eventFeeChanges'>['event_fee_changes']
}

/**
 * The fee rule of each market over time: its event's own, or else its series'. Before the first change of a series its rule is what the list says only if nothing has changed; otherwise nobody
 * says it, and it is assumed. An event without an own rule before its first change has none.
 */
export function feesOf(known: ReadonlyMap<string, Known>, answers: FeeAnswers): Map<string, FeeStep[]> {
  const steps = new Map<string, FeeStep[]>()
  const bySeries = new Map<string, FeeStep[]>()
  const byEvent = new Map<string, { time: number; fee: FeeStep['fee'] | null; stated: boolean }[]>()
  const step = (time: number, type: string | null | undefined, multiplier: number | null | undefined): FeeStep => {
    const fee = feeDetail(type, multiplier)
    return { time, fee: fee ?? FEE_ASSUMED, stated: fee !== null }
  }
  for (const { series_ticker: name, scheduled_ts: at, fee_type: type, fee_multiplier: multiplier } of inOrder(answers.seriesChanges)) {
    const list = bySeries.get(name) ?? [{ time: -Infinity, fee: FEE_ASSUMED, stated: false }]
    list.push(step(parseTime(at), type, multiplier))
    bySeries.set(name, list)
  }
  for (const { ticker, fee_type: type, fee_multiplier: multiplier } of answers.series) {
    const changes = (bySeries.get(ticker) ?? []).slice(1)
    // Changes that were still to come leave what was said then as it was.
    if (changes.every((c) => c.time > answers.asked)) bySeries.set(ticker, [step(-Infinity, type, multiplier), ...changes])
  }
  for (const change of inOrder(answers.eventChanges)) {
    const { event_ticker: name, scheduled_ts: at, fee_type_override: type, fee_multiplier_override: multiplier } = change
    const list = byEvent.get(name) ?? []
    const time = parseTime(at)
    list.push(type == null && multiplier == null ? { time, fee: null, stated: true } : step(time, type, multiplier))
    byEvent.set(name, list)
  }
  for (const [ticker, { fee_type_override: type, fee_multiplier_override: multiplier }] of answers.events)
    if (!byEvent.has(ticker) && (type != null || multiplier != null)) byEvent.set(ticker, [step(-Infinity, type, multiplier)])
  for (const [ticker, { listing, series }] of known) {
    const ground = bySeries.get(series) ?? [{ time: -Infinity, fee: FEE_ASSUMED, stated: false }]
    const own = byEvent.get(listing.event ?? '') ?? []
    const times = [...new Set([...ground, ...own].map((s) => s.time))].sort((a, b) => a - b)
    const merged: FeeStep[] = []
    for (const time of times) {
      const override = own.findLast((s) => s.time <= time)
      const below = ground.findLast((s) => s.time <= time) ?? { fee: FEE_ASSUMED, stated: false }
      const { fee, stated } = override?.fee == null ? below : { fee: override.fee, stated: override.stated }
      const before = merged.at(-1)
      if (before === undefined || before.fee.type !== fee.type || before.fee.multiplier !== fee.multiplier || before.stated !== stated)
        merged.push({ time, fee, stated })
    }
    steps.set(ticker, merged)
  }
  return steps
}

function inOrder<T extends { readonly id: string; readonly scheduled_ts: string }>(changes: readonly T[]): T[] {
  const distinct = [...new Map(changes.map((c) => [c.id, c])).values()].filter((c) => Number.isFinite(parseTime(c.scheduled_ts)))
  return distinct.sort((a, b) => parseTime(a.scheduled_ts) - parseTime(b.scheduled_ts) || (a.id < b.id ? -1 : 1))
}

export function iso(us: number): string {
  return us <= 0 ? 'the beginning' : `${new Date(us / 1000).toISOString().slice(0, 19)}Z`
}
