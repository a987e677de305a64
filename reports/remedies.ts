/**
 * What each refusal of risk means and what would change it, with the numbers of the session. Owns one sentence a refusal; hides nothing.
 * Invariant: a refusal without a sentence does not compile.
 */
import type { Refusal } from '../engine/risk.ts'
import type { SessionHeader } from '../engine/session.ts'
import { contracts, duration, money } from './words.ts'

export type Remedy = {
  /** The limit as it stood; '' where there is no number. */
  readonly limit: string
  readonly meaning: string
  readonly change: string
}

function size(quantity: number): string {
  return `${contracts(quantity)} ${quantity === 100 ? 'contract' : 'contracts'}`
}

type Sentence = (h: SessionHeader) => Remedy
const say =
  (meaning: string, change: string, limit: (h: SessionHeader) => string = () => ''): Sentence =>
  (h) => ({ meaning, change, limit: limit(h) })

const REMEDIES: Readonly<Record<Refusal, Sentence>> = {
  'session-ending': say('the session was over', 'nothing: the tape had ended'),
  syncing: say(
    'no open market had a whole book: the feed was lost, or not there yet; or (live) the exchange had not agreed with our books',
    'wait until the feed is synced and a reconciliation has passed',
  ),
  warmup: say('the warm-up was not over: the strategy sees and may not trade', 'a shorter --warmup', (h) => duration(h.selection.warmup)),
  halted: say('the session was halted by an operator', 'resume it'),
  paused: say('the session was paused by an operator', 'resume it'),
  'reduce-only': say('an operator allowed only what lowers a position', 'resume the session'),
  'basket-size': say('the basket has more legs than orders may leave at once', 'a higher ordersPerSecond in --limits, or fewer legs'),
  'market-unlisted': say('the market is known from its trades alone', 'a list of markets that names it: --markets at import'),
  'market-closed': say('the market was not open any more', 'ask before the close'),
  'market-paused': say('the exchange had paused the market', 'wait until trading resumes'),
  'market-halted': say(
    'the market was halted: the exchange and the session did not agree about it',
    'look at the incidents, then `tapeline resume`',
  ),
  'order-unknown': say(
    'nobody knew what had become of an order in this market',
    'nothing: it ends when the exchange has told, or has proved that it never came',
  ),
  unsynced: say('the book was not known whole, or stood crossed', 'a recording without the gap: `tapeline data stats` shows them'),
  'feed-silent': say('nothing had been heard from the feed for too long', 'a higher feedSilenceSeconds in --limits', (h) =>
    duration(h.limits.silenceMax),
  ),
  'off-grid': say(
    'the price is not on the price grid of the market',
    'prices in 1/10,000 dollar (42 ¢ is 4200), and desk.snap, which finds the grid',
  ),
  'no-reference': say('there was neither a quote nor a trade to judge the price by', 'wait for a quote'),
  'price-collar': say(
    'the price was too far beyond the mid on the aggressive side',
    'a higher collarCents in --limits, or a price nearer to the mid',
    (h) => `${h.limits.collar / 100} ¢`,
  ),
  'order-size': say('the order was larger than one order may be', 'a higher orderContracts in --limits, or a smaller size', (h) =>
    size(h.limits.orderMax),
  ),
  'strategy-position': say("the strategy's own positionMax was used up", "a higher positionMax among the strategy's parameters"),
  position: say('the position could have grown beyond its limit', 'a higher positionContracts in --limits', (h) =>
    size(h.limits.positionMax),
  ),
  'self-cross': say('it would have met an order of our own', 'wait until the other side is canceled, or quote further apart'),
  'market-loss': say(
    'the worst loss in the market could have passed its limit',
    'a higher marketLossDollars in --limits, or a smaller size',
    (h) => money(h.limits.marketLossMax),
  ),
  'event-loss': say(
    'the worst loss in the exclusive event could have passed its limit',
    'a higher eventLossDollars in --limits, or fewer markets of one event',
    (h) => money(h.limits.eventLossMax),
  ),
  'session-loss': say('the worst loss of the session could have passed its limit', 'a higher sessionLossDollars in --limits', (h) =>
    money(h.limits.sessionLossMax),
  ),
  cash: say('there was not enough free cash', 'more --cash, or smaller sizes: cash stays locked until a market pays', (h) => money(h.cash)),
  'open-orders': say('too many orders stood open', 'a higher ordersOpen in --limits', (h) => String(h.limits.ordersOpenMax)),
  'order-rate': say(
    'too many orders were sent within a second',
    'a higher ordersPerSecond in --limits, or fewer price changes',
    (h) => `${h.limits.ordersPerSecondMax} a second`,
  ),
  'write-tokens': say(
    "the exchange's write tokens were used up (10 an order or amend, 2 a cancel)",
    'fewer price changes, or an account of a higher tier',
    (h) => `${h.rate.perSecond} a second, bucket ${h.rate.capacity}`,
  ),
}

/** A word that this version does not know (a run of a later one) is shown as it is. */
export function remedyOf(reason: string, header: SessionHeader): Remedy {
  const sentence = (REMEDIES as Readonly<Partial<Record<string, Sentence>>>)[reason]
  return sentence?.(header) ?? { limit: '', meaning: `risk said ${reason}`, change: 'see the documentation of that limit' }
}

const ENDS: Readonly<Record<string, string>> = {
  user: 'canceled by the strategy',
  ioc: 'nothing (more) to be had within its limit',
  expired: 'expired at its age limit',
  closed: 'canceled by the close of the market',
  reactivated: 'canceled when trading resumed',
  'self-trade': 'stopped at an order of our own',
  'reduce-only': 'would have opened a position',
  grid: 'its price left the price grid',
  session: 'canceled with the session',
  halted: 'canceled by the exchange when it halted the market',
  margin: 'canceled by the exchange for want of margin',
  'post-only': 'canceled by the exchange: it would have traded at once',
  group: 'canceled by the order group at the exchange',
  filled: 'filled: nothing was left of it',
  outside: 'canceled by somebody else with access to the account',
}
/** How an order ended, in words. */
export function endInWords(reason: string): string {
  return ENDS[reason] ?? reason
}

const REJECTIONS: Readonly<Record<string, string>> = {
  'post-only-cross': 'it would have traded at once when it arrived: the market had moved to its price in the meantime',
  'market-closed': 'the market was not open any more when it arrived',
  'trading-paused': 'the exchange had paused the market when it arrived',
  'not-found': 'the order was gone when the change arrived',
  filled: 'the order had been filled past the new size already',
  'fok-volume': 'there was not the whole size within the limit',
  'off-grid': 'the price is not on the price grid of the market',
  'not-sent': 'no byte of it left this machine',
  absent: 'it was proved that it never came to be',
}
/** Why the venue said no, in words. */
export function rejectionInWords(reason: string): string {
  if (reason.startsWith('gate:')) return `our own gate refused it before a byte left: ${reason.slice('gate:'.length).trim()}`
  return REJECTIONS[reason] ?? reason
}
