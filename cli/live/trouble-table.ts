/**
 * The table of what goes wrong with live trading: each trouble by its class, what is done about it, and the way back. Owns the table and its words; hides nothing. Invariant: every class has one row, and every
 * row a way back by name.
 */
import { MINUTE, SECOND } from '../../engine/units.ts'

/** From mild to final. `retry` and `resync` hold nothing back by themselves: reads are repeated, books and account are read anew while whoever does it permits no order. */
export const ACTIONS = ['retry', 'resync', 'halt-market', 'reduce', 'pause', 'halt-session', 'stop'] as const
export type TroubleAction = (typeof ACTIONS)[number]

/** What a way back begins with. `quiet`: nothing of the kind for so long (µs). `over`: it was said to be over. `agreed`: and orders, fills, positions and cash are as the exchange says. */
export type WayBack =
  | { readonly by: 'quiet'; readonly for: number }
  | { readonly by: 'over'; readonly agreed: boolean; readonly settle: number }
  | { readonly by: 'operator'; readonly word: 'resume' }
  | { readonly by: 'restart' }

export type TroubleRow = {
  readonly action: TroubleAction
  /** So many within a time (µs), or lasting so long (µs), or at once. */
  readonly when: { readonly count: number; readonly within: number } | { readonly lasting: number } | 'at-once'
  readonly back: WayBack
  /** For whoever reads it. */
  readonly what: string
  readonly advice: string
}

const operator: WayBack = { by: 'operator', word: 'resume' }
const restart: WayBack = { by: 'restart' }
const quiet = (time: number): WayBack => ({ by: 'quiet', for: time })
const over = (settle = 0): WayBack => ({ by: 'over', agreed: false, settle })
const overAndAgreed = (settle = 0): WayBack => ({ by: 'over', agreed: true, settle })
function row(action: TroubleAction, when: TroubleRow['when'], back: WayBack, what: string, advice: string): TroubleRow {
  return { action, when, back, what, advice }
}

export const TROUBLES = {
  rejections: row(
    'halt-market',
    { count: 3, within: MINUTE },
    quiet(2 * MINUTE),
    'the same rejection came three times within a minute in one market',
    'the strategy asks for what this market does not allow: look at the reason',
  ),
  'rejections-account': row(
    'pause',
    { count: 3, within: MINUTE },
    operator,
    'the account was refused three times within a minute, whatever the market',
    'look at the balance of the shard and at the rights of the key',
  ),
  'key-refused': row(
    'halt-session',
    'at-once',
    operator,
    'the exchange does not believe the key (401)',
    'check the key, its environment, and the clock of this machine',
  ),
  'key-forbidden': row(
    'halt-session',
    'at-once',
    operator,
    'the key may not do this (403)',
    'give it the scope write::trade, and the subaccount of the session',
  ),
  'interface-moved': row(
    'halt-session',
    'at-once',
    operator,
    'the exchange says that its interface has moved (410 or a redirect)',
    'a newer version of Tapeline is needed: nothing else is tried',
  ),
  'rate-limited': row(
    'pause',
    { count: 5, within: MINUTE },
    quiet(MINUTE),
    'the exchange refused for too many requests five times within a minute',
    'other programs of the account count too',
  ),
  'answers-lost': row(
    'pause',
    { count: 5, within: MINUTE },
    quiet(MINUTE),
    'five writes within a minute had no answer that could be trusted',
    'each of them is looked for; the line or the exchange is not well',
  ),
  'answer-unreadable': row(
    'pause',
    'at-once',
    quiet(MINUTE),
    'a write was answered with something that says nothing of an order',
    'somebody may be in between: a proxy, a captive portal',
  ),
  'reads-failing': row(
    'reduce',
    { lasting: MINUTE },
    overAndAgreed(),
    'orders and fills could not be read for a minute',
    'the private stream alone is no proof',
  ),
  'clock-skew': row(
    'reduce',
    'at-once',
    over(30 * SECOND),
    'the clock of this machine is more than 5 s off',
    'turn on time synchronization',
  ),
  'clock-step': row(
    'resync',
    'at-once',
    overAndAgreed(),
    'the clock of this machine was set',
    'times of orders may be wrong: everything is compared anew',
  ),
  'feed-stale': row('resync', 'at-once', over(), 'no market has a fresh book', 'nothing is traded on it; quotes are taken back'),
  'feed-gaps': row(
    'reduce',
    { count: 10, within: MINUTE },
    quiet(2 * MINUTE),
    'the feed lost messages ten times within a minute',
    'follow fewer markets, or a better line',
  ),
  'private-stream-lost': row('retry', 'at-once', over(), 'the private stream is down', 'fills are seen by reading, some seconds later'),
  'exchange-paused': row(
    'pause',
    'at-once',
    overAndAgreed(5 * SECOND),
    'the exchange is paused: not even a cancel is taken',
    'orders that rest and are not marked stay',
  ),
  'trading-paused': row('pause', 'at-once', overAndAgreed(5 * SECOND), 'trading is paused: cancels alone are taken', 'it ends by itself'),
  'shard-paused': row(
    'halt-market',
    'at-once',
    overAndAgreed(5 * SECOND),
    'a part of the exchange is paused',
    'its markets wait, the others go on',
  ),
  maintenance: row(
    'pause',
    'at-once',
    overAndAgreed(30 * SECOND),
    'the weekly maintenance of the exchange (Thursday 03:00 to 05:00, New York)',
    'it ends by itself',
  ),
  'group-triggered': row(
    'halt-session',
    'at-once',
    operator,
    'the order group was triggered: more was filled in 15 s than it allows, or somebody triggered it',
    'look at the fills before you resume',
  ),
  'order-unknown': row(
    'halt-market',
    { lasting: MINUTE },
    over(),
    'what became of an order has not been known for a minute',
    'it counts at its worst until it is found, or proved absent',
  ),
  'orders-unknown': row(
    'halt-session',
    { count: 5, within: 5 * MINUTE },
    operator,
    'what became of five orders is not known',
    'look at the exchange before you resume',
  ),
  'cancel-stuck': row(
    'halt-session',
    'at-once',
    operator,
    'an order could not be canceled in three tries: its group was triggered',
    'look whether it still rests',
  ),
  'market-differs': row(
    'halt-market',
    'at-once',
    overAndAgreed(),
    'the exchange says another position or other orders of a market than we',
    'both are shown by `tapeline status`; nothing is made to fit',
  ),
  'cash-differs': row(
    'pause',
    'at-once',
    overAndAgreed(),
    'the exchange says another balance than we',
    'a deposit, another program, or a fee that is not as expected',
  ),
  'order-foreign': row(
    'halt-market',
    'at-once',
    operator,
    'an order of the account that is not of the session',
    'somebody else trades this subaccount',
  ),
  'fill-foreign': row(
    'halt-market',
    'at-once',
    operator,
    'a fill of the account that no order of the session made',
    "it is booked to nobody's strategy; somebody else trades this subaccount",
  ),
  'disk-low': row('reduce', 'at-once', over(), 'the disk is nearly full', 'make room: at 256 MB it stops'),
  'disk-full': row(
    'stop',
    'at-once',
    restart,
    'the disk takes no more: what cannot be kept must not happen',
    'make room, then `tapeline live --resume`',
  ),
  'invariant-broken': row(
    'stop',
    'at-once',
    restart,
    'the program contradicts itself',
    'please report it; `tapeline live --resume` starts from what is on disk',
  ),
  'strategy-failed': row('stop', 'at-once', restart, 'a strategy failed', 'mend it, and start a new session'),
  'watch-silent': row(
    'pause',
    'at-once',
    over(5 * SECOND),
    'no watch is alive: nobody would stop this session if it could not',
    'start `tapeline watch`',
  ),
  'loop-stalled': row(
    'pause',
    'at-once',
    quiet(10 * SECOND),
    'this process did not come to work for more than a second',
    'the machine is too busy',
  ),
  'too-many': row('halt-session', 'at-once', operator, 'more than a thousand troubles are open at once', 'look at the first ones'),
  woken: row('resync', 'at-once', overAndAgreed(), 'this machine slept', 'books and account are read anew before anything is sent'),
} as const satisfies Readonly<Record<string, TroubleRow>>
export type TroubleClass = keyof typeof TROUBLES

/** Rejections that say something of the account, not of a market. */
export const ACCOUNT_CODES: ReadonlySet<string> = new Set([
  'insufficient_balance',
  'available_balance_too_low',
  'user_not_found',
  'insufficient_scope',
  'exceeded_order_group_risk_limit',
  'order_group_not_found',
])
/** They come with the trade, or have a class of their own. */
export const QUIET_CODES: ReadonlySet<string> = new Set([
  'fill_or_kill_insufficient_resting_volume',
  'trading_is_paused',
  'exchange_is_paused',
  'market_closed',
  'too_many_requests',
])

/** The way back in words. */
export function backText(back: WayBack): string {
  switch (back.by) {
    case 'quiet':
      return `by itself, after ${seconds(back.for)} without it`
    case 'over':
      return `by itself, when it is over${back.settle > 0 ? ` for ${seconds(back.settle)}` : ''}${back.agreed ? ' and the exchange and we agree again' : ''}`
    case 'operator':
      return 'by `tapeline resume` alone'
    case 'restart':
      return 'by a new start alone'
  }
}
const EFFECTS: Readonly<Record<TroubleAction, string>> = {
  retry: 'it is tried again; trading goes on',
  resync: 'books and account are read anew; nothing is sent until then',
  'halt-market': 'nothing new in the market, its quotes are taken back',
  reduce: 'only what lowers a position is sent',
  pause: 'nothing new is sent',
  'halt-session': 'nothing is sent, everything is taken back',
  stop: 'everything is taken back and the session ends',
}
export function effectText(action: TroubleAction): string {
  return EFFECTS[action]
}
function seconds(time: number): string {
  return time >= 2 * MINUTE ? `${time / MINUTE} min` : `${time / SECOND} s`
}
