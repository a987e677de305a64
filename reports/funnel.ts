/**
 * The funnel: from the rows of a tape to money, step by step, so that a run without trades always has an answer. Owns the steps, what was lost
 * at each and why; hides the walks. Invariants: a step never counts more than the step it is a part of; wishes are sent, refused or replaced,
 * and the three add up.
 */
import { JournalKind } from '../engine/journal.ts'
import { REFUSALS } from '../engine/risk.ts'
import type { SessionRecord } from '../engine/session.ts'
import { ordersOf } from './orders.ts'
import { endInWords, rejectionInWords, remedyOf } from './remedies.ts'
import { wishesOf } from './wishes.ts'
import { count, percent, plural } from './words.ts'

export type FunnelStep = {
  readonly id: string
  readonly label: string
  readonly count: number
  /** What it is a part of (the step before in the same unit); null: it begins a new unit. */
  readonly of: number | null
  readonly lost: number
  /** Share of `of` that was lost; null: nothing to lose. */
  readonly share: number | null
  /** The biggest reason of the loss, one sentence; null: nothing was lost. */
  readonly why: string | null
  /** Why the step says nothing on this kind of tape; null: it applies. */
  readonly notApplicable: string | null
}
export type FunnelGate = {
  readonly reason: string
  /** Refusals in all, each repetition counted, and wishes whose end it was. */
  readonly times: number
  readonly wishes: number
  readonly limit: string
  readonly meaning: string
  readonly change: string
}
export type FunnelSignal = {
  readonly strategy: string
  readonly kind: string
  readonly label: string
  readonly wishes: number
  readonly sent: number
  readonly refused: number
  readonly replaced: number
}
type Counted = { readonly reason: string; readonly count: number }
export type Funnel = {
  readonly steps: readonly FunnelStep[]
  readonly signals: readonly FunnelSignal[]
  readonly pulls: number
  readonly gates: readonly FunnelGate[]
  readonly commands: readonly Counted[]
  readonly rejections: readonly Counted[]
  readonly orderEnds: readonly Counted[]
  readonly fills: number
  readonly settlements: { readonly traded: number; readonly determined: number; readonly paid: number }
  readonly verdict: string
}

const DEPTH = { prints: 'not applicable (trades-only tape)', quotes: 'not applicable (best-prices tape)' } as const

/** `remedies`: of a live session, those that know what held it. */
export function funnelOf(record: SessionRecord, remedies: typeof remedyOf = remedyOf): Funnel {
  const { header, end, journal: j, strings } = record
  const { tape } = header
  const wishes = wishesOf(record)
  const orders = ordersOf(record)
  const word = (id: number): string => (id < 0 ? '' : (strings[id] ?? ''))

  const commands = new Map<string, number>()
  const asked = new Set<number>()
  for (let i = 0; i < j.length; i++) if (j.kind[i] === JournalKind.COMMAND) add(commands, word(j.what[i] as number))
  const signals = new Map<string, { strategy: string; kind: string; label: string; sent: number; refused: number; replaced: number }>()
  const ended = new Map<string, number>()
  const fates = { sent: 0, refused: 0, replaced: 0 }
  for (const w of wishes.all) {
    asked.add(w.market)
    fates[w.fate]++
    if (w.fate === 'refused' && w.refusal !== null) add(ended, w.refusal)
    const key = `${w.owner}\n${w.kind}\n${w.why}`
    const s = signals.get(key) ?? { strategy: word(w.owner), kind: w.kind, label: word(w.why), sent: 0, refused: 0, replaced: 0 }
    s[w.fate]++
    signals.set(key, s)
  }

  const precedence = (reason: string): number => {
    const at = (REFUSALS as readonly string[]).indexOf(reason)
    return at < 0 ? REFUSALS.length : at
  }
  const gates: FunnelGate[] = Object.entries(end.refusals)
    .sort(([a], [b]) => precedence(a) - precedence(b) || (a < b ? -1 : 1))
    .map(([reason, times]) => ({ reason, times, wishes: ended.get(reason) ?? 0, ...remedies(reason, header) }))

  // Our own gate kept them back, or the line was down: they never left.
  const kept = new Set(orders.filter((o) => o.state === 'rejected' && (o.reason === 'not-sent' || o.reason.startsWith('gate:'))))
  const left = end.orders - kept.size
  const accepted = orders.filter((o) => o.accepted !== null && o.state !== 'rejected')
  const filled = accepted.filter((o) => o.fills > 0)
  const orderEnds = new Map<string, number>()
  for (const o of accepted)
    if (o.fills === 0) add(orderEnds, o.state === 'canceled' ? endInWords(o.reason) : 'still working when the session ended')
  const refusedOrders = new Map<string, number>()
  for (const o of orders)
    if ((o.accepted === null || o.state === 'rejected') && !kept.has(o)) add(refusedOrders, o.state === 'rejected' ? o.reason : '')

  const traded = end.markets.filter((m) => m.fills > 0)
  const determined = traded.filter((m) => m.result !== null).length
  const paid = traded.filter((m) => m.paid).length

  // ------------------------------------------------------------------------------------------------ steps

  const steps: FunnelStep[] = []
  const step = (id: string, label: string, n: number, of: number | null, why: () => string, notApplicable: string | null = null): void => {
    // A run of an older version does not know every count.
    const silent = notApplicable ?? (Number.isFinite(n) ? null : 'not recorded (a run of an older version)')
    const whole = of !== null && of >= n && silent === null ? of : null
    const lost = whole === null ? 0 : whole - n
    steps.push({
      id,
      label,
      count: silent === null ? n : 0,
      of: whole,
      lost,
      share: whole === null || whole === 0 ? null : lost / whole,
      why: lost > 0 ? why() : null,
      notApplicable: silent,
    })
  }
  const { selection } = header
  const chosen = [
    selection.markets === null ? '' : '--market',
    selection.series === null ? '' : '--series',
    selection.from === null ? '' : '--from',
    selection.to === null ? '' : '--to',
  ].filter((t) => t !== '')
  const noBook = tape.depth === 'prints' ? DEPTH.prints : null
  const noSnapshots = tape.depth === 'book' ? null : DEPTH[tape.depth]
  step('rows', 'Rows read', end.rows, tape.rows > 0 ? tape.rows : null, () =>
    !end.complete
      ? `the session ended early (${end.reason})`
      : chosen.length > 0
        ? `left out by ${chosen.join(', ')}`
        : 'not part of the run',
  )
  step('seen', 'Markets seen', end.marketsSeen, tape.markets > 0 ? tape.markets : null, (): string =>
    !end.complete ? `the session ended early (${end.reason})` : 'no row of them lies in the span that ran, or they had paid before it',
  )
  step(
    'synced',
    'Markets with a whole book',
    end.marketsSynced,
    end.marketsSeen,
    () => 'no snapshot of their book lies in the span that ran, so it was never known whole',
    noSnapshots,
  )
  step(
    'twoSided',
    'Markets quoted on both sides',
    end.marketsTwoSided,
    noSnapshots === null ? end.marketsSynced : end.marketsSeen,
    () => 'they never had a bid and an ask at the same time',
    noBook,
  )
  step(
    'shown',
    'Markets shown to the strategy',
    end.marketsShown,
    end.marketsTwoSided,
    () => `they had two sides only while not open for trading${selection.from === null ? '' : ' or before --from'}`,
    noBook,
  )
  step('asked', 'Markets with a wish', asked.size, noBook === null ? end.marketsShown : end.marketsSeen, () =>
    wishes.all.length === 0 ? 'the strategy never asked for anything' : 'the strategy asked for nothing in them',
  )
  step('wishes', 'Wishes stated', wishes.all.length, null, () => '')
  step('sent', 'Wishes that led to a command', fates.sent, wishes.all.length, () => {
    const top = most(ended)
    if (fates.replaced >= (top?.count ?? 0) || top === null)
      return `${plural(fates.replaced, 'wish', 'wishes')} gave way to newer words before anything was sent, or stood already as wished`
    const remedy = remedies(top.reason, header)
    return `${plural(top.count, 'wish', 'wishes')} refused for ${top.reason}: ${remedy.meaning}${remedy.limit === '' ? '' : ` (${remedy.limit})`}; ${remedy.change} would change it`
  })
  step(
    'orders',
    'Orders sent',
    left,
    kept.size === 0 ? null : end.orders,
    () => `${count(kept.size)} kept back by the gate: they never left`,
  )
  step('accepted', 'Orders accepted by the venue', accepted.length, left, () => {
    const top = most(refusedOrders)
    return top === null || top.reason === ''
      ? 'their answer was still on its way when the session ended'
      : `${count(top.count)} rejected as ${top.reason}: ${rejectionInWords(top.reason)}`
  })
  step('filled', 'Orders with a fill', filled.length, accepted.length, () => {
    const top = most(orderEnds)
    return top === null ? '' : `${count(top.count)} unfilled: ${top.reason}`
  })
  step('fills', 'Fills', end.fills, null, () => '')
  step('traded', 'Markets with a fill', traded.length, end.markets.length, () => 'no order in them was filled')
  step('paid', 'Markets paid', paid, traded.length, () =>
    [
      determined > paid ? `${count(determined - paid)} determined and not paid before the tape ended` : '',
      traded.length > determined ? `${count(traded.length - determined)} without a result on the tape` : '',
    ]
      .filter((t) => t !== '')
      .join(', '),
  )

  const result: Omit<Funnel, 'verdict'> = {
    steps,
    signals: [...signals.values()]
      .map((s) => ({ ...s, wishes: s.sent + s.refused + s.replaced }))
      .sort((a, b) => b.wishes - a.wishes || (`${a.strategy} ${a.kind} ${a.label}` < `${b.strategy} ${b.kind} ${b.label}` ? -1 : 1)),
    pulls: wishes.pulls.length,
    gates,
    commands: counted(commands),
    rejections: counted(new Map(Object.entries(end.rejections))),
    orderEnds: counted(orderEnds),
    fills: end.fills,
    settlements: { traded: traded.length, determined, paid },
  }
  return { ...result, verdict: verdictOf(record, result) }
}

function verdictOf({ end }: SessionRecord, { steps, orderEnds }: Omit<Funnel, 'verdict'>): string {
  const at = (id: string): FunnelStep => steps.find((s) => s.id === id) as FunnelStep
  const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`
  if (end.fills === 0) {
    const chain = ['rows', 'seen', 'synced', 'twoSided', 'shown', 'asked', 'sent', 'orders', 'accepted', 'filled'] as const
    const dry = chain.map(at).find((s) => s.count === 0 && s.notApplicable === null) ?? at('filled')
    if (dry.id === 'rows' || end.firstTime === null) return 'No fills: nothing was recorded in the chosen span.'
    if (dry.why !== null) return `No fills: it ends at "${dry.label.toLowerCase()}": ${dry.why}.`
    return `No fills: it ends at "${dry.label.toLowerCase()}"${orderEnds[0] === undefined ? '' : `: ${orderEnds[0].reason}`}.`
  }
  const worst = ['synced', 'twoSided', 'shown', 'asked', 'sent', 'orders', 'accepted', 'filled']
    .map(at)
    .filter((s) => s.share !== null && s.share > 0 && s.notApplicable === null)
    .sort((a, b) => (b.share ?? 0) - (a.share ?? 0))[0]
  const made = `${plural(end.fills, 'fill')} in ${plural(at('traded').count, 'market')}, of ${plural(at('wishes').count, 'wish', 'wishes')} and ${plural(end.orders, 'order')}`
  if (worst === undefined) return sentence(`${made}; nothing was lost on the way`)
  return sentence(`${made}; the largest loss is at "${worst.label.toLowerCase()}" (${percent(worst.share ?? 0)}): ${worst.why ?? ''}`)
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
function counted(counts: ReadonlyMap<string, number>): Counted[] {
  return [...counts].map(([reason, n]) => ({ reason, count: n })).sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1))
}
function most(counts: ReadonlyMap<string, number>): Counted | null {
  return counted(counts)[0] ?? null
}
